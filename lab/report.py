"""``python -m lab.report``: check what the report shows, then write it as a PDF."""

import datetime
import os
import re
import sys
from pathlib import Path

import matplotlib
import pandas as pd
import typst

from lab.profile import ROOT, output_folder, write_whole
from lab.provenance import file_digest

SOURCE = ROOT / "report" / "report.typ"
SOURCES = [SOURCE, SOURCE.with_name("metadata.toml"), SOURCE.with_name("references.yml")]
MAKE = "make lab makes it"
PREVIEW = 3  # the page that the README shows: an answer, its figure and its table


class OutOfDate(Exception):
    """Something is missing, or older than what it was made from."""


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
    named = re.findall(r'"((?:figures|results)/\w+\.\w+)"', SOURCE.read_text(encoding="utf-8"))
    files = [folder / name for name in dict.fromkeys(named)]
    for file in files:
        if not file.is_file():
            raise OutOfDate(f"{_name(file)} is missing: {MAKE}")
    return files


def results(record):
    """The figures and results that a notebook wrote.

    Parameters
    ----------
    record : pathlib.Path
        Its provenance (`lab.provenance`), beside its results.

    Returns
    -------
    dict of pathlib.Path to str
        With their digests.
    """
    return {
        record.parent.parent / name.removeprefix("result "): digest
        for name, digest in _read(record).items()
        if name.startswith("result ")
    }


def check(files):
    """Hold figures and results against what their notebooks recorded about them.

    Parameters
    ----------
    files : list of pathlib.Path
        From `inputs`; those that end in ``_provenance.csv`` are the record (`lab.provenance`).

    Returns
    -------
    datetime.date
        The last day on which something was measured.

    Raises
    ------
    OutOfDate
        If a notebook, a module or a picture has changed since, a figure or a result is not what
        the notebook wrote, or two notebooks differ in networks, versions or profile.
    """
    records = {file: _read(file) for file in files if file.name.endswith("_provenance.csv")}
    written = {path: digest for file in records for path, digest in results(file).items()}
    agreed = {}
    for file, facts in records.items():
        for name, value in facts.items():
            kind, _, path = name.partition(" ")
            if kind == "source":
                source = ROOT / path
                if not source.is_file() or file_digest(source) != value:
                    raise OutOfDate(f"{_name(file)} and the results beside it are older than {path}: make lab makes them anew")
            elif kind != "result" and name not in ("date", "pictures"):
                other, known = agreed.setdefault(name, (file, value))
                if known != value:
                    raise OutOfDate(
                        f"{_name(other)} says {name} = {known!r}, {_name(file)} says {value!r}: make lab makes both anew"
                    )
    for file in files:
        if file not in records and written.get(file) != file_digest(file):
            raise OutOfDate(f"{_name(file)} is not what the notebook wrote when it last ran to its end: {MAKE} anew")
    return max(datetime.date.fromisoformat(facts["date"]) for facts in records.values())


def build(folder):
    """Write ``report.pdf``, one page of it as ``report.png``, and ``report.sha256`` with digests of both and of all they were made from.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``figures/`` and ``results/``, and gets the PDF.

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
    pdf = folder / "report.pdf"
    midnight = datetime.datetime(measured.year, measured.month, measured.day, tzinfo=datetime.timezone.utc)
    compiler = typst.Compiler(
        SOURCE,
        root=SOURCE.parent,
        # The figures' font, so that figures and text look alike on every machine.
        font_paths=[Path(matplotlib.get_data_path()) / "fonts" / "ttf"],
        ignore_system_fonts=True,
        sys_inputs={"folder": _from(SOURCE.parent, folder)},
    )
    write_whole(pdf, compiler.compile(timestamp=midnight))
    page = pdf.with_suffix(".png")
    write_whole(page, compiler.compile(format="png", ppi=80)[PREVIEW - 1])
    # The format of sha256sum, which checks it with -c.
    lines = [f"{file_digest(file)}  {_from(folder, file)}\n" for file in [pdf, page, *SOURCES, *files]]
    write_whole(pdf.with_suffix(".sha256"), "".join(lines).encode())
    return pdf


def check_built(folder):
    """Hold the PDF against what it was made from.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``report.pdf``.

    Raises
    ------
    OutOfDate
        If it is missing, older than anything it shows, or what it shows is itself out of date.
    """
    pdf = folder / "report.pdf"
    record = pdf.with_suffix(".sha256")
    for file in (pdf, record):
        if not file.is_file():
            raise OutOfDate(f"{_name(file)} is missing: make report makes it")
    check(inputs(folder))
    digests = {}
    for line in record.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        digests[(folder / name).resolve()] = digest
    for file in [pdf, pdf.with_suffix(".png"), *SOURCES, *inputs(folder)]:
        if digests.get(file.resolve()) != file_digest(file):
            raise OutOfDate(f"{_name(pdf)} is older than {_name(file)}: make report makes it anew")


def _read(file):
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    return dict(zip(table["name"], table["value"]))


def _name(file):
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else str(file)


def _from(folder, path):
    return Path(os.path.relpath(path, folder)).as_posix()


def main():
    """Build the report of the current profile."""
    try:
        pdf = build(output_folder("results").parent)
    except OutOfDate as error:
        sys.exit(str(error))
    except typst.TypstError as error:
        sys.exit(f"{_name(SOURCE)}: {error.message}")
    print(f"Wrote {_name(pdf)} ({pdf.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
