"""Files that appear whole or not at all, one by one or several that belong together."""

import contextlib
import json
import os
import shutil
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
"""The folder of the project."""

_REMOVED = (
    ".removed"  # in a set of files that is swapped in: the names of those that it does away with
)


def write_whole(path, content):
    """Write a file whole or not at all: beside it first, then in its place.

    Parameters
    ----------
    path : path-like
        Its folder is made if it is not there.
    content : bytes
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    try:
        _write(beside, content)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def swap_in(folder, files, only=False):
    """Replace several files that belong together as a whole.

    Whenever the process ends, `finish_swap` makes the folder hold either all files as they were or
    all as they should be.

    Parameters
    ----------
    folder : path-like
        Made if it is not there.
    files : dict of str to bytes
        Contents by the files' names. A file that holds them already is not written again.
    only : bool, optional
        Whether other files of the folder are removed, but for hidden ones.

    Returns
    -------
    list of str
        Names of the files that were written or removed, sorted.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        _roll_forward(folder)
        there = {
            path.name
            for path in folder.iterdir()
            if path.is_file() and not path.name.startswith(".")
        }
        changed = [
            name
            for name, content in files.items()
            if name not in there or (folder / name).read_bytes() != content
        ]
        removed = sorted(there - set(files)) if only else []
        if changed or removed:
            part = folder / ".swap.part"
            try:
                part.mkdir()
                for name in changed:
                    _write(part / name, files[name])
                _write(part / _REMOVED, json.dumps(removed).encode())
                _sync(part)
                os.rename(part, folder / ".swap")  # from here on the new files hold
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
            _sync(folder)
            _roll_forward(folder)
    return sorted([*changed, *removed])


def finish_swap(folder):
    """Finish what a `swap_in` that was interrupted left behind; whoever reads the folder calls this first.

    Parameters
    ----------
    folder : path-like
        May be missing.
    """
    folder = Path(folder)
    if (folder / ".swap").exists() or (folder / ".swap.part").exists():
        with _alone(folder):
            _roll_forward(folder)


def _roll_forward(folder):
    shutil.rmtree(folder / ".swap.part", ignore_errors=True)
    swap = folder / ".swap"
    if not swap.exists():
        return
    for path in swap.iterdir():
        if path.name != _REMOVED:
            os.replace(path, folder / path.name)
    with contextlib.suppress(FileNotFoundError):  # interrupted right here
        for name in json.loads((swap / _REMOVED).read_bytes()):
            (folder / name).unlink(missing_ok=True)
        (swap / _REMOVED).unlink()
    swap.rmdir()


def _alone(folder):
    """Wait until no other process swaps files of this folder; a process that ends lets go."""
    return FileLock(folder / ".lock")


def _write(path, content):
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder):
    if os.name != "posix":  # Windows opens no folders, and keeps their entries by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
