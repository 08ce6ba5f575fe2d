import functools
import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from lab.measure import roar as module
from lab.measure.roar import METHODS, roar


@pytest.fixture(scope="module")
def digits():
    pictures, labels = load_digits(return_X_y=True)
    return pictures[:120].astype(np.float32) / 16, labels[:120]


@pytest.mark.parametrize("method, atol", [("shap", 1e-6), ("occlusion", 1e-6), ("lime", 0.05)])
def test_attributions_of_a_linear_network_are_its_terms(digits, method, atol):
    pictures, mean, weights = (
        digits[0][:3],
        digits[0].mean(axis=0),
        np.random.default_rng(4).normal(size=(64, 10)),
    )

    class Linear:
        def predict_proba(self, pictures):
            return pictures.astype(float) @ weights

    found = module._saliency(method, Linear(), pictures, digits[1][:3], mean, 512, 0)
    expected = (pictures - mean) * weights[:, digits[1][:3]].T
    np.testing.assert_allclose(found, expected, atol=atol)


def test_the_network_is_asked_about_the_true_class_of_each_digit(digits, monkeypatch):
    pictures, labels = digits
    network, mean = module._trained(pictures, labels, 0), pictures.mean(axis=0)
    kept = np.random.default_rng(5).integers(0, 2, (20, 64))
    asked = []
    monkeypatch.setattr(
        module,
        "attribute",
        lambda method, value, n, budget, seed: asked.append(value(kept)) or np.zeros(n),
    )
    assert module._saliency("lime", network, pictures, labels, mean, 20, 0).shape == (120, 64)
    for row, picture in itertools.product((0, 7, 19), (0, 50, 119)):
        x = np.where(kept[row], pictures[picture], mean)
        assert asked[picture][row] == pytest.approx(
            network.predict_proba(x[None])[0, labels[picture]], abs=1e-5
        )


def test_baselines_look_at_no_network(digits):
    pictures = digits[0][:3].copy()
    pictures[0] = np.repeat([0.0, 1.0], 32)  # an edge between the fourth and the fifth row
    found = {
        name: module._saliency(name, None, pictures, digits[1][:3], None, 0, 0)
        for name in ("random", "centre", "edges")
    }
    assert all(saliency.shape == (3, 64) for saliency in found.values())
    assert set(np.argsort(-found["centre"][1])[:4]) == {27, 28, 35, 36}
    assert set(np.flatnonzero(found["edges"][0] > 0) // 8) == {3, 4}


def test_roar_removes_what_matters():
    run = functools.partial(roar, shares=(0, 0.3), count=400)
    table = pd.concat(
        [run(method, seed) for method in ("occlusion", "random") for seed in (0, 1)],
        ignore_index=True,
    )
    assert list(table.columns) == ["method", "share", "seed", "accuracy", "drawn", "trace"]
    assert list(table.itertuples(index=False))[0][:3] == ("occlusion", 0, 0) and len(table) == 8
    whole = table[table["share"] == 0]
    assert (whole["accuracy"] > 0.85).all() and whole["trace"].isna().all()
    assert (
        whole.groupby("seed")["accuracy"].nunique().eq(1).all()
        and (whole["drawn"] == whole["accuracy"]).all()
    )
    mean = table[table["share"] > 0].groupby("method")[["accuracy", "drawn", "trace"]].mean()
    assert mean["drawn"]["occlusion"] < mean["drawn"]["random"] - 0.15
    assert (
        mean["drawn"]["occlusion"] < mean["accuracy"]["occlusion"] - 0.1
    )  # which can be read from the hole
    assert mean["trace"]["random"] < 0.25
    expected = table[(table["method"] == "random") & (table["seed"] == 1)].reset_index(drop=True)
    pd.testing.assert_frame_equal(run("random", 1), expected)


def test_roar_finds_the_trace_of_a_class(monkeypatch):
    labels = load_digits().target[:200]
    maps = {
        # removes a row, another one for each class but for two pairs
        "random": (np.arange(64) // 8 == (labels % 8)[:, None]).astype(float),
        # always 0: nothing is lost
        "centre": np.tile(np.arange(64) == 0, (200, 1)).astype(float),
    }
    monkeypatch.setattr(module, "_saliency", lambda method, *_: maps[method])
    found = pd.concat([roar(method, 0, (0, 1 / 64, 1 / 8), 200) for method in maps]).set_index(
        ["method", "share"]
    )
    assert found.loc[("random", 1 / 8), "trace"] > 0.7
    assert found.loc[("centre", 1 / 64), "trace"] < 0.2
    assert found.loc[("centre", 1 / 64), "accuracy"] == found.loc[("centre", 0), "accuracy"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_table(method):
    table = roar(method, 0, shares=(0.5,), count=100, n_samples=260)
    assert table["method"].tolist() == [method] and table[["accuracy", "drawn", "trace"]].map(
        lambda x: 0 <= x <= 1
    ).all(axis=None)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"method": "gradient"}, "unknown method 'gradient': expected one of lime, rise_average"),
        ({"shares": (0.5, 1.5)}, r"shares must be from 0 to 1, got \[0.5, 1.5\]"),
        ({"count": 10}, "count must be from 100 to the 1797 digits, got 10"),
        (
            {"method": "shap", "count": 100, "n_samples": 129},
            "budget must be at least 258 .* got 129",
        ),
    ],
)
def test_roar_refuses_what_makes_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        roar(**{"method": "random", "seed": 0} | change)
