"""A network to be explained, as a function from images to class probabilities."""

import functools

import numpy as np

from lab.model_calls import is_integer
from lab.networks import converted
from lab.networks import runtime as runtimes
from lab.networks.classes import names_of
from lab.networks.prediction_cache import PredictionCache


class BlackBox:
    """An image classifier of which only the predictions are seen.

    It is called with images (N, input_size, input_size, 3), RGB in [0, 255], uint8
    or float, and returns class probabilities (N, n_classes), float32. For images of
    another shape, and for values that are not finite or outside [0, 255], it raises a
    ``ValueError``. With OpenVINO an image's probabilities are bitwise the same in any
    call.

    `lab.networks.load` and `from_keras` make black boxes.

    Parameters
    ----------
    predict : callable
        From images, uint8 or float32, to probabilities.
    key : str or None
        What predictions depend on beside the image; with None they are not cached.
    build : callable, optional
        Makes the Keras network and its preprocessing.
    name, input_size, source, fingerprint, n_layers, batch_size
        The attributes.
    classes : lab.networks.classes.ClassNames
    runtime : str
        "openvino", "tensorflow", or what else computes the predictions.

    Attributes
    ----------
    name, source, runtime : str
        The network, the origin of its weights, and what computes the predictions.
    input_size : int
        Height and width of the images, in pixels.
    class_names : tuple of str
    fingerprint : str
        Hexadecimal digest: of the name and the weights of a Keras network, else of what
        computes.
    n_layers : int
        Number of layers that have weights, of a Keras network.
    batch_size : int
        Number of images that are predicted, and then cached, at once.
    stands_in_for : str or None
        Name of the network that was wanted and is not available.
    """

    def __init__(
        self,
        predict,
        key,
        build=None,
        *,
        name,
        input_size,
        source,
        classes,
        fingerprint,
        runtime,
        n_layers=0,
        batch_size=32,
    ):
        self.name, self.input_size, self.source = name, input_size, source
        self.fingerprint, self.n_layers, self.batch_size = fingerprint, n_layers, batch_size
        self._classes = classes
        self.class_names, self.class_name = classes.names, classes.name
        self.class_index, self.close_names = classes.index, classes.close
        self.runtime = runtimes.describe(runtime)
        self.stands_in_for = None
        if key is not None:
            predict = PredictionCache(predict, f"{key} {self.runtime}")
        self._predict, self._runtime, self._cached = predict, runtime, key is not None
        self._build = functools.cache(build) if build else None

    def __repr__(self):
        return f"<BlackBox {self.name}, {self.source}, {self.runtime}>"

    def __call__(self, images):
        """Predict: see the class."""
        images = self._checked(np.asarray(images))
        probabilities = np.empty((len(images), len(self.class_names)), np.float32)
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            if batch.dtype != np.uint8:
                batch = batch.astype(np.float32, copy=False)
            made = self._predict(batch)
            if made.shape != (len(batch), len(self.class_names)):  # NumPy would broadcast it
                raise ValueError(
                    f"{self.name} has {len(self.class_names)} classes, and returned scores of "
                    f"shape {made.shape} for {len(batch)} images"
                )
            probabilities[start : start + len(batch)] = made
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
            if images.dtype.kind == "f" and 0 < high <= 1:
                runtimes.print_once(
                    f"Hint: {self.name} takes values in [0, 255], and the largest of these images "
                    f"is {high:.3g}. If they are in [0, 1], multiply them by 255."
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
        return [(int(i), self.class_name(i), float(probabilities[i])) for i in order]

    @property
    def keras_model(self):
        """The Keras network, from preprocessed images to probabilities.

        It is built when it is first needed.

        Raises
        ------
        ValueError
            If the black box is no Keras network.
        """
        return self._built()[0]

    def preprocessed(self, images):
        """Images (N, H, W, 3), array or tensor, as the tensor `keras_model` takes."""
        from lab.networks.tensorflow_setup import tf

        return self._built()[1](tf.cast(images, tf.float32))

    def _built(self):
        if self._build is None:
            raise ValueError(
                f"{self.name} is no Keras network: gradients and random layers need one"
            )
        return self._build()

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
            If there are not as many layers, or it is no Keras network.

        References
        ----------
        .. [1] Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
        """
        network, preprocess = self._built()
        if not is_integer(layers) or not 1 <= layers <= self.n_layers:
            raise ValueError(
                f"layers must be an integer from 1 to the {self.n_layers} layers of {self.name}, "
                f"got {layers!r}"
            )
        from lab.networks import keras_networks

        which = "top layer" if layers == 1 else f"top {layers} layers"
        copy = from_keras(
            keras_networks.randomized(network, layers),
            preprocess,
            f"{self.name}, {which} random",
            self.input_size,
            f"{self.source}, permuted in the {which}",
            self.batch_size,
            self._runtime,
            self._cached,
            self._classes,
        )
        copy.stands_in_for = self.stands_in_for
        return copy


def from_keras(
    network,
    preprocess,
    name,
    input_size,
    source,
    batch_size=32,
    runtime=None,
    cache=True,
    classes=None,
):
    """Make a black box of a Keras network.

    Parameters
    ----------
    network : keras.Model
        From preprocessed images to probabilities.
    preprocess : callable
        From float32 images (N, H, W, 3), RGB in [0, 255], to the network's input.
    name, input_size, source, batch_size
        The black box's attributes.
    runtime, cache
        As in `lab.networks.load`.
    classes : lab.networks.classes.ClassNames, optional
        By default ImageNet's names for 1000 or 1001 classes, else numbers.

    Returns
    -------
    BlackBox
    """
    from lab.networks import keras_networks

    runtime = runtimes.select(runtime)
    if runtime == "openvino":
        model = converted.convert(network, preprocess, input_size)
        predict, key = runtimes.OpenVino(model), cache and converted.graph_digest(model)
    else:
        predict, key = runtimes.on_tensorflow(network, preprocess, input_size)
    return BlackBox(
        predict,
        key if cache else None,
        lambda: (network, preprocess),
        name=name,
        input_size=input_size,
        source=source,
        classes=classes or names_of(network.output_shape[-1]),
        runtime=runtime,
        batch_size=batch_size,
        **keras_networks.identity(network, name),
    )
