import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from lab.files import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


@pytest.fixture
def folder(tmp_path):
    """A project with its Makefile, and an environment that counts as installed."""
    for name in ("Makefile", "LIME_requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "installed").touch()
    return tmp_path


def start(folder, *arguments, **environment):
    # What a make that runs this test passes on is not meant for the one here.
    passed = ("MA", "MFL", "LAB")
    own = {name: os.environ[name] for name in os.environ if not name.startswith(passed)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    options |= {"cwd": folder, "env": own | environment}
    return subprocess.Popen(["make", *arguments], **options)


@pytest.fixture
def make(folder):
    """Run make with commands that only write down their arguments, and may fail."""
    for name in ("python", "ruff", "lint-imports"):
        command = folder / ".venv" / "bin" / name
        log = 'echo "$LAB_PROFILE $LAB_BLACKBOX ${0##*/} $*" >> calls\n'
        command.write_text(f'#!/bin/sh\n{log}case "${{0##*/}} $*" in *"$FAIL"*) exit 1;; esac\n')
        command.chmod(0o755)

    def run(*arguments, failing="nothing"):
        (folder / "calls").unlink(missing_ok=True)
        process = start(folder, *arguments, FAIL=failing)
        process.communicate()
        return process.returncode, (folder / "calls").read_text().splitlines()

    return run


def test_each_command_runs_its_modules(make):
    animals = (
        "lime_parameters lime_colors lime_hidden lime_recommended lime_agreement rise_agreement"
    )
    shown = ["  python -m lab.show", f"full  python -m lab.show --folder animals {animals}"]
    packed = ["lab.hand_in.archive doe_jane"]
    commands = {"study": ["lab.study"], "archive": packed}
    assert make("figures") == (0, shown)
    assert make("report") == (0, [*shown, "  python -m lab.hand_in.report"])
    commands["html"] = ["lab.hand_in.html"]
    for target, called in commands.items():
        assert make(target, "NAME=doe_jane") == (
            0,
            [f"  python -m {each}".rstrip() for each in called],
        )
    [line] = make("archive", "NAME=doe_jane", "ANYWAY=1")[1]
    assert line.endswith("lab.hand_in.archive doe_jane --anyway")


@pytest.mark.parametrize("failing", ["nothing", "pytest tests/", "LIME.ipynb", "lint-imports"])
def test_linters_tests_and_notebooks_all_run_and_no_failure_is_hidden(make, failing):
    code, calls = make("test", failing=failing)
    assert (code == 0) == (failing == "nothing")
    assert all(call.startswith("quick offline ") for call in calls)
    assert "quick offline lint-imports " in calls
    notebooks = {call.split()[-1] for call in calls if "--nbval-lax" in call}
    assert notebooks == {"EVALUATION.ipynb", "LIME.ipynb", "RISE.ipynb"}
    # What one of the two runs of pytest leaves out, the other one runs.
    [some] = [call.split()[5:] for call in calls if "tests/study" in call.split()]
    [rest] = [call.split() for call in calls if "tests" in call.split()]
    assert rest[rest.index("tests") + 1 :] == [f"--ignore={folder}" for folder in some]
    assert all((ROOT / path).is_dir() for path in some)


def test_the_exercise_is_cut_by_nbgrader(folder):
    (folder / ".venv-exercise" / "bin").mkdir(parents=True)
    (folder / "exercise").mkdir()
    for name in ("exercise/requirements.txt", ".venv-exercise/installed"):
        (folder / name).touch()
    for name in ("python", "nbgrader"):
        command = folder / ".venv-exercise" / "bin" / name
        call = f'echo "{name} $*" >> "{folder}/calls"; mkdir -p "{folder}/dist/course"'
        command.write_text(f"#!/bin/sh\n{call}\n")
        command.chmod(0o755)
    process = start(folder, "exercise")
    assert "dist/course/release/exercise" in process.communicate()[0] and process.returncode == 0
    built, cut = (folder / "calls").read_text().splitlines()
    assert built == "python exercise/build.py"
    assert cut.startswith("nbgrader generate_assignment exercise --force")


def write(folder, name, *sources):
    cells = [new_code_cell(source) for source in sources]
    nbformat.write(new_notebook(cells=cells), folder / name)
    return (folder / name).read_bytes()


def test_notebooks_run_in_place_unless_they_fail(folder):
    (folder / "data.txt").write_text("found")
    write(folder, "good.ipynb", "text = open('data.txt').read()", "print(text)")
    bad = write(folder, "bad.ipynb", "'written'", "1 / 0")
    binaries = Path(sys.executable).parent
    process = start(folder, "lab", "NOTEBOOKS=good.ipynb bad.ipynb", f"BIN={binaries}")
    printed, errors = process.communicate()
    assert printed.splitlines() == ["Executing good.ipynb", "Executing bad.ipynb"], errors
    good = nbformat.read(folder / "good.ipynb", as_version=4)
    assert [cell.execution_count for cell in good.cells] == [1, 2]
    assert good.cells[1].outputs[0].text == "found\n" and not any(c.metadata for c in good.cells)
    assert good.metadata.language_info == {"name": "python"}  # and not its version
    assert "ZeroDivisionError" in errors and process.returncode != 0
    assert (folder / "bad.ipynb").read_bytes() == bad
