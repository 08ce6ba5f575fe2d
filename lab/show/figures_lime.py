"""Figures of LIME: a function each, from results to figure."""

import textwrap

import numpy as np

from lab.measure.effects import BOTH
from lab.measure.measurements import head
from lab.measure.paired import GAINS
from lab.show import charts, maps, reading
from lab.study.lime import MEAN
from lab.study.settings import COLORS

_COLOR_NAMES = {str(color): name for name, color in COLORS.items()}
_SHORT = {"mean colour": "mean", "blurred image": "blurred", "True": "on", "False": "off"}
_BY = {
    "r_common": "correlation",
    "gain_black": "gain, black cover",
    "gain_mean": "gain, mean colour cover",
    "gain_blurred": "gain, blurred cover",
}
_SIGNS = (1, "for"), (-1, "against")


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
    runs = reading.rows(results, "lime_runs", network, image)
    runs = runs.merge(results.table("lime_settings"), on="setting")
    segments = reading.segments(results, network, image)
    label = reading.class_title(runs["label"].iloc[0])
    explained = textwrap.fill(f"explained: {label}", 30)  # as wide as a panel
    panels = [maps.image_panel(pixels, reading.stem(image), explained)]
    for row in runs.itertuples():
        chosen = reading.array(results, "lime_parameters", row, "chosen")
        color = _COLOR_NAMES.get(row.hide_color, row.hide_color)
        top = f"{row.setting}: {_SHORT.get(color, color)}, top {row.num_superpixels}"
        panels.append(maps.superpixels(pixels, segments, chosen, top, _quality(row)))
    return maps.sheet(maps.wrapped(panels, 4), f"{title} ({network})")


def _quality(row):
    known = {"gain": row.gain, "IoU": row.iou}
    notes = [f"{name} {value:.2f}" for name, value in known.items() if not np.isnan(value)]
    return ", ".join(notes).replace("-", "−")


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
    runs = reading.rows(results, "lime_parameters", network, image)

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


def lime_stability(results):
    """Agreement between seeds against the number of samples."""
    table, value = results.table("lime_stability"), "rank_correlation"
    means = table.groupby(["sampling", "num_samples"], sort=False)[value].mean().reset_index()
    names = {"lime": "LIME", "balanced": "balanced perturbations"}
    means["sampling"] = means["sampling"].map(names)
    title = "How many samples until two seeds agree?"
    images = ", ".join(map(reading.stem, dict.fromkeys(table["image"])))
    label = f"num_samples ({reading.network(results)}, {images})"
    return charts.lines(means, "num_samples", value, "sampling", title, label, head(value))


def lime_parameters(results):
    """How far each parameter moves each measurement, of those that move one."""
    table = results.table("lime_effects").query("measure != 'model_calls'")
    table = table.dropna(subset="effect")  # IoU needs masks
    table = table[table.groupby("parameter")["effect"].transform(lambda all: all.abs().max()) > 0]
    worst, best = (table[name].replace(_SHORT) for name in ("worst", "best"))
    texts = (worst + " → " + best).where(table["effect"] != 0, "=")
    table = table.assign(text=texts, measure=table["measure"].map(head))
    title = "What does each parameter change?"
    label = "best value minus worst, on images that did not choose them, with 95% interval"
    return charts.intervals(table, "parameter", "effect", title, label, None, "measure", "text")


def lime_colors(results):
    """How much better the other baselines are than black, by each fill."""
    table = results.table("lime_colors").query("second == 'black' and network != @BOTH")
    table = table[table["measure"].isin([*GAINS, "r_common"])]
    case = table["network"] + "\n" + table["class"].str.replace("_", " ")
    table = table.assign(case=case, measure=table["measure"].map(_BY))
    title = "Which baseline is better than black?"
    label = "by how much it is better, with 95% interval"
    return charts.intervals(table, "first", "difference", title, label, "measure", "case")


def lime_hidden(results):
    """The probability that is left with everything hidden."""
    table = results.table("lime_left").query("measure == 'hidden'")
    table = table.assign(kind=table["class"].str.replace("_", " "))
    title = "Everything hidden: what does the network still see?"
    label = "probability of the class that is left, mean with 95% interval"
    return charts.intervals(table, "baseline", "mean", title, label, "kind", "network")


def lime_recommended(results):
    """The recommended setting's lead over each of the lab's."""
    table = results.table("lime_contrasts").query("first == 'recommended' and measure == 'gain'")
    table = table[table["network"] != BOTH]
    names = table["second"].where(table["second"] == MEAN, "setting " + table["second"])
    table = table.assign(name=names, kind=table["class"].str.replace("_", " "))
    title = "Is the recommended setting better?"
    label = "by how much insertion minus deletion is higher, with 95% interval"
    return charts.intervals(table, "name", "difference", title, label, "kind", "network")


def lime_agreement(results):
    """How well the order of the settings carries over."""
    table = results.table("lime_agreement")
    table = table[(table["pairs"] > 0) & (table["pair"] != "same class")]
    pairs = table["pair"].str.replace("same class: ", "another ").str.replace("_", " ")
    pairs = pairs.str.replace("other class", "the other class")
    pairs = pairs.str.replace("other network", "the other network")
    table = table.assign(name=table["measure"].map(head), pair=pairs)
    title = "Does the order of the settings carry over?"
    label = "Kendall's tau between two orders of the settings, with 95% interval"
    return charts.intervals(table, "name", "tau", title, label, by="pair")
