"""What parameters change, on tables whose answers are known."""

import itertools

import numpy as np
import pandas as pd
import pytest

from lab.measure.effects import EFFECTS_ON, effects, recommend
from lab.measure.statistics import CHOSEN_BY

PICTURES = [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("b", "2"), ("b", "3")]


def runs(value, seeds=3):
    """A table of runs: `value` gives the measurements of a network, picture and seed."""
    places = itertools.product(["one", "other"], PICTURES, range(seeds))
    return pd.DataFrame(
        [
            {"network": network, "class": kind, "picture": name, "seed": seed}
            | value(network, (kind, name), seed)
            for network, (kind, name), seed in places
        ]
    )


def of(parameter, name, **measured):
    noise = {0: -0.1, 1: 0.0, 2: 0.1}
    return runs(
        lambda network, picture, seed: (
            {"parameter": parameter, "value": name}
            | dict.fromkeys(EFFECTS_ON, 1.0)
            | {key: number + noise[seed] for key, number in measured.items()}
        )
    )


def test_effects_name_the_values_the_size_and_the_noise():
    table = pd.concat(
        [
            of("p", "low", r2_fresh=0.2, deletion_mean=0.2),
            of("p", "high", r2_fresh=0.6, deletion_mean=0.5),
            of("q", "x", r2_fresh=0.3),
        ]
    )
    found = effects(table).set_index(["parameter", "measure"])
    fidelity, deletion = found.loc["p", "r2_fresh"], found.loc["p", "deletion_mean"]
    assert (fidelity["worst"], fidelity["best"]) == ("low", "high")
    assert (deletion["worst"], deletion["best"]) == ("high", "low"), "lower is better"
    assert fidelity[["worst_mean", "best_mean", "effect", "low", "high", "noise"]].astype(
        float
    ).to_numpy() == pytest.approx([0.2, 0.6, 0.4, 0.4, 0.4, 0.1])
    assert fidelity["told_apart"] and deletion["told_apart"]
    nothing = found.loc["q"]
    assert not nothing["told_apart"].any() and (nothing["effect"] == 0).all()


def test_an_effect_that_changes_its_sign_with_the_picture_is_not_told_apart():
    rng = np.random.default_rng(0)
    shift = {picture: (-1) ** number * 0.3 for number, picture in enumerate(PICTURES)}

    def value(name, sign):
        return runs(
            lambda network, picture, seed: (
                {"parameter": "p", "value": name}
                | dict.fromkeys(EFFECTS_ON, 1.0)
                | {"r2_fresh": 0.5 + sign * shift[picture] + rng.normal() * 1e-3}
            )
        )

    found = effects(pd.concat([value("x", 1), value("y", -1)])).set_index("measure").loc["r2_fresh"]
    assert found["low"] < 0 < found["high"] and not found["told_apart"]


def test_what_was_not_measured_is_empty():
    table = of("p", "x").assign(iou=np.nan)
    found = effects(table).set_index("measure")
    assert np.isnan(found.loc["iou", "effect"]) and not found.loc["iou", "told_apart"]


def settings(**levels):
    def rows(name, level):
        return runs(
            lambda network, picture, seed: (
                {"setting": name}
                | {key: level(picture) * (-1 if key == "deletion_mean" else 1) for key in CHOSEN_BY}
            )
        )

    return pd.concat([rows(name, level) for name, level in levels.items()], ignore_index=True)


def test_the_recommended_candidate_is_chosen_on_the_first_pictures_and_shown_on_the_others():
    first = {("a", "1"), ("b", "1")}
    seven = settings(one=lambda picture: 0.5, two=lambda picture: 0.9)
    # "trap" would win on the pictures that must not be looked at.
    candidates = settings(
        good=lambda picture: 0.8 if picture in first else 0.7,
        trap=lambda picture: 0.6 if picture in first else 1.0,
    )
    found = recommend(candidates, seven).set_index(["measure", "setting"])
    assert set(found["candidate"]) == {"good"} and set(found["pictures"]) == {4}
    assert found.loc[("all", "one"), ["gain", "low", "high"]].astype(float).tolist() == [1, 1, 1]
    assert found.loc[("all", "two"), ["gain", "low", "high"]].astype(float).tolist() == [-1, -1, -1]
    assert found.loc[("r2_fresh", "one"), ["candidate_mean", "setting_mean"]].astype(
        float
    ).tolist() == pytest.approx([0.7, 0.5])


def test_no_other_pictures_no_comparison():
    def first(table):
        return table[table["picture"] == "1"]

    found = recommend(
        first(settings(good=lambda picture: 1.0)), first(settings(one=lambda picture: 0.5))
    )
    assert (
        set(found["candidate"]) == {"good"}
        and found["gain"].isna().all()
        and (found["pictures"] == 0).all()
    )
