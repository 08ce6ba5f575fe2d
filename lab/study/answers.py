"""The answers to the lab's questions, worded from the tables, so that they hold for any network and picture."""

import numpy as np
import pandas as pd

from lab.explain.names import BASELINES, METHOD_NAMES
from lab.measure.agreement import jaccard, rank_correlation
from lab.measure.axioms import TOLERANCE
from lab.measure.measurements import MEASUREMENTS
from lab.measure.statistics import CHOSEN_BY, FAITHFUL, MOST_ALIKE, at_odds, rank_settings

LIME_RULE = (
    "Within each picture and network the settings are ranked by "
    + ", ".join(MEASUREMENTS[key].label for key in CHOSEN_BY)
    + "; the setting with the lowest mean rank over all of these explains best. No measurement counts more than another, "
    "and none that is missing counts."
)

TRUST_RULE = (
    "A method is trusted if by none of " + ", ".join(MEASUREMENTS[key].label for key in FAITHFUL) + " a baseline is surely better, if by at least one of them "
    f"it is surely better than every baseline, and if its maps of networks with random layers agree with the intact network's at less than {MOST_ALIKE:.1f} "
    "(mean absolute rank correlation). Surely means that the 95% bootstrap interval of the difference, over pictures, does not reach 0. Among the trusted the "
    f"lowest mean rank over these {len(FAITHFUL)} measurements leads. Agreement with the animal has no vote: it asks where we would look. The rule was changed once "
    "after a first run, on 2026-11-22: before, any difference between means counted."
)

ASKS = {
    "deletion_black": "Deletion asks which pixels the network cannot do without, and blackens them, which is itself something to see.",
    "insertion": "Insertion asks which pixels are enough for the network, and starts from a blurred picture, in which it may already see something.",
    "faithfulness": "Faithfulness asks what each superpixel does alone, with all others in place, and is blind to parts that stand in for each other.",
    "iou_mask": "IoU asks whether the salient region has the animal's outline, whatever the network goes by.",
    "pointing_game": "The pointing game asks about one point only, the most salient one.",
}
"""What each measurement asks, for where they disagree."""


def lime_answers(tables, grid, shown, results):
    """What the study of LIME found, in words.

    Parameters
    ----------
    tables : dict of str to pandas.DataFrame
        Of `lab.study.lime.derive`.
    grid, shown : pandas.DataFrame
        "lime_grid" and "lime_shown".
    results : lab.study.results.Results

    Returns
    -------
    pandas.DataFrame
        "name" and "text".
    """
    runs, agreement, variance, order = (tables[name] for name in ("lime_runs", "lime_agreement", "lime_variance", "lime_ranking"))
    network = runs["network"].iloc[0]
    pictures = runs[runs["network"] == network][["class", "picture"]].drop_duplicates()
    elephant, other = pictures["picture"].iloc[:2]
    bear = pictures[pictures["class"] != pictures["class"].iloc[0]]["picture"].iloc[0]
    best = {picture: _best(runs, network, picture) for picture in (elephant, other, bear)}
    lead, second = order.iloc[0], order.iloc[1]
    n_pictures, networks = len(pictures), list(dict.fromkeys(runs["network"]))
    q1 = (
        f"{_best_setting(runs, network, elephant)}. Over all {n_pictures} pictures and both networks setting {lead['setting']} leads with a mean rank of "
        f"{lead['mean_rank']:.1f}{_interval(lead)}, before setting {second['setting']} with {second['mean_rank']:.1f}{_interval(second)}."
    )

    def other_picture(picture, pair):
        same = "the same setting as" if best[picture] == best[elephant] else "another setting than"
        return f"{_best_setting(runs, network, picture)}; this is {same} for {elephant}. {_carries_over(agreement, pair)}"

    more = int((variance["data"] > variance["network"]).sum())
    q4 = (
        f"More on {'the data' if more > len(variance) / 2 else 'the network'}: which picture is explained accounts for more of the variance than which network answers in "
        f"{more} of {len(variance)} measurements; on average the data account for {variance['data'].mean():.0%} and the network for {variance['network'].mean():.0%}, the "
        f"setting for {variance['setting'].mean():.0%}, and data and network together, beyond what each does alone, for {variance['network x data'].mean():.0%}. "
        f"This rests on {n_pictures} pictures and two networks, {' and '.join(networks)}."
    )
    size = grid[grid["parameter"] == "num_superpixels"].assign(value=lambda table: table["value"].astype(int))
    near = size[size["r2_fresh"] >= 0.9 * size.groupby("picture")["r2_fresh"].transform("max")].groupby("picture", sort=False)["value"].min()
    tradeoff = "; ".join(f"on {picture}, {n} superpixels reach nine tenths of the R² that the best number has" for picture, n in near.items()) + "."
    by_color = grid[grid["parameter"] == "hide_color"].groupby("value")["r2_fresh"].mean()
    colors = shown[shown["figure"] == "hide_color"]
    chosen = results.array("lime_shown", shown["key"].iloc[0], "chosen")[: len(colors)]
    pairs = [jaccard(a, b) for place, a in enumerate(chosen) for b in chosen[:place]]
    hide_color = (
        f"For {network}, hiding behind {by_color.idxmax()} gives the highest R² on fresh perturbations ({by_color.max():.2f}), behind {by_color.idxmin()} the lowest "
        f"({by_color.min():.2f}). On {elephant}, two of {len(colors)} ways to hide show the same superpixels up to a Jaccard index of {np.mean(pairs):.2f} on average: "
        "what hides is part of the question that LIME asks."
    )
    largest = tables["lime_stability"]["num_samples"].max()
    stability = "; ".join(
        f"{row.num_samples} balanced perturbations agree at {row.balanced:.2f}, for which LIME needs "
        + (f"{row.lime_needs:.0f} ({row.ratio:.1f} times as many)" if np.isfinite(row.lime_needs) else f"more than {largest} (over {largest / row.num_samples:.0f} times as many)")
        for row in tables["lime_savings"].itertuples()
    )
    return _table({
        "lime_rule": LIME_RULE, "q1": q1, "q2": other_picture(other, "same class"), "q3": other_picture(bear, "other class"), "q4": q4,
        "tradeoff": tradeoff, "hide_color": hide_color, "stability": stability + ".",
    })


def _best(runs, network, picture):
    return rank_settings(runs[(runs["network"] == network) & (runs["picture"] == picture)]).iloc[0]["setting"]


def _best_setting(runs, network, picture):
    rows = runs[(runs["network"] == network) & (runs["picture"] == picture)]
    first, means = rank_settings(rows).iloc[0], rows.groupby("setting").mean(numeric_only=True)
    chosen, rest = means.loc[first["setting"]], means.drop(index=first["setting"])
    overlap = "" if np.isnan(chosen["iou"]) else f", overlaps the animal at an IoU of {chosen['iou']:.2f}"
    return (
        f"Setting {first['setting']} explains {picture} best for {network} (mean rank {first['mean_rank']:.1f} of {len(means)}): it has an R² of {chosen['r2_fresh']:.2f} "
        f"on fresh perturbations (the others {rest['r2_fresh'].min():.2f} to {rest['r2_fresh'].max():.2f}){overlap} and shows {chosen['shown']:.0%} of the picture"
    )


def _carries_over(agreement, pair):
    rows = agreement[(agreement["pair"] == pair) & (agreement["pairs"] > 0)]
    if rows.empty:
        return "There is no such pair among the pictures of this run."
    parts = [f"{MEASUREMENTS[row.measure].label} {row.tau:.2f}{_range(row.low, row.high)}" for row in rows.itertuples()]
    tau = rows["tau"].mean()
    how = "carries over well" if tau > 0.6 else "carries over in part" if tau > 0.3 else "hardly carries over"
    sure = rows["low"].notna().any()  # too few pairs give no interval
    end = "in brackets the 95% bootstrap interval over pictures" if sure else "these are too few pairs for an interval"
    return f"The ranking {how} (Kendall's tau, mean {tau:.2f} over {rows['pairs'].max()} pairs): {', '.join(parts)}; {end}."


def _interval(row):
    return "" if np.isnan(row["low"]) else f" (95% interval {row['low']:.1f} to {row['high']:.1f})"


def _range(low, high, digits=2):
    return "" if np.isnan(low) else f" ({low:.{digits}f} to {high:.{digits}f})"


def rise_answers(results):
    """What the study of RISE found, in words.

    Parameters
    ----------
    results : lab.study.results.Results

    Returns
    -------
    pandas.DataFrame
        "name" and "text".
    """
    runs = results.table("rise_runs")
    networks = list(dict.fromkeys(runs["network"]))
    kind = runs["class"].iloc[0]
    n = runs["masks"].max()
    usual = runs[(runs["cells"] == 7) & (runs["kept"] == 0.5)]
    whole = usual[(usual["masks"] == n) & (usual["class"] == kind)]
    first = whole.groupby("network", sort=False).head(1)
    maps = {row.network: results.array("rise_runs", row.key, "maps").astype(float) for row in first.itertuples()}
    between = rank_correlation(*(maps[network][0] for network in networks))
    classes = [rank_correlation(found[0], other) for found in maps.values() for other in found[1:]]
    bears = runs[runs["class"] != kind].groupby("network", sort=False).head(1)
    halves = {masks: rows["halves"] for masks, rows in usual[usual["label"] == first["label"].iloc[0]].groupby("masks")}
    half = runs[(runs["network"] == networks[0]) & (runs["masks"] == n // 2) & (runs["class"] == kind)]
    cells = half[half["kept"] == 0.5].groupby("cells")["halves"].first()
    kept = half[half["cells"] == 7].groupby("kept")["contrast"].first()
    estimators = results.table("rise_estimators").set_index(["estimator", "calls"])["rank_correlation"]
    calls = sorted({count for _, count in estimators.index})
    fewer = "; ".join(
        f"with {count} calls the regression agrees with {n} other masks of the paper's estimator at a rank correlation of {estimators['regression', count]:.2f}, "
        f"the paper's average at {estimators['average', count]:.2f}" for count in (calls[-1], calls[0])
    )
    stopping = ", ".join(f"{row.tolerance:g} stops after {row.calls} calls" for row in results.table("rise_stopping").itertuples())
    return _table({
        "rise_networks": f"{_where(first)}; between the two networks' maps the rank correlation is {between:.2f}.",
        "rise_nb_samples": f"{n // 2} masks are repeated by {n // 2} others with a rank correlation of {halves[n].min():.2f} or better; 8 masks by 8 others with {halves[16].max():.2f} or worse.",
        "rise_grid_size": f"Halves of the masks agree at {cells[4]:.2f} with 4 x 4 cells and at {cells[16]:.2f} with 16 x 16.",
        "rise_preservation_probability": f"The animal stands out most from what is beside it at p = {kept.idxmax():g}.",
        "rise_classes": f"The maps of tusker and Indian_elephant agree with that of African_elephant at a rank correlation of {min(classes):.2f} or more; they cost no further model call.",
        "rise_bear": f"On the bear, {_where(bears)[0].lower()}{_where(bears)[1:]}.",
        "rise_estimators": f"{fewer[0].upper()}{fewer[1:]}.",
        "rise_stopping": f"A tolerance of {stopping} ({n} at most).",
        "rise_conclusion": f"RISE needs nothing but the network's answers: the same code explained {networks[0]} and {networks[1]}, and every class, predicted or not, from one run.",
    })


def _where(rows):
    hits = list(rows[rows["pointing_game"] == 1]["network"])
    if len(hits) == len(rows):
        return "The most salient point lies on the animal for both networks"
    return f"The most salient point lies on the animal for {hits[0]} only" if hits else "The most salient point misses the animal for both networks"


def evaluation_answers(tables, runs, results):
    """What the study of methods found, in words.

    Parameters
    ----------
    tables : dict of str to pandas.DataFrame
        Of `lab.study.evaluation.derive`.
    runs : pandas.DataFrame
        Of `lab.study.evaluation.with_sanity`.
    results : lab.study.results.Results

    Returns
    -------
    pandas.DataFrame
        "name" and "text".
    """
    shapley = results.table("evaluation_shapley")
    last = shapley[shapley["calls"] == shapley["calls"].max()].set_index("method")["rank_correlation"]
    sanity = runs[~runs["method"].isin(BASELINES)].groupby("method")["sanity"].mean().sort_values()
    retrained = results.table("evaluation_roar")
    early = retrained[retrained["share"] == 0.1].groupby("method")["drawn"].mean().sort_values()
    violated = results.table("evaluation_axioms").drop(columns="key").set_index("method")
    complete = [METHOD_NAMES.get(name, "exact Shapley values") for name, row in violated.iterrows() if (row < TOLERANCE).all()]
    pictures = len(runs[["class", "picture"]].drop_duplicates())
    return _table({
        "trust_rule": TRUST_RULE,
        "trust": _trust(tables["evaluation_verdict"]),
        "shapley": f"With {shapley['calls'].max()} calls for {shapley['superpixels'].iloc[0]} superpixels, KernelSHAP orders them like their exact Shapley values at a rank "
                   f"correlation of {last['shap']:.2f}, LIME at {last['lime']:.2f} and RISE's regression at {last['rise']:.2f}.",
        "sanity": f"On average over networks, pictures and depths, the maps of random networks agree with those of the intact one at {_listed(sanity, '{:.2f}')}.",
        "at_odds": _odds(tables, runs),
        "roar": f"With a tenth of the pixels replaced, a retrained network still reads {_listed(early, '{:.0%}')} of the digits: the lower, the more of what matters was found.",
        "axioms": f"All axioms hold for {' and '.join(complete)} only." if complete else "No method meets all axioms.",
        "sample_size": _sample_size(pictures, runs["network"].nunique()),
    })


def _listed(values, form):
    return ", ".join(f"{form.format(value)} ({METHOD_NAMES[method]})" for method, value in values.items())


def _odds(tables, runs):
    tau = tables["evaluation_disagreement"].set_index("metric")
    asking = [key for key in ASKS if key in tau]
    one, other = tau.loc[asking, asking].where(np.tri(len(asking), k=-1, dtype=bool)).stack().idxmin()
    odds = at_odds(runs, one, other, [method for method in dict.fromkeys(runs["method"]) if method not in BASELINES])
    if odds["ranks"] <= 0:
        return "No two maps of one answer are at odds."
    first, second, by, against = METHOD_NAMES[odds["first"]], METHOD_NAMES[odds["second"]], MEASUREMENTS[one].label, MEASUREMENTS[other].label
    return (
        f"On {odds['picture']}, {odds['network']}'s map by {first} is better than that by {second} by {by}, and worse by {against}. {ASKS[one]} {ASKS[other]} "
        "A map can do well by one and badly by the other without either being wrong."
    )


def _trust(judged):
    trusted, others = judged[judged["trusted"]], judged[~judged["trusted"]]
    reasons = []
    for row in others.to_dict("records"):
        why = [f"by {MEASUREMENTS[metric].label} a baseline is surely better" for metric in FAITHFUL if row[f"{metric}: better"]]
        if not why and row["sanity"] < MOST_ALIKE:
            why = ["by no measurement it is surely better than every baseline"]
        if not row["sanity"] < MOST_ALIKE:
            why.append(f"its maps of random networks agree with the intact one's at {row['sanity']:.2f}")
        reasons.append(f"{METHOD_NAMES[row['method']]} is not trusted: {', and '.join(why)}.")
    if trusted.empty:
        return " ".join(["No method is to be trusted by this rule.", *reasons])
    lead = trusted.iloc[0]
    sentences = [
        f"{METHOD_NAMES[lead['method']]} is to be trusted most: no baseline is surely better, and it has a mean rank of {lead['mean_rank']:.1f} of {len(judged)}{_interval(lead)}."
    ]
    if len(trusted) > 1:
        rest = ", ".join(f"{METHOD_NAMES[row.method]} {row.mean_rank:.1f}{_range(row.low, row.high, 1)}" for row in trusted.iloc[1:].itertuples())
        near = [METHOD_NAMES[row.method] for row in trusted.iloc[1:].itertuples() if row.low <= lead["high"]]
        sentences.append(f"Trusted, too: {rest}.")
        if near:
            sentences.append(f"The interval of {' and of '.join(near)} overlaps with the leader's: other pictures could turn the order round.")
    return " ".join(sentences + reasons)


def _sample_size(pictures, networks):
    sure = (
        "too few for an interval at all" if pictures < 3 else
        "so few that an interval called 95% holds the true mean in about 75 to 90% of the cases" if pictures < 10 else
        "enough for intervals that are nearly as sure as they claim"
    )
    return (
        f"This rests on {pictures} pictures and {networks} networks: {sure}. It can tell methods apart that differ on nearly every picture; it says nothing of other kinds of "
        "pictures, and the two networks are no sample of networks. For more, measure a folder of your own: python -m lab.evaluate."
    )


def _table(worded):
    return pd.DataFrame(worded.items(), columns=["name", "text"])
