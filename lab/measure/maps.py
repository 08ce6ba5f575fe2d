"""All measurements of one saliency map."""

from lab.measure.curves import auc, deletion_and_insertion, faithfulness
from lab.measure.overlap import bounding_box, iou_over_thresholds, pointing_game
from lab.methods.masked_model import MaskedModel, mean_colour, superpixels


def measure_map(black_box, image, label, saliency, mask=None):
    """All measurements of one map.

    Parameters
    ----------
    black_box : callable
        From images ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    image : (H, W, 3) uint8 array
    label : int
        The class explained.
    saliency : (H, W) array
        Finite; higher is more important.
    mask : (H, W) bool array, optional
        Where the object is. Without it, IoU and pointing game are NaN.

    Returns
    -------
    measured : dict of str to float
        Keys of `lab.measure.measurements.MEASUREMENTS`.
    curves : dict of str to (2, 51) array
        As of `lab.measure.curves.deletion_and_insertion`.

    Notes
    -----
    A map costs 153 model calls for its curves. Faithfulness costs one for the image and
    one for each superpixel, the same for all maps of an image.
    """
    overlap = dict.fromkeys(("iou_mask", "iou_box", "pointing_game"), float("nan"))
    if mask is not None:
        overlap = {
            "iou_mask": float(iou_over_thresholds(saliency, mask).mean()),
            "iou_box": float(iou_over_thresholds(saliency, bounding_box(mask)).mean()),
            "pointing_game": pointing_game(saliency, mask),
        }
    curves = deletion_and_insertion(black_box, image, label, saliency)
    segments, hidden = superpixels(image), mean_colour(image)
    masked_model = MaskedModel(black_box, image, segments, hidden, [label])
    areas = {name: auc(*curve) for name, curve in curves.items()}
    return areas | {"faithfulness": faithfulness(masked_model, saliency)} | overlap, curves
