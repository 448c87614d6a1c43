"""Release, grade and give feedback on the assignments in notebooks/assignments/, for a class of any size.

It works over nbgrader, whose gradebook holds all marks, and needs nbgrader's own environment (`.venv-teach`, made by
the Makefile). What students wrote runs elsewhere: each submission by the course's Python in a process and a folder of
its own, under a limit of time and memory, by `tools/run_submission.py`. docs/teaching.md says what that protects.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
import uuid
import warnings
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import merge
import nbformat
import psutil
import sheets
import similar
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import SaveAutoGrades
from sqlalchemy.exc import SAWarning
from traitlets.config import Config, PyFileConfigLoader

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "notebooks" / "assignments"
LARGEST = 200_000_000
PENDING = "to be read"
EXCHANGE = ("timestamp.txt", "submission_secret.txt")
"""What nbgrader's exchange lays beside a notebook: without both, `nbgrader release_feedback` stops."""
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers", ".tsv", ".txt")
JOINERS = "\u200c\u200d"
"""What joins the parts of a letter in Hindi or Persian, and of an emoji; they show nothing."""
LONGEST_NAME = 200
"""Bytes of an id: a file's name has at most 255, with what is added to it."""
HIDDEN = {".ipynb_checkpoints", "__MACOSX"}
"""Folders that programs add."""
SCORE = "score: "
"""What a hidden test prints before a figure that the teacher wants to see, such as the mAP on the blind set."""

warnings.filterwarnings("ignore", category=SAWarning)  # nbgrader's own, of no use to a teacher


@dataclass
class Limits:
    """What one submission may use."""

    seconds: float = 300
    cell_seconds: float = 60
    memory: float = 8


@dataclass
class Submission:
    """One notebook that was handed in, what is known of it, and what came of it."""

    student: str
    file: Path
    assignment: str = ""
    notebook: nbformat.NotebookNode | None = None
    recognised: bool = False
    remarks: list[str] = field(default_factory=list)


class Course:
    """The folder of a class: its releases, its marks, and nbgrader's gradebook.

    Parameters
    ----------
    folder : Path
        Everything is written below it.
    sources : Path
        The assignments, each a notebook with solutions.
    """

    def __init__(self, folder: Path, sources: Path) -> None:
        self.folder, self.sources = folder.resolve(), sources.resolve()
        # nbgrader asks `alembic` by name
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        config: Config = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()
        config.CourseDirectory.root = str(self.folder)
        self.nbgrader = NbGraderAPI(CourseDirectory(config=config), config=config)
        self.nbgrader.log.setLevel("ERROR")

    def gradebook(self) -> Gradebook:
        """Open the gradebook; close it by ``with``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}", "image-retrieval")

    def path(self, step: str, assignment: str, student: str = "") -> Path:
        """Return where nbgrader keeps the notebook of a step: source, release, submitted, autograded."""
        return self.folder / step / student / assignment / f"{assignment}.ipynb"

    def remarks(self, assignment: str, student: str) -> Path:
        """Return where the remarks on a submission are kept."""
        return self.folder / "remarks" / assignment / f"{student}.json"

    def written(self, assignment: str) -> Path:
        """Return where a copy of the sheet of answers is kept, to see what a teacher changed in it."""
        return self.folder / "remarks" / assignment / "answers.csv"

    def sheet(self, assignment: str) -> Path:
        """Return where the sheet of answers is, into which a teacher writes."""
        return self.folder / "grades" / f"{assignment}_answers.csv"

    def assignments(self) -> list[str]:
        """List the assignments that are released, by name."""
        return sorted(path.stem for path in (self.folder / "release").glob("*/*.ipynb"))

    def release(self) -> list[Path]:
        """Write each assignment as students get it: no solution, no hidden test.

        Returns
        -------
        list of Path
            The released notebooks.

        Raises
        ------
        ValueError
            nbgrader refuses a source, or something of a solution would be left in the release.
        """
        released = []
        for source in sorted(self.sources.glob("*.ipynb")):
            name = source.stem
            staged = self.path("source", name)
            staged.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, staged)
            answer = self.nbgrader.generate_assignment(name)
            target = self.path("release", name)
            if not answer["success"] or not target.exists():
                raise ValueError(f"nbgrader refuses {source}:\n{answer.get('log', '')}{answer.get('error', '')}")
            text = target.read_text(encoding="utf-8")
            if any(sign in text for sign in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS")):
                target.unlink()
                raise ValueError(f"{source}: a region is opened and not closed, so it was not released")
            released.append(target)
        return released

    def template(self, assignment: str) -> merge.Template:
        """Return what a submission of `assignment` is held against."""
        source, release = (nbformat.read(self.path(step, assignment), as_version=4) for step in ("source", "release"))
        return merge.Template(source, release)


def student_id(name: bytes) -> str:
    """Make an id that every system can write of a file's name, whatever its bytes are; another name, another id.

    Letters, marks, digits and pictures of every script stay as they are, in their composed form (NFC). Anything else
    becomes % and its number, a space or point at either end too.
    """
    text = unicodedata.normalize("NFC", name.decode("utf-8", errors="backslashreplace"))
    kept = [c in "_-@ ." + JOINERS or unicodedata.category(c)[0] in "LMN" for c in text]
    kept = [k or (c > "\x7f" and unicodedata.category(c) in ("So", "Sk")) for k, c in zip(kept, text, strict=True)]
    written = "".join(c if k else number_of(c) for k, c in zip(kept, text, strict=True))
    written = re.sub(r"^[ .]+|[ .]+$", lambda ends: "".join(map(number_of, ends[0])), written)
    if len(written.encode()) > LONGEST_NAME:
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        written = written.encode()[: LONGEST_NAME - 13].decode(errors="ignore") + "~" + digest
    return written or "nameless"


def number_of(character: str) -> str:
    """Return a character as % and its number in Unicode."""
    return f"%{ord(character):02X}"


def printable(file: Path) -> str:
    """Return a file's name as it can be printed, whatever its bytes are; José in two forms is printed in two ways."""
    text = os.fsencode(file).decode("utf-8", errors="backslashreplace")
    return text if unicodedata.is_normalized("NFC", text) else text.encode("ascii", "backslashreplace").decode()


def collect(folder: Path) -> list[Submission]:
    """Find what was handed in: a folder a student, as nbgrader and most platforms give it, or a file a student.

    Raises
    ------
    ValueError
        There is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: SUBMITTED names the one that holds what students handed in")
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "__MACOSX")):
            continue
        if entry.is_dir():
            inside = sorted(
                p for p in entry.rglob("*") if p.is_file() and not HIDDEN & {*p.parts} and p.name[:2] != "._"
            )
            notebooks = [p for p in inside if p.suffix.lower() == ".ipynb"] or inside[:1]
            found += [Submission(student_id(os.fsencode(entry.name)), path) for path in notebooks]
            if not notebooks:
                found.append(Submission(student_id(os.fsencode(entry.name)), entry))
        else:
            found.append(Submission(student_id(os.fsencode(entry.stem)), entry))
    if not found:
        raise ValueError(f"{folder} is empty: expected a folder a student, or a notebook a student")
    return found


def read(submission: Submission, templates: dict[str, merge.Template]) -> None:
    """Read a submission and find out which assignment it is; what cannot be read is said in its remarks."""
    content, shares = b"", {}
    try:
        if not submission.file.is_file():
            raise ValueError("the folder holds no file")
        if submission.file.stat().st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST / 1e6:.0f} MB: clear the outputs, and hand it in again")
        content = submission.file.read_bytes()
        notebook = merge.parse(content)
        shares = {name: template.recognised(notebook) for name, template in templates.items()}
        submission.notebook = notebook
    except Exception as error:  # what a file may hold knows no end, and stops nobody else's marks
        submission.remarks.append(f"{printable(Path(submission.file.name))}: {error}")
    if submission.notebook is not None:
        best = max(shares, key=shares.__getitem__)
        if shares[best]:
            submission.assignment, submission.recognised = best, True
            return
        submission.remarks.append("none of its cells is from an assignment")
    shares = {name: sum(f'"{cell}"'.encode() in content for cell in t.released) for name, t in templates.items()}
    best = max(shares, key=shares.__getitem__)
    named = [best] if shares[best] else [name for name in templates if name in str(submission.file)]
    submission.assignment = named[0] if named else (next(iter(templates)) if len(templates) == 1 else "")


def environment(place: Path, token: str, blind: Path | None) -> dict[str, str]:
    """Return the environment of a submission: nothing of the teacher's own."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "SYSTEMROOT") if key in os.environ}
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "RAYON")}
    # on a graphics card the numbers would be others, and its driver alone would use up the address space
    threads["CUDA_VISIBLE_DEVICES"] = ""
    course = {"CLIP_MODEL": "bundled", "COURSE_PICTURES": "bundled", "TQDM_DISABLE": "1", "PYTHONPATH": str(place)}
    own = {"HOME": str(place), "TMPDIR": str(place / "tmp"), "MPLCONFIGDIR": str(place / ".mpl"), "RUN_TOKEN": token}
    blind_set = {"COURSE_BLIND": str(blind)} if blind else {}
    return kept | threads | course | own | blind_set


def end_all(token: str) -> None:
    """Kill every process that carries the token in its environment, wherever it has hidden itself."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("RUN_TOKEN") == token:
                process.kill()
        except (psutil.Error, OSError):
            continue


class Bench:
    """A place to run submissions: each gets a fresh folder, with a copy of the helpers and of the pictures."""

    def __init__(self, python: str, limits: Limits, blind: Path | None = None) -> None:
        # a virtual environment's Python is a link: its own path, not what it leads to, finds the environment
        self.python, self.limits, self.blind = str(Path.cwd() / python), limits, blind.resolve() if blind else None
        self.home = Path(tempfile.mkdtemp(prefix="course-grading-"))
        self.pattern = self.home / "pattern"
        shutil.copytree(ROOT / "helpers", self.pattern / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
        (self.pattern / "tmp").mkdir()
        (self.pattern / "notebooks" / "assignments").mkdir(parents=True)
        shutil.copytree(ROOT / "data", self.pattern / "data")

    def close(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.home, ignore_errors=True)

    def run(self, notebook: nbformat.NotebookNode, keep: bool = False) -> tuple[nbformat.NotebookNode, list[str]]:
        """Run a notebook; with `keep`, what it leaves in its caches is there for those that come after it.

        Returns
        -------
        notebook : NotebookNode
            With the outputs, as far as it came.
        remarks : list of str
            What went wrong with the run itself.
        """
        token = uuid.uuid4().hex
        place = self.home / token
        shutil.copytree(self.pattern, place)
        source, target = place / "submission.ipynb", self.home / f"{token}.ipynb"
        nbformat.write(notebook, source)
        command = [self.python, str(ROOT / "tools" / "run_submission.py"), str(source), str(target)]
        command += ["--seconds", str(self.limits.seconds), "--cell-seconds", str(self.limits.cell_seconds)]
        command += ["--memory", str(self.limits.memory)]
        remarks = []
        with (self.home / f"{token}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=place / "notebooks" / "assignments",
                env=environment(place, token, self.blind),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                process.wait(timeout=self.limits.seconds + 90)
            except subprocess.TimeoutExpired:
                remarks.append(f"it did not end within {self.limits.seconds:.0f} seconds and was killed")
            finally:
                end_all(token)
                process.kill()
                process.wait()
        try:
            ran = nbformat.read(target, as_version=4)
        except (OSError, ValueError):
            said = (self.home / f"{token}.log").read_text(errors="replace").strip()[-300:]
            remarks.append(f"it could not be run: {said or 'its process was killed before the first cell'}")
            ran = notebook
        if ran.metadata.get("ended"):
            remarks.append(ran.metadata.ended)
        elif process.returncode and not remarks:
            remarks.append("its process was killed, so not all cells were run")
        if keep:
            for cache in (".cache", ".mpl"):
                if (place / cache).is_dir():
                    shutil.copytree(place / cache, self.pattern / cache, dirs_exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        return ran, remarks


def settle(notebook: nbformat.NotebookNode) -> list[str]:
    """Make nbgrader's rule hold, a test without an error has passed: a test whose end was not reached gets an error.

    A warning is no error: what a test wrote on stderr is kept as ordinary output. The scores that tests printed are
    returned.
    """
    scores = []
    for cell in notebook.cells:
        meta = cell.metadata.get("nbgrader", {})
        if cell.cell_type != "code" or not meta.get("grade"):
            continue
        for output in cell.outputs:
            if output.output_type == "stream":
                output.name = "stdout"
                scores += [line for line in output.text.splitlines() if line.startswith(SCORE)]
        cell.outputs = [output for output in cell.outputs if output.output_type != "execute_result"]
        if not cell.metadata.pop("passed", False) and not any(o.output_type == "error" for o in cell.outputs):
            said = "this test was not run to its end"
            cell.outputs.insert(0, nbformat.v4.new_output("error", ename="NotRun", evalue=said, traceback=[said]))
    return scores


def save_marks(course: Course, submission: Submission, notebook: nbformat.NotebookNode | None) -> None:
    """Write the marks of an executed notebook to the gradebook; without a notebook, zero for everything."""
    name, student = submission.assignment, submission.student
    place = course.path("autograded", name, student)
    before = answers(place) if place.exists() else {}
    shutil.rmtree(place.parent, ignore_errors=True)
    place.parent.mkdir(parents=True)
    with course.gradebook() as gradebook:
        gradebook.update_or_create_student(student)
        handed_in = gradebook.update_or_create_submission(name, student)
        for grade in handed_in.notebooks[0].grades:
            grade.auto_score, grade.needs_manual_grade = 0, False
        gradebook.db.commit()
    beside = [submission.file.parent / file for file in EXCHANGE]
    if all(file.is_file() for file in beside):
        for file in beside:
            shutil.copy(file, place.parent)
    if notebook is not None:
        submission.remarks += settle(notebook)
        where = {
            "notebook": name,
            "assignment": name,
            "student": student,
            "db_url": f"sqlite:///{course.folder}/gradebook.db",
        }
        notebook, _ = SaveAutoGrades().preprocess(notebook, {"nbgrader": where})
        nbformat.write(notebook, place)
        with course.gradebook() as gradebook:
            for cell, text in answers(place).items():
                if before.get(cell, text) != text:  # marks given by hand were for another answer
                    grade = gradebook.find_grade(cell, name, name, student)
                    grade.manual_score, grade.needs_manual_grade = None, grade.auto_score is None
            gradebook.db.commit()
    notes = course.remarks(name, student)
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.write_text(json.dumps(submission.remarks), encoding="utf-8")


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
    submissions = collect(submitted)
    for submission in submissions:
        read(submission, templates)
    alone = {s.assignment for s in submissions} - {""}
    for submission in submissions:
        if len(alone) == 1:  # what cannot be read has its row among the others that were handed in with it
            submission.assignment = next(iter(alone))
    one_name(course, submissions)
    submissions = latest(submissions, submitted)
    ask_who(submissions)
    sheets_then: dict[Path, bytes] = {}
    for name in sorted({s.assignment for s in submissions} - {""}):
        take_marks(course, name)
        path = course.sheet(name)
        sheets_then[path] = path.read_bytes() if path.exists() else b""
        check_solution(bench, name, templates[name])

    def work(submission: Submission, last: bool = False) -> tuple[Submission, nbformat.NotebookNode | None, bool]:
        if submission.notebook is None or not submission.assignment:
            return submission, None, True
        try:
            merged, remarks = templates[submission.assignment].merge(submission.notebook)
            ran, said = bench.run(merged)
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
                save_marks(course, submission, ran)
            except Exception as error:
                submission.remarks.append(f"it ran, and could not be marked: {type(error).__name__}: {error}")
                save_marks(course, submission, None)
        said = "; ".join(submission.remarks)
        print(
            f"{count:4d} of {len(submissions)}  {submission.student:24} {submission.assignment:12} {said}",
            flush=True,
        )
    print(f"{time.monotonic() - began:.0f} s for {len(submissions)} submissions")
    unknown = [{"student": s.student, "remarks": "; ".join(s.remarks)} for s in submissions if not s.assignment]
    (course.folder / "grades" / "not_graded.csv").unlink(missing_ok=True)
    if unknown:
        sheets.write(course.folder / "grades" / "not_graded.csv", unknown)
    for name in sorted({s.assignment for s in submissions} - {""}):
        path = course.sheet(name)
        if path.exists() and path.read_bytes() != sheets_then[path]:
            kept = shutil.copy(path, path.with_name(f"{name}_answers_kept.csv"))
            print(f"{path.name} was saved while this ran. What you wrote is in {kept}: copy it into the new one")
        write_sheets(course, name)
        similar.write(course.folder, name, templates[name])
    return submissions


def one_name(course: Course, submissions: list[Submission]) -> None:
    """Give Ann and ann one id where the disk of the class takes the two for one name."""
    if (course.folder / "RELEASE").exists():
        with course.gradebook() as gradebook:
            ids = {student.id.casefold(): student.id for student in gradebook.students}
        for submission in submissions:
            submission.student = ids.setdefault(submission.student.casefold(), submission.student)


def latest(submissions: list[Submission], folder: Path) -> list[Submission]:
    """Keep, of several files of one student for one assignment, the one that was changed last, and name all of them.

    A notebook that has cells of the assignment comes before one that has none, and this before what is no notebook.
    """
    of_one: dict[tuple[str, str], list[Submission]] = defaultdict(list)
    for submission in submissions:
        of_one[submission.student, submission.assignment].append(submission)
    kept = []
    for _, several in sorted(of_one.items()):
        best = max(several, key=lambda s: (s.recognised, s.notebook is not None, s.file.lstat().st_mtime_ns))
        kept.append(best)
        if len(several) > 1:
            names = ", ".join(printable(s.file.relative_to(folder)) for s in several)
            taken = printable(best.file.relative_to(folder))
            best.remarks.append(f"handed in more than once, as {names}: {taken} was taken")
    return kept


def ask_who(submissions: list[Submission]) -> None:
    """Add a remark to those whose names differ in capitals, spaces, points or width only: who they are is asked."""
    alike: dict[str, set[str]] = defaultdict(set)
    for submission in submissions:
        alike[bare(submission.student)].add(submission.student)
    for submission in submissions:
        others = sorted(alike[bare(submission.student)] - {submission.student})
        if others:
            submission.remarks.append(f"another name is nearly the same: {', '.join(others)}. Is it one student?")


def bare(student: str) -> str:
    """Return an id without what is easily mistaken."""
    return re.sub(rf"[ .{JOINERS}]|%20|%2e", "", unicodedata.normalize("NFKC", student).casefold())


def check_solution(bench: Bench, name: str, template: merge.Template) -> None:
    """Run the source itself, as a submission is run: if it does not pass, no student could.

    It also fills the caches that the submissions then find.
    """
    ran, remarks = bench.run(template.solved(), keep=True)
    settle(ran)
    for cell in ran.cells:
        errors = [o for o in cell.get("outputs", []) if o.output_type == "error"]
        if errors:
            said = "\n".join([*remarks, f"{errors[0].ename}: {errors[0].evalue}"])
            raise ValueError(
                f"the solution of {name} itself does not pass on this computer, in the cell\n\n{cell.source[:300]}\n\n"
                f"{said}\n\nNobody was graded. Is the course installed for {bench.python}? Is MEMORY too small?"
            )


def answers(notebook: Path) -> dict[str, str]:
    """Return the answers in words that a notebook holds, by the name of the cell."""
    cells = nbformat.read(notebook, as_version=4).cells
    metas = [(cell.metadata.get("nbgrader", {}), cell.source) for cell in cells]
    return {meta["grade_id"]: text for meta, text in metas if meta.get("grade") and meta.get("solution")}


def write_sheets(course: Course, name: str) -> None:
    """Write the marks, and the sheet with all answers in words to be marked by hand."""
    rows, by_hand = [], []
    with course.gradebook() as gradebook:
        order = [c.name for c in gradebook.find_notebook(name, name).source_cells]
        for handed_in in sorted(gradebook.assignment_submissions(name), key=lambda s: s.student.id):
            student = handed_in.student.id
            place = course.path("autograded", name, student)
            texts = answers(place) if place.exists() else {}
            notes = course.remarks(name, student)
            remarks = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else []
            row = {"student": student, "assignment": name}
            grades = sorted(handed_in.notebooks[0].grades, key=lambda g: order.index(g.name))
            for grade in grades:
                row[grade.name] = PENDING if grade.needs_manual_grade and grade.manual_score is None else grade.score
                if grade.name in texts:
                    comment = gradebook.find_comment(grade.name, name, name, student)
                    by_hand.append(
                        {
                            "student": student,
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
        students = [handed_in.student.id for handed_in in gradebook.assignment_submissions(name)]
        nothing = {"points": "", "comment": "", "answer": ""}
        known = {(student, task): written.get((student, task), nothing) for student in students for task in tasks}
        sheet = sheets.read(path, known)
        for (student, task), row in sheet.rows.items():
            before, place = known[student, task], sheet.lines[student, task]
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


def feedback(course: Course) -> int:
    """Take in the marks given by hand, bring the sheets up to date, and write a page for each student.

    Returns
    -------
    int
        The number of pages, in ``feedback/<student>/<assignment>/``.

    Raises
    ------
    ValueError
        The sheet of answers holds points that cannot be, or nbgrader cannot write the pages.
    """
    pages = 0
    for name in course.assignments():
        if not any(course.folder.glob(f"autograded/*/{name}/{name}.ipynb")):
            continue
        take_marks(course, name)
        write_sheets(course, name)
        answer = course.nbgrader.generate_feedback(name)
        wanted = len(list(course.folder.glob(f"autograded/*/{name}/{name}.ipynb")))
        written = len(list(course.folder.glob(f"feedback/*/{name}/{name}.html")))
        if written < wanted:
            raise ValueError(f"nbgrader wrote {written} of {wanted} pages of {name}:\n{answer.get('log', '')}")
        pages += written
    return pages


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
            bench = Bench(options.python, limits, options.blind)
            try:
                grade(course, options.submitted, bench, options.jobs)
            finally:
                bench.close()
            print(f"marks and answers to be read: {course.folder / 'grades'}")
    except (ValueError, OSError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
