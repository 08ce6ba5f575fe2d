import json

import numpy as np
import pandas as pd
import pytest

from cheap import Network, data_folder, measured, tiles
from lab.explain.masked_model import MaskedModel, blurred, mean_colour, superpixels
from lab.explain.methods import PACKAGE, attribute, explain
from lab.explain.names import BASELINES, COMPARED
from lab.measure import axioms
from lab.measure.agreement import rank_correlation
from lab.measure.curves import auc, curves
from lab.measure.measurements import MEASUREMENTS
from lab.measure.overlap import bounding_box, iou_over_thresholds, pointing_game
from lab.networks import asking
from lab.networks.asking import Asked
from lab.networks.classes import class_name
from lab.study import evaluation, lime, rise
from lab.study.evaluation import derive, measure, tasks, with_sanity
from lab.study.results import small

NETWORKS = {"xception": Network("First", 64, seed=0), "resnet50": Network("Second", 80, seed=1)}
MEASURED = [
    "deletion_black",
    "deletion_mean",
    "insertion",
    "faithfulness",
    "iou_mask",
    "iou_mask_best",
    "iou_box",
    "iou_box_best",
    "pointing_game",
]
WHERE = ["network", "class", "picture"]
ASKING = [method for method in COMPARED if method not in BASELINES]
IMAGE = tiles(4, 4)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(asking, "_on_disk", asking._open(tmp_path / "cache"))


@pytest.fixture(scope="module")
def mask():
    mask = np.zeros((64, 64), bool)
    mask[10:40, :30] = True
    mask[10, :2] = False
    return mask


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return tasks(data_folder(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def results(plan, tmp_path_factory):
    """What the quick profile measures, of fewer digits and coalitions, on two cheap networks, and read from files."""
    cheaper = []
    for task in plan:
        if task.table == "evaluation_roar":
            if (
                task.arguments["method"] == "shap"
            ):  # as slow on few digits as all the others together
                continue
            task = task._replace(arguments=task.arguments | {"count": 100, "n_samples": 66})
        cheaper.append(task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(axioms, "SAMPLES", 2**10)
        return measured(cheaper, NETWORKS, tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def derived(results):
    return derive(results)


# What is measured on a map


def test_a_map_is_measured_by_the_measurements(mask):
    saliency = np.random.default_rng(0).normal(size=(64, 64)).cumsum(axis=0)
    network = Network()
    got, along = measure(network, IMAGE, 386, saliency, mask)
    expected = curves(Network(), IMAGE, 386, saliency, blurred(IMAGE))
    assert list(got) == MEASURED and set(got) <= set(MEASUREMENTS) and list(along) == MEASURED[:3]
    for name, curve in expected.items():
        np.testing.assert_allclose(along[name], curve, rtol=1e-6)
        assert got[name] == pytest.approx(auc(*curve))
    for name, truth in (("iou_mask", mask), ("iou_box", bounding_box(mask))):
        assert got[name] == iou_over_thresholds(saliency, truth).mean()
        assert got[f"{name}_best"] == iou_over_thresholds(saliency, truth).max()
    assert got["iou_mask"] != got["iou_box"] and got["pointing_game"] == pointing_game(
        saliency, mask
    )
    # Each superpixel alone shows the picture's mean colour.
    segments, pictures = superpixels(IMAGE), [IMAGE]
    for superpixel in range(segments.max() + 1):
        pictures.append(np.where((segments == superpixel)[..., None], mean_colour(IMAGE), IMAGE))
    answers = Network()(np.stack(pictures))[:, 386].astype(float)
    means = [saliency[segments == superpixel].mean() for superpixel in range(segments.max() + 1)]
    assert got["faithfulness"] == pytest.approx(
        np.corrcoef(answers[0] - answers[1:], means)[0, 1], abs=1e-6
    )
    assert network.calls == 3 * 51 + 1 + segments.max() + 1


def test_without_a_mask_nothing_is_said_of_the_object():
    got, _ = measure(Network(), IMAGE, 386, np.random.default_rng(0).normal(size=(64, 64)))
    assert [key for key, value in got.items() if np.isnan(value)] == MEASURED[4:]


def test_a_superpixels_own_weight_on_each_of_its_pixels_is_faithful():
    segments, whole = superpixels(IMAGE), Network()(IMAGE[None])[0, 386]
    drops = []
    for superpixel in range(segments.max() + 1):
        changed = np.where((segments == superpixel)[..., None], mean_colour(IMAGE), IMAGE)
        drops.append(whole - Network()(changed[None])[0, 386])
    assert measure(Network(), IMAGE, 386, np.array(drops)[segments] + 3)[0][
        "faithfulness"
    ] == pytest.approx(1, abs=1e-4)
    assert np.isnan(measure(Network(), IMAGE, 386, np.ones((64, 64)))[0]["faithfulness"])


def test_maps_share_calls_where_they_ask_the_same():
    network, saliency, n = (
        Network(fingerprint="counted"),
        np.random.default_rng(2).normal(size=(64, 64)),
        superpixels(IMAGE).max() + 1,
    )
    first, _ = measure(network, IMAGE, 386, saliency)
    assert network.calls == 3 * 51 + n + 1
    assert (
        measure(network, IMAGE, 386, 2 * saliency)[0]["insertion"] == first["insertion"]
    )  # the same order
    assert network.calls == 3 * 51 + n + 1
    measure(network, IMAGE, 386, -saliency)
    assert network.calls == 6 * 51 + n + 1
    assert measure(network, IMAGE, 101, saliency)[0]["insertion"] != first["insertion"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image": np.zeros((64, 64, 3))}, "image must be .* uint8, got .* float64"),
        ({"saliency": np.zeros((64, 63))}, r"of the same size, got \(64, 64, 3\) and \(64, 63\)"),
        ({"saliency": np.full((64, 64), np.nan)}, "saliency must be finite"),
        ({"mask": np.zeros((64, 63), bool)}, r"same shape, got \(64, 64\) and \(64, 63\)"),
    ],
)
def test_bad_input_costs_no_call(change, message):
    network = Network()
    with pytest.raises(ValueError, match=message):
        measure(
            **{
                "black_box": network,
                "image": IMAGE,
                "label": 386,
                "saliency": np.zeros((64, 64)),
                "mask": None,
            }
            | change
        )
    assert network.calls == 0


@pytest.mark.parametrize("label", [1000, -1])
def test_a_class_that_is_not_there_is_named(label):
    with pytest.raises(ValueError, match=f"from 0 to 999, got {label}"):
        measure(Network(), IMAGE, label, np.zeros((64, 64)))


# Work of the tasks


def test_methods(mask):
    methods = ["lime", "occlusion", "random"]
    rows, arrays = evaluation.measure_methods(Network(), IMAGE, mask, 101, methods, 120, 3)
    assert [list(row) for row in rows] == [
        ["method", "label", "predicted", "probability", "calls", *MEASURED, "seconds"]
    ] * 3
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == {
        "maps": ((3, 112, 112), np.float16),
        "curves": ((3, 3, 2, 51), np.float32),
    }
    for row, saliency, along in zip(rows, arrays["maps"], arrays["curves"], strict=True):
        expected = explain(row["method"], Network(), IMAGE, 101, 120, 3)
        np.testing.assert_array_equal(saliency, small(expected))
        measured_again, curve = measure(Network(), IMAGE, 101, expected, mask)
        assert {key: row[key] for key in MEASURED} == pytest.approx(measured_again)
        np.testing.assert_allclose(along, list(curve.values()), rtol=1e-6)
        assert (
            row["label"] == 101
            and row["predicted"] == "tusker"
            and row["calls"] == 120
            and row["seconds"] >= 0
        )
        assert row["probability"] == pytest.approx(Network()(IMAGE[None])[0, 101])


def test_by_default_the_predicted_class_is_explained_and_no_time_is_kept():
    top = int(Network()(IMAGE[None])[0].argmax())
    rows, arrays = evaluation.measure_maps(Network(), IMAGE, None, ["centre"], 100)
    assert (
        rows[0]["label"] == top
        and rows[0]["predicted"] == class_name(top)
        and "seconds" not in rows[0]
    )
    again, same = evaluation.measure_methods(Network(), IMAGE, None, top, ["centre"], 100, 0)
    np.testing.assert_equal(
        rows[0], {name: value for name, value in again[0].items() if name != "seconds"}
    )
    np.testing.assert_array_equal(arrays["maps"], same["maps"])


def test_sanity_compares_with_random_networks():
    network = Network()
    rows, arrays = evaluation.measure_sanity(network, IMAGE, None, "occlusion", 101, [2, 8])
    label = network.top(IMAGE, 1)[0][0]
    intact, *random = (
        explain("occlusion", one, IMAGE, label, 101)
        for one in (network, network.randomized(2), network.randomized(8))
    )
    assert (
        arrays == {}
        and [list(row) for row in rows] == [["method", "layers", "rank_correlation", "ssim"]] * 2
    )
    for row, layers, saliency in zip(rows, (2, 8), random):
        assert row["method"] == "occlusion" and row["layers"] == layers
        assert row["rank_correlation"] == pytest.approx(
            rank_correlation(intact.ravel(), saliency.ravel())
        )
    assert [
        row["layers"]
        for row in evaluation.measure_sanity(network, IMAGE, None, "centre", 10, None)[0]
    ] == [1, 2, 4, 8]


@pytest.mark.parametrize("rows, columns, n", [(2, 4, 8), (2, 2, 4)])
def test_shapley(rows, columns, n):
    image, network = tiles(rows, columns, 64 // columns).repeat(columns // rows, axis=0), Network()
    label = network.top(image, 1)[0][0]
    network.calls = 0
    table = pd.DataFrame(evaluation.measure_shapley(network, image, None, 8, 2)[0])
    assert network.calls == 1 + 2**n  # each coalition once
    assert list(table.columns) == [
        "superpixels",
        "method",
        "calls",
        "seeds",
        "rank_correlation",
        "largest_difference",
    ]
    assert set(table["superpixels"]) == {n} and set(table["seeds"]) == {2}
    budgets = [budget for budget in (64, 128, 256) if budget <= 2**n] or [2**n]
    assert table.groupby("method", sort=False)["calls"].agg(list).to_dict() == dict.fromkeys(
        ("shap", "lime", "rise"), budgets
    )
    exact = table[(table["method"] == "shap") & (table["calls"] == 2**n)]
    assert (
        exact["rank_correlation"].iloc[0] == pytest.approx(1)
        and exact["largest_difference"].iloc[0] < 1e-4
    )
    game = MaskedModel(Asked(network, [label]), image, superpixels(image), PACKAGE.hide_color)
    truth = attribute("shapley", game.value, n)
    by_lime = [attribute("lime", game.value, n, budgets[0], seed) for seed in (0, 1)]
    row = table[(table["method"] == "lime") & (table["calls"] == budgets[0])].iloc[0]
    assert row["rank_correlation"] == pytest.approx(
        np.mean([rank_correlation(one, truth) for one in by_lime])
    )
    assert row["largest_difference"] == pytest.approx(
        np.abs(np.array(by_lime) - truth).max() / np.ptp(truth), rel=1e-4
    )


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
        assert (task.network is None) == (task.picture is None)


def test_the_quick_profile_takes_minutes_not_hours(tmp_path):
    pictures = data_folder(tmp_path)
    assert (
        sum(task.calls for study in (lime, rise, evaluation) for task in study.tasks(pictures))
        < 60_000
    )


def test_estimated_calls_are_about_those_made(plan):
    for table in ("evaluation_runs", "evaluation_shapley"):
        task, network = (
            next(task for task in plan if task.table == table),
            Network("One", 64, fingerprint=table),
        )
        task.work(network, tiles(2, 4, 16).repeat(2, axis=0), None, **task.arguments)
        assert task.calls / 2 <= network.calls <= 2 * task.calls


def test_every_network_and_picture_is_explained_by_every_method(results):
    runs = results.table("evaluation_runs")
    assert list(runs.columns) == [
        *WHERE,
        "method",
        "label",
        "predicted",
        "probability",
        "calls",
        *MEASURED,
        "key",
    ]
    assert runs.groupby(WHERE, sort=False)["method"].agg(list).to_dict() == {
        (network, kind, picture): list(COMPARED)
        for network in ("First", "Second")
        for kind, picture in (("elephant", "first"), ("elephant", "second"), ("bear", "only"))
    }
    for key in set(runs["key"]):
        assert results.array("evaluation_runs", key, "maps").shape == (8, 112, 112)
        assert results.array("evaluation_runs", key, "curves").shape == (8, 3, 2, 51)
    assert not runs.drop(columns="faithfulness").isna().any(axis=None)


def test_other_tables_have_their_columns(results):
    for table, columns in {
        "evaluation_sanity": [*WHERE, "method", "layers", "rank_correlation", "ssim", "key"],
        "evaluation_shapley": [
            *WHERE,
            "superpixels",
            "method",
            "calls",
            "seeds",
            "rank_correlation",
            "largest_difference",
            "key",
        ],
        "evaluation_roar": ["method", "share", "seed", "accuracy", "drawn", "trace", "key"],
        "evaluation_axioms": ["method", *axioms.AXIOMS, "key"],
    }.items():
        assert list(results.table(table).columns) == columns, table
    assert set(results.table("evaluation_sanity")["method"]) == set(ASKING)
    assert results.table("evaluation_axioms")["method"].tolist() == list(axioms.METHODS)


def test_sanity_joins_the_table_of_maps(results):
    table, checked = with_sanity(results), results.table("evaluation_sanity")
    pd.testing.assert_frame_equal(
        table.drop(columns="sanity"), results.table("evaluation_runs"), check_exact=True
    )
    for row in table.itertuples():
        there = checked[(checked["network"] == row.network) & (checked["picture"] == row.picture)]
        if there.empty:
            assert np.isnan(row.sanity)
        elif row.method in BASELINES:
            assert row.sanity == 1
        else:
            assert row.sanity == pytest.approx(
                there.loc[there["method"] == row.method, "rank_correlation"].abs().mean()
            )


class Tables(dict):
    table = dict.__getitem__


def test_a_map_without_a_pattern_has_nothing_in_common_with_another():
    runs = pd.DataFrame(
        [("N", "elephant", "p", method) for method in ("lime", "edges")], columns=[*WHERE, "method"]
    )
    checked = pd.DataFrame(
        [
            ("N", "elephant", "p", "lime", layers, value)
            for layers, value in ((1, np.nan), (2, -0.5), (4, 0.1))
        ],
        columns=[*WHERE, "method", "layers", "rank_correlation"],
    )
    table = with_sanity(Tables(evaluation_runs=runs, evaluation_sanity=checked))
    assert table.set_index("method")["sanity"].to_dict() == {"lime": pytest.approx(0.2), "edges": 1}


def test_the_derived_tables(derived):
    assert {
        name: list(table.columns)
        for name, table in derived.items()
        if name != "evaluation_disagreement"
    } == {
        "evaluation_summary": ["network", "method", "metric", "mean", "low", "high", "pictures"],
        "evaluation_ranks": ["metric", "method", "mean_rank", "low", "high", "pictures"],
    }
    metrics = [key for key in MEASUREMENTS if key in (*MEASURED, "sanity")]
    assert derived["evaluation_disagreement"]["metric"].tolist() == metrics
    assert list(derived["evaluation_disagreement"].columns) == ["metric", *metrics]
    assert set(derived["evaluation_ranks"]["metric"]) == set(metrics)


def test_the_summary_is_of_means_over_pictures(derived, results):
    runs = results.table("evaluation_runs")
    for row in derived["evaluation_summary"].query("metric == 'insertion'").itertuples():
        of = runs[(runs["network"] == row.network) & (runs["method"] == row.method)]
        assert (
            row.mean == pytest.approx(of["insertion"].mean())
            and row.pictures == 3
            and row.low <= row.mean <= row.high
        )
