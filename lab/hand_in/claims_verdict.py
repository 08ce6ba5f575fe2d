"""What the texts state of the verdict on many objects: see `lab.hand_in.claims`."""

from lab.explain.names import BASELINES
from lab.measure.paired import GAINS

_SUPERPIXELS = "lime", "lime_blurred", "shap"


def _sure(results, first, second, table="verdict_pairs"):
    """Of one method against another, by network and fill: whether it is surely better."""
    rows = results.table(table)
    rows = rows[(rows["first"] == first) & (rows["second"] == second)]
    return rows.set_index(["network", "measure"])["low"] > 0


def _trusted(results):
    judged = results.table("verdict")
    return set(judged.loc[judged["trusted"], "method"])


def windows_and_masks_are_trusted(results):
    """Occlusion, whatever it hides with, and RISE, whichever way it is estimated, are trusted."""
    return {"occlusion", "occlusion_black", "occlusion_blurred", "rise", "rise_average"} <= _trusted(results)


def superpixels_are_not_trusted(results):
    """LIME, hidden in mean colours or blurred, and KernelSHAP are not."""
    return not set(_SUPERPIXELS) & _trusted(results)


def superpixels_fail_by_one_comparison(results):
    """Of all comparisons with baselines LIME and KernelSHAP surely win all but one: with black, for one network, against the centre Gaussian."""
    lost = [(method, baseline, *where) for method in _SUPERPIXELS for baseline in BASELINES
            for where, won in _sure(results, method, baseline).items() if not won]
    return {(baseline, measure) for _, baseline, _, measure in lost} == {("centre", "gain_black")} and len({network for _, _, network, _ in lost}) == 1


def superpixels_lead_unless_black(results):
    """With the mean colour and the blurred picture a superpixel method gains most on average, for both networks; with black occlusion does."""
    means = results.table("verdict_means")
    means = means[means["measure"].isin(GAINS)]
    best = means.loc[means.groupby(["network", "measure"])["mean"].idxmax()]
    return all((row.method.startswith("occlusion") if row.measure == "gain_black" else row.method in _SUPERPIXELS) for row in best.itertuples())


def trusted_methods_are_equal(results):
    """None of the trusted methods is better than another by the protocol's rule."""
    judged = results.table("verdict").set_index("method")
    trusted = _trusted(results)
    return not any(trusted & set(str(judged.loc[method, "better_than"]).split(",")) for method in trusted)


def black_boxes_need_not_hide(results):
    """Occlusion with the mean colour or the blurred picture is better than Grad-CAM and integrated gradients, which look inside."""
    return all(_sure(results, method, inside).all() for method in ("occlusion", "occlusion_blurred") for inside in ("grad_cam", "integrated_gradients"))


def scattered_pixels_gain_nothing(results):
    """Integrated gradients are not better than any baseline."""
    return not any(_sure(results, "integrated_gradients", baseline).all() for baseline in BASELINES)


def grad_cam_is_not_better_than_all_baselines(results):
    """Grad-CAM is better than noise by the rule, but not than the centre Gaussian and the edge detector."""
    return _sure(results, "grad_cam", "random").all() and not any(_sure(results, "grad_cam", baseline).all() for baseline in ("centre", "edges"))


def rise_points_at_the_object(results):
    """RISE's regression has its most salient point on the object on nine of ten pictures, more often than any other method."""
    means = results.table("verdict_means")
    points = means[means["measure"] == "pointing_game"].groupby("method")["mean"].mean()
    return points.idxmax() == "rise" and points["rise"] > 0.9


def halves_do_not_contradict_each_other(results):
    """With 100 calls, no two methods have one sure order on the half for choosing and the reverse on that for the verdict."""
    rows = results.table("verdict_few_pairs").set_index(["half", "first", "second", "network", "measure"])["low"] > 0
    one, other = rows["choosing"], rows["verdict"].swaplevel("first", "second")
    return not (one & other.reindex(one.index)).any()
