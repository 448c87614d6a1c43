"""Fetch model weights from the hub: one short probe, checksums verified, nothing half-written left behind."""

import hashlib
import re
import threading
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

PROBE_SECONDS = 2.0


def in_cache(repository: str, files: Sequence[str]) -> bool:
    """Return whether one of `files` of the repository is in the local cache; nothing is asked over the network."""
    return any(isinstance(huggingface_hub.try_to_load_from_cache(repository, file), str) for file in files)


def answers(repository: str, files: Sequence[str]) -> bool:
    """Ask the hub once for the headers of `files`; whatever has not come after two seconds is a no."""
    answered = threading.Event()

    def ask() -> None:
        for file in files:
            try:
                huggingface_hub.get_hf_file_metadata(
                    huggingface_hub.hf_hub_url(repository, file), timeout=PROBE_SECONDS, retry_on_errors=False
                )
            except Exception:
                continue
            answered.set()
            return

    threading.Thread(target=ask, daemon=True).start()  # looking a name up cannot be interrupted, so not in this thread
    return answered.wait(PROBE_SECONDS)


def fetch(repository: str, files: Sequence[str]) -> Path:
    """Return the local path of the first of `files` that the repository has: cached, or fetched and checked.

    Raises
    ------
    ConnectionError
        The hub does not answer, has none of the files, or the file did not arrive whole. Nothing of it stays in the
        cache.
    """
    for file in files:
        cached = huggingface_hub.try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            return Path(cached)
    reason: Exception | None = None
    for file in files:
        try:
            path = Path(huggingface_hub.hf_hub_download(repository, file, etag_timeout=PROBE_SECONDS))
        except Exception as error:  # whatever the layers of the network raise
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                reason = error
                continue
            raise ConnectionError(f"{repository} could not be fetched whole: {str(error).splitlines()[0]}") from error
        _check_sha256(path, repository)
        return path
    raise ConnectionError(f"{repository} holds none of {', '.join(files)}") from reason


def _check_sha256(path: Path, repository: str) -> None:
    """Compare a fetched file with the checksum that the hub names (the cache calls the file by it)."""
    stored = path.resolve()
    if not re.fullmatch("[0-9a-f]{64}", stored.name):
        return  # a small file, which the hub knows by another kind of checksum
    with stored.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == stored.name:
            return
    path.unlink()
    stored.unlink(missing_ok=True)
    raise ConnectionError(f"{repository} arrived damaged (its checksum is wrong) and was removed: try again")
