import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from lab import blackbox
from lab.imagenet import class_name

ROOT = Path(__file__).resolve().parent.parent
XCEPTION_FILE = "xception_weights_tf_dim_ordering_tf_kernels.h5"


@pytest.fixture(scope="module")
def efficientnet():
    return blackbox.load("efficientnet_lite0", batch_size=4)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (6, 224, 224, 3), np.uint8)


@pytest.fixture(scope="module")
def keras_networks(tmp_path_factory):
    """Both networks of keras.applications with seeded random weights, saved as Keras names its files."""
    folder = tmp_path_factory.mktemp("weights")
    keras.utils.set_random_seed(0)
    xception = keras.applications.Xception(weights=None)
    xception.save_weights(folder / "xception.weights.h5")
    resnet = keras.applications.ResNet50(weights=None)
    resnet.save(folder / "resnet50_weights_tf_dim_ordering_tf_kernels.keras")
    return {"xception": xception, "resnet50": resnet, "folder": folder}


@pytest.mark.parametrize("n", [0, 1, 4, 6])
def test_any_number_of_pictures(efficientnet, noise, n):
    probabilities = efficientnet(noise[:n])
    assert probabilities.shape == (n, 1000) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_batching_and_dtype_change_nothing_and_the_graph_is_traced_once(efficientnet, noise):
    at_once = blackbox.load("efficientnet_lite0", batch_size=6)
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


def test_class_names_are_those_of_keras():
    known = {0: "tench", 101: "tusker", 294: "brown_bear", 295: "American_black_bear", 297: "sloth_bear",
             385: "Indian_elephant", 386: "African_elephant", 607: "jack-o'-lantern", 999: "toilet_tissue"}
    assert {index: class_name(index) for index in known} == known
    with pytest.raises(ValueError, match="0 to 999, got 1000"):
        class_name(1000)


def test_top_is_sorted_and_agrees_with_the_call(efficientnet, noise):
    top = efficientnet.top(noise[0], k=5)
    probabilities = efficientnet(noise[:1])[0]
    assert [p for _, _, p in top] == sorted(probabilities, reverse=True)[:5]
    assert all(name == class_name(i) and p == probabilities[i] for i, name, p in top)


@pytest.mark.parametrize(
    "name, size, preprocess",
    [
        ("xception", 299, keras.applications.xception.preprocess_input),
        ("resnet50", 224, keras.applications.resnet.preprocess_input),
    ],
)
def test_keras_networks_run_with_weights_from_a_file(keras_networks, name, size, preprocess, noise):
    file = {"xception": "xception.weights.h5", "resnet50": "resnet50_weights_tf_dim_ordering_tf_kernels.keras"}[name]
    black_box = blackbox.load(name, weights=keras_networks["folder"] / file)
    images = np.resize(noise, (2, size, size, 3))
    expected = keras_networks[name](preprocess(images.astype(np.float32)), training=False)
    assert black_box.input_size == size and file in black_box.source
    np.testing.assert_allclose(black_box(images), expected, atol=1e-5)


def test_classroom_folder_comes_before_the_download(keras_networks, monkeypatch, capsys):
    monkeypatch.setenv("LAB_WEIGHTS", str(keras_networks["folder"]))
    monkeypatch.setenv("LAB_BLACKBOX", "auto")
    black_box = blackbox.load_or_stand_in("resnet50")
    assert black_box.name == "ResNet50" and black_box.stands_in_for is None
    assert capsys.readouterr().out == ""


def test_fingerprint_tells_weights_apart(keras_networks, efficientnet):
    first = blackbox.load("resnet50", weights=keras_networks["folder"] / "resnet50_weights_tf_dim_ordering_tf_kernels.keras")
    other = blackbox.BlackBox(keras.applications.ResNet50(weights=None), "ResNet50", 224, None, "")
    assert len({first.fingerprint, other.fingerprint, efficientnet.fingerprint}) == 3
    assert efficientnet.fingerprint == blackbox.load("efficientnet_lite0").fingerprint


def test_randomized_layers_forget(noise):
    black_box = blackbox.load("squeezenet", batch_size=2)
    black_box.stands_in_for = "ResNet50"
    pictures = np.resize(noise, (2, 227, 227, 3))
    before, fingerprint = black_box(pictures), black_box.fingerprint
    top, again, other, whole = (black_box.randomized(*arguments) for arguments in ((1,), (1,), (1, 1), (26,)))
    assert black_box.n_layers == whole.n_layers == 26
    assert (top.name, whole.name) == ("SqueezeNet 1.1, top layer random", "SqueezeNet 1.1, top 26 layers random")
    assert (top.input_size, top.batch_size, top.stands_in_for) == (227, 2, "ResNet50")
    assert top.fingerprint == again.fingerprint and len({fingerprint, *(b.fingerprint for b in (top, other, whole))}) == 4
    answers = {b.fingerprint: b(pictures) for b in (top, other, whole)}
    for one in answers.values():
        np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-5)
        assert np.abs(one - before).max() > 1e-3
    np.testing.assert_array_equal(black_box(pictures), before)


def test_randomizing_cascades_from_the_top_and_keeps_the_numbers():
    black_box = blackbox.load("squeezenet")
    original = black_box._network.get_weights()
    one, three = (black_box.randomized(layers)._network.get_weights() for layers in (1, 3))
    same = [np.array_equal(a, b) for a, b in zip(original, three)]
    assert all(same[:-6]) and not any(same[-6:])  # a kernel and a bias each
    assert all(np.array_equal(a, b) for a, b in zip(one[-2:], three[-2:]))
    assert all(np.array_equal(np.sort(a, axis=None), np.sort(b, axis=None)) for a, b in zip(original, three))


@pytest.mark.parametrize("layers", [0, -1, 27, 1.5, True])
def test_randomizing_no_or_too_many_layers_is_refused(layers):
    with pytest.raises(ValueError, match=f"from 1 to the 26 layers of SqueezeNet 1.1, got {layers}"):
        blackbox.load("squeezenet").randomized(layers)


def test_a_file_of_another_network_gets_one_clear_error(keras_networks):
    with pytest.raises(ValueError, match="does not hold weights that fit ResNet50"):
        blackbox.load("resnet50", weights=keras_networks["folder"] / "xception.weights.h5")


def test_a_file_without_some_layer_gets_one_clear_error(tmp_path):
    file = tmp_path / "resnet50.weights.h5"
    keras.applications.ResNet50(weights=None).save_weights(file)
    with h5py.File(file, "a") as content:
        del content["layers/dense"]
    with pytest.raises(ValueError, match="resnet50.weights.h5 does not hold weights that fit ResNet50"):
        blackbox.load("resnet50", weights=file)


def test_a_broken_file_gets_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / XCEPTION_FILE).write_bytes(b"half a download")
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path))
    with pytest.raises(ValueError, match=f"{XCEPTION_FILE} does not hold weights that fit Xception"):
        blackbox.load("xception")


def _no_network(**_):
    raise Exception("URL fetch failure on https://example.org: None -- [Errno -2] Name or service not known")


def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(keras.applications, "Xception", _no_network)
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path))
    with pytest.raises(blackbox.WeightsUnavailable) as caught:
        blackbox.load("xception")
    message = str(caught.value)
    assert message.count("\n") == 0 and message.count(". ") == 0
    for told in ("Xception", XCEPTION_FILE, "Keras' cache", "Name or service not known", "LAB_WEIGHTS"):
        assert told in message


@pytest.mark.parametrize("name, stand_in, wanted", [("xception", "EfficientNet-Lite0", "Xception"),
                                                    ("resnet50", "SqueezeNet 1.1", "ResNet50")])
@pytest.mark.parametrize("mode", ["auto", "offline"])
def test_a_stand_in_is_announced_once(monkeypatch, capsys, name, stand_in, wanted, mode):
    monkeypatch.setattr(keras.applications, wanted, _no_network)
    monkeypatch.setenv("LAB_BLACKBOX", mode)
    monkeypatch.delenv("LAB_WEIGHTS", raising=False)
    blackbox._announce.cache_clear()
    black_boxes = [blackbox.load_or_stand_in(name) for _ in range(2)]
    assert {(b.name, b.stands_in_for) for b in black_boxes} == {(stand_in, wanted)}
    assert capsys.readouterr().out.count(f"{stand_in} stands in for {wanted}") == 1


def test_offline_does_not_even_try(monkeypatch):
    monkeypatch.setattr(keras.applications, "Xception", lambda **_: pytest.fail("tried to load Xception"))
    monkeypatch.setenv("LAB_BLACKBOX", "offline")
    assert blackbox.load_or_stand_in("xception").stands_in_for == "Xception"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: blackbox.load("vgg16"), "unknown network 'vgg16'"),
        (lambda: blackbox.load("squeezenet", batch_size=0), "batch_size must be a positive integer, got 0"),
        (lambda: blackbox.load("squeezenet", weights="x.h5"), "takes no weights file, got 'x.h5'"),
        (lambda: blackbox.load_or_stand_in("squeezenet"), "no network stands in for 'squeezenet'"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_switches(monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_BLACKBOX", "online")
    with pytest.raises(ValueError, match="LAB_BLACKBOX must be auto or offline, got 'online'"):
        blackbox.load_or_stand_in("xception")
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="LAB_WEIGHTS must name a folder"):
        blackbox.load("xception")


def test_a_named_file_that_is_missing_is_not_replaced_by_a_download(tmp_path):
    with pytest.raises(blackbox.WeightsUnavailable, match="no file .*missing.h5"):
        blackbox.load("xception", weights=tmp_path / "missing.h5")


def test_what_explains_does_not_import_tensorflow():
    code = ("import sys, json, rise, lab.images, lab.metrics, lab.lime_study, lab.figures; "
            "print(json.dumps('tensorflow' in sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) is False
