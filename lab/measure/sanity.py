"""Whether a map changes when the network's weights become random."""

import itertools

import pandas as pd

from lab.measure.agreement import rank_correlation


def sanity(explainers, black_box, image, label, layers=None):
    """Agreement of maps with those of the network with random upper layers [1]_.

    A map that stays the same shows the image, not what the network makes of it.

    Parameters
    ----------
    explainers : dict of str to callable
        By method: ``explainer(black_box, image, label)`` returns a map (H, W). All
        explain a random network before the next one is made.
    black_box : lab.networks.blackbox.BlackBox
    image : (H, W, 3) uint8 array
    label : int
    layers : iterable of int, optional
        How many of the topmost layers are random, from 1 to all; by default 1, 2, 4, 8
        and so on, and all.

    Returns
    -------
    pandas.DataFrame
        A row for each method and each of `layers`: "method", "layers" and
        "rank_correlation" of the two maps, in [-1, 1]; NaN when one of them is
        constant. The measurement "sanity" is the mean of its absolute value, as a map
        turned into its negative is still the same pattern: **lower is better**.

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
        for method, saliency in maps(black_box.randomized(count)).items():
            rows[method].append((method, count, rank_correlation(intact[method], saliency)))
    columns = ["method", "layers", "rank_correlation"]
    return pd.DataFrame(itertools.chain(*rows.values()), columns=columns)
