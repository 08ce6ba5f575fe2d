import pytest

from lab.networks.classes import BEARS, ELEPHANTS, class_index, class_name


def test_class_names_are_those_of_keras():
    known = {0: "tench", 607: "jack-o'-lantern", 999: "toilet_tissue"}
    assert {index: class_name(index) for index in known} == known
    elephants = {386: "African_elephant", 385: "Indian_elephant", 101: "tusker"}
    assert {index: class_name(index) for index in ELEPHANTS} == elephants
    bears = {295: "American_black_bear", 294: "brown_bear", 297: "sloth_bear"}
    assert {index: class_name(index) for index in BEARS} == bears


@pytest.mark.parametrize("index", [1000, -1])
def test_no_class_has_another_number(index):
    with pytest.raises(ValueError, match=f"0 to 999, got {index}"):
        class_name(index)


def test_a_class_is_found_by_number_identifier_and_any_of_its_names():
    for name in ("African_elephant", "african elephant", "386", "n02504458"):
        assert class_index(name) == 386
    assert [class_index(name) for name in ("cardigan", "Cardigan", "black_bear")] == [474, 264, 295]
    assert {class_index(name) for name in ("1000", "-1", "elefant", "")} == {None}


@pytest.mark.parametrize("name", ["crane", "panther"])
def test_a_name_of_several_classes_is_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' names the classes .* use the number"):
        class_index(name)


def test_names_and_numbers_go_both_ways():
    for index in range(1000):
        if class_name(index) not in ("crane", "maillot"):
            assert class_index(class_name(index)) == index
