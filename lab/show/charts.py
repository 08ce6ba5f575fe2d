"""Charts: tables in, figures out.

`title` is one line that says what the figure shows. Labels of axes name the unit, and
an arrow the direction that is better.
"""

import textwrap

import matplotlib
import numpy as np

from lab.show.style import HEAD, SIGNED, color, marker, new_figure, styled


@styled
def lines(table, x, y, by, title, x_label, y_label, among=(), panel=None, log=True):
    """A line for each group of a table.

    Parameters
    ----------
    table : pandas.DataFrame
    x, y, by : str
        Columns: horizontal, vertical, and the groups.
    among : sequence of str, optional
        All groups of such charts, by default the table's; each keeps its colour.
    panel : str, optional
        Column: axes side by side for each value.
    log : bool, optional
        Whether the horizontal axis is logarithmic.
    """
    among = list(among) or list(dict.fromkeys(table[by]))
    present = [name for name in among if name in set(table[by])]
    columns = min(len(present), 4)
    parts = _parts(table, panel)
    height = 2.1 + 0.15 * -(-len(present) // columns)
    figure, several = _axes(title, height, x_label, len(parts))
    for axes, (name, part) in zip(several, parts.items()):
        for group in present:
            rows = part[part[by] == group]
            look = _look(among.index(group))
            axes.plot(rows[x], rows[y], **look, ms=4, label=group)
        axes.set_title(name)
        axes.grid(alpha=0.3, linewidth=0.5)
        if log:
            axes.set_xscale("log")
            axes.minorticks_off()
            axes.set_xticks(*_apart(sorted(part[x].unique()), 0.055 * len(parts)))
    several[0].set_ylabel(y_label)
    _legend(figure, several[0], columns)
    return figure


@styled
def intervals(table, label, value, title, x_label, by=None, panel=None, text=None):
    """Points with confidence intervals: a row for each label, a colour for each group.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns "low" and "high"; NaN draws no interval.
    label, value : str
        Columns: the rows' names, and the point.
    by, panel, text : str, optional
        Columns: the groups, axes side by side for each value, and what stands above a
        point.
    """
    labels = list(dict.fromkeys(table[label]))
    groups = list(dict.fromkeys(table[by])) if by else [""]
    parts = _parts(table, panel)
    height = 0.5 + 0.09 * len(labels) * (len(groups) + 0.4 + 2 * bool(text))
    columns = len(groups) if sum(len(name) + 6 for name in groups) < 100 else 3
    height += 0.2 * bool(by) * -(-len(groups) // columns)
    height += 0.15 * max(name.count("\n") for name in parts)
    figure, several = _axes(title, height, x_label, len(parts))
    offsets = 0.7 * ((np.arange(len(groups)) + 0.5) / len(groups) - 0.5)
    for axes, (name, part) in zip(several, parts.items()):
        for number, (group, offset) in enumerate(zip(groups, offsets)):
            rows = part[part[by] == group] if by else part
            places = np.array([labels.index(name) for name in rows[label]]) + offset
            axes.hlines(places, rows["low"], rows["high"], color=color(number), lw=1.5)
            axes.plot(rows[value], places, ls="", **_look(number), ms=4.5, label=group)
        if axes.get_xlim()[0] < 0 < axes.get_xlim()[1]:
            axes.axvline(0, color="#999999", lw=0.8, zorder=0)
        axes.set_title("\n".join(textwrap.fill(n, 90 // len(parts)) for n in name.split("\n")))
        axes.grid(axis="x", alpha=0.3, linewidth=0.5)
        axes.ticklabel_format(axis="x", scilimits=(-3, 6))  # many zeros would overlap
        if text:
            left, right = axes.get_xlim()
            for x, place, words in zip(rows[value], places, rows[text]):
                side = ("left", "center", "right")[min(int(3 * (x - left) / (right - left)), 2)]
                options = {"textcoords": "offset points", "ha": side, "va": "bottom"}
                axes.annotate(words, (x, place), (0, 2.5), **options)
    several[0].set_yticks(range(len(labels)), [textwrap.fill(name, 40) for name in labels])
    several[0].set_ylim(len(labels) - 0.5, -0.5)
    _legend(figure, several[0], columns)
    return figure


@styled
def heat(table, title, label, number, limits=None, texts=None):
    """A table of numbers as colours, with the numbers in them.

    Parameters
    ----------
    table : pandas.DataFrame
    label, number : str
        What the numbers are, and their format for `str.format`.
    limits : (float, float), optional
        Ends of the scale, for numbers around 0. By default dark is low.
    texts : pandas.DataFrame, optional
        Texts of at most two lines to show in the cells, in place of the numbers.
    """
    upright = table.shape[1] > 9  # names of columns, which would overlap side by side
    height = 0.9 + (0.27 if texts is None else 0.36) * len(table) + 0.7 * upright
    figure, [axes] = _axes(title, height, label)
    if texts is None:
        texts = table.map(lambda value: "–" if np.isnan(value) else _signed(number, value))
    colors = SIGNED if limits else matplotlib.colormaps["cividis"]
    low, high = limits or (table.min(axis=None), table.max(axis=None))
    options = {"cmap": colors, "vmin": low, "vmax": high, "edgecolor": "white", "linewidth": 0.5}
    drawn = axes.pcolormesh(table.to_numpy(float), **options)
    for (row, column), value in np.ndenumerate(table.to_numpy(float)):
        ink = "black" if np.isnan(value) else _ink(drawn.to_rgba(value)[:3])
        at = column + 0.5, row + 0.5
        axes.text(*at, texts.iloc[row, column], ha="center", va="center", color=ink)
    width = 30 if upright else 84 // table.shape[1]  # characters
    columns = [textwrap.fill(name, width, break_long_words=False) for name in table.columns]
    axes.set_xticks(np.arange(table.shape[1]) + 0.5, columns, rotation=90 * upright)
    axes.set_yticks(np.arange(len(table)) + 0.5, [textwrap.fill(name, 30) for name in table.index])
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


@styled
def dots(table, label, value, by, title, x_label):
    """Rows of points, one for each group, and their mean as a black line.

    `label`, `value` and `by` are columns: the rows' names, the points, and the groups.
    """
    labels, groups = list(dict.fromkeys(table[label])), list(dict.fromkeys(table[by]))
    height = 0.75 + 0.25 * len(labels) + 0.15 * -(-len(groups) // 3)
    figure, [axes] = _axes(title, height, x_label)
    for number, group in enumerate(groups):
        rows = table[table[by] == group]
        places = [labels.index(name) for name in rows[label]]
        axes.plot(rows[value], places, ls="", **_look(number), ms=5, label=group)
    means, places = table.groupby(label)[value].mean()[labels], np.arange(len(labels))
    axes.vlines(means, places - 0.33, places + 0.33, color="black", lw=2, label="mean")
    axes.set_yticks(places, labels, fontsize=HEAD)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3, linewidth=0.5)
    _legend(figure, axes, 3)
    return figure


@styled
def bars(table, title, x_label, stacked=False):
    """Horizontal bars: a group for each row of a table, a bar for each column.

    A row of shares, which add up to 1, is one bar with `stacked`.
    """
    rows, columns = table.shape
    height = 0.85 + 0.26 * rows if stacked else 0.7 + 0.16 * rows * (columns + 0.5)
    figure, [axes] = _axes(title, height, x_label)
    thickness = 0.8 if stacked else 0.8 / columns
    starts = table.T.cumsum().T - table if stacked else 0 * table
    for number, name in enumerate(table):
        places = np.arange(rows) + (0 if stacked else (number - (columns - 1) / 2) * thickness)
        options = {"color": color(number), "edgecolor": "white", "linewidth": 0.5, "label": name}
        parts = axes.barh(places, table[name], thickness, starts[name], **options)
        if stacked:
            texts = [f"{part:.0%}" if part >= 0.06 else "" for part in table[name]]
            ink = _ink(matplotlib.colors.to_rgb(color(number)))
            axes.bar_label(parts, texts, label_type="center", color=ink)
    axes.set_yticks(range(rows), table.index)
    axes.set_ylim(rows - 0.5, -0.5)
    if stacked:
        axes.set_xlim(0, 1)
    _legend(figure, axes, min(columns, 4))
    return figure


def _look(number):
    """The colour and the marker of a group by its number."""
    return {"color": color(number), "marker": marker(number)}


def _axes(title, height, x_label, columns=1):
    """A figure, and axes of `height` inches side by side over one label."""
    figure = new_figure(height + 0.3, title, layout="constrained")
    several = figure.subplots(1, columns, squeeze=False, sharey=True)[0]
    several[columns // 2].set_xlabel(x_label, x=0.5 * (columns % 2))
    return figure, several


def _parts(table, panel):
    """The rows of a table by their value in a column, or all of them."""
    if panel is None:
        return {"": table}
    return dict(list(table.groupby(panel, sort=False, observed=True)))


def _apart(values, least):
    """Ticks of a logarithmic axis with their labels, empty where they would touch.

    `least` is the distance of two labels, as a share of the axis.
    """
    length = np.log(values[-1] / values[0]) or 1
    labels, last = [], np.inf
    for value in values[::-1]:  # the last one always has its label
        far = last - np.log(value) >= least * length
        last = np.log(value) if far else last
        labels.insert(0, f"{value:g}" if far else "")
    return values, labels


def _signed(number, value):
    """A formatted number with a minus sign, which what rounds to 0 loses."""
    text = number.format(value)
    return text.replace("-", "−" if float(text) else "")


def _legend(figure, axes, columns):
    """A legend below the axes, unless there is only one group."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        options = {"ncols": columns, "borderpad": 0.2, "columnspacing": 1.5}
        figure.legend(handles, labels, loc="outside lower center", **options)


def _ink(color):
    """White on dark colours, black on light ones."""
    return "white" if np.dot(color, [0.299, 0.587, 0.114]) < 0.5 else "black"
