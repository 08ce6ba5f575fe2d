"""Quality of explanations by model calls: `rise.py`, other methods, and Xplique's.

    python benchmarks/quality.py [--long]

Each method explains the first image of objects of the measured half
of `data/evaluation` with at most 50 to 1,000 model calls. Quality is insertion minus
deletion ("gain"), the mean over three baselines, with curves of 20 portions instead of
the study's 50, which takes less than half of the calls.

Xplique's methods are used as their documentation shows, with our model as a function.
Options not set here have Xplique's defaults, such as a black baseline; the others are
the largest that the budget allows. Model calls are counted, and the figure shows how
many were made. LIME and KernelSHAP start at a budget that suffices for the superpixels
of every image.

The short form measures SqueezeNet 1.1 with 6 objects and one seed; the long form two
networks with all 19 objects and three seeds. Both write
`benchmarks/results/quality.csv` (a row for each explanation), `quality_means.csv` and
`quality.png`, the long form with `_long` in the names, and print the table of
`docs/benchmarks.md`. Intervals are for 95%, over objects. Predictions are cached, so
that a benchmark that was interrupted continues.
"""
# ruff: noqa: E402

import argparse
import functools
import itertools
import math
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.record import RESULTS, record
from lab.images import load_image
from lab.measure.curves import gains
from lab.measure.intervals import mean_interval
from lab.methods import registry
from lab.methods.occlusion import WINDOW
from lab.model_calls import BATCH, predict
from lab.networks import load
from lab.networks.classes import class_index
from lab.show.style import HEAD, NOTE, new_figure, styled
from lab.study.comparison import object_of, objects

SHORT = ("squeezenet",), 6, 1  # networks, objects, seeds
LONG = ("squeezenet", "efficientnet_lite0"), 19, 3
BUDGETS = 50, 100, 250, 500, 1000
PORTIONS = 20  # of the pixels, in a curve
# Designs, a power of two, and cells along a side, for each budget.
SOBOL = {50: (4, 3), 100: (8, 3), 250: (8, 5), 500: (8, 7), 1000: (16, 7)}


def with_lab(key, model, image, budget, seed):
    """A map by a method of the lab."""
    return registry.explain(key, model, image, 0, budget, seed)


@functools.cache
def xplique():
    """TensorFlow, and Xplique's classes by name; the lab's methods need neither."""
    from lab.networks.tensorflow_setup import tf  # isort: skip  # before Xplique imports it
    from xplique.attributions import HsicAttributionMethod, Occlusion, Rise, SobolAttributionMethod

    # Traced once, these two would use the masks of the first seed for all others.
    Rise._get_masks = staticmethod(Rise._get_masks.python_function)
    Rise._apply_masks = staticmethod(Rise._apply_masks.python_function)
    tf.get_logger().setLevel("ERROR")  # else warnings of what Xplique traces again
    classes = {"Rise": Rise, "Occlusion": Occlusion}
    return tf, classes | {"Sobol": SobolAttributionMethod, "HSIC": HsicAttributionMethod}


def with_xplique(name, model, image, budget, seed):
    """A map by a method of Xplique."""
    tf, classes = xplique()
    tf.random.set_seed(seed)
    explainer = classes[name](model, batch_size=BATCH, **OPTIONS[name](budget, len(image)))
    return explainer.explain(image[None].astype(np.float32), np.ones((1, 1)))[0, ..., 0].numpy()


def patches(budget, side):
    """Patches as large as the lab's; one call is for the image itself."""
    size = round(WINDOW * side)
    stride = math.ceil((side - size + 1) / math.isqrt(budget - 1))
    return {"patch_size": size, "patch_stride": stride}


def designs(budget, _):
    """Of Sobol's method, which takes ``nb_design * (grid_size**2 + 2)`` calls."""
    return dict(zip(("nb_design", "grid_size"), SOBOL[budget]))


OPTIONS = {
    "Rise": lambda budget, _: {"nb_samples": budget},
    "Occlusion": patches,
    "Sobol": designs,
    # Eight cells at once: the same numbers in less memory.
    "HSIC": lambda budget, _: {"nb_design": budget, "estimator_batch_size": 8},
}
"""Options of Xplique's methods, from the budget and the image's side."""


class Method(NamedTuple):
    """How a map is made, the least budget, and how the line looks."""

    draw: Callable
    least: int
    color: str
    marker: str


LAB = {
    "nested": (50, "#D55E00", "o"),
    "rise": (50, "#0072B2", "o"),
    "rise_average": (50, "#56B4E9", "o"),
    "occlusion_blurred": (50, "#009E73", "s"),
    "lime_blurred": (100, "#E69F00", "D"),
    "lime": (100, "#999933", "v"),
    "shap": (500, "#CC79A7", "^"),
}
XPLIQUE = {
    "Rise": (50, "#882255", "o"),
    "Occlusion": (50, "#44AA99", "s"),
    "Sobol": (50, "#6A4C93", "P"),
    "HSIC": (50, "#777777", "X"),
}
METHODS = {
    registry.METHODS[key].title: Method(functools.partial(with_lab, key), *look)
    for key, look in LAB.items()
} | {
    f"Xplique's {name}": Method(functools.partial(with_xplique, name), *look)
    for name, look in XPLIQUE.items()
}
FIRST = registry.METHODS["nested"].title
"""The method that all others are compared with."""
BOLD = FIRST, registry.METHODS["rise"].title


def explained(method, black_box, image, label, budget, seed):
    """A method's map of an image, and its model calls, cached ones included."""
    sizes = []

    def model(images):
        sizes.append(len(images))
        return predict(black_box, images, [label])

    return METHODS[method].draw(model, image, budget, seed), sum(sizes)


network = functools.cache(load)


def measure(job):
    """Rows for one seed, image, network and method: one for each budget."""
    seed, path, name, method = job
    black_box = network(name)
    image, label = load_image(path, black_box.input_size), class_index(path.parent.name)
    rows = []
    for budget in BUDGETS:
        if budget >= METHODS[method].least:
            saliency, calls = explained(method, black_box, image, label, budget, seed)
            by_baseline = gains(black_box, image, label, saliency, steps=PORTIONS)
            rows.append(
                {
                    "network": black_box.name,
                    "picture": path.stem,
                    "object": object_of(path),
                    "method": method,
                    "seed": seed,
                    "budget": budget,
                    "calls": calls,
                    **by_baseline,
                    "gain": np.mean(list(by_baseline.values())),
                }
            )
    return rows


def measured(networks, n_objects, seeds):
    """The rows of all jobs, done by a process of one thread on each core."""
    # Seeds vary slowest: what they have in common is then predicted once and cached.
    first = [paths[0] for paths in objects().values()][:n_objects]
    jobs = list(itertools.product(range(seeds), first, networks, METHODS))
    threads = "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"
    os.environ |= dict.fromkeys(threads, "1")  # inherited by the processes
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as processes:
        rows = tqdm(processes.map(measure, jobs), total=len(jobs), unit="method", mininterval=5)
        return pd.DataFrame(itertools.chain.from_iterable(rows))


def means(table):
    """Mean gains, and differences from the first method, with intervals over objects.

    A difference is the mean over the images that the method explained.
    """
    rows = []
    table = table.set_index(["object", "seed"])
    for (name, method, budget), part in table.groupby(["network", "method", "budget"], sort=False):
        first = table.query("network == @name and method == @FIRST and budget == @budget")
        row = {"network": name, "method": method, "budget": budget, "calls": part["calls"].mean()}
        row["objects"] = part.index.unique("object").size
        for what, values in (("gain", part["gain"]), ("difference", part["gain"] - first["gain"])):
            low, high = mean_interval(values.groupby("object").mean())
            row |= {what: values.mean(), f"{what} low": low, f"{what} high": high}
        rows.append(row)
    return pd.DataFrame(rows)


@styled
def figure(table):
    """Lines of gain by model calls from `means`, in axes for each network."""
    networks = table["network"].unique()
    title = "How good explanations are, and how many calls they take"
    drawn = new_figure(0.3 + 3.1 * len(networks), title, layout="constrained")
    several = drawn.subplots(len(networks), squeeze=False)[:, 0]
    for axes, name in zip(several, networks):
        lines = []
        for method, look in METHODS.items():
            rows = table[(table["network"] == name) & (table["method"] == method)]
            bold = {"lw": 2.6, "ms": 6, "zorder": 3}
            style = bold if method in BOLD else {"lw": 1, "ms": 3.5, "alpha": 0.8}
            style["ls"] = "--" if method.startswith("Xplique") else "-"
            style |= {"color": look.color, "marker": look.marker, "label": method}
            lines += axes.plot(rows["calls"], rows["gain"], **style)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(BUDGETS, [f"{budget:,}" for budget in BUDGETS])
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.set_title(f"{name}, {table['objects'].max()} objects", fontsize=HEAD)
        axes.set_ylabel("insertion minus deletion ↑")
        lines.sort(key=lambda line: -line.get_ydata()[-1])  # as they end, from above
        axes.legend(handles=lines, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=NOTE)
    several[-1].set_xlabel("model calls for an explanation")
    return drawn


def markdown(table):
    """The table of `docs/benchmarks.md` from `means`, of the first network."""
    table = table[table["network"] == table["network"].iloc[0]]
    budgets = [f"{budget:,}" for budget in BUDGETS]
    lines = [["method", *budgets, f"difference at {budgets[-1]}"], ["---"] * (len(budgets) + 2)]
    for method, rows in table.groupby("method", sort=False):
        gain, last = rows.set_index("budget")["gain"], rows.iloc[-1]
        low, mean, high = (f"{last[f'difference{end}']:+.3f}" for end in (" low", "", " high"))
        difference = "" if method == FIRST else f"{mean} ({low} to {high})".replace("-", "−")
        cells = [f"{gain[budget]:.3f}" if budget in gain else "" for budget in BUDGETS]
        lines.append([method, *cells, difference])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    """Measure, and write tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--long", action="store_true", help="for hours instead of minutes")
    long = parser.parse_args().long

    table = measured(*(LONG if long else SHORT))
    found, name = means(table).round(4), "quality_long" if long else "quality"
    record({f"{name}.csv": table.round(4), f"{name}_means.csv": found})
    figure(found).savefig(RESULTS / f"{name}.png", dpi=200)
    print(markdown(found))


if __name__ == "__main__":
    main()
