"""What is in a folder: parts, classes and strays told apart, links and odd names handled alike on every system."""

import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_explorer import Colours

from helpers import images, store
from helpers.explorer import Prepared, QueryExplorer, encode, html, search

needs_links = pytest.mark.skipif(os.name == "nt", reason="Windows lets only administrators make links")
needs_bytes = pytest.mark.skipif(sys.platform != "linux", reason="the names of files are Unicode here")

TWO = [f"{label}/{i}.jpg" for label in ("cat", "dog") for i in range(4)]


def fill(root, *names):
    """Write a picture of its own at each name below `root`."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(list(os.fsencode(path))).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((24, 24)).save(path, format="JPEG")
    return root


def below(part, names=TWO):
    return [f"{part}/{name}" for name in names]


@pytest.fixture
def use(tmp_path, monkeypatch):
    """Load the pictures of a folder as the notebooks do, once they were told to use it."""
    monkeypatch.setattr(images, "_OWN_PICTURES", tmp_path / "own_pictures.txt")
    monkeypatch.delenv("COURSE_PICTURES", raising=False)

    def load(folder):
        images.use_pictures(folder)
        return images.load_pictures()

    return load


# ------------------------------------------------------------------------------------------- train, test and wrappers


@pytest.mark.parametrize("train, test", [
    ("train", "test"), ("Train", "Test"), ("TRAIN", "VAL"), ("train", "valid"), ("training", "validation"),
    ("Training", "Testing"), ("set/train", "set/test"), ("a/b/c/Train", "a/b/c/val"), ("train/images", "test/images"),
    ("set/train/data", "set/test/data"),
])  # fmt: skip
def test_parts_are_told_by_any_of_their_names_and_in_any_wrapper(use, tmp_path, train, test):
    root = fill(tmp_path / "own", *below(train), *below(test, ["cat/9.jpg", "dog/9.jpg"]))
    for stray in ("README.txt", "set/README.txt", ".DS_Store", "__MACOSX/._x.jpg", "__MACOSX/train/x.jpg"):
        (root / stray).parent.mkdir(parents=True, exist_ok=True)
        (root / stray).write_bytes(b"read me")
    gallery, queries = use(root)
    assert (len(gallery), len(queries)) == (8, 2)
    assert gallery.classes == queries.classes == ["cat", "dog"] and gallery.has_labels and queries.has_labels
    assert gallery.skipped == queries.skipped == []


def test_of_test_and_val_the_first_is_used_and_the_second_said_to_be_left_out(use, tmp_path, capsys):
    root = fill(tmp_path / "own", *below("train"), *below("val"), *below("test", ["cat/9.jpg"]), "cover.jpg")
    gallery, queries = use(root)
    assert (len(gallery), queries.ids, queries.root.name) == (8, ["cat/9.jpg"], "test")
    said = "9 pictures are not in train or test, and not used: cover.jpg, val/cat, val/dog\n"
    assert said in capsys.readouterr().out


def test_parts_are_no_classes_in_a_gallery_of_all_of_them(tmp_path):
    gallery = images.load_gallery(fill(tmp_path, *below("train"), *below("val"), *below("test")))
    assert gallery.classes == ["cat", "dog"] and gallery.ids[0] == "test/cat/0.jpg" and len(gallery) == 24


def test_a_class_may_be_called_train(use, tmp_path):
    gallery, queries = use(fill(tmp_path / "own", *(f"{label}/{i}.jpg" for label in ("train", "bus") for i in "123")))
    assert gallery.classes == queries.classes == ["bus", "train"]


def test_a_test_part_without_classes_costs_the_gallery_nothing(use, tmp_path):
    gallery, queries = use(fill(tmp_path / "own", *below("train"), *below("test", ["1.jpg", "2.jpg"])))
    assert gallery.classes == ["cat", "dog"] and queries.labels.tolist() == ["", ""]


def test_a_class_with_folders_in_it_is_a_class_in_both_parts(use, tmp_path):
    root = fill(tmp_path / "own", *below("train"), "test/cat/day/1.jpg", "test/cat/night/2.jpg")
    assert use(root)[1].labels.tolist() == ["cat", "cat"]


@pytest.mark.parametrize("empty, full", [("test", "train"), ("train", "test"), ("set/test", "set/train")])
def test_an_empty_part_is_refused_before_it_is_remembered(use, tmp_path, empty, full):
    good = fill(tmp_path / "good", *TWO)
    use(good)
    (fill(tmp_path / "own", *below(full)) / empty).mkdir()
    with pytest.raises(ValueError, match=f"no readable picture in .*{Path(empty).name}"):
        images.use_pictures(tmp_path / "own")
    assert images.load_pictures()[0].root == good


@pytest.mark.parametrize("names, labels", [
    (below("images"), ["cat"] * 4 + ["dog"] * 4),
    (below("zip/data/images"), ["cat"] * 4 + ["dog"] * 4),
    ([*below("images"), "cover.jpg"], ["cat"] * 4 + ["dog"] * 4),
    ([*TWO, "cover.jpg", "back.jpg"], ["cat"] * 4 + ["dog"] * 4),
    (["a/1.jpg", "b/1.jpg", "c.jpg"], ["a", "b"]),
    (["a/1.jpg", "b/1.jpg", "c.jpg", "d.jpg"], [""] * 4),
    (["1.jpg", "2.jpg", "3.jpg", "more/4.jpg"], [""] * 4),
    (["1.jpg", "more/2.jpg", "more/3.jpg", "more/4.jpg"], [""] * 4),
    (["x/1.jpg", "x/2.jpg", "x/more/4.jpg"], [""] * 3),
    (["cat/1.jpg", "cat/2.jpg"], ["cat"] * 2),
    (["set/cat/1.jpg", "set/cat/2.jpg"], ["cat"] * 2),
    (["cat/day/1.jpg", "dog/2.jpg", "dog/night/3.jpg"], ["cat", "dog", "dog"]),
])  # fmt: skip
def test_classes_wrappers_and_strays(tmp_path, names, labels):
    gallery = images.load_gallery(fill(tmp_path / "own", *names))
    assert gallery.labels.tolist() == labels and len(gallery) + len(gallery.skipped) == len(names)
    assert gallery.has_labels == bool(labels[0])
    assert all("lies beside the folders of the classes" in reason for _, reason in gallery.skipped)


def test_a_broken_file_beside_the_classes_does_not_count(tmp_path):
    fill(tmp_path, "a/1.jpg", "b/1.jpg")
    for name in ("x.jpg", "y.jpg", "z.CR3"):
        (tmp_path / name).write_bytes(b"broken")
    assert images.load_gallery(tmp_path).classes == ["a", "b"]


def test_what_scores_can_mean_is_said(use, tmp_path, capsys):
    use(fill(tmp_path / "one", "cat/1.jpg", "cat/2.jpg", "cat/3.jpg"))
    assert capsys.readouterr().out == (
        "All pictures are of one class (cat): any answer is right, so scores of 1.0 mean nothing\n"
    )
    use(fill(tmp_path / "few", *TWO, "fox/1.jpg", "owl/1.jpg"))
    said = "Classes with one picture, for which there is nothing else to find: fox, owl\n"
    assert capsys.readouterr().out == said
    images.load_gallery(fill(tmp_path / "mixed", "1.jpg", "2.jpg", "3.jpg", "b/4.jpg"))
    assert capsys.readouterr().out == (
        "3 of 4 pictures lie in no folder of a class, so these pictures have no classes\n"
    )


@pytest.mark.parametrize("name", [
    "$RECYCLE.BIN", "System Volume Information", "lost+found", "@eaDir", "__MACOSX", ".thumbnails", "#recycle",
    ".ipynb_checkpoints", ".Trash-1000", "RECYCLER", "LOST.DIR", "#snapshot", "@Recycle",
])  # fmt: skip
def test_folders_that_systems_keep_for_themselves_are_no_classes(tmp_path, name):
    gallery = images.load_gallery(fill(tmp_path, *TWO, f"{name}/1.jpg", f"cat/{name}/2.jpg"))
    assert gallery.ids == TWO and gallery.skipped == []


# ------------------------------------------------------------------------------------------------------------- files


def test_files_are_looked_into_where_their_names_say_nothing(tmp_path):
    pictures = ["IMG_1", "pbs.jpg_large", "3d.MPO", "UPPER.JPG", "x.jpg.", "y.jpg ", "z.tmp", "photo.jpg~", "1.5"]
    pictures = [name for name in pictures if os.name != "nt" or name[-1] not in ". "]
    fill(tmp_path, *pictures)
    others = {
        "notes.txt": b"text", "film.mp4": b"\0\0\0\x18ftypmp42", "a.pdf": b"%PDF-1.4", "a.zip": b"PK\3\4", "empty": b"",
        "Makefile": b"all:", "data": bytes(600), "Thumbs.db": b"\xd0\xcf\x11\xe0", "a.csv": b"a,b", "x.dat": b"BM",
    }  # fmt: skip
    raw = {"x.CR3": b"\0\0\0\x18ftypcrx ", "x.RAF": b"FUJIFILMCCD-RAW 0201", "x.jxl": b"\xff\x0a", "raw": b"IIU\0"}
    for name, head in (others | raw).items():
        (tmp_path / name).write_bytes(head)
    gallery = images.load_gallery(tmp_path)
    assert sorted(path.name for path in gallery.paths) == sorted(pictures)
    assert {path.name for path, _ in gallery.skipped} == set(raw)


def test_of_files_that_are_no_pictures_by_their_names_none_is_opened(tmp_path, monkeypatch):
    fill(tmp_path, "a.jpg")
    for i in range(200):
        (tmp_path / f"{i}{('.txt', '.pdf', '.csv', '.json', '.mp4')[i % 5]}").write_bytes(b"x")
    opened, open_any = [], Path.open
    monkeypatch.setattr(Path, "open", lambda path, *how: opened.append(path) or open_any(path, *how))
    assert len(images.load_gallery(tmp_path)) == 1
    assert [path for path in opened if path.name != "a.jpg"] == []


# ------------------------------------------------------------------------------------------------------------- links


@needs_links
def test_a_folder_that_is_also_a_link_is_found_once_under_its_own_name(tmp_path, monkeypatch):
    fill(tmp_path, *below("z"), *below("m"))
    for link in ("a", "zz"):
        (tmp_path / link).symlink_to(tmp_path / "z", target_is_directory=True)
    (tmp_path / "m" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "m" / "higher").symlink_to(tmp_path.parent, target_is_directory=True)
    (tmp_path / "m" / "copy.jpg").symlink_to(tmp_path / "z" / "cat" / "0.jpg")
    (tmp_path / "m" / "loop.jpg").symlink_to(tmp_path / "m" / "loop.jpg")
    walk, seen = os.walk, []
    for backwards in (False, True):  # disks list their folders in any order

        def listed(*where, backwards=backwards, **how):
            for folder, subfolders, files in walk(*where, **how):
                subfolders.sort(reverse=backwards)
                yield folder, subfolders, sorted(files, reverse=backwards)

        monkeypatch.setattr(os, "walk", listed)
        gallery = images.load_gallery(tmp_path)
        assert gallery.classes == ["m", "z"] and len(gallery) == 16
        seen.append(sorted((path.relative_to(tmp_path).as_posix(), reason) for path, reason in gallery.skipped))
    assert seen[0] == seen[1] == [
        ("a", "is a link to z, which is here already"),
        ("m/copy.jpg", "is a link to z/cat/0.jpg, which is here already"),
        ("m/higher", "is a link to a folder around this one"),
        ("m/loop.jpg", "is a link that leads nowhere"),
        ("m/up", "is a link to this folder, which is here already"),
        ("zz", "is a link to z, which is here already"),
    ]  # fmt: skip


@needs_links
def test_of_two_links_to_a_folder_elsewhere_the_first_is_followed(tmp_path):
    fill(tmp_path / "elsewhere", "x/1.jpg", "x/2.jpg", "y/3.jpg", ".store/4.jpg")
    fill(tmp_path / "own", "dog/1.jpg")
    for name, target in (("ark", "x"), ("cat", "x"), ("zoo", "")):
        (tmp_path / "own" / name).symlink_to(tmp_path / "elsewhere" / target, target_is_directory=True)
    (tmp_path / "own" / "dog" / "2.jpg").symlink_to(tmp_path / "elsewhere" / ".store" / "4.jpg")
    gallery = images.load_gallery(tmp_path / "own")
    assert gallery.ids == ["ark/1.jpg", "ark/2.jpg", "dog/1.jpg", "dog/2.jpg", "zoo/y/3.jpg"]
    assert [path.name for path, _ in gallery.skipped] == ["cat", "x"]


# -------------------------------------------------------------------------------------------- which folder is meant


def test_a_relative_folder_stays_right_when_the_program_goes_elsewhere(tmp_path, monkeypatch):
    fill(tmp_path / "own", *TWO)
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    gallery = images.load_gallery(Path("..") / "own")
    index = store.open_index(encoder=Colours())
    monkeypatch.chdir(tmp_path)
    assert index.sync(gallery).added == 8 and images.pixel_matrix(gallery).shape[0] == 8
    prepared = Prepared(gallery, Colours(), index)
    vector = encode(prepared, image=Path("own/cat/0.jpg"))
    found = [match.id for match in search(prepared, vector, method="ChromaDB", k=8)]
    assert len(found) == 8 and found[0] == "cat/0.jpg"


def test_a_tilde_is_the_home_folder(use, tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    fill(tmp_path / "Pictures", *TWO)
    assert len(images.load_gallery("~/Pictures")) == 8
    monkeypatch.setenv("COURSE_PICTURES", "~/Pictures")
    assert len(images.load_pictures()[0]) == 6


@pytest.mark.parametrize("written", ["'{}'", '"{}"', "{} ", " {}", "{}\n", '"{}" '])
def test_quotes_and_spaces_around_a_path_are_named(tmp_path, written):
    fill(tmp_path / "own", *TWO)
    with pytest.raises(FileNotFoundError, match="leave out the quotes or spaces around"):
        images.load_gallery(written.format(tmp_path / "own"))


@pytest.mark.parametrize("written", ["", "  ", "~nobody-of-this-name/x", "x" * 5000, '""'])
def test_a_path_that_leads_nowhere_is_said_to(written):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        images.load_gallery(written)


@needs_bytes
def test_a_folder_that_cannot_be_written_down_is_refused(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(ValueError, match=r"caf\\xe9 is not written in UTF-8: rename the folder"):
        images.load_gallery(fill(folder, "1.jpg"))


def test_a_remembered_folder_may_end_in_a_space(use, tmp_path):
    if os.name != "nt":
        assert use(fill(tmp_path / "own ", *TWO))[0].root.name == "own "


def test_first_raises_for_a_class_that_is_not_there(tmp_path):
    gallery = images.load_gallery(fill(tmp_path / "own", *TWO))
    assert (gallery.first("cat"), gallery.first("dog")) == (0, 4)
    with pytest.raises(ValueError, match=r"class 'cats': choose a name in gallery.classes \(for instance cat\)"):
        gallery.first("cats")
    with pytest.raises(ValueError, match="for instance cat, dog"):
        gallery.first("windmill")
    with pytest.raises(ValueError, match="there are none"):
        images.load_gallery(fill(tmp_path / "flat", "1.jpg")).first("cat")


# -------------------------------------------------------------------------------------------------------------- names

ODD = [
    b"space ", b"dot.", b"new\nline", b"tab\tbed", b'quo"te', b"<b>&amp;", b"back\\slash", b"con", b"nul", b"$5-$10",
    b"$\\foo$", b"caf\xe9", b"\xff\xfe", "犬".encode(), "แมว".encode(), "\U0001f469\u200d\U0001f680".encode(),
    b"n" * 246, b"-rf", "e\u0301te\u0301".encode(), b"\xe9" * 240, b"'", b"%20", b"a:b", b"~", b"*?",
    "\u202egpj".encode(),
]  # fmt: skip


@needs_bytes
@pytest.mark.parametrize("where", ["memory", "folder"])
def test_every_odd_name_is_found_stored_and_found_again(tmp_path, where):
    for name in ODD:
        fill(tmp_path / "train", os.fsdecode(name[:200] + b"/1.jpg"), os.fsdecode(b"same/" + name + b".jpg"))
    gallery = images.load_gallery(tmp_path / "train")
    assert len(gallery) == 2 * len(ODD) and gallery.skipped == []
    assert len(set(gallery.ids)) == len(gallery) and len(gallery.classes) == len(ODD) + 1
    for text in (*gallery.ids, *gallery.labels.tolist()):
        assert text.encode() and unicodedata.is_normalized("NFC", text)
    assert [key.split("/") for key in gallery.ids] == sorted(key.split("/") for key in gallery.ids)

    encoder = Colours()
    index = store.open_index(None if where == "memory" else tmp_path / "index", encoder=encoder)
    report = index.sync(gallery)
    assert (report.added, report.skipped) == (len(gallery), [])
    if where == "folder":
        index = store.open_index(tmp_path / "index", encoder=encoder)
    for path, key, label in zip(gallery.paths, gallery.ids, gallery.labels.tolist(), strict=True):
        match = index.query(image=path, k=1)[0]
        assert (match.id, match.path, match.label) == (key, path, label)
        assert index.query(image=path, where={"label": label})[0].label == label
    assert index.sync(images.load_gallery(tmp_path / "train")).unchanged == len(gallery)

    explorer = QueryExplorer(gallery, encoder=encoder, index=index)
    for path, key in zip(gallery.paths, gallery.ids, strict=True):
        explorer._pick("gallery", key)
        assert explorer._query.image == path
        page = "".join(map(str, explorer._repr_mimebundle_().values()))
        assert page.encode() and "cannot be opened" not in page
        state = explorer.state
        explorer.restore(state)
        assert explorer.state == state
        assert html.image(path, str(path)).encode().startswith(b"<img")


@needs_bytes
def test_two_names_that_are_written_alike_are_told_apart(tmp_path):
    names = ["\u00e9t\u00e9/1.jpg", "e\u0301te\u0301/1.jpg", "e\u0301te\u0301/2.jpg", r"caf\xe9/1.jpg"]
    fill(tmp_path, *names, os.fsdecode(b"caf\xe9/1.jpg"))
    gallery = images.load_gallery(tmp_path)
    assert gallery.ids == [r"caf\xe9/1.jpg", "été/1.jpg", "été/2.jpg"] and gallery.classes == [r"caf\xe9", "été"]
    assert gallery.paths[:2] == [tmp_path / names[3], tmp_path / names[0]]
    assert sorted(os.fsencode(path.parent.name) for path, _ in gallery.skipped) == [b"caf\xe9", b"e\xcc\x81te\xcc\x81"]
    index = store.open_index(encoder=Colours())
    assert index.sync(gallery).added == 3
    assert [index.query(image=path, k=1)[0].path for path in gallery.paths] == gallery.paths


@needs_bytes
def test_an_index_from_before_holds_no_picture_twice(tmp_path):
    root = fill(tmp_path / "train", "e\u0301/1.jpg", "e\u0301/2.jpg", "b/1.jpg")
    index = store.open_index(encoder=Colours())
    index.sync(images.load_gallery(root))
    stored = index._open().get(ids=["\u00e9/1.jpg"], include=["embeddings", "metadatas"])
    index._open().delete(ids=["\u00e9/1.jpg"])
    index._open().add(ids=["e\u0301/1.jpg"], embeddings=stored["embeddings"], metadatas=stored["metadatas"])
    report = index.sync(images.load_gallery(root))
    assert (report.added, report.removed, report.unchanged, index.count()) == (1, 1, 2, 3)


@needs_bytes
def test_equal_scores_follow_the_order_of_the_gallery(tmp_path):
    fill(tmp_path, "a/1.jpg")
    for name in ("e\u0301", "z", "\u00e9a", "犬"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes((tmp_path / "a" / "1.jpg").read_bytes())
    gallery = images.load_gallery(tmp_path)
    index = store.open_index(encoder=Colours())
    index.sync(gallery)
    assert [match.id for match in index.query(image=gallery.paths[0])] == gallery.ids


@pytest.mark.parametrize("part", ["Train", "test", "val"])
def test_the_part_is_stored_by_its_plain_name(tmp_path, part):
    index = store.open_index(encoder=Colours())
    index.sync(images.load_gallery(fill(tmp_path / part, *TWO)))
    assert len(index.query(text="a", where={"split": part.lower()})) == 5


def test_a_folder_around_the_classes_of_one_half_only_is_seen_through(tmp_path, monkeypatch):
    for folder in ("train/cat", "train/dog", "test/images/cat", "test/images/dog"):
        for number in range(2):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (9, 9, number)).save(tmp_path / folder / f"{number}.png")
    monkeypatch.setenv("COURSE_PICTURES", str(tmp_path))
    gallery, queries = images.load_pictures()
    assert gallery.classes == queries.classes == ["cat", "dog"]


# ---------------------------------------------------------------------------------------- what a reader is told


def test_queries_of_a_class_that_the_gallery_lacks_are_left_out_and_said(use, tmp_path, capsys):
    fill(tmp_path / "own", *below("train"), "test/cat/1.jpg", "test/fish/1.jpg", "test/owl/1.jpg")
    gallery, queries = use(tmp_path / "own")
    assert (gallery.classes, queries.ids) == (["cat", "dog"], ["cat/1.jpg"])
    assert (
        "2 queries are left out, since the gallery has no picture of their class: fish, owl" in capsys.readouterr().out
    )


def test_a_remembered_folder_that_is_gone_is_told_with_the_way_back(use, tmp_path):
    use(fill(tmp_path / "own", *TWO))
    (tmp_path / "own").rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="set BRING_YOUR_OWN there to another folder, or to None"):
        images.load_pictures()


def test_a_setting_that_goes_before_is_told(use, tmp_path, monkeypatch, capsys):
    fill(tmp_path / "own", *TWO)
    monkeypatch.setenv("COURSE_PICTURES", "bundled")
    images.use_pictures(None)
    assert capsys.readouterr().out == ""
    images.use_pictures(tmp_path / "own")
    assert "COURSE_PICTURES is set to bundled, which goes before this" in capsys.readouterr().out


@needs_bytes
def test_a_copied_query_whose_name_is_not_utf_8_is_told(use, tmp_path, capsysbinary):
    root = fill(tmp_path / "own", *below("train"), *below("test"))
    copy = os.fsencode(root / "test" / "cat") + b"/Ren\xe9.jpg"
    Path(os.fsdecode(copy)).write_bytes((root / "train" / "cat" / "0.jpg").read_bytes())
    use(root)
    assert b"1 of 9 queries have an exact copy in the gallery (Ren\\xe9.jpg, say)" in capsysbinary.readouterr().out
