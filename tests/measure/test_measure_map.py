import cProfile

import numpy as np
import pytest
from cheap import Network, tiles
from counting import forbidden

from lab.measure.curves import auc, deletion_and_insertion, gains
from lab.measure.lime import measure_lime
from lab.measure.maps import measure_map
from lab.measure.measurements import MEASUREMENTS
from lab.measure.overlap import bounding_box, iou_over_thresholds, pointing_game
from lab.methods.checks import check_image
from lab.methods.lime import lime_explanation
from lab.methods.masked_model import mean_colour, superpixels
from lab.methods.registry import explain
from lab.methods.setting import Setting

MEASURED = ["deletion_black", "deletion_mean", "insertion", "faithfulness"]
MEASURED += ["iou_mask", "iou_box", "pointing_game"]
IMAGE = tiles(4, 4)
MASK = np.zeros((64, 64), bool)
MASK[10:40, :30] = True
MASK[10, :2] = False


def test_a_map_is_measured_by_the_measurements():
    saliency = np.random.default_rng(0).normal(size=(64, 64)).cumsum(axis=0)
    network = Network()
    got, curves = measure_map(network, IMAGE, 386, saliency, MASK)
    expected = deletion_and_insertion(Network(), IMAGE, 386, saliency)
    assert list(got) == MEASURED and set(got) <= set(MEASUREMENTS) and list(curves) == MEASURED[:3]
    for name, curve in expected.items():
        np.testing.assert_allclose(curves[name], curve, rtol=1e-6)
        assert got[name] == pytest.approx(auc(*curve))
    for name, truth in (("iou_mask", MASK), ("iou_box", bounding_box(MASK))):
        assert got[name] == iou_over_thresholds(saliency, truth).mean()
    assert got["iou_mask"] != got["iou_box"]
    assert got["pointing_game"] == pointing_game(saliency, MASK)
    # Each superpixel alone shows the image's mean colour.
    segments = superpixels(IMAGE)
    areas = [segments == superpixel for superpixel in range(segments.max() + 1)]
    images = [np.where(area[..., None], mean_colour(IMAGE), IMAGE) for area in areas]
    whole, *hidden = Network()(np.stack([IMAGE, *images]))[:, 386].astype(float)
    means = [saliency[area].mean() for area in areas]
    expected = np.corrcoef(whole - hidden, means)[0, 1]
    assert got["faithfulness"] == pytest.approx(expected, abs=1e-6)
    assert network.calls == 3 * 51 + 1 + len(areas)
    # A map that has each superpixel's own drop on its pixels is faithful.
    drops = (whole - np.array(hidden))[segments]
    got, _ = measure_map(Network(), IMAGE, 386, drops)
    assert got["faithfulness"] == pytest.approx(1)
    # Without a mask the overlap is not a number.
    assert [name for name, value in got.items() if np.isnan(value)] == MEASURED[4:]


@pytest.mark.parametrize(
    "mask, error", [(np.zeros((64, 63), bool), ValueError), (np.zeros((64, 64)), TypeError)]
)
def test_a_bad_mask_costs_no_call(mask, error):
    with pytest.raises(error, match=r"\(64, 63\)|a mask must be bool"):
        measure_map(forbidden, IMAGE, 386, np.zeros((64, 64)), mask)


def test_an_image_that_is_explained_and_measured_is_checked_at_most_twice():
    def explained_and_measured():
        saliency = explain("lime", Network(), IMAGE, 386, 100)
        _, along = measure_map(Network(), IMAGE, 386, saliency, MASK)
        gains(Network(), IMAGE, 386, saliency, along)

    def lime_explained_and_measured():
        measure_lime(Network(), lime_explanation(Network(), IMAGE, Setting(num_samples=100)), MASK)

    for run in (explained_and_measured, lime_explained_and_measured):
        profile = cProfile.Profile()
        profile.runcall(run)
        checks = [entry for entry in profile.getstats() if entry.code is check_image.__code__]
        assert sum(entry.callcount for entry in checks) in (1, 2)
