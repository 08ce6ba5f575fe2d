import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cheap import Network, data_folder
from PIL import Image

from lab import explain as command
from lab.files import ROOT
from lab.images import load_image
from lab.methods.registry import explain
from lab.networks import loading
from lab.networks.classes import class_index, close_names


@pytest.fixture
def network(monkeypatch):
    network = Network(cached=True)
    monkeypatch.setattr(loading, "load", lambda name: network)
    monkeypatch.setattr(loading, "load", lambda name: network)
    return network


@pytest.fixture
def images(tmp_path, monkeypatch):
    images = [path for paths in data_folder(tmp_path / "data").values() for path in paths]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return images


def run(*arguments):
    command.main([str(argument) for argument in arguments])


def refused(*arguments):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    message = str(ended.value.code)
    assert message.startswith("Stopped: ") and "\n" not in message and os.listdir() == []
    return message


def test_the_maps_are_those_of_explain(network, images, capsys):
    methods = ["lime", "rise", "occlusion", "edges"]
    run(*images, "--methods", ",".join(methods), "--budget", 90, "--out", "maps.npz")
    assert capsys.readouterr().out == "Wrote maps.npz\n"
    with np.load("maps.npz", allow_pickle=False) as saved:
        found = dict(saved)
    assert found["methods"].tolist() == methods and found["maps"].shape == (3, 4, 64, 64)
    assert found["images"].tolist() == [path.name for path in images]
    assert (found["network"], found["stands_in_for"], found["budget"]) == ("Cheap", "", 90)
    for number, path in enumerate(images):
        image = load_image(path, 64)
        [(label, name, probability)] = network.top(image, 1)
        about = found["class_index"][number], found["class"][number], found["probability"][number]
        assert about == (label, name, probability)
        for values, method in zip(found["maps"][number], methods):
            np.testing.assert_array_equal(values, explain(method, network, image, label, 90))


def test_the_class_may_be_named_or_numbered(network, images):
    run(images[0], "--class", "black bear", "--methods", "rise", "--budget", 60, "--out", "a.npz")
    run(images[0], "--class", 295, "--methods", "rise", "--budget", 60, "--out", "b.npz")
    with np.load("a.npz") as named, np.load("b.npz") as numbered:
        assert named["class_index"] == [295]
        np.testing.assert_array_equal(named["maps"], numbered["maps"])
        image = load_image(images[0], 64)
        expected = explain("rise", network, image, 295, 60)
        np.testing.assert_array_equal(named["maps"][0, 0], expected)


def test_a_page_has_three_classes_for_the_calls_of_one(network, images):
    options = "--methods", "lime,rise,shap", "--budget", 90
    run(images[0], *options, "--out", "one.npz")
    calls = network.calls
    assert calls > 200
    run(images[0], *options, "--out", "three.HTML")
    assert network.calls == calls
    with open("three.HTML", encoding="utf-8") as file:
        text = file.read()
    assert text.count('class="map"') == 9 and "Explanations of Cheap</h1>" in text
    for label, *_ in network.top(load_image(images[0], 64)):
        assert text.count(f'data-label="{label}"') == 3


def test_a_stand_in_is_named(network, images, monkeypatch):
    monkeypatch.setattr(Network, "stands_in_for", "Xception")
    run(images[0], "--methods", "edges", "--out", "a.html")
    with open("a.html", encoding="utf-8") as file:
        assert "Explanations of Cheap, in place of Xception</h1>" in file.read()


def test_without_out_no_file_is_replaced(network, images, capsys):
    for name in ("explanation.png", "explanation_2.png"):
        run(images[0], "--methods", "edges,centre")
        assert capsys.readouterr().out == f"Wrote {name}\n"
    assert sorted(os.listdir()) == ["explanation.png", "explanation_2.png"]
    with Image.open("explanation.png") as figure:
        assert figure.format == "PNG" and figure.width == pytest.approx(120 * 6.85, abs=1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--class", "elephant"], "'elephant'; close names are indian elephant, african elephant$"),
        (["--class", "zebr"], "'zebr'; close names are zebra"),
        (["--class", "1000"], "a number from 0 to 999, got '1000'$"),
        (["--class", "crane"], "names the classes 134 and 517"),
        (["--methods", "lime,foo"], "--methods must be of lime, rise, .*, got 'foo'"),
        (["--methods", ""], "got ''"),
        (["--budget", "0"], "--budget must be at least 1, got 0"),
        (["--budget", "5"], r"first.png: budget must be at least \d+ model calls for lime .* 5"),
        (["--budget", "1", "--methods", "rise"], "at least 2 model calls for rise"),
        (["--out", "a.gif"], r"--out must end in .png, .svg, .pdf, .html, .npz, got 'a.gif'"),
        (["--out", "../data/elephant/first.png"], "first.png exists and is left as it is"),
        (["--out", "../data/elephant/first.png/a.png"], "in a folder that can be written"),
        (["missing.png"], "there is no image missing.png"),
        (["../data"], "data is not a regular file"),
        (["../broken.png"], "broken.png cannot be read as an image"),
        (["../data/bear/only.png"] * 100, "103 images take 103 rows"),
    ],
)
def test_bad_input_is_refused_before_any_call(network, images, arguments, message):
    with open("../broken.png", "wb") as file:
        file.write(b"\x89PNG")
    before = images[0].read_bytes()
    assert re.search(message, refused(*images, *arguments))
    assert network.calls == 0 and images[0].read_bytes() == before


def test_the_command_line_itself(tmp_path):
    image = ROOT / "data" / "African_elephant" / "elephant_1_dune.jpg"
    options = "--model", "resnet50", "--methods", "edges", "--out", "new/a.svg"
    ended = subprocess.run(
        [sys.executable, "-m", "lab.explain", image, *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert "SqueezeNet 1.1 stands in for ResNet50." in ended.stdout
    assert ended.stdout.endswith(f"Wrote {Path('new/a.svg')}\n") and "Warning" not in ended.stderr
    figure = (tmp_path / "new" / "a.svg").read_text("utf-8")
    assert "Explanations of SqueezeNet 1.1, in place of ResNet50" in figure


def test_close_names_are_classes():
    for name in ("elefant", "African elefant", "bear", "German sheperd", "husky"):
        close = close_names(name)
        assert 1 <= len(close) <= 5
        assert all(class_index(other) is not None for other in close)
    assert close_names("qqqqqq") == [] and close_names("") == []


def test_an_interruption_leaves_one_line_and_no_file(network, images, capsys, monkeypatch):
    def interrupted(images):
        raise KeyboardInterrupt

    monkeypatch.setattr(network, "answer", interrupted)
    with pytest.raises(SystemExit) as ended:
        run(images[0])
    assert re.fullmatch("Stopped. .* goes on: .*", ended.value.code) and os.listdir() == []
    assert "Traceback" not in capsys.readouterr().err
