"""What the texts state, against the committed results, and against results in which it is not so."""

import shutil

import pytest

from lab.files import ROOT
from lab.hand_in import claims
from lab.hand_in.claims import CLAIMS, refuted, sentence, stated, stated_in
from lab.study.results import Results

COMMITTED = ROOT / "report" / "results"


def results_are_those_that_come_with_the_lab():
    return (
        Results(COMMITTED).table("lime_provenance").set_index("name")["value"]["profile"] == "study"
    )


@pytest.mark.skipif(
    not results_are_those_that_come_with_the_lab(),
    reason="make report says which sentences hold for your own results",
)
@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_holds_for_the_committed_results(name):
    assert CLAIMS[name](Results(COMMITTED)), sentence(name)


def test_texts_refer_to_claims_that_are_there_and_no_claim_is_idle():
    told = {name for names in stated().values() for name in names}
    assert told == set(CLAIMS), f"unknown: {told - set(CLAIMS)}; told nowhere: {set(CLAIMS) - told}"
    assert all(sentence(name).endswith(".") and not sentence(name)[0].islower() for name in CLAIMS)


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(COMMITTED, tmp_path / "results")
    return tmp_path / "results"


def test_a_claim_that_became_untrue_is_found(copied):
    path = copied / "rise_runs.csv"
    runs = Results(copied).table("rise_runs")
    runs.loc[runs["masks"] == 16, "halves"] = 0.9
    runs.to_csv(path, index=False)
    assert "sixteen_masks_are_too_few" in refuted(Results(copied))


def test_a_claim_about_what_was_not_measured_does_not_hold(copied):
    (copied / "rise_estimators.csv").unlink()
    assert "regression_needs_a_quarter_of_the_calls" in refuted(Results(copied))


def test_an_error_in_a_condition_is_no_silent_no(copied, monkeypatch):
    def wrong(results):
        """Typos raise."""
        return results.tabel("rise_runs")

    monkeypatch.setattr(claims, "CLAIMS", {"wrong": wrong})
    with pytest.raises(AttributeError):
        refuted(Results(copied))


def test_where_a_claim_is_stated(tmp_path, monkeypatch):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.typ").write_text(
        'Text #claim("one")[One.] and #claim("two")[two].'
    )
    (tmp_path / "A.ipynb").write_text('"Two. <!-- claim: two -->"')
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    assert stated() == {"report/report.typ": ["one", "two"], "A.ipynb": ["two"]} and stated_in(
        "two"
    ) == ["report/report.typ", "A.ipynb"]
