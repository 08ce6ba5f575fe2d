"""Which explanation to trust: what is measured on a map and on a method, and what many measurements say together."""

import functools
import itertools
import warnings

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, kendalltau
from skimage.filters import sobel
from skimage.metrics import structural_similarity
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import rise
from lab import metrics
from lab.cache import cached, digest, scores
from lab.lime_study import Setting, hidden_picture, locality, perturbations, superpixels

STEPS = 50  # portions of pixels: a curve is smooth at 2 % and costs 51 calls, whatever the map
FRACTIONS = np.arange(1, STEPS + 1) / STEPS  # shares of the pixels that count as salient, for IoU
N_PIXELS, SIDE = 64, 8  # of a digit

HEADS = {
    "deletion": "deletion to black, AUC ↓",
    "deletion_mean": "deletion to the mean colour, AUC ↓",
    "insertion": "insertion from the blurred picture, AUC ↑",
    "faithfulness": "faithfulness ↑",
    "iou_mask": "IoU with the mask, mean over thresholds ↑",
    "iou_mask_best": "IoU with the mask, best threshold ↑",
    "iou_box": "IoU with the box, mean over thresholds ↑",
    "iou_box_best": "IoU with the box, best threshold ↑",
    "pointing_game": "pointing game ↑",
    "sanity": "sanity: rank correlation with random networks' maps ↓",
}
"""What is measured on a method, as a table's head says it: ↑ higher is better, ↓ lower is better."""


def curves(black_box, image, label, saliency):
    """The deletion and insertion curves of a map.

    Parameters
    ----------
    black_box : callable
        From pictures ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``. The curves of one that has a
        `fingerprint` are kept on disk; its `batch_size`, 32 if it has none, is the number of pictures
        handed over at once.
    image : (H, W, 3) uint8 array
    label : int
        The class explained.
    saliency : (H, W) array
        Finite; higher is more important.

    Returns
    -------
    dict of str to (2, 51) array
        "deletion" (to black), "deletion_mean" (to the picture's mean colour) and "insertion" (from the
        blurred picture): share of the pixels and the class's probability. They cost 153 calls.

    Notes
    -----
    Pixels change in fifty equal portions, so that maps of superpixels and of pixels are measured alike.
    Equally salient pixels go row by row.

    See Also
    --------
    lab.metrics.deletion_curve, lab.metrics.insertion_curve
    """
    saliency = np.asarray(saliency)
    if saliency.shape != image.shape[:2] or not np.isfinite(saliency).all():
        raise ValueError(f"saliency must be finite and of shape {image.shape[:2]}, got shape {saliency.shape} or NaN or infinity")
    order = np.unique(saliency, return_inverse=True)[1].reshape(saliency.shape)
    fingerprint, batch_size = getattr(black_box, "fingerprint", None), getattr(black_box, "batch_size", 32)
    found = {}
    for name, (curve, baseline) in {
        "deletion": (metrics.deletion_curve, np.zeros(3)),
        "deletion_mean": (metrics.deletion_curve, image.mean(axis=(0, 1))),
        "insertion": (metrics.insertion_curve, hidden_picture(image, None, "blur")),
    }.items():
        def compute():
            return np.stack(curve(black_box, image, order, label, baseline, STEPS, batch_size))

        key = {
            "black box": fingerprint, "picture": digest(image), "order": digest(order), "class": int(label),
            "curve": curve.__name__, "baseline": digest(baseline), "steps": STEPS,
        }
        found[name] = cached(key, compute) if fingerprint else compute()
    return found


def measure(black_box, image, mask, label, saliency):
    """Everything that one map of one picture is measured by.

    Parameters
    ----------
    black_box, image, label, saliency
        As in `curves`.
    mask : (H, W) bool array or None
        Where the object is. Without it, IoU and pointing game are NaN.

    Returns
    -------
    dict of str to float
        The keys of `HEADS` but for "sanity".

    Raises
    ------
    ValueError
        If an argument is not what it should be.

    Notes
    -----
    A map costs the 153 calls of its `curves`. Faithfulness costs one for the picture and one for each
    superpixel (`lab.lime_study.superpixels`), which then shows the picture's mean colour; with a black
    box that has a `fingerprint`, all maps of a picture and class share these.

    A superpixel's saliency is the mean over its pixels, not the sum: LIME and KernelSHAP draw a
    superpixel's weight on each of its pixels, and what RISE adds to all pixels alike must not count for
    more in a large superpixel.
    """
    segments = superpixels(image)
    saliency = np.asarray(saliency, float)
    found = dict.fromkeys(HEADS, float("nan"))
    del found["sanity"]
    if mask is not None:
        for name, truth in {"iou_mask": mask, "iou_box": metrics.bounding_box(mask)}.items():
            over_thresholds = metrics.iou_over_thresholds(saliency, truth, FRACTIONS)
            found[name], found[f"{name}_best"] = float(over_thresholds.mean()), float(over_thresholds.max())
        found["pointing_game"] = metrics.pointing_game(saliency, mask)
    found |= {name: metrics.auc(*curve) for name, curve in curves(black_box, image, label, saliency).items()}

    kept = getattr(black_box, "fingerprint", None)
    ask = (lambda pictures: scores(black_box, pictures, [int(label)])) if kept else black_box
    found["faithfulness"] = metrics.faithfulness(
        ask, image, saliency / np.bincount(segments.ravel())[segments], 0 if kept else label,
        image.mean(axis=(0, 1)), segments, getattr(black_box, "batch_size", 32),
    )
    return found


def sanity(explain, black_box, image, label, layers=None, seed=0):
    """How alike a network's map is to maps of the same network with random upper layers.

    A network whose upper layers are random knows nothing of the class. A map that stays the same shows
    the picture, not what the network makes of it.

    Parameters
    ----------
    explain : callable
        ``explain(black_box, image, label)`` returns a map (H, W), at least 7 x 7.
    black_box : lab.blackbox.BlackBox
    image : (H, W, 3) uint8 array
    label : int
    layers : iterable of int, optional
        How many of the topmost layers are random; by default 1, 2, 4, 8 and so on, and all.
    seed : int, optional
        Of the randomization.

    Returns
    -------
    pandas.DataFrame
        A row for each of `layers`: "layers", "network" (the random network's name), "rank_correlation"
        of the two maps (Spearman's, in [-1, 1]; NaN when one of them is constant) and "ssim", the
        structural similarity of the maps scaled to [0, 1] (in [-1, 1]; 1 only for equal ones). **Lower
        is better**, best is 0. "sanity" in `HEADS` is the mean of the correlation's absolute value: a map
        turned into its negative is still the same pattern.

    Raises
    ------
    ValueError
        If there are not as many layers.

    References
    ----------
    .. [1] Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
    .. [2] Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
           Transactions on Image Processing 2004.
    """
    if layers is None:
        layers = [*itertools.takewhile(lambda n: n < black_box.n_layers, (2**k for k in itertools.count())), black_box.n_layers]
    layers = list(layers)
    if not layers or not all(1 <= n <= black_box.n_layers for n in layers):
        raise ValueError(f"layers must be from 1 to the {black_box.n_layers} layers of the network, got {layers}")
    intact = explain(black_box, image, label)
    rows = []
    for n in layers:
        random = _randomized(black_box, n, seed)
        saliency = explain(random, image, label)
        rows.append({
            "layers": n,
            "network": random.name,
            "rank_correlation": metrics.rank_correlation(np.ravel(intact), np.ravel(saliency)),
            "ssim": float(structural_similarity(_scaled(intact), _scaled(saliency), data_range=1)),
        })
    return pd.DataFrame(rows)


@functools.lru_cache(maxsize=8)  # all that one network needs by default, for one method after another
def _randomized(black_box, layers, seed):
    return black_box.randomized(layers, seed)


def _scaled(saliency):
    saliency = np.asarray(saliency, float) - np.min(saliency)
    return saliency / (saliency.max() or 1)


def _lime(ask, pictures, n_samples, seed):
    kept = perturbations(N_PIXELS, n_samples, seed)
    return Ridge(alpha=1).fit(kept, ask(kept), sample_weight=locality(kept, Setting())).coef_


def _rise(ask, pictures, n_samples, seed):
    masks = rise.generate_masks(0, n_samples, (SIDE, SIDE, 1), grid_size=4, seed=seed).reshape(n_samples, -1)
    return ask(masks).T @ masks / (0.5 * n_samples)


def _shap(ask, pictures, n_samples, seed):
    rng = np.random.default_rng(seed)
    sizes = np.arange(1, N_PIXELS)
    kernel = 1 / (sizes * (N_PIXELS - sizes))  # Shapley's, times the number of coalitions of this size
    drawn = rng.choice(sizes, n_samples // 2, p=kernel / kernel.sum())
    kept = rng.random((len(drawn), N_PIXELS)).argsort(axis=1) < drawn[:, None]
    kept = np.concatenate([kept, ~kept]).astype(float)
    nothing, everything = ask(np.array([np.zeros(N_PIXELS), np.ones(N_PIXELS)]))
    # Least squares under the condition that the values add up to the whole (Covert & Lee, AISTATS 2021).
    solved = np.linalg.solve(kept.T @ kept, np.column_stack([kept.T @ (ask(kept) - nothing), np.ones(N_PIXELS)]))
    free, ones = solved[:, :-1], solved[:, -1:]
    return (free - ones * (free.sum(axis=0) - (everything - nothing)) / ones.sum()).T


def _occlusion(ask, pictures, n_samples, seed):
    return -ask(1 - np.eye(N_PIXELS)).T


def _random(ask, pictures, n_samples, seed):
    return np.random.default_rng(seed).random(pictures.shape)


def _centre(ask, pictures, n_samples, seed):
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.tile(-(y**2 + x**2).ravel(), (len(pictures), 1))


def _edges(ask, pictures, n_samples, seed):
    return np.stack([sobel(picture.reshape(SIDE, SIDE)).ravel() for picture in pictures])


DIGIT_METHODS = {
    "lime": _lime,
    "rise_average": _rise,
    "shap": _shap,
    "occlusion": _occlusion,
    "random": _random,
    "centre": _centre,
    "edges": _edges,
}
"""Attributions of all digits at once: ``method(ask, pictures, n_samples, seed)`` -> (n, 64), where ``ask(kept)``
answers (n_samples, n) probabilities of each digit's class for the pixels kept, (n_samples, 64) in [0, 1]."""


def roar(methods=DIGIT_METHODS, shares=(0, 0.1, 0.3, 0.5, 0.7, 0.9), seeds=range(3), count=None, n_samples=512, progress=iter):
    """Remove and retrain: what a network can still learn without the pixels that a method finds most important.

    On scikit-learn's 8 x 8 handwritten digits, three quarters to train on and a quarter to test. A small
    network is trained; its answers for the true class are explained for all digits; the most important
    pixels of each are replaced; and a new network is trained and tested on what is left. The lower its
    accuracy, the better the method - unless what was removed gives the class away, which is measured, too.

    Parameters
    ----------
    methods : dict of str to callable, optional
        By name, as in `DIGIT_METHODS`.
    shares : iterable of float, optional
        Shares of the pixels to remove, from 0 to 1.
    seeds : iterable of int, optional
        A seed decides the split, the networks' first weights and the perturbations.
    count : int, optional
        Use only the first `count` digits, at least 100; all 1797 by default.
    n_samples : int, optional
        Perturbations for each explanation, an even number. Occlusion needs 64 only, the baselines none.
    progress : callable, optional
        Wraps the seeds.

    Returns
    -------
    pandas.DataFrame
        "method", "share", "seed" and the accuracies on test digits: "accuracy" when a removed pixel shows
        its mean over the training digits, as in [1]_; "drawn" when it shows that of a training digit drawn
        at random; and "trace" of a network that is told which pixels were removed and nothing else. For
        the first two **lower is better**; share 0 is the network explained, the same for all methods. The
        last is 0.1, chance, for a method that looks at neither digit nor class; at share 0 it is NaN.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    Which pixels are removed depends on digit and class, and a mean among other values shows where they were:
    the new network can read the class from the hole [2]_. "accuracy" then stays high although all that
    mattered is gone, and ranks methods by how little they tell. Drawn values hide the hole in part. Compare
    methods by "drawn", at the smaller shares, and see by "trace" what is left to be read.

    LIME, RISE (the paper's average, 4 x 4 cells) and KernelSHAP are linear in the network's answers and
    perturb all digits alike, so that a product of matrices explains all at once. LIME takes pixels for
    superpixels. What is hidden from the network shows its mean over the training digits.

    References
    ----------
    .. [1] Hooker, Erhan, Kindermans, Kim, "A Benchmark for Interpretability Methods in Deep Neural
           Networks", NeurIPS 2019.
    .. [2] Rong, Leemann, Borisov, Kasneci, Kasneci, "A Consistent and Efficient Evaluation Strategy for
           Attribution Methods", ICML 2022.
    """
    shares = list(shares)
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"shares must be from 0 to 1, got {shares}")
    digits, labels = load_digits(return_X_y=True)
    if count is not None and not 100 <= count <= len(digits):
        raise ValueError(f"count must be from 100 to the {len(digits)} digits, got {count}")
    if n_samples < 2 * N_PIXELS or n_samples % 2:
        raise ValueError(f"n_samples must be an even number of at least {2 * N_PIXELS}, got {n_samples}")
    digits, labels = digits[:count].astype(np.float32) / 16, labels[:count]
    rows = []
    for seed in progress(list(seeds)):
        train, test = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=seed, stratify=labels)
        mean = digits[train].mean(axis=0)
        network = _trained(digits[train], labels[train], seed)
        intact = network.score(digits[test], labels[test])
        others = np.random.default_rng(seed).choice(train, digits.shape)
        drawn = np.take_along_axis(digits, others, axis=0)
        for name, method in methods.items():
            attributions = method(functools.partial(_ask, network, digits, labels, mean), digits, n_samples, seed)
            places = (-attributions).argsort(axis=1, kind="stable").argsort(axis=1)
            for share in shares:
                accuracies = {"accuracy": intact, "drawn": intact, "trace": float("nan")}
                if share > 0:
                    gone = places < round(share * N_PIXELS)
                    left = {"accuracy": np.where(gone, mean, digits), "drawn": np.where(gone, drawn, digits), "trace": gone * 1.0}
                    accuracies = {
                        how: _trained(x[train], labels[train], seed).score(x[test], labels[test]) for how, x in left.items()
                    }
                rows.append({"method": name, "share": share, "seed": seed, **accuracies})
    return pd.DataFrame(rows)


def _trained(pictures, labels, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # forty rounds are enough: 97 % on digits left whole
        return MLPClassifier((64,), learning_rate_init=0.005, max_iter=40, random_state=seed).fit(pictures, labels)


def _ask(network, pictures, labels, mean, kept):
    """Probabilities of each picture's class, (n_samples, n), when only these pixels are kept."""
    answers = []
    for some in np.array_split(np.asarray(kept, np.float32), -(-len(kept) // 16)):
        perturbed = mean + some[:, None] * (pictures - mean)
        probability = network.predict_proba(perturbed.reshape(-1, N_PIXELS)).reshape(len(some), len(labels), -1)
        answers.append(probability[:, np.arange(len(labels)), labels])
    return np.concatenate(answers)


def bootstrap_interval(values, n_resamples=2000, seed=0):
    """95 % bootstrap interval of a mean.

    Parameters
    ----------
    values : (n,) array
        Finite, one for each picture.
    n_resamples, seed : int, optional

    Returns
    -------
    low, high : float
        The percentiles 2.5 and 97.5 of the means of resamples; NaN for fewer than three values, of
        which nothing can be said.

    Notes
    -----
    With few pictures it is too narrow. In 4000 simulations with normal values each, it held the true
    mean in 75 % of the cases for three values, 86 % for six, 91 % for ten and 93 % for twenty.

    References
    ----------
    .. [1] Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"values must be finite and one for each picture, got {values}")
    if len(values) < 3:
        return float("nan"), float("nan")
    interval = bootstrap((values,), np.mean, n_resamples=n_resamples, method="percentile", rng=seed).confidence_interval
    return float(interval.low), float(interval.high)


def summary(table, n_resamples=2000, seed=0):
    """Mean over pictures of each measurement, for each network and method.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a map: "network", "class", "picture", "method" and some keys of `HEADS`. Rows of the same
        four, as for several seeds, are averaged first.
    n_resamples, seed : int, optional
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        "network", "method", "metric", "mean", "low" and "high" (95 % bootstrap interval over pictures),
        "pictures" (how many have a value).
    """
    rows = []
    for metric in _measured(table):
        values = by_picture(table, metric).dropna()
        for (network, method), group in values.groupby(["network", "method"], sort=False):
            low, high = bootstrap_interval(group, n_resamples, seed)
            rows.append({
                "network": network, "method": method, "metric": metric,
                "mean": group.mean(), "low": low, "high": high, "pictures": len(group),
            })
    return pd.DataFrame(rows, columns=["network", "method", "metric", "mean", "low", "high", "pictures"])


def rank_methods(table, n_resamples=2000, seed=0):
    """Order the methods by each metric.

    Parameters
    ----------
    table, n_resamples, seed
        As in `summary`.

    Returns
    -------
    pandas.DataFrame
        For each metric a row a method, the best first: "metric", "method", "mean_rank" (1 is best; the
        methods are ranked for each network and picture) with "low" and "high" (95 % bootstrap interval
        over pictures, a picture's ranks averaged over networks), and "pictures", their number.

    Notes
    -----
    Equal methods share a rank. A method without a value where others have one, as a constant map has no
    faithfulness, comes last.

    References
    ----------
    .. [1] Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006, whose
           average ranks these are.
    """
    rows = []
    for metric in _measured(table):
        ranks = ranks_by_picture(table, metric)
        for method, mean in ranks.mean().sort_values(kind="stable").items():
            low, high = bootstrap_interval(ranks[method], n_resamples, seed)
            rows.append({"metric": metric, "method": method, "mean_rank": mean, "low": low, "high": high, "pictures": len(ranks)})
    return pd.DataFrame(rows, columns=["metric", "method", "mean_rank", "low", "high", "pictures"])


def disagreement(table):
    """How far the metrics agree on the order of the methods.

    Parameters
    ----------
    table : pandas.DataFrame
        As in `summary`.

    Returns
    -------
    pandas.DataFrame
        Kendall's tau-b of the mean ranks that every two metrics give the methods, a row and a column a
        metric: 1 for the same order, -1 for the reverse, NaN where a metric has all methods equal.

    References
    ----------
    .. [1] Kendall, "A New Measure of Rank Correlation", Biometrika 1938.
    .. [2] Tomsett et al., "Sanity Checks for Saliency Metrics", AAAI 2020, which finds the metrics at odds.
    """
    ranks = {metric: ranks_by_picture(table, metric).mean() for metric in _measured(table)}
    return pd.DataFrame({one: {other: kendalltau(ranks[one], ranks[other]).statistic for other in ranks} for one in ranks})


def _measured(table):
    return [metric for metric in HEADS if metric in table and table[metric].notna().any()]


def by_picture(table, metric):
    """Values of a measurement by network, class, picture and method, averaged over seeds."""
    return table.groupby(["network", "class", "picture", "method"], sort=False)[metric].mean()


def ranks_by_picture(table, metric):
    """Mean rank over networks of each method, a row a picture and a column a method."""
    values = by_picture(table, metric).unstack("method").dropna(how="all")[list(dict.fromkeys(table["method"]))]
    # Rounded, for a difference in the last digits, as between sums in another order, is none.
    ranks = values.round(9).rank(axis=1, ascending=HEADS[metric].endswith("↓"), na_option="bottom")
    return ranks.groupby(["class", "picture"], sort=False).mean()
