"""`lab.images` against files written here, pixel by pixel, and against the pictures in `data/`."""

import struct
import zlib

import numpy as np
from PIL import Image
import pytest

from lab import images
from lab.networks.loading import load
from lab.images import list_images, load_image, load_mask

KINDS = {"African_elephant": {101, 385, 386}, "black_bear": {294, 295, 297}}
# By name, so that the tests also pass where someone has added pictures.
NAMES = {
    "African_elephant": ["elephant_1_dune", "elephant_2_meadow", "elephant_3_slope"],
    "black_bear": ["bear_1_meadow", "bear_2_forest", "bear_3_slope"],
}
PICTURES = [(kind, images.DATA / kind / f"{name}.jpg") for kind in KINDS for name in NAMES[kind]]


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "DATA", tmp_path)
    return tmp_path


@pytest.fixture
def colours():
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def save(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


def test_list_is_sorted_and_knows_all_endings(data, colours):
    for name in ("c.JPEG", "a.jpg", "d.png", "b.webp", "e.JPG", "f.PNG"):
        save(data / "lion" / name, colours)
    (data / "lion" / "notes.txt").write_text("not a picture")
    (data / "lion" / ".a.jpg").write_bytes(b"what some systems leave beside a file")
    (data / "lion" / "folder.png").mkdir()
    assert [path.name for path in list_images("lion")] == [
        "a.jpg",
        "b.webp",
        "c.JPEG",
        "d.png",
        "e.JPG",
        "f.PNG",
    ]


def test_list_names_unknown_kind_and_empty_folder(data):
    (data / "lion").mkdir()
    (data / "masks").mkdir()
    for kind in ("zebra", "masks", "", "..", "lion/.."):
        with pytest.raises(ValueError, match="no pictures of kind .*'lion'"):
            list_images(kind)
    with pytest.raises(ValueError, match="data/lion"):
        list_images("lion")


def test_rgb_is_kept(tmp_path, colours):
    loaded = load_image(save(tmp_path / "a.png", colours))
    assert loaded.dtype == np.uint8
    assert loaded.flags.writeable
    np.testing.assert_array_equal(loaded, colours)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "JPEG", "png", "webp"])
def test_every_format(tmp_path, suffix):
    flat = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    loaded = load_image(save(tmp_path / f"a.{suffix}", flat))
    assert loaded.shape == flat.shape
    np.testing.assert_allclose(loaded, flat, atol=4)


def test_greyscale_is_repeated(tmp_path, colours):
    grey = colours[..., 0]
    np.testing.assert_array_equal(
        load_image(save(tmp_path / "a.png", grey)), np.stack([grey] * 3, -1)
    )


def test_black_and_white(tmp_path):
    bits = np.eye(5, dtype=bool)
    np.testing.assert_array_equal(
        load_image(save(tmp_path / "a.png", bits))[..., 1], np.uint8(bits) * 255
    )


def test_16_bits_are_scaled_not_clipped(tmp_path):
    deep = np.array([[0, 128, 257, 32768, 65535 - 129, 65535]], np.uint16)
    loaded = load_image(save(tmp_path / "a.png", deep))
    np.testing.assert_array_equal(loaded[0, :, 0], np.round(deep[0] / 257))
    np.testing.assert_array_equal(loaded[..., 0], loaded[..., 2])


def test_16_bit_colour(tmp_path):
    # Pillow does not write this kind of PNG, so it is put together from the format's definition.
    deep = np.random.default_rng(0).integers(0, 65536, (3, 5, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    with open(tmp_path / "a.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for tag, body in (
            (b"IHDR", struct.pack(">2I5B", 5, 3, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        ):
            file.write(
                struct.pack(">I", len(body))
                + tag
                + body
                + struct.pack(">I", zlib.crc32(tag + body))
            )
    np.testing.assert_allclose(load_image(tmp_path / "a.png"), deep / 257, atol=1)


def test_transparent_parts_are_white(tmp_path, colours):
    alpha = np.resize(np.array([0, 255, 128], np.uint8), (6, 9))
    loaded = load_image(save(tmp_path / "a.png", np.dstack([colours, alpha])))
    share = alpha[..., None] / 255
    np.testing.assert_allclose(loaded, colours * share + 255 * (1 - share), atol=1)


def test_grey_with_alpha(tmp_path):
    pair = np.array([[[0, 0], [0, 255], [100, 255]]], np.uint8)
    np.testing.assert_array_equal(
        load_image(save(tmp_path / "a.png", pair))[0, :, 0], [255, 0, 100]
    )


def test_palette(tmp_path):
    squares = np.kron(np.array([[0, 1], [2, 0]]), np.ones((4, 4), int))
    table = np.array([[255, 0, 0], [0, 128, 255], [7, 8, 9]], np.uint8)
    picture = Image.fromarray(squares.astype(np.uint8))
    picture.putpalette(table.tobytes())
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), table[squares])
    picture.save(tmp_path / "b.png", transparency=2)
    table[2] = 255
    np.testing.assert_array_equal(load_image(tmp_path / "b.png"), table[squares])


@pytest.mark.parametrize("rgb", [(255, 255, 255), (0, 0, 0), (255, 0, 0), (30, 200, 90)])
def test_cmyk(tmp_path, rgb):
    flat = np.full((16, 16, 3), rgb, np.uint8)
    loaded = load_image(save(tmp_path / "a.jpg", flat, "CMYK", quality=95))
    np.testing.assert_allclose(loaded, flat, atol=6)


# What a camera does to the upright picture before it writes each value of EXIF's orientation tag.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_upright(tmp_path, orientation, colours):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNS[orientation](colours))
    np.testing.assert_array_equal(load_image(save(tmp_path / "a.png", stored, exif=exif)), colours)


def test_size_squashes_and_antialiases(tmp_path):
    stripes = np.zeros((80, 120, 3), np.uint8)
    stripes[:, ::2] = 255
    loaded = load_image(save(tmp_path / "a.png", stripes), size=20)
    assert loaded.shape == (20, 20, 3)
    # Taking the nearest pixels would give pure black or white here.
    np.testing.assert_allclose(loaded[:, 2:-2], 127.5, atol=3)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_truncated_file_is_named(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = save(tmp_path / name, noise).read_bytes()
    for share in (0.9, 0.5, 0.01):
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=name):
            load_image(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_named(tmp_path, content):
    (tmp_path / "holiday.jpg").write_bytes(content)
    with pytest.raises(ValueError, match="holiday.jpg"):
        load_image(tmp_path / "holiday.jpg")


@pytest.mark.parametrize("kind", ["EPS", "TIFF"])
def test_other_formats_are_refused_whatever_their_name(tmp_path, colours, kind):
    with pytest.raises(ValueError, match="a.jpg is not a JPEG, PNG or WebP"):
        load_image(save(tmp_path / "a.jpg", colours, format=kind))


@pytest.mark.parametrize("size", [0, -3])
def test_size_is_checked(data, colours, size):
    picture = save(data / "lion" / "a.png", colours)
    save(data / "masks" / "lion" / "a.png", np.zeros((6, 9), np.uint8))
    for load in (load_image, load_mask):
        with pytest.raises(ValueError, match=f"size is {size}"):
            load(picture, size)


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.jpg"):
        load_image(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match=tmp_path.name):
        load_image(tmp_path)


@pytest.mark.parametrize("limit", [100, 150])
def test_decompression_bomb(tmp_path, monkeypatch, limit):
    path = save(tmp_path / "bomb.png", np.zeros((16, 16), np.uint8))
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", limit
    )  # Pillow raises above twice this, and only warns below
    with pytest.raises(ValueError, match="bomb.png .* pixels"):
        load_image(path)


def test_mask(data, colours):
    picture = save(data / "lion" / "a.jpg", colours)
    assert load_mask(picture) is None
    truth = np.random.default_rng(1).random((6, 9)) < 0.5
    save(data / "masks" / "lion" / "a.png", np.uint8(truth) * 255)
    loaded = load_mask(picture)
    assert loaded.dtype == bool
    np.testing.assert_array_equal(loaded, truth)
    twice = load_mask(picture, size=18)
    np.testing.assert_array_equal(twice, truth.repeat(3, 0).repeat(2, 1))
    # The picture's second pixel column covers the mask's second pixel column, so both are squashed alike.
    np.testing.assert_array_equal(load_mask(picture, size=3), truth[1::2, 1::3])


def test_mask_of_another_size(data, colours):
    picture = save(data / "lion" / "a.jpg", colours)
    save(data / "masks" / "lion" / "a.png", np.zeros((9, 6), np.uint8))
    with pytest.raises(ValueError, match="a.png is 6 x 9 .*a.jpg is 9 x 6"):
        load_mask(picture)


def test_mask_of_a_turned_picture(data, colours):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = save(data / "lion" / "a.png", colours, exif=exif)
    save(data / "masks" / "lion" / "a.png", np.full((9, 6), 255, np.uint8))
    assert load_mask(picture).shape == load_image(picture).shape[:2] == (9, 6)


@pytest.mark.parametrize("kind, path", PICTURES, ids=lambda value: getattr(value, "stem", value))
def test_our_pictures_have_masks(kind, path):
    picture, mask = load_image(path), load_mask(path)
    assert mask.shape == picture.shape[:2]
    assert mask.shape[0] >= 300 and mask.shape[1] >= 400
    assert 0.05 < mask.mean() < 0.4
    assert not (mask[0].any() or mask[:, 0].any() or mask[:, -1].any())
    stored = np.asarray(Image.open(images.DATA / "masks" / kind / f"{path.stem}.png"))
    assert set(np.unique(stored)) == {0, 255}


@pytest.mark.parametrize("kind", KINDS)
def test_our_pictures_are_listed_in_order(kind):
    assert [path.stem for path in list_images(kind) if path.stem in NAMES[kind]] == NAMES[kind]


@pytest.fixture(scope="module", params=["efficientnet_lite0", "squeezenet"])
def network(request):
    return load(request.param)


@pytest.mark.parametrize("kind, path", PICTURES, ids=lambda value: getattr(value, "stem", value))
def test_networks_know_the_animals(network, kind, path):
    assert network(load_image(path, network.input_size)[None]).argmax() in KINDS[kind]


@pytest.mark.parametrize("kind, expected", [("African_elephant", 386), ("black_bear", 295)])
def test_first_picture_is_of_the_very_class(network, kind, expected):
    first = images.DATA / kind / f"{NAMES[kind][0]}.jpg"
    for size in (network.input_size, 299):
        picture = Image.fromarray(load_image(first, size)).resize((network.input_size,) * 2)
        assert network(np.asarray(picture)[None]).argmax() == expected
