import itertools

import numpy as np
import pandas as pd
import pytest

from lab.measure.variance import CHANGES, SOURCES, distances, grouped, savings, variance_shares


def crossed(value, seeds=2):
    rows = [
        (network, kind, f"{kind}{n}", setting, seed)
        for network in "NM"
        for kind in "EB"
        for n in range(3)
        for setting in "abcd"
        for seed in range(seeds)
    ]
    table = pd.DataFrame(rows, columns=["network", "class", "picture", "setting", "seed"])
    return table.assign(iou=[value(*row) for row in rows])


def test_variance_shares_of_known_effects():
    sign = {"N": 1, "M": -1, "E": 1, "B": -1}
    level = dict(zip("abcd", (-3, -1, 1, 3)))

    def value(network, kind, picture, setting, seed):
        return (
            2 * sign[network] + (int(picture[-1]) - 1) + level[setting] * sign[kind] + (seed - 0.5)
        )

    shares = variance_shares(crossed(value), ["iou"]).loc["iou"]
    # Each the sample variance of its level's effects, less what the seeds' noise adds to it: 4 + 4 for the
    # network, 12 * 2/3 / 8 for the picture, 4 * 5 / 3 times 2 for class and setting together.
    noise = 0.25 * 96 / 48
    expected = {
        "network": 8 - noise / 48,
        "picture": 1 - noise / 16,
        "class x setting": 40 / 3 - noise / 12,
        "seed": noise,
    }
    for source, share in shares.items():
        assert share == pytest.approx(
            expected.get(source, 0) / sum(expected.values()), abs=1e-12
        ), source
    assert shares.sum() == pytest.approx(1)
    assert variance_shares(crossed(lambda *_: 1), ["iou"]).isna().all(axis=None)
    with pytest.raises(ValueError, match="every network"):
        variance_shares(crossed(value).iloc[1:], ["iou"])
    # What a table has one of is no source, and what is left still adds up.
    table = crossed(value, seeds=1)
    alone = variance_shares(table[table.picture == "E1"], ["iou"]).loc["iou"]
    assert set(alone[alone > 0].index) == {"network", "setting"} and alone.sum() == pytest.approx(1)


def test_variance_shares_recover_random_effects():
    rng = np.random.default_rng(0)
    rows = [
        (f"n{n}", f"c{c}", f"p{c}.{p}", f"s{s}", seed)
        for n in range(12)
        for c in range(12)
        for p in range(6)
        for s in range(12)
        for seed in range(2)
    ]
    table = pd.DataFrame(rows, columns=["network", "class", "picture", "setting", "seed"])
    true = {
        ("network",): 1,
        ("class",): 2,
        ("picture",): 3,
        ("setting",): 1,
        ("class", "setting"): 2,
        ("network", "picture"): 4,
        ("network", "picture", "setting"): 1,
    }
    values = rng.normal(scale=np.sqrt(2), size=len(table))
    for factors, variance in true.items():
        group = table.groupby(list(factors)).ngroup().to_numpy()
        values += rng.normal(scale=np.sqrt(variance), size=group.max() + 1)[group]
    shares = variance_shares(table.assign(iou=values), ["iou"]).loc["iou"]
    for source, share in shares.items():
        expected = 2 if source == "seed" else true.get(tuple(source.split(" x ")), 0)
        # Few levels tell a variance roughly: twelve to within a half, the interactions better.
        assert 2 * share / shares["seed"] == pytest.approx(
            expected, abs=0.1, rel=0.25 if " x " in source else 0.5
        ), source


def test_more_pictures_than_networks_is_no_reason_for_a_larger_share():
    rng = np.random.default_rng(1)
    names = [f"noise {n}" for n in range(60)]
    table = crossed(lambda *_: 0)
    table[names] = rng.normal(size=(60, len(table))).T
    mean = variance_shares(table, names).mean()
    assert mean["seed"] > 0.8
    assert abs(mean["picture"] - mean["network"]) < 0.03


@pytest.mark.parametrize(
    "source, group", [("network", "network"), ("picture", "data"), ("setting", "setting")]
)
def test_parts_are_put_together(source, group):
    table = crossed(
        lambda *row: 0.1 * sum(map(ord, row[{"network": 0, "picture": 2, "setting": 3}[source]]))
    )
    shares = variance_shares(table.assign(jaccard=1.0), ["iou", "jaccard"])
    parts = grouped(shares)
    assert parts.columns.tolist() == ["measure", *SOURCES]
    assert parts["measure"].tolist() == ["iou"]  # the other is constant
    assert parts[group].tolist() == pytest.approx([1])


def test_every_source_is_in_one_part():
    parts = list(itertools.chain(*SOURCES.values()))
    assert sorted(parts) == sorted(variance_shares(crossed(lambda *row: row[-1]), ["iou"]).columns)


def test_savings_reads_the_need_off_the_stock_curve():
    rows = [("lime", n, value) for n, value in [(100, 0.5), (200, 0.4), (400, 0.7), (800, 0.9)]]
    rows += [
        ("balanced", n, value + noise)
        for n, value in [(100, 0.7), (200, 0.8), (400, 0.95)]
        for noise in (-0.01, 0.01)
    ]
    got = savings(pd.DataFrame(rows, columns=["sampling", "num_samples", "rank_correlation"]))
    assert list(got.columns) == ["num_samples", "balanced", "lime", "lime_needs", "ratio"]
    assert got.num_samples.tolist() == [100, 200, 400]
    np.testing.assert_allclose(got.lime_needs, [400, np.sqrt(400 * 800), np.inf])
    np.testing.assert_allclose(got.ratio, got.lime_needs / got.num_samples)
    np.testing.assert_allclose(got.lime, [0.5, 0.4, 0.7])


def test_distances_are_those_of_all_pairs_that_differ_in_one_thing():
    rng = np.random.default_rng(1)
    places = itertools.product(
        ["n", "m"], [("a", "1"), ("a", "2"), ("b", "1")], ["s", "t", "u"], [0, 1]
    )
    table = pd.DataFrame(
        [
            {
                "network": network,
                "class": kind,
                "picture": picture,
                "setting": setting,
                "seed": seed,
                "iou": rng.normal(),
                "shown": 1.0,
            }
            for network, (kind, picture), setting, seed in places
        ]
    )
    found = distances(table, ["iou", "shown"]).set_index("change")["distance"]
    assert set(found.index) == set(CHANGES), "what is the same everywhere has no row"
    rows = table.to_dict("records")
    every = [abs(a["iou"] - b["iou"]) for a, b in itertools.combinations(rows, 2)]
    alike = {
        "another seed": lambda a, b: all(
            a[k] == b[k] for k in ("network", "class", "picture", "setting")
        ),
        "the other network": lambda a, b: (
            a["network"] != b["network"]
            and all(a[k] == b[k] for k in ("class", "picture", "setting", "seed"))
        ),
        "another setting": lambda a, b: (
            a["setting"] != b["setting"]
            and all(a[k] == b[k] for k in ("class", "picture", "network", "seed"))
        ),
        "another picture of the same class": lambda a, b: (
            a["class"] == b["class"]
            and a["picture"] != b["picture"]
            and all(a[k] == b[k] for k in ("network", "setting", "seed"))
        ),
        "a picture of the other class": lambda a, b: (
            a["class"] != b["class"] and all(a[k] == b[k] for k in ("network", "setting", "seed"))
        ),
    }
    for change, of in alike.items():
        assert found[change] == pytest.approx(
            np.mean(
                [abs(a["iou"] - b["iou"]) for a, b in itertools.combinations(rows, 2) if of(a, b)]
            )
            / np.mean(every)
        ), change
