"""Open any picture, to its end or not at all, in RGB on white, without taking much memory.

A file is judged by what it holds; what cannot be shown right raises UnreadableImageError, in words.
"""

import contextlib
import hashlib
import math
import os
import re
import stat
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from helpers.backroom import kinds
from helpers.backroom.folders import spelled
from helpers.backroom.kinds import MAX_PIXELS, UnreadableImageError, in_words
from helpers.backroom.mend import mended
from helpers.backroom.paint import LARGEST, factor_for, painted

PictureSource = str | Path | BinaryIO

_JPEGS = ("JPEG", "MPO")
_MEMORY, _ALONE = 560e6, 160e6  # bytes: what opening one picture may take, and from where on it is opened alone
_ONE_LARGE = threading.Lock()
_ONE_BY_ONE = [threading.Lock() for _ in range(61)]  # for what is in memory or open already: it may be given twice
_TICK = 0.02  # seconds: how long a disk may give the same time to all that is written
Image.core.set_block_size(64 << 20)  # blocks of more than 32 MB go back to the system as soon as they are freed

# Pillow warns of large pictures and of odd headers; what is wrong with a file is said here, once, in words.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_Tag, _To = ExifTags.Base, Image.Transpose
_UPRIGHT = [None, None, _To.FLIP_LEFT_RIGHT, _To.ROTATE_180, _To.FLIP_TOP_BOTTOM, _To.TRANSPOSE, _To.ROTATE_270]
_UPRIGHT += [_To.TRANSVERSE, _To.ROTATE_90]  # by the number of the EXIF orientation


def open_rgb(source: PictureSource, draft: int | None = None) -> Image.Image:
    """Open a file as ``images.open_rgb`` does; a JPEG may come out smaller, but no side below `draft` pixels."""
    with _file(source) as file:
        picture, orientation, _ = _decoded_file(file, draft, is_ours=file is not source)
    return _turned(picture, orientation)


def to_rgb(picture: Image.Image) -> Image.Image:
    """Make of a PIL picture what `open_rgb` makes of its file; the given picture stays as it is."""
    try:
        with _one_by_one(picture):
            return _turned(*_decoded(picture, picture.size))
    except Exception as error:
        name = spelled(getattr(picture, "filename", "") or "the picture")
        raise UnreadableImageError(f"{name} {in_words(error, None)}") from error


def as_rgb(source: PictureSource | Image.Image, draft: int | None = None) -> Image.Image:
    """Return a file or a PIL picture as `open_rgb` and `to_rgb` do; with `draft`, a JPEG may come out smaller."""
    if draft and isinstance(source, Image.Image) and source.format in _JPEGS and source.tile and not source.tell():
        source = source.fp or source  # not decoded yet, so it is what its file holds
    return to_rgb(source) if isinstance(source, Image.Image) else open_rgb(source, draft)


def look_at(path: Path) -> tuple[str, tuple[int, int]]:
    """Decode a file to its end; return its SHA-256, and the size of the upright picture in pixels."""
    with _file(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        _, orientation, size = _decoded_file(file, draft=32, is_ours=True)
    return digest, size[::-1] if orientation > 4 else size


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return what tells, without a look inside, whether a file is still the same; raise where it is none.

    A file that was written just now is waited for: written over before the clock moves on, it would look the same.
    """
    info = check_is_file(path)
    if abs(time.time() - max(info.st_mtime, info.st_ctime)) < _TICK:
        time.sleep(_TICK)
        info = check_is_file(path)
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino


def check_is_file(path: Path) -> os.stat_result:
    """Return what the disk says of an ordinary file with something in it; else raise (a pipe would hang forever)."""
    name = spelled(str(path))
    try:
        info = path.stat()
    except PermissionError as error:
        raise UnreadableImageError(f"{name} {in_words(error, None)}") from error
    except OSError as error:
        if path.is_symlink():
            raise UnreadableImageError(f"{name} is a link that leads nowhere") from error
        raise FileNotFoundError(f"there is no picture {name}") from error
    if stat.S_ISDIR(info.st_mode):
        raise UnreadableImageError(f"{name} is a folder with a picture's name")
    if not stat.S_ISREG(info.st_mode):
        raise UnreadableImageError(f"{name} is not an ordinary file")
    if info.st_size == 0:
        raise UnreadableImageError(f"{name} is empty (0 bytes)")
    return info


def _one_by_one(source: object) -> threading.Lock:
    return _ONE_BY_ONE[id(source) // 16 % 61]


@contextlib.contextmanager
def _file(source: PictureSource) -> Iterator[BinaryIO]:
    """Give a picture's file, open at its start; whatever goes wrong with it is said in words, with its name."""
    is_stream = hasattr(source, "read")
    name = spelled(str(getattr(source, "name", "the upload")) if is_stream else str(source))
    if not is_stream:
        check_is_file(Path(source))
    kind = None
    try:
        with _one_by_one(source) if is_stream else Path(source).open("rb") as opened:
            file = source if is_stream else opened
            file.seek(0)
            kind = kinds.kind_of(file.read(512))
            if refused := kinds.refused(kind, Path(name).suffix):
                raise UnreadableImageError(f"is {refused}, which Pillow does not read: export it as JPEG or PNG")
            file.seek(0)
            yield file
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        raise UnreadableImageError(f"{name} {in_words(error, kind)}") from error


def _decoded_file(file: BinaryIO, draft: int | None, is_ours: bool) -> tuple[Image.Image, int, tuple[int, int]]:
    """Return the picture in a file, in RGB as it lies there, its orientation, and its size before it was made smaller.

    Damage that costs no pixels costs nothing. A file that `is_ours` is closed early, to save memory.
    """

    def decoded(stream: BinaryIO, **how: bool) -> tuple[Image.Image, int, tuple[int, int]]:
        with Image.open(stream) as picture:
            size = picture.size
            _lighten(picture, draft)
            return *_decoded(picture, size, **how), size

    try:
        file.seek(0)
        return decoded(file, may_be_cut=True, close=is_ours)
    except (UnreadableImageError, PermissionError):
        raise
    except Exception:
        whole = mended(file)
        if whole is None:
            raise
        return decoded(whole, close=True)


def _lighten(picture: Image.Image, draft: int | None) -> None:
    """Let a large picture (with `draft`, any JPEG) be decoded smaller, where its format can do that."""
    factor = factor_for(picture.size, LARGEST)
    if picture.format in _JPEGS and (draft or factor > 1):
        size = (draft, draft) if draft else (picture.width // factor, picture.height // factor)
        picture.draft(picture.mode, size)
    elif picture.format == "JPEG2000":
        halvings = math.ceil(math.log2(factor_for(picture.size, 20_000_000)))
        picture.reduce = min(halvings, _jpeg_2000(picture, 1))


def _decoded(
    picture: Image.Image, size: tuple[int, int], *, may_be_cut: bool = False, close: bool = False
) -> tuple[Image.Image, int]:
    """Return a picture, of `size` in its file, in RGB as it lies there, and its orientation."""
    _check_can_be_shown(picture, size)
    with _ONE_LARGE if _memory(picture, size) > _ALONE else contextlib.nullcontext():
        name = getattr(picture, "filename", "")
        if picture.format == "TIFF" and picture.tag_v2.get(_Tag.Orientation) in (5, 6, 7, 8):
            picture.filename = ""  # a named file is mapped into memory, and Pillow then takes the height for the width
        picture.load()
        if name:
            picture.filename = name
        if may_be_cut and picture.format in _JPEGS and _ends_in_grey(picture):
            raise OSError("truncated")
        result, orientation = painted(picture), _orientation(picture)
        if close:
            picture.close()  # before the next large one is decoded
    result.info.clear()  # above all the mark of what has been done: the orientation, the transparent colour
    return result, orientation


def _ends_in_grey(picture: Image.Image) -> bool:
    """Whether a JPEG ends as libjpeg fills in what is missing: most do not, so few are looked at twice."""
    last = picture.crop((picture.width - 1, picture.height - 1, picture.width, picture.height))
    return all(127 <= value <= 128 for band in last.getextrema() for value in np.atleast_1d(band))


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8: 1 where it is odd, and for a TIFF, which Pillow turns itself."""
    with contextlib.suppress(Exception):  # odd EXIF is no reason to stop
        found = picture.getexif().get(_Tag.Orientation)
        if picture.format != "TIFF" and isinstance(found, int) and 1 <= found <= 8:
            return found
    return 1


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    return picture.transpose(_UPRIGHT[orientation]) if orientation > 1 else picture


def _check_can_be_shown(picture: Image.Image, size: tuple[int, int]) -> None:
    """Raise where a picture, of `size` in its file, has too many pixels, or Pillow would show it wrong."""
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


def _jpeg_2000(picture: Image.Image, what: int) -> int:
    """Return 0, the bits a sample, or 1, how often the picture can be halved while it is decoded."""
    if not picture.fp:  # it was decoded before
        return 0
    picture.fp.seek(0)
    found = re.search(rb"\xff\x4f\xff\x51.{38}(.).*?\xff\x52.{7}(.)", picture.fp.read(8192), re.DOTALL)
    return ((found[1][0] & 127) + 1, found[2][0])[what] if found else 0


def _memory(picture: Image.Image, size: tuple[int, int]) -> float:
    """Estimate how many bytes it takes to open a picture: Pillow's copy, the result, what the decoder holds."""
    width, height = (side / 2 ** getattr(picture, "_reduce", 0) for side in picture.size)
    held = 1 if picture.mode in ("1", "L", "P") else 2 if picture.mode.startswith("I;16") else 4
    decoding = {"WEBP": 12, "AVIF": 9, "HEIF": 6, "JPEG2000": 18}.get(picture.format, 0)  # as measured
    need = width * height * (held + max(decoding, 4 / factor_for((width, height), LARGEST) ** 2))
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
    bits, samples, photometric = (
        max(tag(_Tag.BitsPerSample, (1,))),
        tag(_Tag.SamplesPerPixel, 1),
        tag(_Tag.PhotometricInterpretation, 0),
    )
    raw = picture.info["compression"] == "raw"
    if tag(_Tag.DNGVersion) or (tag(_Tag.NewSubfileType, 0) & 1 and picture.tell() == 0):
        raise UnreadableImageError(f"begins with a small preview, as {kinds.RAW} does: export it as JPEG or PNG")
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
