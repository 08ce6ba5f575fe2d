from dataclasses import asdict, replace

import numpy as np
import pandas as pd
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
from lab.study.lime import settings_table
from lab.study.profile import PROFILES
from lab.study.settings import LAB_PARAMETERS, LAB_SETTINGS

WHERE = ["network", "class", "picture"]
MEASURED = ["r2_fit", "r2_fresh", "deletion_mean", "insertion"]
MEASURED += ["iou", "pointing_game", "shown", "model_calls"]
BASE = asdict(Setting(num_samples=300))
IMAGE = tiles()
MASK = np.zeros(IMAGE.shape[:2], bool)
MASK[10:30, 5:25] = True


@pytest.fixture(scope="module")
def derived(results):
    return study.derive(results)


# Tasks


def test_settings_are_measured_as_one_by_one():
    first = Setting(num_samples=250, seed=5)
    settings = [first, replace(first, num_samples=300, hide_color=None, num_superpixels=3)]
    listed = [({"setting": str(n)}, asdict(setting)) for n, setting in enumerate(settings)]
    names = ["weights", "chosen", "segments"]
    rows, arrays = study.settings_task(Places(), IMAGE, MASK, listed, 300, names)
    assert [arrays[name].dtype for name in names] == [np.float32, bool, np.uint16]
    np.testing.assert_array_equal(arrays["segments"], superpixels(IMAGE))
    for n, (row, setting) in enumerate(zip(rows, settings, strict=True)):
        explanation = lime_explanation(Places(), IMAGE, setting)
        about = {"setting": str(n), "label": explanation.label}
        about |= {"superpixels": explanation.masked_model.n}
        assert list(row) == [*about, *MEASURED]
        expected = about | measure_lime(Places(), explanation, MASK, fresh=300)
        assert row == pytest.approx(expected, abs=1e-9)
        np.testing.assert_allclose(arrays["weights"][n], explanation.weights, atol=1e-6)
        np.testing.assert_array_equal(arrays["chosen"][n], explanation.chosen)


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


def test_what_is_measured_of_every_image(results, derived):
    measured, runs = results.table("lime_parameters"), derived["lime_runs"]
    assert set(runs) > {*WHERE, "setting", "seed", "label", "superpixels", *MEASURED}
    assert not measured.isna().any(axis=None)
    for (key, n), rows in measured.groupby(["key", "superpixels"]):
        assert runs[runs["key"] == key]["setting"].tolist() == list(LAB_SETTINGS)
        for name in ("weights", "chosen"):
            assert results.array("lime_parameters", key, name).shape == (len(rows), n)
        assert results.array("lime_parameters", key, "segments").max() == n - 1


def test_perturbed_images_have_the_probabilities_of_their_rows(plan, results):
    rows = results.table("lime_perturbed")
    names = "segments", "coalitions"
    segments, coalitions = (results.array("lime_perturbed", rows["key"][0], n) for n in names)
    assert coalitions.shape == (3, segments.max() + 1) and not coalitions.all(axis=1).any()
    image = load_image(plan[0].image, 64)
    images = np.where(coalitions[:, segments][..., None], image, 0).astype(np.uint8)
    probability = NETWORKS["xception"](images)[range(3), rows["label"]]
    np.testing.assert_allclose(probability, rows["probability"], rtol=1e-5)
    assert rows["probability"].is_monotonic_decreasing


def test_stability_is_the_mean_over_pairs_of_seeds(derived, results):
    table, raw = derived["lime_stability"], results.table("lime_stability")
    assert table.drop(columns=["jaccard", "rank_correlation"]).equals(raw)
    for _, rows in table.groupby(["sampling", "num_samples"]):
        assert sorted(rows["seed"]) == [0, 1]
        pair = {
            name: [results.array("lime_stability", r.key, name)[r.place] for r in rows.itertuples()]
            for name in ("weights", "chosen")
        }
        np.testing.assert_allclose(rows["rank_correlation"], rank_correlation(*pair["weights"]))
        np.testing.assert_allclose(rows["jaccard"], jaccard(*pair["chosen"]))


def test_the_derived_tables(derived):
    assert derived["lime_runs"][["jaccard", "rank_correlation"]].isna().all(axis=None)  # one seed
    pairs = {"same class", "other class", "other network"}
    assert set(derived["lime_agreement"]["pair"]) == pairs
    variance = derived["lime_variance"].set_index("measure")
    assert "r2_fresh" in variance.index and not {"model_calls", "seed"} & set(variance.index)
    np.testing.assert_allclose(variance.sum(axis=1), 1)
    counts = [PROFILES["quick"].samples(n) for n in (250, 500, 1000)]
    assert derived["lime_savings"]["num_samples"].tolist() == counts
    effects = derived["lime_effects"]
    assert set(effects["parameter"]) == set(LAB_PARAMETERS)
    costly = effects.query("measure == 'model_calls' and effect > 0")["parameter"]
    assert costly.tolist() == ["num_samples"]
    assert derived["lime_recommended"]["candidate"].nunique() == 1


def test_the_settings_table_has_what_was_measured():
    calls = 307
    runs = pd.DataFrame({"setting": list(LAB_SETTINGS), "model_calls": calls})
    table = settings_table(runs).set_index("setting")
    assert list(table.index) == list(LAB_SETTINGS) and list(table) == list(LAB_PARAMETERS)
    expected = ["1", "None", "2000", str(calls), "15", "True", "False", "True"]
    assert table.loc["1"].tolist() == expected
