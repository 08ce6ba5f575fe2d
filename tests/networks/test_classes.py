import pytest

from lab.networks.classes import BEARS, ELEPHANTS, class_index, class_name


def test_class_names_are_those_of_keras():
    known = {0: "tench", 607: "jack-o'-lantern", 999: "toilet_tissue"}
    assert {index: class_name(index) for index in known} == known
    assert [*map(class_name, ELEPHANTS)] == ["African_elephant", "Indian_elephant", "tusker"]
    assert [*map(class_name, BEARS)] == ["American_black_bear", "brown_bear", "sloth_bear"]
    for index in (1000, -1):
        with pytest.raises(ValueError, match=f"0 to 999, got {index}"):
            class_name(index)


def test_a_class_is_found_by_number_identifier_and_any_of_its_names():
    for name in ("African_elephant", "african elephant", "386", "n02504458"):
        assert class_index(name) == 386
    assert [class_index(name) for name in ("cardigan", "Cardigan", "black_bear")] == [474, 264, 295]
    assert {class_index(name) for name in ("1000", "-1", "elefant", "")} == {None}
    for name in ("crane", "panther"):
        with pytest.raises(ValueError, match=f"'{name}' names the classes .* use the number"):
            class_index(name)
    unique = [index for index in range(1000) if class_name(index) not in ("crane", "maillot")]
    assert [class_index(class_name(index)) for index in unique] == unique
