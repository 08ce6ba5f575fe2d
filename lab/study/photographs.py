"""The study of photographs: the second part of ``report/protocol.md``."""

import hashlib
from pathlib import Path

import pandas as pd

from lab.explain.methods import explain
from lab.explain.names import BASELINES, OCCLUSIONS
from lab.images import image_files
from lab.measure.curves import gains
from lab.measure.paired import GAINS, means, pairs, with_gain
from lab.runner import Task, version
from lab.study.evaluation import sanity_task
from lab.study.settings import NETWORKS

HALF = "verdict"  # the sub-folder that is measured; parameters were chosen on the other
STEPS = 10  # portions of pixels of a curve
CURVES = 6 * (STEPS + 1)  # model calls for the curves of a map
LIKELY = 0.1  # probability of the first guess from which it is explained
LIME = "lime", "lime_black", "lime_blurred"
CALLING = *LIME, "rise_average", "rise", *OCCLUSIONS, "nested", "owen", "soft", "combined"
METHODS = *CALLING, *BASELINES
FEWEST = 80  # model calls of any profile: LIME needs one for each superpixel
# Model calls, photographs and methods of all that is measured, the foremost first.
PLAN = (
    (250, 107, METHODS),
    (100, 40, ("lime_blurred", "rise", "occlusion_blurred", "nested", "owen", "combined")),
)
SANITY, RANDOM = 3, (1, 16)  # photographs, and layers that are random there


def photographs(folder):
    """The photographs of the measured half, in the order of a hash of their names.

    Raises
    ------
    ValueError
        If there is no such folder, or no image in it.
    """
    half = Path(folder) / HALF
    folders = [path for path in sorted(half.glob("*")) if path.is_dir()]
    images = [path for folder in folders for path in image_files(folder)[0]]
    if not images:
        raise ValueError(
            f"no photographs in {half}: expected a folder for each class, with images in it"
        )
    return sorted(images, key=lambda path: hashlib.sha256(path.name.encode()).hexdigest())


def tasks(folder, profile):
    """Gains of all methods on the photographs of a folder, see `lab.study`."""
    paths = photographs(folder)
    found = []
    for budget, n, methods in PLAN:
        budget = profile.samples(budget, FEWEST)
        calls = sum(CURVES + budget * (method in CALLING) for method in methods)
        arguments = {"methods": list(methods), "budget": budget}
        for path in paths[: profile.objects or n]:
            found += [
                Task("photographs_runs", runs_task, network, path, arguments, calls)
                for network in NETWORKS
            ]
    methods, budget = [m for m in CALLING if m != "rise_average"], profile.samples(250, FEWEST)
    arguments = {"methods": methods, "budget": budget, "layers": list(RANDOM)}
    calls = len(RANDOM) * len(methods) * budget
    for path in paths[: profile.objects or SANITY]:
        found += [
            Task("photographs_sanity", sanity_task, network, path, arguments, calls)
            for network in NETWORKS
        ]
    return found


@version(1)
def runs_task(network, image, mask, methods, budget):
    """Explain the first guess with some methods, and measure the maps' gains."""
    label, name, probability = network.top(image, 1)[0]
    about = {"calls": budget, "label": label, "predicted": name, "probability": probability}
    if probability < LIKELY:
        return [about | {"method": ""}], {}
    rows = []
    for method in methods:
        saliency = explain(method, network, image, label, budget)
        measured = gains(network, image, label, saliency, steps=STEPS)
        rows.append(about | {"method": method} | measured)
    return rows, {}


def derive(results):
    """Means by network, budget and method, and methods' differences, with intervals."""
    runs = results.table("photographs_runs")
    runs = with_gain(runs.dropna(subset="method").assign(object=runs["picture"]))
    measures, by = ["gain", *GAINS], ["network", "calls", "method"]
    sizes = runs.groupby(by).size().rename("n").reset_index()
    differences = [
        pairs(part, measures).assign(calls=calls) for calls, part in runs.groupby("calls")
    ]
    return {
        "photographs_means": means(runs, measures, by).merge(sizes, on=by),
        "photographs_pairs": pd.concat(differences),
    }
