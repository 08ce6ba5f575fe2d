"""All measurements of one explanation by LIME, and its agreement with other seeds."""

import numpy as np

from lab.measure.agreement import jaccard, rank_correlation, weighted_correlation, weighted_r2
from lab.measure.curves import PORTIONS, gains
from lab.measure.overlap import iou, pointing_game
from lab.methods.checks import check_integer
from lab.methods.lime import locality, perturbations
from lab.methods.masked_model import MaskedModel, mean_colour, superpixels
from lab.methods.setting import Setting

FRESH = 500  # perturbed samples for the fidelity on fresh ones
COMMON_SEED = 1000  # of the perturbed samples that are the same for all settings
# Arrays and functions by which explanations with other seeds are compared.
AGREEMENT = {"jaccard": ("chosen", jaccard), "rank_correlation": ("weights", rank_correlation)}


def fidelity(explanation, fresh=FRESH):
    """R² of the linear model on samples it was not fitted to: **higher is better**.

    It is weighted by locality and at most 1. The `fresh` samples are those of the next
    seed for the `lab.methods.lime.Lime`, behind its own baseline: a baseline that hides
    less is easier to follow, so this compares settings with one `hide_color`.
    """
    setting, masked_model = explanation.setting, explanation.masked_model
    # The first row is the whole image, which every fit has seen.
    new = perturbations(masked_model.n, fresh, (setting.seed + 1) % 2**32, setting.sampling)
    probability = masked_model(new)[1:, list(masked_model.classes).index(explanation.label)]
    linear = explanation.intercept + new[1:] @ explanation.weights
    return weighted_r2(probability, linear, locality(new[1:], setting))


def common_samples(black_box, image, label, fresh=FRESH):
    """Perturbed samples on which all settings can be compared: LIME's, of a fixed seed.

    Returns
    -------
    segments : (H, W) int array
        The superpixels of the package's defaults.
    coalitions : (fresh - 1, n_superpixels) int array
    probability : (3, fresh - 1) array
        Of the class `label` behind black, the image's mean colour and the blurred
        image, the baselines of `lab.measure.curves.gains`.
    """
    segments = superpixels(image)
    coalitions = perturbations(int(segments.max()) + 1, fresh, COMMON_SEED)[1:]
    baselines = (0, 0, 0), tuple(mean_colour(image).tolist()), "blur"
    models = (MaskedModel(black_box, image, segments, one, [label]) for one in baselines)
    return segments, coalitions, np.stack([model.value(coalitions) for model in models])


def common_fidelity(explanation, common):
    """Correlation of the linear model with the black box on `common_samples`.

    **Higher is better.** The mean over the three baselines, weighted by locality with
    LIME's own width. A correlation, since the baselines differ in how much probability
    is left. A superpixel's weight is spread evenly over its pixels, so explanations
    with other superpixels can be compared, too. NaN where the probability is constant,
    or all weights are 0.
    """
    segments, coalitions, probability = common
    own = explanation.masked_model.segments
    density = (explanation.weights / np.bincount(own.ravel()))[own]
    linear = coalitions @ np.bincount(segments.ravel(), density.ravel())
    near = locality(coalitions, Setting())
    return float(np.mean([weighted_correlation(linear, each, near) for each in probability]))


def measure_weights(black_box, explanation, common, fresh=FRESH):
    """What is measured of an explanation's weights, as `measure_lime` has it."""
    setting, coalitions = explanation.setting, explanation.coalitions
    linear = explanation.intercept + coalitions @ explanation.weights
    explained = explanation.masked_model.image, explanation.label, explanation.saliency
    gained = gains(black_box, *explained, steps=PORTIONS)
    return {
        "r2_fit": weighted_r2(explanation.probability, linear, locality(coalitions, setting)),
        "r2_fresh": fidelity(explanation, fresh),
        "r_common": common_fidelity(explanation, common),
        "gain": float(np.mean([*gained.values()])),
        **gained,
    }


def measure_shown(explanation, mask=None):
    """What is measured of what an explanation shows, as `measure_lime` has it."""
    overlap = dict.fromkeys(("iou", "pointing_game"), float("nan"))
    if mask is not None:
        overlap["iou"] = iou(explanation.shown, mask)
        overlap["pointing_game"] = pointing_game(explanation.saliency, mask)
    shown = {"shown": float(explanation.shown.mean())}
    return overlap | shown | {"model_calls": explanation.setting.num_samples}


def measure_lime(black_box, explanation, mask=None, fresh=FRESH):
    """All measurements of one `lab.methods.lime.Lime`.

    Parameters
    ----------
    black_box : callable
        From images ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    explanation : lab.methods.lime.Lime
    mask : (H, W) bool array, optional
        Where the object is. Without it, IoU and pointing game are NaN.
    fresh : int, optional
        Perturbed samples for `fidelity` and `common_fidelity`, at least 3.

    Returns
    -------
    dict of str to float
        Keys of `lab.measure.measurements.MEASUREMENTS`.
    """
    fresh, shown = check_integer("fresh", fresh, 3), measure_shown(explanation, mask)
    image = explanation.masked_model.image
    common = common_samples(black_box, image, explanation.label, fresh)
    return measure_weights(black_box, explanation, common, fresh) | shown
