import pickle
import re
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest

from counting import Counting
from lab.files import ROOT
from lab.networks import asking
from lab.networks.asking import CHUNK, Asked, digest, in_chunks

PICTURES = np.random.default_rng(0).integers(0, 256, (70, 4, 5, 3), np.uint8)


class Colours(Counting):
    """Three classes: how much red, green and blue there is."""

    def answer(self, images):
        return np.asarray(images).mean(axis=(1, 2)) / 255


class Named(Colours):
    fingerprint = "colours"


class Answering(Counting):
    """Always the same answer, whatever the pictures."""

    def __init__(self, answer):
        super().__init__()
        self.said = answer

    def answer(self, images):
        return self.said


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(asking, "_on_disk", asking._open(tmp_path / "cache"))
    return tmp_path / "cache"


def new_process(monkeypatch, folder):
    monkeypatch.setattr(asking, "_on_disk", asking._open(folder))


@pytest.mark.parametrize("named", [Named, Colours])
def test_every_class_is_answered_in_the_order_asked_for(named):
    expected = PICTURES.mean(axis=(1, 2)) / 255
    np.testing.assert_array_equal(Asked(named())(PICTURES), expected)
    for classes in ([2, 0], [1], (0, 1, 2)):
        np.testing.assert_array_equal(Asked(named(), classes)(PICTURES), expected[:, list(classes)])


@pytest.mark.parametrize(
    "size, batches", [(32, [32, 32, 6]), (70, [70]), (100, [70]), (33, [33, 33, 4])]
)
def test_pictures_are_handed_over_in_batches_of_the_black_box_own_size(size, batches):
    black_box = Colours(batch_size=size)
    Asked(black_box)(PICTURES)
    assert black_box.batches == batches


def test_a_plain_function_is_a_black_box_and_gets_batches_of_32():
    sizes = []

    def predict(images):
        sizes.append(len(images))
        return images.mean(axis=(1, 2))

    assert Asked(predict, [1])(PICTURES).shape == (70, 1)
    assert sizes == [32, 32, 6]


@pytest.mark.parametrize("named", [Named, Colours])
def test_nothing_is_asked_twice(named):
    black_box = named()
    asked = Asked(black_box, [1, 2])
    first = asked(PICTURES)
    np.testing.assert_array_equal(asked(PICTURES.copy()), first)
    assert black_box.calls == 70
    asked(PICTURES[:3])
    assert black_box.calls == 73


def test_answers_of_a_black_box_with_a_fingerprint_outlive_the_process(own_folder, monkeypatch):
    first = Asked(Named(), [2])(PICTURES)
    new_process(monkeypatch, own_folder)
    again = Named()
    kept = Asked(again, [2])(PICTURES)
    assert again.calls == 0 and kept.dtype == first.dtype
    np.testing.assert_array_equal(kept, first)


def test_other_classes_pictures_and_black_boxes_are_other_questions():
    class Other(Named):
        fingerprint = "others"

        def answer(self, images):
            return 1 - super().answer(images)

    first = Asked(Named(), [0])(PICTURES)
    for black_box, classes, pictures in [
        (Named(), [1], PICTURES),
        (Named(), None, PICTURES),
        (Named(), [0], PICTURES[::-1]),
        (Named(), [0], PICTURES.astype(np.float32)),
        (Other(), [0], PICTURES),
    ]:
        Asked(black_box, classes)(pictures)
        assert black_box.calls == len(pictures)
    np.testing.assert_array_equal(Asked(Other(), [0])(PICTURES), 1 - first)


def test_nothing_is_written_for_a_black_box_without_a_fingerprint():
    Asked(Colours())(PICTURES)
    assert len(asking._on_disk) == 0
    other = Colours()
    Asked(other)(PICTURES)
    assert other.calls == 70


@pytest.mark.parametrize(
    "array",
    [
        np.float32([[1.5, -0.0], [1e-30, 3]]),
        np.arange(6).reshape(2, 3),
        np.random.default_rng(0).random((2, 9000)),
    ],
)
def test_what_comes_back_is_what_was_answered(own_folder, monkeypatch, array):
    black_box = Answering(array)
    black_box.fingerprint = "always the same"
    results = [Asked(black_box)(PICTURES[:2])]
    new_process(monkeypatch, own_folder)
    results.append(Asked(black_box)(PICTURES[:2]))
    assert black_box.calls == 2
    for result in results:
        assert result.dtype == array.dtype
        np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize(
    "answer, message",
    [
        (
            np.zeros(2),
            "must answer 2 pictures with numbers of shape (2, n_classes), got float64 of shape (2,)",
        ),
        (np.zeros((3, 4)), "got float64 of shape (3, 4)"),
        (np.zeros((2, 4, 1)), "got float64 of shape (2, 4, 1)"),
        (np.array([["a"], ["b"]]), "got <U1 of shape (2, 1)"),
        (None, "got object of shape ()"),
        (np.array([[0.5, np.nan], [0.5, 0.5]]), "finite numbers, got NaN or infinity"),
        (np.array([[0.5, 0.5], [np.inf, 0.5]]), "finite numbers, got NaN or infinity"),
    ],
)
def test_a_bad_answer_is_named_and_not_kept(answer, message):
    black_box = Answering(answer)
    black_box.fingerprint = "bad"
    for _ in range(2):
        with pytest.raises(ValueError, match=re.escape(message)):
            Asked(black_box)(PICTURES[:2])
    assert black_box.calls == 4 and len(asking._on_disk) == 0


@pytest.mark.parametrize("label", [3, -1, 1000])
def test_a_class_that_the_black_box_does_not_have_is_named(label):
    with pytest.raises(ValueError, match=f"must be from 0 to 2, got {label}"):
        Asked(Colours(), [0, label])(PICTURES)


def test_a_black_box_that_fails_leaves_nothing():
    class Failing(Named):
        def answer(self, images):
            if self.calls > 32:
                raise ZeroDivisionError
            return super().answer(images)

    with pytest.raises(ZeroDivisionError):
        Asked(Failing())(PICTURES)
    after = Named()
    assert Asked(after)(PICTURES).shape == (70, 3) and after.calls == 70


def test_a_pickle_in_the_folder_is_refused(own_folder):
    Asked(Named())(PICTURES)
    with sqlite3.connect(own_folder / "cache.db") as database:
        database.execute("UPDATE Cache SET mode = ?, value = ?", (4, pickle.dumps(print)))
    with pytest.raises(ValueError, match="holds a pickle"):
        Asked(Named())(PICTURES)


TWO = """
import sys
import numpy as np
from lab.networks import asking

class Named:
    fingerprint = "two processes"
    calls = 0
    def __call__(self, images):
        self.calls += len(images)
        return images.mean(axis=(1, 2))

asking._on_disk = asking._open(sys.argv[1])
black_box = Named()
asked = asking.Asked(black_box, [1])
pictures = np.random.default_rng(1).integers(0, 256, (30, 4, 4, 3), np.uint8)
print("ready", flush=True)
sys.stdin.readline()
for i in range(30):
    assert np.array_equal(asked(pictures[i : i + 1]), pictures[i : i + 1].mean(axis=(1, 2))[:, [1]])
print(black_box.calls)
"""


def test_two_processes_share_what_they_keep(own_folder):
    command = [sys.executable, "-c", TWO, str(own_folder)]
    both = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:  # at the same time
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        calls, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and 0 <= int(calls) <= 30
    third = subprocess.run(
        command, cwd=ROOT, input="\n", capture_output=True, text=True, timeout=60
    )
    assert third.stdout == "ready\n0\n", third.stderr


@pytest.mark.parametrize("n", [1, CHUNK, 2 * CHUNK + 1])
def test_chunks_are_drawn_one_after_the_other(n):
    drawn = []

    def draw(rows):
        drawn.append(len(rows))
        return np.broadcast_to(rows[:, None, None, None], (len(rows), 2, 2, 3))

    seen = []
    answers = in_chunks(
        Colours(),
        draw,
        np.arange(n),
        lambda starts: (seen.append(start) or start for start in starts),
    )
    np.testing.assert_allclose(answers, np.repeat(np.arange(n)[:, None], 3, axis=1) / 255)
    assert sum(drawn) == n and max(drawn) <= CHUNK and len(seen) == len(drawn)


def test_a_chunk_is_drawn_while_the_black_box_answers_the_one_before():
    second_begun = threading.Event()

    def draw(rows):
        if rows[0] == CHUNK:
            second_begun.set()
        return np.full((len(rows), 1, 1, 3), rows[0])

    def predict(images):
        assert second_begun.wait(60)  # or else the second is drawn only after this answer
        return images[:, 0, 0, :1]

    answers = in_chunks(predict, draw, np.arange(2 * CHUNK + 1))
    np.testing.assert_array_equal(answers[:, 0], np.arange(2 * CHUNK + 1) // CHUNK * CHUNK)


def test_a_chunk_that_cannot_be_drawn_stops_the_asking():
    def draw(rows):
        if rows[0] > 0:
            raise ZeroDivisionError
        return np.zeros((len(rows), 2, 2, 3))

    black_box = Colours()
    with pytest.raises(ZeroDivisionError):
        in_chunks(black_box, draw, np.arange(3 * CHUNK))
    assert black_box.calls == CHUNK


def test_digest_tells_values_types_and_shapes_apart():
    arrays = [np.zeros(4), np.zeros((2, 2)), np.zeros(4, np.float32), np.array([0, 0, 0, 1.0])]
    assert len({digest(array) for array in arrays}) == len(arrays)
    assert digest(np.arange(6).reshape(2, 3).T) == digest(np.arange(6).reshape(2, 3).T.copy())
