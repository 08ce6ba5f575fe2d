"""The study of RISE: its parameters, classes not predicted, and fewer model calls."""

import functools
import itertools

import numpy as np
import pandas as pd

from lab.measure.agreement import rank_correlation
from lab.measure.overlap import pointing_game
from lab.measure.paired import means
from lab.model_calls import predict
from lab.networks.classes import class_index
from lab.study.results import MissingResult, small
from lab.study.settings import NETWORKS
from lab.study.store import Task, version
from rise import Rise, generate_masks, perturb

CLASSES = {
    "African_elephant": (386, 101, 385),  # African_elephant, tusker, Indian_elephant
    "black_bear": (295, 294),  # American_black_bear, brown_bear
}
"""The classes that are explained on images of each folder; else the folder's own."""
STEPS = 32  # masks of which the first figure shows some
CELLS = 28  # pixels a side of a map that is only compared
MASKS, GRID = 2000, 8  # as the assignment has it
STOPPING = 1000  # masks that the quick profile has for tolerances: none stops before 200


def estimate(black_box, image, classes, **parameters):
    """The `rise.Explanation` of some classes; `parameters` are those of `rise.Rise`."""
    model = functools.partial(predict, black_box, classes=list(classes))
    return Rise(model, **parameters).estimate(image, range(len(classes)))


def _with_halves(model, image, n_outputs, nb_samples, **parameters):
    """The average's maps for all outputs, and those of either half of the masks."""
    half, outputs = nb_samples // 2, range(n_outputs)
    average = functools.partial(Rise, model, estimator="average", **parameters)
    whole = average(nb_samples=nb_samples).estimate(image, outputs, keep_outputs=True)
    first = average(nb_samples=half).estimate(image, outputs, whole.outputs).saliency
    share = half / nb_samples
    second = (whole.saliency - share * first) / (1 - share)  # the map is a mean over masks
    return whole.saliency, first, second


@version(1)
def runs_task(network, image, mask, classes, nb_samples, grid_size, preservation_probability):
    """Maps of several classes by the paper's average, measured."""
    parameters = {"nb_samples": nb_samples, "grid_size": grid_size}
    parameters |= {"preservation_probability": preservation_probability}
    model = functools.partial(predict, network, classes=list(classes))
    whole, first, second = _with_halves(model, image, len(classes), **parameters)
    rows = []
    for label, saliency, *halves in zip(classes, whole, first, second):
        row = {"label": label, "predicted": network.class_name(label)} | parameters
        row |= {"lowest": float(saliency.min()), "highest": float(saliency.max())}
        row |= {"contrast": float("nan"), "pointing_game": float("nan")}
        if mask is not None:
            row["contrast"] = float(saliency[mask].mean() - saliency[~mask].mean())
            row["pointing_game"] = pointing_game(saliency, mask)
        rows.append(row | {"halves": rank_correlation(*halves)})
    return rows, {"maps": np.stack([small(saliency) for saliency in whole])}


@version(1)
def networks_task(network, image, mask, classes, nb_samples, grid_size):
    """The map of an animal: RISE's average for the sum of its classes' probabilities.

    Without classes, that of the most probable one. The map is kept in the size of a few
    cells.
    """
    label, predicted, probability = network.top(image, 1)[0]
    classes = classes or [label]

    def animal(images):
        return predict(network, images, classes).sum(axis=1, keepdims=True)

    [whole], *halves = _with_halves(animal, image, 1, nb_samples, grid_size=grid_size)
    row = {"label": label, "predicted": predicted, "probability": probability}
    row |= {"lowest": float(whole.min()), "highest": float(whole.max())}
    return [row | {"halves": rank_correlation(*halves)}], {"maps": small(whole, CELLS)[None]}


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
    truth, rows = _reference(network, image, label, reference), []
    for estimator in ("average", "regression"):
        for n in calls:
            result = estimate(network, image, [label], nb_samples=n, estimator=estimator)
            row = {"estimator": estimator, "calls": n}
            row |= {"rank_correlation": rank_correlation(result.saliency[0], truth)}
            rows.append(row | {"reference_masks": reference})
    return rows, {}


@version(1)
def stopping_task(network, image, mask, label, tolerances, most, reference):
    """The number of calls after which a tolerance stops the regression."""
    truth, rows = _reference(network, image, label, reference), []
    for tolerance in tolerances:
        result = estimate(network, image, [label], nb_samples=most, tolerance=tolerance)
        [saliency], [error] = result.saliency, result.relative_error
        row = {"tolerance": tolerance, "calls": result.calls, "relative_error": float(error)}
        rows.append(row | {"rank_correlation": rank_correlation(saliency, truth)})
    return rows, {}


def _reference(network, image, label, n):
    return estimate(network, image, [label], nb_samples=n, seed=1, estimator="average").saliency[0]


def tasks(plan):
    """All that the study of RISE measures, from a `lab.study.profile.Plan`."""
    # A first study takes minutes.
    n, half = (plan.samples(m) for m in ((4000, 2000) if plan.seeds > 1 else (2000, 1000)))
    listed = []

    def add(table, function, declared, network, image, **arguments):
        listed.append(Task(f"rise_{table}", function, network, image, arguments, declared))

    def add_runs(network, image, classes, nb_samples, grid_size=7, p=0.5):
        arguments = {"classes": classes, "nb_samples": nb_samples, "grid_size": grid_size}
        arguments |= {"preservation_probability": p}
        add("runs", runs_task, nb_samples, network, image, **arguments)

    masks = plan.profile.samples(MASKS)
    for network, image in itertools.product(NETWORKS, plan.every):
        arguments = {"classes": CLASSES.get(image.parent.name), "nb_samples": masks}
        add("networks", networks_task, masks, network, image, **arguments, grid_size=GRID)
    main, first = NETWORKS[0], plan.some[:1]
    others = [] if plan.many else [paths[0] for paths in plan.images.values()][1:]
    for image in first:
        classes = classes_of(image)
        for network, m in itertools.product(NETWORKS, (16, plan.samples(200), half, n)):
            add_runs(network, image, classes, m)
        for m in sorted({2, 8, 32, plan.samples(400), plan.samples(1000)} - {half}):
            add_runs(main, image, classes, m)
    for network, image in itertools.product(NETWORKS, others):
        add_runs(network, image, classes_of(image), n)
    for image in first:
        label, *_ = classes_of(image)
        for grid_size in (4, 16):
            add_runs(main, image, [label], half, grid_size=grid_size)
        # As the assignment has it.
        for network, m in itertools.product(NETWORKS, (16, plan.samples(MASKS))):
            add_runs(network, image, [label], m, grid_size=GRID)
        for p in (0.1, 0.3, 0.5, 0.7, 0.9):
            add_runs(main, image, [label], half, p=p)
        add("steps", steps_task, STEPS, main, image, label=label)
        calls, most = [plan.samples(m) for m in (250, 500, 1000)], plan.samples(4000, STOPPING)
        arguments = {"label": label, "reference": n}
        declared = n + 2 * calls[-1]
        add("estimators", estimators_task, declared, main, image, **arguments, calls=calls)
        arguments |= {"tolerances": [0.2, 0.15, 0.1], "most": most}
        add("stopping", stopping_task, n + most, main, image, **arguments)
    return listed


def classes_of(path):
    """The classes that are explained on an image, the first of them most often."""
    kind = path.parent.name
    return list(CLASSES.get(kind, [class_index(kind)]))


def agreement(results):
    """The agreement of the first network's map of each image with another network's.

    "networks" is that of the same image; "other_images" the mean agreement with the
    other network's maps of the other images of the class: as much as the place of
    animals in images makes any two maps agree, NaN for a single image.
    """
    rows, cases = [], results.table("rise_networks")
    arrays = [results.array("rise_networks", key, "maps")[0] for key in cases["key"]]
    cases = cases.assign(map=pd.Series(arrays, cases.index))
    first, *others = dict.fromkeys(cases["network"])
    for (kind, own), second in itertools.product(cases.groupby("class", sort=False), others):
        maps = own.pivot(index="image", columns="network", values="map")
        for image, saliency in maps[first].items():
            alike = {name: rank_correlation(saliency, one) for name, one in maps[second].items()}
            row = {"class": kind, "image": image, "first": first, "second": second}
            row |= {"networks": alike.pop(image)}
            rows.append(row | {"other_images": np.mean([*alike.values()] or [np.nan])})
    return pd.DataFrame(rows)


def alike(results):
    """The means of agreements of maps over images, see `lab.measure.paired.means`.

    "halves" is that of the two halves of a network's masks; "closer" by how much the
    networks' maps of one image agree better than with those of "other_images".
    """
    both = results.table("rise_agreement")
    both = both.assign(closer=both["networks"] - both["other_images"])
    halves = means(results.table("rise_networks"), ["halves"], ["class", "network"])
    return pd.concat([halves, means(both, ["networks", "other_images", "closer"], ["class"])])


def places(results):
    """Shares of images with their most salient place here or there, see `means`.

    The places were noted by a reader, who did not know which map is which network's.
    """
    file = results.folder / "rise_places.csv"
    if not file.is_file():
        raise MissingResult(f"{file.name} is missing: nobody has read these maps")
    read = pd.read_csv(file)
    read["class"] = read["image"].str.split("/").str[0]
    found = pd.get_dummies(read["place"])
    return means(read.join(found), list(found), ["network", "class"])


DERIVED = {"rise": {"rise_agreement": agreement, "rise_alike": alike, "rise_places": places}}
"""The tables that follow from what was measured, functions of `Results`."""
