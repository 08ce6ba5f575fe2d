"""Saliency by gradients: reference methods that see the inside of a network.

`lab.study` measures them beside the methods that explain a black box. Images go through
the network one at a time: on a processor more at once are no faster, and the gradients
of Xception take 400 MB for each.
"""

import numpy as np

from lab.networks.tensorflow_setup import keras, tf

POINTS = 50  # points on the path of integrated gradients; samples of expected gradients


def grad_cam(black_box, image, label):
    """Grad-CAM [1]_: the last convolution's channels, weighted by mean gradients.

    Parameters
    ----------
    black_box : lab.networks.blackbox.BlackBox
    image : (H, W, 3) uint8 array
        In the network's input size.
    label : int
        The class to explain.

    Returns
    -------
    (H, W) float32 array
        At least 0.

    References
    ----------
    .. [1] Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
           Gradient-based Localization", ICCV 2017.
    """
    network, x = black_box.keras_model, black_box.preprocessed(image[None])
    # Not `layer.output`, which for a network within the network is of another graph.
    nodes = getattr(network, "_functional", network)._nodes_by_depth  # from the output on
    tensors = [t for depth in sorted(nodes) for node in nodes[depth] for t in node.output_tensors]
    last = next(tensor for tensor in tensors if len(tensor.shape) == 4)
    with tf.GradientTape() as tape:
        features, probabilities = keras.Model(network.inputs, [last, network.output])(
            x, training=False
        )
        # Unlike the probability, its logarithm is not flat near 1.
        score = tf.math.log(probabilities[0, label])
    slopes = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(slopes * features, axis=-1, keepdims=True))
    resized = tf.image.resize(heat, image.shape[:2], "bicubic")[0, ..., 0]
    return resized.numpy().clip(0).astype(np.float32)


def integrated_gradients(black_box, image, label):
    """Integrated gradients [1]_ of the probability, from black to the image.

    Parameters
    ----------
    black_box, image, label
        As in `grad_cam`.

    Returns
    -------
    (H, W) float32 array
        Sums over the colours. They add up to the difference between the probabilities
        of the image and of black, except for the finite number of steps.

    References
    ----------
    .. [1] Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    shares = (np.arange(POINTS, dtype=np.float32) + 0.5) / POINTS
    network, preprocessed = black_box.keras_model, black_box.preprocessed

    def slopes(point):
        probability = network(preprocessed(point[None]), training=False)[0, label]
        return tf.gradients(probability, point)[0]

    # Concrete, as the traced networks are.
    slopes = tf.function(slopes).get_concrete_function(tf.TensorSpec(image.shape, tf.float32))
    total = np.sum([slopes(tf.constant(image * share)) for share in shares], 0, np.float64)
    return (total / POINTS * image).sum(axis=-1).astype(np.float32)


def expected_gradients(black_box, image, label):
    """Expected gradients [1]_, from black, grey and white: `shap.GradientExplainer`.

    Parameters
    ----------
    black_box, image, label
        As in `grad_cam`.

    Returns
    -------
    (H, W) float32 array
        Sums over the colours: approximate SHAP values.

    Notes
    -----
    `shap.DeepExplainer` has no rule for the ReLU6 of EfficientNet-Lite0.

    References
    ----------
    .. [1] Erion et al., "Improving performance of deep learning models with axiomatic
           attribution priors and expected gradients", Nature Machine Intelligence 2021.
    """
    import shap  # takes seconds

    background = black_box.preprocessed(
        np.stack([np.full(image.shape, shade, np.float32) for shade in (0, 127, 255)])
    ).numpy()
    network = keras.Model(
        black_box.keras_model.inputs,
        keras.layers.Lambda(lambda p: p[:, label : label + 1])(black_box.keras_model.output),
    )
    values = shap.GradientExplainer(network, background, batch_size=1).shap_values(
        black_box.preprocessed(image[None]).numpy(), nsamples=POINTS, rseed=0
    )
    return np.asarray(values).reshape(image.shape).sum(axis=-1).astype(np.float32)
