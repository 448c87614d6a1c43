"""The ways to install the course name the same packages with the same bounds, and make installs nothing else."""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKE = shutil.which("make")
needs_make = pytest.mark.skipif(MAKE is None, reason="there is no make")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems take PyTorch from PyPI as it is")


def normal(name):
    return name.lower().replace("_", "-")


def bounds(requirements):
    pairs = (re.fullmatch(r"([\w-]+)(.*)", requirement).groups() for requirement in requirements)
    return {normal(name): allowed for name, allowed in pairs}


def test_environment_yml_agrees_with_pyproject():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    by_pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    conda = bounds(entry for entry in listed if isinstance(entry, str))
    assert conda.pop("python") == PROJECT["requires-python"]
    conda.pop("pip")
    conda["torch"] = conda.pop("pytorch-cpu")  # the name that conda-forge gives it
    assert "-e ." in by_pip
    assert conda | bounds(p for p in by_pip if p != "-e .") == bounds(PROJECT["dependencies"])


def pins(path):
    """Return the version and the hashes of each package in a file of pins."""
    entries = re.findall(r"^([\w.-]+)==([^\s;]+).*\n((?: .*\n)*)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {normal(name): (version, re.findall(r"--hash=(\S+)", rest)) for name, version, rest in entries}


CONSTRAINTS = {name: version for name, (version, _) in pins(ROOT / "constraints.txt").items()}


def locked(*names):
    return {name: pin for file in names for name, pin in pins(ROOT / "requirements" / f"{file}.txt").items()}


def test_constraints_pin_every_package_within_its_bounds():
    wanted = bounds(PROJECT["dependencies"] + [package for extra in EXTRAS.values() for package in extra])
    for name, allowed in wanted.items():
        low, high = re.fullmatch(r">=([\d.]+),<([\d.]+)", allowed).groups()
        version = tuple(int(part) for part in re.findall(r"\d+", CONSTRAINTS[name])[:3])
        assert tuple(map(int, low.split("."))) <= version < tuple(map(int, high.split("."))), name


def test_the_version_and_its_date_are_the_same_wherever_they_stand():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    history = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(.+?)\] - (\S+)$", history, re.MULTILINE).groups()
    assert newest == (PROJECT["version"], str(citation["date-released"]))
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_hashes_and_the_version_of_the_constraints(path):
    assert pins(path)
    for name, (version, hashes) in pins(path).items():
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", known) for known in hashes), name
        assert version == CONSTRAINTS[name] + ("+cpu" if path.name == "torch-cpu.txt" else ""), name
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "==" in line]
    assert len(lines) == len(pins(path)), "a line that was not understood"


def test_every_constraint_is_locked():
    assert set(locked(*(path.stem for path in LOCKS))) == set(CONSTRAINTS)


@pytest.mark.parametrize(
    "files, wanted",
    [
        (["course"], PROJECT["dependencies"]),
        (["course"], [re.sub(r"[^\w-].*", "", builder) for builder in PYPROJECT["build-system"]["requires"]]),
        (["course", "test"], EXTRAS["test"]),
        (["course", "bench", "bench-source"], EXTRAS["bench"]),
        (["teach"], EXTRAS["teach"]),
        (["lock"], EXTRAS["lock"]),
        (["torch-cpu"], ["torch", "torchvision"]),
    ],
)
def test_what_is_declared_is_locked_where_it_is_installed(files, wanted):
    assert set(bounds(wanted)) <= set(locked(*files))


def test_the_lists_leave_nothing_out_that_a_package_needs():
    # make installs what is on the lists and nothing else, so what they forget is missing here
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def run_make(*arguments):
    """Call make as from a terminal, though the tests themselves run below `make test`."""
    environment = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}}
    return subprocess.run([MAKE, *arguments], cwd=ROOT, capture_output=True, text=True, env=environment)


def makefile(variable):
    return re.search(rf"^{variable} \??= (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE).group(1)


@needs_make
def test_make_installs_nothing_without_a_hash():
    places = ["VENV=build/no-venv", "TEACH=build/no-teach"]
    targets = ["build/no-venv/test", "build/no-teach/ready", "bench", "locks"]
    dry = run_make("-n", *places, *targets)
    assert dry.returncode == 0, dry.stderr
    installs = re.findall(r"pip install.*", dry.stdout)
    assert len(installs) == 9
    assert [line for line in installs if "--require-hashes --only-binary" not in line] == [
        "pip install --quiet --no-deps --no-index --no-build-isolation -e ."  # the course itself: nothing is fetched
    ]


def tiny_wheel(folder):
    """Write a wheel that contains one empty module, and return its hash."""
    wheel, info = folder / "tiny-1.0-py3-none-any.whl", "tiny-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_a_wheel_whose_hash_is_not_on_the_list_stops_the_installation(tmp_path):
    def install(known):
        (tmp_path / "list.txt").write_text(f"tiny==1.0 --hash=sha256:{known}\n")
        source = ["--no-index", "--find-links", tmp_path, "--target", tmp_path / "installed"]
        command = [sys.executable, "-m", "pip", *makefile("LOCKED").split(), *source, "-r", tmp_path / "list.txt"]
        return subprocess.run(command, capture_output=True, text=True)

    right = tiny_wheel(tmp_path)
    refused = install(right[::-1])
    assert refused.returncode != 0 and makefile("WRONG_HASH") in refused.stderr and right in refused.stderr
    assert not (tmp_path / "installed" / "tiny.py").exists()
    assert install(right).returncode == 0
    assert (tmp_path / "installed" / "tiny.py").exists()


def make_course(folder, *, has_torch, pytorch):
    """Call make with a pip that only writes down what it is asked for, and says `pytorch` of PyTorch's own index."""
    (folder / "bin").mkdir()
    (folder / "pyvenv.cfg").touch()
    (folder / "bin" / "python").write_text(f"#!/bin/sh\nexit {0 if has_torch else 1}\n")
    (folder / "bin" / "pip").write_text(
        f"""#!/bin/sh
echo "$*" >> "{folder}/asked"
case "$*" in *torch-cpu*) [ -z "{pytorch}" ] || {{ echo "{pytorch}" >&2; exit 1; }};; esac
"""
    )
    for name in ("python", "pip"):
        (folder / "bin" / name).chmod(0o755)
    made = run_make(f"VENV={folder}", f"{folder}/course")
    asked = (folder / "asked").read_text().splitlines()
    return made, [re.search(r"[\w-]+(?=\.txt)|-e \.$", line).group() for line in asked]


@needs_make
@on_linux
@pytest.mark.parametrize(
    "has_torch, pytorch, asked",
    [
        (False, "", ["torch-cpu", "course", "-e ."]),
        (False, "Could not find a version", ["torch-cpu", "torch-cuda", "course", "-e ."]),
        (True, "", ["course", "-e ."]),
    ],
)
def test_make_takes_pytorch_without_cuda_where_it_can(tmp_path, has_torch, pytorch, asked):
    made, seen = make_course(tmp_path, has_torch=has_torch, pytorch=pytorch)
    assert made.returncode == 0, made.stderr
    assert seen == asked
    assert ("does not answer" in made.stdout) == ("torch-cuda" in asked)


@needs_make
@on_linux
def test_a_changed_build_of_pytorch_stops_make_and_is_shown(tmp_path):
    made, seen = make_course(tmp_path, has_torch=False, pytorch=f"THESE {makefile('WRONG_HASH')}: torch")
    assert made.returncode != 0
    assert seen == ["torch-cpu"]
    assert makefile("WRONG_HASH") in made.stdout and "does not answer" not in made.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_name_actions_by_commit_and_may_only_read(path):
    text = path.read_text(encoding="utf-8")
    used = re.findall(r"uses: *(.*)", text)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        if "permissions" in job:  # what publishes the website runs nothing of ours
            assert job["permissions"] == {"pages": "write", "id-token": "write"}
            assert [step["uses"].split("@")[0] for step in job["steps"]] == ["actions/deploy-pages"]
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@needs_make
def test_the_dev_container_installs_by_make_and_opens_a_copy_of_lesson_0(tmp_path):
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    python = re.fullmatch(r"mcr.microsoft.com/devcontainers/python:3.(\d+)-bookworm", container["image"])
    assert int(python[1]) in range(11, 15)
    target, program = re.fullmatch(r"make (\S+) && \.venv/bin/python (\S+)", container["updateContentCommand"]).groups()
    assert target == f"{makefile('VENV')}/course"
    dry = run_make("-n", "VENV=build/no-venv", target.replace(makefile("VENV"), "build/no-venv"))
    assert "pip install" in dry.stdout and dry.returncode == 0
    subprocess.run([sys.executable, ROOT / program, "--to", tmp_path / "my_course"], check=True, capture_output=True)
    for opened in container["customizations"]["codespaces"]["openFiles"]:
        assert (tmp_path / opened).is_file()
    interpreter = container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter == "${workspaceFolder}/.venv/bin/python"


def imported(folder):
    """Return the packages of others that the Python files of a folder import, anywhere in them."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
    own = {"helpers", *(path.stem for part in (folder, "tools") for path in (ROOT / part).glob("*.py"))}
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - own


@pytest.mark.parametrize("folder, extra", [("helpers", []), ("tests", EXTRAS["test"])])
def test_what_is_imported_is_declared(folder, extra):
    declared, provides = bounds(PROJECT["dependencies"] + extra), packages_distributions()
    undeclared = {
        name for name in imported(folder) if not any(normal(package) in declared for package in provides[name])
    }
    assert undeclared == set()


def test_all_that_lies_in_helpers_is_installed():
    listed = PYPROJECT["tool"]["setuptools"]
    assert listed["packages"]["find"]["include"] == ["helpers*"]
    files = [path.relative_to(ROOT) for path in (ROOT / "helpers").rglob("*.*") if "__pycache__" not in path.parts]
    for file in files:
        package = ".".join(file.parent.parts)
        assert (ROOT / file.parent / "__init__.py").is_file(), file
        assert file.suffix == ".py" or file.name in listed["package-data"][package], file
    assert len(files) > 10
