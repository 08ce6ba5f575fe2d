import numpy as np
import pytest

from lab.measure import overlap


def test_iou():
    a, b = np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 1]], bool)
    assert overlap.iou(a, b) == 1 / 4 and overlap.iou(a, a) == 1
    nothing = np.zeros((1, 4), bool)
    assert overlap.iou(nothing, nothing) == 0
    with pytest.raises(ValueError, match="same shape"):
        overlap.iou(a, b.T)


def test_pointing_game():
    mask = np.array([[True, False], [False, False]])
    assert overlap.pointing_game(np.array([[3, 1], [2, 0]]), mask) == 1
    assert overlap.pointing_game(np.array([[1, 3], [2, 0]]), mask) == 0
    assert overlap.pointing_game(np.array([[3, 3], [2, 3]]), mask) == pytest.approx(1 / 3)


@pytest.mark.parametrize("measure", [overlap.pointing_game, overlap.iou_over_thresholds])
def test_maps_that_cannot_be_measured(measure):
    mask = np.zeros((2, 2), bool)
    with pytest.raises(ValueError, match=r"same shape, got \(2, 3\) and \(2, 2\)"):
        measure(np.zeros((2, 3)), mask)
    with pytest.raises(ValueError, match="finite"):
        measure(np.full((2, 2), np.nan), mask)


def test_bounding_box():
    mask = np.zeros((5, 6), bool)
    mask[1, 4] = mask[3, 2] = True  # opposite corners
    expected = np.zeros((5, 6), bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(overlap.bounding_box(mask), expected)
    np.testing.assert_array_equal(overlap.bounding_box(expected), expected)
    assert not overlap.bounding_box(np.zeros((3, 3), bool)).any()
    with pytest.raises(ValueError, match=r"\(H, W\), got shape \(3,\)"):
        overlap.bounding_box(np.ones(3, bool))


def test_iou_over_thresholds_by_hand():
    saliency = np.array([[4, 3], [2, 1]], np.uint8)  # unsigned: its negative would wrap around
    mask = np.array([[True, False], [True, False]])
    # Shown: the first; the first two; three, with both hits; all four.
    np.testing.assert_allclose(
        overlap.iou_over_thresholds(saliency, mask, [0.25, 0.5, 0.75, 1]),
        [1 / 2, 1 / 3, 2 / 3, 1 / 2],
    )
    # Half of the pixels are asked for and three are equally salient: all three are shown.
    ties = np.array([[0, 5], [5, 5]])
    np.testing.assert_allclose(
        overlap.iou_over_thresholds(ties, mask, [0.25, 0.5, 0.75]), [1 / 4] * 3
    )
    np.testing.assert_array_equal(
        overlap.iou_over_thresholds(saliency, np.zeros((2, 2), bool), [0.5, 1]), [0, 0]
    )


def test_iou_over_thresholds_is_iou_at_each():
    rng = np.random.default_rng(5)
    saliency, mask = rng.integers(0, 12, (10, 10)), rng.random((10, 10)) < 0.3
    fractions = np.arange(1, 101) / 100
    expected = [overlap.iou(saliency >= np.sort(saliency.ravel())[-n], mask) for n in range(1, 101)]
    np.testing.assert_allclose(overlap.iou_over_thresholds(saliency, mask, fractions), expected)
    np.testing.assert_allclose(overlap.iou_over_thresholds(saliency, mask), expected[1::2])


@pytest.mark.parametrize("fractions", [[0], [1.1], [np.nan], 0.5])
def test_iou_over_thresholds_refuses_what_is_no_share(fractions):
    with pytest.raises(ValueError, match="fractions must be"):
        overlap.iou_over_thresholds(np.ones((2, 2)), np.ones((2, 2), bool), fractions)


def test_other_libraries_values():
    """As printed by benchmarks/metrics_elsewhere.py: Quantus 0.6.0 on these inputs."""
    y, x = np.mgrid[:12, :16]
    saliency = np.sin(0.9 * y) + np.cos(1.7 * x * y + 0.3 * x)
    mask = (y < 7) & (x < 9)
    assert overlap.pointing_game(saliency, mask) == 1  # PointingGame
    assert overlap.pointing_game(-saliency, mask) == 0
    at_size_of_object = overlap.iou_over_thresholds(saliency, mask, [mask.mean()])
    assert at_size_of_object == pytest.approx(
        0.188679, abs=1e-6
    )  # a / (2 - a) of a = RelevanceRankAccuracy
