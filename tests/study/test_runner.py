import math
import os
import re
import signal
import subprocess
import sys
import time

import dask
import numpy as np
import pytest
from commands import start, wait_for
from counting import Counting
from PIL import Image

from lab.files import ROOT
from lab.study import runner
from lab.study.runner import OtherNetwork, run
from lab.study.store import Task, stored, version

# Workers import what follows from this file.


@version(1)
def echo(network, image, mask, number, nap=0):
    time.sleep(nap)
    variables = "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"
    about = {"process": os.getpid(), "threads": [os.environ.get(name) for name in variables]}
    return [{"number": number} | about], {"square": np.full(2, number**2)}


@version(1)
def raising(network, image, mask, kind):
    error = {"zero": ZeroDivisionError, "import": ModuleNotFoundError}[kind]
    raise error("No module named 'lime'")


@version(1)
def killing(network, image, mask):
    os._exit(1)


@version(1)
def killed_once(network, image, mask, flag):
    if not os.path.exists(flag):
        open(flag, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return [{"process": os.getpid()}], {}


@version(1)
def returning(network, image, mask, parts):
    return {name: ([part], {}) for name, part in list(parts.items())[:1]}


@version(1)
def numbers(network, image, mask):
    values = np.float32(0.1), np.int64(3), np.bool_(True), "ä", None, np.array(2.5), math.nan, 1 / 3
    return [dict(zip("abcdefgh", values))], {"map": np.eye(2, dtype=np.float16)}


@version(1)
def calling(network, image, mask, batches):
    called = [network(image[None].repeat(batch, axis=0)).mean() for batch in batches]
    time.sleep(0.5)  # events of model calls take another way than the result
    return [{"mean": called[0]}], {}


class Brightness(Counting):
    """In place of a network."""

    name, fingerprint, source, stands_in_for, input_size = "Cheap", "w", "code", None, 20
    runtime = "Python"

    def answer(self, images):
        return images.mean((1, 2, 3))[:, None] + np.zeros(1000)


def task(function, calls=10, image=None, **arguments):
    return Task("runs", function, image and "squeezenet", image, arguments, calls)


def outcomes(tasks, folder, **options):
    """What `run` yields: states, and results of the whole of what is finished."""
    found = {key: (state, parts) for key, state, parts in run(tasks, folder, **options)}
    states = {key: state for key, (state, _) in found.items()}
    return states, {key: parts[""] for key, (_, parts) in found.items() if "" in parts}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("dask.system.CPU_COUNT", 2)
    return tmp_path / "store"


def test_processes_of_one_thread_finish_tasks_and_a_killed_one_is_replaced(tmp_path, folder):
    tasks = {str(n): task(echo, number=n, nap=0.3) for n in range(6)}
    tasks["killed"] = task(killed_once, calls=1, flag=str(tmp_path / "flag"))
    states, results = outcomes(tasks, folder)
    assert states == dict.fromkeys(tasks, "finished")
    rows = [results[str(n)].rows[0] for n in range(6)]
    assert [row["number"] for row in rows] == [*range(6)]
    assert all(row["threads"] == ["1", "1"] for row in rows)
    processes = {row["process"] for row in rows}
    assert len(processes) == 2 and os.getpid() not in processes
    assert results["3"].arrays["square"].tolist() == [9, 9]


def test_what_fails_is_named_and_the_rest_is_done_and_not_done_again(capsys, monkeypatch, folder):
    tasks = {
        "a": task(echo, number=1),
        "b": task(raising, kind="zero"),
        "c": task(killing),
        "d": task(returning)._replace(parts={"one": {}, "two": {}}),
        "f": task(echo, number=2),
    }
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        states, results = outcomes(tasks, folder)
    assert states == dict.fromkeys("af", "finished") | dict.fromkeys("bcd", "failed")
    errors = capsys.readouterr().err
    assert "failed runs, zero: ZeroDivisionError(" in errors
    assert "failed runs: its process ended each time" in errors
    assert "measured one" in errors
    monkeypatch.setattr(runner, "_processes", lambda *_: pytest.fail("a process was started"))
    again = outcomes({key: tasks[key] for key in "af"}, folder)[1]
    assert [again[key].rows for key in "af"] == [results[key].rows for key in "af"]


def test_what_no_worker_can_do_ends_the_run(scheduler, folder):
    with pytest.raises(RuntimeError, match="a worker cannot import .*'lime'.*requirements"):
        outcomes({"x": task(raising, kind="import")}, folder, scheduler=scheduler)


def test_stored_results_are_exact(scheduler, folder):
    one = task(numbers)
    states, results = outcomes({"n": one}, folder, scheduler=scheduler)
    [row] = results["n"].rows
    expected = [float(np.float32(0.1)), 3, True, "ä", None, 2.5, math.nan, 1 / 3]
    assert repr([*row.values()]) == repr(expected)
    assert results["n"].about["numpy"] == np.__version__ and results["n"].about["version"] == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", results["n"].about["date"])
    found = stored(folder, "n", one)
    assert repr(found) == repr({"": results["n"]})
    assert found[""].arrays["map"].dtype == np.float16


@version(1)
def by_parts(network, image, mask, parts):
    return {name: ([part | {"of": len(parts)}], {}) for name, part in parts.items()}


def test_parts_that_are_not_stored_are_measured(scheduler, folder):
    def measured(*names):
        parts = {name: {"name": name} for name in names}
        one = Task("runs", by_parts, None, None, {}, 9, parts)
        [(_, state, results)] = run({"k": one}, folder, scheduler)
        assert state == "finished" and [*results] == [*names]
        return {name: result.rows[0]["of"] for name, result in results.items()}

    assert measured("a", "b") == {"a": 2, "b": 2}
    assert measured("c", "a", "b") == {"c": 1, "a": 2, "b": 2}


def test_where_nothing_can_be_stored_work_goes_on_and_a_line_says_so(scheduler, folder, capsys):
    folder.touch()  # so that it cannot be a folder
    tasks = {str(n): task(echo, number=n) for n in range(3)}
    states, results = outcomes(tasks, folder, scheduler=scheduler)
    assert set(states.values()) == {"finished"} and len(results) == 3
    assert "interrupted work starts again" in capsys.readouterr().err


@pytest.fixture
def cheap(monkeypatch):
    monkeypatch.setattr(runner, "network", lambda model: Brightness())


def test_another_network_on_a_worker_is_refused(scheduler, cheap, tmp_path, monkeypatch, folder):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    inputs = runner.inputs
    monkeypatch.setattr(runner, "inputs", lambda *args: ("other", *inputs(*args)[1:]))
    with pytest.raises(OtherNetwork, match="loads Cheap.*LAB_BLACKBOX and LAB_WEIGHTS"):
        one = task(calling, image=tmp_path / "a.png", batches=[1])
        outcomes({"x": one}, folder, scheduler=scheduler)


def test_the_bar_moves_with_model_calls(scheduler, cheap, tmp_path, monkeypatch, folder):
    steps = []
    monkeypatch.setattr(runner.tqdm, "update", lambda bar, n: steps.append(n))
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    for batches, expected in (([30, 20], [30, 20, 50]), ([70, 40], [70, 40, -10])):
        steps.clear()
        one = task(calling, 100, tmp_path / "a.png", batches=batches)
        outcomes({str(batches): one}, folder, scheduler=scheduler)
        assert steps == expected


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "tls://127.0.0.1:9"])
def test_a_scheduler_that_is_not_there_is_named_soon(monkeypatch, address, folder):
    monkeypatch.setattr(runner, "SCHEDULER_PATIENCE", 1)
    started = time.monotonic()
    with pytest.raises(ConnectionError, match=f"no Dask scheduler at {address}"):
        outcomes({"x": task(echo, number=1)}, folder, scheduler=address)
    assert time.monotonic() - started < 30  # a client itself may wait for ever


def test_a_scheduler_without_a_worker_or_that_ends_is_named(monkeypatch, tmp_path, folder):
    known, started = tmp_path / "scheduler.json", []

    def begin(*arguments):
        options = "--no-dashboard", "--scheduler-file", known
        started.append(start("-m", "dask", *arguments, *options, stderr=subprocess.DEVNULL))

    try:
        begin("scheduler", "--host", "127.0.0.1", "--port", "0")
        wait_for(known.exists)
        address = re.search(r"tcp://[\d.:]+", known.read_text())[0]
        monkeypatch.setattr(runner, "WORKER_PATIENCE", 1)
        with pytest.raises(ConnectionError, match=f"{address} has had no worker for 1 seconds"):
            outcomes({"x": task(echo, number=1)}, folder, scheduler=address)
        monkeypatch.setattr(runner, "WORKER_PATIENCE", 60)
        begin("worker", "--nthreads", "1", "--no-nanny")
        done = []
        with pytest.raises(ConnectionError, match="Start it and its workers again"):
            tasks = {str(n): task(echo, number=n, nap=0.2) for n in range(50)}
            for key, _, _ in run(tasks, folder, scheduler=address):
                done.append(key)
                if len(done) == 2:
                    started[0].kill()
        assert 2 <= len(done) < 50 and all(stored(folder, key, tasks[key]) for key in done)
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_worker_starts_without_heavy_packages():
    heavy = "tensorflow", "keras", "matplotlib", "sklearn", "shap", "skimage", "pandas"
    code = f"import sys, lab.study.runner; print(*sys.modules.keys() & set({heavy}))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert loaded.stdout.strip() == "", loaded.stdout
