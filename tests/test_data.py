"""The bundled pictures are what data/SOURCES.csv says they are."""

import csv
import hashlib
from collections import Counter
from itertools import product

import imagehash
import pytest
from PIL import Image

from helpers import images


@pytest.fixture(scope="module")
def sources():
    with (images.DATA / "SOURCES.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_picture_is_on_record_and_unchanged(sources):
    on_disk = {p.relative_to(images.DATA).as_posix() for d in ("train", "test") for p in (images.DATA / d).rglob("*.*")}
    assert on_disk == {row["file"] for row in sources}
    for row in sources:
        assert hashlib.sha256((images.DATA / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]


def test_origin_author_and_licence_are_known(sources):
    for row in sources:
        assert all(
            row[field] for field in ("class", "split", "kind", "package", "path", "title", "author", "licence")
        ), row


def test_size_and_balance(sources):
    train = Counter(row["class"] for row in sources if row["split"] == "train")
    test = Counter(row["class"] for row in sources if row["split"] == "test")
    assert 500 <= len(sources) <= 900 and 40 <= len(train) <= 60
    assert min(train.values()) >= 10 and set(train) == set(test) and set(test.values()) <= {1, 2, 3}
    assert sum((images.DATA / row["file"]).stat().st_size for row in sources) < 20e6
    for row in sources:
        with Image.open(images.DATA / row["file"]) as picture:
            assert max(picture.size) <= 320, row["file"]


def test_everything_loads():
    assert images.load_gallery(images.DATA / "train").skipped == []
    assert images.load_gallery(images.DATA / "test").skipped == []


# One design with another motif in it: pictures of these classes resemble each other on purpose.
ONE_DESIGN = {
    "coin", "flag_horizontal_stripes", "flag_union_jack", "flag_vertical_stripes", "mandatory_sign", "planet",
    "playing_card", "prohibition_sign", "signal_flag", "warning_sign",
}  # fmt: skip


def test_no_query_is_nearly_a_copy_of_a_gallery_picture(sources):
    def hashes(split):
        for row in sources:
            if row["split"] == split and row["class"] not in ONE_DESIGN:
                with Image.open(images.DATA / row["file"]) as picture:
                    yield row["file"], imagehash.phash(picture, hash_size=12)

    close = [(a, b) for (a, x), (b, y) in product(hashes("train"), hashes("test")) if x - y <= 30]
    assert close == []
