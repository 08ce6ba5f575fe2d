"""``python -m lab.hand_in.report``: build the two PDFs from figures and results."""

import importlib.util
import inspect
import json
import os
import types
from pathlib import Path

import numpy as np
import typst

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

from lab.command import stopping
from lab.files import ROOT, write_whole
from lab.hand_in import claims
from lab.methods.registry import METHODS
from lab.study.profile import read_profile
from lab.study.results import MissingResult, Results, results_folder

SOURCE = ROOT / "report"
NEEDED = {"report": ("lime", "rise"), "evaluation": ("evaluation", "montages", "photographs")}
"""The studies that each document shows."""
ANIMALS = "animals"
"""The folder in ``report/`` of the sixty photographs that the lab's answers rest on."""

CLAIMS = {
    name: holds
    for name, holds in vars(claims).items()
    if inspect.getmodule(holds) is claims and not name.startswith("_")
}
"""The functions of `lab.hand_in.claims` by their names."""


def metadata():
    """Read ``report/metadata.toml``, a dict of what the author wrote.

    Raises
    ------
    ValueError
        If it is missing or is no TOML.
    """
    path = SOURCE / "metadata.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{_shown(path)} cannot be read as TOML: {error}") from None


def prepare(results, untrue=()):
    """Write what the documents read into ``tables/``: CSV files, and ``about.json``.

    Parameters
    ----------
    results : lab.study.results.Results
        Their folder is beside ``figures/`` and ``tables/``.
    untrue : sequence of str, optional
        The claims that do not hold.
    """
    folder = results.folder.parent
    tables = folder / "tables"
    results.write_tables(tables)
    names, records = results.tables(), results.records()
    for path in tables.glob("*.csv"):
        if path.stem not in names:
            path.unlink()
    about = {"tables": names, "untrue": list(untrue), "studies": {}}
    about["methods"] = {name: method.title for name, method in METHODS.items()}
    figures = sorted(folder.glob("figures/*.*"))
    about["figures"] = {path.stem: f"figures/{path.name}" for path in figures}
    for study, facts in results.facts.items():
        own = records[records["study"] == study].fillna("").astype(str)
        versions = own.drop(columns=["study", "table", "part", "date", "version", "runtime"])
        about["studies"][study] = facts | {
            "images": list(facts["images"]),
            "days": sorted(set(own["date"])),
            "versions": {name: sorted({*versions[name]} - {""}) for name in versions},
        }
    write_whole(tables / "about.json", json.dumps(about, indent=1).encode())


def build(document, results):
    """Write a PDF, whole, and return its path: the same content gives the same bytes.

    Parameters
    ----------
    document : str
        A key of `NEEDED`.
    results : lab.study.results.Results
        As for `prepare`, which has been called.

    Raises
    ------
    ValueError
        If results are missing or do not belong together, the source is wrong, or see
        `metadata`.
    """
    metadata()  # its errors would be blamed on the source
    check(results, document)
    folder = results.folder.parent
    # The font of the figures, found without importing Matplotlib, which takes a second.
    matplotlib = Path(importlib.util.find_spec("matplotlib").origin).parent
    source = SOURCE / f"{document}.typ"
    try:
        content = typst.Compiler(
            source,
            root=SOURCE,
            font_paths=[matplotlib / "mpl-data" / "fonts" / "ttf"],
            ignore_system_fonts=True,
            sys_inputs={"folder": Path(os.path.relpath(folder, SOURCE)).as_posix()},
        ).compile()
    except typst.TypstError as error:
        raise ValueError(f"{_shown(source)}: {error.message}") from None
    write_whole(folder / f"{document}.pdf", content)
    return folder / f"{document}.pdf"


def check(results, document="report"):
    """Refuse results that lack a study, or whose studies do not belong together."""
    facts, shown = results.facts, _shown(results.folder)
    for study in NEEDED[document]:
        if study not in facts:
            raise ValueError(f"{shown} lacks the study {study}: make study measures it")
    if document == "report" and (differing := _differing(facts["lime"], facts["rise"])):
        raise ValueError(
            f"the studies lime and rise in {shown} have other {differing}: make study measures "
            "what differs"
        )


def _differing(first, second):
    for name in ("profile", "networks"):
        if first[name] != second[name]:
            return name
    both = first["images"].keys() & second["images"].keys()
    same = both and all(first["images"][name] == second["images"][name] for name in both)
    return None if same else "images"


def reported(results, own):
    """What the documents show: results, and the lab's `own`, which come with it.

    These are the comparison of methods, and the sixty animals.
    """

    def table(name):
        return (own if name.startswith((*NEEDED["evaluation"], ANIMALS)) else results).table(name)

    return types.SimpleNamespace(table=table)


def refuted(results):
    """List the claims that do not hold for results, by their method `table`."""
    return [name for name, holds in CLAIMS.items() if not _holds(holds, results)]


def _holds(holds, results):
    try:
        with np.errstate(all="ignore"):
            return bool(holds(results))
    except (MissingResult, LookupError, ValueError):  # other images, networks or counts
        return False


def stated():
    """Return the names of the claims that each text states, by the text's name."""
    paths = SOURCE / "answers.typ", SOURCE / "evaluation.typ", *sorted(ROOT.glob("*.ipynb"))
    texts = {_shown(path): path.read_text("utf-8") for path in paths if path.is_file()}
    return {
        name: [claim for claim in CLAIMS if f'"{claim}"' in text or f"claim: {claim} " in text]
        for name, text in texts.items()
    }


def _shown(file):
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else str(file)


def main():
    """Build the report of the profile of ``LAB_PROFILE``, and the evaluation."""
    with stopping():
        folder, own = results_folder(read_profile()), Results(SOURCE / "results")
        results = own if folder == own.folder else Results(folder)
        untrue = refuted(reported(results, own))
        prepare(Results(SOURCE / ANIMALS / "results"))
        for each in {results: None, own: None}:
            prepare(each, untrue)
        pdfs = [build("report", results)]
        if (SOURCE / "evaluation.typ").is_file():  # the exercise has none
            pdfs.append(build("evaluation", own))
    for pdf in pdfs:
        print(f"Wrote {_shown(pdf)} ({pdf.stat().st_size / 1e6:.1f} MB)")
    for name in untrue:
        finding = " ".join(CLAIMS[name].__doc__.split())
        if texts := [text for text, names in stated().items() if name in names]:
            print(f"Not true of these results, in {', '.join(texts)}: {finding} ({name})")


if __name__ == "__main__":
    main()
