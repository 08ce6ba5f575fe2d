"""Methods compared: explain these images with these methods, and measure the maps.

The lab's own images ("evaluation"), "montages" and "photographs" are three sets of data
for the same comparison: images, methods, model calls and what is measured. The first
also tests methods where the right answer is known. See ``report/protocol.md``.
"""

import functools
import hashlib
import itertools
import re
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from lab.images import DATA, find_images, load_image, load_mask
from lab.measure.agreement import rank_correlation
from lab.measure.curves import CURVES_OF_GAINS, CURVES_OF_MAP, PORTIONS, STEPS, gains, portions
from lab.measure.maps import measure_map
from lab.measure.overlap import iou_over_thresholds, pointing_game
from lab.measure.paired import GAINS, means, pairs, with_gain
from lab.measure.roar import ROAR_METHODS, roar
from lab.measure.sanity import sanity
from lab.measure.statistics import disagreement, rank_methods
from lab.methods.coalitions import attribute
from lab.methods.masked_model import MaskedModel, blurred, blurred_away, superpixels
from lab.methods.registry import METHODS, explain, fewest_calls
from lab.model_calls import predict
from lab.networks.classes import class_index
from lab.study.profile import hashed
from lab.study.results import MissingResult, small
from lab.study.settings import COMPARED, NETWORKS, OBJECT
from lab.study.store import Task, image_digest, version

GRADIENTS = tuple(name for name, method in METHODS.items() if method.gradients)
FIFTHS = 5  # portions of an image, of which the most salient one is a region
SHAPLEY_SIZES = 4, 6, 8, 10, 12, 15, 20, 25, 30, 40  # of superpixels, for exact Shapley values

# Montages and photographs.
CALLS = 250  # model calls of most comparisons
CALLING = (
    *("lime", "lime_black", "lime_blurred", "rise_average", "rise"),
    *("occlusion", "occlusion_black", "occlusion_blurred", "nested", "owen", "soft", "combined"),
)
ALL = *CALLING, "random", "centre", "edges"
FEW = "lime_blurred", "rise", "nested", "owen", "combined"
PHOTOGRAPHS = (
    (CALLS, 150, ALL, NETWORKS),
    (1000, 30, (*FEW, "shap"), NETWORKS),
    (100, 60, (*FEW, "occlusion_blurred"), NETWORKS),
    (CALLS, 60, GRADIENTS, NETWORKS),
    (
        CALLS,
        20,
        ("lime", "lime_blurred", "rise", "occlusion_blurred", "nested", "owen", "centre"),
        ("efficientnet_lite1", "efficientnet_lite2"),
    ),
)
"""Model calls, photographs, methods and networks of all that is measured with gains."""

LIKELY = 0.1  # probability of the first guess from which a photograph is explained
SANITY, RANDOM = 3, (1, 16)  # photographs, and layers that are random there
REPEATED = 6  # photographs whose maps of two seeds are compared


class Case(NamedTuple):
    """What maps are measured on."""

    network: Callable
    image: np.ndarray
    mask: np.ndarray | None
    label: int
    portions: int  # of pixels in a curve
    backgrounds: list  # images that regions are put into
    background: float  # the class's mean probability in them


def _map(case, method, saliency):
    measured, curves = measure_map(case.network, case.image, case.label, saliency, case.mask)
    return measured, {"curves": np.array([*curves.values()], np.float32)}


def _map_and_gains(case, method, saliency):
    measured, curves = measure_map(case.network, case.image, case.label, saliency, case.mask)
    return measured | gains(case.network, case.image, case.label, saliency, curves), {}


def _gains(case, method, saliency):
    return gains(case.network, case.image, case.label, saliency, steps=case.portions), {}


def _overlap(case, method, saliency):
    iou = float(iou_over_thresholds(saliency, case.mask).mean())
    return {"iou_mask": iou, "pointing_game": pointing_game(saliency, case.mask)}, {}


def _transplanted(case, method, saliency):
    """The class's probability in the most salient fifth, put into other images."""
    region = case.mask if method == OBJECT else portions(saliency, FIFTHS) == 0
    images = [np.where(region[..., None], case.image, other) for other in case.backgrounds]
    alone = predict(case.network, np.stack(images), [case.label])[:, 0]
    row = {"background": case.background, "transplanted": alone.mean()}
    row["on_object"] = region[case.mask].sum() / max(region.sum(), 1)
    return row, {"regions": region, "transplanted": alone.astype(np.float32)}


MEASURED = {
    "map": _map,
    "map and gains": _map_and_gains,
    "gains": _gains,
    "overlap": _overlap,
    "transplanted": _transplanted,
}
"""What is measured: functions of a `Case`, a method and its map to a row and arrays."""

MAPS = {"": None, "small": small, "whole": np.asarray}
"""How maps are saved."""


@version(1)
def maps_task(
    network,
    image,
    mask,
    parts,
    measured,
    label=None,
    seed=0,
    portions=STEPS,
    least_probability=0,
    maps="",
    backgrounds=None,
):
    """Explain one class of an image with some methods, and measure the maps.

    A part has a "method" and its "budget" of model calls. With `least_probability`, an
    image is left out where the class is less probable, and a method where it needs more
    calls for the image's superpixels.

    Parameters
    ----------
    measured : list of str
        Of `MEASURED`.
    label : int, optional
        By default the most probable class.
    maps : str, optional
        One of `MAPS`.
    backgrounds : dict of str to str, optional
        Montages, by path in `MONTAGES` with their digests: their objects are blurred
        away, and regions are put into them.
    """
    label = network.top(image, 1)[0][0] if label is None else label
    paths = [MONTAGES / name for name in backgrounds or ()]
    grounds = [
        blurred_away(load_image(path, len(image)), load_mask(path, len(image))) for path in paths
    ]
    probability, *others = predict(network, np.stack([image, *grounds]), [label])[:, 0]
    about = {"label": int(label), "predicted": network.class_name(label)}
    about["probability"] = probability
    case = Case(network, image, mask, label, portions, grounds, np.mean(others or np.nan))
    results = {}
    for name, part in parts.items():
        left_out = least_probability and (
            probability < least_probability
            or part["budget"] < fewest_calls([part["method"]], int(superpixels(image).max()) + 1)
        )
        one = case, about, measured, maps, seed
        results[name] = ([], {}) if left_out else _explained(*one, **part)
    return results


def _explained(case, about, measured, maps, seed, method, budget):
    """The row and the arrays of one method."""
    started = time.perf_counter()
    if method == OBJECT:
        saliency = case.mask.astype(np.float32)
    else:
        saliency = explain(method, case.network, case.image, case.label, budget, seed)
    seconds = round(time.perf_counter() - started, 2)
    row, arrays = {"method": method} | about | {"calls": budget}, {}
    for name in measured:
        numbers, own = MEASURED[name](case, method, saliency)
        row, arrays = row | numbers, arrays | own
    if maps:
        arrays["maps"] = MAPS[maps](saliency)
    row["seconds"] = seconds
    return [row], {name: np.asarray(array)[None] for name, array in arrays.items()}


@version(1)
def sanity_task(network, image, mask, parts, layers):
    """Agreement of each method's map with those of the network with random layers.

    A method whose budget is too small for the image's superpixels gets what it needs.
    """
    n, explainers = int(superpixels(image).max()) + 1, {}
    for method, part in parts.items():
        budget = max(part["budget"], fewest_calls([method], n))
        explainers[method] = functools.partial(explain, method, budget=budget)
    agreement = sanity(explainers, network, image, network.top(image, 1)[0][0], layers)
    return {
        method: (agreement[agreement["method"] == method].to_dict("records"), {})
        for method in parts
    }


@version(1)
def seeds_task(network, image, mask, parts, least_probability):
    """Rank correlation of the maps of two seeds, for the first guess."""
    label, _, probability = network.top(image, 1)[0]
    measured = {}
    for method, part in parts.items():
        rows = []
        if probability >= least_probability:
            maps = [explain(method, network, image, label, **part, seed=seed) for seed in (0, 1)]
            row = {"method": method, "calls": part["budget"]}
            rows.append(row | {"rank_correlation": rank_correlation(*maps)})
        measured[method] = rows, {}
    return measured


@version(1)
def differ_task(network, image, mask, methods, budget):
    """Probabilities without, and of, what only one of two methods finds most salient.

    Each method has its most salient fifth of the image. What both have in common is
    left out, so that both regions have the same size. A row's "place" is its region's.
    """
    label, name, probability = network.top(image, 1)[0]
    first, second = (
        portions(explain(method, network, image, label, budget), FIFTHS) == 0 for method in methods
    )
    regions = np.stack([first & ~second, second & ~first])
    rows = []
    for fill, ground in {"black": np.zeros_like(image), "blurred": blurred(image)}.items():
        shown = [part for region in regions for part in (~region, region)]
        images = np.stack([np.where(part[..., None], image, ground) for part in shown])
        probabilities = predict(network, images, [label]).reshape(2, 2).tolist()
        for method, region, (without, alone) in zip(methods, regions, probabilities):
            row = {"method": method, "label": label, "predicted": name}
            row |= {"probability": probability, "share": float(region.mean())}
            rows.append(row | {"fill": fill, "without": without, "alone": alone})
    return rows, {}


@version(1)
def shapley_task(network, image, mask, most, seeds):
    """How close methods come to exact Shapley values of at most `most` superpixels."""
    label = network.top(image, 1)[0][0]
    sizes = (superpixels(image, size) for size in SHAPLEY_SIZES)
    segments = next(segments for segments in sizes if segments.max() < most)
    masked_model = MaskedModel(network, image, segments, None, [label])
    n = masked_model.n
    # There are so few coalitions that each is predicted once.
    bits = 2 ** np.arange(n)
    values = masked_model.value(np.arange(2**n)[:, None] // bits % 2)

    def value(coalitions):
        return values[np.asarray(coalitions, int) @ bits]

    truth, rows = attribute("shapley", value, n), []
    for method in ("shap", "lime", "rise"):
        for budget in [*(2**k for k in range(6, n)), 2**n]:
            runs = np.array([attribute(method, value, n, budget, seed) for seed in range(seeds)])
            correlation = np.mean([rank_correlation(one, truth) for one in runs])
            difference = np.abs(runs - truth).max() / np.ptp(truth)
            row = {"superpixels": n, "method": method, "calls": budget, "seeds": seeds}
            row |= {"rank_correlation": correlation, "largest_difference": difference}
            rows.append(row)
    return rows, {}


@version(1)
def roar_task(network, image, mask, method, seed, count, n_samples):
    """Remove and retrain on digits; no network of the lab is called."""
    return roar(method, seed, count=count, n_samples=n_samples).to_dict("records"), {}


def compared(table, network, image, budgets, measured, **arguments):
    """A task of `maps_task`: several methods for each budget of model calls."""
    parts, calls = {}, 0
    curves = CURVES_OF_GAINS if {"gains", "map and gains"} & {*measured} else CURVES_OF_MAP
    curves *= arguments.get("portions", STEPS) + 1
    for budget, methods in budgets:
        for method in methods:
            name = method if len(budgets) == 1 else f"{method}, {budget}"
            parts[name] = {"method": method, "budget": budget}
            calls += curves + budget * (method != OBJECT and METHODS[method].calls_model)
    arguments |= {"measured": measured}
    return Task(table, maps_task, network, image, arguments, calls, parts)


def evaluation_tasks(plan):
    """All that is measured on the lab's own images, and where answers are known."""
    quick = plan.profile.name == "quick"
    # KernelSHAP needs four calls for each superpixel, in any profile.
    budget, fewer = (plan.samples(n, 400) for n in (1000, 250))
    layers = [1, 8] if quick else None
    count, n_samples = (400, 260) if quick else (None, 512)
    calling = [method for method in COMPARED if METHODS[method].calls_model]
    tasks = []
    for where in itertools.product(NETWORKS, plan.every):
        tasks.append(
            compared("evaluation_runs", *where, [(budget, COMPARED)], ["map"], maps="small")
        )
        arguments = {"methods": ["lime", "rise"], "budget": budget}
        tasks.append(Task("evaluation_differ", differ_task, *where, arguments, 2 * budget + 9))
    for where in itertools.product(NETWORKS, plan.some):
        calls = len(calling) * (len(layers or range(8)) + 1) * fewer
        parts = {method: {"budget": fewer} for method in calling}
        arguments = {"layers": layers}
        tasks.append(Task("evaluation_sanity", sanity_task, *where, arguments, calls, parts))
    most = 8 if quick else 12
    for image in plan.some[:1]:
        arguments = {"most": most, "seeds": plan.repeats}
        where = "evaluation_shapley", shapley_task, NETWORKS[0], image
        tasks.append(Task(*where, arguments, 2**most))
    for seed, method in itertools.product(range(1 if quick else 3), ROAR_METHODS):
        # Work without a model call counts as the calls that take as long.
        arguments = {"method": method, "seed": seed, "count": count, "n_samples": n_samples}
        tasks.append(Task("evaluation_roar", roar_task, None, None, arguments, n_samples))
    return tasks


# Montages: see the protocol. They are a set of images of their own.

MONTAGES = DATA / "evaluation"
BACKGROUNDS = (
    "goose/goose_3_meadow.jpg",
    "bullfrog/frog_3_gravel.jpg",
    "airliner/airliner_1_storm.jpg",
    "grasshopper/bush_cricket_1_concrete.jpg",
)
"""Where regions are put: the choosing half's smallest objects in four landscapes."""


def object_of(path):
    """The object in an image of the set: the name, of a path or str, up to a number."""
    return re.match(r"(.+?)_\d", getattr(path, "stem", path)).group(1)


def chosen_on(name):
    """Whether parameters were chosen on an object; a hash of its name decides."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 0


def backgrounds_of(name):
    """Three of `BACKGROUNDS` in other landscapes than a montage's."""
    landscape = name.split("_")[-1]
    return [other for other in BACKGROUNDS if not other.endswith(f"_{landscape}")][:3]


def objects():
    """The measured objects with their images' paths, in alphabetical order."""
    by_object = {}
    for path in sorted(find_images(MONTAGES)[0].values(), key=lambda path: path.stem):
        if not chosen_on(object_of(path)):
            by_object.setdefault(object_of(path), []).append(path)
    return by_object


def montages_tasks(plan):
    """All that is measured on montages."""
    methods, budget = [*ALL, *GRADIENTS, OBJECT], plan.samples(CALLS, 80)
    number = 3 if plan.profile.name == "quick" else None
    tasks = []
    for path in [paths[-1] for paths in objects().values()][:number]:
        backgrounds = {name: image_digest(MONTAGES / name) for name in backgrounds_of(path.name)}
        arguments = {"label": class_index(path.parent.name), "portions": PORTIONS}
        measured = ["gains", "overlap", "transplanted"]
        tasks += [
            compared(
                "montages_runs",
                *(network, path, [(budget, methods)], measured),
                **arguments,
                backgrounds=backgrounds,
            )
            for network in NETWORKS
        ]
    return tasks


def photographs_tasks(plan):
    """All that is measured on photographs, in the order of a hash of their names."""
    paths = sorted(plan.every, key=hashed)
    quick, likely, tasks = plan.profile.name == "quick", {"least_probability": LIKELY}, []
    budget = plan.samples(CALLS, 80)

    def each(n, networks):
        return itertools.product(networks, paths[: 3 if quick else n])

    budgets = {}
    for calls, n, methods, networks in PHOTOGRAPHS:
        calls = plan.samples(calls, 320 if "shap" in methods else 80)
        for where in each(n, networks):
            budgets.setdefault(where, []).append((calls, methods))
    for where, listed in budgets.items():
        arguments = {"portions": PORTIONS} | likely
        tasks.append(compared("photographs_runs", *where, listed, ["gains"], **arguments))
    parts = {method: {"budget": budget} for method in CALLING if method != "rise_average"}
    calls, arguments = len(RANDOM) * len(parts) * budget, {"layers": list(RANDOM)}
    for where in each(SANITY, NETWORKS):
        tasks.append(Task("photographs_sanity", sanity_task, *where, arguments, calls, parts))
    parts = {method: {"budget": budget} for method in CALLING if METHODS[method].draws}
    for where in each(REPEATED, NETWORKS):
        calls = 2 * len(parts) * budget
        tasks.append(Task("photographs_seeds", seeds_task, *where, likely, calls, parts))
    return tasks


# The tables that follow.


def with_sanity(results):
    """The table of maps with "sanity", the mean agreement with maps of random networks.

    A control, which calls no network, has 1. A constant map, which has no rank
    correlation, agrees with no other. NaN where nothing was measured.
    """
    runs, checked = results.table("evaluation_runs"), results.table("evaluation_sanity")
    where = ["network", "class", "image"]
    sizes = checked.assign(sanity=checked["rank_correlation"].fillna(0).abs())
    agreement = sizes.groupby([*where, "method"], as_index=False)["sanity"].mean()
    controls = [method for method in COMPARED if METHODS[method].control]
    controls = pd.DataFrame({"method": controls, "sanity": 1.0})
    controls = agreement[where].drop_duplicates().merge(controls, how="cross")
    return runs.merge(pd.concat([agreement, controls]), how="left", on=[*where, "method"])


def example(results):
    """The montage on which two methods' transplanted regions differ most.

    It is one of those in which the network is more sure of the class than not, if any.
    """
    runs = results.table("montages_runs").query("method in @CALLING")
    sure = runs["probability"] > 0.5
    runs = runs[sure] if sure.any() else runs
    cases = runs.groupby(["network", "image"], sort=False)["transplanted"]
    network, image = (cases.max() - cases.min()).idxmax()
    rows = runs.query("network == @network and image == @image").set_index("method")
    good, bad = rows["transplanted"].idxmax(), rows["transplanted"].idxmin()
    case = {"network": network, "image": image, "good": good, "bad": bad}
    case["backgrounds"] = ",".join(backgrounds_of(image))
    return pd.DataFrame([case])


def photographed(results):
    """The table of photographs with "gain"."""
    return with_gain(_not_empty(results, "photographs_runs"))


def _not_empty(results, table):
    rows = results.table(table)
    if rows.empty:
        raise MissingResult(
            f"{table} is empty: no photograph has a first guess with a probability of {LIKELY}"
        )
    return rows


def photographs_means(results):
    """Means of gains by network, budget and method, with the number of photographs."""
    runs, by = photographed(results), ["network", "calls", "method"]
    sizes = runs.groupby(by).size().rename("n").reset_index()
    return means(runs, ["gain", *GAINS], by).merge(sizes, on=by)


def photographs_pairs(results):
    """Differences of methods with the same budget."""
    runs = photographed(results).groupby("calls")
    return pd.concat([pairs(part, ["gain", *GAINS]).assign(calls=calls) for calls, part in runs])


MASKED = "gain", "iou_mask", "pointing_game", "transplanted"

DERIVED = {
    "evaluation": {
        "evaluation_ranks": lambda results: rank_methods(with_sanity(results)),
        "evaluation_disagreement": lambda results: disagreement(with_sanity(results)),
    },
    "montages": {
        "montages_means": lambda results: means(
            with_gain(results.table("montages_runs")), [*MASKED, *GAINS], ["network", "method"]
        ),
        "montages_pairs": lambda results: pairs(with_gain(results.table("montages_runs")), MASKED),
        "montages_example": example,
    },
    "photographs": {"photographs_means": photographs_means, "photographs_pairs": photographs_pairs},
}
"""The tables that follow from what was measured, functions of `Results`."""
