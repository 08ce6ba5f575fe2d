r"""The same explanations measured by `lab.measure`, by Xplique and by Quantus.

    pip install --no-deps --target elsewhere xplique==2.0.2 quantus==0.6.0 \
        tensorflow-probability tf-keras dm-tree cloudpickle decorator einops \
        deprecated cachetools wrapt opencv-python-headless
    PYTHONPATH=elsewhere python benchmarks/metrics_elsewhere.py

`tests/measure` compares with the values printed here.

Definitions that differ: Quantus' FaithfulnessCorrelation and Xplique's MuFidelity hide
random sets of pixels or cells (Bhatt et al., IJCAI 2020), the lab each segment once
(Alvarez-Melis & Jaakkola, NeurIPS 2018), as Quantus' FaithfulnessEstimate does. Neither
library has an IoU over thresholds; at one threshold it follows from Quantus'
RelevanceRankAccuracy. Quantus' PointingGame counts a tie as a hit if any of the tied
pixels is one, the lab by the share of them that are.
"""
# ruff: noqa: E402

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lab.measure.curves import auc, deletion_curve, faithfulness, insertion_curve
from lab.measure.overlap import iou_over_thresholds, pointing_game
from lab.methods.masked_model import MaskedModel
from lab.networks.tensorflow_setup import keras, tf

# Xplique and Quantus import TensorFlow, too, and come after it is set up.
from quantus import FaithfulnessEstimate, PointingGame, RelevanceRankAccuracy  # isort: skip
from xplique.metrics import Deletion, Insertion  # isort: skip


def inputs():
    """An image, a map and an object's mask, all from formulas."""
    y, x, c = np.mgrid[:12, :16, :3]
    image = ((37 * y + 11 * x * x + 53 * c) % 256).astype(np.float32)
    y, x = y[..., 0], x[..., 0]
    saliency = np.sin(0.9 * y) + np.cos(1.7 * x * y + 0.3 * x)  # no ties
    mask = (y < 7) & (x < 9)
    return image, saliency, mask


def logits(images):
    """The classifier's scores of class 1, of arrays or of TensorFlow's tensors."""
    mean = tf.reduce_mean if tf.is_tensor(images) else np.mean
    bright, corner = mean(images, (1, 2, 3)) / 255, mean(images[:, :6, :8, 0], (1, 2)) / 255
    return 3 * bright * corner + corner


def predict(images):
    """Probabilities of both classes."""
    probability = 1 / (1 + np.exp(-logits(np.asarray(images))))
    return np.stack([1 - probability, probability], axis=1)


class Logits(keras.layers.Layer):
    """The classifier in Keras, before the softmax."""

    def call(self, images):
        """Scores of both classes."""
        score = logits(images)
        return tf.stack([0 * score, score], axis=1)


def main():
    """Print each measurement of the lab beside that of another library."""
    image, saliency, mask = inputs()
    quiet = {"disable_warnings": True, "display_progressbar": False}

    def network(shape):
        tensor = keras.Input(shape)  # Quantus looks for the last layer
        return keras.Model(tensor, keras.layers.Softmax()(Logits()(tensor)))

    target = np.array([[0, 1]], np.float32)
    for name, curve, metric in (
        ("deletion", deletion_curve, Deletion),
        ("insertion", insertion_curve, Insertion),
    ):
        ours = auc(*curve(predict, np.uint8(image), 1, saliency, 0, steps=16))
        model = network(image.shape)
        other = metric(model, image[None], target, baseline_mode=0.0, steps=16)
        print(f"{name:14s} lab {ours:.6f}   Xplique {other.evaluate(saliency[None]):.6f}")

    def overlap(metric, saliency):
        [value] = metric(**quiet)(
            model=None,
            x_batch=image.transpose(2, 0, 1)[None],
            y_batch=np.array([1]),
            a_batch=saliency[None, None],
            s_batch=mask[None, None],
            channel_first=True,
        )
        return float(value)

    for name, map_ in (("pointing game", saliency), ("of minus map", -saliency)):
        ours, other = pointing_game(map_, mask), overlap(PointingGame, map_)
        print(f"{name:14s} lab {ours:.0f}   Quantus {other:.0f}")
    ours, accuracy = (
        iou_over_thresholds(saliency, mask, [mask.mean()])[0],
        overlap(RelevanceRankAccuracy, saliency),
    )
    print(f"{'IoU':14s} lab {ours:.6f}   Quantus {accuracy / (2 - accuracy):.6f}")

    # Quantus hides the pixels of each channel one after another, in steps of the map's
    # order. With one channel, and segments of that order, this is the lab's definition.
    gray = image[..., :1]
    bright = saliency + gray[..., 0] / 50  # matters to this classifier
    for step in (1, 8):
        segments = np.empty(saliency.size, int)
        segments[np.argsort(-bright, axis=None)] = np.arange(saliency.size) // step
        rgb, segments = np.repeat(gray, 3, axis=2).astype(np.uint8), segments.reshape(mask.shape)
        ours = faithfulness(MaskedModel(predict, rgb, segments, (0, 0, 0), [1]), bright)
        metric = FaithfulnessEstimate(
            features_in_step=step, normalise=False, perturb_baseline=0.0, **quiet
        )
        [other] = metric(
            model=network(gray.shape),
            x_batch=gray[None],
            y_batch=np.array([1]),
            a_batch=bright[None, None],
            channel_first=False,
            softmax=True,
        )
        print(f"faithfulness, segments of {step} pixels: lab {ours:.6f}   Quantus {other:.6f}")


if __name__ == "__main__":
    main()
