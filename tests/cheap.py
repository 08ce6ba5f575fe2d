"""Images, black boxes and results for tests, small and cheap."""

import json

import numpy as np
import pytest
from counting import Counting
from PIL import Image

from lab.images import load_image, load_mask
from lab.model_calls import predict
from lab.networks.classes import imagenet
from lab.study import __main__ as command
from lab.study.results import Results
from lab.study.runner import measure
from lab.study.store import Result, store


def tiles(rows=4, columns=5, side=16, seed=0):
    """Noisy tiles of random colours, none black, which quickshift finds again."""
    rng = np.random.default_rng(seed)
    plain = rng.integers(30, 226, (rows, columns, 3)).repeat(side, axis=0).repeat(side, axis=1)
    return (plain + rng.integers(-10, 10, plain.shape)).astype(np.uint8)


class Places(Counting):
    """Four classes with interactions between places."""

    def answer(self, images):
        x = np.asarray(images, float) / 255
        middle = x.shape[2] // 2
        left, right = x[:, :, :middle, 0].mean((1, 2)), x[:, 5:30, middle:, 1].mean((1, 2))
        scores = np.stack(
            [left + 3 * left * right, right**2, x[..., 2].mean((1, 2)), np.sin(9 * left)], axis=1
        )
        return np.exp(4 * scores) / np.exp(4 * scores).sum(axis=1, keepdims=True)


class Network(Counting):
    """A network as studies use it: a softmax of colours in 4 x 4 places and products.

    With `cached`, an image that was predicted before costs no call, as with the
    networks of `lab.networks.loading`.
    """

    source = "random numbers"
    runtime = "NumPy"
    stands_in_for = None
    n_layers = 8
    classes = imagenet()
    class_names, class_name = classes.names, classes.name
    class_index, close_names = classes.index, classes.close
    alive = [386, 101, 385, 295, 294, 7, 999]  # the ImageNet classes with a high probability

    def __init__(self, name="Cheap", input_size=64, seed=0, layers=0, cached=False):
        super().__init__()
        self.name, self.input_size, self.seed = name, input_size, seed
        self.cache = {} if cached else None
        self.fingerprint = f"{name}, seed {seed}"
        weights = np.random.default_rng(seed).normal(size=(96, len(self.alive))).astype(np.float32)
        self.weights = np.random.default_rng(layers).permutation(weights) if layers else weights

    def __call__(self, images):
        if self.cache is None:
            return super().__call__(images)
        keys = [image.tobytes() for image in images]
        new = {key: place for place, key in enumerate(keys) if key not in self.cache}
        if new:
            self.cache |= zip(new, super().__call__(images[list(new.values())]))
        return np.stack([self.cache[key] for key in keys])

    def answer(self, images):
        middles = np.arange(4) * self.input_size // 4 + self.input_size // 8
        places = images[:, middles][:, :, middles].reshape(len(images), 48).astype(np.float32) / 255
        features = np.concatenate([places, places * np.roll(places, 5, axis=1)], axis=1)
        scores = np.full((len(images), 1000), 1e-3, np.float32)
        scores[:, self.alive] = np.exp(features @ self.weights)
        return scores / scores.sum(axis=1, keepdims=True)

    def top(self, image, k=3):
        [probabilities] = predict(self, image[None])
        order = np.argsort(-probabilities, kind="stable")[:k]
        return [(int(i), self.class_name(i), float(probabilities[i])) for i in order]

    def randomized(self, layers, seed=0):
        return Network(f"{self.name}, {layers} random", self.input_size, self.seed, layers)


NETWORKS = {"xception": Network("First", 64, seed=0), "resnet50": Network("Second", 80, seed=1)}


def noise_occlusion(black_box, image, label, budget, seed, side):
    """A method that the lab does not have: windows without overlap show noise."""
    rng, (height, width) = np.random.default_rng(seed), image.shape[:2]
    noise = rng.integers(0, 256, image.shape, np.uint8)
    corners = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    windows = [np.s_[y : y + side, x : x + side] for y, x in corners][: budget - 1]
    images, saliency = np.stack([image] * (len(windows) + 1)), np.zeros((height, width))
    for hidden, window in zip(images[1:], windows):
        hidden[window] = noise[window]
    whole, *scores = predict(black_box, images, [label])[:, 0]
    for window, score in zip(windows, scores):
        saliency[window] = whole - score
    return saliency


def data_folder(folder):
    """Two images of elephants and one of a bear, with masks: their paths by kind."""
    images = {}
    names = "African_elephant/first", "African_elephant/second", "black_bear/only"
    for number, name in enumerate(names):
        path, mask = folder / f"{name}.png", folder / "masks" / f"{name}.png"
        for one in (path, mask):
            one.parent.mkdir(parents=True, exist_ok=True)
        # The first one has eight superpixels, few enough for exact Shapley values.
        pixels = tiles(4 if number else 2, 4, 20, seed=number).repeat(1 if number else 2, axis=0)
        Image.fromarray(pixels).save(path)
        inside = np.zeros((80, 80), np.uint8)
        inside[20:60, 20 * number : 20 * number + 40] = 255
        Image.fromarray(inside).save(mask)
        images.setdefault(path.parent.name, []).append(path)
    return images


def measured(study, tasks, plan, networks, folder):
    """The `Results` of a study's tasks done here, stored in a folder and read back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "network", networks.get)
        tasks = [(command.key_of(task), task) for task in tasks]
        facts = command.facts_of(plan, tasks)
    for key, task in tasks:
        network, inputs = networks.get(task.network), (None, None)
        if network is not None:
            inputs = [load(task.image, network.input_size) for load in (load_image, load_mask)]
        parts = measure(task, network, *inputs).items()
        store(folder, key, task, {name: Result(*part, {}) for name, part in parts})
    (folder / f"{study}.json").write_text(json.dumps(facts))
    return Results(folder)
