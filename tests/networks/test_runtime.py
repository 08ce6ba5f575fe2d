import builtins
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
from lab.images import load_image
from lab.networks import converted, runtime
from lab.networks.loading import load, load_or_stand_in
from lab.networks.tensorflow_setup import keras, tf

PREPROCESS = {
    "xception": keras.applications.xception.preprocess_input,
    "resnet50": keras.applications.resnet.preprocess_input,
    "efficientnet_lite0": lambda images: (images - 127) / 128,
    "squeezenet": keras.applications.resnet.preprocess_input,
}


def photographs(size, n=6):
    paths = sorted((ROOT / "data").glob("*/*.jpg"))[:n]
    return np.stack([load_image(path, size) for path in paths])


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("xception", "resnet50")]
STAND_INS = ["efficientnet_lite0", "squeezenet"]


write_once = functools.cache(write_real_graphs)


@pytest.fixture
def black_box(name, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LAB_BLACKBOX", "auto")
    monkeypatch.setenv("LAB_WEIGHTS", str(tmp_path_factory.getbasetemp()))
    if name in STAND_INS:
        return load(name, cache=False)
    write_once(tmp_path_factory.getbasetemp())
    return load_or_stand_in(name)


@pytest.mark.parametrize("name", [*SLOW, *STAND_INS])
def test_the_runtime_agrees_with_keras(name, black_box):
    images = photographs(black_box.input_size)
    inputs = PREPROCESS[name](images.astype(np.float32))
    expected = np.asarray(black_box.inside(inputs, training=False))
    np.testing.assert_allclose(black_box(images), expected, rtol=1e-3, atol=0)
    np.testing.assert_allclose(black_box(images), expected, rtol=0, atol=5e-6)
    assert "OpenVINO" in black_box.runtime and black_box.runtime in repr(black_box)
    np.testing.assert_allclose(black_box.preprocessed(images), inputs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [*SLOW, *STAND_INS])
def test_a_prediction_depends_on_its_image_alone(name, black_box):
    images = photographs(black_box.input_size)
    expected = black_box(images)
    for batch_size in (1, 4):
        again = load(name, batch_size=batch_size, cache=False)
        np.testing.assert_array_equal(again(images[::-1].astype(np.float64)), expected[::-1])
        np.testing.assert_array_equal(again(images[3:4]), expected[3:4])


LIGHT = """
import json, sys, time
from pathlib import Path
start = time.perf_counter()
from lab.networks import converted
from lab.networks.loading import load
converted.FOLDER, name, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
black_box = load(name, cache=False)
seconds = time.perf_counter() - start
STATUS = Path("/proc/self/status")  # getrusage includes the parent's memory
import numpy as np
np.save(folder / "predictions.npy", black_box(np.load(folder / "images.npy")))
print(json.dumps({
    "seconds": seconds,
    "kilobytes": [line.split()[1] for line in STATUS.open() if line.startswith("VmHWM")],
    "imported": [m for m in ("tensorflow", "keras", "openvino_telemetry") if m in sys.modules],
    "fingerprint": black_box.fingerprint,
    "n_layers": black_box.n_layers,
}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("name", [*SLOW, *STAND_INS])
def test_a_process_that_only_predicts_is_light(name, black_box, tmp_path):
    images = photographs(black_box.input_size, 4)
    expected = black_box(images)
    np.save(tmp_path / "images.npy", images)
    seconds = []
    for threads in ("1", "2", "all"):
        output = subprocess.run(
            [sys.executable, "-c", LIGHT, str(converted.FOLDER), name, str(tmp_path)],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": threads},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        facts = json.loads(output)
        assert facts["imported"] == [] and int(facts["kilobytes"][0]) < 400_000
        assert facts["fingerprint"] == black_box.fingerprint
        assert facts["n_layers"] == black_box.n_layers
        np.testing.assert_array_equal(np.load(tmp_path / "predictions.npy"), expected)
        seconds.append(facts["seconds"])
    assert min(seconds) < 3


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
    def no_openvino(name, *arguments, **options):
        if name == "openvino":
            raise ImportError("no wheel for this platform")
        return original(name, *arguments, **options)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", no_openvino)
    runtime._has_openvino.cache_clear()
    names = [load("squeezenet", cache=False).runtime for _ in range(2)]
    runtime._has_openvino.cache_clear()
    printed = capsys.readouterr().out
    assert "TensorFlow" in names[0] and "OpenVINO" not in names[1]
    assert printed.count("\n") == 1 and "no wheel for this platform" in printed


@pytest.mark.parametrize("given, threads", [("1", 1), ("1,2", 1), ("64", 3), ("", 3), ("x", 3)])
def test_as_many_threads_as_cores_unless_the_environment_wants_fewer(monkeypatch, given, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert runtime.n_threads() == threads


KERAS_JSON = """
import sys
from pathlib import Path
import numpy as np
from lab.networks import converted
from lab.networks.loading import load
converted.FOLDER = Path(sys.argv[1])
for name in ("squeezenet", "efficientnet_lite0"):
    images = np.load(Path(sys.argv[2], f"{name}.npy"))
    np.save(Path(sys.argv[2], f"{name}.out.npy"), load(name, cache=False)(images))
"""


def test_a_user_s_keras_json_does_not_matter(tmp_path):
    expected = {}
    for name in ("squeezenet", "efficientnet_lite0"):
        black_box = load(name, cache=False)
        images = photographs(black_box.input_size, 2)
        np.save(tmp_path / f"{name}.npy", images)
        expected[name] = black_box(images)
    odd = {"image_data_format": "channels_first", "floatx": "float16", "backend": "jax"}
    (tmp_path / "keras.json").write_text(json.dumps(odd))
    subprocess.run(
        [sys.executable, "-c", KERAS_JSON, str(tmp_path / "new"), str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"KERAS_HOME": str(tmp_path)},
        check=True,
    )
    for name, predictions in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.out.npy"), predictions)
    assert json.loads((tmp_path / "keras.json").read_text()) == odd
