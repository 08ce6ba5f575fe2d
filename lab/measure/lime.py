"""All measurements of one explanation by LIME, and its agreement with other seeds."""

from lab.measure.agreement import jaccard, rank_correlation, weighted_r2
from lab.measure.curves import STEPS, auc, curve
from lab.measure.overlap import iou, pointing_game
from lab.methods.checks import check_integer
from lab.methods.lime import locality, perturbations
from lab.methods.masked_model import blurred, mean_colour

FRESH = 500  # perturbed samples for the fidelity on fresh ones
# Arrays and functions by which explanations with other seeds are compared.
AGREEMENT = {"jaccard": ("chosen", jaccard), "rank_correlation": ("weights", rank_correlation)}


def fidelity(explanation, fresh=FRESH):
    """R² of the linear model on samples it was not fitted to: **higher is better**.

    It is weighted by locality and at most 1. The `fresh` samples are those of the next
    seed for the `lab.methods.lime.Lime`.
    """
    setting, masked_model = explanation.setting, explanation.masked_model
    # The first row is the whole image, which every fit has seen.
    new = perturbations(masked_model.n, fresh, (setting.seed + 1) % 2**32, setting.sampling)
    probability = masked_model(new)[1:, list(masked_model.classes).index(explanation.label)]
    linear = explanation.intercept + new[1:] @ explanation.weights
    return weighted_r2(probability, linear, locality(new[1:], setting))


def measure_lime(black_box, explanation, mask=None, fresh=FRESH, steps=STEPS):
    """All measurements of one `lab.methods.lime.Lime`.

    Parameters
    ----------
    black_box : callable
        From images ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    explanation : lab.methods.lime.Lime
    mask : (H, W) bool array, optional
        Where the object is. Without it, IoU and pointing game are NaN.
    fresh : int, optional
        Perturbed samples for the `fidelity`, at least 2.
    steps : int, optional
        Number of steps of equal size in the curves.

    Returns
    -------
    dict of str to float
        Keys of `lab.measure.measurements.MEASUREMENTS`.
    """
    fresh, steps = check_integer("fresh", fresh, 2), check_integer("steps", steps, 1)
    setting, coalitions = explanation.setting, explanation.coalitions
    image, saliency = explanation.masked_model.image, explanation.saliency
    overlap = dict.fromkeys(("iou", "pointing_game"), float("nan"))
    if mask is not None:
        overlap["iou"] = iou(explanation.shown, mask)
        overlap["pointing_game"] = pointing_game(saliency, mask)
    linear = explanation.intercept + coalitions @ explanation.weights
    explained = black_box, explanation.label, saliency
    return {
        "r2_fit": weighted_r2(explanation.probability, linear, locality(coalitions, setting)),
        "r2_fresh": fidelity(explanation, fresh),
        "deletion_mean": auc(*curve(*explained, image, mean_colour(image), steps)),
        "insertion": auc(*curve(*explained, blurred(image), image, steps)),
        **overlap,
        "shown": float(explanation.shown.mean()),
        "model_calls": setting.num_samples,
    }
