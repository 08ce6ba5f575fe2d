"""The study of LIME: how good explanations are, and what each parameter changes."""

import itertools
from dataclasses import asdict

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
from lab.methods.masked_model import superpixels
from lab.methods.setting import Setting
from lab.study.settings import (
    COMBINED,
    LAB,
    LAB_PARAMETERS,
    NETWORKS,
    around,
    grid,
    lab_settings,
    sampling_settings,
)
from lab.study.store import Task, version

TOP = 3  # leading classes in the table of predictions
SAMPLES = 250, 500, 1000, 2000, 3000, 5000, 7000  # in the study of stability
COUNTS = 250, 1000, 2000, 7000  # samples as one of the parameters
VARIED, SAMPLED = ("parameter", "value"), ("sampling", "num_samples")  # columns of a setting
IMAGE = ["network", "class", "image"]


@version(1)
def predictions_task(network, image, mask):
    """The network's leading classes of an image."""
    return [
        {"rank": rank, "label": label, "predicted": name, "probability": probability}
        for rank, (label, name, probability) in enumerate(network.top(image, TOP), start=1)
    ], {}


@version(1)
def superpixels_task(network, image, mask):
    """The superpixels of an image in the network's input size."""
    segments = superpixels(image).astype(np.uint16)
    return [{"superpixels": int(segments.max()) + 1}], {"segments": segments[None]}


@version(1)
def settings_task(network, image, mask, parts, seed, fresh, steps=STEPS):
    """Explain an image under several settings and measure the explanations.

    Each part has "columns" of its row, and the parameters of its
    `lab.methods.setting.Setting` but for the seed. Settings with the same samples share
    model calls.
    """
    settings = {name: part["setting"] | {"seed": seed} for name, part in parts.items()}
    measured = {}
    for name, explanation in _explanations(network, image, settings).items():
        row = parts[name]["columns"] | {"seed": seed, "label": explanation.label}
        row |= {"superpixels": explanation.masked_model.n}
        row |= measure_lime(network, explanation, mask, fresh, steps)
        weights = explanation.weights.astype(np.float32)
        measured[name] = [row], {"weights": weights[None], "chosen": explanation.chosen[None]}
    return measured


@version(1)
def no_effect_task(network, image, mask, base, changes):
    """How an explanation changes with parameters that should change nothing."""
    settings = {"": base} | {str(change): base | dict([change]) for change in changes}
    before, *explanations = _explanations(network, image, settings).values()
    rows = []
    for (parameter, value), after in zip(changes, explanations):
        weights = np.abs(after.weights - before.weights).max()
        pixels = (after.rendering != before.rendering).any(axis=-1).mean()
        row = {"parameter": parameter, "value": value, "weight_change": float(weights)}
        rows.append(row | {"pixels_changed": float(pixels)})
    return rows, {}


@version(1)
def perturbed_task(network, image, mask, base, count):
    """Perturbed samples with the highest, a middling and the lowest probability."""
    [explanation] = _explanations(network, image, {"": base}).values()
    label, probability = explanation.label, explanation.probability
    # The first sample is the whole image.
    ordered = np.argsort(-probability[1:count], kind="stable") + 1
    selected = ordered[[0, len(ordered) // 10, -1]]
    about = {"label": label, "predicted": network.class_name(label)}
    rows = [about | {"probability": float(probability[sample])} for sample in selected]
    return rows, {"coalitions": explanation.coalitions[selected].astype(bool)}


def _explanations(network, image, settings):
    settings = {name: Setting(**parameters) for name, parameters in settings.items()}
    return lime_explanations(network, image, settings)


def explained(table, network, image, columns, settings, fresh, steps=STEPS, seed=0):
    """A task of `settings_task`: settings are named by the values of their columns."""
    parts = {
        ", ".join(map(str, values)): {"columns": dict(zip(columns, values)), "setting": own}
        for values, setting in settings.items()
        for own in [{name: value for name, value in asdict(setting).items() if name != "seed"}]
    }
    calls = model_calls(settings.values(), fresh, steps)
    arguments = {"seed": seed, "fresh": fresh, "steps": steps}
    return Task(table, settings_task, network, image, arguments, calls, parts)


def model_calls(settings, fresh, steps=STEPS):
    """About how many model calls settings take; equal samples and maps cost once."""
    longest, maps = {}, set()
    for s in settings:
        samples = s.hide_color, s.superpixel_size, s.sampling
        longest[samples] = max(s.num_samples, longest.get(samples, 0))
        maps.add((samples, s.num_samples, s.num_lime_features, s.kernel_width))
    return sum(longest.values()) + fresh * len(longest) + 2 * (steps + 1) * len(maps)


def tasks(plan):
    """All that the study of LIME measures, from a `lab.study.profile.Plan`."""
    sizes = SAMPLES if plan.seeds > 1 else SAMPLES[:5]
    sizes, counts = ([plan.samples(n) for n in full] for full in (sizes, COUNTS))
    fresh, base = plan.samples(FRESH), Setting(num_samples=plan.samples(2000))
    # A first study takes minutes.
    steps, few = (STEPS, base) if plan.seeds > 1 else (10, Setting(num_samples=plan.samples(1000)))
    lab, varied = lab_settings(plan.profile), around(base, counts)
    default, settings = lab["default"], {(LAB, name): setting for name, setting in lab.items()}
    sampled = sampling_settings(sizes, default)

    listed, network = [], NETWORKS[0]
    for where in itertools.product(NETWORKS, plan.every):
        listed.append(Task("predictions", predictions_task, *where, {}, 1))
        listed.append(Task("lime_superpixels", superpixels_task, *where, {}, 1))
        for seed in range(plan.seeds):
            # Together, since they share half of their samples.
            together = VARIED, settings | varied
            listed.append(explained("lime_parameters", *where, *together, fresh, steps, seed))
    for image in plan.some:
        listed.append(explained("lime_grid", network, image, VARIED, grid(few), fresh, steps))
        for seed in range(plan.repeats):
            where = "lime_stability", network, image
            listed.append(explained(*where, SAMPLED, sampled, fresh, steps, seed))
    changes = [("num_lime_features", n) for n in (100, 500, 1000, 2000)]
    changes += [("top_labels", n) for n in (2, 3)]
    for image in plan.some[:1]:
        arguments = {"base": asdict(default), "changes": changes}
        calls = default.num_samples
        listed.append(Task("lime_no_effect", no_effect_task, network, image, arguments, calls))
        arguments = {"base": asdict(base), "count": plan.samples(200)}
        calls = base.num_samples
        listed.append(Task("lime_perturbed", perturbed_task, network, image, arguments, calls))
    return listed


def with_stability(results, table, columns):
    """A table of runs with "jaccard" and "rank_correlation" of a seed with the others.

    The columns name a setting. NaN where there is one seed.
    """
    rows = results.table(table)
    for column, (array, measure) in AGREEMENT.items():
        values = [
            results.array(table, row.key, array)[row.place] for row in rows.itertuples(index=False)
        ]
        agreement = np.full(len(rows), np.nan)
        for places in rows.groupby([*IMAGE, *columns], sort=False).indices.values():
            agreement[places] = stability(measure, [values[place] for place in places])
        rows[column] = agreement
    return rows


def _whole_settings(results, parameter):
    """The runs of whole settings, which stand among the parameters under one name."""
    runs = results.table("lime_varied").query("parameter == @parameter")
    return runs.drop(columns="parameter").rename(columns={"value": "setting"})


def settings_table(results):
    """The parameters of the lab's settings with which "lime_runs" was measured."""
    rows = []
    for run in results.table("lime_runs").drop_duplicates("setting").itertuples():
        measured = Setting(**results.arguments("lime_parameters", run.key)["setting"])
        values = {name: str(getattr(measured, name)) for name in LAB_PARAMETERS}
        rows.append({"setting": run.setting} | values)
    return pd.DataFrame(rows)


def _varying(runs):
    return [name for name in MEASUREMENTS if name in runs and name != "model_calls"]


DERIVED = {
    "lime": {
        "lime_varied": lambda results: with_stability(results, "lime_parameters", VARIED),
        "lime_runs": lambda results: _whole_settings(results, LAB),
        "lime_sampled": lambda results: with_stability(results, "lime_stability", SAMPLED),
        "lime_effects": lambda results: effects(
            results.table("lime_varied").query("parameter in @LAB_PARAMETERS")
        ),
        "lime_recommended": lambda results: recommend(
            _whole_settings(results, COMBINED), results.table("lime_runs")
        ),
        "lime_settings": settings_table,
        "lime_agreement": lambda results: ranking_agreement(results.table("lime_runs")),
        "lime_variance": lambda results: grouped(
            variance_shares(results.table("lime_runs"), _varying(results.table("lime_runs")))
        ),
        "lime_distances": lambda results: distances(results.table("lime_runs"), CHOSEN_BY),
        "lime_savings": lambda results: savings(results.table("lime_sampled")),
    }
}
"""The tables that follow from what was measured, functions of `Results`."""
