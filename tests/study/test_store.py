import math
import re

import numpy as np
import pandas as pd
import pytest

from lab.study import results
from lab.study.results import (
    MissingResult,
    Results,
    Store,
    figures_folder,
    lines,
    pack,
    results_folder,
    small,
    unpack,
)

REMEDY = "delete it"


@pytest.fixture
def folder(tmp_path):
    """One table with its arrays; keys and words that look like numbers or like nothing."""
    rows = {
        key: [
            {
                "class": "386",
                "picture": "01",
                "value": value,
                "score": score,
                "shown": n == 0,
                "n": n,
                "key": key,
            }
            for n in range(2)
        ]
        for key, value, score in [
            ("12e4567890123456", "None", 0.1 + 0.2),
            ("0123456789012345", "25", 1 / 3),
            ("a" * 16, "nan", math.nan),
        ]
    }
    (tmp_path / "runs.csv").write_bytes(lines(rows))
    (tmp_path / "runs.npz").write_bytes(
        pack({f"{key}/map": np.full((2, 3), n, np.float16) for n, key in enumerate(rows)})
    )
    return tmp_path


def test_a_table_is_read_as_it_was_measured(folder):
    table = Results(folder).table("runs")
    assert (
        table.key.tolist() == ["12e4567890123456"] * 2 + ["0123456789012345"] * 2 + ["a" * 16] * 2
    )
    assert (
        table.value.tolist()[::2] == ["None", "25", "nan"]
        and set(table.picture) == {"01"}
        and set(table["class"]) == {"386"}
    )
    assert (
        table.score.tolist()[:4] == [0.1 + 0.2] * 2 + [1 / 3] * 2
        and table.score.isna().tolist() == [False] * 4 + [True] * 2
    )
    assert table.shown.dtype == bool and table.n.tolist() == [0, 1] * 3


def test_words_that_are_empty_stay_words(tmp_path):
    pd.DataFrame({"name": ["network_1_stands_in_for", "n"], "value": ["", "7"]}).to_csv(
        tmp_path / "p.csv", index=False
    )
    assert Results(tmp_path).table("p").value.tolist() == ["", "7"]


def test_arrays_are_found_by_key_and_name(folder):
    found = Results(folder).array("runs", "0123456789012345", "map")
    assert found.dtype == np.float16 and found.tolist() == [[1] * 3] * 2


def test_what_is_missing_is_named(folder, monkeypatch):
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
    for damaged in (b"PK no archive", b"", whole[:200], whole[:80] + b"???" + whole[83:]):
        (folder / "runs.npz").write_bytes(damaged)
        with pytest.raises(
            MissingResult, match="runs.npz cannot be read.*: delete the file, make study"
        ):
            Results(folder).array("runs", "k", "map")


def test_no_pickle_is_loaded(tmp_path):
    np.savez(tmp_path / "runs.npz", allow_pickle=True, **{"k/map": np.array([{}], dtype=object)})
    with pytest.raises(MissingResult, match="allow_pickle"):
        Results(tmp_path).array("runs", "k", "map")
    with pytest.raises(ValueError, match="k/map must hold numbers, got objects"):
        pack({"k/map": np.array([{}], dtype=object)})


def test_a_swap_that_was_interrupted_is_finished_first(folder):
    (folder / ".swap").mkdir()
    (folder / "runs.csv").rename(folder / ".swap" / "more.csv")
    assert len(Results(folder).table("more")) == 6


def test_equal_arrays_give_equal_bytes(folder):
    arrays = unpack(folder / "runs.npz")
    assert pack(arrays) == (folder / "runs.npz").read_bytes()
    (folder / "empty.npz").write_bytes(pack({}))
    assert unpack(folder / "empty.npz") == {}


def test_the_quick_profile_has_folders_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    for name, folder in [
        ("quick", tmp_path / "report" / "quick"),
        ("full", tmp_path / "report"),
        ("study", tmp_path / "report"),
    ]:
        monkeypatch.setenv("LAB_PROFILE", name)
        assert results_folder() == folder / "results" and figures_folder() == folder / "figures"


def test_a_map_is_made_small_by_means_of_areas():
    rng = np.random.default_rng(0)
    whole = rng.random((224, 336))
    expected = whole.reshape(112, 2, 112, 3).mean(axis=(1, 3))
    assert small(whole).dtype == np.float16 and np.allclose(small(whole), expected, atol=1e-3)
    uneven = small(rng.random((299, 227)).astype(np.float32))
    assert uneven.shape == (112, 112) and uneven.mean() == pytest.approx(0.5, abs=0.01)
    same = rng.normal(size=(112, 112)).astype(np.float16)
    assert (small(same) == same).all()


ROWS = {
    name: [
        {"picture": name, "method": method, "score": 0.125 if n else None}
        for n, method in enumerate(("lime", "rise"))
    ]
    for name in ('a "b", c.png', "line\nbreak\n.png", "ä.png", "\udce4.png")
}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "work" / "runs.csv", "picture", REMEDY)


def test_what_was_added_is_read_back(store):
    assert store.read() == {}
    for name, rows in ROWS.items():
        store.add(name, rows)
    again = Store(store.path, "picture", REMEDY)
    found = again.read(["method", "score"])
    assert list(found) == list(ROWS)
    assert all(
        row == {"picture": name, "method": m, "score": s}
        for name in found
        for row, m, s in zip(found[name], ("lime", "rise"), ("", "0.125"))
    )
    again.add(
        "new", [{"score": 1.0, "picture": "new", "method": "shap"}]
    )  # in the file's order of columns
    assert store.path.read_text("utf-8", "surrogateescape").endswith("new,shap,1.0\n")
    again.write(dict(sorted(ROWS.items())))
    assert store.path.read_bytes() == lines(dict(sorted(ROWS.items())))


def test_wherever_a_crash_cuts_the_file_no_row_is_cut(store):
    store.write(ROWS)
    whole = store.path.read_bytes()
    cuts = 0
    for cut in range(len(whole)):
        for tail in (b"", b"\0\0\0"):
            store.path.write_bytes(whole[:cut] + tail)
            try:
                found = store.read(["method"])
            except ValueError as error:
                assert cut < len(
                    "picture,method,score\n"
                ) and "no result of this command and is left as it is: delete it" in str(error)
                continue
            rows = [row for rows in found.values() for row in rows]
            expected = [row for rows in ROWS.values() for row in rows][: len(rows)]
            assert [(row["picture"], row["method"]) for row in rows] == [
                (row["picture"], row["method"]) for row in expected
            ]
            if rows:
                assert len(whole[:cut]) >= len(lines({"": expected})) > len(whole[:cut]) - 40
            cuts += 1
    assert cuts > 100


def test_other_columns_are_refused(store):
    store.add("a", [{"picture": "a", "score": 1}])
    with pytest.raises(
        ValueError,
        match="runs.csv holds results of another version of the lab, with other columns: delete it",
    ):
        store.add("b", [{"picture": "b", "other": 1}])
    assert list(store.read()) == ["a"]
    with pytest.raises(ValueError, match="runs.csv is no result"):
        store.read(["method"])


def test_arrays_are_there_before_their_rows(store, monkeypatch):
    arrays = {"map": np.arange(6.0), "chosen": np.eye(2, dtype=bool)}

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "write", stopped)
        store.add("k", [{"picture": "k"}], arrays)
    assert store.read() == {} and store.arrays("k").keys() == arrays.keys()
    assert all((store.arrays("k")[name] == arrays[name]).all() for name in arrays)
    store.add("l", [{"picture": "l"}], {})
    assert store.arrays("l") == {} and store.arrays("m") is None
