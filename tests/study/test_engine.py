import functools
import io
import os
import re
import signal
import threading
import time

import dask
import numpy as np
import pytest
from dask.distributed import Client, KilledWorker, LocalCluster
from PIL import Image
from tqdm import tqdm

from lab.study import engine
from lab.study.engine import OtherNetwork, perform
from lab.study.task import Job, Task, picture_digest

# Workers import what follows from this file.


def fail(number):
    if number == 1:
        raise ZeroDivisionError("one")
    if number == 2:
        os._exit(1)
    return number * 10


def process_and_threads(network, image, mask, nap):
    time.sleep(nap)
    return [
        {
            "process": os.getpid(),
            "threads": os.environ["TF_NUM_INTRAOP_THREADS"],
            "omp": os.environ["OMP_NUM_THREADS"],
        }
    ], {}


def lacking(network, image, mask):
    raise ModuleNotFoundError("No module named 'lime'")


def other_network(network, image, mask):
    raise OtherNetwork("another")


def rows_of(network, image, mask, rows):
    return rows, {"shown": [1, 2]}


def looked_at(network, image, mask, label):
    return [{"probability": network(image[None])[0, label], "mask": mask.sum()}], {}


def long(network, image, mask, key, batches):
    """Stands for a task that asks a network in batches, and then takes its time."""
    telling = engine._Telling(len, key)
    assert [telling(range(batch)) for batch in batches] == batches
    time.sleep(1)
    return [{"n": 1}], {}


def job(key, work, **arguments):
    return Job(key, f"job {key}", work, None, None, None, None, arguments, 2)


@pytest.fixture
def bar():
    with tqdm(file=io.StringIO()) as bar:
        yield bar


def test_work_that_fails_or_ends_its_worker_is_reported_and_the_rest_is_done():
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        with LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            dashboard_address=None,
            host="127.0.0.1",
            silence_logs=50,
        ) as local:
            with Client(local) as client:
                got = {
                    name: (result, type(error))
                    for name, result, error in engine.in_parallel(
                        client, fail, ((str(number), (number,)) for number in range(5))
                    )
                }
    nothing = type(None)
    assert got == {
        "0": (0, nothing),
        "1": (None, ZeroDivisionError),
        "2": (None, KilledWorker),
        "3": (30, nothing),
        "4": (40, nothing),
    }


def test_a_process_each_with_one_thread_and_a_killed_one_is_replaced(monkeypatch, bar, capsys):
    monkeypatch.setattr(engine, "CPU_COUNT", 2)
    kept = {}

    def keep(key, rows, arrays):
        kept[key] = rows[0]
        if len(kept) == 2:  # another job is begun in either process
            threading.Timer(0.3, os.kill, [rows[0]["process"], signal.SIGKILL]).start()

    with engine.cluster(None, 5) as client:
        assert (
            engine.run(
                client,
                (job(str(n), process_and_threads, nap=1 if n > 1 else 0) for n in range(5)),
                keep,
                bar,
            )
            == 0
        )
        assert len(kept) == 5 and bar.n == 10
        assert {(row["threads"], row["omp"]) for row in kept.values()} == {("1", "1")}
        assert len({row["process"] for row in kept.values()}) >= 2 and os.getpid() not in {
            row["process"] for row in kept.values()
        }
        # What no worker could do ends the whole run.
        for work, error, message in [
            (lacking, RuntimeError, "cannot import what it needs.*'lime'"),
            (other_network, OtherNetwork, "another"),
        ]:
            with pytest.raises(error, match=message):
                engine.run(client, [job("x", work)], keep, bar)
        # What fails otherwise is named and counted.
        assert (
            engine.run(
                client, [job("a", rows_of, rows=[]), job("b", rows_of, rows=[{"n": 1}])], keep, bar
            )
            == 1
        )
        assert (
            "failed job a: ValueError: rows_of gave no row\n" in capsys.readouterr().err
            and kept["b"] == {"n": 1}
        )


def test_the_bar_moves_while_a_long_job_is_done():
    class Bar:
        steps = []

        def update(self, n):
            self.steps.append(n)

    # The first asks less than was estimated, the second more.
    jobs = [
        Job(key, key, long, None, None, None, None, {"key": key, "batches": batches}, 100)
        for key, batches in (("a", [30, 20]), ("b", [90, 90]))
    ]
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            dashboard_address=None,
            host="127.0.0.1",
            silence_logs=50,
        ) as local,
        Client(local) as client,
    ):
        assert engine.run(client, jobs, lambda *_: None, Bar(), in_calls=True) == 0
    assert Bar.steps == [30, 20, 50, 90, 10, 0]


def test_rows_hold_pythons_own_numbers():
    rows, arrays = perform(
        rows_of,
        None,
        None,
        None,
        None,
        {
            "rows": [
                {
                    "a": np.float32(0.1),
                    "b": np.int64(3),
                    "c": np.bool_(True),
                    "d": "x",
                    "e": None,
                    "f": np.array(2.5),
                }
            ]
        },
    )
    assert [(type(value), value) for value in rows[0].values()] == [
        (float, float(np.float32(0.1))),
        (int, 3),
        (bool, True),
        (str, "x"),
        (type(None), None),
        (float, 2.5),
    ]
    assert isinstance(arrays["shown"], np.ndarray)


def test_a_network_is_asked_and_another_one_refused():
    from lab.networks import loading

    network = loading.load_or_stand_in("resnet50")
    about = engine.describe("resnet50")
    assert {
        name: about[name]
        for name in ("network", "stands_in_for", "weights", "source", "input_size")
    } == {
        "network": "SqueezeNet 1.1",
        "stands_in_for": "ResNet50",
        "weights": network.fingerprint,
        "source": network.source,
        "input_size": 227,
    }
    image, mask = (
        np.random.default_rng(0).integers(0, 256, (227, 227, 3)).astype(np.uint8),
        np.eye(227, dtype=bool),
    )
    [row], _ = perform(looked_at, "resnet50", about["weights"], image, mask, {"label": 17})
    assert row == {"probability": pytest.approx(network(image[None])[0, 17]), "mask": 227}
    with pytest.raises(OtherNetwork, match="SqueezeNet 1.1.*LAB_BLACKBOX"):
        perform(looked_at, "resnet50", "other", image, mask, {"label": 17})


def test_networks_are_those_of_lab_networks():
    from lab.networks import loading

    assert list(engine.MODELS) == list(loading._LOADERS)
    assert [name for name, how in engine.MODELS.items() if how == "load_or_stand_in"] == list(
        loading._STAND_INS
    )


def test_a_task_is_what_it_measures(tmp_path):
    task = Task("runs", fail, "xception", tmp_path / "a.png", {"seed": 0, "classes": (1, 2)}, 10)
    key = task.key("w", "d")
    assert re.fullmatch("[0-9a-f]{16}", key)
    same = [
        task._replace(work=perform),
        task._replace(calls=7),
        task._replace(picture=tmp_path / "b.png"),
        task._replace(network="resnet50"),
        task._replace(arguments={"classes": [1, 2], "seed": 0}),
    ]
    others = [
        (task._replace(table="others"), "w", "d"),
        (task._replace(arguments={"seed": 1, "classes": (1, 2)}), "w", "d"),
        (task, "v", "d"),
        (task, "w", "e"),
        (task, None, None),
    ]
    assert {other.key("w", "d") for other in same} == {key}
    assert len({key, *(other.key(weights, digest) for other, weights, digest in others)}) == 6


def test_a_picture_or_mask_that_changed_has_another_digest(tmp_path):
    picture, mask = tmp_path / "bear" / "0.png", tmp_path / "masks" / "bear" / "0.png"
    for path in (picture, mask):
        path.parent.mkdir(parents=True)
        Image.new("L", (4, 4)).save(path)
    digests = [picture_digest(picture)]
    for change in (
        functools.partial(mask.write_bytes, b"other"),
        mask.unlink,
        functools.partial(picture.write_bytes, b"other"),
    ):
        change()
        digests.append(picture_digest(picture, tmp_path))
    assert len(set(digests)) == 4 and digests[-1] == picture_digest(picture)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "tls://127.0.0.1:9"])
def test_a_cluster_that_is_not_there_is_named_soon(monkeypatch, address):
    assert engine.SCHEDULER_PATIENCE <= 15
    monkeypatch.setattr(engine, "SCHEDULER_PATIENCE", 1)
    started = time.monotonic()
    with pytest.raises(ConnectionError, match=f"no Dask scheduler at {address}"):
        with engine.cluster(address, 1):
            pass
    assert time.monotonic() - started < 5


def test_a_cluster_without_a_worker_is_named(monkeypatch):
    monkeypatch.setattr(engine, "WORKER_PATIENCE", 1)
    with LocalCluster(
        n_workers=0, dashboard_address=None, host="127.0.0.1", silence_logs=50
    ) as empty:
        with pytest.raises(
            ConnectionError, match=f"{empty.scheduler_address} has had no worker for 1 seconds"
        ):
            with engine.cluster(empty.scheduler_address, 1):
                pass
