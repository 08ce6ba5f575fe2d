"""The study of LIME: how good explanations are, and what each parameter changes."""

import itertools
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from lab.measure.agreement import stability
from lab.measure.curves import CURVES_OF_GAINS, PORTIONS
from lab.measure.effects import effects, recommend
from lab.measure.lime import AGREEMENT, FRESH, common_samples, measure_shown, measure_weights
from lab.measure.measurements import MEASUREMENTS
from lab.measure.statistics import CHOSEN_BY, ranking_agreement
from lab.measure.variance import distances, grouped, savings, variance_shares
from lab.methods.lime import lime_explanations
from lab.methods.masked_model import MaskedModel, superpixels
from lab.methods.setting import Setting
from lab.study.settings import (
    COLORS,
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
PARAMETERS = *LAB_PARAMETERS, "kernel_width", "superpixel_size"  # whose effects are told
SHOWN = dict.fromkeys(("positive_only", "negative_only"), False) | {"hide_rest": True}
SHOWN |= {"num_superpixels": 1, "top_labels": 1, "num_lime_features": 1}
"""Parameters of which the measurements of weights do not depend, given the weights."""


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
def hidden_task(network, image, mask):
    """The probability of the explained class with everything hidden, by baseline.

    "hidden_class" is what the network then sees.
    """
    label, predicted, probability = network.top(image, 1)[0]
    about, rows = {"label": label, "predicted": predicted, "probability": probability}, []
    for baseline, color in COLORS.items():
        masked_model = MaskedModel(network, image, superpixels(image), color, [label])
        [left] = masked_model.value(np.zeros((1, masked_model.n), int))
        _, seen, _ = network.top(masked_model.hidden, 1)[0]
        rows.append(about | {"baseline": baseline, "hidden": left, "hidden_class": seen})
    return rows, {}


@version(2)
def settings_task(network, image, mask, parts, seeds, measured_seeds, fresh, arrays):
    """Explain an image under several settings and measure the explanations.

    Each part has "columns" of its rows, one for each measured seed, and the parameters
    of its `lab.methods.setting.Setting` but for the seed. Settings with the same
    samples share model calls. "jaccard" and "rank_correlation" are the mean agreement
    with the other seeds, NaN where there is one.

    Parameters
    ----------
    seeds, measured_seeds : int
        Seeds that are explained, and the first ones of these, which are measured.
    arrays : bool
        Whether the weights and the chosen superpixels are kept.
    """
    label = network.top(image, 1)[0][0]
    common, known = common_samples(network, image, label, fresh), {}

    def measure(explanation):
        """As `measure_lime`, with equal weights measured once."""
        key = replace(explanation.setting, **SHOWN), explanation.weights.tobytes()
        if key not in known:
            known[key] = measure_weights(network, explanation, common, fresh)
        return known[key] | measure_shown(explanation, mask)

    runs = []
    for seed in range(seeds):
        settings = {name: part["setting"] | {"seed": seed} for name, part in parts.items()}
        runs.append(_explanations(network, image, settings))
    results = {}
    for name, part in parts.items():
        explained = [run[name] for run in runs]
        agreement = {
            column: stability(function, [getattr(one, array) for one in explained])
            for column, (array, function) in AGREEMENT.items()
        }
        rows = []
        for seed, explanation in enumerate(explained[:measured_seeds]):
            row = part["columns"] | {"seed": seed, "label": explanation.label}
            row |= {"superpixels": explanation.masked_model.n} | measure(explanation)
            row |= {column: float(values[seed]) for column, values in agreement.items()}
            rows.append({key: _rounded(value) for key, value in row.items()})
        kept = explained[:measured_seeds] if arrays else []
        saved = {
            "weights": np.array([one.weights for one in kept], np.float32),
            "chosen": np.array([one.chosen for one in kept]),
        }
        results[name] = rows, saved if arrays else {}
    return results


def _rounded(value):
    """A number as it is stored: no measurement is known better."""
    return round(value, 6) if isinstance(value, float) else value


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


def explained(table, network, image, columns, settings, fresh, plan, seeds=1):
    """A task of `settings_task`: settings are named by the values of their columns."""
    parts = {
        ", ".join(map(str, values)): {"columns": dict(zip(columns, values)), "setting": own}
        for values, setting in settings.items()
        for own in [{name: value for name, value in asdict(setting).items() if name != "seed"}]
    }
    arguments = {"seeds": seeds, "measured_seeds": min(seeds, plan.measured_seeds)}
    calls = model_calls(settings.values(), fresh, *arguments.values())
    arguments |= {"fresh": fresh, "arrays": not plan.many}
    return Task(table, settings_task, network, image, arguments, calls, parts)


def model_calls(settings, fresh, seeds, measured_seeds):
    """About how many model calls settings take; equal samples and maps cost once."""
    longest, maps = {}, set()
    for s in settings:
        samples = s.hide_color, s.superpixel_size, s.sampling
        longest[samples] = max(s.num_samples, longest.get(samples, 0))
        maps.add((samples, s.num_samples, min(s.num_lime_features, 100), s.kernel_width))
    measuring = fresh * len(longest) + CURVES_OF_GAINS * (PORTIONS + 1) * len(maps)
    return sum(longest.values()) * seeds + measuring * measured_seeds + 3 * fresh


def tasks(plan):
    """All that the study of LIME measures, from a `lab.study.profile.Plan`."""
    sizes = SAMPLES if plan.seeds > 1 else SAMPLES[:5]
    sizes, counts = ([plan.samples(n) for n in full] for full in (sizes, COUNTS))
    fresh, base = plan.samples(FRESH), Setting(num_samples=plan.samples(2000))
    # A first study takes minutes.
    few = base if plan.seeds > 1 else Setting(num_samples=plan.samples(1000))
    lab = lab_settings(plan)
    # Other superpixels have samples of their own: on the lab's images a grid has them.
    varied = around(base, counts, superpixel_sizes=(4, 8) if plan.many else ())
    default, settings = lab["default"], {(LAB, name): setting for name, setting in lab.items()}
    sampled = sampling_settings(sizes, default)

    listed, network = [], NETWORKS[0]
    for where in itertools.product(NETWORKS, plan.every):
        listed.append(Task("predictions", predictions_task, *where, {}, 1))
        if not plan.many:  # nothing is drawn
            listed.append(Task("lime_superpixels", superpixels_task, *where, {}, 1))
        listed.append(Task("lime_hidden", hidden_task, *where, {}, len(COLORS)))
        # Together, since they share half of their samples.
        together = VARIED, settings | varied
        listed.append(explained("lime_parameters", *where, *together, fresh, plan, plan.seeds))
    for image in plan.some:
        where = network, image
        listed.append(explained("lime_grid", *where, VARIED, grid(few), fresh, plan))
        more = sampled, fresh, plan, plan.repeats
        listed.append(explained("lime_stability", *where, SAMPLED, *more))
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


def _whole_settings(results, parameter):
    """The runs of whole settings, which stand among the parameters under one name."""
    runs = results.table("lime_parameters").query("parameter == @parameter")
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
        "lime_runs": lambda results: _whole_settings(results, LAB),
        "lime_effects": lambda results: effects(
            results.table("lime_parameters").query("parameter in @PARAMETERS")
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
        "lime_savings": lambda results: savings(results.table("lime_stability")),
    }
}
"""The tables that follow from what was measured, functions of `Results`."""
