"""The runner: finish tasks with processes of this machine or of a Dask cluster."""

import asyncio
import contextlib
import datetime
import functools
import importlib.metadata
import io
import json
import logging
import os
import platform
import signal
import threading
from collections import Counter

import distributed
import numpy as np
from dask.system import CPU_COUNT
from distributed import Client, KilledWorker, LocalCluster, as_completed, get_worker
from distributed.comm import connect
from distributed.security import Security
from distributed.system import MEMORY_LIMIT
from tqdm import tqdm

from lab.command import say
from lab.images import load_image, load_mask
from lab.study.store import WHOLE, Result, store, stored

PACKAGES = "numpy", "tensorflow", "keras", "openvino", "lime", "shap", "scikit-image"
MEMORY = 5 * 2**29  # bytes for a process: 2.2 of 2.5 GiB with Xception, ResNet50, random copies
SCHEDULER_PATIENCE = 10  # seconds that a cluster's scheduler has to answer
WORKER_PATIENCE = 60  # seconds that it has to show a first worker
CALLS = "model calls"  # the topic under which workers report their model calls

_one_at_a_time = threading.Lock()


class OtherNetwork(RuntimeError):
    """A worker loads another network than the rest of the results is about."""


@functools.cache
def network(model):
    """A `lab.networks.blackbox.BlackBox`, loaded once.

    `model` is what `lab.networks.load` takes first, or a tuple of this and of pairs,
    its further arguments.
    """
    from lab.networks import load  # a task without a network needs none of it

    name, *arguments = (model,) if isinstance(model, str) else model
    return load(name, **dict(arguments))


class _Reporting:
    """A worker's network that reports its calls, so that the progress bar moves."""

    def __init__(self, network, key):
        self._network, self._key = network, key

    def __getattr__(self, name):
        return getattr(self._network, name)

    def __call__(self, images):
        get_worker().log_event(CALLS, (self._key, len(images)))
        return self._network(images)


def _finish(key, task, fingerprint, image, mask):
    """On a worker: finish a task's parts with the network that has this fingerprint."""
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
        measured = measure(task, called, image, mask)
    about = {"date": datetime.date.today().isoformat(), "runtime": runtime}
    about |= {"version": task.function.version, "python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            about[package] = importlib.metadata.version(package)
    return {name: Result(*part, about) for name, part in measured.items()}


def measure(task, network, image, mask):
    """The rows and arrays of each of a task's parts, as they are stored."""
    if task.parts == WHOLE:
        measured = {"": task.function(network, image, mask, **task.arguments)}
    else:
        measured = task.function(network, image, mask, parts=task.parts, **task.arguments)
    assert measured.keys() == task.parts.keys(), f"{task} measured {', '.join(measured)}"
    return {name: _as_stored(*part) for name, part in measured.items()}


def _as_stored(rows, arrays):
    rows = json.loads(json.dumps(rows, default=lambda number: number.item()))  # NumPy's numbers
    return rows, {name: np.asarray(array) for name, array in arrays.items()}


def run(tasks, folder, scheduler=None):
    """Finish tasks, those with the most calls first, and store their results.

    No more tasks are handed over than there are threads, so memory holds few images. A
    task whose worker ends is tried again. Of a task whose parts are stored in part, the
    rest is measured.

    Parameters
    ----------
    tasks : dict of str to lab.study.store.Task
        By key.
    folder : pathlib.Path
        Of the store.
    scheduler : str, optional
        Address of a Dask cluster. By default each core of this machine gets a process.

    Yields
    ------
    key : str
    state : {"finished", "skipped", "failed"}
        A task is skipped if its image cannot be read. The reasons are printed.
    results : dict of str to lab.study.store.Result
        Of each part; empty unless finished.

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
        results = stored(folder, key, task)
        if lacking := task.parts.keys() - results.keys():
            missing[key] = task.only(lacking)
        else:
            yield key, "finished", results
    if not missing:
        return
    with _cluster(scheduler, len(missing)) as client:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
        try:
            for key, state, results in _run(missing, client):
                if state == "finished":
                    task = tasks[key]
                    results = stored(folder, key, task) | results
                    results = {name: results[name] for name in task.parts}
                    try:
                        store(folder, key, task, results)
                    except OSError as error:
                        _say_once(f"{error}: interrupted work starts again")
                yield key, state, results
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
                    loaded = inputs(tasks[key])
                except Exception as error:  # whatever a reader of damaged files raises
                    say(f"skipped {tasks[key].image.name}: {error}")
                    bar.update(tasks[key].calls)
                    yield key, "skipped", {}
                    continue
                future = client.submit(_finish, key, tasks[key], *loaded, pure=False)
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
                yield key, "failed", {}
            else:
                yield key, "finished", future.result()


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
