"""Pieces of measuring: what a study asks for, and what is handed to a worker."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Task(NamedTuple):
    """One piece of measuring for a study.

    Attributes
    ----------
    table : str
        The results table that its rows go to.
    work : callable
        Of a module: ``work(network, image, mask, **arguments)`` returns rows (list of dict, at least
        one) and arrays (dict of str to array). A picture comes in the network's input size, its mask is
        None where it has none.
    network : str or None
        A key of `lab.study.engine.MODELS`, or None where no network is asked; then there is no picture either.
    picture : pathlib.Path or None
        Its mask is found as `lab.images.load_mask` does.
    arguments : dict
        Values that JSON can hold.
    calls : int
        About how many model calls it takes.
    """

    table: str
    work: Callable
    network: str | None
    picture: Path | None
    arguments: dict
    calls: int

    def key(self, weights, digest):
        """What the task measures, as a digest: not how, nor by which code.

        Parameters
        ----------
        weights : str or None
            The network's fingerprint.
        digest : str or None
            The picture's `picture_digest`.

        Returns
        -------
        str
            16 hexadecimal digits.
        """
        identity = {
            "table": self.table,
            "weights": weights,
            "picture": digest,
            "arguments": self.arguments,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


class Job(NamedTuple):
    """Work as it is handed to a worker, with all that it needs.

    Attributes
    ----------
    key : str
        Tells it apart from the others.
    name : str
        What it is, for a line that says that it failed.
    work : callable
        As in `Task`.
    model, weights : str or None
        A key of `lab.study.engine.MODELS`, and the fingerprint that the network must have.
    image : (H, W, 3) uint8 array or None
    mask : (H, W) bool array or None
    arguments : dict
    size : int
        How far it takes the progress bar.
    """

    key: str
    name: str
    work: Callable
    model: str | None
    weights: str | None
    image: np.ndarray | None
    mask: np.ndarray | None
    arguments: dict
    size: int


def picture_digest(path, root=None):
    """Digest of a picture's file and its mask's: a finished result is one of these very files.

    Parameters
    ----------
    path : pathlib.Path
        The picture.
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
