"""The findings that a reader would act on, and the conditions under which they hold.

Every public function here is a claim: its docstring is the finding, and it returns
whether the finding holds for some `lab.study.results.Results`; tables of the sixty
animals, on which the answers to Q1 to Q4 rest, are "animals/…". A text refers to it by
its name: an answer in ``report/answers.typ``, ``#claim("name")[…]`` in
``report/evaluation.typ``, and ``<!-- claim: name -->`` in a notebook. The tests check
all claims on the committed results. For other results `make report` lists those that do
not hold.
"""

import itertools

import numpy as np

from lab.measure.effects import BOTH
from lab.measure.paired import better
from lab.methods.registry import METHODS

CONTROLS = [name for name, method in METHODS.items() if method.control]
GRADIENTS = [name for name, method in METHODS.items() if method.gradients]


_OWN = {f"African_elephant/elephant_{name}.jpg" for name in ("1_dune", "2_meadow", "3_slope")}
_OWN |= {f"black_bear/bear_{name}.jpg" for name in ("1_meadow", "2_forest", "3_slope")}


def _effects(results, measure):
    """The effects of parameters on the sixty animals."""
    table = results.table("animals/lime_effects")
    return table[table["measure"] == measure].set_index("parameter")


def _compared(results, table, measure, first, second):
    """The contrasts of two choices on the sixty, for each class and network."""
    rows = results.table(f"animals/{table}").set_index(["measure", "first", "second"])
    return rows.loc[measure, first, second].set_index(["class", "network"])


def _for_each_class(compared):
    """Whether the first choice is better, as the mean of both networks has it."""
    return (compared.xs(BOTH, level="network")["low"] > 0).all()


def more_samples_decide(results):
    """More samples raise the rank correlation of two seeds most, and the gain."""
    agreement, gain = (_effects(results, each) for each in ("rank_correlation", "gain"))
    most = agreement["effect"].idxmax() == "num_samples"
    return most and min(each.loc["num_samples", "low"] for each in (agreement, gain)) > 0


def no_colour_has_the_higher_gain(results):
    """No `hide_color` has a higher gain than another for both networks and classes."""
    colors = results.table("animals/lime_colors")["first"].unique()
    return not any(
        (_compared(results, "lime_colors", "gain", *pair)["low"] > 0).all()
        for pair in itertools.permutations(colors, 2)
    )


def each_colour_wins_with_its_own_cover(results):
    """Covered with black, black is better than the blur; with the blur, the blur is."""
    pairs = ("gain_black", "black", "blurred image"), ("gain_blurred", "blurred image", "black")
    return all(_for_each_class(_compared(results, "lime_colors", *pair)) for pair in pairs)


def a_neutral_cover_prefers_the_blur(results):
    """Covered with the mean colour, which is neither's own, the blur is above black."""
    gain = _compared(results, "lime_colors", "gain_mean", "blurred image", "black")
    return (gain["low"] > 0).all()


def the_blur_follows_the_network_better(results):
    """On common perturbations the blur follows it better than black, for each class."""
    return _for_each_class(_compared(results, "lime_colors", "r_common", "blurred image", "black"))


def six_parameters_change_no_weight(results):
    """Neither the way of drawing nor a limit above all superpixels changes a weight."""
    drawing = ["top_labels", "num_superpixels", "positive_only", "negative_only", "hide_rest"]
    measures = "gain", "r_common", "rank_correlation"
    drawn = [_effects(results, each).loc[drawing, "effect"] for each in measures]
    unchanged = results.table("lime_no_effect")[["weight_change", "pixels_changed"]]
    return not np.any(drawn) and (unchanged < 1e-9).all(axis=None)


def the_blur_is_nowhere_worse_than_black(results):
    """By gain the blur is better than black for one network, and not worse for any."""
    gain = _compared(results, "lime_colors", "gain", "blurred image", "black")
    return _better_for_one_network(gain) and (gain["high"] > 0).all()


def the_recommended_setting_is_better_for_one_network(results):
    """Its gain is above the mean of the settings for one network, and equal for one."""
    lead = _compared(results, "lime_contrasts", "gain", "recommended", "mean of the settings")
    return _better_for_one_network(lead)


def the_recommended_setting_does_not_lead_each(results):
    """On elephants its gain is not above that of each setting with mean colours."""
    table = "lime_contrasts", "gain", "recommended"
    leads = [_compared(results, *table, setting) for setting in ("1", "2", "5")]
    return min(lead.loc[("African_elephant", BOTH), "low"] for lead in leads) <= 0


def _better_for_one_network(compared):
    """Whether the first choice is better for one network alone, for both classes."""
    better = (compared["low"] > 0).drop(BOTH, level="network").unstack("network")
    return sorted([*better.all()]) == [False, True] and not better.any().all()


def _order(results, measure):
    return results.table("animals/lime_agreement").set_index(["measure", "pair"]).loc[measure]


def another_animal_has_another_order(results):
    """By gain, the orders of the settings on two animals have little in common."""
    return _order(results, "gain").loc[["same class", "other class"], "tau"].max() < 0.25


def two_elephants_agree_a_little(results):
    """The orders of the settings on two elephants agree more than by chance."""
    order = results.table("animals/lime_agreement").query("pair == 'same class: African_elephant'")
    low = order.dropna(subset="tau")["low"]
    return len(low) > 1 and (low > 0).all()


def by_gain_neither_keeps_the_order(results):
    """By gain neither two images nor two networks have one order; both are equal."""
    image, network = _order(results, "gain").loc[["same class", "other network"]].to_dict("records")
    return max(image["tau"], network["tau"]) < 0.25 and network["high"] >= image["low"]


def the_other_network_has_another_order(results):
    """By correlation, two networks agree less on the order than two images do."""
    order = _order(results, "r_common")
    return order.loc["other network", "high"] < order.loc["same class", "low"]


def networks_want_opposite_colours(results):
    """On elephants black is better than mean colours for one network, worse for one.

    On bears it is worse for none.
    """
    black = _compared(results, "lime_contrasts", "gain", "default", "2")
    elephants, bears = black.loc["African_elephant"], black.loc["black_bear"]
    opposite = (elephants["low"] > 0).sum() == (elephants["high"] < 0).sum() == 1
    return opposite and (bears["high"] > 0).all()


def some_is_left_behind_mean_colours(results):
    """Behind mean colours networks still name some bears, behind all else none."""
    left = results.table("animals/lime_left").query("measure == 'still'")
    left = left.pivot_table(index=["class", "network"], columns="baseline", values="mean")
    others = left.drop(columns="mean colour")
    return (left.loc["black_bear", "mean colour"] > 0).all() and not others.any(axis=None)


def both_networks_find_the_elephant_by_its_head(results):
    """RISE's most salient place is on the head more often than at random."""
    head = results.table("animals/rise_places").query("measure == 'head'")
    return len(head) > 1 and (head["low"] > 1 / 3).all()


def both_networks_look_at_the_same_parts(results):
    """RISE's maps of one animal agree better than maps of two, for each class."""
    closer = results.table("animals/rise_alike").query("measure == 'closer'")
    return len(closer) > 1 and (closer["low"] > 0).all()


def one_elephant_and_one_bear(results):
    """All images of a class show one photographed animal, in several landscapes."""
    return set(results.table("predictions")["image"]) <= _OWN


def balanced_saves_calls(results):
    """Seeds agree with 250 balanced samples as with over 1,500 of LIME's own."""
    first = results.table("lime_savings").iloc[0]
    return first["num_samples"] == 250 and first["lime_needs"] > 1500


def thousands_of_masks_repeat(results):
    """The maps of two halves of 16 masks differ, those of thousands agree."""
    runs = results.table("rise_runs").query("grid_size == 7 and preservation_probability == 0.5")
    few = runs.query("nb_samples == 16")["halves"]
    most = runs.query("nb_samples == nb_samples.max() and `class` == 'African_elephant'")["halves"]
    return (few < 0.4).all() and (most > 0.8).all()


def regression_needs_a_quarter_of_the_calls(results):
    """250 calls of the regression are worth 1,000 of the average."""
    runs = results.table("rise_estimators").set_index(["estimator", "calls"])["rank_correlation"]
    return runs["regression", 250] >= runs["average", 1000]


def retraining_ranks_methods_at_small_shares(results):
    """Without a tenth or three of the pixels, methods are below every control."""
    accuracy = results.table("evaluation_roar").groupby(["share", "method"])["drawn"].mean()
    several = [accuracy[share] for share in (0.1, 0.3)]
    controls = [name for name in CONTROLS if name in several[0]]
    return all(one.drop(controls).max() < one[controls].min() for one in several)


def holes_give_the_class_away(results):
    """Other holes than noise and the centre tell the digit; without 70% these win."""
    table = results.table("evaluation_roar").query("share == 0.7")
    means = table.groupby("method")[["accuracy", "drawn", "trace"]].mean()
    told = means["trace"].drop(["random", "centre"]).min() > 0.8
    blind = means.loc[["random", "centre"], "trace"].max() < 0.15
    lowest = set(means["drawn"].nsmallest(2).index) == {"random", "edges"}
    return told and blind and lowest and means["accuracy"].idxmin() == "centre"


def the_flamingo_needs_its_meadow(results):
    """A network recognises the flamingo in its montage, and not cut out elsewhere."""
    runs = results.table("montages_runs").query("`class` == 'flamingo' and method == 'object'")
    first = runs.iloc[0]
    return first["probability"] > 0.5 > 0.1 > first["transplanted"]


def _on_montages(results, measure):
    """The pairs of methods of which one is better by a measure on montages."""
    return better(results.table("montages_pairs").query(f"measure == {measure!r}"))


def nested_occlusion_finds_what_is_recognised(results):
    """Alone, its regions are recognised as the object is, and better than RISE's."""
    found = set(itertools.product(("nested", "combined"), ("rise", "rise_average", "soft", "owen")))
    order = _on_montages(results, "transplanted")
    equal = ("object", "nested") not in order and ("object", "combined") not in order
    return equal and found <= order


def rise_covers_the_object_best(results):
    """RISE's IoU is above that of LIME with any colour, and of Owen values."""
    others = "lime", "lime_black", "lime_blurred", "owen"
    return set(itertools.product(["rise"], others)) <= _on_montages(results, "iou_mask")


def _on_photographs(results, calls=250, measure="gain"):
    """Differences of methods on photographs, with the lab's two networks."""
    pairs = results.table("photographs_pairs").query("calls == @calls and measure == @measure")
    return pairs[pairs["network"].isin(pairs["network"].unique()[:2])]


def owen_values_and_nested_occlusion_lead(results):
    """On photographs they are better than RISE, occlusion, LIME and every baseline."""
    others = "rise", "rise_average", "soft", "occlusion", "occlusion_black", "occlusion_blurred"
    others += "lime", "lime_black"
    pairs = itertools.product(("owen", "nested"), (*others, *CONTROLS))
    return set(pairs) <= better(_on_photographs(results))


def _equal(pairs, methods):
    among = pairs[pairs["first"].isin(methods) & pairs["second"].isin(methods)]
    return len(among) > 0 and not better(among)


def the_leaders_are_equal(results):
    """Owen values, nested occlusion and their sum with RISE's map are equal."""
    return _equal(_on_photographs(results), ["owen", "nested", "combined"])


def the_fill_decides_between_the_leaders(results):
    """With blur as fill Owen values are above nested occlusion, with black below."""
    blurred, black = (
        better(_on_photographs(results, measure=measure))
        for measure in ("gain_blurred", "gain_black")
    )
    return ("owen", "nested") in blurred and ("nested", "owen") in black


def a_thousand_calls_leave_the_leaders_equal(results):
    """Owen values and the sum are better than RISE, not than nested occlusion."""
    pairs = _on_photographs(results, calls=1000)
    order, leaders = better(pairs), ["owen", "combined", "nested", "lime_blurred"]
    return {("owen", "rise"), ("combined", "rise")} <= order and _equal(pairs, leaders)


def a_hundred_calls_are_better_spent_than_on_rise(results):
    """With 100 calls Owen values and the sum are better than RISE, nothing else is."""
    pairs = _on_photographs(results, calls=100)
    return better(pairs) == {("owen", "rise"), ("combined", "rise")}


def blurred_lime_is_better_on_photographs(results):
    """LIME with the blur is better there than with mean colours and with black."""
    pairs = {("lime_blurred", "lime"), ("lime_blurred", "lime_black")}
    return pairs <= better(_on_photographs(results))


def the_regression_is_better_on_photographs(results):
    """RISE's regression is better there than its average."""
    return ("rise", "rise_average") in better(_on_photographs(results))


def looking_inside_is_no_advantage(results):
    """Blurred LIME, Owen values and nested occlusion are better than gradients."""
    pairs = itertools.product(("lime_blurred", "owen", "nested"), GRADIENTS)
    return set(pairs) <= better(_on_photographs(results))


def more_networks_do_not_contradict(results):
    """No method that is better is significantly worse for another network."""
    both, others = _on_photographs(results), results.table("photographs_pairs")
    others = others.query("calls == 250 and measure == 'gain'").drop(both.index)
    order = better(both)
    found = [pair in order for pair in zip(others["first"], others["second"])]
    return any(found) and (others.loc[found, "high"] >= 0).all()


def five_in_six_differences_hold(results):
    """Of 67 differences on montages 57 hold on photographs, and one is reversed."""
    pairs = _on_photographs(results)
    montages = results.table("montages_pairs").query("measure == 'gain' and low > 0")
    pairs = pairs.merge(montages, on=["network", "first", "second"], suffixes=("", "_montages"))
    pairs = pairs[~pairs["second"].isin([*CONTROLS, *GRADIENTS])]
    pairs = pairs[~pairs["first"].isin(GRADIENTS)]
    hold, reversed_ = (pairs["low"] > 0).sum(), (pairs["high"] < 0).sum()
    return (len(pairs), hold, reversed_) == (67, 57, 1)
