"""Nested occlusion against brute force, closed forms and invariances."""

import numpy as np
import pytest

import rise
from counting import Recorder, forbidden
from rise import nested_occlusion

PICTURE = np.random.default_rng(3).random((40, 56, 3)).astype(np.float32)
PATCH = np.s_[:, 10:20, 30:44]


def patch(pictures):
    """How bright a rectangle is."""
    return pictures[PATCH].mean(axis=(1, 2, 3))


def patch_and_corner(pictures):
    """Two classes of a model that is not linear."""
    return np.stack(
        [np.tanh(3 * patch(pictures)), pictures[:, -12:, :12].mean(axis=(1, 2, 3)) ** 2], axis=1
    )


def seen_by(model):
    return np.concatenate(model.seen)


def hidden(pictures):
    """Where pictures that were given to a model show nothing, when nothing is black."""
    return (pictures == 0).all(axis=-1)


@pytest.mark.parametrize("seed", range(3))
def test_of_the_whole_picture_it_is_the_mean_drop_over_the_windows_that_cover_a_pixel(
    monkeypatch, seed
):
    monkeypatch.setattr(rise, "_SHOWN", (1.0,))
    model = Recorder(patch_and_corner)
    found = nested_occlusion(model, PICTURE, [0, 1], 300, mask_value=0, seed=seed)
    outputs, where = patch_and_corner(seen_by(model)), hidden(seen_by(model))
    np.testing.assert_array_equal(outputs.astype(np.float32), found.outputs.astype(np.float32))
    assert not where[0].any()
    expected, covered, sizes = 0, True, where.sum(axis=(1, 2))
    for size in set(sizes[1:]):
        of_size = sizes == size
        covering = where[of_size].sum(axis=0)
        covered = covered & (covering > 0)
        expected = expected + np.einsum(
            "nc,nhw->chw", outputs[0] - outputs[of_size], where[of_size]
        ) / np.maximum(covering, 1)
    assert covered.mean() > 0.8  # beyond the outermost windows the map goes on as it is there
    np.testing.assert_allclose(found.saliency[:, covered], expected[:, covered], atol=1e-6)


def test_windows_are_rectangles_and_the_parts_lie_in_each_other():
    model = Recorder(patch)
    found = nested_occlusion(model, PICTURE, [0], 250, mask_value=0)
    where = hidden(seen_by(model))
    shown = 1 - where.mean(axis=(1, 2))
    parts = [
        next(index for index, share in enumerate(shown) if abs(share - part) < 0.001)
        for part in (1, 0.75, 0.5, 0.35, 0.2)
    ]
    assert parts[0] == 0 and parts == sorted(parts)
    assert all((where[larger] <= where[smaller]).all() for larger, smaller in zip(parts, parts[1:]))
    for first, last in zip(parts, [*parts[1:], found.calls]):
        for window in where[first + 1 : last] & ~where[first]:
            rows, columns = np.nonzero(window.any(axis=1))[0], np.nonzero(window.any(axis=0))[0]
            box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert (window | where[first])[box].all()


def test_it_finds_what_the_model_looks_at():
    for seed in range(5):
        saliency = nested_occlusion(patch, PICTURE, [0], 250, mask_value=0, seed=seed).saliency[0]
        region = np.zeros(saliency.shape, bool)
        region[PATCH[1:]] = True
        top = saliency >= np.sort(saliency, axis=None)[-region.sum()]
        assert (top & region).sum() / (top | region).sum() > 0.5


def test_parts_tell_of_a_model_that_no_window_of_the_whole_picture_disturbs():
    def sure(pictures):
        return np.minimum(2.5 * (pictures[:, 4:36, 10:26].max(axis=-1) > 0).mean(axis=(1, 2)), 1)

    saliency = nested_occlusion(sure, PICTURE, [0], 250, mask_value=0).saliency[0]
    assert saliency[4:36, 10:26].mean() > 5 * max(saliency[:, 40:].mean(), 0.01)


def test_the_map_is_linear_in_the_score():
    plain = nested_occlusion(patch, PICTURE, [0])
    other = nested_occlusion(lambda pictures: 3 * patch(pictures) - 7, PICTURE, [0])
    np.testing.assert_allclose(other.saliency, 3 * plain.saliency, atol=1e-5)
    np.testing.assert_allclose(other.standard_error, 3 * plain.standard_error, atol=1e-5)


def test_mirrored_pictures_have_mirrored_maps_on_average():
    def mean_map(picture, model):
        return np.mean(
            [
                nested_occlusion(model, picture, [0], 250, seed=seed).saliency[0]
                for seed in range(20)
            ],
            axis=0,
        )

    plain = mean_map(PICTURE, patch)
    mirrored = mean_map(PICTURE[:, ::-1], lambda pictures: patch(pictures[:, :, ::-1]))[:, ::-1]
    assert np.abs(plain - mirrored).mean() < 0.05 * np.ptp(plain)


@pytest.mark.parametrize("shape", [(224, 224, 3), (227, 227, 3), (60, 180, 1), (180, 60, 1)])
@pytest.mark.parametrize("nb_samples", [3, 20, 99, 100, 250, 1000])
def test_the_budget_is_never_exceeded_and_nearly_used(shape, nb_samples):
    found = nested_occlusion(
        lambda pictures: pictures[:, : shape[0] // 2].mean(axis=(1, 2, 3)),
        np.ones(shape),
        [0],
        nb_samples,
        mask_value=0,
    )
    assert (0.9 if nb_samples >= 100 else 0.8) * nb_samples <= found.calls <= nb_samples
    assert (
        np.isfinite(found.saliency).all()
        and found.saliency.shape == (1, *shape[:2]) == found.standard_error.shape
    )


def test_a_picture_of_few_pixels_has_few_windows():
    found = nested_occlusion(
        lambda pictures: pictures.mean(axis=(1, 2, 3)), np.ones((3, 3, 1)), [0], 250, mask_value=0
    )
    assert found.calls < 100 and np.isfinite(found.saliency).all()


def test_hidden_is_the_mean_colour_unless_told_otherwise():
    model = Recorder(patch)
    nested_occlusion(model, PICTURE, [0], 20)
    changed = np.abs(seen_by(model) - PICTURE) > 1e-4
    values = seen_by(model)[changed.any(axis=-1)]
    np.testing.assert_allclose(
        values, np.broadcast_to(PICTURE.mean(axis=(0, 1)), values.shape), atol=1e-6
    )


def test_maps_depend_on_the_seed_and_not_on_the_batches():
    one, same, other = (
        nested_occlusion(patch_and_corner, PICTURE, [0], seed=seed, batch_size=size)
        for seed, size in ((1, 32), (1, 7), (2, 32))
    )
    np.testing.assert_array_equal(one.saliency, same.saliency)
    assert not np.array_equal(one.saliency, other.saliency)


def test_classes_share_the_calls():
    model = Recorder(patch_and_corner)
    both = nested_occlusion(model, PICTURE, [0, 1], 250)
    assert both.calls == len(seen_by(model)) <= 250 and both.outputs.shape == (both.calls, 2)
    alone = nested_occlusion(patch_and_corner, PICTURE, [1], 250)
    assert np.corrcoef(both.saliency[1].ravel(), alone.saliency[0].ravel())[0, 1] > 0.7
    twice = nested_occlusion(patch_and_corner, PICTURE, [1, 1], 250)
    np.testing.assert_array_equal(twice.saliency, np.repeat(alone.saliency, 2, axis=0))


def test_a_model_that_ignores_its_input_has_a_map_of_zeros():
    found = nested_occlusion(lambda pictures: np.full(len(pictures), 0.3), PICTURE, [0])
    assert not found.saliency.any() and not found.standard_error.any()


def test_the_standard_error_is_at_least_the_spread_over_seeds_and_no_more_than_thrice():
    found = [nested_occlusion(patch_and_corner, PICTURE, [0], 250, seed=seed) for seed in range(40)]
    spread = np.sqrt(np.var([one.saliency[0] for one in found], axis=0, ddof=1).mean())
    error = np.sqrt(np.mean([np.square(one.standard_error[0]) for one in found]))
    assert spread <= error < 3 * spread


def test_few_calls_are_spent_on_the_whole_picture(monkeypatch):
    few = nested_occlusion(patch_and_corner, PICTURE, [0], 99)
    assert few.calls > nested_occlusion(patch_and_corner, PICTURE, [0], 60).calls
    monkeypatch.setattr(rise, "_SHOWN", (1.0,))
    np.testing.assert_array_equal(
        few.saliency, nested_occlusion(patch_and_corner, PICTURE, [0], 99).saliency
    )


@pytest.mark.parametrize("calls, rounds", [(99, 2), (100, 10)])
def test_progress_wraps_the_rounds(calls, rounds):
    seen = []
    nested_occlusion(
        patch, PICTURE, [0], calls, progress=lambda rounds: seen.append(len(rounds)) or rounds
    )
    assert seen == [rounds]


@pytest.mark.parametrize(
    "error, message, settings",
    [
        (
            ValueError,
            r"x must be a picture \(H, W, C\), got shape \(40, 56\)",
            {"x": PICTURE[..., 0]},
        ),
        (ValueError, "x must be finite", {"x": PICTURE * np.nan}),
        (ValueError, "classes must be a sequence", {"classes": 0}),
        (ValueError, "nb_samples must be an integer of at least 3, got 2", {"nb_samples": 2}),
        (ValueError, "batch_size must be an integer of at least 1, got 0", {"batch_size": 0}),
        (ValueError, "seed must be an integer of at least 0, got -1", {"seed": -1}),
        (ValueError, "mask_value must be", {"mask_value": [0, 0]}),
        (TypeError, "progress must be callable, got 3", {"progress": 3}),
        (TypeError, "model must be callable, got None", {"model": None}),
    ],
)
def test_bad_arguments_cost_no_model_call(error, message, settings):
    with pytest.raises(error, match=message):
        nested_occlusion(**{"model": forbidden, "x": PICTURE, "classes": [0]} | settings)


@pytest.mark.parametrize(
    "model, message",
    [
        (lambda pictures: np.full(len(pictures), np.nan), "model's scores must be finite"),
        (lambda pictures: pictures, "model must return outputs"),
        (patch, "classes must be below the model's 1 outputs, got 1"),
    ],
)
def test_bad_answers(model, message):
    with pytest.raises(ValueError, match=message):
        nested_occlusion(model, PICTURE, [1])
