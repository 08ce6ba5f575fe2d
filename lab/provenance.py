"""Where results come from: which networks, pictures, software and code gave them, kept beside them."""

import datetime
import hashlib
import platform
from importlib.metadata import version

import nbformat
import pandas as pd

from lab.profile import ROOT, profile

PACKAGES = ("numpy", "tensorflow", "keras", "lime", "scikit-image")


def code_digest(path):
    """Digest of what a notebook's code cells say, by which results are told from those of an earlier notebook.

    Parameters
    ----------
    path : path-like
        A notebook. Its texts and outputs do not count, and neither does when it was written:
        the digest is the same in every clone.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    cells = nbformat.read(path, as_version=4).cells
    code = "\0".join(cell.source for cell in cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def provenance(networks, pictures, notebook):
    """What a reader must know to make a notebook's results again.

    Parameters
    ----------
    networks : sequence of lab.blackbox.BlackBox
        Those that ran.
    pictures : sequence of path-like
        Those that were explained.
    notebook : str
        File name of the notebook that asks.

    Returns
    -------
    pandas.DataFrame
        Columns ``name`` and ``value``, both str. For network number 1 the names are ``network 1``,
        ``network 1 weights`` and ``network 1 stands in for``, the last one's value empty for a
        network that was asked for.
    """
    rows = {"notebook": notebook, "code": code_digest(ROOT / notebook), "profile": profile(), "date": datetime.date.today().isoformat()}
    for number, network in enumerate(networks, start=1):
        rows[f"network {number}"] = network.name
        rows[f"network {number} weights"] = network.source
        rows[f"network {number} stands in for"] = network.stands_in_for or ""
    rows["pictures"] = ", ".join(path.stem for path in pictures)
    rows["python"] = platform.python_version()
    rows |= {package: version(package) for package in PACKAGES}
    return pd.DataFrame(rows.items(), columns=["name", "value"])
