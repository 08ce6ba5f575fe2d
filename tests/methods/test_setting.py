import re

import numpy as np
import pytest

from lab.methods.setting import Setting


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"positive_only": True, "negative_only": True}, "cannot both be True"),
        ({"num_samples": 10}, r"at least num_superpixels \(15\), got 10"),
        ({"num_samples": 1e3}, "num_samples must be an integer, got 1000.0"),
        ({"top_labels": 0}, "top_labels"),
        ({"seed": 2**32}, "seed must be at most 4294967295"),
        ({"hide_rest": 1}, "hide_rest must be True or False, got 1"),
        ({"kernel_width": 0}, "kernel_width must be positive and finite, got 0"),
        ({"kernel_width": True}, "kernel_width must be a number, got True"),
        ({"superpixel_size": float("nan")}, "superpixel_size must be at least 1, got nan"),
        ({"superpixel_size": "4"}, "superpixel_size must be a number, got '4'"),
        ({"sampling": "random"}, "sampling must be .*got 'random'"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Setting(**arguments)


def test_a_colour_is_a_colour_however_it_is_written():
    for color in ([255, 0, 0], np.array([255, 0, 0]), (255.0, 0, 0), "red", "#ff0000"):
        setting = Setting(hide_color=color)
        assert setting.hide_color == (255, 0, 0) and {setting} == {Setting(hide_color="red")}
    assert Setting(hide_color="blur").hide_color == "blur" and Setting(hide_color=None) != Setting()
    for bad in ((0, 0, 256), (0, 0.5, 0), (0, 0), 0, (0, 0, float("inf")), "blurry", "", "#fff8"):
        with pytest.raises(ValueError, match="hide_color must be .*" + re.escape(repr(bad))):
            Setting(hide_color=bad)
