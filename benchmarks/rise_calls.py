"""How many model calls RISE's map takes: the regression of `rise.py` against the paper's average.

    python benchmarks/rise_calls.py [--networks squeezenet ...] [--pictures CLASS/NAME ...] [--seeds 4]

The most probable class of each picture is explained from 8,000 masks of each seed, which come in complementary pairs. The
regression takes parts of them as they are; the average takes one mask of each pair, for these are independent of each other, as
the paper's are. Both are held against a reference of all masks of the *other* seeds. That is a regression, too, for an average
of as many masks would be far from the truth; `--convergence` asks whether it is the same map. How well two halves of all masks
agree, each by itself, says what a correlation can mean here.

The average needs more calls than there are for the highest correlations. From there on the law of averages is taken for it: its
error falls with the root of the number of calls, fitted to the measured numbers. Writes `benchmarks/results/rise_calls.csv`
(mean correlations), `rise_calls_needed.csv` (calls, by picture), and `rise_calls_shares.csv` (geometric means over pictures).

The pictures are none that the estimator was chosen on. Of the half of the objects that is called "verdict"
(`lab.study.verdict.half`), they are the first picture of each object in which its class is the most probable for both networks and
more probable than 1/2 for one of them; of four such objects, the first three by name.

With `--convergence` it asks whether the regression goes where the paper's average goes: at 32,000 masks each, does its map agree
with the average's as well as a second, independent run of the average does? Writes `rise_convergence.csv`.

Model calls are kept in `.cache/`: an interrupted benchmark goes on where it stopped, and after a change of an
estimator only what is made of the calls is made again.
"""

import argparse
import itertools
import sys
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lab.networks.loading import load  # before TensorFlow: it keeps the start quiet

import pandas as pd
from tqdm import tqdm

from lab.measure.agreement import rank_correlation
from lab.networks.asking import Asked
from lab.images import load_image
from lab.study.verdict import SET
from record import record
from rise import Rise, _Regression, average, generate_masks

PICTURES = (
    "flamingo/flamingo_1_gravel",
    "mantis/mantis_1_planks",
    "stethoscope/stethoscope_1_planks",
)
MASKS = 8000  # of a seed
REGRESSION_CALLS = (
    60,
    80,
    100,
    125,
    160,
    200,
    250,
    320,
    400,
    500,
    640,
    800,
    1000,
    1400,
    2000,
    2800,
    4000,
)
AVERAGE_CALLS = (125, 250, 500, 700, 1000, 1400, 2000, 2800, 4000)
LEVELS = (0.90, 0.95, 0.98)
STRIDE = 8  # maps are smooth: every eighth pixel tells their order
PAPER, OURS = "paper's average", "rise.py, regression"


def opened(name, path):
    """A network, a picture as it takes it, the most probable class, and the columns that say so."""
    black_box = load(name)
    image = load_image(path, black_box.input_size)
    target, class_name, _ = black_box.top(image)[0]
    return (
        black_box,
        image,
        target,
        {"network": black_box.name, "picture": path.name, "class": class_name},
    )


def bar(common, *what):
    return partial(
        tqdm, desc=", ".join([common["network"], common["picture"], *what]), mininterval=5
    )


def thinned(maps):
    return maps[..., STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]


class Pool:
    """The masks of one seed, as the regression and as a thinned map see them, and the scores of what they leave of a picture."""

    def __init__(self, model, image, seed, progress):
        explainer = Rise(model, model.batch_size, nb_samples=MASKS, seed=seed, progress=progress)
        self.shape, self.scores = (
            image.shape,
            explainer.estimate(image, [0]).outputs.astype(np.float64),
        )
        estimator = _Regression(image.shape, 7, 0.5)
        batches = [
            generate_masks(start, start + 500, image.shape, seed=seed, antithetic=True)
            for start in range(0, MASKS, 500)
        ]
        self.seen = np.concatenate([estimator.seen(masks) for masks in batches])
        self.masks = np.concatenate([thinned(masks) for masks in batches])


def by_regression(pools, part=slice(None)):
    """The thinned map of parts of some pools."""
    estimator = _Regression(pools[0].shape, 7, 0.5)
    for pool in pools:
        estimator.add(pool.seen[part], pool.scores[part])
    return thinned(estimator.maps()[0][0])


def by_average(pool, part):
    """The same by the paper's estimator, of one mask of each pair."""
    scores, masks = pool.scores[::2, 0][part], pool.masks[::2][part]
    return average(np.tensordot(scores, masks, 1), len(scores))


def parts(calls, masks):
    """Parts of so many masks that have none in common, at most eight."""
    return [
        slice(start, start + calls) for start in range(0, masks - calls + 1, max(calls, masks // 8))
    ]


def measure(name, path, seeds):
    """Rows of one network and picture: mean correlations with the reference."""
    black_box, image, target, common = opened(name, path)
    model = Asked(black_box, [target])
    model.batch_size = black_box.batch_size
    pools = [Pool(model, image, seed, bar(common, f"seed {seed}")) for seed in range(seeds)]
    halves = rank_correlation(
        by_regression(pools[: seeds // 2]), by_regression(pools[seeds // 2 :])
    )
    found = {}
    for number, pool in enumerate(pools):
        reference = by_regression([other for other in pools if other is not pool])
        for calls in REGRESSION_CALLS:
            found.setdefault((OURS, calls), []).extend(
                rank_correlation(by_regression([pool], part), reference)
                for part in parts(calls, MASKS)
            )
        for calls in AVERAGE_CALLS:
            found.setdefault((PAPER, calls), []).extend(
                rank_correlation(by_average(pool, part), reference)
                for part in parts(calls, MASKS // 2)
            )
    return [
        common
        | {
            "method": method,
            "calls": calls,
            "correlation": np.mean(values),
            "runs": len(values),
            "halves": halves,
        }
        for (method, calls), values in found.items()
    ]


def calls_needed(table):
    """Calls at which the mean correlation reaches each level, between the measured numbers on a log scale."""
    rows = []
    for (network, picture, method), group in table.groupby(
        ["network", "picture", "method"], sort=False
    ):
        means = group.set_index("calls")["correlation"]
        row = {
            "network": network,
            "picture": picture,
            "method": method,
            "halves": group["halves"].iloc[0],
        }
        for level in LEVELS:
            needed = np.exp(
                np.interp(level, np.maximum.accumulate(means), np.log(means.index), right=np.nan)
            )
            if np.isnan(needed) and method == PAPER:
                long = means[means.index >= 1000]
                needed = np.mean(long.index * (1 / long**2 - 1)) / (
                    1 / level**2 - 1
                )  # correlation = 1 / sqrt(1 + constant / calls)
            row[f"{level:.2f}"] = needed
        rows.append(row)
    return pd.DataFrame(rows)


def shares(needed):
    """Calls of the regression as a share of the average's: geometric mean over pictures, and the largest, for each network and both."""
    wide = needed.melt(
        ["network", "picture", "method"],
        [f"{level:.2f}" for level in LEVELS],
        "correlation",
        "calls",
    )
    wide = wide.pivot(index=["correlation", "network", "picture"], columns="method", values="calls")
    share = (wide[OURS] / wide[PAPER]).rename("share").reset_index()
    both = pd.concat([share, share.assign(network="both")])
    return (
        both.groupby(["correlation", "network"])["share"]
        .agg(
            **{
                "share of calls": lambda values: np.exp(np.log(values).mean()),
                "largest share": "max",
                "pictures": "count",
            }
        )
        .reset_index()
    )


def converge(name, path):
    """One row: how well 32,000 masks agree with the average of 32,000 others."""
    black_box, image, target, common = opened(name, path)
    model, masks = Asked(black_box, [target]), 4 * MASKS

    def explained(estimator, calls, seed):
        progress = bar(common, estimator, f"seed {seed}")
        return (
            Rise(
                model,
                black_box.batch_size,
                nb_samples=calls,
                seed=seed,
                estimator=estimator,
                progress=progress,
            )
            .estimate(image, [0])
            .saliency[0]
        )

    first, second = (
        np.mean([explained("average", MASKS, seed) for seed in seeds], axis=0)
        for seeds in (range(4), range(4, 8))
    )
    ours = explained("regression", masks, 0)
    return common | {
        "masks": masks,
        "average with average": rank_correlation(first, second),
        "regression with average": rank_correlation(ours, first),
        "regression with the other average": rank_correlation(ours, second),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=["squeezenet", "efficientnet_lite0"])
    parser.add_argument(
        "--pictures", nargs="+", default=list(PICTURES), help="of data/evaluation, without suffix"
    )
    parser.add_argument("--seeds", type=int, default=4, help="each of 8,000 masks (default: 4)")
    parser.add_argument(
        "--convergence",
        action="store_true",
        help="compare with the paper's average at 32,000 masks instead",
    )
    arguments = parser.parse_args()

    jobs = [
        (name, SET / f"{picture}.jpg")
        for name, picture in itertools.product(arguments.networks, arguments.pictures)
    ]
    if arguments.convergence:
        converged = pd.DataFrame([converge(*job) for job in jobs])
        record({"rise_convergence.csv": converged.round(4)})
        print(converged.round(4).to_string(index=False))
        return
    table = pd.DataFrame(
        itertools.chain.from_iterable(measure(*job, arguments.seeds) for job in jobs)
    )
    needed = calls_needed(table)
    found = shares(needed)
    record(
        {
            "rise_calls.csv": table.round(4),
            "rise_calls_needed.csv": needed.round(4),
            "rise_calls_shares.csv": found.round(3),
        }
    )
    print(needed.round(3).to_string(index=False), found.round(3).to_string(index=False), sep="\n\n")


if __name__ == "__main__":
    main()
