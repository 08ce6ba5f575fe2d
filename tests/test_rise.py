"""RISE against independent truth: closed forms, brute force, scikit-image."""

import doctest
import inspect
import pydoc
import tracemalloc
import warnings
from itertools import product

import ml_dtypes
import numpy as np
import pytest
from counting import Recorder, forbidden
from skimage.transform import resize

import rise
from rise import Rise

ESTIMATORS = "average", "regression"
P_AND_ESTIMATOR = [(p, estimator) for p in (0.3, 0.5) for estimator in ESTIMATORS]
each_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)
IMAGE = np.random.default_rng(5).random((6, 9, 3)).astype(np.float32)
GREY = np.random.default_rng(8).random((10, 9, 1)).astype(np.float32) * 0.5 + 0.5
ONES = np.ones((8, 8, 3))


def explainer(model, n=40, estimator="regression", p=0.5, grid=3, operator=None, **settings):
    size = settings.pop("batch_size", 32)
    return Rise(model, size, operator, n, grid, p, estimator=estimator, **settings)


def every_mask(shape, grid, p):
    """Every crop of every grid upscaled by scikit-image, (n, H, W); probabilities."""
    cells = [-(-size // count) for size, count in zip(shape, grid)]
    grids = np.array(list(product((0.0, 1.0), repeat=grid[0] * grid[1]))).reshape(-1, *grid)
    size = [(count + 1) * cell for count, cell in zip(grid, cells)]
    upscaled = [resize(g, size, order=1, anti_aliasing=False) for g in grids]
    shifts = list(product(range(cells[0]), range(cells[1])))
    masks = [u[dy : dy + shape[0], dx : dx + shape[1]] for u in upscaled for dy, dx in shifts]
    preserved = grids.sum(axis=(1, 2))
    weights = p**preserved * (1 - p) ** (grids[0].size - preserved)
    return np.array(masks), np.repeat(weights / len(shifts), len(shifts))


def exact_maps(model, image, grid=(3, 3), p=0.5, value=0):
    masks, weights = every_mask(image.shape[:2], grid, p)
    m = masks[..., np.newaxis]
    return np.einsum("n,nk,nhw->khw", weights, model(image * m + value * (1 - m)), masks) / p


def linear_map(slopes, cells, p):
    """Exact map of ``(M * slopes).sum()`` for a square of slopes and of cells.

    Masks are M = R G C^T with a random grid G: their covariance is p (1 - p) times that
    of rows and that of columns, means over shifts.
    """
    length, cell = len(slopes), -(-len(slopes) // cells)
    units = [resize(u, ((cells + 1) * cell,), anti_aliasing=False) for u in np.eye(cells)]
    crops = [np.array(units).T[shift : shift + length] for shift in range(cell)]
    overlap = np.mean([crop @ crop.T for crop in crops], axis=0)
    return p * slopes.sum() + (1 - p) * overlap @ slopes @ overlap


def mean_and_max(images):
    """Two classes of a model that is not linear."""
    flat = images.reshape(len(images), -1)
    return np.stack([np.tanh(flat.mean(axis=1)), flat.max(axis=1)], axis=1)


def detector(images):
    """Two classes, each of which needs several pixels at once, as a network does."""
    left = images[:, 3:6, 2:4].mean(axis=(1, 2, 3), dtype=float)
    right = images[:, 6:9, 6:8].mean(axis=(1, 2, 3), dtype=float)
    logits = np.stack([8 * left * right - 2, 4 * left - 3 * right], axis=1)
    return np.exp(logits) / (1 + np.exp(logits))


def correlation(first, second):
    return np.corrcoef(np.ravel(first), np.ravel(second))[0, 1]


@pytest.mark.parametrize("shape", [(8, 6, 3), (12, 4), (9,), (150, 200, 3)])
def test_the_equation_the_steps_and_the_average_give_one_map(shape):
    x, n, p, seed = np.random.default_rng(0).random(shape), 60, 0.7, 4
    by_loop = rise.rise_map(mean_and_max, x, 1, n, 3, p, 0.2, seed)
    masks = rise.generate_masks(0, n, shape, 3, p, seed)
    local = rise.local_explanations(mean_and_max(rise.perturb(x, masks, 0.2))[:, 1], masks)
    np.testing.assert_allclose(rise.average(local.sum(axis=0), n, p), by_loop, rtol=1e-12)
    np.testing.assert_allclose(local.mean(axis=0) / p, by_loop, rtol=1e-12)
    rise_ = Rise(mean_and_max, 7, None, n, 3, p, 0.2, seed, estimator="average")
    np.testing.assert_allclose(rise_.explain_classes(x, 1)[0], by_loop, rtol=1e-12)


SHAPES_AND_GRIDS = {(299, 299): (7, 7), (224, 227): (8, 5), (30, 50): (1, 3), (7, 5): (7, 5)}


@pytest.mark.parametrize("shape, grid", SHAPES_AND_GRIDS.items())
def test_upscaling_is_that_of_scikit_image(shape, grid):
    grids, shifts = rise._random_grids(0, 5, (*shape, 3), grid, 0.5, seed=3)
    cells = [-(-size // cell) for size, cell in zip(shape, grid)]
    upscaled = [(n + 1) * cell for n, cell in zip(grid, cells)]
    masks = rise.generate_masks(0, 5, (*shape, 3), grid, seed=3)
    assert masks.dtype == np.float32
    for g, (dy, dx), mask in zip(grids, shifts, masks):
        whole = resize(g.astype(float), upscaled, order=1, anti_aliasing=False)
        expected = whole[dy : dy + shape[0], dx : dx + shape[1]]
        np.testing.assert_allclose(mask, expected, atol=1e-6)


def test_every_mask_has_shifts_of_its_own_and_all_shifts_occur():
    _, shifts = rise._random_grids(0, 2000, (12, 20, 1), (3, 4), 0.5)
    assert [sorted(set(axis)) for axis in shifts.T] == [list(range(4)), list(range(5))]
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.1
    assert len({tuple(shift) for shift in shifts[:32]}) > 10


def test_masks_of_series_and_tabular_rows():
    series = rise.generate_masks(0, 500, (30, 4), 5)
    assert series.shape == (500, 30, 4)
    assert len(np.unique(series)) > 2  # smooth in time
    features = np.corrcoef(series[:, 10], rowvar=False)
    assert np.abs(features - np.eye(4)).max() < 0.2
    rows = rise.generate_masks(0, 500, (6,), 7, 0.3)
    assert rows.shape == (500, 6) and set(np.unique(rows)) == {0, 1}
    assert abs(rows.mean() - 0.3) < 0.04


@pytest.mark.parametrize("antithetic", [False, True])
def test_a_mask_depends_on_seed_and_number_alone(antithetic):
    def masks(start, stop, seed=9):
        return rise.generate_masks(start, stop, (20, 20, 3), 4, 0.5, seed, antithetic)

    whole = masks(0, 50)
    np.testing.assert_array_equal(whole[13:30], masks(13, 30))
    assert not np.array_equal(whole, masks(0, 50, seed=10))
    assert masks(3, 3).shape == (0, 20, 20)


@pytest.mark.parametrize("p", [0.3, 0.5, 0.8])
def test_antithetic_masks_are_fair_and_opposed(p):
    grids, shifts = rise._random_grids(0, 8000, (20, 20, 3), 4, p, antithetic=True)
    assert abs(grids.mean() - p) < 0.01
    np.testing.assert_array_equal(shifts[::2], shifts[1::2])
    both = (grids[::2] & grids[1::2]).mean()
    assert abs(both - max(0, 2 * p - 1)) < 0.01  # as rarely as p allows
    masks = rise.generate_masks(0, 6, (20, 20, 3), 4, p, antithetic=True)
    assert np.allclose(masks[::2] + masks[1::2], 1, atol=1e-6) == (p == 0.5)


@pytest.mark.parametrize("own, value", [(200.71007, 61.039207), (0.3, 255.0)])
def test_perturbed_inputs_stay_in_the_value_range(own, value):
    image, masks = np.full((31, 31, 3), own, np.float32), rise.generate_masks(0, 64, (31, 31, 3), 5)
    perturbed = rise.perturb(image, masks, value)
    low, high = sorted(np.float32([own, value]))
    assert perturbed.min() >= low and perturbed.max() <= high


DTYPES_AND_VALUES = {
    "uint8": 0,
    "int64": [1, 50, 90],
    "float16": 0.25,
    "bfloat16": 0,
    "float32": 100 * IMAGE[::-1],
    "float64": 0.3,
}


@pytest.mark.parametrize("dtype, value", DTYPES_AND_VALUES.items())
def test_the_model_sees_batches_of_masked_images_in_their_own_precision(dtype, value):
    model, image = Recorder(mean_and_max), (200 * IMAGE).astype(np.dtype(dtype))
    rise_ = explainer(model, 10, "average", seed=2, batch_size=4, mask_value=value)
    rise_.explain_classes(image, [0])
    assert [len(batch) for batch in model.seen] == [4, 4, 2]
    expected = dtype if dtype in ("float16", "float64") else "float32"
    assert {batch.dtype.name for batch in model.seen} == {expected}
    m = rise.generate_masks(0, 10, IMAGE.shape, 3, seed=2)[..., np.newaxis]
    masked = image.astype(float) * m + np.asarray(value) * (1 - m)
    digits = 2e-3 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(np.concatenate(model.seen), masked, rtol=digits, atol=1e-6)


@pytest.mark.parametrize("time", [1.7e9, 1_700_000_000])
def test_features_that_float32_cannot_hold(time):
    row = np.array([time + 1, 5, 5])
    rise_ = Rise(lambda x: 10.0 * (x[:, 0] == time + 1), nb_samples=4000, mask_value=[time, 0, 0])
    np.testing.assert_allclose(rise_.explain_classes(row, 0)[0], [10, 5, 5], rtol=0.02)


def test_features_are_either_their_own_or_the_mask_value():
    row, value = np.float32([3, 0.1, 7]), np.float32([1.7, 1e6, -2])  # codes of categories, say
    perturbed = rise.perturb(row, rise.generate_masks(0, 50, (3,)), value)
    assert all(set(seen) == {own, masked} for seen, own, masked in zip(perturbed.T, row, value))


@pytest.mark.parametrize(
    "shape, grid",
    [((2, 8, 6, 3), 3), ((2, 8, 6, 1), (4, 2)), ((2, 12, 5), 4), ((2, 12, 5), (4,)), ((2, 9), 7)],
)
def test_shapes_and_targets(shape, grid):
    inputs = np.random.default_rng(0).random(shape)
    rise_ = Rise(mean_and_max, nb_samples=40, grid_size=grid)
    maps = rise_.explain(inputs, [0, 1])
    assert maps.shape == ((*shape[:-1], 1) if len(shape) == 4 else shape)
    assert maps.dtype == np.float64
    np.testing.assert_array_equal(rise_.explain(inputs, np.eye(2)), maps)
    for x, label, saliency in zip(inputs, (0, 1), maps):
        alone = rise_.explain_classes(x, label)
        assert alone.shape == (1, *shape[1 : 3 if len(shape) == 4 else None])
        np.testing.assert_array_equal(saliency.reshape(alone.shape), alone)


@each_estimator
def test_maps_depend_on_the_seed_and_not_on_batches(estimator):
    def maps(batch_size=32, seed=0):
        rise_ = Rise(mean_and_max, batch_size, None, 101, 3, seed=seed, estimator=estimator)
        return rise_.explain_classes(IMAGE, [0, 1])

    np.testing.assert_array_equal(maps(), maps())
    for size in (1, 7, 100, 1000):
        np.testing.assert_allclose(maps(size), maps(), rtol=1e-6)
    assert not np.allclose(maps(), maps(seed=1))


@each_estimator
@pytest.mark.parametrize(
    "offset, scale", [(1e6, 1), (1e7, 1), (0, 1e39), (0, 1e-50), (0, 1e-200), (0, 1e250)]
)
def test_scores_of_any_size(estimator, offset, scale):
    plain = explainer(detector, 500, estimator).estimate(GREY, [0, 1])
    model = lambda x: offset + scale * detector(x)  # noqa: E731
    moved = explainer(model, 500, estimator).estimate(GREY, [0, 1])
    ones = rise.generate_masks(0, 500, GREY.shape, 3).mean(axis=0, dtype=float) / 0.5
    shift = offset * (ones if estimator == "average" else 1)
    np.testing.assert_allclose((moved.saliency - shift) / scale, plain.saliency, atol=1e-7)
    if offset == 0:
        np.testing.assert_allclose(moved.standard_error / scale, plain.standard_error, rtol=1e-9)
        np.testing.assert_allclose(moved.relative_error, plain.relative_error, rtol=1e-9)


class Tensor:
    """As of PyTorch: NumPy reads it once detached and on the CPU, but no bfloat16."""

    def __init__(self, values, dtype="torch.float32", tracked=True):
        self.values, self.dtype, self.tracked = values, dtype, tracked

    def detach(self):
        return Tensor(self.values, self.dtype, tracked=False)

    def cpu(self):
        return self

    def float(self):
        return Tensor(self.values, tracked=self.tracked)

    def __array__(self, dtype=None, copy=None):
        if self.tracked or self.dtype != "torch.float32":
            raise TypeError("NumPy cannot read this tensor")
        return self.values


def rounded(x):
    return mean_and_max(x).astype(ml_dtypes.bfloat16)


def margin(model, inputs, targets):
    outputs = np.asarray(model(inputs))
    return (outputs * (2 * targets - 1)).sum(axis=1)


def second(model, inputs, targets):
    return np.asarray(model(inputs))[:, 1]


WAYS_IN = {
    "explain": lambda model: explainer(model, batch_size=8).explain(IMAGE[None], [1])[0],
    "classes": lambda model: explainer(model, batch_size=8).explain_classes(IMAGE, 1),
    "operator": lambda model: explainer(model, batch_size=8, operator=second).explain(
        IMAGE[None], [1]
    )[0],
    "rise_map": lambda model: rise.rise_map(model, IMAGE, 1, 40, 3),
}
each_way_in = pytest.mark.parametrize("explain", WAYS_IN.values(), ids=WAYS_IN)


@each_way_in
def test_outputs_of_other_libraries_and_types(explain):
    expected = explain(lambda x: rounded(x).astype(float))
    np.testing.assert_array_equal(explain(rounded), expected)
    if explain is not WAYS_IN["operator"]:  # whose operator reads the outputs itself
        torch_bfloat16 = lambda x: Tensor(rounded(x).astype(float), "torch.bfloat16")  # noqa: E731
        np.testing.assert_array_equal(explain(torch_bfloat16), expected)
        np.testing.assert_array_equal(explain(lambda x: Tensor(rounded(x).astype(float))), expected)
        np.testing.assert_array_equal(explain(lambda x: rounded(x).tolist()), expected)


@each_way_in
@pytest.mark.parametrize(
    "outputs, message",
    [
        (lambda x: np.full((len(x), 2), "high"), "finite numbers, got an array of <U4"),
        (lambda x: np.full((len(x), 2), np.nan), "finite numbers, got nan"),
        (lambda x: np.full((len(x), 2), 1j), "finite numbers, got an array of complex128"),
    ],
)
def test_outputs_that_are_no_numbers(explain, outputs, message):
    with pytest.raises(ValueError, match=f"(outputs|scores) must be {message}"):
        explain(outputs)


@each_way_in
def test_models_that_write_into_their_input_or_return_one_buffer(explain):
    expected, before = explain(mean_and_max), IMAGE.copy()
    buffer = np.empty((8, 2))

    def rude(x):
        buffer[: len(x)] = mean_and_max(x)
        x[:] = np.nan
        return buffer[: len(x)]

    np.testing.assert_array_equal(explain(rude), expected)
    np.testing.assert_array_equal(IMAGE, before)
    assert not np.shares_memory(rise.model_outputs(rude, IMAGE[None].copy()), buffer)


@pytest.mark.parametrize("columns", [1, slice(1, 2)])
def test_binary_classifier_of_one_output(columns):
    rise_ = explainer(lambda x: mean_and_max(x)[:, columns], batch_size=8)
    expected = WAYS_IN["classes"](mean_and_max)
    np.testing.assert_array_equal(rise_.explain_classes(IMAGE, 0), expected)
    np.testing.assert_array_equal(rise_.explain(IMAGE[None], [[1]])[..., 0], expected)
    with pytest.raises(ValueError, match="1 outputs, got 1. A single output is class 0"):
        rise_.explain_classes(IMAGE, 1)


def test_operator_scores_the_model():
    rise_ = explainer(mean_and_max, estimator="average", operator=margin)
    by_operator = rise_.explain(IMAGE[None], [[0, 1]])[0, ..., 0]
    maps = explainer(mean_and_max, estimator="average").explain_classes(IMAGE, [0, 1])
    np.testing.assert_allclose(by_operator, maps[1] - maps[0], atol=1e-12)


def test_progress_wraps_the_batches():
    seen = []
    progress = lambda batches: seen.append(len(batches)) or iter(batches)  # noqa: E731
    explainer(mean_and_max, 10, batch_size=4, progress=progress).explain_classes(IMAGE, 0)
    assert seen == [3]


def test_a_model_that_fails_is_not_waited_for():
    def fails(inputs):
        raise OSError("no such model")

    with pytest.raises(OSError, match="no such model"):
        explainer(fails).explain_classes(IMAGE, 0)


@pytest.mark.parametrize("p, estimator", P_AND_ESTIMATOR)
@pytest.mark.parametrize("value", [0, 0.2])
def test_estimators_converge_to_the_exact_map(p, estimator, value):
    rise_ = explainer(detector, 20_000, estimator, p, (3, 2), mask_value=value)
    maps = rise_.explain_classes(GREY, [0, 1])
    for saliency, exact in zip(maps, exact_maps(detector, GREY, (3, 2), p, value)):
        assert correlation(saliency, exact) > 0.995
        assert np.abs(saliency - exact).max() < 0.1 * np.ptp(exact)


@pytest.mark.parametrize("p, estimator", P_AND_ESTIMATOR)
def test_intervals_of_95_percent_cover_the_exact_map(p, estimator):
    exact, covered = exact_maps(detector, GREY, p=p), []
    for seed in range(60):
        found = explainer(detector, 400, estimator, p, seed=seed).estimate(GREY, [0, 1])
        covered.append(np.abs(found.saliency - exact) < 1.96 * found.standard_error)
    assert 0.93 < np.mean(covered) < 0.98


def agreement(model, p, estimator, n):
    """Mean correlation of maps from n masks with the exact ones."""
    rises = [explainer(model, n, estimator, p, seed=seed) for seed in range(20)]
    maps = [rise_.explain_classes(GREY, [0, 1]) for rise_ in rises]
    exact = exact_maps(model, GREY, p=p)
    return np.mean([correlation(m, e) for pair in maps for m, e in zip(pair, exact)])


def skewed(images):
    return np.exp(12 * detector(images))


@pytest.mark.parametrize(
    "model, p, n, least",
    [
        (skewed, 0.5, 60, 0.93),  # 0.88 without ranks
        (detector, 0.5, 125, 0.999),  # 0.997 without differences within pairs
        (detector, 0.8, 60, 0.988),  # 0.985 with them, as pairs share cells
    ],
)
def test_few_masks_are_enough_for_the_regression(model, p, n, least):
    assert agreement(model, p, "regression", n) > least


@each_estimator
def test_the_map_of_opposite_grades_is_the_opposite_map(estimator):
    grades = lambda x: np.round(10 * detector(x)[:, 0])  # noqa: E731
    maps = explainer(grades, 200, estimator).explain_classes(GREY, 0)
    opposite = explainer(lambda x: -grades(x), 200, estimator).explain_classes(GREY, 0)
    np.testing.assert_allclose(opposite, -maps, atol=1e-12)


@pytest.mark.parametrize("cells, calls, tolerance", [(3, 300, 0.02), (4, 2000, 1e-3)])
def test_regression_is_exact_for_a_linear_model(cells, calls, tolerance):
    slopes = np.random.default_rng(3).normal(size=(8, 8))
    rise_ = explainer(lambda x: np.tensordot(x[..., 0], slopes), calls, grid=cells)
    exact = linear_map(slopes, cells, 0.5)
    assert np.abs(rise_.explain_classes(ONES, 0) - exact).max() < tolerance * np.ptp(exact)


def from_125_noisy_calls(slopes, noise):
    """The exact map of a linear model, and explanations when noise is added."""
    slopes = slopes / np.std(np.tensordot(rise.generate_masks(0, 2000, (28, 28, 1)), slopes))
    chaos = np.random.default_rng(0).random((28, 28)) * 1e4

    def model(images):  # the sine of large numbers is as good as noise
        x = images[..., 0].astype(float)
        return np.tensordot(x, slopes) + noise * 2**0.5 * np.sin(np.tensordot(x, chaos))

    rises = [explainer(model, 125, grid=7, seed=seed) for seed in range(20)]
    found = [rise_.estimate(np.ones((28, 28, 1)), 0) for rise_ in rises]
    return linear_map(slopes, 7, 0.5), found


def test_smoothing_finds_a_smooth_map_in_noise():
    rows, columns = np.mgrid[:28, :28]
    slopes = np.exp(-((rows - 18) ** 2 + (columns - 10) ** 2) / 50)
    exact, found = from_125_noisy_calls(slopes, noise=2)
    agreements = [correlation(one.saliency, exact) for one in found]
    assert np.mean(agreements) > 0.91  # 0.87 without smoothing


def test_standard_error_allows_for_what_the_regression_fits_of_the_noise():
    exact, found = from_125_noisy_calls(np.random.default_rng(1).normal(size=(28, 28)), 0.5)
    covered = [np.abs(one.saliency - exact) < 1.96 * one.standard_error for one in found]
    assert 0.93 < np.mean(covered) < 0.98  # 0.90 without leverages


@pytest.mark.parametrize("p, estimator", P_AND_ESTIMATOR)
def test_map_of_tabular_rows_is_the_conditional_mean(p, estimator):
    row = np.array([1.0, 2.0, -1.0])
    masks = np.array(list(product((0, 1), repeat=3)))
    weights = p ** masks.sum(axis=1) * (1 - p) ** (3 - masks.sum(axis=1))
    score = lambda x: x[:, 0] * x[:, 1] + x[:, 2]  # noqa: E731
    exact = [np.average(score(row * masks)[m == 1], weights=weights[m == 1]) for m in masks.T]
    rise_ = explainer(score, 40_000, estimator, p, batch_size=1000)
    np.testing.assert_allclose(rise_.explain(row[None], [0])[0], exact, atol=0.05)


def test_estimators_agree_on_series_and_mask_values():
    series = np.random.default_rng(4).random((24, 3)) + 1
    model = lambda x: x[:, 4:9, 1].mean(axis=1) * x[:, 12:20, 2].mean(axis=1) - 1  # noqa: E731
    for value in (0, [0.5, 3, 0], series[::-1] - 1):
        settings = dict(grid=4, mask_value=value, batch_size=500)
        maps = [
            explainer(model, 20_000, estimator, **settings).explain_classes(series, 0)
            for estimator in ESTIMATORS
        ]
        assert maps[0].shape == (1, 24, 3) and correlation(*maps) > 0.99


@each_estimator
def test_more_features_than_masks(estimator):
    rise_ = explainer(lambda x: x[:, 7], 100, estimator)
    assert rise_.explain_classes(np.ones(300), 0)[0].argmax() == 7


@each_estimator
@pytest.mark.parametrize("n", [2, 3, 40])
def test_a_model_that_ignores_its_input_has_a_flat_map(estimator, n):
    found = explainer(lambda x: np.full(len(x), 0.25), n, estimator).estimate(IMAGE, 0)
    assert np.isfinite(found.saliency).all() and np.isfinite(found.standard_error).all()
    if estimator == "regression":
        np.testing.assert_allclose(found.saliency, 0.25, rtol=1e-5)
        np.testing.assert_allclose(found.standard_error, 0, atol=1e-6)
        assert found.relative_error[0] == np.inf


@each_estimator
def test_more_masks_cost_only_the_new_calls(estimator):
    model = Recorder(detector)
    short = explainer(model, 75, estimator).estimate(GREY, [0], keep_outputs=True)
    assert short.calls == 75 == sum(map(len, model.seen)) and short.outputs.shape == (75, 2)
    model.seen.clear()
    rise_ = explainer(model, 200, estimator)
    longer = rise_.estimate(GREY, [0, 1], short.outputs, keep_outputs=True)
    assert longer.calls == 200 and sum(map(len, model.seen)) == 125
    whole = explainer(detector, 200, estimator).estimate(GREY, [0, 1])
    assert whole.outputs is None
    np.testing.assert_allclose(longer.saliency, whole.saliency, rtol=1e-9)
    other_class = explainer(forbidden, 200, estimator).estimate(GREY, [1], longer.outputs)
    np.testing.assert_allclose(other_class.saliency[0], whole.saliency[1], rtol=1e-9)


@pytest.mark.parametrize("estimator, tolerance", [("regression", 0.1), ("average", 0.2)])
def test_it_stops_where_the_error_is_below_the_tolerance_in_nine_of_ten_cases(estimator, tolerance):
    below = []
    for label, exact in enumerate(exact_maps(detector, GREY)):
        for seed in range(10):
            model = Recorder(detector)
            rise_ = explainer(model, 20_000, estimator, seed=seed, tolerance=tolerance)
            found = rise_.estimate(GREY, label)
            assert 200 <= found.calls < 20_000 and found.calls == sum(map(len, model.seen))
            assert 1.64 * found.relative_error.max() < tolerance
            error = np.sqrt(np.mean((found.saliency[0] - exact) ** 2))
            below.append(error < tolerance * np.ptp(exact))
    assert np.mean(below) >= 0.9
    rise_ = explainer(detector, 20_000, estimator, tolerance=10, batch_size=25)
    assert rise_.estimate(GREY, [0]).calls == 200
    rise_ = explainer(detector, 500, estimator, tolerance=1e-6, batch_size=25)
    with pytest.warns(UserWarning, match="500 masks meet a tolerance of 0.* only") as caught:
        assert rise_.estimate(GREY, [0]).calls == 500
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "shape, grid, p",
    [((90, 70, 1), 4, 0.5), ((90, 70, 1), (2, 9), 0.3), ((80, 3), 5, 0.5), ((12,), 1, 0.4)],
)
def test_standard_error_of_the_average_is_that_of_all_local_explanations(shape, grid, p):
    n, x = 500, np.random.default_rng(3).random(shape)
    found = explainer(mean_and_max, n, "average", p, grid).estimate(x, [0, 1], keep_outputs=True)
    masks = rise.generate_masks(0, n, shape, grid, p)
    for score, error in zip(found.outputs.T, found.standard_error):
        local = rise.local_explanations(score, masks)
        ratio = error / (local.std(axis=0, ddof=1) / np.sqrt(n) / p)
        assert np.sqrt(np.mean((ratio - 1) ** 2)) < (0.01 if len(shape) > 1 else 1e-9)
        assert np.abs(ratio - 1).max() < 0.05


def test_arguments_that_must_be_callable():
    for name, value in {"model": "vgg", "operator": 3, "progress": True}.items():
        with pytest.raises(TypeError, match=f"{name} must be callable, got {value!r}"):
            Rise(**{"model": forbidden, name: value})


BAD_SETTINGS = {
    "batch_size": [0, 2.5, True],
    "nb_samples": [0, "many", 1],  # 1 is no pair
    "grid_size": [0, 3.5, (7, 0), (2, 2, 2), None],
    "preservation_probability": [0, 1, 7, float("nan"), "half"],
    "mask_value": [np.inf, "black", None, [[1], [1, 2]]],
    "seed": [-1, None, 0.5],
    "estimator": ["ridge", None, ["average"], rise._Average],
    "tolerance": [0, "low", float("nan"), True],
    "channels_first": ["NCHW", 2],
    "layout": ["HWC", True],
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings(name):
    for value in BAD_SETTINGS[name]:
        with pytest.raises(ValueError, match=f"^{name} must be .*got"):
            Rise(forbidden, **{name: value})


def masks(start=0, stop=5, shape=(8, 8, 3), *settings):
    return rise.generate_masks(start, stop, shape, *settings)


def explain(targets, inputs=ONES[np.newaxis], **settings):
    return Rise(forbidden, **settings).explain(inputs, targets)


def estimate(*arguments, x=ONES, **settings):
    return Rise(forbidden, **settings).estimate(x, *arguments)


def answer(outputs, operator=None):
    return Rise(lambda x: outputs, 16, operator).explain(ONES[np.newaxis], [[0, 1]])


def real():
    return explainer(mean_and_max)


BAD_ARGUMENTS = [
    (lambda: masks(start=-1), "start must be an integer of at least 0, got -1"),
    (lambda: masks(3, 2), "stop must be an integer of at least 3, got 2"),
    (lambda: masks(shape=(8, 8, 3, 1)), r"an input must be .*got \(8, 8, 3, 1\)"),
    (lambda: masks(0, 5, (8, 8, 3), 9), "grid_size must be at most 8 x 8 .*9"),
    (lambda: masks(0, 5, (8, 8, 3), 7, 7), "preservation_probability must be .*7"),
    (lambda: masks(0, 5, (8, 8, 3), 7, 0.5, -1), "seed must be .*-1"),
    (lambda: rise.perturb(ONES * np.nan, masks()), "x must be finite numbers, got nan"),
    (lambda: rise.perturb(ONES, masks()[0]), r"masks must be .*got \(8,\)"),
    (lambda: rise.perturb(ONES, masks() * 255), r"masks must be in \[0, 1\]"),
    (lambda: rise.perturb(ONES, masks(), [1, 2]), r"mask_value must be .*\(2,\)"),
    (lambda: rise.perturb(np.float32(ONES), masks(), 1e39), "mask_value must be finite"),
    (lambda: rise.local_explanations([1, 2], masks()), "scores must be one a mask, got 2 for"),
    (lambda: rise.local_explanations([np.nan] * 5, masks()), "scores must be finite"),
    (lambda: rise.average(ONES, 0), "nb_samples must be .*0"),
    (lambda: rise.average(["a"], 5), "total must be finite numbers"),
    (lambda: rise.rise_map(forbidden, ONES, 0, 0), "nb_samples must be .*0"),
    (lambda: rise.rise_map(forbidden, ONES, -1, 5), "classes must be .*-1"),
    (lambda: explain(np.eye(3), ONES), r"targets must be one for each of 8 inputs, got \(3, 3\)"),
    (lambda: explain(0, np.array([ONES] * 2)), r"targets must be .* of 2 inputs, got \(\)"),
    (lambda: explain([1.0]), "classes must be .*1.0"),
    (lambda: explain([[0, 0]]), "targets must be one-hot rows"),
    (lambda: explain([0], ONES[np.newaxis] * np.inf), "inputs must be .*inf in 192 places"),
    (lambda: explain([0], np.ones((1, 0, 8, 3))), r"inputs must be .*\(1, 0, 8, 3\)"),
    (lambda: explain([0], grid_size=9), "grid_size must be at most 8 x 8 .*got 9"),
    (lambda: explain([0], ONES[:1], grid_size=(4, 4)), r"grid_size must .*got \(4, 4\)"),
    (lambda: explain([0], mask_value=[1, 2]), r"mask_value must .*got shape \(2,\)"),
    (lambda: estimate([0], x=ONES[np.newaxis]), r"an input must be .*\(1, 8, 8, 3\)"),
    (lambda: estimate([]), r"classes must be one or more class indices, got \[\]"),
    (lambda: estimate([True]), "classes must be .*True"),
    (lambda: estimate(1.0), "classes must be .*1.0"),
    (lambda: estimate([[1]]), r"classes must be .*\[\[1\]\]"),
    (lambda: estimate(0, x=np.ma.masked_equal(ONES, 1)), "x must be .*masked array"),
    (lambda: estimate([0], operator=margin), "operator must be None but for `explain`"),
    (lambda: estimate([0], np.ones(10)), r"outputs must be .*got shape \(10,\)"),
    (lambda: estimate([1], np.ones((10, 1))), "classes must be below .*1 outputs, got 1"),
    (lambda: estimate([1], np.full((10, 2), np.nan)), "outputs must be finite"),
    (lambda: answer(np.ones((3, 2))), r"must give scores \(16, n_classes\), got float64 \(3, 2\)"),
    (lambda: answer(np.ones(16, int)), r"model must give .*\(16, n_classes\), got int64 \(16,\)"),
    (lambda: answer(np.ones((16, 5))), "model must have 2 outputs, got 5"),
    (lambda: answer(0, lambda *_: ONES), "operator must return 16 scores"),
    (lambda: real().explain_classes(IMAGE, [0, 2]), "below the model's 2 outputs, got 2"),
    (lambda: real().explain(IMAGE[np.newaxis], [2]), "below the model's 2 outputs, got 2"),
    (lambda: real().estimate(IMAGE, 0, np.ones((10, 3))), "must have 3 outputs, got 2"),
]


@pytest.mark.parametrize("call, message", BAD_ARGUMENTS)
@pytest.mark.filterwarnings("ignore:overflow")
def test_bad_arguments_and_answers(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_repr_shows_the_settings():
    assert repr(Rise(forbidden, mask_value=[0.5, 3, 0])) == (
        "Rise(nb_samples=4000, grid_size=7, preservation_probability=0.5, "
        "mask_value=[0.5, 3.0, 0.0], seed=0, estimator='regression', tolerance=None, "
        "batch_size=32, operator=None)"
    )
    assert repr(Rise(forbidden, layout="image")).endswith(", operator=None, layout='image')")


def test_the_examples_in_the_docstrings_run():
    outcome = doctest.testmod(rise)
    assert outcome.attempted >= 4 and not outcome.failed


def peak_memory(n, n_outputs, estimator="regression", size=64):
    """Most bytes that NumPy holds while an image is explained."""
    outputs = np.random.default_rng(0).random((32, n_outputs), np.float32)
    rise_ = explainer(lambda x: outputs[: len(x)], n, estimator, grid=7)
    tracemalloc.start()
    try:
        rise_.explain_classes(np.ones((size, size, 3), np.float32), [0, 1])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@each_estimator
def test_memory_does_not_hold_the_outputs_of_other_classes(estimator):
    few, many = (peak_memory(n, 20_000, estimator) for n in (200, 600))
    assert many - few < 3e6  # 32e6 or more for all outputs


@pytest.mark.slow
def test_memory_of_the_regression_grows_as_its_docstring_says():
    few, many = (peak_memory(n, 2) for n in (8_000, 32_000))
    assert many - few < 24_000 * 14 * 14 * 12


def two_classes(images):  # channels last
    means = images.mean(axis=(1, 2, 3), dtype=float)
    return np.stack([images[:, 2, 3, 0], means + images[:, 5, 1, 2]], axis=1)


@each_estimator
@pytest.mark.parametrize("value", [0, [0.5, 3, 0], 2 * IMAGE[::-1]])
def test_channels_first_is_the_same_image(estimator, value):
    model = Recorder(lambda x: two_classes(np.moveaxis(x, 1, -1)))
    last = explainer(two_classes, estimator=estimator, mask_value=value)
    whole = np.moveaxis(value, -1, 0) if np.ndim(value) == 3 else value
    first = explainer(model, estimator=estimator, mask_value=whole, channels_first=True)
    x = np.moveaxis(IMAGE, -1, 0)
    maps = first.explain(x[np.newaxis], [1])
    assert maps.shape == (1, 1, *IMAGE.shape[:2])
    np.testing.assert_allclose(maps[0, 0], last.explain_classes(IMAGE, 1)[0], rtol=1e-9)
    assert {batch.shape[1:] for batch in model.seen} == {x.shape}
    assert all(batch.flags.c_contiguous for batch in model.seen)
    some = masks(0, 5, IMAGE.shape, 3)
    expected = np.moveaxis(rise.perturb(IMAGE, some, value), -1, 1)
    np.testing.assert_array_equal(rise.perturb(x, some, whole, channels_first=True), expected)


def test_perturbing_multiplies_each_channel():
    masks = rise.generate_masks(0, 9, IMAGE.shape, 3)
    expected = np.repeat(masks, 3, axis=2) * IMAGE.reshape(6, 27)
    np.testing.assert_array_equal(rise.perturb(IMAGE, masks), expected.reshape(9, *IMAGE.shape))


def test_two_axes_are_what_layout_says():
    x = np.random.default_rng(0).random((28, 28)).astype(np.float32)
    flat = lambda images: images.reshape(len(images), -1) @ x.ravel()  # noqa: E731
    image, series = (explainer(flat, 200, grid=7, layout=each) for each in ("image", "series"))
    maps = image.explain(x[np.newaxis], [0])
    assert maps.shape == (1, 28, 28)
    expected = explainer(flat, 200, grid=7).explain_classes(x[..., np.newaxis], 0)
    np.testing.assert_allclose(maps, expected, rtol=1e-6)
    assert correlation(series.explain_classes(x, 0), maps) < 0.8


LAYOUTS = [
    ((3, 224, 224), {}, "channels_first must be True for .C, H, W., .*channels last, got None"),
    ((13, 64, 64), {}, "channels_first"),
    ((64, 64, 64), {}, "channels_first"),
    ((64, 64, 13), {}, "channels_first"),
    ((64, 64, 3), {"channels_first": True}, "channels_first must .*got True"),
    ((28, 28), {}, 'layout must be "image" or "series" for an input of shape .28, 28.'),
    ((100, 64), {"channels_first": True}, "layout"),
]


@pytest.mark.parametrize("shape, settings, message", LAYOUTS)
def test_a_shape_that_does_not_tell_the_layout_is_refused(shape, settings, message):
    for call in (lambda r, x: r.estimate(x, 0), lambda r, x: r.explain(x[np.newaxis], [0])):
        with pytest.raises(ValueError, match=message):
            call(Rise(forbidden, **settings), np.ones(shape))
    if not settings:
        with pytest.raises(ValueError, match=message):
            rise.rise_map(forbidden, np.ones(shape), 0, 5)


@pytest.mark.parametrize(
    "shape, first", [((5, 9, 8), True), ((9, 8, 5), False), ((112, 28), None), ((28, 7), None)]
)
def test_a_shape_that_tells_the_layout_is_explained(shape, first):
    saliency = explainer(mean_and_max, channels_first=first).explain_classes(np.ones(shape), 0)[0]
    assert saliency.shape == ((9, 8) if len(shape) == 3 else shape)


@pytest.mark.parametrize(
    "label",
    [1, np.int64(1), np.array(1), [1], np.array([1]), Tensor(np.array([1]), "torch.float32")],
)
def test_classes_are_integers_or_arrays_of_integers_everywhere(label):
    rise_ = explainer(mean_and_max)
    expected = rise_.explain_classes(IMAGE, 1)
    np.testing.assert_array_equal(rise_.explain_classes(IMAGE, label), expected)
    np.testing.assert_array_equal(rise_.explain(IMAGE[np.newaxis], label)[..., 0], expected)


class Failing:
    """A model whose call number `at` fails."""

    def __init__(self, at, error=None):
        self.at, self.error, self.calls = at, error, 0

    def __call__(self, inputs):
        self.calls += 1
        if self.calls == self.at and self.error:
            raise self.error
        return detector(inputs) * (np.nan if self.calls == self.at else 1)


FAILURES = pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(), None])


@each_estimator
@FAILURES
@pytest.mark.parametrize("keep", [False, True])
def test_an_interrupted_explanation_continues(estimator, error, keep):
    model = Failing(8, error)
    rise_ = explainer(model, 100, estimator, batch_size=10)
    with pytest.raises(type(error) if error else ValueError):
        rise_.estimate(GREY, [1, 0], keep_outputs=keep)
    [known] = rise_.unfinished
    assert known.shape == (70, 2)
    found = rise_.estimate(GREY, [1, 0], known, keep)
    assert model.calls == 8 + 3
    whole = explainer(detector, 100, estimator, batch_size=10).estimate(GREY, [1, 0])
    np.testing.assert_allclose(found.saliency, whole.saliency, rtol=1e-9)
    np.testing.assert_allclose(found.base, whole.base)
    with pytest.raises(ValueError, match="same x, got those of another"):
        rise_.estimate(GREY[::-1], [1, 0], known)
    assert rise_.unfinished[0] is known
    if not keep:
        with pytest.raises(ValueError, match="same classes"):
            rise_.estimate(GREY, [0, 1], known)


@FAILURES
@pytest.mark.parametrize("operator", [None, second])
def test_an_interrupted_batch_of_inputs_continues(error, operator):
    inputs = np.stack([GREY, GREY[::-1], GREY[:, ::-1]])
    settings = dict(n=40, batch_size=10, operator=operator)
    model = Failing(7, error)
    rise_ = explainer(model, **settings)
    with pytest.raises(type(error) if error else ValueError):
        rise_.explain(inputs, [1, 1, 1])
    assert [len(each) for each in rise_.unfinished] == [40, 20]
    model.at = 9  # once more, in the third input
    with pytest.raises(type(error) if error else ValueError):
        rise_.explain(inputs, [1, 1, 1], outputs=rise_.unfinished)
    assert [len(each) for each in rise_.unfinished] == [40, 30]
    maps = rise_.explain(inputs, [1, 1, 1], outputs=rise_.unfinished)
    assert model.calls == 9 + 1 + 4
    expected = explainer(detector, **settings).explain(inputs, [1, 1, 1])
    np.testing.assert_allclose(maps, expected, rtol=1e-9)
    if operator:
        foreign = explainer(forbidden, **settings)
        with pytest.raises(ValueError, match="same operator's target"):
            foreign.explain(inputs, [0, 0, 0], outputs=rise_.unfinished)


@pytest.mark.parametrize(
    "name, value",
    [
        *[("seed", 1), ("grid", 2), ("p", 0.4), ("estimator", "average")],
        *[("mask_value", 0.1), ("mask_value", GREY)],
    ],
)
def test_outputs_that_belong_to_something_else_are_refused(name, value):
    outputs = explainer(detector).estimate(GREY, 0, keep_outputs=True).outputs
    other = explainer(forbidden, **{name: value})
    names = {"grid": "grid_size", "p": "preservation_probability"}
    with pytest.raises(ValueError, match=f"^outputs must be of the same {names.get(name, name)}, "):
        other.estimate(GREY, 0, outputs)
    other.estimate(GREY, 0, np.asarray(outputs))  # a plain array is taken on trust
    other.estimate(GREY, 0, outputs[:])


def test_explain_returns_the_errors_of_estimate():
    rise_ = explainer(detector)
    maps, errors = rise_.explain(np.stack([GREY, GREY[::-1]]), [0, 1], return_error=True)
    found = rise_.estimate(GREY[::-1], 1)
    np.testing.assert_array_equal(maps[1, ..., 0], found.saliency[0])
    np.testing.assert_array_equal(errors[1, ..., 0], found.standard_error[0])


@pytest.mark.parametrize("p, estimator", P_AND_ESTIMATOR)
def test_base_is_the_mean_score_of_masked_inputs(p, estimator):
    every, weights = every_mask(GREY.shape[:2], (3, 3), p)
    exact = weights @ detector(GREY * every[..., np.newaxis])
    found = explainer(detector, 20_000, estimator, p).estimate(GREY, [1, 0])
    np.testing.assert_allclose(found.base, exact[::-1], rtol=0.02)


@pytest.mark.parametrize("action", ["always", "default", "error", "ignore"])
def test_a_warning_of_each_call_is_shown_once(action):
    def model(x):
        warnings.warn("X does not have valid feature names", UserWarning, stacklevel=2)
        return mean_and_max(x)

    rise_, show = explainer(model, batch_size=4), warnings.showwarning
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        if action == "error":
            with pytest.raises(UserWarning, match="feature names"):
                rise_.explain(np.stack([IMAGE] * 3), [0, 0, 0])
        else:
            rise_.explain(np.stack([IMAGE] * 3), [0, 0, 0])
    assert len(caught) == (action in ("always", "default")) and warnings.showwarning is show
    assert all(isinstance(each.message, UserWarning) for each in caught)


def test_a_changed_mask_value_does_not_change_an_explainer():
    value = np.zeros(3)
    rise_ = explainer(mean_and_max, mask_value=value)
    expected = rise_.explain_classes(IMAGE, 0)
    value += 5
    np.testing.assert_array_equal(rise_.explain_classes(IMAGE, 0), expected)


def test_a_model_that_returns_one_number_for_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"got float64 \(\)"):
        Rise(lambda images: images.mean(), nb_samples=64).explain(np.ones((1, 32, 32, 3)), [0])


@pytest.mark.parametrize("columns", [slice(None), slice(1)])
@pytest.mark.parametrize("known", [0, 16])
def test_models_that_squeeze_or_take_whole_batches_only(columns, known):
    def whole_batches(x):
        if len(x) != 8:
            raise OSError(f"expected 8 images, got {len(x)}")
        return detector(x)[:, columns]

    expected = explainer(lambda x: detector(x)[:, columns], 33).explain_classes(GREY, 0)
    for model in (lambda x: detector(x)[:, columns].squeeze(), whole_batches):
        rise_ = explainer(model, 33, batch_size=8)
        outputs = explainer(model, 16, batch_size=8).estimate(GREY, 0, None, True).outputs
        found = rise_.estimate(GREY, 0, outputs if known else None).saliency
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    with pytest.raises(OSError, match="got 4"):
        explainer(whole_batches, 4, batch_size=8).estimate(GREY, 0)


def test_help_shows_what_is_public_with_types():
    text = pydoc.plain(pydoc.render_doc(rise))
    assert all(f" {name}(" in text or f" {name} =" in text for name in rise.__all__)
    assert not any(f"    {name}(" in text for name in ("ceil", "sqrt", "prod", "partial"))
    public = [getattr(rise, name) for name in rise.__all__]
    methods = [f for n, f in vars(Rise).items() if inspect.isfunction(f) and n[0] != "_"]
    for function in [*filter(inspect.isfunction, public), *methods, Rise.__init__]:
        signature = inspect.signature(function)
        assert signature.return_annotation is not signature.empty, function
        names = [p for p in signature.parameters.values() if p.name != "self"]
        assert all(p.annotation is not p.empty for p in names), function
