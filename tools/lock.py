"""Write the versions and hashes of all that ``make`` installs: constraints.txt and requirements/.

    make locks                  after a change of pyproject.toml: a version moves only where it must
    make locks LOCK=--upgrade   every version becomes the newest within its bounds

uv does the work; make installs it. It asks the package index for everything, and PyTorch's own index when torch or
torchvision moved. If either does not answer, no file is changed.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
PYTORCH = "https://download.pytorch.org/whl/cpu"
TORCH = ("torch", "torchvision")
# PyPI's torch for Linux wants these; the build without CUDA wants none of them
CUDA = ("nvidia-", "cuda-", "triton")
# published as source only: built, with what is installed by then, in a step of its own
SOURCE_ONLY = ("hnswlib",)
HEADER = "# Written by tools/lock.py (make locks): do not edit. {}\n"
ABOUT = {
    "course": "The course itself, and what builds it.",
    "test": "What make test needs besides.",
    "bench": "What make bench needs besides.",
    "bench-source": "What make bench builds from source.",
    "teach": "The teacher's environment.",
    "site": "What builds the website and the slides.",
    "lock": "What writes these files.",
    "torch-cpu": "PyTorch's builds without CUDA, for Linux.",
    "torch-cuda": "What PyPI's build for Linux needs besides.",
}

Lock = dict[str, str]  # a package's name to its entry: name==version, marker, hashes


def compile_lock(*arguments: str, wanted: str = "") -> Lock:
    """Have uv resolve requirements for every system and Python of the course.

    Parameters
    ----------
    *arguments
        Arguments of ``uv pip compile``; ``-`` stands for `wanted`.
    wanted
        Requirements, one a line.

    Raises
    ------
    SystemExit
        If uv is missing, finds no solution, or cannot reach the index. The lines above then say why.
    """
    oldest = re.search(r"\d+\.\d+", project()["project"]["requires-python"]).group()
    command = [sys.executable, "-m", "uv", "--no-config", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["--universal", "--python-version", oldest, "--fork-strategy", "fewest", *arguments]
    ran = subprocess.run(command, input=wanted, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    if ran.returncode:
        sys.exit(f"uv did not finish (see above). {LOCKS.name}/ and constraints.txt are as they were.")
    lock = defaultdict(str)  # a package may have an entry for each of two systems
    for entry in re.finditer(r"^([\w.-]+)==.*\n(?: .*\n)*", ran.stdout, re.MULTILINE):
        lock[entry[1]] += entry[0]
    return dict(lock)


def project() -> dict:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pin(upgrade: bool) -> str:
    """Return the new constraints.txt: one version of each package, all extras considered."""
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "constraints.txt"
        if not upgrade:
            shutil.copy(ROOT / "constraints.txt", pins)  # uv keeps the versions of a file that it is to write
        compile_lock("pyproject.toml", "-", "--all-extras", "--output-file", str(pins), wanted=builders())
        return pins.read_text(encoding="utf-8")


def builders() -> str:
    """Return what builds the course, one requirement a line: it is installed, hashes checked, like all else."""
    return "\n".join(project()["build-system"]["requires"])


def locks(constraints: Path) -> dict[str, Lock]:
    """Return each file's packages; a package of the course is not listed again in the files that are added to it."""
    hashed = ("--constraint", str(constraints), "--generate-hashes")
    extras = project()["project"]["optional-dependencies"]
    course = compile_lock("pyproject.toml", "-", *hashed, wanted=builders())
    added = {
        extra: without(compile_lock("pyproject.toml", "--extra", extra, *hashed), course) for extra in ("test", "bench")
    }
    alone = {extra: compile_lock("-", *hashed, wanted="\n".join(extras[extra])) for extra in ("teach", "site", "lock")}
    cuda = {name: entry for name, entry in course.items() if name.startswith(CUDA)}
    source = {name: entry for name, entry in added["bench"].items() if name in SOURCE_ONLY}
    return {
        "course": without(course, cuda),
        "torch-cuda": cuda,
        "torch-cpu": torch_without_cuda(course),
        "test": added["test"],
        "bench": without(added["bench"], source),
        "bench-source": source,
        **alone,
    }


def without(lock: Lock, other: Lock) -> Lock:
    """Return the entries of packages that the other does not name."""
    return {name: entry for name, entry in lock.items() if name not in other}


def torch_without_cuda(course: Lock) -> Lock:
    """Return PyTorch's own builds of the same versions; its index is asked only if there are other versions now."""
    wanted = [re.match(r"[^\s;]+", course[name]).group() + "+cpu" for name in TORCH]
    kept = LOCKS / "torch-cpu.txt"
    if kept.exists():
        entries = re.findall(r"^(([\w-]+)==\S+).*\n((?: .*\n)*)", kept.read_text(encoding="utf-8"), re.MULTILINE)
        if [entry[0] for entry in entries] == wanted:
            return {name: f"{pinned} \\\n{hashes}" for pinned, name, hashes in entries}
    return compile_lock("-", "--no-deps", "--generate-hashes", "--default-index", PYTORCH, wanted="\n".join(wanted))


def write(name: str, lock: Lock) -> None:
    """Write one file of requirements/."""
    index = f"--index-url {PYTORCH}\n" if name == "torch-cpu" else ""
    text = HEADER.format(ABOUT[name]) + index + "".join(lock.values())
    (LOCKS / f"{name}.txt").write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Resolve everything, then write everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions within the bounds")
    pinned = pin(parser.parse_args().upgrade)
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(pinned, encoding="utf-8")
        found = locks(constraints)
    LOCKS.mkdir(exist_ok=True)
    for name, lock in found.items():
        write(name, lock)
    about = "The versions that the course is tested with: pip install -c constraints.txt -e . takes exactly these."
    (ROOT / "constraints.txt").write_text(HEADER.format(about) + pinned, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
