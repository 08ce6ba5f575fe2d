"""The study of montages, whose objects have exact masks: see ``report/protocol.md``."""

import hashlib
import itertools
import re

import numpy as np
import pandas as pd

from lab.images import DATA, SUFFIXES, load_image, load_mask
from lab.measure.curves import gains, portions
from lab.measure.overlap import iou_over_thresholds, pointing_game
from lab.measure.paired import GAINS, means, pairs, with_gain
from lab.methods.masked_model import blurred_away
from lab.methods.registry import explain
from lab.model_calls import predict
from lab.networks.classes import class_index, class_name
from lab.study.evaluation import FIFTHS
from lab.study.photographs import (
    CALLING,
    CALLS,
    FEWEST,
    GRADIENTS,
    METHODS,
    STEPS,
    model_calls_for_gains,
)
from lab.study.runner import Task, image_digest, version
from lab.study.settings import NETWORKS, OBJECT

SET = DATA / "evaluation"
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
    """The half of an object, "choosing" or "montages", by a hash of its name."""
    return ("choosing", "montages")[int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2]


def objects():
    """Objects of the measured half with their images' paths, in alphabetical order."""
    by_object = {}
    for path in sorted(SET.glob("*/*"), key=lambda path: path.stem):
        if path.suffix in SUFFIXES and half(object_of(path)) == "montages":
            by_object.setdefault(object_of(path), []).append(path)
    return by_object


def tasks(_, profile):
    """All that is measured on montages, see `lab.study`; it has images of its own."""
    methods, budget = [*METHODS, *GRADIENTS], profile.samples(CALLS, FEWEST)
    calls = model_calls_for_gains(methods, budget)
    plan = []
    for path in [paths[-1] for paths in objects().values()][: profile.objects]:
        about = {"object": object_of(path), "label": class_index(path.parent.name)}
        about |= {"methods": methods, "budget": budget, "hosts": _hosts(path)}
        plan += [Task("montages_runs", runs_task, model, path, about, calls) for model in NETWORKS]
    return plan


def _hosts(path):
    """Three images that regions are put into, with the digests of their files."""
    landscape = path.stem.split("_")[-1]
    others = [name for name in HOSTS if name.split("_")[-1] != landscape]
    return {name: image_digest(SET / f"{name}.jpg") for name in others[:3]}


@version(1)
def runs_task(network, image, mask, object, label, methods, budget, hosts):
    """Explain a montage's class with all methods, and measure maps and their regions.

    A region is a map's most salient fifth. "alone" is the class's mean probability when
    it is put into other images, whose objects are blurred away; "empty" that of those
    images, and "on_object" the region's share that is on the object. In the last row
    the object's mask is map and region.
    """
    size = len(image)
    paths = [SET / f"{name}.jpg" for name in hosts]
    grounds = [blurred_away(load_image(path, size), load_mask(path, size)) for path in paths]
    maps = {method: explain(method, network, image, label, budget) for method in methods}
    regions = {method: portions(saliency, FIFTHS) == 0 for method, saliency in maps.items()}
    maps[OBJECT], regions[OBJECT] = mask.astype(np.float32), mask
    put = [
        np.where(region[..., None], image, ground)
        for region, ground in itertools.product(regions.values(), grounds)
    ]
    whole, *others = predict(network, np.stack([image, *put, *grounds]), [label])[:, 0]
    alone = np.reshape(others[: len(put)], (len(regions), -1))
    about = {"object": object, "label": label, "predicted": class_name(label)}
    about |= {"probability": whole, "calls": budget, "hosts": ",".join(hosts)}
    about |= {"empty": np.mean(others[len(put) :])}
    rows = []
    for (method, saliency), probabilities in zip(maps.items(), alone):
        region = regions[method]
        row = {"method": method} | gains(network, image, label, saliency, steps=STEPS)
        row["iou_mask"] = float(iou_over_thresholds(saliency, mask).mean())
        row["pointing_game"] = pointing_game(saliency, mask)
        row["alone"] = probabilities.mean()
        row["on_object"] = region[mask].sum() / max(region.sum(), 1)
        rows.append(about | row)
    return rows, {"regions": np.stack(list(regions.values())), "alone": alone.astype(np.float32)}


def derive(results):
    """Means and differences of methods, and the case in which two differ most alone."""
    runs = with_gain(results.table("montages_runs"))
    measures = "gain", *GAINS, "iou_mask", "pointing_game", "alone"
    return {
        "montages_means": means(runs, measures, ["network", "method"]),
        "montages_pairs": pairs(runs, ("gain", "iou_mask", "pointing_game", "alone")),
        "montages_example": _example(runs[runs["method"].isin(CALLING)]),
    }


def _example(runs):
    """The case in which two methods' regions alone differ most in probability.

    It is one of those in which the network is more sure of the class than not, if any.
    """
    sure = runs["probability"] > 0.5
    runs = runs[sure] if sure.any() else runs
    cases = runs.groupby("key")["alone"]
    key = (cases.max() - cases.min()).idxmax()
    rows = runs[runs["key"] == key].set_index("method")
    about = {name: rows[name].iloc[0] for name in ("network", "class", "picture", "hosts", "key")}
    return pd.DataFrame([about | {"good": rows["alone"].idxmax(), "bad": rows["alone"].idxmin()}])
