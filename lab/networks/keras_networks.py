"""The lab's networks as Keras models."""

import hashlib
import warnings

import numpy as np

from lab.networks import architectures
from lab.networks import weights as weight_files
from lab.networks.tensorflow_setup import keras, tf

_EFFICIENTNETS = {  # blocks in each stage
    "efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
    "efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1),
    "efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1),
}


def build(key, name, input_size, file):
    """Build a network and its preprocessing, a function of float32 RGB images.

    Parameters
    ----------
    key, name, input_size
        A key of `lab.networks.loading.NETWORKS`, name and input size of that network.
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
    if key in _EFFICIENTNETS:
        state = weight_files.read_pytorch(file, weight_files.EFFICIENTNET_LITE_SHA256[key])
        network = architectures.efficientnet_lite(state, input_size, _EFFICIENTNETS[key])
        return network, _affine(np.eye(3) / 128, -127 / 128)
    if key == "squeezenet":
        weights = weight_files.read_numpy_pickle(file, weight_files.SQUEEZENET_SHA256)
        return architectures.squeezenet(weights), _CAFFE
    application = getattr(keras.applications, name)
    network = application(weights="imagenet" if file is None else None)
    if file is not None:
        _load_weights(network, name, file)
    return network, _CAFFE if key == "resnet50" else _affine(np.eye(3) / 127.5, -1)


def _affine(matrix, offset):
    # A 1 x 1 convolution, since OpenVINO is slow at selecting channels.
    kernel = np.asarray(matrix, np.float32).reshape(1, 1, 3, 3)
    return lambda images: tf.nn.conv2d(images, kernel, 1, "VALID") + np.float32(offset)


# To BGR, and ImageNet's mean subtracted.
_CAFFE = _affine(np.eye(3)[::-1], (-103.939, -116.779, -123.68))


def _load_weights(network, name, file):
    # Keras only warns of layers that the file lacks: a NaN that remains shows them.
    network.set_weights([np.full(w.shape, np.nan, np.float32) for w in network.weights])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network.load_weights(file)
        if any(np.isnan(w).any() for w in network.get_weights()):
            raise ValueError("some of its layers are missing")
    except Exception as error:  # h5py, zipfile and Keras each raise their own
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{file.name} does not hold weights that fit {name}: {reason}") from error


def traced(network, preprocess, input_size):
    """Preprocessing and network as a concrete TensorFlow function of float32 images."""
    # A concrete one: TensorFlow warns of "retracing" where functions come and go.
    return tf.function(
        lambda images: network(preprocess(images), training=False),
        input_signature=[tf.TensorSpec((None, input_size, input_size, 3), tf.float32)],
    ).get_concrete_function()


def identity(network, name):
    """Digest of a network's name and weights, and its number of layers with weights."""
    digest = hashlib.sha256(name.encode())
    for array in network.get_weights():
        digest.update(np.ascontiguousarray(array))
    return {"fingerprint": digest.hexdigest()[:32], "n_layers": len(_with_weights(network))}


def randomized(network, layers):
    """Copy of a network whose topmost layers have their weights permuted."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    rng = np.random.default_rng(0)
    for layer in reversed(_with_weights(copy)[-layers:]):
        tensors = layer.get_weights()
        layer.set_weights([rng.permutation(t.ravel()).reshape(t.shape) for t in tensors])
    return copy


def _with_weights(network):
    return [layer for layer in network.layers if layer.weights]
