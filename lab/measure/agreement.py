"""How well two explanations agree, and a surrogate model with the black box.

All functions raise a ValueError where the shapes of their arguments differ.
"""

import itertools

import numpy as np
from scipy.stats import rankdata


def jaccard(first, second):
    """Jaccard index of two bool arrays, in [0, 1]; 1 when both are empty."""
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    _check_shapes(first, second)
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def rank_correlation(first, second):
    """Spearman's correlation of two arrays, in [-1, 1]; NaN when one is `constant`."""
    first, second = np.asarray(first), np.asarray(second)
    _check_shapes(first, second)
    if constant(first) or constant(second):
        return float("nan")
    return correlation(rankdata(first), rankdata(second))


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
    runs = np.asarray(runs)
    if runs.ndim != 2 or not len(runs):
        raise ValueError(f"expected a row for each run, got shape {runs.shape}")
    agreement = np.full((len(runs), len(runs)), np.nan)
    for i, j in itertools.combinations(range(len(runs)), 2):
        agreement[i, j] = agreement[j, i] = measure(runs[i], runs[j])
    others = [np.delete(row, i) for i, row in enumerate(agreement)]
    return np.array([row.mean() if len(row) else np.nan for row in others])


def correlation(first, second):
    """Pearson's correlation of two arrays, in [-1, 1]; NaN when one is `constant`."""
    first, second = np.asarray(first), np.asarray(second)
    _check_shapes(first, second)
    if constant(first) or constant(second):
        return float("nan")
    first, second = (np.ravel(values) - values.mean() for values in (first, second))
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def weighted_r2(truth, prediction, weights):
    """Weighted R² of a surrogate model, LIME's fidelity: **higher is better**.

    On the perturbed samples that the surrogate was fitted to, R² flatters it.

    Parameters
    ----------
    truth, prediction : (n,) arrays
        The scores of the black box and of the surrogate.
    weights : (n,) array
        How much each counts, at least 0, not all 0; in LIME the locality kernel [1]_.

    Returns
    -------
    float
        At most 1; 0 for a surrogate no better than the weighted mean, negative for a
        worse one; NaN when the scores that count are `constant`.

    References
    ----------
    .. [1] Ribeiro, Singh, Guestrin, "'Why Should I Trust You?'", KDD 2016.
    """
    truth, prediction, weights = (np.asarray(x, np.float64) for x in (truth, prediction, weights))
    _check_shapes(truth, prediction, weights)
    if (weights < 0).any() or not weights.any():
        extremes = f"from {weights.min()} to {weights.max()}"
        raise ValueError(f"weights must be at least 0 and not all 0, got {extremes}")
    if constant(truth[weights > 0], scores=True):
        return float("nan")
    spread = weights @ (truth - np.average(truth, weights=weights)) ** 2
    return float(1 - weights @ (truth - prediction) ** 2 / spread)


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
    return bool(np.ptp(values) <= (1e-5 if single else 1e-12) * np.abs(values).max())


def _check_shapes(*arrays):
    shapes = [array.shape for array in arrays]
    if len(set(shapes)) > 1:
        raise ValueError(f"arrays must have the same shape, got {' and '.join(map(str, shapes))}")


def check_map(saliency, shape):
    """A saliency map as an array, if it is finite and has this shape."""
    saliency = np.asarray(saliency)
    if saliency.shape != shape:
        raise ValueError(f"saliency must have the shape {shape}, got {saliency.shape}")
    if not np.isfinite(saliency).all():
        raise ValueError("saliency must be finite, got NaN or infinity")
    return saliency
