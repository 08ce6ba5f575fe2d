"""The black boxes on OpenVINO against TensorFlow: calls per second, memory, and start.

    python benchmarks/runtime.py [--rounds 5] [--seconds 3]

Each network runs in two processes, one with each runtime, which predict the same images
in turn. TensorFlow gets batches of 32 (``tf.function``). Memory is the peak of a
process that loads the network and predicts; start is the time until the first
prediction. OpenVINO's networks are converted beforehand. Weights that are not available
are random. Writes ``benchmarks/results/runtime.csv`` and prints a Markdown table.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
from record import record

from lab.networks.loading import WeightsUnavailable, load
from lab.networks.registry import NETWORKS

RUNTIMES = ("tensorflow", "openvino")


def serve(name, runtime, seconds):
    """Load a network, print facts about it, and measure once for each input line."""
    start = time.perf_counter()
    black_box = load(name, runtime=runtime, cache=False, stand_in=False)
    size = black_box.input_size
    images = np.random.default_rng(0).integers(0, 256, (64, size, size, 3), np.uint8)
    black_box(images[:1])
    ready = time.perf_counter() - start
    black_box(images)
    memory = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(black_box.runtime, round(int(memory) / 1024), round(ready, 1), sep="\t", flush=True)
    for _ in sys.stdin:
        start, calls = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            black_box(images)
            calls += len(images)
        print(calls / (time.perf_counter() - start), flush=True)


def prepare(name, folder):
    """Write random weights where a network has none, and convert the network."""
    try:
        load(name, stand_in=False)
    except WeightsUnavailable:
        from lab.networks.tensorflow_setup import keras

        keras.utils.set_random_seed(0)
        network = getattr(keras.applications, NETWORKS[name].name)(weights=None)
        network.save(Path(folder, NETWORKS[name].file).with_suffix(".keras"))
        load(name, stand_in=False)


def measure(name, rounds, seconds):
    """Rows of the table for one network, one for each runtime."""
    command = [sys.executable, __file__, "--seconds", str(seconds), "--serve", name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, runtime], **pipes) for runtime in RUNTIMES]
    facts = [process.stdout.readline().rstrip().split("\t") for process in processes]
    speeds = np.empty((rounds, len(processes)))
    for row in speeds:
        for i, process in enumerate(processes):
            print(file=process.stdin, flush=True)
            row[i] = float(process.stdout.readline())
    for process in processes:
        process.communicate()
    ratios = np.median(speeds / speeds[:, :1], axis=0)
    return [
        {
            "network": NETWORKS[name].name,
            "runtime": runtime,
            "calls_per_second": round(speed, 1),
            "ratio": round(ratio, 2),
            "megabytes": int(megabytes),
            "start_seconds": float(start),
        }
        for (runtime, megabytes, start), speed, ratio in zip(
            facts, np.median(speeds, axis=0), ratios
        )
    ]


def main():
    """Measure all networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each runtime")
    parser.add_argument("--seconds", type=float, default=3, help="least length of each")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(*arguments.serve, arguments.seconds)
    if arguments.prepare:
        return prepare(*arguments.prepare)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("LAB_WEIGHTS", folder)
        for name in NETWORKS:
            command = [sys.executable, __file__, "--prepare", name, os.environ["LAB_WEIGHTS"]]
            subprocess.run(command, check=True)
            rows += measure(name, arguments.rounds, arguments.seconds)
    table = pd.DataFrame(rows)
    lines = [table.columns, ["---"] * table.shape[1], *table.to_numpy()]
    print("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))
    record({"runtime.csv": table})


if __name__ == "__main__":
    main()
