"""Whether a map changes when the network's weights become random."""

import itertools

import numpy as np
import pandas as pd
from skimage.metrics import structural_similarity

from lab.measure.agreement import constant, rank_correlation


def sanity(explainers, black_box, image, label, layers=None):
    """Agreement of maps with those of the network with random upper layers [1]_.

    A map that stays the same shows the image, not what the network makes of it.

    Parameters
    ----------
    explainers : dict of str to callable
        By method: ``explainer(black_box, image, label)`` returns a map (H, W), at least
        7 x 7. All explain a random network before the next one is made.
    black_box : lab.networks.blackbox.BlackBox
    image : (H, W, 3) uint8 array
    label : int
    layers : iterable of int, optional
        How many of the topmost layers are random, from 1 to all; by default 1, 2, 4, 8
        and so on, and all.

    Returns
    -------
    pandas.DataFrame
        A row for each method and each of `layers`: "method", "layers", "network" (the
        random network's name), "rank_correlation" of the two maps (in [-1, 1]; NaN when
        one of them is constant) and "ssim", the structural similarity of the maps
        scaled to [0, 1] (in [-1, 1]; 1 only for equal ones). **Lower is better**, best
        is 0. The measurement "sanity" is the mean of the correlation's absolute value:
        a map turned into its negative is still the same pattern.

    References
    ----------
    .. [1] Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
    """
    n = black_box.n_layers
    layers = [*(2**k for k in range(n) if 2**k < n), n] if layers is None else list(layers)
    if not layers or not all(1 <= count <= n for count in layers):
        raise ValueError(f"layers must be from 1 to the {n} layers of the network, got {layers}")

    def maps(network):
        return {name: explainer(network, image, label) for name, explainer in explainers.items()}

    intact, rows = maps(black_box), {method: [] for method in explainers}
    for count in layers:
        random = black_box.randomized(count)
        for method, saliency in maps(random).items():
            both = intact[method], saliency
            ssim = float(structural_similarity(*map(_scaled, both), data_range=1))
            row = method, count, random.name, rank_correlation(*both), ssim
            rows[method].append(row)
    columns = ["method", "layers", "network", "rank_correlation", "ssim"]
    return pd.DataFrame(itertools.chain(*rows.values()), columns=columns)


def _scaled(saliency):
    if constant(saliency):
        return np.zeros(saliency.shape)
    saliency = saliency.astype(float) - saliency.min()
    return saliency / saliency.max()
