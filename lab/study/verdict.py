"""The study of the verdict, which ``report/protocol.md`` lays down."""

import hashlib
import itertools
import re

import numpy as np
import pandas as pd

from lab.explain.masked_model import blurred_away
from lab.explain.methods import explain
from lab.explain.names import BASELINES, OCCLUSIONS, REFERENCES
from lab.images import DATA, SUFFIXES, load_image, load_mask
from lab.measure.agreement import rank_correlation
from lab.measure.curves import gains, portions
from lab.measure.paired import GAINS, judge, means, pairs, with_gain
from lab.model_calls import predict
from lab.networks.classes import class_index, class_name
from lab.runner import Task, image_digest, version
from lab.study.evaluation import FIFTHS, gains_task
from lab.study.settings import NETWORKS

SET = DATA / "evaluation"
NEEDS = ("evaluation_sanity",)
"""Tables of other studies that `derive` reads."""
CANDIDATES = "lime", "lime_blurred", "rise_average", "rise", "shap", *OCCLUSIONS
METHODS = *CANDIDATES, *BASELINES, *REFERENCES
BUDGET, FEWEST = 1000, 320  # model calls for each candidate, and those of any profile:
# KernelSHAP needs four for each superpixel and LIME one, and there are up to 79.
IMAGES = 2  # of each object
CURVES = 6 * 51  # model calls for the curves of a map
FEW = 100  # model calls with which the cost of fewer is measured
FEW_METHODS = "lime_blurred", "rise", "occlusion_blurred", "centre"  # KernelSHAP needs more
FEW_OBJECTS = 10  # of each half, for which it is measured
SMALL = 250  # model calls with which nested occlusion is compared with the others
SMALL_METHODS = "lime", "lime_blurred", "rise", "rise_average", *OCCLUSIONS, "nested"
SMALL_FEWEST = 80  # model calls of any profile, for as many superpixels
PAPER = 4000  # masks in the paper of RISE
HOSTS = (
    "goose/goose_3_meadow",
    "bullfrog/frog_3_gravel",
    "airliner/airliner_1_storm",
    "grasshopper/bush_cricket_1_concrete",
)
"""Where regions are put: the choosing half's smallest objects in four landscapes."""


def object_of(path):
    """The object in an image of the set: the name, of a path or str, up to a number."""
    return re.match(r"(.+?)_\d", getattr(path, "stem", path)).group(1)


def half(name):
    """The half of an object, "choosing" or "verdict", by a hash of its name."""
    return ("choosing", "verdict")[int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2]


def objects(which):
    """The objects of a half with the paths of their images, in alphabetical order."""
    by_object = {}
    for path in sorted(SET.glob("*/*"), key=lambda path: path.stem):
        if path.suffix in SUFFIXES and half(object_of(path)) == which:
            by_object.setdefault(object_of(path), []).append(path)
    return by_object


def tasks(_, profile):
    """All that the verdict rests on, see `lab.study`; it has images of its own.

    Of "verdict_runs" the first image of each object comes before the second of any.
    """
    verdict, choosing = (
        list(objects(which).values())[: profile.objects] for which in ("verdict", "choosing")
    )
    budget, few = profile.samples(BUDGET, FEWEST), profile.samples(FEW, SMALL_FEWEST)
    small = profile.samples(SMALL, SMALL_FEWEST)
    several = [[method, small] for method in SMALL_METHODS]
    several += [["nested", profile.samples(FEW, 40)], ["rise_average", profile.samples(PAPER)]]
    plan = []

    def add(table, function, paths, calls, **arguments):
        for path in paths:
            about = {"object": object_of(path), "label": class_index(path.parent.name)}
            if function is alone_task:
                about["hosts"] = _hosts(path)
            plan.extend(
                Task(f"verdict_{table}", function, network, path, about | arguments, calls)
                for network in NETWORKS
            )

    runs = sorted(
        (path for paths in verdict for path in paths[:IMAGES]),
        key=lambda path: re.search(r"_(\d)_", path.stem)[1],
    )
    every = len(CANDIDATES) * budget
    calls = every + len(METHODS) * CURVES + 60
    add("runs", runs_task, runs, calls, methods=list(METHODS), budget=budget)
    paths, methods = [paths[0] for paths in verdict], [*CANDIDATES, *BASELINES]
    add("alone", alone_task, paths, every, methods=methods, budget=budget)
    firsts = [paths[0] for paths in (*verdict[:FEW_OBJECTS], *choosing[:FEW_OBJECTS])]
    calls = len(FEW_METHODS) * (2 * few + CURVES)
    budgets = [[method, few] for method in FEW_METHODS]
    add("few", budgets_task, firsts, calls, budgets=budgets, repeated=True)
    paths, calls = [paths[-1] for paths in verdict], sum(n + CURVES for _, n in several)
    add("small", budgets_task, paths, calls, budgets=several, repeated=False)
    return plan


def _hosts(path):
    """Three images that regions are put into, with the digests of their files."""
    landscape = path.stem.split("_")[-1]
    others = [name for name in HOSTS if name.split("_")[-1] != landscape]
    return {name: image_digest(SET / f"{name}.jpg") for name in others[:3]}


@version(gains_task.version)
def runs_task(network, image, mask, object, label, methods, budget):
    """Explain an image's class with all methods and measure the explanations."""
    rows, _ = gains_task(network, image, mask, label, methods, budget, seed=0)
    for row in rows:
        del row["seconds"]  # they differ from run to run
    return [{"object": object} | row for row in rows], {}


@version(1)
def alone_task(network, image, mask, object, label, methods, budget, hosts):
    """The class's probability in the most salient fifth alone, put into other images.

    The objects of those images are blurred away. In the row "object" the region is the
    object itself.
    """
    paths = [SET / f"{name}.jpg" for name in hosts]
    size = len(image)
    grounds = [blurred_away(load_image(path, size), load_mask(path, size)) for path in paths]
    maps = {method: explain(method, network, image, label, budget) for method in methods}
    regions = {method: portions(saliency, FIFTHS) == 0 for method, saliency in maps.items()}
    regions["object"] = mask
    pairs = itertools.product(regions.values(), grounds)
    put = [np.where(region[..., None], image, ground) for region, ground in pairs]
    whole, *others = predict(network, np.stack([image, *put, *grounds]), [label])[:, 0]
    alone = np.reshape(others[: len(put)], (len(regions), -1))
    about = {"object": object, "label": label, "predicted": class_name(label)}
    about |= {"probability": whole, "hosts": ",".join(hosts)}
    about |= {"empty": np.mean(others[len(put) :])}
    rows = []
    for (name, region), probabilities in zip(regions.items(), alone):
        on_object = region[mask].sum() / max(region.sum(), 1)
        row = {"region": name, "alone": probabilities.mean(), "on_object": on_object}
        rows.append(about | row)
    return rows, {"regions": np.stack(list(regions.values())), "alone": alone.astype(np.float32)}


@version(1)
def budgets_task(network, image, mask, object, label, budgets, repeated):
    """Gains of methods with a number of model calls each.

    With `repeated`, "repeats" is the rank correlation with the map of another seed.
    """
    rows = []
    for method, calls in budgets:
        saliency = explain(method, network, image, label, calls)
        row = {"object": object, "half": half(object), "method": method, "calls": calls}
        if repeated:
            other = explain(method, network, image, label, calls, seed=1)
            row["repeats"] = rank_correlation(saliency, other)
        rows.append(row | gains(network, image, label, saliency))
    return rows, {}


def derive(results):
    """The verdict, and means and pairs of methods with all budgets."""
    runs, few, small, checked = (
        results.table(name)
        for name in ("verdict_runs", "verdict_few", "verdict_small", "evaluation_sanity")
    )
    agreement = checked["rank_correlation"].fillna(0).abs().groupby(checked["method"]).mean()
    compared, small = pairs(runs), with_gain(small)
    budgets = small.assign(method=small["method"] + " " + small["calls"].astype(str))
    halves = [pairs(part).assign(half=which) for which, part in few.groupby("half")]
    few = few[few["half"] == "verdict"]
    pictures = few[["network", "picture"]].drop_duplicates()
    same = runs[runs["method"].isin(FEW_METHODS)].merge(pictures)
    calls = with_gain(pd.concat([few, same]))
    by_calls = ["network", "method", "calls"]
    reported = [*GAINS, "faithfulness", "iou_mask", "pointing_game"]
    return {
        "verdict_pairs": compared,
        "verdict": judge(compared, agreement, CANDIDATES, BASELINES),
        "verdict_means": means(runs, reported, ["network", "method"]),
        "verdict_few_pairs": pd.concat(halves),
        "verdict_calls": means(calls, ["gain"], by_calls),
        "verdict_example": _example(results.table("verdict_alone")),
        "verdict_small_means": means(small, ["gain", *GAINS], by_calls),
        "verdict_small_pairs": pairs(budgets, ["gain", *GAINS]),
    }


def _example(alone):
    """The case in which two candidates' regions alone differ most in probability."""
    alone = alone[alone["region"].isin(CANDIDATES)]
    cases = alone.groupby("key")["alone"]
    key = (cases.max() - cases.min()).idxmax()
    rows = alone[alone["key"] == key].set_index("region")
    about = {name: rows[name].iloc[0] for name in ("network", "class", "picture", "hosts", "key")}
    return pd.DataFrame([about | {"good": rows["alone"].idxmax(), "bad": rows["alone"].idxmin()}])
