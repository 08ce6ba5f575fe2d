import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask.system
import numpy as np
import pandas as pd
import pytest
from commands import ended, saved, start
from PIL import Image

from lab import evaluate, runner
from lab.files import ROOT, lock
from lab.images import DATA, load_mask

METHODS = ["lime", "rise"]
LOG = "EVALUATE_TEST_LOG"


class Network:
    """In place of a network."""

    name, fingerprint, source, stands_in_for, input_size = "Cheap", "w", "code", None, 40
    runtime = "Python"

    def __init__(self, model):
        pass


@runner.version(1)
def gains_task(network, image, mask, label, methods, budget, seed, maps=False):
    """In place of that of the study: each call leaves a line in a file."""
    brightness = int(image.mean())
    with open(os.environ[LOG], "a") as log:
        log.write(f"{brightness}\n")
    time.sleep(0.15)
    about = {"label": label or 0, "predicted": "unused", "calls": 7, "seconds": 0.0}
    about |= {"probability": 0.5 if brightness else 0.00008, "brightness": brightness}
    area = np.nan if mask is None else mask.mean()
    arrays = {"maps": np.stack([image[..., 0] / 1] * len(methods))} if maps else {}
    return [{"method": method, "area": area} | about for method in methods], arrays


def perform(*arguments, real=runner._perform):
    """On a worker of a command that is ended."""
    runner.network = Network
    return real(*arguments)


if __name__ == "__main__":  # the command with two processes of its own, to be ended
    import test_evaluate

    runner._perform, runner.MEMO = test_evaluate.perform, Path(os.environ[LOG]).with_name("memo")
    runner.network = evaluate.network = test_evaluate.Network
    sys.modules["lab.study.evaluation"] = test_evaluate
    dask.system.CPU_COUNT = 2
    evaluate.main(sys.argv[1:])
    sys.exit()


@pytest.fixture
def command(tmp_path, monkeypatch, scheduler, capsys):
    """The command: the levels of brightness that it measured, and what it printed."""
    log = tmp_path / "log"
    monkeypatch.setenv(LOG, str(log))
    monkeypatch.setattr(runner, "MEMO", tmp_path / "memo")
    monkeypatch.setitem(sys.modules, "lab.study.evaluation", sys.modules[__name__])
    for module in (runner, evaluate):
        monkeypatch.setattr(module, "network", Network)

    def run(folder, **changed):
        options = {"model": "squeezenet", "methods": ",".join(METHODS), "scheduler": scheduler}
        options |= {"out": tmp_path / "results.csv"} | changed
        log.unlink(missing_ok=True)
        named = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        code = None
        try:
            evaluate.main([str(folder), *named])
        except SystemExit as stopped:
            code = stopped.code
        printed = capsys.readouterr()
        lines = log.read_text().splitlines() if log.exists() else []
        return sorted(map(int, lines)), code or printed.out, printed.err

    return run


@pytest.fixture
def images(tmp_path):
    """Twelve images of two classes, each as bright as no other, and a broken file."""
    brightness = {}
    for kind in ("African_elephant", "black_bear"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        (tmp_path / "images" / "masks" / kind).mkdir(parents=True)
        for number in range(6):
            name = f"{kind}/{number}.png"
            brightness[name] = 20 * len(brightness)
            Image.new("RGB", (30, 20), (brightness[name],) * 3).save(tmp_path / "images" / name)
    half = np.zeros((20, 30), bool)
    half[:10] = True
    Image.fromarray(half).save(tmp_path / "images" / "masks" / "black_bear" / "0.png")
    (tmp_path / "images" / "black_bear" / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    return tmp_path / "images", brightness


def assert_complete(out, brightness):
    table = pd.read_csv(out, keep_default_na=False)
    expected = [(name, method) for name in sorted(brightness) for method in METHODS]
    assert [*zip(table.picture, table.method)] == expected
    assert (table.brightness == table.picture.map(brightness)).all()
    kinds = table.picture.str.split("/").str[0].map({"African_elephant": 386, "black_bear": 295})
    assert (table.class_index == kinds).all()
    assert set(table["class"]) == {"African_elephant", "American_black_bear"}
    assert set(table.network) == {"Cheap"} and set(table.class_from) == {"folder"}
    masked = table.picture == "black_bear/0.png"
    assert table.area[masked].astype(float).between(0.49, 0.51).all()
    assert set(table.area[~masked]) == {""}
    assert set(table.budget) == {1000} and set(table.seed) == {0}


def test_what_is_saved_when_the_signal_comes_is_in_the_file(command, images, monkeypatch):
    folder, _ = images
    command(folder)
    out = folder.with_name("results.csv")
    before = out.read_bytes()
    out.unlink()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "run", interrupted)
    assert "Stopped" in command(folder)[1]
    assert out.read_bytes() == before


def test_an_ended_run_goes_on_and_repeats_nothing(command, images, tmp_path):
    folder, brightness = images
    out = tmp_path / "results.csv"
    options = "--model", "squeezenet", "--methods", "lime,rise", "--out", out
    errors = ended(signal.SIGTERM, __file__, folder, *options)
    assert "Traceback" not in errors and errors.endswith("the same command goes on.\n")
    first = {row["brightness"] for row in saved()}
    # The file holds what is finished.
    assert set(pd.read_csv(out).brightness) == first and 3 <= len(first) < 9
    measured, printed, errors = command(folder)
    assert measured == sorted(set(brightness.values()) - first)
    assert "12 finished, 1 skipped that could not be read, 0 failed; 1 explained for" in printed
    assert re.findall(r"skipped (\S+):", errors) == ["broken.jpg"]
    assert_complete(out, brightness)
    before = out.read_bytes()
    assert command(folder)[0] == [] and out.read_bytes() == before


def test_maps_are_written_beside_and_again_after_they_were_lost(command, images, tmp_path):
    folder, brightness = images
    command(folder, maps=tmp_path / "maps")
    lost = tmp_path / "maps" / "black_bear" / "3.png.npz"
    before = lost.read_bytes()
    lost.unlink()
    assert command(folder, maps=tmp_path / "maps")[0] == [] and lost.read_bytes() == before
    for name, level in brightness.items():
        with np.load(tmp_path / "maps" / f"{name}.npz", allow_pickle=False) as saved:
            assert saved["methods"].tolist() == METHODS and saved["maps"].shape == (2, 40, 40)
            assert (saved["maps"] == level).all() and saved["network"] == "Cheap"
            assert saved["seed"] == 0 and saved["budget"] == 1000 and saved["stands_in_for"] == ""
            assert str(saved["class"]) in name.replace("black", "American_black")
    assert "--maps must name a folder" in command(folder, maps=lost)[1]


def test_results_of_another_run_are_refused_and_left(command, images, tmp_path, monkeypatch):
    folder, _ = images
    out = tmp_path / "results.csv"
    command(folder)
    before = out.read_bytes()

    def refused(message, **changed):
        content = out.read_bytes()
        measured, printed, _ = command(folder, **changed)
        assert re.search(f"^Stopped: {out} .*{message}.*and is left as it is: name", printed)
        assert measured == [] and out.read_bytes() == content

    refused("budget 1000, not 10,", budget=10)
    refused("seed 0, not 1,", seed=1)
    refused("methods lime, rise, not lime,", methods="lime")
    with monkeypatch.context() as patch:
        patch.setattr(Network, "fingerprint", "v")
        refused("weights w, not v")
    for content in (b"name,score\nsomebody,3\n", b"\xff\xd8\xff", before.replace(b"area", b"size")):
        out.write_bytes(content)
        refused("")
    out.write_bytes(before)
    moved = folder / "black_bear" / "1.png"
    moved.rename(tmp_path / "away.png")
    refused("image black_bear/1.png that is not in this folder")
    (folder / "black_bear" / "2.png").rename(moved)
    refused("image black_bear/1.png that is not in this folder, or is another one")


def test_without_a_memo_what_the_file_holds_is_not_lost(command, images, tmp_path, monkeypatch):
    folder, brightness = images
    command(folder)
    for path in runner.MEMO.iterdir():
        path.unlink()
    finished = []

    def interrupted(key, result):
        finished.append(key)
        if len(finished) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_save", interrupted)
        assert "Stopped. " in command(folder)[1]
    assert_complete(tmp_path / "results.csv", brightness)


def test_the_class_is_the_predicted_one_where_the_folder_names_none(command, tmp_path):
    folder, out = tmp_path / "holiday", tmp_path / "results.csv"
    folder.mkdir()
    Image.new("RGB", (30, 20), "white").save(folder / "one.png")
    (folder / "copy.png").write_bytes((folder / "one.png").read_bytes())
    measured, printed, errors = command(folder, methods="centre,edges,centre")
    assert measured == [255] and "holiday is no class" in errors
    assert printed == f"{out}: 2 finished, 0 skipped that could not be read, 0 failed\n"
    table = pd.read_csv(out)
    assert table.method.tolist() == ["centre", "edges"] * 2
    assert table.picture.tolist() == ["copy.png"] * 2 + ["one.png"] * 2
    assert set(table.class_from) == {"prediction"} and set(table.class_index) == {0}


def test_what_is_not_read_is_named_and_counted(command, tmp_path):
    folder, masks = tmp_path / "black_bear", tmp_path / "masks" / "black_bear"
    for path in (folder, masks):
        path.mkdir(parents=True)
    for name in ("good.png", "masked.png", "mask.png"):
        Image.new("RGB", (30, 20), "white" if name == "good.png" else "red").save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (masks / "masked.png").write_bytes(b"no image")
    for path in (folder / "pipe.png", masks / "mask.png"):
        os.mkfifo(path)
    (folder / "link.png").symlink_to(tmp_path / "nowhere.png")
    for name in ("a.HEIC", "b.heic", "c.dng", "notes.txt", ".d.heic"):
        (folder / name).touch()
    _, printed, errors = command(folder)
    assert "1 finished, 5 skipped that could not be read, 0 failed" in printed
    assert "; not read: 2 .heic, 1 .dng, 1 .txt" in printed
    for name in ("masked", "broken", "pipe", "mask", "link"):
        assert f"skipped {name}.png: " in errors
    assert "masks/black_bear/mask.png is not a regular file" in errors
    for path in (folder / "good.png", tmp_path / "results.csv"):
        path.unlink()
    printed = command(folder)[1]
    assert "No image could be measured: 0 finished, 5 skipped" in printed
    assert not (tmp_path / "results.csv").exists()


def test_file_names_of_any_bytes_make_a_file_that_is_read_again(command, tmp_path):
    folder, out = tmp_path / "black_bear", tmp_path / "results.csv"
    folder.mkdir()
    names = {
        "a\rb.png": r"a\rb.png",
        "line\nbreak.png": r"line\nbreak.png",
        'a "b", c.png': 'a "b", c.png',
        "ä\u202f.png": "ä\u202f.png",
        r"\x0d.png": r"\\x0d.png",
        "\udcff.png": r"\udcff.png",
    }
    for number, name in enumerate(names):
        Image.new("RGB", (30, 20), (10 * number,) * 3).save(folder / "new.png")
        (folder / "new.png").rename(folder / name)
    assert len(command(folder)[0]) == 6
    before, table = out.read_bytes(), pd.read_csv(out, encoding="utf-8")
    written = dict(zip(table.picture, table.brightness))
    assert written == {name: 10 * number for number, name in enumerate(names.values())}
    assert command(folder)[0] == [] and out.read_bytes() == before


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"folder": "nowhere"}, "no folder"),
        ({"folder": "masks"}, "no image in"),
        ({"folder": "crane"}, "'crane' names the classes 134 and 517"),
        ({"methods": "lime,foo"}, "got 'foo'"),
        ({"methods": ""}, "got ''"),
        ({"budget": 0}, "--budget must be from 1 to inf, got 0"),
        ({"seed": -1}, "--seed"),
        ({"out": "crane/one.png/results.csv"}, "Stopped: .*File exists: '.*one.png'"),
        ({"out": "crane"}, "must name a file, crane"),
        ({"out": "pipe"}, "must name a file, pipe"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_started(
    command, images, tmp_path, monkeypatch, changed, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crane").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "crane" / "one.png")
    (tmp_path / "masks").mkdir()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(runner, "_processes", lambda *_: pytest.fail("a process was started"))
    _, printed, _ = command(**{"folder": "images"} | changed)
    assert re.search(message, printed) and "\n" not in printed
    assert not (tmp_path / "results.csv").exists()


def test_a_second_command_for_the_same_file_is_refused(command, images, tmp_path):
    with lock(tmp_path / "results.csv"):
        measured, printed, _ = command(images[0])
    assert measured == [] and "results.csv: wait until it ends" in printed


def test_the_command_line_on_this_machines_cores(tmp_path):
    """The whole command, with a folder of one class, whose masks are beside it."""
    out, source = tmp_path / "results.csv", DATA / "African_elephant" / "elephant_1_dune.jpg"
    for name in (f"African_elephant/{source.name}", f"masks/African_elephant/{source.stem}.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(DATA / name, tmp_path / name)
    options = "--model", "resnet50", "--methods", "centre", "--out", out
    command = "-m", "lab.evaluate", tmp_path / "African_elephant", *options
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start(*command, cwd=ROOT, **pipes) as process:
        printed, errors = (text.decode() for text in process.communicate(timeout=240))
    assert "1 finished" in printed, errors
    assert "Traceback" not in errors and "WARNING" not in errors
    (row,) = pd.read_csv(out).to_dict("records")
    assert row["class"] == "African_elephant" and row["class_from"] == "folder"
    assert row["network"] == "SqueezeNet 1.1" and row["stands_in_for"] == "ResNet50"
    assert (printed + errors).count("SqueezeNet 1.1 stands in for ResNet50") == 1
    assert row["pointing_game"] == load_mask(source, 227)[113, 113] and row["iou_mask"] > 0
