"""What a class's probability becomes while important pixels are hidden or shown.

All functions but `curve`, whose callers have done so, check their arguments: they raise
a TypeError or ValueError, before any model call, where one is not as described.
"""

import numpy as np

from lab.measure.agreement import constant, correlation
from lab.measure.checks import check_map
from lab.methods.checks import check_image, check_integer, check_label
from lab.methods.masked_model import blurred, mean_colour
from lab.methods.ranking import ranks
from lab.model_calls import predict_in_chunks

STEPS = 50
"""Steps of equal size in a curve: smooth at 2%, and always 51 model calls."""
PORTIONS = 10
"""Steps where many maps are measured, and their mean counts."""
CURVES_OF_MAP, CURVES_OF_GAINS = 3, 6
"""Curves of `deletion_and_insertion`, and of `gains` without these."""


def deletion_and_insertion(black_box, image, label, saliency):
    """Deletion and insertion curves of a map [1]_.

    Parameters
    ----------
    black_box : callable
        From images ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    image : (H, W, 3) uint8 array
    label : int
        The class explained.
    saliency : (H, W) array
        Finite; higher is more important. Equally salient pixels go row by row.

    Returns
    -------
    dict of str to (2, 51) array
        "deletion_black", "deletion_mean" (to the image's mean colour) and "insertion"
        (from the blurred image), each for 51 model calls: the share of the pixels that
        are replaced, from 0 to 1, and the class's probability.

    References
    ----------
    .. [1] Petsiuk, Das, Saenko, "RISE", BMVC 2018.
    """
    image, label, saliency = check_explained(image, label, saliency)
    return {
        "deletion_black": curve(black_box, label, saliency, image, np.uint8(0)),
        "deletion_mean": curve(black_box, label, saliency, image, mean_colour(image)),
        "insertion": curve(black_box, label, saliency, blurred(image), image),
    }


def gains(black_box, image, label, saliency, along=None, steps=STEPS):
    """Gain of a map, insertion minus deletion, by baseline: **higher is better**.

    The baseline can reverse the order of methods, and favours one that uses it [1]_.

    Parameters
    ----------
    black_box, image, label, saliency
        As for `deletion_and_insertion`.
    along : dict of str to (2, steps + 1) array, optional
        The `deletion_and_insertion` of these arguments, which then have been checked.
    steps : int, optional
        Number of steps of equal size, at least 1.

    Returns
    -------
    dict of str to float
        "gain_black", "gain_mean" (the image's mean colour) and "gain_blurred": the area
        under the insertion curve minus that under the deletion curve, in [-1, 1], for
        ``steps + 1`` model calls for each of six curves that is not in `along`.

    References
    ----------
    .. [1] Haug et al., "On Baselines for Local Feature Attributions", 2021.
    """
    known = {} if along is None else along | {"insertion_blurred": along["insertion"]}
    if along is None:
        image, label, saliency = check_explained(image, label, saliency)
        steps = check_integer("steps", steps, 1)

    def area(name, before, after):
        if name in known:
            return auc(*known[name])
        return auc(*curve(black_box, label, saliency, before, after, steps))

    baselines = {"black": np.uint8(0), "mean": mean_colour(image), "blurred": blurred(image)}
    return {
        f"gain_{name}": area(f"insertion_{name}", baseline, image)
        - area(f"deletion_{name}", image, baseline)
        for name, baseline in baselines.items()
    }


def curve(black_box, label, saliency, before, after, steps=STEPS):
    """A class's probability while the most salient pixels change first.

    Parameters
    ----------
    black_box, label, saliency
        As for `deletion_and_insertion`.
    before, after : uint8 arrays
        Images (H, W, 3) or colours: in a deletion the image and its baseline, in an
        insertion the other way round.
    steps : int, optional
        Number of steps of equal size.

    Returns
    -------
    (2, steps + 1) array
        Share of the pixels replaced, from 0 to 1, and the class's probability at each.
    """
    step = portions(saliency, steps)

    def images(numbers):
        return np.where((step < numbers[:, None, None])[..., None], after, before)

    probability = predict_in_chunks(black_box, images, np.arange(steps + 1), [label])[:, 0]
    replaced = np.cumsum(np.bincount(step.ravel(), minlength=steps)) / step.size
    return np.stack([np.append(0, replaced), probability])


def portions(saliency, steps):
    """The step in which each pixel changes, (H, W): 0 for the most salient ones."""
    return ranks(saliency) * steps // saliency.size


def auc(fraction, probability):
    """Area under a curve: **lower is better** for deletion, higher for insertion."""
    return float(np.trapezoid(probability, fraction))


def faithfulness(masked_model, saliency):
    """Correlation of superpixels' saliency with the loss without each [1]_.

    **Higher is better.** A superpixel's saliency is the mean over its pixels, not the
    sum, since LIME and KernelSHAP draw its weight on each of them.

    Parameters
    ----------
    masked_model : lab.methods.masked_model.MaskedModel
        Of the image; the class is its first one.
    saliency : (H, W) array

    Returns
    -------
    float
        Pearson's correlation, in [-1, 1], with the drop of the class's probability when
        one superpixel is hidden: 0 where this changes no pixel. NaN when all are
        equally salient or matter equally, up to rounding.

    References
    ----------
    .. [1] Alvarez-Melis, Jaakkola, "Towards Robust Interpretability", NeurIPS 2018.
    """
    segments, n = masked_model.segments, masked_model.n
    saliency = check_map(saliency, segments.shape)
    coalitions = np.concatenate([np.ones((1, n), int), 1 - np.eye(n, dtype=int)])
    whole, *without = masked_model.value(coalitions)
    changed = segments[(masked_model.image != masked_model.hidden).any(axis=-1)]
    without = np.where(np.isin(np.arange(n), changed), without, whole)
    if constant(saliency) or constant(without, scores=True):
        return float("nan")
    means = np.bincount(segments.ravel(), saliency.ravel()) / np.bincount(segments.ravel())
    return correlation(whole - without, means)


def check_explained(image, label, saliency):
    """Return an image, the label of a class and a map of the image, checked."""
    image = check_image(image)
    return image, check_label(label), check_map(saliency, image.shape[:2])
