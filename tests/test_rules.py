"""The rules of the house: what may import what, how long a file may be, and that everything public is explained."""

import ast
import doctest
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [ROOT / "rise.py", *sorted((ROOT / "lab").rglob("*.py"))]

FLOORS = (
    ("rise",),
    ("lab", "lab.files", "lab.images"),
    ("lab.networks",),
    ("lab.explain",),
    ("lab.measure",),
    ("lab.study",),
    ("lab.evaluate",),
    ("lab.show",),
    ("lab.hand_in",),
)
MAX_LINES = 400


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}
every_module = pytest.mark.parametrize("module", MODULES)


def rooms(*names):
    """Modules of these rooms, other than commands."""
    return [
        module
        for module in MODULES
        if module.startswith(tuple(f"lab.{name}." for name in names))
        and not module.endswith("__main__")
    ]


def floor(module):
    """Number of the floor that a module is on; None if on none."""
    for number, members in enumerate(FLOORS):
        if any(
            module == member or member != "lab" and module.startswith(f"{member}.")
            for member in members
        ):
            return number
    return None


def imports(module, path):
    """Dotted names of all that a file imports, anywhere in it, with its line."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                source = importlib.util.resolve_name("." * node.level + source, package)
            # `from lab.study import engine` imports a module, `from lab.files import ROOT` a name of one.
            yield from (
                (
                    f"{source}.{alias.name}" if f"{source}.{alias.name}" in MODULES else source,
                    node.lineno,
                )
                for alias in node.names
            )


def test_the_rules_see_all_kinds_of_imports(tmp_path):
    file = tmp_path / "lime.py"
    file.write_text(
        "import lab.files, keras\ndef f():\n    from lab import images\n    from .engine import Task\n"
        "    from . import settings\n    from lab.networks.blackbox import tf\n"
    )
    assert [name for name, _ in imports("lab.study.lime", file)] == [
        "lab.files",
        "keras",
        "lab.images",
        "lab.study.engine",
        "lab.study.settings",
        "lab.networks.blackbox",
    ]


@every_module
def test_no_import_runs_upwards(module):
    here = floor(module)
    assert here is not None, f"{module} is on no floor"
    for name, line in imports(module, MODULES[module]):
        if name.partition(".")[0] not in ("rise", "lab"):
            continue
        there = floor(name)
        assert there is not None and there <= here, (
            f"{module}, line {line}, imports {name}, which is on a higher floor or on none"
        )


@every_module
def test_only_the_networks_import_tensorflow(module):
    found = [
        name
        for name, _ in imports(module, MODULES[module])
        if name.partition(".")[0] in ("tensorflow", "tf_keras", "keras")
    ]
    assert found == [] or module.startswith("lab.networks.")


@pytest.mark.parametrize(
    "modules, heavy",
    [
        (["lab.hand_in.archive"], ["tensorflow", "lime", "matplotlib"]),
        (
            ["lab.show.figures", "lab.hand_in.report", *rooms("show", "hand_in")],
            ["tensorflow", "lime", "lab.networks.blackbox"],
        ),
        (
            [
                "rise",
                "lab.files",
                "lab.images",
                "lab.networks.asking",
                "lab.networks.classes",
                "lab.study.settings",
                "lab.study.results",
                "lab.explain.methods",
                *rooms("explain", "measure"),
            ],
            ["tensorflow", "keras"],
        ),
    ],
    ids=["archive", "figures and report", "explanations and measurements"],
)
def test_what_asks_no_network_starts_light(modules, heavy):
    code = (
        "import importlib, json, sys\n"
        "modules, heavy = json.loads(sys.argv[1])\n"
        "for module in modules:\n"
        "    importlib.import_module(module)\n"
        "    loaded = [name for name in heavy if name in sys.modules]\n"
        "    assert not loaded, f'{module} loads {loaded}'\n"
    )
    command = [sys.executable, "-c", code, json.dumps([modules, heavy])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@every_module
def test_no_file_is_longer_than_can_be_read_at_once(module):
    assert (
        module == "rise"
        or len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= MAX_LINES
    )


def test_the_examples_in_docstrings_run():
    tried = 0
    for module in MODULES:
        if not module.endswith("__main__"):
            result = doctest.testmod(importlib.import_module(module))
            assert result.failed == 0, f"{result.failed} examples of {module} give something else"
            tried += result.attempted
    assert tried > 0


def public(body, name):
    """Public functions, classes and methods, by their dotted names."""
    for node in body:
        if isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        ) and not node.name.startswith("_"):
            yield f"{name}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{name}.{node.name}")


@every_module
def test_everything_public_has_a_docstring(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    bare = [
        name
        for name, node in [(module, tree), *public(tree.body, module)]
        if not ast.get_docstring(node)
    ]
    assert bare == []
