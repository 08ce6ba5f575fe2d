"""Remove and retrain, on digits small enough to train a network in a tenth of a second."""

import functools
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
SHARES = 0, 0.1, 0.3, 0.5, 0.7, 0.9
"""Shares of the pixels that are removed."""


def _random(digits, seed):
    return np.random.default_rng(seed).random(digits.shape)


def _centre(digits, seed):
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.tile(-(y**2 + x**2).ravel(), (len(digits), 1))


def _edges(digits, seed):
    return np.stack([sobel(digit.reshape(SIDE, SIDE)).ravel() for digit in digits])


_LOOKS_AT_NO_NETWORK = {"random": _random, "centre": _centre, "edges": _edges}

METHODS = "lime", "rise_average", "shap", "occlusion", *_LOOKS_AT_NO_NETWORK
"""Those that `roar` can be asked about."""


def roar(method, seed, shares=SHARES, count=None, n_samples=512):
    """What a network can still learn without the pixels that a method finds most important.

    On scikit-learn's 8 x 8 handwritten digits, three quarters to train on and a quarter to test. A small
    network is trained; its answers for the true class are explained for all digits; the most important
    pixels of each are replaced; and a new network is trained and tested on what is left. The lower its
    accuracy, the better the method - unless what was removed gives the class away, which is measured, too.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    seed : int
        Decides the split, the networks' first weights, the perturbations and what is drawn: without the
        method they are the same for all methods.
    shares : iterable of float, optional
        Shares of the pixels to remove, from 0 to 1.
    count : int, optional
        Use only the first `count` digits, at least 100; all 1797 by default.
    n_samples : int, optional
        The most perturbations for each explanation. Occlusion needs 65 only, the baselines none.

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
        If a number is out of its range, or the method is not known.

    Notes
    -----
    Which pixels are removed depends on digit and class, and a mean among other values shows where they were:
    the new network can read the class from the hole [2]_. "accuracy" then stays high although all that
    mattered is gone, and ranks methods by how little they tell. Drawn values hide the hole in part. Compare
    methods by "drawn", at the smaller shares, and see by "trace" what is left to be read.

    A digit is a game of its 64 pixels for `lab.explain.methods.attribute`. What is hidden from the network
    shows its mean over the training digits.

    References
    ----------
    .. [1] Hooker, Erhan, Kindermans, Kim, "A Benchmark for Interpretability Methods in Deep Neural
           Networks", NeurIPS 2019.
    .. [2] Rong, Leemann, Borisov, Kasneci, Kasneci, "A Consistent and Efficient Evaluation Strategy for
           Attribution Methods", ICML 2022.
    """
    shares = list(shares)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(METHODS)}")
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
    drawn = np.take_along_axis(
        digits, np.random.default_rng(seed).choice(train, digits.shape), axis=0
    )
    places = (
        (-_saliency(method, network, digits, labels, mean, n_samples, seed))
        .argsort(axis=1, kind="stable")
        .argsort(axis=1)
    )
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
                how: _trained(x[train], labels[train], seed).score(x[test], labels[test])
                for how, x in left.items()
            }
        rows.append({"method": method, "share": share, "seed": seed, **accuracies})
    return pd.DataFrame(rows)


def _saliency(method, network, digits, labels, mean, n_samples, seed):
    """Attributions of all digits, (n, 64)."""
    if method in _LOOKS_AT_NO_NETWORK:
        return _LOOKS_AT_NO_NETWORK[method](digits, seed)
    return np.stack(
        [
            attribute(
                method,
                functools.partial(_probability, network, digit, label, mean),
                N_PIXELS,
                n_samples,
                seed,
            )
            for digit, label in zip(digits, labels)
        ]
    )


def _trained(pictures, labels, seed):
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # forty rounds are enough: 97 % on digits left whole
        return MLPClassifier((64,), learning_rate_init=0.005, max_iter=40, random_state=seed).fit(
            pictures, labels
        )


def _probability(network, digit, label, mean, kept):
    """The class's probability when only these pixels of a digit are kept, (n,)."""
    return network.predict_proba(mean + np.asarray(kept, np.float32) * (digit - mean))[:, label]
