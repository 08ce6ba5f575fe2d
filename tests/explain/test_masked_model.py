import numpy as np
import pytest
from lime.wrappers.scikit_image import SegmentationAlgorithm
from scipy.ndimage import gaussian_filter

from lab.explain.masked_model import MaskedModel, blurred, superpixels
from lab.networks.asking import CHUNK, Asked
from cheap import Places, tiles

IMAGE = tiles()
ROWS = np.random.default_rng(0)


def test_superpixels_are_the_packages():
    expected = SegmentationAlgorithm("quickshift", kernel_size=4, max_dist=200, ratio=0.2)(IMAGE)
    np.testing.assert_array_equal(superpixels(IMAGE), expected)
    np.testing.assert_array_equal(np.unique(expected), np.arange(19))
    assert not superpixels(IMAGE).flags.writeable  # all who ask get the same
    assert superpixels(IMAGE, 12).max() < superpixels(IMAGE, 4).max()


@pytest.mark.parametrize("hide_color", [(9, 0, 255), None, "blur"])
def test_pictures_are_those_made_superpixel_by_superpixel(hide_color):
    segments = superpixels(IMAGE)
    game = MaskedModel(Places(), IMAGE, segments, hide_color)
    kept = ROWS.integers(0, 2, (7, game.n))
    for row, got in zip(kept, game.pictures(kept), strict=True):
        expected = IMAGE.copy()
        for superpixel in np.flatnonzero(row == 0):
            expected[segments == superpixel] = game.hidden[segments == superpixel]
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(
        game.pictures(np.stack([np.zeros(game.n), np.ones(game.n)])), [game.hidden, IMAGE]
    )


def test_what_hides_a_superpixel():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = (10, 20, 31)
    segments = np.zeros((40, 40), int)
    segments[20:] = 1
    image[20:] += 100
    hidden = {
        color: MaskedModel(Places(), image, segments, color).hidden for color in ((1, 2, 3), None, "blur")
    }
    assert (hidden[1, 2, 3] == (1, 2, 3)).all()
    # Cut off, not rounded, as by the package.
    np.testing.assert_array_equal(hidden[None][[0, -1], 0], [[5, 10, 15], [105, 110, 115]])
    assert (hidden[None][:20] == [5, 10, 15]).all() and (hidden[None][20:] == [105, 110, 115]).all()
    np.testing.assert_array_equal(hidden["blur"], blurred(image))


def test_the_blurred_picture_is_a_gaussians():
    expected = np.stack(
        [gaussian_filter(IMAGE[..., c].astype(float), 10, mode="nearest") for c in range(3)],
        axis=-1,
    )
    assert blurred(IMAGE).dtype == np.uint8
    np.testing.assert_allclose(blurred(IMAGE), expected, atol=0.6)
    flat = np.full((40, 40, 3), 77, np.uint8)
    np.testing.assert_array_equal(blurred(flat), flat)


def test_coalitions_are_answered_in_their_order_and_a_chunk_at_a_time():
    model, drawn = Places(), []

    class Watched(MaskedModel):
        def pictures(self, kept):
            drawn.append(len(kept))
            return super().pictures(kept)

    game = Watched(Asked(model, [2, 0]), IMAGE, superpixels(IMAGE), None)
    kept = ROWS.integers(0, 2, (CHUNK + 30, game.n))
    seen = []
    answers = game(kept, lambda chunks: (seen.append(chunk) or chunk for chunk in chunks))
    assert drawn == [CHUNK, 30] and len(seen) == 2 and model.calls == CHUNK + 30
    np.testing.assert_allclose(
        answers[[0, -1]], Places()(game.pictures(kept[[0, -1]]))[:, [2, 0]], atol=1e-12
    )
    value = game.value(kept)
    assert model.calls == CHUNK + 30 and value.dtype == np.float64 and value.shape == (CHUNK + 30,)
    np.testing.assert_array_equal(value, answers[:, 0])


@pytest.mark.parametrize(
    "segments, message",
    [
        (np.zeros((3, 3), int), r"picture's shape \(64, 80\), got \(3, 3\)"),
        (superpixels(IMAGE) + 1, "numbered from 0 without a gap, got 19 of them from 1 to 19"),
        (superpixels(IMAGE) * 2, "numbered from 0 without a gap, got 19 of them from 0 to 36"),
    ],
)
def test_superpixels_that_are_none(segments, message):
    with pytest.raises(ValueError, match=message):
        MaskedModel(Places(), IMAGE, segments, None)


@pytest.mark.parametrize(
    "image, got",
    [
        (IMAGE / 255, "of float64"),
        (IMAGE[..., 0], r"\(64, 80\) of uint8"),
        (IMAGE[..., [0, 1, 2, 2]], r"80, 4\)"),
    ],
)
def test_a_picture_that_is_none(image, got):
    for use in (superpixels, lambda image: MaskedModel(Places(), image, superpixels(IMAGE), None)):
        with pytest.raises(ValueError, match=f"image must be .* uint8, got .*{got}"):
            use(image)
