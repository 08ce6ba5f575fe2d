"""Three methods in one map."""

import numpy as np

from lab.methods.occlusion import nested_occlusion
from lab.methods.owen import owen
from lab.methods.random_masks import rise_map

SUMMED = owen, nested_occlusion, rise_map


def combined(black_box, image, label, budget, seed):
    """Sum of three maps that fail on different images, each of a third of the calls.

    RISE hides half of the image, where a score that needs most of it is zero. Occlusion
    hides one window, which changes nothing where the network is certain. Owen values
    follow the score from the whole image down, with hard edges. On photographs the sum
    was not significantly better than Owen values or nested occlusion alone.

    Parameters
    ----------
    black_box, image, label, budget, seed
        As in `lab.methods.registry.explain`.

    Returns
    -------
    (H, W) float64 array
        Sum of the maps of "owen", "nested" and "rise", each with mean 0 and standard
        deviation 1. The values do not compare between images or classes.
    """
    total = np.zeros(image.shape[:2])
    for done, method in enumerate(SUMMED):
        calls = budget * (done + 1) // len(SUMMED) - budget * done // len(SUMMED)
        saliency = method(black_box, image, label, calls, seed).astype(np.float64)
        if np.ptp(saliency) > 1e-6 * np.abs(saliency).max():  # else it is constant
            total += (saliency - saliency.mean()) / saliency.std()
    return total
