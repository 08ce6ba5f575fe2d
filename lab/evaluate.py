"""``python -m lab.evaluate FOLDER --model xception --methods lime,rise,shap --out results.csv``

Measure the explanations of every picture in a folder, on this machine's cores or on a Dask cluster.
"""

import argparse
import contextlib
import math
import os
import sys
import tempfile
from pathlib import Path

from distributed import KilledWorker
from tqdm import tqdm

from lab.explain.names import METHOD_NAMES
from lab.networks.classes import class_index, class_name
from lab.images import SUFFIXES, load_image, load_mask
from lab.study import engine
from lab.study.engine import MODELS, say
from lab.study.task import Job, picture_digest
from lab.study.results import Store, as_text

UNLIKELY = 0.01  # a class less probable than that is not what the network sees


def find_pictures(folder):
    """All pictures of a folder and of its sub-folders, but for its masks and what is hidden.

    A sub-folder that has masks of classes itself, as ``data/evaluation`` has, is another set of pictures and left out.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    dict of str to pathlib.Path
        By their path in `folder`, in its order, with forward slashes.

    Raises
    ------
    ValueError
        If there is no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    pictures, seen = {}, set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link that leads back up would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and Path(parent, name) != folder / "masks"
            and not any(path.is_dir() for path in Path(parent, name).glob("masks/*"))
        ]
        for path in (Path(parent, name) for name in files):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                pictures[path.relative_to(folder).as_posix()] = path
    if not pictures:
        raise ValueError(f"no picture in {folder}; expected files ending in {', '.join(SUFFIXES)}")
    return dict(sorted(pictures.items()))


def recover(store, identity, digests, methods):
    """The finished pictures of an earlier run; what a crash cut off is removed from the file.

    Parameters
    ----------
    store : lab.study.results.Store
        By "picture".
    identity : dict
        What each row must say about the network and the arguments.
    digests : callable
        From a picture's name to its digest, None if there is no such picture.
    methods : sequence of str
        What a finished picture has a row of.

    Returns
    -------
    dict of str to list of dict
        Rows by picture.

    Raises
    ------
    ValueError
        If the file holds anything else than this run's results.
    """
    found = store.read([*identity, "method", "digest"])
    refusal = f"and is left as it is: {store.remedy}"
    for name, value in identity.items():
        for row in (row for rows in found.values() for row in rows):
            if row[name] != as_text(value):
                raise ValueError(
                    f"{store.path} holds results with {name} {row[name] or 'none'}, not {as_text(value) or 'none'}, {refusal}"
                )
    done = {picture: {row["method"]: row for row in rows} for picture, rows in found.items()}
    unfinished = [picture for picture, rows in done.items() if set(rows) != set(methods)]
    if unfinished and (
        unfinished != [list(done)[-1]] or not set(done[unfinished[0]]) < set(methods)
    ):
        there = ", ".join(done[unfinished[0]])
        raise ValueError(
            f"{store.path} holds results of the methods {there}, not {', '.join(methods)}, {refusal}"
        )
    for picture in unfinished:
        del done[picture]
    for picture, rows in done.items():
        if digests(picture) not in {row["digest"] for row in rows.values()}:
            raise ValueError(
                f"{store.path} holds results of a picture {picture} that is not in this folder, or is another one there, {refusal}"
            )
    done = {picture: [rows[method] for method in methods] for picture, rows in done.items()}
    if store.path.exists():
        store.write(dict(sorted(done.items())))
    return done


def evaluate(client, folder, model, methods, out, budget=1000, seed=0):
    """Measure every picture of a folder that a file of results does not hold yet.

    Parameters
    ----------
    client : dask.distributed.Client
    folder : path-like
        The class of a picture is the name of the folder that holds it, as `lab.networks.classes.class_index`
        understands it. Where that is no class, the class that the network predicts is explained.
    model : str
        A key of `lab.study.engine.MODELS`.
    methods : sequence of str
        Keys of `lab.explain.methods.METHODS`.
    out : path-like
        The file of results.
    budget : int, optional
        Model calls for each method.
    seed : int, optional

    Returns
    -------
    finished, skipped, failed, unlikely : int
        Pictures that the file holds now, that could not be read, that could not be measured, and those
        finished whose class the network gives a probability below `UNLIKELY`.

    Raises
    ------
    ValueError
        If the folder holds no picture, or the file something else.
    lab.study.engine.OtherNetwork
        If a worker's network is another one.
    RuntimeError
        If a worker has not what the lab needs, or cannot load the network.
    ConnectionError
        If the cluster is lost.
    """
    from lab.study.evaluation import (
        measure_with_gains,
    )  # takes a while, and an argument that is refused should be refused at once

    folder = Path(os.path.abspath(folder))
    store = Store(os.path.abspath(out), "picture", "name another file with --out, or delete it")
    pictures = find_pictures(folder)
    labels = _labels(pictures.values())
    for parent in (parent for parent, label in labels.items() if label is None):
        say(
            f"{parent.name} is no class of ImageNet: its pictures are explained for the class that the network predicts"
        )
    # A folder with the pictures of one class has its masks where the folder of all classes has them.
    root = folder if (folder / "masks").is_dir() else folder.parent
    network = engine.describe_on(client, [model])[model]
    identity = {name: network[name] for name in ("network", "stands_in_for", "weights")} | {
        "budget": budget,
        "seed": seed,
    }

    def digest_of(picture):
        with contextlib.suppress(KeyError, OSError):
            return picture_digest(pictures[picture], root)

    done = recover(store, identity, digest_of, methods)
    digests, skipped = {}, 0

    def jobs():
        nonlocal skipped
        for name in [name for name in pictures if name not in done]:
            path = pictures[name]
            try:
                digests[name] = picture_digest(path, root)
                image, mask = (
                    load_image(path, network["input_size"]),
                    load_mask(path, network["input_size"], root),
                )
            except (OSError, ValueError) as error:
                say(f"skipped: {error}")
                skipped += 1
                bar.update()
            else:
                arguments = {
                    "label": labels[path.parent],
                    "methods": methods,
                    "budget": budget,
                    "seed": seed,
                }
                yield Job(
                    name,
                    name,
                    measure_with_gains,
                    model,
                    network["weights"],
                    image,
                    mask,
                    arguments,
                    1,
                )

    def keep(name, rows, _):
        source = "prediction" if labels[pictures[name].parent] is None else "folder"
        about = {"picture": name, "class_from": source, "digest": digests.pop(name)} | identity
        done[name] = [_arranged(about | row) for row in rows]
        store.add(name, done[name])

    with tqdm(
        total=len(pictures),
        initial=len(done),
        unit="picture",
        desc=network["network"],
        file=sys.stderr,
    ) as bar:
        failed = engine.run(client, jobs(), keep, bar)
    if done:
        store.write(
            dict(sorted(done.items()))
        )  # in the same order, whichever picture was finished first
    unlikely = sum(float(rows[0]["probability"]) < UNLIKELY for rows in done.values())
    return len(done), skipped, failed, unlikely


def _labels(pictures):
    """The class of each folder that holds pictures, None where its name is no class."""
    return {
        folder: class_index(folder.name)
        for folder in dict.fromkeys(path.parent for path in pictures)
    }


def _arranged(row):
    """What the row is about comes first, how it can be checked last."""
    row = row | {"class": class_name(row["label"]), "class_index": row["label"]}
    first = (
        "picture",
        "class",
        "class_index",
        "class_from",
        "network",
        "stands_in_for",
        "method",
        "budget",
        "seed",
        "probability",
    )
    last = ("seconds", "weights", "digest")
    said = (*last, "label", "predicted", "calls")  # by other names
    return {
        name: row[name]
        for name in (*first, *(name for name in row if name not in (*first, *said)), *last)
    }


def main(arguments=None):
    """Do what the command line says, end with how many pictures there are results of.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.

    Raises
    ------
    SystemExit
        With a line that says why, if there is no result of any picture or the work was stopped.
    """
    options = _options(arguments)
    try:
        _check(options)
        with engine.cluster(options.scheduler, len(find_pictures(options.folder))) as client:
            finished, skipped, failed, unlikely = evaluate(
                client,
                options.folder,
                options.model,
                options.methods,
                options.out,
                options.budget,
                options.seed,
            )
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on where this one stopped.")
    except (OSError, ValueError, RuntimeError, ImportError, KilledWorker) as error:
        sys.exit(f"Stopped: {error}")
    counts = f"{finished} finished, {skipped} skipped that could not be read, {failed} failed"
    if not finished:
        sys.exit(f"No picture could be measured: {counts}")
    if unlikely:
        counts += f"; {unlikely} explained for a class that the network gives a probability below {UNLIKELY}: such maps explain nothing"
    print(f"{options.out}: {counts}")


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m lab.evaluate",
        description="Explain every picture of a folder and measure the explanations. The class explained is the name of the folder that "
        "holds the picture, or what the network predicts where that is no class. Interrupted, the same command goes on.",
    )
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="pictures in sub-folders named by class; masks, if any, in FOLDER/masks",
    )
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument(
        "--methods",
        required=True,
        help="names as in lab.explain.names, with commas: lime,rise,shap",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="RESULTS.csv",
        help="a row for each picture and method",
    )
    parser.add_argument(
        "--budget",
        type=int,
        default=1000,
        metavar="CALLS",
        help="model calls for each explanation (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of what the methods draw (default: %(default)s)"
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask cluster to work on, tcp://HOST:PORT (default: this machine's cores)",
    )
    options = parser.parse_args(arguments)
    options.methods = list(dict.fromkeys(options.methods.split(",")))
    return options


def _check(options):
    """Refuse what cannot go well before a process is started."""
    _labels(find_pictures(options.folder).values())
    for name, most in (("budget", math.inf), ("seed", 2**32 - 1)):
        least = 1 if name == "budget" else 0
        if not least <= getattr(options, name) <= most:
            raise ValueError(
                f"--{name} must be from {least} to {most}, got {getattr(options, name)}"
            )
    if options.out.is_dir():
        raise ValueError(f"--out must name a file, {options.out} is a folder")
    try:
        tempfile.TemporaryFile(dir=options.out.parent).close()
    except OSError as error:
        raise ValueError(
            f"nothing can be written to {options.out.parent}, the folder of --out: {error.strerror}"
        ) from None
    for method in options.methods:
        if method not in METHOD_NAMES:
            raise ValueError(f"--methods must be of {', '.join(METHOD_NAMES)}, got {method!r}")


if __name__ == "__main__":
    main()
