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

import dask.system
import numpy as np
import pandas as pd
import pytest
from cheap import Network
from commands import ended, start
from PIL import Image

from lab import evaluate
from lab.files import lock
from lab.images import DATA, escaped, load_mask
from lab.networks.classes import class_index
from lab.study import comparison, runner

METHODS = ["centre", "edges"]
LOG, NAP = "EVALUATE_TEST_LOG", "EVALUATE_TEST_NAP"
OUT = Path("results.csv")


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
    """The command in a folder of its own: what it measured, and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    patch(monkeypatch.setattr)

    def run(folder="images", **changed):
        options = {"methods": " , ".join(METHODS), "scheduler": scheduler, "out": OUT} | changed
        Path("log").write_text("")
        code = None
        try:
            evaluate.main([folder, *(f"--{name}={value}" for name, value in options.items())])
        except SystemExit as stopped:
            code = stopped.code
        printed = capsys.readouterr()
        return sorted(Path("log").read_text().splitlines()), code or printed.out, printed.err

    return run


def image(path, brightness=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20), (brightness,) * 3).save(path)


@pytest.fixture
def brightness(command):
    """Twelve images of two classes, each as bright as no other, and a broken file."""
    kinds = ["African_elephant"] * 6 + ["zebra"] * 6
    brightness = {f"{kind}/{number % 6}.png": 20 * number for number, kind in enumerate(kinds)}
    for name, value in brightness.items():
        image(Path("images", name), value)
    image(Path("images/masks/zebra/0.png"), 255)
    Path("images/zebra/broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    return brightness


def lines(values, methods="centre,edges"):
    return sorted(f"{value} {methods}" for value in values)


def assert_complete(brightness):
    table = pd.read_csv(OUT, keep_default_na=False)
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


def test_an_interruption_loses_nothing_of_store_or_file(command, brightness, monkeypatch):
    command()
    assert_complete(brightness)
    run, before, finished = evaluate.run, OUT.read_bytes(), 0

    def interrupted(*arguments):
        yield from itertools.islice(run(*arguments), finished)
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "run", interrupted)
    OUT.unlink()  # the signal comes when all is stored
    assert "Stopped. " in command()[1] and OUT.read_bytes() == before
    shutil.rmtree("store")
    finished = 2
    assert "Stopped. " in command()[1]
    assert_complete(brightness)


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_ended_run_goes_on_and_repeats_nothing(command, brightness, monkeypatch, name):
    store, options = Path("store/evaluate_1000"), ("--methods", "centre,edges", "--out", OUT)
    with monkeypatch.context() as slow:
        slow.setenv(NAP, "0.3")
        errors = ended(name, __file__, "images", *options, store=store)
    finished, measured = len([*store.glob("[!.]*.npz")]), set()
    if name != signal.SIGKILL:
        assert "Traceback" not in errors and errors.endswith("the same command goes on.\n")
        measured = set(pd.read_csv(OUT).image)
        assert len(measured) == finished
    assert 3 <= finished < 9 and OUT.exists() == bool(measured)
    again, printed, errors = command()
    assert len(again) == 12 - finished
    assert not {*again} & {*lines(map(brightness.get, measured))}
    assert re.findall(r"skipped (\S+):", errors) == ["zebra/broken.jpg"]
    assert "1 of 13 images have a mask\n" in errors
    assert_complete(brightness)
    unlikely = pd.read_csv(OUT).query("probability < 0.01").image.nunique()
    expected = f"12 finished, 1 skipped that could not be read, 0 failed; {unlikely} explained for"
    assert 6 <= unlikely < 12 and expected in printed
    before = OUT.read_bytes()
    assert command()[0] == [] and OUT.read_bytes() == before


def test_maps_are_written_beside_and_again_after_they_were_lost(command, brightness):
    command(maps="maps")
    lost = Path("maps/zebra/3.png.npz")
    before = lost.read_bytes()
    lost.unlink()
    assert command(maps="maps")[0] == [] and lost.read_bytes() == before
    for name in brightness:
        with np.load(f"maps/{name}.npz", allow_pickle=False) as file:
            saved = dict(file)
        assert saved["methods"].tolist() == METHODS and saved["maps"].shape == (2, 40, 40)
        assert saved["maps"][0].max() == saved["maps"][0, 19:21, 19:21].max()
        about = [saved[key].item() for key in ("class", "network", "stands_in_for", "budget")]
        assert about == [name.split("/")[0], "Cheap", "", 1000] and saved["seed"] == 0


def test_one_more_method_is_measured_alone_and_other_results_stay(command, brightness):
    command(methods="edges")
    assert command()[0] == lines(brightness.values(), "centre")
    assert_complete(brightness)
    for number, changed in enumerate(({"methods": "random"}, {"budget": 10}, {"seed": 1})):
        assert len(command(out=f"{number}.csv", **changed)[0]) == 12
        assert command()[0] == []


def test_results_of_another_run_are_refused_and_left(command, brightness, monkeypatch):
    command()
    before = OUT.read_bytes()

    def refused(message, content=before, **changed):
        OUT.write_bytes(content)
        measured, printed, _ = command(**changed)
        assert re.search(f"^Stopped: .*{OUT} .*{message}.* and is left as it is: name", printed)
        assert measured == [] and OUT.read_bytes() == content

    refused(r"\(image African_elephant/0.png, budget 1000\)", budget=10)
    refused(r"\(image African_elephant/0.png, seed 0\)", seed=1)
    refused(r"\(image African_elephant/0.png, method edges\)", methods="centre")
    with monkeypatch.context() as other:
        other.setattr(Network, "stands_in_for", "Other")
        refused("stands_in_for none")
    for content in (b"a,b\n1,3\n", b"\xff\xd8\xff", before.replace(b"seconds", b"time")):
        refused("is no result of this command", content)
    Path("images/zebra/1.png").rename("away.png")
    refused("image zebra/1.png, digest")
    Path("images/zebra/2.png").rename("images/zebra/1.png")
    refused("image zebra/1.png, digest")


def test_the_class_is_the_predicted_one_where_the_folder_names_none(command):
    folder = Path("holi\u202eday")
    image(folder / "one.png", 255)
    shutil.copy(folder / "one.png", folder / "copy.png")
    measured, printed, errors = command(str(folder), methods="centre,edges,centre")
    assert measured == lines([255])
    assert r"holi\u202eday is no class" in errors and "0 of 2 images have a mask" in errors
    assert printed == f"{OUT}: 2 finished, 0 skipped that could not be read, 0 failed\n"
    table, rows = pd.read_csv(OUT), [*itertools.product(["copy.png", "one.png"], METHODS)]
    assert [*zip(table.image, table.method)] == rows
    [(label, name, _)] = Network("Cheap", 40).top(np.full((40, 40, 3), 255, np.uint8), 1)
    found = set(zip(table.class_from, table["class"], table.class_index))
    assert found == {("prediction", name, label)}


def test_what_is_not_read_is_named_and_counted(command):
    folder, masks = Path("black_bear"), Path("masks/black_bear")
    for name in ("good.png", "masked.png", "mask.png"):
        image(folder / name, 9 * len(name))
    masks.mkdir(parents=True)
    for path in (folder / "broken\u202e.png", masks / "masked.png"):
        path.write_bytes(b"\x89PNG")
    for path in (folder / "pipe.png", masks / "mask.png"):
        os.mkfifo(path)
    (folder / "link.png").symlink_to("nowhere.png")
    for name in ("a.HEIC", "b.heic", "c.dng", "notes.txt", ".d.heic"):
        (folder / name).touch()
    _, printed, errors = command("black_bear")
    assert "1 finished, 5 skipped that could not be read, 0 failed" in printed
    assert "; left out: 2 .heic, 1 .dng, 1 .txt" in printed
    for name in ("masked", r"broken\u202e", "pipe", "mask", "link"):
        assert re.search(rf"skipped \S*{re.escape(name)}.png: ", errors)
    assert "\u202e" not in errors and "masks/black_bear/mask.png is not a regular file" in errors
    for path in (folder / "good.png", OUT):
        path.unlink()
    assert "No image could be measured: 0 finished, 5 skipped" in command("black_bear")[1]
    assert not OUT.exists()


def test_file_names_of_any_bytes_make_a_file_that_is_read_again(command, monkeypatch):
    patch(monkeypatch.setattr, "=own")
    folder = Path("black_bear")
    names = f'a\rb#line\nbreak#a "b", c#ä\u202f#\\x0d#\udcff#=cmd|!A1#\u202e#{"a" * 240}'.split("#")
    names = [f"{name}.png" for name in names]
    for number, name in enumerate(names):
        image(folder / "new.png", 10 * number)
        (folder / "new.png").rename(folder / name)
    assert len(command("black_bear", maps="maps")[0]) == len(names)
    before, table = OUT.read_bytes(), pd.read_csv(OUT, encoding="utf-8")
    assert set(table.image) == {*map(escaped, names)} and set(table.network) == {r"\=own"}
    assert {path.name[:-4] for path in Path("maps").iterdir()} == set(table.image)
    assert command("black_bear", maps="maps")[0] == [] and OUT.read_bytes() == before


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
        (
            {"out": "crane/one.png/results.csv"},
            "--out cannot be written: Not a dir.*one.png/results.csv'",
        ),
        ({"out": "crane"}, "no regular file: '.*crane'"),
        ({"out": "pipe"}, "no regular file: '.*pipe'"),
        ({"out": "b" * 256}, "too long: '.*bbb'"),
        ({"maps": "crane/one.png"}, "--maps cannot be written: Not a dir.*/0.png.npz'"),
        ({"folder": "long", "maps": "maps"}, "too long: '.*aaa.png.npz'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_started(
    command, brightness, monkeypatch, changed, message
):
    image(Path("crane/one.png"))
    image(Path("long", f"{'a' * 251}.png"))
    Path("masks").mkdir()
    os.mkfifo("pipe")
    before = {*Path().rglob("*")}
    monkeypatch.setattr(evaluate, "run", lambda *_: pytest.fail("a task was started"))
    monkeypatch.setattr(Network, "answer", lambda *_: pytest.fail("the network was called"))
    _, printed, _ = command(**changed)
    assert re.search(f"^Stopped: .*{message}", printed) and "\n" not in printed
    assert {*Path().rglob("*")} - before == {Path("log")}


def test_a_second_command_for_the_same_file_is_refused(command, brightness):
    with lock(OUT):
        measured, printed, _ = command()
    assert measured == [] and "results.csv: wait until it ends" in printed


def real(folder, *options):
    """The only row that the whole command writes, and what it prints."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "cwd": folder.parent}
    command = "-m", "lab.evaluate", folder, "--out", OUT, *options
    with start(*command, **pipes) as process:
        printed = process.communicate(timeout=240)[0].decode()
    assert "1 finished" in printed and not re.search("Traceback|Warn|WARN", printed), printed
    [row] = pd.read_csv(folder.parent / OUT).to_dict("records")
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
    # Progress bars, as of shap, share a semaphore that an ended process must not leave.
    code = "import numpy as np, tqdm\ndef predict(images):\n    red = images[..., 0].mean((1, 2))"
    code += "\n    tqdm.tqdm.get_lock()\n    return np.stack([1 - red, red], axis=1)"
    (tmp_path / "own.py").write_text(code)
    (tmp_path / "labels.txt").write_text("dark\n=bright\n")
    image(tmp_path / "holiday" / "a.png", 204)
    options = "--model=own:predict --preprocess=0..1 --input-size=32 --labels=labels.txt".split()
    row, _ = real(tmp_path / "holiday", *options, "--methods", "rise", "--budget", 50)
    assert (row["class"], row["class_index"], row["network"]) == (r"\=bright", 1, "own:predict")
    assert row["probability"] == pytest.approx(0.8) and row["deletion_black"] == pytest.approx(0.4)
