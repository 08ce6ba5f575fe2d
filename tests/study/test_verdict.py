"""The study of the verdict, against its protocol."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cheap import Network

from lab.explain.methods import EXPLAINERS, explain
from lab.explain.names import METHOD_NAMES
from lab.files import ROOT
from lab.images import load_image, load_mask
from lab.measure.agreement import rank_correlation
from lab.measure.curves import gains
from lab.study import verdict
from lab.study.profile import PROFILES
from lab.study.verdict import METHODS, SET, half, object_of, tasks

PROTOCOL = (ROOT / "report" / "protocol.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def plan():
    """The tasks of the largest profile by table."""
    plan = tasks({}, PROFILES["study"])
    return {
        table: [task for task in plan if task.table == f"verdict_{table}"]
        for table in ("runs", "alone", "few", "small")
    }


@pytest.fixture(scope="module")
def task(plan):
    """A task of a table on a cheap network: what it takes, and its arguments."""

    def one(table):
        task, network = plan[table][0], Network(input_size=64)
        image, mask = (load(task.image, 64) for load in (load_image, load_mask))
        return (network, image, mask), task.arguments

    return one


def test_an_object_is_the_name_up_to_its_number():
    assert object_of(Path("x/twin_ceps_2_hill.jpg")) == "twin_ceps"
    assert object_of("frog_1_slope_b") == "frog"


def test_the_halves_are_fixed_and_about_equal(plan):
    names = {object_of(path) for path in SET.glob("*/*.jpg")}
    judged = {name for name in names if hashlib.sha256(name.encode()).digest()[-1] % 2}
    assert {name for name in names if half(name) == "verdict"} == judged
    assert len(names) >= 30 and 15 <= len(judged) <= len(names) - 15
    measured = {table: {object_of(task.image) for task in tasks} for table, tasks in plan.items()}
    few = measured.pop("few")
    assert all(objects == judged for objects in measured.values())
    assert len(few & judged) == len(few - judged) == 10


def test_the_runs_are_those_of_the_protocol(plan):
    runs = pd.DataFrame(plan["runs"])
    assert runs.groupby(["network", runs["image"].map(object_of)]).size().eq(2).all()
    assert not runs.duplicated(["network", "image"]).any()
    assert all(arguments["budget"] == 1000 for arguments in runs["arguments"])
    assert all(f"`{method}`" in PROTOCOL for method in METHODS)
    assert set(METHODS) == set(METHOD_NAMES) - {"nested", "lime_black", "owen", "soft", "combined"}
    references = {"grad_cam", "integrated_gradients", "expected_gradients"}
    assert set(METHODS) - set(EXPLAINERS) == references
    firsts = ["_1_" in task.image.stem for task in plan["runs"]]
    assert firsts == sorted(firsts, reverse=True)


def test_nested_occlusion_has_the_calls_of_the_protocol(plan):
    assert len({(task.network, object_of(task.image)) for task in plan["small"]}) == 2 * 19
    assert not any("_1_" in task.image.stem for task in plan["small"])
    for task in plan["small"]:
        calls = {(method, n) for method, n in task.arguments["budgets"]}
        few = {("nested", 100), ("rise_average", 4000)}
        assert few < calls and {n for _, n in calls - few} == {250}
        section = PROTOCOL.split("## Nested occlusion, with")[1]
        others = {method for method, _ in calls} - {"nested"}
        assert all(f"`{one}`" in section or one.startswith("occlusion") for one in others)


def test_regions_are_put_into_other_landscapes_of_the_choosing_half(plan):
    for task in plan["alone"]:
        hosts = list(task.arguments["hosts"])
        landscapes = {name.split("_")[-1] for name in hosts}
        assert len(landscapes) == 3 and task.image.stem.split("_")[-1] not in landscapes
        assert {half(object_of(name.split("/")[1])) for name in hosts} == {"choosing"}


def test_runs_measure_an_image_with_all_methods(task):
    given, arguments = task("runs")
    methods = ["lime_blurred", "occlusion_black", "centre"]
    changed = {"methods": methods, "budget": 120}
    rows, arrays = verdict.runs_task(*given, **arguments | changed)
    assert [row["method"] for row in rows] == methods and not arrays
    for row in rows:
        assert row["object"] == arguments["object"] and "seconds" not in row
        names = "gain_black", "gain_mean", "gain_blurred", "iou_mask"
        assert np.isfinite([row[name] for name in names]).all()


def test_a_region_alone(task):
    (network, image, mask), arguments = task("alone")
    changed = {"methods": ["centre", "random"], "budget": 10}
    rows, arrays = verdict.alone_task(network, image, mask, **arguments | changed)
    rows = {row["region"]: row for row in rows}
    assert list(rows) == ["centre", "random", "object"] and rows["object"]["on_object"] == 1
    *regions, last = arrays["regions"]
    np.testing.assert_array_equal(last, mask)
    assert [region.mean() for region in regions] == pytest.approx([1 / 5] * 2, abs=0.001)
    assert rows["random"]["on_object"] == pytest.approx(mask.mean(), abs=0.05)
    means = [row["alone"] for row in rows.values()]
    np.testing.assert_allclose(arrays["alone"].mean(axis=1), means, rtol=1e-5)


@pytest.mark.parametrize("whole, equal_to", [(True, "probability"), (False, "empty")])
def test_a_region_of_everything_is_the_image_and_of_nothing_the_host(task, whole, equal_to):
    (network, image, mask), arguments = task("alone")
    region = np.full_like(mask, whole)
    [row], _ = verdict.alone_task(network, image, region, **arguments | {"methods": []})
    assert row["alone"] == pytest.approx(row[equal_to], rel=1e-3, abs=1e-6)


def test_gains_of_methods_with_a_budget_each(task):
    (network, image, mask), arguments = task("small")
    budgets = [["nested", 30], ["occlusion", 10], ["rise_average", 20]]
    for repeated in (False, True):
        changed = {"budgets": budgets, "repeated": repeated}
        rows, _ = verdict.budgets_task(network, image, mask, **arguments | changed)
        for row, (method, calls) in zip(rows, budgets, strict=True):
            maps = [
                explain(method, network, image, arguments["label"], calls, seed) for seed in (0, 1)
            ]
            expected = gains(network, image, arguments["label"], maps[0])
            about = {"object": arguments["object"], "half": "verdict"}
            about |= {"method": method, "calls": calls}
            again = {"repeats": rank_correlation(*maps)} if repeated else {}
            assert row == pytest.approx(about | again | expected)
    assert rows[1]["repeats"] == pytest.approx(1)  # occlusion draws nothing
    assert rows[2]["repeats"] < 0.99
