"""Remove and retrain, on digits: a network trains in a tenth of a second."""

import warnings

import numpy as np
import pandas as pd
from skimage.filters import sobel
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from lab.methods.coalitions import attribute
from lab.methods.ranking import ranks

N_PIXELS, DIGIT_SIDE = 64, 8  # of a digit

ROAR_METHODS = "lime", "rise_average", "shap", "occlusion", "random", "centre", "edges"
SHARES = 0, 0.1, 0.3, 0.5, 0.7, 0.9  # of the pixels that are removed


def roar(method, seed, count=None, n_samples=512):
    """What a network still learns without the pixels that a method found important.

    A small network is trained on three quarters of scikit-learn's 8 x 8 handwritten
    digits. Its probability of the true class is explained for all digits, the most
    important pixels of each are replaced, and a new network is trained on the result
    and tested on the other quarter.

    The lower the accuracy, the better the method, unless the class can be read from
    where pixels were removed, which a mean among other values shows [2]_. Drawn values
    hide this in part. Compare methods by "drawn", at the smaller shares.

    Parameters
    ----------
    method : str
        One of `ROAR_METHODS`.
    seed : int
        Of the split, the networks' first weights, perturbations and drawn values.
    count : int, optional
        Use only the first `count` digits, at least 100; all 1797 by default.
    n_samples : int, optional
        The most perturbations for each explanation.

    Returns
    -------
    pandas.DataFrame
        "method", "share" (of `SHARES`), "seed" and the accuracies on test digits:
        "accuracy" when a removed pixel shows its mean over the training digits [1]_;
        "drawn" when it shows that of a training digit drawn at random; and "trace" (NaN
        at share 0) of a network that sees only which pixels were removed: 0.1, chance,
        for a method that looks at neither digit nor class.

    References
    ----------
    .. [1] Hooker et al., "A Benchmark for Interpretability Methods", NeurIPS 2019.
    .. [2] Rong et al., "A Consistent and Efficient Evaluation Strategy", ICML 2022.
    """
    digits, labels = load_digits(return_X_y=True)
    digits, labels = digits[:count].astype(np.float32) / 16, labels[:count]

    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.25, random_state=seed, stratify=labels
    )
    mean = digits[train].mean(axis=0)
    others = np.random.default_rng(seed).choice(train, digits.shape)
    drawn = np.take_along_axis(digits, others, axis=0)

    def retrained(pixels):
        network = _trained(pixels[train], labels[train], seed)
        return network, network.score(pixels[test], labels[test])

    network, intact = retrained(digits)
    saliency = _saliency(method, network, digits, labels, mean, n_samples, seed)
    rank = np.stack([ranks(each) for each in saliency])
    rows = []
    for share in SHARES:
        accuracies = [intact, intact, float("nan")]
        if share > 0:
            gone = rank < round(share * N_PIXELS)
            left = np.where(gone, mean, digits), np.where(gone, drawn, digits), gone * 1.0
            accuracies = [retrained(pixels)[1] for pixels in left]
        rows.append((method, share, seed, *accuracies))
    return pd.DataFrame(rows, columns=["method", "share", "seed", "accuracy", "drawn", "trace"])


def _saliency(method, network, digits, labels, mean, n_samples, seed):
    """Attributions of all digits, (n, 64)."""
    if method == "random":
        return np.random.default_rng(seed).random(digits.shape)
    if method == "centre":
        y, x = np.mgrid[:DIGIT_SIDE, :DIGIT_SIDE] - (DIGIT_SIDE - 1) / 2
        return np.tile(-(y**2 + x**2).ravel(), (len(digits), 1))
    if method == "edges":
        return np.stack([sobel(digit.reshape(DIGIT_SIDE, DIGIT_SIDE)).ravel() for digit in digits])

    def explained(digit, label):
        def value(coalitions):
            pixels = mean + np.asarray(coalitions, np.float32) * (digit - mean)
            return network.predict_proba(pixels)[:, label]

        return attribute(method, value, N_PIXELS, n_samples, seed)

    return np.stack([explained(digit, label) for digit, label in zip(digits, labels)])


def _trained(digits, labels, seed):
    network = MLPClassifier((64,), learning_rate_init=0.005, max_iter=40, random_state=seed)
    with warnings.catch_warnings():
        # Forty rounds are enough: 97% on whole digits.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(digits, labels)
