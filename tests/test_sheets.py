"""Sheets as Excel saves them, and notebooks with odd metadata, are read right or refused in words."""

import codecs
import copy
import csv
import io
import json
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import merge
import sheets

COLUMNS = ("student", "task", "max", "points", "comment", "answer")


def known(*students, points="", comment=""):
    """What was written last for these students."""
    row = {"task": "why", "max": "3.0", "points": points, "comment": comment}
    return {(s, "why"): {**row, "student": s, "answer": f"Größe, says {s}"} for s in students}


def saved(*rows, sep=",", coding="utf-8", header=COLUMNS, end="\r\n"):
    """Save rows as a spreadsheet program does."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=sep, lineterminator=end)
    writer.writerows([header, *rows])
    return file.getvalue().encode(coding)


def line(student, points="2,5", comment="", answer="text"):
    return student, "why", "3", points, comment, answer


def read(tmp_path, content, those=None):
    (tmp_path / "sheet.csv").write_bytes(content)
    return sheets.read(tmp_path / "sheet.csv", those)


JOSE = line("José", comment="schön,\ndas; ja", answer="Größe, says José")


@pytest.mark.parametrize("sep", [",", ";", "\t"])
@pytest.mark.parametrize(
    "coding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "mac_roman", "cp850"]
)
def test_every_coding_and_separator_of_excel_is_read(coding, sep, tmp_path):
    sheet = read(tmp_path, saved(JOSE, sep=sep, coding=coding), known("José"))
    row = sheet.rows["José", "why"]
    assert (row["points"], row["comment"], sheet.wrong) == ("2,5", "schön,\ndas; ja", [])
    assert ("schön" in "".join(sheet.said)) == (coding in ("cp1252", "mac_roman", "cp850"))  # a guess is said


@pytest.mark.parametrize(
    ("name", "coding"), [("Анна", "cp1251"), ("王", "gbk"), ("田中", "cp932"), ("Łukasz", "cp1250")]
)
def test_the_coding_of_another_country_is_told_by_what_was_written(name, coding, tmp_path):
    sheet = read(tmp_path, saved(line(name), coding=coding), known(name))
    assert list(sheet.rows) == [(name, "why")] and not sheet.wrong


@pytest.mark.parametrize(
    "content",
    [
        b"sep=;\r\n" + saved(line("ann"), sep=";"),
        saved(line("ann"), end="\r"),
        saved(line("ann"), end="\n"),
        saved(line("ann"), header=[" Student", "TASK ", "Max", "Points", "Comment", "ANSWER"]),
        saved(("x", "2,5", "why", "ann"), sep=";", header=["comment", "points", "task", "student"]),
        saved((*line("ann"), "", ""), ("",) * 8, header=(*COLUMNS, "", "")),
        saved(line("ann"), header=["My class"]).replace(
            b"class\r\n", b"class\r\n" + ",".join(COLUMNS).encode() + b"\r\n"
        ),
        saved(line("ann")).decode().encode("utf-8-sig").decode("cp1252").encode("utf-8"),
        codecs.BOM_UTF16_BE + saved(line("ann"), sep="\t", coding="utf-16-be"),
        saved(line("ann", answer="x" * 200_000)),
    ],
)
def test_the_form_of_a_sheet_does_not_matter(content, tmp_path):
    sheet = read(tmp_path, content, known("ann"))
    assert sheets.number(sheet.rows["ann", "why"]["points"]) == 2.5 and not sheet.wrong + sheet.said


MANGLED = [
    ("00123", "123"), ("1E5", "100000"), ("1E5", "1,00E+05"), ("1E5", "1.00E+05"), ("123456789012345", "1,23457E+14"),
    ("123456789012345678", "123456789012345000"), ("3-4", "03. Apr"), ("3-4", "4-Mar"), ("3-4", "03.04.2026"),
    ("3-4", "2026-03-04"), ("mar1", "1. Mrz"), ("1.50", "1,5"), ("1.5", "01. Mai"), ("true", "WAHR"), ("false", "FAUX"),
    ("हिन्दी", "??????"), ("Łukasz", "?ukasz"), ("👩\u200d🔬", "???"), ("👩\u200d🔬", "?????"), ("Ann", "ann"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shown"), MANGLED)
def test_what_excel_made_of_a_name_is_undone_and_said(name, shown, tmp_path):
    sheet = read(tmp_path, saved(line(shown), line("other")), known(name, "other"))
    assert set(sheet.rows) == {(name, "why"), ("other", "why")} and not sheet.wrong
    assert len(sheet.said) == 1 and all(
        word in sheet.said[0] for word in ("line 2", "column student", repr(name), "Excel")
    )


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["123", "00123"], ["123", "123"]),
        (["123", "00123"], ["123"]),
        (["1E5", "100000"], ["1,00E+05"]),
        (["202310010001", "202310010002"], ["2,0231E+11"]),
        (["3-4", "4-3"], ["03. Apr"]),
        (["José", "Josè"], ["Jos?"]),
        (["ann"], ["#NAME?"]),
        (["ann"], [""]),
    ],
)
def test_a_name_that_cannot_be_told_is_left_out_with_excel_and_the_column_named(names, shown, tmp_path):
    sheet = read(tmp_path, saved(*map(line, shown), line("other")), known(*names, "other"))
    assert list(sheet.rows) == [("other", "why")]
    assert len(sheet.wrong) == len(shown)
    assert all("Excel" in said and "column student" in said and "line" in said for said in sheet.wrong)


def test_names_that_stand_as_they_are_need_no_guess(tmp_path):
    sheet = read(tmp_path, saved(line("123", "1"), line("00123", "2")), known("123", "00123"))
    assert [row["points"] for row in sheet.rows.values()] == ["1", "2"] and not sheet.wrong + sheet.said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04rest of a workbook", "workbook"),
        (b"\xd0\xcf\x11\xe0rest of an old workbook", "workbook"),
        (b"", "empty"),
        (b"\r\n \r\n", "empty"),
        (saved(line("ann")) + b"\0", "NUL"),
        (saved(line("ann"), coding="utf-16") + b"x", "damaged"),
        (saved(line("ann", comment="März"), coding="mac_roman"), "Excel saved it in a coding"),
        (bytes(range(1, 256)), "Excel"),
        (b"<html><table><tr><td>2</td></tr></table></html>", "no line has the columns"),
        (b'"student,task,points"\r\n"ann,why,2"\r\n', "all into one column"),
        (saved(("ann", "why"), header=["student", "task"]), "column 'points' is missing"),
        (saved(("ann", "why", "1", "2"), header=["student", "task", "points", "Points"]), "missing or there twice"),
        (saved(line("ann")).replace(b"text", b'"text'), "line 2: a quotation mark"),
        (saved(*[line("zoe")] * 600), "is it the sheet of this class"),
        (b"x" * 50_000_001, "larger than 50 MB"),
    ],
)  # fmt: skip
def test_what_is_no_sheet_is_refused_in_a_sentence(content, said, tmp_path):
    with pytest.raises(ValueError, match=said) as refused:
        read(tmp_path, content, known("ann"))
    assert "sheet.csv" in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["ann,why,3,2,x,a", "ann,why,3,1,x,a"], "there already in line 2"),
        (["ann,why,3,1,5,,a"], "number of cells"),
        (["ann,why,3,1,5"], "number of cells"),
        (["ann,what,3,1,,a"], "column task"),
        (["zoe,why,3,1,,a"], "column student"),
    ],
)
def test_a_row_that_is_wrong_costs_no_other(rows, said, tmp_path):
    content = "\r\n".join([",".join(COLUMNS), *rows, "ben,why,3,2,,b"]).encode()
    sheet = read(tmp_path, content, known("ann", "ben"))
    assert list(sheet.rows) == [("ben", "why")] and said in sheet.wrong[0]


def test_a_row_without_marks_stops_nothing(tmp_path):
    sheet = read(tmp_path, saved(line("????", points=""), line("ben")), known("ben"))
    assert list(sheet.rows) == [("ben", "why")] and not sheet.wrong and "????" in sheet.said[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [("2", 2), ("2,5", 2.5), (" 2.5\xa0", 2.5), ("'2", 2), ("", None), (" ", None)]
    + [(text, -1) for text in ("1. Feb", "2 pts", "-1", "nan", "inf", "1_0", "1,5,0", "50%", "TRUE", "1E1", "½")],
)
def test_points_are_plain_numbers(text, value):
    assert sheets.number(text) == value


@pytest.mark.parametrize(
    ("text", "before", "same"),
    [
        ("02. Mai", "2.5", True), ("Feb 75", "2.75", True), ("05. Feb", "2.5", False), ("2", "2.0", True),
        ("2,5", "2.5", True), ("3", "2.5", False), ("Gr??e", "Größe", True), ("Größe?", "Größe", False),
        ("Why ö?", "Why é?", False), ("a\r\nb", "a\nb", True), ("WAHR", "true", True), ("gut", "Gut", False),
    ],
)  # fmt: skip
def test_what_excel_changed_is_no_change_of_the_teachers(text, before, same):
    assert sheets.unchanged(text, before) is same


def test_what_is_written_comes_back(tmp_path):
    texts = [
        "=1+1",
        "-1 for style",
        "@ann",
        "'quoted'",
        "'=x",
        'a;b,c\t"d"\nnew',
        "مريم 👩\u200d🔬",
        "\u2028 \x85",
        "x" * 9000,
    ]
    rows = [
        dict(zip(COLUMNS, ("-x" if i == 1 else f"s{i}", "why", 3.0, 2.5, t, t), strict=True))
        for i, t in enumerate(texts)
    ]
    sheets.write(tmp_path / "sheet.csv", rows)
    with (tmp_path / "sheet.csv").open(encoding="utf-8-sig", newline="") as file:
        assert not any(cell.startswith(tuple("=+-@")) for row in csv.reader(file) for cell in row)  # no formula
    found = sheets.read(tmp_path / "sheet.csv").rows
    assert [row["comment"] for row in found.values()] == texts and ("-x", "why") in found
    sheets.write(
        tmp_path / "sheet.csv", [dict(zip(COLUMNS, ("ann", "why", 3.0, "", "", "\0" + "x" * 99_999), strict=True))]
    )
    assert len(sheets.read(tmp_path / "sheet.csv").rows["ann", "why"]["answer"]) < 32_767  # all that Excel's cells hold


BEFORE = [
    "",
    " ",
    "\n",
    "\r\n",
    "\t",
    "\ufeff",
    "\u200b",
    "\u00a0",
    "\u3000",
    "\u202e",
    "\u2060",
    "'",
    "''",
    "\n\u200b' ",
]
FORMULAS = [
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "|x", "＝1+1", "＋1", "－1", "＠x", "﹦1", "−1", "=cmd|' /C calc'!A0",
    '=HYPERLINK("x")',
]  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_is_a_formula_and_every_text_comes_back(formula, tmp_path):
    texts = [before + formula for before in BEFORE] + ["\tx", "\nx", "\rx", f"Because.\n{formula}", f"x;{formula}"]
    rows = [
        dict(zip(COLUMNS, (f"{i}{text}x", "why", 3.0, 2.5, text, text), strict=True)) for i, text in enumerate(texts)
    ]
    rows += [dict(zip(COLUMNS, (formula, "why", 3.0, 2.5, "", ""), strict=True))]
    sheets.write(tmp_path / "sheet.csv", rows)
    with (tmp_path / "sheet.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    unseen = " \t\r\n\ufeff\u200b\u00a0\u3000\u202e\u2060"
    assert not any(cell.lstrip(unseen).startswith((*"=+-@|＝＋－＠﹦−",)) for cell in cells)
    found = sheets.read(tmp_path / "sheet.csv").rows
    assert [row["comment"] for row in found.values()] == [row["comment"] for row in rows]
    assert [row["answer"] for row in found.values()] == [row["answer"] for row in rows]
    assert (formula, "why") in found


@pytest.mark.parametrize(
    "name", ["O'Brien", "'t Hooft", "'=x", "=1+1", "a, b; c", "Ng&Co", "(5)", "5.", "50%", "＝1", 'q"']
)
@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_a_name_as_people_write_it_comes_back(name, sep, tmp_path):
    shown = sheets.as_text(name)
    sheet = read(tmp_path, saved(line(shown), line("other"), sep=sep), known(name, "other"))
    assert set(sheet.rows) == {(name, "why"), ("other", "why")} and not sheet.wrong + sheet.said


@pytest.mark.parametrize(
    ("name", "shown"), [("(5)", "-5"), ("50%", "0.5"), ("1:30", "01:30:00"), ("$5", "5"), ("=1+1", "2")]
)
def test_a_name_that_excel_made_another_of_is_asked_about(name, shown, tmp_path):
    sheet = read(tmp_path, saved(line(shown), line("other")), known(name, "other"))
    assert list(sheet.rows) == [("other", "why")] and "column student" in sheet.wrong[0]


def test_a_name_without_its_first_sign_is_undone_where_it_can_be(tmp_path):
    sheet = read(tmp_path, saved(line("t Hooft"), line("5")), known("'t Hooft", "5."))
    assert set(sheet.rows) == {("'t Hooft", "why"), ("5.", "why")} and len(sheet.said) == 2
    sheet = read(tmp_path, saved(line("'t Hooft", "1"), line("t Hooft", "2")), known("'t Hooft", "t Hooft"))
    assert [row["points"] for row in sheet.rows.values()] == ["1", "2"] and not sheet.wrong + sheet.said


def test_another_way_to_call_a_student_is_taken(tmp_path):
    (tmp_path / "sheet.csv").write_bytes(saved(line("O%27Brien")))
    sheet = sheets.read(tmp_path / "sheet.csv", known("O'Brien"), {"O%27Brien": "O'Brien"})
    assert list(sheet.rows) == [("O'Brien", "why")] and not sheet.wrong + sheet.said


def test_a_link_is_neither_read_nor_written_through(tmp_path):
    (tmp_path / "other.csv").write_bytes(saved(line("ann")))
    (tmp_path / "sheet.csv").symlink_to(tmp_path / "other.csv")
    with pytest.raises(ValueError, match="is a link"):
        sheets.read(tmp_path / "sheet.csv", known("ann"))
    sheets.write(tmp_path / "sheet.csv", [{"student": "ben"}])
    assert (tmp_path / "other.csv").read_bytes() == saved(line("ann")) and not (tmp_path / "sheet.csv").is_symlink()


def test_a_pattern_of_many_lost_letters_is_quick(tmp_path):
    sheet = read(tmp_path, saved(line("?" * 80)), known("ก" * 62 + "x"))
    assert len(sheet.wrong) == 1


# notebooks

NOTEBOOK = new_notebook(
    cells=[
        new_markdown_cell("# Numbers é\n\nText."),
        new_code_cell("x = 1\ny = 'é'", metadata={"nbgrader": {"grade_id": "double"}}),
        new_markdown_cell("Because."),
    ]
)
READ = [("markdown", "# Numbers é\n\nText.", ""), ("code", "x = 1\ny = 'é'", "double"), ("markdown", "Because.", "")]


def whole(**changes):
    return json.loads(nbformat.writes(NOTEBOOK)) | changes


def cells(**changes):
    return whole(cells=[cell | changes for cell in whole()["cells"]])


def meta(**changes):
    return whole(cells=[cell | {"metadata": cell["metadata"] | changes} for cell in whole()["cells"]])


def sources(change):
    return whole(cells=[cell | {"source": change("".join(cell["source"]))} for cell in whole()["cells"]])


def types(change):
    return whole(cells=[cell | {"cell_type": change(cell["cell_type"])} for cell in whole()["cells"]])


TEXT = nbformat.writes(NOTEBOOK)
ODD = {
    **{f"nbformat {v!r}": whole(nbformat=v) for v in ("4", None, 5, "x", [], 4.0)},
    "no nbformat": {"cells": whole()["cells"]},
    **{f"metadata {v!r}": whole(metadata=v, nbformat_minor="x") for v in (None, [], "x")},
    "language": whole(metadata={"kernelspec": {"name": "ir"}, "language_info": None}),
    "collapsed": meta(collapsed=None), "tags": meta(tags="x"), "name": meta(name=5), "jupyter": meta(jupyter=[]),
    **{f"id {v!r}": cells(id=v) for v in ("a", None, "ü b!", "x" * 99)},
    **{f"count {v!r}": cells(execution_count=v) for v in ("3", [], -1)},
    **{f"outputs {v!r}": cells(outputs=v) for v in (None, "x", [None], [{"output_type": "zz"}], [{}])},
    "attachments": cells(attachments=[5]),
    "lists": sources(lambda text: [*text.splitlines(keepends=True), None]),
    "CRLF": sources(lambda text: text.replace("\n", "\r\n")), "CR": sources(lambda text: text.replace("\n", "\r")),
    "capitals": types(str.title), "spaces": types(lambda kind: f" {kind} "),
    "version 3": json.loads(json.dumps(nbformat.convert(copy.deepcopy(NOTEBOOK), 3))),
    **{coding: TEXT.encode(coding) for coding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1")},
    "a bad byte": TEXT.encode().replace(b"{", b'{"x": "\xe9",', 1),
    "NUL": TEXT.encode() + b"\0" * 4096,
    "NaN": TEXT.replace("{", '{"x": [NaN, -Infinity, 1e999],', 1).encode(),
    "long number": TEXT.replace("{", '{"x": %s,' % ("9" * 6000), 1).encode(),
    "deep": TEXT.replace("{", '{"x": %s,' % ("[" * 500 + "]" * 500), 1).encode(),
    "twice": TEXT.replace("{", '{"nbformat": 3,', 1).encode(),
}  # fmt: skip


def as_file(odd):
    return odd if isinstance(odd, bytes) else json.dumps(odd).encode()


@pytest.mark.parametrize("name", ODD)
def test_metadata_that_grading_does_not_need_costs_nothing(name):
    notebook = merge.parse(as_file(ODD[name]))
    found = [(cell.cell_type, cell.source, merge.grade_id(cell)) for cell in notebook.cells]
    assert found == READ and "unread" not in notebook.metadata
    nbformat.validate(notebook)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (whole(cells=[None, *whole()["cells"]]), "cell 1"),
        (sources(lambda text: [text, 5]), "cell 2 in part"),
        (TEXT.encode() + b"}}", "after the notebook"),
    ],
)
def test_what_could_not_be_read_is_named_and_the_rest_is_graded(odd, said):
    notebook = merge.parse(as_file(odd))
    assert [cell.source for cell in notebook.cells] == [source for _, source, _ in READ]
    template = merge.Template(NOTEBOOK, NOTEBOOK)
    assert any(said in remark for remark in template.merge(notebook)[1])


@pytest.mark.parametrize("kind", [None, "python", "Code", []])
def test_a_cell_of_an_unknown_type_may_be_code(kind):
    odd = whole(cells=[{"cell_type": kind, "source": "helper = 1"}])
    assert merge.parse(as_file(odd)).cells[0].cell_type == "code"


def test_half_a_character_does_not_stop_the_grading():
    notebook = merge.parse(as_file(sources(lambda text: ["\ud83d", "\ude00 \ud83d ", text])))
    assert notebook.cells[2].source == "😀 \ufffd Because."
    nbformat.writes(notebook).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0" * 9, "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"hello", "not JSON"),
        (TEXT.encode()[:-30], "not JSON"),
        (TEXT.encode("utf-16")[:-9], "not JSON"),
        (b"[1]", "no cells"),
        (b"5", "no cells"),
        (b"[" * 99_999, "nested too deeply"),
        (as_file(whole(cells={})), "damaged"),
        (as_file({"nbformat": 3, "worksheets": [None, {"cells": 5}]}), "damaged"),
    ],
)
def test_what_is_no_notebook_is_named(content, said):
    with pytest.raises(ValueError, match=said):
        merge.parse(content)


def test_an_answer_in_words_that_lost_its_name_is_known_by_its_place():
    def named(make, source, name, **meta):
        return make(source, metadata={"nbgrader": {"grade_id": name, "solution": False, **meta}})

    test = named(new_code_cell, "assert True", "check", grade=True)
    release = new_notebook(cells=[test, named(new_markdown_cell, "Write here.", "why", grade=True, solution=True)])
    handed_in = new_notebook(cells=[new_code_cell("assert True"), new_markdown_cell("Because.")])
    merged, _ = merge.Template(release, release).merge(handed_in)
    assert [c.source for c in merged.cells if merge.grade_id(c) == "why"] == ["Because."]
