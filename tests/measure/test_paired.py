"""Comparisons in pairs, on tables whose answers are known, and intervals against simulation."""

import numpy as np
import pandas as pd
import pytest

from lab.measure.paired import GAINS, better, clustered_interval, judge, pairs


def table(levels, objects=6, noise=0.0, networks=("n", "m")):
    """Gains by method: `levels` gives each method's level, or a function of network and measure."""
    rng = np.random.default_rng(0)
    rows = []
    for network in networks:
        for number in range(objects):
            for picture in range(2):
                for method, level in levels.items():
                    gains = {
                        key: (level(network, key) if callable(level) else level)
                        + number / 10
                        + noise * rng.normal()
                        for key in GAINS
                    }
                    rows.append(
                        {
                            "network": network,
                            "class": f"c{number}",
                            "picture": f"o{number}_{picture}",
                            "object": f"o{number}",
                            "method": method,
                        }
                        | gains
                    )
    return pd.DataFrame(rows)


def test_differences_are_of_the_same_pictures():
    found = pairs(table({"a": 0.5, "b": 0.2}))
    assert len(found) == 2 * 2 * len(GAINS) and (found["objects"] == 6).all()
    row = found[
        (found["first"] == "a") & (found["network"] == "n") & (found["measure"] == "gain_mean")
    ].iloc[0]
    # What pictures have in common cancels, so that nothing is left to chance.
    assert row[["difference", "low", "high"]].astype(float).to_numpy() == pytest.approx(
        [0.3, 0.3, 0.3]
    )
    back = found[
        (found["first"] == "b") & (found["network"] == "n") & (found["measure"] == "gain_mean")
    ].iloc[0]
    assert back[["difference", "low", "high"]].astype(float).to_numpy() == pytest.approx(
        [-0.3, -0.3, -0.3]
    )


def test_better_means_by_every_fill_and_for_every_network():
    def only_black(network, key):
        return 0.9 if key == "gain_black" else 0.1

    def only_one(network, key):
        return 0.9 if network == "n" else 0.1

    found = better(
        pairs(table({"best": 1.0, "black": only_black, "one": only_one, "low": 0.2}, noise=0.01))
    )
    assert found == {("best", "black"), ("best", "one"), ("best", "low")}


def test_the_rule():
    compared = pairs(
        table(
            {
                "good": 1.0,
                "good_black": 0.8,
                "blind": 0.9,
                "same": 0.0,
                "noise": 0.0,
                "centre": 0.1,
            },
            noise=0.01,
        )
    )
    alike = pd.Series({"good": 0.2, "blind": 0.7, "same": 0.1})
    found = judge(
        compared, alike, ["good", "good_black", "blind", "same"], ["noise", "centre"]
    ).set_index("method")
    assert found["trusted"].to_dict() == {
        "good": True,
        "good_black": True,
        "blind": False,
        "same": False,
    }
    assert found.loc["good", "beats"] == "noise,centre" and found.loc["same", "beats"] == ""
    assert (
        found.loc["good", "better_than"] == "good_black,blind,same"
        and found.loc["good_black", "sanity"] == 0.2
    )


def test_a_cluster_counts_once_however_many_pictures_it_has():
    values, objects = np.array([0.0, 1.0, 2.0, 3.0]), np.arange(4)
    assert clustered_interval(np.repeat(values, 5), np.repeat(objects, 5)) == pytest.approx(
        clustered_interval(values, objects)
    )
    low, high = clustered_interval(np.repeat(values, 5), np.arange(20))
    assert high - low < 0.6 * np.subtract(*clustered_interval(values, objects)[::-1])
    assert np.isnan(clustered_interval([1.0, 2.0], ["a", "b"])).all()


@pytest.mark.parametrize(
    "draw, least",
    [(lambda rng, n: rng.normal(size=n), 0.93), (lambda rng, n: rng.exponential(size=n) - 1, 0.9)],
    ids=["normal", "skewed"],
)
def test_how_often_the_interval_holds_the_truth(draw, least):
    rng, objects = np.random.default_rng(1), np.repeat(np.arange(19), 2)
    held = 0
    for _ in range(1000):
        low, high = clustered_interval(
            np.repeat(draw(rng, 19), 2) + 0.3 * rng.normal(size=38), objects
        )
        held += low < 0 < high
    assert least < held / 1000 < 0.98
