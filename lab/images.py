"""Image files and ground-truth masks: find them, read them, resize them."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

DATA = Path(__file__).resolve().parent.parent / "data"
# Pillow goes by content, not name, and would start an interpreter for PostScript.
FORMATS = "JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF"
# Endings of image files that are read, and of those that are not, in lower case.
SUFFIXES = ".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .jp2 .avif".split()
UNREADABLE = (
    ".heic .heif .hif .jxl .svg .pdf .eps .ps .ai .psd .xcf .ico .tga .exr .hdr "
    ".raw .dng .cr2 .cr3 .nef .arw .orf .raf .rw2 .pef .srw"
).split()


def image_files(folder):
    """List the image files of a folder by name, without sub-folders and hidden files.

    Returns lists of paths that end in one of `SUFFIXES`, and of `UNREADABLE`.
    """
    files = [p for p in sorted(Path(folder).iterdir()) if not (p.is_dir() or p.name[0] == ".")]
    return [[p for p in files if p.suffix.lower() in ends] for ends in (SUFFIXES, UNREADABLE)]


def list_images(kind):
    """List the images of one kind in ``data/`` by name, and warn of those not read.

    Parameters
    ----------
    kind : str
        Name of a folder in ``data/``, such as ``"African_elephant"``.

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    ValueError
        If there is no such folder, or no image in it.
    """
    # A folder with masks of its own, such as data/evaluation, is no kind.
    folders = [path for path in sorted(DATA.iterdir()) if path.is_dir() and path.name != "masks"]
    kinds = [p.name for p in folders if not any(mask.is_dir() for mask in p.glob("masks/*"))]
    if kind not in kinds:
        raise ValueError(f"no images of kind {kind!r}; data/ has {', '.join(map(repr, kinds))}")
    images, others = image_files(DATA / kind)
    if others:
        names = ", ".join(path.name for path in others)
        warnings.warn(f"not read in data/{kind}, save as JPEG or PNG: {names}", stacklevel=2)
    if not images:
        raise ValueError(f"no image in data/{kind}; expected files in {', '.join(SUFFIXES)}")
    return images


def load_image(path, size=None):
    """Load an image as upright RGB.

    Parameters
    ----------
    path : path-like
        An image in one of `FORMATS` and any colour mode: 16 bits are scaled to 8, and
        transparent parts are laid on white.
    size : int, optional
        Side in pixels to which the image is squashed, antialiased and whatever its
        aspect ratio. By default it keeps its size.

    Returns
    -------
    (H, W, 3) uint8 array
        RGB in [0, 255]. The first image of an animation.

    Raises
    ------
    ValueError
        If the file is no such image, is damaged or may be a decompression bomb, or if
        `size` is not a whole number of pixels.
    FileNotFoundError
    """
    return np.array(_squash(_read(path, _rgb), size, Image.Resampling.BICUBIC))


def find_mask(path, root=None):
    """Find the mask of an image: of ``<kind>/a.jpg`` it is ``masks/<kind>/a.png``.

    Parameters
    ----------
    path : path-like
        The image.
    root : path-like, optional
        The folder with the sub-folder ``masks``, by default that of the image's folder.

    Returns
    -------
    pathlib.Path or None
        A file with any ending of images; None if the image has no mask.

    Raises
    ------
    ValueError
        If the image has two masks.
    """
    path = Path(path)
    root = path.parent.parent if root is None else Path(root)
    folder = (root / "masks" / path.relative_to(root)).parent
    for files in image_files(folder) if folder.is_dir() else ():
        masks = [file for file in files if file.stem == path.stem]
        masks = masks or [file for file in files if file.stem.lower() == path.stem.lower()]
        if len(masks) > 1:
            raise ValueError(f"{path} has two masks, {masks[0]} and {masks[1]}: keep one")
        if masks:
            return masks[0]
    return None


def load_mask(path, size=None, root=None):
    """Load the ground-truth mask of an image.

    The object is white on black, of another colour on black (0 and 1; Pascal VOC, whose
    undecided pixels count as background), or opaque on transparent. Antialiased edges
    and compression noise are cut at half of the range.

    Parameters
    ----------
    path, root : path-like
        As in `find_mask`.
    size : int, optional
        As in `load_image`, but each pixel takes the value of the nearest one.

    Returns
    -------
    (H, W) bool array or None
        True on the object; None if the image has no mask.

    Raises
    ------
    ValueError
        If the mask does not have its image's shape or is not clearly two-valued, or as
        of `load_image` and `find_mask`.
    """
    mask_path = find_mask(path, root)
    if mask_path is None:
        return None
    pixels, (width, height) = _read(mask_path, _mask_pixels), _read(path, lambda image: image.size)
    if pixels.shape[:2] != (height, width):
        raise ValueError(
            f"the mask {mask_path} is {pixels.shape[1]} x {pixels.shape[0]} pixels (width x "
            f"height), its image {path} is {width} x {height}"
        )
    mask = _object(pixels)
    if mask is None:
        raise ValueError(f"{mask_path} is not clearly two-valued: expected white on black")
    return np.asarray(_squash(Image.fromarray(np.uint8(mask)), size, Image.Resampling.NEAREST)) > 0


def _read(path, convert):
    """What `convert` makes of an image, decoded in full and upright."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no image {path}")
    if not path.is_file():  # opening a named pipe would wait for ever
        raise ValueError(f"{path} is not a regular file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _scale_transparent_colour(image)
                image.load()
                _turn_upright(image)
                return convert(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        most = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise ValueError(f"{path} has more than {most} pixels; shrink it first") from None
    except Exception as error:  # damaged files make Pillow's readers raise almost anything
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


def _scale_transparent_colour(image):
    """Scale a PNG's transparent colour to the 8 bits that Pillow decodes to."""
    colour, raw = image.info.get("transparency"), image.tile[0][3] if image.tile else None
    if raw in ("L;2", "L;4") and colour is not None:
        image.info["transparency"] = colour * {"L;2": 85, "L;4": 17}[raw]
    elif raw == "RGB;16B" and colour is not None:
        image.info["transparency"] = tuple(part >> 8 for part in colour)


def _turn_upright(image):
    try:
        image.getexif()
    except Exception:  # damaged EXIF does not say how the image is turned
        return
    # exif_transpose would write EXIF again, which fails at tags that Pillow only reads.
    for name in ("exif", "Raw profile type exif"):
        image.info.pop(name, None)
    ImageOps.exif_transpose(image, in_place=True)


def _rgb(image):
    if image.mode == "F" or image.mode == "I" and image.format == "TIFF":
        raise ValueError("its 32 bits a pixel have no known range, save it with 8 or 16")
    if image.mode.startswith("I"):
        # Pillow would clip these 16-bit values at 255.
        values = np.asarray(image)
        grey = np.uint8(np.round(values / 257))
        grey[values == image.info.get("transparency")] = 255
        image = Image.fromarray(grey)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _mask_pixels(image):
    if image.mode.startswith(("I", "F")):  # more than 8 bits, which masks use up or not
        values = np.clip(np.asarray(image, float), 0, None)
        image = Image.fromarray(np.uint8(np.round(values / max(values.max(), 1e-9) * 255)))
    return np.asarray(image.convert("RGBA"))


def _object(pixels):
    """Where RGBA pixels show an object, (H, W) bool; None if that is not clear."""
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if alpha.min() == alpha.max():
        return _bright(colours) if alpha.any() else None
    shape = _bright(np.repeat(alpha, 3, axis=-1))
    second = None if shape is None else _bright(colours[shape])
    return None if second is not None and not second.all() else shape


def _bright(colours):
    """Where pixels (..., 3) have the brighter of two colours, bool; None if unclear."""
    codes = colours.astype(int) @ (65536, 256, 1)
    codes[codes == 0xE0E0C0] = 0  # undecided pixels in masks of Pascal VOC
    values, counts = np.unique(codes, return_counts=True)
    if len(values) == 2 and values[0] == 0:
        return codes == values[1]
    parts = values[:, np.newaxis] >> (16, 8, 0) & 255
    dark, bright = parts.max(axis=1) < 64, parts.min(axis=1) >= 192
    between, darks, n_bright = counts[~dark & ~bright], np.sort(counts[dark]), counts[bright].sum()
    # A third value, as of labels 0, 1 and 255, is frequent. Values of noise are rare,
    # and those of antialiased edges rarer.
    third = max([0, *4 * between, *darks[:-1]])
    if not n_bright or third > n_bright / 2 or between.sum() > codes.size / 10:
        return None
    return colours.mean(axis=-1) >= 128 if dark.any() or values.tolist() == [0xFFFFFF] else None


def _squash(image, size, resampling):
    if size is None:
        return image
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size is {size!r}; expected the side of an image in whole pixels")
    return image.resize((size, size), resampling)
