import dataclasses
import itertools
import math

import numpy as np
import pytest
from lime.lime_image import LimeImageExplainer

from cheap import tiles
from counting import Counting
from lab.explain.masked_model import MaskedModel, superpixels
from lab.explain.lime import lime_explanation
from lab.explain.methods import METHODS, PACKAGE, _windows, attribute, explain
from lab.explain.names import BASELINES, COMPARED, METHOD_NAMES, REFERENCES
from lab.networks import asking
from lab.networks.asking import Asked
from rise import Rise

ASKING = ["lime", "rise", "rise_average", "shap", "occlusion"]
SQUARE = np.s_[16:32, 48:64]


class Square(Counting):
    """Class 1 is the sparkle of the square alone."""

    def answer(self, images):
        red = np.asarray(images, float)[:, SQUARE[0], SQUARE[1], 0]
        score = (np.maximum(red - 235, 0) / 20).mean(axis=(1, 2))
        return np.stack([1 - score, score], axis=1)


def interacting(images):
    """A score with interactions between places, of which no sample of coalitions tells all."""
    brightness = np.asarray(images, float).mean(axis=3)[:, ::4, ::4] / 100
    score = np.sin(brightness * np.arange(20)).mean(axis=2).prod(
        axis=1, where=np.arange(16) < 2
    ) + np.cos(9 * brightness.mean(axis=(1, 2)))
    return np.stack([score, -score], axis=1)


@pytest.fixture(scope="module")
def image():
    """Dark tiles and a sparkling red square, which quickshift finds again as a superpixel of its own."""
    rng = np.random.default_rng(3)
    plain = (
        rng.integers([30, 30, 30], [120, 226, 226], (4, 5, 3)).repeat(16, axis=0).repeat(16, axis=1)
    )
    image = (plain + rng.integers(-10, 10, plain.shape)).astype(np.uint8)
    image[SQUARE] = rng.choice([215, 255], (16, 16, 1)) * np.array([1, 0.1, 0.1])
    return image


@pytest.fixture(scope="module")
def square(image):
    square = np.zeros(image.shape[:2], bool)
    square[SQUARE] = True
    return square


def drawn(n, seed=0):
    """A value for each coalition, drawn at random: every interaction there can be."""
    values = np.random.default_rng(seed).normal(size=2**n)
    return lambda kept: values[np.asarray(kept, int) @ 2 ** np.arange(n)]


def test_names():
    assert [*METHODS, *REFERENCES] == list(METHOD_NAMES) and set(COMPARED) == {
        *ASKING,
        *BASELINES,
    } < set(METHODS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [90, 131, 200])
def test_the_budget_is_never_exceeded_and_nearly_used(image, method, budget):
    model = Square(batch_size=7)
    saliency = explain(method, model, image, 1, budget)
    assert (
        saliency.shape == image.shape[:2]
        and saliency.dtype == np.float32
        and np.isfinite(saliency).all()
    )
    assert max(model.batches, default=0) <= 7
    if method in BASELINES:
        assert model.calls == 0
    else:
        assert (
            (0.8 if method == "nested" and budget < 100 else 0.9) * budget < model.calls <= budget
        )  # two lattices of windows, which come in few sizes


@pytest.mark.parametrize("method", ASKING)
def test_what_alone_decides_is_found(image, square, method):
    saliency = explain(method, Square(), image, 1, 400)
    assert square[saliency == saliency.max()].all()
    outside = np.abs(saliency - np.median(saliency))[~square].mean()
    assert saliency[square].mean() - np.median(saliency) > 5 * outside
    # For the other class it counts as much against it.
    against = explain(method, Square(), image, 0, 400)
    assert against[square].mean() < against[~square].mean()


@pytest.mark.parametrize("method", METHODS)
def test_seeds(image, method):
    first, again, other = (explain(method, interacting, image, 1, 150, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() == (not method.startswith(("occlusion", "centre", "edges")))


@pytest.mark.parametrize("method", ASKING)
def test_no_call_is_made_twice(image, monkeypatch, tmp_path, method):
    monkeypatch.setattr(asking, "_on_disk", asking._open(tmp_path / "cache"))
    monkeypatch.setattr(asking, "CHUNK", 16)

    class Interrupted(Exception):
        pass

    class Kept(Square):
        fingerprint = "a model of this test"
        breaks = True

        def __call__(self, images):
            if self.breaks and self.calls >= 40:
                raise Interrupted
            return super().__call__(images)

    plain, model = explain(method, Square(batch_size=8), image, 1, 100), Kept(batch_size=8)
    with pytest.raises(Interrupted):
        explain(method, model, image, 1, 100)
    assert 40 <= model.calls < 48
    model.breaks = False
    np.testing.assert_allclose(explain(method, model, image, 1, 100), plain, atol=1e-6)
    assert model.calls <= 100 + 16  # what was lost is less than a chunk
    calls = model.calls
    explain(method, model, image, 1, 100)
    assert model.calls == calls


def test_lime_is_the_packages_with_its_defaults(image):
    expected = LimeImageExplainer(random_state=4).explain_instance(
        image, Square(), labels=(1,), top_labels=None, num_samples=300
    )
    weights = np.array([weight for _, weight in sorted(expected.local_exp[1])])
    saliency = explain("lime", Square(), image, 1, 300, seed=4)
    np.testing.assert_allclose(saliency, weights[expected.segments], atol=1e-6)
    own = lime_explanation(
        Square(), image, dataclasses.replace(PACKAGE, num_samples=300, seed=4), label=1
    )
    np.testing.assert_allclose(saliency, own.saliency, atol=1e-6)


@pytest.mark.parametrize("method", ["lime", "shap"])
def test_a_picture_is_explained_as_the_game_of_its_superpixels(image, method):
    game = MaskedModel(Asked(Square(), [1]), image, superpixels(image), PACKAGE.hide_color)
    weights = attribute(method, game.value, game.n, 300, seed=2)
    np.testing.assert_allclose(
        weights[game.segments], explain(method, Square(), image, 1, 300, seed=2), atol=1e-6
    )


def test_another_librarys_answer():
    """As printed by benchmarks/captum_elsewhere.py: Captum 0.9.0 on these inputs, by the lab's definitions."""
    y, x, c = np.mgrid[:12, :15, :3]
    image = ((37 * y + 11 * x * x + 53 * c) % 256).astype(np.uint8)

    def predict(images):
        rough = (
            np.asarray(images, float)[..., 0]
            .reshape(-1, 3, 4, 3, 5)
            .std(axis=(2, 4))
            .reshape(-1, 9)
            / 80
        )
        pairs = (rough * np.roll(rough, 1, axis=1)) @ np.cos(2 * np.arange(9))
        score = rough @ np.sin(np.arange(9) + 1) + pairs + rough[:, ::4].prod(axis=1) - 0.5
        return np.stack([1 / (1 + np.exp(score)), 1 / (1 + np.exp(-score))], axis=1)

    game = MaskedModel(Asked(predict, [1]), image, y[..., 0] // 4 * 3 + x[..., 0] // 5, PACKAGE.hide_color)
    lime = [
        0.205567,
        0.072679,
        0.017237,
        -0.105766,
        -0.237809,
        -0.089639,
        0.167793,
        0.132255,
        0.115206,
    ]
    np.testing.assert_allclose(attribute("lime", game.value, 9, 202), lime, atol=2e-6)
    # All coalitions with Shapley's kernel as weights: a linear regression by Captum, too.
    kernel_shap = [
        0.217716,
        0.105223,
        0.037216,
        -0.10658,
        -0.219944,
        -0.070434,
        0.200813,
        0.140851,
        0.091878,
    ]
    for method in ("shap", "shapley"):
        np.testing.assert_allclose(attribute(method, game.value, 9, 2**9), kernel_shap, atol=2e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 8])
def test_kernel_shap_with_all_coalitions_is_exact(n):
    value, asked = drawn(n), []
    counted = lambda kept: asked.append(len(kept)) or value(kept)  # noqa: E731
    np.testing.assert_allclose(
        attribute("shap", counted, n, 2**n), attribute("shapley", value, n), atol=1e-8
    )
    assert sum(asked) <= 2**n


def test_kernel_shap_with_all_coalitions_of_superpixels_is_exact():
    image = tiles(2, 3, 20)
    segments = superpixels(image)

    def model(images):
        grain = np.abs(np.diff(images.astype(float), axis=2)).mean(axis=(1, 3)) / 10
        left, right = grain[:, :30].mean(axis=1), grain[:, 30:].mean(axis=1)
        return np.stack([left * right, 1 - left * right], axis=1)

    game = MaskedModel(Asked(model, [0]), image, segments, PACKAGE.hide_color)
    assert 4 <= game.n <= 8
    truth = attribute("shapley", game.value, game.n)
    np.testing.assert_allclose(
        explain("shap", model, image, 0, 2**game.n), truth[segments], atol=1e-6
    )
    whole, nothing = model(np.stack([image, game.hidden]))[:, 0]
    assert truth.sum() == pytest.approx(whole - nothing)
    assert np.ptp(truth) > 0.01


def test_kernel_shap_with_few_coalitions_comes_near_and_keeps_all_features():
    weights = np.random.default_rng(1).normal(size=30)
    value = lambda kept: kept @ weights + 0.3 * kept[:, 0] * kept[:, 1]  # noqa: E731
    expected = weights + 0.15 * (np.arange(30) < 2)
    got = attribute("shap", value, 30, 300)
    np.testing.assert_allclose(got, expected, atol=0.05)
    assert np.count_nonzero(got) == 30


def test_kernel_shap_leaves_numpys_global_state_alone(capfd):
    np.random.seed(5)
    expected = np.random.random(3)
    np.random.seed(5)
    first = attribute("shap", drawn(10), 10, 100, seed=1)
    np.testing.assert_array_equal(np.random.random(3), expected)
    np.testing.assert_array_equal(attribute("shap", drawn(10), 10, 100, seed=1), first)
    assert capfd.readouterr() == ("", "")  # nor does it draw a bar


def test_exact_shapley_is_the_mean_over_all_orders():
    value = drawn(4)
    expected = np.zeros(4)
    for order in itertools.permutations(range(4)):
        kept = np.zeros((1, 4), int)
        for feature in order:
            before = value(kept)[0]
            kept[0, feature] = 1
            expected[feature] += (value(kept)[0] - before) / math.factorial(4)
    np.testing.assert_allclose(attribute("shapley", value, 4), expected)


def test_exact_shapley_in_closed_form():
    all_needed = lambda kept: kept[:, :3].prod(axis=1)  # noqa: E731
    np.testing.assert_allclose(
        attribute("shapley", all_needed, 12), [1 / 3] * 3 + [0] * 9, atol=1e-12
    )
    largest = lambda kept: (kept * [1, 2, 4]).max(axis=1)  # noqa: E731
    # The airport game: each step is shared by those who need it.
    np.testing.assert_allclose(
        attribute("shapley", largest, 3), [1 / 3, 1 / 3 + 1 / 2, 1 / 3 + 1 / 2 + 2]
    )


def test_exact_shapley_refuses_too_many_features():
    with pytest.raises(ValueError, match="at most 12 superpixels, got 14"):
        attribute("shapley", lambda kept: pytest.fail("asked"), 14)


def test_a_linear_model_gives_lime_its_weights():
    weights = np.random.default_rng(0).normal(size=12)
    np.testing.assert_allclose(
        attribute("lime", lambda kept: 0.5 + kept @ weights, 12, 3000), weights, atol=0.02
    )


def test_occlusion_on_a_game_is_the_loss_of_each_feature():
    value = drawn(5)
    whole = np.ones((1, 5), int)
    expected = [
        value(whole)[0] - value(whole - np.eye(5, dtype=int)[[feature]])[0] for feature in range(5)
    ]
    np.testing.assert_allclose(attribute("occlusion", value, 5), expected)


def test_occlusion_in_closed_form():
    """A linear model loses, under a window, what its weights say; the mean over windows follows."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    weights = rng.normal(size=(12, 16)) / 1e4
    model = lambda images: np.stack([(images * weights[..., None]).sum((1, 2, 3))] * 2, axis=1)  # noqa: E731
    loss = ((image - np.round(image.mean((0, 1)))) * weights[..., None]).sum(-1)
    corners, (height, width) = _windows((12, 16), 49)
    assert (height, width) == (3, 4) and len(corners) == 48
    total, count = np.zeros((2, 12, 16))
    for y, x in np.ndindex(12, 16):
        for top, left in corners:
            if top <= y < top + height and left <= x < left + width:
                total[y, x] += loss[top : top + height, left : left + width].sum()
                count[y, x] += 1
    np.testing.assert_allclose(explain("occlusion", model, image, 0, 50), total / count, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 5), (227, 227), (40, 90), (90, 7), (3, 300)])
@pytest.mark.parametrize("most", [1, 2, 3, 10, 99, 1000])
def test_windows_cover_every_pixel(shape, most):
    corners, (height, width) = _windows(shape, most)
    covered = np.zeros(shape, bool)
    for top, left in corners:
        assert 0 <= top <= shape[0] - height and 0 <= left <= shape[1] - width
        covered[top : top + height, left : left + width] = True
    assert covered.all() and len(set(corners)) == len(corners) <= most


@pytest.mark.parametrize("method, estimator", [("rise", "regression"), ("rise_average", "average")])
def test_rise_is_rises_own(image, method, estimator):
    expected = Rise(Square(), nb_samples=60, seed=3, estimator=estimator).explain_classes(
        image, [1]
    )[0]
    np.testing.assert_allclose(explain(method, Square(), image, 1, 60, seed=3), expected, atol=1e-6)


def test_rise_on_a_game_is_the_mean_value_given_that_a_feature_is_kept():
    value, kept = drawn(4), np.array(list(itertools.product((0, 1), repeat=4)))
    expected = [value(kept[kept[:, feature] == 1]).mean() for feature in range(4)]
    for method in ("rise", "rise_average"):
        np.testing.assert_allclose(attribute(method, value, 4, 2**15), expected, atol=0.05)


def test_baselines():
    image = np.full((40, 60, 3), 100, np.uint8)
    image[:, 30:] = 200
    centre, edges, noise = (
        explain(method, None, image, 0, 1) for method in ("centre", "edges", "random")
    )
    assert centre[19:21, 29:31].min() == centre.max()
    np.testing.assert_allclose(centre, centre[::-1, ::-1])
    # A quarter of the picture's width from the middle is one standard deviation.
    assert centre[20, 45] / centre[20, 30] == pytest.approx(np.exp(-0.5), rel=0.05)
    assert set(edges.argmax(axis=1)) <= {29, 30} and edges[:, :10].max() < 1e-3 * edges.max()
    assert noise.mean() == pytest.approx(0.5, abs=0.05)
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(
    "changed, error, message",
    [
        ({"method": "grad-cam"}, ValueError, "'grad-cam': expected one of lime, rise"),
        ({"image": np.zeros((8, 8, 3))}, ValueError, "uint8"),
        ({"image": np.zeros((8, 8), np.uint8)}, ValueError, r"\(8, 8\)"),
        ({"label": -1}, ValueError, "label must be at least 0, got -1"),
        ({"label": 1.0}, TypeError, "label must be an integer, got 1.0"),
        ({"budget": 0}, ValueError, "budget must be at least 1, got 0"),
        ({"budget": 1e3}, TypeError, "budget must be an integer"),
        ({"seed": -1}, ValueError, "seed"),
        (
            {"method": "lime", "budget": 20},
            ValueError,
            r"at least 21 model calls for lime .*got 20",
        ),
        (
            {"method": "shap", "budget": 81},
            ValueError,
            r"at least 82 model calls for shap .*got 81",
        ),
        ({"method": "rise", "budget": 1}, ValueError, "at least 2 model calls for rise"),
        ({"method": "occlusion", "budget": 1}, ValueError, "at least 2 model calls for occlusion"),
    ],
)
def test_bad_input_costs_no_call(image, changed, error, message):
    model = Square()
    arguments = {
        "method": "occlusion",
        "black_box": model,
        "image": image,
        "label": 1,
        "budget": 100,
    } | changed
    with pytest.raises(error, match=message):
        explain(**arguments)
    assert model.calls == 0


@pytest.mark.parametrize("method", ASKING)
def test_bad_answers(image, method):
    with pytest.raises(ValueError, match="class.* from 0 to 1, got 2"):
        explain(method, Square(), image, 2, 100)
    with pytest.raises(ValueError, match="n_classes"):
        explain(method, lambda images: np.zeros(len(images)), image, 0, 100)
    with pytest.raises(ValueError, match="finite"):
        explain(method, lambda images: np.full((len(images), 2), np.nan), image, 0, 100)


@pytest.mark.parametrize(
    "method, least",
    [("lime", 21), ("shap", 82), ("rise", 2), ("rise_average", 1), ("occlusion", 2)],
)
def test_least_budgets_are_enough(image, method, least):
    model = Square()
    assert np.isfinite(explain(method, model, image, 1, least)).all()
    assert model.calls <= least
