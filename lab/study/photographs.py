"""The study of photographs: second and third part of ``report/protocol.md``."""

import hashlib
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from lab.images import find_images
from lab.measure.agreement import rank_correlation
from lab.measure.curves import gains
from lab.measure.effects import compare, effects
from lab.measure.lime import AGREEMENT, FRESH
from lab.measure.paired import GAINS, means, pairs, with_gain
from lab.methods import registry
from lab.methods.masked_model import superpixels
from lab.methods.registry import explain, fewest_calls
from lab.methods.setting import Setting
from lab.study.evaluation import sanity_task
from lab.study.lime import BY_SETTING, COUNTS, VARIED, model_calls, settings_task
from lab.study.runner import Task, version
from lab.study.settings import COMBINED, LAB_SETTINGS, NETWORKS, around

HALF = "verdict"  # the sub-folder that is measured; parameters were chosen on the other
STEPS = 10  # portions of pixels of a curve
CURVES = 6 * (STEPS + 1)  # model calls for the curves of a map
LIKELY = 0.1  # probability of the first guess from which it is explained
CALLS = 250  # model calls of most comparisons
LIME = "lime", "lime_black", "lime_blurred"
OCCLUSION = "occlusion", "occlusion_black", "occlusion_blurred"
CONTROLS = [name for name, method in registry.METHODS.items() if method.control]
GRADIENTS = [name for name, method in registry.METHODS.items() if method.gradients]
CALLING = *LIME, "rise_average", "rise", *OCCLUSION, "nested", "owen", "soft", "combined"
METHODS = *CALLING, *CONTROLS
DRAWING = (
    *LIME,
    "rise_average",
    "rise",
    "nested",
    "soft",
    "combined",
)  # whose maps depend on the seed
FEWEST = 80  # model calls of any profile: LIME needs one for each superpixel
SHAP_FEWEST = 320  # KernelSHAP needs four
MORE_NETWORKS = "efficientnet_lite1", "efficientnet_lite2"
# Model calls, photographs, methods and networks of all that is measured with gains.
PLAN = (
    (CALLS, 150, METHODS, NETWORKS),
    (1000, 30, ("lime_blurred", "rise", "shap", "nested", "owen", "combined"), NETWORKS),
    (
        100,
        60,
        ("lime_blurred", "rise", "occlusion_blurred", "nested", "owen", "combined"),
        NETWORKS,
    ),
    (CALLS, 60, GRADIENTS, NETWORKS),
    (
        CALLS,
        20,
        ("lime", "lime_blurred", "rise", "occlusion_blurred", "nested", "owen", "centre"),
        MORE_NETWORKS,
    ),
)
SANITY, RANDOM = 3, (1, 16)  # photographs, and layers that are random there
REPEATED = 6  # photographs whose maps of two seeds are compared
LIME_PHOTOGRAPHS, LIME_SEEDS = 12, 2
SHARE, LIME_FEWEST = 4, 100  # LIME's settings have a quarter of their samples, at least 100
SETTING = "setting"  # in the place of a parameter: a whole setting


def photographs(folder):
    """The photographs of the measured half, in the order of a hash of their names.

    Raises
    ------
    ValueError
        If there is no such folder, or no image in it.
    """
    half = Path(folder) / HALF
    folders = [path for path in sorted(half.glob("*")) if path.is_dir()]
    images = find_images(half)[0].values() if folders else ()
    if not images:
        raise ValueError(
            f"no photographs in {half}: expected a folder for each class, with images in it"
        )
    return sorted(images, key=lambda path: hashlib.sha256(path.name.encode()).hexdigest())


def tasks(folder, profile):
    """All that is measured on the photographs of a folder, see `lab.study`."""
    paths, found = photographs(folder), []

    def add(table, function, n, networks, calls, **arguments):
        found.extend(
            Task(f"photographs_{table}", function, network, path, arguments, calls)
            for path in paths[: profile.objects or n]
            for network in networks
        )

    for budget, n, methods, networks in PLAN:
        budget = profile.samples(budget, SHAP_FEWEST if "shap" in methods else FEWEST)
        calls = model_calls_for_gains(methods, budget)
        add("runs", runs_task, n, networks, calls, methods=list(methods), budget=budget)
    budget = profile.samples(CALLS, FEWEST)
    methods = [method for method in CALLING if method != "rise_average"]
    calls = len(RANDOM) * len(methods) * budget
    layers = list(RANDOM)
    add(
        "sanity",
        sanity_task,
        SANITY,
        NETWORKS,
        calls,
        methods=methods,
        budget=budget,
        layers=layers,
    )
    methods, calls = list(DRAWING), 2 * len(DRAWING) * budget
    add("seeds", seeds_task, REPEATED, NETWORKS, calls, methods=methods, budget=budget)
    settings, fresh = lime_settings(profile), profile.samples(FRESH) // SHARE
    listed = [
        (dict(zip(VARIED, name), seed=seed), asdict(replace(setting, seed=seed)))
        for seed in range(LIME_SEEDS)
        for name, setting in settings.items()
    ]
    calls = LIME_SEEDS * model_calls(settings.values(), fresh, STEPS)
    add("lime", lime_task, LIME_PHOTOGRAPHS, NETWORKS, calls, settings=listed, fresh=fresh)
    return found


def model_calls_for_gains(methods, budget):
    """Number of model calls that explain an image and measure the maps' gains."""
    return sum(CURVES + budget * (method in CALLING) for method in methods)


def lime_settings(profile):
    """LIME's settings on photographs, by parameter and value, with fewer samples.

    Each of the lab's parameters varies alone. Under `SETTING` are the lab's seven
    settings, and the one that the study of LIME recommends.
    """

    def samples(full):
        return max(LIME_FEWEST, profile.samples(full) // SHARE)

    base = Setting(num_samples=samples(2000))
    alone = around(base, [samples(count) for count in COUNTS])
    settings = {name: setting for name, setting in alone.items() if name[0] != COMBINED}
    for name, setting in LAB_SETTINGS.items():
        settings[SETTING, name] = replace(setting, num_samples=samples(setting.num_samples))
    settings[SETTING, "recommended"] = replace(base, hide_color="blur", num_superpixels=5)
    return settings


def _left_out(probability, image, methods, budget):
    """Whether the first guess is unsure, or there are too many superpixels."""
    least = fewest_calls(methods, int(superpixels(image).max()) + 1)
    return probability < LIKELY or budget < least


@version(1)
def runs_task(network, image, mask, methods, budget):
    """Explain the first guess with some methods, and measure the maps' gains."""
    label, name, probability = network.top(image, 1)[0]
    about = {"calls": budget, "label": label, "predicted": name, "probability": probability}
    if _left_out(probability, image, methods, budget):
        return [about | {"method": ""}], {}
    rows = []
    for method in methods:
        saliency = explain(method, network, image, label, budget)
        measured = gains(network, image, label, saliency, steps=STEPS)
        rows.append(about | {"method": method} | measured)
    return rows, {}


@version(1)
def seeds_task(network, image, mask, methods, budget):
    """Rank correlation of the maps of two seeds, for the first guess."""
    label, _, probability = network.top(image, 1)[0]
    if _left_out(probability, image, methods, budget):
        return [{"calls": budget, "method": ""}], {}
    rows = []
    for method in methods:
        maps = [explain(method, network, image, label, budget, seed) for seed in (0, 1)]
        row = {"calls": budget, "method": method, "rank_correlation": rank_correlation(*maps)}
        rows.append(row)
    return rows, {}


@version(1)
def lime_task(network, image, mask, settings, fresh):
    """Measure LIME's settings, of which the second half repeats the first's seed.

    "jaccard" and "rank_correlation" are those of the two seeds.
    """
    smallest = min(parameters["num_samples"] for _, parameters in settings)
    if _left_out(network.top(image, 1)[0][2], image, LIME, smallest):
        return [{"parameter": ""}], {}
    rows, arrays = settings_task(network, image, None, settings, fresh, BY_SETTING, STEPS)
    half = len(rows) // 2
    for place, row in enumerate(rows):
        for column, (array, measure) in AGREEMENT.items():
            values = arrays[array]
            row[column] = float(measure(values[place], values[(place + half) % len(rows)]))
    return rows, {}


def derive(results):
    """Means by network, budget and method, and methods' differences, with intervals.

    Also how far LIME's parameters move its measurements, and the recommended setting's
    lead over the lab's seven.
    """
    runs = results.table("photographs_runs").dropna(subset="method")
    lime = results.table("photographs_lime").dropna(subset="parameter")
    if runs.empty or lime.empty:
        which = "photograph" if runs.empty else f"one of the {LIME_PHOTOGRAPHS} for LIME's settings"
        raise ValueError(
            f"every {which} is left out: no first guess has a probability of {LIKELY}, or all "
            "have more superpixels than model calls"
        )
    runs = with_gain(runs.assign(object=runs["picture"]))
    measures, by = ["gain", *GAINS], ["network", "calls", "method"]
    sizes = runs.groupby(by).size().rename("n").reset_index()
    differences = [
        pairs(part, measures).assign(calls=calls) for calls, part in runs.groupby("calls")
    ]
    whole = lime["parameter"] == SETTING
    named = lime[whole].rename(columns={"value": "setting"})
    chosen = named["setting"] == "recommended"
    chosen, others = named[chosen], named[~chosen]
    return {
        "photographs_means": means(runs, measures, by).merge(sizes, on=by),
        "photographs_pairs": pd.concat(differences),
        "photographs_effects": effects(lime[~whole]),
        "photographs_recommended": compare(chosen, others, others["setting"].unique()),
    }
