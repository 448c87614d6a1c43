"""The helpers stay a small house: imports run one way, and the rooms that a reader enters stay thin."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

HELPERS = Path(__file__).resolve().parent.parent / "helpers"
FLAT = {"images", "metrics", "evaluate", "clip", "store", "show", "lab"}
BACK = {"backroom", "exercises"}
"""Rooms that no lesson enters: odd files, places and networks; the answers to the exercises."""

BELOW = {
    "backroom": set(),
    "images": {"backroom"},
    "metrics": {"images"},
    "evaluate": {"images"},
    "exercises": {"evaluate", "images", "metrics"},
    "clip": {"backroom", "images", "metrics", "evaluate"},
    "store": {"backroom", "clip", "images", "metrics", "evaluate"},
    "show": {"backroom", "images", "metrics", "evaluate"},
    "lab": {"exercises", "images", "metrics", "evaluate"},
    "explorer": {"store", "clip", "show", "lab", "images", "metrics", "evaluate"},
}
"""Which rooms each may import."""


def room(path):
    return path.relative_to(HELPERS).parts[0].removesuffix(".py")


def modules():
    return [path for path in sorted(HELPERS.rglob("*.py")) if path != HELPERS / "__init__.py"]


def imported(path):
    """Return the rooms that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written out, from helpers on"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("helpers.")}
    return found - {room(path)}


def code_lines(path):
    """Count the lines with code: no docstrings, comments or blank lines."""
    source = path.read_text(encoding="utf-8")
    said = set()
    for node in ast.walk(ast.parse(source)):
        for statement in getattr(node, "body", ()) if isinstance(getattr(node, "body", None), list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                said |= set(range(statement.lineno, statement.end_lineno + 1))
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in nothing:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - said)


def test_the_rooms_are_those_of_the_plan():
    assert {room(path) for path in modules()} == FLAT | BACK | {"explorer"}
    assert {room(path) for path in modules() if path.parent == HELPERS} == FLAT


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(HELPERS).as_posix())
def test_imports_run_one_way(path):
    assert imported(path) <= BELOW[room(path)]


def test_the_rooms_stay_thin():
    lines = {path: code_lines(path) for path in modules()}
    flat = sum(count for path, count in lines.items() if path.parent == HELPERS)
    explorer = sum(count for path, count in lines.items() if room(path) == "explorer")
    assert flat <= 1000, f"{flat} lines in the flat rooms: what no lesson has taught belongs elsewhere"
    assert explorer <= 450, f"{explorer} lines in the explorer"


def test_who_loads_a_model_loads_no_database_and_no_widgets():
    code = "import sys; from helpers import clip; print(*{'chromadb', 'matplotlib', 'ipywidgets'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == []
