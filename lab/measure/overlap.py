"""Whether an explanation points at the object, which need not be where the model looks.

A saliency map (H, W) is finite, and higher is more important; up to rounding, constant
ones have equal values. The object's mask is (H, W), bool. All functions raise a
ValueError where they are not, or differ in shape, and return NaN for an empty mask.
"""

import numpy as np
from scipy.ndimage import find_objects

from lab.measure.agreement import check_map, constant, jaccard

FRACTIONS = np.arange(1, 51) / 50
"""Shares of the pixels that count as salient, for `iou_over_thresholds`."""


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
    mask = np.asarray(mask, bool)
    if mask.ndim != 2:
        raise ValueError(f"mask must be (H, W), got shape {mask.shape}")
    box = np.zeros_like(mask)
    for place in find_objects(mask.astype(np.uint8)):
        box[place] = True
    return box


def iou_over_thresholds(saliency, mask, fractions=FRACTIONS):
    """IoU of the most salient pixels and an object by threshold: **higher is better**.

    The choice of one threshold decides which method wins, so that all count [1]_.

    Parameters
    ----------
    saliency, mask : (H, W) arrays
    fractions : (K,) array, optional
        Shares of the pixels that count as salient, above 0 and up to 1, with all that
        are as salient as the last of these.

    Returns
    -------
    (K,) array
        In [0, 1].

    References
    ----------
    .. [1] Choe et al., "Evaluating Weakly Supervised Object Localization", CVPR 2020.
    """
    saliency, mask = _saliency_and_mask(saliency, mask)
    fractions = np.asarray(fractions, float)
    if fractions.ndim != 1 or not ((fractions > 0) & (fractions <= 1)).all():
        raise ValueError(f"fractions must be a list of shares above 0 and up to 1, got {fractions}")
    if not mask.any():
        return np.full(len(fractions), np.nan)
    order = np.argsort(-saliency, axis=None, kind="stable")
    falling = -saliency.ravel()[order]
    # Less 1e-9, since 0.07 of 100 pixels are seven although the product is above 7.
    last = np.ceil(fractions * saliency.size - 1e-9).astype(int) - 1
    shown = np.searchsorted(falling, falling[np.maximum(last, 0)], side="right")
    hits = np.cumsum(mask.ravel()[order])[shown - 1]
    return hits / (shown + np.count_nonzero(mask) - hits)


def _saliency_and_mask(saliency, mask):
    mask = np.asarray(mask, bool)
    saliency = check_map(saliency, mask.shape)
    return saliency.astype(np.float64) * (not constant(saliency)), mask
