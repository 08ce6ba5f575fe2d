"""``python -m lab.hand_in.archive NAME``: pack what is handed in, with a new report."""

import argparse
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
from lab.hand_in.report import NEEDED, check, metadata
from lab.images import find_images, find_mask
from lab.show.figures_montages import shown_montages
from lab.study.results import Results
from lab.study.store import image_digest

MAIN = NEEDED["report"]

LARGE = 15_000_000
"""Bytes above which some mail servers and course platforms refuse a file."""

SAID = re.compile(r"^(Profile|Image): (.+?)\s*$", re.MULTILINE)
"""The lines by which a notebook prints the profile and the images that it ran with."""

MARKERS = re.compile(r"^ *### (BEGIN|END) (SOLUTION|HIDDEN TESTS)(\n|$)", re.MULTILINE)

PARTS = (
    *("*.ipynb", "rise.py", "lab/**/*", "data/*.*", "data/COPYING", "data/evaluation/*.md"),
    *("docs/*.md", "report/*.*", "report/figures/*", "report/results/**/*", "report/tables/*"),
    *("report/animals/figures/*", "report/animals/results/**/*"),
    *("README.md", "LICENSE", "CITATION.cff", "LIME_requirements.txt", "Makefile"),
    "pyproject.toml",
)
LEFT_OUT = re.compile(
    r"(^|/)(\.|__pycache__)|tables/(lime_(parameters|stability|contrasts|colors)|\w+_(runs|pairs))\.csv"
)
"""Hidden files, and the largest tables, which follow from ``results/``."""

OPENED = "broccoli/broccoli_1_leaves.jpg", "airliner/airliner_1_storm.jpg"
"""Of data/evaluation: what EVALUATION.ipynb opens."""

ABOUT = """\
This archive holds the executed notebooks, the report (report/report.pdf), the comparison
of methods (report/evaluation.pdf), the code (rise.py and lab/), what was measured
(report/results/, as tables report/tables/*.csv, of which `make report` writes all) and
the images that were used.

{images}

These commands work here, once `make lab` or any other has installed what they need:

make lab      executes the notebooks again
make study    measures what the results lack
make report   draws the figures and builds both PDFs
make archive NAME=lastname_firstname
make html     writes the notebooks as pages

Left out to keep it small: the tests, the benchmarks, and the images listed below, each
with the start of its SHA-256{where}.

{left_out}
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


def said(path):
    """What a notebook printed: a list of its "Profile", and one of its "Image" lines.

    Raises
    ------
    ValueError
        If it is no notebook, or a cell did not run or failed.
    """
    try:
        notebook = nbformat.read(path, nbformat.NO_CONVERT)
        nbformat.validate(notebook, version=4)
    except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        reason = str(error).partition("\n")[0][:80]
        raise ValueError(
            f"{path.name} is no notebook that can be handed in ({reason}): "
            "restore it from git, or open it in JupyterLab and save it"
        ) from None
    printed = []
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and cell.source.strip():
            if any(output.output_type == "error" for output in cell.outputs):
                raise ValueError(f"{path.name}: cell {number} has an error: make lab runs it again")
            if cell.execution_count is None:
                raise ValueError(f"{path.name}: cell {number} was not run: make lab runs it")
            printed += SAID.findall("".join(output.get("text", "") for output in cell.outputs))
    lines = {"Profile": [], "Image": []}
    for name, value in dict.fromkeys(printed):
        lines[name].append(value)
    return lines


def without_markers(notebook):
    """Remove the lines by which nbgrader finds solutions and hidden tests."""
    for cell in notebook.cells:
        cell.source = MARKERS.sub("", cell.source).rstrip("\n")
    return notebook


def _content(path):
    if path.suffix != ".ipynb":
        return path.read_bytes()
    return (nbformat.writes(without_markers(nbformat.read(path, as_version=4))) + "\n").encode()


def _used(notebooks, results):
    """The files of the images that were used, and the other images below ``data/``.

    Raises
    ------
    ValueError
        If results are about an image that has changed.
    """
    facts, data = results.facts, ROOT / "data"
    digests = {name: own for study in MAIN for name, own in facts[study]["images"].items()}
    for name, digest in digests.items():
        if (data / name).is_file() and image_digest(data / name) != digest:
            raise ValueError(
                f"data/{name} is not the image that the results are about: make study measures it"
            )
    used = {*digests, *(name for lines in notebooks.values() for name in lines["Image"])}
    for name in (*OPENED, *shown_montages(results)):
        used.add(f"evaluation/{name}")
    there = find_images(data)[0]
    files = {file for name in used & there.keys() for file in (there[name], find_mask(there[name]))}
    return files - {None}, sorted(there.keys() - used)


def _files(used):
    """List what is handed in; refuse links to what is not in the project."""
    found = []
    for path in sorted({*used, *(path for part in PARTS for path in ROOT.glob(part))}):
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


def subjects(notebooks, results):
    """Lines that name the images that notebooks, and report and results are about.

    Returns
    -------
    list of str, list of str
        The lines, and the notebooks that are about another image than the report.
    """
    reported = sorted({name for study in MAIN for name in results.facts[study]["images"]})
    lines = ["Report and results are about:", *(f"  {name}" for name in reported)]
    others = []
    for notebook, printed in notebooks.items():
        images = printed["Image"]
        lines.append(f"{notebook} is about {', '.join(images) or 'an image that it does not name'}")
        own = {name for name in images if not name.startswith("evaluation/")}
        others += [notebook] * (not own <= set(reported))
    return lines, others


def main(arguments=None):
    """Check everything, build figures and report again, and pack."""
    parser = argparse.ArgumentParser("python -m lab.hand_in.archive", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="lastname_firstname")
    anyway = "also if notebooks and report are about different images"
    parser.add_argument("--anyway", action="store_true", help=anyway)
    options = parser.parse_args(arguments)
    with stopping():
        name = _checked(options.name)
        notebooks = {path.name: said(path) for path in sorted(ROOT.glob("*.ipynb"))}
        notes = [
            f"{notebook} ran at LAB_PROFILE=quick, with small counts: make lab runs it again"
            for notebook, lines in notebooks.items()
            if "quick" in lines["Profile"]
        ]
        if not metadata().get("author"):
            notes.append("report/metadata.toml names no author")
        results = Results(ROOT / "report" / "results")
        check(results)
        lines, others = subjects(notebooks, results)
        print("".join(f"{line}\n" for line in lines), end="")
        if others and not options.anyway:
            raise ValueError(
                f"{' and '.join(others)}: other images than those of the report. make study and "
                "make lab, at LAB_PROFILE=full, make them the same; make archive ANYWAY=1 packs "
                "them as they are"
            )
        used, unused = _used(notebooks, results)
        _files(used)
        rebuild()
        contents = {path.relative_to(ROOT).as_posix(): _content(path) for path in _files(used)}
        where = metadata().get("repository")
        left_out = [f"{image_digest(ROOT / 'data' / image)}  data/{image}" for image in unused]
        about = ABOUT.format(
            images="\n".join(lines),
            where=f". They are in the lab's repository: {where}" if where else "",
            left_out="\n".join(left_out),
        )
        contents["ABOUT.txt"] = about.encode()
        target = ROOT / "dist" / f"{name}_LIME_RISE.zip"
        pack(contents, target)
    size = target.stat().st_size
    if size > LARGE:
        notes.append(f"it has more than {LARGE / 1e6:.0f} MB, which some platforms refuse")
    print(f"Wrote dist/{target.name} ({size / 1e6:.1f} MB)")
    print("".join(f"Note: {note}\n" for note in notes), end="")


if __name__ == "__main__":
    main()
