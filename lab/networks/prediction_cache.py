"""Predictions on disk, one entry for each image."""

import functools
import sqlite3
import threading

import numpy as np
from filelock import FileLock
from xxhash import xxh3_128, xxh3_128_digest

from lab.files import CACHE

FILE = CACHE / "predictions.sqlite"
LIMIT = 2 << 30  # bytes: beyond it the oldest predictions make room for new ones
_DIGEST = 16  # bytes at the end of an entry
_TIMEOUT = 30  # seconds to wait for other processes that write


class PredictionCache:
    """A model whose predictions are stored in the SQLite file `FILE`.

    The key of an entry is a 128-bit hash of `identity` and of the image's type, shape
    and values. Entries are checked when they are read; a damaged one counts as missing.
    If the file cannot be used, the model is called for every image, and one line is
    printed.

    Parameters
    ----------
    model : callable
        From images (N, H, W, 3) to float32 probabilities (N, n_classes).
    identity : str
        What predictions depend on beside the image.
    """

    def __init__(self, model, identity):
        self._model, self._identity = model, identity

    def __call__(self, images):
        """Predict images; the model is called once, with those that have no entry."""
        file = _open(FILE)
        keys = [self._key(image) for image in images]
        entries = {key: self._prediction(key, entry) for key, entry in file.read(set(keys))}
        # By key, so that an image that comes twice is predicted once.
        missing = {key: row for row, key in enumerate(keys) if entries.get(key) is None}
        if missing:
            rows = list(missing.values())
            # All of them is the common case, and needs no copy.
            made = self._model(images if len(rows) == len(images) else images[rows])
            made = dict(zip(missing, made))
            entries.update(made)
            file.write([(key, self._entry(key, one)) for key, one in made.items()])
        return np.stack([entries[key] for key in keys])

    def _key(self, image):
        key = xxh3_128(f"{self._identity} {image.dtype.str} {image.shape}".encode())
        key.update(np.ascontiguousarray(image))
        return key.digest()

    def _entry(self, key, probabilities):
        data = probabilities.astype("<f4").tobytes()
        return data + xxh3_128_digest(key + data)

    def _prediction(self, key, entry):
        data, digest = entry[:-_DIGEST], entry[-_DIGEST:]
        if digest != xxh3_128_digest(key + data):
            return None
        probabilities = np.frombuffer(data, "<f4")
        return probabilities if np.isfinite(probabilities).all() else None


class _File:
    """Entries by key in an SQLite file that many processes and threads use at once."""

    def __init__(self, path):
        self._path, self._connection, self._usable = path, None, True
        self._lock = threading.Lock()

    def read(self, keys):
        """Pairs of key and entry, of those keys that have one."""
        # The cast: a damaged entry may be a text that cannot be decoded.
        query = "SELECT key, CAST(entry AS BLOB) FROM predictions WHERE key = ?"
        return self._run(
            lambda connection: [row for key in keys for row in connection.execute(query, (key,))]
        )

    def write(self, entries):
        """Add or replace pairs of key and entry."""
        self._run(lambda connection: _write(connection, entries))

    def _run(self, work):
        with self._lock:
            try:
                if self._usable:
                    self._connection = self._connection or _connect(self._path)
                    with self._connection:
                        return work(self._connection)
            except (OSError, sqlite3.Error) as error:
                self._usable = False
                print(
                    f"Predictions are not cached, which only costs time: {self._path} cannot be "
                    f"used ({error}). If it is damaged, delete it.",
                    flush=True,
                )
            return []


_open = functools.cache(_File)  # one for each file, opened when first used


def _connect(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_TIMEOUT, check_same_thread=False)
    # Of processes that start a log together, SQLite would refuse all but one.
    with FileLock(path.with_suffix(".lock")):
        # A write-ahead log: readers do not wait for writers, nor writers for the disk.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS predictions "
            "(number INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, entry BLOB NOT NULL)"
        )
    return connection


def _write(connection, entries):
    connection.executemany("REPLACE INTO predictions (key, entry) VALUES (?, ?)", entries)
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    if (pages - free) * size > LIMIT:
        connection.execute(
            "DELETE FROM predictions WHERE number < ? + (SELECT min(number) FROM predictions)",
            (2 * len(entries),),
        )
