import numpy as np
import pytest

from lab.networks import asking, blackbox
from lab.networks.classes import class_name
from lab.networks.loading import load


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """What an earlier run kept may differ in the last digit: TensorFlow adds in another order on other threads."""
    monkeypatch.setattr(asking, "_on_disk", asking._open(tmp_path / "cache"))


@pytest.fixture(scope="module")
def efficientnet():
    return load("efficientnet_lite0", batch_size=4)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (6, 224, 224, 3), np.uint8)


@pytest.mark.parametrize("n", [0, 1, 4, 6])
def test_any_number_of_pictures(efficientnet, noise, n):
    probabilities = efficientnet(noise[:n])
    assert probabilities.shape == (n, 1000) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_batching_and_dtype_change_nothing_and_the_graph_is_traced_once(efficientnet, noise):
    at_once = load("efficientnet_lite0", batch_size=6)
    expected = at_once(noise)
    for images in (noise, noise.astype(np.float32), noise.astype(np.float64)):
        np.testing.assert_allclose(efficientnet(images), expected, atol=1e-6)
    np.testing.assert_allclose(efficientnet(noise[:3]), expected[:3], atol=1e-6)
    assert efficientnet._predict.experimental_get_tracing_count() == 1


def test_black_is_a_legitimate_picture(efficientnet):
    assert np.isfinite(efficientnet(np.zeros((2, 224, 224, 3)))).all()


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((224, 224, 3)), r"shape \(N, 224, 224, 3\), got \(224, 224, 3\)"),
        (np.zeros((1, 299, 299, 3)), r"got \(1, 299, 299, 3\)"),
        (np.zeros((1, 224, 224, 1)), r"got \(1, 224, 224, 1\)"),
        (np.full((1, 224, 224, 3), -1.0), r"\[0, 255\], got values from -1"),
        (np.full((1, 224, 224, 3), 256), r"\[0, 255\], got values from 256"),
        (np.full((1, 224, 224, 3), np.nan), "got values from nan"),
        (np.full((1, 224, 224, 3), np.inf), "got values from inf"),
        (np.full((1, 224, 224, 3), "a"), "got an array of <U1"),
    ],
)
def test_bad_pictures_get_one_clear_error(efficientnet, images, message):
    with pytest.raises(ValueError, match=message):
        efficientnet(images)


def test_one_bad_value_among_many_is_found(efficientnet, noise):
    images = noise.astype(np.float32)
    images[5, 100, 100, 1] = np.nan
    with pytest.raises(ValueError, match="nan"):
        efficientnet(images)


def test_top_is_sorted_and_agrees_with_the_call(efficientnet, noise):
    top = efficientnet.top(noise[0], k=5)
    probabilities = efficientnet(noise[:1])[0]
    assert [p for _, _, p in top] == sorted(probabilities, reverse=True)[:5]
    assert all(name == class_name(i) and p == probabilities[i] for i, name, p in top)


def test_top_asks_about_a_picture_once(efficientnet, noise, monkeypatch):
    first = efficientnet.top(noise[1])
    monkeypatch.setattr(blackbox.BlackBox, "__call__", lambda *_: pytest.fail("asked twice"))
    assert efficientnet.top(noise[1]) == first and len(first) == 3


def test_randomized_layers_forget(noise):
    black_box = load("squeezenet", batch_size=2)
    black_box.stands_in_for = "ResNet50"
    pictures = np.resize(noise, (2, 227, 227, 3))
    before, fingerprint = black_box(pictures), black_box.fingerprint
    top, again, other, whole = (
        black_box.randomized(*arguments) for arguments in ((1,), (1,), (1, 1), (26,))
    )
    assert black_box.n_layers == whole.n_layers == 26
    assert (top.name, whole.name) == (
        "SqueezeNet 1.1, top layer random",
        "SqueezeNet 1.1, top 26 layers random",
    )
    assert (top.input_size, top.batch_size, top.stands_in_for) == (227, 2, "ResNet50")
    assert (
        top.fingerprint == again.fingerprint
        and len({fingerprint, *(b.fingerprint for b in (top, other, whole))}) == 4
    )
    answers = {b.fingerprint: b(pictures) for b in (top, other, whole)}
    for one in answers.values():
        np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-5)
        assert np.abs(one - before).max() > 1e-3
    np.testing.assert_array_equal(black_box(pictures), before)


def test_randomizing_cascades_from_the_top_and_keeps_the_numbers():
    black_box = load("squeezenet")
    original = black_box._network.get_weights()
    one, three = (black_box.randomized(layers)._network.get_weights() for layers in (1, 3))
    same = [np.array_equal(a, b) for a, b in zip(original, three)]
    assert all(same[:-6]) and not any(same[-6:])  # a kernel and a bias each
    assert all(np.array_equal(a, b) for a, b in zip(one[-2:], three[-2:]))
    assert all(
        np.array_equal(np.sort(a, axis=None), np.sort(b, axis=None))
        for a, b in zip(original, three)
    )


@pytest.mark.parametrize("layers", [0, -1, 27, 1.5, True])
def test_randomizing_no_or_too_many_layers_is_refused(layers):
    with pytest.raises(
        ValueError, match=f"from 1 to the 26 layers of SqueezeNet 1.1, got {layers}"
    ):
        load("squeezenet").randomized(layers)
