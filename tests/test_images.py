import hashlib
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers import images

needs_links = pytest.mark.skipif(os.name == "nt", reason="Windows has no such links and pipes")

COLOURS = {"red": (200, 30, 20), "green": (20, 160, 40), "blue": (30, 40, 190), "yellow": (230, 210, 40)}


def quarters(size=(40, 24)):
    """Return a picture whose four quarters have four colours, so that turns and flips show."""
    picture = Image.new("RGB", size)
    w, h = size[0] // 2, size[1] // 2
    for (x, y), colour in zip(((0, 0), (w, 0), (0, h), (w, h)), COLOURS.values(), strict=True):
        picture.paste(colour, (x, y, x + w, y + h))
    return picture


def corners(picture):
    w, h = picture.size
    seen = [picture.getpixel((x, y)) for x, y in ((w // 4, h // 4), (3 * w // 4, h // 4), (w // 4, 3 * h // 4))]
    nearest = [min(COLOURS, key=lambda n: sum((a - b) ** 2 for a, b in zip(COLOURS[n], s, strict=True))) for s in seen]
    return nearest


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.png", "a.webp", "a.bmp", "a.gif", "a.tiff", "a.ppm"])
def test_every_common_format_opens(tmp_path, name):
    quarters().save(tmp_path / name)
    picture = images.open_rgb(tmp_path / name)
    assert picture.mode == "RGB" and picture.size == (40, 24)
    assert corners(picture) == ["red", "green", "blue"]


@pytest.mark.parametrize("orientation, size, expected", [
    (1, (40, 24), ["red", "green", "blue"]),
    (3, (40, 24), ["yellow", "blue", "green"]),
    (6, (24, 40), ["blue", "red", "yellow"]),
    (8, (24, 40), ["green", "yellow", "red"]),
    (2, (40, 24), ["green", "red", "yellow"]),
])  # fmt: skip
def test_the_orientation_of_the_camera_is_applied(tmp_path, orientation, size, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarters().save(tmp_path / "a.jpg", exif=exif, quality=95)
    picture = images.open_rgb(tmp_path / "a.jpg")
    assert picture.size == size and corners(picture) == expected


def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    quarters().save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    assert images.open_rgb(tmp_path / "a.jpg").size == (40, 24)


def test_transparency_is_laid_on_white(tmp_path):
    rgba = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    rgba.paste((0, 0, 255, 128), (0, 0, 5, 10))
    rgba.save(tmp_path / "rgba.png")
    rgba.save(tmp_path / "rgba.webp", lossless=True)
    rgba.convert("LA").save(tmp_path / "la.png")
    for name in ("rgba.png", "rgba.webp"):
        picture = images.open_rgb(tmp_path / name)
        assert picture.getpixel((8, 5)) == (255, 255, 255)
        assert picture.getpixel((2, 5)) == pytest.approx((127, 127, 255), abs=1)
    assert images.open_rgb(tmp_path / "la.png").getpixel((8, 5)) == (255, 255, 255)


def test_transparency_by_palette_and_by_colour(tmp_path):
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((0, 0), 1)
    palette.save(tmp_path / "p.png", transparency=0)
    palette.save(tmp_path / "p.gif", transparency=0)
    for name in ("p.png", "p.gif"):
        picture = images.open_rgb(tmp_path / name)
        assert picture.getpixel((3, 3)) == (255, 255, 255) and picture.getpixel((0, 0)) == (200, 100, 50)
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "rgb.png", transparency=(1, 2, 3))
    assert images.open_rgb(tmp_path / "rgb.png").getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None, :].repeat(8, axis=0)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray(ramp).save(tmp_path / "deep.tif")
    for name in ("deep.png", "deep.tif"):
        grey = np.asarray(images.open_rgb(tmp_path / name))[0, :, 0]
        np.testing.assert_allclose(grey, np.linspace(0, 255, 64), atol=1)


def test_float_cmyk_lab_and_black_and_white(tmp_path):
    Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32)[None, :]).save(tmp_path / "f.tif")
    assert np.asarray(images.open_rgb(tmp_path / "f.tif"))[0, [0, -1], 0].tolist() == [0, 255]
    quarters().convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert corners(images.open_rgb(tmp_path / "cmyk.jpg")) == ["red", "green", "blue"]
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    ImageCms.applyTransform(quarters(), to_lab).save(tmp_path / "lab.tif")
    assert images.open_rgb(tmp_path / "lab.tif").mode == "RGB"
    Image.new("1", (5, 5), 1).save(tmp_path / "bw.png")
    assert images.open_rgb(tmp_path / "bw.png").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif", "a.png"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path, name):
    frames = [Image.new("RGB", (8, 8), c) for c in ("#c81e14", "#14a028")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert images.open_rgb(tmp_path / name).getpixel((4, 4)) == pytest.approx((200, 30, 20), abs=3)


def test_an_upload_is_opened_like_a_file():
    buffer = io.BytesIO()
    quarters().save(buffer, "PNG")
    assert corners(images.open_rgb(io.BytesIO(buffer.getvalue()))) == ["red", "green", "blue"]
    with pytest.raises(images.UnreadableImageError, match="the upload is not a picture"):
        images.open_rgb(io.BytesIO(b"hello"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        images.open_rgb(tmp_path / "nowhere.png")


def png_of(width, height):
    """Write the shortest PNG that claims this size: a decompression bomb when the size is large."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def make_bad_files(folder):
    """Write twenty kinds of file that are no usable picture; return what each should be told to be."""
    jpeg, png, gif, webp, tiff = (io.BytesIO() for _ in range(5))
    noise = Image.effect_noise((200, 200), 80).convert("RGB")
    noise.save(jpeg, "JPEG")
    noise.save(png, "PNG")
    noise.save(gif, "GIF")
    noise.save(webp, "WEBP")
    noise.save(tiff, "TIFF")
    broken_png = bytearray(png.getvalue())
    broken_png[60:400] = bytes(340)
    content = {
        "empty.jpg": b"",
        "cut.jpg": jpeg.getvalue()[:-3000],
        "cut.png": png.getvalue()[:-5000],
        "cut.gif": gif.getvalue()[:600],
        "cut.webp": webp.getvalue()[:-2000],
        "cut.tif": tiff.getvalue()[:5000],
        "head_only.jpg": jpeg.getvalue()[:20],
        "garbage_inside.png": bytes(broken_png),
        "text.jpg": b"I am no picture, I only say so.",
        "page.png": b"<html><body>404 Not Found</body></html>",
        "document.gif": b"%PDF-1.4 not a picture either",
        "archive.webp": b"PK\x03\x04 a zip file",
        "zeros.bmp": bytes(4096),
        "random.tiff": np.random.default_rng(0).bytes(4096),
        "bomb.png": png_of(60_000, 60_000),
        "huge.png": png_of(12_000, 9_000),
        "phone.heic": b"\0\0\0\x18ftypheic" + bytes(100),
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    (folder / "folder.png").mkdir()
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    return [*content, "folder.png", "dangling.jpg"]


@needs_links
def test_twenty_kinds_of_bad_file_cost_nothing_but_themselves(tmp_path, capsys):
    bad = make_bad_files(tmp_path)
    for i in range(3):
        quarters().save(tmp_path / f"good{i}.jpg")
    gallery = images.load_gallery(tmp_path)
    assert [p.name for p in gallery.paths] == ["good0.jpg", "good1.jpg", "good2.jpg"]
    assert len(bad) == 20 and sorted(p.name for p, _ in gallery.skipped) == sorted(bad)
    reasons = {p.name: reason for p, reason in gallery.skipped}
    assert reasons["empty.jpg"] == "is empty (0 bytes)"
    assert "cut off" in reasons["cut.jpg"] and "cut off" in reasons["cut.png"]
    assert reasons["text.jpg"].startswith("is not a picture, whatever its name says")
    assert "pixels" in reasons["bomb.png"] and "12000 × 9000 pixels" in reasons["huge.png"]
    assert "leads nowhere" in reasons["dangling.jpg"] and "folder" in reasons["folder.png"]
    assert "HEIC" in reasons["phone.heic"] and "export it" in reasons["drawing.svg"]
    assert not any(str(tmp_path) in reason or "Traceback" in reason for reason in reasons.values())
    assert capsys.readouterr().out.count("20 skipped") == 1


@needs_links
def test_a_pipe_is_not_waited_for(tmp_path):
    quarters().save(tmp_path / "good.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [reason for _, reason in images.load_gallery(tmp_path).skipped] == ["is not an ordinary file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_skipped(tmp_path):
    quarters().save(tmp_path / "good.jpg")
    quarters().save(tmp_path / "secret.jpg")
    (tmp_path / "secret.jpg").chmod(0)
    assert "permission" in images.load_gallery(tmp_path).skipped[0][1]


def test_a_refused_permission_is_said_in_words(tmp_path, monkeypatch):
    quarters().save(tmp_path / "good.jpg")
    quarters().save(tmp_path / "secret.jpg")
    open_for_all = Path.open

    def refuse(path, *args, **kwargs):
        if path.name == "secret.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return open_for_all(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    assert images.load_gallery(tmp_path).skipped == [
        (tmp_path / "secret.jpg", "may not be read: the permission is missing")
    ]


OPENS = """
import os, sys
from collections import Counter

opened = Counter()

def count(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)) and str(arguments[0]).startswith(sys.argv[1]):
        opened[os.fspath(arguments[0])] += 1

sys.addaudithook(count)
from helpers import images

def tell():
    print(len(opened), *sorted(set(opened.values())))

images.use_pictures(None)
images.use_pictures(sys.argv[1])
galleries = images.load_pictures()
tell()
for gallery in galleries:
    images.pixel_matrix(gallery, 8)
tell()
print(images.load_gallery(sys.argv[1]))
tell()
"""


@pytest.mark.parametrize("parts", [("", ""), ("train/", "test/")])
def test_a_file_is_opened_once_to_be_checked_and_once_for_its_pixels(tmp_path, monkeypatch, parts):
    folder = tmp_path / "own"
    for i, part in enumerate(parts):
        for name in [f"{part}{label}/{i}-{number}.bmp" for label in ("cat", "dog") for number in range(4)]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            quarters().save(folder / name)  # copies, so that they are also compared
    program = OPENS.replace(
        "import images\n", f"import images\nimages._OWN_PICTURES = images.Path({str(tmp_path / 'chosen.txt')!r})\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(images.DATA.parent), "COURSE_PICTURES": ""}
    run = subprocess.run(
        [sys.executable, "-c", program, folder], env=environment, capture_output=True, text=True, check=True
    )
    said = run.stdout.splitlines()
    assert "queries have an exact copy" in said[0]
    assert said[1:] == ["16 1", "16 2", "16 pictures in 2 classes", "16 2"]


def test_a_file_that_is_written_over_at_once_is_looked_at_again(tmp_path, monkeypatch):
    """Here a disk gives one time to all that is written within ten milliseconds; the size stays the same too."""
    precise = Path.stat

    def coarse(path, **how):
        info = precise(path, **how)
        times = {f"st_{kind}time_ns": getattr(info, f"st_{kind}time_ns") // 10_000_000 * 10_000_000 for kind in "mc"}
        known = {name: getattr(info, name) for name in ("st_mode", "st_size", "st_ino")}
        return SimpleNamespace(
            **known, **times, st_mtime=times["st_mtime_ns"] / 1e9, st_ctime=times["st_ctime_ns"] / 1e9
        )

    monkeypatch.setattr(Path, "stat", coarse)
    path = tmp_path / "a.bmp"
    for shade in range(10):
        for size in ((8, 8), (4, 16)):
            Image.new("L", size, shade).save(path)
            assert images.facts(path) == (hashlib.sha256(path.read_bytes()).hexdigest(), size)
    path.write_bytes(b"gone bad")
    with pytest.raises(images.UnreadableImageError):
        images.facts(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        images.facts(path)


def test_labels_nesting_hidden_files_and_order(tmp_path):
    for name in (
        "b/2.png",
        "b/deep/er/1.png",
        "b/10.png",
        "a b/x.png",
        "Z/x.png",
        "ключ/é.png",
        "犬/ポチ.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        quarters().save(tmp_path / name)
    for name in (
        ".hidden.png",
        ".git/x.png",
        "b/.DS_Store",
        "b/notes.txt",
        "b/Thumbs.db",
        "b/film.mpg",
        "README.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    gallery = images.load_gallery(tmp_path)
    assert gallery.skipped == []
    assert [p.relative_to(tmp_path).as_posix() for p in gallery.paths] == [
        "Z/x.png", "a b/x.png", "b/10.png", "b/2.png", "b/deep/er/1.png", "ключ/é.png", "犬/ポチ.png",
    ]  # fmt: skip
    assert gallery.labels.tolist() == ["Z", "a b", "b", "b", "b", "ключ", "犬"]
    assert gallery.classes == ["Z", "a b", "b", "ключ", "犬"] and gallery.has_labels
    assert repr(gallery) == "7 pictures in 5 classes"


def test_accents_written_in_two_ways_sort_and_read_alike(tmp_path):
    for label in ("e\u0301t\u00e9", "etz"):
        (tmp_path / label).mkdir()
        quarters().save(tmp_path / label / "x.png")
    assert images.load_gallery(tmp_path).labels.tolist() == ["etz", "\u00e9t\u00e9"]


def test_a_flat_folder_has_no_labels(tmp_path):
    quarters().save(tmp_path / "one.png")
    gallery = images.load_gallery(tmp_path)
    assert gallery.labels.tolist() == [""] and not gallery.has_labels and gallery.classes == []
    assert repr(gallery) == "1 picture, no classes"


@needs_links
def test_a_link_back_up_the_tree_does_not_loop(tmp_path):
    (tmp_path / "a").mkdir()
    quarters().save(tmp_path / "a" / "x.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(images.load_gallery(tmp_path)) == 1


@needs_links
def test_a_linked_folder_of_pictures_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "course").mkdir()
    quarters().save(tmp_path / "real" / "x.png")
    (tmp_path / "course" / "cats").symlink_to(tmp_path / "real", target_is_directory=True)
    assert images.load_gallery(tmp_path / "course").labels.tolist() == ["cats"]


@needs_links
def test_folders_that_cannot_be_a_gallery(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*missing.*looked from"):
        images.load_gallery(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no readable picture in .*empty"):
        images.load_gallery(tmp_path / "empty")
    (tmp_path / "bad").mkdir()
    make_bad_files(tmp_path / "bad")
    with pytest.raises(
        ValueError, match=r"(?s)no readable picture in .*bad: expected files such as .*cut\.png is cut off"
    ):
        images.load_gallery(tmp_path / "bad")
    quarters().save(tmp_path / "file.png")
    with pytest.raises(ValueError, match="is a file"):
        images.load_gallery(tmp_path / "file.png")


def test_pixel_matrix_rows_are_the_pixels_in_order(tmp_path):
    tiny = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    Image.fromarray(tiny).save(tmp_path / "tiny.png")
    matrix = images.pixel_matrix([tmp_path / "tiny.png", Image.fromarray(tiny)], size=2)
    assert matrix.dtype == np.float32 and matrix.shape == (2, 12)
    np.testing.assert_allclose(matrix[0], tiny.reshape(-1) / 255, atol=1e-7)
    assert (matrix[0] == matrix[1]).all()


def test_pixel_matrix_of_a_gallery_and_its_limits(tmp_path):
    for i in range(5):
        quarters((60 + i, 30)).save(tmp_path / f"{i}.png")
    gallery = images.load_gallery(tmp_path)
    assert images.pixel_matrix(gallery).shape == (5, 64 * 64 * 3)
    matrix = images.pixel_matrix(gallery, 1)
    assert matrix.shape == (5, 3) and matrix.min() >= 0 and matrix.max() <= 1
    assert images.pixel_matrix([], 8).shape == (0, 192)
    for size in (0, -3):
        with pytest.raises(ValueError, match=f"at least 1, not {size}"):
            images.pixel_matrix(gallery, size)
    gallery.paths[2].write_bytes(b"gone bad")
    with pytest.raises(ValueError, match=r"2\.png is not a picture"):
        images.pixel_matrix(gallery)


def test_take_keeps_order_and_labels(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
        quarters().save(tmp_path / name / "x.png")
    part = images.load_gallery(tmp_path).take([2, 0])
    assert (part.first("a"), part.first("c"), part.first("not there", otherwise=1)) == (1, 0, 1)
    assert part.ids == ["c/x.png", "a/x.png"]
    with pytest.raises(ValueError, match="no picture is of the class 'not there'.*a, c"):
        part.first("not there")
    assert part.labels.tolist() == ["c", "a"] and [p.parent.name for p in part.paths] == ["c", "a"]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder of one's own, and nothing remembered from the machine that runs the tests."""
    monkeypatch.setattr(images, "_OWN_PICTURES", tmp_path / "own_pictures.txt")
    monkeypatch.delenv("COURSE_PICTURES", raising=False)
    folder = tmp_path / "own"
    for name in [f"{label}/{i}.png" for label in ("cat", "dog") for i in range(7)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        quarters().save(folder / name)
    return folder


def test_bundled_pictures_unless_told_otherwise(own, monkeypatch):
    assert images.load_pictures()[0].root == images.DATA / "train"
    images.use_pictures(own)
    assert images.load_pictures()[0].root == own
    monkeypatch.setenv("COURSE_PICTURES", "bundled")
    assert images.load_pictures()[0].root == images.DATA / "train"
    monkeypatch.setenv("COURSE_PICTURES", str(own))
    assert images.load_pictures()[0].root == own
    monkeypatch.delenv("COURSE_PICTURES")
    images.use_pictures(None)
    assert images.load_pictures()[0].root == images.DATA / "train"


def test_own_pictures_are_split_by_class(own):
    (own / "cat" / "bad.png").write_bytes(b"bad")
    images.use_pictures(own)
    gallery, queries = images.load_pictures()
    assert [path.name for path, _ in gallery.skipped] == ["bad.png"]
    assert (len(gallery), len(queries)) == (12, 2) and queries.labels.tolist() == ["cat", "dog"]
    assert not set(gallery.paths) & set(queries.paths)


def test_own_pictures_with_train_and_test(own):
    root = own.parent / "split"
    (root / "train").mkdir(parents=True)
    (own / "cat").rename(root / "train" / "cat")
    (root / "test").mkdir()
    (own / "dog").rename(root / "test" / "dog")
    images.use_pictures(root)
    gallery, queries = images.load_pictures()
    assert gallery.classes == ["cat"] and queries.classes == ["dog"]


def test_a_choice_that_does_not_work_leaves_the_old_one(own):
    images.use_pictures(own)
    with pytest.raises(FileNotFoundError):
        images.use_pictures(own / "typo")
    assert images.load_pictures()[0].root == own


def test_a_single_own_picture_is_too_few(own, tmp_path):
    (tmp_path / "lonely").mkdir()
    quarters().save(tmp_path / "lonely" / "x.png")
    with pytest.raises(ValueError, match="too few pictures"):
        images.use_pictures(tmp_path / "lonely")
    assert images.load_pictures()[0].root == images.DATA / "train"


def test_a_large_photograph_gives_the_same_row_as_path_and_as_picture(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((2400, 1800)).save(tmp_path / "phone.jpg")
    with Image.open(tmp_path / "phone.jpg") as picture:
        by_path, by_picture = images.pixel_matrix([tmp_path / "phone.jpg", picture], 32)
        assert picture.size == (2400, 1800)
    np.testing.assert_array_equal(by_path, by_picture)
