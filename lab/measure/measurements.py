"""The table of measurements: what each is called, which way it is better, and whose it is."""

from typing import NamedTuple


class Measurement(NamedTuple):
    """What a number measures.

    Attributes
    ----------
    label : str
        As a table or an axis says it.
    higher_is_better : bool
    source : str
        The paper that it is from; empty where there is none to name.
    """

    label: str
    higher_is_better: bool
    source: str


_RIBEIRO = "Ribeiro, Singh, Guestrin, \"'Why Should I Trust You?': Explaining the Predictions of Any Classifier\", KDD 2016"
_PETSIUK = 'Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018'
_TAN = 'Tan, Tian, Li, "GLIME: General, Stable and Local LIME Explanation", NeurIPS 2023'
_BORA = 'Bora et al., "SLICE: Stabilized LIME for Consistent Explanations for Image Classification", CVPR 2024'
_ALVAREZ = 'Alvarez-Melis, Jaakkola, "Towards Robust Interpretability with Self-Explaining Neural Networks", NeurIPS 2018'
_EVERINGHAM = 'Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010'
_CHOE = 'Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020'
_ZHANG = 'Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016'
_ADEBAYO = 'Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018'
_SUNDARARAJAN = 'Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017'

MEASUREMENTS = {
    "r2_fit": Measurement("R² on the fit", True, _RIBEIRO),
    "r2_fresh": Measurement("R² on fresh perturbations", True, _RIBEIRO),
    "jaccard": Measurement("Jaccard index over seeds", True, _TAN),
    "rank_correlation": Measurement("rank correlation over seeds", True, _BORA),
    "deletion_black": Measurement("deletion to black", False, _PETSIUK),
    "deletion_mean": Measurement("deletion to the mean colour", False, _PETSIUK),
    "insertion": Measurement("insertion from the blurred picture", True, _PETSIUK),
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
"""By key, which is a column's name in every table. The last five are how far an axiom is violated."""


TOLERANCE = 0.01
"""An axiom's violation below this share of the function's range counts as none: chance leaves a few thousandths."""


def head(key):
    """A measurement's label and which way it is better, as the head of a column says it.

    Parameters
    ----------
    key : str
        Of `MEASUREMENTS`.

    Returns
    -------
    str
        The label with an arrow: ↑ higher is better, ↓ lower is better.
    """
    measurement = MEASUREMENTS[key]
    return f"{measurement.label} {'↑' if measurement.higher_is_better else '↓'}"
