"""The findings that report and notebooks state, each with the condition under which it is true.

A claim is a function of the results: its name is what a text refers to, its docstring is the sentence, and it returns
whether the sentence holds. A text says it in its own words, with ``#claim("name")[…]`` in ``report/report.typ`` and
``<!-- claim: name -->`` in a notebook. The tests hold every claim against the committed results; for other results
`make report` lists what does not hold, and the report marks it, so that one knows which sentences to write anew.
"""

import re

import numpy as np

from lab.explain.names import BASELINES
from lab.files import ROOT
from lab.measure.measurements import TOLERANCE
from lab.study.results import MissingResult

CLAIMS = {}


def claim(holds):
    """Enter a function in `CLAIMS`."""
    CLAIMS[holds.__name__] = holds
    return holds


def sentence(name):
    """What a claim says, in one line.

    Parameters
    ----------
    name : str
        Of `CLAIMS`.

    Returns
    -------
    str
    """
    return " ".join(CLAIMS[name].__doc__.split())


def refuted(results):
    """The claims that do not hold for some results.

    Parameters
    ----------
    results : lab.study.results.Results

    Returns
    -------
    list of str
        Names, in the order of `CLAIMS`; also those that ask for what these results do not have.
    """
    return [name for name, holds in CLAIMS.items() if not _holds(holds, results)]


def stated():
    """Which claims each text refers to.

    Returns
    -------
    dict of str to list of str
        Names by text: the report's source, and the notebooks.
    """
    texts = {"report/report.typ": r'#claim\("(\w+)"\)'} | {path.name: r"<!-- claim: (\w+) -->" for path in sorted(ROOT.glob("*.ipynb"))}
    return {text: re.findall(form, (ROOT / text).read_text(encoding="utf-8")) for text, form in texts.items()}


def stated_in(name):
    """The texts that refer to a claim.

    Parameters
    ----------
    name : str
        Of `CLAIMS`.

    Returns
    -------
    list of str
    """
    return [text for text, names in stated().items() if name in names]


def _holds(holds, results):
    try:
        with np.errstate(all="ignore"):
            return bool(holds(results))
    except (MissingResult, LookupError, ValueError):  # other pictures, networks or counts
        return False


def _tau(results, pair):
    table = results.table("lime_agreement")
    return table[table["pair"] == pair].set_index("measure")["tau"]


# RISE


def _alike(results, **values):
    table = results.table("rise_alike")
    for column, value in values.items():
        table = table[table[column] == value]
    return table["rank_correlation"]


def _usual(results):
    runs = results.table("rise_runs")
    return runs[(runs["cells"] == 7) & (runs["kept"] == 0.5)]


@claim
def sixteen_masks_are_too_few(results):
    """With 16 masks either half finds another map, for every class and network."""
    usual = _usual(results)
    return (usual.loc[usual["masks"] == 16, "halves"] < 0.4).all()


@claim
def thousands_of_masks_repeat(results):
    """With 4,000 masks the two halves find the same map of the elephant, but for a tenth or two of the rank correlation."""
    usual = _usual(results)
    elephants = usual[(usual["masks"] == usual["masks"].max()) & (usual["class"] == "African_elephant")]
    return (elephants["halves"] > 0.8).all()


@claim
def networks_look_at_the_same_parts(results):
    """The two networks' maps of the elephant agree nearly as well as two halves of one network's masks do."""
    halves = _usual(results).query("label == 386 and masks == masks.max()")["halves"].min()
    between = _alike(results, between="networks").iloc[0]
    return between > 0.7 and between > halves - 0.2


@claim
def kinds_of_elephant_share_a_map(results):
    """The maps of the other two kinds of elephant are nearly that of the one that was predicted."""
    return (_alike(results, between="classes", **{"class": "African_elephant"}) > 0.7).all()


@claim
def coarse_grids_repeat_better(results):
    """With as many masks, the halves agree better the coarser the grid."""
    runs = results.table("rise_runs").query("label == 386 and masks == 2000 and kept == 0.5")
    halves = runs[runs["network"] == runs["network"].iloc[0]].drop_duplicates("cells").sort_values("cells")["halves"]
    return halves.is_monotonic_decreasing and halves.iloc[0] - halves.iloc[-1] > 0.3


@claim
def half_kept_shows_most(results):
    """The animal stands out most from what is beside it when half of the picture is kept."""
    runs = results.table("rise_runs").query("label == 386 and masks == 2000 and cells == 7")
    contrast = runs[runs["network"] == runs["network"].iloc[0]].groupby("kept")["contrast"].first()
    return contrast.idxmax() == 0.5


@claim
def rise_points_at_the_elephant(results):
    """The most salient point lies on the elephant for both networks."""
    usual = _usual(results)
    return (usual.query("label == 386 and masks == masks.max()")["pointing_game"] == 1).all()


@claim
def one_network_misses_the_bear(results):
    """One of the two networks has its most salient point beside the black bear, the other on it."""
    bears = results.table("rise_runs").query("label == 295")
    return sorted(bears["pointing_game"]) == [0, 1]


@claim
def regression_needs_a_quarter_of_the_calls(results):
    """With 250 calls the regression agrees with a long run at least as well as the paper's average does with 1,000."""
    found = results.table("rise_estimators").set_index(["estimator", "calls"])["rank_correlation"]
    return found["regression", 250] >= found["average", 1000]


@claim
def tolerance_stops_early(results):
    """Each tolerance stops before all masks are used, and the smaller it is, the nearer the map comes to a long run."""
    rows = results.table("rise_stopping").sort_values("tolerance", ascending=False)
    return (rows["calls"] < 4000).all() and rows["calls"].is_monotonic_increasing and rows["rank_correlation"].is_monotonic_increasing


# The evaluation


@claim
def shap_finds_shapley_values(results):
    """With as many calls as there are coalitions KernelSHAP orders superpixels like their Shapley values, LIME and RISE nearly."""
    rows = results.table("evaluation_shapley")
    last = rows[rows["calls"] == rows["calls"].max()].set_index("method")["rank_correlation"]
    return last["shap"] > 0.99 and 0.8 < last["lime"] < 0.99 and 0.8 < last["rise"] < 0.99


@claim
def maps_notice_a_random_network(results):
    """The map of every method that asks changes when the network's layers are made random."""
    rows = results.table("evaluation_sanity")
    return (rows["rank_correlation"].abs().groupby(rows["method"]).mean() < 0.5).all()


@claim
def only_shapley_values_meet_all_axioms(results):
    """All axioms hold for Shapley values and KernelSHAP only."""
    violated = results.table("evaluation_axioms").drop(columns="key").set_index("method")
    return set(violated.index[(violated < TOLERANCE).all(axis=1)]) == {"shapley", "shap"}


@claim
def roar_tells_asking_from_guessing(results):
    """Retrained without a tenth of the pixels, a network reads fewer digits where a method that asks took them than where a baseline did."""
    rows = results.table("evaluation_roar")
    read = rows[rows["share"] == 0.1].groupby("method")["drawn"].mean()
    guessed = read.index.isin(BASELINES)
    return read[~guessed].max() < read[guessed].min()
