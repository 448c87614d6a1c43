"""On Colab a lesson gets the course and what Colab lacks; what Colab has stays, and elsewhere nothing happens."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def colab_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    return [(n, cell) for n, cell in enumerate(cells) if "colab" in cell.metadata.get("tags", [])]


(_, CELL), *_ = colab_cells(LESSONS[0])


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_each_lesson_has_the_same_hidden_cell_right_after_its_title(path):
    ((number, cell),) = colab_cells(path)
    assert (number, cell.source) == (1, CELL.source)
    hidden = {"tags": ["colab", "remove-cell"], "jupyter": {"source_hidden": True}, "cellView": "form"}
    assert cell.metadata == hidden and cell.source.startswith("# @title ")
    assert (cell.execution_count, cell.outputs) == (1, [])


def run(source, folder, **environment):
    """Run the code of a cell, and say where it ends."""
    code = f"{source}\nimport os, sys\nprint(os.getcwd(), 'runpy' in globals())"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, encoding="utf-8"
    )


def test_the_cell_does_nothing_elsewhere(tmp_path):
    done = run(CELL.source, tmp_path, PATH="")
    assert (done.stdout, done.stderr) == (f"{tmp_path.resolve()} False\n", "")
    assert list(tmp_path.iterdir()) == []


def test_without_an_address_the_cell_says_what_to_do(tmp_path):
    source = "\n".join('    address = ""' if "    address = " in line else line for line in CELL.source.split("\n"))
    done = run(source, tmp_path, PATH="", COLAB_RELEASE_TAG="release")
    assert done.returncode == 1 and "Set address, in this cell, to https://github.com/" in done.stderr


def test_where_the_course_cannot_be_fetched_the_cell_says_what_to_do(tmp_path):
    nowhere = (tmp_path / "nowhere").as_uri()
    source = CELL.source.replace('address = ""', f'address = "{nowhere}"')
    done = run(source, tmp_path, PATH=os.environ["PATH"], COLAB_RELEASE_TAG="release")
    assert done.returncode == 1
    assert f"ConnectionError: {nowhere} could not be fetched whole. Delete the folder course" in done.stderr


def test_the_cell_fetches_the_course_and_runs_its_tool(tmp_path):
    github = tmp_path / "github"
    (github / "tools").mkdir(parents=True)
    (github / "tools" / "colab.py").write_text("print('the tool ran')")
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=github, check=True)
    (tmp_path / "content").mkdir()
    source = CELL.source.replace('address = ""', f'address = "{github.as_uri()}"')
    for _ in range(2):
        done = run(source, tmp_path / "content", PATH=os.environ["PATH"], COLAB_RELEASE_TAG="release")
        assert done.stdout.startswith("the tool ran\n"), done.stderr


# tools/colab.py, with a real pip, in an environment that has little

PYPROJECT = """[project]
dependencies = ["jupyterlab>=4,<5", "old_one>=2,<3", "there>=1,<2", "new-one>=1,<2", "nbval>=0.11"]
"""


def wheel(folder, name, version, *needs):
    """Write a wheel that holds one empty module."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        required = "".join(f"Requires-Dist: {need}\n" for need in needs)
        archive.writestr(f"{name}.py", f"version = '{version}'\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


class Colab:
    """A course of made-up packages, in an environment that has two of them, pip, and what reads version numbers."""

    def __init__(self, folder):
        self.wheels, self.home = folder / "wheels", folder / "content"
        self.course = self.home / "course"
        for part in ("tools", "notebooks", "helpers"):
            (self.course / part).mkdir(parents=True)
        (self.course / "helpers" / "__init__.py").touch()
        shutil.copy(ROOT / "tools" / "colab.py", self.course / "tools")
        (self.course / "pyproject.toml").write_text(PYPROJECT)
        venv.create(folder / "venv", symlinks=sys.platform != "win32")
        windows = sys.platform == "win32"
        self.python = folder / "venv" / ("Scripts/python.exe" if windows else "bin/python")
        (self.site,) = folder.glob("venv/Lib/site-packages" if windows else "venv/lib/*/site-packages")
        for package in ("pip", "packaging"):
            (source,) = find_spec(package).submodule_search_locations
            shutil.copytree(source, self.site / package)
        self.wheels.mkdir()
        for made in (("old_one", "1.5"), ("there", "1.0"), ("there", "1.9"), ("small", "1"), ("small", "2")):
            wheel(self.wheels, *made)
        for here in ("old_one-1.5", "there-1.0"):
            zipfile.ZipFile(self.wheels / f"{here}-py3-none-any.whl").extractall(self.site)

    def has(self):
        return {path.stem for path in self.site.glob("*.dist-info")}

    def lesson(self):
        """Run the cell, then what a lesson would do: import the helpers, also in a program of its own."""
        child = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import helpers'], check=True)"
        then = f"import helpers, os, pathlib\n{child}\nprint('In', pathlib.Path(os.getcwd()).parts[-2:])"
        program = f"{CELL.source.replace('if not address', 'if not True')}\n{then}"
        settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels.as_uri(), "COLAB_RELEASE_TAG": "release"}
        return subprocess.run(
            [self.python, "-c", program], cwd=self.home, env={**os.environ, **settings, "PYTHONPATH": ""},
            capture_output=True, encoding="utf-8",
        )  # fmt: skip


@pytest.fixture
def colab(tmp_path):
    return Colab(tmp_path)


HAS = {"old_one-1.5", "there-1.0"}
READY = "In ('course', 'notebooks')\n"
OLD = "Colab has old_one 1.5. The course was tested with old_one<3,>=2, so results may differ.\n"
INSTALLING = "Installing new-one. This takes about a minute.\n"


def test_only_what_is_missing_is_installed_and_only_once(colab):
    (colab.course / "constraints.txt").write_text("# written\nnew-one==1.1\nthere==1.9\nsmall==1 ; os_name != ''\n")
    for version in ("1.1", "1.2"):
        wheel(colab.wheels, "new_one", version, "there", "small")
    done = colab.lesson()
    assert (done.stdout, done.stderr) == (INSTALLING + OLD + READY, "")
    assert colab.has() == HAS | {"new_one-1.1", "small-1"}
    done = colab.lesson()
    assert (done.stdout, done.stderr) == (OLD + READY, "")


@pytest.mark.parametrize("tested, chosen", [
    ("new-one==1.1\nsmall==1\n", {"new_one-1.1", "small-2"}),  # what it needs cannot be as tested
    ("new-one==1.0\n", {"new_one-1.1", "small-2"}),  # nor can it be itself
])  # fmt: skip
def test_another_version_is_taken_where_the_tested_one_does_not_fit(tested, chosen, colab):
    (colab.course / "constraints.txt").write_text(tested)
    wheel(colab.wheels, "new_one", "1.0", "there>=1.9")
    wheel(colab.wheels, "new_one", "1.1", "there", "small>=2")
    assert colab.lesson().stdout == INSTALLING + OLD + READY
    assert colab.has() == HAS | chosen


def test_what_colab_has_is_never_changed(colab):
    (colab.course / "constraints.txt").write_text("new-one==1.0\n")
    wheel(colab.wheels, "new_one", "1.0", "there>=1.9")
    done = colab.lesson()
    assert done.returncode == 1 and done.stdout == INSTALLING
    said = done.stderr[done.stderr.index("RuntimeError") :]
    assert "pip cannot install new-one beside the packages that Colab has" in said
    assert "Disconnect and delete runtime" in said and "there>=1.9" in said and "(constraint) there==1.0" in said
    assert colab.has() == HAS
    wheel(colab.wheels, "new_one", "1.3", "there")
    assert colab.lesson().stdout == INSTALLING + OLD + READY  # the same cell, once more
