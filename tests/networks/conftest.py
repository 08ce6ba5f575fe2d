import pytest

from lab.networks import converted, prediction_cache, runtime


@pytest.fixture(autouse=True, scope="session")
def converted_once(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converted, "CONVERTED", tmp_path_factory.mktemp("networks"))
        yield


@pytest.fixture(autouse=True)
def nothing_predicted_or_printed_yet(monkeypatch, tmp_path):
    runtime.print_once.cache_clear()
    monkeypatch.setattr(prediction_cache, "FILE", tmp_path / "cache" / "predictions.sqlite")
