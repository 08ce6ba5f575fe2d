"""The study of RISE: what its parameters do to a map, classes that were not predicted, and the same map from fewer calls."""

import numpy as np
import pandas as pd

import rise
from lab.measure.agreement import rank_correlation
from lab.measure.overlap import pointing_game
from lab.networks.asking import Asked
from lab.networks.classes import class_name
from lab.study.task import Task
from lab.study.results import small
from lab.study.settings import NETWORKS, samples

ELEPHANT_CLASSES = 386, 101, 385  # African_elephant, tusker, Indian_elephant
BEAR_CLASSES = 295, 294  # American_black_bear, brown_bear
STEPS = 32  # masks of which the first figure shows some


def estimate(black_box, image, classes, progress=None, outputs=None, **parameters):
    """RISE maps of several classes of one picture; no model call is made twice.

    Parameters
    ----------
    black_box : callable
        From pictures ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    image : (H, W, 3) uint8 array
    classes : sequence of int
        Class indices to explain, whether they were predicted or not.
    progress : callable, optional
        Wraps the iterable of batches.
    outputs : (n, len(classes)) array, optional
        Those of an earlier explanation of the same classes with the same masks, which are not asked about again.
    **parameters
        Of `rise.Rise`, but for the model.

    Returns
    -------
    rise.Explanation
    """
    explainer = rise.Rise(Asked(black_box, classes), progress=progress, **parameters)
    return explainer.estimate(image, range(len(classes)), outputs)


def measure(saliency, halves, mask=None):
    """Everything that one map by RISE is measured by.

    Parameters
    ----------
    saliency : (H, W) array
    halves : two (H, W) arrays
        The maps of either half of the masks.
    mask : (H, W) bool array, optional
        Where the object is. Without it, contrast and pointing game are NaN.

    Returns
    -------
    dict of str to float
        The map's range, and keys of `lab.measure.measurements.MEASUREMENTS`.
    """
    return {
        "lowest": float(saliency.min()),
        "highest": float(saliency.max()),
        "contrast": float("nan")
        if mask is None
        else float(saliency[mask].mean() - saliency[~mask].mean()),
        "pointing_game": float("nan") if mask is None else pointing_game(saliency, mask),
        "halves": rank_correlation(*halves),
    }


def explain(
    black_box,
    image,
    classes,
    mask=None,
    progress=None,
    nb_samples=4000,
    grid_size=7,
    preservation_probability=0.5,
):
    """RISE maps of several classes by the paper's average, and what is measured on them.

    Parameters
    ----------
    black_box, image, classes, progress
        As in `estimate`.
    mask : (H, W) bool array, optional
        Where the object is.
    nb_samples, grid_size, preservation_probability
        As in `rise.Rise`; `nb_samples` at least 2, `grid_size` one number.

    Returns
    -------
    maps : (len(classes), H, W) float32 array
    table : pandas.DataFrame
        A row a class: the class, the parameters and the keys of `measure`.
    """
    parameters = {
        "grid_size": grid_size,
        "preservation_probability": preservation_probability,
        "estimator": "average",
    }
    found = estimate(black_box, image, classes, progress, nb_samples=nb_samples, **parameters)
    whole, half = found.saliency, nb_samples // 2
    first = estimate(
        black_box, image, classes, outputs=found.outputs, nb_samples=half, **parameters
    ).saliency
    share = half / nb_samples
    second = (whole - share * first) / (1 - share)  # the map is a mean over masks
    about = {"masks": nb_samples, "cells": grid_size, "kept": preservation_probability}
    rows = [
        {"label": int(label), "predicted": class_name(label)}
        | about
        | measure(saliency, halves, mask)
        for label, saliency, *halves in zip(classes, whole, first, second)
    ]
    return whole, pd.DataFrame(rows)


def measure_runs(network, image, mask, classes, masks, cells, kept):
    """Maps of several classes with one choice of RISE's parameters, as a task."""
    maps, table = explain(network, image, classes, mask, None, masks, cells, kept)
    return table.to_dict("records"), {"maps": np.stack([small(saliency) for saliency in maps])}


def measure_steps(network, image, mask, label):
    """The scores of the first masked pictures, as a task."""
    perturbed = rise.perturb(image, rise.generate_masks(0, STEPS, image.shape))
    scores = Asked(network, [label])(perturbed)[:, 0]
    return [{"mask": number, "score": float(score)} for number, score in enumerate(scores)], {}


def measure_estimators(network, image, mask, label, calls, reference):
    """The paper's average and the regression with more and more calls, against a long run of other masks, as a task."""
    [truth] = estimate(
        network, image, [label], nb_samples=reference, seed=1, estimator="average"
    ).saliency
    rows, maps, error = [], [], None
    for estimator in ("average", "regression"):
        for n in calls:
            found = estimate(network, image, [label], nb_samples=n, estimator=estimator)
            agreement = rank_correlation(found.saliency[0], truth)
            rows.append(
                {
                    "estimator": estimator,
                    "calls": n,
                    "rank_correlation": agreement,
                    "reference_masks": reference,
                }
            )
            maps.append(small(found.saliency[0]))
            error = small(found.standard_error[0])
    return rows, {"maps": np.stack(maps), "reference": small(truth), "standard_error": error}


def measure_stopping(network, image, mask, label, tolerances, most, reference):
    """After how many calls a tolerance stops, as a task."""
    [truth] = estimate(
        network, image, [label], nb_samples=reference, seed=1, estimator="average"
    ).saliency
    rows, maps = [], []
    for tolerance in tolerances:
        found = estimate(
            network, image, [label], nb_samples=most, estimator="regression", tolerance=tolerance
        )
        rows.append(
            {
                "tolerance": tolerance,
                "calls": found.calls,
                "relative_error": float(found.relative_error[0]),
                "rank_correlation": rank_correlation(found.saliency[0], truth),
            }
        )
        maps.append(small(found.saliency[0]))
    return rows, {"maps": np.stack(maps)}


def tasks(pictures):
    """All that the study of RISE measures under the current profile.

    Parameters
    ----------
    pictures : dict of str to list of pathlib.Path
        The profile's, by kind.

    Returns
    -------
    list of lab.study.task.Task
    """
    elephant, bear = (paths[0] for paths in pictures.values())
    first, n, label = NETWORKS[0], samples(4000), ELEPHANT_CLASSES[0]
    few = [16, samples(200), samples(2000), n]
    growing = [2, 8, 32, n // 10, n // 4]

    def runs(network, picture, classes, masks, cells=7, kept=0.5):
        arguments = {"classes": list(classes), "masks": masks, "cells": cells, "kept": kept}
        return Task("rise_runs", measure_runs, network, picture, arguments, masks)

    found = [
        runs(network, elephant, ELEPHANT_CLASSES, masks) for network in NETWORKS for masks in few
    ]
    found += [
        runs(first, elephant, ELEPHANT_CLASSES, masks) for masks in growing if masks not in few
    ]
    found += [runs(network, bear, BEAR_CLASSES, n) for network in NETWORKS]
    found += [runs(first, elephant, [label], n // 2, cells=cells) for cells in (4, 8, 16)]
    found += [
        runs(first, elephant, [label], n // 2, kept=kept) for kept in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]
    calls = [n // 16, n // 8, n // 4]
    found.append(Task("rise_steps", measure_steps, first, elephant, {"label": label}, STEPS))
    found.append(
        Task(
            "rise_estimators",
            measure_estimators,
            first,
            elephant,
            {"label": label, "calls": calls, "reference": n},
            n + 2 * calls[-1],
        )
    )
    found.append(
        Task(
            "rise_stopping",
            measure_stopping,
            first,
            elephant,
            {"label": label, "tolerances": [0.2, 0.15, 0.1], "most": n, "reference": n},
            n,
        )
    )
    return found


def derive(results):
    """The tables that follow from what was measured.

    Parameters
    ----------
    results : lab.study.results.Results
        With the tables of `tasks`.

    Returns
    -------
    dict of str to pandas.DataFrame
        "rise_alike".
    """
    return {"rise_alike": alike(results)}


def alike(results):
    """How alike the longest runs' maps are between networks, and between the classes of one network.

    Parameters
    ----------
    results : lab.study.results.Results

    Returns
    -------
    pandas.DataFrame
        A row for each two maps of a picture: "between" ("networks" or "classes"), "class" and "picture", "first" and "second"
        (networks, or a network and its other class) and "rank_correlation".
    """
    runs = results.table("rise_runs")
    runs = runs.assign(place=runs.groupby("key", sort=False).cumcount())
    longest = runs[runs["masks"] == runs["masks"].max()]
    rows = []
    for (kind, picture), group in longest.groupby(["class", "picture"], sort=False):
        maps = {
            (row.network, row.predicted): results.array("rise_runs", row.key, "maps")[
                row.place
            ].astype(float)
            for row in group.itertuples()
        }
        main = group["predicted"].iloc[0]
        networks = list(dict.fromkeys(group["network"]))
        pairs = [
            ("networks", (networks[0], main), (network, main), network) for network in networks[1:]
        ]
        pairs += [
            ("classes", (network, main), (network, other), other)
            for network, other in maps
            if other != main
        ]
        rows += [
            {
                "between": between,
                "class": kind,
                "picture": picture,
                "first": first[0],
                "second": second,
                "rank_correlation": rank_correlation(maps[first], maps[one]),
            }
            for between, first, one, second in pairs
        ]
    return pd.DataFrame(rows)
