"""The images of `evaluation/`: objects set into landscapes by three tables.

`make_pictures.py` makes them with the elephants and bears. ``evaluation/objects.csv``
lists the cut-outs, ``evaluation/landscapes.csv`` the part of a photograph behind them,
and ``evaluation/scenes.csv`` the position of each. Light and shadow are derived from
the two photographs, not from numbers for each scene.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

FOLDER = Path(__file__).resolve().parent / "evaluation"
SIZE = (400, 300)
JPEG = dict(quality=88, optimize=True)  # as `Image.save` takes it
LUMINANCE = np.array((0.299, 0.587, 0.114), np.float32)


@dataclass(frozen=True)
class Scene:
    """An object of a landscape.

    `x` and `y` are the pixel of the image on which the middle of the object's lower
    edge lies, `height` is the object's in pixels. Object and landscape may be mirrored.
    """

    picture: str
    object: str
    landscape: str
    x: int
    y: int
    height: int
    mirrored: bool
    landscape_mirrored: bool


def table(name):
    """The rows of a table in `FOLDER`, each a dict of str."""
    with open(FOLDER / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def scenes(name="scenes.csv"):
    """The scenes that a table describes.

    Parameters
    ----------
    name : str, optional
        A table in `FOLDER`.

    Returns
    -------
    list of Scene
    """
    return [
        Scene(
            row["picture"],
            row["object"],
            row["landscape"],
            int(row["x"]),
            int(row["y"]),
            int(row["height"]),
            row["mirrored"] == "yes",
            row["landscape_mirrored"] == "yes",
        )
        for row in table(name)
    ]


class Studio:
    """Composes scenes; every cut-out and landscape is read once.

    Parameters
    ----------
    find : callable
        From the end of a source's path to the path.
    """

    def __init__(self, find):
        self._find = find
        self._objects = {row["object"]: row for row in table("objects.csv")}
        self._landscapes = {row["landscape"]: row for row in table("landscapes.csv")}
        self._read = {}

    def cutout(self, name):
        """An object without margins, premultiplied floats in [0, 1], (H, W, 4)."""
        if name not in self._read:
            with Image.open(self._find(self._objects[name]["cutout"])) as file:
                rgba = np.asarray(file.convert("RGBA"), np.float32) / 255
            if self._objects[name]["stance"] != "fly":
                # The outermost, faint pixels of a cut-out show its old background;
                # against the sky they are a parachute's lines.
                rgba[..., 3] = np.clip((rgba[..., 3] - 0.2) / 0.75, 0, 1)
            rows, columns = (np.flatnonzero((rgba[..., 3] > 0.5).any(axis)) for axis in (1, 0))
            rgba = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            rgba[..., :3] *= rgba[..., 3:]
            self._read[name] = rgba
        return self._read[name]

    def landscape(self, name):
        """A landscape as floats in [0, 1], shape (300, 400, 3)."""
        if name not in self._read:
            row = self._landscapes[name]
            box = [int(row[side]) for side in ("left", "upper", "right", "lower")]
            with Image.open(self._find(row["file"])) as file:
                part = file.convert("RGB").crop(box).resize(SIZE, Image.Resampling.LANCZOS)
            self._read[name] = np.asarray(part, np.float32) / 255
        return self._read[name]

    def compose(self, scene):
        """Make a scene's picture.

        Parameters
        ----------
        scene : Scene

        Returns
        -------
        picture : numpy.ndarray of uint8, shape (300, 400, 3)
        mask : numpy.ndarray of bool, shape (300, 400)
            True where the object covers at least half of a pixel.

        Raises
        ------
        ValueError
            If the object does not fit into the picture.
        """
        picture = self.landscape(scene.landscape)
        if scene.landscape_mirrored:
            picture = picture[:, ::-1]
        colour, alpha = place(resized(self.cutout(scene.object), scene.height), scene)
        stance, grass = (
            self._objects[scene.object]["stance"],
            int(self._landscapes[scene.landscape]["grass"]),
        )
        colour = lit(colour, alpha, picture)
        if stance == "stand":
            shade = standing_shadow(alpha) * (
                0.5 if grass > 10 else 1
            )  # high blades stand in the light
            hidden = grass_in_front(picture, alpha, grass)
            colour, alpha = colour * (1 - hidden[..., None]), alpha * (1 - hidden)
        else:
            shade = lying_shadow(alpha) if stance == "lie" else np.zeros_like(alpha)
        picture = picture * (1 - shade[..., None]) * (1 - alpha[..., None]) + colour
        return np.uint8(np.clip(picture, 0, 1) * 255 + 0.5), alpha >= 0.5


def resized(rgba, height):
    """A premultiplied cut-out, resampled to a height in pixels."""
    size = (max(1, round(rgba.shape[1] * height / rgba.shape[0])), height)
    layers = [
        np.asarray(Image.fromarray(layer).resize(size, Image.Resampling.LANCZOS))
        for layer in np.moveaxis(rgba, -1, 0)
    ]
    return np.clip(np.stack(layers, -1), 0, 1)


def place(rgba, scene):
    """Colour and alpha of a cut-out where the scene has it, on canvases of `SIZE`."""
    height, width = rgba.shape[:2]
    left, top = scene.x - width // 2, scene.y - height
    if left < 0 or top < 0 or left + width > SIZE[0] or scene.y > SIZE[1]:
        raise ValueError(f"{scene} does not fit into {SIZE}")
    canvas = np.zeros((SIZE[1], SIZE[0], 4), np.float32)
    canvas[top : top + height, left : left + width] = rgba[:, ::-1] if scene.mirrored else rgba
    return canvas[..., :3], canvas[..., 3]


def lit(colour, alpha, picture):
    """Premultiplied colour of an object, moved towards a landscape's light and tint."""
    weights = alpha / alpha.sum()
    near = blur(alpha, 25)
    near /= near.sum()
    own = float((colour @ LUMINANCE).sum() / alpha.sum())
    there = float((picture @ LUMINANCE * near).sum())
    tint = picture.mean((0, 1))
    tint = (tint / (tint @ LUMINANCE)).clip(0.4, 2.5) ** 0.12
    wanted = own**0.65 * max(there, 0.06) ** 0.35
    # A power keeps black black and white white, where a factor would wash out or clip.
    gamma = np.clip(np.log(wanted) / np.log(min(own, 0.97)), 0.82, 1.7)
    bare = colour / np.maximum(alpha, 1e-3)[..., None]
    bare = bare.clip(0, 1) ** gamma * tint
    # White stays brighter than a dark place can light it, so all of it is dimmed as
    # well.
    dim = np.clip(there / max(float((bare @ LUMINANCE * weights).sum()), 0.05), 0.6, 1) ** 0.3
    return np.clip(bare * dim, 0, 1) * alpha[..., None]


def feet(alpha):
    """Where feet touch the ground: (middle, half width, lowest row) of each."""
    solid = alpha > 0.5
    rows = np.flatnonzero(solid.any(1))
    height = rows[-1] - rows[0] + 1
    bottoms = np.where(solid.any(0), SIZE[1] - 1 - solid[::-1].argmax(0), -1)
    low = bottoms >= rows[-1] - 0.14 * height
    edges = np.flatnonzero(np.diff(np.concatenate(([0], low.astype(int), [0]))))
    return [
        ((left + right - 1) / 2, (right - left) / 2, bottoms[left:right].max())
        for left, right in zip(edges[::2], edges[1::2])
    ]


def standing_shadow(alpha):
    """The shadow of an object on its feet: light that the ground loses, in [0, 1]."""
    columns, rows = np.arange(SIZE[0]), np.arange(SIZE[1])[:, None]
    width = np.ptp(np.flatnonzero((alpha > 0.5).any(0))) + 1
    shade = np.zeros(alpha.shape)
    touching = feet(alpha)
    # Close to each foot it is dark and sharp; under the whole body faint and wide.
    left, right = min(x - half for x, half, _ in touching), max(x + half for x, half, _ in touching)
    whole = (
        (left + right) / 2,
        (right - left) / 2 + 0.06 * width,
        np.mean([y for _, _, y in touching]),
    )
    for x, half, y, extra, strength in [(*foot, 0.03 * width, 0.6) for foot in touching] + [
        (*whole, 0, 0.4)
    ]:
        across = half + extra
        down = max(2.5, min(0.22 * across, 0.07 * width))
        distance = ((columns - x) / across) ** 2 + ((rows - y + 0.3 * down) / down) ** 2
        shade = np.maximum(shade, strength * np.exp(-(distance**2) / 1.5))
    return shade


def lying_shadow(alpha):
    """The shadow of an object that lies flat: light that is lost, in [0, 1]."""
    return 0.5 * np.roll(blur(alpha, 4), (4, 2), (0, 1))


def grass_in_front(picture, alpha, grass):
    """How much bright blades, `grass` pixels high, hide of an object, in [0, 1]."""
    if not grass:
        return np.zeros_like(alpha)
    grey = picture @ LUMINANCE
    blades = grey - blur(grey, 4)
    columns, rows = np.arange(SIZE[0]), np.arange(SIZE[1])[:, None]
    ground = np.full(SIZE[0], np.inf)
    for x, half, y in feet(alpha):
        near = np.abs(columns - x) <= half + 6
        ground[near] = np.minimum(ground[near], y + 1)
    nearness = 1 + (rows - ground) / grass
    return np.where(nearness > 0, np.clip(2 * nearness - 1 + 0.7 * blades / blades.std(), 0, 1), 0)


def blur(values, radius):
    """An array of floats in [0, 1], blurred."""
    layer = Image.fromarray(np.uint8(np.clip(values, 0, 1) * 255 + 0.5)).filter(
        ImageFilter.GaussianBlur(radius)
    )
    return np.asarray(layer, np.float32) / 255
