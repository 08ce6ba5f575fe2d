"""Figures of the evaluation: a function each, from results to figure."""

import numpy as np
import pandas as pd

from lab.explain.names import BASELINES, COMPARED, METHOD_NAMES
from lab.measure.measurements import MEASUREMENTS
from lab.measure.statistics import at_odds
from lab.show import charts, maps, reading

_WEIGHTS = ("lime", "shap")  # methods whose maps are signed weights of superpixels
_COMMON = ("deletion_black", "insertion", "faithfulness", "iou_mask", "pointing_game")
_NAMES = [METHOD_NAMES[method] for method in COMPARED]


def _named(table):
    return table.assign(method=table["method"].map(METHOD_NAMES))


def _mean(key):
    """A measurement's name, short enough for a table of them."""
    return (
        MEASUREMENTS[key]
        .label.replace(", mean over thresholds", "")
        .replace(": rank correlation with random networks' maps", "")
    )


def _short(key):
    return _mean(key) + (" ↑" if MEASUREMENTS[key].higher_is_better else " ↓")


def _panel(results, image, row, top="", note=""):
    """A method's map, by what its values are."""
    values = results.array("evaluation_runs", row["key"], "maps")[row["index"]].astype(np.float32)
    return (maps.weights if row["method"] in _WEIGHTS else maps.saliency)(image, values, top, note)


def evaluation_shapley(results):
    """Agreement with the exact Shapley values against the number of calls."""
    table = _named(results.table("evaluation_shapley"))
    title = "Who comes to the exact Shapley values?"
    label = (
        f"model calls ({reading.networks(results)[0]}, {table['superpixels'].iloc[0]} superpixels)"
    )
    return charts.lines(
        table,
        "calls",
        "rank_correlation",
        "method",
        title,
        label,
        "rank correlation with\nthe exact values ↑",
        _NAMES,
    )


def evaluation_curves(results):
    """Maps, what deletion and insertion make of the picture, and the probability along the way."""

    network, picture = reading.networks(results)[0], reading.elephant(results)
    runs = reading.of(results.table("evaluation_runs"), network, picture).set_index(
        "method", drop=False
    )
    image = reading.image(picture)
    size = reading.size(results, network, picture)
    squashed = reading.image(picture, size)
    start = _blurred(squashed)
    methods = ("lime", "rise", "shap", "occlusion", "centre")
    curves = {
        method: results.array("evaluation_runs", runs.loc[method, "key"], "curves")[
            runs.loc[method, "index"]
        ]
        for method in methods
    }
    highest = max(curve[[0, 2], 1].max() for curve in curves.values())
    rows = []
    for method in methods:
        row = runs.loc[method]
        values = maps.resized(
            results.array("evaluation_runs", row["key"], "maps")[row["index"]], squashed.shape[:2]
        )
        # As the network sees them: of its own shape, here drawn in that of the picture.
        first = (
            np.argsort(np.argsort(-values, axis=None, kind="stable")).reshape(values.shape)
            / values.size
        )
        deletion, _, insertion = curves[method]
        cells = [_panel(results, image, row)]
        for share in (0.1, 0.3):
            pixels = maps.stretched(
                np.where((first < share)[..., None], 0, squashed).astype(np.uint8), image.shape
            )
            cells.append(maps.photograph(pixels, note=f"{np.interp(share, *deletion):.2f}"))
        pixels = maps.stretched(np.where((first < 0.1)[..., None], squashed, start), image.shape)
        rows.append(
            [
                *cells,
                maps.photograph(pixels, note=f"{np.interp(0.1, *insertion):.2f}"),
                charts.curves(
                    deletion, insertion, highest, method == methods[0], method == methods[-1]
                ),
            ]
        )
    heads = ["map", "10% deleted", "30% deleted", "10% inserted", "probability"]
    return maps.sheet(
        rows,
        f"What deletion and insertion do ({network})",
        heads,
        [METHOD_NAMES[method].replace(" ", "\n") for method in methods],
    )


def evaluation_sanity(results):
    """How alike maps stay while more layers are made random, for each network."""
    table = results.table("evaluation_sanity").fillna({"rank_correlation": 0})
    means = (
        table.groupby(["network", "method", "layers"], sort=False)["rank_correlation"]
        .mean()
        .reset_index()
    )
    return charts.lines(
        _named(means),
        "layers",
        "rank_correlation",
        "method",
        "Does the map notice a network made random?",
        "topmost layers made random",
        "rank correlation with the\nintact network's map ↓",
        _NAMES,
        panel="network",
    )


def _heads(keys):
    return [key for key in MEASUREMENTS if key in set(keys) and not key.endswith("_best")]


def evaluation_ranks(results):
    """Mean rank of each method by each measurement."""
    table = results.table("evaluation_ranks")
    places = table.pivot(index="metric", columns="method", values="mean_rank").loc[
        _heads(table["metric"]), list(COMPARED)
    ]
    return charts.heat(
        places.rename(index=_short, columns=METHOD_NAMES),
        "How each measurement orders the methods",
        "mean rank over pictures and networks: 1 is best",
        "{:.1f}",
    )


def evaluation_disagreement(results):
    """Kendall's tau between the orders that each two measurements give the methods."""
    table = results.table("evaluation_disagreement").set_index("metric")
    keys = _heads(table.index)
    return charts.heat(
        table.loc[keys, keys].rename(index=_short, columns=_mean),
        "Which measurements order the methods alike?",
        "Kendall's tau between the orders of the methods (1: the same, −1: the reverse)",
        "{:.1f}",
        (-1, 1),
    )


def evaluation_at_odds(results):
    """The two maps of one answer about which two measurements differ most."""
    tau = results.table("evaluation_disagreement").set_index("metric")
    asking = [key for key in _COMMON if key in tau]
    one, other = (
        tau.loc[asking, asking].where(np.tri(len(asking), k=-1, dtype=bool)).stack().idxmin()
    )
    runs = results.table("evaluation_runs")
    odds = at_odds(runs, one, other, [method for method in COMPARED if method not in BASELINES])
    picture = odds["class"], odds["picture"]
    rows = reading.of(runs, odds["network"], picture).set_index("method", drop=False)
    image = reading.image(picture)
    cells = [
        maps.photograph(image, odds["network"], f"explained: {reading.told(rows['label'].iloc[0])}")
    ]
    for method in (odds["first"], odds["second"]):
        row = rows.loc[method]
        cells.append(
            _panel(
                results,
                image,
                row,
                METHOD_NAMES[method],
                "\n".join(f"{_short(key)}: {row[key]:.2f}" for key in (one, other)),
            )
        )
    return maps.sheet([cells], "Do two measurements agree about two maps?")


def evaluation_differ(results):
    """The answer on whose most salient fifth LIME and RISE differ most, and what the network says without either part."""
    table = results.table("evaluation_differ")
    most = table.loc[table["share"].idxmax()]
    network, picture = most["network"], (most["class"], most["picture"])
    image = reading.image(picture)
    found = reading.of(table, network, picture, fill="blurred").set_index("method")
    regions = results.array("evaluation_differ", most["key"], "regions")
    runs = reading.of(results.table("evaluation_runs"), network, picture).set_index(
        "method", drop=False
    )
    cells = [
        maps.photograph(
            image, "the picture", f"{reading.told(most['label'])} {most['probability']:.2f}"
        )
    ]
    cells += [
        _panel(results, image, runs.loc[method], METHOD_NAMES[method]) for method in found.index
    ]
    squashed = reading.image(picture, regions.shape[1])
    start = _blurred(squashed)
    for (method, row), region in zip(found.iterrows(), regions):
        pixels = maps.outlined(np.where(region[..., None], start, squashed), region)
        cells.append(
            maps.photograph(
                maps.stretched(pixels, image.shape),
                f"without what {method.upper()} alone marks",
                f"{row['without']:.2f}",
            )
        )
    return maps.sheet(
        [cells[:3], [None, *cells[3:]]], f"Where LIME and RISE differ most ({network})"
    )


def _blurred(image):
    from lab.explain.masked_model import blurred  # takes a second to import

    return blurred(image)


def evaluation_roar(results):
    """Accuracy of networks retrained without the important pixels, and with their places only."""
    heads = {
        "drawn": "removed: another digit's pixels",
        "accuracy": "removed: their mean (as published)",
        "trace": "only the holes are told",
    }
    table = results.table("evaluation_roar")
    means = table.groupby(["method", "share"], sort=False)[list(heads)].mean().reset_index()
    long = means.melt(["method", "share"], list(heads), "how", "value")
    return charts.lines(
        _named(long.assign(how=pd.Categorical(long["how"].map(heads), heads.values()))),
        "share",
        "value",
        "method",
        "What a network still learns without the important pixels",
        "share of the pixels removed",
        "accuracy ↓",
        _NAMES,
        panel="how",
        log=False,
    )
