"""Occlusion and nested occlusion: how a score drops when windows are hidden.

References
----------
.. [1] Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV
       2014.
.. [2] Shapley, "A Value for n-Person Games", Contributions to the Theory of Games II,
       1953.
.. [3] Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of
       Black-box Models", BMVC 2018.
"""

import functools
import math

import numpy as np

import rise
from lab.methods.masked_model import blurred, mean_colour
from lab.methods.ranking import ranks
from lab.model_calls import predict, predict_in_chunks

WINDOW = 1 / 4  # side of occlusion's window as a share of the image's side
# Nested occlusion. Sides of windows as shares of the sides of what is shown, and shares
# of the model calls.
_WINDOWS = (0.15, 2 / 3), (0.35, 1 / 3)
_PARTS = 1.0, 0.75, 0.5, 0.35, 0.2  # shares of the image that are shown in turn
_ENOUGH_FOR_PARTS = 100  # model calls; with fewer, the first map finds no part
_BASELINES = {"mean colour": mean_colour, "black": np.zeros_like, "blurred": blurred}
_LEAST_SHOWN = 0.25  # of a window; hiding less is taken to change nothing


def occlusion(black_box, image, label, budget, seed, baseline="mean colour"):
    """Mean drop of a class's score over the windows that cover a pixel.

    A window, a quarter of the image's sides, slides over the image in as many steps as
    the budget allows [1]_.

    Parameters
    ----------
    black_box, image, label, budget, seed
        As in `lab.methods.registry.explain`. The seed is without effect.
    baseline : {"mean colour", "black", "blurred"}, optional
        What a window shows.

    Returns
    -------
    (H, W) float32 array
        In units of the score; above 0 where hiding lowers it.
    """
    shape = image.shape[:2]
    starts, size = _covering_windows(shape, budget - 1)
    # A window at the far corner covers nothing: the first score is the image's own.
    corners = [shape, *((top, left) for top in starts[0] for left in starts[1])]
    ground = np.broadcast_to(_BASELINES[baseline](image), image.shape)
    hide = functools.partial(_hide, image, ground, size)
    scores = predict_in_chunks(black_box, hide, corners, [label])[:, 0]
    total, count = np.zeros(shape), np.zeros(shape)
    for (top, left), drop in zip(corners, scores[0] - scores):
        window = np.s_[top : top + size[0], left : left + size[1]]
        total[window] += drop
        count[window] += 1
    return (total / count).astype(np.float32)


def nested_occlusion(black_box, image, label, budget, seed):
    """Occlusion of the image and of smaller and smaller parts of it, added up.

    For parts B of the image and windows W of side s, the saliency of a pixel x is

        ``S(x) = sum over B and s of E[f(B) - f(B without W) | x in W]``

    where f(B) is the score when only B is shown. B is the whole image, then the 75%,
    50%, 35% and 20% of it that are most salient in the map so far; with fewer than 100
    model calls only the whole image, which is occlusion [1]_ with windows of two sizes.
    What a window adds to smaller and smaller sets is the idea of Shapley's value [2]_,
    and what deletion and insertion [3]_ measure.

    Parameters
    ----------
    black_box, image, label, budget, seed
        As in `lab.methods.registry.explain`. The black box gets float32 images: the
        mean colour is not rounded.

    Returns
    -------
    (H, W) float32 array
        In units of the score; above 0 where hiding lowers it.

    Notes
    -----
    Fewer than 50 model calls are too few windows. Objects far smaller than a tenth of
    the image's side may be left out. Values do not add up to the score, so they cannot
    be compared between images or classes.
    """
    parts = _PARTS if budget >= _ENOUGH_FOR_PARTS else _PARTS[:1]
    rng, mean = np.random.default_rng(seed), image.mean(axis=(0, 1))
    ground = np.broadcast_to(mean.astype(np.float32), image.shape)
    saliency, calls, due = np.zeros(image.shape[:2]), 0, 0
    for share in parts:
        part = _most_salient(saliency, share)
        shown = rise.perturb(image, part[np.newaxis], mean)[0]
        intact = predict(black_box, shown[np.newaxis], [label])[0, 0]
        calls += 1
        for side, portion in _WINDOWS:
            due += portion * budget / len(parts)
            side, most = side * math.sqrt(share), round(due) - calls
            starts, size, used = _windows_of_part(part, side, most, rng.random(2))
            corners = [(starts[0][row], starts[1][column]) for row, column in np.argwhere(used)]
            drops = np.zeros(used.shape)
            if corners:
                hide = functools.partial(_hide, shown, ground, size)
                drops[used] = intact - predict_in_chunks(black_box, hide, corners, [label])[:, 0]
            calls += len(corners)
            rows, columns = (_covering(*axis) for axis in zip(starts, size, part.shape))
            count = np.multiply.outer(rows.sum(axis=1), columns.sum(axis=1))
            saliency = saliency + rows @ drops @ columns.T / count
    return saliency.astype(np.float32)


def _hide(image, baseline, size, corners):
    """Copies of an image, each with one window that shows the baseline."""
    images = np.repeat(image[np.newaxis], len(corners), axis=0)
    for copy, (top, left) in zip(images, corners):
        window = np.s_[top : top + size[0], left : left + size[1]]
        copy[window] = baseline[window]
    return images


def _spread(count, length, size, shift=0.5):
    """First pixels of evenly spread windows along an axis, shifted within their gap."""
    if count == 1:
        return np.array([(length - size) // 2])
    even = np.linspace(0, length - size, count)
    even += (shift - 0.5) * (length - size) / (count - 1)
    return np.clip(np.round(even), 0, length - size).astype(int)


def _covering_windows(shape, most):
    """At most `most` windows that cover all: first pixels along both axes, and size."""
    rows = min(max(int(math.sqrt(most * shape[0] / shape[1])), 1), most)
    counts = rows, most // rows
    size = [max(round(WINDOW * n), -(-n // count)) for n, count in zip(shape, counts)]
    return [np.unique(_spread(*axis)) for axis in zip(counts, shape, size)], size


def _windows_of_part(part, side, most, shift):
    """As many evenly spread windows as possible, of which at most `most` show enough.

    Returns first pixels along both axes, size, and which show enough of the part.
    """
    size = [max(round(side * length), 1) for length in part.shape]
    sums = np.pad(part.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    densest = None
    for rows in range(1, part.shape[0] - size[0] + 2):
        counts = rows, min(max(round(rows * part.shape[1] / part.shape[0]), 1), most)
        starts = [_spread(*axis) for axis in zip(counts, part.shape, size, shift)]
        top, left = starts
        strips = sums[top + size[0]] - sums[top]
        area = strips[:, left + size[1]] - strips[:, left]
        used = area >= _LEAST_SHOWN * math.prod(size)
        if np.count_nonzero(used) > most:
            break
        densest = starts, size, used
    return densest


def _most_salient(saliency, share):
    """The most salient share of the pixels, (H, W) float32 of 0 and 1."""
    # Values that differ by rounding alone are equal; the first pixels are then taken.
    scaled = (saliency - saliency.min()) / (np.ptp(saliency) or 1)
    return (ranks(scaled) < round(share * saliency.size)).astype(np.float32)


def _covering(starts, size, length):
    """Windows that cover each pixel of an axis, or the nearest: (length, windows)."""
    reach = max(size, np.diff(starts).max(initial=0))
    first = starts - (reach - size) // 2
    pixels = np.clip(np.arange(length), starts[0], starts[-1] + size - 1)[:, np.newaxis]
    return ((first <= pixels) & (pixels < first + reach)).astype(np.float64)
