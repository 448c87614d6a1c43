"""A gallery in ChromaDB: index it once, bring it up to date, query it by picture, sentence or vector.

The same code serves an index in memory, in a folder, and on a server. Two problems of Chroma's are worked around here:

- It lets several processes open one folder, and vectors are lost, or a program crashes, when one of them writes. Here a
  folder has a lock, held while it is opened and while it is written: one process at a time. Several programs use a
  server (``chroma run --path FOLDER``).
- When stored vectors are replaced or removed, its graph can lose the way to others, then or later: they are still
  there, and no query finds them any more (chroma-core/chroma#7758). Here, from the first replaced or removed picture
  on, every sync that changes something asks each picture for itself, and stores anew those that are not found.
"""

import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from helpers import metrics
from helpers.backroom.filters import checked_filter
from helpers.backroom.folders import SPLITS, find
from helpers.backroom.graph import all_rows, in_parts, repair
from helpers.backroom.homes import Home, first_line, open_home
from helpers.clip import Encoder, remembered
from helpers.images import QUIET, Gallery, Match, PictureSource, facts, spelled

SPACES = ("cosine", "l2", "ip")
HNSW = {"ef_construction": 200, "ef_search": 400, "max_neighbors": 32}
"""The settings of the graph, named in full, so that no result depends on a default of Chroma's."""

FIELDS = {"label": str, "split": str, "hash": str, "width": int, "height": int}
"""What is stored beside each vector, to filter by, and its type."""

BATCH = 256
"""Pictures that are encoded and stored at a time: what a sync that is killed may have to do again."""


@dataclass
class Report:
    """What a sync did.

    Attributes
    ----------
    added, updated, removed, unchanged : int
        Numbers of pictures.
    repaired : int
        Pictures that were stored and could not be found any more; they were stored anew.
    skipped : list of (Path, str)
        The pictures that could not be read, opened or encoded, each with the reason. What was stored of such a picture
        before stays as long as the gallery lists it.
    """

    added: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    repaired: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)


class Index:
    """A collection of Chroma's that mirrors a gallery. Made by `open_index`.

    The first sync makes the collection; until then the index is empty. What another process syncs into the same folder
    is seen when the index is opened again: until then, answers are those from before, or a sentence that says to open
    it again. (A server always answers with what it holds.)

    Attributes
    ----------
    name, space : str
        As given to `open_index`.
    where : str
        ``"memory"``, the folder, or the address.
    """

    def __init__(self, home: Home, encoder: Encoder, name: str, space: str) -> None:
        self.name, self.space, self.where = name, space, home.where
        self._home, self._encoder = home, encoder

    def __repr__(self) -> str:
        return f"{self.count()} pictures in the index {self.name!r} ({self.space}, {self.where})"

    def count(self) -> int:
        """Return the number of pictures in the index."""
        with self._home.in_words():
            collection = self._open()
            return 0 if collection is None else collection.count()

    def sync(self, gallery: Gallery) -> Report:
        """Make the index equal to a gallery: encode what is new or changed, remove what is gone.

        Stored batch by batch: a sync that is stopped, or killed, loses nothing that was stored, and the next one does
        the rest. Pictures are told apart by their content: it does not see vectors that another program has changed
        (``index.clear()``, then sync).

        Parameters
        ----------
        gallery : Gallery

        Returns
        -------
        Report

        Raises
        ------
        ValueError
            The gallery is empty (nothing is removed), or the index was built with another encoder.
        RuntimeError
            Another process is syncing the same folder.
        OSError
            No picture of the gallery can be read any more (nothing is removed), the disk is full or read-only, or the
            server is gone. What was stored before stays.
        """
        if not len(gallery):
            raise ValueError("the gallery is empty: nothing was changed in the index")
        split = SPLITS.get(gallery.root.name.lower(), "")
        report = Report(skipped=list(gallery.skipped))
        wanted = {}
        for key, path, label in zip(gallery.ids, gallery.paths, gallery.labels.tolist(), strict=True):
            try:
                digest, (width, height) = facts(path)
            except Exception as error:  # one odd picture costs no other
                report.skipped.append((path, _why(error)))
            else:
                wanted[key] = path, {"label": label, "split": split, "hash": digest, "width": width, "height": height}
        if not wanted:
            why = f"{spelled(gallery.paths[-1].name)}: {report.skipped[-1][1]}"
            raise OSError(f"no picture of {gallery.root} can be read now ({why}): nothing was changed in the index")
        with self._home.writing():
            collection = self._home.stored(self.name)
            collection = self._create() if collection is None else self._checked(collection)
            self._mirror(collection, gallery, wanted, report)
            self._open()  # read while no other process writes: from here on, queries need no lock
        return report

    def _mirror(
        self, collection: chromadb.Collection, gallery: Gallery, wanted: dict[str, tuple[Path, dict]], report: Report
    ) -> None:
        """Remove, update and add until the collection holds `wanted`: by id, the path and the row of `FIELDS`."""
        stored = all_rows(collection)
        same = [key for key, (_, row) in wanted.items() if stored.get(key, {}).get("hash") == row["hash"]]
        moved = [key for key in same if not wanted[key][1].items() <= stored[key].items()]
        gone = list(stored.keys() - set(gallery.ids))
        todo = sorted(wanted.keys() - set(same))
        notes: dict[str, str | bool] = {"root": str(gallery.root)}
        if gone or (todo and (collection.metadata.get("worn") or any(key in stored for key in todo))):
            notes |= {"worn": True, "unchecked": True}  # a sync that is killed from here on leaves this to the next one
        _note(collection, notes)
        for part in in_parts(gone, BATCH):
            collection.delete(ids=part)
        for part in in_parts(moved, BATCH):
            collection.update(ids=part, metadatas=[wanted[key][1] for key in part])
        report.removed, report.updated, report.unchanged = len(gone), len(moved), len(same) - len(moved)
        with tqdm(total=len(todo), desc="Indexing", unit=" pictures", delay=1, leave=False, disable=QUIET) as progress:
            for part in in_parts(todo, BATCH):
                vectors = self._encode({key: wanted[key] for key in part}, report.skipped)
                old = [key for key in vectors if key in stored]
                if old:  # taken out and put in: a vector that is replaced in its place costs others their way
                    collection.delete(ids=old)
                if vectors:
                    rows = [wanted[key][1] for key in vectors]
                    collection.upsert(ids=list(vectors), embeddings=list(vectors.values()), metadatas=rows)
                report.updated += len(old)
                report.added += len(vectors) - len(old)
                progress.update(len(part))
        if collection.metadata.get("unchecked"):
            report.repaired = repair(collection, self.space, BATCH)
            _note(collection, {"unchecked": False})

    def _encode(self, pictures: dict[str, tuple[Path, dict]], skipped: list[tuple[Path, str]]) -> dict[str, np.ndarray]:
        """Return the vector of each picture by its id; what has none is added to `skipped`, and costs no other."""
        # asked here, so that no encoder, of whatever kind, is given a picture whose vector is known
        known = remembered(self._encoder.fingerprint, [row["hash"] for _, row in pictures.values()])
        vectors = {key: known[row["hash"]] for key, (_, row) in pictures.items() if row["hash"] in known}
        new = {key: path for key, (path, _) in pictures.items() if key not in vectors}
        return vectors | (self._encode_new(new, skipped) if new else {})

    def _encode_new(self, paths: dict[str, Path], skipped: list[tuple[Path, str]]) -> dict[str, np.ndarray]:
        try:
            vectors = self._encoder.encode_images(list(paths.values()))
            if not np.isfinite(vectors).all():
                raise ValueError("the encoder gives NaN for it")
            return dict(zip(paths, vectors, strict=True))
        except Exception as error:
            if len(paths) == 1:
                skipped += [(path, _why(error)) for path in paths.values()]
                return {}
        items, half = list(paths.items()), len(paths) // 2
        return self._encode_new(dict(items[:half]), skipped) | self._encode_new(dict(items[half:]), skipped)

    def query(
        self,
        image: PictureSource | Image.Image | None = None,
        text: str | None = None,
        vector: np.ndarray | None = None,
        k: int = 5,
        where: dict[str, Any] | None = None,
    ) -> list[Match]:
        """Find the nearest pictures to one picture, sentence or vector.

        Parameters
        ----------
        image : str, Path, binary file or PIL image, optional
        text : str, optional
        vector : ndarray of shape (dim,), optional
            Exactly one of the three is given.
        k : int
            How many; all there are, if there are fewer.
        where : dict, optional
            Only pictures that fit: ``{"label": "windmill"}``, ``{"width": {"$gt": 200}}``, … in Chroma's own notation,
            over `FIELDS`: text takes ``$eq``, ``$ne``, ``$in`` and ``$nin``, whole numbers also ``$gt``, ``$gte``,
            ``$lt`` and ``$lte``.

        Returns
        -------
        list of Match
            The nearest first; equally near ones in the order of the gallery, also where only some of them are among
            the first `k`. On a server, paths are below the gallery that was synced when this index was opened.

        Raises
        ------
        ValueError
            Not exactly one query; a picture that cannot be opened; a vector of the wrong width, with NaN, or of length
            zero in the space ``cosine``; k that is no whole number or below 1; a filter over a field that is not
            stored, with a value of another type or an operator that does not fit it; an index built with another
            encoder.
        OSError
            The server or the folder is gone, or cannot be read; or another program has changed the index since it was
            opened, so that there is no right answer before it is opened again.
        """
        if sum(query is not None for query in (image, text, vector)) != 1:
            raise ValueError("give exactly one of image, text and vector")
        k = min(metrics.check_k(k), 2**31 - 2)
        where = None if where is None else checked_filter(where, FIELDS)
        vector = self._vector(image, text, vector)
        with self._home.in_words():
            collection = self._open()
            if collection is None:
                return []
            self._checked(collection)
            wanted = k + 1  # one more, to see whether the last place is shared
            while True:
                found = collection.query(
                    query_embeddings=[vector], n_results=wanted, where=where, include=["distances", "metadatas"]
                )
                ids, distances, rows = found["ids"][0], found["distances"][0], found["metadatas"][0]
                if len(ids) < wanted or distances[-1] > distances[k - 1]:
                    break
                wanted *= 2
        if not all(row and isinstance(row.get("label"), str) for row in rows):
            raise self._home.changed()
        root = collection.metadata.get("root", ".")
        order = sorted(range(len(ids)), key=lambda i: (distances[i], ids[i].split("/")))[:k]
        return [Match(_path(root, ids[i]), rows[i]["label"], self._score(distances[i]), ids[i]) for i in order]

    def _score(self, distance: float) -> float:
        return max(distance, 0.0) ** 0.5 if self.space == "l2" else 1.0 - distance

    def _vector(self, image: object, text: str | None, vector: np.ndarray | None) -> np.ndarray:
        """Return the vector of a query; raise a ValueError where Chroma would find something, or nothing, for it."""
        try:
            if image is not None:
                vector = self._encoder.encode_images([image])[0]
            elif text is not None:
                vector = self._encoder.encode_texts([text])[0]
            vector = np.asarray(vector)
        except Exception as error:  # of a file that is no picture, a text that is a number, a tensor on a GPU
            raise ValueError(f"no vector can be made of this query: {first_line(error)}") from error
        shape, kind = vector.shape, vector.dtype
        if kind.kind not in "fiub" or shape != (self._encoder.dim,):
            raise ValueError(
                f"the index holds vectors of shape ({self._encoder.dim},), and this one is {shape}, {kind}"
            )
        largest = float(np.abs(vector.astype(np.float64)).max(initial=0))
        if not (1e-15 if self.space == "cosine" else 0) <= largest < 1e15:  # what NaN is not, either
            raise ValueError(f"the vector's largest number is {largest:.0e}: it has no direction, or no distance")
        return vector.astype(np.float32)

    def clear(self) -> None:
        """Remove everything from the index and give it to this index's encoder; the next sync builds it anew."""
        with self._home.writing():
            if self._home.stored(self.name) is not None:
                self._home.client.delete_collection(self.name)
            self._create()

    def _open(self) -> chromadb.Collection | None:
        """Return the collection to read, or None while nothing is stored."""
        return self._home.collection(self.name)

    def _create(self) -> chromadb.Collection:
        return self._home.client.get_or_create_collection(
            self.name,
            metadata={"encoder": self._encoder.fingerprint, "encoder_name": self._encoder.name, "space": self.space},
            configuration={"hnsw": {"space": self.space, **HNSW}},
            embedding_function=None,
        )

    def _checked(self, collection: chromadb.Collection) -> chromadb.Collection:
        """Return the collection if it was built with this encoder, for this space; raise otherwise."""
        built = collection.metadata or {}
        if (built.get("encoder"), built.get("space")) == (self._encoder.fingerprint, self.space):
            return collection
        theirs = f"{built.get('encoder_name', 'of another program')} ({built.get('encoder', 'unknown')})"
        raise ValueError(
            f"the index {self.name!r} was built with the encoder {theirs} for the space {built.get('space')!r}, and "
            f"this is {self._encoder.name} ({self._encoder.fingerprint}) for {self.space!r}: their vectors cannot be "
            "compared. Open the index under another name, or rebuild it: index.clear(), then index.sync(gallery)"
        )


def open_index(
    where: str | Path | None = None, *, encoder: Encoder, name: str = "pictures", space: str = "cosine", **server: Any
) -> Index:
    """Open an index; where there is none yet, the first sync makes it.

    Parameters
    ----------
    where : str or Path, optional
        A folder, made if it is not there; or the address of a Chroma server, such as ``"http://localhost:8000"``
        (``https`` for TLS); or nothing, for an index in memory that is gone with the process. What looks like an
        address and is none is refused; a folder of such a name is given as a Path.
    encoder : Encoder
        What turns pictures and sentences into vectors. An index remembers its encoder and refuses any other.
    name : str
        3 to 512 letters, digits, ``.``, ``_`` or ``-``. One folder or server holds as many indexes as you like.
    space : {"cosine", "l2", "ip"}
    **server
        For a server, what ``chromadb.HttpClient`` takes: ``headers``, such as
        ``{"Authorization": "Bearer …"}``, ``tenant``, ``database``, ``settings``. What is not given is taken from
        ``CHROMA_SERVER_HEADERS``, ``CHROMA_TENANT`` and ``CHROMA_DATABASE`` in the environment.

    Returns
    -------
    Index

    Raises
    ------
    ValueError
        The space or name is unknown, or the folder holds something else than an index.
    ConnectionError
        No server answers at the address.
    RuntimeError
        Another process is syncing the same folder: open it when that is done, or let both use a server.
    OSError
        The folder cannot be written, or its index cannot be read.
    """
    if space not in SPACES:
        raise ValueError(f"unknown space {space!r}: choose one of {', '.join(SPACES)}")
    if not re.fullmatch(r"[a-zA-Z0-9][\w.-]{1,510}[a-zA-Z0-9]", name, re.ASCII):
        raise ValueError(
            f"{name!r:.80} is no name of an index: it has 3-512 characters, a-z, A-Z, 0-9, and ._- between"
        )
    index = Index(open_home(where, **server), encoder, name, space)
    index.count()  # which opens it
    return index


@lru_cache(maxsize=100_000)
def _path(root: str, key: str) -> Path:
    """Return the path of a picture, made once: making one takes as long as anything else that a query adds."""
    path = Path(f"{root}/{key}")
    there = os.path.exists(path)  # noqa: PTH110 (Path's own raises for a name that is too long)
    return path if there else find(Path(root), key.split("/")) or path


def _note(collection: chromadb.Collection, notes: dict[str, str | bool]) -> None:
    """Write something into the collection's own metadata, unless it stands there already."""
    if not notes.items() <= collection.metadata.items():
        collection.modify(metadata={**collection.metadata, **notes})


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
