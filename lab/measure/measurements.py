"""The table of measurements: name, direction and paper of each."""

from typing import NamedTuple


class Measurement(NamedTuple):
    """What a number measures: its name, direction, and paper, if there is one."""

    label: str
    higher_is_better: bool
    source: str


_RIBEIRO = "Ribeiro, Singh, Guestrin, \"'Why Should I Trust You?'\", KDD 2016"
_PETSIUK = 'Petsiuk, Das, Saenko, "RISE", BMVC 2018'
_TAN = 'Tan, Tian, Li, "GLIME", NeurIPS 2023'
_BORA = 'Bora et al., "SLICE", CVPR 2024'
_ALVAREZ = 'Alvarez-Melis, Jaakkola, "Towards Robust Interpretability", NeurIPS 2018'
_EVERINGHAM = 'Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010'
_CHOE = 'Choe et al., "Evaluating Weakly Supervised Object Localization", CVPR 2020'
_ZHANG = 'Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016'
_ADEBAYO = 'Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018'
_SUNDARARAJAN = 'Sundararajan, Taly, Yan, "Axiomatic Attribution", ICML 2017'

MEASUREMENTS = {
    "r2_fit": Measurement("R² on the fit", True, _RIBEIRO),
    "r2_fresh": Measurement("R² on fresh perturbations", True, _RIBEIRO),
    "jaccard": Measurement("Jaccard index over seeds", True, _TAN),
    "rank_correlation": Measurement("rank correlation over seeds", True, _BORA),
    "deletion_black": Measurement("deletion to black", False, _PETSIUK),
    "deletion_mean": Measurement("deletion to the mean colour", False, _PETSIUK),
    "insertion": Measurement("insertion from the blurred image", True, _PETSIUK),
    "gain_black": Measurement("insertion minus deletion, black", True, _PETSIUK),
    "gain_mean": Measurement("insertion minus deletion, mean colour", True, _PETSIUK),
    "gain_blurred": Measurement("insertion minus deletion, blurred", True, _PETSIUK),
    "faithfulness": Measurement("faithfulness", True, _ALVAREZ),
    "iou": Measurement("IoU of what is shown with the object", True, _EVERINGHAM),
    "iou_mask": Measurement("IoU with the mask, mean over thresholds", True, _CHOE),
    "iou_mask_best": Measurement("IoU with the mask, best threshold", True, _CHOE),
    "iou_box": Measurement("IoU with the box, mean over thresholds", True, _CHOE),
    "iou_box_best": Measurement("IoU with the box, best threshold", True, _CHOE),
    "pointing_game": Measurement("pointing game", True, _ZHANG),
    "contrast": Measurement("saliency on the object minus beside it", True, ""),
    "halves": Measurement("rank correlation of halves", True, ""),
    "sanity": Measurement("sanity: rank correlation with random networks' maps", False, _ADEBAYO),
    "shown": Measurement("fraction shown", False, ""),
    "model_calls": Measurement("model calls", False, ""),
    "completeness": Measurement("completeness", False, _SUNDARARAJAN),
    "symmetry": Measurement("symmetry", False, _SUNDARARAJAN),
    "dummy": Measurement("dummy", False, _SUNDARARAJAN),
    "linearity": Measurement("linearity", False, _SUNDARARAJAN),
    "implementation_invariance": Measurement("implementation invariance", False, _SUNDARARAJAN),
}
"""By column name in every table. The last five are how far an axiom is violated."""

TOLERANCE = 0.01
"""Share of a function's range below which a violation of an axiom is sampling noise."""


def head(key):
    """A column's heading: the measurement's label, and ↑ (higher is better) or ↓."""
    measurement = MEASUREMENTS[key]
    return f"{measurement.label} {'↑' if measurement.higher_is_better else '↓'}"
