import numpy as np
import pytest

from lab.networks import blackbox, prediction_cache
from lab.networks.classes import class_name
from lab.networks.loading import load


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (6, 224, 224, 3), np.uint8)


@pytest.fixture
def efficientnet():
    return load("efficientnet_lite0", batch_size=4)


@pytest.mark.parametrize("n", [0, 1, 4, 6])
def test_any_number_of_images(efficientnet, noise, n):
    probabilities = efficientnet(noise[:n])
    assert probabilities.shape == (n, 1000) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_types_of_numbers_change_nothing_and_images_stay_as_they_are(efficientnet, noise):
    expected = efficientnet(noise)
    for dtype in (np.float32, np.float64, int):
        images = noise.astype(dtype)
        np.testing.assert_array_equal(efficientnet(images), expected)
        np.testing.assert_array_equal(images, noise)


def test_predictions_outlive_the_process(noise, monkeypatch):
    expected = load("efficientnet_lite0")(noise)
    prediction_cache._open.cache_clear()
    monkeypatch.setattr(blackbox.runtimes, "OpenVino", lambda _: None)  # would not predict
    np.testing.assert_array_equal(load("efficientnet_lite0")(noise), expected)
    with pytest.raises(TypeError):
        load("efficientnet_lite0", cache=False)(noise)


def test_interrupted_work_loses_one_batch_at_most(efficientnet, noise, monkeypatch):
    predicted = []

    def interrupted(images):
        if predicted:
            raise KeyboardInterrupt
        predicted.extend(images)
        return np.full((len(images), 1000), 1e-3, np.float32)

    monkeypatch.setattr(efficientnet._predict, "_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        efficientnet(noise)
    assert len(predicted) == 4
    np.testing.assert_array_equal(efficientnet(noise[:4]), np.float32(1e-3))


ONE_NAN = np.zeros((6, 224, 224, 3))
ONE_NAN[5, 100, 100, 1] = np.nan


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((224, 224, 3)), r"shape \(N, 224, 224, 3\), got \(224, 224, 3\)"),
        (np.zeros((1, 224, 224, 1)), r"got \(1, 224, 224, 1\)"),
        (np.full((1, 224, 224, 3), -1.0), r"\[0, 255\], got values from -1"),
        (np.full((1, 224, 224, 3), 256), r"\[0, 255\], got values from 256"),
        (ONE_NAN, "got values from nan"),
        (np.full((1, 224, 224, 3), np.inf), "got values from inf"),
        (np.full((1, 224, 224, 3), "a"), "got an array of <U1"),
    ],
)
def test_bad_images_get_one_clear_error(efficientnet, images, message):
    with pytest.raises(ValueError, match=message):
        efficientnet(images)


def test_images_in_0_to_1_get_a_hint(efficientnet, noise, capsys):
    efficientnet(noise[:1] / 255), efficientnet(noise[:1] / np.float32(255))
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "largest of these images is 1" in printed
    for dark in (noise[:1] // 255, np.zeros((1, 224, 224, 3)), noise[:1] / 200):
        efficientnet(dark)
    assert capsys.readouterr().out == ""


def test_a_network_with_another_number_of_classes_than_it_said_is_refused(efficientnet, noise):
    efficientnet._predict = lambda images: np.ones((len(images), 1), np.float32)
    with pytest.raises(ValueError, match=r"has 1000 classes, and returned .* \(2, 1\) for 2"):
        efficientnet(noise[:2])


def test_top_is_sorted_and_agrees_with_the_call(efficientnet, noise):
    top = efficientnet.top(noise[0], k=5)
    probabilities = efficientnet(noise[:1])[0]
    assert [p for _, _, p in top] == sorted(probabilities, reverse=True)[:5]
    assert all(name == class_name(i) and p == probabilities[i] for i, name, p in top)


def test_randomized_layers_predict_something_else(noise):
    black_box = load("squeezenet", batch_size=2)
    black_box.stands_in_for = "ResNet50"
    images = np.resize(noise, (2, 227, 227, 3))
    before = black_box(images)
    top, again, whole = (black_box.randomized(layers) for layers in (1, 1, 26))
    assert black_box.n_layers == whole.n_layers == 26
    assert top.name == "SqueezeNet 1.1, top layer random"
    assert whole.name == "SqueezeNet 1.1, top 26 layers random"
    assert (top.input_size, top.batch_size, top.stands_in_for) == (227, 2, "ResNet50")
    assert top.runtime == black_box.runtime and top.fingerprint == again.fingerprint
    assert len({one.fingerprint for one in (black_box, top, whole)}) == 3
    for copy in (top, whole):
        expected = np.asarray(copy.keras_model(copy.preprocessed(images), training=False))
        np.testing.assert_allclose(copy(images), expected, atol=5e-6)
        assert np.abs(copy(images) - before).max() > 1e-3
    np.testing.assert_array_equal(load("squeezenet", cache=False)(images), before)


def test_randomizing_cascades_from_the_top_and_permutes_weights():
    black_box = load("squeezenet")
    original = black_box.keras_model.get_weights()
    one, three = (black_box.randomized(layers).keras_model.get_weights() for layers in (1, 3))
    same = [np.array_equal(a, b) for a, b in zip(original, three)]
    assert all(same[:-6]) and not any(same[-6:])  # a kernel and a bias each
    assert all(np.array_equal(a, b) for a, b in zip(one[-2:], three[-2:]))
    for before, after in zip(original, three):
        np.testing.assert_array_equal(np.sort(before, axis=None), np.sort(after, axis=None))
    for layers in (0, 27, 1.5, True):
        with pytest.raises(ValueError, match=f"from 1 to the 26 layers of .*, got {layers}"):
            black_box.randomized(layers)
