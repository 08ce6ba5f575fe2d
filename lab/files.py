"""Files that are written as a whole, by one process at a time."""

import contextlib
import errno
import hashlib
import io
import os
import secrets
import tempfile
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

ROOT = Path(__file__).resolve().parents[1]
"""The folder of the project."""

_CHECKOUT = (ROOT / "LIME_requirements.txt").is_file()
CACHE = ROOT / ".cache" if _CHECKOUT else Path.home() / ".cache" / "black-box-explainers"
"""The folder of what only costs time if it is deleted."""


def pack(arrays):
    """Arrays by name as the bytes of an ``.npz`` file, the same for the same arrays."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@contextlib.contextmanager
def lock(path):
    """Let one process at a time write a file or folder; a killed one releases it.

    Raises
    ------
    BlockingIOError
        If another process is writing it.
    """
    real = Path(os.path.realpath(path))
    file = _beside(real, hashlib.sha256(os.fsencode(real.name)).hexdigest()[:16] + ".lock")
    try:
        with FileLock(file, blocking=False):
            try:
                yield
            finally:  # Windows removes no open file
                with contextlib.suppress(OSError):
                    file.unlink()
    except Timeout:
        raise BlockingIOError(f"another command is writing {path}: wait until it ends") from None


def check_writable(option, path):
    """Check that `write_whole` can write a file, and leave nothing behind.

    Parameters
    ----------
    option : str
        The command's option that names the file.
    path : path-like

    Raises
    ------
    OSError
        If a name is too long, something else than a file has the file's name, or its
        folder can neither be written nor made. The error names the option and the path.
    """
    path = Path(os.path.realpath(path))
    new, folder = [path.name], path.parent
    while not os.path.exists(folder):
        new, folder = [*new, folder.name], folder.parent
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise FileExistsError(errno.EEXIST, "This is no regular file")
        for name in (*new, path):  # names that are too long raise another error
            with contextlib.suppress(FileNotFoundError):
                os.lstat(folder / name)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"{option} cannot be written: {error.strerror}: '{path}'") from None


def write_whole(path, content):
    """Write bytes beside a file, then put them in its place.

    Parameters
    ----------
    path : path-like
        Its folder is made if it is not there. A link stays, and its target is written.
    content : bytes

    Raises
    ------
    OSError
        If they cannot be written. It names the path, and the old file is unchanged.
    """
    path = Path(os.path.realpath(path))
    beside = _beside(path, f"{secrets.token_hex(8)}.part")
    with _naming(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(beside, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise


def _beside(path, ending):
    """A hidden file beside another one, whose name is short enough for any disk."""
    return path.with_name(f".{path.name[:20]}.{ending}")


@contextlib.contextmanager
def _naming(path):
    """Name a path in errors: that of a full disk names none, others a hidden file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
