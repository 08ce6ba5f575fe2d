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
from lab.study.results import Results

COMMITTED = Results(ROOT / "report" / "results")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The report and what it shows, to be changed at will."""
    folder = tmp_path / "report"
    for name in ("figures", "results"):
        shutil.copytree(ROOT / "report" / name, folder / name)
    for name in ("report.typ", "metadata.toml", "references.yml"):
        shutil.copy(ROOT / "report" / name, folder)
    for notebook in ROOT.glob("*.ipynb"):
        shutil.copy(notebook, tmp_path)
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "SOURCE", folder / "report.typ")
    monkeypatch.setattr(report, "results_folder", lambda profile: folder / "results")
    return folder


def change(folder, name, value):
    """Change cells of a table: value(row) is a dict of columns, or nothing."""
    path = folder / "results" / f"{name}.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    rows = [row | (value(row) or {}) for row in table.to_dict("records")]
    pd.DataFrame(rows).to_csv(path, index=False)


def refused():
    with pytest.raises(SystemExit) as exit:
        report.main()
    message = str(exit.value.code)
    assert "\n" not in message
    return message.removeprefix("Stopped: ")


def text_of(element):
    """The words of an element of typst."""
    if isinstance(element, dict):
        words = {"text": element.get("text", ""), "space": " "}
        return words.get(element.get("func"), "".join(text_of(part) for part in element.values()))
    return "".join(text_of(part) for part in element) if isinstance(element, list) else ""


def query(folder, selector, **inputs):
    return json.loads(typst.query(str(folder / "report.typ"), selector, sys_inputs=inputs))


def test_the_same_results_give_the_same_pdf(copied):
    report.main()
    first = (copied / "report.pdf").read_bytes()
    assert first.startswith(b"%PDF")
    report.main()
    assert first == (copied / "report.pdf").read_bytes()
    change(copied, "rise_tasks", lambda row: {"date": "2031-02-03"})
    report.main()
    assert b"D:20310203" in (copied / "report.pdf").read_bytes()  # the last day of measuring


@pytest.mark.parametrize(
    "name, command",
    [("results/lime_runs.csv", "make study"), ("figures/lime_q1.png", "make figures")],
)
def test_what_is_missing_is_named_with_the_command_that_makes_it(copied, name, command):
    (copied / name).unlink()
    assert refused() == f"report/{name} is missing: {command} makes it"
    assert not (copied / "report.pdf").exists()


@pytest.mark.parametrize("name", ["profile", "network_1", "network_2_weights", "picture "])
def test_studies_that_do_not_belong_together_are_refused(copied, name):
    changed = {"value": "other"}
    change(copied, "evaluation_provenance", lambda row: changed if name in row["name"] else {})
    message = refused()
    assert "lime_provenance.csv has " + name in message and "make study" in message
    assert 'evaluation_provenance.csv has "other"' in message


def test_an_error_of_the_source_names_it(copied):
    with open(copied / "report.typ", "a", encoding="utf-8") as source:
        source.write("#metadata.no-such-key")
    assert refused().startswith("report/report.typ: ") and "no-such-key" in refused()


def test_metadata_may_have_any_type_of_toml_and_its_errors_name_it(copied):
    path = copied / "metadata.toml"
    for value, shown in ("2026-11-28", "2026-11-28"), ("2026", "2026"), ('["A", "B"]', "A, B"):
        path.write_text(f'\ufefftitle = "T"\ndate = {value}\n', "utf-8")
        assert report.metadata()["title"] == "T"
        assert shown in text_of(query(copied, "<front>"))
    for content in b'title = "T', b"date = 28.11.2026", b"title = '\xfc'":
        path.write_bytes(content)
        assert refused().startswith("report/metadata.toml cannot be read as TOML: ")
    path.unlink()
    assert refused().startswith("report/metadata.toml cannot be read as TOML: ")


def test_typst_swallows_no_semicolon():
    # After #name, #call() and #call()[] a semicolon is not printed.
    call = r"#[\w.-]*\w(\([^()]*(\([^()]*\)[^()]*)*\))*(\[[^][]*\])?;"
    assert re.search(call, '#claim("a")[One]; two') and re.search(call, "#first; two")
    assert not re.search(call, report.SOURCE.read_text(encoding="utf-8"))


def test_captions_mark_stand_ins_and_only_those(copied):
    def marked(absent):
        value = {"value": absent}
        for study in ("lime", "rise", "evaluation", "montages", "photographs"):
            name = f"{study}_provenance"
            change(copied, name, lambda row: value if "stands_in_for" in row["name"] else {})
        captions = [text_of(figure["caption"]["body"]) for figure in query(copied, "figure")]
        return ["†" in caption for caption in captions]

    assert all(marked("Absent")) and not any(marked(""))
    assert "stands in for" not in text_of(query(copied, "<abstract>"))


def test_photographs_are_those_of_the_networks_that_explained_them(copied):
    names = {"EfficientNet-Lite0": "Xception", "SqueezeNet 1.1": "ResNet50"}
    for path in copied.glob("results/*.csv"):
        if not path.name.startswith("photographs_"):
            text = path.read_text("utf-8")
            for stand_in, real in names.items():
                text = text.replace(stand_in, real)
            text = re.sub("(_stands_in_for),.*", r"\1,", text)
            path.write_text(text, "utf-8")
    for figure in query(copied, "figure"):
        caption = text_of(figure["caption"]["body"])
        photographs = "photographs" in figure.get("label", "")
        assert ("EfficientNet-Lite0†" in caption) == ("SqueezeNet 1.1†" in caption) == photographs
        assert not (photographs and re.search("Xception|ResNet50", caption))
    abstract = text_of(query(copied, "<abstract>"))
    assert "explained by EfficientNet-Lite0† and SqueezeNet 1.1†, not by Xception and" in abstract


def test_the_report_of_another_profile_has_the_labs_photographs(copied):
    other = copied / "quick"
    shutil.copytree(copied / "results", other / "results")
    for path in other.glob("results/photographs_*"):
        path.unlink()
    assert refuted(report.reported(other)) == refuted(COMMITTED)
    (copied / "results" / "photographs_pairs.csv").unlink()
    assert "blurred_lime_is_better_on_photographs" in refuted(report.reported(other))


def test_counts_of_another_profile_are_named(copied):
    fewer = {"400": "115", "2000": "195", "4000": "295", "250": "108", "1000": "145"}
    change(copied, "rise_runs", lambda row: {"nb_samples": fewer.get(n := row["nb_samples"], n)})
    change(copied, "rise_estimators", lambda row: {"calls": fewer.get(n := row["calls"], n)})
    text = text_of(query(copied, "par"))
    for count in "with 195 masks", "With 295 they", "With 108 calls", "with 145 calls":
        assert count in text


def test_the_report_is_short(copied):
    main, every = (query(copied, name)[0]["value"] for name in ("<main-pages>", "<all-pages>"))
    assert main <= 6 and every <= 10


def test_every_figure_and_table_is_referred_to(copied):
    shown = [figure["label"] for figure in query(copied, "figure")]
    assert len(shown) > 10 and set(shown) <= {ref["target"] for ref in query(copied, "ref")}


def test_the_authors_paragraph_is_shown_where_there_is_one(copied):
    assert not query(copied, "<paragraph>")
    metadata = copied / "metadata.toml"
    text = metadata.read_text("utf-8").replace('paragraph = ""', 'paragraph = "My own words."')
    metadata.write_text(text, "utf-8")
    assert text_of(query(copied, "<paragraph>")) == "My own words."


def test_numbers_in_sentences_come_from_the_results(copied):
    change(copied, "predictions", lambda row: {"probability": "0.123"})
    assert "probability of 0.12" in text_of(query(copied, "<abstract>"))


def test_what_could_not_be_measured_is_a_dash(copied):
    # R² of equal probabilities, rank correlation of constant maps, and so on.
    known = {"preservation_probability", "tolerance", "probability", "without"}
    for path in copied.glob("results/[!p]*.csv"):  # those of photographs come with the lab
        table = pd.read_csv(path)
        measured = [*table.select_dtypes("float").columns.difference(known)]
        table.assign(**dict.fromkeys(measured)).to_csv(path, index=False)
    assert "(rank correlation – at best)" in text_of(query(copied, "par"))


def test_arrows_point_to_what_is_better():
    heads = re.findall(r'\("(\w+)", "([^"]*[↑↓])"', report.SOURCE.read_text(encoding="utf-8"))
    arrows = {key: head[-1] for key, head in heads if key in MEASUREMENTS}
    assert len(arrows) >= 6
    assert arrows == {key: "↑" if MEASUREMENTS[key].higher_is_better else "↓" for key in arrows}


def test_all_claims_hold_for_the_results_of_the_lab():
    if dict(COMMITTED.table("lime_provenance")[["name", "value"]].to_numpy())["profile"] != "study":
        pytest.skip("make report lists what does not hold for your own results")
    assert refuted(COMMITTED) == []


def test_texts_state_the_claims_and_no_others():
    assert {name for names in stated().values() for name in names} == set(CLAIMS)


def test_a_sentence_that_is_not_true_is_listed_and_marked(copied, capsys):
    change(copied, "rise_runs", lambda row: {"halves": "0.9"} if row["nb_samples"] == "16" else {})
    report.main()
    first, *listed = capsys.readouterr().out.splitlines()
    assert first.startswith("Wrote report/report.pdf (")
    assert len(listed) == 1 and "two halves of 16 masks differ" in listed[0]
    assert "report/report.typ" in listed[0] and "RISE.ipynb" in listed[0]
    untrue = json.dumps(["thousands_of_masks_repeat"])
    assert len(query(copied, "<untrue>", marked=untrue)) == 1 and not query(copied, "<untrue>")


def test_a_claim_without_its_results_does_not_hold_and_one_with_a_typo_raises(copied, monkeypatch):
    (copied / "results" / "rise_estimators.csv").unlink()
    lacking = refuted(Results(copied / "results"))
    assert lacking == ["regression_needs_a_quarter_of_the_calls"]
    monkeypatch.setitem(CLAIMS, "wrong", lambda results: results.tabel("rise_runs"))
    with pytest.raises(AttributeError):
        refuted(COMMITTED)
