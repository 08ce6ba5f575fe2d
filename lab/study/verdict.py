"""The study of the verdict, as ``report/protocol.md`` lays it down: many objects, all methods, three fills."""

import hashlib
import re

import numpy as np
import pandas as pd

from lab.explain.masked_model import blurred_away
from lab.explain.methods import explain
from lab.explain.names import BASELINES, REFERENCES
from lab.measure.agreement import rank_correlation
from lab.measure.curves import gains, portions
from lab.measure.paired import GAINS, clustered_interval, judge, pairs
from lab.networks.asking import Asked
from lab.networks.classes import class_index, class_name
from lab.images import DATA, SUFFIXES, load_image, load_mask
from lab.study.evaluation import FIFTHS, measure_with_gains
from lab.study.settings import NETWORKS, counts, samples
from lab.study.task import Task, picture_digest

SET = DATA / "evaluation"
NEEDS = ("evaluation_sanity",)
"""Tables of other studies that `derive` rests on."""
CANDIDATES = (
    "lime",
    "lime_blurred",
    "rise_average",
    "rise",
    "shap",
    "occlusion",
    "occlusion_black",
    "occlusion_blurred",
)
METHODS = *CANDIDATES, *BASELINES, *REFERENCES
BUDGET = 1000  # model calls for each of the candidates
PICTURES = 2  # of each object
CURVES = 6 * 51  # model calls for the curves of a map
FEW = 100  # model calls, with which it is asked what fewer cost
FRUGAL = "lime_blurred", "rise", "occlusion_blurred", "centre"  # KernelSHAP takes more
FEWER = 10  # objects of each half on which this is asked
SMALL = 250  # model calls, with which nested occlusion is compared with the others
PAPER = 4000  # masks of RISE in its paper
RIVALS = (
    "lime",
    "lime_blurred",
    "rise",
    "rise_average",
    "occlusion",
    "occlusion_black",
    "occlusion_blurred",
)  # KernelSHAP takes more
GAIN = "gain", *GAINS
HOSTS = (
    "goose/goose_3_meadow",
    "bullfrog/frog_3_gravel",
    "airliner/airliner_1_storm",
    "grasshopper/bush_cricket_1_concrete",
)
"""Where a region is put alone: the pictures of the choosing half with the smallest objects, of different landscapes."""


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


def objects(which):
    """The objects of one half with their pictures.

    Parameters
    ----------
    which : {"verdict", "choosing"}

    Returns
    -------
    dict of str to list of pathlib.Path
        In the order of the objects' names.
    """
    found = {}
    for path in sorted(
        (path for path in SET.glob("*/*") if path.suffix in SUFFIXES), key=lambda path: path.stem
    ):
        if half(object_of(path)) == which:
            found.setdefault(object_of(path), []).append(path)
    return found


def pictures(which="verdict", of_each=slice(PICTURES)):
    """The pictures of one half, the first two of each object unless told otherwise.

    Parameters
    ----------
    which : {"verdict", "choosing"}, optional
    of_each : slice, optional
        Which of an object's pictures.

    Returns
    -------
    list of pathlib.Path
        In the order of the objects' names, as many objects as the profile has.
    """
    return [
        path
        for paths in list(objects(which).values())[: counts().objects]
        for path in paths[of_each]
    ]


def tasks(_):
    """All that the verdict rests on, under the current profile.

    Parameters
    ----------
    _ : dict
        The lab's own pictures, which the verdict leaves alone.

    Returns
    -------
    list of lab.study.task.Task
        Of "verdict_runs" the first picture of each object comes before the second of any.
    """
    budget = max(
        samples(BUDGET), 320
    )  # KernelSHAP needs four calls for each of up to 79 superpixels, LIME one and one more
    few, every = max(samples(FEW), 80), len(CANDIDATES) * budget
    small = max(samples(SMALL), 80)
    asked_of = [
        *([method, small] for method in (*RIVALS, "nested")),
        ["nested", max(samples(FEW), 40)],
        ["rise_average", samples(PAPER)],
    ]
    first = {which: pictures(which, slice(1)) for which in ("verdict", "choosing")}

    def asked(table, work, paths, calls, **arguments):
        return [
            Task(
                table,
                work,
                network,
                path,
                {"object": object_of(path), "label": class_index(path.parent.name)} | arguments,
                calls,
            )
            for path in paths
            for network in NETWORKS
        ]

    return [
        *asked(
            "verdict_runs",
            measure_set,
            sorted(pictures(), key=_number),
            every + len(METHODS) * CURVES + 60,
            methods=list(METHODS),
            budget=budget,
        ),
        *(
            task
            for path in first["verdict"]
            for task in asked(
                "verdict_alone",
                measure_alone,
                [path],
                every,
                methods=[*CANDIDATES, *BASELINES],
                budget=budget,
                hosts=_hosts(path),
            )
        ),
        *asked(
            "verdict_few",
            measure_few,
            [*first["verdict"][:FEWER], *first["choosing"][:FEWER]],
            len(FRUGAL) * (2 * few + CURVES),
            methods=list(FRUGAL),
            budget=few,
        ),
        *asked(
            "verdict_small",
            measure_small,
            pictures(of_each=slice(-1, None)),
            sum(calls + CURVES for _, calls in asked_of),
            asked=asked_of,
        ),
    ]


def _number(path):
    return int(re.search(r"_(\d)_", path.stem).group(1))


def _hosts(path):
    """Three pictures in which regions are put, with their digests, for what is finished belongs to these very files."""
    others = [name for name in HOSTS if name.split("_")[-1] != path.stem.split("_")[-1]]
    return {name: picture_digest(SET / f"{name}.jpg") for name in others[:3]}


def measure_set(network, image, mask, object, label, methods, budget):
    """Explain a picture's class with all methods and measure the explanations, as a task: no seconds, which no two runs have in common."""
    rows, _ = measure_with_gains(network, image, mask, label, methods, budget, seed=0)
    return [
        {"object": object} | {name: value for name, value in row.items() if name != "seconds"}
        for row in rows
    ], {}


def measure_alone(network, image, mask, object, label, methods, budget, hosts):
    """Is the class still seen in the most salient fifth alone, put into other pictures? As a task.

    The pictures' own objects are blurred away. The row "object" has the object itself for a region.
    """
    grounds = []
    for name in hosts:
        path = SET / f"{name}.jpg"
        grounds.append(blurred_away(load_image(path, len(image)), load_mask(path, len(image))))
    regions = {
        method: portions(explain(method, network, image, label, budget), FIFTHS) == 0
        for method in methods
    } | {"object": mask}
    asked = [
        np.where(region[..., None], image, ground)
        for region in regions.values()
        for ground in grounds
    ]
    answers = Asked(network, [label])(np.stack([image, *asked, *grounds]))[:, 0].astype(float)
    whole, alone, without = (
        answers[0],
        answers[1 : 1 + len(asked)].reshape(len(regions), -1),
        answers[1 + len(asked) :],
    )
    about = {
        "object": object,
        "label": int(label),
        "predicted": class_name(label),
        "probability": whole,
        "hosts": ",".join(hosts),
        "empty": without.mean(),
    }
    rows = [
        about
        | {
            "region": name,
            "alone": each.mean(),
            "on_object": region[mask].sum() / max(region.sum(), 1),
        }
        for (name, region), each in zip(regions.items(), alone)
    ]
    return rows, {"regions": np.stack(list(regions.values())), "alone": alone.astype(np.float32)}


def measure_few(network, image, mask, object, label, methods, budget):
    """What explanations from few calls are worth, and whether another seed finds the same, as a task."""
    rows = []
    for method in methods:
        one, other = (explain(method, network, image, label, budget, seed) for seed in (0, 1))
        about = {
            "object": object,
            "half": half(object),
            "method": method,
            "calls": budget,
            "repeats": rank_correlation(one, other),
        }
        rows.append(about | gains(network, image, label, one))
    return rows, {}


def measure_small(network, image, mask, object, label, asked):
    """What explanations are worth by methods that have a number of calls each, as a task."""
    rows = []
    for method, calls in asked:
        saliency = explain(method, network, image, label, calls)
        rows.append(
            {"object": object, "method": method, "calls": calls}
            | gains(network, image, label, saliency)
        )
    return rows, {}


def derive(results):
    """The tables that follow from what was measured.

    Parameters
    ----------
    results : lab.study.results.Results
        With the tables of `tasks` and "evaluation_sanity".

    Returns
    -------
    dict of str to pandas.DataFrame
        "verdict_pairs", "verdict", "verdict_means", "verdict_few_pairs", "verdict_calls", "verdict_example", "verdict_small_means" and "verdict_small_pairs".
    """
    runs, few, alone, checked = (
        results.table(name)
        for name in ("verdict_runs", "verdict_few", "verdict_alone", "evaluation_sanity")
    )
    alike = checked["rank_correlation"].fillna(0).abs().groupby(checked["method"]).mean()
    small = _with_mean(results.table("verdict_small"))
    compared = pairs(runs)
    return {
        "verdict_pairs": compared,
        "verdict": judge(compared, alike, CANDIDATES, BASELINES),
        "verdict_means": _means(runs, (*GAINS, "faithfulness", "iou_mask", "pointing_game")),
        "verdict_few_pairs": pd.concat(
            [pairs(part).assign(half=which) for which, part in few.groupby("half")]
        ),
        "verdict_calls": _calls(runs, few),
        "verdict_example": _example(alone),
        "verdict_small_means": _means(small, GAIN, ["network", "method", "calls"]),
        "verdict_small_pairs": pairs(
            small.assign(method=small["method"] + " " + small["calls"].astype(str)), GAIN
        ),
    }


def _calls(runs, few):
    """Mean gains with few calls and with all, on the same pictures."""
    few = few[few["half"] == "verdict"]
    both = pd.concat(
        [
            few,
            runs[runs["method"].isin(FRUGAL)].merge(few[["network", "picture"]].drop_duplicates()),
        ]
    )
    return _means(_with_mean(both), ["gain"], ["network", "method", "calls"])


def _with_mean(table):
    """With a column "gain", the mean over the three fills."""
    return table.assign(gain=table[list(GAINS)].mean(axis=1))


def _example(alone):
    """The picture and network on which the regions of two candidates alone differ most in the probability, and the two."""
    asked = alone[alone["region"].isin(CANDIDATES)]
    cases = asked.groupby("key")["alone"]
    key = (cases.max() - cases.min()).idxmax()
    rows = asked[asked["key"] == key].set_index("region")
    about = {name: rows[name].iloc[0] for name in ("network", "class", "picture", "hosts", "key")}
    return pd.DataFrame([about | {"good": rows["alone"].idxmax(), "bad": rows["alone"].idxmin()}])


def _means(table, measures, by=("network", "method")):
    """Means of measurements with their intervals over objects."""
    rows = []
    for group, part in table.groupby(list(by), sort=False):
        for measure in measures:
            known = part.dropna(subset=[measure])  # a map without any pattern has no faithfulness
            low, high = clustered_interval(known[measure], known["object"])
            rows.append(
                dict(zip(by, group))
                | {"measure": measure, "mean": known[measure].mean(), "low": low, "high": high}
            )
    return pd.DataFrame(rows)
