"""The notebooks with the graphs of Xception and ResNet50, whose weights are random."""

import os
import subprocess
import sys

import nbformat
import pytest
from real_graphs import write_real_graphs

from lab.files import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    write_real_graphs(folder)
    return folder


@pytest.mark.parametrize("name", ["LIME.ipynb", "RISE.ipynb", "EVALUATION.ipynb"])
def test_a_notebook_runs_with_them(weights, tmp_path, name):
    env = os.environ | {"LAB_WEIGHTS": str(weights), "LAB_BLACKBOX": "auto", "LAB_PROFILE": "quick"}
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", name]
    subprocess.run([*command, f"--output-dir={tmp_path}"], cwd=ROOT, env=env, check=True)
    cells = nbformat.read(tmp_path / name, as_version=4).cells
    printed = "".join(
        output.get("text", "") for cell in cells for output in cell.get("outputs", [])
    )
    assert "Xception" in printed and "stands in" not in printed
