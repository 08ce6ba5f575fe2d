"""How far LIME's parameters move measurements, and which of two choices is better."""

import numpy as np
import pandas as pd

from lab.measure.intervals import mean_interval
from lab.measure.measurements import MEASUREMENTS
from lab.measure.statistics import CHOSEN_BY, by_image

EFFECTS_ON = (*CHOSEN_BY, "rank_correlation", "model_calls")
BOTH = "both"
"""In the place of a network: the mean of the networks."""


def effects(table):
    """How far each parameter moves each measurement.

    On each half of the images (every other one) the best value is compared with the
    worst, where both are chosen by the means of the other half. On the same images the
    values furthest apart would exaggerate, and noise would be an effect. In simulations
    5 to 8% of parameters without any effect were significant, of 3 to 60 images.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a run: "network", "class", "image", "parameter", "value" and `EFFECTS_ON`;
        the same images and other parameters for each value.

    Returns
    -------
    pandas.DataFrame
        A row for each parameter and measurement: "parameter", "measure"; "worst" and
        "best", the values with the means "worst_mean" and "best_mean" over all images;
        "effect", the mean over images of what is described above, above 0 where the
        best value is better, with "low" and "high" (`mean_interval` over images);
        "images", their number; and "significant", whether the interval excludes 0. NaN
        where nothing was measured. A single image chooses for itself.
    """
    rows = []
    for parameter, runs in table.groupby("parameter", sort=False, dropna=False):
        for measure in EFFECTS_ON:
            row = {"parameter": parameter, "measure": measure}
            sign = 1 if MEASUREMENTS[measure].higher_is_better else -1
            values = by_image(runs, measure, "value").dropna() * sign
            if values.empty:
                rows.append(row | {"images": 0, "significant": False})
                continue
            means = values.mean().round(9)  # the last digits depend on the order of a sum
            best, worst = means.idxmax(), means.idxmin()
            row |= {"worst": worst, "best": best}
            row |= {"worst_mean": sign * means[worst], "best_mean": sign * means[best]}
            effect = _on_the_other_half(values)
            low, high = mean_interval(effect)
            row |= {"effect": effect.mean(), "low": low, "high": high, "images": len(effect)}
            rows.append(row | {"significant": bool(low > 0)})
    return pd.DataFrame(rows)


def _on_the_other_half(values):
    """The best minus the worst value on each image, as the other half has them."""
    by_image = values.groupby(["class", "image"], sort=False, dropna=False).mean()
    half, effect = np.arange(len(by_image)) % 2, np.empty(len(by_image))
    for number in (0, 1):
        means = by_image[half != number if len(half) > 1 else half >= 0].mean().round(9)
        own = by_image[half == number]
        effect[half == number] = own[means.idxmax()] - own[means.idxmin()]
    return effect


def contrasts(table, column, pairs, measures):
    """Differences of two choices on the same images, for each class and network.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a run: "network", "class", "image", `column` and the measures.
    column : str
        What is chosen, such as a setting.
    pairs : iterable of (str, str)
        Values of the column.
    measures : iterable of str

    Returns
    -------
    pandas.DataFrame
        A row for each class, network (and `BOTH`), measure and pair: "first", "second";
        "difference", by how much the first is *better*, with "low" and "high"
        (`mean_interval` over images); "wins", the number of images on which it is; and
        "images", their number.
    """
    rows = []
    for measure in measures:
        sign = 1 if MEASUREMENTS[measure].higher_is_better else -1
        values = by_image(table, measure, column) * sign
        both = values.groupby(["class", "image"], sort=False, dropna=False).mean()
        both = pd.concat({BOTH: both}, names=["network"])
        by = ["class", "network"]
        for kind, own in pd.concat([values, both]).groupby(by, sort=False, dropna=False):
            for first, second in pairs:
                difference = (own[first] - own[second]).dropna().round(9)
                numbers = difference.mean(), *mean_interval(difference)
                row = (*kind, measure, first, second, *numbers)
                rows.append((*row, int((difference > 0).sum()), len(difference)))
    names = [*by, "measure", "first", "second", "difference", "low", "high", "wins", "images"]
    return pd.DataFrame(rows, columns=names)


def savings(table):
    """How many times fewer samples a balanced sampling needs to be as stable as LIME's.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a run: "sampling" ("lime", "balanced"), "num_samples", "rank_correlation".

    Returns
    -------
    pandas.DataFrame
        "num_samples" of the balanced sampling; the mean rank correlations "balanced"
        and "lime"; "lime_needs", the samples with which LIME's is as stable
        (interpolated on the logarithm; infinite if all are too few); and "ratio".
    """
    curves = table.groupby(["sampling", "num_samples"])["rank_correlation"].mean()
    stock, balanced = curves["lime"], curves["balanced"]
    # Noise may make a mean dip; the need is the count from which on it is reached.
    reached = np.minimum.accumulate(stock.to_numpy()[::-1])[::-1]
    counts = np.log(stock.index.to_numpy(float))
    needs = np.exp(np.interp(balanced, reached, counts, right=np.inf))
    lime = stock.reindex(balanced.index)
    result = pd.DataFrame({"balanced": balanced, "lime": lime, "lime_needs": needs})
    return result.assign(ratio=result["lime_needs"] / result.index).reset_index()
