"""The lessons run on a reader's own pictures, few or many, with classes or without, and claim no score that is none.

So they do with their exercises solved, which then say that they are right.
"""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
import stubs
from forked import execute
from nbclient.exceptions import CellExecutionError
from PIL import Image

from helpers import images

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
SMALLER = {
    "100_000": "4_000", "3_000": "1_500", "30_000": "3_000", "10_000": "2_000", "200 * len": "40 * len",
    "4000": "800"
}  # fmt: skip
"""How long lessons 3 and 4 take is no matter here: their made-up collections shrink."""

LESSONS = sorted(path.name[:2] for path in NOTEBOOKS.glob("*.ipynb"))
EXERCISES = [n for n in LESSONS if stubs.exercises(nbformat.read(next(NOTEBOOKS.glob(f"{n}_*.ipynb")), 4).cells)]

UNSCORED = ("00", "04")
"""Lessons that never ask which pictures are relevant."""


def shrink(picture, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    small = images.open_rgb(picture)
    small.thumbnail((32, 32))
    small.save(target)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny copies of the course's pictures, sorted as readers sort theirs."""
    root = tmp_path_factory.mktemp("own")
    ours = sorted((images.DATA / "train").rglob("*.*"))
    for i, path in enumerate(ours[:100]):
        shrink(path, root / "pairs" / f"thing {i // 2:03d}" / f"{i}.png")
    for count in (1, 12):
        for path in ours[::50][:count]:
            shrink(path, root / f"flat {count}" / f"IMG_{path.stem}.png")
    for kinds, name in (
        (("cat", "dog"), "Kätzchen"),
        (("coin", "planet"), "old money"),
        (("road_vehicle", "tower"), "car park"),
    ):
        paths = [path for kind in kinds for path in sorted((images.DATA / "train" / kind).iterdir())][:24]
        for i, path in enumerate(paths[:22]):
            shrink(path, root / "three classes" / name / f"{i:02d}.png")
    shutil.copytree(root / "three classes" / "Kätzchen", root / "one class" / "pets")
    (root / "three classes" / "old money" / "broken.jpg").write_bytes(b"not a picture")
    # every sixth picture is a query, beginning with the second
    shutil.copy(root / "three classes" / "car park" / "01.png", root / "three classes" / "car park" / "00.png")
    return root


def run(lesson, folder, monkeypatch, tmp_path, solved=False):
    """Execute a lesson on a folder of pictures, perhaps with its exercises solved; return all that it says."""
    monkeypatch.setenv("COURSE_PICTURES", str(folder))
    (path,) = NOTEBOOKS.glob(f"{lesson}_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for size, smaller in SMALLER.items() if cell.cell_type == "code" else ():
            cell.source = cell.source.replace(size, smaller)
    exercises = stubs.solve(notebook.cells) if solved else 0
    execute(notebook, tmp_path)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.get("name") == "stderr" or "Warning" in str(output)] == []
    said = [str(cell.get("outputs")) for cell in notebook.cells]
    assert sum("✓ Correct" in text for text in said) == exercises
    assert any("Not solved yet" in text for text in said) == (not solved and lesson in EXERCISES)
    assert not any("Not yet:" in text for text in said)
    return "\n".join(output.get("text") or output["data"].get("text/plain", "") for output in outputs)


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_flat_folder_is_searched_and_not_scored(lesson, folders, monkeypatch, tmp_path):
    said = run(lesson, folders / "flat 12", monkeypatch, tmp_path)
    if lesson not in UNSCORED:
        assert "nothing can be scored" in said
    by_hand = re.sub(r"P@[15] +(1\.0|0\.4)\n", "", said)  # a made-up ranking of lesson 1
    assert not re.search(
        r"\bnan\b|(P@\d|hit@\d|mAP|AP|by chance|right at once)\W+\d|\((right|wrong)\)|no right", by_hand
    )
    assert "IMG_" in said


@pytest.mark.parametrize("lesson", EXERCISES)
def test_solved_exercises_are_right_and_a_lesson_speaks_of_ones_own_classes(lesson, folders, monkeypatch, tmp_path):
    said = run(lesson, folders / "three classes", monkeypatch, tmp_path, solved=True)
    assert "1 of 12 queries have an exact copy in the gallery (01.png" in said
    assert "66 pictures read, 1 skipped" in said
    assert ("a Kätzchen" in said or lesson == "01") and not re.search(r"\bnan\b", said)
    if lesson == "02":
        assert "Queries: a Kätzchen, a car park, an old money" in said
        ours = "|".join(path.name.split("_or_")[0].replace("_", " ") for path in (images.DATA / "train").iterdir())
        assert not re.search(rf"\b(windmill|an? ({ours}))\b", said)


@pytest.mark.parametrize("lesson", EXERCISES)
def test_classes_of_two_pictures(lesson, folders, monkeypatch, tmp_path):
    said = run(lesson, folders / "pairs", monkeypatch, tmp_path)
    said_of_few = "50 of 50 queries have fewer than 5 pictures to find: P@5 can be 0.20 at best" in said
    assert said_of_few == (lesson not in UNSCORED)
    if lesson == "01":
        assert "P@1 without it: 0.00" in said  # in classes of one picture, none can be found
    assert not re.search(r"\bnan\b", said)


@pytest.mark.parametrize("lesson", ["02", LESSONS[-1]])
def test_one_class_alone(lesson, folders, monkeypatch, tmp_path):
    said = run(lesson, folders / "one class", monkeypatch, tmp_path)
    assert "The gallery has one class only" in said


def test_a_folder_of_one_picture_is_refused_in_a_sentence(folders, monkeypatch, tmp_path):
    with pytest.raises(CellExecutionError) as refused:
        run("00", folders / "flat 1", monkeypatch, tmp_path)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", str(refused.value))
    assert "too few pictures to search" in shown
    assert "Traceback" not in shown and "images.py" not in shown


def test_a_photograph_of_twelve_megapixels_becomes_the_same_row(tmp_path):
    Image.effect_mandelbrot((4000, 3000), (-2, -1, 1, 1), 50).convert("RGB").save(tmp_path / "large.jpg", quality=95)
    fast = images.pixel_matrix([tmp_path / "large.jpg"])
    assert abs(fast - images.pixel_matrix([images.open_rgb(tmp_path / "large.jpg")])).max() < 0.02


def test_a_copy_of_a_query_is_named_also_under_another_name(tmp_path, monkeypatch, capsys):
    for i in range(8):  # all files have the same size
        Image.new("RGB", (9, 9), (20 * i, 0, 0)).save(tmp_path / f"{i}.bmp")
    monkeypatch.setenv("COURSE_PICTURES", str(tmp_path))
    images.load_pictures()
    assert "copy" not in capsys.readouterr().out
    shutil.copy(tmp_path / "1.bmp", tmp_path / "5.bmp")
    images.load_pictures()
    assert "1 of 2 queries have an exact copy in the gallery (1.bmp" in capsys.readouterr().out


def test_the_classes_to_speak_of_are_those_that_are_there(folders):
    own, flat = (images.load_gallery(folders / name) for name in ("three classes", "flat 12"))
    assert own.stand_ins("old money", "car park") == ["old money", "car park"]
    assert own.stand_ins("cat", "car park", "dog", "fish") == ["Kätzchen", "car park", "old money", "Kätzchen"]
    assert flat.stand_ins("cat", "dog") == ["cat", "dog"]
    assert own.take([0, 1]).stand_ins("cat", "dog") == ["cat", "dog"]
    assert own.titles([0, 65]) == ["Kätzchen", "old money"] and flat.titles([0]) == [flat.paths[0].name]
    assert own.first("old money") == 44 and own.first("cat", otherwise=-1) == -1
    with pytest.raises(ValueError, match="no picture is of the class 'cat'.*for instance"):
        own.first("cat")


@pytest.mark.parametrize("folder, error", [("nowhere", FileNotFoundError), ("flat 1", ValueError)])
def test_a_wrong_folder_is_told_in_one_line(folders, folder, error, monkeypatch):
    monkeypatch.setenv("COURSE_PICTURES", str(folders / folder))
    with pytest.raises(error) as raised:
        images.load_pictures()
    (line,) = raised.value._render_traceback_()  # IPython shows this in place of the traceback
    assert line == f"{error.__name__}: {raised.value}"
