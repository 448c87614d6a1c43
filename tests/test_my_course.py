"""The reader's copies: without outputs, made once, never overwritten, and every link in them leads somewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from stubs import exercises, read

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import my_course  # noqa: E402

SOURCES = ROOT / "notebooks"
LESSONS = sorted(path.name for path in SOURCES.glob("*.ipynb"))


def second(lesson, number=2):
    return lesson.replace(".ipynb", f"_{number}.ipynb")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def copies(tmp_path):
    """A folder for copies, as my_course/ is one beside notebooks/."""
    return tmp_path / "my_course"


def as_in_lesson(source):
    """Return a text of a copy as its lesson has it: the assignments lie beside the lessons, not beside the copies."""
    return source.replace("../notebooks/assignments/", "assignments/")


@pytest.fixture
def lessons(tmp_path):
    """Three small lessons, to spoil."""
    folder = tmp_path / "lessons"
    folder.mkdir()
    for name in ("00_start", "01_pixels", "02_clip"):
        cells = [
            nbformat.v4.new_markdown_cell("[next](01_pixels.ipynb#a-part), [graded](assignments/1.ipynb)", id="a"),
            nbformat.v4.new_code_cell("1 + 1", id="b", execution_count=7, metadata={"tags": ["exercise"]}),
        ]
        cells[1].outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=7)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    return folder


def test_a_copy_is_the_lesson_without_outputs_and_counts(copies):
    assert my_course.make(SOURCES, copies) == (LESSONS, [])
    assert sorted(contents(copies)) == LESSONS
    for lesson in LESSONS:
        copy, source = (nbformat.read(folder / lesson, as_version=4) for folder in (copies, SOURCES))
        nbformat.validate(copy)
        assert copy.metadata == source.metadata
        kept = [cell for cell in source.cells if "colab" not in cell.metadata.get("tags", [])]
        assert len(kept) == len(source.cells) - 1
        for mine, theirs in zip(copy.cells, kept, strict=True):
            assert (mine.id, mine.metadata, as_in_lesson(mine.source)) == (theirs.id, theirs.metadata, theirs.source)
            assert mine.get("outputs", []) == [] and mine.get("execution_count") is None
        assert [cell.source for cell in exercises(copy.cells)] == [cell.source for cell in exercises(source.cells)]


def test_what_is_there_is_never_overwritten_and_what_is_missing_is_made(copies):
    my_course.make(SOURCES, copies)
    empty, changed, renamed, folder, *_ = LESSONS
    (copies / empty).write_bytes(b"")
    (copies / changed).write_text("my own notes")
    (copies / renamed).rename(copies / "mine.ipynb")
    (copies / folder).unlink()
    (copies / folder).mkdir()
    before = contents(copies)
    assert my_course.make(SOURCES, copies) == ([renamed], [])
    assert my_course.make(SOURCES, copies) == ([], [])
    after = contents(copies)
    assert after.pop(renamed) == before["mine.ipynb"] and after == before
    assert (copies / folder).is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own")
def test_a_link_that_leads_nowhere_is_left_alone(lessons, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "01_pixels.ipynb").symlink_to(tmp_path / "gone.ipynb")
    assert my_course.make(lessons, tmp_path / "mine") == (["00_start.ipynb", "02_clip.ipynb"], [])
    assert (tmp_path / "mine" / "01_pixels.ipynb").is_symlink() and not (tmp_path / "gone.ipynb").exists()


def test_fresh_copies_stand_beside_the_old_ones_each_time(copies):
    assert my_course.make(SOURCES, copies, fresh=True) == (LESSONS, [])  # there were none: these are the first
    for lesson in LESSONS:
        (copies / lesson).write_text("worked in")
    for number in (2, 3):
        before = contents(copies)
        assert my_course.make(SOURCES, copies, fresh=True) == ([second(lesson, number) for lesson in LESSONS], [])
        after = contents(copies)
        assert before.items() < after.items() and len(after) == number * len(LESSONS)
    (copies / LESSONS[0]).unlink()
    (copies / second(LESSONS[1])).unlink()
    assert my_course.make(SOURCES, copies) == ([LESSONS[0]], [])
    assert my_course.make(SOURCES, copies, fresh=True)[0][0] == second(LESSONS[0], 4)


def links(path):
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    found = re.findall(r'(?:\]\(|\b(?:href|src)=")([^)"\s]+\.\w+)(?:#[\w-]*)?[)"\s]', text)
    return [link for link in found if not re.match(r"\w+:", link)]


def leads(link, copies):
    """Tell whether a link leads to a file, from where my_course/ is."""
    return Path(os.path.normpath(ROOT / "my_course" / link) if link.startswith("../") else copies / link).exists()


def test_every_link_leads_to_a_file_and_a_lesson_of_the_same_set(copies):
    my_course.make(SOURCES, copies)
    my_course.make(SOURCES, copies, fresh=True)
    for lesson in LESSONS:
        first, other = links(copies / lesson), links(copies / second(lesson))
        assert first and [as_in_lesson(link) for link in first] == links(SOURCES / lesson)
        assert other == [second(link) if link in LESSONS else link for link in first]
        assert [link for link in first + other if not leads(link, copies)] == []


@pytest.mark.parametrize("source, first, other", [
    ("[a](01_a.ipynb)", "[a](01_a.ipynb)", "[a](01_a_2.ipynb)"),
    ("[a](./01_a.ipynb#part) 01_a.ipynb", "[a](01_a.ipynb#part) 01_a.ipynb", "[a](01_a_2.ipynb#part) 01_a.ipynb"),
    ('<a href="01_a.ipynb">', '<a href="01_a.ipynb">', '<a href="01_a_2.ipynb">'),
    ("[a](assignments/1_a.ipynb)", *["[a](../notebooks/assignments/1_a.ipynb)"] * 2),
    ("[broken](02_b.ipynb)", *["[broken](../notebooks/02_b.ipynb)"] * 2),
    *[(same, same, same) for same in (
        "[a](../docs/glossary.md#gallery)", "![a](../docs/a.png)", "[a](#part)", "[a](https://x.org/01_a.ipynb)",
        "`CHANGES['mirrored'](picture)`", "[a](../notebooks/01_a.ipynb)", "![a](attachment:a.png)",
    )],
])  # fmt: skip
def test_links_lead_where_they_led(source, first, other):
    text = nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source)]))
    for number, expected in ((1, first), (2, other)):
        made = my_course.without_outputs(text, number, ["01_a.ipynb"])
        assert nbformat.reads(made, as_version=4).cells[0].source == expected


def test_a_copy_needs_no_name_that_only_the_cell_for_colab_gives(copies, tmp_path):
    my_course.make(SOURCES, copies)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", copies]
    assert subprocess.run(command, capture_output=True).returncode == 0
    spoilt = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("os.getcwd()")])
    nbformat.write(spoilt, copies / LESSONS[0])
    assert subprocess.run(command, capture_output=True).returncode == 1


@pytest.mark.parametrize("broken", [
    b"", b"<<<<<<< HEAD\n{}", b"[]", b"{}", b'{"cells": 3}', b'{"cells": [3]}', b'{"cells": [{}]}', b"\xff\xfe",
    b'{"cells": [{"cell_type": "markdown", "source": [3]}]}',
    b'{"cells": [{"cell_type": "markdown", "source": "\\ud800"}]}',
])  # fmt: skip
def test_a_broken_lesson_is_named_and_the_others_are_made(broken, lessons, tmp_path):
    (lessons / "01_pixels.ipynb").write_bytes(broken)
    for fresh in (False, True):
        made, (problem,) = my_course.make(lessons, tmp_path / "mine", fresh=fresh)
        assert [name[:2] for name in made] == ["00", "02"]
        assert problem.startswith("01_pixels.ipynb cannot be read as a notebook")
    assert len(contents(tmp_path / "mine")) == 4


def test_a_lesson_that_is_mended_or_new_is_added(lessons, tmp_path):
    whole = (lessons / "01_pixels.ipynb").read_bytes()
    (lessons / "01_pixels.ipynb").write_bytes(whole[:100])
    my_course.make(lessons, tmp_path / "mine")
    (lessons / "01_pixels.ipynb").write_bytes(whole)
    (lessons / "03_new.ipynb").write_bytes(whole)
    assert my_course.make(lessons, tmp_path / "mine") == (["01_pixels.ipynb", "03_new.ipynb"], [])


def test_a_copy_that_cannot_be_finished_leaves_nothing_behind(lessons, tmp_path, monkeypatch):
    def full(path, *_, **__):
        path.write_bytes(b'{"cells": [')
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        made, (problem,) = my_course.make(lessons, tmp_path / "mine")
    assert made == [] and "No space left" in problem and contents(tmp_path / "mine") == {}
    assert len(my_course.make(lessons, tmp_path / "mine")[0]) == 3


def test_another_file_that_comes_first_keeps_its_place(lessons, tmp_path):
    (tmp_path / "mine.ipynb").write_text("mine")
    assert not my_course.put("theirs", tmp_path / "mine.ipynb")
    assert contents(tmp_path) == {"mine.ipynb": b"mine"}


def test_copies_of_a_read_only_lesson_can_be_worked_in(lessons, tmp_path):
    for path in lessons.iterdir():
        path.chmod(0o444)
    my_course.make(lessons, tmp_path / "mine")
    assert all(path.stat().st_mode & 0o200 for path in (tmp_path / "mine").iterdir())


def test_no_lessons_and_no_folder_are_said_in_words(lessons, tmp_path):
    (tmp_path / "file").write_text("")
    assert my_course.make(tmp_path / "nowhere", tmp_path / "mine")[1] == [
        f"There are no lessons in {tmp_path / 'nowhere'}."
    ]
    made, (problem,) = my_course.make(lessons, tmp_path / "file")
    assert made == [] and problem.startswith("Copies cannot be written to ")


def call(*arguments):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "my_course.py", *arguments], capture_output=True, text=True, encoding="utf-8"
    )
    return done.returncode, done.stdout, done.stderr


def test_the_program_says_what_it_made(tmp_path):
    to = ["--to", tmp_path / "mine"]
    code, said, wrong = call(*to)
    assert (code, wrong) == (0, "") and said == (
        f"New in mine/, without outputs: {', '.join(LESSONS)}. They are never overwritten.\n"
    )
    assert call(*to) == (0, "", "")
    code, said, wrong = call("--fresh", *to)
    assert (code, wrong) == (0, "") and second(LESSONS[0]) in said and "as they were" in said
    (tmp_path / "file").write_text("")
    code, said, wrong = call("--to", tmp_path / "file")
    assert (code, said) == (1, "") and wrong.startswith("Copies cannot be written") and wrong.count("\n") == 1


def test_a_check_works_in_a_copy_and_says_what_the_lesson_says(tmp_path):
    """Run what an exercise needs in a copy, in the folder of the copies: the helpers are found from there too."""
    my_course.make(SOURCES, tmp_path / "mine")
    lesson = tmp_path / "mine" / next(name for name in LESSONS if name.startswith("01"))
    notebook = nbformat.read(lesson, as_version=4)
    imports = nbformat.v4.new_code_cell("import numpy as np\nfrom helpers import lab")
    (exercise,) = [cell for cell in exercises(notebook.cells) if cell.source.startswith("def my_l2(")]
    _, stub, check = read(exercise)
    notebook.cells = [imports, nbformat.v4.new_code_cell(f"{stub}\n\n\n{check}")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path / "mine"}}).execute(env=environment)
    assert "Not solved yet" in json.dumps(notebook.cells[1].outputs, ensure_ascii=False)


def test_make_opens_the_copies_and_cleaning_leaves_them():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = dict(re.findall(r"^(\w+):.*\n((?:\t.*\n)+)", text, re.MULTILINE))
    assert rules["lab"].index("tools/my_course.py") < rules["lab"].index("/lab/tree/my_course/00_start_here.ipynb")
    assert "tools/my_course.py --fresh" in rules["fresh"]
    assert "my_course" not in rules["clean"]
    assert "my_course/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
