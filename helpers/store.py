"""A gallery in ChromaDB: index it once, bring it up to date, query it by picture, sentence or vector.

The same code serves an index in memory, in a folder, and on a server. Two habits of Chroma's are made good here:

- It lets several processes open one folder, loses vectors without a word when two of them write, and goes on
  answering from what it read first. Here a writer holds the folder's lock, and a reader that finds that another process
  has written opens the folder anew.
- When stored vectors are replaced or removed, its graph can lose the way to others, then or later: they are still
  there, and no query finds them any more (chroma-core/chroma#7758). Here, from the first replaced or removed picture
  on, every sync that changes something asks each picture for itself, and stores anew those that are not found.
"""

import os
import re
import socket
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import chromadb
import httpx
import numpy as np
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings
from chromadb.errors import ChromaError, InvalidArgumentError, InvalidDimensionException, NotFoundError
from filelock import FileLock, Timeout
from PIL import Image
from tqdm.auto import tqdm

from helpers.clip import Encoder
from helpers.embeddings import content_hash
from helpers.images import QUIET, SPLITS, Gallery, PictureSource, find, spelled
from helpers.images import upright_size as _size

_Result = TypeVar("_Result")

SPACES = ("cosine", "l2", "ip")
HNSW = {"ef_construction": 200, "ef_search": 400, "max_neighbors": 32}
"""The settings of the graph, named in full, so that no result depends on a default of Chroma's."""

FIELDS = {"label": str, "split": str, "hash": str, "width": int, "height": int}
"""What is stored beside each vector, to filter by, and its type."""

OPERATORS = {str: ("$eq", "$ne", "$in", "$nin"), int: ("$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte")}
"""What can be asked of text and of whole numbers; Chroma takes more, and answers nothing or everything."""

BATCH = 256
"""Pictures that are encoded and stored at a time: what a sync that is killed may have to do again."""


_SERVER = re.compile(r"(https?)://(\[[\da-f:.%]+\]|[^\s/\\:@?#\[\]]+)(?::(\d{1,5}))?/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Match:
    """One answer of a query.

    Attributes
    ----------
    path : Path
        The picture.
    label : str
        Its class, ``""`` if it has none.
    score : float
        In the space ``cosine`` the cosine similarity and in ``ip`` the inner product, larger is nearer; in ``l2`` the
        Euclidean distance, smaller is nearer.
    id : str
        Its path below the gallery's folder, the same on every system.
    """

    path: Path
    label: str
    score: float
    id: str


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

    Attributes
    ----------
    name, space : str
        As given to `open_index`.
    where : str
        ``"memory"``, the folder, or the address.
    """

    def __init__(self, home: "_Home", encoder: Encoder, name: str, space: str) -> None:
        self.name, self.space, self.where = name, space, home.where
        self._home, self._encoder = home, encoder
        self._collection, self._seen = None, -1
        home.read(self._open)

    def __repr__(self) -> str:
        return f"{self.count()} pictures in the index {self.name!r} ({self.space}, {self.where})"

    def count(self) -> int:
        """Return the number of pictures in the index."""
        return self._home.read(lambda: self._open().count())

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
        with self._home.syncing():
            return self._sync(gallery)

    def _sync(self, gallery: Gallery) -> Report:
        root, split = str(gallery.root), SPLITS.get(gallery.root.name.lower(), "")
        self._collection = None  # notes that another program has left in it are seen only when it is fetched anew
        stored = self._home.read(lambda: _metadata(self._checked()))
        limit = self._home.client.get_max_batch_size()
        report = Report(skipped=list(gallery.skipped))
        wanted = {}
        for key, path, label in zip(gallery.ids, gallery.paths, gallery.labels.tolist(), strict=True):
            try:
                wanted[key] = (path, label, content_hash(path))
            except Exception as error:
                report.skipped.append((path, _why(error)))
        if not wanted:
            path, reason = report.skipped[-1]
            raise OSError(
                f"no picture of {gallery.root} can be read now ({spelled(path.name)} {reason}): nothing was changed in "
                "the index. Is the disk still there?"
            )
        self._note(root=root)

        same = [
            key for key, (_, _, digest) in wanted.items() if _is_whole(row := stored.get(key)) and row["hash"] == digest
        ]
        gone = list(stored.keys() - set(gallery.ids))
        todo = sorted(wanted.keys() - set(same))
        worn = bool(gone) or any(key in stored for key in todo) or self._open().metadata.get("worn", False)
        if worn and (gone or todo):
            self._note(worn=True, unchecked=True)  # a sync that is killed from here on leaves this to the next one
        for part in _parts(gone, limit):
            self._home.write(lambda part=part: self._checked().delete(ids=part))
        report.removed = len(gone)

        moved = [key for key in same if (stored[key]["label"], stored[key]["split"]) != (wanted[key][1], split)]
        for part in _parts(moved, limit):
            new = [{"label": wanted[key][1], "split": split} for key in part]
            self._home.write(lambda part=part, new=new: self._checked().update(ids=part, metadatas=new))
        report.updated, report.unchanged = len(moved), len(same) - len(moved)

        with tqdm(total=len(todo), desc="Indexing", unit=" pictures", delay=1, leave=False, disable=QUIET) as progress:
            for part in _parts(todo, min(BATCH, limit)):
                self._store(part, wanted, split, stored, report)
                progress.update(len(part))
        if self._open().metadata.get("unchecked"):
            report.repaired = self._repair()
            self._note(unchecked=False)
        return report

    def _note(self, **notes: str | bool) -> None:
        """Write something into the collection's own metadata, unless it stands there already."""
        before = self._home.read(lambda: self._checked().metadata)
        if {**before, **notes} != before:
            self._home.write(lambda: self._checked().modify(metadata={**before, **notes}))
            self._home.opened += 1  # other indexes of this process on the same collection read it again

    def _store(self, keys: Sequence[str], wanted: dict, split: str, stored: dict, report: Report) -> None:
        """Encode some pictures and store them; one that cannot be is left as it was, and named."""
        ids, rows, metadata = [], [], []
        for key, (vector, reason) in zip(keys, self._encode([wanted[key][0] for key in keys]), strict=True):
            path, label, digest = wanted[key]
            try:
                width, height = _size(path)
            except Exception as error:  # one odd picture costs no other
                reason = reason or _why(error)
            if reason:
                report.skipped.append((path, reason))
                continue
            ids.append(key)
            rows.append(vector)
            metadata.append({"label": label, "split": split, "hash": digest, "width": width, "height": height})
        old = [key for key in ids if key in stored]
        if old:  # taken out and put in: a vector that is replaced in its place costs others their way
            self._home.write(lambda: self._checked().delete(ids=old))
        if ids:
            self._home.write(lambda: self._checked().upsert(ids=ids, embeddings=np.stack(rows), metadatas=metadata))
        report.updated += len(old)
        report.added += len(ids) - len(old)

    def _encode(self, paths: Sequence[Path]) -> list[tuple[np.ndarray, str]]:
        """Return the vector of each picture, and why it has none; whatever one of them raises costs no other."""
        try:
            vectors = self._encoder.encode_images(paths)
        except Exception as error:
            if len(paths) == 1:
                return [(np.empty(0), _why(error))]
            middle = len(paths) // 2
            return self._encode(paths[:middle]) + self._encode(paths[middle:])
        reasons = dict(self._encoder.skipped)
        return [
            (vector, "" if np.isfinite(vector).all() else reasons.get(str(path), "could not be encoded"))
            for path, vector in zip(paths, vectors, strict=True)
        ]

    def _repair(self) -> int:
        """Ask every picture for itself, and store anew those that are not found; return how many these were."""
        repaired: set[str] = set()
        before = float("inf")
        for _ in range(10):  # storing one anew may, rarely, cost another one its way
            ids = self._home.read(lambda: self._checked().get(include=[])["ids"])
            lost = []
            for part in _parts(ids, BATCH):
                lost += self._home.read(lambda part=part: self._lost(part))
            if not lost:
                return len(repaired)
            if len(lost) > max(20, before / 2):  # many that stay lost are too crowded to be helped like this
                break
            before = len(lost)
            repaired.update(lost)
            for part in _parts(lost, BATCH):
                self._home.write(lambda part=part: self._store_anew(part))
        print(
            f"{len(lost)} stored pictures are not found by their own vectors, among many that are nearly the same. To "
            "try another graph: index.clear(), then index.sync(gallery)"
        )
        return len(repaired)

    def _lost(self, ids: Sequence[str]) -> list[str]:
        """Return those of some stored pictures that a search with their own vectors should find, and does not."""
        stored = self._checked().get(ids=list(ids), include=["embeddings"])
        found = self._checked().query(query_embeddings=stored["embeddings"], n_results=10, include=["distances"])
        own = 1 - (stored["embeddings"] ** 2).sum(axis=1) if self.space == "ip" else np.zeros(len(stored["ids"]))
        return [
            key
            for key, near, distances, distance in zip(stored["ids"], found["ids"], found["distances"], own, strict=True)
            # behind ten others that are as near, copies of it for instance, it is not lost
            if key not in near and (len(near) < 10 or distance < distances[-1] - 1e-5)
        ]

    def _store_anew(self, ids: Sequence[str]) -> None:
        stored = self._checked().get(ids=list(ids), include=["embeddings", "metadatas"])
        self._checked().delete(ids=stored["ids"])
        self._checked().add(ids=stored["ids"], embeddings=stored["embeddings"], metadatas=stored["metadatas"])

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
            over `FIELDS` and with their `OPERATORS`.

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
            encoder, or with rows of another program.
        OSError
            The server or the folder is gone, or cannot be read.
        """
        if sum(query is not None for query in (image, text, vector)) != 1:
            raise ValueError("give exactly one of image, text and vector")
        k = min(check_k(k), 2**31 - 2)
        where = None if where is None else _filter(where)
        try:
            if image is not None:
                vector = self._encoder.encode_images([image])[0]
            elif text is not None:
                vector = self._encoder.encode_texts([text])[0]
        except Exception as error:  # of a picture that is none, a text that is a number
            if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
                raise
            query = text if image is None else image
            raise ValueError(f"the query {query!r:.80} cannot be encoded ({_first_line(error)})") from error
        vector = self._check_vector(vector)
        wanted = k + 1  # one more, to see whether the last place is shared
        while True:
            ids, distances, metadata = self._nearest(vector, wanted, where)
            if len(ids) < wanted or distances[-1] > distances[k - 1]:
                break
            wanted *= 2
        try:
            labels = [row["label"] for row in metadata]
            "".join(labels)
        except (TypeError, KeyError) as error:
            raise ValueError(
                f"the index {self.name!r} holds rows of another program: index.sync(gallery) puts that right"
            ) from error
        root = (self._collection.metadata or {}).get("root", ".")
        order = sorted(range(len(ids)), key=lambda i: (distances[i], ids[i].split("/")))[:k]
        return [Match(_path(root, ids[i]), labels[i], self._score(distances[i]), ids[i]) for i in order]

    def _nearest(self, vector: np.ndarray, k: int, where: dict | None) -> tuple[list[str], list[float], list[dict]]:
        """Return ids, distances and metadata of the nearest `k`, by increasing distance."""
        found = self._home.read(
            lambda: self._checked().query(
                query_embeddings=[vector], n_results=k, where=where, include=["distances", "metadatas"]
            )
        )
        return found["ids"][0], found["distances"][0], found["metadatas"][0]

    def _score(self, distance: float) -> float:
        return max(distance, 0.0) ** 0.5 if self.space == "l2" else 1.0 - distance

    def _check_vector(self, vector: np.ndarray) -> np.ndarray:
        try:
            vector = np.asarray(vector)
        except (TypeError, RuntimeError) as error:  # tensors of PyTorch that NumPy does not read
            raise ValueError(f"NumPy makes no vector of this query ({_first_line(error)})") from error
        if vector.dtype.kind not in "fiub":
            raise ValueError(f"a vector is an array of numbers, and this one holds {vector.dtype}")
        if vector.shape != (self._encoder.dim,):
            raise ValueError(f"the index holds vectors of shape ({self._encoder.dim},), and this one is {vector.shape}")
        if not np.isfinite(vector).all():
            raise ValueError("the vector holds NaN or infinity")
        largest = np.abs(vector).max(initial=0)
        if self.space == "cosine" and largest == 0:
            raise ValueError("the vector is zero: it has no direction, so no cosine")
        if largest > 1e15 or (self.space == "cosine" and largest < 1e-15):  # its square leaves the range of float32
            raise ValueError(f"the vector's largest value is {largest:.0e}, too far from 1: divide it by its length")
        return vector.astype(np.float32)

    def clear(self) -> None:
        """Remove everything from the index and give it to this index's encoder; the next sync builds it anew."""

        def start_anew() -> None:
            with suppress(NotFoundError):  # another program has removed or renamed it
                self._home.client.delete_collection(self.name)
            self._collection = self._create(self._home.client)

        with self._home.syncing():
            self._home.write(start_anew)

    def _open(self) -> chromadb.Collection:
        """Return the collection as it is now."""
        if self._collection is None or self._seen != self._home.opened:
            self._collection, self._seen = self._create(self._home.client), self._home.opened
        return self._collection

    def _checked(self) -> chromadb.Collection:
        """As `_open`, for this encoder and space only."""
        collection = self._open()
        built = collection.metadata or {}
        if built.get("encoder") != self._encoder.fingerprint:
            theirs = f"{built.get('encoder_name', 'of another program')} ({built.get('encoder', 'unknown')})"
            ours = f"{self._encoder.name} ({self._encoder.fingerprint})"
            raise ValueError(
                f"the index {self.name!r} was built with the encoder {theirs}, and this one is {ours}: their vectors "
                "cannot be compared. Open the index under another name, or rebuild it: index.clear(), then "
                "index.sync(gallery)"
            )
        if built.get("space") != self.space:
            raise ValueError(
                f"the index {self.name!r} was built for the space {built.get('space')!r}, and this is "
                f"{self.space!r}: open it with that space, or under another name"
            )
        return collection

    def _create(self, client: chromadb.ClientAPI) -> chromadb.Collection:
        metadata = {
            "encoder": self._encoder.fingerprint,
            "encoder_name": self._encoder.name,
            "space": self.space,
        }
        return client.get_or_create_collection(
            self.name,
            metadata=metadata,
            configuration={"hnsw": {"space": self.space, **HNSW}},
            embedding_function=None,
        )


def open_index(
    where: str | Path | None = None, *, encoder: Encoder, name: str = "pictures", space: str = "cosine"
) -> Index:
    """Open an index, or make an empty one.

    Parameters
    ----------
    where : str or Path, optional
        A folder, made if it is not there; or the address of a Chroma server, such as ``"http://localhost:8000"``; or
        nothing, for an index in memory that is gone with the process. What looks like an address and is none is
        refused; a folder of such a name is given as a Path. Headers, tenant and database of a server are
        those of Chroma's own settings: ``CHROMA_SERVER_HEADERS``, ``CHROMA_TENANT``, ``CHROMA_DATABASE``.
    encoder : Encoder
        What turns pictures and sentences into vectors. An index remembers its encoder and refuses any other.
    name : str
        3 to 512 letters, digits, ``.``, ``_`` or ``-``. One folder or server holds as many indexes as you like.
    space : {"cosine", "l2", "ip"}

    Returns
    -------
    Index

    Raises
    ------
    ValueError
        The space or name is unknown, or the folder holds something else than an index.
    ConnectionError
        No server answers at the address.
    OSError
        The folder cannot be written, or its index cannot be read.
    """
    if space not in SPACES:
        raise ValueError(f"unknown space {space!r}: choose one of {', '.join(SPACES)}")
    if not isinstance(where, str | Path | None):
        raise ValueError(f"where is a folder or an address, as text or as a Path, not {type(where).__name__}")
    if where is None:
        home: _Home = _Memory()
    elif parts := _address(where):
        home = _Server(*parts)
    else:
        home = _Folder.at(Path(where))
    return Index(home, encoder, name, space)


def _settings() -> Settings:
    return Settings(anonymized_telemetry=False)


class _Home:
    """Where collections live.

    Attributes
    ----------
    where : str
        For people.
    client : chromadb.ClientAPI
    opened : int
        How often it was opened anew.
    """

    where: str
    client: chromadb.ClientAPI
    opened = 0

    def read(self, action: Callable[[], _Result]) -> _Result:
        """Do something that only reads, and say Chroma's errors in words."""
        with self._in_words():
            return self._read(action)

    def write(self, action: Callable[[], _Result]) -> _Result:
        """Do something that writes, and say Chroma's errors in words."""
        with self._in_words():
            return self._write(action)

    def _read(self, action: Callable[[], _Result]) -> _Result:
        return action()

    def _write(self, action: Callable[[], _Result]) -> _Result:
        return action()

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """Hold off other processes for a whole sync."""
        yield

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (InvalidArgumentError, InvalidDimensionException) as error:
            raise ValueError(str(error)) from error
        except NotFoundError as error:
            self.opened += 1  # so that the next call looks for the collection again
            raise OSError(
                f"the index in {self.where} was removed or rebuilt by another program: sync it, or ask again"
            ) from error
        except (ChromaError, OSError, httpx.HTTPError) as error:
            said = _first_line(error)
            if said.startswith("the index in"):
                raise
            if re.search("too many SQL variables|Expression tree is too large", said):
                raise ValueError("the filter asks for too many values at once: ask for fewer") from error
            raise OSError(
                f"the index in {self.where} does not work ({said}). What was stored before is not lost"
            ) from error


class _Memory(_Home):
    """A database of its own in this process, gone with it."""

    where = "memory"

    def __init__(self) -> None:
        database = uuid.uuid4().hex  # otherwise all indexes in memory would share one
        chromadb.AdminClient(_settings()).create_database(database)
        self.client = chromadb.EphemeralClient(settings=_settings(), database=database)


class _Server(_Home):
    """A Chroma server: it keeps order among its clients by itself."""

    def __init__(self, scheme: str, host: str, port: int) -> None:
        self.where = f"{scheme}://{host}:{port}"
        hint = f"start one with: chroma run --path FOLDER --port {port}"
        try:
            socket.create_connection((host.strip("[]"), port), timeout=3).close()
        except (OSError, UnicodeError) as error:
            raise ConnectionError(f"no server answers at {self.where} ({error}): {hint}") from error
        settings = _settings()
        try:
            self.client = chromadb.HttpClient(
                self.where,
                port,
                ssl=scheme == "https",
                headers=settings.chroma_server_headers,
                settings=settings,
                tenant=os.environ.get("CHROMA_TENANT", DEFAULT_TENANT),
                database=os.environ.get("CHROMA_DATABASE", DEFAULT_DATABASE),
            )
        except Exception as error:
            raise ConnectionError(
                f"what answers at {self.where} is no Chroma server ({_first_line(error)}): {hint}"
            ) from error


class _Folder(_Home):
    """A folder on this computer, shared with other processes through a lock."""

    _known: ClassVar[dict[Path, "_Folder"]] = {}

    @classmethod
    def at(cls, folder: Path) -> "_Folder":
        """Return the one home of a folder in this process (Chroma, too, keeps one)."""
        folder = Path(os.path.expanduser(folder)).resolve()  # noqa: PTH111 (Path's own raises for ~nobody)
        if folder not in cls._known or not (folder / "chroma.sqlite3").is_file():
            cls._known[folder] = cls(folder)
        return cls._known[folder]

    def __init__(self, folder: Path) -> None:
        self.where, self._path = str(folder), folder
        found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        if folder.is_file() or (found - {"in_use.lock", "syncing.lock", "writes"} and "chroma.sqlite3" not in found):
            raise ValueError(f"{folder} holds something else than an index: choose an empty folder or a new one")
        if folder in self._known:
            self._known.pop(folder)._close()
        self._lock = FileLock(folder / "in_use.lock", poll_interval=0.005)
        self._sync_lock = FileLock(folder / "syncing.lock")
        self._counter = folder / "writes"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise OSError(
                f"the index in {folder} cannot be opened ({error.strerror}): it needs a folder that may be written to. "
                "What was stored before is not lost"
            ) from error
        try:
            self._connect()
        finally:
            self._lock.release()

    def _connect(self) -> None:
        try:
            self.client = chromadb.PersistentClient(self._path, settings=_settings())
        except Exception as error:
            with suppress(Exception):  # one that could not start is kept by Chroma, until it is asked for once more
                chromadb.PersistentClient(self._path, settings=_settings()).close()
            if "already exists" in str(error):
                raise OSError(
                    f"this program has already opened {self._path} with chromadb itself: close that client "
                    "(client.close()), or restart the kernel"
                ) from error
            raise OSError(
                f"the index in {self._path} cannot be opened ({_first_line(error)}). If the disk is full, make room; "
                "if an older Chroma made it, or a file of it is damaged, remove the folder and sync again"
            ) from error
        self._known_writes = self._writes_so_far()
        self.opened += 1

    def _close(self) -> None:
        self.client.close()

    def _writes_so_far(self) -> int:
        """Count the writes of all processes: each leaves one byte in a file."""
        try:
            return self._counter.stat().st_size
        except FileNotFoundError:
            return 0

    def _read(self, action: Callable[[], _Result]) -> _Result:
        known = self._known_writes
        if self._writes_so_far() == known:
            try:
                result = action()
            except Exception:
                if self._writes_so_far() == known:
                    self._known_writes = -1
                    raise
            else:
                if self._writes_so_far() == known:
                    return result
        return self._locked(action)  # another process has written, or has begun to: wait for it

    def _write(self, action: Callable[[], _Result]) -> _Result:
        return self._locked(action, writes=True)

    def _check_is_there(self) -> None:
        if not (self._path / "chroma.sqlite3").is_file():
            raise FileNotFoundError(f"the index in {self._path} is gone: open it anew and sync")

    def _locked(self, action: Callable[[], _Result], writes: bool = False) -> _Result:
        self._check_is_there()
        with self._lock:
            if self._writes_so_far() != self._known_writes:
                self._known_writes = -1  # until it is open again
                self._close()
                self._connect()
            if writes:
                with self._counter.open("ab") as counter:
                    counter.write(b".")
                self._known_writes = self._writes_so_far()
            try:
                return action()
            except BaseException:  # after a full disk this client may hang, also when there is room again
                self._known_writes = -1
                raise

    @contextmanager
    def syncing(self) -> Iterator[None]:
        self._check_is_there()
        with self._in_words():
            try:
                self._sync_lock.acquire(timeout=0)
            except Timeout:
                raise RuntimeError(
                    f"another process is syncing {self.where}: wait until it is done, or let both use a server "
                    f"(chroma run --path {self.where})"
                ) from None
        try:
            yield
        finally:
            self._sync_lock.release()


@lru_cache(maxsize=100_000)
def _path(root: str, key: str) -> Path:
    """Return the path of a picture, made once: making one takes as long as anything else that a query adds."""
    path = Path(f"{root}/{key}")
    there = os.path.exists(path)  # noqa: PTH110 (Path's own raises for a name that is too long)
    return path if there else find(Path(root), key.split("/")) or path


def _parts(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut a list into parts of at most `size`."""
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _metadata(collection: chromadb.Collection, page: int = 10_000) -> dict[str, dict]:
    """Read what is stored beside each vector."""
    stored: dict[str, dict] = {}
    while True:
        part = collection.get(include=["metadatas"], limit=page, offset=len(stored))
        stored.update(zip(part["ids"], part["metadatas"], strict=True))
        if len(part["ids"]) < page:
            return stored


def _is_whole(row: dict | None) -> bool:
    """Say whether what is stored beside a vector is what a sync stores there."""
    return row is not None and all(type(row.get(name)) is kind for name, kind in FIELDS.items())


def _why(error: Exception) -> str:
    """Say why a picture that was there when the gallery was loaded cannot be stored now."""
    for cause in (error, error.__cause__):
        if isinstance(cause, OSError) and cause.strerror:
            return f"cannot be read any more ({cause.strerror})"
    if isinstance(error, ValueError | OSError):
        return str(error)
    return f"cannot be stored ({type(error).__name__}: {error})"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _address(where: str | Path) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a server; None for a folder. Raise for an address that is spelled wrong."""
    text = str(where).strip()

    def parts(text: str) -> tuple[str, str, int] | None:
        found = _SERVER.fullmatch(text)
        port = int(found[3] or (443 if found[1].lower() == "https" else 8000)) if found else 0
        return (found[1].lower(), found[2], port) if 0 < port < 2**16 else None

    if isinstance(where, Path):
        wrong = re.match(r"https?:[/\\]", text, re.IGNORECASE)
    elif server := parts(text):
        return server
    else:
        first = re.split(r"[/\\]", text.removeprefix("//"))[0]
        wrong = re.fullmatch(r"https?\W*|localhost|\d+(\.\d+){3}|.*:.*", first, re.IGNORECASE)
        wrong = wrong and not re.match(r"[a-z]:([/\\]|$)", text, re.IGNORECASE)  # a drive of Windows
    if not wrong and text:
        return None
    host = re.sub(r"^(https?(\W+|$)|\w*:?//)", "", text, flags=re.IGNORECASE).split("/")[0]
    right = f"{'https' if text.lower().startswith('https') else 'http'}://{host}"
    raise ValueError(
        f"{text!r} is no address of a server: write {right if parts(right) else 'http://localhost:8000'!r}. For a "
        f"folder of that name, give Path({text!r})"
    )


def check_k(k: int) -> int:
    """Return how many pictures to find as an int; raise a ValueError unless it is a whole number of at least 1."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k is how many pictures to find, a whole number, at least 1, not {k!r:.80}")
    return int(k)


def _filter(where: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return a filter as Chroma answers it rightly; raise where it would answer nothing or everything, in silence."""
    if depth > 40:
        raise ValueError("the filter is nested too deep: at most 40 times")
    if not isinstance(where, dict) or len(where) != 1:
        raise ValueError(
            f"{where!r:.80} is no filter: write one field and what it must be, {{'label': 'windmill'}}; more than one "
            "as {'$and': [{'label': 'windmill'}, {'width': {'$gt': 200}}]}"
        )
    ((field_, value),) = where.items()
    if field_ in ("$and", "$or"):
        if not isinstance(value, (list, tuple)) or not value:
            raise ValueError(f"{field_} takes a list of filters, [{{'label': 'windmill'}}, …], not {value!r:.80}")
        parts = [_filter(part, depth + 1) for part in value]
        return {field_: parts} if len(parts) > 1 else parts[0]
    if field_ not in FIELDS:
        raise ValueError(f"unknown field {field_!r} in the filter: choose among {', '.join(FIELDS)}")
    kind = FIELDS[field_]
    asked = value if isinstance(value, dict) else {"$eq": value}
    if len(asked) != 1 or (operator := next(iter(asked))) not in OPERATORS[kind]:
        raise ValueError(
            f"{value!r:.80} cannot be asked of {field_}: use one of {', '.join(OPERATORS[kind])}, in a dict of its own "
            "(several: '$and' with a list)"
        )
    (value,) = asked.values()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if operator not in ("$in", "$nin"):
        return {field_: {operator: _value(field_, kind, value)}}
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable) or not (values := list(value)):
        raise ValueError(f"{operator} takes a list of values with at least one in it, not {value!r:.80}")
    return {field_: {operator: [_value(field_, kind, part) for part in values]}}


def _value(name: str, kind: type, value: object) -> str | int:
    """Return a value of a filter in the type in which the field is stored."""
    if isinstance(value, np.generic):
        value = value.item()
    if kind is str and isinstance(value, str) and value == value.encode(errors="ignore").decode():
        return unicodedata.normalize("NFC", value)  # as labels are stored
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**63 and value % 1 == 0
    if kind is int and whole:
        return int(value)
    meant = "text in UTF-8, such as '3'" if kind is str else "a whole number, such as 3"
    raise ValueError(f"{name} is {meant}, and the filter asks for {value!r:.80} ({type(value).__name__})")
