import numpy as np
import pytest
import scipy.stats

from counting import Counting
from lab.explain.masked_model import MaskedModel, blurred, mean_colour, superpixels
from lab.measure.curves import auc, curves, deletion_curve, faithfulness, insertion_curve
from lab.networks import asking
from lab.networks.asking import Asked


def mean_brightness(images):
    share = np.asarray(images, float).mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - share, share], axis=1)


@pytest.fixture
def picture():
    """White left half, black right half: class 1 has probability 1/2."""
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, :4] = 255
    return image


@pytest.fixture
def left():
    saliency = np.zeros((4, 8))
    saliency[:, :4] = 1
    return saliency


@pytest.fixture(scope="module")
def image():
    """Tiles of random colours with some noise, which quickshift finds again as superpixels."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(30, 226, (4, 5, 3)).repeat(16, axis=0).repeat(16, axis=1)
    return (tiles + rng.integers(-10, 10, tiles.shape)).astype(np.uint8)


class Box(Counting):
    """A black box of two classes."""

    def answer(self, images):
        weights = np.random.default_rng(9).normal(size=(64, 80))
        share = 1 / (1 + np.exp(-np.einsum("nhw,hw->n", np.asarray(images)[..., 1], weights) / 1e4))
        return np.stack([1 - share, share], axis=1)


@pytest.fixture
def kept_box(monkeypatch, tmp_path):
    """A black box whose answers are kept on disk."""
    monkeypatch.setattr(asking, "_on_disk", asking._open(tmp_path))
    box = Box(batch_size=16)
    box.fingerprint = "a black box of this test"
    return box


def test_deletion_of_a_linear_model_in_closed_form(picture, left):
    fraction, probability = deletion_curve(mean_brightness, picture, 1, left, 0, steps=2)
    assert fraction.tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(probability, [0.5, 0, 0])
    assert auc(fraction, probability) == pytest.approx(1 / 8)
    # The reverse order loses the white half last: the area is 1/4 + 1/8.
    assert auc(*deletion_curve(mean_brightness, picture, 1, -left, 0, steps=2)) == pytest.approx(
        3 / 8
    )


def test_insertion_of_a_linear_model_in_closed_form(picture, left):
    fraction, probability = insertion_curve(mean_brightness, picture, 1, left, 0, steps=2)
    np.testing.assert_allclose(probability, [0, 0.5, 0.5])
    assert auc(fraction, probability) == pytest.approx(3 / 8)


def test_deletion_and_insertion_mirror_each_other_for_an_additive_model():
    rng = np.random.default_rng(0)
    saliency, image = rng.normal(size=(4, 8)), rng.integers(0, 256, (4, 8, 3))
    _, deleted = deletion_curve(mean_brightness, image, 1, saliency, 0, steps=32)
    _, inserted = insertion_curve(mean_brightness, image, 1, saliency, 0, steps=32)
    np.testing.assert_allclose(deleted + inserted, image.mean() / 255, rtol=1e-5)


def test_best_and_worst_order_bound_every_other():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (3, 3, 1))
    best, worst, other = (
        auc(*deletion_curve(mean_brightness, image, 1, saliency, 0, steps=9))
        for saliency in (image[..., 0], -image[..., 0], rng.normal(size=(3, 3)))
    )
    assert best < other < worst


def test_steps_take_equal_portions(picture):
    saliency = np.random.default_rng(2).normal(size=(4, 8))
    fraction, _ = deletion_curve(mean_brightness, picture, 1, saliency, (10, 20, 30), steps=5)
    assert len(fraction) == 6 and np.abs(np.diff(fraction) - 1 / 5).max() <= 1 / 32


def test_each_picture_of_a_curve_is_made_pixel_by_pixel():
    rng = np.random.default_rng(3)
    image, start, saliency = (
        rng.integers(0, 256, (6, 5, 3), np.uint8),
        rng.integers(0, 256, (6, 5, 3), np.uint8),
        rng.normal(size=(6, 5)),
    )
    seen = []

    def watch(images):
        seen.extend(images)
        return mean_brightness(images)

    insertion_curve(watch, image, 1, saliency, start, steps=30)
    order = np.argsort(-saliency.ravel())
    for n, got in enumerate(seen):
        expected = start.copy().reshape(-1, 3)
        expected[order[:n]] = image.reshape(-1, 3)[order[:n]]
        np.testing.assert_array_equal(got, expected.reshape(6, 5, 3))
    assert len(seen) == 31 and got.dtype == np.uint8


def test_a_curve_refuses_what_makes_no_sense_before_a_call(picture, left):
    def forbidden(images):
        pytest.fail("called")

    with pytest.raises(ValueError, match="same size"):
        deletion_curve(forbidden, picture, 1, left[:3], 0, steps=5)
    with pytest.raises(ValueError, match="finite"):
        deletion_curve(forbidden, picture, 1, left + np.nan, 0, steps=5)
    with pytest.raises(
        ValueError, match=r"steps must be from 1 to the number of pixels \(32\), got 50"
    ):
        deletion_curve(forbidden, picture, 1, left, 0)


@pytest.mark.parametrize("label", [2, -1])
def test_a_class_that_is_not_there(picture, left, label):
    with pytest.raises(ValueError, match=f"class to explain must be from 0 to 1, got {label}"):
        deletion_curve(mean_brightness, picture, label, left, 0, steps=5)


def test_curves_start_and_end_where_they_should(image):
    saliency = np.random.default_rng(1).normal(size=(64, 80))
    found = curves(Box(), image, 1, saliency, blurred(image))
    assert list(found) == ["deletion_black", "deletion_mean", "insertion"]
    mean = np.broadcast_to(image.mean(axis=(0, 1)).round().astype(np.uint8), image.shape)
    np.testing.assert_array_equal(mean_colour(image), mean[0, 0])
    whole, black, flat, blur = Box()(np.stack([image, np.zeros_like(image), mean, blurred(image)]))[
        :, 1
    ]
    for name, ends in {
        "deletion_black": (whole, black),
        "deletion_mean": (whole, flat),
        "insertion": (blur, whole),
    }.items():
        fraction, probability = found[name]
        assert (
            found[name].shape == (2, 51)
            and (np.abs(fraction - np.arange(51) / 50) <= 1 / saliency.size).all()
        )
        assert probability[[0, -1]] == pytest.approx(ends)
    halfway = Box()(np.where((saliency > np.median(saliency))[..., None], mean, image)[None])[0, 1]
    assert found["deletion_mean"][1, 25] == pytest.approx(halfway)


def test_curves_cost_what_they_say_and_repeat_no_call(image, kept_box):
    saliency, blur = np.random.default_rng(2).normal(size=(64, 80)), blurred(image)
    first = curves(kept_box, image, 1, saliency, blur)
    assert kept_box.calls == 3 * 51 and max(kept_box.batches) == 16
    again = curves(kept_box, image, 1, 2 * saliency + 1, blur)  # the same order
    assert kept_box.calls == 3 * 51
    curves(kept_box, image, 1, -saliency, blur)
    assert kept_box.calls == 6 * 51
    other_class = curves(kept_box, image, 0, saliency, blur)
    for name in first:
        np.testing.assert_array_equal(again[name], first[name])
        np.testing.assert_allclose(other_class[name][1], 1 - first[name][1])


def game(predict, image, segments, hide_color, label=0):
    return MaskedModel(Asked(predict, [label]), image, segments, hide_color)


def test_faithfulness_of_the_true_attribution_of_an_additive_model():
    rng = np.random.default_rng(6)
    image, weights, segments = (
        rng.integers(0, 256, (6, 8, 3), np.uint8),
        rng.normal(size=(6, 8, 3)),
        rng.integers(0, 9, (6, 8)),
    )

    def additive(images):
        return np.einsum("nhwc,hwc->n", images, weights)[:, None] / 1e3

    colour = (100, 50, 200)
    truth = ((image - np.array(colour)) * weights).sum(axis=2)
    # What a superpixel is worth is the sum over its pixels, the map shows it as their mean.
    area = np.bincount(segments.ravel())[segments]
    assert faithfulness(game(additive, image, segments, colour), truth * area) == pytest.approx(
        1, abs=1e-5
    )
    pixels = np.arange(48).reshape(6, 8)
    assert faithfulness(game(additive, image, pixels, colour), 7 - 2 * truth) == pytest.approx(
        -1, abs=1e-5
    )


def test_faithfulness_by_hand():
    image = np.array([[[3], [2], [1], [5]]], np.uint8).repeat(3, axis=2)

    def product(images):  # of the sums over segments: 5 * 1 * 5 = 25
        x = images[:, 0, :, 0].astype(int)
        return np.stack([np.zeros(len(x)), (x[:, 0] + x[:, 1]) * x[:, 2] * x[:, 3]], axis=1)

    # Each replaced with 2: (4) * 1 * 5 = 20, 5 * 2 * 5 = 50, 5 * 1 * 2 = 10, so that the drops are 5, -25, 15.
    # The saliency's means are 2, 1, 3.
    saliency = np.array([[1, 3, 1, 3]])
    found = faithfulness(
        game(product, image, np.array([[0, 0, 1, 2]]), (2, 2, 2), label=1), saliency
    )
    assert found == pytest.approx(np.corrcoef([5, -25, 15], [2, 1, 3])[0, 1])


def test_faithfulness_is_what_each_superpixel_alone_costs(image):
    segments, mean, saliency = (
        superpixels(image),
        mean_colour(image),
        np.random.default_rng(1).normal(size=(64, 80)),
    )
    box = Box()
    drops, means = [], []
    for segment in range(segments.max() + 1):
        changed = image.copy()
        changed[segments == segment] = mean
        drops.append(box(image[None])[0, 1] - box(changed[None])[0, 1])
        means.append(saliency[segments == segment].mean())
    play = game(box, image, segments, mean, label=1)
    assert faithfulness(play, saliency) == pytest.approx(
        scipy.stats.pearsonr(drops, means).statistic
    )
    # A superpixel's own weight on each of its pixels is faithful, whatever is added to all.
    assert faithfulness(play, np.array(drops)[segments] + 3) == pytest.approx(1)


def test_all_maps_of_a_picture_share_faithfulness_calls(image):
    box = Box()
    play = game(box, image, superpixels(image), mean_colour(image), label=1)
    first, second = (
        faithfulness(play, saliency)
        for saliency in np.random.default_rng(2).normal(size=(2, 64, 80))
    )
    assert box.calls == play.n + 1 and first != second


def test_faithfulness_is_not_a_number_where_nothing_varies(picture):
    sizes = np.array([0, 1, 1, 1, 2, 2, 2, 2]) + np.zeros((4, 1), int)
    assert np.isnan(
        faithfulness(game(mean_brightness, picture, sizes, (0, 0, 0), 1), np.full((4, 8), 0.1))
    )
    columns, varied = (
        np.arange(8) // 2 + np.zeros((4, 1), int),
        np.random.default_rng(7).random((4, 8)),
    )
    assert np.isnan(
        faithfulness(game(mean_brightness, np.zeros_like(picture), columns, (0, 0, 0), 1), varied)
    )
    assert not np.isnan(faithfulness(game(mean_brightness, picture, columns, (0, 0, 0), 1), varied))


def test_faithfulness_refuses_what_makes_no_sense_before_a_call(picture):
    play = game(lambda images: pytest.fail("called"), picture, np.zeros((4, 8), int), (0, 0, 0))
    with pytest.raises(
        ValueError, match=r"saliency must be of the picture's shape \(4, 8\), got \(3, 8\)"
    ):
        faithfulness(play, np.zeros((3, 8)))
    with pytest.raises(ValueError, match="finite"):
        faithfulness(play, np.full((4, 8), np.inf))


def test_other_libraries_values():
    """As printed by benchmarks/metrics_elsewhere.py: Xplique 2.0.2 and Quantus 0.6.0 on these inputs."""
    y, x, c = np.mgrid[:12, :16, :3]
    image = ((37 * y + 11 * x * x + 53 * c) % 256).astype(np.uint8)
    y, x = y[..., 0], x[..., 0]
    saliency = np.sin(0.9 * y) + np.cos(1.7 * x * y + 0.3 * x)

    def predict(images):
        images = np.asarray(images, np.float32)
        bright, corner = (
            images.mean(axis=(1, 2, 3)) / 255,
            images[:, :6, :8, 0].mean(axis=(1, 2)) / 255,
        )
        probability = 1 / (1 + np.exp(-3 * bright * corner - corner))
        return np.stack([1 - probability, probability], axis=1)

    deletion = auc(*deletion_curve(predict, image, 1, saliency, 0, steps=16))
    insertion = auc(*insertion_curve(predict, image, 1, saliency, 0, steps=16))
    assert deletion == pytest.approx(0.615926, abs=1e-6)  # Xplique's Deletion
    assert insertion == pytest.approx(0.618988, abs=1e-6)  # Xplique's Insertion

    bright, grey = saliency + image[..., 0] / 50, image[..., :1].repeat(3, axis=2)
    for step, expected in ((1, 0.329539), (8, 0.719743)):  # Quantus' FaithfulnessEstimate
        segments = np.empty(192, int)
        segments[np.argsort(-bright, axis=None)] = np.arange(192) // step
        found = faithfulness(game(predict, grey, segments.reshape(12, 16), (0, 0, 0), 1), bright)
        assert found == pytest.approx(expected, abs=2e-5)
