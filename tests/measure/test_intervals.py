import numpy as np
import pytest
import scipy.stats

from lab.measure.intervals import mean_interval


def test_it_is_the_percentile_bootstrap_corrected_for_few_values():
    values = np.random.default_rng(6).exponential(size=8)
    package = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=0)
    plain = np.array(package.confidence_interval)
    wider = np.sqrt(8 / 7) * scipy.stats.t.ppf(0.975, 7) / scipy.stats.norm.ppf(0.975)
    expected = values.mean() + wider * (plain - values.mean())
    assert mean_interval(values) == pytest.approx(tuple(expected), abs=0.05)
    assert mean_interval(values) == mean_interval(list(values))  # the same each time


def test_equal_values_leave_no_doubt_and_fewer_than_three_no_interval():
    assert mean_interval(np.full(6, 0.3)) == pytest.approx((0.3, 0.3))
    assert np.isnan(mean_interval([1.0, 2.0])).all() and np.isnan(mean_interval([])).all()
    assert np.isnan(mean_interval([1.0, 2.0, 3.0], ["a", "b", "b"])).all()


def test_a_cluster_counts_once_however_many_values_it_has():
    values, objects = np.array([0.0, 1.0, 2.0, 3.0]), list("abcd")
    several = mean_interval(np.repeat(values, 5), np.repeat(objects, 5))
    assert several == pytest.approx(mean_interval(values)) == mean_interval(values, objects)


@pytest.mark.parametrize("values", [[1, 2, np.nan], [1, np.inf, 2], [[1.0, 2.0, 3.0]]])
def test_values_must_be_finite_and_have_clusters(values):
    with pytest.raises(ValueError, match="values must be a list of finite numbers"):
        mean_interval(values)
    with pytest.raises(ValueError, match="a cluster for each of 3 values, got 2"):
        mean_interval([1.0, 2.0, 3.0], [1, 2])


@pytest.mark.parametrize("n, clusters", [(3, 3), (6, 6), (38, 19)])
@pytest.mark.parametrize("skewed, least", [(False, 0.925), (True, 0.85)])
def test_how_often_the_interval_holds_the_true_mean(n, clusters, skewed, least):
    rng, place = np.random.default_rng(1), np.arange(n) % clusters
    held = 0
    for _ in range(1000):
        common = rng.exponential(size=clusters) - 1 if skewed else rng.normal(size=clusters)
        values = common[place] + (0.3 * rng.normal(size=n) if n > clusters else 0)
        low, high = mean_interval(values, place)
        held += low < 0 < high
    assert least < held / 1000 < 0.98
