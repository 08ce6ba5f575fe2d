"""From RGB images in [0, 255] to what a network takes, as a table."""

from typing import NamedTuple

import numpy as np


class Preprocessing(NamedTuple):
    """Channels in the order RGB or BGR, then ``(image - mean) / scale``."""

    order: str
    mean: tuple
    scale: tuple

    def __call__(self, images):
        """Preprocess an array (N, H, W, 3) of float32."""
        images = images[..., ::-1] if self.order == "BGR" else images
        return (images - np.float32(self.mean)) / np.float32(self.scale)


def _alike(mean, scale):
    return Preprocessing("RGB", (mean,) * 3, (scale,) * 3)


PREPROCESSING = {
    "none": _alike(0, 1),
    "0..1": _alike(0, 255),
    "-1..1": _alike(127.5, 127.5),
    "imagenet": Preprocessing("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": Preprocessing("BGR", (103.939, 116.779, 123.68), (1, 1, 1)),
    "efficientnet-lite": _alike(127, 128),
}
"""By name; "imagenet" is what PyTorch's models take, "caffe" what the older ones do."""
