"""Weights from the model hub: found in the cache, or downloaded into it, and never loaded unless they are whole."""

import hashlib
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from textwrap import shorten

import huggingface_hub
from huggingface_hub.errors import RemoteEntryNotFoundError


def fetch(repository: str, files: Sequence[str]) -> Path:
    """Return where the first of `files` that a repository of the hub has lies: in the cache, or downloaded into it."""
    for file in files:
        cached = huggingface_hub.try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            return _checked(Path(cached), Path(cached).resolve().name)
    for file in files:
        url = huggingface_hub.hf_hub_url(repository, file)
        try:  # looking a name up cannot be interrupted: that is done in a thread, which is left alone after 10 seconds
            with ThreadPool(1) as pool:
                asked = pool.apply_async(huggingface_hub.get_hf_file_metadata, (url,), {"timeout": 5})
                checksum = asked.get(timeout=10).etag
            path = Path(huggingface_hub.hf_hub_download(repository, file))
        except RemoteEntryNotFoundError:
            continue
        except Exception as error:  # whatever the layers of the network raise
            reason = shorten(str(error), 300) or "no answer"
            raise ConnectionError(
                f"{repository} is not on this computer and could not be fetched: {reason}. Try again with internet, or "
                'take the model that comes with the course, clip.load("bundled")'
            ) from error
        return _checked(path, checksum)
    raise ConnectionError(f"{repository} holds none of {', '.join(files)}")


def _checked(path: Path, checksum: str) -> Path:
    """Return a file whose SHA-256 is that of the hub (small files have another kind); remove any other, and raise."""
    with path.open("rb") as file:
        if len(checksum) != 64 or hashlib.file_digest(file, "sha256").hexdigest() == checksum:
            return path
    path.resolve().unlink()
    path.unlink(missing_ok=True)  # where it was a link
    raise ConnectionError(f"{path.name} arrived damaged (its checksum is wrong) and was removed: load it again")
