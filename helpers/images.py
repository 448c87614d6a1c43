"""Find, open and resize pictures: a Gallery of them, one way to open any, one matrix of their pixels.

Odd files, odd folders and odd names come out right because of the back room, `helpers.backroom`.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from helpers.backroom import decode, folders
from helpers.backroom.decode import PictureSource, UnreadableImageError  # noqa: F401 (for whoever catches it)
from helpers.backroom.folders import Skipped, spelled
from helpers.backroom.place import choice_file, data_folder, must_exist

DATA = data_folder()
"""The pictures and the model that come with the course: ``COURSE_DATA`` in the environment, or `data` in a clone."""

QUIET = bool(os.environ.get("TQDM_DISABLE"))
"""No progress bars: they differ from run to run (tqdm's own reading of this variable fails in notebooks)."""

_OWN_PICTURES = choice_file()


@dataclass(frozen=True)
class Gallery:
    """Pictures in a fixed order, with the class of each.

    Attributes
    ----------
    root : Path
        The folder that was read, as a whole path: it stays right when the program goes to another folder.
    paths : list of Path
        The pictures that open, sorted by their ids, folder by folder and character by character: the same order
        on every system.
    labels : ndarray of str, shape (N,)
        The class of each picture, spelled as in `ids`: the name of the folder that it lies in, below what is wrapped
        around all classes. ``""`` for every picture where not each of them has a class.
    skipped : list of (Path, str)
        The files that are pictures, or should be, and were left out, each with the reason.
    """

    root: Path
    paths: list[Path]
    labels: np.ndarray
    skipped: list[tuple[Path, str]]

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        count = len(self.classes)
        in_classes = f" in {count} class{'es' if count > 1 else ''}" if self.has_labels else ", no classes"
        return f"{len(self)} picture{'s' if len(self) != 1 else ''}{in_classes}"

    @property
    def classes(self) -> list[str]:
        """The class names, sorted."""
        return sorted(set(self.labels.tolist()) - {""})

    @property
    def has_labels(self) -> bool:
        """Whether every picture has a class: without that there is nothing to score against."""
        return bool(len(self.labels)) and bool(np.all(self.labels != ""))

    @cached_property
    def ids(self) -> list[str]:
        r"""The path of each picture below `root`, folders separated by ``/``: no two are equal, and no system matters.

        Accents are written in one way (NFC). A byte that is no UTF-8, as in names from old archives, is written as
        ``\xe9``.
        """
        return [folders.id_of(path, self.root) for path in self.paths]

    def first(self, label: str, otherwise: int | None = None) -> int:
        """Return the row of the first picture of class `label`; where there is none, `otherwise`, or ValueError."""
        rows = np.flatnonzero(self.labels == label)
        if not len(rows) and otherwise is None:
            near = get_close_matches(label, self.classes, cutoff=0.4) or self.classes[:10]
            there = f"for instance {', '.join(near)}" if near else "there are none"
            raise ValueError(f"no picture is of the class {label!r}: choose a name in gallery.classes ({there})")
        return int(rows[0]) if len(rows) else otherwise

    def stand_ins(self, *labels: str) -> list[str]:
        """Return these classes; where some are missing, own classes in their place (if there are two at least)."""
        own = self.classes
        if set(labels) <= set(own) or len(own) < 2:
            return list(labels)
        return [own[i % len(own)] for i in range(len(labels))]

    def titles(self, rows: Iterable[int]) -> list[str]:
        """Name pictures for a reader: the class in words, or the name of the file where there is no class."""
        return [str(self.labels[i]).replace("_", " ") or spelled(self.paths[i].name) for i in rows]

    def take(self, indices: Iterable[int]) -> "Gallery":
        """Return the gallery of the pictures at `indices` only, in that order; `skipped` is left empty."""
        indices = np.asarray(list(indices), dtype=np.int64)
        return Gallery(self.root, [self.paths[i] for i in indices], self.labels[indices], [])


@dataclass(frozen=True, slots=True)
class Match:
    """One answer of a search.

    Attributes
    ----------
    path : Path
        The picture.
    label : str
        Its class, ``""`` if it has none.
    score : float
        How near it is: a similarity (larger is nearer) or a distance (smaller is nearer), as the search says.
    id : str
        Its path below the gallery's folder, the same on every system.
    """

    path: Path
    label: str
    score: float
    id: str


class Facts(NamedTuple):
    """What one look at a file tells.

    Attributes
    ----------
    hash : str
        SHA-256 of the file: it changes when the picture does, and not when it is moved or copied.
    size : (int, int)
        Width and height in pixels, as the picture is seen: upright, and not made smaller.
    """

    hash: str
    size: tuple[int, int]


def open_rgb(path: PictureSource | Image.Image) -> Image.Image:
    """Open any picture as one that every notebook can use.

    The result is upright (the camera's EXIF orientation is applied), in RGB with 8 bits per channel, with
    transparency laid on white; of an animation or a document of several pages it is the first. What a file holds
    counts, not what its name says. One with more than 36 million pixels comes out smaller. Opening takes less than
    600 MB, and one large picture is opened at a time.

    Parameters
    ----------
    path : str, Path, binary file or PIL image
        A picture in any format that Pillow reads: JPEG, PNG, HEIC, WebP, BMP, GIF, TIFF, … Of a binary file, the
        attribute ``name``, where it has one, is what messages call it. A PIL image becomes what its file would become
        (turned upright, unless ``ImageOps.exif_transpose`` has done that), of several frames the one it stands on; the
        given image stays as it is.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``, fully decoded; the file is closed.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnreadableImageError
        A ``ValueError``: the file is empty, cut off, no picture, of a kind that cannot be shown right, larger than
        100 million pixels, or takes too much memory; or it was closed before the PIL image was decoded. The message
        names the file and says why.
    """
    return decode.as_rgb(path)


def open_small(path: PictureSource, side: int) -> Image.Image:
    """Open as `open_rgb` does, and shrink what is larger than `side` × `side` pixels: of a large JPEG, much faster."""
    picture = decode.open_rgb(path, draft=2 * side)
    picture.thumbnail((side, side))
    return picture


_looked_at: dict[Path, tuple[tuple[int, ...], Facts]] = {}  # with what the disk said of each file before


def facts(path: Path) -> Facts:
    """Look at a picture's file once: whether it decodes to its end, what its content is, how large it is.

    A file that has not changed since (its size and its times on the disk say so) is not read again.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Facts

    Raises
    ------
    FileNotFoundError, UnreadableImageError
        As `open_rgb`.
    """
    stamp = decode.stamp_of(path)
    if path not in _looked_at or _looked_at[path][0] != stamp:
        _looked_at[path] = stamp, Facts(*decode.look_at(path))
    return _looked_at[path][1]


def load_gallery(folder: str | Path) -> Gallery:
    """Find every picture below `folder` and check that it opens.

    Folders may be nested to any depth and names be in any script. Hidden files, and files that are no pictures by
    their name and their first bytes, are ignored; a file that should be a picture and does not open is left out and
    listed, with the reason, in ``gallery.skipped``; one printed line says how many there are.

    Parameters
    ----------
    folder : str or Path
        ``folder/<class>/…`` gives classes; other folders may be wrapped around them. Below ``train``, ``test`` and
        ``val``, their subfolders are the classes. Pictures directly in `folder` have none: a few beside the folders
        of classes are left out, and where they are many, no picture has a class.

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
    root = folders.whole(folder)
    return _read(root, *folders.walk(root))


def _read(root: Path, found: list[Path], skipped: Skipped) -> Gallery:
    """Make a gallery of the files that were found below `root`."""
    paths = _those_that_open(root, found, skipped)
    tops = folders.parts(root, paths).values() or [root]
    ids = {path: folders.id_of(path, top) for path in paths for top in tops if path.is_relative_to(top)}
    labels = dict(zip(ids, folders.classes(list(ids.values())), strict=True))
    return _gallery(root, paths, [labels.get(path) for path in paths], skipped)


def _those_that_open(root: Path, files: list[Path], skipped: Skipped) -> list[Path]:
    """Return the files that open, in the order of their ids; add the others to `skipped`."""
    files, twins = folders.in_order(root, files)
    reasons = dict(zip(files, _side_by_side(_why_unreadable, files, "Checking pictures", delay=8), strict=True))
    skipped += [*twins, *((path, reason) for path, reason in reasons.items() if reason is not None)]
    paths = [path for path, reason in reasons.items() if reason is None]
    if not paths:
        named = "".join(f"\n  {spelled(str(path))} {reason}" for path, reason in skipped[:5])
        raise ValueError(
            f"no readable picture in {root}: expected files such as photo.jpg or drawing.png, "
            f"in one subfolder a class or directly in the folder{named}"
        )
    return paths


def _why_unreadable(path: Path) -> str | None:
    """Return None when the picture decodes to its end, else the reason, without the file's name."""
    try:
        facts(path)
    except (ValueError, OSError) as error:
        return str(error).removeprefix(spelled(str(path))).strip()
    return None


def _side_by_side(function: Callable, items: Sequence, told: str, delay: int) -> list:
    """Call a function for each item, some at a time; after `delay` seconds a bar shows how far it is."""
    bar = {"desc": told, "unit": " pictures", "delay": delay, "leave": False, "disable": QUIET}
    with ThreadPoolExecutor() as pool:
        return list(tqdm(pool.map(function, items), total=len(items), **bar))


def _gallery(root: Path, paths: list[Path], labels: list[str | None], skipped: Skipped) -> Gallery:
    """Make a gallery of the pictures that do not lie beside the classes, and say how many were left out."""
    beside = "lies beside the folders of the classes, so it has no class: move it into one"
    skipped += [(path, beside) for path, label in zip(paths, labels, strict=True) if label is None]
    kept = [(path, label) for path, label in zip(paths, labels, strict=True) if label is not None]
    if skipped:
        print(f"{len(kept)} pictures read, {len(skipped)} skipped: gallery.skipped names each, with the reason")
    return Gallery(root, [path for path, _ in kept], np.array([label for _, label in kept], dtype=str), skipped)


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
        # a large photograph comes out of its JPEG at half the size or less, in a fifth of the time; no side below 512
        picture = decode.as_rgb(sources[row], draft=max(512, 4 * size))
        matrix[row] = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)).reshape(-1) / 255

    _side_by_side(fill, range(len(sources)), "Reading pixels", delay=1)
    return matrix


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
        As `load_pictures`; what was remembered before then stays.
    """
    elsewhere = os.environ.get("COURSE_PICTURES", "")
    if elsewhere and str(folder or "bundled") != elsewhere:
        print(f"COURSE_PICTURES is set to {elsewhere}, which goes before this: start JupyterLab without it")
    if folder is None:
        _OWN_PICTURES.unlink(missing_ok=True)
        return
    with contextlib.redirect_stdout(None):  # `load_pictures`, which comes next, will say what it says
        _own(folder)
    _OWN_PICTURES.parent.mkdir(parents=True, exist_ok=True)
    _OWN_PICTURES.write_text(str(folders.whole(folder)), encoding="utf-8")


@_told_in_a_sentence
def load_pictures() -> tuple[Gallery, Gallery]:
    """Load the pictures that the notebooks work on, as a gallery to search in and queries to search with.

    They are those of the course, or the folder named in notebook 00 (``use_pictures``). Of a folder of your own that
    has ``train`` and ``test`` in it, the first is the gallery and the second holds the queries (``val``, where there
    is no ``test``); of any other, every sixth picture of a class (or of the folder, where there are no classes)
    becomes a query. ``COURSE_PICTURES`` in the environment goes before both: a folder, or ``bundled``.

    Returns
    -------
    (Gallery, Gallery)
        ``gallery, queries``: no picture is in both. What could not be opened is named in ``gallery.skipped``.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_gallery`, for each of the two; the course's pictures are not in `DATA`; or there are too few pictures
        to search.
    """
    chosen = os.environ.get("COURSE_PICTURES", "")
    if not chosen and _OWN_PICTURES.exists():
        chosen = _OWN_PICTURES.read_text(encoding="utf-8").removesuffix("\n")
    if chosen in ("", "bundled"):
        return load_gallery(must_exist(DATA / "train")), load_gallery(must_exist(DATA / "test"))
    try:
        return _name_copies(*_own(chosen))
    except (OSError, ValueError) as error:
        if os.environ.get("COURSE_PICTURES"):
            raise
        back = "It was set in notebook 0: set BRING_YOUR_OWN there to another folder, or to None"
        raise type(error)(f"{error}. {back}") from error


def _own(folder: str | Path) -> tuple[Gallery, Gallery]:
    """Return gallery and queries from a folder of one's own."""
    root = folders.whole(folder)
    found, skipped = folders.walk(root)
    halves = folders.halves(root, found, skipped)
    if not halves:
        return _held_out(_read(root, found, skipped))
    paths = [_those_that_open(*half) for half in halves]
    ids = [[folders.id_of(path, half[0]) for path in those] for half, those in zip(halves, paths, strict=True)]
    labels = folders.classes_of_halves(*ids)
    folders.tell_of_single_ones(labels[0] + labels[1])
    gallery, queries = (
        _gallery(half, those, names, skipped)
        for (half, _, skipped), those, names in zip(halves, paths, labels, strict=True)
    )
    known = np.isin(queries.labels, gallery.labels)
    if known.all() or not known.any():
        return gallery, queries
    unknown = ", ".join(sorted(set(queries.labels[~known].tolist())))
    print(f"{(~known).sum()} queries are left out, since the gallery has no picture of their class: {unknown}")
    return gallery, replace(queries.take(np.flatnonzero(known)), skipped=queries.skipped)


def _held_out(everything: Gallery) -> tuple[Gallery, Gallery]:
    """Return a gallery, and as queries every sixth picture of a class."""
    held = np.array(folders.held_out(everything.labels.tolist()))
    if not held.any():
        raise ValueError(f"{everything.root} holds too few pictures to search: put two at least into it, or a class")
    folders.tell_of_single_ones(everything.labels.tolist())
    gallery, queries = everything.take(np.flatnonzero(~held)), everything.take(np.flatnonzero(held))
    return replace(gallery, skipped=everything.skipped), queries


def _name_copies(gallery: Gallery, queries: Gallery) -> tuple[Gallery, Gallery]:
    """Print how many queries have an exact copy in the gallery, if any have; return both."""
    held = {facts(path).hash for path in gallery.paths}
    copied = [path for path in queries.paths if facts(path).hash in held]
    if copied:
        print(
            f"{len(copied)} of {len(queries)} queries have an exact copy in the gallery "
            f"({spelled(copied[0].name)}, say): they find it at once, and every score is too good"
        )
    return gallery, queries
