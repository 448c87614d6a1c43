"""Mend files whose damage costs no pixels: a JPEG without its last bytes, odd text or EXIF beside the pixels.

What has lost pixels stays broken.
"""

import io
import re
import zlib
from typing import BinaryIO

from PIL import Image

_JPEG_END = b"\xff\xd9"
_LARGEST_FILE = 64_000_000  # bytes


def mended(file: BinaryIO) -> BinaryIO | None:
    """Return a PNG or AVIF without what is no pixels, or a JPEG with its last two bytes; None if that is no help."""
    file.seek(0)
    data = file.read(_LARGEST_FILE)
    if len(data) == _LARGEST_FILE:
        return None
    if data.startswith(b"\x89PNG"):
        return io.BytesIO(_pixels_of_png(data))
    if data.startswith(b"\xff\xd8"):
        body = data[: data.rindex(_JPEG_END)] if _JPEG_END in data[-64:] else data.removesuffix(b"\xff")
        return io.BytesIO(body + _JPEG_END) if _is_whole_jpeg(body) else None
    if data[4:8] == b"ftyp":
        return io.BytesIO(data.replace(b"Exif", b"skip"))
    return None


def _pixels_of_png(data: bytes) -> bytes:
    """Return a PNG with what its pixels need, and its EXIF (the orientation) where that is whole."""
    chunks, start = [data[:8]], 8
    while start < len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4])
        name, chunk = data[start + 4 : start + 8], data[start:end]
        if name == b"eXIf" and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:]):
            chunks.insert(2, chunk)
        elif name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            chunks.append(chunk)
        start = end
    return b"".join(chunks)


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
