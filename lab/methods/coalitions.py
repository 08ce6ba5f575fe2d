"""Attribution to features: of any function of coalitions.

A coalition is a row of numbers, 1 where a feature, such as a superpixel, is kept, and
else 0.
"""

import math
import threading

import numpy as np

import rise
from lab.methods.checks import check_integer, check_seed
from lab.methods.lime import linear_model, locality, perturbations
from lab.methods.masked_model import MaskedModel, superpixels
from lab.methods.registry import check_budget
from lab.methods.setting import Setting

MOST_FEATURES = 12  # for exact Shapley values: 4096 model calls
_shap_lock = threading.Lock()


def by_superpixels(black_box, image, label, budget, seed, method, hide_color=None):
    """Explain an image by what LIME or KernelSHAP attribute to LIME's superpixels.

    Parameters
    ----------
    black_box, image, label, budget, seed
        As in `lab.methods.registry.explain`.
    method : {"lime", "shap"}
        With the `lime` package's defaults except for the number of samples; or
        KernelSHAP [1]_ of the `shap` package, without selection of features.
    hide_color
        What a hidden superpixel shows, as for `MaskedModel`.

    Returns
    -------
    (H, W) float64 array

    References
    ----------
    .. [1] Lundberg, Lee, "A Unified Approach to Interpreting Model Predictions",
           NeurIPS 2017.
    """
    segments = superpixels(image)
    masked = MaskedModel(black_box, image, segments, hide_color, [label])
    return _ESTIMATORS[method](masked.value, masked.n, budget, seed)[segments]


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
    if method not in (*_ESTIMATORS, *_EXACT):
        expected = ", ".join((*_ESTIMATORS, *_EXACT))
        raise ValueError(f"unknown method {method!r}: expected one of {expected}")
    n_features, seed = check_integer("n_features", n_features, 1), check_seed(seed)

    def checked(coalitions):
        # A copy, since the function may write into its input.
        values = rise.model_outputs(value, np.array(coalitions))
        if values.shape[1] != 1:
            raise ValueError(f"value must return one number a coalition, got {values.shape[1]}")
        return values[:, 0]

    if method in _EXACT:
        return _EXACT[method](checked, n_features).astype(np.float64)
    budget = check_budget(budget, method, n_features)
    return _ESTIMATORS[method](checked, n_features, budget, seed).astype(np.float64)


def _lime(value, n_features, budget, seed):
    coalitions = perturbations(n_features, budget, seed)
    weights = locality(coalitions, Setting())
    _, pairs, *_ = linear_model(coalitions, value(coalitions), weights, n_features, "none")
    return np.array([weight for _, weight in sorted(pairs)])


def _rise(value, n_features, budget, seed, estimator="regression"):
    explainer = rise.Rise(value, 4096, nb_samples=budget, seed=seed, estimator=estimator)
    return explainer.explain_classes(np.ones(n_features), [0])[0]


def _rise_average(value, n_features, budget, seed):
    return _rise(value, n_features, budget, seed, "average")


def _shap(value, n_features, budget, seed):
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


def _occlusion(value, n_features):
    values = value(np.vstack([np.ones(n_features, int), 1 - np.eye(n_features, dtype=int)]))
    return values[0] - values[1:]


def _shapley(value, n_features):
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


_ESTIMATORS = {"lime": _lime, "rise": _rise, "rise_average": _rise_average, "shap": _shap}
_EXACT = {"occlusion": _occlusion, "shapley": _shapley}
