import numpy as np
import pandas as pd

from lab.show import charts, style


def test_a_group_keeps_its_colour_among_others():
    table = pd.DataFrame({"n": [1, 10] * 2, "r": [0.1, 0.2, 0.3, 0.4], "who": list("bbcc")})
    figure = charts.lines(table, "n", "r", "who", "Lines", "samples", "R² ↑", among="abcd")
    drawn = {line.get_label(): line for line in figure.axes[0].lines}
    colors = {name: line.get_color() for name, line in drawn.items()}
    assert colors == {"b": style.color(1), "c": style.color(2)}
    np.testing.assert_array_equal(drawn["c"].get_ydata(), [0.3, 0.4])


def test_any_number_of_groups_can_be_told_apart():
    names = [f"group {n}" for n in range(20)]
    table = pd.DataFrame({"n": 1, "r": range(20), "who": names, "low": 0, "high": 20, "all": ""})
    figures = [
        charts.lines(table, "n", "r", "who", "Lines", "samples", "R²"),
        charts.intervals(table, "all", "r", "Intervals", "rank", by="who"),
        charts.dots(table, "all", "r", "who", "Dots", "distance"),
    ]
    for figure in figures:
        lines = [line for line in figure.axes[0].lines if line.get_label() in names]
        looks = {(line.get_color(), line.get_marker()) for line in lines}
        assert len(lines) == len(looks) == 20


def test_lines_in_several_panels():
    table = pd.DataFrame({"n": [1, 2] * 2, "r": [1, 2, 3, 4], "who": "a", "where": list("xxyy")})
    options = {"panel": "where", "log": False}
    figure = charts.lines(table, "n", "r", "who", "Lines", "samples", "R²", **options)
    assert [axes.get_title() for axes in figure.axes] == ["x", "y"]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [3, 4])


def test_ticks_of_a_logarithmic_axis_stay_apart():
    table = pd.DataFrame({"n": [1, 2, 4, 8, 16, 32, 33], "r": 0.5, "who": "a"})
    figure = charts.lines(table, "n", "r", "who", "Lines", "layers", "R²")
    figure.draw_without_rendering()
    labels = [label for label in figure.axes[0].get_xticklabels() if label.get_text()]
    boxes = [label.get_window_extent() for label in labels]
    assert len(boxes) == 6 and all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))
    assert labels[-1].get_text() == "33"


def test_intervals_go_from_low_to_high():
    table = pd.DataFrame({"name": ["x", "y"], "mean": [2.0, 3.0]})
    table = table.assign(low=[1.5, np.nan], high=[2.5, np.nan])
    axes = charts.intervals(table, "name", "mean", "Intervals", "rank").axes[0]
    [x, *_] = axes.collections[0].get_segments()
    np.testing.assert_array_equal(x[:, 0], [1.5, 2.5])
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [2, 3])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "y"]


def test_numbers_of_a_heat_map_can_be_read():
    table = pd.DataFrame([[-0.04, 1.0], [np.nan, -0.5]], ["a", "b"], ["first name", "second"])
    texts = charts.heat(table, "Heat", "rank", "{:.1f}").axes[0].texts
    assert [text.get_text() for text in texts] == ["0.0", "1.0", "–", "−0.5"]
    black_on_light = [text.get_color() for text in texts]
    assert black_on_light == ["white", "black", "black", "white"]


def test_stacked_bars_start_where_the_last_ended():
    columns = {"a": [0.3, 0.5], "b": [0.66, 0.45], "none": [0.0, 0.0], "c": [0.04, 0.05]}
    table = pd.DataFrame(columns, ["x", "y"])
    axes = charts.bars(table, "Shares", "share", stacked=True).axes[0]
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    ends = [(0, 0.3), (0, 0.5), (0.3, 0.66), (0.5, 0.45), (0.96, 0), (0.95, 0)]
    ends += [(0.96, 0.04), (0.95, 0.05)]
    np.testing.assert_allclose(bars, ends)
    shown = [text.get_text() for text in axes.texts if text.get_text()]
    assert shown == ["30%", "50%", "66%", "45%"]
    assert axes.get_xlabel() == "share"
    beside = charts.bars(table, "Shares", "share").axes[0].patches
    places = [bar.get_y() + bar.get_height() / 2 for bar in beside]
    np.testing.assert_allclose(places, [-0.3, 0.7, -0.1, 0.9, 0.1, 1.1, 0.3, 1.3])
