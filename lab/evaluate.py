"""``python -m lab.evaluate FOLDER``: explain images, measure the explanations."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from lab.command import say, stopping
from lab.files import CACHE, check_writable, lock, pack, write_whole
from lab.images import escaped, find_images, find_mask
from lab.methods.checks import MOST_CALLS, check_integer
from lab.methods.registry import METHODS, check_explainable, methods_of
from lab.networks.loading import add_arguments, named_by
from lab.study.runner import inputs, network, run
from lab.study.store import image_digest, read, stored

REFUSAL = "and is left as it is: name another file with --out, or delete it"
STORE = CACHE / "tasks"
COLUMNS = (
    *("image", "class", "class_index", "class_from", "probability"),
    *("network", "stands_in_for", "method", "budget", "seed"),
    *("deletion_black", "deletion_mean", "insertion", "faithfulness"),
    *("gain_black", "gain_mean", "gain_blurred", "iou_mask", "iou_box", "pointing_game"),
    *("seconds", "weights", "digest"),
)
SAME = "image", "method", "digest", "network", "stands_in_for", "weights", "budget", "seed"
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
        return pd.DataFrame(columns=COLUMNS)
    try:
        table = pd.read_csv(out, dtype=str, keep_default_na=False)
    except ValueError:  # it is no text
        table = pd.DataFrame()
    if tuple(table) != COLUMNS:
        raise ValueError(f"{escaped(out)} is no result of this command {REFUSAL}")
    known = [set(column) for column in zip(*planned)]
    for row in table[list(SAME)].itertuples(index=False, name=None):
        if row not in planned:
            cells = [*zip(SAME, row, known)][1:]
            new = [f"{name} {value or 'none'}" for name, value, own in cells if value not in own]
            described = ", ".join([f"image {row[0]}", *new])
            raise ValueError(f"{escaped(out)} holds other results ({described}) {REFUSAL}")
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
    left_out : list of str
        As `find_images` returns it.

    Raises
    ------
    OSError
        If a file cannot be written: before any model call.
    ValueError
        If the folder holds no image, the file other results, or a method cannot explain
        the first image: before any model call.
    lab.study.runner.OtherNetwork, RuntimeError, ConnectionError
        As `lab.study.runner.run` raises them.
    """
    from lab.study.comparison import compared  # takes seconds

    folder, out = Path(os.path.abspath(folder)), Path(os.path.realpath(out))
    images, left_out = find_images(folder)
    files = {} if maps is None else {name: Path(maps, f"{name}.npz") for name in images}
    check_writable("--out", out)
    for file in files.values():
        check_writable("--maps", file)
    black_box = network(model)
    classes = sorted({path.parent.name for path in images.values()})
    labels = {name: black_box.class_index(name) for name in classes}
    for name in (name for name in classes if labels[name] is None):
        say(f"{escaped(name)} is no class of the network: there the predicted class is explained")
    identity = {"network": escaped(black_box.name), "stands_in_for": black_box.stands_in_for or ""}
    identity |= {"weights": black_box.fingerprint, "budget": budget, "seed": seed}
    about, tasks, names, counts = {}, {}, {}, Counter()
    for name, path in images.items():
        try:
            digest, mask = image_digest(path), find_mask(path)
        except (OSError, ValueError) as error:
            say(f"skipped {name}: {error}")
            counts["skipped"] += 1
            continue
        counts["masks"] += mask is not None
        label = labels[path.parent.name]
        where = f"evaluate_{budget}", model, path, [(budget, methods)]
        arguments = {"label": label, "seed": seed, "maps": "whole" if files else ""}
        task = compared(*where, ["map and gains"], **arguments)
        key = task.key(black_box.fingerprint, digest)
        tasks[key] = _with_stored(key, task)
        names.setdefault(key, []).append(name)  # copies of an image are one task
        source = "prediction" if label is None else "folder"
        about[name] = identity | {"image": name, "class_from": source, "digest": digest}
    say(f"{counts['masks']} of {len(about)} images have a mask")
    _check_methods(methods, black_box, tasks.values(), budget)
    planned = {
        tuple(str((one | {"method": method})[column]) for column in SAME)
        for one in about.values()
        for method in methods
    }
    with lock(out):
        table, rows = earlier(out, planned), {}

        def add(key, parts):
            measured = [row for method in methods for row in parts[method].rows]
            for row in measured:
                row |= {"class": escaped(row["predicted"]), "class_index": row["label"]}
            for name in names[key]:
                rows[name] = [about[name] | row for row in measured]
                counts["unlikely"] += measured[0]["probability"] < UNLIKELY
                if files:
                    described = {column: rows[name][0][column] for column in ABOUT_MAPS}
                    arrays = np.concatenate([parts[method].arrays["maps"] for method in methods])
                    described |= {"maps": arrays, "methods": methods}
                    write_whole(files[name], pack(described))

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
                new = pd.DataFrame(
                    [row for own in rows.values() for row in own], columns=COLUMNS, dtype=object
                )
                table = pd.concat([table[~table["image"].isin(rows)], new])
                table = table.sort_values("image", kind="stable")
                write_whole(out, table.to_csv(index=False, lineterminator="\n").encode())
    return counts, left_out


def _with_stored(key, task):
    """A task with what the store has of other methods, which then stays there."""
    other = {name: part[0] for name, part in read(STORE / task.table / f"{key}.npz").items()}
    parts = other | task.parts
    return task._replace(parts=parts, calls=task.calls * len(parts) // len(task.parts))


def _check_methods(methods, black_box, tasks, budget):
    """Refuse methods that cannot explain the first image that is readable."""
    for task in tasks:
        try:
            _, image, _ = inputs(task)
        except (OSError, ValueError):  # it will be skipped
            continue
        for method in methods:
            check_explainable(method, black_box, image, budget)
        return


def main(arguments=None):
    """Run the command line: print how many images there are results of, or why none."""
    with stopping():
        options = _options(arguments)
        methods = methods_of(options.methods)
        check_integer("--budget", options.budget, 1, MOST_CALLS)
        check_integer("--seed", options.seed, 0, 2**32 - 1)
        what = options.folder, named_by(options), methods, options.out, options.budget
        counts, left_out = evaluate(*what, options.seed, options.scheduler, options.maps)
    summary = f"{counts['finished']} finished, {counts['skipped']} skipped that could not be read"
    summary += f", {counts['failed']} failed"
    if left_out:
        summary += f"; left out: {', '.join(left_out)}"
    if not counts["finished"]:
        sys.exit(f"No image could be measured: {summary}")
    if counts["unlikely"]:
        summary += f"; {counts['unlikely']} explained for a class with a probability below "
        summary += f"{UNLIKELY}: such maps explain nothing"
    print(f"{escaped(options.out)}: {summary}")


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="lab-evaluate",
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
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
