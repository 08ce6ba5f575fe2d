"""Pictures in: listing `data/`, loading, resizing, ground-truth masks."""

from pathlib import Path
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

DATA = Path(__file__).resolve().parent.parent / "data"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# Pillow looks at a file's content, not its name, and hands PostScript to an interpreter: only these are let in.
FORMATS = ("JPEG", "PNG", "WEBP")


def list_images(kind):
    """Pictures of one kind, in the order of their file names.

    Parameters
    ----------
    kind : str
        Name of a folder in ``data/`` that holds pictures, such as
        ``"African_elephant"`` or ``"black_bear"``.

    Returns
    -------
    list of pathlib.Path
        Every ``.jpg``, ``.jpeg``, ``.png`` and ``.webp`` file, whatever the
        case of the ending.

    Raises
    ------
    ValueError
        If there is no such folder, or no picture in it.
    """
    # A folder with masks of classes, such as data/evaluation, is a set of pictures by itself and no kind.
    kinds = sorted(
        folder.name
        for folder in DATA.iterdir()
        if folder.is_dir()
        and folder.name != "masks"
        and not any(path.is_dir() for path in folder.glob("masks/*"))
    )
    if kind not in kinds:
        raise ValueError(f"no pictures of kind {kind!r}; data/ has {', '.join(map(repr, kinds))}")
    pictures = sorted(
        path
        for path in (DATA / kind).iterdir()
        if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not pictures:
        raise ValueError(
            f"no picture in data/{kind}; expected files ending in {', '.join(SUFFIXES)}"
        )
    return pictures


def load_image(path, size=None):
    """Load a picture as upright RGB.

    Parameters
    ----------
    path : str or path-like
        A JPEG, PNG or WebP picture in any colour mode: palette and CMYK are
        converted to RGB, greyscale is repeated on the three channels, 16 bits
        are scaled to 8, transparent parts are laid on white, and EXIF's
        orientation is applied.
    size : int, optional
        Side length in pixels to which the picture is squashed, antialiased and
        without keeping its aspect ratio, as networks are fed. By default the
        picture keeps its size.

    Returns
    -------
    numpy.ndarray of uint8, shape (H, W, 3)
        RGB in [0, 255].

    Raises
    ------
    ValueError
        If the file is not such a picture, is truncated, or is so large that it
        may be a decompression bomb, or if `size` is not positive.
    FileNotFoundError
        If there is no such file.
    """
    picture = _read(path)
    if picture.mode.startswith("I"):
        # Pillow would clip these 16-bit values at 255.
        picture = Image.fromarray(np.uint8(np.round(np.asarray(picture) / 257)))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    picture = picture.convert("RGB")
    if size is not None:
        picture = _squash(picture, size, Image.Resampling.BICUBIC)
    return np.array(picture)


def load_mask(path, size=None, root=None):
    """Load the ground-truth mask of a picture.

    The mask of ``data/<kind>/<name>.jpg`` is ``data/masks/<kind>/<name>.png``,
    white where the animal is.

    Parameters
    ----------
    path : str or path-like
        The picture whose mask is wanted.
    size : int, optional
        Side length in pixels to which the mask is squashed like its picture;
        each pixel takes the value of the nearest one.
    root : path-like, optional
        The folder that `path` lies in and that has the sub-folder ``masks``, in which masks lie as
        their pictures do in `root`. By default the folder of the picture's folder, as in ``data/``.

    Returns
    -------
    numpy.ndarray of bool, shape (H, W), or None
        True on the animal; None if the picture has no mask.

    Raises
    ------
    ValueError
        If the mask does not have the height and width of its picture, or for
        what `load_image` raises it.
    """
    path = Path(path)
    root = path.parent.parent if root is None else Path(root)
    mask_path = root / "masks" / path.relative_to(root).with_suffix(".png")
    if not mask_path.exists():
        return None
    mask, expected = _read(mask_path).convert("L"), _read(path).size
    if mask.size != expected:
        raise ValueError(
            f"the mask {mask_path} is {mask.width} x {mask.height} pixels (width x height), "
            f"its picture {path} is {expected[0]} x {expected[1]}"
        )
    if size is not None:
        mask = _squash(mask, size, Image.Resampling.NEAREST)
    return np.array(mask) >= 128


def _read(path):
    """The picture, decoded in full and upright."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                picture.load()
                return ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no picture {path}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(
            f"{path} claims to hold more than {Image.MAX_IMAGE_PIXELS:,} pixels; shrink it first"
        ) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path} is not a JPEG, PNG or WebP picture, or a damaged one: {error}"
        ) from error


def _squash(picture, size, resampling):
    if size < 1:
        raise ValueError(f"size is {size}; expected the side length of a picture, at least 1 pixel")
    return picture.resize((size, size), resampling)
