import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from counting import Counting

from lab.files import ROOT
from lab.networks import keras_networks, prediction_cache
from lab.networks.blackbox import from_keras
from lab.networks.prediction_cache import PredictionCache
from lab.networks.tensorflow_setup import keras

IMAGES = np.random.default_rng(0).integers(0, 256, (70, 4, 5, 3), np.uint8)


class Softmax(Counting):
    def answer(self, images):
        scores = np.exp(images.reshape(len(images), -1)[:, :3].astype(np.float32) / 255)
        return scores[:, np.arange(1000) % 3]


@pytest.fixture
def model():
    return Softmax()


@pytest.fixture
def cached(model):
    return PredictionCache(model, "softmax")


def database():
    return sqlite3.connect(prediction_cache.FILE)


def test_an_image_is_predicted_once(model, cached):
    expected = Softmax()(IMAGES)
    for rows in (np.arange(40), np.arange(39, -1, -1), np.repeat(np.arange(30, 70), 2)):
        np.testing.assert_array_equal(cached(np.asfortranarray(IMAGES[rows])), expected[rows])
    assert model.calls == 70
    prediction_cache._open.cache_clear()  # as another process would, opens the file again
    result = PredictionCache(model, "softmax")(IMAGES)
    assert model.calls == 70 and result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)


def test_results_are_memory_of_the_caller(cached):
    expected = Softmax()(IMAGES[:2])
    for _ in range(3):  # from the model, then from the file
        result = cached(IMAGES[:2])
        np.testing.assert_array_equal(result, expected)
        result[:] = 0


def test_other_values_types_shapes_and_models_have_entries_of_their_own(model, cached):
    cached(IMAGES[:1])
    other = IMAGES[:1].copy()
    other[0, -1, -1, -1] ^= 1
    for images in (other, IMAGES[:1].view(np.int8), IMAGES[:1].reshape(1, 5, 4, 3)):
        cached(images)
    PredictionCache(model, "another")(IMAGES[:1])
    assert model.calls == 5


@pytest.mark.parametrize(
    "damage",
    [
        "entry = substr(entry, 1, 100)",
        "entry = x''",
        "entry = 'text'",
        "entry = 1.5",
        "entry = zeroblob(4016)",
        "entry = (SELECT entry FROM predictions WHERE number = 2)",
        "entry = substr(entry, 1, 8) || x'00' || substr(entry, 10)",
    ],
)
def test_a_damaged_entry_is_predicted_again(model, cached, damage):
    expected = cached(IMAGES[:3])
    with database() as connection:
        connection.execute(f"UPDATE predictions SET {damage} WHERE number = 1")
    for calls in (4, 4):  # and replaced
        np.testing.assert_array_equal(cached(IMAGES[:3]), expected)
        assert model.calls == calls


def test_an_entry_that_is_not_finite_is_predicted_again(cached):
    broken = lambda images: np.full((len(images), 1000), np.nan, np.float32)  # noqa: E731
    PredictionCache(broken, "softmax")(IMAGES[:2])
    assert np.isfinite(cached(IMAGES[:2])).all()


def not_a_database(file):
    file.parent.mkdir()
    file.write_bytes(b"not a database" * 1000)


def another_table(file):
    file.parent.mkdir()
    with database() as connection:
        connection.execute("CREATE TABLE predictions (image, probabilities)")


def no_folder(file):
    file.parent.write_text("a file where the folder should be")


@pytest.mark.parametrize("damage", [not_a_database, another_table, no_folder])
def test_without_the_file_predictions_are_made_and_one_line_says_so(model, cached, capsys, damage):
    damage(prediction_cache.FILE)
    for calls in (70, 140):
        np.testing.assert_array_equal(cached(IMAGES), Softmax()(IMAGES))
        assert model.calls == calls
    PredictionCache(model, "another")(IMAGES)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and f"{prediction_cache.FILE} cannot be used" in printed


def test_a_full_disk_loses_nothing(model, cached, capsys):
    cached(IMAGES[:2])
    connection = prediction_cache._open(prediction_cache.FILE)._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own way to be full
    np.testing.assert_array_equal(cached(IMAGES), Softmax()(IMAGES))
    assert "full" in capsys.readouterr().out and model.calls == 70


def test_a_locked_file_is_not_waited_for_for_ever(cached, capsys, monkeypatch):
    cached(IMAGES[:2])
    prediction_cache._open.cache_clear()
    monkeypatch.setattr(prediction_cache, "_TIMEOUT", 0.1)
    locking = database()
    locking.execute("BEGIN EXCLUSIVE")
    np.testing.assert_array_equal(cached(IMAGES), Softmax()(IMAGES))
    assert "locked" in capsys.readouterr().out


def test_the_file_does_not_grow_for_ever(model, cached, monkeypatch):
    monkeypatch.setattr(prediction_cache, "LIMIT", 400_000)
    images = np.arange(300, dtype=np.int32).repeat(60).reshape(300, 4, 5, 3)
    for start in range(0, 300, 10):
        cached(images[start : start + 10])
    assert prediction_cache.FILE.stat().st_size < 600_000
    before = model.calls
    cached(images[-20:])  # the newest stay
    assert model.calls == before
    cached(images[:20])
    assert model.calls == before + 20


def variant(change):
    """A small network whose weights and name are the same whatever changes."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    strides = 3 if change == "strides" else 1
    pool = layers.GlobalMaxPooling2D if change == "pooling" else layers.GlobalAveragePooling2D
    activation = None if change == "softmax" else "softmax"
    network = keras.Sequential([layers.Input((16, 16, 3)), layers.Conv2D(4, 3, strides), pool()])
    network.add(layers.Dense(5, activation=activation))
    preprocess = keras_networks.preprocessing("caffe" if change == "BGR" else "imagenet")
    return network, preprocess


@pytest.mark.parametrize("runtime", ["openvino", "tensorflow"])
def test_what_computes_is_the_key_and_not_its_name_and_weights(runtime):
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    fingerprints = set()
    for change in (None, "strides", "pooling", "softmax", "BGR", None):
        network, preprocess = variant(change)
        black_box = from_keras(network, preprocess, "Same", 16, "made here", runtime=runtime)
        expected = np.asarray(network(preprocess(images.astype(np.float32)), training=False))
        np.testing.assert_allclose(black_box(images), expected, rtol=1e-5, atol=1e-5)
        fingerprints.add(black_box.fingerprint)
    assert len(fingerprints) == 1  # results are identified by it
    with database() as connection:
        # One more on TensorFlow, whose graph names how many layers were made before.
        [(entries,)] = connection.execute("SELECT count(*) FROM predictions")
    assert entries == (15 if runtime == "openvino" else 18)


TWO = """
import sys
from pathlib import Path
import numpy as np
from lab.networks import load, prediction_cache

prediction_cache.FILE = Path(sys.argv[1])
model, preprocess = sys.argv[2:]
images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
black_box, plain = (load(model, preprocess=preprocess, cache=cache) for cache in (True, False))
sys.stdin.readline()
for _ in range(2):
    assert np.array_equal(black_box(images), plain(images))
"""


def test_processes_with_the_same_weights_and_other_preprocessing():
    model = ROOT / "tests" / "networks" / "models" / "tiny.onnx"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(prediction_cache.FILE), str(model), preprocess],
            stdin=subprocess.PIPE,
            cwd=ROOT,
        )
        for preprocess in ("caffe", "imagenet")
    ]
    for process in processes:
        process.communicate(b"\n", timeout=120)
        assert process.returncode == 0
    with database() as connection:
        assert connection.execute("SELECT count(*) FROM predictions").fetchone() == (80,)


MANY = """
import os
import sys
from pathlib import Path
import numpy as np
from lab.networks import prediction_cache

prediction_cache.FILE = Path(sys.argv[1])
calls = 0

def model(images):
    global calls
    calls += len(images)
    return images.mean(axis=(1, 2), dtype=np.float32)[:, np.arange(1000) % 3]

cached = prediction_cache.PredictionCache(model, "many")
images = np.random.default_rng(1).integers(0, 256, (300, 4, 4, 3), np.uint8)
print("ready", flush=True)
sys.stdin.readline()
for start in range(0, 300, 3):
    batch = images[start : start + 3]
    assert np.array_equal(cached(batch), model(batch))
print(calls - 300, flush=True)
os._exit(0)
"""


def test_processes_use_the_file_at_the_same_time():
    command = [sys.executable, "-c", MANY, str(prediction_cache.FILE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0 and output.strip().isdecimal(), output
    # What each wrote before it ended without closing the file is there.
    last = subprocess.run(command, input="\n", capture_output=True, text=True, cwd=ROOT)
    assert last.stdout == "ready\n0\n", last.stderr
