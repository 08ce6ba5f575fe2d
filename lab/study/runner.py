"""The runner: finish tasks with processes of this machine or of a Dask cluster.

A finished task is saved in ``.cache/tasks`` under a digest of what it measures. So an
interrupted command goes on where it stopped, and nothing is measured twice.
"""

import asyncio
import contextlib
import datetime
import functools
import hashlib
import importlib.metadata
import io
import json
import logging
import os
import platform
import signal
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import distributed
import numpy as np
from dask.system import CPU_COUNT
from distributed import Client, KilledWorker, LocalCluster, as_completed, get_worker
from distributed.comm import connect
from distributed.security import Security
from distributed.system import MEMORY_LIMIT
from tqdm import tqdm

from lab.command import say
from lab.files import ROOT, pack, write_whole
from lab.images import find_mask, load_image, load_mask

MODELS = {
    "xception": "load_or_stand_in",
    "resnet50": "load_or_stand_in",
    "efficientnet_lite0": "load",
    "efficientnet_lite1": "load",
    "efficientnet_lite2": "load",
    "squeezenet": "load",
}
"""The function of `lab.networks.loading` that loads each network."""

PACKAGES = "numpy", "tensorflow", "keras", "openvino", "lime", "shap", "scikit-image"
MEMO = ROOT / ".cache" / "tasks"
MEMORY = 5 * 2**29  # bytes for a process: 2.2 of 2.5 GiB with Xception, ResNet50, random copies
SCHEDULER_PATIENCE = 10  # seconds that a cluster's scheduler has to answer
WORKER_PATIENCE = 60  # seconds that it has to show a first worker
CALLS = "model calls"  # the topic under which workers report their model calls

_one_at_a_time = threading.Lock()


class OtherNetwork(RuntimeError):
    """A worker loads another network than the rest of the results is about."""


def version(number):
    """Decorate a task's function with its version: raise it when its numbers change."""

    def declare(function):
        function.version = number
        return function

    return declare


class Task(NamedTuple):
    """One piece of work, which gives some rows of a table.

    Attributes
    ----------
    table : str
    function : callable
        Of a module, with a `version`. ``function(network, image, mask, **arguments)``
        returns rows (at least one, list of dict) and arrays (dict of str to array).
        `image` is a uint8 array in the network's input size, `mask` a bool array or
        None.
    network : str or None
        A key of `MODELS`; None where no network is called, and then there is no image.
    image : pathlib.Path or None
    arguments : dict
        Values that JSON can hold.
    calls : int
        About how many model calls it takes.
    """

    table: str
    function: Callable
    network: str | None
    image: Path | None
    arguments: dict
    calls: int

    def key(self, fingerprint, digest):
        """Digest of what is measured, from the network's and `image_digest`."""
        about = [self.table, self.function.version, fingerprint, digest, self.arguments]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self):
        parts = [self.table, self.network, self.image, *self.arguments.values()]
        return ", ".join(str(part) for part in parts if isinstance(part, (str, int, float, Path)))


class Result(NamedTuple):
    """Rows and arrays of a finished task; its date, runtime and package versions."""

    rows: list
    arrays: dict
    about: dict


def image_digest(path):
    """Digest of the files of an image and its mask.

    Raises
    ------
    OSError, ValueError
        If a file is not a regular one, or cannot be read, or the image has two masks.
    """
    digest = hashlib.sha256()
    for file in filter(None, (path, find_mask(path))):
        if not file.is_file():  # a named pipe, for one, has no end
            raise OSError(f"{file} is not a regular file")
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def saved(key):
    """A finished task's result; None if it is not saved, or its file is damaged."""
    try:
        with np.load(MEMO / f"{key}.npz", allow_pickle=False) as archive:
            arrays = dict(archive)
        parts = json.loads(arrays.pop("result").item())
        return Result(parts["rows"], arrays, parts["about"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _save(key, result):
    text = json.dumps({"rows": result.rows, "about": result.about})
    try:
        write_whole(MEMO / f"{key}.npz", pack(result.arrays | {"result": np.array(text)}))
    except OSError as error:
        _say_once(f"{MEMO} cannot be written ({error.strerror}): interrupted work starts again")


@functools.cache
def network(model):
    """The `lab.networks.blackbox.BlackBox` of a key of `MODELS`, loaded once."""
    from lab.networks import loading  # a task without a network needs none of it

    return getattr(loading, MODELS[model])(model)


class _Reporting:
    """A worker's network that reports its calls, so that the progress bar moves."""

    def __init__(self, network, key):
        self._network, self._key = network, key

    def __getattr__(self, name):
        return getattr(self._network, name)

    def __call__(self, images):
        get_worker().log_event(CALLS, (self._key, len(images)))
        return self._network(images)


def _perform(key, task, fingerprint, image, mask):
    """On a worker: finish a task with the network that has this fingerprint."""
    # A cluster's worker may run several threads. Networks use several cores themselves,
    # and some methods draw from NumPy's global generator, which threads would share.
    with _one_at_a_time:
        called, runtime = None, ""
        if task.network is not None:
            with contextlib.redirect_stdout(io.StringIO()):  # the command has printed it
                loaded = network(task.network)
            if loaded.fingerprint != fingerprint:
                raise OtherNetwork(
                    f"a worker loads {loaded.name} ({loaded.source}) for {task.network}, this "
                    "command other weights: set LAB_BLACKBOX and LAB_WEIGHTS alike on all machines"
                )
            called, runtime = _Reporting(loaded, key), loaded.runtime
        rows, arrays = task.function(called, image, mask, **task.arguments)
    rows = json.loads(json.dumps(rows, default=lambda number: number.item()))  # NumPy's numbers
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    if not rows or any(array.dtype.hasobject for array in arrays.values()):
        raise ValueError(f"{task.function.__name__} must return rows, and arrays of numbers")
    about = {"date": datetime.date.today().isoformat(), "runtime": runtime}
    about["python"] = platform.python_version()
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            about[package] = importlib.metadata.version(package)
    return Result(rows, arrays, about)


def run(tasks, scheduler=None):
    """Finish tasks, those with the most calls first, and save their results.

    No more tasks are handed over than there are threads, so memory holds few images. A
    task whose worker ends is tried again.

    Parameters
    ----------
    tasks : dict of str to Task
        By key.
    scheduler : str, optional
        Address of a Dask cluster. By default each core of this machine gets a process.

    Yields
    ------
    key : str
    state : {"finished", "skipped", "failed"}
        A task is skipped if its image cannot be read. The reasons are printed.
    result : Result or None

    Raises
    ------
    OtherNetwork
        If a worker's network is another one than this process loads.
    RuntimeError
        If a worker cannot import what it needs.
    ConnectionError
        If there is no scheduler or no worker, or the scheduler is lost.
    """
    missing = {}
    for key, task in tasks.items():
        if result := saved(key):
            yield key, "finished", result
        else:
            missing[key] = task
    if missing:
        with _cluster(scheduler, len(missing)) as client:
            try:
                yield from _run(missing, client)
            except OSError:  # of the connection, however the client comes to know of it
                raise ConnectionError(
                    "the scheduler is gone. Start it and its workers again; the same command "
                    "then goes on"
                ) from None


def _run(tasks, client):
    waiting = sorted(reversed(tasks), key=lambda key: tasks[key].calls)  # the last one first
    running, seen, futures = {}, Counter(), as_completed()

    def move(event):
        key, calls = event[1]
        if key in running.values():
            seen[key] += calls
            bar.update(calls)

    total = sum(task.calls for task in tasks.values())
    with tqdm(total=total, desc=f"{len(tasks)} tasks", unit="call", unit_scale=True) as bar:
        client.subscribe_topic(CALLS, move)
        while waiting or running:
            threads = max(1, sum(client.nthreads().values()))
            while waiting and len(running) < threads:
                key = waiting.pop()
                try:
                    of = inputs(tasks[key])
                except Exception as error:  # whatever a reader of damaged files raises
                    say(f"skipped {tasks[key].image.name}: {error}")
                    bar.update(tasks[key].calls)
                    yield key, "skipped", None
                    continue
                future = client.submit(_perform, key, tasks[key], *of, pure=False)
                running[future] = key
                futures.add(future)
            if not running:
                continue
            future = next(futures)
            if future.cancelled():
                raise ConnectionError
            key, error = running.pop(future), future.exception()
            bar.update(tasks[key].calls - seen[key])  # the declared number is an estimate
            if error:
                _raise_if_unfit(error)
                ended = "its worker ended each time (too little memory?)"
                reason = ended if isinstance(error, KilledWorker) else repr(error)
                say(f"failed {tasks[key]}: {reason}")
                yield key, "failed", None
            else:
                result = future.result()
                _save(key, result)
                yield key, "finished", result


def inputs(task):
    """The fingerprint of a task's network, and image and mask in its size, or None."""
    if task.network is None:
        return None, None, None
    loaded = network(task.network)
    size = loaded.input_size
    return loaded.fingerprint, load_image(task.image, size), load_mask(task.image, size)


def _raise_if_unfit(error):
    """Stop at a fault of a worker that all other tasks would meet, too."""
    if isinstance(error, OtherNetwork):
        raise error
    for cause in (error, error.__cause__):
        if isinstance(cause, ImportError):
            raise RuntimeError(
                f"a worker cannot import what it needs ({cause}): start it in this project's "
                "folder, with its requirements installed"
            ) from None


_say_once = functools.cache(say)


@contextlib.contextmanager
def _cluster(scheduler, n_tasks):
    """A client of the cluster at an address, or of processes of this machine."""
    for name in ("distributed", "distributed.client"):  # the lab prints what matters itself
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is None:
        variables = "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"
        # The processes inherit that Ctrl-C is blocked: it is for this one, a bit later.
        if os.name == "posix":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        local = LocalCluster(
            n_workers=max(1, min(CPU_COUNT, MEMORY_LIMIT // MEMORY, n_tasks)),
            threads_per_worker=1,
            memory_limit=None,
            env=dict.fromkeys(variables, "1"),
            silence_logs=logging.CRITICAL,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        )
        if os.name == "posix":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        with local, Client(local) as client:
            yield client
        return
    try:
        # A client itself would wait for ever where another service listens.
        options = Security().get_connection_args("client")
        asyncio.run(connect(scheduler, timeout=SCHEDULER_PATIENCE, **options)).abort()
    except Exception as error:
        raise ConnectionError(f"there is no Dask scheduler at {scheduler}: {error}") from None
    with Client(scheduler, timeout=SCHEDULER_PATIENCE) as client:
        try:
            client.wait_for_workers(1, timeout=WORKER_PATIENCE)
        except distributed.TimeoutError:  # on Python 3.10 not the built-in one
            raise ConnectionError(
                f"the scheduler at {scheduler} has had no worker for {WORKER_PATIENCE} seconds"
            ) from None
        yield client
