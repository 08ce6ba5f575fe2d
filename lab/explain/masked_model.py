"""The game that a picture's superpixels play: some are kept, the others hidden, and the model says what it sees then."""

import functools

import numpy as np
from skimage.filters import gaussian
from skimage.segmentation import quickshift

from lab.networks.asking import in_chunks

BLUR_SIGMA = 10  # pixels; at 5, the usual choice for insertion curves, an elephant is still one


class MaskedModel:
    """A picture, its superpixels, what hides them, and the model that is asked: what every superpixel method needs.

    Calling it with coalitions ``(n, n_superpixels)``, 1 where a superpixel is kept and 0 where it is
    hidden, gives the model's answers to the pictures that they make, ``(n, n_classes)``.

    Parameters
    ----------
    predict : callable
        From pictures ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    image : (H, W, 3) uint8 array
    segments : (H, W) int array
        Each pixel's superpixel, numbered from 0 without a gap.
    hide_color : (int, int, int), None or "blur"
        What a hidden superpixel shows: an RGB colour in [0, 255], its own mean colour (None), or
        the blurred picture.

    Attributes
    ----------
    n : int
        Number of superpixels.
    hidden : (H, W, 3) uint8 array
        The picture with all of them hidden.

    Raises
    ------
    ValueError
        If picture and superpixels do not fit each other.
    """

    def __init__(self, predict, image, segments, hide_color):
        image, segments = check_image(image), np.asarray(segments)
        if segments.shape != image.shape[:2]:
            raise ValueError(
                f"segments must be of the picture's shape {image.shape[:2]}, got {segments.shape}"
            )
        numbers = np.unique(segments)
        if not np.array_equal(numbers, np.arange(len(numbers))):
            raise ValueError(
                f"segments must be numbered from 0 without a gap, got {len(numbers)} of them from {numbers[0]} to {numbers[-1]}"
            )
        self.predict, self.image, self.segments, self.n = predict, image, segments, len(numbers)
        self.hidden = _hidden(image, segments, hide_color)
        self._channels = np.repeat(segments[..., None], 3, axis=-1)

    def __call__(self, kept, progress=iter):
        return in_chunks(self.predict, self.pictures, kept, progress)

    def value(self, kept):
        """The probability of the model's first class for each coalition, (n,) float64: a game in the sense of Shapley."""
        return self(kept)[:, 0].astype(np.float64)

    def pictures(self, kept):
        """The pictures that coalitions make.

        Parameters
        ----------
        kept : (n, n_superpixels) array
            0 or 1.

        Returns
        -------
        (n, H, W, 3) uint8 array
        """
        # Bitwise, for this takes a tenth of the time of indexing or np.where: all ones where kept.
        batch = np.take(np.where(kept, 255, 0).astype(np.uint8), self._channels, axis=1)
        batch &= self.image ^ self.hidden
        batch ^= self.hidden
        return batch


def superpixels(image, size=4):
    """The superpixels that LIME explains a picture with: quickshift with the package's own parameters.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    size : float, optional
        Width of quickshift's density kernel, in pixels.

    Returns
    -------
    (H, W) int array
        Each pixel's superpixel, numbered from 0.

    References
    ----------
    .. [1] Vedaldi, Soatto, "Quick Shift and Kernel Methods for Mode Seeking", ECCV 2008.
    """
    image = check_image(image)
    return _superpixels(image.tobytes(), image.shape, size)


@functools.lru_cache(maxsize=256)
def _superpixels(data, shape, size):
    # The package passes its seed on under a name that scikit-image no longer has, so that in both
    # places scikit-image's own default breaks ties.
    segments = quickshift(
        np.frombuffer(data, np.uint8).reshape(shape), kernel_size=size, max_dist=200, ratio=0.2
    )
    segments.flags.writeable = False
    return segments


def blurred(image):
    """A picture in which nothing is to be recognised: what insertion starts from.

    Parameters
    ----------
    image : (H, W, 3) uint8 array

    Returns
    -------
    (H, W, 3) uint8 array
    """
    return np.round(gaussian(image, sigma=BLUR_SIGMA, channel_axis=-1, preserve_range=True)).astype(
        np.uint8
    )


def blurred_away(image, region):
    """A picture in which nothing is to be recognised of a region.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    region : (H, W) bool array

    Returns
    -------
    (H, W, 3) uint8 array
    """
    return np.where(region[..., None], blurred(image), image)


def mean_colour(image):
    """A picture's mean colour, rounded to one that a picture can have.

    Parameters
    ----------
    image : (H, W, 3) uint8 array

    Returns
    -------
    (3,) uint8 array
    """
    return np.round(np.mean(image, axis=(0, 1))).astype(np.uint8)


def _hidden(image, segments, hide_color):
    if isinstance(hide_color, str) and hide_color == "blur":
        return blurred(image)
    if hide_color is None:
        area = np.bincount(segments.ravel())
        means = [np.bincount(segments.ravel(), image[..., c].ravel()) / area for c in range(3)]
        # Cut off, not rounded: the package assigns its means to an array of the picture's type.
        return np.stack(means, axis=-1).astype(np.uint8)[segments]
    return np.broadcast_to(np.array(hide_color, np.uint8), image.shape)


def check_image(image):
    """A picture as an array, if it is one."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) of uint8, got {image.shape} of {image.dtype}")
    return image
