"""Occlusion and nested occlusion against brute force, closed forms and invariances."""

import numpy as np
import pytest
from counting import Recorder

from lab.methods import occlusion as module
from lab.methods.occlusion import _covering_windows, nested_occlusion, occlusion

IMAGE = np.random.default_rng(3).integers(0, 256, (40, 56, 3)).astype(np.uint8)
PATCH = np.s_[:, 10:20, 30:44]
MEAN = IMAGE.mean(axis=(0, 1)).astype(np.float32)


def patch(images):
    """How much texture a rectangle has: what is hidden has none."""
    return np.abs(images - MEAN)[PATCH].mean(axis=(1, 2, 3)) / 255


def two_classes(images):
    """A model that is not linear."""
    corner = np.abs(images - MEAN)[:, -12:, :12].mean(axis=(1, 2, 3)) / 255
    return np.stack([np.tanh(9 * patch(images)), corner**2], axis=1)


def hidden(model):
    """Where the images of each model call show the mean colour, which no pixel has."""
    return (np.concatenate(model.seen) == MEAN).all(axis=-1)


def test_occlusion_in_closed_form():
    """Under a window, a linear model loses what its weights say."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    weights = rng.normal(size=(12, 16)) / 1e4
    model = lambda images: (images * weights[..., None]).sum((1, 2, 3))  # noqa: E731
    loss = ((image - np.round(image.mean((0, 1)))) * weights[..., None]).sum(-1)
    (rows, columns), (height, width) = _covering_windows((12, 16), 49)
    assert (height, width) == (3, 4) and len(rows) * len(columns) == 48
    total, count = np.zeros((2, 12, 16))
    for y, x in np.ndindex(12, 16):
        for top, left in ((top, left) for top in rows for left in columns):
            if top <= y < top + height and left <= x < left + width:
                total[y, x] += loss[top : top + height, left : left + width].sum()
                count[y, x] += 1
    np.testing.assert_allclose(occlusion(model, image, 0, 50, 0), total / count, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_nested_of_the_whole_image_is_the_mean_drop_of_covering_windows(monkeypatch, seed):
    monkeypatch.setattr(module, "_PARTS", (1.0,))
    model = Recorder(two_classes)
    saliency = nested_occlusion(model, IMAGE, 1, 300, seed)
    scores, where = two_classes(np.concatenate(model.seen))[:, 1], hidden(model)
    expected, covered, sizes = 0, True, where.sum(axis=(1, 2))
    # Windows are 15% and 35% of the sides; the first get two thirds of the calls.
    assert sizes[0] == 0 and set(sizes[1:]) == {6 * 8, 14 * 20}
    assert 300 / 2 < (sizes == 6 * 8).sum() < 300 * 2 / 3
    for size in set(sizes[1:]):
        of_size = sizes == size
        count = where[of_size].sum(axis=0)
        covered = covered & (count > 0)
        drops = np.einsum("n,nhw->hw", scores[0] - scores[of_size], where[of_size])
        expected = expected + drops / np.maximum(count, 1)
    assert covered.mean() > 0.8  # beyond the outermost windows the map continues as it is
    np.testing.assert_allclose(saliency[covered], expected[covered], atol=1e-5)


def test_windows_are_rectangles_and_each_part_lies_in_the_one_before():
    model = Recorder(patch)
    nested_occlusion(model, IMAGE, 0, 250, 0)
    where = hidden(model)
    shown = 1 - where.mean(axis=(1, 2))
    firsts = [np.abs(shown - share).argmin() for share in (1, 0.75, 0.5, 0.35, 0.2)]
    assert firsts[0] == 0 and firsts == sorted(firsts)
    assert all((where[a] <= where[b]).all() for a, b in zip(firsts, firsts[1:]))
    for first, last in zip(firsts, [*firsts[1:], len(where)]):
        for window in where[first + 1 : last] & ~where[first]:
            (top, left), (bottom, right) = np.argwhere(window).min(0), np.argwhere(window).max(0)
            assert (window | where[first])[top : bottom + 1, left : right + 1].all()


def test_windows_of_which_less_than_a_quarter_is_shown_are_left_out():
    model = Recorder(patch)
    nested_occlusion(model, IMAGE, 0, 1000, 0)
    where = hidden(model)
    first, last = (np.abs(1 - where.mean(axis=(1, 2)) - share).argmin() for share in (0.35, 0.2))
    shown = (where[first + 1 : last] & ~where[first]).sum(axis=(1, 2))
    # Windows are 15% and 35% of the sides of what is shown, which is 35% of the image.
    small, large = 4 * 5, 8 * 12  # a quarter of the large ones is more than a small one
    share = np.where(shown <= small, shown / small, shown / large)
    assert share.min() == pytest.approx(0.25) and share.max() == 1


def test_parts_do_not_depend_on_rounding():
    part = module._most_salient(np.array([[-1, 1e-17, 2e-17, 1]]), 0.5)
    np.testing.assert_array_equal(part, [[0, 1, 0, 1]])


def test_parts_find_what_no_window_of_the_whole_image_changes():
    def saturated(images):
        seen = (images[:, 4:36, 10:26] != MEAN).any(axis=-1).mean(axis=(1, 2))
        return np.minimum(2.5 * seen, 1)

    saliency = nested_occlusion(saturated, IMAGE, 0, 250, 0)
    assert saliency[4:36, 10:26].mean() > 5 * max(saliency[:, 40:].mean(), 0.01)


def test_the_map_is_linear_in_the_score():
    plain = nested_occlusion(patch, IMAGE, 0, 250, 0)
    other = nested_occlusion(lambda images: 3 * patch(images) - 7, IMAGE, 0, 250, 0)
    np.testing.assert_allclose(other, 3 * plain, atol=1e-5)
    assert not nested_occlusion(lambda images: np.full(len(images), 0.3), IMAGE, 0, 250, 0).any()


@pytest.mark.parametrize("function", [occlusion, nested_occlusion])
@pytest.mark.parametrize("shape", [(227, 227, 3), (60, 180, 3), (180, 60, 3), (3, 3, 3)])
@pytest.mark.parametrize("budget", [3, 20, 99, 100, 250, 1000])
def test_the_budget_is_never_exceeded_and_nearly_used(function, shape, budget):
    model = Recorder(lambda images: images[:, : shape[0] // 2].mean(axis=(1, 2, 3)))
    saliency = function(model, np.full(shape, 200, np.uint8), 0, budget, 0)
    calls = sum(map(len, model.seen))
    # A pixel that no window covers would be NaN.
    assert calls <= budget and np.isfinite(saliency).all() and saliency.shape == shape[:2]
    if function == nested_occlusion and shape != (3, 3, 3):  # which has few windows
        assert calls >= (0.9 if budget >= 100 else 0.8) * budget
