"""One picture, opened right or named: depths, layouts, orientation, damage, memory; held against other decoders."""

import contextlib
import io
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import ExifTags, Image, ImageOps
from test_images import corners, quarters
from test_store import Colours

from helpers import images, show, store
from helpers.explorer import html

RNG = np.random.default_rng(0)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size, depth, colour, rows, before=(), after=()):
    """Write a PNG by hand: colour 0 is grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGBA."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + pixels + b"".join(after) + chunk(b"IEND", b"")


def packed(values, bits):
    """Pack whole numbers of some bits into bytes, the highest bit first."""
    stream = "".join(f"{value:0{bits}b}" for value in values)
    return int(stream.ljust(-(-len(stream) // 8) * 8, "0"), 2).to_bytes(-(-len(stream) // 8))


def tiff(data, size, tags, order="<"):
    """Write a TIFF of one strip by hand; `tags` are {number: (type, values)}, 2 text, 3 short, 4 long."""
    width, height = size
    tags = {256: (3, [width]), 257: (3, [height]), 259: (3, [1]), 277: (3, [1]), 278: (3, [height]), **tags}
    tags |= {273: (4, [0]), 279: (4, [len(data)])}
    start = 8 + 2 + 12 * len(tags) + 4
    blobs = {
        key: bytes(values) if kind == 2 else struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        for key, (kind, values) in tags.items()
    }
    long = b"".join(blob + bytes(len(blob) % 2) for key, blob in sorted(blobs.items()) if len(blob) > 4)
    blobs[273] = struct.pack(order + "I", start + len(long))
    entries, at = b"", start
    for key, (kind, values) in sorted(tags.items()):
        blob = blobs[key]
        if len(blob) > 4:
            blob, at = struct.pack(order + "I", at), at + len(blob) + len(blob) % 2
        entries += struct.pack(order + "HHI", key, kind, len(values)) + blob.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + entries + bytes(4) + long + data


def pixels(data):
    """Return the pixels of a file, given as its bytes."""
    return np.asarray(images.open_rgb(io.BytesIO(data) if isinstance(data, bytes) else data)).astype(int)


def written(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------- PIL pictures and their files


def phone(folder):
    """Six files whose plain pixels are not what is seen, by name."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    quarters((160, 96)).save(folder / "phone.jpg", exif=turned, quality=95)
    quarters((160, 96)).save(folder / "phone.tif", exif=turned)
    quarters((160, 96)).save(folder / "phone.heic", exif=turned.tobytes())
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(folder / "logo.png")
    Image.fromarray(np.full((9, 9), 30000, np.uint16)).save(folder / "deep.png")
    (folder / "key.png").write_bytes(png((4, 1), 2, 0, [packed([0, 1, 2, 3], 2)], [chunk(b"tRNS", b"\0\1")]))
    return sorted(path.name for path in folder.iterdir())


def test_a_pil_picture_gives_what_its_file_gives(tmp_path):
    names = phone(tmp_path)
    assert len(names) == 6
    for name in names:
        path = tmp_path / name
        expected = pixels(path)
        for state in ("as opened", "decoded before"):
            picture = Image.open(path)
            size = picture.size
            if state == "decoded before":
                picture.load()
            assert (np.asarray(images.open_rgb(picture)) == expected).all(), (name, state)
            assert picture.size == size, "the reader's own picture stays as it is"
        rows = images.pixel_matrix([path, Image.open(path)], 8)
        assert (rows[0] == rows[1]).all(), name
        assert (show._array(path) == show._array(Image.open(path))).all(), name
        assert html.thumbnail(path) == html.thumbnail(Image.open(path)), name


def test_what_was_turned_is_not_turned_again(tmp_path):
    phone(tmp_path)
    expected = pixels(tmp_path / "phone.jpg")
    assert expected.shape == (160, 96, 3)
    turned = ImageOps.exif_transpose(Image.open(tmp_path / "phone.jpg"))
    once = images.open_rgb(Image.open(tmp_path / "phone.jpg"))
    for picture in (turned, once, images.open_rgb(once), images.open_rgb(tmp_path / "phone.jpg")):
        assert (np.asarray(images.open_rgb(picture)) == expected).all()
    white = images.open_rgb(tmp_path / "logo.png")
    assert images.open_rgb(white).getpixel((4, 4)) == (255, 255, 255)


def test_the_frame_that_a_pil_picture_stands_on(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#00ff00")]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "film.gif") as picture:
        picture.seek(1)
        assert images.open_rgb(picture).getpixel((4, 4)) == (0, 255, 0) and picture.tell() == 1
    assert images.open_rgb(tmp_path / "film.gif").getpixel((4, 4)) == (255, 0, 0)


def test_a_pil_picture_that_cannot_be_decoded_is_named(tmp_path):
    quarters().save(tmp_path / "closed.jpg")
    closed = Image.open(tmp_path / "closed.jpg")
    closed.close()
    (tmp_path / "cut.png").write_bytes(written(Image.effect_noise((90, 90), 80), "PNG")[:-4000])
    for picture, named in ((closed, "closed.jpg"), (Image.open(tmp_path / "cut.png"), r"cut\.png is cut off")):
        with pytest.raises(images.UnreadableImageError, match=named):
            images.open_rgb(picture)
    with pytest.raises(images.UnreadableImageError, match="the picture has no pixels"):
        images.open_rgb(Image.new("RGB", (0, 5)))
    modes = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F"]
    modes += ["I;16", "I;16L", "I;16B"]
    assert {images.open_rgb(Image.new(mode, (3, 2))).mode for mode in modes} == {"RGB"}


# ------------------------------------------------------------------------------------------------ depth and photometry


def test_sixteen_bits_a_channel_as_opencv_reads_them(tmp_path):
    for shape in ((9, 7), (9, 7, 3), (9, 7, 4)):
        values = RNG.integers(0, 65536, shape, dtype=np.uint16)
        for kind in ("png", "tiff"):
            assert cv2.imwrite(str(tmp_path / f"a.{kind}"), values)
            read = cv2.imread(str(tmp_path / f"a.{kind}"), cv2.IMREAD_UNCHANGED) / 65535
            assert read.shape == shape
            colours = read[..., :3][..., ::-1] if len(shape) == 3 else read[..., None]
            alpha = read[..., 3:] if shape[-1] == 4 else 1
            expected = 255 * (colours * alpha + 1 - alpha)
            assert abs(pixels(tmp_path / f"a.{kind}") - expected).max() < 2, (shape, kind)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_in_a_png_at_any_depth(depth):
    values = [0, 1, 1, 0, 1, 0, 0, 1] if depth == 1 else [i * (2**depth - 1) // 7 for i in range(8)]
    key = values[1]
    data = png((8, 1), depth, 0, [packed(values, depth)], [chunk(b"tRNS", struct.pack(">H", key))])
    expected = [255 if value == key else round(value * 255 / (2**depth - 1)) for value in values]
    assert pixels(data)[0, :, 0].tolist() == pytest.approx(expected, abs=1)


def test_a_transparent_colour_in_a_png():
    eight = png((2, 1), 8, 2, [bytes([1, 2, 3, 4, 5, 6])], [chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))])
    assert pixels(eight).tolist() == [[[255, 255, 255], [4, 5, 6]]]
    row = struct.pack(">6H", 20000, 30000, 100, 65535, 0, 0)
    sixteen = png((2, 1), 16, 2, [row], [chunk(b"tRNS", struct.pack(">3H", 20000, 30000, 100))])
    assert pixels(sixteen).tolist() == [[[255, 255, 255], [255, 0, 0]]]


LAYOUTS = [
    (photometric, samples, planar, extra)
    for photometric, samples, planar, extra in [
        ("miniswhite", 1, None, None), ("minisblack", 1, None, None), ("minisblack", 2, "contig", "unassalpha"),
        ("minisblack", 2, "contig", "unspecified"), ("rgb", 3, "contig", None), ("rgb", 3, "separate", None),
        ("rgb", 4, "contig", "unassalpha"), ("rgb", 4, "contig", "assocalpha"), ("rgb", 4, "contig", "unspecified"),
        ("rgb", 4, "separate", "unassalpha"), ("separated", 4, "contig", None), ("separated", 4, "separate", None),
    ]
]  # fmt: skip


def as_seen(values, photometric, samples, planar, extra):
    """Work out by hand what numbers, as tifffile reads them, look like on white."""
    number = values.astype(np.float64)
    if values.dtype.kind == "f":
        seen = number / max(number.max(), 1)
    else:
        low = min(0.0, number.min())
        seen = (number - low) / ((number.max() if values.dtype.kind == "i" else np.iinfo(values.dtype).max) - low)
    seen = np.moveaxis(seen, 0, -1) if planar == "separate" else seen if samples > 1 else seen[..., None]
    if photometric == "separated":
        return 255 * (1 - seen[..., :3]) * (1 - seen[..., 3:])
    seen = 1 - seen if photometric == "miniswhite" else seen
    colours = seen[..., : 1 if photometric.startswith("mini") else 3]
    if extra in ("unassalpha", "assocalpha"):
        alpha = seen[..., -1:]
        colours = (colours if extra == "assocalpha" else colours * alpha) + 1 - alpha
    return 255 * np.broadcast_to(colours, (*colours.shape[:2], 3))


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"])
def test_every_layout_of_tiff_is_shown_as_tifffile_reads_it_or_refused(kind):
    right = refused = 0
    for layout in LAYOUTS:
        photometric, samples, planar, extra = layout
        shape = (40, 48) if samples == 1 else (samples, 40, 48) if planar == "separate" else (40, 48, samples)
        ramp = (np.linspace(0, 1, int(np.prod(shape))).reshape(shape) + np.indices(shape).sum(0) * 0.013) % 1
        low, high = (0, 1) if kind[0] == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
        values = (low + ramp * (high - low)).clip(low, high - high / 2**30).astype(kind)
        if extra == "assocalpha":
            values[..., :3] = np.minimum(values[..., :3], values[..., 3:])
        for order in "<>":
            for options in ({}, {"tile": (16, 16)}, {"compression": "zlib"}, {"compression": "zlib", "tile": (16, 16)}):
                options |= {"planarconfig": planar} if samples > 1 else {}
                options |= {"extrasamples": [extra]} if extra else {}
                buffer = io.BytesIO()
                tifffile.imwrite(buffer, values, photometric=photometric, byteorder=order, metadata=None, **options)
                try:
                    got = pixels(buffer)
                except images.UnreadableImageError as error:
                    refused += 1
                    assert "TIFF" in str(error)
                    continue
                right += 1
                buffer.seek(0)
                assert abs(got - as_seen(tifffile.imread(buffer), *layout)).max() < 3, (layout, order, options)
    assert right + refused == len(LAYOUTS) * 8
    assert right >= {"u1": 90, "u2": 60, "u4": 4, "i2": 6, "i4": 6, "f4": 12}.get(kind, 0)


def test_ten_twelve_and_fourteen_bits_reach_white(tmp_path):
    for bits in (8, 10, 12, 14):
        ramp = np.linspace(0, 2**bits - 1, 64).astype(np.uint16)[None].repeat(8, axis=0)
        tifffile.imwrite(tmp_path / "sensor.tif", ramp)
        assert abs(pixels(tmp_path / "sensor.tif")[0, :, 0] - np.linspace(0, 255, 64)).max() < 1.5, bits
    ramp = np.linspace(0, 4095, 64).astype(np.uint16)
    for photometric in (0, 1):
        data = tiff(packed(ramp.tolist(), 12), (64, 1), {258: (3, [12]), 262: (3, [photometric])})
        try:
            got = pixels(data)[0, :, 0]
        except images.UnreadableImageError as error:
            assert photometric == 0 and "TIFF" in str(error)
        else:
            assert photometric == 1 and abs(got - np.linspace(0, 255, 64)).max() < 1.5
    for options in ({}, {"extratags": [(281, 3, 3, (4095,) * 3, True)]}):
        tifffile.imwrite(tmp_path / "colour.tif", np.full((4, 4, 3), 4000, np.uint16), photometric="rgb", **options)
        with pytest.raises(images.UnreadableImageError, match="in 16"):
            images.open_rgb(tmp_path / "colour.tif")
    tifffile.imwrite(tmp_path / "night.tif", np.zeros((4, 4, 3), np.uint16), photometric="rgb")
    assert pixels(tmp_path / "night.tif").max() == 0
    dark = tiff((ramp // 10).astype("<u2").tobytes(), (64, 1), {258: (3, [16]), 262: (3, [1]), 281: (3, [4095])})
    assert abs(pixels(dark)[0, :, 0] - np.linspace(0, 25.5, 64)).max() < 1.5


def test_one_two_and_four_bits_black_or_white_is_zero():
    for bits in (1, 2, 4, 8):
        values = np.arange(16) % 2**bits
        for photometric in (0, 1):
            data = tiff(packed(values.tolist(), bits), (16, 1), {258: (3, [bits]), 262: (3, [photometric])})
            expected = values * 255 // (2**bits - 1)
            assert pixels(data)[0, :, 0].tolist() == (expected if photometric else 255 - expected).tolist()


def test_what_is_no_number_does_not_change_the_rest(tmp_path):
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(4, axis=0)
    for hole in (np.nan, np.inf, -np.inf, -9999, -3.4028235e38, 1e20, 9.96921e36):
        values = ramp.copy()
        values[1, 3:9] = hole
        tifffile.imwrite(tmp_path / "map.tif", values)
        got = pixels(tmp_path / "map.tif")[..., 0]
        assert abs(got[0] - np.linspace(0, 255, 64)).max() < 1, hole
        assert (got[1, 3:9] == (255 if hole > 1 else 0)).all(), hole
    values = np.linspace(100, 300, 64).astype(np.float32)
    values[10] = 777
    text = b"777\0"
    data = tiff(values.tobytes(), (64, 1), {258: (3, [32]), 262: (3, [1]), 339: (3, [3]), 42113: (2, text)})
    got = pixels(data)[0, :, 0]
    assert got[10] == 0 and got[-1] == 255 and got[0] == 85
    tifffile.imwrite(tmp_path / "nothing.tif", np.full((4, 4), np.nan, dtype=np.float32))
    assert (pixels(tmp_path / "nothing.tif") == 0).all()
    heights = np.linspace(0, 32767, 64).astype(np.int16)
    heights[5] = -9999
    tifffile.imwrite(tmp_path / "heights.tif", heights[None])
    got = pixels(tmp_path / "heights.tif")[0, :, 0]
    assert got[5] == 0 and abs(np.delete(got - np.linspace(0, 255, 64), 5)).max() < 1


def test_a_palette_of_bytes_in_a_tiff(tmp_path):
    colours = RNG.integers(0, 256, (3, 256))
    for scale in (1, 257):
        tags = {258: (3, [8]), 262: (3, [3]), 320: (3, (colours * scale).ravel().tolist())}
        (tmp_path / "map.tif").write_bytes(tiff(bytes(range(256)), (16, 16), tags))
        read = cv2.imread(str(tmp_path / "map.tif"))[..., ::-1].reshape(-1, 3)
        assert (pixels(tmp_path / "map.tif").reshape(-1, 3) == colours.T).all() and (read == colours.T).all()


def empty_alpha(kind, colour=(200, 30, 20)):
    if kind == "bmp":
        body = bytes([*colour[::-1], 0] * 64)
        head = struct.pack("<IiiHHIIiiII", 108, 8, 8, 1, 32, 3, len(body), 0, 0, 0, 0)
        head += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
        return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body
    if kind == "tga":
        return struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 8, 8, 32, 0x20) + bytes([*colour[::-1], 0] * 64)
    if kind == "tiff":
        return tiff(bytes([*colour, 0] * 64), (8, 8), {258: (3, [8] * 4), 262: (3, [2]), 277: (3, [4]), 338: (3, [2])})
    return written(Image.new("RGBA", (8, 8), (*colour, 0)), kind.upper())


@pytest.mark.parametrize("kind", ["bmp", "tga", "tiff", "dds", "sgi"])
def test_an_alpha_channel_that_was_never_filled_is_none(kind):
    assert (pixels(empty_alpha(kind)) == (200, 30, 20)).all()


@pytest.mark.parametrize("kind", ["png", "webp", "gif", "heif", "avif"])
def test_a_picture_that_is_all_transparent_is_white(kind):
    assert pixels(empty_alpha(kind)).min() >= 254


def test_colours_of_other_kinds(tmp_path):
    for kind, options in (("JPEG", {"quality": 95}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})):
        assert corners(images.open_rgb(io.BytesIO(written(quarters().convert("CMYK"), kind, **options)))) == [
            "red", "green", "blue",
        ]  # fmt: skip
    quarters((160, 96)).save(tmp_path / "ycc.tif", compression="jpeg", quality=95)
    assert corners(images.open_rgb(tmp_path / "ycc.tif")) == ["red", "green", "blue"]
    lab = [(0, 0, 0), (255, 0, 0), (136, 208, 195)]  # black, white, and red: L* 53.2 of 100, a* 80 and b* 67 as bytes
    lab[2] = (round(53.24 * 2.55), 80, 67)
    data = tiff(bytes(v % 256 for p in lab for v in p), (3, 1), {258: (3, [8] * 3), 262: (3, [8]), 277: (3, [3])})
    expected = [[0, 0, 0], [255, 255, 255], [255, 0, 0]]
    assert abs(pixels(data)[0] - expected).max() < 12


@pytest.mark.parametrize("maxval", [1, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("magic, channels", [("P5", 1), ("P6", 3), ("P2", 1), ("P3", 3)])
def test_portable_maps_of_any_maximum(magic, channels, maxval):
    values = RNG.integers(0, maxval + 1, (4, 5, channels))
    text = " ".join(map(str, values.ravel())).encode()
    body = text if magic in ("P2", "P3") else values.astype(">u2" if maxval > 255 else "u1").tobytes()
    assert abs(pixels(f"{magic}\n5 4\n{maxval}\n".encode() + body) - values * 255 / maxval).max() < 1.01


def test_sixteen_bits_in_other_formats(tmp_path):
    grey = RNG.integers(0, 65536, (16, 16), dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.jp2")
    assert abs(pixels(tmp_path / "grey.jp2")[..., 0] - grey / 257).max() < 1
    planes = np.stack([grey, grey // 2, grey // 3])
    head = struct.pack(">hBBHHHHll", 474, 0, 2, 3, 16, 16, 3, 0, 65535).ljust(512, b"\0")
    sgi = head + planes[:, ::-1].astype(">u2").tobytes()
    assert abs(pixels(sgi) - np.moveaxis(planes, 0, -1) / 257).max() < 1
    cv2.imwrite(str(tmp_path / "white.jp2"), np.full((32, 32, 3), 65535, dtype=np.uint16))
    with pytest.raises(images.UnreadableImageError, match="more than 8 bits a colour"):  # Pillow makes it black
        images.open_rgb(tmp_path / "white.jp2")
    deep = pillow_heif.from_bytes("RGB;16", (16, 16), np.full((16, 16, 3), 30000, dtype=np.uint16).tobytes())
    deep.save(tmp_path / "deep.heic", quality=-1)
    assert abs(pixels(tmp_path / "deep.heic") - 30000 / 257).max() < 2


# --------------------------------------------------------------------------------------------- content before the name


def test_what_a_file_holds_counts_and_not_its_name(tmp_path):
    quarters((160, 96)).save(tmp_path / "a.jpg", quality=95)
    quarters((160, 96)).save(tmp_path / "a.heic")
    for source, name in (
        ("a.jpg", "takeout.HEIC"), ("a.jpg", "IMG_1"), ("a.jpg", "x.jpg_large"), ("a.jpg", "x.CR2"),
        ("a.heic", "phone.jpg"), ("a.heic", "phone.HIF"), ("a.heic", "phone.png"),
    ):  # fmt: skip
        shutil.copy(tmp_path / source, tmp_path / name)
        assert corners(images.open_rgb(tmp_path / name)) == ["red", "green", "blue"], name


def test_what_cannot_be_read_is_called_by_its_kind(tmp_path):
    raw = tiff(bytes(192), (8, 8), {254: (4, [1]), 258: (3, [8] * 3), 262: (3, [2]), 277: (3, [3])})
    for name, data, said in [
        ("a.jxl", b"\xff\x0a" + bytes(50), "JPEG XL"),
        ("a.png", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "JPEG XL"),
        ("a.CR2", b"II*\0\x10\0\0\0CR\2\0" + bytes(50), "camera raw"),
        ("b.jpg", b"II*\0\x10\0\0\0CR\2\0" + bytes(50), "camera raw"),
        ("a.CR3", b"\0\0\0\x18ftypcrx " + bytes(50), "camera raw"),
        ("a.RAF", b"FUJIFILMCCD-RAW 0201" + bytes(50), "camera raw"),
        ("a.orf", b"IIRO\x08\0\0\0" + bytes(50), "camera raw"),
        ("a.NEF", raw, "camera raw"),
        ("preview.tif", raw, "camera raw"),
        ("a.svg", b"<svg/>", "vector drawing"),
        ("b.png", b'<?xml version="1.0"?>\n<svg xmlns="x"></svg>', "vector drawing"),
        ("b.heic", b"\0\0\0\x18ftypheic" + bytes(60), "is an iPhone picture"),
        ("c.jpg", b"\0\0\0\x18ftypheic" + bytes(60), "is an iPhone picture"),
        ("d.heic", written(quarters(), "HEIF")[:-300], "an iPhone picture"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(images.UnreadableImageError, match=said):
            images.open_rgb(tmp_path / name)


def test_of_several_pictures_in_a_heic_the_main_one_is_taken(tmp_path):
    several = pillow_heif.HeifFile()
    several.add_from_pillow(Image.new("RGB", (32, 32), "green"))
    several.add_from_pillow(quarters((160, 96)))
    several.save(tmp_path / "live.heic", primary_index=1)
    assert corners(images.open_rgb(tmp_path / "live.heic")) == ["red", "green", "blue"]


# ------------------------------------------------------------------------------------------- orientation and its damage


@pytest.mark.parametrize("kind", ["jpg", "tif", "png", "webp", "avif", "heic", "mpo", "lzw.tif"])
def test_the_size_that_is_stored_is_that_of_the_upright_picture(tmp_path, kind):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        options = {"exif": exif.tobytes() if kind == "heic" else exif}
        options |= {"compression": "tiff_lzw"} if kind == "lzw.tif" else {}
        quarters((160, 96)).save(tmp_path / f"a.{kind}", **options)
        turned = Image.Exif()
        turned[ExifTags.Base.Orientation] = orientation
        plain = quarters((160, 96))
        plain.info["exif"] = turned.tobytes()
        expected = ImageOps.exif_transpose(plain)
        opened = images.open_rgb(tmp_path / f"a.{kind}")
        assert opened.size == expected.size == images.facts(tmp_path / f"a.{kind}").size
        assert corners(opened) == corners(expected), orientation


def odd_exif():
    """EXIF whose orientation is no number from 1 to 8, or that is no EXIF at all."""

    def entry(kind, count, value):
        directory = struct.pack("<HHHI", 1, 0x0112, kind, count) + value + bytes(4)
        return b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory

    return {
        "text": entry(2, 2, b"6\0\0\0"), "two": entry(3, 2, b"\6\0\6\0"), "undefined": entry(7, 1, b"\6\0\0\0"),
        "cut": entry(3, 1, b"\6\0\0\0")[:20], "far": b"Exif\0\0II*\0\xff\xff\xff\x7f", "garbage": b"Exif\0\0garbage",
        "byte": entry(1, 1, b"\6\0\0\0"), "none": entry(3, 0, bytes(4)), "ratio": entry(5, 1, struct.pack("<I", 26)),
        "zero": entry(3, 1, bytes(4)), "nine": entry(3, 1, b"\x09\0\0\0"), "real": entry(12, 1, bytes(4)),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "heic", "tif"])
def test_odd_exif_stops_nothing(tmp_path, kind):
    (tmp_path / "a").mkdir()
    for name, exif in odd_exif().items():
        if kind == "tif":
            tag = (
                {274: (2, b"6\0")} if name == "text" else {274: (3, [6, 6])} if name == "two" else {34665: (4, [9**9])}
            )
            tags = {258: (3, [8] * 3), 262: (3, [2]), 277: (3, [3]), **tag}
            (tmp_path / "a" / f"{name}.tif").write_bytes(tiff(quarters().tobytes(), (40, 24), tags))
        else:
            quarters((64, 48)).save(tmp_path / "a" / f"{name}.{kind}", exif=exif)
    gallery = images.load_gallery(tmp_path)
    assert len(gallery) == 12 and gallery.skipped == []
    index = store.open_index(encoder=Colours(), name=f"odd-{kind}")
    report = index.sync(gallery)
    assert (report.added, report.skipped) == (12, [])
    for path in gallery.paths:
        assert images.facts(path).size == images.open_rgb(path).size


# ------------------------------------------------------------------------------------------ damage that costs no pixels


def test_damaged_exif_in_avif():
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 60
    data = written(quarters((64, 48)), "AVIF", exif=exif.tobytes())
    at = max(data.find(b"MM\0*\0\0\0\x08"), data.find(b"II*\0\x08\0\0\0"))
    assert at > 0
    for wrong in (b"garbage!", data[at : at + 4] + b"\xff\xff\xff\x7f"):
        assert corners(images.open_rgb(io.BytesIO(data[:at] + wrong + data[at + 8 :]))) == ["red", "green", "blue"]


def swollen(megabytes):
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(megabytes)) + packer.flush()


@pytest.mark.parametrize("chunks", [
    [(b"tEXt", b"k\0" + bytes(3_000_000))],
    [(b"zTXt", b"k\0\0" + swollen(5))],
    [(b"iTXt", b"k\0\1\0\0\0" + swollen(500))],
    [(b"iCCP", b"k\0\0" + swollen(500))],
    [(b"zTXt", b"k\0\0" + swollen(1))] * 100,
    [(b"eXIf", b"garbage")], [(b"pHYs", b"x")], [(b"cHRM", b"x")], [(b"tIME", b"")], [(b"sRGB", b"")],
])  # fmt: skip
def test_what_a_png_holds_besides_its_pixels_does_not_cost_it(chunks):
    rows = [bytes([i, 7, 200] * 4) for i in range(3)]
    expected = pixels(png((4, 3), 8, 2, rows))
    extra = [chunk(kind, data) for kind, data in chunks]
    broken = [part[:-1] + b"?" for part in extra]  # a wrong checksum
    for parts in (extra, broken):
        assert (pixels(png((4, 3), 8, 2, rows, before=parts)) == expected).all()
        assert (pixels(png((4, 3), 8, 2, rows, after=parts)) == expected).all()


def test_orientation_is_found_beside_much_text_and_behind_the_pixels(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    parts = [chunk(b"zTXt", b"k\0\0" + swollen(5)), chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))]
    rows = [bytes(12)] * 2
    for options in ({"before": parts}, {"after": parts}, {"after": parts[1:]}):
        (tmp_path / "a.png").write_bytes(png((4, 2), 8, 2, rows, **options))
        assert images.open_rgb(tmp_path / "a.png").size == images.facts(tmp_path / "a.png").size == (2, 4)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_without_its_last_bytes_opens_and_a_cut_one_does_not(options):
    picture = Image.effect_noise((200, 160), 60).convert("RGB")
    picture.paste(quarters((90, 90)))
    data = written(picture, "JPEG", **options)
    expected = pixels(data)
    for whole in (data[:-2], data[:-1], data[:-2] + bytes(50), data + b"more"):
        assert (pixels(whole) == expected).all()
    for kept in (0.2, 0.5, 0.8, 0.95):
        with pytest.raises(images.UnreadableImageError):
            images.open_rgb(io.BytesIO(data[: int(len(data) * kept)]))
    if not options.get("progressive"):
        with pytest.raises(images.UnreadableImageError, match="cut off"):
            images.open_rgb(io.BytesIO(data[: len(data) // 2] + b"\xff\xd9"))
    grey = written(Image.new("RGB", (64, 64), (128, 128, 128)), "JPEG", **options)
    assert (pixels(grey) == 128).all() and (pixels(grey[:-2]) == 128).all()


FORMATS = {
    "JPEG": {}, "PNG": {}, "GIF": {}, "WEBP": {}, "AVIF": {}, "HEIF": {}, "TIFF": {}, "JPEG2000": {}, "BMP": {},
    "PPM": {}, "TGA": {"compression": "tga_rle"}, "PCX": {}, "SGI": {}, "QOI": {}, "DDS": {},
    "TIFF lzw": {"compression": "tiff_lzw"}, "TIFF jpeg": {"compression": "jpeg"}, "WEBP lossless": {"lossless": True},
    "JPEG progressive": {"progressive": True}, "JPEG2000 tiles": {"tile_size": (32, 32)}, "ICO": {}, "ICNS": {},
}  # fmt: skip


def of_every_format():
    """Return a small file of every format that can be written here, by name."""
    picture = Image.effect_noise((64, 48), 60).convert("RGB")
    picture.paste(quarters((40, 24)))
    return {name: written(picture, name.split()[0], **options) for name, options in FORMATS.items()}


def test_a_file_that_is_cut_is_whole_or_refused_in_every_format():
    for name, data in of_every_format().items():
        expected, refused = pixels(data), 0
        for kept in (0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
            try:
                got = pixels(data[: int(len(data) * kept)])
            except images.UnreadableImageError:
                refused += 1
            else:
                assert got.shape == expected.shape and (abs(got - expected).max(axis=2) > 24).mean() < 0.01, (
                    name,
                    kept,
                )
        assert refused >= (1 if name in ("ICNS", "ICO") else 4), name


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_progressive_jpeg_that_is_cut_between_two_scans_is_refused(mode):
    data = written(quarters((64, 48)).convert(mode), "JPEG", progressive=True, quality=90)
    expected = pixels(data)
    np.testing.assert_array_equal(pixels(data[:-2]), expected)  # only the end marker is missing
    opened = []
    for kept in range(100, len(data) - 2):
        with contextlib.suppress(images.UnreadableImageError):
            opened.append(pixels(data[:kept]))
    assert all((abs(picture - expected) > 24).mean() < 0.01 for picture in opened)


# ------------------------------------------------------------------------------------------------------- large pictures


def uniform_png(width, height, depth, colour, extra=()):
    row = b"\0" + bytes(-(-width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] // 8))
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_above_36_million_pixels_the_picture_comes_out_smaller(tmp_path):
    (tmp_path / "large.png").write_bytes(uniform_png(8000, 5001, 8, 0))
    assert images.open_rgb(tmp_path / "large.png").size == (4000, 2501)
    assert images.facts(tmp_path / "large.png").size == (8000, 5001)
    half = Image.new("L", (8000, 5000), 40)
    half.paste(200, (0, 0, 3000, 5000))
    half.save(tmp_path / "large.jpg")
    opened = images.open_rgb(tmp_path / "large.jpg")
    assert opened.size == (4000, 2500)
    assert (opened.getpixel((1400, 1200))[0], opened.getpixel((1600, 1200))[0]) == pytest.approx((200, 40), abs=2)
    assert images.open_rgb(Image.open(tmp_path / "large.jpg")).size == (4000, 2500)


def test_what_takes_too_much_memory_or_time_is_refused_in_words():
    for data, said in [
        (uniform_png(2_000_001, 1, 1, 0), "a million in a row"),
        (b"qoif" + struct.pack(">IIBB", 5000, 5000, 3, 0) + bytes(100), "would take minutes"),
        (
            tiff(b"", (9000, 9000), {258: (3, [16] * 4), 259: (3, [8]), 262: (3, [2]), 277: (3, [4]), 338: (3, [2])}),
            "MB",
        ),
    ]:
        with pytest.raises(images.UnreadableImageError, match=said):
            images.open_rgb(io.BytesIO(data))


PEAK = """
import sys
from helpers import images
def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
before = peak()
images.load_gallery(sys.argv[1])
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux")
def test_large_pictures_together_take_less_than_600_megabytes(tmp_path):
    (tmp_path / "grey16.png").write_bytes(uniform_png(10_000, 10_000, 16, 0))
    (tmp_path / "rgba.png").write_bytes(uniform_png(10_000, 10_000, 8, 6))
    shutil.copy(tmp_path / "rgba.png", tmp_path / "again.png")
    environment = {**os.environ, "PYTHONPATH": str(Path(images.__file__).parent.parent), "TQDM_DISABLE": "1"}
    run = [sys.executable, "-c", PEAK, str(tmp_path)]
    said = subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout
    assert float(said.splitlines()[-1]) < 600


def test_many_pages_frames_and_strips_are_quick_enough_to_end(tmp_path):
    pages = bytearray(b"II*\0\x08\0\0\0")
    count = 20_000
    for page in range(count):
        tags = [(256, 4, 1), (257, 4, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (279, 4, 1)]
        pages += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in tags)
        pages += struct.pack("<I", len(pages) + 4 if page < count - 1 else 0)
    assert pixels(bytes(pages)).shape == (1, 1, 3)
    frames = [Image.new("P", (8, 8), i % 250) for i in range(500)]
    assert pixels(written(frames[0], "GIF", save_all=True, append_images=frames[1:])).shape == (8, 8, 3)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("kind", ["L", "I;16", "RGBA"])
def test_a_tiff_without_compression_is_turned_and_not_scrambled(tmp_path, orientation, kind):
    """Pillow maps such a file into memory, with its sides exchanged."""
    pixels = np.arange(6 * 10, dtype=np.uint8).reshape(6, 10) * 4
    written = {
        "L": pixels,
        "I;16": pixels.astype(np.uint16) * 257,
        "RGBA": np.dstack([pixels] * 3 + [pixels * 0 + 255]),
    }
    options = (
        {"photometric": "rgb", "extrasamples": ["unassalpha"]} if kind == "RGBA" else {"photometric": "minisblack"}
    )
    path = tmp_path / "turned.tif"
    tifffile.imwrite(path, written[kind], extratags=[(274, 3, 1, orientation, True)], **options)
    right = {5: pixels.T, 6: np.rot90(pixels, -1), 7: np.rot90(pixels, 2).T, 8: np.rot90(pixels)}[orientation]
    with Image.open(path) as picture:
        for opened in (images.open_rgb(path), images.open_rgb(picture)):
            np.testing.assert_array_equal(np.asarray(opened)[..., 0], right)


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "webp"])
def test_one_picture_that_is_given_many_times_is_right_every_time(tmp_path, ending):
    """The rows are made side by side, of one PIL picture or one open file."""
    path = tmp_path / f"noise.{ending}"
    Image.effect_noise((900, 700), 80).convert("RGB").save(path)
    (expected,) = images.pixel_matrix([path], 16)
    for _ in range(3):
        with Image.open(path) as picture, path.open("rb") as file:
            for source in (picture, file):
                assert abs(images.pixel_matrix([source] * 12, 16) - expected).max() < 0.02


def test_a_pil_jpeg_is_the_file_that_was_opened_in_whatever_folder_the_program_is(tmp_path, monkeypatch):
    for folder, colour in (("here", "red"), ("there", "blue")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (40, 30), colour).save(tmp_path / folder / "same.jpg")
    monkeypatch.chdir(tmp_path / "here")
    with Image.open("same.jpg") as picture:
        monkeypatch.chdir(tmp_path / "there")
        assert images.pixel_matrix([picture], 1)[0] == pytest.approx([1, 0, 0], abs=0.02)
