"""What all figures ask of the results: which networks and pictures there are, and the arrays of a row."""

from lab.networks.classes import class_name
from lab.images import list_images, load_image
from lab.study.results import MissingResult


def networks(results):
    """Names of the networks, in the study's order.

    Parameters
    ----------
    results : lab.study.results.Results

    Returns
    -------
    list of str
    """
    return list(dict.fromkeys(results.table("predictions")["network"]))


def pictures(results, kind=None):
    """The study's pictures, in its order.

    Parameters
    ----------
    results : lab.study.results.Results
    kind : str, optional
        Only those of this folder in ``data/``.

    Returns
    -------
    list of (str, str)
        Folder and file name without its ending.
    """
    found = list(
        dict.fromkeys(
            results.table("predictions")[["class", "picture"]].itertuples(index=False, name=None)
        )
    )
    return [picture for picture in found if kind in (None, picture[0])]


def elephant(results, number=0):
    """The first elephant, or the one with this number."""
    return pictures(results, "African_elephant")[number]


def bear(results):
    """The first bear."""
    return pictures(results, "black_bear")[0]


def image(picture, size=None):
    """A picture's pixels, from its folder and name.

    Parameters
    ----------
    picture : (str, str)
    size : int, optional
        As in `lab.images.load_image`.

    Returns
    -------
    (H, W, 3) uint8 array

    Raises
    ------
    lab.study.results.MissingResult
        If ``data/`` does not hold the picture.
    """
    kind, stem = picture
    try:
        path = next(path for path in list_images(kind) if path.stem == stem)
    except (StopIteration, ValueError):
        raise MissingResult(
            f"there is no picture {kind}/{stem} in data/, on which the results were measured: make study measures those that there are"
        ) from None
    return load_image(path, size)


def size(results, network, picture):
    """The side length at which a network gets a picture, in pixels."""
    key = of(results.table("lime_runs"), network, picture, seed=0)["key"].iloc[0]
    return len(results.array("lime_runs", key, "segments"))


def of(table, network=None, picture=None, **values):
    """The rows of a table that are about a network, a picture, and columns' values.

    Parameters
    ----------
    table : pandas.DataFrame
    network : str, optional
    picture : (str, str), optional
    **values
        Of other columns.

    Returns
    -------
    pandas.DataFrame
        With a column "index": the row's place among those that share its key, as its arrays have it.
    """
    if "key" in table:
        table = table.assign(index=table.groupby("key", sort=False).cumcount())
    if network is not None:
        table = table[table["network"] == network]
    if picture is not None:
        table = table[(table["class"] == picture[0]) & (table["picture"] == picture[1])]
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def told(label):
    """A class's name as people write it."""
    return class_name(int(label)).replace("_", " ")
