import functools
import itertools
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
from lab.images import DATA, escaped, load_mask
from lab.networks.classes import class_index
from lab.study import comparison, runner

METHODS = ["centre", "edges"]
LOG, NAP = "EVALUATE_TEST_LOG", "EVALUATE_TEST_NAP"


class Network(cheap.Network):
    class_index = staticmethod(class_index)


@functools.wraps(comparison.maps_task)
def recorded(network, image, mask, parts, measure=comparison.maps_task, **arguments):
    """The task of the study: each call leaves a line in a file."""
    with open(os.environ[LOG], "a") as log:
        log.write(f"{round(image.mean())} {','.join(parts)}\n")
    time.sleep(float(os.environ.get(NAP, 0)))
    return measure(network, image, mask, parts, **arguments)


def patch(setattr, name="Cheap"):
    setattr(comparison, "maps_task", recorded)
    setattr(evaluate, "STORE", Path(os.environ[LOG]).with_name("store"))
    for module in (runner, evaluate):
        setattr(module, "network", lambda model: Network(name, 40))


if __name__ != "test_evaluate":  # the command with two processes, each of which runs this
    patch(setattr)
if __name__ == "__main__":
    dask.system.CPU_COUNT = 2
    evaluate.main(sys.argv[1:])
    sys.exit()


@pytest.fixture
def command(tmp_path, monkeypatch, scheduler, capsys):
    """The command: what it measured, and what it printed."""
    log = tmp_path / "log"
    monkeypatch.setenv(LOG, str(log))
    patch(monkeypatch.setattr)

    def run(folder, **changed):
        options = {"methods": " , ".join(METHODS), "scheduler": scheduler}
        options |= {"out": tmp_path / "results.csv"} | changed
        log.write_text("")
        code = None
        try:
            evaluate.main([str(folder), *(f"--{name}={value}" for name, value in options.items())])
        except SystemExit as stopped:
            code = stopped.code
        printed = capsys.readouterr()
        return sorted(log.read_text().splitlines()), code or printed.out, printed.err

    return run


def image(path, brightness=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20), (brightness,) * 3).save(path)


@pytest.fixture
def images(tmp_path):
    """Twelve images of two classes, each as bright as no other, and a broken file."""
    folder, kinds = tmp_path / "images", ["African_elephant"] * 6 + ["zebra"] * 6
    brightness = {f"{kind}/{number % 6}.png": 20 * number for number, kind in enumerate(kinds)}
    for name, value in brightness.items():
        image(folder / name, value)
    image(folder / "masks" / "zebra" / "0.png", 255)
    (folder / "zebra" / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    return folder, brightness


def lines(values, methods="centre,edges"):
    return sorted(f"{value} {methods}" for value in values)


def assert_complete(out, brightness):
    table = pd.read_csv(out, keep_default_na=False)
    assert tuple(table) == evaluate.COLUMNS
    assert [*zip(table.image, table.method)] == [*itertools.product(sorted(brightness), METHODS)]
    classes = table.image.str.split("/").str[0]
    assert (table["class"] == classes).all() and set(table.class_from) == {"folder"}
    assert (table.class_index == classes.map(class_index)).all()
    same = set(zip(table.network, table.stands_in_for, table.budget, table.seed))
    assert same == {("Cheap", "", 1000, 0)}
    of_mask, masked = ["iou_mask", "iou_box", "pointing_game"], table.image == "zebra/0.png"
    assert (table[masked].pointing_game.astype(float) == 1).all()
    assert (table[~masked][of_mask] == "").all(axis=None)
    optional = [*of_mask, "stands_in_for", "faithfulness"]  # a plain image has none
    assert (table.drop(columns=optional) != "").all(axis=None)


def test_an_interruption_loses_nothing_of_store_or_file(command, images, tmp_path, monkeypatch):
    (folder, brightness), out, run = images, tmp_path / "results.csv", evaluate.run
    command(folder)
    assert_complete(out, brightness)
    before, finished = out.read_bytes(), 0

    def interrupted(*arguments):
        yield from itertools.islice(run(*arguments), finished)
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "run", interrupted)
    out.unlink()  # the signal comes when all is stored
    assert "Stopped. " in command(folder)[1] and out.read_bytes() == before
    shutil.rmtree(tmp_path / "store")
    finished = 2
    assert "Stopped. " in command(folder)[1]
    assert_complete(out, brightness)


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_ended_run_goes_on_and_repeats_nothing(command, images, tmp_path, monkeypatch, name):
    (folder, brightness), out = images, tmp_path / "results.csv"
    store, options = tmp_path / "store" / "evaluate_1000", ("--methods", "centre,edges")
    with monkeypatch.context() as slow:
        slow.setenv(NAP, "0.3")
        errors = ended(name, __file__, folder, *options, "--out", out, store=store)
    finished, measured = len([*store.glob("[!.]*.npz")]), set()
    if name != signal.SIGKILL:
        assert "Traceback" not in errors and errors.endswith("the same command goes on.\n")
        measured = set(pd.read_csv(out).image)
        assert len(measured) == finished
    assert 3 <= finished < 9 and out.exists() == bool(measured)
    again, printed, errors = command(folder)
    assert len(again) == 12 - finished
    assert not {*again} & {*lines(map(brightness.get, measured))}
    assert re.findall(r"skipped (\S+):", errors) == ["zebra/broken.jpg"]
    assert "1 of 13 images have a mask\n" in errors
    assert_complete(out, brightness)
    unlikely = pd.read_csv(out).query("probability < 0.01").image.nunique()
    expected = f"12 finished, 1 skipped that could not be read, 0 failed; {unlikely} explained for"
    assert 6 <= unlikely < 12 and expected in printed
    before = out.read_bytes()
    assert command(folder)[0] == [] and out.read_bytes() == before


def test_maps_are_written_beside_and_again_after_they_were_lost(command, images, tmp_path):
    (folder, brightness), maps = images, tmp_path / "maps"
    command(folder, maps=maps)
    lost = maps / "zebra" / "3.png.npz"
    before = lost.read_bytes()
    lost.unlink()
    assert command(folder, maps=maps)[0] == [] and lost.read_bytes() == before
    for name in brightness:
        with np.load(maps / f"{name}.npz", allow_pickle=False) as file:
            saved = dict(file)
        assert saved["methods"].tolist() == METHODS and saved["maps"].shape == (2, 40, 40)
        assert saved["maps"][0].max() == saved["maps"][0, 19:21, 19:21].max()
        about = [saved[key].item() for key in ("class", "network", "stands_in_for", "budget")]
        assert about == [name.split("/")[0], "Cheap", "", 1000] and saved["seed"] == 0


def test_one_more_method_is_measured_alone_and_other_results_stay(command, images, tmp_path):
    folder, brightness = images
    command(folder, methods="edges")
    assert command(folder)[0] == lines(brightness.values(), "centre")
    assert_complete(tmp_path / "results.csv", brightness)
    for number, changed in enumerate(({"methods": "random"}, {"budget": 10}, {"seed": 1})):
        assert len(command(folder, out=tmp_path / f"{number}.csv", **changed)[0]) == 12
        assert command(folder)[0] == []


def test_results_of_another_run_are_refused_and_left(command, images, tmp_path, monkeypatch):
    (folder, _), out = images, tmp_path / "results.csv"
    command(folder)
    before = out.read_bytes()

    def refused(message, content=before, **changed):
        out.write_bytes(content)
        measured, printed, _ = command(folder, **changed)
        assert re.search(f"^Stopped: {out} .*{message}.* and is left as it is: name", printed)
        assert measured == [] and out.read_bytes() == content

    refused(r"\(image African_elephant/0.png, budget 1000\)", budget=10)
    refused(r"\(image African_elephant/0.png, seed 0\)", seed=1)
    refused(r"\(image African_elephant/0.png, method edges\)", methods="centre")
    with monkeypatch.context() as other:
        other.setattr(Network, "stands_in_for", "Other")
        refused("stands_in_for none")
    for content in (b"a,b\n1,3\n", b"\xff\xd8\xff", before.replace(b"seconds", b"time")):
        refused("is no result of this command", content)
    moved = folder / "zebra" / "1.png"
    moved.rename(tmp_path / "away.png")
    refused("image zebra/1.png, digest")
    (folder / "zebra" / "2.png").rename(moved)
    refused("image zebra/1.png, digest")


def test_the_class_is_the_predicted_one_where_the_folder_names_none(command, tmp_path):
    folder, out = tmp_path / "holi\u202eday", tmp_path / "results.csv"
    image(folder / "one.png", 255)
    shutil.copy(folder / "one.png", folder / "copy.png")
    measured, printed, errors = command(folder, methods="centre,edges,centre")
    assert measured == lines([255])
    assert r"holi\u202eday is no class" in errors and "0 of 2 images have a mask" in errors
    assert printed == f"{out}: 2 finished, 0 skipped that could not be read, 0 failed\n"
    table = pd.read_csv(out)
    assert [*zip(table.image, table.method)] == [
        *itertools.product(["copy.png", "one.png"], METHODS)
    ]
    [(label, name, _)] = Network("Cheap", 40).top(np.full((40, 40, 3), 255, np.uint8), 1)
    found = set(zip(table.class_from, table["class"], table.class_index))
    assert found == {("prediction", name, label)}


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
    assert "1 finished, 5 skipped that could not be read, 0 failed" in printed
    assert "; left out: 2 .heic, 1 .dng, 1 .txt" in printed
    for name in ("masked", r"broken\u202e", "pipe", "mask", "link"):
        assert re.search(rf"skipped \S*{re.escape(name)}.png: ", errors)
    assert "\u202e" not in errors and "masks/black_bear/mask.png is not a regular file" in errors
    for path in (folder / "good.png", tmp_path / "results.csv"):
        path.unlink()
    assert "No image could be measured: 0 finished, 5 skipped" in command(folder)[1]
    assert not (tmp_path / "results.csv").exists()


def test_file_names_of_any_bytes_make_a_file_that_is_read_again(command, tmp_path, monkeypatch):
    patch(monkeypatch.setattr, "=own")
    folder, out, maps = tmp_path / "black_bear", tmp_path / "results.csv", tmp_path / "maps"
    names = [
        "a\rb",
        "line\nbreak",
        'a "b", c',
        "ä\u202f",
        r"\x0d",
        "\udcff",
        "=cmd|' '!A1",
        "\u202e",
    ]
    names = [f"{name}.png" for name in (*names, "a" * 240)]
    for number, name in enumerate(names):
        image(folder / "new.png", 10 * number)
        (folder / "new.png").rename(folder / name)
    assert len(command(folder, maps=maps)[0]) == len(names)
    before, table = out.read_bytes(), pd.read_csv(out, encoding="utf-8")
    assert set(table.image) == {*map(escaped, names)} and set(table.network) == {r"\=own"}
    assert {path.name[:-4] for path in maps.iterdir()} == set(table.image)
    assert command(folder, maps=maps)[0] == [] and out.read_bytes() == before


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
        ({"methods": "lime", "budget": 1}, "at least 3 model calls for lime with 2 superpixels"),
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
    assert {*tmp_path.rglob("*")} - before == {tmp_path / "log"}


def test_a_second_command_for_the_same_file_is_refused(command, images, tmp_path):
    with lock(tmp_path / "results.csv"):
        measured, printed, _ = command(images[0])
    assert measured == [] and "results.csv: wait until it ends" in printed


def real(folder, *options):
    """The only row of the whole command with its own processes, and what it printed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "cwd": folder.parent}
    command = "-m", "lab.evaluate", folder, "--out", "results.csv", *options
    with start(*command, **pipes) as process:
        printed = process.communicate(timeout=240)[0].decode()
    assert "1 finished" in printed and not re.search("Traceback|WARNING", printed), printed
    [row] = pd.read_csv(folder.parent / "results.csv").to_dict("records")
    return row, printed


def test_the_command_line_on_this_machines_cores(tmp_path):
    """A folder of one class, whose masks are beside it."""
    source = DATA / "African_elephant" / "elephant_1_dune.jpg"
    for name in (f"African_elephant/{source.name}", f"masks/African_elephant/{source.stem}.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(DATA / name, tmp_path / name)
    folder, options = tmp_path / source.parent.name, ("--model", "resnet50", "--methods", "centre")
    row, printed = real(folder, *options)
    assert (row["class"], row["class_from"]) == ("African_elephant", "folder")
    assert (row["network"], row["stands_in_for"]) == ("SqueezeNet 1.1", "ResNet50")
    assert printed.count("SqueezeNet 1.1 stands in for ResNet50") == 1
    assert row["pointing_game"] == load_mask(source, 227)[113, 113] and row["iou_mask"] > 0


def test_a_function_of_ones_own_in_the_current_folder(tmp_path):
    code = "import numpy as np\ndef predict(images):\n    red = images[..., 0].mean((1, 2))\n"
    (tmp_path / "own.py").write_text(f"{code}    return np.stack([1 - red, red], axis=1)\n")
    (tmp_path / "labels.txt").write_text("dark\n=bright\n")
    image(tmp_path / "holiday" / "a.png", 204)
    options = "--model=own:predict --preprocess=0..1 --input-size=32 --labels=labels.txt".split()
    row, _ = real(tmp_path / "holiday", *options, "--methods", "rise", "--budget", 50)
    assert (row["class"], row["class_index"], row["network"]) == (r"\=bright", 1, "own:predict")
    assert row["probability"] == pytest.approx(0.8) and row["deletion_black"] == pytest.approx(0.4)
