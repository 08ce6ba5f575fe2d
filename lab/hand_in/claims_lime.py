"""What the texts state of LIME: see `lab.hand_in.claims`."""

import numpy as np


def _effects(results, measure):
    """By parameter: the effect on a measurement, and between which values."""
    table = results.table("lime_effects")
    return table[table["measure"] == measure].set_index("parameter")


def _tau(results, measure):
    table = results.table("lime_agreement")
    return table[table["measure"] == measure].set_index("pair")["tau"]


def _distance(results):
    return results.table("lime_distances").groupby("change")["distance"].mean()


def hide_color_decides(results):
    """What hides a superpixel moves fidelity, deletion and insertion further than any other parameter does."""
    moved = [
        _effects(results, measure)["effect"]
        for measure in ("r2_fresh", "deletion_mean", "insertion")
    ]
    return all(effect["hide_color"] == effect.max() for effect in moved)


def black_is_least_faithful(results):
    """Behind black LIME's linear model follows the network worst, behind the mean colour best, and behind the blurred picture nearly as well."""
    fidelity = _effects(results, "r2_fresh").loc["hide_color"]
    colors = (
        results.table("lime_parameters")
        .query("parameter == 'hide_color'")
        .groupby("value")["r2_fresh"]
        .mean()
    )
    best = (
        fidelity["worst"] == "black"
        and fidelity["best"] == "mean colour"
        and fidelity["told_apart"]
    )
    return (
        best
        and colors["mean colour"] - colors["blurred picture"]
        < (colors["mean colour"] - colors["black"]) / 5
    )


def every_colour_beats_black(results):
    """Each of six other ways to hide a superpixel is more faithful than black."""
    table = (
        results.table("lime_grid")
        .query("parameter == 'hide_color'")
        .groupby("value")["r2_fresh"]
        .mean()
    )
    return len(table) == 7 and table.drop("black").min() > table["black"]


def samples_buy_stability(results):
    """More samples make seeds agree more than anything else does, and the linear model more faithful."""
    stability, fidelity = (_effects(results, measure) for measure in ("jaccard", "r2_fresh"))
    best = stability.loc["num_samples"]
    return (
        best["told_apart"]
        and best["effect"] == stability["effect"].max()
        and best["best"] == "7000"
        and fidelity.loc["num_samples", "told_apart"]
    )


def features_and_labels_change_nothing(results):
    """`top_labels`, and `num_lime_features` of 100 and more, change no weight and no pixel."""
    table = results.table("lime_no_effect")
    return (table["weight_change"] < 1e-9).all() and (table["pixels_changed"] == 0).all()


def rendering_is_display(results):
    """`num_superpixels`, `positive_only`, `negative_only` and `hide_rest` change what is shown, and nothing of what was found."""
    display = ["num_superpixels", "positive_only", "negative_only", "hide_rest"]
    return all(
        (_effects(results, measure).loc[display, "effect"] == 0).all()
        for measure in ("r2_fresh", "deletion_mean", "insertion")
    )


def few_superpixels_show_the_animal(results):
    """Of the numbers of superpixels shown, the lowest, five, agrees best with the animal."""
    overlap = _effects(results, "iou").loc["num_superpixels"]
    return overlap["best"] == "5" and overlap["told_apart"]


def few_superpixels_are_enough(results):
    """A linear model of eight superpixels reaches nine tenths of the R² that the best number reaches."""
    table = (
        results.table("lime_grid")
        .query("parameter == 'num_superpixels'")
        .pivot(index="value", columns="picture", values="r2_fresh")
    )
    return (table.loc["8"] >= 0.9 * table.max()).all()


def same_colour_same_fidelity(results):
    """Settings that hide with the same colour are equally faithful, and those that hide with the mean colour more faithful than those in black."""
    fidelity = results.table("lime_runs").groupby("setting")["r2_fresh"].mean()
    mean = fidelity.index.isin(["1", "2", "5"])
    within = max(np.ptp(fidelity[mean]), np.ptp(fidelity[~mean]))
    return within < 0.03 and fidelity[mean].min() - fidelity[~mean].max() > 3 * within


def recommended_is_better(results):
    """On pictures that it was not chosen on, the recommended setting ranks before each of the seven."""
    table = results.table("lime_recommended").query("measure == 'all'")
    return (table["low"] > 0).all()


def recommended_hides_behind_the_blur_and_shows_five(results):
    """The recommended setting hides behind the blurred picture and shows five superpixels."""
    return set(results.table("lime_recommended")["candidate"]) == {"blurred picture, 5"}


def recommended_shows_the_animal(results):
    """What the recommended setting shows overlaps the animal more than what any of the seven shows."""
    table = results.table("lime_recommended").query("measure == 'iou'")
    return (table["low"] > 0).all()


def recommended_is_as_stable(results):
    """None of the seven is surely more stable than the recommended setting."""
    table = results.table("lime_recommended").query("measure == 'jaccard'")
    return (table["high"] > 0).all()


def recommended_gives_up_little_fidelity(results):
    """The settings that hide with the mean colour are a little more faithful than the recommended one, those in black much less."""
    lead = results.table("lime_recommended").query("measure == 'r2_fresh'").set_index("setting")
    lead = lead["candidate_mean"] - lead["setting_mean"]
    mean = lead.index.isin(["1", "2", "5"])
    return lead[mean].between(-0.06, 0).all() and lead[~mean].min() > 0.15


def effects_carry_over(results):
    """By fidelity the settings come in nearly the same order on another elephant, on a bear and for the other network."""
    return (_tau(results, "r2_fresh") > 0.8).all()


def order_of_equals_does_not_carry_over(results):
    """By stability and deletion the order of the settings on one picture says little of that on another."""
    return all(
        _tau(results, measure)[["same class", "other class"]].max() < 0.5
        for measure in ("jaccard", "deletion_mean")
    )


def seed_moves_least(results):
    """Of all that can be changed, another seed moves the measurements least."""
    moved = _distance(results)
    return moved.idxmin() == "another seed"


def other_class_moves_most(results):
    """Of all that can be changed, a picture of the other class moves the measurements most."""
    return _distance(results).idxmax() == "a picture of the other class"


def network_moves_like_another_picture(results):
    """The other network moves the measurements nearly as far as another picture of the same class does."""
    moved = _distance(results)
    return abs(moved["another picture of the same class"] - moved["the other network"]) < 0.15


def network_matters_in_company(results):
    """The network by itself has a smaller part in the variance than the network together with the picture."""
    shares = results.table("lime_variance")[["network", "network x data"]].astype(float).mean()
    return shares["network"] < shares["network x data"] / 3


def balanced_saves_calls(results):
    """250 balanced perturbations agree between seeds like more than 1,500 of LIME's."""
    first = results.table("lime_savings").iloc[0]
    return first["num_samples"] == 250 and first["lime_needs"] > 1500
