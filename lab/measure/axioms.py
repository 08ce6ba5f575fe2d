"""Axioms of attribution, tested on functions whose correct attributions are known.

The functions take four features, present (1) or absent (0). The first two are
interchangeable and the last one is ignored.
"""

import itertools

import numpy as np
import pandas as pd

from lab.explain.methods import attribute
from lab.explain.names import METHOD_NAMES
from lab.measure.measurements import TOLERANCE, head

AXIOM_METHODS = "lime", "rise", "rise_average", "shap", "occlusion", "shapley"
"""The methods that are tested."""

AXIOMS = "completeness", "symmetry", "dummy", "linearity", "implementation_invariance"
"""Keys of `lab.measure.measurements.MEASUREMENTS`: how far each axiom is violated."""

N_FEATURES = 4
SAMPLES = 2**17  # coalitions drawn, with repetition, by the methods that draw
COEFFICIENTS = 1, 2  # of the linear combinations


def _relu(x):
    return np.maximum(x, 0)


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
"""Each in two implementations, of which the second is as a network of ReLUs has it."""


def axioms_table(seed=0):
    """The worst violation of each axiom by each method.

    Parameters
    ----------
    seed : int, optional
        Of the coalitions that LIME, RISE and KernelSHAP draw.

    Returns
    -------
    pandas.DataFrame
        A row for each of `AXIOM_METHODS`: "method", and a column for each of `AXIOMS`,
        the largest of the `violations` over `FUNCTIONS`.
    """
    table = violations(seed).groupby(["method", "axiom"], sort=False)["violation"].max().unstack()
    return table.loc[list(AXIOM_METHODS), list(AXIOMS)].rename_axis(columns=None).reset_index()


def violations(seed=0):
    """How far each method violates each axiom [1]_ on each function.

    Parameters
    ----------
    seed : int, optional
        As in `axioms_table`.

    Returns
    -------
    pandas.DataFrame
        With columns "method", "axiom", "function" (for linearity a pair of them) and
        "violation", a share of the function's range, 0 for none:

        - completeness: by how much attributions do not add up to the function's value
          with all features less that with none;
        - symmetry: the difference between the interchangeable features' attributions;
        - dummy: the attribution of the feature that is ignored;
        - linearity: the largest difference between an attribution for ``f + 2 g`` and
          the same combination of the attributions for f and g;
        - implementation invariance: the largest difference between the attributions for
          two implementations of one function.

    Notes
    -----
    All 16 coalitions of four features are drawn many times, so that violations belong
    to the methods, not to a small budget. Some follow from what a method estimates.
    With p = 1/2, a RISE map is the mean value plus half of each feature's Banzhaf
    value: an ignored feature gets the mean, not 0. Occlusion counts a joint effect once
    for each feature that is needed, and not at all where one feature can replace
    another. LIME's kernel prefers coalitions of many features, in which features are
    not independent: an ignored one gets a share of a joint effect. RISE's regression
    chooses its smoothing by the values, and is linear in the limit of many masks only.

    Methods that see values only meet implementation invariance; some that look inside a
    network violate it [1]_.

    References
    ----------
    .. [1] Sundararajan, Taly, Yan, "Axiomatic Attribution", ICML 2017.
    """

    def attributions(method, function):
        return attribute(method, _value(function), N_FEATURES, SAMPLES, seed)

    rows = []
    for method in AXIOM_METHODS:
        found = {name: [attributions(method, f) for f in both] for name, both in FUNCTIONS.items()}
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
            expected = COEFFICIENTS[0] * found[one][0] + COEFFICIENTS[1] * found[other][0]
            low, high, _ = _extent(combined)
            violation = np.abs(attributions(method, combined) - expected).max() / (high - low)
            rows.append((method, "linearity", f"{one}, {other}", violation))
    return pd.DataFrame(rows, columns=["method", "axiom", "function", "violation"])


def worded(table):
    """The `axioms_table` with "✓" for violations below `TOLERANCE`, else two digits."""
    words = table.set_index("method").map(
        lambda violation: "✓" if violation < TOLERANCE else f"{violation:.2f}"
    )
    return words.rename(index=METHOD_NAMES | {"shapley": "Exact Shapley values"}, columns=head)


def _value(function):
    return lambda coalitions: function(*np.asarray(coalitions, float).T)


def _combination(f, g):
    return lambda *features: COEFFICIENTS[0] * f(*features) + COEFFICIENTS[1] * g(*features)


def _extent(function):
    """Lowest and highest value, and the value with all features less that with none."""
    values = _value(function)(list(itertools.product((0, 1), repeat=N_FEATURES)))
    return values.min(), values.max(), values[-1] - values[0]
