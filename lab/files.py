"""Files and folders that are replaced as a whole."""

import contextlib
import io
import os
import shutil
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

ROOT = Path(__file__).resolve().parents[1]
"""The folder of the project."""


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
    try:
        with FileLock(real.with_name(f".{real.name}.lock"), blocking=False):
            yield
    except Timeout:
        raise BlockingIOError(f"another command is writing {path}: wait until it ends") from None


def write_whole(path, content):
    """Write bytes beside a file, then put them in its place.

    Parameters
    ----------
    path : path-like
        Its folder is made if it is not there.
    content : bytes

    Raises
    ------
    OSError
        If they cannot be written. It names the path, and the old file is unchanged.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError) and error.errno:  # a full disk's names no path
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


@contextlib.contextmanager
def replacing(folder):
    """Yield a copy of a folder to change, which then takes the folder's place.

    After an error the folder is as it was. Only one process at a time may replace it.

    Parameters
    ----------
    folder : path-like
        It may be missing.
    """
    folder, new, old = _places(folder)
    restore(folder)
    try:
        if folder.is_dir():
            shutil.copytree(folder, new)
        new.mkdir(parents=True, exist_ok=True)
        yield new
        for path in new.iterdir():
            with open(path, "rb+") as file:
                os.fsync(file.fileno())
        if folder.is_dir():
            os.rename(folder, old)
        os.rename(new, folder)
    finally:
        restore(folder)


def restore(folder):
    """Undo what a killed process left of `replacing`, before the folder is read."""
    folder, new, old = _places(folder)
    if old.is_dir() and not folder.exists():  # killed between the two renames
        os.rename(old, folder)
    shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _places(folder):
    folder = Path(os.path.realpath(folder))
    return folder, *(folder.with_name(f".{folder.name}.{kind}") for kind in ("new", "old"))
