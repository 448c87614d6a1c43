"""The index: equal to its gallery and to exact search, whatever is killed, shared, full, broken or gone."""

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import chromadb
import numpy as np
import pytest
from conftest import free_port, start_server
from PIL import Image

from helpers import clip, images, metrics, store

# children start in milliseconds from a server process that has imported everything, and that has no threads
children = multiprocessing.get_context("forkserver")
children.set_forkserver_preload(["helpers.store"])


class Colours:
    """A stand-in for an encoder: 4 × 4 pixels as a vector; it counts what it was asked for, and may be slow."""

    def __init__(self, name="colours", fingerprint="f00d", seconds=0.0):
        self.name, self.fingerprint, self.seconds, self.dim = name, fingerprint, seconds, 48
        self.asked = 0

    def encode_images(self, pictures):
        rows = []
        for picture in getattr(pictures, "paths", pictures):
            self.asked += 1
            time.sleep(self.seconds)
            opened = picture if isinstance(picture, Image.Image) else images.open_rgb(picture)
            rows.append(np.asarray(opened.resize((4, 4)), dtype=np.float32).ravel() - 100)
        return np.stack(rows)

    def encode_texts(self, texts):
        return np.stack([np.random.default_rng(len(text)).normal(size=48).astype(np.float32) for text in texts])


@pytest.fixture
def folder(tmp_path):
    """40 different pictures in four classes, two of them equal."""
    root = tmp_path / "train"
    rng = np.random.default_rng(0)
    for i in range(40):
        path = root / "abcd"[i % 4] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)).resize((24, 24)).save(path)
    shutil.copy(root / "a" / "00.png", root / "b" / "01.png")
    return root


def ids(matches):
    return [match.id for match in matches]


def content(index):
    """Everything that is stored: vectors (over HTTP they are rounded) and metadata by id."""
    collection = index._open()
    if collection is None:
        return {}
    stored = collection.get(include=["embeddings", "metadatas"])
    rows = zip(stored["ids"], stored["embeddings"], stored["metadatas"], strict=True)
    return {key: (tuple(np.round(vector, 3).tolist()), sorted(metadata.items())) for key, vector, metadata in rows}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    port = free_port()
    running = start_server(tmp_path_factory.mktemp("server"), port)
    yield f"http://localhost:{port}"
    running.terminate()
    running.wait()


@pytest.fixture(params=["memory", "folder", "server"])
def where(request, tmp_path):
    """Each kind of place in turn; the same code has to serve all of them."""
    if request.param == "server":
        return request.getfixturevalue("server")
    return None if request.param == "memory" else tmp_path / "index"


@pytest.fixture
def name(request):
    """A name of its own for each test: the server is shared."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name)[:60].strip("-")


# ------------------------------------------------------------------------------------------------------------ syncing


def test_a_sync_makes_the_index_equal_to_the_gallery_and_encodes_only_what_is_new(folder, where, name):
    encoder = Colours()
    index = store.open_index(where, encoder=encoder, name=name)
    report = index.sync(images.load_gallery(folder))
    assert (report.added, report.updated, report.removed, report.unchanged, report.skipped) == (40, 0, 0, 0, [])
    assert index.count() == encoder.asked == 40

    report = index.sync(images.load_gallery(folder))
    assert (report.added, report.unchanged, encoder.asked) == (0, 40, 40)

    Image.new("RGB", (30, 20), "red").save(folder / "a" / "04.png")
    shutil.rmtree(folder / "c")
    Image.new("RGB", (20, 20), "blue").save(folder / "d" / "new.jpg")
    gallery = images.load_gallery(folder)
    report = index.sync(gallery)
    assert (report.added, report.updated, report.removed, report.unchanged) == (1, 1, 10, 29)
    assert encoder.asked == 42 and index.count() == 31
    fresh = store.open_index(encoder=Colours())
    fresh.sync(gallery)
    assert content(index) == content(fresh)
    metadata = dict(content(index)["a/04.png"][1])
    assert metadata | {"hash": ""} == {"label": "a", "split": "train", "hash": "", "width": 30, "height": 20}


def test_an_index_is_still_there_when_it_is_opened_again(folder, tmp_path):
    gallery = images.load_gallery(folder)
    store.open_index(tmp_path / "index", encoder=Colours()).sync(gallery)
    code = (
        "import sys; sys.path[:0] = sys.argv[1:2]\n"
        "from test_store import Colours, ids; from helpers import store\n"
        "encoder = Colours(); index = store.open_index(sys.argv[2], encoder=encoder)\n"
        "print(index.count(), ids(index.query(image=sys.argv[3], k=1)), encoder.asked)"
    )
    arguments = [Path(__file__).parent, tmp_path / "index", gallery.paths[7]]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.stdout == f"40 ['{gallery.paths[7].relative_to(folder).as_posix()}'] 1\n", done.stderr


def test_another_split_changes_the_metadata_without_encoding(folder, tmp_path):
    encoder = Colours()
    index = store.open_index(encoder=encoder)
    index.sync(images.load_gallery(folder))
    folder = folder.rename(tmp_path / "test")
    report = index.sync(images.load_gallery(folder))
    assert (report.updated, report.unchanged, encoder.asked) == (40, 0, 40)
    match = index.query(image=folder / "a" / "04.png", k=1, where={"split": "test"})[0]
    assert match.path == folder / "a" / "04.png" and match.path.is_file()


def test_bad_pictures_are_left_out_and_named(folder):
    (folder / "a" / "bad.png").write_bytes(b"bad")
    gallery = images.load_gallery(folder)
    gallery.paths[5].write_bytes(b"damaged since it was loaded")
    index = store.open_index(encoder=Colours())
    report = index.sync(gallery)
    assert report.added == index.count() == 39
    assert {path.name for path, _ in report.skipped} == {"bad.png", gallery.paths[5].name}
    assert all(reason for _, reason in report.skipped)
    assert index.sync(images.load_gallery(folder)).unchanged == 39


def test_what_was_stored_of_a_picture_that_goes_bad_stays_until_the_gallery_lists_it_no_more(folder, where, name):
    index = store.open_index(where, encoder=Colours(), name=name)
    gallery = images.load_gallery(folder)
    index.sync(gallery)
    before = content(index)
    gallery.paths[3].write_bytes(b"damaged since it was stored")
    gallery.paths[4].unlink()
    shutil.move(folder / "d", folder.parent / "elsewhere")  # a disk that was mounted there
    report = index.sync(gallery)
    assert (report.removed, report.unchanged, len(report.skipped)) == (0, 28, 12)
    assert {path for path, _ in report.skipped} == {*gallery.paths[3:5], *gallery.paths[30:]}
    assert all(reason for _, reason in report.skipped) and content(index) == before
    shutil.move(folder.parent / "elsewhere", folder / "d")
    report = index.sync(images.load_gallery(folder))
    assert (report.removed, report.unchanged, len(report.skipped), index.count()) == (2, 38, 1, 38)


def test_a_gallery_that_is_gone_changes_nothing(folder, where, name):
    index = store.open_index(where, encoder=Colours(), name=name)
    gallery = images.load_gallery(folder)
    index.sync(gallery)
    before = content(index)
    away = folder.rename(folder.parent / "away")
    with pytest.raises(OSError, match=r"no picture of .*train can be read now .*nothing was changed in the index"):
        index.sync(gallery)
    folder.mkdir()  # where the disk was mounted
    with pytest.raises(OSError, match="nothing was changed in the index"):
        index.sync(gallery.take(range(5)))
    assert content(index) == before
    report = index.sync(images.load_gallery(away))
    assert report.updated == 40 and index.query(image=away / "a" / "04.png", k=1)[0].path == away / "a" / "04.png"


class Choosy(Colours):
    """Stumbles over one picture, in a way that nobody foresaw."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def encode_images(self, pictures):
        if any(Path(picture).name == "05.png" for picture in pictures):
            raise self.error
        return super().encode_images(pictures)


@pytest.mark.parametrize(
    "error", [TypeError("'>' not supported"), SyntaxError("not a TIFF"), MemoryError(), KeyError(1)]
)
def test_whatever_one_picture_raises_costs_only_that_picture(folder, error):
    index = store.open_index(encoder=Choosy(error))
    report = index.sync(images.load_gallery(folder))
    ((path, reason),) = report.skipped
    assert (report.added, index.count(), path.name) == (39, 39, "05.png") and type(error).__name__ in reason


def test_pictures_with_odd_exif_are_stored_or_named(tmp_path):
    """The orientation as text, as bytes, twice, cut off; a TIFF header that leads nowhere."""
    Image.new("RGB", (30, 20)).save(tmp_path / "good.jpg")
    head = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01"
    odd = [head + rest + bytes(4) for rest in (
        b"\x02\0\x02\0\0\x006\0\0\0", b"\x07\0\x01\0\0\0\x06\0\0\0", b"\x01\0\x01\0\0\0\x06\0\0\0",
        b"\x03\0\x02\0\0\0\x06\0\x06\0", b"\x05\0\x01\0\0\0\x1a\0\0\0", b"",
    )]  # fmt: skip
    for number, exif in enumerate([*odd, b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0garbage"]):
        Image.new("RGB", (30, 20), (number, 0, 0)).save(tmp_path / f"{number}.jpg", exif=exif)
        Image.new("RGB", (30, 20), (number, 9, 0)).save(tmp_path / f"{number}.png", exif=exif)
    gallery = images.load_gallery(tmp_path)
    index = store.open_index(encoder=Colours())
    report = index.sync(gallery)
    assert report.added >= 1 and report.added + len(report.skipped) == len(gallery) + len(gallery.skipped) == 17


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf_8_is_stored_and_found(folder, where, name):
    odd = Path(os.fsdecode(os.fsencode(folder / "a") + b"/caf\xe9.png"))
    Image.new("RGB", (8, 8)).save(odd)
    index = store.open_index(where, encoder=Colours(), name=name)
    assert (index.sync(images.load_gallery(folder)).added, index.query(image=odd, k=1)[0].path) == (41, odd)


def test_width_and_height_are_those_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    Image.new("RGB", (40, 20), "red").save(tmp_path / "portrait.jpg", exif=exif)
    index = store.open_index(encoder=Colours())
    index.sync(images.load_gallery(tmp_path))
    assert ids(index.query(text="a", where={"$and": [{"width": 20}, {"height": 40}]})) == ["portrait.jpg"]


class Vanishing(Colours):
    """Somebody takes a picture away after the sync has looked at it."""

    def encode_images(self, pictures):
        for picture in pictures:
            if Path(picture).name == "1.png":
                Path(picture).unlink(missing_ok=True)
        return super().encode_images(pictures)


def test_a_picture_that_vanishes_during_a_sync_is_named_and_the_rest_is_stored(tmp_path):
    for i in range(4):
        Image.new("RGB", (8, 8), (60 * i, 0, 0)).save(tmp_path / f"{i}.png")
    index = store.open_index(encoder=Vanishing())
    report = index.sync(images.load_gallery(tmp_path))
    assert (report.added, index.count()) == (3, 3)
    ((path, reason),) = report.skipped
    assert path.name == "1.png" and "1.png" in reason


class NotANumber(Colours):
    """Gives NaN for one picture, as a network does whose numbers have grown too large."""

    def encode_images(self, pictures):
        vectors = super().encode_images(pictures)
        vectors[[Path(picture).name == "05.png" for picture in pictures]] = np.nan
        return vectors


def test_a_picture_for_which_the_encoder_gives_nan_is_named_and_not_stored(folder):
    index = store.open_index(encoder=NotANumber())
    report = index.sync(images.load_gallery(folder))
    assert report.added == index.count() == 39
    assert [(path.name, reason) for path, reason in report.skipped] == [("05.png", "the encoder gives NaN for it")]


class Given(Colours):
    """Gives each picture the vector that stands in a table under its name."""

    def __init__(self, table):
        super().__init__()
        self.table = table
        self.dim = len(next(iter(table.values())))

    def encode_images(self, pictures):
        return np.stack([self.table[Path(picture).name] for picture in pictures])


def test_every_picture_is_found_after_many_were_replaced_and_removed(tmp_path, monkeypatch):
    """Chroma 1.5.9 alone loses the way to some (chroma-core/chroma#7758); a weaker graph than ours loses more."""
    monkeypatch.setattr(store, "HNSW", {"ef_construction": 30, "ef_search": 30, "max_neighbors": 6})
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(40, 16))
    table = {f"{i:03d}.png": rng.normal(middles[i % 40], 0.1).astype(np.float32) for i in range(600)}
    for name in table:
        Image.new("RGB", (1, 1)).save(tmp_path / name)
    encoder = Given(table)
    index = store.open_index(encoder=encoder)
    gallery = images.load_gallery(tmp_path)
    index.sync(gallery)
    for turn in range(6):
        for path in gallery.paths[turn::3]:
            table[path.name] = rng.normal(middles[int(rng.integers(40))], 0.1).astype(np.float32)
            Image.new("RGB", (1, 2 + turn)).save(path)  # its content changes, so it is encoded again
        index.sync(gallery.take(sorted(rng.choice(600, 500, replace=False))))
        index.sync(gallery)
    assert index.count() == 600
    lost = [name for name, vector in table.items() if index.query(vector=vector, k=1)[0].id != name]
    assert lost == []  # without the repair, one to eight were lost in each of thirty runs


def test_a_batch_without_any_readable_picture_does_not_stop_the_rest(folder, monkeypatch):
    monkeypatch.setattr(store, "BATCH", 4)
    gallery = images.load_gallery(folder)
    for path in gallery.paths[:8]:
        path.write_bytes(b"")
    report = store.open_index(encoder=Colours()).sync(gallery)
    assert report.added == 32 and len(report.skipped) == 8


def test_an_empty_gallery_changes_nothing(folder):
    index = store.open_index(encoder=Colours())
    gallery = images.load_gallery(folder)
    index.sync(gallery)
    with pytest.raises(ValueError, match="gallery is empty: nothing was changed"):
        index.sync(gallery.take([]))
    assert index.count() == 40


# ------------------------------------------------------------------------------------------------------------- querying


@pytest.mark.parametrize("space", store.SPACES)
def test_the_answers_are_those_of_exact_search(folder, where, name, space):
    encoder, gallery = Colours(), images.load_gallery(folder)
    index = store.open_index(where, encoder=encoder, name=name, space=space)
    index.sync(gallery)
    G = encoder.encode_images(gallery.paths)
    queries = np.vstack([G[:10], np.random.default_rng(1).normal(size=(20, 48)).astype(np.float32) * 50])
    keys = np.array([path.relative_to(folder).as_posix() for path in gallery.paths])
    for query in queries:
        matches = index.query(vector=query, k=40)
        if space == "ip":
            values = G.astype(np.float64) @ query
            order = np.argsort(-values, kind="stable")
            np.testing.assert_allclose([m.score for m in matches], values[order], rtol=1e-3, atol=5)
        else:
            order, scores = (part[0] for part in metrics.rank(query[None], G, metric=space, k=None))
            np.testing.assert_allclose([m.score for m in matches], scores, rtol=1e-4, atol=2e-2)
        assert ids(matches) == keys[order].tolist()
        assert [m.label for m in matches] == gallery.labels[order].tolist()


def test_every_stored_picture_finds_itself_and_equals_come_in_order(folder):
    index = store.open_index(encoder=Colours())
    gallery = images.load_gallery(folder)
    index.sync(gallery)
    for path in gallery.paths:
        first = index.query(image=path, k=2)
        assert first[0].score == pytest.approx(1, abs=1e-5)
        if path.name in ("00.png", "01.png"):
            assert ids(first) == ["a/00.png", "b/01.png"]
            assert ids(index.query(image=path, k=1)) == ["a/00.png"], "the first of equals, not any of them"
        else:
            assert first[0].path == path


def test_queries_by_picture_text_and_filter(folder, where, name):
    index = store.open_index(where, encoder=Colours(), name=name)
    index.sync(images.load_gallery(folder))
    path = folder / "b" / "05.png"
    assert ids(index.query(image=Image.open(path), k=1)) == ids(index.query(image=str(path), k=1)) == ["b/05.png"]
    with path.open("rb") as file:
        assert ids(index.query(image=file, k=1)) == ["b/05.png"]
    assert len(index.query(text="a red apple", k=3)) == 3
    assert {m.label for m in index.query(image=path, k=20, where={"label": "c"})} == {"c"}
    assert {m.label for m in index.query(image=path, k=40, where={"label": {"$in": ["a", "d"]}})} == {"a", "d"}
    both = {"$and": [{"label": "a"}, {"width": {"$gt": 1000}}]}
    assert index.query(image=path, where=both) == []
    assert len(index.query(image=path, k=1000)) == 40, "k larger than the index"


def test_an_empty_index_has_no_answers():
    index = store.open_index(encoder=Colours())
    assert index.count() == 0 and index.query(text="anything") == []


@pytest.mark.parametrize("query, said", [
    ({}, "exactly one of image, text and vector"),
    ({"text": "a", "vector": np.ones(48)}, "exactly one"),
    ({"vector": np.ones(47)}, r"vectors of shape \(48,\), and this one is \(47,\)"),
    ({"vector": np.ones((1, 48))}, r"this one is \(1, 48\)"),
    ({"vector": np.full(48, np.nan)}, "largest number is nan"),
    ({"vector": np.zeros(48)}, "largest number is 0e.00: it has no direction"),
    ({"text": "a", "k": 0}, "a whole number, at least 1, not 0"),
    ({"text": "a", "k": "5"}, "not '5'"),
    ({"text": "a", "k": 2.5}, "not 2.5"),
    ({"text": "a", "k": True}, "not True"),
    ({"text": "a", "k": None}, "not None"),
    ({"text": "a", "k": float("nan")}, "not nan"),
    ({"text": 5}, "no vector can be made of this query"),
    ({"image": 5}, "no vector can be made of this query"),
    ({"image": "no/such/picture.jpg"}, "no/such/picture.jpg"),
    ({"vector": np.full(48, "0.5")}, r"this one is \(48,\), <U3"),
    ({"vector": np.full(48, 1j)}, "complex128"),
    ({"vector": [None] * 48}, "object"),
    ({"vector": np.full(48, 1e200)}, "largest number is 1e.200"),
    ({"vector": np.full(48, 1e-30)}, "largest number is 1e-30"),
    ({"text": "a", "where": {"label": 3}}, "label is text in UTF-8, such as '3', and the filter asks for 3 .int"),
    ({"text": "a", "where": {"width": "12"}}, "width is a whole number, such as 3, and the filter asks for '12' .str"),
    ({"text": "a", "where": {"label": {"$contains": "a"}}}, r"asked of label: use one of \$eq, \$ne, \$in, \$nin"),
    ({"text": "a", "where": {"label": "a", "width": 3}}, r"more than one as {'\$and'"),
    ({"text": "a", "where": {"$or": "x"}}, r"'\$and' and '\$or' take a list of filters"),
    ({"text": "a", "where": {"label": {"$in": "ab"}}}, r"\$in takes a list of values"),
    ({"text": "a", "where": {"colour": "red"}}, "unknown field 'colour'.*label, split"),
    ({"text": "a", "where": {"$or": [{"label": "a"}, {"colour": "red"}]}}, "unknown field 'colour'"),
    ({"text": "a", "where": {"label": {"$like": "a"}}}, r"asked of label: use one of \$eq, \$ne, \$in, \$nin"),
])  # fmt: skip
def test_queries_that_make_no_sense(folder, query, said):
    index = store.open_index(encoder=Colours())
    index.sync(images.load_gallery(folder))
    with pytest.raises(ValueError, match=said):
        index.query(**query)
    assert len(index.query(text="the next query works")) == 5


def fits(row, where):
    """Answer a filter in plain Python, and fail where it means nothing: text is no number, a flag is no number."""
    ((key, asked),) = where.items()
    if key in ("$and", "$or"):
        assert isinstance(asked, (list, tuple)) and len(asked)
        parts = [fits(row, part) for part in asked]
        return all(parts) if key == "$and" else any(parts)
    operator, value = next(iter(asked.items())) if isinstance(asked, dict) else ("$eq", asked)
    value = value.item() if isinstance(value, np.ndarray) and not value.ndim else value
    kind = str if key in ("label", "split", "hash") else (int, float, np.integer, np.floating)
    values = list(value) if operator in ("$in", "$nin") else [value]
    assert not isinstance(asked, dict) or len(asked) == 1
    assert values and all(isinstance(part, kind) and not isinstance(part, bool) for part in values)
    assert kind is not str or operator in ("$eq", "$ne", "$in", "$nin")
    return {
        "$eq": lambda: row[key] == value,
        "$ne": lambda: row[key] != value,
        "$gt": lambda: row[key] > value,
        "$gte": lambda: row[key] >= value,
        "$lt": lambda: row[key] < value,
        "$lte": lambda: row[key] <= value,
        "$in": lambda: row[key] in values,
        "$nin": lambda: row[key] not in values,
    }[operator]()


def filters():
    """Yield filters of every operator with values of every kind, right and wrong; then some that are put together."""
    values = ["3", "a", "", "é", "none", "a\0", "\udce9", b"a", np.str_("a"), np.array("a")]
    values += [24, 12, 0, -1, 2**31, 2**63, 2**70, np.int64(24), np.uint8(12), np.array(24), 24.0, 24.5, np.float32(24)]
    values += [True, np.True_, float("nan"), float("inf"), -np.inf, None, 1j, {}, {"$eq": 24}, ["a"], [24], (24, 12)]
    values += [[], ["a", 24], [24, True], np.array([12, 24]), np.array(["a", "3"]), {"a", "b"}, range(10, 30), [["a"]]]
    operators = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin")
    for field in ("label", "split", "hash", "width", "height"):
        for value in values:
            yield {field: value}
            for operator in (*operators, "$contains", "$not_contains", "$regex", "$like", "eq", 3):
                yield {field: {operator: value}}
    some = [
        {"label": "a"},
        {"width": {"$gt": 12}},
        {"label": {"$ne": "3"}},
        {"height": 24},
        {"label": {"$in": ["é", "b"]}},
    ]
    for one in some:
        for other in some:
            for key in ("$and", "$or"):
                yield {key: [one, other]}
                yield {"$or": [{key: (one, other, some[0])}, some[1]]}
        yield from ({"$and": [one]}, {"$or": [one]}, {"$and": one}, {"$or": [one, {}]}, {"$or": [one, "x"]})
    yield from (
        {},
        {"$or": "x"},
        {"$or": []},
        {"$and": None},
        {"$not": some},
        {3: "a"},
        {None: 1},
        {"": "a"},
        {"$in": ["a"]},
    )
    yield from (
        {"label": "a", "width": 24},
        {"width": {"$gt": 1, "$lt": 30}},
        "label",
        ["label"],
        [{"label": "a"}],
        3,
        {"a"},
    )
    yield {"#document": "a"}


def test_a_filter_is_answered_as_plain_python_answers_it_or_refused(tmp_path, where, name):
    """3,367 filters: Chroma alone answers some with nothing, or everything, or ignores the operator."""
    folder = tmp_path / "train"
    for number, label in enumerate(["3", "a", "é", "b", "a", "True"]):
        path = folder / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12 + 12 * (number % 2), 24), (40 * number, 9, 0)).save(path)
    index = store.open_index(where, encoder=Colours(), name=name)
    index.sync(images.load_gallery(folder))
    rows = {key: dict(metadata) for key, (_, metadata) in content(index).items()}
    answered = refused = 0
    for asked in filters():
        try:
            expected = {key for key, row in rows.items() if fits(row, asked)}
        except Exception:
            expected = None
        try:
            found = {match.id for match in index.query(vector=np.ones(48), k=50, where=asked)}
        except ValueError as error:
            refused += 1
            assert len(str(error)) > 30 and "Invalid where clause" not in str(error), (asked, error)
        else:
            answered += 1
            assert found == expected, asked
    assert answered > 200 and refused > 1000, (answered, refused)
    assert len(index.query(text="a", k=50, where={"label": "e\u0301"})) == 1, "as macOS writes é"
    several = {"$or": [{"label": {"$in": [str(n) for n in range(600)]}}, {"width": {"$in": np.arange(20)}}]}
    assert len(index.query(text="a", k=50, where=several)) == 3
    deep = {"label": "a"}
    for _ in range(3000):
        deep = {"$and": [deep, {"label": "a"}]}
    for large in ({"$or": [{"width": n} for n in range(2000)]}, {"width": {"$in": range(100_000)}}, deep):
        with pytest.raises(ValueError, match="too many values|nested too deep"):
            index.query(text="a", where=large)


def test_a_k_of_any_size_gives_all_there_are(folder, where, name):
    index = store.open_index(where, encoder=Colours(), name=name)
    index.sync(images.load_gallery(folder))
    assert len(index.query(text="a", k=np.int64(3))) == len(index.query(text="a", k=np.uint8(3))) == 3
    for k in (40, 41, 2**31 - 2, 2**31 - 1, 2**31, 2**32, 2**63, 2**100):
        assert len(index.query(text="a", k=k)) == 40
        assert len(index.query(text="a", k=k, where={"label": "a"})) == 10


def test_a_picture_that_cannot_be_opened_is_no_query(folder):
    index = store.open_index(encoder=Colours())
    index.sync(images.load_gallery(folder))
    (folder / "bad.png").write_bytes(b"bad")
    with pytest.raises(ValueError, match=r"bad\.png"):
        index.query(image=folder / "bad.png")


# ------------------------------------------------------------------------------------------------ encoders and spaces


def test_an_index_refuses_another_encoder_until_it_is_rebuilt(folder, where, name):
    gallery = images.load_gallery(folder)
    first = store.open_index(where, encoder=Colours(), name=name)
    first.sync(gallery)
    other = store.Index(first._home, Colours("CLIP", "beef"), name, "cosine")
    for action in (lambda: other.query(text="a"), lambda: other.sync(gallery)):
        with pytest.raises(ValueError, match=r"colours \(f00d\).*CLIP \(beef\).*index\.clear\(\)"):
            action()
    other.clear()
    assert other.sync(gallery).added == 40
    assert len(other.query(text="a")) == 5


def test_an_index_refuses_another_space(folder, tmp_path):
    store.open_index(tmp_path / "index", encoder=Colours(), space="l2").sync(images.load_gallery(folder))
    with pytest.raises(ValueError, match=r"for the space 'l2', and this is colours \(f00d\) for 'cosine'"):
        store.open_index(tmp_path / "index", encoder=Colours()).query(text="a")


def test_spaces_and_names_that_do_not_exist():
    with pytest.raises(ValueError, match="unknown space 'manhattan': choose one of cosine, l2, ip"):
        store.open_index(encoder=Colours(), space="manhattan")
    with pytest.raises(ValueError, match="3-512 characters"):
        store.open_index(encoder=Colours(), name="x")


def test_two_indexes_in_memory_know_nothing_of_each_other(folder):
    store.open_index(encoder=Colours()).sync(images.load_gallery(folder))
    assert store.open_index(encoder=Colours()).count() == 0


# ------------------------------------------------------------------------------------------------- killed, full, gone


def sync_slowly(pictures, index, batch, seconds, result=None, name="pictures"):
    store.BATCH = batch
    try:
        encoder = Colours(seconds=seconds)
        report = store.open_index(index, encoder=encoder, name=name).sync(images.load_gallery(pictures))
        said = f"added {report.added}"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    if result is not None:
        result.put(said)


def wait_for_the_first_write(index):
    end = time.monotonic() + 60
    while not any(index.glob("*/header.bin")) and time.monotonic() < end:
        time.sleep(0.01)


def test_a_sync_that_is_killed_loses_nothing_and_the_next_one_finishes(folder, tmp_path):
    gallery = images.load_gallery(folder)
    in_one_go = store.open_index(encoder=Colours())
    in_one_go.sync(gallery)
    expected = content(in_one_go)
    moments = random.Random(0)
    reached = set()
    for turn in range(10):
        where = tmp_path / f"index{turn}"
        child = children.Process(target=sync_slowly, args=(folder, where, 4, 0.01))
        child.start()
        while not (where / "chroma.sqlite3").exists():
            time.sleep(0.005)
        if turn:  # the first is killed while it makes the database, perhaps
            wait_for_the_first_write(where)
        time.sleep(moments.uniform(0, 0.5))
        child.kill()
        child.join()
        index = store.open_index(where, encoder=Colours())
        reached.add(index.count())
        before = content(index)
        assert all(expected[key] == value for key, value in before.items()), "what is stored is whole"
        report = index.sync(gallery)
        assert report.unchanged == len(before) and report.added == 40 - len(before)
        assert content(index) == expected
        for path in gallery.paths[::5]:
            assert ids(index.query(image=path, k=40)) == ids(in_one_go.query(image=path, k=40))
    assert len(reached) > 2, f"the moments differed: {sorted(reached)}"


def test_a_second_process_that_syncs_the_same_folder_is_refused(folder, tmp_path):
    gallery = images.load_gallery(folder)
    index = store.open_index(tmp_path / "index", encoder=Colours())
    result = children.Queue()
    child = children.Process(target=sync_slowly, args=(folder, tmp_path / "index", 4, 0.15, result))
    child.start()
    wait_for_the_first_write(tmp_path / "index")
    refused = [
        lambda: index.sync(gallery),
        index.clear,
        lambda: store.open_index(tmp_path / "index", encoder=Colours()),  # it would crash on a graph half written
    ]
    for action in refused:
        with pytest.raises(RuntimeError, match=r"another process is syncing .*chroma run --path"):
            action()
    assert result.get(timeout=60) == "added 40"
    child.join()
    assert index.sync(gallery).unchanged == 40


def sync_each(galleries, index, go, done):
    opened = store.open_index(index, encoder=Colours())
    for pictures in galleries:
        go.acquire(timeout=60)
        opened.sync(images.load_gallery(pictures))
        done.release()


def test_a_reader_answers_from_before_until_the_index_is_opened_again(folder, tmp_path):
    """What is gone since is said; what is new is not seen; nothing else is wrong."""
    other = shutil.copytree(folder, tmp_path / "other" / "train")
    shutil.rmtree(other / "a")
    for path in (other / "b").iterdir():
        Image.new("RGB", (24, 24), (int(path.stem), 200, 0)).save(path)
    shutil.copytree(folder / "a", other / "new")
    gallery = images.load_gallery(folder)
    go, done = children.Semaphore(0), children.Semaphore(0)
    child = children.Process(target=sync_each, args=([folder, other], tmp_path / "index", go, done))
    child.start()
    go.release()
    assert done.acquire(timeout=60)
    index = store.open_index(tmp_path / "index", encoder=Colours())
    before = {path: index.query(image=path, k=1) for path in gallery.paths}
    assert all(found[0].score == pytest.approx(1, abs=1e-5) for found in before.values())
    go.release()
    assert done.acquire(timeout=60)
    child.join()
    answered = 0
    for path in gallery.paths:
        try:
            assert ids(index.query(image=path, k=1)) == ids(before[path])
            answered += 1
        except OSError as error:
            assert "open it again" in str(error) or "open the index again" in str(error)
    assert 15 <= answered <= 30
    with pytest.raises(OSError, match="another program has changed the index .*: open it again"):
        index.query(text="a", where={"label": "new"})
    again, gallery = store.open_index(tmp_path / "index", encoder=Colours()), images.load_gallery(other)
    in_one_go = store.open_index(encoder=Colours())
    in_one_go.sync(gallery)
    for opened in (again, index):  # they share what the process has open
        assert opened.count() == 40 and content(opened) == content(in_one_go)
        for path in gallery.paths:
            assert ids(opened.query(image=path, k=40)) == ids(in_one_go.query(image=path, k=40))


def test_a_sync_goes_on_from_what_another_process_has_stored(folder, tmp_path):
    gallery = images.load_gallery(folder)
    index = store.open_index(tmp_path / "index", encoder=Colours())
    index.sync(gallery.take(range(8)))
    child = children.Process(target=sync_slowly, args=(folder, tmp_path / "index", 4, 0))
    child.start()
    child.join()
    report = index.sync(gallery)
    assert (report.added, report.unchanged, index.count()) == (0, 40, 40)
    for path in gallery.paths:
        assert index.query(image=path, k=1)[0].score == pytest.approx(1, abs=1e-5)


def open_and_count(index, go, result):
    go.wait(60)
    try:
        result.put(store.open_index(index, encoder=Colours()).count())
    except Exception as error:
        result.put(f"{type(error).__name__}: {error}")


def test_six_processes_that_open_a_new_folder_at_once(tmp_path):
    go, result = children.Event(), children.Queue()
    openers = [children.Process(target=open_and_count, args=(tmp_path / "index", go, result)) for _ in range(6)]
    for opener in openers:
        opener.start()
    time.sleep(0.5)
    go.set()
    said = [result.get(timeout=60) for _ in openers]
    assert all(count == 0 or "RuntimeError: another process" in str(count) for count in said) and 0 in said, said


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_reading_makes_nothing(tmp_path, where, name):
    index = store.open_index(where, encoder=Colours(), name=name)
    before = files(tmp_path)
    for _ in range(2):
        assert index.count() == 0 and index.query(text="a") == [] and "0 pictures" in repr(index)
    with pytest.raises(ValueError, match="unknown field"):
        index.query(text="a", where={"colour": "red"})
    assert files(tmp_path) == before
    assert name not in [collection.name for collection in index._home.client.list_collections()]
    index.clear()
    assert name in [collection.name for collection in index._home.client.list_collections()]


def sync_with_little_room(pictures, index, room, result):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))  # what a full disk does: no file can grow any further
    sync_slowly(pictures, index, 4, 0, result)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of this kind exist on Unix only")
def test_a_disk_that_is_full_costs_nothing_that_was_stored(folder, tmp_path):
    gallery = images.load_gallery(folder)
    index = store.open_index(tmp_path / "index", encoder=Colours())
    index.sync(gallery.take(range(8)))
    room = (tmp_path / "index" / "chroma.sqlite3").stat().st_size + 4096
    result = children.Queue()
    child = children.Process(target=sync_with_little_room, args=(folder, tmp_path / "index", room, result))
    child.start()
    said = result.get(timeout=60)
    child.join()
    assert said.startswith("OSError: the index in") and "does not work" in said and "not lost" in said
    assert index.count() >= 8
    report = index.sync(gallery)
    assert report.added + report.unchanged == 40 and index.count() == 40


def sync_again_when_there_is_room(pictures, index, room, result):
    import resource

    store.BATCH = 4
    gallery = images.load_gallery(pictures)
    opened = store.open_index(index, encoder=Colours())
    none, before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before))
    for _ in range(2):
        try:
            opened.sync(gallery)
            result.put("it fitted in")
        except OSError as error:
            result.put(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (none, before))
    report = opened.sync(gallery)
    found = sum(opened.query(image=path, k=1)[0].score > 0.9999 for path in gallery.paths)
    result.put((report.added + report.unchanged, report.removed, opened.count(), found))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of this kind exist on Unix only")
@pytest.mark.parametrize("more", [0, 4096, 20_000])
def test_a_sync_that_met_a_full_disk_works_again_in_the_same_process_when_there_is_room(folder, tmp_path, more):
    index = tmp_path / "index"
    store.open_index(index, encoder=Colours()).sync(images.load_gallery(folder).take(range(8)))
    room = (index / "chroma.sqlite3").stat().st_size + more
    result = children.Queue()
    child = children.Process(target=sync_again_when_there_is_room, args=(folder, index, room, result))
    child.start()
    try:
        for _ in range(2):
            assert result.get(timeout=60).startswith("the index in")
        assert result.get(timeout=60) == (40, 0, 40, 40)
    finally:
        child.kill()
        child.join()


def sync_until_it_may(pictures, index, result):
    if os.getuid() == 0:
        os.setuid(65534)
    files = [index, *index.rglob("*")]
    gallery, opened = images.load_gallery(pictures), store.open_index(index, encoder=Colours())
    for path in files:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        opened.sync(gallery)
    except OSError as error:
        result.put(str(error))
    for path in files:
        path.chmod(0o755 if path.is_dir() else 0o644)
    result.put((opened.sync(gallery).unchanged, opened.count()))


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of this kind exist on Unix only")
def test_a_folder_that_was_read_only_for_a_while_works_again_in_the_same_process(folder):
    import tempfile

    with tempfile.TemporaryDirectory() as open_to_all:
        Path(open_to_all).chmod(0o755)
        index, pictures = Path(open_to_all, "index"), Path(open_to_all, "train")
        shutil.copytree(folder, pictures)
        store.open_index(index, encoder=Colours()).sync(images.load_gallery(pictures).take(range(8)))
        if os.getuid() == 0:
            for path in (index, *index.rglob("*")):
                os.chown(path, 65534, -1)
        result = children.Queue()
        child = children.Process(target=sync_until_it_may, args=(pictures, index, result))
        child.start()
        try:
            assert "does not work (" in (said := result.get(timeout=60)) and "not lost" in said
            assert result.get(timeout=60) == (8, 40)
        finally:
            child.kill()
            child.join()


def sync_without_permission(pictures, index, result):
    if os.getuid() == 0:
        os.setuid(65534)  # for root no folder is read-only
    sync_slowly(pictures, index, 4, 0, result)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of this kind exist on Unix only")
def test_a_folder_that_is_read_only_is_said_to_be_and_stays_as_it_is(folder):
    import tempfile

    with tempfile.TemporaryDirectory() as open_to_all:
        index, pictures = Path(open_to_all, "index"), Path(open_to_all, "train")
        shutil.copytree(folder, pictures)
        gallery = images.load_gallery(pictures)
        store.open_index(index, encoder=Colours()).sync(gallery.take(range(8)))
        Path(open_to_all).chmod(0o755)
        for path in (index, *index.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        result = children.Queue()
        child = children.Process(target=sync_without_permission, args=(pictures, index, result))
        child.start()
        said = result.get(timeout=60)
        child.join()
        assert said.startswith("OSError: the index in") and "Permission denied" in said and "not lost" in said
        for path in (index, *index.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        assert store.open_index(index, encoder=Colours()).count() == 8


def test_a_folder_that_is_no_index(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for path in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(ValueError, match="holds something else than an index"):
            store.open_index(path, encoder=Colours())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "chroma.sqlite3").write_bytes(b"SQLite format 3\0" + b"garbage" * 1000)
    for _ in range(2):
        with pytest.raises(OSError, match="does not work.*not a database.*remove the folder and sync again"):
            store.open_index(broken, encoder=Colours())
    shutil.rmtree(broken)
    assert store.open_index(broken, encoder=Colours()).count() == 0


def test_a_collection_that_another_program_made_is_refused_until_it_is_cleared(folder, tmp_path):
    client = chromadb.PersistentClient(tmp_path / "index")
    client.create_collection("pictures").add(ids=["a"], embeddings=[[1.0, 2.0, 3.0]], metadatas=[{"mine": True}])
    with pytest.raises(OSError, match="opened already with chromadb itself: close that client"):
        store.open_index(tmp_path / "index", encoder=Colours())
    client.close()
    index = store.open_index(tmp_path / "index", encoder=Colours())
    for action in (lambda: index.query(text="a"), lambda: index.sync(images.load_gallery(folder))):
        with pytest.raises(ValueError, match=r"another program \(unknown\).*index\.clear\(\)"):
            action()
    assert index.count() == 1, "nothing of theirs was touched"
    index.clear()
    assert index.sync(images.load_gallery(folder)).added == 40


def test_rows_that_another_program_left_are_said_and_a_sync_puts_them_right(folder, where, name):
    gallery = images.load_gallery(folder)
    index = store.open_index(where, encoder=Colours(), name=name)
    index.sync(gallery)
    before = content(index)
    nobodys = np.arange(48, dtype=np.float32)
    for left in ([None], [{"mine": 1}], [{"label": 3, "hash": 4}]):
        theirs = index._home.client.get_collection(name)
        theirs.delete(ids=["a/04.png"])
        theirs.add(ids=["a/04.png"], embeddings=[nobodys], metadatas=left)
        theirs.add(ids=["strange"], embeddings=[nobodys], metadatas=left)
        with pytest.raises(OSError, match=r"another program has changed .*: open it again, or index\.sync\(gallery\)"):
            index.query(vector=nobodys)
        assert len(index.query(vector=nobodys, k=50, where={"label": "b"})) == 10 and "41 pictures" in repr(index)
        report = index.sync(gallery)
        assert (report.updated, report.removed, report.unchanged) == (1, 1, 39) and content(index) == before
        assert len(index.query(vector=nobodys, k=50)) == 40


def test_a_collection_that_another_program_renames_or_removes(folder, where, name):
    gallery = images.load_gallery(folder)
    index = store.open_index(where, encoder=Colours(), name=name)
    ways = [
        lambda: index._home.client.get_collection(name).modify(name=uuid.uuid4().hex),
        lambda: index._home.client.delete_collection(name),
    ]
    for change in ways:
        index.sync(gallery)
        change()
        report = index.sync(gallery)
        assert (report.added, index.count(), len(index.query(text="a"))) == (40, 40, 5)
        change()
        index.clear()
        assert index.count() == 0 and index.query(text="a") == []


def test_an_index_that_is_deleted_behind_its_back(folder, tmp_path):
    index = store.open_index(tmp_path / "index", encoder=Colours())
    index.sync(images.load_gallery(folder))
    shutil.rmtree(tmp_path / "index")
    for action in (index.count, lambda: index.query(text="a")):
        with pytest.raises(FileNotFoundError, match="is gone: open it anew and sync"):
            action()
    with pytest.raises(FileNotFoundError, match="is gone: open it anew and sync"):
        index.sync(images.load_gallery(folder))
    again = store.open_index(tmp_path / "index", encoder=Colours())
    assert again.sync(images.load_gallery(folder)).added == 40
    assert len(again.query(text="a")) == 5


# ----------------------------------------------------------------------------------------------------------- the server


def test_an_address_where_nothing_listens():
    port = free_port()
    with pytest.raises(ConnectionError, match=f"no Chroma server answers at .*chroma run --path FOLDER --port {port}"):
        store.open_index(f"http://127.0.0.1:{port}", encoder=Colours())


@pytest.mark.parametrize("address", [
    "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "::1", "127.0.0.1", "localhost", "LOCALHOST:8000/", "host:8000",
    "example.org:8000/path", "example.org:", "localhost:port", "user@example.org:8000", "my:folder", "a:8000",
    "http:/localhost:8000", "http:localhost:8000", "https//localhost:8000", "http//localhost", "http;//localhost",
    "HTTP:\\\\localhost", "//localhost:8000", "http://", "https://", "http:", "http:///index", "http://:8000",
    "ftp://localhost", "chroma://", "chroma://localhost:8000", "ws://localhost:8000", "file:///tmp/index",
    "http://localhost:0", "http://localhost:65536", "http://localhost:99999", "http://localhost:80a0",
    "http://localhost:-1", "http://localhost:8000:8000", "http://localhost:8000/path", "http://localhost?x=1",
    "http://localhost#x", "http://user:secret@localhost:8000", "http://[::1", "http://::1", "http://local host:8000",
    "http://http://localhost:8000", " localhost:8000 ", "", " ", Path("http://localhost:8000"),
])  # fmt: skip
def test_what_looks_like_an_address_is_no_folder(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"is no address of a server: write 'https?://[^/]+'\. For a folder of that name"
    ):
        store.open_index(address, encoder=Colours())
    assert list(tmp_path.iterdir()) == [] and not Path("//localhost:8000").exists()


@pytest.mark.parametrize("address, right", [
    ("localhost:8000", "http://localhost:8000"), ("[::1]:8000", "http://[::1]:8000"), ("https//a.org", "https://a.org"),
    ("example.org:8000/path", "http://example.org:8000"), ("http:/127.0.0.1:9", "http://127.0.0.1:9"),
    ("HTTPS:\\\\a.org:9/", "https://a.org:9"), ("httpbin.org:80", "http://httpbin.org:80"),
])  # fmt: skip
def test_the_right_spelling_of_an_address_is_said(address, right, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as said:
        store.open_index(address, encoder=Colours())
    assert f"write {right!r}." in str(said.value)


@pytest.mark.parametrize(
    "folder", ["a/b:8000", "./my:folder", "http.d/index", "localhost.d", "1.2.3", Path("my:folder")]
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_other_names_are_folders(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert store.open_index(folder, encoder=Colours()).where == str(tmp_path / folder)


def test_a_drive_of_windows_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("C:\\index", Path("C:\\index")) if sys.platform != "win32" else (str(tmp_path),):
        assert store.open_index(folder, encoder=Colours()).where == str(Path(folder).resolve())


def test_an_address_in_capitals_with_a_slash_behind_is_a_server(server, name):
    store.open_index(server, encoder=Colours(), name=name)
    spelled = f" {server.upper()}/ "
    assert store.open_index(spelled, encoder=Colours(), name=name).where.lower() == server


@pytest.mark.parametrize(
    "address", ["HTTP://127.0.0.1:{}", "http://[::1]:{}", "http://a..b:{}", f"http://{'a' * 70}:{{}}"]
)
def test_an_address_that_nobody_answers_is_said(address):
    with pytest.raises(ConnectionError, match="no Chroma server answers at http://.*chroma run"):
        store.open_index(address.format(free_port()), encoder=Colours())


def test_an_address_where_something_else_listens():
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *arguments):
            pass

    other = ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    with pytest.raises(ConnectionError, match="no Chroma server answers at http://.*chroma run --path FOLDER"):
        store.open_index(f"http://127.0.0.1:{other.server_address[1]}", encoder=Colours())
    other.shutdown()
    other.server_close()


@pytest.mark.parametrize("given", ["as options", "in the environment"])
def test_headers_tenant_and_database_reach_the_server(given, monkeypatch):
    asked = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["X-Chroma-Token"]))
            answer = {"name": "class", "tenant": "school", "id": str(uuid.uuid4())}
            if self.path.endswith("identity"):
                answer = {"user_id": "", "tenant": "school", "databases": ["class"]}
            if "collections" in self.path:
                answer = {"error": "NotFoundError", "message": "no such collection"}
            self.send_response(404 if "collections" in self.path else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    options = {"headers": {"X-Chroma-Token": "secret"}, "tenant": "school", "database": "class"}
    if given == "in the environment":
        for name, value in (
            ("SERVER_HEADERS", json.dumps(options["headers"])),
            ("TENANT", "school"),
            ("DATABASE", "class"),
        ):
            monkeypatch.setenv(f"CHROMA_{name}", value)
        options = {}
    assert store.open_index(address, encoder=Colours(), **options).count() == 0
    assert {token for _, token in asked} == {"secret"}
    assert any(path.endswith("/tenants/school/databases/class/collections/pictures") for path, _ in asked)
    server.shutdown()
    server.server_close()


def test_a_tenant_and_a_database_of_a_real_server(folder, server):
    address, port = server, int(server.rsplit(":", 1)[1])
    with pytest.raises(ConnectionError, match="refuses: .*class"):
        store.open_index(address, encoder=Colours(), database="class")
    chromadb.HttpClient(port=port).get_settings()
    admin = chromadb.AdminClient(chromadb.HttpClient(port=port).get_settings())
    admin.create_database("class")
    index = store.open_index(address, encoder=Colours(), name="tenants", database="class")
    index.sync(images.load_gallery(folder))
    assert index.count() == 40 and store.open_index(address, encoder=Colours(), name="tenants").count() == 0


def test_options_that_nothing_takes_are_refused(tmp_path, server):
    for where in (None, tmp_path):
        with pytest.raises(TypeError, match="headers: only a server takes this"):
            store.open_index(where, encoder=Colours(), headers={"X-Chroma-Token": "secret"})
    with pytest.raises(TypeError, match="haeders"):
        store.open_index(server, encoder=Colours(), haeders={})


def ask(address, name, pictures, ready, until, result):
    """Query again and again, and say when the first answer has come; report how many, or the first wrong answer."""
    index = store.open_index(address, encoder=Colours(), name=name)
    gallery = images.load_gallery(pictures)
    asked = 0
    try:
        while not until.is_set():
            path = gallery.paths[asked % 8]
            match = index.query(image=path, k=1)[0]
            if match.id not in (path.relative_to(pictures).as_posix(), "a/00.png"):
                result.put(f"{path} found {match}")
                return
            asked += 1
            if asked == 1:
                ready.release()
        result.put(asked)
    except Exception as error:
        result.put(f"{type(error).__name__}: {error}")


def test_eight_clients_ask_while_one_syncs(folder, server, name):
    gallery = images.load_gallery(folder)
    index = store.open_index(server, encoder=Colours(seconds=0.02), name=name)
    index.sync(gallery.take(range(8)))
    ready, until, result = children.Semaphore(0), children.Event(), children.Queue()
    clients = [children.Process(target=ask, args=(server, name, folder, ready, until, result)) for _ in range(8)]
    for client in clients:
        client.start()
    for _ in clients:  # all are asking before the index changes, however slowly they start
        ready.acquire(timeout=60)
    for keep in (40, 20, 40):
        index.sync(gallery.take(range(keep)))
    until.set()
    answers = [result.get(timeout=60) for _ in clients]
    assert all(isinstance(answer, int) and answer > 0 for answer in answers), answers
    assert index.count() == 40


def test_two_clients_that_sync_the_same_pictures_leave_a_right_index(folder, server, name):
    result = children.Queue()
    clients = [children.Process(target=sync_slowly, args=(folder, server, 4, 0.01, result, name)) for _ in range(2)]
    for client in clients:
        client.start()
    said = [result.get(timeout=60) for _ in clients]
    assert all(text.startswith("added") for text in said), said
    in_one_go = store.open_index(encoder=Colours())
    in_one_go.sync(images.load_gallery(folder))
    index = store.open_index(server, encoder=Colours(), name=name)
    assert content(index) == content(in_one_go)
    for path in images.load_gallery(folder).paths:
        assert ids(index.query(image=path, k=40)) == ids(in_one_go.query(image=path, k=40))


def test_a_server_that_goes_away_and_comes_back(folder, tmp_path):
    port = free_port()
    running = start_server(tmp_path / "data", port)
    index = store.open_index(f"http://127.0.0.1:{port}", encoder=Colours())
    index.sync(images.load_gallery(folder))
    running.kill()
    running.wait()
    with pytest.raises(OSError, match=r"the index in http://127\.0\.0\.1:\d+ does not work .*not lost"):
        index.query(text="a")
    running = start_server(tmp_path / "data", port)
    try:
        assert index.count() == 40 and len(index.query(text="a")) == 5
    finally:
        running.kill()
        running.wait()


def test_an_index_that_another_client_rebuilds(folder, server, name):
    gallery = images.load_gallery(folder)
    index, other = (store.open_index(server, encoder=Colours(), name=name) for _ in range(2))
    index.sync(gallery)
    assert len(index.query(text="a", k=40)) == 40
    other.clear()
    other.sync(gallery.take(range(10)))
    with pytest.raises(OSError, match="removed or rebuilt by another program"):
        index.query(text="a")
    assert len(index.query(text="a", k=40)) == 10


# ------------------------------------------------------------------------------------------------- with the real model


def test_the_bundled_pictures_give_the_ranking_of_exact_search():
    encoder = clip.load("bundled")
    train, test = (images.load_gallery(images.DATA / split) for split in ("train", "test"))
    train = train.take(range(0, len(train), 4))
    index = store.open_index(encoder=encoder)
    index.sync(train)
    Q = encoder.encode_images(test)
    order, scores = metrics.rank(Q, encoder.encode_images(train), metric="cosine", k=10)
    for query, rows, values in zip(Q, order, scores, strict=True):
        matches = index.query(vector=query, k=10)
        assert [m.path for m in matches] == [train.paths[row] for row in rows]
        np.testing.assert_allclose([m.score for m in matches], values, atol=1e-5)
    for path in train.paths[::10]:
        assert index.query(image=path, k=1)[0].path == path


def test_telemetry_is_off():
    assert store.open_index(encoder=Colours())._home.client.get_settings().anonymized_telemetry is False
    assert os.environ.get("ANONYMIZED_TELEMETRY") is None


def test_two_indexes_of_one_process_name_the_pictures_of_the_last_gallery(folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    first, second = (store.open_index(tmp_path / "index", encoder=Colours()) for _ in range(2))
    for root in (folder, other):
        gallery = images.load_gallery(root)
        first.sync(gallery)
        found = second.query(image=gallery.paths[0], k=1)
        assert found[0].path == gallery.paths[0]


@pytest.mark.parametrize("make", [lambda v: v.bfloat16(), lambda v: v.to_sparse(), lambda v: v.requires_grad_()])
def test_a_tensor_that_numpy_does_not_read_is_refused_in_words(make):
    torch = pytest.importorskip("torch")
    index = store.open_index(encoder=Colours())
    with pytest.raises(ValueError, match="no vector can be made of this query"):
        index.query(vector=make(torch.ones(48)))


def test_a_database_that_was_removed_is_said_before_a_sync_counts_on_it(folder, tmp_path):
    index = store.open_index(tmp_path / "index", encoder=Colours())
    index.sync(images.load_gallery(folder))
    (tmp_path / "index" / "chroma.sqlite3").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="is gone: open it anew and sync"):
        index.sync(images.load_gallery(folder))


@pytest.mark.parametrize("where", ["~nobody of this name/index", 5, 1.5])
def test_no_place_for_an_index_is_said_in_words(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if isinstance(where, str):  # a folder of that name, as a shell takes it
        assert store.open_index(where, encoder=Colours()).count() == 0
    else:
        with pytest.raises(ValueError, match="where is a folder or an address"):
            store.open_index(where, encoder=Colours())


def test_after_clear_an_index_is_empty_at_once_and_can_be_synced(folder, where, name):
    gallery = images.load_gallery(folder)
    index = store.open_index(where, encoder=Colours(), name=name)
    shares = isinstance(where, Path)  # a folder has one client in a process, a server has one for each index
    beside = store.open_index(where, encoder=Colours(), name=name) if shares else index
    index.sync(gallery)
    assert beside.count() == 40
    index.clear()
    assert (index.count(), beside.count(), index.query(text="a")) == (0, 0, [])
    assert index.sync(gallery).added == 40 and len(beside.query(text="a")) == 5


def test_a_thread_that_opens_a_folder_does_not_disturb_one_that_syncs_it(folder, tmp_path):
    gallery = images.load_gallery(folder)
    index = store.open_index(tmp_path / "index", encoder=Colours(seconds=0.02))
    said = []

    def open_again():
        while syncing.is_alive():
            try:
                store.open_index(tmp_path / "index", encoder=Colours())
            except RuntimeError as error:
                said.append(str(error))

    syncing = threading.Thread(target=lambda: said.append(index.sync(gallery)))
    syncing.start()
    time.sleep(0.1)
    open_again()
    syncing.join()
    reports = [one for one in said if isinstance(one, store.Report)]
    assert [report.added for report in reports] == [40] and index.count() == 40
    assert all("another process is syncing" in one for one in said if isinstance(one, str))


def clear_or_sync(pictures, index, what):
    opened = store.open_index(index, encoder=Colours())
    opened.clear() if what == "clear" else opened.sync(images.load_gallery(pictures))


def test_a_reader_of_an_empty_index_sees_what_another_process_then_stores(folder, tmp_path):
    clearing = children.Process(target=clear_or_sync, args=(folder, tmp_path / "index", "clear"))
    clearing.start()
    clearing.join()
    reader = store.open_index(tmp_path / "index", encoder=Colours())
    assert (reader.count(), reader.query(text="a")) == (0, [])
    syncing = children.Process(target=clear_or_sync, args=(folder, tmp_path / "index", "sync"))
    syncing.start()
    syncing.join()
    assert reader.count() == 40 and len(reader.query(text="a")) == 5


def test_a_reader_from_before_is_told_to_open_the_index_again(folder, tmp_path):
    """Also where a filter makes Chroma look for pictures that its graph, read before, does not know."""
    gallery = images.load_gallery(folder)
    index = store.open_index(tmp_path / "index", encoder=Colours())
    index.sync(gallery.take(range(10)))
    syncing = children.Process(target=clear_or_sync, args=(folder, tmp_path / "index", "sync"))
    syncing.start()
    syncing.join()
    for where in (None, {"label": "d"}, {"label": "a"}):
        try:
            found = ids(index.query(image=gallery.paths[0], where=where))
        except OSError as error:
            assert "another program has changed the index" in str(error) and "open it again" in str(error)
        else:
            assert set(found) <= set(gallery.ids)
    again = store.open_index(tmp_path / "index", encoder=Colours())
    assert ids(again.query(image=gallery.paths[35], k=1)) == [gallery.ids[35]]


def test_a_server_that_refuses_is_told_from_one_that_is_not_there(server):
    with pytest.raises(ConnectionError, match="the server at http://localhost.* refuses: .*nowhere"):
        store.open_index(server, encoder=Colours(), database="nowhere")
    with pytest.raises(TypeError, match="port: a server takes headers, tenant, database, settings"):
        store.open_index(server, encoder=Colours(), port=3)
