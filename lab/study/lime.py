"""The study of LIME: which settings explain which pictures, how well, and what each parameter changes."""

import dataclasses

import numpy as np
import pandas as pd

from lab.explain.masked_model import blurred
from lab.explain.lime import lime_explanations, locality, perturbations
from lab.explain.setting import Setting
from lab.measure.agreement import jaccard, rank_correlation, stability, weighted_r2
from lab.measure.curves import auc, curves
from lab.measure.effects import effects, recommend
from lab.measure.overlap import iou, pointing_game
from lab.measure.statistics import CHOSEN_BY, rank_settings, ranking_agreement
from lab.measure.variance import distances, grouped, savings, variance_shares
from lab.networks.classes import class_name
from lab.study.task import Task
from lab.study.settings import (
    CANDIDATES,
    LAB_PARAMETERS,
    LAB_SETTINGS,
    NETWORKS,
    around,
    counts,
    grid,
    lab_settings,
    profile,
    remedy,
    samples,
)

FRESH = 500  # perturbations for the fidelity on unseen ones
CURVES = 3 * 51  # model calls for the curves of a map
VARYING = (
    "r2_fit",
    "r2_fresh",
    "jaccard",
    "rank_correlation",
    "deletion_mean",
    "insertion",
    "iou",
    "pointing_game",
    "shown",
)
TOP = 3  # classes that a picture's prediction names


def fidelity(found, fresh=FRESH):
    """R² of a linear model on perturbations that it was not fitted to: **higher is better**.

    Parameters
    ----------
    found : lab.explain.lime.Lime
    fresh : int, optional
        How many perturbations.

    Returns
    -------
    float
        Weighted by locality; at most 1. The perturbations are the next seed's.
    """
    setting, game = found.setting, found.game
    # The first row is the picture itself, which every fit has seen.
    new = perturbations(game.n, fresh, (setting.seed + 1) % 2**32, setting.sampling)
    probability = game(new)[1:, game.predict.classes.index(found.label)]
    return weighted_r2(
        probability, found.intercept + new[1:] @ found.weights, locality(new[1:], setting)
    )


def measure(black_box, found, mask=None, fresh=FRESH):
    """Everything that one explanation by LIME is measured by.

    Parameters
    ----------
    black_box : callable
        From pictures ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    found : lab.explain.lime.Lime
        Of this black box.
    mask : (H, W) bool array, optional
        Where the object is. Without it, IoU and pointing game are NaN.
    fresh : int, optional
        As in `fidelity`.

    Returns
    -------
    dict of str to float
        Keys of `lab.measure.measurements.MEASUREMENTS`.
    """
    image = found.game.image
    overlap = dict.fromkeys(("iou", "pointing_game"), float("nan"))
    if mask is not None:
        overlap = {
            "iou": iou(found.shown, mask),
            "pointing_game": pointing_game(found.saliency, mask),
        }
    along = curves(black_box, image, found.label, found.saliency, blurred(image))
    linear = found.intercept + found.kept @ found.weights
    return {
        "r2_fit": weighted_r2(found.probability, linear, locality(found.kept, found.setting)),
        "r2_fresh": fidelity(found, fresh),
        "deletion_mean": auc(*along["deletion_mean"]),
        "insertion": auc(*along["insertion"]),
        **overlap,
        "shown": float(found.shown.mean()),
        "model_calls": found.setting.num_samples,
    }


def measure_predictions(network, image, mask):
    """The classes that a network finds most probable in a picture, as a task."""
    top = enumerate(network.top(image, TOP), start=1)
    return [
        {"rank": rank, "label": label, "predicted": name, "probability": p}
        for rank, (label, name, p) in top
    ], {}


def measure_settings(network, image, mask, settings, seed, fresh=FRESH):
    """Explain a picture under several settings and measure the explanations, as a task.

    Parameters
    ----------
    network, image, mask
        As every task has them, see `lab.study.task.Task`.
    settings : list of (str, dict)
        Names, and parameters of `lab.explain.setting.Setting`.
    seed, fresh : int
        Of the perturbations, and how many more the fidelity takes.

    Returns
    -------
    rows : list of dict
    arrays : dict of str to array
        "weights" and "chosen", a row a setting; with seed 0 "segments", too.
    """
    explained = lime_explanations(
        network,
        image,
        {name: Setting(**parameters | {"seed": seed}) for name, parameters in settings},
    )
    rows = [
        {"setting": name, "seed": seed, "label": found.label, "superpixels": found.game.n}
        | measure(network, found, mask, fresh)
        for name, found in explained.items()
    ]
    return rows, _arrays(explained, with_segments=seed == 0)


def measure_grid(network, image, mask, base, fresh):
    """One parameter at a time around a setting, as a task."""
    rows, _ = _measured(network, image, mask, grid(Setting(**base)), fresh)
    return rows, {}


def measure_parameters(network, image, mask, base, seed, fresh):
    """Each of the lab's eight parameters alone, and two together, around a setting, as a task."""
    rows, explained = _measured(
        network, image, mask, around(Setting(**base | {"seed": seed})), fresh
    )
    return [{"seed": seed} | row for row in rows], _arrays(explained)


def _measured(network, image, mask, named, fresh):
    explained = lime_explanations(network, image, named)
    return [
        {"parameter": parameter, "value": value, "superpixels": found.game.n}
        | measure(network, found, mask, fresh)
        for (parameter, value), found in explained.items()
    ], explained


def measure_stability(network, image, mask, base, sizes, seed, fresh):
    """LIME's sampling and the balanced one with more and more samples, as a task."""
    named = remedy(sizes, Setting(**base | {"seed": seed}))
    explained = lime_explanations(network, image, named)
    rows = [
        {"sampling": sampling, "num_samples": n, "seed": seed, "r2_fresh": fidelity(found, fresh)}
        for (sampling, n), found in explained.items()
    ]
    return rows, _arrays(explained)


def measure_no_effect(network, image, mask, base, changes):
    """What changes in an explanation with a parameter that should change nothing, as a task."""
    base = Setting(**base)
    named = {
        (parameter, value): dataclasses.replace(base, **{parameter: value})
        for parameter, values in changes
        for value in values
    }
    explained = lime_explanations(network, image, {"": base} | named)
    before = explained.pop("")
    return [
        {
            "parameter": parameter,
            "value": value,
            "weight_change": float(np.abs(after.weights - before.weights).max()),
            "pixels_changed": float((after.rendering != before.rendering).any(axis=-1).mean()),
        }
        for (parameter, value), after in explained.items()
    ], {}


def measure_perturbed(network, image, mask, base, count):
    """Of some perturbed pictures the one with the highest probability, a middling one and that with the lowest, as a task."""
    found = lime_explanations(network, image, {"": Setting(**base)})[""]
    # The first perturbation is the picture itself.
    ordered = np.argsort(-found.probability[1:count], kind="stable") + 1
    some = ordered[[0, len(ordered) // 10, -1]]
    rows = [
        {
            "label": found.label,
            "predicted": class_name(found.label),
            "probability": float(found.probability[place]),
        }
        for place in some
    ]
    return rows, {
        "kept": found.kept[some].astype(bool),
        "segments": found.game.segments.astype(np.uint16),
    }


def _arrays(explained, with_segments=False):
    found = list(explained.values())
    arrays = {
        "weights": np.stack([one.weights for one in found]).astype(np.float32),
        "chosen": np.stack([one.chosen for one in found]),
    }
    return arrays | (
        {"segments": found[0].game.segments.astype(np.uint16)} if with_segments else {}
    )


def tasks(pictures):
    """All that the study of LIME measures under the current profile.

    Parameters
    ----------
    pictures : dict of str to list of pathlib.Path
        The profile's, by kind.

    Returns
    -------
    list of lab.study.task.Task
    """
    every = [path for paths in pictures.values() for path in paths]
    elephant, bear = (paths[0] for paths in pictures.values())
    first = NETWORKS[0]
    some = [elephant, bear] if profile() == "study" else [elephant]
    settings = lab_settings()
    named = [(name, dataclasses.asdict(setting)) for name, setting in settings.items()]
    default, base = (
        dataclasses.asdict(settings["default"]),
        dataclasses.asdict(Setting(num_samples=samples(2000))),
    )
    fresh = samples(FRESH)
    longest = {
        setting.hide_color: setting.num_samples
        for setting in sorted(settings.values(), key=lambda s: s.num_samples)
    }
    calls = sum(longest.values()) + 2 * fresh + len(named) * CURVES
    sizes = {
        "quick": [60, 120, 240],
        "full": [250, 500, 1000, 2000, 3000],
        "study": [250, 500, 1000, 2000, 3000, 5000, 7000],
    }[profile()]
    around = grid(Setting(**base))
    found = [
        Task("predictions", measure_predictions, network, path, {}, 1)
        for network in NETWORKS
        for path in every
    ]
    found += [
        Task(
            "lime_runs",
            measure_settings,
            network,
            path,
            {"settings": named, "seed": seed, "fresh": fresh},
            calls,
        )
        for network in NETWORKS
        for path in every
        for seed in range(counts().seeds)
    ]
    found += [
        Task(
            "lime_parameters",
            measure_parameters,
            network,
            path,
            {"base": base, "seed": seed, "fresh": fresh},
            2 * (base["num_samples"] + fresh) + 10 * CURVES,
        )
        for network in NETWORKS
        for path in every
        for seed in range(counts().seeds)
    ]
    found += [
        Task(
            "lime_grid",
            measure_grid,
            first,
            path,
            {"base": base, "fresh": fresh},
            10 * (base["num_samples"] + fresh) + len(around) * CURVES,
        )
        for path in some
    ]
    found += [
        Task(
            "lime_stability",
            measure_stability,
            first,
            path,
            {"base": default, "sizes": sizes, "seed": seed, "fresh": fresh},
            sizes[-1] + sizes[2] + 2 * fresh,
        )
        for path in some
        for seed in range(counts().stability_seeds)
    ]
    changes = [("num_lime_features", [100, 500, 1000, 2000]), ("top_labels", [2, 3])]
    # Most or all of what these two ask was asked for the others.
    found.append(
        Task(
            "lime_no_effect",
            measure_no_effect,
            first,
            elephant,
            {"base": default, "changes": changes},
            1,
        )
    )
    found.append(
        Task(
            "lime_perturbed",
            measure_perturbed,
            first,
            elephant,
            {"base": base, "count": samples(200)},
            1,
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
        "lime_runs" and "lime_stability" with the agreement between seeds, and what is computed from them.
    """
    runs = with_stability(results, "lime_runs", ["setting"])
    by_sampling = with_stability(results, "lime_stability", ["sampling", "num_samples"])
    parameters = with_stability(results, "lime_parameters", ["parameter", "value"])
    combined = parameters["parameter"] == CANDIDATES
    return {
        "lime_runs": runs,
        "lime_stability": by_sampling,
        "lime_parameters": parameters,
        "lime_effects": effects(parameters[~combined]),
        "lime_recommended": recommend(
            parameters[combined].rename(columns={"value": "setting"}), runs
        ),
        "lime_settings": settings_table(),
        "lime_ranking": rank_settings(runs),
        "lime_agreement": ranking_agreement(runs),
        "lime_variance": grouped(variance_shares(runs, VARYING)),
        "lime_distances": distances(runs, CHOSEN_BY),
        "lime_savings": savings(by_sampling),
    }


def with_stability(results, table, by):
    """A table of runs with the agreement of each seed with the others, "jaccard" and "rank_correlation": NaN where there is one seed.

    Parameters
    ----------
    results : lab.study.results.Results
    table : str
        Rows of tasks whose arrays "weights" and "chosen" have a row a row.
    by : list of str
        The columns that tell settings apart.

    Returns
    -------
    pandas.DataFrame
    """
    rows = results.table(table).drop(columns=["jaccard", "rank_correlation"], errors="ignore")
    weights, chosen = {}, {}
    for key, group in rows.groupby("key", sort=False):
        for place, index in enumerate(group.index):
            weights[index] = results.array(table, key, "weights")[place]
            chosen[index] = results.array(table, key, "chosen")[place]
    for _, group in rows.groupby(["network", "class", "picture", *by], sort=False):
        rows.loc[group.index, "jaccard"] = stability(
            jaccard, [chosen[index] for index in group.index]
        )
        rows.loc[group.index, "rank_correlation"] = stability(
            rank_correlation, [weights[index] for index in group.index]
        )
    return rows[[*(column for column in rows if column != "key"), "key"]]


def settings_table():
    """The seven settings' parameters, a row each, under the lab's names.

    Returns
    -------
    pandas.DataFrame
    """
    return pd.DataFrame(
        [
            {"setting": name} | {p: str(getattr(setting, p)) for p in LAB_PARAMETERS}
            for name, setting in LAB_SETTINGS.items()
        ]
    )
