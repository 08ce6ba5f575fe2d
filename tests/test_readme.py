"""What the README promises."""

import re

import numpy as np
import pandas as pd

from lab.profile import ROOT

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
    headings = {"#" + re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", TEXT, flags=re.M)}
    assert [link for link in links if link not in headings and not (ROOT / link).exists()] == []


def test_it_quotes_the_benchmarks_as_they_were_measured():
    results = ROOT / "benchmarks" / "results"
    shares = pd.read_csv(results / "rise_calls_shares.csv")
    assert len(shares) == 6
    for row in shares.to_dict("records"):
        assert f"| {row['correlation']:.2f} | {row['against']} | {row['share of calls']:.0%} | {row['largest share']:.0%} |" in TEXT
    convergence = pd.read_csv(results / "rise_convergence.csv")
    average, regression = convergence["average with average"], convergence.filter(like="regression with")
    assert (regression.min(axis=1) >= average).all()
    assert f"{regression.min(axis=None):.3f} to {regression.max(axis=None):.3f} against {average.min():.3f} to {average.max():.3f}" in TEXT
    overhead = pd.read_csv(results / "rise_overhead.csv")
    for row in overhead.to_dict("records"):
        number = f"{row['value']:.2f}" if row["measure"].startswith("time") else f"{row['value']:.0f} MB"
        assert f"| {row['measure']} | {row['model']} | {row['explainer']} | {row['samples']:,} | {number} |" in TEXT
    assert shares["made_with"][0].removeprefix(shares["made_with"][0][:12]) in TEXT


def test_it_names_every_switch():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "lab").glob("*.py"))
    switches = set(re.findall(r"LAB_[A-Z]+", source)) - {"LAB_SETTINGS"}
    assert switches and all(f"`{switch}`" in TEXT for switch in switches)
