import numpy as np
import pandas as pd
import pytest

from lab.measure.intervals import mean_interval
from lab.measure.paired import GAINS, better, means, pairs, with_gain


def table(levels, noise=0.0):
    """Gains of twelve images by method: a level, or one of network and measure."""
    rng, rows = np.random.default_rng(0), []
    for network in ("n", "m"):
        for kind, image in np.ndindex(2, 6):
            about = {"network": network, "class": f"c{kind}", "image": f"{image}.jpg"}
            for method, level in levels.items():
                row = about | {"method": method}
                for key in GAINS:
                    mean = level(network, key) if callable(level) else level
                    row[key] = mean + (kind + image) / 10 + noise * rng.normal()
                rows.append(row)
    return pd.DataFrame(rows)


def test_differences_are_of_the_same_images():
    data = table({"a": 0.5, "b": 0.2}, noise=0.1)
    found = pairs(data)
    assert len(found) == 2 * 2 * len(GAINS) and (found["images"] == 12).all()
    found = found.set_index(["first", "network", "measure"]).loc["b", "m", "gain_black"]
    part = data[data["network"] == "m"].sort_values(["image", "class"])
    first, second = (part.loc[part["method"] == name, "gain_black"].to_numpy() for name in "ba")
    expected = (first - second).mean(), *mean_interval(first - second)
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
        "as low": 0.2,
    }
    found = better(pairs(table(levels, noise=0.01)))
    assert found == {("best", other) for other in ("black", "one", "low", "as low")}


def test_methods_are_compared_on_the_images_that_both_explained():
    data = table({"a": 0.5, "b": 0.2, "c": 0.3}, noise=0.1)
    few = (data["method"] != "c") | ((data["network"] == "n") & (data["image"] < "4"))
    found = pairs(data[few]).query("measure == 'gain_mean'")
    assert set(found.query("network == 'm'")["first"]) == {"a", "b"}
    found = found.set_index(["network", "first", "second"])["images"]
    assert found["n", "a", "c"] == found["n", "c", "b"] == 8 and found["n", "a", "b"] == 12


@pytest.mark.parametrize("missing", [[], ["network"], ["class", "calls"]])
def test_means_are_over_images_also_where_a_label_reads_as_missing(missing):
    data = with_gain(table({"a": 0.5, "b": 0.2}, noise=0.1)).assign(calls=250)
    data.loc[0, "gain"] = np.nan  # a map without a value
    seeds = pd.concat([data, data.assign(gain=data["gain"] + 0.5)], ignore_index=True)
    seeds[missing] = seeds[missing].where(seeds[missing].isin(["n", "c0"]))
    found = means(seeds, ["gain"], ["network", "calls", "method"])
    assert list(found) == ["network", "calls", "method", "measure", "mean", "low", "high"]
    for place, (network, method) in enumerate([("n", "a"), ("n", "b"), ("m", "a"), ("m", "b")]):
        part = data[(data["network"] == network) & (data["method"] == method)]
        values = part.sort_values(["image", "class"])[list(GAINS)].mean(axis=1).to_numpy() + 0.25
        values = values[1:] if place == 0 else values
        expected = values.mean(), *mean_interval(values)
        assert found.loc[place, ["mean", "low", "high"]].tolist() == pytest.approx(expected)
