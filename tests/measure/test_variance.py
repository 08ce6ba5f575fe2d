import itertools

import numpy as np
import pandas as pd
import pytest
from crossed import crossed

from lab.measure.variance import CHANGES, SOURCES, distances, grouped, savings, variance_shares


def known(network, kind, image, setting, seed):
    sign = {"N": 1, "M": -1, "E": 1, "B": -1}
    level = dict(zip("abcd", (-3, -1, 1, 3)))[setting]
    return 2 * sign[network] + (int(image[-1]) - 1) + level * sign[kind] + (seed - 0.5)


def test_variance_shares_of_known_effects():
    shares = variance_shares(crossed(known), ["iou"]).loc["iou"]
    # Each is the sample variance of its level's effects, less the noise: 8 for
    # the network, 12 * 2/3 / 8 for the image, 4 * 5 / 3 * 2 for class and setting.
    noise = 0.25 * 96 / 48
    expected = dict.fromkeys(shares.index, 0) | {"network": 8 - noise / 48, "seed": noise}
    expected |= {"image": 1 - noise / 16, "class x setting": 40 / 3 - noise / 12}
    total = sum(expected.values())
    for source, share in shares.items():
        assert share == pytest.approx(expected[source] / total, abs=1e-12), source
    with pytest.raises(ValueError, match="every network"):
        variance_shares(crossed(known).iloc[1:], ["iou"])
    # What a table has one of is no source, and the rest still adds up.
    table = crossed(known, seeds=1)
    alone = variance_shares(table[table.image == "E1"], ["iou"]).loc["iou"]
    assert set(alone[alone > 0].index) == {"network", "setting"} and alone.sum() == pytest.approx(1)


def test_what_is_constant_up_to_rounding_or_missing_has_no_shares():
    table = crossed(lambda *row: 0.3 + 1e-16 * row[-1])
    table = table.assign(jaccard=[np.nan, *range(len(table) - 1)], shown=1)
    measures = ["iou", "jaccard", "shown"]
    assert variance_shares(table, measures).isna().all(axis=None)
    assert grouped(variance_shares(table, measures)).empty and distances(table, measures).empty


@pytest.mark.parametrize("column, group", [(0, "network"), (2, "data"), (3, "setting")])
def test_parts_are_put_together(column, group):
    shares = variance_shares(crossed(lambda *row: 0.1 * sum(map(ord, row[column]))), ["iou"])
    assert grouped(shares)[group].tolist() == pytest.approx([1])
    assert sorted(itertools.chain(*SOURCES.values())) == sorted(shares.columns)


def test_savings_reads_the_need_off_the_stock_curve():
    rows = [("lime", n, value) for n, value in [(100, 0.5), (200, 0.4), (400, 0.7), (800, 0.9)]]
    # At 0.45, 100 samples are enough by chance, as 200 show.
    balanced = [(50, 0.45), (100, 0.7), (200, 0.8), (400, 0.95)]
    rows += [("balanced", n, value + noise) for n, value in balanced for noise in (-0.01, 0.01)]
    got = savings(pd.DataFrame(rows, columns=["sampling", "num_samples", "rank_correlation"]))
    needs = [200 * 2 ** (1 / 6), 400, np.sqrt(400 * 800), np.inf]
    np.testing.assert_allclose(got.lime_needs, needs)
    np.testing.assert_allclose(got.ratio, got.lime_needs / [50, 100, 200, 400])
    np.testing.assert_allclose(got.lime, [np.nan, 0.5, 0.4, 0.7])


def test_distances_are_those_of_all_pairs_that_differ_in_one_thing():
    rng = np.random.default_rng(1)
    table = crossed(lambda *_: rng.normal())
    table["image"] = table["image"].str[-1]  # the same names in both classes
    found = distances(table, ["iou"]).set_index("change")["distance"]
    far, every = {change: [] for change in CHANGES}, []
    for a, b in itertools.combinations(table.to_dict("records"), 2):
        every.append(abs(a["iou"] - b["iou"]))
        differ = {column for column in a if a[column] != b[column]} - {"iou"}
        # Images of two classes are never the same.
        differ |= {"image"} if "class" in differ else set()
        for change, columns in CHANGES.items():
            if differ == set(columns):
                far[change].append(every[-1])
    expected = {change: np.mean(values) / np.mean(every) for change, values in far.items()}
    assert found.to_dict() == pytest.approx(expected)
