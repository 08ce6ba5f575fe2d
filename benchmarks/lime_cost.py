"""Cost of LIME's seven settings on one image: this lab against the `lime` package.

    python benchmarks/lime_cost.py [--share 0.2] [--image FILE]

Both sides explain the image with EfficientNet-Lite0 in one process, and their weights
are compared. The package is used as its documentation shows: `explain_instance` for
each setting, in batches of ten, with Keras' ``model.predict``. The lab's side shares
samples between settings and predicts with the lab's runtime, without its cache on disk.

Settings with the same `hide_color` form a turn, and both sides take each turn one after
the other, so that other work on the machine slows down both. Processor time is summed
over all cores and is less sensitive to other work.
"""
# ruff: noqa: E402

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
from lime import lime_image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lab.images import list_images, load_image
from lab.methods.lime import lime_explanations
from lab.networks.loading import load
from lab.study.settings import LAB_SETTINGS


def with_the_lab(black_box, image, settings):
    """The package's explanation objects, by setting, made by the lab."""
    explanations = lime_explanations(black_box, image, settings)
    return {name: explanation.package for name, explanation in explanations.items()}


def with_the_package(black_box, image, settings):
    """The same, made by the package and Keras alone."""
    return {
        name: lime_image.LimeImageExplainer(random_state=setting.seed).explain_instance(
            image,
            lambda images: black_box.keras_model.predict(black_box.preprocessed(images), verbose=0),
            top_labels=setting.top_labels,
            hide_color=setting.hide_color,
            num_features=setting.num_lime_features,
            num_samples=setting.num_samples,
        )
        for name, setting in settings.items()
    }


def weights(explanations):
    """All weights of some explanations as one array, in the order of superpixels."""
    return np.concatenate(
        [
            [weight for _, weight in sorted(explanation.local_exp[label])]
            for _, explanation in sorted(explanations.items())
            for label in sorted(explanation.local_exp)
        ]
    )


def main():
    """Run both sides in turns and print their times, the ratio and the difference."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--share", type=float, default=1.0, help="of each setting's num_samples")
    parser.add_argument("--image", type=Path, default=list_images("African_elephant")[0])
    arguments = parser.parse_args()

    turns = {}
    for name, setting in LAB_SETTINGS.items():
        num_samples = round(setting.num_samples * arguments.share)
        setting = dataclasses.replace(setting, num_samples=num_samples)
        turns.setdefault(setting.hide_color, {})[name] = setting  # no sample fits two colours
    black_box = load("efficientnet_lite0", cache=False)
    image = load_image(arguments.image, black_box.input_size)
    lime_image.tqdm = lambda rows: rows  # without the package's progress bars
    for size in (1, 10):  # both graphs are built before the clock starts
        batch = np.repeat(image[None], size, axis=0)
        black_box(batch)
        black_box.keras_model.predict(black_box.preprocessed(batch), verbose=0)

    sides = {"lab": with_the_lab, "package": with_the_package}
    explanations, seconds = {name: {} for name in sides}, dict.fromkeys(sides, 0)
    for settings in turns.values():
        for name, explain in sides.items():
            start = np.array([time.perf_counter(), time.process_time()])
            explanations[name] |= explain(black_box, image, settings)
            seconds[name] += np.array([time.perf_counter(), time.process_time()]) - start

    calls = sum(setting.num_samples for settings in turns.values() for setting in settings.values())
    print(f"{arguments.image.name}, {black_box.name}, {black_box.runtime}, {calls:,} samples")
    for name, (wall, processor) in seconds.items():
        print(f"{name:8} {wall:8.1f} s, processor time {processor:8.1f} s")
    wall, processor = seconds["package"] / seconds["lab"]
    print(f"ratio    {wall:8.1f}  , processor time {processor:8.1f}")
    ours, theirs = map(weights, explanations.values())
    difference = np.abs(ours - theirs).max()
    print(f"largest weight {np.abs(theirs).max():.1e}, largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
