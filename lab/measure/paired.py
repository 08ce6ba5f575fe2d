"""Methods compared in pairs on the same images, with intervals over their objects."""

import itertools

import pandas as pd

from lab.measure.intervals import mean_interval

GAINS = "gain_black", "gain_mean", "gain_blurred"
"""The measurements of `lab.measure.curves.gains`, by which `pairs` compares."""

SANITY_BELOW = 0.5
"""Agreement with maps of random networks below which `judge` trusts a method."""


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
    """Every method against every other, on the same images.

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
    methods = list(dict.fromkeys(table["method"]))
    for network, measure in itertools.product(dict.fromkeys(table["network"]), measures):
        values = table[table["network"] == network].pivot(
            index=["object", "class", "picture"], columns="method", values=measure
        )
        objects = values.index.get_level_values("object")
        about = network, measure, objects.nunique()
        for first, second in itertools.combinations(methods, 2):
            difference = values[first] - values[second]
            mean, (low, high) = difference.mean(), mean_interval(difference, objects)
            rows.append((first, second, *about, mean, low, high))
            rows.append((second, first, *about, -mean, -high, -low))
    names = ["first", "second", "network", "measure", "objects", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def better(compared):
    """Pairs of which the first is significantly better in every row of `pairs`."""
    wins = (compared["low"] > 0).groupby([compared["first"], compared["second"]]).all()
    return set(wins.index[wins])


def judge(compared, agreement, candidates, baselines):
    """The verdict by the rule of ``report/protocol.md``.

    Parameters
    ----------
    compared : pandas.DataFrame
        From `pairs`.
    agreement : pandas.Series
        "sanity" by method; a variant ("lime_blurred") has its method's.
    candidates, baselines : sequence of str

    Returns
    -------
    pandas.DataFrame
        A row a candidate: "method"; "beats" and "better_than", the baselines and
        candidates that it is better than, with commas; "sanity" and "trusted".
    """
    order, rows = better(compared), []
    for method in candidates:
        beaten = [other for other in baselines if (method, other) in order]
        sanity = float(agreement[method if method in agreement else method.split("_")[0]])
        trusted = len(beaten) == len(baselines) and sanity < SANITY_BELOW
        worse = [other for other in candidates if (method, other) in order]
        rows.append((method, ",".join(beaten), sanity, trusted, ",".join(worse)))
    return pd.DataFrame(rows, columns=["method", "beats", "sanity", "trusted", "better_than"])
