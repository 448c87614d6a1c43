"""Release, grade and give feedback on the assignments in notebooks/assignments/, for a class of any size.

It works over nbgrader, whose gradebook holds all marks, and needs nbgrader's own environment (`.venv-teach`, made by
the Makefile). What students wrote runs elsewhere: each submission by the course's Python in a process and a folder of
its own, under a limit of time and memory, by `tools/run_submission.py`. docs/teaching.md says what that protects.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lean  # noqa: F401 (before nbformat)
import merge
import nbformat
import sheets
import similar
import tricks
from bench import Bench, Limits
from course import ROOT, Course
from feedback import feedback
from handed_in import Submission, ask_who, collect, display_name, latest, read, student_id
from marks import read_sheet, save_marks, settle, take_marks, write_sheets
from points import Given, standing

__all__ = ["Bench", "Course", "feedback", "grade", "read_sheet", "student_id", "take_marks", "write_sheets"]

SOURCES = ROOT / "notebooks" / "assignments"
UNPROTECTED = "What students wrote can read your files, use your network and end your processes: see docs/teaching.md"


def grade(course: Course, submitted: Path, bench: Bench, jobs: int) -> list[Submission]:
    """Grade everything in a folder; what is wrong with one submission stops no other.

    Raises
    ------
    ValueError
        Nothing is released or handed in, or the solution itself does not pass on this computer.
    """
    names = course.assignments()
    if not names:
        raise ValueError("nothing is released yet: run make release first")
    templates = {name: course.template(name) for name in names}
    submissions = collect(submitted, templates)
    for submission in submissions:
        read(submission, submitted, templates)
    alone = {s.assignment for s in submissions} - {""}
    for submission in submissions:
        if len(alone) == 1:  # what cannot be read has its row among the others that were handed in with it
            submission.assignment = next(iter(alone))
    one_name(course, submissions)
    submissions = latest(submissions, submitted)
    ask_who(submissions)
    sheets_then: dict[Path, bytes] = {}
    given: dict[str, Given] = {}
    if bench.open:
        print(f"No sandbox: {bench.open}. {UNPROTECTED}")
    for name in sorted({s.assignment for s in submissions} - {""}):
        take_marks(course, name)
        path = course.sheet(name)
        sheets_then[path] = path.read_bytes() if path.exists() else b""
        given[name] = standing(course, name)
        check_solution(bench, name, templates[name])
        if bench.beside[name]:
            print(f"{name}: these tests cannot run apart from the students' code: {', '.join(bench.beside[name])}")

    def work(submission: Submission, last: bool = False) -> tuple[Submission, nbformat.NotebookNode | None, bool]:
        if submission.notebook is None or not submission.assignment:
            return submission, None, True
        try:
            template = templates[submission.assignment]
            merged, remarks = template.merge(submission.notebook)
            remarks += tricks.seen(template.written(merged))
            ran, said = bench.run(merged, submission.assignment)
            started = ran is not merged
        except Exception as error:  # one submission's fault, whatever it is, is not that of the class
            ran, remarks, said = None, [], [f"it could not be graded: {type(error).__name__}: {error}"]
            started = not isinstance(error, OSError)
        if started or last:
            submission.remarks += remarks + said
        return submission, ran, started

    def results() -> Iterator[tuple[Submission, nbformat.NotebookNode | None]]:
        late = []
        with ThreadPoolExecutor(jobs) as pool:
            for submission, ran, started in pool.map(work, submissions):
                if started:
                    yield submission, ran
                else:
                    late.append(submission)
        for submission in late:  # another may have held all processes or memory that there are: now each runs alone
            yield work(submission, last=True)[:2]

    began = time.monotonic()
    for count, (submission, ran) in enumerate(results(), start=1):
        if submission.assignment:
            try:
                save_marks(course, submission, ran, templates[submission.assignment])
            except Exception as error:
                submission.remarks.append(f"it ran, and could not be marked: {type(error).__name__}: {error}")
                save_marks(course, submission, None, templates[submission.assignment])
        student, said = display_name(submission.student), "; ".join(submission.remarks)
        print(f"{count:4d} of {len(submissions)}  {student:24} {submission.assignment:12} {said}", flush=True)
    print(f"{time.monotonic() - began:.0f} s for {len(submissions)} submissions")
    unknown = [
        {"student": display_name(s.student), "remarks": "; ".join(s.remarks)} for s in submissions if not s.assignment
    ]
    (course.folder / "grades" / "not_graded.csv").unlink(missing_ok=True)
    if unknown:
        sheets.write(course.folder / "grades" / "not_graded.csv", unknown)
    for name in sorted({s.assignment for s in submissions} - {""}):
        path = course.sheet(name)
        if path.exists() and path.read_bytes() != sheets_then[path]:
            kept = path.with_name(f"{name}_answers_kept.csv")
            sheets.replace(kept, path.read_bytes())
            print(f"{path.name} was saved while this ran. What you wrote is in {kept}: copy it into the new one")
        write_sheets(course, name, given[name])
        similar.write(course.folder, name, templates[name])
    return submissions


def one_name(course: Course, submissions: list[Submission]) -> None:
    """Give Ann and ann one id where the disk of the class takes the two for one name."""
    if (course.folder / "RELEASE").exists():
        with course.gradebook() as gradebook:
            ids = {student.id.casefold(): student.id for student in gradebook.students}
        for submission in submissions:
            submission.student = ids.setdefault(submission.student.casefold(), submission.student)


def check_solution(bench: Bench, name: str, template: merge.Template) -> None:
    """Run the source itself, as a submission is run: if it does not pass, no student could.

    Raises
    ------
    ValueError
        It does not pass.
    """
    ran, remarks = bench.prepare(name, template.source, template.solved())
    settle(ran)
    for cell in ran.cells:
        errors = [o for o in cell.get("outputs", []) if o.output_type == "error"]
        if errors:
            said = "\n".join([*remarks, f"{errors[0].ename}: {errors[0].evalue}"])
            raise ValueError(
                f"the solution of {name} itself does not pass on this computer, in the cell\n\n{cell.source[:300]}\n\n"
                f"{said}\n\nNobody was graded. Is the course installed for {bench.python}? Is MEMORY too small?"
            )


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and do one of the three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "class", help="the folder of the class")
    parser.add_argument("--sources", type=Path, default=SOURCES, help="the folder of the assignments with solutions")
    parser.add_argument("--python", default=sys.executable, help="the Python that has the course installed")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("release", help="write what students get")
    grading = commands.add_parser("grade", help="grade what students handed in")
    grading.add_argument("submitted", type=Path, help="a folder a student, or a notebook a student")
    grading.add_argument("--blind", type=Path, help="a folder of queries that students never saw, <class>/<picture>")
    grading.add_argument("--seconds", type=float, default=Limits.seconds, help="for one submission")
    grading.add_argument("--cell-seconds", type=float, default=Limits.cell_seconds, help="for one cell")
    grading.add_argument("--memory", type=float, default=Limits.memory, help="address space of a submission, in GB")
    grading.add_argument("--jobs", type=int, default=2, help="submissions at a time")
    grading.add_argument("--no-sandbox", action="store_true", help="even where there is one")
    commands.add_parser("feedback", help="take in marks given by hand, and write a page for each student")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # names may have letters that the terminal's coding lacks
    sys.stderr.reconfigure(errors="backslashreplace")
    try:
        course = Course(options.to, options.sources)
        if options.command == "release":
            for path in course.release():
                print(path)
        elif options.command == "feedback":
            print(f"{feedback(course)} pages in {course.folder / 'feedback'}")
        else:
            if options.blind and not options.blind.is_dir():
                raise ValueError(f"there is no folder {options.blind}: BLIND names a folder of <class>/<picture>")
            limits = Limits(options.seconds, options.cell_seconds, options.memory)
            bench = Bench(options.python, limits, options.blind, walls=not options.no_sandbox)
            try:
                grade(course, options.submitted, bench, options.jobs)
            finally:
                bench.close()
            print(f"marks and answers to be read: {course.folder / 'grades'}")
    except (ValueError, OSError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
