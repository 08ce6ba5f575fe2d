"""The lab's networks as Keras models."""

import hashlib
import operator
import warnings

import numpy as np

from lab.networks import architectures
from lab.networks.preprocessing import PREPROCESSING
from lab.networks.tensorflow_setup import keras, tf


def build(network, file):
    """Build a network and its preprocessing, a function of float32 RGB images.

    Parameters
    ----------
    network : lab.networks.registry.Network
    file : pathlib.Path or None
        Its weights; with None, ``keras.applications`` has them or downloads them.

    Returns
    -------
    keras.Model, callable

    Raises
    ------
    ValueError
        If the file does not hold weights of that network.
    """
    if network.package:
        model = getattr(architectures, network.builder)(file, **network.options)
    else:
        module, _, function = network.builder.rpartition(".")
        module = operator.attrgetter(module)(keras.applications)
        weights = "imagenet" if file is None else None
        model = getattr(module, function)(weights=weights, **network.options)
        if file is not None:
            _load_weights(model, network.name, file)
    return model, preprocessing(
        network.preprocess
    ) if network.preprocess else module.preprocess_input


def preprocessing(name):
    """A function that preprocesses a tensor of float32 images (N, H, W, 3)."""
    order, mean, scale = PREPROCESSING[name]
    # A 1 x 1 convolution, since OpenVINO is slow at selecting channels.
    kernel = np.eye(3)[:: -1 if order == "BGR" else 1] / scale
    kernel = kernel.astype(np.float32).reshape(1, 1, 3, 3)
    offset = np.float32(-np.divide(mean, scale))
    return lambda images: tf.nn.conv2d(images, kernel, 1, "VALID") + offset


def _load_weights(model, name, file):
    # Keras only warns of layers that the file lacks: a NaN that remains shows them.
    model.set_weights([np.full(w.shape, np.nan, np.float32) for w in model.weights])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.load_weights(file)
        if any(np.isnan(w).any() for w in model.get_weights()):
            raise ValueError("some of its layers are missing")
    except Exception as error:  # h5py, zipfile and Keras each raise their own
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{file.name} does not hold weights that fit {name}: {reason}") from error


def traced(model, preprocess, input_size):
    """Preprocessing and network as a concrete TensorFlow function of float32 images."""
    # A concrete one: TensorFlow warns of "retracing" where functions come and go.
    shape = model.inputs[0].shape[0], input_size, input_size, 3
    return tf.function(
        lambda images: model(preprocess(images), training=False),
        input_signature=[tf.TensorSpec(shape, tf.float32)],
    ).get_concrete_function()


def identity(model, name):
    """Digest of a network's name and weights, and its number of layers with weights."""
    digest = hashlib.sha256(name.encode())
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array))
    return {"fingerprint": digest.hexdigest()[:32], "n_layers": len(layers_with_weights(model))}


def randomized(model, layers):
    """Copy of a network whose topmost layers have their weights permuted."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    rng = np.random.default_rng(0)
    for layer in reversed(layers_with_weights(copy)[-layers:]):
        tensors = layer.get_weights()
        layer.set_weights([rng.permutation(t.ravel()).reshape(t.shape) for t in tensors])
    return copy


def layers_with_weights(model):
    """The layers of a network that have weights, from its input to its output."""
    return [layer for layer in model.layers if layer.weights]
