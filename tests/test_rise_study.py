import numpy as np
import pytest
from PIL import Image

from lab import cache, rise_study
from rise import Rise


class _Box:
    """A linear black box that counts the pictures it is asked about."""

    name, input_size, batch_size, fingerprint = "Linear", 32, 8, "test-linear"

    def __init__(self):
        self.asked = 0
        self.weights = np.random.default_rng(0).random((32 * 32 * 3, 1000)).astype(np.float32) / 1e6

    def __call__(self, images):
        self.asked += len(images)
        return images.reshape(len(images), -1) @ self.weights


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "_store", cache._open(tmp_path / "cache"))


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)


@pytest.fixture
def path(tmp_path, image):
    Image.fromarray(image).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_maps_are_rises_own(image):
    maps = rise_study.saliency_maps(_Box(), image, [386, 3], nb_samples=40, grid_size=4)
    expected = Rise(_Box(), batch_size=8, nb_samples=40, grid_size=4).explain_classes(image, [386, 3])
    np.testing.assert_allclose(maps, expected, rtol=1e-5)


def test_no_call_is_made_twice(image):
    box = _Box()
    rise_study.saliency_maps(box, image, [386], nb_samples=40)
    assert box.asked == 40
    rise_study.saliency_maps(box, image, [386], nb_samples=24)
    assert box.asked == 40
    rise_study.saliency_maps(box, image, [386], nb_samples=56)
    assert box.asked == 56
    rise_study.saliency_maps(box, image, [386], nb_samples=40, grid_size=5)
    assert box.asked == 96


def test_interrupted_work_goes_on(image):
    class Interrupted(_Box):
        def __call__(self, images):
            if self.asked == 24:
                raise KeyboardInterrupt
            return super().__call__(images)

    first, second = Interrupted(), _Box()
    with pytest.raises(KeyboardInterrupt):
        rise_study.saliency_maps(first, image, [386], nb_samples=40)
    maps = rise_study.saliency_maps(second, image, [386], nb_samples=40)
    assert first.asked == 24 and second.asked == 16
    np.testing.assert_allclose(maps, Rise(_Box(), batch_size=8, nb_samples=40).explain_classes(image, [386]), rtol=1e-5)


def test_measurements_without_a_mask(path):
    first, second = rise_study.explain(_Box(), path, [386, 101], nb_samples=50)
    table = rise_study.table([first, second])
    assert list(table.columns) == list(rise_study.COLUMNS)
    assert table["class"].tolist() == ["African_elephant", "tusker"]
    assert table[["contrast", "pointing_game"]].isna().all(axis=None)
    assert first.row["lowest"] == first.saliency.min() and -1 <= first.row["halves"] <= 1


def test_measurements_with_a_mask(path, monkeypatch):
    mask = np.zeros((32, 32), bool)
    mask[:10] = True
    monkeypatch.setattr(rise_study, "load_mask", lambda *_: mask)
    [explanation] = rise_study.explain(_Box(), path, [386], nb_samples=51, grid_size=4)
    saliency = explanation.saliency
    assert explanation.row["contrast"] == pytest.approx(saliency[:10].mean() - saliency[10:].mean())
    assert explanation.row["pointing_game"] == mask.flat[saliency.argmax()]


def test_halves_are_the_maps_of_the_two_halves(path, image):
    [explanation] = rise_study.explain(_Box(), path, [386], nb_samples=64, grid_size=4)
    box = _Box()
    from rise import generate_masks, perturb

    maps = []
    for start in (0, 32):
        masks = generate_masks(start, start + 32, image.shape, 4)
        maps.append(np.tensordot(box(perturb(image, masks))[:, 386], masks, 1))
    ranks = [np.argsort(np.argsort(m.ravel())) for m in maps]
    assert explanation.row["halves"] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-3)
