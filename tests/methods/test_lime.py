import numpy as np
import pytest
from cheap import Network, Places, tiles
from counting import forbidden
from lime.lime_image import LimeImageExplainer
from sklearn.metrics import r2_score

from lab.methods.lime import lime_explanation, lime_explanations, locality, perturbations
from lab.methods.masked_model import blurred, superpixels
from lab.methods.setting import Setting

IMAGE = tiles()


def package(image, setting, model, **classes):
    """The `lime` package's own explanation."""
    blur = blurred(image) if setting.hide_color == "blur" else setting.hide_color
    explainer = LimeImageExplainer(kernel_width=setting.kernel_width, random_state=setting.seed)
    return explainer.explain_instance(
        image,
        model,
        **{"top_labels": setting.top_labels} | classes,
        hide_color=blur,
        num_features=setting.num_lime_features,
        num_samples=setting.num_samples,
        batch_size=32,  # as the lab's, since float32 networks round differently in others
    )


@pytest.mark.parametrize(
    "setting",
    [
        Setting(num_samples=300),
        Setting(num_samples=777, hide_color=None, seed=3),
        Setting(num_samples=300, hide_color="blur", seed=3),
        Setting(num_samples=500, hide_color=(0, 200, 10), top_labels=3, seed=1),
        Setting(num_samples=300, num_lime_features=4, num_superpixels=3, kernel_width=0.1),
        Setting(num_samples=300, num_lime_features=10, positive_only=False, hide_rest=False),
    ],
)
def test_weights_are_the_packages_to_the_last_bit(setting):
    model = Places()
    expected, got = package(IMAGE, setting, model), lime_explanation(model, IMAGE, setting)
    assert got.package.top_labels == expected.top_labels and got.label == expected.top_labels[0]
    for label in expected.top_labels:
        assert got.package.local_exp[label] == expected.local_exp[label]
        assert got.package.intercept[label] == expected.intercept[label]
    weights = dict.fromkeys(range(19), 0) | dict(expected.local_exp[got.label])
    assert dict(enumerate(got.weights)) == weights
    assert got.intercept == expected.intercept[got.label]
    how = setting.positive_only, setting.negative_only, setting.hide_rest
    rendering, mask = expected.get_image_and_mask(got.label, *how, setting.num_superpixels)
    np.testing.assert_array_equal(got.rendering, rendering)
    np.testing.assert_array_equal(got.shown, mask != 0)


def test_weights_are_the_packages_with_a_thousand_classes_and_for_any_of_them():
    image, model = tiles(4, 4), Network()
    last = int(np.argmin(model(image[None])[0]))
    for label in (None, last, 101):
        setting = Setting(num_samples=200, top_labels=2)
        classes = {} if label is None else {"top_labels": None, "labels": [label]}
        expected = package(image, setting, model, **classes)
        got = lime_explanation(model, image, setting, label)
        assert label is None or got.label == label
        for explained in expected.local_exp:
            assert got.package.local_exp[explained] == expected.local_exp[explained]


@pytest.mark.parametrize(
    "n_classes, leading", [(50, [3]), (51, [3]), (100, [3]), (100, [70, 71, 0, 1])]
)
def test_classes_that_are_not_predicted_are_never_the_best(n_classes, leading):
    """Nor where scores are negative, such as log-probabilities and logits."""

    def model(images):
        scores = -2.0 - np.arange(n_classes) / n_classes
        scores[leading] = [1.0, 0.5, -0.1, -0.2][: len(leading)]
        return scores * np.asarray(images, float).mean(axis=(1, 2, 3))[:, None]

    setting = Setting(num_samples=300, top_labels=len(leading))
    expected, got = package(IMAGE, setting, model), lime_explanation(model, IMAGE, setting)
    assert got.package.top_labels == expected.top_labels == leading and got.label == leading[0]
    assert got.package.local_exp == expected.local_exp and got.weights.any()


def test_r2_is_the_explained_classs_own():
    """The package's `score` is that of the last class in a list of them."""
    model, setting = Places(), Setting(num_samples=300, top_labels=3)
    got = lime_explanation(model, IMAGE, setting)
    first, *_, last = got.package.top_labels
    alone = package(IMAGE, setting, model, top_labels=None, labels=[first])
    several = package(IMAGE, setting, model, top_labels=None, labels=[first, last])
    assert got.r2 == got.package.score == alone.score != several.score
    assert got.package.local_pred == alone.local_pred
    linear = got.intercept + got.coalitions @ got.weights
    weights = locality(got.coalitions, setting)
    assert got.r2 == pytest.approx(r2_score(got.probability, linear, sample_weight=weights))


def test_what_an_explanation_holds():
    got = lime_explanation(Places(), IMAGE, Setting(num_samples=300, num_superpixels=4, seed=5))
    masked = got.masked_model
    np.testing.assert_array_equal(got.coalitions, perturbations(masked.n, 300, 5))
    probability = Places()(masked.images(got.coalitions))[:, got.label]
    np.testing.assert_array_equal(got.probability, probability)
    assert got.probability.base is None  # not a view of all classes
    np.testing.assert_array_equal(got.saliency, np.float32(got.weights)[masked.segments])
    np.testing.assert_array_equal(got.shown, got.chosen[masked.segments])
    assert set(np.flatnonzero(got.chosen)) <= set(np.argsort(-got.weights)[:4])


def test_a_linear_model_is_explained_perfectly():
    segments = superpixels(IMAGE)
    truth = np.random.default_rng(0).normal(size=segments.max() + 1)
    at = [np.argwhere(segments == i)[0] for i in range(len(truth))]

    def linear(images):
        # No colour of the image is 0, so black means hidden.
        score = sum(t * (images[:, y, x, 0] > 0) for t, (y, x) in zip(truth, at)) / 100 + 0.5
        return np.stack([score, 1 - score], axis=1)

    got = lime_explanation(linear, IMAGE, Setting(num_samples=3000), label=0)
    np.testing.assert_allclose(got.weights, truth / 100, atol=1e-4)
    assert set(np.flatnonzero(got.chosen)) == set(np.argsort(-truth)[: (truth > 0).sum()][:15])
    balanced = lime_explanation(linear, IMAGE, Setting(num_samples=3000, sampling="balanced"), 0)
    np.testing.assert_allclose(balanced.weights, truth / 100, atol=1e-3)


@pytest.mark.parametrize("sampling", ["lime", "balanced"])
def test_a_shorter_draw_is_the_beginning_of_a_longer_one(sampling):
    longer = perturbations(17, 81, 4, sampling)
    assert longer.shape == (81, 17) and longer[0].all() and set(np.unique(longer)) == {0, 1}
    np.testing.assert_array_equal(perturbations(17, 13, 4, sampling), longer[:13])
    assert (perturbations(17, 81, 5, sampling) != longer).any()


def test_balanced_sampling_hides_every_superpixel_once_a_block():
    hidden = 1 - perturbations(17, 20001, 0, "balanced")[1:]
    np.testing.assert_array_equal(hidden.reshape(2000, 10, 17).sum(axis=1), 1)
    assert set(hidden.sum(axis=1)) == {1, 2}  # 17 superpixels in blocks of ten
    # Every pair is hidden together about equally often.
    together = (hidden.T @ hidden)[np.triu_indices(17, 1)] / 2000
    expected = 14 / (17 * 16)  # seven pairs a block
    np.testing.assert_allclose(together, expected, atol=5 * np.sqrt(expected / 2000))


def test_model_calls_are_shared_between_settings():
    settings = {
        "short": Setting(num_samples=300, num_superpixels=3),
        "long": Setting(num_samples=600),
        "three classes": Setting(num_samples=500, top_labels=3),
        "white": Setting(num_samples=250, hide_color="white"),
        "seed": Setting(num_samples=250, seed=1),
        "size": Setting(num_samples=250, superpixel_size=8),
        "balanced": Setting(num_samples=250, sampling="balanced"),
    }
    model = Places()
    together = lime_explanations(model, IMAGE, settings)
    assert list(together) == list(settings)
    assert model.calls == 1 + 600 + 4 * 250 and max(model.batches) == model.batch_size
    for name, setting in settings.items():
        apart = lime_explanation(Places(batch_size=7), IMAGE, setting)
        assert together[name].setting == setting
        np.testing.assert_allclose(together[name].weights, apart.weights, atol=1e-12)
        np.testing.assert_array_equal(together[name].rendering, apart.rendering)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"setting": Setting(num_samples=18)}, r"number of superpixels \(19\), got 18"),
        ({"setting": 1}, "dict of names and Setting, got"),
        *(({"label": label}, "label must be an integer") for label in (1.0, "0", True, [0, 1])),
    ],
)
def test_bad_arguments_cost_no_model_call(changed, message):
    arguments = {"black_box": forbidden, "image": IMAGE, "setting": Setting()} | changed
    with pytest.raises((TypeError, ValueError), match=message):
        lime_explanation(**arguments)


def test_what_only_the_model_can_tell_is_named():
    for arguments, message in (
        ((Setting(), 4), "label must be at most 3, got 4"),
        ((Setting(top_labels=5),), "top_labels must be at most 4, got 5"),
    ):
        model = Places()
        with pytest.raises(ValueError, match=message):
            lime_explanation(model, IMAGE, *arguments)
        assert model.calls == 1
