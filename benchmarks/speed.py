"""Speed of LIME, of RISE and of the networks, against other software.

    python benchmarks/speed.py {lime,rise,networks} ... [--share 1.0] [--rounds 5]

Processor time is summed over all cores and is less sensitive to other work than time.
In rise and networks, what is compared takes turns. No prediction is cached. Writes
`benchmarks/results/speed.csv`, in which measurements that are not named keep their
rows.

lime: the lab's seven settings explain one image with EfficientNet-Lite0. The `lime`
package is used as its documentation shows: `explain_instance` for each setting, in
batches of ten, with Keras' ``model.predict``. The lab shares samples between settings
and predicts with its own runtime. The weights of both are compared.

rise: times over those of the bare model on ready-made images, the median over rounds,
with a cheap model on 224 x 224 pixels and 4,000 masks, and with SqueezeNet 1.1 and a
quarter of them; and the peak memory that an explainer adds, with a model of 1,000
classes that costs nothing. Beside `rise.py` runs plain NumPy with all masks in memory,
and Xplique's `Rise` where it is installed.

networks: predictions a second with OpenVINO and with TensorFlow (``tf.function``,
batches of 32), peak memory, and seconds until the first prediction: the median over
rounds, each in a new process. OpenVINO's networks are converted beforehand. Weights
that are not available are random.
"""
# ruff: noqa: E402

import argparse
import functools
import multiprocessing
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.record import record
from lab.images import list_images, load_image
from lab.networks.loading import NETWORKS, WeightsUnavailable, load
from lab.networks.runtime import version
from rise import Rise

BATCH, SIZE, MASKS = 32, 224, 4000
SECONDS = 3  # of predictions, at least, in a round
QUANTITIES = "calls a second", "start in seconds", "peak memory in MB", "ratio to TensorFlow"


def in_new_process(function, *arguments):
    """What a function returns in a new process, whose peak memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def peak_memory():
    """Peak memory of this process in MB, on Linux."""
    status = Path("/proc/self/status").read_text()
    return round(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 / 1e6)


def timed(function, *arguments):
    """Seconds and processor seconds that a call takes, and what it returns."""
    start = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return np.subtract((time.perf_counter(), time.process_time()), start), result


def lime(share, _):
    """Rows of LIME's settings, with a share of their samples."""
    from lime import lime_image

    from lab.methods.lime import lime_explanations
    from lab.study.settings import LAB_SETTINGS

    def with_lab():
        return [each.package for each in lime_explanations(black_box, image, settings).values()]

    def keras_predict(images):
        return black_box.inside.predict(black_box.preprocessed(images), verbose=0)

    def with_package():
        return [
            lime_image.LimeImageExplainer(random_state=setting.seed).explain_instance(
                image,
                keras_predict,
                top_labels=setting.top_labels,
                hide_color=setting.hide_color,
                num_features=setting.num_lime_features,
                num_samples=setting.num_samples,
            )
            for setting in settings.values()
        ]

    settings = {
        name: replace(setting, num_samples=round(setting.num_samples * share))
        for name, setting in LAB_SETTINGS.items()
    }
    black_box = load("efficientnet_lite0", cache=False)
    image = load_image(list_images("African_elephant")[0], black_box.input_size)
    lime_image.tqdm = lambda rows: rows  # without the package's progress bars
    for size in (1, 10):  # both graphs are built before the clock starts
        batch = np.repeat(image[None], size, axis=0)
        black_box(batch), keras_predict(batch)

    common = black_box.name, sum(setting.num_samples for setting in settings.values())
    weights = []
    for software, explain in (("lab", with_lab), (f"lime {version('lime')}, Keras", with_package)):
        seconds, explanations = timed(explain)
        labels = (sorted(each.local_exp.items()) for each in explanations)
        weights.append([w for each in labels for _, pairs in each for _, w in sorted(pairs)])
        for quantity, value in zip(("seconds", "processor seconds"), seconds):
            yield *common, software, quantity, value
    difference = np.abs(np.subtract(*weights)).max()
    yield *common, "lab", "largest difference from the package's weights", difference
    yield *common, software, "largest weight", np.abs(weights[1]).max()


def with_rise(estimator, model, image, samples):
    """Class 0's map by `rise.py`."""
    rise = Rise(model, BATCH, nb_samples=samples, estimator=estimator)
    return rise.explain_classes(image, 0)[0]


def with_numpy(model, image, samples, grid=7, p=0.5):
    """Class 0's map as the paper's authors compute it (github.com/eclique/RISE)."""
    from skimage.transform import resize

    generator = np.random.default_rng(0)
    height, width = image.shape[:2]
    cell = np.array([-(-height // grid), -(-width // grid)])
    masks = np.empty((samples, height, width), np.float32)
    for mask in masks:
        cells = (generator.random((grid, grid)) < p).astype(np.float32)
        large = resize(cells, (grid + 1) * cell, order=1, mode="reflect", anti_aliasing=False)
        y, x = generator.integers(0, cell)
        mask[:] = large[y : y + height, x : x + width]
    batches = np.split(masks[..., None], range(BATCH, samples, BATCH))
    scores = np.concatenate([model(image * batch)[:, 0] for batch in batches])
    return (scores @ masks.reshape(samples, -1)).reshape(height, width) / samples / p


def with_xplique(model, image, samples):
    """Class 0's map by Xplique."""
    from benchmarks import quality

    model_of_class = lambda images: model(np.asarray(images))[:, :1]  # noqa: E731
    return quality.with_xplique("Rise", model_of_class, image, samples, seed=0)


EXPLAINERS = {
    "rise.py, regression": functools.partial(with_rise, "regression"),
    "rise.py, average": functools.partial(with_rise, "average"),
    "NumPy, masks in memory": with_numpy,
}
if version("xplique"):
    EXPLAINERS[f"Xplique {version('xplique')}"] = with_xplique


def cheap(images):
    """A probability: how bright the middle of 28 x 28 cells is."""
    cells = images.reshape(len(images), 28, SIZE // 28, 28, -1).mean((2, 4)) / 255
    return 1 / (1 + np.exp(2 - 4 * cells[:, 9:19, 9:19].mean((1, 2))))[:, None]


def noise(size):
    """An image of random floats."""
    return np.random.default_rng(0).uniform(0, 255, (size, size, 3)).astype(np.float32)


def memory_added(explainer, samples):
    """Peak memory in MB that an explainer adds to this process and its imports."""
    outputs = np.ones((BATCH, 1000), np.float32)
    for size, n in ((14, BATCH), (SIZE, samples)):  # the first run imports what it needs
        before = peak_memory()
        EXPLAINERS[explainer](lambda inputs: outputs[: len(inputs)], noise(size), n)
    return peak_memory() - before


def rise(share, rounds):
    """Rows of RISE with a share of the masks."""

    def bare(model, image, samples):
        for start in range(0, samples, BATCH):
            model(images[: samples - start])

    samples = round(MASKS * share)
    network = load("squeezenet", batch_size=BATCH, cache=False)
    for name, model, size, n in (
        ("cheap", cheap, SIZE, samples),
        (network.name, network, network.input_size, samples // 4),
    ):
        image, images = noise(size), np.repeat(noise(size)[None], BATCH, axis=0)
        runs = {"bare": bare} | EXPLAINERS
        for run in runs.values():  # graphs are built before the clock starts
            run(model, image, 4 * BATCH)
        times = [[timed(run, model, image, n)[0] for run in runs.values()] for _ in range(rounds)]
        ratios = np.median(np.divide(times, np.array(times)[:, :1]), axis=0)[1:]
        for explainer, (wall, processor) in zip(EXPLAINERS, ratios):
            yield name, n, explainer, "time / bare model's time", wall
            yield name, n, explainer, "processor time / bare model's", processor
    for explainer in EXPLAINERS:
        megabytes = in_new_process(memory_added, explainer, samples)
        yield "none", samples, explainer, "peak memory added in MB", megabytes


def convert(name, folder):
    """Write random weights where a network has none, and convert the network."""
    try:
        load(name)
    except WeightsUnavailable:
        from lab.networks.tensorflow_setup import keras

        keras.utils.set_random_seed(0)
        network = getattr(keras.applications, NETWORKS[name].name)(weights=None)
        network.save(Path(folder, NETWORKS[name].file).with_suffix(".keras"))
        load(name)


def predict(name, runtime):
    """The runtime's name, calls a second, seconds until the first, and peak memory."""
    start = time.perf_counter()
    black_box = load(name, runtime=runtime, cache=False)
    size = black_box.input_size
    images = np.random.default_rng(0).integers(0, 256, (64, size, size, 3), np.uint8)
    black_box(images[:1])
    first = time.perf_counter() - start
    black_box(images)
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        calls += len(black_box(images))
    return black_box.runtime, calls / (time.perf_counter() - start), first, peak_memory()


def networks(_, rounds):
    """Rows of all networks with both runtimes."""
    with tempfile.TemporaryDirectory() as folder:
        folder = os.environ.get("LAB_WEIGHTS") or folder
        os.environ["LAB_WEIGHTS"] = folder  # inherited by the processes
        for name in NETWORKS:
            in_new_process(convert, name, folder)
            runs = [
                [in_new_process(predict, name, runtime) for runtime in ("tensorflow", "openvino")]
                for _ in range(rounds)
            ]
            numbers = np.array([[numbers for _, *numbers in sides] for sides in runs])
            ratios = numbers[..., :1] / numbers[:, :1, :1]
            medians = np.median(np.concatenate([numbers, ratios], axis=2), axis=0)
            for (runtime, *_), row in zip(runs[0], medians):
                for quantity, value in zip(QUANTITIES, row):
                    yield NETWORKS[name].name, "", runtime, quantity, value


MEASUREMENTS = {"lime": lime, "rise": rise, "networks": networks}


def main():
    """Measure, print and write what was named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", choices=MEASUREMENTS)
    parser.add_argument("--share", type=float, default=1.0, help="of samples and masks")
    parser.add_argument("--rounds", type=int, default=5, help="of rise and networks (default: 5)")
    arguments = parser.parse_args()
    columns = ["network", "samples", "software", "quantity", "value"]
    for name in arguments.names:
        rows = MEASUREMENTS[name](arguments.share, arguments.rounds)
        table = pd.DataFrame(tqdm(rows, desc=name, unit="row"), columns=columns)
        table["value"] = table["value"].map("{:.4g}".format)
        table.insert(0, "measurement", name)
        print(table.to_string(index=False))
        record({"speed.csv": table}, replacing="measurement")


if __name__ == "__main__":
    main()
