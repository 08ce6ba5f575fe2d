from dataclasses import replace

import numpy as np
import pytest
from cheap import Places, tiles
from counting import forbidden
from lime.lime_image import LimeImageExplainer
from sklearn.metrics import r2_score

from lab.measure.curves import auc, curve
from lab.measure.lime import fidelity, measure_lime
from lab.measure.measurements import MEASUREMENTS
from lab.methods.lime import lime_explanation, locality
from lab.methods.masked_model import blurred, mean_colour
from lab.methods.setting import Setting

MEASURED = ["r2_fit", "r2_fresh", "deletion_mean", "insertion"]
MEASURED += ["iou", "pointing_game", "shown", "model_calls"]
IMAGE = tiles()
MASK = np.zeros(IMAGE.shape[:2], bool)
MASK[10:30, 5:25] = True


def test_fidelity_on_the_fit_is_the_packages():
    model, setting = Places(), Setting(num_samples=300, seed=1)
    expected = LimeImageExplainer(random_state=1).explain_instance(
        IMAGE, model, top_labels=1, hide_color=(0, 0, 0), num_features=100_000, num_samples=300
    )
    got = measure_lime(model, lime_explanation(model, IMAGE, setting))["r2_fit"]
    assert got == pytest.approx(expected.score, abs=1e-6)


@pytest.mark.parametrize("sampling", ["lime", "balanced"])
@pytest.mark.parametrize("seed, next_seed", [(6, 7), (2**32 - 1, 0)])
def test_fidelity_on_fresh_samples_is_that_of_the_next_seed(sampling, seed, next_seed):
    setting = Setting(num_samples=300, hide_color=None, sampling=sampling, seed=seed)
    explanation = lime_explanation(Places(), IMAGE, setting)
    other = lime_explanation(Places(), IMAGE, replace(setting, seed=next_seed, num_samples=500))
    # All but the whole image, which every fit has seen.
    new = other.coalitions[1:]
    truth = Places()(explanation.masked_model.images(new))[:, explanation.label]
    weights, linear = locality(new, setting), explanation.intercept + new @ explanation.weights
    for n in (500, 60):
        few = slice(n - 1)
        expected = r2_score(truth[few], linear[few], sample_weight=weights[few])
        assert fidelity(explanation, fresh=n) == pytest.approx(expected, abs=1e-9)
        if n == 500:
            assert measure_lime(Places(), explanation)["r2_fresh"] == fidelity(explanation, n)


def test_curves_what_is_shown_and_the_object():
    explanation = lime_explanation(Places(), IMAGE, Setting(num_samples=300, num_superpixels=4))
    got = measure_lime(Places(), explanation, MASK)
    assert list(got) == MEASURED and set(got) <= set(MEASUREMENTS)
    explained = Places(), explanation.label, explanation.saliency
    assert got["deletion_mean"] == auc(*curve(*explained, IMAGE, mean_colour(IMAGE)))
    assert got["insertion"] == auc(*curve(*explained, blurred(IMAGE), IMAGE))
    assert got["shown"] == explanation.shown.mean() and got["model_calls"] == 300
    assert got["iou"] == (explanation.shown & MASK).sum() / (explanation.shown | MASK).sum()
    assert got["pointing_game"] == MASK[explanation.saliency == explanation.saliency.max()].mean()
    unknown = {"iou": float("nan"), "pointing_game": float("nan")}
    np.testing.assert_equal(measure_lime(Places(), explanation), got | unknown)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"mask": np.zeros((3, 3), bool)}, ValueError, "shape"),
        ({"mask": MASK * 255}, TypeError, "a mask must be bool"),
        ({"fresh": 1}, ValueError, "fresh must be at least 2, got 1"),
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
    ],
)
def test_bad_arguments_cost_no_call(change, error, message):
    explanation = lime_explanation(Places(), IMAGE, Setting(num_samples=100))
    with pytest.raises(error, match=message):
        measure_lime(forbidden, explanation, **change)
