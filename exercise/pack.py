"""``python pack.py NAME``: pack what is handed in, and say what is missing."""

import re
import sys
import zipfile
from pathlib import Path

import nbformat

NOTEBOOKS = "LIME.ipynb", "RISE.ipynb"
REPORTS = ".pdf", ".docx", ".odt", ".md"
PHOTOGRAPHS = ".jpg", ".jpeg", ".png", ".webp"
OPEN = "YOUR CODE HERE", "YOUR ANSWER HERE", "raise NotImplementedError()"


def notes_on(path):
    """What is not finished in a notebook, a line for each kind of fault."""
    cells, quick = {"to be filled in": [], "not run": [], "ending with an error": []}, False
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells, 1):
        if any(text in cell.source for text in OPEN):
            cells["to be filled in"].append(number)
        if cell.cell_type == "code" and cell.source.strip():
            if cell.execution_count is None:
                cells["not run"].append(number)
            if any(output.output_type == "error" for output in cell.outputs):
                cells["ending with an error"].append(number)
            text = "".join(output.get("text", "") for output in cell.outputs)
            quick = quick or re.search(r"^Profile: quick$", text, re.MULTILINE)
    notes = [
        f"cells {', '.join(map(str, cells[fault]))}: {fault}" for fault in cells if cells[fault]
    ]
    notes += ["LAB_PROFILE=quick took too few samples: run it without"] * bool(quick)
    return [f"{path.name}, {note}" for note in notes]


def main(arguments, folder):
    """Write ``NAME.zip``; nothing that is unfinished keeps it from being written."""
    name = arguments[0] if len(arguments) == 1 else ""
    if not re.fullmatch(r"\w[\w-]{0,60}", name):
        sys.exit("Give your name in letters, digits, - and _: python pack.py lastname_firstname")
    missing = [each for each in NOTEBOOKS if not (folder / each).is_file()]
    if missing:
        sys.exit(f"{' and '.join(missing)} must lie beside pack.py")
    notes = []
    for each in NOTEBOOKS:
        try:
            notes += notes_on(folder / each)
        except (ValueError, KeyError, AttributeError, nbformat.ValidationError):
            sys.exit(f"{each} is not a notebook: open it in JupyterLab and save it")
    beside = sorted(path for path in folder.iterdir() if path.is_file())
    reports = [p for p in beside if p.stem == "report" and p.suffix.lower() in REPORTS]
    photographs = [p for p in beside if p.suffix.lower() in PHOTOGRAPHS]
    if not reports:
        notes.append(f"there is no report: report{', report'.join(REPORTS)}")
    if not photographs:
        notes.append("there is no photograph beside the notebooks")
    target = folder / f"{name}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (*(folder / each for each in NOTEBOOKS), *reports, *photographs):
            archive.write(path, f"{name}/exercise/{path.name}")
    print("".join(f"Note: {note}\n" for note in notes), end="")
    print(f"Wrote {target.name} ({target.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main(sys.argv[1:], Path(__file__).resolve().parent)
