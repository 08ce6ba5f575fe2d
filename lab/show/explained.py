"""Explained images as ``python -m lab.explain`` shows them: a figure or a web page."""

import base64
import io
import math
import textwrap
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
from PIL import Image

from lab.show import maps
from lab.show.style import SALIENCY

COLUMNS = 4  # of a figure: with more, the names of methods overlap
SIDE = 800  # pixels: the longer side of an image as it is shown


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


def figure(explained, methods, title, label):
    """Draw images, their guesses, and each method's map of the first explained class.

    Parameters
    ----------
    explained : list of Explained
    methods : list of str
        Their names.
    title, label : str
        Of the figure, and of the maps' scale.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each image; more where there are more than three methods.
    """
    rows, heads = [], []
    for one in explained:
        [_, name, _], values = one.classes[0], one.maps[0]
        guesses = "\n".join(map(_words, _listed(one)))
        panels = [maps.photograph(one.image, "Image", guesses)]
        panels += [maps.saliency(one.image, *pair) for pair in zip(values, methods)]
        length = math.ceil(len(panels) / rows_per_image(methods))
        panels += [None] * (-len(panels) % length)
        heads += [textwrap.fill(_spaced(name), 15)] * (len(panels) // length)
        rows += maps.wrapped(panels, length)
    return maps.sheet(rows, title, row_heads=heads, label=label)


def page(explained, methods, title, about):
    """Make a web page of images, whose maps are chosen by class and method.

    Parameters
    ----------
    explained : list of Explained
    methods : list of str
        Their names.
    title, about : str
        The page's title, and a sentence below it.

    Returns
    -------
    bytes
        HTML in UTF-8 with everything that it shows.
    """
    cards = []
    for one in explained:
        labels = [label for label, _, _ in one.classes]
        classes = [
            {"words": _words(about), "share": f"{about[2]:.1%}", "explained": about[0] in labels}
            | {"label": about[0]}
            for about in _listed(one)
        ]
        shown = [
            {"label": label, "method": number, "file": _layer(values), "alt": alt}
            for (label, name, _), of_class in zip(one.classes, one.maps)
            for number, (values, method) in enumerate(zip(of_class, methods))
            for alt in [f"{method} of {_spaced(name)}: highest {_place(values)}"]
        ]
        photo = _data(Image.fromarray(one.image), "jpeg", quality=85)
        height, width = one.image.shape[:2]
        card = {"name": one.name, "photo": photo, "width": width, "height": height}
        cards.append(card | {"classes": classes, "first": labels[0], "maps": shown})
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=folder, autoescape=True).get_template("page.html")
    scale = ", ".join("rgb({:.0%} {:.0%} {:.0%})".format(*SALIENCY(k / 4)[:3]) for k in range(5))
    opacity = round(100 * maps.OPACITY)
    text = template.render(
        title=title, about=about, methods=methods, cards=cards, scale=scale, opacity=opacity
    )
    return text.encode(errors="backslashreplace")  # a file's name may hold any bytes


def _listed(one):
    """The guesses, and the explained classes that are not among them."""
    guessed = {label for label, _, _ in one.guesses}
    return [*one.guesses, *(about for about in one.classes if about[0] not in guessed)]


def _spaced(name):
    return name.replace("_", " ")


def _words(about):
    _, name, probability = about
    return f"{_spaced(name)} " + (f"{probability:.1%}" if probability >= 5e-4 else "<0.1%")


def _layer(values):
    """A map as a PNG to be laid over its image, transparent as in `maps.tinted`."""
    span = float(np.ptp(values)) or 1.0
    image = Image.fromarray(np.round(255 * (values - values.min()) / span).astype(np.uint8))
    part = np.clip((np.linspace(0, 1, 256) - maps.FROM) / (1 - maps.FROM), 0, 1)
    image.putpalette(np.round(255 * SALIENCY(part)[:, :3]).astype(np.uint8).tobytes())
    return _data(image, "png", optimize=True, transparency=np.uint8(255 * part).tobytes())


def _place(values):
    """Where in the image a map is highest, in words; superpixels have equal values."""
    at = np.argwhere(values == values.max()).mean(axis=0)
    down, across = (int(3 * place / length) for place, length in zip(at, values.shape))
    words = f"{('upper', 'middle', 'lower')[down]} {('left', 'centre', 'right')[across]}"
    return "in the centre" if (down, across) == (1, 1) else f"in the {words}"


def _data(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
