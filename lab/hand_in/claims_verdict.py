"""What the texts state of the verdict on many objects: see `lab.hand_in.claims`."""

import itertools

from lab.explain.names import BASELINES, REFERENCES
from lab.measure.paired import GAINS, better

_SUPERPIXELS = "lime", "lime_blurred", "shap"


def _sure(results, first, second):
    """Of one method against another, by network and fill: whether it is surely better."""
    rows = results.table("verdict_pairs")
    rows = rows[(rows["first"] == first) & (rows["second"] == second)]
    return rows.set_index(["network", "measure"])["low"] > 0


def _trusted(results):
    judged = results.table("verdict")
    return set(judged.loc[judged["trusted"], "method"])


def blurred_lime_windows_and_masks_are_trusted(results):
    """LIME hidden behind the blurred picture, occlusion whatever it hides with, and RISE by either estimator are trusted."""
    return _trusted(results) == {
        "lime_blurred",
        "occlusion",
        "occlusion_black",
        "occlusion_blurred",
        "rise",
        "rise_average",
    }


def mean_colours_fail_by_one_comparison(results):
    """LIME and KernelSHAP in mean colours surely win all comparisons with baselines but one: with the centre Gaussian, in black, for one network."""
    lost = {
        (baseline, *where)
        for method in ("lime", "shap")
        for baseline in BASELINES
        for where, won in _sure(results, method, baseline).items()
        if not won
    }
    return len(lost) == 1 and all(
        baseline == "centre" and measure == "gain_black" for baseline, _, measure in lost
    )


def superpixels_lead_unless_black(results):
    """With the mean colour and the blurred picture a superpixel method gains most on average, for both networks; with black occlusion does."""
    means = results.table("verdict_means")
    means = means[means["measure"].isin(GAINS)]
    best = means.loc[means.groupby(["network", "measure"])["mean"].idxmax()]
    return all(
        (
            row.method.startswith("occlusion")
            if row.measure == "gain_black"
            else row.method in _SUPERPIXELS
        )
        for row in best.itertuples()
    )


def trusted_methods_are_equal(results):
    """None of the trusted methods is better than another by the protocol's rule."""
    judged = results.table("verdict").set_index("method")
    trusted = _trusted(results)
    return not any(
        trusted & set(str(judged.loc[method, "better_than"]).split(",")) for method in trusted
    )


def looking_inside_is_no_advantage(results):
    """LIME hidden behind the blurred picture, KernelSHAP and occlusion are better than Grad-CAM and both kinds of gradients."""
    return set(itertools.product(("lime_blurred", "shap", "occlusion"), REFERENCES)) <= better(
        results.table("verdict_pairs")
    )


def scattered_pixels_gain_nothing(results):
    """Integrated gradients are not better than any baseline."""
    return not better(results.table("verdict_pairs")) & {
        ("integrated_gradients", baseline) for baseline in BASELINES
    }


def grad_cam_wins_all_but_one(results):
    """Grad-CAM surely wins all comparisons with baselines but one."""
    return (
        sum(not won for baseline in BASELINES for won in _sure(results, "grad_cam", baseline)) == 1
    )


def rise_points_at_the_object(results):
    """RISE's regression has its most salient point on the object on nine of ten pictures, more often than any other method."""
    means = results.table("verdict_means")
    points = means[means["measure"] == "pointing_game"].groupby("method")["mean"].mean()
    return points.idxmax() == "rise" and points["rise"] > 0.9


def halves_do_not_contradict_each_other(results):
    """With 100 calls, no two methods have one sure order on the half for choosing and the reverse on that for the verdict."""
    rows = (
        results.table("verdict_few_pairs").set_index(
            ["half", "first", "second", "network", "measure"]
        )["low"]
        > 0
    )
    one, other = rows["choosing"], rows["verdict"].swaplevel("first", "second")
    return not (one & other.reindex(one.index)).any()


def example_is_decided(results):
    """Where the methods' regions differ most, the network sees the class in LIME's alone in two of three other landscapes, and in that of RISE's average in none."""
    case = results.table("verdict_example").iloc[0]
    rows = results.table("verdict_alone").query("key == @case.key").reset_index(drop=True)
    alone = dict(zip(rows["region"], results.array("verdict_alone", case["key"], "alone")))
    return (
        (case["good"], case["bad"]) == ("lime_blurred", "rise_average")
        and (alone["lime_blurred"] > 0.5).sum() == 2
        and (alone["rise_average"] < 0.1).all()
    )


def mantis_needs_its_ground(results):
    """One network is sure of the mantis on the planks, and hardly sees it when the whole mantis, and nothing else, is put into other landscapes."""
    rows = results.table("verdict_alone").query("object == 'mantis' and region == 'object'")
    return ((rows["probability"] > 0.95) & (rows["alone"] < 0.1)).any()


def blurred_lime_is_seen_best_alone(results):
    """On average the most salient fifth of LIME behind the blurred picture is seen best alone, for both networks."""
    rows = results.table("verdict_alone")
    means = (
        rows[~rows["region"].eq("object")].groupby(["network", "region"])["alone"].mean().unstack()
    )
    return (means.idxmax(axis=1) == "lime_blurred").all()


def hundred_calls_are_nearly_as_good(results):
    """With 100 calls occlusion has at least nine tenths of the gain that it has with 1,000, on the same pictures, for both networks."""
    table = (
        results.table("verdict_calls")
        .query("method == 'occlusion_blurred'")
        .pivot(index="network", columns="calls", values="mean")
    )
    return (table[100] > 0.9 * table[1000]).all()


def none_is_better_than_occlusion_with_a_hundred_calls(results):
    """With 100 calls neither LIME nor RISE is better than occlusion by the protocol's rule, on either half of the objects."""
    halves = results.table("verdict_few_pairs").groupby("half")
    return not any(
        better(pairs) & {("lime_blurred", "occlusion_blurred"), ("rise", "occlusion_blurred")}
        for _, pairs in halves
    )


def occlusion_repeats_and_others_do_not(results):
    """With 100 calls occlusion finds the same map with another seed, and LIME and RISE find another one."""
    repeats = results.table("verdict_few").groupby("method")["repeats"].mean()
    return (
        repeats["occlusion_blurred"] > 0.999 and max(repeats["lime_blurred"], repeats["rise"]) < 0.9
    )


def shap_and_occlusion_split_the_six(results):
    """KernelSHAP is surely better than occlusion by some comparisons, none in black, and occlusion than KernelSHAP by others, all in black."""
    one, other = _sure(results, "shap", "occlusion"), _sure(results, "occlusion", "shap")
    return {measure for _, measure in one.index[one]} == {"gain_mean", "gain_blurred"} and {
        measure for _, measure in other.index[other]
    } == {"gain_black"}


def _few_calls(results):
    """Mean gains over the three fills of what was compared with few calls, by network and by method with its calls."""
    table = results.table("verdict_small_means").query("measure == 'gain'")
    return table.assign(asked=table["method"] + " " + table["calls"].astype(str)).pivot(
        index="network", columns="asked", values="mean"
    )


def nested_occlusion_gains_more_than_rise_with_sixteen_times_the_calls(results):
    """With 250 calls nested occlusion gains on average at least 15% more than the paper's RISE with 4,000, and surely more, for both networks."""
    means, pairs = _few_calls(results), results.table("verdict_small_pairs")
    surely = (
        pairs.query(
            "first == 'nested 250' and second == 'rise_average 4000' and measure == 'gain'"
        )["low"]
        > 0
    )
    return (means["nested 250"] >= 1.15 * means["rise_average 4000"]).all() and surely.sum() == 2


def nested_occlusion_with_a_hundred_calls_is_no_worse_than_long_rise(results):
    """With 100 calls nested occlusion gains on average no less than the paper's RISE with 4,000, for both networks."""
    means = _few_calls(results)
    return (means["nested 100"] >= means["rise_average 4000"]).all()


def nested_occlusion_leads_by_a_little(results):
    """With 250 calls nested occlusion gains on average more than each of the others, for one network at least 5% and for the other less than 5% more than the best of them, a kind of occlusion."""
    means = _few_calls(results).filter(like=" 250")
    others = means.drop(columns="nested 250")
    lead = means["nested 250"] / others.max(axis=1)
    return (
        (lead > 1).all()
        and sorted(lead >= 1.05) == [False, True]
        and others.idxmax(axis=1).str.startswith("occlusion").all()
    )


def nested_occlusion_is_equal_to_lime_and_occlusion(results):
    """With 250 calls neither LIME nor occlusion is better than nested occlusion by the protocol's rule, and it is better than neither."""
    pairs = results.table("verdict_small_pairs")
    order = better(pairs[pairs["measure"].isin(GAINS)])
    others = [
        f"{method} 250"
        for method in ("lime", "lime_blurred", "occlusion", "occlusion_black", "occlusion_blurred")
    ]
    return not order & {
        pair for other in others for pair in (("nested 250", other), (other, "nested 250"))
    }
