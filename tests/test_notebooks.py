"""The notebooks as they are committed: executed from top to bottom, and clean."""

import nbformat
import pytest

from lab.files import ROOT

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
def test_every_figure_and_table_is_introduced(name):
    kinds = [cell.cell_type for cell in _cells(name)]
    assert kinds[0] == "markdown"
    # At most three cells of code in a row: a figure, its table, and the sentence on both.
    assert "code code code code" not in " ".join(kinds)


def test_at_least_six_cells_are_compared():
    tagged = [
        cell
        for name in NOTEBOOKS
        for cell in _cells(name)
        if "nbval-check-output" in cell.metadata.get("tags", [])
    ]
    assert len(tagged) >= 6
    assert all(cell.outputs for cell in tagged)
