import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from crossed import crossed

from lab.measure import statistics
from lab.measure.intervals import mean_interval
from lab.measure.statistics import at_odds, rank_methods, ranking_agreement, ranks_by_image


def hand_made(methods="abc"):
    """Method a is best on deletion and worst on insertion, c the other way round."""
    rows = [
        (network, "bbee"[number], f"p{number % 2}", method, place / 10 + number / 100 + seed / 1000)
        for network, number, seed in itertools.product("XY", range(4), range(2))
        for place, method in enumerate(methods)
    ]
    names = ["network", "class", "image", "method", "deletion_black"]
    table = pd.DataFrame(rows, columns=names).assign(iou_mask=float("nan"), pointing_game=1.0)
    table.loc[(table["class"] == "b") & (table["image"] == "p0"), "pointing_game"] = float("nan")
    return table.assign(insertion=table["deletion_black"])


def test_ranks_are_averaged_over_networks_and_vary_over_images():
    table = hand_made("ab")
    swapped = (table["network"] == "Y") | ((table["class"] == "b") & (table["image"] == "p0"))
    table.loc[swapped, "deletion_black"] *= -1  # there b comes first
    ranking = rank_methods(table).set_index(["metric", "method"])
    row = ranking.loc[("deletion_black", "a"), ["mean_rank", "low", "high"]]
    assert row.tolist() == pytest.approx([6.5 / 4, *mean_interval([2, 1.5, 1.5, 1.5])])


def test_no_value_ranks_last_and_rounding_makes_no_order():
    table = hand_made()
    table.loc[table["method"] == "a", "deletion_black"] = float("nan")
    ranking = rank_methods(table)
    for metric, order in (("deletion_black", "bca"), ("insertion", "cba")):
        part = ranking[ranking["metric"] == metric]
        assert part["method"].tolist() == list(order) and (part["images"] == 4).all()
    table["insertion"] = table["method"].map({"a": 0.3, "b": 0.1 + 0.2, "c": 0.15 + 0.15})
    assert (rank_methods(table).query("metric == 'insertion'")["mean_rank"] == 2).all()


def test_disagreement_is_kendalls_tau():
    table = hand_made("abcd")
    table["faithfulness"] = table["method"].map({"a": 1, "b": 0, "c": 2, "d": 3})
    found = statistics.disagreement(table).set_index("metric")
    # In MEASUREMENTS' order. Insertion and faithfulness agree on five of six pairs.
    assert found.columns.tolist() == found.index.tolist()
    expected = [[1, -1, -4 / 6], [-1, 1, 4 / 6], [-4 / 6, 4 / 6, 1]]
    np.testing.assert_allclose(found.iloc[:3, :3], expected)
    assert found.loc["pointing_game"].isna().all()


def test_tau_b_with_ties_and_without_a_value():
    values = np.random.default_rng(1).integers(0, 5, (7, 6)).astype(float)
    values[:, 4] = 2
    values[3, 5] = np.nan
    signs = np.sign(values[:, None] - values).reshape(49, 6)
    pairs = signs[:, :, None] * signs[:, None]  # of rows, for every two columns
    untied = np.where(np.arange(6) == 4, np.nan, (signs**2).sum(axis=0))
    expected = pairs.sum(axis=0) / np.sqrt(np.outer(untied, untied))
    rounding = 1e-12 * np.random.default_rng(2).normal(size=values.shape)
    for table in (values, values + rounding):
        np.testing.assert_allclose(statistics._kendall(pd.DataFrame(table)), expected)


def agreement_of_iou(table):
    missing = dict.fromkeys(statistics.CHOSEN_BY, np.nan)
    found = ranking_agreement(table.assign(**missing | {"iou": table["iou"]}))
    found = found.set_index(["measure", "pair"])
    assert (found["pairs"] > 0).sum() == (found.loc["iou", "pairs"] > 0).sum()
    return found.loc["iou"]


PAIRS = ["same class", "other class", "other network"]


def test_ranking_agreement_takes_the_jackknife_over_images():
    """The same by a loop over pairs and images, with SciPy's tau."""
    rng = np.random.default_rng(2)
    table = crossed(lambda *_: rng.normal(), images=5, settings="abcdefg")
    scores = table.groupby(["network", "class", "image", "setting"])["iou"].mean().unstack()
    pairs = {pair: [] for pair in (*PAIRS, "same class: E", "same class: B")}
    for (one, a), (other, b) in itertools.combinations(scores.iterrows(), 2):
        tau = scipy.stats.kendalltau(a, b).statistic
        if one[0] == other[0]:
            pair = "same class" if one[1] == other[1] else "other class"
            pairs[pair].append(({one[2], other[2]}, tau))
            if one[1] == other[1]:
                pairs[f"same class: {one[1]}"].append(pairs[pair][-1])
        elif one[1:] == other[1:]:
            pairs["other network"].append(({one[2]}, tau))
    got = agreement_of_iou(table)
    for pair, found in pairs.items():
        mean, values = np.mean([tau for _, tau in found]), []
        for image in table["image"].unique():
            rest = [tau for images, tau in found if image not in images]
            if len(rest) < len(found):
                values.append((images := 10 if ":" not in pair else 5) * mean)
                values[-1] -= (images - 1) * np.mean(rest)
        row = got.loc[pair]
        assert (row.tau, row.low, row.high) == pytest.approx((mean, *mean_interval(values)))


def test_an_interval_of_agreement_stays_in_its_range():
    rng = np.random.default_rng(0)
    found = agreement_of_iou(crossed(lambda *_: rng.normal(), images=2, settings="abc"))
    assert found["low"].min() == -1 and found["high"].max() == 1


def test_no_pairs_no_agreement_and_few_images_no_interval():
    table = crossed(lambda network, kind, image, setting, seed: "abcd".index(setting) % 3)
    alone = agreement_of_iou(table[table["image"] == "E0"]).loc[PAIRS]
    assert alone.pairs.to_dict() == {"same class": 0, "other class": 0, "other network": 1}
    assert alone.tau.isna().tolist() == [True, True, False]
    assert alone[["low", "high"]].isna().all(axis=None)
    # Without the only bear there is no pair with another class.
    one_bear = agreement_of_iou(table[table["image"].isin(["E0", "E1", "B0"])]).loc[PAIRS]
    assert one_bear["low"].notna().tolist() == [False, False, True]


def test_ranks_over_several_measurements():
    table = crossed(lambda network, kind, image, setting, seed: "abcd".index(setting))
    # One that is best by one of two measurements, for elephants only.
    best = (table["setting"] == "c") & (table["class"] == "E")
    table = table.assign(deletion_mean=np.where(best, -9, -table["iou"]))
    found = ranks_by_image(table, ["iou", "deletion_mean"], "setting").groupby("class").mean()
    assert found.loc["B"].to_dict() == {"a": 4, "b": 3, "c": 2, "d": 1}
    assert found.loc["E"].to_dict() == {"a": 4, "b": 3, "c": 1.5, "d": 1.5}


def test_the_widest_contradiction_is_found():
    image = {"network": "n", "class": "elephant", "image": "p"}
    table = pd.DataFrame({"method": list("abc"), "deletion_black": [0.1, 0.2, 0.3]}).assign(**image)
    # By deletion a, b, c; by insertion b, c, a: a is one place before b, or two behind.
    odd = table.assign(insertion=[0.1, 0.9, 0.5])
    measures = "deletion_black", "insertion"
    assert at_odds(odd, *measures, list("abc")) == image | {"first": "a", "second": "b", "ranks": 1}
    assert at_odds(table.assign(insertion=[0.9, 0.5, 0.1]), *measures, list("ab"))["ranks"] < 0
    # An image that lacks one of the measurements, as without a mask, is no candidate.
    unknown = table.assign(image="q", insertion=np.nan)
    assert at_odds(pd.concat([unknown, odd]), *measures, list("abc"))["image"] == "p"
