import numpy as np
import pandas as pd
import pytest
import scipy.stats

from lab.measure.sanity import sanity

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)


class Box:
    """A network of five layers with weights of their own for parts of the image."""

    n_layers = 5

    def __init__(self, layers=0):
        self.layers = layers
        intact = np.random.default_rng(9).normal(size=(64, 80))
        mixed = np.random.default_rng(0).permutation(intact.ravel()).reshape(64, 80)
        self.weights = np.where(np.arange(80) < 16 * layers, mixed, intact)

    randomized = staticmethod(lambda layers: Box(layers))


def test_agreement_is_of_each_map_with_those_of_random_networks(monkeypatch):
    explainers = {
        "weights": lambda box, image, label: box.weights,
        "image": lambda box, image, label: image[..., label],
    }
    table = sanity(explainers, Box(), IMAGE, 1)
    assert table["method"].tolist() == ["weights"] * 4 + ["image"] * 4
    assert table["layers"].tolist() == [1, 2, 4, 5] * 2
    np.testing.assert_allclose(table["rank_correlation"][4:], 1)
    agreement = table["rank_correlation"].to_numpy()[:4]
    assert (np.diff(agreement) < 0).all() and abs(agreement[3]) < 0.1
    expected = scipy.stats.spearmanr(Box().weights.ravel(), Box(2).weights.ravel()).statistic
    assert table["rank_correlation"][1] == pytest.approx(expected)
    again = sanity(explainers, Box(), IMAGE, 1, layers=(2, 5))
    pd.testing.assert_frame_equal(again, table[1::2].reset_index(drop=True))
    monkeypatch.setattr(Box, "n_layers", 4)
    assert sanity(explainers, Box(), IMAGE, 1)["layers"].tolist() == [1, 2, 4] * 2


@pytest.mark.parametrize("rounding", [0, 1e-7])
def test_a_map_without_a_pattern_has_no_agreement(rounding):
    def lost(box, image, label):
        return np.float32(1 + (1 if box.layers == 0 else rounding) * box.weights)

    table = sanity({"lost": lost}, Box(), IMAGE, 1, layers=(1, 5))
    assert table["rank_correlation"].isna().all()


@pytest.mark.parametrize("layers", [(), (0,), (1, 6)])
def test_layers_that_are_not_there_are_refused_before_a_map_is_made(layers):
    with pytest.raises(ValueError, match="from 1 to the 5 layers"):
        sanity({"map": lambda *_: pytest.fail("explained")}, Box(), IMAGE, 1, layers=layers)
