import io

import numpy as np
import PIL.Image
import pytest

from lab.show import maps, style

RAMP = np.repeat(np.linspace(60, 160, 400)[None, :, None], 300, axis=0).repeat(3, axis=2)
RAMP = np.uint8(RAMP + [0, 40, 90])  # a sky


def sheet():
    return maps.sheet([[maps.image_panel(RAMP, "image"), maps.saliency(RAMP, RAMP[..., 0])]], "A")


def pixels(data):
    return PIL.Image.open(io.BytesIO(data))


def test_a_file_has_the_size_that_it_is_printed_at():
    kind, data = style.encode(sheet())
    assert kind == "png"
    assert pixels(data).width / style.DPI == pytest.approx(style.WIDTH, abs=0.01)
    assert pixels(data).info["dpi"][0] == pytest.approx(style.DPI, abs=0.1)


def test_charts_are_vectors_with_text_as_text():
    kind, data = style.encode(style.new_figure(2, "A title"))
    assert kind == "svg" and ">A title<" in data.decode()


def test_a_sky_keeps_all_its_colours():
    drawn = np.asarray(pixels(style.encode(sheet())[1]).convert("RGB")).astype(int)
    sky = drawn[(drawn[..., 2] - drawn[..., 0] == 90) & (drawn[..., 1] - drawn[..., 0] == 40)]
    assert len(np.unique(sky[:, 0])) > 90  # of 101
    assert (drawn[0, 0] == 255).all() and (drawn == 0).all(axis=-1).any()  # paper and letters


def test_an_image_shown_twice_begins_at_whole_pixels():
    # It then has the same pixels twice, which the file stores once.
    for columns in (2, 3, 4, 5, 6):
        figure = maps.sheet([[maps.image_panel(RAMP)] * columns], "Twice")
        style.encode(figure)
        starts = [shown.get_window_extent().x0 for shown in figure.axes[0].images]
        np.testing.assert_allclose(starts, np.round(starts), atol=1e-6)


def test_a_notebook_shows_images_as_jpeg_and_charts_as_png():
    shown, chart = style.for_notebook(sheet()), style.for_notebook(style.new_figure(2, "A title"))
    assert (pixels(shown.data).format, pixels(chart.data).format) == ("JPEG", "PNG")
    assert pixels(shown.data).width == pixels(chart.data).width == 822
    saved = pixels(style.encode(sheet())[1]).convert("RGB").resize(pixels(shown.data).size)
    difference = np.subtract(pixels(shown.data), saved, dtype=float)
    assert abs(difference).mean() < 2


def test_colours_of_maps_read_in_grey():
    light = np.array([0.299, 0.587, 0.114])
    assert (np.diff(style.SALIENCY(np.linspace(0, 1, 64))[:, :3] @ light) < 0).all()
    assert (np.diff(style.SIGNED(np.linspace(0.5, 1, 32))[:, :3] @ light) < 0).all()
    assert (np.diff(style.SIGNED(np.linspace(0, 0.5, 32))[:, :3] @ light) > 0).all()
    np.testing.assert_allclose(style.SIGNED(0.5)[:3], 1, atol=0.01)


def test_the_alternative_text_of_a_figure_is_its_own_words():
    assert style.for_notebook(sheet()).alt == "A: image; 60; 1.6e+02; saliency (line: top fifth)"
    chart = style.new_figure(2, "A chart")
    chart.add_subplot(xlabel="right", ylabel="up", title="head")
    assert style.for_notebook(chart).alt == "A chart: head; right; up"
    assert style.for_notebook(style.new_figure(2, "Empty")).alt == "Empty"
