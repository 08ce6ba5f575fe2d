"""Published weight files, read to NumPy arrays without running anything in them.

Both formats are pickles, and a pickle may call any function it names. The unpicklers
here resolve only the few names that these two files need. The file's SHA-256 is checked
before its first byte is interpreted.
"""

import hashlib
import importlib.metadata
import io
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np

EFFICIENTNET_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SQUEEZENET_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_TORCH_PROTOCOL = 1001
_TORCH_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _NamedUnpickler(pickle.Unpickler):
    """Resolves the given global names and no others."""

    def __init__(self, file, names, **options):
        super().__init__(file, **options)
        self._names = names

    def find_class(self, module, name):
        try:
            return self._names[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(
                f"the file names {module}.{name}, which no weight file needs"
            ) from None


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
    return data


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
        If the digest differs, or the content is not of that format.
    """
    return _parse_pytorch(_checked(path, sha256), Path(path).name)


def _parse_pytorch(data, name):
    file = io.BytesIO(data)
    storages = {}

    def persistent_load(pid):
        kind, dtype, key, _device, size, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"unknown persistent id {pid!r}")
        return storages.setdefault(key, np.empty(size, dtype))

    def rebuild_tensor(storage, offset, shape, stride, _requires_grad, _hooks):
        # Strides count elements and need not be those of a contiguous array.
        last = offset + sum((n - 1) * step for n, step in zip(shape, stride))
        if offset < 0 or min(stride, default=0) < 0 or last >= max(storage.size, 1):
            raise pickle.UnpicklingError(f"a tensor of shape {shape} reaches past its storage")
        # A view: the storage's values follow the dictionary that names them.
        return np.lib.stride_tricks.as_strided(
            storage[offset:], shape, [step * storage.itemsize for step in stride]
        )

    names = {
        "collections.OrderedDict": OrderedDict,
        "torch._utils._rebuild_tensor_v2": rebuild_tensor,
        **{f"torch.{kind}": dtype for kind, dtype in _TORCH_DTYPES.items()},
    }

    def load():
        unpickler = _NamedUnpickler(file, names)
        unpickler.persistent_load = persistent_load
        return unpickler.load()

    try:
        if load() != _TORCH_MAGIC or load() != _TORCH_PROTOCOL:
            raise pickle.UnpicklingError("the file does not start like a PyTorch file")
        if not load()["little_endian"]:
            raise pickle.UnpicklingError("the file was written on a big-endian machine")
        state = load()
        for key in load():
            storage = storages[key]
            count = int(np.frombuffer(file.read(8), "<i8")[0])
            if count != storage.size:
                raise pickle.UnpicklingError(
                    f"storage {key} has {count} elements, not {storage.size}"
                )
            storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    except (pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as a PyTorch state dict: {error}") from error
    return {key: np.ascontiguousarray(tensor) for key, tensor in state.items()}


def read_numpy_pickle(path, sha256):
    """Read a pickled dict of str to lists of arrays; else as `read_pytorch`."""
    return _parse_numpy_pickle(_checked(path, sha256), Path(path).name)


def _parse_numpy_pickle(data, name):
    # NumPy has moved the function that a pickled array names.
    reconstruct = np.empty(0).__reduce__()[0]
    names = {
        "numpy.core.multiarray._reconstruct": reconstruct,
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
    }
    try:
        weights = _NamedUnpickler(io.BytesIO(data), names).load()
        return {
            key: [np.asarray(array, np.float32) for array in arrays]
            for key, arrays in weights.items()
        }
    except (pickle.UnpicklingError, EOFError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as a dictionary of arrays: {error}") from error
