import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from lab import metrics


def mean_brightness(images):
    share = images.mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - share, share], axis=1)


@pytest.fixture
def picture():
    """White left half, black right half: class 1 has probability 1/2."""
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, :4] = 255
    return image


def test_deletion_of_a_linear_model_in_closed_form(picture):
    left = np.zeros((4, 8))
    left[:, :4] = 1
    fraction, probability = metrics.deletion_curve(mean_brightness, picture, left, 1, 0)
    assert fraction.tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(probability, [0.5, 0, 0])
    assert metrics.auc(fraction, probability) == pytest.approx(1 / 8)
    # The reverse order loses the white half last: the area is 1/4 + 1/8.
    assert metrics.auc(*metrics.deletion_curve(mean_brightness, picture, -left, 1, 0)) == pytest.approx(3 / 8)


def test_insertion_of_a_linear_model_in_closed_form(picture):
    left = np.zeros((4, 8))
    left[:, :4] = 1
    fraction, probability = metrics.insertion_curve(mean_brightness, picture, left, 1, 0)
    np.testing.assert_allclose(probability, [0, 0.5, 0.5])
    assert metrics.auc(fraction, probability) == pytest.approx(3 / 8)


def test_deletion_and_insertion_mirror_each_other_for_an_additive_model(picture):
    rng = np.random.default_rng(0)
    saliency, image = rng.normal(size=(4, 8)), rng.integers(0, 256, (4, 8, 3))
    _, deleted = metrics.deletion_curve(mean_brightness, image, saliency, 1, 0, steps=32)
    _, inserted = metrics.insertion_curve(mean_brightness, image, saliency, 1, 0, steps=32)
    np.testing.assert_allclose(deleted + inserted, image.mean() / 255, rtol=1e-5)


def test_best_and_worst_order_bound_every_other(picture):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (3, 3, 1))
    best, worst, other = (
        metrics.auc(*metrics.deletion_curve(mean_brightness, image, saliency, 1, 0, steps=9))
        for saliency in (image[..., 0], -image[..., 0], rng.normal(size=(3, 3)))
    )
    assert best < other < worst


def test_steps_take_equal_portions_and_batches_change_nothing(picture):
    saliency = np.random.default_rng(2).normal(size=(4, 8))
    curves = [
        metrics.deletion_curve(mean_brightness, picture, saliency, 1, (10, 20, 30), steps=5, batch_size=size)
        for size in (1, 4, 100)
    ]
    fraction = curves[0][0]
    assert len(fraction) == 6 and np.abs(np.diff(fraction) - 1 / 5).max() <= 1 / 32
    for curve in curves[1:]:
        np.testing.assert_allclose(curve, curves[0], rtol=1e-6)


def test_curve_refuses_what_makes_no_sense(picture):
    good = np.zeros((4, 8))
    with pytest.raises(ValueError, match="same size"):
        metrics.deletion_curve(mean_brightness, picture, good[:3], 1, 0)
    with pytest.raises(ValueError, match="finite"):
        metrics.deletion_curve(mean_brightness, picture, good + np.nan, 1, 0)
    with pytest.raises(ValueError, match="steps"):
        metrics.deletion_curve(mean_brightness, picture, good, 1, 0, steps=33)
    with pytest.raises(ValueError, match="target"):
        metrics.deletion_curve(mean_brightness, picture, good, 2, 0)


def test_iou_and_jaccard():
    a, b = np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 1]], bool)
    assert metrics.iou(a, b) == metrics.jaccard(a, b) == sklearn.metrics.jaccard_score(a[0], b[0]) == 1 / 4
    assert metrics.iou(a, a) == 1
    nothing = np.zeros((1, 4), bool)
    assert metrics.iou(nothing, nothing) == 0 and metrics.jaccard(nothing, nothing) == 1
    with pytest.raises(ValueError, match="same shape"):
        metrics.iou(a, b.T)


def test_pointing_game():
    mask = np.array([[True, False], [False, False]])
    assert metrics.pointing_game(np.array([[3, 1], [2, 0]]), mask) == 1
    assert metrics.pointing_game(np.array([[1, 3], [2, 0]]), mask) == 0
    assert metrics.pointing_game(np.array([[3, 3], [2, 3]]), mask) == pytest.approx(1 / 3)


def test_bounding_box():
    mask = np.zeros((5, 6), bool)
    mask[1, 4] = mask[3, 2] = True  # opposite corners
    expected = np.zeros((5, 6), bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(metrics.bounding_box(mask), expected)
    np.testing.assert_array_equal(metrics.bounding_box(expected), expected)
    assert not metrics.bounding_box(np.zeros((3, 3), bool)).any()
    with pytest.raises(ValueError, match=r"\(H, W\), got shape \(3,\)"):
        metrics.bounding_box(np.ones(3, bool))


def test_iou_over_thresholds_by_hand():
    saliency = np.array([[4, 3], [2, 1]], np.uint8)  # unsigned: its negative would wrap around
    mask = np.array([[True, False], [True, False]])
    # Shown: the first; the first two; three, with both hits; all four.
    np.testing.assert_allclose(metrics.iou_over_thresholds(saliency, mask, [0.25, 0.5, 0.75, 1]), [1 / 2, 1 / 3, 2 / 3, 1 / 2])
    # Half of the pixels are asked for and three are equally salient: all three are shown.
    ties = np.array([[0, 5], [5, 5]])
    np.testing.assert_allclose(metrics.iou_over_thresholds(ties, mask, [0.25, 0.5, 0.75]), [1 / 4] * 3)
    np.testing.assert_array_equal(metrics.iou_over_thresholds(saliency, np.zeros((2, 2), bool), [0.5, 1]), [0, 0])


def test_iou_over_thresholds_is_iou_at_each():
    rng = np.random.default_rng(5)
    saliency, mask = rng.integers(0, 12, (10, 10)), rng.random((10, 10)) < 0.3
    fractions = np.arange(1, 101) / 100
    expected = [metrics.iou(saliency >= np.sort(saliency.ravel())[-n], mask) for n in range(1, 101)]
    np.testing.assert_allclose(metrics.iou_over_thresholds(saliency, mask, fractions), expected)


@pytest.mark.parametrize("fractions", [[0], [1.1], [np.nan], 0.5])
def test_iou_over_thresholds_refuses_what_is_no_share(fractions):
    with pytest.raises(ValueError, match="fractions must be"):
        metrics.iou_over_thresholds(np.ones((2, 2)), np.ones((2, 2), bool), fractions)


def test_faithfulness_of_the_true_attribution_of_an_additive_model():
    rng = np.random.default_rng(6)
    image, weights, segments = rng.integers(0, 256, (6, 8, 3)), rng.normal(size=(6, 8, 3)), rng.integers(3, 12, (6, 8))

    def additive(images):
        return np.einsum("nhwc,hwc->n", images, weights)[:, None] / 1e3

    baseline = np.array([100, 50, 200])
    truth = ((image - baseline) * weights).sum(axis=2)
    for size in (1, 4, 32):
        assert metrics.faithfulness(additive, image, truth, 0, baseline, segments, size) == pytest.approx(1, abs=1e-5)
        assert metrics.faithfulness(additive, image, 7 - 2 * truth, 0, baseline, np.arange(48).reshape(6, 8), size) == pytest.approx(-1, abs=1e-5)


def test_faithfulness_by_hand():
    image = np.array([[[3.0], [2.0], [1.0], [5.0]]])
    segments = np.array([[0, 0, 1, 2]])

    def product(images):  # of the sums over segments: 5 * 1 * 5 = 25
        x = images[:, 0, :, 0]
        return np.stack([np.zeros(len(x)), (x[:, 0] + x[:, 1]) * x[:, 2] * x[:, 3]], axis=1)

    # Each replaced with 2: (4) * 1 * 5 = 20, 5 * 2 * 5 = 50, 5 * 1 * 2 = 10, so that the drops are 5, -25, 15.
    # The saliency sums to 4, 1, 1.
    saliency = np.array([[1, 3, 1, 1]])
    assert metrics.faithfulness(product, image, saliency, 1, 2, segments) == pytest.approx(np.corrcoef([5, -25, 15], [4, 1, 1])[0, 1])


def test_faithfulness_is_not_a_number_where_nothing_varies(picture):
    segments = np.arange(8) // 2 + np.zeros((4, 1), int)
    sizes = np.array([0, 1, 1, 1, 2, 2, 2, 2]) + np.zeros((4, 1), int)
    same_sums = 1 / np.bincount(sizes.ravel())[sizes]
    assert np.isnan(metrics.faithfulness(mean_brightness, picture, same_sums, 1, 0, sizes))
    varied = np.random.default_rng(7).random((4, 8))
    assert np.isnan(metrics.faithfulness(mean_brightness, np.zeros_like(picture), varied, 1, 0, segments))
    assert not np.isnan(metrics.faithfulness(mean_brightness, picture, varied, 1, 0, segments))


def test_faithfulness_refuses_what_makes_no_sense_before_a_call(picture):
    good, segments = np.zeros((4, 8)), np.zeros((4, 8), int)

    def forbidden(images):
        pytest.fail("called")

    with pytest.raises(ValueError, match="same size"):
        metrics.faithfulness(forbidden, picture, good[:3], 1, 0, segments)
    with pytest.raises(ValueError, match="segments must be whole numbers"):
        metrics.faithfulness(forbidden, picture, good, 1, 0, segments + 0.5)
    with pytest.raises(ValueError, match="segments must be whole numbers"):
        metrics.faithfulness(forbidden, picture, good, 1, 0, segments.T)
    with pytest.raises(ValueError, match="target must be a class from 0 to 1, got 2"):
        metrics.faithfulness(mean_brightness, picture, good, 2, 0, segments)


def test_stability_is_the_mean_over_pairs():
    chosen = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], bool)
    assert metrics.jaccard_stability(chosen) == pytest.approx((1 / 2 + 0 + 0) / 3)
    weights = np.random.default_rng(3).normal(size=(4, 9)).round(1)
    pairs = [scipy.stats.spearmanr(weights[i], weights[j]).statistic for i in range(4) for j in range(i)]
    assert metrics.rank_stability(weights) == pytest.approx(np.mean(pairs))
    assert np.isnan(metrics.rank_correlation(np.ones(5), np.arange(5)))
    with pytest.raises(ValueError, match="two runs"):
        metrics.rank_stability(weights[:1])


def test_weighted_r2_is_scikit_learns():
    rng = np.random.default_rng(4)
    truth, weights = rng.normal(size=30), rng.random(30)
    prediction = truth + rng.normal(size=30)
    expected = sklearn.metrics.r2_score(truth, prediction, sample_weight=weights)
    assert metrics.weighted_r2(truth, prediction, weights) == pytest.approx(expected)
    assert metrics.weighted_r2(truth, np.full(30, np.average(truth, weights=weights)), weights) == pytest.approx(0)
    assert np.isnan(metrics.weighted_r2(np.ones(3), np.zeros(3), np.ones(3)))
    with pytest.raises(ValueError, match="weights"):
        metrics.weighted_r2(truth, prediction, -weights)


def test_other_libraries_values():
    """As printed by benchmarks/metrics_elsewhere.py: Xplique 2.0.2 and Quantus 0.6.0 on these inputs."""
    y, x, c = np.mgrid[:12, :16, :3]
    image = ((37 * y + 11 * x * x + 53 * c) % 256).astype(np.float32)
    y, x = y[..., 0], x[..., 0]
    saliency = np.sin(0.9 * y) + np.cos(1.7 * x * y + 0.3 * x)

    def predict(images):
        bright, corner = images.mean(axis=(1, 2, 3)) / 255, images[:, :6, :8, 0].mean(axis=(1, 2)) / 255
        probability = 1 / (1 + np.exp(-3 * bright * corner - corner))
        return np.stack([1 - probability, probability], axis=1)

    deletion = metrics.auc(*metrics.deletion_curve(predict, image, saliency, 1, 0, steps=16))
    insertion = metrics.auc(*metrics.insertion_curve(predict, image, saliency, 1, 0, steps=16))
    assert deletion == pytest.approx(0.615926, abs=1e-6)  # Xplique's Deletion
    assert insertion == pytest.approx(0.618988, abs=1e-6)  # Xplique's Insertion
    mask = (y < 7) & (x < 9)
    assert metrics.pointing_game(saliency, mask) == 1  # Quantus' PointingGame
    assert metrics.pointing_game(-saliency, mask) == 0
    at_size_of_object = metrics.iou_over_thresholds(saliency, mask, [mask.mean()])
    assert at_size_of_object == pytest.approx(0.188679, abs=1e-6)  # a / (2 - a) of a = Quantus' RelevanceRankAccuracy

    bright = saliency + image[..., 0] / 50
    for step, expected in ((1, 0.329539), (8, 0.719743)):  # Quantus' FaithfulnessEstimate
        segments = np.empty(192, int)
        segments[np.argsort(-bright, axis=None)] = np.arange(192) // step
        found = metrics.faithfulness(predict, image[..., :1], bright, 1, 0, segments.reshape(12, 16))
        assert found == pytest.approx(expected, abs=2e-5)
