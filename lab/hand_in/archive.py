"""``python -m lab.hand_in.archive NAME``: pack what is handed in as ``dist/<NAME>_LIME_RISE.zip``."""

import io
import json
import re
import sys
import zipfile

from lab.files import ROOT, write_whole
from lab.hand_in import report
from lab.hand_in.report import OutOfDate

LARGE = 15_000_000
"""Bytes from which on a warning is due: many mail servers and course platforms take little more."""

PARTS = (
    "*.ipynb",
    "rise.py",
    "lab/**/*.py",
    "LIME_requirements.txt",
    "Makefile",
    "README.md",
    "LICENSE*",
    "data/**/*",
    "benchmarks/**/*",
    "report/report.*",
    "report/protocol.md",
    "report/metadata.toml",
    "report/references.yml",
    "report/figures/*",
    "report/results/*",
    "tests/**/*",
)


def check_name(name):
    """Refuse what cannot stand in a file name on every system.

    Parameters
    ----------
    name : str

    Raises
    ------
    ValueError
    """
    if not name:
        raise ValueError("NAME is missing: make archive NAME=lastname_firstname")
    if not re.fullmatch(r"\w[\w-]{0,99}", name):
        raise ValueError(
            f"NAME must be up to 100 letters, digits, - and _, as in lastname_firstname; got {name!r}"
        )


def check_notebook(path):
    """Refuse a notebook that holds an error or was not run.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    OutOfDate
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [
        (number, cell)
        for number, cell in enumerate(cells, 1)
        if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
    ]
    for number, cell in code:
        if any(output["output_type"] == "error" for output in cell["outputs"]):
            raise OutOfDate(
                f"{path.name}: cell {number} holds an error: make lab runs the notebook anew"
            )
    counts = [cell["execution_count"] for _, cell in code]
    if None in counts or counts != sorted(counts):
        raise OutOfDate(f"{path.name} was not run from top to bottom: make lab does it")


def files():
    """What is handed in.

    Returns
    -------
    list of pathlib.Path
        In the order of their names.
    """
    found = {path for part in PARTS for path in ROOT.glob(part)}
    hidden = ("__pycache__", ".")
    return sorted(
        path
        for path in found
        if path.is_file()
        and not any(part.startswith(hidden) for part in path.relative_to(ROOT).parts)
    )


def pack(paths, target):
    """Write a zip file, whole or not at all, of the same bytes for the same content.

    Parameters
    ----------
    paths : iterable of pathlib.Path
    target : pathlib.Path
        In the archive the files stand in a folder of its name.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            # When a file was written and who may read it is no part of its content.
            entry = zipfile.ZipInfo(f"{target.stem}/{path.relative_to(ROOT).as_posix()}")
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, packed.getvalue())


def main(arguments):
    """Check everything, then pack it and print the size."""
    try:
        name = arguments[0] if arguments else ""
        check_name(name)
        for notebook in sorted(ROOT.glob("*.ipynb")):
            check_notebook(notebook)
        report.check_built(ROOT / "report")
        target = ROOT / "dist" / f"{name}_LIME_RISE.zip"
        pack(files(), target)
    except (OutOfDate, ValueError) as error:
        sys.exit(str(error))
    size = target.stat().st_size
    print(f"Wrote dist/{target.name} ({size / 1e6:.1f} MB)")
    if size > LARGE:
        print(
            f"Warning: that is more than {LARGE / 1e6:.0f} MB, which some mail servers and course platforms refuse",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
