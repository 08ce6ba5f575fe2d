"""The lab's settings of LIME, and what the study varies around one of them."""

from dataclasses import fields, replace

from lab.methods.setting import Setting

NETWORKS = "xception", "resnet50"
"""The lab's networks, each of which may be replaced by its stand-in."""

KINDS = "African_elephant", "black_bear"
"""The lab's classes of images: folders in ``data/``."""

COMPARED = "lime", "rise", "rise_average", "shap", "occlusion", "random", "centre", "edges"
"""Methods whose maps are drawn and studied one by one."""

OBJECT = "object"
"""In the place of a method: an object's mask is measured as a map."""

LAB_SETTINGS = {
    "default": Setting(),
    "0": Setting(num_lime_features=500, num_samples=2000, num_superpixels=8),
    "1": Setting(hide_color=None, num_lime_features=2000, num_samples=5000, num_superpixels=15),
    "2": Setting(hide_color=None, num_lime_features=100, num_samples=3000, num_superpixels=10),
    "3": Setting(num_lime_features=100, num_samples=3000, num_superpixels=10),
    "4": Setting(num_lime_features=1000, num_samples=7000, num_superpixels=10),
    "5": Setting(hide_color=None, num_lime_features=500, num_samples=3000, num_superpixels=25),
}
"""The lab's settings, by name."""

LAB_PARAMETERS = tuple(field.name for field in fields(Setting))[:8]
"""The eight parameters that the lab studies."""

LAB = "setting of the lab"
"""In the place of a parameter: the lab's settings are measured among the parameters."""

COMBINED = "hide_color and num_superpixels"
"""The two parameters that `around` combines. Neither costs model calls."""

RECOMMENDED = "blurred image, 5"
"""The value of `COMBINED` that is compared with the lab's settings.

It was chosen on two images on 2026-11-24, see ``report/protocol.md``."""

COLORS = {
    "black": (0, 0, 0),
    "mean colour": None,
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "blurred image": "blur",
}
"""The baselines that the study compares, by name, as values of `hide_color`."""


def lab_settings(plan):
    """`LAB_SETTINGS` with the samples of a `lab.study.profile.Profile` or `Plan`."""
    return {
        name: replace(setting, num_samples=plan.samples(setting.num_samples))
        for name, setting in LAB_SETTINGS.items()
    }


def grid(base):
    """Settings that show more and more superpixels, named by parameter and number.

    The linear model has at most as many as are shown, so that its fidelity is that of
    what is shown.
    """
    return {
        ("num_superpixels", str(n)): replace(base, num_superpixels=n, num_lime_features=n)
        for n in (1, 2, 3, 5, 8, 10, 15, 20, 25, 30, 40)
    }


def around(base, num_samples):
    """Settings that vary each of the lab's eight parameters alone, and two together.

    They are named by parameter and value: under `COMBINED` by the values of both.
    `num_samples` lists the values of this parameter.
    """
    colors = ("black", "mean colour", "white", "blurred image")
    either_sign = replace(base, positive_only=False)
    combined = {
        (COMBINED, f"{name}, {n}"): replace(base, hide_color=COLORS[name], num_superpixels=n)
        for name in colors
        for n in (5, 8, 10, 15)
    }
    return {
        **_varied(base, "top_labels", (1, 2, 3)),
        **_varied(base, "hide_color", colors),
        **_varied(base, "num_lime_features", (10, 20, 100, 1000)),
        **_varied(base, "num_samples", num_samples),
        **_varied(base, "num_superpixels", (5, 8, 10, 15, 25)),
        **_varied(base, "positive_only", (True, False)),
        **_varied(either_sign, "negative_only", (True, False)),
        **_varied(base, "hide_rest", (True, False)),
        **combined,
    }


def local(base):
    """Settings that vary what decides what "local" means, named as by `around`."""
    return {
        **_varied(base, "kernel_width", (0.1, 0.25, 1.0)),
        **_varied(base, "superpixel_size", (4, 8)),
    }


def sampling_settings(sizes, base):
    """Settings that compare LIME's sampling with the balanced one, for several sizes.

    They are named by sampling and size. The balanced one has the first three sizes.
    """
    return {
        (sampling, n): replace(base, sampling=sampling, num_samples=n)
        for sampling, several in (("lime", sizes), ("balanced", sizes[:3]))
        for n in several
    }


def _varied(base, parameter, values):
    """Settings named by parameter and value, where colours are given by name."""
    return {
        (parameter, str(value)): replace(base, **{parameter: COLORS.get(value, value)})
        for value in values
    }
