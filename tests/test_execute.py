import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from lab import execute
from lab.profile import ROOT


def _notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_cells_run_in_order_in_the_notebooks_folder(tmp_path, capfd):
    (tmp_path / "data.txt").write_text("found")
    path = _notebook(tmp_path / "book.ipynb", "text = open('data.txt').read()", "print(text)")
    execute.execute(path)
    cells = nbformat.read(path, as_version=4).cells
    assert [cell.execution_count for cell in cells] == [1, 2]
    assert cells[1].outputs[0].text == "found\n"
    said = capfd.readouterr()
    assert "cell 2 of 2" in said.out and "found" in said.err


def test_a_failing_notebook_is_left_as_it_was(tmp_path):
    path = _notebook(tmp_path / "book.ipynb", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute.execute(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["book.ipynb"]


def test_figures_only_leaves_the_notebook_and_lets_no_network_be_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = _notebook(tmp_path / "book.ipynb", "open('written.txt', 'w').write('made again')")
    before = path.read_bytes()
    execute.execute(path, figures_only=True)
    assert path.read_bytes() == before and (tmp_path / "written.txt").exists()
    asking = _notebook(
        tmp_path / "asking.ipynb",
        "import numpy as np\nfrom lab.blackbox import load\nload('squeezenet')(np.zeros((1, 227, 227, 3)))",
    )
    with pytest.raises(CellExecutionError, match="SqueezeNet 1.1 would have to be asked: run make lab first"):
        execute.execute(asking, figures_only=True)
