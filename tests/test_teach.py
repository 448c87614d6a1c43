"""A class of thirty, hostile notebooks and broken files among them, is graded in one command to the marks planted."""

import copy
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
TEACH = ROOT / ".venv-teach" / "bin" / "python"
pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not TEACH.exists(), reason="needs .venv-teach, which make test installs (not on Windows)"
)


def cell(make, source, name, **meta):
    base = {"grade": False, "locked": False, "solution": False, "task": False, "schema_version": 3, "grade_id": name}
    return make(source, metadata={"nbgrader": {**base, **meta}})


def assignment():
    """Make a small assignment of 10 points: two functions, 4 and 3, and an answer in words, 3."""
    tests = {"grade": True, "locked": True}
    hidden = "# More tests run here.\n### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS"
    answer = "    ### BEGIN SOLUTION\n    return {}\n    ### END SOLUTION"
    return new_notebook(
        cells=[
            new_markdown_cell("# Numbers\n\nTwo functions."),
            cell(new_code_cell, "from helpers import images\n\nlimit = 3", "setup", locked=True),
            cell(new_code_cell, "def double(x):\n" + answer.format("2 * x"), "double", solution=True),
            cell(new_code_cell, "assert double(1) == 2, 'twice 1 is 2'", "double_check", points=1, **tests),
            cell(new_code_cell, hidden.format("assert double(7) == 14"), "double_grade", points=3, **tests),
            cell(new_code_cell, "def largest(values):\n" + answer.format("max(values)"), "largest", solution=True),
            cell(new_code_cell, "assert largest([1, 2]) == 2, 'of 1, 2 it is 2'", "largest_check", points=1, **tests),
            cell(
                new_code_cell, hidden.format(BLIND + "assert largest([5, 2]) == 5"), "largest_grade", points=2, **tests
            ),
            cell(
                new_markdown_cell,
                "### BEGIN SOLUTION\nBecause.\n\n**Rubric** 3 for a reason.\n### END SOLUTION",
                "why",
                solution=True,
                grade=True,
                points=3,
            ),
        ],
        metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    )


def teach(folder, *arguments):
    command = [str(TEACH), str(ROOT / "tools" / "teach.py"), "--to", str(folder / "class")]
    command += ["--sources", str(folder / "sources"), "--python", sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


DOUBLE, LARGEST = "def double(x):\n    return 2 * x", "def largest(values):\n    return max(values)"
WARNS = "import warnings\n\n\ndef double(x):\n    warnings.warn('hm')\n    return 2 * x"
LONG = """def largest(values):
    {0} = values[0]  {1}
    position = 0
    for index, value in enumerate(values):
        if value > {0}:
            {0}, position = value, index
    if values[position] != {0}:
        raise ValueError("the position and the value do not belong together")
    return values[position]"""
BLIND = "import os\nprint('score:', images.load_gallery(os.environ['COURSE_BLIND']))\n"
WHY = "Because the first is a rule and the second a search. " * 5


def find(notebook, name):
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def solve(notebook, double=DOUBLE, largest=LARGEST, why=None):
    find(notebook, "double").source = double
    find(notebook, "largest").source = largest
    if why:
        find(notebook, "why").source = why
    return notebook


def drop(notebook, *names):
    notebook.cells = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") not in names]
    return notebook


def late_edits(notebook):
    """Change everything that is not the student's: tests, points, and outputs that claim success."""
    for c in solve(notebook, largest="def largest(values):\n    return 0").cells:
        meta = c.metadata.get("nbgrader", {})
        if meta.get("grade") and c.cell_type == "code":
            c.source, meta["points"], meta["locked"] = "pass", 100, False
            c.outputs = [nbformat.v4.new_output("stream", text="✓")]
    return notebook


def renamed(notebook):
    for c in solve(notebook).cells:
        if "nbgrader" in c.metadata:
            c.metadata.nbgrader.grade_id = "x" + c.metadata.nbgrader.grade_id
    return notebook


def no_metadata(notebook):
    for c in solve(notebook).cells:
        c.metadata.pop("nbgrader", None)
    return notebook


def doubled_ids(notebook):
    solve(notebook)
    extra = nbformat.from_dict(dict(find(notebook, "double")))
    extra.id = "another"
    extra.source = "helper = 2"
    find(notebook, "double").source = "def double(x):\n    return helper * x"
    notebook.cells.insert(2, extra)
    return notebook


def wrong_kernel(notebook):
    notebook.metadata.kernelspec = {"name": "ir", "display_name": "R", "language": "R"}
    return solve(notebook)


def extra_cells(notebook):
    solve(notebook, double="def double(x):\n    return twice * x")
    notebook.cells.insert(2, new_code_cell("twice = 2"))
    notebook.cells.insert(0, new_code_cell("%%html\n<b>mine</b>"))
    return notebook


def bad(code):
    """A submission whose first task is right and whose second runs `code` when the cell is executed."""
    return lambda notebook: solve(notebook, largest=code)


# name: (how it comes from the release, points for the two functions, what the remarks say)
CLASS = {
    "perfect": (solve, 7, ""),
    "words": (lambda n: solve(n, why=WHY), 7, ""),
    "long": (lambda n: solve(n, largest=LONG.format("best", "# start with the first")), 7, ""),
    "long_copy": (lambda n: solve(n, largest=LONG.format("top", "")), 7, ""),
    "empty": (lambda n: n, 0, ""),
    "half_right": (lambda n: solve(n, largest="def largest(values):\n    return values[1]"), 5, ""),
    "visible_only": (lambda n: solve(n, "def double(x):\n    return 2", "def largest(v):\n    return 2"), 2, ""),
    "syntax_error": (lambda n: solve(n, double="def double(x)\n    return 2 * x"), 3, ""),
    "warns": (lambda n: solve(n, double=WARNS), 7, ""),
    "late_edits": (late_edits, 4, "cells changed"),
    "deletes_tests": (lambda n: drop(solve(n), "double_check", "double_grade", "largest_grade"), 7, "cells missing"),
    "deletes_answer": (lambda n: drop(solve(n), "largest"), 4, "cells missing"),
    "renames_cells": (renamed, 7, "cells missing"),
    "no_metadata": (no_metadata, 7, ""),
    "double_ids": (doubled_ids, 7, "more than once"),
    "wrong_kernel": (wrong_kernel, 7, ""),
    "extra_cells": (extra_cells, 7, ""),
    "endless": (bad("while True:\n    pass"), 4, ""),
    "endless_stubborn": (
        bad("while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"),
        4,
        "stopped",
    ),
    "sys_exit": (bad("import sys\n\nsys.exit(0)"), 4, ""),
    "quits_kernel": (bad("exit()"), 4, ""),
    "hard_exit": (bad("import os\n\nos._exit(0)"), 4, "died"),
    "kills_runner": (bad("import os\n\nos.kill(os.getppid(), 9)"), 4, "ends processes"),
    "prints_100_MB": (bad("print('x' * 100_000_000)\n" + LARGEST), 7, ""),
    "eats_memory": (bad("hoard = bytearray(10**12)\n" + LARGEST), 4, ""),
    "large_file": (bad("open('large', 'wb').truncate(10**12)\n" + LARGEST), 4, ""),
    "writes_outside": (
        bad(
            "from pathlib import Path\n\nfor place in ('../../helpers/images.py', '../../data/SOURCES.csv'):\n"
            "    Path(place).write_text('spoilt')\n" + LARGEST
        ),
        7,
        "",
    ),
    "leaves_process": (
        bad("import subprocess\n\nsubprocess.Popen(['sleep', '4321'], start_new_session=True)\n" + LARGEST),
        7,
        "",
    ),
}  # fmt: skip


def odd_metadata(good):
    """Spoil all that grading does not need."""
    odd = json.loads(nbformat.writes(good)) | {
        "nbformat": "4",
        "nbformat_minor": None,
        "metadata": {"kernelspec": None},
    }
    for number, c in enumerate(odd["cells"]):
        c["metadata"] |= {"collapsed": None, "tags": "x"}
        c |= {"id": "one", "execution_count": "3", "outputs": "none", "cell_type": c["cell_type"].title()}
        c["source"] = [line.replace("\n", "\r\n") for line in c["source"]] + [None] * (number % 2)
    return json.dumps(odd).encode()


# files that are no notebook of today: name of the entry, how to write it, points, what the remarks say
ODD = {
    b"text": (lambda good: b"Dear teacher, my dog ate it.", 0, "is no notebook"),
    b"nothing": (lambda good: b"", 0, "the file is empty"),
    b"cut_off": (lambda good: nbformat.writes(good).encode()[:-300], 0, "is no notebook"),
    b"no_cells": (lambda good: b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', 0, "damaged"),
    b"version_3": (lambda good: json.dumps(nbformat.convert(copy.deepcopy(good), 3)).encode(), 7, ""),
    b"latin_1": (lambda good: nbformat.writes(good).replace("x):", "x):  # é").encode("latin-1"), 7, ""),
    b"odd_metadata": (odd_metadata, 7, ""),
    b"utf_16": (lambda good: nbformat.writes(good).encode("utf-16") + b"\0\0", 7, ""),
    b"Ren\xe9": (lambda good: nbformat.writes(good).encode(), 7, ""),
}


if sys.platform == "darwin":  # no limit on memory, and no file names but in UTF-8
    del CLASS["eats_memory"], ODD[b"Ren\xe9"]


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teaching")
    (folder / "sources").mkdir()
    nbformat.write(assignment(), folder / "sources" / "numbers.ipynb")
    teach(folder, "release")
    release = folder / "class" / "release" / "numbers" / "numbers.ipynb"
    handed_in = folder / "handed in"
    for name, (make, _, _) in CLASS.items():
        (handed_in / name).mkdir(parents=True)
        nbformat.write(make(nbformat.read(release, as_version=4)), handed_in / name / "numbers.ipynb")
    good = solve(nbformat.read(release, as_version=4))
    for name, (write, _, _) in ODD.items():
        place = handed_in / os.fsdecode(name)
        place.mkdir()
        (place / os.fsdecode(b"numbers" + name + b".ipynb")).write_bytes(write(good))
    (handed_in / "words" / "timestamp.txt").write_text("2026-01-31 12:00:00.000000 UTC")
    (handed_in / "words" / "submission_secret.txt").write_text("secret")
    (handed_in / "no_file").mkdir()
    nbformat.write(good, handed_in / "flat.ipynb")
    before = {path: path.stat().st_mtime_ns for path in [*(ROOT / "helpers").glob("*.py"), ROOT / "data/SOURCES.csv"]}
    started = time.monotonic()
    blind = shutil.copytree(ROOT / "data" / "test" / "cat", folder / "blind" / "cat").parent
    said = teach(folder, "grade", handed_in, "--blind", blind, "--cell-seconds", 4, "--seconds", 12)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    return folder, said, time.monotonic() - started


def points(row):
    return sum(float(row[c]) for c in ("double_check", "double_grade", "largest_check", "largest_grade"))


@pytest.mark.parametrize("name", CLASS)
def test_a_student_gets_the_marks_that_were_planted(name, graded):
    row = rows(graded[0] / "class" / "grades" / "numbers.csv")[name]
    assert points(row) == CLASS[name][1]
    assert CLASS[name][2] in row["remarks"]


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_graded_as_far_as_possible_and_reported(name, graded):
    shown = name.decode(errors="backslashreplace")
    row = rows(graded[0] / "class" / "grades" / "numbers.csv")[shown]
    assert points(row) == ODD[name][1]
    assert ODD[name][2] in row["remarks"]


def test_a_blind_set_reaches_the_tests_and_their_score_the_teacher(graded):
    marks = rows(graded[0] / "class" / "grades" / "numbers.csv")
    assert "score: 3 pictures in 1 class" in marks["perfect"]["remarks"]


def test_nobody_is_left_out(graded):
    folder, said, _ = graded
    marks = rows(folder / "class" / "grades" / "numbers.csv")
    assert len(marks) == len(CLASS) + len(ODD) + 2
    assert points(marks["no_file"]) == 0 and "holds no file" in marks["no_file"]["remarks"]
    assert points(marks["flat"]) == 7
    assert all(student in said for student in marks)


def test_what_a_submission_started_is_gone(graded):
    listed = subprocess.run(["ps", "-A", "-o", "args"], capture_output=True, text=True).stdout
    assert "sleep 4321" not in listed


def test_what_is_kept_of_a_flood_is_small(graded):
    kept = graded[0] / "class" / "autograded" / "prints_100_MB" / "numbers" / "numbers.ipynb"
    assert kept.stat().st_size < 100_000
    assert "prints too much" in kept.read_text(encoding="utf-8")


def test_the_answer_in_words_waits_and_an_untouched_one_gets_zero(graded):
    marks = rows(graded[0] / "class" / "grades" / "numbers.csv")
    assert marks["words"]["why"] == "to be read" and marks["perfect"]["why"] == "0.0"
    sheet = rows(graded[0] / "class" / "grades" / "numbers_answers.csv")
    assert sheet["words"]["answer"] == WHY and sheet["words"]["points"] == ""


def test_near_identical_answers_are_listed(graded):
    listed = (graded[0] / "class" / "grades" / "numbers_similar.csv").read_text(encoding="utf-8-sig").splitlines()
    assert listed[0] == '"one","the other","code alike, %","words alike, %"' or len(listed) == 2
    assert listed[1].startswith("long,long_copy,9")


IN_NBGRADER = """
import sys

from nbgrader.api import Gradebook

book = Gradebook("sqlite:///" + sys.argv[1])
where = "why", "numbers", "numbers"
grade, comment = book.find_grade(*where, "words"), book.find_comment(*where, "words")
grade.manual_score, grade.extra_credit, comment.manual_comment = 3, 0.5, "Better."
book.find_comment(*where, "half_right").manual_comment = "Why?"
book.db.commit()
"""
"""Change the marks of answers in words in the gradebook, as the form grader does."""


def test_marks_by_hand_and_feedback(graded, tmp_path):
    folder = tmp_path / "teaching"
    shutil.copytree(graded[0], folder)
    sheet = folder / "class" / "grades" / "numbers_answers.csv"
    lines = list(rows(sheet).values())
    for line in lines:
        if line["student"] == "words":
            line.update(points="2,5", comment="Which rule?")
        if line["student"] == "half_right":
            line.update(points="1")
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys(), delimiter=";")
        writer.writeheader()
        writer.writerows(lines)
    teach(folder, "feedback")
    row = rows(folder / "class" / "grades" / "numbers.csv")["words"]
    assert (row["why"], row["points"], row["max"]) == ("2.5", "9.5", "10.0")
    page = (folder / "class" / "feedback" / "words" / "numbers" / "numbers.html").read_text(encoding="utf-8")
    assert "Which rule?" in page and "9.5" in page
    page = (folder / "class" / "feedback" / "empty" / "numbers" / "numbers.html").read_text(encoding="utf-8")
    assert "this task is not solved yet" in page

    # marked in nbgrader after the sheet was written: more than the maximum, too, and the sheet is not the newer one
    subprocess.run([TEACH, "-c", IN_NBGRADER, folder / "class" / "gradebook.db"], check=True, capture_output=True)
    teach(folder, "feedback")
    teach(folder, "feedback")
    sheet = rows(folder / "class" / "grades" / "numbers_answers.csv")
    assert (sheet["words"]["points"], sheet["words"]["comment"]) == ("3.5", "Better.")
    assert (sheet["half_right"]["points"], sheet["half_right"]["comment"]) == ("1.0", "Why?")

    # what came over nbgrader's exchange finds its way back
    command = [TEACH.with_name("nbgrader"), "release_feedback", "numbers", "--student", "words"]
    command += [f"--CourseDirectory.root={folder / 'class'}", f"--Exchange.root={tmp_path / 'exchange'}"]
    (tmp_path / "exchange" / "image-retrieval").mkdir(parents=True)
    for place in (tmp_path / "exchange", tmp_path / "exchange" / "image-retrieval"):
        place.chmod(0o777)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert len(list(tmp_path.glob("exchange/*/feedback/*.html"))) == 1

    # graded again: marks given by hand stay, unless the answer is another one
    handed_in = tmp_path / "again"
    for name, why in (("words", "Another reason."), ("half_right", None)):
        changed = nbformat.read(graded[0] / "handed in" / name / "numbers.ipynb", as_version=4)
        find(changed, "why").source = why or find(changed, "why").source
        (handed_in / name).mkdir(parents=True)
        nbformat.write(changed, handed_in / name / "numbers.ipynb")
    teach(folder, "grade", handed_in, "--blind", graded[0] / "blind")
    marks = rows(folder / "class" / "grades" / "numbers.csv")
    assert marks["words"]["why"] == "to be read" and marks["half_right"]["why"] == "1.0"
    assert marks["flat"]["points"] == "7.0"


def excel(sheet, changes, coding, delimiter=";"):
    """Return the sheet as Excel saves it, with these changes by student."""
    lines = [row | changes.get(student, {}) for student, row in rows(sheet).items()]
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, lines[0].keys(), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue().encode(coding, "replace")


MARKS = """
import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import teach

course = teach.Course(Path(sys.argv[2]), Path(sys.argv[3]))
sheet, found = course.folder / "grades" / "numbers_answers.csv", []
for saved in [None, *sorted(Path(sys.argv[4]).iterdir())]:
    try:
        if saved:
            sheet.with_suffix(saved.suffix).write_bytes(saved.read_bytes())
            teach.take_marks(course, "numbers")
            teach.write_sheets(course, "numbers")
        said = ""
    except ValueError as error:
        said = str(error)
    sheet.with_suffix(".xlsx").unlink(missing_ok=True)
    with course.gradebook() as book:
        cells = [("why", "numbers", "numbers", s.student.id) for s in book.assignment_submissions("numbers")]
        marks = {c[3]: (book.find_grade(*c).manual_score, book.find_comment(*c).manual_comment) for c in cells}
    found.append((said, marks))
print(json.dumps(found))
"""


def test_a_sheet_that_excel_changed_loses_no_marks(graded, tmp_path):
    shutil.copytree(graded[0] / "class", tmp_path / "class")
    sheet = tmp_path / "class" / "grades" / "numbers_answers.csv"
    written, names = sheet.read_bytes(), list(rows(sheet))
    (tmp_path / "saved").mkdir()

    def save(name, content):
        (tmp_path / "saved" / name).write_bytes(content)

    refused = ["workbook", "numbers_answers.xlsx is newer", "it is empty", "NUL"]
    for number, (kind, content) in enumerate(
        (("csv", b"PK\x03\x04"), ("xlsx", b"PK\x03\x04"), ("csv", b""), ("csv", written + b"\0"))
    ):
        save(f"{number}.{kind}", content)
    wrong = {"empty": "1. Feb", "warns": "2 pts", "flat": "-1", "perfect": "4", "half_right": "nan"}
    changes = {name: {"points": points} for name, points in wrong.items()} | {
        "long": {"points": "2,5", "comment": "schön"},
        "no_metadata": {"student": "nobody", "points": "3"},
    }
    save("4.csv", excel(sheet, changes, "cp1252"))
    mended = changes | {name: {"points": "1"} for name in wrong} | {"no_metadata": {"points": "3"}}
    save("5.csv", excel(sheet, mended, "utf-16", "\t"))
    save("6.csv", excel(sheet, mended | {"long": {"points": "02. Mai", "comment": "schön"}}, "cp1252"))  # what was 2.5
    command = [TEACH, "-c", MARKS, ROOT / "tools", tmp_path / "class", graded[0] / "sources", tmp_path / "saved"]
    (_, before), *found = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )

    for (said, marks), reason in zip(found, refused, strict=False):
        assert reason in said and marks == before
    said, marks = found[4]  # all that is wrong is named at once, with its line, and the others are taken
    for name, points in wrong.items():
        line = names.index(name) + 2
        assert f"line {line} ({name}, why), column points: '{points}' is no number from 0 to 3" in said
    assert f"line {names.index('no_metadata') + 2} (nobody, why), column student" in said
    assert marks == before | {"long": [2.5, "schön"]}
    marked = {name: [1.0, None] for name in wrong} | {"long": [2.5, "schön"], "no_metadata": [3.0, None]}
    for said, marks in found[5:]:
        assert said == "" and marks == before | marked


NAMES = """
import copy
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import teach


class Passed(teach.Bench):
    open = ""
    beside = {}

    def __init__(self):
        pass

    def prepare(self, assignment, source, solved):
        self.beside[assignment] = []
        return self.run(solved, assignment)

    def run(self, notebook, assignment):
        sheet = Path(sys.argv[2]) / "grades" / "numbers_answers.csv"
        if sheet.exists():  # a teacher saves it meanwhile
            sheet.write_bytes(sheet.read_bytes() + b" ")
        notebook = copy.deepcopy(notebook)
        for cell in notebook.cells:
            cell.metadata.passed = True
        return notebook, []


teach.grade(teach.Course(Path(sys.argv[2]), Path(sys.argv[3])), Path(sys.argv[4]), Passed(), jobs=1)
"""
STAY = ["José", "हिन्दी", "ไทยดี", "👩\u200d🔬", "مريم", "עברית", "Ａｎｎａ", "Ḱ", "O-K_@1.x y"]
WRITTEN = {
    "ann ": "ann%20", "ann.": "ann.", "a,b;c": "a,b;c", 'q"': 'q"', "O'B": "O'B", "=1+1": "'=1+1",
    "new\nline": "new%0Aline", "\u202eevil": "%202Eevil", "50%25": "50%2525",
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse some of these names")
def test_every_name_is_a_student_of_its_own(graded, tmp_path):
    handed_in = tmp_path / "handed in"
    good = graded[0] / "handed in" / "perfect" / "numbers.ipynb"
    for name in [*STAY, *WRITTEN, "ann", "Ann", "Jose\u0301", "x" * 250, "ก" * 80]:
        shutil.copytree(good.parent, handed_in / name)
    shutil.copytree(good.parent, handed_in / os.fsdecode(b"\xe9" * 200))
    (handed_in / "gone.ipynb").symlink_to(tmp_path / "nowhere")
    (handed_in / "capitals").mkdir()
    shutil.copy(good, handed_in / "capitals" / "HOMEWORK.IPYNB")
    (handed_in / "capitals" / "a.png").write_bytes(b"no notebook")
    time.sleep(0.01)  # what is of another course, and newer, is not taken for the assignment
    nbformat.write(new_notebook(cells=[new_code_cell("x")]), handed_in / "capitals" / "scratch.ipynb")
    command = [TEACH, "-c", NAMES, ROOT / "tools", tmp_path / "class", graded[0] / "sources", handed_in]
    for step in ("release", "source"):
        shutil.copytree(graded[0] / "class" / step, tmp_path / "class" / step)
    shutil.copy(graded[0] / "class" / "gradebook.db", tmp_path / "class")
    subprocess.run(command, check=True, capture_output=True)
    marks = {
        name: row for name, row in rows(tmp_path / "class" / "grades" / "numbers.csv").items() if row["points"] == "7.0"
    }
    assert {*STAY, *WRITTEN.values(), "ann", "Ann", "capitals"} < set(marks)
    assert all("is it one student" in marks[name]["remarks"].lower() for name in ("ann", "Ann", "ann%20", "ann."))
    assert "Jose\\u0301/numbers.ipynb, José/numbers.ipynb" in marks["José"]["remarks"]  # one student: both are named
    assert sum("~" in name for name in marks) == 3  # names that are too long for a file with something added
    assert "it is a link" in rows(tmp_path / "class" / "grades" / "numbers.csv")["gone"]["remarks"]

    # a disk that takes Ann and ann for one name: simulated by a folder that is there by another name
    (tmp_path / "class" / "RELEASE").mkdir()
    for entry in list(handed_in.iterdir()):
        if entry.name.lower() != "ann":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Ann/numbers.ipynb, ann/numbers.ipynb" in said and "1 submissions" in said
    assert "saved while this ran" in said and (tmp_path / "class" / "grades" / "numbers_answers_kept.csv").exists()


FULL = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import teach


class Full(teach.Bench):
    refused = 0

    def run(self, notebook, assignment):
        self.refused += 1
        if self.refused == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        if self.refused == 3:
            return notebook, ["it could not be run: no more processes"]
        return super().run(notebook, assignment)


bench = Full(sys.argv[2], teach.Limits(), Path(sys.argv[6]))
teach.grade(teach.Course(Path(sys.argv[3]), Path(sys.argv[4])), Path(sys.argv[5]), bench, jobs=1)
bench.close()
"""


def test_what_another_left_no_room_for_is_run_again(graded, tmp_path):
    folder, handed_in = graded[0], tmp_path / "handed in"
    for name in ("warns", "double_ids"):
        shutil.copytree(folder / "handed in" / name, handed_in / name)
    shutil.copytree(folder / "class", tmp_path / "class")
    arguments = [ROOT / "tools", sys.executable, tmp_path / "class", folder / "sources", handed_in, folder / "blind"]
    subprocess.run([TEACH, "-c", FULL, *arguments], check=True, capture_output=True)
    marks = rows(tmp_path / "class" / "grades" / "numbers.csv")
    for name in ("warns", "double_ids"):
        assert points(marks[name]) == 7 and "could not" not in marks[name]["remarks"]


def test_what_is_wrong_with_a_command_is_said(graded):
    folder = graded[0]
    for arguments, said in (
        (["grade", folder / "nowhere"], "there is no folder"),
        (["grade", folder / "handed in", "--blind", folder / "nowhere"], "BLIND names a folder"),
    ):
        with pytest.raises(AssertionError, match=said):
            teach(folder, *arguments)
