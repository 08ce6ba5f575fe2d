"""Figures of RISE: a function each, from results to figure."""

import numpy as np

import rise
from lab.show import maps, reading
from lab.study.settings import CANDIDATES

KEPT = "mean probability where a pixel is kept"


def _maps(results, network, picture, **values):
    """Rows of RISE's runs, each with its map as "map", by growing number of masks."""
    rows = reading.of(results.table("rise_runs"), network, picture, **values)
    rows = rows.drop_duplicates(["label", "masks", "cells", "kept"]).sort_values(
        "masks", kind="stable"
    )
    return rows.assign(
        map=[
            results.array("rise_runs", row.key, "maps")[row.index].astype(np.float32)
            for row in rows.itertuples()
        ]
    )


def _usual(results, network, picture, **values):
    return _maps(results, network, picture, cells=7, kept=0.5, **values)


def _main_class(results, picture):
    """The class that is explained first."""
    return reading.of(results.table("rise_runs"), picture=picture)["label"].iloc[0]


def _range(values):
    return f"{values.min():.2g} to {values.max():.2g}"


def rise_steps(results):
    """Masks, perturbed pictures, local explanations, and the aggregate of more and more masks: the last row has columns of its own."""
    network, picture = reading.networks(results)[0], reading.elephant(results)
    label, image = _main_class(results, picture), reading.image(picture)
    runs = _usual(results, network, picture, label=label)
    usual = _counts(results, picture)
    growing = runs[~runs["masks"].isin(usual[:-1])]  # those counts are another figure's
    scores = results.table("rise_steps")["score"].to_numpy()
    order = np.argsort(-scores, kind="stable")
    few = (len(growing) + 1) // 2
    some = np.r_[order[:few], order[len(order) - (len(growing) - few) :]]
    squashed = (reading.size(results, network, picture),) * 2 + (3,)
    masks = rise.generate_masks(0, len(scores), squashed)[some]
    local = rise.local_explanations(scores[some], masks)

    def panel(grey, note=""):
        whole = maps.resized(grey, image.shape[:2])
        return maps.photograph(
            np.repeat(np.uint8(np.clip(255 * whole, 0, 255))[..., None], 3, axis=-1), note=note
        )

    rows = [
        [panel(mask) for mask in masks],
        [
            maps.photograph(
                np.uint8(image * np.clip(maps.resized(mask, image.shape[:2]), 0, 1)[..., None]),
                note=f"score {score:.3f}",
            )
            for mask, score in zip(masks, scores[some])
        ],
        [panel(part / local.max()) for part in local],
        [
            maps.saliency(image, row.map, note=f"after {row.masks} masks")
            for row in growing.itertuples()
        ],
    ]
    return maps.sheet(
        rows,
        f"RISE in four steps: {reading.told(label)}, {network}",
        row_heads=["masks", "perturbed\npictures", "score\n× mask", "aggregate"],
        label=KEPT,
    )


def _counts(results, picture):
    """The numbers of masks that every network was asked with."""
    found = [
        set(_usual(results, network, picture)["masks"]) for network in reading.networks(results)
    ]
    return sorted(set.intersection(*found))


def rise_networks(results):
    """Each network's map of the first elephant."""
    picture = reading.elephant(results)
    image, label = reading.image(picture), _main_class(results, picture)
    cells = []
    for network in reading.networks(results):
        row = _usual(results, network, picture, label=label).iloc[-1]
        cells.append(maps.saliency(image, row["map"], network, _range(row["map"])))
    return maps.sheet([cells], "Where does each network look?", label=KEPT)


def rise_nb_samples(results):
    """Maps of more and more masks, a row for each network."""
    picture = reading.elephant(results)
    image, label, counts = (
        reading.image(picture),
        _main_class(results, picture),
        _counts(results, picture),
    )
    rows = []
    for network in reading.networks(results):
        runs = _usual(results, network, picture, label=label).set_index("masks").loc[counts]
        rows.append(
            [
                maps.saliency(
                    image, row.map, note=f"halves agree at {row.halves:.2f}".replace("-", "−")
                )
                for row in runs.itertuples()
            ]
        )
    return maps.sheet(
        rows,
        "How many masks make a map?",
        [f"{count} masks" for count in counts],
        reading.networks(results),
        label=KEPT,
    )


def _classes(results, picture, title):
    """A row for each network, a column for each class."""
    image, rows = reading.image(picture), []
    for network in reading.networks(results):
        runs = _usual(results, network, picture)
        runs = runs[runs["masks"] == runs["masks"].max()].sort_values("index", kind="stable")
        rows.append(
            [maps.saliency(image, row.map, note=_range(row.map)) for row in runs.itertuples()]
        )
    return maps.sheet(
        rows,
        title,
        [reading.told(label) for label in runs["label"]],
        reading.networks(results),
        label=KEPT,
    )


def rise_bear(results):
    """Maps of two classes of bears, a row for each network."""
    return _classes(results, reading.bear(results), "Where does each network see the bear?")


def rise_estimators(results):
    """Maps of both estimators from more and more calls, and the reference, all on one scale."""
    network, picture = reading.networks(results)[0], reading.elephant(results)
    image = reading.image(picture)
    table = reading.of(results.table("rise_estimators"))
    found = {
        row.index: results.array("rise_estimators", row.key, "maps")[row.index].astype(np.float32)
        for row in table.itertuples()
    }
    reference = results.array("rise_estimators", table["key"].iloc[0], "reference").astype(
        np.float32
    )
    everything = [reference, *found.values()]
    limits = float(min(m.min() for m in everything)), float(max(m.max() for m in everything))
    names, rows = {"average": "paper's average", "regression": "regression"}, []
    for estimator in dict.fromkeys(table["estimator"]):
        several = table[table["estimator"] == estimator]
        rows.append(
            [
                maps.saliency(
                    image,
                    found[row.index],
                    note=f"agrees at {row.rank_correlation:.2f}".replace("-", "−"),
                    limits=limits,
                )
                for row in several.itertuples()
            ]
        )
    masks = table["reference_masks"].iloc[0]
    rows[0].append(maps.saliency(image, reference, note="average, other masks", limits=limits))
    heads = [f"{calls} calls" for calls in dict.fromkeys(table["calls"])] + [
        f"reference: {masks} calls"
    ]
    return maps.sheet(
        rows,
        f"The same map from fewer calls? ({network})",
        heads,
        [names[name] for name in dict.fromkeys(table["estimator"])],
        label=KEPT,
    )


def lime_and_rise(results):
    """The first elephant, what LIME shows under the recommended setting and RISE's map, a row for each network."""
    picture, rows = reading.elephant(results), []
    image, label = reading.image(picture), _main_class(results, picture)
    candidate = results.table("lime_recommended")["candidate"].iloc[0]
    for network in reading.networks(results):
        row = next(
            reading.of(
                results.table("lime_parameters"),
                network,
                picture,
                parameter=CANDIDATES,
                value=candidate,
                seed=0,
            ).itertuples()
        )
        chosen = results.array("lime_parameters", row.key, "chosen")
        segments = results.array(
            "lime_runs",
            reading.of(results.table("lime_runs"), network, picture, seed=0)["key"].iloc[0],
            "segments",
        )
        found = _usual(results, network, picture, label=label).iloc[-1]
        guess = reading.of(results.table("predictions"), network, picture, rank=1).iloc[0]
        rows.append(
            [
                maps.photograph(
                    image, note=f"{guess['predicted'].replace('_', ' ')} {guess['probability']:.2f}"
                ),
                maps.superpixels(
                    image,
                    segments,
                    chosen[row.index],
                    note=f"{chosen[row.index].sum()} superpixels from {row.model_calls} questions",
                ),
                maps.saliency(image, found["map"], note=f"{found['masks']} questions"),
            ]
        )
    heads = ["the picture", "LIME: which superpixels matter", "RISE: which pixels matter"]
    return maps.sheet(
        rows,
        "Which parts of the picture make it an elephant?",
        heads,
        reading.networks(results),
        label=KEPT,
    )
