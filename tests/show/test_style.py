import io

import numpy as np
import PIL.Image

from lab.show import charts, maps, style

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
BLOB = np.exp(-((np.linspace(-2, 2, 60)[:, None]) ** 2 + np.linspace(-2, 2, 80) ** 2))


def sheet():
    return maps.sheet(
        [[maps.photograph(IMAGE, "picture"), maps.saliency(IMAGE, BLOB, "map", "a note")]],
        "A title",
    )


def bars():
    import pandas as pd

    return charts.bars(
        pd.DataFrame({"a": [1, 2], "b": [3, 4]}, index=["x", "y"]), "A title", "unit"
    )


def test_the_same_figure_gives_the_same_bytes():
    for make in (sheet, bars):
        assert style.encode(make()) == style.encode(make())
        figure = make()
        assert style.encode(figure) == style.encode(figure)


def test_lines_are_vectors_with_text_as_text_and_pictures_a_palette():
    kind, data = style.encode(bars())
    assert kind == "svg" and ">A title<" in data.decode()
    kind, data = style.encode(sheet())
    picture = PIL.Image.open(io.BytesIO(data))
    assert kind == "png" and picture.mode == "P"
    # at its own size where it is printed
    assert (
        abs(picture.width / style.DPI - style.WIDTH) < 0.01
        and abs(picture.info["dpi"][0] - style.DPI) < 0.1
    )


def test_the_palette_keeps_paper_white_letters_black_and_a_small_patch_in_its_colour():
    image = np.full((300, 400, 3), (90, 140, 210), np.uint8)
    image[:6, :6] = 200, 20, 30
    image[100:200] = np.random.default_rng(0).integers(60, 120, (100, 400, 3), np.uint8)
    figure = maps.sheet([[maps.photograph(image)]], "A title")
    found = (
        np.asarray(PIL.Image.open(io.BytesIO(style.encode(figure)[1])).convert("RGB"))
        .reshape(-1, 3)
        .astype(int)
    )
    assert (found[0] == 255).all() and (found == 0).all(axis=1).any()
    for color in ((90, 140, 210), (200, 20, 30)):
        assert np.abs(found - color).sum(axis=1).min() <= 12


def test_a_notebook_gets_a_small_picture():
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    figure = maps.sheet([[maps.photograph(noise)] * 3] * 2, "Noise compresses worst")
    assert len(style.inline(figure).data) < len(style.encode(figure)[1]) / 2
    assert len(style.inline(sheet()).data) <= style.INLINE


def test_colours_of_maps_read_in_grey():
    light = np.array([0.299, 0.587, 0.114])
    assert (np.diff(style.SALIENCY(np.linspace(0, 1, 64))[:, :3] @ light) < 0).all()
    half = style.SIGNED(np.linspace(0.5, 1, 32))[:, :3] @ light
    assert (np.diff(half) < 0).all() and (
        np.diff(style.SIGNED(np.linspace(0, 0.5, 32))[:, :3] @ light) > 0
    ).all()
    np.testing.assert_allclose(style.SIGNED(0.5)[:3], 1, atol=0.01)
