"""What a class's probability becomes while important pixels are hidden or shown.

All functions raise a TypeError or ValueError, before any model call, where an argument
is not as described.
"""

import numpy as np

from lab.measure.agreement import check_map, constant, correlation
from lab.methods.checks import check_image, check_integer, check_label
from lab.methods.masked_model import blurred, mean_colour
from lab.model_calls import predict_in_chunks

STEPS = 50
"""Equal portions of pixels in a curve: smooth at 2%, and always 51 model calls."""


def deletion_and_insertion(black_box, image, label, saliency, start):
    """Deletion and insertion curves of a map.

    Parameters
    ----------
    black_box : callable
        From images ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    image : (H, W, 3) uint8 array
    label : int
        The class explained.
    saliency : (H, W) array
        Finite; higher is more important.
    start : (H, W, 3) uint8 array
        The insertion's baseline, as from `lab.methods.masked_model.blurred`.

    Returns
    -------
    dict of str to (2, 51) array
        "deletion_black", "deletion_mean" (to the image's mean colour) and "insertion",
        each for 51 model calls: share of the pixels, and the class's probability.
    """
    common = black_box, check_image(image), label, saliency
    insertion = np.stack(insertion_curve(*common, start))  # first, since it checks `start`
    return {
        "deletion_black": np.stack(deletion_curve(*common, np.uint8(0))),
        "deletion_mean": np.stack(deletion_curve(*common, mean_colour(image))),
        "insertion": insertion,
    }


def gains(black_box, image, label, saliency, along=None, steps=STEPS):
    """Gain of a map, insertion minus deletion, by baseline: **higher is better**.

    The baseline can reverse the order of methods, and favours one that uses it [1]_.

    Parameters
    ----------
    black_box, image, label, saliency
        As for `deletion_and_insertion`.
    along : dict of str to (2, steps + 1) array, optional
        The `deletion_and_insertion` of this map and the blurred image.
    steps : int, optional
        Number of equal portions of pixels.

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
    image = check_image(image)
    known = {} if along is None else along | {"insertion_blurred": along["insertion"]}

    def area(name, curve, baseline):
        if name in known:
            return auc(*known[name])
        return auc(*curve(black_box, image, label, saliency, baseline, steps))

    baselines = {"black": np.uint8(0), "mean": mean_colour(image), "blurred": blurred(image)}
    return {
        f"gain_{name}": area(f"insertion_{name}", insertion_curve, baseline)
        - area(f"deletion_{name}", deletion_curve, baseline)
        for name, baseline in baselines.items()
    }


def deletion_curve(black_box, image, label, saliency, baseline, steps=STEPS):
    """A class's probability while the most salient pixels become the baseline's [1]_.

    Parameters
    ----------
    black_box, label, saliency
        As for `deletion_and_insertion`. Equally salient pixels go row by row.
    image : (H, W, 3) uint8 array
    baseline : int, (3,) array or (H, W, 3) array
        What replaces a pixel: integers in [0, 255].
    steps : int, optional
        Number of equal portions of pixels, from 1 to all pixels.

    Returns
    -------
    fraction, probability : (steps + 1,) arrays
        Share of the pixels replaced, from 0 to 1, and the class's probability at each.

    References
    ----------
    .. [1] Petsiuk, Das, Saenko, "RISE", BMVC 2018.
    """
    return _curve(black_box, image, label, saliency, baseline, steps, inserting=False)


def insertion_curve(black_box, image, label, saliency, baseline, steps=STEPS):
    """A class's probability while a baseline's pixels become the image's.

    Parameters and returns are those of `deletion_curve`; the paper's baseline is the
    blurred image.
    """
    return _curve(black_box, image, label, saliency, baseline, steps, inserting=True)


def _curve(black_box, image, label, saliency, baseline, steps, inserting):
    image = check_image(image)
    saliency = check_map(saliency, image.shape[:2]).astype(np.float64)
    label, steps = check_label(label), check_integer("steps", steps, 1, saliency.size)
    rank, baseline = portions(saliency, steps), np.asarray(baseline)
    if baseline.dtype.kind not in "iu" or baseline.shape not in ((), (3,), image.shape):
        got = f"{baseline.dtype} of shape {baseline.shape}"
        raise ValueError(f"baseline must be integers of shape (3,) or {image.shape}, got {got}")
    if baseline.min() < 0 or baseline.max() > 255:
        got = f"from {baseline.min()} to {baseline.max()}"
        raise ValueError(f"baseline must be in [0, 255], got values {got}")
    baseline = baseline.astype(np.uint8)
    before, after = (baseline, image) if inserting else (image, baseline)

    def images(step):
        return np.where((rank < step[:, None, None])[..., None], after, before)

    probability = predict_in_chunks(black_box, images, np.arange(steps + 1), [label])[:, 0]
    return np.append(0, np.cumsum(np.bincount(rank.ravel()))) / saliency.size, probability


def portions(saliency, steps):
    """Equal portions of a map's pixels, (H, W), numbered from 0, the most salient."""
    rank = np.empty(saliency.size, np.int64)
    order = np.argsort(-saliency, axis=None, kind="stable")
    rank[order] = np.arange(saliency.size) * steps // saliency.size
    return rank.reshape(saliency.shape)


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
