"""How good explanations are against the model calls that they take: `rise.py`, other methods of the lab, and Xplique's.

    python benchmarks/quality.py [--long]

Each method explains the first pictures of objects of the verdict's half of `data/evaluation`, with up to 50 to 1,000 model calls.
An explanation's quality is its gain: the area under the insertion curve minus that under the deletion curve, the mean over three fills
for what is not there. Curves have 20 portions instead of the study's 50, for less than half of the calls.

Xplique's methods are used as its users do, with our model as a function. What is not said here is its default, such as black for what
is hidden; its parameters are the largest that the budget allows. Calls are counted, and the figure shows those that were made.
LIME and KernelSHAP are their packages' own fits, and begin where the budget is enough for the superpixels of every picture.

The short form asks SqueezeNet 1.1 about 6 objects with one seed, the long form two networks about all 19 with three seeds. Both write
`benchmarks/results/quality.csv` (a row for each explanation), `quality_means.csv` and `quality.png`, the long form with `_long` in the
names, and print the table of the README. Intervals are for 95 %, over objects. Model calls are kept in `.cache/`: an interrupted benchmark
goes on where it stopped.
"""

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

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lab.networks.loading import load  # before TensorFlow: it keeps the start quiet

import matplotlib
import pandas as pd
import tensorflow as tf
from scipy.optimize import isotonic_regression
from tqdm import tqdm

from lab.explain.methods import WINDOW, explain
from lab.explain.names import METHOD_NAMES
from lab.measure.curves import gains
from lab.measure.paired import clustered_interval
from lab.networks.asking import BATCH, Asked
from lab.networks.classes import class_index
from lab.images import load_image
from lab.show.style import HEAD, NOTE, STYLE, new
from lab.study.verdict import object_of, objects
from record import RESULTS, record

SHORT = ("squeezenet",), 6, 1  # networks, objects, seeds
LONG = ("squeezenet", "efficientnet_lite0"), 19, 3
BUDGETS = 50, 100, 250, 500, 1000
PORTIONS = 20  # of the pixels, in a curve
SOBOL = {
    50: (4, 3),
    100: (8, 3),
    250: (8, 5),
    500: (8, 7),
    1000: (16, 7),
}  # designs, a power of two, and cells a side, for each budget


def with_lab(key, model, image, budget, seed):
    return explain(key, model, image, 0, budget, seed)


@functools.cache
def xplique():
    """Xplique's classes by name. Imported here, for the lab's own methods, and their tests, need no Xplique."""
    from xplique.attributions import HsicAttributionMethod, Occlusion, Rise, SobolAttributionMethod

    # Traced once, these two would repeat the masks of the first seed for every other.
    Rise._get_masks = staticmethod(Rise._get_masks.python_function)
    Rise._apply_masks = staticmethod(Rise._apply_masks.python_function)
    tf.get_logger().setLevel("ERROR")  # it warns of what Xplique traces again
    return {
        "Rise": Rise,
        "Occlusion": Occlusion,
        "Sobol": SobolAttributionMethod,
        "HSIC": HsicAttributionMethod,
    }


def with_xplique(name, model, image, budget, seed):
    tf.random.set_seed(seed)
    explainer = xplique()[name](model, batch_size=BATCH, **OPTIONS[name](budget, len(image)))
    return explainer.explain(image[None].astype(np.float32), np.ones((1, 1)))[0, ..., 0].numpy()


def patches(budget, side):
    """Patches as large as the lab's, as close as the calls allow: one call is for the picture itself."""
    size = round(WINDOW * side)
    return {
        "patch_size": size,
        "patch_stride": math.ceil((side - size + 1) / math.isqrt(budget - 1)),
    }


def designs(budget, _):
    """For Sobol's ``designs * (cells + 2)`` calls."""
    return dict(zip(("nb_design", "grid_size"), SOBOL[budget]))


OPTIONS = {
    "Rise": lambda budget, _: {"nb_samples": budget},
    "Occlusion": patches,
    "Sobol": designs,
    "HSIC": lambda budget, _: {
        "nb_design": budget,
        "estimator_batch_size": 8,
    },  # cells at once: the same numbers in less memory
}
"""The parameters of Xplique's methods, from the budget and the picture's side."""


class Method(NamedTuple):
    """From a model of one class, a picture, a budget and a seed to a map; the least budget for any picture; and how its line looks."""

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
    METHOD_NAMES[key]: Method(functools.partial(with_lab, key), *about)
    for key, about in LAB.items()
} | {
    f"Xplique's {name}": Method(functools.partial(with_xplique, name), *about)
    for name, about in XPLIQUE.items()
}
OURS = [METHOD_NAMES[key] for key in ("nested", "rise")]
"""Those that the figure shows first; all others are compared with the first of them."""


def explained(method, black_box, image, label, budget, seed):
    """A method's map of a picture, and how many pictures the black box was asked about for it."""
    asked, sizes = Asked(black_box, [label]), []

    def model(pictures):
        sizes.append(len(pictures))  # whether the answer is known already or not
        return asked(pictures)

    return METHODS[method].draw(model, image, budget, seed), sum(sizes)


network = functools.cache(load)


def measure(job):
    """Rows for one method, network, picture and seed: one for each budget."""
    seed, path, name, method = job
    black_box = network(name)
    image, label = load_image(path, black_box.input_size), class_index(path.parent.name)
    rows = []
    for budget in BUDGETS:
        if budget >= METHODS[method].least:
            saliency, calls = explained(method, black_box, image, label, budget, seed)
            found = gains(black_box, image, label, saliency, steps=PORTIONS)
            about = {
                "network": black_box.name,
                "picture": path.stem,
                "object": object_of(path),
                "method": method,
                "seed": seed,
            }
            rows.append(
                about
                | {"budget": budget, "calls": calls}
                | found
                | {"gain": np.mean(list(found.values()))}
            )
    return rows


def measured(networks, most, seeds):
    """The rows of all jobs, done by as many processes as there are cores, of one thread each."""
    # Seeds go round slowest, so that what they have in common is never asked by two processes at once.
    first = [pictures[0] for pictures in objects("verdict").values()][:most]
    jobs = list(itertools.product(range(seeds), first, networks, METHODS))
    os.environ |= dict.fromkeys(
        ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
    )  # which they inherit
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as processes:
        found = tqdm(processes.map(measure, jobs), total=len(jobs), unit="method", mininterval=5)
        return pd.DataFrame(itertools.chain.from_iterable(found))


def means(table):
    """Mean gains, and by how much they are above that of the first of ours on the same pictures, with intervals over objects."""
    rows = []
    table = table.set_index(["object", "seed"])
    for (name, method, budget), part in table.groupby(["network", "method", "budget"], sort=False):
        ours = table[
            (table["network"] == name) & (table["method"] == OURS[0]) & (table["budget"] == budget)
        ]
        row = {"network": name, "method": method, "budget": budget, "calls": part["calls"].mean()}
        row |= {"objects": part.index.get_level_values("object").nunique()}
        for what, values in (("gain", part["gain"]), ("difference", part["gain"] - ours["gain"])):
            low, high = clustered_interval(values, values.index.get_level_values("object"))
            row |= {what: values.mean(), f"{what} low": low, f"{what} high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def figure(found):
    """Gain against calls, a row of axes for each network, with names at the ends of the lines."""
    networks = list(found["network"].unique())
    drawn = new(
        0.3 + 3.1 * len(networks),
        "How good explanations are, and how many calls they take",
        layout="constrained",
    )
    with matplotlib.rc_context(STYLE):
        several = drawn.subplots(len(networks), squeeze=False)[:, 0]
    for axes, name in zip(several, networks):
        lines = {}
        for method, look in METHODS.items():
            rows = found[(found["network"] == name) & (found["method"] == method)]
            [lines[method]] = axes.plot(
                rows["calls"],
                rows["gain"],
                color=look.color,
                marker=look.marker,
                ls="--" if method.startswith("Xplique") else "-",
                **{"lw": 2.6, "ms": 6, "zorder": 3}
                if method in OURS
                else {"lw": 1, "ms": 3.5, "alpha": 0.8},
            )
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(BUDGETS, [f"{budget:,}" for budget in BUDGETS])
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.set_title(f"{name}, {found['objects'].max()} objects", fontsize=HEAD)
        axes.set_ylabel("gain: insertion minus deletion ↑")
        name_at_the_ends(axes, lines)
    several[-1].set_xlabel("model calls for an explanation")
    return drawn


def name_at_the_ends(axes, lines):
    """Each line's name to the right of it, in the line's colour; names keep a distance, and a thin line leads to where they belong."""
    axes.figure.draw_without_rendering()  # only the layout knows how high the axes are
    names = sorted(lines, key=lambda name: lines[name].get_ydata()[-1])
    ends = np.array([lines[name].get_xydata()[-1] for name in names])
    height = axes.get_window_extent().height / axes.figure.dpi * 72  # in points, as letters
    steps = np.arange(len(names)) * 1.3 * NOTE / height * np.ptp(axes.get_ylim())
    places = isotonic_regression(ends[:, 1] - steps).x + steps  # the nearest that are so far apart
    for name, end, place in zip(names, ends, places):
        color = lines[name].get_color()
        axes.annotate(
            name,
            end,
            (1.05, place),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            color=color,
            annotation_clip=False,
            fontsize=NOTE,
            fontweight="bold" if lines[name].get_linewidth() > 2 else "normal",
            arrowprops={
                "arrowstyle": "-",
                "lw": 0.5,
                "color": color,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 4,
            },
        )


def markdown(found):
    """The table of the README, for the first network."""
    found = found[found["network"] == found["network"].iloc[0]]
    lines = [
        ["method", *(f"{budget:,}" for budget in BUDGETS), f"difference at {BUDGETS[-1]:,}"],
        ["---"] * (len(BUDGETS) + 2),
    ]
    for method, rows in found.groupby("method", sort=False):
        gain = rows.set_index("budget")["gain"]
        last = rows.iloc[-1]
        difference = (
            f"{last['difference']:+.3f} ({last['difference low']:+.3f} to {last['difference high']:+.3f})".replace(
                "-", "−"
            )
            if method != OURS[0]
            else ""
        )
        lines.append(
            [
                method,
                *(f"{gain[budget]:.3f}" if budget in gain else "" for budget in BUDGETS),
                difference,
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--long",
        action="store_true",
        help="two networks, all objects and three seeds: hours instead of a quarter of one",
    )
    long = parser.parse_args().long

    table = measured(*(LONG if long else SHORT))
    found, name = means(table).round(4), "quality_long" if long else "quality"
    record({f"{name}.csv": table.round(4), f"{name}_means.csv": found})
    figure(found).savefig(RESULTS / f"{name}.png", dpi=200)
    print(markdown(found))


if __name__ == "__main__":
    main()
