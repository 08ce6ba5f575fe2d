import itertools
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from lab.files import ROOT
from lab.methods.registry import METHODS
from lab.show import __main__ as show
from lab.show import figures_evaluation, reading
from lab.show.figures import FIGURES
from lab.show.style import NOTE, encode, styled
from lab.study.results import MissingImage, MissingResult, Results

# Draws a folder's results into another, and prints what should not be loaded.
DRAW = """
import sys
from pathlib import Path
from lab.show import __main__ as show
show.results_folder = lambda profile, images: Path(sys.argv[1])
show.figures_folder = lambda profile, images: Path(sys.argv[2])
show.main([])
print(*{name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras"})
"""
# What a user's own configuration may hold.
RC = """
font.size: 20
axes.facecolor: black
figure.dpi: 33
savefig.bbox: tight
image.origin: lower
svg.fonttype: path
"""


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@styled
def texts(figure):
    """Every text that a reader sees, with where it is."""
    drawn = []

    def recorded(text, renderer, draw=Text.draw):
        drawn.append(text)
        draw(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", recorded)  # an axis has texts that it does not draw
        FigureCanvasAgg(figure).draw()
    shown = [text for text in dict.fromkeys(drawn) if text.get_visible() and text.get_text()]
    return [(text, text.get_window_extent()) for text in shown]


def overlaps(read):
    """Pairs of texts, as `texts` has them, of which one covers the other."""
    pairs = itertools.combinations([(text, box.padded(-1)) for text, box in read], 2)
    return [(text, other) for (text, box), (other, its) in pairs if box.overlaps(its)]


def test_report_and_readme_show_figures_of_the_catalogue(drawn):
    shown = set()
    for path in (*(ROOT / "report").glob("*.typ"), ROOT / "README.md"):
        shown |= set(re.findall(r'(?:figures/|shot\(")(\w+)', path.read_text(encoding="utf-8")))
    assert len(shown) > 10 and shown <= drawn.keys()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_can_be_read(drawn, name):
    figure, _ = drawn[name]
    title = figure.get_suptitle()
    assert title and "\n" not in title and len(title.split()) < 10
    read = texts(figure)
    assert title in [text.get_text() for text, _ in read]
    panels = [image.get_window_extent() for axes in figure.axes for image in axes.images]
    for text, box in read:
        if text.axes is None or text.axes.images:
            assert not any(box.padded(-1).overlaps(panel) for panel in panels), text
        assert text.get_fontsize() >= NOTE >= 7, text
        assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1, text
        assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1, text
    assert not overlaps(read)


def test_small_and_equal_probabilities_can_be_read(results):
    class Flat(Results):  # such as of a network that knows nothing
        def table(self, name):
            table = super().table(name)
            if name == "montages_means":
                alone = table["measure"] == "alone"  # probabilities
                equal = np.where(table["network"][alone] == table["network"][0], 1e-3, 1e-7)
                table.loc[alone, ["mean", "low", "high"]] = np.stack([equal] * 3, axis=1)
            return table.assign(gain=np.nan) if name == "lime_runs" else table

    assert not overlaps(texts(FIGURES["montages_masks"](Flat(results.folder))))
    shown = [text.get_text() for text, _ in texts(FIGURES["lime_q1"](Flat(results.folder)))]
    assert sum(text.startswith("IoU") for text in shown) == 7
    assert not any("nan" in text for text in shown)


def test_the_gains_on_photographs_leave_no_method_out(results, drawn):
    figure, _ = drawn["photographs_gains"]
    shown = {text.get_text().split("  (")[0] for text, _ in texts(figure)}
    methods = set(results.table("photographs_means")["method"])
    assert {"shap", "owen", "grad_cam"} < methods  # one of them has no row with 250 calls
    assert {METHODS[method].title for method in methods} <= shown


@pytest.mark.parametrize("more", [1, 6])
def test_more_methods_appear_in_every_chart_of_methods(results, monkeypatch, more):
    titles = {f"noise_{n}": f"Noise occlusion {n}" for n in range(more)}
    for name, title in titles.items():
        monkeypatch.setitem(METHODS, name, METHODS["rise"]._replace(title=title))
        monkeypatch.setitem(figures_evaluation._TITLES, name, title)

    class More(Results):
        def table(self, name):
            table = super().table(name)
            if name not in ("evaluation_runs", "evaluation_roar"):
                return table
            first = table[table["method"] == table["method"][0]]
            return pd.concat([table, *(first.assign(method=name) for name in titles)])

    FIGURES["evaluation_at_odds"](More(results.folder))
    for name in ("evaluation_ranks", "evaluation_roar"):
        read = texts(FIGURES[name](More(results.folder)))
        assert set(titles.values()) <= {" ".join(text.get_text().split()) for text, _ in read}
        assert not overlaps(read)


def test_one_setting_and_one_network_fewer(results):
    class Fewer(Results):
        def table(self, name):
            table = super().table(name)
            if name == "lime_contrasts":
                return table[table["second"] != "5"]
            return table[table["network"] == table["network"][0]] if "network" in table else table

    fewer = Fewer(results.folder)
    words = [text.get_text() for text, _ in texts(FIGURES["lime_recommended"](fewer))]
    assert "setting 4" in words and "setting 5" not in words
    with pytest.raises(MissingResult, match="2 networks, and the results hold 1"):
        FIGURES["lime_q4_elephant"](fewer)


def test_all_figures_together_are_small(drawn):
    assert sum(len(data) for _, (_, data) in drawn.values()) < 5_000_000


def test_a_users_configuration_changes_no_figure_and_old_ones_go(results, drawn, tmp_path):
    (tmp_path / "matplotlibrc").write_text(RC)
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "old_figure.png").write_bytes(b"")
    command = [sys.executable, "-c", DRAW, results.folder, folder]
    env = {**os.environ, "MATPLOTLIBRC": str(tmp_path)}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(rf"{len(FIGURES)} figures in .*, drawn in \d+\.\d s\n\n", ran.stdout)
    expected = {f"{name}.{kind}": data for name, (_, (kind, data)) in drawn.items()}
    written = files(folder)
    assert sorted(written) == sorted(expected)
    assert not [name for name, data in written.items() if data != expected[name]]


def test_a_figure_without_results_is_named_and_skipped(results, tmp_path, monkeypatch, capsys):
    broken = {"lime_q1": FIGURES["lime_q1"], "lime_q2": lambda results: results.table("nothing")}
    monkeypatch.setattr(show, "FIGURES", broken)
    for name in ("lime_q1.png", "lime_q2.png", "other.png"):
        (tmp_path / name).write_bytes(b"before")
    with pytest.raises(MissingResult, match="no table nothing"):
        show.draw(results, tmp_path, ["lime_q2"])
    assert set(files(tmp_path).values()) == {b"before"}
    assert show.draw(results, tmp_path, ["lime_q1"]) == (["lime_q1"], {})
    assert files(tmp_path)["lime_q2.png"] == files(tmp_path)["other.png"] == b"before"
    monkeypatch.setattr(show, "results_folder", lambda profile, images: results.folder)
    monkeypatch.setattr(show, "figures_folder", lambda profile, images: tmp_path)
    show.main([])
    out, err = capsys.readouterr()
    assert out.startswith("1 figures in") and err.startswith("Skipped lime_q2: there is no table")
    assert list(files(tmp_path)) == ["lime_q1.png"]  # no figure of what was not measured
    with pytest.raises(SystemExit, match="'lime_q9': expected lime_q1, lime_q2"):
        show.main(["lime_q9"])


def test_a_figure_stays_where_only_its_image_is_gone(results, tmp_path, monkeypatch):
    drawn = {"evaluation_curves": FIGURES["evaluation_curves"], "lime_q1": FIGURES["lime_q1"]}
    monkeypatch.setattr(show, "FIGURES", drawn)
    show.draw(results, tmp_path)
    before = files(tmp_path)

    def gone(image, size=None):
        raise MissingImage(f"there is no image data/{image}")

    monkeypatch.setitem(drawn, "evaluation_curves", lambda results: gone("elephant.jpg"))
    names, missing = show.draw(results, tmp_path)
    assert names == ["lime_q1"] and missing == {
        "evaluation_curves": "there is no image data/elephant.jpg"
    }
    assert files(tmp_path) == before


def test_the_evaluation_shows_its_own_network_and_image(results):
    class Others(Results):
        def table(self, name):
            table = super().table(name)
            others = {"network": "Other", "image": "African_elephant/other.jpg"}
            return table.assign(**others) if name == "predictions" else table

    for name in ("evaluation_curves", "evaluation_shapley", "evaluation_at_odds"):
        figures = [FIGURES[name](each) for each in (results, Others(results.folder))]
        one, other = map(encode, figures)
        assert one == other, name


def test_missing_results_and_an_unknown_profile_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(show, "results_folder", lambda profile, images: tmp_path / profile.name)
    monkeypatch.setattr(show, "figures_folder", lambda profile, images: tmp_path / "figures")
    for profile, message in ("quick", r"no table .*quick: make study"), ("quik", "'quik'"):
        monkeypatch.setenv("LAB_PROFILE", profile)
        with pytest.raises(SystemExit, match=message) as stop:
            show.main([])
        assert "\n" not in str(stop.value)
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("image", ["African_elephant/nobody.jpg", "unicorn/nobody.jpg"])
def test_an_image_that_is_gone_is_named(image):
    with pytest.raises(MissingResult, match=f"no image data/{image}"):
        reading.pixels(image)


def test_rows_find_their_arrays_in_any_order(results):
    table, name = "rise_runs", "maps"
    rows = results.table(table).sample(frac=1, random_state=1)
    rows = rows[rows["key"] == rows["key"].value_counts().idxmax()]
    assert list(rows["place"]) != sorted(rows["place"])
    whole = results.array(table, rows["key"].iloc[0], name)
    for row in rows.itertuples():
        assert (reading.array(results, table, row, name) == whole[row.place]).all()


def test_settings_are_labelled_as_they_were_measured(results):
    class Edited(Results):
        def table(self, name):
            edit = {"hide_color": "(1, 2, 3)", "num_superpixels": 77}
            return super().table(name).assign(**edit if name == "lime_settings" else {})

    figure = FIGURES["lime_q1"](Edited(results.folder))
    assert "0: (1, 2, 3), top 77" in [text.get_text() for text in figure.axes[0].texts]


def test_gains_of_photographs_too_few_for_intervals_are_drawn():
    about = {"measure": "gain", "network": "Net", "calls": 250, "n": 2}
    rows = [
        about | {"method": method, "mean": mean} for method, mean in (("owen", 0.4), ("rise", 0.3))
    ]
    table = pd.DataFrame(rows).assign(low=np.nan, high=np.nan)
    results = SimpleNamespace(table=lambda name: table)
    [axes] = FIGURES["photographs_gains"](results).axes
    assert axes.get_xlim() == pytest.approx((0.28, 0.42))
