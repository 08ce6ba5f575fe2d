"""Whether a map changes when the network forgets what it has learned."""

import functools
import itertools

import numpy as np
import pandas as pd
from skimage.metrics import structural_similarity

from lab.measure.agreement import rank_correlation


def sanity(explain, black_box, image, label, layers=None, seed=0):
    """How alike a network's map is to maps of the same network with random upper layers.

    A network whose upper layers are random knows nothing of the class. A map that stays the same shows
    the picture, not what the network makes of it.

    Parameters
    ----------
    explain : callable
        ``explain(black_box, image, label)`` returns a map (H, W), at least 7 x 7.
    black_box : lab.networks.blackbox.BlackBox
    image : (H, W, 3) uint8 array
    label : int
    layers : iterable of int, optional
        How many of the topmost layers are random; by default 1, 2, 4, 8 and so on, and all.
    seed : int, optional
        Of the randomization.

    Returns
    -------
    pandas.DataFrame
        A row for each of `layers`: "layers", "network" (the random network's name), "rank_correlation"
        of the two maps (Spearman's, in [-1, 1]; NaN when one of them is constant) and "ssim", the
        structural similarity of the maps scaled to [0, 1] (in [-1, 1]; 1 only for equal ones). **Lower
        is better**, best is 0. The measurement "sanity" is the mean of the correlation's absolute value:
        a map turned into its negative is still the same pattern.

    Raises
    ------
    ValueError
        If there are not as many layers.

    References
    ----------
    .. [1] Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
    .. [2] Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
           Transactions on Image Processing 2004.
    """
    if layers is None:
        layers = [
            *itertools.takewhile(
                lambda n: n < black_box.n_layers, (2**k for k in itertools.count())
            ),
            black_box.n_layers,
        ]
    layers = list(layers)
    if not layers or not all(1 <= n <= black_box.n_layers for n in layers):
        raise ValueError(
            f"layers must be from 1 to the {black_box.n_layers} layers of the network, got {layers}"
        )
    intact = explain(black_box, image, label)
    rows = []
    for n in layers:
        random = _randomized(black_box, n, seed)
        saliency = explain(random, image, label)
        rows.append(
            {
                "layers": n,
                "network": random.name,
                "rank_correlation": rank_correlation(np.ravel(intact), np.ravel(saliency)),
                "ssim": float(
                    structural_similarity(_scaled(intact), _scaled(saliency), data_range=1)
                ),
            }
        )
    return pd.DataFrame(rows)


@functools.lru_cache(
    maxsize=8
)  # all that one network needs by default, for one method after another
def _randomized(black_box, layers, seed):
    return black_box.randomized(layers, seed)


def _scaled(saliency):
    saliency = np.asarray(saliency, float) - np.min(saliency)
    return saliency / (saliency.max() or 1)
