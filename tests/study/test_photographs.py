"""The study of photographs, against its protocol."""

import hashlib
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from cheap import Network, tiles
from PIL import Image
from scipy.stats import spearmanr

from lab.files import ROOT
from lab.measure.curves import gains
from lab.measure.effects import EFFECTS_ON
from lab.methods.masked_model import superpixels
from lab.methods.registry import METHODS, explain
from lab.methods.setting import Setting
from lab.study import photographs
from lab.study.__main__ import main
from lab.study.lime import settings_task
from lab.study.profile import PROFILES
from lab.study.results import Results
from lab.study.settings import LAB_PARAMETERS, LAB_SETTINGS

PROTOCOL = (ROOT / "report" / "protocol.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(7):
        path = folder / "verdict" / f"n{number % 3}" / f"photo_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiles(seed=number)).save(path)
    return folder


def test_the_plan_is_the_protocols(folder):
    plan = photographs.tasks(folder, PROFILES["study"])
    names = [path.name for path in photographs.photographs(folder)]
    assert names == sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    others = set(photographs.MORE_NETWORKS)
    assert len(names) == 7 and {task.network for task in plan} == {"xception", "resnet50"} | others
    second = PROTOCOL[PROTOCOL.index("# Second part") :]
    for budget, number, methods, networks in photographs.PLAN:
        what = f"*{budget:,} calls*" if networks == photographs.NETWORKS else "more networks"
        what = "*White-box references*" if methods == photographs.GRADIENTS else what
        assert f"{what} on the first {number}" in second, what
        assert set(methods) <= set(METHODS)
    assert "below .1 are not explained" in second and photographs.LIKELY == 0.1
    assert "ten portions" in second and photographs.STEPS == 10


def test_a_photograph_is_explained_for_the_first_guess():
    network, image = Network(input_size=64, cached=True), tiles(4, 4)
    rows, _ = photographs.runs_task(network, image, None, ["occlusion", "centre"], 100)
    label, name, probability = network.top(image, 1)[0]
    assert [row["method"] for row in rows] == ["occlusion", "centre"]
    for row in rows:
        assert (row["label"], row["predicted"], row["probability"]) == (label, name, probability)
        saliency = explain(row["method"], network, image, label, 100)
        expected = gains(network, image, label, saliency, steps=10)
        assert {key: row[key] for key in expected} == expected


def test_an_unsure_first_guess_is_not_explained(monkeypatch):
    monkeypatch.setattr(photographs, "LIKELY", 1.1)
    network = Network(input_size=64)
    rows, _ = photographs.runs_task(network, tiles(4, 4), None, ["occlusion"], 100)
    assert [row["method"] for row in rows] == [""] and network.calls == 1


def test_a_photograph_with_more_superpixels_than_calls_is_left_out():
    network, image = Network(input_size=64), tiles(4, 4)
    n = superpixels(image).max() + 1
    listed = [({}, asdict(Setting(num_samples=count))) for count in (n - 1, 100)]
    for rows, _ in (
        photographs.runs_task(network, image, None, ["lime"], n),
        photographs.runs_task(network, image, None, ["shap"], 4 * n),
        photographs.seeds_task(network, image, None, ["lime"], n),
        photographs.lime_task(network, image, None, listed, 100),
    ):
        assert len(rows) == 1 and not rows[0].get("method") and not rows[0].get("parameter")
    assert network.calls == 4


def test_results_in_which_every_photograph_is_left_out_are_one_sentence(tmp_path):
    (tmp_path / "photographs_runs.csv").write_text("network,picture,calls,method\na,b,250,\n")
    (tmp_path / "photographs_lime.csv").write_text("network,picture,parameter\na,b,\n")
    with pytest.raises(ValueError, match="every photograph is left out.*0.1"):
        photographs.derive(Results(tmp_path))


def test_maps_of_two_seeds_are_compared():
    network, image = Network(input_size=64, cached=True), tiles(4, 4)
    rows, _ = photographs.seeds_task(network, image, None, ["rise", "occlusion"], 100)
    label = network.top(image, 1)[0][0]
    maps = [explain("rise", network, image, label, 100, seed) for seed in (0, 1)]
    assert rows[0]["rank_correlation"] == pytest.approx(spearmanr(*map(np.ravel, maps))[0])
    assert rows[1]["rank_correlation"] == pytest.approx(1)  # occlusion draws nothing


def test_the_settings_of_lime_have_fewer_samples_and_are_compared_by_seed():
    settings = photographs.lime_settings(PROFILES["study"])
    full = {name: setting.num_samples for name, setting in LAB_SETTINGS.items()}
    for name, num_samples in full.items():
        assert settings["setting", name].num_samples == num_samples // 4
    assert settings["setting", "recommended"].hide_color == "blur"
    assert {name for name, _ in settings} == {*LAB_PARAMETERS, "setting"}
    network, image = Network(input_size=64, cached=True), tiles(4, 4)
    some = [
        (
            {"parameter": "p", "value": "v", "seed": seed},
            {"num_samples": 60, "seed": seed, "num_superpixels": 5},
        )
        for seed in (0, 1)
    ]
    rows, arrays = photographs.lime_task(network, image, None, some, 20)
    _, made = settings_task(network, image, None, some, 20, ["weights", "chosen"])
    both, either = np.logical_and(*made["chosen"]).sum(), np.logical_or(*made["chosen"]).sum()
    assert [row["jaccard"] for row in rows] == pytest.approx([both / either] * 2)
    assert rows[0]["rank_correlation"] == pytest.approx(spearmanr(*made["weights"])[0])
    assert not arrays and np.isnan(rows[0]["iou"])


def test_means_and_differences_are_over_photographs(tmp_path):
    rng, rows = np.random.default_rng(0), []
    for photo in range(12):
        for method, more in (("owen", 0.2), ("rise", 0.0)):
            about = {"network": "N", "class": "c", "picture": f"p{photo}", "calls": 250}
            gain = dict(zip(photographs.GAINS, rng.normal(more, 0.01, 3)))
            rows.append(about | {"method": method} | gain)
    rows.append({"network": "N", "class": "c", "picture": "unsure", "calls": 250, "method": ""})
    pd.DataFrame(rows).to_csv(tmp_path / "photographs_runs.csv", index=False)
    settings = [{"parameter": "p", "value": "v"}, {"parameter": "setting", "value": "0"}]
    settings += [{"parameter": "setting", "value": "recommended"}, {"parameter": ""}]
    about = {"network": "N", "class": "c", "seed": 0} | dict.fromkeys(EFFECTS_ON, 0.5)
    lime = [
        about | setting | {"picture": f"p{photo}"} for photo in range(4) for setting in settings
    ]
    pd.DataFrame(lime).to_csv(tmp_path / "photographs_lime.csv", index=False)
    derived = photographs.derive(Results(tmp_path))
    assert set(derived["photographs_effects"]["parameter"]) == {"p"}
    assert set(derived["photographs_recommended"]["setting"].astype(str)) == {"0"}
    mean = derived["photographs_means"].set_index(["method", "measure"]).loc[("owen", "gain")]
    values = [np.mean([row[key] for key in photographs.GAINS]) for row in rows[:-1:2]]
    assert mean["mean"] == pytest.approx(np.mean(values)) and mean["n"] == 12
    pair = derived["photographs_pairs"].query("first == 'owen' and measure == 'gain'").iloc[0]
    assert pair["low"] > 0.15 and pair["pictures"] == 12


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["photographs"], "name their folder with --folder"),
        (["lime", "--folder", "x"], "no folder for another study"),
        (["photographs", "--folder", "nowhere"], "no photographs in nowhere"),
    ],
)
def test_a_folder_that_is_missing_is_named(arguments, message, monkeypatch, capsys):
    monkeypatch.setenv("LAB_PROFILE", "quick")
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert message in f"{stopped.value.code} {capsys.readouterr().err}"
