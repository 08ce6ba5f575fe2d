"""Draw every figure of report, README and notebooks from the profile's results: ``python -m lab.show``."""

import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

from lab.files import swap_in
from lab.show.figures import FIGURES
from lab.show.style import encode
from lab.study.results import (
    DRAWN_FROM,
    MissingResult,
    Results,
    figures_folder,
    results_digest,
    results_folder,
)

SLOWEST_FIRST = ("evaluation_curves", "rise_steps")  # so that no core waits for another at the end


def draw(names, results):
    """Draw figures, on all cores.

    Parameters
    ----------
    names : iterable of str
        Of `lab.show.figures.FIGURES`.
    results : path-like
        The folder of the results.

    Returns
    -------
    dict of str to bytes
        Contents by the files' names.

    Raises
    ------
    lab.study.results.MissingResult
        If a figure needs a result that has not been measured.
    """
    order = sorted(names, key=lambda name: name not in SLOWEST_FIRST)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ProcessPoolExecutor(cores, initializer=_start, initargs=(results,)) as pool:
        return dict(pool.map(_drawn, order))


def _start(folder):
    global _results
    _results = Results(folder)

    def end():
        # A killed parent would leave workers behind that wait for ever.
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _drawn(name):
    kind, content = encode(FIGURES[name](_results))
    return f"{name}.{kind}", content


def main():
    """Draw all figures and replace those in the folder as a whole."""
    started = time.monotonic()
    folder = figures_folder()
    try:
        files = draw(FIGURES, results_folder())
    except MissingResult as error:
        sys.exit(str(error))
    record = {DRAWN_FROM: f"{results_digest(results_folder())}\n".encode()}
    changed = [name for name in swap_in(folder, files | record, only=True) if name != DRAWN_FROM]
    print(
        f"{len(files)} figures in {os.path.relpath(folder)}, {len(changed)} of them changed, in {time.monotonic() - started:.1f} s"
    )


if __name__ == "__main__":
    main()
