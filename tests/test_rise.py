"""RISE against independent truth: closed forms, brute force, scikit-image, invariances."""

import doctest
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from skimage.transform import resize

import rise
from counting import Recorder, forbidden
from rise import Rise


def every_mask(shape, grid):
    """Each crop of each grid's upscaling by scikit-image, with its grid: (grids, masks per grid and shift)."""
    (height, width), (rows, columns) = shape, grid
    cells = -(-height // rows), -(-width // columns)
    grids = np.array(list(product((0.0, 1.0), repeat=rows * columns))).reshape(-1, rows, columns)
    size = (rows + 1) * cells[0], (columns + 1) * cells[1]
    upscaled = [resize(g, size, order=1, anti_aliasing=False) for g in grids]
    shifts = list(product(range(cells[0]), range(cells[1])))
    return grids, np.array(
        [[u[dy : dy + height, dx : dx + width] for dy, dx in shifts] for u in upscaled]
    )


def every_mask_and_weight(shape, grid, p):
    """All masks (n, H, W) and the probability of each."""
    grids, masks = every_mask(shape, grid)
    kept = grids.sum(axis=(1, 2))
    weights = p**kept * (1 - p) ** (grids[0].size - kept)
    return masks.reshape(-1, *shape), np.repeat(weights / masks.shape[1], masks.shape[1])


def mean_and_max(pictures):
    """Two classes of a model that is not linear."""
    flat = pictures.reshape(len(pictures), -1)
    return np.stack([np.tanh(flat.mean(axis=1)), flat.max(axis=1)], axis=1)


PICTURE = np.random.default_rng(5).random((6, 9, 3)).astype(np.float32)


# ---------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize(
    "shape, grid",
    [
        ((299, 299), (7, 7)),
        ((224, 227), (8, 5)),
        ((30, 50), (1, 3)),
        ((16, 16), (16, 2)),
        ((7, 5), (7, 5)),
    ],
)
def test_upscaling_is_that_of_scikit_image(shape, grid):
    grids, shifts = rise.random_grids(0, 5, (*shape, 3), grid, seed=3)
    cells = [-(-size // cell) for size, cell in zip(shape, grid)]
    upscaled = [(n + 1) * cell for n, cell in zip(grid, cells)]
    for g, (dy, dx), mask in zip(grids, shifts, rise.upscale(grids, shifts, (*shape, 3))):
        expected = resize(g.astype(float), upscaled, order=1, anti_aliasing=False)
        np.testing.assert_allclose(
            mask, expected[dy : dy + shape[0], dx : dx + shape[1]], atol=1e-6
        )


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_mean_and_variance_of_masks(p):
    masks, weights = every_mask_and_weight((6, 7), (2, 3), p)
    mean = np.tensordot(weights, masks, axes=1)
    variance = np.tensordot(weights, masks**2, axes=1) - mean**2
    np.testing.assert_allclose(mean, p, atol=1e-9)

    n = 40_000
    drawn = rise.generate_masks(0, n, (6, 7, 3), (2, 3), p)
    assert drawn.shape == (n, 6, 7) and drawn.dtype == np.float32
    assert drawn.min() >= 0 and drawn.max() <= 1
    np.testing.assert_array_less(np.abs(drawn.mean(axis=0) - p), 5 * np.sqrt(variance / n))
    np.testing.assert_allclose(drawn.var(axis=0), variance, rtol=0.05)


def test_every_mask_has_shifts_of_its_own_and_all_shifts_occur():
    _, shifts = rise.random_grids(0, 2000, (12, 20, 1), (3, 4))
    assert sorted(set(shifts[:, 0])) == list(range(4)) and sorted(set(shifts[:, 1])) == list(
        range(5)
    )
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.1
    assert len({tuple(shift) for shift in shifts[:32]}) > 10


def test_masks_of_series_and_tabular_rows():
    series = rise.generate_masks(0, 500, (30, 4), 5)
    assert series.shape == (500, 30, 4)
    assert len(np.unique(series)) > 2  # smooth in time
    correlation = np.corrcoef(series[:, 10], rowvar=False)  # features apart
    assert np.abs(correlation - np.eye(4)).max() < 0.2
    rows = rise.generate_masks(0, 500, (6,), 7, 0.3)
    assert rows.shape == (500, 6) and set(np.unique(rows)) == {0, 1}
    assert abs(rows.mean() - 0.3) < 0.04


def test_a_mask_depends_on_seed_and_number_alone():
    whole = rise.generate_masks(0, 50, (20, 20, 3), 4, seed=9)
    np.testing.assert_array_equal(whole[13:31], rise.generate_masks(13, 31, (20, 20, 3), 4, seed=9))
    assert not np.array_equal(whole, rise.generate_masks(0, 50, (20, 20, 3), 4, seed=10))


# ----------------------------------------------------------------------------- perturbed inputs


@pytest.mark.parametrize("value", [0, 0.25, [0.1, 0.5, 0.9], PICTURE[::-1]])
def test_masked_pixels_take_the_mask_value(value):
    masks = rise.generate_masks(0, 8, PICTURE.shape, 3)
    perturbed = rise.perturb(PICTURE, masks, value)
    kept = masks[..., np.newaxis]
    assert perturbed.dtype == np.float32
    np.testing.assert_allclose(
        perturbed, PICTURE * kept + np.asarray(value) * (1 - kept), atol=1e-6
    )


def test_perturbed_inputs_stay_in_the_value_range():
    masks = rise.generate_masks(0, 64, (31, 31, 3), 5)
    for picture, value in [(np.full((31, 31, 3), 255.0), 0.1), (np.full((31, 31, 3), 0.3), 255.0)]:
        perturbed = rise.perturb(picture, masks, value)
        assert perturbed.min() >= np.float32(min(picture.min(), value))
        assert perturbed.max() <= np.float32(max(picture.max(), value))


def test_the_model_sees_float32_batches_of_masked_pictures():
    model = Recorder(mean_and_max)
    Rise(
        model, batch_size=4, nb_samples=10, grid_size=3, seed=2, estimator="average"
    ).explain_classes(PICTURE, [0])
    assert [len(batch) for batch in model.seen] == [4, 4, 2]
    assert {batch.dtype for batch in model.seen} == {np.dtype(np.float32)}
    expected = rise.perturb(PICTURE, rise.generate_masks(0, 10, PICTURE.shape, 3, seed=2))
    np.testing.assert_array_equal(np.concatenate(model.seen), expected)


# ----------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize("p", [0.3, 0.5])
@pytest.mark.parametrize("value", [0.0, [0.2, 0.9]])
def test_map_is_the_exact_expectation_over_all_grids_and_shifts(p, value):
    picture = np.random.default_rng(1).random((4, 6, 2)).astype(np.float32)
    masks, weights = every_mask_and_weight((4, 6), (2, 2), p)
    kept = masks[..., np.newaxis]
    scores = mean_and_max(picture * kept + np.asarray(value) * (1 - kept)).T
    local = scores[:, :, np.newaxis, np.newaxis] * masks / p
    exact = np.einsum("n,knhw->khw", weights, local)
    deviation = np.sqrt(np.einsum("n,knhw->khw", weights, local**2) - exact**2)

    n = 30_000
    found = Rise(
        mean_and_max,
        1000,
        nb_samples=n,
        grid_size=2,
        preservation_probability=p,
        mask_value=value,
        estimator="average",
    ).explain_classes(picture, [0, 1])
    assert np.abs((found - exact) / deviation * np.sqrt(n)).max() < 4.5


def test_map_of_a_linear_model_is_its_weights_times_the_covariance_of_masks():
    rng, p, n = np.random.default_rng(2), 0.4, 30_000
    picture, weights, bias = rng.random((8, 8, 3)), rng.normal(size=(8, 8, 3)), 0.7
    # M = R G C^T: its covariance over grids and shifts is p (1 - p) times that of rows and columns.
    axis = np.array([resize(unit, (3 * 4,), order=1, anti_aliasing=False) for unit in np.eye(2)]).T
    overlap = np.mean([axis[d : d + 8] @ axis[d : d + 8].T for d in range(4)], axis=0)
    slopes = (picture * weights).sum(axis=2)
    exact = bias + p * slopes.sum() + (1 - p) * overlap @ slopes @ overlap

    rise_ = Rise(
        lambda x: np.tensordot(x, weights, 3) + bias,
        500,
        nb_samples=n,
        grid_size=2,
        preservation_probability=p,
        estimator="average",
    )
    found = rise_.explain_classes(picture, [0])[0]
    assert np.abs(found - exact).max() < 0.03 * np.ptp(exact) + 0.02
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.999


def test_the_four_steps_by_hand_give_the_map():
    masks = rise.generate_masks(0, 60, PICTURE.shape, 3, 0.7, seed=4)
    scores = mean_and_max(rise.perturb(PICTURE, masks))[:, 1]
    local = rise.local_explanations(scores, masks)
    expected = rise.average(local.sum(axis=0), 60, 0.7)
    np.testing.assert_allclose(expected, local.mean(axis=0) / 0.7, rtol=1e-6)
    found = Rise(
        mean_and_max,
        7,
        nb_samples=60,
        grid_size=3,
        preservation_probability=0.7,
        seed=4,
        estimator="average",
    )
    np.testing.assert_allclose(found.explain_classes(PICTURE, [1])[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "shape, grid",
    [((2, 8, 6, 3), 3), ((2, 8, 6, 1), (4, 2)), ((2, 12, 5), 4), ((2, 12, 5), (4,)), ((2, 9), 7)],
)
def test_shapes(shape, grid):
    inputs = np.random.default_rng(0).random(shape)
    maps = Rise(mean_and_max, nb_samples=40, grid_size=grid).explain(inputs, np.eye(2))
    assert maps.shape == ((*shape[:-1], 1) if len(shape) == 4 else shape)
    assert maps.dtype == np.float32
    for x, index, found in zip(inputs, (0, 1), maps):
        alone = Rise(mean_and_max, nb_samples=40, grid_size=grid).explain_classes(x, [index])[0]
        np.testing.assert_allclose(found.reshape(alone.shape), alone, rtol=1e-6)


def test_several_classes_share_the_model_calls():
    model = Recorder(mean_and_max)
    both = Rise(model, nb_samples=50, grid_size=3).explain_classes(PICTURE, [1, 0])
    assert both.shape == (2, 6, 9)
    assert sum(map(len, model.seen)) == 50
    for found, target in zip(both, ([[0, 1]], [[1, 0]])):
        alone = Rise(mean_and_max, nb_samples=50, grid_size=3).explain(PICTURE[None], target)[
            0, ..., 0
        ]
        np.testing.assert_allclose(found, alone, rtol=1e-6)


def test_map_does_not_depend_on_batch_size():
    maps = [
        Rise(mean_and_max, size, nb_samples=100, grid_size=3).explain_classes(PICTURE, [0, 1])
        for size in (1, 7, 100, 1000)
    ]
    for other in maps[1:]:
        np.testing.assert_allclose(other, maps[0], rtol=1e-5)


def test_same_seed_same_map_other_seed_another():
    first, again, other = (
        Rise(mean_and_max, nb_samples=64, grid_size=3, seed=seed).explain_classes(PICTURE, [0])
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_inputs_are_left_alone():
    inputs = np.arange(108, dtype=np.uint8).reshape(1, 6, 6, 3)
    before = inputs.copy()
    Rise(mean_and_max, nb_samples=8, grid_size=3, mask_value=7).explain(inputs, [[1, 0]])
    np.testing.assert_array_equal(inputs, before)


# ------------------------------------------------------------------------- models and operators


class Tensor:
    """What PyTorch returns: NumPy can read it only once detached and on the CPU."""

    def __init__(self, values, tracked=True):
        self.values, self.tracked = values, tracked

    def detach(self):
        return Tensor(self.values, tracked=False)

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        if self.tracked:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return self.values


def test_outputs_of_other_libraries():
    expected = Rise(mean_and_max, nb_samples=30, grid_size=3).explain_classes(PICTURE, [1])
    torch_like = Rise(lambda x: Tensor(mean_and_max(x)), nb_samples=30, grid_size=3)
    single_output = Rise(lambda x: list(mean_and_max(x)[:, 1]), nb_samples=30, grid_size=3)
    np.testing.assert_array_equal(torch_like.explain_classes(PICTURE, [1]), expected)
    np.testing.assert_array_equal(single_output.explain_classes(PICTURE, [0]), expected)


def test_scikit_learn_classifier():
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, labels = load_iris(return_X_y=True)
    classifier = LogisticRegression(max_iter=1000).fit(features, labels)
    rise_ = Rise(classifier.predict_proba, nb_samples=500, mask_value=features.mean(axis=0))
    maps = rise_.explain(features[[0, 149]], np.eye(3)[[0, 2]])
    assert maps.shape == (2, 4)
    assert set(maps.argmax(axis=1)) <= {2, 3}  # petal length and width tell these flowers apart


def test_operator_scores_the_model():
    def margin(model, inputs, targets):
        outputs = model(inputs)
        return (outputs * (2 * targets - 1)).sum(axis=1)

    average = {
        "nb_samples": 40,
        "grid_size": 3,
        "estimator": "average",
    }  # whose maps are linear in the scores
    found = Rise(mean_and_max, 8, margin, **average).explain(PICTURE[None], [[0, 1]])[0, ..., 0]
    first, second = Rise(mean_and_max, 8, **average).explain_classes(PICTURE, [0, 1])
    np.testing.assert_allclose(found, second - first, atol=1e-5)


def test_progress_wraps_the_batches():
    seen = []

    def progress(batches):
        seen.append(len(batches))
        for batch in batches:
            seen.append("batch")
            yield batch

    Rise(mean_and_max, 4, nb_samples=10, grid_size=3, progress=progress).explain_classes(
        PICTURE, [0]
    )
    assert seen == [3, "batch", "batch", "batch"]


# ----------------------------------------------------------------------------------- estimators

ESTIMATORS = "average", "regression"
P_AND_ESTIMATOR = [(p, estimator) for p in (0.3, 0.5) for estimator in ESTIMATORS]


def detector(pictures):
    """Two classes, each of which needs several pixels at once, as a network does."""
    left, right = (
        pictures[:, 3:6, 2:4].mean(axis=(1, 2, 3)),
        pictures[:, 6:9, 6:8].mean(axis=(1, 2, 3)),
    )
    logits = np.stack([8 * left * right - 2, 4 * left - 3 * right], axis=1)
    return np.exp(logits) / (1 + np.exp(logits))


GREY = np.random.default_rng(8).random((10, 9, 1)).astype(np.float32) * 0.5 + 0.5


def exact_maps(model, picture, grid, p):
    masks, weights = every_mask_and_weight(picture.shape[:2], grid, p)
    return np.einsum("n,nk,nhw->khw", weights, model(picture * masks[..., np.newaxis]), masks) / p


@pytest.mark.parametrize("p", [0.3, 0.5, 0.8])
def test_antithetic_masks_are_fair_and_opposed(p):
    grids, shifts = rise.random_grids(0, 8000, (20, 20, 3), 4, p, antithetic=True)
    assert abs(grids.mean() - p) < 0.01
    np.testing.assert_array_equal(shifts[::2], shifts[1::2])
    both = (grids[::2] & grids[1::2]).mean()
    assert abs(both - max(0, 2 * p - 1)) < 0.01  # as rarely as p allows
    np.testing.assert_array_equal(
        rise.random_grids(13, 30, (20, 20, 3), 4, p, antithetic=True)[0], grids[13:30]
    )
    if p == 0.5:
        masks = rise.generate_masks(0, 6, (20, 20, 3), 4, antithetic=True)
        np.testing.assert_allclose(masks[::2] + masks[1::2], 1, atol=1e-6)


@pytest.mark.parametrize("p, estimator", P_AND_ESTIMATOR)
def test_estimators_converge_to_the_exact_map(p, estimator):
    exact = exact_maps(detector, GREY, (3, 2), p)
    found = Rise(
        detector,
        1000,
        nb_samples=20_000,
        grid_size=(3, 2),
        preservation_probability=p,
        estimator=estimator,
    )
    for saliency, truth in zip(found.explain_classes(GREY, [0, 1]), exact):
        assert np.corrcoef(saliency.ravel(), truth.ravel())[0, 1] > 0.995
        assert np.abs(saliency - truth).max() < 0.1 * np.ptp(truth)


@pytest.mark.parametrize("p, estimator", P_AND_ESTIMATOR)
def test_intervals_of_95_percent_cover_the_exact_map(p, estimator):
    exact = exact_maps(detector, GREY, (3, 3), p)
    covered = []
    for seed in range(60):
        found = Rise(
            detector,
            400,
            nb_samples=400,
            grid_size=3,
            preservation_probability=p,
            seed=seed,
            estimator=estimator,
        ).estimate(GREY, [0, 1])
        covered.append(np.abs(found.saliency - exact) < 1.96 * found.standard_error)
    assert 0.90 < np.mean(covered) < 0.99


@pytest.mark.parametrize("p", [0.3, 0.5])
def test_regression_needs_a_third_of_the_calls(p):
    exact = exact_maps(detector, GREY, (3, 3), p)

    def correlation(estimator, nb_samples):
        maps = [
            Rise(
                detector,
                1000,
                nb_samples=nb_samples,
                grid_size=3,
                preservation_probability=p,
                seed=seed,
                estimator=estimator,
            ).explain_classes(GREY, [0, 1])
            for seed in range(10)
        ]
        return np.mean(
            [np.corrcoef(m.ravel(), e.ravel())[0, 1] for ms in maps for m, e in zip(ms, exact)]
        )

    assert correlation("regression", 200) > correlation("average", 600)


def test_regression_is_exact_for_a_linear_model_from_few_masks():
    weights = np.random.default_rng(3).normal(size=(8, 8, 1))
    model = lambda x: np.tensordot(x, weights, 3)[:, np.newaxis]  # noqa: E731
    exact = exact_maps(model, np.ones((8, 8, 1)), (3, 3), 0.5)
    found = Rise(model, nb_samples=300, grid_size=3, estimator="regression").explain_classes(
        np.ones((8, 8, 1)), [0]
    )
    assert np.abs(found - exact).max() < 0.02 * np.ptp(exact)


@pytest.mark.parametrize("p, estimator", P_AND_ESTIMATOR)
def test_map_of_tabular_rows_is_the_conditional_mean(p, estimator):
    row = np.array([1.0, 2.0, -1.0])
    kept = np.array(list(product((0, 1), repeat=3)))
    weights = p ** kept.sum(axis=1) * (1 - p) ** (3 - kept.sum(axis=1))
    score = lambda x: x[:, 0] * x[:, 1] + x[:, 2]  # noqa: E731
    exact = [np.average(score(row * kept)[k == 1], weights=weights[k == 1]) for k in kept.T]
    found = Rise(score, 1000, nb_samples=40_000, preservation_probability=p, estimator=estimator)
    np.testing.assert_allclose(found.explain(row[None], [[1]])[0], exact, atol=0.05)


def test_estimators_agree_on_series_and_mask_values():
    series = np.random.default_rng(4).random((24, 3)) + 1
    for value in (0, [0.5, 3, 0], series[::-1] - 1):
        average, regression = (
            Rise(
                lambda x: x[:, 4:9, 1].mean(axis=1) * x[:, 12:20, 2].mean(axis=1) - 1,
                500,
                nb_samples=20_000,
                grid_size=4,
                mask_value=value,
                estimator=estimator,
            ).explain_classes(series, [0])[0]
            for estimator in ESTIMATORS
        )
        assert average.shape == regression.shape == (24, 3)
        assert np.corrcoef(average.ravel(), regression.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_more_features_than_masks(estimator):
    row = np.ones(300)
    found = Rise(lambda x: x[:, 7], nb_samples=100, estimator=estimator).explain_classes(row, [0])[
        0
    ]
    assert found.argmax() == 7


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("nb_samples", [2, 3, 40])
def test_a_model_that_ignores_its_input_has_a_flat_map(estimator, nb_samples):
    found = Rise(
        lambda x: np.full(len(x), 0.25), nb_samples=nb_samples, grid_size=3, estimator=estimator
    )
    explanation = found.estimate(PICTURE, [0])
    assert np.isfinite(explanation.saliency).all() and np.isfinite(explanation.standard_error).all()
    if estimator == "regression":
        np.testing.assert_allclose(explanation.saliency, 0.25, rtol=1e-5)
        np.testing.assert_allclose(explanation.standard_error, 0, atol=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_running_on_costs_only_the_new_calls(estimator):
    model = Recorder(detector)
    settings = dict(batch_size=32, grid_size=3, estimator=estimator)
    short = Rise(model, nb_samples=75, **settings).estimate(GREY, [0])
    assert short.calls == 75 == sum(map(len, model.seen))
    model.seen.clear()
    resumed = Rise(model, nb_samples=200, **settings).estimate(GREY, [0, 1], short.outputs)
    assert resumed.calls == 200 and sum(map(len, model.seen)) == 125
    whole = Rise(detector, nb_samples=200, **settings).estimate(GREY, [0, 1])
    np.testing.assert_allclose(resumed.saliency, whole.saliency, rtol=1e-4)
    other_class = Rise(forbidden, nb_samples=200, **settings).estimate(GREY, [1], resumed.outputs)
    np.testing.assert_allclose(other_class.saliency[0], whole.saliency[1], rtol=1e-4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_stopping_at_a_tolerance(estimator):
    model = Recorder(detector)
    settings = dict(grid_size=3, estimator=estimator)
    found = Rise(model, nb_samples=20_000, tolerance=0.08, **settings).estimate(GREY, [0, 1])
    assert 200 <= found.calls < 20_000
    assert found.calls == sum(map(len, model.seen))
    assert 1.64 * found.relative_error.max() < 0.08
    exact = exact_maps(detector, GREY, (3, 3), 0.5)
    for saliency, truth in zip(found.saliency, exact):
        assert np.sqrt(np.mean((saliency - truth) ** 2)) < 0.15 * np.ptp(truth)
    assert (
        Rise(detector, nb_samples=20_000, tolerance=10, **settings).estimate(GREY, [0]).calls < 250
    )
    assert (
        Rise(detector, nb_samples=500, tolerance=1e-6, **settings).estimate(GREY, [0]).calls == 500
    )


@pytest.mark.parametrize("estimator, tolerance", [("regression", 0.1), ("average", 0.2)])
def test_the_error_is_below_the_tolerance_in_nine_of_ten_cases(estimator, tolerance):
    kept = []
    for index, truth in enumerate(exact_maps(detector, GREY, (3, 3), 0.5)):
        for seed in range(10):
            found = Rise(
                detector,
                nb_samples=20_000,
                grid_size=3,
                seed=seed,
                tolerance=tolerance,
                estimator=estimator,
            ).estimate(GREY, [index])
            assert found.calls < 20_000
            kept.append(
                np.sqrt(np.mean((found.saliency[0] - truth) ** 2)) < tolerance * np.ptp(truth)
            )
    assert np.mean(kept) >= 0.9


def test_fewer_calls_are_needed_for_a_tolerance_by_regression():
    average, regression = (
        Rise(detector, nb_samples=20_000, grid_size=3, tolerance=0.05, estimator=estimator)
        .estimate(GREY, [0])
        .calls
        for estimator in ESTIMATORS
    )
    assert regression < average / 2


def test_a_map_by_average_does_not_depend_on_what_else_is_asked():
    settings = dict(nb_samples=100, grid_size=4, estimator="average")
    picture = np.random.default_rng(6).random(
        (150, 200, 3)
    )  # as large as several blocks of the product
    both = Rise(mean_and_max, **settings).estimate(picture, [0, 1])
    for index in (0, 1):
        masks = rise.generate_masks(0, 100, picture.shape, 4)
        expected = (
            rise.local_explanations(both.outputs[:, index], masks).mean(axis=0, dtype=np.float64)
            / 0.5
        )
        np.testing.assert_allclose(both.saliency[index], expected, rtol=1e-5)
        np.testing.assert_allclose(
            Rise(mean_and_max, **settings).explain_classes(picture, [index])[0],
            both.saliency[index],
            rtol=1e-5,
        )


@pytest.mark.parametrize(
    "shape, grid, p",
    [((90, 70, 1), 4, 0.5), ((90, 70, 1), (2, 9), 0.3), ((80, 3), 5, 0.5), ((12,), 1, 0.4)],
)
def test_standard_error_of_the_average_is_that_of_all_local_explanations(shape, grid, p):
    def model(inputs):
        rows = inputs.reshape(len(inputs), -1)
        third = rows.shape[1] // 3
        return np.stack(
            [rows[:, :third].mean(axis=1) * rows[:, third:].mean(axis=1), rows.max(axis=1)], axis=1
        )

    n, x = 500, np.random.default_rng(3).random(shape)
    settings = dict(nb_samples=n, grid_size=grid, preservation_probability=p, estimator="average")
    found = Rise(model, **settings).estimate(x, [0, 1])
    masks = rise.generate_masks(0, n, shape, grid, p)
    for score, error in zip(found.outputs.T, found.standard_error):
        local = rise.local_explanations(score, masks).astype(np.float64)
        ratio = error / (local.std(axis=0, ddof=1) / np.sqrt(n) / p)
        assert np.sqrt(np.mean((ratio - 1) ** 2)) < 0.01
        assert np.abs(ratio - 1).max() < 0.05


@pytest.mark.parametrize("p", [0.3, 0.5])
def test_standard_error_of_the_average_is_the_spread_over_seeds(p):
    settings = dict(
        batch_size=400, nb_samples=200, grid_size=3, preservation_probability=p, estimator="average"
    )
    found = [Rise(detector, seed=seed, **settings).estimate(GREY, [0, 1]) for seed in range(400)]
    spread = np.std([explanation.saliency for explanation in found], axis=0)
    told = np.mean([explanation.standard_error for explanation in found], axis=0)
    np.testing.assert_allclose(
        told, spread, rtol=0.15
    )  # four standard deviations of what 400 seeds tell


class Correlation:
    """An estimator of one's own: how the scores correlate with each pixel of the masks."""

    antithetic = True

    def __init__(self, shape, grid_size, p):
        self.given, self.masks, self.scores = (shape, grid_size, p), [], []

    def seen(self, masks):
        return masks[:, ::2]

    def add(self, masks, scores):
        self.masks.append(masks)
        self.scores.append(scores)

    def maps(self):
        masks, scores = np.concatenate(self.masks), np.concatenate(self.scores)
        assert self.given == (GREY.shape, 3, 0.5) and scores.dtype == np.float64
        z = [(values - values.mean(axis=0)) / values.std(axis=0) for values in (masks, scores)]
        half = np.einsum("nhw,nk->khw", *z) / len(masks)
        saliency = np.repeat(half, 2, axis=1)[:, : GREY.shape[0]]
        return saliency, (1 - saliency**2) / np.sqrt(len(masks))


def test_an_estimator_of_ones_own():
    found = Rise(detector, 32, nb_samples=500, grid_size=3, estimator=Correlation).estimate(
        GREY, [1, 0]
    )
    masks = rise.generate_masks(0, 500, GREY.shape, 3, antithetic=True)
    assert found.saliency.dtype == found.standard_error.dtype == np.float32
    assert found.saliency.shape == found.standard_error.shape == (2, 10, 9)
    expected = np.corrcoef(masks[:, 4, 5], detector(rise.perturb(GREY, masks))[:, 0])[0, 1]
    np.testing.assert_allclose(found.saliency[1, 4, 5], expected, rtol=1e-4)
    assert (
        Rise(detector, nb_samples=20_000, grid_size=3, estimator=Correlation, tolerance=0.05)
        .estimate(GREY, [0])
        .calls
        < 20_000
    )
    with pytest.raises(ValueError, match="nb_samples must be an integer of at least 2, got 1"):
        Rise(forbidden, nb_samples=1, estimator=Correlation)


def test_the_built_in_average_as_a_class_of_ones_own():
    class Same(rise._Average):
        pass

    settings = dict(nb_samples=60, grid_size=3)
    ours, theirs = (
        Rise(detector, estimator=estimator, **settings).estimate(GREY, [0, 1])
        for estimator in (Same, "average")
    )
    np.testing.assert_array_equal(ours.saliency, theirs.saliency)
    np.testing.assert_array_equal(ours.standard_error, theirs.standard_error)


@pytest.mark.parametrize(
    "estimator",
    [
        "ridge",
        None,
        3,
        ["average"],
        int,
        np.mean,
        lambda *_: None,
        {"average": 1},
        Correlation(GREY.shape, 3, 0.5),
    ],
)
def test_what_is_no_estimator_costs_no_model_call(estimator):
    with pytest.raises(
        ValueError,
        match='^estimator must be "average", "regression" or a class with antithetic, seen, '
        "add and maps, got ",
    ):
        Rise(forbidden, estimator=estimator)


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "argument, value, shown",
    [("model", "vgg", "'vgg'"), ("operator", 3, "3"), ("progress", True, "True")],
)
def test_arguments_that_must_be_callable(argument, value, shown):
    with pytest.raises(TypeError, match=f"{argument} must be callable, got {shown}"):
        Rise(**{"model": forbidden, argument: value})


@pytest.mark.parametrize(
    "argument, value",
    [
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("batch_size", True),
        ("nb_samples", 0),
        ("nb_samples", "many"),
        ("grid_size", 0),
        ("grid_size", 3.5),
        ("grid_size", (7, 0)),
        ("grid_size", (2, 2, 2)),
        ("grid_size", None),
        ("preservation_probability", 0),
        ("preservation_probability", 1),
        ("preservation_probability", float("nan")),
        ("preservation_probability", "half"),
        ("mask_value", np.inf),
        ("mask_value", "black"),
        ("mask_value", None),
        ("seed", -1),
        ("seed", None),
        ("seed", 0.5),
        ("estimator", "ridge"),
        ("estimator", None),
        ("tolerance", 0),
        ("tolerance", "low"),
        ("tolerance", float("nan")),
    ],
)
def test_bad_settings(argument, value):
    with pytest.raises(ValueError, match=f"^{argument} must be .*got"):
        Rise(forbidden, **{argument: value})


@pytest.mark.parametrize(
    "settings, inputs, targets, message",
    [
        (
            {},
            np.ones((8, 8, 3)),
            np.eye(3),
            r"targets must be one-hot .*\(8, n_classes\).*\(3, 3\)",
        ),
        ({}, np.ones(5), [[1]], r"inputs must be pictures .*\(5,\)"),
        ({}, np.ones((1, 0, 8, 3)), [[1]], r"inputs must be pictures .*\(1, 0, 8, 3\)"),
        ({}, np.full((1, 8, 8, 3), np.nan), [[1]], "inputs must be finite numbers, got 192 values"),
        ({}, np.array([["a", "b"]]), [[1]], "inputs must be finite numbers"),
        ({}, np.ones((1, 8, 8, 3)), [1], r"targets must be one-hot .*\(1,\)"),
        ({}, np.ones((1, 8, 8, 3)), [[np.nan]], "targets must be finite"),
        ({"grid_size": 9}, np.ones((1, 8, 8, 3)), [[1]], "grid_size must .*8 x 8 .*got 9"),
        ({"grid_size": (4, 4)}, np.ones((1, 8, 3)), [[1]], r"grid_size must .*got \(4, 4\)"),
        ({"grid_size": (4,)}, np.ones((1, 8, 8, 3)), [[1]], r"grid_size must .*got \(4,\)"),
        (
            {"mask_value": [1, 2]},
            np.ones((1, 8, 8, 3)),
            [[1]],
            r"mask_value must .*got shape \(2,\)",
        ),
        (
            {"mask_value": np.ones((8, 8))},
            np.ones((1, 8, 8, 3)),
            [[1]],
            r"mask_value must .*\(8, 8\)",
        ),
    ],
)
def test_bad_inputs_cost_no_model_call(settings, inputs, targets, message):
    with pytest.raises(ValueError, match=message):
        Rise(forbidden, **settings).explain(inputs, targets)


@pytest.mark.parametrize(
    "settings, x, classes, message",
    [
        ({}, np.ones((1, 8, 8, 3)), [0], r"x must be a picture .*\(1, 8, 8, 3\)"),
        ({}, np.ones((8, 8, 3)), [], r"classes must be a sequence .*\[\]"),
        ({}, np.ones((8, 8, 3)), [-1], "classes must be .*-1"),
        ({}, np.ones((8, 8, 3)), 3, "classes must be a sequence .*3"),
        ({"operator": max}, np.ones((8, 8, 3)), [0], "takes no operator"),
    ],
)
def test_bad_classes_cost_no_model_call(settings, x, classes, message):
    with pytest.raises(ValueError, match=message):
        Rise(forbidden, **settings).explain_classes(x, classes)


@pytest.mark.parametrize(
    "model, message",
    [
        (lambda x: np.ones((3, 2)), r"model must return .*\(16, n_classes\).*\(3, 2\)"),
        (lambda x: np.ones((len(x), 2, 2)), r"model must return"),
        (
            lambda x: np.ones((len(x), 5)),
            "targets must have the model's 5 outputs as columns, got 2",
        ),
        (lambda x: np.full((len(x), 2), np.nan), "model's scores must be finite"),
    ],
)
def test_bad_answers_of_the_model(model, message):
    with pytest.raises(ValueError, match=message):
        Rise(model, batch_size=16, grid_size=3).explain(PICTURE[None], [[0, 1]])


@pytest.mark.parametrize(
    "outputs, message",
    [
        (
            np.ones(10),
            r"outputs must be of shape \(n, n_classes\) with n_classes above 1, got shape \(10,\)",
        ),
        (np.ones((10, 1)), r"outputs must be .*\(10, 1\)"),
        (np.full((10, 2), np.nan), "outputs must be finite"),
    ],
)
def test_bad_earlier_outputs_cost_no_model_call(outputs, message):
    with pytest.raises(ValueError, match=message):
        Rise(forbidden, grid_size=3).estimate(PICTURE, [1], outputs)


def test_regression_needs_a_pair():
    with pytest.raises(ValueError, match="nb_samples must be an integer of at least 2, got 1"):
        Rise(forbidden, nb_samples=1, estimator="regression")


def test_bad_operator_and_unknown_class():
    with pytest.raises(ValueError, match=r"operator must return one score .*16 inputs.*\(16, 2\)"):
        Rise(mean_and_max, 16, lambda m, x, t: m(x), grid_size=3).explain(PICTURE[None], [[0, 1]])
    with pytest.raises(ValueError, match="classes must be below the model's 2 outputs, got 2"):
        Rise(mean_and_max, grid_size=3).explain_classes(PICTURE, [0, 2])


def test_a_model_that_fails_is_not_waited_for():
    def fails(inputs):
        raise OSError("no such model")

    with pytest.raises(OSError, match="no such model"):
        Rise(fails, nb_samples=64, grid_size=3).explain_classes(PICTURE, [0])


def test_repr_shows_the_parameters():
    assert repr(Rise(forbidden)) == (
        "Rise(nb_samples=4000, grid_size=7, preservation_probability=0.5, mask_value=0.0, seed=0, "
        "estimator='regression', tolerance=None, batch_size=32, operator=None)"
    )
    shown = repr(
        Rise(
            forbidden,
            8,
            mean_and_max,
            10,
            (3, 4),
            0.2,
            np.ones((6, 9, 3)),
            5,
            None,
            Correlation,
            0.1,
        )
    )
    assert shown == (
        "Rise(nb_samples=10, grid_size=(3, 4), preservation_probability=0.2, "
        "mask_value=<array (6, 9, 3)>, seed=5, estimator=Correlation, tolerance=0.1, batch_size=8, operator=mean_and_max)"
    )
    assert "mask_value=[0.5, 3.0, 0.0]" in repr(Rise(forbidden, mask_value=[0.5, 3, 0]))


def test_the_examples_in_the_docstrings_run():
    outcome = doctest.testmod(rise)
    assert outcome.attempted > 5 and not outcome.failed


# --------------------------------------------------------------------------------------- memory

PEAK = """
import resource
import numpy as np
from rise import Rise
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
picture = np.ones((299, 299, 3), np.float32)
outputs = np.random.default_rng(0).random((32, 1000), np.float32)
before = peak()
Rise(lambda x: outputs[:len(x)], nb_samples=8000, estimator="{estimator}").estimate(picture, [0, 1, 2])
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read with the resource module")
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_peak_memory_of_8000_masks(estimator):
    done = subprocess.run(
        [sys.executable, "-c", PEAK.format(estimator=estimator)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(rise.__file__).parent,
    )
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 150e6
