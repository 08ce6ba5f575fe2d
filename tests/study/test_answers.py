import itertools

import numpy as np
import pandas as pd
import pytest

from lab.explain.names import METHOD_NAMES
from lab.measure import statistics
from lab.measure.agreement import jaccard
from lab.measure.measurements import MEASUREMENTS
from lab.measure.variance import SOURCES
from lab.study import answers
from lab.study.answers import evaluation_answers, lime_answers

PICTURES = [("elephant", "p"), ("elephant", "q"), ("bear", "r")]


class Found:
    """Results that are made up."""

    def __init__(self, arrays=None, **tables):
        self.table, self.arrays = tables.__getitem__, arrays

    def array(self, table, key, name):
        return self.arrays[table, key, name]


def runs(**measurements):
    """Settings whose measurements are the same for every picture and network."""
    rows = [
        {"network": network, "class": kind, "picture": picture, "setting": setting, "seed": 0} | {key: values[i] for key, values in measurements.items()}
        for network, (kind, picture) in itertools.product("NM", PICTURES)
        for i, setting in enumerate("abc")
    ]
    columns = ["network", "class", "picture", "setting", "seed", "r2_fresh", "jaccard", "deletion_mean", "insertion", "iou", "shown"]
    return pd.DataFrame(rows).reindex(columns=columns)


RUNS = runs(r2_fresh=[0.80, 0.77, 0.60], deletion_mean=[0.3, 0.1, 0.2], insertion=[0.1, 0.3, 0.2], iou=[0.3, 0.4, 0.1], shown=[0.1, 0.2, 0.3])
AGREEMENT = pd.DataFrame(
    [("iou", pair, 0.5, 0.4, 0.6, 6) for pair in ("same class", "other class", "other network")],
    columns=["measure", "pair", "tau", "low", "high", "pairs"],
)
VARIANCE = pd.DataFrame([dict.fromkeys(SOURCES, 1 / 7)], index=["iou"]).rename_axis("measure").reset_index()
SAVINGS = pd.DataFrame({"num_samples": [100, 200], "balanced": [0.7, 0.9], "lime": [0.5, 0.6], "lime_needs": [400, np.inf], "ratio": [4, np.inf]})
GRID = pd.DataFrame(
    [("num_superpixels", str(n), "p", value) for n, value in ((1, 0.1), (5, 0.74), (20, 0.8))]
    + [("hide_color", color, "p", value) for color, value in (("black", 0.2), ("mean colour", 0.6), ("white", 0.4))],
    columns=["parameter", "value", "picture", "r2_fresh"],
)
SHOWN = pd.DataFrame({"figure": ["hide_color"] * 3 + ["rendering"], "key": "k"})
CHOSEN = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1]], bool)


def of_lime(table=RUNS, **changed):
    tables = {
        "lime_runs": table, "lime_agreement": AGREEMENT, "lime_variance": VARIANCE, "lime_ranking": statistics.rank_settings(table),
        "lime_savings": SAVINGS, "lime_stability": pd.DataFrame({"num_samples": [100, 800]}),
    } | changed
    found = lime_answers(tables, GRID, SHOWN, Found({("lime_shown", "k", "chosen"): CHOSEN}))
    assert list(found.columns) == ["name", "text"]
    return found.set_index("name")["text"]


def test_the_best_setting_has_the_lowest_mean_rank_of_what_was_measured():
    # b is second, first, first and second; nobody has a stability.
    q1 = of_lime(runs(r2_fresh=[0.9, 0.8, 0.1], deletion_mean=[0.3, 0.1, 0.2], insertion=[0.1, 0.3, 0.2], iou=[0.1, 0.2, 0.3], shown=[0, 0, 0]))["q1"]
    mean = (2 + 1 + 1 + 2) / 4
    assert q1.startswith(f"Setting b explains p best for N (mean rank {mean:.1f} of 3)")
    assert f"Over all 3 pictures and both networks setting b leads with a mean rank of {mean:.1f}" in q1


def test_the_sentences_quote_the_table():
    found = of_lime()
    for name, picture in (("q1", "p"), ("q2", "q"), ("q3", "r")):
        assert found[name].startswith(f"Setting b explains {picture} best for N")
        assert all(text in found[name] for text in ("R² of 0.77", "0.60 to 0.80", "IoU of 0.40", "20% of the picture"))
    assert "this is the same setting as for p" in found["q2"] and "this is the same setting as for p" in found["q3"]
    other = RUNS.copy()
    other.loc[other["picture"] == "r", ["deletion_mean", "iou"]] = [[0.1, 0.9], [0.2, 0.4], [0.3, 0.1]] * 2
    found = of_lime(other)
    assert found["q3"].startswith("Setting a explains r best") and "this is another setting than for p" in found["q3"]


def test_without_a_mask_the_sentence_says_nothing_of_overlap():
    assert "IoU" not in of_lime(RUNS.assign(iou=np.nan))["q1"]


@pytest.mark.parametrize("tau, verdict", [(0.9, "carries over well"), (0.5, "carries over in part"), (0.0, "hardly carries over")])
def test_the_verdict_follows_tau(tau, verdict):
    agreement = AGREEMENT.assign(tau=tau, low=tau - 0.1, high=tau + 0.1)
    for name in ("q2", "q3"):
        sentence = of_lime(lime_agreement=agreement)[name]
        assert f"The ranking {verdict}" in sentence and f"{tau - 0.1:.2f} to {tau + 0.1:.2f}" in sentence
        unsure = of_lime(lime_agreement=agreement.assign(low=np.nan, high=np.nan))[name]
        assert f"{tau:.2f}; these are too few pairs for an interval" in unsure
    assert "no such pair" in of_lime(lime_agreement=agreement[agreement["pair"] != "other class"])["q3"]


@pytest.mark.parametrize("source, verdict", [("network", "More on the network"), ("data", "More on the data")])
def test_q4_follows_the_larger_source_of_variance(source, verdict):
    variance = VARIANCE.assign(**dict.fromkeys(SOURCES, 0.0) | {source: 0.75, "setting": 0.25})
    q4 = of_lime(lime_variance=variance)["q4"]
    assert q4.startswith(verdict) and f"in {int(source == 'data')} of 1 measurements" in q4
    assert f"the data account for {0.75 * (source == 'data'):.0%} and the network for {0.75 * (source == 'network'):.0%}, the setting for 25%" in q4
    assert "3 pictures and two networks, N and M." in q4


def test_what_single_parameters_change():
    found = of_lime()
    assert found["tradeoff"] == "on p, 5 superpixels reach nine tenths of the R² that the best number has."
    pairs = np.mean([jaccard(CHOSEN[i], CHOSEN[j]) for i, j in ((0, 1), (0, 2), (1, 2))])
    assert "behind mean colour gives the highest R² on fresh perturbations (0.60), behind black the lowest (0.20)" in found["hide_color"]
    assert f"two of 3 ways to hide show the same superpixels up to a Jaccard index of {pairs:.2f}" in found["hide_color"]
    assert found["stability"] == (
        "100 balanced perturbations agree at 0.70, for which LIME needs 400 (4.0 times as many); "
        "200 balanced perturbations agree at 0.90, for which LIME needs more than 800 (over 4 times as many)."
    )


def test_the_rules_name_what_they_go_by():
    for rule, keys in ((answers.LIME_RULE, statistics.CHOSEN_BY), (answers.TRUST_RULE, statistics.FAITHFUL)):
        assert all(MEASUREMENTS[key].label in rule for key in keys)
    assert f"less than {statistics.MOST_ALIKE:.1f} " in answers.TRUST_RULE
    assert set(answers.ASKS) <= set(MEASUREMENTS)


# Methods

GOOD = {"lime": (0.1, 0.8, 0.9, 0.1), "rise": (0.2, 0.7, 0.8, 0.2), "random": (0.5, 0.5, 0.0, 1.0), "centre": (0.3, 0.6, 0.1, 1.0)}
FIRST, SECOND = METHOD_NAMES["lime"], METHOD_NAMES["rise"]


def maps(pictures="pqr", **methods):
    """The same for every picture and network: deletion, insertion, faithfulness, sanity."""
    return pd.DataFrame(
        {"network": network, "class": "elephant", "picture": picture, "method": method}
        | dict(zip(("deletion_black", "insertion", "faithfulness", "sanity"), values))
        for network, picture, (method, values) in itertools.product("NM", pictures, (GOOD | methods).items())
    )


def of_methods(table, judged=None, **changed):
    tables = {"evaluation_verdict": statistics.verdict(table) if judged is None else judged, "evaluation_disagreement": statistics.disagreement(table)}
    shapley = [(8, method, calls, value + 0.1 * (calls > 64)) for method, value in (("shap", 0.8), ("lime", 0.7), ("rise", 0.6)) for calls in (64, 256)]
    found = {
        "evaluation_shapley": pd.DataFrame(shapley, columns=["superpixels", "method", "calls", "rank_correlation"]),
        "evaluation_roar": pd.DataFrame(
            [(method, share, value) for method, value in (("random", 0.9), ("lime", 0.25)) for share in (0.1, 0.9)], columns=["method", "share", "drawn"]
        ),
        "evaluation_axioms": pd.DataFrame({"method": ["lime", "shap", "shapley"], "completeness": [0.2, 0, 0], "dummy": [0, 0.002, 0], "key": "k"}),
    } | changed
    worded = evaluation_answers(tables, table, Found(**found))
    assert list(worded.columns) == ["name", "text"]
    return worded.set_index("name")["text"]


def test_the_leader_is_named_first_and_what_is_unsure():
    judged = statistics.verdict(maps())
    trust = of_methods(maps())["trust"]
    assert trust.startswith(
        f"{FIRST} is to be trusted most: no baseline is surely better, and it has a mean rank of 1.0 of 2 (95% interval 1.0 to 1.0). Trusted, too: {SECOND} 2.0"
    )
    assert "overlaps" not in trust
    assert f"The interval of {SECOND} overlaps" in of_methods(maps(), judged.assign(low=0.5))["trust"]


@pytest.mark.parametrize(
    "values, reason",
    [
        ((0.35, 0.8, 0.9, 0.1), f"by {MEASUREMENTS['deletion_black'].label} a baseline is surely better."),
        ((0.1, 0.55, 0.9, 0.1), f"by {MEASUREMENTS['insertion'].label} a baseline is surely better."),
        ((0.1, 0.8, 0.05, 0.1), f"by {MEASUREMENTS['faithfulness'].label} a baseline is surely better."),
        ((0.3, 0.6, 0.1, 0.1), "by no measurement it is surely better than every baseline."),
        ((0.1, 0.8, 0.9, 0.6), "its maps of random networks agree with the intact one's at 0.60."),
        ((0.35, 0.8, 0.9, 0.6), f"by {MEASUREMENTS['deletion_black'].label} a baseline is surely better, and its maps of random networks"),
    ],
)
def test_who_is_not_trusted_is_told_why(values, reason):
    trust = of_methods(maps(lime=values))["trust"]
    assert trust.startswith(f"{SECOND} is to be trusted most") and f"{FIRST} is not trusted: {reason}" in trust


def test_nobody_may_be_trusted():
    trust = of_methods(maps(lime=(0.9, 0.1, -0.5, 0.9), rise=(0.9, 0.1, -0.5, 0.9)))["trust"]
    assert trust.startswith(f"No method is to be trusted by this rule. {FIRST} is not trusted: by {MEASUREMENTS['deletion_black'].label} a baseline")


def test_two_measurements_at_odds():
    # By deletion LIME leads, by insertion RISE; faithfulness goes with deletion, though not quite.
    table = maps(lime=(0.1, 0.7, 0.9, 0.1), rise=(0.2, 0.8, 0.8, 0.2), random=(0.3, 0.9, 0.7, 1), centre=(0.4, 0.95, 0.75, 1))
    found = of_methods(table)["at_odds"]
    assert MEASUREMENTS["deletion_black"].label in found and MEASUREMENTS["insertion"].label in found
    assert answers.ASKS["deletion_black"] in found and answers.ASKS["insertion"] in found
    by_deletion = f"map by {FIRST} is better than that by {SECOND} by {MEASUREMENTS['deletion_black'].label}"
    by_insertion = f"map by {SECOND} is better than that by {FIRST} by {MEASUREMENTS['insertion'].label}"
    assert found.startswith("On p, N's ") and (by_deletion in found or by_insertion in found)
    assert of_methods(maps(rise=(0.2, 0.7, 0.7, 0.2), centre=(0.3, 0.6, 0.1, 1.0)))["at_odds"] == "No two maps of one answer are at odds."


def test_where_the_answer_is_known():
    found = of_methods(maps())
    assert "With 256 calls for 8 superpixels, KernelSHAP" in found["shapley"]
    assert "correlation of 0.90, LIME at 0.80 and RISE's regression at 0.70." in found["shapley"]
    assert f"0.10 ({FIRST}), 0.20 ({SECOND})" in found["sanity"]
    assert f"reads 25% ({FIRST}), 90% ({METHOD_NAMES['random']}) of the digits" in found["roar"]
    assert found["axioms"] == f"All axioms hold for {METHOD_NAMES['shap']} and exact Shapley values only."
    nobody = pd.DataFrame({"method": ["lime"], "completeness": [0.2], "key": "k"})
    assert of_methods(maps(), evaluation_axioms=nobody)["axioms"] == "No method meets all axioms."


@pytest.mark.parametrize("pictures, words", [(2, "too few"), (6, "75 to 90%"), (40, "nearly as sure")])
def test_the_sample_size_is_told(pictures, words):
    found = of_methods(maps(pictures=[f"p{n}" for n in range(pictures)]))["sample_size"]
    assert words in found and f"{pictures} pictures and 2 networks" in found
