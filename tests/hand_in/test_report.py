import json
import re
import shutil

import pandas as pd
import pytest
import typst

from lab.files import ROOT
from lab.hand_in import report
from lab.hand_in.report import CLAIMS, refuted, stated
from lab.measure.measurements import MEASUREMENTS
from lab.study.results import MissingResult, Results

SOURCES = "report.typ", "evaluation.typ", "answers.typ", "style.typ"
KEYS = "q1", "q2", "q3", "q4", "conclusion", "own"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The lab's results, beside the sources, figures and tables of both documents."""
    folder = tmp_path_factory.mktemp("project") / "report"
    for name in ("figures", "results", "animals"):
        shutil.copytree(ROOT / "report" / name, folder / name)
    for name in (*SOURCES, "metadata.toml", "references.yml"):
        shutil.copy(ROOT / "report" / name, folder)
    found = Results(folder / "results")
    report.prepare(Results(folder / "animals" / "results"))
    report.prepare(found)
    return found


@pytest.fixture
def copied(results, tmp_path, monkeypatch):
    """The same without what was measured, to be changed at will."""
    folder = tmp_path / "report"
    ignore = shutil.ignore_patterns("*.npz")
    shutil.copytree(results.folder.parent, folder, ignore=ignore)
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "SOURCE", folder)
    return folder


def build(folder, document="report"):
    return report.build(document, Results(folder / "results"))


def about(folder, **values):
    """Change what the documents know besides the tables."""
    path = folder / "tables" / "about.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def text_of(element):
    """The words of an element of typst."""
    if isinstance(element, dict):
        words = {"text": element.get("text", ""), "space": " "}
        return words.get(element.get("func"), "".join(text_of(part) for part in element.values()))
    return "".join(text_of(part) for part in element) if isinstance(element, list) else ""


def query(folder, selector, document="report"):
    return json.loads(typst.query(str(folder / f"{document}.typ"), selector))


def write_answers(folder, **answers):
    lines = [f"#let {key} = [{answers.get(key, '')}]\n" for key in KEYS]
    (folder / "answers.typ").write_text("".join(lines))


def test_the_same_results_give_the_same_pdf_dated_by_the_last_day_of_measuring(copied):
    first = build(copied).read_bytes()
    assert first.startswith(b"%PDF") and first == build(copied).read_bytes()
    studies = json.loads((copied / "tables" / "about.json").read_text())["studies"]
    about(copied, studies=studies | {"rise": studies["rise"] | {"days": ["2031-02-03"]}})
    assert b"D:20310203" in build(copied).read_bytes()


def test_a_missing_study_or_one_about_other_images_is_refused(copied):
    rise = copied / "results" / "rise.json"
    facts = json.loads(rise.read_text())
    for change in ("profile", "networks", "images"):
        rise.write_text(json.dumps(facts | {change: {}}))
        with pytest.raises(ValueError, match=f"other {change}: make study measures"):
            build(copied)
    rise.unlink()
    with pytest.raises(ValueError, match="results lacks the study rise: make study"):
        build(copied)


def test_an_error_of_the_source_names_it(copied):
    with open(copied / "report.typ", "a", encoding="utf-8") as source:
        source.write("#metadata.no-such-key")
    with pytest.raises(ValueError, match="^report/report.typ: .*no-such-key"):
        build(copied)


def test_metadata_may_have_any_type_of_toml_and_its_errors_name_it(copied):
    path = copied / "metadata.toml"
    for value, shown in ("2026-11-28", "2026-11-28"), ("2026", "2026"), ('["A", "B"]', "A, B"):
        path.write_text(f'\ufefftitle = "T"\ndate = {value}\n', "utf-8")
        assert report.metadata()["title"] == "T"
        assert shown in text_of(query(copied, "<front>"))
    for content in b'title = "T', b"date = 28.11.2026", b"title = '\xfc'":
        path.write_bytes(content)
        with pytest.raises(ValueError, match="report/metadata.toml cannot be read as TOML"):
            build(copied)


def test_typst_swallows_no_semicolon():
    # After #name, #call() and #call()[] a semicolon is not printed.
    call = r"#[\w.-]*\w(\([^()]*(\([^()]*\)[^()]*)*\))*(\[[^][]*\])?;"
    assert re.search(call, '#claim("a")[One]; two') and re.search(call, "#first; two")
    for name in SOURCES:
        text = (report.SOURCE / name).read_text(encoding="utf-8")
        assert not re.search(call, re.sub("(?m)^//.*", "", text)), name


def test_an_answer_is_shown_only_where_its_claims_hold(copied):
    assert not query(copied, "<to-do>")
    about(copied, untrue=["another_animal_has_another_order"])
    assert len(query(copied, "<to-do>")) == 2  # Q2 and Q3
    about(copied, untrue=list(CLAIMS))
    assert len(query(copied, "<to-do>")) == len(KEYS)
    assert len(query(copied, "<untrue>", "evaluation")) > 10


def test_the_authors_answers_need_no_claims_and_empty_ones_are_boxes(copied):
    about(copied, untrue=list(CLAIMS))
    write_answers(copied, q1="My own words.")
    assert len(query(copied, "<to-do>")) == len(KEYS) - 1
    assert text_of(query(copied, "<answer>")) == "My own words."


def test_it_has_five_pages_and_each_figure_stands_by_its_text(copied):
    assert query(copied, "<main-pages>")[0]["value"] <= 5
    for document, least in ("report", 8), ("evaluation", 4):
        placed = [one["value"] for one in query(copied, "<placed>", document)]
        assert len(placed) >= least
        for one in placed:
            assert one["uses"] and one["page"] - one["uses"][0] in (0, 1), one


def test_captions_mark_stand_ins_and_only_those(copied):
    captions = [text_of(figure["caption"]) for figure in query(copied, "figure")]
    assert sum("†" in caption for caption in captions) >= 6
    studies = json.loads((copied / "tables" / "about.json").read_text())["studies"]
    for facts in studies.values():
        facts["networks"] = [one | {"stands_in_for": ""} for one in facts["networks"]]
    about(copied, studies=studies)
    assert "†" not in json.dumps(query(copied, "figure"), ensure_ascii=False)


def test_what_was_not_measured_is_neither_shown_nor_spoken_of(copied):
    write_answers(copied)
    lime = pd.read_csv(copied / "tables" / "lime_runs.csv").assign(iou=None, jaccard=None)
    lime.to_csv(copied / "tables" / "lime_runs.csv", index=False)
    about(copied, figures={"lime_q1": "figures/lime_q1.png"})
    assert build(copied).is_file()
    text = "".join(text_of(each) for each in query(copied, "par"))
    assert "no second image of an elephant" in text and "no image of a bear" in text
    assert not re.search("–|∞|nan|none", text)
    tables = "".join(text_of(each) for each in query(copied, "table"))
    assert "IoU" not in tables and "Jaccard" not in tables and "R²" in tables


def test_arrows_point_to_what_is_better():
    text = (report.SOURCE / "report.typ").read_text("utf-8")
    arrows = {key: head[-1] for key, head in re.findall(r'\("(\w+)", "([^"]*[↑↓])"', text)}
    arrows = {key: arrow for key, arrow in arrows.items() if key in MEASUREMENTS}
    assert len(arrows) >= 5
    assert arrows == {key: "↑" if MEASUREMENTS[key].higher_is_better else "↓" for key in arrows}


def test_all_claims_hold_for_the_results_of_the_lab(results):
    if results.facts["lime"]["seeds"] < 3:
        pytest.skip("make report lists what does not hold for your own results")
    assert refuted(results) == []


def test_texts_state_the_claims_and_no_others():
    texts = stated()
    assert {name for names in texts.values() for name in names} == set(CLAIMS)
    for path, pattern in (
        ("evaluation.typ", r"claim\((.+?)\)"),
        ("answers.typ", r"carried\((.+?)\)"),
    ):
        found = re.findall(pattern, (report.SOURCE / path).read_text("utf-8"))
        named = re.findall(r'"(\w+)"', " ".join(found))
        assert named and set(named) <= set(CLAIMS)


def test_claims_that_do_not_hold_are_printed_with_their_texts(copied, monkeypatch, capsys):
    monkeypatch.setattr(report, "results_folder", lambda profile: copied / "results")
    monkeypatch.setattr(report, "prepare", lambda results, untrue=(): about(copied, untrue=untrue))
    monkeypatch.setattr(report, "refuted", lambda results: ["another_animal_has_another_order"])
    report.main()
    first, second, *listed = capsys.readouterr().out.splitlines()
    assert first.startswith("Wrote report/report.pdf (") and "evaluation.pdf" in second
    [line] = listed
    assert line.startswith("Not true of these results, in report/answers.typ")
    assert "have little in common" in line and "(another_animal_has_another_order)" in line


def test_a_claim_without_its_results_does_not_hold_and_one_with_a_typo_raises(results, monkeypatch):
    class Lacking:
        def table(self, name):
            if name == "rise_estimators":
                raise MissingResult(name)
            return results.table(name)

    assert refuted(Lacking()) == ["regression_needs_a_quarter_of_the_calls"]
    monkeypatch.setitem(CLAIMS, "wrong", lambda results: results.tabel("rise_runs"))
    with pytest.raises(AttributeError):
        refuted(results)


def test_another_profile_has_the_labs_comparison_of_methods(results, tmp_path):
    both = report.reported(Results(tmp_path), results)
    assert len(both.table("montages_means")) > 0
    with pytest.raises(MissingResult):
        both.table("lime_runs")
