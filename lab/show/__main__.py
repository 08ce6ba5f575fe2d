"""``python -m lab.show [NAME …]``: draw figures from the profile's results."""

import argparse
import os
import sys
import time

from lab.command import stopping
from lab.files import write_whole
from lab.show.figures import FIGURES
from lab.show.style import encode
from lab.study.profile import read_profile
from lab.study.results import MissingImage, MissingResult, Results, figures_folder, results_folder


def draw(results, folder, names=()):
    """Draw figures and write their files.

    A file in the folder that shows none of these results is removed: that of a figure
    whose results are missing, and, where all figures are drawn, that of no figure.
    Where only the image is gone, the figure that was drawn before stays.

    Parameters
    ----------
    results : lab.study.results.Results
    folder : pathlib.Path
    names : sequence of str, optional
        Keys of `FIGURES`, by default all.

    Returns
    -------
    list of str, dict of str
        The names of the figures drawn; of the others, why not.

    Raises
    ------
    lab.study.results.MissingResult
        If no figure can be drawn. The folder stays as it is.
    """
    files, missing = {}, {}
    for name in names or FIGURES:
        try:
            kind, content = encode(FIGURES[name](results))
            files[f"{name}.{kind}"] = content
        except MissingResult as error:
            missing[name] = error
    if not files:
        raise MissingResult(f"no figure can be drawn: {next(iter(missing.values()))}")
    for name, content in files.items():
        write_whole(folder / name, content)
    for path in folder.glob("[!.]*"):
        outdated = path.name not in files and (path.stem in names or not names)
        if outdated and path.is_file() and not isinstance(missing.get(path.stem), MissingImage):
            path.unlink()
    drawn = [name for name in names or FIGURES if name not in missing]
    return drawn, {name: str(error) for name, error in missing.items()}


def main(arguments=None):
    """Draw figures of the profile that ``LAB_PROFILE`` names."""
    started = time.monotonic()
    parser = argparse.ArgumentParser("python -m lab.show", description="Draw figures of results.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a figure (all)")
    parser.add_argument("--folder", help="of images that lab.study measured")
    options = parser.parse_args(arguments)
    names = list(dict.fromkeys(options.names))
    if unknown := [name for name in names if name not in FIGURES]:
        sys.exit(f"No figure is named {unknown[0]!r}: expected {', '.join(FIGURES)}")
    with stopping():
        profile = read_profile()
        folder = figures_folder(profile, options.folder)
        results = Results(results_folder(profile, options.folder))
        drawn, missing = draw(results, folder, names)
    for reason in dict.fromkeys(missing.values()):
        names = ", ".join(name for name, why in missing.items() if why == reason)
        print(f"Skipped {names}: {reason}", file=sys.stderr)
    seconds = time.monotonic() - started
    print(f"{len(drawn)} figures in {os.path.relpath(folder)}, drawn in {seconds:.1f} s")


if __name__ == "__main__":
    main()
