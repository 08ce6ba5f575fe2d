"""Test files as commands with processes of their own, to be ended by a signal."""

import os
import subprocess
import sys
import time
from pathlib import Path

from lab.files import ROOT


def wait_for(condition):
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(*command, **options):
    """A process of Python that imports the lab and the tests."""
    folders = ROOT, ROOT / "tests", ROOT / "tests" / "study"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    return subprocess.Popen([sys.executable, *map(str, command)], env=environment, **options)


def ended(signal, *command, store):
    """Send a signal to a command when three more tasks are in a store; its errors."""

    def finished():
        return len(list(Path(store).glob("[!.]*.npz")))

    before = finished()
    with start(*command, stderr=subprocess.PIPE) as process:
        wait_for(lambda: finished() >= before + 3 or process.poll() is not None)
        assert process.poll() is None
        process.send_signal(signal)
        return process.communicate()[1].decode()
