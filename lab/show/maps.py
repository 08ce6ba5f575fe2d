"""Pictures with what explains them: saliency, weights and superpixels, as panels of a sheet.

A panel shows the picture at its own aspect ratio and full resolution, whatever the shape of the map: maps and
superpixels are resized to the picture. Every panel of a sheet that has the same unit and is to be compared takes the
same `limits`; the scale below the sheet says whether it is one for all.
"""

import textwrap
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image

from lab.show.style import HEAD, NOTE, SALIENCY, SIGNED, STYLE, WIDTH, new

FROM = 1 / 3  # of the range of a map: nothing below it is coloured
OPACITY = 0.75  # at the top of the range
SALIENT = 0.2  # share of the pixels that the contour encircles

# Inches: between panels, a line of text, the title, the widest panel.
_GAP, _LINE, _TOP, _WIDEST = 0.07, 0.118, 0.32, 2.45


class Panel(NamedTuple):
    """One panel of a `sheet`.

    Attributes
    ----------
    pixels : (H, W, 3) uint8 array
    head, note : str
        What stands above and below it, one short line each.
    contour : (H, W) array or None
        The map whose most salient fifth is encircled.
    kind : {"", "saliency", "weights"}
        What the colours mean.
    limits : (float, float) or None
        The values at the ends of the scale.
    shared : bool
        Whether the caller gave these limits.
    """

    pixels: np.ndarray
    head: str = ""
    note: str = ""
    contour: np.ndarray | None = None
    kind: str = ""
    limits: tuple | None = None
    shared: bool = False


def photograph(image, head="", note=""):
    """A picture as it is.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    head, note : str, optional
        What stands above and below it.

    Returns
    -------
    Panel
    """
    return Panel(np.asarray(image), head, note)


def saliency(image, values, head="", note="", limits=None):
    """A map over its picture in light grey: coloured where salient, the most salient fifth encircled.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    values : (h, w) array
        Not negative; resized to the picture.
    head, note : str, optional
        What stands above and below it.
    limits : (float, float), optional
        The values at the ends of the scale; by default the lowest and highest of the map.

    Returns
    -------
    Panel
    """
    values = resized(values, image.shape[:2])
    low, high = limits or (float(values.min()), float(values.max()))
    return Panel(
        tinted(light_grey(image), values, (low, high)),
        head,
        note,
        values,
        "saliency",
        (low, high),
        limits is not None,
    )


def weights(image, values, head="", note="", limit=None):
    """Signed weights over their picture in light grey: green for, pink against, untouched at zero.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    values : (h, w) array
        Each pixel's weight; resized to the picture, to the nearest.
    head, note : str, optional
        What stands above and below it.
    limit : float, optional
        The absolute value at both ends of the scale; by default the largest of the weights.

    Returns
    -------
    Panel
    """
    values = resized(values, image.shape[:2], nearest=True)
    top = limit or float(np.abs(values).max()) or 1.0
    # As if printed on the picture: white leaves it as it is.
    colors = SIGNED((values + top) / (2 * top))[..., :3]
    return Panel(
        _bytes(light_grey(image) * colors),
        head,
        note,
        None,
        "weights",
        (-top, top),
        limit is not None,
    )


def superpixels(image, segments, chosen, head="", note="", weights=None, hide_rest=True):
    """The superpixels that an explanation shows.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    segments : (h, w) int array
        Each pixel's superpixel; resized to the picture.
    chosen : (n,) bool array
        Whether a superpixel is shown.
    head, note : str, optional
        What stands above and below it.
    weights : (n,) array, optional
        With them a shown superpixel is tinted by its sign: green for, pink against.
    hide_rest : bool, optional
        Whether the others are black; else what is shown is outlined in yellow.

    Returns
    -------
    Panel
    """
    segments = resized(segments, image.shape[:2], nearest=True).astype(int)
    shown = np.asarray(chosen, bool)[segments]
    pixels = np.array(image)
    if weights is not None:
        tints = _bytes(255 * SIGNED(np.where(np.asarray(weights) < 0, 0.1, 0.9))[:, :3])[segments]
        pixels[shown] = (0.5 * pixels + 0.5 * tints)[shown]
    if hide_rest:
        pixels[~shown] = 0
    else:
        pixels = outlined(pixels, shown)
    return Panel(pixels, head, note)


def light_grey(image):
    """A picture in light grey, as the ground of colours.

    Parameters
    ----------
    image : (H, W, 3) uint8 array

    Returns
    -------
    (H, W, 3) float array
        135 to 255, in 16 steps.
    """
    grey = np.asarray(image, np.float32) @ np.float32([0.299, 0.587, 0.114])
    # Enough shades for the eye, and few for a small file.
    return np.repeat((135 + 120 / 16 * np.round(grey * 16 / 255))[..., None], 3, axis=-1)


def tinted(ground, values, limits):
    """Saliency laid over a ground: clear below a third of the range, then ever more opaque, 0.75 at the top.

    Parameters
    ----------
    ground : (H, W, 3) array
    values : (H, W) array
    limits : (float, float)
        The values at the ends of the range.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    low, high = limits
    part = np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)
    part = np.clip((part - FROM) / (1 - FROM), 0, 1)
    opacity = (OPACITY * part)[..., None]
    return _bytes((1 - opacity) * ground + opacity * 255 * SALIENCY(part)[..., :3])


def top_fifth(values):
    """The value above which a map's most salient fifth of the pixels lies.

    Parameters
    ----------
    values : (H, W) array

    Returns
    -------
    float or None
        Between two values of the map, so that a contour can be drawn even where many are equal; None where all are.
    """
    at = np.quantile(values, 1 - SALIENT, method="lower")
    below, above = values[values < at], values[values > at]
    if below.size:
        return (at + below.max()) / 2
    return (at + above.min()) / 2 if above.size else None


def outlined(image, regions):
    """A picture with the borders of regions drawn in yellow.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    regions : (h, w) int or bool array
        Resized to the picture.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    regions = resized(regions, image.shape[:2], nearest=True)
    border = np.zeros(regions.shape, bool)
    for axis in (0, 1):
        differ = np.diff(regions, axis=axis) != 0
        border |= np.pad(differ, [(1, 0) if a == axis else (0, 0) for a in (0, 1)])
        border |= np.pad(differ, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
    pixels = np.array(image)
    pixels[border] = 255, 235, 0
    return pixels


def resized(values, shape, nearest=False):
    """A map in the shape of its picture.

    Parameters
    ----------
    values : (h, w) array
    shape : (int, int)
        Height and width.
    nearest : bool, optional
        Each pixel takes the value of the nearest one; else values are interpolated.

    Returns
    -------
    (H, W) float32 array
    """
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.asarray(values, np.float32)).resize(shape[::-1], how))


def stretched(image, shape):
    """A picture in another shape: one that a network saw as a square, back at the aspect ratio of its file.

    Parameters
    ----------
    image : (h, w, 3) uint8 array
    shape : tuple of int
        Height and width first.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    return np.asarray(
        Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    )


def sheet(rows, title, heads=(), row_heads=(), label="saliency", weight_label="weight"):
    """Panels on a grid.

    Parameters
    ----------
    rows : list of list of Panel, str, callable or None
        Words are a row of their own; a callable gets axes to draw into; None leaves a place empty.
    title : str
        One line that says what to see.
    heads, row_heads : sequence of str, optional
        Of the columns and of the rows.
    label, weight_label : str, optional
        What saliency and weights are, with their unit.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = max(map(len, rows))
    rows = [[*row, *[None] * (columns - len(row))] for row in rows]
    panels = [[cell for cell in row if isinstance(cell, Panel)] for row in rows]
    heads_of = [[cell.head if isinstance(cell, Panel) else "" for cell in row] for row in rows]
    if heads:
        heads_of[0] = list(heads)
    worded = [any(isinstance(cell, str) for cell in row) for row in rows]
    # Heads of rows stand upright; beside words there is no height for that.
    left = (
        1.2
        if any(worded)
        else 0.02 + 0.19 * max([head.count("\n") + 1 for head in row_heads], default=0)
    )
    width = min((WIDTH - left - 0.02 - _GAP * (columns - 1)) / columns, _WIDEST)
    start = left + (WIDTH - left - 0.02 - columns * (width + _GAP) + _GAP) / 2
    tall = max(panel.pixels.shape[0] / panel.pixels.shape[1] for row in panels for panel in row)
    heights = [
        _lines(row) + 0.06 if words else min(width * tall, 1.3 * width)
        for row, words in zip(rows, worded)
    ]
    above = [1.15 * _lines(row) for row in heads_of]
    below = [_lines([panel.note for panel in row]) for row in panels]
    scales = []
    for kind, text in (("saliency", label), ("weights", weight_label)):
        if of_kind := [panel for row in panels for panel in row if panel.kind == kind]:
            scales.append((of_kind, *_label(kind, of_kind, text)))
    scales = [
        (of_kind, textwrap.fill(text, 116 // len(scales)), one) for of_kind, text, one in scales
    ]
    foot = 0.03 + max([0.15 + _lines([text]) for _, text, _ in scales], default=0)
    total = _TOP + sum(above) + sum(below) + sum(heights) + _GAP * len(rows) + foot
    figure = new(total, title)

    def write(x, y, text, **options):
        figure.text(
            x / WIDTH,
            y / total,
            text,
            **{"ha": "center", "fontsize": NOTE, "linespacing": 1.15, **options},
        )

    with matplotlib.rc_context(STYLE):
        top = total - _TOP
        for number, (row, height) in enumerate(zip(rows, heights)):
            bottom = top - above[number] - height
            if number < len(row_heads):
                upright = {} if worded[number] else {"rotation": 90}
                write(
                    start - (left - 0.04) / 2,
                    bottom + height / 2,
                    row_heads[number],
                    va="center",
                    fontsize=HEAD,
                    fontweight="bold",
                    **upright,
                )
            for column, cell in enumerate(row):
                place = start + column * (width + _GAP)
                middle = place + width / 2
                write(
                    middle,
                    bottom + height + 0.06,
                    heads_of[number][column],
                    va="baseline",
                    fontsize=HEAD,
                    fontweight="bold",
                )
                if isinstance(cell, Panel):
                    _draw(
                        figure.add_axes(
                            (place / WIDTH, bottom / total, width / WIDTH, height / total)
                        ),
                        cell,
                    )
                    write(
                        middle,
                        bottom - 0.12 - _LINE * cell.note.count("\n"),
                        cell.note,
                        va="baseline",
                    )
                elif isinstance(cell, str):
                    write(middle, bottom + height / 2, cell, va="center")
                elif cell is not None:
                    inset = 0.34  # for the numbers of an axis
                    cell(
                        figure.add_axes(
                            (
                                (place + inset) / WIDTH,
                                (bottom + 0.03) / total,
                                (width - inset - 0.03) / WIDTH,
                                (height - 0.05) / total,
                            )
                        )
                    )
            top = bottom - below[number] - _GAP
        for number, (of_kind, text, one) in enumerate(scales):
            _scale(figure, of_kind[0], text, (number + 0.5) / len(scales), one)
    return figure


def wrapped(panels, columns):
    """Panels in rows of so many.

    Parameters
    ----------
    panels : list of Panel
    columns : int

    Returns
    -------
    list of list of Panel
    """
    return [panels[start : start + columns] for start in range(0, len(panels), columns)]


def _draw(axes, panel):
    axes.imshow(panel.pixels, interpolation="antialiased")
    level = None if panel.contour is None else top_fifth(panel.contour)
    if level is not None and not _speckled(panel.contour > level):
        axes.contour(panel.contour, [level], colors="#7f0000", linewidths=0.8)
    axes.set_axis_off()


def _speckled(inside):
    """Whether a region is noise: lines around each of its specks would hide the picture."""
    borders = sum((np.diff(inside, axis=axis) != 0).sum() for axis in (0, 1))
    return borders > 0.06 * inside.size


def _label(kind, panels, label):
    """What a scale is about, in lines, and whether it is one for all of its panels."""
    one = len(panels) == 1 or all(panel.shared for panel in panels)
    notes = ["line: top fifth"] * (kind == "saliency") + ["each on its own scale"] * (not one)
    return label + (f" ({'; '.join(notes)})" if notes else ""), one


def _lines(texts):
    """The height of the longest of some texts, in inches."""
    return max([0.035 + _LINE * (text.count("\n") + 1) for text in texts if text], default=0)


def _scale(figure, panel, label, middle, one):
    """The scale of panels like this one, below the sheet: with numbers where it is one for all, else in words."""
    total = figure.get_figheight()
    length, height, bottom = 1.7, 0.09, 0.08  # inches
    low, high = panel.limits
    axes = figure.add_axes(
        ((middle * WIDTH - length / 2) / WIDTH, bottom / total, length / WIDTH, height / total)
    )
    line = np.broadcast_to(np.linspace(low, high, 200, dtype=np.float32), (2, 200))
    if panel.kind == "saliency":
        pixels = tinted(np.full((*line.shape, 3), 230.0), line, (low, high))
        ends = [f"{low:.2g}", f"{high:.2g}"] if one else ["lowest", "highest"]
    else:
        pixels = _bytes(255 * SIGNED((line - low) / (high - low))[..., :3])
        ends = [f"{low:.2g}".replace("-", "−"), f"+{high:.2g}"] if one else ["against", "for"]
    axes.imshow(pixels, aspect="auto")
    axes.set_axis_off()
    y = (bottom + height / 2) / total
    figure.text(
        middle - (length / 2 + 0.06) / WIDTH, y, ends[0], ha="right", va="center", fontsize=NOTE
    )
    figure.text(
        middle + (length / 2 + 0.06) / WIDTH, y, ends[1], ha="left", va="center", fontsize=NOTE
    )
    figure.text(
        middle, (bottom + height + 0.04) / total, label, ha="center", va="bottom", fontsize=NOTE
    )


def _bytes(pixels):
    return np.round(np.clip(pixels, 0, 255)).astype(np.uint8)
