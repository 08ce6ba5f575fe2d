import matplotlib
import numpy as np
import pandas as pd

from lab.show import charts, style


def test_a_group_keeps_its_colour_among_others():
    table = pd.DataFrame({"n": [1, 10] * 2, "r": [0.1, 0.2, 0.3, 0.4], "who": list("bbcc")})
    figure = charts.lines(table, "n", "r", "who", "Lines", "samples", "R² ↑", among="abcd")
    drawn = {line.get_label(): line for line in figure.axes[0].lines}
    assert {name: line.get_color() for name, line in drawn.items()} == {
        "b": style.COLORS[1],
        "c": style.COLORS[2],
    }
    np.testing.assert_array_equal(drawn["c"].get_ydata(), [0.3, 0.4])


def test_lines_in_several_panels():
    table = pd.DataFrame({"n": [1, 2] * 2, "r": [1, 2, 3, 4], "who": "a", "where": list("xxyy")})
    figure = charts.lines(
        table, "n", "r", "who", "Lines", "samples", "R²", panel="where", log=False
    )
    assert [axes.get_title() for axes in figure.axes] == ["x", "y"]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [3, 4])


def test_ticks_of_a_logarithmic_axis_stay_apart():
    table = pd.DataFrame({"n": [1, 2, 4, 8, 16, 32, 33], "r": 0.5, "who": "a"})
    figure = charts.lines(table, "n", "r", "who", "Lines", "layers", "R²")
    figure.draw_without_rendering()
    boxes = [
        label.get_window_extent() for label in figure.axes[0].get_xticklabels() if label.get_text()
    ]
    assert len(boxes) == 6 and all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))
    assert figure.axes[0].get_xticklabels()[-1].get_text() == "33"


def test_intervals_go_from_low_to_high():
    table = pd.DataFrame(
        {"name": ["x", "y"], "mean": [2.0, 3.0], "low": [1.5, np.nan], "high": [2.5, np.nan]}
    )
    axes = charts.intervals(table, "name", "mean", "Intervals", "rank").axes[0]
    [x, *_] = axes.collections[0].get_segments()
    np.testing.assert_array_equal(x[:, 0], [1.5, 2.5])
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [2, 3])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "y"]


def test_numbers_of_a_heat_map_can_be_read():
    table = pd.DataFrame(
        [[0.0, 1.0], [np.nan, 0.5]], index=["a", "b"], columns=["first name", "second"]
    )
    texts = charts.heat(table, "Heat", "rank", "{:.1f}").axes[0].texts
    assert [text.get_text() for text in texts] == ["0.0", "1.0", "–", "0.5"]
    assert [text.get_color() for text in texts[:2]] == [
        "white",
        "black",
    ]  # on dark blue and on yellow


def test_shares_start_where_the_last_ended():
    axes = charts.shares(
        pd.DataFrame({"a": [0.3, 0.5], "b": [0.7, 0.5]}, index=["x", "y"]), "Shares", "share"
    ).axes[0]
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    np.testing.assert_allclose(bars, [(0, 0.3), (0, 0.5), (0.3, 0.7), (0.5, 0.5)])
    assert [text.get_text() for text in axes.texts] == ["30%", "50%", "70%", "50%"]


def test_bars_have_the_tables_lengths():
    axes = charts.bars(
        pd.DataFrame({"a": [1, 2], "b": [3, 4]}, index=["x", "y"]), "Bars", "unit"
    ).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1, 2, 3, 4]


def test_curves_are_drawn_from_0_to_the_highest():
    axes = matplotlib.figure.Figure().subplots()
    falling, rising = np.array([[0, 1], [0.8, 0]]), np.array([[0, 1], [0, 0.7]])
    charts.curves(falling, rising, 0.8, first=True)(axes)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.8, 0])
    assert axes.get_ylim()[0] == 0 and axes.get_ylim()[1] >= 0.8
    assert [text.get_text() for text in axes.texts] == ["insertion", "deletion"]
