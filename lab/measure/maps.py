"""All measurements of one saliency map."""

from lab.measure.curves import auc, deletion_and_insertion, faithfulness
from lab.measure.overlap import bounding_box, iou_over_thresholds, pointing_game
from lab.methods.masked_model import MaskedModel, blurred, mean_colour, superpixels


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
    names = "iou_mask", "iou_mask_best", "iou_box", "iou_box_best", "pointing_game"
    overlap = dict.fromkeys(names, float("nan"))
    if mask is not None:
        for name, truth in {"iou_mask": mask, "iou_box": bounding_box(mask)}.items():
            values = iou_over_thresholds(saliency, truth)
            overlap |= {name: float(values.mean()), f"{name}_best": float(values.max())}
        overlap["pointing_game"] = pointing_game(saliency, mask)
    segments, fill = superpixels(image), mean_colour(image)
    masked_model = MaskedModel(black_box, image, segments, fill, [label])
    curves = deletion_and_insertion(black_box, image, label, saliency, blurred(image))
    areas = {name: auc(*curve) for name, curve in curves.items()}
    return areas | {"faithfulness": faithfulness(masked_model, saliency)} | overlap, curves
