"""Results: their folders, how they are written, and how they are read."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lab.files import ROOT, pack

MAP = 112  # pixels: side length of a saved map
# Columns of words, even where all words of a table look like numbers.
WORDS = ("key", "class", "picture", "network", "name", "value", "text")


class MissingResult(FileNotFoundError):
    """A table or an array that has not been measured, or is damaged."""


def results_folder(profile):
    """``report/results``, or ``report/quick/results`` for the quick profile."""
    return _report(profile) / "results"


def figures_folder(profile):
    """``report/figures``, or ``report/quick/figures`` for the quick profile."""
    return _report(profile) / "figures"


def _report(profile):
    # A test must not replace what the report shows.
    return ROOT / "report" / ("quick" if profile.name == "quick" else "")


def small(saliency):
    """A saliency map as it is saved: means over equal areas, in half precision.

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
    """The results in a folder, each read when it is first needed.

    Parameters
    ----------
    folder : path-like
        Such as `results_folder`.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self._archives = {}

    def has(self, name):
        """Whether the table has been measured."""
        return (self.folder / f"{name}.csv").is_file()

    def table(self, name):
        """The table of ``name.csv``, with every number as it was measured.

        Raises
        ------
        MissingResult
            If there is no such file.
        """
        # Only an empty field is missing: "None" and "nan" are words.
        table = pd.read_csv(
            self._existing(f"{name}.csv"),
            float_precision="round_trip",
            keep_default_na=False,
            na_values=[""],
            dtype=dict.fromkeys(WORDS, str),
        )
        words = [word for word in WORDS if word in table]
        table[words] = table[words].fillna("")
        return table

    def text(self, name):
        """A table as it is written: text, empty where nothing is."""
        return pd.read_csv(self._existing(f"{name}.csv"), dtype=str, keep_default_na=False)

    def array(self, table, key, name):
        """An array of the task that has a key; a row's "place" is its index in it.

        Raises
        ------
        MissingResult
            If there is no such file, no such array in it, or the file is damaged.
        """
        member = f"{key}/{name}"
        if member not in self.arrays(table):
            shown = self._shown(f"{table}.npz")
            raise MissingResult(f"there is no array {member} in {shown}: make study measures it")
        return self._archives[table][member]

    def arrays(self, table):
        """All arrays of a table, by ``key/name``."""
        if table not in self._archives:
            path = self._existing(f"{table}.npz")
            try:
                with np.load(path, allow_pickle=False) as archive:
                    self._archives[table] = dict(archive)
            except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
                raise MissingResult(
                    f"the arrays in {self._shown(path.name)} cannot be read ({error}): delete the "
                    "file, make study measures them"
                ) from None
        return self._archives[table]

    def _existing(self, name):
        if not (self.folder / name).is_file():
            raise MissingResult(f"there is no file {self._shown(name)}: make study measures it")
        return self.folder / name

    def _shown(self, name):
        path = self.folder / name
        return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def write_table(folder, name, rows, arrays=()):
    """Write a table, and its arrays by ``key/name``.

    A column that a row lacks stays empty there, and text is written as it is.
    """
    # As objects: numbers of a column that also has text or gaps keep their digits.
    table = pd.DataFrame(rows, dtype=object)
    table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    (folder / f"{name}.npz").unlink(missing_ok=True)
    if arrays:
        (folder / f"{name}.npz").write_bytes(pack(arrays))
