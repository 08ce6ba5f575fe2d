"""The benchmarks count calls right, keep to the budget, and compare the same maps."""

import math

import numpy as np
import pandas as pd
import pytest
from cheap import Places, tiles

from benchmarks import quality, record, rise_calls, speed

# Calls of the methods that cannot make any number of them, for 96 x 96 pixels.
FEWER = {
    "Nested occlusion": {100: 97, 500: 498},
    "Occlusion (blurred)": {100: 1 + 9 * 11, 500: 1 + 22 * 22},
    "Xplique's Occlusion": {100: 1 + 9 * 9, 500: 1 + 19 * 19},
    "Xplique's Sobol": {100: 8 * (3 * 3 + 2), 500: 8 * (7 * 7 + 2)},
}


def explained(method, budget=100, seed=0):
    if method.startswith("Xplique"):
        pytest.importorskip("xplique")
    black_box = Places()
    saliency, calls = quality.explained(method, black_box, tiles(6, 6), 1, budget, seed)
    return saliency, calls, black_box.calls


@pytest.mark.parametrize("budget", [100, 500])
@pytest.mark.parametrize("method", quality.METHODS)
def test_the_calls_counted_are_those_made(method, budget):
    if budget < quality.METHODS[method].least:
        pytest.skip("too few calls for the method")
    saliency, calls, made = explained(method, budget)
    assert calls == made == FEWER.get(method, {}).get(budget, budget)
    assert saliency.shape == (96, 96) and np.isfinite(saliency).all() and np.ptp(saliency) > 0


@pytest.mark.parametrize("method", ["RISE (regression)", "Xplique's Rise"])
def test_each_seed_has_its_own_masks(method):
    first, again, other = (explained(method, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.corrcoef(first.ravel(), other.ravel())[0, 1] < 0.99


@pytest.mark.parametrize("budget", quality.BUDGETS)
@pytest.mark.parametrize("side", [224, 227])
def test_options_of_xplique_use_most_of_the_budget(side, budget):
    sobol, occlusion = quality.designs(budget, side), quality.patches(budget, side)
    calls = (
        sobol["nb_design"] * (sobol["grid_size"] ** 2 + 2),
        1 + math.ceil((side - occlusion["patch_size"] + 1) / occlusion["patch_stride"]) ** 2,
    )
    assert all(0.7 * budget < number <= budget for number in calls)


def test_methods_are_compared_on_the_same_images():
    gains = {quality.FIRST: [0.1, 0.9, 0.5, 0.7], "LIME": [0.0, 0.8, 0.4, 0.6]}
    rows = [
        ("cheap", str(number), 0, method, budget, budget - (method == "LIME"), gain)
        for method, values in gains.items()
        for number, gain in enumerate(values)
        for budget in (50, 1000)
        if (method, budget) != ("LIME", 50)
    ]
    columns = ["network", "object", "seed", "method", "budget", "calls", "gain"]
    found = quality.means(pd.DataFrame(rows, columns=columns)).set_index(["method", "budget"])
    assert len(found) == 3
    lime = found.loc["LIME", 1000]
    of = ["calls", "gain", "difference", "difference low", "difference high"]
    np.testing.assert_allclose(lime[of].tolist(), [999, 0.45, -0.1, -0.1, -0.1])
    assert lime["gain low"] < 0.2 < 0.7 < lime["gain high"]  # objects differ more than methods
    table = quality.markdown(found.reset_index())
    assert "| LIME |  |  |  |  | 0.450 | −0.100 (−0.100 to −0.100) |" in table


def test_calls_needed_are_interpolated_and_extrapolated():
    """Correlations are ``1 / sqrt(1 + constant / calls)``; only some are measured."""
    constants = {rise_calls.REGRESSION: 20, rise_calls.AVERAGE: 400}
    rows = [
        ("cheap", "one", method, calls, 1 / math.sqrt(1 + constant / calls), 1.0)
        for method, constant in constants.items()
        for calls in rise_calls.CALLS
    ]
    columns = ["network", "picture", "method", "calls", "correlation", "halves"]
    table = pd.DataFrame(rows, columns=columns)
    needed = rise_calls.calls_needed(table).set_index("method")
    for method, constant in constants.items():
        for level in rise_calls.LEVELS:
            exact = max(constant / (1 / level**2 - 1), min(rise_calls.CALLS))
            assert needed.loc[method, f"{level:.2f}"] == pytest.approx(exact, rel=0.02)
    shares = rise_calls.shares(needed.reset_index()).set_index(["correlation", "network"])
    np.testing.assert_allclose(shares.loc[["0.95", "0.98"], "share of calls"], 1 / 20, rtol=0.02)


@pytest.mark.parametrize("explainer", speed.EXPLAINERS)
def test_explainers_whose_speed_is_compared_compute_rise(explainer):
    """The exact map of a model that is linear in the masks, up to sampling noise."""
    image = np.full((224, 224, 3), 200, np.float32)
    saliency = speed.EXPLAINERS[explainer](
        lambda x: x[:, :112, :, 0].mean((1, 2))[:, None], image, 600
    )
    rows = saliency.mean(axis=1)
    assert saliency.shape == (224, 224) and rows[:80].min() > rows[144:].max()


def test_what_is_not_measured_again_keeps_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    for name, value in (("rise", "1.50"), ("lime", "2.00"), ("rise", "0.10")):
        table = pd.DataFrame({"measurement": [name], "value": [value]})
        record.record({"speed.csv": table}, replacing="measurement")
    found = pd.read_csv(tmp_path / "speed.csv", dtype=str)
    assert found[["measurement", "value"]].to_numpy().tolist() == [
        ["lime", "2.00"],
        ["rise", "0.10"],
    ]
