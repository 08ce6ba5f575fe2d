"""The order of pixels by salience."""

import numpy as np


def ranks(saliency):
    """Rank each value of a map: 0 for the highest; equal ones go row by row.

    Parameters
    ----------
    saliency : array
        Of any number type: an unsigned one would wrap around where it is negated.

    Returns
    -------
    array of int64
        Of the same shape.
    """
    order = np.argsort(-np.asarray(saliency, np.float64), axis=None, kind="stable")
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    return rank.reshape(np.shape(saliency))
