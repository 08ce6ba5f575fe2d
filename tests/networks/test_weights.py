import hashlib
import os
import pickle
import struct

import numpy as np
import pytest

from lab.networks import weights


class _Call:
    """Pickles as a call of `function`, as a hostile file would."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class _Tensor:
    """Pickles as PyTorch's tensors do: rebuilt from a persistent id."""

    def __init__(self, key, dtype, size, offset, shape, stride):
        storage = _Storage(("storage", _Global("torch", dtype), key, "cpu", size, None))
        self.arguments = storage, offset, shape, stride, False, None


class _Storage(tuple):
    """What a tensor names by its persistent id."""


class _Global:
    def __init__(self, module, name):
        self.module, self.name = module, name


class _TorchPickler(pickle._Pickler):
    """A pickler that can name what is not installed."""

    def persistent_id(self, obj):
        return tuple(obj) if isinstance(obj, _Storage) else None

    def save(self, obj, **options):
        if isinstance(obj, _Global):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _Tensor):
            self.save(_Global("torch._utils", "_rebuild_tensor_v2"))
            self.save(obj.arguments)
            self.write(b"R")
        else:
            super().save(obj, **options)


def _torch_file(path, state, storages):
    with open(path, "wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(part, file, protocol=2)
        _TorchPickler(file, protocol=2).dump(state)
        pickle.dump(list(storages), file, protocol=2)
        for array in storages.values():
            file.write(struct.pack("<q", array.size) + array.tobytes())
    return path


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_pytorch_strides_and_offsets_are_honoured(tmp_path):
    values = np.arange(24, dtype="<f4")
    steps = np.array([7, 9], "<i8")
    state = {
        "transposed": _Tensor("0", "FloatStorage", 24, 0, (3, 4), (1, 3)),
        "shifted": _Tensor("0", "FloatStorage", 24, 12, (2, 2), (6, 2)),
        "steps": _Tensor("1", "LongStorage", 2, 0, (2,), (1,)),
    }
    path = _torch_file(tmp_path / "net.pth", state, {"0": values, "1": steps})
    read = weights.read_pytorch(path, _sha256(path))
    np.testing.assert_array_equal(read["transposed"], values[:12].reshape(4, 3).T)
    np.testing.assert_array_equal(read["shifted"], [[12, 14], [18, 20]])
    np.testing.assert_array_equal(read["steps"], steps)
    assert all(array.flags.c_contiguous for array in read.values())


def test_pytorch_tensor_past_its_storage_is_refused(tmp_path):
    state = {"w": _Tensor("0", "FloatStorage", 4, 0, (3, 3), (3, 1))}
    path = _torch_file(tmp_path / "net.pth", state, {"0": np.zeros(4, "<f4")})
    with pytest.raises(ValueError, match="reaches past its storage"):
        weights.read_pytorch(path, _sha256(path))


def test_numpy_pickle_round_trip(tmp_path):
    path = tmp_path / "net.pkl"
    layers = {"conv": [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)]}
    # As NumPy 1 wrote it: the module had another name then.
    content = pickle.dumps(layers, protocol=3)
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    read = weights.read_numpy_pickle(path, _sha256(path))
    np.testing.assert_array_equal(read["conv"][0], layers["conv"][0])


@pytest.mark.parametrize("read", [weights.read_pytorch, weights.read_numpy_pickle])
def test_a_tampered_file_is_refused_before_it_is_read(tmp_path, read):
    path = tmp_path / "net.bin"
    path.write_bytes(b"tampered")
    with pytest.raises(ValueError, match="net.bin is not the published file"):
        read(path, "0" * 64)


@pytest.mark.parametrize("read", [weights.read_pytorch, weights.read_numpy_pickle])
def test_nothing_in_a_file_is_executed(tmp_path, read):
    ran = tmp_path / "ran"
    path = tmp_path / "net.bin"
    path.write_bytes(pickle.dumps(_Call(os.mkdir, str(ran)), protocol=2))
    with pytest.raises(ValueError, match="mkdir"):
        read(path, _sha256(path))
    assert not ran.exists()


@pytest.mark.parametrize("read", [weights.read_pytorch, weights.read_numpy_pickle])
@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2])])
def test_other_content_gets_one_clear_error(tmp_path, read, content):
    path = tmp_path / "net.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="net.bin cannot be read as"):
        read(path, _sha256(path))


def test_a_missing_package_is_named():
    with pytest.raises(FileNotFoundError, match="no-such-package is not installed"):
        weights.packaged_file("no-such-package", "file")
