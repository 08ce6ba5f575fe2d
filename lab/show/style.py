"""The one style of all figures: sizes, letters, colours, and how a figure becomes a file."""

import io

import matplotlib
import numpy as np
import PIL.Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

WIDTH = 6.85  # inches: the text width of the report, where figures stand at their own size
TITLE, HEAD, NOTE = 10, 8, 7  # points: of a figure, of a row or column, of everything smaller
DPI = 150
INLINE = 120_000  # bytes: what a figure in a notebook may take
COLORS_OF_A_FILE = 200  # beside the greys of letters

SALIENCY = LinearSegmentedColormap.from_list(
    "saliency", ["#fee08b", "#fdae42", "#f46d22", "#c51b1b", "#7f0000"]
)
"""The one colour map of saliency: warm, and darker the more salient, so that it also reads in grey."""

SIGNED = LinearSegmentedColormap.from_list(
    "signed", ["#b3156d", "#e79ac6", "#ffffff", "#a3d06a", "#3d7a1c"]
)
"""Colour map of signed numbers: green speaks for, pink against, white is zero; the colour-blind can tell them apart."""

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999933")
"""Line colours that colour-blind readers can tell apart (Okabe & Ito, with olive for their yellow)."""

MARKERS = "os^Dv*PX"

STYLE = {
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
    "svg.fonttype": "none",
    "svg.hashsalt": "lab",  # text as text takes the report's letters; random names would make every file differ
}


def new(height, title, layout=None):
    """An empty figure as wide as the report's text, with its title.

    Parameters
    ----------
    height : float
        Inches.
    title : str
        One line that says what to see.
    layout : str, optional
        As in `matplotlib.figure.Figure`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout=layout)
        # A layout finds the title's place by itself.
        place = {} if layout else {"y": 1 - 0.06 / height, "va": "top"}
        figure.suptitle(title, fontsize=TITLE, fontweight="bold", **place)
    return figure


def encode(figure):
    """A figure as a file's content: vectors where it is all lines, which is smaller then, else pixels.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    kind : {"png", "svg"}
    data : bytes
        The same for the same figure and the same versions of the libraries.
    """
    if any(axes.images for axes in figure.axes):
        return "png", _pixels(figure, DPI)
    file = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return "svg", file.getvalue()


def inline(figure):
    """A figure for a notebook to show: small enough to have a dozen of them.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    IPython.display.Image
    """
    from IPython.display import Image  # only notebooks have a use for it

    for dpi in (90, 75, 60):
        data = _pixels(figure, dpi)
        if len(data) <= INLINE:
            break
    return Image(data=data, format="png")


def _pixels(figure, dpi):
    """A PNG with a palette: a third of the size that true colours take."""
    with matplotlib.rc_context(STYLE):
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    # In steps of four, in which a figure has some thousands of colours.
    shades = (pixels >> 2).astype(np.int32) @ np.array([4096, 64, 1], np.int32)
    counts = np.bincount(shades.ravel(), minlength=64**3)
    present = np.flatnonzero(counts)
    colors = np.stack([present // 4096, present // 64 % 64, present % 64], axis=-1) * 255 // 63
    palette = _palette(colors, counts[present])
    nearest = np.zeros(64**3, np.uint8)
    # Exact, where Pillow would look up in coarse steps. Of (a - b)², what depends on the palette.
    nearest[present] = np.argmin(
        (palette**2).sum(axis=1) - 2.0 * colors @ palette.T.astype(float), axis=1
    )
    small = PIL.Image.fromarray(nearest[shades])
    small.putpalette(palette.astype(np.uint8).tobytes())
    file = io.BytesIO()
    # Dithering would triple the size.
    small.save(file, "png", optimize=True, dpi=(dpi, dpi))
    return file.getvalue()


def _palette(colors, counts):
    """At most 256 colours (K, 3) for colours that are so frequent, among them greys for letters."""
    # By a root of their area, or the colours of a small map would give way to a large sky.
    drawn = np.repeat(colors, np.ceil(counts**0.4).astype(int), axis=0).astype(np.uint8)
    found = (
        PIL.Image.fromarray(drawn[None])
        .quantize(COLORS_OF_A_FILE, kmeans=2)
        .getpalette()[: 3 * COLORS_OF_A_FILE]
    )
    greys = np.arange(0, 256, 17)[:, None].repeat(3, axis=1)
    return np.concatenate([greys, np.reshape(found, (-1, 3))])
