import itertools

import numpy as np
import pandas as pd
import pytest
from crossed import crossed

from lab.measure.effects import BOTH, EFFECTS_ON, contrasts, effects, savings
from lab.measure.intervals import mean_interval


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


def test_effects_name_the_values_and_the_size():
    low = of("p", "low", gain=0.2, model_calls=0.2)
    high = of("p", "high", gain=0.6, model_calls=0.5)
    found = effects(pd.concat([low, high, of("q", "x", gain=0.3)]))
    found = found.set_index(["parameter", "measure"])
    gain, calls = found.loc["p", "gain"], found.loc["p", "model_calls"]
    assert gain[["worst", "best", "significant", "images"]].tolist() == ["low", "high", True, 6]
    assert calls[["worst", "best", "significant"]].tolist() == ["high", "low", True]
    numbers = gain[["worst_mean", "best_mean", "effect", "low", "high"]]
    assert numbers.tolist() == pytest.approx([0.2, 0.6, 0.4, 0.4, 0.4])
    assert not found.loc["q", "significant"].any() and (found.loc["q", "effect"] == 0).all()


def test_the_values_are_chosen_on_the_other_half():
    """By a loop over images, with the values looked up one by one."""
    rng = np.random.default_rng(0)
    table = pd.concat([of("p", name) for name in "xyz"], ignore_index=True)
    table["gain"] = rng.normal(size=len(table))
    images = list(dict.fromkeys(zip(table["class"], table["image"])))
    effect = []
    for number, (kind, image) in enumerate(images):
        others = [table[(table["class"] == k) & (table["image"] == i)] for k, i in images]
        others = pd.concat([own for n, own in enumerate(others) if n % 2 != number % 2])
        means = others.groupby("value")["gain"].mean()
        own = table[(table["class"] == kind) & (table["image"] == image)]
        own = own.groupby("value")["gain"].mean()
        effect.append(own[means.idxmax()] - own[means.idxmin()])
    found = effects(table).set_index("measure").loc["gain"]
    expected = [np.mean(effect), *mean_interval(np.array(effect))]
    assert found[["effect", "low", "high"]].tolist() == pytest.approx(expected)


def test_noise_is_no_effect():
    """Of values furthest apart on the same images more than half were significant."""
    rng, significant = np.random.default_rng(0), []
    for _ in range(40):
        rows = itertools.product(range(12), "vwxyz")
        table = pd.DataFrame([{"image": str(n), "value": v} for n, v in rows])
        table = table.assign(network="n", parameter="p", **{"class": "c"})
        for measure in EFFECTS_ON:
            table[measure] = rng.normal(size=len(table))
        significant += effects(table)["significant"].tolist()
    assert np.mean(significant) < 0.1


def test_means_below_0_keep_their_sign_and_one_image_is_compared_with_itself():
    table = pd.concat([of("p", "low", gain=-0.5), of("p", "high", gain=0.2)])
    for selected in (table, table.query("`class` == 'a' and image == '1'")):
        found = effects(selected).set_index("measure").loc["gain"]
        numbers = found[["worst_mean", "best_mean", "effect"]]
        assert numbers.tolist() == pytest.approx([-0.5, 0.2, 0.7])
    assert np.isnan(found["low"]) and not found["significant"]


def test_an_effect_that_changes_its_sign_or_was_not_measured_is_not_significant():
    table = pd.concat([of("p", "x"), of("p", "y")], ignore_index=True)
    sign = np.where(table["value"] == "x", 1.0, -1.0) * np.where(table["image"] == "2", -1, 1)
    found = effects(table.assign(gain=sign, iou=np.nan)).set_index("measure")
    assert not found["significant"].any() and np.isnan(found.loc["iou", "effect"])
    assert found.loc["gain", "low"] < 0 < found.loc["gain", "high"]


def test_contrasts_are_paired_differences_for_each_class_and_network():
    rng = np.random.default_rng(1)
    table = crossed(lambda *_: rng.normal())
    table = table.assign(deletion_mean=-table["iou"])
    measures = "iou", "deletion_mean"
    found = contrasts(table, "setting", [("a", "b"), ("b", "a")], measures)
    assert len(found) == 2 * 3 * 2 * 2  # classes, networks and both, pairs, measures
    found = found.set_index(["measure", "class", "network", "first"])
    values = table.groupby(["class", "network", "image", "setting"])["iou"].mean().unstack()
    difference = values["a"] - values["b"]
    both = difference.groupby(["class", "image"]).mean()
    for network, expected in (("N", difference["E", "N"]), (BOTH, both["E"])):
        for measure in measures:  # less deletion is better
            row = found.loc[measure, "E", network, "a"]
            numbers = expected.mean(), *mean_interval(expected)
            got = row[["difference", "low", "high"]].tolist()
            assert got == pytest.approx(numbers, abs=1e-9)
            assert (row["wins"], row["images"]) == ((expected > 0).sum(), len(expected))
            other = found.loc[measure, "E", network, "b"]
            assert other["difference"] == pytest.approx(-row["difference"])
            assert row["wins"] + other["wins"] == row["images"]


def test_savings_reads_the_need_off_the_stock_curve():
    rows = [("lime", n, value) for n, value in [(100, 0.5), (200, 0.4), (400, 0.7), (800, 0.9)]]
    # At 0.45, 100 samples are enough by chance, as 200 show.
    balanced = [(50, 0.45), (100, 0.7), (200, 0.8), (400, 0.95)]
    rows += [("balanced", n, value + noise) for n, value in balanced for noise in (-0.01, 0.01)]
    got = savings(pd.DataFrame(rows, columns=["sampling", "num_samples", "rank_correlation"]))
    needs = [200 * 2 ** (1 / 6), 400, np.sqrt(400 * 800), np.inf]
    np.testing.assert_allclose(got.lime_needs, needs)
    np.testing.assert_allclose(got.ratio, got.lime_needs / [50, 100, 200, 400])
    np.testing.assert_allclose(got.lime, [np.nan, 0.5, 0.4, 0.7])
