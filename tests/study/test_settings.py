import dataclasses
import json

import pytest

from lab.explain.setting import Setting
from lab.study import settings
from lab.study.settings import (
    COLORS,
    LAB_PARAMETERS,
    LAB_SETTINGS,
    counts,
    grid,
    lab_settings,
    profile,
    remedy,
    samples,
)


def test_lab_settings_are_the_assignments():
    assert list(LAB_SETTINGS) == ["default", "0", "1", "2", "3", "4", "5"]
    assert [s.num_samples for s in LAB_SETTINGS.values()] == [
        5000,
        2000,
        5000,
        3000,
        3000,
        7000,
        3000,
    ]
    assert [s.num_superpixels for s in LAB_SETTINGS.values()] == [15, 8, 15, 10, 10, 10, 25]
    assert [s.num_lime_features for s in LAB_SETTINGS.values()] == [
        100000,
        500,
        2000,
        100,
        100,
        1000,
        500,
    ]
    assert [s.hide_color for s in LAB_SETTINGS.values()] == [
        (0, 0, 0),
        (0, 0, 0),
        None,
        None,
        (0, 0, 0),
        (0, 0, 0),
        None,
    ]
    for setting in LAB_SETTINGS.values():
        assert (
            setting.top_labels,
            setting.positive_only,
            setting.negative_only,
            setting.hide_rest,
        ) == (1, True, False, True)
        assert (
            dataclasses.replace(
                setting, **{name: getattr(Setting(), name) for name in LAB_PARAMETERS}
            )
            == Setting()
        )


def test_full_is_the_default(monkeypatch):
    monkeypatch.delenv("LAB_PROFILE")
    assert profile() == "full" and samples(4000) == 4000


def test_quick_cuts_counts(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "quick")
    assert [samples(n) for n in (4000, 200, 16)] == [200, 60, 16]
    for name, setting in lab_settings().items():
        assert setting == dataclasses.replace(
            LAB_SETTINGS[name], num_samples=samples(LAB_SETTINGS[name].num_samples)
        )


@pytest.mark.parametrize("name", ["full", "study"])
def test_other_profiles_measure_the_lab_as_it_is(monkeypatch, name):
    monkeypatch.setenv("LAB_PROFILE", name)
    assert lab_settings() == LAB_SETTINGS and list(lab_settings()) == list(LAB_SETTINGS)


def test_a_study_measures_more_than_full_and_full_more_than_quick(monkeypatch):
    measured = {}
    for name in ("quick", "full", "study"):
        monkeypatch.setenv("LAB_PROFILE", name)
        measured[name] = counts()
    quick, full, study = measured.values()
    assert quick.samples < full.samples == study.samples == 1
    assert (
        quick.seeds <= full.seeds < study.seeds
        and quick.stability_seeds <= full.stability_seeds < study.stability_seeds
    )
    assert study.elephants is None and study.bears is None
    assert quick.elephants >= 2 and quick.bears >= 1  # two of a class, and one of another


def test_an_unknown_profile_is_named(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "fast")
    for ask in (profile, counts, lambda: samples(10), settings.lab_settings):
        with pytest.raises(
            ValueError, match="LAB_PROFILE must be one of quick, full, study, got 'fast'"
        ):
            ask()


@pytest.mark.parametrize(
    "base",
    [
        Setting(num_samples=2000),
        Setting(hide_color=None, num_samples=100, num_superpixels=3, seed=2),
    ],
)
def test_the_grid_varies_one_parameter_at_a_time(base):
    varied = {}
    for (parameter, value), setting in grid(base).items():
        differing = {
            field.name
            for field in dataclasses.fields(Setting)
            if getattr(setting, field.name) != getattr(base, field.name)
        }
        got = getattr(setting, parameter)
        assert got == COLORS[value] if parameter == "hide_color" else str(got) == value
        assert differing <= (
            {parameter, "num_lime_features"} if parameter == "num_superpixels" else {parameter}
        )
        varied.setdefault(parameter, []).append(got)
    assert list(varied) == ["hide_color", "num_superpixels", "superpixel_size", "kernel_width"]
    assert varied["hide_color"] == list(COLORS.values()) and len(set(varied["hide_color"])) == 7
    for parameter in ("num_superpixels", "superpixel_size", "kernel_width"):
        assert (
            varied[parameter] == sorted(set(varied[parameter]))
            and getattr(Setting(), parameter) in varied[parameter]
        )
    for setting in grid(base).values():
        assert Setting(**json.loads(json.dumps(dataclasses.asdict(setting)))) == setting


def test_the_remedy_differs_in_sampling_and_number_only():
    base = Setting(hide_color=None, seed=3)
    found = remedy([100, 200, 400, 800], base)
    assert list(found) == [
        ("lime", 100),
        ("lime", 200),
        ("lime", 400),
        ("lime", 800),
        ("balanced", 100),
        ("balanced", 200),
        ("balanced", 400),
    ]
    for (sampling, n), setting in found.items():
        assert setting == dataclasses.replace(base, sampling=sampling, num_samples=n)
