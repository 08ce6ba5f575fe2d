"""How much the studies measure: the profile that ``LAB_PROFILE`` names."""

import math
import os
from typing import NamedTuple

FEWEST = 100  # samples: enough for LIME to fit the superpixels of an image, also at 299 pixels


class Profile(NamedTuple):
    """The counts of a profile.

    Attributes
    ----------
    name : {"quick", "full", "study"}
    sample_share : float
        The share of the samples above 100 that are drawn.
    seeds, stability_seeds : int
        Seeds of what is measured over seeds, on many images and on one.
    elephants, bears, objects : int or None
        Images of each kind, and objects of the evaluation's images. None for all.
    """

    name: str
    sample_share: float
    seeds: int
    stability_seeds: int
    elephants: int | None
    bears: int | None
    objects: int | None

    def samples(self, full, fewest=FEWEST):
        """A number of samples, where those above `fewest` are cut to `sample_share`.

        Parameters
        ----------
        full : int
            The number under the full profile.
        fewest : int, optional
            The number that is not cut.

        Returns
        -------
        int
            Larger for a larger `full`, if the two differ by 20 or more.
        """
        return full if full <= fewest else fewest + math.ceil((full - fewest) * self.sample_share)


PROFILES = {
    "quick": Profile("quick", 0.05, 1, 2, 2, 1, 3),
    "full": Profile("full", 1, 1, 2, 2, 1, 6),
    "study": Profile("study", 1, 3, 5, None, None, None),
}
"""The profiles by name, the smallest first."""


def read_profile():
    """The profile that the environment variable ``LAB_PROFILE`` names.

    Returns
    -------
    Profile
        "full" where the variable is not set.

    Raises
    ------
    ValueError
        If there is no such profile.
    """
    name = os.environ.get("LAB_PROFILE", "full")
    if name not in PROFILES:
        raise ValueError(f"LAB_PROFILE must be one of {', '.join(PROFILES)}, got {name!r}")
    return PROFILES[name]
