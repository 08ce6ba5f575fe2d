"""What results were made from: networks, pictures, versions, and the digests that find an older result out."""

import datetime
import hashlib
import importlib.metadata
import json
import platform
import sys
from pathlib import Path

import pandas as pd

from lab.images import DATA
from lab.profile import ROOT, output_folder, profile, written

PACKAGES = ("numpy", "tensorflow", "keras", "lime", "shap", "scikit-image")


def file_digest(path):
    """SHA-256 of a file, in hexadecimal; of a notebook that of its code cells' source alone.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    str

    Notes
    -----
    Outputs and prose do not enter, so that executing a notebook or correcting a word in it leaves
    the digest as it is.
    """
    content = Path(path).read_bytes()
    if Path(path).suffix == ".ipynb":
        cells = json.loads(content)["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        content = json.dumps(code).encode()
    return hashlib.sha256(content).hexdigest()


def provenance(notebook, networks, pictures):
    """What a notebook's results were made from. Its last call, after every figure and table is saved.

    Parameters
    ----------
    notebook : str
        Its file name.
    networks : sequence of lab.blackbox.BlackBox
        The networks that were asked.
    pictures : sequence of pathlib.Path
        The pictures in ``data/`` they were asked about.

    Returns
    -------
    pandas.DataFrame
        Columns "name" and "value": the profile, the date, the versions, each network with its
        weights and what it stands in for, the pictures, and a SHA-256 for every file that had a
        share ("source <path>": the notebook, the modules, the pictures and their masks) and every
        file that came of it ("result <path>").
    """
    facts = {"profile": profile(), "date": datetime.date.today().isoformat(), "python": platform.python_version()}
    facts |= {package: importlib.metadata.version(package) for package in PACKAGES}
    for number, network in enumerate(networks, 1):
        facts[f"network_{number}"] = network.name
        facts[f"network_{number}_source"] = network.source
        facts[f"network_{number}_stands_in_for"] = network.stands_in_for or ""
    facts["pictures"] = ", ".join(path.relative_to(DATA).as_posix() for path in pictures)
    masks = [DATA / "masks" / path.parent.name / f"{path.stem}.png" for path in pictures]
    sources = [ROOT / notebook, *_modules(), *pictures, *(mask for mask in masks if mask.exists())]
    facts |= {f"source {path.relative_to(ROOT).as_posix()}": file_digest(path) for path in sources}
    report = output_folder("results").parent
    facts |= {f"result {path.relative_to(report).as_posix()}": file_digest(path) for path in sorted(written)}
    return pd.DataFrame(facts.items(), columns=["name", "value"])


def _modules():
    """The project's own modules that are loaded."""
    files = {Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)}
    return sorted(file for file in files if file.parent in (ROOT, ROOT / "lab"))
