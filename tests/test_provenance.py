import hashlib
from types import SimpleNamespace

import nbformat
import numpy
import pandas as pd
import pytest

from lab import profile, provenance as module
from lab.images import DATA, list_pictures
from lab.provenance import file_digest, provenance

NETWORKS = [
    SimpleNamespace(name="One", source="file one", stands_in_for=None),
    SimpleNamespace(name="Two", source="file two", stands_in_for="Three"),
]


def notebook(path, *code, text="a title", outputs=()):
    cells = [nbformat.v4.new_markdown_cell(text), *(nbformat.v4.new_code_cell(source, outputs=list(outputs)) for source in code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_digest_of_a_file_is_its_sha256(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"1\n")
    assert file_digest(path) == hashlib.sha256(b"1\n").hexdigest()


def test_digest_of_a_notebook_is_that_of_its_code_alone(tmp_path):
    once = notebook(tmp_path / "A.ipynb", "a = 1", "print(a)")
    again = notebook(tmp_path / "B.ipynb", "a = 1", "print(a)", text="another", outputs=[nbformat.v4.new_output("stream", text="1")])
    assert file_digest(once) == file_digest(again)


@pytest.mark.parametrize("code", [("a = 2", "print(a)"), ("print(a)", "a = 1"), ("a = 1print(a)",), ("a = 1",)])
def test_digest_changes_with_the_code(tmp_path, code):
    once = notebook(tmp_path / "A.ipynb", "a = 1", "print(a)")
    assert file_digest(notebook(tmp_path / "B.ipynb", *code)) != file_digest(once)


def test_rows_say_what_ran_and_what_came_of_it(monkeypatch, tmp_path):
    monkeypatch.setattr(profile, "ROOT", tmp_path)
    monkeypatch.setattr(module, "written", set())
    monkeypatch.setattr(profile, "written", module.written)
    table = pd.DataFrame({"a": [1]})
    profile.save_table(table, "numbers")
    picture = list_pictures("African_elephant")[0]
    rows = provenance("LIME.ipynb", NETWORKS, [picture])
    assert rows["name"].is_unique
    facts = dict(zip(rows["name"], rows["value"]))
    assert facts["network_1"] == "One" and facts["network_1_stands_in_for"] == ""
    assert facts["network_2_source"] == "file two" and facts["network_2_stands_in_for"] == "Three"
    assert facts["profile"] == "quick" and facts["numpy"] == numpy.__version__
    assert facts["pictures"] == picture.relative_to(DATA).as_posix()
    assert facts["source lab/provenance.py"] == file_digest(module.__file__)
    assert facts[f"source data/{facts['pictures']}"] == file_digest(picture)
    assert facts[f"source data/masks/African_elephant/{picture.stem}.png"]
    assert "source LIME.ipynb" in facts
    assert {name for name in facts if name.startswith("result")} == {"result results/numbers.csv"}
    assert facts["result results/numbers.csv"] == hashlib.sha256(b"a\n1\n").hexdigest()
