import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
import typst

from lab import report
from lab.profile import ROOT
from lab.provenance import file_digest
from lab.report import OutOfDate

TYP = """#set page(width: 6cm, height: 3cm)
#let rows = csv(sys.inputs.folder + "/" + "results/numbers.csv", row-type: dictionary)
#for word in ("first", "second", "third") [#rows.first().value #csv(sys.inputs.folder + "/" + "results/a_provenance.csv").len() #pagebreak(weak: true)]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a module, a table and a report of three pages that shows it."""
    folder = tmp_path / "report"
    (folder / "results").mkdir(parents=True)
    (folder / "figures").mkdir()
    (folder / "report.typ").write_text(TYP)
    (tmp_path / "module.py").write_text("one = 1\n")
    (folder / "results" / "numbers.csv").write_text("value\n0.5\n")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "SOURCE", folder / "report.typ")
    monkeypatch.setattr(report, "SOURCES", [folder / "report.typ"])
    record(folder, "a")
    return folder


def record(folder, name, **facts):
    facts = {"date": "2020-02-02", "network_1": "One", **facts}
    facts |= {"source module.py": file_digest(folder.parent / "module.py")}
    facts |= {"result results/numbers.csv": file_digest(folder / "results" / "numbers.csv")}
    pd.DataFrame(facts.items(), columns=["name", "value"]).to_csv(folder / "results" / f"{name}_provenance.csv", index=False)


def test_builds_the_same_pdf_from_the_same_results(project):
    pdf = report.build(project)
    first = pdf.read_bytes()
    assert first.startswith(b"%PDF")
    assert b"D:20200202" in first or b"2020-02-02" in first  # not today: the day of the measurements
    report.build(project)
    assert pdf.read_bytes() == first
    assert not list(project.rglob("*.part"))
    report.check_built(project)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
def test_digests_are_those_of_sha256sum(project):
    report.build(project)
    checked = subprocess.run(["sha256sum", "--check", "--strict", "report.sha256"], cwd=project, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert {"report.pdf: OK", "results/numbers.csv: OK", "report.typ: OK"} <= set(checked.stdout.splitlines())


def test_a_missing_result_is_named_with_the_command_that_makes_it(project):
    (project / "results" / "numbers.csv").unlink()
    with pytest.raises(OutOfDate, match=r"^report/results/numbers\.csv is missing: make lab"):
        report.build(project)
    assert not (project / "report.pdf").exists()


def test_a_changed_module_makes_results_old(project):
    (project.parent / "module.py").write_text("one = 2\n")
    with pytest.raises(OutOfDate, match=r"older than module\.py: make lab"):
        report.build(project)


def test_a_result_that_was_changed_or_comes_from_another_run_is_named(project):
    (project / "results" / "numbers.csv").write_text("value\n0.6\n")
    with pytest.raises(OutOfDate, match=r"numbers\.csv is not what the notebook wrote"):
        report.build(project)


@pytest.mark.parametrize("fact", [{"network_1": "Two"}, {"profile": "quick"}, {"network_1_stands_in_for": "Three"}])
def test_notebooks_must_agree_on_what_ran(project, fact):
    (project / "report.typ").write_text(TYP + '// "results/b_provenance.csv"\n')
    record(project, "a", profile="full", network_1_stands_in_for="")
    record(project, "b", **{"profile": "full", "network_1_stands_in_for": "", "date": "2021-01-01", "pictures": "other.jpg"} | fact)
    with pytest.raises(OutOfDate, match=f"{next(iter(fact))} = .*: make lab"):
        report.build(project)


def test_notebooks_may_differ_in_date_and_pictures(project):
    (project / "report.typ").write_text(TYP + '// "results/b_provenance.csv"\n')
    record(project, "b", date="2021-01-01", pictures="other.jpg")
    assert b"20210101" in re.sub(rb"[-:]", b"", report.build(project).read_bytes())


@pytest.mark.parametrize("name", ["report.typ", "report.pdf", "report.png"])
def test_a_pdf_older_than_what_it_shows_is_found_out(project, name):
    report.build(project)
    with open(project / name, "ab") as file:
        file.write(b"\n")
    with pytest.raises(OutOfDate, match="make report"):
        report.check_built(project)


def test_a_pdf_from_older_results_is_found_out(project):
    report.build(project)
    (project / "results" / "numbers.csv").write_text("value\n0.6\n")
    record(project, "a")
    with pytest.raises(OutOfDate, match=r"report\.pdf is older than report/results/.*: make report"):
        report.check_built(project)


def test_a_pdf_that_is_not_there_is_named(project):
    with pytest.raises(OutOfDate, match=r"report\.pdf is missing: make report"):
        report.check_built(project)


def test_an_error_is_one_line(project, monkeypatch):
    monkeypatch.setattr(report, "output_folder", lambda kind: project / kind)
    (project / "report.typ").write_text(TYP + "#rows.first().no-such-column\n")
    with pytest.raises(SystemExit) as exit:
        report.main()
    assert str(exit.value).startswith("report/report.typ: ") and "no-such-column" in str(exit.value) and "\n" not in str(exit.value)


@pytest.fixture
def copied(tmp_path):
    """The report and what it shows, to be changed at will."""
    for name in ("figures", "results"):
        shutil.copytree(ROOT / "report" / name, tmp_path / name)
    for source in report.SOURCES:
        shutil.copy(source, tmp_path)
    return tmp_path


def rewrite(folder, change):
    for path in (folder / "results").glob("*_provenance.csv"):
        table = pd.read_csv(path, keep_default_na=False)
        table["value"] = [change(name, value) for name, value in zip(table["name"], table["value"])]
        table.to_csv(path, index=False)


def text_of(element):
    """What is written in an element, as typst describes it."""
    if isinstance(element, dict):
        return {"text": element.get("text", ""), "space": " "}.get(element["func"], "".join(text_of(part) for part in element.values()))
    return "".join(text_of(part) for part in element) if isinstance(element, list) else ""


def captions(folder):
    found = json.loads(typst.query(str(folder / "report.typ"), "figure", field="caption"))
    return [text_of(caption["body"]) for caption in found]


def test_the_report_has_four_to_twelve_pages(copied):
    pages = typst.compile(str(copied / "report.typ"), format="png", ppi=10)
    assert 4 <= len(pages) <= 12


def test_captions_name_stand_ins_and_only_those(copied):
    rewrite(copied, lambda name, value: f"Absent {name[8]}" if name.endswith("_stands_in_for") else value)
    facts = dict(pd.read_csv(copied / "results" / "lime_provenance.csv").to_numpy())
    first, second = facts["network_1"], facts["network_2"]
    marked = captions(copied)
    assert any(f"{first} stands in for Absent 1." in c for c in marked)
    assert any(f"{second} stands in for Absent 2." in c for c in marked)
    assert any(f"{first} stands in for Absent 1 and {second} stands in for Absent 2." in c for c in marked)
    # All but the table of the settings' parameters show a network's answers.
    assert sum("stands in for" not in c for c in marked) == 1
    rewrite(copied, lambda name, value: "" if name.endswith("_stands_in_for") else value)
    assert not any("stands in for" in c for c in captions(copied))


def test_numbers_in_sentences_come_from_the_results(copied):
    path = copied / "results" / "predictions.csv"
    table = pd.read_csv(path)
    table["probability"] = 0.123
    table.to_csv(path, index=False)
    assert "probability of 0.12" in text_of(json.loads(typst.query(str(copied / "report.typ"), "<abstract>")))
