"""Axioms that attributions may be asked to meet, tested on functions whose answers are known.

The functions take four features, kept (1) or hidden (0), of which the first two are interchangeable and
the last one is ignored.
"""

import itertools

import numpy as np
import pandas as pd

from lab.explain.methods import attribute
from lab.explain.names import METHOD_NAMES
from lab.measure.measurements import TOLERANCE, head

METHODS = "lime", "rise", "rise_average", "shap", "occlusion", "shapley"
"""The methods that can be asked."""

AXIOMS = "completeness", "symmetry", "dummy", "linearity", "implementation_invariance"
"""The axioms; how far they are violated are measurements under these keys."""

N_FEATURES = 4
SAMPLES = 2**17  # coalitions drawn, with repetition, by the methods that draw
COEFFICIENTS = 1, 2  # of the linear combinations


def _relu(x):
    return np.maximum(x, 0)


# Each in two implementations, the second one as a network of ReLUs would have it.
FUNCTIONS = {
    "additive": (
        lambda a, b, c, d: 0.1 + 0.3 * a + 0.3 * b + 0.2 * c,
        lambda a, b, c, d: 0.9 - 0.3 * _relu(1 - a) - 0.3 * _relu(1 - b) - 0.2 * _relu(1 - c),
    ),
    "and": (lambda a, b, c, d: a * b * c, lambda a, b, c, d: _relu(a + b + c - 2)),
    "max": (lambda a, b, c, d: np.maximum(a, b), lambda a, b, c, d: b + _relu(a - b)),
    "mixed": (
        lambda a, b, c, d: (a + b + 2 * c + 2 * a * b * c) / 6,
        lambda a, b, c, d: (_relu(a + b) + 2 * c + 2 * _relu(a + b + c - 2)) / 6,
    ),
}
"""The functions by name, each in two implementations that agree wherever features are kept or hidden."""


def axioms_table(seed=0):
    """How far each method violates each axiom, in the worst case over `FUNCTIONS`.

    Parameters
    ----------
    seed : int, optional
        Of the coalitions that LIME, RISE and KernelSHAP draw; one seed for all functions.

    Returns
    -------
    pandas.DataFrame
        A row for each of `METHODS`: "method", and a column for each of `AXIOMS`. 0 is no violation; see
        `violations` for the scale.
    """
    table = violations(seed).groupby(["method", "axiom"], sort=False)["violation"].max().unstack()
    return table.loc[list(METHODS), list(AXIOMS)].rename_axis(columns=None).reset_index()


def violations(seed=0, attribute=attribute):
    """How far each method violates each axiom on each function.

    Parameters
    ----------
    seed : int, optional
        As in `axioms_table`.
    attribute : callable, optional
        What explains a function, by the parameters of `lab.explain.methods.attribute`.

    Returns
    -------
    pandas.DataFrame
        With columns "method", "axiom", "function" and "violation". For linearity, "function" is a
        pair. Violations are shares of the function's range, with linearity of the combination's:

        - completeness: by how much attributions do not add up to the function's value with all
          features less that with none;
        - symmetry: the difference between the interchangeable features' attributions;
        - dummy: the attribution of the feature that is ignored;
        - linearity: the largest difference between an attribution for ``f + 2 g`` and the
          same combination of the attributions for f and g;
        - implementation invariance: the largest difference between the attributions for two
          implementations of one function.

    Notes
    -----
    Four features have 16 coalitions, all of which are drawn many times: what shows is the methods' nature, not
    a small budget. KernelSHAP then gives the Shapley values; of a picture it draws a part of the coalitions, and only
    completeness and linearity remain exact.

    Some violations are a matter of meaning rather than of failure. With p = 1/2, a RISE map is the mean
    value plus half of each feature's Banzhaf value [2]_: an ignored feature gets the mean, not 0.
    Occlusion, which hides one feature at a time, counts a joint effect once for each of the features that are
    needed, and not at all where one can do for another. LIME's line is fitted near the picture, and need
    not meet the values with all features and with none. Its kernel prefers coalitions of many features:
    among them features are no longer independent, so that an ignored one gets a share of a joint effect.
    RISE's regression, which chooses its smoothing by the values, is linear in the limit of many masks only.

    All methods here see nothing but values. That implementation invariance holds is no measure of quality, then:
    it tells them from methods that look inside a network, of which some violate it [1]_.

    References
    ----------
    .. [1] Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
    .. [2] Banzhaf, "Weighted Voting Doesn't Work: A Mathematical Analysis", Rutgers Law Review 1965.
    """
    rows = []
    for method in METHODS:
        found = {
            name: [attribute(method, _value(f), N_FEATURES, SAMPLES, seed) for f in both]
            for name, both in FUNCTIONS.items()
        }
        for name, (first, second) in found.items():
            low, high, whole = _extent(FUNCTIONS[name][0])
            measured = {
                "completeness": abs(first.sum() - whole),
                "symmetry": abs(first[0] - first[1]),
                "dummy": abs(first[3]),
                "implementation_invariance": np.abs(first - second).max(),
            }
            rows += [
                (method, axiom, name, violation / (high - low))
                for axiom, violation in measured.items()
            ]
        for one, other in itertools.combinations(FUNCTIONS, 2):
            combined = _combination(FUNCTIONS[one][0], FUNCTIONS[other][0])
            got = attribute(method, _value(combined), N_FEATURES, SAMPLES, seed)
            expected = COEFFICIENTS[0] * found[one][0] + COEFFICIENTS[1] * found[other][0]
            low, high, _ = _extent(combined)
            rows.append(
                (
                    method,
                    "linearity",
                    f"{one}, {other}",
                    np.abs(got - expected).max() / (high - low),
                )
            )
    return pd.DataFrame(rows, columns=["method", "axiom", "function", "violation"])


def worded(table):
    """A table of violations as it is to be read.

    Parameters
    ----------
    table : pandas.DataFrame
        From `axioms_table`.

    Returns
    -------
    pandas.DataFrame of str
        A row a method, under the name that people write, and a column an axiom: "✓" where it holds, up to
        `TOLERANCE`, and the violation, in two digits, where it does not.
    """
    words = table.set_index("method").map(
        lambda violation: "✓" if violation < TOLERANCE else f"{violation:.2f}"
    )
    return words.rename(index=METHOD_NAMES | {"shapley": "Exact Shapley values"}, columns=head)


def _value(function):
    return lambda kept: function(*np.asarray(kept, float).T)


def _combination(f, g):
    return lambda *features: COEFFICIENTS[0] * f(*features) + COEFFICIENTS[1] * g(*features)


def _extent(function):
    """Lowest and highest value, and the value with all features less that with none."""
    values = _value(function)(list(itertools.product((0, 1), repeat=N_FEATURES)))
    return values.min(), values.max(), values[-1] - values[0]
