from dataclasses import asdict, replace

import numpy as np
import pytest
from cheap import NETWORKS, Network, Places, tiles

from lab.images import load_image
from lab.measure.agreement import jaccard, rank_correlation
from lab.measure.lime import measure_lime
from lab.methods.lime import lime_explanation
from lab.methods.masked_model import superpixels
from lab.methods.setting import Setting
from lab.networks.classes import class_name
from lab.study import lime as study
from lab.study import settings
from lab.study.runner import measure
from lab.study.settings import LAB_PARAMETERS, LAB_SETTINGS

STUDY = "lime", study.tasks
MEASURED = ["r2_fit", "r2_fresh", "deletion_mean", "insertion"]
MEASURED += ["iou", "pointing_game", "shown", "model_calls"]
BASE = asdict(Setting(num_samples=300))
IMAGE = tiles()
MASK = np.zeros(IMAGE.shape[:2], bool)
MASK[10:30, 5:25] = True


# Tasks


def test_settings_are_measured_as_one_by_one_and_share_samples():
    network, first = Places(), Setting(num_samples=250)
    settings = {("0",): first, ("1",): replace(first, num_samples=300, num_superpixels=3)}
    task = study.explained("t", None, None, ["setting"], settings, 200, seed=5)
    results = measure(task, network, IMAGE, MASK)
    assert task.calls / 2 <= network.calls <= 2 * task.calls < 2 * (250 + 300 + 200)
    for (name,), setting in settings.items():
        explanation = lime_explanation(Places(), IMAGE, replace(setting, seed=5))
        ([row], arrays) = results[name]
        about = {"setting": name, "seed": 5, "label": explanation.label}
        about |= {"superpixels": explanation.masked_model.n}
        assert list(row) == [*about, *MEASURED]
        expected = about | measure_lime(Places(), explanation, MASK, fresh=200)
        assert row == pytest.approx(expected, abs=1e-9)
        np.testing.assert_allclose(arrays["weights"], [explanation.weights], atol=1e-6)
        np.testing.assert_array_equal(arrays["chosen"], [explanation.chosen])
    # One more setting costs its own samples, and those that measure it.
    one = replace(first, num_samples=60, num_superpixels=3, num_lime_features=3)
    more = study.explained("t", None, None, ["setting"], settings | {("2",): one}, 200, seed=5)
    network.calls = 0
    measure(more.only({"2"}), network, IMAGE, MASK)
    assert network.calls == 1 + 60 + 200 + 2 * 51


def test_predictions():
    network = Network()
    rows, arrays = study.predictions_task(network, tiles(4, 4), None)
    [probability] = network(tiles(4, 4)[None])
    top = np.argsort(-probability, kind="stable")[:3]
    assert arrays == {} and rows == [
        {"rank": n, "label": i, "predicted": class_name(i), "probability": probability[i]}
        for n, i in enumerate(top, start=1)
    ]


def test_parameters_that_change_nothing_and_two_that_do():
    n = int(superpixels(IMAGE).max()) + 1
    nothing = [("num_lime_features", k) for k in (n, 100, 2000)] + [("top_labels", 2)]
    changes = [*nothing, ("num_lime_features", n // 2), ("num_superpixels", 3)]
    rows, arrays = study.no_effect_task(Places(), IMAGE, None, BASE, changes)
    assert arrays == {} and [(row["parameter"], row["value"]) for row in rows] == changes
    *same, fewer, less_shown = rows
    assert all(row["weight_change"] == row["pixels_changed"] == 0 for row in same)
    assert fewer["weight_change"] > 0
    assert less_shown["weight_change"] == 0 < less_shown["pixels_changed"] <= 1


# The study


def test_what_is_measured_of_every_image(plan, results):
    runs = results.table("lime_runs")
    assert not results.table("lime_parameters").isna().any(axis=None)
    images = ["African_elephant/first.png", "African_elephant/second.png", "black_bear/only.png"]
    assert set(runs["network"]) == {"First", "Second"} and set(runs["image"]) == set(images)
    for (_, image), own in runs.groupby(["network", "image"]):
        assert own["setting"].tolist() == list(LAB_SETTINGS)
        assert set(own["class"]) == {image.split("/")[0]}
    row = next(results.table("lime_superpixels").itertuples())
    segments = results.array("lime_superpixels", row.key, "segments")[0]
    np.testing.assert_array_equal(segments, superpixels(load_image(plan.every[0], 64)))
    first = runs.iloc[0]
    assert len(results.array("lime_parameters", first["key"], "chosen")[0]) == row.superpixels


def test_perturbed_images_have_the_probabilities_of_their_rows(plan, results):
    rows = results.table("lime_perturbed")
    coalitions = results.array("lime_perturbed", rows["key"][0], "coalitions")
    image = load_image(plan.every[0], 64)
    segments = superpixels(image)
    assert coalitions.shape == (3, segments.max() + 1) and not coalitions.all(axis=1).any()
    images = np.where(coalitions[:, segments][..., None], image, 0).astype(np.uint8)
    probability = NETWORKS["xception"](images)[range(3), rows["label"]]
    np.testing.assert_allclose(probability, rows["probability"], rtol=1e-5)
    assert rows["probability"].is_monotonic_decreasing


def test_stability_is_the_mean_over_pairs_of_seeds(results):
    table = results.table("lime_sampled")
    for _, rows in table.groupby(["sampling", "num_samples"]):
        assert sorted(rows["seed"]) == [0, 1]
        pair = {
            name: [results.array("lime_stability", key, name)[0] for key in rows["key"]]
            for name in ("weights", "chosen")
        }
        np.testing.assert_allclose(rows["rank_correlation"], rank_correlation(*pair["weights"]))
        np.testing.assert_allclose(rows["jaccard"], jaccard(*pair["chosen"]))


def test_the_derived_tables(plan, results):
    runs = results.table("lime_runs")
    assert runs[["jaccard", "rank_correlation"]].isna().all(axis=None)  # one seed
    pairs = {"same class", "other class", "other network"}
    assert set(results.table("lime_agreement")["pair"]) == pairs
    variance = results.table("lime_variance").set_index("measure")
    assert "r2_fresh" in variance.index and not {"model_calls", "seed"} & set(variance.index)
    np.testing.assert_allclose(variance.sum(axis=1), 1)
    counts = [plan.samples(n) for n in (250, 500, 1000)]
    assert results.table("lime_savings")["num_samples"].tolist() == counts
    effects = results.table("lime_effects")
    assert set(effects["parameter"]) == set(LAB_PARAMETERS)
    costly = effects.query("measure == 'model_calls' and effect > 0")["parameter"]
    assert costly.tolist() == ["num_samples"]
    assert results.table("lime_recommended")["candidate"].nunique() == 1
    assert not results.table("lime_distances").empty


def test_the_settings_table_has_what_was_measured(plan, results, monkeypatch):
    # A setting that has changed since, and one that was not measured.
    changed = {"1": Setting(hide_color="red", num_superpixels=40), "new": Setting()}
    monkeypatch.setattr(settings, "LAB_SETTINGS", LAB_SETTINGS | changed)
    table = study.settings_table(results).set_index("setting")
    assert list(table.index) == list(LAB_SETTINGS) and list(table) == list(LAB_PARAMETERS)
    samples = str(plan.samples(LAB_SETTINGS["1"].num_samples))
    assert table.loc["1"].tolist() == ["1", "None", "2000", samples, "15", "True", "False", "True"]
