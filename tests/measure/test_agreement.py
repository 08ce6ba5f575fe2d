import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from lab.measure import agreement
from lab.measure.agreement import constant, correlation, jaccard, rank_correlation, weighted_r2


def test_jaccard():
    a, b = np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 1]], bool)
    assert jaccard(a, b) == sklearn.metrics.jaccard_score(a[0], b[0]) == 1 / 4
    assert jaccard(a & ~a, b & ~b) == 1


def test_correlations_are_scipys():
    first, second = np.random.default_rng(8).normal(size=(2, 4, 5)).round(1)
    flat = first.ravel(), second.ravel()
    assert correlation(first, second) == pytest.approx(scipy.stats.pearsonr(*flat)[0])
    assert rank_correlation(first, second) == pytest.approx(scipy.stats.spearmanr(*flat)[0])


@pytest.mark.parametrize("measure", [jaccard, correlation, rank_correlation])
def test_shapes_must_be_the_same(measure):
    with pytest.raises(ValueError, match=r"the same shape, got \(2, 3\) and \(3, 2\)"):
        measure(np.ones((2, 3)), np.ones((3, 2)))


NOISE = np.random.default_rng(3).normal(size=20)


def test_what_differs_by_rounding_has_no_pattern():
    rounding = 0.3 * (1 + 1e-15 * NOISE), np.float32(0.3 * (1 + 1e-7 * NOISE))
    for values in (np.full(20, 0.1), np.full(20, 7), np.ones(1), np.ones(0), *rounding):
        other = np.arange(len(values))
        assert constant(values)
        for measure in (correlation, rank_correlation):
            assert np.isnan(measure(values, other)) and np.isnan(measure(other, values))


def test_what_differs_by_more_is_not_constant():
    for values in (1e-30 * NOISE, 1e6 + NOISE, np.float32(1 + 1e-3 * NOISE), 10**9 + np.arange(3)):
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
    with pytest.raises(ValueError, match="a row for each run"):
        agreement.stability(jaccard, chosen[0])


def test_weighted_r2_is_scikit_learns():
    truth, weights, noise = np.random.default_rng(4).random((3, 30))
    expected = sklearn.metrics.r2_score(truth, truth + noise, sample_weight=weights)
    assert weighted_r2(truth, truth + noise, weights) == pytest.approx(expected)
    for other, message in ((-weights, "weights must be at least 0"), (weights[1:], "same shape")):
        with pytest.raises(ValueError, match=message):
            weighted_r2(truth, noise, other)


def test_weighted_r2_of_scores_that_do_not_change_is_not_a_number():
    weights = np.random.default_rng(5).random(20)
    for scores in (np.full(20, 0.1), np.float64(np.float32(0.3 * (1 + 1e-7 * NOISE)))):
        assert np.isnan(weighted_r2(scores, NOISE, weights))
    # The only score that differs does not count.
    assert np.isnan(weighted_r2([0.1, 0.1, 0.9], [0.0, 0.1, 0.2], [1.0, 0.3, 0.0]))
