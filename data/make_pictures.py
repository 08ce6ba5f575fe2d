"""Remake the pictures and ground-truth masks of this folder and of `evaluation/`.

Cut-out photographs with an alpha channel are set into photographs of
landscapes, so the mask of the animal is known exactly. ``README.md`` says
which packages to unpack and under which licences they come;
`evaluation_set.py` composes the pictures of `evaluation/`::

    python data/make_pictures.py FOLDER [FOLDER ...]

Every FOLDER is searched for the source files.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import evaluation_set
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).resolve().parent
SIZE = (400, 300)


@dataclass(frozen=True)
class Animal:
    """One cut-out in a scene.

    `feet` is the (x, y) pixel of the picture on which the middle of the
    cut-out's lower edge stands, `height` the cut-out's height in pixels.
    Light is matched to the scene by `gain`, which multiplies red, green and
    blue, after raising them to the power `gamma`; `shadow` is the darkness of the
    ground under the animal in [0, 1], and `grass` the height in pixels up to
    which blades of the ground cover its feet.
    """

    cutout: str
    feet: tuple
    height: int
    mirrored: bool = False
    gain: tuple = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    shadow: float = 0.6
    grass: int = 4


@dataclass(frozen=True)
class Scene:
    """`animal` in the `box` (left, upper, right, lower) of `background`."""

    background: str
    box: tuple
    animal: Animal
    mirrored: bool = False


ELEPHANT = "animals/mammals/elephant.png"
BEAR = "animals/mammals/bears/bear.png"

# Where the feet touch the ground, as fractions of the cut-out's width and height.
FEET = {
    ELEPHANT: ((0.35, 0.96), (0.52, 0.97), (0.83, 0.965), (0.91, 0.94)),
    BEAR: ((0.07, 0.65), (0.30, 0.76), (0.54, 0.885), (0.82, 0.98)),
}

SCENES = {
    "African_elephant/elephant_1_dune": Scene(
        "nature/Dune.jpg",
        (0, 3, 1396, 1050),
        Animal(ELEPHANT, (286, 282), 186, mirrored=True, gain=(1.13, 1.13, 1.13), grass=24),
    ),
    "African_elephant/elephant_2_meadow": Scene(
        "aitzgorri_by_Aitzol_Berasategi.jpg",
        (1478, 1235, 2382, 1913),
        Animal(ELEPHANT, (175, 256), 152, gain=(0.94, 0.94, 1.1), gamma=1.1),
    ),
    "African_elephant/elephant_3_slope": Scene(
        "picosdeeuropa_by_Aitzol_Berasategi.jpg",
        (1156, 787, 2756, 1987),
        Animal(ELEPHANT, (221, 263), 207, mirrored=True, gain=(0.96, 0.96, 1.17), gamma=1.14),
        mirrored=True,
    ),
    "black_bear/bear_1_meadow": Scene(
        "aitzgorri_by_Aitzol_Berasategi.jpg",
        (336, 871, 1836, 1996),
        Animal(BEAR, (260, 254), 225, mirrored=True, gain=(0.71, 0.71, 0.69), gamma=1.5),
    ),
    "black_bear/bear_2_forest": Scene(
        "Path/contents/images/2560x1600.jpg",
        (288, 720, 1332, 1503),
        Animal(BEAR, (229, 250), 175, gain=(0.95, 0.95, 0.85), gamma=1.39),
        mirrored=True,
    ),
    "black_bear/bear_3_slope": Scene(
        "picosdeeuropa_by_Aitzol_Berasategi.jpg",
        (717, 753, 2705, 2244),
        Animal(BEAR, (153, 259), 180, gain=(1.32, 1.32, 1.02), gamma=1.46),
    ),
}


def find(folders, name):
    """The one file below `folders` whose path ends in `name`."""
    for folder in folders:
        for path in sorted(Path(folder).rglob(Path(name).name)):
            if path.as_posix().endswith("/" + name):
                return path
    raise FileNotFoundError(
        f"no {name} in {', '.join(map(str, folders))}; see {HERE / 'README.md'}"
    )


def shape(cutout, animal):
    """The cut-out as premultiplied colour and alpha, floats in [0, 1]."""
    width = round(cutout.width * animal.height / cutout.height)
    rgba = np.asarray(cutout.convert("RGBA"), np.float32) / 255
    # Premultiplied colour keeps the colour behind the cut-out from leaking into its
    # edge.
    rgba[..., :3] = rgba[..., :3] ** animal.gamma * animal.gain * rgba[..., 3:]
    layers = [
        np.asarray(Image.fromarray(layer).resize((width, animal.height), Image.Resampling.LANCZOS))
        for layer in np.moveaxis(rgba, -1, 0)
    ]
    rgba = np.clip(np.stack(layers, -1), 0, 1)
    if animal.mirrored:
        rgba = rgba[:, ::-1]
    return rgba[..., :3], rgba[..., 3]


def place(layer, animal):
    """`layer` on an empty canvas of `SIZE`, its lower middle at the animal's feet."""
    height, width = layer.shape[:2]
    canvas = np.zeros((SIZE[1], SIZE[0]) + layer.shape[2:], np.float32)
    left, top = animal.feet[0] - width // 2, animal.feet[1] - height
    if left < 0 or top < 0 or left + width > SIZE[0] or animal.feet[1] > SIZE[1]:
        raise ValueError(f"{animal} does not fit into {SIZE}")
    canvas[top : top + height, left : left + width] = layer
    return canvas


def feet_of(width, animal):
    """Where the feet of a cut-out of this width touch the ground: (x, y) pixels."""
    left, top = animal.feet[0] - width // 2, animal.feet[1] - animal.height
    return [
        (left + (1 - x if animal.mirrored else x) * width, top + y * animal.height)
        for x, y in FEET[animal.cutout]
    ]


def ground_shadow(width, animal):
    """The animal's shadow: light that the ground loses, in [0, 1], most at its feet."""
    feet = feet_of(width, animal)
    shade = np.zeros((SIZE[1], SIZE[0]))
    for radius, strength in ((0.13, 0.5), (0.05, 1.0)):
        layer = Image.new("L", SIZE)
        draw, across, down = ImageDraw.Draw(layer), radius * width, 0.35 * radius * width
        if strength < 1:
            draw.line(feet, fill=255, width=round(2 * down))
        for x, y in feet:
            draw.ellipse((x - across, y - down, x + across, y + down), fill=255)
        shade = np.maximum(shade, strength * animal.shadow * blur(layer, 0.6 * down))
    return shade


def blur(layer, radius):
    """An 8-bit greyscale picture, blurred, as floats in [0, 1]."""
    return np.asarray(layer.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def grass_in_front(picture, width, animal):
    """How much the ground's bright blades hide of the feet, in [0, 1]."""
    grey = Image.fromarray(np.uint8(picture.mean(-1) * 255))
    blades = blur(grey, 0) - blur(grey, 4)
    columns, rows = np.arange(SIZE[0]), np.arange(SIZE[1])[:, None]
    ground = np.full(SIZE[0], np.inf)
    for x, y in feet_of(width, animal):
        near = np.abs(columns - x) < 0.1 * width
        ground[near] = np.minimum(ground[near], y + 0.02 * animal.height)
    nearness = 1 + (rows - ground) / animal.grass
    return np.where(nearness > 0, np.clip(2 * nearness - 1 + 0.7 * blades / blades.std(), 0, 1), 0)


def compose(scene, folders):
    """The picture, uint8 (H, W, 3), and the mask of its animal, bool (H, W)."""
    with Image.open(find(folders, scene.background)) as file:
        picture = file.convert("RGB").crop(scene.box).resize(SIZE, Image.Resampling.LANCZOS)
    picture = np.asarray(picture, np.float32) / 255
    if scene.mirrored:
        picture = picture[:, ::-1]
    animal = scene.animal
    with Image.open(find(folders, animal.cutout)) as cutout:
        colour, alpha = shape(cutout, animal)
    visible = 1 - grass_in_front(picture, alpha.shape[1], animal)
    shade = ground_shadow(alpha.shape[1], animal)[..., None]
    colour, alpha = place(colour, animal) * visible[..., None], place(alpha, animal) * visible
    picture = picture * (1 - shade) * (1 - alpha[..., None]) + colour
    return np.uint8(np.clip(picture, 0, 1) * 255 + 0.5), alpha >= 0.5


def save(path, picture, mask, folder, **options):
    """Write a picture and its mask below `folder`."""
    for target, image, how in (
        (folder / f"{path}.jpg", Image.fromarray(picture), options),
        (folder / "masks" / f"{path}.png", mask, dict(optimize=True)),
    ):
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target, **how)
        print(f"{target.relative_to(HERE)}: {target.stat().st_size:,} bytes")


def main(folders):
    """Write all images and masks, from source files below `folders`."""
    for name, scene in SCENES.items():
        picture, mask = compose(scene, folders)
        save(name, picture, Image.fromarray(np.uint8(mask) * 255), HERE, quality=92, subsampling=0)
    studio = evaluation_set.Studio(lambda name: find(folders, name))
    for scene in evaluation_set.scenes():
        picture, mask = studio.compose(scene)
        save(
            scene.picture,
            picture,
            Image.fromarray(mask),
            evaluation_set.FOLDER,
            **evaluation_set.JPEG,
        )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
