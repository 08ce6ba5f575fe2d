"""How far LIME's parameters move the measurements, and the setting that follows."""

import numpy as np
import pandas as pd

from lab.measure.intervals import mean_interval
from lab.measure.measurements import MEASUREMENTS
from lab.measure.statistics import CHOSEN_BY, by_image, ranks_by_image

EFFECTS_ON = (*CHOSEN_BY, "model_calls")
"""The measurements of `effects`."""


def effects(table):
    """How far each parameter moves each measurement.

    The two values compared are those furthest apart, which exaggerates small effects.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a run: "network", "class", "picture", "seed", "parameter", "value", and
        `EFFECTS_ON`. The values of a parameter were run on the same images, with all
        other parameters the same.

    Returns
    -------
    pandas.DataFrame
        A row for each parameter and measurement: "parameter", "measure"; "worst" and
        "best", the values with the means "worst_mean" and "best_mean" over networks,
        images and seeds; "effect", the difference, at least 0, with "low" and "high"
        (`mean_interval` over images); "noise", the standard deviation of one run over
        seeds, pooled over values and images; and "significant", whether the interval
        excludes 0. Numbers are NaN where nothing was measured.
    """
    rows = []
    for parameter, runs in table.groupby("parameter", sort=False):
        for measure in EFFECTS_ON:
            row = {"parameter": parameter, "measure": measure}
            sign = 1 if MEASUREMENTS[measure].higher_is_better else -1
            values = by_image(runs, measure, "value") * sign
            if values.empty:
                rows.append(row | {"significant": False})
                continue
            means = values.mean().round(9)  # the last digits depend on the order of a sum
            best, worst = means.idxmax(), means.idxmin()
            row |= {"worst": worst, "best": best}
            row |= {"worst_mean": abs(means[worst]), "best_mean": abs(means[best])}
            difference = (values[best] - values[worst]).groupby(["class", "picture"]).mean()
            low, high = mean_interval(difference)
            row |= {"effect": means[best] - means[worst], "low": low, "high": high}
            over_seeds = runs.groupby(["network", "class", "picture", "value"])[measure].var()
            row |= {"noise": float(np.sqrt(over_seeds.mean())), "significant": bool(low > 0)}
            rows.append(row)
    return pd.DataFrame(rows)


def recommend(candidates, runs):
    """The best candidate on some images, compared with settings on the other images.

    The rule, fixed on 2026-11-24 before the candidates were measured: on the first
    image of each class the candidates and the settings are ranked together as by
    `lab.measure.statistics.rank_settings`, and the candidate with the lowest mean rank
    is recommended. On the other images it is ranked among the settings. It is better
    than one where the interval of the difference of their mean ranks excludes 0.

    Parameters
    ----------
    candidates, runs : pandas.DataFrame
        A row a run, of the same networks, images and seeds: "setting" names the
        candidate or the setting.

    Returns
    -------
    pandas.DataFrame
        A row for each setting and each measurement of `CHOSEN_BY`, and for all of them
        together ("all"): "candidate", "setting", "measure"; "gain", by how many ranks
        the candidate is before the setting on the other images, with "low" and "high"
        (`mean_interval` over images); "candidate_mean" and "setting_mean" of the
        measurement; and "pictures", the number of images. NaN where there are none.
    """
    first = runs[["class", "picture"]].drop_duplicates().groupby("class", sort=False).head(1)
    first = pd.MultiIndex.from_frame(first)

    def part(table, on_first):
        images = pd.MultiIndex.from_frame(table[["class", "picture"]])
        return table[images.isin(first) == on_first]

    together = pd.concat([part(candidates, True), part(runs, True)])
    order = ranks_by_image(together, CHOSEN_BY, "setting").mean()
    candidate = order[list(dict.fromkeys(candidates["setting"]))].idxmin()
    chosen = candidates[candidates["setting"] == candidate].assign(setting="recommended")
    others = pd.concat([part(chosen, False), part(runs, False)])
    settings, rows = list(dict.fromkeys(runs["setting"])), []
    for measure in ("all", *CHOSEN_BY):
        measures = CHOSEN_BY if measure == "all" else [measure]
        ranks = pd.DataFrame(columns=["recommended", *settings], dtype=float)
        means = pd.Series(np.nan, ranks.columns)
        if len(others):
            ranks = ranks_by_image(others, measures, "setting")
        if len(others) and measure != "all":
            means = others.groupby("setting")[measure].mean()
        for setting in settings:
            gain = ranks[setting] - ranks["recommended"]
            low, high = mean_interval(gain)
            row = {"candidate": candidate, "setting": setting, "measure": measure}
            row |= {"gain": gain.mean(), "low": low, "high": high}
            row |= {"candidate_mean": means["recommended"], "setting_mean": means[setting]}
            rows.append(row | {"pictures": len(gain)})
    return pd.DataFrame(rows)
