import dataclasses

import numpy as np
import pytest
import sklearn.metrics
from lime.lime_image import LimeImageExplainer

from lab.explain.masked_model import superpixels
from lab.explain.lime import (
    KEPT_CLASSES,
    leading_classes,
    lime_explanation,
    lime_explanations,
    locality,
    perturbations,
)
from lab.explain.setting import Setting
from lab.networks import asking
from lab.networks.asking import CHUNK
from cheap import Network, Places, tiles


@pytest.fixture(scope="module")
def image():
    return tiles()


def package(image, setting, model):
    """What the `lime` package itself makes of a picture."""
    return LimeImageExplainer(
        kernel_width=setting.kernel_width, random_state=setting.seed
    ).explain_instance(
        image,
        model,
        top_labels=setting.top_labels,
        hide_color=setting.hide_color,
        num_features=setting.num_lime_features,
        num_samples=setting.num_samples,
    )


@pytest.mark.parametrize(
    "setting",
    [
        Setting(num_samples=300),
        Setting(num_samples=777, hide_color=None, seed=3),
        Setting(num_samples=500, hide_color=(0, 200, 10), top_labels=3, seed=1),
        Setting(num_samples=300, num_lime_features=4, num_superpixels=3, kernel_width=0.1),
        Setting(num_samples=300, num_lime_features=10, positive_only=False, hide_rest=False),
    ],
)
def test_weights_are_the_packages_to_the_last_bit(image, setting):
    model = Places()
    expected, got = package(image, setting, model), lime_explanation(model, image, setting)
    assert got.package.top_labels == expected.top_labels and got.label == expected.top_labels[0]
    np.testing.assert_array_equal(got.game.segments, expected.segments)
    for label in expected.top_labels:
        assert got.package.local_exp[label] == expected.local_exp[label]
        assert got.package.intercept[label] == expected.intercept[label]
    assert dict(enumerate(got.weights)) == dict.fromkeys(range(got.game.n), 0) | dict(
        expected.local_exp[got.label]
    )
    assert got.intercept == expected.intercept[got.label]
    picture, mask = expected.get_image_and_mask(
        got.label,
        setting.positive_only,
        setting.negative_only,
        setting.hide_rest,
        setting.num_superpixels,
    )
    np.testing.assert_array_equal(got.rendering, picture)
    np.testing.assert_array_equal(got.shown, mask != 0)


def test_weights_are_the_packages_with_a_thousand_classes():
    image, model, setting = tiles(4, 4), Network(), Setting(num_samples=200, top_labels=2)
    expected, got = package(image, setting, model), lime_explanation(model, image, setting)
    assert got.package.top_labels == expected.top_labels
    for label in expected.top_labels:
        np.testing.assert_allclose(
            np.array(sorted(got.package.local_exp[label])),
            np.array(sorted(expected.local_exp[label])),
            atol=1e-6,
        )


def test_a_class_that_is_not_among_the_leading_ones(image):
    model, setting = Places(), Setting(num_samples=300, seed=2)
    last = int(np.argmin(model(image[None])[0]))
    everything = package(image, dataclasses.replace(setting, top_labels=4), model)
    got = lime_explanation(model, image, setting, label=last)
    assert got.label == last
    np.testing.assert_allclose(
        got.weights[[s for s, _ in everything.local_exp[last]]],
        [w for _, w in everything.local_exp[last]],
        atol=1e-6,
    )


def test_the_leading_classes_are_kept_and_the_one_asked_for():
    image, model = tiles(4, 4), Network()
    order = np.argsort(-model(image[None])[0], kind="stable")
    asked = leading_classes(model, image, int(order[-1]))
    assert asked.classes == [*order[:KEPT_CLASSES], order[-1]]
    np.testing.assert_array_equal(asked(image[None]), model(image[None])[:, asked.classes])
    assert (
        leading_classes(model, image, int(order[3])).classes
        == leading_classes(model, image).classes
        == list(order[:KEPT_CLASSES])
    )
    weights = lime_explanation(model, image, Setting(num_samples=100), int(order[-1])).weights
    only = lime_explanation(
        lambda pictures: model(pictures)[:, order[-1:]], image, Setting(num_samples=100)
    ).weights
    np.testing.assert_allclose(weights, only, atol=1e-9)


def test_what_an_explanation_holds(image):
    got = lime_explanation(Places(), image, Setting(num_samples=300, num_superpixels=4, seed=5))
    np.testing.assert_array_equal(got.kept, perturbations(got.game.n, 300, 5))
    np.testing.assert_allclose(
        got.probability, Places()(got.game.pictures(got.kept))[:, got.label], atol=1e-12
    )
    assert got.saliency.dtype == np.float32 and got.saliency.shape == image.shape[:2]
    for superpixel, weight in enumerate(got.weights):
        there = got.game.segments == superpixel
        assert (got.saliency[there] == np.float32(weight)).all() and (
            got.shown[there] == got.chosen[superpixel]
        ).all()
    assert set(np.flatnonzero(got.chosen)) == {
        s for s in np.argsort(-got.weights)[:4] if got.weights[s] > 0
    }


def test_a_linear_model_is_explained_perfectly(image):
    segments = superpixels(image)
    truth = np.random.default_rng(0).normal(size=segments.max() + 1)
    at = [np.argwhere(segments == i)[0] for i in range(len(truth))]

    def linear(images):
        # No colour of the picture is 0, so that black means hidden.
        score = sum(t * (images[:, y, x, 0] > 0) for t, (y, x) in zip(truth, at)) / 100 + 0.5
        return np.stack([score, 1 - score], axis=1)

    got = lime_explanation(linear, image, Setting(num_samples=3000), label=0)
    np.testing.assert_allclose(got.weights, truth / 100, atol=1e-4)
    assert got.chosen.sum() == min(15, (truth > 0).sum())
    assert set(np.flatnonzero(got.chosen)) == set(np.argsort(-truth)[: got.chosen.sum()])
    balanced = lime_explanation(
        linear, image, Setting(num_samples=3000, sampling="balanced"), label=0
    )
    np.testing.assert_allclose(balanced.weights, truth / 100, atol=1e-3)


def test_locality_is_the_packages_kernel_of_the_cosine_distance():
    kept = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0]])
    distance = sklearn.metrics.pairwise_distances(kept, kept[:1], metric="cosine").ravel()
    expected = LimeImageExplainer(kernel_width=0.3).base.kernel_fn(distance)
    np.testing.assert_allclose(locality(kept, Setting(kernel_width=0.3)), expected)
    assert (locality(kept, Setting(sampling="balanced")) == 1).all()


@pytest.mark.parametrize("sampling", ["lime", "balanced"])
def test_a_shorter_draw_is_the_beginning_of_a_longer_one(sampling):
    longer = perturbations(17, 81, 4, sampling)
    assert longer.shape == (81, 17) and longer[0].all() and set(np.unique(longer)) == {0, 1}
    for n in (1, 13, 80):
        np.testing.assert_array_equal(perturbations(17, n, 4, sampling), longer[:n])
    assert (perturbations(17, 81, 5, sampling) != longer).any()


def test_balanced_sampling_hides_every_superpixel_once_a_block():
    kept = perturbations(17, 81, seed=4, sampling="balanced")
    np.testing.assert_array_equal((1 - kept[1:]).reshape(8, 10, 17).sum(axis=1), 1)
    hidden = (1 - kept[1:]).sum(axis=1)
    assert set(hidden) == {1, 2}  # 17 superpixels in blocks of ten
    # Which superpixels are hidden together is random: every pair meets about equally often.
    many = 1 - perturbations(17, 20001, 0, "balanced")[1:]
    together = (many.T @ many)[np.triu_indices(17, 1)] / 2000
    expected = np.mean(hidden * (hidden - 1)) * 10 / (17 * 16)
    np.testing.assert_allclose(together, expected, atol=5 * np.sqrt(expected / 2000))


def test_model_calls_are_shared_between_settings(image):
    settings = {
        "short": Setting(num_samples=300, num_superpixels=3),
        "long": Setting(num_samples=600),
        "three classes": Setting(num_samples=500, top_labels=3),
        "white": Setting(num_samples=250, hide_color=(255, 255, 255)),
    }
    model = Places()
    together = lime_explanations(model, image, settings)
    assert list(together) == list(settings)
    assert model.calls == 1 + 600 + 250 and max(model.batches) == model.batch_size
    for name, setting in settings.items():
        apart = lime_explanation(Places(batch_size=7), image, setting)
        assert together[name].setting == setting and len(together[name].kept) == setting.num_samples
        np.testing.assert_allclose(together[name].weights, apart.weights, atol=1e-12)
        np.testing.assert_array_equal(together[name].rendering, apart.rendering)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"superpixel_size": 8}, {"sampling": "balanced"}, {"hide_color": None}]
)
def test_what_makes_other_pictures_is_asked_anew(image, change):
    model, setting = Places(), Setting(num_samples=250)
    lime_explanations(model, image, {"a": setting, "b": dataclasses.replace(setting, **change)})
    assert model.calls == 1 + 2 * 250


def test_answers_are_kept_on_disk_and_interrupted_work_goes_on(image, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "_on_disk", asking._open(tmp_path / "cache"))
    model, setting = Places(), Setting(num_samples=1000)
    model.fingerprint = "a model of this test"

    class Interrupted(Exception):
        pass

    def stop_after_two(chunks):
        for n, chunk in enumerate(chunks):
            if n == 2:
                raise Interrupted
            yield chunk

    with pytest.raises(Interrupted):
        lime_explanation(model, image, setting, progress=stop_after_two)
    assert model.calls == 1 + 2 * CHUNK
    first = lime_explanation(model, image, setting)
    assert model.calls == 1 + 1000
    again = lime_explanation(model, image, setting)
    shorter = lime_explanation(
        model, image, dataclasses.replace(setting, num_samples=2 * CHUNK, num_superpixels=4)
    )
    assert model.calls == 1 + 1000
    np.testing.assert_array_equal(first.weights, again.weights)
    np.testing.assert_array_equal(shorter.probability, first.probability[: 2 * CHUNK])


def test_bad_input_is_refused_before_the_perturbations_are_predicted(image):
    model = Places()
    for arguments, message in [
        ((image / 255, Setting()), "uint8"),
        ((image[..., 0], Setting()), "H, W, 3"),
        ((image, Setting(top_labels=5)), "top_labels must be at most 4 here, got 5"),
        ((image, Setting(), 4), "class to explain must be from 0 to 3, got 4"),
        ((image, Setting(), -1), "class to explain must be from 0 to 3, got -1"),
        ((image, Setting(num_samples=18)), r"number of superpixels \(19\), got 18"),
    ]:
        with pytest.raises(ValueError, match=message):
            lime_explanation(model, *arguments)
    for settings in ({"a": 1}, [Setting()], {"a": None}):
        with pytest.raises(TypeError, match="dict of names and Setting, got"):
            lime_explanations(model, image, settings)
    assert model.calls <= 5 + 2 * asking.BATCH
    with pytest.raises(ValueError, match="n_classes"):
        lime_explanation(lambda images: np.zeros(len(images)), image, Setting())
    with pytest.raises(ValueError, match="finite"):
        lime_explanation(lambda images: np.full((len(images), 2), np.nan), image, Setting())
