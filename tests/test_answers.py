import itertools

import numpy as np
import pandas as pd
import pytest

from lab import answers
from lab.lime_study import LAB_SETTINGS


def _table(**columns):
    return pd.DataFrame({"setting": list("abc"), **columns})


def test_fidelity_comes_before_overlap():
    table = _table(r2_fresh=[0.80, 0.77, 0.60], iou=[0.3, 0.4, 0.9], shown=[0.1, 0.2, 0.3])
    assert answers.choose(table) == "b"


def test_without_a_mask_the_smallest_part_shown_wins():
    table = _table(r2_fresh=[0.80, 0.77, 0.60], iou=[np.nan] * 3, shown=[0.3, 0.2, 0.1])
    assert answers.choose(table) == "b"


def test_seeds_of_a_setting_count_together():
    table = pd.DataFrame({"setting": ["a", "a", "b", "b"], "r2_fresh": [0.9, 0.1, 0.6, 0.6],
                          "iou": [0.9, 0.9, 0.1, 0.1], "shown": [0.1] * 4})
    assert answers.choose(table) == "b"


def test_the_sentence_quotes_the_table():
    table = _table(r2_fresh=[0.80, 0.77, 0.60], iou=[0.3, 0.4, 0.9], shown=[0.1, 0.2, 0.3])
    sentence = answers.best_setting(table, "Net", "picture")
    assert sentence.startswith("Setting b explains picture best for Net")
    assert all(text in sentence for text in ("R² 0.77", "0.60 to 0.80", "IoU of 0.40", "20%"))


def test_differences_of_an_additive_table():
    effects = {"network": {"n": 0.0, "m": 1.0}, "picture": {"p": 0.0, "q": 3.0}, "setting": {"a": 0.0, "b": 6.0, "c": 12.0}}
    rows = [
        {"network": n, "picture": p, "setting": s, "score": effects["network"][n] + effects["picture"][p] + effects["setting"][s]}
        for n, p, s in itertools.product(*effects.values())
    ]
    moved = answers.differences(pd.DataFrame(rows), "score")
    assert moved == pytest.approx({"network": 1, "picture": 3, "setting": 8})


def test_the_settings_table_is_the_labs():
    table = answers.settings_table(LAB_SETTINGS).set_index("setting")
    assert list(table.index) == ["default", "0", "1", "2", "3", "4", "5"]
    assert table["num_samples"].tolist() == ["5000", "2000", "5000", "3000", "3000", "7000", "3000"]
    assert table["num_lime_features"].tolist() == ["100000", "500", "2000", "100", "100", "1000", "500"]
    assert table["num_superpixels"].tolist() == ["15", "8", "15", "10", "10", "10", "25"]
    assert table["hide_color"].tolist() == ["(0, 0, 0)"] * 2 + ["None"] * 2 + ["(0, 0, 0)"] * 2 + ["None"]
    assert set(zip(table["top_labels"], table["positive_only"], table["negative_only"], table["hide_rest"])) == {("1", "True", "False", "True")}
