"""Are the committed results what the code still measures? A few rows of every table, measured anew without what is kept.

A changed comment, name or colour passes; a changed picture, setting, count, weight file or library does not. Rows of a
network that this machine cannot load, as of a student's Xception here, are left out.
"""

import numpy as np
import pandas as pd
import pytest

from lab.explain.masked_model import MaskedModel
from lab.files import ROOT
from lab.networks import asking
from lab.networks.loading import load_or_stand_in
from lab.images import list_images, load_image, load_mask
from lab.study import evaluation, lime, rise, verdict
from lab.study.task import picture_digest
from lab.study.results import Results, small
from lab.study.settings import NETWORKS, counts

STUDIES = {"lime": lime, "rise": rise, "evaluation": evaluation, "verdict": verdict}
NEAR = {
    "rtol": 0.02,
    "atol": 0.02,
}  # other processors round differently, and a superpixel may change places with its equal


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "_on_disk", asking._open(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def results():
    return Results(ROOT / "report" / "results")


@pytest.fixture(scope="module")
def networks(results):
    """The networks of the results, as far as this machine has them: by what they were asked for as."""
    recorded = results.table("lime_provenance").set_index("name")["value"]
    loaded = {name: load_or_stand_in(name) for name in NETWORKS}
    same = {
        name: network
        for number, (name, network) in enumerate(loaded.items(), 1)
        if network.fingerprint == recorded[f"network_{number}_weights"]
    }
    if not same:
        pytest.skip("the results are about networks that this machine cannot load")
    return same


@pytest.fixture(scope="module")
def plan(results):
    """All tasks of the profile that the results were measured under, by table."""
    recorded = results.table("lime_provenance").set_index("name")["value"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_PROFILE", recorded["profile"])
        few = {"African_elephant": counts().elephants, "black_bear": counts().bears}
        pictures = {kind: list_images(kind)[:n] for kind, n in few.items()}
        tasks = [task for study in STUDIES.values() for task in study.tasks(pictures)]
    return {
        table: [task for task in tasks if task.table == table]
        for table in dict.fromkeys(task.table for task in tasks)
    }


def committed(results, networks, task):
    """The rows and the key of a task."""
    network = networks.get(task.network)
    key = task.key(network and network.fingerprint, task.picture and picture_digest(task.picture))
    rows = results.table(task.table)
    return rows[rows["key"] == key].reset_index(drop=True), key


def inputs(networks, task):
    network = networks[task.network]
    return (
        network,
        load_image(task.picture, network.input_size),
        load_mask(task.picture, network.input_size),
    )


def first(plan, networks, table, last=False):
    """A task that this machine can do."""
    some = [task for task in plan[table] if task.network is None or task.network in networks]
    if not some:
        pytest.skip("this machine has not the network that was asked")
    return some[-1 if last else 0]


def assert_same(got, expected, columns):
    got = pd.DataFrame(got)
    for column in columns:
        np.testing.assert_allclose(
            got[column].astype(float), expected[column].astype(float), **NEAR, err_msg=column
        )


def test_every_task_of_the_plan_is_measured(results, networks, plan):
    for table, tasks in plan.items():
        measured = set(results.table(table)["key"])
        for task in tasks:
            if task.network is None or task.network in networks:
                _, key = committed(results, networks, task)
                assert key in measured, (
                    f"{table} of {task.picture} and {task.network} is not in report/results: make study measures it"
                )
        assert len(measured) == len(tasks), (
            f"{table} holds rows of other tasks than those of the plan"
        )


@pytest.mark.parametrize("study", STUDIES)
def test_derived_tables_follow_from_the_measured_ones(results, study):
    for name, table in STUDIES[study].derive(results).items():
        written = results.table(name)
        assert list(written.columns) == [str(column) for column in table.columns], name
        for column in written:
            if pd.api.types.is_numeric_dtype(table[column]) and not pd.api.types.is_bool_dtype(
                table[column]
            ):
                np.testing.assert_allclose(
                    written[column].astype(float),
                    table[column].astype(float),
                    rtol=1e-9,
                    atol=1e-12,
                    err_msg=f"{name}: {column}",
                )
            else:
                assert (
                    written[column].fillna("").astype(str).tolist()
                    == table[column].fillna("").astype(str).tolist()
                ), f"{name}: {column}"


def test_predictions(results, networks, plan):
    for task in (task for task in plan["predictions"] if task.network in networks):
        rows, _ = committed(results, networks, task)
        got, _ = task.work(*inputs(networks, task))
        assert [row["label"] for row in got] == rows["label"].tolist()
        assert_same(got, rows, ["probability"])


def test_a_setting_of_lime(results, networks, plan):
    task = first(plan, networks, "lime_runs", last=True)
    cheap = min(task.arguments["settings"], key=lambda named: named[1]["num_samples"])
    rows, key = committed(results, networks, task)
    place = [name for name, _ in task.arguments["settings"]].index(cheap[0])
    got, arrays = task.work(*inputs(networks, task), **task.arguments | {"settings": [cheap]})
    assert_same(
        got,
        rows.iloc[[place]],
        [
            "label",
            "superpixels",
            "r2_fit",
            "r2_fresh",
            "deletion_mean",
            "insertion",
            "iou",
            "pointing_game",
            "shown",
        ],
    )
    np.testing.assert_allclose(
        arrays["weights"][0], results.array("lime_runs", key, "weights")[place], atol=1e-3
    )


def test_parameters_around_a_setting(results, networks, plan, monkeypatch):
    task = first(plan, networks, "lime_grid")
    rows, _ = committed(results, networks, task)
    some = [("num_superpixels", "5"), ("kernel_width", "0.1")]
    whole = lime.grid
    monkeypatch.setattr(lime, "grid", lambda base: {name: whole(base)[name] for name in some})
    got, _ = task.work(*inputs(networks, task), **task.arguments)
    expected = pd.concat(
        rows[(rows["parameter"] == parameter) & (rows["value"] == value)]
        for parameter, value in some
    )
    assert_same(got, expected, ["r2_fit", "r2_fresh", "deletion_mean", "insertion", "iou", "shown"])


def test_stability(results, networks, plan):
    task = first(plan, networks, "lime_stability")
    rows, key = committed(results, networks, task)
    few = task.arguments["sizes"][:1]
    got, arrays = task.work(*inputs(networks, task), **task.arguments | {"sizes": few})
    places = rows.index[rows["num_samples"] == few[0]]
    assert_same(got, rows.loc[places], ["num_samples", "r2_fresh"])
    np.testing.assert_allclose(
        arrays["weights"], results.array("lime_stability", key, "weights")[places], atol=1e-3
    )


def test_what_hides_changes_something_and_the_rest_nothing(results, networks, plan):
    task = first(plan, networks, "lime_no_effect")
    rows, _ = committed(results, networks, task)
    small_base = task.arguments["base"] | {"num_samples": 100, "num_superpixels": 10}
    got, _ = task.work(*inputs(networks, task), **task.arguments | {"base": small_base})
    assert [(row["parameter"], row["value"]) for row in got] == list(
        zip(rows["parameter"], rows["value"].astype(int))
    )
    np.testing.assert_allclose(
        [row["weight_change"] for row in got], rows["weight_change"], atol=1e-9
    )


def test_perturbed_pictures(results, networks, plan):
    task = first(plan, networks, "lime_perturbed")
    rows, key = committed(results, networks, task)
    network, image, _ = inputs(networks, task)
    label = int(rows["label"].iloc[0])
    game = MaskedModel(
        asking.Asked(network, [label]),
        image,
        results.array("lime_perturbed", key, "segments").astype(int),
        (0, 0, 0),
    )
    np.testing.assert_allclose(
        game.value(results.array("lime_perturbed", key, "kept")), rows["probability"], atol=1e-3
    )


def test_maps_of_rise(results, networks, plan):
    for task in [
        task
        for task in plan["rise_runs"]
        if task.arguments["masks"] <= 32 and task.network in networks
    ]:
        rows, key = committed(results, networks, task)
        got, arrays = task.work(*inputs(networks, task), **task.arguments)
        assert_same(got, rows, ["label", "contrast", "pointing_game", "halves"])
        np.testing.assert_allclose(
            arrays["maps"], results.array("rise_runs", key, "maps"), rtol=0.01, atol=1e-4
        )


def test_scores_of_masked_pictures(results, networks, plan):
    task = first(plan, networks, "rise_steps")
    rows, _ = committed(results, networks, task)
    got, _ = task.work(*inputs(networks, task), **task.arguments)
    np.testing.assert_allclose([row["score"] for row in got], rows["score"], rtol=0.01, atol=1e-5)


def test_estimators_and_stopping(results, networks, plan):
    task = first(plan, networks, "rise_estimators")
    rows, key = committed(results, networks, task)
    network, image, _ = inputs(networks, task)
    fewest = rows["calls"].min()
    for place in rows.index[rows["calls"] == fewest]:
        found = rise.estimate(
            network,
            image,
            [task.arguments["label"]],
            nb_samples=int(fewest),
            estimator=rows["estimator"][place],
        )
        np.testing.assert_allclose(
            small(found.saliency[0]),
            results.array("rise_estimators", key, "maps")[place],
            rtol=0.02,
            atol=1e-3,
        )
    task = first(plan, networks, "rise_stopping")
    rows, _ = committed(results, networks, task)
    found = rise.estimate(
        network,
        image,
        [task.arguments["label"]],
        nb_samples=task.arguments["most"],
        tolerance=rows["tolerance"].max(),
    )
    assert found.calls == rows["calls"].min()


def test_methods(results, networks, plan):
    task = first(plan, networks, "evaluation_runs", last=True)
    rows, key = committed(results, networks, task)
    some = ["occlusion", "edges"]
    got, arrays = task.work(*inputs(networks, task), **task.arguments | {"methods": some})
    expected = rows.set_index("method").loc[some].reset_index()
    numbers = [column for column in got[0] if isinstance(got[0][column], float)]
    assert_same(got, expected, numbers)
    places = [task.arguments["methods"].index(method) for method in some]
    np.testing.assert_allclose(
        arrays["maps"], results.array("evaluation_runs", key, "maps")[places], rtol=0.02, atol=2e-3
    )


def test_sanity(results, networks, plan):
    task = [
        task
        for task in plan["evaluation_sanity"]
        if task.arguments["method"] == "occlusion" and task.network in networks
    ][-1]
    rows, _ = committed(results, networks, task)
    got, _ = task.work(*inputs(networks, task), **task.arguments | {"layers": [1]})
    assert_same(got, rows[rows["layers"] == 1], ["rank_correlation", "ssim"])


def test_shapley(results, networks, plan):
    task = first(plan, networks, "evaluation_shapley")
    rows, _ = committed(results, networks, task)
    got, _ = task.work(*inputs(networks, task), **task.arguments)
    assert_same(got, rows, ["superpixels", "calls", "rank_correlation", "largest_difference"])


def test_retraining(results, plan):
    task = next(task for task in plan["evaluation_roar"] if task.arguments["method"] == "centre")
    rows, _ = committed(results, {}, task)
    got, _ = task.work(None, None, None, **task.arguments)
    assert_same(got, rows, ["share", "seed", "accuracy", "drawn"])


def test_axioms(results, plan):
    [task] = plan["evaluation_axioms"]
    rows, _ = committed(results, {}, task)
    got, _ = task.work(None, None, None, **task.arguments)
    assert [row["method"] for row in got] == rows["method"].tolist()
    assert_same(got, rows, ["completeness", "symmetry", "dummy", "linearity"])


def test_the_verdict(results, networks, plan):
    task = first(plan, networks, "verdict_runs", last=True)
    rows, _ = committed(results, networks, task)
    got, _ = task.work(
        *inputs(networks, task), **task.arguments | {"methods": ["occlusion_blurred", "centre"]}
    )
    expected = rows.set_index("method").loc[["occlusion_blurred", "centre"]].reset_index()
    assert_same(got, expected, [column for column in got[0] if isinstance(got[0][column], float)])


def test_regions_alone(results, networks, plan):
    task = first(plan, networks, "verdict_alone")
    rows, key = committed(results, networks, task)
    some = ["occlusion", "edges"]
    got, arrays = task.work(*inputs(networks, task), **task.arguments | {"methods": some})
    assert_same(
        got,
        rows.set_index("region").loc[[*some, "object"]].reset_index(),
        ["probability", "alone", "on_object", "empty"],
    )
    places = [rows["region"].tolist().index(region) for region in (*some, "object")]
    assert (
        arrays["regions"] != results.array("verdict_alone", key, "regions")[places]
    ).mean() < 0.01


def test_few_calls(results, networks, plan):
    task = first(plan, networks, "verdict_few")
    rows, _ = committed(results, networks, task)
    some = ["rise", "centre"]
    got, _ = task.work(*inputs(networks, task), **task.arguments | {"methods": some})
    assert_same(
        got,
        rows.set_index("method").loc[some].reset_index(),
        ["repeats", "gain_black", "gain_mean", "gain_blurred"],
    )


def test_a_hundred_calls_of_nested_occlusion(results, networks, plan):
    task = first(plan, networks, "verdict_small")
    rows, _ = committed(results, networks, task)
    asked = [
        [method, calls]
        for method, calls in task.arguments["asked"]
        if method == "nested" and calls < 250
    ]
    got, _ = task.work(*inputs(networks, task), **task.arguments | {"asked": asked})
    assert_same(
        got,
        rows.query("method == 'nested' and calls < 250").reset_index(drop=True),
        ["gain_black", "gain_mean", "gain_blurred"],
    )
