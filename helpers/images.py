"""Find, open and resize pictures: one way to open a picture, one list of them, one matrix of pixels."""

import argparse
import contextlib
import filecmp
import functools
import os
import stat
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm.auto import tqdm

DATA = Path(__file__).resolve().parent.parent / "data"
"""The pictures that come with the course."""

MAX_PIXELS = 100_000_000
"""A picture with more pixels than this is not opened: it may be a decompression bomb."""

QUIET = bool(os.environ.get("TQDM_DISABLE"))
"""No progress bars: they differ from run to run (tqdm's own reading of this variable fails in notebooks)."""

Image.init()
_READABLE = {ext for ext, name in Image.EXTENSION.items() if name in Image.OPEN} - {
    # documents, films and scientific containers that Pillow lists beside the pictures
    ".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".hdf", ".h5", ".grib", ".bufr", ".wmf", ".emf", ".fit", ".fits",
}  # fmt: skip
_KNOWN_UNREADABLE = {
    ".heic": "an iPhone picture (HEIC)",
    ".heif": "an iPhone picture (HEIF)",
    ".svg": "a vector drawing (SVG)",
    ".cr2": "a camera raw file",
    ".nef": "a camera raw file",
    ".dng": "a camera raw file",
    ".arw": "a camera raw file",
} | ({} if ".avif" in _READABLE else {".avif": "an AVIF picture"})

# Pillow warns of large pictures and of odd headers; what is wrong with a file is said here, once, in words.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

PictureSource = str | Path | BinaryIO


class UnreadableImageError(ValueError):
    """A file that should be a picture and cannot be opened as one; the message says why."""


@dataclass(frozen=True)
class Gallery:
    """Pictures in a fixed order, with the class of each.

    Attributes
    ----------
    root : Path
        The folder that was read.
    paths : list of Path
        The pictures that open, sorted by their path below `root`, character by character: the same order
        on every system.
    labels : ndarray of str, shape (N,)
        The class of each picture: the name of the folder directly below `root` that it lies in, ``""`` for a
        picture that lies in `root` itself.
    skipped : list of (Path, str)
        The files that look like pictures and could not be opened, each with the reason.
    """

    root: Path
    paths: list[Path]
    labels: np.ndarray
    skipped: list[tuple[Path, str]]

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"{len(self)} pictures" + (f" in {len(self.classes)} classes" if self.has_labels else ", no classes")

    @property
    def classes(self) -> list[str]:
        """The class names, sorted."""
        return sorted(set(self.labels.tolist()) - {""})

    @property
    def has_labels(self) -> bool:
        """Whether every picture has a class: without that there is nothing to score against."""
        return bool(len(self.labels)) and bool(np.all(self.labels != ""))

    def first(self, label: str, otherwise: int | None = None) -> int:
        """Return the row of the first picture of class `label`; where there is none, `otherwise`, or ValueError."""
        rows = np.flatnonzero(self.labels == label)
        if not len(rows) and otherwise is None:
            raise ValueError(f"there is no class {label!r}; the classes here: {', '.join(self.classes) or 'none'}")
        return int(rows[0]) if len(rows) else otherwise

    def stand_ins(self, *labels: str) -> list[str]:
        """Return these classes; where some are missing, own classes in their place (if there are two at least)."""
        own = self.classes
        if set(labels) <= set(own) or len(own) < 2:
            return list(labels)
        return [own[i % len(own)] for i in range(len(labels))]

    def titles(self, rows: Iterable[int]) -> list[str]:
        """Name pictures for a reader: the class in words, or the name of the file where there is no class."""
        return [str(self.labels[i]).replace("_", " ") or self.paths[i].name for i in rows]

    def take(self, indices: Iterable[int]) -> "Gallery":
        """Return the gallery of the pictures at `indices` only, in that order; `skipped` is left empty."""
        indices = np.asarray(list(indices), dtype=np.int64)
        return Gallery(self.root, [self.paths[i] for i in indices], self.labels[indices], [])


def _in_words(error: Exception) -> str:
    """Say in a student's words why Pillow could not open a file."""
    text = str(error)
    if isinstance(error, UnidentifiedImageError):
        return "is not a picture, whatever its name says, or is damaged at its start"
    if isinstance(error, Image.DecompressionBombError):
        return f"has far more than {MAX_PIXELS / 1e6:.0f} million pixels: shrink it first"
    if isinstance(error, PermissionError):
        return "may not be read: the permission is missing"
    if "truncated" in text or "unrecognized data stream" in text or "broken" in text.lower():
        return "is cut off or damaged: copy it again from where it came"
    return f"cannot be decoded ({text or type(error).__name__})"


def open_rgb(path: PictureSource) -> Image.Image:
    """Open any picture as one that every notebook can use.

    The result is upright (the camera's EXIF orientation is applied), in RGB with 8 bits a channel, with
    transparency laid on white; of an animation or a document of several pages it is the first.

    Parameters
    ----------
    path : str, Path or binary file
        A picture in any format that Pillow reads: JPEG, PNG, WebP, BMP, GIF, TIFF, … Of a binary file, the attribute
        ``name``, where it has one, is what messages call it.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``, fully decoded; the file is closed.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnreadableImageError
        A ``ValueError``: the file is empty, cut off, no picture, or larger than `MAX_PIXELS`. The message names
        the file and says why.
    """
    return _open_rgb(path, draft=None)


def open_small(path: PictureSource, side: int) -> Image.Image:
    """Open as `open_rgb` does, and shrink what is larger than `side` × `side` pixels: of a large JPEG, much faster."""
    picture = _open_rgb(path, draft=2 * side)
    picture.thumbnail((side, side))
    return picture


def _open_rgb(path: PictureSource, draft: int | None) -> Image.Image:
    """Open as `open_rgb` does; with `draft`, let a JPEG come out smaller, but no side below `draft` pixels."""
    name = getattr(path, "name", "the upload") if hasattr(path, "read") else str(path)
    if not hasattr(path, "read"):
        _check_is_file(Path(path))
    _check_is_known(str(name))
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UnreadableImageError(
                    f"{name} has {picture.width} × {picture.height} pixels, more than "
                    f"{MAX_PIXELS / 1e6:.0f} million: shrink it first"
                )
            if draft is not None:
                picture.draft("RGB", (draft, draft))
            picture.load()
            return to_rgb(_upright(picture))
    except UnreadableImageError:
        raise
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        raise UnreadableImageError(f"{name} {_in_words(error)}") from error


def _check_is_file(path: Path) -> None:
    """Raise, in words, unless `path` is an ordinary file with something in it (a pipe would hang forever)."""
    try:
        info = path.stat()
    except PermissionError as error:
        raise UnreadableImageError(f"{path} {_in_words(error)}") from error
    except OSError as error:
        if path.is_symlink():
            raise UnreadableImageError(f"{path} is a link that leads nowhere") from error
        raise FileNotFoundError(f"there is no picture {path}") from error
    if stat.S_ISDIR(info.st_mode):
        raise UnreadableImageError(f"{path} is a folder with a picture's name")
    if not stat.S_ISREG(info.st_mode):
        raise UnreadableImageError(f"{path} is not an ordinary file")
    if info.st_size == 0:
        raise UnreadableImageError(f"{path} is empty (0 bytes)")


def _check_is_known(name: str) -> None:
    """Raise, in words, if a file of this name is of a kind that cannot be read."""
    kind = _KNOWN_UNREADABLE.get(Path(name).suffix.lower())
    if kind:
        raise UnreadableImageError(f"{name} is {kind}, which Pillow does not read: export it as JPEG or PNG")


def _upright(picture: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; damaged EXIF is no reason to lose the picture."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        return picture


def to_rgb(picture: Image.Image) -> Image.Image:
    """Return `picture` in RGB with 8 bits a channel: deep greys scaled, transparency laid on white."""
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        values = np.asarray(picture, dtype=np.float64)
        low, high = min(0.0, float(np.nanmin(values))), float(np.nanmax(values))
        if picture.mode != "F" and low == 0 and high <= 65535:
            high = 65535.0
        elif picture.mode == "F" and low == 0 and high <= 1:
            high = 1.0
        grey = (np.nan_to_num(values) - low) / ((high - low) or 1.0) * 255
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        page = Image.new("RGBA", picture.size, "white")
        page.alpha_composite(picture)
        picture = page
    return picture.convert("RGB")


def _walk(root: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """List the files below `root` that are named like pictures, and what could not even be listed."""
    found: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    seen: set[str] = set()

    def cannot_list(error: OSError) -> None:
        skipped.append((Path(error.filename), "is a folder that may not be read: the permission is missing"))

    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=cannot_list):
        real = os.path.realpath(folder)
        if real in seen:  # a link back up the tree
            subfolders.clear()
            continue
        seen.add(real)
        named_like_pictures = [
            name
            for name in files + subfolders
            if not name.startswith(".") and Path(name).suffix.lower() in _READABLE | _KNOWN_UNREADABLE.keys()
        ]
        found += [Path(folder, name) for name in named_like_pictures]
        subfolders[:] = [n for n in subfolders if not n.startswith(".") and n not in named_like_pictures]
    return found, skipped


def _sort_key(path: Path, root: Path) -> tuple[str, ...]:
    """Compare paths folder by folder, letter by letter; macOS and Linux write 'é' differently, so normalise."""
    return tuple(unicodedata.normalize("NFC", part) for part in path.relative_to(root).parts)


def _why_unreadable(path: Path) -> str | None:
    """Return None when the picture decodes to its end, else the reason, without the file's name."""
    try:
        _open_rgb(path, draft=32)
    except (ValueError, OSError) as error:
        return str(error).removeprefix(str(path)).strip()
    return None


def load_gallery(folder: str | Path) -> Gallery:
    """Find every picture below `folder` and check that it opens.

    Folders may be nested to any depth and names be in any script. Hidden files and files that are no pictures by
    their name are ignored; a file that should be a picture and does not open is left out and listed, with
    the reason, in ``gallery.skipped``; one printed line says how many there are.

    Parameters
    ----------
    folder : str or Path
        ``folder/<class>/…`` gives classes; pictures directly in `folder` have none.

    Returns
    -------
    Gallery
        In an order that is the same on every system.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        `folder` is a file, or holds no readable picture.
    """
    root = Path(folder)
    if not root.exists():
        raise FileNotFoundError(
            f"there is no folder {root} (looked from {Path.cwd()}): "
            "give the path of a folder of pictures, with one subfolder a class if they have classes"
        )
    if not root.is_dir():
        raise ValueError(f"{root} is a file: give the path of the folder that holds the pictures")
    found, skipped = _walk(root)
    found.sort(key=lambda path: _sort_key(path, root))
    with ThreadPoolExecutor() as pool:
        checks = pool.map(_why_unreadable, found)
        reasons = list(
            tqdm(checks, total=len(found), desc="Checking pictures", unit=" pictures", delay=8, disable=QUIET)
        )
    paths = [path for path, reason in zip(found, reasons, strict=True) if reason is None]
    skipped += [(path, reason) for path, reason in zip(found, reasons, strict=True) if reason is not None]
    if not paths:
        named = "".join(f"\n  {path} {reason}" for path, reason in skipped[:5])
        raise ValueError(
            f"no readable picture in {root}: expected files such as photo.jpg or drawing.png, "
            f"in one subfolder a class or directly in the folder{named}"
        )
    if skipped:
        print(f"{len(paths)} pictures read, {len(skipped)} skipped: gallery.skipped names each, with the reason")
    keys = [_sort_key(path, root) for path in paths]
    labels = np.array([key[0] if len(key) > 1 else "" for key in keys], dtype=str)
    return Gallery(root, paths, labels, skipped)


def pixel_matrix(pictures: Gallery | Iterable[PictureSource | Image.Image], size: int = 64) -> np.ndarray:
    """Make one row of numbers of each picture: resize it to a square, write its pixels one after the other.

    Parameters
    ----------
    pictures : Gallery, or iterable of paths or PIL images
        N pictures. The aspect ratio is not kept: every picture is squeezed into the square.
    size : int
        Side of the square in pixels, at least 1.

    Returns
    -------
    ndarray of float32, shape (N, size * size * 3)
        Values in [0, 1]. Row by row, left to right, red, green, blue: ``row.reshape(size, size, 3)`` is the picture.

    Raises
    ------
    ValueError
        `size` is less than 1, or a picture cannot be opened (the message names it).
    """
    if size < 1:
        raise ValueError(f"size is the side of the square in pixels, at least 1, not {size}")
    sources = pictures.paths if isinstance(pictures, Gallery) else list(pictures)
    matrix = np.empty((len(sources), size * size * 3), dtype=np.float32)

    def fill(row: int) -> None:
        source = sources[row]
        # a large photograph comes out of its JPEG at half the size or less, in a fifth of the time; no side below 512
        picture = to_rgb(source) if isinstance(source, Image.Image) else _open_rgb(source, draft=max(512, 4 * size))
        matrix[row] = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)).reshape(-1) / 255

    with ThreadPoolExecutor() as pool:
        rows = pool.map(fill, range(len(sources)))
        list(tqdm(rows, total=len(sources), desc="Reading pixels", unit=" pictures", delay=1, disable=QUIET))
    return matrix


_OWN_PICTURES = DATA / "own_pictures.txt"


def _told_in_a_sentence(function):
    """Let a notebook show the sentence alone when `function` raises a ValueError or an OSError: no traceback."""

    @functools.wraps(function)
    def told(*arguments, **named):
        try:
            return function(*arguments, **named)
        except (OSError, ValueError) as error:
            lines = [f"{type(error).__name__}: {error}"]
            error._render_traceback_ = lambda: lines  # what IPython asks for
            raise

    return told


@_told_in_a_sentence
def use_pictures(folder: str | Path | None) -> None:
    """Remember which pictures the notebooks work on: `folder`, or with None those of the course.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_gallery`; what was remembered before then stays.
    """
    if folder is None:
        _OWN_PICTURES.unlink(missing_ok=True)
        return
    root = Path(folder).expanduser().resolve()
    with contextlib.redirect_stdout(None):  # `load_pictures`, which comes next, will say how many were skipped
        load_gallery(root)
    _OWN_PICTURES.write_text(str(root), encoding="utf-8")


@_told_in_a_sentence
def load_pictures() -> tuple[Gallery, Gallery]:
    """Load the pictures that the notebooks work on, as a gallery to search in and queries to search with.

    They are those of the course, or the folder named in notebook 00 (``use_pictures``). Of a folder of your own that
    has ``train`` and ``test`` in it, the first is the gallery and the second holds the queries; of any other,
    every sixth picture of a class (or of the folder, where there are no classes) becomes a query.
    ``COURSE_PICTURES`` in the environment goes before both: a folder, or ``bundled``.

    Returns
    -------
    (Gallery, Gallery)
        ``gallery, queries``: no picture is in both. What could not be opened is named in ``gallery.skipped``.
    """
    chosen = os.environ.get("COURSE_PICTURES", "")
    if not chosen and _OWN_PICTURES.exists():
        chosen = _OWN_PICTURES.read_text(encoding="utf-8").strip()
    root = DATA if chosen in ("", "bundled") else Path(chosen)
    if (root / "train").is_dir() and (root / "test").is_dir():
        return _name_copies(load_gallery(root / "train"), load_gallery(root / "test"))
    everything = load_gallery(root)
    seen: Counter[str] = Counter()
    held_out = np.zeros(len(everything), dtype=bool)
    for i, label in enumerate(everything.labels.tolist()):
        seen[label] += 1
        held_out[i] = seen[label] % 6 == 2  # the second, the eighth, …: a class of one stays in the gallery
    if not held_out.any():
        raise ValueError(f"{root} holds too few pictures to search: put at least two into a class")
    gallery, queries = everything.take(np.flatnonzero(~held_out)), everything.take(np.flatnonzero(held_out))
    gallery.skipped.extend(everything.skipped)
    return _name_copies(gallery, queries)


def _name_copies(gallery: Gallery, queries: Gallery) -> tuple[Gallery, Gallery]:
    """Print how many queries have an exact copy in the gallery, if any have; return both."""
    held = defaultdict(set)  # only files of one size can be copies: few are read
    for path in gallery.paths:
        held[path.stat().st_size].add(path)
    copied = [
        path
        for path in queries.paths
        if any(filecmp.cmp(path, other, shallow=False) for other in held[path.stat().st_size])
    ]
    if copied:
        print(
            f"{len(copied)} of {len(queries)} queries have an exact copy in the gallery ({copied[0].name}, say): "
            "they find it at once, and every score is too good"
        )
    return gallery, queries


def main(arguments: list[str] | None = None) -> None:
    """Run ``python -m helpers.images fetch NAME --to DIR``: bring a well-known data set, laid out by class."""
    from helpers import fetch

    parser = argparse.ArgumentParser(prog="python -m helpers.images", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("fetch", help="download a well-known data set (needs internet)")
    command.add_argument("name", choices=sorted(fetch.DATASETS))
    command.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to make")
    options = parser.parse_args(arguments)
    try:
        fetch.fetch(options.name, options.to)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
