"""Published weight files, read to NumPy arrays without running anything in them.

Both formats are pickles, and a pickle may call any function it names. The unpickler
resolves only the few names that these files need. A file's SHA-256 is checked
before its first byte is interpreted, so that its content needs no further check.
"""

import hashlib
import importlib.metadata
import io
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np


class _NamedUnpickler(pickle.Unpickler):
    """Resolves the given global names and no others."""

    def __init__(self, file, names):
        super().__init__(file)
        self._names = names

    def find_class(self, module, name):
        return self._names[f"{module}.{name}"]


def packaged_file(package, path):
    """Path of a data file of an installed package, which is not imported.

    Parameters
    ----------
    package : str
        The name that pip uses.
    path : str
        Relative to ``site-packages``.

    Raises
    ------
    FileNotFoundError
        If the package is not installed or lacks the file.
    """
    try:
        file = Path(importlib.metadata.distribution(package).locate_file(path))
    except importlib.metadata.PackageNotFoundError:
        raise FileNotFoundError(
            f"package {package} is not installed: run pip install -r LIME_requirements.txt"
        ) from None
    if not file.is_file():
        raise FileNotFoundError(f"package {package} does not hold {path}")
    return file


def _checked(path, sha256):
    data = Path(path).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ValueError(
            f"{Path(path).name} is not the published file: "
            f"its SHA-256 is {digest}, expected {sha256}"
        )
    return io.BytesIO(data)


def read_pytorch(path, sha256):
    """Read a state dict saved in PyTorch's old, non-zip format.

    Parameters
    ----------
    path : path-like
    sha256 : str
        Hexadecimal digest that the file must have.

    Returns
    -------
    dict of str to C-contiguous numpy.ndarray

    Raises
    ------
    ValueError
        If the digest differs.
    KeyError
        If the file names what no weight file needs.
    """
    file, storages = _checked(path, sha256), {}

    def persistent_load(pid):
        _, dtype, key, _device, size, _view = pid
        return storages.setdefault(key, np.empty(size, dtype))

    def rebuild_tensor(storage, offset, shape, stride, _requires_grad, _hooks):
        # Strides count elements and need not be those of a contiguous array.
        # A view: the storage's values follow the dictionary that names them.
        return np.lib.stride_tricks.as_strided(
            storage[offset:], shape, [step * storage.itemsize for step in stride]
        )

    names = {
        "collections.OrderedDict": OrderedDict,
        "torch._utils._rebuild_tensor_v2": rebuild_tensor,
        "torch.FloatStorage": np.dtype("<f4"),
        "torch.LongStorage": np.dtype("<i8"),
    }

    def load():
        unpickler = _NamedUnpickler(file, names)
        unpickler.persistent_load = persistent_load
        return unpickler.load()

    _magic, _version, _machine, state, keys = (load() for _ in range(5))
    for key in keys:
        file.seek(8, io.SEEK_CUR)  # the number of elements
        storages[key][:] = np.frombuffer(file.read(storages[key].nbytes), storages[key].dtype)
    return {key: np.ascontiguousarray(tensor) for key, tensor in state.items()}


def read_numpy_pickle(path, sha256):
    """Read a pickled dict of str to lists of arrays; else as `read_pytorch`."""
    names = {
        # NumPy has moved the function that a pickled array names.
        "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
    }
    weights = _NamedUnpickler(_checked(path, sha256), names).load()
    return {key: [np.asarray(a, np.float32) for a in arrays] for key, arrays in weights.items()}
