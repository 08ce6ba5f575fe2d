"""What figures read from the results, and the images that these were measured on.

An image is named by its path below ``data/``.
"""

import os
from pathlib import Path

import numpy as np

from lab.images import DATA, escaped, load_image
from lab.networks.classes import class_name
from lab.study.results import MissingImage, MissingResult
from lab.study.store import image_digest

_COMMANDS = dict.fromkeys(("lime", "rise"), "make study")


def networks(results):
    """Names of the networks, in the study's order."""
    return list(dict.fromkeys(results.table("predictions")["network"]))


def network(results, number=0):
    """The study's first network, or the one with this number."""
    names = networks(results)
    if number >= len(names):
        raise MissingResult(
            f"a figure needs {number + 1} networks, and the results hold {len(names)}: "
            "make study measures them"
        )
    return names[number]


def image(results, kind="African_elephant", number=0):
    """The study's first elephant, or the image with this number of another kind."""
    names = list(dict.fromkeys(rows(results, "predictions", **{"class": kind})["image"]))
    if number >= len(names):
        need = f"{number + 1} images of data/{kind}, and the results hold {len(names)}"
        raise MissingResult(f"a figure needs {need}: make study measures them")
    return names[number]


def pixels(image, size=None):
    """An image of the study as `lab.images.load_image` has it.

    Raises
    ------
    lab.study.results.MissingImage
        If ``data/`` does not hold the image.
    """
    if not (DATA / image).is_file():
        raise MissingImage(
            f"there is no image data/{image}, on which the results were measured; a figure that "
            "was drawn before stays"
        )
    return load_image(DATA / image, size)


def name_of(path):
    """An image's path below ``data/``, or the file's name if it is elsewhere."""
    path = Path(os.path.abspath(path))
    name = path.relative_to(DATA) if path.is_relative_to(DATA) else Path(path.name)
    return escaped(name.as_posix())


def measured(results, study, path):
    """A line that says whether a study's figures are about an image.

    Parameters
    ----------
    results : lab.study.results.Results
    study : str
        A key of `lab.study.results.STUDIES`.
    path : path-like
    """
    facts = results.facts.get(study, {"images": {}})
    if image_digest(Path(path)) in facts["images"].values():
        return "The figures of the study show this image and others."
    command = _COMMANDS.get(study, f"python -m lab.study {study}")
    return (
        f"The figures of the study show other images than {name_of(path)}. To measure it, put it "
        f"into a folder of data/, first by its name, and run {command}."
    )


def stem(image):
    """An image's file name without the ending."""
    return image.split("/")[-1].rpartition(".")[0]


def input_size(results, network):
    """The side length of a network's input, in pixels."""
    for facts in results.facts.values():
        for one in facts["networks"]:
            if one["name"] == network:
                return one["input_size"]
    raise MissingResult(f"the results are not those of {network}")


def segments(results, network, image):
    """Each pixel's superpixel, in the size of a network's input."""
    [row] = rows(results, "lime_superpixels", network, image).itertuples()
    return array(results, "lime_superpixels", row, "segments")


def rows(results, table, network=None, image=None, **values):
    """The rows of a table about a network, an image, and `values` of other columns."""
    if network is not None:
        values["network"] = network
    if image is not None:
        values["image"] = image
    selected = results.table(table)
    for column, value in values.items():
        selected = selected[selected[column] == value]
    return selected


def array(results, table, row, name):
    """A row's part of one of its task's arrays; maps become float32."""
    part = results.array(table, row.key, name)[row.place]
    return part.astype(np.float32) if part.dtype == np.float16 else part


def class_title(label):
    """A class's name as prose has it."""
    return class_name(int(label)).replace("_", " ")
