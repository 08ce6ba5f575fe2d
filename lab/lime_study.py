"""LIME as the lab uses it: settings, runs that share their model calls, and what is measured on them."""

import dataclasses
import functools
import itertools
import time
from pathlib import Path

import numpy as np
import pandas as pd
from lime.lime_image import ImageExplanation, LimeImageExplainer
from scipy.stats import kendalltau
from skimage.filters import gaussian
from skimage.segmentation import quickshift

from lab import metrics
from lab.cache import cached, digest
from lab.images import load_image, load_mask

BLUR_SIGMA = 10  # pixels; at 5, the usual choice for insertion curves, an elephant is still one
CHUNK = 250  # perturbations; what an interrupted run may lose, and a divisor of the lab's counts
KEPT_CLASSES = 50  # leading classes whose predictions are kept: a run then takes 1 MB, not 20
BLOCK = 10  # perturbations in which "balanced" sampling hides each superpixel once
FRESH = 500  # perturbations for the fidelity on unseen ones


@dataclasses.dataclass(frozen=True)
class Setting:
    """One choice of LIME's parameters.

    The first eight are the lab's, under the lab's names; the others are left alone by the lab.

    Parameters
    ----------
    top_labels : int
        Number of leading classes to explain.
    hide_color : (int, int, int), None or "blur"
        What a hidden superpixel shows: an RGB colour in [0, 255], its own mean colour (None), or
        the blurred picture, which the package does not offer.
    num_lime_features : int
        Upper limit of the superpixels in the linear model.
    num_samples : int
        Number of perturbed pictures, the picture itself included.
    num_superpixels : int
        Upper limit of the superpixels shown.
    positive_only, negative_only : bool
        Show only superpixels that speak for, or against, the class. Not both.
    hide_rest : bool
        Show the rest in black.
    seed : int
        Of the perturbations.
    kernel_width : float
        Of the locality kernel, in units of the cosine distance.
    superpixel_size : float
        Width of quickshift's density kernel, in pixels.
    sampling : {"lime", "balanced"}
        How the superpixels to hide are drawn. "lime" is the package's way: each with probability
        1/2, far from the picture, and a weight for how far. "balanced" is a remedy for the
        unstable explanations that this gives: see `perturbations`.

    Raises
    ------
    TypeError, ValueError
        If a value is not what it should be.
    """

    top_labels: int = 1
    hide_color: tuple | str | None = (0, 0, 0)
    num_lime_features: int = 100_000
    num_samples: int = 5000
    num_superpixels: int = 15
    positive_only: bool = True
    negative_only: bool = False
    hide_rest: bool = True
    seed: int = 0
    kernel_width: float = 0.25
    superpixel_size: float = 4
    sampling: str = "lime"

    def __post_init__(self):
        for name in ("top_labels", "num_lime_features", "num_samples", "num_superpixels", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"{name} must be an integer, got {value!r}")
            lowest = 0 if name == "seed" else 1
            if value < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {value}")
        if self.seed >= 2**32:
            raise ValueError(f"seed must be below 2**32, got {self.seed}")
        for name in ("positive_only", "negative_only", "hide_rest"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("kernel_width", "superpixel_size"):
            value = getattr(self, name)
            if not isinstance(value, (int, float, np.number)) or not 0 < value < np.inf:
                raise ValueError(f"{name} must be a positive number, got {value!r}")
        if self.sampling not in ("lime", "balanced"):
            raise ValueError(f'sampling must be "lime" or "balanced", got {self.sampling!r}')
        if self.positive_only and self.negative_only:
            raise ValueError("positive_only and negative_only cannot both be True: nothing would be left to show")
        if self.num_samples < self.num_superpixels:
            raise ValueError(
                f"num_samples must be at least num_superpixels ({self.num_superpixels}), got {self.num_samples}: "
                "fewer perturbations cannot tell the superpixels apart"
            )
        if self.hide_color is not None and not (isinstance(self.hide_color, str) and self.hide_color == "blur"):
            object.__setattr__(self, "hide_color", _color(self.hide_color))


def _color(value):
    try:
        color = tuple(value)
        good = len(color) == 3 and all(part == int(part) and 0 <= part <= 255 for part in color)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f'hide_color must be three whole numbers in [0, 255], None or "blur", got {value!r}')
    return tuple(int(part) for part in color)


LAB_SETTINGS = {
    "default": Setting(),
    "0": Setting(num_lime_features=500, num_samples=2000, num_superpixels=8),
    "1": Setting(hide_color=None, num_lime_features=2000, num_samples=5000, num_superpixels=15),
    "2": Setting(hide_color=None, num_lime_features=100, num_samples=3000, num_superpixels=10),
    "3": Setting(num_lime_features=100, num_samples=3000, num_superpixels=10),
    "4": Setting(num_lime_features=1000, num_samples=7000, num_superpixels=10),
    "5": Setting(hide_color=None, num_lime_features=500, num_samples=3000, num_superpixels=25),
}
"""The lab's seven settings, by name."""

HEADS = {
    "r2_fit": "R² on the fit ↑",
    "r2_fresh": "R² on fresh perturbations ↑",
    "jaccard": "Jaccard index over seeds ↑",
    "rank_correlation": "rank correlation over seeds ↑",
    "deletion": "deletion AUC ↓",
    "insertion": "insertion AUC ↑",
    "iou": "IoU with the object ↑",
    "pointing_game": "pointing game ↑",
    "shown": "fraction shown ↓",
    "model_calls": "model calls ↓",
    "seconds": "seconds ↓",
}
"""What is measured on a run, as a table's head says it: ↑ higher is better, ↓ lower is better."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One explanation and what was measured on it.

    Attributes
    ----------
    setting : Setting
    label : int
        The class that everything below is about.
    explanation : lime.lime_image.ImageExplanation
        As the package gives it; `top_labels` are the classes explained, the most probable first.
    rendering : (H, W, 3) uint8 array
        The picture as `get_image_and_mask` shows it under this setting.
    shown : (H, W) bool array
        Where it shows a superpixel.
    weights : (n_superpixels,) float array
        0 for a superpixel that the linear model leaves out.
    measurements : dict
        Some of the keys of `HEADS`: those that a single run has.
    """

    setting: Setting
    label: int
    explanation: ImageExplanation
    rendering: np.ndarray
    shown: np.ndarray
    weights: np.ndarray
    measurements: dict

    @property
    def saliency(self):
        """Each pixel's superpixel's weight, (H, W) float32."""
        return self.weights[self.explanation.segments].astype(np.float32)

    @property
    def chosen(self):
        """Which superpixels are shown, (n_superpixels,) bool."""
        chosen = np.zeros(len(self.weights), bool)
        chosen[np.unique(self.explanation.segments[self.shown])] = True
        return chosen


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
    image = _picture(image)
    return _superpixels(image.tobytes(), image.shape, size)


@functools.lru_cache(maxsize=256)
def _superpixels(data, shape, size):
    # The package passes its seed on under a name that scikit-image no longer has, so that in both
    # places scikit-image's own default breaks ties.
    segments = quickshift(np.frombuffer(data, np.uint8).reshape(shape), kernel_size=size, max_dist=200, ratio=0.2)
    segments.flags.writeable = False
    return segments


def hidden_picture(image, segments, hide_color):
    """What hidden superpixels show.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    segments : (H, W) int array
    hide_color : (int, int, int), None or "blur"
        As in `Setting`.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    if hide_color == "blur":
        blurred = gaussian(image, sigma=BLUR_SIGMA, channel_axis=-1, preserve_range=True)
        return np.round(blurred).astype(np.uint8)
    if hide_color is None:
        area = np.bincount(segments.ravel())
        means = [np.bincount(segments.ravel(), image[..., c].ravel()) / area for c in range(3)]
        # Cut off, not rounded: the package assigns its means to an array of the picture's type.
        return np.stack(means, axis=-1).astype(np.uint8)[segments]
    return np.broadcast_to(np.array(hide_color, np.uint8), image.shape)


def perturbations(n_superpixels, num_samples, seed, sampling="lime"):
    """The superpixels that are kept in each perturbed picture.

    Parameters
    ----------
    n_superpixels, num_samples, seed : int
    sampling : {"lime", "balanced"}, optional
        As in `Setting`.

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
        kept = random_state.randint(0, 2, num_samples * n_superpixels).reshape(num_samples, n_superpixels)
        kept[0] = 1
        return kept
    n_blocks = -(-(num_samples - 1) // BLOCK)
    shuffled = random_state.random_sample((n_blocks, n_superpixels)).argsort(axis=1)
    hidden_in = shuffled % BLOCK
    blocks = hidden_in[:, None, :] != np.arange(BLOCK)[:, None]
    kept = np.concatenate([np.ones((1, n_superpixels), int), blocks.reshape(-1, n_superpixels)])
    return kept[:num_samples]


def perturb(image, hidden, segments, kept):
    """Perturbed pictures, a whole batch at once.

    Parameters
    ----------
    image, hidden : (H, W, 3) uint8 arrays
    segments : (H, W) int array
    kept : (n, n_superpixels) array
        0 or 1.

    Returns
    -------
    (n, H, W, 3) uint8 array
        `image` where a superpixel is kept, `hidden` elsewhere.
    """
    # Bitwise, for this takes a tenth of the time of indexing or np.where: all ones where kept.
    batch = np.take(np.where(kept, 255, 0).astype(np.uint8), np.repeat(segments[..., None], 3, axis=-1), axis=1)
    batch &= image ^ hidden
    batch ^= hidden
    return batch


class Predictions:
    """A black box's answers about one picture, each asked for once.

    Answers of a black box that has a `fingerprint` are kept on disk, a chunk at a time, so that
    interrupted work goes on where it stopped. Any other callable's are kept as long as this
    object lives.

    Parameters
    ----------
    black_box : callable
        From pictures ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``. Its `batch_size`, 32 if
        it has none, is the number of pictures handed over at once.
    image : (H, W, 3) uint8 array
    labels : iterable of int, optional
        Classes to keep the answers for besides the leading ones.

    Attributes
    ----------
    probabilities : (n_classes,) array
        The black box's answer to the picture itself.
    """

    def __init__(self, black_box, image, labels=()):
        self.image = _picture(image)
        self._black_box = black_box
        self._fingerprint = getattr(black_box, "fingerprint", None)
        self._batch_size = getattr(black_box, "batch_size", 32)
        self._chunks = {}
        self._areas = {}
        self._key = {"black box": self._fingerprint, "picture": digest(self.image)}
        self.probabilities = self._remember(self._key, lambda: self._ask(self.image[None]))[0]
        for label in labels:
            if not 0 <= label < len(self.probabilities):
                raise ValueError(f"a class to explain must be from 0 to {len(self.probabilities) - 1}, got {label}")
        leading = np.argsort(-self.probabilities, kind="stable")[:KEPT_CLASSES]
        self._classes = np.union1d(leading, np.array(list(labels), int))

    def fill(self, settings, progress=None):
        """Ask for everything that LIME needs under these settings and that is not there yet.

        Parameters
        ----------
        settings : iterable of Setting
        progress : callable, optional
            Wraps the chunks of perturbations to be predicted; tqdm fits.

        Raises
        ------
        ValueError
            If a setting asks for more classes than there are, or for fewer perturbations than
            the picture has superpixels.
        """
        jobs = self._missing(self._longest(settings))
        for setting, start in progress(jobs) if progress else jobs:
            self._chunks[_stream(setting), start] = self._predict(setting, start)

    def count_missing(self, settings):
        """How many model calls `fill` would make.

        Parameters
        ----------
        settings : iterable of Setting

        Returns
        -------
        int
        """
        jobs = self._missing(self._longest(settings))
        return sum(min(CHUNK, setting.num_samples - start) for setting, start in jobs)

    def _longest(self, settings):
        """The setting with the most perturbations of each stream."""
        wanted = {}
        for setting in settings:
            if setting.top_labels > len(self._classes):
                raise ValueError(f"top_labels must be at most {len(self._classes)} here, got {setting.top_labels}")
            n_superpixels = superpixels(self.image, setting.superpixel_size).max() + 1
            if setting.num_samples < n_superpixels:
                raise ValueError(
                    f"num_samples must be at least the picture's number of superpixels ({n_superpixels}), got {setting.num_samples}"
                )
            stream = _stream(setting)
            # The first perturbations of a longer run are those of a shorter one.
            if stream not in wanted or wanted[stream].num_samples < setting.num_samples:
                wanted[stream] = setting
        return wanted.values()

    def _missing(self, settings):
        """Chunks of perturbations that neither this object nor the disk has."""
        missing = []
        for setting in settings:
            for start in range(0, setting.num_samples, CHUNK):
                name = _stream(setting), start
                if len(self._chunks.get(name, ())) >= min(CHUNK, setting.num_samples - start):
                    continue
                try:
                    self._chunks[name] = self._predict(setting, start, only_recall=True)
                except LookupError:
                    missing.append((setting, start))
        return missing

    def take(self, setting):
        """What a setting's linear model is fitted to.

        Parameters
        ----------
        setting : Setting

        Returns
        -------
        kept : (num_samples, n_superpixels) int array
            1 where a superpixel is kept.
        answers : (num_samples, n_classes) array
            0 for the classes that are not kept.
        seconds : float
            What the model calls took when they were made.
        """
        self.fill([setting])
        _, kept = self._perturbations(setting)
        chunks = [self._chunks[_stream(setting), start] for start in range(0, len(kept), CHUNK)]
        columns = np.concatenate(chunks)[: len(kept)]
        answers = np.zeros((len(kept), len(self.probabilities)), columns.dtype)
        answers[:, self._classes] = columns[:, :-1]
        return kept, answers, float(columns[:, -1].sum())

    def area(self, saliency, label, inserting):
        """Area under the deletion or insertion curve of a map made of superpixels.

        The deletion curve ends in the picture's mean colour, the insertion curve starts from the
        blurred picture, whatever hide colour the map was made with.

        Parameters
        ----------
        saliency : (H, W) array
        label : int
        inserting : bool

        Returns
        -------
        float
        """
        order = np.unique(saliency, return_inverse=True)[1].reshape(saliency.shape)
        key = {**self._key, "order": digest(order), "class": int(label), "inserting": inserting}
        name = tuple(key.values())
        if name not in self._areas:
            if inserting:
                curve, baseline = metrics.insertion_curve, hidden_picture(self.image, None, "blur")
            else:
                curve, baseline = metrics.deletion_curve, self.image.mean(axis=(0, 1))
            self._areas[name] = self._remember(
                key, lambda: metrics.auc(*curve(self._ask, self.image, order, label, baseline, batch_size=self._batch_size))
            )
        return float(self._areas[name])

    def _perturbations(self, setting):
        segments = superpixels(self.image, setting.superpixel_size)
        return segments, perturbations(
            segments.max() + 1, setting.num_samples, setting.seed, setting.sampling
        )

    def _predict(self, setting, start, only_recall=False):
        segments, kept = self._perturbations(setting)
        kept = kept[start : start + CHUNK]
        hidden = hidden_picture(self.image, segments, setting.hide_color)

        def compute():
            if only_recall:
                raise LookupError
            begin, answers = time.perf_counter(), []
            for first in range(0, len(kept), self._batch_size):
                batch = perturb(self.image, hidden, segments, kept[first : first + self._batch_size])
                answers.append(self._ask(batch)[:, self._classes])
            answers = np.concatenate(answers)
            seconds = np.full(len(kept), (time.perf_counter() - begin) / len(kept), np.float32)
            return np.column_stack([answers, seconds])

        key = {
            **self._key,
            "hidden": digest(hidden),
            "segments": digest(segments),
            "kept": digest(kept.astype(bool)),
            "classes": digest(self._classes),
        }
        return self._remember(key, compute)

    def _remember(self, key, compute):
        return cached(key, compute) if self._fingerprint else np.asarray(compute())

    def _ask(self, batch):
        answers = np.asarray(self._black_box(batch))
        if answers.ndim != 2 or len(answers) != len(batch) or answers.dtype.kind not in "fiu":
            raise ValueError(
                f"the black box must answer {len(batch)} pictures with numbers of shape ({len(batch)}, n_classes), "
                f"got {answers.dtype} of shape {answers.shape}"
            )
        if not np.isfinite(answers).all():
            raise ValueError("the black box must answer with finite numbers, got NaN or infinity")
        return answers


def _stream(setting):
    return setting.superpixel_size, setting.hide_color, setting.seed, setting.sampling


def _fresh(setting):
    """Perturbations that the setting has not seen: the next seed's."""
    return dataclasses.replace(setting, seed=(setting.seed + 1) % 2**32, num_samples=FRESH, num_superpixels=1)


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
    setting : Setting

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


def run(black_box, image, setting, mask=None, label=None, progress=None):
    """Explain one picture with LIME under one setting, and measure the explanation.

    Parameters
    ----------
    black_box : callable
        From pictures ``(N, H, W, 3)`` to probabilities ``(N, n_classes)``.
    image : (H, W, 3) uint8 array
    setting : Setting
    mask : (H, W) bool array, optional
        Where the object is. Without it, IoU and pointing game are NaN.
    label : int, optional
        The class to render and measure, by default the most probable one.
    progress : callable, optional
        Wraps the chunks of perturbations to be predicted; tqdm fits.

    Returns
    -------
    Run

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.

    Notes
    -----
    The fit is the package's own. For equal seeds the weights are those of
    ``LimeImageExplainer(random_state=seed).explain_instance(image, black_box, ...)``.
    """
    return explain_all(black_box, image, {"": setting}, mask, label, progress)[""]


def explain_all(black_box, image, settings, mask=None, label=None, progress=None):
    """`run` for many settings, which share their model calls.

    Parameters
    ----------
    settings : dict of str to Setting
        By name.
    black_box, image, mask, label, progress
        As in `run`.

    Returns
    -------
    dict of str to Run
    """
    if not isinstance(settings, dict) or not all(isinstance(setting, Setting) for setting in settings.values()):
        raise TypeError(f"settings must be a dict of names and Setting, got {settings!r}")
    image = _picture(image)
    if mask is not None:
        mask = np.asarray(mask)
        if mask.shape != image.shape[:2] or mask.dtype != bool:
            raise ValueError(f"mask must be bool of shape {image.shape[:2]}, got {mask.dtype} of shape {mask.shape}")
    predictions = Predictions(black_box, image, () if label is None else (label,))
    fresh = [_fresh(setting) for setting in settings.values()]
    predictions.fill([*settings.values(), *fresh], progress)
    return {name: _run(predictions, setting, mask, label) for name, setting in settings.items()}


def explain(predictions, setting, label=None):
    """The package's explanation, from predictions that may be shared.

    Parameters
    ----------
    predictions : Predictions
    setting : Setting
    label : int, optional
        A class to explain besides the leading ones.

    Returns
    -------
    lime.lime_image.ImageExplanation
    """
    kept, answers, _ = predictions.take(setting)
    explainer = _Explainer(kept, answers, setting)
    segments = superpixels(predictions.image, setting.superpixel_size)
    explanation = explainer.explain_instance(
        predictions.image,
        classifier_fn=None,
        labels=None,
        hide_color=0,  # already in the answers
        top_labels=setting.top_labels,
        num_features=setting.num_lime_features,
        num_samples=setting.num_samples,
        segmentation_fn=lambda _: segments,
    )
    if label is not None and label not in explanation.local_exp:
        explanation.intercept[label], explanation.local_exp[label], *_ = explainer.base.explain_instance_with_data(
            kept, answers, 1 - np.sqrt(kept.mean(axis=1)), label, setting.num_lime_features
        )
    return explanation


def _run(predictions, setting, mask, label):
    start = time.perf_counter()
    explanation = explain(predictions, setting, label)
    seconds = time.perf_counter() - start
    kept, answers, predicting = predictions.take(setting)
    label = explanation.top_labels[0] if label is None else label
    weights = np.zeros(kept.shape[1])
    for superpixel, weight in explanation.local_exp[label]:
        weights[superpixel] = weight

    rendering, shown = explanation.get_image_and_mask(
        label, setting.positive_only, setting.negative_only, setting.hide_rest, setting.num_superpixels
    )
    shown = shown != 0
    new, new_answers, _ = predictions.take(_fresh(setting))
    intercept, saliency = explanation.intercept[label], weights[explanation.segments]
    measurements = {
        "r2_fit": metrics.weighted_r2(answers[:, label], intercept + kept @ weights, locality(kept, setting)),
        "r2_fresh": metrics.weighted_r2(
            # The first row is the picture itself, which every fit has seen.
            new_answers[1:, label], intercept + new[1:] @ weights, locality(new[1:], setting)
        ),
        "deletion": predictions.area(saliency, label, inserting=False),
        "insertion": predictions.area(saliency, label, inserting=True),
        "iou": float("nan") if mask is None else metrics.iou(shown, mask),
        "pointing_game": float("nan") if mask is None else metrics.pointing_game(saliency, mask),
        "shown": float(shown.mean()),
        "model_calls": setting.num_samples,
        "seconds": predicting + seconds,
    }
    return Run(setting, int(label), explanation, rendering.astype(np.uint8), shown, weights, measurements)


def run_all(black_box, image, settings, mask=None, label=None, seeds=(0,), progress=None):
    """Explain one picture with LIME under many settings and seeds, and measure the explanations.

    Parameters
    ----------
    settings : dict of str to Setting
        By name. Their own seeds are not used.
    seeds : iterable of int, optional
        With two or more, the agreement between seeds is measured, too.
    black_box, image, mask, label, progress
        As in `run`.

    Returns
    -------
    pandas.DataFrame
        A row a run: "setting" and "seed", "label" (the class explained), "superpixels" (how many the
        picture has), and what is measured, with the keys of `HEADS`. "jaccard" and
        "rank_correlation" belong to all seeds of a setting together.
    """
    seeds = list(seeds)
    named = {
        (name, seed): dataclasses.replace(setting, seed=seed) for name, setting in settings.items() for seed in seeds
    }
    runs = explain_all(black_box, image, named, mask, label, progress)
    rows = []
    for name in settings:
        same = [runs[name, seed] for seed in seeds]
        stability = {"jaccard": float("nan"), "rank_correlation": float("nan")}
        if len(seeds) > 1:
            stability = {
                "jaccard": metrics.jaccard_stability([one.chosen for one in same]),
                "rank_correlation": metrics.rank_stability([one.weights for one in same]),
            }
        rows += [
            {"setting": name, "seed": seed, "label": one.label, "superpixels": len(one.weights), **stability, **one.measurements}
            for seed, one in zip(seeds, same)
        ]
    return pd.DataFrame(rows)[["setting", "seed", "label", "superpixels", *HEADS]]


def _picture(image):
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) of uint8, got {image.shape} of {image.dtype}")
    return image


def grid(base=Setting(num_samples=2000)):
    """Settings around one setting, a parameter at a time.

    Parameters
    ----------
    base : Setting, optional

    Returns
    -------
    dict of (str, object) to Setting
        By parameter and value. Under "num_superpixels" the linear model is limited to as many
        superpixels as are shown, so that its fidelity is that of what is shown.
    """
    values = {
        "num_samples": (250, 500, 1000, 2000, 3000, 5000, 7000),
        "hide_color": ((0, 0, 0), None, (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), "blur"),
        "num_superpixels": (1, 2, 3, 5, 8, 10, 15, 20, 25, 30, 40),
        "superpixel_size": (3, 4, 6, 8),
        "kernel_width": (0.1, 0.15, 0.25, 0.5, 1.0),
    }
    settings = {
        (parameter, value): dataclasses.replace(base, **{parameter: value})
        for parameter, several in values.items()
        for value in several
    }
    for name, setting in settings.items():
        if name[0] == "num_superpixels":
            settings[name] = dataclasses.replace(setting, num_lime_features=setting.num_superpixels)
    return settings


def remedy(lime=(250, 500, 1000, 2000, 3000, 5000, 7000), balanced=(250, 500, 1000), base=Setting()):
    """Settings that tell how many perturbations LIME's sampling and the balanced one need.

    Parameters
    ----------
    lime, balanced : iterables of int, optional
        Numbers of samples for either sampling.
    base : Setting, optional

    Returns
    -------
    dict of (str, int) to Setting
        By sampling and number of samples.
    """
    return {
        (sampling, n): dataclasses.replace(base, sampling=sampling, num_samples=n)
        for sampling, several in (("lime", lime), ("balanced", balanced))
        for n in several
    }


def savings(table, measure="rank_correlation"):
    """How many times fewer perturbations balanced sampling needs for the same stability.

    Parameters
    ----------
    table : pandas.DataFrame
        From `study` or `run_all` with the settings of `remedy`.
    measure : {"rank_correlation", "jaccard"}, optional

    Returns
    -------
    pandas.DataFrame
        A row for each number of samples of the balanced sampling: "num_samples"; the mean stability
        over all pictures and networks, "balanced" and, at as many samples, "lime"; "lime_needs", the
        number with which LIME's sampling gets as stable as the balanced one (interpolated on the
        logarithm; infinite when no number in the table is enough); and "ratio".
    """
    sampling, num_samples = table["setting"].str[0], table["setting"].str[1]
    curves = table.groupby([sampling.rename("sampling"), num_samples.rename("num_samples")])[measure].mean()
    stock, balanced = curves["lime"], curves["balanced"]
    # Noise may make a curve of means dip; the need is the first count from which on it is reached.
    reached = np.minimum.accumulate(stock.to_numpy()[::-1])[::-1]
    needs = [
        np.inf if value > reached[-1] else np.exp(np.interp(value, reached, np.log(stock.index.to_numpy(float))))
        for value in balanced
    ]
    result = pd.DataFrame({"balanced": balanced, "lime": stock.reindex(balanced.index), "lime_needs": needs})
    result["ratio"] = result["lime_needs"] / result.index
    return result.reset_index()


def effect_of(black_box, image, base, parameter, values, label=None):
    """What changes in an explanation when one parameter changes.

    Parameters
    ----------
    black_box, image, label
        As in `run`.
    base : Setting
    parameter : str
        A field of `Setting`.
    values : iterable

    Returns
    -------
    pandas.DataFrame
        A row a value: "parameter", "value", "weight_change" (the largest change of a superpixel's
        weight against `base`) and "pixels_changed" (the share of the rendering that differs).
    """
    settings = {value: dataclasses.replace(base, **{parameter: value}) for value in values}
    runs = explain_all(black_box, image, {"": base, **settings}, label=label)
    before = runs.pop("")
    return pd.DataFrame(
        {
            "parameter": parameter,
            "value": value,
            "weight_change": float(np.abs(after.weights - before.weights).max()),
            "pixels_changed": float((after.rendering != before.rendering).any(axis=-1).mean()),
        }
        for value, after in runs.items()
    )


def study(black_boxes, pictures, settings, seeds=range(5), progress=None):
    """`run_all` for every network and picture. Says first how long it will take.

    Parameters
    ----------
    black_boxes : iterable of callable
        Each with a `name` and an `input_size`, as `lab.blackbox.load` gives them.
    pictures : iterable of path-like
        Picture files; the folder's name is the class. Masks are found as `lab.images.load_mask` does.
    settings, seeds, progress
        As in `run_all`.

    Returns
    -------
    pandas.DataFrame
        The columns of `run_all`, after "network", "class" and "picture".
    """
    pictures, seeds = [Path(picture) for picture in pictures], list(seeds)
    jobs = []
    for black_box in black_boxes:
        loaded = [load_image(picture, black_box.input_size) for picture in pictures]
        print(_estimate(black_box, loaded, settings, seeds), flush=True)
        jobs += [(black_box, picture, image) for picture, image in zip(pictures, loaded)]
    tables = []
    for black_box, picture, image in jobs:
        mask = load_mask(picture, black_box.input_size)
        table = run_all(black_box, image, settings, mask, seeds=seeds, progress=progress)
        table.insert(0, "network", black_box.name)
        table.insert(1, "class", picture.parent.name)
        table.insert(2, "picture", picture.stem)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _estimate(black_box, images, settings, seeds):
    calls = 0
    for image in images:
        named = [dataclasses.replace(setting, seed=seed) for setting in settings.values() for seed in seeds]
        missing = Predictions(black_box, image).count_missing([*named, *map(_fresh, named)])
        if missing:
            # Settings that differ in how much is shown have their two curves in common.
            rankings = {
                (_stream(one), one.num_samples, one.kernel_width, one.num_lime_features)
                for one in named
            }
            missing += sum(2 * (superpixels(image, stream[0]).max() + 2) for stream, *_ in rankings)
        calls += missing
    if not calls:
        return f"{black_box.name}: every prediction is there already."
    batch = np.stack([images[0]] * getattr(black_box, "batch_size", 32))
    black_box(batch)  # the first call also builds the graph
    start = time.perf_counter()
    black_box(batch)
    minutes = (time.perf_counter() - start) / len(batch) * calls / 60
    return f"{black_box.name}: about {calls:,} predictions to make, {minutes:.0f} minutes."


CHOSEN_BY = ("r2_fresh", "jaccard", "deletion", "insertion", "iou")
"""The measurements that `rank_settings` chooses by."""


def rank_settings(table, n_resamples=1000, seed=0):
    """Order settings by one rule, and say how sure the order is.

    The rule: within each picture and network the settings are ranked by each of the measurements
    of `CHOSEN_BY`, averaged over seeds, and the setting with the lowest mean rank is chosen.

    Parameters
    ----------
    table : pandas.DataFrame
        From `study`.
    n_resamples : int, optional
        Number of bootstrap samples of the pictures.
    seed : int, optional

    Returns
    -------
    pandas.DataFrame
        A row a setting, the best first: "setting", "mean_rank" (1 is best) with "low" and "high"
        (95 % bootstrap interval), and "chosen", the share of bootstrap samples that choose it.

    References
    ----------
    .. [1] Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006,
           whose average ranks these are.
    """
    ranks = []
    for measure in CHOSEN_BY:
        scores = _scores(table, measure).unstack("setting").dropna()
        ranks.append(scores.rank(axis=1, ascending=_lower_is_better(measure)))
    by_picture = pd.concat(ranks).groupby(["class", "picture"]).mean()
    by_picture = by_picture[list(dict.fromkeys(table["setting"]))]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(by_picture), (n_resamples, len(by_picture)))
    means = by_picture.to_numpy()[drawn].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    best = np.isclose(means, means.min(axis=1, keepdims=True))
    result = pd.DataFrame({
        "setting": list(by_picture.columns),
        "mean_rank": by_picture.mean().to_numpy(),
        "low": low,
        "high": high,
        "chosen": (best / best.sum(axis=1, keepdims=True)).mean(axis=0),
    })
    return result.sort_values("mean_rank", kind="stable", ignore_index=True)


def ranking_agreement(table, measures=CHOSEN_BY, n_resamples=1000, seed=0):
    """How well the ranking of settings carries over to other pictures, classes and networks.

    Parameters
    ----------
    table : pandas.DataFrame
        From `study`.
    measures : iterable of str, optional
        Keys of `HEADS`.
    n_resamples : int, optional
        Number of bootstrap samples, of pictures within their class.
    seed : int, optional

    Returns
    -------
    pandas.DataFrame
        A row for each measurement and each of "same class", "other class" (both: two pictures, one
        network) and "other network" (one picture): "tau", Kendall's tau-b of the settings' means
        over seeds, averaged over all such pairs, its 95 % bootstrap interval "low" to "high", and
        "pairs", their number. NaN where there is no such pair, and no interval for fewer than three.

    References
    ----------
    .. [1] Kendall, "A New Measure of Rank Correlation", Biometrika 1938.
    .. [2] Efron, Tibshirani, "An Introduction to the Bootstrap", 1993.
    """
    rng = np.random.default_rng(seed)
    pictures = table[["class", "picture"]].drop_duplicates()
    draws = []
    for _ in range(n_resamples):
        counts = pictures.groupby("class")["picture"].transform(lambda group: rng.multinomial(len(group), [1 / len(group)] * len(group)))
        draws.append(dict(zip(pictures.itertuples(index=False, name=None), counts)))
    rows = []
    for measure in measures:
        scores = _scores(table, measure).unstack("setting")
        pairs = {"same class": [], "other class": [], "other network": []}
        for (first, a), (second, b) in itertools.combinations(scores.iterrows(), 2):
            same_network, same_picture = first[0] == second[0], first[1:] == second[1:]
            if same_network:
                relation = "same class" if first[1] == second[1] else "other class"
            elif same_picture:
                relation = "other network"
            else:
                continue
            tau = kendalltau(a, b).statistic
            if not np.isnan(tau):
                pairs[relation].append((first[1:], second[1:], tau))
        for relation, found in pairs.items():
            tau = np.array([value for *_, value in found])
            resampled = []
            for draw in draws:
                # A picture drawn twice makes no pair with itself: that would agree by definition.
                weight = np.array([draw[a] if a == b else draw[a] * draw[b] for a, b, _ in found])
                if weight.sum():
                    resampled.append(weight @ tau / weight.sum())
            low, high = np.percentile(resampled, [2.5, 97.5]) if len(found) > 2 else (float("nan"),) * 2
            rows.append({
                "measure": measure, "pair": relation, "tau": tau.mean() if len(tau) else float("nan"),
                "low": low, "high": high, "pairs": len(tau),
            })
    return pd.DataFrame(rows)


def variance_shares(table, measures=tuple(HEADS)[:-2]):
    """How much of each measurement's variance is due to setting, picture, class, network, and together.

    Parameters
    ----------
    table : pandas.DataFrame
        From `study`: every network with every picture, setting and seed.
    measures : iterable of str, optional
        Keys of `HEADS`, by default all but the costs.

    Returns
    -------
    pandas.DataFrame
        Indexed by measurement, a column for each source: "network", "class", "picture" (within its
        class), "setting", their interactions, such as "class x setting", and "seed" (what runs that
        differ in the seed only differ by). Shares of the variance components, which add up to 1. A
        source that the table has one level of, as with one seed, is none in this table: 0. NaN for a
        measurement that is constant or missing somewhere.

    Raises
    ------
    ValueError
        If a combination is missing: the sources could not be told apart.

    Notes
    -----
    The components are those of the model with random effects, estimated from the mean squares; a
    negative estimate counts as 0. Unlike shares of the sum of squares they do not grow with the number
    of levels, so that six pictures get no larger share than two networks for being more. Classes
    with different numbers of pictures are treated as if each had the mean number.

    References
    ----------
    .. [1] Searle, Casella, McCulloch, "Variance Components", 1992, chapter 4.
    """
    # Two classes may have pictures of the same name.
    table = table.assign(picture=table["class"] + "/" + table["picture"])
    counts = table.groupby(["network", "picture", "setting"]).size()
    expected = table["network"].nunique() * table["picture"].nunique() * table["setting"].nunique()
    if len(counts) != expected or counts.nunique() != 1:
        raise ValueError(
            f"every network, picture and setting must have been run together with the same number of seeds: "
            f"expected {expected} combinations, got {len(counts)} with {counts.min()} to {counts.max()} seeds"
        )
    return pd.DataFrame({measure: _shares(table, table[measure].astype(float)) for measure in measures}).T.rename_axis("measure")


def _shares(table, values):
    levels = {factor: table[factor].nunique() for factor in ("network", "class", "picture", "setting")}
    freedom = {factor: n - 1 for factor, n in levels.items()}
    freedom["picture"] = levels["picture"] - levels["class"]
    sources = [
        source
        for size in (1, 2, 3)
        for source in itertools.combinations(levels, size)
        if not {"class", "picture"} <= set(source)  # a picture has one class
    ]

    def within(source):
        """The factors that tell the levels of a source apart: a picture's class is among them."""
        return set(source) | ({"class"} if "picture" in source else set())

    def mean_over(factors):
        return values.groupby([table[factor] for factor in factors]).transform("mean")

    effects, squares = {}, {}
    for source in sorted(sources, key=lambda source: len(within(source))):
        coarser = [effect for other, effect in effects.items() if within(other) < within(source)]
        effects[source] = mean_over(source) - values.mean() - sum(coarser)
        degrees = np.prod([freedom[factor] for factor in source])
        squares[source] = (effects[source] ** 2).sum() / degrees if degrees else 0.0

    cells = levels["network"] * levels["picture"] * levels["setting"]
    seed_freedom = len(values) - cells
    noise = ((values - mean_over(("network", "picture", "setting"))) ** 2).sum() / seed_freedom if seed_freedom else 0.0
    components = {}
    for source in sorted(sources, key=lambda source: -len(within(source))):
        finer = [other for other in components if within(other) > within(source)]
        rest = noise + sum(len(values) / _n_levels(other, levels) * components[other] for other in finer)
        component = (squares[source] - rest) * _n_levels(source, levels) / len(values)
        # Rounding leaves a trace where there is nothing.
        components[source] = component if component > 1e-12 * values.var() else 0.0
    shares = {" x ".join(source): components[source] for source in sources} | {"seed": noise}
    total = sum(shares.values())
    tells = total > 0 and not values.isna().any()
    return {source: share / total if tells else float("nan") for source, share in shares.items()}


def _n_levels(source, levels):
    return np.prod([levels[factor] for factor in source])


def _scores(table, measure):
    return table.groupby(["network", "class", "picture", "setting"], sort=False)[measure].mean()


def _lower_is_better(measure):
    return HEADS[measure].endswith("↓")
