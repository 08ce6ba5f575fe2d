"""Figures of RISE: a function each, from results to figure."""

import numpy as np
import pandas as pd

import rise
from lab.show import charts, maps, reading
from lab.study.results import MissingResult
from lab.study.settings import COMBINED, RECOMMENDED


def rise_steps(results):
    """Masks, perturbed images, local explanations, and aggregates of growing numbers.

    The last row has columns of its own.
    """
    network, image = reading.network(results), reading.image(results)
    label, pixels = _main_class(results, image), reading.pixels(image)
    runs = _usual(results, network, image, label=label)
    # The counts that all networks share are in `rise_nb_samples`.
    growing = runs[~runs["nb_samples"].isin(_counts(results, image)[:-1])]
    scores = results.table("rise_steps")["score"].to_numpy()
    order = np.argsort(-scores, kind="stable")
    selected = np.r_[order[: (len(growing) + 1) // 2], order[len(order) - len(growing) // 2 :]]
    size = reading.input_size(results, network)
    masks = rise.generate_masks(0, len(scores), (size, size, 3))[selected]
    local = rise.local_explanations(scores[selected], masks)
    masks, local = (
        [np.clip(maps.resized(one, pixels.shape[:2]), 0, 1)[..., None] for one in several]
        for several in (masks, local / local.max())
    )
    rows = [
        [_grey(mask) for mask in masks],
        [maps.image_panel(np.uint8(pixels * mask)) for mask in masks],
        [_grey(one) for one in local],
        [maps.saliency(pixels, one) for one in growing["map"]],
    ]
    rows[1] = _noted(rows[1], [f"score {score:.3f}" for score in scores[selected]])
    rows[3] = _noted(rows[3], [f"after {count} masks" for count in growing["nb_samples"]])
    title = f"RISE in four steps: {reading.class_title(label)}, {network}"
    heads = ["masks", "perturbed\nimages", "score\n× mask", "aggregate"]
    return maps.sheet(rows, title, row_heads=heads, label=_label(image))


def rise_networks(results):
    """Each network's map of the first elephant, and of the first bear."""
    panels, networks = [], reading.networks(results)
    images = [reading.image(results, kind) for kind in ("African_elephant", "black_bear")]
    for image in images:
        pixels, label = reading.pixels(image), _main_class(results, image)
        for network in networks:
            values = _usual(results, network, image, label=label)["map"].iloc[-1]
            panels.append(maps.saliency(pixels, values, network, _range(values)))
    return maps.sheet([panels], "Where does each network look?", label=_label(*images))


def rise_agreement(results):
    """How well maps agree: those of two halves, two networks and two images."""
    table = results.table("rise_alike").query("measure != 'closer'")
    names = table["measure"].map(
        {"networks": "both networks, one animal", "other_images": "both networks, other animals"}
    )
    names = names.fillna("two halves, " + table["network"].fillna(""))
    table = table.assign(name=names, kind=table["class"].str.replace("_", " "))
    title, label = "Do two maps agree?", "rank correlation, mean with 95% interval"
    return charts.intervals(table, "name", "mean", title, label, "kind")


def rise_nb_samples(results):
    """Maps of more and more masks, a row for each network."""
    image, networks = reading.image(results), reading.networks(results)
    pixels, label = reading.pixels(image), _main_class(results, image)
    counts, rows = _counts(results, image), []
    for network in networks:
        runs = _usual(results, network, image, label=label).set_index("nb_samples").loc[counts]
        notes = [_halves("correlation of halves", halves) for halves in runs["halves"]]
        rows.append(_noted([maps.saliency(pixels, one) for one in runs["map"]], notes))
    heads = [f"{count} masks" for count in counts]
    return maps.sheet(rows, "How many masks make a map?", heads, networks, _label(image))


def rise_few_and_many(results):
    """Maps of few and of many masks of 8 x 8 cells, for each network."""
    image, panels = reading.image(results), []
    pixels, label = reading.pixels(image), _main_class(results, image)
    for network in reading.networks(results):
        runs = _usual(results, network, image, label=label, grid_size=8)
        for run in runs.itertuples():
            note = f"{run.nb_samples} masks{_halves(', halves', run.halves)}"
            panels.append(maps.saliency(pixels, run.map, network, note))
    if not panels:
        raise MissingResult("there are no masks of 8 x 8 cells: make study measures them")
    return maps.sheet([panels], "Few masks and many, of 8 × 8 cells", label=_label(image))


def rise_bear(results):
    """Maps of two classes of bears, a row for each network."""
    image, networks, rows = reading.image(results, "black_bear"), reading.networks(results), []
    pixels = reading.pixels(image)
    for network in networks:
        runs = _usual(results, network, image)
        runs = runs[runs["nb_samples"] == runs["nb_samples"].max()].sort_values("place")
        rows.append([maps.saliency(pixels, one, note=_range(one)) for one in runs["map"]])
    heads = [reading.class_title(label) for label in runs["label"]]
    return maps.sheet(rows, "Where does each network see the bear?", heads, networks, _label(image))


def lime_and_rise(results):
    """The first elephant, LIME's superpixels and RISE's map, a row for each network.

    LIME has the recommended setting.
    """
    image, networks, rows = reading.image(results), reading.networks(results), []
    pixels, label = reading.pixels(image), _main_class(results, image)
    setting = {"parameter": COMBINED, "value": RECOMMENDED}
    for network in networks:
        top = reading.rows(results, "predictions", network, image, rank=1).iloc[0]
        lime = reading.rows(results, "lime_parameters", network, image, **setting).iloc[0]
        chosen = reading.array(results, "lime_parameters", lime, "chosen")
        segments = reading.segments(results, network, image)
        longest = _usual(results, network, image, label=label).iloc[-1]
        predicted = f"{reading.class_title(top['label'])} {top['probability']:.2f}"
        shown = f"{chosen.sum()} superpixels, {lime['model_calls']} model calls"
        calls = f"{longest['nb_samples']} model calls"
        first = maps.image_panel(pixels, note=predicted)
        second = maps.superpixels(pixels, segments, chosen, note=shown)
        rows.append([first, second, maps.saliency(pixels, longest["map"], note=calls)])
    title = "Which parts of the image speak for its class?"
    heads = ["image", "LIME: which superpixels matter", "RISE: which pixels matter"]
    return maps.sheet(rows, title, heads, networks, _label(image))


def _usual(results, network, image, **values):
    """Runs of RISE with the usual masks by growing number, with their "map"."""
    usual = {"grid_size": 7, "preservation_probability": 0.5, **values}
    runs = reading.rows(results, "rise_runs", network, image, **usual)
    runs = runs.drop_duplicates(["label", "nb_samples"]).sort_values("nb_samples", kind="stable")
    arrays = [reading.array(results, "rise_runs", row, "maps") for row in runs.itertuples()]
    return runs.assign(map=pd.Series(arrays, runs.index))


def _main_class(results, image):
    """The class that is explained first."""
    return reading.rows(results, "rise_runs", image=image)["label"].iloc[0]


def _counts(results, image):
    """The numbers of masks that all networks were explained with."""
    networks = reading.networks(results)
    counts = [set(_usual(results, network, image)["nb_samples"]) for network in networks]
    return sorted(set.intersection(*counts))


def _grey(values):
    return maps.image_panel(np.uint8(255 * values).repeat(3, axis=-1))


def _noted(panels, notes):
    return [panel._replace(note=note) for panel, note in zip(panels, notes)]


def _range(values):
    return f"{values.min():.2g} to {values.max():.2g}"


def _halves(text, value):
    """Nothing where a half's map is constant, and has no correlation."""
    return "" if np.isnan(value) else f"{text} {value:.2f}".replace("-", "−")


def _label(*images):
    names = " and ".join(map(reading.stem, images))
    return f"{names}: mean probability where preserved"
