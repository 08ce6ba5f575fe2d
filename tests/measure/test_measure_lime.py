from dataclasses import replace

import numpy as np
import pytest
from cheap import Places, tiles
from counting import forbidden
from lime.lime_image import LimeImageExplainer
from sklearn.metrics import r2_score

from lab.measure.curves import gains
from lab.measure.lime import COMMON_SEED, common_fidelity, common_samples, fidelity, measure_lime
from lab.measure.measurements import MEASUREMENTS
from lab.methods.lime import lime_explanation, locality, perturbations
from lab.methods.masked_model import MaskedModel, mean_colour, superpixels
from lab.methods.setting import Setting

MEASURED = ["r2_fit", "r2_fresh", "r_common", "gain", "gain_black", "gain_mean", "gain_blurred"]
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


def weighted_pearson(x, y, w):
    """In closed form, by sums."""
    x, y = x - np.average(x, weights=w), y - np.average(y, weights=w)
    return (w * x * y).sum() / np.sqrt((w * x * x).sum() * (w * y * y).sum())


@pytest.mark.parametrize("size", [4, 2])
def test_common_perturbations_are_the_same_for_all_settings(size):
    setting = Setting(num_samples=300, hide_color=None, superpixel_size=size, kernel_width=0.1)
    explanation = lime_explanation(Places(), IMAGE, setting)
    label = explanation.label
    segments, coalitions, probability = common_samples(Places(), IMAGE, label, 60)
    np.testing.assert_array_equal(segments, superpixels(IMAGE))
    n = int(segments.max()) + 1
    np.testing.assert_array_equal(coalitions, perturbations(n, 60, COMMON_SEED)[1:])
    weights, own, found = locality(coalitions, Setting()), explanation.masked_model.segments, []
    area = np.bincount(own.ravel())
    # Each pixel has its share of its superpixel's weight; what is kept adds up.
    linear = [
        sum(explanation.weights[own][kept] / area[own][kept])
        for kept in (coalition[segments] == 1 for coalition in coalitions)
    ]
    if size == 4:
        np.testing.assert_allclose(linear, coalitions @ explanation.weights)
    for fill, values in zip([(0, 0, 0), tuple(mean_colour(IMAGE).tolist()), "blur"], probability):
        expected = MaskedModel(Places(), IMAGE, segments, fill, [label]).value(coalitions)
        np.testing.assert_allclose(values, expected)
        found.append(weighted_pearson(np.array(linear), expected, weights))
    common = segments, coalitions, probability
    assert common_fidelity(explanation, common) == pytest.approx(np.mean(found))
    nothing = explanation._replace(weights=np.zeros_like(explanation.weights))
    assert np.isnan(common_fidelity(nothing, common))


def test_curves_what_is_shown_and_the_object():
    explanation = lime_explanation(Places(), IMAGE, Setting(num_samples=300, num_superpixels=4))
    got = measure_lime(Places(), explanation, MASK)
    assert list(got) == MEASURED and set(got) <= set(MEASUREMENTS)
    gained = gains(Places(), IMAGE, explanation.label, explanation.saliency, steps=10)
    assert gained.items() <= got.items() and got["gain"] == np.mean([*gained.values()])
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
        ({"fresh": 2}, ValueError, "fresh must be at least 3, got 2"),
    ],
)
def test_bad_arguments_cost_no_call(change, error, message):
    explanation = lime_explanation(Places(), IMAGE, Setting(num_samples=100))
    with pytest.raises(error, match=message):
        measure_lime(forbidden, explanation, **change)
