"""One choice of LIME's parameters."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Setting:
    """One choice of LIME's parameters.

    The first eight are the lab's, under the lab's names; the others are left alone by the lab.

    Parameters
    ----------
    top_labels : int
        Number of leading classes to explain.
    hide_color : (int, int, int), None or "blur"
        What a hidden superpixel shows: an RGB colour in [0, 255], its own mean colour (None), or
        the blurred picture, which the package does not offer.
    num_lime_features : int
        Upper limit of the superpixels in the linear model.
    num_samples : int
        Number of perturbed pictures, the picture itself included.
    num_superpixels : int
        Upper limit of the superpixels shown.
    positive_only, negative_only : bool
        Show only superpixels that speak for, or against, the class. Not both.
    hide_rest : bool
        Show the rest in black.
    seed : int
        Of the perturbations.
    kernel_width : float
        Of the locality kernel, in units of the cosine distance.
    superpixel_size : float
        Width of quickshift's density kernel, in pixels.
    sampling : {"lime", "balanced"}
        How the superpixels to hide are drawn. "lime" is the package's way: each with probability
        1/2, far from the picture, and a weight for how far. "balanced" is a remedy for the
        unstable explanations that this gives: see `lab.explain.lime.perturbations`.

    Raises
    ------
    TypeError, ValueError
        If a value is not what it should be.
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
        for name in ("top_labels", "num_lime_features", "num_samples", "num_superpixels", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"{name} must be an integer, got {value!r}")
            lowest = 0 if name == "seed" else 1
            if value < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {value}")
        if self.seed >= 2**32:
            raise ValueError(f"seed must be below 2**32, got {self.seed}")
        for name in ("positive_only", "negative_only", "hide_rest"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("kernel_width", "superpixel_size"):
            value = getattr(self, name)
            if not isinstance(value, (int, float, np.number)) or not 0 < value < np.inf:
                raise ValueError(f"{name} must be a positive number, got {value!r}")
        if self.sampling not in ("lime", "balanced"):
            raise ValueError(f'sampling must be "lime" or "balanced", got {self.sampling!r}')
        if self.positive_only and self.negative_only:
            raise ValueError(
                "positive_only and negative_only cannot both be True: nothing would be left to show"
            )
        if self.num_samples < self.num_superpixels:
            raise ValueError(
                f"num_samples must be at least num_superpixels ({self.num_superpixels}), got {self.num_samples}: "
                "fewer perturbations cannot tell the superpixels apart"
            )
        if self.hide_color is not None and not (
            isinstance(self.hide_color, str) and self.hide_color == "blur"
        ):
            object.__setattr__(self, "hide_color", _color(self.hide_color))


def _color(value):
    try:
        color = tuple(value)
        good = len(color) == 3 and all(part == int(part) and 0 <= part <= 255 for part in color)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(
            f'hide_color must be three whole numbers in [0, 255], None or "blur", got {value!r}'
        )
    return tuple(int(part) for part in color)
