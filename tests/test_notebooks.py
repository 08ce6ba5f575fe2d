"""The notebooks as they are committed: executed from top to bottom, and clean."""

import re

import nbformat
import numpy as np
import pytest
from skimage.transform import resize

import rise
from lab.files import ROOT
from lab.hand_in.archive import PROFILE

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
    assert [match[1] for match in PROFILE.finditer(printed)] == ["full"]


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


def test_every_solution_is_between_markers_and_is_checked_or_marked():
    for name, graded in GRADED.items():
        marked = [cell for cell in _cells(name) if "SOLUTION" in cell.source]
        solutions = {key: cell for key, cell in graded.items() if cell.metadata.nbgrader.solution}
        assert [cell.metadata.nbgrader.grade_id for cell in marked] == list(solutions)
        for key, cell in solutions.items():
            inside = re.search(r"BEGIN SOLUTION\b.*\n(.+\n)+.*END SOLUTION", cell.source)
            assert inside or cell.cell_type == "markdown", key
            assert cell.metadata.nbgrader.grade or f"{key}_check" in graded
            assert cell.source.count("BEGIN SOLUTION") == cell.source.count("END SOLUTION") == 1


def test_the_points_are_those_of_the_page_for_the_marker():
    rows = re.findall(r"^\| (LIME|RISE) `(\w+)` \| (\d+) \|", MARKING, flags=re.M)
    points = {(f"{name}.ipynb", key): int(number) for name, key, number in rows}
    found = {
        (name, key.removesuffix("_check")): cell.metadata.nbgrader.points
        for name, graded in GRADED.items()
        for key, cell in graded.items()
        if cell.metadata.nbgrader.grade
    }
    assert found == points and f"| sum | {sum(points.values())} |" in MARKING


def _scope():
    """What the solutions find in the notebooks, with a cheap network."""
    rng, coalitions = np.random.default_rng(0), np.random.default_rng(1).integers(0, 2, (60, 5))

    def network(images):
        return images.mean(axis=(1, 2, 3))[:, None] / 255

    image, label, n, probabilities = rng.integers(0, 256, (21, 21, 3)), 0, 5, rng.random(60)
    masks = rise.generate_masks(0, 40, image.shape)
    scores = network(rise.perturb(image, masks))[:, 0]
    local = rise.local_explanations(scores, masks)
    return vars(rise) | {"np": np, "resize": resize} | locals()


def _check(key, right="", wrong=""):
    """Run a solution, changed at one place, and the cell that checks it."""
    scope, cells = _scope(), GRADED["LIME.ipynb"] | GRADED["RISE.ipynb"]
    assert right in cells[key].source
    exec(cells[key].source.replace(right, wrong) if right else cells[key].source, scope)
    if key == "masks":
        scope["grid"] = scope["make_mask"](np.random.default_rng(0), 70)[0]
    exec(cells[f"{key}_check"].source, scope)


MISTAKES = [
    ("weights_by_hand", "- probabilities[~kept].mean()", ""),
    ("weights_by_hand", "== 1", "== 0"),
    ("masks", "rng.integers(cell, size=2)", "0, 0"),
    ("masks", "order=1", "order=0"),
    ("masks", "< p)", "< 0.4)"),
    ("perturb", "masks[..., None] * image", "(1 - masks[..., None]) * image"),
    ("local", "scores[:, None, None] * masks", "scores[::-1, None, None] * masks"),
    ("average", "(len(masks) * p)", "len(masks)"),
    ("average", "score * mask", "mask"),
]


@pytest.mark.parametrize("key", sorted({mistake[0] for mistake in MISTAKES}))
def test_the_checks_accept_the_solution(key):
    _check(key)


@pytest.mark.parametrize("key, right, wrong", MISTAKES)
def test_the_checks_refuse_a_mistake(key, right, wrong):
    with pytest.raises(AssertionError):
        _check(key, right, wrong)
