"""The four metrics of the course, and the ranking that they give.

Every function compares M queries with N gallery vectors of D values each and returns an (M, N) matrix in float32.
They take integers (pictures in uint8 never wrap around) and floats. Apart from that result and from the
queries in working precision, memory stays below `BLOCK_BYTES` however large the gallery is: the gallery is
converted a block of rows at a time.

L1 is ``torch.cdist``, the fastest of SciPy, scikit-learn, torch and NumPy when we measured; it works in float32
for float32 and smaller types, in float64 otherwise. In float32 its relative error grows with the number of values, and
depends on the processor: we measured up to 2e-6 at 192 values (8 × 8), 1e-4 at 12,288 (64 × 64), 2e-3 at 150,528
(224 × 224). The first call of `l1` imports torch, which takes a few seconds. The other three are matrix products in
float64, so that two copies of a picture get the same score to the last digit.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

BLOCK_BYTES = 4 * 2**20
"""How much of the gallery is converted at a time."""


def _check(queries: ArrayLike, gallery: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    q, g = np.asarray(queries), np.asarray(gallery)
    if q.ndim != 2 or g.ndim != 2 or q.shape[1] != g.shape[1]:
        raise ValueError(
            f"queries have shape {q.shape} and the gallery {g.shape}: expected (M, D) and (N, D) with the same D "
            "(one vector v is v[None, :])"
        )
    for name, array in (("queries", q), ("the gallery", g)):
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} hold {array.dtype}, not numbers")
    return q, g


def _by_blocks(compare: Callable, queries: np.ndarray, gallery: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Return the (M, N) matrix that `compare` fills: the columns of a block of the gallery, in `dtype`, at a time."""
    result = np.empty((len(queries), len(gallery)), dtype=np.float32)
    rows = max(1, BLOCK_BYTES // max(1, gallery.shape[1] * np.dtype(dtype).itemsize))
    for start in range(0, len(gallery), rows):
        block = slice(start, start + rows)
        result[:, block] = compare(gallery[block].astype(dtype, copy=False))
    return result


def l1(queries: ArrayLike, gallery: ArrayLike) -> np.ndarray:
    """Manhattan distance: the sum of the absolute differences, ``|a - b|.sum()``.

    Parameters
    ----------
    queries : array of shape (M, D)
    gallery : array of shape (N, D)

    Returns
    -------
    ndarray of float32, shape (M, N)
        At least 0; smaller is nearer.

    Raises
    ------
    ValueError
        The shapes do not fit (the message names both), or the arrays hold no numbers.
    """
    import torch

    q, g = _check(queries, gallery)
    dtype = np.float32 if np.result_type(q, g, np.float32) == np.float32 else np.float64  # as both fit in
    asked = torch.from_numpy(np.ascontiguousarray(q, dtype=dtype))

    def distances(block: np.ndarray) -> np.ndarray:
        return torch.cdist(asked, torch.from_numpy(np.ascontiguousarray(block)), p=1).numpy()

    return _by_blocks(distances, q, g, dtype)


def l2(queries: ArrayLike, gallery: ArrayLike) -> np.ndarray:
    """Euclidean distance: the root of the sum of the squared differences, ``sqrt(((a - b) ** 2).sum())``.

    Computed as ``|a|² + |b|² - 2 a·b`` after the mean of the queries is subtracted from both sides, which changes no
    distance and keeps the cancellation small; what is below the rounding error is 0.

    Parameters
    ----------
    queries : array of shape (M, D)
    gallery : array of shape (N, D)

    Returns
    -------
    ndarray of float32, shape (M, N)
        At least 0; smaller is nearer.

    Raises
    ------
    ValueError
        As `l1`.
    """
    q, g = _check(queries, gallery)
    centre = q.sum(axis=0, dtype=np.float64) / max(1, len(q))
    asked = q - centre
    asked_squared = np.einsum("ij,ij->i", asked, asked)[:, None]
    rounding = 4 * np.finfo(np.float64).eps * q.shape[1]

    def distances(block: np.ndarray) -> np.ndarray:
        block = block - centre
        sizes = asked_squared + np.einsum("ij,ij->i", block, block)
        squared = sizes - 2 * (asked @ block.T)
        squared[squared <= rounding * sizes] = 0
        return np.sqrt(squared)

    return _by_blocks(distances, q, g)


def cosine(queries: ArrayLike, gallery: ArrayLike) -> np.ndarray:
    """Cosine similarity: ``a·b / (|a| |b|)``, the cosine of the angle between two vectors.

    A vector of zeros has no direction: its similarity to everything is 0.

    Parameters
    ----------
    queries : array of shape (M, D)
    gallery : array of shape (N, D)

    Returns
    -------
    ndarray of float32, shape (M, N)
        In [-1, 1]; larger is nearer. (SciPy's cosine *distance* is 1 minus this.)

    Raises
    ------
    ValueError
        As `l1`.
    """
    return _angles(queries, gallery, centred=False)


def correlation(queries: ArrayLike, gallery: ArrayLike) -> np.ndarray:
    """Pearson's correlation coefficient: the cosine after each vector's own mean is subtracted from it.

    It ignores brightness and contrast: ``correlation(a, 2 * a + 3)`` is 1. A constant vector has nothing left after
    its mean is subtracted: its similarity to everything is 0.

    Parameters
    ----------
    queries : array of shape (M, D)
    gallery : array of shape (N, D)

    Returns
    -------
    ndarray of float32, shape (M, N)
        In [-1, 1]; larger is nearer. (SciPy's correlation *distance* is 1 minus this.)

    Raises
    ------
    ValueError
        As `l1`.
    """
    return _angles(queries, gallery, centred=True)


def _angles(queries: ArrayLike, gallery: ArrayLike, *, centred: bool) -> np.ndarray:
    q, g = _check(queries, gallery)
    asked, scale = _centred_and_scale(q.astype(np.float64), centred)
    asked *= scale[:, None]

    def similarities(block: np.ndarray) -> np.ndarray:
        block, scale = _centred_and_scale(block, centred)
        return (asked @ block.T * scale).clip(-1, 1)

    return _by_blocks(similarities, q, g)


def _centred_and_scale(vectors: np.ndarray, centred: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows, less their mean if `centred`, and what makes each of them length 1 (0: it has no direction)."""
    nothing = 0.0
    if centred:
        mean = vectors.mean(axis=1, keepdims=True)
        vectors = vectors - mean
        # what a constant vector keeps after its mean is subtracted is rounding error, not direction
        nothing = 1e-13 * np.sqrt(vectors.shape[1]) * np.abs(mean[:, 0])
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return vectors, np.divide(1, length, out=np.zeros_like(length), where=length > nothing)


METRICS = {"l1": (l1, False), "l2": (l2, False), "cosine": (cosine, True), "correlation": (correlation, True)}
"""Name of a metric: the function, and whether larger is nearer."""


def check_k(k: int) -> int:
    """Return how many pictures to find as an int; raise a ValueError unless it is a whole number of at least 1."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k is how many pictures to find, a whole number, at least 1, not {k!r:.80}")
    return int(k)


def rank(
    queries: ArrayLike, gallery: ArrayLike, metric: str = "l2", k: int | None = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Sort the gallery by nearness to each query and return the first `k`.

    Parameters
    ----------
    queries : array of shape (M, D)
    gallery : array of shape (N, D)
    metric : str
        One of `METRICS`.
    k : int or None
        How many; None, or anything above N, gives the whole ranking.

    Returns
    -------
    indices : ndarray of int64, shape (M, min(k, N))
        Rows of the gallery, nearest first; equals stand in the order of the gallery.
    scores : ndarray of float32, shape (M, min(k, N))
        Their distance or similarity.

    Raises
    ------
    ValueError
        The metric is unknown, k is below 1, or as `l1`.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: choose one of {', '.join(METRICS)}")
    k = None if k is None else check_k(k)
    function, larger_is_nearer = METRICS[metric]
    scores = function(queries, gallery)
    indices = np.argsort(-scores if larger_is_nearer else scores, axis=1, kind="stable")[:, :k]
    return indices, np.take_along_axis(scores, indices, axis=1)
