"""Charts: tables in, figures out."""

import textwrap

import matplotlib
import numpy as np

from lab.show.style import COLORS, HEAD, MARKERS, NOTE, SIGNED, STYLE, new


def _axes(title, height, columns=1, **options):
    """A figure with so many axes side by side; `height` is theirs, in inches."""
    figure = new(height + 0.3, title, layout="constrained")
    with matplotlib.rc_context(STYLE):
        axes = figure.subplots(1, columns, squeeze=False, **options)[0]
    return figure, axes


def lines(table, x, y, by, title, x_label, y_label, among=(), panel=None, log=True):
    """A line for each group of a table.

    Parameters
    ----------
    table : pandas.DataFrame
    x, y, by : str
        Columns: horizontal, vertical, and the groups.
    title : str
        One line that says what to see.
    x_label, y_label : str
        With units, and with the direction that is better.
    among : sequence of str, optional
        All groups that figures of this kind may have, so that each keeps its colour; by default those of the table.
    panel : str, optional
        Column: axes of their own for each of its values.
    log : bool, optional
        Whether the horizontal axis is logarithmic.

    Returns
    -------
    matplotlib.figure.Figure
    """
    among = list(among) or list(dict.fromkeys(table[by]))
    parts = (
        [("", table)] if panel is None else list(table.groupby(panel, sort=False, observed=True))
    )
    present = [name for name in among if name in set(table[by])]
    columns = 4 if len(present) > 4 else len(present)
    figure, several = _axes(
        title, 2.1 + 0.15 * -(-len(present) // columns), len(parts), sharey=True
    )
    for axes, (name, part) in zip(several, parts):
        for group in present:
            rows = part[part[by] == group]
            at = among.index(group)
            axes.plot(rows[x], rows[y], color=COLORS[at], marker=MARKERS[at], ms=4, label=group)
        axes.set_title(name, fontsize=HEAD)
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.set_xlabel(x_label)
        if log:
            axes.set_xscale("log")
            axes.minorticks_off()
            axes.set_xticks(*_apart(sorted(part[x].unique()), 0.055 * len(parts)))
    several[0].set_ylabel(y_label)
    if len(present) > 1:
        _legend(figure, several[0], columns)
    return figure


def _apart(values, least):
    """Ticks of a logarithmic axis with their labels, empty where they would touch: `least` is a share of its length."""
    length = np.log(values[-1] / values[0]) or 1
    labels, last = [], np.inf
    for value in values[::-1]:  # the last one is told in any case
        far = last - np.log(value) >= least * length
        last = np.log(value) if far else last
        labels.insert(0, f"{value:g}" if far else "")
    return values, labels


def intervals(table, label, value, title, x_label, by=None, panel=None):
    """Points with the ends of their confidence intervals, a row for each label and a colour for each group.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns "low" and "high"; NaN draws no interval.
    label, value : str
        Columns: the rows' names, and the point.
    title : str
        One line that says what to see.
    x_label : str
        With the unit and what the interval is.
    by : str, optional
        Column of the groups.
    panel : str, optional
        Column: axes of their own, side by side, for each of its values.

    Returns
    -------
    matplotlib.figure.Figure
    """
    labels = list(dict.fromkeys(table[label]))
    groups = list(dict.fromkeys(table[by])) if by else [None]
    parts = [("", table)] if panel is None else list(table.groupby(panel, sort=False))
    height = 0.5 + 0.13 * len(labels) * (len(groups) + 0.4) + 0.2 * bool(by)
    figure, several = _axes(title, height, len(parts), sharey=True)
    for axes, (name, part) in zip(several, parts):
        for number, (group, color, marker) in enumerate(zip(groups, COLORS, MARKERS)):
            rows = part[part[by] == group] if by else part
            places = np.array([labels.index(name) for name in rows[label]]) + (
                number - (len(groups) - 1) / 2
            ) * 0.7 / len(groups)
            axes.hlines(places, rows["low"], rows["high"], color=color, lw=1.5)
            axes.plot(rows[value], places, marker, color=color, ms=4.5, label=group)
        axes.set_title(name, fontsize=HEAD)
        axes.grid(axis="x", alpha=0.3, linewidth=0.5)
    several[0].set_yticks(range(len(labels)), [textwrap.fill(name, 40) for name in labels])
    several[0].set_ylim(len(labels) - 0.5, -0.5)
    several[len(parts) // 2].set_xlabel(x_label)
    if by:
        _legend(figure, several[0], len(groups))
    return figure


def heat(table, title, label, number, limits=None, texts=None):
    """A table of numbers as colours, with the numbers in them.

    Parameters
    ----------
    table : pandas.DataFrame
    title : str
        One line that says what to see.
    label : str
        What the numbers are.
    number : str
        How to write one, for `str.format`.
    limits : (float, float), optional
        Ends of the scale, for numbers around 0; else dark is low.
    texts : pandas.DataFrame, optional
        What stands in the cells instead of the numbers, in two lines.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, [axes] = _axes(title, 0.9 + (0.27 if texts is None else 0.36) * len(table))
    values = table.to_numpy(float)
    low, high = limits or (np.nanmin(values), np.nanmax(values))
    colors = SIGNED if limits else matplotlib.colormaps["cividis"]
    drawn = axes.pcolormesh(
        values, cmap=colors, vmin=low, vmax=high, edgecolor="white", linewidth=0.5
    )
    for (row, column), value in np.ndenumerate(values):
        text = (
            "–"
            if np.isnan(value)
            else number.format(value).replace("-", "−" if round(value, 1) else "")
        )
        text = text if texts is None else texts.iloc[row, column]
        ink = "black" if np.isnan(value) else _ink(drawn.cmap(drawn.norm(value))[:3])
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=NOTE, color=ink)
    axes.set_xticks(
        np.arange(table.shape[1]) + 0.5,
        [
            textwrap.fill(name, 84 // table.shape[1], break_long_words=False)
            for name in table.columns
        ],
    )
    axes.set_yticks(np.arange(len(table)) + 0.5, [textwrap.fill(name, 30) for name in table.index])
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel(label)
    return figure


def dots(table, label, value, by, title, x_label):
    """A row of points for each label, one for each group, and their mean as a black line.

    Parameters
    ----------
    table : pandas.DataFrame
    label, value, by : str
        Columns: the rows' names, the points, and the groups.
    title : str
        One line that says what to see.
    x_label : str
        With the unit.

    Returns
    -------
    matplotlib.figure.Figure
    """
    labels, groups = list(dict.fromkeys(table[label])), list(dict.fromkeys(table[by]))
    figure, [axes] = _axes(title, 0.75 + 0.3 * len(labels) + 0.15 * -(-len(groups) // 3))
    for group, color, marker in zip(groups, COLORS, MARKERS):
        rows = table[table[by] == group]
        axes.plot(
            rows[value],
            [labels.index(name) for name in rows[label]],
            marker,
            color=color,
            ms=5,
            label=group,
        )
    means = table.groupby(label)[value].mean()[labels]
    axes.vlines(
        means,
        np.arange(len(labels)) - 0.33,
        np.arange(len(labels)) + 0.33,
        color="black",
        lw=2,
        label="mean",
    )
    axes.set_yticks(range(len(labels)), labels, fontsize=HEAD)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel(x_label)
    axes.grid(axis="x", alpha=0.3, linewidth=0.5)
    _legend(figure, axes, 3)
    return figure


def shares(table, title, x_label):
    """Horizontal bars that add up to 1: a bar for each row of a table, a part for each column.

    Parameters
    ----------
    table : pandas.DataFrame
    title : str
        One line that says what to see.
    x_label : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, [axes] = _axes(title, 0.85 + 0.26 * len(table))
    left = np.zeros(len(table))
    for name, color in zip(table.columns, COLORS):
        axes.barh(
            range(len(table)),
            table[name],
            left=left,
            color=color,
            label=name,
            edgecolor="white",
            linewidth=0.5,
        )
        for place, (start, width) in enumerate(zip(left, table[name])):
            if width >= 0.06:
                axes.text(
                    start + width / 2,
                    place,
                    f"{width:.0%}",
                    ha="center",
                    va="center",
                    fontsize=NOTE,
                    color=_ink(matplotlib.colors.to_rgb(color)),
                )
        left = left + table[name].to_numpy()
    axes.set_yticks(range(len(table)), table.index)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(x_label)
    _legend(figure, axes, 4)
    return figure


def bars(table, title, x_label):
    """Groups of horizontal bars: a group for each row of a table, a bar for each column.

    Parameters
    ----------
    table : pandas.DataFrame
    title : str
        One line that says what to see.
    x_label : str
        With the unit.

    Returns
    -------
    matplotlib.figure.Figure
    """
    several = table.shape[1] > 1
    figure, [axes] = _axes(title, 0.5 + 0.16 * len(table) * (table.shape[1] + 0.5) + 0.2 * several)
    thickness = 0.8 / table.shape[1]
    for number, (name, color) in enumerate(zip(table.columns, COLORS)):
        places = np.arange(len(table)) + (number - (table.shape[1] - 1) / 2) * thickness
        axes.barh(places, table[name], thickness * 0.9, color=color, label=name)
    axes.set_yticks(np.arange(len(table)), table.index)
    axes.invert_yaxis()
    axes.set_xlabel(x_label)
    if several:
        _legend(figure, axes, table.shape[1])
    return figure


def curves(deletion, insertion, highest, first=False, last=False):
    """Deletion and insertion curves of one map, as a cell of `lab.show.maps.sheet`.

    Parameters
    ----------
    deletion, insertion : (2, K) arrays
        Shares of the pixels, and probabilities.
    highest : float
        The largest probability of all curves of the sheet.
    first, last : bool, optional
        Whether it is the uppermost of the sheet, which names the curves, or the lowest, which has the axis' numbers.

    Returns
    -------
    callable
        Takes matplotlib axes.
    """

    def draw(axes):
        axes.plot(*deletion, color=COLORS[0], lw=1.3)
        axes.plot(*insertion, color=COLORS[5], lw=1.3, ls="--")
        if first:
            for place, name, color in (
                (0.4, "insertion", COLORS[5]),
                (0.23, "deletion", COLORS[0]),
            ):
                axes.text(
                    0.97,
                    place,
                    name,
                    color=color,
                    ha="right",
                    va="center",
                    transform=axes.transAxes,
                    bbox={"color": "white", "pad": 0.3, "alpha": 0.8},
                )
        axes.set_ylim(0, 1.05 * highest)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"] if last else ["", "", ""])
        axes.locator_params(axis="y", nbins=3)
        axes.tick_params(length=2, pad=1.5)

    return draw


def _legend(figure, axes, columns):
    handles = axes.get_legend_handles_labels()
    figure.legend(
        *handles,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=NOTE,
        borderpad=0.2,
        columnspacing=1.5,
    )


def _ink(color):
    """White on dark colours, black on light ones."""
    return "white" if np.dot(color, [0.299, 0.587, 0.114]) < 0.5 else "black"
