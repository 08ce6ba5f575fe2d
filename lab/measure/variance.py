"""Where measurements of LIME vary, and what a steadier sampling saves."""

import itertools

import numpy as np
import pandas as pd

SOURCES = {
    "network": ("network",),
    "data": ("class", "picture"),
    "setting": ("setting",),
    "network x data": ("network x class", "network x picture"),
    "data x setting": ("class x setting", "picture x setting"),
    "network x setting (x data)": (
        "network x setting",
        "network x class x setting",
        "network x picture x setting",
    ),
    "seed": ("seed",),
}
"""How the parts of the analysis of variance are put together, to compare the data with the network."""


def variance_shares(table, measures):
    """How much of each measurement's variance is due to setting, picture, class, network, and together.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for every network with every picture, setting and seed: "network", "class", "picture", "setting", "seed"
        and the measurements.
    measures : iterable of str
        Keys of `lab.measure.measurements.MEASUREMENTS`.

    Returns
    -------
    pandas.DataFrame
        Indexed by measurement, a column for each source: "network", "class", "picture" (within its
        class), "setting", their interactions, such as "class x setting", and "seed" (what runs that
        differ in the seed only differ by). Shares of the variance components, which add up to 1. A
        source that the table has one level of, as with one seed, is none in this table: 0. NaN for a
        measurement that is constant or missing somewhere.

    Raises
    ------
    ValueError
        If a combination is missing: the sources could not be told apart.

    Notes
    -----
    The components are those of the model with random effects, estimated from the mean squares; a
    negative estimate counts as 0. Unlike shares of the sum of squares they do not grow with the number
    of levels, so that six pictures get no larger share than two networks for being more. Classes
    with different numbers of pictures are treated as if each had the mean number.

    References
    ----------
    .. [1] Searle, Casella, McCulloch, "Variance Components", 1992, chapter 4.
    """
    # Two classes may have pictures of the same name.
    table = table.assign(picture=table["class"] + "/" + table["picture"])
    counts = table.groupby(["network", "picture", "setting"]).size()
    expected = table["network"].nunique() * table["picture"].nunique() * table["setting"].nunique()
    if len(counts) != expected or counts.nunique() != 1:
        raise ValueError(
            f"every network, picture and setting must have been run together with the same number of seeds: "
            f"expected {expected} combinations, got {len(counts)} with {counts.min()} to {counts.max()} seeds"
        )
    return pd.DataFrame(
        {measure: _shares(table, table[measure].astype(float)) for measure in measures}
    ).T.rename_axis("measure")


def _shares(table, values):
    levels = {
        factor: table[factor].nunique() for factor in ("network", "class", "picture", "setting")
    }
    freedom = {factor: n - 1 for factor, n in levels.items()}
    freedom["picture"] = levels["picture"] - levels["class"]
    sources = [
        source
        for size in (1, 2, 3)
        for source in itertools.combinations(levels, size)
        if not {"class", "picture"} <= set(source)  # a picture has one class
    ]

    def within(source):
        """The factors that tell the levels of a source apart: a picture's class is among them."""
        return set(source) | ({"class"} if "picture" in source else set())

    def mean_over(factors):
        return values.groupby([table[factor] for factor in factors]).transform("mean")

    effects, squares = {}, {}
    for source in sorted(sources, key=lambda source: len(within(source))):
        coarser = [effect for other, effect in effects.items() if within(other) < within(source)]
        effects[source] = mean_over(source) - values.mean() - sum(coarser)
        degrees = np.prod([freedom[factor] for factor in source])
        squares[source] = (effects[source] ** 2).sum() / degrees if degrees else 0.0

    cells = levels["network"] * levels["picture"] * levels["setting"]
    seed_freedom = len(values) - cells
    noise = (
        ((values - mean_over(("network", "picture", "setting"))) ** 2).sum() / seed_freedom
        if seed_freedom
        else 0.0
    )
    components = {}
    for source in sorted(sources, key=lambda source: -len(within(source))):
        finer = [other for other in components if within(other) > within(source)]
        rest = noise + sum(
            len(values) / _n_levels(other, levels) * components[other] for other in finer
        )
        component = (squares[source] - rest) * _n_levels(source, levels) / len(values)
        # Rounding leaves a trace where there is nothing.
        components[source] = component if component > 1e-12 * values.var() else 0.0
    shares = {" x ".join(source): components[source] for source in sources} | {"seed": noise}
    total = sum(shares.values())
    tells = total > 0 and not values.isna().any()
    return {source: share / total if tells else float("nan") for source, share in shares.items()}


def _n_levels(source, levels):
    return np.prod([levels[factor] for factor in source])


def grouped(shares):
    """The parts of the analysis of variance put together as `SOURCES` says.

    Parameters
    ----------
    shares : pandas.DataFrame
        Of `variance_shares`.

    Returns
    -------
    pandas.DataFrame
        A row for each measurement that varies: "measure", and a column for each of `SOURCES`, which add up to 1.
    """
    parts = pd.DataFrame(
        {name: shares[list(columns)].sum(axis=1) for name, columns in SOURCES.items()}
    )
    return parts[shares.notna().all(axis=1)].reset_index()


def savings(table):
    """How many times fewer perturbations balanced sampling needs to be as stable as LIME's own.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a run: "sampling" ("lime" or "balanced"), "num_samples" and "rank_correlation".

    Returns
    -------
    pandas.DataFrame
        A row for each number of samples of the balanced sampling: "num_samples"; the mean rank correlation
        over seeds, "balanced" and, at as many samples, "lime"; "lime_needs", the number with which LIME's
        sampling gets as stable as the balanced one (interpolated on the logarithm; infinite when no number in
        the table is enough); and "ratio".
    """
    curves = table.groupby(["sampling", "num_samples"])["rank_correlation"].mean()
    stock, balanced = curves["lime"], curves["balanced"]
    # Noise may make a curve of means dip; the need is the first count from which on it is reached.
    reached = np.minimum.accumulate(stock.to_numpy()[::-1])[::-1]
    needs = [
        np.inf
        if value > reached[-1]
        else np.exp(np.interp(value, reached, np.log(stock.index.to_numpy(float))))
        for value in balanced
    ]
    result = pd.DataFrame(
        {"balanced": balanced, "lime": stock.reindex(balanced.index), "lime_needs": needs}
    )
    result["ratio"] = result["lime_needs"] / result.index
    return result.reset_index()


CHANGES = {
    "another seed": ("seed",),
    "the other network": ("network",),
    "another setting": ("setting",),
    "another picture of the same class": ("picture",),
    "a picture of the other class": ("class", "picture"),
}
"""What two runs may differ in, everything else being alike."""


def distances(table, measures):
    """How far measurements move when one thing is changed.

    Parameters
    ----------
    table : pandas.DataFrame
        As for `variance_shares`.
    measures : iterable of str
        Keys of `lab.measure.measurements.MEASUREMENTS`.

    Returns
    -------
    pandas.DataFrame
        A row for each measurement that varies and is nowhere missing, and each of `CHANGES`: "measure", "change", and "distance", the mean
        absolute difference of two runs that differ in this only, divided by that of two runs drawn at random: 0 is no change, 1 is
        to know nothing of a run from the other. NaN where no two runs differ in this only.
    """
    factors = ["seed", "network", "setting", "class", "picture"]
    table = table.assign(picture=table["class"] + "/" + table["picture"])
    codes = np.stack([pd.factorize(table[factor])[0] for factor in factors], axis=1)
    first, second = np.triu_indices(len(table), 1)
    differ = codes[first] != codes[second]
    pairs = {
        name: (differ == [factor in changed for factor in factors]).all(axis=1)
        for name, changed in CHANGES.items()
    }
    rows = []
    for measure in measures:
        values = table[measure].to_numpy(float)
        far = np.abs(values[first] - values[second])
        if np.isfinite(values).all() and far.any():
            rows += [
                {
                    "measure": measure,
                    "change": name,
                    "distance": far[among].mean() / far.mean() if among.any() else float("nan"),
                }
                for name, among in pairs.items()
            ]
    return pd.DataFrame(rows, columns=["measure", "change", "distance"])
