"""``python -m lab.hand_in.archive NAME``: pack what is handed in, with a new report."""

import io
import os
import re
import subprocess
import sys
import unicodedata
import zipfile

import nbformat

from lab.command import stopping
from lab.files import ROOT, write_whole
from lab.hand_in.report import metadata

LARGE = 15_000_000
"""Bytes above which some mail servers and course platforms refuse a file."""

PROFILE = re.compile(r"^Profile: (\w+)$", re.MULTILINE)
"""The line by which a notebook prints the profile that it ran at."""

MARKERS = re.compile(r"^ *### (BEGIN|END) (SOLUTION|HIDDEN TESTS)(\n|$)", re.MULTILINE)

PARTS = (
    *("*.ipynb", "rise.py", "lab/**/*", "data/**/*", "docs/**/*", "report/*.*"),
    *("report/figures/*", "report/results/*", "README.md", "LICENSE", "CITATION.cff"),
    *("LIME_requirements.txt", "Makefile", "pyproject.toml"),
)
NEEDED = "broccoli/broccoli_1_leaves.jpg", "airliner/airliner_1_storm.jpg", "README.md"
"""Of data/evaluation: what EVALUATION.ipynb opens."""

LEFT_OUT = re.compile(rf"data/evaluation/(?!{'|'.join(NEEDED)})|(^|/)(\.|__pycache__)")

ABOUT = """\
This archive holds the executed notebooks, the report (report/report.pdf), the code
(rise.py and lab/), the lab's images (data/) and what was measured (report/results/).
README.md tells how to run it.

Left out to keep it small: the tests, the benchmarks and most of the 129 images in
data/evaluation/. `make test`, `make study`, `make figures`, `make report` and
`make archive` need them. They are in the repository of the lab{where}.
"""


def _checked(name):
    name = unicodedata.normalize("NFC", name)
    if not name:
        raise ValueError("NAME is missing: make archive NAME=lastname_firstname")
    # Marks are parts of letters in scripts such as Devanagari and Thai.
    known = all(char in "-_" or unicodedata.category(char)[0] in "LMN" for char in name)
    if not known or name[0] in "-_" or len(name.encode()) > 200:
        raise ValueError(
            "NAME must be letters, digits, - and _, as in lastname_firstname, start with a letter "
            f"or digit and have at most 200 bytes, got {name!r}"
        )
    return name


def profile_of(path):
    """Return the profile that a notebook ran at; refuse one that did not run."""
    try:
        notebook = nbformat.read(path, nbformat.NO_CONVERT)
        nbformat.validate(notebook, version=4)
    except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        reason = str(error).partition("\n")[0][:80]
        raise ValueError(
            f"{path.name} is no notebook that can be handed in ({reason}): "
            "restore it from git, or open it in JupyterLab and save it"
        ) from None
    printed = ""
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and cell.source.strip():
            if any(output.output_type == "error" for output in cell.outputs):
                raise ValueError(f"{path.name}: cell {number} has an error: make lab runs it again")
            if cell.execution_count is None:
                raise ValueError(f"{path.name}: cell {number} was not run: make lab runs it")
            printed += "".join(output.get("text", "") for output in cell.outputs)
    found = PROFILE.search(printed)
    return found and found[1]


def without_markers(notebook):
    """Remove the lines by which nbgrader finds solutions and hidden tests."""
    for cell in notebook.cells:
        cell.source = MARKERS.sub("", cell.source).rstrip("\n")
    return notebook


def _content(path):
    if path.suffix != ".ipynb":
        return path.read_bytes()
    return (nbformat.writes(without_markers(nbformat.read(path, as_version=4))) + "\n").encode()


def _files():
    """List what is handed in; refuse links to what is not in the project."""
    found = []
    for path in sorted({path for part in PARTS for path in ROOT.glob(part)}):
        name, target = path.relative_to(ROOT).as_posix(), path.resolve()
        if not LEFT_OUT.search(name) and (path.is_symlink() or path.is_file()):
            if not (target.is_file() and target.is_relative_to(ROOT)):
                raise ValueError(
                    f"{name} is a link to {target}, which is no file of this project: "
                    "replace the link by what it stands for"
                )
            found.append(path)
    return found


def pack(contents, target):
    """Write bytes by path as a zip file: the same bytes for the same contents."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            # The time of writing and permissions are no part of the content.
            entry = zipfile.ZipInfo(f"{target.stem}/{name}")
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    write_whole(target, packed.getvalue())


def rebuild():
    """Draw the figures and build the report of ``report/results`` again."""
    for module in ("lab.show", "lab.hand_in.report"):
        command = [sys.executable, "-m", module]
        ended = subprocess.run(command, cwd=ROOT, env=os.environ | {"LAB_PROFILE": "full"})
        if ended.returncode:
            sys.exit(ended.returncode)  # it printed why


def main(arguments):
    """Check everything, build figures and report again, and pack."""
    with stopping():
        name = _checked(arguments[0] if arguments else "")
        notes = [
            f"{path.name} ran at LAB_PROFILE=quick, with small counts: make lab runs it again"
            for path in sorted(ROOT.glob("*.ipynb"))
            if profile_of(path) == "quick"
        ]
        if not metadata().get("author"):
            notes.append("report/metadata.toml names no author")
        where = metadata().get("repository")
        _files()
        rebuild()
        contents = {path.relative_to(ROOT).as_posix(): _content(path) for path in _files()}
        contents["ABOUT.txt"] = ABOUT.format(where=f": {where}" if where else "").encode()
        target = ROOT / "dist" / f"{name}_LIME_RISE.zip"
        pack(contents, target)
    size = target.stat().st_size
    if size > LARGE:
        notes.append(f"it has more than {LARGE / 1e6:.0f} MB, which some platforms refuse")
    print(f"Wrote dist/{target.name} ({size / 1e6:.1f} MB)")
    print("".join(f"Note: {note}\n" for note in notes), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
