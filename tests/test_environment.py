"""The ways to install the course name the same packages with the same bounds."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def bounds(requirements):
    return dict(re.fullmatch(r"([\w-]+)(.*)", requirement).groups() for requirement in requirements)


def test_environment_yml_agrees_with_pyproject():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    by_pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    conda = bounds(entry for entry in listed if isinstance(entry, str))
    assert conda.pop("python").startswith(PROJECT["requires-python"])
    conda.pop("pip")
    conda["torch"] = conda.pop("pytorch-cpu")  # the name that conda-forge gives it
    assert "-e ." in by_pip
    assert conda | bounds(p for p in by_pip if p != "-e .") == bounds(PROJECT["dependencies"])


def test_constraints_pin_every_package_within_its_bounds():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines if line and not line.startswith("#"))
    wanted = bounds(
        PROJECT["dependencies"] + [p for extra in ("test", "teach") for p in PROJECT["optional-dependencies"][extra]]
    )
    for name, allowed in wanted.items():
        low, high = re.fullmatch(r">=([\d.]+),<([\d.]+)", allowed).groups()
        version = tuple(int(part) for part in re.findall(r"\d+", pinned[name])[:3])
        assert tuple(map(int, low.split("."))) <= version < tuple(map(int, high.split("."))), name
