"""What access to a network's inside brings: saliency by gradients, as a reference for those who only ask.

No method that explains a black box may use this; `lab.study` measures it beside them.
"""

import numpy as np

from lab.networks.tensorflow_setup import keras, tf

STEPS = 50  # points on the path of integrated gradients, and draws of expected gradients


def grad_cam(black_box, image, label):
    """Grad-CAM: the last convolution's channels, each weighted with the mean gradient of the class.

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
    .. [1] Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
    """
    network, x = black_box.inside, black_box.preprocessed(image[None])
    last = [layer for layer in network.layers if len(layer.output.shape) == 4][-1]
    with tf.GradientTape() as tape:
        features, probabilities = keras.Model(network.inputs, [last.output, network.output])(
            x, training=False
        )
        # The logarithm has the gradient's direction, and one that is not flat where the class is nearly sure.
        score = tf.math.log(probabilities[0, label])
    slopes = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(slopes * features, axis=-1, keepdims=True))
    return (
        tf.image.resize(heat, image.shape[:2], "bicubic")[0, ..., 0]
        .numpy()
        .clip(0)
        .astype(np.float32)
    )


def integrated_gradients(black_box, image, label):
    """Integrated gradients of the class's probability, on the way from black to the picture.

    Parameters
    ----------
    black_box, image, label
        As in `grad_cam`.

    Returns
    -------
    (H, W) float32 array
        The sum over the colours. Over the picture it adds up to what the picture's probability is above black's, but for
        the steps of the path.

    References
    ----------
    .. [1] Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    shares = (np.arange(STEPS, dtype=np.float32) + 0.5) / STEPS
    path = tf.constant(image[None].astype(np.float32) * shares[:, None, None, None])
    total = np.zeros(image.shape, np.float64)
    for start in range(0, STEPS, black_box.batch_size):
        points = path[start : start + black_box.batch_size]
        with tf.GradientTape() as tape:
            tape.watch(points)
            score = tf.reduce_sum(
                black_box.inside(black_box.preprocessed(points), training=False)[:, label]
            )
        total += tape.gradient(score, points).numpy().sum(axis=0)
    return (total / STEPS * image).sum(axis=-1).astype(np.float32)


def expected_gradients(black_box, image, label):
    """SHAP values by expected gradients, on the way from black, grey and white: `shap.GradientExplainer`.

    Parameters
    ----------
    black_box, image, label
        As in `grad_cam`.

    Returns
    -------
    (H, W) float32 array
        The sum over the colours.

    Notes
    -----
    `shap.DeepExplainer`, DeepSHAP itself, has no rule for ReLU6, and so none for EfficientNet-Lite0; this explainer of the same package runs
    with any network.

    References
    ----------
    .. [1] Lundberg, Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017.
    .. [2] Erion et al., "Improving performance of deep learning models with axiomatic attribution priors and expected gradients",
           Nature Machine Intelligence 2021.
    """
    import shap  # takes seconds

    background = black_box.preprocessed(
        np.stack([np.full(image.shape, shade, np.float32) for shade in (0, 127, 255)])
    ).numpy()
    network = keras.Model(
        black_box.inside.inputs,
        keras.layers.Lambda(lambda p: p[:, label : label + 1])(black_box.inside.output),
    )
    found = shap.GradientExplainer(network, background).shap_values(
        black_box.preprocessed(image[None]).numpy(), nsamples=STEPS, rseed=0
    )
    return np.asarray(found).reshape(image.shape).sum(axis=-1).astype(np.float32)


REFERENCES = {
    "grad_cam": grad_cam,
    "integrated_gradients": integrated_gradients,
    "expected_gradients": expected_gradients,
}
"""By name: functions of a network, a picture and a class."""
