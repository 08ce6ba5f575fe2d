"""The study of LIME: how good explanations are, and what each parameter changes."""

import itertools
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from lab.measure.agreement import stability
from lab.measure.curves import STEPS
from lab.measure.effects import effects, recommend
from lab.measure.lime import AGREEMENT, FRESH, measure_lime
from lab.measure.measurements import MEASUREMENTS
from lab.measure.statistics import CHOSEN_BY, ranking_agreement
from lab.measure.variance import distances, grouped, savings, variance_shares
from lab.methods.lime import lime_explanations
from lab.methods.setting import Setting
from lab.networks.classes import class_name
from lab.study.runner import Task, version
from lab.study.settings import (
    COMBINED,
    LAB_PARAMETERS,
    LAB_SETTINGS,
    NETWORKS,
    around,
    grid,
    lab_settings,
    sampling_settings,
)

TOP = 3  # leading classes in the table of predictions
SIZES = 250, 500, 1000, 2000, 3000, 5000, 7000  # samples in the study of stability
COUNTS = 250, 1000, 2000, 7000  # samples as one of the parameters
BY_SETTING = ["weights", "chosen"]  # arrays with a row for each setting
LAB = "setting of the lab"  # among the parameters
VARIED, SAMPLED = ["parameter", "value"], ["sampling", "num_samples"]  # columns of a setting


@version(1)
def predictions_task(network, image, mask):
    """The network's leading classes of an image."""
    return [
        {"rank": rank, "label": label, "predicted": name, "probability": probability}
        for rank, (label, name, probability) in enumerate(network.top(image, TOP), start=1)
    ], {}


@version(1)
def settings_task(network, image, mask, settings, fresh, arrays, steps=STEPS):
    """Explain an image under several settings and measure the explanations.

    Each of `settings` has two dicts: the first columns of its row, and the parameters
    of `lab.methods.setting.Setting`. `arrays` names the arrays to save: "weights" and
    "chosen", with an entry for each setting, and "segments".
    """
    explanations = _explanations(network, image, settings)
    rows = [
        columns
        | {"label": explanation.label, "superpixels": explanation.masked_model.n}
        | measure_lime(network, explanation, mask, fresh, steps)
        for (columns, _), explanation in zip(settings, explanations)
    ]
    return rows, {name: _array(name, explanations) for name in arrays}


@version(1)
def no_effect_task(network, image, mask, base, changes):
    """How an explanation changes with parameters that should change nothing."""
    changed = [
        ({"parameter": name, "value": value}, base | {name: value}) for name, value in changes
    ]
    before, *explanations = _explanations(network, image, [({}, base), *changed])
    rows = []
    for (columns, _), after in zip(changed, explanations):
        weights = np.abs(after.weights - before.weights).max()
        pixels = (after.rendering != before.rendering).any(axis=-1).mean()
        rows.append(columns | {"weight_change": float(weights), "pixels_changed": float(pixels)})
    return rows, {}


@version(1)
def perturbed_task(network, image, mask, base, count):
    """Perturbed samples with the highest, a middling and the lowest probability."""
    [explanation] = _explanations(network, image, [({}, base)])
    label, probability = explanation.label, explanation.probability
    # The first sample is the whole image.
    ordered = np.argsort(-probability[1:count], kind="stable") + 1
    some = ordered[[0, len(ordered) // 10, -1]]
    about = {"label": label, "predicted": class_name(label)}
    rows = [about | {"probability": float(probability[sample])} for sample in some]
    coalitions = explanation.coalitions[some].astype(bool)
    return rows, {"coalitions": coalitions, "segments": _array("segments", [explanation])}


def _explanations(network, image, settings):
    numbered = dict(enumerate(Setting(**parameters) for _, parameters in settings))
    return list(lime_explanations(network, image, numbered).values())


def _array(name, explanations):
    if name == "segments":
        return explanations[0].masked_model.segments.astype(np.uint16)
    rows = [getattr(explanation, name) for explanation in explanations]
    return np.stack(rows).astype(np.float32 if name == "weights" else bool)


def model_calls(settings, fresh, steps=STEPS):
    """About how many model calls settings take; equal samples and maps cost once."""
    longest, maps = {}, set()
    for s in settings:
        samples = s.hide_color, s.superpixel_size, s.sampling
        longest[samples] = max(s.num_samples, longest.get(samples, 0))
        maps.add((samples, s.num_samples, s.num_lime_features, s.kernel_width))
    return sum(longest.values()) + fresh * len(longest) + 2 * (steps + 1) * len(maps)


def tasks(images, profile):
    """All that the study of LIME measures, see `lab.study`."""
    every = [path for paths in images.values() for path in paths]
    first = [paths[0] for paths in images.values()]  # of each kind
    some, sizes = (first, SIZES) if profile.name == "study" else (first[:1], SIZES[:5])
    sizes, counts = ([profile.samples(n) for n in full] for full in (sizes, COUNTS))
    fresh, base = profile.samples(FRESH), Setting(num_samples=profile.samples(2000))
    steps = 10 if profile.name == "quick" else STEPS
    lab, varied = lab_settings(profile), around(base, counts)
    default, runs = lab["default"], {(LAB, name): setting for name, setting in lab.items()}
    sampled = sampling_settings(sizes, default)

    def explained(table, network, image, columns, settings, seed=0, arrays=BY_SETTING):
        listed = [
            (dict(zip(columns, values), seed=seed), asdict(replace(setting, seed=seed)))
            for values, setting in settings.items()
        ]
        arguments = {"settings": listed, "fresh": fresh, "arrays": arrays, "steps": steps}
        calls = model_calls(settings.values(), fresh, steps)
        return Task(table, settings_task, network, image, arguments, calls)

    plan, network = [], NETWORKS[0]
    for where in itertools.product(NETWORKS, every):
        plan += [Task("predictions", predictions_task, *where, {}, 1)]
        for seed in range(profile.seeds):
            arrays = BY_SETTING if seed else [*BY_SETTING, "segments"]
            # Together, since they share half of their samples.
            plan += [explained("lime_parameters", *where, VARIED, runs | varied, seed, arrays)]
    for image in some:
        plan += [explained("lime_grid", network, image, VARIED, grid(base), arrays=[])]
        for seed in range(profile.stability_seeds):
            plan += [explained("lime_stability", network, image, SAMPLED, sampled, seed)]
    changes = [("num_lime_features", n) for n in (100, 500, 1000, 2000)]
    changes += [("top_labels", n) for n in (2, 3)]
    of, where = {"base": asdict(default), "changes": changes}, (network, first[0])
    plan += [Task("lime_no_effect", no_effect_task, *where, of, default.num_samples)]
    of = {"base": asdict(base), "count": profile.samples(200)}
    return [*plan, Task("lime_perturbed", perturbed_task, *where, of, base.num_samples)]


def derive(results):
    """The agreement between seeds, and the tables computed from what was measured."""
    sampled = with_stability(results, "lime_stability", SAMPLED)
    parameters = with_stability(results, "lime_parameters", VARIED)
    runs, candidates = (
        parameters[parameters["parameter"] == kind]
        .drop(columns="parameter")
        .rename(columns={"value": "setting"})
        for kind in (LAB, COMBINED)
    )
    varying = [name for name in MEASUREMENTS if name in runs and name != "model_calls"]
    return {
        "lime_runs": runs,
        "lime_stability": sampled,
        "lime_parameters": parameters,
        "lime_effects": effects(parameters[parameters["parameter"].isin(LAB_PARAMETERS)]),
        "lime_recommended": recommend(candidates, runs),
        "lime_settings": settings_table(runs),
        "lime_agreement": ranking_agreement(runs),
        "lime_variance": grouped(variance_shares(runs, varying)),
        "lime_distances": distances(runs, CHOSEN_BY),
        "lime_savings": savings(sampled),
    }


def with_stability(results, table, by):
    """A table of runs with "jaccard" and "rank_correlation" of a seed with the others.

    The columns `by` name a setting. NaN where there is one seed.
    """
    rows = results.table(table).drop(columns=list(AGREEMENT), errors="ignore")
    for column, (array, measure) in AGREEMENT.items():
        values = [
            results.array(table, row.key, array)[row.place] for row in rows.itertuples(index=False)
        ]
        agreement = np.full(len(rows), np.nan)
        for places in rows.groupby(["network", "class", "picture", *by]).indices.values():
            agreement[places] = stability(measure, [values[place] for place in places])
        rows.insert(rows.columns.get_loc("key"), column, agreement)
    return rows


def settings_table(runs):
    """The parameters of the seven settings as they were measured in "lime_runs"."""
    num_samples = runs.groupby("setting")["model_calls"].first()
    return pd.DataFrame(
        {"setting": name}
        | {parameter: str(getattr(setting, parameter)) for parameter in LAB_PARAMETERS}
        | {"num_samples": str(num_samples[name])}
        for name, setting in LAB_SETTINGS.items()
    )
