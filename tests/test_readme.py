"""What README and docs/ promise."""

import importlib
import importlib.util
import re

import pandas as pd

from lab.files import ROOT
from lab.networks import load

DOCS = {path: path.read_text("utf-8") for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
TEXT = "\n".join(DOCS.values())


def blocks(path):
    return re.findall(r"```python\n(.*?)```", DOCS[path], flags=re.S)


def test_the_code_runs_as_it_stands(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.chdir(ROOT)
    first, *others = blocks(ROOT / "README.md")
    scope = {}
    exec(first, scope)
    assert scope["saliency"].shape == (227, 227)
    for block in others:
        exec(block, scope)
    assert scope["saliency"].shape == (1, 64, 64, 1) and scope["top"].shape == (64, 64)
    # The scores of the model are the brightness of the upper and of the lower half.
    assert scope["top"][:24].mean() > scope["top"][-24:].mean()
    assert scope["bottom"][:24].mean() < scope["bottom"][-24:].mean()


def test_a_model_of_scikit_learn_is_explained_as_documented():
    scope = {}
    exec(blocks(ROOT / "docs" / "models.md")[-1], scope)
    network = load(scope["predict"])
    assert len(network.class_names) == 10 and network.input_size == 8


def headings(path):
    titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), flags=re.M)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_everything_it_links_is_there():
    for path, text in DOCS.items():
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
        for name, _, heading in (link.partition("#") for link in links):
            target = path.parent / name if name else path
            assert target.exists() and (not heading or heading in headings(target)), (path, name)


def test_every_switch_is_named():
    source = "".join(path.read_text("utf-8") for path in (ROOT / "lab").rglob("*.py"))
    switches = set(re.findall(r"environ\W+(?:get\W+)?(LAB_[A-Z]+)", source))
    assert {"LAB_PROFILE", "LAB_BLACKBOX", "LAB_WEIGHTS"} <= switches
    assert all(f"`{switch}`" in TEXT for switch in switches)


def test_the_commands_are_there():
    modules = set(re.findall(r"python -m (lab[\w.]*)", TEXT))
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    scripts = set(re.findall(r"^(lab-\w+) = ", project, flags=re.M))
    assert "lab.study" in modules and set(re.findall(r"bin/(lab-\w+)", TEXT)) == scripts
    for module in modules:
        spec = importlib.util.find_spec(module)
        package = spec and spec.submodule_search_locations
        assert spec and (not package or importlib.util.find_spec(f"{module}.__main__")), module
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^(?:`|)(?:\S+=\S+ )*make (?:\S+=\S+ )*([a-z-]+)", TEXT, flags=re.M))
    assert {"lab", "test", "study", "archive"} <= targets
    assert [name for name in targets if not re.search(f"^{name}:", makefile, flags=re.M)] == []


def test_the_table_of_quality_is_as_it_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    found = pd.read_csv(ROOT / "benchmarks" / "results" / "quality_means.csv")
    assert importlib.import_module("quality").markdown(found) in TEXT
    assert found["made_with"][0][12:] in TEXT
