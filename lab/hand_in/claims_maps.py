"""What the texts state of RISE's maps and of the evaluation: see `lab.hand_in.claims`."""

import numpy as np

from lab.explain.names import BASELINES
from lab.measure.measurements import TOLERANCE


def _alike(results, **values):
    table = results.table("rise_alike")
    for column, value in values.items():
        table = table[table[column] == value]
    return table["rank_correlation"]


def _usual(results):
    runs = results.table("rise_runs")
    return runs[(runs["cells"] == 7) & (runs["kept"] == 0.5)]


def sixteen_masks_are_too_few(results):
    """With 16 masks either half finds another map, for every class and network."""
    usual = _usual(results)
    return (usual.loc[usual["masks"] == 16, "halves"] < 0.4).all()


def thousands_of_masks_repeat(results):
    """With 4,000 masks the two halves find the same map of the elephant, but for a tenth or two of the rank correlation."""
    usual = _usual(results)
    elephants = usual[
        (usual["masks"] == usual["masks"].max()) & (usual["class"] == "African_elephant")
    ]
    return (elephants["halves"] > 0.8).all()


def networks_look_at_the_same_parts(results):
    """The two networks' maps of the elephant agree nearly as well as two halves of one network's masks do."""
    halves = _usual(results).query("label == 386 and masks == masks.max()")["halves"].min()
    between = _alike(results, between="networks", **{"class": "African_elephant"}).iloc[0]
    return between > 0.7 and between > halves - 0.2


def networks_part_on_the_bear(results):
    """On the bear the two networks' maps have little in common, though each network's own halves agree."""
    bears = results.table("rise_runs").query("label == 295")
    return (
        _alike(results, between="networks", **{"class": "black_bear"}).iloc[0] < 0.5
        and (bears["halves"] > 0.75).all()
    )


def kinds_of_elephant_share_a_map(results):
    """The maps of the other two kinds of elephant are nearly that of the one that was predicted."""
    return (_alike(results, between="classes", **{"class": "African_elephant"}) > 0.7).all()


def coarse_grids_repeat_better(results):
    """With as many masks, the halves agree best with the coarsest grid and worst with the finest."""
    runs = results.table("rise_runs").query("label == 386 and masks == 2000 and kept == 0.5")
    halves = runs[runs["network"] == runs["network"].iloc[0]].groupby("cells")["halves"].first()
    return (
        halves.idxmax() == halves.index.min()
        and halves.idxmin() == halves.index.max()
        and np.ptp(halves) > 0.3
    )


def half_kept_shows_most(results):
    """The animal stands out most from what is beside it when half of the picture is kept."""
    runs = results.table("rise_runs").query("label == 386 and masks == 2000 and cells == 7")
    contrast = runs[runs["network"] == runs["network"].iloc[0]].groupby("kept")["contrast"].first()
    return contrast.idxmax() == 0.5


def rise_points_at_the_elephant(results):
    """The most salient point lies on the elephant for both networks."""
    usual = _usual(results)
    return (usual.query("label == 386 and masks == masks.max()")["pointing_game"] == 1).all()


def one_network_misses_the_bear(results):
    """One of the two networks has its most salient point beside the black bear, the other on it."""
    bears = results.table("rise_runs").query("label == 295")
    return sorted(bears["pointing_game"]) == [0, 1]


def regression_needs_a_quarter_of_the_calls(results):
    """With 250 calls the regression agrees with a long run at least as well as the paper's average does with 1,000."""
    found = results.table("rise_estimators").set_index(["estimator", "calls"])["rank_correlation"]
    return found["regression", 250] >= found["average", 1000]


def tolerance_stops_early(results):
    """Each tolerance stops before all masks are used, and the smaller it is, the nearer the map comes to a long run."""
    rows = results.table("rise_stopping").sort_values("tolerance", ascending=False)
    return (
        (rows["calls"] < 4000).all()
        and rows["calls"].is_monotonic_increasing
        and rows["rank_correlation"].is_monotonic_increasing
    )


def _costs_more(results, fill):
    """For each answer, by how much more the probability falls without what RISE alone marks than without what LIME alone marks."""
    table = results.table("evaluation_differ").query("fill == @fill")
    without = table.pivot(index=["network", "class", "picture"], columns="method", values="without")
    return without["lime"] - without["rise"]


def hidden_in_black_rise_is_right(results):
    """Hidden in black, what only RISE marks costs the network more than what only LIME marks, on nearly every picture."""
    return (_costs_more(results, "black") > 0).mean() > 0.9


def blurred_nobody_is_right(results):
    """Blurred, what only RISE marks costs more on some pictures, and what only LIME marks on about as many."""
    return 0.3 < (_costs_more(results, "blurred") > 0).mean() < 0.7


def shap_finds_shapley_values(results):
    """With as many calls as there are coalitions KernelSHAP orders superpixels like their Shapley values, LIME and RISE nearly."""
    rows = results.table("evaluation_shapley")
    last = rows[rows["calls"] == rows["calls"].max()].set_index("method")["rank_correlation"]
    return last["shap"] > 0.99 and 0.8 < last["lime"] < 0.99 and 0.8 < last["rise"] < 0.99


def maps_notice_a_random_network(results):
    """The map of every method that asks changes when the network's layers are made random."""
    rows = results.table("evaluation_sanity")
    return (rows["rank_correlation"].abs().groupby(rows["method"]).mean() < 0.5).all()


def only_shapley_values_meet_all_axioms(results):
    """All axioms hold for Shapley values and KernelSHAP only."""
    violated = results.table("evaluation_axioms").drop(columns="key").set_index("method")
    return set(violated.index[(violated < TOLERANCE).all(axis=1)]) == {"shapley", "shap"}


def roar_tells_asking_from_guessing(results):
    """Retrained without a tenth of the pixels, a network reads fewer digits where a method that asks took them than where a baseline did."""
    rows = results.table("evaluation_roar")
    read = rows[rows["share"] == 0.1].groupby("method")["drawn"].mean()
    guessed = read.index.isin(BASELINES)
    return read[~guessed].max() < read[guessed].min()
