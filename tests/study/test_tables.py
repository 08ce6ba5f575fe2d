import math
import re

import numpy as np
import pytest

from lab.study import results
from lab.study.profile import PROFILES
from lab.study.results import (
    MissingResult,
    Results,
    figures_folder,
    results_folder,
    small,
    write_table,
)

KEYS = ["12e4567890123456", "0123456789012345", "a" * 16]


@pytest.fixture
def folder(tmp_path):
    """A table with arrays; keys and words look like numbers or like nothing."""
    rows = [
        {"class": "386", "picture": "01", "value": value, "score": score, "shown": n == 0, "n": n}
        | {"key": key}
        for key, value, score in zip(KEYS, ("None", "25", "nan"), (0.1 + 0.2, 1 / 3, math.nan))
        for n in range(2)
    ]
    arrays = {f"{key}/map": np.full((2, 3), n, np.float16) for n, key in enumerate(KEYS)}
    write_table(tmp_path, "runs", rows, arrays)
    return tmp_path


def test_a_table_is_read_as_it_was_measured(folder):
    table = Results(folder).table("runs")
    assert table.key.tolist() == [key for key in KEYS for _ in range(2)]
    assert table.value.tolist()[::2] == ["None", "25", "nan"]
    assert set(table.picture) == {"01"} and set(table["class"]) == {"386"}
    assert table.score.tolist()[:4] == [0.1 + 0.2] * 2 + [1 / 3] * 2
    assert table.score.isna().tolist() == [False] * 4 + [True] * 2
    assert table.shown.dtype == bool and table.n.tolist() == [0, 1] * 3
    array = Results(folder).array("runs", KEYS[1], "map")
    assert array.dtype == np.float16 and array.tolist() == [[1] * 3] * 2


def test_text_that_is_written_again_is_the_same(folder):
    """Also beside new rows of numbers, with gaps in a column of integers."""
    before = (folder / "runs.csv").read_text()
    rows = Results(folder).text("runs").to_dict("records")
    write_table(folder, "runs", [*rows, {"n": 7, "score": 1e-7, "new": True}])
    assert not (folder / "runs.npz").exists()
    header, *lines = (folder / "runs.csv").read_text().splitlines()
    assert header.endswith(",key,new") and lines[-1] == ",,,1e-07,,7,,True"
    assert lines[:-1] == [f"{line}," for line in before.splitlines()[1:]]


def test_words_that_are_empty_stay_words(tmp_path):
    rows = [{"name": "network_1_stands_in_for", "value": None}, {"name": "n", "value": "7"}]
    write_table(tmp_path, "p", rows)
    assert Results(tmp_path).table("p").value.tolist() == ["", "7"]


def test_what_is_missing_or_damaged_is_named(folder, monkeypatch):
    monkeypatch.setattr(results, "ROOT", folder.parent)
    found, name = Results(folder), re.escape(folder.name)
    for message, look in [
        (f"no file {name}/other.csv: make study", lambda: found.table("other")),
        (f"no file {name}/other.npz: make study", lambda: found.array("other", "k", "map")),
        (f"no array k/map in {name}/runs.npz: make study", lambda: found.array("runs", "k", "map")),
    ]:
        with pytest.raises(MissingResult, match=message):
            look()
    whole = (folder / "runs.npz").read_bytes()
    np.savez(folder / "pickle.npz", **{"k/map": np.array([{}], dtype=object)})
    pickled = (folder / "pickle.npz").read_bytes()
    for damaged in (b"PK no", b"", whole[:200], whole[:80] + b"???" + whole[83:], pickled):
        (folder / "runs.npz").write_bytes(damaged)
        with pytest.raises(MissingResult, match="runs.npz cannot be read.*: delete the file, make"):
            Results(folder).array("runs", "k", "map")


def test_the_quick_profile_has_folders_of_its_own():
    for name, folder in [("quick", "report/quick"), ("full", "report"), ("study", "report")]:
        assert results_folder(PROFILES[name]) == results.ROOT / folder / "results"
        assert figures_folder(PROFILES[name]) == results.ROOT / folder / "figures"


def test_counts_rise_under_every_profile():
    full = [16, 60, 100, 200, 250, 1000, 2000, 4000, 7000]
    for profile in PROFILES.values():
        counts = [profile.samples(n) for n in full]
        assert counts == sorted(set(counts)) and all(type(count) is int for count in counts)
    assert [PROFILES["study"].samples(n) for n in full] == full
    assert PROFILES["quick"].samples(4000) < 400


def test_a_map_is_made_small_by_means_of_areas():
    rng = np.random.default_rng(0)
    whole = rng.random((224, 336))
    expected = whole.reshape(112, 2, 112, 3).mean(axis=(1, 3))
    assert small(whole).dtype == np.float16 and np.allclose(small(whole), expected, atol=1e-3)
    uneven = small(rng.random((299, 227)).astype(np.float32))
    assert uneven.shape == (112, 112) and uneven.mean() == pytest.approx(0.5, abs=0.01)
    same = rng.normal(size=(112, 112)).astype(np.float16)
    assert (small(same) == same).all()
