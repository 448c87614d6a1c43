"""Run submissions, each in a sandbox where one can be had, and in any case in a process and a folder of its own."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import sandbox
from course import ROOT

TOOLS = ROOT / "tools"
LARGEST_FILE = 0.2
"""GB."""


@dataclass
class Limits:
    """What one submission may use: seconds, GB, and how many processes."""

    seconds: float = 300
    cell_seconds: float = 60
    memory: float = 8
    processes: int = 200


class Bench:
    """A place to run submissions: each gets a fresh folder, with a copy of the helpers and of the pictures.

    Parameters
    ----------
    python : str
        The Python that has the course.
    limits : Limits
    blind : Path, optional
        Pictures for the tests alone: a submission can see them only where a test cannot run apart from it.
    walls : bool
        Whether to put submissions into a sandbox, where there is one.

    Attributes
    ----------
    open : str
        Why there is no sandbox; nothing, where there is one.
    beside : dict
        For each assignment that was prepared, the tests that have to run beside the student's code.
    """

    def __init__(self, python: str, limits: Limits, blind: Path | None = None, walls: bool = True) -> None:
        # a virtual environment's Python is a link: its own path, not what it leads to, finds the environment
        self.python, self.limits, self.blind = str(Path.cwd() / python), limits, blind.resolve() if blind else None
        self.open = sandbox.missing() if walls else "it is switched off"
        self.home = Path(tempfile.mkdtemp(prefix="grading-"))
        self.pattern = self.home / "pattern"
        shutil.copytree(ROOT / "helpers", self.pattern / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "data", self.pattern / "data")
        shutil.copy(TOOLS / "wire.py", self.pattern)
        for folder in ("notebooks/assignments", "tmp", ".cache", ".mpl"):
            (self.pattern / folder).mkdir(parents=True)
        self.beside: dict[str, list[str]] = {}
        self._examiners: dict[str, subprocess.Popen] = {}

    def close(self) -> None:
        """End the examiners, and remove all of it."""
        for examiner in self._examiners.values():
            end(examiner.pid)
            examiner.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def prepare(
        self, assignment: str, source: nbformat.NotebookNode, solved: nbformat.NotebookNode
    ) -> tuple[nbformat.NotebookNode, list[str]]:
        """Start the examiner of an assignment, and run the solution, which shows what tests can run apart.

        What the examiner leaves in its caches is there for the submissions.

        Returns
        -------
        notebook : NotebookNode
        remarks : list of str
            As `run` returns them.
        """
        file = self.home / f"{assignment}.ipynb"
        nbformat.write(source, file)
        command = [self.python, str(TOOLS / "examiner.py"), str(file), str(file.with_suffix(".sock"))]
        with file.with_suffix(".log").open("wb") as log:
            examiner = subprocess.Popen(
                command,
                cwd=self.pattern / "notebooks" / "assignments",
                env=environment(self.pattern, self.blind),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._examiners[assignment] = examiner
        examiner.stdout.readline()  # it is ready; or it is gone, and all tests run beside the code
        ran, remarks = self.run(solved, assignment)
        tests = [cell for cell in ran.cells if "apart" in cell.metadata]
        self.beside[assignment] = [cell.metadata.nbgrader.grade_id for cell in tests if not cell.metadata.apart]
        return ran, remarks

    def run(self, notebook: nbformat.NotebookNode, assignment: str) -> tuple[nbformat.NotebookNode, list[str]]:
        """Run a notebook of an assignment that was prepared.

        Returns
        -------
        notebook : NotebookNode
            With the outputs, as far as it came.
        remarks : list of str
            What went wrong with the run itself.
        """
        token = secrets.token_hex(4)
        room = self.home / token
        for folder in ("home", "given", "run", "kernels/python3"):
            (room / folder).mkdir(parents=True)
        blind = self.blind
        if assignment in self.beside:
            beside = notebook.metadata.beside = self.beside[assignment]
            tests = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") in beside]
            blind = self.blind if any("COURSE_BLIND" in test.source for test in tests) else None
        nbformat.write(notebook, room / "submission.ipynb")
        spec = {"argv": self._kernel(room, blind), "display_name": "Python 3", "language": "python"}
        spec["interrupt_mode"] = "message"
        (room / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        env = environment(room / "home", blind)
        env |= {"JUPYTER_PATH": str(room), "JUPYTER_RUNTIME_DIR": str(room / "run"), "RUN_TOKEN": token}
        with (room / "log").open("wb") as log:
            process = subprocess.Popen(
                self._runner(room, assignment),
                cwd=room,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                remarks = self._watch(process, room / "run")
            finally:
                end(process.pid)
                if self.open:
                    end_all(token)
                process.wait()
        try:
            ran = nbformat.read(room / "ran.ipynb", as_version=4)
        except (OSError, ValueError):
            said = (room / "log").read_text(errors="replace").strip()[-300:]
            remarks.append(f"it could not be run: {said or 'its process was killed before the first cell'}")
            ran = notebook
        if ran.metadata.get("ended") and not remarks:
            remarks.append(ran.metadata.ended)
        elif process.returncode and not remarks:
            remarks.append("its process was killed, so not all cells were run")
        shutil.rmtree(room, ignore_errors=True)
        return ran, remarks

    def _kernel(self, room: Path, blind: Path | None) -> list[str]:
        """Return how the kernel of a submission is started: with limits, and behind walls."""
        kernel = [self.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        limits = self.limits.memory, LARGEST_FILE
        if self.open:
            return sandbox.start(self.python, self.pattern, room / "home", *limits, 0, kernel)
        readable = [*sandbox.places(self.python), self.pattern, room / "given", *([blind] if blind else [])]
        most = sandbox.most_processes(self.limits.processes)
        inside = sandbox.start(self.python, self.pattern, room / "home", *limits, most, kernel)
        return [*sandbox.walls(readable, [room / "run"]), *inside]

    def _runner(self, room: Path, assignment: str) -> list[str]:
        """Return how a notebook is run: outside the walls, by what speaks with the kernel."""
        command = [self.python, str(TOOLS / "run_submission.py"), str(room / "submission.ipynb")]
        command += [str(room / "ran.ipynb"), "--given", str(room / "given"), "--seconds", str(self.limits.seconds)]
        command += ["--cell-seconds", str(self.limits.cell_seconds)]
        if self._examiners[assignment].poll() is None:
            command += ["--examiner", str(self.home / f"{assignment}.sock")]
        return command if self.open else [*command, "--sockets", str(room / "run" / "k")]

    def _watch(self, process: subprocess.Popen, sockets: Path) -> list[str]:
        """Wait for the end of a run; say what took too much of this computer, and was ended for it."""
        latest = time.monotonic() + self.limits.seconds + 90
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
            if time.monotonic() > latest:
                return [f"it did not end within {self.limits.seconds:.0f} seconds and was killed"]
            count, memory = used(process.pid)
            too_much = {
                f"more than {self.limits.processes} processes": count > self.limits.processes,
                f"more than {self.limits.memory:g} GB of memory": memory > self.limits.memory * 1e9,
                "more than 10 MB where its kernel is spoken with": size_of(sockets) > 10_000_000,
            }
            for what in [what for what, is_so in too_much.items() if is_so]:
                return [f"it took {what}, and was stopped"]
        return []


def environment(place: Path, blind: Path | None) -> dict[str, str]:
    """Return the environment of a submission: nothing of the teacher's own."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "SYSTEMROOT") if key in os.environ}
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "RAYON")}
    # on a graphics card the numbers would be others, and its driver alone would use up the address space
    threads["CUDA_VISIBLE_DEVICES"] = ""
    course = {"CLIP_MODEL": "bundled", "COURSE_PICTURES": "bundled", "TQDM_DISABLE": "1", "PYTHONPATH": str(place)}
    own = {"HOME": str(place), "TMPDIR": str(place / "tmp"), "MPLCONFIGDIR": str(place / ".mpl")}
    blind_set = {"COURSE_BLIND": str(blind)} if blind else {}
    return kept | threads | course | own | blind_set


def family(pid: int) -> list[psutil.Process]:
    """Return a process, and all that it has started, with what these started."""
    with contextlib.suppress(psutil.Error):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def used(pid: int) -> tuple[int, float]:
    """Return how many processes there are from this one on, and their own memory in bytes."""
    count, memory = 0, 0.0
    for process in family(pid):
        with contextlib.suppress(psutil.Error):
            needs = process.memory_info()
            count, memory = count + 1, memory + needs.rss - getattr(needs, "shared", 0)
    return count, memory


def size_of(folder: Path) -> int:
    """Return the bytes in a folder, however deep, that somebody may be changing."""
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                total += (Path(place) / file).lstat().st_size
    return total


def end(pid: int) -> None:
    """Kill a process and all that it has started; a sandbox ends with its first process."""
    for process in family(pid):
        with contextlib.suppress(psutil.Error):
            process.kill()


def end_all(token: str) -> None:
    """Kill every process that carries the token in its environment, wherever it has hidden itself."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("RUN_TOKEN") == token:
                process.kill()
