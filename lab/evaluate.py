"""``python -m lab.evaluate FOLDER``: explain images, measure the explanations."""

import argparse
import math
import os
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from lab.command import say, stopping
from lab.files import lock, pack, write_whole
from lab.images import find_images
from lab.methods.registry import METHODS, methods_of
from lab.networks.classes import class_index, class_name
from lab.study.runner import MODELS, Task, image_digest, network, run, saved

REFUSAL = "and is left as it is: name another file with --out, or delete it"
CURVES = 153 + 70  # model calls for the measurements of a map, about
ABOUT_MAPS = "class", "class_index", "probability", "network", "stands_in_for", "budget", "seed"
UNLIKELY = 0.01  # a class less probable than that is not what the network sees


def earlier_rows(out, identity, methods, about):
    """The rows by image, as text, that an earlier run with the same arguments wrote.

    Raises
    ------
    ValueError
        If the file holds anything else: other values of `identity`, other methods, or
        images that are not in `about` with the same digest.
    """
    if not out.exists() or not out.stat().st_size:
        return {}
    try:
        table = pd.read_csv(out, dtype=str, keep_default_na=False)
        foreign = not {"picture", "method", "digest", *identity} <= set(table)
    except ValueError:  # no text, or no table
        foreign = True
    if foreign:
        raise ValueError(f"{out} is no result of this command {REFUSAL}")

    def refuse(difference):
        raise ValueError(f"{out} holds results {difference}, {REFUSAL}")

    for name, value in identity.items():
        expected = "" if value is None else str(value)
        for other in set(table[name]) - {expected}:
            refuse(f"with {name} {other or 'none'}, not {expected or 'none'}")
    rows = {}
    for picture, part in table.groupby("picture"):
        if sorted(part["method"]) != sorted(methods):
            refuse(f"of the methods {', '.join(part['method'])}, not {', '.join(methods)}")
        if set(part["digest"]) != {about.get(picture, {}).get("digest")}:
            refuse(f"of an image {picture} that is not in this folder, or is another one there")
        rows[picture] = part.to_dict("records")
    return rows


def evaluate(folder, model, methods, out, budget, seed, scheduler, maps):
    """Measure every image of a folder, and write the results.

    Parameters
    ----------
    folder : path-like
        The class of an image is the name of the folder that holds it, as
        `lab.networks.classes.class_index` understands it. Where that is no class, the
        class that the network predicts is explained.
    model : str
        A key of `lab.study.runner.MODELS`.
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
    from lab.study.evaluation import gains_task  # takes seconds

    folder, out = Path(os.path.abspath(folder)), Path(os.path.realpath(out))
    images, unread = find_images(folder)
    labels = {path.parent: class_index(path.parent.name) for path in images.values()}
    for parent in (parent for parent, label in labels.items() if label is None):
        say(f"{parent.name} is no class of ImageNet: there the predicted class is explained")
    black_box = network(model)
    identity = {"network": black_box.name, "stands_in_for": black_box.stands_in_for}
    identity |= {"weights": black_box.fingerprint, "budget": budget, "seed": seed}
    about, tasks, names, counts = {}, {}, {}, Counter()
    for name, path in images.items():
        try:
            digest = image_digest(path)
        except (OSError, ValueError) as error:
            say(f"skipped {path.name}: {error}")
            counts["skipped"] += 1
            continue
        label = labels[path.parent]
        of = {"label": label, "methods": methods, "budget": budget, "seed": seed}
        of |= {} if maps is None else {"maps": True}
        calls = (budget + CURVES) * len(methods)
        task = Task("evaluate", gains_task, model, path, of, calls)
        key = task.key(black_box.fingerprint, digest)
        tasks[key] = task
        names.setdefault(key, []).append(name)  # copies of an image are one task
        source = "prediction" if label is None else "folder"
        about[name] = {"class_from": source, "digest": digest} | identity
    earlier, rows = earlier_rows(out, identity, methods, about), {}
    columns = {tuple(some[0]) for some in earlier.values()}

    def add(key, result):
        for name in names[key]:
            done = [_arranged({"picture": name} | about[name] | row) for row in result.rows]
            if columns - {tuple(done[0])}:
                raise ValueError(f"{out} holds results with other columns, {REFUSAL}")
            rows[name] = done
            if maps is not None:
                about_maps = {key: done[0][key] for key in ABOUT_MAPS} | {"methods": methods}
                about_maps["stands_in_for"] = about_maps["stands_in_for"] or ""
                write_whole(Path(maps, f"{name}.npz"), pack(result.arrays | about_maps))
            counts["unlikely"] += done[0]["probability"] < UNLIKELY

    try:
        for key, state, result in run(tasks, scheduler):
            counts[state] += len(names[key])
            if result:
                add(key, result)
    except KeyboardInterrupt:
        # It may have come after a task was saved and before it was added.
        for key in tasks:
            if names[key][-1] not in rows and (result := saved(key)):
                add(key, result)
        raise
    finally:
        if rows:
            every = [row for _, some in sorted((earlier | rows).items()) for row in some]
            table = pd.DataFrame(every, dtype=object)
            write_whole(out, table.to_csv(index=False, lineterminator="\n").encode())
    return counts, unread


def _arranged(row):
    """A row with its subject first, and the columns that identify its inputs last."""
    row = row | {"class": class_name(row["label"]), "class_index": row["label"]}
    first = "picture class class_index class_from network stands_in_for method budget seed".split()
    last = "seconds weights digest".split()
    left_out = "label predicted calls".split()  # they are there under other names
    middle = [name for name in row if name not in (*first, *last, *left_out)]
    return {name: row[name] for name in (*first, *middle, *last)}


def main(arguments=None):
    """Run the command line: print how many images there are results of, or why none."""
    with stopping():
        options = _options(arguments)
        with lock(options.out):
            counts, unread = evaluate(**vars(options))
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
    add("--model", required=True, choices=MODELS)
    add("--methods", required=True, help=f"with commas, of {', '.join(METHODS)}")
    add("--out", required=True, type=Path, metavar="FILE.csv", help="file of the results")
    add("--budget", type=int, default=1000, help="model calls per explanation (%(default)s)")
    add("--seed", type=int, default=0, help="of the random numbers (%(default)s)")
    add("--maps", type=Path, metavar="FOLDER", help="write each image's maps there, as .npz")
    add("--scheduler", metavar="ADDRESS", help="of a Dask cluster: tcp://HOST:PORT")
    options = parser.parse_args(arguments)
    options.methods = methods_of(options.methods)
    for name, least, most in (("budget", 1, math.inf), ("seed", 0, 2**32 - 1)):
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
