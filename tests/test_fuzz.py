"""Damaged files of every format: a picture, or UnreadableImageError; never another error, a crash or a hang."""

import faulthandler
import io
import random
import time

import numpy as np
import pytest
from PIL import Image
from test_formats import FORMATS, of_every_format
from test_store import Colours

from helpers import images, store
from helpers.backroom.paint import LARGEST

ENDINGS = {name: {"JPEG2000": "jp2"}.get(name.split()[0], name.split()[0].lower()) for name in FORMATS}
HEADERS_LIE = ("AVIF", "HEIF", "ICNS", "ICO")  # damaged, they can say one size and hold another
SECONDS = 0.6  # for each format; a seed of its own makes a failure come again


@pytest.fixture(scope="module")
def originals():
    return of_every_format()


def damaged(data, chance):
    """Return `data` with a few bytes changed, cut out, doubled or put in: mostly near the start, where headers are."""
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = int(len(data) * chance.random() ** chance.choice((1, 4)))
        length = chance.choice((1, 2, 4, 32))
        match chance.randrange(6):
            case 0:
                data[at : at + length] = chance.randbytes(length)
            case 1:
                data[at : at + length] = chance.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * length
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                del data[at:]
            case 5 if data:
                data[min(at, len(data) - 1)] ^= 1 << chance.randrange(8)
    return bytes(data)


@pytest.fixture(autouse=True)
def no_hang():
    """End the process, with a traceback, should a decoder never return."""
    faulthandler.dump_traceback_later(300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_a_picture_or_unreadable(name, originals, tmp_path):
    chance = random.Random(name)
    end, tried, opened = time.monotonic() + SECONDS, 0, 0
    while tried < 20 or (tried < 400 and time.monotonic() < end):
        data, tried = damaged(originals[name], chance), tried + 1
        path = tmp_path / f"a.{ENDINGS[name]}"
        path.write_bytes(data)
        try:
            picture = images.open_rgb(path if tried % 2 else io.BytesIO(data))
            size = images.facts(path).size
        except images.UnreadableImageError as error:
            assert str(error).isprintable() or "\n" in str(error)
            continue
        opened += 1
        assert picture.mode == "RGB" and min(picture.size) > 0
        if name not in HEADERS_LIE and size[0] * size[1] <= LARGEST:
            assert size == picture.size
        assert np.asarray(picture).dtype == np.uint8
    assert tried >= 20


def test_a_folder_of_damaged_files_is_stored_or_named(originals, tmp_path):
    chance = random.Random(7)
    (tmp_path / "a").mkdir()
    for i in range(8):
        for name, data in originals.items():
            (tmp_path / "a" / f"{name}-{i}.{ENDINGS[name]}").write_bytes(damaged(data, chance) if i else data)
    gallery = images.load_gallery(tmp_path)
    index = store.open_index(encoder=Colours(), name="fuzz")
    report = index.sync(gallery)
    files = len(list((tmp_path / "a").iterdir()))
    assert index.count() + len(report.skipped) == files and index.count() >= len(originals)
    assert all(isinstance(reason, str) and reason for _, reason in report.skipped)
    found = index.query(image=Image.new("RGB", (8, 8), "red"), k=3)
    assert len(found) == 3
