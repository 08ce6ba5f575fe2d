import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from lab.measure import agreement


def test_jaccard():
    a, b = np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 1]], bool)
    assert agreement.jaccard(a, b) == sklearn.metrics.jaccard_score(a[0], b[0]) == 1 / 4
    nothing = np.zeros((1, 4), bool)
    assert agreement.jaccard(nothing, nothing) == 1
    with pytest.raises(ValueError, match="same shape"):
        agreement.jaccard(a, b.T)


def test_stability_is_each_run_with_the_others():
    chosen = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], bool)
    assert agreement.stability(agreement.jaccard, chosen) == pytest.approx([1 / 4, 1 / 4, 0])
    weights = np.random.default_rng(3).normal(size=(4, 9)).round(1)
    pairs = [
        scipy.stats.spearmanr(weights[i], weights[j]).statistic for i in range(4) for j in range(i)
    ]
    assert agreement.stability(agreement.rank_correlation, weights).mean() == pytest.approx(
        np.mean(pairs)
    )
    assert np.isnan(agreement.stability(agreement.jaccard, chosen[:1])).all()
    with pytest.raises(ValueError, match="a row for each run"):
        agreement.stability(agreement.jaccard, chosen[0])


def test_rank_correlation():
    assert np.isnan(agreement.rank_correlation(np.ones(5), np.arange(5)))
    assert agreement.rank_correlation(np.arange(5), np.arange(5) ** 3) == pytest.approx(1)
    with pytest.raises(ValueError, match="same shape"):
        agreement.rank_correlation(np.ones(5), np.ones(4))


def test_correlation_takes_no_rounding_for_a_pattern():
    first, second = np.random.default_rng(8).normal(size=(2, 20))
    assert agreement.correlation(first, second) == pytest.approx(np.corrcoef(first, second)[0, 1])
    same_sums = np.array([0.1 + 0.2, 0.3, 0.15 + 0.15])
    assert same_sums.std() > 0 and np.isnan(agreement.correlation(same_sums, np.arange(3.0)))


def test_weighted_r2_is_scikit_learns():
    rng = np.random.default_rng(4)
    truth, weights = rng.normal(size=30), rng.random(30)
    prediction = truth + rng.normal(size=30)
    expected = sklearn.metrics.r2_score(truth, prediction, sample_weight=weights)
    assert agreement.weighted_r2(truth, prediction, weights) == pytest.approx(expected)
    assert agreement.weighted_r2(
        truth, np.full(30, np.average(truth, weights=weights)), weights
    ) == pytest.approx(0)
    assert np.isnan(agreement.weighted_r2(np.ones(3), np.zeros(3), np.ones(3)))
    with pytest.raises(ValueError, match="weights must be at least 0"):
        agreement.weighted_r2(truth, prediction, -weights)
    with pytest.raises(ValueError, match="same shape"):
        agreement.weighted_r2(truth, prediction[1:], weights)
