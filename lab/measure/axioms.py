"""Axioms of attribution, tested on functions whose correct attributions are known.

The functions take four features, present (1) or absent (0). The first two are
interchangeable and the last one is ignored.
"""

import itertools

import numpy as np
import pandas as pd

from lab.measure.measurements import AXIOMS, TOLERANCE, head
from lab.methods.coalitions import attribute
from lab.methods.registry import METHODS

AXIOM_METHODS = "lime", "rise", "rise_average", "shap", "occlusion", "shapley"

N_FEATURES = 4
COALITIONS = 2**17  # coalitions drawn, with repetition, by the methods that draw


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
    """The largest of the `violations`: a row a "method", and a column an axiom."""
    table = violations(seed).groupby(["method", "axiom"], sort=False)["violation"].max().unstack()
    return table.loc[list(AXIOM_METHODS), list(AXIOMS)].rename_axis(columns=None).reset_index()


def violations(seed=0):
    """How far each method violates each axiom [1]_ on each function.

    Violations follow from what a method estimates. With p = 1/2, a RISE map is the mean
    value plus half of each feature's Banzhaf value: an ignored feature gets the mean,
    not 0. Occlusion counts a joint effect once for each feature that is needed, and not
    at all where one can replace another. LIME's kernel prefers coalitions of many
    features, which are not independent in them: an ignored one gets a share of a joint
    effect. RISE's regression chooses its smoothing by the values, and is linear in the
    limit of many masks only.

    Parameters
    ----------
    seed : int, optional
        Of the coalitions that LIME, RISE and KernelSHAP draw.

    Returns
    -------
    pandas.DataFrame
        "method", "axiom", "function" (for linearity two) and "violation", a share of
        the function's range, 0 for none:

        - completeness: by how much attributions do not add up to the function's value
          with all features less that with none;
        - symmetry: the difference between the interchangeable features' attributions;
        - dummy: the attribution of the feature that is ignored;
        - linearity: the largest difference between an attribution for ``f + 2 g`` and
          the same combination of the attributions for f and g;
        - implementation invariance: the largest difference between the attributions for
          two implementations, 0 for a method that sees values only.

    References
    ----------
    .. [1] Sundararajan, Taly, Yan, "Axiomatic Attribution", ICML 2017.
    """
    rows = []
    for method in AXIOM_METHODS:
        found = {
            name: [attribute(method, _value(f), N_FEATURES, COALITIONS, seed) for f in both]
            for name, both in FUNCTIONS.items()
        }
        for name, (first, second) in found.items():
            extent, whole = _extent(FUNCTIONS[name][0])
            measured = {
                "completeness": abs(first.sum() - whole),
                "symmetry": abs(first[0] - first[1]),
                "dummy": abs(first[3]),
                "implementation_invariance": np.abs(first - second).max(),
            }
            rows += [(method, axiom, name, gap / extent) for axiom, gap in measured.items()]
        for one, other in itertools.combinations(FUNCTIONS, 2):
            combined = _combination(FUNCTIONS[one][0], FUNCTIONS[other][0])
            got = attribute(method, _value(combined), N_FEATURES, COALITIONS, seed)
            gap = np.abs(got - (found[one][0] + 2 * found[other][0])).max()
            rows.append((method, "linearity", f"{one}, {other}", gap / _extent(combined)[0]))
    return pd.DataFrame(rows, columns=["method", "axiom", "function", "violation"])


def worded(table):
    """The `axioms_table` with "✓" for violations below `TOLERANCE`, else two digits."""
    words = table.set_index("method").map(
        lambda violation: "✓" if violation < TOLERANCE else f"{violation:.2f}"
    )
    return words.rename(
        index={name: method.title for name, method in METHODS.items()}
        | {"shapley": "Exact Shapley values"},
        columns=head,
    )


def _value(function):
    return lambda coalitions: function(*np.asarray(coalitions, float).T)


def _combination(f, g):
    return lambda *features: f(*features) + 2 * g(*features)


def _extent(function):
    """Range of a function, and its value with all features less that with none."""
    values = _value(function)(list(itertools.product((0, 1), repeat=N_FEATURES)))
    return np.ptp(values), values[-1] - values[0]
