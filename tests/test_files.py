import errno
import os
import signal
import subprocess
import sys

import pytest
from commands import start

from lab import files
from lab.files import check_writable, lock, replacing, restore, write_whole

OLD = {"a.csv": b"a old", "same.csv": b"same", "gone.csv": b"gone"}
NEW = {"a.csv": b"a new", "same.csv": b"same", "c.csv": b"c new"}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(folder):
    folder.mkdir(exist_ok=True)
    for name, content in OLD.items():
        (folder / name).write_bytes(content)
    return folder


def replace(folder):
    with replacing(folder) as new:
        assert contents(new) == OLD
        for name, content in NEW.items():
            (new / name).write_bytes(content)
        (new / "gone.csv").unlink()


def test_a_folder_is_replaced_or_made(tmp_path):
    folder = written(tmp_path / "results")
    (tmp_path / "link").symlink_to(folder)
    replace(tmp_path / "link")
    assert contents(folder) == NEW and (tmp_path / "link").is_symlink()
    with replacing(tmp_path / "x" / "y") as new:
        (new / "a").write_bytes(b"1")
    assert contents(tmp_path / "x" / "y") == {"a": b"1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "results", "x"]


@pytest.mark.parametrize("function", ["rename", "fsync"])
@pytest.mark.parametrize("step", range(2))
def test_a_folder_that_cannot_be_replaced_is_as_it_was(tmp_path, monkeypatch, function, step):
    folder = written(tmp_path / "results")
    real, calls = getattr(os, function), []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == step + 1:
            raise OSError("no space")
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(files.os, function, failing)
        replace(folder)
    assert contents(folder) == OLD and [*tmp_path.iterdir()] == [folder]


def kill_before_operation(step):
    operations = iter(range(step))
    events = "open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.copyfile"

    def count(event, _):
        if event in events and next(operations, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def killed_at_every_step(folder):
    """Replace a folder in children killed before their n-th operation on files."""
    outcomes, step = [], 0
    while True:
        for path in written(folder).iterdir():
            path.unlink()
        written(folder)
        child = os.fork()
        if not child:
            kill_before_operation(step)
            replace(folder)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        restore(folder)
        assert [*folder.parent.iterdir()] == [folder]
        found = contents(folder)
        outcomes.append("old" if found == OLD else "new" if found == NEW else "mixed")
        if not ended:
            return outcomes
        step += 1


def test_a_replacement_that_is_killed_at_any_step_leaves_one_whole_set(tmp_path):
    code = "import test_files as t, pathlib, sys; "
    code += "print(*t.killed_at_every_step(pathlib.Path(sys.argv[1])))"
    # Forked from a process without threads.
    with start("-c", code, tmp_path / "results", stdout=subprocess.PIPE) as process:
        outcomes = process.communicate()[0].decode().split()
    assert process.returncode == 0
    assert outcomes == ["old"] * outcomes.count("old") + ["new"] * outcomes.count("new")
    assert outcomes.count("old") > 5 and outcomes.count("new") > 3


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "x" / "a.csv"
    write_whole(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def interrupted(*_):
        raise KeyboardInterrupt

    for function, failing, error, message in [
        ("fsync", full, OSError, f"No space left on device: '{path}'"),
        ("replace", interrupted, KeyboardInterrupt, ""),
    ]:
        with monkeypatch.context() as patch, pytest.raises(error) as raised:
            patch.setattr(files.os, function, failing)
            write_whole(path, b"new")
        assert message in str(raised.value) and contents(path.parent) == {"a.csv": b"old"}
    write_whole(path, b"new")
    assert contents(path.parent) == {"a.csv": b"new"}


def test_a_lock_is_for_one_process_and_released_by_a_kill(tmp_path):
    path = tmp_path / "out.csv"
    code = "import sys, time; from lab.files import lock\nwith lock(sys.argv[1]): print(flush=True)"
    with start("-c", f"{code}; time.sleep(60)", path, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(BlockingIOError, match=f"writing {path}: wait until"), lock(path):
            pass
        holder.kill()
    with lock(path), pytest.raises(BlockingIOError), lock(path):
        pass
    assert not [*tmp_path.iterdir()]


def test_long_names_and_links_are_written(tmp_path):
    (tmp_path / "link").symlink_to("target")
    for name in ("a" * 255, "\U0001f993" * 63, "link"):
        check_writable(tmp_path / name)
        with lock(tmp_path / name), lock(tmp_path / f"{name[:-1]}b"):
            write_whole(tmp_path / name, b"1")
        assert (tmp_path / name).read_bytes() == b"1"
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").is_file()
    assert len([*tmp_path.iterdir()]) == 4


@pytest.mark.parametrize(
    "name, error",
    [
        ("a" * 256, "too long"),
        ("new/" + "b" * 256 + "/c.csv", "too long"),
        ("d/" * 2040 + "e.csv", "too long"),
        ("folder", "no regular file"),
        ("pipe", "no regular file"),
        ("file/new/f.csv", "Not a directory"),
        ("/proc/new/g.csv", ""),
    ],
)
def test_what_cannot_be_written_is_said_before_and_leaves_nothing(tmp_path, name, error):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=f"{error}.*{name[-5:]}'$"):
        check_writable(tmp_path / name)
    check_writable(tmp_path / "new" / "newer" / "h.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "pipe"]
