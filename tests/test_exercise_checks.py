"""The checks of the exercise: what they refuse, what they accept, and what they say."""

import nbformat
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.transform import resize

import rise
from lab.files import ROOT

GRADED = {
    cell.metadata.nbgrader.grade_id: cell.source
    for name in ("LIME.ipynb", "RISE.ipynb")
    for cell in nbformat.read(ROOT / name, as_version=4).cells
    if "nbgrader" in cell.metadata
}
CHECKED_BY = {
    "weights_by_hand": ["weights_by_hand_check"],
    "masks": ["masks_grid_check", "masks_check"],
    "perturb": ["perturb_check"],
    "local": ["local_check"],
    "average": ["average_check"],
    "my_rise": ["my_rise_check"],
}
FUNCTIONS = ["masks", "perturb", "local", "average", "my_rise"]


def check(key, right="", wrong=""):
    """Run a solution, changed at one place, and the cells that check it."""
    coalitions = np.random.default_rng(1).integers(0, 2, (60, 5))
    probabilities, n = np.random.default_rng(2).random(60), 5
    scope = vars(rise) | {"np": np, "resize": resize, "Image": Image, "ndimage": ndimage}
    scope |= {"coalitions": coalitions, "probabilities": probabilities, "n": n}
    exec(GRADED["checks"], scope)
    for each in FUNCTIONS:
        exec(GRADED[each], scope)
    assert right in GRADED[key]
    exec(GRADED[key].replace(right, wrong) if right else GRADED[key], scope)
    for cell in CHECKED_BY[key]:
        exec(GRADED[cell], scope)


COINS = "(rng.random((cells, cells)) < p).astype(float)"
UPSCALED = "resize(grid, [(cells + 1) * cell] * 2, order=1)"
PIECE = "upscaled[down : down + size, right : right + size]"
SIDE = "((cells + 1) * cell,) * 2"
ZOOM = "ndimage.zoom(grid, (cells + 1) * cell / cells, order=1"
BATCH = "count = min(32, n - start)"

# The function, what is replaced, by what, and what the check says.
WRONG = [
    ("weights_by_hand", "- probabilities[~kept].mean()", "", "difference of the two means"),
    ("weights_by_hand", "== 1", "== 0", "difference of the two means"),
    ("masks", "< p", "> p", "share of cells"),
    ("masks", "< p", "< 0.5", "share of cells"),
    ("masks", "(cells, cells)", "(7, 7)", "a grid of (4, 4) cells"),
    ("masks", "rng.random((cells, cells))", "np.repeat(rng.random((cells, 1)), cells, 1)", "neigh"),
    ("masks", "rng.random((cells, cells))", "np.random.random((cells, cells))", "draw from rng"),
    ("masks", "rng.integers(cell, size=2)", "[rng.integers(cell)] * 2", "independent"),
    ("masks", "rng.integers(cell, size=2)", "0, 0", "different shifts down"),
    ("masks", "rng.integers(cell, size=2)", "rng.integers(cell), 0", "different shifts right"),
    ("masks", "(cells + 1) * cell]", "2 * (cells + 1) * cell]", "one cell larger"),
    ("masks", PIECE, "upscaled[down:, right:]", "a mask of"),
    ("masks", f"upscaled = {UPSCALED}", "upscaled = resize(grid, [size] * 2, order=1)", "one cell"),
    ("masks", PIECE, "np.roll(upscaled, (down, right), (0, 1))[:size, :size]", "a piece of the"),
    ("masks", "order=1", "order=0", "soft borders"),
    ("masks", "order=1", "order=1, mode='constant'", "on average at each pixel"),
    ("masks", "astype(float)", "astype(int)", "was it of floats?"),
    ("masks", "return grid, upscaled,", "return", "three things"),
    ("masks", "return grid,", "return 1 - grid,", "share of cells"),
    ("perturb", "masks[..., None] * image", "(1 - masks[..., None]) * image", "expected at"),
    ("perturb", "masks[..., None] * image", "masks[:, None] * image[..., 0]", "shape"),
    ("perturb", "masks[..., None] * image", "perturb(image, masks)", "must do without perturb"),
    ("local", "scores[:, None, None]", "scores[::-1, None, None]", "expected at"),
    ("local", "scores[:, None, None]", "scores.mean()", "expected at"),
    ("average", "(len(masks) * p)", "len(masks)", "saliency_map with p=0.5"),
    ("average", "* p)", "* 0.5)", "saliency_map with p=0.2"),
    ("average", "(len(masks) * p)", "masks.sum(axis=0)", "expected at"),
    ("my_rise", "count * saliency_map", "32 * saliency_map", "my_rise with n="),
    ("my_rise", ", cells, p)[-1]", ", 7, p)[-1]", "masks of cells=4"),
    ("my_rise", ", cells, p)[-1]", ", cells)[-1]", "masks that preserve p=0.3"),
    ("my_rise", "scores, masks, p)", "scores, masks)", "my_rise with n="),
    ("my_rise", "[:, label]", "[:, 0]", "my_rise with n="),
    ("my_rise", BATCH, f"{BATCH}; rng = np.random.default_rng(0)", "different masks"),
    ("my_rise", BATCH, "count = 32", "n=150 images"),
    ("my_rise", "range(0, n, 32)", "[0]", "n=150 images"),
    ("my_rise", BATCH, f"{BATCH} if n < 99 else n * (start == 0) or 0", "batches of 32"),
]
RIGHT = [
    *((key, "", "") for key in CHECKED_BY),
    ("masks", COINS, "rng.binomial(1, p, (cells, cells)).astype(float)"),
    ("masks", COINS, "rng.choice([0.0, 1.0], (cells, cells), p=[1 - p, p])"),
    ("masks", UPSCALED, UPSCALED.replace("order=1", "order=1, mode='edge'")),
    ("masks", UPSCALED, f"np.asarray(Image.fromarray(grid).resize({SIDE}, 2))"),
    (
        *("masks", UPSCALED),
        f"np.asarray(Image.fromarray(np.uint8(255 * grid)).resize({SIDE}, 2)) / 255",
    ),
    (
        "masks",
        UPSCALED,
        "ndimage.zoom(grid, (cells + 1) * cell / cells, order=1, mode='nearest', grid_mode=True)",
    ),
    ("masks", UPSCALED, "ndimage.zoom(grid, (cells + 1) * cell / cells, order=1)"),
    ("masks", UPSCALED, "resize(grid, [size + cell] * 2, order=1)"),
    ("masks", "rng.integers(cell, size=2)", "(rng.random(2) * cell).astype(int)"),
    ("masks", "return grid,", "return grid.astype(int),"),
    ("masks", "return grid,", "return grid.astype(bool),"),
    (
        "masks",
        "return grid, upscaled, upscaled",
        "upscaled = np.float32(upscaled)\n    return grid, upscaled, upscaled",
    ),
    ("perturb", "masks[..., None] * image", "np.uint8(masks[..., None] * image)"),
    ("perturb", "masks[..., None] * image", "np.einsum('nhw,hwc->nhwc', masks, image)"),
    ("local", "scores[:, None, None] * masks", "(scores * masks.T).T"),
    ("local", "scores[:, None, None] * masks", "[s * m for s, m in zip(scores, masks)]"),
    (
        *("average", "times_score(scores, masks).sum(axis=0) / (len(masks) * p)"),
        "np.tensordot(scores, masks, 1) / p / len(masks)",
    ),
    ("my_rise", "32", "1"),
    ("my_rise", "model(lay_over(image, masks))", "model(np.uint8(lay_over(image, masks)))"),
]


@pytest.mark.parametrize("key, right, wrong", RIGHT)
def test_the_checks_accept_whatever_is_right(key, right, wrong):
    check(key, right, wrong)


@pytest.mark.parametrize("key, right, wrong, message", WRONG)
def test_the_checks_refuse_a_mistake_and_say_what_was_expected(key, right, wrong, message):
    with pytest.raises(AssertionError) as failure:
        check(key, right, wrong)
    said = str(failure.value).partition("\nassert ")[0]
    assert message in said and "\n" not in said
