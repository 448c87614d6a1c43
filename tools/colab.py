"""Make a Google Colab kernel ready for a lesson: the cell on top of each lesson runs this in the kernel.

What Colab has stays as it is: only packages that are not there at all are installed, at the versions of
constraints.txt where these go with Colab's.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {"jupyterlab", "nbval"}
"""What the course depends on and no lesson needs: Colab shows the notebooks, and nobody tests them there."""


def needed() -> list[Requirement]:
    """Return what the lessons depend on, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [wanted for wanted in map(Requirement, project["dependencies"]) if wanted.name not in ELSEWHERE]


def installed() -> dict[str, str]:
    """Return the version of each installed package, by its name in small letters with hyphens."""
    return {canonicalize_name(found.name): found.version for found in reversed([*distributions()]) if found.name}


def pins(there: dict[str, str], names: set[str] | None) -> str:
    """Return constraints for pip: what is there stays, and `names` (None: all others) are as in constraints.txt."""
    tested = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] != "#"]
    chosen = [pin for pin in tested if pin.name not in there and (names is None or pin.name in names)]
    return "\n".join([*(f"{name}=={version}" for name, version in there.items()), *map(str, chosen)])


def install(missing: list[Requirement]) -> None:
    """Install packages beside those that are there.

    Raises
    ------
    RuntimeError
        pip finds no versions that go with what is there, or cannot load them.
    """
    there, names = installed(), {canonicalize_name(wanted.name) for wanted in missing}
    print(f"Installing {', '.join(sorted(names))}. This takes about a minute.", flush=True)
    for tested in (None, names, set()):  # all as the course was tested, only what is missing, whatever is possible
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder, "pins.txt")
            constraints.write_text(pins(there, tested))
            command = [sys.executable, "-m", "pip", "install", "--constraint", constraints, *map(str, missing)]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        if done.returncode == 0:
            return
    said = "\n".join(done.stdout.splitlines()[-15:])
    raise RuntimeError(
        f"pip cannot install {', '.join(sorted(names))} beside the packages that Colab has, and left those as they "
        "were. Choose Runtime > Disconnect and delete runtime, and run this cell again. If it fails once more, run the "
        f"course on your own computer, as its README says. In pip's words:\n{said}"
    )


def main() -> None:
    """Install what is missing, let the kernel and its child processes import `helpers`, and go to notebooks/."""
    there = installed()
    if missing := [wanted for wanted in needed() if canonicalize_name(wanted.name) not in there]:
        install(missing)
    for wanted in needed():
        version = there.get(canonicalize_name(wanted.name))
        if version and not wanted.specifier.contains(version, prereleases=True):
            print(f"Colab has {wanted.name} {version}. The course was tested with {wanted}, so results may differ.")
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    importlib.invalidate_caches()
    beside = Path(sys.executable).parent / "chroma"  # where lesson 4 looks; Colab's pip puts programs elsewhere
    if not beside.exists() and (program := shutil.which("chroma")):
        beside.symlink_to(program)
    os.chdir(ROOT / "notebooks")


if __name__ == "__main__":
    main()
