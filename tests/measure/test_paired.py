import numpy as np
import pandas as pd
import pytest

from lab.measure.intervals import mean_interval
from lab.measure.paired import GAINS, better, pairs


def table(levels, noise=0.0):
    """Gains by method: its level, or a function of network and measure; six objects."""
    rng, rows = np.random.default_rng(0), []
    for network in ("n", "m"):
        for number, image in np.ndindex(6, 2):
            about = {"network": network, "class": f"c{number}", "object": f"o{number}"}
            for method, level in levels.items():
                row = about | {"picture": f"o{number}_{image}", "method": method}
                for key in GAINS:
                    mean = level(network, key) if callable(level) else level
                    row[key] = mean + number / 10 + noise * rng.normal()
                rows.append(row)
    return pd.DataFrame(rows)


def test_differences_are_of_the_same_images_and_intervals_over_objects():
    data = table({"a": 0.5, "b": 0.2}, noise=0.1)
    found = pairs(data)
    assert len(found) == 2 * 2 * len(GAINS) and (found["objects"] == 6).all()
    found = found.set_index(["first", "network", "measure"]).loc["b", "m", "gain_black"]
    first, second = (data.query(f"network == 'm' and method == '{name}'") for name in "ba")
    difference = first["gain_black"].to_numpy() - second["gain_black"].to_numpy()
    expected = difference.mean(), *mean_interval(difference, first["object"])
    assert found[["difference", "low", "high"]].tolist() == pytest.approx(expected)
    # What images have in common cancels, so that no noise remains.
    found = pairs(table({"a": 0.5, "b": 0.2}))[["difference", "low", "high"]]
    np.testing.assert_allclose(found[::2], 0.3)
    np.testing.assert_allclose(found[1::2], -0.3)


def test_better_means_by_every_baseline_and_for_every_network():
    levels = {
        "best": 1.0,
        "black": lambda network, key: 0.9 if key == "gain_black" else 0.1,
        "one": lambda network, key: 0.9 if network == "n" else 0.1,
        "low": 0.2,
    }
    found = better(pairs(table(levels, noise=0.01)))
    assert found == {("best", "black"), ("best", "one"), ("best", "low")}


def test_methods_are_compared_on_the_images_that_both_explained():
    data = table({"a": 0.5, "b": 0.2, "c": 0.3}, noise=0.1)
    few = (data["method"] != "c") | ((data["network"] == "n") & (data["object"] < "o4"))
    found = pairs(data[few]).query("measure == 'gain_mean'")
    assert set(found.query("network == 'm'")["first"]) == {"a", "b"}
    found = found.set_index(["network", "first", "second"])["objects"]
    assert found["n", "a", "c"] == found["n", "c", "b"] == 4 and found["n", "a", "b"] == 6
