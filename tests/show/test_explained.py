import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from lab.methods import registry
from lab.show import explained, maps, style

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
GUESSES = [(386, "African_elephant", 0.7), (101, "tusker", 0.2), (385, "Indian_elephant", 0.05)]
RAMP = np.broadcast_to(np.linspace(0, 1, 30, dtype=np.float32), (30, 30))
METHODS = ["lime", "rise"]


def one(name="a.jpg", classes=GUESSES):
    return explained.Explained(name, IMAGE, GUESSES, classes, [[RAMP, RAMP.T]] * len(classes))


def test_the_figure_has_a_row_for_each_image_at_its_own_aspect_ratio():
    figure = explained.figure([one(), one()], METHODS, "Explanations", "saliency")
    figure.draw_without_rendering()
    boxes = [shown.get_window_extent() for shown in figure.axes[0].images[:-2]]
    assert len(boxes) == 6
    for box in boxes:
        assert box.height / box.width == pytest.approx(40 / 80, rel=0.02)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert "African elephant 70.0%\ntusker 20.0%\nIndian elephant 5.0%" in words
    assert words.count("African\nelephant") == 2
    assert {"a", "LIME", "RISE (regression)", "against", "for", "highest"} <= set(words)


@pytest.mark.parametrize(
    "method, note",
    [
        ("lime", "superpixel effects up to −0.02"),
        ("nested", "summed window effects up to −0.02"),
        ("owen", f"pixel effects in all {-RAMP.sum() / 50:+.2g}".replace("-", "−")),
    ],
)
def test_a_signed_map_says_how_large_its_effects_are(method, note):
    several = explained.Explained("a.jpg", IMAGE, GUESSES, GUESSES[:1], [[-RAMP / 50, RAMP]])
    methods = [method, "rise"]
    words = [text.get_text() for text in explained.figure([several], methods, "", "").axes[0].texts]
    assert [word for word in words if " effects " in word] == [note]
    page = explained.page([several], methods, "", "").decode()
    assert page.count(" effects ") == 1
    assert f"{registry.METHODS[method].title} of African elephant ({note})" in page


def test_an_image_is_named_by_its_file_and_folder():
    names = {"a/b/c/own.photo.jpg": "c/\nown.photo", f"{'x' * 30}.jpg": f"…{'x' * 23}"}
    for name, head in names.items():
        figure = explained.figure([one(name)], METHODS, "", "")
        assert head in [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("noise", [0, 1e-7])
def test_a_constant_map_has_no_colour_and_a_note(noise):
    flat = np.float32(0.3) + noise * RAMP
    clear = np.zeros_like(RAMP)
    several = [
        explained.Explained("a.jpg", IMAGE, GUESSES, GUESSES[:1], [[values] * 2])
        for values in (flat, clear)
    ]
    figures = [explained.figure([each], METHODS, "", "") for each in several]
    words = [text.get_text() for text in figures[0].axes[0].texts]
    assert words.count("constant: it says nothing") == 2
    shown, expected = ([image.get_array() for image in f.axes[0].images[:3]] for f in figures)
    np.testing.assert_array_equal(shown, expected)
    pages = [explained.page([each], METHODS, "", "").decode() for each in several]
    assert pages[0] == pages[1] and pages[0].count("(constant: it says nothing)") == 2


def test_more_methods_take_more_rows():
    many = explained.Explained("a.jpg", IMAGE, GUESSES, GUESSES[:1], [[RAMP] * 5])
    figure = explained.figure([many], ["rise"] * 5, "Explanations", "saliency")
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
    assert len(images) == 2 * 3 * 2
    assert all('src="data:' in image for image in images)
    where = "highest in the upper right, the middle right and the lower right"
    assert f'alt="b.jpg, LIME of African elephant: {where}"' in text
    where = "highest in the lower left, the lower centre and the lower right"
    assert f'alt="b.jpg, RISE (regression) of tusker: {where}"' in text
    assert re.findall(r'value="(\d*)" checked>(\w+)', text) == [
        *[("0", "LIME"), ("", "nothing"), ("386", "African"), ("386", "African")]
    ]


DOWN, ACROSS = np.mgrid[-1:1:60j, -1:1:60j]
CORNERS = ((DOWN < -0.8) & (ACROSS < -0.8)) | ((DOWN > 0.8) & (ACROSS > 0.8))


@pytest.mark.parametrize(
    "values, expected",
    [
        (np.exp(-(DOWN**2) - ACROSS**2), "highest in the centre"),
        (CORNERS + 0.0, "highest in the upper left and the lower right"),
        (np.exp(-20 * (np.hypot(DOWN, ACROSS) - 0.7) ** 2), "highest in many places"),
        (np.full((60, 60), 0.3), "the same everywhere"),
        (DOWN - 2, "nothing speaks for the class"),
    ],
)
def test_the_alternative_text_is_true_of_any_map(values, expected):
    zebra = explained.Explained("a.jpg", IMAGE, GUESSES, GUESSES[:1], [[values]])
    text = explained.page([zebra], ["occlusion"], "T", "A.").decode()
    assert f"Occlusion of African elephant: {expected}" in text


def test_a_class_that_is_no_guess_is_listed_and_alone_can_be_chosen():
    zebra = one(classes=[(340, "zebra", 0.0001)])
    figure = explained.figure([zebra], METHODS, "T", "saliency")
    assert any(text.get_text().endswith("\nzebra <0.1%") for text in figure.axes[0].texts)
    text = explained.page([zebra], METHODS, "T", "A.").decode()
    assert re.findall(r'name="label" value="(\d+)"', text) == ["340"]
    assert "African elephant 70.0%" in text and "zebra &lt;0.1%" in text


def test_a_layer_is_the_map_on_the_scale_of_figures():
    text = explained.page([one()], METHODS, "T", "A.").decode()
    layers = re.findall(r'<img src="data:image/png;base64,([^"]+)"', text)
    ground = np.full((30, 30, 3), 200.0)
    drawn = maps.tinted(ground, RAMP, (-1, 1), True), maps.tinted(ground, RAMP.T, (0, 1))
    for data, expected in zip(layers, drawn):
        layer = np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"), float)
        alpha = maps.OPACITY * layer[..., 3:] / 255
        over = (1 - alpha) * ground + alpha * layer[..., :3]
        assert np.abs(over - expected).max() < 4


def test_large_images_are_shrunk_and_keep_their_aspect_ratio():
    assert explained.shrunk(np.zeros((1000, 2000, 3), np.uint8)).shape == (400, 800, 3)
    np.testing.assert_array_equal(explained.shrunk(IMAGE), IMAGE)
