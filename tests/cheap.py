"""Pictures, black boxes and results for tests, small and cheap."""

import numpy as np
from PIL import Image

from counting import Counting
from lab.networks.asking import Asked
from lab.networks.classes import class_name
from lab.images import load_image, load_mask
from lab.study.results import Results, lines, pack


def tiles(rows=4, columns=5, side=16, seed=0):
    """Tiles of random colours with some noise, which quickshift finds again as superpixels; no colour is 0."""
    rng = np.random.default_rng(seed)
    plain = rng.integers(30, 226, (rows, columns, 3)).repeat(side, axis=0).repeat(side, axis=1)
    return (plain + rng.integers(-10, 10, plain.shape)).astype(np.uint8)


class Places(Counting):
    """Four classes with interactions between places."""

    def answer(self, images):
        x = np.asarray(images, float) / 255
        left, right = (
            x[:, :, : x.shape[2] // 2, 0].mean((1, 2)),
            x[:, 5:30, x.shape[2] // 2 :, 1].mean((1, 2)),
        )
        scores = np.stack(
            [left + 3 * left * right, right**2, x[..., 2].mean((1, 2)), np.sin(9 * left)], axis=1
        )
        return np.exp(4 * scores) / np.exp(4 * scores).sum(axis=1, keepdims=True)


class Network(Counting):
    """What a study asks of a network, with ImageNet's classes: a softmax of colours in 4 x 4 places and of their products."""

    stands_in_for = None
    n_layers = 8
    alive = [386, 101, 385, 295, 294, 7, 999]  # the classes that it ever sees

    def __init__(self, name="Cheap", input_size=64, seed=0, layers=0, fingerprint=None):
        super().__init__()
        self.name, self.input_size, self.seed, self.fingerprint = (
            name,
            input_size,
            seed,
            fingerprint,
        )
        weights = np.random.default_rng(seed).normal(size=(96, len(self.alive))).astype(np.float32)
        self.weights = np.random.default_rng(layers).permutation(weights) if layers else weights

    def answer(self, images):
        middles = np.arange(4) * self.input_size // 4 + self.input_size // 8
        places = images[:, middles][:, :, middles].reshape(len(images), 48).astype(np.float32) / 255
        seen = np.exp(
            np.concatenate([places, places * np.roll(places, 5, axis=1)], axis=1) @ self.weights
        )
        answers = np.full((len(images), 1000), 1e-3, np.float32)
        answers[:, self.alive] = seen
        return answers / answers.sum(axis=1, keepdims=True)

    def top(self, image, k=3):
        probabilities = Asked(self)(image[None])[0]
        return [
            (int(i), class_name(i), float(probabilities[i]))
            for i in np.argsort(-probabilities, kind="stable")[:k]
        ]

    def randomized(self, layers, seed=0):
        fingerprint = self.fingerprint and f"{self.fingerprint}, {layers} random"
        return Network(
            f"{self.name}, {layers} random", self.input_size, self.seed, layers, fingerprint
        )


def data_folder(folder):
    """Two pictures of elephants and one of a bear, with masks, as a study takes them: paths by kind."""
    found = {}
    for number, name in enumerate(("elephant/first", "elephant/second", "bear/only")):
        path, mask = folder / f"{name}.png", folder / "masks" / f"{name}.png"
        for one in (path, mask):
            one.parent.mkdir(parents=True, exist_ok=True)
        # The first one has eight superpixels, few enough for exact Shapley values.
        Image.fromarray(
            tiles(4 if number else 2, 4, 20, seed=number).repeat(1 if number else 2, axis=0)
        ).save(path)
        there = np.zeros((80, 80), np.uint8)
        there[20:60, 20 * number : 20 * number + 40] = 255
        Image.fromarray(there).save(mask)
        found.setdefault(path.parent.name, []).append(path)
    return found


def measured(tasks, networks, folder):
    """Do tasks in this process and read the results back from files.

    Parameters
    ----------
    tasks : list of lab.study.task.Task
    networks : dict of str to callable
    folder : pathlib.Path
    """
    tables, arrays = {}, {}
    for task in tasks:
        network, about, image, mask = networks.get(task.network), {}, None, None
        if network is not None:
            image, mask = (
                load_image(task.picture, network.input_size),
                load_mask(task.picture, network.input_size),
            )
            about = {
                "network": network.name,
                "class": task.picture.parent.name,
                "picture": task.picture.stem,
            }
        rows, found = task.work(network, image, mask, **task.arguments)
        key = task.key(network and network.name, task.picture and str(task.picture))
        tables.setdefault(task.table, {})[key] = [about | row | {"key": key} for row in rows]
        arrays.setdefault(task.table, {}).update(
            {f"{key}/{name}": array for name, array in found.items()}
        )
    for table, groups in tables.items():
        (folder / f"{table}.csv").write_bytes(lines(groups))
        if arrays[table]:
            (folder / f"{table}.npz").write_bytes(pack(arrays[table]))
    return Results(folder)
