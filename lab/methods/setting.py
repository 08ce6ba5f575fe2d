"""One choice of LIME's parameters."""

import dataclasses

import numpy as np

from lab.methods.checks import MOST_CALLS, check_hide_color, check_integer, check_seed
from lab.model_calls import is_integer


@dataclasses.dataclass(frozen=True)
class Setting:
    """One choice of LIME's parameters, of which the lab studies the first eight.

    Parameters
    ----------
    top_labels : int, optional
        Number of leading classes to explain, at least 1.
    hide_color : (int, int, int), str or None, optional
        What a hidden superpixel shows, by default black: an RGB colour in [0, 255] or
        its name, such as "grey"; its own mean colour (None); or the blurred image
        ("blur"), for which the package takes ``hide_color=blurred(image)``.
    num_lime_features : int, optional
        The most superpixels in the linear model, at least 1; by default all.
    num_samples : int, optional
        Number of perturbed samples, the image itself included; at least
        `num_superpixels` and the image's number of superpixels.
    num_superpixels : int, optional
        The most superpixels shown, at least 1.
    positive_only, negative_only : bool, optional
        Show only superpixels with weights above 0, or below 0; not both.
    hide_rest : bool, optional
        Show the rest in black.
    seed : int, optional
        Of the perturbed samples, from 0 to 2**32 - 1.
    kernel_width : float, optional
        Of the locality kernel, a cosine distance above 0.
    superpixel_size : float, optional
        Width of quickshift's density kernel in pixels, at least 1.
    sampling : {"lime", "balanced"}, optional
        See `lab.methods.lime.perturbations`.

    Raises
    ------
    TypeError, ValueError
        If a value is not of its type or out of its range.
    """

    top_labels: int = 1
    hide_color: tuple | str | None = (0, 0, 0)
    num_lime_features: int = 100_000
    num_samples: int = 5000
    num_superpixels: int = 15
    positive_only: bool = True
    negative_only: bool = False
    hide_rest: bool = True
    seed: int = 0
    kernel_width: float = 0.25
    superpixel_size: float = 4
    sampling: str = "lime"

    def __post_init__(self):
        for name in ("top_labels", "num_lime_features", "num_samples", "num_superpixels"):
            check_integer(name, getattr(self, name), 1, MOST_CALLS)
        check_seed(self.seed)
        for name in ("positive_only", "negative_only", "hide_rest"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("kernel_width", "superpixel_size"):
            value = getattr(self, name)
            if not (is_integer(value) or isinstance(value, (float, np.floating))):
                raise TypeError(f"{name} must be a number, got {value!r}")
        if not 0 < self.kernel_width < np.inf:
            raise ValueError(f"kernel_width must be positive and finite, got {self.kernel_width}")
        if not 1 <= self.superpixel_size < np.inf:
            raise ValueError(f"superpixel_size must be at least 1, got {self.superpixel_size}")
        if self.sampling not in ("lime", "balanced"):
            raise ValueError(f'sampling must be "lime" or "balanced", got {self.sampling!r}')
        if self.positive_only and self.negative_only:
            raise ValueError("positive_only and negative_only cannot both be True")
        if self.num_samples < self.num_superpixels:
            got = f"({self.num_superpixels}), got {self.num_samples}"
            raise ValueError(f"num_samples must be at least num_superpixels {got}")
        object.__setattr__(self, "hide_color", check_hide_color(self.hide_color))
