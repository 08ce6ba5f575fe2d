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
# mypy: ignore-errors

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import lru_cache, partial
from itertools import zip_longest
from math import ceil, prod, sqrt
from numbers import Integral, Real
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

__version__ = "1.1.0"
__all__ = ["Explanation", "Outputs", "Rise", "average", "generate_masks", "local_explanations"]
__all__ += ["model_outputs", "perturb", "rise_map"]
_Grid, _Pair = int | tuple[int, ...], tuple[np.ndarray, np.ndarray]


def rise_map(model: Callable, x: ArrayLike, label: int, nb_samples: int, grid_size: _Grid = 7,
             preservation_probability: float = 0.5, mask_value: ArrayLike = 0,
             seed: int = 0) -> np.ndarray:  # fmt: skip
    """The paper's equation as a loop, ``S(x) = 1/(N p) sum_i f(I * M_i) M_i(x)``.

    Parameters
    ----------
    model, x, label, nb_samples, grid_size, preservation_probability, mask_value, seed
        As in `Rise` and its `estimate`: `label` is one class. The model gets one input.

    Returns
    -------
    array of float64, (H, W), (T, W) or (W,)
        ``Rise(model, estimator="average", ...).explain_classes(x, label)[0]``.
    """
    classes, total, p = _classes(label), 0, preservation_probability
    shape = _shape_of_input(np.shape(x))
    for i in range(_integer("nb_samples", nb_samples, 1)):
        mask = generate_masks(i, i + 1, shape, grid_size, p, seed)
        outputs = model_outputs(model, perturb(x, mask, mask_value))
        total = total + _columns(outputs, classes)[0, 0] * mask[0]
    return total / (nb_samples * p)


def generate_masks(start: int, stop: int, shape: tuple[int, ...], grid_size: _Grid = 7,
                   preservation_probability: float = 0.5, seed: int = 0,
                   antithetic: bool = False) -> np.ndarray:  # fmt: skip
    """Masks number `start` to `stop` of the endless sequence that belongs to `seed`.

    Parameters
    ----------
    start, stop : int
        The masks wanted, as in `range`.
    shape : tuple of int
        Of one input: ``(H, W, C)``, ``(H, W, 1)`` if greyscale, ``(T, W)`` or ``(W,)``.
    grid_size, preservation_probability, seed
        As in `Rise`.
    antithetic : bool
        Draw masks in pairs, 0 and 1, 2 and 3 and so on, with the same shifts and, as
        far as the probability allows, opposite cells: exactly opposite for 1/2.

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
    steps = [len(crops) for crops in _crops(tuple(shape), grid)]
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
    crops = [axis[shift] for axis, shift in zip(_crops(tuple(shape), grids.shape[1:]), shifts.T)]
    if len(crops) == 2:
        masks = masks @ crops[1]
    if crops:
        masks = crops[0].transpose(0, 2, 1) @ masks
    # Weights sum to one only up to rounding. Clipping is faster than `np.minimum`.
    return np.clip(masks, 0, 1, out=masks)


@lru_cache(maxsize=16)
def _crops(shape, grid):
    """For each axis to upscale, the weights at every shift, (shifts, cells, length)."""
    crops = []
    for length, cells in zip(shape[: len(shape) - 1], grid):
        cell = -(-length // cells)
        upscaled = (cells + 1) * cell
        # Centres of pixels in grid coordinates, mirrored at centres of the outer cells.
        centres = np.abs((np.arange(upscaled) + 0.5) * cells / upscaled - 0.5)
        centres = np.clip(cells - 1 - np.abs(cells - 1 - centres), 0, None)
        weights = np.maximum(1 - np.abs(centres[:, np.newaxis] - np.arange(cells)), 0)
        crops.append(sliding_window_view(weights.astype(np.float32), length, axis=0)[:cell])
    return crops


def perturb(x: ArrayLike, masks: ArrayLike, mask_value: ArrayLike = 0.0,
            channels_first: bool = False) -> np.ndarray:  # fmt: skip
    """Blend an input with the values that replace masked ones.

    Parameters
    ----------
    x, mask_value, channels_first
        As in `Rise` and its `estimate`.
    masks : array, (n, H, W), (n, T, W) or (n, W)
        Masks in [0, 1]; the input is preserved where they are 1.

    Returns
    -------
    array, (n, *x.shape)
        ``x * mask + mask_value * (1 - mask)``, within the values of both and in the
        float type of `x`; integers become float32, or float64 if they need it.
    """
    masks, x = _numbers("masks", masks), _in_own_precision(_numbers("x", x))
    shape = x.shape[1:] if channels_first and x.ndim == 3 else x.shape[:2]
    if masks.shape[1:] != shape or masks.size and (masks.min() < 0 or masks.max() > 1):
        raise ValueError(f"masks must be in [0, 1], of shape {shape}, got {masks.shape[1:]}.")
    return _blend(x, mask_value, channels_first)(masks, np.empty((len(masks), *x.shape), x.dtype))


def _blend(x, mask_value, channels_first):
    """A function that writes the inputs that masks perturb into an array."""
    value = _numbers("mask_value", _numbers("mask_value", mask_value).astype(x.dtype))
    axis = -3 if channels_first and x.ndim == 3 else -1
    colour = x.shape[axis : axis + 1 or None]
    if value.shape not in ((), colour, x.shape):
        shapes = f"{colour} or {x.shape}, got shape {value.shape}"
        raise ValueError(f"mask_value must be a number or of shape {shapes}.")
    value = value.reshape(-1, 1, 1) if axis == -3 and value.ndim == 1 else value
    ends = (x.min(), x.max(), value.min(), value.max()) if value.any() else ()
    if x.ndim == 3:
        # Channel by channel, as NumPy is slow along short last axes.
        by_channel = partial(np.moveaxis, source=axis, destination=-3)
        preserved = np.subtract(x, value, dtype=np.result_type(x, np.float32))
        preserved = np.ascontiguousarray(by_channel(preserved))

    def blend(masks, out):
        if x.ndim == 3:
            np.multiply(masks[:, np.newaxis], preserved, out=by_channel(out), casting="same_kind")
            if ends:
                out += value
        else:
            # Exact where masks are 0 or 1, as a feature may be the code of a category.
            out[:] = masks * x + (1 - masks) * value
        # Rounding must not carry a value out of the range the model was made for.
        return np.clip(out, min(ends), max(ends), out=out) if ends else out

    return blend


def local_explanations(scores: ArrayLike, masks: ArrayLike) -> np.ndarray:
    """Weight each mask by the score of the input that it perturbed.

    Parameters
    ----------
    scores : array, (n,)
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


def average(total: ArrayLike, nb_samples: int, preservation_probability: float = 0.5) -> np.ndarray:
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


_FEWEST_SAMPLES = 200  # a standard error from fewer scores is a guess
_NINE_IN_TEN = NormalDist().inv_cdf(0.95)  # of errors, if at worst all pixels err alike


class Rise:
    """Saliency maps by Randomized Input Sampling for Explanation.

    Parameters
    ----------
    model : callable
        Takes perturbed inputs, ``(n, H, W, C)`` or as its inputs are, in an array of
        its own. Returns scores, ``(n, n_classes)``, in one of NumPy, TensorFlow or
        PyTorch. A single output, ``(n,)`` or ``(n, 1)``, is class 0 (sigmoid: label 1).
    batch_size : int
        Inputs per model call. A smaller last batch that fails is padded to this size.
    operator : callable, optional
        ``operator(model, inputs, targets)`` returns the score of each perturbed input,
        ``(n,)``; by default the output of the target class. It is for `explain` only.
    nb_samples : int
        Number of masks, so of model evaluations, per input; 2 or more for a regression.
    grid_size : int or tuple of int
        Cells of the low-resolution grid, ``(rows, columns)`` for an image, over time
        for a series, as large as the parts to tell apart: 7 for images of about 224
        pixels, 4 or 5 for 28 to 64, 5 to 20 for a series. Finer grids need more masks,
        as do rows of many features, which are masked one by one, without a grid.
    preservation_probability : float
        Probability in (0, 1) that a cell is preserved; the expected value p of a mask.
    mask_value : float, (C,) array or array of one input's shape
        What replaces masked values: a number, a colour or a whole input that means
        "nothing here" to the model. 0 is black for images in [0, 255] or [0, 1], grey
        for those in [-1, 1], and the mean of standardised inputs. Else take means.
    seed : int
        Mask i depends on `seed` and i alone, not on `batch_size` or `nb_samples`.
    progress : callable, optional
        Wraps the iterable of batches; `tqdm.tqdm` fits.
    estimator : {"regression", "average"}
        A regression of the scores on pairs of complementary masks, or the paper's
        average over independent masks, which needs several times as many for the map.
    tolerance : float, optional
        Stop after 200 masks or more once every map's error, relative to its range, is
        below this in nine of ten cases: once 1.645 times its `relative_error` is. If
        `nb_samples` masks are not enough for it, warn.
    channels_first : bool, optional
        True for images ``(C, H, W)``, False for ``(H, W, C)``. By default False for up
        to four channels; a longer last axis, as of a volume, is refused.
    layout : {"image", "series"}, optional
        What two axes are: a greyscale image ``(H, W)`` or a series ``(T, W)``. By
        default a series if T or W is below 8 or T at least 4 W; else it is refused.

    Attributes
    ----------
    unfinished : list of Outputs
        What the model returned for each input of the last explanation that an error or
        Ctrl-C ended: `outputs` for `explain`, or the only one for `estimate`.

    Notes
    -----
    *Logits or probabilities.* Maps are in the units of the score. Use logits where
    probabilities are near 0 or 1 for all masks. "average" divides by N p, so a mean far
    from 0 makes it noisy: at 250 masks its rank correlation with the map is 0.71 for
    SqueezeNet's probabilities and 0.43 for their logarithms, the regression's 0.92.

    *Memory* holds two batches and, for each mask, the scores of the explained classes.
    The regression also needs about 18 bytes for each mask and point of a lattice, with
    4 points a cell of an image, 2 a cell and feature of a series, 1 a feature of a row:
    3.5 KB a mask for 7 x 7 cells. For thousands of points use "average".

    Examples
    --------
    >>> rise = Rise(lambda images: images[:, :, :8].mean(axis=(1, 2)), grid_size=4)
    >>> explanation = rise.estimate(np.ones((16, 16, 1)), 0)
    >>> [saliency] = explanation.saliency
    >>> bool(saliency[:, :4].mean() > saliency[:, -4:].mean())
    True
    """

    def __init__(self, model: Callable, batch_size: int = 32, operator: Callable | None = None,
                 nb_samples: int = 4000, grid_size: _Grid = 7,
                 preservation_probability: float = 0.5, mask_value: ArrayLike = 0.0, seed: int = 0,
                 progress: Callable | None = None, estimator: str = "regression",
                 tolerance: float | None = None, channels_first: bool | None = None,
                 layout: str | None = None) -> None:  # fmt: skip
        for name, function in {"model": model, "operator": operator, "progress": progress}.items():
            if not callable(function) and (function is not None or name == "model"):
                raise TypeError(f"{name} must be callable, got {function!r}.")
        self.model, self.progress = model, progress or iter
        self.nb_samples = _integer("nb_samples", nb_samples, 2 if estimator == "regression" else 1)
        self.grid_size = _grid_size(grid_size)
        self.preservation_probability = _between(preservation_probability)
        self.mask_value = _numbers("mask_value", mask_value).copy()
        self.seed, self.estimator = _integer("seed", seed, 0), estimator
        self.tolerance = None if tolerance is None else _between(tolerance, "tolerance", np.inf)
        self.batch_size = _integer("batch_size", batch_size, 1)
        self.operator, self.channels_first, self.layout = operator, channels_first, layout
        self.unfinished: list[Outputs] = []
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}.")

    def __repr__(self) -> str:
        values = self.mask_value.tolist() if self.mask_value.ndim < 2 else self.mask_value.shape
        unset = [name for name in ("channels_first", "layout") if vars(self)[name] is None]
        hidden = ["model", "progress", "unfinished", *unset]
        shown = (vars(self) | {"mask_value": values}).items()
        return f"Rise({', '.join(f'{n}={v!r}' for n, v in shown if n not in hidden)})"

    def explain(self, inputs: ArrayLike, targets: ArrayLike, return_error: bool = False,
                outputs: Sequence["Outputs"] = ()) -> "np.ndarray | _Pair":  # fmt: skip
        """Explain the target class of each input.

        Parameters
        ----------
        inputs : array, (N, H, W, C), (N, C, H, W), (N, H, W), (N, T, W) or (N, W)
            Images, series of W features in T steps, or rows, in the model's own range.
        targets : array, (N,) of int or (N, n_classes)
            For each input the index of the class to explain, or its one-hot row. An
            `operator` gets an array of n copies of it.
        return_error : bool
            Also return the standard errors, an array like the first.
        outputs : list of Outputs
            Those in `unfinished`, to continue.

        Returns
        -------
        array of float64, (N, H, W, 1), (N, 1, H, W), (N, H, W), (N, T, W) or (N, W)
            Saliency in the units of the score. The channels of an image share one map;
            the features of a series are masked, and explained, one by one.
        """
        inputs, targets = _numbers("inputs", inputs), _numbers("targets", targets)
        if inputs.ndim not in (2, 3, 4) or 0 in inputs.shape:
            raise ValueError(f"inputs must be a batch of images or rows, got {inputs.shape}.")
        n, model, width = len(inputs), partial(model_outputs, self.model), 0
        targets = targets[np.newaxis] if targets.ndim == 0 and n == 1 else targets
        if targets.ndim not in (1, 2) or len(targets) != n:
            raise ValueError(f"targets must be one for each of {n} inputs, got {targets.shape}.")
        if self.operator is not None:
            runs = [
                (x, partial(self._operate, t), [0], t.tolist()) for x, t in zip(inputs, targets)
            ]
        else:
            if targets.ndim == 2:
                one_hot, width = targets, targets.shape[1]
                targets = one_hot.argmax(axis=1)
                if np.count_nonzero(one_hot) != n or (one_hot[range(n), targets] != 1).any():
                    raise ValueError("targets must be one-hot rows: a single 1 and else 0 in each.")
            runs = [(x, model, _classes(target), None) for x, target in zip(inputs, targets)]
        explanations = self._explain(runs, list(outputs)[:n], False, width)
        both = [np.concatenate(arrays) for arrays in list(zip(*explanations))[:2]]
        if inputs.ndim == 4:
            both = [np.expand_dims(array, 1 if self.channels_first else -1) for array in both]
        return tuple(both) if return_error else both[0]

    def _operate(self, target, perturbed):
        targets = np.repeat(target[np.newaxis], len(perturbed), axis=0)
        scores = _numbers("operator's scores", self.operator(self.model, perturbed, targets))
        if scores.size != len(targets):
            raise ValueError(f"operator must return {len(targets)} scores, got {scores.shape}.")
        return scores.reshape(-1, 1).astype(np.float64)

    def explain_classes(self, x: ArrayLike, classes: ArrayLike) -> np.ndarray:
        """Maps of several classes from the same model evaluations, as of `estimate`."""
        return self.estimate(x, classes).saliency

    def estimate(self, x: ArrayLike, classes: ArrayLike, outputs: ArrayLike | None = None,
                 keep_outputs: bool = False) -> "Explanation":  # fmt: skip
        """Explain several classes of one input, with standard errors.

        Parameters
        ----------
        x : array, (H, W, C), (C, H, W), (H, W), (T, W) or (W,)
            One input.
        classes : int or array of int
            Indices into the model's outputs.
        outputs : Outputs or array, (n, n_outputs), optional
            The model's outputs for the first n masks, from `unfinished` or an earlier
            `Explanation` with the same input and settings but `nb_samples`. Only masks
            beyond these cost model evaluations. A plain array is taken on trust.
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
        run = x, partial(model_outputs, self.model), classes, None
        return self._explain([run], [] if outputs is None else [outputs], keep_outputs)[0]

    def _explain(self, runs, known, keep_outputs, width=0):
        """Explain each run; if one is interrupted, `unfinished` has what is known."""
        explanations, collected, seen = [], [], {}
        show_once = lru_cache(None)(warnings.showwarning)  # what a model warns of at each call
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda w, *at: show_once(seen.setdefault(str(w), w), *at)
                for run, outputs in zip_longest(runs, known):
                    explanations.append(self._run(*run, outputs, keep_outputs, width, collected))
        except BaseException:
            self.unfinished = [*collected, *known[len(collected) :]] or self.unfinished
            raise
        return explanations

    def _run(self, x, model, classes, target, outputs, keep_outputs, width, collected):
        """Explain `classes` of ``model(perturbed)``, with known first outputs."""
        x, p, value = _in_own_precision(x), self.preservation_probability, self.mask_value
        shape = _shape_of_input(x.shape, self.channels_first, self.layout)
        estimator = _ESTIMATORS[self.estimator](shape, self.grid_size, p)
        blend = _blend(x, value, self.channels_first)
        settings = "estimator", "grid_size", "preservation_probability", "seed", "layout"
        origin = {"operator's target": target} | {name: getattr(self, name) for name in settings}
        origin |= {"x": hash(x.tobytes()), "mask_value": hash(value.astype(float).tobytes())}
        origin |= {"classes": None if keep_outputs else classes, "shape": shape}
        known, width = _known_rows(outputs, origin, classes, width, self.nb_samples)
        rows, done, check = None, 0, max(_FEWEST_SAMPLES, len(known))
        try:
            with closing(self._batches(x, shape, estimator, blend, len(known))) as batches:
                for start, stop, masks, perturbed in batches:
                    batch = known[start:stop] if perturbed is None else self._call(model, perturbed)
                    if perturbed is not None:
                        width, n_outputs = width or batch.shape[1], batch.shape[1]
                        if n_outputs != width:  # that of targets, of earlier outputs or of a batch
                            raise ValueError(f"model must have {width} outputs, got {n_outputs}.")
                        batch = batch if keep_outputs else _columns(batch, classes)
                    estimator.add(masks, _columns(batch, classes) if keep_outputs else batch)
                    rows = np.empty((self.nb_samples, batch.shape[1])) if rows is None else rows
                    rows[start:stop], done = batch, stop
                    del masks, perturbed, batch  # large: the batch after the next replaces them
                    if self.tolerance and check <= stop < self.nb_samples:
                        error = Explanation(*estimator.maps(), stop).relative_error.max()
                        if _NINE_IN_TEN * error < self.tolerance:
                            break
                        check = 1.2 * stop
        finally:
            if done > len(known):
                outputs = rows[:done].view(Outputs)
                outputs.origin = origin
            collected += [outputs] if outputs is not None else []
        base = (_columns(rows[:done], classes) if keep_outputs else rows[:done]).mean(axis=0)
        explanation = Explanation(*estimator.maps(), done, outputs if keep_outputs else None, base)
        error = _NINE_IN_TEN * explanation.relative_error.max()
        if self.tolerance and error >= self.tolerance:
            warnings.warn(f"{done} masks meet a tolerance of {error:.3g} only.", stacklevel=4)
        return explanation

    def _call(self, model, perturbed):
        if not len(perturbed) < self.batch_size <= self.nb_samples:
            return model(perturbed)
        padded = np.resize(perturbed, (self.batch_size, *perturbed.shape[1:]))
        try:
            return model(perturbed)
        except Exception:
            with suppress(Exception):  # the first error says more
                return model(padded)[: len(perturbed)]
            raise

    def _batches(self, x, shape, estimator, blend, n_known):
        """Yield start, stop, masks for the estimator, and inputs, or None if known."""
        settings = shape, self.grid_size, self.preservation_probability, self.seed

        def prepare(start, stop):
            masks = _upscale(*_random_grids(start, stop, *settings, estimator.antithetic), shape)
            empty = np.empty((stop - start, *x.shape), x.dtype) if start >= n_known else None
            return estimator.select(masks), None if empty is None else blend(masks, empty)

        size, parts = self.batch_size, ((0, n_known), (n_known, self.nb_samples))
        spans = [(i, min(i + size, end)) for start, end in parts for i in range(start, end, size)]
        with ThreadPoolExecutor(1) as thread:
            prepared = thread.submit(prepare, *spans[0])
            for span, following in zip(self.progress(spans), [*spans[1:], None]):
                batch = prepared.result()
                prepared = following and thread.submit(prepare, *following)  # while the model works
                yield *span, *batch


class Outputs(np.ndarray):
    """Outputs of a model, (n, n_outputs), that know their input; slices do not."""

    origin: dict | None = None


class Explanation(NamedTuple):
    """Maps of one input, their standard errors, and the model calls behind them.

    Attributes
    ----------
    saliency : array of float64, (n_classes, H, W), (n_classes, T, W) or (n_classes, W)
    standard_error : array of float64, shape of `saliency`
        Standard deviation of `saliency` over seeds; too low for few and skewed scores.
    calls : int
        Number n of perturbed inputs that the maps are made of.
    outputs : Outputs, (n, n_outputs), or None
        All outputs of the model, if `keep_outputs` asked for them.
    base : array of float64, (n_classes,)
        Mean score of perturbed inputs, E[f]; maps are above it where pixels raise it.
    """

    saliency: np.ndarray
    standard_error: np.ndarray
    calls: int
    outputs: Outputs | None = None
    base: np.ndarray = np.empty(0)

    @property
    def relative_error(self) -> np.ndarray:
        """Root mean square standard error of each map, relative to the map's range."""
        axes = tuple(range(1, self.saliency.ndim))
        ranges = np.ptp(self.saliency, axis=axes, keepdims=True)
        infinite = np.full(self.saliency.shape, np.inf)
        relative = np.divide(self.standard_error, ranges, out=infinite, where=ranges > 0)
        return np.sqrt(np.mean(np.square(relative), axis=axes))


def model_outputs(model: Callable, inputs: np.ndarray) -> np.ndarray:
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
        A copy, as a model may return the same buffer each time. Outputs of another
        shape, or that are not finite numbers, raise a ValueError.
    """
    n, rows = len(inputs), _numbers("model's outputs", model(inputs))
    if rows.ndim < 2 and rows.dtype.kind == "f" and (n == 1 or rows.shape == (n,)):
        rows = rows.reshape(n, -1)  # one output, or a squeezed batch; no class numbers
    if rows.ndim != 2 or len(rows) != n or not rows.size:
        raise ValueError(f"model must give scores ({n}, n_classes), got {rows.dtype} {rows.shape}.")
    return rows.astype(np.float64)


class _Average:
    """The paper's estimator, `average` of local explanations that come in batches."""

    antithetic = False
    select = staticmethod(lambda masks: masks)

    def __init__(self, shape, grid_size, p):
        self.p, self.n, self.total, self.root = p, 0, 0, 0
        self.points, self.interpolation = _lattice(shape, grid_size, per_cell=4)

    def add(self, masks, scores):
        self.n += len(masks)
        flat = masks.reshape(len(masks), -1)
        total = np.empty((scores.shape[1], flat.shape[1]))
        # In blocks that OpenBLAS leaves to one thread: after a larger product its other
        # threads spin for some 25 ms, on processors that the model could use.
        block = max(2**18 // scores.size, 256)
        for start in range(0, flat.shape[1], block):
            part = flat[:, start : start + block].astype(np.float64)
            total[:, start : start + block] = np.dot(scores.T, part)
        self.total = self.total + total.reshape(-1, *masks.shape[1:])
        # A lattice is enough for errors; no squares, as these may overflow or vanish.
        local = [local_explanations(score, _at(self.points, masks)) for score in scores.T]
        self.root = np.hypot(self.root, np.hypot.reduce(local, axis=1))

    def maps(self):
        root, mean = self.root / sqrt(self.n), np.abs(_at(self.points, self.total)) / self.n
        deviation = np.sqrt(np.maximum(root - mean, 0)) * np.sqrt(root + mean)
        error = deviation / sqrt(max(self.n - 1, 1)) / self.p
        return average(self.total, self.n, self.p), _along(self.interpolation, error)


class _Regression:
    """The map of `average`, from fewer masks: a regression on complementary masks.

    The map of RISE is ``S(x) = E[f] + Cov(f, M(x)) / p``, and the covariance of masks
    is known exactly. If scores were ``f = c + b . Z`` in the masks' values Z at a
    lattice of points, the map would be ``c + Cov(M(x), Z) b / p``: it suffices to
    regress the scores on Z. What remains is noise from interactions between cells;
    complementary masks cancel those of an even number of cells. Slopes are shrunk to
    smooth ones by an amount chosen by the evidence (D. J. C. MacKay, "Bayesian
    Interpolation", 1992, https://doi.org/10.1162/neco.1992.4.3.415). They are first
    fitted to the normal scores (ranks) of f, whose noise is smaller but whose slopes
    are only nearly proportional to those of f, and then corrected by a regression of
    what remains. With more masks both shrink less: the map converges to the paper's.
    """

    antithetic = True

    def __init__(self, shape, grid_size, p):
        self.p, self.masks, self.scores = p, [], []
        self.points, self.interpolation = _lattice(shape, grid_size, per_cell=2)
        # Covariance of masks along an axis, up to p (1 - p): mean over shifts.
        self.overlaps = [
            np.einsum("scx,scy->xy", c, c[:, :, at], dtype=np.float64, optimize=True) / len(c)
            for c, at in zip(_crops(shape, _grid_shape(shape, grid_size)), self.points)
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
        # Normal quantiles of the scores' ranks; equal scores share one.
        _, places, counts = np.unique(score, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - counts / 2) / len(score)
        ranks = np.array([NormalDist().inv_cdf(rank) for rank in ranks])[places]
        y, ranks = self._contrast(score), self._contrast(ranks)
        slopes, root = _evidence_fit(rows, ranks, bases)
        fitted = rows @ slopes
        scale = fitted @ y / max(fitted @ fitted, _TINY)
        correction, correction_root = _evidence_fit(rows, y - scale * fitted, bases)
        slopes_of_score = scale * slopes + correction
        along_x = _along(self.overlaps, slopes_of_score.reshape(1, *lattice))[0]
        saliency = score.mean() + (1 - self.p) * along_x
        # Standard error: what the residuals of each pair of masks, as they would be had
        # the pair been left out, add to the slopes and to the mean.
        first, second = ranks - fitted, y - rows @ slopes_of_score
        projected = sum(rows[part].T @ (rows[part] @ correction_root) for part in _parts(rows))
        at_lattice = [overlap[points] for overlap, points in zip(self.overlaps, self.points)]
        means = score.reshape(-1, 2).mean(axis=1)
        means = ((means - means.mean()) / len(means)).reshape(-1, *[1] * len(lattice))
        squares, per_pair = 0, len(rows) // len(means)
        for part in _parts(rows):
            added = scale * _added(rows[part], first[part], root)
            corrected = _added(rows[part], second[part], correction_root)
            added += corrected - added @ projected @ correction_root.T
            added = added.reshape(-1, per_pair, added.shape[1]).sum(axis=1).reshape(-1, *lattice)
            mean = means[part.start // per_pair : part.stop // per_pair]
            along_x = (1 - self.p) * _along(at_lattice, added)
            squares = squares + np.square(along_x + mean).sum(axis=0)
        error = _along(self.interpolation, np.sqrt(squares)[np.newaxis])[0]
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
    """Slopes of y by ridge regression; the evidence chooses penalty and basis."""
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
    root = best[1]
    return root @ (root.T @ products), root  # of the matrix that maps products to slopes


def _added(block, residuals, root):
    """What the residual of each row, had the row been left out, adds to the slopes."""
    along_root = block @ root
    leverage = np.square(along_root).sum(axis=1)
    return (residuals / np.maximum(1 - leverage, 0.1))[:, np.newaxis] * (along_root @ root.T)


def _lattice(shape, grid_size, per_cell):
    """For each upscaled axis, points, and weights to interpolate, (length, points)."""
    points, interpolation = [], []
    for length, cells in zip(shape[: len(shape) - 1], _grid_shape(shape, grid_size)):
        count = min(per_cell * cells, length)
        at = ((np.arange(count) + 0.5) * length / count).astype(int)
        points.append(at)
        weights = [np.interp(np.arange(length), at, unit) for unit in np.eye(count)]
        interpolation.append(np.array(weights).T)
    return points, interpolation


def _at(points, masks):
    return masks[np.ix_(range(len(masks)), *points)]


def _along(matrices, arrays):
    """Multiply each axis after the first by a matrix."""
    for axis, matrix in enumerate(matrices, 1):
        arrays = np.moveaxis(np.tensordot(arrays, matrix, (axis, 1)), -1, axis)
    return arrays


_ESTIMATORS = {"average": _Average, "regression": _Regression}
_CHOICES = {"estimator": [*_ESTIMATORS], "layout": [None, "image", "series"]}
_CHOICES["channels_first"] = [None, False, True]
_TINY = np.finfo(np.float64).tiny


def _numbers(name, values):
    """An array of finite numbers; types that NumPy lacks (bfloat16) become float32."""
    if hasattr(values, "detach"):  # NumPy reads no tensor with gradients or of bfloat16
        values = values.detach().cpu()
        values = values.float() if "bfloat16" in str(values.dtype) else values
    if np.ma.is_masked(values):
        raise ValueError(f"{name} must be finite numbers, got a masked array.")
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
    """`x`, but integers in float32, or in float64 if they need it."""
    if x.dtype.kind == "f":
        return x.astype(np.float64) if x.dtype.itemsize > 8 else x
    single = x.astype(np.float32)
    return single if (single == x).all() else x.astype(np.float64)


def _shape_of_input(shape, channels_first=None, layout=None):
    """``(H, W, C)``, ``(T, W)`` or ``(W,)``, as the shape or else a setting tells."""
    if len(shape) == 2:
        if layout is None and min(shape) >= 8 and shape[0] < 4 * shape[1]:
            raise ValueError(f'layout must be "image" or "series" for an input of shape {shape}.')
        return (*shape, 1) if layout == "image" else shape
    if len(shape) == 3 and (shape[2] > 4 if channels_first is None else channels_first):
        if not channels_first or shape[2] <= 4 < shape[0]:
            expected = "True for (C, H, W), False for (H, W, C), the channels last"
            raise ValueError(f"channels_first must be {expected}, got {channels_first}: {shape}.")
        return (*shape[1:], shape[0])
    return shape


def _known_rows(outputs, origin, classes, width, nb_samples):
    """Earlier outputs, of all classes or as `origin` says, and the model's width."""
    if outputs is None:
        return np.empty((0, 0)), width
    rows, theirs = _numbers("outputs", outputs), getattr(outputs, "origin", None) or {}
    if rows.ndim != 2:
        raise ValueError(f"outputs must be of shape (n, n_outputs), got shape {rows.shape}.")
    whole = theirs.get("classes") is None
    other = [n for n in theirs if theirs[n] != origin[n] and not (whole and n == "classes")]
    if other:
        raise ValueError(f"outputs must be of the same {', '.join(other)}, got those of another.")
    if whole:
        scores, width = _columns(rows, classes), rows.shape[1]
        rows = (scores if origin["classes"] else rows).astype(np.float64)
    return rows[:nb_samples], width


def _classes(classes):
    indices = np.atleast_1d(_numbers("classes", classes))
    if indices.dtype.kind not in "iu" or indices.ndim > 1 or not indices.size or indices.min() < 0:
        raise ValueError(f"classes must be one or more class indices, got {classes!r}.")
    return indices.tolist()


def _columns(outputs, classes):
    width = outputs.shape[1]
    if max(classes) >= width:
        got = f"got {max(classes)}." + " A single output is class 0." * (width == 1)
        raise ValueError(f"classes must be below the model's {width} outputs, {got}")
    return outputs[:, classes]


def _grid_shape(shape, grid_size):
    """Shape of a mask's grid: cells along space or time, one cell for each feature."""
    axes = len(shape) - 1 if isinstance(shape, (tuple, list)) else -1
    if not 0 <= axes <= 2 or not all(isinstance(n, Integral) and n > 0 for n in shape):
        raise ValueError(f"an input must be of shape (H, W, C), (T, W) or (W,), got {shape}.")
    sizes, features = shape[:axes], () if axes == 2 else shape[axes:]
    cells = grid_size if isinstance(grid_size, tuple) else (grid_size,) * axes
    if axes and len(cells) != axes or any(cell > size for cell, size in zip(cells, sizes)):
        most = f"{' x '.join(map(str, sizes))} for inputs of shape {shape}"
        raise ValueError(f"grid_size must be at most {most}, got {grid_size}.")
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
