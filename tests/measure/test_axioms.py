import numpy as np
import pytest

from lab.measure import axioms
from lab.measure.axioms import axioms_table, violations, worded
from lab.measure.measurements import TOLERANCE


@pytest.fixture(scope="module")
def found():
    return violations().set_index(["method", "axiom", "function"])["violation"].sort_index()


def test_who_meets_which_axiom(found):
    for method in ("shapley", "shap"):
        assert found[method].max() < 1e-9
    for axiom in ("symmetry", "linearity", "implementation_invariance"):
        assert (found.xs(axiom, level="axiom") < TOLERANCE).all()
    # The regression is linear in the limit only.
    assert (found.drop("rise").xs("linearity", level="axiom") < 1e-6).all()


def test_occlusion_worked_by_hand(found):
    # Without one of three that are all needed everything is lost, thrice; without one
    # of two that replace each other nothing, twice.
    expected = {"additive": 0, "and": 2, "max": 1, "mixed": (3 + 3 + 4) / 6 - 1}
    for name, violation in expected.items():
        assert found["occlusion", "completeness", name] == pytest.approx(violation)
    assert found["occlusion", "dummy"].max() < 1e-12


@pytest.mark.parametrize("method", ["rise", "rise_average"])
def test_rise_worked_by_hand(found, method):
    # A feature's map is the mean value over the coalitions that have it.
    means = {"additive": 0.5 / 0.8, "and": 1 / 8, "max": 3 / 4, "mixed": 2.25 / 6}
    for name, mean in means.items():
        assert found[method, "dummy", name] == pytest.approx(mean, abs=0.01)
    # The additive one has 0.65, 0.65, 0.6 and 0.5, and grows by 0.8.
    gaps = {"and": 1 - 3 / 4 - 1 / 8, "max": 2 + 6 / 4 - 1, "additive": (2.4 - 0.8) / 0.8}
    for name, gap in gaps.items():
        assert found[method, "completeness", name] == pytest.approx(gap, abs=0.02)


def test_violations_are_found(monkeypatch):
    shapley = axioms.attribute

    def broken(method, value, n_features, budget, seed):
        """Shapley values, of which three methods break an axiom each."""
        values = shapley("shapley", value, n_features)
        if method == "rise":  # symmetry
            return values + values.sum() * np.array([0.2, -0.2, 0, 0])
        if method == "shap":  # linearity
            return values**2 / np.sum(values**2) * values.sum()
        if method == "occlusion":  # implementation invariance, by slopes between the corners
            steps = 1e-4 * np.eye(n_features)
            return value(0.7 + steps) - value(0.7 - steps)
        return values

    monkeypatch.setattr(axioms, "attribute", broken)
    table = axioms_table().set_index("method")
    violated = {method: set(table.columns[row > 1e-6]) for method, row in table.iterrows()}
    assert "implementation_invariance" in violated.pop("occlusion")
    assert violated.pop("rise") == {"symmetry"} and violated.pop("shap") == {"linearity"}
    assert not any(violated.values())
    assert table.loc["rise", "symmetry"] == pytest.approx(0.4)  # of the function's range


def test_the_table_holds_the_worst_case_and_reads_as_ticks(found, monkeypatch):
    monkeypatch.setattr(axioms, "violations", lambda seed: found.reset_index())
    words = worded(axioms_table())
    assert words.columns[0] == "completeness ↓"
    assert words.loc["Occlusion"].tolist() == ["2.00", "✓", "✓", "✓", "✓"]
    assert words.loc["Exact Shapley values"].tolist() == ["✓"] * 5
    assert words.loc["LIME"].tolist() == ["0.40", "✓", "0.02", "✓", "✓"]
