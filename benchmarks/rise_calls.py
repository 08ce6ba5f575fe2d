"""RISE maps against the number of model calls: the paper's average, Xplique's `Rise`, the regression of `rise.py`.

    python benchmarks/rise_calls.py [--networks squeezenet ...] [--pictures NAME ...] [--runs 5]

Each estimator explains the most probable class of each picture, with some seeds and up to 8,000
masks. The reference of a run is the paper's average over the runs of all *other* seeds: 32,000 masks
for five seeds, none of which the run has seen. Writes `benchmarks/results/rise_calls.csv` (a row per
run and number of calls), `rise_calls_needed.csv`, `rise_calls_shares.csv`, `rise_quality.csv` and `rise_calls.png`.

With `--convergence` it asks instead whether the regression goes where the paper's average goes: at 32,000
masks each, does its map agree with the average's as well as a second, independent run of the average does?
Writes `rise_convergence.csv`.

Model calls are kept in `.cache/`: an interrupted benchmark goes on where it stopped, and after a change of an
estimator only what is made of the calls is made again.
"""

import argparse
import itertools
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lab.networks.loading import load  # before TensorFlow: it keeps the start quiet

import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure
from tqdm import tqdm
from xplique.attributions import Rise as XpliqueRise
from xplique.commons import batch_tensor

from lab.measure.agreement import rank_correlation
from lab.measure.curves import auc, deletion_curve, insertion_curve
from lab.networks.asking import Asked
from lab.pictures import list_pictures, load_image
from lab.show.style import COLORS, MARKERS
from record import RESULTS, record
from rise import Rise

CALLS = (125, 250, 500, 1000, 2000, 4000, 8000)
LEVELS = (0.90, 0.95, 0.98)
BATCH = 125  # divides every number of calls
QUALITY_CALLS = (250, 500, 1000)
# Traced once, these two would repeat the masks of the first seed for every other.
XpliqueRise._get_masks = staticmethod(XpliqueRise._get_masks.python_function)
XpliqueRise._apply_masks = staticmethod(XpliqueRise._apply_masks.python_function)
PAPER, XPLIQUE, OURS = "paper's average", f"Xplique {version('xplique')}", "rise.py, regression"


def with_rise(estimator, model, image, seed, progress, calls=CALLS):
    """Maps after each number of calls, all from one run."""
    def explainer(nb_samples, progress=None):
        return Rise(model, BATCH, nb_samples=nb_samples, seed=seed, estimator=estimator, progress=progress)

    whole = explainer(calls[-1], progress).estimate(image, [0])
    return np.stack([*(explainer(count).estimate(image, [0], whole.outputs).saliency[0] for count in calls[:-1]), whole.saliency[0]])


def with_xplique(model, image, seed, progress, calls=CALLS):
    """Maps after each number of calls, by Xplique's masks and Xplique's ratio, all from one run."""
    tf.random.set_seed(seed)
    x, maps, weighted, weights = tf.constant(image, tf.float32), [], 0, 0
    grids = XpliqueRise._get_masks((1, *image.shape), calls[-1], 7, 0.5)
    for number, batch in enumerate(progress(list(batch_tensor(grids, BATCH))), 1):
        perturbed, masks = XpliqueRise._apply_masks(x, batch, 0.0)
        weighted = weighted + np.tensordot(model(perturbed)[:, 0], masks.numpy(), 1)
        weights = weights + masks.numpy().sum(axis=0)
        if number * BATCH in calls:
            maps.append((weighted / (weights + float(XpliqueRise.EPSILON)))[..., 0])
    return np.stack(maps)


def check_xplique(model, image):
    """`with_xplique` looks into a run; that run must be Xplique's own."""
    def score(_, inputs, targets):
        return tf.constant(model(inputs)[:, 0])

    tf.random.set_seed(0)
    theirs = XpliqueRise(lambda x: x, BATCH, score, 250).explain(image[None].astype(np.float32), np.ones((1, 1)))
    ours = with_xplique(model, image, 0, iter, (250,))
    np.testing.assert_allclose(ours[0], theirs[0, ..., 0], rtol=1e-4)


METHODS = {PAPER: partial(with_rise, "average"), XPLIQUE: with_xplique, OURS: partial(with_rise, "regression")}


def opened(name, path):
    """A network, a picture as it takes it, the most probable class, and the columns that say so."""
    black_box = load(name, batch_size=BATCH)
    image = load_image(path, black_box.input_size)
    target, class_name, _ = black_box.top(image)[0]
    common = {"network": black_box.name, "picture": path.name, "class": class_name}
    return black_box, image, target, common


def bar(common, *what):
    return partial(tqdm, desc=", ".join([common["network"], common["picture"], *what]), mininterval=5)


def quality(black_box, image, target, saliency):
    """Deletion and insertion AUC, black as the baseline."""
    return [auc(*curve(black_box, image, target, saliency, np.uint8(0))) for curve in (deletion_curve, insertion_curve)]


def measure(name, path, seeds):
    """Rows for one network and picture: correlations with the reference, and the quality of maps."""
    black_box, image, target, common = opened(name, path)
    model = Asked(black_box, [target])
    check_xplique(model, image)
    maps = {
        (method, seed): METHODS[method](model, image, seed, bar(common, method, f"seed {seed}")) for method, seed in itertools.product(METHODS, seeds)
    }
    longest = np.stack([maps[PAPER, seed][-1] for seed in seeds])
    half = len(seeds) // 2
    agreement = rank_correlation(longest[:half].mean(0), longest[half : 2 * half].mean(0))
    print(f"{common['network']}, {path.name}, {common['class']}: two halves of the reference, {half * CALLS[-1]:,} masks each, agree at {agreement:.3f}")
    rows, qualities = [], []
    for (method, seed), found in maps.items():
        reference = longest[[other != seed for other in seeds]].mean(axis=0)
        for calls, saliency in zip(CALLS, found):
            row = common | {"method": method, "seed": seed, "calls": calls}
            rows.append(row | {"correlation": rank_correlation(saliency, reference)})
            if calls in QUALITY_CALLS:
                deletion, insertion = quality(black_box, image, target, saliency)
                qualities.append(row | {"deletion": deletion, "insertion": insertion})
    return rows, qualities


def converge(name, path):
    """One row: how well 32,000 masks agree with the average of 32,000 others."""
    black_box, image, target, common = opened(name, path)
    model, masks = Asked(black_box, [target]), 4 * CALLS[-1]

    def average(seeds):
        return np.mean([with_rise("average", model, image, seed, bar(common, PAPER, f"seed {seed}"), CALLS[-1:])[0] for seed in seeds], axis=0)

    first, second = average(range(4)), average(range(4, 8))
    ours = with_rise("regression", model, image, 0, bar(common, OURS), (masks,))[0]
    return common | {
        "masks": masks, "average with average": rank_correlation(first, second), "regression with average": rank_correlation(ours, first),
        "regression with the other average": rank_correlation(ours, second),
    }


def calls_needed(table):
    """Calls at which the mean correlation over seeds reaches each level, between the measured numbers on a log scale."""
    rows = []
    for (network, picture, method), group in table.groupby(["network", "picture", "method"], sort=False):
        means = np.maximum.accumulate(group.groupby("calls")["correlation"].mean().to_numpy())
        needed = {f"{level:.2f}": np.exp(np.interp(level, means, np.log(CALLS), right=np.nan)) for level in LEVELS}
        rows.append({"network": network, "picture": picture, "method": method} | needed)
    return pd.DataFrame(rows)


def ratios(needed):
    """Calls the regression needs, as a share of the others': geometric mean and worst case."""
    rows = []
    wide = needed.set_index(["network", "picture", "method"]).unstack("method")
    for level, other in itertools.product(wide.columns.levels[0], (PAPER, XPLIQUE)):
        # A method that does not get there counts as if it did with the last call.
        share = wide[level, OURS].fillna(CALLS[-1]) / wide[level, other].fillna(CALLS[-1])
        rows.append({"correlation": level, "against": other, "share of calls": np.exp(np.log(share).mean()),
                     "largest share": share.max()})
    return pd.DataFrame(rows)


def figure(table, shares):
    networks = table["network"].unique()
    drawn = Figure(figsize=(7.5, 3.7), dpi=110, layout="constrained")
    share = shares.set_index(["correlation", "against"])["share of calls"]["0.95"]
    drawn.suptitle(f"For a correlation of 0.95, regression needs {share[PAPER]:.0%} of the calls of the paper's average\n"
                   f"and {share[XPLIQUE]:.0%} of Xplique's", fontsize=10, fontweight="bold")
    for axes, network in zip(drawn.subplots(1, len(networks), sharey=True, squeeze=False)[0], networks):
        rows = table[table["network"] == network]
        for method, color, marker in zip(METHODS, COLORS, MARKERS):
            runs = rows[rows["method"] == method].groupby("calls")["correlation"]
            axes.plot(CALLS, runs.mean(), color=color, marker=marker, ms=4, label=method)
            axes.fill_between(CALLS, runs.quantile(0.1), runs.quantile(0.9), color=color, alpha=0.15, lw=0)
        axes.axhline(0.95, color="black", lw=0.6, ls=":")
        axes.set_xscale("log", base=2)
        axes.set_xticks(CALLS, [f"{calls:,}" for calls in CALLS], fontsize=7)
        axes.set_xlabel("model calls")
        axes.set_title(f"{network}, pictures: {rows['picture'].nunique()}\n7 x 7 grid, p = 0.5, band: 80 % of runs", fontsize=8)
        axes.grid(alpha=0.3)
    drawn.axes[0].set_ylabel("rank correlation with the reference ↑")
    drawn.axes[0].legend(frameon=False, fontsize=7, loc="lower right")
    return drawn


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    pictures = {path.stem: path for kind in ("African_elephant", "black_bear") for path in list_pictures(kind)[:2]}
    parser.add_argument("--networks", nargs="+", default=["squeezenet", "efficientnet_lite0"])
    parser.add_argument("--pictures", nargs="+", default=list(pictures), help="file names without suffix, or paths")
    parser.add_argument("--runs", type=int, default=5, help="seeds per estimator (default: 5)")
    parser.add_argument("--convergence", action="store_true", help="compare with the paper's average at 32,000 masks instead")
    arguments = parser.parse_args()

    jobs = [(name, pictures.get(picture, Path(picture))) for name, picture in itertools.product(arguments.networks, arguments.pictures)]
    if arguments.convergence:
        converged = pd.DataFrame([converge(*job) for job in jobs])
        record({"rise_convergence.csv": converged.round(4)})
        print(converged.round(4).to_string(index=False))
        return
    rows, qualities = [], []
    for job in jobs:
        for table, new in zip((rows, qualities), measure(*job, range(arguments.runs))):
            table.extend(new)
    table, qualities = pd.DataFrame(rows), pd.DataFrame(qualities)
    needed = calls_needed(table)
    shares = ratios(needed)
    qualities = qualities.groupby(["network", "picture", "calls", "method"], sort=False)[["deletion", "insertion"]].agg(["mean", "std"])
    qualities.columns = [" ".join(column) for column in qualities.columns]
    record({"rise_calls.csv": table.round(4), "rise_calls_needed.csv": needed.round(0), "rise_calls_shares.csv": shares.round(3),
            "rise_quality.csv": qualities.round(4).reset_index()})
    figure(table, shares).savefig(RESULTS / "rise_calls.png")
    print(needed.round(0).to_string(index=False), shares.round(3).to_string(index=False), sep="\n\n")


if __name__ == "__main__":
    main()
