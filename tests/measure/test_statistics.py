import itertools
import time

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from lab.measure import statistics
from lab.measure.statistics import (
    at_odds,
    bootstrap_interval,
    rank_methods,
    rank_settings,
    ranking_agreement,
)


def test_bootstrap_interval():
    assert bootstrap_interval(np.full(6, 0.3)) == pytest.approx((0.3, 0.3))
    values = np.random.default_rng(6).exponential(size=8)
    low, high = bootstrap_interval(values)
    drawn = np.random.default_rng(7).choice(values, (200_000, 8)).mean(axis=1)
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.05)
    package = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", rng=0
    ).confidence_interval
    assert (low, high) == pytest.approx((package.low, package.high), abs=0.05)
    assert bootstrap_interval(values) == (low, high)
    assert np.isnan(bootstrap_interval([1.0, 2.0])).all() and np.isnan(bootstrap_interval([])).all()
    with pytest.raises(ValueError, match="values must be finite"):
        bootstrap_interval([1, 2, np.nan])


def test_bootstrap_interval_by_enumeration():
    # Of the 27 resamples of 0, 0, 1 eight have the mean 0 and one has the mean 1, more than 2.5 % each.
    assert bootstrap_interval([0, 0, 1]) == (0, 1)
    # How often the 1 is drawn is binomial: never in 35 % of the resamples, 3 times or more in 8 %, 4 times or more in 1.6 %.
    assert bootstrap_interval([1] + [0] * 11) == pytest.approx((0, 3 / 12))


def hand_made(methods=("a", "b", "c"), networks=("X", "Y")):
    """Method a is best on deletion and worst on insertion, b in the middle, c the other way round."""
    rows = []
    for network, picture, seed in itertools.product(networks, range(4), range(2)):
        for place, method in enumerate(methods):
            rows.append(
                {
                    "network": network,
                    "class": "bear" if picture < 2 else "elephant",
                    "picture": f"p{picture % 2}",
                    "method": method,
                    "deletion_black": place / 10 + picture / 100 + seed / 1000,
                    "insertion": place / 10 + picture / 100 - seed / 1000,
                    "pointing_game": float("nan") if picture == 0 else 1.0,
                    "iou_mask": float("nan"),
                }
            )
    return pd.DataFrame(rows)


def test_summary_averages_seeds_then_pictures():
    table = statistics.summary(hand_made()).set_index(["network", "method", "metric"])
    row = table.loc[("X", "b", "deletion_black")]
    by_picture = 0.1 + np.arange(4) / 100 + 0.0005
    assert row["mean"] == pytest.approx(by_picture.mean()) and row["pictures"] == 4
    assert (row["low"], row["high"]) == pytest.approx(bootstrap_interval(by_picture))
    pointing = table.loc[("Y", "a", "pointing_game")]
    assert pointing.tolist() == [1, 1, 1, 3]
    assert set(table.index.get_level_values("metric")) == {
        "deletion_black",
        "insertion",
        "pointing_game",
    }


def test_summary_leaves_out_what_has_no_value():
    table = hand_made().assign(sanity=lambda t: t["method"].map({"a": 0.1}))
    found = statistics.summary(table)
    assert found[found["metric"] == "sanity"][["network", "method"]].values.tolist() == [
        ["X", "a"],
        ["Y", "a"],
    ]


def test_ranks_follow_each_metrics_direction():
    ranking = rank_methods(hand_made())
    assert list(ranking.columns) == ["metric", "method", "mean_rank", "low", "high", "pictures"]
    for metric, order in (("deletion_black", "abc"), ("insertion", "cba")):
        part = ranking[ranking["metric"] == metric]
        assert part["method"].tolist() == list(order)
        np.testing.assert_allclose(part[["mean_rank", "low", "high"]], np.array([[1, 2, 3]] * 3).T)
        assert (part["pictures"] == 4).all()
    pointing = ranking[ranking["metric"] == "pointing_game"]
    assert (pointing["mean_rank"] == 2).all() and (pointing["pictures"] == 3).all()


def test_ranks_are_averaged_over_networks_and_vary_over_pictures():
    table = hand_made(methods=("a", "b"))
    swapped = (table["network"] == "Y") | ((table["class"] == "bear") & (table["picture"] == "p0"))
    table.loc[swapped, "deletion_black"] *= -1  # there b comes first
    ranking = rank_methods(table)
    row = ranking[(ranking["metric"] == "deletion_black") & (ranking["method"] == "a")].iloc[0]
    by_picture = [2, 1.5, 1.5, 1.5]
    assert row["mean_rank"] == pytest.approx(np.mean(by_picture))
    assert (row["low"], row["high"]) == pytest.approx(bootstrap_interval(by_picture))


def test_no_value_where_others_have_one_ranks_last():
    table = hand_made()
    table.loc[table["method"] == "a", "deletion_black"] = float("nan")
    ranking = rank_methods(table)
    assert ranking[ranking["metric"] == "deletion_black"]["method"].tolist() == ["b", "c", "a"]


def test_disagreement_is_kendalls_tau():
    table = hand_made(methods=("a", "b", "c", "d"))
    table["faithfulness"] = table["method"].map({"a": 1, "b": 0, "c": 2, "d": 3})
    found = statistics.disagreement(table)
    assert found.columns.tolist() == ["metric", *found["metric"]] and found["metric"].tolist() == [
        *FAITHFUL,
        "pointing_game",
    ]
    found = found.set_index("metric")
    assert found.loc["deletion_black", "insertion"] == pytest.approx(-1) and found.loc[
        "insertion", "insertion"
    ] == pytest.approx(1)
    # Of the six pairs of methods, insertion and faithfulness order all but one alike.
    assert (
        found.loc["insertion", "faithfulness"]
        == found.loc["faithfulness", "insertion"]
        == pytest.approx(4 / 6)
    )
    assert found.loc["pointing_game"].isna().all()


def test_tau_is_scipys_with_ties_and_without_a_value():
    values = np.random.default_rng(1).integers(0, 5, (6, 7)).astype(float)
    values[4] = 2
    values[5, 3] = np.nan
    found = statistics._kendall(values)
    for (i, one), (j, other) in itertools.product(enumerate(values), repeat=2):
        assert found[i, j] == pytest.approx(
            scipy.stats.kendalltau(one, other).statistic, nan_ok=True
        )


def crossed(value, pictures=3, settings="abcd"):
    rows = [
        (network, kind, f"{kind}{n}", setting, seed)
        for network in "NM"
        for kind in "EB"
        for n in range(pictures)
        for setting in settings
        for seed in range(2)
    ]
    table = pd.DataFrame(rows, columns=["network", "class", "picture", "setting", "seed"])
    missing = dict.fromkeys(statistics.CHOSEN_BY, float("nan"))
    return table.assign(**missing | {"iou": [value(*row) for row in rows]})


def agreement_of_iou(table):
    found = ranking_agreement(table).set_index(["measure", "pair"])
    rest = found.drop("iou", level="measure")
    assert rest[["tau", "low", "high"]].isna().all(axis=None) and (rest["pairs"] == 0).all()
    return found.loc["iou"]


def test_ranking_agreement_of_known_orders():
    order = dict(zip("abcd", range(4)))

    def value(network, kind, picture, setting, seed):
        return order[setting] * (1 if kind == "E" else -1) + 0.1 * seed

    got = agreement_of_iou(crossed(value))
    assert got.tau.to_dict() == {"same class": 1, "other class": -1, "other network": 1}
    assert got.pairs.to_dict() == {
        "same class": 2 * 2 * 3,
        "other class": 2 * 9,
        "other network": 6,
    }
    assert (got.low == got.tau).all() and (got.high == got.tau).all()
    rng = np.random.default_rng(0)
    noise = agreement_of_iou(crossed(lambda *_: rng.normal()))
    assert (noise.low < noise.tau).all() and (noise.tau < noise.high).all()
    assert noise.loc["other class", "low"] < 0 < noise.loc["other class", "high"]


def test_ranking_agreement_draws_pictures_within_their_class():
    """The same by a loop over pairs and resamples, with pictures drawn one by one."""
    rng = np.random.default_rng(2)
    table = crossed(lambda *_: rng.normal(), pictures=5, settings="abcdefg")
    scores = table.groupby(["network", "class", "picture", "setting"])["iou"].mean().unstack()
    pairs = {"same class": [], "other class": [], "other network": []}
    for (one, a), (other, b) in itertools.combinations(scores.iterrows(), 2):
        pair = "same class" if one[1] == other[1] else "other class"
        if one[0] != other[0]:
            pair = "other network"
            if one[1:] != other[1:]:
                continue
        pairs[pair].append((one[2], other[2], scipy.stats.kendalltau(a, b).statistic))
    draws = []
    for _ in range(3000):
        drawn = [f"{kind}{n}" for kind in "EB" for n in rng.integers(0, 5, 5)]
        draws.append({f"{kind}{n}": drawn.count(f"{kind}{n}") for kind in "EB" for n in range(5)})
    got = agreement_of_iou(table)
    for pair, found in pairs.items():
        assert got.tau[pair] == pytest.approx(np.mean([tau for *_, tau in found]))
        means = []
        for draw in draws:
            weights = [draw[a] if a == b else draw[a] * draw[b] for a, b, _ in found]
            if sum(weights):
                means.append(np.average([tau for *_, tau in found], weights=weights))
        assert (got.low[pair], got.high[pair]) == pytest.approx(
            tuple(np.percentile(means, [2.5, 97.5])), abs=0.05
        )


def test_no_pairs_no_agreement_and_few_pairs_no_interval():
    table = crossed(lambda *_: 1)
    table["iou"] = np.random.default_rng(3).normal(size=len(table))
    alone = agreement_of_iou(table[table["picture"] == "E0"])
    assert alone.pairs.to_dict() == {"same class": 0, "other class": 0, "other network": 1}
    assert alone.tau.isna().tolist() == [True, True, False] and alone[["low", "high"]].isna().all(
        axis=None
    )


def test_rank_settings_follows_its_rule():
    table = crossed(lambda network, kind, picture, setting, seed: "abcd".index(setting))
    table = table.assign(insertion=table.iou, deletion_mean=-table.iou, r2_fresh=table.iou)
    got = rank_settings(table)
    assert list(got.columns) == ["setting", "mean_rank", "low", "high", "chosen"]
    assert got.setting.tolist() == list("dcba")
    assert got.mean_rank.tolist() == [1, 2, 3, 4] and got.chosen.tolist() == [1, 0, 0, 0]
    # A setting that is best on one kind of picture only is not surely the best.
    table.loc[
        (table.setting == "c") & (table["class"] == "E"), ["iou", "insertion", "r2_fresh"]
    ] = 9
    got = rank_settings(table).set_index("setting")
    assert 0 < got.chosen["d"] < 1 and got.low["d"] < got.mean_rank["d"] < got.high["d"]
    few = rank_settings(table[table["picture"].isin(["E0", "B0"])])
    assert few[["low", "high", "chosen"]].isna().all(axis=None) and few.mean_rank.notna().all()


def test_the_best_setting_has_the_lowest_mean_rank_of_what_was_measured():
    # a is first once and last three times, b second three times: mean ranks 2.5, 1.75 and 1.75 without c's IoU.
    values = {
        "r2_fresh": [0.9, 0.8, 0.1],
        "deletion_mean": [0.3, 0.1, 0.2],
        "insertion": [0.1, 0.3, 0.2],
        "iou": [0.1, 0.2, 0.3],
    }
    rows = [
        {
            "network": network,
            "class": "elephant",
            "picture": picture,
            "setting": setting,
            "seed": 0,
            "jaccard": float("nan"),
            **{measure: of[i] for measure, of in values.items()},
        }
        for network, picture in itertools.product("nm", "pq")
        for i, setting in enumerate("abc")
    ]
    first = rank_settings(pd.DataFrame(rows)).iloc[0]
    assert first["setting"] == "b" and first["mean_rank"] == pytest.approx((2 + 1 + 1 + 2) / 4)


FAITHFUL = "deletion_black", "insertion", "faithfulness"


def judged_table(pictures=("p", "q", "r"), networks=("n", "m"), **methods):
    """Rows that are the same for every picture and network: (deletion_black, insertion, faithfulness, sanity)."""
    columns = *FAITHFUL, "sanity"
    return pd.DataFrame(
        {
            "network": network,
            "class": "elephant",
            "picture": picture,
            "method": method,
            **dict(zip(columns, values)),
        }
        for network, picture, (method, values) in itertools.product(
            networks, pictures, methods.items()
        )
    )


def test_the_widest_contradiction_is_found():
    table = judged_table(
        pictures=["p"], networks=["n"], a=(0.1, 0.1, 0, 0), b=(0.2, 0.9, 0, 0), c=(0.3, 0.5, 0, 0)
    )
    # by deletion a, b, c; by insertion b, c, a: a leads c by two places there and lags one behind here
    assert at_odds(table, "deletion_black", "insertion", ["a", "b", "c"]) == {
        "network": "n",
        "class": "elephant",
        "picture": "p",
        "first": "a",
        "second": "b",
        "ranks": 1,
    }
    alike = judged_table(pictures=["p"], networks=["n"], a=(0.1, 0.9, 0, 0), b=(0.2, 0.5, 0, 0))
    assert at_odds(alike, "deletion_black", "insertion", ["a", "b"])["ranks"] < 0


def test_all_tables_of_a_study_take_no_time():
    rng = np.random.default_rng(0)
    names = list(
        itertools.product(
            "nm", ("elephant", "bear"), "pqrstu", [*"abcdefgh"[:5], "random", "centre", "edges"]
        )
    )
    maps = pd.DataFrame(names, columns=["network", "class", "picture", "method"])
    for metric in (*FAITHFUL, "deletion_mean", "iou_mask", "iou_box", "pointing_game", "sanity"):
        maps[metric] = rng.random(len(maps))
    runs = maps.rename(columns={"method": "setting"}).assign(
        **{measure: rng.random(len(maps)) for measure in statistics.CHOSEN_BY}
    )
    runs = pd.concat([runs.assign(seed=seed) for seed in range(5)])
    start = time.process_time()
    for table in (statistics.summary, rank_methods, statistics.disagreement):
        table(maps)
    at_odds(maps, "deletion_black", "insertion", list("abcde"))
    rank_settings(runs), ranking_agreement(runs)
    assert time.process_time() - start < 3
