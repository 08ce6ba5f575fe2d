import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from dask.distributed import Client, LocalCluster
from PIL import Image

from lab.files import ROOT
from lab.study import __main__ as command
from lab.study import engine, results
from lab.study.task import Task, picture_digest
from lab.study.results import Results

LOG = "STUDY_TEST_LOG"
NAP = "STUDY_TEST_NAP"


# A study of RISE whose tasks take no network, as workers import it from this file. What it asks for is in a file.


def work(network, image, mask, number):
    with open(os.environ[LOG], "a") as log:
        log.write(f"{number} {os.getpid()}\n")
    if number == -1:
        raise ZeroDivisionError("one")
    time.sleep(float(os.environ.get(NAP, 0)))
    brightness = np.float32(0 if image is None else image.mean())
    rows = [
        {
            "number": np.int64(number),
            "n": n,
            "tenth": number / 10,
            "bright": brightness,
            "mask": mask is not None,
        }
        for n in range(3)
    ]
    return rows, {"square": np.full((2, 2), number**2, np.float16)} if number % 2 else {}


def tasks(pictures):
    asked = json.loads(Path(os.environ[LOG]).with_name("asked.json").read_text())
    found = [Task("squares", work, None, None, {"number": number}, 10) for number in asked]
    return [*found, Task("zeros", work, None, None, {"number": 0}, 5)]


def derive(found):
    squares = found.table("squares")
    doubled = squares.drop(columns=["doubled", "key"], errors="ignore").assign(
        doubled=squares.number * 2, key=squares.key
    )
    keys = squares[squares.number % 2 == 1].key.unique()
    total = sum(float(found.array("squares", key, "square").sum()) for key in keys)
    return {
        "squares": doubled,
        "answers": pd.DataFrame({"name": ["total"], "text": [f"{total:g}"]}),
    }


def perform(work, model, weights, image, mask, arguments, key=None):
    return real_perform(work, None, None, image, mask, arguments)


real_perform = engine.perform


def describe(model):
    return {
        "network": f"fake {model}",
        "stands_in_for": "Other",
        "weights": f"w {model}",
        "source": "file",
        "input_size": 30,
        "said": f"{model} is faked",
    }


def describe_another(model):
    return describe(model) | {"weights": f"v {model}"}


def put_into(root, patch):
    """Let the command see and write nothing but a folder of its own."""
    patch(results, "ROOT", root)
    patch(command, "JOURNALS", root / ".cache" / "study")


if __name__ == "__main__":  # the command on two processes of its own, to be killed
    import test_study_command

    put_into(Path(sys.argv[1]), setattr)
    sys.modules["lab.study.rise"] = test_study_command
    engine.CPU_COUNT = 2
    command.main(["rise"])
    sys.exit()


@pytest.fixture(scope="module")
def address():
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        host="127.0.0.1",
        silence_logs=50,
        memory_limit=None,
        env={LOG: str(Path(os.environ[LOG]))},
    ) as local:
        yield local.scheduler_address


@pytest.fixture(scope="module", autouse=True)
def log(tmp_path_factory):
    os.environ[LOG] = str(tmp_path_factory.mktemp("log") / "log")
    yield Path(os.environ[LOG])
    del os.environ[LOG]


class Study:
    """The command in a folder of its own."""

    def __init__(self, root, log, capsys):
        self.root, self.log, self.capsys = root, log, capsys
        self.folder = root / "report" / "quick" / "results"
        self.arguments = ["rise"]
        self.asks(1, 2, 3)
        log.unlink(missing_ok=True)

    def asks(self, *numbers):
        self.log.with_name("asked.json").write_text(json.dumps(numbers))

    def __call__(self):
        """Run it: the numbers that were measured, and what it said."""
        self.log.unlink(missing_ok=True)
        try:
            command.main(self.arguments)
        except SystemExit as ended:
            code = ended.code
        else:
            code = 0
        said, self.errors = self.capsys.readouterr()
        return self.measured(), code or said

    def measured(self):
        return (
            sorted(int(line.split()[0]) for line in self.log.read_text().splitlines())
            if self.log.exists()
            else []
        )

    def files(self):
        return {
            path.relative_to(self.folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.folder.rglob("*")
            if path.name != ".lock"
        }

    def provenance(self):
        return dict(Results(self.folder).table("rise_provenance").itertuples(index=False))

    def journals(self):
        return [
            path
            for path in (self.root / ".cache").rglob("*")
            if path.is_file() and path.name != ".lock"
        ]


@pytest.fixture
def study(tmp_path, monkeypatch, log, capsys, address):
    put_into(tmp_path, monkeypatch.setattr)
    monkeypatch.setitem(sys.modules, "lab.study.rise", sys.modules[__name__])

    @contextlib.contextmanager
    def cluster(scheduler, n_jobs):
        with Client(address) as client:
            yield client

    monkeypatch.setattr(engine, "cluster", cluster)
    return Study(tmp_path, log, capsys)


def test_everything_is_measured_once_and_written_as_a_whole(study):
    measured, said = study()
    assert measured == [0, 1, 2, 3]
    assert (
        "anew: 3 of squares, 1 of zeros" in said
        and "answers.csv, rise_provenance.csv, squares.csv, squares.npz, zeros.csv" in said
    )
    found = Results(study.folder)
    squares = found.table("squares")
    assert list(squares) == ["number", "n", "tenth", "bright", "mask", "doubled", "key"]
    assert (
        squares.number.tolist() == [1] * 3 + [2] * 3 + [3] * 3
        and squares.tenth.tolist() == [0.1] * 3 + [0.2] * 3 + [0.3] * 3
    )
    assert found.table("answers").text.tolist() == ["40"]  # 4 times 1 and 9
    assert found.array("squares", squares.key[6], "square").tolist() == [[9, 9], [9, 9]]
    facts = study.provenance()
    assert (
        facts["profile"] == "quick"
        and facts["numpy"] == np.__version__
        and facts["arrays squares"] == "2"
        and facts["arrays zeros"] == "0"
    )
    assert (
        sorted(study.files())
        == ["answers.csv", "rise_provenance.csv", "squares.csv", "squares.npz", "zeros.csv"]
        and not study.journals()
    )


def test_where_nothing_is_missing_no_file_changes(study, monkeypatch):
    study()
    before = study.files()
    monkeypatch.setattr(command.platform, "python_version", lambda: "9.9.9")
    monkeypatch.setattr(
        command,
        "datetime",
        SimpleNamespace(date=SimpleNamespace(today=lambda: pd.Timestamp("2000-01-01"))),
    )
    measured, said = study()
    assert measured == [] and study.files() == before
    assert (
        "none, for nothing has changed" in said and "nothing, for the files hold it already" in said
    )


def test_only_what_changed_is_measured(study):
    study()
    study.asks(1, 3, 5)
    measured, said = study()
    assert measured == [5] and "anew: 1 of squares" in said
    found = Results(study.folder)
    squares = found.table("squares")
    assert (
        squares.number.tolist() == [1] * 3 + [3] * 3 + [5] * 3
        and squares.doubled.tolist() == [2] * 3 + [6] * 3 + [10] * 3
    )
    assert [found.array("squares", key, "square")[0, 0] for key in squares.key[::3]] == [1, 9, 25]
    study.asks(5, 1)  # fewer, in another order: nothing to measure, but to write
    measured, said = study()
    assert (
        measured == []
        and Results(study.folder).table("squares").number.tolist() == [5] * 3 + [1] * 3
    )
    assert study.provenance()["arrays squares"] == "2"


def test_a_failed_task_replaces_nothing_and_is_tried_again(study):
    study()
    before = study.files()
    study.asks(1, -1, 4)
    measured, said = study()
    assert (
        measured == [-1, 4]
        and "Stopped: 1 of 2 tasks failed" in said
        and "is as it was" in said
        and "\n" not in said
    )
    assert "failed squares, number -1: ZeroDivisionError: one\n" in study.errors
    assert study.files() == before
    measured, _ = study()
    assert measured == [-1] and study.files() == before  # 4 is kept
    study.asks(1, 4)
    measured, _ = study()
    assert (
        measured == []
        and Results(study.folder).table("squares").number.tolist() == [1] * 3 + [4] * 3
    )


def test_a_derivation_that_fails_replaces_nothing(study, monkeypatch):
    study()
    before = study.files()
    study.asks(7)
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "derive", lambda found: found.table("nowhere"))
        measured, said = study()
    assert measured == [7] and "nowhere.csv" in said and study.files() == before
    assert study()[0] == [] and Results(study.folder).table("squares").number.tolist() == [7] * 3


def test_what_the_results_lack_is_measured(study):
    study()
    before = study.files()
    (study.folder / "squares.npz").unlink()
    assert study()[0] == [1, 2, 3]
    (study.folder / "zeros.csv").write_text("number,n\n1,2\n")  # a table of something else
    assert study()[0] == [0]
    after = study.files()
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in before.items()
    }
    (study.folder / "squares.npz").write_bytes(before["squares.npz"][0][:100])
    assert "squares.npz cannot be read" in study()[1]


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Two pictures, each asked of two networks, which are faked."""
    paths = {kind: [tmp_path / kind / "1.png"] for kind in ("African_elephant", "black_bear")}
    for [path] in paths.values():
        path.parent.mkdir()
        Image.new("RGB", (9, 9), (200, 200, 200)).save(path)
    monkeypatch.setattr(command, "list_images", paths.get)
    monkeypatch.setattr(engine, "describe", describe)
    monkeypatch.setattr(engine, "perform", perform)

    def tasks(pictures):
        every = [
            (network, path)
            for network in ("xception", "resnet50")
            for paths in pictures.values()
            for path in paths
        ]
        return [
            Task("squares", work, network, path, {"number": number}, 1)
            for number, (network, path) in enumerate(every)
        ]

    monkeypatch.setattr(sys.modules[__name__], "tasks", tasks)
    monkeypatch.setattr(sys.modules[__name__], "derive", lambda found: {})
    return paths


def test_networks_and_pictures_are_part_of_what_is_measured(study, paths, tmp_path):
    assert study()[0] == [0, 1, 2, 3] and study.errors.count("is faked") == 2
    squares = Results(study.folder).table("squares")
    assert (
        list(squares)[:4] == ["network", "class", "picture", "number"]
        and set(squares.picture) == {"1"}
        and set(squares.bright) == {200}
    )
    assert squares[["network", "class"]].values.tolist()[::3] == [
        [network, kind] for network in ("fake xception", "fake resnet50") for kind in paths
    ]
    facts = study.provenance()
    assert (
        facts["network_2"] == "fake resnet50"
        and facts["network_2_weights"] == "w resnet50"
        and facts["network_1_stands_in_for"] == "Other"
    )
    assert facts["picture black_bear/1"] == picture_digest(paths["black_bear"][0])
    assert study()[0] == []
    mask = tmp_path / "masks" / "black_bear" / "1.png"
    mask.parent.mkdir(parents=True)
    Image.new("L", (9, 9), 255).save(mask)
    assert (
        study()[0] == [1, 3]
        and Results(study.folder).table("squares")["mask"].tolist()
        == ([False] * 3 + [True] * 3) * 2
    )
    mask.write_bytes(b"no picture")
    assert "1.png is not a JPEG" in study()[1]


def test_more_results_are_not_replaced_by_fewer_of_the_same_networks(study, paths, monkeypatch):
    study.folder = study.root / "report" / "results"
    monkeypatch.setenv("LAB_PROFILE", "study")
    study()
    before = study.files()
    monkeypatch.setenv("LAB_PROFILE", "full")
    measured, said = study()
    assert (
        measured == []
        and "set LAB_PROFILE=study, or delete rise_provenance.csv" in said
        and study.files() == before
    )
    # Who asked for no profile has the larger one brought up to date.
    monkeypatch.delenv("LAB_PROFILE")
    assert study()[0] == [] and study.files() == before
    monkeypatch.setenv("LAB_PROFILE", "full")
    monkeypatch.setattr(engine, "describe", describe_another)
    assert study()[0] == [0, 1, 2, 3] and study.provenance()["profile"] == "full"


def test_what_a_study_needs_of_another_is_asked_for_first_and_found_when_derived(
    study, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "NEEDS", ("others_sanity",), raising=False)
        measured, said = study()
        assert measured == [] and "no others_sanity.csv" in said and "lab.study others" in said
        study.folder.mkdir(parents=True, exist_ok=True)
        (study.folder / "others_sanity.csv").write_text("method,value\nrise,5\n")
        patch.setattr(
            sys.modules[__name__], "derive", lambda found: {"answers": found.table("others_sanity")}
        )
        study()
    assert Results(study.folder).table("answers")["value"].tolist() == ["5"]


def test_bad_arguments_are_refused_before_anything_is_started(study, monkeypatch):
    monkeypatch.setattr(engine, "cluster", lambda *_: pytest.fail("started"))
    monkeypatch.setenv("LAB_PROFILE", "fast")
    assert "LAB_PROFILE must be one of quick, full, study, got 'fast'" in study()[1]
    study.arguments = ["shap"]
    study()
    assert "invalid choice: 'shap'" in study.errors
    monkeypatch.setenv("LAB_PROFILE", "quick")
    study.arguments = ["rise"]
    study.folder.parent.mkdir(parents=True)
    study.folder.touch()
    assert "File exists" in study()[1]


def test_a_second_command_is_refused(study):
    with command._alone():
        measured, said = study()
    assert (
        measured == []
        and said == "Stopped: another python -m lab.study is measuring: wait until it has ended"
    )
    assert study()[0] == [0, 1, 2, 3]


def test_kill_9_costs_no_finished_task_and_leaves_no_process(study):
    study()
    before = study.files()
    study.asks(*range(1, 13))
    study.log.unlink()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
        NAP: "0.2",
    }

    def wait_for(condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def kept():
        pieces = command._journal("squares").read()
        return {int(rows[0]["number"]) for rows in pieces.values() if len(rows) == 3}

    finished, workers, once = set(), set(), {}
    for _ in range(2):
        running = subprocess.Popen(
            [sys.executable, __file__, str(study.root)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: len(kept() - finished) >= 2)
        running.kill()
        running.communicate()
        now = {int(line.split()[1]) for line in study.log.read_text().splitlines()}
        assert len(now - workers) == 2  # each run has its own two
        workers |= now
        wait_for(
            lambda: (
                not any(
                    Path(f"/proc/{pid}/cmdline").exists()
                    and Path(f"/proc/{pid}/cmdline").read_bytes()
                    for pid in workers
                )
            )
        )
        finished = kept()
        assert study.files() == before
        calls = study.measured()
        # What one run had finished, the next one did not begin again.
        assert all(calls.count(number) == times for number, times in once.items())
        once = {number: calls.count(number) for number in finished}
    last, _ = study()
    assert len(finished) >= 4 and not finished & set(last) and not {1, 2, 3} & set(calls + last)
    assert Results(study.folder).table("squares").number.tolist() == [
        number for number in range(1, 13) for _ in range(3)
    ]
    assert not study.journals()
