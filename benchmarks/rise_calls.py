"""Model calls that RISE's map takes: the regression of `rise.py` against the average.

    python benchmarks/rise_calls.py [--seeds 8] [--masks 8000]

The most probable class of each image is explained from the first masks of each seed, by
the regression and by the paper's average. The result is the mean rank correlation with
a reference: the mean of the maps that the regression makes of all masks of the *other*
seeds. "halves" is the rank correlation between the references of two halves of the
seeds, the most that a correlation can mean here. The average is not the reference,
since with as many masks it is less accurate; `rise_convergence.csv`, measured once with
32,000 masks, shows that both estimate the same.

The average needs more calls for the highest correlations than there are. There its
error is extrapolated: it decreases with the square root of the number of calls. Writes
`benchmarks/results/rise_calls.csv` (mean correlations), `rise_calls_needed.csv` (calls
of each image) and `rise_calls_shares.csv` (geometric means over images).

The images were not used to develop the estimator. They belong to the half of the
objects measured (`lab.study.comparison.chosen_on`): the first image of each object
whose class is the most probable for both networks and more probable than 1/2 for one of
them; of four such objects, the first three by name.

Predictions are cached, so that a benchmark that was interrupted continues.
"""
# ruff: noqa: E402

import argparse
import itertools
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.record import record
from lab.images import load_image
from lab.measure.agreement import rank_correlation
from lab.model_calls import predict
from lab.networks import load
from lab.study.comparison import MONTAGES
from rise import Rise

NETWORKS = "squeezenet", "efficientnet_lite0"
IMAGES = (
    "flamingo/flamingo_1_gravel",
    "mantis/mantis_1_planks",
    "stethoscope/stethoscope_1_planks",
)
CALLS = 60, 80, 100, 125, 160, 200, 250, 320, 400, 500, 640, 800, 1000, 1400, 2000, 2800, 4000
AVERAGE, REGRESSION = "paper's average", "rise.py, regression"
ESTIMATORS = {REGRESSION: "regression", AVERAGE: "average"}
LEVELS = 0.90, 0.95, 0.98


def measure(name, path, seeds, masks):
    """Rows of one network and image: mean correlations with the reference."""
    black_box = load(name)
    image = load_image(path, black_box.input_size)
    label, class_name, _ = black_box.top(image)[0]
    common = {"network": black_box.name, "picture": path.name, "class": class_name}
    model = partial(predict, black_box, classes=[label])

    def run(estimator, calls, seed, outputs=None):
        bar = partial(tqdm, desc=f"{black_box.name}, {path.stem}, seed {seed}", mininterval=5)
        rise = Rise(
            model,
            black_box.batch_size,
            nb_samples=calls,
            seed=seed,
            estimator=estimator,
            progress=bar if outputs is None else iter,
        )
        return rise.estimate(image, 0, outputs, keep_outputs=True)

    complete = [run("regression", masks, seed) for seed in range(seeds)]
    maps = np.array([explanation.saliency[0] for explanation in complete])
    halves = rank_correlation(maps[: seeds // 2].mean(axis=0), maps[seeds // 2 :].mean(axis=0))
    rows = []
    for method, estimator in ESTIMATORS.items():
        # Every other mask of the regression's pairs is one of the average's masks.
        outputs = [each.outputs[:: 2 if method == AVERAGE else 1] for each in complete]
        for calls in CALLS:
            if calls > masks // 2:
                break
            correlations = [
                rank_correlation(
                    run(estimator, calls, seed, outputs[seed]).saliency[0],
                    np.delete(maps, seed, axis=0).mean(axis=0),
                )
                for seed in range(seeds)
            ]
            found = {"method": method, "calls": calls, "correlation": np.mean(correlations)}
            rows.append(common | found | {"runs": seeds, "halves": halves})
    return rows


def calls_needed(table):
    """Calls at which the mean correlation reaches each level, interpolated in log."""
    rows = []
    for names, group in table.groupby(["network", "picture", "method"], sort=False):
        means = group.set_index("calls")["correlation"]
        row = dict(zip(("network", "picture", "method"), names)) | {"halves": group["halves"].max()}
        for level in LEVELS:
            highest = np.maximum.accumulate(means)
            needed = np.exp(np.interp(level, highest, np.log(means.index), right=np.nan))
            if np.isnan(needed) and row["method"] == AVERAGE:
                # correlation = 1 / sqrt(1 + constant / calls)
                long = means[means.index >= 1000]
                needed = np.mean(long.index * (1 / long**2 - 1)) / (1 / level**2 - 1)
            row[f"{level:.2f}"] = needed
        rows.append(row)
    return pd.DataFrame(rows)


def shares(needed):
    """Calls of the regression as a share of the average's, for each network and both.

    "share of calls" is the geometric mean over images.
    """
    levels = [f"{level:.2f}" for level in LEVELS]
    calls = needed.melt(["network", "picture", "method"], levels, "correlation", "calls")
    calls = calls.pivot(
        index=["correlation", "network", "picture"], columns="method", values="calls"
    )
    share = (calls[REGRESSION] / calls[AVERAGE]).rename("share").reset_index()
    groups = pd.concat([share, share.assign(network="both")]).groupby(["correlation", "network"])
    return pd.DataFrame(
        {
            "share of calls": groups["share"].agg(lambda values: np.exp(np.log(values).mean())),
            "largest share": groups["share"].max(),
            "pictures": groups["share"].count(),
        }
    ).reset_index()


def main():
    """Measure, and write and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=8, help="at least 2 (default: 8)")
    parser.add_argument("--masks", type=int, default=8000, help="of each seed (default: 8000)")
    arguments = parser.parse_args()

    rows = []
    for name, image in itertools.product(NETWORKS, IMAGES):
        rows += measure(name, MONTAGES / f"{image}.jpg", arguments.seeds, arguments.masks)
    table = pd.DataFrame(rows)
    needed = calls_needed(table)
    tables = {
        "rise_calls.csv": table.round(4),
        "rise_calls_needed.csv": needed.round(4),
        "rise_calls_shares.csv": shares(needed).round(3),
    }
    record(tables)
    for table in tables.values():
        print(table.to_string(index=False), end="\n\n")


if __name__ == "__main__":
    main()
