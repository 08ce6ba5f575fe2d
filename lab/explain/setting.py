"""One choice of LIME's parameters."""

import dataclasses

import numpy as np

from lab.explain.checks import check_hide_color, check_integer, check_seed


@dataclasses.dataclass(frozen=True)
class Setting:
    """One choice of LIME's parameters.

    The lab studies the first eight.

    Parameters
    ----------
    top_labels : int
        Number of leading classes to explain.
    hide_color : (int, int, int), str or None
        What a hidden superpixel shows: an RGB colour in [0, 255] or its name, such as
        "grey"; its own mean colour (None); or the blurred image ("blur"). The package
        does not know "blur", but takes an image: ``hide_color=blurred(image)``.
    num_lime_features : int
        Upper limit of the superpixels in the linear model.
    num_samples : int
        Number of perturbed samples, the image itself included.
    num_superpixels : int
        Upper limit of the superpixels shown.
    positive_only, negative_only : bool
        Show only superpixels with weights above 0, or below 0. Not both.
    hide_rest : bool
        Show the rest in black.
    seed : int
        Of the perturbed samples.
    kernel_width : float
        Of the locality kernel, in units of the cosine distance.
    superpixel_size : float
        Width of quickshift's density kernel in pixels, at least 1.
    sampling : {"lime", "balanced"}
        How the superpixels to hide are drawn. "lime" is the package's way: each with
        probability 1/2, and samples are weighted by their distance from the image.
        "balanced" is more stable: see `lab.explain.lime.perturbations`.

    Raises
    ------
    TypeError, ValueError
        If a value is out of its range.
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
            check_integer(name, getattr(self, name), 1)
        check_seed(self.seed)
        for name in ("positive_only", "negative_only", "hide_rest"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if not (_is_number(self.kernel_width) and 0 < self.kernel_width < np.inf):
            raise ValueError(f"kernel_width must be a positive number, got {self.kernel_width!r}")
        if not (_is_number(self.superpixel_size) and 1 <= self.superpixel_size < np.inf):
            raise ValueError(
                f"superpixel_size must be a number of at least 1, got {self.superpixel_size!r}"
            )
        if self.sampling not in ("lime", "balanced"):
            raise ValueError(f'sampling must be "lime" or "balanced", got {self.sampling!r}')
        if self.positive_only and self.negative_only:
            raise ValueError(
                "positive_only and negative_only cannot both be True: nothing would be shown"
            )
        if self.num_samples < self.num_superpixels:
            raise ValueError(
                f"num_samples must be at least num_superpixels ({self.num_superpixels}), "
                f"got {self.num_samples}: fewer samples cannot rank the superpixels"
            )
        object.__setattr__(self, "hide_color", check_hide_color(self.hide_color))


def _is_number(value):
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
