"""The notebooks as they are committed: executed from top to bottom, and clean."""

import re

import nbformat
import pytest

from lab.files import ROOT
from lab.hand_in.archive import ABOUT

NOTEBOOKS = ["LIME.ipynb", "RISE.ipynb", "EVALUATION.ipynb"]
MARKING = (ROOT / "docs" / "marking.md").read_text("utf-8")


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
    assert re.findall("^Profile: (.+)$", printed, flags=re.M) == ["full"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_compared_does_not_tell_which_network_ran(name):
    compared = [c for c in _cells(name) if "nbval-check-output" in c.metadata.get("tags", [])]
    printed = [output.get("text", "") for cell in compared for output in cell.outputs]
    assert compared and not any("stands in" in text for text in printed)


GRADED = {
    name: {
        cell.metadata.nbgrader.grade_id: cell
        for cell in _cells(name)
        if "nbgrader" in cell.metadata
    }
    for name in ("LIME.ipynb", "RISE.ipynb")
}


def test_every_function_to_write_is_between_markers_and_is_checked():
    for name, graded in GRADED.items():
        marked = [cell for cell in _cells(name) if "SOLUTION" in cell.source]
        solutions = {key: cell for key, cell in graded.items() if cell.metadata.nbgrader.solution}
        to_write = [key for key, cell in solutions.items() if cell.cell_type == "code"]
        assert [cell.metadata.nbgrader.grade_id for cell in marked] == to_write
        for key, cell in solutions.items():
            inside = re.search(r"### BEGIN SOLUTION\n(.+\n)+ *### END SOLUTION$", cell.source)
            assert inside or cell.metadata.nbgrader.grade  # an answer is cleared as a whole
            # The path of the photograph is marked with what is said of it.
            assert cell.metadata.nbgrader.grade or f"{key}_check" in graded or key == "own_path"
        for key, cell in graded.items():
            hidden = cell.source.count("### BEGIN HIDDEN TESTS\n")
            assert hidden == key.endswith("_check") == cell.source.count("\n### END HIDDEN TESTS")


def test_the_points_are_those_of_the_page_for_the_marker():
    rows = re.findall(r"^\| (?:(LIME|RISE) `(\w+)`|the \w+) \| (\d+) \|", MARKING, flags=re.M)
    points = {(f"{name}.ipynb", key): int(number) for name, key, number in rows if name}
    found = {
        (name, key.removesuffix("_check")): cell.metadata.nbgrader.points
        for name, graded in GRADED.items()
        for key, cell in graded.items()
        if cell.metadata.nbgrader.grade
    }
    assert found == points
    assert f"| sum | {sum(int(number) for *_, number in rows)} |" in MARKING


def _words(text):
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"<!--.*?-->", "", text)))


def test_each_point_by_hand_has_a_sentence_of_the_solved_lab_that_earns_it():
    sources = {key: cell.source for graded in GRADED.values() for key, cell in graded.items()}
    documents = (ROOT / "report" / f"{name}.typ" for name in ("report", "answers"))
    sources["the report"] = " ".join(path.read_text("utf-8") for path in documents)
    sources["the archive"] = ABOUT
    by_hand = re.findall(r"^\| (?:LIME|RISE)? ?`?([\w ]+)`? \| (\d+) \| hand", MARKING, flags=re.M)
    for key, points in by_hand:
        [lines] = re.findall(rf"^\*\*`?{key}`?\*\*\n\n((?:- .+\n)+)", MARKING, flags=re.M)
        quotes = re.findall(r'^- .+: "(.+)"$', lines, flags=re.M)
        assert len(quotes) == int(points) == len(lines.splitlines()), key
        assert [quote for quote in quotes if _words(quote) not in _words(sources[key])] == [], key
