import functools
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from real_graphs import write_real_graphs

from lab.files import ROOT
from lab.images import list_images, load_image
from lab.networks import converted, runtime
from lab.networks.classes import BEARS, ELEPHANTS
from lab.networks.loading import load
from lab.networks.tensorflow_setup import keras, tf

PREPROCESS = {
    "xception": keras.applications.xception.preprocess_input,
    "resnet50": keras.applications.resnet.preprocess_input,
    **dict.fromkeys(
        [f"efficientnet_lite{n}" for n in (0, 1, 2)], lambda images: (images - 127) / 128
    ),
    "squeezenet": keras.applications.resnet.preprocess_input,
}


def photographs(size, n=6):
    paths = sorted((ROOT / "data").glob("*/*.jpg"))[:n]
    return np.stack([load_image(path, size) for path in paths])


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("xception", "resnet50")]
STAND_INS = ["efficientnet_lite0", "squeezenet"]
OTHERS = ["efficientnet_lite1", "efficientnet_lite2"]


write_once = functools.cache(write_real_graphs)


@pytest.fixture
def black_box(name, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LAB_BLACKBOX", "auto")
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path_factory.getbasetemp()))
    if name in STAND_INS + OTHERS:
        return load(name, cache=False)
    write_once(tmp_path_factory.getbasetemp())
    return load(name)


@pytest.mark.parametrize("name", [*SLOW, *STAND_INS, *OTHERS])
def test_the_runtime_agrees_with_keras(name, black_box):
    images = photographs(black_box.input_size)
    inputs = PREPROCESS[name](images.astype(np.float32))
    expected = np.asarray(black_box.keras_model(inputs, training=False))
    np.testing.assert_allclose(black_box(images), expected, rtol=1e-3, atol=0)
    np.testing.assert_allclose(black_box(images), expected, rtol=0, atol=5e-6)
    assert "OpenVINO" in black_box.runtime and black_box.runtime in repr(black_box)
    np.testing.assert_allclose(black_box.preprocessed(images), inputs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", OTHERS)
def test_weights_are_where_they_belong(name, black_box):
    for kind, animals in (("African_elephant", ELEPHANTS), ("black_bear", BEARS)):
        for path in list_images(kind):
            image = load_image(path, black_box.input_size)
            assert black_box.top(image, 1)[0][0] in animals, path


@pytest.mark.parametrize("name", [*SLOW, *STAND_INS])
def test_a_prediction_depends_on_its_image_alone(name, black_box):
    images = photographs(black_box.input_size)
    expected = black_box(images)
    for batch_size in (1, 4):
        again = load(name, batch_size=batch_size, cache=False)
        np.testing.assert_array_equal(again(images[::-1].astype(np.float64)), expected[::-1])
        np.testing.assert_array_equal(again(images[3:4]), expected[3:4])


PREDICT = """
import json, sys, time
from pathlib import Path
start = time.perf_counter()
from lab.networks import converted
from lab.networks.loading import load
converted.CONVERTED, name, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
black_box = load(name, cache=False)
seconds = time.perf_counter() - start
STATUS = Path("/proc/self/status")  # getrusage includes the parent's memory
import numpy as np
np.save(folder / "predictions.npy", black_box(np.load(folder / "images.npy")))
print(json.dumps({
    "seconds": seconds,
    "kilobytes": [line.split()[1] for line in STATUS.open() if line.startswith("VmHWM")],
    "imported": [m for m in ("tensorflow", "keras", "openvino_telemetry") if m in sys.modules],
    "identity": [black_box.fingerprint, black_box.n_layers],
}))
"""


def predict_elsewhere(name, images, folder, networks, **environment):
    """Predictions in a process of their own, and the facts that it prints."""
    np.save(folder / "images.npy", images)
    ran = subprocess.run(
        [sys.executable, "-c", PREDICT, str(networks), name, str(folder)],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    return np.load(folder / "predictions.npy"), json.loads(ran.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("name", [*SLOW, *STAND_INS])
def test_a_process_that_only_predicts_is_light(name, black_box, tmp_path):
    images = photographs(black_box.input_size, 4)
    expected, seconds = black_box(images), []
    for threads in ("1", "2", "all"):
        run = name, images, tmp_path, converted.CONVERTED
        predictions, facts = predict_elsewhere(*run, OMP_NUM_THREADS=threads)
        assert facts["imported"] == [] and int(facts["kilobytes"][0]) < 400_000
        assert facts["identity"] == [black_box.fingerprint, black_box.n_layers]
        np.testing.assert_array_equal(predictions, expected)
        seconds.append(facts["seconds"])
    assert min(seconds) < 3


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("name", STAND_INS)
def test_a_user_s_keras_json_does_not_matter(name, black_box, tmp_path):
    odd = {"image_data_format": "channels_first", "floatx": "float16", "backend": "jax"}
    (tmp_path / "keras.json").write_text(json.dumps(odd))
    images, home = photographs(black_box.input_size, 2), {"KERAS_HOME": str(tmp_path)}
    predictions, facts = predict_elsewhere(name, images, tmp_path, tmp_path / "new", **home)
    assert "keras" in facts["imported"] and json.loads((tmp_path / "keras.json").read_text()) == odd
    np.testing.assert_array_equal(predictions, black_box(images))


def test_tensorflow_can_be_chosen():
    black_box = load("squeezenet", runtime="tensorflow", cache=False)
    images = photographs(227, 3)
    assert black_box.runtime == f"TensorFlow {tf.__version__}, float32"
    expected = load("squeezenet", cache=False)(images)
    np.testing.assert_allclose(black_box(images), expected, rtol=0, atol=5e-6)
    np.testing.assert_allclose(black_box(images[:1].astype(float)), expected[:1], atol=5e-6)
    assert "TensorFlow" in black_box.randomized(1).runtime


def test_a_gpu_is_used_where_there_is_one(monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/dev/nvidia0")
    assert runtime.select() == "openvino"  # a driver, but no GPU that TensorFlow finds
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [SimpleNamespace()])
    assert runtime.select() == "tensorflow"
    assert runtime.describe("tensorflow") == f"TensorFlow {tf.__version__} on a GPU, float32"
    assert runtime.select("openvino") == "openvino"


def test_without_openvino_tensorflow_is_used_and_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)  # importing it is an ImportError
    names = [load("squeezenet", cache=False).runtime for _ in range(2)]
    assert all(name.startswith("TensorFlow") for name in names)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "without OpenVINO: import of openvino halted" in printed


@pytest.mark.parametrize("given, threads", [("1", 1), ("1,2", 1), ("64", 3), ("", 3), ("x", 3)])
def test_as_many_threads_as_cores_unless_the_environment_wants_fewer(monkeypatch, given, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert runtime.n_threads() == threads
