"""The lab with the graphs of Xception and ResNet50, whose weights are random."""

import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from real_graphs import write_real_graphs

from lab.files import ROOT
from lab.study.__main__ import USUAL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    write_real_graphs(folder)
    lab = {"LAB_WEIGHTS": str(folder), "LAB_BLACKBOX": "auto", "LAB_PROFILE": "quick"}
    return os.environ | lab


@pytest.mark.parametrize("name", ["LIME.ipynb", "RISE.ipynb", "EVALUATION.ipynb"])
def test_a_notebook_runs_with_them(environment, tmp_path, name):
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", name]
    subprocess.run([*command, f"--output-dir={tmp_path}"], cwd=ROOT, env=environment, check=True)
    cells = nbformat.read(tmp_path / name, as_version=4).cells
    printed = "".join(
        output.get("text", "") for cell in cells for output in cell.get("outputs", [])
    )
    assert "Profile: quick" in printed and "stands in" not in printed


def test_the_studies_and_the_report_run_with_them(environment, tmp_path):
    # In a copy without earlier results, whose results replace nobody's.
    copy = shutil.copytree(ROOT, tmp_path / "copy", ignore=shutil.ignore_patterns(".*", "quick"))
    for module in ("lab.study", "lab.show", "lab.hand_in.report"):
        subprocess.run([sys.executable, "-m", module], cwd=copy, env=environment, check=True)
    results = copy / "report" / "quick" / "results"
    for name in USUAL:
        networks = json.loads((results / f"{name}.json").read_text())["networks"]
        assert {"Xception", "ResNet50"} <= {network["name"] for network in networks}, name
    assert (copy / "report" / "quick" / "report.pdf").is_file()
