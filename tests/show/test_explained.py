import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from lab.show import explained, maps, style

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
GUESSES = [(386, "African_elephant", 0.7), (101, "tusker", 0.2), (385, "Indian_elephant", 0.05)]
RAMP = np.broadcast_to(np.linspace(0, 1, 30, dtype=np.float32), (30, 30))
METHODS = ["LIME", "RISE"]


def one(name="a.jpg", classes=GUESSES):
    return explained.Explained(name, IMAGE, GUESSES, classes, [[RAMP, RAMP.T]] * len(classes))


def test_the_figure_has_a_row_for_each_image_at_its_own_aspect_ratio():
    figure = explained.figure([one(), one()], METHODS, "Explanations", "saliency")
    figure.draw_without_rendering()
    boxes = [shown.get_window_extent() for shown in figure.axes[0].images[:-1]]
    assert len(boxes) == 6
    for box in boxes:
        assert box.height / box.width == pytest.approx(40 / 80, rel=0.02)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert "African elephant 70.0%\ntusker 20.0%\nIndian elephant 5.0%" in words
    assert words.count("African\nelephant") == 2 and {"Image", *METHODS} <= set(words)


def test_more_methods_take_more_rows():
    many = explained.Explained("a.jpg", IMAGE, GUESSES, GUESSES[:1], [[RAMP] * 5])
    figure = explained.figure([many], list("ABCDE"), "Explanations", "saliency")
    figure.draw_without_rendering()
    places = [shown.get_window_extent() for shown in figure.axes[0].images]
    assert len(places) == 6 + 1  # and the scale
    assert len({round(place.x0) for place in places[:6]}) == 3
    assert explained.rows_per_image("ABCDE") == 2 and explained.rows_per_image("ABC") == 1


@pytest.mark.parametrize("kind, start", [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_a_figure_is_encoded_as_asked_and_equally_again(kind, start):
    figure = explained.figure([one()], METHODS, "Explanations", "saliency")
    named, content = style.encode(figure, kind)
    assert named == kind and content.startswith(start)
    assert style.encode(figure, kind)[1] == content


def test_a_page_needs_nothing_else_and_shows_every_map_in_words_too():
    text = explained.page([one("<b>&.jpg"), one("b.jpg")], METHODS, "Title", "About.").decode()
    assert "://" not in text and "@import" not in text and "<link" not in text
    assert "<b>" not in text and "&lt;b&gt;&amp;.jpg" in text
    images = re.findall(r"<img [^>]*>", text)
    assert len(images) == 2 * (1 + 3 * 2)
    assert all(re.search('alt="[^"]+"', image) and 'src="data:' in image for image in images)
    assert 'alt="LIME of African elephant: highest in the middle right"' in text
    assert 'alt="RISE of tusker: highest in the lower centre"' in text
    # At first one map of each image is shown, of the class that is chosen.
    shown = [image for image in images if 'class="map"' in image and " hidden" not in image]
    assert len(shown) == 2 and all('data-label="386"' in image for image in shown)
    assert re.findall(r'value="(\d+)" checked>(\w+)', text) == [
        *[("0", "LIME"), ("386", "African"), ("386", "African")]
    ]


def test_a_class_that_is_no_guess_is_listed_and_alone_can_be_chosen():
    zebra = one(classes=[(340, "zebra", 0.0001)])
    figure = explained.figure([zebra], METHODS, "T", "saliency")
    assert any(text.get_text().endswith("\nzebra <0.1%") for text in figure.axes[0].texts)
    text = explained.page([zebra], METHODS, "T", "A.").decode()
    assert re.findall(r'name="label" value="(\d+)"', text) == ["340"]
    assert "African elephant 70.0%" in text and "zebra &lt;0.1%" in text


def test_a_layer_is_the_map_on_the_scale_of_figures():
    text = explained.page([one()], METHODS, "T", "A.").decode()
    data = re.search(r'class="map" src="data:image/png;base64,([^"]+)"', text)[1]
    layer = np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"), float)
    ground = np.full((30, 30, 3), 200.0)
    alpha = maps.OPACITY * layer[..., 3:] / 255
    over = (1 - alpha) * ground + alpha * layer[..., :3]
    assert np.abs(over - maps.tinted(ground, RAMP, (0, 1))).max() < 4


def test_large_images_are_shrunk_and_keep_their_aspect_ratio():
    assert explained.shrunk(np.zeros((1000, 2000, 3), np.uint8)).shape == (400, 800, 3)
    np.testing.assert_array_equal(explained.shrunk(IMAGE), IMAGE)
