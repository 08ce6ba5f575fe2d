"""Lay candidates for the images of `evaluation/`, and choose among them.

`evaluation/README.md` has the rule. ``lay`` writes ``evaluation/candidates.csv``:
seeded scenes of every object in landscapes it may be in, with the best rank of the
object's classes among the predictions of two networks and the probability of its own
class. ``choose`` writes ``evaluation/scenes.csv`` from that table. It uses no
explanation, only the networks' classes and the positions of objects::

    python data/choose_pictures.py lay FOLDER [FOLDER ...]
    python data/choose_pictures.py choose FOLDER [FOLDER ...]
"""

import csv
import io
import sys
from pathlib import Path

import numpy as np
from evaluation_set import FOLDER, JPEG, SIZE, Scene, Studio, scenes, table
from make_pictures import find
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lab.networks.classes import class_index  # noqa: E402
from lab.networks.loading import load  # noqa: E402

NETWORKS = ("efficientnet_lite0", "squeezenet")
SEED = 2026
CANDIDATES = 24  # of each object
SHARES = (0.05, 0.18)  # of the image that an object covers, if it can be enlarged so far
ENLARGED = 1.6  # at most: a cut-out has no more pixels
MARGIN = 2
TALLEST = 230
FIRST = 3  # one of the object's classes must be among so many leading ones
LEAST = 0.01  # probability of the class that is explained, as in `lab.evaluate`
PICTURES = 3  # of each object
FIELDS = ("picture", "object", "landscape", "x", "y", "height", "mirrored", "landscape_mirrored")


def photograph(landscape):
    """The photograph that a row of ``landscapes.csv`` is a part of."""
    return landscape["file"]


def lay_scenes(studio):
    """Candidate scenes of all objects; each object cycles through its photographs."""
    rng = np.random.default_rng(SEED)
    laid = []
    for row in table("objects.csv"):
        cutout = studio.cutout(row["object"])
        by_photograph = {}
        for landscape in table("landscapes.csv"):
            if row["places"] in landscape["places"].split():
                by_photograph.setdefault(photograph(landscape), []).append(landscape)
        order = rng.permutation(sorted(by_photograph))
        for number in range(CANDIDATES):
            landscape = rng.choice(by_photograph[order[number % len(order)]])
            laid.append(one_scene(rng, row, cutout, landscape, number))
    return laid


def one_scene(rng, row, cutout, landscape, number):
    """A scene with the object somewhere it may be in a landscape."""
    high, low = int(landscape["high"]), int(landscape["low"])
    rows, columns = cutout.shape[:2]
    # Area of the cut-out in units of its squared height.
    solid = (cutout[..., 3] > 0.5).sum() / rows**2
    height = np.sqrt(rng.uniform(*SHARES) * SIZE[0] * SIZE[1] / solid)
    height = int(
        min(height, ENLARGED * rows, TALLEST, low - MARGIN, 0.8 * SIZE[0] * rows / columns)
    )
    half = round(columns * height / rows) // 2 + 1
    # More often near the edges, which objects that must fit hardly cover.
    x, y = (
        round(least + rng.beta(0.5, 0.5) * (most - least))
        for least, most in (
            (MARGIN + half, SIZE[0] - MARGIN - half),
            (max(high, height + MARGIN), low),
        )
    )
    mirrored, landscape_mirrored = (bool(coin) for coin in rng.integers(0, 2, 2))
    return Scene(
        f"{row['object']}_{number + 1}",
        row["object"],
        landscape["landscape"],
        x,
        y,
        height,
        mirrored,
        landscape_mirrored,
    )


def written(scene):
    """A scene as a row of a table."""
    row = {name: getattr(scene, name) for name in FIELDS}
    return row | {name: "yes" if row[name] else "no" for name in ("mirrored", "landscape_mirrored")}


def write(name, fields, rows):
    """Write a table to `FOLDER`."""
    with open(FOLDER / name, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def accepted_classes(row):
    """Classes that an object of ``objects.csv`` may pass for, its own first."""
    return [class_index(name) for name in (row["class"], *row["accepted"].split())]


def as_stored(picture):
    """A picture as it comes back from its JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", **JPEG)
    return Image.open(file).convert("RGB")


def lay(folders):
    """Write ``candidates.csv``."""
    studio = Studio(lambda name: find(folders, name))
    accepted = {row["object"]: accepted_classes(row) for row in table("objects.csv")}
    networks = [load(name) for name in NETWORKS]
    rows = []
    for scene in lay_scenes(studio):
        picture = as_stored(studio.compose(scene)[0])
        row = written(scene)
        for name, network in zip(NETWORKS, networks):
            squashed = picture.resize((network.input_size,) * 2, Image.Resampling.BICUBIC)
            probabilities = network(np.asarray(squashed)[None])[0]
            order = list(np.argsort(-probabilities))
            row[name] = min(order.index(index) for index in accepted[scene.object]) + 1
            row[f"{name}_p"] = f"{probabilities[accepted[scene.object][0]]:.3f}"
        rows.append(row)
        print(".", end="", flush=True)
    write(
        "candidates.csv",
        (*FIELDS, *(column for name in NETWORKS for column in (name, f"{name}_p"))),
        rows,
    )


def passing():
    """Candidates in which each network sees the object and does not rule it out."""
    seen = {
        row["picture"]
        for row in table("candidates.csv")
        if all(int(row[name]) <= FIRST and float(row[f"{name}_p"]) >= LEAST for name in NETWORKS)
    }
    return [scene for scene in scenes("candidates.csv") if scene.picture in seen]


def unevenness(total, count):
    """How unevenly objects cover the picture, from the sum of their coarse masks.

    Inside the margin, which objects that must fit hardly reach, the mean mask should be
    flat, and it should not correlate with a map that marks the centre.
    """
    mean = total / count
    inner = mean[2:-2, 2:-2]
    central = max(mean[6:9, 8:12].mean(), mean[7, 9:11].max())
    return (
        inner.var()
        + 0.5 * mean.var()
        + 4 * (mean * CENTRE).mean() ** 2
        + 10 * max(0, central - 0.9 * mean.mean()) ** 2
    )


def centre_map():
    """A Gaussian on the coarse grid, with mean 0 and standard deviation 1."""
    offsets = [((np.arange(length) + 0.5) / length - 0.5) ** 2 for length in (15, 20)]
    bump = np.exp(-np.add.outer(*offsets) / (2 * 0.25**2))
    return (bump - bump.mean()) / bump.std()


CENTRE = centre_map()


def choose(folders):
    """Write ``scenes.csv``: up to `PICTURES` of each object, spread evenly."""
    studio = Studio(lambda name: find(folders, name))
    files = {row["landscape"]: photograph(row) for row in table("landscapes.csv")}
    by_object = {}
    for scene in passing():
        by_object.setdefault(scene.object, []).append(scene)
    by_object = {
        name: found
        for name, found in by_object.items()
        if len({files[scene.landscape] for scene in found}) >= 2
    }
    coarse = {
        scene.picture: studio.compose(scene)[1].reshape(15, 20, 20, 20).mean((1, 3))
        for found in by_object.values()
        for scene in found
    }
    rng = np.random.default_rng(SEED)
    best = None
    for _ in range(8):
        chosen = {name: start(rng, found, files) for name, found in by_object.items()}
        score = improve(rng, chosen, by_object, files, coarse)
        if best is None or score < best[0]:
            best = score, chosen
    rows = []
    classes = {row["object"]: row["class"] for row in table("objects.csv")}
    for name in by_object:
        for number, scene in enumerate(best[1][name], 1):
            row = written(scene)
            row["picture"] = f"{classes[name]}/{name}_{number}_{scene.landscape.split('_')[0]}"
            row["candidate"] = scene.picture.rpartition("_")[2]
            rows.append(row)
    write("scenes.csv", (*FIELDS, "candidate"), rows)
    print(
        f"{len(by_object)} objects, {len({classes[name] for name in by_object})} classes, "
        f"{len(rows)} pictures, unevenness {best[0]:.5f}"
    )


def start(rng, found, files):
    """Up to `PICTURES` scenes of an object in different photographs."""
    chosen = []
    for scene in rng.permutation(np.array(found, object)):
        if len(chosen) < PICTURES and files[scene.landscape] not in {
            files[other.landscape] for other in chosen
        }:
            chosen.append(scene)
    return chosen


def improve(rng, chosen, by_object, files, coarse):
    """Exchange scenes until the sum of masks gets no more even; its unevenness."""
    count = sum(map(len, chosen.values()))
    total = sum(coarse[scene.picture] for found in chosen.values() for scene in found)
    score, better = unevenness(total, count), True
    while better:
        better = False
        for name in rng.permutation(sorted(chosen)):
            for place in range(len(chosen[name])):
                others = [scene for number, scene in enumerate(chosen[name]) if number != place]
                taken = {files[scene.landscape] for scene in others}
                for scene in by_object[name]:
                    if files[scene.landscape] in taken:
                        continue
                    changed = total - coarse[chosen[name][place].picture] + coarse[scene.picture]
                    if (new := unevenness(changed, count)) < score - 1e-9:
                        chosen[name][place], total, score, better = scene, changed, new, True
    return score


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("lay", "choose"):
        sys.exit(__doc__)
    {"lay": lay, "choose": choose}[sys.argv[1]](sys.argv[2:])
