import os
import subprocess
import sys
import zipfile

import nbformat
import pytest

from lab.files import ROOT
from lab.hand_in import archive, report
from test_report import drawn, project  # noqa: F401


@pytest.fixture
def ready(project, monkeypatch):  # noqa: F811
    """A small project of which everything is up to date, and its root."""
    root = project.parent
    monkeypatch.setattr(archive, "ROOT", root)
    notebook(root, executed=True)
    for name in (
        "rise.py",
        "README.md",
        "tests/test_rise.py",
        "data/bear.jpg",
        ".cache/a",
        ".venv/b",
        "lab/room/c.py",
        "lab/room/__pycache__/c.pyc",
        "data/.hidden",
        "report/results/numbers.npz",
        "report/results/.numbers.csv.part",
        "report/quick/results/numbers.csv",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    drawn(project)
    report.build(project)
    return root


def notebook(root, executed, outputs=()):
    cells = [
        nbformat.v4.new_code_cell(
            f"{n}", execution_count=n if executed else None, outputs=list(outputs)
        )
        for n in (1, 2)
    ]
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_markdown_cell("title"), *cells, nbformat.v4.new_code_cell("")]
        ),
        root / "LIME.ipynb",
    )


def refused(*arguments):
    with pytest.raises(SystemExit) as exit:
        archive.main(list(arguments))
    message = str(exit.value.code)
    assert message and "\n" not in message
    return message


def test_holds_what_is_handed_in_and_nothing_else(ready, capsys):
    archive.main(["doe_jane"])
    with zipfile.ZipFile(ready / "dist" / "doe_jane_LIME_RISE.zip") as packed:
        assert packed.testzip() is None
        names = {name.removeprefix("doe_jane_LIME_RISE/") for name in packed.namelist()}
    assert names == {
        "LIME.ipynb",
        "rise.py",
        "README.md",
        "lab/room/c.py",
        "tests/test_rise.py",
        "data/bear.jpg",
        "report/report.pdf",
        "report/report.png",
        "report/report.sha256",
        "report/report.typ",
        "report/figures/dot.svg",
        "report/figures/results.sha256",
        "report/results/a_provenance.csv",
        "report/results/numbers.csv",
        "report/results/numbers.npz",
    }
    assert "doe_jane_LIME_RISE.zip (0.0 MB)" in capsys.readouterr().out


def test_same_content_gives_the_same_bytes(ready):
    archive.main(["a"])
    target = ready / "dist" / "a_LIME_RISE.zip"
    first = target.read_bytes()
    for path in ready.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (ready / "rise.py").chmod(0o600)
    archive.main(["a"])
    assert target.read_bytes() == first


@pytest.mark.parametrize(
    "name", ["", "../up", "a b", "a/b", ".hidden", "-x", "a\n", "nul\0", "x" * 101, "a.b"]
)
def test_unsafe_names_are_refused(ready, name):
    assert "NAME" in refused(name)
    assert not (ready / "dist").exists()


def test_a_name_is_asked_for(ready):
    assert "make archive NAME=" in refused()


def test_a_notebook_that_was_not_run_is_refused(ready):
    notebook(ready, executed=False)
    assert refused("a").startswith("LIME.ipynb was not run")


def test_a_notebook_with_an_error_is_refused(ready):
    notebook(
        ready,
        executed=True,
        outputs=[nbformat.v4.new_output("error", ename="ValueError", evalue="bad", traceback=[])],
    )
    assert refused("a").startswith("LIME.ipynb: cell 2 holds an error")


def test_a_pdf_older_than_a_result_is_refused(ready):
    (ready / "report" / "results" / "numbers.csv").write_text("value\n1\n")
    assert "make figures" in refused("a")
    drawn(ready / "report")
    assert "numbers.csv" in refused("a")


def test_appears_whole_or_not_at_all(ready, monkeypatch):
    archive.main(["a"])
    before = (ready / "dist" / "a_LIME_RISE.zip").read_bytes()
    missing = [ready / "rise.py", ready / "gone.py"]
    monkeypatch.setattr(archive, "files", lambda: missing)
    with pytest.raises(FileNotFoundError):
        archive.main(["a"])
    assert [path.name for path in (ready / "dist").iterdir()] == ["a_LIME_RISE.zip"]
    assert (ready / "dist" / "a_LIME_RISE.zip").read_bytes() == before


def test_warns_of_large_archives(ready, monkeypatch, capsys):
    monkeypatch.setattr(archive, "LARGE", 100)
    archive.main(["a"])
    assert "Warning" in capsys.readouterr().err


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """What is handed in of this project, in an empty folder, and the archive's size."""
    folder = tmp_path_factory.mktemp("archive")
    target = folder / "doe_LIME_RISE.zip"
    archive.pack(archive.files(), target)
    with zipfile.ZipFile(target) as packed:
        packed.extractall(folder)
    return folder / "doe_LIME_RISE", target.stat().st_size


def test_most_mail_servers_take_it(unpacked):
    assert unpacked[1] < archive.LARGE


def test_unpacked_in_an_empty_folder_its_own_tests_pass(unpacked):
    # Some quick ones. Whatever makes modules of this folder visible must not help the unpacked one.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST"))
    }
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "sentences or captions or arrows or same_pdf",
            "tests/hand_in/test_report.py",
        ],
        cwd=unpacked[0],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert ROOT not in unpacked[0].parents
