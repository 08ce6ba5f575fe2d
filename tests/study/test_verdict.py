"""The verdict's study: what it measures, and that the halves are those of the protocol."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lab.explain.methods import METHODS as ALL
from lab.explain.names import METHOD_NAMES
from lab.files import ROOT
from lab.measure.curves import auc, deletion_curve, gains, insertion_curve
from lab.networks.loading import load
from lab.pictures import load_image, load_mask
from lab.study.verdict import METHODS, SET, half, measure_set, object_of, pictures, tasks


def test_an_object_is_the_name_up_to_its_number():
    assert object_of(Path("x/twin_ceps_2_hill.jpg")) == "twin_ceps" and object_of("frog_1_slope_b") == "frog"


def test_the_halves_are_fixed_and_about_equal(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "study")
    names = {object_of(path) for path in SET.glob("*/*.jpg")}
    verdict_half = {name for name in names if half(name) == "verdict"}
    assert {name for name in names if hashlib.sha256(name.encode()).digest()[-1] % 2} == verdict_half
    assert len(names) >= 30 and 15 <= len(verdict_half) <= len(names) - 15
    chosen = pictures()
    assert {object_of(path) for path in chosen} == verdict_half and {object_of(path) for path in pictures("choosing")} == names - verdict_half
    assert pd.Series([object_of(path) for path in chosen]).value_counts().eq(2).all()


def test_the_tasks_are_those_of_the_protocol(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "study")
    plan = tasks({})
    assert len(plan) == 2 * len(pictures()) and all(task.arguments["budget"] == 1000 for task in plan)
    assert len({(task.network, task.picture) for task in plan}) == len(plan)
    protocol = (ROOT / "report" / "protocol.md").read_text(encoding="utf-8")
    assert all(f"`{method}`" in protocol for method in METHODS) and set(METHODS) == set(METHOD_NAMES)
    assert set(METHODS) - set(ALL) == {"grad_cam", "integrated_gradients", "expected_gradients"}
    firsts = ["_1_" in task.picture.stem for task in plan]
    assert firsts == sorted(firsts, reverse=True)


def test_gains_are_insertion_minus_deletion():
    rng = np.random.default_rng(0)
    image, saliency = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8), rng.random((20, 20))

    def bright(images):
        return np.stack([images.mean(axis=(1, 2, 3)), 255 - images.mean(axis=(1, 2, 3))], axis=1) / 255

    expected = auc(*insertion_curve(bright, image, 0, saliency, np.uint8(0))) - auc(*deletion_curve(bright, image, 0, saliency, np.uint8(0)))
    found = gains(bright, image, 0, saliency)
    assert list(found) == ["gain_black", "gain_mean", "gain_blurred"] and found["gain_black"] == pytest.approx(expected)
    # The order of pixels is all that counts, and the reverse order has the reverse gain.
    assert gains(bright, image, 0, 3 * saliency + 1) == found
    assert gains(bright, image, 0, -saliency)["gain_black"] == pytest.approx(-found["gain_black"], abs=1e-6)


def test_a_picture_is_measured_by_all_methods():
    task = tasks({}, "choosing")[1]
    network = load("squeezenet")
    image, mask = load_image(task.picture, network.input_size), load_mask(task.picture, network.input_size, SET)
    methods = ["lime_blurred", "occlusion_black", "centre", "grad_cam"]
    rows, arrays = measure_set(network, image, mask, **task.arguments | {"methods": methods, "budget": 80})
    assert [row["method"] for row in rows] == methods and not arrays
    assert {row["object"] for row in rows} == {object_of(task.picture)} and "seconds" not in rows[0]
    assert all(np.isfinite([row[key] for key in ("gain_black", "gain_mean", "gain_blurred", "iou_mask")]).all() for row in rows)
