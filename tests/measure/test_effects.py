"""What parameters change, on tables whose results are known."""

import itertools

import numpy as np
import pandas as pd
import pytest

from lab.measure.effects import EFFECTS_ON, effects, recommend
from lab.measure.statistics import CHOSEN_BY

IMAGES = [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("b", "2"), ("b", "3")]


def runs(value):
    """A table of runs: `value` gives the columns of an image and seed."""
    places = itertools.product(["one", "other"], IMAGES, range(3))
    return pd.DataFrame(
        {"network": network, "class": kind, "picture": name, "seed": seed}
        | value((kind, name), seed)
        for network, (kind, name), seed in places
    )


def of(parameter, name, **measured):
    """Runs of one value; measurements that are not given are 1."""

    def row(image, seed):
        noise = 0.1 * (seed - 1)
        numbers = {key: number + noise for key, number in measured.items()}
        return {"parameter": parameter, "value": name} | dict.fromkeys(EFFECTS_ON, 1.0) | numbers

    return runs(row)


def test_effects_name_the_values_the_size_and_the_noise():
    low = of("p", "low", r2_fresh=0.2, deletion_mean=0.2)
    high = of("p", "high", r2_fresh=0.6, deletion_mean=0.5)
    found = effects(pd.concat([low, high, of("q", "x", r2_fresh=0.3)]))
    found = found.set_index(["parameter", "measure"])
    fidelity, deletion = found.loc["p", "r2_fresh"], found.loc["p", "deletion_mean"]
    assert (fidelity["worst"], fidelity["best"]) == ("low", "high")
    assert (deletion["worst"], deletion["best"]) == ("high", "low"), "lower is better"
    numbers = fidelity[["worst_mean", "best_mean", "effect", "low", "high", "noise"]]
    assert numbers.tolist() == pytest.approx([0.2, 0.6, 0.4, 0.4, 0.4, 0.1])
    assert fidelity["significant"] and deletion["significant"]
    nothing = found.loc["q"]
    assert not nothing["significant"].any() and (nothing["effect"] == 0).all()


def test_an_effect_that_changes_its_sign_with_the_image_is_not_significant():
    table = pd.concat([of("p", "x"), of("p", "y")], ignore_index=True)
    sign = np.where(table["value"] == "x", 1.0, -1.0) * np.where(table["picture"] == "2", -1, 1)
    found = effects(table.assign(r2_fresh=sign)).set_index("measure").loc["r2_fresh"]
    assert found["low"] < 0 < found["effect"] < found["high"] and not found["significant"]


def test_what_was_not_measured_is_empty():
    found = effects(of("p", "x").assign(iou=np.nan)).set_index("measure")
    assert np.isnan(found.loc["iou", "effect"]) and not found.loc["iou", "significant"]


def settings(**levels):
    """Runs of settings, whose level depends on the image."""

    def row(name, level):
        return {"setting": name} | dict.fromkeys(CHOSEN_BY, level) | {"deletion_mean": -level}

    return pd.concat(
        [
            runs(lambda image, _, name=name, level=level: row(name, level(image)))
            for name, level in levels.items()
        ]
    )


def test_a_candidate_is_chosen_on_the_first_images_and_compared_on_the_others():
    first = {("a", "1"), ("b", "1")}
    two = settings(one=lambda image: 0.5, two=lambda image: 0.9)
    # "trap" would win on the images that must not decide.
    candidates = settings(
        good=lambda image: 0.8 if image in first else 0.7,
        trap=lambda image: 0.6 if image in first else 1.0,
    )
    found = recommend(candidates, two).set_index(["measure", "setting"])
    assert set(found["candidate"]) == {"good"} and set(found["pictures"]) == {4}
    assert found.loc[("all", "one"), ["gain", "low", "high"]].tolist() == [1, 1, 1]
    assert found.loc[("all", "two"), ["gain", "low", "high"]].tolist() == [-1, -1, -1]
    means = found.loc[("r2_fresh", "one"), ["candidate_mean", "setting_mean"]]
    assert means.tolist() == pytest.approx([0.7, 0.5])
    assert found.loc["all", "candidate_mean"].isna().all()


def test_no_other_images_no_comparison():
    candidates, one = settings(good=lambda image: 1.0), settings(one=lambda image: 0.5)
    found = recommend(*(table[table["picture"] == "1"] for table in (candidates, one)))
    assert set(found["candidate"]) == {"good"} and (found["pictures"] == 0).all()
    assert found[["gain", "low", "high", "candidate_mean"]].isna().all(axis=None)
