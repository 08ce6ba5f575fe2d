import os
import random
import signal
import subprocess
import sys
import time

import pytest

from lab import files
from lab.files import ROOT, finish_swap, swap_in, write_whole

OLD = {"a.csv": b"a old", "b.npz": b"b old", "same.csv": b"same", "gone.csv": b"gone"}
NEW = {"a.csv": b"a new", "b.npz": b"b new", "same.csv": b"same", "c.csv": b"c new"}


def held(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def written(folder):
    for name, content in OLD.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path)


def test_the_root_is_the_projects():
    assert (ROOT / "rise.py").is_file() and (ROOT / "lab").is_dir()


def test_files_are_replaced_and_others_left(folder):
    assert swap_in(folder, NEW) == ["a.csv", "b.npz", "c.csv"]
    assert held(folder) == OLD | NEW


def test_only_these_files_are_left_but_for_hidden_ones_and_folders(folder):
    (folder / ".gitkeep").touch()
    (folder / "sub").mkdir()
    assert swap_in(folder, NEW, only=True) == ["a.csv", "b.npz", "c.csv", "gone.csv"]
    (folder / "sub").rmdir()
    assert held(folder) == NEW | {".gitkeep": b""}


def test_the_same_files_are_not_written_again(folder):
    before = {path: path.stat() for path in folder.iterdir() if path.name != ".lock"}
    assert swap_in(folder, OLD, only=True) == []
    assert {path: path.stat() for path in folder.iterdir() if path.name != ".lock"} == before


def test_a_folder_is_made(tmp_path):
    swap_in(tmp_path / "x" / "y", {"a": b"1"})
    write_whole(tmp_path / "z" / "a", b"2")
    finish_swap(tmp_path / "nowhere")
    assert held(tmp_path / "x" / "y") == {"a": b"1"} and held(tmp_path / "z") == {"a": b"2"}
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("function", ["replace", "rename", "fsync"])
@pytest.mark.parametrize("step", range(6))
def test_a_swap_that_fails_is_undone_or_finished(folder, monkeypatch, function, step):
    real, calls = getattr(os, function), []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == step + 1:
            raise OSError("no space")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, function, failing)
        try:
            swap_in(folder, NEW, only=True)
        except OSError:
            committed = (folder / ".swap").exists()
            assert committed or held(folder) == OLD  # nothing is left of it either
        else:
            committed = True
    finish_swap(folder)
    assert held(folder) == (NEW if committed else OLD)


def test_a_write_that_fails_leaves_the_old_file(folder, monkeypatch):
    def failing(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", failing)
        with pytest.raises(KeyboardInterrupt):
            write_whole(folder / "a.csv", b"a new")
    assert held(folder) == OLD
    write_whole(folder / "a.csv", b"a new")
    assert held(folder) == OLD | {"a.csv": b"a new"}


def killed_at_every_step(folder):
    """Swap in a child that is killed before its n-th operation on files, for every n, and look."""
    outcomes, step = [], 0
    while True:
        for path in folder.iterdir():
            path.unlink()
        written(folder)
        child = os.fork()
        if not child:
            operations = iter(range(step))

            def count(event, _):
                if (
                    event
                    in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock")
                    and next(operations, None) is None
                ):
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
            swap_in(folder, NEW, only=True)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finish_swap(folder)
        outcomes.append("old" if held(folder) == OLD else "new" if held(folder) == NEW else "mixed")
        if not ended:
            return outcomes
        step += 1


def test_a_swap_that_is_killed_at_any_step_is_undone_or_finished(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import test_files as t, pathlib; print(*t.killed_at_every_step(pathlib.Path({str(tmp_path)!r})))"
    # Forked from a process without threads.
    outcomes = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert outcomes == ["old"] * outcomes.count("old") + ["new"] * outcomes.count("new")
    assert outcomes.count("old") > 5 and outcomes.count("new") > 5


def test_the_next_swap_finishes_the_one_before(folder, monkeypatch):
    def failing(*_):
        raise OSError("no space")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(files.os, "replace", failing)
        swap_in(folder, NEW, only=True)
    swap_in(folder, {"d.csv": b"d"})
    assert held(folder) == NEW | {"d.csv": b"d"}


def test_whoever_reads_after_a_kill_sees_one_whole_set(tmp_path):
    code = (
        "import itertools, sys; from lab.files import swap_in\n"
        "for n in itertools.count(int(sys.argv[2])): swap_in(sys.argv[1], {str(i): b'%08d' % n * 5000 for i in range(5)})"
    )
    swap_in(tmp_path, {str(i): b"%08d" % 0 for i in range(5)})
    last = 0
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(last + 1)], cwd=ROOT
        )
        deadline = time.monotonic() + 20
        while int((tmp_path / "0").read_bytes()[:8]) <= last:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.03))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        finish_swap(tmp_path)
        contents = set(held(tmp_path).values())
        assert len(held(tmp_path)) == 5 and len(contents) == 1
        now = int(contents.pop()[:8])
        assert now > last
        last = now
