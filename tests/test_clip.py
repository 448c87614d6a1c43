import json
import os
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from conftest import TINY, write_tiny_model
from PIL import Image
from safetensors.torch import load_file, save_file

from helpers import clip, embeddings, evaluate, images, metrics


@pytest.fixture(scope="module")
def encoder(tiny_folder):
    """The tiny model in the place of the bundled one: calculated in full precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip, "BUNDLED", tiny_folder)
        return clip.load("bundled")


def plain(folder, paths):
    """Encode the way open_clip's own documentation does: one picture after the other."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    with torch.no_grad():
        rows = [model.encode_image(preprocess(Image.open(p).convert("RGB"))[None], normalize=True) for p in paths]
    return torch.cat(rows).numpy()


def test_the_vectors_are_those_of_open_clip(encoder, tiny_folder, pictures):
    gallery = images.load_gallery(pictures)
    for batch_size in (1, 4, 100):
        vectors = encoder.encode_images(gallery, batch_size=batch_size)
        assert vectors.shape == (6, 16) and vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert (vectors * plain(tiny_folder, gallery.paths)).sum(axis=1).min() > 0.9999


def test_a_processor_with_bfloat16_gives_nearly_the_same_vectors(tiny_folder, pictures):
    gallery = images.load_gallery(pictures)
    vectors = clip.load(f"local-dir:{tiny_folder}").encode_images(gallery)
    assert (vectors * plain(tiny_folder, gallery.paths)).sum(axis=1).min() > 0.999
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("count", [1, 3, 61])
def test_many_pictures_keep_their_order_and_the_threads_are_given_back(encoder, pictures, count):
    paths = (images.load_gallery(pictures).paths * 11)[:count]
    threads = torch.get_num_threads()
    vectors = encoder.encode_images(paths, batch_size=2)
    assert torch.get_num_threads() == threads
    np.testing.assert_allclose(vectors, np.tile(encoder.encode_images(paths[:6]), (11, 1))[:count], atol=1e-6)


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


def test_paths_pil_images_and_galleries_are_encoded_alike(encoder, pictures):
    gallery = images.load_gallery(pictures)
    expected = encoder.encode_images(gallery)
    np.testing.assert_allclose(encoder.encode_images([str(p) for p in gallery.paths]), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_images([images.open_rgb(p) for p in gallery.paths]), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_images(p for p in gallery.paths[:1]), expected[:1], atol=1e-6)


def test_a_bad_picture_costs_only_its_own_row(encoder, pictures, capsys):
    paths = images.load_gallery(pictures).paths
    expected = encoder.encode_images(paths)
    paths[2].write_bytes(b"not a picture any more")
    vectors = encoder.encode_images([*paths, pictures / "nowhere.png"], batch_size=2)
    assert np.isnan(vectors).all(axis=1).tolist() == [False, False, True, False, False, False, True]
    np.testing.assert_allclose(vectors[3:6], expected[3:], atol=1e-6)
    assert [name for name, _ in encoder.skipped] == [str(paths[2]), str(pictures / "nowhere.png")]
    assert "2 pictures skipped" in capsys.readouterr().out
    encoder.encode_images(paths[:1])
    assert encoder.skipped == []


def test_nothing_to_encode(encoder, tmp_path):
    with pytest.raises(ValueError, match="no pictures to encode"):
        encoder.encode_images([])
    (tmp_path / "bad.png").write_bytes(b"bad")
    with pytest.raises(ValueError, match=r"none of the 1 pictures .*bad\.png"):
        encoder.encode_images([tmp_path / "bad.png"])


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


def test_names_that_are_unknown_list_what_is_near():
    with pytest.raises(ValueError, match=r"unknown model 'VIT-B-23'.*did you mean .*ViT-B-32"):
        clip.load("VIT-B-23/openai")
    with pytest.raises(ValueError, match=r"no weights called 'laion9b'.*laion2b_s34b_b79k"):
        clip.load("ViT-B-32/laion9b")
    with pytest.raises(ValueError, match="no weights called ''"):
        clip.load("ViT-B-32")


def test_folders_that_are_no_models(tmp_path, tiny_folder):
    with pytest.raises(ValueError, match="is no folder of open_clip's"):
        clip.load(f"local-dir:{tmp_path / 'nowhere'}")
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


def test_the_environment_goes_before_auto_only(monkeypatch, tiny_folder):
    monkeypatch.setenv("CLIP_MODEL", f"local-dir:{tiny_folder}")
    assert clip.load("auto").dim == 16
    monkeypatch.setenv("CLIP_MODEL", "local-dir:/nowhere")
    assert clip.load(f"local-dir:{tiny_folder}").dim == 16


class Counting:
    """An encoder that remembers how many pictures it was asked for."""

    def __init__(self, encoder):
        self.encoder, self.asked = encoder, 0
        self.dim, self.fingerprint = encoder.dim, encoder.fingerprint

    def encode_images(self, gallery):
        self.asked += len(gallery)
        return self.encoder.encode_images(gallery)


def test_a_picture_is_encoded_once(encoder, pictures, tmp_path):
    cache = tmp_path / "cache"
    gallery = images.load_gallery(pictures)

    def asked():
        counting = Counting(encoder)
        vectors = embeddings.load_or_encode(counting, images.load_gallery(pictures), cache)
        np.testing.assert_allclose(vectors, encoder.encode_images(images.load_gallery(pictures)), atol=1e-6)
        return counting.asked

    assert [asked(), asked()] == [6, 0]
    Image.new("RGB", (40, 40), "green").save(gallery.paths[1])
    assert asked() == 1, "one changed"
    shutil.copy(gallery.paths[0], pictures / "a" / "copy.jpg")
    gallery.paths[5].rename(pictures / "a" / "moved.jpg")
    gallery.paths[2].unlink()
    assert asked() == 0, "copied, moved and removed"
    Image.new("RGB", (40, 40), "blue").save(pictures / "b" / "new.png")
    assert asked() == 1, "one added"


def test_the_cache_of_a_course_that_may_not_be_written_is_at_home(tmp_path, monkeypatch):
    assert embeddings._cache(tmp_path) == tmp_path / ".cache"
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert embeddings._cache(tmp_path).is_relative_to(Path.home())


def test_another_model_never_reads_the_cache(encoder, pictures, tmp_path):
    gallery, cache = images.load_gallery(pictures), tmp_path / "cache"
    embeddings.load_or_encode(encoder, gallery, cache)
    other = Counting(clip.load(f"local-dir:{write_tiny_model(tmp_path / 'other', seed=1)}"))
    vectors = embeddings.load_or_encode(other, gallery, cache)
    assert other.asked == 6
    np.testing.assert_allclose(vectors, other.encoder.encode_images(gallery), atol=1e-6)


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_cache_is_made_again(encoder, pictures, tmp_path, damage):
    gallery, cache = images.load_gallery(pictures), tmp_path / "cache"
    expected = embeddings.load_or_encode(encoder, gallery, cache)
    (file,) = cache.iterdir()
    file.write_bytes(damage if damage is not None else file.read_bytes()[:-200])
    np.testing.assert_allclose(embeddings.load_or_encode(encoder, gallery, cache), expected, atol=1e-6)
    counting = Counting(encoder)
    embeddings.load_or_encode(counting, gallery, cache)
    assert counting.asked == 0


def test_a_run_that_is_stopped_leaves_the_old_cache(encoder, pictures, tmp_path, monkeypatch):
    gallery, cache = images.load_gallery(pictures), tmp_path / "cache"
    embeddings.load_or_encode(encoder, gallery.take(range(3)), cache)
    before = {p.name: p.read_bytes() for p in cache.iterdir()}

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(embeddings.np, "savez", stop)
    with pytest.raises(KeyboardInterrupt):
        embeddings.load_or_encode(encoder, gallery, cache)
    assert {p.name: p.read_bytes() for p in cache.iterdir()} == before


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
