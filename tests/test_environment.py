"""The ways to install the course name the same packages with the same bounds."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


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


def test_constraints_pin_every_package_within_its_bounds():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(normal(line).split("==") for line in lines if line and not line.startswith("#"))
    wanted = bounds(
        PROJECT["dependencies"] + [p for extra in ("test", "teach") for p in PROJECT["optional-dependencies"][extra]]
    )
    for name, allowed in wanted.items():
        low, high = re.fullmatch(r">=([\d.]+),<([\d.]+)", allowed).groups()
        version = tuple(int(part) for part in re.findall(r"\d+", pinned[name])[:3])
        assert tuple(map(int, low.split("."))) <= version < tuple(map(int, high.split("."))), name


def imported(folder):
    """Return the packages of others that the Python files of a folder import, anywhere in them."""
    names = set()
    for path in (ROOT / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
    own = {"helpers", *(path.stem for part in (folder, "tools") for path in (ROOT / part).glob("*.py"))}
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - own


@pytest.mark.parametrize("folder, extra", [("helpers", []), ("tests", PROJECT["optional-dependencies"]["test"])])
def test_what_is_imported_is_declared(folder, extra):
    declared, provides = bounds(PROJECT["dependencies"] + extra), packages_distributions()
    undeclared = {
        name for name in imported(folder) if not any(normal(package) in declared for package in provides[name])
    }
    assert undeclared == set()
