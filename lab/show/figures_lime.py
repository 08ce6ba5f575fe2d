"""Figures of LIME: a function each, from results to figure."""

import numpy as np

from lab.measure.effects import EFFECTS_ON
from lab.measure.measurements import MEASUREMENTS, head
from lab.show import charts, maps, reading
from lab.study.settings import COLORS, LAB_PARAMETERS, LAB_SETTINGS

_COLOR_NAMES = {str(color): name for name, color in COLORS.items()}


def _arrays(results, table, row):
    segments, weights, chosen = (
        results.array(table, row.key, name) for name in ("segments", "weights", "chosen")
    )
    return segments.astype(int), weights[row.index], chosen[row.index].astype(bool)


def lime_superpixels(results):
    """The first elephant's superpixels, and three perturbed pictures with the network's probability."""
    network, picture = reading.networks(results)[0], reading.elephant(results)
    image, panels = reading.image(picture), []
    for row in reading.of(results.table("lime_perturbed"), network, picture).itertuples():
        segments, kept = (
            results.array("lime_perturbed", row.key, name) for name in ("segments", "kept")
        )
        note = f"{reading.told(row.label)} {row.probability:.2f}"
        panels.append(
            maps.superpixels(
                image, segments, kept[row.index], f"perturbed picture {len(panels) + 1}", note
            )
        )
    first = maps.photograph(maps.outlined(image, segments), f"{segments.max() + 1} superpixels")
    return maps.sheet([[first, *panels]], "What LIME asks: the picture with superpixels hidden")


def _settings(results, network, picture, title):
    """The superpixels that each setting shows."""
    image = reading.image(picture)
    rows = list(reading.of(results.table("lime_runs"), network, picture, seed=0).itertuples())
    panels = [maps.photograph(image, network, f"explained: {reading.told(rows[0].label)}")]
    for row in rows:
        setting = LAB_SETTINGS[row.setting]
        segments, _, chosen = _arrays(results, "lime_runs", row)
        hidden = "mean" if setting.hide_color is None else _COLOR_NAMES[str(setting.hide_color)]
        overlap = "" if np.isnan(row.iou) else f", IoU {row.iou:.2f}"
        panels.append(
            maps.superpixels(
                image,
                segments,
                chosen,
                f"{row.setting}: {hidden}, top {setting.num_superpixels}",
                f"R² {row.r2_fresh:.2f}{overlap}",
            )
        )
    return maps.sheet(maps.wrapped(panels, 4), title)


def lime_q1(results):
    """What each setting shows on the first elephant, first network."""
    return _settings(
        results,
        reading.networks(results)[0],
        reading.elephant(results),
        "Seven settings on the first elephant",
    )


def lime_q2(results):
    """What each setting shows on the second elephant, first network."""
    return _settings(
        results,
        reading.networks(results)[0],
        reading.elephant(results, 1),
        "Seven settings on another elephant",
    )


def lime_q3(results):
    """What each setting shows on the first bear, first network."""
    return _settings(
        results, reading.networks(results)[0], reading.bear(results), "Seven settings on a bear"
    )


def lime_q4_elephant(results):
    """What each setting shows on the first elephant, second network."""
    return _settings(
        results,
        reading.networks(results)[1],
        reading.elephant(results),
        "The first elephant through the other network",
    )


def _around(results, parameter):
    table = results.table("lime_grid")
    return table[table["parameter"] == parameter]


def lime_tradeoff(results):
    """Fidelity against the number of superpixels in the linear model, a line for each picture."""
    table = _around(results, "num_superpixels")
    return charts.lines(
        table.assign(value=table["value"].astype(int)),
        "value",
        "r2_fresh",
        "picture",
        "How many superpixels are enough?",
        f"superpixels in the linear model, as many as there are at most ({reading.networks(results)[0]})",
        head("r2_fresh"),
    )


def lime_hide_color_fidelity(results):
    """Fidelity for each colour that hides superpixels."""
    table = _around(results, "hide_color")
    values = table.pivot(index="value", columns="picture", values="r2_fresh").loc[
        list(dict.fromkeys(table["value"]))
    ]
    return charts.bars(
        values[list(dict.fromkeys(table["picture"]))],
        "Fidelity behind each colour",
        f"{head('r2_fresh')} ({reading.networks(results)[0]})",
    )


def lime_stability(results):
    """Agreement between seeds against the number of samples, for LIME's sampling and the balanced one."""
    table = results.table("lime_stability")
    means = (
        table.groupby(["sampling", "num_samples"], sort=False)["rank_correlation"]
        .mean()
        .reset_index()
    )
    means["sampling"] = means["sampling"].map(
        {"lime": "LIME", "balanced": "balanced perturbations"}
    )
    return charts.lines(
        means,
        "num_samples",
        "rank_correlation",
        "sampling",
        "How many samples until two seeds agree?",
        f"num_samples ({reading.networks(results)[0]}, {table['seed'].nunique()} seeds)",
        head("rank_correlation"),
    )


def lime_parameters(results):
    """How far each parameter moves each measurement, against the noise of the seed."""
    table = results.table("lime_effects")
    table = table.assign(
        ratio=(table["effect"] / table["noise"]).where(table["told_apart"] & (table["noise"] > 0))
    )
    # Without noise, as the number of calls has none, a difference is as sure as it can be.
    table.loc[table["told_apart"] & (table["noise"] == 0), "ratio"] = _SURE
    ratios = table.pivot(index="parameter", columns="measure", values="ratio").loc[
        list(LAB_PARAMETERS), list(EFFECTS_ON)
    ]
    cells = (
        table.assign(text=[_moved(row) for row in table.itertuples()])
        .pivot(index="parameter", columns="measure", values="text")
        .loc[ratios.index, ratios.columns]
    )
    names = [MEASUREMENTS[key].label for key in ratios.columns]
    return charts.heat(
        ratios.clip(upper=_SURE).set_axis(names, axis=1),
        "What does each parameter change?",
        "from the value that does worst to the one that does best; green: far beyond the noise of the seed",
        "",
        (-_SURE, _SURE),
        cells.set_axis(names, axis=1),
    )


_SURE = 10  # standard deviations between seeds


def _moved(row):
    if not row.told_apart:
        return "=" if row.effect == row.effect and not row.effect else "not told apart"
    form = (
        "{:,.0f}"
        if row.measure == "model_calls"
        else "{:.3f}"
        if max(row.worst_mean, row.best_mean) < 0.2
        else "{:.2f}"
    )
    values = f"{form.format(row.worst_mean)} → {form.format(row.best_mean)}"
    return f"{values}\n{_SHORT.get(row.worst, row.worst)} → {_SHORT.get(row.best, row.best)}"


_SHORT = {"mean colour": "mean", "blurred picture": "blurred"}


def lime_distances(results):
    """How far a measurement moves when one thing is changed."""
    table = results.table("lime_distances")
    table = table[table["distance"].notna()]
    return charts.dots(
        table.assign(measure=table["measure"].map(lambda key: MEASUREMENTS[key].label)),
        "change",
        "distance",
        "measure",
        "Change one thing: how far does it move?",
        "mean difference of two runs that differ in this only (1: as two runs drawn at random)",
    )


def lime_recommended(results):
    """By how many ranks the recommended setting is before each of the seven, on pictures it was not chosen on."""
    table = results.table("lime_recommended")
    table = table[table["measure"] == "all"]
    return charts.intervals(
        table.assign(name="setting " + table["setting"].astype(str)),
        "name",
        "gain",
        "A setting better than the seven?",
        "by how many ranks of eight the recommended setting is better, with 95% interval",
    )


def lime_agreement(results):
    """How well the order of the settings carries over, for each measurement and kind of pair."""
    table = results.table("lime_agreement")
    table = table[table["pairs"] > 0]
    return charts.intervals(
        table.assign(name=table["measure"].map(head)),
        "name",
        "tau",
        "Does the order of the settings carry over?",
        "Kendall's tau between two orders of the settings (1: the same, 0: no relation), with 95% interval",
        by="pair",
    )


def lime_q4(results):
    """Shares of each measurement's variance."""
    table = (
        results.table("lime_variance").set_index("measure").astype(float)
    )  # the share that is the network's would pass for a name
    table = table.rename(columns=lambda name: name.replace(" x ", " × ").replace("(x ", "(× "))
    table.index = [MEASUREMENTS[key].label if key in MEASUREMENTS else key for key in table.index]
    return charts.shares(
        table,
        "What an explanation's measurements depend on",
        "share of the variance over networks, pictures, settings and seeds",
    )
