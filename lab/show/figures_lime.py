"""Figures of LIME: a function each, from results to figure."""

import numpy as np

from lab.measure.effects import EFFECTS_ON
from lab.measure.measurements import MEASUREMENTS, head
from lab.show import charts, maps, reading
from lab.study.settings import COLORS

_COLOR_NAMES = {str(color): name for name, color in COLORS.items()}
_SHORT = {"mean colour": "mean", "blurred image": "blurred"}
_LABELS = {key: measurement.label for key, measurement in MEASUREMENTS.items()}
_SIGNS = (1, "for"), (-1, "against")
_CLEAR = 10  # standard deviations between seeds: the end of the scale of effects


def lime_superpixels(results):
    """The first elephant's superpixels, and perturbed images with their probability."""
    network, image = reading.network(results), reading.image(results)
    pixels, panels = reading.pixels(image), []
    segments = reading.segments(results, network, image)
    for row in reading.rows(results, "lime_perturbed", network, image).itertuples():
        coalition = reading.array(results, "lime_perturbed", row, "coalitions")
        top = f"perturbed image {len(panels) + 1}"
        note = f"{reading.class_title(row.label)} {row.probability:.2f}"
        panels.append(maps.superpixels(pixels, segments, coalition, top, note))
    top = f"{segments.max() + 1} superpixels"
    first = maps.image_panel(maps.outlined(pixels, segments), top)
    return maps.sheet([[first, *panels]], "LIME's model calls: images with hidden superpixels")


def _settings(results, title, kind="African_elephant", number=0, model=0):
    """The superpixels that each setting shows, for the network number `model`."""
    image, network = reading.image(results, kind, number), reading.network(results, model)
    pixels = reading.pixels(image)
    runs = reading.rows(results, "lime_runs", network, image, seed=0)
    runs = runs.merge(results.table("lime_settings"), on="setting")
    segments = reading.segments(results, network, image)
    label = reading.class_title(runs["label"].iloc[0])
    panels = [maps.image_panel(pixels, reading.stem(image), f"explained: {label}")]
    for row in runs.itertuples():
        chosen = reading.array(results, "lime_parameters", row, "chosen")
        color = _COLOR_NAMES.get(row.hide_color, row.hide_color)
        top = f"{row.setting}: {_SHORT.get(color, color)}, top {row.num_superpixels}"
        panels.append(maps.superpixels(pixels, segments, chosen, top, _quality(row)))
    return maps.sheet(maps.wrapped(panels, 4), f"{title} ({network})")


def _quality(row):
    known = {"R²": row.r2_fresh, "IoU": row.iou}  # equal probabilities have no R²
    return ", ".join(f"{name} {value:.2f}" for name, value in known.items() if not np.isnan(value))


def lime_q1(results):
    """The lab's settings on the first image of an elephant."""
    return _settings(results, "LIME's settings on the first elephant image")


def lime_q2(results):
    """The lab's settings on the second image of an elephant."""
    return _settings(results, "LIME's settings on the second elephant image", number=1)


def lime_q3(results):
    """The lab's settings on the first image of a bear."""
    return _settings(results, "LIME's settings on the first bear image", "black_bear")


def lime_q4_elephant(results):
    """The lab's settings on the first image of an elephant, for the second network."""
    title = "LIME's settings on the first elephant image"
    return _settings(results, title, model=1)


def lime_drawing(results):
    """How one explanation is drawn, and the weights with other `top_labels`."""
    network, image = reading.network(results), reading.image(results)
    pixels = reading.pixels(image)
    segments = reading.segments(results, network, image)
    runs = reading.rows(results, "lime_parameters", network, image, seed=0)

    def stored(parameter, value, name):
        [row] = runs[(runs["parameter"] == parameter) & (runs["value"] == value)].itertuples()
        return reading.array(results, "lime_parameters", row, name)

    panels = []
    for parameter, value, top in (
        ("positive_only", "True", "positive_only"),
        ("negative_only", "True", "negative_only"),
        ("positive_only", "False", "both signs"),
    ):
        chosen, weights = (stored(parameter, value, name) for name in ("chosen", "weights"))
        signs = [f"{np.sum(chosen & (sign * weights > 0))} {text}" for sign, text in _SIGNS]
        panels.append(maps.superpixels(pixels, segments, chosen, top, ", ".join(signs)))
    shown = maps.outlined(pixels, stored("hide_rest", "False", "chosen")[segments])
    panels.append(maps.image_panel(shown, "hide_rest False", "outlined"))
    weights = {value: stored("top_labels", value, "weights") for value in ("1", "3")}
    limit = max(np.abs(each).max() for each in weights.values()) or None
    for value, each in weights.items():
        panels.append(maps.weights(pixels, each[segments], f"top_labels {value}", limit=limit))
    return maps.sheet([panels], "What the drawing parameters and top_labels change")


def lime_tradeoff(results):
    """Fidelity against the number of superpixels in the linear model."""
    table = reading.rows(results, "lime_grid", parameter="num_superpixels")
    table = table.assign(value=table["value"].astype(int), image=table["image"].map(reading.stem))
    title = "How many superpixels are enough?"
    label = f"largest number of superpixels in the linear model ({reading.network(results)})"
    return charts.lines(table, "value", "r2_fresh", "image", title, label, head("r2_fresh"))


def lime_hide_color_fidelity(results):
    """Fidelity for each colour of hidden superpixels."""
    table = reading.rows(results, "lime_grid", parameter="hide_color")
    table = table.assign(image=table["image"].map(reading.stem))
    colors, images = (list(dict.fromkeys(table[column])) for column in ("value", "image"))
    values = table.pivot(index="value", columns="image", values="r2_fresh")
    values = values.loc[colors, images].rename(index=_SHORT)
    label = f"{head('r2_fresh')} ({reading.network(results)})"
    return charts.bars(values, "Fidelity behind each colour", label)


def lime_stability(results):
    """Agreement between seeds against the number of samples."""
    table, value = results.table("lime_sampled"), "rank_correlation"
    means = table.groupby(["sampling", "num_samples"], sort=False)[value].mean().reset_index()
    names = {"lime": "LIME", "balanced": "balanced perturbations"}
    means["sampling"] = means["sampling"].map(names)
    title = "How many samples until two seeds agree?"
    images = ", ".join(map(reading.stem, dict.fromkeys(table["image"])))
    label = f"num_samples ({reading.network(results)}, {images}, {table['seed'].nunique()} seeds)"
    return charts.lines(means, "num_samples", value, "sampling", title, label, head(value))


def lime_parameters(results):
    """How far each parameter moves each measurement, of those that move one."""
    return _effects(results, "lime_effects", "What does each parameter change?")


def photographs_parameters(results):
    """The same on photographs."""
    return _effects(results, "photographs_effects", "The parameters on photographs")


def _effects(results, table, title):
    table = results.table(table)
    table = table[table.groupby("parameter")["effect"].transform("max") > 0]
    # Infinite where there is no noise, as in the number of calls.
    ratio = (table["effect"] / table["noise"]).clip(upper=_CLEAR).where(table["significant"])
    table = table.assign(ratio=ratio, text=[_effect(row) for row in table.itertuples()])
    measured = set(table.dropna(subset="effect")["measure"])  # IoU needs masks
    ratios, texts = (
        table.pivot(index="parameter", columns="measure", values=values)
        .loc[list(dict.fromkeys(table["parameter"])), [m for m in EFFECTS_ON if m in measured]]
        .rename(columns=_LABELS)
        for values in ("ratio", "text")
    )
    label = "from the worst value to the best; dark green: far above the noise between seeds"
    return charts.heat(ratios, title, label, "", (-_CLEAR, _CLEAR), texts)


def _effect(row):
    if not row.significant:
        return "=" if row.effect == 0 else "not significant"
    digits = 3 if max(row.worst_mean, row.best_mean) < 0.2 else 2
    form = "{:,.0f}" if row.measure == "model_calls" else f"{{:.{digits}f}}"
    values = f"{form.format(row.worst_mean)} → {form.format(row.best_mean)}".replace("-", "−")
    return f"{values}\n{_SHORT.get(row.worst, row.worst)} → {_SHORT.get(row.best, row.best)}"


def lime_distances(results):
    """How far a measurement moves when one thing is changed."""
    table = results.table("lime_distances").dropna(subset="distance")
    table = table.assign(measure=table["measure"].map(_LABELS))
    title = "Change one thing: how far does it move?"
    label = "mean difference of two runs that differ in this only (1: as two runs drawn at random)"
    return charts.dots(table, "change", "distance", "measure", title, label)


def lime_recommended(results):
    """The recommended setting's lead over each of the lab's, in ranks."""
    table = reading.rows(results, "lime_recommended", measure="all")
    table = table.assign(name="setting " + table["setting"].astype(str))
    label = f"by how many ranks of {len(table) + 1} the recommended setting is better"
    title = "Is the recommended setting better than the others?"
    return charts.intervals(table, "name", "gain", title, f"{label}, with 95% interval")


def lime_agreement(results):
    """How well the order of the settings carries over."""
    table = results.table("lime_agreement")
    table = table[table["pairs"] > 0].assign(name=table["measure"].map(head))
    title = "Does the order of the settings carry over?"
    label = "Kendall's tau between two orders of the settings, with 95% interval"
    return charts.intervals(table, "name", "tau", title, label, by="pair")


def lime_q4(results):
    """Shares of each measurement's variance."""
    table = results.table("lime_variance").set_index("measure")
    table = table.astype(float)  # "network" is a share here; elsewhere it is a name
    table = table.rename(columns=lambda name: name.replace(" x ", " × ").replace("(x ", "(× "))
    title = "What an explanation's measurements depend on"
    label = "share of the variance over networks, images, settings and seeds"
    return charts.bars(table.rename(index=_LABELS), title, label, stacked=True)
