"""Figures of the verdict on many objects: a function each, from results to figure."""

import numpy as np

from lab.explain.names import BASELINES, METHOD_NAMES, REFERENCES
from lab.measure.paired import GAINS
from lab.images import DATA, load_image, load_mask
from lab.show import charts, maps, reading

SET = DATA / "evaluation"
_FILLS = dict(zip(GAINS, ("black", "mean colour", "blurred picture")))
_SHOWN = (
    ("koala", "koala_1"),
    ("flamingo", "flamingo_1"),
    ("garbage_truck", "garbage_truck_1"),
    ("zebra", "zebra_1"),
    ("lemon", "lemon_1"),
    ("mantis", "mantis_1"),
)


def _image(kind, stem, size=None):
    return load_image(next((SET / kind).glob(f"{stem}*")), size)


_SHORT = {
    "lime": "LIME",
    "lime_blurred": "LIME blurred",
    "rise": "RISE regr.",
    "rise_average": "RISE aver.",
    "shap": "Kernel- SHAP",
    "occlusion": "Occl.",
    "occlusion_black": "Occl. black",
    "occlusion_blurred": "Occl. blurred",
    "random": "Random",
    "centre": "Centre",
    "edges": "Edges",
}


def verdict_pictures(_):
    """Some of the pictures."""
    panels = [maps.photograph(_image(*picture), picture[0].replace("_", " ")) for picture in _SHOWN]
    return maps.sheet(maps.wrapped(panels, 3), "Six of the pictures, which no photographer centred")


def verdict_gains(results):
    """Each method's gain with each fill, for both networks, with intervals over objects."""
    table = results.table("verdict_means")
    table = table[table["measure"].isin(GAINS)]
    order = table.groupby("method")["mean"].mean().sort_values(ascending=False)
    names = {method: f"{METHOD_NAMES[method]}{_kind(method)}" for method in order.index}
    table = table.assign(
        name=table["method"].map(names),
        fill=table["measure"].map(_FILLS),
        place=table["method"].map(list(order.index).index),
    )
    return charts.intervals(
        table.sort_values("place", kind="stable").sort_values(
            "measure", key=lambda keys: keys.map(list(_FILLS).index), kind="stable"
        ),
        "name",
        "mean",
        "Does the order hold whatever fills the holes?",
        "gain: insertion minus deletion, with 95% interval over objects (higher is better)",
        by="network",
        panel="fill",
    )


def _kind(method):
    return (
        "  (never asks)"
        if method in BASELINES
        else "  (looks inside)"
        if method in REFERENCES
        else ""
    )


def verdict_pairs(results):
    """In how many of the six comparisons one method is surely better than another."""
    table = results.table("verdict_pairs")
    judged = results.table("verdict")
    shown = [*judged["method"], *BASELINES]
    wins = (table["low"] > 0).groupby([table["first"], table["second"]]).sum().unstack()
    shown = sorted(shown, key=lambda method: -wins.loc[method, shown].sum())
    wins = wins.loc[shown, shown].where(~np.eye(len(shown), dtype=bool))
    return charts.heat(
        wins.rename(index=METHOD_NAMES, columns=_SHORT),
        "Which methods can be told apart?",
        "in how many of three fills and two networks the row is surely better than the column: only 6 counts",
        "{:.0f}",
    )


def verdict_few(results):
    """Each method's gain with a hundred and with a thousand calls, on the first pictures of the verdict's objects."""
    table = results.table("verdict_calls")
    return charts.intervals(
        table.assign(
            name=table["method"].map(METHOD_NAMES), asked=table["calls"].map("{:,} calls".format)
        ),
        "name",
        "mean",
        "What do a thousand calls bring over a hundred?",
        "mean gain, with 95% interval over objects ↑",
        by="asked",
        panel="network",
    )


def verdict_small(results):
    """Each method's gain with 250 calls, of RISE's average also with 4,000 and of nested occlusion with 100, on the same pictures."""
    table = results.table("verdict_small_means")
    table = table[table["measure"] == "gain"]
    order = table.groupby(["method", "calls"])["mean"].mean().sort_values(ascending=False)
    table = table.set_index(["method", "calls"]).loc[order.index].reset_index()
    usual = table["calls"].value_counts().idxmax()
    names = (
        table["method"]
        .map(METHOD_NAMES)
        .where(
            table["calls"] == usual,
            table["method"].map(METHOD_NAMES) + table["calls"].map(", {:,} calls".format),
        )
    )
    return charts.intervals(
        table.assign(name=names),
        "name",
        "mean",
        "What are a few calls worth?",
        f"mean gain with {usual} calls where nothing else is said, with 95% interval over objects ↑",
        by="network",
    )


def verdict_alone(results):
    """The answer about which two methods' most salient fifths differ most when they are all that is left."""
    case = results.table("verdict_example").iloc[0]
    rows = results.table("verdict_alone")
    rows = rows[rows["key"] == case["key"]].reset_index(drop=True)
    regions, alone = (
        results.array("verdict_alone", case["key"], name) for name in ("regions", "alone")
    )
    image = _image(case["class"], case["picture"])
    squashed = _image(case["class"], case["picture"], regions.shape[1])
    grounds = [_emptied(*name.split("/"), regions.shape[1]) for name in case["hosts"].split(",")]
    cells = []
    for region in (case["good"], case["bad"]):
        place = rows.index[rows["region"] == region][0]
        marked = maps.stretched(maps.outlined(squashed, regions[place]), image.shape)
        cells.append(
            [
                maps.photograph(
                    marked, note=f"{reading.told(rows['label'][0])}: {rows['probability'][0]:.2f}"
                )
            ]
        )
        for ground, answer in zip(grounds, alone[place]):
            pixels = np.where(regions[place][..., None], squashed, ground)
            cells[-1].append(
                maps.photograph(maps.stretched(pixels, image.shape), note=f"{answer:.2f}")
            )
    heads = ["most salient fifth", *["alone elsewhere"] * len(grounds)]
    names = [METHOD_NAMES[region].replace(" ", "\n") for region in (case["good"], case["bad"])]
    return maps.sheet(
        cells, f"Two maps disagree: the network decides ({case['network']})", heads, names
    )


def _emptied(kind, stem, size):
    """A picture of which the object is blurred away."""
    from lab.explain.masked_model import blurred_away  # takes a second to import

    return blurred_away(_image(kind, stem, size), load_mask(SET / kind / f"{stem}.jpg", size))
