import os
import urllib.error
import urllib.request
from pathlib import Path

import h5py
import numpy as np
import pytest

from lab.networks import keras_networks, loading
from lab.networks.blackbox import from_keras
from lab.networks.loading import WeightsUnavailable
from lab.networks.registry import NETWORKS, Network
from lab.networks.tensorflow_setup import keras

FILE = NETWORKS["resnet50"].file
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)


@pytest.fixture(autouse=True)
def nothing_elsewhere(monkeypatch, tmp_path):
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("LAB_BLACKBOX", "auto")


@pytest.fixture
def offline(monkeypatch):
    """No connection; the list of attempts."""
    attempts = []

    def urlopen(url, timeout):
        attempts.append(url)
        raise urllib.error.URLError("[Errno -2] Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return attempts


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: open(os.devnull))


@pytest.fixture
def small(monkeypatch):
    """A small network in ResNet50's place, which has "imagenet" weights."""

    def build(weights):
        if weights == "imagenet":
            return network
        stem = keras.layers.Conv2D(8, 8, 8, activation="relu")
        head = keras.layers.Dense(1000, activation="softmax")
        pool = keras.layers.GlobalAveragePooling2D()
        return keras.Sequential([keras.layers.Input((224, 224, 3)), stem, pool, head])

    monkeypatch.setattr(keras.applications.resnet, "ResNet50", build)
    network = build(None)
    return network


def published(network, path):
    """Write weights in the format of the files that Keras publishes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(file, network)


def whole(network, path):
    network.save(path.with_suffix(".keras"))


def fingerprint(network):
    return keras_networks.identity(network, "ResNet50")["fingerprint"]


@pytest.mark.parametrize("write", [published, whole])
def test_the_folder_lab_weights_comes_first_in_each_format(small, tmp_path, offline, write):
    write(small, tmp_path / "weights" / FILE)
    published(keras.models.clone_model(small), tmp_path / "keras" / "models" / FILE)
    black_box = loading.load("resnet50")
    assert (black_box.name, black_box.stands_in_for) == ("ResNet50", None) and offline == []
    [file] = (tmp_path / "weights").iterdir()
    assert black_box.source == f"weights from the file {file.name}"
    assert black_box.fingerprint == fingerprint(small)
    inputs = IMAGES[..., ::-1] - np.float32([103.939, 116.779, 123.68])
    expected = np.asarray(small(inputs, training=False))
    np.testing.assert_allclose(black_box(IMAGES), expected, rtol=0, atol=5e-6)


def test_a_network_more_is_one_entry(monkeypatch, online):
    entry = Network("VGG16", 32, "vgg16.VGG16", "vgg16.h5", options={"input_shape": (32, 32, 3)})
    monkeypatch.setitem(NETWORKS, "vgg16", entry)
    keras.utils.set_random_seed(0)
    module = keras.applications.vgg16
    network = module.VGG16(weights=None, **entry.options)
    kernel, bias = network.layers[-1].get_weights()
    network.layers[-1].set_weights([kernel * 100, bias])  # so that probabilities differ
    monkeypatch.setattr(module, "VGG16", lambda weights, input_shape: network)  # as downloaded
    black_box, images = loading.load("vgg16"), IMAGES[:, :32, :32]
    inputs = module.preprocess_input(images.astype(np.float32))
    expected = network.predict(inputs, verbose=0)
    np.testing.assert_allclose(black_box(images), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(black_box.preprocessed(images), inputs, rtol=1e-6)
    other = network.predict(images / np.float32(127.5) - 1, verbose=0)
    assert np.abs(other - expected).max() > 1e-4
    assert black_box.name == "VGG16" and black_box.class_name(386) == "African_elephant"


NAMED = [key for key, one in NETWORKS.items() if one.preprocess and not one.package]


@pytest.mark.parametrize("key", NAMED)
def test_named_preprocessing_is_the_module_s_own(key):
    module = getattr(keras.applications, NETWORKS[key].builder.split(".")[0])
    images = IMAGES.astype(np.float32)
    named = keras_networks.preprocessing(NETWORKS[key].preprocess)(images)
    np.testing.assert_allclose(named, module.preprocess_input(images.copy()), rtol=1e-6, atol=1e-6)


def test_keras_cache_comes_second(small, tmp_path, offline):
    published(small, tmp_path / "keras" / "models" / FILE)
    black_box = loading.load("resnet50")
    assert black_box.source == "ImageNet weights of keras.applications" and offline == []
    assert black_box.fingerprint == fingerprint(small)


def test_what_keras_downloads_is_converted_once(small, tmp_path, monkeypatch, online):
    def download(weights):
        assert weights == "imagenet"
        published(small, tmp_path / "keras" / "models" / FILE)
        return small

    monkeypatch.setattr(keras.applications.resnet, "ResNet50", download)
    assert loading.load("resnet50").fingerprint == fingerprint(small)
    monkeypatch.setattr(keras_networks, "build", lambda *_: pytest.fail("built a Keras network"))
    assert loading.load("resnet50").fingerprint == fingerprint(small)


def test_without_weights_the_error_says_what_to_do(offline):
    with pytest.raises(WeightsUnavailable) as caught:
        loading.load("resnet50", stand_in=False)
    message = str(caught.value)
    assert message.count("\n") == 0 and message.count(". ") == 0 and len(offline) == 1
    for part in ("ResNet50", FILE, "Keras' cache", "Name or service not", "LAB_WEIGHTS"):
        assert part in message


def test_a_download_that_fails_is_reported(monkeypatch, online):
    def broken(weights):
        raise Exception("URL fetch failure on https://example.org: None -- connection reset")

    monkeypatch.setattr(keras.applications.xception, "Xception", broken)
    with pytest.raises(WeightsUnavailable, match=r"failed \(connection reset\); connect"):
        loading.load("xception", stand_in=False)


@pytest.mark.parametrize(
    "name, stand_in, wanted",
    [("xception", "EfficientNet-Lite0", "Xception"), ("resnet50", "SqueezeNet 1.1", "ResNet50")],
)
@pytest.mark.parametrize("mode", ["auto", "offline"])
def test_each_stand_in_is_announced(monkeypatch, capsys, offline, name, stand_in, wanted, mode):
    monkeypatch.setenv("LAB_BLACKBOX", mode)
    black_boxes = [loading.load(name) for _ in range(2)]
    assert {(b.name, b.stands_in_for) for b in black_boxes} == {(stand_in, wanted)}
    assert capsys.readouterr().out.count(f"{stand_in} stands in for {wanted}") == 2
    assert len(offline) == (2 if mode == "auto" else 0)


def test_fingerprints_are_those_of_results_and_differ_with_weights_and_names(small):
    fingerprints = [loading.load(name).fingerprint for name in ("efficientnet_lite0", "squeezenet")]
    assert fingerprints == ["0b801e37df832b4558ff35be36a79df5", "e53eecd0ef8595b0bb5822e127299a19"]
    other = keras.models.clone_model(small)
    fingerprints = {
        from_keras(network, lambda x: x, name, 224, "").fingerprint
        for network, name in ((small, "ResNet50"), (small, "ResNet"), (other, "ResNet50"))
    }
    assert len(fingerprints) == 3


@pytest.mark.parametrize("write", [published, whole, lambda _, file: file.write_bytes(b"half")])
def test_a_file_that_does_not_fit_gets_one_clear_error(small, tmp_path, write):
    lacking = keras.Sequential([keras.layers.Input((224, 224, 3)), *small.layers[:2]])
    write(lacking, tmp_path / "weights" / FILE)
    message = f"^{Path(FILE).stem}[.].* does not hold weights that fit ResNet50: ."
    with pytest.raises(ValueError, match=message):
        loading.load("resnet50")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"model": "no_such_net"}, "unknown model 'no_such_net'"),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"batch_size": True}, "batch_size must be a positive integer, got True"),
        ({"runtime": "onnx"}, "runtime must be openvino or tensorflow, got 'onnx'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        loading.load(**{"model": "squeezenet"} | arguments)


def test_bad_switches(monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_BLACKBOX", "online")
    with pytest.raises(ValueError, match="LAB_BLACKBOX must be auto or offline, got 'online'"):
        loading.load("xception")
    monkeypatch.setenv("LAB_BLACKBOX", "auto")
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="LAB_WEIGHTS must name a folder"):
        loading.load("xception")
