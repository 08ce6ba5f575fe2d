import dataclasses

import numpy as np
import pytest
import sklearn.metrics
from lime.lime_image import LimeImageExplainer

from lab import lime_study
from lab.lime_study import LAB_SETTINGS, Setting, explain_all, run, run_all


class Model:
    """A cheap classifier with interactions between places, which counts what it is asked."""

    def __init__(self, batch_size=32):
        self.batch_size = batch_size
        self.calls = 0
        self.batches = []

    def __call__(self, images):
        self.calls += len(images)
        self.batches.append(len(images))
        x = np.asarray(images, float) / 255
        left, right = x[:, :, : x.shape[2] // 2, 0].mean((1, 2)), x[:, 5:30, x.shape[2] // 2 :, 1].mean((1, 2))
        scores = np.stack([left + 3 * left * right, right**2, x[..., 2].mean((1, 2)), np.sin(9 * left)], axis=1)
        return np.exp(4 * scores) / np.exp(4 * scores).sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def image():
    """Tiles of random colours with some noise, which quickshift finds again as superpixels."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(30, 226, (4, 5, 3)).repeat(16, axis=0).repeat(16, axis=1)
    return (tiles + rng.integers(-10, 10, tiles.shape)).astype(np.uint8)


def stock(image, setting, model):
    explanation = LimeImageExplainer(kernel_width=setting.kernel_width, random_state=setting.seed).explain_instance(
        image, model, top_labels=setting.top_labels, hide_color=setting.hide_color,
        num_features=setting.num_lime_features, num_samples=setting.num_samples,
    )
    return explanation


@pytest.mark.parametrize(
    "setting",
    [
        Setting(num_samples=300),
        Setting(num_samples=777, hide_color=None, seed=3),
        Setting(num_samples=500, hide_color=(0, 200, 10), top_labels=3, seed=1),
        Setting(num_samples=300, num_lime_features=4, num_superpixels=3, kernel_width=0.1),
    ],
)
def test_weights_are_stock_limes(image, setting):
    model = Model()
    expected, got = stock(image, setting, model), run(model, image, setting)
    assert got.explanation.top_labels == expected.top_labels
    np.testing.assert_array_equal(got.explanation.segments, expected.segments)
    for label in expected.top_labels:
        assert [i for i, _ in got.explanation.local_exp[label]] == [i for i, _ in expected.local_exp[label]]
        np.testing.assert_allclose(
            [w for _, w in got.explanation.local_exp[label]], [w for _, w in expected.local_exp[label]], atol=1e-6
        )
        assert got.explanation.intercept[label] == pytest.approx(expected.intercept[label], abs=1e-6)
    picture, mask = expected.get_image_and_mask(
        got.label, setting.positive_only, setting.negative_only, setting.hide_rest, setting.num_superpixels
    )
    np.testing.assert_array_equal(got.rendering, picture)
    np.testing.assert_array_equal(got.shown, mask != 0)
    if setting.top_labels == 1:
        assert got.measurements["r2_fit"] == pytest.approx(expected.score, abs=1e-6)


def test_a_class_that_is_not_among_the_leading_ones(image):
    model = Model()
    setting = Setting(num_samples=300, seed=2)
    last = int(np.argmin(model(image[None])[0]))
    everything = stock(image, dataclasses.replace(setting, top_labels=4), model)
    weights = run(model, image, setting, label=last).weights
    for superpixel, weight in everything.local_exp[last]:
        assert weights[superpixel] == pytest.approx(weight, abs=1e-6)


def test_perturbed_pictures_are_those_made_superpixel_by_superpixel(image):
    segments = lime_study.superpixels(image)
    kept = lime_study.perturbations(segments.max() + 1, 7, seed=0)
    for hide_color in ((9, 0, 255), None, "blur"):
        hidden = lime_study.hidden_picture(image, segments, hide_color)
        for row, got in zip(kept, lime_study.perturb(image, hidden, segments, kept)):
            expected = image.copy()
            for superpixel in np.flatnonzero(row == 0):
                expected[segments == superpixel] = hidden[segments == superpixel]
            np.testing.assert_array_equal(got, expected)


def test_mean_colour_and_blur():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = (10, 20, 31)
    segments = np.zeros((40, 40), int)
    segments[20:] = 1
    image[20:] += 100
    np.testing.assert_array_equal(lime_study.hidden_picture(image, segments, None)[[0, -1], 0], [[5, 10, 15], [105, 110, 115]])
    flat = np.full((40, 40, 3), 77, np.uint8)
    np.testing.assert_array_equal(lime_study.hidden_picture(flat, segments, "blur"), flat)


def test_locality_is_the_packages_kernel_of_the_cosine_distance():
    kept = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0]])
    distance = sklearn.metrics.pairwise_distances(kept, kept[:1], metric="cosine").ravel()
    expected = LimeImageExplainer(kernel_width=0.3).base.kernel_fn(distance)
    np.testing.assert_allclose(lime_study.locality(kept, 0.3), expected)


def test_model_calls_are_shared_between_settings(image):
    model = Model()
    settings = {
        "short": Setting(num_samples=300, num_superpixels=3),
        "long": Setting(num_samples=600),
        "three classes": Setting(num_samples=500, top_labels=3),
    }
    predictions = lime_study.Predictions(model, image)
    predictions.fill(settings.values())
    assert model.calls == 1 + 600
    assert max(model.batches) == model.batch_size
    apart = {name: run(Model(batch_size=7), image, setting) for name, setting in settings.items()}
    together = explain_all(model, image, settings)
    for name in settings:
        np.testing.assert_allclose(together[name].weights, apart[name].weights, atol=1e-12)


def test_answers_are_kept_on_disk_and_interrupted_work_goes_on(image, tmp_path, monkeypatch):
    from lab import cache

    monkeypatch.setattr(cache, "_store", cache._open(tmp_path))
    model = Model()
    model.fingerprint = "a model of this test"
    setting = Setting(num_samples=1000)

    class Interrupted(Exception):
        pass

    def stop_after_two(jobs):
        for n, job in enumerate(jobs):
            if n == 2:
                raise Interrupted
            yield job

    with pytest.raises(Interrupted):
        run(model, image, setting, progress=stop_after_two)
    assert model.calls == 1 + 2 * lime_study.CHUNK
    first = run(model, image, setting)
    calls = model.calls
    again = run(model, image, setting)
    assert model.calls == calls
    np.testing.assert_array_equal(first.weights, again.weights)
    assert first.measurements["deletion"] == again.measurements["deletion"]
    model.calls = 0
    run(model, image, dataclasses.replace(setting, num_samples=500, num_superpixels=4))
    assert model.calls <= 2 * (len(first.weights) + 1)  # at most a new ranking's two curves


def test_table_has_a_row_a_run_with_sound_values(image):
    mask = np.zeros(image.shape[:2], bool)
    mask[10:30, 5:25] = True
    settings = {"a": Setting(num_samples=250), "b": Setting(num_samples=2000, hide_color=None)}
    table = run_all(Model(), image, settings, mask, seeds=range(3))
    assert table[["setting", "seed"]].values.tolist() == [[name, seed] for name in "ab" for seed in range(3)]
    assert set(lime_study.HEADS) < set(table.columns)
    assert table[["jaccard", "iou", "pointing_game", "shown", "deletion", "insertion"]].apply(lambda x: x.between(0, 1)).all(None)
    assert (table.groupby("setting").jaccard.nunique() == 1).all()
    # More perturbations: less flattery by the fit, and seeds that agree better.
    mean = table.groupby("setting").mean()
    assert (mean.r2_fit - mean.r2_fresh)["a"] > (mean.r2_fit - mean.r2_fresh)["b"]
    assert mean.rank_correlation["b"] > mean.rank_correlation["a"]
    one = run(Model(), image, dataclasses.replace(settings["a"], seed=2), mask)
    row = table[(table.setting == "a") & (table.seed == 2)].iloc[0]
    assert row.iou == one.measurements["iou"] and row.r2_fresh == one.measurements["r2_fresh"]


def test_a_linear_model_is_explained_perfectly(image):
    segments = lime_study.superpixels(image)
    truth = np.random.default_rng(0).normal(size=segments.max() + 1)
    at = [np.argwhere(segments == i)[0] for i in range(len(truth))]

    def linear(images):
        # No colour of the picture is 0, so that black means hidden.
        score = sum(t * (images[:, y, x, 0] > 0) for t, (y, x) in zip(truth, at)) / 100 + 0.5
        return np.stack([score, 1 - score], axis=1)

    got = run(linear, image, Setting(num_samples=3000), label=0)
    np.testing.assert_allclose(got.weights, truth / 100, atol=1e-4)
    assert got.measurements["r2_fresh"] > 0.999
    assert got.chosen.sum() == min(15, (truth > 0).sum())
    assert set(np.flatnonzero(got.chosen)) == set(np.argsort(-truth)[: got.chosen.sum()])


def test_lab_settings_are_the_assignments():
    assert list(LAB_SETTINGS) == ["default", "0", "1", "2", "3", "4", "5"]
    assert [s.num_samples for s in LAB_SETTINGS.values()] == [5000, 2000, 5000, 3000, 3000, 7000, 3000]
    assert [s.num_superpixels for s in LAB_SETTINGS.values()] == [15, 8, 15, 10, 10, 10, 25]
    assert [s.num_lime_features for s in LAB_SETTINGS.values()] == [100000, 500, 2000, 100, 100, 1000, 500]
    assert [s.hide_color for s in LAB_SETTINGS.values()] == [(0, 0, 0), (0, 0, 0), None, None, (0, 0, 0), (0, 0, 0), None]
    assert Setting(hide_color=[1, 2, 3]) == Setting(hide_color=np.array([1, 2, 3]))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"positive_only": True, "negative_only": True}, "cannot both"),
        ({"hide_color": (0, 0, 256)}, "hide_color"),
        ({"hide_color": (0, 0.5, 0)}, "hide_color"),
        ({"hide_color": 0}, "hide_color"),
        ({"hide_color": "black"}, "hide_color"),
        ({"num_samples": 10}, "num_superpixels"),
        ({"num_samples": 0}, "num_samples"),
        ({"num_samples": 1e3}, "num_samples"),
        ({"top_labels": 0}, "top_labels"),
        ({"seed": -1}, "seed"),
        ({"hide_rest": 1}, "hide_rest"),
        ({"kernel_width": 0}, "kernel_width"),
        ({"superpixel_size": float("nan")}, "superpixel_size"),
    ],
)
def test_setting_refuses(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Setting(**arguments)


def test_run_refuses_before_the_perturbations_are_predicted(image):
    model = Model()
    for arguments, message in [
        ((image / 255, Setting()), "uint8"),
        ((image[..., 0], Setting()), "H, W, 3"),
        ((image, Setting(), np.zeros((3, 3), bool)), "mask"),
        ((image, Setting(top_labels=5)), "top_labels"),
        ((image, Setting(), None, 4), "class"),
        ((image, Setting(num_samples=1, num_superpixels=1)), "superpixels"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(model, *arguments)
    with pytest.raises(TypeError, match="Setting"):
        explain_all(model, image, {"a": 1})
    with pytest.raises(ValueError, match="n_classes"):
        run(lambda images: np.zeros(len(images)), image, Setting())
    with pytest.raises(ValueError, match="finite"):
        run(lambda images: np.full((len(images), 2), np.nan), image, Setting())
    assert model.calls <= 5
