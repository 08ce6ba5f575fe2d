import numpy as np
import pytest

from lab.measure import overlap
from lab.measure.overlap import bounding_box, iou, iou_over_thresholds, pointing_game

EMPTY = np.zeros((2, 2), bool)


def test_pointing_game():
    mask = np.array([[True, False], [False, False]])
    for saliency, hit in (([[3, 1], [2, 0]], 1), ([[1, 3], [2, 0]], 0), ([[3, 3], [2, 3]], 1 / 3)):
        assert pointing_game(saliency, mask) == pytest.approx(hit)


@pytest.mark.parametrize("measure", [iou, pointing_game, iou_over_thresholds])
def test_maps_and_objects_that_cannot_be_measured(measure):
    with pytest.raises(ValueError, match="shape"):
        measure(np.zeros((2, 3), bool), EMPTY)
    if measure is not iou:
        with pytest.raises(ValueError, match="finite"):
            measure(np.full((2, 2), np.nan), EMPTY)
    assert np.isnan(measure(np.array([[True, False]] * 2), EMPTY)).all()


@pytest.mark.parametrize("mask", [EMPTY * 252, EMPTY + 0.001, EMPTY + np.nan, [["ab"] * 2] * 2])
def test_a_mask_must_be_bool(mask):
    measures = pointing_game, iou_over_thresholds, iou, lambda other, mask: iou(mask, other)
    for measure in (*measures, lambda _, mask: bounding_box(mask)):
        with pytest.raises(TypeError, match="mask must be bool, .* got (int64|float64|<U2)"):
            measure(~EMPTY, mask)
        with pytest.raises(TypeError, match="without masked values"):
            measure(~EMPTY, np.ma.masked_array(EMPTY, ~EMPTY))


def test_a_map_that_is_constant_up_to_rounding_points_nowhere():
    rng = np.random.default_rng(0)
    mask = rng.random((20, 20)) < 0.3
    for saliency in (np.ones((20, 20)), np.float32(1 + 1e-7 * rng.normal(size=(20, 20)))):
        assert pointing_game(saliency, mask) == pytest.approx(mask.mean())
        np.testing.assert_allclose(iou_over_thresholds(saliency, mask), mask.mean())


def test_bounding_box():
    mask, expected = np.zeros((2, 5, 6), bool)
    mask[1, 4] = mask[3, 2] = True  # opposite corners
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(bounding_box(mask), expected)
    assert not bounding_box(EMPTY).any()


@pytest.mark.parametrize("size", [10, 5])
def test_iou_over_thresholds_is_iou_at_each(size):
    rng = np.random.default_rng(5)
    # Unsigned, so that negatives wrap around, with ties, which are shown together.
    saliency, mask = rng.integers(0, 12, (size, size), np.uint8), rng.random((size, size)) < 0.3
    expected = []
    for percent in range(2, 101, 2):
        last = next(n for n in range(1, size**2 + 1) if 100 * n >= percent * size**2)
        shown = saliency >= np.sort(saliency.ravel())[-last]
        expected.append((shown & mask).sum() / (shown | mask).sum())
        assert iou(shown, mask) == expected[-1]
    np.testing.assert_allclose(iou_over_thresholds(saliency, mask), expected)


def test_other_libraries_values(monkeypatch):
    """Values of ``PointingGame()`` and ``RelevanceRankAccuracy()`` of Quantus 0.6.0."""
    y, x = np.mgrid[:12, :16]
    saliency = np.sin(0.9 * y) + np.cos(1.7 * x * y + 0.3 * x)
    mask = (y < 7) & (x < 9)
    assert pointing_game(saliency, mask) == 1 and pointing_game(-saliency, mask) == 0
    monkeypatch.setattr(overlap, "THRESHOLDS", mask.size)
    at_size_of_object = iou_over_thresholds(saliency, mask)[mask.sum() - 1]
    # a / (2 - a) of a = RelevanceRankAccuracy
    assert at_size_of_object == pytest.approx(0.188679, abs=1e-6)
