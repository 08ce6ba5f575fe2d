import functools
import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from lime.lime_base import LimeBase
from sklearn.datasets import load_digits

from lab import cache, evaluation, metrics
from lab.lime_study import hidden_picture, perturbations, superpixels
from lab.metrics import auc, deletion_curve, insertion_curve
from rise import Rise


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "_store", cache._open(tmp_path / "cache"))


@pytest.fixture(scope="module")
def image():
    """Tiles of random colours with some noise, which quickshift finds again as superpixels."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(30, 226, (4, 5, 3)).repeat(16, axis=0).repeat(16, axis=1)
    return (tiles + rng.integers(-10, 10, tiles.shape)).astype(np.uint8)


class Box:
    """A black box of two classes that counts what it is asked; random layers change what it looks at."""

    fingerprint, batch_size, n_layers, name = "test", 16, 5, "Box"

    def __init__(self, layers=0, seed=0):
        self.calls, self.layers = 0, layers
        self.weights = np.random.default_rng(9).normal(size=(64, 80))
        if layers:
            self.name, self.fingerprint = f"Box, top {layers} layers random", f"test {layers} {seed}"
            mixed = np.random.default_rng(seed).permutation(self.weights.ravel()).reshape(64, 80)
            self.weights = np.where(np.arange(80) < 16 * layers, mixed, self.weights)

    def __call__(self, images):
        self.calls += len(images)
        share = 1 / (1 + np.exp(-np.einsum("nhw,hw->n", np.asarray(images)[..., 1], self.weights) / 1e4))
        return np.stack([1 - share, share], axis=1)

    def randomized(self, layers, seed=0):
        return Box(layers, seed)


def weights_of(box, image, label):
    return box.weights


def test_measure_is_made_of_the_metrics(image):
    box, rng = Box(), np.random.default_rng(1)
    saliency, mask = rng.normal(size=(64, 80)), np.zeros((64, 80), bool)
    mask[10:30, 20:60] = mask[30:40, 20] = True
    found = evaluation.measure(box, image, mask, 1, saliency)
    assert list(found) == [name for name in evaluation.HEADS if name != "sanity"]
    mean, blurred = image.mean(axis=(0, 1)), hidden_picture(image, None, "blur")
    assert found["deletion"] == pytest.approx(auc(*deletion_curve(Box(), image, saliency, 1, 0, 50)))
    assert found["deletion_mean"] == pytest.approx(auc(*deletion_curve(Box(), image, saliency, 1, mean, 50)))
    assert found["insertion"] == pytest.approx(auc(*insertion_curve(Box(), image, saliency, 1, blurred, 50)))
    box_of_mask = np.zeros((64, 80), bool)
    box_of_mask[10:40, 20:60] = True
    for truth, name in ((mask, "iou_mask"), (box_of_mask, "iou_box")):
        at_each = [metrics.iou(saliency >= np.quantile(saliency, 1 - n / 50, method="higher"), truth) for n in range(1, 51)]
        assert found[name] == pytest.approx(np.mean(at_each), abs=1e-3)
        assert found[f"{name}_best"] == pytest.approx(max(at_each), abs=1e-3)
    assert found["pointing_game"] == mask.flat[saliency.argmax()]

    segments = superpixels(image)
    drops, means = [], []
    for segment in range(segments.max() + 1):
        changed = image.astype(float)
        changed[segments == segment] = mean
        drops.append(box(image[None])[0, 1] - box(changed[None])[0, 1])
        means.append(saliency[segments == segment].mean())
    assert found["faithfulness"] == pytest.approx(scipy.stats.pearsonr(drops, means).statistic, abs=1e-4)


def test_a_superpixels_own_weight_on_each_of_its_pixels_is_faithful(image):
    segments, mean = superpixels(image), image.mean(axis=(0, 1))
    drops = []
    for segment in range(segments.max() + 1):
        changed = image.astype(float)
        changed[segments == segment] = mean
        drops.append(Box()(image[None])[0, 1] - Box()(changed[None])[0, 1])
    assert evaluation.measure(Box(), image, None, 1, np.array(drops)[segments] + 3)["faithfulness"] == pytest.approx(1)
    assert np.isnan(evaluation.measure(Box(), image, None, 1, np.ones((64, 80)))["faithfulness"])


def test_measure_costs_what_it_says_and_repeats_no_call(image):
    box, n_superpixels = Box(), superpixels(image).max() + 1
    saliency = np.random.default_rng(2).normal(size=(64, 80))
    first = evaluation.measure(box, image, None, 1, saliency)
    assert box.calls == 3 * 51 + n_superpixels + 1
    assert evaluation.measure(box, image, None, 1, 2 * saliency)["insertion"] == first["insertion"]  # the same order
    assert box.calls == 3 * 51 + n_superpixels + 1
    evaluation.measure(box, image, None, 1, -saliency)
    assert box.calls == 6 * 51 + n_superpixels + 1
    assert evaluation.measure(box, image, None, 0, saliency)["insertion"] != first["insertion"]


def test_without_a_fingerprint_nothing_is_kept(image):
    box, saliency = Box(), np.random.default_rng(2).normal(size=(64, 80))
    first, second = (evaluation.measure(lambda images: box(images), image, None, 1, saliency) for _ in range(2))
    assert box.calls == 2 * (3 * 51 + superpixels(image).max() + 2) and len(cache._store) == 0
    assert first == pytest.approx(evaluation.measure(box, image, None, 1, saliency), nan_ok=True)
    assert second == pytest.approx(first, nan_ok=True)


def test_measure_without_a_mask_is_not_a_number_where_one_is_needed(image):
    found = evaluation.measure(Box(), image, None, 1, np.random.default_rng(3).normal(size=(64, 80)))
    missing = {name for name, value in found.items() if np.isnan(value)}
    assert missing == {"iou_mask", "iou_mask_best", "iou_box", "iou_box_best", "pointing_game"}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image": np.zeros((64, 80, 3))}, "image must be .* uint8, got .* float64"),
        ({"saliency": np.zeros((64, 79))}, r"saliency must be finite and of shape \(64, 80\), got shape \(64, 79\)"),
        ({"saliency": np.full((64, 80), np.nan)}, "saliency must be finite"),
        ({"mask": np.zeros((64, 79), bool)}, "same shape"),
    ],
)
def test_measure_refuses_before_a_call(image, change, message):
    box = Box()
    arguments = {"image": image, "mask": None, "label": 1, "saliency": np.zeros((64, 80))} | change
    with pytest.raises(ValueError, match=message):
        evaluation.measure(box, **arguments)
    assert box.calls == 0


@pytest.mark.parametrize("label", [2, -1])
def test_measure_refuses_a_class_that_is_not_there(image, label):
    with pytest.raises(ValueError, match=f"target must be a class from 0 to 1, got {label}"):
        evaluation.measure(Box(), image, None, label, np.zeros((64, 80)))


def test_a_map_that_ignores_the_network_stays_the_same(image):
    table = evaluation.sanity(lambda box, image, label: image[..., label].astype(float), Box(), image, 1)
    assert table["layers"].tolist() == [1, 2, 4, 5]
    assert table["network"].tolist() == [f"Box, top {n} layers random" for n in (1, 2, 4, 5)]
    np.testing.assert_allclose(table[["rank_correlation", "ssim"]], 1)


def test_a_map_that_shows_the_network_loses_similarity_layer_by_layer(image):
    table = evaluation.sanity(weights_of, Box(), image, 1)
    for similarity in (table["rank_correlation"], table["ssim"]):
        assert (similarity.diff().dropna() < 0).all() and abs(similarity.iloc[-1]) < 0.1
    again = evaluation.sanity(weights_of, Box(), image, 1, layers=(2, 5))
    pd.testing.assert_frame_equal(again, table.iloc[[1, 3]].reset_index(drop=True))
    other = evaluation.sanity(weights_of, Box(), image, 1, layers=(5,), seed=1)
    assert other["rank_correlation"][0] != again["rank_correlation"][1]
    expected = scipy.stats.spearmanr(Box().weights.ravel(), Box(2).weights.ravel()).statistic
    assert again["rank_correlation"][0] == pytest.approx(expected)


def test_sanity_of_a_map_that_gets_lost_is_not_a_number(image):
    table = evaluation.sanity(lambda box, *_: box.weights * (box.layers == 0), Box(), image, 1, layers=(1,))
    assert table["rank_correlation"].isna().all() and abs(table["ssim"][0]) < 1


@pytest.mark.parametrize("layers", [(), (0,), (1, 6)])
def test_sanity_refuses_layers_that_are_not_there_before_a_map_is_made(image, layers):
    with pytest.raises(ValueError, match="from 1 to the 5 layers"):
        evaluation.sanity(lambda *_: pytest.fail("explained"), Box(), image, 1, layers=layers)


def _ask(function, pictures, mean):
    """What a method of `DIGIT_METHODS` asks, for a function of the pixels."""
    return lambda kept: np.stack([function(mean + row * (pictures - mean)) for row in kept])


@pytest.fixture(scope="module")
def digits():
    rng = np.random.default_rng(4)
    return rng.random((3, 64)), rng.random(64), rng.normal(size=64)  # pictures, mean, weights


@pytest.mark.parametrize("name", ["shap", "occlusion"])
def test_attributions_of_a_linear_function_are_its_terms(digits, name):
    pictures, mean, weights = digits
    found = evaluation.DIGIT_METHODS[name](_ask(lambda x: x @ weights, pictures, mean), pictures, 512, 0)
    offset = 0 if name == "shap" else -pictures @ weights  # occlusion's, which orders pixels only
    np.testing.assert_allclose(found.T, ((pictures - mean) * weights).T + offset, atol=1e-9)


def test_lime_of_all_digits_at_once_is_the_packages(digits):
    pictures, mean, weights = digits
    ask = _ask(lambda x: np.tanh(x @ weights), pictures, mean)
    found = evaluation.DIGIT_METHODS["lime"](ask, pictures, 300, 2)
    kept = perturbations(64, 300, 2)
    package = LimeBase(lambda distance: np.sqrt(np.exp(-(distance**2) / 0.25**2)))
    for picture in range(3):
        _, pairs, *_ = package.explain_instance_with_data(kept, ask(kept), 1 - np.sqrt(kept.mean(axis=1)), picture, 64)
        np.testing.assert_allclose(found[picture], [weight for _, weight in sorted(pairs)], atol=1e-9)


def test_shap_splits_what_pixels_do_together(digits):
    pictures, mean, _ = digits

    def together(x):  # 1 only for pixels 5, 6 and 7 all kept, and another 1 for pixel 9
        kept = np.isclose(x, pictures)
        return kept[:, 5:8].all(axis=1) + 1.0 * kept[:, 9]

    found = evaluation.DIGIT_METHODS["shap"](_ask(together, pictures, mean), pictures, 4096, 0)
    truth = np.zeros(64)
    truth[5:8], truth[9] = 1 / 3, 1  # Shapley values by symmetry and efficiency
    np.testing.assert_allclose(found, np.tile(truth, (3, 1)), atol=0.03)
    np.testing.assert_allclose(found.sum(axis=1), 2)


def test_rise_of_all_digits_at_once_is_rises_own(digits):
    pictures, mean, weights = digits
    function = lambda x: np.tanh(x @ weights)  # noqa: E731
    found = evaluation.DIGIT_METHODS["rise_average"](_ask(function, pictures, mean), pictures, 60, 3)
    stock = Rise(lambda x: function(x.reshape(-1, 64)), nb_samples=60, grid_size=4, mask_value=mean.reshape(8, 8, 1), seed=3, estimator="average")
    expected = stock.explain(pictures.reshape(3, 8, 8, 1), np.ones((3, 1))).reshape(3, 64)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_baselines_look_at_no_network(digits):
    pictures, _, _ = digits
    pictures = pictures.copy()
    pictures[0] = np.repeat([0.0, 1.0], 32)  # an edge between the fourth and the fifth row
    found = {
        name: evaluation.DIGIT_METHODS[name](lambda kept: pytest.fail("asked"), pictures, 128, 0) for name in ("random", "centre", "edges")
    }
    assert all(saliency.shape == (3, 64) for saliency in found.values())
    assert set(np.argsort(-found["centre"][1])[:4]) == {27, 28, 35, 36}
    assert set(np.flatnonzero(found["edges"][0] > 0) // 8) == {3, 4}


def test_the_network_is_asked_about_the_true_class():
    pictures, labels = load_digits(return_X_y=True)
    pictures, labels = pictures[:120].astype(np.float32) / 16, labels[:120]
    network, mean = evaluation._trained(pictures, labels, 0), pictures.mean(axis=0)
    kept = np.random.default_rng(5).random((20, 64)) < 0.5
    found = evaluation._ask(network, pictures, labels, mean, kept)
    for row, picture in itertools.product((0, 7, 19), (0, 50, 119)):
        x = np.where(kept[row], pictures[picture], mean)
        assert found[row, picture] == pytest.approx(network.predict_proba(x[None])[0, labels[picture]], abs=1e-5)


def test_roar_removes_what_matters():
    run = functools.partial(evaluation.roar, shares=(0, 0.3), seeds=(0, 1), count=400, n_samples=128)
    table = run({name: evaluation.DIGIT_METHODS[name] for name in ("occlusion", "random")})
    assert list(table.columns) == ["method", "share", "seed", "accuracy", "drawn", "trace"]
    assert list(table.itertuples(index=False))[0][:3] == ("occlusion", 0, 0) and len(table) == 8
    whole = table[table["share"] == 0]
    assert (whole["accuracy"] > 0.85).all() and whole["trace"].isna().all()
    assert whole.groupby("seed")["accuracy"].nunique().eq(1).all() and (whole["drawn"] == whole["accuracy"]).all()
    mean = table[table["share"] > 0].groupby("method")[["accuracy", "drawn", "trace"]].mean()
    assert mean["drawn"]["occlusion"] < mean["drawn"]["random"] - 0.15
    assert mean["drawn"]["occlusion"] < mean["accuracy"]["occlusion"] - 0.1  # which can be read from the hole
    assert mean["trace"]["random"] < 0.25
    again = run({"random": evaluation.DIGIT_METHODS["random"]}, seeds=(1,))
    expected = table[(table["method"] == "random") & (table["seed"] == 1)].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, expected)


def test_roar_finds_the_trace_of_a_class():
    labels = load_digits().target[:200]

    def telling(ask, pictures, n_samples, seed):  # removes a row, another one for each class but for two pairs
        return (np.arange(64) // 8 == (labels % 8)[:, None]).astype(float)

    def corner(ask, pictures, n_samples, seed):  # always 0: nothing is lost
        return np.tile(np.arange(64) == 0, (len(pictures), 1)).astype(float)

    table = evaluation.roar({"telling": telling, "corner": corner}, (0, 1 / 64, 1 / 8), (0,), 200, 128)
    found = table.set_index(["method", "share"])
    assert found.loc[("telling", 1 / 8), "trace"] > 0.7
    assert found.loc[("corner", 1 / 64), "trace"] < 0.2
    assert found.loc[("corner", 1 / 64), "accuracy"] == found.loc[("corner", 0), "accuracy"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"shares": (0.5, 1.5)}, r"shares must be from 0 to 1, got \[0.5, 1.5\]"),
        ({"count": 10}, "count must be from 100 to the 1797 digits, got 10"),
        ({"n_samples": 129}, "even number of at least 128, got 129"),
    ],
)
def test_roar_refuses_what_makes_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        evaluation.roar(**change)


def test_bootstrap_interval():
    assert evaluation.bootstrap_interval(np.full(6, 0.3)) == pytest.approx((0.3, 0.3))
    values = np.random.default_rng(6).exponential(size=8)
    low, high = evaluation.bootstrap_interval(values, 20_000)
    drawn = np.random.default_rng(7).choice(values, (200_000, 8)).mean(axis=1)
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.02)
    assert evaluation.bootstrap_interval(values, seed=1) == evaluation.bootstrap_interval(values, seed=1)
    assert np.isnan(evaluation.bootstrap_interval([1.0, 2.0])).all()
    with pytest.raises(ValueError, match="values must be finite"):
        evaluation.bootstrap_interval([1, 2, np.nan])


def test_bootstrap_interval_by_enumeration():
    # Of the 27 resamples of 0, 0, 1 eight have the mean 0 and one has the mean 1, more than 2.5 % each.
    assert evaluation.bootstrap_interval([0, 0, 1]) == (0, 1)
    # How often the 1 is drawn is binomial: never in 35 % of the resamples, 3 times or more in 8 %, 4 times or more in 1.6 %.
    assert evaluation.bootstrap_interval([1] + [0] * 11, 20_000) == pytest.approx((0, 3 / 12))


def hand_made(methods=("a", "b", "c"), networks=("X", "Y")):
    """Method a is best on deletion and worst on insertion, b in the middle, c the other way round."""
    rows = []
    for network, picture, seed in itertools.product(networks, range(4), range(2)):
        for place, method in enumerate(methods):
            rows.append({
                "network": network, "class": "bear" if picture < 2 else "elephant", "picture": f"p{picture % 2}", "method": method,
                "deletion": place / 10 + picture / 100 + seed / 1000,
                "insertion": place / 10 + picture / 100 - seed / 1000,
                "pointing_game": float("nan") if picture == 0 else 1.0,
                "iou_mask": float("nan"),
            })
    return pd.DataFrame(rows)


def test_summary_averages_seeds_then_pictures():
    table = evaluation.summary(hand_made()).set_index(["network", "method", "metric"])
    row = table.loc[("X", "b", "deletion")]
    by_picture = 0.1 + np.arange(4) / 100 + 0.0005
    assert row["mean"] == pytest.approx(by_picture.mean()) and row["pictures"] == 4
    assert (row["low"], row["high"]) == pytest.approx(evaluation.bootstrap_interval(by_picture))
    pointing = table.loc[("Y", "a", "pointing_game")]
    assert pointing.tolist() == [1, 1, 1, 3]
    assert set(table.index.get_level_values("metric")) == {"deletion", "insertion", "pointing_game"}


def test_ranks_follow_each_metrics_direction():
    ranking = evaluation.rank_methods(hand_made())
    for metric, order in (("deletion", "abc"), ("insertion", "cba")):
        part = ranking[ranking["metric"] == metric]
        assert part["method"].tolist() == list(order)
        np.testing.assert_allclose(part[["mean_rank", "low", "high"]], np.array([[1, 2, 3]] * 3).T)
        assert (part["pictures"] == 4).all()
    pointing = ranking[ranking["metric"] == "pointing_game"]
    assert (pointing["mean_rank"] == 2).all() and (pointing["pictures"] == 3).all()


def test_ranks_are_averaged_over_networks_and_vary_over_pictures():
    table = hand_made(methods=("a", "b"))
    swapped = (table["network"] == "Y") | ((table["class"] == "bear") & (table["picture"] == "p0"))
    table.loc[swapped, "deletion"] *= -1  # there b comes first
    ranking = evaluation.rank_methods(table)
    row = ranking[(ranking["metric"] == "deletion") & (ranking["method"] == "a")].iloc[0]
    by_picture = [2, 1.5, 1.5, 1.5]
    assert row["mean_rank"] == pytest.approx(np.mean(by_picture))
    assert (row["low"], row["high"]) == pytest.approx(evaluation.bootstrap_interval(by_picture))


def test_no_value_where_others_have_one_ranks_last():
    table = hand_made()
    table.loc[table["method"] == "a", "deletion"] = float("nan")
    ranking = evaluation.rank_methods(table)
    assert ranking[ranking["metric"] == "deletion"]["method"].tolist() == ["b", "c", "a"]


def test_disagreement_is_kendalls_tau():
    table = hand_made(methods=("a", "b", "c", "d"))
    places = {"a": 1, "b": 0, "c": 2, "d": 3}
    table["faithfulness"] = table["method"].map(places)
    found = evaluation.disagreement(table)
    assert list(found.index) == list(found.columns) == ["deletion", "insertion", "faithfulness", "pointing_game"]
    assert found.loc["deletion", "insertion"] == pytest.approx(-1) and found.loc["deletion", "deletion"] == pytest.approx(1)
    # Of the six pairs of methods, insertion and faithfulness order all but one alike.
    assert found.loc["insertion", "faithfulness"] == found.loc["faithfulness", "insertion"] == pytest.approx(4 / 6)
    assert found.loc["pointing_game"].isna().all()


def test_every_head_has_one_direction():
    assert all(sum(head.count(arrow) for arrow in "↑↓") == 1 and head[-1] in "↑↓" for head in evaluation.HEADS.values())
