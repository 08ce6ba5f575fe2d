"""Networks that Keras does not have, built from published weights."""

import numpy as np

from lab.networks import weights as weight_files
from lab.networks.tensorflow_setup import keras

layers = keras.layers


def efficientnet_lite(file, input_size, repeats, sha256):
    """An EfficientNet-Lite [1]_, batch normalizations folded into the convolutions.

    Parameters
    ----------
    file, sha256
        Of the weights, as `lab.networks.weights.read_pytorch` takes them.
    input_size : int
    repeats : sequence of int
        The number of blocks in each of the seven stages.

    Returns
    -------
    keras.Model
        From images (N, input_size, input_size, 3), about in [-1, 1], to probabilities
        (N, 1000).

    References
    ----------
    .. [1] Liu, R., "Higher accuracy on vision models with EfficientNet-Lite",
           TensorFlow Blog, 2020.
    """
    state = weight_files.read_pytorch(file, sha256)

    def convolution(x, name, norm, stride=1, depthwise=False, activation="relu6"):
        # Folding in the batch normalization that follows makes it twice as fast.
        gamma, beta, mean, variance = (
            state[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + 1e-3)
        kernel = state[f"{name}.weight"] * scale[:, None, None, None]
        options = {"strides": stride, "padding": "same", "activation": activation}
        if depthwise:
            layer = layers.DepthwiseConv2D(kernel.shape[2], **options)
        else:
            layer = layers.Conv2D(kernel.shape[0], kernel.shape[2], **options)
        x = layer(x)
        # From PyTorch's (out, in, h, w), or (channels, 1, h, w) where depthwise.
        order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
        layer.set_weights([kernel.transpose(order), beta - mean * scale])
        return x

    inputs = layers.Input((input_size, input_size, 3))
    x = convolution(inputs, "_conv_stem", "_bn0", stride=2)
    block = 0
    # Repeats, stride of the first block, whether blocks expand.
    stages = zip(repeats, (1, 2, 2, 2, 1, 2, 1), (False, *[True] * 6), strict=True)
    for number, first_stride, expands in stages:
        for repeat in range(number):
            name, shortcut = f"_blocks.{block}", x
            if expands:
                x = convolution(x, f"{name}._expand_conv", f"{name}._bn0")
            stride = first_stride if repeat == 0 else 1
            x = convolution(x, f"{name}._depthwise_conv", f"{name}._bn1", stride, depthwise=True)
            x = convolution(x, f"{name}._project_conv", f"{name}._bn2", activation=None)
            if repeat > 0:
                x = layers.Add()([x, shortcut])
            block += 1
    x = convolution(x, "_conv_head", "_bn1")
    x = layers.GlobalAveragePooling2D()(x)
    classifier = layers.Dense(1000, activation="softmax")
    outputs = classifier(x)
    classifier.set_weights([state["_fc.weight"].T, state["_fc.bias"]])
    return keras.Model(inputs, outputs)


def squeezenet(file, sha256):
    """SqueezeNet 1.1 [1]_.

    Parameters
    ----------
    file, sha256
        Of the weights, as `lab.networks.weights.read_numpy_pickle` takes them.

    Returns
    -------
    keras.Model
        From images (N, 227, 227, 3), BGR with ImageNet's mean subtracted, to
        probabilities (N, 1000).

    References
    ----------
    .. [1] Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters
           and <0.5MB model size", arXiv:1602.07360, 2016.
    """
    weights = weight_files.read_numpy_pickle(file, sha256)

    def convolution(x, name, stride=1, padding="same"):
        kernel = weights[name][0]
        layer = layers.Conv2D(
            kernel.shape[3], kernel.shape[0], stride, padding=padding, activation="relu"
        )
        x = layer(x)
        layer.set_weights(weights[name])
        return x

    inputs = layers.Input((227, 227, 3))
    x = convolution(inputs, "conv1", stride=2, padding="valid")
    for fire in range(2, 10):
        if fire in (2, 4, 6):
            x = layers.MaxPooling2D(3, 2)(x)
        squeezed = convolution(x, f"fire{fire}/squeeze1x1")
        x = layers.Concatenate()(
            [
                convolution(squeezed, f"fire{fire}/expand1x1"),
                convolution(squeezed, f"fire{fire}/expand3x3"),
            ]
        )
    x = layers.GlobalAveragePooling2D()(convolution(x, "conv10"))
    return keras.Model(inputs, layers.Softmax()(x))
