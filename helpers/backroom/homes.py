"""Where collections of Chroma's live: in memory, in a folder with a lock, or on a server; what goes wrong, in words."""

import os
import re
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, ClassVar

import chromadb
import httpx
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings
from chromadb.errors import (
    AuthorizationError,
    ChromaAuthError,
    ChromaError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
)
from filelock import FileLock, Timeout

_OPTIONS = ("headers", "tenant", "database", "settings")


def open_home(where: str | Path | None, **server: Any) -> "Home":
    """Return the home of what lives in a folder, at an address, or with None in memory.

    Raises
    ------
    TypeError, ValueError
        `where` is no place for an index, is an address that is spelled wrong, or takes no options of a server.
    """
    if not isinstance(where, str | Path | None):
        raise ValueError(f"where is a folder or an address, as text or as a Path, not {type(where).__name__}")
    address = None if where is None else _address(where)
    if server and not address:
        raise TypeError(f"{', '.join(server)}: only a server takes this, and {where} is none")
    if unknown := server.keys() - _OPTIONS:
        raise TypeError(f"{', '.join(sorted(unknown))}: a server takes {', '.join(_OPTIONS)}")
    if where is None:
        return Home("memory", _in_memory)
    if address:
        return Home("{}://{}:{}".format(*address), lambda: _on_server(*address, **server))
    return Home.at(Path(where))


class Home:
    """Where collections live: a client of Chroma's, and the collections that were read with it.

    A folder has one home in a process, as Chroma keeps one client for it, and a lock, for one process at a time.
    """

    _folders: ClassVar[dict[Path, "Home"]] = {}

    def __init__(self, where: str, connect: Callable[[], chromadb.ClientAPI], folder: Path | None = None) -> None:
        self.where, self.folder, self._connect = where, folder, connect
        self.client: chromadb.ClientAPI | None = None
        self._collections: dict[str, chromadb.Collection] = {}
        self._lock = FileLock(folder / "syncing.lock") if folder else None

    @classmethod
    def at(cls, folder: Path) -> "Home":
        """Return the home of a folder, to be opened anew."""
        folder = Path(os.path.expanduser(folder)).resolve()  # noqa: PTH111 (Path's own raises for ~nobody)
        found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        if folder.is_file() or (found - {"syncing.lock"} and "chroma.sqlite3" not in found):
            raise ValueError(f"{folder} holds something else than an index: choose an empty folder or a new one")
        home = cls._folders.setdefault(folder, cls(str(folder), lambda: _in_folder(folder), folder))
        try:
            with home._alone():  # or a thread that writes would lose its client
                home.close()
        except OSError:  # a folder that may not be written to has nobody who writes
            home.close()
        return home

    def close(self) -> None:
        """Forget what was read; a folder is opened anew by the next call."""
        self._collections.clear()
        if self.folder and self.client:
            self.client.close()
            self.client = None

    def collection(self, name: str) -> chromadb.Collection | None:
        """Return a collection to read, as it was when it was first read; None where nothing is stored yet."""
        if name not in self._collections:
            with self._alone():  # counting reads its graph, and crashes while another process writes that
                collection = self.stored(name)
                if collection is None:
                    return None
                if not collection.count():
                    self.close()  # else this client would never find what another process stores in it
                    return None
                self._collections[name] = collection
        return self._collections[name]

    def stored(self, name: str) -> chromadb.Collection | None:
        """Return a collection as it is now; None where there is none."""
        self.client = self.client or self._connect()
        try:
            return self.client.get_collection(name, embedding_function=None)
        except NotFoundError:
            return None

    def changed(self) -> OSError:
        """Return what to say where what was read before and what is stored now do not go together."""
        changed = f"another program has changed the index in {self.where} since it was opened"
        return OSError(f"{changed}: open it again, or index.sync(gallery)")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of a folder, or say who does."""
        try:
            lock = self._lock.acquire(timeout=1) if self._lock else nullcontext()
        except Timeout:
            server = f"let both use a server (chroma run --path {self.where})"
            said = f"another process is syncing {self.where}: wait until it is done, or {server}"
            raise RuntimeError(said) from None
        with lock:
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold off other processes, start from what they have written, and say in words what goes wrong."""
        with self.in_words(), self._alone():
            self.close()
            try:
                yield
            except BaseException:
                self.close()  # after a full disk this client may hang, also when there is room again
                raise

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Say in words what goes wrong."""
        if self.folder and self.client and not os.path.exists(f"{self.folder}/chroma.sqlite3"):  # noqa: PTH110
            raise FileNotFoundError(f"the index in {self.where} is gone: open it anew and sync")
        try:
            yield
        except InvalidArgumentError as error:
            raise ValueError(str(error)) from error
        except NotFoundError as error:
            self._collections.clear()  # the next call looks for it again
            gone = "was removed or rebuilt by another program: sync it, or ask again"
            raise OSError(f"the index in {self.where} {gone}") from error
        except (ChromaError, httpx.HTTPError, OSError) as error:
            if isinstance(error, OSError) and error.strerror is None:  # said in words already
                raise
            said = first_line(error)
            if re.search("too many SQL variables|Expression tree is too large", said):
                raise ValueError("the filter asks for too many values at once: ask for fewer") from error
            if re.search("Error finding id|Nothing found on disk", said):
                raise self.changed() from error
            advice = (
                ". If the disk is full, make room; if an older Chroma made it, or a file of it is damaged, remove the "
                "folder and sync again"
            )
            kept = f"What was stored before is not lost{advice if self.folder else ''}"
            raise OSError(f"the index in {self.where} does not work ({said}). {kept}") from error


def _in_memory() -> chromadb.ClientAPI:
    database = uuid.uuid4().hex  # otherwise all indexes in memory would share one
    chromadb.AdminClient(_settings()).create_database(database)
    return chromadb.EphemeralClient(settings=_settings(), database=database)


def _on_server(scheme: str, host: str, port: int, **options: Any) -> chromadb.ClientAPI:
    where, hint = f"{scheme}://{host}:{port}", f"start one with: chroma run --path FOLDER --port {port}"
    try:
        socket.create_connection((host.strip("[]"), port), timeout=3).close()
        return chromadb.HttpClient(where, port, ssl=scheme == "https", **{**_of_environment(), **options})
    except (NotFoundError, InvalidArgumentError, AuthorizationError, ChromaAuthError) as error:
        raise ConnectionError(f"the server at {where} refuses: {first_line(error)}") from error
    except (OSError, ValueError, ChromaError, httpx.HTTPError) as error:
        raise ConnectionError(f"no Chroma server answers at {where} ({first_line(error)}): {hint}") from error


def _of_environment() -> dict[str, Any]:
    """Return what Chroma's own settings say of a server."""
    settings, said = _settings(), os.environ.get
    return {
        "settings": settings,
        "headers": settings.chroma_server_headers,
        "tenant": said("CHROMA_TENANT", DEFAULT_TENANT),
        "database": said("CHROMA_DATABASE", DEFAULT_DATABASE),
    }


def _in_folder(folder: Path) -> chromadb.ClientAPI:
    try:
        return chromadb.PersistentClient(folder, settings=_settings())
    except Exception as error:
        with suppress(Exception):  # one that could not start is kept by Chroma, until it is asked for once more
            chromadb.PersistentClient(folder, settings=_settings()).close()
        theirs = "already exists" in str(error)
        hint = "opened already with chromadb itself: close that client, client.close(), or restart the kernel"
        raise InternalError(hint if theirs else first_line(error)) from error


def _settings() -> Settings:
    return Settings(anonymized_telemetry=False)


_SERVER = re.compile(r"(https?)://(\[[\da-f:.%]+\]|[^\s/\\:@?#\[\]]+)(?::(\d{1,5}))?/?", re.IGNORECASE)
_LIKE_A_SERVER = re.compile(
    r"$|(?![a-z]:([/\\]|$))"  # nothing; or anything but a drive of Windows
    r"(//)?(https?\W*|localhost|\d+(\.\d+){3}|[^/\\]*:[^/\\]*)([/\\]|$)",
    re.IGNORECASE,
)


def _server(text: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an address; None for any other text."""
    found = _SERVER.fullmatch(text)
    port = int(found[3] or (443 if found[1].lower() == "https" else 8000)) if found else 0
    return (found[1].lower(), found[2], port) if 0 < port < 2**16 else None


def _address(where: str | Path) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a server; None for a folder. Raise for an address that is spelled wrong."""
    text = str(where).strip()
    if isinstance(where, str) and (server := _server(text)):
        return server
    if not (re.match(r"https?:[/\\]", text, re.IGNORECASE) if isinstance(where, Path) else _LIKE_A_SERVER.match(text)):
        return None
    host = re.sub(r"^(https?(\W+|$)|\w*:?//)", "", text, flags=re.IGNORECASE).split("/")[0]
    right = f"{'https' if text.lower().startswith('https') else 'http'}://{host}"
    raise ValueError(
        f"{text!r} is no address of a server: write {right if _server(right) else 'http://localhost:8000'!r}. For a "
        f"folder of that name, give Path({text!r})"
    )


def first_line(error: Exception) -> str:
    """Return what an error says, or its name where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
