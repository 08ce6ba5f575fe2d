import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import dask.system
import numpy as np
import pytest
from commands import ended, wait_for
from PIL import Image

from lab.files import lock
from lab.study import __main__ as command
from lab.study import results, runner
from lab.study.results import Results
from lab.study.store import Task, image_digest, read, version

LOG = "STUDY_TEST_LOG"


# A study without a network, in place of that of RISE. A file holds its tasks' numbers.


@version(1)
def work(network, image, mask, number):
    with open(os.environ[LOG], "a") as log:
        log.write(f"{number} {os.getpid()}\n")
    if number == -1:
        raise ZeroDivisionError("one")
    time.sleep(0.2 if number > 3 else 0)  # a command that is killed is not at its end
    brightness = np.float32(0 if image is None else image.mean())
    about = {"number": np.int64(number), "tenth": number / 10, "bright": brightness}
    rows = [about | {"n": n, "mask": mask is not None} for n in range(3)]
    return rows, {"square": np.full((3, 2), number**2, np.float16)} if number % 2 else {}


def tasks(plan):
    planned = json.loads(Path(os.environ[LOG]).with_name("planned.json").read_text())
    listed = [Task("squares", work, None, None, {"number": n}, 10) for n in planned]
    return [*listed, Task("zeros", work, None, None, {"number": 0}, 5)]


def put_into(root, patch):
    """Let the command see and write nothing but a folder of its own."""
    patch(results, "ROOT", root)


if __name__ == "__main__":  # the command with two processes of its own, to be killed
    import test_study_command

    put_into(Path(sys.argv[1]), setattr)
    command.TASKS["rise"] = test_study_command.tasks
    dask.system.CPU_COUNT = 2
    command.main(["rise"])
    sys.exit()


class Study:
    """The command in a folder of its own."""

    def __init__(self, root, scheduler, capsys):
        self.root, self.log, self.capsys = root, root / "log", capsys
        self.folder = root / "report" / "quick" / "results"
        self.arguments = ["rise", "--scheduler", scheduler]
        self.plan(1, 2, 3)

    def plan(self, *numbers):
        (self.root / "planned.json").write_text(json.dumps(numbers))

    def __call__(self, *arguments):
        """Run it: the numbers that were measured, and what it printed last."""
        self.log.write_text("")
        code = None
        try:
            command.main([*self.arguments, *arguments])
        except SystemExit as stopped:
            code = stopped.code
        printed, self.errors = self.capsys.readouterr()
        measured = [int(line.split()[0]) for line in self.log.read_text().splitlines()]
        return sorted(measured), code or printed

    def files(self):
        return {path: path.read_bytes() for path in self.folder.rglob("[!.]*") if path.is_file()}

    def table(self, name="squares"):
        return Results(self.folder).table(name)


@pytest.fixture
def study(tmp_path, monkeypatch, capsys, scheduler):
    put_into(tmp_path, monkeypatch.setattr)
    monkeypatch.setenv("LAB_PROFILE", "quick")
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    monkeypatch.setitem(command.TASKS, "rise", tasks)
    cheap = {"stands_in_for": "Other", "source": "file", "input_size": 30, "runtime": "none"}

    def network(model):
        return SimpleNamespace(name=f"cheap {model}", fingerprint=f"w {model}", **cheap)

    for module in (runner, command):
        monkeypatch.setattr(module, "network", network)
    return Study(tmp_path, scheduler, capsys)


def test_everything_is_measured_once_and_read_back(study):
    measured, printed = study()
    assert measured == [0, 1, 2, 3] and "anew: 3 of squares, 1 of zeros" in printed
    found = Results(study.folder)
    squares = found.table("squares")
    assert list(squares) == "number tenth bright n mask place key".split()
    assert squares["number"].tolist() == [1] * 3 + [2] * 3 + [3] * 3
    assert squares["tenth"].tolist() == [0.1] * 3 + [0.2] * 3 + [0.3] * 3
    assert found.array("squares", squares["key"][6], "square").tolist() == [[9, 9]] * 3
    assert found.facts["rise"]["profile"] == "quick"
    records = found.records()
    assert records["table"].tolist() == ["squares"] * 3 + ["zeros"]
    assert set(records["version"]) == {1} and set(records["numpy"]) == {np.__version__}
    assert set(records["date"]) == {time.strftime("%Y-%m-%d")}
    before = study.files()
    measured, printed = study()
    assert measured == [] and "none, nothing has changed" in printed and study.files() == before


def test_only_what_changed_is_measured_and_what_is_not_planned_goes(study, monkeypatch):
    study()
    study.plan(1, 3, 5)
    assert study()[0] == [5]
    assert study.table()["number"].tolist() == [1] * 3 + [3] * 3 + [5] * 3
    study.plan(5, 1)  # fewer, in another order: nothing to measure
    assert study()[0] == []
    assert study.table()["number"].tolist() == [5] * 3 + [1] * 3
    assert len(list((study.folder / "squares").glob("*.npz"))) == 2
    monkeypatch.setattr(work, "version", 2)  # the function has changed
    assert study()[0] == [0, 1, 5]
    assert set(Results(study.folder).records()["version"]) == {2}


def test_what_fails_changes_no_result_and_is_tried_again(study):
    study()
    before, table = study.files(), study.table()
    study.plan(1, -1, 4)
    measured, printed = study()
    assert measured == [-1, 4] and "Stopped: 1 of 4 tasks failed" in printed
    assert "results are as before" in printed and "\n" not in printed
    assert "failed squares, -1: ZeroDivisionError('one')\n" in study.errors
    assert before.items() <= study.files().items() and study.table().equals(table)
    assert study()[0] == [-1]  # 4 is stored
    study.plan(1, 4)
    assert study()[0] == [] and study.table()["number"].tolist() == [1] * 3 + [4] * 3


def test_what_the_store_lacks_is_measured(study):
    study()
    before = study.files()
    squares = [path for path in before if path.parent.name == "squares"]
    for content in (None, b"", before[squares[0]][:100]):
        number = next(iter(read(squares[0]).values()))[1].rows[0]["number"]
        squares[0].unlink()
        if content is not None:
            squares[0].write_bytes(content)
        assert study()[0] == [number] and study.files() == before


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Two images of elephants and one of a bear, each measured with two networks."""
    names = "African_elephant/1.png", "African_elephant/2.png", "black_bear/1.png"
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (200, 200, int(path.stem))).save(path)

    def tasks(plan):
        return [
            Task("squares", seeded, model, path, {"number": n, "seeds": plan.seeds}, 1)
            for n, path in enumerate(plan.every)
            for model in ("xception", "resnet50")
        ]

    monkeypatch.setattr(
        command, "list_images", lambda kind: [path for path in paths if path.parent.name == kind]
    )
    monkeypatch.setitem(command.TASKS, "rise", tasks)
    return paths


@version(1)
def seeded(network, image, mask, number, seeds):
    return work(network, image, mask, number)


def test_networks_and_images_are_part_of_what_is_measured(study, paths, tmp_path):
    assert study()[0] == [0, 0, 1, 1, 2, 2]
    squares = study.table()
    assert list(squares)[:4] == ["network", "class", "image", "number"]
    assert squares[["network", "image"]].drop_duplicates().values.tolist() == [
        [f"cheap {model}", f"{path.parent.name}/{path.name}"]
        for path in paths
        for model in ("xception", "resnet50")
    ]
    facts = Results(study.folder).facts["rise"]
    first, second = facts["networks"]
    assert (second["name"], second["weights"]) == ("cheap resnet50", "w resnet50")
    assert (first["stands_in_for"], first["source"], first["input_size"]) == ("Other", "file", 30)
    assert facts["images"]["black_bear/1.png"] == image_digest(paths[2])
    mask = tmp_path / "masks" / "black_bear" / "1.png"
    mask.parent.mkdir(parents=True)
    Image.new("L", (9, 9), 255).save(mask)
    assert study()[0] == [2, 2]
    assert study.table()["mask"].tolist() == [False] * 12 + [True] * 6
    Image.new("RGB", (9, 9)).save(paths[2])
    assert study()[0] == [2, 2]
    mask.write_bytes(b"no image")
    assert "1.png" in study()[1]


def test_the_first_study_is_small_and_larger_results_are_brought_up_to_date(study, paths):
    study()
    assert Results(study.folder).facts["rise"]["images_of_each_class"] == 2
    paths.append(paths[2].with_name("2.png"))  # a second bear changes nothing
    Image.new("RGB", (9, 9)).save(paths[3])
    assert study()[0] == [] and study.table()["image"].nunique() == 3
    paths.pop()
    study("--images", "1", "--seeds", "2")
    assert study.table()["image"].nunique() == 2
    assert study()[0] == []  # as many as before
    assert Results(study.folder).facts["rise"]["seeds"] == 2
    Image.new("RGB", (9, 9)).save(paths[1].with_name("1.png"))  # other images: begins anew
    paths[0].rename(paths[0].with_name("other.png"))
    paths[0] = paths[0].with_name("other.png")
    study()
    assert Results(study.folder).facts["rise"]["seeds"] == 1
    assert study.table()["image"].nunique() == 3


def test_other_images_have_results_of_their_own(study, paths, tmp_path):
    study()
    before = study.files()
    folder = tmp_path / "other" / "animals"
    for name in ("cat/1.png", "cat/2.png", "dog/3.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (0, 0, int(Path(name).stem))).save(folder / name)
    study("--folder", str(folder))
    assert study.files() == before
    results = Results(study.folder.parent / "animals" / "results")
    assert sorted(results.facts["rise"]["images"]) == ["cat/1.png", "cat/2.png", "dog/3.png"]
    assert results.facts["rise"]["seeds"] == 2
    assert Results(study.folder).table("animals/squares").equals(results.table("squares"))
    assert study("--folder", str(folder))[0] == []
    study("--folder", str(folder), "--images", "1", "--seeds", "1")
    assert len(Results(results.folder).facts["rise"]["images"]) == 2


def test_more_than_an_hour_is_asked_for(study, monkeypatch):
    monkeypatch.setattr(runner, "_processes", lambda *_: pytest.fail("a process was started"))
    study.arguments = ["rise"]
    study.plan(*range(1, 100_000))
    measured, printed = study("--hours", ".5")
    assert measured == [] and "longer than --hours 0.5 allows: give --hours 2" in printed
    assert "100000 tasks, at most 999,995 model calls, 83 minutes here" in study.errors


def test_bad_arguments_are_refused_before_anything_is_started(study, monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "_processes", lambda *_: pytest.fail("a process was started"))
    image = tmp_path / "results" / "cat" / "1.png"
    for folder in (image.parent, tmp_path / "empty"):
        folder.mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(image)
    for arguments, message in [
        (["shap"], "no study shap: expected lime, rise"),
        (["--images", "0"], "expected a whole number from 1, got '0'"),
        (["photographs"], "name --folder"),
        (["lime", "photographs", "--folder", "x"], "name --folder, and no other study"),
        (["montages", "--folder", "x"], "only photographs, lime and rise can be measured on"),
        (["lime", "--folder", str(tmp_path / "results")], "give the folder another name"),
        (["photographs", "--folder", str(tmp_path / "no")], "there is no folder"),
        (["photographs", "--folder", str(tmp_path / "empty")], "no image in"),
    ]:
        study.arguments = arguments
        _, printed = study()
        assert message in f"{printed} {study.errors}"
    study.arguments = ["rise"]
    monkeypatch.setenv("LAB_PROFILE", "study")
    assert "LAB_PROFILE must be one of quick, full, got 'study'" in study()[1]


def test_a_second_command_is_refused(study):
    study.folder.parent.mkdir(parents=True)
    with lock(study.folder):
        measured, printed = study()
    assert measured == [] and "quick/results: wait until it ends" in printed
    assert study()[0] == [0, 1, 2, 3]


def test_kill_9_costs_no_finished_task_and_leaves_no_process(study):
    study()
    before, table = study.files(), study.table()
    study.plan(*range(1, 13))
    study.log.unlink()
    ended(signal.SIGKILL, __file__, study.root, store=study.folder / "squares")
    workers = {line.split()[1] for line in study.log.read_text().splitlines()}
    assert len(workers) == 2
    cmdlines = [Path(f"/proc/{pid}/cmdline") for pid in workers]
    wait_for(lambda: not any(path.exists() and path.read_bytes() for path in cmdlines))
    assert before.items() <= study.files().items() and study.table().equals(table)
    finished = {
        result.rows[0]["number"]
        for path in (study.folder / "squares").glob("[!.]*.npz")
        for _, result in read(path).values()
    }
    assert finished > {1, 2, 3} and study()[0] == sorted({*range(4, 13)} - finished)
    assert study.table()["number"].tolist()[::3] == [*range(1, 13)]
