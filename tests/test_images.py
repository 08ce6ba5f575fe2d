"""`lab.images` against files written here, and the images in `data/`."""

import os
import re
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from lab import images
from lab.images import SUFFIXES, escaped, find_images, find_mask, list_images, load_image, load_mask
from lab.networks.loading import load

KINDS = {"African_elephant": {101, 385, 386}, "black_bear": {294, 295, 297}}
# By name, so that the tests also pass where someone has added images.
OURS = re.compile("(elephant_(1_dune|2_meadow|3_slope)|bear_(1_meadow|2_forest|3_slope)).jpg")
RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "DATA", tmp_path)
    return tmp_path


def save(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def write_png(path, depth, colour_type, width, rows, transparent):
    """Write a PNG that Pillow cannot write, from the format's definition."""
    header = struct.pack(">2I5B", width, len(rows), depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    content = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + header, b"tRNS" + transparent, b"IDAT" + pixels, b"IEND"):
        content += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content)
    return path


def touch(folder, names):
    for path in (folder / name for name in names.split(",")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_kinds_are_listed_and_others_named(data):
    touch(data, "lion/masks/1.jpg,masks/lion/1.png,set/masks/lion/1.png,notes.txt")
    for kind in ("zebra", "masks", "set", "", "..", "lion/.."):
        with pytest.raises(ValueError, match="no images of kind .* has 'lion'$"):
            list_images(kind)
    with pytest.raises(ValueError, match="no image in .*lion; expected .*.jfif"):
        list_images("lion")
    touch(data, "lion/c.JPEG,lion/a.jpg,lion/d.png,lion/.a.jpg,lion/e.heic,lion/f.SVG")
    with pytest.warns(UserWarning, match="data/lion: 1 .heic, 1 .svg; save images as JPEG or PNG"):
        assert [path.name for path in list_images("lion")] == ["a.jpg", "c.JPEG", "d.png"]


def test_images_are_found_by_their_path_and_what_is_left_out_is_said(tmp_path, monkeypatch):
    given = "1.png,b.JPEG,b/1.jpg,b/2 .jpg ,b/3.png\n,deep/a/1.webp,train/c/1.gif,shut/1.jpg"
    folder = touch(tmp_path / "set", f"{given},.git/1.png,b/._1.jpg,b/1.txt,b/1.HEIC,2.heic,none")
    touch(folder, "masks/b/1.png,b/Masks/1.png,train/masks/c/1.png,alone/masks/c/1.png")
    links = {"again": "b", "up": ".", "train/top": "../..", "gone": "nowhere", "loop": "loop"}
    links |= {"b/lost.jpg": "nowhere.jpg", "out/b": "../b", "deep/to": "../in", "in/to": "../deep"}
    for name, target in links.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(target, target_is_directory=True)
    real = os.listdir

    def listdir(path):  # the tests may run as root, who may open any folder
        if os.path.basename(path) == "shut":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    found, left_out = find_images(folder)
    names = ["1.png", "b.JPEG", "deep/a/1.webp", "in/to/a/1.webp", "train/c/1.gif"]
    for parent in ("again", "b", "out/b"):
        names += [f"{parent}/{name}" for name in ("1.jpg", "2 .jpg ", "3.png\n", "lost.jpg")]
    assert found == {name.replace("\n", r"\n"): folder / name for name in names}
    assert list(found) == sorted(found)
    assert left_out == [
        "alone/masks (no image beside these masks)",
        "deep/to/to (a link that leads back up)",
        "gone (a link that leads nowhere)",
        "in/to/to (a link that leads back up)",
        "loop (a link that leads nowhere)",
        "shut (Permission denied)",
        "train/top (a link that leads back up)",
        "up (a link that leads back up)",
        "4 .heic",
        "3 .txt",
        "1 without ending",
    ]


def test_a_folder_without_images_is_refused(tmp_path):
    for name, message in (("none", "no folder .*none$"), ("x", "no image in .*x; .*not 1 .svg$")):
        with pytest.raises(ValueError, match=message):
            find_images(touch(tmp_path, "x/1.svg") / name)


@pytest.mark.parametrize(
    "name, shown",
    [
        ("zebra/=1+1.png", "zebra/=1+1.png"),
        ("=cmd|' /C calc'!A0.png", r"\=cmd|' /C calc'!A0.png"),
        ("-1;  @2;3-4.png", r"\-1;  \@2;3-4.png"),
        ("＋1.png", r"\＋1.png"),
        ("\t=1\r\n\x7f\x85.png", r"\t\=1\r\n\x7f\x85.png"),
        ("gnp\u202egpj.exe\u2066\u200f", r"gnp\u202egpj.exe\u2066\u200f"),
        ("a\u2028\ufeff\U000e0041\udcff", r"a\u2028\ufeff\U000e0041\udcff"),
        ("\\x3d ä\u202f\U0001f993 שלום.png", "\\\\x3d ä\u202f\U0001f993 שלום.png"),
    ],
)
def test_names_are_shown_without_commands_or_invisible_characters(name, shown):
    assert escaped(name) == shown


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".JPG"])
def test_every_ending(tmp_path, suffix):
    flat = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    mode = {".pgm": "L", ".pbm": "1"}.get(suffix)
    expected = np.array(Image.fromarray(flat).convert(mode).convert("RGB")) if mode else flat
    loaded = load_image(save(tmp_path / f"a{suffix}", flat, mode))
    assert loaded.dtype == np.uint8 and loaded.flags.writeable and loaded.shape == flat.shape
    np.testing.assert_allclose(loaded, expected, atol=4)
    assert Image.registered_extensions()[suffix.lower()] in images.FORMATS


def test_colours_of_every_depth_and_mode(tmp_path):
    bits = RNG.random((5, 5)) < 0.5
    for stored, expected in ((COLOURS, COLOURS), (bits, np.dstack([bits * 255] * 3))):
        np.testing.assert_array_equal(load_image(save(tmp_path / "a.png", stored)), expected)
    deep = np.array([[0, 128, 257, 32768, 65535 - 129, 65535]], np.uint16)
    for suffix in ("png", "tif"):
        loaded = load_image(save(tmp_path / f"a.{suffix}", deep))
        np.testing.assert_array_equal(loaded, np.round(deep[..., None] / 257).repeat(3, -1))
    deep = RNG.integers(0, 65536, (3, 5, 3)).astype(">u2")
    rows = [row.tobytes() for row in deep]
    loaded = load_image(write_png(tmp_path / "a.png", 16, 2, 5, rows, b"\xff" * 6))
    np.testing.assert_allclose(loaded, deep / 257, atol=1)
    flat = np.full((16, 16, 3), (30, 200, 90), np.uint8)
    loaded = load_image(save(tmp_path / "a.jpg", flat, "CMYK", quality=95))
    np.testing.assert_allclose(loaded, flat, atol=6)
    for values in (np.float32(COLOURS[..., 0]), np.int32(COLOURS[..., 0])):
        with pytest.raises(ValueError, match="a.tif .*32 bits"):
            load_image(save(tmp_path / "a.tif", values))
    planes = {"photometric": "rgb", "planarconfig": "separate"}
    for depth, compression in (("u1", None), ("u2", "zlib"), ("u2", None)):
        stored = (deep >> 8 if depth == "u1" else deep).astype(depth).transpose(2, 0, 1)
        tifffile.imwrite(tmp_path / "a.tif", stored, compression=compression, **planes)
        if depth == "u1" or compression:
            np.testing.assert_array_equal(load_image(tmp_path / "a.tif"), deep >> 8)
    with pytest.raises(ValueError, match="a.tif .*separate planes"):  # Pillow reads 8 of 16 bits
        load_image(tmp_path / "a.tif")


def write_tiff(path, bits, photometric, row):
    """Write a TIFF of one row from the format's definition."""
    tags = (256, len(row)), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 122)
    tags = [struct.pack("<2H2I", tag, 3, 1, value) for tag, value in (*tags, (277, 1), (279, 99))]
    packed = int("".join(f"{value:0{bits}b}" for value in row), 2).to_bytes(
        bits * len(row) // 8, "big"
    )
    if bits == 16:
        packed = np.array(row, "<u2").tobytes()
    content = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(tags) + bytes(16)
    path.write_bytes(content + packed)
    return path


@pytest.mark.parametrize(
    "bits, photometric, row, expected",
    [
        (16, 0, [0, 257, 32768, 65535], [255, 254, 127, 0]),
        (16, 1, [0, 257, 32768, 65535], [0, 1, 128, 255]),
        (12, 1, [0, 16, 2048, 4095], [0, 1, 128, 255]),
        (8, 0, [0, 1, 128, 255], [255, 254, 127, 0]),
        (4, 0, [0, 1, 8, 15], [255, 238, 119, 0]),
    ],
)
def test_white_in_a_tiff_is_what_its_tags_say(data, bits, photometric, row, expected):
    path = write_tiff(data / "lion.tif", bits, photometric, row)
    np.testing.assert_array_equal(load_image(path)[0, :, 0], expected)
    (data / "masks").mkdir()
    object_row = [row[0], row[0], row[-1], row[-1]]
    write_tiff(data / "masks" / "lion.tif", bits, photometric, object_row)
    assert load_mask(path).tolist() == [[photometric == 0] * 2 + [photometric == 1] * 2]


def test_transparent_parts_are_white(tmp_path):
    alpha = np.resize(np.array([0, 255, 128], np.uint8), (6, 9))
    loaded = load_image(save(tmp_path / "a.png", np.dstack([COLOURS, alpha])))
    share = alpha[..., None] / 255
    np.testing.assert_allclose(loaded, COLOURS * share + 255 * (1 - share), atol=1)
    table = np.array([[255, 0, 0], [0, 128, 255], [7, 8, 9]], np.uint8)
    squares = np.kron(np.array([[0, 1], [2, 0]]), np.ones((4, 4), int))
    image = with_palette(squares, *table)
    for transparent in ({}, {"transparency": 2}):
        image.save(tmp_path / "a.png", **transparent)
        table[2] = 255 if transparent else table[2]
        np.testing.assert_array_equal(load_image(tmp_path / "a.png"), table[squares])


@pytest.mark.parametrize(
    "depth, colour_type, row, transparent, expected",
    [
        (16, 0, struct.pack(">3H", 1000, 0, 65535), struct.pack(">H", 1000), [255, 0, 255]),
        (16, 2, struct.pack(">6H", 4660, 0, 0, 9, 0, 0), struct.pack(">3H", 4660, 0, 0), [255, 0]),
        (8, 0, bytes([7, 9]), struct.pack(">H", 7), [255, 9]),
        (4, 0, bytes([0x3A]), struct.pack(">H", 3), [255, 170]),
        (2, 0, bytes([0b00011011]), struct.pack(">H", 1), [0, 255, 170, 255]),
        (1, 0, bytes([0b01000000]), struct.pack(">H", 0), [255, 255]),
    ],
)
def test_a_transparent_colour_is_white(tmp_path, depth, colour_type, row, transparent, expected):
    path = write_png(tmp_path / "a.png", depth, colour_type, len(expected), [row], transparent)
    np.testing.assert_array_equal(load_image(path)[0, :, 0], expected)


# How a camera flips and turns the upright image for each value of EXIF's tag.
@pytest.mark.parametrize(
    "orientation, flip, turns",
    [(1, 1, 0), (2, -1, 0), (3, 1, 2), (4, -1, 2), (5, -1, 1), (6, 1, 1), (7, -1, 3), (8, 1, 3)],
)
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_exif_orientation_is_upright(tmp_path, orientation, flip, turns, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.rot90(COLOURS[:, ::flip], turns).copy()
    np.testing.assert_array_equal(load_image(save(tmp_path / name, stored, exif=exif)), COLOURS)


def test_odd_exif_neither_stops_nor_hides_the_orientation(tmp_path):
    tags = b"".join(struct.pack("<2H2I", *tag) for tag in ((0x0112, 3, 1, 6), (0x011A, 5, 1, 38)))
    rotated = b"II*\0\x08\0\0\0\x02\0" + tags + struct.pack("<Iii", 0, -1, 0)  # XResolution -1/0
    stored = np.rot90(COLOURS).copy()
    for exif, expected in ((rotated, COLOURS), (b"II*\0\x08\0\0\0\x09", stored)):
        path = save(tmp_path / "a.png", stored, exif=b"Exif\0\0" + exif)
        np.testing.assert_array_equal(load_image(path), expected)


def test_size_squashes_and_antialiases(tmp_path):
    stripes = np.tile(np.uint8([0, 255]), (80, 60))
    loaded = load_image(save(tmp_path / "a.png", stripes), size=20)
    assert loaded.shape == (20, 20, 3)  # the nearest pixels would be black or white
    np.testing.assert_allclose(loaded[:, 2:-2], 127.5, atol=3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".tif", ".bmp", ".avif"])
def test_damaged_files_are_named(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole = path.read_bytes()
    for content in (whole[: len(whole) * 9 // 10], whole[: len(whole) // 2], b"", b"hello"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"a{suffix} cannot be read"):
            load_image(path)


def test_files_that_are_no_images_are_not_opened(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.jpg"):
        load_image(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"no image file .*{path.name}$"):
            load_image(path)
    for pixels in (None, COLOURS):
        with pytest.raises(TypeError, match="must be given by its path, got (NoneType|ndarray)$"):
            load_image(pixels)
    with pytest.raises(ValueError, match="a.jpg cannot be read"):  # would start an interpreter
        load_image(save(tmp_path / "a.jpg", COLOURS, format="EPS"))


def test_decompression_bomb(tmp_path, monkeypatch):
    path = save(tmp_path / "bomb.png", np.zeros((16, 16), np.uint8))
    for limit in (100, 150):  # Pillow raises above twice this, and only warns below
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match="bomb.png .* pixels"):
            load_image(path)


SHAPE = np.hypot(*np.mgrid[-20:20, -30:30]) < 12
FINE = Image.fromarray(np.uint8(np.hypot(*np.mgrid[-20:20:0.25, -30:30:0.25]) < 12) * 255)
SMOOTH = np.array(FINE.resize((60, 40)))
BLACK = np.zeros((40, 60, 3), np.uint8)
HALF = (BLACK + 255) * (np.arange(60) < 30)[:, None].astype(np.uint8)


def with_palette(indices, *colours):
    image = Image.fromarray(np.uint8(indices), "P")
    image.putpalette(sum(([*colour] for colour in colours), []))
    return image


def labelled(*values):
    return np.select([SHAPE, np.arange(60) < 8], values[1:], values[0]).astype(np.uint8)


MASKS = {
    "0 and 1": SHAPE.astype(np.uint8),
    "10 and 245": np.where(SHAPE, 245, 10).astype(np.uint8),
    "16 bits, 0 and 1": SHAPE.astype(np.uint16),
    "16 bits, low": np.uint16(SHAPE) * 65000 + 200,
    "palette of VOC": with_palette(SHAPE, (0, 0, 0), (128, 0, 0)),
    "VOC, undecided": with_palette(labelled(0, 1, 2), (0, 0, 0), (128, 0, 0), (224, 224, 192)),
    "white first": with_palette(~SHAPE, (255, 255, 255), (0, 0, 0)),
    "RGB": BLACK + 255 * SHAPE[..., None].astype(np.uint8),
    "alpha": np.dstack([BLACK, np.uint8(SHAPE) * 255]),
    "cut-out": np.dstack([RNG.integers(0, 256, BLACK.shape), SHAPE * 255]).astype(np.uint8),
    "opaque": np.dstack([BLACK + 255 * SHAPE[..., None], BLACK[..., 0] + 255]).astype(np.uint8),
    "antialiased": SMOOTH,
}
NO_MASKS = {
    "three labels": labelled(0, 1, 2),
    "labels and undecided": labelled(0, 1, 255),
    "16 bits, labels and undecided": np.array([0, 1, 65535], np.uint16)[labelled(0, 1, 2)],
    "small label, undecided": np.where(
        np.arange(2400).reshape(40, 60) < 9, 1, SHAPE * np.uint8(255)
    ),
    "16 bits, all 1": np.uint16(BLACK[..., 0]) + 1,
    "VOC, two classes": with_palette(labelled(0, 1, 2), (0, 0, 0), (128, 0, 0), (0, 128, 0)),
    "only undecided": with_palette(SHAPE, (0, 0, 0), (224, 224, 192)),
    "ramp": np.broadcast_to(np.linspace(0, 255, 60).astype(np.uint8), (40, 60)),
    "photograph": RNG.integers(0, 256, BLACK.shape, dtype=np.uint8),
    "nothing": BLACK,
    "all 1": BLACK[..., 0] + 1,
    "all transparent": np.dstack([HALF, BLACK[..., 0]]),
    "two shapes": np.dstack([HALF, np.uint8(SHAPE) * 255]),
    "neither black": np.where(SHAPE[..., None], 255, (255, 0, 0)).astype(np.uint8),
}


@pytest.mark.parametrize("name", [*MASKS, *NO_MASKS])
def test_masks_are_right_or_refused(data, name):
    path = save(data / "lion" / "a.jpg", BLACK)
    save(data / "masks" / "lion" / "a.png", (MASKS | NO_MASKS)[name])
    if name in MASKS:
        expected = SMOOTH >= 128 if name == "antialiased" else SHAPE
        np.testing.assert_array_equal(load_mask(path), expected)
    else:
        with pytest.raises(ValueError, match="masks/lion/a.png is not clearly two-valued"):
            load_mask(path)


@pytest.mark.parametrize("name", ["a.PNG", "a.gif", "a.JPG", "a.avif"])
def test_masks_are_found_with_every_ending(data, name):
    path, unread = save(data / "lion" / "a.jpg", BLACK), data / "masks" / "lion" / "a.psd"
    assert load_mask(path) is None
    unread.parent.mkdir(parents=True)
    unread.write_bytes(b"layers")
    with pytest.raises(ValueError, match="masks/lion/a.psd cannot be read"):
        load_mask(path)
    save(unread.with_name(name), np.uint8(SHAPE) * 255)
    np.testing.assert_array_equal(load_mask(path), SHAPE)
    other = save(unread.with_name("a.jp2"), np.uint8(SHAPE) * 255).name
    with pytest.raises(ValueError, match=f"({name}|{other}) may be the mask of .*a.jpg: expected"):
        load_mask(path)


NFC, NFD = "é", "e\u0301"


@pytest.mark.parametrize(
    "files, image, expected",
    [
        ("zebra/1.jpg,masks/zebra/1.png", "zebra/1.jpg", "masks/zebra/1.png"),
        ("zebra/1.jpg,zebra/masks/1.png,masks/zebra/1.png", "zebra/1.jpg", "zebra/masks/1.png"),
        (
            "train/zebra/1.jpg,train/masks/zebra/1.png",
            "train/zebra/1.jpg",
            "train/masks/zebra/1.png",
        ),
        ("images/zebra/1.jpg,masks/zebra/1.png", "images/zebra/1.jpg", "masks/zebra/1.png"),
        ("a/images/1.jpg,a/Masks/1.png", "a/images/1.jpg", "a/Masks/1.png"),
        ("images/1.jpg,1.jpg,masks/1.png", "1.jpg", "masks/1.png"),
        ("images/1.jpg,1.jpg,masks/1.png", "images/1.jpg", None),
        ("train/1.jpg,test/1.jpg,masks/1.png", "test/1.jpg", None),
        (f"{NFC}/{NFD}.jpg,masks/{NFD}/{NFC}.png", f"{NFC}/{NFD}.jpg", f"masks/{NFD}/{NFC}.png"),
        (f"É/É.jpg,masks/{NFD}/{NFD}.PNG", "É/É.jpg", f"masks/{NFD}/{NFD}.PNG"),
        ("Zebra/1.jpg,masks/zebra/1.png", "Zebra/1.jpg", "masks/zebra/1.png"),
        ("Zebra/1.jpg,zebra/1.jpg,masks/zebra/1.png", "zebra/1.jpg", "masks/zebra/1.png"),
        ("Zebra/1.jpg,zebra/1.jpg,masks/zebra/1.png", "Zebra/1.jpg", None),
        ("A.jpg,a.jpg,masks/a.png", "A.jpg", None),
        ("Zebra/1.jpg,zebra/1.jpg,masks/ZEBRA/1.png", "zebra/1.jpg", "Zebra and .*/zebra"),
        ("z/1.jpg,masks/z/1.png,masks/Z/1.png", "z/1.jpg", "masks/z/1.png"),
        ("z/1.jpg,z/1.png,masks/z/1.png", "z/1.jpg", "z/1.jpg and .*z/1.png.*1.jpg.png"),
        ("z/1.jpg,z/1.png,masks/z/1.jpg.png,masks/z/1.png.png", "z/1.png", "masks/z/1.png.png"),
        ("z/1.jpg,z/1.txt,z/1.png/2.jpg,masks/z/1.png", "z/1.jpg", "masks/z/1.png"),
        ("z/1.jpg,masks/z/1.json,masks/z/1.png", "z/1.jpg", "masks/z/1.png"),
        ("z/1.jpg ,masks/z/1.png", "z/1.jpg ", "masks/z/1.png"),
        ("z/1.jpg,masks/z/2.png,masks/1.txt/1.png", "z/1.jpg", None),
        ("masks/z/1.png", "masks/z/1.png", None),
        ("1.jpg,masks/1.png", "2.jpg", None),
    ],
)
def test_an_image_has_the_mask_of_its_name_and_no_other_image_has_it(
    tmp_path, files, image, expected
):
    path = touch(tmp_path, files) / image
    if " and " in (expected or ""):
        with pytest.raises(ValueError, match=f"of .*{expected}"):
            find_mask(path)
    else:
        assert find_mask(path) == (expected and tmp_path / expected)


def test_masks_are_squashed_like_their_images(data):
    path, truth = save(data / "lion" / "a.jpg", COLOURS), RNG.random((6, 9)) < 0.5
    save(data / "masks" / "lion" / "a.png", np.uint8(truth) * 255)
    loaded = load_mask(path, size=18)
    assert loaded.dtype == bool
    np.testing.assert_array_equal(loaded, truth.repeat(3, 0).repeat(2, 1))
    np.testing.assert_array_equal(load_mask(path, size=3), truth[1::2, 1::3])
    for size in (0, 2.0, True):
        with pytest.raises(ValueError, match=f"size is {size}"):
            load_mask(path, size)
    save(data / "masks" / "lion" / "a.png", np.zeros((9, 6), np.uint8))
    with pytest.raises(ValueError, match="a.png is 6 x 9 .*a.jpg is 9 x 6"):
        load_mask(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = save(data / "lion" / "b.png", COLOURS, exif=exif)
    save(data / "masks" / "lion" / "b.png", np.full((9, 6), 255, np.uint8))
    assert load_mask(turned).shape == load_image(turned).shape[:2] == (9, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_our_images_have_masks_and_networks_know_the_animals(kind):
    paths = [path for path in list_images(kind) if OURS.fullmatch(path.name)]
    assert len(paths) == 3
    for path in paths:
        image, mask = load_image(path), load_mask(path)
        assert mask.shape == image.shape[:2] and min(mask.shape) >= 300 and 0.05 < mask.mean() < 0.4
        assert not (mask[0].any() or mask[:, 0].any() or mask[:, -1].any())
    for network in map(load, ("efficientnet_lite0", "squeezenet")):
        predicted = network(np.stack([load_image(path, network.input_size) for path in paths]))
        assert set(predicted.argmax(axis=1)) <= KINDS[kind]
