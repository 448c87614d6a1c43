"""Make RGB on white of any decoded picture: deep greys, palettes, transparent colours, alpha that was never filled.

It works strip by strip, so that a large picture takes little more memory than its result.
"""

import contextlib
import math
from collections.abc import Callable, Iterator

import numpy as np
from PIL import ExifTags, Image

from helpers.backroom.kinds import UnreadableImageError

LARGEST = 36_000_000
"""A picture with more pixels than this is opened smaller: each side divided by the same whole number."""

_Tag, _GDAL_NODATA = ExifTags.Base, 42113
_EMPTY_ALPHA = ("BMP", "DIB", "CUR", "DDS", "ICO", "SGI", "TGA", "TIFF")
"""Formats whose alpha channel is often there and never filled: all zero means that there is none."""


def factor_for(size: tuple[int, int], most: int) -> int:
    """Return the smallest whole number by which both sides must be divided, so that `most` pixels are left."""
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / most)))


def painted(picture: Image.Image) -> Image.Image:
    """Return a decoded picture in RGB on white, made smaller if it has more than `LARGEST` pixels."""
    factor, paint = factor_for(picture.size, LARGEST), _painter(picture)
    if paint is None and factor == 1:
        return picture.convert("RGB")
    result = Image.new("RGB", (-(-picture.width // factor), -(-picture.height // factor)))
    for top, strip in _strips(picture, factor):
        strip = paint(strip) if paint else strip.convert("RGB")
        result.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return result


def _strips(picture: Image.Image, factor: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Yield a decoded picture in strips of about a million pixels, each with the row that it begins at."""
    rows = max(1, 1_000_000 // picture.width // factor) * factor
    for top in range(0, picture.height, rows):
        yield top, picture.crop((0, top, picture.width, min(top + rows, picture.height)))


def _painter(picture: Image.Image) -> Callable[[Image.Image], Image.Image] | None:
    """Return what makes RGB of a strip of `picture` where Pillow's own conversion is wrong, else None."""
    tag = picture.tag_v2.get if picture.format == "TIFF" else {}.get
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return _grey_painter(picture, tag)
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


def _grey_painter(picture: Image.Image, tag: Callable) -> Callable[[Image.Image], Image.Image]:
    """Return what makes RGB of a strip of a deep grey picture: its numbers between its black and its white."""
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
