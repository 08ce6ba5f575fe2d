import itertools

import numpy as np
import pytest
from cheap import Places, tiles
from counting import Careless, Counting, Recorder, forbidden
from lime.lime_image import LimeImageExplainer
from scipy.ndimage import uniform_filter

from lab.methods.masked_model import MaskedModel
from lab.methods.methods import EXPLAINERS, PACKAGE, attribute, explain
from lab.methods.names import BASELINES
from rise import Rise

LEAST = {"lime": 21, "shap": 82, "rise": 2, "rise_average": 1, "occlusion": 2, "nested": 3}
LEAST |= {"owen": 4, "combined": 12}
SQUARE = np.s_[16:32, 48:64]


class Square(Counting):
    """Class 1 is the contrast of the square alone."""

    def answer(self, images):
        red = np.asarray(images, float)[:, SQUARE[0], SQUARE[1], 0]
        score = (np.maximum(red - 235, 0) / 20).mean(axis=(1, 2))
        return np.stack([1 - score, score], axis=1)


@pytest.fixture(scope="module")
def image():
    """Dark tiles and a red square with contrast, each of which becomes a superpixel."""
    image = tiles(seed=13)
    image[SQUARE] = np.random.default_rng(3).choice([215, 255], (16, 16, 1)) * [1, 0.1, 0.1]
    image.flags.writeable = False
    return image


def drawn(n, seed=0):
    """A value for each coalition, drawn at random: every interaction there can be."""
    values = np.random.default_rng(seed).normal(size=2**n)
    return lambda coalitions: values[np.asarray(coalitions, int) @ 2 ** np.arange(n)]


@pytest.mark.parametrize("method", EXPLAINERS)
@pytest.mark.parametrize("budget", [90, 131, 200])
def test_the_budget_is_never_exceeded_and_nearly_used(image, method, budget):
    model = Square(batch_size=7)
    saliency = explain(method, model, image, 1, budget)
    assert saliency.shape == image.shape[:2] and saliency.dtype == np.float32
    assert np.isfinite(saliency).all() and max(model.batches, default=0) <= 7
    if method in BASELINES:
        assert model.calls == 0
    else:  # nested occlusion has two lattices of windows, which come in few sizes
        least = (0.8 if method == "nested" and budget < 100 else 0.9) * budget
        assert least < model.calls <= budget


@pytest.mark.parametrize("method", LEAST)
def test_least_budgets_are_enough(image, method):
    least = LEAST[method]
    model = Square()
    assert np.isfinite(explain(method, model, image, 1, least)).all() and model.calls <= least
    if least > 1:
        with pytest.raises(ValueError, match=f"at least {least} model calls for {method}"):
            explain(method, forbidden, image, 1, least - 1)


@pytest.mark.parametrize("method", LEAST)
def test_what_alone_matters_is_found(image, method):
    square = np.zeros(image.shape[:2], bool)
    square[SQUARE] = True
    saliency = explain(method, Square(), image, 1, 400)
    assert square[saliency == saliency.max()].all()
    outside = np.abs(saliency - np.median(saliency))[~square].mean()
    assert saliency[square].mean() - np.median(saliency) > 5 * outside
    # For the other class it counts as much against it.
    against = explain(method, Square(), image, 0, 400)
    assert against[square].mean() < against[~square].mean()


@pytest.mark.parametrize("method", EXPLAINERS)
def test_seeds(image, method):
    first, again, other = (explain(method, Places(), image, 1, 150, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() == (
        not method.startswith(("occlusion", "centre", "edges", "owen"))
    )


def test_owen_values_add_up_to_what_the_image_has_over_the_blurred_one(image):
    baseline = np.round(uniform_filter(image.astype(float), (64, 64, 1), mode="mirror"))
    whole, blurred = Places()(np.stack([image, baseline.astype(np.uint8)]))[:, 1]
    for budget in (20, 131):
        values = explain("owen", Places(), image, 1, budget)
        assert values.sum() == pytest.approx(whole - blurred, rel=1e-4)


def test_combined_is_the_sum_of_its_scaled_maps(image):
    maps = [explain(m, Places(), image, 1, n) for m, n in (("owen", 43), ("nested", 44))]
    maps.append(explain("rise", Places(), image, 1, 44))
    expected = sum((one - one.mean()) / one.std() for one in maps)
    np.testing.assert_allclose(explain("combined", Places(), image, 1, 131), expected, atol=1e-5)
    assert np.ptp(explain("combined", lambda x: np.full((len(x), 2), 0.5), image, 1, 60)) < 1e-6


@pytest.mark.parametrize("method", ["lime", "rise", "rise_average", "shap", "occlusion", "shapley"])
def test_a_careless_function_of_coalitions_changes_nothing(method):
    plain, careless = (attribute(method, f, 5, 32) for f in (drawn(5), Careless(drawn(5))))
    np.testing.assert_array_equal(careless, plain)


def test_lime_is_the_packages_with_its_defaults(image):
    expected = LimeImageExplainer(random_state=4).explain_instance(
        image, Square(), labels=(1,), top_labels=None, num_samples=300
    )
    weights = np.array([weight for _, weight in sorted(expected.local_exp[1])])
    saliency = explain("lime", Square(), image, 1, 300, seed=4)
    np.testing.assert_allclose(saliency, weights[expected.segments], atol=1e-6)


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
    value = MaskedModel(predict, image, segments, PACKAGE.hide_color, [1]).value
    lime = "0.205567 0.072679 0.017237 -0.105766 -0.237809 -0.089639 0.167793 0.132255 0.115206"
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
    largest = lambda coalitions: (coalitions * [1, 2, 4]).max(axis=1)  # noqa: E731
    expected = [1 / 3, 1 / 3 + 1 / 2, 1 / 3 + 1 / 2 + 2]
    np.testing.assert_allclose(attribute("shapley", largest, 3), expected)


def test_occlusion_of_features_is_the_loss_of_each():
    value, whole = drawn(5), np.ones(5, int)
    expected = [value(whole) - value(whole - one) for one in np.eye(5, dtype=int)]
    np.testing.assert_allclose(attribute("occlusion", value, 5), expected)


@pytest.mark.parametrize("method, estimator", [("rise", "regression"), ("rise_average", "average")])
def test_rise_is_rises_own(image, method, estimator):
    rise = Rise(Square(), nb_samples=60, seed=3, estimator=estimator)
    expected = rise.explain_classes(image, [1])[0]
    np.testing.assert_allclose(explain(method, Square(), image, 1, 60, seed=3), expected, atol=1e-6)
    # Of features, it is the mean value when a feature is kept.
    value, coalitions = drawn(4), np.array(list(itertools.product((0, 1), repeat=4)))
    expected = [value(coalitions[coalitions[:, feature] == 1]).mean() for feature in range(4)]
    np.testing.assert_allclose(attribute(method, value, 4, 2**15), expected, atol=0.05)


def test_baselines():
    image = np.full((40, 60, 3), 100, np.uint8)
    image[:, 30:] = 200
    noise, centre, edges = (explain(method, forbidden, image, 0, 1) for method in BASELINES)
    assert centre[19:21, 29:31].min() == centre.max()
    np.testing.assert_allclose(centre, centre[::-1, ::-1])
    # A quarter of the image's width from the centre is one standard deviation.
    assert centre[20, 45] / centre[20, 30] == pytest.approx(np.exp(-0.5), rel=0.05)
    assert set(edges.argmax(axis=1)) <= {29, 30} and edges[:, :10].max() < 1e-3 * edges.max()
    assert noise.mean() == pytest.approx(0.5, abs=0.05)
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"method": "grad-cam"}, "'grad-cam': expected one of lime, rise"),
        ({"image": np.zeros((3, 64, 64), np.uint8)}, r"transpose\(1, 2, 0\)"),
        ({"label": -1}, "label must be at least 0, got -1"),
        *(({"label": label}, "label must be an integer") for label in (1.0, "0", True, [0, 1])),
        ({"budget": 1e3}, "budget must be an integer"),
        ({"seed": 2**32}, "seed must be at most 4294967295"),
    ],
)
@pytest.mark.parametrize("method", ["lime", "nested", "edges"])
def test_bad_arguments_cost_no_model_call(image, method, changed, message):
    arguments = {"method": method, "black_box": forbidden, "image": image, "label": 1}
    with pytest.raises((TypeError, ValueError), match=message):
        explain(**arguments | {"budget": 100} | changed)


@pytest.mark.parametrize("method", set(EXPLAINERS) - set(BASELINES))
def test_bad_scores_are_named(image, method):
    with pytest.raises(ValueError, match="class.* from 0 to 1, got 2"):
        explain(method, Square(), image, 2, 100)
    for score, message in ((np.nan, "finite"), ("high", "finite"), ([[0]], "n_classes")):
        with pytest.raises(ValueError, match=message):
            explain(method, lambda images, s=score: np.array([[s, s]] * len(images)), image, 0, 100)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("shapley", forbidden, 14), "n_features must be at most 12, got 14"),
        (("grad-cam", forbidden, 3), "'grad-cam': expected one of lime, rise"),
        (("lime", forbidden, 3), "budget must be an integer, got None"),
        (("rise", forbidden, 0, 9), "n_features must be at least 1, got 0"),
        (("occlusion", lambda coalitions: coalitions, 3), "one number a coalition, got 3"),
    ],
)
def test_bad_functions_of_coalitions_are_named(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        attribute(*arguments)
