import dataclasses
import json

import numpy as np
import pytest

from lab.explain.setting import Setting


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"positive_only": True, "negative_only": True}, "cannot both be True"),
        (
            {"hide_color": (0, 0, 256)},
            r"hide_color must be three whole numbers in \[0, 255\].*got \(0, 0, 256\)",
        ),
        ({"hide_color": (0, 0.5, 0)}, "hide_color"),
        ({"hide_color": (0, 0)}, "hide_color"),
        ({"hide_color": 0}, "hide_color"),
        ({"hide_color": "black"}, "hide_color"),
        ({"num_samples": 10}, r"at least num_superpixels \(15\), got 10"),
        ({"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ({"num_samples": 1e3}, "num_samples must be an integer, got 1000.0"),
        ({"num_samples": True}, "num_samples must be an integer, got True"),
        ({"num_lime_features": 0}, "num_lime_features"),
        ({"num_superpixels": -3}, "num_superpixels"),
        ({"top_labels": 0}, "top_labels"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 2**32}, "seed must be below"),
        ({"hide_rest": 1}, "hide_rest must be True or False, got 1"),
        ({"kernel_width": 0}, "kernel_width must be a positive number, got 0"),
        ({"superpixel_size": float("nan")}, "superpixel_size"),
        ({"superpixel_size": "4"}, "superpixel_size"),
        ({"sampling": "random"}, "sampling must be .*got 'random'"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Setting(**arguments)


def test_a_colour_is_a_colour_however_it_is_written():
    assert (
        Setting(hide_color=[1, 2, 3])
        == Setting(hide_color=np.array([1, 2, 3]))
        == Setting(hide_color=(1.0, 2, 3))
    )
    assert (
        len(
            {
                Setting(hide_color=[1, 2, 3]),
                Setting(hide_color=(1, 2, 3)),
                Setting(hide_color=None),
                Setting(hide_color="blur"),
            }
        )
        == 3
    )


@pytest.mark.parametrize(
    "setting",
    [
        Setting(),
        Setting(hide_color=None, seed=7),
        Setting(hide_color="blur", sampling="balanced", kernel_width=0.1),
    ],
)
def test_a_setting_survives_json(setting):
    assert Setting(**json.loads(json.dumps(dataclasses.asdict(setting)))) == setting


def test_a_setting_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Setting().num_samples = 3
