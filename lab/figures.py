"""Every figure of the notebooks, the report and the README: one function each, which returns it."""

import io
import textwrap

import matplotlib
import numpy as np
import PIL.Image
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from skimage.segmentation import mark_boundaries

from lab.metrics import auc

SALIENCY = "inferno"
"""The one colour map of saliency: rises in lightness, so that it also reads in grey."""

WEIGHT = "PuOr"
"""Colour map of signed superpixel weights: purple speaks for the class, orange against it."""

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
"""Line colours that colour-blind readers can tell apart (Okabe & Ito)."""

MARKERS = "os^Dv*PX"

_WIDTH = 7.5  # inches: the text width of the report, so that nothing is scaled down there
_STYLE = {"font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False}


def _figure(title, rows, columns, height=None, **options):
    """Axes on a grid, below a title that wraps; `height` is that of one row, in inches."""
    with matplotlib.rc_context(_STYLE):
        # Room for two lines of panel titles above each panel.
        height = height if height is not None else _WIDTH / columns + 0.32
        lines = textwrap.wrap(title, 92, break_on_hyphens=False)
        figure = Figure(figsize=(_WIDTH, rows * height + 0.22 * len(lines) + 0.1), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.07)
        axes = figure.subplots(rows, columns, squeeze=False, **options)
        figure.suptitle("\n".join(lines), fontsize=10, fontweight="bold")
    return figure, axes


def _show(axes, picture, title="", size=7.5):
    axes.imshow(picture)
    axes.set_title(title, fontsize=size)
    axes.set_axis_off()


def _overlay(axes, image, saliency, title, limits=None):
    """Saliency over the picture in grey, with its scale beside it."""
    grey = np.asarray(image, np.float32) @ np.float32([0.299, 0.587, 0.114])
    low, high = limits if limits is not None else (saliency.min(), saliency.max())
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
    drawn = axes.imshow(saliency, cmap=SALIENCY, alpha=0.6, vmin=low, vmax=high)
    axes.set_title(title, fontsize=7.5)
    axes.set_axis_off()
    return drawn


def _scale(figure, drawn, axes, label, **options):
    bar = figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.02, **options)
    bar.solids.set_alpha(1)
    bar.ax.tick_params(labelsize=6.5)
    bar.locator = MaxNLocator(3)  # small values have long labels
    bar.update_ticks()
    bar.set_label(label, fontsize=7)
    bar.outline.set_visible(False)


def encode(figure):
    """A figure as a file's content: vectors where it is all lines, which is smaller then, else pixels.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    kind : {"png", "svg"}
    data : bytes
        The same for the same figure.
    """
    images = [image.get_array() for axes in figure.axes for image in axes.images]
    file = io.BytesIO()
    if not images:
        # Dates and random names would make every file differ; text as text takes the report's font.
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lab"}):
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        return "svg", file.getvalue()
    photographs = all(np.ndim(image) == 3 for image in images)
    figure.savefig(file, format="png", dpi=150 if photographs else 110)
    picture = PIL.Image.open(file).convert("RGB")
    if photographs:
        # A third of the size. Photographs stand a palette, if letters get shades of grey of their
        # own; in the shades of a map it would draw contours.
        palette = PIL.Image.new("P", (1, 1))
        greys = [value for grey in range(0, 256, 17) for value in (grey, grey, grey)]
        palette.putpalette(picture.quantize(240).getpalette()[: 3 * 240] + greys)
        white = PIL.Image.fromarray((np.asarray(picture) == 255).all(axis=2))
        picture = picture.quantize(palette=palette, dither=PIL.Image.Dither.FLOYDSTEINBERG)
        picture.paste(255, mask=white)  # the last entry; Pillow looks colours up in coarse steps
    file = io.BytesIO()
    picture.save(file, "png", optimize=True)
    return "png", file.getvalue()


def outlined(picture, regions):
    """A picture with the borders of regions drawn in yellow.

    Parameters
    ----------
    picture : (H, W, 3) uint8 array
    regions : (H, W) int or bool array

    Returns
    -------
    (H, W, 3) uint8 array
    """
    return np.round(255 * mark_boundaries(picture, regions.astype(int), color=(1, 1, 0))).astype(np.uint8)


def pictures(images, captions, title, columns=3):
    """Pictures with a caption above each.

    Parameters
    ----------
    images : sequence of (H, W, 3) uint8 arrays
    captions : sequence of str
        What stands above each, for example the three most probable classes.
    title : str
        The finding.
    columns : int, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = -(-len(images) // columns)
    lines = max(caption.count("\n") for caption in captions) + 1
    shape = images[0].shape
    figure, axes = _figure(title, rows, columns, _WIDTH / columns * shape[0] / shape[1] + 0.14 * lines)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, caption in zip(axes.flat, images, captions):
        _show(axis, image, caption, 7.5 if columns < 4 else 6.8)
    return figure


def saliency_maps(panels, title, columns=None, label="saliency: mean score of the class where the pixel is kept", shared=False):
    """Saliency maps over their pictures.

    Parameters
    ----------
    panels : list of (str, (H, W, 3) uint8 array, (H, W) array)
        Title, picture and map of each panel.
    title : str
        The finding.
    columns : int, optional
        By default all panels stand in one row.
    label : str, optional
        What the colour means, with its unit.
    shared : bool, optional
        One scale for all panels instead of one for each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    figure, axes = _figure(title, rows, columns)
    for axis in axes.flat:
        axis.set_axis_off()
    limits = (min(m.min() for *_, m in panels), max(m.max() for *_, m in panels)) if shared else None
    for axis, (name, image, saliency) in zip(axes.flat, panels):
        drawn = _overlay(axis, image, saliency, name, limits)
        if not shared:
            _scale(figure, drawn, axis, "", orientation="horizontal")
    if shared:
        _scale(figure, drawn, axes, label)
    else:
        figure.supxlabel(label, fontsize=7)
    return figure


def rise_steps(image, masks, perturbed, scores, local, saliency, title):
    """The four steps of RISE, a row each.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    masks : (n, H, W) array
    perturbed : (n, H, W, 3) array
    scores : (n,) array
        The class's score of each perturbed picture.
    local : (n, H, W) array
        Score times mask.
    saliency : list of (int, (H, W) array)
        The aggregate after so many masks; n of them.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _figure(title, 4, len(masks), _WIDTH / len(masks) + 0.05)
    heads = ["1. masks M", "2. perturbed\npictures I·M", "3. local\nexplanations\nf(I·M)·M", "4. aggregate"]
    brightest = local.max()
    for row, head in zip(axes, heads):
        for axis in row:
            axis.set_xticks([]), axis.set_yticks([])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(head, rotation=0, ha="right", va="center", fontsize=8)
    for column, (mask, picture, score, part, (count, total)) in enumerate(zip(masks, perturbed, scores, local, saliency)):
        axes[0, column].imshow(mask, cmap="gray", vmin=0, vmax=1)
        axes[1, column].imshow(np.clip(picture, 0, 255).astype(np.uint8))
        axes[1, column].set_title(f"score {score:.3f}", fontsize=7.5)
        axes[2, column].imshow(part, cmap=SALIENCY, vmin=0, vmax=brightest)
        _overlay(axes[3, column], image, total, f"{count} mask{'s' * (count > 1)}")
        axes[3, column].set_axis_on()
    return figure


def lime_and_rise(rows, title):
    """A picture, what LIME shows of it and RISE's map, a row for each network.

    Parameters
    ----------
    rows : list of (str, (H, W, 3) uint8 array, (str, (H, W, 3) uint8 array), (str, (H, W) array))
        The picture's caption and the picture; caption and rendering of LIME; caption and map of RISE.
    title : str
        The finding.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _figure(title, len(rows), 3)
    for row, (name, image, lime, (rise_name, saliency)) in zip(axes, rows):
        _show(row[0], image, name)
        _show(row[1], lime[1], lime[0])
        _scale(figure, _overlay(row[2], image, saliency, rise_name), row[2], "mean score where kept")
    return figure


def superpixel_weights(image, weights, rendering, title, name, caption):
    """The weights of a linear model beside what is shown of them.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    weights : (H, W) array
        Each pixel's superpixel's weight, a change of probability.
    rendering : (H, W, 3) uint8 array
    title : str
        The finding.
    name, caption : str
        Stand above the weights and above the rendering.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _figure(title, 1, 3, _WIDTH / 3 + 0.1)
    _show(axes[0, 0], image, name)
    limit = np.abs(weights).max()
    drawn = axes[0, 1].imshow(weights, cmap=WEIGHT, vmin=-limit, vmax=limit)
    axes[0, 1].set_title("weights of the superpixels", fontsize=7.5)
    axes[0, 1].set_axis_off()
    _scale(figure, drawn, axes[0, 1], "change of the probability", orientation="horizontal")
    _show(axes[0, 2], rendering, caption)
    return figure


def lines(table, x, y, by, title, x_label, y_label):
    """A line for each group of a table, over a logarithmic axis.

    Parameters
    ----------
    table : pandas.DataFrame
    x, y, by : str
        Columns: horizontal, vertical, and the groups.
    title : str
        The finding.
    x_label, y_label : str
        With units, and with the direction that is better.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _figure(title, 1, 1, 2.9)
    axis = axes[0, 0]
    for (name, group), color, marker in zip(table.groupby(by, sort=False), COLORS, MARKERS):
        axis.plot(group[x], group[y], color=color, marker=marker, ms=4, label=name)
    axis.set_xscale("log")
    axis.set_xticks(sorted(table[x].unique()), [f"{value:g}" for value in sorted(table[x].unique())])
    axis.minorticks_off()
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=7)
    return figure


def roar(table, title, y_label):
    """Accuracy after removing and retraining: a panel with what replaces the pixels, one with what the holes give away.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for each "method" and "share" removed, with "drawn", "accuracy" and "trace" as in `lab.evaluation.roar`.
    title : str
        The finding.
    y_label : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _figure(title, 1, 3, 2.9, sharey=True)
    heads = {"drawn": "removed pixels show another digit's", "accuracy": "removed pixels show their mean\n(as published)", "trace": "only the holes are told\n(chance is 0.1)"}
    for axis, (column, head) in zip(axes[0], heads.items()):
        for (name, group), color, marker in zip(table.groupby("method", sort=False), COLORS, MARKERS):
            axis.plot(group["share"], group[column], color=color, marker=marker, ms=4, label=name)
        axis.set_title(head, fontsize=7.5)
        axis.set_xlabel("share of the pixels removed")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel(y_label)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=7, frameon=False, fontsize=7)
    return figure


def heat(table, title, label, number, limits=None):
    """A table of numbers as colours, with the numbers in them.

    Parameters
    ----------
    table : pandas.DataFrame
    title : str
        The finding.
    label : str
        What the numbers are.
    number : str
        How to write one, for `str.format`.
    limits : (float, float), optional
        Ends of the scale, for numbers around 0; else dark is low.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _figure(title, 1, 1, 0.9 + 0.25 * len(table))
    axis = axes[0, 0]
    low, high = limits or (np.nanmin(table), np.nanmax(table))
    drawn = axis.pcolormesh(table.to_numpy(float), cmap=WEIGHT if limits else "cividis", vmin=low, vmax=high, edgecolor="white", linewidth=0.5)
    for (row, column), value in np.ndenumerate(table.to_numpy(float)):
        red, green, blue, _ = drawn.cmap(drawn.norm(value))
        color = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"
        axis.text(column + 0.5, row + 0.5, "–" if np.isnan(value) else number.format(value), ha="center", va="center", fontsize=7, color="black" if np.isnan(value) else color)
    axis.set_xticks(np.arange(table.shape[1]) + 0.5, [textwrap.fill(name, 12) for name in table.columns], fontsize=6.5)
    axis.set_yticks(np.arange(len(table)) + 0.5, [textwrap.fill(name, 34) for name in table.index], fontsize=7)
    axis.invert_yaxis()
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_xlabel(label)
    return figure


def deletion_and_insertion(image, blurred, rows, title):
    """Maps, what deletion and insertion make of the picture, and their curves: a row a method.

    Parameters
    ----------
    image, blurred : (H, W, 3) uint8 arrays
        The picture, and what insertion starts from.
    rows : list of (str, (H, W) array, (2, K) array, (2, K) array)
        Caption, map, and the curves of deletion to black and of insertion from the blurred picture:
        shares of the pixels and probabilities.
    title : str
        The finding.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _figure(title, len(rows), 5, _WIDTH / 5 + 0.12, width_ratios=[1, 1, 1, 1, 1.25])
    highest = max(curve[1].max() for *_, deletion, insertion in rows for curve in (deletion, insertion))
    for row, (name, saliency, deletion, insertion) in zip(axes, rows):
        _overlay(row[0], image, saliency, name)
        order = np.argsort(np.argsort(-saliency, axis=None, kind="stable")).reshape(saliency.shape)
        for axis, share in zip(row[1:3], (0.1, 0.3)):
            _show(axis, np.where((order < share * saliency.size)[..., None], 0, image).astype(np.uint8), f"{share:.0%} deleted: {np.interp(share, *deletion):.2f}", 6.8)
        _show(row[3], np.where((order < 0.1 * saliency.size)[..., None], image, blurred), f"10% inserted: {np.interp(0.1, *insertion):.2f}", 6.8)
        row[4].plot(*deletion, color=COLORS[0])
        row[4].plot(*insertion, color=COLORS[1], ls="--")
        row[4].set_title(f"deletion (solid): AUC {auc(*deletion):.2f}\ninsertion (dashed): AUC {auc(*insertion):.2f}", fontsize=6.8)
        row[4].set_ylim(0, 1.05 * highest)
        row[4].tick_params(labelsize=6)
        row[4].set_ylabel("probability", fontsize=6.5)
    axes[-1, 4].set_xlabel("share of the pixels", fontsize=6.5)
    return figure


def intervals(table, label, by, value, title, x_label):
    """Points with the ends of their confidence intervals, a row for each label and a colour for each group.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns "low" and "high".
    label, by, value : str
        Columns: the rows' names, the groups, and the point.
    title : str
        The finding.
    x_label : str
        With the unit and what the interval is.

    Returns
    -------
    matplotlib.figure.Figure
    """
    labels, groups = list(dict.fromkeys(table[label])), list(dict.fromkeys(table[by]))
    figure, axes = _figure(title, 1, 1, 0.7 + 0.16 * len(labels) * (len(groups) + 0.5))
    axis = axes[0, 0]
    for number, (group, color, marker) in enumerate(zip(groups, COLORS, MARKERS)):
        rows = table[table[by] == group]
        places = np.array([labels.index(name) for name in rows[label]]) + (number - (len(groups) - 1) / 2) * 0.7 / len(groups)
        axis.hlines(places, rows["low"], rows["high"], color=color, lw=1.5)
        axis.plot(rows[value], places, marker, color=color, ms=4.5, label=group)
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.set_xlabel(x_label)
    axis.grid(axis="x", alpha=0.3)
    if len(groups) > 1:
        axis.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def shares(table, title, x_label):
    """Horizontal bars that add up to 1: a bar for each row of a table, a part for each column.

    Parameters
    ----------
    table : pandas.DataFrame
    title : str
        The finding.
    x_label : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _figure(title, 1, 1, 0.9 + 0.24 * len(table))
    axis = axes[0, 0]
    left = np.zeros(len(table))
    for name, color in zip(table.columns, COLORS):
        axis.barh(range(len(table)), table[name], left=left, color=color, label=name, edgecolor="white", linewidth=0.5)
        for place, (start, width) in enumerate(zip(left, table[name])):
            if width >= 0.06:
                # White on dark colours, black on light ones.
                dark = np.dot(matplotlib.colors.to_rgb(color), [0.299, 0.587, 0.114]) < 0.45
                axis.text(start + width / 2, place, f"{width:.0%}", ha="center", va="center", fontsize=6.5, color="white" if dark else "black")
        left = left + table[name]
    axis.set_yticks(range(len(table)), table.index)
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xlabel(x_label)
    axis.legend(frameon=False, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure


def bars(table, title, x_label):
    """Groups of horizontal bars: a group for each row of a table, a bar for each column.

    Parameters
    ----------
    table : pandas.DataFrame
    title : str
        The finding.
    x_label : str
        With the unit.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _figure(title, 1, 1, 0.6 + 0.2 * table.size)
    axis = axes[0, 0]
    thickness = 0.8 / table.shape[1]
    for number, (name, color) in enumerate(zip(table.columns, COLORS)):
        places = np.arange(len(table)) + (number - (table.shape[1] - 1) / 2) * thickness
        axis.barh(places, table[name], thickness * 0.9, color=color, label=name)
    axis.set_yticks(np.arange(len(table)), table.index)
    axis.invert_yaxis()
    axis.set_xlabel(x_label)
    axis.legend(frameon=False, fontsize=7)
    return figure
