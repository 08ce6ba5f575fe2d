"""The runner: finish tasks with the processes of this machine or of a Dask cluster."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Task(NamedTuple):
    """One piece of work, which gives some rows of a table.

    Attributes
    ----------
    table : str
        The table of its rows.
    function : callable
        Of a module: ``function(network, image, mask, **arguments)`` returns rows (list of
        dict, at least one) and arrays (dict of str to array). `image` is a uint8 array in
        the network's input size, `mask` a bool array, None where the image has none.
    network : str or None
        A key of `MODELS`; None where no network is called, and then there is no image.
    image : pathlib.Path or None
        Its mask is found as `lab.images.load_mask` does.
    arguments : dict
        Values that JSON can hold.
    calls : int
        About how many model calls it takes.
    version : int
        Version of `function`, declared beside it and raised when its numbers change.
    """

    table: str
    function: Callable
    network: str | None
    image: Path | None
    arguments: dict
    calls: int
    version: int


def image_digest(path, root=None):
    """Digest of the files of an image and its mask.

    Parameters
    ----------
    path : pathlib.Path
    root : pathlib.Path, optional
        As in `lab.images.load_mask`.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    root = path.parent.parent if root is None else root
    mask = root / "masks" / path.relative_to(root).with_suffix(".png")
    content = path.read_bytes() + (mask.read_bytes() if mask.exists() else b"")
    return hashlib.sha256(content).hexdigest()[:16]
