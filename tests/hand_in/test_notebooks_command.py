import subprocess
import sys

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from lab.files import ROOT
from lab.hand_in import notebooks


def _notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_cells_run_in_order_in_the_notebooks_folder(tmp_path, capfd):
    (tmp_path / "data.txt").write_text("found")
    path = _notebook(
        tmp_path / "book.ipynb",
        "text = open('data.txt').read()",
        "import sys\nprint(text)\nprint('a warning', file=sys.stderr)",
    )
    notebooks.main([str(path)])
    cells = nbformat.read(path, as_version=4).cells
    assert [cell.execution_count for cell in cells] == [1, 2]
    assert [(output.name, output.text) for output in cells[1].outputs] == [("stdout", "found\n")]
    said = capfd.readouterr()
    assert "cell 2 of 2" in said.out and "found" in said.err and "a warning" in said.err


def test_a_failing_notebook_is_left_as_it_was(tmp_path):
    path = _notebook(tmp_path / "book.ipynb", "'written'", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        notebooks.execute(path)
    with pytest.raises(
        SystemExit, match="book.ipynb is left as it was, for a cell of it failed: ZeroDivisionError"
    ):
        notebooks.main([str(path)])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["book.ipynb"]


def test_a_killed_run_leaves_the_notebook_as_it_was(tmp_path):
    path = _notebook(
        tmp_path / "book.ipynb",
        "'before'",
        "import time; print('sleeping', flush=True); time.sleep(600)",
    )
    before = path.read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.hand_in.notebooks", path],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "sleeping" in line:
            break
    process.kill()
    process.communicate()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["book.ipynb"]


@pytest.mark.parametrize(
    "arguments, environment, message",
    [
        (["no.ipynb"], None, "there is no notebook no.ipynb"),
        (["LIME.ipynb"], "much", "LAB_PROFILE must be one of quick, full, study, got 'much'"),
    ],
)
def test_bad_input_is_one_line(monkeypatch, arguments, environment, message):
    monkeypatch.chdir(ROOT)
    if environment:
        monkeypatch.setenv("LAB_PROFILE", environment)
    with pytest.raises(SystemExit) as exit:
        notebooks.main(arguments)
    assert exit.value.code == message
