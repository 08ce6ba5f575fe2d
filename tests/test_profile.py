from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lab import profile


@pytest.fixture
def root(monkeypatch, tmp_path):
    monkeypatch.setattr(profile, "ROOT", tmp_path)
    return tmp_path


def test_full_is_the_default(monkeypatch):
    monkeypatch.delenv("LAB_PROFILE")
    assert profile.profile() == "full" and profile.samples(4000) == 4000


def test_quick_cuts_counts(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "quick")
    assert [profile.samples(n) for n in (4000, 200, 16)] == [200, 60, 16]


def test_a_study_measures_more_than_full_and_full_more_than_quick(monkeypatch):
    measured = {}
    for name in ("quick", "full", "study"):
        monkeypatch.setenv("LAB_PROFILE", name)
        measured[name] = profile.counts()
    quick, full, study = measured.values()
    assert quick.samples < full.samples == study.samples == 1
    assert quick.seeds <= full.seeds < study.seeds and quick.stability_seeds <= full.stability_seeds < study.stability_seeds
    assert study.elephants is None and study.bears is None


def test_an_unknown_profile_is_named(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "fast")
    with pytest.raises(ValueError, match="LAB_PROFILE must be one of quick, full, study, got 'fast'"):
        profile.profile()


def test_quick_never_writes_where_the_report_reads(monkeypatch, root):
    written = {}
    for name in ("quick", "full"):
        monkeypatch.setenv("LAB_PROFILE", name)
        profile.save_table(pd.DataFrame({"profile": [name]}), "table")
        profile.save_figure(Figure(), "figure")
        written[name] = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert written["quick"] == {"report/quick/results/table.csv", "report/quick/figures/figure.svg"}
    assert written["full"] - written["quick"] == {"report/results/table.csv", "report/figures/figure.svg"}
    assert pd.read_csv(root / "report/results/table.csv")["profile"].tolist() == ["full"]


def test_an_interrupted_write_leaves_the_old_file(monkeypatch, root):
    monkeypatch.setenv("LAB_PROFILE", "full")
    profile.save_table(pd.DataFrame({"a": [1]}), "table")

    def interrupted(path, content):
        path.write_text(content.decode()[: len(content) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        profile.save_table(pd.DataFrame({"a": [2]}), "table")
    assert pd.read_csv(root / "report/results/table.csv")["a"].tolist() == [1]


def test_progress_passes_everything_on():
    assert list(profile.progress(range(5))) == list(range(5))
