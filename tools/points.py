"""See to it that all points in the gradebook can be: a test's, from 0 to its maximum, or a person's.

A person gives points in the sheet or in nbgrader's form grader, and extra credit to answers in words. What else stands
in the gradebook is not taken, and named.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import nbformat
import sheets
from course import Course
from handed_in import display_name
from nbgrader.api import Grade, MissingEntry
from nbgrader.utils import determine_grade, is_grade

Given = Mapping[tuple[str, str], tuple[float | None, float | None]]
"""Points and extra credit that persons gave, by student and task."""


def standing(course: Course, name: str) -> Given:
    """Return what persons gave, as it stands in the gradebook; to be called before the first submission runs."""
    with course.gradebook() as gradebook:
        return {
            (handed_in.student.id, grade.name): (grade.manual_score, grade.extra_credit)
            for handed_in in gradebook.assignment_submissions(name)
            for grade in handed_in.notebooks[0].grades
        }


def set_right(course: Course, name: str, before: Given | None = None) -> dict[str, list[str]]:
    """Take out of the gradebook what neither a test nor a person can have given.

    Parameters
    ----------
    course : Course
        The class.
    name : str
        The assignment.
    before : mapping, optional
        What stood there before submissions ran, if some ran since: nobody marks a test meanwhile.

    Returns
    -------
    dict
        What was not taken, in words, by student.
    """
    said: dict[str, list[str]] = defaultdict(list)
    with course.gradebook() as gradebook:
        try:
            cells = gradebook.find_notebook(name, name)
        except MissingEntry:
            return said
        limits = {c.metadata.nbgrader.grade_id: c.metadata.nbgrader.points for c in tests(course.path("source", name))}
        for cell in cells.grade_cells:
            if cell.max_score != limits.get(cell.name, cell.max_score):
                cell.max_score = limits[cell.name]
                print(f"{name}: the gradebook had another maximum of {cell.name}. It is {cell.max_score:g} again")
        gradebook.db.commit()
        words = {cell.name for cell in [*cells.solution_cells, *cells.task_cells]}
        submissions = gradebook.assignment_submissions(name)
        students = {display_name(handed_in.student.id): handed_in.student.id for handed_in in submissions}
        given = in_sheet(course, name, students) if before is None else before
        for handed_in in submissions:
            student = handed_in.student.id
            for grade in handed_in.notebooks[0].grades:
                by_person = given.get((student, grade.name), (None, None))
                wrong = check_person(grade, by_person, grade.name in words, before is not None)
                if grade.name in words and grade.auto_score not in (None, 0):
                    wrong.append(f"{grade.auto_score} by a test")
                    grade.auto_score = None
                elif grade.name not in words and not possible(grade.auto_score, grade.max_score):
                    wrong.append(f"{grade.auto_score} by its test")
                    grade.auto_score = tested(course.path("autograded", name, student), grade)
                if wrong:
                    grade.needs_manual_grade = grade.auto_score is None and grade.manual_score is None
                    said[student].append(
                        f"{grade.name}: {' and '.join(wrong)}, of {grade.max_score:g} points, stood in the gradebook. "
                        "Neither its test nor a person gave that, and it was not taken"
                    )
        gradebook.db.commit()
    return said


def check_person(grade: Grade, by_person: tuple, words: bool, ran: bool) -> list[str]:
    """Take from a grade the points by hand and the extra credit that no person gave, and say what they were.

    Parameters
    ----------
    grade : Grade
        Of nbgrader's gradebook.
    by_person : tuple
        Points and extra credit that are known to be a person's.
    words : bool
        It is for an answer in words.
    ran : bool
        Submissions ran since `by_person` was known.
    """
    points, extra, limit, wrong = grade.manual_score, grade.extra_credit, grade.max_score, []
    others = ran and not words and points != by_person[0]
    if points is not None and (others or not possible(points, limit)):
        wrong.append(f"{points} by hand")
        grade.manual_score = by_person[0] if possible(by_person[0], limit) else None
    if extra and not (words and possible(extra, limit)):
        wrong.append(f"{extra} of extra credit")
        grade.extra_credit = by_person[1] if words and possible(by_person[1], limit) else None
    return wrong


def possible(points: object, limit: float) -> bool:
    """Tell whether this is a number of points from 0 to the maximum."""
    return isinstance(points, int | float) and 0 <= points <= limit


def cells_of(notebook: Path) -> list[nbformat.NotebookNode]:
    """Return the cells of a notebook in the class; none where there is none, or a damaged one, and no damaged cell."""
    try:
        cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if isinstance(cell.source, str)]
        return [cell for cell in cells if isinstance(cell.metadata.get("nbgrader", {}).get("grade_id", ""), str)]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError, nbformat.ValidationError):
        return []


def in_sheet(course: Course, name: str, students: Mapping[str, str]) -> Given:
    """Return what persons gave to answers in words, as it was written into the sheet last.

    Parameters
    ----------
    course : Course
        The class.
    name : str
        The assignment.
    students : mapping
        The ids of the students, by their names in the sheet.
    """
    given = {}
    if course.written(name).exists():
        for (student, task), row in sheets.read(course.written(name)).rows.items():
            points, limit = sheets.number(row["points"]), sheets.number(row["max"])
            if points is not None and limit is not None:
                given[students.get(student, student), task] = min(points, limit), max(points - limit, 0)
    return given


def tests(notebook: Path) -> list[nbformat.NotebookNode]:
    """Return the cells of a notebook that are graded; none where there is none, or a damaged one."""
    return [cell for cell in cells_of(notebook) if is_grade(cell)]


def tested(notebook: Path, grade: Grade) -> float:
    """Return what a test gave in an executed notebook; 0 where that cannot be told."""
    for cell in tests(notebook):
        if cell.metadata.nbgrader.get("grade_id") == grade.name:
            try:
                points, _ = determine_grade(cell)
            except (ValueError, KeyError, AttributeError, TypeError):
                return 0
            return points if possible(points, grade.max_score) else 0
    return 0
