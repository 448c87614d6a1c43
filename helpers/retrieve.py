"""One search, by any method of the course: pixels, CLIP, or CLIP in ChromaDB."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from helpers import embeddings, images, metrics
from helpers.clip import Encoder
from helpers.images import Gallery
from helpers.store import Index, Match, check_k

METHODS = ("pixels", "CLIP", "ChromaDB")

NO_WORDS = "Pixels cannot be compared with words: choose CLIP or ChromaDB, or search with a picture"


@dataclass(frozen=True, eq=False)
class Prepared:
    """What searches need, computed once and kept.

    Attributes
    ----------
    gallery : Gallery
        The N pictures to search in.
    encoder : Encoder
    index : Index
        Synced with `gallery`, by the same encoder.
    queries : Gallery, optional
        Pictures to search with, whose vectors are kept, too.
    """

    gallery: Gallery
    encoder: Encoder
    index: Index
    queries: Gallery | None = None

    @cached_property
    def pixels(self) -> np.ndarray:
        """The gallery's pixels, float32 in [0, 1], shape (N, D); the first use takes a second or more."""
        return images.pixel_matrix(self.gallery)

    @cached_property
    def embeddings(self) -> np.ndarray:
        """The gallery's embeddings, float32, shape (N, encoder.dim), from the cache where they are known."""
        return embeddings.load_or_encode(self.encoder, self.gallery)

    @cached_property
    def ids(self) -> dict[Path, str]:
        """The gallery's pictures, and the id under which each is stored in the index."""
        return dict(zip(self.gallery.paths, self.gallery.ids, strict=True))

    @cached_property
    def vectors(self) -> dict[Path, np.ndarray]:
        """The embedding of every picture of the gallery and of the queries, each of shape (encoder.dim,)."""
        known = dict(zip(self.gallery.paths, self.embeddings, strict=True))
        if self.queries is not None:
            known |= zip(self.queries.paths, embeddings.load_or_encode(self.encoder, self.queries), strict=True)
        return known


@dataclass(frozen=True, eq=False)
class Request:
    """What to search for, and how.

    Attributes
    ----------
    prepared : Prepared
    image : Path, str or PIL image, optional
        Of a picture of the gallery, its path: it is left out of its own results.
    text : str, optional
        Either `image` or `text` is given; `text` not with the method ``pixels``.
    method : {"pixels", "CLIP", "ChromaDB"}
    metric : {"l1", "l2", "cosine", "correlation"}
        For ``pixels`` and ``CLIP``. ``ChromaDB`` searches in the space that its index was made for.
    k : int
        How many pictures to find; all there are, if there are fewer.
    label : str, optional
        Only pictures of this class.
    vector : ndarray of float32, shape (D,), optional
        The query as a vector, if `encoded` has made it before.
    """

    prepared: Prepared
    image: Path | str | Image.Image | None = None
    text: str | None = None
    method: str = "CLIP"
    metric: str = "cosine"
    k: int = 5
    label: str | None = None
    vector: np.ndarray | None = None


def encoded(request: Request) -> Request:
    """Return the request with its vector: of a stored picture the embedding that is known, else a new one.

    Parameters
    ----------
    request : Request

    Returns
    -------
    Request

    Raises
    ------
    ValueError
        The request makes no sense (the message says why), or its picture cannot be opened.
    FileNotFoundError
        There is no such picture.
    """
    _check(request)
    return replace(request, vector=_vector(request))


def search(request: Request) -> list[Match]:
    """Find the pictures that are nearest to a query.

    It changes nothing, but for what a `Prepared` computes at its first use.

    Parameters
    ----------
    request : Request

    Returns
    -------
    list of Match
        At most k, the nearest first; equally near ones in the order of the gallery. Scores are those of the metric.

    Raises
    ------
    ValueError
        As `encoded`; or there is nothing to find: the index is empty, or the class holds only the query itself.
    OSError
        The index, or its server, is gone; or as `encoded`.
    """
    if request.vector is None:
        request = encoded(request)
    _check(request)
    own = request.prepared.ids.get(_path(request.image))
    k = request.k + (own is not None)
    find = _from_index if request.method == "ChromaDB" else _from_matrix
    matches = [match for match in find(request, k) if match.id != own][: request.k]
    if not matches:
        raise ValueError(_why_nothing(request))
    return matches


def _path(image: Path | str | Image.Image | None) -> Path | None:
    if not isinstance(image, (str, Path)):
        return None
    return Path(os.path.abspath(image))  # noqa: PTH100 (a gallery keeps a link's own path, and resolve() does not)


def _check(request: Request) -> None:
    """Raise unless the request can be answered, whatever the pictures look like."""
    if (request.image is None) == (request.text is None):
        raise ValueError("Search with a picture or with a text: give one of them")
    if request.method not in METHODS:
        raise ValueError(f"Unknown method {request.method!r}: choose one of {', '.join(METHODS)}")
    if request.method != "ChromaDB" and request.metric not in metrics.METRICS:
        raise ValueError(f"Unknown metric {request.metric!r}: choose one of {', '.join(metrics.METRICS)}")
    check_k(request.k)
    if request.text is not None and request.method == "pixels":
        raise ValueError(NO_WORDS)
    if request.text is not None and not request.text.strip():
        raise ValueError("The text is empty: write what the picture should show, for instance “a red apple”")
    if request.label is not None and request.label not in request.prepared.gallery.classes:
        raise ValueError(f"No picture is of the class {request.label!r}: choose another, or all classes")


def _vector(request: Request) -> np.ndarray:
    prepared, path = request.prepared, _path(request.image)
    if request.text is not None:
        return prepared.encoder.encode_texts([request.text])[0]
    if request.method != "pixels" and path in prepared.vectors:
        return prepared.vectors[path]
    picture = images.open_rgb(path) if path is not None else request.image
    if request.method == "pixels":
        return images.pixel_matrix([picture])[0]
    return prepared.encoder.encode_images([picture])[0]


def _from_matrix(request: Request, k: int) -> list[Match]:
    prepared = request.prepared
    gallery, matrix = prepared.gallery, prepared.pixels if request.method == "pixels" else prepared.embeddings
    rows = np.arange(len(gallery))
    if request.label is not None:
        rows = np.flatnonzero(gallery.labels == request.label)
        matrix = matrix[rows]
    indices, scores = metrics.rank(request.vector[None], matrix, request.metric, k)
    found = zip(rows[indices[0]], scores[0].tolist(), strict=True)
    return [
        Match(gallery.paths[row], str(gallery.labels[row]), score, prepared.ids[gallery.paths[row]])
        for row, score in found
    ]


def _from_index(request: Request, k: int) -> list[Match]:
    where = None if request.label is None else {"label": request.label}
    return request.prepared.index.query(vector=request.vector, k=k, where=where)


def _why_nothing(request: Request) -> str:
    if request.method == "ChromaDB" and request.prepared.index.count() == 0:
        return "The index is empty: run index.sync(gallery) in a cell, then search again"
    if request.label is not None:
        return f"The class {request.label!r} holds nothing but the query itself: choose another, or all classes"
    return "There is nothing to find: the gallery holds only the query itself"
