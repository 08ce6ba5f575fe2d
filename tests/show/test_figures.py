import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from lab.files import ROOT, finish_swap
from lab.show import __main__ as show
from lab.show.figures import FIGURES
from lab.show.style import NOTE
from lab.study.results import DRAWN_FROM, MissingResult, results_digest

# Draws some figures of the results in the first folder into the second.
DRAW = """
import sys
from pathlib import Path
from lab.show import __main__ as show
if __name__ == "__main__":
    show.results_folder, show.figures_folder = lambda: Path(sys.argv[1]), lambda: Path(sys.argv[2])
    show.FIGURES = {name: show.FIGURES[name] for name in sys.argv[3:] or show.FIGURES}
    show.main()
    print(sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras", "lime"}))
"""


def command(*arguments):
    return [sys.executable, "-c", DRAW, *map(str, arguments)]


def seen(folder):
    """Contents of a folder's files by their names, but for hidden ones."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name != DRAWN_FROM
    }


def texts(figure):
    """Every text that a reader sees, with where it is."""
    found = []

    def recorded(text, renderer, draw=Text.draw):
        found.append(text)
        draw(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", recorded)  # an axis has texts that it does not draw
        FigureCanvasAgg(figure).draw()
    return [
        (text, text.get_window_extent())
        for text in dict.fromkeys(found)
        if text.get_visible() and text.get_text().strip()
    ]


def test_report_and_readme_show_figures_of_the_catalogue(files):
    named = set()
    for path in (ROOT / "report" / "report.typ", ROOT / "README.md"):
        named |= set(re.findall(r"figures/(\w+\.(?:png|svg))", path.read_text()))
    assert named and named <= set(files)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_can_be_read(drawn, name):
    figure = drawn[name]
    title = figure.get_suptitle()
    assert title and "\n" not in title and len(title.split()) < 10
    read = texts(figure)
    assert title in [text.get_text() for text, _ in read]
    panels = [axes.get_window_extent() for axes in figure.axes if axes.images]
    for number, (text, box) in enumerate(read):
        assert text.axes is not None or not any(
            box.padded(-1).overlaps(panel) for panel in panels
        ), text
        assert text.get_fontsize() >= NOTE >= 7, text
        assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1, text
        assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1, text
        for other, its in read[:number]:
            assert not box.padded(-1).overlaps(its.padded(-1)), (text, other)


def test_all_figures_together_are_small(files):
    assert {name.partition(".")[0] for name in files} == set(FIGURES)
    assert sum(map(len, files.values())) < 3_500_000


def test_drawing_again_changes_nothing_and_removes_what_is_no_figure(
    results, files, tmp_path, monkeypatch, capsys
):
    some = "lime_q1", "lime_recommended", "evaluation_curves"
    (tmp_path / "old_figure.png").write_bytes(b"")
    first = subprocess.run(
        command(results.folder, tmp_path, *some),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert "3 figures" in first.stdout and "4 of them changed" in first.stdout
    assert first.stdout.endswith("[]\n")  # no TensorFlow, no lime
    names = ["evaluation_curves.png", "lime_q1.png", "lime_recommended.svg"]
    assert seen(tmp_path) == {name: files[name] for name in names}
    assert (tmp_path / DRAWN_FROM).read_text().strip() == results_digest(results.folder)
    monkeypatch.setattr(show, "results_folder", lambda: results.folder)
    monkeypatch.setattr(show, "figures_folder", lambda: tmp_path)
    monkeypatch.setattr(show, "FIGURES", {name: FIGURES[name] for name in some})
    show.main()
    assert " 0 of them changed" in capsys.readouterr().out
    assert sorted(seen(tmp_path)) == names


def test_a_missing_result_is_named_in_one_line(tmp_path):
    ran = subprocess.run(
        command(tmp_path, tmp_path / "figures"), capture_output=True, text=True, cwd=ROOT
    )
    assert ran.returncode == 1 and ran.stderr.count("\n") == 1
    assert re.search(r"no file .*\.csv", ran.stderr) and "make study" in ran.stderr
    assert not (tmp_path / "figures").exists()


def test_a_picture_that_is_gone_is_named(results):
    from lab.show import reading

    for picture in (("African_elephant", "nobody"), ("unicorn", "nobody")):
        with pytest.raises(MissingResult, match=f"{picture[0]}/nobody in data/"):
            reading.image(picture)


def test_killed_at_any_moment_the_folder_is_whole_and_nothing_runs_on(results, files, tmp_path):
    some = "lime_q1", "lime_recommended"
    names = {"lime_q1.png", "lime_recommended.svg"}
    before, after = {name: b"as before" for name in names}, {name: files[name] for name in names}
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    for seed in range(3):
        process = subprocess.Popen(
            command(results.folder, tmp_path, *some), cwd=ROOT, start_new_session=True
        )
        time.sleep(random.Random(seed).uniform(0, 4))
        process.kill()
        process.wait()
        finish_swap(tmp_path)
        assert seen(tmp_path) in (before, after)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.1)
        else:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("a process of the killed drawing was still there after ten seconds")
