"""The verdict's study: what it measures, and that the halves are those of the protocol."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lab.explain.masked_model import blurred, mean_colour
from lab.explain.methods import METHODS as ALL
from lab.explain.methods import explain
from lab.explain.names import METHOD_NAMES
from lab.files import ROOT
from lab.measure.curves import auc, curves, deletion_curve, gains, insertion_curve
from lab.networks.loading import load
from lab.images import load_image, load_mask
from lab.study.verdict import (
    METHODS,
    SET,
    half,
    measure_alone,
    measure_few,
    measure_set,
    measure_small,
    object_of,
    pictures,
    tasks,
)


def test_an_object_is_the_name_up_to_its_number():
    assert (
        object_of(Path("x/twin_ceps_2_hill.jpg")) == "twin_ceps"
        and object_of("frog_1_slope_b") == "frog"
    )


def test_the_halves_are_fixed_and_about_equal(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "study")
    names = {object_of(path) for path in SET.glob("*/*.jpg")}
    verdict_half = {name for name in names if half(name) == "verdict"}
    assert {
        name for name in names if hashlib.sha256(name.encode()).digest()[-1] % 2
    } == verdict_half
    assert len(names) >= 30 and 15 <= len(verdict_half) <= len(names) - 15
    chosen = pictures()
    assert {object_of(path) for path in chosen} == verdict_half and {
        object_of(path) for path in pictures("choosing")
    } == names - verdict_half
    assert pd.Series([object_of(path) for path in chosen]).value_counts().eq(2).all()


def test_the_tasks_are_those_of_the_protocol(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "study")
    plan = [task for task in tasks({}) if task.table == "verdict_runs"]
    assert len(plan) == 2 * len(pictures()) and all(
        task.arguments["budget"] == 1000 for task in plan
    )
    assert len({(task.network, task.picture) for task in plan}) == len(plan)
    protocol = (ROOT / "report" / "protocol.md").read_text(encoding="utf-8")
    assert all(f"`{method}`" in protocol for method in METHODS) and set(METHODS) == set(
        METHOD_NAMES
    ) - {"nested"}
    assert set(METHODS) - set(ALL) == {"grad_cam", "integrated_gradients", "expected_gradients"}
    firsts = ["_1_" in task.picture.stem for task in plan]
    assert firsts == sorted(firsts, reverse=True)


def test_nested_occlusion_has_the_calls_of_the_protocol(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "study")
    plan = [task for task in tasks({}) if task.table == "verdict_small"]
    assert len({(task.network, object_of(task.picture)) for task in plan}) == len(plan) == 2 * 19
    assert not any("_1_" in task.picture.stem for task in plan)
    protocol = (
        (ROOT / "report" / "protocol.md")
        .read_text(encoding="utf-8")
        .split("## Nested occlusion, with")[1]
    )
    for task in plan:
        calls = {(method, number) for method, number in task.arguments["asked"]}
        assert {("nested", 250), ("nested", 100), ("rise_average", 4000)} < calls and {
            number for _, number in calls
        } == {100, 250, 4000}
        assert all(
            f"`{method}`" in protocol or method.startswith("occlusion")
            for method, _ in calls - {("nested", 250), ("nested", 100)}
        )


def test_only_the_verdict_half_is_told_but_for_few_calls(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "study")
    by_table = {
        table: {half(object_of(task.picture)) for task in tasks({}) if task.table == table}
        for table in {task.table for task in tasks({})}
    }
    assert by_table == {
        "verdict_runs": {"verdict"},
        "verdict_alone": {"verdict"},
        "verdict_few": {"verdict", "choosing"},
        "verdict_small": {"verdict"},
    }


def test_regions_are_put_into_other_landscapes_of_the_choosing_half(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "study")
    for task in (task for task in tasks({}) if task.table == "verdict_alone"):
        hosts = list(task.arguments["hosts"])
        landscapes = {name.split("_")[-1] for name in hosts}
        assert len(landscapes) == 3 and task.picture.stem.split("_")[-1] not in landscapes
        assert {half(object_of(name.split("/")[1])) for name in hosts} == {"choosing"}


def test_gains_are_insertion_minus_deletion():
    rng = np.random.default_rng(0)
    image, saliency = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8), rng.random((20, 20))

    def bright(images):
        return (
            np.stack([images.mean(axis=(1, 2, 3)), 255 - images.mean(axis=(1, 2, 3))], axis=1) / 255
        )

    def measured(values):
        return gains(bright, image, 0, values, curves(bright, image, 0, values, blurred(image)))

    found = measured(saliency)
    assert list(found) == ["gain_black", "gain_mean", "gain_blurred"]
    for name, fill in (
        ("black", np.uint8(0)),
        ("mean", mean_colour(image)),
        ("blurred", blurred(image)),
    ):
        inserted, deleted = (
            auc(*curve(bright, image, 0, saliency, fill))
            for curve in (insertion_curve, deletion_curve)
        )
        assert found[f"gain_{name}"] == pytest.approx(inserted - deleted)
    assert gains(bright, image, 0, saliency) == found
    coarse = auc(*insertion_curve(bright, image, 0, saliency, np.uint8(0), 4)) - auc(
        *deletion_curve(bright, image, 0, saliency, np.uint8(0), 4)
    )
    assert gains(bright, image, 0, saliency, steps=4)["gain_black"] == pytest.approx(coarse)
    # The order of pixels is all that counts, and the reverse order has the reverse gain.
    assert measured(3 * saliency + 1) == found
    assert measured(-saliency)["gain_black"] == pytest.approx(-found["gain_black"], abs=1e-6)


def some_task(table):
    """A task of the table with what it takes to do it, on the smaller network."""
    task = next(task for task in tasks({}) if task.table == table and task.network == "resnet50")
    network = load("squeezenet")
    return task, (
        network,
        load_image(task.picture, network.input_size),
        load_mask(task.picture, network.input_size),
    )


def test_a_picture_is_measured_by_all_methods():
    task, given = some_task("verdict_runs")
    methods = ["lime_blurred", "occlusion_black", "centre", "grad_cam"]
    rows, arrays = measure_set(*given, **task.arguments | {"methods": methods, "budget": 80})
    assert [row["method"] for row in rows] == methods and not arrays
    assert {row["object"] for row in rows} == {object_of(task.picture)} and "seconds" not in rows[0]
    assert all(
        np.isfinite(
            [row[key] for key in ("gain_black", "gain_mean", "gain_blurred", "iou_mask")]
        ).all()
        for row in rows
    )


def test_a_region_alone_is_seen_or_not():
    task, (network, image, mask) = some_task("verdict_alone")
    rows, arrays = measure_alone(
        network, image, mask, **task.arguments | {"methods": ["centre", "random"], "budget": 10}
    )
    rows = {row["region"]: row for row in rows}
    assert list(rows) == ["centre", "random", "object"] and rows["object"]["on_object"] == 1
    np.testing.assert_array_equal(arrays["regions"][2], mask)
    assert all(region.mean() == pytest.approx(1 / 5, abs=0.001) for region in arrays["regions"][:2])
    assert rows["random"]["on_object"] == pytest.approx(
        mask.mean(), abs=0.02
    )  # noise lies anywhere
    # Dots of a picture are nothing to see, and the host alone has nothing of the class.
    assert rows["object"]["alone"] > 10 * rows["random"]["alone"] and rows["object"]["empty"] < 0.01
    np.testing.assert_allclose(
        arrays["alone"].mean(axis=1), [row["alone"] for row in rows.values()], rtol=1e-5
    )


def test_a_region_of_everything_is_the_picture_and_of_nothing_the_host(monkeypatch):
    task, (network, image, mask) = some_task("verdict_alone")
    for whole, equal_to in ((True, "probability"), (False, "empty")):
        [row], _ = measure_alone(
            network, image, np.full_like(mask, whole), **task.arguments | {"methods": []}
        )
        assert row["alone"] == pytest.approx(row[equal_to], rel=1e-3, abs=1e-6)


def test_each_method_has_its_own_number_of_calls():
    task, (network, image, mask) = some_task("verdict_small")
    rows, _ = measure_small(
        network,
        image,
        mask,
        **task.arguments | {"asked": [["nested", 30], ["occlusion", 10], ["nested", 20]]},
    )
    assert [(row["method"], row["calls"]) for row in rows] == [
        ("nested", 30),
        ("occlusion", 10),
        ("nested", 20),
    ]
    label = task.arguments["label"]
    for row in (rows[0], rows[2]):
        saliency = explain("nested", network, image, label, row["calls"])
        expected = gains(
            network, image, label, saliency, curves(network, image, label, saliency, blurred(image))
        )
        assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_few_calls_and_two_seeds():
    task, given = some_task("verdict_few")
    arguments = task.arguments | {"methods": ["occlusion", "rise_average"], "budget": 20}
    rows, _ = measure_few(*given, **arguments)
    # Occlusion draws nothing, so that two seeds find the same.
    assert rows[0]["repeats"] == pytest.approx(1) and -1 < rows[1]["repeats"] < 0.9
    assert {"gain_black", "gain_mean", "gain_blurred", "half"} < set(rows[0])
