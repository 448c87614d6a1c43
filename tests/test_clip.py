import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from conftest import TINY, write_tiny_model
from PIL import Image
from safetensors.torch import load_file, save_file

from helpers import clip, evaluate, images, metrics


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    """An empty memory for each test."""
    monkeypatch.setattr(clip, "CACHE", tmp_path / "memory")
    return tmp_path / "memory" / "embeddings.sqlite3"


@pytest.fixture(scope="module")
def encoder(tiny_folder):
    return clip.load(f"local-dir:{tiny_folder}")


def plain(folder, paths):
    """Encode the way open_clip's own documentation does: one picture after the other."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    with torch.no_grad():
        rows = [model.encode_image(preprocess(Image.open(p).convert("RGB"))[None], normalize=True) for p in paths]
    return torch.cat(rows).numpy()


@pytest.mark.parametrize("batch_size", [1, 4, 100, None])
def test_the_vectors_are_those_of_open_clip(encoder, tiny_folder, pictures, batch_size):
    gallery = images.load_gallery(pictures)
    vectors = encoder.encode_images(gallery, batch_size=batch_size)
    assert vectors.shape == (6, 16) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (vectors * plain(tiny_folder, gallery.paths)).sum(axis=1).min() > 0.9999


@pytest.mark.parametrize("count", [1, 3, 61])
def test_many_pictures_keep_their_order_and_the_threads_are_given_back(encoder, pictures, count):
    opened = ([images.open_rgb(path) for path in images.load_gallery(pictures).paths] * 11)[:count]
    opened = [picture.copy() for picture in opened]  # equal ones are encoded once only where they are one object
    threads = torch.get_num_threads()
    vectors = encoder.encode_images(opened, batch_size=2)
    assert torch.get_num_threads() == threads
    np.testing.assert_allclose(vectors, np.tile(encoder.encode_images(opened[:6]), (61, 1))[:count], atol=1e-6)


def test_convolutions_with_batch_norm_are_encoded_as_open_clip_does(pictures, tmp_path):
    folder = write_tiny_model(
        tmp_path / "resnet",
        vision_cfg={"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "patch_size": None},
    )
    weights = load_file(folder / "open_clip_model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name, values in weights.items():
        if name.endswith(("running_mean", "running_var")):
            values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    save_file(weights, folder / "open_clip_model.safetensors")
    paths = images.load_gallery(pictures).paths
    vectors = clip.load(f"local-dir:{folder}").encode_images(paths)
    assert (vectors * plain(folder, paths)).sum(axis=1).min() > 0.999


def test_paths_files_pil_images_and_galleries_are_encoded_alike(encoder, pictures, memory):
    gallery = images.load_gallery(pictures)
    expected = encoder.encode_images(gallery)
    for given in (
        [str(path) for path in gallery.paths],
        (path for path in gallery.paths),
        [images.open_rgb(path) for path in gallery.paths],
        [io.BytesIO(path.read_bytes()) for path in gallery.paths],
    ):
        memory.unlink()
        np.testing.assert_allclose(encoder.encode_images(given), expected, atol=1e-6)
        memory.touch()


def test_bad_pictures_are_named_after_all_others_were_encoded(encoder, pictures, tmp_path):
    paths = images.load_gallery(pictures).paths
    bad = [tmp_path / f"bad{i}.png" for i in range(6)]
    for path in bad:
        path.write_bytes(b"not a picture")
    with pytest.raises(images.UnreadableImageError) as raised:
        encoder.encode_images([bad[0], *paths[:3], pictures / "nowhere.png", *paths[3:], *bad[1:]], batch_size=2)
    said = str(raised.value)
    assert said.startswith(f"7 of 13 pictures cannot be opened: {bad[0]} is not a picture")
    assert f"there is no picture {pictures / 'nowhere.png'}; " in said and str(bad[3]) in said
    assert str(bad[4]) not in said and said.endswith("; …"), "five are named"
    assert len(clip.remembered(encoder.fingerprint, [images.facts(path).hash for path in paths])) == 6


def test_nothing_to_encode(encoder, pictures, tmp_path):
    with pytest.raises(ValueError, match="no pictures to encode"):
        encoder.encode_images([])
    (tmp_path / "bad.png").write_bytes(b"bad")
    closed = Image.open(pictures / "a" / "0.jpg")
    closed.close()
    for bad in (tmp_path / "bad.png", io.BytesIO(b"bad"), closed):
        with pytest.raises(images.UnreadableImageError, match=r"^(\S+bad\.png|the upload|\S+\.jpg) "):
            encoder.encode_images([bad])


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (1, 40_000), (40_000, 1), (3000, 2)])
def test_extreme_shapes_are_encoded(encoder, size):
    vectors = encoder.encode_images([Image.new("RGB", size, "red"), Image.new("RGB", (32, 32), "red")])
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-4)


def test_a_picture_with_every_mode_is_encoded(encoder):
    modes = [Image.new(mode, (40, 30)) for mode in ("L", "P", "RGBA", "CMYK", "I;16", "F", "1", "LA")]
    assert np.isfinite(encoder.encode_images(modes)).all()


def test_texts(encoder):
    vectors = encoder.encode_texts(["a red apple", "zwölf Äpfel 🍏", "a red apple"])
    assert vectors.shape == (3, 16) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])


def test_texts_agree_with_open_clip(encoder, tiny_folder):
    model = open_clip.create_model(f"local-dir:{tiny_folder}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{tiny_folder}")(["a photo of a dog"])
    with torch.no_grad():
        expected = model.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode_texts(["a photo of a dog"]), expected, atol=1e-6)


def test_a_text_that_is_too_long_is_cut_and_said_once(encoder, capsys):
    long = "an apple on a table in a garden behind a house"
    cut = encoder.encode_texts([long, long + " in the evening", "short"])
    assert capsys.readouterr().out == "2 of 3 texts are longer than this model reads (6 word pieces): the end is cut\n"
    np.testing.assert_allclose(cut[0], cut[1], atol=1e-6)


@pytest.mark.parametrize("texts, error, said", [
    ([], ValueError, "list is empty"),
    (["fine", " \n"], ValueError, "text number 1 is empty"),
    ("a red apple", TypeError, r"write \['a red apple'\]"),
])  # fmt: skip
def test_texts_that_cannot_be_encoded(encoder, texts, error, said):
    with pytest.raises(error, match=said):
        encoder.encode_texts(texts)


def test_the_fingerprint_is_stable_and_sees_every_change(encoder, tiny_folder, tmp_path):
    assert clip.load(f"local-dir:{tiny_folder}").fingerprint == encoder.fingerprint
    moved = shutil.copytree(tiny_folder, tmp_path / "moved")
    assert clip.load(f"local-dir:{moved}").fingerprint == encoder.fingerprint
    weights = load_file(moved / "open_clip_model.safetensors")
    weights["visual.proj"][0, 0] += 1e-3
    save_file(weights, moved / "open_clip_model.safetensors")
    other_weights = clip.load(f"local-dir:{moved}").fingerprint
    other_preprocessing = shutil.copytree(tiny_folder, tmp_path / "preprocessing")
    config = {**TINY, "preprocess_cfg": {"mean": [0.4, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
    (other_preprocessing / "open_clip_config.json").write_text(json.dumps(config))
    other_preprocessing = clip.load(f"local-dir:{other_preprocessing}").fingerprint
    other_shape = clip.load(f"local-dir:{write_tiny_model(tmp_path / 'shape', embed_dim=8)}").fingerprint
    assert len({encoder.fingerprint, other_weights, other_preprocessing, other_shape}) == 4


@pytest.mark.parametrize("name, near", [
    ("VIT-B-23/openai", "ViT-B-32/openai"),
    ("ViT-B-32/laion9b", "ViT-B-32/laion2b_s34b_b79k"),
    ("ViT-B-32", "ViT-B-32/openai"),
    ("auto", "ViT-B-32/laion2b_s34b_b79k"),
    ("ViT-B-32/openai/more", "ViT-B-32/openai"),
])  # fmt: skip
def test_names_that_are_unknown_list_what_there_is(name, near):
    with pytest.raises(ValueError, match=rf"unknown model '{name}': there are bundled, .*hf-hub:.*, for .*\b{near}\b"):
        clip.load(name)


def test_folders_that_are_no_models(tmp_path, tiny_folder):
    with pytest.raises(ValueError, match="nowhere cannot be loaded: .* not found"):
        clip.load(f"local-dir:{tmp_path / 'nowhere'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty cannot be loaded: .*open_clip_config.json"):
        clip.load(f"local-dir:{tmp_path / 'empty'}")
    no_weights = shutil.copytree(tiny_folder, tmp_path / "no_weights")
    (no_weights / "open_clip_model.safetensors").unlink()
    with pytest.raises(ValueError, match="no_weights cannot be loaded"):
        clip.load(f"local-dir:{no_weights}")
    unfit = shutil.copytree(tiny_folder, tmp_path / "unfit")
    config = {**TINY, "model_cfg": {**TINY["model_cfg"], "embed_dim": 24}}
    (unfit / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="unfit cannot be loaded"):
        clip.load(f"local-dir:{unfit}")
    for file in ("open_clip_config.json", "open_clip_model.safetensors"):
        damaged = shutil.copytree(tiny_folder, tmp_path / f"damaged_{file}")
        (damaged / file).write_bytes(b"garbage")
        with pytest.raises(ValueError, match="cannot be loaded"):
            clip.load(f"local-dir:{damaged}")


def test_pickled_code_is_never_run(tmp_path, tiny_folder):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    folder = shutil.copytree(tiny_folder, tmp_path / "evil")
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": Evil()}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be loaded"):
        clip.load(f"local-dir:{folder}")
    assert not (tmp_path / "ran").exists()


def test_the_default_is_the_bundled_model_unless_the_environment_names_another(monkeypatch, tiny_folder, tmp_path):
    monkeypatch.setattr(clip, "BUNDLED", write_tiny_model(tmp_path / "bundled", embed_dim=8))
    monkeypatch.delenv("CLIP_MODEL")
    assert (clip.load().name, clip.load().dim) == ("bundled", 8)
    monkeypatch.setenv("CLIP_MODEL", f"local-dir:{tiny_folder}")
    assert clip.load().dim == 16 and clip.load("bundled").dim == 8
    monkeypatch.setenv("CLIP_MODEL", "auto")
    with pytest.raises(ValueError, match="unknown model 'auto'"):
        clip.load()


# ----------------------------------------------------------------------------------------------------------- the memory


@pytest.fixture
def asked(encoder, monkeypatch):
    """The numbers of pictures that went through the network, call by call."""
    counts, calculate = [], encoder._model.encode_image

    def count(pixels):
        counts.append(len(pixels))
        return calculate(pixels)

    monkeypatch.setattr(encoder._model, "encode_image", count)
    return counts


def test_a_picture_is_encoded_once(encoder, pictures, asked):
    def encoded():
        asked.clear()
        gallery = images.load_gallery(pictures)
        vectors = encoder.encode_images(gallery)
        count = sum(asked)
        np.testing.assert_allclose(vectors, encoder.encode_images(map(images.open_rgb, gallery.paths)), atol=1e-6)
        return count

    paths = images.load_gallery(pictures).paths
    assert [encoded(), encoded()] == [6, 0]
    Image.new("RGB", (40, 40), "green").save(paths[1])
    assert encoded() == 1, "one changed"
    shutil.copy(paths[0], pictures / "a" / "copy.jpg")
    paths[5].rename(pictures / "a" / "moved.jpg")
    paths[2].unlink()
    assert encoded() == 0, "copied, moved and removed"
    for name in ("new.png", "the same.png"):
        Image.new("RGB", (40, 40), "blue").save(pictures / "b" / name)
    assert encoded() == 1, "one added, twice"


def test_pictures_in_memory_are_encoded_each_time(encoder, pictures, asked, memory):
    paths = images.load_gallery(pictures).paths
    with paths[0].open("rb") as file:
        for _ in range(2):
            encoder.encode_images([images.open_rgb(paths[1]), file])
    assert sum(asked) == 4 and not clip.remembered(encoder.fingerprint, [images.facts(path).hash for path in paths])


def test_each_file_is_opened_twice_at_most(encoder, pictures):
    opened = []
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    encoder.encode_images(images.load_gallery(pictures))
    encoder.encode_images(images.load_gallery(pictures))
    counts = {path: opened.count(str(path)) for path in images.load_gallery(pictures).paths}
    assert set(counts.values()) == {2}


def test_another_process_remembers_and_another_model_does_not(encoder, pictures, tmp_path, asked, memory):
    gallery = images.load_gallery(pictures)
    code = (
        "import sys, pathlib; from helpers import clip, images; clip.CACHE = pathlib.Path(sys.argv[1])\n"
        "clip.load(sys.argv[2]).encode_images(images.load_gallery(sys.argv[3]))"
    )
    subprocess.run([sys.executable, "-c", code, memory.parent, encoder.name, pictures], check=True)
    remembered = encoder.encode_images(gallery)
    assert asked == []
    other = clip.load(f"local-dir:{write_tiny_model(tmp_path / 'other', seed=1)}").encode_images(gallery)
    memory.unlink()
    np.testing.assert_allclose(remembered, encoder.encode_images(gallery), atol=1e-6)
    assert not np.allclose(remembered, other, atol=0.01)


@pytest.mark.parametrize("quiet", ["", "1"])
def test_loading_pytorch_is_said_while_it_lasts_unless_bars_are_off(quiet):
    environment = os.environ | {"PYTHONPATH": str(Path(clip.__file__).parents[1]), "TQDM_DISABLE": quiet}
    code = "from helpers import clip; import sys; sys.stderr.write('loaded')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    assert said == ([] if quiet else ["Loading PyTorch (10 s or more the first time)"]) + ["loaded"]


def test_recall(encoder, pictures):
    gallery = images.load_gallery(pictures)
    vectors = encoder.encode_images(gallery.take(range(4)))
    hashes = [images.facts(path).hash for path in gallery.paths]
    found = clip.remembered(encoder.fingerprint, (digest for digest in hashes))
    assert list(found) == hashes[:4]
    np.testing.assert_array_equal(np.stack(list(found.values())), vectors)
    assert clip.remembered("another", hashes) == clip.remembered(encoder.fingerprint, []) == {}


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut off", "overwritten"])
def test_a_damaged_memory_is_made_anew(encoder, pictures, memory, asked, damage, capsys):
    gallery = images.load_gallery(pictures)
    expected = encoder.encode_images(gallery)
    whole = memory.read_bytes()
    damaged = {"empty": b"", "garbage": b"garbage" * 999, "cut off": whole[: len(whole) // 2]}
    memory.write_bytes(damaged.get(damage, whole[:4096] + bytes(len(whole) - 4096)))
    np.testing.assert_allclose(encoder.encode_images(gallery), expected, atol=1e-6)
    said = capsys.readouterr().out
    assert ("damaged" in said) == memory.with_suffix(".damaged").exists() == (damage != "empty")
    asked.clear()
    np.testing.assert_allclose(encoder.encode_images(gallery), expected, atol=1e-6)
    assert (asked, capsys.readouterr().out) == ([], "")


@pytest.mark.parametrize("stored", [
    b"", b"odd", b"\0" * 64, np.ones(16).tobytes(), np.full(16, np.nan, "<f4").tobytes(), "text", None, 7,
    np.full(4, 0.5, "<f4").tobytes(),
])  # fmt: skip
def test_what_is_no_vector_is_not_believed(encoder, pictures, memory, asked, stored):
    gallery = images.load_gallery(pictures)
    expected = encoder.encode_images(gallery)
    with sqlite3.connect(memory) as database:
        database.execute(
            "UPDATE vectors SET vector = ? WHERE picture = ?", (stored, images.facts(gallery.paths[2]).hash)
        )
    database.close()
    np.testing.assert_allclose(encoder.encode_images(gallery), expected, atol=1e-6)
    asked.clear()
    np.testing.assert_allclose(encoder.encode_images(gallery), expected, atol=1e-6)
    assert asked == []


def test_a_vector_that_is_none_is_never_kept(encoder, pictures, monkeypatch, capsys):
    gallery = images.load_gallery(pictures)
    calculate = encoder._model.encode_image
    monkeypatch.setattr(encoder._model, "encode_image", lambda pixels: calculate(pixels) * float("nan"))
    assert np.isnan(encoder.encode_images(gallery)).all()
    monkeypatch.undo()
    assert np.isfinite(encoder.encode_images(gallery)).all()


def test_a_picture_that_is_changed_while_it_is_read_is_not_kept(encoder, pictures, monkeypatch):
    gallery = images.load_gallery(pictures)

    def open_changed(path):
        if path == gallery.paths[1]:
            Image.new("RGB", (40, 40), "green").save(path)
        return images.open_rgb(path)

    monkeypatch.setattr(clip, "open_rgb", open_changed)
    before = images.facts(gallery.paths[1]).hash
    with pytest.raises(ValueError, match=r"1 of 6 .*1\.png was changed while it was read"):
        encoder.encode_images(gallery)
    assert not clip.remembered(encoder.fingerprint, [before, images.facts(gallery.paths[1]).hash])


@pytest.mark.parametrize("trouble", ["locked", "read-only", "full", "no folder"])
def test_vectors_that_cannot_be_kept_are_returned(encoder, pictures, memory, monkeypatch, capsys, trouble):
    gallery = images.load_gallery(pictures)
    expected = encoder.encode_images(gallery.take(range(3)))
    paths = gallery.paths[:3] + [path for i in range(40) for path in [pictures / f"{i}.png"]]
    for i, path in enumerate(paths[3:]):
        Image.new("RGB", (40, 40), (6 * i, 90, 200)).save(path)
    connect = sqlite3.connect

    def troubled(file, timeout):
        database = connect(file, timeout=0.1)
        if trouble == "read-only":
            database.execute("PRAGMA query_only = 1")
        if trouble == "full":
            database.execute(f"PRAGMA max_page_count = {database.execute('PRAGMA page_count').fetchone()[0]}")
        return database

    monkeypatch.setattr(sqlite3, "connect", troubled)
    other = connect(memory)
    if trouble == "locked":
        other.execute("BEGIN IMMEDIATE")
    if trouble == "no folder":
        monkeypatch.setattr(clip, "CACHE", memory / "below a file")
    vectors = encoder.encode_images(paths, batch_size=4)
    other.close()
    np.testing.assert_allclose(vectors[:3], expected, atol=1e-6)
    assert np.isfinite(vectors).all()
    said = capsys.readouterr().out
    assert said.count("cannot be kept") == said.count("\n") == 1


STOPPED = """
import os, pathlib, signal, sqlite3, sys, time
from helpers import clip, images
clip.CACHE = pathlib.Path(sys.argv[1])
encoder = clip.load(sys.argv[2])
opened = 0
def open_rgb(path, open_rgb=clip.open_rgb):
    global opened
    opened += 1
    if opened == 70:
        memory = sqlite3.connect(clip.CACHE / "embeddings.sqlite3")
        while memory.execute("SELECT count(*) FROM vectors").fetchone()[0] < 32:
            time.sleep(0.01)
        os.kill(os.getpid(), int(sys.argv[4]))
    return open_rgb(path)
clip.open_rgb = open_rgb
encoder.encode_images(images.load_gallery(sys.argv[3]), batch_size=1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_keeps_what_it_did(encoder, tmp_path, memory, asked, signum):
    for i in range(100):
        Image.new("RGB", (40, 40), (2 * i, 90, 200)).save(tmp_path / f"{i}.png")
    done = subprocess.run([sys.executable, "-c", STOPPED, memory.parent, encoder.name, tmp_path, str(int(signum))])
    assert done.returncode == -signum
    hashes = [images.facts(path).hash for path in images.load_gallery(tmp_path).paths]
    assert 32 <= len(clip.remembered(encoder.fingerprint, hashes)) < 100
    encoder.encode_images(images.load_gallery(tmp_path))
    assert 0 < sum(asked) <= 68


def test_several_write_at_the_same_time(memory, capsys):
    def write(model):
        return all(clip._remember(model, {f"{i}": np.eye(4, dtype=np.float32)[0]}) for i in range(30))

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(write, "abc")) == [True] * 3
    assert [len(clip.remembered(name, map(str, range(30)))) for name in "abc"] == [30, 30, 30]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("single", [lambda path: path, str, Image.open, lambda path: io.BytesIO(path.read_bytes())])
def test_a_single_picture_in_place_of_a_list_is_said(encoder, pictures, single):
    with pytest.raises(TypeError, match=r"expected a list of pictures: write \["):
        encoder.encode_images(single(pictures / "a" / "0.jpg"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_what_is_said_of_a_picture_can_be_printed_whatever_its_name(encoder, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    odd.write_bytes(b"no picture")
    for path in (odd, odd.with_suffix(".gone")):
        with pytest.raises(ValueError, match=r"caf\\xe9") as raised:
            encoder.encode_images([path])
        assert str(raised.value).encode()


# ---------------------------------------------------------------------------------------------------- the bundled model


@pytest.fixture(scope="module")
def bundled():
    return clip.load("bundled")


def test_the_bundled_model_is_small_and_has_a_card():
    sizes = {path.name: path.stat().st_size for path in clip.BUNDLED.iterdir()}
    assert set(sizes) == {"LICENSE", "README.md", "open_clip_config.json", "open_clip_model.safetensors"}
    assert sum(sizes.values()) < 50e6
    assert {str(t.dtype) for t in load_file(clip.BUNDLED / "open_clip_model.safetensors").values()} <= {
        "torch.float16", "torch.int64",
    }  # fmt: skip
    for word in ("Apache 2.0", "No picture of the course", "left out", "can't do"):
        assert word in (clip.BUNDLED / "README.md").read_text(encoding="utf-8")


def test_the_bundled_model_gives_the_vectors_of_open_clip(bundled):
    paths = images.load_gallery(images.DATA / "test").paths[::10]
    assert (bundled.encode_images(paths) * plain(clip.BUNDLED, paths)).sum(axis=1).min() > 0.9999


def test_the_bundled_model_names_pictures_far_better_than_chance(bundled):
    queries = images.load_gallery(images.DATA / "test")
    names = bundled.encode_texts([f"a photo of a {name.replace('_', ' ')}" for name in queries.classes])
    nearest = np.array(queries.classes)[(bundled.encode_images(queries) @ names.T).argmax(axis=1)]
    assert (nearest == queries.labels).mean() > 0.25, "by chance: 1 of 38"


def test_the_bundled_model_finds_what_its_card_says(bundled):
    gallery, queries = (images.load_gallery(images.DATA / part) for part in ("train", "test"))
    pictures, names = bundled.encode_images(gallery), np.array(queries.classes)
    words = bundled.encode_texts([f"a photo of a {name.replace('_', ' ')}" for name in names])
    for asked, labels, least in ((bundled.encode_images(queries), queries.labels, 0.60), (words, names, 0.68)):
        order, _ = metrics.rank(asked, pictures, metric="cosine", k=5)
        assert evaluate.precision_at_k(gallery.labels[order], labels, 5).mean() >= least
