"""``python -m lab.show``: draw every figure from the profile's results."""

import os
import sys
import time

from lab.files import write_whole
from lab.show.figures import FIGURES
from lab.show.style import encode
from lab.study.profile import read_profile
from lab.study.results import Results, figures_folder, results_folder


def draw(results, folder):
    """Draw every figure, write the files, remove those of no figure; return how many.

    The folder stays as it is if a figure cannot be drawn.

    Raises
    ------
    lab.study.results.MissingResult
        If a figure needs a result that has not been measured.
    """
    files = {}
    for name, function in FIGURES.items():
        # Photographs do not come with the lab, so that most users cannot measure them.
        if name.startswith("photographs_") and not results.has("photographs_means"):
            continue
        kind, content = encode(function(results))
        files[f"{name}.{kind}"] = content
    for name, content in files.items():
        write_whole(folder / name, content)
    for path in folder.glob("[!.]*"):
        if path.is_file() and path.name not in files:
            path.unlink()
    return len(files)


def main():
    """Draw all figures of the profile that ``LAB_PROFILE`` names."""
    started = time.monotonic()
    try:
        profile = read_profile()
    except ValueError as error:
        sys.exit(str(error))
    folder = figures_folder(profile)
    try:
        drawn = draw(Results(results_folder(profile)), folder)
    except OSError as error:  # a missing result, a disk that is full
        sys.exit(str(error))
    seconds = time.monotonic() - started
    print(f"{drawn} figures in {os.path.relpath(folder)}, drawn in {seconds:.1f} s")


if __name__ == "__main__":
    main()
