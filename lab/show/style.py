"""The style of all figures: sizes, fonts, colours, and how a figure becomes a file."""

import io

import matplotlib.style
import numpy as np
import PIL.Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

WIDTH = 6.85  # inches: the text width of the report, which shows figures at their own size
TITLE, HEAD, NOTE = 10, 8, 7  # points: figure title, row or column head, everything else
DPI = 120  # fills a notebook's column; with 150, all figures would exceed 15 MB

SALIENCY = LinearSegmentedColormap.from_list(
    "saliency", ["#fee08b", "#fdae42", "#f46d22", "#c51b1b", "#7f0000"]
)
"""Colour map of saliency: darker where more salient, so it also reads in grey."""

SIGNED = LinearSegmentedColormap.from_list(
    "signed", ["#b3156d", "#e79ac6", "#ffffff", "#a3d06a", "#3d7a1c"]
)
"""Of signed numbers, also for the colour-blind: green positive, pink negative."""

_COLORS = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999933"
_MARKERS = "os^Dv*PX<"  # not as many as colours: pairs of both repeat late

STYLE = [
    "default",
    {
        "font.family": "DejaVu Sans",
        "font.size": NOTE,
        "axes.titlesize": HEAD,
        "axes.labelsize": NOTE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.4,
        "legend.frameon": False,
        "legend.fontsize": NOTE,
        "xtick.labelsize": NOTE,
        "ytick.labelsize": NOTE,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "svg.fonttype": "none",  # text stays text and takes the report's font
        "svg.hashsalt": "lab",  # random names would make every file differ
    },
]
"""Starts from matplotlib's defaults: a user's own matplotlibrc changes no figure."""


def color(number):
    """The colour of a group by its number, the first ones again after eight.

    For the colour-blind: Okabe and Ito's colours, with olive for their yellow.
    """
    return _COLORS[number % len(_COLORS)]


def marker(number):
    """The marker of a group by its number: with its colour, the same after 72."""
    return _MARKERS[number % len(_MARKERS)]


styled = matplotlib.style.context(STYLE)
"""Decorator of functions that create or render figures: they run under `STYLE`."""


@styled
def new_figure(height, title, layout=None):
    """An empty `matplotlib.figure.Figure` as wide as the report's text, with its title.

    `height` is in inches, `layout` as in matplotlib.
    """
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    # A layout engine places the title by itself.
    place = {} if layout else {"y": 1 - 0.06 / height, "va": "top"}
    figure.suptitle(title, fontsize=TITLE, fontweight="bold", **place)
    return figure


@styled
def encode(figure, kind=None):
    """The kind and the bytes of a figure's file: "png", "svg" or "pdf".

    By default it is "png" if the figure holds images, else "svg". The bytes are the
    same for the same figure and the same versions of the libraries.
    """
    kind = kind or ("png" if any(axes.images for axes in figure.axes) else "svg")
    if kind == "png":
        return kind, _pixels(figure, kind)
    file, date = io.BytesIO(), {"svg": "Date", "pdf": "CreationDate"}[kind]
    figure.savefig(file, format=kind, dpi=DPI, metadata={date: None, "Creator": None})
    return kind, file.getvalue()


@styled
def for_notebook(figure):
    """A figure as a notebook shows it, an `IPython.display.Image`.

    Figures with images are JPEG files there, which are smaller. The alternative text
    is the figure's own words, which name its panels and their numbers.
    """
    from IPython.display import Image  # only notebooks need it

    if any(axes.images for axes in figure.axes):
        data = _pixels(figure, "jpeg", quality=85, subsampling=0)
        return Image(data=data, format="jpeg", alt=_words(figure))
    return Image(data=_pixels(figure, "png"), format="png", alt=_words(figure))


def _words(figure):
    """The title of a figure, then its labels and notes in the order they were drawn."""
    words = []
    for axes in figure.axes:
        words += [text.get_text() for text in axes.texts]
        words += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
    said = "; ".join(" ".join(text.split()) for text in words if text)
    title = figure.get_suptitle()
    return f"{title}: {said}" if said else title


def _pixels(figure, kind, **options):
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # Smaller than matplotlib's own PNG, which has an alpha channel.
    image = PIL.Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    file = io.BytesIO()
    image.save(file, kind, optimize=True, dpi=(DPI, DPI), **options)
    return file.getvalue()
