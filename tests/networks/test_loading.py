import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import h5py
import pytest

from lab.networks import keras_networks, loading
from lab.networks.blackbox import from_keras
from lab.networks.loading import NETWORKS
from lab.networks.tensorflow_setup import keras

XCEPTION_FILE, RESNET_FILE = (NETWORKS[name].file for name in ("xception", "resnet50"))


@pytest.fixture(autouse=True)
def own_keras_home(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("LAB_WEIGHTS", raising=False)


@pytest.fixture
def offline(monkeypatch):
    """No internet: the list of what was tried."""
    tried = []

    def urlopen(request, timeout):
        tried.append(request.full_url)
        raise urllib.error.URLError("[Errno -2] Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return tried


def test_weights_are_looked_for_in_the_folder_of_the_class(real_graphs, monkeypatch, offline):
    monkeypatch.setenv("LAB_WEIGHTS", str(real_graphs[0]))
    monkeypatch.setenv("LAB_BLACKBOX", "auto")
    black_box = loading.load_or_stand_in("resnet50")
    assert (black_box.name, black_box.stands_in_for) == ("ResNet50", None)
    assert black_box.source == f"weights from the file {RESNET_FILE}"
    assert (
        black_box.fingerprint
        == keras_networks.identity(real_graphs[1]["resnet50"], "ResNet50")["fingerprint"]
    )
    assert offline == []


def test_files_of_keras_own_formats_are_read(real_graphs, monkeypatch, tmp_path):
    network = real_graphs[1]["resnet50"]
    network.save(tmp_path / Path(RESNET_FILE).with_suffix(".keras"))
    network.save_weights(tmp_path / "resnet50.weights.h5")
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path))
    fingerprints = {
        loading.load("resnet50", weights=weights, runtime="tensorflow").fingerprint
        for weights in (None, tmp_path / "resnet50.weights.h5", str(real_graphs[0] / RESNET_FILE))
    }
    assert fingerprints == {keras_networks.identity(network, "ResNet50")["fingerprint"]}


def test_keras_cache_comes_before_the_download(real_graphs, monkeypatch, tmp_path, offline):
    folder = tmp_path / "keras" / "models"
    folder.mkdir(parents=True)
    shutil.copy(real_graphs[0] / RESNET_FILE, folder)
    loading.load("resnet50", weights=folder / RESNET_FILE)  # converts it
    monkeypatch.setattr(keras_networks, "build", lambda *_: pytest.fail("built a Keras network"))
    black_box = loading.load("resnet50")
    assert black_box.source == "ImageNet weights of keras.applications" and offline == []


def test_what_keras_downloads_is_converted_and_found_again(real_graphs, monkeypatch, tmp_path):
    def download(weights):
        """As keras.applications does."""
        assert weights == "imagenet"
        folder = tmp_path / "keras" / "models"
        folder.mkdir(parents=True)
        shutil.copy(real_graphs[0] / RESNET_FILE, folder)
        return real_graphs[1]["resnet50"]

    monkeypatch.setattr(keras.applications, "ResNet50", download)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: open(os.devnull))
    first = loading.load("resnet50")
    monkeypatch.setattr(keras_networks, "build", lambda *_: pytest.fail("built a Keras network"))
    assert loading.load("resnet50").fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "name, fingerprint",
    [
        ("efficientnet_lite0", "0b801e37df832b4558ff35be36a79df5"),
        ("squeezenet", "e53eecd0ef8595b0bb5822e127299a19"),
    ],
)
def test_the_networks_are_those_that_committed_results_are_of(name, fingerprint):
    assert loading.load(name).fingerprint == fingerprint


def test_fingerprints_differ_with_weights_and_names(real_graphs):
    network = real_graphs[1]["resnet50"]
    other = keras.models.clone_model(network)
    found = {
        from_keras(one, lambda x: x, name, 224, "", runtime="tensorflow").fingerprint
        for one, name in ((network, "ResNet50"), (network, "ResNet"), (other, "ResNet50"))
    }
    assert len(found) == 3


def test_a_file_of_another_network_gets_one_clear_error(real_graphs):
    with pytest.raises(
        ValueError, match=f"{XCEPTION_FILE} does not hold weights that fit ResNet50"
    ):
        loading.load("resnet50", weights=real_graphs[0] / XCEPTION_FILE)


def test_a_file_without_some_layer_gets_one_clear_error(real_graphs, tmp_path):
    file = tmp_path / "resnet50.weights.h5"
    real_graphs[1]["resnet50"].save_weights(file)
    with h5py.File(file, "a") as content:
        del content["layers/dense"]
    with pytest.raises(ValueError, match=f"{file.name} does not hold weights that fit ResNet50"):
        loading.load("resnet50", weights=file)


def test_a_broken_file_gets_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / XCEPTION_FILE).write_bytes(b"half a download")
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path))
    with pytest.raises(
        ValueError, match=f"{XCEPTION_FILE} does not hold weights that fit Xception"
    ):
        loading.load("xception")


def test_without_weights_the_error_says_what_to_do(monkeypatch, tmp_path, offline):
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path))
    with pytest.raises(loading.WeightsUnavailable) as caught:
        loading.load("xception")
    message = str(caught.value)
    assert message.count("\n") == 0 and message.count(". ") == 0
    for part in ("Xception", XCEPTION_FILE, "Keras' cache", "Name or service not", "LAB_WEIGHTS"):
        assert part in message
    (url,) = offline
    assert url.startswith("https://") and url.endswith(XCEPTION_FILE)


def test_a_download_that_breaks_off_is_reported(monkeypatch):
    def broken(weights):
        raise Exception("URL fetch failure on https://example.org: None -- connection reset")

    monkeypatch.setattr(keras.applications, "Xception", broken)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: open(os.devnull))
    with pytest.raises(loading.WeightsUnavailable, match=r"failed \(connection reset\); connect"):
        loading.load("xception")


@pytest.mark.parametrize(
    "name, stand_in, wanted",
    [("xception", "EfficientNet-Lite0", "Xception"), ("resnet50", "SqueezeNet 1.1", "ResNet50")],
)
@pytest.mark.parametrize("mode", ["auto", "offline"])
def test_a_stand_in_is_announced_once(monkeypatch, capsys, offline, name, stand_in, wanted, mode):
    monkeypatch.setenv("LAB_BLACKBOX", mode)
    loading._announce.cache_clear()
    black_boxes = [loading.load_or_stand_in(name) for _ in range(2)]
    assert {(b.name, b.stands_in_for) for b in black_boxes} == {(stand_in, wanted)}
    assert capsys.readouterr().out.count(f"{stand_in} stands in for {wanted}") == 1
    assert len(offline) == (2 if mode == "auto" else 0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: loading.load("vgg16"), "unknown network 'vgg16'"),
        (
            lambda: loading.load("squeezenet", batch_size=0),
            "batch_size must be a positive integer, got 0",
        ),
        (lambda: loading.load("squeezenet", weights="x.h5"), "takes no weights file, got 'x.h5'"),
        (lambda: loading.load_or_stand_in("squeezenet"), "no network stands in for 'squeezenet'"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_switches(monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_BLACKBOX", "online")
    with pytest.raises(ValueError, match="LAB_BLACKBOX must be auto or offline, got 'online'"):
        loading.load_or_stand_in("xception")
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="LAB_WEIGHTS must name a folder"):
        loading.load("xception")


def test_a_named_file_that_is_missing_is_not_replaced_by_a_download(tmp_path):
    with pytest.raises(loading.WeightsUnavailable, match="no file .*missing.h5"):
        loading.load("xception", weights=tmp_path / "missing.h5")
