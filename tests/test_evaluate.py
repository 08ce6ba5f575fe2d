import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dask.distributed import Client, LocalCluster
from PIL import Image

from lab import evaluate
from lab.files import ROOT
from lab.networks.classes import class_name
from lab.images import load_image, load_mask
from lab.study import engine
from lab.study.results import Store

METHODS = ["lime", "rise"]
LOG = "EVALUATE_TEST_LOG"
SLEEP = 0.15


# Workers import what follows from this file, in place of what takes a network.


def describe(model):
    return {
        "network": "fake",
        "stands_in_for": None,
        "weights": "w",
        "input_size": 40,
        "said": f"{model} is faked.",
    }


def measure_with_gains():
    """In place of lab.study.evaluation's, which takes seconds to import; `perform` does without."""


def perform(work, model, weights, image, mask, arguments, key=None):
    """Rows that tell which picture they are about; each call leaves a line in a file."""
    brightness = int(image.mean())
    with open(os.environ[LOG], "a") as log:
        log.write(f"{brightness} {os.getpid()}\n")
    time.sleep(SLEEP)
    area = np.nan if mask is None else mask.mean()
    label = arguments["label"]
    about = {
        "label": 0 if label is None else label,
        "predicted": "unused",
        "probability": 0.5 if brightness else 0.00008,
        "calls": 7,
    }
    return [
        {"method": method} | about | {"brightness": brightness, "area": area, "seconds": 0.0}
        for method in arguments["methods"]
    ], {}


def lacking(*arguments):
    raise ModuleNotFoundError("No module named 'lime'")


def run(address, folder, out, **options):
    with Client(address) as client:
        return evaluate.evaluate(client, folder, "squeezenet", METHODS, out, **options)


if __name__ == "__main__":  # a whole run that can be killed
    import test_evaluate

    engine.describe, engine.perform = test_evaluate.describe, test_evaluate.perform
    sys.modules["lab.study.evaluation"] = test_evaluate
    run(*sys.argv[1:])
    sys.exit()


@pytest.fixture
def faked(monkeypatch):
    monkeypatch.setattr(engine, "describe", describe)
    monkeypatch.setattr(engine, "perform", perform)
    monkeypatch.setitem(sys.modules, "lab.study.evaluation", sys.modules[__name__])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers, each a process of its own, on 127.0.0.1: its address, their processes, and the log."""
    folder = tmp_path_factory.mktemp("cluster")
    environment = os.environ | {
        LOG: str(folder / "log"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    os.environ[LOG] = environment[LOG]
    known, started = folder / "scheduler.json", []

    def start(*arguments):
        command = [
            sys.executable,
            "-m",
            "dask",
            *arguments,
            "--no-dashboard",
            "--scheduler-file",
            str(known),
        ]
        started.append(
            subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.DEVNULL)
        )

    try:
        start("scheduler", "--host", "127.0.0.1", "--port", "0")
        for _ in range(2):
            start("worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny")
        deadline = time.monotonic() + 60
        while not known.exists():
            assert time.monotonic() < deadline and started[0].poll() is None
            time.sleep(0.05)
        address = json.loads(known.read_text())["address"]
        assert "127.0.0.1" in address
        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, started[1:], Path(environment[LOG])
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture
def pictures(tmp_path):
    """Twelve pictures of two classes, each as bright as no other, some with masks; and a broken file."""
    brightness = {}
    for kind in ("African_elephant", "black_bear"):
        (tmp_path / "pictures" / kind).mkdir(parents=True)
        (tmp_path / "pictures" / "masks" / kind).mkdir(parents=True)
        for number in range(6):
            name = f"{kind}/{number}.png"
            brightness[name] = 20 * len(brightness)
            Image.new("RGB", (30, 20), (brightness[name],) * 3).save(tmp_path / "pictures" / name)
    half = np.zeros((20, 30), bool)
    half[:10] = True
    Image.fromarray(half).save(tmp_path / "pictures" / "masks" / "black_bear" / "0.png")
    (tmp_path / "pictures" / "black_bear" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return tmp_path / "pictures", brightness


def assert_complete(out, brightness):
    table = pd.read_csv(out, keep_default_na=False)
    assert [*zip(table.picture, table.method)] == [
        (name, method) for name in sorted(brightness) for method in METHODS
    ]
    assert (table.brightness == table.picture.map(brightness)).all()
    kinds = table.picture.str.split("/").str[0].map({"African_elephant": 386, "black_bear": 295})
    assert (table.class_index == kinds).all() and set(table["class"]) == {
        "African_elephant",
        "American_black_bear",
    }
    assert set(table.network) == {"fake"} and set(table.class_from) == {"folder"}
    masked = table.picture == "black_bear/0.png"
    assert table.area[masked].astype(float).between(0.49, 0.51).all() and set(
        table.area[~masked]
    ) == {""}


def logged(log):
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def test_a_killed_run_goes_on_and_repeats_no_finished_picture(
    cluster, faked, pictures, tmp_path, capsys
):
    address, _, log = cluster
    folder, brightness = pictures
    out = tmp_path / "results.csv"
    log.unlink(missing_ok=True)
    command = [sys.executable, __file__, address, str(folder), str(out)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (out.exists() and out.read_text().count("\n") > 5):
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.02)
    first.kill()
    first.communicate()
    finished = {row["picture"] for row in csv.DictReader(out.read_text().splitlines())}
    assert 2 < len(finished) < 12
    assert run(address, folder, out) == (12, 1, 0, 1)
    assert_complete(out, brightness)
    counts = pd.Series([int(level) for level, _ in logged(log)]).value_counts()
    assert (counts[[brightness[name] for name in finished]] == 1).all()
    said = capsys.readouterr().err
    assert (
        re.findall(r"skipped: \S+/(black_bear/\S+) is not a JPEG", said)
        == ["black_bear/broken.jpg"]
        and f"{len(finished)}/13" in said
    )
    # Nothing is left: nothing is done again, and the file stays as it is.
    before, calls = out.read_bytes(), len(logged(log))
    assert run(address, folder, out) == (12, 1, 0, 1)
    assert out.read_bytes() == before and len(logged(log)) == calls
    with pytest.raises(ValueError, match="holds results with budget 1000, not 10"):
        run(address, folder, out, budget=10)
    assert out.read_bytes() == before


def test_the_command_line_on_a_cluster(cluster, faked, tmp_path, capsys, monkeypatch):
    """No class in the folder's name: the predicted class is asked for. Without a sound picture, or a sound worker, it fails."""
    folder, out = tmp_path / "holiday", tmp_path / "results.csv"
    folder.mkdir()
    Image.new("RGB", (30, 20), "white").save(folder / "one.png")
    arguments = [
        str(folder),
        "--model",
        "resnet50",
        "--methods",
        "centre,edges,centre",
        "--out",
        str(out),
        "--scheduler",
        cluster[0],
    ]
    evaluate.main(arguments)
    said = capsys.readouterr()
    assert said.err.count("resnet50 is faked.") == 1 and "holiday is no class" in said.err
    assert said.out.endswith("1 finished, 0 skipped that could not be read, 0 failed\n")
    table = pd.read_csv(out)
    assert (
        table.method.tolist() == ["centre", "edges"]
        and set(table.class_from) == {"prediction"}
        and set(table.class_index) == {0}
    )
    assert set(table.brightness) == {255} and set(table.budget) == {1000} and set(table.seed) == {0}
    out.unlink()
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(engine, "perform", lacking)
        evaluate.main(arguments)
    assert (
        "a worker cannot import what it needs (No module named 'lime')" in ended.value.code
        and not out.exists()
    )
    (folder / "one.png").unlink()
    (folder / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(SystemExit) as ended:
        evaluate.main(arguments)
    assert "No picture could be measured: 0 finished, 1 skipped" in ended.value.code
    assert f"skipped: {folder}/broken.png is not" in capsys.readouterr().err and not out.exists()


def test_a_worker_that_is_killed_loses_no_result_and_doubles_none(
    cluster, faked, pictures, tmp_path, monkeypatch
):
    address, workers, log = cluster
    folder, brightness = pictures
    log.unlink(missing_ok=True)
    killed = []

    def kill_when_busy(jobs):
        for number, job in enumerate(jobs):
            yield job
            if number == 5:  # both workers have a picture each
                deadline = time.monotonic() + 30
                while not logged(log) or int(logged(log)[-1][0]) != brightness[job[0]]:
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
                pid = int(logged(log)[-1][1])
                os.kill(pid, signal.SIGKILL)
                killed.append((pid, job[0]))

    in_parallel = engine.in_parallel
    monkeypatch.setattr(
        engine,
        "in_parallel",
        lambda client, work, jobs: in_parallel(client, work, kill_when_busy(jobs)),
    )
    assert run(address, folder, tmp_path / "results.csv") == (12, 1, 0, 1)
    assert_complete(tmp_path / "results.csv", brightness)
    ((pid, name),) = killed
    assert (
        pid in [process.pid for process in workers]
        and sum(process.poll() is None for process in workers) == 1
    )
    # The picture it was busy with was begun once more, by the other one, which did the rest alone.
    begun = [worker for level, worker in logged(log) if int(level) == brightness[name]]
    assert len(begun) == 2 and begun[0] == str(pid) != begun[1]
    assert len({worker for _, worker in logged(log)}) == 2


def test_pictures_of_an_improbable_class_are_counted(cluster, faked, pictures, tmp_path, capsys):
    (pictures[0] / "black_bear" / "broken.jpg").unlink()
    arguments = [
        "--model",
        "resnet50",
        "--methods",
        "lime",
        "--out",
        str(tmp_path / "results.csv"),
        "--scheduler",
        cluster[0],
    ]
    evaluate.main([str(pictures[0]), *arguments])
    counted = "12 finished, 0 skipped that could not be read, 0 failed; 1 explained for a class that the network gives a probability below 0.01"
    assert counted in capsys.readouterr().out


def test_the_command_line_on_this_machines_cores(tmp_path):
    """The whole command as users type it, with a folder of one class, whose masks are beside it."""
    out = tmp_path / "results.csv"
    folder = tmp_path / "African_elephant"
    folder.mkdir()
    source = ROOT / "data" / "African_elephant" / "elephant_1_dune.jpg"
    (folder / source.name).write_bytes(source.read_bytes())
    (tmp_path / "masks" / folder.name).mkdir(parents=True)
    mask = ROOT / "data" / "masks" / folder.name / f"{source.stem}.png"
    (tmp_path / "masks" / folder.name / mask.name).write_bytes(mask.read_bytes())
    command = [
        "-m",
        "lab.evaluate",
        str(folder),
        "--model",
        "resnet50",
        "--methods",
        "centre",
        "--out",
        str(out),
    ]
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert (
        "1 finished" in ended.stdout
        and "Traceback" not in ended.stderr
        and "WARNING" not in ended.stderr
    )
    (row,) = pd.read_csv(out).to_dict("records")
    assert row["class"] == "African_elephant" and row["class_from"] == "folder"
    assert row["network"] == "SqueezeNet 1.1" and row["stands_in_for"] == "ResNet50"
    assert ended.stderr.count("SqueezeNet 1.1 stands in for ResNet50") == 1
    truth = load_mask(source, 227)
    assert row["pointing_game"] == truth[113, 113] and row["iou_mask"] > 0


@pytest.fixture
def results(tmp_path):
    """A file of results of three pictures with names that CSV has to quote, and what `recover` is told."""
    identity = {"network": "net", "stands_in_for": None, "budget": 7}
    rows = {
        name: [
            {"picture": name, "method": method, "digest": f"d{name}", "value": 0.125} | identity
            for method in METHODS
        ]
        for name in ('a "b", c.png', "line\nbreak\n.png", "ä.png")
    }
    out = tmp_path / "results.csv"
    store = Store(out, "picture", "name another file with --out, or delete it")
    for name in rows:
        store.add(name, rows[name])
    return store, identity, rows


def test_wherever_a_crash_cuts_the_file_whole_pictures_are_kept(results):
    store, identity, rows = results
    out = store.path
    whole = out.read_bytes()
    lengths, part = {}, {}
    for name in rows:
        part[name] = rows[name]
        store.write(part)
        lengths[name] = out.stat().st_size
    assert max(lengths.values()) == len(whole)
    recovered = set()
    for cut in range(min(lengths.values()), len(whole) + 1):
        out.write_bytes(whole[:cut] + (b"" if cut % 2 else b"\0\0\0"))
        done = evaluate.recover(store, identity, "d{}".format, METHODS)
        assert list(done) == [name for name in rows if lengths[name] <= cut]
        assert (
            out.read_bytes() == whole[: max(length for length in lengths.values() if length <= cut)]
        )
        assert {
            name: [row["method"] for row in found] for name, found in done.items()
        } == dict.fromkeys(done, METHODS)
        recovered.add(len(done))
    assert recovered == {1, 2, 3}
    for name in rows:
        if name not in done:
            store.add(name, rows[name])
    assert out.read_bytes() == whole


def test_results_of_other_arguments_are_not_mixed(results):
    store, identity, _ = results
    out = store.path
    before = out.read_bytes()
    for other, digests, methods, message in [
        ({"network": "other"}, "d{}".format, METHODS, "network net, not other"),
        ({"stands_in_for": "Xception"}, "d{}".format, METHODS, "stands_in_for none, not Xception"),
        ({"budget": 8}, "d{}".format, METHODS, "budget 7, not 8"),
        ({}, "d{}".format, ["lime"], "methods lime, rise, not lime"),
        ({}, "d{}".format, ["lime", "rise", "shap"], "methods lime, rise, not lime, rise, shap"),
        ({}, lambda name: None, METHODS, "not in this folder"),
        ({}, "e{}".format, METHODS, "another one"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate.recover(store, identity | other, digests, methods)
        assert out.read_bytes() == before
    out.write_text("name,score\nsomebody,3\n")
    with pytest.raises(ValueError, match="no result of this command"):
        evaluate.recover(store, identity, "d{}".format, METHODS)
    assert out.read_text() == "name,score\nsomebody,3\n"


def test_an_empty_or_missing_file_of_results_holds_nothing(tmp_path):
    (tmp_path / "empty.csv").touch()
    for name in ("none.csv", "empty.csv"):
        assert evaluate.recover(Store(tmp_path / name, "picture", ""), {}, None, METHODS) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["empty.csv"]


def test_pictures_are_found_in_all_folders_but_masks_and_hidden_ones(tmp_path):
    for name in (
        "b/1.JPG",
        "b/2.txt",
        "a/deep/3.webp",
        "4.png",
        "masks/b/1.png",
        ".hidden/5.png",
        "b/._1.jpg",
        "b/masks/6.jpeg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    found = evaluate.find_pictures(tmp_path)
    assert list(found) == ["4.png", "a/deep/3.webp", "b/1.JPG", "b/masks/6.jpeg"]
    assert all(path == tmp_path / name for name, path in found.items())


@pytest.mark.parametrize(
    "changed, message",
    [
        (["nowhere"], "no folder"),
        (["masks"], "no picture in"),
        (["crane"], "'crane' names the classes 134 and 517"),
        (["--methods", "lime,foo"], "got 'foo'"),
        (["--methods", ""], "got ''"),
        (["--budget", "0"], "--budget must be from 1 to inf, got 0"),
        (["--seed", "-1"], "--seed"),
        (["--out", "nowhere/results.csv"], "nothing can be written to .*nowhere"),
        (["--out", "crane"], "is a folder"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_started(
    pictures, tmp_path, monkeypatch, changed, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crane").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "crane" / "one.png")
    (tmp_path / "masks").mkdir()
    monkeypatch.setattr(engine, "cluster", lambda *_: pytest.fail("started"))
    arguments = ["--model", "squeezenet", "--methods", "lime", "--out", "results.csv"]
    arguments = [*changed, *arguments] if len(changed) == 1 else ["pictures", *arguments, *changed]
    with pytest.raises(SystemExit) as ended:
        evaluate.main(arguments)
    assert re.search(message, ended.value.code) and "\n" not in ended.value.code
    assert not (tmp_path / "results.csv").exists()
