"""Networks converted to OpenVINO and stored, so that predicting takes no TensorFlow."""

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from pathlib import Path
from unittest import mock

from lab.files import CACHE
from lab.networks import runtime

CONVERTED = CACHE / "networks"
VERSION = 1  # of the conversion: raise it when other numbers come out
_NAMES = re.compile(rb'(<layer id="\d+") name="[^"]*"| (?:output_)?names="[^"]*"')


def convert(network, preprocess, input_size):
    """An `openvino.Model` of a Keras network and its preprocessing."""
    from lab.networks import keras_networks
    from lab.networks.tensorflow_setup import tf

    function = keras_networks.traced(network, preprocess, input_size)
    openvino = runtime.import_openvino()
    from openvino.frontend.tensorflow import utils

    # OpenVINO 2026.4 asks for versions in a way that fails on Python 3.13: by `exec`,
    # which leaves no name there that it could delete.
    versions = {"tensorflow": tf.__version__}
    with mock.patch.object(utils, "get_environment_setup", lambda framework: versions):
        model = openvino.convert_model(function, share_weights=False)
    return fix_shape(model, input_size)


def fix_shape(model, input_size):
    """Fix the shape of a model's images (N, H, W, 3), with as few of them as it takes.

    One, unless the model has a number of its own or drops the axis of a single image.

    Raises
    ------
    ValueError
        If its output is not one row of scores for each image.
    """
    fixed = model.input(0).partial_shape[0]
    for batch in [1, 2] + ([fixed.get_length()] if fixed.is_static else []):
        try:
            model.reshape([batch, input_size, input_size, 3])
        except RuntimeError as error:
            reason = str(error).strip().split("\n")[-1]
            continue
        shape = model.output(0).partial_shape
        reason = f"its outputs have the shape {shape}, expected one row of scores for each image"
        if shape.is_static and len(shape) and shape[0] == batch:
            sizes = list(shape.to_shape())[1:]
            if math.prod(sizes) == max(sizes, default=1):
                return model
    raise ValueError(f"it cannot predict images of {input_size} x {input_size}: {reason}")


def place(key, weights):
    """Folder of a network with a key and a file of weights: all that it is made of."""
    versions = [runtime.version(package) for package in ("openvino", "tensorflow", "keras")]
    made_of = json.dumps([key, _sha256(weights), *versions, VERSION])
    return CONVERTED / f"{key}-{hashlib.sha256(made_of.encode()).hexdigest()[:24]}"


def graph_digest(model):
    """Digest of all that a model computes: its operations, their weights and order."""
    with tempfile.TemporaryDirectory() as folder:
        _save(model, Path(folder))
        return _graph_digest(Path(folder))


def read(folder):
    """The model and the facts written to a `place`; None if missing or damaged.

    One of the facts, "graph", is the `graph_digest`.
    """
    try:
        about = json.loads((folder / "about.json").read_bytes())
        if about.pop("sha256") != _checksum(about) or about["graph"] != _graph_digest(folder):
            return None
        return runtime.openvino_core().read_model(folder / "network.xml"), about
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        return None


def write(folder, model, about):
    """Write a model and facts about it to a `place`, and return them as read back.

    Read back they take less memory. If the folder cannot be used, one line is printed
    and they are returned as they are.
    """
    beside = None
    try:
        CONVERTED.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".part-", dir=CONVERTED))
        _save(model, beside)
        about = about | {"graph": _graph_digest(beside)}
        (beside / "about.json").write_text(json.dumps(about | {"sha256": _checksum(about)}))
        if read(folder) is None:  # damaged, or not there
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(beside, folder)
    except (OSError, RuntimeError) as error:  # RuntimeError is OpenVINO's
        if read(folder) is None:  # else another process has just written it
            why = str(error).strip().split("\n")[0]
            runtime.print_once(
                f"Converted networks cannot be stored in {CONVERTED}, so starts are slow: {why}"
            )
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
    return read(folder) or (model, about)


def _save(model, folder):
    runtime.import_openvino().save_model(model, folder / "network.xml", compress_to_fp16=False)


def _graph_digest(folder):
    # Without names, which count how many layers of a kind a process has made before.
    graph = hashlib.sha256(_NAMES.sub(rb"\1", (folder / "network.xml").read_bytes()))
    return hashlib.sha256(
        f"{graph.hexdigest()} {_sha256(folder / 'network.bin')}".encode()
    ).hexdigest()


def _checksum(about):
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
