import io

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from lab import figures

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
MAP = np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40)
LONG = "A finding that takes more room than one line of a figure has, so that the title must be wrapped for it to be read in full"

FIGURES = {
    "pictures": lambda: figures.pictures([IMAGE] * 5, ["Net\nclass 0.50"] * 5, LONG),
    "saliency_maps": lambda: figures.saliency_maps([("Net, class\n100 masks", IMAGE, MAP)] * 4, LONG, columns=2),
    "rise_steps": lambda: figures.rise_steps(
        IMAGE, [MAP] * 6, [IMAGE] * 6, np.ones(6), np.stack([MAP] * 6), [(n, MAP) for n in range(1, 7)], LONG
    ),
    "lime_and_rise": lambda: figures.lime_and_rise(
        [("picture", IMAGE, ("LIME: Net\nsetting\nR²", IMAGE), ("RISE: Net\nmasks", MAP))] * 2, LONG
    ),
    "superpixel_weights": lambda: figures.superpixel_weights(IMAGE, MAP - 0.5, IMAGE, LONG, "Net, class", "setting\n10 samples"),
    "lines": lambda: figures.lines(
        pd.DataFrame({"n": [1, 10] * 2, "r": [0.1, 0.2, 0.3, 0.4], "net": list("aabb")}), "n", "r", "net", LONG, "samples", "R² ↑"
    ),
    "intervals": lambda: figures.intervals(
        pd.DataFrame({"name": list("xxyy"), "pair": list("abab"), "tau": [0.1, 0.2, 0.3, 0.4], "low": 0.0, "high": 0.5}), "name", "pair", "tau", LONG, "tau"
    ),
    "shares": lambda: figures.shares(pd.DataFrame({"a": [0.3, 0.5], "b": [0.7, 0.5]}, index=["x", "y"]), LONG, "share"),
    "roar": lambda: figures.roar(
        pd.DataFrame({"method": np.repeat([f"method {i}" for i in range(8)], 2), "share": [0.1, 0.9] * 8, "drawn": 0.8, "accuracy": 0.9, "trace": 0.5}), LONG, "accuracy ↓"
    ),
    "heat": lambda: figures.heat(pd.DataFrame(np.eye(3), index=["a", "b", "c"], columns=["first name", "b", "c"]), LONG, "tau", "{:.1f}", (-1, 1)),
    "deletion_and_insertion": lambda: figures.deletion_and_insertion(
        IMAGE, IMAGE // 2, [("Method\nNet", MAP, np.array([[0, 1], [0.9, 0]]), np.array([[0, 1], [0, 0.9]]))] * 3, LONG
    ),
    "bars": lambda: figures.bars(pd.DataFrame({"a": [1, 2], "b": [3, 4]}, index=["x", "y"]), LONG, "unit"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_overlaps_and_none_leaves_the_figure(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    canvas = figure.bbox
    legends = [axis.get_legend() for axis in figure.axes if axis.get_legend()]
    texts = [figure._suptitle, *(axis.title for axis in figure.axes), *(text for legend in legends for text in legend.get_texts())]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    for i, box in enumerate(boxes):
        assert canvas.x0 <= box.x0 and box.x1 <= canvas.x1 and canvas.y0 <= box.y0 and box.y1 <= canvas.y1, texts[i]
        assert not any(box.overlaps(other) for other in boxes[:i]), texts[i]


def test_saliency_has_one_colour_map_that_rises_in_lightness():
    drawn = [image for name in ("saliency_maps", "rise_steps") for axis in FIGURES[name]().axes for image in axis.images]
    colored = {image.cmap.name for image in drawn if image.cmap.name != "gray" and image.get_array().ndim == 2}
    assert colored == {figures.SALIENCY}
    import matplotlib

    colors = matplotlib.colormaps[figures.SALIENCY](np.linspace(0, 1, 64))[:, :3]
    assert (np.diff(colors @ [0.299, 0.587, 0.114]) > 0).all()


def test_the_ticks_of_a_scale_stay_apart_whatever_the_values():
    small = 0.00042 + MAP * 0.00111
    figure = figures.saliency_maps([("Net, class\n2000 masks", IMAGE, small)] * 4, "Small values")
    figure.draw_without_rendering()
    scales = [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]
    assert len(scales) == 4
    for scale in scales:
        boxes = [label.get_window_extent() for label in scale.get_xticklabels() if label.get_text()]
        assert len(boxes) >= 2
        assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))


def _decoded(name):
    kind, data = figures.encode(FIGURES[name]())
    assert figures.encode(FIGURES[name]()) == (kind, data)
    if kind == "svg":
        assert LONG.split()[0] in data.decode()
        return kind, None
    return kind, PIL.Image.open(io.BytesIO(data))


def test_encoding_repeats_itself_and_keeps_the_shades_of_maps():
    assert _decoded("bars")[0] == "svg"
    kind, photographs = _decoded("pictures")
    assert kind == "png" and photographs.mode == "P" and photographs.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    kind, maps = _decoded("saliency_maps")
    assert kind == "png" and maps.mode == "RGB" and len(maps.getcolors(1 << 20)) > 256


def test_deletion_takes_the_most_salient_pixels_and_insertion_puts_them_in():
    figure = FIGURES["deletion_and_insertion"]()
    tenth, three, inserted = (axis.images[0].get_array() for axis in figure.axes[1:4])
    order = np.argsort(-MAP, axis=None)
    flat = IMAGE.reshape(-1, 3)
    for picture, share in ((tenth, 0.1), (three, 0.3)):
        gone = order[: round(share * MAP.size)]
        assert not picture.reshape(-1, 3)[gone].any()
        np.testing.assert_array_equal(np.delete(picture.reshape(-1, 3), gone, 0), np.delete(flat, gone, 0))
    np.testing.assert_array_equal(inserted.reshape(-1, 3)[order[:120]], flat[order[:120]])
    np.testing.assert_array_equal(inserted.reshape(-1, 3)[order[120:]], flat[order[120:]] // 2)


def test_numbers_of_a_heat_map_can_be_read():
    figure = FIGURES["heat"]()
    texts = figure.axes[0].texts
    assert [text.get_text() for text in texts] == ["1.0", "0.0", "0.0", "0.0", "1.0", "0.0", "0.0", "0.0", "1.0"]
    # white on the dark end of the scale, black on its light middle
    assert [text.get_color() for text in texts[:2]] == ["white", "black"]


def test_outlines_only_touch_borders():
    regions = np.zeros((30, 40), int)
    regions[:, 20:] = 1
    changed = (figures.outlined(IMAGE, regions) != IMAGE).any(axis=2)
    assert changed[:, 19:21].any() and not changed[:, :18].any() and not changed[:, 22:].any()
