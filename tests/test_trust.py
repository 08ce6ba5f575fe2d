import itertools

import pandas as pd
import pytest

from lab import trust
from lab.evaluation import HEADS

BASELINES = "random", "centre"


def _table(pictures=("p", "q", "r"), networks=("n", "m"), **methods):
    """Rows as `lab.evaluation` measures them, the same for every picture and network: (deletion, insertion, faithfulness, sanity)."""
    columns = "deletion", "insertion", "faithfulness", "sanity"
    return pd.DataFrame(
        {"network": network, "class": "elephant", "picture": picture, "method": method, **dict(zip(columns, values))}
        for network, picture, (method, values) in itertools.product(networks, pictures, methods.items())
    )


GOOD = {
    "good": (0.1, 0.8, 0.9, 0.1),
    "second": (0.2, 0.7, 0.8, 0.2),
    "random": (0.5, 0.5, 0.0, 1.0),
    "centre": (0.3, 0.6, 0.1, 1.0),
}


def test_who_is_surely_better_than_every_baseline_and_forgets_is_trusted():
    judged = trust.verdict(_table(**GOOD), BASELINES).set_index("method")
    assert judged.index.tolist() == ["good", "second"]
    assert judged["trusted"].tolist() == [True, True]
    assert judged["mean_rank"].tolist() == [1, 2]
    assert judged["low"].tolist() == judged["high"].tolist() == [1, 2]
    assert judged["pictures"].tolist() == [3, 3]
    assert (judged[[f"{metric}: worse" for metric in trust.FAITHFUL]] == 2).all(axis=None)
    assert (judged[[f"{metric}: better" for metric in trust.FAITHFUL]] == 0).all(axis=None)


@pytest.mark.parametrize("worse, metric", [((0.35, 0.8, 0.9, 0.1), "deletion"), ((0.1, 0.55, 0.9, 0.1), "insertion"), ((0.1, 0.8, 0.05, 0.1), "faithfulness")])
def test_who_is_surely_beaten_by_one_baseline_in_one_measurement_is_not(worse, metric):
    judged = trust.verdict(_table(**GOOD | {"good": worse}), BASELINES).set_index("method")
    assert not judged.loc["good", "trusted"] and judged.loc["good", f"{metric}: better"] == 1 and judged.loc["good", f"{metric}: worse"] == 1
    assert judged.loc["second", "trusted"] and judged.index[0] == "second"
    assert f"good is not trusted: by {metric} a baseline is surely better." in trust.answer(judged.reset_index())


def test_a_difference_that_another_picture_turns_round_decides_nothing():
    table = _table(**GOOD)
    # better than the centre by 0.2 on two pictures of three, worse by 0.3 on the other: on average better, but not surely
    table.loc[(table["method"] == "centre") & (table["picture"] == "r"), "deletion"] = 0.05
    table.loc[(table["method"] == "good") & (table["picture"] == "r"), "deletion"] = 0.35
    judged = trust.verdict(table, BASELINES).set_index("method")
    assert judged.loc["good", ["deletion: worse", "deletion: better"]].tolist() == [1, 0]
    assert judged.loc["good", "trusted"]


def test_no_better_than_a_baseline_by_anything_is_not_enough():
    judged = trust.verdict(_table(**GOOD | {"good": (0.3, 0.6, 0.1, 0.1)}), BASELINES).set_index("method")
    assert not judged.loc["good", "trusted"]
    assert "good is not trusted: by no measurement it is surely better than every baseline." in trust.answer(judged.reset_index())


def test_who_does_not_forget_is_not_trusted():
    judged = trust.verdict(_table(**GOOD | {"good": (0.1, 0.8, 0.9, 0.6)}), BASELINES).set_index("method")
    assert not judged.loc["good", "trusted"]
    assert "good is not trusted: its maps of random networks agree with the intact one's at 0.60." in trust.answer(judged.reset_index())


def test_the_answer_names_the_leader_first_and_says_what_is_unsure():
    judged = trust.verdict(_table(**GOOD), BASELINES)
    assert trust.answer(judged).startswith("good is to be trusted most: no baseline is surely better, and it has a mean rank of 1.0 of 2 (95% interval 1.0 to 1.0).")
    assert "No other interval overlaps" in trust.answer(judged)
    assert "interval of second overlaps" in trust.answer(judged.assign(low=0.5))


def test_nothing_is_sure_on_one_picture():
    judged = trust.verdict(_table(pictures=["p"], **GOOD), BASELINES)
    assert not judged["trusted"].any() and judged["low"].isna().all()


def test_nobody_may_be_trusted():
    judged = trust.verdict(_table(**{name: (0.9, 0.1, -0.5, 0.9) if name not in BASELINES else values for name, values in GOOD.items()}), BASELINES)
    assert not judged["trusted"].any()
    assert trust.answer(judged).startswith("No method is to be trusted by this rule. good is not trusted: by deletion a baseline is surely better, and by insertion")


def test_the_widest_contradiction_is_found():
    table = _table(pictures=["p"], networks=["n"], a=(0.1, 0.1, 0, 0), b=(0.2, 0.9, 0, 0), c=(0.3, 0.5, 0, 0))
    # by deletion a, b, c; by insertion b, c, a: a leads c by two places there and lags one behind here
    assert trust.at_odds(table, "deletion", "insertion", ["a", "b", "c"]) == {
        "network": "n", "picture": "p", "first": "a", "second": "b", "ranks": 1}
    alike = _table(pictures=["p"], networks=["n"], a=(0.1, 0.9, 0, 0), b=(0.2, 0.5, 0, 0))
    assert trust.at_odds(alike, "deletion", "insertion", ["a", "b"])["ranks"] < 0


def test_words_for_every_measurement_that_may_be_at_odds():
    for metric in trust.ASKS:
        assert metric in HEADS
        assert not set(trust.plain(metric)) & set("↑↓,")


@pytest.mark.parametrize("pictures, words", [(2, "too few"), (6, "75 to 90%"), (40, "nearly as sure")])
def test_sample_size(pictures, words):
    assert words in trust.sample_size(pictures, 2) and f"{pictures} pictures" in trust.sample_size(pictures, 2)
