"""Remember embeddings, so that no picture is encoded twice by the same model."""

import hashlib
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from helpers.clip import Encoder
from helpers.images import Gallery


def _cache(course: Path) -> Path:
    """Return where embeddings are kept: in the course's folder, or at home where many share one that is read-only."""
    own = course / ".cache"
    return own if os.access(own if own.exists() else course, os.W_OK) else Path.home() / ".cache" / "image-retrieval"


CACHE = _cache(Path(__file__).resolve().parent.parent)


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file: it changes when the picture does, and not when it is moved or copied."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_or_encode(encoder: Encoder, gallery: Gallery, folder: Path = CACHE) -> np.ndarray:
    """Return the embeddings of a gallery; encode only the pictures that this model has not seen yet.

    They are kept by the content of the picture, in one file a model, named by its fingerprint: another model never
    reads them. The file is replaced as a whole, so that a run that is stopped leaves the old one or the new one.

    Parameters
    ----------
    encoder : Encoder
    gallery : Gallery
        N pictures.
    folder : Path
        Where the files are kept; made if it is not there.

    Returns
    -------
    ndarray of float32, shape (N, encoder.dim)
        Rows of length 1, as ``encoder.encode_images(gallery)`` returns them; NaN for a picture that cannot be opened.

    Raises
    ------
    ValueError
        None of the pictures can be opened.
    """
    file = folder / f"embeddings-{encoder.fingerprint}.npz"
    known = _read(file, encoder.dim)
    hashes = [_hash_or_name(path) for path in gallery.paths]
    new = sorted({picture: row for row, picture in enumerate(hashes) if picture not in known}.values())
    if new:
        try:
            vectors = encoder.encode_images(gallery.take(new))
        except ValueError as error:  # none of the new ones can be opened
            if known.keys().isdisjoint(hashes):
                raise
            print(error)
            vectors = np.full((len(new), encoder.dim), np.nan, dtype=np.float32)
        for row, vector in zip(new, vectors, strict=True):
            known[hashes[row]] = vector
        try:
            _write(file, {picture: vector for picture, vector in known.items() if not np.isnan(vector).any()})
        except OSError as error:
            print(f"the embeddings were computed and cannot be kept for the next time: {error}")
    return np.stack([known[picture] for picture in hashes])


def _hash_or_name(path: Path) -> str:
    try:
        return content_hash(path)
    except OSError:  # the encoder says what is wrong with it
        return str(path)


def _read(file: Path, dim: int) -> dict[str, np.ndarray]:
    """Read what is remembered; nothing, where the file is missing or damaged."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            hashes, vectors = stored["hashes"], stored["vectors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    if vectors.shape != (len(hashes), dim) or vectors.dtype != np.float32:
        return {}
    return dict(zip(hashes.tolist(), vectors, strict=True))


def _write(file: Path, known: dict[str, np.ndarray]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.stem, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as part:
            np.savez(part, hashes=np.array(list(known)), vectors=np.stack(list(known.values())))
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
