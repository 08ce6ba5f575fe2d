import numpy as np
import pytest
from cheap import Network, tiles

from lab.measure.agreement import rank_correlation
from lab.measure.intervals import mean_interval
from lab.networks.classes import class_name
from lab.study import rise as study
from lab.study.results import MissingResult, Results, small
from rise import Rise, generate_masks, perturb

STUDY = "rise", study.tasks
IMAGE = tiles(4, 4)
MASK = np.zeros((64, 64), bool)
MASK[10:40, :30] = True


@pytest.mark.parametrize("n, p", [(64, 0.5), (51, 0.3), (2, 0.5)])
def test_runs_are_the_average_and_its_halves_and_cost_no_more(n, p):
    network = Network()
    rows, arrays = study.runs_task(network, IMAGE, MASK, [386, 101], n, 4, p)
    assert network.calls == n and [row["label"] for row in rows] == [386, 101]
    masks = generate_masks(0, n, IMAGE.shape, 4, p)
    scores = Network()(perturb(IMAGE, masks)).astype(float)
    for row, saved in zip(rows, arrays["maps"], strict=True):
        weighted = scores[:, row["label"], None, None] * masks
        saliency = weighted.mean(axis=0) / p
        np.testing.assert_allclose(saved, small(saliency), rtol=2e-3)
        halves = weighted[: n // 2].sum(axis=0), weighted[n // 2 :].sum(axis=0)
        contrast = saliency[MASK].mean() - saliency[~MASK].mean()
        assert row == {
            "label": row["label"],
            "predicted": class_name(row["label"]),
            "nb_samples": n,
            "grid_size": 4,
            "preservation_probability": p,
            "lowest": pytest.approx(saliency.min(), rel=1e-4),
            "highest": pytest.approx(saliency.max(), rel=1e-4),
            "contrast": pytest.approx(contrast, rel=1e-3, abs=1e-6),
            "pointing_game": MASK.flat[saliency.argmax()],
            "halves": pytest.approx(rank_correlation(*halves), abs=2e-3),
        }
    [row], _ = study.runs_task(network, IMAGE, None, [386], n, 4, p)
    assert [name for name, value in row.items() if value != value] == ["contrast", "pointing_game"]


def test_steps_are_the_scores_of_the_first_masks():
    rows, arrays = study.steps_task(Network(), IMAGE, None, 386)
    expected = Network()(perturb(IMAGE, generate_masks(0, 32, IMAGE.shape)))[:, 386]
    assert arrays == {} and [row["mask"] for row in rows] == list(range(32))
    np.testing.assert_allclose([row["score"] for row in rows], expected, rtol=1e-6)


def test_estimators_are_compared_with_other_masks():
    network = Network(cached=True)
    rows, _ = study.estimators_task(network, IMAGE, None, 386, [32, 64], 96)
    assert network.calls == 96 + 64 + 32  # the regression shares every other mask
    long = Rise(Network(), nb_samples=96, seed=1, estimator="average")
    [truth] = long.estimate(IMAGE, [386]).saliency
    assert [(row["estimator"], row["calls"], row["reference_masks"]) for row in rows] == [
        (estimator, n, 96) for estimator in ("average", "regression") for n in (32, 64)
    ]
    for row in rows:
        short = Rise(Network(), nb_samples=row["calls"], estimator=row["estimator"])
        result = short.estimate(IMAGE, [386])
        agreement = rank_correlation(result.saliency[0], truth)
        assert row["rank_correlation"] == pytest.approx(agreement, abs=1e-3)


def test_a_tighter_tolerance_stops_later():
    rows, _ = study.stopping_task(Network(), IMAGE, None, 386, [10.0, 1e-6], 260, 64)
    loose, tight = rows
    assert loose["calls"] < tight["calls"] == 260
    assert 1e-6 < tight["relative_error"] <= loose["relative_error"] < 10


# The study


def test_the_map_of_an_animal_is_that_of_the_sum_of_its_classes():
    network = Network()
    [row], arrays = study.networks_task(network, IMAGE, None, [386, 101], 60, 4)
    options = {"nb_samples": 60, "grid_size": 4, "estimator": "average"}
    both = Rise(Network(), **options).explain_classes(IMAGE, [386, 101]).sum(axis=0)
    assert row["lowest"] == pytest.approx(both.min(), rel=1e-4)
    assert arrays["maps"].shape == (1, 28, 28)
    np.testing.assert_allclose(arrays["maps"][0], small(both, 28), rtol=2e-3)
    first = Rise(Network(), **options | {"nb_samples": 30}).explain_classes(IMAGE, [386, 101])
    halves = rank_correlation(first.sum(axis=0), 2 * both - first.sum(axis=0))
    assert row["halves"] == pytest.approx(halves, abs=1e-3)
    # Without classes, the first guess.
    [row], _ = study.networks_task(network, IMAGE, None, None, 60, 4)
    own = Rise(Network(), **options).explain_classes(IMAGE, row["label"])[0]
    assert row["label"] == network.top(IMAGE, 1)[0][0]
    assert row["highest"] == pytest.approx(own.max(), rel=1e-4)


def test_the_agreement_of_maps(results):
    table, runs = results.table("rise_agreement"), results.table("rise_networks")
    maps = {
        (row.network, row.image): results.array("rise_networks", row.key, "maps")[0].astype(float)
        for row in runs.itertuples()
    }
    first, second, bear = runs["image"].unique()
    table = table.set_index("image")
    for image, other in ((first, second), (second, first)):
        expected = [
            rank_correlation(maps["First", image], maps["Second", one]) for one in (image, other)
        ]
        assert table.loc[image, ["networks", "other_images"]].tolist() == pytest.approx(expected)
    assert np.isnan(table.loc[bear, "other_images"])
    alike = results.table("rise_alike").set_index(["class", "network", "measure"])["mean"]
    halves = runs.groupby(["class", "network"])["halves"].mean()
    for kind, network in halves.index:
        assert alike[kind, network, "halves"] == pytest.approx(halves[kind, network])
    elephants = table.loc[[first, second]]
    closer = (elephants["networks"] - elephants["other_images"]).mean()
    assert alike["African_elephant", np.nan, "closer"] == pytest.approx(closer)


def test_the_most_salient_places_are_those_that_were_noted(results, tmp_path):
    with pytest.raises(MissingResult, match="rise_places.csv is missing"):
        results.table("rise_places")
    read = "network,image,place\n" + "".join(
        f"{network},African_elephant/{number}.jpg,{place}\n"
        for network, places in (("First", "head head beside head"), ("Second", "body " * 4))
        for number, place in enumerate(places.split())
    )
    (tmp_path / "rise_places.csv").write_text(read)
    found = study.places(Results(tmp_path)).set_index(["network", "measure"])
    assert found.loc[("First", "head"), "mean"] == 0.75
    assert tuple(found.loc[("First", "head"), ["low", "high"]]) == mean_interval([1, 1, 0, 1])
    assert found.loc[("Second", "head"), "mean"] == 0 and set(found["class"]) == {
        "African_elephant"
    }


def test_both_networks_explain_the_classes_of_each_animal(plan):
    runs = [task for task in study.tasks(plan) if task.table == "rise_runs"]
    most = plan.samples(2000)
    runs = [task for task in runs if (task.calls, task.arguments["grid_size"]) == (most, 7)]
    runs = [task for task in runs if task.arguments["preservation_probability"] == 0.5]
    assert [(task.network, task.name, task.arguments["classes"]) for task in runs] == [
        (network, *animal)
        for animal in (
            ("African_elephant/first.png", [386, 101, 385]),
            ("black_bear/only.png", [295, 294]),
        )
        for network in ("xception", "resnet50")
    ]


def test_another_kind_of_image_has_the_class_of_its_folder(plan):
    other = plan._replace(images={"zebra": plan.every[:1]})
    others = [path.parent.with_name("zebra") / path.name for path in plan.every[:1]]
    tasks = study.tasks(other._replace(images={"zebra": others}))
    assert all(task.arguments["classes"] == [340] for task in tasks if task.table == "rise_runs")
