"""A network to be explained, as a function from images to class probabilities."""

import functools

import numpy as np

from lab.model_calls import is_integer
from lab.networks import converted
from lab.networks import runtime as runtimes
from lab.networks.classes import class_name
from lab.networks.prediction_cache import PredictionCache


class BlackBox:
    """An image classifier of which only the predictions are seen.

    It is called with images (N, input_size, input_size, 3), RGB in [0, 255], uint8
    or float, and returns class probabilities (N, 1000), float32. For images of
    another shape, and for values that are not finite or outside [0, 255], it raises a
    ``ValueError``. With OpenVINO an image's probabilities are bitwise the same in any
    call.

    `lab.networks.loading.load` and `from_keras` make black boxes.

    Attributes
    ----------
    name, source, runtime : str
        The network, the origin of its weights, and what computes the predictions.
    input_size : int
        Height and width of the images, in pixels.
    fingerprint : str
        Hexadecimal digest of the name and the weights.
    n_layers : int
        Number of layers that have weights.
    batch_size : int
        Number of images that are predicted, and then cached, at once.
    stands_in_for : str or None
        Name of the network that was wanted and is not available.
    """

    def __init__(self, name, input_size, source, about, runtime, predict, build, batch_size, cache):
        self.name, self.input_size, self.source = name, input_size, source
        self.fingerprint, self.n_layers = about["fingerprint"], about["n_layers"]
        self.runtime = runtimes.describe(runtime)
        self.batch_size = batch_size
        self.stands_in_for = None
        if cache:
            identity = f"{self.fingerprint} {self.runtime} {converted.VERSION}"
            predict = PredictionCache(predict, identity)
        self._predict, self._runtime, self._cache = predict, runtime, cache
        self._build = functools.cache(build)  # the Keras network and its preprocessing

    def __repr__(self):
        return f"<BlackBox {self.name}, {self.source}, {self.runtime}>"

    def __call__(self, images):
        """Predict: see the class."""
        images = self._checked(np.asarray(images))
        probabilities = np.empty((len(images), 1000), np.float32)
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            if batch.dtype != np.uint8:
                batch = batch.astype(np.float32, copy=False)
            probabilities[start : start + len(batch)] = self._predict(batch)
        return probabilities

    def _checked(self, images):
        size = self.input_size
        if images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise ValueError(
                f"{self.name} takes images of shape (N, {size}, {size}, 3), got {images.shape}"
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
        """The Keras network, which is built when it is first needed."""
        return self._build()[0]

    def preprocessed(self, images):
        """Images (N, H, W, 3), array or tensor, as the tensor that `inside` takes."""
        from lab.networks.tensorflow_setup import tf

        return self._build()[1](tf.cast(images, tf.float32))

    def randomized(self, layers):
        """A copy whose topmost layers are random, for sanity checks [1]_.

        The numbers in each weight tensor of these layers are permuted. Unlike a fresh
        initialisation this preserves their scale, which differs between layers. More
        random layers leave the upper ones as they are with fewer.

        Parameters
        ----------
        layers : int
            How many of the `n_layers`, counted from the output.

        Returns
        -------
        BlackBox
            Named after its random layers.

        Raises
        ------
        ValueError
            If there are not as many layers.

        References
        ----------
        .. [1] Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
        """
        if not is_integer(layers) or not 1 <= layers <= self.n_layers:
            raise ValueError(
                f"layers must be an integer from 1 to the {self.n_layers} layers of {self.name}, "
                f"got {layers!r}"
            )
        from lab.networks import keras_networks

        network, preprocess = self._build()
        which = "top layer" if layers == 1 else f"top {layers} layers"
        copy = from_keras(
            keras_networks.randomized(network, layers),
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
        From float32 images (N, H, W, 3), RGB in [0, 255], to the network's input.
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
    about = keras_networks.identity(network, name)
    if runtime == "openvino":
        predict = runtimes.OpenVino(converted.convert(network, preprocess, input_size))
    else:
        predict = runtimes.on_tensorflow(network, preprocess, input_size)

    def build():
        return network, preprocess

    return BlackBox(name, input_size, source, about, runtime, predict, build, batch_size, cache)
