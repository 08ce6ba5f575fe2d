from lab.measure.measurements import MEASUREMENTS, head


def test_a_head_says_which_way_is_better():
    assert head("deletion_black") == "deletion to black ↓"
    assert head("r2_fresh") == "R² on fresh perturbations ↑"


def test_directions_are_those_of_the_papers():
    lower = {key for key, measurement in MEASUREMENTS.items() if not measurement.higher_is_better}
    axioms = {"completeness", "symmetry", "dummy", "linearity", "implementation_invariance"}
    assert lower == {"deletion_black", "deletion_mean", "sanity", "shown", "model_calls"} | axioms


def test_labels_tell_measurements_apart_and_hold_no_arrow():
    labels = [measurement.label for measurement in MEASUREMENTS.values()]
    assert len(set(labels)) == len(labels)
    assert not set("".join(labels)) & set("↑↓")
