"""The same explanations measured by `lab.measure`, by Xplique and by Quantus.

    pip install --no-deps --target elsewhere xplique==2.0.2 quantus==0.6.0 tensorflow-probability tf-keras \\
        dm-tree cloudpickle decorator einops deprecated cachetools opencv-python-headless
    PYTHONPATH=elsewhere python benchmarks/metrics_elsewhere.py

`tests/measure` keeps the values that this prints.

Definitions that differ: Quantus' FaithfulnessCorrelation and Xplique's MuFidelity hide random sets of pixels or
cells (Bhatt et al., IJCAI 2020), the lab each segment once (Alvarez-Melis & Jaakkola, NeurIPS 2018), as Quantus'
FaithfulnessEstimate does. Neither library has an IoU over thresholds; at one threshold it follows from Quantus'
RelevanceRankAccuracy. Quantus' PointingGame counts a tie as a hit if any of the tied pixels is one, the lab by
the share of them that are.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import tensorflow as tf

from lab.explain.masked_model import MaskedModel
from lab.measure.curves import auc, deletion_curve, faithfulness, insertion_curve
from lab.measure.overlap import iou_over_thresholds, pointing_game
from lab.networks.asking import Asked


def inputs():
    """A picture, a map, an object and a classifier of two classes: all from formulas, none from a file."""
    y, x, c = np.mgrid[:12, :16, :3]
    image = ((37 * y + 11 * x * x + 53 * c) % 256).astype(np.float32)
    saliency = np.sin(0.9 * y[..., 0]) + np.cos(
        1.7 * x[..., 0] * y[..., 0] + 0.3 * x[..., 0]
    )  # no ties
    mask = (y[..., 0] < 7) & (x[..., 0] < 9)

    def scores(images):
        bright, corner = (
            images.mean(axis=(1, 2, 3)) / 255,
            images[:, :6, :8, 0].mean(axis=(1, 2)) / 255,
        )
        return 3 * bright * corner + corner

    return image, saliency, mask, scores


def main():
    from quantus import FaithfulnessEstimate, PointingGame, RelevanceRankAccuracy
    from xplique.metrics import Deletion, Insertion

    image, saliency, mask, scores = inputs()

    def predict(images):
        probability = 1 / (1 + np.exp(-scores(np.asarray(images))))
        return np.stack([1 - probability, probability], axis=1)

    class Network(keras.Model):
        def call(self, images):
            bright, corner = (
                tf.reduce_mean(images, (1, 2, 3)) / 255,
                tf.reduce_mean(images[:, :6, :8, 0], (1, 2)) / 255,
            )
            probability = tf.sigmoid(3 * bright * corner + corner)
            return tf.stack([1 - probability, probability], axis=1)

    target = np.array([[0, 1]], np.float32)
    for name, curve, theirs in (
        ("deletion", deletion_curve, Deletion),
        ("insertion", insertion_curve, Insertion),
    ):
        ours = auc(*curve(predict, image, 1, saliency, 0, steps=16))
        other = theirs(Network(), image[None], target, baseline_mode=0.0, steps=16).evaluate(
            saliency[None]
        )
        print(f"{name:14s} lab {ours:.6f}   Xplique {other:.6f}")

    for name, map_ in (("pointing game", saliency), ("the other way", -saliency)):
        ours = pointing_game(map_, mask)
        other = PointingGame(disable_warnings=True, display_progressbar=False)(
            model=None,
            x_batch=image.transpose(2, 0, 1)[None],
            y_batch=np.array([1]),
            a_batch=map_[None, None],
            s_batch=mask[None, None],
            channel_first=True,
        )
        print(f"{name:14s} lab {ours:.0f}   Quantus {float(other[0]):.0f}")

    # Quantus' RelevanceRankAccuracy is the share a of the object's n pixels that are among the n most
    # salient ones; at this threshold the union has (2 - a) n pixels.
    accuracy = RelevanceRankAccuracy(disable_warnings=True, display_progressbar=False)(
        model=None,
        x_batch=image.transpose(2, 0, 1)[None],
        y_batch=np.array([1]),
        a_batch=saliency[None, None],
        s_batch=mask[None, None],
        channel_first=True,
    )[0]
    ours = iou_over_thresholds(saliency, mask, [mask.mean()])[0]
    print(f"{'IoU':14s} lab {ours:.6f}   Quantus {accuracy / (2 - accuracy):.6f}")

    # Its FaithfulnessEstimate takes the pixels of each channel one after another in steps of the map's order;
    # a picture of one channel and segments of that order make it the lab's.
    gray = image[..., :1]
    bright = saliency + gray[..., 0] / 50  # which does matter to this classifier

    class Scores(keras.layers.Layer):
        def call(self, images):
            bright, corner = (
                tf.reduce_mean(images, (1, 2, 3)) / 255,
                tf.reduce_mean(images[:, :6, :8, 0], (1, 2)) / 255,
            )
            return tf.stack([0 * bright, 3 * bright * corner + corner], axis=1)

    picture = keras.Input(gray.shape)
    network = keras.Model(
        picture, keras.layers.Softmax()(Scores()(picture))
    )  # whose layers Quantus looks at
    for step in (1, 8):
        segments = np.empty(saliency.size, int)
        segments[np.argsort(-bright, axis=None)] = np.arange(saliency.size) // step
        grey = np.repeat(gray, 3, axis=2).astype(np.uint8)
        ours = faithfulness(
            MaskedModel(Asked(predict, [1]), grey, segments.reshape(saliency.shape), (0, 0, 0)), bright
        )
        other = FaithfulnessEstimate(
            features_in_step=step,
            normalise=False,
            perturb_baseline=0.0,
            disable_warnings=True,
            display_progressbar=False,
        )(
            model=network,
            x_batch=gray[None],
            y_batch=np.array([1]),
            a_batch=bright[None, None],
            channel_first=False,
            softmax=True,
        )
        print(
            f"faithfulness, segments of {step} pixels: lab {ours:.6f}   Quantus {float(other[0]):.6f}"
        )


if __name__ == "__main__":
    main()
