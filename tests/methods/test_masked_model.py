import numpy as np
import pytest
from cheap import Places, tiles
from lime.wrappers.scikit_image import SegmentationAlgorithm
from scipy.ndimage import gaussian_filter

from lab.methods.masked_model import MaskedModel, blurred, superpixels
from lab.model_calls import CHUNK

IMAGE = tiles()
RNG = np.random.default_rng(0)


def masked(hide_color=None, classes=(0,), image=IMAGE, segments=None, model=None):
    segments = superpixels(IMAGE) if segments is None else segments
    return MaskedModel(model or Places(), image, segments, hide_color, classes)


def test_superpixels_are_the_packages():
    expected = SegmentationAlgorithm("quickshift", kernel_size=4, max_dist=200, ratio=0.2)(IMAGE)
    np.testing.assert_array_equal(superpixels(IMAGE), expected)
    np.testing.assert_array_equal(np.unique(expected), np.arange(19))
    assert not superpixels(IMAGE).flags.writeable  # all calls share it
    assert superpixels(IMAGE, 12).max() < superpixels(IMAGE, 4).max()


@pytest.mark.parametrize("hide_color", [(9, 0, 255), None, "blur"])
def test_images_are_those_made_superpixel_by_superpixel(hide_color):
    model = masked(hide_color)
    coalitions = RNG.integers(0, 2, (7, model.n))
    for row, image in zip(coalitions, model.images(coalitions), strict=True):
        expected = IMAGE.copy()
        for superpixel in np.flatnonzero(row == 0):
            where = model.segments == superpixel
            expected[where] = model.hidden[where]
        np.testing.assert_array_equal(image, expected)
    none_and_all = np.stack([np.zeros(model.n), np.ones(model.n)])
    np.testing.assert_array_equal(model.images(none_and_all), [model.hidden, IMAGE])


def test_baselines():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = (10, 20, 31)
    segments = np.zeros((40, 40), int)
    segments[20:] = 1
    image[20:] += 100
    colours = (1, 2, 3), "red", None, "blur"
    given, red, mean, blur = (masked(c, image=image, segments=segments).hidden for c in colours)
    assert (given == (1, 2, 3)).all() and (red == (255, 0, 0)).all()
    # Truncated, not rounded, as by the package.
    assert (mean[:20] == [5, 10, 15]).all() and (mean[20:] == [105, 110, 115]).all()
    np.testing.assert_array_equal(blur, blurred(image))


def test_the_blurred_image_is_a_gaussians():
    channels = np.moveaxis(IMAGE.astype(float), -1, 0)
    expected = np.stack([gaussian_filter(c, 10, mode="nearest") for c in channels], axis=-1)
    assert blurred(IMAGE).dtype == np.uint8
    np.testing.assert_allclose(blurred(IMAGE), expected, atol=0.6)


def test_scores_come_in_the_order_of_coalitions():
    model = Places()
    sampled = masked(None, [2, 0], model=model)
    coalitions = RNG.integers(0, 2, (CHUNK + 30, sampled.n))
    scores = sampled(coalitions)
    assert scores.dtype == np.float64 and sampled.classes == [2, 0]
    np.testing.assert_array_equal(scores, Places()(sampled.images(coalitions))[:, [2, 0]])
    np.testing.assert_array_equal(sampled.value(coalitions), scores[:, 0])


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"segments": np.zeros((3, 3), int)}, r"\(H, W\) and \(H, W, 3\) .* got \(3, 3\) and"),
        ({"segments": superpixels(IMAGE) + 1}, "without a gap, got 19 of int64 from 1 to 19"),
        ({"segments": superpixels(IMAGE) * 1.0}, "integers from 0 .* of float64"),
        ({"image": IMAGE / 255}, "uint8, got .* of float64"),
        ({"image": IMAGE.transpose(2, 0, 1)}, r"got \(64, 80\) and \(3, 64, 80\)"),
        ({"hide_color": "blurry"}, "hide_color must be .*got 'blurry'"),
        ({"classes": []}, r"classes must be a sequence of labels, got \[\]"),
        ({"classes": [True]}, "label must be an integer, got True"),
    ],
)
def test_bad_arguments_are_named(changed, message):
    with pytest.raises((TypeError, ValueError), match=message):
        masked(**changed)
    for shape in ((5, 20), (5, 18), (19,)):
        with pytest.raises(ValueError, match=r"coalitions must be of shape \(n, 19\)"):
            masked()(np.ones(shape, int))
