"""What measurements of LIME vary with, and what a more balanced sampling saves."""

import itertools

import numpy as np
import pandas as pd

from lab.measure.agreement import constant

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
"""How `grouped` adds up the parts of the variance, to compare data and network."""

FACTORS = "network", "class", "picture", "setting"


def variance_shares(table, measures):
    """Shares of each measurement's variance due to network, image, setting and seed.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for every network with every image, setting and seed (no combination may
        be missing): "network", "class", "picture" (the image), "setting", "seed" and
        the measurements.
    measures : iterable of str

    Returns
    -------
    pandas.DataFrame
        Indexed by measurement, a column for each source: "network", "class", "picture"
        (within its class), "setting", their interactions, such as "class x setting",
        and "seed". Shares of the variance components, which add up to 1; 0 for a source
        of which the table has one level. NaN for a measurement that is constant or
        missing somewhere.

    Notes
    -----
    The components are those of the model with random effects [1]_, estimated from the
    mean squares; a negative estimate counts as 0. They do not grow with the number of
    levels. Classes are treated as if each had the mean number of images.

    References
    ----------
    .. [1] Searle, Casella, McCulloch, "Variance Components", 1992.
    """
    # Two classes may have images of the same name.
    table = table.assign(picture=table["class"] + "/" + table["picture"])
    counts = table.groupby(["network", "picture", "setting"]).size()
    expected = table[["network", "picture", "setting"]].nunique().prod()
    if len(counts) != expected or counts.nunique() != 1:
        raise ValueError(
            "every network, picture and setting must have been run together with the same number "
            f"of seeds: expected {expected} combinations, "
            f"got {len(counts)} with {counts.min()} to {counts.max()} seeds"
        )
    shares = {measure: _shares(table, table[measure].astype(float)) for measure in measures}
    return pd.DataFrame(shares).T.rename_axis("measure")


def _shares(table, values):
    levels = {factor: table[factor].nunique() for factor in FACTORS}
    freedom = {factor: n - 1 for factor, n in levels.items()}
    freedom["picture"] = levels["picture"] - levels["class"]
    sources = [
        source
        for size in (1, 2, 3)
        for source in itertools.combinations(FACTORS, size)
        if not {"class", "picture"} <= set(source)  # an image has one class
    ]

    def within(source):
        """The factors of a source; an image's class is among them."""
        return set(source) | ({"class"} if "picture" in source else set())

    def mean_over(factors):
        return values.groupby([table[factor] for factor in factors]).transform("mean")

    def n_levels(source):
        return np.prod([levels[factor] for factor in source])

    effects, squares = {}, {}
    for source in sorted(sources, key=lambda source: len(within(source))):
        coarser = [effect for other, effect in effects.items() if within(other) < within(source)]
        effects[source] = mean_over(source) - values.mean() - sum(coarser)
        degrees = np.prod([freedom[factor] for factor in source])
        squares[source] = (effects[source] ** 2).sum() / degrees if degrees else 0.0

    cells = "network", "picture", "setting"
    degrees = len(values) - n_levels(cells)
    noise = ((values - mean_over(cells)) ** 2).sum() / degrees if degrees else 0.0
    components = {}
    for source in sorted(sources, key=lambda source: -len(within(source))):
        finer = [other for other in components if within(other) > within(source)]
        rest = noise + sum(len(values) / n_levels(other) * components[other] for other in finer)
        component = (squares[source] - rest) * n_levels(source) / len(values)
        # Rounding leaves a trace where there is nothing.
        components[source] = component if component > 1e-12 * values.var() else 0.0
    shares = {" x ".join(source): components[source] for source in sources} | {"seed": noise}
    total = sum(shares.values())
    if constant(values) or values.isna().any() or not total > 0:
        total = float("nan")
    return {source: share / total for source, share in shares.items()}


def grouped(shares):
    """The parts of `variance_shares`, added up as in `SOURCES`, without NaN."""
    parts = {name: shares[list(columns)].sum(axis=1) for name, columns in SOURCES.items()}
    return pd.DataFrame(parts)[shares.notna().all(axis=1)].reset_index()


def savings(table):
    """How many times fewer samples a balanced sampling needs to be as stable as LIME's.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a run: "sampling" ("lime" or "balanced"), "num_samples" and
        "rank_correlation".

    Returns
    -------
    pandas.DataFrame
        A row for each number of balanced samples, "num_samples"; the mean rank
        correlation over seeds, "balanced" and, at as many samples, "lime";
        "lime_needs", the number with which LIME's sampling is as stable as the balanced
        one (interpolated on the logarithm; infinite when none in the table is enough);
        and "ratio".
    """
    curves = table.groupby(["sampling", "num_samples"])["rank_correlation"].mean()
    stock, balanced = curves["lime"], curves["balanced"]
    # Noise may make a mean dip; the need is the count from which on it is reached.
    reached = np.minimum.accumulate(stock.to_numpy()[::-1])[::-1]
    counts = np.log(stock.index.to_numpy(float))
    needs = [
        np.inf if value > reached[-1] else np.exp(np.interp(value, reached, counts))
        for value in balanced
    ]
    lime = stock.reindex(balanced.index)
    result = pd.DataFrame({"balanced": balanced, "lime": lime, "lime_needs": needs})
    return result.assign(ratio=result["lime_needs"] / result.index).reset_index()


CHANGES = {
    "another seed": ("seed",),
    "the other network": ("network",),
    "another setting": ("setting",),
    "another picture of the same class": ("picture",),
    "a picture of the other class": ("class", "picture"),
}
"""What two runs of `distances` differ in; everything else is the same."""


def distances(table, measures):
    """How far measurements move when one thing is changed.

    Parameters
    ----------
    table, measures
        As for `variance_shares`.

    Returns
    -------
    pandas.DataFrame
        A row for each measurement that varies and is nowhere missing, and each of
        `CHANGES`: "measure", "change", and "distance", the mean absolute difference of
        two runs that differ in this only, divided by that of two runs drawn at random:
        0 is no change, at 1 a run says nothing about the other. NaN where no two runs
        differ in this only.
    """
    factors, rows = ["seed", *FACTORS], []
    table = table.assign(picture=table["class"] + "/" + table["picture"])
    codes = np.stack([pd.factorize(table[factor])[0] for factor in factors], axis=1)
    first, second = np.triu_indices(len(table), 1)
    differ = codes[first] != codes[second]
    for measure in measures:
        values = table[measure].to_numpy(float)
        if not np.isfinite(values).all() or constant(values):
            continue
        far = np.abs(values[first] - values[second])
        for change, changed in CHANGES.items():
            among = (differ == [factor in changed for factor in factors]).all(axis=1)
            distance = far[among].mean() / far.mean() if among.any() else float("nan")
            rows.append((measure, change, distance))
    return pd.DataFrame(rows, columns=["measure", "change", "distance"])
