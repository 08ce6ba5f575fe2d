"""``python -m lab.evaluate FOLDER``: explain images, measure the explanations."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from lab.command import say, stopping
from lab.files import ROOT, lock, pack, write_whole
from lab.images import find_images
from lab.methods.checks import MOST_CALLS
from lab.methods.registry import METHODS, methods_of
from lab.networks.loading import add_arguments, named_by
from lab.study.runner import network, run
from lab.study.store import image_digest, stored

REFUSAL = "and is left as it is: name another file with --out, or delete it"
STORE = ROOT / ".cache" / "tasks"
SAME = "image", "method", "network", "stands_in_for", "weights", "budget", "seed", "digest"
ABOUT_MAPS = "class", "class_index", "probability", "network", "stands_in_for", "budget", "seed"
UNLIKELY = 0.01  # a class less probable than that is not what the network sees


def earlier(out, planned):
    """The rows, as text, that an earlier command wrote.

    Parameters
    ----------
    out : pathlib.Path
    planned : set of tuple of str
        Values of `SAME` of all rows that are to be measured, and replace these.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ValueError
        If the file holds anything else, which would be lost.
    """
    if not out.exists() or not out.stat().st_size:
        return pd.DataFrame(columns=SAME)
    try:
        table = pd.read_csv(out, dtype=str, keep_default_na=False)
        rows = table[list(SAME)].itertuples(index=False, name=None)
    except (ValueError, KeyError):  # no text, or another table
        raise ValueError(f"{out} is no result of this command {REFUSAL}") from None
    for row in rows:
        if row not in planned:
            described = ", ".join(f"{name} {value or 'none'}" for name, value in zip(SAME, row))
            raise ValueError(f"{out} holds other results ({described}) {REFUSAL}")
    return table


def evaluate(folder, model, methods, out, budget, seed, scheduler, maps):
    """Measure every image of a folder, and write the results.

    Parameters
    ----------
    folder : path-like
        The class of an image is the name of the folder that holds it, as
        the network's `class_index` understands it. Where that is no class, the
        class that the network predicts is explained.
    model : str or tuple
        As `lab.study.runner.network` takes it.
    methods : sequence of str
        Keys of `lab.methods.registry.METHODS`.
    out : path-like
        The file of results. After an interruption it holds what is finished.
    budget : int
        Model calls for each method.
    seed : int
    scheduler : str or None
        As in `lab.study.runner.run`.
    maps : path-like or None
        A folder for the maps: ``<image>.npz`` for each, with "maps" (n_methods, H, W).

    Returns
    -------
    counts : dict of str to int
        Of the images that are "finished", "skipped" (not readable) or "failed", and of
        finished ones that are "unlikely": their class is less probable than `UNLIKELY`.
    unread : list of str
        As `find_images` returns it.

    Raises
    ------
    ValueError
        If the folder holds no image, or the file other results.
    lab.study.runner.OtherNetwork, RuntimeError, ConnectionError
        As `lab.study.runner.run` raises them.
    """
    from lab.study.comparison import compared  # takes seconds

    folder, out = Path(os.path.abspath(folder)), Path(os.path.realpath(out))
    images, unread = find_images(folder)
    black_box = network(model)
    labels = {path.parent: black_box.class_index(path.parent.name) for path in images.values()}
    for parent in (parent for parent, label in labels.items() if label is None):
        say(f"{parent.name} is no class of the network: there the predicted class is explained")
    identity = {"network": black_box.name, "stands_in_for": black_box.stands_in_for or ""}
    identity |= {"weights": black_box.fingerprint, "budget": budget, "seed": seed}
    about, tasks, names, counts = {}, {}, {}, Counter()
    for name, path in images.items():
        try:
            digest = image_digest(path)
        except (OSError, ValueError) as error:
            say(f"skipped {path.name}: {error}")
            counts["skipped"] += 1
            continue
        label, kept = labels[path.parent], {"maps": "" if maps is None else "whole"}
        arguments = {"label": label, "seed": seed} | kept
        where = "evaluate", model, path, [(budget, methods)]
        task = compared(*where, ["map and gains"], **arguments)
        key = task.key(black_box.fingerprint, digest)
        tasks[key] = task
        names.setdefault(key, []).append(name)  # copies of an image are one task
        source = "prediction" if label is None else "folder"
        about[name] = identity | {"class_from": source, "digest": digest}
    planned = {
        tuple(str(({"image": name, "method": method} | one)[column]) for column in SAME)
        for name, one in about.items()
        for method in methods
    }
    table, rows = earlier(out, planned), {}

    def add(key, parts):
        for name in names[key]:
            measured = [row for method in methods for row in parts[method].rows]
            rows[name] = [_arranged({"image": name} | about[name] | row) for row in measured]
            if maps is not None:
                first = rows[name][0]
                described = {column: first[column] for column in ABOUT_MAPS} | {"methods": methods}
                arrays = np.concatenate([parts[method].arrays["maps"] for method in methods])
                write_whole(Path(maps, f"{name}.npz"), pack({"maps": arrays} | described))
            counts["unlikely"] += rows[name][0]["probability"] < UNLIKELY

    try:
        for key, state, parts in run(tasks, STORE, scheduler):
            counts[state] += len(names[key])
            if parts:
                add(key, parts)
    except KeyboardInterrupt:
        # It may have come after a task was stored and before it was added.
        for key, task in tasks.items():
            parts = stored(STORE, key, task)
            if names[key][-1] not in rows and parts.keys() == task.parts.keys():
                add(key, parts)
        raise
    finally:
        if rows:
            new = pd.DataFrame([row for own in rows.values() for row in own], dtype=object)
            table = pd.concat([table[~table["image"].isin(rows)], new])
            table = table.sort_values("image", kind="stable")[list(new)]
            write_whole(out, table.to_csv(index=False, lineterminator="\n").encode())
    return counts, unread


def _arranged(row):
    """A row with its subject first, and the columns that identify its inputs last."""
    row = row | {"class": row["predicted"], "class_index": row["label"]}
    first = "image class class_index class_from network stands_in_for method budget seed".split()
    last = "seconds weights digest".split()
    left_out = "label predicted calls".split()  # they are there under other names
    middle = [name for name in row if name not in (*first, *last, *left_out)]
    return {name: row[name] for name in (*first, *middle, *last)}


def main(arguments=None):
    """Run the command line: print how many images there are results of, or why none."""
    with stopping():
        options = _options(arguments)
        model = named_by(options)
        for name in ("preprocess", "input_size", "labels"):
            delattr(options, name)
        with lock(options.out):
            counts, unread = evaluate(**vars(options) | {"model": model})
    summary = f"{counts['finished']} finished, {counts['skipped']} skipped that could not be read"
    summary += f", {counts['failed']} failed"
    if unread:
        summary += f"; not read: {', '.join(unread)}"
    if not counts["finished"]:
        sys.exit(f"No image could be measured: {summary}")
    if counts["unlikely"]:
        summary += f"; {counts['unlikely']} explained for a class with a probability below "
        summary += f"{UNLIKELY}: such maps explain nothing"
    print(f"{options.out}: {summary}".encode(errors="backslashreplace").decode())


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m lab.evaluate",
        description="Explain every image of a folder and measure the explanations. After an "
        "interruption, the same command goes on.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="images in sub-folders named by class")
    add_arguments(parser)
    add("--methods", required=True, help=f"with commas, of {', '.join(METHODS)}")
    add("--out", required=True, type=Path, metavar="FILE.csv", help="file of the results")
    add("--budget", type=int, default=1000, help="model calls per explanation (%(default)s)")
    add("--seed", type=int, default=0, help="of the random numbers (%(default)s)")
    add("--maps", type=Path, metavar="FOLDER", help="write each image's maps there, as .npz")
    add("--scheduler", metavar="ADDRESS", help="of a Dask cluster: tcp://HOST:PORT")
    options = parser.parse_args(arguments)
    options.methods = methods_of(options.methods)
    for name, least, most in (("budget", 1, MOST_CALLS), ("seed", 0, 2**32 - 1)):
        if not least <= getattr(options, name) <= most:
            value = getattr(options, name)
            raise ValueError(f"--{name} must be from {least} to {most}, got {value}")
    if options.out.exists() and not options.out.is_file():
        raise ValueError(f"--out must name a file, {options.out} is none")
    if options.maps and options.maps.exists() and not options.maps.is_dir():
        raise ValueError(f"--maps must name a folder, {options.maps} is none")
    return options


if __name__ == "__main__":
    main()
