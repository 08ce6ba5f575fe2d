import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from commands import ended, saved, wait_for
from PIL import Image

from lab.files import lock
from lab.study import __main__ as command
from lab.study import results, runner
from lab.study.results import Results
from lab.study.runner import Task, image_digest

LOG = "STUDY_TEST_LOG"


# A study without a network, in place of that of RISE. A file holds its tasks' numbers.


@runner.version(1)
def work(network, image, mask, number):
    with open(os.environ[LOG], "a") as log:
        log.write(f"{number} {os.getpid()}\n")
    if number == -1:
        raise ZeroDivisionError("one")
    time.sleep(0.2 if number > 3 else 0)  # a command that is killed is not at its end
    brightness = np.float32(0 if image is None else image.mean())
    about = {"number": np.int64(number), "tenth": number / 10, "bright": brightness}
    rows = [about | {"n": n, "mask": mask is not None} for n in range(3)]
    return rows, {"square": np.full((2, 2), number**2, np.float16)} if number % 2 else {}


def tasks(images, profile):
    planned = json.loads(Path(os.environ[LOG]).with_name("planned.json").read_text())
    plan = [Task("squares", work, None, None, {"number": n}, 10) for n in planned]
    return [*plan, Task("zeros", work, None, None, {"number": 0}, 5)]


def derive(found):
    squares = found.table("squares").drop(columns="doubled", errors="ignore")
    keys = squares[squares.number % 2 == 1].key.unique()
    total = sum(float(found.array("squares", key, "square").sum()) for key in keys)
    answers = pd.DataFrame({"name": ["total"], "text": [f"{total:g}"]})
    return {"squares": squares.assign(doubled=squares.number * 2), "answers": answers}


def put_into(root, patch):
    """Let the command see and write nothing but a folder of its own."""
    patch(results, "ROOT", root)
    patch(runner, "MEMO", root / ".cache" / "tasks")


if __name__ == "__main__":  # the command with two processes of its own, to be killed
    import test_study_command

    put_into(Path(sys.argv[1]), setattr)
    sys.modules["lab.study.rise"] = test_study_command
    runner.CPU_COUNT = 2
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

    def __call__(self):
        """Run it: the numbers that were measured, and what it printed last."""
        self.log.write_text("")
        code = None
        try:
            command.main(self.arguments)
        except SystemExit as stopped:
            code = stopped.code
        printed, self.errors = self.capsys.readouterr()
        measured = [int(line.split()[0]) for line in self.log.read_text().splitlines()]
        return sorted(measured), code or printed

    def files(self):
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}

    def provenance(self):
        return dict(Results(self.folder).table("rise_provenance").itertuples(index=False))

    def forget(self):
        """Leave nothing but the results, as in a fresh clone."""
        for path in runner.MEMO.iterdir():
            path.unlink()


@pytest.fixture
def study(tmp_path, monkeypatch, capsys, scheduler):
    put_into(tmp_path, monkeypatch.setattr)
    monkeypatch.setenv("LAB_PROFILE", "quick")
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    monkeypatch.setitem(sys.modules, "lab.study.rise", sys.modules[__name__])
    cheap = {"stands_in_for": "Other", "source": "file", "input_size": 30, "runtime": "none"}

    def network(model):
        return SimpleNamespace(name=f"cheap {model}", fingerprint=f"w {model}", **cheap)

    for module in (runner, command):
        monkeypatch.setattr(module, "network", network)
    return Study(tmp_path, scheduler, capsys)


def test_everything_is_measured_once_and_written_as_a_whole(study):
    measured, printed = study()
    assert measured == [0, 1, 2, 3] and "anew: 3 of squares, 1 of zeros" in printed
    names = ["answers", "rise_provenance", "rise_tasks", "squares", "zeros"]
    assert sorted(study.files()) == sorted([*(f"{name}.csv" for name in names), "squares.npz"])
    assert ", ".join(sorted(study.files())) in printed
    found = Results(study.folder)
    squares = found.table("squares")
    assert list(squares) == "number tenth bright n mask place key doubled".split()
    assert squares.number.tolist() == [1] * 3 + [2] * 3 + [3] * 3
    assert squares.tenth.tolist() == [0.1] * 3 + [0.2] * 3 + [0.3] * 3
    assert squares.place.tolist() == [0, 1, 2] * 3
    assert found.table("answers").text.tolist() == ["40"]  # 4 times 1 and 9
    assert found.array("squares", squares.key[6], "square").tolist() == [[9, 9], [9, 9]]
    assert study.provenance() == {"profile": "quick"}
    records = found.table("rise_tasks")
    assert records.table.tolist() == ["squares"] * 3 + ["zeros"]
    assert set(records.version) == {1} and set(records.numpy) == {np.__version__}
    assert set(records.date) == {pd.Timestamp.today().date().isoformat()}


def test_only_what_changed_is_measured_and_each_task_has_its_date_and_version(study, monkeypatch):
    study()
    study.forget()
    monkeypatch.setattr(runner.platform, "python_version", lambda: "9.9.9")
    study.plan(1, 3, 5)
    measured, printed = study()
    assert measured == [5] and "anew: 1 of squares" in printed
    found = Results(study.folder)
    squares = found.table("squares")
    assert squares.number.tolist() == [1] * 3 + [3] * 3 + [5] * 3
    assert squares.doubled.tolist() == [2] * 3 + [6] * 3 + [10] * 3
    assert [found.array("squares", key, "square")[0, 0] for key in squares.key[::3]] == [1, 9, 25]
    assert (found.text("rise_tasks").python == "9.9.9").tolist() == [False, False, True, False]
    study.plan(5, 1)  # fewer, in another order: nothing to measure, but to write
    assert study()[0] == []
    assert Results(study.folder).table("squares").number.tolist() == [5] * 3 + [1] * 3
    monkeypatch.setattr(work, "version", 2)  # the function has changed
    assert study()[0] == [0, 1, 5]
    assert Results(study.folder).table("rise_tasks").version.tolist() == [2, 2, 2]


def test_what_fails_replaces_nothing_and_is_tried_again(study, monkeypatch):
    study()
    before = study.files()
    study.plan(1, -1, 4)
    measured, printed = study()
    assert measured == [-1, 4] and "Stopped: 1 of 2 tasks failed" in printed
    assert "results is unchanged" in printed and "\n" not in printed
    assert "failed squares, -1: ZeroDivisionError('one')\n" in study.errors
    assert study()[0] == [-1] and study.files() == before  # 4 is saved
    study.plan(1, 4)
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "derive", lambda found: found.table("nowhere"))
        assert "nowhere.csv" in study()[1] and study.files() == before
    assert study()[0] == []
    assert Results(study.folder).table("squares").number.tolist() == [1] * 3 + [4] * 3


def test_what_the_results_lack_is_measured(study):
    study()
    before = study.files()
    whole, rows = before["squares.npz"], before["squares.csv"].splitlines(keepends=True)
    for name, content, expected in [
        ("squares.npz", None, [1, 2, 3]),
        ("squares.npz", whole[:100], [1, 2, 3]),
        ("squares.csv", b"".join(rows[:-1]), [3]),
        ("squares.csv", b"\xff\xfe", [1, 2, 3]),
        ("zeros.csv", b"number,n\n1,2\n", [0]),  # a table of something else
        ("rise_tasks.csv", None, [0, 1, 2, 3]),
    ]:
        study.forget()
        (study.folder / name).unlink()
        if content is not None:
            (study.folder / name).write_bytes(content)
        assert study()[0] == expected
        assert study.files() == before


def test_where_nothing_is_missing_no_process_starts_and_no_file_changes(study, monkeypatch):
    study()
    before = study.files()
    study.forget()
    study.folder.rename(study.folder.with_name(".results.old"))  # killed between two renames
    monkeypatch.setattr(runner, "_cluster", lambda *_: pytest.fail("a process was started"))
    measured, printed = study()
    assert measured == [] and study.files() == before
    assert "none, nothing has changed" in printed and "quick/results: nothing has" in printed


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Two images, each measured with two networks."""
    paths = {kind: [tmp_path / kind / "1.png"] for kind in ("African_elephant", "black_bear")}
    for [path] in paths.values():
        path.parent.mkdir()
        Image.new("RGB", (9, 9), (200, 200, 200)).save(path)

    def tasks(images, profile):
        where = [(model, *images[kind]) for model in command.NETWORKS for kind in images]
        return [Task("squares", work, *of, {"number": n}, 1) for n, of in enumerate(where)]

    monkeypatch.setattr(command, "list_images", paths.get)
    monkeypatch.setattr(sys.modules[__name__], "tasks", tasks)
    monkeypatch.setattr(sys.modules[__name__], "derive", lambda found: {})
    return paths


def test_networks_and_images_are_part_of_what_is_measured(study, paths, tmp_path):
    assert study()[0] == [0, 1, 2, 3]
    squares = Results(study.folder).table("squares")
    assert list(squares)[:4] == ["network", "class", "picture", "number"]
    assert set(squares.picture) == {"1"} and set(squares.bright) == {200}
    assert squares[["network", "class"]].values.tolist()[::3] == [
        [network, kind] for network in ("cheap xception", "cheap resnet50") for kind in paths
    ]
    facts = study.provenance()
    assert facts["network_2"] == "cheap resnet50" and facts["network_2_weights"] == "w resnet50"
    assert facts["network_1_stands_in_for"] == "Other" and facts["network_1_source"] == "file"
    assert facts["picture black_bear/1"] == image_digest(paths["black_bear"][0])
    assert study()[0] == []
    mask = tmp_path / "masks" / "black_bear" / "1.png"
    mask.parent.mkdir(parents=True)
    Image.new("L", (9, 9), 255).save(mask)
    assert study()[0] == [1, 3]
    masks = Results(study.folder).table("squares")["mask"].tolist()
    assert masks == ([False] * 3 + [True] * 3) * 2
    Image.new("RGB", (9, 9)).save(paths["black_bear"][0])
    assert study()[0] == [1, 3]
    mask.write_bytes(b"no image")
    assert "1.png" in study()[1]


def test_more_results_are_not_replaced_by_fewer_of_the_same_networks(study, paths, monkeypatch):
    study.folder = study.root / "report" / "results"
    monkeypatch.setenv("LAB_PROFILE", "study")
    study()
    before = study.files()
    monkeypatch.setenv("LAB_PROFILE", "full")
    measured, printed = study()
    assert measured == [] and study.files() == before
    assert "set LAB_PROFILE=study, or delete rise_provenance.csv" in printed
    # Without a profile in the environment the larger one is brought up to date.
    monkeypatch.delenv("LAB_PROFILE")
    assert study()[0] == [] and study.files() == before and "LAB_PROFILE=study" in study.errors
    monkeypatch.setenv("LAB_PROFILE", "full")
    other = runner.network("xception")
    other.fingerprint = "other"
    for module in (runner, command):
        monkeypatch.setattr(module, "network", lambda model: other)
    assert study()[0] == [0, 1, 2, 3] and study.provenance()["profile"] == "full"


def test_bad_arguments_are_refused_before_anything_is_started(study, monkeypatch):
    monkeypatch.setattr(runner, "_cluster", lambda *_: pytest.fail("a process was started"))
    monkeypatch.setenv("LAB_PROFILE", "fast")
    assert "LAB_PROFILE must be one of quick, full, study, got 'fast'" in study()[1]
    monkeypatch.setenv("LAB_PROFILE", "quick")
    study.folder.parent.mkdir(parents=True)
    study.folder.touch()
    assert "File exists" in study()[1]
    study.arguments = ["shap"]
    study()
    assert "invalid choice: 'shap'" in study.errors


def test_a_second_command_is_refused(study):
    study.folder.parent.mkdir(parents=True)
    with lock(study.folder):
        measured, printed = study()
    assert measured == [] and "quick/results: wait until it ends" in printed
    assert study()[0] == [0, 1, 2, 3]


def test_kill_9_costs_no_finished_task_and_leaves_no_process(study):
    study()
    before = study.files()
    study.forget()
    study.plan(*range(1, 13))
    study.log.unlink()
    ended(signal.SIGKILL, __file__, study.root)
    workers = {line.split()[1] for line in study.log.read_text().splitlines()}
    assert len(workers) == 2
    cmdlines = [Path(f"/proc/{pid}/cmdline") for pid in workers]
    wait_for(lambda: not any(path.exists() and path.read_bytes() for path in cmdlines))
    assert study.files() == before
    finished = {row["number"] for row in saved()}
    assert study()[0] == sorted({*range(4, 13)} - finished)
    assert Results(study.folder).table("squares").number.tolist()[::3] == [*range(1, 13)]
