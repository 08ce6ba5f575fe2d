from lab.images import DATA, list_images
from lab.show.reading import measured, name_of


def test_an_image_is_named_by_its_path_below_data_or_its_file(tmp_path, monkeypatch):
    first = list_images("black_bear")[0]
    assert name_of(first) == f"black_bear/{first.name}"
    monkeypatch.chdir(DATA)
    assert name_of(f"black_bear/{first.name}") == f"black_bear/{first.name}"
    assert name_of(tmp_path / "own\n.jpg") == "own\\n.jpg"


def test_a_study_is_about_its_images_and_others_are_measured_by_a_command(results, tmp_path):
    elephant, *_, last = list_images("African_elephant")
    other = tmp_path / "other.jpg"
    other.write_bytes(b"")
    for study in ("lime", "rise", "evaluation"):
        line = measured(results, study, other)
        command = "python -m lab.study evaluation" if study == "evaluation" else "make study"
        assert "other images than other.jpg" in line and line.endswith(f"run {command}.")
        assert "this image" in measured(results, study, elephant)
    # RISE's study is about the first elephant and the first bear.
    assert "this image" in measured(results, "lime", last)
    assert "other images than African_elephant/" in measured(results, "rise", last)
