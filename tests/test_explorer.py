"""The explorer: its search equals exact search and the index, and nothing that is put into it breaks it."""

import html as escapes
import io
import json
import random
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import free_port, start_server
from PIL import Image

from helpers import images, metrics, store
from helpers.explorer import Prepared, QueryExplorer, encode, html, search, widget
from helpers.explorer.search import METHODS, NO_WORDS


class Colours:
    """A stand-in for an encoder: 4 × 4 pixels as a vector; texts by their length."""

    name, fingerprint, dim, skipped = "colours", "c0105", 48, ()

    def encode_images(self, pictures):
        pictures = pictures.paths if isinstance(pictures, images.Gallery) else pictures
        opened = [p if isinstance(p, Image.Image) else images.open_rgb(p) for p in pictures]
        rows = np.stack([np.asarray(p.resize((4, 4)), dtype=np.float32).ravel() - 100 for p in opened])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_texts(self, texts):
        if len(texts[0]) > 1000:
            print("1 of 1 texts are longer than this model reads: the end is cut")
        rows = np.stack([np.random.default_rng(len(text)).normal(size=48).astype(np.float32) for text in texts])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """60 pictures in 5 classes to search in, two of them equal, one alone in its class; and 12 to search with."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(72):
        path = root / ("train" if i % 6 else "test") / "abcd"[i % 4] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)).resize((40, 30)).save(path)
    shutil.copy(root / "train" / "b" / "01.png", root / "train" / "c" / "02.png")
    (root / "train" / "alone").mkdir()
    Image.new("RGB", (30, 30), (200, 40, 90)).save(root / "train" / "alone" / "99.png")
    return root


@pytest.fixture(scope="module")
def galleries(pictures):
    return images.load_gallery(pictures / "train"), images.load_gallery(pictures / "test")


@pytest.fixture(scope="module")
def index(galleries):
    index = store.open_index(encoder=Colours())
    index.sync(galleries[0])
    return index


@pytest.fixture
def prepared(galleries, index):
    return Prepared(galleries[0], Colours(), index)


@pytest.fixture
def explorer(galleries, index):
    return QueryExplorer(galleries[0], encoder=Colours(), index=index, queries=galleries[1])


def ids(matches):
    return [match.id for match in matches]


def set_value(explorer, **settings):
    """Do what a user does with the settings."""
    for name, value in settings.items():
        explorer._settings[name].value = value


def type_text(explorer, text):
    explorer._text.value = text


def upload(explorer, content, name="upload.png"):
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    explorer._upload.value = ({**file, "last_modified": datetime.now()},)


def png(colour=(20, 90, 200), form="png"):
    buffer = io.BytesIO()
    Image.new("RGB", (33, 21), colour).save(buffer, format=form)
    return buffer.getvalue()


def alert(explorer):
    """Return the sentence that the explorer complains with; "" if it does not."""
    status = escapes.unescape(explorer._status.value)
    return status.split("⚠ ")[1].removesuffix("</p>") if 'role="alert"' in status else ""


def found(explorer, column=0):
    return ids(explorer._columns[column].matches)


# ------------------------------------------------------------------------------------------------- the search by itself


def expected(prepared, *, image=None, text=None, method="CLIP", metric="cosine", k=5, label=None):
    """What `metrics.rank` or `index.query`, called directly, find for a query that makes sense."""
    gallery = prepared.gallery
    own = gallery.paths.index(image) if image in gallery.paths else None
    if method == "ChromaDB":
        where = {"label": label} if label else None
        matches = prepared.index.query(image=image, text=text, k=len(gallery), where=where)
        return [match.id for match in matches if own is None or match.id != gallery.ids[own]][:k]
    if method == "pixels":
        query, matrix = images.pixel_matrix([image]), images.pixel_matrix(gallery)
    else:
        query = Colours().encode_texts([text]) if text else Colours().encode_images([image])
        matrix = Colours().encode_images(gallery)
    ranking, _ = metrics.rank(query, matrix, metric, k=None)
    kept = [i for i in ranking[0] if i != own and label in (None, gallery.labels[i])]
    return [gallery.paths[i].relative_to(gallery.root).as_posix() for i in kept[:k]]


def ask(prepared, *, image=None, text=None, method="CLIP", **options):
    """Encode and search; a picture of the gallery is left out of its own results."""
    vector = encode(prepared, image=image, text=text, method=method)
    own = dict(zip(prepared.gallery.paths, prepared.gallery.ids, strict=True))
    leave_out = own.get(image) if isinstance(image, Path) else None
    return search(prepared, vector, method=method, leave_out=leave_out, **options)


def test_500_random_requests_find_what_exact_search_and_the_index_find(prepared, galleries):
    draw = random.Random(0)
    gallery, queries = galleries
    refused = 0
    for _ in range(500):
        query = draw.choice([
            {"image": draw.choice(gallery.paths)},
            {"image": draw.choice(queries.paths)},
            {"image": Image.new("RGB", (draw.randint(1, 90), draw.randint(1, 90)), draw.choice(["red", "navy"]))},
            {"text": "x" * draw.randint(1, 300)},
            {"text": draw.choice(["", "  \n"])},
            {},
        ])  # fmt: skip
        request = {
            **query,
            "method": draw.choice([*METHODS] * 5 + ["magic"]),
            "metric": draw.choice([*metrics.METRICS] * 5 + ["l3"]),
            "k": draw.choice([1, 2, 5, 20, 60, 100, 0]),
            "label": draw.choice([None, None, None, *gallery.classes, "unknown"]),
        }
        try:
            matches = ask(prepared, **request)
        except ValueError as error:
            assert len(str(error)) > 20
            refused += 1
            continue
        assert ids(matches) == expected(prepared, **request)
        assert len(matches) <= request["k"]
        for match in matches:
            assert match.path.is_file() and match.label == match.id.split("/")[0] and np.isfinite(match.score)
    assert 100 < refused < 400


def test_scores_are_those_of_the_metric(prepared, galleries):
    path = galleries[1].paths[0]
    for name in metrics.METRICS:
        _, scores = metrics.rank(images.pixel_matrix([path]), images.pixel_matrix(prepared.gallery), name, 5)
        matches = ask(prepared, image=path, method="pixels", metric=name)
        assert [match.score for match in matches] == pytest.approx(scores[0].tolist(), rel=1e-5)


def test_a_picture_of_the_gallery_is_left_out_of_its_own_results_and_its_copy_is_not(prepared):
    path = prepared.gallery.root / "b" / "01.png"
    for method in METHODS:
        vector = encode(prepared, image=path, method=method)
        with_it = {"b/01.png", "c/02.png"}
        assert set(ids(search(prepared, vector, method=method, k=2))) == with_it
        matches = search(prepared, vector, method=method, leave_out="b/01.png")
        assert ids(matches)[0] == "c/02.png" and "b/01.png" not in ids(matches) and len(matches) == 5


@pytest.mark.parametrize("change, said", [
    ({"text": "a"}, "give one of them"),
    ({"image": None}, "give one of them"),
    ({"method": "magic"}, "choose one of pixels, CLIP, ChromaDB"),
    ({"metric": "l3"}, "choose one of l1, l2, cosine, correlation"),
    ({"k": 0}, "at least 1, not 0"),
    ({"image": None, "text": "a", "method": "pixels"}, "Pixels cannot be compared with words"),
    ({"image": None, "text": " "}, "The text is empty"),
    ({"label": "unknown"}, "No picture is of the class 'unknown'"),
])  # fmt: skip
def test_requests_that_make_no_sense(prepared, galleries, change, said):
    with pytest.raises(ValueError, match=said):
        ask(prepared, **{"image": galleries[1].paths[0], **change})


def test_a_method_that_does_not_exist_encodes_nothing(prepared, galleries):
    with pytest.raises(ValueError, match="unknown method 'Pixels': choose one of pixels, CLIP, ChromaDB"):
        encode(prepared, image=galleries[1].paths[0], method="Pixels")


def test_a_vector_of_another_method_is_refused(prepared, galleries):
    vector = encode(prepared, image=galleries[1].paths[0], method="pixels")
    for method in ("CLIP", "ChromaDB"):
        with pytest.raises(ValueError, match="12288"):
            search(prepared, vector, method=method)


def test_a_picture_that_is_not_there(prepared, tmp_path):
    for method in METHODS:
        with pytest.raises((FileNotFoundError, ValueError), match="there is no picture"):
            encode(prepared, image=tmp_path / "none.png", method=method)


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", None, True])
def test_a_k_that_is_no_number_of_pictures(prepared, galleries, k):
    for method in METHODS:
        with pytest.raises(ValueError, match="k is how many pictures to find, a whole number, at least 1"):
            search(prepared, encode(prepared, image=galleries[1].paths[0], method=method), method=method, k=k)


def test_a_vector_with_nan_finds_nothing(prepared):
    for method in METHODS:
        vector = np.full(12288 if method == "pixels" else 48, np.nan, dtype=np.float32)
        with pytest.raises(ValueError):
            search(prepared, vector, method=method)


def test_an_index_that_was_never_synced_says_what_to_do(galleries):
    prepared = Prepared(galleries[0], Colours(), store.open_index(encoder=Colours()))
    with pytest.raises(ValueError, match=r"The index is empty: run index.sync\(gallery\)"):
        ask(prepared, image=galleries[1].paths[0], method="ChromaDB")


def test_a_search_by_pixels_needs_no_database_and_no_model(galleries):
    program = (
        "import sys; from pathlib import Path; from helpers import images; from helpers.explorer import *;"
        "gallery = images.load_gallery(sys.argv[1]); prepared = Prepared(gallery, None, None);"
        "vector = encode(prepared, image=gallery.paths[0], method='pixels');"
        "print(search(prepared, vector, method='pixels', k=1)[0].id, {'chromadb', 'open_clip'} & set(sys.modules))"
    )
    run = [sys.executable, "-c", program, galleries[0].root]
    said = subprocess.run(run, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent).stdout
    assert said == f"{galleries[0].ids[0]} set()\n"


# ----------------------------------------------------------------------------------------------------------- the widget


def test_it_shows_results_at_once_as_html_that_needs_no_kernel(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"].startswith("Query explorer. Query: a, ")
    assert bundle["text/html"].count("<img alt=") == 6  # the query and five results
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id


def test_right_and_wrong_are_told_by_a_word(explorer):
    table = explorer._columns[0].table.value
    right = found_labels(explorer).count("a")
    assert table.count("✓ right") == right and table.count("✗ wrong") == 5 - right
    assert f"P@5 = {right / 5:.2f}: {right} of 5 right" in table
    assert "search " in table and "encoding " in table


def should_find(explorer):
    """What the first method should have found, by the settings and the query."""
    chosen = {name: explorer.state[name] for name in ("method", "metric", "k")}
    query = {"image": explorer._query.image, "text": explorer._query.text, "label": explorer.state["label"] or None}
    return expected(explorer.prepared, **query, **chosen)


def found_labels(explorer):
    return [match.label for match in explorer._columns[0].matches]


def test_picking_a_picture_by_class_and_by_surprise(explorer, galleries):
    explorer._picker.classes.value = "c"
    assert {path.parent.name for path in explorer._picker.shown.paths} == {"c"}
    explorer._picker.picks[1].click()
    assert explorer._query.image == explorer._picker.shown.paths[1] and explorer._query.label == "c"
    assert found(explorer) == should_find(explorer)
    explorer._picker.surprise.click()
    assert explorer._query.image in galleries[1].paths


def test_the_strip_turns_its_pages(explorer, galleries):
    picker = explorer._picker
    assert picker.shown.paths == galleries[1].paths[:8] and picker.previous.disabled
    picker.next.click()
    assert picker.shown.paths == galleries[1].paths[8:] and picker.next.disabled
    picker.previous.click()
    assert picker.shown.paths == galleries[1].paths[:8]


def test_a_text_finds_and_has_no_class(explorer):
    type_text(explorer, "a red apple")
    assert found(explorer) == should_find(explorer) and alert(explorer) == ""
    assert "nothing is marked right or wrong" in explorer._columns[0].table.value
    assert "✓" not in explorer._columns[0].table.value


def test_text_is_off_for_pixels_and_says_why(explorer):
    set_value(explorer, method="pixels")
    assert explorer._text.disabled and NO_WORDS in explorer._notes.value
    set_value(explorer, method="CLIP")
    assert not explorer._text.disabled and explorer._notes.value == ""
    type_text(explorer, "a red apple")
    set_value(explorer, beside="pixels")
    assert alert(explorer) == f"{NO_WORDS}." and found(explorer) != []


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "bmp", "gif", "tiff"])
def test_an_upload_in_any_format(explorer, form):
    upload(explorer, png(form=form), f"mine.{form}")
    assert explorer._upload.value == () and alert(explorer) == ""
    assert f"mine.{form} (uploaded)" in explorer._shown.value and len(found(explorer)) == 5
    upload(explorer, png(form=form), f"mine.{form}")  # the same once more
    assert len(explorer._past) == 2


def test_an_upload_that_the_collection_holds_is_known_and_left_out_of_its_results(explorer, galleries):
    path = galleries[0].root / "b" / "01.png"
    upload(explorer, path.read_bytes(), "holiday.png")
    assert "holiday.png (uploaded), which is a picture of this collection" in explorer._shown.value
    assert "left out of its own results" in explorer._shown.value
    assert explorer._query.label in "bc" and len(found(explorer)) == 5


def test_two_methods_side_by_side_mark_what_they_share(explorer):
    set_value(explorer, beside="ChromaDB")
    assert found(explorer, 0) == found(explorer, 1)
    assert all(column.table.value.count("= in both") == 5 for column in explorer._columns)
    assert "share 5 of them" in explorer._status.value and "made for cosine" in explorer._notes.value
    set_value(explorer, beside="pixels", beside_metric="l1")
    both = set(found(explorer, 0)) & set(found(explorer, 1))
    assert explorer._columns[1].table.value.count("= in both") == len(both)
    set_value(explorer, beside="")
    assert "= in both" not in explorer._columns[0].table.value and explorer._columns[1].layout.display == "none"


def test_k_metric_and_class_filter(explorer):
    set_value(explorer, k=3, metric="l1", label="d")
    assert len(found(explorer)) == 3 and set(found_labels(explorer)) == {"d"}
    assert found(explorer) == should_find(explorer)


def test_more_like_this_and_back(explorer):
    first = found(explorer)
    explorer._columns[0].more.children[1].click()
    assert explorer._query.image.as_posix().endswith(first[1]) and first[1] not in found(explorer)
    assert "left out of its own results" in explorer._shown.value and not explorer._back.disabled
    explorer._back.click()
    assert found(explorer) == first and explorer._back.disabled


def test_a_state_is_saved_as_json_and_brought_back(explorer, galleries, index):
    set_value(explorer, beside="pixels", beside_metric="l2", k=7, metric="correlation")
    other = QueryExplorer(galleries[0], encoder=Colours(), index=index, queries=galleries[1])
    actions = [
        lambda: explorer._picker.picks[3].click(),
        lambda: explorer._columns[0].more.children[0].click(),
        lambda: type_text(explorer, "a red apple"),
    ]
    for action in actions:
        action()
        other.restore(json.loads(json.dumps(explorer.state)))
        assert other.state == explorer.state
        assert [found(other, i) for i in (0, 1)] == [found(explorer, i) for i in (0, 1)]
        assert alert(other) == alert(explorer)


def test_the_state_of_an_upload_says_that_it_is_to_be_uploaded_again(explorer):
    upload(explorer, png(), "holiday.png")
    state = json.loads(json.dumps(explorer.state))
    assert state["query"] == {"upload": "holiday.png"}
    before = explorer._repr_mimebundle_()["text/html"]
    with pytest.raises(ValueError, match="'holiday.png' was uploaded, and a state does not hold it: upload it again"):
        explorer.restore(state)
    assert explorer._repr_mimebundle_()["text/html"] == before
    explorer.restore({name: value for name, value in state.items() if name != "query"} | {"k": 3})
    assert "holiday.png (uploaded)" in explorer._shown.value and len(found(explorer)) == 3


def test_a_part_of_a_state_leaves_the_rest(explorer):
    explorer.restore({"query": {"text": "a castle"}, "k": 2})
    assert explorer.state["query"] == {"text": "a castle"} and explorer.state["method"] == "CLIP"
    assert explorer._text.value == "a castle" and len(found(explorer)) == 2


class Word(str):
    """Text of a kind of its own, as NumPy's is."""


DEEP = "a list in a list"
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize("state, said", [
    ({"color": "red"}, "unknown setting 'color'"),
    ({5: "red"}, "unknown setting 5"),
    ({None: "red"}, "unknown setting None"),
    ({"method": "magic"}, "method cannot be 'magic': choose one of pixels, CLIP, ChromaDB"),
    ({"method": "clip"}, "method cannot be 'clip'"),
    ({"method": None}, "method cannot be None"),
    ({"method": ["CLIP"]}, "method cannot be"),
    ({"method": np.array(["CLIP", "pixels"])}, "method cannot be"),
    ({"metric": 1}, "metric cannot be 1"),
    ({"beside_metric": b"l1"}, "beside_metric cannot be b'l1'"),
    ({"beside": False}, "beside cannot be False"),
    ({"beside": "x" * 1_000_000}, "beside cannot be 'xxx"),
    ({"label": "unknown"}, "label cannot be 'unknown'"),
    ({"label": {}}, "label cannot be {}"),
    ({"k": 0}, "k cannot be 0"),
    ({"k": 21}, "k cannot be 21"),
    ({"k": True}, "k cannot be True"),
    ({"k": 5.0}, "k cannot be 5.0"),
    ({"k": "5"}, "k cannot be '5'"),
    ({"k": float("nan")}, "k cannot be nan"),
    ({"k": np.int64(5)}, "k cannot be"),
    ({"k": np.array([5])}, "k cannot be"),
    ({"k": 10**6000}, "k cannot be|4300 digits"),
    ({"k": DEEP}, "k cannot be"),
    ({"query": {"queries": "a/none.png"}}, "there is no picture"),
    ({"query": {"queries": "../train/b/01.png"}}, "there is no picture"),
    ({"query": {"gallery": ""}}, "there is no picture"),
    ({"query": {}}, "no query of an explorer"),
    ({"query": {"queries": None}}, "no query of an explorer"),
    ({"query": {"queries": ["a/00.png"]}}, "no query of an explorer"),
    ({"query": {"gallery": 0}}, "no query of an explorer"),
    ({"query": {0: "b/01.png"}}, "no query of an explorer"),
    ({"query": [("text", "a castle")]}, "no query of an explorer"),
    ({"query": DEEP}, "no query of an explorer"),
    ({"query": {"text": DEEP}}, "no query of an explorer"),
    ({"query": {"text": "a castle", "gallery": "b/01.png"}}, "no query of an explorer"),
    ({"query": {"text": "a castle", "said": "a castle"}}, "no query of an explorer"),
    ({"query": {"gallery": "b/01.png", "magic": "1"}}, "no query of an explorer"),
    ({"query": {"text": ""}}, "The text is empty"),
    ({"query": {"text": " \n\t"}}, "The text is empty"),
    ({"query": {"text": "a" * 10_001}}, "The text has 10,001 characters"),
    ({"query": {"text": "a \ud83d"}}, "half a character"),
    ({"query": {"text": 5}}, "no query of an explorer"),
    ({"query": {"text": b"a castle"}}, "no query of an explorer"),
    ({"query": {"text": ["a castle"]}}, "no query of an explorer"),
    ({"query": {"upload": "mine.png"}}, "'mine.png' was uploaded, and a state does not hold it: upload it again"),
    ({"query": {"upload": "A" * 20_000_000}}, "upload it again"),
    ({"query": {"upload": "iVBORw0KGgo=", "said": "mine"}}, "no query of an explorer"),
    ({"query": {"file": "/etc/passwd"}}, "no query of an explorer"),
    ({"query": None}, "no query of an explorer"),
    ({"query": "x"}, "no query of an explorer"),
    (None, "no state of an explorer"),
    ("x", "no state of an explorer"),
    ([("k", 5)], "no state of an explorer"),
    (DEEP, "no state of an explorer"),
])  # fmt: skip
def test_a_state_that_does_not_fit_changes_nothing(explorer, monkeypatch, state, said):
    before, page, searches = explorer.state, explorer._repr_mimebundle_()["text/html"], []
    monkeypatch.setattr(widget, "search", lambda *given, **options: searches.append(given) or search(*given, **options))
    with pytest.raises(ValueError, match=said) as raised:
        explorer.restore({"beside": "pixels", **state} if isinstance(state, dict) else state)
    assert explorer.state == before and not explorer._past and len(str(raised.value)) < 500
    assert explorer._repr_mimebundle_()["text/html"] == page and searches == []
    assert next_query_works(explorer) and searches


def test_a_picture_that_only_the_index_knows_is_found_and_is_no_query(galleries, index):
    few = galleries[0].take(range(10))
    explorer = QueryExplorer(few, encoder=Colours(), index=index, queries=galleries[1])
    set_value(explorer, method="ChromaDB", k=20)
    unknown = next(number for number, key in enumerate(found(explorer)) if key not in few.ids)
    explorer._columns[0].more.children[unknown].click()
    assert "in the gallery that this explorer was given" in alert(explorer) and not explorer._past


def test_what_is_text_to_python_is_text_here(explorer):
    explorer.restore({Word("method"): np.str_("pixels"), "k": 7, Word("query"): {Word("gallery"): Word("b/01.png")}})
    state = explorer.state
    assert state["method"] == "pixels" and state["k"] == 7 and state["query"] == {"gallery": "b/01.png"}
    assert json.loads(json.dumps(state)) == state


def test_the_name_of_an_upload_is_shown_as_it_is(explorer):
    upload(explorer, png(), "<img src=x onerror=alert(1)>" + "x" * 300 + ".png")
    assert len(explorer.state["query"]["upload"]) <= 250 and "(uploaded)" in explorer._shown.value
    assert "<img src=x" not in explorer._repr_mimebundle_()["text/html"]
    assert "&lt;img src=x" in explorer._shown.value


def test_a_text_that_is_too_long_is_not_searched(explorer):
    type_text(explorer, "a" * 10_001)
    assert alert(explorer) == "The text has 10,001 characters: shorten it to 10,000."
    assert not explorer._past and next_query_works(explorer)


def test_every_image_has_a_description_and_every_control_a_name(explorer):
    set_value(explorer, beside="pixels")
    page = explorer._repr_mimebundle_()["text/html"]
    assert page.count("<img") == page.count('<img alt="Query: ') + page.count('<img alt="Result ') == 11
    for control in (explorer._text, explorer._upload, *explorer._settings.values(), *explorer._picker.picks):
        assert control.description


def test_names_are_escaped():
    match = images.Match(Path("<b>.png"), "<i>", 1.0, "<b>.png")
    page = html.table(["<u>"], [match], "<i>", set()) + html.status("<s>") + html.query(None, "<q>")
    assert not any(f"<{letter}>" in page for letter in "isuq")
    assert "&lt;b&gt;.png" in page and "cannot be opened any more" in page


def test_pictures_without_classes(pictures, tmp_path):
    for path in sorted((pictures / "train" / "a").iterdir()):
        shutil.copy(path, tmp_path)
    gallery = images.load_gallery(tmp_path)
    index = store.open_index(encoder=Colours())
    index.sync(gallery)
    explorer = QueryExplorer(gallery, encoder=Colours(), index=index)
    set_value(explorer, beside="ChromaDB")
    assert alert(explorer) == "" and len(found(explorer)) == 5
    assert "left out of its own results" in explorer._shown.value
    assert "✓" not in explorer._repr_mimebundle_()["text/html"]


# ------------------------------------------------------------------------------------ what goes wrong is said, in words


class Broken:
    """An index that does not answer."""

    space = "cosine"

    def __init__(self, error):
        self.error = error

    def query(self, **query):
        raise self.error


def next_query_works(explorer):
    set_value(explorer, method="CLIP", beside="", label="")
    explorer._picker.picks[2].click()
    return alert(explorer) == "" and found(explorer) == should_find(explorer)


@pytest.mark.parametrize("content, name, said", [
    (b"Dear diary", "diary.png", "diary.png is not a picture"),
    (b"", "empty.png", "empty.png"),
    (png()[:60], "cut.png", "cut.png is cut off or damaged"),
    (b"\0\0\0\x18ftypheic", "IMG_1.HEIC", "IMG_1.HEIC is an iPhone picture (HEIC)"),
    (bytes(100_000_000), "film.jpg", "film.jpg is too large (100 MB): shrink it to less than 10 MB"),
])  # fmt: skip
def test_an_upload_that_is_no_picture(explorer, content, name, said):
    upload(explorer, content, name)
    assert alert(explorer).startswith(said) and alert(explorer).endswith(".")
    assert explorer._upload.value == () and not explorer._past
    assert next_query_works(explorer)


def test_an_empty_text(explorer):
    type_text(explorer, "   ")
    assert alert(explorer).startswith("The text is empty: write what the picture should show")
    assert next_query_works(explorer)


def test_a_text_of_10_000_characters(explorer, capsys):
    type_text(explorer, "long " * 2000)
    assert len(found(explorer)) == 5
    assert "longer than this model reads: the end is cut" in explorer._status.value
    assert len(explorer._shown.value) < 300 and capsys.readouterr().out == ""
    assert next_query_works(explorer)


def test_a_filter_that_leaves_nothing(explorer):
    explorer.restore({"query": {"gallery": "alone/99.png"}})
    for method in METHODS:
        set_value(explorer, method=method, label="alone")
        assert alert(explorer).startswith("The class 'alone' holds nothing but the query itself")
    assert next_query_works(explorer)


def test_an_index_that_is_deleted_behind_its_back(galleries):
    index = store.open_index(encoder=Colours())
    index.sync(galleries[0])
    explorer = QueryExplorer(galleries[0], encoder=Colours(), index=index, queries=galleries[1])
    index._home.client.delete_collection(index.name)
    set_value(explorer, method="ChromaDB")
    assert "was removed or rebuilt by another program: sync it, or ask again" in alert(explorer)
    explorer._picker.picks[1].click()
    assert alert(explorer).startswith("The index is empty: run index.sync(gallery)")
    assert next_query_works(explorer)
    index.sync(galleries[0])
    set_value(explorer, method="ChromaDB")
    assert alert(explorer) == "" and len(found(explorer)) == 5


@pytest.mark.parametrize("error, said", [
    (OSError("the index at http://localhost:8000 does not work"), "The index at http://localhost:8000 does not work."),
    (RuntimeError("panic"), "This search failed (RuntimeError: panic). Try another query, or restart the kernel."),
])  # fmt: skip
def test_an_index_that_fails(galleries, error, said, capfd):
    explorer = QueryExplorer(galleries[0], encoder=Colours(), index=Broken(error), queries=galleries[1])
    set_value(explorer, beside="ChromaDB")
    assert alert(explorer) == said and len(found(explorer)) == 5
    assert next_query_works(explorer)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_server_that_goes_away(galleries, tmp_path):
    port = free_port()
    server = start_server(tmp_path, port)
    try:
        index = store.open_index(f"http://127.0.0.1:{port}", encoder=Colours())
        index.sync(galleries[0])
        explorer = QueryExplorer(galleries[0], encoder=Colours(), index=index, queries=galleries[1])
        set_value(explorer, method="ChromaDB")
        assert alert(explorer) == "" and len(found(explorer)) == 5
    finally:
        server.kill()
        server.wait()
    explorer._picker.picks[1].click()
    assert f"http://127.0.0.1:{port} does not work" in alert(explorer)
    assert next_query_works(explorer)


def test_while_it_searches_it_says_so(explorer, monkeypatch):
    said = []

    def look(*given, **options):
        said.append(explorer._status.value)
        return search(*given, **options)

    monkeypatch.setattr(widget, "search", look)
    set_value(explorer, method="ChromaDB")
    assert len(said) == 1 and "Searching …" in said[0] and "Found 5 pictures" in explorer._status.value


def test_a_state_with_many_settings_is_searched_for_once(explorer, monkeypatch):
    searches = []
    monkeypatch.setattr(widget, "search", lambda *given, **options: searches.append(given) or search(*given, **options))
    explorer.restore({"query": {"text": "a castle"}, "method": "ChromaDB", "k": 7, "label": "a", "metric": "l1"})
    assert len(searches) == 1 and len(found(explorer)) == 7


def test_the_embeddings_of_the_gallery_are_asked_for_once(galleries, index):
    asked = []

    class Counting(Colours):
        def encode_images(self, pictures):
            asked.append(len(pictures))
            return super().encode_images(pictures)

    explorer = QueryExplorer(galleries[0], encoder=Counting(), index=index, queries=galleries[1])
    explorer._picker.picks[1].click()
    type_text(explorer, "a red apple")
    assert asked == [len(galleries[0]), 1, 1]


def test_200_searches_leave_the_memory_as_it_was(explorer):
    process, draw = psutil.Process(), random.Random(0)
    set_value(explorer, beside="ChromaDB")

    def use(times):
        for _ in range(times):
            explorer._picker.surprise.click()
            draw.choice(explorer._columns[0].more.children).click()
            type_text(explorer, "x" * draw.randint(1, 200))
            upload(explorer, png((draw.randint(0, 255), 0, 0)))

    use(10)
    before = process.memory_info().rss
    use(50)
    assert process.memory_info().rss - before < 50e6
