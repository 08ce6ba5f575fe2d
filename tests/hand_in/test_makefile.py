import os
import shutil
import subprocess

import pytest

from lab.files import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


@pytest.fixture
def make(tmp_path):
    """Run the Makefile with a Python that writes down how it was called, and fails where it is told to."""
    for name in ("Makefile", "LIME_requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\necho "$LAB_PROFILE $LAB_BLACKBOX $*" >> calls\ncase "$*" in *"$FAILING"*) exit 1;; esac\n'
    )
    python.chmod(0o755)
    (tmp_path / ".venv" / "installed").touch()

    def run(*arguments, failing="nothing"):
        (tmp_path / "calls").unlink(missing_ok=True)
        # Whatever make may have told this test about itself is not meant for the one here.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MAKE", "MFLAGS", "LAB_"))
        }
        done = subprocess.run(
            ["make", *arguments],
            cwd=tmp_path,
            env=environment | {"FAILING": failing},
            capture_output=True,
            text=True,
        )
        return done, (tmp_path / "calls").read_text().splitlines()

    return run


def test_each_command_runs_its_module(make):
    for target, called in {
        "lab": "lab.hand_in.notebooks LIME.ipynb RISE.ipynb EVALUATION.ipynb",
        "study": "lab.study",
        "figures": "lab.show",
        "report": "lab.hand_in.report",
        "archive": "lab.hand_in.archive doe_jane",
    }.items():
        done, calls = make(target, "NAME=doe_jane")
        assert (done.returncode, calls) == (0, [f"  -m {called}"]), done.stderr


def test_tests_and_notebooks_all_run_at_small_counts(make):
    done, calls = make("test")
    assert done.returncode == 0, done.stderr
    assert all(call.startswith("quick offline -m pytest ") for call in calls)
    notebooks = [call for call in calls if "--nbval-lax" in call]
    assert sorted(call.split()[-1] for call in notebooks) == [
        "EVALUATION.ipynb",
        "LIME.ipynb",
        "RISE.ipynb",
    ]
    # What one of the two runs of pytest leaves out, the other one runs.
    some, rest = sorted(
        (
            call.removeprefix("quick offline -m pytest ").split()
            for call in calls
            if call not in notebooks
        ),
        key=lambda paths: paths[0] == "tests",
    )
    assert rest == ["tests", *(f"--ignore={path}" for path in some)] and all(
        (ROOT / path).is_dir() for path in some
    )


@pytest.mark.parametrize(
    "failing", ["pytest tests ", "pytest tests/", "LIME.ipynb", "EVALUATION.ipynb"]
)
def test_one_failure_fails_all_and_hides_none(make, failing):
    done, calls = make("test", failing=failing)
    assert done.returncode != 0
    assert len(calls) == 5
