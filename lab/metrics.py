"""How good an explanation is, in numbers. NumPy and SciPy only: any explanation of any model fits."""

import itertools

import numpy as np
from scipy.stats import rankdata


def deletion_curve(predict, image, saliency, target, baseline, steps=None, batch_size=32):
    """A class's probability while the most salient pixels are taken away first.

    Parameters
    ----------
    predict : callable
        From pictures ``(N, H, W, C)`` to probabilities ``(N, n_classes)``.
    image : (H, W, C) array
        The picture explained.
    saliency : (H, W) array
        Finite; higher is more important.
    target : int
        Index of the class explained.
    baseline : float, (C,) array or (H, W, C) array
        What replaces a pixel that is taken away.
    steps : int, optional
        Number of equal portions of pixels. By default pixels of equal saliency go together,
        which for a map made of superpixels is one superpixel after another.
    batch_size : int, optional
        Number of pictures handed to `predict` at once.

    Returns
    -------
    fraction : (K + 1,) array
        Share of the pixels taken away, from 0 to 1.
    probability : (K + 1,) array
        The class's probability at each.

    Raises
    ------
    ValueError
        If shapes do not agree, the saliency is not finite, or a number is out of its range.

    See Also
    --------
    auc : The area under this curve, of which **lower is better**.

    References
    ----------
    .. [1] Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box
           Models", BMVC 2018.
    """
    return _curve(predict, image, saliency, target, baseline, steps, batch_size, inserting=False)


def insertion_curve(predict, image, saliency, target, baseline, steps=None, batch_size=32):
    """A class's probability while the most salient pixels are put onto the baseline first.

    Parameters and returns are those of `deletion_curve`, except that `baseline` is what the curve
    starts from and `fraction` is the share of the pixels put in. The paper starts from a blurred
    picture.

    See Also
    --------
    auc : The area under this curve, of which **higher is better**.

    References
    ----------
    .. [1] Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box
           Models", BMVC 2018.
    """
    return _curve(predict, image, saliency, target, baseline, steps, batch_size, inserting=True)


def _curve(predict, image, saliency, target, baseline, steps, batch_size, inserting):
    image, saliency = _image_and_saliency(image, saliency)
    if steps is not None and not 1 <= steps <= saliency.size:
        raise ValueError(f"steps must be from 1 to the number of pixels ({saliency.size}), got {steps}")
    baseline = np.broadcast_to(np.asarray(baseline, np.float32), image.shape)

    if steps is None:
        rank = rankdata(-saliency, method="dense").astype(np.int64).reshape(saliency.shape) - 1
    else:
        rank = np.empty(saliency.size, np.int64)
        rank[np.argsort(-saliency, axis=None, kind="stable")] = np.arange(saliency.size) * steps // saliency.size
        rank = rank.reshape(saliency.shape)
    taken = np.concatenate([[0], np.cumsum(np.bincount(rank.ravel()))])
    before, after = (baseline, image) if inserting else (image, baseline)

    probability = []
    for start in range(0, len(taken), batch_size):
        step = np.arange(start, min(start + batch_size, len(taken)))
        batch = np.where((rank < step[:, None, None])[..., None], after, before)
        probability.append(_answers(predict, batch, target))
    return taken / saliency.size, np.concatenate(probability)


def auc(fraction, probability):
    """Area under a deletion curve (**lower is better**) or an insertion curve (**higher is better**).

    Parameters
    ----------
    fraction, probability : (K,) arrays
        A curve, `fraction` rising from 0 to 1.

    Returns
    -------
    float
        In [0, 1] for probabilities; by the trapezoidal rule.

    References
    ----------
    .. [1] Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box
           Models", BMVC 2018.
    """
    return float(np.trapezoid(probability, fraction))


def iou(shown, mask):
    """Intersection over union of what is shown and the object's mask: **higher is better**.

    Parameters
    ----------
    shown, mask : (H, W) bool arrays

    Returns
    -------
    float
        In [0, 1]; 0 when both are empty.

    References
    ----------
    .. [1] Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010.
    """
    shown, mask = _same_shape(shown, mask)
    union = np.count_nonzero(shown | mask)
    return np.count_nonzero(shown & mask) / union if union else 0.0


def pointing_game(saliency, mask):
    """Whether the most salient point lies on the object: **higher is better**.

    Parameters
    ----------
    saliency : (H, W) array
    mask : (H, W) bool array

    Returns
    -------
    float
        1 for a hit and 0 for a miss. Where several pixels share the maximum, as in a superpixel,
        the share of them that hit: the chance of a hit when one is picked blindly. The paper
        forgives a miss by up to 15 pixels, this does not.

    References
    ----------
    .. [1] Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016.
    """
    saliency, mask = _saliency_and_mask(saliency, mask)
    return float(mask[saliency == saliency.max()].mean())


def bounding_box(mask):
    """Smallest upright rectangle around an object.

    Parameters
    ----------
    mask : (H, W) bool array

    Returns
    -------
    (H, W) bool array
        True inside it; nowhere when the mask is empty. As ground truth it is what most data sets
        have instead of a mask, and takes in some background.

    References
    ----------
    .. [1] Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015, whose
           localization task has such boxes.
    """
    mask = np.asarray(mask, bool)
    if mask.ndim != 2:
        raise ValueError(f"mask must be (H, W), got shape {mask.shape}")
    rows, columns = mask.any(axis=1), mask.any(axis=0)
    between = [np.logical_or.accumulate(hit) & np.logical_or.accumulate(hit[::-1])[::-1] for hit in (rows, columns)]
    return np.logical_and.outer(*between)


def iou_over_thresholds(saliency, mask, fractions):
    """Intersection over union of the most salient pixels and an object, over thresholds: **higher is better**.

    Parameters
    ----------
    saliency : (H, W) array
        Finite; higher is more important.
    mask : (H, W) bool array
    fractions : (K,) array
        Shares of the pixels that count as salient, above 0 and up to 1. Pixels as salient as the
        last of these count, too: no order among equals is made up.

    Returns
    -------
    (K,) array
        In [0, 1]; 0 when the mask is empty. At 1 it is the mask's share of the picture.

    References
    ----------
    .. [1] Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020,
           which measures at all thresholds, for the choice of one decides which method wins.
    """
    saliency, mask = _saliency_and_mask(saliency, mask)
    fractions = np.asarray(fractions, float)
    if fractions.ndim != 1 or not ((fractions > 0) & (fractions <= 1)).all():
        raise ValueError(f"fractions must be a list of shares above 0 and up to 1, got {fractions}")
    order = np.argsort(-saliency, axis=None, kind="stable")
    falling = -saliency.ravel()[order]
    # Less a trace, so that 0.07 of 100 pixels are seven although the product is above 7.
    last = np.ceil(fractions * saliency.size - 1e-9).astype(int) - 1
    shown = np.searchsorted(falling, falling[np.maximum(last, 0)], side="right")
    hits = np.cumsum(mask.ravel()[order])[shown - 1]
    return hits / (shown + np.count_nonzero(mask) - hits)


def faithfulness(predict, image, saliency, target, baseline, segments, batch_size=32):
    """Correlation of segments' saliency with what their loss costs the class: **higher is better**.

    Each segment alone is replaced with the baseline. The drop of the class's probability is then
    correlated with the segment's saliency, which is the sum over its pixels.

    Parameters
    ----------
    predict, image, target, batch_size
        As in `deletion_curve`.
    saliency : (H, W) array
        Finite; higher is more important.
    baseline : float, (C,) array or (H, W, C) array
        What replaces a segment.
    segments : (H, W) int array
        Each pixel's segment.

    Returns
    -------
    float
        Pearson's correlation, in [-1, 1]; NaN when all segments are equally salient, or none
        matters more than another. Costs a call of the model for each segment and one more.

    Notes
    -----
    The sum is right for a map whose pixels share out the score. Where each pixel repeats the weight of
    its whole superpixel, as in a drawing of LIME's, divide by the superpixel's area first.

    References
    ----------
    .. [1] Alvarez-Melis, Jaakkola, "Towards Robust Interpretability with Self-Explaining Neural
           Networks", NeurIPS 2018.
    """
    image, saliency = _image_and_saliency(image, saliency)
    segments = np.asarray(segments)
    if segments.shape != saliency.shape or segments.dtype.kind not in "iu":
        raise ValueError(f"segments must be whole numbers of shape {saliency.shape}, got {segments.dtype} of shape {segments.shape}")
    names, segments = np.unique(segments, return_inverse=True)
    segments = segments.reshape(saliency.shape)
    baseline = np.broadcast_to(np.asarray(baseline, np.float32), image.shape)
    probability = []
    for start in range(-1, len(names), batch_size):
        # Number -1 is no pixel's: the picture itself comes first.
        gone = np.arange(start, min(start + batch_size, len(names)))
        batch = np.where((segments == gone[:, None, None])[..., None], baseline, image)
        probability.append(_answers(predict, batch, target))
    probability = np.concatenate(probability).astype(float)
    return _pearson(probability[0] - probability[1:], np.bincount(segments.ravel(), saliency.ravel()))


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

    References
    ----------
    .. [1] Jaccard, "The Distribution of the Flora in the Alpine Zone", New Phytologist 1912.
    """
    first, second = _same_shape(first, second)
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def jaccard_stability(selections):
    """Mean Jaccard index over all pairs of runs that differ in the seed only: **higher is better**.

    Parameters
    ----------
    selections : (runs, n) bool array
        What each run selects; at least two runs.

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    .. [1] Tan, Tian, Li, "GLIME: General, Stable and Local LIME Explanation", NeurIPS 2023.
    """
    selections = _runs(selections)
    return float(np.mean([jaccard(a, b) for a, b in itertools.combinations(selections, 2)]))


def rank_correlation(first, second):
    """Spearman's rank correlation of two sets of weights: **higher is better** where they should agree.

    Parameters
    ----------
    first, second : arrays of the same shape

    Returns
    -------
    float
        In [-1, 1]; NaN when one of them is constant, for then there is no ranking.

    References
    ----------
    .. [1] Spearman, "The Proof and Measurement of Association between Two Things", American
           Journal of Psychology 1904.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        raise ValueError(f"both must have the same shape, got {first.shape} and {second.shape}")
    return _pearson(*(rankdata(values) for values in (first, second)))


def rank_stability(weights):
    """Mean rank correlation over all pairs of runs that differ in the seed only: **higher is better**.

    Parameters
    ----------
    weights : (runs, n) array
        Each run's weights; at least two runs.

    Returns
    -------
    float
        In [-1, 1].

    References
    ----------
    .. [1] Bora et al., "SLICE: Stabilized LIME for Consistent Explanations for Image
           Classification", CVPR 2024, which compares the rankings of two runs in this way.
    """
    weights = _runs(weights)
    return float(np.mean([rank_correlation(a, b) for a, b in itertools.combinations(weights, 2)]))


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

    Notes
    -----
    On the perturbations that the surrogate was fitted to it flatters the surrogate; on fresh
    ones it does not.

    References
    ----------
    .. [1] Ribeiro, Singh, Guestrin, "'Why Should I Trust You?': Explaining the Predictions of Any
           Classifier", KDD 2016, whose locally weighted square loss this is, scaled.
    """
    truth, prediction, weights = (np.asarray(values, np.float64) for values in (truth, prediction, weights))
    if not truth.shape == prediction.shape == weights.shape:
        raise ValueError(
            f"truth, prediction and weights must have the same shape, got {truth.shape}, {prediction.shape}, {weights.shape}"
        )
    if (weights < 0).any() or not weights.any():
        raise ValueError("weights must be at least 0 and not all 0")
    spread = weights @ (truth - np.average(truth, weights=weights)) ** 2
    return float(1 - weights @ (truth - prediction) ** 2 / spread) if spread else float("nan")


def _image_and_saliency(image, saliency):
    image, saliency = np.asarray(image, np.float32), np.asarray(saliency, np.float64)
    if image.ndim != 3 or saliency.shape != image.shape[:2]:
        raise ValueError(
            f"image must be (H, W, C) and saliency (H, W) of the same size, got {image.shape} and {saliency.shape}"
        )
    if not np.isfinite(saliency).all():
        raise ValueError("saliency must be finite, got NaN or infinity")
    return image, saliency


def _saliency_and_mask(saliency, mask):
    saliency, mask = np.asarray(saliency, np.float64), np.asarray(mask, bool)
    if saliency.shape != mask.shape:
        raise ValueError(f"saliency and mask must have the same shape, got {saliency.shape} and {mask.shape}")
    if not np.isfinite(saliency).all():
        raise ValueError("saliency must be finite, got NaN or infinity")
    return saliency, mask


def _answers(predict, batch, target):
    answers = np.asarray(predict(batch))
    if not 0 <= target < answers.shape[1]:
        raise ValueError(f"target must be a class from 0 to {answers.shape[1] - 1}, got {target}")
    return answers[:, target]


def _pearson(first, second):
    # Sums that should be equal differ by rounding, which must not pass for a pattern.
    if any(np.ptp(values) <= 1e-12 * np.abs(values).max() for values in (first, second)):
        return float("nan")
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def _same_shape(first, second):
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape:
        raise ValueError(f"both must have the same shape, got {first.shape} and {second.shape}")
    return first, second


def _runs(values):
    values = np.asarray(values)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(f"expected one row for each of at least two runs, got shape {values.shape}")
    return values
