"""Which explanation to trust, by a rule that is fixed before the result is seen, and in words that follow from the tables."""

import itertools

import numpy as np
import pandas as pd

from lab.evaluation import HEADS, bootstrap_interval, by_picture, ranks_by_picture

FAITHFUL = ("deletion", "insertion", "faithfulness")
"""The measurements that `verdict` goes by: they ask what the network goes by, not where we would look."""

MOST_ALIKE = 0.5
"""What the maps of random networks may agree with the intact one's at, for `verdict`."""

RULE = (
    "A method is trusted if by none of " + ", ".join(FAITHFUL) + " a baseline is surely better, if by at least one of them it is surely better than every baseline, "
    f"and if its maps of networks with random layers agree with the intact network's at less than {MOST_ALIKE:.1f} (mean absolute rank correlation). "
    "Surely means that the 95% bootstrap interval of the difference, over pictures, does not reach 0. Among the trusted the lowest mean rank over these "
    f"{len(FAITHFUL)} measurements leads. Agreement with the animal has no vote: it asks where we would look."
)
"""What decides which explanation to trust."""

ASKS = {
    "deletion": "Deletion asks which pixels the network cannot do without, and blackens them, which is itself something to see.",
    "insertion": "Insertion asks which pixels are enough for the network, and starts from a blurred picture, in which it may already see something.",
    "faithfulness": "Faithfulness asks what each superpixel does alone, with all others in place, and is blind to parts that stand in for each other.",
    "iou_mask": "IoU asks whether the salient region has the animal's outline, whatever the network goes by.",
    "pointing_game": "The pointing game asks about one point only, the most salient one.",
}
"""What each measurement asks, for where they disagree."""


def verdict(table, baselines, n_resamples=2000, seed=0):
    """Which methods pass `RULE`, and in which order.

    Parameters
    ----------
    table, n_resamples, seed
        As in `lab.evaluation.summary`; with "sanity" for each method somewhere.
    baselines : sequence of str
        The methods to be beaten.

    Returns
    -------
    pandas.DataFrame
        A row a method but for the baselines, the trusted first, the best first: "method"; for each of `FAITHFUL` how
        many baselines are surely worse ("deletion: worse" and so on) and surely better ("deletion: better");
        "sanity"; "trusted"; "mean_rank" over `FAITHFUL` among these methods (1 is best) with "low" and "high"
        (95 % bootstrap interval over pictures), and "pictures", their number. With fewer than three pictures nothing
        is sure.
    """
    methods = [method for method in dict.fromkeys(table["method"]) if method not in baselines]
    sanity = by_picture(table, "sanity").groupby("method").mean()
    ranked = table[table["method"].isin(methods)]
    ranks = sum(ranks_by_picture(ranked, metric) for metric in FAITHFUL) / len(FAITHFUL)
    rows = []
    for method in methods:
        row = {"method": method}
        for metric in FAITHFUL:
            values = by_picture(table, metric).unstack("method").groupby(["class", "picture"]).mean()
            sign = -1 if HEADS[metric].endswith("↓") else 1
            gains = [bootstrap_interval(sign * (values[method] - values[baseline]), n_resamples, seed) for baseline in baselines]
            row[f"{metric}: worse"] = sum(low > 0 for low, _ in gains)
            row[f"{metric}: better"] = sum(high < 0 for _, high in gains)
        unbeaten = not any(row[f"{metric}: better"] for metric in FAITHFUL)
        good = any(row[f"{metric}: worse"] == len(baselines) for metric in FAITHFUL)
        low, high = bootstrap_interval(ranks[method], n_resamples, seed)
        rows.append(row | {
            "sanity": sanity[method], "trusted": bool(unbeaten and good and sanity[method] < MOST_ALIKE),
            "mean_rank": ranks[method].mean(), "low": low, "high": high, "pictures": len(ranks),
        })
    return pd.DataFrame(rows).sort_values(["trusted", "mean_rank"], ascending=[False, True], kind="stable", ignore_index=True)


def at_odds(table, one, other, methods):
    """The two maps of one answer on which two measurements differ most.

    Parameters
    ----------
    table : pandas.DataFrame
        As in `lab.evaluation.summary`.
    one, other : str
        Keys of `HEADS`.
    methods : sequence of str
        Those to choose from.

    Returns
    -------
    dict
        "network" and "picture"; "first", the method that `one` prefers, and "second", the one that `other` prefers;
        "ranks", by how many ranks they do, the smaller of the two numbers: below 0 if no two maps are at odds.
    """
    places = []
    for metric in (one, other):
        values = by_picture(table[table["method"].isin(methods)], metric).unstack("method")
        places.append(values.round(9).rank(axis=1, ascending=HEADS[metric].endswith("↓"), na_option="bottom"))
    found = []
    for index in places[0].index:
        for first, second in itertools.permutations(methods, 2):
            lead = places[0].loc[index, second] - places[0].loc[index, first]
            lag = places[1].loc[index, first] - places[1].loc[index, second]
            found.append({"network": index[0], "picture": index[2], "first": first, "second": second, "ranks": min(lead, lag)})
    return max(found, key=lambda pair: pair["ranks"])


def plain(metric):
    """A measurement's name within a sentence."""
    return HEADS[metric].split(",")[0].rstrip(" ↑↓")


def answer(judged):
    """Which explanation to trust.

    Parameters
    ----------
    judged : pandas.DataFrame
        Of `verdict`, the methods under the names that people write.

    Returns
    -------
    str
        Its first sentence is the finding.
    """
    trusted, others = judged[judged["trusted"]], judged[~judged["trusted"]]
    reasons = []
    for row in others.to_dict("records"):
        why = [f"by {metric} a baseline is surely better" for metric in FAITHFUL if row[f"{metric}: better"]]
        if not why and row["sanity"] < MOST_ALIKE:
            why = ["by no measurement it is surely better than every baseline"]
        if not row["sanity"] < MOST_ALIKE:
            why.append(f"its maps of random networks agree with the intact one's at {row['sanity']:.2f}")
        reasons.append(f"{row['method']} is not trusted: {', and '.join(why)}.")
    if trusted.empty:
        return " ".join(["No method is to be trusted by this rule.", *reasons])
    lead = trusted.iloc[0]
    sure = not np.isnan(lead["low"])
    within = f" (95% interval {lead['low']:.1f} to {lead['high']:.1f})" if sure else ""
    sentences = [f"{lead['method']} is to be trusted most: no baseline is surely better, and it has a mean rank of {lead['mean_rank']:.1f} of {len(judged)}{within}."]
    if len(trusted) > 1:
        rest = ", ".join(f"{row.method} {row.mean_rank:.1f}" + (f" ({row.low:.1f} to {row.high:.1f})" if sure else "") for row in trusted.iloc[1:].itertuples())
        sentences.append(f"Trusted, too: {rest}.")
        if sure:
            near = [row.method for row in trusted.iloc[1:].itertuples() if row.low <= lead["high"]]
            sentences.append(f"The interval of {' and of '.join(near)} overlaps with the leader's: other pictures could turn the order round." if near
                             else "No other interval overlaps with the leader's.")
    return " ".join(sentences + reasons)


def sample_size(pictures, networks):
    """What so many pictures can support, in words.

    Parameters
    ----------
    pictures, networks : int
        Their numbers.

    Returns
    -------
    str
    """
    interval = ("too few for an interval at all" if pictures < 3 else
                "so few that an interval called 95% holds the true mean in about 75 to 90% of the cases" if pictures < 10 else
                "enough for intervals that are nearly as sure as they claim")
    return (f"This rests on {pictures} pictures and {networks} networks: {interval}. It can tell methods apart that differ on nearly every picture; it says nothing of "
            "other kinds of pictures, and the two networks are no sample of networks. For more, measure a folder of your own: python -m lab.evaluate.")
