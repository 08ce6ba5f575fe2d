import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from lime.lime_image import LimeImageExplainer
from sklearn.metrics import r2_score

from cheap import Network, Places, data_folder, measured, tiles
from lab.explain.masked_model import blurred, superpixels
from lab.explain.lime import lime_explanation, locality
from lab.explain.setting import Setting
from lab.measure.agreement import jaccard, rank_correlation
from lab.measure.measurements import MEASUREMENTS
from lab.measure.variance import savings
from lab.networks import asking
from lab.networks.classes import class_name
from lab.images import load_image
from lab.study import lime
from lab.study.task import Task
from lab.study.lime import derive, fidelity, measure, settings_table, tasks, with_stability
from lab.study.settings import LAB_PARAMETERS, LAB_SETTINGS, grid, remedy

NETWORKS = {"xception": Network("First", 64, seed=0), "resnet50": Network("Second", 80, seed=1)}
SINGLE = [
    "r2_fit",
    "r2_fresh",
    "deletion_mean",
    "insertion",
    "iou",
    "pointing_game",
    "shown",
    "model_calls",
]
BASE = dataclasses.asdict(Setting(num_samples=100))


@pytest.fixture(scope="module")
def image():
    return tiles()


@pytest.fixture(scope="module")
def mask(image):
    mask = np.zeros(image.shape[:2], bool)
    mask[10:30, 5:25] = True
    return mask


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(asking, "_on_disk", asking._open(tmp_path / "cache"))


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return tasks(data_folder(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def results(plan, tmp_path_factory):
    """All that the quick profile measures, on two cheap networks, and read from files."""
    return measured(plan, NETWORKS, tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def derived(results):
    return derive(results)


def area(values):
    """Under a curve of equal steps, by the trapezoidal rule."""
    return float(np.sum((np.asarray(values[1:]) + values[:-1]) / 2) / (len(values) - 1))


# What is measured on one explanation


def test_fidelity_on_the_fit_is_the_packages(image):
    model, setting = Places(), Setting(num_samples=300, seed=1)
    expected = LimeImageExplainer(random_state=1).explain_instance(
        image, model, top_labels=1, hide_color=(0, 0, 0), num_features=100_000, num_samples=300
    )
    assert measure(model, lime_explanation(model, image, setting))["r2_fit"] == pytest.approx(
        expected.score, abs=1e-6
    )


@pytest.mark.parametrize("sampling", ["lime", "balanced"])
def test_fidelity_on_fresh_perturbations_is_that_of_the_next_seed(image, sampling):
    model, setting = Places(), Setting(num_samples=300, hide_color=None, sampling=sampling, seed=6)
    found = lime_explanation(model, image, setting)
    other = lime_explanation(model, image, dataclasses.replace(setting, seed=7, num_samples=500))
    # All but the picture itself, which every fit has seen.
    new, answers = other.kept[1:], Places()(found.game.pictures(other.kept[1:]))[:, found.label]
    weights = locality(new, setting) if sampling == "lime" else None
    expected = r2_score(answers, found.intercept + new @ found.weights, sample_weight=weights)
    assert fidelity(found) == pytest.approx(expected, abs=1e-9)
    assert measure(model, found)["r2_fresh"] == fidelity(found)
    few = r2_score(
        answers[:59],
        found.intercept + new[:59] @ found.weights,
        sample_weight=None if weights is None else weights[:59],
    )
    assert fidelity(found, fresh=60) == pytest.approx(few, abs=1e-9)


def test_the_last_seed_has_a_next_one(image):
    assert np.isfinite(
        fidelity(lime_explanation(Places(), image, Setting(num_samples=100, seed=2**32 - 1)))
    )


def test_a_linear_model_is_measured_as_perfectly_explained(image):
    segments = superpixels(image)
    truth = np.random.default_rng(0).normal(size=segments.max() + 1)
    at = [np.argwhere(segments == i)[0] for i in range(len(truth))]

    def linear(images):
        score = sum(t * (images[:, y, x, 0] > 0) for t, (y, x) in zip(truth, at)) / 100 + 0.5
        return np.stack([score, 1 - score], axis=1)

    found = measure(linear, lime_explanation(linear, image, Setting(num_samples=3000), label=0))
    assert found["r2_fresh"] > 0.999 and found["r2_fit"] > 0.999


def test_curves_go_through_the_pixels_superpixel_by_superpixel(image):
    model = Places()
    found = lime_explanation(model, image, Setting(num_samples=300))
    order = np.argsort(-found.saliency.ravel(), kind="stable")
    mean, portions = (
        np.round(image.mean(axis=(0, 1))),
        [len(order) * step // 50 for step in range(51)],
    )
    along = {"deletion_mean": [], "insertion": []}
    for n in portions:
        first = np.isin(np.arange(len(order)), order[:n]).reshape(image.shape[:2])[..., None]
        along["deletion_mean"].append(np.where(first, mean, image))
        along["insertion"].append(np.where(first, image, blurred(image)))
    got = measure(model, found)
    for key, pictures in along.items():
        assert got[key] == pytest.approx(
            area(Places()(np.stack(pictures))[:, found.label]), abs=2e-3
        )


def test_what_is_shown_and_the_object(image, mask):
    found = lime_explanation(Places(), image, Setting(num_samples=300, num_superpixels=4))
    got = measure(Places(), found, mask)
    assert list(got) == SINGLE and set(got) <= set(MEASUREMENTS)
    assert got["shown"] == found.shown.mean() and got["model_calls"] == 300
    assert got["iou"] == (found.shown & mask).sum() / (found.shown | mask).sum()
    assert got["pointing_game"] == mask[found.saliency == found.saliency.max()].mean()
    without = measure(Places(), found)
    assert [key for key, value in without.items() if np.isnan(value)] == ["iou", "pointing_game"]
    assert {key: without[key] for key in without if key not in ("iou", "pointing_game")} == {
        key: got[key] for key in got if key not in ("iou", "pointing_game")
    }
    model = Places()
    with pytest.raises(ValueError, match=r"same shape, got \(64, 80\) and \(3, 3\)"):
        measure(model, found, np.zeros((3, 3), bool))
    assert model.calls == 0


def test_more_perturbations_flatter_less(image):
    gaps = []
    for n in (100, 3000):
        found = [
            measure(Places(), lime_explanation(Places(), image, Setting(num_samples=n, seed=seed)))
            for seed in range(3)
        ]
        gaps.append(np.mean([one["r2_fit"] - one["r2_fresh"] for one in found]))
    assert gaps[0] > gaps[1]


# Work of the tasks


def test_settings_are_measured_as_one_by_one(image, mask):
    settings = {
        "a": Setting(num_samples=250),
        "b": Setting(num_samples=300, hide_color=None, num_superpixels=3),
    }
    rows, arrays = lime.measure_settings(
        Places(),
        image,
        mask,
        [(name, dataclasses.asdict(s)) for name, s in settings.items()],
        5,
        300,
    )
    assert [list(row) for row in rows] == [["setting", "seed", "label", "superpixels", *SINGLE]] * 2
    assert {name: array.dtype for name, array in arrays.items()} == {
        "weights": np.float32,
        "chosen": bool,
    }
    for row, weights, chosen, (name, setting) in zip(
        rows, arrays["weights"], arrays["chosen"], settings.items(), strict=True
    ):
        found = lime_explanation(Places(), image, dataclasses.replace(setting, seed=5))
        about = {"setting": name, "seed": 5, "label": found.label, "superpixels": found.game.n}
        assert row == pytest.approx(about | measure(Places(), found, mask, fresh=300), abs=1e-9)
        np.testing.assert_allclose(weights, found.weights, atol=1e-6)
        np.testing.assert_array_equal(chosen, found.chosen)


def test_the_first_seed_keeps_the_superpixels(image):
    _, arrays = lime.measure_settings(Places(), image, None, [("a", BASE)], 0, 60)
    assert arrays["segments"].dtype == np.uint16
    np.testing.assert_array_equal(arrays["segments"], superpixels(image))


def test_settings_share_their_calls_and_the_estimate_is_about_right(plan, own_cache):
    task = next(task for task in plan if task.table == "lime_runs")
    network = Network(fingerprint="counted")
    lime.measure_settings(network, tiles(4, 4), None, **task.arguments)
    assert task.calls / 2 < network.calls <= task.calls
    calls = network.calls
    lime.measure_settings(network, tiles(4, 4), None, **task.arguments)
    assert network.calls == calls
    # The longest run of either hide colour, fresh perturbations for both, and at most three curves a setting.
    assert calls <= 1 + 350 + 250 + 2 * 60 + 7 * 153


def test_predictions():
    image, network = tiles(4, 4), Network()
    rows, arrays = lime.measure_predictions(network, image, None)
    answers = network(image[None])[0]
    assert arrays == {} and [row["rank"] for row in rows] == [1, 2, 3]
    assert [row["label"] for row in rows] == list(np.argsort(-answers, kind="stable")[:3])
    for row in rows:
        assert (
            row["predicted"] == class_name(row["label"])
            and row["probability"] == answers[row["label"]]
        )


def test_the_grid_on_a_picture(image):
    rows, arrays = lime.measure_grid(
        Places(), image, None, dataclasses.asdict(Setting(num_samples=300)), 500
    )
    table = pd.DataFrame(rows)
    assert arrays == {} and list(table.columns) == ["parameter", "value", "superpixels", *SINGLE]
    assert list(zip(table["parameter"], table["value"])) == list(grid(Setting()))
    table = table.set_index(["parameter", "value"])
    fidelity, shown = table["r2_fresh"]["num_superpixels"], table["shown"]["num_superpixels"]
    # What can be told grows with the superpixels it is told by, until all of them are there.
    assert fidelity["1"] < fidelity["3"] < fidelity["20"] == fidelity["40"]
    assert shown.is_monotonic_increasing
    assert (
        table["r2_fresh"]["kernel_width"].nunique() == 5
        and table["r2_fresh"]["hide_color"].nunique() == 7
    )
    assert (
        table["superpixels"]["superpixel_size"]["8"] < table["superpixels"]["superpixel_size"]["3"]
    )


def test_parameters_that_change_nothing_and_one_that_does(image):
    n = int(superpixels(image).max()) + 1
    changes = [
        ("num_lime_features", [n, 100, 2000]),
        ("top_labels", [2, 3]),
        ("num_lime_features", [n // 2]),
        ("num_superpixels", [3]),
    ]
    rows, arrays = lime.measure_no_effect(
        Places(), image, None, dataclasses.asdict(Setting(num_samples=300)), changes[:2]
    )
    assert arrays == {} and [(row["parameter"], row["value"]) for row in rows] == [
        (p, v) for p, values in changes[:2] for v in values
    ]
    assert all(row["weight_change"] == row["pixels_changed"] == 0 for row in rows)
    fewer, less_shown = lime.measure_no_effect(
        Places(), image, None, dataclasses.asdict(Setting(num_samples=300)), changes[2:]
    )[0]
    assert fewer["weight_change"] > 0
    assert less_shown["weight_change"] == 0 < less_shown["pixels_changed"] <= 1


class Saturating:
    """Sees its class as long as most of the important places are there, as networks do."""

    def __init__(self, image):
        self.segments = superpixels(image)
        self.at = [np.argwhere(self.segments == i)[0] for i in range(self.segments.max() + 1)]
        self.importance = np.random.default_rng(8).dirichlet(np.ones(len(self.at)))

    def __call__(self, images):
        seen = sum(t * (images[:, y, x, 0] > 0) for t, (y, x) in zip(self.importance, self.at))
        probability = 1 / (1 + np.exp(-25 * (seen - 0.85)))
        return np.stack([probability, 1 - probability], axis=1)


def test_balanced_sampling_is_as_stable_with_a_quarter_of_the_samples(tmp_path):
    path = data_folder(tmp_path)["bear"][0]
    network = Saturating(load_image(path))
    network.name, network.input_size = "Saturating", 80
    base = dataclasses.asdict(Setting(num_superpixels=5))
    plan = [
        Task(
            "lime_stability",
            lime.measure_stability,
            "xception",
            path,
            {"base": base, "sizes": [250, 500, 1000], "seed": seed, "fresh": 60},
            0,
        )
        for seed in range(5)
    ]
    table = with_stability(
        measured(plan, {"xception": network}, tmp_path),
        "lime_stability",
        ["sampling", "num_samples"],
    )
    assert list(table.columns) == [
        "network",
        "class",
        "picture",
        "sampling",
        "num_samples",
        "seed",
        "r2_fresh",
        "jaccard",
        "rank_correlation",
        "key",
    ]
    assert savings(table)["ratio"][0] >= 4
    # Nor is it stable about something else: the order is the model's own.
    weights = lime_explanation(
        network, load_image(path), Setting(num_samples=1000, sampling="balanced"), label=0
    ).weights
    assert rank_correlation(weights, network.importance) > 0.95


# The study


@pytest.mark.parametrize("profile", ["quick", "full", "study"])
def test_every_task_is_another_one_and_can_be_written_down(monkeypatch, tmp_path, profile):
    monkeypatch.setenv("LAB_PROFILE", profile)
    plan = tasks(data_folder(tmp_path))
    keys = [task.key(task.network, str(task.picture)) for task in plan]
    assert len(set(keys)) == len(keys) and all(task.calls > 0 for task in plan)
    for task in plan:
        again = task._replace(arguments=json.loads(json.dumps(task.arguments)))
        assert again.key(task.network, str(task.picture)) == task.key(
            task.network, str(task.picture)
        )


def test_every_network_explains_every_picture(results):
    runs = results.table("lime_runs")
    assert list(runs.columns) == [
        "network",
        "class",
        "picture",
        "setting",
        "seed",
        "label",
        "superpixels",
        *SINGLE,
        "key",
    ]
    assert runs.groupby(["network", "class", "picture"], sort=False)["setting"].agg(
        list
    ).to_dict() == {
        (network, kind, picture): list(LAB_SETTINGS)
        for network in ("First", "Second")
        for kind, picture in (("elephant", "first"), ("elephant", "second"), ("bear", "only"))
    }
    assert not runs.isna().any(axis=None)
    for (key, n), rows in runs.groupby(["key", "superpixels"]):
        assert (
            results.array("lime_runs", key, "weights").shape
            == results.array("lime_runs", key, "chosen").shape
            == (len(rows), n)
        )
        size = {"First": 64, "Second": 80}[rows["network"].iloc[0]]
        assert results.array("lime_runs", key, "segments").shape == (size, size)
        assert results.array("lime_runs", key, "segments").max() == n - 1


def test_perturbed_pictures_are_as_the_network_answers_them(plan, results):
    rows = results.table("lime_perturbed")
    key = rows["key"].iloc[0]
    segments, kept = (
        results.array("lime_perturbed", key, "segments"),
        results.array("lime_perturbed", key, "kept"),
    )
    assert kept.shape == (3, segments.max() + 1) and not kept.all(axis=1).any()
    image = load_image(plan[0].picture, 64)
    answers = NETWORKS["xception"](
        np.where(kept[:, segments][..., None], image, 0).astype(np.uint8)
    )
    np.testing.assert_allclose(answers[range(3), rows["label"]], rows["probability"], rtol=1e-5)
    assert rows["probability"].is_monotonic_decreasing


def test_stability_is_the_mean_over_pairs_of_seeds(derived, results):
    table = derived["lime_stability"]
    raw = results.table("lime_stability")
    assert table.drop(columns=["jaccard", "rank_correlation"]).equals(raw)
    for (sampling, n), rows in table.groupby(["sampling", "num_samples"]):
        assert sorted(rows["seed"]) == [0, 1]
        place = list(remedy([60, 120, 240], Setting())).index((sampling, n))
        weights, chosen = (
            [results.array("lime_stability", key, name)[place] for key in rows["key"]]
            for name in ("weights", "chosen")
        )
        np.testing.assert_allclose(rows["rank_correlation"], rank_correlation(*weights))
        np.testing.assert_allclose(rows["jaccard"], jaccard(*chosen))


def test_one_seed_has_no_stability_and_the_derived_table_can_be_derived_again(
    derived, results, tmp_path
):
    runs = derived["lime_runs"]
    assert runs[["jaccard", "rank_correlation"]].isna().all(axis=None)
    assert list(runs.columns)[-3:] == ["jaccard", "rank_correlation", "key"]
    stability = derived["lime_stability"]
    stability.to_csv(tmp_path / "lime_stability.csv", index=False)
    (tmp_path / "lime_stability.npz").write_bytes(
        (results.folder / "lime_stability.npz").read_bytes()
    )
    again = with_stability(type(results)(tmp_path), "lime_stability", ["sampling", "num_samples"])
    pd.testing.assert_frame_equal(again, stability, check_exact=True)


def test_the_derived_tables(derived):
    assert list(derived) == [
        "lime_runs",
        "lime_stability",
        "lime_parameters",
        "lime_effects",
        "lime_recommended",
        "lime_settings",
        "lime_ranking",
        "lime_agreement",
        "lime_variance",
        "lime_distances",
        "lime_savings",
    ]
    assert list(derived["lime_ranking"].columns) == [
        "setting",
        "mean_rank",
        "low",
        "high",
        "chosen",
    ]
    assert set(derived["lime_ranking"]["setting"]) == set(LAB_SETTINGS)
    assert list(derived["lime_agreement"].columns) == [
        "measure",
        "pair",
        "tau",
        "low",
        "high",
        "pairs",
    ]
    assert set(derived["lime_agreement"]["pair"]) == {"same class", "other class", "other network"}
    variance = derived["lime_variance"].set_index("measure")
    assert set(variance.index) <= set(MEASUREMENTS) and "r2_fresh" in variance.index
    np.testing.assert_allclose(variance.sum(axis=1), 1)
    assert derived["lime_savings"]["num_samples"].tolist() == [60, 120, 240]
    assert all("key" not in derived[name] for name in list(derived)[3:])
    effects = derived["lime_effects"]
    assert set(effects["parameter"]) == set(LAB_PARAMETERS)
    assert not effects.query("parameter == 'top_labels'")["effect"].fillna(0).any()
    assert effects.query("measure == 'model_calls' and effect > 0")["parameter"].tolist() == [
        "num_samples"
    ]
    recommended = derived["lime_recommended"]
    assert (
        set(recommended["setting"]) == set(LAB_SETTINGS) and recommended["candidate"].nunique() == 1
    )


def test_the_settings_table_is_the_labs():
    table = settings_table().set_index("setting")
    assert list(table.index) == ["default", "0", "1", "2", "3", "4", "5"]
    assert table["num_samples"].tolist() == ["5000", "2000", "5000", "3000", "3000", "7000", "3000"]
    assert table["num_lime_features"].tolist() == [
        "100000",
        "500",
        "2000",
        "100",
        "100",
        "1000",
        "500",
    ]
    assert table["num_superpixels"].tolist() == ["15", "8", "15", "10", "10", "10", "25"]
    assert table["hide_color"].tolist() == ["(0, 0, 0)"] * 2 + ["None"] * 2 + ["(0, 0, 0)"] * 2 + [
        "None"
    ]
    assert set(
        zip(table["top_labels"], table["positive_only"], table["negative_only"], table["hide_rest"])
    ) == {("1", "True", "False", "True")}
