import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from lab.measure import roar as module
from lab.measure.roar import ROAR_METHODS, roar


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return images[:120].astype(np.float32) / 16, labels[:120]


@pytest.mark.parametrize("method, atol", [("shap", 1e-6), ("occlusion", 1e-6), ("lime", 0.05)])
def test_attributions_of_a_linear_network_are_its_terms(digits, method, atol):
    images, labels, mean = digits[0][:3], digits[1][:3], digits[0].mean(axis=0)
    weights = np.random.default_rng(4).normal(size=(64, 10))

    class Linear:
        def predict_proba(self, images):
            return images.astype(float) @ weights

    found = module._saliency(method, Linear(), images, labels, mean, 512, 0)
    np.testing.assert_allclose(found, (images - mean) * weights[:, labels].T, atol=atol)


def test_baselines_need_no_network(digits):
    images = digits[0][:3].copy()
    images[0] = np.repeat([0.0, 1.0], 32)  # an edge between the fourth and the fifth row
    random, centre, edges = (
        module._saliency(name, None, images, digits[1][:3], None, 0, 0)
        for name in ROAR_METHODS[-3:]
    )
    assert random.shape == (3, 64) and len(np.unique(random)) == 3 * 64
    assert set(np.argsort(-centre[1])[:4]) == {27, 28, 35, 36}
    assert set(np.flatnonzero(edges[0] > 0) // 8) == {3, 4}


def test_roar_removes_what_matters():
    def run(method, seed):
        return roar(method, seed, shares=(0, 0.3), count=400)

    table = pd.concat(
        [run(method, seed) for method in ("occlusion", "random") for seed in (0, 1)],
        ignore_index=True,
    )
    assert list(table.columns) == ["method", "share", "seed", "accuracy", "drawn", "trace"]
    whole = table[table["share"] == 0]
    assert (whole["accuracy"] > 0.85).all() and whole["trace"].isna().all()
    assert whole.groupby("seed")["accuracy"].nunique().eq(1).all()
    assert (whole["drawn"] == whole["accuracy"]).all()
    mean = table[table["share"] > 0].groupby("method")[["accuracy", "drawn", "trace"]].mean()
    assert mean["drawn"]["occlusion"] < mean["drawn"]["random"] - 0.15
    # The class can be read from the hole.
    assert mean["drawn"]["occlusion"] < mean["accuracy"]["occlusion"] - 0.1
    assert mean["trace"]["random"] < 0.25 < 0.5 < mean["trace"]["occlusion"]
    again = table[(table["method"] == "random") & (table["seed"] == 1)].reset_index(drop=True)
    pd.testing.assert_frame_equal(run("random", 1), again)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"method": "gradient"}, "unknown method 'gradient': expected one of lime, rise_average"),
        ({"shares": (0.5, 1.5)}, r"shares must be from 0 to 1, got \[0.5, 1.5\]"),
        ({"count": 10}, "count must be from 100 to the 1797 digits, got 10"),
        ({"method": "shap", "count": 100, "n_samples": 129}, "budget must be at least 258"),
    ],
)
def test_roar_refuses_what_makes_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        roar(**{"method": "random", "seed": 0} | change)
