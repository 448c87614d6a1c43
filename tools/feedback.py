"""Write a page for each student: what was asked, what was got and missed, what the teacher said, and the notebook."""

import functools
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import merge
import nbformat
from clean import clean
from course import ROOT, Course
from handed_in import display_name
from marks import remarks_on, take_marks, write_sheets
from nbconvert.exporters import HTMLExporter
from nbconvert.filters import strip_ansi
from nbformat import NotebookNode
from nbgrader.api import Grade, SubmittedAssignment
from tricks import READ, SCORE

TEMPLATE = ROOT / "tools" / "feedback.html.j2"
LONGEST = 600
"""Characters of what a test said that are shown in the table; the notebook shows all."""
PLAIN = ("AssertionError", "NotImplementedError", "NotRun", "Timeout")
"""Errors whose words need no name before them."""
POINTS = re.compile(r"\(\d+ points?\b[^)]*\)$")
"""What stands at the end of a heading, and in a column of its own here."""


@dataclass
class Test:
    """One cell that gives points: a test, or an answer in words; `points` is None while nobody has read it."""

    anchor: str
    kind: str
    points: float | None
    most: float
    said: str


@dataclass
class Task:
    """What stands under one heading of an assignment."""

    title: str
    asked: str
    tests: list[Test] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    @property
    def points(self) -> float | None:
        """The sum of what was got so far; None if nothing was read yet."""
        got = [test.points for test in self.tests if test.points is not None]
        return sum(got) if got else None

    @property
    def most(self) -> float:
        """The sum of what can be got."""
        return sum(test.most for test in self.tests)


def feedback(course: Course) -> int:
    """Take in the marks given by hand, bring the sheets up to date, and write a page for each student.

    Returns
    -------
    int
        The number of pages, in ``feedback/<student>/<assignment>/``.

    Raises
    ------
    ValueError
        The sheet of answers holds points that cannot be; or some pages could not be written, and the others were.
    """
    pages, failed = 0, []
    for name in course.assignments():
        if not any(course.folder.glob(f"autograded/*/{name}")):
            continue
        take_marks(course, name)
        write_sheets(course, name)
        template = course.template(name)
        with course.gradebook() as gradebook:
            submissions = gradebook.assignment_submissions(name)
            students = {submission.student.id for submission in submissions}
            for submission in submissions:
                try:
                    write_page(course, template, submission, students - {submission.student.id})
                    pages += 1
                except Exception as error:  # one student's fault, whatever it is, is not that of the class
                    failed.append(f"{submission.student.id}, {name}: {type(error).__name__}: {error}")
    if failed:
        raise ValueError(f"{pages} pages were written, and not these:\n" + "\n".join(failed))
    return pages


def write_page(course: Course, template: merge.Template, submission: SubmittedAssignment, others: set[str]) -> Path:
    """Write the page of one student on one assignment, and return where it is; `others` handed it in too.

    Raises
    ------
    ValueError
        A link leads from the folder of feedback to elsewhere.
    """
    name, student = submission.assignment.name, submission.student.id
    graded = course.path("autograded", name, student)
    target = course.folder / "feedback" / student / name / f"{name}.html"
    if not target.parent.resolve().is_relative_to(course.folder / "feedback"):
        raise ValueError(f"{target.parent} is a link to elsewhere: remove it, and call again")
    notebook = clean(nbformat.read(graded, as_version=4), template.texts) if graded.exists() else None
    remarks = remarks_on(course, name, student)
    asked = tasks(template.source, notebook, submission)
    page = {
        "student": display_name(student),
        "title": next((title for level, title, _ in headings(template.source) if level == 1), name),
        "score": submission.score,
        "most": submission.max_score,
        "untouched": merge.UNTOUCHED in remarks,
        "remarks": [remark for remark in remarks if remark != merge.UNTOUCHED and concerns(remark, others)],
        "tasks": asked,
        "tests": {test.anchor: test for task in asked for test in task.tests},
        "unread": any(test.points is None for task in asked for test in task.tests),
        "notebook": notebook is not None,
    }
    body, _ = exporter().from_notebook_node(notebook or nbformat.v4.new_notebook(), {"page": page})
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_text(body, encoding="utf-8")
    for file in graded.parent.glob("*.txt"):  # what came over nbgrader's exchange finds its way back by these
        shutil.copy(file, target.parent)
    return target


@functools.cache
def exporter() -> HTMLExporter:
    """Return nbconvert's exporter with our template, which needs no other file and no other computer."""
    return HTMLExporter(template_name="classic", template_file=str(TEMPLATE), exclude_anchor_links=True)


def tasks(source: NotebookNode, notebook: NotebookNode | None, submission: SubmittedAssignment) -> list[Task]:
    """Return the tasks of an assignment, with what one student got for each.

    A task is what stands under one heading below the title; in an assignment without such headings, one answer.
    """
    ran = {merge.grade_id(cell): cell for cell in notebook.cells} if notebook else {}
    grades = {grade.name: grade for grade in submission.notebooks[0].grades}
    comments = {comment.name: comment for comment in submission.notebooks[0].comments}
    found, title, asked = {}, "", ""
    headed = any(level > 1 for level, _, _ in headings(source))
    for cell in source.cells:
        for level, heading, first in headings(nbformat.v4.new_notebook(cells=[cell])):
            title, asked = (heading, first) if level > 1 else (title, asked)
        name = merge.grade_id(cell)
        if not headed and cell.metadata.get("nbgrader", {}).get("solution"):
            title = name
        if name not in grades and name not in comments:
            continue
        task = found.setdefault(title, Task(title, asked))
        if name in grades:
            task.tests.append(test(cell, ran.get(name), grades[name]))
        if name in comments and comments[name].manual_comment:
            task.comments.append(comments[name].manual_comment)
    return [task for task in found.values() if task.tests]


def test(cell: NotebookNode, ran: NotebookNode | None, grade: Grade) -> Test:
    """Return what one student got for a cell that gives points, and what was said of it."""
    points = None if grade.needs_manual_grade and grade.manual_score is None else grade.score
    if cell.metadata.nbgrader.get("solution"):
        kind, said = "read by your teacher", "nothing was written" if grade.auto_score == 0 and not grade.score else ""
    else:
        kind = "tests run when it was graded" if "BEGIN HIDDEN TESTS" in cell.source else "the test that you had"
        said = sentence(ran) if ran else "not run"
    return Test(grade.name, kind, points, grade.max_score, said)


def sentence(ran: NotebookNode) -> str:
    """Return what a test that failed said: the words of its error, or else the line that failed."""
    errors = [output for output in ran.get("outputs", []) if output.output_type == "error"]
    if not errors:
        return ""
    error = errors[0]
    said = strip_ansi(error.evalue).strip()
    if not said:
        lines = strip_ansi("\n".join(error.traceback)).splitlines()
        said = next((line.split(None, 2)[-1] for line in lines if re.match(r"-+> *\d+ \S", line)), "")
    said = said if error.ename in PLAIN else f"{error.ename}: {said}"
    return said if len(said) <= LONGEST else f"{said[:LONGEST]} …"


def headings(notebook: NotebookNode) -> list[tuple[int, str, str]]:
    """List the headings of a notebook's own texts, each with its level and the paragraph that follows it."""
    texts = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown" and not merge.grade_id(c))
    texts = re.sub(r"^(```|~~~).*?^\1", "", texts, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"^(#{1,6}) +(.+)$", texts, flags=re.MULTILINE)[1:]
    return [
        (len(marks), POINTS.sub("", title).strip(), rest.strip().split("\n\n")[0])
        for marks, title, rest in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]


def concerns(remark: str, others: set[str]) -> bool:
    """Tell whether a remark is for the student: it is not for the teacher alone, and names nobody else."""
    if remark.endswith("?") or remark.startswith((SCORE, READ)):
        return False
    names = {name for other in others for name in (other, display_name(other))}
    return not any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", remark) for name in names)
