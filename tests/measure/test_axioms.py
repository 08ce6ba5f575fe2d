import itertools

import numpy as np
import pytest

from lab.explain.methods import PACKAGE
from lab.measure import axioms
from lab.measure.axioms import AXIOMS, FUNCTIONS, METHODS, axioms_table, violations, worded
from lab.measure.measurements import TOLERANCE


@pytest.fixture(scope="module")
def measured():
    return violations()


@pytest.fixture
def found(measured):
    return measured.set_index(["method", "axiom", "function"])["violation"].sort_index()


@pytest.fixture
def table(measured, monkeypatch):
    monkeypatch.setattr(axioms, "violations", lambda seed: measured)
    return axioms_table()


@pytest.fixture(scope="module")
def corners():
    return np.array(list(itertools.product((0, 1), repeat=4)), float)


def test_functions_are_what_they_are_said_to_be(corners):
    swapped, flipped = corners[:, [1, 0, 2, 3]], corners * [1, 1, 1, -1] + [0, 0, 0, 1]
    for first, second in FUNCTIONS.values():
        values = first(*corners.T)
        np.testing.assert_allclose(second(*corners.T), values, atol=1e-12)
        np.testing.assert_allclose(first(*swapped.T), values)
        np.testing.assert_allclose(first(*flipped.T), values)
        assert np.ptp(values) > 0.5


def test_shapley_values_meet_all_axioms(found):
    """They are the only ones that do."""
    for method in ("shapley", "shap"):
        assert found[method].max() < 1e-9


def test_every_method_is_symmetric_linear_and_blind_to_implementation(found):
    for axiom in ("symmetry", "linearity", "implementation_invariance"):
        assert (found.xs(axiom, level="axiom") < TOLERANCE).all()
    exactly = found.drop("rise").xs(
        "linearity", level="axiom"
    )  # the regression is linear in the limit only
    assert (exactly < 1e-6).all()


def test_occlusion_worked_by_hand(found):
    # Hiding one of three that are all needed loses everything, thrice; of two that do for each other, nothing, twice.
    expected = {"additive": 0, "and": 2, "max": 1, "mixed": (3 + 3 + 4) / 6 - 1}
    for name, violation in expected.items():
        assert found["occlusion", "completeness", name] == pytest.approx(violation)
    assert found["occlusion", "dummy"].max() < 1e-12


@pytest.mark.parametrize("method", ["rise", "rise_average"])
def test_rise_worked_by_hand(found, method):
    # The map of a feature is the mean value over the coalitions that have it; an ignored one's is the mean of all.
    means = {
        "additive": 0.5 / 0.8,
        "and": 1 / 8,
        "max": 3 / 4,
        "mixed": (1 / 2 + 1 / 2 + 1 + 1 / 4) / 6,
    }
    for name, mean in means.items():
        assert found[method, "dummy", name] == pytest.approx(mean, abs=0.01)
    sums = {"and": 3 / 4 + 1 / 8, "max": 1 + 1 + 3 / 4 + 3 / 4}
    for name, total in sums.items():
        assert found[method, "completeness", name] == pytest.approx(abs(total - 1), abs=0.02)
    # 0.65, 0.65, 0.6 and 0.5, where the function grows by 0.8
    assert found[method, "completeness", "additive"] == pytest.approx((2.4 - 0.8) / 0.8, abs=0.02)


def test_lime_is_weighted_least_squares_over_all_coalitions(found, corners):
    """What LIME estimates, without sampling and nearly without ridge: the kernel written out from the paper."""
    distance = 1 - np.array(
        [row.sum() / (np.sqrt(row.sum()) * 2) if row.any() else 0 for row in corners]
    )
    kernel = np.exp(-(distance**2) / (2 * PACKAGE.kernel_width**2))
    design = np.column_stack([np.ones(16), corners])
    for name, (function, _) in FUNCTIONS.items():
        values = function(*corners.T)
        root = np.sqrt(kernel)
        weights = np.linalg.lstsq(root[:, None] * design, root * values, rcond=None)[0][1:]
        gap = abs(weights.sum() - (values[-1] - values[0])) / np.ptp(values)
        assert found["lime", "completeness", name] == pytest.approx(gap, abs=0.01)
        assert found["lime", "dummy", name] == pytest.approx(
            abs(weights[3]) / np.ptp(values), abs=0.005
        )
    assert found["lime", "completeness", "and"] > 0.3 and found["lime", "dummy", "and"] > TOLERANCE


def test_a_method_that_breaks_an_axiom_is_found_out():
    def broken(method, value, n_features, budget, seed):
        """Each method's name says which axiom it breaks; Shapley values otherwise."""
        values = axioms.attribute("shapley", value, n_features)
        scale = values.sum()
        changes = {
            "lime": [0.1, 0.1, 0, 0],  # completeness alone
            "rise": [0.2, -0.2, 0, 0],  # symmetry
            "rise_average": [-0.1, -0.1, 0, 0.2],  # dummy
        }
        if method == "shap":  # linearity
            return values**2 / np.sum(values**2) * scale
        if (
            method == "occlusion"
        ):  # implementation invariance: slopes between the corners are the implementation's
            step = 1e-4
            near = np.full((1, n_features), 0.7)
            slopes = np.array(
                [(value(near + step * e) - value(near - step * e))[0] for e in np.eye(n_features)]
            ) / (2 * step)
            return slopes / slopes.sum() * scale if slopes.sum() else slopes
        return values + scale * np.array(changes.get(method, [0] * 4))

    found = violations(attribute=broken).groupby(["method", "axiom"])["violation"].max().unstack()
    expected = {
        "lime": {"completeness"},
        "rise": {"symmetry"},
        "rise_average": {"dummy"},
        "shap": {"linearity"},
        "shapley": set(),
    }
    for method, axioms_broken in expected.items():
        assert set(found.columns[found.loc[method] > 1e-6]) == axioms_broken, method
    assert found.loc["occlusion", "implementation_invariance"] > TOLERANCE
    # 0.1 of the sum twice, of functions that grow from lowest to highest.
    assert found.loc["lime", "completeness"] == pytest.approx(0.2)
    assert found.loc["rise", "symmetry"] == pytest.approx(0.4)
    assert found.loc["rise_average", "dummy"] == pytest.approx(0.2)


def test_table_holds_the_worst_case_and_reads_as_ticks(found, table):
    assert table["method"].tolist() == list(METHODS) and table.columns.tolist() == [
        "method",
        *AXIOMS,
    ]
    by_method = table.set_index("method")
    worst = found.groupby(["method", "axiom"]).max().unstack().loc[list(METHODS), list(AXIOMS)]
    np.testing.assert_array_equal(worst, by_method)
    assert by_method.loc["occlusion", "completeness"] == pytest.approx(2)
    words = worded(table)
    assert words.columns.tolist() == [
        "completeness ↓",
        "symmetry ↓",
        "dummy ↓",
        "linearity ↓",
        "implementation invariance ↓",
    ]
    assert words.loc["Occlusion"].tolist() == ["2.00", "✓", "✓", "✓", "✓"]
    assert (
        words.loc["KernelSHAP"].tolist() == words.loc["Exact Shapley values"].tolist() == ["✓"] * 5
    )
    assert words.loc["LIME"].tolist() == ["0.40", "✓", "0.02", "✓", "✓"]
    assert words.loc["RISE (average)"].tolist() == ["2.50", "✓", "0.75", "✓", "✓"]


def test_another_seed_ticks_the_same(measured):
    first, other = (
        of.groupby(["method", "axiom"])["violation"].max().unstack()
        for of in (measured, violations(seed=1))
    )
    assert (first.loc["lime"] != other.loc["lime"]).any()
    assert ((first < TOLERANCE) == (other < TOLERANCE)).all(axis=None)
