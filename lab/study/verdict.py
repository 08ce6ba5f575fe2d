"""The study of the verdict, as ``report/protocol.md`` lays it down: many objects, all methods, three fills."""

import hashlib
import re

from lab.explain.names import BASELINES, REFERENCES
from lab.measure.paired import judge, pairs
from lab.networks.classes import class_index
from lab.pictures import DATA, SUFFIXES
from lab.study.evaluation import measure_with_gains
from lab.study.settings import NETWORKS, counts, samples
from lab.study.task import Task

SET = DATA / "evaluation"
CANDIDATES = "lime", "lime_blurred", "rise_average", "rise", "shap", "occlusion", "occlusion_black", "occlusion_blurred"
METHODS = *CANDIDATES, *BASELINES, *REFERENCES
BUDGET = 1000  # model calls for each of the candidates
PICTURES = 2  # of each object
CURVES = 6 * 51  # model calls for the curves of a map


def object_of(path):
    """The object in a picture of the set: the file's name up to its number.

    Parameters
    ----------
    path : pathlib.Path or str

    Returns
    -------
    str
    """
    return re.match(r"(.+?)_\d", getattr(path, "stem", path)).group(1)


def half(name):
    """Which half an object belongs to, by a hash of its name.

    Parameters
    ----------
    name : str

    Returns
    -------
    {"choosing", "verdict"}
    """
    return ("choosing", "verdict")[int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2]


def pictures(which="verdict"):
    """The pictures of one half, the first two of each object.

    Parameters
    ----------
    which : {"verdict", "choosing"}, optional

    Returns
    -------
    list of pathlib.Path
        In the order of the objects' names, as many objects as the profile has.
    """
    objects = {}
    for path in sorted((path for path in SET.glob("*/*") if path.suffix in SUFFIXES), key=lambda path: path.stem):
        if half(object_of(path)) == which:
            objects.setdefault(object_of(path), []).append(path)
    return [path for name in list(objects)[: counts().objects] for path in objects[name][:PICTURES]]


def tasks(_, which="verdict"):
    """All that the verdict rests on, under the current profile.

    Parameters
    ----------
    _ : dict
        The lab's own pictures, which the verdict leaves alone.
    which : {"verdict", "choosing"}, optional
        The half.

    Returns
    -------
    list of lab.study.task.Task
        The first picture of each object comes before the second of any.
    """
    budget = max(samples(BUDGET), 320)  # KernelSHAP needs four calls for each of up to 79 superpixels
    ordered = sorted(pictures(which), key=lambda path: int(re.search(r"_(\d)_", path.stem).group(1)))
    return [
        Task(
            "verdict_runs", measure_set, network, path,
            {"object": object_of(path), "label": class_index(path.parent.name), "methods": list(METHODS), "budget": budget},
            len(CANDIDATES) * budget + len(METHODS) * CURVES + 60,
        )
        for path in ordered for network in NETWORKS
    ]


def measure_set(network, image, mask, object, label, methods, budget):
    """Explain a picture's class with all methods and measure the explanations, as a task: no seconds, which no two runs have in common."""
    rows, _ = measure_with_gains(network, image, mask, label, methods, budget, seed=0)
    return [{"object": object} | {name: value for name, value in row.items() if name != "seconds"} for row in rows], {}


def derive(results):
    """The tables that follow from what was measured.

    Parameters
    ----------
    results : lab.study.results.Results
        With "verdict_runs" and "evaluation_sanity".

    Returns
    -------
    dict of str to pandas.DataFrame
        "verdict_pairs" and "verdict".
    """
    runs, checked = results.table("verdict_runs"), results.table("evaluation_sanity")
    alike = checked["rank_correlation"].fillna(0).abs().groupby(checked["method"]).mean()
    compared = pairs(runs)
    return {"verdict_pairs": compared, "verdict": judge(compared, alike, CANDIDATES, BASELINES)}
