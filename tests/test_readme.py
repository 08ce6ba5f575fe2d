"""What the README promises."""

import importlib.util
import re

import numpy as np
import pandas as pd

from lab.files import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_code_runs_as_it_stands(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT)
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.S):
        exec(block, scope)
    assert scope["saliency"].shape == (1, 64, 64, 1) and scope["top"].shape == (64, 64)
    # The model's first score is the brightness of the upper half, its second that of the lower.
    assert scope["top"][:24].mean() > scope["top"][-24:].mean()
    assert scope["bottom"][:24].mean() < scope["bottom"][-24:].mean()
    assert np.fromstring(re.sub(r"[\[\]\n]", " ", capsys.readouterr().out), sep=" ").size == 12


def test_every_file_it_links_is_there():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    assert links
    headings = {
        "#" + re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", TEXT, flags=re.M)
    }
    assert [link for link in links if link not in headings and not (ROOT / link).exists()] == []


def test_it_quotes_the_benchmarks_as_they_were_measured():
    results = ROOT / "benchmarks" / "results"
    shares = (
        pd.read_csv(results / "rise_calls_shares.csv")
        .query("network == 'both'")
        .set_index("correlation")
    )
    share, worst = (
        shares[name].map("{:.0%}".format) for name in ("share of calls", "largest share")
    )
    assert (
        f"with {share[0.95]} of the average's calls (at worst {worst[0.95]})" in TEXT
        and f"with {share[0.98]} (at worst {worst[0.98]}) up to 0.98" in TEXT
    )
    convergence = pd.read_csv(results / "rise_convergence.csv")
    average, regression = (
        convergence["average with average"],
        convergence.filter(like="regression with"),
    )
    assert (regression.min(axis=1) >= average).all()
    assert (
        f"{regression.min(axis=None):.3f} to {regression.max(axis=None):.3f} against {average.min():.3f} to {average.max():.3f}"
        in TEXT
    )
    overhead = pd.read_csv(results / "rise_overhead.csv").set_index(
        ["explainer", "model", "samples"]
    )["value"]
    for explainer in ("rise.py, regression", "Xplique 2.0.2"):
        small, large, memory = (
            overhead[explainer, "SqueezeNet 1.1", 1000],
            overhead[explainer, "ResNet50, random weights", 333],
            overhead[explainer, "none", 8000],
        )
        assert (
            f"{small:.2f} and {large:.2f} times the model's own time" in TEXT
            and f" {memory:.0f} MB" in TEXT
        )


def test_it_names_every_switch():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "lab").rglob("*.py"))
    switches = set(re.findall(r"environ\W+(?:get\W+)?(LAB_[A-Z]+)", source))
    assert {"LAB_PROFILE", "LAB_BLACKBOX", "LAB_WEIGHTS"} <= switches
    assert all(f"`{switch}`" in TEXT for switch in switches)


def shell():
    """The commands it gives, without their comments."""
    lines = "".join(re.findall(r"```sh\n(.*?)```", TEXT, flags=re.S)).splitlines()
    return [line.partition(" #")[0].strip() for line in lines] + re.findall(
        r"`((?:\S+=\S+ )*make [^`]+)`", TEXT
    )


def test_the_commands_it_gives_are_there():
    modules = re.findall(r"python -m (\S+)", "\n".join(shell()))
    assert {
        "lab.study",
        "lab.show",
        "lab.hand_in.report",
        "lab.hand_in.archive",
        "lab.hand_in.notebooks",
        "lab.evaluate",
    } <= set(modules)
    for module in modules:
        found = importlib.util.find_spec(module)
        assert found and (
            not found.submodule_search_locations or importlib.util.find_spec(f"{module}.__main__")
        ), module
    targets = {
        target
        for line in shell()
        if "make " in line
        for target in re.findall(r"[a-z-]+$", re.sub(r" ?[A-Z]+=\S+", "", line))
    }
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets >= {
        "lab",
        "test",
        "study",
        "figures",
        "report",
        "archive",
        "bench",
        "bench-long",
    }
    assert [
        target for target in targets if not re.search(rf"^{target}:", makefile, flags=re.M)
    ] == []


def test_whatever_make_runs_it_tells_how_to_run_without():
    recipes = re.findall(
        r"^\t\$\(BIN\)/(python -m [\w.]+)",
        (ROOT / "Makefile").read_text(encoding="utf-8"),
        flags=re.M,
    )
    without = TEXT[TEXT.index("Without make") :].partition("## ")[0]
    # "python -m pip" is there as pip.
    assert (
        len(recipes) >= 7
        and [
            recipe
            for recipe in recipes
            if f".venv/bin/{recipe}" not in without and not recipe.endswith("pip")
        ]
        == []
    )


def test_it_has_the_table_of_quality_as_it_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    quality = importlib.import_module("quality")
    found = pd.read_csv(ROOT / "benchmarks" / "results" / "quality_means.csv")
    assert quality.markdown(found) in TEXT and found["made_with"][0][12:] in TEXT
    assert f"{found['objects'].iloc[0]} objects" in TEXT
