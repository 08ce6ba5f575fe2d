import pytest

from lab.networks import converted, prediction_cache


@pytest.fixture(autouse=True, scope="session")
def converted_once(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converted, "FOLDER", tmp_path_factory.mktemp("networks"))
        yield


@pytest.fixture(autouse=True)
def no_predictions_yet(monkeypatch, tmp_path):
    monkeypatch.setattr(prediction_cache, "FILE", tmp_path / "cache" / "predictions.sqlite")


@pytest.fixture(scope="session")
def real_graphs(tmp_path_factory):
    """A folder for LAB_WEIGHTS, and the Keras networks by name."""
    from real_graphs import write_real_graphs

    folder = tmp_path_factory.mktemp("weights")
    return folder, write_real_graphs(folder)
