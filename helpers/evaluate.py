"""Measure a ranking against the labels: precision, hits, average precision, and the scoreboard.

A gallery picture is relevant when it has the query's class. The query itself must not be in the ranking. The label
``""`` means that nobody has named a class: to a query without one no picture is right or wrong, and its score is NaN.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

_RESAMPLES = 2000


def _relevant(ranked_labels: ArrayLike, query_labels: ArrayLike) -> np.ndarray:
    """Tell which ranked pictures have their query's label: bool, shape (M, N)."""
    ranked, queries = np.asarray(ranked_labels), np.asarray(query_labels)
    if ranked.ndim != 2 or queries.ndim != 1 or len(ranked) != len(queries):
        raise ValueError(
            f"ranked labels have shape {ranked.shape} and query labels {queries.shape}: expected (M, N) and (M,)"
        )
    return ranked == queries[:, None]


def _scored(values: np.ndarray, query_labels: ArrayLike) -> np.ndarray:
    """Return the values as float64, NaN for the queries without a class."""
    return np.where(np.asarray(query_labels) == "", np.nan, values)


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k is how many of the first pictures count, at least 1, not {k}")


def precision_at_k(ranked_labels: ArrayLike, query_labels: ArrayLike, k: int) -> np.ndarray:
    """Share of the first `k` pictures that are relevant.

    Parameters
    ----------
    ranked_labels : array of shape (M, N)
        Labels of the gallery in ranked order, one row per query.
    query_labels : array of shape (M,)
    k : int
        At least 1. Where fewer than `k` pictures are ranked, the missing ones count as not relevant.

    Returns
    -------
    ndarray of float64, shape (M,)
        In [0, 1]; NaN for a query without a class (``""``).

    Raises
    ------
    ValueError
        k is below 1, or the shapes do not fit.
    """
    _check_k(k)
    return _scored(_relevant(ranked_labels, query_labels)[:, :k].sum(axis=1) / k, query_labels)


def hit_at_k(ranked_labels: ArrayLike, query_labels: ArrayLike, k: int) -> np.ndarray:
    """Tell whether any of the first `k` pictures is relevant: 1.0 or 0.0.

    Parameters, return value and errors are those of `precision_at_k`.
    """
    _check_k(k)
    return _scored(_relevant(ranked_labels, query_labels)[:, :k].any(axis=1), query_labels)


def average_precision(ranked_labels: ArrayLike, query_labels: ArrayLike) -> np.ndarray:
    """Average, over all R relevant pictures, of the precision at the rank of each.

    The ranking must be the whole gallery: all R relevant pictures are in the denominator, not only those found early.
    (Manning, Raghavan & Schütze, *Introduction to Information Retrieval*, 2008, section 8.4.)

    Parameters
    ----------
    ranked_labels : array of shape (M, N)
        Labels of the whole gallery in ranked order, one row per query.
    query_labels : array of shape (M,)

    Returns
    -------
    ndarray of float64, shape (M,)
        In (0, 1]; NaN for a query with no relevant picture in the gallery: it cannot be answered.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    relevant = _relevant(ranked_labels, query_labels) & (np.asarray(ranked_labels) != "")
    ranks = np.arange(1, relevant.shape[1] + 1)
    precision_at_rank = relevant.cumsum(axis=1) / ranks
    total = relevant.sum(axis=1)
    summed = (precision_at_rank * relevant).sum(axis=1)
    return np.divide(summed, total, out=np.full(len(relevant), np.nan), where=total > 0)


def recall_at_k(found: ArrayLike, exact: ArrayLike, k: int) -> np.ndarray:
    """Share of the `k` exact nearest neighbours that an approximate search found among its first `k`.

    Parameters
    ----------
    found, exact : arrays of shape (M, ≥ k)
        Ids in ranked order, of the approximate and of the exact search. A row of `found` may be shorter in effect:
        pad it with an id that does not occur, such as -1.
    k : int

    Returns
    -------
    ndarray of float64, shape (M,)
        In [0, 1].

    Raises
    ------
    ValueError
        k is below 1 or above the number of exact neighbours, or the shapes do not fit.
    """
    _check_k(k)
    found, exact = np.asarray(found), np.asarray(exact)
    if found.ndim != 2 or exact.ndim != 2 or len(found) != len(exact):
        raise ValueError(f"found has shape {found.shape} and exact {exact.shape}: expected one row per query in both")
    if exact.shape[1] < k:
        raise ValueError(f"recall@{k} needs {k} exact neighbours per query, not {exact.shape[1]}")
    both = [np.intersect1d(f, e).size for f, e in zip(found[:, :k], exact[:, :k], strict=True)]
    return np.array(both, dtype=np.float64) / k


def interval(values: ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values`.

    In general by resampling them (percentile bootstrap, Efron 1979), with a seed: the same values give the same
    interval. Where all values are 0 or 1, their mean is a share, and the interval is Wilson's (1927): resampling 0 of
    18 would find nothing but 0.

    Parameters
    ----------
    values : array of shape (M,)
        One value per query.

    Returns
    -------
    (float, float)
        The lower and the upper end; NaN both when there are no values.
    """
    values = np.asarray(values, dtype=np.float64)
    if not values.size:
        return float("nan"), float("nan")
    if not np.isin(values, (0, 1)).all():
        return _resampled(values)
    n, share, z = len(values), values.mean(), 1.959964
    centre, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)
    return max(0.0, float(low)), min(1.0, float(high))


def _resampled(values: np.ndarray) -> tuple[float, float]:
    drawn = np.random.default_rng(0).integers(0, len(values), size=(_RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


class Gain(NamedTuple):
    """How much better one method is than another, on the same queries."""

    mean: float
    low: float
    high: float
    wins: int
    losses: int
    p: float

    def __str__(self) -> str:
        spread = f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"
        return f"{spread}, better for {self.wins} queries, worse for {self.losses}"


def gain(ours: ArrayLike, theirs: ArrayLike) -> Gain:
    """Compare two methods query by query.

    Both have answered the same queries, easy ones and hard ones. So what counts is the difference for each query, not
    whether the intervals of the two means overlap.

    Parameters
    ----------
    ours, theirs : arrays of shape (M,)
        One value per query (its AP, say), in the same order. Queries with NaN in either are left out.

    Returns
    -------
    Gain
        `mean` of the differences ours - theirs, the ends `low` and `high` of its 95 % interval (bootstrap), the number
        of queries where ours is better (`wins`) and worse (`losses`) by more than 1e-9, and `p`, the two-sided sign
        test: how likely so uneven a count would be if either were as good. NaN in the first three without queries.

    Raises
    ------
    ValueError
        The shapes differ, or are not (M,).
    """
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise ValueError(f"ours has shape {ours.shape} and theirs {theirs.shape}: expected (M,) in both")
    difference = ours - theirs
    difference = difference[~np.isnan(difference)]
    wins, losses = int((difference > 1e-9).sum()), int((difference < -1e-9).sum())
    n = wins + losses
    p = min(1.0, 2 * sum(math.comb(n, i) for i in range(min(wins, losses) + 1)) / 2**n)
    if not difference.size:
        return Gain(math.nan, math.nan, math.nan, 0, 0, p)
    return Gain(float(difference.mean()), *_resampled(difference), wins, losses, p)


def can_score(gallery_labels: ArrayLike, query_labels: ArrayLike) -> bool:
    """Tell whether any query has a class that the gallery has; where none has, a printed line says so."""
    labels, asked = np.asarray(gallery_labels), np.asarray(query_labels)
    if np.all(labels == "") or np.all(asked == ""):
        print("These pictures have no classes, so nothing can be scored: judge by eye, or sort them into folders.")
        return False
    if not np.isin(asked[asked != ""], labels).any():
        print("No query has a class that the gallery has, so nothing can be scored.")
        return False
    return True


def scoreboard(
    rankings: Mapping[str, ArrayLike],
    gallery_labels: ArrayLike,
    query_labels: ArrayLike,
    seconds: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Put methods side by side: one row per method, the measures of the course as columns.

    Queries without a class, or with one that the gallery lacks, cannot be answered by any method. They are left out.
    Printed lines say how many there are, and what scores can mean where the gallery has one class only, or fewer than
    five pictures of some.

    Parameters
    ----------
    rankings : mapping of name to array of int, shape (M, N)
        For each method the whole gallery in ranked order, as ``metrics.rank(…, k=None)`` gives it.
    gallery_labels : array of shape (N,)
    query_labels : array of shape (M,)
    seconds : mapping of name to float, optional
        Time that a method took for all M queries.

    Returns
    -------
    pandas.DataFrame
        Index: the names. Columns ``P@1``, ``P@5``, ``hit@5``, ``mAP`` (means over queries), for each the ends of its
        95 % interval in ``P@1 low``, ``P@1 high`` and so on, ``mAP macro`` (mean over classes of the class's mean), and
        ``ms`` (time per query in milliseconds, NaN where `seconds` has none). No rows where `can_score` is False.

    Raises
    ------
    ValueError
        A ranking has another shape than (M, N).
    """
    gallery_labels, query_labels = np.asarray(gallery_labels), np.asarray(query_labels)
    if not can_score(gallery_labels, query_labels):
        return pd.DataFrame(columns=["P@1", "P@5", "hit@5", "mAP", "mAP macro", "ms"], dtype=float)
    named, found_here = query_labels != "", np.isin(query_labels, gallery_labels)
    answerable = named & found_here
    if not named.all():
        print(f"{(~named).sum()} of {len(named)} queries are left out: they have no class")
    if (lacking := (named & ~found_here).sum()) > 0:
        print(f"{lacking} of {len(named)} queries are left out: the gallery lacks their class")
    names, counts = np.unique(gallery_labels, return_counts=True)
    to_find = counts[np.searchsorted(names, query_labels[answerable])]
    if len(names) == 1:
        print("The gallery has one class only. Every answer is right, so these scores say nothing about a method.")
    if (few := (to_find < 5).sum()) > 0:
        best = np.minimum(to_find / 5, 1).mean()
        print(f"{few} of {len(to_find)} queries have fewer than 5 pictures to find: P@5 can be {best:.2f} at best")
    rows = {}
    for name, ranking in rankings.items():
        ranking = np.asarray(ranking)
        if ranking.shape != (len(query_labels), len(gallery_labels)):
            raise ValueError(
                f"the ranking of {name!r} has shape {ranking.shape}, expected "
                f"{(len(query_labels), len(gallery_labels))}: one row per query, the whole gallery in each"
            )
        ranked_labels, queries = gallery_labels[ranking[answerable]], query_labels[answerable]
        measured = {
            "P@1": precision_at_k(ranked_labels, queries, 1),
            "P@5": precision_at_k(ranked_labels, queries, 5),
            "hit@5": hit_at_k(ranked_labels, queries, 5),
            "mAP": average_precision(ranked_labels, queries),
        }
        row = {measure: values.mean() for measure, values in measured.items()}
        row["mAP macro"] = np.mean([measured["mAP"][queries == label].mean() for label in np.unique(queries)])
        row["ms"] = 1000 * seconds[name] / len(query_labels) if seconds and name in seconds else np.nan
        for measure, values in measured.items():
            row[f"{measure} low"], row[f"{measure} high"] = interval(values)
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index")
