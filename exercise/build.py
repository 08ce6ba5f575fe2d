"""Write the source that nbgrader makes the exercise from, and grades it with.

`make exercise` runs this, and then ``nbgrader generate_assignment``, which cuts out the
solutions and the hidden tests.
"""

import re
import shutil
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
COURSE = ROOT / "dist" / "course"
NOTEBOOKS = "LIME.ipynb", "RISE.ipynb"
COPIED = "rise.py", "lab", "data", "LIME_requirements.txt", "LICENSE"
HIDDEN = shutil.ignore_patterns("hand_in", "figures*.py", "__main__.py", "__pycache__", ".*")
"""Left out of what is copied: what states the findings or names the best setting."""


def without_solved_cells(notebook):
    """Remove the cells that are tagged "solved", and what is left of a run."""
    notebook.cells = [c for c in notebook.cells if "solved" not in c.metadata.get("tags", [])]
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def main(course=COURSE):
    """Write ``source/exercise``; submissions and the gradebook beside it stay."""
    source = course / "source" / "exercise"
    shutil.rmtree(source, ignore_errors=True)
    (source / "report" / "figures").mkdir(parents=True)
    for name in COPIED:
        path = ROOT / name
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, source / name, **({"ignore": HIDDEN} if path.is_dir() else {}))
    for name in ("README.md", "pack.py"):
        shutil.copy(ROOT / "exercise" / name, source)
    shutil.copy(ROOT / "exercise" / "nbgrader_config.py", course)
    for name in NOTEBOOKS:
        notebook = without_solved_cells(nbformat.read(ROOT / name, as_version=4))
        nbformat.write(notebook, source / name)
        text = "\n".join(cell.source for cell in notebook.cells)
        for figure in re.findall(r"\((report/figures/[\w.]+)\)", text):
            shutil.copy(ROOT / figure, source / figure)


if __name__ == "__main__":
    main()
