"""LIME in four steps: draw perturbations, ask the model, fit a linear model, show its largest weights.

The fit and the rendering are the `lime` package's own. The perturbations are drawn and asked about here, so that
settings share them and no question is asked twice.

References
----------
.. [1] Ribeiro, Singh, Guestrin, "'Why Should I Trust You?': Explaining the Predictions of Any
       Classifier", KDD 2016.
"""

from typing import NamedTuple

import numpy as np
from lime.lime_image import ImageExplanation, LimeImageExplainer

from lab.explain.masked_model import MaskedModel, check_image, superpixels
from lab.explain.setting import Setting
from lab.networks.asking import Asked

KEPT_CLASSES = 50  # leading classes whose predictions are kept: a run then takes 1 MB, not 20
BLOCK = 10  # perturbations in which "balanced" sampling hides each superpixel once


def perturbations(n_superpixels, num_samples, seed, sampling="lime"):
    """The superpixels that are kept in each perturbed picture.

    Parameters
    ----------
    n_superpixels, num_samples, seed : int
    sampling : {"lime", "balanced"}, optional
        As in `lab.explain.setting.Setting`.

    Returns
    -------
    (num_samples, n_superpixels) int array
        1 where a superpixel is kept. The first row keeps all; the first rows of a longer draw are
        a shorter one.

    Notes
    -----
    With half of the picture hidden a network often sees nothing any more: its answers are near 0 but
    for a few, and the linear model hangs on those few. "balanced" follows GLIME [1]_ in moving
    LIME's weights into the sampling: a superpixel is kept with probability 0.9, nearer to the
    picture, and all perturbations count alike. Besides, every block of ten perturbations hides
    each superpixel exactly once, so that none is hidden more often than another by chance.

    The question is another one, too: what matters to the picture nearly whole, not half hidden.
    Where a network does not mind losing a tenth of the picture, there is little to see.

    References
    ----------
    .. [1] Tan, Tian, Li, "GLIME: General, Stable and Local LIME Explanation", NeurIPS 2023.
    """
    random_state = np.random.RandomState(seed)
    if sampling == "lime":
        random_state.randint(0, high=1000)  # the package draws a seed for quickshift first
        kept = random_state.randint(0, 2, num_samples * n_superpixels).reshape(
            num_samples, n_superpixels
        )
        kept[0] = 1
        return kept
    n_blocks = -(-(num_samples - 1) // BLOCK)
    shuffled = random_state.random_sample((n_blocks, n_superpixels)).argsort(axis=1)
    hidden_in = shuffled % BLOCK
    blocks = hidden_in[:, None, :] != np.arange(BLOCK)[:, None]
    kept = np.concatenate([np.ones((1, n_superpixels), int), blocks.reshape(-1, n_superpixels)])
    return kept[:num_samples]


class Lime(NamedTuple):
    """One explanation by LIME.

    Attributes
    ----------
    setting : lab.explain.setting.Setting
    label : int
        The class that is explained.
    weights : (n_superpixels,) float array
        0 for a superpixel that the linear model leaves out.
    intercept : float
    shown : (H, W) bool array
        Where the rendering shows a superpixel.
    rendering : (H, W, 3) uint8 array
        The picture as `get_image_and_mask` shows it under the setting.
    kept, probability : (num_samples, n_superpixels) and (num_samples,) arrays
        What the linear model was fitted to: perturbations, and the class's probability in each.
    game : lab.explain.masked_model.MaskedModel
    package : lime.lime_image.ImageExplanation
        As the package gives it; `top_labels` are the classes explained, the most probable first.
    """

    setting: Setting
    label: int
    weights: np.ndarray
    intercept: float
    shown: np.ndarray
    rendering: np.ndarray
    kept: np.ndarray
    probability: np.ndarray
    game: MaskedModel
    package: ImageExplanation

    @property
    def saliency(self):
        """Each pixel's superpixel's weight, (H, W) float32."""
        return self.weights[self.game.segments].astype(np.float32)

    @property
    def chosen(self):
        """Which superpixels are shown, (n_superpixels,) bool."""
        chosen = np.zeros(self.game.n, bool)
        chosen[np.unique(self.game.segments[self.shown])] = True
        return chosen


def lime_explanation(black_box, image, setting, label=None, progress=iter):
    """Explain one picture with LIME under one setting.

    Parameters
    ----------
    black_box : callable
        From pictures ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    image : (H, W, 3) uint8 array
    setting : lab.explain.setting.Setting
    label : int, optional
        The class to explain, by default the most probable one.
    progress : callable, optional
        Wraps the chunks of perturbations to be predicted; tqdm fits.

    Returns
    -------
    Lime

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.

    Notes
    -----
    For equal seeds the weights are those of
    ``LimeImageExplainer(random_state=seed).explain_instance(image, black_box, ...)``, to the last bit.
    """
    return lime_explanations(black_box, image, {"": setting}, label, progress)[""]


def lime_explanations(black_box, image, settings, label=None, progress=iter):
    """`lime_explanation` for many settings, which share their model calls.

    Parameters
    ----------
    settings : dict of str to Setting
        By name.
    black_box, image, label, progress
        As in `lime_explanation`.

    Returns
    -------
    dict of str to Lime
    """
    if not isinstance(settings, dict) or not all(
        isinstance(setting, Setting) for setting in settings.values()
    ):
        raise TypeError(f"settings must be a dict of names and Setting, got {settings!r}")
    image = check_image(image)
    for setting in settings.values():
        n = superpixels(image, setting.superpixel_size).max() + 1
        if setting.num_samples < n:
            raise ValueError(
                f"num_samples must be at least the picture's number of superpixels ({n}), got {setting.num_samples}"
            )
    ask = leading_classes(black_box, image, label)
    for setting in settings.values():
        if setting.top_labels > len(ask.classes):
            raise ValueError(
                f"top_labels must be at most {len(ask.classes)} here, got {setting.top_labels}"
            )
    asked, found = {}, {}
    # The longest first, for the first perturbations of a longer run are those of a shorter one.
    for name, setting in sorted(settings.items(), key=lambda item: -item[1].num_samples):
        stream = setting.superpixel_size, setting.hide_color, setting.seed, setting.sampling
        if stream not in asked:
            game = MaskedModel(ask, image, superpixels(image, setting.superpixel_size), setting.hide_color)
            kept = perturbations(game.n, setting.num_samples, setting.seed, setting.sampling)
            asked[stream] = game, kept, game(kept, progress)
        game, kept, answers = asked[stream]
        found[name] = _fit(
            game, kept[: setting.num_samples], answers[: setting.num_samples], setting, label
        )
    return {name: found[name] for name in settings}


def leading_classes(black_box, image, label=None):
    """A black box of the classes that it finds most probable in a picture, and of one more if it is asked for.

    Parameters
    ----------
    black_box, image, label
        As in `lime_explanation`.

    Returns
    -------
    lab.networks.asking.Asked
    """
    probabilities = Asked(black_box)(image[None])[0]
    classes = np.argsort(-probabilities, kind="stable")[:KEPT_CLASSES]
    if label is not None and label not in classes:
        classes = [*classes, label]
    return Asked(black_box, classes)


def _fit(game, kept, answers, setting, label):
    """The package's own fit and rendering, of answers that are there already."""
    # Under the classes' own numbers; those that were not kept count as impossible.
    probabilities = np.zeros((len(answers), max(game.predict.classes) + 1), answers.dtype)
    probabilities[:, game.predict.classes] = answers
    explainer = _Explainer(kept, probabilities, setting)
    explanation = explainer.explain_instance(
        game.image,
        classifier_fn=None,
        labels=None,
        hide_color=0,  # already in the answers
        top_labels=setting.top_labels,
        num_features=setting.num_lime_features,
        num_samples=setting.num_samples,
        segmentation_fn=lambda _: game.segments,
    )
    if label is not None and label not in explanation.local_exp:
        explanation.intercept[label], explanation.local_exp[label], *_ = (
            explainer.base.explain_instance_with_data(
                kept,
                probabilities,
                1 - np.sqrt(kept.mean(axis=1)),
                label,
                setting.num_lime_features,
            )
        )
    label = explanation.top_labels[0] if label is None else label
    weights = np.zeros(game.n)
    for superpixel, weight in explanation.local_exp[label]:
        weights[superpixel] = weight
    rendering, shown = explanation.get_image_and_mask(
        label,
        setting.positive_only,
        setting.negative_only,
        setting.hide_rest,
        setting.num_superpixels,
    )
    return Lime(
        setting,
        int(label),
        weights,
        float(explanation.intercept[label]),
        shown != 0,
        rendering.astype(np.uint8),
        kept,
        probabilities[:, label],
        game,
        explanation,
    )


class _Explainer(LimeImageExplainer):
    """The package's own LIME, handed perturbations that are predicted already."""

    def __init__(self, kept, answers, setting):
        all_alike = lambda distance, kernel_width: np.ones_like(distance)  # noqa: E731
        super().__init__(
            kernel_width=setting.kernel_width,
            kernel=all_alike if setting.sampling == "balanced" else None,
            random_state=setting.seed,
        )
        self._kept, self._answers = kept, answers

    def data_labels(self, *args, **kwargs):
        return self._kept, self._answers


def locality(kept, setting):
    """LIME's weight of each perturbation: how near it is to the picture itself.

    Parameters
    ----------
    kept : (n, n_superpixels) array
        0 or 1.
    setting : lab.explain.setting.Setting

    Returns
    -------
    (n,) array
        ``exp(-D**2 / (2 * kernel_width**2))`` with D the cosine distance to the row of ones; 1 for
        "balanced" sampling.

    References
    ----------
    .. [1] Ribeiro, Singh, Guestrin, "'Why Should I Trust You?': Explaining the Predictions of Any
           Classifier", KDD 2016, section 3.3.
    """
    if setting.sampling == "balanced":
        return np.ones(len(kept))
    distance = 1 - np.sqrt(kept.mean(axis=1))
    return np.exp(-(distance**2) / (2 * setting.kernel_width**2))
