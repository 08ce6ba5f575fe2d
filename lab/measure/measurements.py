"""The table of measurements: name and direction of each."""

from typing import NamedTuple


class Measurement(NamedTuple):
    """What a number measures. Its paper is named by the function that measures it."""

    label: str
    higher_is_better: bool


AXIOMS = "completeness", "symmetry", "dummy", "linearity", "implementation_invariance"

MEASUREMENTS = {
    "r2_fit": Measurement("R² on the fit", True),
    "r2_fresh": Measurement("R² on fresh perturbations", True),
    "r_common": Measurement("correlation on common perturbations", True),
    "jaccard": Measurement("Jaccard index over seeds", True),
    "rank_correlation": Measurement("rank correlation over seeds", True),
    "deletion_black": Measurement("deletion to black", False),
    "deletion_mean": Measurement("deletion to the mean colour", False),
    "insertion": Measurement("insertion from the blurred image", True),
    "gain": Measurement("insertion minus deletion", True),
    "gain_black": Measurement("insertion minus deletion, black", True),
    "gain_mean": Measurement("insertion minus deletion, mean colour", True),
    "gain_blurred": Measurement("insertion minus deletion, blurred", True),
    "faithfulness": Measurement("faithfulness", True),
    "iou": Measurement("IoU of what is shown with the object", True),
    "iou_mask": Measurement("IoU with the mask, mean over thresholds", True),
    "iou_box": Measurement("IoU with the box, mean over thresholds", True),
    "pointing_game": Measurement("pointing game", True),
    "contrast": Measurement("saliency on the object minus beside it", True),
    "halves": Measurement("rank correlation of halves", True),
    "sanity": Measurement("sanity: rank correlation with random networks' maps", False),
    "shown": Measurement("fraction shown", False),
    "model_calls": Measurement("model calls", False),
} | {axiom: Measurement(axiom.replace("_", " "), False) for axiom in AXIOMS}
"""By column name in every table. The last five are how far an axiom is violated."""

TOLERANCE = 0.01
"""Share of a function's range below which a violation of an axiom is sampling noise."""


def head(key):
    """A column's heading: the measurement's label, and ↑ (higher is better) or ↓."""
    measurement = MEASUREMENTS[key]
    return f"{measurement.label} {'↑' if measurement.higher_is_better else '↓'}"
