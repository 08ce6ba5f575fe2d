import errno
import os
import subprocess

import pytest
from commands import start

from lab import files
from lab.files import check_writable, lock, write_whole


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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
        check_writable("--out", tmp_path / name)
        with lock(tmp_path / name), lock(tmp_path / f"{name[:-1]}b"):
            write_whole(tmp_path / name, b"1")
        assert (tmp_path / name).read_bytes() == b"1"
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").is_file()
    assert len([*tmp_path.iterdir()]) == 4


@pytest.mark.parametrize(
    "name, error",
    [
        ("a" * 256, "File name too long"),
        ("new/" + "b" * 256 + "/c.csv", "File name too long"),
        ("d/" * 2040 + "e.csv", "File name too long"),
        ("folder", "This is no regular file"),
        ("pipe", "This is no regular file"),
        ("file/new/f.csv", "Not a directory"),
        ("/proc/new/g.csv", ""),
    ],
)
def test_what_cannot_be_written_is_said_before_and_leaves_nothing(tmp_path, name, error):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=f"^--out cannot be written: {error}.*{name[-5:]}'$"):
        check_writable("--out", tmp_path / name)
    check_writable("--out", tmp_path / "new" / "newer" / "h.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "pipe"]
