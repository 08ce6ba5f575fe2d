import itertools

import pandas as pd


def crossed(value, images=3, settings="abcd", seeds=2):
    """A table of "iou" for two networks, images of two classes, settings and seeds."""
    places = itertools.product("NM", "EB", range(images), settings, range(seeds))
    rows = [(network, kind, f"{kind}{n}", *rest) for network, kind, n, *rest in places]
    table = pd.DataFrame(rows, columns=["network", "class", "image", "setting", "seed"])
    return table.assign(iou=[value(*row) for row in rows])
