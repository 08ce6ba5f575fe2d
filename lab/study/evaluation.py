"""The study of methods: their maps under one budget, what is measured on them, and how they do where the answer is known."""

import functools
import time

import numpy as np
import pandas as pd

from lab.explain.masked_model import MaskedModel, blurred, mean_colour, superpixels
from lab.explain.methods import PACKAGE, attribute, explain
from lab.explain.names import BASELINES, COMPARED, REFERENCES
from lab.measure.agreement import rank_correlation
from lab.measure.axioms import axioms_table
from lab.measure.curves import auc, curves, faithfulness, gains, portions
from lab.measure.overlap import bounding_box, iou_over_thresholds, pointing_game
from lab.measure.roar import METHODS as DIGIT_METHODS
from lab.measure.roar import roar
from lab.measure.sanity import sanity
from lab.measure.statistics import disagreement, rank_methods, summary
from lab.networks.asking import Asked
from lab.networks.classes import class_name
from lab.study.task import Task
from lab.study.results import small
from lab.study.settings import NETWORKS, counts, profile, samples

ASKED = tuple(method for method in COMPARED if method not in BASELINES)
FEWEST = 200  # calls; KernelSHAP needs four for each superpixel
CURVES = 3 * 51  # model calls for the curves of a map
DIFFER = "lime", "rise"  # whose regions are held against each other
FIFTHS = 5  # portions of a picture, of which the most salient one is compared
ALONE = 50  # about as many superpixels are hidden alone, once for all maps of a picture


def measure(black_box, image, label, saliency, mask=None):
    """Everything that one map of one picture is measured by.

    Parameters
    ----------
    black_box : callable
        From pictures ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    image : (H, W, 3) uint8 array
    label : int
        The class explained.
    saliency : (H, W) array
        Finite; higher is more important.
    mask : (H, W) bool array, optional
        Where the object is. Without it, IoU and pointing game are NaN.

    Returns
    -------
    measured : dict of str to float
        Keys of `lab.measure.measurements.MEASUREMENTS`.
    along : dict of str to (2, 51) array
        The curves, as `lab.measure.curves.curves` gives them.

    Raises
    ------
    ValueError
        If an argument is not what it should be.

    Notes
    -----
    A map costs the 153 calls of its curves. Faithfulness costs one for the picture and one for each
    superpixel, which then shows the picture's mean colour; all maps of a picture and class share these.
    """
    overlap = dict.fromkeys(
        ("iou_mask", "iou_mask_best", "iou_box", "iou_box_best", "pointing_game"), float("nan")
    )
    if mask is not None:
        for name, truth in {"iou_mask": mask, "iou_box": bounding_box(mask)}.items():
            over_thresholds = iou_over_thresholds(saliency, truth)
            overlap[name], overlap[f"{name}_best"] = (
                float(over_thresholds.mean()),
                float(over_thresholds.max()),
            )
        overlap["pointing_game"] = pointing_game(saliency, mask)
    game = MaskedModel(Asked(black_box, [label]), image, superpixels(image), mean_colour(image))
    along = curves(black_box, image, label, saliency, blurred(image))
    areas = {name: auc(*curve) for name, curve in along.items()}
    return areas | {"faithfulness": faithfulness(game, saliency)} | overlap, along


def measure_methods(network, image, mask, label, methods, budget, seed):
    """Explain a picture with some methods and measure the explanations.

    Parameters
    ----------
    network, image, mask
        As every task has them, see `lab.study.task.Task`.
    label : int or None
        The class to explain; None for the one that the network predicts.
    methods : sequence of str
        Keys of `lab.explain.methods.METHODS`, or of `lab.networks.gradients.REFERENCES`.
    budget : int
        Model calls for each method.
    seed : int

    Returns
    -------
    rows : list of dict
        A row a method, ending with the seconds that explaining took.
    arrays : dict of str to array
        "maps" and "curves", in the methods' order.
    """
    found = list(_explained(network, image, mask, label, methods, budget, seed))
    return [row for row, *_ in found], {
        "maps": np.stack([small(saliency) for _, saliency, _ in found]),
        "curves": np.stack(
            [
                np.stack([np.stack(pair) for pair in curve.values()]).astype(np.float32)
                for *_, curve in found
            ]
        ),
    }


def measure_with_gains(network, image, mask, label, methods, budget, seed):
    """`measure_methods` with `lab.measure.curves.gains`, and without arrays, for `lab.evaluate` and the verdict."""
    found = _explained(network, image, mask, label, methods, budget, seed)
    return [
        row | gains(network, image, row["label"], saliency, along) for row, saliency, along in found
    ], {}


def _explained(network, image, mask, label, methods, budget, seed):
    """For each method the row of what is measured, its map, and the curves."""
    label = network.top(image, 1)[0][0] if label is None else label
    probability = float(Asked(network, [label])(image[None])[0, 0])
    for method in methods:
        started = time.perf_counter()
        saliency = _saliency(method, network, image, label, budget, seed)
        seconds = round(time.perf_counter() - started, 2)
        measured, curve = measure(network, image, label, saliency, mask)
        about = {
            "method": method,
            "label": int(label),
            "predicted": class_name(label),
            "probability": probability,
            "calls": budget,
        }
        yield about | measured | {"seconds": seconds}, saliency, curve


def _saliency(method, network, image, label, budget, seed):
    if method not in REFERENCES:
        return explain(method, network, image, label, budget, seed)
    from lab.networks import (
        gradients,
    )  # TensorFlow, which who asks for other methods of another network need not have

    return gradients.REFERENCES[method](network, image, label)


def measure_maps(network, image, mask, methods, budget):
    """`measure_methods` for the class that is predicted, as a task: no seconds, which no two runs have in common."""
    rows, arrays = measure_methods(network, image, mask, None, methods, budget, seed=0)
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in rows
    ], arrays


def measure_sanity(network, image, mask, method, budget, layers):
    """How alike maps of a network with random layers are, as a task."""
    label = network.top(image, 1)[0][0]
    alike = sanity(functools.partial(_map, method, budget), network, image, label, layers)
    return [
        {"method": method} | row for row in alike.drop(columns="network").to_dict("records")
    ], {}


def _map(method, budget, black_box, image, label):
    return explain(method, black_box, image, label, budget)


def measure_differ(network, image, mask, methods, budget):
    """What only one of two methods finds most salient, and what the network says when it is hidden or all that is left, as a task.

    Each method has the same share of the picture, its most salient fifth; of it, what both have in common is left out, so that the two
    regions have the same size, too.
    """
    label, name, probability = network.top(image, 1)[0]
    first, second = (
        portions(explain(method, network, image, label, budget), FIFTHS) == 0 for method in methods
    )
    regions = np.stack([first & ~second, second & ~first])
    rows = []
    for fill, ground in {"black": np.zeros_like(image), "blurred": blurred(image)}.items():
        asked = [
            np.where(kept[..., None], image, ground)
            for region in regions
            for kept in (~region, region)
        ]
        answers = Asked(network, [label])(np.stack(asked))[:, 0].reshape(2, 2)
        for method, region, (without, alone) in zip(methods, regions, answers.tolist()):
            about = {
                "method": method,
                "label": int(label),
                "predicted": name,
                "probability": float(probability),
            }
            rows.append(
                about
                | {"share": float(region.mean()), "fill": fill, "without": without, "alone": alone}
            )
    return rows, {"regions": regions}


def measure_shapley(network, image, mask, most, seeds):
    """How near methods come to exact Shapley values of a few superpixels, as a task."""
    label = network.top(image, 1)[0][0]
    segments = next(
        s
        for s in (superpixels(image, size) for size in (4, 6, 8, 10, 12, 15, 20, 25, 30, 40))
        if s.max() < most
    )
    game = MaskedModel(Asked(network, [label]), image, segments, PACKAGE.hide_color)
    # All coalitions are so few that each is asked about once.
    bits = 2 ** np.arange(game.n)
    answers = game.value(np.arange(2**game.n)[:, None] // bits % 2)

    def value(kept):
        return answers[np.asarray(kept, int) @ bits]

    truth = attribute("shapley", value, game.n)
    rows = []
    for method in ("shap", "lime", "rise"):
        for budget in [*(2**k for k in range(6, game.n)), 2**game.n]:
            found = np.array(
                [attribute(method, value, game.n, budget, seed) for seed in range(seeds)]
            )
            rows.append(
                {
                    "superpixels": game.n,
                    "method": method,
                    "calls": budget,
                    "seeds": seeds,
                    "rank_correlation": float(
                        np.mean([rank_correlation(one, truth) for one in found])
                    ),
                    "largest_difference": float(np.abs(found - truth).max() / np.ptp(truth)),
                }
            )
    return rows, {}


def measure_roar(network, image, mask, method, seed, count, n_samples):
    """Remove and retrain on digits, as a task that asks no network of the lab."""
    return roar(method, seed, count=count, n_samples=n_samples).to_dict("records"), {}


def measure_axioms(network, image, mask, seed):
    """Violations of axioms on functions whose answers are known, as a task that asks no network."""
    return axioms_table(seed).to_dict("records"), {}


def tasks(pictures):
    """All that the study of methods measures under the current profile.

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
    quick = profile() == "quick"
    budget, few = max(samples(1000), FEWEST), max(samples(250), FEWEST)
    some = [elephant, bear] if profile() == "study" else [elephant]
    layers = [1, 8] if quick else None
    count, n_samples = (400, 260) if quick else (None, 512)
    found = [
        Task(
            "evaluation_runs",
            measure_maps,
            network,
            path,
            {"methods": list(COMPARED), "budget": budget},
            len(ASKED) * budget + len(COMPARED) * CURVES + ALONE,
        )
        for network in NETWORKS
        for path in every
    ]
    found += [
        Task(
            "evaluation_sanity",
            measure_sanity,
            network,
            path,
            {"method": method, "budget": few, "layers": layers},
            (len(layers or range(8)) + 1) * few,
        )
        for network in NETWORKS
        for path in some
        for method in ASKED
    ]
    found += [
        Task(
            "evaluation_differ",
            measure_differ,
            network,
            path,
            {"methods": list(DIFFER), "budget": budget},
            9,
        )
        for network in NETWORKS
        for path in every
    ]
    shapley = {"most": 8 if quick else 12, "seeds": counts().stability_seeds}
    found.append(
        Task(
            "evaluation_shapley",
            measure_shapley,
            NETWORKS[0],
            elephant,
            shapley,
            2 ** shapley["most"],
        )
    )
    seeds = range(1 if quick else 3)
    # What takes no model call is counted as the calls that could be made meanwhile.
    found += [
        Task(
            "evaluation_roar",
            measure_roar,
            None,
            None,
            {"method": method, "seed": seed, "count": count, "n_samples": n_samples},
            n_samples,
        )
        for seed in seeds
        for method in DIGIT_METHODS
    ]
    found.append(Task("evaluation_axioms", measure_axioms, None, None, {"seed": 0}, 1000))
    return found


def with_sanity(results):
    """The table of maps with each method's mean agreement with the maps of random networks, "sanity".

    Parameters
    ----------
    results : lab.study.results.Results

    Returns
    -------
    pandas.DataFrame
        NaN for a picture on which it was not measured.

    Notes
    -----
    A baseline, which never asks the network, has 1; a map without any pattern, of which there is no rank
    correlation, has nothing in common with another.
    """
    runs, checked = results.table("evaluation_runs"), results.table("evaluation_sanity")
    where = ["network", "class", "picture"]
    alike = (
        checked.assign(sanity=checked["rank_correlation"].fillna(0).abs())
        .groupby([*where, "method"], as_index=False)["sanity"]
        .mean()
    )
    known = alike[where].drop_duplicates()
    baselines = known.merge(pd.DataFrame({"method": BASELINES, "sanity": 1.0}), how="cross")
    return runs.merge(pd.concat([alike, baselines]), how="left", on=[*where, "method"])


def derive(results):
    """The tables that follow from what was measured.

    Parameters
    ----------
    results : lab.study.results.Results
        With the tables of `tasks`.

    Returns
    -------
    dict of str to pandas.DataFrame
    """
    table = with_sanity(results)
    return {
        "evaluation_summary": summary(table),
        "evaluation_ranks": rank_methods(table),
        "evaluation_disagreement": disagreement(table),
    }
