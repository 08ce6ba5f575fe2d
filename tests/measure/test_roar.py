from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from lab.measure import roar as module
from lab.measure.roar import roar

DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS = DIGITS[:120].astype(np.float32) / 16


@pytest.mark.parametrize("method, atol", [("shap", 1e-6), ("occlusion", 1e-6), ("lime", 0.05)])
def test_attributions_of_a_linear_network_are_its_terms(method, atol):
    digits, labels, mean = DIGITS[:3], LABELS[:3], DIGITS.mean(axis=0)
    weights = np.random.default_rng(4).normal(size=(64, 10))
    linear = SimpleNamespace(predict_proba=lambda digits: digits.astype(float) @ weights)
    found = module._saliency(method, linear, digits, labels, mean, 512, 0)
    np.testing.assert_allclose(found, (digits - mean) * weights[:, labels].T, atol=atol)


def test_baselines_need_no_network():
    digits = DIGITS[:3].copy()
    digits[0] = np.repeat([0.0, 1.0], 32)  # an edge between the fourth and the fifth row
    centre, edges = (
        module._saliency(name, None, digits, LABELS[:3], None, 0, 0) for name in ("centre", "edges")
    )
    assert set(np.argsort(-centre[1])[:4]) == {27, 28, 35, 36}
    assert set(np.flatnonzero(edges[0] > 0) // 8) == {3, 4}


def test_roar_removes_what_matters(monkeypatch):
    monkeypatch.setattr(module, "SHARES", (0, 0.3))
    runs = [roar(method, seed, count=400) for method in ("occlusion", "random") for seed in (0, 1)]
    table = pd.concat(runs, ignore_index=True)
    # Of the 100 digits, a quarter, that are tested.
    accuracies = 100 * table[["accuracy", "drawn", "trace"]].fillna(0)
    np.testing.assert_allclose(accuracies, accuracies.round())
    whole = table[table["share"] == 0]
    assert (whole["accuracy"] > 0.85).all() and whole["trace"].isna().all()
    assert (whole["drawn"] == whole["accuracy"]).all()
    mean = table[table["share"] > 0].groupby("method")[["accuracy", "drawn", "trace"]].mean()
    assert mean["drawn"]["occlusion"] < mean["drawn"]["random"] - 0.15
    # The class can be read from the hole.
    assert mean["drawn"]["occlusion"] < mean["accuracy"]["occlusion"] - 0.1
    assert mean["trace"]["random"] < 0.25 < 0.5 < mean["trace"]["occlusion"]
    pd.testing.assert_frame_equal(roar("random", 1, count=400), runs[-1])


def test_removed_pixels_show_the_mean_or_drawn_values_of_training_digits(monkeypatch):
    seen, train = [], module._trained
    monkeypatch.setattr(module, "_trained", lambda *args: seen.append(args[0]) or train(*args))
    monkeypatch.setattr(module, "SHARES", (0, 0.3))
    roar("random", 0, count=120)
    whole, mean, drawn, trace = seen
    gone = trace == 1
    assert (gone.sum(axis=1) == 19).all()  # 30% of 64
    np.testing.assert_allclose(mean, np.where(gone, whole.mean(axis=0), whole), rtol=1e-6)
    np.testing.assert_array_equal(drawn[~gone], whole[~gone])
    assert all(np.isin(*pixels).all() for pixels in zip(drawn.T, whole.T))
    assert 0.4 < (drawn[gone] != whole[gone]).mean()


def test_too_few_perturbations_are_refused():
    with pytest.raises(ValueError, match="budget must be at least 258"):
        roar("shap", 0, count=100, n_samples=129)
