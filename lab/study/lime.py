"""The study of LIME: how good explanations are, and what each parameter changes."""

import itertools
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from lab.measure.agreement import stability
from lab.measure.curves import CURVES_OF_GAINS, PORTIONS
from lab.measure.effects import contrasts, effects, savings
from lab.measure.lime import AGREEMENT, FRESH, common_samples, measure_shown, measure_weights
from lab.measure.paired import GAINS, means
from lab.measure.statistics import ranking_agreement
from lab.methods.lime import lime_explanations
from lab.methods.masked_model import MaskedModel, superpixels
from lab.methods.setting import Setting
from lab.model_calls import predict
from lab.study.settings import (
    COLORS,
    COMBINED,
    LAB,
    LAB_PARAMETERS,
    NETWORKS,
    RECOMMENDED,
    around,
    grid,
    lab_settings,
    local,
    sampling_settings,
)
from lab.study.store import Task, version

TOP = 3  # leading classes in the table of predictions
SAMPLES = 250, 500, 1000, 2000, 3000, 5000, 7000  # in the study of stability
COUNTS = 250, 1000, 2000, 7000  # samples as one of the parameters
VARIED, SAMPLED = ("parameter", "value"), ("sampling", "num_samples")  # columns of a setting
PARAMETERS = *LAB_PARAMETERS, "kernel_width", "superpixel_size"  # whose effects are told
MEASURED_ALIKE = "gain", "r_common", "rank_correlation", "jaccard"  # of all settings
MEAN = "mean of the settings"
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
    about, segments = {"label": label, "predicted": predicted}, superpixels(image)
    models = (MaskedModel(network, image, segments, color, [label]) for color in COLORS.values())
    rows = []
    for baseline, scores in zip(COLORS, predict(network, np.stack([m.hidden for m in models]))):
        row = about | {"probability": probability, "baseline": baseline, "hidden": scores[label]}
        rows.append(row | {"hidden_class": network.class_name(scores.argmax())})
    return rows, {}


@version(2)
def settings_task(network, image, mask, parts, seeds, fresh, arrays):
    """Explain an image under several settings and measure the explanations.

    Each part has "columns" of its row, and the parameters of its
    `lab.methods.setting.Setting` but for the seed. Settings with the same samples share
    model calls. The explanation with seed 0 is measured; "jaccard" and
    "rank_correlation" are the mean agreement of every two of `seeds`, NaN for one. With
    `arrays`, its weights and chosen superpixels are kept.
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
        first = explained[0]
        row = part["columns"] | {"label": first.label, "superpixels": first.masked_model.n}
        row |= measure(first)
        for column, (array, function) in AGREEMENT.items():
            row[column] = float(stability(function, [getattr(e, array) for e in explained]).mean())
        saved = {"weights": first.weights.astype(np.float32)[None], "chosen": first.chosen[None]}
        row = {key: _rounded(value) for key, value in row.items()}
        results[name] = [row], saved if arrays else {}
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
    arguments = {"seeds": seeds, "fresh": fresh, "arrays": not plan.many}
    calls = model_calls(settings.values(), fresh, seeds)
    return Task(table, settings_task, network, image, arguments, calls, parts)


def model_calls(settings, fresh, seeds):
    """About how many model calls settings take; equal samples and maps cost once."""
    longest, maps = {}, set()
    for s in settings:
        samples = s.hide_color, s.superpixel_size, s.sampling
        longest[samples] = max(s.num_samples, longest.get(samples, 0))
        maps.add((samples, s.num_samples, min(s.num_lime_features, 100), s.kernel_width))
    measuring = fresh * (len(longest) + 3) + CURVES_OF_GAINS * (PORTIONS + 1) * len(maps)
    return sum(longest.values()) * seeds + measuring


def tasks(plan):
    """All that the study of LIME measures, from a `lab.study.profile.Plan`."""
    sizes = SAMPLES if plan.seeds > 1 else SAMPLES[:5]
    sizes, counts = ([plan.samples(n) for n in full] for full in (sizes, COUNTS))
    fresh, base = plan.samples(FRESH), Setting(num_samples=plan.samples(2000))
    # A first study takes minutes.
    few = base if plan.seeds > 1 else Setting(num_samples=plan.samples(1000))
    lab = lab_settings(plan)
    varied = around(base, counts) | (local(base) if plan.many else {})
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


def settings_compared(results):
    """Every two settings, the recommended one and the mean of the lab's among them."""
    runs = results.table("lime_runs")
    chosen = _whole_settings(results, COMBINED)
    chosen = chosen[chosen["setting"] == RECOMMENDED]
    table = pd.concat([chosen.assign(setting="recommended"), runs, runs.assign(setting=MEAN)])
    return contrasts(table, "setting", _pairs(table["setting"]), MEASURED_ALIKE)


def colors(results):
    """Every two baselines compared, also by insertion minus deletion with each fill."""
    runs = results.table("lime_parameters").query("parameter == 'hide_color'")
    return contrasts(runs, "value", _pairs(runs["value"]), (*MEASURED_ALIKE, *GAINS))


def _pairs(names):
    return list(itertools.permutations(names.unique(), 2))


def left(results):
    """The class's probability with everything hidden, and whether it is still first."""
    rows = results.table("lime_hidden")
    rows = rows.assign(still=rows["hidden_class"] == rows["predicted"])
    return means(rows, ["hidden", "still"], ["network", "class", "baseline"])


DERIVED = {
    "lime": {
        "lime_runs": lambda results: _whole_settings(results, LAB),
        "lime_effects": lambda results: effects(
            results.table("lime_parameters").query("parameter in @PARAMETERS")
        ),
        "lime_contrasts": settings_compared,
        "lime_colors": colors,
        "lime_left": left,
        "lime_settings": settings_table,
        "lime_agreement": lambda results: ranking_agreement(results.table("lime_runs")),
        "lime_savings": lambda results: savings(results.table("lime_stability")),
    }
}
"""The tables that follow from what was measured, functions of `Results`."""
