"""How well two explanations agree, and a surrogate model with the black box.

All functions raise a ValueError where the shapes of their arguments differ, and a
TypeError for masked values.
"""

import itertools

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import r2_score

from lab.measure.checks import check_mask, check_same_shape


def jaccard(first, second):
    """Jaccard index of two bool arrays, in [0, 1]; 1 when both are empty.

    Others raise a TypeError: a grey value is not a mask before it has a threshold.
    """
    first, second = check_same_shape(check_mask(first), check_mask(second))
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def correlation(first, second):
    """Pearson's correlation of two arrays, in [-1, 1]; NaN when one is `constant`."""
    return _correlation(pearsonr, first, second)


def rank_correlation(first, second):
    """Spearman's correlation of two arrays, in [-1, 1]; NaN when one is `constant`."""
    return _correlation(spearmanr, first, second)


def _correlation(measure, first, second):
    first, second = check_same_shape(first, second)
    if constant(first) or constant(second):
        return float("nan")
    # In the maps' own precision sums and products would overflow or vanish.
    return float(measure(*(np.float64(values).ravel() for values in (first, second))).statistic)


def stability(measure, runs):
    """How well each run agrees with the runs of other seeds: **higher is better**.

    Parameters
    ----------
    measure : callable
        Of two runs: `jaccard`, as in [1]_, or `rank_correlation`, as in [2]_.
    runs : (runs, n) array
        Each run's chosen superpixels or weights.

    Returns
    -------
    (runs,) array
        The mean over the other runs; NaN where there is one run, or where a pair has no
        agreement.

    References
    ----------
    .. [1] Tan, Tian, Li, "GLIME", NeurIPS 2023.
    .. [2] Bora et al., "SLICE", CVPR 2024.
    """
    agreement = np.zeros((len(runs), len(runs)))
    for i, j in itertools.combinations(range(len(runs)), 2):
        agreement[i, j] = agreement[j, i] = measure(runs[i], runs[j])
    return agreement.sum(axis=1) / (len(runs) - 1 or np.nan)


def weighted_r2(truth, prediction, weights):
    """Weighted R² of a surrogate model, LIME's fidelity: **higher is better**.

    On the perturbed samples that the surrogate was fitted to, R² flatters it.

    Parameters
    ----------
    truth, prediction : (n,) arrays
        The scores of the black box and of the surrogate.
    weights : (n,) array
        How much each counts, at least 0; in LIME the locality kernel [1]_.

    Returns
    -------
    float
        At most 1; 0 for a surrogate no better than the weighted mean, negative for a
        worse one; NaN when the scores with a weight above 0 are `constant`.

    References
    ----------
    .. [1] Ribeiro, Singh, Guestrin, "'Why Should I Trust You?'", KDD 2016.
    """
    truth, prediction, weights = check_same_shape(truth, prediction, weights)
    if constant(truth[weights > 0], scores=True):
        return float("nan")
    return float(r2_score(truth, prediction, sample_weight=weights))


def weighted_correlation(first, second, weights):
    """Pearson's correlation of values that count differently, in [-1, 1].

    Parameters
    ----------
    first, second : (n,) arrays
        The scores of the surrogate and of the black box.
    weights : (n,) array
        How much each counts, at least 0.

    Returns
    -------
    float
        NaN when values of one with a weight above 0 are `constant`.
    """
    first, second, weights = check_same_shape(first, second, weights)
    counts = weights > 0
    if constant(first[counts]) or constant(second[counts], scores=True):
        return float("nan")
    covariance = np.cov(first, second, aweights=weights)
    return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


def constant(values, scores=False):
    """Whether values are equal up to rounding, so that their differences mean nothing.

    Parameters
    ----------
    values : array
    scores : bool, optional
        They are a model's scores: float64, but computed in float32 if that holds all.

    Returns
    -------
    bool
        Whether they spread over at most 1e-5 (float32) or 1e-12 (float64) of the
        largest absolute value. Between batches, networks' scores of one image differ by
        up to 7e-6. Integers must be equal; fewer than two values are.
    """
    values = np.asarray(values)
    if values.size < 2:
        return True
    if values.dtype.kind != "f":
        return bool((values == values.flat[0]).all())
    with np.errstate(over="ignore"):
        single = values.dtype.itemsize < 8 or (scores and (values == np.float32(values)).all())
    values = values.astype(np.float64)
    return bool(np.ptp(values) <= (1e-5 if single else 1e-12) * np.abs(values).max())
