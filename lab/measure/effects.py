"""How far LIME's parameters move the measurements, and the setting that follows."""

import numpy as np
import pandas as pd

from lab.measure.intervals import mean_interval
from lab.measure.measurements import MEASUREMENTS
from lab.measure.statistics import CHOSEN_BY, by_image, ranks_by_image

EFFECTS_ON = (*CHOSEN_BY, "model_calls")


def effects(table):
    """How far each parameter moves each measurement.

    The values compared are those furthest apart, which exaggerates small effects.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a run: "network", "class", "image", "seed", "parameter", "value" and
        `EFFECTS_ON`; the same images and other parameters for each value.

    Returns
    -------
    pandas.DataFrame
        A row for each parameter and measurement: "parameter", "measure"; "worst" and
        "best", the values with the means "worst_mean" and "best_mean"; "effect", their
        difference, at least 0, with "low" and "high" (`mean_interval` over images);
        "noise", the standard deviation over seeds, pooled over values and images; and
        "significant", whether the interval excludes 0. NaN where nothing was measured.
    """
    rows = []
    for parameter, runs in table.groupby("parameter", sort=False, dropna=False):
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
            row |= {"worst_mean": sign * means[worst], "best_mean": sign * means[best]}
            difference = values[best] - values[worst]
            difference = difference.groupby(["class", "image"], dropna=False).mean()
            low, high = mean_interval(difference)
            row |= {"effect": means[best] - means[worst], "low": low, "high": high}
            columns = ["network", "class", "image", "value"]
            over_seeds = runs.groupby(columns, dropna=False)[measure].var()
            row |= {"noise": float(np.sqrt(over_seeds.mean())), "significant": bool(low > 0)}
            rows.append(row)
    return pd.DataFrame(rows)


def recommend(candidates, runs):
    """The best candidate on some images, compared with settings on the other images.

    The rule, fixed on 2026-11-24 before the candidates were measured: on the first
    image of each class candidates and settings are ranked together by
    `lab.measure.statistics.ranks_by_image`, and the candidate with the lowest mean rank
    is recommended. On the other images it is ranked among the settings, and is better
    than one where the interval of the difference of their mean ranks excludes 0.

    Parameters
    ----------
    candidates, runs : pandas.DataFrame
        A row a run ("setting"), of the same networks, images and seeds.

    Returns
    -------
    pandas.DataFrame
        A row for each setting and measurement of `CHOSEN_BY`, and all together ("all"):
        "candidate", "setting", "measure"; "gain", by how many ranks the candidate is
        before the setting on the other images, with "low" and "high" (`mean_interval`
        over images); "candidate_mean" and "setting_mean" of the measurement; and
        "images", the number of images. NaN where there are none.
    """
    first = pd.MultiIndex.from_frame(runs.drop_duplicates("class")[["class", "image"]])

    def on_first(table):
        return pd.MultiIndex.from_frame(table[["class", "image"]]).isin(first)

    together = pd.concat([table[on_first(table)] for table in (candidates, runs)])
    order = ranks_by_image(together, CHOSEN_BY, "setting").mean()
    candidate = order[candidates["setting"].unique()].idxmin()
    chosen = candidates[candidates["setting"] == candidate]
    others = (table[~on_first(table)] for table in (chosen, runs))
    compared = rank_leads(*others, runs["setting"].unique())
    compared.insert(0, "candidate", candidate)
    return compared


def rank_leads(chosen, runs, settings):
    """The chosen setting's lead in ranks over `settings`: the table of `recommend`."""
    others = pd.concat([chosen.assign(setting="recommended"), runs])
    means = others.groupby("setting", dropna=False)[list(CHOSEN_BY)].mean().assign(all=np.nan)
    rows = []
    for measure in ("all", *CHOSEN_BY):
        measures = CHOSEN_BY if measure == "all" else [measure]
        of_measure = means[measure].reindex(["recommended", *settings])
        ranks = ranks_by_image(others, measures, "setting").reindex(columns=of_measure.index)
        for setting in settings:
            gain = ranks[setting] - ranks["recommended"]
            numbers = gain.mean(), *mean_interval(gain), *of_measure[["recommended", setting]]
            rows.append((setting, measure, *numbers, len(gain)))
    names = ["setting", "measure", "gain", "low", "high"]
    return pd.DataFrame(rows, columns=[*names, "candidate_mean", "setting_mean", "images"])
