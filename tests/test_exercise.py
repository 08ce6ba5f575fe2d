"""The folder that students get, and the command by which they hand in."""

import importlib.util
import re
import subprocess
import sys
import zipfile

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lab.files import ROOT
from lab.hand_in import claims


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "exercise" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD, PACK = script("build"), script("pack")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    course = tmp_path_factory.mktemp("course")
    (course / "submitted").mkdir()
    BUILD.main(course)
    BUILD.main(course)  # replaces the source, and nothing beside it
    assert {path.name for path in course.iterdir()} == {
        *("source", "submitted", "nbgrader_config.py")
    }
    return course / "source" / "exercise"


def _solution(cell):
    return cell.metadata.get("nbgrader", {}).get("solution", False)


def texts(source):
    """What students read, by file; nbgrader clears the solutions."""
    found = {path.name: path.read_text("utf-8") for path in source.glob("*.md")}
    for name in BUILD.NOTEBOOKS:
        cells = nbformat.read(source / name, as_version=4).cells
        given = [cell.source for cell in cells if cell.cell_type == "code" or not _solution(cell)]
        found[name] = "\n".join(given)
    for path in source.glob("report/figures/*.svg"):
        found[path.name] = "\n".join(re.findall(r">([^<]+)</text>", path.read_text("utf-8")))
    return found


def six_words(text):
    words = re.findall(r"[^\W_]+", re.sub(r"<!--.*?-->", "", text).lower())
    return {" ".join(words[i : i + 6]) for i in range(len(words) - 5)}


def test_nothing_that_students_get_answers_the_questions(source):
    answers = [
        cell.source
        for name in BUILD.NOTEBOOKS
        for cell in nbformat.read(ROOT / name, as_version=4).cells
        if cell.cell_type == "markdown"
        and (_solution(cell) or "solved" in cell.metadata.get("tags", []))
        and "## Numbers of the stand-in" not in cell.source
    ]
    assert len(answers) > 8
    cited = set(re.findall("<!-- claim: (\\w+) -->", "\n".join(answers)))
    answers += [getattr(claims, name).__doc__ for name in cited]
    given = set().union(*map(six_words, answers))
    files = texts(source)
    code = {str(path): path.read_text("utf-8") for path in source.rglob("*.py")}
    common = {name: given & six_words(text) for name, text in {**files, **code}.items()}
    # Labels of the axis that Q4 is read from, and what the study's images are.
    harmless = {"an image of the other class", "the same elephant in another landscape"}
    assert {name: some - harmless for name, some in common.items() if some - harmless} == {}
    words = r"faithful behind|hide_color\W* decides|behind the blur|hard edges|recommended"
    assert not re.search(words, "\n".join(files.values()))


def test_everything_that_it_names_is_there(source):
    for name, text in texts(source).items():
        for link in re.findall(r"\]\(([^)]+)\)", text):
            file, _, heading = link.partition("#")
            assert "://" in link or (source / file).exists(), (name, link)
            assert "://" in link or not heading or f"# {heading.replace('-', ' ')}" in text
        assert not re.search(r"`make |lab\.hand_in|EVALUATION|protocol", text), name
    notebooks = [str(source / name) for name in BUILD.NOTEBOOKS]
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F821", *notebooks]
    builtins = ["--config", 'builtins=["display"]']
    assert subprocess.run([*command, *builtins]).returncode == 0  # no cell needs one left out
    modules = re.findall(r"^from (lab[\w.]*) import", "\n".join(texts(source).values()), re.M)
    # In a process of its own, where `lab` is the copy.
    script = f"import importlib\nfor each in {modules}: importlib.import_module(each)"
    subprocess.run([sys.executable, "-c", script], cwd=source, check=True)


@pytest.fixture
def folder(tmp_path):
    cells = new_code_cell("print(1)", execution_count=1), new_markdown_cell("An answer")
    for name in PACK.NOTEBOOKS:
        nbformat.write(new_notebook(cells=list(cells)), tmp_path / name)
    for name in ("report.pdf", "cat.JPG", "rise.py", "README.md"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_a_submission_holds_notebooks_report_and_photograph(folder, capsys):
    PACK.main(["doe_jane"], folder)
    names = zipfile.ZipFile(folder / "doe_jane.zip").namelist()
    handed_in = "LIME.ipynb", "RISE.ipynb", "report.pdf", "cat.JPG"
    assert names == [f"doe_jane/exercise/{name}" for name in handed_in]
    assert capsys.readouterr().out == "Wrote doe_jane.zip (0.0 MB)\n"


def test_what_is_missing_is_said_and_what_is_no_submission_refused(folder, capsys):
    error = new_output("error", ename="NameError", evalue="", traceback=[])
    quick = new_output("stream", text="Profile: quick\n")
    cells = [new_code_cell("raise NotImplementedError()", outputs=[error], execution_count=1)]
    cells += [new_markdown_cell("YOUR ANSWER HERE"), new_code_cell("1"), new_code_cell("")]
    cells += [new_code_cell("2", outputs=[quick], execution_count=2)]
    nbformat.write(new_notebook(cells=cells), folder / "RISE.ipynb")
    for name in ("report.pdf", "cat.JPG"):
        (folder / name).unlink()
    PACK.main(["doe_jane"], folder)
    notes = re.findall("^Note: (.+)$", capsys.readouterr().out, flags=re.M)
    assert notes == [
        "RISE.ipynb, cells 1, 2: to be filled in",
        "RISE.ipynb, cells 3: not run",
        "RISE.ipynb, cells 1: ending with an error",
        "RISE.ipynb, LAB_PROFILE=quick took too few samples: run it without",
        "there is no report: report.pdf, report.docx, report.odt, report.md",
        "there is no photograph beside the notebooks",
    ]
    for name in ([], ["a b"], ["../up"], ["a", "b"]):
        with pytest.raises(SystemExit, match="python pack.py lastname_firstname"):
            PACK.main(name, folder)
    (folder / "RISE.ipynb").write_text("{}")
    with pytest.raises(SystemExit, match="RISE.ipynb is not a notebook"):
        PACK.main(["a"], folder)
    (folder / "RISE.ipynb").unlink()
    with pytest.raises(SystemExit, match="RISE.ipynb must lie beside"):
        PACK.main(["a"], folder)
