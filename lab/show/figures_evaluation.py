"""Figures of the evaluation: a function each, from results to figure."""

import numpy as np
import pandas as pd

from lab.measure.measurements import MEASUREMENTS
from lab.measure.statistics import at_odds
from lab.methods.masked_model import blurred
from lab.methods.ranking import ranks
from lab.methods.registry import METHODS
from lab.show import charts, maps, reading
from lab.show.style import color

_COMMON = ("deletion_black", "insertion", "faithfulness", "iou_mask", "pointing_game")
_TITLES = {key: method.title for key, method in METHODS.items()}
_REMOVED = {
    "drawn": "removed: another digit's pixels",
    "accuracy": "removed: their mean (as published)",
    "trace": "only which pixels were removed",
}


def evaluation_shapley(results):
    """Agreement with the exact Shapley values against the number of calls."""
    table, value = _named(results.table("evaluation_shapley")), "rank_correlation"
    network, superpixels = table[["network", "superpixels"]].iloc[0]
    title = "Which methods reach the exact Shapley values?"
    label = f"model calls ({network}, {superpixels} superpixels)"
    labels = label, "rank correlation with\nthe exact values ↑"
    return charts.lines(table, "calls", value, "method", title, *labels, _titles(results))


def evaluation_curves(results):
    """Maps, the images of deletion and insertion, and the probability along the way."""
    # Not the first of all studies: this one may have measured others.
    network, image = results.table("evaluation_runs")[["network", "image"]].iloc[0]
    pixels = reading.pixels(image)
    squashed = reading.pixels(image, reading.input_size(results, network))
    start = blurred(squashed)
    table = _runs(results, network, image)
    methods = [key for key in ("lime", "rise", "shap", "occlusion", "centre") if key in table.index]
    runs = [table.loc[method] for method in methods]
    curves = [reading.array(results, "evaluation_runs", run, "curves") for run in runs]
    highest = max(curve[[0, 2], 1].max() for curve in curves)
    rows = []
    for run, (deletion, _, insertion) in zip(runs, curves):
        values = reading.array(results, "evaluation_runs", run, "maps")
        values = maps.resized(values, squashed.shape[:2])
        share = ranks(values)[..., None] / values.size
        shown = [
            (np.where(share < 0.1, 0, squashed), np.interp(0.1, *deletion)),
            (np.where(share < 0.3, 0, squashed), np.interp(0.3, *deletion)),
            (np.where(share < 0.1, squashed, start), np.interp(0.1, *insertion)),
        ]
        shown = [_as_file(one, pixels, note=f"{score:.2f}") for one, score in shown]
        curve = _curves(deletion, insertion, highest, named=run is runs[0])
        rows.append([_panel(results, pixels, run), *shown, curve])
    heads = ["map", "10% deleted", "30% deleted", "10% inserted", "probability"]
    names = [_TITLES[method].replace(" ", "\n") for method in methods]
    title = f"What deletion and insertion do ({network})"
    return maps.sheet(rows, title, heads, names, f"{reading.stem(image)}: saliency")


def _curves(deletion, insertion, highest, named):
    """A cell of a sheet: the curves (2, K) of one map."""

    def draw(axes):
        curves = ("insertion", insertion, "--", 5, 0.4), ("deletion", deletion, "-", 0, 0.23)
        for name, curve, style, number, y in curves:
            axes.plot(*curve, color=color(number), lw=1.3, ls=style)
            if named:
                place = {"transform": axes.transAxes, "ha": "right", "va": "center"}
                axes.text(0.97, y, name, color=color(number), **place)
        axes.set(xlim=(0, 1), ylim=(0, 1.05 * highest))
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.locator_params(axis="y", nbins=3)
        axes.tick_params(length=2, pad=1.5)

    return draw


def evaluation_sanity(results):
    """Correlation with the map of a network whose layers are randomized, by layers."""
    table, value = results.table("evaluation_sanity"), "rank_correlation"
    table = _named(table.fillna({value: 0}))
    means = table.groupby(["network", "method", "layers"], sort=False)[value].mean().reset_index()
    title = "Does the map change when the network is randomized?"
    labels = "randomized layers, from the top", "rank correlation with the\noriginal map ↓"
    options = {"among": _titles(results), "panel": "network"}
    return charts.lines(means, "layers", value, "method", title, *labels, **options)


def evaluation_ranks(results):
    """Mean rank of each method by each metric."""
    table = results.table("evaluation_ranks")
    ranks = table.pivot(index="metric", columns="method", values="mean_rank")
    ranks = ranks.loc[_metrics(table["metric"]), _methods(results)]
    ranks = ranks.rename(index=_head, columns=_TITLES)
    label = "mean rank over images and networks: 1 is best"
    return charts.heat(ranks, "How each metric ranks the methods", label, "{:.1f}")


def evaluation_disagreement(results):
    """Kendall's tau between each two metrics' orders of the methods."""
    table = results.table("evaluation_disagreement").set_index("metric")
    keys = _metrics(table.index)
    table = table.loc[keys, keys].rename(index=_head, columns=_short)
    title = "Which metrics rank the methods in the same order?"
    label = "Kendall's tau between the orders of the methods (1: the same, −1: the reverse)"
    return charts.heat(table, title, label, "{:.1f}", (-1, 1))


def evaluation_at_odds(results):
    """The two maps of one image about which two metrics differ most."""
    tau = results.table("evaluation_disagreement").set_index("metric")
    keys = [key for key in _COMMON if key in tau]
    below = np.tri(len(keys), k=-1, dtype=bool)
    metrics = tau.loc[keys, keys].where(below).stack().idxmin()
    methods = [method for method in _methods(results) if METHODS[method].calls_model]
    odds = at_odds(results.table("evaluation_runs"), *metrics, methods)
    network, image = odds["network"], odds["image"]
    runs, pixels = _runs(results, network, image), reading.pixels(image)
    explained = f"explained: {reading.class_title(runs['label'].iloc[0])}"
    panels = [maps.image_panel(pixels, reading.stem(image), explained)]
    for method in (odds["first"], odds["second"]):
        run = runs.loc[method]
        note = "\n".join(f"{_head(key)}: {run[key]:.2f}" for key in metrics)
        panels.append(_panel(results, pixels, run, _TITLES[method], note))
    return maps.sheet([panels], f"Do two metrics agree about two maps? ({network})")


def evaluation_roar(results):
    """Accuracy of networks retrained without the important pixels."""
    table = results.table("evaluation_roar")
    means = table.groupby(["method", "share"], sort=False)[list(_REMOVED)].mean().reset_index()
    means = means.melt(["method", "share"], list(_REMOVED), "how", "value")
    means["how"] = pd.Categorical(means["how"].map(_REMOVED), _REMOVED.values())
    title = "What a network still learns without the important pixels"
    labels = "share of the pixels removed", "accuracy ↓"
    options = {"among": _titles(results), "panel": "how", "log": False}
    return charts.lines(_named(means), "share", "value", "method", title, *labels, **options)


def _runs(results, network, image):
    table = reading.rows(results, "evaluation_runs", network, image)
    return table.set_index("method", drop=False)


def _methods(results):
    """The methods that were compared, in the study's order."""
    return list(dict.fromkeys(results.table("evaluation_runs")["method"]))


def _titles(results):
    """Their titles: each keeps its colour in all charts."""
    return [_TITLES[method] for method in _methods(results)]


def _named(table):
    return table.assign(method=table["method"].map(_TITLES))


def _metrics(keys):
    return [key for key in MEASUREMENTS if key in set(keys)]


def _short(key):
    """A metric's name, short enough for a table of them."""
    label = MEASUREMENTS[key].label
    return label.removesuffix(", mean over thresholds").partition(": rank correlation")[0]


def _head(key):
    """A metric's short name with the direction that is better."""
    return f"{_short(key)} {'↑' if MEASUREMENTS[key].higher_is_better else '↓'}"


def _panel(results, pixels, run, top="", note=""):
    """The map of a run."""
    values = reading.array(results, "evaluation_runs", run, "maps")
    return maps.method_map(run["method"], pixels, values, top, note)


def _as_file(squashed, pixels, top="", note=""):
    """A square network input as a panel with its file's aspect ratio."""
    return maps.image_panel(maps.stretched(np.uint8(squashed), pixels.shape), top, note)
