import numpy as np
import pytest
from cheap import Places, tiles
from counting import forbidden

from lab.model_calls import predict, predict_in_chunks

IMAGES = np.stack([tiles(seed=seed) for seed in range(3)])


@pytest.mark.parametrize("label", [1.0, np.float64(1), True, np.True_, "1", None])
def test_a_class_must_be_an_integer_before_a_call(label):
    for images in (IMAGES, IMAGES[:0]):
        with pytest.raises(TypeError, match="a class must be an integer, got "):
            predict(forbidden, images, [0, label])


@pytest.mark.parametrize("label", [-1, 4])
def test_a_class_must_be_there(label):
    with pytest.raises(ValueError, match=f"a class must be from 0 to 3, got {label}"):
        predict(Places(), IMAGES, [label])


@pytest.mark.parametrize("classes", [[2, 0], (2, 0), np.array([2, 0])])
def test_classes_come_in_the_order_wanted(classes):
    scores = Places()(IMAGES)[:, [2, 0]]
    np.testing.assert_array_equal(predict(Places(), IMAGES, classes), scores)
    in_chunks = predict_in_chunks(Places(), lambda rows: IMAGES[rows], [0, 1, 2], classes)
    np.testing.assert_array_equal(in_chunks, scores)


@pytest.mark.parametrize("rows", [[], np.empty((0, 5), int)])
def test_no_images_have_no_scores(rows):
    def make_images(rows):
        return IMAGES[: len(rows)]

    assert predict_in_chunks(forbidden, make_images, rows, [2, 0]).shape == (0, 2)
    assert predict_in_chunks(forbidden, make_images, rows).shape == (0, 0)
