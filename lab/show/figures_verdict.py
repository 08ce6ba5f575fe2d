"""Figures of the verdict on many objects: a function each, from results to figure."""

import numpy as np
import pandas as pd

from lab.explain.masked_model import blurred_away
from lab.explain.names import BASELINES, METHOD_NAMES, REFERENCES
from lab.images import DATA, load_image, load_mask
from lab.measure.paired import GAINS
from lab.show import charts, maps, reading

_FILLS = dict(zip(GAINS, ("black", "mean colour", "blurred image")))
_GAIN = "insertion minus deletion"
_SHOWN = "koala slope", "flamingo gravel", "garbage_truck meadow", "zebra meadow"
_SHOWN += "lemon blades", "mantis planks"  # objects in landscapes
_SHORT = METHOD_NAMES | {
    "lime_blurred": "LIME blurred",
    "rise": "RISE regr.",
    "rise_average": "RISE aver.",
    "shap": "Kernel- SHAP",
    "occlusion": "Occl.",
    "occlusion_black": "Occl. black",
    "occlusion_blurred": "Occl. blurred",
    "centre": "Centre",
    "edges": "Edges",
}


def verdict_pictures(_):
    """Some of the images."""
    panels = []
    for kind, landscape in (shown.split() for shown in _SHOWN):
        image = load_image(_path(kind, f"{kind}_1_{landscape}"))
        panels.append(maps.photograph(image, kind.replace("_", " ")))
    return maps.sheet(maps.wrapped(panels, 3), "Six evaluation images: objects are off centre")


def verdict_gains(results):
    """Each method's gain with each baseline, for both networks."""
    table = results.table("verdict_means")
    table = table[table["measure"].isin(GAINS)]
    order = table.groupby("method")["mean"].mean().sort_values(ascending=False).index
    table = table.sort_values("method", key=order.get_indexer, kind="stable")
    table = table.sort_values("measure", key=lambda key: key.map(GAINS.index), kind="stable")
    names = {method: f"{METHOD_NAMES[method]}{_kind(method)}" for method in order}
    table = table.assign(name=table["method"].map(names), fill=table["measure"].map(_FILLS))
    title = "Does the order hold for every baseline?"
    label = f"{_GAIN}, with 95% interval over objects ↑"
    return charts.intervals(table, "name", "mean", title, label, by="network", panel="fill")


def _kind(method):
    if method in BASELINES:
        return "  (no model calls)"
    return "  (uses gradients)" if method in REFERENCES else ""


def verdict_pairs(results):
    """In how many comparisons one method is significantly better than another."""
    table = results.table("verdict_pairs")
    methods = [*results.table("verdict")["method"], *BASELINES]
    wins = (table["low"] > 0).groupby([table["first"], table["second"]]).sum().unstack()
    order = sorted(methods, key=lambda method: -wins.loc[method, methods].sum())
    wins = wins.loc[order, order].where(~np.eye(len(order), dtype=bool))
    wins = wins.rename(index=METHOD_NAMES, columns=_SHORT)
    label = "comparisons of 6 (3 baselines, 2 networks) in which the row is significantly better"
    return charts.heat(wins, "Which methods differ significantly?", label, "{:.0f}")


def verdict_small(results):
    """Each method's gain with few calls, of some with another number of calls, too."""
    table = reading.rows(results, "verdict_small_means", measure="gain")
    order = table.groupby(["method", "calls"])["mean"].mean().sort_values(ascending=False)
    table = table.set_index(["method", "calls"]).loc[order.index].reset_index()
    usual = table["calls"].value_counts().idxmax()
    names = table["method"].map(METHOD_NAMES)
    other = names + table["calls"].map(", {:,} calls".format)
    table = table.assign(name=names.where(table["calls"] == usual, other))
    title = "What are a few calls worth?"
    label = f"{_GAIN} with {usual} calls unless noted, mean over baselines, with 95% interval ↑"
    return charts.intervals(table, "name", "mean", title, label, by="network")


def photographs_gains(results):
    """Each method's gain on photographs, by model calls and network."""
    table = reading.rows(results, "photographs_means", measure="gain")
    table = table.sort_values("calls", kind="stable")
    usual = table[table["calls"] == table["calls"].value_counts().idxmax()]
    order = usual.groupby("method")["mean"].mean().sort_values(ascending=False).index
    table = table.set_index("method").loc[order].reset_index()
    names = table["method"].map(METHOD_NAMES)
    most = table.groupby("calls")["n"].max()
    heads = {calls: f"{calls:,} calls, {n} photographs" for calls, n in most.items()}
    panel = pd.Categorical(table["calls"].map(heads), heads.values())
    table = table.assign(name=names, panel=panel)
    title = "Which explanation of a photograph gains most?"
    label = f"{_GAIN}, mean over baselines, with 95% interval over photographs ↑"
    figure = charts.intervals(table, "name", "mean", title, label, by="network", panel="panel")
    for axes in figure.axes:
        axes.set_xlim(table["low"].min() - 0.02, table["high"].max() + 0.02)
    return figure


def verdict_alone(results):
    """Two methods' most salient fifths alone, where they differ most."""
    case = results.table("verdict_example").iloc[0]
    image = case["class"], case["picture"]
    table = reading.rows(results, "verdict_alone", case["network"], image)
    regions = results.array("verdict_alone", table["key"].iloc[0], "regions")
    size, path = regions.shape[1], _path(*image)
    pixels, squashed = load_image(path), load_image(path, size)
    hosts = [_path(*host.split("/")) for host in case["hosts"].split(",")]
    hosts = [blurred_away(load_image(host, size), load_mask(host, size)) for host in hosts]
    methods, rows = (case["good"], case["bad"]), []
    for method in methods:
        row = table[table["region"] == method].iloc[0]
        region = regions[row["place"]]
        shown = [maps.outlined(squashed, region)]
        shown += [np.where(region[..., None], squashed, host) for host in hosts]
        notes = [f"{reading.class_title(row['label'])}: {row['probability']:.2f}"]
        notes += [f"{p:.2f}" for p in reading.array(results, "verdict_alone", row, "alone")]
        shown = [maps.stretched(one, pixels.shape) for one in shown]
        rows.append([maps.photograph(one, note=note) for one, note in zip(shown, notes)])
    heads = ["most salient fifth", *["alone elsewhere"] * len(hosts)]
    names = [METHOD_NAMES[method].replace(" ", "\n") for method in methods]
    title = f"Two maps disagree: the network decides ({case['network']})"
    return maps.sheet(rows, title, heads, names)


def _path(kind, stem):
    return DATA / "evaluation" / kind / f"{stem}.jpg"
