"""The settings of LIME, and what the studies plan under each profile."""

import dataclasses
import json

import pytest
from cheap import Network, data_folder, tiles

from lab.images import list_images, load_image
from lab.methods.masked_model import superpixels
from lab.methods.registry import fewest_calls
from lab.methods.setting import Setting
from lab.study import comparison, lime, rise
from lab.study.profile import PROFILES, Plan
from lab.study.runner import measure
from lab.study.settings import (
    COLORS,
    COMBINED,
    KINDS,
    LAB_PARAMETERS,
    LAB_SETTINGS,
    RECOMMENDED,
    around,
    grid,
    lab_settings,
    local,
)

TASKS = lime.tasks, rise.tasks, comparison.evaluation_tasks, comparison.montages_tasks
profiles = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


def plan(folder, profile, *studies):
    images = data_folder(folder)
    return [task for tasks in studies or TASKS for task in tasks(Plan(images, profile))]


def changed(setting, base):
    """The parameters in which a setting differs from another."""
    fields = dataclasses.asdict(base)
    return {name for name, value in dataclasses.asdict(setting).items() if value != fields[name]}


def test_the_grid_shows_more_and_more_superpixels():
    base, numbers = Setting(hide_color=None, num_samples=100, num_superpixels=3), []
    for (parameter, value), setting in grid(base).items():
        assert changed(setting, base) <= {"num_superpixels", "num_lime_features"}
        assert parameter == "num_superpixels" and str(setting.num_superpixels) == value
        assert setting.num_lime_features == setting.num_superpixels
        numbers.append(setting.num_superpixels)
    assert numbers == sorted(set(numbers))


def test_around_varies_each_parameter_of_the_lab_alone_and_two_together():
    base, varied = Setting(num_samples=2000), {}
    for (parameter, value), setting in (around(base, [250, 1000]) | local(base)).items():
        varied.setdefault(parameter, []).append(value)
        if parameter == COMBINED:
            assert changed(setting, base) <= {"hide_color", "num_superpixels"}
            name, _, n = value.rpartition(", ")
            assert (setting.hide_color, setting.num_superpixels) == (COLORS[name], int(n))
        elif parameter == "negative_only":  # LIME refuses both signs' "only" together
            assert not setting.positive_only and str(setting.negative_only) == value
        else:
            assert changed(setting, base) <= {parameter}
    others = {"kernel_width", "superpixel_size", COMBINED}
    assert set(varied) == {*LAB_PARAMETERS, *others} and len(varied[COMBINED]) == 16
    assert RECOMMENDED in varied[COMBINED]
    assert varied["num_samples"] == ["250", "1000"]


def test_the_full_profile_measures_the_lab_as_it_is():
    assert lab_settings(PROFILES["full"]) == LAB_SETTINGS


@profiles
def test_counts_rise_and_differ(tmp_path, profile):
    first = {task.table: task for task in reversed(plan(tmp_path, profile))}

    def samples(table, **columns):
        parts = first[table].parts.values()
        return [
            part["setting"]["num_samples"]
            for part in parts
            if columns.items() <= part["columns"].items()
        ]

    def budget(table):
        [budget] = {part["budget"] for part in first[table].parts.values()}
        return budget

    estimators = first["rise_estimators"].arguments
    for counts in (
        samples("lime_stability", sampling="lime"),
        samples("lime_stability", sampling="balanced"),
        samples("lime_parameters", parameter="num_samples"),
        [100, first["lime_parameters"].arguments["fresh"]],
        [*estimators["calls"], estimators["reference"]],
        [budget("evaluation_sanity"), budget("evaluation_runs")],
        [budget("montages_runs"), budget("evaluation_runs")],
    ):
        assert len(counts) > 1 and counts == sorted(set(counts)), counts
    # A tolerance cannot stop before 200 calls: with so few more, all rows were equal.
    assert first["rise_stopping"].arguments["most"] >= 1000
    full = [setting.num_samples for setting in LAB_SETTINGS.values()]
    cut = [setting.num_samples for setting in lab_settings(profile).values()]
    assert len(set(zip(full, cut))) == len(set(cut)) == len(set(full))


def test_the_quick_counts_are_enough_for_xceptions_larger_images():
    paths = [path for kind in KINDS for path in list_images(kind)]
    n = max(superpixels(load_image(path, 299)).max() + 1 for path in paths)
    assert n > 70 and PROFILES["quick"].samples(250) >= n
    assert PROFILES["quick"].samples(1000, 400) >= fewest_calls(["shap"], n)


@profiles
def test_both_networks_explain_every_image(tmp_path, profile):
    tasks = plan(tmp_path, profile, lime.tasks, comparison.evaluation_tasks)
    for table in ("lime_parameters", "evaluation_runs", "predictions"):
        images = {(task.network, task.image) for task in tasks if task.table == table}
        assert len(images) == 2 * 3


@profiles
def test_every_task_is_another_one_and_survives_json(tmp_path, profile):
    tasks = plan(tmp_path, profile)
    keys = {task.key(task.network, str(task.image)) for task in tasks}
    assert len(keys) == len(tasks)
    for task in tasks:
        assert task.calls > 0 and task.function.version > 0
        assert (task.network is None) == (task.image is None)
        for part in json.loads(json.dumps(task.parts)).values():
            assert "setting" not in part or Setting(**part["setting"])


def test_estimated_calls_are_about_those_made(tmp_path):
    tasks = plan(tmp_path, PROFILES["quick"], lime.tasks, rise.tasks, comparison.evaluation_tasks)
    first = {task.table: task for task in reversed(tasks) if task.network}
    del first["evaluation_sanity"], first["lime_superpixels"]  # other networks, no call
    for table, task in first.items():
        network, image = Network(cached=True), tiles(4, 4)
        if table == "evaluation_shapley":  # of an image with few superpixels
            image = tiles(2, 4).repeat(2, axis=0)
        measure(task, network, image, None)
        assert task.calls / 2 <= network.calls <= 2 * task.calls, table


def test_a_first_study_takes_minutes_not_hours(tmp_path):
    quick, full = (
        sum(task.calls for task in plan(tmp_path, profile, lime.tasks, rise.tasks))
        for profile in PROFILES.values()
    )
    assert quick < 30_000 and full < 200_000
