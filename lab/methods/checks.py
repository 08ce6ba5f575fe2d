"""Checks of arguments, shared by all functions of `lab.methods`."""

import numpy as np
from PIL import ImageColor

from lab.model_calls import is_integer

MOST_CALLS = 1_000_000
"""The largest budget: the coalitions of LIME and KernelSHAP are in memory at once."""


def check_image(image):
    """Return an image as an array; a ValueError if it is not (H, W, 3) of uint8."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[-1] == 3 and image.dtype == np.uint8 and image.size:
        return image
    hint = ""
    if image.ndim == 3 and image.shape[0] == 3 != image.shape[-1]:
        hint = "; its channels come first, image.transpose(1, 2, 0) puts them last"
    elif image.dtype.kind == "f":
        hint = "; expected RGB in [0, 255], as lab.images.load_image returns it"
    raise ValueError(f"image must be (H, W, 3) of uint8, got {image.shape} of {image.dtype}{hint}")


def check_integer(name, value, least, most=None):
    """Return a whole number of this range as an int; else a TypeError or ValueError."""
    if not is_integer(value):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most}, got {value}")
    return int(value)


def check_label(label):
    """Return the number of a class as an int; errors as of `check_integer`."""
    return check_integer("label", label, 0)


def check_seed(seed):
    """Return a seed as an int; errors as of `check_integer`."""
    return check_integer("seed", seed, 0, 2**32 - 1)


def check_hide_color(value):
    """Return a colour or its name as three ints, "blur" or None; else a ValueError."""
    if value is None or isinstance(value, str) and value == "blur":
        return value
    try:
        color = ImageColor.getrgb(value) if isinstance(value, str) else tuple(value)
        if len(color) == 3 and all(part == int(part) and 0 <= part <= 255 for part in color):
            return tuple(int(part) for part in color)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(
        "hide_color must be three whole numbers in [0, 255], the name of a colour such as "
        f'"red", "blur", or None for the mean colour, got {value!r}'
    )
