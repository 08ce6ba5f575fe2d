"""A network to be explained, as a function from pictures to class probabilities."""

import contextlib
import functools
import hashlib
import os

import numpy as np

from lab.networks.asking import Asked
from lab.networks.classes import class_name


@contextlib.contextmanager
def _quiet_start_up():
    # TensorFlow's C++ code writes straight to the process' stderr while it is imported, before
    # any setting of its own can stop it, and a notebook would keep these lines.
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever a user's keras.json says
with _quiet_start_up():
    import tensorflow as tf

    import keras


class BlackBox:
    """An image classifier of which only the answers are seen.

    Calling it with pictures of shape ``(N, input_size, input_size, 3)``, RGB in [0, 255], uint8
    or float, gives the class probabilities, shape ``(N, 1000)`` float32. Preprocessing and
    batching are its own business. It raises a ``ValueError`` for any other shape and for values
    that are not finite or lie outside [0, 255].

    Attributes
    ----------
    name : str
        The network's name as people write it.
    input_size : int
        Height and width of the pictures, in pixels.
    source : str
        Which weights these are, and where they come from.
    stands_in_for : str or None
        Name of the network that was asked for and could not be had.
    batch_size : int
        Number of pictures that go through the network at once.
    n_layers : int
        Number of layers that have weights.
    """

    def __init__(self, network, name, input_size, preprocess, source, batch_size=32):
        self.name = name
        self.input_size = input_size
        self.source = source
        self.stands_in_for = None
        self.batch_size = batch_size
        self._network = network
        self._preprocess = preprocess
        # The open batch dimension is what lets one trace serve the last, smaller batch as well.
        self._predict = tf.function(
            lambda images: network(preprocess(images), training=False),
            input_signature=[tf.TensorSpec((None, input_size, input_size, 3), tf.float32)],
        )

    def __repr__(self):
        return f"<BlackBox {self.name}, {self.source}>"

    def __call__(self, images):
        images = np.asarray(images)
        expected = (self.input_size, self.input_size, 3)
        if images.ndim != 4 or images.shape[1:] != expected:
            raise ValueError(
                f"{self.name} takes pictures of shape (N, {expected[0]}, {expected[1]}, 3), got {images.shape}"
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
        probabilities = np.empty((len(images), 1000), np.float32)
        # Called directly, TensorFlow warns of "retracing" where randomized copies come and go.
        predict = self._predict.get_concrete_function()
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            if batch.dtype != np.uint8:
                batch = batch.astype(np.float32, copy=False)
            # Bytes are converted by TensorFlow, which has a quarter to copy then and uses all cores.
            probabilities[start : start + len(batch)] = predict(tf.cast(batch, tf.float32)).numpy()
        return probabilities

    def top(self, image, k=3):
        """The `k` most probable classes of one picture, which is asked about once and then kept on disk.

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
        probabilities = Asked(self)(np.asarray(image)[None])[0]
        order = np.argsort(-probabilities, kind="stable")[:k]
        return [(int(i), class_name(i), float(probabilities[i])) for i in order]

    @property
    def inside(self):
        """The network itself, as `lab.networks.gradients` needs it: no black box any more."""
        return self._network

    def preprocessed(self, images):
        """Pictures as the network gets them: what can be differentiated with respect to them.

        Parameters
        ----------
        images : (N, H, W, 3) array or tensor
            RGB in [0, 255].

        Returns
        -------
        (N, H, W, 3) float32 tensor
        """
        return tf.convert_to_tensor(self._preprocess(tf.cast(images, tf.float32)))

    @property
    def n_layers(self):
        """Number of layers that have weights."""
        return len(_with_weights(self._network))

    def randomized(self, layers, seed=0):
        """A copy whose topmost layers have forgotten what they learned, for the sanity check of explanations.

        The numbers within each weight tensor of these layers change places at random. Unlike a fresh
        initialisation this keeps their scale, which differs from layer to layer in a trained network.

        Parameters
        ----------
        layers : int
            How many layers, counted from the output, of the `n_layers` that have weights.
        seed : int, optional
            More layers with the same seed leave the upper ones as they are with fewer.

        Returns
        -------
        BlackBox
            Named after its random layers; this one stays as it is.

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
                f"layers must be an integer from 1 to the {self.n_layers} layers of {self.name}, got {layers!r}"
            )
        network = keras.models.clone_model(self._network)
        network.set_weights(self._network.get_weights())
        rng = np.random.default_rng(seed)
        for layer in reversed(_with_weights(network)[-layers:]):
            layer.set_weights(
                [
                    rng.permutation(tensor.ravel()).reshape(tensor.shape)
                    for tensor in layer.get_weights()
                ]
            )
        which = "top layer" if layers == 1 else f"top {layers} layers"
        copy = BlackBox(
            network,
            f"{self.name}, {which} random",
            self.input_size,
            self._preprocess,
            f"{self.source}, permuted in the {which}",
            self.batch_size,
        )
        copy.stands_in_for = self.stands_in_for
        return copy

    @functools.cached_property
    def fingerprint(self):
        """Hexadecimal digest of the network's name and weights: equal when its answers are."""
        digest = hashlib.sha256(self.name.encode())
        for array in self._network.get_weights():
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()[:32]


def _with_weights(network):
    return [layer for layer in network.layers if layer.weights]
