"""The playground, driven as by hand: choose, press the button, look."""

import io
from datetime import datetime

import numpy as np
import PIL.Image
import pytest
from counting import Counting

from lab.networks.classes import class_index, imagenet
from lab.show.playground import Playground

ZEBRA, ELEPHANT = class_index("zebra"), class_index("African_elephant")


class Brightness(Counting):
    """The left half's brightness speaks for an elephant, the right's for a zebra."""

    input_size = 48
    class_names, class_name, class_index = imagenet().names, imagenet().name, imagenet().index

    def answer(self, images):
        images = images.astype(float)
        probabilities = np.full((len(images), 1000), 1e-4)
        probabilities[:, ELEPHANT] = 0.3 + images[:, :, :24].mean(axis=(1, 2, 3)) / 400
        probabilities[:, ZEBRA] = images[:, :, 24:].mean(axis=(1, 2, 3)) / 1000
        return probabilities


@pytest.fixture(params=["LIME", "RISE"])
def playground(request):
    made = Playground(Brightness(), request.param)
    next(iter(made.parameters[request.param].values())).value = 128
    return made


def explained(playground):
    calls = playground.network.calls
    playground.button.click()
    assert playground.message.value == "" and playground.network.calls > calls
    return playground.panels[-1]


def test_nothing_is_predicted_before_the_button_is_pressed(playground):
    playground.image.value = playground.image.options[-1][1]
    playground.search.value = "zebra"
    first = playground.method.value
    for method in ({"LIME", "RISE"} - {first}).pop(), first:
        playground.method.value = method
        assert playground.chosen.children == tuple(playground.parameters[method].values())
    playground._repr_mimebundle_()
    assert playground.network.calls == 0
    explained(playground)
    assert 128 <= playground.network.calls <= 130  # and two to know the probabilities
    assert playground.bar.value == playground.bar.max == 128
    assert playground.bar.layout.visibility == "hidden" and not playground.button.disabled


def test_a_class_is_chosen_among_the_guesses_or_by_name(playground):
    assert "African elephant" in explained(playground).head
    assert [label for label, _ in playground.guess.options][1].startswith("African_elephant 0.")
    playground.guess.value = ZEBRA
    assert "zebra" in explained(playground).head
    playground.search.value = "295"
    assert "American black bear" in explained(playground).head
    assert playground.result.value.count("<img") == 1
    places = [playground.result.value.index(panel.head) for panel in playground.panels]
    assert places == sorted(places, reverse=True)  # the newest is first
    playground.image.value = playground.image.options[1][1]
    assert len(playground.guess.options) == 1  # guesses are of one image
    assert playground.guess.index == 0  # and a dropdown is never empty


def test_maps_show_where_the_class_is(playground):
    playground.search.value = "zebra"
    colours = np.ptp(explained(playground).pixels.astype(float), axis=-1) > 30
    third = colours.shape[1] // 3
    assert colours[:, -third:].mean() > 1.5 * colours[:, :third].mean()


def test_parameters_are_those_of_the_method(playground):
    fields = playground.parameters[playground.method.value]
    for number, field in enumerate(fields.values()):
        if hasattr(field, "options"):
            field.index = 1
        elif number:
            field.value *= 1.5 if isinstance(field.value, float) else 2
    note = " ".join(explained(playground).note.split())
    assert all(f"{name} {field.value}" in note for name, field in fields.items())
    assert len(note) < 150 and ("own mean colour" in note) == (playground.method.value == "LIME")


def upload(playground, name, content):
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    playground.upload.value = ({**file, "last_modified": datetime(2026, 1, 1)},)


@pytest.mark.parametrize("name", ["é" * 137 + ".png", "..", "a\0b.png", "", "own.png"])
def test_an_upload_of_any_name_is_what_is_explained(playground, name):
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((60, 90, 3), 200, np.uint8)).save(file, "png")
    for _ in range(2):
        upload(playground, name, file.getvalue())
    assert [label for label, _ in playground.image.options].count(name or "upload") == 1
    assert explained(playground).pixels.shape == (60, 90, 3)


def test_a_network_of_two_classes_with_names_of_its_own(playground):
    class Two(Counting):
        input_size, class_names = 48, ("left", "right")
        class_name, class_index = class_names.__getitem__, class_names.index

        def answer(self, images):
            left = images[:, :, :24].mean(axis=(1, 2, 3)) / 255
            return np.stack([left, 1 - left], axis=1)

    made = Playground(Two(), playground.method.value)
    assert made.search.options == ("left", "right")
    next(iter(made.parameters[made.method.value].values())).value = 128
    made.search.value = "right"
    assert explained(made).head.endswith(": right") and len(made.guess.options) == 3


def test_an_image_of_ones_own_and_a_file_that_is_none(playground):
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((60, 90, 3), 200, np.uint8)).save(file, "png")
    upload(playground, "../own.png", file.getvalue())
    assert playground.image.label == "own.png" and playground.network.calls == 0
    assert explained(playground).pixels.shape == (60, 90, 3)
    calls = playground.network.calls
    upload(playground, "broken.png", b"no image")
    playground.button.click()
    assert playground.message.value.startswith("broken.png cannot be read as an image")
    assert playground.network.calls == calls and len(playground.panels) == 1


@pytest.mark.parametrize("search, expected", [("unicorn", "unicorn"), ("crane", "134 and 517")])
def test_errors_are_one_sentence_in_the_cell(playground, search, expected):
    playground.search.value = search
    playground.button.click()
    assert expected in playground.message.value and not playground.panels
    playground.search.value = ""
    next(iter(playground.parameters[playground.method.value].values())).value = 0
    playground.button.click()
    assert "at least" in playground.message.value and "got 0" in playground.message.value
    assert not playground.button.disabled


def test_without_python_a_sentence_stands_in_its_place(playground):
    data = playground._repr_mimebundle_()
    assert "needs Python" in data["text/plain"] and "needs Python" in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in data
