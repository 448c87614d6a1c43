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
    here = [row for row in sources if row["split"] != "reserve"]
    on_disk = {p.relative_to(images.DATA).as_posix() for d in ("train", "test") for p in (images.DATA / d).rglob("*.*")}
    assert on_disk == {row["file"] for row in here}
    for row in here:
        assert hashlib.sha256((images.DATA / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]


def test_origin_author_and_licence_are_known(sources):
    for row in sources:
        assert all(
            row[field] for field in ("class", "split", "kind", "package", "path", "title", "author", "licence")
        ), row


def test_size_and_balance(sources):
    counts = Counter((row["split"], row["class"]) for row in sources)
    kinds = Counter((row["split"], row["kind"]) for row in sources)
    classes = {row["class"] for row in sources}
    here = [images.DATA / row["file"] for row in sources if row["split"] != "reserve"]
    assert 600 <= len(here) <= 900 and 30 <= len(classes) <= 45
    assert all(counts["train", name] >= 12 and 2 <= counts["test", name] <= 4 for name in classes)
    for split, fewest in (("train", 500), ("test", 120), ("reserve", 60)):
        assert sum(kinds[split, kind] for kind in ("photo", "drawing")) >= fewest
        assert kinds[split, "photo"] >= kinds[split, "drawing"]
    assert sum(path.stat().st_size for path in here) < 20e6
    for path in here:
        with Image.open(path) as picture:
            assert max(picture.size) <= 320, path


def test_every_class_has_its_sentence(sources):
    text = (images.DATA / "README.md").read_text(encoding="utf-8")
    classes = {row["class"] for row in sources}
    assert {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")} == classes
    assert set(ONE_DESIGN) <= classes


def test_everything_loads():
    assert images.load_gallery(images.DATA / "train").skipped == []
    assert images.load_gallery(images.DATA / "test").skipped == []


# One design with another motif in it: pictures of these classes resemble each other on purpose.
ONE_DESIGN = (images.DATA / "one_design.txt").read_text(encoding="utf-8").split()


def test_no_series_is_divided_between_gallery_and_queries(sources):
    with (images.DATA.parent / "tools" / "selection.csv").open(encoding="utf-8", newline="") as lines:
        series = {(r["package"], r["path"]): r["class"] + r["series"] for r in csv.DictReader(lines) if r["series"]}
    assert len(series) > 50
    sides = {
        (series[row["package"], row["path"]], row["split"] == "train")
        for row in sources
        if (row["package"], row["path"]) in series
    }
    assert len({name for name, _ in sides}) == len(sides)


def test_no_query_is_nearly_a_copy_of_a_gallery_picture(sources):
    def hashes(split):
        for row in sources:
            if row["split"] == split and row["class"] not in ONE_DESIGN:
                with Image.open(images.DATA / row["file"]) as picture:
                    yield row["file"], imagehash.phash(picture, hash_size=12)

    close = [(a, b) for (a, x), (b, y) in product(hashes("train"), hashes("test")) if x - y <= 30]
    assert close == []
