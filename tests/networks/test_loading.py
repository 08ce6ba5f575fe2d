import h5py
import keras
import numpy as np
import pytest

from lab.networks import loading
from lab.networks.blackbox import BlackBox

XCEPTION_FILE = "xception_weights_tf_dim_ordering_tf_kernels.h5"


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


@pytest.mark.parametrize(
    "name, size, preprocess",
    [
        ("xception", 299, keras.applications.xception.preprocess_input),
        ("resnet50", 224, keras.applications.resnet.preprocess_input),
    ],
)
def test_keras_networks_run_with_weights_from_a_file(keras_networks, name, size, preprocess):
    file = {
        "xception": "xception.weights.h5",
        "resnet50": "resnet50_weights_tf_dim_ordering_tf_kernels.keras",
    }[name]
    black_box = loading.load(name, weights=keras_networks["folder"] / file)
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    expected = keras_networks[name](preprocess(images.astype(np.float32)), training=False)
    assert black_box.input_size == size and file in black_box.source
    np.testing.assert_allclose(black_box(images), expected, atol=1e-5)


def test_classroom_folder_comes_before_the_download(keras_networks, monkeypatch, capsys):
    monkeypatch.setenv("LAB_WEIGHTS", str(keras_networks["folder"]))
    monkeypatch.setenv("LAB_BLACKBOX", "auto")
    black_box = loading.load_or_stand_in("resnet50")
    assert black_box.name == "ResNet50" and black_box.stands_in_for is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "name, fingerprint",
    [
        ("efficientnet_lite0", "0b801e37df832b4558ff35be36a79df5"),
        ("squeezenet", "e53eecd0ef8595b0bb5822e127299a19"),
    ],
)
def test_the_networks_are_those_that_committed_results_are_of(name, fingerprint):
    assert loading.load(name).fingerprint == fingerprint


def test_fingerprint_tells_weights_apart(keras_networks):
    file = keras_networks["folder"] / "resnet50_weights_tf_dim_ordering_tf_kernels.keras"
    first, again = (loading.load("resnet50", weights=file) for _ in range(2))
    other = BlackBox(keras.applications.ResNet50(weights=None), "ResNet50", 224, None, "")
    renamed = BlackBox(keras_networks["resnet50"], "ResNet", 224, None, "")
    assert first.fingerprint == again.fingerprint
    assert len({first.fingerprint, other.fingerprint, renamed.fingerprint}) == 3


def test_a_file_of_another_network_gets_one_clear_error(keras_networks):
    with pytest.raises(ValueError, match="does not hold weights that fit ResNet50"):
        loading.load("resnet50", weights=keras_networks["folder"] / "xception.weights.h5")


def test_a_file_without_some_layer_gets_one_clear_error(tmp_path):
    file = tmp_path / "resnet50.weights.h5"
    keras.applications.ResNet50(weights=None).save_weights(file)
    with h5py.File(file, "a") as content:
        del content["layers/dense"]
    with pytest.raises(
        ValueError, match="resnet50.weights.h5 does not hold weights that fit ResNet50"
    ):
        loading.load("resnet50", weights=file)


def test_a_broken_file_gets_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / XCEPTION_FILE).write_bytes(b"half a download")
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path))
    with pytest.raises(
        ValueError, match=f"{XCEPTION_FILE} does not hold weights that fit Xception"
    ):
        loading.load("xception")


def _no_network(**_):
    raise Exception(
        "URL fetch failure on https://example.org: None -- [Errno -2] Name or service not known"
    )


def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(keras.applications, "Xception", _no_network)
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path))
    with pytest.raises(loading.WeightsUnavailable) as caught:
        loading.load("xception")
    message = str(caught.value)
    assert message.count("\n") == 0 and message.count(". ") == 0
    for told in (
        "Xception",
        XCEPTION_FILE,
        "Keras' cache",
        "Name or service not known",
        "LAB_WEIGHTS",
    ):
        assert told in message


@pytest.mark.parametrize(
    "name, stand_in, wanted",
    [("xception", "EfficientNet-Lite0", "Xception"), ("resnet50", "SqueezeNet 1.1", "ResNet50")],
)
@pytest.mark.parametrize("mode", ["auto", "offline"])
def test_a_stand_in_is_announced_once(monkeypatch, capsys, name, stand_in, wanted, mode):
    monkeypatch.setattr(keras.applications, wanted, _no_network)
    monkeypatch.setenv("LAB_BLACKBOX", mode)
    monkeypatch.delenv("LAB_WEIGHTS", raising=False)
    loading._announce.cache_clear()
    black_boxes = [loading.load_or_stand_in(name) for _ in range(2)]
    assert {(b.name, b.stands_in_for) for b in black_boxes} == {(stand_in, wanted)}
    assert capsys.readouterr().out.count(f"{stand_in} stands in for {wanted}") == 1


def test_offline_does_not_even_try(monkeypatch):
    monkeypatch.setattr(
        keras.applications, "Xception", lambda **_: pytest.fail("tried to load Xception")
    )
    monkeypatch.setenv("LAB_BLACKBOX", "offline")
    assert loading.load_or_stand_in("xception").stands_in_for == "Xception"


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
