import numpy as np
import pytest
from cheap import Places, noise_occlusion, tiles
from counting import Counting, forbidden
from lime.lime_image import LimeImageExplainer
from scipy.ndimage import uniform_filter

from lab.methods import random_masks
from lab.methods.masked_model import superpixels
from lab.methods.registry import METHODS, Method, explain, fewest_calls
from rise import Rise

BLACK_BOX = [name for name, method in METHODS.items() if not method.gradients]
CALLING = [name for name, method in METHODS.items() if method.calls_model]
LEAST = {"lime": 21, "shap": 82, "rise": 2, "rise_average": 1, "occlusion": 2, "nested": 3}
LEAST |= {"owen": 4, "combined": 12, "soft": 4}
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


@pytest.mark.parametrize("method", BLACK_BOX)
@pytest.mark.parametrize("budget", [90, 131, 200])
def test_the_budget_is_never_exceeded_and_nearly_used(image, method, budget):
    model = Square(batch_size=7)
    saliency = explain(method, model, image, 1, budget)
    assert saliency.shape == image.shape[:2] and saliency.dtype == np.float32
    assert np.isfinite(saliency).all() and max(model.batches, default=0) <= 7
    if METHODS[method].control:
        assert model.calls == 0
    else:  # nested occlusion has two lattices of windows, which come in few sizes
        least = (0.8 if method == "nested" and budget < 100 else 0.9) * budget
        assert least < model.calls <= budget


@pytest.mark.parametrize("method", LEAST)
def test_least_budgets_are_enough(image, method):
    least, model = LEAST[method], Square()
    assert fewest_calls([method, "edges"], superpixels(image).max() + 1) == least
    assert np.isfinite(explain(method, model, image, 1, least)).all() and model.calls <= least
    if least > 1:
        with pytest.raises(ValueError, match=f"at least {least} model calls for {method}"):
            explain(method, forbidden, image, 1, least - 1)


@pytest.mark.parametrize("method", sorted({*LEAST} - {"soft"}))  # whose edges are wide
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


@pytest.mark.parametrize("method", BLACK_BOX)
def test_what_draws_depends_on_the_seed_and_on_nothing_else(image, method):
    first, again, other = (explain(method, Places(), image, 1, 150, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() == METHODS[method].draws


@pytest.mark.parametrize("method", CALLING)
def test_signed_maps_have_a_zero(image, method):
    constant = explain(method, lambda images: np.full((len(images), 2), 0.5), image, 1, 150)
    if METHODS[method].signed:
        np.testing.assert_allclose(constant, 0, atol=1e-6)
    elif method != "combined":  # the mean score of masked images, of N p for the average
        np.testing.assert_allclose(constant, 0.5, atol=0.1)


def test_the_average_over_soft_superpixels_is_always_a_number(image, monkeypatch):
    monkeypatch.setattr(random_masks, "SEGMENTS", 1)  # shown in half of the calls
    model, nothing_shown = Places(), 0
    hidden = Places()(np.zeros_like(image[None]))[0, 1]
    for seed in range(60):
        saliency = explain("soft", model, image, 1, 4, seed)
        assert np.isfinite(saliency).all()
        nothing_shown += np.allclose(saliency, hidden)
    assert 1 <= nothing_shown < 15  # one in 16


def test_another_method_is_an_entry(image, monkeypatch):
    entry = Method("Noise occlusion", "cheap:noise_occlusion", {"side": 8}, "noise", least=41)
    monkeypatch.setitem(METHODS, "noise_occlusion", entry)
    expected = noise_occlusion(Square(), image, 1, 60, 3, side=8)
    saliency = explain("noise_occlusion", Square(), image, 1, 60, seed=3)
    np.testing.assert_allclose(saliency, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="at least 41 model calls for noise_occlusion, got 40"):
        explain("noise_occlusion", forbidden, image, 1, 40)


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


def test_lime_is_the_packages_with_its_defaults(image):
    expected = LimeImageExplainer(random_state=4).explain_instance(
        image, Square(), labels=(1,), top_labels=None, num_samples=300
    )
    weights = np.array([weight for _, weight in sorted(expected.local_exp[1])])
    saliency = explain("lime", Square(), image, 1, 300, seed=4)
    np.testing.assert_allclose(saliency, weights[expected.segments], atol=1e-6)


@pytest.mark.parametrize("method, estimator", [("rise", "regression"), ("rise_average", "average")])
def test_rise_is_rises_own(image, method, estimator):
    rise = Rise(Square(), nb_samples=60, seed=3, estimator=estimator)
    expected = rise.explain_classes(image, [1])[0]
    np.testing.assert_allclose(explain(method, Square(), image, 1, 60, seed=3), expected, atol=1e-6)


def test_controls():
    image = np.full((40, 60, 3), 100, np.uint8)
    image[:, 30:] = 200
    noise, centre, edges = (
        explain(method, forbidden, image, 0, 1) for method in ("random", "centre", "edges")
    )
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
        ({"method": "grad-cam"}, "'grad-cam': expected one of lime, lime_black"),
        ({"method": ["lime"]}, "method must be the name of one, got list"),
        ({"black_box": "squeezenet"}, "black_box must be .*lab.networks.load.*, got str$"),
        ({"black_box": np.zeros(3), "image": forbidden}, "black_box must be .*, got ndarray$"),
        ({"image": np.zeros((3, 64, 64), np.uint8)}, r"transpose\(1, 2, 0\)"),
        ({"label": -1}, "label must be at least 0, got -1"),
        *(({"label": label}, "label must be an integer") for label in (1.0, "0", True, [0, 1])),
        ({"budget": 1e3}, "budget must be an integer"),
        ({"budget": 10**9}, "budget must be at most 1000000, got 1000000000"),
        ({"seed": 2**32}, "seed must be at most 4294967295"),
    ],
)
@pytest.mark.parametrize("method", ["lime", "nested", "edges"])
def test_bad_arguments_cost_no_model_call(image, method, changed, message):
    arguments = {"method": method, "black_box": forbidden, "image": image, "label": 1}
    with pytest.raises((TypeError, ValueError), match=message):
        explain(**arguments | {"budget": 100} | changed)


def test_gradients_need_a_keras_network(image):
    with pytest.raises(ValueError, match="grad_cam needs a Keras network, got <function forbidden"):
        explain("grad_cam", forbidden, image, 1, 1)


@pytest.mark.parametrize("method", CALLING)
def test_bad_scores_are_named(image, method):
    with pytest.raises(ValueError, match="class.* from 0 to 1, got 2"):
        explain(method, Square(), image, 2, 100)
    for score, message in ((np.nan, "finite"), ("high", "finite"), ([[0]], "n_classes")):
        with pytest.raises(ValueError, match=message):
            explain(method, lambda images, s=score: np.array([[s, s]] * len(images)), image, 0, 100)
