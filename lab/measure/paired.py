"""Methods compared in pairs on the same images, with intervals over these."""

import itertools

import numpy as np
import pandas as pd

from lab.measure.intervals import mean_interval
from lab.measure.statistics import by_image

GAINS = "gain_black", "gain_mean", "gain_blurred"
"""The measurements of `lab.measure.curves.gains`, by which `pairs` compares."""
_IMAGE = ["image", "class"]


def with_gain(table):
    """A table with "gain", the mean of `GAINS`."""
    return table.assign(gain=table[list(GAINS)].mean(axis=1))


def means(table, measures, by):
    """Means of measurements, with their intervals over images.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a map: "class", "image", and the columns of `measures` and `by`.
    measures, by : list of str
        The measurements, and what a group of rows has in common.

    Returns
    -------
    pandas.DataFrame
        The columns of `by`, "measure", "mean", "low" and "high" (`mean_interval`).
    """
    rows = []
    for group, part in table.groupby(by, sort=False, dropna=False):
        for measure in measures:
            # A constant map has no faithfulness.
            values = part.groupby(_IMAGE, dropna=False)[measure].mean().dropna()
            row = dict(zip(by, group)) | {"measure": measure, "mean": values.mean()}
            rows.append(row | dict(zip(("low", "high"), mean_interval(values))))
    return pd.DataFrame(rows)


def pairs(table, measures=GAINS):
    """Every method against every other, on the images that both explained.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a map: "network", "class", "image", "method" and the measures.
    measures : sequence of str, optional

    Returns
    -------
    pandas.DataFrame
        "first", "second" (methods), "network", "measure", "images" (the number of
        images), "difference" (the mean of the first's value minus the second's), "low"
        and "high" (`mean_interval` over images).
    """
    rows = []
    for network, own in table.groupby("network", sort=False, dropna=False):
        for measure in measures:
            values = by_image(own, measure).sort_index(level=_IMAGE)
            for first, second, n, *numbers in _differences(values):
                mean, low, high = numbers
                rows.append((first, second, network, measure, n, mean, low, high))
                rows.append((second, first, network, measure, n, -mean, -high, -low))
    names = ["first", "second", "network", "measure", "images", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def _differences(values):
    """Every two columns of a table: number, mean and interval of their difference."""
    first, second = np.triu_indices(values.shape[1], 1)
    differences = values.to_numpy()[:, first] - values.to_numpy()[:, second]
    known, numbers = ~np.isnan(differences.T), np.empty((len(first), 3))
    for images in map(np.array, set(map(tuple, known))):  # together what has the same images
        alike = (known == images).all(axis=1)
        part = differences[np.flatnonzero(images)][:, alike]
        mean = part.sum(axis=0) / (len(part) or np.nan)
        numbers[alike] = np.stack([mean, *mean_interval(part)], axis=1)
    names = itertools.combinations(values, 2)
    return [(*pair, *each) for pair, *each in zip(names, known.sum(axis=1), *numbers.T)]


def better(compared):
    """Pairs of which the first is significantly better in every row of `pairs`."""
    wins = (compared["low"] > 0).groupby([compared["first"], compared["second"]]).all()
    return set(wins.index[wins])
