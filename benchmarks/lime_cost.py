"""What the lab's seven LIME settings cost on one picture: this lab against the package on its own.

    python benchmarks/lime_cost.py [--share 0.1] [--picture FILE]

Both sides explain the picture with EfficientNet-Lite0 in one process, and their weights are compared.
The package is used as its users do: `explain_instance` once a setting, `model.predict`, pictures handed
over in tens. The lab's side starts with an empty memory and leaves the disk alone. The two take turns,
a colour that hides superpixels at a time, so that other work on the machine meets both.

The processor time is that of all cores together, and other work on the machine changes it less than the
time that passes. Divided by that time it says how many cores were busy.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lime import lime_image
from lime.lime_image import LimeImageExplainer

from lab.explain.lime import lime_explanations
from lab.networks.loading import load
from lab.images import list_images, load_image
from lab.study.settings import LAB_SETTINGS


def with_the_lab(black_box, image, settings):
    explained = lime_explanations(
        black_box.__call__, image, settings
    )  # a bare callable: nothing is kept on disk
    return {name: found.package for name, found in explained.items()}


def with_the_package(black_box, image, settings):
    network = black_box._network

    def predict(images):
        return network.predict((images - np.float32(127)) / 128, verbose=0)

    return {
        name: LimeImageExplainer(random_state=setting.seed).explain_instance(
            image,
            predict,
            top_labels=setting.top_labels,
            hide_color=setting.hide_color,
            num_features=setting.num_lime_features,
            num_samples=setting.num_samples,
        )
        for name, setting in settings.items()
    }


def clocks():
    return np.array([time.perf_counter(), time.process_time()])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="share of each setting's num_samples (default: all)",
    )
    parser.add_argument("--picture", type=Path, default=list_images("African_elephant")[0])
    arguments = parser.parse_args()

    settings = {
        name: dataclasses.replace(setting, num_samples=round(setting.num_samples * arguments.share))
        for name, setting in LAB_SETTINGS.items()
    }
    black_box = load("efficientnet_lite0")
    image = load_image(arguments.picture, black_box.input_size)
    lime_image.tqdm = lambda rows: rows  # the package's seven progress bars
    black_box(image[None])  # both graphs are built before the clock starts
    black_box._network.predict(image[None], verbose=0)

    found, spent = {with_the_lab: {}, with_the_package: {}}, {with_the_lab: 0, with_the_package: 0}
    for color in dict.fromkeys(
        setting.hide_color for setting in settings.values()
    ):  # no question is common to two colours
        alike = {name: setting for name, setting in settings.items() if setting.hide_color == color}
        for side in found:
            start = clocks()
            found[side] |= side(black_box, image, alike)
            spent[side] += clocks() - start
    ours, theirs = found.values()

    difference = max(
        abs(weight - dict(theirs[name].local_exp[label])[superpixel])
        for name, explanation in ours.items()
        for label, pairs in explanation.local_exp.items()
        for superpixel, weight in pairs
    )
    largest = max(
        abs(weight)
        for explanation in theirs.values()
        for pairs in explanation.local_exp.values()
        for _, weight in pairs
    )
    calls = sum(setting.num_samples for setting in settings.values())
    print(
        f"{arguments.picture.name}, {black_box.name}, {len(settings)} settings, {calls:,} perturbations"
    )
    for side, (wall, processor) in zip(("lab", "package"), spent.values()):
        print(f"{side:8} {wall:8.1f} s, processor time {processor:8.1f} s")
    wall, processor = spent[with_the_package] / spent[with_the_lab]
    print(f"ratio    {wall:8.1f}  , processor time {processor:8.1f}")
    print(f"largest weight {largest:.1e}, largest difference of a weight {difference:.1e}")


if __name__ == "__main__":
    main()
