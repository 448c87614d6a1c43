"""What is stored, read whole, and found again: pictures to which the graph has lost the way are stored anew.

When stored vectors are replaced or removed, Chroma's graph can lose the way to others (chroma-core/chroma#7758).
"""

from collections.abc import Iterator, Sequence

import chromadb
import numpy as np


def repair(collection: chromadb.Collection, space: str, batch: int) -> int:
    """Ask every picture for itself, and store anew those that are not found; return how many these were."""
    ids = list(all_rows(collection))
    repaired: set[str] = set()
    before = float("inf")
    for _ in range(10):  # storing one anew may, rarely, cost another one its way
        lost = [key for part in in_parts(ids, batch) for key in _lost(collection, part, space)]
        if not lost:
            return len(repaired)
        if len(lost) > max(20, before / 2):  # many that stay lost are too crowded to be helped like this
            break
        before = len(lost)
        repaired.update(lost)
        for part in in_parts(lost, batch):
            stored = collection.get(ids=part, include=["embeddings", "metadatas"])
            collection.delete(ids=stored["ids"])
            collection.add(ids=stored["ids"], embeddings=stored["embeddings"], metadatas=stored["metadatas"])
    print(f"{len(lost)} stored pictures are too crowded to be found: index.clear(), then sync, tries another graph")
    return len(repaired)


def _lost(collection: chromadb.Collection, ids: Sequence[str], space: str) -> list[str]:
    """Return those of some stored pictures that a search with their own vectors should find, and does not."""
    stored = collection.get(ids=list(ids), include=["embeddings"])
    found = collection.query(query_embeddings=stored["embeddings"], n_results=10, include=["distances"])
    own = 1 - (stored["embeddings"] ** 2).sum(axis=1) if space == "ip" else np.zeros(len(stored["ids"]))
    return [
        key
        for key, near, distances, distance in zip(stored["ids"], found["ids"], found["distances"], own, strict=True)
        # behind ten others that are as near, copies of it for instance, it is not lost
        if key not in near and (len(near) < 10 or distance < distances[-1] - 1e-5)
    ]


def all_rows(collection: chromadb.Collection, page: int = 10_000) -> dict[str, dict]:
    """Read what is stored beside each vector, by id."""
    stored: dict[str, dict] = {}
    while True:
        part = collection.get(include=["metadatas"], limit=page, offset=len(stored))
        stored.update({key: row or {} for key, row in zip(part["ids"], part["metadatas"], strict=True)})
        if len(part["ids"]) < page:
            return stored


def in_parts(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut a list into parts of at most `size`."""
    return (keys[start : start + size] for start in range(0, len(keys), size))
