"""Find, open and resize pictures: one way to open a picture, one list of them, one matrix of pixels."""

import argparse
import contextlib
import filecmp
import functools
import io
import math
import mimetypes
import os
import re
import stat
import threading
import unicodedata
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, UnidentifiedImageError
from tqdm.auto import tqdm

DATA = Path(__file__).resolve().parent.parent / "data"
"""The pictures that come with the course."""

MAX_PIXELS = 100_000_000
"""A picture with more pixels than this is not opened: it may be a decompression bomb."""

LARGEST = 36_000_000
"""A picture with more pixels than this is opened smaller: each side divided by the same whole number."""

_MEMORY, _ALONE = 560e6, 160e6  # bytes: what opening one picture may take, and from where on it is opened alone
_ONE_LARGE = threading.Lock()
_ONE_BY_ONE = [threading.Lock() for _ in range(61)]  # for what is in memory or open already: it may be given twice
Image.core.set_block_size(64 << 20)  # blocks of more than 32 MB go back to the system as soon as they are freed

QUIET = bool(os.environ.get("TQDM_DISABLE"))
"""No progress bars: they differ from run to run (tqdm's own reading of this variable fails in notebooks)."""

pillow_heif.register_heif_opener()
Image.init()
_READABLE = {ext for ext, name in Image.EXTENSION.items() if name in Image.OPEN} - {
    # documents, films and scientific containers that Pillow lists beside the pictures
    ".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".hdf", ".h5", ".grib", ".bufr", ".wmf", ".emf", ".fit", ".fits",
} | {".mpo"}  # fmt: skip
_RAW, _JXL, _SVG, _TIFF = "a camera raw file", "a JPEG XL picture", "a vector drawing (SVG)", "a TIFF picture"
_KNOWN_UNREADABLE = {
    **dict.fromkeys([
        ".3fr", ".ari", ".arw", ".bay", ".cap", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr",
        ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".ori", ".pef", ".ptx", ".raf",
        ".raw", ".rw2", ".rwl", ".rwz", ".sr2", ".srf", ".srw", ".x3f",
    ], _RAW),
    ".jxl": _JXL,
    ".svg": _SVG,
    ".svgz": _SVG,
}  # fmt: skip
if ".avif" not in _READABLE:  # Pillow can be built without it
    _KNOWN_UNREADABLE[".avif"] = "an AVIF picture"
_BEGINNINGS = [  # the first that fits: a JPEG called .heic is a JPEG
    (rb"\xff\xd8\xff", "a JPEG picture"),
    (rb"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (rb"GIF8[79]a", "a GIF picture"),
    (rb"RIFF....WEBP", "a WebP picture"),
    (rb"....ftyp(avif|avis|mif1.{4,32}avif)", "an AVIF picture"),
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", "an iPhone picture (HEIC)"),
    (rb"....ftypcrx |II\*\0....CR|II(RO|RS|U\0)|MMOR|FUJIFILMCCD-RAW|FOVb|\0MRM", _RAW),
    (rb"II[*+]\0|MM\0[*+]", _TIFF),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", _JXL),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (rb"BM.{4}\0\0\0\0", "a BMP picture"),
    (rb"8BPS\0\x01", "a Photoshop picture"),
    (rb"\0\0[\x01\x02]\0[^\0]\0...\0", "an icon"),
    (rb"icns", "an icon"),
    (rb"qoif", "a QOI picture"),
    (rb"DDS \x7c\0\0\0", "a DDS picture"),
    (rb"P[1-6fF]\s+(#|-?\d)", "a PNM picture"),
    (rb"\s*(<\?xml.*|<!DOCTYPE svg.*|<!--.*)?<svg\b", _SVG),
]
_BEGINNINGS = [(re.compile(pattern, re.DOTALL), kind) for pattern, kind in _BEGINNINGS]


def _kind(head: bytes) -> str | None:
    """Say what a file is by its first bytes (some hundreds): "a JPEG picture", "a camera raw file", None if unknown."""
    return next((kind for pattern, kind in _BEGINNINGS if pattern.match(head)), None)


# Pillow warns of large pictures and of odd headers; what is wrong with a file is said here, once, in words.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

PictureSource = str | Path | BinaryIO
_Result = TypeVar("_Result")

_Tag, _GDAL_NODATA = ExifTags.Base, 42113
_To = Image.Transpose
_UPRIGHT = [None, None, _To.FLIP_LEFT_RIGHT, _To.ROTATE_180, _To.FLIP_TOP_BOTTOM, _To.TRANSPOSE, _To.ROTATE_270]
_UPRIGHT += [_To.TRANSVERSE, _To.ROTATE_90]  # by the number of the EXIF orientation
_JPEGS, _JPEG_END = ("JPEG", "MPO"), b"\xff\xd9"
_MENDABLE = 64_000_000  # bytes of a file
_EMPTY_ALPHA = ("BMP", "DIB", "CUR", "DDS", "ICO", "SGI", "TGA", "TIFF")
"""Formats whose alpha channel is often there and never filled: all zero means that there is none."""


class UnreadableImageError(ValueError):
    """A file that should be a picture and cannot be opened as one; the message says why."""


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
        r"""The path of each picture below `root`, folders parted by ``/``: no two are equal, and no system matters.

        Accents are written in one way (NFC). A byte that is no UTF-8, as in names from old archives, is written as
        ``\xe9``.
        """
        return [_id(path, self.root) for path in self.paths]

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


def _in_words(error: Exception, kind: str | None) -> str:
    """Say in a student's words why a file, which begins like `kind`, cannot be opened."""
    text = " ".join(str(error).split())
    if isinstance(error, UnreadableImageError):
        return text
    if isinstance(error, UnidentifiedImageError):
        if kind:
            return f"is {kind}, but damaged or of a rare variety: copy it again, or save it as JPEG or PNG"
        return "is not a picture, whatever its name says, or is damaged at its start"
    if isinstance(error, Image.DecompressionBombError):
        return f"has far more than {MAX_PIXELS / 1e6:.0f} million pixels: shrink it first"
    if isinstance(error, PermissionError):
        return "may not be read: the permission is missing"
    if re.search("truncated|data stream|broken|not enough image data|end of file|decoder object", text, re.IGNORECASE):
        return f"is cut off or damaged{f' ({kind})' if kind else ''}: copy it again from where it came"
    return f"{f'is {kind}, but ' if kind else ''}cannot be decoded ({text or type(error).__name__})"


def open_rgb(path: PictureSource) -> Image.Image:
    """Open any picture as one that every notebook can use.

    The result is upright (the camera's EXIF orientation is applied), in RGB with 8 bits a channel, with
    transparency laid on white; of an animation or a document of several pages it is the first. What a file holds
    counts, not what its name says. One with more than `LARGEST` pixels comes out smaller. Opening takes less than
    600 MB, and one large picture is opened at a time.

    Parameters
    ----------
    path : str, Path or binary file
        A picture in any format that Pillow reads: JPEG, PNG, HEIC, WebP, BMP, GIF, TIFF, … Of a binary file, the
        attribute ``name``, where it has one, is what messages call it.

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
        `MAX_PIXELS`, or takes too much memory. The message names the file and says why.
    """
    return _open_rgb(path, draft=None)


def open_small(path: PictureSource, side: int) -> Image.Image:
    """Open as `open_rgb` does, and shrink what is larger than `side` × `side` pixels: of a large JPEG, much faster."""
    picture = _open_rgb(path, draft=2 * side)
    picture.thumbnail((side, side))
    return picture


def _open_rgb(path: PictureSource, draft: int | None) -> Image.Image:
    """Open as `open_rgb` does; with `draft`, let a JPEG come out smaller, but no side below `draft` pixels."""

    def use(picture: Image.Image) -> tuple[Image.Image, int]:
        size = picture.size
        _lighten(picture, draft)
        return _decoded(picture, size, is_ours=True)

    return _turned(*_opened(path, use))


def to_rgb(picture: Image.Image) -> Image.Image:
    """Make of a PIL picture what `open_rgb` makes of its file; the given picture stays as it is.

    It is turned upright, unless that was done (``ImageOps.exif_transpose`` takes the mark away); deep greys are
    scaled, and transparency is laid on white. Of several frames it is the one that the picture stands on.

    Raises
    ------
    UnreadableImageError
        A ``ValueError``: as `open_rgb`, or the picture's file was closed before it was decoded.
    """
    try:
        with _ONE_BY_ONE[id(picture) // 16 % 61]:
            return _turned(*_decoded(picture, picture.size))
    except Exception as error:
        name = getattr(picture, "filename", "") or "the picture"
        raise UnreadableImageError(f"{name} {_in_words(error, None)}") from error


def upright_size(path: PictureSource) -> tuple[int, int]:
    """Return the width and height in pixels of a picture in a file, as it is seen: upright, and not made smaller.

    Raises
    ------
    FileNotFoundError, UnreadableImageError
        As `open_rgb`.
    """

    def size(picture: Image.Image) -> tuple[int, int]:
        if picture.format == "PNG":
            picture.load()  # the orientation may be written behind the pixels
        return picture.size[::-1] if _orientation(picture) > 4 else picture.size

    return _opened(path, size)


def _opened(source: PictureSource, use: Callable[[Image.Image], _Result]) -> _Result:
    """Open a file and return what `use` makes of it; damage that costs no pixels costs nothing."""
    is_stream = hasattr(source, "read")
    name = str(getattr(source, "name", "the upload")) if is_stream else str(source)
    if not is_stream:
        _check_is_file(Path(source))
    kind = None
    try:
        one_by_one = _ONE_BY_ONE[id(source) // 16 % 61] if is_stream else contextlib.nullcontext()
        with one_by_one, contextlib.nullcontext(source) if is_stream else Path(source).open("rb") as file:
            file.seek(0)
            kind = _kind(file.read(512))
            named = _KNOWN_UNREADABLE.get(Path(name).suffix.lower())
            if kind in _KNOWN_UNREADABLE.values() or (named and kind in (None, _TIFF)):
                refused = kind if kind in _KNOWN_UNREADABLE.values() else named
                raise UnreadableImageError(f"is {refused}, which Pillow does not read: export it as JPEG or PNG")
            try:
                file.seek(0)
                with Image.open(file if is_stream else source) as picture:
                    return use(picture)
            except (UnreadableImageError, PermissionError):
                raise
            except Exception:  # Pillow's decoders raise almost anything on damaged files
                file.seek(0)
                mended = _mended(file.read(_MENDABLE))
                if mended is None:
                    raise
                with Image.open(mended) as picture:
                    picture.info["whole"] = True
                    return use(picture)
    except Exception as error:
        raise UnreadableImageError(f"{name} {_in_words(error, kind)}") from error


def _check_is_file(path: Path) -> None:
    """Raise, in words, unless `path` is an ordinary file with something in it (a pipe would hang forever)."""
    try:
        info = path.stat()
    except PermissionError as error:
        raise UnreadableImageError(f"{path} {_in_words(error, None)}") from error
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


def _mended(data: bytes) -> BinaryIO | None:
    """Return a PNG or AVIF without what is no pixels, or a JPEG with its last two bytes; None if that is no help."""
    if len(data) == _MENDABLE:
        return None
    if data.startswith(b"\x89PNG"):
        chunks, start = [], 8
        while start < len(data):
            end = start + 12 + int.from_bytes(data[start : start + 4])
            name, chunk = data[start + 4 : start + 8], data[start:end]
            if name == b"eXIf" and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:]):
                chunks.insert(1, chunk)
            elif name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
                chunks.append(chunk)
            start = end
        return io.BytesIO(data[:8] + b"".join(chunks))
    if data.startswith(b"\xff\xd8"):
        body = data[: data.rindex(_JPEG_END)] if _JPEG_END in data[-64:] else data.removesuffix(b"\xff")
        return io.BytesIO(body + _JPEG_END) if _is_whole_jpeg(body) else None
    if data[4:8] == b"ftyp":
        return io.BytesIO(data.replace(b"Exif", b"skip"))
    return None


def _is_whole_jpeg(body: bytes) -> bool:
    """Whether a JPEG without its end has all its pixels: then it does not matter what stands behind them."""
    ways = []
    for filling in (b"", b"\x5a" * 512):
        with Image.open(io.BytesIO(body + filling + _JPEG_END)) as picture:
            if not picture.info.get("progressive"):  # of which a small copy needs only the beginning
                picture.draft(picture.mode, (1, 1))
            elif not _has_all_scans(body[body.rfind(b"\xff\xc2") :]):
                return False
            ways.append(picture.histogram())
    return ways[0] == ways[1]


def _has_all_scans(frame: bytes) -> bool:
    """Whether a progressive JPEG, from its frame header on, gives all coefficients of each colour to the last bit."""
    left = {(colour, i): None for colour in frame[10 : 10 + 3 * frame[9] : 3] for i in range(64)} if frame[9:] else {}
    for scan in re.finditer(rb"\xff\xda..(.)", frame, re.DOTALL):
        colours, limits = frame[scan.end() :][: 2 * scan[1][0] : 2], frame[scan.end() + 2 * scan[1][0] :][:3]
        if len(limits) == 3:
            left |= {(colour, i): limits[2] & 15 for colour in colours for i in range(limits[0], limits[1] + 1)}
    return bool(left) and not any(bits is None or bits for bits in left.values())


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8: 1 where it is odd, and for a TIFF, which Pillow turns itself."""
    with contextlib.suppress(Exception):  # odd EXIF is no reason to stop
        found = picture.getexif().get(_Tag.Orientation)
        if picture.format != "TIFF" and isinstance(found, int) and 1 <= found <= 8:
            return found
    return 1


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    return picture.transpose(_UPRIGHT[orientation]) if orientation > 1 else picture


def _ends_in_grey(picture: Image.Image) -> bool:
    """Whether a JPEG ends as libjpeg fills in what is missing: most do not, so few are looked at twice."""
    last = picture.crop((picture.width - 1, picture.height - 1, picture.width, picture.height))
    return all(127 <= value <= 128 for band in last.getextrema() for value in np.atleast_1d(band))


def _lighten(picture: Image.Image, draft: int | None) -> None:
    """Let a large picture (with `draft`, any JPEG) be decoded smaller, where its format can do that."""
    factor = _factor(picture.size, LARGEST)
    if picture.format in _JPEGS and (draft or factor > 1):
        size = (draft, draft) if draft else (picture.width // factor, picture.height // factor)
        picture.draft(picture.mode, size)
    elif picture.format == "JPEG2000":
        halvings = math.ceil(math.log2(_factor(picture.size, 20_000_000)))
        picture.reduce = min(halvings, _jpeg_2000(picture, 1))


def _jpeg_2000(picture: Image.Image, what: int) -> int:
    """Return 0, the bits a sample, or 1, how often the picture can be halved while it is decoded."""
    if not picture.fp:  # it was decoded before
        return 0
    picture.fp.seek(0)
    found = re.search(rb"\xff\x4f\xff\x51.{38}(.).*?\xff\x52.{7}(.)", picture.fp.read(8192), re.DOTALL)
    return ((found[1][0] & 127) + 1, found[2][0])[what] if found else 0


def _factor(size: tuple[int, int], most: int) -> int:
    """Return the smallest whole number by which both sides must be divided, so that `most` pixels are left."""
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / most)))


def _decoded(picture: Image.Image, size: tuple[int, int], is_ours: bool = False) -> tuple[Image.Image, int]:
    """Return a picture, of `size` in its file, in RGB as it lies there, and its orientation."""
    if size[0] * size[1] > MAX_PIXELS or max(size) > 1_000_000:
        raise UnreadableImageError(
            f"has {size[0]} × {size[1]} pixels, more than {MAX_PIXELS / 1e6:.0f} million"
            f"{'' if max(size) <= 1_000_000 else ' or than a million in a row'}: shrink it first"
        )
    if not all(size):
        raise UnreadableImageError("has no pixels")
    if picture.format == "TIFF":
        _check_tiff(picture)
    if picture.format == "JPEG2000" and not picture.mode.startswith("I;16") and _jpeg_2000(picture, 0) > 8:
        raise UnreadableImageError(
            "is a JPEG 2000 with more than 8 bits a colour, which Pillow does not read: save it as PNG"
        )
    slow = any(tile.codec_name in Image.DECODERS for tile in getattr(picture, "tile", ()))  # written in Python
    need = _memory(picture, size)
    if need > _MEMORY or (slow and size[0] * size[1] > 5_000_000):
        raise UnreadableImageError(
            f"has {size[0]} × {size[1]} pixels, and would take {'minutes' if slow else f'{need / 1e6:.0f} MB'} to open "
            f"as this variety of {picture.format}: shrink it first"
        )
    with _ONE_LARGE if need > _ALONE else contextlib.nullcontext():
        name = getattr(picture, "filename", "")
        if picture.format == "TIFF" and picture.tag_v2.get(_Tag.Orientation) in (5, 6, 7, 8):
            picture.filename = ""  # a named file is mapped into memory, and Pillow then takes the height for the width
        picture.load()
        if name:
            picture.filename = name
        if is_ours and picture.format in _JPEGS and not picture.info.get("whole") and _ends_in_grey(picture):
            raise OSError("truncated")
        result, orientation = _painted(picture), _orientation(picture)
        if is_ours and picture.filename:  # the reader's own stream stays open
            picture.close()  # before the next large one is decoded
    result.info.clear()  # above all the mark of what has been done: the orientation, the transparent colour
    return result, orientation


def _memory(picture: Image.Image, size: tuple[int, int]) -> float:
    """Estimate how many bytes it takes to open a picture: Pillow's copy, the result, what the decoder holds."""
    width, height = (side / 2 ** getattr(picture, "_reduce", 0) for side in picture.size)
    held = 1 if picture.mode in ("1", "L", "P") else 2 if picture.mode.startswith("I;16") else 4
    decoding = {"WEBP": 12, "AVIF": 9, "HEIF": 6, "JPEG2000": 18}.get(picture.format, 0)  # as measured
    need = width * height * (held + max(decoding, 4 / _factor((width, height), LARGEST) ** 2))
    if picture.info.get("progressive"):  # all coefficients are held, two bytes each; less of them in the colours
        _, across, down, _ = zip(*picture.layer, strict=True)
        need += 2 * size[0] * size[1] * np.dot(across, down) / (max(across) * max(down))
    if picture.format == "TIFF" and picture.info.get("compression") != "raw":
        tag = picture.tag_v2.get
        if tag(_Tag.TileWidth):
            block = tag(_Tag.TileWidth) * tag(_Tag.TileLength)
        else:
            block = width * min(tag(_Tag.RowsPerStrip, height), height)
        need += block * max(4, tag(_Tag.SamplesPerPixel, 1) * max(tag(_Tag.BitsPerSample, (1,))) / 8)
    return need


def _check_tiff(picture: Image.Image) -> None:
    """Raise for the kinds of TIFF that Pillow opens and does not decode right; others it refuses itself."""
    tag = picture.tag_v2.get
    bits, photometric, raw = (
        max(tag(_Tag.BitsPerSample, (1,))),
        tag(_Tag.PhotometricInterpretation, 0),
        picture.info["compression"] == "raw",
    )
    samples = tag(_Tag.SamplesPerPixel, 1)
    if tag(_Tag.DNGVersion) or (tag(_Tag.NewSubfileType, 0) & 1 and picture.tell() == 0):
        raise UnreadableImageError(f"begins with a small preview, as {_RAW} does: export it as JPEG or PNG")
    odd = {
        "signed bytes": bits == 8 and 2 in tag(_Tag.SampleFormat, (1,)),
        "16 bits in planes, not compressed": bits > 8 and samples > 1 and raw and tag(_Tag.PlanarConfiguration) == 2,
        "compressed numbers with the high byte first": (
            picture.mode in ("I", "F") and not raw and picture.tag_v2.prefix == b"MM"
        ),
        "colours at half the resolution, not compressed": (
            photometric == 6 and raw and samples > 1 and tag(_Tag.YCbCrSubSampling, (2, 2)) != (1, 1)
        ),
        "several inks": photometric == 5 and tag(_Tag.InkSet, 1) != 1,
        "14 bits a colour or less, in 16": bits == 16
        and samples >= 3
        and 0 < max(tag(_Tag.MaxSampleValue, (0,))) < 16384,
    }
    for what, is_so in odd.items():
        if is_so:
            raise UnreadableImageError(f"is a TIFF of a rare variety ({what}): save it as PNG or JPEG")


def _strips(picture: Image.Image, factor: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Yield a decoded picture in strips of about a million pixels, each with the row that it begins at."""
    rows = max(1, 1_000_000 // picture.width // factor) * factor
    for top in range(0, picture.height, rows):
        yield top, picture.crop((0, top, picture.width, min(top + rows, picture.height)))


def _painted(picture: Image.Image) -> Image.Image:
    """Return a decoded picture in RGB on white, made smaller if it has more than `LARGEST` pixels."""
    factor, paint = _factor(picture.size, LARGEST), _painter(picture)
    if paint is None and factor == 1:
        return picture.convert("RGB")
    result = Image.new("RGB", (-(-picture.width // factor), -(-picture.height // factor)))
    for top, strip in _strips(picture, factor):
        strip = paint(strip) if paint else strip.convert("RGB")
        result.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return result


def _painter(picture: Image.Image) -> Callable[[Image.Image], Image.Image] | None:
    """Return what makes RGB of a strip of `picture` where Pillow's own conversion is wrong, else None."""
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return _grey_painter(picture)
    tag = picture.tag_v2.get if picture.format == "TIFF" else {}.get
    deep = picture.mode in ("RGB", "RGBA") and 16 in tag(_Tag.BitsPerSample, ())
    if deep and 0 < max(high for _, high in picture.getextrema()[:3]) < 16:
        raise UnreadableImageError("is a TIFF of 12 bits a colour or less, in 16: save it as PNG or JPEG")
    colours, key = tag(_Tag.ColorMap), picture.info.get("transparency")
    if picture.mode in ("P", "PA") and colours and max(colours) < 256:  # Pillow knows numbers up to 65535, the rule
        palette = np.array(colours, dtype=np.uint8).reshape(3, -1).T.tobytes()
    elif picture.has_transparency_data:
        palette = None
    else:
        return None
    if picture.format == "PNG" and picture.mode in ("1", "L") and key:  # of 1, 2 or 4 bits, and pixels of 8
        greys = np.flatnonzero(picture.histogram())
        key *= next((step for top, step in ((1, 255), (3, 85), (15, 17)) if key <= top and not (greys % step).any()), 1)
    elif picture.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        key = tuple(value >> 8 for value in key)

    def on_white(strip: Image.Image) -> Image.Image:
        if palette:
            strip.putpalette(palette)
        if key is not None:
            strip.info["transparency"] = key
        strip = strip.convert("LA" if strip.mode == "La" else "RGBA").convert("RGBA")
        if is_opaque:
            return strip.convert("RGB")
        page = Image.new("RGBA", strip.size, "white")
        page.alpha_composite(strip)
        return page.convert("RGB")

    is_opaque = picture.format in _EMPTY_ALPHA and not any(
        strip.convert("RGBA").getextrema()[3][1] for _, strip in _strips(picture)
    )
    return on_white


def _grey_painter(picture: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Return what makes RGB of a strip of a deep grey picture: its numbers between its black and its white."""
    tag = picture.tag_v2.get if picture.format == "TIFF" else {}.get
    signed, key = 2 in tag(_Tag.SampleFormat, (1,)), picture.info.get("transparency")
    kind = np.uint32 if tag(_Tag.BitsPerSample) == (32,) and picture.mode == "I" and not signed else None
    nothing = [-9999.0, -99999.0, -32768.0]
    with contextlib.suppress(ValueError):
        nothing.append(float(tag(_GDAL_NODATA, "nan").strip("\0 ")))

    def numbers(strip: Image.Image) -> np.ndarray:
        values = np.asarray(strip)
        return values.view(kind or values.dtype).astype(np.float64)

    low, high = 0.0, -math.inf
    for _, strip in _strips(picture):
        values = numbers(strip)
        values = values[(abs(values) < 1e19) & ~np.isin(values, nothing)]
        low, high = min(low, values.min(initial=0)), max(high, values.max(initial=-math.inf))
    if picture.mode == "F":
        steps = [1.0]
    elif picture.format == "TIFF":  # often the 10 or 12 bits of a sensor, in a file for 16
        steps = [255, 1023, 4095, 16383, 32767 if signed else 65535]
        high = max(high, *(value for value in tag(_Tag.MaxSampleValue, (0,)) if value <= 65535))
    else:
        steps = [65535]
    if low == 0:
        high = next((step for step in steps if high <= step), high)

    def paint(strip: Image.Image) -> Image.Image:
        values = numbers(strip)
        values[np.isnan(values) | np.isin(values, nothing)] = low
        grey = ((values - low) / ((high - low) or 1)).clip(0, 1) * 255
        if tag(_Tag.PhotometricInterpretation) == 0:
            grey = 255 - grey
        if isinstance(key, int):
            grey[values == key] = 255
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")

    return paint


_NO_PICTURES = {ext for ext, kind in mimetypes.MimeTypes().types_map[True].items() if not kind.startswith("image/")}
_NO_PICTURES -= {".bin"}  # texts, films, archives, …: not worth a look inside
_LEFT_BY_SYSTEMS = {
    "$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "lost+found", "lost.dir",
    "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "__pycache__",
}  # fmt: skip
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(("val", "valid", "validation"), "val")
"""The parts of a data set, by the names of their folders in small letters."""


def spelled(name: str) -> str:
    r"""Write a file's name as text to print, store and compare: in NFC, and bytes that are no UTF-8 as ``\xe9``."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _id(path: Path, root: Path) -> str:
    return "/".join(spelled(part) for part in path.relative_to(root).parts)


def find(folder: Path, parts: Sequence[str]) -> Path | None:
    """Return the file in `folder` with the id ``"/".join(parts)``, however the disk stores its name, or None."""
    if not parts:
        return folder
    try:
        inside = sorted(path for path in folder.iterdir() if spelled(path.name) == parts[0])
    except OSError:
        return None
    return next(filter(None, (find(path, parts[1:]) for path in inside)), None)


def _may_be_picture(path: Path) -> bool:
    """Tell by its name, or by its first bytes where the name says nothing, whether a file should be a picture."""
    suffix = path.suffix.lower()
    if suffix in _READABLE or suffix in _KNOWN_UNREADABLE:
        return True
    try:
        if suffix in _NO_PICTURES or not path.is_file():  # reading a pipe would hang forever
            return False
        with path.open("rb") as file:
            return _kind(file.read(512)) is not None
    except OSError:
        return False


def _walk(root: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """List the files below `root` that should be pictures, and what could not even be listed.

    Links are followed last: what they lead to is found by its own name, and once, in whatever order a disk lists it.
    """
    found: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    links: list[Path] = []
    homes: dict[Path, Path] = {}  # where the folders and pictures really are

    def cannot_list(error: OSError) -> None:
        skipped.append((Path(error.filename), "is a folder that may not be read: the permission is missing"))

    def look(start: Path) -> None:
        for name, subfolders, files in os.walk(start, onerror=cannot_list):
            folder, real = Path(name), Path(os.path.realpath(name))
            if real in homes:
                skipped.append((folder, f"is here already, as {_id(homes[real], root)}"))
                subfolders.clear()
                continue
            homes[real] = folder
            inside = [folder / name for name in subfolders if not _is_hidden(name)]
            named = [path for path in inside if path.suffix.lower() in _READABLE]
            linked = {path for path in inside if Path(os.path.realpath(path)) != real / path.name}
            subfolders[:] = [path.name for path in inside if path not in named and path not in linked]
            pictures = [folder / name for name in files if not _is_hidden(name)]
            pictures = [path for path in pictures if _may_be_picture(path)]
            linked |= {path for path in pictures if os.path.islink(path)}  # noqa: PTH114 (Path's own may raise)
            named += [path for path in pictures if path not in linked]
            links.extend(linked)
            found.extend(named)
            homes.update((real / path.name, path) for path in named)

    look(root)
    while links:
        now = sorted(links, key=lambda link: _id(link, root).split("/"))
        links.clear()
        for link in now:
            real = Path(os.path.realpath(link))
            if real in homes:
                skipped.append((link, f"is a link to {_id(homes[real], root) or 'this folder'}, which is here already"))
            elif root.is_relative_to(real):
                skipped.append((link, "is a link to a folder around this one"))
            elif os.path.isdir(link):  # noqa: PTH112 (Path's own may raise)
                look(link)
            else:
                found.append(link)
                homes[real] = link
    return found, skipped


def _is_hidden(name: str) -> bool:
    """Tell files and folders that systems keep for themselves."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def _splits(folder: Path) -> dict[str, Path]:
    """Return the folders named as the parts of a data set, by what they are (train, test, val); or none of them.

    They are parts only beside each other: ``train`` alone may be a class.
    """
    inside = sorted((path for path in folder.iterdir() if path.name.lower() in SPLITS), reverse=True)
    parts = {SPLITS[path.name.lower()]: path for path in inside if path.is_dir()}
    return parts if "train" in parts and len(parts) > 1 else {}


def _parts(root: Path, files: list[Path]) -> dict[str, Path]:
    """Return the `_splits` in `root`, or in the folder inside that it is only wrapped around, as archives do."""
    folder, inside = root, [path.relative_to(root).parts for path in files]
    while not (splits := _splits(folder)):
        names = {parts[0] for parts in inside if len(parts) > 1}
        if len(names) != 1:
            break
        folder, inside = folder / names.pop(), [parts[1:] for parts in inside if len(parts) > 1]
    return splits


def _labels(ids: list[str]) -> list[str | None]:
    """Return the class of each picture: ``""`` for all where there are none, None for a stray one beside the classes.

    The classes are the first folders that are more than one; those around them are only wrapped around.
    """
    everything = inside = [key.split("/") for key in ids]
    depth = 0
    while True:
        folders = {parts[0] for parts in inside if len(parts) > 1}
        deeper = [parts[1:] for parts in inside if len(parts) > 1]
        if len(folders) != 1 or max(map(len, deeper)) == 1:
            break
        depth, inside = depth + 1, deeper
    stray = len(ids) - len(deeper)
    if stray and (len(folders) < 2 or stray > len(deeper) / len(folders)):
        if folders:
            print(f"{stray} of {len(ids)} pictures lie in no folder of a class, so these pictures have no classes")
        return [""] * len(ids)
    labels = [parts[depth] if len(parts) > depth + 1 else None for parts in everything]
    if len(folders) == 1:
        print(f"All pictures are of one class ({folders.pop()}): any answer is right, so scores of 1.0 mean nothing")
    return labels


def _why_unreadable(path: Path) -> str | None:
    """Return None when the picture decodes to its end, else the reason, without the file's name."""
    try:
        _open_rgb(path, draft=32)
    except (ValueError, OSError) as error:
        return str(error).removeprefix(str(path)).strip()
    return None


def _folder(folder: str | Path) -> Path:
    """Return the whole path of a folder of pictures; raise, in words, where there is none."""

    def whole(name: str) -> Path:
        return Path(os.path.realpath(os.path.expanduser(name)))  # noqa: PTH111 (Path's own raises for ~nobody)

    root, bare = whole(str(folder)), str(folder).strip(" \t\r\n\"'")
    if not bare or not os.path.exists(root):  # noqa: PTH110 (Path's own raises for a name that is too long)
        if bare and bare != str(folder) and whole(bare).is_dir():
            raise FileNotFoundError(f"there is no folder {str(folder)!r}: leave out the quotes or spaces around {bare}")
        raise FileNotFoundError(
            f"there is no folder {folder} (looked from {Path.cwd()}): "
            "give the path of a folder of pictures, with one subfolder a class if they have classes"
        )
    if not root.is_dir():
        raise ValueError(f"{root} is a file: give the path of the folder that holds the pictures")
    if spelled(str(root)) != unicodedata.normalize("NFC", str(root)):
        raise ValueError(f"the path {spelled(str(root))} is not written in UTF-8: rename the folder")
    return root


def _readable(root: Path, files: list[Path], skipped: list[tuple[Path, str]]) -> list[Path]:
    """Return the files that open, in the order of their ids; add the others to `skipped`."""
    ids = {path: _id(path, root) for path in files}
    # of two names that differ in nothing but how accents are stored, the one that is spelled as its id comes first
    files = sorted(files, key=lambda path: (ids[path].split("/"), path.relative_to(root).as_posix() != ids[path]))
    twins = {path for before, path in pairwise(files) if ids[before] == ids[path]}
    skipped += [(path, "has the name of another picture here, stored in another way: rename it") for path in twins]
    files = [path for path in files if path not in twins]
    with ThreadPoolExecutor() as pool:
        checks = pool.map(_why_unreadable, files)
        reasons = list(
            tqdm(
                checks,
                total=len(files),
                desc="Checking pictures",
                unit=" pictures",
                delay=8,
                leave=False,
                disable=QUIET,
            )
        )
    skipped += [(path, reason) for path, reason in zip(files, reasons, strict=True) if reason is not None]
    paths = [path for path, reason in zip(files, reasons, strict=True) if reason is None]
    if not paths:
        named = "".join(f"\n  {spelled(str(path))} {reason}" for path, reason in skipped[:5])
        raise ValueError(
            f"no readable picture in {root}: expected files such as photo.jpg or drawing.png, "
            f"in one subfolder a class or directly in the folder{named}"
        )
    return paths


def _gallery(root: Path, paths: list[Path], labels: list[str | None], skipped: list[tuple[Path, str]]) -> Gallery:
    """Make a gallery of the pictures that do not lie beside the classes, and say how many were left out."""
    skipped += [
        (path, "lies beside the folders of the classes, so it has no class: move it into one")
        for path, label in zip(paths, labels, strict=True)
        if label is None
    ]
    kept = [(path, label) for path, label in zip(paths, labels, strict=True) if label is not None]
    if skipped:
        print(f"{len(kept)} pictures read, {len(skipped)} skipped: gallery.skipped names each, with the reason")
    return Gallery(root, [path for path, _ in kept], np.array([label for _, label in kept], dtype=str), skipped)


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
    root = _folder(folder)
    found, skipped = _walk(root)
    paths = _readable(root, found, skipped)
    tops = _parts(root, paths).values() or [root]
    ids = {path: _id(path, top) for path in paths for top in tops if path.is_relative_to(top)}
    labels = dict(zip(ids, _labels(list(ids.values())), strict=True))
    return _gallery(root, paths, [labels.get(path) for path in paths], skipped)


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
        if isinstance(source, Image.Image) and source.format in _JPEGS and source.tile and not source.tell():
            source = source.fp or source  # not decoded yet, so it is what its file holds
        # a large photograph comes out of its JPEG at half the size or less, in a fifth of the time; no side below 512
        picture = to_rgb(source) if isinstance(source, Image.Image) else _open_rgb(source, draft=max(512, 4 * size))
        matrix[row] = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)).reshape(-1) / 255

    with ThreadPoolExecutor() as pool:
        rows = pool.map(fill, range(len(sources)))
        list(
            tqdm(rows, total=len(sources), desc="Reading pixels", unit=" pictures", delay=1, leave=False, disable=QUIET)
        )
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
        As `load_pictures`; what was remembered before then stays.
    """
    elsewhere = os.environ.get("COURSE_PICTURES", "")
    if elsewhere and str(folder or "bundled") != elsewhere:
        print(f"COURSE_PICTURES is set to {elsewhere}, which goes before this: start JupyterLab without it")
    if folder is None:
        _OWN_PICTURES.unlink(missing_ok=True)
        return
    with contextlib.redirect_stdout(None):  # `load_pictures`, which comes next, will say what it says
        _load(folder)
    _OWN_PICTURES.write_text(str(_folder(folder)), encoding="utf-8")


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
        As `load_gallery`, for each of the two; or there are too few pictures to search.
    """
    chosen = os.environ.get("COURSE_PICTURES", "")
    if not chosen and _OWN_PICTURES.exists():
        chosen = _OWN_PICTURES.read_text(encoding="utf-8").removesuffix("\n")
    if chosen in ("", "bundled"):
        return load_gallery(DATA / "train"), load_gallery(DATA / "test")
    try:
        return _name_copies(*_load(chosen))
    except (OSError, ValueError) as error:
        if os.environ.get("COURSE_PICTURES"):
            raise
        back = "It was set in notebook 0: set BRING_YOUR_OWN there to another folder, or to None"
        raise type(error)(f"{error}. {back}") from error


def _load(folder: str | Path) -> tuple[Gallery, Gallery]:
    """Return gallery and queries from a folder of one's own."""
    root = _folder(folder)
    found, skipped = _walk(root)
    parts = _parts(root, found) if found else {}
    if not parts:
        return _held_out(load_gallery(root))
    halves = [parts["train"], parts.get("test") or parts["val"]]
    unused = {path for path in found if not any(path.is_relative_to(half) for half in halves)}
    if unused:
        together = Counter(path.parent for path in unused)
        told = sorted({_id(path if together[path.parent] == 1 else path.parent, root) or "." for path in unused})
        rest = ", …" if len(told) > 10 else ""
        print(
            f"{len(unused)} pictures are not in {halves[0].name} or {halves[1].name}, and not used: "
            f"{', '.join(told[:10])}{rest}"
        )
    missed = [[item for item in skipped if item[0].is_relative_to(half)] for half in halves]
    paths = [
        _readable(half, [path for path in found if path.is_relative_to(half)], items)
        for half, items in zip(halves, missed, strict=True)
    ]
    ids = [[_id(path, half) for path in those] for half, those in zip(halves, paths, strict=True)]
    labels: list[str | None] = []
    if all(any("/" in key for key in keys) for keys in ids):  # what is wrapped around the classes shows in both
        labels = _labels(ids[0] + ids[1])
    if set(labels[: len(ids[0])]).isdisjoint(labels[len(ids[0]) :]):  # or it is wrapped around those of one half only
        labels = _labels(ids[0]) + _labels(ids[1])
    _tell_of_single_ones(labels)
    gallery = _gallery(halves[0], paths[0], labels[: len(ids[0])], missed[0])
    queries = _gallery(halves[1], paths[1], labels[len(ids[0]) :], missed[1])
    known = np.isin(queries.labels, gallery.labels)
    if known.all() or not known.any():
        return gallery, queries
    unknown = ", ".join(sorted(set(queries.labels[~known].tolist())))
    print(f"{(~known).sum()} queries are left out, since the gallery has no picture of their class: {unknown}")
    answerable = queries.take(np.flatnonzero(known))
    answerable.skipped.extend(queries.skipped)
    return gallery, answerable


def _tell_of_single_ones(labels: Iterable[str | None]) -> None:
    alone = sorted(label for label, count in Counter(labels).items() if count == 1 and label)
    if alone:
        print(f"Classes with one picture, for which there is nothing else to find: {', '.join(alone)}")


def _held_out(everything: Gallery) -> tuple[Gallery, Gallery]:
    """Return a gallery, and as queries every sixth picture of a class."""
    seen: Counter[str] = Counter()
    held_out = np.zeros(len(everything), dtype=bool)
    for i, label in enumerate(everything.labels.tolist()):
        seen[label] += 1
        held_out[i] = seen[label] % 6 == 2  # the second, the eighth, …: a class of one stays in the gallery
    if not held_out.any():
        raise ValueError(f"{everything.root} holds too few pictures to search: put two at least into it, or a class")
    _tell_of_single_ones(everything.labels.tolist())
    gallery, queries = everything.take(np.flatnonzero(~held_out)), everything.take(np.flatnonzero(held_out))
    gallery.skipped.extend(everything.skipped)
    return gallery, queries


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
            f"{len(copied)} of {len(queries)} queries have an exact copy in the gallery "
            f"({spelled(copied[0].name)}, say): they find it at once, and every score is too good"
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
