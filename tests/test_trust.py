import itertools

import numpy as np
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


def test_who_beats_every_baseline_and_forgets_is_trusted():
    judged = trust.verdict(_table(**GOOD), BASELINES).set_index("method")
    assert judged.index.tolist() == ["good", "second"]
    assert judged["trusted"].tolist() == [True, True]
    assert judged["mean_rank"].tolist() == [1, 2]
    assert judged["low"].tolist() == judged["high"].tolist() == [1, 2]
    assert judged["pictures"].tolist() == [3, 3]


@pytest.mark.parametrize("worse, column", [
    ((0.35, 0.8, 0.9, 0.1), "beats the baselines by deletion"),
    ((0.1, 0.55, 0.9, 0.1), "beats the baselines by insertion"),
    ((0.1, 0.8, 0.05, 0.1), "beats the baselines by faithfulness"),
])
def test_who_is_beaten_by_one_baseline_in_one_measurement_is_not(worse, column):
    judged = trust.verdict(_table(**GOOD | {"good": worse}), BASELINES).set_index("method")
    assert not judged.loc["good", "trusted"] and not judged.loc["good", column]
    assert judged.loc["second", "trusted"]
    assert judged.index[0] == "second"


def test_who_does_not_forget_is_not_trusted():
    judged = trust.verdict(_table(**GOOD | {"good": (0.1, 0.8, 0.9, 0.6)}), BASELINES).set_index("method")
    assert not judged.loc["good", "trusted"]
    assert "agree with the intact one's at 0.60" in trust.answer(judged.reset_index())


def test_the_answer_names_the_leader_first_and_says_what_is_unsure():
    judged = trust.verdict(_table(**GOOD), BASELINES)
    assert trust.answer(judged).startswith("good is to be trusted most: it beats every baseline and has a mean rank of 1.0 of 2 (95% interval 1.0 to 1.0).")
    assert "No other interval overlaps" in trust.answer(judged)
    assert "interval of second overlaps" in trust.answer(judged.assign(low=0.5))
    assert "interval" not in trust.answer(trust.verdict(_table(pictures=["p"], **GOOD), BASELINES))


def test_nobody_may_be_trusted():
    judged = trust.verdict(_table(**{name: (0.9, 0.1, -0.5, 0.9) if name not in BASELINES else values for name, values in GOOD.items()}), BASELINES)
    assert not judged["trusted"].any()
    assert trust.answer(judged).startswith("No method is to be trusted by this rule. good is not trusted: it does not beat every baseline by deletion and insertion and faithfulness")


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
