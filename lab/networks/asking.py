"""How a black box is asked: in batches, its answers checked, and no question twice."""

import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import diskcache
import numpy as np

BATCH = (
    32  # pictures that are handed over at once to a black box that does not say how many it wants
)
CHUNK = 250  # pictures whose answers are kept together: what an interrupted run may lose, and a divisor of the lab's counts


class _ArrayDisk(diskcache.Disk):
    """Keeps arrays as ``.npy`` bytes: diskcache's own way is a pickle, which could run code when read."""

    def store(self, value, read, key=diskcache.UNKNOWN):
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return super().store(file.getvalue(), read, key)

    def fetch(self, mode, filename, value, read):
        if mode == diskcache.core.MODE_PICKLE:
            raise ValueError(
                f"the cache in {self._directory} holds a pickle, which this lab never writes: delete the folder"
            )
        return np.load(io.BytesIO(super().fetch(mode, filename, value, read)), allow_pickle=False)


def _open(folder):
    # Nothing is evicted: whoever wants the space back deletes the folder.
    return diskcache.Cache(folder, disk=_ArrayDisk, eviction_policy="none")


_on_disk = _open(Path(__file__).resolve().parents[2] / ".cache")


class Asked:
    """A black box of which only some classes are of interest, and which is asked everything once.

    It is itself a black box: calling it with pictures ``(N, H, W, 3)`` gives probabilities
    ``(N, len(classes))``. They are kept on disk for a black box that has a `fingerprint`, so that
    interrupted work goes on where it stopped; any other callable's as long as this object lives.

    Parameters
    ----------
    black_box : callable
        From pictures ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``. Its `batch_size`, 32 if
        it has none, is the number of pictures handed over at once.
    classes : sequence of int, optional
        The classes to keep, in this order; by default all.

    Raises
    ------
    ValueError
        When called, if an answer is not finite or not of that shape, or a class not one of the black box's.
    """

    def __init__(self, black_box, classes=None):
        self.classes = None if classes is None else [int(label) for label in classes]
        self._black_box = black_box
        self._fingerprint = getattr(black_box, "fingerprint", None)
        self._kept = {} if self._fingerprint is None else _on_disk

    def __call__(self, pictures):
        key = {
            "black box": self._fingerprint,
            "classes": self.classes,
            "pictures": digest(pictures),
        }
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        answers = self._kept.get(name)
        if answers is None:
            size = getattr(self._black_box, "batch_size", BATCH)
            answers = np.concatenate(
                [
                    self._ask(pictures[start : start + size])
                    for start in range(0, len(pictures), size)
                ]
            )
            answers.flags.writeable = False  # the next who asks gets the same
            self._kept[name] = answers
        return answers

    def _ask(self, batch):
        answers = np.asarray(self._black_box(batch))
        if answers.ndim != 2 or len(answers) != len(batch) or answers.dtype.kind not in "fiu":
            raise ValueError(
                f"the black box must answer {len(batch)} pictures with numbers of shape ({len(batch)}, n_classes), "
                f"got {answers.dtype} of shape {answers.shape}"
            )
        if not np.isfinite(answers).all():
            raise ValueError("the black box must answer with finite numbers, got NaN or infinity")
        for label in self.classes or ():
            if not 0 <= label < answers.shape[1]:
                raise ValueError(
                    f"a class to explain must be from 0 to {answers.shape[1] - 1}, got {label}"
                )
        return answers if self.classes is None else answers[:, self.classes]


def in_chunks(predict, draw, rows, progress=iter):
    """Ask about pictures that are drawn a chunk at a time, so that memory never holds more than two.

    Parameters
    ----------
    predict : callable
        A black box.
    draw : callable
        Makes pictures ``(n, H, W, 3)`` of n rows. It is called from another thread, one call at a time.
    rows : sequence or array
    progress : callable, optional
        Wraps the iterable of chunks; tqdm fits.

    Returns
    -------
    (len(rows), n_classes) array
    """
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    answers = []
    with ThreadPoolExecutor(1) as thread:
        drawn = thread.submit(draw, chunks[0])
        for _, following in zip(progress(chunks), [*chunks[1:], None]):
            pictures = drawn.result()
            # While the black box works: drawing occupies one core only, and the others would wait for it.
            drawn = None if following is None else thread.submit(draw, following)
            answers.append(predict(pictures))
    return np.concatenate(answers)


def digest(array):
    """Hexadecimal digest of an array's shape, type and values.

    Parameters
    ----------
    array : array-like

    Returns
    -------
    str
    """
    array = np.ascontiguousarray(array)
    seen = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    seen.update(array.data)
    return seen.hexdigest()
