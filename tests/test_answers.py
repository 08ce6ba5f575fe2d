import itertools

import pandas as pd
import pytest

from lab import answers
from lab.lime_study import HEADS, LAB_SETTINGS, variance_shares


def _runs(networks=("n", "m"), pictures=("p", "q"), **measurements):
    """A table of `study` whose settings' measurements are the same for every picture and network."""
    rows = [
        {"network": network, "class": "elephant", "picture": picture, "setting": setting, "seed": 0,
         **{measure: values[i] for measure, values in measurements.items()}}
        for network, picture in itertools.product(networks, pictures)
        for i, setting in enumerate("abc")
    ]
    return pd.DataFrame(rows).reindex(columns=["network", "class", "picture", "setting", "seed", *HEADS])


def test_the_best_setting_has_the_lowest_mean_rank_of_what_was_measured():
    # a is first once and last three times, b second three times: mean ranks 2.5, 1.75 and 1.75 without c's IoU.
    table = _runs(r2_fresh=[0.9, 0.8, 0.1], deletion=[0.3, 0.1, 0.2], insertion=[0.1, 0.3, 0.2], iou=[0.1, 0.2, 0.3])
    assert answers.best(table)["setting"] == "b"
    assert answers.best(table)["mean_rank"] == pytest.approx((2 + 1 + 1 + 2) / 4)


def test_the_sentence_quotes_the_table():
    table = _runs(["n"], ["p"], r2_fresh=[0.80, 0.77, 0.60], deletion=[0.3, 0.1, 0.2], insertion=[0.1, 0.3, 0.2],
                  iou=[0.3, 0.4, 0.1], shown=[0.1, 0.2, 0.3])
    sentence = answers.best_setting(table, "Net", "picture")
    assert sentence.startswith("Setting b explains picture best for Net")
    assert all(text in sentence for text in ("R² of 0.77", "0.60 to 0.80", "IoU of 0.40", "20%"))


def test_without_a_mask_the_sentence_says_nothing_of_overlap():
    table = _runs(["n"], ["p"], r2_fresh=[0.80, 0.77, 0.60], deletion=[0.3, 0.1, 0.2], insertion=[0.1, 0.3, 0.2], shown=[0.1, 0.2, 0.3])
    assert "IoU" not in answers.best_setting(table, "Net", "picture")


@pytest.mark.parametrize("tau, verdict", [(0.9, "carries over well"), (0.5, "carries over in part"), (0.0, "hardly carries over")])
def test_the_verdict_follows_tau(tau, verdict):
    agreement = pd.DataFrame({"measure": ["iou"], "pair": ["same class"], "tau": [tau], "low": [tau - 0.1], "high": [tau + 0.1], "pairs": [6]})
    sentence = answers.carries_over(agreement, "same class")
    assert f"The ranking {verdict}" in sentence and f"{tau - 0.1:.2f} to {tau + 0.1:.2f}" in sentence
    unsure = answers.carries_over(agreement.assign(low=float("nan"), high=float("nan")), "same class")
    assert f"{tau:.2f}; these are too few pairs for an interval" in unsure
    assert "no such pair" in answers.carries_over(agreement, "other class")


@pytest.mark.parametrize("source, verdict", [("network", "More on the network"), ("picture", "More on the data")])
def test_q4_follows_the_only_source_of_variance(source, verdict):
    rows = [
        {"network": n, "class": "elephant", "picture": p, "setting": s, "seed": 0, "iou": {"network": n, "picture": p}[source] * 0.1}
        for n, p, s in itertools.product(range(2), range(2), "ab")
    ]
    table = pd.DataFrame(rows).astype({"picture": str}).reindex(columns=["network", "class", "picture", "setting", "seed", *HEADS])
    parts = answers.grouped(variance_shares(table))
    assert parts.index.tolist() == [HEADS["iou"]]
    assert parts.loc[HEADS["iou"], "network" if source == "network" else "data"] == pytest.approx(1)
    assert answers.data_or_network(parts).startswith(verdict)


def test_the_settings_table_is_the_labs():
    table = answers.settings_table(LAB_SETTINGS).set_index("setting")
    assert list(table.index) == ["default", "0", "1", "2", "3", "4", "5"]
    assert table["num_samples"].tolist() == ["5000", "2000", "5000", "3000", "3000", "7000", "3000"]
    assert table["num_lime_features"].tolist() == ["100000", "500", "2000", "100", "100", "1000", "500"]
    assert table["num_superpixels"].tolist() == ["15", "8", "15", "10", "10", "10", "25"]
    assert table["hide_color"].tolist() == ["(0, 0, 0)"] * 2 + ["None"] * 2 + ["(0, 0, 0)"] * 2 + ["None"]
    assert set(zip(table["top_labels"], table["positive_only"], table["negative_only"], table["hide_rest"])) == {("1", "True", "False", "True")}
