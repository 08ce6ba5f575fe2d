"""How many samples the studies draw: the profile that ``LAB_PROFILE`` names."""

import hashlib
import math
import os
from typing import NamedTuple

SHARE = 8  # of many images an eighth of the samples is drawn
FEWEST = 100  # samples: enough for LIME to fit the superpixels of an image, also at 299 pixels


class Profile(NamedTuple):
    """The counts of a profile.

    Attributes
    ----------
    name : {"quick", "full"}
    sample_share : float
        The share of the samples above 100 that are drawn.
    """

    name: str
    sample_share: float

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


PROFILES = {"quick": Profile("quick", 0.05), "full": Profile("full", 1)}
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


def hashed(path):
    """What photographs are ordered by, of which the first ones may be measured."""
    return hashlib.sha256(path.name.encode()).hexdigest()


class Plan(NamedTuple):
    """What a study is to measure.

    Attributes
    ----------
    images : dict of str to list of pathlib.Path
        By class. They may be none: then only what needs no image is measured.
    profile : Profile
    seeds : int
        Seeds of what is measured over seeds on many images. With more than one, what is
        measured on the first elephant alone is measured on the first of each class.
    many : bool
        Whether the images are those of a folder, and many: then an eighth of the
        samples is drawn, nothing is measured on few images alone, and no map is kept.
    """

    images: dict
    profile: Profile
    seeds: int = 1
    many: bool = False

    @property
    def every(self):
        """All images."""
        return [path for paths in self.images.values() for path in paths]

    @property
    def some(self):
        """The images of what is measured on few."""
        if self.many:
            return []
        first = [paths[0] for paths in self.images.values()]
        return first if self.seeds > 1 else first[:1]

    @property
    def repeats(self):
        """Seeds of what is measured on few images."""
        return max(2, 2 * self.seeds - 1)

    def samples(self, full, fewest=FEWEST):
        """As of the `Profile`, or an eighth of it."""
        samples = self.profile.samples(full, fewest)
        return max(fewest, samples // SHARE) if self.many else samples
