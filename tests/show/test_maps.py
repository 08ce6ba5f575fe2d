import numpy as np
import pytest
from matplotlib.path import Path

from lab.show import maps, style

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
RAMP = np.broadcast_to(np.linspace(0, 1, 80, dtype=np.float32), (60, 80))


def test_saliency_is_clear_below_a_third_and_three_quarters_opaque_at_the_top():
    ground = np.full((60, 80, 3), 200.0)
    pixels = maps.tinted(ground, RAMP, (0, 1)).astype(float)
    assert (pixels[:, RAMP[0] < 1 / 3] == 200).all()
    top, half = (255 * np.array(style.SALIENCY(at)[:3]) for at in (1.0, 0.5))
    np.testing.assert_allclose(pixels[0, -1], 0.25 * 200 + 0.75 * top, atol=1)
    # half way between a third and the top: half of the opacity
    middle = maps.tinted(ground, np.full((1, 1), 2 / 3, np.float32), (0, 1))[0, 0]
    np.testing.assert_allclose(middle, 0.625 * 200 + 0.375 * half, atol=2)


def test_saliency_scales_to_the_limits():
    ground = np.full((1, 1, 3), 200.0)
    assert (maps.tinted(ground, np.full((1, 1), 0.3), (0, 1)) == 200).all()
    assert (maps.tinted(ground, np.full((1, 1), 0.3), (0, 0.3)) != 200).any()


def test_a_map_without_a_pattern_and_noise_get_no_contour():
    flat = maps.saliency(IMAGE, np.ones((5, 5)))
    np.testing.assert_array_equal(flat.pixels, np.round(maps.light_grey(IMAGE)).astype(np.uint8))
    noise = maps.saliency(IMAGE, np.random.default_rng(0).random((60, 80)))
    assert not maps.sheet([[flat, noise]], "No pattern, no contour").axes[0].collections


def test_signed_weights_leave_the_image_untouched_at_zero_on_a_symmetric_scale():
    values = np.zeros((60, 80))
    values[:, :20], values[:, 60:] = -0.5, 1.0
    panel = maps.weights(IMAGE, values)
    grey = maps.light_grey(IMAGE)
    assert np.abs(panel.pixels[:, 25:55].astype(float) - grey[:, 25:55]).max() <= 2
    assert panel.limits == (-1.0, 1.0)
    for column, color, opacity in (70, style.SIGNED(1.0), 0.6), (5, style.SIGNED(0.125), 0.3):
        expected = (1 - opacity) * grey[:, column] + opacity * 255 * np.array(color[:3])
        np.testing.assert_allclose(panel.pixels[:, column], expected, atol=1)
    assert maps.weights(IMAGE, np.zeros((6, 8))).limits == (-1.0, 1.0)


def test_what_speaks_against_a_class_is_never_shown_as_speaking_for_it():
    values = np.linspace(-1, -0.1, 80, dtype=np.float32)[None].repeat(60, axis=0)
    for method in ("lime", "shap", "occlusion", "nested", "owen"):
        panel = maps.method_map(method, IMAGE, values)
        red, green, blue = panel.pixels.astype(int)[..., :3].transpose(2, 0, 1)
        assert (green <= red).all() and (green <= blue).all() and panel.contour is None
    assert maps.method_map("rise", IMAGE, values).kind == "saliency"


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (1, 1)])
def test_images_of_a_pixel_in_width_can_be_drawn(shape):
    image, values = np.zeros((*shape, 3), np.uint8), np.random.default_rng(0).random((30, 30))
    panels = [draw(image, values) for draw in (maps.saliency, maps.weights)]
    for kind in ("png", "svg"):
        assert style.encode(maps.sheet([panels], "Narrow"), kind)[1]


@pytest.mark.parametrize("shape", [(60, 80), (80, 60), (50, 50)])
def test_a_panel_has_the_aspect_ratio_of_its_image(shape):
    image = np.zeros((*shape, 3), np.uint8)
    blob = np.outer(np.hanning(30), np.hanning(30))
    panel = maps.saliency(image, blob)
    assert panel.pixels.shape == image.shape
    figure = maps.sheet([[panel, maps.image_panel(image)]], "Two panels")
    figure.draw_without_rendering()
    for shown in figure.axes[0].images[:2]:
        box = shown.get_window_extent()
        assert box.height / box.width == pytest.approx(shape[0] / shape[1], rel=0.01)


def test_a_sheet_of_images_higher_than_wide_fits_the_report():
    panels = [maps.image_panel(np.zeros((150, 100, 3), np.uint8), "head", "note")] * 8
    figure = maps.sheet(maps.wrapped(panels, 4), "Eight")
    assert figure.get_figheight() <= 11 / 2.54  # inches: else its texts were made smaller there
    wide = maps.sheet(maps.wrapped([maps.image_panel(IMAGE)] * 8, 4), "Eight")
    widths = [panel.get_extent()[1] - panel.get_extent()[0] for panel in wide.axes[0].images]
    assert min(widths) * 4 > 0.9 * figure.get_figwidth()


def test_the_contour_encircles_a_fifth_of_the_pixels():
    down, across = np.mgrid[-1:1:60j, -1:1:80j]
    figure = maps.sheet([[maps.saliency(IMAGE, np.exp(-3 * (down**2 + across**2)))]], "One blob")
    [contour] = figure.axes[0].collections
    [path] = contour.get_paths()
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    across, down = np.linspace(left, right, 161)[1::2], np.linspace(top, bottom, 121)[1::2]
    pixels = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    assert Path(path.vertices).contains_points(pixels).mean() == pytest.approx(0.2, abs=0.01)


def test_the_level_of_the_contour_lies_between_values_where_many_are_equal():
    assert (RAMP > maps.top_fifth(RAMP)).mean() == pytest.approx(0.2, abs=0.02)
    steps = np.repeat([0.0, 1.0, 2.0, 2.0], 25).reshape(10, 10)
    assert 1 < maps.top_fifth(steps) < 2
    most = np.repeat([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], 10).reshape(10, 10)
    assert 0 < maps.top_fifth(most) < 1
    assert maps.top_fifth(np.ones((5, 5))) is None


def test_superpixels_are_shown_and_the_rest_is_black():
    segments = np.repeat(np.arange(4), 20)[None].repeat(60, axis=0)
    chosen = np.array([False, True, False, True])
    pixels = maps.superpixels(IMAGE, segments, chosen).pixels
    np.testing.assert_array_equal(pixels[chosen[segments]], IMAGE[chosen[segments]])
    assert not pixels[~chosen[segments]].any()
    # superpixels of an image that the network saw squashed
    small = segments[::2, ::2]
    np.testing.assert_array_equal(maps.superpixels(IMAGE, small, chosen).pixels, pixels)


def test_outlines_touch_borders_only():
    regions = np.zeros((60, 80), int)
    regions[:, 40:] = 1
    changed = (maps.outlined(IMAGE, regions) != IMAGE).any(axis=2)
    assert changed[:, 39:41].any() and not changed[:, :39].any() and not changed[:, 41:].any()


def test_a_sheet_says_whether_the_scale_is_one_for_all():
    def words(panels):
        return " ".join(text.get_text() for text in maps.sheet([panels], "Maps").axes[0].texts)

    own = words([maps.saliency(IMAGE, RAMP), maps.saliency(IMAGE, 2 * RAMP)])
    assert "own scale" in own and "highest" in own
    one = words([maps.saliency(IMAGE, values, limits=(0, 2)) for values in (RAMP, 2 * RAMP)])
    assert "own scale" not in one and "2" in one.split()
    signed = words([maps.weights(IMAGE, RAMP - 0.5, limit=0.5)])
    assert "−0.5" in signed and "+0.5" in signed


def test_heads_stand_over_their_columns_and_beside_their_rows():
    panel = maps.image_panel(IMAGE, note="0.5")
    rows = [[panel, panel], [panel, None]]
    figure = maps.sheet(rows, "A title", ["left", "right"], ["upper", "lower"])
    figure.draw_without_rendering()
    where = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    boxes = [shown.get_window_extent() for shown in figure.axes[0].images]
    assert len(boxes) == 3
    for name, box in zip(("left", "right"), boxes):
        middle = (where[name].x0 + where[name].x1) / 2
        assert abs(middle - (box.x0 + box.x1) / 2) < 1 and where[name].y0 > box.y1
    for name, box in zip(("upper", "lower"), (boxes[0], boxes[2])):
        assert where[name].x1 < box.x0 and box.y0 < (where[name].y0 + where[name].y1) / 2 < box.y1
