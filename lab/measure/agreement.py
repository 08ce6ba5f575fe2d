"""How well two explanations agree, and a surrogate with the model that it stands for."""

import itertools

import numpy as np
from scipy.stats import rankdata


def jaccard(first, second):
    """Jaccard index of two selections: **higher is better** where they should agree.

    Parameters
    ----------
    first, second : bool arrays of the same shape
        For example which superpixels each of two runs shows.

    Returns
    -------
    float
        In [0, 1]; 1 when both are empty, for then they agree.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    .. [1] Jaccard, "The Distribution of the Flora in the Alpine Zone", New Phytologist 1912.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    _same_shape(first, second)
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def rank_correlation(first, second):
    """Spearman's rank correlation of two sets of weights: **higher is better** where they should agree.

    Parameters
    ----------
    first, second : arrays of the same shape

    Returns
    -------
    float
        In [-1, 1]; NaN when one of them is constant, for then there is no ranking.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    .. [1] Spearman, "The Proof and Measurement of Association between Two Things", American
           Journal of Psychology 1904.
    """
    first, second = np.asarray(first), np.asarray(second)
    _same_shape(first, second)
    return correlation(rankdata(first), rankdata(second))


def stability(measure, runs):
    """How well each of some runs that differ in the seed only agrees with the others: **higher is better**.

    Parameters
    ----------
    measure : callable
        Of two runs, such as `jaccard` or `rank_correlation`.
    runs : (runs, n) array
        Each run's chosen superpixels or weights.

    Returns
    -------
    (runs,) array
        The mean over the other runs, so that the mean of all is that over all pairs; NaN where there is one run.

    References
    ----------
    .. [1] Tan, Tian, Li, "GLIME: General, Stable and Local LIME Explanation", NeurIPS 2023, which compares the sets of
           superpixels in this way.
    .. [2] Bora et al., "SLICE: Stabilized LIME for Consistent Explanations for Image Classification", CVPR 2024, which compares
           the rankings.
    """
    runs = np.asarray(runs)
    if runs.ndim != 2 or not len(runs):
        raise ValueError(f"expected a row for each run, got shape {runs.shape}")
    alike = np.full((len(runs), len(runs)), np.nan)
    for one, other in itertools.combinations(range(len(runs)), 2):
        alike[one, other] = alike[other, one] = measure(runs[one], runs[other])
    return np.array(
        [
            np.delete(row, place).mean() if len(runs) > 1 else np.nan
            for place, row in enumerate(alike)
        ]
    )


def correlation(first, second):
    """Pearson's correlation.

    Parameters
    ----------
    first, second : (n,) arrays

    Returns
    -------
    float
        In [-1, 1]; NaN when one of them is constant.
    """
    # Sums that should be equal differ by rounding, which must not pass for a pattern.
    if any(np.ptp(values) <= 1e-12 * np.abs(values).max() for values in (first, second)):
        return float("nan")
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def weighted_r2(truth, prediction, weights):
    """Weighted coefficient of determination of a surrogate, LIME's fidelity: **higher is better**.

    Parameters
    ----------
    truth : (n,) array
        The black box's answers.
    prediction : (n,) array
        The surrogate's.
    weights : (n,) array
        How much each counts, at least 0; in LIME the locality kernel.

    Returns
    -------
    float
        At most 1; 0 for a surrogate no better than the weighted mean; negative for a worse one;
        NaN when the black box's answer never changes.

    Raises
    ------
    ValueError
        If shapes differ, or the weights are not what they should be.

    Notes
    -----
    On the perturbations that the surrogate was fitted to it flatters the surrogate; on fresh
    ones it does not.

    References
    ----------
    .. [1] Ribeiro, Singh, Guestrin, "'Why Should I Trust You?': Explaining the Predictions of Any
           Classifier", KDD 2016, whose locally weighted square loss this is, scaled.
    """
    truth, prediction, weights = (
        np.asarray(values, np.float64) for values in (truth, prediction, weights)
    )
    if not truth.shape == prediction.shape == weights.shape:
        raise ValueError(
            f"truth, prediction and weights must have the same shape, got {truth.shape}, {prediction.shape}, {weights.shape}"
        )
    if (weights < 0).any() or not weights.any():
        raise ValueError(
            f"weights must be at least 0 and not all 0, got from {weights.min()} to {weights.max()}"
        )
    spread = weights @ (truth - np.average(truth, weights=weights)) ** 2
    return float(1 - weights @ (truth - prediction) ** 2 / spread) if spread else float("nan")


def _same_shape(first, second):
    if first.shape != second.shape:
        raise ValueError(f"both must have the same shape, got {first.shape} and {second.shape}")
