import numpy as np
import pandas as pd
import pytest
from cheap import NETWORKS, Network, measured, tiles
from lab.study.evaluation import CALLING, COMPARED, with_sanity

from lab.measure import axioms
from lab.measure.agreement import rank_correlation
from lab.measure.curves import gains
from lab.measure.maps import measure_map
from lab.methods.coalitions import attribute
from lab.methods.masked_model import MaskedModel, blurred, superpixels
from lab.methods.registry import explain
from lab.networks.classes import class_name
from lab.study import evaluation as study
from lab.study.results import small

MEASURED = ["deletion_black", "deletion_mean", "insertion", "faithfulness"]
MEASURED += ["iou_mask", "iou_box", "pointing_game"]
WHERE = ["network", "class", "picture"]
IMAGE = tiles(4, 4)
MASK = np.zeros((64, 64), bool)
MASK[10:40, :30] = True
MASK[10, :2] = False


@pytest.fixture(scope="module")
def results(plan, tmp_path_factory):
    """What the quick profile measures, with fewer digits and coalitions."""
    cheaper = []
    for task in plan:
        if task.table == "evaluation_roar":
            if task.arguments["method"] == "shap":  # as slow as all the others together
                continue
            task = task._replace(arguments=task.arguments | {"count": 100, "n_samples": 66})
        cheaper.append(task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(axioms, "SAMPLES", 2**10)
        return measured(cheaper, NETWORKS, tmp_path_factory.mktemp("results"))


# Tasks


def test_gains_of_methods():
    methods = ["lime", "occlusion", "random"]
    rows, arrays = study.gains_task(Network(), IMAGE, MASK, 101, methods, 120, 3, maps=True)
    assert study.gains_task(Network(), IMAGE, MASK, 101, ["centre"], 1, 3)[1] == {}
    assert [row["method"] for row in rows] == methods
    for row, kept in zip(rows, arrays["maps"]):
        saliency = explain(row["method"], Network(), IMAGE, 101, 120, 3)
        np.testing.assert_array_equal(kept, saliency)
        expected = measure_map(Network(), IMAGE, 101, saliency, MASK)[0]
        expected |= gains(Network(), IMAGE, 101, saliency)
        assert {key: row[key] for key in expected} == pytest.approx(expected)
        assert (row["label"], row["predicted"], row["calls"]) == (101, "tusker", 120)
        assert row["seconds"] >= 0
        assert row["probability"] == pytest.approx(Network()(IMAGE[None])[0, 101])


def test_maps_explain_the_predicted_class_and_save_no_time():
    methods = ["occlusion", "centre"]
    rows, arrays = study.maps_task(Network(), IMAGE, MASK, methods, 100)
    top = int(Network()(IMAGE[None])[0].argmax())
    again, _ = study.gains_task(Network(), IMAGE, MASK, None, methods, 100, 0)
    for row, timed, saved, curves in zip(rows, again, arrays["maps"], arrays["curves"]):
        assert (row["label"], row["predicted"]) == (top, class_name(top)) and "seconds" not in row
        assert row.items() <= timed.items()
        saliency = explain(row["method"], Network(), IMAGE, top, 100)
        np.testing.assert_array_equal(saved, small(saliency))
        expected = measure_map(Network(), IMAGE, top, saliency)[1]
        np.testing.assert_allclose(curves, list(expected.values()), rtol=1e-6)


def test_sanity_explains_each_random_network_with_all_methods():
    network, methods = Network(), ["occlusion", "rise"]
    rows, arrays = study.sanity_task(network, IMAGE, None, methods, 101, [2, 8])
    label = network.top(IMAGE, 1)[0][0]
    pairs = [(row["method"], row["layers"]) for row in rows]
    assert pairs == [(method, layers) for method in methods for layers in (2, 8)]
    for row in rows:
        intact, random = (
            explain(row["method"], one, IMAGE, label, 101)
            for one in (Network(), Network().randomized(row["layers"]))
        )
        agreement = rank_correlation(intact.ravel(), random.ravel())
        assert row["rank_correlation"] == pytest.approx(agreement)
    rows, _ = study.sanity_task(network, IMAGE, None, ["centre"], 10, None)
    assert [row["layers"] for row in rows] == [1, 2, 4, 8]


def test_a_budget_too_small_for_the_superpixels_is_raised():
    n = int(superpixels(IMAGE).max()) + 1
    few, enough = (
        study.sanity_task(Network(cached=True), IMAGE, None, ["shap"], budget, [2])[0]
        for budget in (10, 4 * n + 2)
    )
    assert few == enough


def test_regions_that_only_one_method_finds():
    network = Network()
    rows, arrays = study.differ_task(network, IMAGE, None, ["lime", "rise"], 200)
    first, second = arrays["regions"]
    assert not (first & second).any() and first.sum() == second.sum() > 0
    fills = {"black": np.zeros_like(IMAGE), "blurred": blurred(IMAGE)}
    label = network.top(IMAGE, 1)[0][0]
    assert [(row["fill"], row["method"]) for row in rows] == [
        (fill, method) for fill in fills for method in ("lime", "rise")
    ]
    for row in rows:
        region = {"lime": first, "rise": second}[row["method"]][..., None]
        np.testing.assert_array_equal(arrays["regions"][row["place"]], region[..., 0])
        ground = fills[row["fill"]]
        images = np.stack([np.where(region, ground, IMAGE), np.where(region, IMAGE, ground)])
        without, alone = network(images)[:, label]
        assert (row["without"], row["alone"]) == pytest.approx((without, alone))
        assert row["share"] == region.mean()


def test_shapley():
    image, network, n = tiles(2, 4).repeat(2, axis=0), Network(), 8
    label = network.top(image, 1)[0][0]
    network.calls = 0
    table = pd.DataFrame(study.shapley_task(network, image, None, 8, 2)[0])
    assert network.calls == 1 + 2**n  # each coalition once
    assert set(table["superpixels"]) == {n} and set(table["seeds"]) == {2}
    budgets = [64, 128, 256]
    assert table.groupby("method", sort=False)["calls"].agg(list).to_dict() == dict.fromkeys(
        ("shap", "lime", "rise"), budgets
    )
    table = table.set_index(["method", "calls"])
    exact = table.loc["shap", 2**n]
    assert exact["rank_correlation"] == pytest.approx(1) and exact["largest_difference"] < 1e-4
    value = MaskedModel(network, image, superpixels(image), None, [label]).value
    truth = attribute("shapley", value, n)
    by_lime = np.array([attribute("lime", value, n, budgets[0], seed) for seed in (0, 1)])
    row = table.loc["lime", budgets[0]]
    agreement = np.mean([rank_correlation(one, truth) for one in by_lime])
    assert row["rank_correlation"] == pytest.approx(agreement)
    difference = np.abs(by_lime - truth).max() / np.ptp(truth)
    assert row["largest_difference"] == pytest.approx(difference, rel=1e-4)


# The study


def test_what_is_measured_of_every_image(results):
    runs = results.table("evaluation_runs")
    for key, rows in runs.groupby("key"):
        assert rows["method"].tolist() == list(COMPARED)
        assert results.array("evaluation_runs", key, "maps").shape == (8, 112, 112)
        assert results.array("evaluation_runs", key, "curves").shape == (8, 3, 2, 51)
    assert not runs.drop(columns="faithfulness").isna().any(axis=None)
    assert set(results.table("evaluation_sanity")["method"]) == set(CALLING)
    assert results.table("evaluation_axioms")["method"].tolist() == list(axioms.AXIOM_METHODS)


class Tables(dict):
    table = dict.__getitem__


def test_sanity_joins_the_table_of_maps():
    one, two = ("N", "elephant", "p"), ("N", "bear", "q")
    runs = [(*one, "lime"), (*one, "rise"), (*one, "edges"), (*two, "lime"), (*two, "edges")]
    runs = pd.DataFrame(runs, columns=[*WHERE, "method"])
    checked = [("lime", 1, np.nan), ("lime", 2, -0.5), ("lime", 4, 0.1), ("rise", 1, 0.3)]
    columns = [*WHERE, "method", "layers", "rank_correlation"]
    checked = pd.DataFrame([(*one, *row) for row in checked], columns=columns)
    table = with_sanity(Tables(evaluation_runs=runs, evaluation_sanity=checked))
    # A constant map agrees with none, a baseline with all; the bear was not checked.
    assert table["method"].equals(runs["method"])
    np.testing.assert_allclose(table["sanity"], [0.2, 0.3, 1, np.nan, np.nan])


def test_the_derived_tables_have_all_measurements(results):
    for table in study.derive(results).values():
        assert set(table["metric"]) == {*MEASURED, "sanity"}
