"""Whether an explanation points at the object, which need not be where the model looks.

A saliency map (H, W) is finite, and higher is more important; up to rounding, constant
ones have equal values. The object's mask is (H, W), bool. All functions raise a
TypeError for a mask that is not bool, a ValueError where a map is not finite or shapes
differ, and return NaN for an empty mask.
"""

import numpy as np

from lab.measure.agreement import constant, jaccard
from lab.measure.checks import check_map, check_mask

THRESHOLDS = 50  # of a map, at equal steps of the share of pixels that are salient


def iou(shown, mask):
    """Intersection over union of two masks (H, W), in [0, 1]: **higher is better**."""
    overlap = jaccard(shown, mask)
    return overlap if np.any(mask) else float("nan")


def pointing_game(saliency, mask):
    """Whether the most salient pixel lies on the object [1]_: **higher is better**.

    Returns
    -------
    float
        1 for a hit and 0 for a miss, where the paper forgives one by up to 15 pixels;
        if several pixels share the maximum, the share of them on the object.

    References
    ----------
    .. [1] Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016.
    """
    saliency, mask = _saliency_and_mask(saliency, mask)
    return float(mask[saliency == saliency.max()].mean()) if mask.any() else float("nan")


def bounding_box(mask):
    """Smallest upright rectangle around a mask (H, W), as a mask, empty if that is."""
    mask = check_mask(mask)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = np.zeros_like(mask)
    if rows.size:
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def iou_over_thresholds(saliency, mask):
    """IoU of the most salient pixels and an object by threshold: **higher is better**.

    The choice of one threshold decides which method wins, so that all count [1]_.

    Returns
    -------
    (50,) array
        In [0, 1], when 2, 4, ..., 100% of the pixels, rounded up, count as salient,
        with all that are as salient as the last of these.

    References
    ----------
    .. [1] Choe et al., "Evaluating Weakly Supervised Object Localization", CVPR 2020.
    """
    saliency, mask = _saliency_and_mask(saliency, mask)
    if not mask.any():
        return np.full(THRESHOLDS, np.nan)
    rising, on_object = np.sort(saliency, axis=None), np.sort(saliency[mask])
    thresholds = rising[-np.arange(1, THRESHOLDS + 1) * saliency.size // THRESHOLDS]
    shown, hits = (
        values.size - np.searchsorted(values, thresholds) for values in (rising, on_object)
    )
    return hits / (shown + on_object.size - hits)


def _saliency_and_mask(saliency, mask):
    mask = check_mask(mask)
    saliency = check_map(saliency, mask.shape)
    return saliency.astype(np.float64) * (not constant(saliency)), mask
