import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cheap
import dask.system
import numpy as np
import pandas as pd
import pytest
from commands import ended, start
from PIL import Image

from lab import evaluate
from lab.files import lock
from lab.images import DATA, load_mask
from lab.networks.classes import class_index
from lab.study import comparison, runner

METHODS = ["centre", "edges"]
LOG, NAP = "EVALUATE_TEST_LOG", "EVALUATE_TEST_NAP"


class Network(cheap.Network):
    class_index = staticmethod(class_index)


def cheap_network(model):
    return Network(input_size=40)


@functools.wraps(comparison.maps_task)
def recorded(network, image, mask, parts, measure=comparison.maps_task, **arguments):
    """The task of the study: each call leaves a line in a file."""
    with open(os.environ[LOG], "a") as log:
        log.write(f"{round(image.mean())} {','.join(parts)}\n")
    time.sleep(float(os.environ.get(NAP, 0)))
    return measure(network, image, mask, parts, **arguments)


def patch(setattr, store):
    setattr(comparison, "maps_task", recorded)
    setattr(evaluate, "STORE", Path(store))
    for module in (runner, evaluate):
        setattr(module, "network", cheap_network)


if __name__ != "test_evaluate":  # the command with two processes, each of which runs this
    patch(setattr, Path(os.environ[LOG]).with_name("store"))
if __name__ == "__main__":
    dask.system.CPU_COUNT = 2
    evaluate.main(sys.argv[1:])
    sys.exit()


@pytest.fixture
def command(tmp_path, monkeypatch, scheduler, capsys):
    """The command: what it measured, and what it printed."""
    log = tmp_path / "log"
    monkeypatch.setenv(LOG, str(log))
    patch(monkeypatch.setattr, tmp_path / "store")

    def run(folder, **changed):
        options = {"model": "squeezenet", "methods": " , ".join(METHODS), "scheduler": scheduler}
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
        return sorted(lines), code or printed.out, printed.err

    return run


def image(path, brightness=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20), (brightness,) * 3).save(path)


@pytest.fixture
def images(tmp_path):
    """Twelve images of two classes, each as bright as no other, and a broken file."""
    folder = tmp_path / "images"
    kinds = ["African_elephant"] * 6 + ["zebra"] * 6
    brightness = {f"{kind}/{number % 6}.png": 20 * number for number, kind in enumerate(kinds)}
    for name, value in brightness.items():
        image(folder / name, value)
    half = np.zeros((20, 30), bool)
    half[:10] = True
    (folder / "masks" / "zebra").mkdir(parents=True)
    Image.fromarray(half).save(folder / "masks" / "zebra" / "0.png")
    (folder / "zebra" / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    return folder, brightness


def lines(values, methods=METHODS):
    return sorted(f"{value} {','.join(methods)}" for value in values)


def assert_complete(out, brightness, methods=METHODS):
    table = pd.read_csv(out, keep_default_na=False)
    assert tuple(table) == evaluate.COLUMNS
    expected = [(name, method) for name in sorted(brightness) for method in methods]
    assert [*zip(table.image, table.method)] == expected
    classes = table.image.str.split("/").str[0]
    assert (table["class"] == classes).all() and set(table.class_from) == {"folder"}
    assert (table.class_index == classes.map(class_index)).all()
    assert set(table.network) == {"Cheap"} and set(table.stands_in_for) == {""}
    assert set(table.budget) == {1000} and set(table.seed) == {0}
    of_mask, masked = ["iou_mask", "iou_box", "pointing_game"], table.image == "zebra/0.png"
    assert (table[masked][of_mask] != "").all(axis=None)
    assert (table[~masked][of_mask] == "").all(axis=None)
    optional = [*of_mask, "stands_in_for", "faithfulness"]  # which one colour has not
    assert (table.drop(columns=optional) != "").all(axis=None)


def test_what_is_stored_when_the_signal_comes_is_in_the_file(command, images, monkeypatch):
    folder, brightness = images
    command(folder)
    out = folder.with_name("results.csv")
    assert_complete(out, brightness)
    before = out.read_bytes()
    out.unlink()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "run", interrupted)
    assert "Stopped. " in command(folder)[1] and out.read_bytes() == before


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_ended_run_goes_on_and_repeats_nothing(command, images, tmp_path, monkeypatch, name):
    folder, brightness = images
    out, store = tmp_path / "results.csv", tmp_path / "store" / "evaluate_1000"
    options = "--model", "squeezenet", "--methods", "centre,edges", "--out", out
    with monkeypatch.context() as slow:
        slow.setenv(NAP, "0.3")
        errors = ended(name, __file__, folder, *options, store=store)
    finished = len([*store.glob("[!.]*.npz")])
    assert 3 <= finished < 9 and out.exists() == (name != signal.SIGKILL)
    measured = set(brightness)
    if out.exists():
        assert "Traceback" not in errors and errors.endswith("the same command goes on.\n")
        first = set(pd.read_csv(out).image)
        assert len(first) == finished
        measured -= first
    again, printed, errors = command(folder)
    assert len(again) == 12 - finished and set(again) <= {*lines(map(brightness.get, measured))}
    assert "12 finished, 1 skipped that could not be read, 0 failed; 6 explained for" in printed
    assert re.findall(r"skipped (\S+):", errors) == ["zebra/broken.jpg"]
    assert "1 of 13 images have a mask\n" in errors
    assert_complete(out, brightness)
    before = out.read_bytes()
    assert command(folder)[0] == [] and out.read_bytes() == before


def test_maps_are_written_beside_and_again_after_they_were_lost(command, images, tmp_path):
    folder, brightness = images
    command(folder, maps=tmp_path / "maps")
    lost = tmp_path / "maps" / "zebra" / "3.png.npz"
    before = lost.read_bytes()
    lost.unlink()
    assert command(folder, maps=tmp_path / "maps")[0] == [] and lost.read_bytes() == before
    for name in brightness:
        with np.load(tmp_path / "maps" / f"{name}.npz", allow_pickle=False) as saved:
            assert saved["methods"].tolist() == METHODS and saved["maps"].shape == (2, 40, 40)
            centre = saved["maps"][0]
            assert centre.max() == centre[19:21, 19:21].max() and saved["network"] == "Cheap"
            assert saved["seed"] == 0 and saved["budget"] == 1000 and saved["stands_in_for"] == ""
            assert str(saved["class"]) == name.split("/")[0]


def test_one_more_method_is_measured_alone_and_other_results_stay(command, images, tmp_path):
    folder, brightness = images
    command(folder, methods="edges")
    assert command(folder)[0] == lines(brightness.values(), ["centre"])
    assert_complete(tmp_path / "results.csv", brightness)
    for changed in ({"methods": "random"}, {"budget": 10}, {"seed": 1}):
        assert len(command(folder, out=tmp_path / "other.csv", **changed)[0]) == 12
        (tmp_path / "other.csv").unlink()
        assert command(folder)[0] == []


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

    refused(r"\(image African_elephant/0.png, budget 1000\)", budget=10)
    refused(r"\(image African_elephant/0.png, seed 0\)", seed=1)
    refused(r"\(image African_elephant/0.png, method edges\)", methods="centre")
    with monkeypatch.context() as patch:
        patch.setattr(Network, "stands_in_for", "Other")
        refused("stands_in_for none")
    renamed = before.replace(b"seconds", b"time")
    for content in (b"name,score\nsomebody,3\n", b"\xff\xd8\xff", renamed):
        out.write_bytes(content)
        refused("is no result of this command")
    out.write_bytes(before)
    moved = folder / "zebra" / "1.png"
    moved.rename(tmp_path / "away.png")
    refused("image zebra/1.png, digest")
    (folder / "zebra" / "2.png").rename(moved)
    refused("image zebra/1.png, digest")


def test_a_lost_cache_loses_no_row_of_the_file(command, images, tmp_path, monkeypatch):
    folder, brightness = images
    command(folder)
    shutil.rmtree(tmp_path / "store")
    run = evaluate.run

    def interrupted(*arguments):
        for number, outcome in enumerate(run(*arguments)):
            if number == 2:
                raise KeyboardInterrupt
            yield outcome

    monkeypatch.setattr(evaluate, "run", interrupted)
    assert "Stopped. " in command(folder)[1]
    assert_complete(tmp_path / "results.csv", brightness)


def test_the_class_is_the_predicted_one_where_the_folder_names_none(command, tmp_path):
    folder, out = tmp_path / "holi\u202eday", tmp_path / "results.csv"
    image(folder / "one.png", 255)
    shutil.copy(folder / "one.png", folder / "copy.png")
    measured, printed, errors = command(folder, methods="centre,edges,centre")
    assert measured == lines([255])
    assert r"holi\u202eday is no class" in errors and "0 of 2 images have a mask" in errors
    assert printed == f"{out}: 2 finished, 0 skipped that could not be read, 0 failed\n"
    table = pd.read_csv(out)
    assert table.method.tolist() == METHODS * 2
    assert table.image.tolist() == ["copy.png"] * 2 + ["one.png"] * 2
    white = np.full((40, 40, 3), 255, np.uint8)
    [(label, name, probability)] = cheap_network("").top(white, 1)
    assert set(table.class_from) == {"prediction"} and set(table.class_index) == {label}
    assert set(table["class"]) == {name} and set(table.probability) == {pytest.approx(probability)}


def test_what_is_not_read_is_named_and_counted(command, tmp_path):
    folder, masks = tmp_path / "black_bear", tmp_path / "masks" / "black_bear"
    for name in ("good.png", "masked.png", "mask.png"):
        image(folder / name, 9 * len(name))
    masks.mkdir(parents=True)
    for path in (folder / "broken\u202e.png", masks / "masked.png"):
        path.write_bytes(b"\x89PNG")
    for path in (folder / "pipe.png", masks / "mask.png"):
        os.mkfifo(path)
    (folder / "link.png").symlink_to(tmp_path / "nowhere.png")
    for name in ("a.HEIC", "b.heic", "c.dng", "notes.txt", ".d.heic"):
        (folder / name).touch()
    _, printed, errors = command(folder)
    assert "1 finished, 4 skipped that could not be read, 0 failed; left out: link.png " in printed
    assert "(a link that leads nowhere), 2 .heic, 1 .dng, 1 .txt" in printed
    for name in ("masked", r"broken\u202e", "pipe", "mask"):
        assert f"{name}.png: " in errors
    assert "\u202e" not in errors and "masks/black_bear/mask.png is not a regular file" in errors
    for path in (folder / "good.png", tmp_path / "results.csv"):
        path.unlink()
    printed = command(folder)[1]
    assert "No image could be measured: 0 finished, 4 skipped" in printed
    assert not (tmp_path / "results.csv").exists()


def test_file_names_of_any_bytes_make_a_file_that_is_read_again(command, tmp_path, monkeypatch):
    monkeypatch.setattr(Network, "name", "=own", raising=False)
    monkeypatch.setattr(Network, "__init__", lambda self: None, raising=False)
    folder, out = tmp_path / "black_bear", tmp_path / "results.csv"
    names = {
        "a\rb.png": r"a\rb.png",
        "line\nbreak.png": r"line\nbreak.png",
        'a "b", c.png': 'a "b", c.png',
        "ä\u202f.png": "ä\u202f.png",
        r"\x0d.png": r"\\x0d.png",
        "\udcff.png": r"\udcff.png",
        "=cmd|' '!A1.png": r"\=cmd|' '!A1.png",
        "\u202e.png": r"\u202e.png",
        "a" * 240 + ".png": "a" * 240 + ".png",
    }
    for number, name in enumerate(names):
        image(folder / "new.png", 10 * number)
        (folder / "new.png").rename(folder / name)
    assert len(command(folder, maps=tmp_path / "maps")[0]) == len(names)
    before, table = out.read_bytes(), pd.read_csv(out, encoding="utf-8")
    assert set(table.image) == set(names.values()) and set(table.network) == {r"\=own"}
    assert {path.name[:-4] for path in (tmp_path / "maps").iterdir()} == set(names.values())
    assert command(folder, maps=tmp_path / "maps")[0] == [] and out.read_bytes() == before


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"folder": "nowhere"}, "no folder"),
        ({"folder": "masks"}, "no image in"),
        ({"folder": "crane", "out": "new/a.csv"}, "'crane' names the classes 134 and 517"),
        ({"methods": "lime,foo"}, "got 'foo'"),
        ({"methods": ""}, "got ''"),
        ({"methods": "edges,grad_cam"}, "grad_cam needs a Keras network"),
        ({"methods": "edges,rise", "budget": 1}, "at least 2 model calls for rise, got 1"),
        ({"methods": "lime", "budget": 1}, "at least 2 model calls for lime with 1 superpixels"),
        ({"budget": 0}, "--budget must be at least 1, got 0"),
        ({"budget": 10**9}, "--budget must be at most 1000000, got 1000000000"),
        ({"seed": -1}, "--seed must be at least 0, got -1"),
        ({"out": "crane/one.png/results.csv"}, "Not a directory: '.*one.png/results.csv'"),
        ({"out": "crane"}, "no regular file: '.*crane'"),
        ({"out": "pipe"}, "no regular file: '.*pipe'"),
        ({"out": "b" * 256}, "too long: '.*bbb'"),
        ({"maps": "crane/one.png"}, "Not a directory: '.*one.png/African_elephant/0.png.npz'"),
        ({"folder": "long", "maps": "maps"}, "too long: '.*aaa.png.npz'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_started(
    command, images, tmp_path, monkeypatch, changed, message
):
    monkeypatch.chdir(tmp_path)
    image(tmp_path / "crane" / "one.png")
    image(tmp_path / "long" / f"{'a' * 251}.png")
    (tmp_path / "masks").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = {*tmp_path.rglob("*")}
    monkeypatch.setattr(evaluate, "run", lambda *_: pytest.fail("a task was started"))
    monkeypatch.setattr(Network, "answer", lambda *_: pytest.fail("the network was called"))
    _, printed, _ = command(**{"folder": "images"} | changed)
    assert re.search(f"^Stopped: .*{message}", printed) and "\n" not in printed
    assert {*tmp_path.rglob("*")} == before


def test_a_second_command_for_the_same_file_is_refused(command, images, tmp_path):
    with lock(tmp_path / "results.csv"):
        measured, printed, _ = command(images[0])
    assert measured == [] and "results.csv: wait until it ends" in printed


def real(folder, *options):
    """The whole command, in a folder, with processes of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = "-m", "lab.evaluate", folder, *options, "--out", "results.csv"
    with start(*options, cwd=folder.parent, **pipes) as process:
        printed, errors = (text.decode() for text in process.communicate(timeout=240))
    assert "1 finished" in printed, errors
    assert "Traceback" not in errors and "WARNING" not in errors
    [row] = pd.read_csv(folder.parent / "results.csv").to_dict("records")
    return row, printed + errors


def test_the_command_line_on_this_machines_cores(tmp_path):
    """A folder of one class, whose masks are beside it."""
    source = DATA / "African_elephant" / "elephant_1_dune.jpg"
    for name in (f"African_elephant/{source.name}", f"masks/African_elephant/{source.stem}.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(DATA / name, tmp_path / name)
    options = "--model", "resnet50", "--methods", "centre"
    row, printed = real(tmp_path / "African_elephant", *options)
    assert row["class"] == "African_elephant" and row["class_from"] == "folder"
    assert row["network"] == "SqueezeNet 1.1" and row["stands_in_for"] == "ResNet50"
    assert printed.count("SqueezeNet 1.1 stands in for ResNet50") == 1
    assert row["pointing_game"] == load_mask(source, 227)[113, 113] and row["iou_mask"] > 0


def test_a_function_of_ones_own_in_the_current_folder(tmp_path):
    code = "import numpy as np\ndef predict(images):\n    red = images[..., 0].mean((1, 2))\n"
    (tmp_path / "own.py").write_text(f"{code}    return np.stack([1 - red, red], axis=1)\n")
    (tmp_path / "labels.txt").write_text("dark\n=bright\n")
    image(tmp_path / "holiday" / "a.png", 204)
    options = "--model", "own:predict", "--preprocess", "0..1", "--input-size", 32
    row, _ = real(tmp_path / "holiday", *options, "--labels", "labels.txt", "--methods", "rise")
    assert (row["class"], row["class_index"], row["network"]) == (r"\=bright", 1, "own:predict")
    assert row["probability"] == pytest.approx(0.8) and row["deletion_black"] == pytest.approx(0.4)
