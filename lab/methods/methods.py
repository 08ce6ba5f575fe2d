"""All methods that the lab compares, within one budget of model calls.

They measure how a class's score changes when parts of the image are hidden. `explain`
explains images, `attribute` any function of coalitions: rows of 1 where a feature, such
as a superpixel, is kept, and else 0.
"""

import functools
import math
import threading

import numpy as np
from lime.lime_base import LimeBase
from skimage.color import rgb2gray
from skimage.filters import gaussian, sobel

import rise
from lab.methods.checks import check_budget, check_image, check_integer, check_label, check_seed
from lab.methods.lime import locality, perturbations
from lab.methods.masked_model import MaskedModel, blurred, superpixels
from lab.methods.occlusion import nested_occlusion, occlusion
from lab.methods.partition import owen, soft_superpixels
from lab.methods.setting import Setting
from lab.model_calls import BATCH, predict

PACKAGE = Setting(hide_color=None)  # the package's defaults
COMBINED = "owen", "nested", "rise"
MOST_FEATURES = 12  # for exact Shapley values: 4096 model calls
_shap_lock = threading.Lock()


def explain(method, black_box, image, label, budget, seed=0):
    """Explain a class of an image within a budget of model calls.

    Parameters
    ----------
    method : str
        A key of `EXPLAINERS`: see Notes.
    black_box : callable
        From images ``(N, H, W, 3)`` to scores ``(N, n_classes)``.
    image : (H, W, 3) uint8 array
    label : int
        The class to explain.
    budget : int
        The most images that the black box may be called with.
    seed : int, optional
        Of whatever the method draws; equal seeds give equal maps.

    Returns
    -------
    (H, W) float32 array
        Higher is more important. In units of the score, except for the three baselines;
        RISE's map contains the mean score of masked images.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, the budget is too small for the method, or
        the scores are not finite numbers.

    Notes
    -----
    "lime", "lime_black", "lime_blurred"
        `lab.methods.lime` with the package's defaults but for the number of samples. A
        hidden superpixel shows its mean colour, black, or the blurred image.
    "rise", "rise_average"
        `rise.Rise`: 7 x 7 cells, black with probability 1/2. The map comes from the
        lab's regression, or is the paper's average.
    "shap" [1]_
        KernelSHAP of the `shap` package, with LIME's superpixels and baseline and
        without selection of features.
    "occlusion", "occlusion_black", "occlusion_blurred", "nested"
        `lab.methods.occlusion`: windows that show the mean colour, black or the blurred
        image; and nested occlusion.
    "owen", "soft"
        `lab.methods.partition`: Owen values of the `shap` package, and RISE with soft
        superpixels.
    "combined"
        `combined`, the sum of three maps.
    "random", "centre", "edges"
        Baselines without a model call: noise, independent in each pixel; a Gaussian in
        the centre, with a standard deviation of a quarter of the sides; and edges,
        which look like an explanation [2]_: Sobel's gradient of the grey image,
        smoothed with a Gaussian of 2 pixels.

    References
    ----------
    .. [1] Lundberg, Lee, "A Unified Approach to Interpreting Model Predictions",
           NeurIPS 2017.
    .. [2] Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
    """
    if method not in EXPLAINERS:
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(EXPLAINERS)}")
    image, label, seed = check_image(image), check_label(label), check_seed(seed)
    budget = check_integer("budget", budget, 1)
    return EXPLAINERS[method](black_box, image, label, budget, seed).astype(np.float32)


def _by_superpixels(method, black_box, image, label, budget, seed, hide_color=PACKAGE.hide_color):
    segments = superpixels(image, PACKAGE.superpixel_size)
    masked = MaskedModel(black_box, image, segments, hide_color, [label])
    return attribute(method, masked.value, masked.n, budget, seed)[segments]


def _rise(black_box, image, label, budget, seed, estimator="regression"):
    model = functools.partial(predict, black_box, classes=[label])
    return _rise_map(model, image, budget, seed, getattr(black_box, "batch_size", BATCH), estimator)


def _rise_map(model, x, budget, seed, batch_size, estimator):
    if estimator == "regression":
        check_budget(budget, "rise", 2, "a pair of masks")
    explainer = rise.Rise(model, batch_size, nb_samples=budget, seed=seed, estimator=estimator)
    return explainer.explain_classes(x, [0])[0]


def _random(black_box, image, label, budget, seed):
    return np.random.default_rng(seed).random(image.shape[:2])


def _centre(black_box, image, label, budget, seed):
    offsets = [(np.arange(length) + 0.5) / length - 0.5 for length in image.shape[:2]]
    return np.exp(-np.add.outer(*(np.square(offset) for offset in offsets)) / (2 * 0.25**2))


def _edges(black_box, image, label, budget, seed):
    return gaussian(sobel(rgb2gray(image)), sigma=2)


def combined(black_box, image, label, budget, seed=0):
    """Sum of three maps that fail on different images, each of a third of the calls.

    RISE hides half of the image, where a score that needs most of it is zero. Occlusion
    hides one window, which changes nothing where the network is certain. Owen values
    follow the score from the whole image down, with hard edges. On photographs the sum
    was not significantly better than Owen values or nested occlusion alone.

    Parameters
    ----------
    black_box, image, label, budget, seed
        As in `explain`, which has the errors, too; at least 12 model calls.

    Returns
    -------
    (H, W) float32 array
        Sum of the maps of "owen", "nested" and "rise", each with mean 0 and standard
        deviation 1. The values do not compare between images or classes.
    """
    budget = check_budget(budget, "combined", 12, "four for each of its three methods")
    total = 0.0
    for done, method in enumerate(COMBINED):
        calls = budget * (done + 1) // 3 - budget * done // 3
        saliency = explain(method, black_box, image, label, calls, seed).astype(np.float64)
        if np.ptp(saliency) > 1e-6 * np.abs(saliency).max():  # else it is constant
            total = total + (saliency - saliency.mean()) / saliency.std()
    return total + np.zeros(np.shape(image)[:2])


EXPLAINERS = {
    "lime": functools.partial(_by_superpixels, "lime"),
    "rise": _rise,
    "rise_average": functools.partial(_rise, estimator="average"),
    "shap": functools.partial(_by_superpixels, "shap"),
    "occlusion": occlusion,
    "random": _random,
    "centre": _centre,
    "edges": _edges,
    "lime_blurred": functools.partial(_by_superpixels, "lime", hide_color="blur"),
    "occlusion_black": functools.partial(occlusion, baseline=np.zeros_like),
    "occlusion_blurred": functools.partial(occlusion, baseline=blurred),
    "nested": nested_occlusion,
    "lime_black": functools.partial(_by_superpixels, "lime", hide_color=(0, 0, 0)),
    "owen": owen,
    "soft": soft_superpixels,
    "combined": combined,
}


def attribute(method, value, n_features, budget=None, seed=0):
    """Attribute the values of a function of coalitions to its features.

    Parameters
    ----------
    method : {"lime", "rise", "rise_average", "shap", "occlusion", "shapley"}
        Occlusion hides one feature at a time. "shapley" [1]_ evaluates all coalitions
        of at most 12 features: the exact values that KernelSHAP estimates.
    value : callable
        From coalitions ``(n, n_features)`` of 0 and 1 to values ``(n,)``.
    n_features : int
    budget : int, optional
        The most coalitions to evaluate; without effect on occlusion and "shapley".
    seed : int, optional

    Returns
    -------
    (n_features,) float64 array
        In units of the value.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the budget is too small for the method.

    References
    ----------
    .. [1] Shapley, "A Value for n-Person Games", Contributions to the Theory of Games
           II, 1953.
    """
    if method not in _ATTRIBUTIONS:
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(_ATTRIBUTIONS)}")

    def checked(coalitions):
        # A copy, since the function may write into its input.
        values = rise.model_outputs(value, np.array(coalitions))
        if values.shape[1] != 1:
            raise ValueError(f"value must return one number a coalition, got {values.shape[1]}")
        return values[:, 0]

    n_features, seed = check_integer("n_features", n_features, 1), check_seed(seed)
    return _ATTRIBUTIONS[method](checked, n_features, budget, seed).astype(np.float64)


def least_calls(methods, n_features):
    """The fewest model calls that LIME needs, or "shap" if it is among the methods."""
    # Coalitions are drawn with their complements, which add nothing to the regression:
    # with two for each feature, it is often singular, and the package may not notice.
    shap = min(4 * n_features, 2**n_features - 2) + 2
    return shap if "shap" in methods else n_features + 1


def _lime(value, n_features, budget, seed):
    least = least_calls(["lime"], n_features)
    check_budget(budget, "lime", least, "each superpixel and the image itself")
    coalitions = perturbations(n_features, budget, seed)
    # `locality` computes the distances itself: in their place go the coalitions.
    explainer = LimeBase(lambda coalitions: locality(coalitions, PACKAGE))
    _, weights, *_ = explainer.explain_instance_with_data(
        coalitions, value(coalitions)[:, None], coalitions, 0, n_features, "none"
    )
    return np.array([weight for _, weight in sorted(weights)])


def _rise_of_features(value, n_features, budget, seed, estimator="regression"):
    return _rise_map(value, np.ones(n_features), budget, seed, 4096, estimator)


def _shap(value, n_features, budget, seed):
    least = least_calls(["shap"], n_features)
    check_budget(budget, "shap", least, "four coalitions a superpixel, all of them and none")
    import shap  # takes seconds, and the other methods do not need it

    with _shap_lock:  # the package draws from NumPy's global state
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            explainer = shap.KernelExplainer(value, np.zeros((1, n_features)))
            # By default the package would keep ten features and set the others to 0.
            return explainer.shap_values(np.ones(n_features), nsamples=budget - 2, l1_reg=False)
        finally:
            np.random.set_state(state)


def _occlusion_of_features(value, n_features, budget, seed):
    values = value(np.vstack([np.ones(n_features, int), 1 - np.eye(n_features, dtype=int)]))
    return values[0] - values[1:]


def _shapley(value, n_features, budget, seed):
    check_integer("n_features", n_features, 1, MOST_FEATURES)
    numbers = np.arange(2**n_features)
    coalitions = numbers[:, None] >> np.arange(n_features) & 1
    values, size = value(coalitions), coalitions.sum(axis=1)
    weight = np.array([1 / (n_features * math.comb(n_features - 1, s)) for s in range(n_features)])
    attributions = np.zeros(n_features)
    for feature in range(n_features):
        without = numbers[coalitions[:, feature] == 0]
        gains = values[without + 2**feature] - values[without]
        attributions[feature] = weight[size[without]] @ gains
    return attributions


_ATTRIBUTIONS = {
    "lime": _lime,
    "rise": _rise_of_features,
    "rise_average": functools.partial(_rise_of_features, estimator="average"),
    "shap": _shap,
    "occlusion": _occlusion_of_features,
    "shapley": _shapley,
}
