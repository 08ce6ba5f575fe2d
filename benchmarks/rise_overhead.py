"""What RISE costs around the model: time over that of the bare model, and peak memory.

    python benchmarks/rise_overhead.py [--samples 1000] [--rounds 5]

Time: the bare model on ready-made pictures and each explainer take turns in one process; the median
ratio over rounds counts. ResNet50 has random weights here: its speed is that of the real one.
Memory: each explainer in a process of its own, 299 x 299 pixels, a model that costs nothing, all of
1,000 classes kept by `rise.py`. Writes `benchmarks/results/rise_overhead.csv`.
"""

import argparse
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lab.networks.loading import load  # before TensorFlow: it keeps the start quiet

import keras
import pandas as pd
import tensorflow as tf
from xplique.attributions import Rise as XpliqueRise

from record import record
from rise import Rise

BATCH = 32


def with_rise(model, image, samples, estimator):
    Rise(model, BATCH, nb_samples=samples, estimator=estimator).estimate(image, [0])


def with_xplique(model, image, samples):
    def score(_, inputs, targets):
        return tf.constant(model(inputs.numpy())[:, 0])

    XpliqueRise(lambda x: x, BATCH, score, samples).explain(image[None], np.ones((1, 1)))


EXPLAINERS = {
    "rise.py, average": lambda *run: with_rise(*run, "average"),
    "rise.py, regression": lambda *run: with_rise(*run, "regression"),
    f"Xplique {version('xplique')}": with_xplique,
}


def random_resnet50():
    network = keras.applications.ResNet50(weights=None)
    predict = tf.function(
        lambda x: network(x, training=False),
        input_signature=[tf.TensorSpec((None, 224, 224, 3), tf.float32)],
    )
    return lambda x: predict(x).numpy()


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratios(name, model, size, samples, rounds):
    image = np.random.default_rng(0).uniform(0, 255, (size, size, 3)).astype(np.float32)
    batch = np.repeat(image[None], BATCH, axis=0)
    whole, rest = divmod(samples, BATCH)

    def bare():
        for _ in range(whole):
            model(batch)
        if rest:
            model(batch[:rest])

    bare()
    for explain in EXPLAINERS.values():
        explain(model, image, BATCH)
    taken = {explainer: [] for explainer in ["bare", *EXPLAINERS]}
    for _ in range(rounds):
        taken["bare"].append(seconds(bare))
        for explainer, explain in EXPLAINERS.items():
            taken[explainer].append(seconds(lambda: explain(model, image, samples)))  # noqa: B023
    return [
        {
            "measure": "time / bare model's time",
            "model": name,
            "explainer": explainer,
            "samples": samples,
            "value": round(float(np.median(np.divide(taken[explainer], taken["bare"]))), 3),
        }
        for explainer in EXPLAINERS
    ]


PEAK = """
import sys
sys.path.insert(0, {folder!r})
from rise_overhead import BATCH, EXPLAINERS, high_water, np
image, outputs = np.ones((299, 299, 3), np.float32), np.random.default_rng(0).random((BATCH, 1000), np.float32)
explain, model = EXPLAINERS[{explainer!r}], lambda x: outputs[:len(x)]
before = high_water()
explain(model, image, {samples})
print(high_water() - before)
"""


def high_water():
    """Most memory this process has had, in kB; on Linux. The `resource` module would tell its parent's."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def peak(explainer, samples):
    code = PEAK.format(folder=str(Path(__file__).parent), explainer=explainer, samples=samples)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {
        "measure": "peak memory added",
        "model": "none",
        "explainer": explainer,
        "samples": samples,
        "value": round(int(done.stdout.split()[-1]) * 1024 / 1e6),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    rows = []
    squeezenet = load("squeezenet", batch_size=BATCH)
    rows += ratios(
        squeezenet.name, squeezenet, squeezenet.input_size, arguments.samples, arguments.rounds
    )
    rows += ratios(
        "ResNet50, random weights", random_resnet50(), 224, arguments.samples // 3, arguments.rounds
    )
    rows += [peak(explainer, samples) for explainer in EXPLAINERS for samples in (1000, 8000)]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    record({"rise_overhead.csv": table})


if __name__ == "__main__":
    main()
