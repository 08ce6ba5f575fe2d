"""A network to be explained, as a function from images to class probabilities."""

import functools

import numpy as np

from lab.networks import converted
from lab.networks import runtime as runtimes
from lab.networks.classes import class_name
from lab.networks.prediction_cache import PredictionCache


class BlackBox:
    """An image classifier of which only the predictions are seen.

    Calling it with images of shape ``(N, input_size, input_size, 3)``, RGB in [0, 255], uint8 or
    float, gives the class probabilities, shape ``(N, 1000)`` float32. It preprocesses images
    itself. It raises a ``ValueError`` for any other shape and for values that are not finite or lie
    outside [0, 255]. With OpenVINO, the probabilities of an image are bitwise the same in any call.

    `lab.networks.loading.load` and `from_keras` make black boxes.

    Attributes
    ----------
    name : str
        The network's name as people write it.
    input_size : int
        Height and width of the images, in pixels.
    source : str
        Which weights these are, and where they come from.
    stands_in_for : str or None
        Name of the network that was wanted and whose weights are not available.
    fingerprint : str
        Hexadecimal digest of the network's name and weights.
    n_layers : int
        Number of layers that have weights.
    runtime : str
        Name, version and precision of what computes the predictions.
    batch_size : int
        Number of images that are predicted, and then cached, at once.
    """

    def __init__(self, name, input_size, source, about, runtime, predict, build, batch_size, cache):
        self.name, self.input_size, self.source = name, input_size, source
        self.fingerprint, self.n_layers = about["fingerprint"], about["n_layers"]
        self.runtime = runtimes.describe(runtime)
        self.batch_size = batch_size
        self.stands_in_for = None
        if cache:
            predict = PredictionCache(predict, f"{self.fingerprint} {self.runtime}")
        self._predict, self._runtime, self._cache = predict, runtime, cache
        self._build = functools.cache(build)  # the Keras network and its preprocessing

    def __repr__(self):
        return f"<BlackBox {self.name}, {self.source}, {self.runtime}>"

    def __call__(self, images):
        images = self._checked(np.asarray(images))
        probabilities = np.empty((len(images), 1000), np.float32)
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            if batch.dtype != np.uint8:
                batch = batch.astype(np.float32, copy=False)
            probabilities[start : start + len(batch)] = self._predict(batch)
        return probabilities

    def _checked(self, images):
        expected = (self.input_size, self.input_size, 3)
        if images.ndim != 4 or images.shape[1:] != expected:
            raise ValueError(
                f"{self.name} takes images of shape (N, {expected[0]}, {expected[1]}, 3), "
                f"got {images.shape}"
            )
        if images.dtype.kind not in "uif":
            raise ValueError(
                f"{self.name} takes numbers in [0, 255], got an array of {images.dtype}"
            )
        if images.dtype != np.uint8 and images.size:
            low, high = images.min(), images.max()
            if not (low >= 0 and high <= 255):  # written so that NaN fails, too
                raise ValueError(
                    f"{self.name} takes finite values in [0, 255], got values from {low} to {high}"
                )
        return images

    def top(self, image, k=3):
        """The `k` most probable classes of one image.

        Parameters
        ----------
        image : (input_size, input_size, 3) array
            RGB in [0, 255].
        k : int, optional
            How many.

        Returns
        -------
        list of (int, str, float)
            Class index, class name and probability, the most probable first.
        """
        probabilities = self(np.asarray(image)[None])[0]
        order = np.argsort(-probabilities, kind="stable")[:k]
        return [(int(i), class_name(i), float(probabilities[i])) for i in order]

    @property
    def inside(self):
        """The Keras network, for `lab.networks.gradients`; it is built, with TensorFlow, on first use."""
        return self._build()[0]

    def preprocessed(self, images):
        """Images as the network takes them: what can be differentiated with respect to them.

        Parameters
        ----------
        images : (N, H, W, 3) array or tensor
            RGB in [0, 255].

        Returns
        -------
        (N, H, W, 3) float32 tensor
        """
        from lab.networks.tensorflow_setup import tf

        return self._build()[1](tf.cast(images, tf.float32))

    def randomized(self, layers, seed=0):
        """A copy whose topmost layers are random, for the sanity check of explanations.

        The numbers within each weight tensor of these layers are permuted. Unlike a fresh
        initialisation this preserves their scale, which differs from layer to layer in a trained
        network.

        Parameters
        ----------
        layers : int
            How many layers, counted from the output, of the `n_layers` that have weights.
        seed : int, optional
            More layers with the same seed leave the upper ones as they are with fewer.

        Returns
        -------
        BlackBox
            Named after its random layers; this one does not change.

        Raises
        ------
        ValueError
            If there are not as many layers.

        References
        ----------
        .. [1] Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, whose cascading
               randomization this is.
        """
        if (
            not isinstance(layers, (int, np.integer))
            or isinstance(layers, bool)
            or not 1 <= layers <= self.n_layers
        ):
            raise ValueError(
                f"layers must be an integer from 1 to the {self.n_layers} layers of {self.name}, "
                f"got {layers!r}"
            )
        from lab.networks import keras_networks

        network, preprocess = self._build()
        which = "top layer" if layers == 1 else f"top {layers} layers"
        copy = from_keras(
            keras_networks.randomized(network, layers, seed),
            preprocess,
            f"{self.name}, {which} random",
            self.input_size,
            f"{self.source}, permuted in the {which}",
            self.batch_size,
            self._runtime,
            self._cache,
        )
        copy.stands_in_for = self.stands_in_for
        return copy


def from_keras(
    network, preprocess, name, input_size, source, batch_size=32, runtime=None, cache=True
):
    """Make a black box of a Keras network.

    Parameters
    ----------
    network : keras.Model
        From preprocessed images to probabilities of 1000 classes.
    preprocess : callable
        From a float32 tensor of images (N, H, W, 3), RGB in [0, 255], to what the network takes.
    name, input_size, source, batch_size
        The black box's attributes.
    runtime, cache
        As in `lab.networks.loading.load`.

    Returns
    -------
    BlackBox
    """
    from lab.networks import keras_networks

    runtime = runtimes.select(runtime)
    if runtime == "openvino":
        model, about = converted.convert(network, preprocess, name, input_size)
        predict = runtimes.OpenVino(model)
    else:
        about = keras_networks.identity(network, name)
        predict = runtimes.on_tensorflow(network, preprocess, input_size)

    def build():
        return network, preprocess

    return BlackBox(name, input_size, source, about, runtime, predict, build, batch_size, cache)
