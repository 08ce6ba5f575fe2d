"""Every method that the lab compares, under one budget of model calls.

All of them ask the black box the same kind of question: what becomes of a class's probability when parts
of the picture are hidden? Where the parts are superpixels, this is a game of coalitions: `value(kept)` is
the probability for each row of `kept`, ``(n, n_superpixels)``, 1 where a superpixel is kept. `explain`
explains pictures, `attribute` such games, of which the answer may be known.
"""

import dataclasses
import functools
import math
import threading

import numpy as np
import shap
from lime.lime_base import LimeBase
from skimage.color import rgb2gray
from skimage.filters import gaussian, sobel

import rise
from lab.cache import scores
from lab.lime_study import LAB_SETTINGS, Predictions, hidden_picture, locality, perturb, perturbations, superpixels
from lab.lime_study import explain as explain_by_lime

LIME_SETTING = LAB_SETTINGS["1"]  # leads the ranking in report/results/lime_ranking.csv
WINDOW = 1 / 4  # side of occlusion's window as a share of the picture's
MOST_SUPERPIXELS = 12  # for exact Shapley values: 4096 model calls
_shap_lock = threading.Lock()


def explain(method, black_box, image, label, budget, seed=0):
    """How much each pixel matters to a class, by one of the methods, within a budget of model calls.

    Parameters
    ----------
    method : str
        A key of `METHODS`: see Notes.
    black_box : callable
        From pictures ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``. Its `batch_size`, 32 if it has
        none, is the number of pictures handed over at once. Answers of one that has a `fingerprint` are
        kept on disk a batch at a time: no call is made twice, and interrupted work goes on.
    image : (H, W, 3) uint8 array
    label : int
        The class to explain.
    budget : int
        The most pictures that the black box may be asked about.
    seed : int, optional
        Of whatever the method draws; equal seeds give equal maps.

    Returns
    -------
    (H, W) float32 array
        Higher is more important. Scales differ between the methods: in units of the probability for all
        but the three baselines, but for RISE with the mean probability of masked pictures added.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or the budget is too small for the method.

    Notes
    -----
    "lime" [1]_
        The lab's chosen setting, `LIME_SETTING`, but for its number of samples. One call is for the
        picture itself, the others are perturbed pictures.
    "rise", "rise_average" [2]_
        7 x 7 cells, kept with probability 1/2, black where they are not. A mask a call, from which either
        the lab's regression or the paper's average estimates the map.
    "shap" [3]_
        KernelSHAP of the `shap` package over LIME's superpixels and with LIME's hide colour, without
        its selection of features. One call is for the picture and one for nothing but hide colour.
    "occlusion" [4]_
        A square in the picture's mean colour, a quarter of the picture's side, slid over it in as many
        steps as the budget allows. A pixel's saliency is the mean drop of the probability over the squares
        that cover it.
    "random", "centre", "edges"
        What a good method must beat, without a model call: noise, the usual kind, drawn for each pixel
        alone; a Gaussian in the middle, where photographers put things, with a standard deviation of a quarter of
        the picture's sides; and edges, which look like an explanation [5]_: Sobel's gradient of the grey
        picture, smoothed with a Gaussian of 2 pixels.

    References
    ----------
    .. [1] Ribeiro, Singh, Guestrin, "'Why Should I Trust You?': Explaining the Predictions of Any
           Classifier", KDD 2016.
    .. [2] Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box
           Models", BMVC 2018.
    .. [3] Lundberg, Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017.
    .. [4] Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
    .. [5] Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(METHODS)}")
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) of uint8, got {image.shape} of {image.dtype}")
    label, budget, seed = _integer("label", label, 0), _integer("budget", budget, 1), _integer("seed", seed, 0)
    return METHODS[method](black_box, image, label, budget, seed).astype(np.float32)


def _lime(black_box, image, label, budget, seed):
    _afford("lime", budget, superpixels(image, LIME_SETTING.superpixel_size).max() + 2, "each superpixel and the picture itself")
    # How many superpixels are shown has no part in their weights, but must not exceed the samples.
    setting = dataclasses.replace(LIME_SETTING, num_samples=budget - 1, num_superpixels=1, seed=seed)
    explanation = explain_by_lime(Predictions(black_box, image, [label]), setting, label)
    weights = np.zeros(explanation.segments.max() + 1)
    for superpixel, weight in explanation.local_exp[label]:
        weights[superpixel] = weight
    return weights[explanation.segments]


def _rise(black_box, image, label, budget, seed, estimator="regression"):
    if estimator == "regression":
        _afford("rise", budget, 2, "a pair of masks")
    ask = _score(black_box, label)
    explainer = rise.Rise(
        lambda pictures: ask(pictures)[:, None], _batch_size(black_box), nb_samples=budget, seed=seed, estimator=estimator
    )
    return explainer.estimate(image, [0]).saliency[0]


def _shap(black_box, image, label, budget, seed):
    segments = superpixels(image, LIME_SETTING.superpixel_size)
    value = game(black_box, image, label, segments, LIME_SETTING.hide_color)
    return attribute("shap", value, segments.max() + 1, budget, seed)[segments]


def _occlusion(black_box, image, label, budget, seed):
    _afford("occlusion", budget, 2, "a window and the picture itself")
    corners, (height, width) = _windows(image.shape[:2], budget - 1)
    corners = [image.shape[:2], *corners]  # from the far corner of the picture on, a window covers nothing
    colour = np.round(image.mean(axis=(0, 1))).astype(np.uint8)

    def cover(corners):
        pictures = np.repeat(image[None], len(corners), axis=0)
        for picture, (top, left) in zip(pictures, corners):
            picture[top : top + height, left : left + width] = colour
        return pictures

    answers = _in_batches(black_box, label, cover, corners)
    total, count = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    for (top, left), drop in zip(corners, answers[0] - answers):
        total[top : top + height, left : left + width] += drop
        count[top : top + height, left : left + width] += 1
    return total / count


def _windows(shape, most):
    """At most `most` windows, evenly spread, that leave no pixel uncovered: their corners and their size."""
    rows = min(max(int(math.sqrt(most * shape[0] / shape[1])), 1), most)
    sizes, starts = [], []
    for length, steps in zip(shape, (rows, most // rows)):
        size = max(round(WINDOW * length), -(-length // steps))
        sizes.append(size)
        starts.append(np.unique(np.linspace(0, length - size, steps).round().astype(int)) if steps > 1 else np.array([0]))
    return [(int(top), int(left)) for top in starts[0] for left in starts[1]], sizes


def _random(black_box, image, label, budget, seed):
    return np.random.default_rng(seed).random(image.shape[:2])


def _centre(black_box, image, label, budget, seed):
    away = [(np.arange(length) + 0.5) / length - 0.5 for length in image.shape[:2]]
    return np.exp(-np.add.outer(*(np.square(a) for a in away)) / (2 * 0.25**2))


def _edges(black_box, image, label, budget, seed):
    return gaussian(sobel(rgb2gray(image)), sigma=2)


METHODS = {
    "lime": _lime,
    "rise": _rise,
    "rise_average": functools.partial(_rise, estimator="average"),
    "shap": _shap,
    "occlusion": _occlusion,
    "random": _random,
    "centre": _centre,
    "edges": _edges,
}
"""Methods by name: functions with the parameters of `explain` but for the method, unchecked."""

NAMES = {
    "lime": "LIME",
    "rise": "RISE (regression)",
    "rise_average": "RISE (average)",
    "shap": "KernelSHAP",
    "occlusion": "Occlusion",
    "random": "Random",
    "centre": "Centre Gaussian",
    "edges": "Edge detector",
}
"""How people write the methods' names."""

BASELINES = "random", "centre", "edges"
"""Those that never ask the black box."""


def exact_shapley(black_box, image, label, segments, hide_color):
    """Shapley values of superpixels, from all coalitions: the truth that KernelSHAP estimates.

    Parameters
    ----------
    black_box, image, label
        As in `explain`.
    segments : (H, W) int array
        Each pixel's superpixel, numbered from 0; at most 12 of them.
    hide_color : (int, int, int), None or "blur"
        What a hidden superpixel shows, as in `lab.lime_study.Setting`.

    Returns
    -------
    (n_superpixels,) array
        In units of the probability; their sum is what the whole picture has more than the hidden one.

    Raises
    ------
    ValueError
        If the superpixels are too many, or not numbered from 0 without a gap.

    References
    ----------
    .. [1] Shapley, "A Value for n-Person Games", Contributions to the Theory of Games II, 1953.
    """
    image, segments = np.asarray(image), np.asarray(segments)
    if segments.shape != image.shape[:2]:
        raise ValueError(f"segments must be of the picture's shape {image.shape[:2]}, got {segments.shape}")
    numbers = np.unique(segments)
    if not np.array_equal(numbers, np.arange(len(numbers))):
        raise ValueError(f"segments must be numbered from 0 without a gap, got {len(numbers)} of them from {numbers[0]} to {numbers[-1]}")
    _integer("label", label, 0)
    return attribute("shapley", game(black_box, image, label, segments, hide_color), len(numbers))


def attribute(method, value, n_features, budget=None, seed=0):
    """What each feature contributes to a game of coalitions, by one of the methods.

    Parameters
    ----------
    method : {"lime", "rise", "rise_average", "shap", "occlusion", "shapley"}
        As in `explain`; occlusion hides one feature at a time. "shapley" goes through all coalitions.
    value : callable
        From coalitions ``(n, n_features)``, 1 where a feature is kept and 0 elsewhere, to values ``(n,)``.
    n_features : int
    budget : int, optional
        The most coalitions to ask about. Occlusion and "shapley", which draw none, need no budget.
    seed : int, optional

    Returns
    -------
    (n_features,) array
        In units of the value.

    Raises
    ------
    ValueError
        If the budget is too small for the method, or features are too many for "shapley".
    """
    return _ON_GAMES[method](value, n_features, budget, seed)


def _lime_on_game(value, n_features, budget, seed):
    kept = perturbations(n_features, budget, seed)
    explainer = LimeBase(lambda kept: locality(kept, LIME_SETTING), random_state=np.random.RandomState(seed))
    # In the place of distances go the coalitions themselves, of which `locality` is a function. All features
    # are in the linear model, so that there is none to select.
    _, weights, *_ = explainer.explain_instance_with_data(kept, value(kept)[:, None], kept, 0, n_features, "none")
    return np.array([weight for _, weight in sorted(weights)])


def _rise_on_game(value, n_features, budget, seed, estimator="regression"):
    explainer = rise.Rise(lambda kept: value(kept)[:, None], batch_size=4096, nb_samples=budget, seed=seed, estimator=estimator)
    return explainer.estimate(np.ones(n_features), [0]).saliency[0].astype(np.float64)


def _shap_on_game(value, n_features, budget, seed):
    # Coalitions are drawn with their complements, which tell the regression nothing new: with two for each
    # feature its equations are often singular, which the package does not always notice.
    _afford("shap", budget, min(4 * n_features, 2**n_features - 2) + 2, "four coalitions for each superpixel, all of them and none")
    with _shap_lock:  # the package draws from NumPy's global state
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            explainer = shap.KernelExplainer(value, np.zeros((1, n_features)))
            # By default the package would keep ten features and call the others 0.
            return explainer.shap_values(np.ones(n_features), nsamples=budget - 2, l1_reg=False)
        finally:
            np.random.set_state(state)


def _occlusion_on_game(value, n_features, budget, seed):
    answers = value(np.concatenate([np.ones((1, n_features), int), 1 - np.eye(n_features, dtype=int)]))
    return answers[0] - answers[1:]


def _shapley_on_game(value, n_features, budget, seed):
    if n_features > MOST_SUPERPIXELS:
        raise ValueError(f"exact Shapley values take 2**n model calls: expected at most {MOST_SUPERPIXELS} superpixels, got {n_features}")
    numbers = np.arange(2**n_features)
    kept = numbers[:, None] >> np.arange(n_features) & 1
    answers, size = value(kept), kept.sum(axis=1)
    weight = np.array([1 / (n_features * math.comb(n_features - 1, s)) for s in range(n_features)])
    without = [numbers[kept[:, feature] == 0] for feature in range(n_features)]
    return np.array([weight[size[rest]] @ (answers[rest + 2**feature] - answers[rest]) for feature, rest in enumerate(without)])


_ON_GAMES = {
    "lime": _lime_on_game,
    "rise": _rise_on_game,
    "rise_average": functools.partial(_rise_on_game, estimator="average"),
    "shap": _shap_on_game,
    "occlusion": _occlusion_on_game,
    "shapley": _shapley_on_game,
}


def game(black_box, image, label, segments, hide_color):
    """The game that a picture's superpixels play: what is kept of them decides the probability.

    Parameters
    ----------
    black_box, image, label
        As in `explain`.
    segments, hide_color
        As in `exact_shapley`.

    Returns
    -------
    callable
        From coalitions ``(n, n_superpixels)``, 1 where a superpixel is kept, to probabilities ``(n,)``; what
        `attribute` takes.
    """
    hidden = hidden_picture(image, segments, hide_color)
    return lambda kept: _in_batches(black_box, label, lambda kept: perturb(image, hidden, segments, kept), kept)


def _in_batches(black_box, label, draw, rows):
    """The class's probability on the pictures that `draw` makes of some rows, a batch at a time."""
    ask, size = _score(black_box, label), _batch_size(black_box)
    return np.concatenate([ask(draw(rows[start : start + size])) for start in range(0, len(rows), size)])


def _score(black_box, label):
    """The class's probability as a function of a batch of pictures, kept on disk if the black box can be told apart."""

    def ask(pictures):
        answers = np.asarray(black_box(pictures))
        if answers.ndim != 2 or len(answers) != len(pictures) or answers.dtype.kind not in "fiu":
            raise ValueError(
                f"the black box must answer {len(pictures)} pictures with numbers of shape ({len(pictures)}, n_classes), "
                f"got {answers.dtype} of shape {answers.shape}"
            )
        if label >= answers.shape[1]:
            raise ValueError(f"label must be a class from 0 to {answers.shape[1] - 1}, got {label}")
        if not np.isfinite(answers).all():
            raise ValueError("the black box must answer with finite numbers, got NaN or infinity")
        return answers

    ask.fingerprint = getattr(black_box, "fingerprint", None)
    recall = scores if ask.fingerprint else lambda ask, pictures, classes: ask(pictures)[:, classes]
    return lambda pictures: recall(ask, pictures, [int(label)])[:, 0].astype(np.float64)


def _batch_size(black_box):
    return getattr(black_box, "batch_size", 32)


def _afford(method, budget, least, what):
    if budget < least:
        raise ValueError(f"budget must be at least {least} model calls for {method} ({what}), got {budget}")


def _integer(name, value, least):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)
