"""Images with their saliency, weights and superpixels, as panels of a sheet.

A panel shows an image at its own aspect ratio and full resolution, with `head` above
and `note` below, one short line each. Images are (H, W, 3) arrays of uint8; maps and
segments of another shape are resized to the image. Panels to be compared take the same
limits; the scale below the sheet has numbers only where it is the same for all panels.
"""

import textwrap
from typing import NamedTuple

import numpy as np
from PIL import Image

from lab.methods.registry import METHODS
from lab.show.style import HEAD, NOTE, SALIENCY, SIGNED, WIDTH, new_figure, styled

FROM = 1 / 3  # of a map's range: nothing below it is coloured
OPACITY = 0.75  # at the top of the range
SALIENT = 0.2  # share of the pixels inside the contour

# Inches. Panels begin at multiples of the step, whole pixels in files and notebooks: an
# image shown twice then has the same pixels twice, and the file is smaller.
_STEP = 1 / 30
_GAP, _WIDEST = 2 * _STEP, 72 * _STEP
_ALONE = 135 * _STEP  # the width of an image that is the only one
_HIGHEST = 4.33  # of sheets of such images: the report has 11 cm for one
_TOP, _LINE = 0.32, 0.118  # the title and a line of text


class Panel(NamedTuple):
    """One panel of a `sheet`."""

    pixels: np.ndarray
    head: str = ""
    note: str = ""
    contour: np.ndarray | None = None  # (H, W): a map, its most salient fifth is outlined
    kind: str = ""  # "saliency" or "weights" where colours have a scale
    limits: tuple | None = None  # the values at the ends of the scale
    shared: bool = False  # whether the caller gave the limits


def image_panel(image, head="", note=""):
    """An image as it is, as a `Panel`."""
    return Panel(np.asarray(image), head, note)


def saliency(image, values, head="", note="", limits=None):
    """A saliency map over its image in light grey, its most salient fifth outlined.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    values : (h, w) array
        Interpolated where it is resized.
    limits : (float, float), optional
        The ends of the scale. By default the map's lowest and highest value.
    """
    values = resized(values, image.shape[:2])
    shared, limits = limits is not None, limits or scale(values)
    pixels = tinted(light_grey(image), values, limits)
    return Panel(pixels, head, note, values, "saliency", limits, shared)


def weights(image, values, head="", note="", limit=None):
    """Signed weights over their image in light grey: green positive, pink negative.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    values : (h, w) array
        Each pixel's weight.
    limit : float, optional
        The absolute value at both ends of the scale. By default the largest weight's.
    """
    values = resized(values, image.shape[:2], nearest=True)
    limits = (-limit, limit) if limit else scale(values, signed=True)
    pixels = tinted(light_grey(image), values, limits, signed=True)
    return Panel(pixels, head, note, None, "weights", limits, limit is not None)


def method_map(method, image, values, head="", note=""):
    """A method's map: `weights` if the registry calls it signed, else `saliency`."""
    return (weights if METHODS[method].signed else saliency)(image, values, head, note)


def superpixels(image, segments, chosen, head="", note=""):
    """The superpixels that an explanation shows, the rest in black.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    segments : (h, w) int array
        Each pixel's superpixel.
    chosen : (n,) bool array
        Whether a superpixel is shown.
    """
    segments = resized(segments, image.shape[:2], nearest=True).astype(int)
    shown = np.asarray(chosen, bool)[segments]
    return Panel(np.where(shown[..., None], image, np.uint8(0)), head, note)


def light_grey(image):
    """An image in grey of 135 to 255, as the ground for colours: (H, W, 3) floats."""
    grey = np.asarray(image, int) @ [299, 587, 114]  # floats would differ between processors
    return np.repeat((135 + 120 / 255e3 * grey)[..., None], 3, axis=-1)


def scale(values, signed=False):
    """The ends of a map's own scale, which is symmetric about 0 for a signed map."""
    top = float(np.abs(values).max()) or 1.0
    return (-top, top) if signed else (float(values.min()), float(values.max()))


def on_scale(values, limits):
    """The place of values on a scale, from 0 to 1; 0 for all where it has no length."""
    low, high = limits
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)


def shades(part, signed=False):
    """Colours and opacities of values by their place on a scale, from 0 to 1.

    Parameters
    ----------
    part : (...) array
    signed : bool, optional
        Whether the middle is zero, which is clear; below it is pink, above it green.
        Else the lowest third is clear.

    Returns
    -------
    (..., 4) array
        RGBA in [0, 1].
    """
    if signed:
        size = np.abs(2 * part - 1)
        colors = SIGNED(0.5 + np.sign(part - 0.5) * (1 + size) / 4)  # white would be a veil
        opacity = 0.8 * size  # equal weights fill large superpixels, which stay visible
    else:
        opacity = np.clip((part - FROM) / (1 - FROM), 0, 1)
        colors = SALIENCY(opacity)
    return np.concatenate([colors[..., :3], opacity[..., None]], axis=-1)


def tinted(ground, values, limits, signed=False):
    """A map (H, W) laid over a ground (H, W, 3) in the `shades` of its scale."""
    colors = shades(on_scale(values, limits), signed)
    opacity = OPACITY * colors[..., 3:]
    return _bytes((1 - opacity) * ground + opacity * 255 * colors[..., :3])


def top_fifth(values):
    """The value above which a map's most salient fifth of the pixels lies.

    It lies between two values of the map, so that a contour can be drawn where many are
    equal. None if all are equal.
    """
    at = np.quantile(values, 1 - SALIENT, method="lower")
    below, above = values[values < at], values[values > at]
    if below.size:
        return (at + below.max()) / 2
    return (at + above.min()) / 2 if above.size else None


def outlined(image, regions):
    """An image with the borders of regions, an (h, w) int or bool array, in yellow."""
    regions = resized(regions, image.shape[:2], nearest=True)
    pixels, yellow = np.array(image), (255, 235, 0)
    down, across = (np.diff(regions, axis=axis) != 0 for axis in (0, 1))
    for side in (slice(1, None), slice(None, -1)):
        pixels[side][down] = yellow
        pixels[:, side][across] = yellow
    return pixels


def resized(values, shape, nearest=False):
    """A map (h, w) in the shape (H, W), interpolated or with the `nearest` values."""
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.asarray(values, np.float32)).resize(shape[::-1], how))


def stretched(image, shape):
    """A square network input in the shape (H, W, ...) of its file."""
    size = shape[1], shape[0]
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


@styled
def sheet(rows, title, heads=(), row_heads=(), label="saliency", weight_label="weight"):
    """Panels on a grid.

    Parameters
    ----------
    rows : list of list of Panel, callable or None
        A callable gets axes to draw into; None leaves a place empty.
    title : str
    heads, row_heads : sequence of str, optional
        Of the columns and of the rows.
    label, weight_label : str, optional
        What saliency and weights are, with their unit.
    """
    panels = [cell for row in rows for cell in row if isinstance(cell, Panel)]
    scales = _scales(panels, {"saliency": label, "weights": weight_label})
    left, start, width = _columns(max(map(len, rows)), row_heads)
    tallest = max(panel.pixels.shape[0] / panel.pixels.shape[1] for panel in panels)
    heads_of = [[getattr(cell, "head", "") for cell in row] for row in rows]
    if heads:
        heads_of[0] = heads
    above = [1.15 * _lines(row) for row in heads_of]
    below = [_lines(getattr(cell, "note", "") for cell in row) for row in rows]
    foot = 0.03 + max([0.15 + _lines([text]) for _, text, _ in scales], default=0)
    texts = _TOP + sum(above) + sum(below) + foot
    # Images that are higher than wide become smaller, so that texts need not.
    room = max((_HIGHEST - texts) / len(rows) - _GAP, 0.75 * width)
    height = min(width * min(tallest, 1.3), room)
    total = texts + len(rows) * (height + _GAP)

    figure = new_figure(total, title)
    canvas = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, total))  # in inches
    canvas.set_axis_off()
    bottom = total - _TOP + _GAP
    for number, row in enumerate(rows):
        bottom -= _GAP + above[number] + height
        if number < len(row_heads):
            at = start - (left - 0.04) / 2, bottom + height / 2
            _write(canvas, *at, row_heads[number], HEAD, va="center", rotation=90)
        for column, (cell, head) in enumerate(zip(row, heads_of[number], strict=True)):
            x = start + column * (width + _GAP)
            _write(canvas, x + width / 2, bottom + height + 0.06, head, HEAD)
            if isinstance(cell, Panel):
                _draw(canvas, cell, x, bottom, width, height)
            elif cell is not None:
                # The numbers are left of the axes.
                place = x + 0.34, bottom + 0.03, width - 0.34 - 0.03, height - 0.05
                cell(figure.add_axes(np.divide(place, (WIDTH, total) * 2)))
        bottom -= below[number]
    for number, scale in enumerate(scales):
        _draw_scale(canvas, *scale, (number + 0.5) / len(scales) * WIDTH)
    return figure


def wrapped(panels, columns):
    """A list of panels as rows of a given length, for `sheet`."""
    return [panels[start : start + columns] for start in range(0, len(panels), columns)]


def _columns(columns, row_heads):
    """Width of the row heads, left edge of the panels and their width, in inches."""
    left = 0.02 + 0.19 * max([head.count("\n") + 1 for head in row_heads], default=0)
    most = _ALONE if columns == 1 else _WIDEST
    widest = min((WIDTH - 0.02 - left + _GAP) / columns - _GAP, most)
    width = _STEP * int(widest / _STEP)
    spare = WIDTH - 0.02 - left - columns * (width + _GAP) + _GAP
    return left, _STEP * round((left + spare / 2) / _STEP), width


def _scales(panels, labels):
    """A panel of each kind, its scale's label, and whether numbers hold for all."""
    scales = []
    for kind, label in labels.items():
        of_kind = [panel for panel in panels if panel.kind == kind]
        one = len(of_kind) == 1 or all(panel.shared for panel in of_kind)
        notes = ["line: top fifth"] * (kind == "saliency") + ["each on its own scale"] * (not one)
        if of_kind:
            scales.append((of_kind[0], label + (f" ({'; '.join(notes)})" if notes else ""), one))
    width = 116 // max(len(scales), 1)  # characters
    return [(panel, textwrap.fill(label, width), one) for panel, label, one in scales]


def _lines(texts):
    """The height of the longest of some texts, in inches; 0 without any text."""
    return max([0.035 + _LINE * (text.count("\n") + 1) for text in texts if text], default=0)


def _write(canvas, x, y, text, size=NOTE, **options):
    """Text centred on a place; larger text is bold."""
    options = {"ha": "center", "linespacing": 1.15, **options}
    weight = "normal" if size == NOTE else "bold"
    canvas.text(x, y, text, fontsize=size, fontweight=weight, **options)


def _draw(canvas, panel, x, bottom, width, height):
    """A panel in the middle of its place, at its own aspect ratio, with its note."""
    down, across = panel.pixels.shape[:2]
    scale = min(width / across, height / down)
    x, y = x + width / 2, bottom + height / 2
    extent = np.add([x, x, y, y], scale / 2 * np.array([-across, across, -down, down]))
    canvas.imshow(panel.pixels, extent=extent, aspect="auto")
    drawable = panel.contour is not None and min(panel.contour.shape) > 1
    level = top_fifth(panel.contour) if drawable else None
    if level is not None and not _speckled(panel.contour > level):
        line = {"colors": "#7f0000", "linewidths": 0.8}
        canvas.contour(panel.contour, [level], extent=extent, origin="upper", **line)
    _write(canvas, x, bottom - 0.12 - _LINE * panel.note.count("\n"), panel.note)


def _speckled(inside):
    """Whether a region is noise: lines around its specks would hide the image."""
    borders = sum((np.diff(inside, axis=axis) != 0).sum() for axis in (0, 1))
    return borders > 0.06 * inside.size


def _draw_scale(canvas, panel, label, one, middle):
    """The scale of panels like this one, centred on a place in inches."""
    length, height, bottom = 1.7, 0.09, 0.08
    low, high = panel.limits
    line = np.broadcast_to(np.linspace(low, high, 200, dtype=np.float32), (2, 200))
    signed = panel.kind == "weights"
    pixels = tinted(np.full((*line.shape, 3), 230.0), line, panel.limits, signed)
    ends = ("against", "for") if signed else ("lowest", "highest")
    if one:
        ends = f"{low:.2g}".replace("-", "−"), "+" * signed + f"{high:.2g}"
    extent = middle - length / 2, middle + length / 2, bottom, bottom + height
    canvas.imshow(pixels, extent=extent, aspect="auto")
    for end, side, align in zip(ends, (-1, 1), ("right", "left")):
        x = middle + side * (length / 2 + 0.06)
        _write(canvas, x, bottom + height / 2, end, ha=align, va="center")
    _write(canvas, middle, bottom + height + 0.04, label, va="bottom")


def _bytes(pixels):
    return np.round(np.clip(pixels, 0, 255)).astype(np.uint8)
