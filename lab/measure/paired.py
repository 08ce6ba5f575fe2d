"""Methods compared in pairs on the same images, with intervals over their objects."""

import itertools

import pandas as pd

from lab.measure.intervals import mean_interval

GAINS = "gain_black", "gain_mean", "gain_blurred"
"""The measurements of `lab.measure.curves.gains`, by which `pairs` compares."""


def with_gain(table):
    """A table with "gain", the mean of `GAINS`."""
    return table.assign(gain=table[list(GAINS)].mean(axis=1))


def means(table, measures, by):
    """Means of measurements, with their intervals over objects.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a map: "object", and the columns of `measures` and `by`.
    measures, by : list of str
        The measurements, and what a group of rows has in common.

    Returns
    -------
    pandas.DataFrame
        The columns of `by`, "measure", "mean", "low" and "high" (`mean_interval`).
    """
    rows = []
    for group, part in table.groupby(by, sort=False):
        for measure in measures:
            known = part.dropna(subset=[measure])  # a constant map has no faithfulness
            low, high = mean_interval(known[measure], known["object"])
            mean = known[measure].mean()
            about = dict(zip(by, group)) | {"measure": measure}
            rows.append(about | {"mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def pairs(table, measures=GAINS):
    """Every method against every other, on the images that both explained.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a map: "network", "class", "picture", "object", "method" and the measures.
    measures : sequence of str, optional

    Returns
    -------
    pandas.DataFrame
        "first", "second" (methods), "network", "measure", "objects" (their number),
        "difference" (the mean of the first's value minus the second's), "low" and
        "high" (`mean_interval` over objects).
    """
    rows = []
    for network, measure in itertools.product(dict.fromkeys(table["network"]), measures):
        own = table[table["network"] == network]
        values = own.pivot(index=["object", "class", "picture"], columns="method", values=measure)
        for first, second in itertools.combinations(dict.fromkeys(own["method"]), 2):
            difference = (values[first] - values[second]).dropna()
            objects = difference.index.get_level_values("object")
            about = network, measure, objects.nunique()
            mean, (low, high) = difference.mean(), mean_interval(difference, objects)
            rows.append((first, second, *about, mean, low, high))
            rows.append((second, first, *about, -mean, -high, -low))
    names = ["first", "second", "network", "measure", "objects", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def better(compared):
    """Pairs of which the first is significantly better in every row of `pairs`."""
    wins = (compared["low"] > 0).groupby([compared["first"], compared["second"]]).all()
    return set(wins.index[wins])
