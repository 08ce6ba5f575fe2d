"""Remove and retrain, on digits: a network trains in a tenth of a second."""

import warnings

import numpy as np
import pandas as pd
from skimage.filters import sobel
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from lab.explain.methods import attribute

N_PIXELS, SIDE = 64, 8  # of a digit

ROAR_METHODS = "lime", "rise_average", "shap", "occlusion", "random", "centre", "edges"
"""The methods of `roar`; the last three make no model call."""


def roar(method, seed, shares=(0, 0.1, 0.3, 0.5, 0.7, 0.9), count=None, n_samples=512):
    """What a network still learns without the pixels that a method found important.

    On scikit-learn's 8 x 8 handwritten digits, three quarters to train on and a quarter
    to test. A small network is trained; its probability of the true class is explained
    for all digits; the most important pixels of each are replaced; and a new network is
    trained and tested on the result. The lower its accuracy, the better the method,
    unless the removed pixels themselves reveal the class, which is measured, too.

    Parameters
    ----------
    method : str
        One of `ROAR_METHODS`.
    seed : int
        Of the split, the networks' first weights, the perturbations and the drawn
        values: the same for all methods.
    shares : iterable of float, optional
        Shares of the pixels to remove, from 0 to 1.
    count : int, optional
        Use only the first `count` digits, at least 100; all 1797 by default.
    n_samples : int, optional
        The most perturbations for each explanation. Occlusion needs 65 only, the
        baselines none.

    Returns
    -------
    pandas.DataFrame
        "method", "share", "seed" and the accuracies on test digits: "accuracy" when a
        removed pixel shows its mean over the training digits, as in [1]_, and also when
        it is hidden from the network explained; "drawn" when it shows that of a
        training digit drawn at random; and "trace" of a network that sees which pixels
        were removed and nothing else. For the first two **lower is better**; share 0 is
        the network explained. "trace" is 0.1, chance, for a method that looks at
        neither digit nor class; at share 0 it is NaN.

    Notes
    -----
    A mean among other values shows where pixels were removed, and the new network can
    read the class from the hole [2]_: "accuracy" then stays high. Drawn values hide the
    hole in part. Compare methods by "drawn", at the smaller shares.

    References
    ----------
    .. [1] Hooker et al., "A Benchmark for Interpretability Methods", NeurIPS 2019.
    .. [2] Rong et al., "A Consistent and Efficient Evaluation Strategy", ICML 2022.
    """
    shares = list(shares)
    if method not in ROAR_METHODS:
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(ROAR_METHODS)}")
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"shares must be from 0 to 1, got {shares}")
    digits, labels = load_digits(return_X_y=True)
    if count is not None and not 100 <= count <= len(digits):
        raise ValueError(f"count must be from 100 to the {len(digits)} digits, got {count}")
    digits, labels = digits[:count].astype(np.float32) / 16, labels[:count]

    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.25, random_state=seed, stratify=labels
    )
    mean = digits[train].mean(axis=0)
    network = _trained(digits[train], labels[train], seed)
    intact = network.score(digits[test], labels[test])
    others = np.random.default_rng(seed).choice(train, digits.shape)
    drawn = np.take_along_axis(digits, others, axis=0)
    saliency = _saliency(method, network, digits, labels, mean, n_samples, seed)
    places = (-saliency).argsort(axis=1, kind="stable").argsort(axis=1)
    rows = []
    for share in shares:
        accuracies = {"accuracy": intact, "drawn": intact, "trace": float("nan")}
        if share > 0:
            gone = places < round(share * N_PIXELS)
            left = {
                "accuracy": np.where(gone, mean, digits),
                "drawn": np.where(gone, drawn, digits),
                "trace": gone * 1.0,
            }
            accuracies = {
                name: _trained(x[train], labels[train], seed).score(x[test], labels[test])
                for name, x in left.items()
            }
        rows.append({"method": method, "share": share, "seed": seed, **accuracies})
    return pd.DataFrame(rows)


def _saliency(method, network, digits, labels, mean, n_samples, seed):
    """Attributions of all digits, (n, 64)."""
    if method == "random":
        return np.random.default_rng(seed).random(digits.shape)
    if method == "centre":
        y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
        return np.tile(-(y**2 + x**2).ravel(), (len(digits), 1))
    if method == "edges":
        return np.stack([sobel(digit.reshape(SIDE, SIDE)).ravel() for digit in digits])

    def explained(digit, label):
        def value(coalitions):
            """The class's probability with only some of the digit's pixels, (n,)."""
            pixels = mean + np.asarray(coalitions, np.float32) * (digit - mean)
            return network.predict_proba(pixels)[:, label]

        return attribute(method, value, N_PIXELS, n_samples, seed)

    return np.stack([explained(digit, label) for digit, label in zip(digits, labels)])


def _trained(digits, labels, seed):
    with warnings.catch_warnings():
        # Forty rounds are enough: 97% on whole digits.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network = MLPClassifier((64,), learning_rate_init=0.005, max_iter=40, random_state=seed)
        return network.fit(digits, labels)
