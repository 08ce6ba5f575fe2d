"""The runner: finish tasks with processes of this machine or of a Dask cluster.

Processes of this machine get tasks over pipes. A cluster's workers run what its
scheduler sends them, so whoever reaches the scheduler can run code there.
"""

import concurrent.futures
import contextlib
import datetime
import functools
import gc
import importlib.metadata
import io
import json
import logging
import multiprocessing
import os
import platform
import signal
import threading
from collections import Counter
from unittest import mock

import numpy as np
from tqdm import tqdm

from lab.command import say
from lab.images import escaped, load_image, load_mask
from lab.study.store import WHOLE, Result, store, stored

PACKAGES = "numpy", "tensorflow", "keras", "openvino", "lime", "shap", "scikit-image"
MEMORY = 5 * 2**29  # bytes for a process: 2.2 of 2.5 GiB with Xception, ResNet50, random copies
TRIES = 3  # of a task whose process ends
THREADS = "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"
SCHEDULER_PATIENCE = 10  # seconds that a cluster's scheduler has to answer
WORKER_PATIENCE = 60  # seconds that it has to show a first worker

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

    def __init__(self, network, report):
        self._network, self._report = network, report

    def __getattr__(self, name):
        return getattr(self._network, name)

    def __call__(self, images):
        self._report(len(images))
        return self._network(images)


def _finish(task, fingerprint, image, mask, report):
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
            called, runtime = _Reporting(loaded, report), loaded.runtime
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
    for key, state, results in _run(missing, scheduler) if missing else ():
        if state == "finished":
            task = tasks[key]
            results = stored(folder, key, task) | results
            results = {name: results[name] for name in task.parts}
            try:
                store(folder, key, task, results)
            except OSError as error:
                _say_once(f"{error}: interrupted work starts again")
        yield key, state, results


def _run(tasks, scheduler):
    waiting = sorted(reversed(tasks), key=lambda key: tasks[key].calls)  # the last one first
    running, seen = {}, Counter()
    total = sum(task.calls for task in tasks.values())
    with contextlib.ExitStack() as stack:
        options = {"total": total, "unit": "call", "unit_scale": True}
        bar = stack.enter_context(tqdm(desc=f"{len(tasks)} tasks", **options))

        def report(key, calls):
            seen[key] += calls
            bar.update(calls)

        def end(key):
            bar.update(tasks[key].calls - seen[key])  # the declared number is an estimate

        workers = (
            _processes(len(tasks), report) if scheduler is None else _cluster(scheduler, report)
        )
        submit, capacity = stack.enter_context(workers)
        while waiting or running:
            while waiting and len(running) < capacity():
                key = waiting.pop()
                try:
                    loaded = inputs(tasks[key])
                except Exception as error:  # whatever a reader of damaged files raises
                    say(f"skipped {escaped(tasks[key].name)}: {error}")
                    end(key)
                    yield key, "skipped", {}
                    continue
                running[submit(key, tasks[key], *loaded)] = key
            # The timeout lets workers that join a cluster be used.
            for future in concurrent.futures.wait(running, 1, "FIRST_COMPLETED").done:
                key, error = running.pop(future), future.exception()
                end(key)
                if error:
                    _raise_if_unfit(error)
                    ended = type(error).__name__ in ("ProcessEnded", "KilledWorker")
                    reason = "its process ended each time (too little memory?)"
                    say(f"failed {tasks[key]}: {reason if ended else repr(error)}")
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


class ProcessEnded(RuntimeError):
    """The process that worked on a task ended each time."""


def _work(connection):
    """In a process of its own: finish tasks from a pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that commands
    tqdm.set_lock(threading.RLock())  # a process that is ended leaves its default, a semaphore
    with contextlib.suppress(EOFError, OSError):  # the command has ended, however
        while True:
            arguments = connection.recv()
            try:
                results = _finish(*arguments, lambda calls: connection.send(("calls", calls)))
                connection.send(("results", results))
            except Exception as error:
                try:
                    connection.send(("error", error))
                except Exception:  # it cannot be pickled
                    connection.send(("error", RuntimeError(repr(error))))


@contextlib.contextmanager
def _processes(n_tasks, report):
    """Processes of this machine: a `submit`, and how many tasks they take at once.

    A thread for each process hands tasks over and reads what comes back, so there is no
    socket to which another process could connect.
    """
    from dask.system import CPU_COUNT  # takes a second, as the next one
    from distributed.system import MEMORY_LIMIT

    n = max(1, min(CPU_COUNT, MEMORY_LIMIT // MEMORY, n_tasks))
    own, starting, ending = threading.local(), threading.Lock(), threading.Event()
    context = multiprocessing.get_context("spawn")

    def connected():
        """The pipe to this thread's process, a new one where it has ended."""
        if getattr(own, "process", None) is None or not own.process.is_alive():
            own.connection, other = context.Pipe()
            own.process = context.Process(target=_work, args=(other,), daemon=True)
            with starting, mock.patch.dict(os.environ, dict.fromkeys(THREADS, "1")):
                own.process.start()
            other.close()  # so that the end of the process ends the pipe
        return own.connection

    def hand_over(key, *arguments):
        for _ in range(TRIES):
            try:
                connection = connected()
                connection.send(arguments)
                while (reply := connection.recv())[0] == "calls":
                    report(key, reply[1])
            except (EOFError, OSError):
                if ending.is_set():
                    break
                own.process.join()
                continue
            if reply[0] == "error":
                raise reply[1]
            return reply[1]
        raise ProcessEnded

    def block_interrupts():
        if hasattr(signal, "pthread_sigmask"):  # the processes inherit it
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])

    with concurrent.futures.ThreadPoolExecutor(n, initializer=block_interrupts) as threads:
        try:
            yield functools.partial(threads.submit, hand_over), lambda: n
        finally:
            ending.set()
            for process in multiprocessing.active_children():
                process.terminate()


@contextlib.contextmanager
def _cluster(scheduler, report):
    """The same of a Dask cluster, which itself tries again where a worker ends."""
    import distributed  # takes a second
    from distributed import Client, get_worker

    for name in ("distributed", "distributed.client"):  # the lab prints what matters itself
        logging.getLogger(name).setLevel(logging.CRITICAL)

    def finish(key, *arguments):
        def log(calls):
            get_worker().log_event("model calls", (key, calls))

        return _finish(*arguments, log)

    # A client that could not connect closes itself when it is collected, and would wait
    # for ever if that were while another one starts.
    gc.collect()
    try:
        client = Client(scheduler, timeout=SCHEDULER_PATIENCE)
    except Exception as error:
        raise ConnectionError(f"there is no Dask scheduler at {scheduler}: {error}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_PATIENCE)
        except distributed.TimeoutError:  # on Python 3.10 not the built-in one
            raise ConnectionError(
                f"the scheduler at {scheduler} has had no worker for {WORKER_PATIENCE} seconds"
            ) from None
        client.subscribe_topic("model calls", lambda event: report(*event[1]))
        submit = functools.partial(client.get_executor(pure=False).submit, finish)
        try:
            yield submit, lambda: max(1, sum(client.nthreads().values()))
        except (concurrent.futures.CancelledError, OSError):  # however the client learns of it
            raise ConnectionError(
                "the scheduler is gone. Start it and its workers again; the same command then "
                "goes on"
            ) from None
