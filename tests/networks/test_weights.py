"""Files that are not the published ones; these are read in `test_images`."""

import hashlib
import os
import pickle

import pytest

from lab.networks import weights

each_reader = pytest.mark.parametrize("read", [weights.read_pytorch, weights.read_numpy_pickle])


class Call:
    """Pickles as a call of `function`, as a hostile file would."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@each_reader
def test_a_tampered_file_is_refused_before_it_is_read(tmp_path, read):
    path = tmp_path / "net.bin"
    path.write_bytes(b"tampered")
    with pytest.raises(ValueError, match="net.bin is not the published file"):
        read(path, "0" * 64)


@each_reader
def test_nothing_in_a_file_is_executed(tmp_path, read):
    path, ran = tmp_path / "net.bin", tmp_path / "ran"
    content = pickle.dumps(Call(os.mkdir, str(ran)), protocol=2)
    path.write_bytes(content)
    with pytest.raises(KeyError, match="mkdir"):
        read(path, hashlib.sha256(content).hexdigest())
    assert not ran.exists()


def test_a_missing_package_is_named():
    with pytest.raises(FileNotFoundError, match="no-such-package is not installed"):
        weights.packaged_file("no-such-package", "file")
