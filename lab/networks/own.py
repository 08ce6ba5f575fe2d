"""Models of one's own, as a file or a function."""

import functools
import hashlib
import importlib
import inspect
import itertools
import json
import os
import re
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lab import model_calls
from lab.networks import converted
from lab.networks import runtime as runtimes
from lab.networks.blackbox import BlackBox
from lab.networks.classes import names_of, read_labels
from lab.networks.preprocessing import PREPROCESSING
from lab.networks.registry import NETWORKS

FILES = ".keras", ".h5", ".onnx", ".tflite", ".xml"
# What makes Keras run code that a file holds, or load other files.
_FOREIGN = "Lambda", "__lambda__", "function", "TFSMLayer", "TorchModuleWrapper", "JaxLayer"
_LINEAR = "Add", "MatMul", "Convolution", "ReduceMean", "AvgPool"  # gives no probabilities
_WITH_WEIGHTS = "MatMul", "Convolution", "GroupConvolution"
_RESHAPING = "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Convert"
# What scales images: Keras' layers and operations (as in preprocess_input), OpenVINO's.
_SCALING = "Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add"
_NORMALIZING = "BatchNormalization", "BatchNormInference"  # images of any scale


class _Opened(NamedTuple):
    """A model that is ready to predict.

    `predict` maps float32 images, RGB in [0, 255], to scores. `first` names its
    operations up to the first with weights, None where they do not tell. `linear` is
    whether it ends with a linear layer; `digest` is of what computes, None for a
    function.
    """

    predict: object
    input_size: int
    layout: str
    runtime: str
    first: list | None = None
    linear: bool = False
    digest: str | None = None
    build: object = None
    n_layers: int = 0


def load(model, batch_size, runtime, cache, preprocess, input_size, labels):
    """A black box of a model of one's own: see `lab.networks.load`."""
    if isinstance(model, (str, Path)):
        name, source = str(model), f"the file {Path(model).name}"
        suffix = Path(model).suffix.lower()
        if suffix not in FILES:
            model, source = _imported(name), f"the function {name}"
        elif not Path(model).is_file():
            raise ValueError(f"there is no file {model}")
        else:
            name = Path(model).name
    elif not callable(model):
        raise ValueError(
            "model must be a network's name, a file, a Keras model or a function, got "
            f"{type(model).__name__}: see docs/models.md"
        )
    else:
        name = str(getattr(model, "name", getattr(model, "__name__", type(model).__name__)))
        source = f"the {type(model).__name__} {name}"
    labels = read_labels(getattr(model, "labels", None) if labels is None else labels)
    transform = preprocess or "none"
    try:
        if isinstance(model, (str, Path)) and suffix not in (".keras", ".h5"):
            opened = _open_with_openvino(Path(model), runtime, transform, input_size)
        elif isinstance(model, (str, Path)) or _is_keras(model):
            opened = _open_keras(model, runtime, transform, input_size)
        else:
            opened = _open_function(model, batch_size, transform, input_size)
        scores = _probe(opened)
        classes = names_of(scores.shape[1], labels)
    except ValueError as error:
        raise ValueError(f"{name} cannot be used: {error}") from error
    activation, note = _activation(scores, opened.linear)
    key = opened.digest and f"{opened.digest} {activation}"
    fingerprint = key
    if key is None:
        key = getattr(model, "cache_key", None)
        key = None if key is None else f"{name} {key} {transform} {opened.input_size} {activation}"
        fingerprint = key or _likeness(model, name, scores)
    hint = "" if opened.first is None else _hint(opened.first, preprocess)
    runtimes.print_once(
        f"{name}: images {opened.input_size} x {opened.input_size}, {opened.layout}; preprocess "
        f"{transform}; {len(classes)} class{'es' * (len(classes) > 1)} "
        f"({', '.join(classes.names[:3])}{', …' * (len(classes) > 3)}); {note}."
    )
    if hint:
        runtimes.print_once(f"Hint: {name} {hint}")
    return BlackBox(
        _activated(opened.predict, activation),
        key if cache else None,
        opened.build and functools.partial(_build_activated, opened.build, activation),
        name=name,
        input_size=opened.input_size,
        source=source,
        classes=classes,
        fingerprint=hashlib.sha256(fingerprint.encode()).hexdigest()[:32],
        runtime=opened.runtime,
        n_layers=opened.n_layers,
        batch_size=batch_size,
    )


def _imported(name):
    """The object that "package.module:function" names."""
    module_name, colon, function = name.partition(":")
    if not colon:
        raise ValueError(
            f"unknown model {name!r}: expected {', '.join(NETWORKS)}, a file "
            f"({', '.join(FILES)}), or a function as package.module:function; see docs/models.md"
        )
    if module_name.endswith(".py"):
        expected = f"expected a module without .py, such as {Path(module_name).stem}:{function}"
        raise ValueError(f"{module_name} is a file: {expected}")
    if os.getcwd() not in sys.path:  # as for `python -m`, also in an installed command
        sys.path.insert(0, os.getcwd())
    try:
        model = functools.reduce(getattr, function.split("."), importlib.import_module(module_name))
    except SystemExit:
        raise ValueError(f"{name} cannot be imported: {module_name} calls sys.exit()") from None
    except Exception as error:  # whatever the module does
        raise ValueError(f"{name} cannot be imported: {_reason(error)}") from error
    if not callable(model):
        raise ValueError(f"{name} must be a function, got {type(model).__name__}")
    return model


def _is_keras(model):
    return "keras" in sys.modules and isinstance(model, sys.modules["keras"].Model)


def _open_with_openvino(path, runtime, transform, input_size):
    if runtime == "tensorflow":
        raise ValueError("TensorFlow reads only Keras files, and runtime is tensorflow")
    try:
        openvino = runtimes.import_openvino()
    except ImportError:
        raise ValueError(
            "OpenVINO is not installed: run pip install -r LIME_requirements.txt"
        ) from None
    try:
        model = runtimes.openvino_core().read_model(path)
    except RuntimeError as error:
        if outside := re.search(r"externally stored data in file \((.+?),", str(error)):
            raise ValueError(f"its weights, {outside[1]}, must lie beside it") from error
        raise ValueError(f"it cannot be read: {_reason(error)}") from error
    _check_single("inputs", [port.any_name for port in model.inputs])
    _check_single("outputs", [port.any_name for port in model.outputs])
    shape, type_ = model.input(0).partial_shape, model.output(0).element_type
    if not type_.is_real():
        raise ValueError(f"its output is of type {type_.get_type_name()}, expected float scores")
    shape = None if shape.rank.is_dynamic else [_length(dimension) for dimension in shape]
    layout, input_size = _geometry(shape, input_size)
    # The converters of TensorFlow Lite and OpenVINO hide a scaling in the weights.
    first = _operations_before_weights(model) if path.suffix.lower() == ".onnx" else None
    order, mean, scale = PREPROCESSING[transform]
    prepared = openvino.preprocess.PrePostProcessor(model)
    prepared.input().tensor().set_element_type(openvino.Type.f32)
    prepared.input().tensor().set_layout(openvino.Layout("NHWC"))
    prepared.input().model().set_layout(openvino.Layout(layout))
    steps = prepared.input().preprocess()
    if order == "BGR":
        steps.reverse_channels()
    if transform != "none":
        steps.mean([*map(float, mean)]).scale([*map(float, scale)])
    model = converted.fix_shape(prepared.build(), input_size)
    return _Opened(runtimes.OpenVino(model), input_size, layout, "openvino", first, *_facts(model))


def _length(dimension):
    return dimension.get_length() if dimension.is_static else None


def _operations_before_weights(model):
    names = (operation.get_type_name() for operation in model.get_ordered_ops())
    return [*itertools.takewhile(lambda name: name not in _WITH_WEIGHTS, names)]


def _facts(model):
    """Whether an OpenVINO model ends with a linear layer, and its digest."""
    node = model.output(0).get_node()
    while node.get_type_name() in ("Result", *_RESHAPING):
        node = node.input_value(0).get_node()
    return node.get_type_name() in _LINEAR, converted.graph_digest(model)


def _open_keras(model, runtime, transform, input_size):
    from lab.networks import keras_networks
    from lab.networks.tensorflow_setup import keras, tf

    if not _is_keras(model):
        _refuse_code(_config(Path(model)))
        try:
            model = keras.models.load_model(model, compile=False, safe_mode=True)
        except Exception as error:  # h5py, zipfile and Keras each raise their own
            if "locate class" in str(error):  # Keras' advice is for the code that saves it
                raise ValueError(
                    "it holds a layer of your own, and nothing in a file is executed: give a "
                    "function that loads it, as package.module:function"
                ) from error
            raise ValueError(f"Keras cannot read it: {_reason(error)}") from error
    if not getattr(model, "inputs", None):
        raise ValueError(
            "it has no input: begin it with keras.Input, or give a function that calls it"
        )
    _check_single("inputs", [tensor.name for tensor in model.inputs])
    _check_single("outputs", getattr(model, "output_names", model.outputs))
    layout, input_size = _geometry(model.inputs[0].shape, input_size)
    transformed = keras_networks.preprocessing(transform)

    def preprocess(images):
        images = transformed(images)
        return tf.transpose(images, (0, 3, 1, 2)) if layout == "NCHW" else images

    runtime, n_layers = runtimes.select(runtime), len(keras_networks.layers_with_weights(model))
    first, rest = [*_first_operations(model)], ((lambda: (model, preprocess)), n_layers)
    if runtime == "openvino":
        graph = converted.convert(model, preprocess, input_size)
        opened = runtimes.OpenVino(graph), input_size, layout, runtime, first, *_facts(graph)
        return _Opened(*opened, *rest)
    predict, digest = runtimes.on_tensorflow(model, preprocess, input_size)
    predict.batch_size = model.inputs[0].shape[0] or model_calls.BATCH
    linear = getattr(model.layers[-1], "activation", None) is keras.activations.linear
    predict = functools.partial(model_calls.predict, predict)
    return _Opened(predict, input_size, layout, runtime, first, linear, digest, *rest)


def _hint(first, preprocess):
    """What to check where a model's first operations do not fit the preprocessing."""
    scaling = [name for name in first if name in _SCALING]
    if scaling and preprocess not in (None, "none"):
        return (
            f"begins with {scaling[0]}, and --preprocess {preprocess} scales its images, too: "
            "leave the option out if the model takes [0, 255]."
        )
    if preprocess is None and not {*scaling, *_NORMALIZING}.intersection(first):
        return (
            "begins with no layer that scales, and gets images in [0, 255]: if it was trained on "
            "other values, name them with --preprocess; none says that these are right."
        )
    return ""


def _first_operations(model):
    """Names of a Keras model's layers and operations up to the first with weights."""
    for operation in getattr(model, "operations", None) or model.layers:
        if getattr(operation, "layers", None):  # a model, or layers.Pipeline
            yield from _first_operations(operation)
        else:
            yield type(operation).__name__
        if getattr(operation, "weights", ()):
            return


def _config(path):
    """The architecture that a Keras file describes."""
    import h5py

    try:
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                config = json.loads(archive.read("config.json"))
                return {key: part for key, part in config.items() if key != "compile_config"}
        with h5py.File(path) as file:
            if "model_config" not in file.attrs:
                raise ValueError("it holds weights without a model: save it with model.save")
            return json.loads(file.attrs["model_config"])
    except (OSError, zipfile.BadZipFile, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"it is no Keras model: {_reason(error)}") from error


def _refuse_code(part):
    """Refuse an architecture that has more than Keras' own layers and functions."""
    if isinstance(part, dict):
        name, module = part.get("class_name"), part.get("module")
        if name in _FOREIGN or (module or "keras").split(".")[0] not in ("keras", "builtins"):
            raise ValueError(
                f"it holds the layer or function {name}, which is not Keras' own, and nothing in a "
                "file is executed: give a function that loads it, as package.module:function"
            )
    for inner in part.values() if isinstance(part, dict) else part:
        if isinstance(inner, (dict, list)):
            _refuse_code(inner)


def _open_function(function, batch_size, transform, input_size):
    input_size = input_size or getattr(function, "input_size", None)
    if not model_calls.is_integer(input_size) or input_size < 1:
        raise ValueError(
            "the size of its images must be given as input_size, or --input-size, a positive "
            f"integer, got {input_size!r}"
        )

    def predict(images):
        images = images.astype(np.float32)
        scores = function(images if transform == "none" else PREPROCESSING[transform](images))
        if np.asarray(scores).dtype.kind in "iub":
            raise ValueError("it returns integers, expected probabilities of classes or logits")
        return scores

    predict.batch_size = getattr(function, "batch_size", batch_size)
    predict = functools.partial(model_calls.predict, predict)
    return _Opened(predict, input_size, "NHWC", "a function")


def _check_single(what, names):
    if len(names) != 1:
        raise ValueError(f"it has {len(names)} {what} ({', '.join(names)}), expected one")


def _geometry(shape, input_size):
    """The layout and the input size of a model, from the shape of its input."""
    known = "?" if shape is None else ", ".join("?" if n is None else str(n) for n in shape)
    if shape is None or len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ValueError(f"it takes ({known}), expected images (N, H, W, 3) or (N, 3, H, W)")
    layout = "NHWC" if shape[3] == 3 else "NCHW"
    sizes = set(shape[1:3] if layout == "NHWC" else shape[2:]) - {None}
    if len(sizes) > 1 or input_size and sizes - {input_size}:
        expected = f"{input_size} x {input_size}" if input_size else "as high as wide"
        raise ValueError(f"it takes ({known}), expected images {expected}")
    if not sizes and not input_size:
        raise ValueError(f"it takes ({known}): give its input_size, or --input-size")
    return layout, input_size or sizes.pop()


def _probe(opened):
    """Scores of two test images, of which one is noise."""
    size = opened.input_size
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3))
    ramp = np.linspace(0, 255, size)[:, None, None] * np.float32([1, 0.5, 0])
    images = np.stack([noise, np.broadcast_to(ramp, noise.shape)]).astype(np.float32)
    try:
        return model_calls.predict(opened.predict, images)
    except Exception as error:  # a function raises what it likes
        raise ValueError(
            f"it cannot predict two images, a NumPy array (2, {size}, {size}, 3): {_reason(error)}"
        ) from error


def _activation(scores, linear):
    """What makes probabilities of scores, and a note on it."""
    n_classes = scores.shape[1]
    inside = scores.min() >= -1e-6 and scores.max() <= 1 + 1e-6
    if inside and n_classes > 1 and np.allclose(scores.sum(axis=1), 1, rtol=0, atol=1e-3):
        return None, "its scores are probabilities"
    if inside and not linear:
        if n_classes == 1:
            return None, "its score is a probability"
        return None, "its scores, which do not add up to 1, are taken as they are"
    activation = "sigmoid" if n_classes == 1 else "softmax"
    return activation, f"its scores are logits and put through a {activation}"


def _activated(predict, activation):
    """`predict` with an activation, in memory of its own, float32."""

    def probabilities(images):
        scores = np.asarray(predict(images), np.float64)
        if activation == "sigmoid":
            scores = 1 / (1 + np.exp(-scores))
        elif activation == "softmax":
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores /= scores.sum(axis=1, keepdims=True)
        return scores.astype(np.float32)

    return probabilities


def _build_activated(build, activation):
    from lab.networks.tensorflow_setup import keras

    model, preprocess = build()
    if activation:
        outputs = keras.layers.Activation(activation)(model.outputs[0])
        model = keras.Model(model.inputs, outputs)
    return model, preprocess


def _likeness(function, name, scores):
    """What tells a function from others: its file and its predictions.

    Leading digits, since the number of threads may change the last ones.
    """
    try:
        file = inspect.getsourcefile(function if inspect.isroutine(function) else type(function))
        code = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except (OSError, TypeError):  # made in a notebook
        code = ""
    best = [f"{row.argmax()} {row.max():.3g}" for row in scores]
    return " ".join([name, code, str(scores.shape[1]), *best])


def _reason(error):
    text = str(error).strip().split("\n")[-1]  # where OpenVINO says it
    return textwrap.shorten(f"{type(error).__name__}: {text}", 250, placeholder=" …")
