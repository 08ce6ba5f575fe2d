"""Whether an explanation points at the object: where we would look, which need not be where the model looks."""

import numpy as np

FRACTIONS = np.arange(1, 51) / 50
"""Shares of the pixels that count as salient, one after the other, for `iou_over_thresholds`."""


def iou(shown, mask):
    """Intersection over union of what is shown and the object's mask: **higher is better**.

    Parameters
    ----------
    shown, mask : (H, W) bool arrays

    Returns
    -------
    float
        In [0, 1]; 0 when both are empty.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    .. [1] Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010.
    """
    shown, mask = np.asarray(shown, bool), np.asarray(mask, bool)
    if shown.shape != mask.shape:
        raise ValueError(
            f"what is shown and the mask must have the same shape, got {shown.shape} and {mask.shape}"
        )
    union = np.count_nonzero(shown | mask)
    return np.count_nonzero(shown & mask) / union if union else 0.0


def pointing_game(saliency, mask):
    """Whether the most salient point lies on the object: **higher is better**.

    Parameters
    ----------
    saliency : (H, W) array
        Finite; higher is more important.
    mask : (H, W) bool array

    Returns
    -------
    float
        1 for a hit and 0 for a miss. Where several pixels share the maximum, as in a superpixel,
        the share of them that hit: the chance of a hit when one is picked blindly. The paper
        forgives a miss by up to 15 pixels, this does not.

    Raises
    ------
    ValueError
        If the shapes differ, or the saliency is not finite.

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

    Raises
    ------
    ValueError
        If the mask is of another shape.

    References
    ----------
    .. [1] Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015, whose
           localization task has such boxes.
    """
    mask = np.asarray(mask, bool)
    if mask.ndim != 2:
        raise ValueError(f"mask must be (H, W), got shape {mask.shape}")
    rows, columns = mask.any(axis=1), mask.any(axis=0)
    between = [
        np.logical_or.accumulate(hit) & np.logical_or.accumulate(hit[::-1])[::-1]
        for hit in (rows, columns)
    ]
    return np.logical_and.outer(*between)


def iou_over_thresholds(saliency, mask, fractions=FRACTIONS):
    """Intersection over union of the most salient pixels and an object, over thresholds: **higher is better**.

    Parameters
    ----------
    saliency : (H, W) array
        Finite; higher is more important.
    mask : (H, W) bool array
    fractions : (K,) array, optional
        Shares of the pixels that count as salient, above 0 and up to 1. Pixels as salient as the
        last of these count, too: no order among equals is made up.

    Returns
    -------
    (K,) array
        In [0, 1]; 0 when the mask is empty. At 1 it is the mask's share of the picture.

    Raises
    ------
    ValueError
        If the shapes differ, the saliency is not finite, or a fraction is no such share.

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


def _saliency_and_mask(saliency, mask):
    saliency, mask = np.asarray(saliency, np.float64), np.asarray(mask, bool)
    if saliency.shape != mask.shape:
        raise ValueError(
            f"saliency and mask must have the same shape, got {saliency.shape} and {mask.shape}"
        )
    if not np.isfinite(saliency).all():
        raise ValueError("saliency must be finite, got NaN or infinity")
    return saliency, mask
