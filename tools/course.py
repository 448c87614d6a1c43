"""The folder of a class: its releases, its marks, and nbgrader's gradebook."""

import os
import shutil
import sys
import warnings
from pathlib import Path

import merge
import nbformat
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.exc import SAWarning
from traitlets.config import Config, PyFileConfigLoader

ROOT = Path(__file__).resolve().parent.parent

warnings.filterwarnings("ignore", category=SAWarning)  # nbgrader's own, of no use to a teacher


OWN = ("autograded", "feedback", "grades", "remarks", "release", "source", "gradebook.db")
"""What is written into the folder of a class."""


class Course:
    """The folder of a class: its releases, its marks, and nbgrader's gradebook.

    Parameters
    ----------
    folder : Path
        Everything is written below it.
    sources : Path
        The assignments, each a notebook with solutions.

    Raises
    ------
    ValueError
        A link is in the place of something that is written.
    """

    def __init__(self, folder: Path, sources: Path) -> None:
        self.folder, self.sources = folder.resolve(), sources.resolve()
        for link in (self.folder / name for name in OWN if (self.folder / name).is_symlink()):
            raise ValueError(f"{link} is a link, and nothing is written through one: put what it leads to in its place")
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

    def take_away_links(self, path: Path) -> list[str]:
        """Take away what leads to elsewhere on the way to something in the class, and say what it was."""
        said = []
        for part in [*reversed(path.relative_to(self.folder).parents), path.relative_to(self.folder)]:
            place = self.folder / part
            if part.parts and place.is_symlink():
                place.unlink()
                said.append(f"{part} was a link to elsewhere, and was taken away")
        return said

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
