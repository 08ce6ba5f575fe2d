"""Checks of arguments, shared by all functions of `lab.measure`."""

import numpy as np


def check_array(values):
    """Return values as an array; a TypeError for masked values, whose mask is lost."""
    if np.ma.is_masked(values):
        raise TypeError("expected an array without masked values: fill them or leave them out")
    return np.asarray(values)


def check_same_shape(*arrays):
    """Return arrays of one shape as `check_array` does; else a ValueError."""
    arrays = [check_array(array) for array in arrays]
    shapes = [array.shape for array in arrays]
    if len(set(shapes)) > 1:
        raise ValueError(f"arrays must have the same shape, got {' and '.join(map(str, shapes))}")
    return arrays


def check_mask(mask):
    """Return a mask as an array; a TypeError if it is not bool."""
    mask = check_array(mask)
    if mask.dtype != bool:
        raise TypeError(f"a mask must be bool, such as grey > 127, got {mask.dtype}")
    return mask


def check_map(saliency, shape):
    """Return a map as an array; a ValueError if not finite or not of this shape."""
    saliency = check_array(saliency)
    if saliency.shape != shape:
        raise ValueError(f"saliency must have the shape {shape}, got {saliency.shape}")
    if not np.isfinite(saliency).all():
        raise ValueError("saliency must be finite, got NaN or infinity")
    return saliency
