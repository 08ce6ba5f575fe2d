"""What is asked: the lab's seven settings, what is varied around them, and the counts of each profile."""

import dataclasses
import os
from typing import NamedTuple

from lab.explain.setting import Setting

NETWORKS = "xception", "resnet50"
"""The networks that the lab asks, or what stands in for them."""

LAB_SETTINGS = {
    "default": Setting(),
    "0": Setting(num_lime_features=500, num_samples=2000, num_superpixels=8),
    "1": Setting(hide_color=None, num_lime_features=2000, num_samples=5000, num_superpixels=15),
    "2": Setting(hide_color=None, num_lime_features=100, num_samples=3000, num_superpixels=10),
    "3": Setting(num_lime_features=100, num_samples=3000, num_superpixels=10),
    "4": Setting(num_lime_features=1000, num_samples=7000, num_superpixels=10),
    "5": Setting(hide_color=None, num_lime_features=500, num_samples=3000, num_superpixels=25),
}
"""The lab's seven settings, by name."""

LAB_PARAMETERS = (
    "top_labels",
    "hide_color",
    "num_lime_features",
    "num_samples",
    "num_superpixels",
    "positive_only",
    "negative_only",
    "hide_rest",
)
"""The eight parameters that the lab studies."""

CANDIDATES = "hide_color and num_superpixels"
"""What is combined to find a setting better than the seven: what `around` says to decide something and to cost nothing."""

COLORS = {
    "black": (0, 0, 0),
    "mean colour": None,
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "blurred picture": "blur",
}
"""What may hide a superpixel, by name, as values of `hide_color`."""


class _Counts(NamedTuple):
    samples: float  # share of the lab's own number of samples
    seeds: int  # for what is measured over seeds on many pictures
    stability_seeds: int  # for what is measured over seeds on one picture
    elephants: int | None  # None: all that are there
    bears: int | None
    objects: int | None  # of the evaluation's pictures


_PROFILES = {
    "quick": _Counts(0.05, 1, 2, 2, 1, 3),
    "full": _Counts(1, 1, 2, 2, 1, 6),
    "study": _Counts(1, 3, 5, None, None, None),
}


def profile():
    """The value of the environment variable ``LAB_PROFILE``.

    Returns
    -------
    {"quick", "full", "study"}
        ``"full"`` when the variable is not set.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    value = os.environ.get("LAB_PROFILE", "full")
    if value not in _PROFILES:
        raise ValueError(f"LAB_PROFILE must be one of {', '.join(_PROFILES)}, got {value!r}")
    return value


def counts():
    """How many seeds and pictures the profile measures.

    Returns
    -------
    namedtuple
        ``seeds`` for what is measured on every picture, ``stability_seeds`` for what is measured on
        one, ``elephants``, ``bears`` and ``objects``: how many pictures and objects, None for all.
    """
    return _PROFILES[profile()]


def samples(full):
    """A number of samples, cut to a twentieth under the quick profile, but not below 60.

    Parameters
    ----------
    full : int
        The lab's own count.

    Returns
    -------
    int
        Sixty are enough for LIME to fit the superpixels of a picture.
    """
    return max(round(full * counts().samples), min(full, 60))


def lab_settings():
    """`LAB_SETTINGS` with the profile's numbers of samples.

    Returns
    -------
    dict of str to lab.explain.setting.Setting
    """
    return {
        name: dataclasses.replace(setting, num_samples=samples(setting.num_samples))
        for name, setting in LAB_SETTINGS.items()
    }


def grid(base):
    """Settings around one setting, a parameter at a time.

    Parameters
    ----------
    base : lab.explain.setting.Setting

    Returns
    -------
    dict of (str, str) to lab.explain.setting.Setting
        By parameter and value, as people write it. Under "num_superpixels" the linear model is limited to as
        many superpixels as are shown, so that its fidelity is that of what is shown.
    """
    found = {
        ("hide_color", name): dataclasses.replace(base, hide_color=color)
        for name, color in COLORS.items()
    }
    for n in (1, 2, 3, 5, 8, 10, 15, 20, 25, 30, 40):
        found["num_superpixels", str(n)] = dataclasses.replace(
            base, num_superpixels=n, num_lime_features=n
        )
    found |= {
        ("superpixel_size", str(size)): dataclasses.replace(base, superpixel_size=size)
        for size in (3, 4, 6, 8)
    }
    found |= {
        ("kernel_width", str(width)): dataclasses.replace(base, kernel_width=width)
        for width in (0.1, 0.15, 0.25, 0.5, 1.0)
    }
    return found


def around(base):
    """Settings that tell what each of the lab's eight parameters changes: each varied alone, and two of them together.

    Parameters
    ----------
    base : lab.explain.setting.Setting

    Returns
    -------
    dict of (str, str) to lab.explain.setting.Setting
        By parameter and value, as people write it. Under `CANDIDATES` the value is of "hide_color" and "num_superpixels".
    """

    def alone(parameter, values):
        return {
            (parameter, str(value)): dataclasses.replace(base, **{parameter: value})
            for value in values
        }

    hidden = {name: COLORS[name] for name in ("black", "mean colour", "white", "blurred picture")}
    found = alone("top_labels", (1, 2, 3))
    found |= {
        ("hide_color", name): dataclasses.replace(base, hide_color=color)
        for name, color in hidden.items()
    }
    found |= alone("num_lime_features", (10, 20, 100, 1000))
    found |= alone("num_samples", (samples(250), samples(1000), base.num_samples, samples(7000)))
    found |= alone("num_superpixels", (5, 8, 10, 15, 25))
    found |= alone("positive_only", (True, False))
    found |= {
        ("negative_only", str(only)): dataclasses.replace(
            base, positive_only=False, negative_only=only
        )
        for only in (True, False)
    }
    found |= alone("hide_rest", (True, False))
    return found | {
        (CANDIDATES, f"{name}, {n}"): dataclasses.replace(base, hide_color=color, num_superpixels=n)
        for name, color in hidden.items()
        for n in (5, 8, 10, 15)
    }


def remedy(sizes, base):
    """Settings that tell how many perturbations LIME's sampling and the balanced one need.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of samples: all with LIME's sampling, the first three with the balanced one.
    base : lab.explain.setting.Setting

    Returns
    -------
    dict of (str, int) to lab.explain.setting.Setting
        By sampling and number of samples.
    """
    return {
        (sampling, n): dataclasses.replace(base, sampling=sampling, num_samples=n)
        for sampling, several in (("lime", sizes), ("balanced", sizes[:3]))
        for n in several
    }
