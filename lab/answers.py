"""The answers to the lab's questions, worded from the tables, so that they hold for any network and picture."""

import numpy as np
import pandas as pd

FIDELITY_MARGIN = 0.05
"""R² by which a setting may fall short of the most faithful one and still be chosen."""

RULE = (
    "Of the settings whose R² on fresh perturbations comes within "
    f"{FIDELITY_MARGIN} of the best, the one whose superpixels overlap the animal most (IoU) is chosen; "
    "without a ground-truth mask, the one that shows the smallest part of the picture. Fidelity comes first: "
    "superpixels that lie on the animal explain nothing if the linear model does not follow the network."
)


def choose(table):
    """The setting that explains best, by `RULE`.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `lab.lime_study.run_all`, for one picture and network.

    Returns
    -------
    str
        The setting's name.
    """
    means = table.groupby("setting", sort=False)[["r2_fresh", "iou", "shown"]].mean()
    faithful = means[means["r2_fresh"] >= means["r2_fresh"].max() - FIDELITY_MARGIN]
    return faithful["shown"].idxmin() if faithful["iou"].isna().any() else faithful["iou"].idxmax()


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


def best_setting(table, network, picture):
    """One sentence that says which setting explains a picture best, and what speaks for it."""
    name = choose(table)
    means = table.groupby("setting").mean(numeric_only=True)
    best, rest = means.loc[name], means.drop(index=name)
    overlap = "" if np.isnan(best["iou"]) else f", its superpixels overlap the animal at an IoU of {best['iou']:.2f}"
    return (f"Setting {name} explains {picture} best for {network}: R² {best['r2_fresh']:.2f} on fresh perturbations "
            f"(the others: {rest['r2_fresh'].min():.2f} to {rest['r2_fresh'].max():.2f}){overlap}, and it shows {best['shown']:.0%} of the picture")


def differences(table, measure):
    """How far a measurement moves when only the network, only the picture or only the setting changes.

    Parameters
    ----------
    table : pandas.DataFrame
        One row for each network, picture and setting.
    measure : str
        Column.

    Returns
    -------
    dict of str to float
        Mean absolute difference over all pairs of rows that differ in just this column.
    """
    factors = ["network", "picture", "setting"]
    moved = {}
    for factor in factors:
        others = [name for name in factors if name != factor]
        gaps = [
            np.abs(np.subtract.outer(values, values))[np.triu_indices(len(values), 1)]
            for _, values in table.groupby(others)[measure].apply(np.asarray).items()
        ]
        moved[factor] = float(np.concatenate(gaps).mean())
    return moved
