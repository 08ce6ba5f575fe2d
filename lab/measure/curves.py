"""What the model answers when parts of the picture are taken away or put in: the map's word is taken, the model asked."""

import numpy as np

from lab.explain.masked_model import blurred, mean_colour
from lab.measure.agreement import correlation
from lab.networks.asking import Asked, in_chunks

STEPS = 50
"""Equal portions of pixels in a curve: smooth at 2 %, and 51 model calls whatever the map."""


def curves(black_box, image, label, saliency, start):
    """The deletion and insertion curves of a map.

    Parameters
    ----------
    black_box : callable
        From pictures ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``; asked as by `lab.networks.asking.Asked`.
    image : (H, W, 3) uint8 array
    label : int
        The class explained.
    saliency : (H, W) array
        Finite; higher is more important.
    start : (H, W, 3) uint8 array
        What insertion starts from, as of `lab.explain.masked_model.blurred`.

    Returns
    -------
    dict of str to (2, 51) array
        "deletion_black", "deletion_mean" (to the picture's mean colour) and "insertion": share of the pixels,
        and the class's probability. They cost 153 model calls.

    Raises
    ------
    ValueError
        If shapes do not agree, the saliency is not finite, or the class is not one of the black box's.

    Notes
    -----
    Pixels change in fifty equal portions, so that maps of superpixels and of pixels are measured alike.
    Equally salient pixels go row by row.
    """
    return {
        "deletion_black": np.stack(deletion_curve(black_box, image, label, saliency, np.uint8(0))),
        "deletion_mean": np.stack(
            deletion_curve(black_box, image, label, saliency, mean_colour(image))
        ),
        "insertion": np.stack(insertion_curve(black_box, image, label, saliency, start)),
    }


def gains(black_box, image, label, saliency, along=None, steps=STEPS):
    """By how much insertion is above deletion, with three fills for what is not there: **higher is better**.

    Parameters
    ----------
    black_box, image, label, saliency
        As in `curves`.
    along : dict of str to (2, steps + 1) array, optional
        The curves of this map, with insertion from the blurred picture: three of the six that are needed.
    steps : int, optional
        Number of equal portions of pixels.

    Returns
    -------
    dict of str to float
        "gain_black", "gain_mean" (the picture's mean colour) and "gain_blurred": the area under the insertion curve minus that under
        the deletion curve, in [-1, 1]. They cost ``steps + 1`` model calls for each curve that is not given.

    Notes
    -----
    What fills a place may turn the order of methods round [2]_, and favour a method that fills with the same.

    References
    ----------
    .. [1] Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box
           Models", BMVC 2018.
    .. [2] Haug, Zürn, El-Jiz, Kasneci, "On Baselines for Local Feature Attributions", 2021.
    """
    known = {} if along is None else along | {"insertion_blurred": along["insertion"]}

    def area(kind, curve, fill, value):
        name = f"{kind}_{fill}"
        return auc(
            *(
                known[name]
                if name in known
                else curve(black_box, image, label, saliency, value, steps)
            )
        )

    fills = {"black": np.uint8(0), "mean": mean_colour(image), "blurred": blurred(image)}
    return {
        f"gain_{fill}": area("insertion", insertion_curve, *of)
        - area("deletion", deletion_curve, *of)
        for fill, of in zip(fills, fills.items())
    }


def deletion_curve(black_box, image, label, saliency, baseline, steps=STEPS):
    """A class's probability while the most salient pixels are taken away first.

    Parameters
    ----------
    black_box, label, saliency
        As in `curves`.
    image : (H, W, C) array
        The picture explained.
    baseline : float, (C,) array or (H, W, C) array
        What replaces a pixel that is taken away.
    steps : int, optional
        Number of equal portions of pixels.

    Returns
    -------
    fraction : (steps + 1,) array
        Share of the pixels taken away, from 0 to 1.
    probability : (steps + 1,) array
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
    return _curve(black_box, image, label, saliency, baseline, steps, inserting=False)


def insertion_curve(black_box, image, label, saliency, baseline, steps=STEPS):
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
    return _curve(black_box, image, label, saliency, baseline, steps, inserting=True)


def _curve(black_box, image, label, saliency, baseline, steps, inserting):
    image, saliency = np.asarray(image), np.asarray(saliency, np.float64)
    if image.ndim != 3 or saliency.shape != image.shape[:2]:
        raise ValueError(
            f"image must be (H, W, C) and saliency (H, W) of the same size, got {image.shape} and {saliency.shape}"
        )
    _check_finite(saliency)
    if not 1 <= steps <= saliency.size:
        raise ValueError(
            f"steps must be from 1 to the number of pixels ({saliency.size}), got {steps}"
        )
    rank = portions(saliency, steps)
    before, after = (baseline, image) if inserting else (image, baseline)

    def draw(step):
        return np.where((rank < step[:, None, None])[..., None], after, before)

    probability = in_chunks(Asked(black_box, [label]), draw, np.arange(steps + 1))[:, 0]
    return np.append(0, np.cumsum(np.bincount(rank.ravel()))) / saliency.size, probability


def portions(saliency, steps):
    """In which of so many equal portions each pixel is, the most salient first.

    Parameters
    ----------
    saliency : (H, W) array
    steps : int

    Returns
    -------
    (H, W) int array
        From 0 to ``steps - 1``. Equally salient pixels go row by row.
    """
    rank = np.empty(saliency.size, np.int64)
    rank[np.argsort(-saliency, axis=None, kind="stable")] = (
        np.arange(saliency.size) * steps // saliency.size
    )
    return rank.reshape(saliency.shape)


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


def faithfulness(game, saliency):
    """Correlation of superpixels' saliency with what their loss costs the class: **higher is better**.

    Each superpixel alone is hidden. The drop of the class's probability is then correlated with the
    superpixel's saliency, which is the mean over its pixels.

    Parameters
    ----------
    game : lab.explain.masked_model.MaskedModel
        Of the picture; the class is its model's first one, as with ``Asked(black_box, [label])``.
    saliency : (H, W) array
        Finite; higher is more important.

    Returns
    -------
    float
        Pearson's correlation, in [-1, 1]; NaN when all superpixels are equally salient, or none
        matters more than another. Costs a model call for each superpixel and one more, which all maps
        have in common.

    Raises
    ------
    ValueError
        If the saliency is not finite or not of the picture's shape.

    Notes
    -----
    The mean, not the sum: LIME and KernelSHAP draw a superpixel's weight on each of its pixels, and what
    RISE adds to all pixels alike must not count for more in a large superpixel.

    References
    ----------
    .. [1] Alvarez-Melis, Jaakkola, "Towards Robust Interpretability with Self-Explaining Neural
           Networks", NeurIPS 2018.
    """
    saliency, segments = np.asarray(saliency, np.float64), game.segments
    if saliency.shape != segments.shape:
        raise ValueError(
            f"saliency must be of the picture's shape {segments.shape}, got {saliency.shape}"
        )
    _check_finite(saliency)
    kept = np.concatenate([np.ones((1, game.n), int), 1 - np.eye(game.n, dtype=int)])
    probability = game.value(kept)
    means = np.bincount(segments.ravel(), saliency.ravel()) / np.bincount(segments.ravel())
    return correlation(probability[0] - probability[1:], means)


def _check_finite(saliency):
    if not np.isfinite(saliency).all():
        raise ValueError("saliency must be finite, got NaN or infinity")
