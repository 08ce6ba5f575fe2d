from lab.measure.measurements import MEASUREMENTS, head


def test_a_heading_shows_the_direction():
    assert head("deletion_black") == "deletion to black ↓"
    assert head("r2_fresh") == "R² on fresh perturbations ↑"
    labels = [measurement.label for measurement in MEASUREMENTS.values()]
    assert len(set(labels)) == len(labels) and not set("".join(labels)) & set("↑↓")


def test_directions_are_those_of_the_papers():
    lower = {key for key, measurement in MEASUREMENTS.items() if not measurement.higher_is_better}
    axioms = {"completeness", "symmetry", "dummy", "linearity", "implementation_invariance"}
    assert lower == {"deletion_black", "deletion_mean", "sanity", "shown", "model_calls"} | axioms
