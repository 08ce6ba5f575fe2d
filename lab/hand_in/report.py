"""``python -m lab.hand_in.report``: build the report from figures and results."""

import importlib.util
import inspect
import json
import os
import re
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

SOURCE = ROOT / "report" / "report.typ"
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
    path = SOURCE.with_name("metadata.toml")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{_shown(path)} cannot be read as TOML: {error}") from None


def build(folder, marked=()):
    """Write ``report.pdf``, whole, and return its path.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``figures/`` and ``results/``. The same content gives the same bytes.
    marked : sequence of str, optional
        Claims whose sentences are marked as untrue.

    Raises
    ------
    ValueError
        If a figure or a result that the source names is missing, or see `metadata`.
    typst.TypstError
        If the source is wrong, or if studies do not belong together.
    """
    metadata()  # its errors would be blamed on the source
    for name in re.findall(r'"((?:figures|results)/\w+\.\w+)"', SOURCE.read_text("utf-8")):
        if not (folder / name).is_file():
            command = "figures" if name.startswith("figures") else "study"
            raise ValueError(f"{_shown(folder / name)} is missing: make {command} makes it")
    # The font of the figures, found without importing Matplotlib, which takes a second.
    matplotlib = Path(importlib.util.find_spec("matplotlib").origin).parent
    compiler = typst.Compiler(
        SOURCE,
        root=SOURCE.parent,
        font_paths=[matplotlib / "mpl-data" / "fonts" / "ttf"],
        ignore_system_fonts=True,
        sys_inputs={
            "folder": Path(os.path.relpath(folder, SOURCE.parent)).as_posix(),
            "methods": json.dumps({name: method.title for name, method in METHODS.items()}),
            "marked": json.dumps(list(marked)),
        },
    )
    write_whole(folder / "report.pdf", compiler.compile())
    return folder / "report.pdf"


def reported(folder):
    """What the report shows: the results in a folder, and the lab's own of photographs.

    Photographs do not come with the lab, so that other profiles measure none.
    """
    own, results = Results(SOURCE.with_name("results")), Results(folder / "results")

    def table(name):
        return (own if name.startswith("photographs_") else results).table(name)

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
    reference = re.compile(r'claim\("(\w+)"\)|<!-- claim: (\w+) -->')
    paths = [ROOT / "report" / "report.typ", *sorted(ROOT.glob("*.ipynb"))]
    found = {path: reference.findall(path.read_text(encoding="utf-8")) for path in paths}
    return {_shown(path): ["".join(match) for match in matches] for path, matches in found.items()}


def _shown(file):
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else str(file)


def main():
    """Build the report of the profile that ``LAB_PROFILE`` names."""
    with stopping():
        folder = results_folder(read_profile()).parent
        untrue = refuted(reported(folder))
        try:
            pdf = build(folder, untrue)
        except typst.TypstError as error:
            message = error.message.removeprefix("assertion failed: ")
            raise ValueError(f"{_shown(SOURCE)}: {message}") from None
    print(f"Wrote {_shown(pdf)} ({pdf.stat().st_size / 1e6:.1f} MB)")
    for name in untrue:
        texts = ", ".join(text for text, names in stated().items() if name in names)
        finding = " ".join(CLAIMS[name].__doc__.split())
        print(f"Not true of these results, to be rewritten in {texts}: {finding}")


if __name__ == "__main__":
    main()
