from dataclasses import asdict, replace

import numpy as np
import pytest
from cheap import NETWORKS, Network, Places, tiles

from lab.images import load_image
from lab.measure.agreement import jaccard, rank_correlation
from lab.measure.effects import BOTH
from lab.measure.lime import measure_lime
from lab.measure.paired import GAINS
from lab.methods.lime import lime_explanation
from lab.methods.masked_model import blurred, superpixels
from lab.methods.setting import Setting
from lab.networks.classes import class_name
from lab.study import lime as study
from lab.study import settings
from lab.study.profile import PROFILES, Plan
from lab.study.runner import measure
from lab.study.settings import COLORS, LAB_PARAMETERS, LAB_SETTINGS

STUDY = "lime", study.tasks
MEASURED = ["r2_fit", "r2_fresh", "r_common", "gain", "gain_black", "gain_mean", "gain_blurred"]
MEASURED += ["iou", "pointing_game", "shown", "model_calls", "jaccard", "rank_correlation"]
BASE = asdict(Setting(num_samples=300))
IMAGE = tiles()
MASK = np.zeros(IMAGE.shape[:2], bool)
MASK[10:30, 5:25] = True


# Tasks


@pytest.fixture
def few():
    return Plan({}, PROFILES["quick"])


def test_settings_are_measured_as_one_by_one_and_share_samples(few):
    network, first = Network(cached=True), Setting(num_samples=250)
    settings = {("0",): first, ("1",): replace(first, num_samples=300, num_superpixels=3)}
    task = study.explained("t", None, None, ["setting"], settings, 200, few, seeds=2)
    results = measure(task, network, IMAGE, MASK)
    assert task.calls / 2 <= network.calls <= 2 * task.calls
    for (name,), setting in settings.items():
        explanation, other = (
            lime_explanation(Network(), IMAGE, replace(setting, seed=seed)) for seed in (0, 1)
        )
        ([row], arrays) = results[name]
        about = {"setting": name, "label": explanation.label}
        about |= {"superpixels": explanation.masked_model.n}
        assert list(row) == [*about, *MEASURED]
        expected = about | measure_lime(Network(), explanation, MASK, fresh=200)
        expected["jaccard"] = jaccard(explanation.chosen, other.chosen)
        expected["rank_correlation"] = rank_correlation(explanation.weights, other.weights)
        assert row == pytest.approx(expected, abs=1e-6)
        np.testing.assert_allclose(arrays["weights"], [explanation.weights], atol=1e-6)
        np.testing.assert_array_equal(arrays["chosen"], [explanation.chosen])
    # One more setting costs its own samples, and those that measure it.
    one = replace(first, num_samples=60, num_superpixels=3, num_lime_features=3)
    more = study.explained("t", None, None, ["setting"], settings | {("2",): one}, 200, few)
    network = Network(cached=True)
    measure(more.only({"2"}), network, IMAGE, MASK)
    curves, fresh = 6 * 9, 3 * 199 + 199  # both ends of a curve are known images
    assert network.calls <= 1 + 60 + fresh + curves + 12


def test_of_many_images_an_eighth_of_the_samples_and_no_array(plan):
    many = plan._replace(many=True, seeds=2)
    tables = {task.table: task for task in study.tasks(many)}
    assert set(tables) == {"predictions", "lime_hidden", "lime_parameters"}
    full = Plan(plan.images, PROFILES["full"], 2, many=True)
    task = [task for task in study.tasks(full) if task.table == "lime_parameters"][0]
    samples = {name: part["setting"]["num_samples"] for name, part in task.parts.items()}
    for name, setting in LAB_SETTINGS.items():
        assert samples[f"{settings.LAB}, {name}"] == setting.num_samples // 8
    assert task.arguments == {"seeds": 2, "fresh": 100, "arrays": False}
    assert {"kernel_width, 0.1", "superpixel_size, 8"} < set(task.parts)
    [(rows, arrays)] = measure(task.only({"hide_color, black"}), Network(), IMAGE, None).values()
    assert len(rows) == 1 and arrays == {} and np.isnan(rows[0]["iou"])


def test_what_is_left_with_everything_hidden():
    network = Network()
    rows, arrays = study.hidden_task(network, IMAGE, None)
    assert arrays == {} and [row["baseline"] for row in rows] == list(COLORS)
    label, predicted, probability = network.top(IMAGE, 1)[0]
    hidden = {"black": np.zeros_like(IMAGE), "blurred image": blurred(IMAGE)}
    for row in rows:
        assert (row["label"], row["predicted"], row["probability"]) == (
            *(label, predicted),
            probability,
        )
        if row["baseline"] in hidden:
            whole = hidden[row["baseline"]]
            assert row["hidden"] == pytest.approx(network(whole[None])[0, label])
            assert row["hidden_class"] == network.top(whole, 1)[0][1]


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
    table = results.table("lime_parameters").drop(columns=["jaccard", "rank_correlation"])
    assert not table.isna().any(axis=None)
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


def test_the_derived_tables(plan, results):
    runs = results.table("lime_runs")
    assert runs[["jaccard", "rank_correlation"]].isna().all(axis=None)  # one seed
    kinds = {f"same class: {kind}" for kind in plan.images}
    pairs = {"same class", "other class", "other network", *kinds}
    assert set(results.table("lime_agreement")["pair"]) == pairs
    counts = [plan.samples(n) for n in (250, 500, 1000)]
    assert results.table("lime_savings")["num_samples"].tolist() == counts
    effects = results.table("lime_effects")
    assert set(effects["parameter"]) == set(LAB_PARAMETERS)
    costly = effects.query("measure == 'model_calls' and effect > 0")["parameter"]
    assert costly.tolist() == ["num_samples"]
    names = {"recommended", study.MEAN, *LAB_SETTINGS}
    compared = results.table("lime_contrasts")
    assert set(compared["first"]) == names and set(compared["network"]) == {"First", "Second", BOTH}
    chosen = results.table("lime_parameters")
    chosen = chosen[chosen["value"] == settings.RECOMMENDED]
    chosen = chosen.set_index(["network", "image"])["gain"]
    runs = runs.set_index(["network", "image", "setting"])["gain"]
    row = compared.query("first == 'recommended' and second == '0' and measure == 'gain'")
    row = row.query("network == 'First' and `class` == 'black_bear'").iloc[0]
    bear = "First", "black_bear/only.png"
    assert row["difference"] == pytest.approx(chosen[bear] - runs[(*bear, "0")])
    assert set(results.table("lime_colors")["measure"]) == {"gain", "r_common", *GAINS}  # one seed
    left = results.table("lime_left").query("measure == 'hidden'")
    assert len(left) == 2 * 2 * len(COLORS) and left["mean"].between(0, 1).all()


def test_the_settings_table_has_what_was_measured(plan, results, monkeypatch):
    # A setting that has changed since, and one that was not measured.
    changed = {"1": Setting(hide_color="red", num_superpixels=40), "new": Setting()}
    monkeypatch.setattr(settings, "LAB_SETTINGS", LAB_SETTINGS | changed)
    table = study.settings_table(results).set_index("setting")
    assert list(table.index) == list(LAB_SETTINGS) and list(table) == list(LAB_PARAMETERS)
    samples = str(plan.samples(LAB_SETTINGS["1"].num_samples))
    assert table.loc["1"].tolist() == ["1", "None", "2000", samples, "15", "True", "False", "True"]
