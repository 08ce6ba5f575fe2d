"""What many measurements show together: means, mean ranks, and disagreement.

A table has a row a map: "network", "class", "image", "method" (or
"setting") and keys of `lab.measure.measurements.MEASUREMENTS`. Rows that differ in the
seed only are averaged first. "low" and "high" are `mean_interval` over images, and
"images" is the number of images with a value. Labels may be missing: what a CSV file
reads as NaN, such as "None", is one more label.
"""

import itertools

import numpy as np
import pandas as pd

from lab.measure.intervals import mean_interval
from lab.measure.measurements import MEASUREMENTS

CHOSEN_BY = "gain", "r_common", "jaccard", "iou"
"""The measurements that settings are compared by."""


def by_image(table, measurement, of="method"):
    """Values by network, class and image (rows) and `of` (columns); no empty rows."""
    columns = ["network", "class", "image", of]
    means = table.groupby(columns, sort=False, dropna=False)[measurement].mean()
    return means.unstack(of).dropna(how="all")[table[of].unique()]


def ranks_by_image(table, measurements, of="method"):
    """Mean rank over networks and measurements by class and image (rows) and `of`.

    1 is best and equals share a rank. One without a value where others have one, as a
    constant map has no faithfulness, comes last.
    """
    ranks = pd.concat([_ranks(table, measurement, of) for measurement in measurements])
    return ranks.groupby(["class", "image"], sort=False, dropna=False).mean()


def _ranks(table, measurement, of):
    values = by_image(table, measurement, of).round(9)  # the last digits are rounding errors
    ascending = not MEASUREMENTS[measurement].higher_is_better
    return values.rank(axis=1, ascending=ascending, na_option="bottom")


def rank_methods(table):
    """Order methods by their mean rank [1]_ in each measurement.

    Returns
    -------
    pandas.DataFrame
        "metric" and "method", the best first in each; "mean_rank" (1 is best), "low",
        "high" and "images".

    References
    ----------
    .. [1] Demsar, "Statistical Comparisons of Classifiers", JMLR 2006.
    """
    rows = []
    for metric in _measured(table):
        ranks = ranks_by_image(table, [metric])
        for method in ranks.mean().sort_values(kind="stable").index:
            own = ranks[method]
            rows.append((metric, method, own.mean(), *mean_interval(own), len(own)))
    return pd.DataFrame(rows, columns=["metric", "method", "mean_rank", "low", "high", "images"])


def disagreement(table):
    """How far the measurements agree on the order of the methods [1]_.

    Returns
    -------
    pandas.DataFrame
        Kendall's tau-b of the mean ranks by every two measurements, a row ("metric")
        and a column each, in [-1, 1]; NaN where one has all methods equal.

    References
    ----------
    .. [1] Tomsett et al., "Sanity Checks for Saliency Metrics", AAAI 2020.
    """
    metrics = _measured(table)
    ranks = pd.DataFrame({metric: ranks_by_image(table, [metric]).mean() for metric in metrics})
    return _kendall(ranks).rename_axis("metric").reset_index()


def ranking_agreement(table):
    """How well the order of settings carries over to other images and networks.

    Pairs share images: the interval is that of the jackknife's pseudo-values [1]_, one
    an image. In simulations with three images of either class it held the true mean in
    93 to 98% of the cases.

    Returns
    -------
    pandas.DataFrame
        "measure" of `CHOSEN_BY`; "pair", of which "same class", this with a class's
        name, and "other class" are two images and one network, "other network" is one
        image; "tau", the pairs' mean Kendall's tau-b of the settings' means; "low" and
        "high"; and "pairs", their number. NaN where there is none; no interval for
        fewer than three images.

    References
    ----------
    .. [1] Arvesen, "Jackknifing U-Statistics", Annals of Mathematical Statistics 1969.
    """
    rows = []
    for measure in CHOSEN_BY:
        values = by_image(table, measure, "setting")
        index = values.index.to_frame(index=False)
        network, kind, image = (
            index.groupby(levels, sort=False, dropna=False).ngroup().to_numpy()
            for levels in ("network", "class", ["class", "image"])
        )
        one, other = np.triu_indices(len(values), 1)
        taus = _kendall(values.T).to_numpy()[one, other]
        same_network, same_class, same_image = (x[one] == x[other] for x in (network, kind, image))
        of_class = {
            f"same class: {name}": same_network & same_class & (kind[one] == number)
            for number, name in enumerate(index["class"].unique())
        }
        for pair, among in {
            "same class": same_network & same_class,
            **of_class,
            "other class": same_network & ~same_class,
            "other network": ~same_network & same_image,
        }.items():
            among = among & ~np.isnan(taus)
            tau, images = taus[among], np.stack([image[one], image[other]])[:, among]
            mean = tau.mean() if len(tau) else float("nan")
            rows.append((measure, pair, mean, *_jackknife_interval(tau, images), len(tau)))
    return pd.DataFrame(rows, columns=["measure", "pair", "tau", "low", "high", "pairs"])


def _jackknife_interval(taus, images):
    """Interval of a mean over pairs, whose images are in `images`, (2, n)."""
    rest = [taus[(images != image).all(axis=0)] for image in np.unique(images)]
    n = len(rest)
    if not all(map(len, rest)):
        return float("nan"), float("nan")
    values = [n * taus.mean() - (n - 1) * without.mean() for without in rest]
    return np.clip(mean_interval(values), -1, 1)


def _kendall(values):
    """Kendall's tau-b of every two columns; NaN where one is constant or has a NaN."""
    values = values.round(9)  # the last digits are rounding errors
    varying = np.broadcast_to((values.nunique() > 1).to_numpy(), values.shape)
    return values.where(varying).corr("kendall", min_periods=len(values))


def at_odds(table, one, other, methods):
    """The two maps of one image and network on which two measurements differ most.

    Returns
    -------
    dict
        "network", "class", "image"; "first" and "second", the ones of `methods` that
        the measurements `one` and `other` prefer, and "ranks", by how many ranks both
        do at least: below 0 if the measurements agree on all maps.
    """
    table = table[table["method"].isin(methods)]
    by_one, by_other = (_ranks(table, metric, "method") for metric in (one, other))
    by_one, by_other = by_one.align(by_other, join="inner", axis="index")
    found = []
    for (image, ranks), (_, others) in zip(by_one.iterrows(), by_other.iterrows()):
        image = dict(zip(("network", "class", "image"), image))
        for first, second in itertools.permutations(methods, 2):
            lead = min(ranks[second] - ranks[first], others[first] - others[second])
            found.append(image | {"first": first, "second": second, "ranks": float(lead)})
    return max(found, key=lambda pair: pair["ranks"])


def _measured(table):
    return [metric for metric in MEASUREMENTS if metric in table and table[metric].notna().any()]
