"""Methods compared: on the lab's images, on montages and on photographs."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cheap import NETWORKS, Network, measured, tiles
from PIL import Image
from scipy.stats import spearmanr

from lab.files import ROOT
from lab.images import load_image, load_mask
from lab.measure.agreement import rank_correlation
from lab.measure.curves import gains, portions
from lab.measure.maps import measure_map
from lab.methods.coalitions import attribute
from lab.methods.masked_model import MaskedModel, blurred, superpixels
from lab.methods.registry import METHODS, explain
from lab.networks.classes import class_name
from lab.study import comparison as study
from lab.study.profile import PROFILES, Plan
from lab.study.results import MissingResult, small
from lab.study.runner import measure
from lab.study.settings import COMPARED, OBJECT

PROTOCOL = (ROOT / "report" / "protocol.md").read_text(encoding="utf-8")
IMAGE = tiles(4, 4)
MASK = np.zeros((64, 64), bool)
MASK[10:40, :30] = True


def compared(budget, methods, measured, mask=MASK, network=None, **arguments):
    """The rows and arrays by method of a task on a cheap network."""
    task = study.compared("t", None, None, [(budget, methods)], measured, **arguments)
    return measure(task, network or Network(cached=True), IMAGE, mask)


def test_maps_of_a_class_are_measured_and_timed():
    got = compared(
        120, ["lime", "occlusion", "random"], ["map and gains"], label=101, seed=3, maps="whole"
    )
    for method, ([row], arrays) in got.items():
        saliency = explain(method, Network(), IMAGE, 101, 120, 3)
        np.testing.assert_allclose(arrays["maps"], [saliency], atol=1e-7)
        expected = measure_map(Network(), IMAGE, 101, saliency, MASK)[0]
        expected |= gains(Network(), IMAGE, 101, saliency)
        assert {key: row[key] for key in expected} == pytest.approx(expected)
        assert (row["label"], row["predicted"], row["calls"]) == (101, "tusker", 120)
        assert row["seconds"] >= 0
        assert row["probability"] == pytest.approx(Network()(IMAGE[None])[0, 101])


def test_the_predicted_class_is_explained_and_maps_are_saved_small():
    got = compared(100, ["occlusion", "centre"], ["map"], maps="small")
    top = int(Network()(IMAGE[None])[0].argmax())
    for method, ([row], arrays) in got.items():
        assert (row["label"], row["predicted"]) == (top, class_name(top))
        saliency = explain(method, Network(), IMAGE, top, 100)
        np.testing.assert_allclose(arrays["maps"], [small(saliency)], rtol=2e-3)  # a last digit
        expected = measure_map(Network(), IMAGE, top, saliency)[1]
        np.testing.assert_allclose(arrays["curves"], [[*expected.values()]], rtol=1e-6)


def test_one_more_method_is_measured_alone():
    network, listed = Network(), ["occlusion", "centre"]
    one, two = (
        study.compared("t", None, None, [(100, methods)], ["gains"], portions=10)
        for methods in (listed, [*listed, "occlusion_black"])
    )
    assert one.key("w", "i") == two.key("w", "i") and one.parts.items() < two.parts.items()
    measure(two.only({"occlusion_black"}), network, IMAGE, None)
    assert network.calls <= 1 + 1 + 100 + 6 * 11


def test_a_photograph_is_left_out_where_the_guess_is_unsure_or_calls_are_too_few():
    n = int(superpixels(IMAGE).max()) + 1
    network = Network()
    got = compared(n, ["lime", "occlusion"], ["gains"], None, network, least_probability=1.1)
    assert got == {"lime": ([], {}), "occlusion": ([], {})} and network.calls == 2
    got = compared(n, ["lime", "occlusion"], ["gains"], None, least_probability=1e-9)
    assert got["lime"] == ([], {}) and len(got["occlusion"][0]) == 1
    with pytest.raises(ValueError, match="budget"):  # elsewhere it is an error
        compared(n, ["lime"], ["gains"])


def test_sanity_explains_each_random_network_with_all_methods():
    network, parts = Network(cached=True), {m: {"budget": 101} for m in ("occlusion", "rise")}
    got = study.sanity_task(network, IMAGE, None, parts, [2, 8])
    label = network.top(IMAGE, 1)[0][0]
    assert list(got) == ["occlusion", "rise"]
    for method, (rows, _) in got.items():
        assert [row["layers"] for row in rows] == [2, 8]
        for row in rows:
            intact, random = (
                explain(method, one, IMAGE, label, 101)
                for one in (Network(), Network().randomized(row["layers"]))
            )
            agreement = rank_correlation(intact.ravel(), random.ravel())
            assert row["rank_correlation"] == pytest.approx(agreement)
    n = int(superpixels(IMAGE).max()) + 1  # a budget that is too small is raised
    few, enough = (
        study.sanity_task(network, IMAGE, None, {"shap": {"budget": budget}}, [2])
        for budget in (10, 4 * n + 2)
    )
    assert few == enough


def test_maps_of_two_seeds_are_compared():
    network, parts = Network(cached=True), {m: {"budget": 100} for m in ("rise", "occlusion")}
    got = study.seeds_task(network, IMAGE, None, parts, 0.01)
    label = network.top(IMAGE, 1)[0][0]
    maps = [explain("rise", network, IMAGE, label, 100, seed) for seed in (0, 1)]
    expected = spearmanr(*map(np.ravel, maps))[0]
    assert got["rise"][0][0]["rank_correlation"] == pytest.approx(expected)
    assert got["occlusion"][0][0]["rank_correlation"] == pytest.approx(1)  # it draws nothing
    assert study.seeds_task(network, IMAGE, None, parts, 1.1)["rise"] == ([], {})


def test_regions_that_only_one_method_finds():
    network = Network()
    rows, _ = study.differ_task(network, IMAGE, None, ["lime", "rise"], 200)
    label = network.top(IMAGE, 1)[0][0]
    fifths = {
        method: portions(explain(method, network, IMAGE, label, 200), 5) == 0
        for method in ("lime", "rise")
    }
    fills = {"black": np.zeros_like(IMAGE), "blurred": blurred(IMAGE)}
    assert [(row["fill"], row["method"]) for row in rows] == [
        (fill, method) for fill in fills for method in ("lime", "rise")
    ]
    for row in rows:
        other = fifths["rise" if row["method"] == "lime" else "lime"]
        region = (fifths[row["method"]] & ~other)[..., None]
        ground = fills[row["fill"]]
        images = np.stack([np.where(region, ground, IMAGE), np.where(region, IMAGE, ground)])
        without, alone = network(images)[:, label]
        assert (row["without"], row["alone"]) == pytest.approx((without, alone))
        assert row["share"] == region.mean()


def test_shapley():
    image, network, n = tiles(2, 4).repeat(2, axis=0), Network(), 8
    label = network.top(image, 1)[0][0]
    network.calls = 0
    table = pd.DataFrame(study.shapley_task(network, image, None, 8, 2)[0])
    assert network.calls == 1 + 2**n  # each coalition once
    assert set(table["superpixels"]) == {n} and set(table["seeds"]) == {2}
    table = table.set_index(["method", "calls"])
    exact = table.loc["shap", 2**n]
    assert exact["rank_correlation"] == pytest.approx(1) and exact["largest_difference"] < 1e-4
    value = MaskedModel(network, image, superpixels(image), None, [label]).value
    truth = attribute("shapley", value, n)
    by_lime = np.array([attribute("lime", value, n, 64, seed) for seed in (0, 1)])
    row = table.loc["lime", 64]
    agreement = np.mean([rank_correlation(one, truth) for one in by_lime])
    assert row["rank_correlation"] == pytest.approx(agreement)
    difference = np.abs(by_lime - truth).max() / np.ptp(truth)
    assert row["largest_difference"] == pytest.approx(difference, rel=1e-4)


# The lab's images


@pytest.fixture(scope="module")
def results(plan, tmp_path_factory):
    """What the quick profile measures, with fewer digits."""
    cheaper = []
    for task in study.evaluation_tasks(plan):
        if task.table == "evaluation_roar":
            if task.arguments["method"] == "shap":  # as slow as all the others together
                continue
            task = task._replace(arguments=task.arguments | {"count": 100, "n_samples": 66})
        cheaper.append(task)
    folder = tmp_path_factory.mktemp("results")
    return measured("evaluation", cheaper, plan, NETWORKS, folder)


def test_what_is_measured_of_every_image(results):
    runs = results.table("evaluation_runs")
    for _, rows in runs.groupby(["network", "image"]):
        assert rows["method"].tolist() == list(COMPARED)
    assert results.array("evaluation_runs", runs["key"][0], "maps").shape == (1, 112, 112)
    assert not runs.drop(columns="faithfulness").isna().any(axis=None)
    calling = {method for method in COMPARED if METHODS[method].calls_model}
    assert set(results.table("evaluation_sanity")["method"]) == calling
    measurements = {*"deletion_black deletion_mean insertion faithfulness".split(), "sanity"}
    measurements |= {"iou_mask", "iou_box", "pointing_game"}
    for name in ("evaluation_ranks", "evaluation_disagreement"):
        assert set(results.table(name)["metric"]) == measurements


class Tables(dict):
    table = dict.__getitem__


def test_sanity_joins_the_table_of_maps():
    where, one, two = ["network", "class", "image"], ("N", "elephant", "p"), ("N", "bear", "q")
    runs = [(*one, "lime"), (*one, "rise"), (*one, "edges"), (*two, "lime"), (*two, "edges")]
    runs = pd.DataFrame(runs, columns=[*where, "method"])
    checked = [("lime", 1, np.nan), ("lime", 2, -0.5), ("lime", 4, 0.1), ("rise", 1, 0.3)]
    columns = [*where, "method", "layers", "rank_correlation"]
    checked = pd.DataFrame([(*one, *row) for row in checked], columns=columns)
    table = study.with_sanity(Tables(evaluation_runs=runs, evaluation_sanity=checked))
    # A constant map agrees with none, a control with all; the bear was not checked.
    assert table["method"].equals(runs["method"])
    np.testing.assert_allclose(table["sanity"], [0.2, 0.3, 1, np.nan, np.nan])


# Montages, against the protocol


@pytest.fixture(scope="module")
def montages():
    return study.montages_tasks(Plan({}, PROFILES["full"]))


def test_an_object_is_the_name_up_to_its_number():
    assert study.object_of(Path("x/twin_ceps_2_hill.jpg")) == "twin_ceps"
    assert study.object_of("frog_1_slope_b") == "frog"


def test_the_halves_are_fixed_and_the_last_image_is_measured(montages):
    names = {study.object_of(path) for path in study.MONTAGES.glob("*/*.jpg")}
    judged = {name for name in names if hashlib.sha256(name.encode()).digest()[-1] % 2}
    assert {name for name in names if not study.chosen_on(name)} == judged
    assert len(names) >= 30 and 15 <= len(judged) <= len(names) - 15
    assert sorted((task.network, study.object_of(task.image)) for task in montages) == sorted(
        (network, name) for network in ("xception", "resnet50") for name in judged
    )
    for task in montages:
        others = task.image.parents[1].glob(f"*/{study.object_of(task.image)}_[0-9]_*.jpg")
        assert task.image.stem == max(path.stem for path in others)
        assert {part["budget"] for part in task.parts.values()} == {250}
        assert set(task.parts) == set(METHODS) - {"shap"} | {OBJECT}
        others = list(task.arguments["backgrounds"])
        landscapes = {name.split("_")[-1] for name in others}
        assert len(landscapes) == 3 and task.image.name.split("_")[-1] not in landscapes
        assert all(study.chosen_on(study.object_of(name.split("/")[1])) for name in others)


def test_maps_and_their_regions_are_measured(montages):
    task = montages[0].only({"centre", "random", OBJECT})
    image, mask = load_image(task.image, 64), load_mask(task.image, 64)
    got = measure(task, Network(), image, mask)
    rows = {method: row for method, ([row], _) in got.items()}
    arrays = {method: own for method, (_, own) in got.items()}
    assert rows[OBJECT]["on_object"] == rows[OBJECT]["pointing_game"] == 1
    np.testing.assert_array_equal(arrays[OBJECT]["regions"], [mask])
    assert arrays["centre"]["regions"].mean() == pytest.approx(1 / 5, abs=0.001)
    assert rows["random"]["on_object"] == pytest.approx(mask.mean(), abs=0.05)
    for method, row in rows.items():
        assert arrays[method]["transplanted"].mean() == pytest.approx(row["transplanted"], rel=1e-5)
    label = task.arguments["label"]
    saliency = explain("centre", Network(), image, label, 250)
    expected = gains(Network(), image, label, saliency, steps=10)
    assert {key: rows["centre"][key] for key in expected} == pytest.approx(expected)


@pytest.mark.parametrize("whole, equal_to", [(True, "probability"), (False, "background")])
def test_a_region_of_everything_is_the_image_and_of_nothing_the_background(
    montages, whole, equal_to
):
    image = load_image(montages[0].image, 64)
    region = np.full(image.shape[:2], whole)
    ([row], _) = measure(montages[0].only({OBJECT}), Network(), image, region)[OBJECT]
    assert row["transplanted"] == pytest.approx(row[equal_to], rel=1e-3, abs=1e-6)


# Photographs, against the protocol


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder, images = tmp_path_factory.mktemp("photographs"), {}
    for number in range(7):
        # The same names in every class.
        path = folder / f"n{number % 3}" / f"photo_{number // 3}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiles(seed=number)).save(path)
        images.setdefault(path.parent.name, []).append(path)
    return images


def test_the_plan_is_the_protocols(photographs):
    tasks = study.photographs_tasks(Plan(photographs, PROFILES["full"]))
    runs = [task for task in tasks if task.table == "photographs_runs"]
    others = {"efficientnet_lite1", "efficientnet_lite2"}
    assert {task.network for task in runs} == {"xception", "resnet50"} | others
    names = [task.image.name for task in runs if task.network == "xception"]
    assert len(names) == 7
    assert names == sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    second = PROTOCOL[PROTOCOL.index("# Second part") :]
    for calls, number, methods, networks in study.PHOTOGRAPHS:
        what = f"*{calls:,} calls*" if networks == study.NETWORKS else "more networks"
        what = "*White-box references*" if methods == study.GRADIENTS else what
        assert f"{what} on the first {number}" in second, what
        for task in runs:
            if task.network in networks:
                wanted = [{"method": method, "budget": calls} for method in methods]
                assert all(part in task.parts.values() for part in wanted)
    assert "below .1 are not explained" in second and study.LIKELY == 0.1
    assert "ten portions" in second and study.PORTIONS == 10


def test_means_and_differences_are_over_photographs_also_of_one_name(photographs, tmp_path):
    plan = Plan(photographs, PROFILES["quick"])
    methods, arguments = [(80, ["centre", "random"])], {"portions": 10, "least_probability": 1e-9}
    tasks = [
        study.compared("photographs_runs", "xception", path, methods, ["gains"], **arguments)
        for path in plan.every
    ]
    results = measured("photographs", tasks, plan, NETWORKS, tmp_path)
    runs, means = study.photographed(results), results.table("photographs_means")
    assert runs["image"].nunique() == 7
    for row in means.query("measure == 'gain'").itertuples():
        own = runs[runs["method"] == row.method]
        assert row.n == 7 and row.mean == pytest.approx(own["gain"].mean())
    pair = results.table("photographs_pairs").query("first == 'centre' and measure == 'gain'")
    assert pair["images"].tolist() == [7]


def test_results_in_which_every_photograph_is_left_out_are_one_sentence(photographs, tmp_path):
    plan = Plan(photographs, PROFILES["quick"])
    where = "photographs_runs", "xception", plan.every[0]
    task = study.compared(*where, [(80, ["centre"])], ["gains"], least_probability=1.1)
    results = measured("photographs", [task], plan, NETWORKS, tmp_path)
    with pytest.raises(MissingResult, match="no photograph has a first guess .*0.1"):
        results.table("photographs_means")
