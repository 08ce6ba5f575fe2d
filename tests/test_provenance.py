import hashlib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy
import pytest

from lab import provenance as module
from lab.provenance import code_digest, provenance

NETWORKS = [SimpleNamespace(name="One", source="file one", stands_in_for=None), SimpleNamespace(name="Two", source="file two", stands_in_for="Three")]


def notebook(*code, text="a title", outputs=()):
    cells = [nbformat.v4.new_markdown_cell(text), *(nbformat.v4.new_code_cell(source, outputs=list(outputs)) for source in code)]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.fixture
def root(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "ROOT", tmp_path)
    nbformat.write(notebook("a = 1", "print(a)"), tmp_path / "A.ipynb")
    return tmp_path


def test_digest_is_that_of_the_code_alone(root):
    expected = hashlib.sha256(b"a = 1\0print(a)").hexdigest()[:16]
    assert code_digest(root / "A.ipynb") == expected
    nbformat.write(notebook("a = 1", "print(a)", text="another", outputs=[nbformat.v4.new_output("stream", text="1")]), root / "B.ipynb")
    assert code_digest(root / "B.ipynb") == expected


@pytest.mark.parametrize("code", [("a = 2", "print(a)"), ("print(a)", "a = 1"), ("a = 1print(a)",), ("a = 1",)])
def test_digest_changes_with_the_code(root, code):
    nbformat.write(notebook(*code), root / "B.ipynb")
    assert code_digest(root / "B.ipynb") != code_digest(root / "A.ipynb")


def test_rows_say_what_ran(root):
    table = provenance(NETWORKS, [Path("data/a.jpg"), Path("data/b.png")], "A.ipynb")
    rows = dict(zip(table["name"], table["value"]))
    assert rows["network 1"] == "One" and rows["network 1 stands in for"] == ""
    assert rows["network 2 weights"] == "file two" and rows["network 2 stands in for"] == "Three"
    assert rows["pictures"] == "a, b"
    assert rows["profile"] == "quick" and rows["numpy"] == numpy.__version__
    assert rows["code"] == code_digest(root / "A.ipynb")
    assert table["name"].is_unique
