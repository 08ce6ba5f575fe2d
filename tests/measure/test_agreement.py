import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.metrics

from lab.measure import agreement
from lab.measure.agreement import constant, correlation, jaccard, rank_correlation, weighted_r2

MASK = np.array([[1, 1, 0, 0]], bool)
NOISE = np.random.default_rng(3).normal(size=20)


def test_jaccard():
    other = np.array([[0, 1, 1, 1]], bool)
    assert jaccard(MASK, other) == sklearn.metrics.jaccard_score(MASK[0], other[0]) == 1 / 4
    assert jaccard(MASK & ~MASK, MASK & ~MASK) == 1


def test_correlations():
    first, second = np.random.default_rng(8).normal(size=(2, 4, 5)).round(1)
    flat = first.ravel(), second.ravel()
    assert correlation(first, second) == pytest.approx(np.corrcoef(*flat)[0, 1])
    ranks = np.corrcoef(*(pd.Series(values).rank() for values in flat))[0, 1]
    assert rank_correlation(first, second) == pytest.approx(ranks)


@pytest.mark.parametrize("measure", [jaccard, correlation, rank_correlation])
def test_arrays_that_cannot_be_compared(measure):
    with pytest.raises(ValueError, match=r"the same shape, got \(1, 4\) and \(4, 1\)"):
        measure(MASK, MASK.T)
    with pytest.raises(TypeError, match="without masked values"):
        measure(MASK, np.ma.masked_where(MASK, MASK))


@pytest.mark.parametrize("dtype, scale", [(np.float16, 100), (np.float16, 1e-4), (np.uint8, 100)])
def test_correlations_of_small_number_types(dtype, scale):
    first, second = np.random.default_rng(5).random((2, 112, 112))
    first, second = (scale * np.stack([first, (first + second) / 2])).astype(dtype)
    expected = np.corrcoef(*np.float64([first.ravel(), second.ravel()]))[0, 1]
    assert correlation(first, second) == pytest.approx(expected)
    for measure in (correlation, rank_correlation):
        for values in (first, np.arange(20, dtype=dtype)):
            assert measure(values, values) == pytest.approx(1)


@pytest.mark.parametrize("measure", [correlation, rank_correlation])
@pytest.mark.parametrize("scale", [1e8, 1e-13, 1e-15, 1e30, 1e-35])
def test_correlations_do_not_depend_on_the_scale(measure, scale):
    first, second = NOISE, NOISE + np.roll(NOISE, 1)
    expected = measure(first, second)
    scaled = np.float32(first * scale), np.float32(second * scale)
    assert measure(*scaled) == pytest.approx(expected, abs=1e-5)
    assert measure(scaled[0], scaled[0]) == pytest.approx(1)
    far = first * scale**5, second * scale**5  # of float64
    assert measure(*far) == pytest.approx(expected)


def test_what_differs_by_rounding_has_no_pattern():
    rounding = 0.3 * (1 + 1e-15 * NOISE), np.float32(0.3 * (1 + 1e-7 * NOISE))
    for values in (np.full(20, 0.1), np.full(20, 7), np.ones(1), np.ones(0), *rounding):
        other = np.arange(len(values))
        assert constant(values)
        for measure in (correlation, rank_correlation):
            assert np.isnan(measure(values, other)) and np.isnan(measure(other, values))


@pytest.mark.parametrize("dtype, spread", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_what_differs_by_more_is_not_constant(dtype, spread):
    for size in (0.3, -7e3):
        assert constant(np.array([size, size * (1 - 0.9 * spread)], dtype))
        assert not constant(np.array([size, size * (1 - 1.1 * spread)], dtype))
    for values in (1e-30 * NOISE, 1e6 + NOISE, 10**9 + np.arange(3)):
        assert not constant(values) and not constant(values, scores=True)


def test_scores_that_float32_holds_were_computed_in_it():
    scores = np.float64(np.float32(0.3 * (1 + 1e-6 * NOISE)))
    assert constant(scores, scores=True) and not constant(scores)
    assert not constant(0.3 * (1 + 1e-6 * NOISE), scores=True)  # a model of float64
    assert not constant(1e39 * (2 + NOISE), scores=True)  # more than float32 holds


def test_stability_is_each_run_with_the_others():
    chosen = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], bool)
    assert agreement.stability(jaccard, chosen) == pytest.approx([1 / 4, 1 / 4, 0])
    weights = NOISE[:16].reshape(4, 4)
    others = (scipy.stats.spearmanr(weights, axis=1).statistic.sum(axis=1) - 1) / 3
    assert agreement.stability(rank_correlation, weights) == pytest.approx(others)
    assert np.isnan(agreement.stability(jaccard, chosen[:1])).all()
    assert np.isnan(agreement.stability(rank_correlation, np.ones((3, 4)))).all()


def test_weighted_r2():
    truth, weights, noise = np.random.default_rng(4).random((3, 30))
    mean = (weights * truth).sum() / weights.sum()
    expected = 1 - (weights * noise**2).sum() / (weights * (truth - mean) ** 2).sum()
    assert weighted_r2(truth, truth + noise, weights) == pytest.approx(expected)
    with pytest.raises(ValueError, match="same shape"):
        weighted_r2(truth, noise, weights[1:])


def test_weighted_r2_of_scores_that_do_not_change_is_not_a_number():
    weights = np.random.default_rng(5).random(20)
    for scores in (np.full(20, 0.1), np.float64(np.float32(0.3 * (1 + 1e-7 * NOISE)))):
        assert np.isnan(weighted_r2(scores, NOISE, weights))
    # The only score that differs does not count, or none does.
    for weights in ([1.0, 0.3, 0.0], [0.0, 0.0, 0.0]):
        assert np.isnan(weighted_r2([0.1, 0.1, 0.9], [0.0, 0.1, 0.2], weights))
