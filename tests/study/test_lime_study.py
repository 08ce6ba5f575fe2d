from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from cheap import NETWORKS, Network, Places, data_folder, measured, tiles
from lime.lime_image import LimeImageExplainer
from sklearn.metrics import r2_score

from lab.explain.lime import lime_explanation, locality
from lab.explain.masked_model import blurred, superpixels
from lab.explain.setting import Setting
from lab.images import load_image
from lab.measure.agreement import jaccard, rank_correlation
from lab.measure.measurements import MEASUREMENTS
from lab.measure.variance import savings
from lab.networks.classes import class_name
from lab.runner import Task
from lab.study import lime
from lab.study.lime import derive, fidelity, measure_lime, settings_table, tasks, with_stability
from lab.study.profile import PROFILES
from lab.study.settings import LAB_PARAMETERS, LAB_SETTINGS, sampling_settings

WHERE = ["network", "class", "picture"]
MEASURED = ["r2_fit", "r2_fresh", "deletion_mean", "insertion"]
MEASURED += ["iou", "pointing_game", "shown", "model_calls"]
BASE = asdict(Setting(num_samples=300))
IMAGE = tiles()
MASK = np.zeros(IMAGE.shape[:2], bool)
MASK[10:30, 5:25] = True


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return tasks(data_folder(tmp_path_factory.mktemp("data")), PROFILES["quick"])


@pytest.fixture(scope="module")
def results(plan, tmp_path_factory):
    """All that the quick profile measures, on two cheap networks, read from files."""
    return measured(plan, NETWORKS, tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def derived(results):
    return derive(results)


# Measurements of one explanation


def test_fidelity_on_the_fit_is_the_packages():
    model, setting = Places(), Setting(num_samples=300, seed=1)
    expected = LimeImageExplainer(random_state=1).explain_instance(
        IMAGE, model, top_labels=1, hide_color=(0, 0, 0), num_features=100_000, num_samples=300
    )
    got = measure_lime(model, lime_explanation(model, IMAGE, setting))["r2_fit"]
    assert got == pytest.approx(expected.score, abs=1e-6)


@pytest.mark.parametrize("sampling", ["lime", "balanced"])
@pytest.mark.parametrize("seed, next_seed", [(6, 7), (2**32 - 1, 0)])
def test_fidelity_on_fresh_samples_is_that_of_the_next_seed(sampling, seed, next_seed):
    setting = Setting(num_samples=300, hide_color=None, sampling=sampling, seed=seed)
    explanation = lime_explanation(Places(), IMAGE, setting)
    other = lime_explanation(Places(), IMAGE, replace(setting, seed=next_seed, num_samples=500))
    # All but the whole image, which every fit has seen.
    new = other.coalitions[1:]
    truth = Places()(explanation.masked_model.images(new))[:, explanation.label]
    weights, linear = locality(new, setting), explanation.intercept + new @ explanation.weights
    for n in (500, 60):
        few = slice(n - 1)
        expected = r2_score(truth[few], linear[few], sample_weight=weights[few])
        assert fidelity(explanation, fresh=n) == pytest.approx(expected, abs=1e-9)
    assert measure_lime(Places(), explanation)["r2_fresh"] == fidelity(explanation)


def test_curves_follow_the_weights_superpixel_by_superpixel():
    explanation = lime_explanation(Places(), IMAGE, Setting(num_samples=300))
    order = np.argsort(-explanation.saliency.ravel(), kind="stable")
    mean = np.round(IMAGE.mean(axis=(0, 1)))
    got = measure_lime(Places(), explanation)
    changes = ("deletion_mean", IMAGE, mean), ("insertion", blurred(IMAGE), IMAGE)
    for name, before, after in changes:
        steps = []
        for step in range(51):
            changed = np.isin(np.arange(len(order)), order[: len(order) * step // 50])
            steps.append(np.where(changed.reshape(IMAGE.shape[:2])[..., None], after, before))
        curve = Places()(np.stack(steps))[:, explanation.label]
        area = np.sum((curve[1:] + curve[:-1]) / 2) / 50  # the trapezoidal rule
        assert got[name] == pytest.approx(area, abs=2e-3)


def test_what_is_shown_and_the_object():
    explanation = lime_explanation(Places(), IMAGE, Setting(num_samples=300, num_superpixels=4))
    got = measure_lime(Places(), explanation, MASK)
    assert list(got) == MEASURED and set(got) <= set(MEASUREMENTS)
    assert got["shown"] == explanation.shown.mean() and got["model_calls"] == 300
    assert got["iou"] == (explanation.shown & MASK).sum() / (explanation.shown | MASK).sum()
    assert got["pointing_game"] == MASK[explanation.saliency == explanation.saliency.max()].mean()
    unknown = {"iou": float("nan"), "pointing_game": float("nan")}
    np.testing.assert_equal(measure_lime(Places(), explanation), got | unknown)
    model = Places()
    with pytest.raises(ValueError, match="shape"):
        measure_lime(model, explanation, np.zeros((3, 3), bool))
    assert model.calls == 0


# Tasks


def test_settings_are_measured_as_one_by_one():
    first = Setting(num_samples=250, seed=5)
    settings = [first, replace(first, num_samples=300, hide_color=None, num_superpixels=3)]
    listed = [({"setting": str(n)}, asdict(setting)) for n, setting in enumerate(settings)]
    names = ["weights", "chosen", "segments"]
    rows, arrays = lime.settings_task(Places(), IMAGE, MASK, listed, 300, names)
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
    rows, arrays = lime.predictions_task(network, tiles(4, 4), None)
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
    rows, arrays = lime.no_effect_task(Places(), IMAGE, None, BASE, changes)
    assert arrays == {} and [(row["parameter"], row["value"]) for row in rows] == changes
    *same, fewer, less_shown = rows
    assert all(row["weight_change"] == row["pixels_changed"] == 0 for row in same)
    assert fewer["weight_change"] > 0
    assert less_shown["weight_change"] == 0 < less_shown["pixels_changed"] <= 1


class Saturating:
    """Sees its class as long as most of the important places are visible."""

    name, input_size = "Saturating", 80

    def __init__(self, image):
        segments = superpixels(image)
        self.at = [np.argwhere(segments == i)[0] for i in range(segments.max() + 1)]
        self.importance = np.random.default_rng(8).dirichlet(np.ones(len(self.at)))

    def __call__(self, images):
        seen = sum(t * (images[:, y, x, 0] > 0) for t, (y, x) in zip(self.importance, self.at))
        probability = 1 / (1 + np.exp(-25 * (seen - 0.85)))
        return np.stack([probability, 1 - probability], axis=1)


def test_balanced_sampling_is_as_stable_with_a_quarter_of_the_samples(tmp_path):
    path = data_folder(tmp_path)["bear"][0]
    network = Saturating(load_image(path))
    settings = sampling_settings([250, 500, 1000], Setting(num_superpixels=5))

    def task(seed):
        listed = [
            ({"sampling": sampling, "num_samples": n}, asdict(replace(setting, seed=seed)))
            for (sampling, n), setting in settings.items()
        ]
        arguments = {"settings": listed, "fresh": 60, "arrays": ["weights", "chosen"]}
        return Task("lime_stability", lime.settings_task, "xception", path, arguments, 0)

    results = measured([task(seed) for seed in range(5)], {"xception": network}, tmp_path)
    table = with_stability(results, "lime_stability", ["sampling", "num_samples"])
    assert savings(table)["ratio"][0] >= 4
    # Nor is it stable about something else: the order is the model's own.
    setting = Setting(num_samples=1000, sampling="balanced")
    weights = lime_explanation(network, load_image(path), setting, label=0).weights
    assert rank_correlation(weights, network.importance) > 0.95


# The study


def test_estimated_calls_are_about_those_made(plan):
    for table in dict.fromkeys(task.table for task in plan):
        task = next(task for task in plan if task.table == table)
        network = Network(cached=True)
        task.function(network, tiles(4, 4), None, **task.arguments)
        assert task.calls / 2 < network.calls <= 1.1 * task.calls, table


def test_every_network_explains_every_image(results):
    runs = results.table("lime_runs")
    assert set(runs) > {*WHERE, "setting", "seed", "label", "superpixels", *MEASURED}
    assert runs.groupby(WHERE, sort=False)["setting"].agg(list).to_dict() == {
        (network, kind, picture): list(LAB_SETTINGS)
        for network in ("First", "Second")
        for kind, picture in (("elephant", "first"), ("elephant", "second"), ("bear", "only"))
    }
    assert not runs.isna().any(axis=None)
    for (key, n), rows in runs.groupby(["key", "superpixels"]):
        for name in ("weights", "chosen"):
            assert results.array("lime_runs", key, name).shape == (len(rows), n)
        assert results.array("lime_runs", key, "segments").max() == n - 1


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


def test_stability_is_the_mean_over_pairs_of_seeds(derived, results, tmp_path):
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
    # In any order of the rows, and once more where the columns are there already.
    shuffled = table.sample(frac=1, random_state=0)
    shuffled.to_csv(tmp_path / "lime_stability.csv", index=False)
    arrays = (results.folder / "lime_stability.npz").read_bytes()
    (tmp_path / "lime_stability.npz").write_bytes(arrays)
    again = with_stability(type(results)(tmp_path), "lime_stability", ["sampling", "num_samples"])
    expected = shuffled.reset_index(drop=True)
    pd.testing.assert_frame_equal(again, expected, check_exact=True)


def test_the_derived_tables(derived):
    assert derived["lime_runs"][["jaccard", "rank_correlation"]].isna().all(axis=None)  # one seed
    assert set(derived["lime_ranking"]["setting"]) == set(LAB_SETTINGS)
    pairs = {"same class", "other class", "other network"}
    assert set(derived["lime_agreement"]["pair"]) == pairs
    variance = derived["lime_variance"].set_index("measure")
    assert "r2_fresh" in variance.index and not {"model_calls", "seed"} & set(variance.index)
    np.testing.assert_allclose(variance.sum(axis=1), 1)
    counts = [PROFILES["quick"].samples(n) for n in (250, 500, 1000)]
    assert derived["lime_savings"]["num_samples"].tolist() == counts
    effects = derived["lime_effects"]
    assert set(effects["parameter"]) == set(LAB_PARAMETERS)
    assert not effects.query("parameter == 'top_labels'")["effect"].fillna(0).any()
    costly = effects.query("measure == 'model_calls' and effect > 0")["parameter"]
    assert costly.tolist() == ["num_samples"]
    recommended = derived["lime_recommended"]
    assert set(recommended["setting"]) == set(LAB_SETTINGS)
    assert recommended["candidate"].nunique() == 1


def test_the_settings_table_has_what_was_measured():
    calls = 307
    runs = pd.DataFrame({"setting": list(LAB_SETTINGS), "model_calls": calls})
    table = settings_table(runs).set_index("setting")
    assert list(table.index) == list(LAB_SETTINGS) and list(table) == list(LAB_PARAMETERS)
    expected = ["1", "None", "2000", str(calls), "15", "True", "False", "True"]
    assert table.loc["1"].tolist() == expected
