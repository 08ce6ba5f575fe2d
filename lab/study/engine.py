"""The one engine: work on pictures and networks, done by processes of this machine or by a Dask cluster."""

import asyncio
import contextlib
import functools
import io
import itertools
import logging
import signal
import sys
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

# Networks are imported where they are used: dask's own processes import this module, too, and an
# argument that is refused should be refused at once.

MODELS = {
    "xception": "load_or_stand_in",
    "resnet50": "load_or_stand_in",
    "efficientnet_lite0": "load",
    "squeezenet": "load",
}
"""By which function of `lab.networks.loading` each network is loaded."""

MEMORY = 2 * 2**30  # bytes that a process with a network and its batches may take
SCHEDULER_PATIENCE = 10  # seconds that a cluster's scheduler has to answer
WORKER_PATIENCE = 60  # seconds that it has to show a first worker

ASKED = "asked"  # the topic under which workers tell how far they are

_one_at_a_time = threading.Lock()


class OtherNetwork(RuntimeError):
    """A worker's network is not the one that the rest of the results is about."""


@functools.cache
def _network(model):
    from lab.networks import loading

    return getattr(loading, MODELS[model])(model)


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
        fingerprint, "source" where they come from, "input_size" its own, and "said" what loading it printed.
    """
    with _one_at_a_time, contextlib.redirect_stdout(io.StringIO()) as said:
        network = _network(model)
        return {
            "network": network.name,
            "stands_in_for": network.stands_in_for,
            "weights": network.fingerprint,
            "source": network.source,
            "input_size": network.input_size,
            "said": said.getvalue().strip(),
        }


def describe_on(client, models):
    """Have some workers load networks, and say what they printed.

    Parameters
    ----------
    client : dask.distributed.Client
    models : iterable of str
        Keys of `MODELS`.

    Returns
    -------
    dict of str to dict
        What `describe` tells of each.

    Raises
    ------
    RuntimeError
        If a worker has not what the lab needs, or cannot load the network.
    """
    asked = {model: client.submit(describe, model, pure=False) for model in models}
    found = {}
    for model, future in asked.items():
        try:
            found[model] = future.result()
        except Exception as error:
            _raise_if_unfit(error)
            raise
        if found[model]["said"]:
            say(found[model]["said"])
    return found


class _Telling:
    """A network that tells how many pictures it was asked about, so that a long task moves the progress bar."""

    def __init__(self, network, key):
        self._network, self._key = network, key

    def __getattr__(self, name):
        return getattr(self._network, name)

    def __call__(self, images):
        answers = self._network(images)
        get_worker().log_event(ASKED, (self._key, len(images)))
        return answers


def perform(work, model, weights, image, mask, arguments, key=None):
    """Do the work of a `Job`, in whatever process.

    Parameters
    ----------
    work, model, weights, image, mask, arguments
        As in `Job`.
    key : str, optional
        With it a worker tells the command how many pictures the network was asked about meanwhile.

    Returns
    -------
    rows : list of dict
        With Python's own numbers.
    arrays : dict of str to numpy.ndarray

    Raises
    ------
    OtherNetwork
        If this process loads another network than asked for.
    ValueError
        If the work gives no row, for then nothing would tell that it was done.
    """
    # A cluster's worker may run several threads; TensorFlow makes its own, and some methods draw
    # from NumPy's global generator, which threads would share.
    with _one_at_a_time:
        network = None
        if model is not None:
            with contextlib.redirect_stdout(io.StringIO()):
                network = _network(model)
            if network.fingerprint != weights:
                raise OtherNetwork(
                    f"a worker loads {network.name} ({network.source}) for {model}, another has other weights: "
                    "set LAB_BLACKBOX and LAB_WEIGHTS alike on all machines"
                )
            if key is not None:
                network = _Telling(network, key)
        rows, arrays = work(network, image, mask, **arguments)
    if not rows:
        raise ValueError(f"{work.__name__} gave no row")
    rows = [
        {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
        for row in rows
    ]
    return rows, {name: np.asarray(array) for name, array in arrays.items()}


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
            raise ConnectionError(
                "the cluster's scheduler is gone; once it is back, the same command goes on"
            )
        error = future.exception()
        yield names.pop(future), None if error else future.result(), error


def run(client, jobs, keep, bar, in_calls=False):
    """Do jobs on a cluster's workers, keep what is finished, and name in a line what failed.

    Parameters
    ----------
    client : dask.distributed.Client
    jobs : iterable of Job
    keep : callable
        Takes the key, the rows and the arrays of each job that is finished.
    bar : tqdm.tqdm
        The progress bar.
    in_calls : bool, optional
        Whether jobs' sizes are model calls: the bar then moves while a job is done, too.

    Returns
    -------
    int
        How many jobs failed.

    Raises
    ------
    OtherNetwork
        If a worker's network is another one.
    RuntimeError
        If a worker has not what the lab needs.
    ConnectionError
        If the cluster is lost.
    """
    begun, told, failed = {}, Counter(), 0

    def handed_over():
        for job in jobs:
            begun[job.key] = job.name, job.size
            yield (
                job.key,
                (
                    job.work,
                    job.model,
                    job.weights,
                    job.image,
                    job.mask,
                    job.arguments,
                    job.key if in_calls else None,
                ),
            )

    def hear(event):
        _, (key, calls) = event
        if key in begun:
            step = min(calls, begun[key][1] - told[key])  # a job that is done again asks again
            told[key] += step
            bar.update(step)

    if in_calls:
        client.subscribe_topic(ASKED, hear)
    for key, result, error in in_parallel(client, perform, handed_over()):
        name, size = begun.pop(key)
        if error is not None:
            _raise_if_unfit(error)
            reason = (
                "its worker ended, each time it was tried"
                if isinstance(error, KilledWorker)
                else f"{type(error).__name__}: {error}"
            )
            say(f"failed {name}: {reason}")
            failed += 1
        else:
            keep(key, *result)
        bar.update(size - told.pop(key, 0))
    return failed


def _raise_if_unfit(error):
    """Stop at what is wrong with a worker, for it would fail with all other jobs, too."""
    if isinstance(error, OtherNetwork):
        raise error
    for missing in (error, error.__cause__):
        if isinstance(missing, ImportError):
            raise RuntimeError(
                f"a worker cannot import what it needs ({missing}): start it in this project's folder, with its requirements installed"
            ) from None


def say(line):
    """Print a line to the standard error, above the progress bar.

    Parameters
    ----------
    line : str
    """
    tqdm.write(line, file=sys.stderr)


async def _greet(scheduler):
    comm = await connect(
        scheduler, timeout=SCHEDULER_PATIENCE, **Security().get_connection_args("client")
    )
    await comm.close()


@contextlib.contextmanager
def cluster(scheduler, n_jobs):
    """A client of the cluster at an address, or of one made of this machine's cores.

    Parameters
    ----------
    scheduler : str or None
        The address.
    n_jobs : int
        More processes than that are not started.

    Yields
    ------
    dask.distributed.Client

    Raises
    ------
    ConnectionError
        If there is no scheduler at the address, or no worker comes to it.
    """
    for name in (
        "distributed",
        "distributed.client",
    ):  # all that matters of what they tell is said here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is None:
        n_workers = max(1, min(CPU_COUNT, MEMORY_LIMIT // MEMORY, n_jobs))
        # One thread each: what explaining costs beside the network does not run on several.
        one_thread = dict.fromkeys(
            ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
        )
        interrupt = signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # as the processes inherit it: Ctrl-C is for this one
        local = LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            memory_limit=None,
            env=one_thread,
            silence_logs=logging.CRITICAL,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        )
        signal.signal(signal.SIGINT, interrupt)
        with local, Client(local) as client:
            yield client
    else:
        try:
            # Before there is a client: one that finds nobody stays behind half made, and can hang whoever makes the next.
            asyncio.run(_greet(scheduler))
        except (
            Exception
        ) as error:  # what else may answer there, or the address be, has errors of its own
            raise ConnectionError(f"there is no Dask scheduler at {scheduler}: {error}") from None
        with Client(scheduler, timeout=SCHEDULER_PATIENCE) as client:
            try:
                client.wait_for_workers(1, timeout=WORKER_PATIENCE)
            except distributed.TimeoutError:  # not Python 3.10's own
                raise ConnectionError(
                    f"the scheduler at {scheduler} has had no worker for {WORKER_PATIENCE} seconds"
                ) from None
            yield client
