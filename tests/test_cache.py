import pickle
import sqlite3

import numpy as np
import pytest

from lab import cache


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "_store", cache._open(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("array", [np.float32([[1.5, np.nan], [np.inf, -0.0]]), np.arange(5), np.array(2.5),
                                   np.zeros((0, 3), np.uint8), np.random.default_rng(0).random((300, 400))])
def test_what_comes_back_is_what_was_computed(array):
    first = cache.cached({"what": "test"}, lambda: array)
    again = cache.cached({"what": "test"}, lambda: pytest.fail("computed twice"))
    for result in (first, again):
        assert result.dtype == array.dtype and result.shape == array.shape
        np.testing.assert_array_equal(result, array)


def test_another_key_is_another_result_and_order_does_not_matter():
    assert cache.cached({"a": 1, "b": 2}, lambda: np.array(1)) == 1
    assert cache.cached({"b": 2, "a": 1}, lambda: np.array(2)) == 1
    assert cache.cached({"a": 1, "b": 3}, lambda: np.array(2)) == 2


def test_results_outlive_the_process(own_folder, monkeypatch):
    cache.cached({"what": "test"}, lambda: np.arange(3))
    monkeypatch.setattr(cache, "_store", cache._open(own_folder))
    np.testing.assert_array_equal(cache.cached({"what": "test"}, lambda: pytest.fail("lost")), np.arange(3))


def test_a_failed_computation_leaves_nothing():
    with pytest.raises(ZeroDivisionError):
        cache.cached({"what": "test"}, lambda: 1 / 0)
    assert cache.cached({"what": "test"}, lambda: np.array(7)) == 7


def test_a_pickle_in_the_folder_is_refused(own_folder):
    cache.cached({"what": "test"}, lambda: np.arange(3))
    with sqlite3.connect(own_folder / "cache.db") as database:
        database.execute("UPDATE Cache SET mode = ?, value = ?", (4, pickle.dumps(print)))
    with pytest.raises(ValueError, match="holds a pickle"):
        cache.cached({"what": "test"}, lambda: np.arange(3))


def test_digest_tells_values_types_and_shapes_apart():
    arrays = [np.zeros(4), np.zeros((2, 2)), np.zeros(4, np.float32), np.array([0, 0, 0, 1.0])]
    assert len({cache.digest(array) for array in arrays}) == len(arrays)
    assert cache.digest(np.arange(6).reshape(2, 3).T) == cache.digest(np.arange(6).reshape(2, 3).T.copy())
