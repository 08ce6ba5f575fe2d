"""LIME as the lab uses it: settings, runs that share their model calls, and what is measured on them."""

import dataclasses
import functools
import time

import numpy as np
import pandas as pd
from lime.lime_image import ImageExplanation, LimeImageExplainer
from skimage.filters import gaussian
from skimage.segmentation import quickshift

from lab import metrics
from lab.cache import cached, digest

BLUR_SIGMA = 10  # pixels; at 5, the usual choice for insertion curves, an elephant is still one
CHUNK = 250  # perturbations; what an interrupted run may lose, and a divisor of the lab's counts
KEPT_CLASSES = 50  # leading classes whose predictions are kept: a run then takes 1 MB, not 20
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


def perturbations(n_superpixels, num_samples, seed):
    """The superpixels that stock LIME keeps in each perturbed picture.

    Parameters
    ----------
    n_superpixels, num_samples, seed : int

    Returns
    -------
    (num_samples, n_superpixels) int array
        1 where a superpixel is kept. The first row keeps all; the first rows of a longer draw are
        a shorter one.
    """
    random_state = np.random.RandomState(seed)
    random_state.randint(0, high=1000)  # the package draws a seed for quickshift first
    kept = random_state.randint(0, 2, num_samples * n_superpixels).reshape(num_samples, n_superpixels)
    kept[0] = 1
    return kept


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
        jobs = [
            (setting, start)
            for stream, setting in wanted.items()
            for start in range(0, setting.num_samples, CHUNK)
            if len(self._chunks.get((stream, start), ())) < min(CHUNK, setting.num_samples - start)
        ]
        for setting, start in progress(jobs) if progress else jobs:
            segments, kept = self._perturbations(setting)
            self._chunks[_stream(setting), start] = self._predict(segments, setting.hide_color, kept[start : start + CHUNK])

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
        return segments, perturbations(segments.max() + 1, setting.num_samples, setting.seed)

    def _predict(self, segments, hide_color, kept):
        hidden = hidden_picture(self.image, segments, hide_color)

        def compute():
            start, answers = time.perf_counter(), []
            for first in range(0, len(kept), self._batch_size):
                batch = perturb(self.image, hidden, segments, kept[first : first + self._batch_size])
                answers.append(self._ask(batch)[:, self._classes])
            answers = np.concatenate(answers)
            seconds = np.full(len(kept), (time.perf_counter() - start) / len(kept), np.float32)
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
    return setting.superpixel_size, setting.hide_color, setting.seed


def _fresh(setting):
    """Perturbations that the setting has not seen: the next seed's."""
    return dataclasses.replace(setting, seed=(setting.seed + 1) % 2**32, num_samples=FRESH, num_superpixels=1)


class _Explainer(LimeImageExplainer):
    """The package's own LIME, handed perturbations that are predicted already."""

    def __init__(self, kept, answers, setting):
        super().__init__(kernel_width=setting.kernel_width, random_state=setting.seed)
        self._kept, self._answers = kept, answers

    def data_labels(self, *args, **kwargs):
        return self._kept, self._answers


def locality(kept, kernel_width):
    """LIME's weight of each perturbation: how near it is to the picture itself.

    Parameters
    ----------
    kept : (n, n_superpixels) array
        0 or 1.
    kernel_width : float

    Returns
    -------
    (n,) array
        ``exp(-D**2 / (2 * kernel_width**2))`` with D the cosine distance to the row of ones.

    References
    ----------
    .. [1] Ribeiro, Singh, Guestrin, "'Why Should I Trust You?': Explaining the Predictions of Any
           Classifier", KDD 2016, section 3.3.
    """
    distance = 1 - np.sqrt(kept.mean(axis=1))
    return np.exp(-(distance**2) / (2 * kernel_width**2))


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


def _run(predictions, setting, mask, label):
    image = predictions.image
    segments = superpixels(image, setting.superpixel_size)
    kept, answers, seconds = predictions.take(setting)
    start = time.perf_counter()
    explainer = _Explainer(kept, answers, setting)
    explanation = explainer.explain_instance(
        image,
        classifier_fn=None,
        labels=None,
        hide_color=0,  # already in the answers
        top_labels=setting.top_labels,
        num_features=setting.num_lime_features,
        num_samples=setting.num_samples,
        segmentation_fn=lambda _: segments,
    )
    nearness = locality(kept, setting.kernel_width)
    if label is None:
        label = explanation.top_labels[0]
    elif label not in explanation.local_exp:
        explanation.intercept[label], explanation.local_exp[label], *_ = explainer.base.explain_instance_with_data(
            kept, answers, 1 - np.sqrt(kept.mean(axis=1)), label, setting.num_lime_features
        )
    seconds += time.perf_counter() - start
    weights = np.zeros(kept.shape[1])
    for superpixel, weight in explanation.local_exp[label]:
        weights[superpixel] = weight

    rendering, shown = explanation.get_image_and_mask(
        label, setting.positive_only, setting.negative_only, setting.hide_rest, setting.num_superpixels
    )
    shown = shown != 0
    new, new_answers, _ = predictions.take(_fresh(setting))
    intercept, saliency = explanation.intercept[label], weights[segments]
    measurements = {
        "r2_fit": metrics.weighted_r2(answers[:, label], intercept + kept @ weights, nearness),
        "r2_fresh": metrics.weighted_r2(
            # The first row is the picture itself, which every fit has seen.
            new_answers[1:, label], intercept + new[1:] @ weights, locality(new[1:], setting.kernel_width)
        ),
        "deletion": predictions.area(saliency, label, inserting=False),
        "insertion": predictions.area(saliency, label, inserting=True),
        "iou": float("nan") if mask is None else metrics.iou(shown, mask),
        "pointing_game": float("nan") if mask is None else metrics.pointing_game(saliency, mask),
        "shown": float(shown.mean()),
        "model_calls": setting.num_samples,
        "seconds": seconds,
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
