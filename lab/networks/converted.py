"""Networks converted to OpenVINO and stored, so that predicting takes no TensorFlow."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from lab.files import ROOT
from lab.networks import runtime

FOLDER = ROOT / ".cache" / "networks"
VERSION = 1  # of the conversion: raise it when other numbers come out


def convert(network, preprocess, input_size):
    """An `openvino.Model` of a Keras network and its preprocessing."""
    from lab.networks import keras_networks

    function = keras_networks.traced(network, preprocess, input_size)
    model = runtime.import_openvino().convert_model(function, share_weights=False)
    model.reshape([1, input_size, input_size, 3])
    return model


def place(key, weights):
    """Folder of a network with a key and a file of weights: all that it is made of."""
    versions = [runtime.version(package) for package in ("openvino", "tensorflow", "keras")]
    made_of = json.dumps([key, _sha256(weights), *versions, VERSION])
    return FOLDER / f"{key}-{hashlib.sha256(made_of.encode()).hexdigest()[:24]}"


def read(folder):
    """The model and the facts written to a `place`; None if missing or damaged."""
    try:
        about = json.loads((folder / "about.json").read_bytes())
        if about.pop("sha256") != _digest(folder, about):
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
        FOLDER.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".part-", dir=FOLDER))
        runtime.import_openvino().save_model(model, beside / "network.xml", compress_to_fp16=False)
        (beside / "about.json").write_text(json.dumps(about | {"sha256": _digest(beside, about)}))
        if read(folder) is None:  # damaged, or not there
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(beside, folder)
    except (OSError, RuntimeError) as error:  # RuntimeError is OpenVINO's
        if read(folder) is None:  # else another process has just written it
            why = str(error).strip().split("\n")[0]
            runtime.print_once(
                f"Converted networks cannot be stored in {FOLDER}, which makes starts slow: {why}"
            )
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
    return read(folder) or (model, about)


def _digest(folder, about):
    files = [_sha256(folder / name) for name in ("network.xml", "network.bin")]
    return hashlib.sha256(json.dumps([about, *files], sort_keys=True).encode()).hexdigest()


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
