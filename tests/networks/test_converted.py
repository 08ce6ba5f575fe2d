from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lab.networks import converted, keras_networks
from lab.networks.loading import load

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 227, 227, 3), np.uint8)


@pytest.fixture(scope="module")
def expected():
    return load("squeezenet", cache=False)(IMAGES)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The folder of SqueezeNet, converted by an earlier process."""
    monkeypatch.setattr(converted, "CONVERTED", tmp_path / "networks")
    load("squeezenet")
    (made,) = converted.CONVERTED.iterdir()
    return made


@pytest.fixture
def builds(monkeypatch):
    """Names of the Keras networks that are built."""
    names, build = [], keras_networks.build

    def counted(network, file):
        names.append(network.name)
        return build(network, file)

    monkeypatch.setattr(keras_networks, "build", counted)
    return names


def changed(name, change):
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


@pytest.mark.parametrize(
    "damage",
    [
        changed("network.bin", lambda data: data[:-1000]),
        changed("network.bin", lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]),
        changed("network.xml", lambda data: data.replace(b"MaxPool", b"AvgPool")),
        changed("about.json", lambda data: data.replace(b'"n_layers": 26', b'"n_layers": 25')),
        changed("about.json", lambda _: b"{}"),
        changed("about.json", lambda _: b"[]"),
        changed("about.json", lambda _: b"\xff"),
        lambda folder: (folder / "network.xml").unlink(),
        lambda folder: (folder / "about.json").unlink(),
    ],
)
def test_a_damaged_network_is_converted_again(folder, expected, builds, damage, capsys):
    damage(folder)
    for _ in range(2):
        np.testing.assert_array_equal(load("squeezenet", cache=False)(IMAGES), expected)
    assert builds == ["SqueezeNet 1.1"] and capsys.readouterr().out == ""
    assert list(converted.CONVERTED.iterdir()) == [folder]


def test_a_folder_that_cannot_be_written_costs_only_time(monkeypatch, tmp_path, expected, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(converted, "CONVERTED", tmp_path / "file" / "networks")
    for _ in range(2):
        black_box = load("squeezenet", cache=False)
        np.testing.assert_array_equal(black_box(IMAGES), expected)
    assert black_box.fingerprint == load("squeezenet", runtime="tensorflow").fingerprint
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and str(converted.CONVERTED) in printed


def test_whatever_a_network_is_made_of_names_its_folder(monkeypatch, tmp_path):
    files = tmp_path / "one.h5", tmp_path / "two.h5"
    for file in files:
        file.write_text(file.name)
    places = {converted.place(key, file) for key in ("resnet50", "xception") for file in files}
    monkeypatch.setattr(converted, "VERSION", converted.VERSION + 1)
    places.add(converted.place("resnet50", files[0]))
    monkeypatch.setattr(converted.runtime, "version", lambda package: "0")
    places.add(converted.place("resnet50", files[0]))
    assert len(places) == 6


def test_several_processes_convert_at_once(folder, capsys):
    network = converted.read(folder)
    for _ in range(5):
        (folder / "about.json").unlink()
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(lambda _: converted.write(folder, *network), range(8)))
        assert all(about == network[1] for _, about in results)
        assert converted.read(folder) is not None
        assert list(converted.CONVERTED.iterdir()) == [folder]
    assert capsys.readouterr().out == ""
