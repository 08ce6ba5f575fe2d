"""The study of RISE: its parameters, classes not predicted, and fewer model calls."""

import functools
import itertools

import numpy as np
import pandas as pd

from lab.measure.agreement import rank_correlation
from lab.measure.overlap import pointing_game
from lab.model_calls import predict
from lab.networks.classes import class_name
from lab.study.results import small
from lab.study.runner import Task, version
from lab.study.settings import NETWORKS
from rise import Rise, generate_masks, perturb

ELEPHANT_CLASSES = 386, 101, 385  # African_elephant, tusker, Indian_elephant
BEAR_CLASSES = 295, 294  # American_black_bear, brown_bear
STEPS = 32  # masks of which the first figure shows some
STOPPING = 1000  # masks that the quick profile has for tolerances: none stops before 200


def estimate(black_box, image, classes, outputs=None, keep_outputs=False, **parameters):
    """The `rise.Explanation` of some classes; `parameters` are those of `rise.Rise`.

    `outputs` are those of an earlier one of the same classes with the same masks.
    """
    model = functools.partial(predict, black_box, classes=list(classes))
    return Rise(model, **parameters).estimate(image, range(len(classes)), outputs, keep_outputs)


@version(1)
def runs_task(network, image, mask, classes, nb_samples, grid_size, preservation_probability):
    """Maps of several classes by the paper's average, measured."""
    parameters = {"nb_samples": nb_samples, "grid_size": grid_size}
    parameters |= {"preservation_probability": preservation_probability}
    average = functools.partial(estimate, network, image, classes, estimator="average")
    whole, half = average(keep_outputs=True, **parameters), nb_samples // 2
    first = average(whole.outputs, **parameters | {"nb_samples": half}).saliency
    share = half / nb_samples
    second = (whole.saliency - share * first) / (1 - share)  # the map is a mean over masks
    rows = []
    for label, saliency, *halves in zip(classes, whole.saliency, first, second):
        row = {"label": label, "predicted": class_name(label)} | parameters
        row |= {"lowest": float(saliency.min()), "highest": float(saliency.max())}
        row |= {"contrast": float("nan"), "pointing_game": float("nan")}
        if mask is not None:
            row["contrast"] = float(saliency[mask].mean() - saliency[~mask].mean())
            row["pointing_game"] = pointing_game(saliency, mask)
        rows.append(row | {"halves": rank_correlation(*halves)})
    return rows, {"maps": np.stack([small(saliency) for saliency in whole.saliency])}


@version(1)
def steps_task(network, image, mask, label):
    """The scores of the first masked images."""
    perturbed = perturb(image, generate_masks(0, STEPS, image.shape))
    scores = predict(network, perturbed, [label])[:, 0]
    return [{"mask": number, "score": float(score)} for number, score in enumerate(scores)], {}


@version(1)
def estimators_task(network, image, mask, label, calls, reference):
    """The average and the regression with more and more calls against a long run.

    The long run, of the average, has `reference` masks, and other ones.
    """
    truth, rows, maps = _reference(network, image, label, reference), [], []
    for estimator in ("average", "regression"):
        for n in calls:
            result = estimate(network, image, [label], nb_samples=n, estimator=estimator)
            [saliency], [error] = result.saliency, result.standard_error
            row = {"estimator": estimator, "calls": n}
            row |= {"rank_correlation": rank_correlation(saliency, truth)}
            rows.append(row | {"reference_masks": reference})
            maps.append(small(saliency))
    arrays = {"maps": np.stack(maps), "reference": small(truth), "standard_error": small(error)}
    return rows, arrays


@version(1)
def stopping_task(network, image, mask, label, tolerances, most, reference):
    """The number of calls after which a tolerance stops the regression."""
    truth, rows, maps = _reference(network, image, label, reference), [], []
    for tolerance in tolerances:
        result = estimate(network, image, [label], nb_samples=most, tolerance=tolerance)
        [saliency], [error] = result.saliency, result.relative_error
        row = {"tolerance": tolerance, "calls": result.calls, "relative_error": float(error)}
        rows.append(row | {"rank_correlation": rank_correlation(saliency, truth)})
        maps.append(small(saliency))
    return rows, {"maps": np.stack(maps)}


def _reference(network, image, label, n):
    return estimate(network, image, [label], nb_samples=n, seed=1, estimator="average").saliency[0]


def tasks(images, profile):
    """All that the study of RISE measures, see `lab.study`."""
    elephant, bear = (paths[0] for paths in images.values())
    first, label = NETWORKS[0], ELEPHANT_CLASSES[0]
    n, half = profile.samples(4000), profile.samples(2000)

    plan = []

    def add(table, function, made, network=first, image=elephant, **arguments):
        plan.append(Task(f"rise_{table}", function, network, image, arguments, made))

    def add_runs(network, image, classes, nb_samples, grid_size=7, p=0.5):
        of = {"classes": list(classes), "nb_samples": nb_samples, "grid_size": grid_size}
        add("runs", runs_task, nb_samples, network, image, **of, preservation_probability=p)

    for network, m in itertools.product(NETWORKS, (16, profile.samples(200), half, n)):
        add_runs(network, elephant, ELEPHANT_CLASSES, m)
    for m in (2, 8, 32, profile.samples(400), profile.samples(1000)):
        add_runs(first, elephant, ELEPHANT_CLASSES, m)
    for network in NETWORKS:
        add_runs(network, bear, BEAR_CLASSES, n)
    for grid_size in (4, 8, 16):
        add_runs(first, elephant, [label], half, grid_size=grid_size)
    for p in (0.1, 0.3, 0.5, 0.7, 0.9):
        add_runs(first, elephant, [label], half, p=p)
    calls, most = [profile.samples(m) for m in (250, 500, 1000)], profile.samples(4000, STOPPING)
    add("steps", steps_task, STEPS, label=label)
    of = {"label": label, "reference": n}
    add("estimators", estimators_task, n + 2 * calls[-1], **of, calls=calls)
    add("stopping", stopping_task, n + most, **of, tolerances=[0.2, 0.15, 0.1], most=most)
    return plan


def derive(results):
    """The agreement of the longest runs' maps between networks, and between classes.

    A row of "rise_agreement" is about two maps of an image: "first" and "second" are
    two networks, or a network and another of its classes.
    """
    runs = results.table("rise_runs")
    longest = runs[runs["nb_samples"] == runs["nb_samples"].max()]
    rows = []
    for (kind, picture), group in longest.groupby(["class", "picture"], sort=False):
        maps = {
            (row.network, row.predicted): results.array("rise_runs", row.key, "maps")[row.place]
            for row in group.itertuples()
        }
        main, networks = group["predicted"].iloc[0], list(dict.fromkeys(group["network"]))
        pairs = [("networks", networks[0], other, (other, main)) for other in networks[1:]]
        pairs += [("classes", *other, other) for other in maps if other[1] != main]
        for between, network, second, other in pairs:
            about = {"between": between, "class": kind, "picture": picture}
            agreement = rank_correlation(maps[network, main], maps[other])
            about |= {"first": network, "second": second}
            rows.append(about | {"rank_correlation": agreement})
    return {"rise_agreement": pd.DataFrame(rows)}
