"""RISE: which pixels matter to a black box, from randomly masked inputs.

The four steps of the method [1]_ are functions of their own, and one loop in `Rise._maps`:

1. masks: `generate_masks`, made of `random_grids` and `upscale`;
2. perturbed inputs: `perturb`;
3. local explanations: `local_explanations`, the model's score of a perturbed input times its mask;
4. their aggregate: the sum over all masks, divided by its expected weight.

References
----------
.. [1] V. Petsiuk, A. Das, K. Saenko, "RISE: Randomized Input Sampling for Explanation of
   Black-box Models", BMVC 2018. https://arxiv.org/abs/1806.07421
"""

from functools import lru_cache, partial
from math import prod
from numbers import Integral, Real

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

__all__ = ["Rise", "class_scores", "generate_masks", "local_explanations", "perturb", "random_grids", "upscale"]


class Rise:
    """Saliency maps by Randomized Input Sampling for Explanation [1]_.

    The saliency of a pixel x is the model's expected score over random masks M, given that x is
    kept: ``S(x) = E[f(I * M) | M(x) = 1]``, estimated from N masks of expected value p as
    ``1 / (N p) * sum_i f(I * M_i) M_i(x)``.

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
        Number of masks, that is of model evaluations, per explained input.
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

    Notes
    -----
    Every explained input sees the same masks. Masks are made a batch at a time: memory is
    bounded by `batch_size` perturbed inputs, whatever `nb_samples`.

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

    def __init__(self, model, batch_size=32, operator=None, nb_samples=4000, grid_size=7,
                 preservation_probability=0.5, mask_value=0.0, seed=0, progress=None):
        for name, function in (("model", model), ("operator", operator), ("progress", progress)):
            if not callable(function) and (name == "model" or function is not None):
                raise TypeError(f"{name} must be callable, got {function!r}.")
        self.model = model
        self.batch_size = _integer("batch_size", batch_size, 1)
        self.operator = operator
        self.nb_samples = _integer("nb_samples", nb_samples, 1)
        self.grid_size = _grid_size(grid_size)
        self.preservation_probability = _probability(preservation_probability)
        self.mask_value = _finite("mask_value", mask_value)
        self.seed = _integer("seed", seed, 0)
        self.progress = progress or iter

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
        inputs = _finite("inputs", inputs)
        targets = _finite("targets", targets)
        if inputs.ndim not in (2, 3, 4) or 0 in inputs.shape:
            raise ValueError("inputs must be pictures (N, H, W, C), series (N, T, W) or tabular rows (N, W), "
                             f"got shape {inputs.shape}.")
        if targets.ndim != 2 or len(targets) != len(inputs):
            raise ValueError(f"targets must be one-hot rows of shape ({len(inputs)}, n_classes), one for each input, "
                             f"got shape {targets.shape}.")
        operator = self.operator or class_scores

        def score_target(target, perturbed):
            scores = _array(operator(self.model, perturbed, np.tile(target, (len(perturbed), 1))))
            if scores.size != len(perturbed):
                raise ValueError(f"operator must return one score for each of the {len(perturbed)} inputs, "
                                 f"got shape {scores.shape}.")
            return scores.reshape(-1, 1)

        self._check_shape(inputs.shape[1:])
        maps = np.concatenate([self._maps(x, partial(score_target, target)) for x, target in zip(inputs, targets)])
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
        x = _finite("x", x)
        if x.ndim not in (1, 2, 3) or 0 in x.shape:
            raise ValueError("x must be a picture (H, W, C), a series (T, W) or a tabular row (W,), "
                             f"got shape {x.shape}.")
        if self.operator is not None:
            raise ValueError("explain_classes reads the model's outputs itself: it takes no operator, "
                             f"got {self.operator!r}.")
        if np.ndim(classes) != 1 or not len(classes):
            raise ValueError(f"classes must be a sequence of one or more class indices, got {classes!r}.")
        classes = [_integer("classes", index, 0) for index in classes]

        def score_classes(perturbed):
            outputs = _outputs(self.model, perturbed)
            if max(classes) >= outputs.shape[1]:
                raise ValueError(f"classes must be below the model's {outputs.shape[1]} outputs, got {max(classes)}.")
            return outputs[:, classes]

        self._check_shape(x.shape)
        return self._maps(x, score_classes)

    def _check_shape(self, shape):
        """Check what depends on the shape of one input, before any model call."""
        _crops(shape, _grid_shape(shape, self.grid_size))
        if self.mask_value.shape not in ((), shape[-1:], shape):
            raise ValueError(f"mask_value must be a number, {shape[-1]} values or of shape {shape}, "
                             f"got shape {self.mask_value.shape}.")

    def _maps(self, x, score):
        """Maps of one input, one for each column of ``score(perturbed)``."""
        x = x.astype(np.float32)
        total = 0
        for start in self.progress(range(0, self.nb_samples, self.batch_size)):
            stop = min(start + self.batch_size, self.nb_samples)
            masks = generate_masks(start, stop, x.shape, self.grid_size, self.preservation_probability, self.seed)
            perturbed = perturb(x, masks, self.mask_value)
            scores = _finite("model's scores", score(perturbed)).astype(np.float32)
            # The same as local_explanations(scores, masks).sum(axis=0), in one matrix product.
            total = total + np.tensordot(scores, masks, axes=(0, 0)).astype(np.float64)
        return (total / (self.nb_samples * self.preservation_probability)).astype(np.float32)


def generate_masks(start, stop, shape, grid_size=7, preservation_probability=0.5, seed=0):
    """Masks number `start` to `stop` of the endless sequence that belongs to `seed`.

    Parameters
    ----------
    start, stop : int
        The masks wanted, as in `range`.
    shape : tuple of int
        Shape of one input: ``(H, W, C)``, ``(T, W)`` or ``(W,)``.
    grid_size, preservation_probability, seed
        As in `Rise`.

    Returns
    -------
    array of float32, (stop - start, H, W), (stop - start, T, W) or (stop - start, W)
        Masks in [0, 1], of expected value `preservation_probability`.
    """
    return upscale(*random_grids(start, stop, shape, grid_size, preservation_probability, seed), shape)


def random_grids(start, stop, shape, grid_size=7, preservation_probability=0.5, seed=0):
    """Draw the low-resolution grids of masks, and where each mask is cropped.

    Parameters
    ----------
    start, stop, shape, grid_size, preservation_probability, seed
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
    # One 64-bit draw per number: the generator can jump to mask `start`.
    uniform = np.random.Generator(np.random.PCG64(seed).advance(start * draws)).random((stop - start, draws))
    grids = uniform[:, len(cells):] < preservation_probability
    return grids.reshape(-1, *grid), (uniform[:, :len(cells)] * cells).astype(int)


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
        # Channel by channel: NumPy is slow at broadcasting over a last axis of three.
        for channel in range(x.shape[2]):
            np.multiply(masks, kept[..., channel], out=perturbed[..., channel])
    else:
        perturbed = masks * kept
    if mask_value.any():
        perturbed += mask_value
        # Rounding must not carry a pixel out of the range the model was made for.
        np.clip(perturbed, min(x.min(), mask_value.min()), max(x.max(), mask_value.max()), out=perturbed)
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
        Their mean divided by the preservation probability is the RISE map.
    """
    return np.asarray(scores, np.float32).reshape(-1, *[1] * (masks.ndim - 1)) * masks


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
    outputs = _outputs(model, inputs)
    if outputs.shape != targets.shape:
        raise ValueError(f"targets must have the model's {outputs.shape[1]} outputs as columns, "
                         f"got {targets.shape[1]}.")
    return (outputs * targets).sum(axis=1)


def _outputs(model, inputs):
    """Outputs of the model as an array (n, n_classes)."""
    outputs = _array(model(inputs))
    if outputs.ndim == 1:
        outputs = outputs[:, np.newaxis]
    if outputs.ndim != 2 or len(outputs) != len(inputs):
        raise ValueError(f"model must return outputs of shape ({len(inputs)}, n_classes) for {len(inputs)} inputs, "
                         f"got shape {outputs.shape}.")
    return outputs


def _array(outputs):
    """NumPy array of what a model returned; PyTorch refuses to convert while it tracks gradients."""
    return np.asarray(outputs.detach().cpu() if hasattr(outputs, "detach") else outputs)


def _grid_shape(shape, grid_size):
    """Shape of the grid of one mask: cells along space or time, one cell for each feature."""
    sizes, features = {3: (shape[:2], ()), 2: (shape[:1], shape[1:]), 1: ((), shape)}[len(shape)]
    cells = grid_size if isinstance(grid_size, tuple) else (grid_size,) * len(sizes)
    if sizes and len(cells) != len(sizes) or any(cell > size for cell, size in zip(cells, sizes)):
        raise ValueError(f"grid_size must give at most {' x '.join(map(str, sizes))} cells for inputs of shape "
                         f"{shape}, got {grid_size}.")
    return (*cells[:len(sizes)], *features)


def _crops(shape, grid):
    """For each axis to upscale, the bilinear weights at every shift, (cell, cells, length)."""
    return [_bilinear(length, cells) for length, cells in zip(shape[:len(shape) - 1], grid)]


@lru_cache(maxsize=16)
def _bilinear(length, cells):
    """Weights of `cells` grid values in `length` pixels, for each shift: (cell, cells, length)."""
    cell = -(-length // cells)
    upscaled = (cells + 1) * cell
    # Centres of pixels in grid coordinates; beyond the outermost cells' centres the grid is mirrored.
    centres = np.abs((np.arange(upscaled) + 0.5) * cells / upscaled - 0.5)
    centres = np.clip(cells - 1 - np.abs(cells - 1 - centres), 0, None)
    weights = np.maximum(1 - np.abs(centres[:, np.newaxis] - np.arange(cells)), 0).astype(np.float32)
    return sliding_window_view(weights, length, axis=0)[:cell]


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
        raise ValueError(f"preservation_probability must be a number between 0 and 1, both excluded, got {value!r}.")
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
