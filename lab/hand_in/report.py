"""``python -m lab.hand_in.report``: write the report as a PDF, from figures and results that are there."""

import csv
import datetime
import hashlib
import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import typst

from lab.explain.names import METHOD_NAMES
from lab.files import ROOT, finish_swap, swap_in
from lab.hand_in.claims import refuted, sentence, stated_in
from lab.study.results import DRAWN_FROM, Results, results_digest, results_folder

SOURCE = ROOT / "report" / "report.typ"
SOURCES = [SOURCE, SOURCE.with_name("metadata.toml"), SOURCE.with_name("references.yml")]
MADE_BY = {"figures": "make figures", "results": "make study"}
PREVIEW = 4  # the page that the README shows: what each parameter changes


class OutOfDate(Exception):
    """Something is missing, or was made from something else than is there."""


def inputs(folder):
    """The figures and results that the report shows, by its source.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``figures/`` and ``results/``.

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    OutOfDate
        If one is missing.
    """
    for part in (folder, *(folder / kind for kind in MADE_BY)):
        finish_swap(part)
    named = re.findall(r'"((?:figures|results)/\w+\.\w+)"', SOURCE.read_text(encoding="utf-8"))
    files = [folder / name for name in dict.fromkeys(named)]
    for file in files:
        if not file.is_file():
            raise OutOfDate(f"{_name(file)} is missing: {MADE_BY[file.parent.name]} makes it")
    return files


def check(files):
    """Refuse studies that do not belong together, and figures that were drawn from other results than are there.

    Parameters
    ----------
    files : list of pathlib.Path
        From `inputs`; those that end in ``_provenance.csv`` say what a study was measured on.

    Returns
    -------
    datetime.date
        The last day on which something was measured.

    Raises
    ------
    OutOfDate
        If two studies differ in profile, networks, their weights, or the content of a picture, or if the figures say that they
        were drawn from other results. Studies may differ in dates and versions, and in which pictures they are about.
    """
    for figures in {file.parent for file in files if file.parent.name == "figures"}:
        record = figures / DRAWN_FROM
        if not record.is_file() or record.read_text(encoding="utf-8").strip() != results_digest(
            figures.with_name("results")
        ):
            raise OutOfDate(
                f"{_name(figures)} was drawn from other results than are there: make figures draws them anew"
            )
    dates, agreed = [], {}
    for file in files:
        if not file.name.endswith("_provenance.csv"):
            continue
        facts = _read(file)
        dates.append(datetime.date.fromisoformat(facts["date"]))
        for name, value in facts.items():
            if name == "profile" or name.startswith(("network_", "picture ")):
                other, known = agreed.setdefault(name, (file, value))
                if known != value:
                    raise OutOfDate(
                        f"{_name(other)} says {name} = {known!r}, {_name(file)} says {value!r}: make study measures what differs"
                    )
    return max(dates)


def build(folder, marked=()):
    """Write ``report.pdf``, one page of it as ``report.png``, and ``report.sha256`` with digests of both and of all they were made from.

    The three appear as a whole or not at all. They have the same bytes for the same figures, results and sources.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``figures/`` and ``results/``, and gets the PDF.
    marked : sequence of str, optional
        Claims whose sentences are marked as not true of these results.

    Returns
    -------
    pathlib.Path
        The PDF.

    Raises
    ------
    OutOfDate
        See `inputs` and `check`.
    typst.TypstError
        If the report's source is wrong.
    """
    files = inputs(folder)
    measured = check(files)
    # Before they are shown: what changes meanwhile is then found out by `check_built`.
    digests = {_from(folder, file): _digest(file.read_bytes()) for file in [*SOURCES, *files]}
    midnight = datetime.datetime(
        measured.year, measured.month, measured.day, tzinfo=datetime.timezone.utc
    )
    compiler = typst.Compiler(
        SOURCE,
        root=SOURCE.parent,
        # The figures' font, so that figures and text look alike on every machine. Found without importing Matplotlib, which takes a second.
        font_paths=[
            Path(importlib.util.find_spec("matplotlib").origin).parent
            / "mpl-data"
            / "fonts"
            / "ttf"
        ],
        ignore_system_fonts=True,
        sys_inputs={
            "folder": _from(SOURCE.parent, folder),
            "methods": json.dumps(METHOD_NAMES),
            "marked": json.dumps(list(marked)),
        },
    )
    made = {
        "report.pdf": compiler.compile(timestamp=midnight),
        "report.png": compiler.compile(format="png", ppi=80)[PREVIEW - 1],
    }
    digests = {name: _digest(content) for name, content in made.items()} | digests
    # The format of sha256sum, which checks it with -c.
    made["report.sha256"] = "".join(
        f"{digest}  {name}\n" for name, digest in digests.items()
    ).encode()
    swap_in(folder, made)
    return folder / "report.pdf"


def check_built(folder):
    """Hold the PDF against what it was made from.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``report.pdf``.

    Raises
    ------
    OutOfDate
        If it is missing or was made from something else than is there, or if `inputs` or `check` refuse what it shows.
    """
    files = inputs(folder)
    check(files)
    pdf, page, record = (folder / f"report.{kind}" for kind in ("pdf", "png", "sha256"))
    for file in (pdf, page, record):
        if not file.is_file():
            raise OutOfDate(f"{_name(file)} is missing: make report makes it")
    lines = (line.partition("  ") for line in record.read_text(encoding="utf-8").splitlines())
    digests = {name: digest for digest, _, name in lines}
    for file in [pdf, page, *SOURCES, *files]:
        if digests.get(_from(folder, file)) != _digest(file.read_bytes()):
            raise OutOfDate(
                f"{_name(pdf)} and {_name(file)} do not belong together: make report builds it anew"
            )


def _read(file):
    with open(file, newline="", encoding="utf-8") as lines:
        return {row["name"]: row["value"] for row in csv.DictReader(lines)}


def _digest(content):
    return hashlib.sha256(content).hexdigest()


def _name(file):
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else str(file)


def _from(folder, path):
    return Path(os.path.relpath(path, folder)).as_posix()


def main():
    """Build the report of the current profile."""
    folder = results_folder().parent
    try:
        untrue = refuted(Results(folder / "results"))
        pdf = build(folder, untrue)
    except (OutOfDate, ValueError) as error:
        sys.exit(str(error))
    except typst.TypstError as error:
        sys.exit(f"{_name(SOURCE)}: {error.message}")
    print(f"Wrote {_name(pdf)} ({pdf.stat().st_size / 1e6:.1f} MB)")
    for name in untrue:
        print(
            f"Not so in these results, and to be written anew in {', '.join(stated_in(name))}: {sentence(name)}"
        )


if __name__ == "__main__":
    main()
