"""LIME: draw perturbed samples, predict them, fit a linear model, show its weights.

Fit and rendering are the `lime` package's own. The samples are drawn and predicted
here, so that settings with the same samples share their model calls.

References
----------
.. [1] Ribeiro, Singh, Guestrin, "'Why Should I Trust You?': Explaining the Predictions
       of Any Classifier", KDD 2016.
.. [2] Tan, Tian, Li, "GLIME: General, Stable and Local LIME Explanation", NeurIPS 2023.
"""

from typing import NamedTuple

import numpy as np
from lime.lime_base import LimeBase
from lime.lime_image import ImageExplanation
from sklearn.metrics import pairwise_distances

from lab.methods.checks import check_image, check_label
from lab.methods.masked_model import MaskedModel, superpixels
from lab.methods.setting import Setting
from lab.model_calls import predict

MOST_CLASSES = 50  # leading classes that are predicted: a run then takes 1 MB, not 20
BLOCK = 10  # perturbed samples in which "balanced" sampling hides each superpixel once


def perturbations(n_superpixels, num_samples, seed, sampling="lime"):
    """Draw coalitions: which superpixels each perturbed sample keeps.

    Parameters
    ----------
    n_superpixels, num_samples, seed : int
    sampling : {"lime", "balanced"}, optional

    Returns
    -------
    (num_samples, n_superpixels) int array
        1 where a superpixel is kept. The first row keeps all; a longer draw begins with
        a shorter one.

    Notes
    -----
    "lime" keeps half of the image, where most probabilities are near 0. "balanced"
    follows GLIME [2]_ and moves LIME's weights into the sampling: a superpixel is kept
    with probability 0.9, and samples have equal weight. In addition, every block of ten
    samples hides each superpixel exactly once. This measures something else, the effect
    on a nearly whole image, which is small if the network needs no tenth of it.
    """
    random_state = np.random.RandomState(seed)
    if sampling == "lime":
        random_state.randint(0, high=1000)  # the package draws a seed for quickshift first
        coalitions = random_state.randint(0, 2, (num_samples, n_superpixels))
        coalitions[0] = 1
        return coalitions
    n_blocks = -(-(num_samples - 1) // BLOCK)
    hidden_in = random_state.random_sample((n_blocks, n_superpixels)).argsort(axis=1) % BLOCK
    blocks = hidden_in[:, None, :] != np.arange(BLOCK)[:, None]
    return np.vstack([np.ones(n_superpixels, int), *blocks])[:num_samples]


class Lime(NamedTuple):
    """One explanation by LIME, of one class under one setting.

    Attributes
    ----------
    setting : Setting
    label : int
        The class explained.
    weights : (n_superpixels,) float64 array
        Of the linear model; 0 for superpixels that are not in it.
    intercept : float
    r2 : float
        Of the linear model on its own samples, weighted by locality. The package's
        `score` is that of the last of its classes.
    shown : (H, W) bool array
        Where the rendering shows a superpixel.
    rendering : (H, W, 3) uint8 array
        The image as the package's `get_image_and_mask` shows it.
    coalitions : (num_samples, n_superpixels) int array
        Which superpixels the perturbed samples keep, as of `perturbations`.
    probability : (num_samples,) float64 array
        Score of the class, for each sample: what the linear model fits.
    masked_model : lab.methods.masked_model.MaskedModel
    package : lime.lime_image.ImageExplanation
        As the package returns it, but `score` and `local_pred` are the class's own.
    """

    setting: Setting
    label: int
    weights: np.ndarray
    intercept: float
    r2: float
    shown: np.ndarray
    rendering: np.ndarray
    coalitions: np.ndarray
    probability: np.ndarray
    masked_model: MaskedModel
    package: ImageExplanation

    @property
    def saliency(self):
        """Each pixel's superpixel's weight, (H, W) float32."""
        return self.weights[self.masked_model.segments].astype(np.float32)

    @property
    def chosen(self):
        """Which superpixels are shown, (n_superpixels,) bool."""
        return np.isin(np.arange(self.masked_model.n), self.masked_model.segments[self.shown])


def lime_explanation(black_box, image, setting, label=None):
    """Explain one image with LIME under one setting.

    For equal seeds the weights equal, bit for bit, those of
    ``LimeImageExplainer(random_state=seed).explain_instance(image, black_box, ...)``.

    Parameters
    ----------
    black_box : callable
        From images ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    image : (H, W, 3) uint8 array
    setting : Setting
    label : int, optional
        The class to explain, by default the most probable one.

    Returns
    -------
    Lime
        After `num_samples` model calls, and one more to find the leading classes.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the probabilities are not finite numbers.
    """
    return lime_explanations(black_box, image, {"": setting}, label)[""]


def lime_explanations(black_box, image, settings, label=None):
    """`lime_explanation` of a dict of settings by name, which share model calls."""
    if not (isinstance(settings, dict) and {type(s) for s in settings.values()} <= {Setting}):
        raise TypeError(f"settings must be a dict of names and Setting, got {settings!r}")
    image, label = check_image(image), None if label is None else check_label(label)
    for setting in settings.values():
        n = superpixels(image, setting.superpixel_size).max() + 1
        if setting.num_samples < n:
            got = f"({n}), got {setting.num_samples}"
            raise ValueError(f"num_samples must be at least the number of superpixels {got}")
    leading, classes = _classes(black_box, image, label)
    for setting in settings.values():
        if setting.top_labels > leading:
            raise ValueError(f"top_labels must be at most {leading}, got {setting.top_labels}")
    predicted, explanations = {}, {}
    # The longest run comes first: the others use its first samples.
    for name, setting in sorted(settings.items(), key=lambda item: -item[1].num_samples):
        n, size = setting.num_samples, setting.superpixel_size
        drawn = setting.seed, setting.sampling
        samples = size, setting.hide_color, drawn
        if samples not in predicted:
            segments = superpixels(image, size)
            masked = MaskedModel(black_box, image, segments, setting.hide_color, classes)
            coalitions = perturbations(masked.n, n, *drawn)
            predicted[samples] = masked, coalitions, masked(coalitions)
        masked, coalitions, scores = predicted[samples]
        explanations[name] = _explanation(masked, coalitions[:n], scores[:n], setting, label)
    return {name: explanations[name] for name in settings}


def _classes(black_box, image, label):
    """How many leading classes there are; and these, with a `label` that is none."""
    [scores] = predict(black_box, image[None])
    if label is not None and label >= len(scores):
        raise ValueError(f"label must be at most {len(scores) - 1}, got {label}")
    leading = np.argsort(-scores, kind="stable")[:MOST_CLASSES].tolist()
    return len(leading), leading + [label] * (label is not None and label not in leading)


def _explanation(masked, coalitions, scores, setting, label):
    # Of two equally probable classes the package takes the higher number first.
    ranked = np.lexsort((masked.classes, scores[0]))[::-1][: setting.top_labels]
    top = [masked.classes[column] for column in ranked]
    label = top[0] if label is None else label
    proximity = np.ones(len(coalitions))
    if setting.sampling == "lime":  # `locality`, rounded as by the package
        distances = pairwise_distances(coalitions, coalitions[:1], "cosine").ravel()
        proximity = np.sqrt(np.exp(-(distances**2) / setting.kernel_width**2))
    package = ImageExplanation(masked.image, masked.segments)
    package.top_labels = top
    for explained in dict.fromkeys([*top, label]):
        column = scores[:, masked.classes.index(explained)]
        fitted = linear_model(coalitions, column, proximity, setting.num_lime_features)
        package.intercept[explained], package.local_exp[explained], r2, prediction = fitted
        if explained == label:
            package.score, package.local_pred = r2, prediction
    weights = np.zeros(masked.n)
    for superpixel, weight in package.local_exp[label]:
        weights[superpixel] = weight
    how = setting.positive_only, setting.negative_only, setting.hide_rest
    rendering, shown = package.get_image_and_mask(label, *how, setting.num_superpixels)
    model = weights, float(package.intercept[label]), float(package.score)
    image = shown != 0, rendering.astype(np.uint8)
    # A view of one class's scores would keep all classes in memory.
    samples = coalitions, scores[:, masked.classes.index(label)].copy()
    return Lime(setting, label, *model, *image, *samples, masked, package)


def linear_model(coalitions, scores, weights, num_features, selection="auto"):
    """Fit the package's linear model to the scores of weighted coalitions.

    Returns
    -------
    intercept : float
    pairs : list of (int, float)
        A feature and its weight, the largest absolute weight first.
    r2 : float
        Weighted R² of the model on these coalitions.
    prediction : (1,) float64 array
        For the first coalition.
    """
    base = LimeBase(lambda distances: weights)
    of = coalitions, scores[:, np.newaxis], None, 0, num_features, selection
    return base.explain_instance_with_data(*of)


def locality(coalitions, setting):
    """LIME's weights of perturbed samples, ``(n,)``; 1 for "balanced" sampling.

    They are ``exp(-D**2 / (2 * kernel_width**2))`` with D the cosine distance of a
    coalition to the row of ones [1]_, section 3.3.
    """
    if setting.sampling == "balanced":
        return np.ones(len(coalitions))
    distance = 1 - np.sqrt(coalitions.mean(axis=1))
    return np.exp(-(distance**2) / (2 * setting.kernel_width**2))
