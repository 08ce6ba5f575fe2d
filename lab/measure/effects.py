"""What each parameter changes, against the noise of the seed, and the combination that follows from it."""

import numpy as np
import pandas as pd

from lab.measure.measurements import MEASUREMENTS
from lab.measure.statistics import CHOSEN_BY, bootstrap_interval, by_picture, ranks_by_picture

EFFECTS_ON = (*CHOSEN_BY, "model_calls")
"""The measurements of which `effects` tells how far a parameter moves them."""

RECOMMENDED = "recommended"


def effects(table):
    """How far each parameter moves each measurement.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a run: "network", "class", "picture", "seed", "parameter", "value", and `EFFECTS_ON`. The values of a
        parameter were run on the same pictures, all other parameters alike.

    Returns
    -------
    pandas.DataFrame
        A row for each parameter and measurement: "parameter", "measure"; "worst" and "best", the values that lead to the
        means "worst_mean" and "best_mean" over networks, pictures and seeds; "effect", the difference, at least 0,
        with "low" and "high" (95 % bootstrap interval over pictures); "noise", the standard deviation of one run over
        seeds, pooled over values and pictures; and "told_apart", whether the interval leaves 0 out. Numbers are NaN where
        nothing was measured.

    Notes
    -----
    The two values are picked because they are furthest apart, which exaggerates a small effect a little.
    """
    rows = []
    for parameter, runs in table.groupby("parameter", sort=False):
        for measure in EFFECTS_ON:
            gains = by_picture(runs, measure, "value") * (
                1 if MEASUREMENTS[measure].higher_is_better else -1
            )
            if gains.empty:
                rows.append({"parameter": parameter, "measure": measure, "told_apart": False})
                continue
            means = gains.mean().round(9)  # a difference in the last digits is none
            best, worst = means.idxmax(), means.idxmin()
            low, high = bootstrap_interval(
                (gains[best] - gains[worst]).groupby(["class", "picture"]).mean()
            )
            over_seeds = runs.groupby(["network", "class", "picture", "value"])[measure].var()
            rows.append(
                {
                    "parameter": parameter,
                    "measure": measure,
                    "worst": worst,
                    "best": best,
                    "worst_mean": abs(means[worst]),
                    "best_mean": abs(means[best]),
                    "effect": means[best] - means[worst],
                    "low": low,
                    "high": high,
                    "noise": float(np.sqrt(over_seeds.mean())),
                    "told_apart": bool(low > 0),
                }
            )
    return pd.DataFrame(rows)


def recommend(candidates, runs):
    """The candidate that explains some pictures best, held against settings on the other pictures.

    The rule, fixed on 2026-11-24 before the candidates were measured: on the first picture of each class the candidates and the
    settings are ranked together as `lab.measure.statistics.rank_settings` does, and the candidate with the lowest mean rank is
    recommended. On the other pictures it is ranked among the settings, and is better than one where the 95 % bootstrap interval
    of the difference of their mean ranks, over pictures, leaves 0 out.

    Parameters
    ----------
    candidates, runs : pandas.DataFrame
        A row a run, of the same networks, pictures and seeds: "setting" names the candidate or the setting.

    Returns
    -------
    pandas.DataFrame
        A row for each setting and each measurement of `CHOSEN_BY`, and for all of them together ("all"): "candidate", "setting", "measure";
        "gain", by how many ranks the candidate is before the setting on the other pictures, with "low" and "high"; "candidate_mean" and
        "setting_mean" of the measurement; and "pictures", how many there were. NaN where there are none.
    """
    first = runs[["class", "picture"]].drop_duplicates().groupby("class", sort=False).head(1)
    chosen_on = pd.MultiIndex.from_frame(first)

    def part(table, others):
        return table[
            pd.MultiIndex.from_frame(table[["class", "picture"]]).isin(chosen_on) != others
        ]

    together = pd.concat([part(candidates, False), part(runs, False)])
    order = ranks_by_picture(together, CHOSEN_BY, "setting").mean()
    candidate = order[list(dict.fromkeys(candidates["setting"]))].idxmin()
    shown = pd.concat(
        [
            part(candidates[candidates["setting"] == candidate], True).assign(setting=RECOMMENDED),
            part(runs, True),
        ]
    )
    rows = []
    for measure in ("all", *CHOSEN_BY):
        measures = CHOSEN_BY if measure == "all" else [measure]
        ranks = ranks_by_picture(shown, measures, "setting") if len(shown) else pd.DataFrame()
        means = shown.groupby("setting")[measure].mean() if measure != "all" and len(shown) else {}
        for setting in dict.fromkeys(runs["setting"]):
            gain = ranks[setting] - ranks[RECOMMENDED] if len(ranks) else pd.Series(dtype=float)
            low, high = bootstrap_interval(gain)
            rows.append(
                {
                    "candidate": candidate,
                    "setting": setting,
                    "measure": measure,
                    "gain": gain.mean(),
                    "low": low,
                    "high": high,
                    "candidate_mean": means[RECOMMENDED] if len(means) else float("nan"),
                    "setting_mean": means[setting] if len(means) else float("nan"),
                    "pictures": len(gain),
                }
            )
    return pd.DataFrame(rows)
