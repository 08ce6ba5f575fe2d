import hashlib
import json
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import typst

from lab.files import ROOT
from lab.hand_in import report
from lab.hand_in.report import OutOfDate
from lab.measure.measurements import MEASUREMENTS
from lab.study.results import DRAWN_FROM, results_digest

TYP = """#set page(width: 6cm, height: 3cm)
#let rows = csv(sys.inputs.folder + "/" + "results/numbers.csv", row-type: dictionary)
#for word in ("first", "second", "third", "fourth") [#rows.first().value #csv(sys.inputs.folder + "/" + "results/a_provenance.csv").len() #pagebreak(weak: true)]
#image(sys.inputs.folder + "/" + "figures/dot.svg")
"""
DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="2" height="2"><rect width="1" height="1"/></svg>'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a table, a figure and a report of three pages that shows them."""
    folder = tmp_path / "report"
    (folder / "results").mkdir(parents=True)
    (folder / "figures").mkdir()
    (folder / "report.typ").write_text(TYP)
    (folder / "figures" / "dot.svg").write_text(DOT)
    (folder / "results" / "numbers.csv").write_text("value\n0.5\n")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "SOURCE", folder / "report.typ")
    monkeypatch.setattr(report, "SOURCES", [folder / "report.typ"])
    record(folder, "a")
    return folder


def record(folder, name, **facts):
    facts = {"date": "2020-02-02", "network_1": "One", "picture bear/one": "0123", **facts}
    pd.DataFrame(facts.items(), columns=["name", "value"]).to_csv(
        folder / "results" / f"{name}_provenance.csv", index=False
    )
    drawn(folder)


def drawn(folder):
    """Say that the figures show the results that are there."""
    (folder / "figures" / DRAWN_FROM).write_text(results_digest(folder / "results"))


def test_builds_the_same_pdf_from_the_same_results(project):
    pdf = report.build(project)
    first = pdf.read_bytes()
    assert first.startswith(b"%PDF")
    assert (
        b"D:20200202" in first or b"2020-02-02" in first
    )  # not today: the day of the measurements
    report.build(project)
    assert pdf.read_bytes() == first
    assert sorted(path.name for path in project.iterdir() if path.name != ".lock") == [
        "figures",
        "report.pdf",
        "report.png",
        "report.sha256",
        "report.typ",
        "results",
    ]
    report.check_built(project)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
def test_digests_are_those_of_sha256sum(project):
    report.build(project)
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "report.sha256"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert set(checked.stdout.splitlines()) == {
        f"{name}: OK"
        for name in (
            "report.pdf",
            "report.png",
            "report.typ",
            "results/numbers.csv",
            "results/a_provenance.csv",
            "figures/dot.svg",
        )
    }


@pytest.mark.parametrize(
    "name, command", [("results/numbers.csv", "make study"), ("figures/dot.svg", "make figures")]
)
def test_what_is_missing_is_named_with_the_command_that_makes_it(project, name, command):
    (project / name).unlink()
    with pytest.raises(OutOfDate, match=rf"^report/{name} is missing: {command} makes it$"):
        report.build(project)
    assert not (project / "report.pdf").exists()


@pytest.mark.parametrize(
    "fact",
    [
        {"network_1": "Two"},
        {"profile": "quick"},
        {"network_1_stands_in_for": "Three"},
        {"network_1_weights": "cafe"},
        {"picture bear/one": "4567"},
    ],
)
def test_studies_must_agree_on_what_ran(project, fact):
    (project / "report.typ").write_text(TYP + '// "results/b_provenance.csv"\n')
    facts = {"profile": "full", "network_1_stands_in_for": "", "network_1_weights": "dead"}
    record(project, "a", **facts)
    record(project, "b", **facts | fact)
    [(name, value)] = fact.items()
    with pytest.raises(
        OutOfDate, match=f"a_provenance.* says {name} = .*b_provenance.* says '{value}': make study"
    ):
        report.build(project)


def test_studies_may_differ_in_date_versions_and_in_which_pictures(project):
    (project / "report.typ").write_text(TYP + '// "results/b_provenance.csv"\n')
    record(project, "b", date="2021-01-01", numpy="9.9", **{"picture bear/other": "4567"})
    assert b"20210101" in re.sub(rb"[-:]", b"", report.build(project).read_bytes())


def test_figures_that_were_drawn_from_other_results_are_found_out(project):
    report.build(project)
    (project / "results" / "numbers.csv").write_text("value\n0.6\n")
    for refuse in (report.build, report.check_built):
        with pytest.raises(
            OutOfDate,
            match="^report/figures was drawn from other results than are there: make figures draws them anew$",
        ):
            refuse(project)
    drawn(project)
    report.build(project)
    (project / "figures" / DRAWN_FROM).unlink()
    with pytest.raises(OutOfDate, match="make figures"):
        report.build(project)


@pytest.mark.parametrize(
    "name", ["report.typ", "report.pdf", "report.png", "results/numbers.csv", "figures/dot.svg"]
)
def test_a_pdf_that_does_not_belong_to_what_is_there_is_found_out(project, name):
    report.build(project)
    with open(project / name, "ab") as file:
        file.write(b"\n")
    drawn(project)
    with pytest.raises(
        OutOfDate, match=f"report/report.pdf and report/{name} do not belong together: make report"
    ):
        report.check_built(project)


@pytest.mark.parametrize("name", ["report.pdf", "report.png", "report.sha256"])
def test_what_was_not_built_is_named(project, name):
    report.build(project)
    (project / name).unlink()
    with pytest.raises(OutOfDate, match=f"{name} is missing: make report"):
        report.check_built(project)


def test_an_error_is_one_line(project, monkeypatch):
    monkeypatch.setattr(report, "results_folder", lambda: project / "results")
    (project / "report.typ").write_text(TYP + "#rows.first().no-such-column\n")
    with pytest.raises(SystemExit) as exit:
        report.main()
    assert (
        str(exit.value).startswith("report/report.typ: ")
        and "no-such-column" in str(exit.value)
        and "\n" not in str(exit.value)
    )


DYING = """
import os, signal, sys
from pathlib import Path
from lab.hand_in import report
folder, left = Path(sys.argv[1]), int(sys.argv[2])
report.SOURCE = folder / "report.typ"
report.SOURCES = [report.SOURCE]
def counted(move):
    def moved(*paths):
        global left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return move(*paths)
    return moved
os.replace, os.rename = counted(os.replace), counted(os.rename)
report.build(folder)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_at_any_step_the_pdf_and_its_record_are_whole(project, tmp_path, monkeypatch):
    old = report.build(project).read_bytes()
    (project / "results" / "numbers.csv").write_text("value\n0.7\n")
    drawn(project)
    copies = [shutil.copytree(project, tmp_path / f"{moves}" / "report") for moves in range(5)]
    new = report.build(project).read_bytes()
    killed = [
        subprocess.Popen(
            [sys.executable, "-c", DYING, copy, str(moves)], cwd=ROOT, stderr=subprocess.PIPE
        )
        for moves, copy in enumerate(copies)
    ]
    assert [(process.communicate()[1], process.returncode) for process in killed] == [
        (b"", -9)
    ] * 4 + [(b"", 0)]  # four moves: the commit and three files
    for moves, copy in enumerate(copies):
        monkeypatch.setattr(report, "SOURCE", copy / "report.typ")
        monkeypatch.setattr(report, "SOURCES", [copy / "report.typ"])
        if moves == 0:
            with pytest.raises(OutOfDate, match="numbers.csv do not belong together"):
                report.check_built(copy)
        else:
            report.check_built(copy)
        pdf = (copy / "report.pdf").read_bytes()
        assert pdf == (new if moves else old)
        assert hashlib.sha256(pdf).hexdigest() in (copy / "report.sha256").read_text()
        assert report.build(copy).read_bytes() == new


@pytest.fixture
def copied(tmp_path):
    """The report and what it shows, to be changed at will."""
    for name in ("figures", "results"):
        shutil.copytree(ROOT / "report" / name, tmp_path / "report" / name)
    for source in report.SOURCES:
        shutil.copy(source, tmp_path / "report")
    return tmp_path / "report"


def test_a_changed_comment_makes_nothing_older(copied):
    root = copied.parent
    shutil.copytree(ROOT / "lab", root / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "rise.py", root)
    built = []
    for comment in ("", "# once more\n"):
        for module in [*(root / "lab").rglob("*.py"), root / "rise.py"]:
            module.write_text(module.read_text(encoding="utf-8") + comment, encoding="utf-8")
        if comment:
            check = "from lab.files import ROOT; from lab.hand_in import report; report.check_built(ROOT / 'report')"
            subprocess.run([sys.executable, "-c", check], cwd=root, check=True)
        done = subprocess.run(
            [sys.executable, "-m", "lab.hand_in.report"],
            cwd=root,
            env={"LAB_PROFILE": "full"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith("Wrote report/report.pdf (")
        built.append(
            [(copied / f"report.{kind}").read_bytes() for kind in ("pdf", "png", "sha256")]
        )
    assert built[0] == built[1]


def test_neither_report_nor_archive_loads_what_takes_long():
    script = "import sys; from lab.hand_in import archive, report; print(*{'matplotlib', 'tensorflow', 'keras', 'lime'} & set(sys.modules))"
    assert (
        subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        == ""
    )


def rewrite(folder, change):
    for path in (folder / "results").glob("*_provenance.csv"):
        table = pd.read_csv(path, keep_default_na=False)
        table["value"] = [change(name, value) for name, value in zip(table["name"], table["value"])]
        table.to_csv(path, index=False)


def text_of(element):
    """What is written in an element, as typst describes it."""
    if isinstance(element, dict):
        return {"text": element.get("text", ""), "space": " "}.get(
            element["func"], "".join(text_of(part) for part in element.values())
        )
    return "".join(text_of(part) for part in element) if isinstance(element, list) else ""


def captions(folder):
    found = json.loads(typst.query(str(folder / "report.typ"), "figure", field="caption"))
    return [text_of(caption["body"]) for caption in found]


def test_the_report_has_eight_to_twelve_pages(copied):
    pages = typst.compile(str(copied / "report.typ"), format="png", ppi=10)
    assert 8 <= len(pages) <= 12


def test_captions_name_stand_ins_and_only_those(copied):
    rewrite(
        copied,
        lambda name, value: f"Absent {name[8]}" if name.endswith("_stands_in_for") else value,
    )
    facts = dict(pd.read_csv(copied / "results" / "lime_provenance.csv").to_numpy())
    first, second = facts["network_1"], facts["network_2"]
    marked = captions(copied)
    assert any(f"{first} stands in for Absent 1." in c for c in marked)
    assert any(f"{second} stands in for Absent 2." in c for c in marked)
    assert any(
        f"{first} stands in for Absent 1 and {second} stands in for Absent 2." in c for c in marked
    )
    # All but the table of the settings' parameters show a network's answers.
    assert sum("stands in for" not in c for c in marked) == 1
    rewrite(copied, lambda name, value: "" if name.endswith("_stands_in_for") else value)
    assert not any("stands in for" in c for c in captions(copied))


def test_numbers_in_sentences_come_from_the_results(copied):
    path = copied / "results" / "predictions.csv"
    table = pd.read_csv(path)
    table["probability"] = 0.123
    table.to_csv(path, index=False)
    assert "probability of 0.12" in text_of(
        json.loads(typst.query(str(copied / "report.typ"), "<abstract>"))
    )


def test_arrows_point_to_what_is_better():
    heads = re.findall(r'\("(\w+)", "([^"]*[↑↓])"', report.SOURCE.read_text(encoding="utf-8"))
    arrows = {key: head[-1] for key, head in heads if key in MEASUREMENTS}
    assert len(arrows) >= 8
    assert arrows == {key: "↑" if MEASUREMENTS[key].higher_is_better else "↓" for key in arrows}


def test_a_sentence_that_is_not_so_is_listed_and_marked(copied, monkeypatch, capsys):
    marked = "sixteen_masks_are_too_few"
    assert f'#claim("{marked}")' in report.SOURCE.read_text(encoding="utf-8")
    path = copied / "results" / "rise_runs.csv"
    runs = pd.read_csv(path)
    runs.loc[runs["masks"] == 16, "halves"] = 0.9
    runs.to_csv(path, index=False)
    drawn(copied)
    monkeypatch.setattr(report, "results_folder", lambda: copied / "results")
    monkeypatch.setattr(report, "ROOT", copied.parent)
    monkeypatch.setattr(report, "SOURCE", copied / "report.typ")
    monkeypatch.setattr(report, "SOURCES", [copied / source.name for source in report.SOURCES])
    report.main()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Wrote report/report.pdf")
    assert [line for line in said if "With 16 masks" in line] == said[
        1:
    ] and "report/report.typ" in said[1]

    def notes(names):
        return len(
            json.loads(
                typst.query(
                    str(copied / "report.typ"), "<untrue>", sys_inputs={"marked": json.dumps(names)}
                )
            )
        )

    assert notes([marked]) == 1 and notes([]) == 0
