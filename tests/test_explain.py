import os
import re
import signal
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
from lab.methods.registry import METHODS, Method, explain
from lab.networks import loading
from lab.networks.classes import class_index, imagenet


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
    drawn = "--budget", 90, "--seed", 7
    run(*images, "--methods", " , ".join(methods), *drawn, "--out", "maps.npz")
    printed = capsys.readouterr()
    assert printed.out == "Wrote maps.npz\n" and "Explaining" in printed.err
    with np.load("maps.npz", allow_pickle=False) as saved:
        found = dict(saved)
    assert found["methods"].tolist() == methods and found["maps"].shape == (3, 4, 64, 64)
    assert found["images"].tolist() == [
        "African_elephant/first.png",
        "African_elephant/second.png",
        "black_bear/only.png",
    ]
    assert (found["network"], found["stands_in_for"]) == ("Cheap", "")
    assert (found["budget"], found["seed"]) == (90, 7)
    for number, path in enumerate(images):
        image = load_image(path, 64)
        [(label, name, probability)] = network.top(image, 1)
        about = found["class_index"][number], found["class"][number], found["probability"][number]
        assert about == (label, name, probability)
        for values, method in zip(found["maps"][number], methods):
            np.testing.assert_array_equal(values, explain(method, network, image, label, 90, 7))


def test_a_folder_is_its_images_and_names_tell_them_apart(network, images, capsys):
    for path in ("../data/black_bear/first.png", "../data/African_elephant/notes.txt"):
        with open(path, "wb") as file:
            file.write(images[0].read_bytes())
    options = "--methods", "edges", "--out"
    run("../data", images[0], *options, "a.npz")
    err = capsys.readouterr().err
    run("../data/black_bear", "../data/African_elephant/first.png", *options, "b.npz", "--quiet")
    assert "../data: left out 1 .txt\n" in err and capsys.readouterr() == ("", "")
    with np.load("a.npz") as a, np.load("b.npz") as b:
        elephants = ["African_elephant/first.png", "African_elephant/second.png"]
        bears = ["black_bear/first.png", "black_bear/only.png"]
        assert a["images"].tolist() == elephants + bears
        assert b["images"].tolist() == [*bears, elephants[0]]
        np.testing.assert_array_equal(a["maps"][[2, 3, 0]], b["maps"])


def test_several_classes_have_a_row_each(network, images):
    options = "--methods", "occlusion,centre", "--budget", 60, "--out"
    run(images[0], images[2], *options, "top.npz", "--top", 2)
    run(images[0], images[2], *options, "class.npz", "--class", 295, "--class", "black bear")
    run(images[0], *options, "both.npz", "--class", 7, "--class", "black bear")
    with np.load("top.npz") as top, np.load("class.npz") as one, np.load("both.npz") as both:
        names = ["African_elephant/first.png"] * 2 + ["black_bear/only.png"] * 2
        assert top["images"].tolist() == names
        likely = [network.top(load_image(images[place], 64), 2) for place in (0, 2)]
        labels = [label for classes in likely for label, _, _ in classes]
        assert top["class_index"].tolist() == labels and top["maps"].shape == (4, 2, 64, 64)
        assert one["class_index"].tolist() == [295, 295]
        assert both["class_index"].tolist() == [7, 295]
        image = load_image(images[0], 64)
        for saliency, label in zip(both["maps"][:, 0], (7, 295)):
            np.testing.assert_array_equal(saliency, explain("occlusion", network, image, label, 60))


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
    assert text.count("<figure data-label=") == 9 and "Explanations of Cheap</h1>" in text
    for label, *_ in network.top(load_image(images[0], 64)):
        assert text.count(f'data-label="{label}"') == 3


def test_another_method_is_in_every_file(network, images, monkeypatch):
    entry = Method("Noise occlusion", "cheap:noise_occlusion", {"side": 16}, "noise", least=17)
    monkeypatch.setitem(METHODS, "noise_occlusion", entry)
    options = "--methods", "noise_occlusion", "--budget"
    assert "at least 17 model calls for noise_occlusion" in refused(images[0], *options, 16)
    for file in ("a.npz", "a.html", "a.svg"):
        run(images[0], *options, 20, "--out", file)
        if file != "a.npz":
            assert "Noise occlusion" in Path(file).read_text("utf-8")
    with np.load("a.npz") as saved:
        image, label = load_image(images[0], 64), saved["class_index"][0]
        np.testing.assert_array_equal(
            saved["maps"][0, 0], explain("noise_occlusion", network, image, label, 20)
        )


def test_a_map_that_says_nothing_is_reported(network, images, monkeypatch, capsys):
    monkeypatch.setattr(network, "answer", lambda images: np.full((len(images), 1000), 1e-3))
    run(images[0], "--methods", "occlusion,edges,rise", "--budget", 20)
    lines = [line for line in capsys.readouterr().err.splitlines() if "says nothing" in line]
    assert [line.split(": ")[1] for line in lines] == [
        f"the map of {title} for tench is constant" for title in ("Occlusion", "RISE (regression)")
    ]


def test_an_image_of_one_superpixel_is_too_little_for_lime(network, images, monkeypatch, capsys):
    single = np.zeros((64, 64), int)
    for module in ("masked_model", "coalitions"):
        monkeypatch.setattr(f"lab.methods.{module}.superpixels", lambda image: single)
    run(images[0], "--methods", "lime", "--budget", 20)
    reason = "is constant, since the image is a single superpixel: it says nothing"
    assert reason in capsys.readouterr().err


def test_a_missing_image_is_refused_before_a_network_is_loaded(images, monkeypatch):
    monkeypatch.setattr("lab.explain.load_from", lambda options: pytest.fail("loaded"))
    assert "there is no image file missing.png" in refused(*images, "missing.png")


def test_a_network_that_fails_in_the_middle_is_named(network, images, monkeypatch):
    def answer(batch, real=network.answer):
        if len(batch) > 1:
            raise TypeError("late problem")
        return real(batch)

    monkeypatch.setattr(network, "answer", answer)
    with pytest.raises(SystemExit, match="Cheap cannot predict: TypeError: late problem"):
        run(images[0], "--methods", "rise", "--budget", 20)


@pytest.mark.parametrize("shape, out", [((3000, 1), "a.png"), ((1, 3000), "a.svg")])
def test_a_line_of_pixels_is_drawn(network, tmp_path, images, shape, out):
    Image.new("RGB", shape, "red").save(tmp_path / "line.png")
    run(tmp_path / "line.png", "--methods", "lime,edges", "--budget", 100, "--out", out)
    assert Path(out).stat().st_size > 1000


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
        (["--class", "elephant"], "'elephant'; close to it: indian elephant, african elephant$"),
        (["--class", "zebr"], "'zebr'; close to it: zebra"),
        (["--class", "1000"], "number from 0 to 999, got '1000'$"),
        (["--class", "crane"], "names the classes 134 and 517"),
        (["--methods", "lime,foo"], "--methods must be of lime, lime_black, .*, got 'foo'"),
        (["--methods", ""], "got ''"),
        (["--budget", "0"], "--budget must be at least 1, got 0"),
        (["--budget", "1000000000"], "--budget must be at most 1000000, got 1000000000"),
        (["--top", "0"], "--top must be at least 1, got 0"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--methods", "edges,grad_cam"], "first.png: grad_cam needs a Keras network"),
        (["--budget", "5"], r"first.png: budget must be at least \d+ model calls for lime .* 5"),
        (["--budget", "1", "--methods", "rise"], "at least 2 model calls for rise"),
        (["--out", "a.gif"], r"--out must end in .png, .svg, .pdf, .html, .npz, got 'a.gif'"),
        (["--out", "../data/African_elephant/first.png"], "first.png exists and is left as it is"),
        (
            ["--out", "../data/African_elephant/first.png/a.png"],
            "--out cannot be written: Not a dir.*first.png/a.png",
        ),
        (["--out", 260 * "a" + ".png"], "File name too long"),
        (["--out", "../data"], "--out must name a file, and ../data is a folder"),
        (["--top", "1001", "--out", "a.npz"], "--top must be at most the network's 1000 classes"),
        (["missing.png"], "there is no image file missing.png"),
        (["../empty"], "no image in ../empty"),
        (["../broken.png"], "broken.png cannot be read as an image"),
        (["--top", "34"], "these images take 102 rows of a figure, which has at most 100"),
    ],
)
def test_bad_input_is_refused_before_any_call(network, images, arguments, message):
    with open("../broken.png", "wb") as file:
        file.write(b"\x89PNG")
    os.mkdir("../empty")
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
    close_names = imagenet().close
    for name in ("elefant", "African elefant", "bear", "German sheperd", "husky"):
        close = close_names(name)
        assert 1 <= len(close) <= 5
        assert all(class_index(other) is not None for other in close)
    assert close_names("qqqqqq") == [] and close_names("") == []


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_one_line_and_no_file(network, images, capsys, monkeypatch, name):
    monkeypatch.setattr(network, "answer", lambda images: signal.raise_signal(name))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        run(images[0])
    assert re.fullmatch("Stopped. .* same command goes on.", ended.value.code)
    assert os.listdir() == [] and signal.getsignal(signal.SIGTERM) == before
    assert "Traceback" not in capsys.readouterr().err


def test_the_documentation_lists_every_method_as_it_is():
    text = (ROOT / "docs" / "explain.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", text, re.M)
    assert [row[0] for row in rows] == list(METHODS)
    for name, _, baseline, least, signed in rows:
        method = METHODS[name]
        assert baseline == (method.baseline or "–"), name
        per = f" + {method.least_per_superpixel} n".replace("1 n", "n")
        calls = f"{method.least}" + per * (method.least_per_superpixel > 0)
        assert least == (calls if method.calls_model else "–"), name
        assert (signed == "signed") == method.signed, name
