"""What was handed in is read with bounds and never through a link; names and points are those of the right student."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import tracemalloc
import unicodedata
from pathlib import Path

import nbformat
import pytest
from test_teach import ROOT, TEACH, assignment, rows, solve

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import merge
import sheets
from handed_in import FILES, ask_who, collect, display_name, latest, read, read_file, student_id

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="grading needs Linux or macOS")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse some of these names")
GOOD = nbformat.writes(assignment())
TEMPLATES = {"numbers": merge.Template(assignment(), assignment())}
LETTERS = GOOD.replace('"grade_id": "', '"grade_id": "l_').replace("Two functions", "Two letters")
TWO = TEMPLATES | {"letters": merge.Template(*[nbformat.reads(LETTERS, as_version=4)] * 2)}


def put(place, content=GOOD):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


def found(folder, templates=TEMPLATES):
    submissions = collect(folder, templates)
    for submission in submissions:
        read(submission, folder, templates)
    return {(s.student, s.assignment): s for s in latest(submissions, folder)}


def one(folder):
    (submission,) = found(folder).values()
    return submission


# links, and what is no ordinary file


def a_socket(place, solution):
    here = Path.cwd()
    os.chdir(place.parent)  # the path of a socket must be short
    try:
        socket.socket(socket.AF_UNIX).bind(place.name)
    finally:
        os.chdir(here)


REFUSED = {
    "a link": lambda place, solution: place.symlink_to(solution),
    "a link to a folder": lambda place, solution: place.symlink_to(solution.parent),
    "a link to nothing": lambda place, solution: place.symlink_to("nowhere"),
    "a link to itself": lambda place, solution: place.symlink_to(place.name),
    "a link upwards": lambda place, solution: place.symlink_to(".."),
    "a link to a device": lambda place, solution: place.symlink_to("/dev/zero"),
    "a hard link": lambda place, solution: os.link(solution, place),
    "a pipe": lambda place, solution: os.mkfifo(place),
    "a socket": a_socket,
}


@pytest.mark.parametrize("where", ["ann/numbers.ipynb", "ann/1/2/numbers.ipynb", "ann.ipynb", "ann"])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_ordinary_file_is_refused_and_named(kind, where, tmp_path):
    solution = put(tmp_path / "solutions" / "numbers.ipynb")
    place = tmp_path / "handed in" / where
    place.parent.mkdir(parents=True)
    REFUSED[kind](place, solution)
    submission = one(tmp_path / "handed in")
    assert (submission.student, submission.assignment, submission.notebook) == ("ann", "numbers", None)
    assert (
        where in submission.remarks[0] and ("link" if "link" in kind else "no ordinary file") in submission.remarks[0]
    )


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_fine_beside_it_is_graded_and_said(kind, tmp_path):
    put(tmp_path / "handed in" / "ann" / "mine.ipynb")
    REFUSED[kind](tmp_path / "handed in" / "ann" / "other.ipynb", put(tmp_path / "solution.ipynb"))
    submission = one(tmp_path / "handed in")
    assert submission.notebook is not None and submission.file.name == "mine.ipynb"
    assert len(submission.remarks) == 1 and submission.remarks[0].startswith("ann/other.ipynb: it is")


def test_the_files_of_an_exchange_are_read_and_not_through_a_link(tmp_path):
    put(tmp_path / "h" / "ann" / "numbers.ipynb")
    put(tmp_path / "h" / "ann" / "timestamp.txt", "2026-01-31 12:00:00.000000 UTC")
    put(tmp_path / "h" / "ann" / "submission_secret.txt", "secret")
    assert one(tmp_path / "h").beside["submission_secret.txt"] == b"secret"
    for bad in (lambda place: place.symlink_to("/etc/passwd"), lambda place: place.write_bytes(b"x" * 20_000)):
        (tmp_path / "h" / "ann" / "timestamp.txt").unlink()
        bad(tmp_path / "h" / "ann" / "timestamp.txt")
        submission = one(tmp_path / "h")
        assert submission.beside == {} and submission.notebook is not None
    assert "ann/timestamp.txt: it is a link" in found_with_link(tmp_path).remarks[0]


def found_with_link(tmp_path):
    (tmp_path / "h" / "ann" / "timestamp.txt").unlink()
    (tmp_path / "h" / "ann" / "timestamp.txt").symlink_to("/etc/passwd")
    return one(tmp_path / "h")


@pytest.mark.parametrize("swapped", ["numbers.ipynb", "."])
def test_a_link_that_comes_between_finding_and_reading_is_not_followed(swapped, tmp_path):
    put(tmp_path / "solutions" / "numbers.ipynb")
    folder = tmp_path / "handed in"
    put(folder / "ann" / "numbers.ipynb", "{}")
    (submission,) = collect(folder, TEMPLATES)
    place = folder / "ann" / swapped
    place.rename(tmp_path / "away")
    place.symlink_to(tmp_path / "solutions" / ("numbers.ipynb" if swapped != "." else ""))
    read(submission, folder, TEMPLATES)
    assert submission.notebook is None and len(submission.remarks) == 1


def test_a_file_is_read_to_its_bound(tmp_path):
    put(tmp_path / "a" / "b", b"x" * 10)
    assert read_file(tmp_path, tmp_path / "a" / "b", 10) == b"x" * 10
    with pytest.raises(ValueError, match="larger than"):
        read_file(tmp_path, tmp_path / "a" / "b", 9)


def test_a_folder_without_end_is_looked_at_as_far_as_the_bounds_allow(tmp_path):
    put(tmp_path / "ann" / "numbers.ipynb")
    for number in range(FILES + 10):
        put(tmp_path / "ann" / "data" / f"{number}.ipynb", "")
    put(tmp_path / "ann" / "last" / "numbers.ipynb")
    put(tmp_path / "ben" / Path(*"a" * 40) / "numbers.ipynb")
    graded = found(tmp_path)
    assert graded["ann", "numbers"].file == tmp_path / "ann" / "numbers.ipynb"
    assert f"more than {FILES:,} files" in graded["ann", "numbers"].remarks[0]
    assert f"of {FILES - 2} notebooks in its folder, only 50 were looked at" in graded["ann", "numbers"].remarks
    assert graded["ben", "numbers"].notebook is None
    assert "not all were looked at" in graded["ben", "numbers"].remarks[0]


# which assignment


def test_what_is_no_notebook_has_a_row_where_its_assignment_can_be_told(tmp_path):
    for who in ("ann", "ben", "cem", "dan", "eve"):
        put(tmp_path / who / "numbers" / "mine.ipynb")
        put(tmp_path / who / "numbers" / "figure.png", b"x")
    put(tmp_path / "ann" / "letters" / "essay.pdf", b"%PDF")
    (tmp_path / "ben" / "letters").mkdir()
    put(tmp_path / "cem" / "My Letters, final.docx", b"PK")
    (tmp_path / "dan" / "letters").mkdir()
    (tmp_path / "dan" / "letters" / "x.ipynb").symlink_to(tmp_path)
    put(tmp_path / "fay_letters.pdf", b"%PDF")
    put(tmp_path / "gil" / "essay.pdf", b"%PDF")
    put(tmp_path / "hal" / "letters and numbers.pdf", b"%PDF")
    put(tmp_path / "ida" / "numbers_letters.ipynb", LETTERS)
    (tmp_path / "kim").mkdir()
    graded = found(tmp_path, TWO)
    assert {who for who, name in graded if name == "letters"} == {"ann", "ben", "cem", "dan", "fay_letters", "ida"}
    assert {who for who, name in graded if name == "numbers"} == {"ann", "ben", "cem", "dan", "eve"}
    assert {who for who, name in graded if not name} == {"gil", "hal", "kim"}
    for (who, name), submission in graded.items():
        is_good = name == "numbers" or who == "ida"
        assert (submission.notebook is not None) == (not submission.remarks) == is_good


@pytest.mark.parametrize(
    ("name", "of"), [("11_pixels", ""), ("1_pixels2", ""), ("1-Pixels!", "1_pixels"), ("1_pixels_b", "1_pixels_b")]
)
def test_an_assignment_is_told_by_the_name_of_a_file(name, of, tmp_path):
    templates = dict.fromkeys(("1_pixels", "1_pixels_b", "2_clip"), TEMPLATES["numbers"])
    put(tmp_path / "ann" / f"{name}.pdf", b"%PDF")
    assert list(found(tmp_path, templates)) == [("ann", of)]


# names

NAMES = [
    "O'Brien", "O’Brien", "Müller-Lüdenscheidt", "a, b; c", "Smith (Jr.)", "Ng&Co", "José", "مريم", "👩\u200d🔬",
    "=1+1", "+1", "-1", "@x", "＝1+1", "＋1", "－1", "＠x", "|x", 'q"', '"00', "∀", "<b>", "100%", "50%25",
    "'t Hooft", "'=1", "\\", "a\\b", "J.R.", "x~y", "5.", "(5)", "1:30", "1,5", "1E5", "00123", "true",
]  # fmt: skip
UNSEEN = ["ann ", " ann", "\tann", "new\nline", "\u202eevil", "\ufeffann", "\u00a0ann", "a\u00adb", "\u200bann"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_people_write_it(name):
    shown = display_name(student_id(name.encode()))
    assert shown == name or (name == "50%25" and shown == "50%2525")  # or it would be shown as 50% is written


@pytest.mark.parametrize("name", UNSEEN)
def test_what_is_not_seen_is_shown_as_a_number(name):
    shown = display_name(student_id(name.encode()))
    assert shown.isprintable() and shown.strip() == shown != name and "%" in shown


def test_another_name_is_another_id_and_is_shown_in_another_way():
    odd = [
        "ann",
        "ann ",
        "ann.",
        "ann..",
        "ann%20",
        "ann%2E",
        '"00',
        "∀",
        " 19x",
        "’x",
        "Ren\\xe9",
        "%u22-",
        "\u202e\u0301",
        "É",
    ]
    odd += [a + b + c for a in "'\"% \\.,&" for b in "2%’=＝u0\u202e" for c in "0AFx2é\u0301-'"]
    ids = {unicodedata.normalize("NFC", name): student_id(name.encode()) for name in odd + NAMES + UNSEEN}
    ids["invalid UTF-8"] = student_id(b"Ren\xe9")
    assert len(set(ids.values())) == len(set(map(display_name, ids.values()))) == len(ids)
    assert all(unicodedata.is_normalized("NFC", id) and "/" not in id and id == id.strip(" .") for id in ids.values())
    assert not {*map(display_name, ids.values())} & {*ids.values()} - {i for i in ids.values() if display_name(i) == i}


def test_an_id_that_a_class_has_already_stays():
    for name, written in {
        "O'Brien": "O%27Brien",
        "’t": "%2019t",
        "ann.": "ann%2E",
        "=1+1": "%3D1%2B1",
        "a,B": "a%2CB",
    }.items():
        assert student_id(name.encode()) == written


@pytest.mark.parametrize("name", ["%", "%FFFFFF", "%u110000-", "%41", "x%2", "~", "", "%uD800-"])
def test_an_id_that_is_none_of_ours_is_shown_as_it_is(name):
    assert display_name(name) == name


@only_linux
def test_names_that_are_nearly_the_same_are_asked_about(tmp_path):
    for name in ("ann", "ann ", "ann.", "Ann", "ａnn", "an\u200bn", "ben", "J.Smith", "J.Jones"):
        put(tmp_path / f"{name}.ipynb")
    put(tmp_path / "J.K")
    kept = list(found(tmp_path).values())
    ask_who(kept)
    asked = {display_name(s.student) for s in kept if any("Is it one student" in remark for remark in s.remarks)}
    assert asked == {"ann", "ann%20", "ann.", "Ann", "ａnn", "an%200Bn"}
    assert {s.student for s in kept} - {student_id(name.encode()) for name in asked} >= {
        "ben",
        "J.Smith",
        "J.Jones",
        "J.K",
    }
    assert not any("more than once" in remark for s in kept for remark in s.remarks)


# bounds of a notebook


def notebook(**changes):
    return json.loads(GOOD) | changes


def figures(megabytes):
    figure = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBORw0K" * 125_000}}
    changed = notebook()
    changed["cells"][2]["outputs"] = [figure] * megabytes
    return json.dumps(changed)


def lists(inside, count):
    return GOOD.replace("{", '{"x": [' + ",".join([inside] * count) + "],", 1)


BEYOND = {
    "empty objects": (lists("{}", 600_000), "more than 500,000 values"),
    "numbers": (lists("1.5", 600_000), "more than 500,000 values"),
    "keys": (json.dumps(notebook(x={str(n): 0 for n in range(600_000)})), "more than 500,000 values"),
    "deep": (lists("[" * 2000 + "]" * 2000, 1), "nested too deeply"),
    "deeper": ("[" * 10**6, "nested too deeply"),
    "cells": (json.dumps(notebook(cells=[{"cell_type": "code", "source": "x"}] * 2001)), "it has 2,001 cells"),
    "old cells": (json.dumps({"worksheets": [{"cells": [{}] * 1001}] * 2}), "it has 2,002 cells"),
    "text": (json.dumps(notebook(cells=[{"cell_type": "code", "source": "x" * 190_000}] * 30)), "5,000,000 characters"),
    "bytes": (" " * 64_000_001, "larger than 64 MB"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_a_notebook_beyond_the_bounds_has_a_row_and_is_told_what_to_do(name, tmp_path):
    put(tmp_path / "ann" / "numbers.ipynb", BEYOND[name][0])
    submission = one(tmp_path)
    assert submission.notebook is None and submission.assignment == "numbers"
    assert BEYOND[name][1] in submission.remarks[0]
    assert "deep" in name or "hand it in again" in submission.remarks[0]


def test_a_small_file_does_not_take_much_memory():
    content = lists("{}", 2_000_000).encode()
    tracemalloc.start()
    with pytest.raises(ValueError, match="values"):
        merge.parse(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(content)


@pytest.mark.parametrize(
    "content",
    [
        figures(20),
        json.dumps(notebook(metadata={"x": "{[,]}" * 400_000})),
        json.dumps(notebook(metadata={"x": '\\",[{' * 400_000})),
        lists("9" * 1_000_000, 1),
        lists('"' + "x" * 1_000_000 + '"', 2),
        lists("{}", 200_000),
    ],
    ids=["figures", "signs in a text", "quoted signs", "a long number", "a long text", "many values"],
)
def test_a_notebook_within_the_bounds_is_read(content, tmp_path):
    put(tmp_path / "ann" / "numbers.ipynb", content)
    assert one(tmp_path).recognised


def test_a_cell_that_is_too_long_is_left_out_and_named(tmp_path):
    changed = notebook()
    changed["cells"].append({"cell_type": "markdown", "metadata": {}, "source": ["x" * 100_000] * 3})
    put(tmp_path / "ann" / "numbers.ipynb", json.dumps(changed))
    submission = one(tmp_path)
    assert submission.recognised
    assert f"cell {len(changed['cells'])}, which has more than 200,000" in submission.notebook.metadata.unread[0]


def test_a_text_with_many_bytes_that_are_no_utf_8_is_read():
    source = merge.parse(b'{"cells": [{"source": "' + b"\xe9" * 150_000 + b'"}]}').cells[0].source
    assert source == "é" * 150_000


# the class: what is written, and what a person and a test gave

CLASS = """
import contextlib
import copy
import io
import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import teach


class Passed(teach.Bench):
    def __init__(self, ran, cell):
        self.ran, self.cell, self.open, self.beside = ran, cell, "", {}

    def prepare(self, assignment, source, solved):
        ran, self.ran = self.ran, ""
        prepared = self.run(solved, assignment)
        self.ran, self.beside[assignment] = ran, []
        return prepared

    def run(self, notebook, assignment):
        exec(self.ran)  # what a submission does
        notebook = copy.deepcopy(notebook)
        for cell in notebook.cells:
            cell.metadata.passed = True
            exec(self.cell)
        return notebook, []


def do(folder, command, ran, cell):
    course = teach.Course(folder / "class", folder / "sources")
    if command == "release":
        course.release()
    elif command == "grade":
        teach.grade(course, folder / "h", Passed(ran, cell), jobs=1)
    else:
        teach.take_marks(course, "numbers")
        teach.write_sheets(course, "numbers")


for line in sys.stdin:
    folder, *rest = json.loads(line)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            do(Path(folder), *rest)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    print(json.dumps(said.getvalue()), flush=True)
"""
teachers: dict[str, subprocess.Popen] = {}


def in_class(folder, command, ran="", cell=""):
    """Do what a command of the teacher does, in a process that stays, and return what it prints."""
    process = teachers["one"]
    process.stdin.write(json.dumps([str(folder), command, ran, cell]) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    if not TEACH.exists():
        pytest.skip("needs .venv-teach, which make test installs")
    command = [TEACH, "-W", "ignore", "-c", CLASS, ROOT / "tools"]
    teachers["one"] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    folder = tmp_path_factory.mktemp("handed_in")
    put(folder / "sources" / "numbers.ipynb")
    assert not in_class(folder, "release")
    yield folder
    teachers.pop("one").communicate()


@pytest.fixture
def folder(released, tmp_path):
    shutil.copytree(released, tmp_path, dirs_exist_ok=True)
    notebook = nbformat.read(tmp_path / "class" / "release" / "numbers" / "numbers.ipynb", as_version=4)
    for name in ("ann", "O'Brien"):
        put(tmp_path / "h" / name / "numbers.ipynb", nbformat.writes(solve(notebook, why="Because.\n- one")))
    return tmp_path


def marks(folder, name="numbers"):
    return rows(folder / "class" / "grades" / f"{name}.csv")


def tamper(folder, change):
    """Return code that changes the gradebook."""
    return f"import sqlite3; sqlite3.connect({str(folder / 'class' / 'gradebook.db')!r}).executescript({change!r})"


def mark(folder, **points):
    """Write points into the sheet of answers, and take them in."""
    sheet = folder / "class" / "grades" / "numbers_answers.csv"
    lines = [row | {"points": points.get(row["student"], row["points"])} for row in rows(sheet).values()]
    sheets.write(sheet, lines)
    return in_class(folder, "sheets")


def test_nothing_of_what_a_link_leads_to_reaches_the_class(folder):
    put(folder / "secret", "root:x:0")
    (folder / "h" / "ann" / "numbers.ipynb").unlink()
    (folder / "h" / "ann" / "numbers.ipynb").symlink_to(folder / "class" / "source" / "numbers" / "numbers.ipynb")
    for name in ("timestamp.txt", "submission_secret.txt"):
        (folder / "h" / "O'Brien" / name).symlink_to(folder / "secret")
    in_class(folder, "grade")
    assert marks(folder)["ann"]["points"] == "0.0" and "it is a link" in marks(folder)["ann"]["remarks"]
    assert (
        marks(folder)["O'Brien"]["points"] == "7.0"
        and "timestamp.txt: it is a link" in marks(folder)["O'Brien"]["remarks"]
    )
    assert not any(b"root:x:0" in path.read_bytes() for path in (folder / "class").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "place",
    [
        "autograded/ann", "autograded/ann/numbers", "autograded/ann/numbers/numbers.ipynb", "feedback/ann",
        "feedback/ann/numbers/numbers.html", "remarks/numbers/ann.json", "remarks/numbers", "grades/numbers.csv",
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["grade", "sheets"])
def test_a_link_in_the_class_is_not_followed(place, command, folder):
    in_class(folder, "grade")
    elsewhere = put(folder / "elsewhere" / "numbers" / "numbers.ipynb", "mine").parent.parent
    for name in ("ann.json", "numbers.html", "numbers.csv"):
        put(elsewhere / name, "mine")
    link = folder / "class" / place
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.exists():
        shutil.rmtree(link) if link.is_dir() else link.unlink()
    link.symlink_to(elsewhere if not link.suffix else elsewhere / "numbers" / "numbers.ipynb")
    printed = in_class(folder, command)
    assert "Error" not in printed
    assert sorted(path.read_text() for path in elsewhere.rglob("*") if path.is_file()) == ["mine"] * 4
    assert not link.is_symlink() and {"ann", "O'Brien"} == set(marks(folder))
    said = printed + " ".join(row["remarks"] for row in marks(folder).values())
    assert f"{place} was a link" in said or (place.startswith("feedback") and command == "grade") or "grades" in place


@pytest.mark.parametrize("place", ["autograded", "grades", "remarks", "feedback", "gradebook.db"])
def test_a_link_in_place_of_what_is_written_is_refused(place, folder):
    if (folder / "class" / place).exists():
        (folder / "class" / place).rename(folder / place)
    (folder / "class" / place).symlink_to(folder / place)
    assert f"class/{place} is a link" in in_class(folder, "grade")


def test_a_class_of_before_keeps_its_names_and_marks(folder):
    in_class(folder, "grade")
    mark(folder, ann="1")
    for name in ("grades/numbers_answers.csv", "remarks/numbers/answers.csv"):  # as they were written then
        sheet = folder / "class" / name
        sheet.write_text(sheet.read_text(encoding="utf-8-sig").replace("O'Brien", "O%27Brien"), encoding="utf-8-sig")
    assert "O%27Brien" in marks(folder, "numbers_answers")
    assert not mark(folder, **{"O%27Brien": "2.5"})
    assert marks(folder)["O'Brien"]["why"] == "2.5" and marks(folder)["ann"]["why"] == "1.0"
    in_class(folder, "grade")
    assert set(marks(folder)) == {"ann", "O'Brien"} and marks(folder)["O'Brien"]["why"] == "2.5"


@only_linux
def test_every_name_comes_back_from_the_sheet(folder):
    notebook = (folder / "h" / "ann" / "numbers.ipynb").read_text()
    names = [*NAMES, *UNSEEN, "ann.", "Ann"]
    for name in names:
        put(folder / "h" / name / "numbers.ipynb", notebook)
    in_class(folder, "grade")
    sheet = folder / "class" / "grades" / "numbers_answers.csv"
    given = {name: f"{1 + number / 100:.2f}" for number, name in enumerate(rows(sheet))}
    lines = [row | {"points": given[row["student"]]} for row in rows(sheet).values()]
    with sheet.open("w", encoding="utf-16", newline="") as file:  # as Excel's Unicode Text, each cell as it stands
        writer = csv.DictWriter(file, lines[0].keys(), delimiter="\t")
        writer.writeheader()
        writer.writerows(lines)
    assert not in_class(folder, "sheets")
    assert {name: f"{float(row['why']):.2f}" for name, row in marks(folder).items()} == given
    as_text = {name.removeprefix("'") if sheets.FORMULA.match(name) else name for name in given}
    assert as_text == {display_name(student_id(name.encode())) for name in [*names, "ann", "O'Brien"]}


TAMPERED = {
    "above the maximum": ("UPDATE grade SET manual_score = 99", "99.0 by hand"),
    "below nothing": ("UPDATE grade SET manual_score = -1", "-1.0 by hand"),
    "no number": ("UPDATE grade SET manual_score = 'x'", "x by hand"),
    "without end": ("UPDATE grade SET manual_score = 9e999", "inf by hand"),
    "extra credit": ("UPDATE grade SET extra_credit = 400", "400.0 of extra credit"),
    "a test": ("UPDATE grade SET auto_score = 99", "99.0 by its test"),
    "no test": ("UPDATE grade SET auto_score = NULL, needs_manual_grade = 1", "None by its test"),
    "the maximum": ("UPDATE grade_cells SET max_score = 100", ""),
    "the maximum and points": (
        "UPDATE grade_cells SET max_score = 100; UPDATE grade SET manual_score = 99",
        "99.0 by hand",
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_points_that_cannot_be_are_not_taken_and_named(name, folder):
    change, said = TAMPERED[name]
    in_class(folder, "grade")
    mark(folder, ann="2")
    exec(tamper(folder, change))
    printed = in_class(folder, "sheets")
    assert ("another maximum of double_grade" in printed) == ("maximum" in name[:12])
    for _ in range(2):  # it is said as long as the marks stand
        for row in marks(folder).values():
            assert row["max"] == "10.0" and ("double_grade: " + said in row["remarks"]) == bool(said)
        assert marks(folder)["ann"]["points"] == "9.0" and marks(folder)["O'Brien"]["points"] == "7.0"
        assert marks(folder)["O'Brien"]["why"] == "to be read"
        assert not in_class(folder, "sheets")


@pytest.mark.parametrize("change", ["manual_score = 1", "manual_score = 99", "extra_credit = 1", "auto_score = 99"])
def test_what_a_submission_writes_into_the_gradebook_is_not_taken(change, folder):
    in_class(folder, "grade")
    mark(folder, ann="2")
    shutil.rmtree(folder / "h" / "O'Brien")  # graded before, and not now
    code = "(SELECT id FROM base_cell WHERE name != 'why')"
    in_class(folder, "grade", ran=tamper(folder, f"UPDATE grade SET {change} WHERE cell_id IN {code}"))
    for name, points in (("ann", "9.0"), ("O'Brien", "7.0")):
        assert marks(folder)[name]["points"] == points
        assert "stood in the gradebook" in marks(folder)[name]["remarks"] or (name, change[0]) == ("ann", "a")


@pytest.mark.parametrize(
    "cell", ["cell.metadata.get('nbgrader', {})['points'] = 100", "cell.metadata.nbgrader.solution = True"]
)
def test_points_that_a_submission_claims_in_its_notebook_are_not_taken(cell, folder):
    in_class(folder, "grade", cell=f"if cell.metadata.get('nbgrader', {{}}).get('grade'): {cell}")
    assert all(float(row["points"]) <= 7 and row["max"] == "10.0" for row in marks(folder).values())
    assert all("double" in row["remarks"] for row in marks(folder).values())


def test_what_a_person_gave_in_the_form_grader_counts_and_is_named(folder):
    in_class(folder, "grade")
    words, code = (f"(SELECT id FROM base_cell WHERE name = '{name}')" for name in ("why", "double_grade"))
    change = f"UPDATE grade SET manual_score = 3, extra_credit = 0.5, needs_manual_grade = 0 WHERE cell_id IN {words};"
    exec(tamper(folder, change + f"UPDATE grade SET manual_score = 1 WHERE cell_id IN {code}"))
    for command in ("sheets", "grade", "sheets"):
        in_class(folder, command)
        for row in marks(folder).values():
            assert (row["why"], row["double_grade"], row["points"]) == ("3.5", "1.0", "8.5")
            assert row["remarks"] == "double_grade: 1 points by hand, and its test gave 3"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": 5}', "not utf-8", "without metadata", "odd metadata"])
def test_a_notebook_that_was_damaged_in_the_class_stops_nobody(content, folder):
    in_class(folder, "grade")
    place = folder / "class" / "autograded" / "ann" / "numbers" / "numbers.ipynb"
    odd = json.loads(place.read_text())
    for cell in odd["cells"]:
        cell["metadata"] = {"nbgrader": 5}
        if content == "without metadata":
            del cell["metadata"]
    put(place, {"not utf-8": b"\xff"}.get(content, json.dumps(odd) if "metadata" in content else content))
    assert not mark(folder, **{"O'Brien": "2"})
    assert marks(folder)["O'Brien"]["points"] == "9.0" and marks(folder)["ann"]["points"] == "7.0"
    assert "autograded/ann/numbers/numbers.ipynb is damaged" in marks(folder)["ann"]["remarks"]
    shutil.rmtree(folder / "h" / "ann")
    assert "Error" not in in_class(folder, "grade")


@pytest.mark.parametrize(
    "python, program", [(sys.executable, "run_submission"), (TEACH, "teach")], ids=["run", "teach"]
)
def test_no_parser_of_addresses_is_made_for_each_submission(python, program):
    """It would take most of the time in which a program of the grading starts."""
    if not Path(python).exists():
        pytest.skip("needs .venv-teach, which make test installs")
    code = f"import sys; sys.path.insert(0, sys.argv[1]); import {program}; sys.exit('lark' in sys.modules)"
    subprocess.run([python, "-c", code, ROOT / "tools"], check=True)
