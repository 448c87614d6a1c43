"""What several lessons share: the changes, the words for a class, chance, made-up vectors, the stopwatch."""

import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from helpers import images, lab

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def picture():
    """A picture whose every pixel has a colour of its own."""
    rows = np.arange(30 * 47 * 3, dtype=np.uint8).reshape(30, 47, 3)
    return Image.fromarray(rows)


def changed(title, picture):
    return np.asarray(lab.CHANGES[title](picture))


def test_pictures_stand_side_by_side_in_the_middle_of_a_white_page(tmp_path):
    Image.new("RGB", (40, 20), (200, 0, 0)).save(tmp_path / "wide.png")
    Image.new("RGB", (10, 90), (0, 0, 200)).save(tmp_path / "high.png")
    page = np.asarray(lab.page_of([tmp_path / "wide.png", tmp_path / "high.png"], width=30))
    assert page.shape == (90, 90, 3)
    assert (page[38:52, :30] == (200, 0, 0)).all() and (page[30:60, 30:33] == (0, 0, 200)).all()
    assert (page[:30] == 255).all() and (page[60:] == 255).all() and (page[:, 60:] == 255).all()


def test_a_word_is_written_in_the_middle_of_a_page():
    dark = np.argwhere(np.asarray(lab.written("mmm").convert("L")) < 128)
    assert len(dark) > 100 and np.abs(dark.mean(axis=0) - 112).max() < 8
    assert not np.array_equal(lab.written("cat"), lab.written("dog"))


def test_every_change_does_what_it_is_called_and_leaves_the_picture_alone(picture):
    before = np.asarray(picture).copy()
    assert np.array_equal(changed("unchanged", picture), before)
    assert np.array_equal(changed("mirrored", picture), before[:, ::-1])
    assert np.array_equal(changed("cropped by a tenth", picture), before[3:27, 4:43])
    assert np.array_equal(changed("shifted by a tenth", picture)[3:, 4:], before[:-3, :-4])
    assert (changed("shifted by a tenth", picture)[:3] == 255).all()
    assert (changed("shifted by a tenth", picture)[:, :4] == 255).all()
    assert np.abs(changed("half as bright", picture) - before / 2).max() <= 1
    assert changed("only 16 pixels wide", picture).shape == (16, 16, 3)
    assert len(lab.CHANGES) == 6 and np.array_equal(np.asarray(picture), before)


@pytest.mark.parametrize("size", [(1, 1), (9, 2), (3, 500)])
def test_the_smallest_pictures_can_be_changed(size):
    for change in lab.CHANGES.values():
        assert min(change(Image.new("RGB", size)).size) >= 1


def test_the_shift_and_the_chance_that_lesson_1_makes_by_hand_are_those_of_the_helper(monkeypatch):
    cells = [cell.source for cell in nbformat.read(ROOT / "notebooks" / "01_pixel_metrics.ipynb", 4).cells]
    monkeypatch.setattr("helpers.show.grid", lambda *_, **__: None)
    gallery, queries = (images.load_gallery(images.DATA / split).take(range(40)) for split in ("train", "test"))
    given = {"np": np, "images": images, "lab": lab, "gallery": gallery, "queries": queries, "rankings": {}}
    exec("from helpers import show", given)
    (shift,) = [source for source in cells if ".rotate(" in source]
    exec(shift, given)
    assert np.array_equal(np.asarray(given["shifted"]), changed("shifted by a tenth", given["picture"]))
    (chance,) = [source for source in cells if ".permuted(" in source]
    exec(chance, given)
    assert np.array_equal(given["rankings"]["random"], lab.random_ranking(len(queries), len(gallery)))


def test_a_random_ranking_has_every_picture_once_and_no_favourites():
    ranking = lab.random_ranking(2000, 7)
    assert ranking.shape == (2000, 7) and ranking.dtype == np.int64
    assert (np.sort(ranking, axis=1) == np.arange(7)).all()
    assert np.abs(np.bincount(ranking[:, 0], minlength=7) / 2000 - 1 / 7).max() < 0.04
    assert np.array_equal(ranking, lab.random_ranking(2000, 7))
    assert not np.array_equal(ranking, lab.random_ranking(2000, 7, seed=1))


def test_made_up_vectors_are_the_given_ones_first_and_then_copies_that_are_near_them():
    given = np.random.default_rng(0).normal(size=(5, 256)).astype(np.float32)
    given /= np.linalg.norm(given, axis=1, keepdims=True)
    many = lab.grown(given, 503)
    assert many.shape == (503, 256) and many.dtype == np.float32
    assert np.allclose(np.linalg.norm(many, axis=1), 1, atol=1e-6)
    assert np.allclose(many[:5], given, atol=1e-6)
    near = many[5:] @ given.T
    assert (near.argmax(axis=1) == np.arange(498) % 5).all() and 0.65 < np.diag(near).mean() < 0.76
    assert np.array_equal(many, lab.grown(given, 503)) and not np.array_equal(many, lab.grown(given, 503, seed=1))
    assert np.allclose(lab.grown(given, 3), given[:3], atol=1e-6)


def test_the_classes_of_one_design_are_classes_of_the_gallery():
    assert set(lab.one_design()) < {path.name for path in (images.DATA / "train").iterdir()}
    assert "coin" in lab.one_design() and "cat" not in lab.one_design()


@pytest.mark.parametrize("label, said", [
    ("windmill", "a windmill"), ("elephant_or_rhino", "an elephant"), ("playing_card", "a playing card"),
    ("Apple tree", "an Apple tree"), ("Kätzchen", "a Kätzchen"), ("", "a picture"),
])  # fmt: skip
def test_a_class_in_words(label, said):
    assert lab.spoken(label) == said


def test_the_shortest_of_several_tries_is_what_a_call_takes(monkeypatch):
    clock = iter([0, 0.5, 1, 1.25, 2, 3])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    calls = []
    assert lab.milliseconds(lambda *arguments: calls.append(arguments), "a", 2, tries=3) == 250
    assert calls == [("a", 2)] * 3


def test_the_back_room_of_the_checks_stays_closed_until_a_reader_asks():
    program = (
        "import sys; from helpers import lab; assert 'helpers.exercises' not in sys.modules; "
        "my_l2 = lambda query, rows: ...; print(lab.check('my_l2')); assert 'helpers.exercises' in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout.endswith("and run the cell again.\nFalse\n"), ran.stderr
