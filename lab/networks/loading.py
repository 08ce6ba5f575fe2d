"""Load a network to be explained: one of the lab's by name, or a model of one's own."""

import os
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import gettempdir

from lab.model_calls import is_integer
from lab.networks import converted, own
from lab.networks import runtime as runtimes
from lab.networks.blackbox import BlackBox, from_keras
from lab.networks.classes import names_of
from lab.networks.preprocessing import PREPROCESSING
from lab.networks.registry import NETWORKS
from lab.networks.weights import packaged_file


class WeightsUnavailable(RuntimeError):
    """The ImageNet weights of a network are not here and cannot be downloaded."""


def load(
    model,
    batch_size=32,
    runtime=None,
    cache=True,
    stand_in=True,
    *,
    preprocess=None,
    input_size=None,
    labels=None,
):
    """Load a network.

    Parameters
    ----------
    model : str, path-like, callable or keras.Model
        - A key of `lab.networks.registry.NETWORKS`, with its ImageNet weights. Those of
          Keras' networks are looked for in the folder that the environment variable
          ``LAB_WEIGHTS`` names, in Keras' cache, and on the internet, in this order;
          those of the others are in pip packages.
        - A file: ``.keras``, ``.h5``, ``.onnx``, ``.tflite``, or OpenVINO's ``.xml``.
        - A function, or ``"package.module:function"``, which may be in the current
          folder: from images (N, H, W, 3), RGB in [0, 255], float32, to scores
          (N, n_classes). Its attributes `input_size`, `batch_size`, `labels` and
          `cache_key`, if it has them, say what an argument does not.
        - A Keras model.

        Scores that are no probabilities are put through a softmax, of one output
        through a sigmoid. One printed line says how the model is used.
    batch_size : int, optional
        Number of images that are predicted, and then cached, at once.
    runtime : {"openvino", "tensorflow"}, optional
        What computes predictions. By default TensorFlow where it has a GPU, else
        OpenVINO where it is installed.
    cache : bool, optional
        Whether predictions are read from and written to a cache on disk. Those of a
        function are only if it has a `cache_key`, a str that changes with what it
        computes.
    stand_in : bool, optional
        Whether the stand-in of Xception or ResNet50 is loaded where their weights are
        not available, and with ``LAB_BLACKBOX=offline`` at once. One printed line
        announces it, and its `stands_in_for` names the network that it replaces.
    preprocess : str, optional
        A key of `lab.networks.preprocessing.PREPROCESSING`, by default "none". This and
        the following are for models of one's own.
    input_size : int, optional
        Height and width of the images, where the model does not say.
    labels : path-like or sequence of str, optional
        The classes' names; in a file one a line. By default ImageNet's for 1000 or 1001
        classes, else numbers.

    Returns
    -------
    BlackBox

    Raises
    ------
    ValueError
        If an argument is none of these, a file does not hold weights that fit, or a
        model cannot be used.
    WeightsUnavailable
        If the weights are not here and cannot be downloaded, and nothing stands in.
    """
    for name, value in (("batch_size", batch_size), ("input_size", input_size)):
        if value is not None and (not is_integer(value) or value < 1):
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    if preprocess not in (None, *PREPROCESSING):
        raise ValueError(f"preprocess must be of {', '.join(PREPROCESSING)}, got {preprocess!r}")
    if runtime not in (None, "openvino", "tensorflow"):
        raise ValueError(f"runtime must be openvino or tensorflow, got {runtime!r}")
    settings = {"preprocess": preprocess, "input_size": input_size, "labels": labels}
    if not isinstance(model, str) or model not in NETWORKS:
        return own.load(model, batch_size, runtime, cache, **settings)
    if given := [name for name, value in settings.items() if value is not None]:
        raise ValueError(
            f"{model} is a network of the lab, with settings of its own: {' and '.join(given)} "
            "cannot be given"
        )
    network = NETWORKS[model]
    if not (stand_in and network.stand_in):
        return _load(model, batch_size, runtime, cache)
    mode = os.environ.get("LAB_BLACKBOX", "auto")
    if mode not in ("auto", "offline"):
        raise ValueError(f"LAB_BLACKBOX must be auto or offline, got {mode!r}")
    reason = "LAB_BLACKBOX=offline asks for no download."
    if mode == "auto":
        try:
            return _load(model, batch_size, runtime, cache)
        except WeightsUnavailable as error:
            reason = str(error)
    black_box = _load(network.stand_in, batch_size, runtime, cache)
    name, wanted = black_box.name, network.name
    black_box.stands_in_for = wanted
    # Not once a process: a notebook's cell would lose the line when it is run again.
    print(
        f"{name} stands in for {wanted}. {reason} All results are those of {name}, not {wanted}.",
        flush=True,
    )
    return black_box


def add_arguments(parser):
    """Add the options of a command that say which network to load."""
    add = parser.add_argument
    add(
        "--model",
        default="xception",
        help=f"{', '.join(NETWORKS)}; a file ({', '.join(own.FILES)}); or a function, as "
        "package.module:function (%(default)s)",
    )
    add("--preprocess", choices=PREPROCESSING, help="for a model of your own (none)")
    add("--input-size", type=int, metavar="PIXELS", help="where a model of your own has none")
    add("--labels", metavar="FILE", help="names of its classes, one a line")


def load_from(options):
    """Load the network that a command's options name."""
    model, *arguments = named_by(options)
    return load(model, **dict(arguments))


def named_by(options):
    """The network that a command's options name: the model, and pairs of arguments."""
    given = ((name, getattr(options, name)) for name in ("preprocess", "input_size", "labels"))
    return options.model, *((name, value) for name, value in given if value is not None)


def _load(key, batch_size, runtime, cache):
    runtime, network = runtimes.select(runtime), NETWORKS[key]
    weights, source, download = _find_weights(network)

    def build():
        from lab.networks import keras_networks

        try:
            return keras_networks.build(network, None if download else weights)
        except Exception as error:  # Keras raises a bare Exception when a download fails
            if not download:
                raise
            raise _unavailable(network, str(error).rpartition(" -- ")[2]) from error

    described = network.name, network.input_size, source
    if runtime == "tensorflow":
        return from_keras(*build(), *described, batch_size, runtime, cache)
    ready = weights and converted.read(converted.place(key, weights))
    if not ready:
        from lab.networks import keras_networks

        keras_network, preprocess = build()
        model = converted.convert(keras_network, preprocess, network.input_size)
        ready = model, keras_networks.identity(keras_network, network.name)
        if weights := weights or _in_keras_cache(network):  # the latter after a download
            ready = converted.write(converted.place(key, weights), *ready)
    model, about = ready
    return BlackBox(
        runtimes.OpenVino(model),
        (about.get("graph") or converted.graph_digest(model)) if cache else None,
        build,
        name=network.name,
        input_size=network.input_size,
        source=source,
        classes=names_of(model.output(0).shape[1]),
        fingerprint=about["fingerprint"],
        runtime=runtime,
        n_layers=about["n_layers"],
        batch_size=batch_size,
    )


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
