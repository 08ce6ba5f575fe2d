"""Image files and ground-truth masks: find them, read them, resize them."""

import contextlib
import os
import re
import unicodedata
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

DATA = Path(__file__).resolve().parent.parent / "data"
# Pillow goes by content, not name, and would start an interpreter for PostScript.
FORMATS = "JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF"
# Endings of the files that are read, in lower case.
SUFFIXES = ".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .jp2 .avif".split()
# Names of folders: of masks, and of images where the masks lie beside this folder.
MASKS = "masks", "Masks", "MASKS"
IMAGES = "images", "image", "imgs", "img", "jpegimages", "photos"


def find_images(folder):
    """Find the images of a folder and its sub-folders, without masks and hidden files.

    Returns
    -------
    images : dict of str to pathlib.Path
        By their path in `folder`, `escaped`, sorted, with forward slashes.
    left_out : list of str
        Folders, links and masks that are left out, each with the reason, and the number
        of other files by their endings.

    Raises
    ------
    ValueError
        If there is no such folder, or no image in it.
    """
    folder, images, left_out, others = Path(folder), {}, [], Counter()
    if not folder.is_dir():
        raise ValueError(f"there is no folder {escaped(folder)}")

    def name(path):
        return escaped(path.relative_to(folder).as_posix())

    def walk(parent, above):
        real, masks, n_images = Path(os.path.realpath(parent)), [], len(images)
        if any(other.is_relative_to(real) for other in above):
            return left_out.append(f"{name(parent)} (a link that leads back up)")
        try:
            entries = sorted(os.listdir(parent))
        except OSError as error:
            return left_out.append(f"{name(parent)} ({error.strerror})")
        for path in (parent / entry for entry in entries if not entry.startswith(".")):
            if os.path.isdir(path):
                masks.append(path) if path.name in MASKS else walk(path, [*above, real])
            elif _suffix(path) in SUFFIXES:
                images[name(path)] = path
            elif os.path.exists(path):
                others[_suffix(path) or "without ending"] += 1
            else:
                left_out.append(f"{name(path)} (a link that leads nowhere)")
        if len(images) == n_images:
            left_out.extend(f"{name(path)} (no image beside these masks)" for path in masks)

    walk(folder, [])
    left_out = sorted(left_out) + [f"{number} {suffix}" for suffix, number in others.most_common()]
    if not images:
        expected = f"files in {', '.join(SUFFIXES)}, not {', '.join(left_out) or 'an empty folder'}"
        raise ValueError(f"no image in {escaped(folder)}; expected {expected}")
    return dict(sorted(images.items())), left_out


def list_images(kind):
    """List the images in a folder of ``data/``, such as ``"black_bear"``, by name.

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    ValueError
        If there is no such folder, or no image in it.
    """
    # A folder with masks of kinds itself, such as data/evaluation, is no kind.
    folders = [path for path in sorted(DATA.iterdir()) if path.is_dir() and path.name not in MASKS]
    kinds = [p.name for p in folders if not any(mask.is_dir() for mask in p.glob("masks/*"))]
    if kind not in kinds:
        raise ValueError(f"no images of kind {kind!r}; data/ has {', '.join(map(repr, kinds))}")
    images, left_out = find_images(DATA / kind)
    if left_out:
        text = f"not read in data/{kind}: {', '.join(left_out)}; save images as JPEG or PNG"
        warnings.warn(text, stacklevel=2)
    return list(images.values())


def escaped(name):
    r"""A name or path that can be printed, and be a cell of a CSV file in UTF-8.

    Control and direction characters, bytes that are not UTF-8 and what makes a cell a
    formula are escaped, such as ``\r``, ``\u202e``, ``\udcff`` and ``\=1+1``. A
    backslash is doubled, so different names stay different.
    """
    # In some countries a semicolon ends a cell.
    name = re.sub(r"((?:^|;)\s*)(?=[=+@＝＋－＠-])", r"\1\\", str(name).replace("\\", r"\\"))
    unseen = "Cc", "Cf", "Cs", "Zl", "Zp"
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in unseen else c
        for c in name
    )


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


def find_mask(path):
    """Find the mask of an image in the nearest folder ``masks`` beside or above it.

    That of ``zebra/a.jpg`` is ``masks/zebra/a.png``, with any ending of images and in
    any case and Unicode form, and so is that of ``images/zebra/a.jpg``.

    Returns
    -------
    pathlib.Path or None
        None if the image has no mask.

    Raises
    ------
    ValueError
        If the image has two masks, or another image may have the same one. The names
        ``a.jpg.png`` and ``a.png.png`` tell the masks of a.jpg and a.png apart.
    """
    path = Path(os.path.abspath(path))
    folders = (parent / name for parent in path.parents for name in MASKS)
    masks = next(filter(Path.is_dir, folders), None)
    if masks is None:
        return None
    root, (first, *rest) = masks.parent, path.relative_to(masks.parent).parts
    mask = _counterpart(root, masks, first, *rest)
    if mask is None and rest and first.lower() in IMAGES:
        if Path(rest[0]).stem not in [other.stem for other in root.iterdir()]:
            mask = _counterpart(root / first, masks, *rest)
    return mask


def _counterpart(folder, masks, part, *rest):
    """The mask of the image at part/…/rest in a folder, or None."""

    def alike(names, parent, others):
        """The others in a folder with an equal name, or else one equal but for case."""
        for form in (str, _folded):
            forms = set(map(form, names))
            found = [other for other in others if forms & set(map(form, others[other]))]
            if found := [name for name in found if (parent / name).is_dir() == bool(rest)]:
                return sorted(found)
        return []

    def keys(name, *more):
        return {name} if rest else {os.path.splitext(name)[0], *more}

    images = [part, *(n for n in os.listdir(folder) if rest or _suffix(n) in SUFFIXES)]
    images = {name: keys(name, name) for name in images}
    of_mask = {name: keys(name) for name in os.listdir(masks)}
    found = alike(images[part], masks, of_mask)
    found = [name for name in found if _suffix(name) in SUFFIXES] or found
    owners = alike(of_mask[found[0]], folder, images) if found else []
    if part not in owners:
        return None
    path, mask = folder / part, masks / found[0]
    if found[1:] or any(not path.samefile(folder / owner) for owner in owners):
        found = " and ".join(escaped(masks / name) for name in found)
        owners = " and ".join(escaped(folder / name) for name in owners)
        raise ValueError(
            f"{found} may be the mask of {owners}: expected one mask for each, named like "
            f"{escaped(part)}.png"
        )
    return _counterpart(path, mask, *rest) if rest else mask


def _folded(name):
    return unicodedata.normalize("NFC", name.casefold()).strip()


def _suffix(name):
    return os.path.splitext(name)[1].strip().lower()


def load_mask(path, size=None):
    """Load the ground-truth mask of an image.

    The object is white on black, of another colour on black (0 and 1; Pascal VOC, whose
    undecided pixels count as background), or opaque on transparent. Antialiased edges
    and compression noise are cut at half of the range.

    Parameters
    ----------
    path : path-like
        The image, whose mask `find_mask` finds.
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
    mask_path = find_mask(path)
    if mask_path is None:
        return None
    pixels, (width, height) = _read(mask_path, _mask_pixels), _read(path, lambda image: image.size)
    if pixels.shape[:2] != (height, width):
        raise ValueError(
            f"the mask {escaped(mask_path)} is {pixels.shape[1]} x {pixels.shape[0]} pixels "
            f"(width x height), its image {escaped(path)} is {width} x {height}"
        )
    mask = _object(pixels)
    if mask is None:
        raise ValueError(f"{escaped(mask_path)} is not clearly two-valued: expected white on black")
    return np.asarray(_squash(Image.fromarray(np.uint8(mask)), size, Image.Resampling.NEAREST)) > 0


def check_is_file(path):
    """Raise a FileNotFoundError if an image is not there, or no file."""
    if not os.path.isfile(path):  # opening a named pipe would wait for ever
        raise FileNotFoundError(f"there is no image file {escaped(path)}")


def _read(path, convert):
    """What `convert` makes of an image, decoded in full and upright."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"an image file must be given by its path, got {type(path).__name__}")
    check_is_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _scale_transparent_colour(image)
                tags = image.tag_v2 if image.format == "TIFF" else {}
                planar, deep = tags.get(284) == 2, tags.get(258, [8])[0] > 8
                if planar and deep and image.info["compression"] == "raw":
                    raise ValueError("Pillow misreads its separate planes, save it as PNG")
                image.load()
                # Damaged EXIF, or tags that Pillow cannot write, do not matter.
                with contextlib.suppress(Exception):
                    ImageOps.exif_transpose(image, in_place=True)
                return convert(image)
    except Exception as error:  # damaged files make Pillow's readers raise almost anything
        raise ValueError(f"{escaped(path)} cannot be read as an image: {error}") from error


def _scale_transparent_colour(image):
    """Scale a PNG's transparent colour to the 8 bits that Pillow decodes to."""
    colour, raw = image.info.get("transparency"), image.tile[0][3] if image.tile else None
    if raw in ("L;2", "L;4") and colour is not None:
        image.info["transparency"] = colour * {"L;2": 85, "L;4": 17}[raw]
    elif raw == "RGB;16B" and colour is not None:
        image.info["transparency"] = tuple(part >> 8 for part in colour)


def _rgb(image):
    if image.mode == "F" or image.mode == "I" and image.format == "TIFF":
        raise ValueError("its 32 bits a pixel have no known range, save it with 8 or 16")
    if image.mode.startswith("I"):
        values, white = _deep(image)  # Pillow would clip them at 255
        grey = np.uint8(np.round(values / white * 255))
        grey[values == image.info.get("transparency")] = 255
        image = Image.fromarray(grey)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _deep(image):
    """Values of more than 8 bits, higher where it is brighter, and the one of white."""
    values, white = np.asarray(image, float), 65535
    if image.format == "TIFF" and image.mode.startswith("I;"):
        white = 2 ** image.tag_v2[258][0] - 1  # the bits of a sample
        if image.tag_v2[262] == 0:  # the photometric interpretation WhiteIsZero
            values = white - values
    return values, white


def _mask_pixels(image):
    if image.mode.startswith(("I", "F")):  # masks use up the range or not
        values, white = _deep(image)
        top = white if values.min() == values.max() else values.max()
        scaled = values / max(top, 1e-9) * 255
        image = Image.fromarray(np.uint8(np.where(values > 0, np.clip(scaled, 1, 255), 0)))
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
    # A third value, as of labels 0, 1 and 255, is frequent or one of few. Values of
    # noise are rare, and those of antialiased edges rarer.
    third = max([0, *4 * between, *darks[:-1] * (codes.size if len(values) < 6 else 1)])
    if not n_bright or third > n_bright / 2 or between.sum() > codes.size / 10:
        return None
    return colours.mean(axis=-1) >= 128 if dark.any() or values.tolist() == [0xFFFFFF] else None


def _squash(image, size, resampling):
    if size is None:
        return image
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size is {size!r}; expected the side of an image in whole pixels")
    return image.resize((size, size), resampling)
