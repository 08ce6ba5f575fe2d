"""Cost of RISE around the model: time over that of the bare model, and peak memory.

    python benchmarks/rise_overhead.py [--samples 1000] [--rounds 5] [--processor]

Time: in one process the bare model on ready-made images and each explainer take turns;
the result is the median ratio over rounds. Predictions are not cached. ResNet50 has
random weights, which are as fast as trained ones. Processor time is measured the same
way with a cheap model, a linear one with ten classes of 224 x 224 pixels, and four
times as many samples; `--processor` prints it alone. Memory: each explainer runs in a
process of its own, on 299 x 299 pixels, with a model that costs nothing and has 1,000
classes. Xplique's `Rise` is measured where Xplique is installed. Writes
`benchmarks/results/rise_overhead.csv`.
"""
# ruff: noqa: E402

import argparse
import functools
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.record import record
from lab.networks.blackbox import from_keras
from lab.networks.loading import load
from lab.networks.runtime import version
from lab.networks.tensorflow_setup import keras, tf
from rise import Rise

BATCH = 32


def with_rise(estimator, model, image, samples):
    """Explain class 0 with `rise.py`."""
    Rise(model, BATCH, nb_samples=samples, estimator=estimator).explain_classes(image, 0)


def with_xplique(model, image, samples):
    """Explain class 0 with Xplique."""
    from xplique.attributions import Rise as XpliqueRise

    def score(_, inputs, targets):
        return tf.constant(model(inputs.numpy())[:, 0])

    XpliqueRise(lambda x: x, BATCH, score, samples).explain(image[None], np.ones((1, 1)))


EXPLAINERS = {
    f"rise.py, {estimator}": functools.partial(with_rise, estimator)
    for estimator in ("average", "regression")
}
if version("xplique"):
    EXPLAINERS[f"Xplique {version('xplique')}"] = with_xplique


def times(black_box, samples, rounds):
    """Rows with each explainer's time over that of the bare model."""
    size = black_box.input_size
    image = np.random.default_rng(0).uniform(0, 255, (size, size, 3)).astype(np.float32)
    images = np.repeat(image[None], BATCH, axis=0)

    def bare(model, image, samples):
        for start in range(0, samples, BATCH):
            model(images[: samples - start])

    runs = {"bare": bare} | EXPLAINERS
    seconds = {name: [] for name in runs}
    for number in range(1 + rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run(black_box, image, samples if number else BATCH)  # first, graphs are built
            seconds[name] += [time.perf_counter() - start] if number else []
    return [
        {
            "measure": "time / bare model's time",
            "model": black_box.name,
            "explainer": name,
            "samples": samples,
            "value": round(float(np.median(np.divide(seconds[name], seconds["bare"]))), 3),
        }
        for name in EXPLAINERS
    ]


def processor_times(samples, rounds):
    """Rows with each explainer's processor time over that of a cheap model."""
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (224, 224, 3)).astype(np.float32)
    weights = rng.normal(size=(image.size, 10)).astype(np.float32)
    images = np.repeat(image[None], BATCH, axis=0)

    def model(images):
        return images.reshape(len(images), -1) @ weights

    def bare(model, image, samples):
        for start in range(0, samples, BATCH):
            model(images[: samples - start])

    runs = {"bare": bare} | EXPLAINERS
    seconds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            run(model, image, samples)
            seconds[name].append(time.process_time() - start)
    return [
        {
            "measure": "processor time / bare model's",
            "model": f"linear, {1e3 * np.median(seconds['bare']) / samples:.2f} ms",
            "explainer": name,
            "samples": samples,
            "value": round(float(np.median(np.divide(seconds[name], seconds["bare"]))), 2),
        }
        for name in EXPLAINERS
    ]


def memory(explainer, samples):
    """A row with the peak memory in MB that an explainer adds in a new process."""
    code = f"from benchmarks.rise_overhead import print_peak; print_peak({explainer!r}, {samples})"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return {
        "measure": "peak memory added",
        "model": "none",
        "explainer": explainer,
        "samples": samples,
        "value": round(int(run.stdout.split()[-1]) * 1024 / 1e6),
    }


def print_peak(explainer, samples):
    """Print the memory in KiB that an explainer adds to this process."""
    image = np.ones((299, 299, 3), np.float32)
    outputs = np.random.default_rng(0).random((BATCH, 1000), np.float32)
    before = high_water()
    EXPLAINERS[explainer](lambda inputs: outputs[: len(inputs)], image, samples)
    print(high_water() - before)


def high_water():
    """Peak memory of this process in KiB, on Linux.

    The `resource` module would return the parent's where that is larger.
    """
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def main():
    """Measure time and memory, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processor", action="store_true")
    arguments = parser.parse_args()

    samples, rounds = arguments.samples, arguments.rounds
    cheap = processor_times(4 * samples, rounds)
    if arguments.processor:
        return print(pd.DataFrame(cheap).to_string(index=False))
    squeezenet = load("squeezenet", batch_size=BATCH, cache=False)
    network, source = keras.applications.ResNet50(weights=None), "random weights"
    resnet50 = from_keras(
        network, tf.identity, f"ResNet50, {source}", 224, source, BATCH, cache=False
    )
    rows = cheap + times(squeezenet, samples, rounds) + times(resnet50, samples // 3, rounds)
    rows += [memory(explainer, n) for explainer in EXPLAINERS for n in (samples, 8 * samples)]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    record({"rise_overhead.csv": table})


if __name__ == "__main__":
    main()
