"""Tell what a file is by its name and its first bytes, and say in words why one cannot be opened.

What the bytes say counts: a JPEG called .heic is a JPEG.
"""

import mimetypes
import re
from pathlib import Path

import pillow_heif
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 100_000_000
"""A picture with more pixels than this is not opened: it may be a decompression bomb."""

RAW, JXL, SVG, TIFF = "a camera raw file", "a JPEG XL picture", "a vector drawing (SVG)", "a TIFF picture"

pillow_heif.register_heif_opener()
Image.init()
READABLE = {ext for ext, name in Image.EXTENSION.items() if name in Image.OPEN} - {
    # documents, films and scientific containers that Pillow lists beside the pictures
    ".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".hdf", ".h5", ".grib", ".bufr", ".wmf", ".emf", ".fit", ".fits",
} | {".mpo"}  # fmt: skip
"""The endings of files that Pillow opens."""

_UNREADABLE = {
    **dict.fromkeys([
        ".3fr", ".ari", ".arw", ".bay", ".cap", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr",
        ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".ori", ".pef", ".ptx", ".raf",
        ".raw", ".rw2", ".rwl", ".rwz", ".sr2", ".srf", ".srw", ".x3f",
    ], RAW),
    ".jxl": JXL,
    ".svg": SVG,
    ".svgz": SVG,
}  # fmt: skip
if ".avif" not in READABLE:  # Pillow can be built without it
    _UNREADABLE[".avif"] = "an AVIF picture"

_NO_PICTURES = {ext for ext, kind in mimetypes.MimeTypes().types_map[True].items() if not kind.startswith("image/")}
_NO_PICTURES -= {".bin"}  # texts, films, archives, …: not worth a look inside

_BEGINNINGS = [  # the first that fits
    (rb"\xff\xd8\xff", "a JPEG picture"),
    (rb"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (rb"GIF8[79]a", "a GIF picture"),
    (rb"RIFF....WEBP", "a WebP picture"),
    (rb"....ftyp(avif|avis|mif1.{4,32}avif)", "an AVIF picture"),
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", "an iPhone picture (HEIC)"),
    (rb"....ftypcrx |II\*\0....CR|II(RO|RS|U\0)|MMOR|FUJIFILMCCD-RAW|FOVb|\0MRM", RAW),
    (rb"II[*+]\0|MM\0[*+]", TIFF),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", JXL),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (rb"BM.{4}\0\0\0\0", "a BMP picture"),
    (rb"8BPS\0\x01", "a Photoshop picture"),
    (rb"\0\0[\x01\x02]\0[^\0]\0...\0|icns", "an icon"),
    (rb"qoif", "a QOI picture"),
    (rb"DDS \x7c\0\0\0", "a DDS picture"),
    (rb"P[1-6fF]\s+(#|-?\d)", "a PNM picture"),
    (rb"\s*(<\?xml.*|<!DOCTYPE svg.*|<!--.*)?<svg\b", SVG),
]
_BEGINNINGS = [(re.compile(pattern, re.DOTALL), kind) for pattern, kind in _BEGINNINGS]


class UnreadableImageError(ValueError):
    """A file that should be a picture and cannot be opened as one; the message says why."""


def kind_of(head: bytes) -> str | None:
    """Say what a file is by its first bytes (some hundreds): "a JPEG picture", "a camera raw file", None if unknown."""
    return next((kind for pattern, kind in _BEGINNINGS if pattern.match(head)), None)


def refused(kind: str | None, suffix: str) -> str | None:
    """Return what a file is if Pillow does not show it right, by its kind or, where that leaves it open, its name."""
    if kind in _UNREADABLE.values():
        return kind
    return _UNREADABLE.get(suffix.lower()) if kind in (None, TIFF) else None


def may_be_picture(path: Path) -> bool:
    """Tell by its name, or by its first bytes where the name says nothing, whether a file should be a picture."""
    suffix = path.suffix.lower()
    if suffix in READABLE or suffix in _UNREADABLE:
        return True
    try:
        if suffix in _NO_PICTURES or not path.is_file():  # reading a pipe would hang forever
            return False
        with path.open("rb") as file:
            return kind_of(file.read(512)) is not None
    except OSError:
        return False


def in_words(error: Exception, kind: str | None) -> str:
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
