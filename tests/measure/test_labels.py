"""Images of one name in two classes, and labels that a CSV file reads as missing."""

import itertools

import numpy as np
import pandas as pd
import pytest
from crossed import crossed

from lab.measure.effects import EFFECTS_ON, contrasts, effects
from lab.measure.paired import means, pairs
from lab.measure.statistics import rank_methods, ranking_agreement

TABLE = crossed(lambda *_: 0.0)
TABLE = TABLE.assign(
    **{name: np.random.default_rng(n).random(len(TABLE)) for n, name in enumerate(EFFECTS_ON)},
    method=TABLE["setting"],
    value=TABLE["setting"],
    parameter="p",
)
CASES = {
    "means": lambda table: means(table, ["iou"], ["network", "setting"]),
    "pairs": lambda table: pairs(table, ["iou"]),
    "rank_methods": rank_methods,
    "effects": effects,
    "contrasts": lambda table: contrasts(
        table, "setting", list(itertools.permutations(table["setting"].unique(), 2)), ["iou"]
    ),
    "ranking_agreement": ranking_agreement,
}


def numbers(found):
    return found.select_dtypes("number").to_numpy(float)


@pytest.mark.parametrize("case", CASES)
def test_images_of_one_name_in_two_classes_stay_two(case):
    expected = CASES[case](TABLE.assign(image=TABLE["image"].str[1] + TABLE["class"]))
    found = CASES[case](TABLE.assign(image=TABLE["image"].str[1]))
    np.testing.assert_allclose(numbers(found), numbers(expected))
    assert not np.isnan(numbers(expected)).all()


@pytest.mark.parametrize("column", ["network", "class", "image", "setting", "method", "value"])
@pytest.mark.parametrize("case", CASES)
def test_a_label_that_reads_as_missing_is_one_more_label(case, column):
    if (case, column) == ("pairs", "image") and pd.__version__ < "3":  # on Python 3.10
        pytest.skip("pandas 2 sorts a missing label first, and the bootstrap follows the order")
    first = TABLE[column].iloc[0]
    missing = TABLE.assign(**{column: TABLE[column].where(TABLE[column] != first)})
    named = TABLE.assign(**{column: TABLE[column].replace(first, "zz")})  # last in order, too
    found, expected = CASES[case](missing), CASES[case](named)
    np.testing.assert_allclose(numbers(found), numbers(expected))
