"""The store: files of finished tasks, and the tables that are read from them."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from lab.study import results
from lab.study.profile import PROFILES, Plan
from lab.study.results import MissingResult, Results, figures_folder, results_folder, small
from lab.study.store import Result, Task, read, store, stored, version


@version(3)
def work(network, image, mask, parts):
    return {}


def task(parts, table="runs", **arguments):
    return Task(table, work, None, None, arguments, 12, parts)


A, B, C = {"n": 1}, {"n": [2, (3, 4)]}, {"n": 3}
VALUES = [0.1 + 0.2, 1 / 3, math.nan, 7, "ä", None, True]


def result(number, rows=1):
    row = dict(zip("abcdefg", VALUES)) | {"number": number}
    return Result([row] * rows, {"map": np.full((rows, 2), number, np.float16)}, {"date": "today"})


def test_parts_are_read_as_they_were_stored(tmp_path):
    one = task({"a": A, "b": B})
    store(tmp_path, "k", one, {"a": result(1), "b": result(2, rows=0)})
    found = stored(tmp_path, "k", one)
    assert list(found) == ["a", "b"] and found["b"].rows == []
    assert repr(found["a"]) == repr(result(1))
    assert found["a"].arrays["map"].dtype == np.float16


def test_a_part_is_missing_if_it_is_new_or_its_arguments_changed(tmp_path):
    store(tmp_path, "k", task({"a": A, "b": B}), {"a": result(1), "b": result(2)})
    assert list(stored(tmp_path, "k", task({"c": C, "b": B, "a": C}))) == ["b"]
    assert task({"a": A, "b": B, "c": C}).only({"c"}) == task({"c": C})._replace(calls=4)
    # The same parts in another order, and fewer, are written again; the same are not.
    path = tmp_path / "runs" / "k.npz"
    store(tmp_path, "k", task({"b": B}), stored(tmp_path, "k", task({"b": B})))
    assert list(read(path)) == ["b"]
    before = path.stat().st_mtime_ns
    store(tmp_path, "k", task({"b": B}), stored(tmp_path, "k", task({"b": B})))
    assert path.stat().st_mtime_ns == before


def test_a_damaged_file_counts_as_missing(tmp_path):
    one = task({"a": A})
    store(tmp_path, "k", one, {"a": result(1)})
    path = tmp_path / "runs" / "k.npz"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 255
    for damaged in (*(whole[:cut] for cut in range(0, len(whole), 17)), flipped, b"\0" * 99):
        path.write_bytes(damaged)
        assert stored(tmp_path, "k", one) == {}
    np.savez(path, parts=np.array([{}], dtype=object))  # a pickle is not opened
    assert stored(tmp_path, "k", one) == {}


def test_a_key_depends_on_all_that_is_measured_but_the_parts():
    keys = {task({}, **arguments).key(network, image) for arguments, network, image in [
        ({}, "w", "i"), ({"n": 1}, "w", "i"), ({}, "v", "i"), ({}, "w", "j"),
    ]}  # fmt: skip
    assert len(keys) == 4
    assert task(A).key("w", "i") == task(B).key("w", "i") != task(A, "other").key("w", "i")


@pytest.fixture
def found(tmp_path):
    """Two tasks of a study, one of them with parts."""
    whole = task({"": {}}, number=0)
    store(tmp_path, "k0", whole, {"": result(0, rows=2)})
    store(tmp_path, "k1", task({"a": A, "b": B}), {"a": result(1), "b": result(2)})
    tasks = [["k1", "Net", "cat/1.jpg"], ["k0", None, None]]
    facts = {"profile": "full", "tasks": {"runs": tasks}, "networks": [], "images": {}}
    (tmp_path / "rise.json").write_text(json.dumps(facts))
    return Results(tmp_path)


def test_a_table_has_the_tasks_in_the_order_of_the_study(found):
    table = found.table("runs")
    assert table["number"].tolist() == [1, 2, 0, 0] and table["place"].tolist() == [0, 0, 0, 1]
    assert table["key"].tolist() == ["k1/a", "k1/b", "k0", "k0"]
    assert table["image"].fillna("").tolist() == ["cat/1.jpg"] * 2 + [""] * 2
    assert table["class"][0] == "cat" and table["network"][1] == "Net"
    assert table["a"][0] == 0.1 + 0.2 and table["e"][0] == "ä"
    assert found.array("runs", "k1/b", "map").tolist() == [[2, 2]]
    assert found.records()["part"].tolist() == ["a", "b", ""]
    table["number"] = 9  # a copy
    assert found.table("runs")["number"].tolist() == [1, 2, 0, 0]


def test_tables_are_written_as_csv(found, tmp_path, monkeypatch):
    monkeypatch.setattr(Results, "tables", lambda self: ["runs"])
    found.write_tables(tmp_path / "tables")
    written = pd.read_csv(tmp_path / "tables" / "runs.csv", float_precision="round_trip")
    assert written["a"].tolist() == [0.1 + 0.2] * 4 and written["b"][0] == 1 / 3


def test_what_is_missing_or_damaged_is_named(found, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path.parent)
    for message, look in [
        (f"no table other in {tmp_path.name}: make study", lambda: found.table("other")),
        ("no array other of k0 in runs: make", lambda: found.array("runs", "k0", "other")),
    ]:
        with pytest.raises(MissingResult, match=message):
            look()
    (tmp_path / "runs" / "k0.npz").write_bytes(b"")
    with pytest.raises(MissingResult, match=re.escape("runs/k0.npz is missing or damaged")):
        Results(tmp_path).table("runs")
    (tmp_path / "rise.json").write_text("{")
    with pytest.raises(MissingResult, match="rise.json cannot be read.*delete it"):
        Results(tmp_path).table("runs")
    assert not Results(tmp_path / "nowhere").has("rise")


# How much is measured


def test_the_quick_profile_has_folders_of_its_own():
    for name, folder in [("quick", "report/quick"), ("full", "report")]:
        assert results_folder(PROFILES[name]) == results.ROOT / folder / "results"
        assert figures_folder(PROFILES[name]) == results.ROOT / folder / "figures"


def test_counts_rise_under_every_profile():
    full = [16, 60, 100, 200, 250, 1000, 2000, 4000, 7000]
    for profile in PROFILES.values():
        counts = [profile.samples(n) for n in full]
        assert counts == sorted(set(counts)) and all(type(count) is int for count in counts)
    assert [PROFILES["full"].samples(n) for n in full] == full
    assert PROFILES["quick"].samples(4000) < 400


def test_more_seeds_take_more_images():
    images = {"cat": ["c1", "c2"], "dog": ["d1"]}
    few, more = (Plan(images, PROFILES["full"], seeds) for seeds in (1, 3))
    assert few.every == more.every == ["c1", "c2", "d1"]
    assert (few.some, more.some) == (["c1"], ["c1", "d1"])
    assert (few.repeats, more.repeats) == (2, 5)


def test_a_map_is_made_small_by_means_of_areas():
    rng = np.random.default_rng(0)
    whole = rng.random((224, 336))
    expected = whole.reshape(112, 2, 112, 3).mean(axis=(1, 3))
    assert small(whole).dtype == np.float16 and np.allclose(small(whole), expected, atol=1e-3)
    uneven = small(rng.random((299, 227)).astype(np.float32))
    assert uneven.shape == (112, 112) and uneven.mean() == pytest.approx(0.5, abs=0.01)
    same = rng.normal(size=(112, 112)).astype(np.float16)
    assert (small(same) == same).all()
