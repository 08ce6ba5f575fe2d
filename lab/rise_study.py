"""RISE as the lab uses it: maps whose model calls are made once and kept on disk."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import rise
from lab import metrics
from lab.cache import cached, digest, scores
from lab.images import load_image, load_mask
from lab.imagenet import class_name

_CODE = digest(np.frombuffer(Path(rise.__file__).read_bytes(), np.uint8))


def saliency_maps(black_box, image, classes, progress=None, **parameters):
    """RISE maps of several classes of one picture, from the same model calls.

    Scores are kept on disk a batch at a time, so that interrupted work goes on where it stopped,
    and a run with more masks starts from a finished one with fewer.

    Parameters
    ----------
    black_box : lab.blackbox.BlackBox
    image : (H, W, 3) uint8 array
        At the black box's `input_size`.
    classes : sequence of int
        Class indices to explain, whether they were predicted or not.
    progress : callable, optional
        Wraps the iterable of batches.
    **parameters
        Of `rise.Rise`, but for the model.

    Returns
    -------
    (len(classes), H, W) float32 array
    """
    classes = [int(index) for index in classes]
    # A map is remembered only for the very code that made it; the calls behind it outlive a change.
    key = {"black box": black_box.fingerprint, "classes": classes, "code": _CODE, "picture": digest(image), **parameters}
    return cached(key, lambda: estimate(black_box, image, classes, progress, **parameters).saliency)


def estimate(black_box, image, classes, progress=None, **parameters):
    """RISE maps with their standard errors and the number of calls, no call of which is made twice.

    Parameters
    ----------
    black_box, image, classes, progress, **parameters
        As in `saliency_maps`.

    Returns
    -------
    rise.Explanation
    """
    explainer = rise.Rise(
        lambda perturbed: scores(black_box, perturbed, classes), batch_size=black_box.batch_size, progress=progress, **parameters
    )
    return explainer.estimate(image, range(len(classes)))


class Explanation(NamedTuple):
    """A RISE map, what it was made of, and what was measured on it.

    Attributes
    ----------
    image : (H, W, 3) uint8 array
        The picture at the black box's `input_size`.
    saliency : (H, W) float32 array
    row : dict
        With the keys of `COLUMNS`.
    """

    image: np.ndarray
    saliency: np.ndarray
    row: dict

    @property
    def panel(self):
        """Caption, picture and map, as `lab.figures.saliency_maps` takes them."""
        row = self.row
        setting = f"{row['masks']} masks, {row['cells']} x {row['cells']} cells, p = {row['kept']:g}"
        return f"{row['network']}, {row['class']}\n{setting}", self.image, self.saliency


COLUMNS = {
    "network": "network",
    "picture": "picture",
    "class": "class",
    "masks": "masks",
    "cells": "cells a side",
    "kept": "p",
    "lowest": "lowest saliency",
    "highest": "highest saliency",
    "contrast": "saliency on the animal minus beside it ↑",
    "pointing_game": "pointing game ↑",
    "halves": "rank correlation of halves ↑",
}
"""Columns of the tables, and their heads; ↑ higher is better."""


def explain(black_box, path, classes, progress=None, nb_samples=4000, grid_size=7, preservation_probability=0.5):
    """Explain classes of a picture file by RISE, with the paper's estimator, and measure the maps.

    Parameters
    ----------
    black_box : lab.blackbox.BlackBox
    path : pathlib.Path
        A picture of the lab; a mask of the same name tells where the animal is.
    classes : sequence of int
    progress : callable, optional
        Wraps the iterable of batches.
    nb_samples, grid_size, preservation_probability
        As in `rise.Rise`; `nb_samples` at least 2, `grid_size` one number.

    Returns
    -------
    list of Explanation
        One for each class.

    Notes
    -----
    ``halves`` is the rank correlation between the maps of the first and of the second half of the
    masks, over pixels. ``contrast`` and ``pointing_game`` are NaN without a mask.
    """
    image, mask = load_image(path, black_box.input_size), load_mask(path, black_box.input_size)
    parameters = {"grid_size": grid_size, "preservation_probability": preservation_probability, "estimator": "average"}
    whole = saliency_maps(black_box, image, classes, progress, nb_samples=nb_samples, **parameters)
    first = saliency_maps(black_box, image, classes, progress, nb_samples=nb_samples // 2, **parameters)
    share = nb_samples // 2 / nb_samples
    second = (whole - share * first) / (1 - share)  # the map is a mean over masks
    explanations = []
    for index, saliency, one, other in zip(classes, whole, first, second):
        row = {
            "network": black_box.name,
            "picture": path.name,
            "class": class_name(index),
            "masks": nb_samples,
            "cells": grid_size,
            "kept": preservation_probability,
            "lowest": saliency.min(),
            "highest": saliency.max(),
            "contrast": np.nan if mask is None else saliency[mask].mean() - saliency[~mask].mean(),
            "pointing_game": np.nan if mask is None else metrics.pointing_game(saliency, mask),
            "halves": metrics.rank_correlation(one, other),
        }
        explanations.append(Explanation(image, saliency, row))
    return explanations


def table(explanations):
    """Measurements of explanations, a row for each, under the keys of `COLUMNS`.

    Parameters
    ----------
    explanations : iterable of Explanation

    Returns
    -------
    pandas.DataFrame
    """
    return pd.DataFrame([explanation.row for explanation in explanations])[list(COLUMNS)]
