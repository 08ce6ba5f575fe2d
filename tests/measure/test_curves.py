import numpy as np
import pytest
import scipy.stats
from cheap import Places, tiles
from counting import forbidden

from lab.measure.curves import (
    CURVES_OF_GAINS,
    CURVES_OF_MAP,
    STEPS,
    auc,
    curve,
    deletion_and_insertion,
    faithfulness,
    gains,
    portions,
)
from lab.measure.maps import measure_map
from lab.methods.masked_model import MaskedModel, blurred, mean_colour, superpixels

IMAGE = tiles()
SALIENCY = np.random.default_rng(1).normal(size=IMAGE.shape[:2])
HALVES = np.zeros((4, 8, 3), np.uint8)  # white left half, black right half
HALVES[:, :4] = 255
LEFT, BLACK = HALVES[..., 0] / 255, np.uint8(0)
BASELINES = {"black": BLACK, "mean": mean_colour(IMAGE), "blurred": blurred(IMAGE)}


def brightness(images):
    return np.asarray(images, float).mean(axis=(1, 2, 3))[:, None] / 255


def masked(black_box, image, segments, hide_color, label=0):
    return MaskedModel(black_box, image, segments, hide_color, [label])


def test_curves_of_a_linear_model_in_closed_form():
    fraction, probability = curve(brightness, 0, LEFT, HALVES, BLACK, steps=2)
    assert fraction.tolist() == [0, 0.5, 1] and probability.tolist() == [0.5, 0, 0]
    assert auc(fraction, probability) == 1 / 8
    # The reverse order loses the white half last: the area is 1/4 + 1/8.
    assert auc(*curve(brightness, 0, -LEFT, HALVES, BLACK, steps=2)) == 3 / 8
    assert curve(brightness, 0, LEFT, BLACK, HALVES, steps=2)[1].tolist() == [0, 0.5, 0.5]
    for steps in (5, 50):  # of 32 pixels
        fraction, _ = curve(brightness, 0, LEFT, HALVES, np.uint8([10, 20, 30]), steps)
        np.testing.assert_allclose(fraction, np.arange(steps + 1) / steps, atol=1 / 32)


def test_each_image_of_a_curve_is_made_pixel_by_pixel():
    rng = np.random.default_rng(3)
    before, after = rng.integers(0, 256, (2, 6, 5, 3), np.uint8)
    saliency, seen = rng.normal(size=(6, 5)), []

    def watch(images):
        seen.extend(images)
        return brightness(images)

    curve(watch, 0, saliency, before, after, steps=30)
    order = np.argsort(-saliency.ravel())
    for n, got in enumerate(seen):
        expected = before.copy().reshape(-1, 3)
        expected[order[:n]] = after.reshape(-1, 3)[order[:n]]
        np.testing.assert_array_equal(got, expected.reshape(6, 5, 3))
    assert len(seen) == 31 and got.dtype == np.uint8


def test_steps_of_an_unsigned_map():
    assert portions(np.uint8([[0, 1], [200, 255]]), 4).tolist() == [[3, 2], [1, 0]]


@pytest.mark.parametrize("measure", [deletion_and_insertion, gains, measure_map])
@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"saliency": LEFT[:3]}, ValueError, r"shape \(4, 8\), got \(3, 8\)"),
        ({"saliency": LEFT + np.nan}, ValueError, "saliency must be finite"),
        ({"saliency": np.ma.masked_equal(LEFT, 0)}, TypeError, "without masked values"),
        ({"label": 1.0}, TypeError, "label must be an integer, got 1.0"),
        ({"label": -1}, ValueError, "label must be at least 0, got -1"),
        ({"image": HALVES[0]}, ValueError, r"image must be \(H, W, 3\) of uint8"),
        ({"image": HALVES / 255}, ValueError, r"image must be \(H, W, 3\) of uint8"),
    ],
)
def test_bad_arguments_are_refused_before_a_call(measure, change, error, message):
    with pytest.raises(error, match=message):
        measure(forbidden, **{"image": HALVES, "label": 0, "saliency": LEFT} | change)


def test_other_bad_arguments_are_refused_before_a_call():
    for steps, error in ((0, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match=f"steps must be .*, got {steps}"):
            gains(forbidden, HALVES, 0, LEFT, steps=steps)
    with pytest.raises(ValueError, match=r"shape \(4, 8\), got \(3, 8\)"):
        faithfulness(masked(forbidden, HALVES, LEFT.astype(int), None), LEFT[:3])


def test_curves_and_gains_by_baseline():
    black_box, expected = Places(), {}
    for name, baseline in BASELINES.items():
        ends = {"insertion": (baseline, IMAGE), "deletion": (IMAGE, baseline)}
        own = {end: curve(Places(), 1, SALIENCY, *images) for end, images in ends.items()}
        expected |= {f"{end}_{name}": line for end, line in own.items()}
        expected[f"gain_{name}"] = auc(*own["insertion"]) - auc(*own["deletion"])
    by_baseline = {name: value for name, value in expected.items() if name.startswith("gain")}
    assert gains(black_box, IMAGE, 1, SALIENCY) == pytest.approx(by_baseline)
    assert black_box.calls == 6 * 51 == CURVES_OF_GAINS * (STEPS + 1)
    along = deletion_and_insertion(black_box, IMAGE, 1, SALIENCY)
    assert black_box.calls == 9 * 51 == (CURVES_OF_MAP + CURVES_OF_GAINS) * (STEPS + 1)
    assert list(along) == ["deletion_black", "deletion_mean", "insertion"]
    for name, line in along.items():
        same = expected["insertion_blurred" if name == "insertion" else name]
        np.testing.assert_allclose(line, same, rtol=1e-6)
    assert gains(black_box, IMAGE, 1, SALIENCY, along) == pytest.approx(by_baseline)
    assert black_box.calls == 12 * 51 and max(black_box.batches) == black_box.batch_size


def test_faithfulness_is_the_correlation_with_the_loss_without_each_superpixel():
    segments, mean, box = superpixels(IMAGE), mean_colour(IMAGE), Places()
    hidden = [segments == segment for segment in range(segments.max() + 1)]
    changed = np.stack([np.where(each[..., None], mean, IMAGE) for each in hidden])
    drops = box(IMAGE[None])[0, 1] - box(changed)[:, 1]
    means = [SALIENCY[each].mean() for each in hidden]
    model = masked(Places(), IMAGE, segments, mean, label=1)
    expected = scipy.stats.pearsonr(drops, means).statistic
    assert faithfulness(model, SALIENCY) == pytest.approx(expected)
    assert model.black_box.calls == model.n + 1


def test_faithfulness_is_not_a_number_where_nothing_varies():
    def noisy(images):
        """Scores that differ by rounding from one place in the batch to the next."""
        noise = np.random.default_rng(0).normal(size=(len(images), 1))
        return np.float32(brightness(images) * (1 + 1e-7 * noise))

    columns = np.arange(8) // 2 + np.zeros((4, 1), int)
    varied = np.random.default_rng(7).random((4, 8))
    plain = np.full_like(HALVES, 90)
    assert not np.isnan(faithfulness(masked(noisy, HALVES, columns, (0, 0, 0)), varied))
    # The map is constant, exactly or up to rounding.
    for saliency in (np.full((4, 8), 0.1), np.float32(1 + 1e-7 * varied)):
        assert np.isnan(faithfulness(masked(brightness, HALVES, columns, (0, 0, 0)), saliency))
    # An image of one colour stays the same, even for a model that is random.
    rng = np.random.default_rng(0)
    for model in (brightness, noisy, lambda images: rng.random((len(images), 1))):
        assert np.isnan(faithfulness(masked(model, plain, columns, (90, 90, 90)), varied))
    # The image changes, but the scores only by rounding.
    assert np.isnan(faithfulness(masked(noisy, plain, columns, (0, 0, 0)), varied))


def test_other_libraries_values():
    """Values of Xplique 2.0.2 and Quantus 0.6.0 on these inputs.

    Xplique: ``Deletion(model, image[None], [[0, 1]], baseline_mode=0.0, steps=16)
    .evaluate(saliency[None])``, and ``Insertion``. Quantus: ``FaithfulnessEstimate(
    features_in_step=step, normalise=False, perturb_baseline=0.0)`` of a single channel,
    whose pixels it hides in the order of the map.
    """
    y, x, c = np.mgrid[:12, :16, :3]
    image = ((37 * y + 11 * x * x + 53 * c) % 256).astype(np.uint8)
    y, x = y[..., 0], x[..., 0]
    saliency = np.sin(0.9 * y) + np.cos(1.7 * x * y + 0.3 * x)

    def predict(images):
        images = np.asarray(images, np.float32)
        bright = images.mean(axis=(1, 2, 3)) / 255
        corner = images[:, :6, :8, 0].mean(axis=(1, 2)) / 255
        return 1 / (1 + np.exp(-3 * bright * corner - corner))[:, None]

    # Xplique's Deletion and Insertion
    for ends, expected in (((image, BLACK), 0.615926), ((BLACK, image), 0.618988)):
        assert auc(*curve(predict, 0, saliency, *ends, 16)) == pytest.approx(expected, abs=1e-6)
    bright, grey = saliency + image[..., 0] / 50, image[..., :1].repeat(3, axis=2)
    for step, expected in ((1, 0.329539), (8, 0.719743)):  # Quantus' FaithfulnessEstimate
        segments = np.empty(192, int)
        segments[np.argsort(-bright, axis=None)] = np.arange(192) // step
        model = masked(predict, grey, segments.reshape(12, 16), (0, 0, 0))
        assert faithfulness(model, bright) == pytest.approx(expected, abs=2e-5)
