"""Controls: maps that call no model, which a method must beat."""

import numpy as np
from skimage.color import rgb2gray
from skimage.filters import gaussian, sobel


def noise(black_box, image, label, budget, seed):
    """Noise that is independent in each pixel, ``(H, W)``."""
    return np.random.default_rng(seed).random(image.shape[:2])


def centre(black_box, image, label, budget, seed):
    """A Gaussian in the centre, ``(H, W)``; its sigma is a quarter of the sides."""
    offsets = [(np.arange(length) + 0.5) / length - 0.5 for length in image.shape[:2]]
    return np.exp(-np.add.outer(*(np.square(offset) for offset in offsets)) / (2 * 0.25**2))


def edges(black_box, image, label, budget, seed):
    """Sobel's gradient of the grey image, smoothed over 2 pixels, ``(H, W)``.

    Edges look like an explanation [1]_.

    References
    ----------
    .. [1] Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
    """
    return gaussian(sobel(rgb2gray(image)), sigma=2)
