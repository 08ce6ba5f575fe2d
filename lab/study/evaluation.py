"""The study of methods: their maps under one budget, and tests with known answers."""

import functools
import itertools
import time

import numpy as np
import pandas as pd

from lab.measure.agreement import rank_correlation
from lab.measure.axioms import axioms_table
from lab.measure.curves import gains, portions
from lab.measure.maps import measure_map
from lab.measure.roar import ROAR_METHODS, roar
from lab.measure.sanity import sanity
from lab.measure.statistics import disagreement, rank_methods
from lab.methods.masked_model import MaskedModel, blurred, superpixels
from lab.methods.methods import PACKAGE, attribute, explain, least_calls
from lab.methods.names import BASELINES, COMPARED, REFERENCES
from lab.model_calls import predict
from lab.networks.classes import class_name
from lab.study.results import small
from lab.study.runner import Task, version
from lab.study.settings import NETWORKS

FEWEST = 400  # model calls of any profile; KernelSHAP needs four for each superpixel
CURVES = 3 * 51  # model calls for the curves of a map
SUPERPIXELS = 50  # model calls for the faithfulness of all maps of an image
CALLING = [method for method in COMPARED if method not in BASELINES]
DIFFER = ["lime", "rise"]  # the methods whose most salient regions are compared
FIFTHS = 5  # portions of an image, of which the most salient one is a region
SIZES = 4, 6, 8, 10, 12, 15, 20, 25, 30, 40  # of superpixels, for exact Shapley values


def saliency_map(method, network, image, label, budget, seed=0):
    """The map of any method of `lab.methods.names`, also of those with gradients."""
    if method in REFERENCES:
        from lab.networks import gradients  # imports TensorFlow, which others do without

        return gradients.REFERENCES[method](network, image, label)
    return explain(method, network, image, label, budget, seed)


def _measured(network, image, mask, label, methods, budget, seed):
    """For each method its row, its map, the map's curves, and the seconds it took."""
    label = network.top(image, 1)[0][0] if label is None else label
    probability = float(predict(network, image[None], [label])[0, 0])
    about = {"label": int(label), "predicted": class_name(label), "probability": probability}
    for method in methods:
        started = time.perf_counter()
        saliency = saliency_map(method, network, image, label, budget, seed)
        seconds = round(time.perf_counter() - started, 2)
        measured, curves = measure_map(network, image, label, saliency, mask)
        row = {"method": method} | about | {"calls": budget} | measured
        yield row, saliency, curves, seconds


@version(1)
def gains_task(network, image, mask, label, methods, budget, seed, maps=False):
    """Explain an image with some methods; measure the maps, their gains and the time.

    The class is the predicted one where `label` is None. Methods are those of
    `lab.methods.names`, and each has `budget` model calls. A row is about a method;
    "seconds" is the time that explaining took. With `maps`, these are kept, too.
    """
    measured = list(_measured(network, image, mask, label, methods, budget, seed))
    rows = [
        row | gains(network, image, row["label"], saliency, curves) | {"seconds": seconds}
        for row, saliency, curves, seconds in measured
    ]
    return rows, {"maps": np.stack([saliency for _, saliency, *_ in measured])} if maps else {}


@version(1)
def maps_task(network, image, mask, methods, budget):
    """Explain the predicted class with some methods; measure the maps and save them."""
    rows, maps, curves, _ = zip(*_measured(network, image, mask, None, methods, budget, 0))
    return list(rows), {
        "maps": np.stack([small(saliency) for saliency in maps]),
        "curves": np.array([[*one.values()] for one in curves], np.float32),
    }


@version(1)
def sanity_task(network, image, mask, methods, budget, layers):
    """Agreement of each method's map with those of the network with random layers.

    Where `budget` is too small for one of them, all get what it needs.
    """
    budget = max(budget, least_calls(methods, int(superpixels(image).max()) + 1))
    explainers = {method: functools.partial(explain, method, budget=budget) for method in methods}
    agreement = sanity(explainers, network, image, network.top(image, 1)[0][0], layers)
    return agreement.to_dict("records"), {}


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
        for place, (without, alone) in enumerate(probabilities):
            row = {"method": methods[place], "label": label, "predicted": name}
            row |= {"probability": probability, "share": float(regions[place].mean())}
            row |= {"fill": fill, "without": without, "alone": alone, "place": place}
            rows.append(row)
    return rows, {"regions": regions}


@version(1)
def shapley_task(network, image, mask, most, seeds):
    """How close methods come to exact Shapley values of at most `most` superpixels."""
    label = network.top(image, 1)[0][0]
    segments = next(s for s in (superpixels(image, size) for size in SIZES) if s.max() < most)
    masked_model = MaskedModel(network, image, segments, PACKAGE.hide_color, [label])
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


@version(1)
def axioms_task(network, image, mask, seed):
    """Violations of axioms on functions with known answers; no network is called."""
    return axioms_table(seed).to_dict("records"), {}


def tasks(images, profile):
    """All that the study of methods measures, see `lab.study`."""
    every = [path for paths in images.values() for path in paths]
    first = [paths[0] for paths in images.values()]  # of each kind
    quick, some = profile.name == "quick", first if profile.name == "study" else first[:1]
    budget, fewer = (profile.samples(n, FEWEST) for n in (1000, 250))
    layers = [1, 8] if quick else None
    count, n_samples = (400, 260) if quick else (None, 512)
    plan = []

    def add(table, function, where, calls, **arguments):
        plan.append(Task(f"evaluation_{table}", function, *where, arguments, calls))

    for where in itertools.product(NETWORKS, every):
        calls = len(CALLING) * budget + len(COMPARED) * CURVES + SUPERPIXELS
        add("runs", maps_task, where, calls, methods=list(COMPARED), budget=budget)
        calls = len(DIFFER) * budget + 9
        add("differ", differ_task, where, calls, methods=DIFFER, budget=budget)
    for where in itertools.product(NETWORKS, some):
        calls = len(CALLING) * (len(layers or range(8)) + 1) * fewer
        add("sanity", sanity_task, where, calls, methods=CALLING, budget=fewer, layers=layers)
    where, most = (NETWORKS[0], first[0]), 8 if quick else 12
    add("shapley", shapley_task, where, 2**most, most=most, seeds=profile.stability_seeds)
    # Work without a model call counts as the calls that take as long.
    for seed, method in itertools.product(range(1 if quick else 3), ROAR_METHODS):
        of = {"method": method, "seed": seed, "count": count, "n_samples": n_samples}
        add("roar", roar_task, (None, None), n_samples, **of)
    add("axioms", axioms_task, (None, None), 1000, seed=0)
    return plan


def derive(results):
    """Ranks and disagreement of the methods by each measurement."""
    table = with_sanity(results)
    return {"evaluation_ranks": rank_methods(table), "evaluation_disagreement": disagreement(table)}


def with_sanity(results):
    """The table of maps with "sanity", the mean agreement with maps of random networks.

    A baseline, which makes no model call, has 1. A constant map, which has no rank
    correlation, agrees with no other. NaN where nothing was measured.
    """
    runs, checked = results.table("evaluation_runs"), results.table("evaluation_sanity")
    where = ["network", "class", "picture"]
    sizes = checked.assign(sanity=checked["rank_correlation"].fillna(0).abs())
    agreement = sizes.groupby([*where, "method"], as_index=False)["sanity"].mean()
    known = agreement[where].drop_duplicates()
    baselines = known.merge(pd.DataFrame({"method": BASELINES, "sanity": 1.0}), how="cross")
    return runs.merge(pd.concat([agreement, baselines]), how="left", on=[*where, "method"])
