import json

import numpy as np
import pytest

from cheap import Network, data_folder, measured, tiles
from lab.measure.agreement import rank_correlation
from lab.networks import asking
from lab.networks.classes import class_name
from lab.study import rise as study
from lab.study.results import small
from lab.study.rise import ELEPHANT_CLASSES, derive, estimate, explain, measure, tasks
from rise import Rise, generate_masks, perturb

NETWORKS = {"xception": Network("First", 64, seed=0), "resnet50": Network("Second", 80, seed=1)}
COLUMNS = [
    "label",
    "predicted",
    "masks",
    "cells",
    "kept",
    "lowest",
    "highest",
    "contrast",
    "pointing_game",
    "halves",
]
IMAGE = tiles(4, 4)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(asking, "_on_disk", asking._open(tmp_path / "cache"))


@pytest.fixture(scope="module")
def mask():
    mask = np.zeros((64, 64), bool)
    mask[10:40, :30] = True
    return mask


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return tasks(data_folder(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def results(plan, tmp_path_factory):
    """All that the quick profile measures, on two cheap networks, and read from files."""
    return measured(plan, NETWORKS, tmp_path_factory.mktemp("results"))


def named():
    return Network(fingerprint="a network of this test")


@pytest.mark.parametrize(
    "parameters", [{"estimator": "average", "grid_size": 4}, {"estimator": "regression"}]
)
def test_maps_are_rises_own(parameters):
    found = estimate(named(), IMAGE, [386, 3], nb_samples=40, **parameters)
    expected = Rise(named(), nb_samples=40, **parameters).estimate(IMAGE, [386, 3])
    np.testing.assert_allclose(found.saliency, expected.saliency, rtol=1e-5)
    np.testing.assert_allclose(found.standard_error, expected.standard_error, rtol=1e-4)


def test_no_call_is_made_twice():
    network = named()
    first = estimate(network, IMAGE, [386], nb_samples=64, estimator="average")
    assert network.calls == 64
    estimate(network, IMAGE, [386], nb_samples=32, estimator="average")
    assert network.calls == 64
    estimate(network, IMAGE, [386], nb_samples=96, estimator="average")
    assert network.calls == 96
    estimate(network, IMAGE, [386], nb_samples=64, grid_size=5, estimator="average")
    assert network.calls == 160
    # Nor for a part of a batch where the outputs are there.
    estimate(network, IMAGE, [386], outputs=first.outputs, nb_samples=23, estimator="average")
    assert network.calls == 160


@pytest.mark.parametrize("n", [50, 51])
def test_halves_cost_no_call(n):
    network = Network()
    explain(network, IMAGE, [386, 101], nb_samples=n)
    assert network.calls == n


def test_interrupted_work_goes_on():
    class Interrupted(Network):
        def __call__(self, images):
            if self.calls == 64:
                raise KeyboardInterrupt
            return super().__call__(images)

    first, second = Interrupted(fingerprint="a network of this test"), named()
    with pytest.raises(KeyboardInterrupt):
        estimate(first, IMAGE, [386], nb_samples=100, estimator="average")
    maps = estimate(second, IMAGE, [386], nb_samples=100, estimator="average").saliency
    assert first.calls == 64 and second.calls == 36
    np.testing.assert_allclose(
        maps,
        Rise(Network(), nb_samples=100, estimator="average").explain_classes(IMAGE, [386]),
        rtol=1e-5,
    )


@pytest.mark.parametrize("n", [64, 51])
def test_halves_are_the_maps_of_the_two_halves(n):
    maps, table = explain(Network(), IMAGE, [386], nb_samples=n, grid_size=4)
    halves = []
    for start, stop in ((0, n // 2), (n // 2, n)):
        masks = generate_masks(start, stop, IMAGE.shape, 4)
        halves.append(np.tensordot(Network()(perturb(IMAGE, masks))[:, 386], masks, 1))
    assert table["halves"][0] == pytest.approx(rank_correlation(*halves), abs=1e-3)
    whole = halves[0] + halves[1]
    np.testing.assert_allclose(maps[0], whole / n / 0.5, rtol=1e-4)


def test_measurements_without_a_mask():
    maps, table = explain(Network(), IMAGE, [386, 101], nb_samples=50)
    assert list(table.columns) == COLUMNS
    assert table["predicted"].tolist() == ["African_elephant", "tusker"] and table[
        "label"
    ].tolist() == [386, 101]
    assert table[["contrast", "pointing_game"]].isna().all(axis=None)
    assert (table["lowest"] == maps.min(axis=(1, 2))).all() and (
        table["highest"] == maps.max(axis=(1, 2))
    ).all()
    assert table["halves"].between(-1, 1).all()


def test_measurements_with_a_mask(mask):
    [saliency], table = explain(Network(), IMAGE, [386], mask, nb_samples=51, grid_size=4)
    assert table["contrast"][0] == pytest.approx(saliency[mask].mean() - saliency[~mask].mean())
    assert table["pointing_game"][0] == mask.flat[saliency.argmax()]
    drawn = np.random.default_rng(0).normal(size=(3, 64, 64))
    assert measure(drawn[0], drawn[1:], mask) == {
        "lowest": drawn[0].min(),
        "highest": drawn[0].max(),
        "contrast": pytest.approx(drawn[0][mask].mean() - drawn[0][~mask].mean()),
        "pointing_game": mask.flat[drawn[0].argmax()],
        "halves": pytest.approx(rank_correlation(*drawn[1:])),
    }


# Work of the tasks


def test_runs(mask):
    rows, arrays = study.measure_runs(Network(), IMAGE, mask, [386, 101], 60, 5, 0.3)
    maps, table = explain(
        Network(), IMAGE, [386, 101], mask, nb_samples=60, grid_size=5, preservation_probability=0.3
    )
    assert rows == table.to_dict("records") and [list(row) for row in rows] == [COLUMNS] * 2
    assert all((row["masks"], row["cells"], row["kept"]) == (60, 5, 0.3) for row in rows)
    assert arrays["maps"].shape == (2, 112, 112) and arrays["maps"].dtype == np.float16
    np.testing.assert_array_equal(arrays["maps"], [small(one) for one in maps])


def test_steps_are_the_scores_of_the_first_masks():
    rows, arrays = study.measure_steps(Network(), IMAGE, None, 386)
    expected = Network()(perturb(IMAGE, generate_masks(0, 32, IMAGE.shape)))[:, 386]
    assert arrays == {} and [row["mask"] for row in rows] == list(range(32))
    np.testing.assert_allclose([row["score"] for row in rows], expected, rtol=1e-6)


def test_estimators_are_compared_with_other_masks():
    network = named()
    rows, arrays = study.measure_estimators(network, IMAGE, None, 386, [32, 64], 96)
    assert network.calls == 96 + 64 + 64
    [truth] = Rise(Network(), nb_samples=96, seed=1, estimator="average").explain_classes(
        IMAGE, [386]
    )
    np.testing.assert_array_equal(arrays["reference"], small(truth))
    assert [(row["estimator"], row["calls"], row["reference_masks"]) for row in rows] == [
        (estimator, n, 96) for estimator in ("average", "regression") for n in (32, 64)
    ]
    assert arrays["maps"].shape == (4, 112, 112) and {array.dtype for array in arrays.values()} == {
        np.dtype(np.float16)
    }
    for row, saliency in zip(rows, arrays["maps"], strict=True):
        found = Rise(Network(), nb_samples=row["calls"], estimator=row["estimator"]).estimate(
            IMAGE, [386]
        )
        np.testing.assert_allclose(saliency, small(found.saliency[0]), rtol=2e-3)
        assert row["rank_correlation"] == pytest.approx(
            rank_correlation(found.saliency[0], truth), abs=1e-3
        )
    np.testing.assert_allclose(
        arrays["standard_error"], small(found.standard_error[0]), rtol=2e-3
    )  # of the last one


def test_stopping():
    rows, arrays = study.measure_stopping(Network(), IMAGE, None, 386, [10.0, 1e-6], 260, 64)
    assert [list(row) for row in rows] == [
        ["tolerance", "calls", "relative_error", "rank_correlation"]
    ] * 2
    loose, tight = rows
    assert (
        loose["calls"] < tight["calls"] == 260
        and loose["relative_error"] < 10
        and tight["relative_error"] > 1e-6
    )
    assert arrays["maps"].shape == (2, 112, 112)


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


def test_estimated_calls_are_about_those_made(plan):
    for task in plan:
        network = Network(
            "One", 64, fingerprint=f"{task.table} {task.network} {task.picture} {task.arguments}"
        )
        task.work(network, IMAGE, None, **task.arguments)
        assert task.calls / 2 <= network.calls <= 2 * task.calls, task


def test_both_networks_explain_both_animals(results):
    runs = results.table("rise_runs")
    assert list(runs.columns) == ["network", "class", "picture", *COLUMNS, "key"]
    most = runs[runs["masks"] == runs["masks"].max()]
    assert most.groupby(["network", "class"], sort=False)["label"].agg(list).to_dict() == {
        ("First", "elephant"): [386, 101, 385],
        ("Second", "elephant"): [386, 101, 385],
        ("First", "bear"): [295, 294],
        ("Second", "bear"): [295, 294],
    }
    assert (runs["predicted"] == runs["label"].map(class_name)).all()
    one = runs[(runs["network"] == "First") & (runs["label"] == ELEPHANT_CLASSES[0])]
    n = most["masks"].iloc[0]
    assert {2, 8, 16, 32} < set(one["masks"]) and set(one[one["masks"] == n // 2]["cells"]) == {
        4,
        7,
        8,
        16,
    }
    assert set(one[one["masks"] == n // 2]["kept"]) == {0.1, 0.3, 0.5, 0.7, 0.9}
    for key, rows in runs.groupby("key"):
        assert results.array("rise_runs", key, "maps").shape == (len(rows), 112, 112)


def test_other_tables_have_their_columns(results):
    where = ["network", "class", "picture"]
    assert list(results.table("rise_steps").columns) == [*where, "mask", "score", "key"]
    assert list(results.table("rise_estimators").columns) == [
        *where,
        "estimator",
        "calls",
        "rank_correlation",
        "reference_masks",
        "key",
    ]
    assert list(results.table("rise_stopping").columns) == [
        *where,
        "tolerance",
        "calls",
        "relative_error",
        "rank_correlation",
        "key",
    ]


def test_how_alike_maps_are(results):
    derived = derive(results)
    assert list(derived) == ["rise_alike"]
    table = derived["rise_alike"]
    runs = results.table("rise_runs")
    [between] = table[(table["between"] == "networks") & (table["class"] == "elephant")][
        "rank_correlation"
    ]
    maps = [
        results.array("rise_runs", row.key, "maps")[0].astype(float)
        for row in runs[(runs["masks"] == 200) & (runs["label"] == 386)].itertuples()
    ]
    assert between == pytest.approx(rank_correlation(*maps))
    classes = table[table["between"] == "classes"]
    assert set(zip(classes["first"], classes["second"])) == {
        (n, c) for n in ("First", "Second") for c in ("tusker", "Indian_elephant", "brown_bear")
    }
