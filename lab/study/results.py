"""Results: where they lie, how they are read, and the file that keeps finished work while more is measured."""

import csv
import hashlib
import io
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lab.files import ROOT, finish_swap, write_whole

DRAWN_FROM = "results.sha256"  # in the folder of figures: the digest of the results that they show
MAP = 112  # pixels: side length of a map that is kept
# Columns of words, even where all words of a table look like numbers.
WORDS = ("key", "class", "picture", "network", "name", "value", "text")


class MissingResult(FileNotFoundError):
    """A table or an array that has not been measured, or is damaged."""


def results_folder(profile):
    """The folder of a profile's results: ``report/results``, or under ``report/quick``.

    Parameters
    ----------
    profile : lab.study.profile.Profile

    Returns
    -------
    pathlib.Path
    """
    return _report(profile) / "results"


def figures_folder(profile):
    """The folder of a profile's figures: ``report/figures``, or under ``report/quick``.

    Parameters
    ----------
    profile : lab.study.profile.Profile

    Returns
    -------
    pathlib.Path
    """
    return _report(profile) / "figures"


def _report(profile):
    # A test must not replace what the report shows.
    return ROOT / "report" / ("quick" if profile.name == "quick" else "")


def results_digest(folder):
    """Digest of all results in a folder: what is drawn from them says by it what it was drawn from.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    finish_swap(folder)
    seen = hashlib.sha256()
    for path in sorted(
        path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith(".")
    ):
        seen.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return seen.hexdigest()


def small(saliency):
    """A saliency map as it is kept: the mean of the pixels that share one of 112 x 112, in half precision.

    Parameters
    ----------
    saliency : (H, W) array

    Returns
    -------
    (112, 112) float16 array
    """
    image = Image.fromarray(np.asarray(saliency, dtype=np.float32))
    return np.asarray(image.resize((MAP, MAP), Image.Resampling.BOX)).astype(np.float16)


class Results:
    """The results in a folder, read when asked for.

    Parameters
    ----------
    folder : path-like
        Such as `results_folder()`.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self._archives = {}
        finish_swap(self.folder)

    def table(self, name):
        """A table, with every number as it was measured.

        Parameters
        ----------
        name : str
            Of its file, without ``.csv``.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        MissingResult
            If there is no such file.
        """
        path = self._existing(f"{name}.csv")
        # Only an empty field is missing: "None" and "nan" are words.
        table = pd.read_csv(
            path,
            float_precision="round_trip",
            keep_default_na=False,
            na_values=[""],
            dtype=dict.fromkeys(WORDS, str),
        )
        words = [word for word in WORDS if word in table]
        table[words] = table[words].fillna("")
        return table

    def array(self, table, key, name):
        """An array that belongs to rows of a table.

        Parameters
        ----------
        table : str
        key : str
            The rows' key.
        name : str
            The array's.

        Returns
        -------
        numpy.ndarray

        Raises
        ------
        MissingResult
            If there is no such file, or no such array in it.
        """
        if table not in self._archives:
            self._archives[table] = unpack(self._existing(f"{table}.npz"))
        member = f"{key}/{name}"
        if member not in self._archives[table]:
            raise MissingResult(
                f"there is no array {member} in {self._shown(f'{table}.npz')}: make study measures it"
            )
        return self._archives[table][member]

    def _existing(self, name):
        path = self.folder / name
        if not path.is_file():
            raise MissingResult(f"there is no file {self._shown(name)}: make study measures it")
        return path

    def _shown(self, name):
        path = self.folder / name
        return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def pack(arrays):
    """Arrays as the content of an ``.npz`` file: the same bytes for the same arrays.

    Parameters
    ----------
    arrays : dict of str to array

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        If an array holds Python objects, which only a pickle could keep.
    """
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"the array {name} must hold numbers, got objects")
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def unpack(path):
    """The arrays of an ``.npz`` file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict of str to numpy.ndarray

    Raises
    ------
    MissingResult
        If the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
        raise MissingResult(
            f"the arrays in {path} cannot be read ({error}): delete the file, make study measures them"
        ) from None


def lines(groups):
    """Rows as the content of a CSV file.

    Parameters
    ----------
    groups : dict of str to list of dict
        At least one row; all have the same columns.

    Returns
    -------
    bytes
    """
    rows = [row for group in groups.values() for row in group]
    return _csv([{name: name for name in rows[0]}, *rows], rows[0])


class Store:
    """A file of finished work: a CSV table in which the rows of one piece of work follow each other.

    A piece is added when it is finished, and stays whatever happens to the process or the machine.

    Parameters
    ----------
    path : path-like
        The table; a piece's arrays lie beside it as ``<piece>.npz``.
    group : str
        The column that tells pieces apart.
    remedy : str
        What its owner can do about a file that holds something else, for messages.
    """

    def __init__(self, path, group, remedy):
        self.path = Path(path)
        self.remedy = remedy
        self._group = group
        self._columns = None

    def read(self, columns=()):
        """The rows that are there, without one that a crash cut off.

        The last piece may lack rows; it is for the caller, who knows what a whole piece is, to `write` the whole ones.

        Parameters
        ----------
        columns : iterable of str, optional
            Columns that the file must have, beside the one that tells pieces apart.

        Returns
        -------
        dict of str to list of dict of str to str
            Rows by piece, in the file's order; values are text, empty where there is none.

        Raises
        ------
        ValueError
            If the file has other columns.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            return {}
        # After a power failure a file may end in zeros.
        text = self.path.read_text(encoding="utf-8", errors="surrogateescape").partition("\0")[0]
        table = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(table)
        if not {self._group, *columns} <= set(table.fieldnames or ()):
            raise ValueError(
                f"{self.path} is no result of this command and is left as it is: {self.remedy}"
            )
        if rows and (not text.endswith("\n") or None in rows[-1].values()):
            rows.pop()
        groups = {}
        for row in rows:
            groups.setdefault(row[self._group], []).append(row)
        self._columns = list(table.fieldnames) if rows else None
        return groups

    def write(self, groups):
        """Replace the file as a whole.

        Parameters
        ----------
        groups : dict of str to list of dict
            Rows by piece, in the order in which they are written.
        """
        self._columns = next((list(rows[0]) for rows in groups.values()), None)
        write_whole(self.path, lines(groups) if groups else b"")

    def add(self, name, rows, arrays=None):
        """Add a finished piece, its rows all at once.

        Parameters
        ----------
        name : str
            The piece, as its rows have it.
        rows : list of dict
        arrays : dict of str to array, optional
            Written before the rows, so that no row is without them.

        Raises
        ------
        ValueError
            If the rows have other columns than those in the file.
        """
        if self._columns and set(self._columns) != set(rows[0]):
            raise ValueError(
                f"{self.path} holds results of another version of the lab, with other columns: {self.remedy}"
            )
        if arrays is not None:
            write_whole(self._beside(name), pack(arrays))
        if self._columns is None:
            self.write({name: rows})
        else:
            with open(self.path, "ab", buffering=0) as file:
                file.write(_csv(rows, self._columns))
                os.fsync(file.fileno())

    def arrays(self, name):
        """The arrays that were added with a piece, None if their file is not there.

        Parameters
        ----------
        name : str

        Returns
        -------
        dict of str to numpy.ndarray or None
        """
        path = self._beside(name)
        return unpack(path) if path.is_file() else None

    def _beside(self, name):
        return self.path.with_name(f"{name}.npz")


def _csv(rows, columns):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [as_text(row[name]) for name in columns] for row in rows
    )
    return text.getvalue().encode(
        "utf-8", errors="surrogateescape"
    )  # file names may hold any bytes


def as_text(value):
    """A value as a file of results has it.

    Parameters
    ----------
    value : str, bool, int, float or None

    Returns
    -------
    str
        Empty for None and NaN.
    """
    return "" if value is None or value != value else str(value)
