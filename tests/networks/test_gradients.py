"""Gradient methods on a network whose gradients are known."""

import numpy as np
import pytest

from lab.networks.blackbox import from_keras
from lab.networks.gradients import expected_gradients, grad_cam, integrated_gradients
from lab.networks.tensorflow_setup import keras

SIZE = 16


@pytest.fixture(scope="module")
def corner():
    """A network that sees the upper left quarter: the redder, the more class 1."""
    inputs = keras.layers.Input((SIZE, SIZE, 3))
    convolution = keras.layers.Conv2D(2, 1, activation="relu")
    x = keras.layers.Cropping2D(((0, SIZE // 2), (0, SIZE // 2)))(inputs)
    x = keras.layers.ZeroPadding2D(((0, SIZE // 2), (0, SIZE // 2)))(convolution(x))
    dense = keras.layers.Dense(1000, activation="softmax")
    network = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(x)))
    convolution.set_weights(
        [np.array([[[[1, 0], [0, 1], [0, 0]]]], np.float32), np.zeros(2, np.float32)]
    )
    weights = np.zeros((2, 1000), np.float32)
    weights[0, 1], weights[1, 2] = 20, 20
    dense.set_weights([weights, np.zeros(1000, np.float32)])
    return from_keras(network, lambda images: images / 255.0, "Corner", SIZE, "made here")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("method", [grad_cam, integrated_gradients, expected_gradients])
def test_only_what_the_network_sees_is_salient(corner, image, method):
    saliency, half = method(corner, image, 1), SIZE // 2
    assert saliency.shape == (SIZE, SIZE) and saliency.dtype == np.float32
    unseen = np.abs(np.r_[saliency[half + 1 :].ravel(), saliency[:half, half + 1 :].ravel()]).max()
    seen = np.abs(saliency[: half - 1, : half - 1]).mean()
    assert seen > 0 and unseen < 1e-6 * max(seen, 1)
    np.testing.assert_array_equal(method(corner, image, 1), saliency)


@pytest.mark.parametrize("method", [grad_cam, integrated_gradients, expected_gradients])
def test_one_image_at_a_time_is_in_memory(method):
    # Gradients of Xception take 400 MB for each image that goes through it at once.
    sizes = []

    class Seen(keras.layers.Layer):
        def call(self, x):
            sizes.append(x.shape[0])
            return x

    inputs = keras.layers.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(2, 1)(Seen()(inputs))
    outputs = keras.layers.Dense(1000, activation="softmax")(
        keras.layers.GlobalAveragePooling2D()(x)
    )
    network = keras.Model(inputs, outputs)
    black_box = from_keras(network, lambda images: images / 255.0, "Seen", SIZE, "made here")
    sizes.clear()
    method(black_box, np.zeros((SIZE, SIZE, 3), np.uint8), 1)
    assert {*sizes} - {None} == {1}


def test_integrated_gradients_add_up_to_the_gain_in_probability(corner, image):
    gain = corner(image[None])[0, 1] - corner(np.zeros_like(image[None]))[0, 1]
    assert integrated_gradients(corner, image, 1).sum() == pytest.approx(gain, rel=0.02)


def test_expected_gradients_add_up_to_the_mean_gain(corner, image):
    starts = np.stack([np.full_like(image, shade) for shade in (0, 127, 255)])
    gain = (corner(image[None])[0, 1] - corner(starts)[:, 1]).mean()
    assert expected_gradients(corner, image, 1).sum() == pytest.approx(gain, abs=0.1)


def test_grad_cam_is_of_one_class(corner, image):
    red = image.copy()
    red[..., 0], red[..., 1] = 255, 0
    assert grad_cam(corner, red, 1).max() > 0 and grad_cam(corner, red, 2).max() == 0
