"""Bring marks into the gradebook, out of it into sheets, and back from these."""

import json
import shutil
from pathlib import Path

import merge
import nbformat
import sheets
from clean import clean, written
from course import Course
from handed_in import Submission, display_name
from nbgrader.api import MissingEntry
from nbgrader.preprocessors import SaveAutoGrades
from points import Given, cells_of, set_right

PENDING = "to be read"
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers", ".tsv", ".txt")


def settle(notebook: nbformat.NotebookNode) -> list[str]:
    """Make nbgrader's rule hold, a test without an error has passed: a test that did not pass gets an error.

    A warning is no error: what a test wrote on stderr is kept as ordinary output. The scores that tests printed are
    returned, and what raises doubts about a mark.
    """
    said = []
    for cell in notebook.cells:
        meta = cell.metadata.get("nbgrader", {})
        if cell.cell_type != "code" or not meta.get("grade"):
            continue
        for output in cell.outputs:
            if output.output_type == "stream":
                output.name = "stdout"
        said += cell.metadata.pop("scores", [])
        doubts = cell.metadata.pop("doubts", [])
        said += [f"{meta.grade_id} gives no points: {doubt}" for doubt in doubts]
        cell.metadata.pop("apart", None)
        cell.outputs = [output for output in cell.outputs if output.output_type != "execute_result"]
        if not cell.metadata.pop("passed", False) and not any(o.output_type == "error" for o in cell.outputs):
            why = f"this test was not counted: {'; '.join(doubts)}" if doubts else "this test was not run to its end"
            cell.outputs.insert(0, nbformat.v4.new_output("error", ename="NotRun", evalue=why, traceback=[why]))
    return list(dict.fromkeys(said))


def save_marks(
    course: Course, submission: Submission, notebook: nbformat.NotebookNode | None, template: merge.Template
) -> None:
    """Write the marks of an executed notebook to the gradebook; without a notebook, zero for everything."""
    name, student = submission.assignment, submission.student
    place, notes = course.path("autograded", name, student), course.remarks(name, student)
    for path in (place, notes):
        submission.remarks += course.take_away_links(path)
    before = answers(place)
    shutil.rmtree(place.parent, ignore_errors=True)
    place.parent.mkdir(parents=True)
    with course.gradebook() as gradebook:
        gradebook.update_or_create_student(student)
        handed_in = gradebook.update_or_create_submission(name, student)
        for grade in handed_in.notebooks[0].grades:
            grade.auto_score, grade.needs_manual_grade = 0, False
        gradebook.db.commit()
    for file, content in submission.beside.items():
        (place.parent / file).write_bytes(content)
    if notebook is not None:
        submission.remarks += settle(notebook)
        where = {
            "notebook": name,
            "assignment": name,
            "student": student,
            "db_url": f"sqlite:///{course.folder}/gradebook.db",
        }
        notebook, _ = SaveAutoGrades().preprocess(notebook, {"nbgrader": where})
        nbformat.write(clean(notebook, template.texts), place)
        with course.gradebook() as gradebook:
            for cell, text in answers(place).items():
                if before.get(cell, text) != text:  # marks given by hand were for another answer
                    grade = gradebook.find_grade(cell, name, name, student)
                    grade.manual_score, grade.needs_manual_grade = None, grade.auto_score is None
            gradebook.db.commit()
    sheets.replace(notes, json.dumps(submission.remarks).encode())


def answers(notebook: Path) -> dict[str, str]:
    """Return the answers in words that a notebook holds, by the name of the cell."""
    metas = [(cell.metadata.get("nbgrader", {}), written(cell)) for cell in cells_of(notebook)]
    return {meta.get("grade_id", ""): text for meta, text in metas if meta.get("grade") and meta.get("solution")}


def remarks_on(course: Course, name: str, student: str) -> list[str]:
    """Return the remarks that are kept on a submission."""
    try:
        remarks = json.loads(course.remarks(name, student).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [remark for remark in remarks if isinstance(remark, str)] if isinstance(remarks, list) else []


def write_sheets(course: Course, name: str, before: Given | None = None) -> None:
    """Write the marks, and the sheet with all answers in words to be marked by hand.

    Parameters
    ----------
    course : Course
        The class.
    name : str
        The assignment.
    before : mapping, optional
        What `points.standing` said before submissions ran, if some ran since.
    """
    rows, by_hand = [], []
    wrong = set_right(course, name, before)
    with course.gradebook() as gradebook:
        cells = gradebook.find_notebook(name, name)
        order = [cell.name for cell in cells.source_cells]
        words = {cell.name for cell in [*cells.solution_cells, *cells.task_cells]}
        for handed_in in sorted(gradebook.assignment_submissions(name), key=lambda s: s.student.id):
            student = handed_in.student.id
            place, notes = course.path("autograded", name, student), course.remarks(name, student)
            for path in (place, notes, course.path("feedback", name, student).with_suffix(".html")):
                wrong[student] += course.take_away_links(path)
            remarks = remarks_on(course, name, student) + wrong[student]
            if wrong[student]:
                sheets.replace(notes, json.dumps(remarks).encode())
            texts = answers(place)
            if place.exists() and not texts and words & {grade.name for grade in handed_in.notebooks[0].grades}:
                remarks.append(f"{place.relative_to(course.folder)} is damaged: grade what was handed in again")
            row = {"student": display_name(student), "assignment": name}
            grades = sorted(handed_in.notebooks[0].grades, key=lambda g: order.index(g.name))
            for grade in grades:
                if grade.name not in words and grade.manual_score is not None:
                    remarks.append(
                        f"{grade.name}: {grade.manual_score:g} points by hand, and its test gave {grade.auto_score:g}"
                    )
                row[grade.name] = PENDING if grade.needs_manual_grade and grade.manual_score is None else grade.score
                if grade.name in texts:
                    comment = gradebook.find_comment(grade.name, name, name, student)
                    by_hand.append(
                        {
                            "student": row["student"],
                            "task": grade.name,
                            "max": grade.max_score,
                            "points": grade.score if row[grade.name] != PENDING else "",
                            "comment": comment.manual_comment or comment.auto_comment or "",
                            "answer": texts[grade.name],
                        }
                    )
            row["points"], row["max"] = handed_in.score, handed_in.max_score
            row["remarks"] = "; ".join(remarks)
            rows.append(row)
    if rows:
        sheets.write(course.folder / "grades" / f"{name}.csv", rows)
    if by_hand:
        sheets.write(course.sheet(name), by_hand)
        sheets.write(course.written(name), by_hand)


def read_sheet(sheet: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Read a sheet of answers, as any spreadsheet program saves it; the rows by student and task.

    Raises
    ------
    ValueError
        Something of it cannot be read for sure: the message says what, with the lines.
    """
    if not sheet.exists():
        return {}
    found = sheets.read(sheet)
    if found.wrong:
        raise ValueError("\n".join([f"{sheet}:", *found.wrong]))
    return found.rows


def take_marks(course: Course, name: str) -> None:
    """Read the points and comments that the teacher wrote into the sheet of answers into the gradebook.

    Only what differs from the sheet as it was written last: the rest may have been marked in nbgrader since.

    Raises
    ------
    ValueError
        The sheet cannot be read, and nothing was taken; or some of its rows cannot, and the others were taken. The
        message names all of them.
    """
    path = course.sheet(name)
    for said in course.take_away_links(course.written(name)):
        print(said)
    for other in sorted(path.parent.glob(f"{name}_answers.*")):
        if other.suffix.lower() in WORKBOOKS and (
            not path.exists() or other.stat().st_mtime_ns > path.stat().st_mtime_ns
        ):
            raise ValueError(f"{other} is newer than {path.name}, and is not read. {sheets.SAVE} Or move it away.")
    if not path.exists():
        return
    written = read_sheet(course.written(name))
    with course.gradebook() as gradebook:
        try:
            cells = gradebook.find_notebook(name, name)
        except MissingEntry:
            raise ValueError(f"{path}: nobody has handed in {name} yet") from None
        tasks = {cell.name for cell in cells.grade_cells} & {cell.name for cell in cells.solution_cells}
        students = {display_name(s.student.id): s.student.id for s in gradebook.assignment_submissions(name)}
        shown = {student: called for called, student in students.items()}  # sheets once had ids in them
        written = {(shown.get(student, student), task): row for (student, task), row in written.items()}
        nothing = {"points": "", "comment": "", "answer": ""}
        known = {(student, task): written.get((student, task), nothing) for student in students for task in tasks}
        sheet = sheets.read(path, known, shown)
        for (called, task), row in sheet.rows.items():
            student, before, place = students[called], known[called, task], sheet.lines[called, task]
            grade = gradebook.find_grade(task, name, name, student)
            said = gradebook.find_comment(task, name, name, student)
            points, comment = sheets.number(row["points"]), row.get("comment", before["comment"])
            marked = points is not None and not sheets.unchanged(row["points"], before["points"])
            if marked and not 0 <= points <= grade.max_score:
                sheet.wrong.append(
                    f"{place}, column points: {row['points']!r} is no number from 0 to {grade.max_score:g}. "
                    "Excel changes some: write it again, as 1.5 or 1,5"
                )
                continue
            if points is None and before["points"]:
                sheet.said.append(f"{place}, column points: it is empty now, and stays {before['points']}")
            if marked and (points != grade.score or grade.needs_manual_grade):
                grade.manual_score, grade.extra_credit, grade.needs_manual_grade = points, None, False
            if not sheets.unchanged(comment, before["comment"]) and comment != (said.auto_comment or ""):
                said.manual_comment = comment
        gradebook.db.commit()
    for line in sheet.said:
        print(f"{path.name}: {line}")
    if sheet.wrong:
        raise ValueError(
            "\n".join(
                [f"{path}: these rows were not taken, and still stand in it. The others were taken.", *sheet.wrong]
            )
            + "\nMend them in the sheet, and call again."
        )
