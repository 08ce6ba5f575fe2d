"""Figures of montages and photographs: a function each, from results to figure."""

import numpy as np
import pandas as pd

from lab.images import load_image, load_mask
from lab.methods.masked_model import blurred_away
from lab.methods.registry import METHODS
from lab.show import charts, maps, reading
from lab.study.comparison import MONTAGES
from lab.study.settings import OBJECT

_GAIN = "insertion minus deletion"
_BY_MASKS = {
    "iou_mask": "IoU with the object",
    "pointing_game": "most salient point on it",
    "transplanted": "fifth elsewhere: probability",
}
_SHOWN = "koala/koala_1_slope.jpg", "flamingo/flamingo_1_gravel.jpg"
_SHOWN += "garbage_truck/garbage_truck_1_meadow.jpg", "zebra/zebra_1_meadow.jpg"
_SHOWN += "lemon/lemon_1_blades.jpg", "mantis/mantis_1_planks.jpg"  # objects in landscapes


def shown_montages(results):
    """The montages that figures show, by path in `lab.study.comparison.MONTAGES`."""
    case = results.table("montages_example").iloc[0]
    return [*_SHOWN, case["image"], *case["backgrounds"].split(",")]


def montages_images(results):
    """Some of the images."""
    results.table("montages_means")  # else they were not used
    panels = []
    for name in _SHOWN:
        head = name.split("/")[0].replace("_", " ")
        panels.append(maps.image_panel(load_image(MONTAGES / name), head))
    return maps.sheet(maps.wrapped(panels, 3), "Six evaluation images: objects are off centre")


def montages_masks(results):
    """What exact masks tell of each method's maps, for both networks."""
    table = results.table("montages_means")
    object_ = table["method"] == OBJECT  # it covers itself
    transplanted = table["measure"] == "transplanted"
    order = table[transplanted].groupby("method")["mean"].mean().sort_values(ascending=False).index
    table = table[table["measure"].isin(_BY_MASKS) & (transplanted | ~object_)]
    table = table.sort_values("method", key=order.get_indexer, kind="stable")
    panel = pd.Categorical(table["measure"].map(_BY_MASKS), _BY_MASKS.values())
    table = table.assign(name=table["method"].map(_name), panel=panel)
    title = "Does a map point at the object?"
    label = "mean over montages, with 95% interval over objects ↑"
    return charts.intervals(table, "name", "mean", title, label, by="network", panel="panel")


def _name(method):
    if method == OBJECT:
        return "The object itself"
    note = "  (no model calls)" * METHODS[method].control
    return METHODS[method].title + note + "  (uses gradients)" * METHODS[method].gradients


def photographs_gains(results):
    """Each method's gain on photographs, by model calls, for the lab's two networks."""
    table = reading.rows(results, "photographs_means", measure="gain")
    table = table[table["network"].isin(table["network"].unique()[:2])]
    table = table.sort_values("calls", kind="stable")
    usual = table[table["calls"] == table["calls"].value_counts().idxmax()]
    order = usual.groupby("method")["mean"].mean()
    for method, own in table[~table["method"].isin(order.index)].groupby("method"):
        # Among those that it is compared with: after the last one that gains more.
        others = table[(table["calls"] == own["calls"].iloc[0])].groupby("method")["mean"].mean()
        order[method] = order[others.index[others > others[method]]].min() - 1e-6
    table = table.set_index("method").loc[order.sort_values(ascending=False).index].reset_index()
    names = table["method"].map(_name)
    most = table.groupby("calls")["n"].max()
    heads = {calls: f"{calls:,} calls, {n} photographs" for calls, n in most.items()}
    panel = pd.Categorical(table["calls"].map(heads), heads.values())
    table = table.assign(name=names, panel=panel)
    title = "Which explanation of a photograph gains most?"
    label = f"{_GAIN}, mean over baselines, with 95% interval over photographs ↑"
    figure = charts.intervals(table, "name", "mean", title, label, by="network", panel="panel")
    ends = table[["low", "mean", "high"]]  # few photographs have no interval
    for axes in figure.axes:
        axes.set_xlim(ends.min(axis=None) - 0.02, ends.max(axis=None) + 0.02)
    return figure


def montages_alone(results):
    """Two methods' most salient fifths alone, where they differ most."""
    case = results.table("montages_example").iloc[0]
    table = reading.rows(results, "montages_runs", case["network"], case["image"])
    size = reading.input_size(results, case["network"])
    pixels, squashed = (load_image(MONTAGES / case["image"], side) for side in (None, size))
    others = [MONTAGES / name for name in case["backgrounds"].split(",")]
    others = [blurred_away(load_image(path, size), load_mask(path, size)) for path in others]
    methods, rows = (case["good"], case["bad"]), []
    for method in methods:
        [row] = table[table["method"] == method].itertuples()
        region = reading.array(results, "montages_runs", row, "regions")
        shown = [maps.outlined(squashed, region)]
        shown += [np.where(region[..., None], squashed, other) for other in others]
        notes = [f"{reading.class_title(row.label)}: {row.probability:.2f}"]
        probabilities = reading.array(results, "montages_runs", row, "transplanted")
        notes += [f"{probability:.2f}" for probability in probabilities]
        shown = [maps.stretched(one, pixels.shape) for one in shown]
        rows.append([maps.image_panel(one, note=note) for one, note in zip(shown, notes)])
    heads = ["most salient fifth", *["elsewhere"] * len(others)]
    names = [METHODS[method].title.replace(" ", "\n") for method in methods]
    title = f"Two maps disagree: the network decides ({case['network']})"
    return maps.sheet(rows, title, heads, names)
