import itertools

import numpy as np
import pytest
from counting import Careless, Recorder, forbidden

from lab.methods.coalitions import attribute
from lab.methods.masked_model import MaskedModel


def drawn(n, seed=0):
    """A value for each coalition, drawn at random: every interaction there can be."""
    values = np.random.default_rng(seed).normal(size=2**n)
    return lambda coalitions: values[np.asarray(coalitions, int) @ 2 ** np.arange(n)]


@pytest.mark.parametrize("method", ["lime", "rise", "rise_average", "shap", "occlusion", "shapley"])
def test_a_careless_function_of_coalitions_changes_nothing(method):
    plain, careless = (attribute(method, f, 5, 32) for f in (drawn(5), Careless(drawn(5))))
    np.testing.assert_array_equal(careless, plain)


def test_another_librarys_result():
    """Values of Captum 0.9.0 (torch 2.13.0) on these inputs and the lab's coalitions.

    LIME: ``Lime(forward, SkLearnRidge(alpha=1), similarity, perturb_func=coalitions)
    .attribute(image, hidden, n_samples=202)``, where `similarity` is
    ``get_exp_kernel_similarity_function("cosine", 0.25)`` of the coalitions. SHAP: the
    same with ``SkLearnLinearRegression()`` in float64, all 512 coalitions and Shapley's
    kernel as their weights, 1e12 for image and baseline.
    """
    y, x, c = np.mgrid[:12, :15, :3]
    image = ((37 * y + 11 * x * x + 53 * c) % 256).astype(np.uint8)

    def predict(images):
        cells = np.asarray(images, float)[..., 0].reshape(-1, 3, 4, 3, 5)
        rough = cells.std(axis=(2, 4)).reshape(-1, 9) / 80
        pairs = (rough * np.roll(rough, 1, axis=1)) @ np.cos(2 * np.arange(9))
        score = rough @ np.sin(np.arange(9) + 1) + pairs + rough[:, ::4].prod(axis=1) - 0.5
        return np.stack([1 / (1 + np.exp(score)), 1 / (1 + np.exp(-score))], axis=1)

    segments = y[..., 0] // 4 * 3 + x[..., 0] // 5
    value = MaskedModel(predict, image, segments, None, [1]).value
    lime = "0.205567 0.072679 0.017237 -0.105766 -0.237809 -0.089639 0.167793 0.132255 0.115206"
    # Captum's linear regression of all coalitions, weighted with Shapley's kernel.
    shap = "0.217716 0.105223 0.037216 -0.10658 -0.219944 -0.070434 0.200813 0.140851 0.091878"
    for method, budget, printed in (("lime", 202, lime), ("shap", 512, shap), ("shapley", 1, shap)):
        expected = np.array(printed.split(), float)
        np.testing.assert_allclose(attribute(method, value, 9, budget), expected, atol=2e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 8])
def test_kernel_shap_with_all_coalitions_is_exact(n):
    value = Recorder(drawn(n))
    shap, exact = attribute("shap", value, n, 2**n), attribute("shapley", drawn(n), n)
    np.testing.assert_allclose(shap, exact, atol=1e-8)
    assert sum(map(len, value.seen)) <= 2**n


def test_shapley_values_in_closed_form():
    # The airport game: each step is shared by those who need it.
    largest = lambda coalitions: (coalitions * [1.0, 2, 4]).max(axis=1)  # noqa: E731
    expected = [1 / 3, 1 / 3 + 1 / 2, 1 / 3 + 1 / 2 + 2]
    np.testing.assert_allclose(attribute("shapley", largest, 3), expected)


def test_occlusion_of_features_is_the_loss_of_each():
    value, whole = drawn(5), np.ones(5, int)
    expected = [value(whole) - value(whole - one) for one in np.eye(5, dtype=int)]
    np.testing.assert_allclose(attribute("occlusion", value, 5), expected)


@pytest.mark.parametrize("method", ["rise", "rise_average"])
def test_rise_of_features_is_the_mean_value_when_one_is_kept(method):
    value, coalitions = drawn(4), np.array(list(itertools.product((0, 1), repeat=4)))
    expected = [value(coalitions[coalitions[:, feature] == 1]).mean() for feature in range(4)]
    np.testing.assert_allclose(attribute(method, value, 4, 2**15), expected, atol=0.05)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("shapley", forbidden, 14), "n_features must be at most 12, got 14"),
        (("grad-cam", forbidden, 3), "'grad-cam': expected one of lime, rise"),
        (("lime", forbidden, 3), "budget must be an integer, got None"),
        (("shap", forbidden, 3, 7), "at least 8 model calls for shap with 3 superpixels, got 7"),
        (("rise", forbidden, 0, 9), "n_features must be at least 1, got 0"),
        (("occlusion", lambda coalitions: coalitions, 3), "one number a coalition, got 3"),
    ],
)
def test_bad_functions_of_coalitions_are_named(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        attribute(*arguments)
