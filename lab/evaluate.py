"""``python -m lab.evaluate FOLDER --model xception --methods lime,rise,shap --out results.csv``

Measure the explanations of every picture in a folder, on this machine's cores or on a Dask cluster.
"""

import argparse
import contextlib
import csv
import functools
import hashlib
import io
import itertools
import logging
import math
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import distributed
from dask.system import CPU_COUNT
from distributed import Client, KilledWorker, LocalCluster, as_completed
from distributed.system import MEMORY_LIMIT
from tqdm import tqdm

from lab.imagenet import class_index, class_name
from lab.images import SUFFIXES, load_image, load_mask

# TensorFlow and the methods are imported where they are used: dask's own processes import this
# module, too, and an argument that is refused should be refused at once.

# By which function of lab.blackbox each network is loaded.
MODELS = {"xception": "load_or_stand_in", "resnet50": "load_or_stand_in", "efficientnet_lite0": "load", "squeezenet": "load"}
MEMORY = 2 * 2**30  # bytes that a process with a network and its batches may take
PATIENCE = 60  # seconds that a cluster has to show a scheduler and a first worker

_one_at_a_time = threading.Lock()


class OtherNetwork(RuntimeError):
    """A worker's network is not the one that the rest of the results is about."""


def find_pictures(folder):
    """All pictures of a folder and of its sub-folders, but for its masks and what is hidden.

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
        folders[:] = [name for name in folders if not name.startswith(".") and Path(parent, name) != folder / "masks"]
        for path in (Path(parent, name) for name in files):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                pictures[path.relative_to(folder).as_posix()] = path
    if not pictures:
        raise ValueError(f"no picture in {folder}; expected files ending in {', '.join(SUFFIXES)}")
    return dict(sorted(pictures.items()))


def digest(path, root):
    """Digest of a picture's file and its mask's: a finished result is one of these very files.

    Parameters
    ----------
    path : pathlib.Path
        The picture.
    root : pathlib.Path
        As in `lab.images.load_mask`.

    Returns
    -------
    str
    """
    mask = root / "masks" / path.relative_to(root).with_suffix(".png")
    content = path.read_bytes() + (mask.read_bytes() if mask.exists() else b"")
    return hashlib.sha256(content).hexdigest()[:16]


@functools.cache
def _network(model):
    from lab import blackbox

    return getattr(blackbox, MODELS[model])(model)


def describe(model):
    """Load a network in the process that is asked, and tell which it is.

    Parameters
    ----------
    model : str
        A key of `MODELS`.

    Returns
    -------
    dict
        "network" is its name, "stands_in_for" the name of another or None, "weights" its
        fingerprint, "input_size" its own, and "said" what loading it printed.
    """
    with _one_at_a_time, contextlib.redirect_stdout(io.StringIO()) as said:
        network = _network(model)
        return {
            "network": network.name,
            "stands_in_for": network.stands_in_for,
            "weights": network.fingerprint,
            "input_size": network.input_size,
            "said": said.getvalue().strip(),
        }


def measure_picture(image, mask, label, model, weights, methods, budget, seed):
    """Explain a picture with some methods and measure the explanations, in whatever process.

    Parameters
    ----------
    image : (input_size, input_size, 3) uint8 array
    mask : (input_size, input_size) bool array or None
    label : int or None
        The class to explain; None for the one that the network predicts.
    model : str
        A key of `MODELS`.
    weights : str
        Fingerprint that the network must have.
    methods : sequence of str
        Keys of `lab.explainers.METHODS`.
    budget : int
        Model calls for each method.
    seed : int

    Returns
    -------
    list of dict
        For each method its name, the class, its index and probability, the metrics of
        `lab.evaluation.measure`, and how many seconds explaining took.

    Raises
    ------
    OtherNetwork
        If this process loads another network than asked for.
    """
    from lab.cache import scores
    from lab.evaluation import measure
    from lab.explainers import explain

    # A cluster's worker may run several threads; TensorFlow makes its own, and some methods draw
    # from NumPy's global generator, which threads would share.
    with _one_at_a_time:
        with contextlib.redirect_stdout(io.StringIO()):
            network = _network(model)
        if network.fingerprint != weights:
            raise OtherNetwork(
                f"a worker loads {network.name} ({network.source}) for {model}, another has other weights: "
                "set LAB_BLACKBOX and LAB_WEIGHTS alike on all machines"
            )
        if label is None:
            label = network.top(image, 1)[0][0]
        probability = float(scores(network, image[None], [label])[0, 0])
        rows = []
        for method in methods:
            started = time.perf_counter()
            saliency = explain(method, network, image, label, budget, seed)
            seconds = round(time.perf_counter() - started, 2)
            row = {"class": class_name(label), "class_index": label, "probability": probability, "method": method}
            measured = measure(network, image, mask, label, saliency)
            rows.append(row | {name: float(value) for name, value in measured.items()} | {"seconds": seconds})
    return rows


def in_parallel(client, work, jobs):
    """Do some work for every job on a cluster's workers.

    Jobs are taken from their iterator only when a thread is free: a data set of any size needs
    the memory of a few pictures, and a job in line shares no worker's end. Work is done again
    elsewhere when its worker ends, up to the number of times that Dask allows.

    Parameters
    ----------
    client : dask.distributed.Client
    work : callable
        Importable on the workers.
    jobs : iterable of (str, tuple)
        Names and the arguments of `work`.

    Yields
    ------
    name : str
    result
        What `work` returned, None if it failed.
    error : Exception or None

    Raises
    ------
    ConnectionError
        If the scheduler is lost.
    """
    jobs, names, running = iter(jobs), {}, as_completed()
    while True:
        room = max(1, sum(client.nthreads().values())) - len(names)
        for name, arguments in itertools.islice(jobs, max(room, 0)):
            future = client.submit(work, *arguments, pure=False)
            names[future] = name
            running.add(future)
        if not names:
            return
        future = next(running)
        if future.cancelled():
            raise ConnectionError("the cluster's scheduler is gone; once it is back, the same command goes on")
        error = future.exception()
        yield names.pop(future), None if error else future.result(), error


def recover(out, identity, digests, methods):
    """The finished pictures of an earlier run; what a crash cut off is removed from the file.

    Parameters
    ----------
    out : pathlib.Path
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
    if not out.exists() or not out.stat().st_size:
        return {}
    refusal = "is left as it is: name another file with --out, or delete it"
    # After a power failure a file may end in zeros.
    text = out.read_text(encoding="utf-8", errors="surrogateescape").partition("\0")[0]
    table = csv.DictReader(io.StringIO(text, newline=""))
    rows = list(table)
    if not {*identity, "picture", "method", "digest"} <= set(table.fieldnames or ()):
        raise ValueError(f"{out} is no result of this command and {refusal}")
    if rows and (not text.endswith("\n") or None in rows[-1].values()):
        rows.pop()  # cut off in the middle
    done = {}
    for row in rows:
        for name, value in identity.items():
            if row[name] != _text(value):
                raise ValueError(f"{out} holds results with {name} {row[name] or 'none'}, not {_text(value) or 'none'}, and {refusal}")
        done.setdefault(row["picture"], {})[row["method"]] = row
    unfinished = [picture for picture, found in done.items() if set(found) != set(methods)]
    if unfinished and (unfinished != [rows[-1]["picture"]] or not set(done[unfinished[0]]) < set(methods)):
        there = ", ".join(done[unfinished[0]])
        raise ValueError(f"{out} holds results of the methods {there}, not {', '.join(methods)}, and {refusal}")
    for picture in unfinished:
        del done[picture]
    for picture, found in done.items():
        if digests(picture) not in {row["digest"] for row in found.values()}:
            raise ValueError(f"{out} holds results of a picture {picture} that is not in this folder, or is another one there, and {refusal}")
    done = {picture: [found[method] for method in methods] for picture, found in done.items()}
    write(out, done)
    return done


def write(out, done):
    """Replace a file of results as a whole.

    Parameters
    ----------
    out : pathlib.Path
    done : dict of str to list of dict
        Rows by picture; they are written in the pictures' order.
    """
    rows = [row for picture in sorted(done) for row in done[picture]]
    beside = out.with_name(f"{out.name}.part")
    with open(beside, "wb") as file:
        file.write(_lines([{name: name for name in rows[0]}, *rows], rows[0]) if rows else b"")
        os.fsync(file.fileno())
    os.replace(beside, out)


def append(out, rows, columns):
    """Add a picture's rows to a file of results, all at once.

    Parameters
    ----------
    out : pathlib.Path
        Holds other rows already.
    rows : list of dict
    columns : iterable of str
        The file's.

    Raises
    ------
    ValueError
        If the rows have others.
    """
    if set(columns) != set(rows[0]):
        raise ValueError(f"{out} holds results of another version of the lab, with other columns: name another file with --out")
    with open(out, "ab", buffering=0) as file:
        file.write(_lines(rows, columns))
        os.fsync(file.fileno())


def _lines(rows, columns):
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows([_text(row[name]) for name in columns] for row in rows)
    return text.getvalue().encode("utf-8", errors="surrogateescape")  # file names may hold any bytes


def _text(value):
    return "" if value is None or value != value else str(value)


def evaluate(client, folder, model, methods, out, budget=1000, seed=0):
    """Measure every picture of a folder that a file of results does not hold yet.

    Parameters
    ----------
    client : dask.distributed.Client
    folder : path-like
        The class of a picture is the name of the folder that holds it, as `lab.imagenet.class_index`
        understands it. Where that is no class, the class that the network predicts is explained.
    model : str
        A key of `MODELS`.
    methods : sequence of str
        Keys of `lab.explainers.METHODS`.
    out : path-like
        The file of results.
    budget, seed : int, optional
        As in `measure_picture`.

    Returns
    -------
    finished, skipped, failed : int
        Pictures that the file holds now, that could not be read, and that could not be measured.

    Raises
    ------
    ValueError
        If the folder holds no picture, or the file something else.
    OtherNetwork
        If a worker's network is another one.
    RuntimeError
        If a worker has not what the lab needs, or cannot load the network.
    ConnectionError
        If the cluster is lost.
    """
    folder, out = Path(os.path.abspath(folder)), Path(os.path.abspath(out))
    pictures = find_pictures(folder)
    labels = _labels(pictures.values())
    for parent in (parent for parent, label in labels.items() if label is None):
        _say(f"{parent.name} is no class of ImageNet: its pictures are explained for the class that the network predicts")
    # A folder with the pictures of one class has its masks where the folder of all classes has them.
    root = folder if (folder / "masks").is_dir() else folder.parent
    try:
        network = client.submit(describe, model, pure=False).result()
    except Exception as error:
        _raise_if_unfit(error)
        raise
    if network["said"]:
        _say(network["said"])
    identity = {name: network[name] for name in ("network", "stands_in_for", "weights")} | {"budget": budget, "seed": seed}

    def digest_of(picture):
        with contextlib.suppress(KeyError, OSError):
            return digest(pictures[picture], root)

    done = recover(out, identity, digest_of, methods)
    digests, skipped, failed = {}, 0, 0

    def jobs():
        nonlocal skipped
        for name in [name for name in pictures if name not in done]:
            path = pictures[name]
            try:
                digests[name] = digest(path, root)
                image, mask = load_image(path, network["input_size"]), load_mask(path, network["input_size"], root)
            except (OSError, ValueError) as error:
                _say(f"skipped: {error}")
                skipped += 1
                bar.update()
            else:
                yield name, (image, mask, labels[path.parent], model, network["weights"], methods, budget, seed)

    with tqdm(total=len(pictures), initial=len(done), unit="picture", desc=network["network"], file=sys.stderr) as bar:
        for name, rows, error in in_parallel(client, measure_picture, jobs()):
            if error is not None:
                _raise_if_unfit(error)
                reason = "its worker ended, each time it was tried" if isinstance(error, KilledWorker) else f"{type(error).__name__}: {error}"
                _say(f"failed {name}: {reason}")
                failed += 1
            else:
                source = "prediction" if labels[pictures[name].parent] is None else "folder"
                about = {"picture": name, "class_from": source, "digest": digests.pop(name)} | identity
                done[name] = [_arranged(about | row) for row in rows]
                if len(done) == 1:
                    write(out, done)
                else:
                    append(out, done[name], next(iter(done.values()))[0])
            bar.update()
    if done:
        write(out, done)  # in the same order, whichever picture was finished first
    return len(done), skipped, failed


def _raise_if_unfit(error):
    """Stop at what is wrong with a worker, for it would fail with all other pictures, too."""
    if isinstance(error, OtherNetwork):
        raise error
    for missing in (error, error.__cause__):
        if isinstance(missing, ImportError):
            raise RuntimeError(
                f"a worker cannot import what it needs ({missing}): start it in this project's folder, with its requirements installed"
            ) from None


def _labels(pictures):
    """The class of each folder that holds pictures, None where its name is no class."""
    return {folder: class_index(folder.name) for folder in dict.fromkeys(path.parent for path in pictures)}


def _arranged(row):
    """What the row is about comes first, how it can be checked last."""
    first = ("picture", "class", "class_index", "class_from", "network", "stands_in_for", "method", "budget", "seed", "probability")
    last = ("seconds", "weights", "digest")
    return {name: row[name] for name in dict.fromkeys((*first, *(name for name in row if name not in last), *last))}


def _say(line):
    tqdm.write(line, file=sys.stderr)


@contextlib.contextmanager
def _cluster(scheduler, n_pictures):
    """A client of the cluster at an address, or of one made of this machine's cores."""
    for name in ("distributed", "distributed.client"):  # all that matters of what they tell is said here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is None:
        n_workers = max(1, min(CPU_COUNT, MEMORY_LIMIT // MEMORY, n_pictures))
        # One thread each: what explaining costs beside the network does not run on several.
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the processes inherit it: Ctrl-C is for this one
        cluster = LocalCluster(
            n_workers=n_workers, threads_per_worker=1, memory_limit=None, env=one_thread, silence_logs=logging.CRITICAL,
            host="127.0.0.1", dashboard_address="127.0.0.1:0",
        )
        signal.signal(signal.SIGINT, interrupt)
        with cluster, Client(cluster) as client:
            yield client
    else:
        try:
            client = Client(scheduler, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            raise ConnectionError(f"there is no Dask scheduler at {scheduler}: {error}") from None
        with client:
            try:
                client.wait_for_workers(1, timeout=PATIENCE)
            except distributed.TimeoutError:  # not Python 3.10's own
                raise ConnectionError(f"the scheduler at {scheduler} has had no worker for {PATIENCE} seconds") from None
            yield client


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
        with _cluster(options.scheduler, len(find_pictures(options.folder))) as client:
            finished, skipped, failed = evaluate(
                client, options.folder, options.model, options.methods, options.out, options.budget, options.seed
            )
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on where this one stopped.")
    except (OSError, ValueError, RuntimeError, ImportError, KilledWorker) as error:
        sys.exit(f"Stopped: {error}")
    counts = f"{finished} finished, {skipped} skipped that could not be read, {failed} failed"
    if not finished:
        sys.exit(f"No picture could be measured: {counts}")
    print(f"{options.out}: {counts}")


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m lab.evaluate",
        description="Explain every picture of a folder and measure the explanations. The class explained is the name of the folder that "
        "holds the picture, or what the network predicts where that is no class. Interrupted, the same command goes on.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures in sub-folders named by class; masks, if any, in FOLDER/masks")
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--methods", required=True, help="names as in lab.explainers, with commas: lime,rise,shap")
    parser.add_argument("--out", required=True, type=Path, metavar="RESULTS.csv", help="a row for each picture and method")
    parser.add_argument("--budget", type=int, default=1000, metavar="CALLS", help="model calls for each explanation (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what the methods draw (default: %(default)s)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to work on, tcp://HOST:PORT (default: this machine's cores)")
    options = parser.parse_args(arguments)
    options.methods = list(dict.fromkeys(options.methods.split(",")))
    return options


def _check(options):
    """Refuse what cannot go well before a process is started."""
    _labels(find_pictures(options.folder).values())
    for name, most in (("budget", math.inf), ("seed", 2**32 - 1)):
        least = 1 if name == "budget" else 0
        if not least <= getattr(options, name) <= most:
            raise ValueError(f"--{name} must be from {least} to {most}, got {getattr(options, name)}")
    if options.out.is_dir():
        raise ValueError(f"--out must name a file, {options.out} is a folder")
    try:
        tempfile.TemporaryFile(dir=options.out.parent).close()
    except OSError as error:
        raise ValueError(f"nothing can be written to {options.out.parent}, the folder of --out: {error.strerror}") from None
    from lab.explainers import METHODS

    for method in options.methods:
        if method not in METHODS:
            raise ValueError(f"--methods must be of {', '.join(METHODS)}, got {method!r}")


if __name__ == "__main__":
    # Under this name, for workers could not import what belongs to __main__.
    from lab.evaluate import main

    main()
