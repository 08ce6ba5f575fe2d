"""How much the notebooks measure, and where they write it: what `LAB_PROFILE` decides."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from IPython import get_ipython
from IPython.display import SVG, Image, clear_output
from tqdm import tqdm

from lab.figures import encode

ROOT = Path(__file__).resolve().parent.parent

written = set()
"""The figures and tables that this process has saved."""


class _Counts(NamedTuple):
    samples: float  # share of the lab's own number of samples
    seeds: int  # for what is measured over seeds on many pictures
    stability_seeds: int  # for what is measured over seeds on one picture
    elephants: int | None  # None: all that are there
    bears: int | None


_PROFILES = {
    "quick": _Counts(0.05, 1, 2, 2, 1),
    "full": _Counts(1, 1, 2, 2, 1),
    "study": _Counts(1, 5, 5, None, None),
}


def profile():
    """The value of the environment variable ``LAB_PROFILE``.

    Returns
    -------
    {"quick", "full", "study"}
        ``"full"`` when the variable is not set.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    value = os.environ.get("LAB_PROFILE", "full")
    if value not in _PROFILES:
        raise ValueError(f"LAB_PROFILE must be one of {', '.join(_PROFILES)}, got {value!r}")
    return value


def counts():
    """How many seeds and pictures the profile measures.

    Returns
    -------
    namedtuple
        ``seeds`` for what is measured on every picture, ``stability_seeds`` for what is measured on
        one, ``elephants`` and ``bears``: how many pictures, None for all.
    """
    return _PROFILES[profile()]


def samples(full):
    """A number of samples, cut to a twentieth under the quick profile, but not below 60.

    Parameters
    ----------
    full : int
        The lab's own count.

    Returns
    -------
    int
        Sixty are enough for LIME to fit the superpixels of a picture.
    """
    return max(round(full * counts().samples), min(full, 60))


def output_folder(kind):
    """Where figures or results go, made if it is not there.

    The quick profile has a folder of its own: a test must not replace what the report shows.

    Parameters
    ----------
    kind : {"figures", "results"}

    Returns
    -------
    pathlib.Path
    """
    folder = ROOT / "report" / ("quick" if profile() == "quick" else "") / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save_figure(figure, name):
    """Write a figure into the folder of figures, as ``<name>.png`` or, where it is all lines, ``<name>.svg``.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str

    Returns
    -------
    IPython.display.Image or IPython.display.SVG
        The same, for the notebook to show.
    """
    kind, data = encode(figure)
    _save(output_folder("figures") / f"{name}.{kind}", data)
    return displayed(kind, data)


def displayed(kind, data):
    """An encoded figure, for the notebook to show.

    Parameters
    ----------
    kind : {"png", "svg"}
    data : bytes

    Returns
    -------
    IPython.display.Image or IPython.display.SVG
    """
    return Image(data=data, format="png") if kind == "png" else SVG(data=data)


def save_table(table, name):
    """Write a table as ``<name>.csv`` into the folder of results.

    Parameters
    ----------
    table : pandas.DataFrame
    name : str

    Returns
    -------
    pandas.DataFrame
        The same, for the notebook to show.
    """
    _save(output_folder("results") / f"{name}.csv", table.to_csv(index=False).encode())
    return table


def _save(path, content):
    write_whole(path, content)
    written.add(path)


def write_whole(path, content):
    """Write a file whole or not at all: beside it first, then in its place.

    Parameters
    ----------
    path : pathlib.Path
    content : bytes
    """
    beside = path.with_suffix(".part")
    beside.write_bytes(content)
    os.replace(beside, path)


def progress(iterable, **options):
    """tqdm on the standard output that leaves nothing behind in a notebook.

    Parameters
    ----------
    iterable : iterable
    **options
        tqdm's own.

    Yields
    ------
    The elements of `iterable`.
    """
    yield from tqdm(iterable, file=sys.stdout, leave=False, **options)
    if get_ipython() is not None:
        clear_output()
