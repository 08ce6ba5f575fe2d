import numpy as np
import pandas as pd
import pytest
import scipy.stats

from lab.measure.sanity import sanity

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)


class Box:
    """A network of five layers, each of which looks at a part of the picture with weights of its own."""

    n_layers, name = 5, "Box"

    def __init__(self, layers=0, seed=0):
        self.layers = layers
        self.weights = np.random.default_rng(9).normal(size=(64, 80))
        if layers:
            self.name = f"Box, top {layers} layers random"
            mixed = np.random.default_rng(seed).permutation(self.weights.ravel()).reshape(64, 80)
            self.weights = np.where(np.arange(80) < 16 * layers, mixed, self.weights)

    def randomized(self, layers, seed=0):
        return Box(layers, seed)


def weights_of(box, image, label):
    return box.weights


def test_a_map_that_ignores_the_network_stays_the_same():
    table = sanity(lambda box, image, label: image[..., label].astype(float), Box(), IMAGE, 1)
    assert table["layers"].tolist() == [1, 2, 4, 5]
    assert table["network"].tolist() == [f"Box, top {n} layers random" for n in (1, 2, 4, 5)]
    np.testing.assert_allclose(table[["rank_correlation", "ssim"]], 1)


def test_a_map_that_shows_the_network_loses_similarity_layer_by_layer():
    table = sanity(weights_of, Box(), IMAGE, 1)
    for similarity in (table["rank_correlation"], table["ssim"]):
        assert (similarity.diff().dropna() < 0).all() and abs(similarity.iloc[-1]) < 0.1
    again = sanity(weights_of, Box(), IMAGE, 1, layers=(2, 5))
    pd.testing.assert_frame_equal(again, table.iloc[[1, 3]].reset_index(drop=True))
    other = sanity(weights_of, Box(), IMAGE, 1, layers=(5,), seed=1)
    assert other["rank_correlation"][0] != again["rank_correlation"][1]
    expected = scipy.stats.spearmanr(Box().weights.ravel(), Box(2).weights.ravel()).statistic
    assert again["rank_correlation"][0] == pytest.approx(expected)


def test_a_map_that_gets_lost_is_not_a_number():
    table = sanity(lambda box, *_: box.weights * (box.layers == 0), Box(), IMAGE, 1, layers=(1,))
    assert table["rank_correlation"].isna().all() and abs(table["ssim"][0]) < 1


@pytest.mark.parametrize("layers", [(), (0,), (1, 6)])
def test_layers_that_are_not_there_are_refused_before_a_map_is_made(layers):
    with pytest.raises(ValueError, match="from 1 to the 5 layers"):
        sanity(lambda *_: pytest.fail("explained"), Box(), IMAGE, 1, layers=layers)
