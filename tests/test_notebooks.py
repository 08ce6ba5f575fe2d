"""The notebooks as they are committed: executed from top to bottom, and clean."""

import nbformat
import pytest

from lab.files import ROOT
from lab.hand_in.archive import PROFILE

NOTEBOOKS = ["LIME.ipynb", "RISE.ipynb", "EVALUATION.ipynb"]


def _cells(name):
    return nbformat.read(ROOT / name, as_version=4).cells


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_executed_top_to_bottom_without_errors_or_stderr(name):
    code = [cell for cell in _cells(name) if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for output in (output for cell in code for output in cell.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
        assert "Warning" not in output.get("text", "")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_prints_the_profile_that_it_ran_at(name):
    outputs = [output for cell in _cells(name) for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    assert [match[1] for match in PROFILE.finditer(printed)] == ["full"]
