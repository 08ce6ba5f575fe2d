"""The registry of methods: what the lab knows of each, and one call for all.

Commands, studies, figures, tables and tests read `METHODS`. A new method is a function
and an entry here.
"""

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from lab.methods.checks import MOST_CALLS, check_image, check_integer, check_label, check_seed


class Method(NamedTuple):
    """A method that explains.

    Attributes
    ----------
    title : str
        As figures, tables and pages show it.
    function : str
        ``"module:name"`` of ``function(black_box, image, label, budget, seed,
        **options)``, imported when it is needed. It trusts its arguments, which
        `explain` has checked. With `gradients`, it has no budget and no seed.
    options : mapping
        Further arguments of the function.
    baseline : str
        What the method shows in place of what it hides; empty if it hides nothing.
    draws : bool
        Whether it draws at random, so that its map depends on the seed.
    effects : str
        Of a `signed` map, where 0 means no effect and values below 0 speak against the
        class: what its values are the effects of. Empty for other maps.
    calls_model : bool
        Whether its model calls count against the budget.
    gradients : bool
        Whether it needs the inside of a `lab.networks.blackbox.BlackBox`.
    least, least_per_superpixel : int
        The fewest model calls, and how many more for each superpixel of the image.
    """

    title: str
    function: str
    options: Mapping = MappingProxyType({})
    baseline: str = ""
    draws: bool = False
    effects: str = ""
    calls_model: bool = True
    gradients: bool = False
    least: int = 1
    least_per_superpixel: int = 0

    @property
    def signed(self):
        """Whether what is below 0 in its map speaks against the class."""
        return bool(self.effects)

    @property
    def control(self):
        """Whether it looks at no network, so that its map explains nothing."""
        return not (self.calls_model or self.gradients)


PIXEL = "pixel"
"""The effects that add up to that of all pixels."""

_SUPERPIXELS = "lab.methods.coalitions:by_superpixels"
_LIME = {"draws": True, "effects": "superpixel", "least": 1, "least_per_superpixel": 1}
# Coalitions are drawn with their complements, which add nothing to the regression: with
# two for each feature, it is often singular, and the package may not notice.
_SHAP = _LIME | {"least": 2, "least_per_superpixel": 4}
_OCCLUSION = {"effects": "window", "least": 2}

METHODS = {
    "lime": Method("LIME", _SUPERPIXELS, {"method": "lime"}, "own mean colour", **_LIME),
    "lime_black": Method(
        "LIME (black)", _SUPERPIXELS, {"method": "lime", "hide_color": (0, 0, 0)}, "black", **_LIME
    ),
    "lime_blurred": Method(
        "LIME (blurred)", _SUPERPIXELS, {"method": "lime", "hide_color": "blur"}, "blurred", **_LIME
    ),
    "shap": Method("KernelSHAP", _SUPERPIXELS, {"method": "shap"}, "own mean colour", **_SHAP),
    "rise": Method(
        "RISE (regression)",
        "lab.methods.random_masks:rise_map",
        {"estimator": "regression"},
        "black",
        draws=True,
        least=2,
    ),
    "rise_average": Method(
        "RISE (average)",
        "lab.methods.random_masks:rise_map",
        {"estimator": "average"},
        "black",
        draws=True,
    ),
    "soft": Method(
        "Soft superpixels",
        "lab.methods.random_masks:soft_superpixels",
        baseline="black",
        draws=True,
        least=4,
    ),
    "occlusion": Method(
        "Occlusion",
        "lab.methods.occlusion:occlusion",
        {"baseline": "mean colour"},
        "mean colour",
        **_OCCLUSION,
    ),
    "occlusion_black": Method(
        "Occlusion (black)",
        "lab.methods.occlusion:occlusion",
        {"baseline": "black"},
        "black",
        **_OCCLUSION,
    ),
    "occlusion_blurred": Method(
        "Occlusion (blurred)",
        "lab.methods.occlusion:occlusion",
        {"baseline": "blurred"},
        "blurred",
        **_OCCLUSION,
    ),
    "nested": Method(
        "Nested occlusion",
        "lab.methods.occlusion:nested_occlusion",
        baseline="mean colour",
        draws=True,
        effects="summed window",
        least=3,
    ),
    "owen": Method(
        "Owen values (shap)", "lab.methods.owen:owen", baseline="blurred", effects=PIXEL, least=4
    ),
    "combined": Method(
        "Combined",
        "lab.methods.combined:combined",
        baseline="blurred, mean colour, black",
        draws=True,
        least=12,
    ),
    "random": Method("Random", "lab.methods.controls:noise", draws=True, calls_model=False),
    "centre": Method("Centre Gaussian", "lab.methods.controls:centre", calls_model=False),
    "edges": Method("Edge detector", "lab.methods.controls:edges", calls_model=False),
    "grad_cam": Method(
        "Grad-CAM", "lab.networks.gradients:grad_cam", calls_model=False, gradients=True
    ),
    "integrated_gradients": Method(
        "Integrated gradients",
        "lab.networks.gradients:integrated_gradients",
        baseline="black",
        effects=PIXEL,
        calls_model=False,
        gradients=True,
    ),
    "expected_gradients": Method(
        "Expected gradients",
        "lab.networks.gradients:expected_gradients",
        baseline="black, grey, white",
        effects=PIXEL,
        calls_model=False,
        gradients=True,
    ),
}


def explain(method, black_box, image, label, budget, seed=0):
    """Explain a class of an image within a budget of model calls.

    Parameters
    ----------
    method : str
        A key of `METHODS`, which ``docs/explain.md`` describes.
    black_box : callable
        From images ``(N, H, W, 3)`` to scores ``(N, n_classes)``.
    image : (H, W, 3) uint8 array
    label : int
        The class to explain.
    budget : int
        The most images that the black box may be called with.
    seed : int, optional
        Of whatever the method draws; equal seeds give equal maps.

    Returns
    -------
    (H, W) float32 array
        Higher is more important. In units of the score, except for controls, Grad-CAM
        and "combined".

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described or the budget is too small for the method,
        before any model call; or if the scores are not finite numbers.
    """
    if not isinstance(method, str):
        raise TypeError(f"method must be the name of one, got {type(method).__name__}")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(METHODS)}")
    if not callable(black_box):
        expected = "a function from images to scores, such as lab.networks.load returns"
        raise TypeError(f"black_box must be {expected}, got {type(black_box).__name__}")
    entry, image, label = METHODS[method], check_image(image), check_label(label)
    arguments = check_explainable(method, black_box, image, budget), check_seed(seed)
    if entry.gradients:
        arguments = ()
    module, name = entry.function.split(":")
    function = getattr(importlib.import_module(module), name)
    saliency = function(black_box, image, label, *arguments, **entry.options)
    return np.asarray(saliency, np.float32)


def fewest_calls(methods, n_superpixels):
    """The fewest model calls with which all of some methods can explain an image.

    Parameters
    ----------
    methods : iterable of str
        Keys of `METHODS`.
    n_superpixels : int
        Of the image; there are no more than ``2**n_superpixels`` coalitions.
    """
    least = [1]
    for entry in (METHODS[method] for method in methods):
        calls = entry.least + entry.least_per_superpixel * n_superpixels
        least.append(min(calls, 2**n_superpixels) if entry.least_per_superpixel else calls)
    return max(least)


def check_explainable(method, black_box, image, budget):
    """Return a budget that is enough to explain an image, without a model call.

    Raises
    ------
    TypeError, ValueError
        If it is too small for the method, or the method needs another black box.
    """
    n_superpixels = 0
    if METHODS[method].least_per_superpixel:
        from lab.methods.masked_model import superpixels  # takes seconds

        n_superpixels = int(superpixels(image).max()) + 1
    if METHODS[method].gradients:
        try:
            _ = black_box.keras_model
        except (AttributeError, ValueError) as error:  # a function; a network of another kind
            raise ValueError(f"{method} needs a Keras network, got {black_box!r}") from error
    return check_budget(budget, method, n_superpixels)


def check_budget(budget, method, n_superpixels):
    """Return a budget as an int; else a TypeError or ValueError as of `explain`."""
    budget = check_integer("budget", budget, 1, MOST_CALLS)
    least = fewest_calls([method], n_superpixels)
    if budget < least:
        which = f" with {n_superpixels} superpixels" if METHODS[method].least_per_superpixel else ""
        raise ValueError(
            f"budget must be at least {least} model calls for {method}{which}, got {budget}"
        )
    return budget


def methods_of(text):
    """The keys of `METHODS` in a text such as "lime, rise", without repetitions.

    Raises
    ------
    ValueError
        If it names another one.
    """
    methods = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"--methods must be of {', '.join(METHODS)}, got {method!r}")
    return methods
