"""One search, by any method of the course: pixels, CLIP, or CLIP in ChromaDB."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from helpers import images, metrics
from helpers.images import Gallery, Match

if TYPE_CHECKING:  # a search by pixels needs no model and no database
    from pathlib import Path

    from PIL import Image

    from helpers.clip import Encoder
    from helpers.store import Index

METHODS = ("pixels", "CLIP", "ChromaDB")

NO_WORDS = "Pixels cannot be compared with words: choose CLIP or ChromaDB, or search with a picture"

MAX_TEXT = 10_000
"""Characters; models read some hundred and cut the rest, so a longer text is a mistake."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What searches need, each part computed at its first use and kept.

    Attributes
    ----------
    gallery : Gallery
        The N pictures to search in.
    encoder : Encoder
    index : Index
        Synced with `gallery`, by the same encoder.
    """

    gallery: Gallery
    encoder: Encoder
    index: Index

    @cached_property
    def pixels(self) -> np.ndarray:
        """The gallery's pixels, float32 in [0, 1], shape (N, D); the first use takes a second or more."""
        return images.pixel_matrix(self.gallery)

    @cached_property
    def embeddings(self) -> np.ndarray:
        """The gallery's embeddings, float32, shape (N, encoder.dim)."""
        return self.encoder.encode_images(self.gallery)


def encode(
    prepared: Prepared, *, image: Path | Image.Image | None = None, text: str | None = None, method: str = "CLIP"
) -> np.ndarray:
    """Turn a query into a vector.

    Parameters
    ----------
    prepared : Prepared
    image : Path or PIL image, optional
    text : str, optional
        Either `image` or `text` is given; `text` not with the method ``pixels``.
    method : {"pixels", "CLIP", "ChromaDB"}
        By which `search` is to find.

    Returns
    -------
    ndarray of float32, shape (D,)

    Raises
    ------
    ValueError
        The query makes no sense for this method (the message says why).
    ValueError, FileNotFoundError
        Its picture cannot be opened, or is not there.
    """
    if (image is None) == (text is None):
        raise ValueError("Search with a picture or with a text: give one of them")
    _check_method(method)
    if text is not None:
        if method == "pixels":
            raise ValueError(NO_WORDS)
        check_text(text)
        return prepared.encoder.encode_texts([text])[0]
    if method == "pixels":
        return images.pixel_matrix([image])[0]
    return prepared.encoder.encode_images([image])[0]


def search(
    prepared: Prepared,
    vector: np.ndarray,
    *,
    method: str = "CLIP",
    metric: str = "cosine",
    k: int = 5,
    label: str | None = None,
    leave_out: str | None = None,
) -> list[Match]:
    """Find the pictures that are nearest to a query.

    It changes nothing, but for what a `Prepared` computes at its first use.

    Parameters
    ----------
    prepared : Prepared
    vector : ndarray of float32, shape (D,)
        As `encode` made it for the same method.
    method : {"pixels", "CLIP", "ChromaDB"}
    metric : {"l1", "l2", "cosine", "correlation"}
        For ``pixels`` and ``CLIP``. ``ChromaDB`` searches in the space that its index was made for.
    k : int
        How many pictures to find; all there are, if there are fewer.
    label : str, optional
        Only pictures of this class.
    leave_out : str, optional
        The id of the query itself, if it is a picture of the gallery.

    Returns
    -------
    list of Match
        At most k, the nearest first; equally near ones in the order of the gallery. Scores are those of the metric.

    Raises
    ------
    ValueError
        The method, metric, k or class is none of those that there are, or the vector does not fit the method; or
        there is nothing to find: the index is empty, or the class holds only the query itself.
    OSError
        The index, or its server, is gone.
    """
    _check_method(method)
    k = metrics.check_k(k)
    if not np.isfinite(vector).all():
        raise ValueError("the vector holds NaN or infinity")
    gallery = prepared.gallery
    if label is not None and label not in gallery.classes:
        raise ValueError(f"No picture is of the class {label!r}: choose another, or all classes")

    wanted = k if leave_out is None else k + 1
    if method == "ChromaDB":
        where = None if label is None else {"label": label}
        matches = prepared.index.query(vector=vector, k=wanted, where=where)
    else:
        matrix = prepared.pixels if method == "pixels" else prepared.embeddings
        rows = np.arange(len(gallery)) if label is None else np.flatnonzero(gallery.labels == label)
        order, scores = metrics.rank(vector[None], matrix if label is None else matrix[rows], metric, wanted)
        matches = [
            Match(gallery.paths[row], str(gallery.labels[row]), score, gallery.ids[row])
            for row, score in zip(rows[order[0]], scores[0].tolist(), strict=True)
        ]
    matches = [match for match in matches if match.id != leave_out][:k]
    if not matches:
        raise ValueError(_why_nothing(prepared, method, label))
    return matches


def check_text(text: str) -> None:
    """Raise a ValueError if a text is empty, too long, or not Unicode."""
    if not text.strip():
        raise ValueError("The text is empty: write what the picture should show, for instance “a red apple”")
    if len(text) > MAX_TEXT:
        raise ValueError(f"The text has {len(text):,} characters: shorten it to {MAX_TEXT:,}")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("The text holds half a character, which no encoding can write: type it again")


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}")


def _why_nothing(prepared: Prepared, method: str, label: str | None) -> str:
    if method == "ChromaDB" and prepared.index.count() == 0:
        return "The index is empty: run index.sync(gallery) in a cell, then search again"
    if label is not None:
        return f"The class {label!r} holds nothing but the query itself: choose another, or all classes"
    return "There is nothing to find: the gallery holds only the query itself"
