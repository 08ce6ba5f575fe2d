"""RISE: which pixels matter to a black box, from randomly masked inputs.

For an input I, a model f that scores one class, and N random masks M_i of expected value p, the
saliency of a pixel x is ``S(x) = E[f(I * M) | M(x) = 1]``, estimated in four steps [1]_:

1. masks: `generate_masks`, made of `random_grids` and `upscale`;
2. perturbed inputs, ``I * M_i``: `perturb`;
3. local explanations, ``f(I * M_i) M_i``: `local_explanations`;
4. the map, ``1 / (N p) * sum_i f(I * M_i) M_i``: `average`.

`Rise` takes them a batch at a time, or estimates the same map by a regression from fewer masks.

References
----------
.. [1] V. Petsiuk, A. Das, K. Saenko, "RISE: Randomized Input Sampling for Explanation of
   Black-box Models", BMVC 2018. https://arxiv.org/abs/1806.07421

Examples
--------
The four steps by hand, for a model that sees only the left half of a picture:

>>> import numpy as np
>>> def left_half(pictures):
...     return pictures[:, :, :8].mean(axis=(1, 2))
>>> picture = np.ones((16, 16, 1))
>>> masks = generate_masks(0, 500, picture.shape, grid_size=4)
>>> scores = left_half(perturb(picture, masks))
>>> saliency = average(local_explanations(scores, masks).sum(axis=0), 500)
>>> bool(saliency[:, :4].mean() > saliency[:, -4:].mean())
True
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache, partial
from math import ceil, prod, sqrt
from numbers import Integral, Real
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

__all__ = [
    "Explanation",
    "Rise",
    "average",
    "class_scores",
    "generate_masks",
    "local_explanations",
    "model_outputs",
    "nested_occlusion",
    "perturb",
    "random_grids",
    "upscale",
]


# 1. The paper: S(x) = 1 / (N p) * sum_i f(I * M_i) M_i(x).


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
        Draw masks in pairs, 0 and 1, 2 and 3 and so on, that share their shifts and keep opposite
        cells: exactly so for a probability of 1/2, else as far as the probability allows.

    Returns
    -------
    array of float32, (stop - start, H, W), (stop - start, T, W) or (stop - start, W)
        Masks in [0, 1], of expected value `preservation_probability`.
    """
    return upscale(
        *random_grids(start, stop, shape, grid_size, preservation_probability, seed, antithetic),
        shape,
    )


def random_grids(
    start, stop, shape, grid_size=7, preservation_probability=0.5, seed=0, antithetic=False
):
    """Draw the low-resolution grids of masks, and where each mask is cropped.

    Parameters
    ----------
    start, stop, shape, grid_size, preservation_probability, seed, antithetic
        As in `generate_masks`.

    Returns
    -------
    grids : array of bool, (stop - start, h, w), (stop - start, t, W) or (stop - start, W)
        True where a cell is kept.
    shifts : array of int, (stop - start, 2), (stop - start, 1) or (stop - start, 0)
        Rows and columns (time steps; nothing for tabular rows) cut off before the crop, less
        than one cell.
    """
    grid = _grid_shape(shape, grid_size)
    cells = [len(crops) for crops in _crops(shape, grid)]
    draws = prod(grid) + len(cells)
    first, last = (start // 2, ceil(stop / 2)) if antithetic else (start, stop)
    # One 64-bit draw per number: the generator can jump to any mask.
    uniform = np.random.Generator(np.random.PCG64(seed).advance(first * draws)).random(
        (last - first, draws)
    )
    if antithetic:
        uniform = np.repeat(uniform, 2, axis=0)
        uniform[1::2, len(cells) :] = 1 - uniform[1::2, len(cells) :]
        uniform = uniform[start - 2 * first :][: stop - start]
    grids = uniform[:, len(cells) :] < preservation_probability
    return grids.reshape(-1, *grid), (uniform[:, : len(cells)] * cells).astype(int)


def upscale(grids, shifts, shape):
    """Upscale grids bilinearly to one cell more than the input, and crop.

    Parameters
    ----------
    grids, shifts : arrays
        From `random_grids`.
    shape : tuple of int
        Shape of one input.

    Returns
    -------
    array of float32, (n, H, W), (n, T, W) or (n, W)
        Masks in [0, 1].

    Notes
    -----
    Equals ``skimage.transform.resize(grid, ((h + 1) * ceil(H / h), (w + 1) * ceil(W / w)),
    order=1, anti_aliasing=False)[dy:dy + H, dx:dx + W]``, as two small matrix products.
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
    """For each axis to upscale, the bilinear weights at every shift, (cell, cells, length)."""
    return [_bilinear(length, cells) for length, cells in zip(shape[: len(shape) - 1], grid)]


@lru_cache(maxsize=16)
def _bilinear(length, cells):
    """Weights of `cells` grid values in `length` pixels, for each shift: (cell, cells, length)."""
    cell = -(-length // cells)
    upscaled = (cells + 1) * cell
    # Centres of pixels in grid coordinates; beyond the outermost cells' centres the grid is mirrored.
    centres = np.abs((np.arange(upscaled) + 0.5) * cells / upscaled - 0.5)
    centres = np.clip(cells - 1 - np.abs(cells - 1 - centres), 0, None)
    weights = np.maximum(1 - np.abs(centres[:, np.newaxis] - np.arange(cells)), 0).astype(
        np.float32
    )
    return sliding_window_view(weights, length, axis=0)[:cell]


def perturb(x, masks, mask_value=0.0):
    """Blend an input with what masked pixels are replaced with.

    Parameters
    ----------
    x : array, (H, W, C), (T, W) or (W,)
        One input.
    masks : array, (n, H, W), (n, T, W) or (n, W)
        Masks in [0, 1]; 1 keeps the input.
    mask_value : float or array
        As in `Rise`.

    Returns
    -------
    array of float32, (n, H, W, C), (n, T, W) or (n, W)
        ``x * mask + mask_value * (1 - mask)``, within the values of `x` and `mask_value`.
    """
    x, mask_value = np.asarray(x, np.float32), np.asarray(mask_value, np.float32)
    kept = x - mask_value
    if x.ndim == 3:
        perturbed = np.empty((len(masks), *x.shape), np.float32)
        # Picture by picture, which fits a processor's cache, and with the channels, on which NumPy is slow, first.
        for mask, channels in zip(masks, np.moveaxis(perturbed, -1, 1)):
            np.multiply(mask, np.moveaxis(kept, -1, 0), out=channels)
    else:
        perturbed = masks * kept
    if mask_value.any():
        perturbed += mask_value
        # Rounding must not carry a pixel out of the range the model was made for.
        np.clip(
            perturbed, min(x.min(), mask_value.min()), max(x.max(), mask_value.max()), out=perturbed
        )
    return perturbed


def local_explanations(scores, masks):
    """Weigh each mask with the score of the input it was laid over.

    Parameters
    ----------
    scores : array, (n,)
        The model's score of each perturbed input.
    masks : array, (n, H, W), (n, T, W) or (n, W)

    Returns
    -------
    array of float32, shape of `masks`
        ``f(I * M_i) M_i``. Their mean divided by the preservation probability is the RISE map.
    """
    return np.asarray(scores, np.float32).reshape(-1, *[1] * (masks.ndim - 1)) * masks


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
        ``1 / (N p) * sum_i f(I * M_i) M_i``, the RISE map.
    """
    return total / nb_samples / preservation_probability


class _Average:
    """The paper's estimator, `average` of local explanations that come in batches."""

    antithetic = False

    def __init__(self, shape, grid_size, p):
        self.p, self.n, self.total, self.squares = p, 0, 0, 0
        self.points, self.tents = _lattice(shape, grid_size, per_cell=4)

    def seen(self, masks):
        return masks

    def add(self, masks, scores):
        self.n += len(masks)
        self.total = self.total + _sum_of_local_explanations(
            scores.T.astype(np.float32), masks
        ).astype(np.float64)
        # Their spread changes little from pixel to pixel: a lattice of points tells it.
        masks = _at(self.points, masks)
        local = [local_explanations(score, masks) for score in scores.T]
        self.squares = self.squares + np.square(local, dtype=np.float64).sum(axis=1)

    def maps(self):
        mean = _at(self.points, self.total) / self.n
        variance = np.maximum(self.squares / self.n - mean**2, 0) / max(self.n - 1, 1)
        return average(self.total, self.n, self.p), _along(self.tents, np.sqrt(variance) / self.p)


def _sum_of_local_explanations(scores, masks):
    """``local_explanations(score, masks).sum(axis=0)`` for each of several classes, (n_classes, n), in one product.

    Made in blocks that OpenBLAS leaves to one thread: after a larger product its other threads spin
    for some 25 ms in wait of the next, on processors that the model could use.
    """
    flat = masks.reshape(len(masks), -1)
    total = np.empty((len(scores), flat.shape[1]), np.float32)
    block = max(2**18 // scores.size, 256)
    for start in range(0, flat.shape[1], block):
        total[:, start : start + block] = np.dot(scores, flat[:, start : start + block])
    return total.reshape(-1, *masks.shape[1:])


# 2. The explainer: the four steps, a batch at a time.

# A standard error from fewer scores than this is a guess.
_FEWEST_SAMPLES = 200
_NONE_KNOWN = np.empty((0, 0))
# Pixels err together, at worst all by the same amount, which then is below so many standard errors in nine of ten cases.
_NINE_IN_TEN = NormalDist().inv_cdf(0.95)


class Rise:
    """Saliency maps by Randomized Input Sampling for Explanation [1]_.

    Parameters
    ----------
    model : callable
        Takes a float32 array of perturbed inputs, ``(n, H, W, C)``, ``(n, T, W)`` or ``(n, W)``,
        returns their outputs, ``(n, n_classes)`` or ``(n,)`` for a single output. NumPy, TensorFlow
        and PyTorch results are understood.
    batch_size : int
        Perturbed inputs per call of `model`.
    operator : callable, optional
        ``operator(model, inputs, targets)`` gives the score of each perturbed input, ``(n,)``;
        by default `class_scores`, the output of the target class.
    nb_samples : int
        Number of masks, that is of model evaluations, per explained input; at least 2 for a
        regression.
    grid_size : int or tuple of int
        Cells of the low-resolution grid, ``(rows, columns)`` for a picture, over time for a series.
        The features of tabular inputs are masked one by one and use no grid.
    preservation_probability : float
        Probability in (0, 1) that a cell is kept; the expected value p of a mask.
    mask_value : float, (C,) array or array of one input's shape
        What a masked pixel is replaced with: a number, a colour or a whole picture.
    seed : int
        Mask i depends on `seed` and i alone, not on `batch_size` or `nb_samples`.
    progress : callable, optional
        Wraps the iterable of batches; `tqdm.tqdm` fits.
    estimator : {"regression", "average"} or class
        How the map is estimated: a regression of the scores on pairs of complementary masks,
        or the average of [1]_ over independent masks, which needs several times as many model
        evaluations for the same map. A class of your own: see Notes.
    tolerance : float, optional
        Stop before `nb_samples` once every map's error, root mean square over the map and relative
        to its range, is below this in nine of ten cases: once 1.645 times its `relative_error` is.

    Notes
    -----
    Every explained input sees the same masks. Masks are made a batch at a time, the next while
    the model works: memory is bounded by two batches of perturbed inputs, whatever `nb_samples`.

    A class given as `estimator` has what the two built-in ones have:

    - ``antithetic``, a bool of the class: whether masks come in complementary pairs;
    - ``estimator(shape, grid_size, p)``, called for each explained input with its shape, `grid_size`
      and `preservation_probability`;
    - ``seen(masks)``, called for each batch: what `add` needs of masks ``(n, H, W)``, ``(n, T, W)`` or
      ``(n, W)``; runs in a second thread;
    - ``add(masks, scores)``, called for each batch in turn: what `seen` returned, and the scores,
      float64 ``(n, n_classes)``;
    - ``maps()``: saliency and standard error, each an array of shape ``(n_classes, H, W)``,
      ``(n_classes, T, W)`` or ``(n_classes, W)``; called at the end, and earlier to check `tolerance`.

    References
    ----------
    .. [1] V. Petsiuk, A. Das, K. Saenko, "RISE: Randomized Input Sampling for Explanation of
       Black-box Models", BMVC 2018. https://arxiv.org/abs/1806.07421

    Examples
    --------
    >>> import numpy as np
    >>> def left_half(pictures):
    ...     return pictures[:, :, :8].mean(axis=(1, 2))
    >>> rise = Rise(left_half, nb_samples=500, grid_size=4)
    >>> saliency = rise.explain(np.ones((1, 16, 16, 1)), np.ones((1, 1)))[0, ..., 0]
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
        _check_callables(model, operator=operator, progress=progress)
        self.model = model
        self.batch_size = _integer("batch_size", batch_size, 1)
        self.operator = operator
        self.nb_samples = _integer(
            "nb_samples", nb_samples, 2 if _estimator(estimator).antithetic else 1
        )
        self.grid_size = _grid_size(grid_size)
        self.preservation_probability = _probability(preservation_probability)
        self.mask_value = _finite("mask_value", mask_value)
        self.seed = _integer("seed", seed, 0)
        self.progress = progress or iter
        self.estimator = estimator
        self.tolerance = _tolerance(tolerance)

    def __repr__(self):
        names = (
            "nb_samples",
            "grid_size",
            "preservation_probability",
            "mask_value",
            "seed",
            "estimator",
            "tolerance",
            "batch_size",
            "operator",
        )
        return f"Rise({', '.join(f'{name}={_brief_repr(getattr(self, name))}' for name in names)})"

    def explain(self, inputs, targets):
        """Explain the target class of each input.

        Parameters
        ----------
        inputs : array, (N, H, W, C), (N, T, W) or (N, W)
            Pictures, series of W features over T steps, or tabular rows, in the model's own
            value range.
        targets : array, (N, n_classes)
            One-hot row of the class to explain, per input.

        Returns
        -------
        array of float32, (N, H, W, 1), (N, T, W) or (N, W)
            Saliency in the units of the score. Channels of a picture share one map; features of a
            series are masked, and explained, one by one.

        Raises
        ------
        ValueError
            If shapes do not fit each other or values are not finite.
        """
        inputs, targets = _inputs_and_targets(inputs, targets)
        operator = self.operator or class_scores

        def score_target(target, perturbed):
            scores = np.asarray(operator(self.model, perturbed, np.tile(target, (len(perturbed), 1))))
            if scores.size != len(perturbed):
                raise ValueError(
                    f"operator must return one score for each of the {len(perturbed)} inputs, "
                    f"got shape {scores.shape}."
                )
            return scores.reshape(-1, 1)

        _check_shape(inputs.shape[1:], self.grid_size, self.mask_value)
        maps = np.concatenate(
            [
                self._run(x, partial(score_target, target), [0]).saliency
                for x, target in zip(inputs, targets)
            ]
        )
        return maps[..., np.newaxis] if inputs.ndim == 4 else maps

    def explain_classes(self, x, classes):
        """Explain several classes of one input from the same model evaluations.

        Parameters
        ----------
        x : array, (H, W, C), (T, W) or (W,)
            One input.
        classes : sequence of int
            Indices into the model's outputs.

        Returns
        -------
        array of float32, (len(classes), H, W), (len(classes), T, W) or (len(classes), W)
            A map for each class, in the order of `classes`.

        Raises
        ------
        ValueError
            If the input is misshapen, a class is not one of the model's, or an `operator` was
            given, since its scores are not per class.
        """
        return self.estimate(x, classes).saliency

    def estimate(self, x, classes, outputs=None):
        """Explain several classes of one input, and tell how sure the maps are.

        Parameters
        ----------
        x : array, (H, W, C), (T, W) or (W,)
            One input.
        classes : sequence of int
            Indices into the model's outputs.
        outputs : array, (n, n_classes), optional
            The model's outputs for the first n masks, as an earlier `Explanation` with the same
            input, seed, grid, mask value and estimator holds them. Only masks beyond these cost
            model evaluations.

        Returns
        -------
        Explanation

        Raises
        ------
        ValueError
            As in `explain_classes`, or if `outputs` are not finite or misshapen.
        """
        if self.operator is not None:
            raise ValueError(
                "classes are explained from the model's outputs themselves, which takes no operator, "
                f"got {self.operator!r}."
            )
        x, classes, outputs = _input_and_classes(x, classes, outputs)
        _check_shape(x.shape, self.grid_size, self.mask_value)
        return self._run(x, partial(model_outputs, self.model), classes, outputs)

    def _run(self, x, model, classes, known=_NONE_KNOWN):
        """Explain columns `classes` of ``model(perturbed)``, of which the first rows are known."""
        estimator = _estimator(self.estimator)(
            x.shape, self.grid_size, self.preservation_probability
        )
        known, outputs = known[: self.nb_samples], None
        check = max(_FEWEST_SAMPLES, len(known))
        with closing(self._batches(x.astype(np.float32), estimator, len(known))) as batches:
            for start, stop, masks, perturbed in batches:
                scores = (
                    known[start:stop]
                    if perturbed is None
                    else _finite("model's scores", model(perturbed))
                )
                if outputs is None:
                    if max(classes) >= scores.shape[1]:
                        raise ValueError(
                            f"classes must be below the model's {scores.shape[1]} outputs, "
                            f"got {max(classes)}."
                        )
                    outputs = np.empty((self.nb_samples, scores.shape[1]), np.float32)
                outputs[start:stop] = scores
                estimator.add(masks, outputs[start:stop][:, classes].astype(np.float64))
                del masks, perturbed  # large: the batch after the next takes their place
                if self.tolerance and check <= stop < self.nb_samples:
                    if _NINE_IN_TEN * _relative_error(*estimator.maps()).max() < self.tolerance:
                        break
                    check = 1.2 * stop
        return Explanation(*(maps.astype(np.float32) for maps in estimator.maps()), outputs[:stop])

    def _batches(self, x, estimator, n_known):
        """Yield start, stop, masks as seen by the estimator, and inputs perturbed by them, or None if known."""

        def prepare(start, stop):
            masks = generate_masks(
                start,
                stop,
                x.shape,
                self.grid_size,
                self.preservation_probability,
                self.seed,
                estimator.antithetic,
            )
            perturbed = perturb(x, masks, self.mask_value) if start >= n_known else None
            return estimator.seen(masks), perturbed

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


def _brief_repr(setting):
    if isinstance(setting, np.ndarray):
        return repr(setting.tolist()) if setting.ndim < 2 else f"<array {setting.shape}>"
    return getattr(setting, "__name__", repr(setting))


class Explanation(NamedTuple):
    """Maps of one input, and how they came about.

    Attributes
    ----------
    saliency : array of float32, (n_classes, H, W), (n_classes, T, W) or (n_classes, W)
    standard_error : array of float32, shape of `saliency`
        Standard deviation of `saliency` over repeated runs with other seeds.
    outputs : array of float32, (n, n_outputs)
        The model's outputs for the n masks that were used.
    """

    saliency: np.ndarray
    standard_error: np.ndarray
    outputs: np.ndarray

    @property
    def calls(self):
        """Number of perturbed inputs the maps are made of."""
        return len(self.outputs)

    @property
    def relative_error(self):
        """Root mean square standard error of each map, relative to the map's range; `tolerance` bounds 1.645 times it."""
        return _relative_error(self.saliency, self.standard_error)


def _relative_error(saliency, error):
    axes = tuple(range(1, saliency.ndim))
    ranges = np.ptp(saliency, axis=axes)
    errors = np.sqrt(np.mean(np.square(error), axis=axes))
    return np.divide(errors, ranges, out=np.full(len(ranges), np.inf), where=ranges > 0)


def class_scores(model, inputs, targets):
    """Score of each input: the dot product of the model's output with a one-hot target.

    Parameters
    ----------
    model : callable
        As in `Rise`.
    inputs : array, (n, ...)
        What `model` takes.
    targets : array, (n, n_classes)
        One-hot rows.

    Returns
    -------
    array, (n,)
    """
    outputs = model_outputs(model, inputs)
    if outputs.shape != targets.shape:
        raise ValueError(
            f"targets must have the model's {outputs.shape[1]} outputs as columns, "
            f"got {targets.shape[1]}."
        )
    return (outputs * targets).sum(axis=1)


def model_outputs(model, inputs):
    """Call a model, and check and copy what it returns.

    Parameters
    ----------
    model : callable
        As in `Rise`.
    inputs : array, (n, ...)

    Returns
    -------
    array of float64, (n, n_classes)
        Memory of its own: a model may return the same buffer at each call.

    Raises
    ------
    ValueError
        If the outputs are not finite numbers of that shape.
    """
    outputs = model(inputs)
    # PyTorch refuses to convert a tensor that tracks gradients.
    outputs = np.asarray(outputs.detach().cpu() if hasattr(outputs, "detach") else outputs)
    # bfloat16, which NumPy does not know, is of kind "V".
    if outputs.dtype.kind not in "buif" and outputs.dtype.name != "bfloat16":
        raise ValueError(f"model must return numbers, got {outputs.dtype}.")
    if outputs.ndim == 1:
        outputs = outputs[:, np.newaxis]
    if outputs.ndim != 2 or len(outputs) != len(inputs):
        raise ValueError(
            f"model must return outputs of shape ({len(inputs)}, n_classes) for {len(inputs)} "
            f"inputs, got shape {outputs.shape}."
        )
    return _finite("model's outputs", outputs.astype(np.float64))


# 3. Fewer calls: the same map by a regression on complementary masks.


class _Regression:
    """The map of `average`, from fewer masks: a regression of the scores on complementary masks.

    The map of RISE is ``S(x) = E[f] + Cov(f, M(x)) / p``, and the covariance of masks is known
    exactly. If scores were ``f = c + b . Z`` in the masks' values Z at a lattice of points, the map
    would be ``c + Cov(M(x), Z) b / p``: it suffices to regress the scores on Z. What is left is
    noise from interactions between cells; of these, complementary masks cancel every one of an
    even number of cells. Slopes are shrunk to smooth ones by an amount chosen by the evidence
    [1]_. They are first fitted to the normal scores (ranks) of f, whose noise is smaller but whose
    slopes are only nearly proportional to those of f, and then corrected by a second regression of
    what remains in f. With more masks both regressions shrink less, and the map converges to the
    paper's.

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

    def seen(self, masks):
        return _at(self.points, masks)

    def add(self, masks, scores):
        self.masks.append(masks)
        self.scores.append(scores)

    def maps(self):
        masks, scores = np.concatenate(self.masks), np.concatenate(self.scores)
        n, lattice = len(masks) // 2 * 2, masks.shape[1:]  # whole pairs
        rows = self._contrast(masks[:n].reshape(n, -1).astype(np.float64))
        bases = [_basis(rows, lattice, roots) for roots in self._smoothings()]
        maps = [self._map(rows, score, bases, lattice) for score in scores[:n].T]
        return tuple(np.stack(each) for each in zip(*maps))

    def _map(self, rows, score, bases, lattice):
        y, ranks = self._contrast(score), self._contrast(_normal_scores(score))
        slopes, half = _evidence_fit(rows, ranks, bases)
        fitted = rows @ slopes
        scale = fitted @ y / max(fitted @ fitted, _TINY)
        correction, half_too = _evidence_fit(rows, y - scale * fitted, bases)
        slopes_of_score = scale * slopes + correction
        saliency = (
            score.mean()
            + (1 - self.p) * _along(self.overlaps, slopes_of_score.reshape(1, *lattice))[0]
        )

        # Standard error: what each row's residual, had the row been left out, adds to the slopes and the mean.
        added = scale * _added(rows, ranks - fitted, half)
        corrected = np.linalg.multi_dot([added, rows.T, rows, half_too, half_too.T])
        added += _added(rows, y - rows @ slopes_of_score, half_too) - corrected
        pairs = score.reshape(-1, 2).mean(axis=1)
        added = added.reshape(len(pairs), -1, added.shape[1]).sum(axis=1).reshape(-1, *lattice)
        at_lattice = [overlap[points] for overlap, points in zip(self.overlaps, self.points)]
        mean = ((pairs - pairs.mean()) / len(pairs)).reshape(-1, *[1] * len(lattice))
        error = np.sqrt(np.square((1 - self.p) * _along(at_lattice, added) + mean).sum(axis=0))
        return saliency, _along(self.tents, error[np.newaxis])[0]

    def _contrast(self, values):
        """Differences within pairs, free of what complementary masks share; for p other than 1/2, from the mean."""
        if self.p == 0.5:
            return (values[::2] - values[1::2]) / np.sqrt(2)
        return values - values.mean(axis=0)

    def _smoothings(self):
        """For no smoothness and some length scales, in points: square roots of the slopes' covariance, per axis."""
        yield []
        for scale in (1, 2, 3) if self.points else ():
            steps = [
                np.subtract.outer(range(len(points)), range(len(points))) for points in self.points
            ]
            spectra = [np.linalg.eigh(np.exp(-0.5 * (step / scale) ** 2)) for step in steps]
            yield [
                vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T for values, vectors in spectra
            ]


_TINY = np.finfo(np.float64).tiny


def _lattice(shape, grid_size, per_cell):
    """A lattice of points in a mask, and how to interpolate between them.

    For each axis to upscale, the points' coordinates, and the weights of linear interpolation,
    (length, points). Other axes are seen whole.
    """
    grid, axes = _grid_shape(shape, grid_size), []
    for length, cells in zip(shape[: len(shape) - 1], grid):
        count = min(per_cell * cells, length)
        points = ((np.arange(count) + 0.5) * length / count).astype(int)
        axes.append(
            (
                points,
                np.array([np.interp(np.arange(length), points, unit) for unit in np.eye(count)]).T,
            )
        )
    return [points for points, _ in axes], [tents for _, tents in axes]


def _at(points, masks):
    """Values at a lattice of points."""
    for axis, places in enumerate(points, 1):
        masks = masks.take(places, axis)
    return masks


def _along(matrices, arrays):
    """Multiply each axis after the first by a matrix."""
    for axis, matrix in enumerate(matrices, 1):
        arrays = np.moveaxis(np.tensordot(arrays, matrix, (axis, 1)), -1, axis)
    return arrays


def _basis(rows, lattice, roots):
    """Uncorrelated directions of the slopes under a prior given by its square roots: (variances, directions)."""
    smooth = _along(roots, rows.reshape(-1, *lattice)).reshape(rows.shape)
    if len(rows) >= rows.shape[1]:
        variances, directions = np.linalg.eigh(smooth.T @ smooth)
    else:
        variances, left = np.linalg.eigh(smooth @ smooth.T)
        directions = smooth.T @ left / np.sqrt(np.maximum(variances, _TINY))
    kept = variances > 1e-10 * variances[-1]
    directions = _along(roots, directions[:, kept].T.reshape(-1, *lattice)).reshape(
        -1, rows.shape[1]
    )
    return variances[kept], directions.T


def _evidence_fit(rows, y, bases):
    """Slopes of y in rows by ridge regression, penalty and basis chosen by the evidence.

    Also returns the square root of the matrix that takes ``rows.T @ y`` to the slopes.
    """
    best, products = (np.inf,), rows.T @ y
    for variances, directions in bases:
        projected = directions.T @ products
        penalties = variances.max(initial=_TINY) * np.geomspace(1e-5, 100, 33)[:, np.newaxis]
        noise = np.maximum(
            y @ y - (projected**2 / (variances + penalties)).sum(axis=1), 1e-12 * (y @ y) + _TINY
        )
        cost = len(y) * np.log(noise) + np.log1p(variances / penalties).sum(axis=1)
        least = cost.argmin()
        if cost[least] < best[0]:
            best = cost[least], directions / np.sqrt(variances + penalties[least])
    half = best[1]
    return half @ (half.T @ products), half


def _added(rows, residuals, half):
    """What the residual of each row, as it would be had the row been left out, adds to the slopes."""
    seen = rows @ half
    leverage = np.square(seen).sum(axis=1)
    return (residuals / np.maximum(1 - leverage, 0.1))[:, np.newaxis] * (seen @ half.T)


def _normal_scores(scores):
    """Normal quantiles of the scores' ranks; equal scores share one."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2) / len(scores)
    return np.array([NormalDist().inv_cdf(rank) for rank in ranks])[places]


# 4. A better map: what the score loses with windows, of the whole picture and of its more salient parts.

# How much of the picture is shown: all, then the more salient three quarters, the half and so on.
_SHOWN = 1.0, 0.75, 0.5, 0.35, 0.2
# With fewer model evaluations than this all are spent on the whole picture: a map from a few windows finds no part.
_ENOUGH_FOR_PARTS = 100
# Sides of windows, as shares of the sides of what is shown, and their shares of the model evaluations.
_WINDOWS = (0.15, 2 / 3), (0.35, 1 / 3)
# With less of a window than this in what is shown, hiding it is taken to change nothing.
_LEAST_SHOWN = 0.25


def nested_occlusion(
    model, x, classes, nb_samples=250, batch_size=32, mask_value=None, seed=0, progress=None
):
    """Explain classes of a picture by what their scores lose with windows, of the picture and of its salient parts.

    For parts B of the picture and windows W of side s, the saliency of a pixel x is

        ``S(x) = sum over B and s of E[f(B) - f(B without W) | x in W]``

    where f(B) is the score when B alone is shown. B is the whole picture, then the three quarters, the half, the 35%
    and the fifth of it that are most salient until then; with fewer than 100 evaluations the whole picture alone.
    With that alone this is occlusion [1]_; that what a part adds to smaller and smaller sets counts alike is the idea
    of Shapley's value [2]_, and is what deletion and insertion [3]_ measure.

    Parameters
    ----------
    model : callable
        As in `Rise`.
    x : array, (H, W, C)
        A picture, in the model's own value range.
    classes : sequence of int
        Indices into the model's outputs. They share the windows and the parts, in which is what is salient for
        any of them: for one class alone its map is better.
    nb_samples : int
        The most model evaluations to make, at least 3.
    batch_size : int
        Perturbed inputs per call of `model`.
    mask_value : float, (C,) array or (H, W, C) array, optional
        What is shown in the place of what is hidden; by default the picture's mean colour.
    seed : int
        Of where the windows lie.
    progress : callable, optional
        Wraps the iterable of rounds, two for each part; `tqdm.tqdm` fits.

    Returns
    -------
    Explanation
        The saliency is in units of the score, above 0 where hiding lowers it. The standard error is taken from how
        much windows near each other differ, as if they were drawn independently; since they are spread
        evenly, maps of other seeds differ by as much or somewhat less.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, before any model call, or the model's answers are not.

    Notes
    -----
    A picture that lacks one compact part, or of which one is left, tells more about what the model needs than one with
    holes everywhere. Parts matter where a model is sure of the class whichever window is hidden, or sees another
    class in the whole picture: the whole then says little, and the half or the fifth does.

    Do not use it

    - with fewer than fifty evaluations: too few windows are then left;
    - where the map of [3]_ is meant, the mean score while a pixel is kept: this is another one, and `Rise` has that;
    - for what is far smaller than a tenth of the picture's side or lies scattered in it: windows are larger, and a
      small thing may fall out of the parts that the first evaluations have found;
    - to compare values between pictures or classes: they do not add up to the score;
    - for series and tabular rows, which have no windows: `Rise` takes them.

    References
    ----------
    .. [1] M. D. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
       https://arxiv.org/abs/1311.2901
    .. [2] L. S. Shapley, "A Value for n-Person Games", Contributions to the Theory of Games II, 1953.
    .. [3] V. Petsiuk, A. Das, K. Saenko, "RISE: Randomized Input Sampling for Explanation of
       Black-box Models", BMVC 2018. https://arxiv.org/abs/1806.07421

    Examples
    --------
    >>> import numpy as np
    >>> def left_half(pictures):
    ...     return pictures[:, :, :8].mean(axis=(1, 2, 3))
    >>> picture = np.random.default_rng(0).random((16, 16, 3))
    >>> found = nested_occlusion(left_half, picture, [0], mask_value=0)
    >>> bool(found.saliency[0, :, :8].mean() > 0 and found.calls <= 250)
    True
    """
    x, classes, mask_value = _picture(x, classes, mask_value)
    nb_samples = _integer("nb_samples", nb_samples, len(_WINDOWS) + 1)
    parts = _SHOWN if nb_samples >= _ENOUGH_FOR_PARTS else _SHOWN[:1]
    batch_size, random = (
        _integer("batch_size", batch_size, 1),
        np.random.default_rng(_integer("seed", seed, 0)),
    )
    _check_callables(model, progress=progress)
    progress, outputs = progress or iter, []

    def scores(batches):
        known = len(outputs)
        for masks in batches:
            outputs.extend(
                model_outputs(model, perturb(x, masks, mask_value))
            )
            if max(classes) >= len(outputs[0]):
                raise ValueError(
                    f"classes must be below the model's {len(outputs[0])} outputs, got {max(classes)}."
                )
        return np.array([found[classes] for found in outputs[known:]], np.float64).reshape(
            -1, len(classes)
        )

    saliency = variance = np.zeros((len(classes), *x.shape[:2]))
    due = 0
    for shown, (side, share) in progress(
        [(shown, window) for shown in parts for window in _WINDOWS]
    ):
        if (side, share) == _WINDOWS[0]:
            part = _most_salient(saliency, shown)
            intact = scores([part[np.newaxis]])
        due += share * nb_samples / len(parts)
        starts, size, asked = _windows(
            part, side * sqrt(shown), round(due) - len(outputs), random.random(2)
        )
        drops = np.zeros((len(classes), *asked.shape))
        drops[:, asked] = (intact - scores(_without(part, starts, size, asked, batch_size))).T
        mean, square = _over_windows(starts, size, part.shape, drops)
        saliency, variance = saliency + mean, variance + square
    return Explanation(
        saliency.astype(np.float32), np.sqrt(variance).astype(np.float32), np.array(outputs)
    )


def _most_salient(saliency, share):
    """The share of the pixels that is most salient for any class, (H, W) of 0 and 1; a class counts by its map's range."""
    ranges = np.ptp(saliency, axis=(1, 2), keepdims=True)
    highest = np.divide(
        saliency - saliency.min(axis=(1, 2), keepdims=True),
        ranges,
        out=np.zeros_like(saliency),
        where=ranges > 0,
    ).max(axis=0)
    part = np.zeros(highest.size, np.float32)
    part[np.argsort(-highest, axis=None, kind="stable")[: round(share * highest.size)]] = 1
    return part.reshape(highest.shape)


def _windows(part, side, most, shift):
    """The densest evenly spread windows of which at most `most` are to be asked about.

    Returns the first pixels of windows along both axes, their size, and which are to be asked about, (rows, columns).
    """
    size = [max(round(side * length), 1) for length in part.shape]
    sums = np.pad(part.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    found = None
    for rows in range(1, part.shape[0] - size[0] + 2):
        counts = rows, min(max(round(rows * part.shape[1] / part.shape[0]), 1), most)
        starts = [_spread(*axis) for axis in zip(counts, part.shape, size, shift)]
        (top, left), (bottom, right) = (
            starts,
            [first + length for first, length in zip(starts, size)],
        )
        area = (
            sums[np.ix_(bottom, right)]
            - sums[np.ix_(top, right)]
            - sums[np.ix_(bottom, left)]
            + sums[np.ix_(top, left)]
        )
        asked = area >= _LEAST_SHOWN * prod(size)
        if np.count_nonzero(asked) > most:
            break
        found = starts, size, asked
    return found


def _spread(count, length, size, shift):
    """First pixels of `count` windows along an axis, shifted by a share of their distance; none leaves the picture."""
    if count == 1:
        return np.array([(length - size) // 2])
    return np.clip(
        np.round((np.arange(count) + shift - 0.5) * (length - size) / (count - 1)), 0, length - size
    ).astype(int)


def _without(part, starts, size, asked, batch_size):
    """What is shown when each of the windows is hidden, in batches (n, H, W)."""
    corners = [(starts[0][row], starts[1][column]) for row, column in np.argwhere(asked)]
    for start in range(0, len(corners), batch_size):
        batch = corners[start : start + batch_size]
        masks = np.repeat(part[np.newaxis], len(batch), axis=0)
        for mask, (top, left) in zip(masks, batch):
            mask[top : top + size[0], left : left + size[1]] = 0
        yield masks


def _over_windows(starts, size, shape, drops):
    """Mean of the drops (n_classes, rows, columns) over the windows that cover a pixel, and the mean's variance.

    How much drops scatter is seen from the windows around, too: few cover a pixel.
    """

    def mean(values, cover):
        (rows, columns), count = cover, _count(cover)
        return rows @ values @ columns.T / count

    covering, around = [
        [_covering(*axis, wider) for axis in zip(starts, size, shape)] for wider in (0, 1)
    ]
    scatter = mean(np.square(drops), around) - mean(drops, around) ** 2
    return mean(drops, covering), np.maximum(scatter, 0) / np.maximum(
        1 - 1 / _count(around), 0.5
    ) / _count(covering)


def _count(cover):
    return np.multiply.outer(*(axis.sum(axis=1) for axis in cover))


def _covering(starts, size, length, wider):
    """Which windows cover each pixel of an axis, (length, windows); where none does, the nearest; and so many more on either side."""
    distance = np.diff(starts).max(initial=0)
    reach = max(size, distance) + 2 * wider * distance
    first = starts - (reach - size) // 2
    pixels = np.clip(np.arange(length), starts[0], starts[-1] + size - 1)[:, np.newaxis]
    return ((first <= pixels) & (pixels < first + reach)).astype(np.float64)


# 5. The checks of arguments, before any model call.


def _check_callables(model, **optional):
    for name, function in {"model": model, **optional}.items():
        if not callable(function) and (name == "model" or function is not None):
            raise TypeError(f"{name} must be callable, got {function!r}.")


def _estimator(estimator):
    built_in = {"average": _Average, "regression": _Regression}
    found = built_in.get(estimator) if isinstance(estimator, str) else estimator
    if not isinstance(found, type) or not all(
        hasattr(found, name) for name in ("antithetic", "seen", "add", "maps")
    ):
        raise ValueError(
            'estimator must be "average", "regression" or a class with antithetic, seen, add and maps, '
            f"got {estimator!r}."
        )
    return found


def _tolerance(value):
    if value is not None and not (isinstance(value, Real) and value > 0):
        raise ValueError(f"tolerance must be a number above 0 or None, got {value!r}.")
    return value


def _inputs_and_targets(inputs, targets):
    inputs = _finite("inputs", inputs)
    targets = _finite("targets", targets)
    if inputs.ndim not in (2, 3, 4) or 0 in inputs.shape:
        raise ValueError(
            "inputs must be pictures (N, H, W, C), series (N, T, W) or tabular rows (N, W), "
            f"got shape {inputs.shape}."
        )
    if targets.ndim != 2 or len(targets) != len(inputs):
        raise ValueError(
            f"targets must be one-hot rows of shape ({len(inputs)}, n_classes), one for each input, "
            f"got shape {targets.shape}."
        )
    return inputs, targets


def _input_and_classes(x, classes, outputs):
    x = _finite("x", x)
    if x.ndim not in (1, 2, 3) or 0 in x.shape:
        raise ValueError(
            "x must be a picture (H, W, C), a series (T, W) or a tabular row (W,), "
            f"got shape {x.shape}."
        )
    if np.ndim(classes) != 1 or not len(classes):
        raise ValueError(
            f"classes must be a sequence of one or more class indices, got {classes!r}."
        )
    classes = [_integer("classes", index, 0) for index in classes]
    if outputs is None:
        outputs = _NONE_KNOWN
    else:
        outputs = _finite("outputs", outputs)
        if outputs.ndim != 2 or max(classes) >= outputs.shape[1]:
            raise ValueError(
                f"outputs must be of shape (n, n_classes) with n_classes above {max(classes)}, "
                f"got shape {outputs.shape}."
            )
    return x, classes, outputs


def _picture(x, classes, mask_value):
    x, classes, _ = _input_and_classes(x, classes, None)
    if x.ndim != 3:
        raise ValueError(f"x must be a picture (H, W, C), got shape {x.shape}.")
    mask_value = _finite("mask_value", x.mean(axis=(0, 1)) if mask_value is None else mask_value)
    _check_shape(x.shape, 1, mask_value)
    return x, classes, mask_value


def _check_shape(shape, grid_size, mask_value):
    """Check what depends on the shape of one input."""
    _grid_shape(shape, grid_size)
    if mask_value.shape not in ((), shape[-1:], shape):
        raise ValueError(
            f"mask_value must be a number, {shape[-1]} values or of shape {shape}, "
            f"got shape {mask_value.shape}."
        )


def _grid_shape(shape, grid_size):
    """Shape of the grid of one mask: cells along space or time, one cell for each feature."""
    sizes, features = {3: (shape[:2], ()), 2: (shape[:1], shape[1:]), 1: ((), shape)}[len(shape)]
    cells = grid_size if isinstance(grid_size, tuple) else (grid_size,) * len(sizes)
    if sizes and len(cells) != len(sizes) or any(cell > size for cell, size in zip(cells, sizes)):
        raise ValueError(
            f"grid_size must give at most {' x '.join(map(str, sizes))} cells for inputs of shape "
            f"{shape}, got {grid_size}."
        )
    return (*cells[: len(sizes)], *features)


def _integer(name, value, least):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
    return int(value)


def _grid_size(value):
    if isinstance(value, (tuple, list)) and 1 <= len(value) <= 2:
        return tuple(_integer("grid_size", cells, 1) for cells in value)
    return _integer("grid_size", value, 1)


def _probability(value):
    if not isinstance(value, Real) or not 0 < value < 1:
        raise ValueError(
            f"preservation_probability must be a number between 0 and 1, both excluded, got {value!r}."
        )
    return float(value)


def _finite(name, value):
    array = np.asarray(value)
    if array.dtype.kind not in "buif" or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers, got {_brief(array)}.")
    return array


def _brief(array):
    if array.dtype.kind not in "buif":
        return f"an array of {array.dtype}"
    return f"{np.count_nonzero(~np.isfinite(array))} values of {array.size} that are not"
