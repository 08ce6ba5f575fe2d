"""The settings of LIME, and what the studies plan under each profile."""

import dataclasses
import json

import pytest
from cheap import Network, data_folder, tiles

from lab.images import list_images, load_image
from lab.methods.masked_model import superpixels
from lab.methods.setting import Setting
from lab.study import evaluation, lime, montages, rise
from lab.study.profile import PROFILES
from lab.study.settings import (
    COLORS,
    COMBINED,
    LAB_PARAMETERS,
    LAB_SETTINGS,
    NETWORKS,
    around,
    grid,
    lab_settings,
)

STUDIES = lime, rise, evaluation, montages
profiles = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


def plan(folder, profile, *studies):
    images = data_folder(folder)
    return [task for study in studies or STUDIES for task in study.tasks(images, profile)]


def changed(setting, base):
    """The parameters in which a setting differs from another."""
    fields = dataclasses.asdict(base)
    return {name for name, value in dataclasses.asdict(setting).items() if value != fields[name]}


def test_the_grid_varies_one_parameter_at_a_time():
    base, varied = Setting(hide_color=None, num_samples=100, num_superpixels=3), {}
    for (parameter, value), setting in grid(base).items():
        got = getattr(setting, parameter)
        assert got == COLORS[value] if parameter == "hide_color" else str(got) == value
        also = {"num_lime_features"} if parameter == "num_superpixels" else set()
        assert changed(setting, base) <= {parameter} | also
        varied.setdefault(parameter, []).append(got)
    assert list(varied) == ["hide_color", "num_superpixels", "superpixel_size", "kernel_width"]
    assert varied.pop("hide_color") == list(COLORS.values())
    for parameter, values in varied.items():
        assert values == sorted(set(values)) and getattr(Setting(), parameter) in values


def test_around_varies_each_parameter_of_the_lab_alone_and_two_together():
    base, varied = Setting(num_samples=2000), {}
    for (parameter, value), setting in around(base, [250, 1000]).items():
        varied.setdefault(parameter, []).append(value)
        if parameter == COMBINED:
            assert changed(setting, base) <= {"hide_color", "num_superpixels"}
            name, _, n = value.rpartition(", ")
            assert (setting.hide_color, setting.num_superpixels) == (COLORS[name], int(n))
        elif parameter == "negative_only":  # LIME refuses both signs' "only" together
            assert not setting.positive_only and str(setting.negative_only) == value
        else:
            assert changed(setting, base) <= {parameter}
    assert set(varied) == {*LAB_PARAMETERS, COMBINED} and len(varied[COMBINED]) == 16
    assert varied["num_samples"] == ["250", "1000"]


@pytest.mark.parametrize("name", ["full", "study"])
def test_larger_profiles_measure_the_lab_as_it_is(name):
    assert lab_settings(PROFILES[name]) == LAB_SETTINGS


@profiles
def test_counts_rise_and_differ(tmp_path, profile):
    first = {task.table: task.arguments for task in reversed(plan(tmp_path, profile))}

    def samples(table, **columns):
        settings = first[table]["settings"]
        return [s["num_samples"] for about, s in settings if columns.items() <= about.items()]

    estimators = first["rise_estimators"]
    for counts in (
        samples("lime_stability", sampling="lime"),
        samples("lime_stability", sampling="balanced"),
        samples("lime_parameters", parameter="num_samples"),
        [100, first["lime_parameters"]["fresh"]],
        [*estimators["calls"], estimators["reference"]],
        [first[f"evaluation_{table}"]["budget"] for table in ("sanity", "runs")],
        [first["montages_runs"]["budget"], first["evaluation_runs"]["budget"]],
    ):
        assert len(counts) > 1 and counts == sorted(set(counts)), counts
    # A tolerance cannot stop before 200 calls: with so few more, all rows were equal.
    assert first["rise_stopping"]["most"] >= 1000
    full = [setting.num_samples for setting in LAB_SETTINGS.values()]
    cut = [setting.num_samples for setting in lab_settings(profile).values()]
    assert len(set(zip(full, cut))) == len(set(cut)) == len(set(full))


def test_the_quick_counts_are_enough_for_xceptions_larger_images():
    paths = [path for kind in ("African_elephant", "black_bear") for path in list_images(kind)]
    n = max(superpixels(load_image(path, 299)).max() + 1 for path in paths)
    quick = PROFILES["quick"]
    assert n > 70 and quick.samples(250) >= n
    assert quick.samples(1000, evaluation.FEWEST) >= 4 * n + 2


@profiles
def test_both_networks_explain_every_image(tmp_path, profile):
    for table, study in (("lime_parameters", lime), ("evaluation_runs", evaluation)):
        some = [task for task in plan(tmp_path, profile, study) if task.table == table]
        assert len({(task.network, task.image) for task in some}) == 2 * 3
    classes = [
        (task.network, task.image.parent.name, task.arguments["classes"])
        for task in plan(tmp_path, profile, rise)
        if task.table == "rise_runs" and task.calls == profile.samples(4000)
    ]
    animals = {"elephant": [386, 101, 385], "bear": [295, 294]}.items()
    assert classes == [(network, *animal) for animal in animals for network in NETWORKS]


@profiles
def test_every_task_is_another_one_and_survives_json(tmp_path, profile):
    tasks = plan(tmp_path, profile)
    identities = {
        json.dumps([task.table, task.network, str(task.image), task.arguments], sort_keys=True)
        for task in tasks
    }
    assert len(identities) == len(tasks)
    for task in tasks:
        assert task.calls > 0 and task.function.version > 0
        assert (task.network is None) == (task.image is None)
        settings = json.loads(json.dumps(task.arguments)).get("settings", [])
        assert all(Setting(**parameters) for _, parameters in settings)


def test_estimated_calls_are_about_those_made(tmp_path):
    tasks = plan(tmp_path, PROFILES["quick"], lime, rise, evaluation)
    first = {task.table: task for task in reversed(tasks) if task.network}
    del first["evaluation_sanity"]  # makes networks of its own
    for table, task in first.items():
        network, image = Network(cached=True), tiles(4, 4)
        if table == "evaluation_shapley":  # of an image with few superpixels
            image = tiles(2, 4).repeat(2, axis=0)
        task.function(network, image, None, **task.arguments)
        assert task.calls / 2 <= network.calls <= 2 * task.calls, table


def test_the_quick_profile_takes_minutes_not_hours(tmp_path):
    calls = sum(task.calls for task in plan(tmp_path, PROFILES["quick"], lime, rise, evaluation))
    assert calls < 70_000
