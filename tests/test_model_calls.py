import threading

import numpy as np
import pytest
from counting import Careless, Counting, Recorder, forbidden

from lab.model_calls import CHUNK, predict, predict_in_chunks

IMAGES = np.random.default_rng(0).integers(0, 256, (70, 4, 5, 3), np.uint8)


class Colours(Counting):
    """Three classes: how much red, green and blue there is."""

    def answer(self, images):
        return np.asarray(images).mean(axis=(1, 2)) / 255


EXPECTED = Colours()(IMAGES)


@pytest.mark.parametrize("classes", [None, [2, 0], (1,), np.array([0, 1]), []])
def test_scores_of_the_classes_wanted_in_their_order(classes):
    scores = predict(Colours(), IMAGES, classes)
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(scores, EXPECTED if classes is None else EXPECTED[:, classes])


@pytest.mark.parametrize("size, batches", [(32, [32, 32, 6]), (70, [70]), (100, [70])])
def test_images_are_handed_over_in_batches_of_the_black_box_s_size(size, batches):
    black_box = Colours(batch_size=size)
    predict(black_box, IMAGES)
    assert black_box.batches == batches
    plain = Recorder(Colours())  # has no size: 32
    predict(plain, IMAGES)
    assert [len(batch) for batch in plain.seen] == [32, 32, 6]


def test_a_model_may_write_into_its_input_and_reuse_its_output():
    images = IMAGES.copy()
    np.testing.assert_array_equal(predict(Careless(Colours()), images), EXPECTED)
    np.testing.assert_array_equal(images, IMAGES)


class Fixed:
    """A model that takes batches of 8 only."""

    batch_size = 8

    def __call__(self, images):
        if len(images) != 8:
            raise RuntimeError("8 images, please")
        return EXPECTED[[(IMAGES == image).all((1, 2, 3)).argmax() for image in images]]


@pytest.mark.parametrize("model", [Fixed(), lambda images: np.squeeze(Colours()(images))])
def test_models_that_need_several_images(model):
    for images in (IMAGES, IMAGES[:33], IMAGES[:1]):
        np.testing.assert_array_equal(predict(model, images), EXPECTED[: len(images)])


def test_a_model_s_own_error_is_raised():
    for n in (3, 32):
        with pytest.raises(ZeroDivisionError):
            predict(lambda images: 1 / 0, IMAGES[:n])


@pytest.mark.parametrize("classes", [[3], [0, -1], [1000]])
def test_a_class_that_does_not_exist_is_named(classes):
    with pytest.raises(ValueError, match=f"must be from 0 to 2, got {classes[-1]}"):
        predict(Colours(), IMAGES, classes)


@pytest.mark.parametrize("label", [1.0, np.float64(1), "0", True, np.True_, None])
def test_a_class_must_be_an_integer_before_a_call(label):
    for images in (IMAGES, IMAGES[:0]):
        with pytest.raises(TypeError, match="a class must be an integer, got "):
            predict(forbidden, images, [0, label])


@pytest.mark.parametrize(
    "scores", [np.zeros((3, 4)), np.zeros((2, 4, 1)), np.array([["a"], ["b"]]), [[1, np.nan]] * 2]
)
def test_what_are_no_scores_is_refused(scores):
    with pytest.raises(ValueError, match="model"):
        predict(lambda images: scores, IMAGES[:2])


@pytest.mark.parametrize("classes, shape", [(None, (0, 0)), (np.array([4, 2]), (0, 2))])
def test_no_images_take_no_call(classes, shape):
    black_box = Colours()
    assert predict(black_box, IMAGES[:0], classes).shape == shape
    chunks = predict_in_chunks(black_box, lambda rows: IMAGES[:0], np.arange(0), classes)
    assert chunks.shape == shape and black_box.calls == 0


@pytest.mark.parametrize("n", [1, CHUNK, 2 * CHUNK + 1])
def test_chunks_are_made_one_after_the_other(n):
    made = []

    def make(rows):
        made.append(len(rows))
        return np.broadcast_to(rows[:, None, None, None], (len(rows), 2, 2, 3))

    scores = predict_in_chunks(Colours(), make, np.arange(n), [2, 0])
    np.testing.assert_allclose(scores, np.repeat(np.arange(n)[:, None], 2, axis=1) / 255)
    assert sum(made) == n and max(made) <= CHUNK


def test_a_chunk_is_made_while_the_black_box_works_on_the_one_before():
    second_begun = threading.Event()

    def make(rows):
        if rows[0] == CHUNK:
            second_begun.set()
        return np.full((len(rows), 1, 1, 3), rows[0])

    def black_box(images):
        assert second_begun.wait(60)  # or else the second is made only after this call
        return images[:, 0, 0, :1]

    scores = predict_in_chunks(black_box, make, np.arange(2 * CHUNK + 1))
    np.testing.assert_array_equal(scores[:, 0], np.arange(2 * CHUNK + 1) // CHUNK * CHUNK)


def test_an_error_in_making_images_is_raised_after_the_chunks_before():
    def make(rows):
        if rows[0] > 0:
            raise ZeroDivisionError
        return np.zeros((len(rows), 2, 2, 3))

    black_box = Colours()
    with pytest.raises(ZeroDivisionError):
        predict_in_chunks(black_box, make, np.arange(3 * CHUNK))
    assert black_box.calls == CHUNK
