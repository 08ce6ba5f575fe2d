"""How much the notebooks measure, and where they write it: what `LAB_PROFILE` decides."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from IPython import get_ipython
from IPython.display import clear_output
from tqdm import tqdm

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
    "full": _Counts(1, 1, 3, 2, 1),
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
    """Write a figure as ``<name>.png`` into the folder of figures, whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str

    Returns
    -------
    matplotlib.figure.Figure
        The same, for the notebook to show.
    """
    path = output_folder("figures") / f"{name}.png"
    beside = path.with_suffix(".part")
    # The software's version in the file would make every figure differ after an update.
    figure.savefig(beside, format="png", metadata={"Software": None})
    os.replace(beside, path)
    written.add(path)
    return figure


def save_table(table, name):
    """Write a table as ``<name>.csv`` into the folder of results, whole or not at all.

    Parameters
    ----------
    table : pandas.DataFrame
    name : str

    Returns
    -------
    pandas.DataFrame
        The same, for the notebook to show.
    """
    path = output_folder("results") / f"{name}.csv"
    beside = path.with_suffix(".part")
    table.to_csv(beside, index=False)
    os.replace(beside, path)
    written.add(path)
    return table


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
