"""Results: read from the store, as tables and arrays.

A study that is finished lists its tasks and what holds for all of them in
``<study>.json``. Tables of what was measured are made of its tasks' files, and all
other tables are computed from these when they are asked for.
"""

import contextlib
import functools
import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lab.files import ROOT, write_whole
from lab.study.store import read

TAKEN = "results", "figures", "tables", "quick"  # names in report/
MAP = 112  # pixels: side length of a saved map

STUDIES = {
    "lime": "lab.study.lime",
    "rise": "lab.study.rise",
    "evaluation": "lab.study.comparison",
    "montages": "lab.study.comparison",
    "photographs": "lab.study.comparison",
}
"""The module of each study."""


class MissingResult(FileNotFoundError):
    """A table or an array that has not been measured, or is damaged."""


class MissingImage(MissingResult):
    """An image that was measured is no longer in ``data/``."""


def results_folder(profile, images=None):
    """``report/results``, or ``report/quick/results`` for the quick profile.

    `images` is a folder of images that are not those of ``data/``: their results are in
    a folder of its name beside ``results``.

    Raises
    ------
    ValueError
        If that is the name of another folder in ``report/``.
    """
    return _report(profile, images) / "results"


def figures_folder(profile, images=None):
    """As `results_folder`, for ``figures``."""
    return _report(profile, images) / "figures"


def _report(profile, images):
    # A test must not replace what the report shows.
    folder = ROOT / "report" / ("quick" if profile.name == "quick" else "")
    if images is None:
        return folder
    name = Path(images).resolve().name
    if not name or name in TAKEN:
        raise ValueError(
            f"the results of {images} would be in report/{name}, which has others: give the folder "
            "another name"
        )
    return folder / name


def small(saliency, side=MAP):
    """A saliency map as it is saved: means over equal areas, in half precision.

    Parameters
    ----------
    saliency : (H, W) array
    side : int, optional

    Returns
    -------
    (side, side) float16 array
    """
    image = Image.fromarray(np.asarray(saliency, dtype=np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BOX)).astype(np.float16)


class Results:
    """The results in a folder, each read or computed when it is first needed.

    Parameters
    ----------
    folder : path-like
        Such as `results_folder`.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self._tables, self._arrays, self._arguments, self._others = {}, {}, {}, {}

    @functools.cached_property
    def facts(self):
        """What holds for all of a study, by the names of the studies that are finished.

        A dict with "profile", "images_of_each_class" and "seeds"; "networks", a list of
        dict ("name", "source", "stands_in_for", "weights", "runtime", "input_size");
        "images", their digests by path; and "tasks", by table a list of key, network
        and image.
        """
        found = {}
        for study in STUDIES:
            path = self.folder / f"{study}.json"
            if path.is_file():
                try:
                    found[study] = json.loads(path.read_text(encoding="utf-8"))
                except ValueError as error:
                    raise MissingResult(
                        f"{self._shown(path)} cannot be read ({error}): delete it, make study "
                        "writes it again"
                    ) from None
        return found

    def has(self, name):
        """Whether a study is finished."""
        return name in self.facts

    def table(self, name):
        """A table of what was measured, or one that is computed from it.

        Of what was measured, a row has "network", "class" and "image" (its path below
        the folder of class folders), what its task measured, "place" (its index in the
        task's arrays) and "key", by which `array` finds them. A name such as
        "animals/lime_effects" is that of a table of the folder of this name beside the
        results, see `results_folder`.

        Raises
        ------
        MissingResult
            If it has not been measured.
        """
        if "/" in name:
            folder, _, own = name.partition("/")
            if folder not in self._others:
                self._others[folder] = Results(self.folder.parent / folder / "results")
            return self._others[folder].table(own)
        if name not in self._tables:
            self._tables[name] = self._measured(name)
        if self._tables[name] is None:
            self._tables[name] = self._derived(name)
        return self._tables[name].copy()

    def array(self, table, key, name):
        """An array of the part that has a key; a row's "place" is its index in it.

        Raises
        ------
        MissingResult
            If there is no such array.
        """
        self.table(table)
        if (table, key, name) not in self._arrays:
            raise MissingResult(f"there is no array {name} of {key} in {table}: {_MEASURE}")
        return self._arrays[table, key, name]

    def arguments(self, table, key):
        """The arguments with which the part that has a key was measured."""
        self.table(table)
        return self._arguments[table, key]

    def tables(self):
        """Names of all tables that there are, those that can be computed among them."""
        names = [name for facts in self.facts.values() for name in facts["tasks"]]
        for study, module in STUDIES.items():
            if study in self.facts:
                for name in importlib.import_module(module).DERIVED[study]:
                    with contextlib.suppress(MissingResult):  # of many images less is measured
                        self.table(name)
                        names.append(name)
        return names

    def write_tables(self, folder):
        """Write all tables as CSV files into a folder."""
        for name in self.tables():
            text = self.table(name).to_csv(index=False, lineterminator="\n")
            write_whole(Path(folder) / f"{name}.csv", text.encode())

    def records(self):
        """A row for each part that was measured: "study", "table", day and versions."""
        rows = []
        for study, facts in self.facts.items():
            for table, keys in facts["tasks"].items():
                for key, *_ in keys:
                    for part, (_, result) in self._parts(table, key).items():
                        rows.append({"study": study, "table": table, "part": part} | result.about)
        return pd.DataFrame(rows)

    def _measured(self, name):
        for facts in self.facts.values():
            if name in facts["tasks"]:
                rows = []
                for key, network, image in facts["tasks"][name]:
                    about = {}
                    if network is not None:
                        about = {"network": network, "class": image.split("/")[0], "image": image}
                    for part, (arguments, result) in self._parts(name, key).items():
                        own = f"{key}/{part}" if part else key
                        self._arguments[name, own] = arguments
                        rows += [
                            about | row | {"place": place, "key": own}
                            for place, row in enumerate(result.rows)
                        ]
                        for array, values in result.arrays.items():
                            self._arrays[name, own, array] = values
                return pd.DataFrame(rows)
        return None

    def _parts(self, table, key):
        path = self.folder / table / f"{key}.npz"
        parts = read(path)
        if not parts:
            raise MissingResult(f"{self._shown(path)} is missing or damaged: {_MEASURE}")
        return parts

    def _derived(self, name):
        for study, module in STUDIES.items():
            derived = importlib.import_module(module).DERIVED[study]
            if name in derived:
                return derived[name](self).reset_index(drop=True)
        raise MissingResult(f"there is no table {name} in {self._shown(self.folder)}: {_MEASURE}")

    def _shown(self, path):
        return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


_MEASURE = "make study measures it"
