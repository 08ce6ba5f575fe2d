"""Explained images as ``python -m lab.explain`` shows them: a figure or a web page."""

import base64
import io
import math
import os
import textwrap
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
from PIL import Image

from lab.measure.agreement import constant
from lab.methods.registry import METHODS, PIXEL
from lab.show import maps

COLUMNS = 4  # of a figure: with more, the names of methods overlap
SIDE = 800  # pixels: the longer side of an image as it is shown
_ZONES = "upper left", "upper centre", "upper right", "middle left", "centre", "middle right"
_ZONES += "lower left", "lower centre", "lower right"


class Explained(NamedTuple):
    """An image, and maps of some of its classes.

    A class is (index, name, probability), as of `BlackBox.top`.
    """

    name: str  # of the image's file
    image: np.ndarray  # (H, W, 3) uint8, at its own aspect ratio
    guesses: list  # the most probable classes
    classes: list  # the classes that are explained
    maps: list  # for each of these classes (n_methods, h, w), in the network's input size


def shrunk(image):
    """An image (H, W, 3) whose longer side has at most `SIDE` pixels."""
    image = Image.fromarray(image)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.array(image)


def rows_per_image(methods):
    """The rows that an image takes in a `figure`."""
    return math.ceil((1 + len(methods)) / COLUMNS)


def figure(explained, methods, title, note):
    """Draw images, their guesses, and each method's map of the first explained class.

    Parameters
    ----------
    explained : list of Explained
    methods : list of str
        Keys of `lab.methods.registry.METHODS`.
    title, note : str
        Of the figure, and of the scale of its maps, after "with".

    Returns
    -------
    matplotlib.figure.Figure
        A row for each image; more where there are more than three methods.
    """
    rows, heads = [], []
    for one in explained:
        guesses = "\n".join(map(_words, _listed(one)))
        panels = [maps.image_panel(one.image, _head(one.name), guesses)]
        panels += [
            maps.method_map(name, one.image, _drawn(values), method.title, _note(values, method))
            for name, method, values in zip(methods, map(METHODS.get, methods), one.maps[0])
        ]
        length = math.ceil(len(panels) / rows_per_image(methods))
        panels += [None] * (-len(panels) % length)
        heads += [textwrap.fill(_spaced(one.classes[0][1]), 15)] * (len(panels) // length)
        rows += maps.wrapped(panels, length)
    labels = f"saliency with {note}", f"effect on the score with {note}"
    return maps.sheet(rows, title, (), heads, *labels)


def page(explained, methods, title, about):
    """Make a web page of images, whose maps are chosen by class and method.

    Two methods can be compared side by side. Without JavaScript, all maps are shown.

    Parameters
    ----------
    explained : list of Explained
    methods : list of str
        Keys of `lab.methods.registry.METHODS`.
    title, about : str
        The page's title, and a sentence below it.

    Returns
    -------
    bytes
        HTML in UTF-8 with everything that it shows.
    """
    methods = [METHODS[method] for method in methods]
    cards = []
    for one in explained:
        labels = [label for label, _, _ in one.classes]
        classes = [
            {"words": _words(about), "share": f"{about[2]:.1%}", "explained": about[0] in labels}
            | {"label": about[0]}
            for about in _listed(one)
        ]
        shown = [
            {"label": label, "name": _spaced(name), "method": number, "title": method.title}
            | {"signed": method.signed, "file": _layer(_drawn(values), method.signed)}
            | {"where": _where(_drawn(values), method.signed), "note": _note(values, method)}
            for (label, name, _), of_class in zip(one.classes, one.maps)
            for number, (values, method) in enumerate(zip(of_class, methods))
        ]
        photo = _data(Image.fromarray(one.image), "jpeg", quality=85)
        height, width = one.image.shape[:2]
        card = {"name": one.name, "photo": photo, "width": width, "height": height}
        cards.append(card | {"classes": classes, "first": labels[0], "maps": shown})
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=folder, autoescape=True).get_template("page.html")
    text = template.render(
        title=title,
        about=about,
        methods=methods,
        cards=cards,
        scales={"saliency": _gradient(signed=False), "signed": _gradient(signed=True)},
        opacity=round(100 * maps.OPACITY),
    )
    return text.encode(errors="backslashreplace")  # a file's name may hold any bytes


def _drawn(values):
    """A map without the colours that rounding, or one superpixel, would give it."""
    return np.zeros_like(values) if constant(values) else values


def _note(values, method):
    if constant(values):
        return "constant: it says nothing"
    if not method.signed:
        return ""
    alone = method.effects != PIXEL  # one pixel's effect is tiny
    value = values.flat[np.abs(values).argmax()] if alone else values.sum()
    words = "up to" if alone else "in all"
    return f"{method.effects} effects {words} {value:+.2g}".replace("-", "−")


def _listed(one):
    """The guesses, and the explained classes that are not among them."""
    guessed = {label for label, _, _ in one.guesses}
    return [*one.guesses, *(about for about in one.classes if about[0] not in guessed)]


def _spaced(name):
    return name.replace("_", " ")


def _head(name):
    """An image's file and folder, as short as a panel is wide."""
    parts = os.path.splitext(name)[0].split("/")[-2:]
    return "/\n".join(part if len(part) <= 24 else f"…{part[-23:]}" for part in parts)


def _words(about):
    _, name, probability = about
    return f"{_spaced(name)} " + (f"{probability:.1%}" if probability >= 5e-4 else "<0.1%")


def _layer(values, signed):
    """A map as a PNG to be laid over its image, in `maps.shades` of its own scale."""
    part = maps.on_scale(values, maps.scale(values, signed))
    image = Image.fromarray(np.round(254 * part).astype(np.uint8))  # 127 is the middle
    colors = np.round(255 * maps.shades(np.linspace(0, 1, 255), signed)).astype(np.uint8)
    image.putpalette(colors[:, :3].tobytes())
    return _data(image, "png", optimize=True, transparency=colors[:, 3].tobytes())


def _gradient(signed):
    """The colours of a scale, as CSS has them."""
    colors = maps.shades(np.linspace(0, 1, 13), signed) * [1, 1, 1, maps.OPACITY]
    return ", ".join("rgb({:.0%} {:.0%} {:.0%} / {:.0%})".format(*color) for color in colors)


def _where(values, signed):
    """Where in the image a map is highest, in words."""
    low, high = values.min(), values.max()
    if low == high:
        return "the same everywhere"
    if signed and high <= 0:
        return "nothing speaks for the class"
    places = np.argwhere(values >= high - (high - low) / 50)
    zones = (3 * places // values.shape) @ [3, 1]
    pixels = np.bincount(zones, minlength=len(_ZONES))
    names = [f"the {name}" for name, n in zip(_ZONES, pixels) if n >= pixels.max() / 4]
    if len(names) > 4:
        return "highest in many places"
    return "highest in " + " and ".join(", ".join(names).rsplit(", ", 1))


def _data(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
