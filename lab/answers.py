"""The answers to the lab's questions, worded from the tables, so that they hold for any network and picture."""

import numpy as np
import pandas as pd

from lab.lime_study import CHOSEN_BY, HEADS, rank_settings

RULE = (
    "Within each picture and network the settings are ranked by "
    + ", ".join(HEADS[measure][:-2] for measure in CHOSEN_BY)
    + "; the setting with the lowest mean rank over all of these explains best. No measurement counts more than another, "
    "and none that is missing counts."
)

SOURCES = {
    "network": ("network",),
    "data": ("class", "picture"),
    "setting": ("setting",),
    "network x data": ("network x class", "network x picture"),
    "data x setting": ("class x setting", "picture x setting"),
    "network x setting (x data)": ("network x setting", "network x class x setting", "network x picture x setting"),
    "seed": ("seed",),
}
"""How the parts of the analysis of variance are put together to answer Q4."""


def settings_table(settings):
    """The settings' parameters, one row each.

    Parameters
    ----------
    settings : dict of str to lab.lime_study.Setting

    Returns
    -------
    pandas.DataFrame
    """
    lab_parameters = ["top_labels", "hide_color", "num_lime_features", "num_samples", "num_superpixels",
                      "positive_only", "negative_only", "hide_rest"]
    rows = [{"setting": name, **{p: str(getattr(setting, p)) for p in lab_parameters}} for name, setting in settings.items()]
    return pd.DataFrame(rows)


def hidden_by(setting):
    """In words, what a setting's hidden superpixels show."""
    named = {(0, 0, 0): "black", (255, 255, 255): "white", (255, 0, 0): "red", (0, 255, 0): "green", (0, 0, 255): "blue",
             None: "mean colour", "blur": "blurred picture"}
    return named.get(setting.hide_color, str(setting.hide_color))


def caption(network, name, run):
    """What stands above a rendering: who explains, under which setting, and how well.

    Parameters
    ----------
    network, name : str
        Of the network, and of the setting.
    run : lab.lime_study.Run

    Returns
    -------
    str
        Three lines.
    """
    m = run.measurements
    iou = "" if np.isnan(m["iou"]) else f", IoU {m['iou']:.2f}"
    return (f"{network}, {name}\n{hidden_by(run.setting)}, {run.setting.num_samples} samples, top {run.setting.num_superpixels}\n"
            f"R² {m['r2_fresh']:.2f}{iou}, {m['shown']:.0%} shown")


def best(table):
    """The first row of `rank_settings`: the setting that explains best by `RULE`."""
    return rank_settings(table).iloc[0]


def best_setting(table, network, picture):
    """One sentence that says which setting explains a picture best, and what speaks for it.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `lab.lime_study.study` for this network and picture.
    network, picture : str

    Returns
    -------
    str
    """
    first = best(table)
    means = table.groupby("setting").mean(numeric_only=True)
    chosen, rest = means.loc[first["setting"]], means.drop(index=first["setting"])
    overlap = "" if np.isnan(chosen["iou"]) else f", overlaps the animal at an IoU of {chosen['iou']:.2f}"
    return (f"Setting {first['setting']} explains {picture} best for {network} (mean rank {first['mean_rank']:.1f} of {len(means)}): "
            f"it has an R² of {chosen['r2_fresh']:.2f} on fresh perturbations (the others {rest['r2_fresh'].min():.2f} to "
            f"{rest['r2_fresh'].max():.2f}){overlap} and shows {chosen['shown']:.0%} of the picture")


def carries_over(agreement, pair):
    """One sentence on how well the ranking of settings carries over.

    Parameters
    ----------
    agreement : pandas.DataFrame
        Of `lab.lime_study.ranking_agreement`.
    pair : {"same class", "other class", "other network"}

    Returns
    -------
    str
    """
    rows = agreement[(agreement["pair"] == pair) & (agreement["pairs"] > 0)]
    if rows.empty:
        return "There is no such pair among the pictures of this run."
    sure = rows["low"].notna().any()  # too few pairs give no interval
    parts = [
        f"{HEADS[row.measure][:-2]} {row.tau:.2f}" + (f" ({row.low:.2f} to {row.high:.2f})" if sure else "") for row in rows.itertuples()
    ]
    tau = rows["tau"].mean()
    verdict = "carries over well" if tau > 0.6 else "carries over in part" if tau > 0.3 else "hardly carries over"
    return (f"The ranking {verdict} (Kendall's tau, mean {tau:.2f} over {rows['pairs'].max()} pairs): {', '.join(parts)}"
            + ("; in brackets the 95% bootstrap interval over pictures." if sure else "; these are too few pairs for an interval."))


def grouped(variance):
    """The parts of the analysis of variance put together as `SOURCES` says.

    Parameters
    ----------
    variance : pandas.DataFrame
        Of `lab.lime_study.variance_shares`.

    Returns
    -------
    pandas.DataFrame
        A row for each measurement that varies, with the head of `HEADS`; its columns add up to 1.
    """
    parts = {name: variance[list(columns)].sum(axis=1) for name, columns in SOURCES.items()}
    table = pd.DataFrame(parts)[variance.notna().all(axis=1)]
    return table.rename(index=HEADS)


def data_or_network(parts):
    """The answer to Q4 from the shares of variance.

    Parameters
    ----------
    parts : pandas.DataFrame
        Of `grouped`.

    Returns
    -------
    str
    """
    more = int((parts["data"] > parts["network"]).sum())
    verdict = "the data" if more > len(parts) / 2 else "the network"
    return (f"More on {verdict}: which picture is explained accounts for more of the variance than which network answers in {more} of "
            f"{len(parts)} measurements; on average the data account for {parts['data'].mean():.0%} and the network for {parts['network'].mean():.0%}, "
            f"the setting for {parts['setting'].mean():.0%}, and data and network together, beyond what each does alone, for "
            f"{parts['network x data'].mean():.0%}.")
