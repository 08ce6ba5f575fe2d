"""What figures read from the results, and the images that these were measured on.

An image of the study is named by its folder in ``data/`` and its file name without the
ending.
"""

import numpy as np

from lab.images import list_images, load_image
from lab.networks.classes import class_name
from lab.study.results import MissingResult


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
    names = list(dict.fromkeys(rows(results, "predictions", **{"class": kind})["picture"]))
    if number >= len(names):
        need = f"{number + 1} images of data/{kind}, and the results hold {len(names)}"
        raise MissingResult(f"a figure needs {need}: make study measures them")
    return kind, names[number]


def pixels(image, size=None):
    """An image of the study as `lab.images.load_image` has it.

    Raises
    ------
    lab.study.results.MissingResult
        If ``data/`` does not hold the image.
    """
    kind, stem = image
    try:
        path = next(path for path in list_images(kind) if path.stem == stem)
    except (StopIteration, ValueError):
        raise MissingResult(
            f"there is no image {kind}/{stem} in data/, on which the results were measured: "
            "make study measures those that are there"
        ) from None
    return load_image(path, size)


def input_size(results, network, image):
    """The side length of a network's input, in pixels."""
    return len(segments(results, network, image))


def segments(results, network, image):
    """Each pixel's superpixel, in the size of a network's input."""
    key = rows(results, "lime_runs", network, image, seed=0)["key"].iloc[0]
    return results.array("lime_parameters", key, "segments")


def rows(results, table, network=None, image=None, **values):
    """The rows of a table about a network, an image, and `values` of other columns."""
    if network is not None:
        values["network"] = network
    if image is not None:
        values["class"], values["picture"] = image
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
