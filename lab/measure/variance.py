"""What measurements of LIME vary with, and what a more balanced sampling saves."""

import itertools

import numpy as np
import pandas as pd

from lab.measure.agreement import constant

SOURCES = {
    "network": ("network",),
    "data": ("class", "image"),
    "setting": ("setting",),
    "network x data": ("network x class", "network x image"),
    "data x setting": ("class x setting", "image x setting"),
    "network x setting (x data)": (
        "network x setting",
        "network x class x setting",
        "network x image x setting",
    ),
    "seed": ("seed",),
}
"""How `grouped` adds up the parts of the variance, to compare data and network."""

FACTORS = "network", "class", "image", "setting"


def variance_shares(table, measures):
    """Shares of each measurement's variance due to network, image, setting and seed.

    The components are those of the model with random effects [1]_, estimated from the
    mean squares; a negative estimate counts as 0. Classes are treated as if each had
    the mean number of images.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for every network, image, setting and seed, without gaps: "network",
        "class", "image", "setting", "seed" and the measurements.
    measures : iterable of str

    Returns
    -------
    pandas.DataFrame
        Indexed by measurement, a column for each source: "network", "class", "image"
        (within its class), "setting", their interactions, such as "class x setting",
        and "seed". Shares add up to 1; 0 for a source of which the table has one level.
        NaN for a measurement that is constant or missing somewhere.

    References
    ----------
    .. [1] Searle, Casella, McCulloch, "Variance Components", 1992.
    """
    table = _numbered(table)
    counts = table.groupby(["network", "image", "setting"]).size()
    expected = table[["network", "image", "setting"]].nunique().prod()
    if len(counts) != expected or counts.nunique() != 1:
        raise ValueError(
            "every network, image and setting must have the same number of runs: expected "
            f"{expected} combinations, got {len(counts)} with {counts.min()} to {counts.max()} runs"
        )
    shares = {measure: _shares(table, table[measure].astype(float)) for measure in measures}
    return pd.DataFrame(shares).T.rename_axis("measure")


def _numbered(table):
    """A table with numbers for factors; two classes may have images of one name."""
    columns = {factor: [factor] for factor in (*FACTORS, "seed")}
    columns["image"] = ["class", "image"]
    groups = {name: table.groupby(own, dropna=False).ngroup() for name, own in columns.items()}
    return table.assign(**groups)


def _shares(table, values):
    levels = {factor: table[factor].nunique() for factor in FACTORS}
    freedom = {factor: n - 1 for factor, n in levels.items()}
    freedom["image"] = levels["image"] - levels["class"]
    sources = [s for size in (1, 2, 3) for s in itertools.combinations(FACTORS, size)]
    sources = [s for s in sources if not {"class", "image"} <= set(s)]  # an image has one class

    def within(source):
        """The factors of a source; an image's class is among them."""
        return set(source) | ({"class"} if "image" in source else set())

    def mean_over(factors):
        return values.groupby([table[factor] for factor in factors]).transform("mean")

    def mean_square(deviations, degrees):
        return (deviations**2).sum() / degrees if degrees else 0.0

    effects, squares, components = {}, {}, {}
    for source in sorted(sources, key=lambda source: len(within(source))):
        coarser = [effect for other, effect in effects.items() if within(other) < within(source)]
        effects[source] = mean_over(source) - values.mean() - sum(coarser)
        squares[source] = mean_square(effects[source], np.prod([freedom[f] for f in source]))

    n_levels = {source: np.prod([levels[factor] for factor in source]) for source in sources}
    cells = "network", "image", "setting"
    noise = mean_square(values - mean_over(cells), len(values) - n_levels[cells])
    for source in sorted(sources, key=lambda source: -len(within(source))):
        finer = [other for other in components if within(other) > within(source)]
        rest = noise + sum(len(values) / n_levels[other] * components[other] for other in finer)
        component = (squares[source] - rest) * n_levels[source] / len(values)
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
        A row a run: "sampling" ("lime", "balanced"), "num_samples", "rank_correlation".

    Returns
    -------
    pandas.DataFrame
        "num_samples" of the balanced sampling; the mean rank correlations "balanced"
        and "lime"; "lime_needs", the samples with which LIME's is as stable
        (interpolated on the logarithm; infinite if all are too few); and "ratio".
    """
    curves = table.groupby(["sampling", "num_samples"])["rank_correlation"].mean()
    stock, balanced = curves["lime"], curves["balanced"]
    # Noise may make a mean dip; the need is the count from which on it is reached.
    reached = np.minimum.accumulate(stock.to_numpy()[::-1])[::-1]
    counts = np.log(stock.index.to_numpy(float))
    needs = np.exp(np.interp(balanced, reached, counts, right=np.inf))
    lime = stock.reindex(balanced.index)
    result = pd.DataFrame({"balanced": balanced, "lime": lime, "lime_needs": needs})
    return result.assign(ratio=result["lime_needs"] / result.index).reset_index()


CHANGES = {
    "another seed": ("seed",),
    "the other network": ("network",),
    "another setting": ("setting",),
    "another image of the same class": ("image",),
    "an image of the other class": ("class", "image"),
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
        "measure" (if it varies and is nowhere missing), "change" (of `CHANGES`) and
        "distance", the mean absolute difference of runs that differ in this only,
        divided by that of any two runs: at 1 a run says nothing about the other. NaN
        where there are no such runs.
    """
    factors, rows = ["seed", *FACTORS], []
    codes = _numbered(table)[factors].to_numpy()
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
