import itertools

import numpy as np
import pandas as pd
import pytest

from lab.measure.effects import EFFECTS_ON, effects, recommend
from lab.measure.statistics import CHOSEN_BY


def runs(row):
    """A row for every network, image and seed; `row` gives its columns."""
    places = itertools.product(["one", "other"], "ab", "123", range(3))
    return pd.DataFrame(
        {"network": network, "class": kind, "image": name, "seed": seed} | row(kind + name, seed)
        for network, kind, name, seed in places
    )


def of(parameter, name, **measured):
    """Runs of one value; measurements that are not given are 1."""

    def row(image, seed):
        numbers = {key: number + 0.1 * (seed - 1) for key, number in measured.items()}
        return {"parameter": parameter, "value": name} | dict.fromkeys(EFFECTS_ON, 1.0) | numbers

    return runs(row)


def test_effects_name_the_values_the_size_and_the_noise():
    low = of("p", "low", r2_fresh=0.2, deletion_mean=0.2)
    high = of("p", "high", r2_fresh=0.6, deletion_mean=0.5)
    found = effects(pd.concat([low, high, of("q", "x", r2_fresh=0.3)]))
    found = found.set_index(["parameter", "measure"])
    fidelity, deletion = found.loc["p", "r2_fresh"], found.loc["p", "deletion_mean"]
    assert fidelity[["worst", "best", "significant"]].tolist() == ["low", "high", True]
    assert deletion[["worst", "best", "significant"]].tolist() == ["high", "low", True]
    numbers = fidelity[["worst_mean", "best_mean", "effect", "low", "high", "noise"]]
    assert numbers.tolist() == pytest.approx([0.2, 0.6, 0.4, 0.4, 0.4, 0.1])
    assert not found.loc["q", "significant"].any() and (found.loc["q", "effect"] == 0).all()


def test_noise_is_pooled_over_values_and_images():
    table = pd.concat([of("p", "x"), of("p", "y")], ignore_index=True)
    table["r2_fresh"] = np.random.default_rng(0).normal(size=len(table)).cumsum()
    cells = table["r2_fresh"].to_numpy().reshape(-1, 3)  # of three seeds
    deviations = cells - cells.mean(axis=1, keepdims=True)
    expected = np.sqrt((deviations**2).sum() / (2 * len(cells)))
    found = effects(table).set_index("measure").loc["r2_fresh", "noise"]
    assert found == pytest.approx(expected)


def test_means_below_0_keep_their_sign():
    # R² of a model that is worse than the mean is below 0.
    found = effects(pd.concat([of("p", "low", r2_fresh=-0.5), of("p", "high", r2_fresh=0.2)]))
    found = found.set_index("measure").loc["r2_fresh"]
    assert found[["worst_mean", "best_mean"]].tolist() == pytest.approx([-0.5, 0.2])


def test_an_effect_that_changes_its_sign_or_was_not_measured_is_not_significant():
    table = pd.concat([of("p", "x"), of("p", "y")], ignore_index=True)
    sign = np.where(table["value"] == "x", 1.0, -1.0) * np.where(table["image"] == "2", -1, 1)
    found = effects(table.assign(r2_fresh=sign, iou=np.nan)).set_index("measure")
    assert not found["significant"].any() and np.isnan(found.loc["iou", "effect"])
    found = found.loc["r2_fresh"]
    assert found["low"] < 0 < found["effect"] < found["high"]


def settings(**levels):
    """Runs of settings with one level for the first images and one for the others."""

    def row(name, image):
        level = levels[name]["1" not in image]
        return {"setting": name} | dict.fromkeys(CHOSEN_BY, level) | {"deletion_mean": -level}

    return pd.concat([runs(lambda image, _, name=name: row(name, image)) for name in levels])


def test_a_candidate_is_chosen_on_the_first_images_and_compared_on_the_others():
    two = settings(one=(0.5, 0.5), two=(0.9, 0.9))
    # "trap" would win on the images that must not decide.
    candidates = settings(good=(0.8, 0.7), trap=(0.6, 1.0))
    found = recommend(candidates, two).set_index(["measure", "setting"])
    assert set(found["candidate"]) == {"good"} and set(found["images"]) == {4}
    assert found.loc[("all", "one"), ["gain", "low", "high"]].tolist() == [1, 1, 1]
    assert found.loc[("all", "two"), ["gain", "low", "high"]].tolist() == [-1, -1, -1]
    means = found.loc[("r2_fresh", "one"), ["candidate_mean", "setting_mean"]]
    assert means.tolist() == pytest.approx([0.7, 0.5])
    # Without other images there is no comparison.
    found = recommend(*(table[table["image"] == "1"] for table in (candidates, two)))
    assert set(found["candidate"]) == {"good"} and (found["images"] == 0).all()
    assert found[["gain", "low", "high", "candidate_mean"]].isna().all(axis=None)
