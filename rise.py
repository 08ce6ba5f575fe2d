"""RISE: which pixels matter to a black box, from randomly masked inputs.

For an input I, a model f that scores one class, and N random masks M_i with values in
[0, 1] and expected value p, the saliency of a pixel x is [1]_

    ``S(x) = E[f(I * M) | M(x) = 1]``, estimated by ``1/(N p) sum_i f(I * M_i) M_i(x)``.

- `rise_map` is this equation as a loop, one mask at a time.
- `Rise` is the explainer to use: batches, several classes, standard errors and, by
  default, a regression that needs fewer model calls for the same map.
- `generate_masks`, `perturb`, `local_explanations` and `average` are its steps.

A wrong argument raises a ValueError before the model is called. To use this file, copy
it; it needs Python 3.10 and NumPy 2.

References
----------
.. [1] V. Petsiuk, A. Das, K. Saenko, "RISE: Randomized Input Sampling for Explanation
   of Black-box Models", BMVC 2018. https://arxiv.org/abs/1806.07421
"""

# SPDX-License-Identifier: MIT
# From a lab on LIME and RISE that tests it and packages it as "rise-explainer".

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache, partial
from math import ceil, prod, sqrt
from numbers import Integral, Real
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

__version__ = "1.0.0"


# 1. The equation.


def rise_map(
    model, x, label, nb_samples, grid_size=7, preservation_probability=0.5, mask_value=0, seed=0
):
    """The paper's equation as a loop, ``S(x) = 1/(N p) sum_i f(I * M_i) M_i(x)``.

    Parameters
    ----------
    model, x, nb_samples, grid_size, preservation_probability, mask_value, seed
        As in `Rise` and its `estimate`; the model gets one input a call.
    label : int
        Index of the class to explain in the model's outputs.

    Returns
    -------
    array of float64, (H, W), (T, W) or (W,)
        ``Rise(model, estimator="average", ...).explain_classes(x, label)[0]``.
    """
    classes, total, p = _classes(label), 0, preservation_probability
    for i in range(_integer("nb_samples", nb_samples, 1)):
        mask = generate_masks(i, i + 1, np.shape(x), grid_size, p, seed)
        outputs = model_outputs(model, perturb(x, mask, mask_value))
        total = total + _columns(outputs, classes)[0, 0] * mask[0]
    return total / (nb_samples * p)


# 2. Masks, and the other steps.


def generate_masks(
    start, stop, shape, grid_size=7, preservation_probability=0.5, seed=0, antithetic=False
):
    """Masks number `start` to `stop` of the endless sequence that belongs to `seed`.

    Parameters
    ----------
    start, stop : int
        The masks wanted, as in `range`.
    shape : tuple of int
        Shape of one input: ``(H, W, C)``, ``(T, W)`` or ``(W,)``.
    grid_size, preservation_probability, seed
        As in `Rise`.
    antithetic : bool
        Draw masks in pairs, 0 and 1, 2 and 3 and so on, that share their shifts and
        preserve opposite cells: exactly so for a probability of 1/2, else as far as the
        probability allows.

    Returns
    -------
    array of float32, (n, H, W), (n, T, W) or (n, W) with n = stop - start
        Masks in [0, 1] with expected value `preservation_probability`.
    """
    p = preservation_probability
    return _upscale(*_random_grids(start, stop, shape, grid_size, p, seed, antithetic), shape)


def _random_grids(start, stop, shape, grid_size, p, seed=0, antithetic=False):
    """Low-resolution grids, and the pixels to cut off before a crop along each axis."""
    start = _integer("start", start, 0)
    stop = _integer("stop", stop, start)
    grid = _grid_shape(shape, _grid_size(grid_size))
    steps = [len(crops) for crops in _crops(shape, grid)]
    draws = prod(grid) + len(steps)
    first, last = (start // 2, ceil(stop / 2)) if antithetic else (start, stop)
    # One 64-bit draw per number: the generator can jump to any mask.
    generator = np.random.PCG64(_integer("seed", seed, 0)).advance(first * draws)
    uniform = np.random.Generator(generator).random((last - first, draws))
    if antithetic:
        uniform = np.repeat(uniform, 2, axis=0)
        uniform[1::2, len(steps) :] = 1 - uniform[1::2, len(steps) :]
        uniform = uniform[start - 2 * first :][: stop - start]
    grids = uniform[:, len(steps) :] < _between(p)
    return grids.reshape(-1, *grid), (uniform[:, : len(steps)] * steps).astype(int)


def _upscale(grids, shifts, shape):
    """Upscale grids bilinearly to one cell more than the input, and crop.

    Equals ``skimage.transform.resize(grid, ((h + 1) * ceil(H / h), (w + 1) *
    ceil(W / w)), order=1, anti_aliasing=False)[dy:dy + H, dx:dx + W]``.
    """
    masks = grids.astype(np.float32)
    crops = [axis[shift] for axis, shift in zip(_crops(shape, grids.shape[1:]), shifts.T)]
    if len(crops) == 2:
        masks = masks @ crops[1]
    if crops:
        masks = crops[0].transpose(0, 2, 1) @ masks
    # Weights sum to one only up to rounding.
    return np.minimum(masks, 1, out=masks)


def _crops(shape, grid):
    """For each axis to upscale, the weights at every shift, (shifts, cells, length)."""
    return [_bilinear(length, cells) for length, cells in zip(shape[: len(shape) - 1], grid)]


@lru_cache(maxsize=16)
def _bilinear(length, cells):
    cell = -(-length // cells)
    upscaled = (cells + 1) * cell
    # Centres of pixels in grid coordinates, mirrored at the centres of the outer cells.
    centres = np.abs((np.arange(upscaled) + 0.5) * cells / upscaled - 0.5)
    centres = np.clip(cells - 1 - np.abs(cells - 1 - centres), 0, None)
    weights = np.maximum(1 - np.abs(centres[:, np.newaxis] - np.arange(cells)), 0)
    return sliding_window_view(weights.astype(np.float32), length, axis=0)[:cell]


def perturb(x, masks, mask_value=0.0):
    """Blend an input with the values that replace masked ones.

    Parameters
    ----------
    x : array, (H, W, C), (T, W) or (W,)
        One input.
    masks : array, (n, H, W), (n, T, W) or (n, W)
        Masks in [0, 1]; the input is preserved where they are 1.
    mask_value : float or array
        As in `Rise`.

    Returns
    -------
    array, (n, H, W, C), (n, T, W) or (n, W)
        ``x * mask + mask_value * (1 - mask)``, within the values of `x` and
        `mask_value`. It is float64 if `x` is float64 or holds integers that are too
        large for float32, else float32.
    """
    x, masks = _in_own_precision(_numbers("x", x)), _numbers("masks", masks)
    mask_value = _numbers("mask_value", _numbers("mask_value", mask_value).astype(x.dtype))
    if mask_value.shape not in ((), x.shape[-1:], x.shape):
        raise ValueError(
            f"mask_value must be a number or of shape {x.shape[-1:]} or {x.shape}, "
            f"got shape {mask_value.shape}."
        )
    if masks.shape[1:] != x.shape[:2] or masks.size and (masks.min() < 0 or masks.max() > 1):
        raise ValueError(f"masks must be in [0, 1], of shape {x.shape[:2]}, got {masks.shape[1:]}.")
    if x.ndim == 3:
        preserved, perturbed = x - mask_value, np.empty((len(masks), *x.shape), x.dtype)
        # Image by image, which fits a processor's cache, and with the channels first,
        # as NumPy is slow along short last axes.
        for mask, channels in zip(masks, np.moveaxis(perturbed, -1, 1)):
            np.multiply(mask, np.moveaxis(preserved, -1, 0), out=channels)
        if mask_value.any():
            perturbed += mask_value
    else:
        # Exact where masks are 0 or 1, as a feature may be the code of a category.
        perturbed = (masks * x + (1 - masks) * mask_value).astype(x.dtype, copy=False)
    if mask_value.any():
        # Rounding must not carry a value out of the range the model was made for.
        low, high = min(x.min(), mask_value.min()), max(x.max(), mask_value.max())
        np.clip(perturbed, low, high, out=perturbed)
    return perturbed


def local_explanations(scores, masks):
    """Weight each mask by the score of the input that it perturbed.

    Parameters
    ----------
    scores : array, (n,)
        The model's score of each perturbed input.
    masks : array, (n, H, W), (n, T, W) or (n, W)

    Returns
    -------
    array, shape of `masks`
        ``f(I * M_i) M_i``, in the precision of `scores`.
    """
    scores, masks = _numbers("scores", scores), _numbers("masks", masks)
    if masks.shape[:1] != (scores.size,):
        raise ValueError(f"scores must be one a mask, got {scores.size} for shape {masks.shape}.")
    return scores.reshape(-1, *[1] * (masks.ndim - 1)) * masks


def average(total, nb_samples, preservation_probability=0.5):
    """Divide the sum of all local explanations by its expected weight.

    Parameters
    ----------
    total : array
        Sum of the local explanations of `nb_samples` masks.
    nb_samples, preservation_probability
        As in `Rise`.

    Returns
    -------
    array, shape of `total`
        ``1/(N p) sum_i f(I * M_i) M_i``, the RISE map.
    """
    n, p = _integer("nb_samples", nb_samples, 1), _between(preservation_probability)
    return _numbers("total", total) / n / p


# 3. The explainer: the steps, a batch at a time.

_FEWEST_SAMPLES = 200  # a standard error from fewer scores is a guess
# The errors of pixels are correlated, at worst all equal: then a map's error is below
# this many standard errors in nine of ten cases.
_NINE_IN_TEN = NormalDist().inv_cdf(0.95)
_NONE_KNOWN = np.empty((0, 0))


class Rise:
    """Saliency maps by Randomized Input Sampling for Explanation.

    Parameters
    ----------
    model : callable
        Takes perturbed inputs, ``(n, H, W, C)``, ``(n, T, W)`` or ``(n, W)``, an array
        of its own, and returns scores, ``(n, n_classes)``, as an array of NumPy,
        TensorFlow or PyTorch. A binary classifier with one output, ``(n,)`` or
        ``(n, 1)``, has one class, 0, with this score: for a sigmoid, that of label 1.
    batch_size : int
        Perturbed inputs per call of `model`.
    operator : callable, optional
        ``operator(model, inputs, targets)`` returns the score of each perturbed input,
        ``(n,)``; by default the output of the target class. It is for `explain` only.
    nb_samples : int
        Number of masks, that is of model evaluations, per explained input; at least 2
        for a regression.
    grid_size : int or tuple of int
        Cells of the low-resolution grid, ``(rows, columns)`` for an image, over time
        for a series. Tabular rows are masked feature by feature and use no grid.
    preservation_probability : float
        Probability in (0, 1) that a cell is preserved; the expected value p of a mask.
    mask_value : float, (C,) array or array of one input's shape
        What replaces masked values: a number, a colour or a whole input.
    seed : int
        Mask i depends on `seed` and i alone, not on `batch_size` or `nb_samples`.
    progress : callable, optional
        Wraps the iterable of batches; `tqdm.tqdm` fits.
    estimator : {"regression", "average"}
        How the map is estimated: by a regression of the scores on pairs of
        complementary masks, or by the paper's average over independent masks, which
        needs several times as many model evaluations for the same map.
    tolerance : float, optional
        Stop before `nb_samples`, but never before 200, once every map's error, root
        mean square over the map and relative to its range, is below this in nine of ten
        cases: once 1.645 times its `relative_error` is.

    Raises
    ------
    TypeError, ValueError
        Before any model call if an argument is not as described, and after one if the
        model has no such class or returns something else than described.

    Notes
    -----
    *Logits or probabilities.* Both will do: maps are in the units of the score. The
    paper uses probabilities. If these are near 0 or 1 for all masks, use logits.

    *mask_value* should mean "nothing here" to the model. The default 0 is black for
    images in [0, 255] or [0, 1], the mean for standardised inputs, and mid-grey for
    images in [-1, 1], where black is -1. For other features take their means.

    *grid_size.* Cells should be as large as the parts to tell apart: 7 for images of
    about 224 pixels, 4 or 5 for 28 to 64, 5 to 20 for a series. Finer grids need more
    masks. Rows need several masks for each feature; with hundreds of features, explain
    a model of groups of features instead.

    *Precision.* Scores and maps are float64. The model gets float64 if the inputs are
    float64 or hold integers that are too large for float32, else float32.

    *Memory.* Masks are made a batch at a time, the next while the model works. Memory
    holds two batches and, for each mask, the scores of the explained classes. The
    regression also needs about 18 bytes for each mask and point of a lattice, with 4
    points a cell of an image, 2 a cell and feature of a series, 1 a feature of a row:
    3.5 KB a mask for 7 x 7 cells. It computes with some matrices of up to 4,096 masks
    by the points: for thousands of points use "average".

    Examples
    --------
    >>> def left_half(images):
    ...     return images[:, :, :8].mean(axis=(1, 2))
    >>> rise = Rise(left_half, nb_samples=500, grid_size=4)
    >>> saliency = rise.explain(np.ones((1, 16, 16, 1)), [0])[0, ..., 0]
    >>> bool(saliency[:, :4].mean() > saliency[:, -4:].mean())
    True
    """

    def __init__(
        self,
        model,
        batch_size=32,
        operator=None,
        nb_samples=4000,
        grid_size=7,
        preservation_probability=0.5,
        mask_value=0.0,
        seed=0,
        progress=None,
        estimator="regression",
        tolerance=None,
    ):
        for name, function in {"model": model, "operator": operator, "progress": progress}.items():
            if not callable(function) and (function is not None or name == "model"):
                raise TypeError(f"{name} must be callable, got {function!r}.")
        if not isinstance(estimator, str) or estimator not in _ESTIMATORS:
            raise ValueError(f'estimator must be "regression" or "average", got {estimator!r}.')
        self.model = model
        self.progress = progress or iter
        self.nb_samples = _integer("nb_samples", nb_samples, 2 if estimator == "regression" else 1)
        self.grid_size = _grid_size(grid_size)
        self.preservation_probability = _between(preservation_probability)
        self.mask_value = _numbers("mask_value", mask_value)
        self.seed = _integer("seed", seed, 0)
        self.estimator = estimator
        self.tolerance = None if tolerance is None else _between(tolerance, "tolerance", np.inf)
        self.batch_size = _integer("batch_size", batch_size, 1)
        self.operator = operator

    def __repr__(self):
        values = self.mask_value.tolist() if self.mask_value.ndim < 2 else self.mask_value.shape
        settings = vars(self) | {"mask_value": values}
        shown = [f"{n}={v!r}" for n, v in settings.items() if n not in ("model", "progress")]
        return f"Rise({', '.join(shown)})"

    def explain(self, inputs, targets):
        """Explain the target class of each input.

        Parameters
        ----------
        inputs : array, (N, H, W, C), (N, T, W) or (N, W)
            Images, series of W features over T steps, or tabular rows, in the model's
            own value range.
        targets : array, (N,) of int or (N, n_classes)
            For each input the index of the class to explain, or its one-hot row. An
            `operator` gets an array of n copies of it.

        Returns
        -------
        array of float64, (N, H, W, 1), (N, T, W) or (N, W)
            Saliency in the units of the score. The channels of an image share one map;
            the features of a series are masked, and explained, one by one.
        """
        inputs, targets = _numbers("inputs", inputs), _numbers("targets", targets)
        if inputs.ndim not in (2, 3, 4) or 0 in inputs.shape:
            raise ValueError(
                f"inputs must be (N, H, W, C), (N, T, W) or (N, W), got {inputs.shape}."
            )
        n, model, known = len(inputs), partial(model_outputs, self.model), _NONE_KNOWN
        if targets.ndim not in (1, 2) or len(targets) != n:
            raise ValueError(
                f"targets must be {n} class indices or one-hot rows, got {targets.shape}."
            )
        if self.operator is not None:
            runs = [(x, partial(self._operate, target), [0]) for x, target in zip(inputs, targets)]
        else:
            if targets.ndim == 2:
                one_hot, known = targets, np.empty((0, targets.shape[1]))
                targets = one_hot.argmax(axis=1)
                if np.count_nonzero(one_hot) != n or (one_hot[range(n), targets] != 1).any():
                    raise ValueError("targets must be one-hot rows: a single 1 and else 0 in each.")
            runs = [(x, model, _classes(target)) for x, target in zip(inputs, targets)]
        maps = np.concatenate([self._run(*run, known).saliency for run in runs])
        return maps[..., np.newaxis] if inputs.ndim == 4 else maps

    def _operate(self, target, perturbed):
        n = len(perturbed)
        scores = self.operator(self.model, perturbed, np.repeat(target[np.newaxis], n, axis=0))
        scores = _numbers("operator's scores", scores)
        if scores.size != n:
            raise ValueError(f"operator must return {n} scores, got shape {scores.shape}.")
        return scores.reshape(n, 1).astype(np.float64)

    def explain_classes(self, x, classes):
        """Explain several classes of one input from the same model evaluations.

        Parameters
        ----------
        x, classes
            As in `estimate`.

        Returns
        -------
        array of float64, (n_classes, H, W), (n_classes, T, W) or (n_classes, W)
            A map for each class, in the order of `classes`.
        """
        return self.estimate(x, classes).saliency

    def estimate(self, x, classes, outputs=None, keep_outputs=False):
        """Explain several classes of one input, with standard errors.

        Parameters
        ----------
        x : array, (H, W, C), (T, W) or (W,)
            One input.
        classes : int or sequence of int
            Indices into the model's outputs.
        outputs : array, (n, n_outputs), optional
            The model's outputs for the first n masks: those of an earlier `Explanation`
            with the same input, seed, grid, probability, mask value and estimator. Only
            masks beyond these cost model evaluations.
        keep_outputs : bool
            Return all outputs of the model, for more masks or other classes later. They
            take 8 bytes for each mask and output.

        Returns
        -------
        Explanation
        """
        if self.operator is not None:
            raise ValueError(f"operator must be None but for `explain`, got {self.operator!r}.")
        x, classes = _numbers("x", x), _classes(classes)
        known = _NONE_KNOWN if outputs is None else _numbers("outputs", outputs)
        if known.ndim != 2:
            raise ValueError(f"outputs must be of shape (n, n_outputs), got shape {known.shape}.")
        return self._run(x, partial(model_outputs, self.model), classes, known, keep_outputs)

    def _run(self, x, model, classes, known=_NONE_KNOWN, keep_outputs=False):
        """Explain columns `classes` of ``model(perturbed)``, with known first rows."""
        p, width = self.preservation_probability, known.shape[1]
        estimator = _ESTIMATORS[self.estimator](x.shape, self.grid_size, p)
        known, outputs = known[: self.nb_samples], None
        check = max(_FEWEST_SAMPLES, len(known))
        with closing(self._batches(_in_own_precision(x), estimator, len(known))) as batches:
            for start, stop, masks, perturbed in batches:
                batch = known[start:stop] if perturbed is None else model(perturbed)
                width, n_outputs = width or batch.shape[1], batch.shape[1]
                if n_outputs != width:  # that of targets, of earlier outputs or of a batch
                    raise ValueError(f"model must have {width} outputs, got {n_outputs}.")
                estimator.add(masks, _columns(batch, classes).astype(np.float64))
                if keep_outputs:
                    outputs = np.empty((self.nb_samples, width)) if outputs is None else outputs
                    outputs[start:stop] = batch
                del masks, perturbed, batch  # large: the batch after the next replaces them
                if self.tolerance and check <= stop < self.nb_samples:
                    error = Explanation(*estimator.maps(), stop).relative_error.max()
                    if _NINE_IN_TEN * error < self.tolerance:
                        break
                    check = 1.2 * stop
        return Explanation(*estimator.maps(), stop, outputs[:stop] if keep_outputs else None)

    def _batches(self, x, estimator, n_known):
        """Yield start, stop, masks for the estimator, and inputs, or None if known."""

        def prepare(start, stop):
            p = self.preservation_probability
            masks = generate_masks(
                start, stop, x.shape, self.grid_size, p, self.seed, estimator.antithetic
            )
            perturbed = perturb(x, masks, self.mask_value) if start >= n_known else None
            return estimator.select(masks), perturbed

        spans = [
            (start, min(start + self.batch_size, last))
            for first, last in ((0, n_known), (n_known, self.nb_samples))
            for start in range(first, last, self.batch_size)
        ]
        with ThreadPoolExecutor(1) as thread:
            prepared = thread.submit(prepare, *spans[0])
            for span, following in zip(self.progress(spans), [*spans[1:], None]):
                batch = prepared.result()
                prepared = following and thread.submit(prepare, *following)  # while the model works
                yield *span, *batch


class Explanation(NamedTuple):
    """Maps of one input, their standard errors, and the model calls behind them.

    Attributes
    ----------
    saliency : array of float64, (n_classes, H, W), (n_classes, T, W) or (n_classes, W)
    standard_error : array of float64, shape of `saliency`
        Standard deviation of `saliency` over seeds; too low for few and skewed scores.
    calls : int
        Number n of perturbed inputs that the maps are made of.
    outputs : array of float64, (n, n_outputs), or None
        All outputs of the model, if `keep_outputs` asked for them.
    """

    saliency: np.ndarray
    standard_error: np.ndarray
    calls: int
    outputs: np.ndarray | None = None

    @property
    def relative_error(self):
        """Root mean square standard error of each map, relative to the map's range."""
        axes = tuple(range(1, self.saliency.ndim))
        ranges = np.ptp(self.saliency, axis=axes, keepdims=True)
        infinite = np.full(self.saliency.shape, np.inf)
        relative = np.divide(self.standard_error, ranges, out=infinite, where=ranges > 0)
        return np.sqrt(np.mean(np.square(relative), axis=axes))


def model_outputs(model, inputs):
    """Call a model, and check and copy what it returns.

    Parameters
    ----------
    model : callable
        As in `Rise`.
    inputs : array, (n, ...)
        The model gets this array itself and may write into it.

    Returns
    -------
    array of float64, (n, n_classes)
        A copy, since a model may return the same buffer at each call.

    Raises
    ------
    ValueError
        If outputs are not of that shape or not finite numbers.
    """
    n, outputs = len(inputs), _numbers("model's outputs", model(inputs))
    outputs = outputs[:, np.newaxis] if outputs.ndim == 1 else outputs
    if outputs.ndim != 2 or len(outputs) != n or not outputs.size:
        raise ValueError(f"model must return scores ({n}, n_classes), got shape {outputs.shape}.")
    return outputs.astype(np.float64)


# 4. The estimators, from masks and scores to maps and standard errors.


class _Average:
    """The paper's estimator, `average` of local explanations that come in batches."""

    antithetic = False
    select = staticmethod(lambda masks: masks)

    def __init__(self, shape, grid_size, p):
        self.p, self.n, self.total, self.root = p, 0, 0, 0
        self.points, self.tents = _lattice(shape, grid_size, per_cell=4)

    def add(self, masks, scores):
        self.n += len(masks)
        self.total = self.total + _sum_of_local_explanations(scores.T, masks)
        # Standard errors change little from pixel to pixel: a lattice is enough.
        local = [local_explanations(score, _at(self.points, masks)) for score in scores.T]
        # The root of the sum of squares, which themselves may overflow or vanish.
        self.root = np.hypot(self.root, np.hypot.reduce(local, axis=1))

    def maps(self):
        root, mean = self.root / sqrt(self.n), np.abs(_at(self.points, self.total)) / self.n
        deviation = np.sqrt(np.maximum(root - mean, 0)) * np.sqrt(root + mean)
        error = deviation / sqrt(max(self.n - 1, 1)) / self.p
        return average(self.total, self.n, self.p), _along(self.tents, error)


def _sum_of_local_explanations(scores, masks):
    """``local_explanations(score, masks).sum(axis=0)`` for each row of `scores`."""
    # In blocks that OpenBLAS leaves to one thread: after a larger product its other
    # threads spin for some 25 ms, on processors that the model could use.
    flat = masks.reshape(len(masks), -1)
    total = np.empty((len(scores), flat.shape[1]))
    block = max(2**18 // scores.size, 256)
    for start in range(0, flat.shape[1], block):
        part = flat[:, start : start + block].astype(np.float64)
        total[:, start : start + block] = np.dot(scores, part)
    return total.reshape(-1, *masks.shape[1:])


class _Regression:
    """The map of `average`, from fewer masks: a regression on complementary masks.

    The map of RISE is ``S(x) = E[f] + Cov(f, M(x)) / p``, and the covariance of masks
    is known exactly. If scores were ``f = c + b . Z`` in the masks' values Z at a
    lattice of points, the map would be ``c + Cov(M(x), Z) b / p``: it suffices to
    regress the scores on Z. What remains is noise from interactions between cells;
    complementary masks cancel those of an even number of cells. Slopes are shrunk to
    smooth ones by an amount chosen by the evidence [1]_. They are first fitted to the
    normal scores (ranks) of f, whose noise is smaller but whose slopes are only nearly
    proportional to those of f, and then corrected by a second regression of what
    remains in f. With more masks both shrink less: the map converges to the paper's.

    References
    ----------
    .. [1] D. J. C. MacKay, "Bayesian Interpolation", Neural Computation 4(3), 1992.
       https://doi.org/10.1162/neco.1992.4.3.415
    """

    antithetic = True

    def __init__(self, shape, grid_size, p):
        self.p, self.masks, self.scores = p, [], []
        self.points, self.tents = _lattice(shape, grid_size, per_cell=2)
        # Covariance of masks along an axis, up to p (1 - p): mean over shifts.
        self.overlaps = [
            np.einsum("scx,scy->xy", crops, crops[:, :, points], dtype=np.float64, optimize=True)
            / len(crops)
            for crops, points in zip(_crops(shape, _grid_shape(shape, grid_size)), self.points)
        ]

    def select(self, masks):
        return _at(self.points, masks)

    def add(self, masks, scores):
        self.masks.append(masks)
        self.scores.append(scores)

    def maps(self):
        self.masks = [np.concatenate(self.masks)]  # in place of the batches, to save memory
        [masks], scores = self.masks, np.concatenate(self.scores)
        n, lattice = len(masks) // 2 * 2, masks.shape[1:]  # whole pairs
        rows = self._contrast(masks[:n].reshape(n, -1))
        bases = [_basis(rows, lattice, roots) for roots in _smoothings(self.points)]
        maps = [self._map(rows, score, bases, lattice) for score in scores[:n].T]
        return tuple(np.stack(each) for each in zip(*maps))

    def _map(self, rows, score, bases, lattice):
        # Squares of scores may overflow or vanish; a power of two leaves all digits.
        unit = np.ldexp(0.5, np.frexp(np.abs(score).max())[1])
        score = score / unit
        y, ranks = self._contrast(score), self._contrast(_normal_scores(score))
        slopes, half = _evidence_fit(rows, ranks, bases)
        fitted = rows @ slopes
        scale = fitted @ y / max(fitted @ fitted, _TINY)
        correction, half_too = _evidence_fit(rows, y - scale * fitted, bases)
        slopes_of_score = scale * slopes + correction
        along_x = _along(self.overlaps, slopes_of_score.reshape(1, *lattice))[0]
        saliency = score.mean() + (1 - self.p) * along_x

        # Standard error: what the residuals of each pair of masks, as they would be had
        # the pair been left out, add to the slopes and to the mean.
        first, second = ranks - fitted, y - rows @ slopes_of_score
        projected = sum(rows[part].T @ (rows[part] @ half_too) for part in _parts(rows))
        at_lattice = [overlap[points] for overlap, points in zip(self.overlaps, self.points)]
        means = score.reshape(-1, 2).mean(axis=1)
        means = ((means - means.mean()) / len(means)).reshape(-1, *[1] * len(lattice))
        squares, per_pair = 0, len(rows) // len(means)
        for part in _parts(rows):
            added = scale * _added(rows[part], first[part], half)
            added += _added(rows[part], second[part], half_too) - added @ projected @ half_too.T
            added = added.reshape(-1, per_pair, added.shape[1]).sum(axis=1).reshape(-1, *lattice)
            mean = means[part.start // per_pair : part.stop // per_pair]
            along_x = (1 - self.p) * _along(at_lattice, added)
            squares = squares + np.square(along_x + mean).sum(axis=0)
        error = _along(self.tents, np.sqrt(squares)[np.newaxis])[0]
        return saliency * unit, error * unit

    def _contrast(self, values):
        """Differences within pairs, or from the mean if these are not complementary."""
        if self.p != 0.5:
            return values - values.mean(axis=0, dtype=np.float64)
        return np.subtract(values[::2], values[1::2], dtype=np.float64) / sqrt(2)


def _parts(rows):
    """Parts of rows: what is computed from all of them would take much memory."""
    return [slice(start, start + 4096) for start in range(0, len(rows), 4096)]


def _basis(rows, lattice, roots):
    """Variances and uncorrelated directions of slopes under a prior given by roots."""

    def smooth(part):
        return _along(roots, rows[part].reshape(-1, *lattice)).reshape(-1, rows.shape[1])

    if len(rows) >= rows.shape[1]:
        blocks = map(smooth, _parts(rows))
        variances, directions = np.linalg.eigh(sum(block.T @ block for block in blocks))
    else:
        block = smooth(slice(None))
        variances, left = np.linalg.eigh(block @ block.T)
        directions = block.T @ left / np.sqrt(np.maximum(variances, _TINY))
    large = variances > 1e-10 * variances[-1]  # others are rounding errors
    directions = _along(roots, directions[:, large].T.reshape(-1, *lattice))
    return variances[large], directions.reshape(-1, rows.shape[1]).T


def _smoothings(points):
    """Roots of the slopes' prior covariance, one an axis: none, then smooth ones."""
    yield []
    for scale in (1, 2, 3) if points else ():
        steps = [np.subtract.outer(range(len(axis)), range(len(axis))) for axis in points]
        spectra = [np.linalg.eigh(np.exp(-0.5 * (step / scale) ** 2)) for step in steps]
        yield [vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T for values, vectors in spectra]


def _evidence_fit(rows, y, bases):
    """Slopes of y by ridge regression, with penalty and basis chosen by the evidence.

    Also a square root of the matrix that maps ``rows.T @ y`` to them.
    """
    best, products = (np.inf,), rows.T @ y
    for variances, directions in bases:
        projected = directions.T @ products
        penalties = variances.max(initial=_TINY) * np.geomspace(1e-5, 100, 33)[:, np.newaxis]
        fit = (projected**2 / (variances + penalties)).sum(axis=1)
        noise = np.maximum(y @ y - fit, 1e-12 * (y @ y) + _TINY)
        cost = len(y) * np.log(noise) + np.log1p(variances / penalties).sum(axis=1)
        least = cost.argmin()
        if cost[least] < best[0]:
            best = cost[least], directions / np.sqrt(variances + penalties[least])
    half = best[1]
    return half @ (half.T @ products), half


def _added(block, residuals, half):
    """What the residual of each row, had the row been left out, adds to the slopes."""
    along_half = block @ half
    leverage = np.square(along_half).sum(axis=1)
    return (residuals / np.maximum(1 - leverage, 0.1))[:, np.newaxis] * (along_half @ half.T)


def _normal_scores(scores):
    """Normal quantiles of the scores' ranks; equal scores share one."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2) / len(scores)
    return np.array([NormalDist().inv_cdf(rank) for rank in ranks])[places]


def _lattice(shape, grid_size, per_cell):
    """For each upscaled axis, points, and weights to interpolate, (length, points)."""
    points, tents = [], []
    for length, cells in zip(shape[: len(shape) - 1], _grid_shape(shape, grid_size)):
        count = min(per_cell * cells, length)
        at = ((np.arange(count) + 0.5) * length / count).astype(int)
        points.append(at)
        tents.append(np.array([np.interp(np.arange(length), at, unit) for unit in np.eye(count)]).T)
    return points, tents


def _at(points, masks):
    for axis, places in enumerate(points, 1):
        masks = masks.take(places, axis)
    return masks


def _along(matrices, arrays):
    """Multiply each axis after the first by a matrix."""
    for axis, matrix in enumerate(matrices, 1):
        arrays = np.moveaxis(np.tensordot(arrays, matrix, (axis, 1)), -1, axis)
    return arrays


_ESTIMATORS = {"average": _Average, "regression": _Regression}
_TINY = np.finfo(np.float64).tiny


# 5. The checks of arguments, before any model call.


def _numbers(name, values):
    """An array of finite numbers; types that NumPy lacks (bfloat16) become float32."""
    if hasattr(values, "detach"):
        # NumPy reads no PyTorch tensor that tracks gradients or is of type bfloat16.
        values = values.detach().cpu()
        values = values.float() if "bfloat16" in str(values.dtype) else values
    try:
        array = np.asarray(values)
    except ValueError:  # of parts of unequal shapes
        array = np.array(values, object)
    if array.dtype.kind == "V" and "float" in array.dtype.name:
        array = array.astype(np.float32)
    if array.dtype.kind not in "buif":
        raise ValueError(f"{name} must be finite numbers, got an array of {array.dtype}.")
    wrong = array[~np.isfinite(array)]
    if wrong.size:
        raise ValueError(f"{name} must be finite numbers, got {wrong[0]} in {wrong.size} places.")
    return array


def _in_own_precision(x):
    """`x` in float32, or in float64 if it is that or holds integers that need it."""
    single = x.astype(np.float32, copy=False)
    if x.dtype in (np.float16, np.float32) or x.dtype.kind != "f" and (single == x).all():
        return single
    return x.astype(np.float64, copy=False)


def _classes(classes):
    classes = [classes] if isinstance(classes, Integral) else classes
    if np.ndim(classes) != 1 or not len(classes):
        raise ValueError(f"classes must be one or more class indices, got {classes!r}.")
    return [_integer("classes", index, 0) for index in classes]


def _columns(outputs, classes):
    width = outputs.shape[1]
    if max(classes) >= width:
        single = " A single output is class 0." if width == 1 else ""
        raise ValueError(
            f"classes must be below the model's {width} outputs, got {max(classes)}.{single}"
        )
    return outputs[:, classes]


def _grid_shape(shape, grid_size):
    """Shape of a mask's grid: cells along space or time, one cell for each feature."""
    axes = len(shape) - 1 if isinstance(shape, (tuple, list)) else -1
    if not 0 <= axes <= 2 or not all(isinstance(n, Integral) and n > 0 for n in shape):
        raise ValueError(f"an input must be of shape (H, W, C), (T, W) or (W,), got {shape}.")
    sizes, features = shape[:axes], () if axes == 2 else shape[axes:]
    cells = grid_size if isinstance(grid_size, tuple) else (grid_size,) * axes
    if axes and len(cells) != axes or any(cell > size for cell, size in zip(cells, sizes)):
        raise ValueError(
            f"grid_size must be at most {' x '.join(map(str, sizes))} for inputs of shape {shape}, "
            f"got {grid_size}."
        )
    return (*cells[:axes], *features)


def _integer(name, value, least):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
    return int(value)


def _grid_size(value):
    if isinstance(value, (tuple, list)) and 1 <= len(value) <= 2:
        return tuple(_integer("grid_size", cells, 1) for cells in value)
    return _integer("grid_size", value, 1)


def _between(value, name="preservation_probability", high=1):
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < value < high:
        raise ValueError(f"{name} must be a number above 0 and below {high}, got {value!r}.")
    return float(value)
