"""The study of montages, against its protocol."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from cheap import Network
from lab.study.montages import SET, half, object_of, tasks

from lab.images import load_image, load_mask
from lab.measure.curves import gains
from lab.methods.registry import METHODS, explain
from lab.study import montages
from lab.study.profile import PROFILES


@pytest.fixture(scope="module")
def plan():
    return tasks({}, PROFILES["study"])


@pytest.fixture(scope="module")
def task(plan):
    """A task on a cheap network: what it takes, and its arguments."""
    path = plan[0].image
    image, mask = load_image(path, 64), load_mask(path, 64)
    return (Network(input_size=64), image, mask), plan[0].arguments


def test_an_object_is_the_name_up_to_its_number():
    assert object_of(Path("x/twin_ceps_2_hill.jpg")) == "twin_ceps"
    assert object_of("frog_1_slope_b") == "frog"


def test_the_halves_are_fixed_and_the_last_image_is_measured(plan):
    names = {object_of(path) for path in SET.glob("*/*.jpg")}
    judged = {name for name in names if hashlib.sha256(name.encode()).digest()[-1] % 2}
    assert {name for name in names if half(name) == "montages"} == judged
    assert len(names) >= 30 and 15 <= len(judged) <= len(names) - 15
    assert sorted((task.network, object_of(task.image)) for task in plan) == sorted(
        (network, name) for network in ("xception", "resnet50") for name in judged
    )
    for task in plan:
        others = task.image.parents[1].glob(f"*/{object_of(task.image)}_[0-9]_*.jpg")
        assert task.image.stem == max(path.stem for path in others)
        assert task.arguments["budget"] == 250
        assert set(task.arguments["methods"]) == set(METHODS) - {"shap"}


def test_regions_are_put_into_other_landscapes_of_the_choosing_half(plan):
    for task in plan:
        hosts = list(task.arguments["hosts"])
        landscapes = {name.split("_")[-1] for name in hosts}
        assert len(landscapes) == 3 and task.image.stem.split("_")[-1] not in landscapes
        assert {half(object_of(name.split("/")[1])) for name in hosts} == {"choosing"}


def test_maps_and_their_regions_are_measured(task):
    (network, image, mask), arguments = task
    changed = {"methods": ["centre", "random"], "budget": 10}
    rows, arrays = montages.runs_task(network, image, mask, **arguments | changed)
    rows = {row["method"]: row for row in rows}
    assert list(rows) == ["centre", "random", "object"]
    assert rows["object"]["on_object"] == rows["object"]["pointing_game"] == 1
    *regions, last = arrays["regions"]
    np.testing.assert_array_equal(last, mask)
    assert [region.mean() for region in regions] == pytest.approx([1 / 5] * 2, abs=0.001)
    assert rows["random"]["on_object"] == pytest.approx(mask.mean(), abs=0.05)
    means = [row["alone"] for row in rows.values()]
    np.testing.assert_allclose(arrays["alone"].mean(axis=1), means, rtol=1e-5)
    label = arguments["label"]
    expected = gains(network, image, label, explain("centre", network, image, label, 10), steps=10)
    assert {key: rows["centre"][key] for key in expected} == expected


@pytest.mark.parametrize("whole, equal_to", [(True, "probability"), (False, "empty")])
def test_a_region_of_everything_is_the_image_and_of_nothing_the_host(task, whole, equal_to):
    (network, image, mask), arguments = task
    region = np.full_like(mask, whole)
    [row], _ = montages.runs_task(network, image, region, **arguments | {"methods": []})
    assert row["alone"] == pytest.approx(row[equal_to], rel=1e-3, abs=1e-6)
