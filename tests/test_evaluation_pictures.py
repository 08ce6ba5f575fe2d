"""The images in `data/evaluation/` against what its README promises of them."""

import collections
import csv

import numpy as np
import pytest

from lab.images import DATA, find_images, load_image, load_mask
from lab.networks.classes import class_index, class_name
from lab.networks.loading import load

FOLDER = DATA / "evaluation"


def table(name):
    with open(FOLDER / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


OBJECTS = {row["object"]: row for row in table("objects.csv")}
LANDSCAPES = {row["landscape"]: row for row in table("landscapes.csv")}
SCENES = {f"{row['picture']}.jpg": row for row in table("scenes.csv")}
# By name, so that the tests also pass where someone has added images.
IMAGES = {name: path for name, path in find_images(FOLDER)[0].items() if name in SCENES}


def test_all_images_are_there_enough_of_each_kind_and_named_by_class():
    objects = collections.defaultdict(set)
    for name, row in SCENES.items():
        path = IMAGES[name]
        assert path.stem.startswith(row["object"] + "_")
        assert path.parent.name == OBJECTS[row["object"]]["class"]
        assert class_name(class_index(path.parent.name)) == path.parent.name
        objects[row["object"]].add(LANDSCAPES[row["landscape"]]["file"])
    folders = {path.parent for path in IMAGES.values()}
    assert len(IMAGES) >= 80 and len(objects) >= 30 and len(folders) >= 20
    assert all(len(photographs) >= 2 for photographs in objects.values())
    assert len({path.read_bytes() for path in IMAGES.values()}) == len(IMAGES)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 6_000_000


def test_masks_lie_where_the_scenes_say_and_not_in_the_centre():
    masks = {name: load_mask(path) for name, path in IMAGES.items()}
    for name, mask in masks.items():
        row = SCENES[name]
        assert load_image(IMAGES[name]).shape[:2] == mask.shape == (300, 400)
        assert 0.02 < mask.mean() < 0.25, name
        assert not (mask[0].any() or mask[:, 0].any() or mask[:, -1].any()), name
        rows = np.flatnonzero(mask.any(1))
        left, right = np.flatnonzero(mask.any(0))[[0, -1]]
        # Grass hides some of the feet, and thin ends are not in the mask.
        assert rows[0] == pytest.approx(int(row["y"]) - int(row["height"]), abs=4), name
        assert -26 <= rows[-1] + 1 - int(row["y"]) <= 0, name
        assert (left + right + 1) / 2 == pytest.approx(int(row["x"]), abs=8), name
    covered = np.array(list(masks.values()))
    area, mean = covered.mean(), covered.mean(0)
    # A Gaussian in the centre would see the objects' share of the area by chance.
    offsets = [((np.arange(length) + 0.5) / length - 0.5) ** 2 for length in mean.shape]
    gaussian = np.exp(-np.add.outer(*offsets) / (2 * 0.25**2))
    assert (mean * gaussian).sum() / gaussian.sum() < 1.3 * area


@pytest.mark.parametrize("name", ["efficientnet_lite0", "squeezenet"])
def test_networks_see_the_objects(name):
    network = load(name)
    predicted = network(np.stack([load_image(p, network.input_size) for p in IMAGES.values()]))
    for picture, probabilities in zip(IMAGES, predicted):
        row = OBJECTS[SCENES[picture]["object"]]
        accepted = {class_index(other) for other in (row["class"], *row["accepted"].split())}
        assert accepted & set(np.argsort(-probabilities)[:3]), picture
        # The README says 0.01; another machine rounds differently.
        assert probabilities[class_index(row["class"])] > 0.009, picture
