import codecs
import os
import subprocess
import sys
import unicodedata
import zipfile
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lab.files import ROOT
from lab.hand_in import archive, report
from lab.study.results import Results
from lab.study.store import image_digest

REBUILD = archive.rebuild
EMPTY = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}'


@pytest.fixture
def ready(tmp_path, monkeypatch):
    """A small project that can be handed in: the results are about bear_1 alone."""
    for name in (
        *("rise.py", "README.md", "LICENSE", "tests/test_rise.py", "data/bear/bear_1.jpg"),
        *("data/bear/bear_2.jpg", "data/masks/bear/bear_1.png", "data/masks/bear/bear_2.png"),
        *("data/evaluation/hen/hen_1.jpg", "data/evaluation/hen/hen_2.jpg", "data/README.md"),
        *(".cache/a", ".venv/b", "lab/room/c.py", "data/bear/.hidden.jpg", "report/report.pdf"),
        *("lab/room/__pycache__/c.pyc", "report/report.typ", "report/tables/n.csv"),
        *("report/results/t/n.npz", "report/results/.n.csv.part", "report/quick/results/n.csv"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "report" / "metadata.toml").write_text('author = "Jane Doe"')
    write(tmp_path, new_code_cell("1", execution_count=1), new_code_cell(""))
    images = {"bear/bear_1.jpg": image_digest(tmp_path / "data/bear/bear_1.jpg")}
    facts = {study: {"images": images} for study in ("lime", "rise")}
    monkeypatch.setattr(archive, "Results", lambda folder: SimpleNamespace(facts=facts))
    monkeypatch.setattr(archive, "check", lambda results: None)
    monkeypatch.setattr(archive, "shown_montages", lambda results: ["hen/hen_1.jpg"])
    monkeypatch.setattr(archive, "ROOT", tmp_path)
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "SOURCE", tmp_path / "report")
    monkeypatch.setattr(archive, "rebuild", lambda: None)
    return tmp_path


def write(root, *cells):
    nbformat.write(new_notebook(cells=list(cells)), root / "LIME.ipynb")


def refused(*arguments):
    with pytest.raises(SystemExit) as exit:
        archive.main(list(arguments))
    message = str(exit.value.code)
    assert message and "\n" not in message
    return message.removeprefix("Stopped: ")


def test_holds_what_was_used_and_lists_the_rest_with_digests(ready, capsys):
    (ready / "report" / "metadata.toml").write_text('repository = "https://example.org/lab"')
    archive.main(["doe_jane"])
    with zipfile.ZipFile(ready / "dist" / "doe_jane_LIME_RISE.zip") as packed:
        assert packed.testzip() is None
        names = {name.removeprefix("doe_jane_LIME_RISE/") for name in packed.namelist()}
        about = packed.read("doe_jane_LIME_RISE/ABOUT.txt").decode()
    assert names == {
        *("LIME.ipynb", "rise.py", "README.md", "LICENSE", "ABOUT.txt", "lab/room/c.py"),
        *("data/bear/bear_1.jpg", "data/masks/bear/bear_1.png", "data/README.md"),
        *("report/metadata.toml", "report/report.pdf", "report/report.typ", "report/tables/n.csv"),
        *("report/results/t/n.npz", "data/evaluation/hen/hen_1.jpg"),
    }
    digest = image_digest(ready / "data" / "bear" / "bear_2.jpg")
    assert f"{digest}  data/bear/bear_2.jpg" in about and "hen_2.jpg" in about
    assert "bear_1" in about.split("These commands")[0] and "https://example.org/lab" in about
    printed = capsys.readouterr().out
    assert "Report and results are about:\n  bear/bear_1.jpg\n" in printed
    assert "LIME.ipynb is about an image that it does not name" in printed
    assert "doe_jane_LIME_RISE.zip (0.0 MB)" in printed and "names no author" in printed
    # The same content gives the same bytes.
    first = (ready / "dist" / "doe_jane_LIME_RISE.zip").read_bytes()
    for path in ready.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    archive.main(["doe_jane"])
    assert (ready / "dist" / "doe_jane_LIME_RISE.zip").read_bytes() == first


def test_notebooks_and_report_are_about_the_same_images_or_it_is_refused(ready, capsys):
    def about(*images):
        text = "".join(f"Image: {image}\n" for image in images)
        output = new_output("stream", text=text)
        write(ready, new_code_cell("1", execution_count=1, outputs=[output]))

    about("bear/bear_1.jpg", "evaluation/hen/hen_2.jpg")
    archive.main(["a"])
    about("bear/bear_2.jpg")
    message = refused("a")
    assert message.startswith("LIME.ipynb: other images than those of the report")
    assert "make study" in message and "ANYWAY=1" in message
    archive.main(["a", "--anyway"])
    with zipfile.ZipFile(ready / "dist" / "a_LIME_RISE.zip") as packed:
        assert "a_LIME_RISE/data/masks/bear/bear_2.png" in packed.namelist()
    about("bear/bear_1.jpg")
    (ready / "data" / "bear" / "bear_1.jpg").write_text("another photograph")
    assert refused("a").startswith("data/bear/bear_1.jpg is not the image that the results")


def test_a_name_has_letters_of_any_script_and_nothing_that_no_file_can_have(ready):
    for name in "../up", "a b", ".x", "_x", "a\n", "nul\0", "x" * 201, "\u202ea", "":
        assert "NAME" in refused(name) and not (ready / "dist").exists()
    for name in "जेन_डो", "เจน", unicodedata.normalize("NFD", "Müller-Groß"):
        archive.main([name])
        composed = unicodedata.normalize("NFC", name)
        assert (ready / "dist" / f"{composed}_LIME_RISE.zip").is_file()


def test_what_is_no_notebook_or_was_not_run_or_failed_is_refused(ready):
    for content in (
        *(b"", b"[]", b'<<<<<<< HEAD\n{"cells": []}\n=======\n', codecs.BOM_UTF8 + EMPTY),
        EMPTY.replace(b"{}", b'{"author": "M\xfcller"}'),  # Latin-1
        EMPTY.replace(b"cells", b"worksheets").replace(b"4", b"3"),
        EMPTY.replace(b"[]", b'[{"cell_type": "code", "source": "1", "metadata": {}}]'),
    ):
        (ready / "LIME.ipynb").write_bytes(content)
        message = refused("a")
        assert message.startswith("LIME.ipynb is no notebook that can be handed in (")
        assert "save it" in message and "()" not in message
    write(ready, new_code_cell("1"))
    assert refused("a") == "LIME.ipynb: cell 1 was not run: make lab runs it"
    error = new_output("error", ename="ValueError", evalue="bad", traceback=[])
    write(ready, new_code_cell("1", execution_count=1, outputs=[error]))
    assert refused("a").startswith("LIME.ipynb: cell 1 has an error")


def test_handed_in_notebooks_have_no_markers_of_nbgrader(ready):
    lines = "def f():", "    ### BEGIN SOLUTION", "    return 1", "    ### END SOLUTION"
    tests = "assert f()", "### BEGIN HIDDEN TESTS", "assert f() == 1", "### END HIDDEN TESTS"
    write(ready, *(new_code_cell("\n".join(each), execution_count=1) for each in (lines, tests)))
    archive.main(["a"])
    with zipfile.ZipFile(ready / "dist" / "a_LIME_RISE.zip") as packed:
        cells = nbformat.reads(packed.read("a_LIME_RISE/LIME.ipynb"), as_version=4).cells
    sources = [cell.source for cell in cells]
    assert sources == ["def f():\n    return 1", "assert f()\nassert f() == 1"]


def test_cells_may_have_run_in_any_order_and_at_quick_counts(ready, capsys):
    text = new_output("stream", text="A line\nProfile: quick\n")
    first = new_code_cell("1", execution_count=7, outputs=[text])
    write(ready, first, new_code_cell("2", execution_count=3))
    archive.main(["a"])
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Note")]
    assert len(notes) == 1 and notes[0].startswith("Note: LIME.ipynb ran at LAB_PROFILE=quick")


def test_links_put_no_foreign_file_into_the_archive(ready, tmp_path_factory):
    foreign = tmp_path_factory.mktemp("foreign")
    (foreign / "secret.txt").write_text("secret")
    for target in (foreign / "secret.txt", foreign, foreign / "gone"):
        (ready / "lab" / "link").symlink_to(target)
        assert refused("a").startswith("lab/link is a link to ")
        (ready / "lab" / "link").unlink()
    (ready / "lab" / "link").symlink_to(ready / "rise.py")
    archive.main(["a"])


def test_figures_and_report_are_made_before(ready, monkeypatch):
    monkeypatch.setattr(archive, "rebuild", REBUILD)
    monkeypatch.setenv("LAB_PROFILE", "quick")  # the archive has those of the whole profile
    script = "import os; open('made', 'a').write(f'{os.environ[\"LAB_PROFILE\"]} {__name__} NAME ')"
    (ready / "lab" / "hand_in").mkdir()
    for folder in ("lab", "lab/hand_in"):  # else the installed package comes first
        (ready / folder / "__init__.py").touch()
    for name in ("show.py", "hand_in/report.py"):
        (ready / "lab" / name).write_text(script.replace("NAME", name))
    archive.rebuild()
    made = (ready / "made").read_text()
    assert made == "full __main__ show.py full __main__ hand_in/report.py "
    (ready / "lab" / "show.py").write_text("import sys; sys.exit(3)")
    with pytest.raises(SystemExit) as exit:
        archive.main(["a"])
    assert exit.value.code == 3 and not (ready / "dist").exists()


def test_the_archive_of_the_lab_is_small_and_builds_the_report(tmp_path):
    results = Results(ROOT / "report" / "results")
    notebooks = {path.name: archive.said(path) for path in ROOT.glob("*.ipynb")}
    used, unused = archive._used(notebooks, results)
    contents = {
        path.relative_to(ROOT).as_posix(): path.read_bytes() for path in archive._files(used)
    }
    target = tmp_path / "doe_LIME_RISE.zip"
    archive.pack(contents, target)
    assert target.stat().st_size < archive.LARGE
    assert {f"data/evaluation/{name}" for name in archive.OPENED} <= set(contents)
    assert len(unused) > 100 and not any(f"data/{name}" in contents for name in unused)
    with zipfile.ZipFile(target) as packed:
        packed.extractall(tmp_path)
    folder = tmp_path / "doe_LIME_RISE"
    (folder / "report" / "report.pdf").unlink()
    command = [sys.executable, "-m", "lab.hand_in.report"]
    subprocess.run(command, cwd=folder, env=os.environ | {"LAB_PROFILE": "full"}, check=True)
    assert (folder / "report" / "report.pdf").read_bytes().startswith(b"%PDF")
