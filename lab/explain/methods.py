"""Every method that the lab compares, under one budget of model calls.

All of them ask the black box the same kind of question: what becomes of a class's probability when parts
of the picture are hidden? Where the parts are superpixels, this is a game of coalitions: `value(kept)` is
the probability for each row of `kept`, ``(n, n_superpixels)``, 1 where a superpixel is kept. `explain`
explains pictures, `attribute` such games, of which the answer may be known.
"""

import functools
import math
import threading

import numpy as np
from lime.lime_base import LimeBase
from skimage.color import rgb2gray
from skimage.filters import gaussian, sobel

import rise
from lab.explain.masked_model import MaskedModel, blurred, check_image, mean_colour, superpixels
from lab.explain.lime import locality, perturbations
from lab.explain.setting import Setting
from lab.networks.asking import BATCH, Asked, in_chunks

PACKAGE = Setting(hide_color=None)
"""LIME as its package has it by default: a superpixel is hidden by its mean colour, and all may have a weight."""

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
        none, is the number of pictures handed over at once. Answers are kept as by
        `lab.networks.asking.Asked`: no call is made twice.
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
    "lime", "lime_blurred" [1]_
        The package's defaults, but for the number of samples; the first of them is the picture itself. Superpixels are
        hidden by their mean colours, or by the blurred picture.
    "rise", "rise_average" [2]_
        7 x 7 cells, kept with probability 1/2, black where they are not. A mask a call, from which either
        the lab's regression or the paper's average estimates the map.
    "shap" [3]_
        KernelSHAP of the `shap` package over LIME's superpixels and with LIME's hide colour, without
        its selection of features. One call is for the picture and one for nothing but hide colour.
    "occlusion", "occlusion_black", "occlusion_blurred" [4]_
        A square in the picture's mean colour, in black or of the blurred picture, a quarter of the picture's side, slid over it
        in as many steps as the budget allows. A pixel's saliency is the mean drop of the probability over the squares
        that cover it.
    "nested"
        `rise.nested_occlusion`: windows of two sizes, in the picture's mean colour, slid over the picture and, from 100 calls on,
        over the three quarters, the half, the 35% and the fifth of it that are most salient until then.
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
    image = check_image(image)
    label, budget, seed = (
        _integer("label", label, 0),
        _integer("budget", budget, 1),
        _integer("seed", seed, 0),
    )
    return METHODS[method](black_box, image, label, budget, seed).astype(np.float32)


def _by_superpixels(method, black_box, image, label, budget, seed, hide_color=PACKAGE.hide_color):
    segments = superpixels(image, PACKAGE.superpixel_size)
    game = MaskedModel(Asked(black_box, [label]), image, segments, hide_color)
    return attribute(method, game.value, game.n, budget, seed)[segments]


def _rise(black_box, image, label, budget, seed, estimator="regression"):
    if estimator == "regression":
        _afford("rise", budget, 2, "a pair of masks")
    size = getattr(black_box, "batch_size", BATCH)
    explainer = rise.Rise(
        Asked(black_box, [label]), size, nb_samples=budget, seed=seed, estimator=estimator
    )
    return explainer.estimate(image, [0]).saliency[0]


def _occlusion(black_box, image, label, budget, seed, fill=mean_colour):
    _afford("occlusion", budget, 2, "a window and the picture itself")
    corners, (height, width) = _windows(image.shape[:2], budget - 1)
    corners = [
        image.shape[:2],
        *corners,
    ]  # from the far corner of the picture on, a window covers nothing
    ground = np.broadcast_to(fill(image), image.shape)

    def cover(corners):
        pictures = np.repeat(image[None], len(corners), axis=0)
        for picture, (top, left) in zip(pictures, corners):
            place = slice(top, top + height), slice(left, left + width)
            picture[place] = ground[place]
        return pictures

    answers = in_chunks(Asked(black_box, [label]), cover, corners)[:, 0].astype(np.float64)
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
        starts.append(
            np.unique(np.linspace(0, length - size, steps).round().astype(int))
            if steps > 1
            else np.array([0])
        )
    return [(int(top), int(left)) for top in starts[0] for left in starts[1]], sizes


def _nested(black_box, image, label, budget, seed):
    _afford("nested", budget, 3, "the picture and a window of either size")
    size = getattr(black_box, "batch_size", BATCH)
    return rise.nested_occlusion(
        Asked(black_box, [label]), image, [0], budget, size, seed=seed
    ).saliency[0]


def _random(black_box, image, label, budget, seed):
    return np.random.default_rng(seed).random(image.shape[:2])


def _centre(black_box, image, label, budget, seed):
    away = [(np.arange(length) + 0.5) / length - 0.5 for length in image.shape[:2]]
    return np.exp(-np.add.outer(*(np.square(a) for a in away)) / (2 * 0.25**2))


def _edges(black_box, image, label, budget, seed):
    return gaussian(sobel(rgb2gray(image)), sigma=2)


METHODS = {
    "lime": functools.partial(_by_superpixels, "lime"),
    "rise": _rise,
    "rise_average": functools.partial(_rise, estimator="average"),
    "shap": functools.partial(_by_superpixels, "shap"),
    "occlusion": _occlusion,
    "random": _random,
    "centre": _centre,
    "edges": _edges,
    "lime_blurred": functools.partial(_by_superpixels, "lime", hide_color="blur"),
    "occlusion_black": functools.partial(_occlusion, fill=np.zeros_like),
    "occlusion_blurred": functools.partial(_occlusion, fill=blurred),
    "nested": _nested,
}
"""Methods by name: functions with the parameters of `explain` but for the method, unchecked."""


def attribute(method, value, n_features, budget=None, seed=0):
    """What each feature contributes to a game of coalitions, by one of the methods.

    Parameters
    ----------
    method : {"lime", "rise", "rise_average", "shap", "occlusion", "shapley"}
        As in `explain`; occlusion hides one feature at a time. "shapley" [1]_ goes through all
        coalitions, at most 2**12: the truth that KernelSHAP estimates.
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

    References
    ----------
    .. [1] Shapley, "A Value for n-Person Games", Contributions to the Theory of Games II, 1953.
    """
    return _ON_GAMES[method](value, n_features, budget, seed)


def _lime_on_game(value, n_features, budget, seed):
    _afford("lime", budget, n_features + 1, "each superpixel and the picture itself")
    kept = perturbations(n_features, budget, seed)
    explainer = LimeBase(
        lambda kept: locality(kept, PACKAGE), random_state=np.random.RandomState(seed)
    )
    # In the place of distances go the coalitions themselves, of which `locality` is a function. All features
    # are in the linear model, so that there is none to select.
    _, weights, *_ = explainer.explain_instance_with_data(
        kept, value(kept)[:, None], kept, 0, n_features, "none"
    )
    return np.array([weight for _, weight in sorted(weights)])


def _rise_on_game(value, n_features, budget, seed, estimator="regression"):
    explainer = rise.Rise(
        lambda kept: value(kept)[:, None],
        batch_size=4096,
        nb_samples=budget,
        seed=seed,
        estimator=estimator,
    )
    return explainer.estimate(np.ones(n_features), [0]).saliency[0].astype(np.float64)


def _shap_on_game(value, n_features, budget, seed):
    # Coalitions are drawn with their complements, which tell the regression nothing new: with two for each
    # feature its equations are often singular, which the package does not always notice.
    _afford(
        "shap",
        budget,
        min(4 * n_features, 2**n_features - 2) + 2,
        "four coalitions for each superpixel, all of them and none",
    )
    import shap  # takes seconds, which who asks for another method should not wait

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
    answers = value(
        np.concatenate([np.ones((1, n_features), int), 1 - np.eye(n_features, dtype=int)])
    )
    return answers[0] - answers[1:]


def _shapley_on_game(value, n_features, budget, seed):
    if n_features > MOST_SUPERPIXELS:
        raise ValueError(
            f"exact Shapley values take 2**n model calls: expected at most {MOST_SUPERPIXELS} superpixels, got {n_features}"
        )
    numbers = np.arange(2**n_features)
    kept = numbers[:, None] >> np.arange(n_features) & 1
    answers, size = value(kept), kept.sum(axis=1)
    weight = np.array([1 / (n_features * math.comb(n_features - 1, s)) for s in range(n_features)])
    without = [numbers[kept[:, feature] == 0] for feature in range(n_features)]
    return np.array(
        [
            weight[size[rest]] @ (answers[rest + 2**feature] - answers[rest])
            for feature, rest in enumerate(without)
        ]
    )


_ON_GAMES = {
    "lime": _lime_on_game,
    "rise": _rise_on_game,
    "rise_average": functools.partial(_rise_on_game, estimator="average"),
    "shap": _shap_on_game,
    "occlusion": _occlusion_on_game,
    "shapley": _shapley_on_game,
}


def _afford(method, budget, least, what):
    if budget < least:
        raise ValueError(
            f"budget must be at least {least} model calls for {method} ({what}), got {budget}"
        )


def _integer(name, value, least):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)
