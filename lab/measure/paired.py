"""Methods compared in pairs on the same images, with intervals over these."""

import itertools

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
            for first, second in itertools.combinations(values, 2):
                difference = (values[first] - values[second]).dropna()
                about = network, measure, len(difference)
                mean, (low, high) = difference.mean(), mean_interval(difference)
                rows.append((first, second, *about, mean, low, high))
                rows.append((second, first, *about, -mean, -high, -low))
    names = ["first", "second", "network", "measure", "images", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def better(compared):
    """Pairs of which the first is significantly better in every row of `pairs`."""
    wins = (compared["low"] > 0).groupby([compared["first"], compared["second"]]).all()
    return set(wins.index[wins])
