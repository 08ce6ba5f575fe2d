"""Networks converted to OpenVINO and stored, so that predicting takes no TensorFlow."""

import functools
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


def convert(network, preprocess, name, input_size):
    """Convert a Keras network and its preprocessing.

    Parameters
    ----------
    network, preprocess
        As `lab.networks.keras_networks.build` returns them.
    name : str
        The network's name, which is part of its fingerprint.
    input_size : int
        Height and width of the images, in pixels.

    Returns
    -------
    openvino.Model
        Of one float32 image.
    dict
        "fingerprint" and "n_layers", as in `lab.networks.blackbox.BlackBox`.
    """
    from lab.networks import keras_networks

    function = keras_networks.traced(network, preprocess, input_size)
    model = runtime.import_openvino().convert_model(function, share_weights=False)
    model.reshape([1, input_size, input_size, 3])
    return model, keras_networks.identity(network, name)


def place(key, weights):
    """Folder of a converted network, named after all that it was made of.

    Parameters
    ----------
    key : str
        A key of `lab.networks.loading.NETWORKS`.
    weights : pathlib.Path
        The file with its weights.

    Returns
    -------
    pathlib.Path
    """
    versions = [runtime.version(package) for package in ("openvino", "tensorflow", "keras")]
    made_of = json.dumps([key, _sha256(weights), *versions, VERSION])
    return FOLDER / f"{key}-{hashlib.sha256(made_of.encode()).hexdigest()[:24]}"


def read(folder):
    """Read what `convert` returned from its `place`; None if missing or damaged."""
    try:
        about = json.loads((folder / "about.json").read_bytes())
        if about.pop("sha256") != _digest(folder, about):
            return None
        return runtime.openvino_core().read_model(folder / "network.xml"), about
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        return None


def write(folder, model, about):
    """Write what `convert` returned to its `place`, and return it as read back.

    Read back it takes less memory. If the folder cannot be used, one line is printed
    and the network is returned as it is.
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
            _announce(FOLDER, str(error).strip().split("\n")[0])
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
    return read(folder) or (model, about)


@functools.cache  # once per reason
def _announce(folder, reason):
    print(
        f"Converted networks cannot be kept in {folder}, which makes starts slow: {reason}",
        flush=True,
    )


def _digest(folder, about):
    files = [_sha256(folder / name) for name in ("network.xml", "network.bin")]
    return hashlib.sha256(json.dumps([about, *files], sort_keys=True).encode()).hexdigest()


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
