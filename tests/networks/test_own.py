"""Models of one's own: as in their framework, or one sentence says why not."""

import argparse
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from lab.files import ROOT
from lab.methods.registry import METHODS, explain
from lab.networks import add_arguments, load, load_from, runtime
from lab.networks.gradients import expected_gradients, grad_cam, integrated_gradients
from lab.networks.preprocessing import PREPROCESSING
from lab.networks.tensorflow_setup import keras, tf

layers = keras.layers
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
MODELS = Path(__file__).parent / "models"
# The .onnx files are from PyTorch 2.14 and take "imagenet": a convolution of 3 to 4
# channels, ReLU, mean, one of 4 to 5, which gives logits. "fixed" has batches of 8 in
# its graph, "squeeze" ends with `squeeze()`, "two" has two inputs, "scaling" is "tiny"
# after a division by 99, "external" is "tiny" without the file of its weights. These
# are PyTorch's own probabilities.
TORCH = np.array(
    [
        [1.8605451e-01, 2.0966902e-01, 6.0258222e-01, 4.3649219e-05, 1.6504973e-03],
        [3.7734812e-01, 2.0964421e-01, 4.1138014e-01, 7.4665564e-05, 1.5527759e-03],
        [1.7863642e-01, 1.9801874e-01, 6.2163460e-01, 4.8459227e-05, 1.6617655e-03],
    ]
)


def network(n_classes=3, activation="softmax", batch_size=None, first=None, layout="NHWC"):
    """A small network of images in [0, 255]."""
    keras.utils.set_random_seed(0)
    shape = (32, 32, 3) if layout == "NHWC" else (3, 32, 32)
    inputs = layers.Input(shape, batch_size)
    x = inputs if layout == "NHWC" else layers.Permute((2, 3, 1))(inputs)
    x = layers.Conv2D(4, 3, strides=2, activation="relu")((first or layers.Rescaling(1 / 99))(x))
    x = layers.Dense(n_classes, kernel_initializer="normal")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Activation(activation)(layers.Rescaling(20)(x)))


def outputs(model, images=IMAGES):
    return np.asarray(model(images.astype(np.float32), training=False))


def tflite(model, path):
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def agrees(black_box, expected, images=IMAGES):
    """Whether predictions are as expected, also one by one and from the cache."""
    for _ in range(2):
        np.testing.assert_allclose(black_box(images), expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(black_box(images[2:]), expected[2:], rtol=0, atol=1e-6)
    assert black_box(images[:0]).shape == (0, expected.shape[1])


@pytest.mark.parametrize(
    "n_classes, activation, names, note",
    [
        (1, "sigmoid", ["0"], "1 class (0); its score is a probability"),
        (1, "linear", ["0"], "logits and put through a sigmoid"),
        (5, "softmax", ["0", "1"], "5 classes (0, 1, 2, …); its scores are probabilities"),
        (5, "linear", ["0", "1"], "logits and put through a softmax"),
        (3, "sigmoid", ["0", "1"], "which do not add up to 1, are taken as they are"),
        (1001, "softmax", ["background", "tench"], "(background, tench, goldfish, …)"),
    ],
)
def test_a_keras_model_in_each_format(tmp_path, capsys, n_classes, activation, names, note):
    model = network(n_classes, activation)
    files = [tmp_path / f"own{suffix}" for suffix in (".keras", ".h5", ".tflite")]
    model.save(files[0])
    model.save(files[1])
    tflite(model, files[2])
    capsys.readouterr()
    expected = outputs(model)
    if activation == "linear":
        expected = np.asarray((tf.nn.softmax if n_classes > 1 else tf.nn.sigmoid)(expected))
    for number, source in enumerate([*files, model]):
        black_box = load(source)
        agrees(black_box, expected)
        assert list(black_box.class_names[:2]) == names and black_box.input_size == 32
        printed = capsys.readouterr().out
        assert printed.count("\n") == 1 and note in printed and "preprocess none" in printed
        assert number != 2 or black_box.n_layers == 0
    top = black_box.top(IMAGES[0], 1)[0]
    assert top == (expected[0].argmax(), black_box.class_name(top[0]), pytest.approx(top[2]))


@pytest.mark.parametrize("name", ["tiny", "fixed", "squeeze"])
def test_an_onnx_file(name):
    black_box = load(MODELS / f"{name}.onnx", preprocess="imagenet")
    agrees(black_box, TORCH)
    images = np.concatenate([IMAGES] * 6)
    np.testing.assert_allclose(black_box(images), np.concatenate([TORCH] * 6), atol=1e-6)
    with pytest.raises(ValueError, match=f"{name}.onnx is no Keras network: gradients"):
        grad_cam(black_box, IMAGES[0], 0)
    for method in (method for method in METHODS if METHODS[method].gradients):
        message = f"^{method} needs a Keras network, got <BlackBox {name}.onnx, "
        with pytest.raises(ValueError, match=message):
            explain(method, black_box, IMAGES[0], 0, 10)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_command_that_ends_just_after_a_prediction_is_not_aborted():
    # On one core, threads of the runtime are still at work.
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); import lab.explain"
    image = ROOT / "data" / "black_bear" / "bear_1_meadow.jpg"
    options = ["--model", str(MODELS / "tiny.onnx"), "--preprocess", "imagenet", "--class", "nope"]
    command = [sys.executable, "-c", f"{code}; lab.explain.main({[str(image), *options]!r})"]
    for _ in range(3):
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 1 and "got 'nope'" in ended.stderr, ended.stderr


def test_an_openvino_file(tmp_path):
    model = runtime.import_openvino().convert_model(MODELS / "tiny.onnx")
    runtime.import_openvino().save_model(model, tmp_path / "own.xml", compress_to_fp16=False)
    agrees(load(tmp_path / "own.xml", preprocess="imagenet"), TORCH)
    (tmp_path / "own.bin").unlink()
    with pytest.raises(ValueError, match="own.xml cannot be used: it cannot be read"):
        load(tmp_path / "own.xml")


@pytest.mark.parametrize("kind", ["openvino", "tensorflow"])
@pytest.mark.parametrize("options", [{"batch_size": 8}, {"layout": "NCHW"}])
def test_a_fixed_batch_and_channels_first(options, kind):
    images = IMAGES if "batch_size" in options else IMAGES.transpose(0, 3, 1, 2)
    expected = outputs(network(**options | {"batch_size": None}), images)
    agrees(load(network(**options), runtime=kind), expected)


@pytest.mark.parametrize("name", PREPROCESSING)
def test_preprocessing_is_that_of_keras(name):
    own = keras.applications.imagenet_utils.preprocess_input
    expected = {
        "none": lambda x: x,
        "0..1": lambda x: x / 255,
        "-1..1": lambda x: own(x, mode="tf"),
        "imagenet": lambda x: own(x, mode="torch"),
        "caffe": lambda x: own(x, mode="caffe"),
        "efficientnet-lite": lambda x: (x - 127) / 128,
    }[name](IMAGES.astype(np.float32))
    plain = layers.Rescaling(1.0)
    agrees(load(network(first=plain), preprocess=name), outputs(network(first=plain), expected))
    np.testing.assert_allclose(
        PREPROCESSING[name](IMAGES.astype(np.float32)), expected, rtol=1e-6, atol=1e-6
    )


class Means:
    """The probability that an image is red, and not."""

    input_size, labels = 32, ("red", "other")

    def __init__(self, cache_key=None):
        self.cache_key, self.calls = cache_key, []

    def __call__(self, images):
        self.calls.append((len(images), images.dtype))
        red = images[..., 0].mean(axis=(1, 2)) / images.sum(axis=3).mean(axis=(1, 2))
        return np.stack([red, 1 - red], axis=1)


def test_a_function_is_cached_only_where_its_owner_gives_a_key():
    expected = Means()(IMAGES.astype(np.float32))
    for key, calls in ((None, 2), ("1", 1), ("2", 1), ("2", 0)):
        means = Means(key)
        black_box = load(means)
        assert black_box.class_names == ("red", "other") and black_box.class_index("Red") == 0
        means.calls.clear()
        for _ in range(2):
            np.testing.assert_allclose(black_box(IMAGES), expected, atol=1e-6)
        assert means.calls == [(3, np.float32)] * calls
    assert load(Means("1")).fingerprint != load(Means("2")).fingerprint
    assert load(Means()).fingerprint == load(Means()).fingerprint
    brighter = lambda images: Means()(np.sqrt(images))  # noqa: E731
    assert load(brighter, input_size=32).fingerprint != load(Means()).fingerprint


def test_a_function_of_the_current_folder_and_the_options_of_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "def predict(images):\n    assert images.max() <= 1\n    return images.mean((1, 2)) ** 2\n"
    )
    (tmp_path / "labels.txt").write_text("röd\r\ngreen\nblue\n", "utf-8")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    command = "--model mine:predict --preprocess 0..1 --input-size 32 --labels labels.txt"
    black_box = load_from(parser.parse_args(command.split()))
    agrees(black_box, (IMAGES / np.float32(255)).mean((1, 2)) ** 2)
    assert black_box.class_names == ("röd", "green", "blue") and black_box.name == "mine:predict"
    assert black_box.class_index("GREEN") == black_box.class_index("1") == 1
    assert black_box.class_index("3") is None and black_box.close_names("gren") == ["green"]


@pytest.mark.parametrize(
    "function",
    [
        lambda images: np.squeeze(np.stack([images.mean((1, 2, 3)), images[:, 0, 0, 0]], 1)),
        lambda images: images.reshape(32, -1)[:, :2] * (len(images) == 32 or np.nan),
    ],
    ids=["squeeze", "batches of 32"],
)
def test_functions_that_need_several_images(function):
    images = np.random.default_rng(1).integers(0, 256, (33, 8, 8, 3), np.uint8)
    full = np.concatenate([function(np.resize(one, (32, 8, 8, 3)) * 1.0)[:1] for one in images])
    expected = np.exp(full - full.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(load(function, input_size=8)(images), expected, atol=1e-6)


@pytest.mark.parametrize(
    "first, preprocess, hint",
    [
        (
            layers.Rescaling(1 / 255),
            "0..1",
            "Hint: model begins with Rescaling, and .* 0..1 scales",
        ),
        (layers.Normalization(mean=9, variance=4), "imagenet", "begins with Normalization"),
        (keras.Sequential([layers.RandomFlip(), layers.Rescaling(2)]), "-1..1", "with Rescaling"),
        (layers.Pipeline([layers.CenterCrop(32, 32), layers.Rescaling(2)]), None, ""),
        (lambda x: x / 255, "0..1", "begins with TrueDivide"),
        (layers.Activation("linear"), None, "Hint: model begins with no layer that scales, "),
        (keras.Sequential([layers.Input((32, 32, 3)), layers.Conv2D(3, 1)]), None, "no layer that"),
        (layers.Rescaling(1 / 255), None, ""),
        (keras.Sequential([layers.RandomFlip(), layers.Rescaling(2)]), None, ""),
        (lambda x: keras.applications.mobilenet_v2.preprocess_input(x), None, ""),
        (layers.Activation("linear"), "0..1", ""),
        (layers.Activation("linear"), "none", ""),
        (layers.BatchNormalization(), None, ""),
        (layers.BatchNormalization(), "0..1", ""),
    ],
)
def test_a_hint_where_layers_and_preprocessing_do_not_fit(capsys, first, preprocess, hint):
    model = network(first=first)
    model.name = "model"
    load(model, preprocess=preprocess)
    _, *hints = capsys.readouterr().out.splitlines()
    assert len(hints) == bool(hint) and all(re.search(hint, line) for line in hints)
    if hint:
        assert "--preprocess" in hints[0]


@pytest.mark.parametrize(
    "name, preprocess, hint",
    [
        ("tiny", None, "tiny.onnx begins with no layer that scales"),
        ("tiny", "imagenet", ""),
        ("scaling", None, ""),
        ("scaling", "0..1", "scaling.onnx begins with Divide, and --preprocess 0..1"),
    ],
)
def test_the_hint_for_an_onnx_file(capsys, name, preprocess, hint):
    load(MODELS / f"{name}.onnx", preprocess=preprocess)
    _, *printed = capsys.readouterr().out.splitlines()
    assert len(printed) == bool(hint) and all(hint in line for line in printed)


def test_gradients_are_those_of_probabilities():
    base, inputs = network(4, "relu"), layers.Input((32, 32, 3))
    inner = keras.Model(base.inputs, base.layers[2].output)  # as in transfer learning
    features = layers.GlobalAveragePooling2D()(inner(inputs))
    black_box = load(keras.Model(inputs, layers.Dense(2)(features)))
    np.testing.assert_allclose(
        np.asarray(black_box.keras_model(black_box.preprocessed(IMAGES))),
        black_box(IMAGES),
        atol=1e-6,
    )
    for method in (grad_cam, integrated_gradients, expected_gradients):
        assert max(np.ptp(method(black_box, IMAGES[0], label)) for label in (0, 1)) > 0
    assert black_box.randomized(1).class_names == ("0", "1")


class Estimator:
    """A model that is no function, as scikit-learn's, with a long name."""

    def __repr__(self):
        return "Estimator(\n    steps=1)"


class Subclassed(keras.Model):
    """A Keras model that has no input of its own."""

    def call(self, x):
        return x


class Sized:
    """A function whose attribute is no size."""

    def __init__(self, input_size):
        self.input_size = input_size

    def __call__(self, images):
        return images.mean((1, 2))


def function(images):
    return images.mean((1, 2))


@pytest.mark.parametrize(
    "model, options, message",
    [
        ("vgg", {}, r"unknown model 'vgg': expected xception, .*package.module:function"),
        ("own.onnx", {}, "there is no file own.onnx"),
        (MODELS / "two.onnx", {}, r"it has 2 inputs \(left, right\), expected one"),
        (MODELS / "tiny.onnx", {"input_size": 64}, r"takes \(\?, 3, 32, 32\), .* 64 x 64"),
        (MODELS / "tiny.onnx", {"runtime": "tensorflow"}, "TensorFlow reads only Keras files"),
        (MODELS / "tiny.onnx", {"labels": ["a"]}, "it has 5 classes, but there are 1 labels"),
        (MODELS / "external.onnx", {}, "its weights, external.onnx.data, must lie beside it"),
        (MODELS / "tiny.onnx", {"labels": "no.txt"}, "read from no.txt: No such file"),
        (MODELS / "tiny.onnx", {"labels": ["a", "", "b"]}, "line 2 is empty"),
        (MODELS / "tiny.onnx", {"preprocess": "bgr"}, "preprocess must be of none, .* 'bgr'"),
        ("squeezenet", {"preprocess": "none"}, "settings of its own: preprocess cannot be given"),
        ("nowhere.at:all", {}, "nowhere.at:all cannot be imported: ModuleNotFoundError: No mod"),
        ("json:nothing", {}, "has no attribute 'nothing'"),
        ("json:__name__", {}, "json:__name__ must be a function, got str"),
        ("a/fns.py:base", {}, "fns.py is a file: expected a module without .py, such as fns:base"),
        (None, {}, "model must be a network's name, a file, .* function, got NoneType: see docs"),
        (Estimator(), {}, "model must be .*, got Estimator: see docs/models.md"),
        (lambda x: x.permute(0, 3, 1, 2), {"input_size": 8}, "a NumPy array .* 'permute'"),
        (
            keras.Sequential([layers.Flatten()]),
            {},
            "it has no input: begin it with keras.Input, or",
        ),
        (Subclassed(), {}, "subclassed cannot be used: it has no input: .* function that calls it"),
        (function, {"labels": 3}, "labels must be a file or a list of names, got 3"),
        (
            function,
            {"labels": {0: "cat"}},
            "labels must be a file or a list of names, got {0: 'cat'}",
        ),
        (Sized((8, 8)), {}, r"Sized cannot be used: .* a positive integer, got \(8, 8\)"),
        (
            function,
            {},
            "function cannot be used: .* must be given as input_size, or --input-size, .* got None",
        ),
        (function, {"input_size": 0}, "input_size must be a positive integer, got 0"),
        (lambda x: np.zeros(len(x), int), {"input_size": 8}, "returns integers, expected prob"),
        (
            lambda x: 1 / 0,
            {"input_size": 8},
            r"two images, .* \(2, 8, 8, 3\): ZeroDivisionError: d",
        ),
        (lambda x: np.zeros((len(x), 2, 2)), {"input_size": 8}, "must give scores"),
        (lambda x: np.full((len(x), 2), np.nan), {"input_size": 8}, "finite"),
    ],
)
def test_what_cannot_be_used_gets_one_sentence(model, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(model, **options)
    assert "\n" not in str(caught.value)


def test_a_module_that_ends_the_program_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ends.py").write_text("import sys\nsys.exit()\n")
    with pytest.raises(ValueError, match="ends:f cannot be imported: ends calls sys.exit"):
        load("ends:f")


@pytest.mark.parametrize(
    "shape, input_size, message",
    [
        ((32, 32, 1), None, r"takes \(\?, 32, 32, 1\), expected images \(N, H, W, 3\) or"),
        ((12,), None, r"takes \(\?, 12\), expected images"),
        ((32, 48, 3), None, r"takes \(\?, 32, 48, 3\), expected images as high as wide"),
        ((None, None, 3), None, "give its input_size, or --input-size"),
        ((None, None, 3), 16, None),
    ],
)
def test_shapes_of_images(shape, input_size, message):
    flat = [layers.GlobalAveragePooling2D()] if len(shape) == 3 else []
    model = keras.Sequential([layers.Input(shape), *flat, layers.Dense(2, activation="softmax")])
    if message is None:
        assert load(model, input_size=input_size).input_size == input_size
    else:
        with pytest.raises(ValueError, match=message):
            load(model, input_size=input_size)


def test_two_outputs_are_named():
    model = network()
    two = keras.Model(model.inputs, [model.output, layers.Dense(1, name="age")(model.output)])
    with pytest.raises(ValueError, match=r"it has 2 outputs \(.*, .*age.*\), expected one"):
        load(two)
    segments = keras.Model(model.inputs, layers.Conv2D(2, 1)(model.inputs[0]))
    with pytest.raises(ValueError, match=r"outputs have the shape .*expected one row of scores"):
        load(segments)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx", ".tflite", ".xml"])
def test_a_broken_file(tmp_path, suffix):
    (tmp_path / f"own{suffix}").write_bytes(b"\x08half a model")
    with pytest.raises(ValueError, match=f"own{suffix} cannot be used: it (cannot be read|is no)"):
        load(tmp_path / f"own{suffix}")


def test_weights_alone_are_no_model(tmp_path):
    network().save_weights(tmp_path / "own.weights.h5")
    with pytest.raises(ValueError, match="it holds weights without a model"):
        load(tmp_path / "own.weights.h5")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_nothing_in_a_file_is_executed(tmp_path, suffix):
    path, ran = tmp_path / f"own{suffix}", str(tmp_path / "ran")
    network(first=layers.Lambda(lambda x: [x, open(ran, "w").close()][0])).save(path)
    Path(ran).unlink()
    with pytest.raises(ValueError, match="the layer or function Lambda, .* nothing in a file is"):
        load(path)
    assert not Path(ran).exists()


@keras.saving.register_keras_serializable("lab_tests")
class Own(layers.Layer):
    """A registered layer, which another process does not have."""

    def call(self, x):
        return x / 255


def test_a_registered_layer_of_ones_own_is_refused_like_other_code(tmp_path):
    path = tmp_path / "own.keras"
    network(first=Own()).save(path)
    code = f"from lab.networks import load; load({str(path)!r})"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "nothing in a file is executed: give a function" in ended.stderr


@pytest.mark.parametrize(
    "part",
    [
        {"module": "os", "class_name": "system", "config": {"command": "touch ran"}},
        {"module": "builtins", "class_name": "function", "config": "exec"},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/"}},
        {"module": "mine", "class_name": "Layer", "config": {}},
    ],
)
def test_functions_that_a_keras_file_names_are_not_called(tmp_path, part):
    with zipfile.ZipFile(tmp_path / "own.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [part]}}))
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"config": [part]})
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=f"function {part['class_name']}, which is not Keras"):
            load(path)
