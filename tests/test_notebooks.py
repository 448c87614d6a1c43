"""What a notebook of the course must be like, besides giving the same numbers again (nbval sees to those)."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTION = re.compile(r"<details><summary>Solution</summary>\s*```python\n(.*?)```", re.DOTALL)


def problems(text: str) -> list[str]:
    """List what is wrong with the notebook whose JSON is `text`; empty when nothing is."""
    notebook = json.loads(text)
    found = []
    if len(text.encode()) > 2_000_000:
        found.append("larger than 2 MB")
    if re.search(r"(/(home|Users|root|tmp|work|mnt)/\w)|([A-Z]:\\\\+Users)", text):
        found.append("a path of somebody's machine")
    if any("state" not in widget for widget in notebook["metadata"].get("widgets", {}).values()):
        found.append("widget metadata without state: GitHub refuses to show such a notebook")
    code = [c for c in notebook["cells"] if c["cell_type"] == "code" and "".join(c["source"]).strip()]
    if [c["execution_count"] for c in code] != list(range(1, len(code) + 1)):
        found.append("execution counts are not 1…n: run it from top to bottom in a fresh kernel")
    for cell in code:
        for output in cell["outputs"]:
            said = "".join(output.get("text", ""))
            data = {kind: "".join(value) for kind, value in output.get("data", {}).items() if kind.startswith("text/")}
            images = re.findall(r"<img\b[^>]*>", data.get("text/html", ""))
            where = f"cell [{cell['execution_count']}]"
            if output["output_type"] == "error":
                found.append(f"{where}: an error")
            if output.get("name") == "stderr" or re.search(r"\w*Warning\b", said):
                found.append(f"{where}: a warning, or other output on stderr")
            if any(kind.startswith("image/") for kind in output.get("data", {})):
                found.append(f"{where}: a figure without alt text (use show.figure)")
            if any(not re.search(r'\balt="[^"]{8,}"', image) for image in images):
                found.append(f"{where}: an image without alt text")
    return found


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_lesson_is_fit_to_be_read(path):
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_lesson_opens_with_aims_and_closes_with_a_recap(path):
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].source.startswith("# ") and "you will be able to" in cells[0].source
    assert "## What you can do now" in cells[-1].source and "**Next:**" in cells[-1].source


def good_notebook():
    html = '<img alt="a long description" src="data:image/png;base64,AAAA">'
    output = {"output_type": "display_data", "metadata": {}, "data": {"text/html": [html], "text/plain": ["Figure"]}}
    cell = {"cell_type": "code", "source": ["x"], "execution_count": 1, "metadata": {}, "outputs": [output]}
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def test_the_check_accepts_a_good_notebook():
    assert problems(json.dumps(good_notebook())) == []


def spoil(change):
    notebook = good_notebook()
    change(notebook, notebook["cells"][0])
    return problems(json.dumps(notebook))


STDERR = {"output_type": "stream", "name": "stderr", "text": ["careful"]}
PRINTED = {"output_type": "stream", "name": "stdout", "text": ["UserWarning: careful"]}
ERROR = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
PICTURE = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "AAAA", "text/plain": ["<Figure>"]}}
NO_ALT = {"output_type": "display_data", "metadata": {}, "data": {"text/html": ['<img src="data:image/png;base64,A">']}}


@pytest.mark.parametrize("change, said", [
    (lambda n, c: c.update(execution_count=2), "execution counts"),
    (lambda n, c: c.update(execution_count=None, outputs=[]), "execution counts"),
    (lambda n, c: c["outputs"].append(ERROR), "an error"),
    (lambda n, c: c["outputs"].append(STDERR), "a warning"),
    (lambda n, c: c["outputs"].append(PRINTED), "a warning"),
    (lambda n, c: c["outputs"].append(PICTURE), "without alt text"),
    (lambda n, c: c["outputs"].append(NO_ALT), "without alt text"),
    (lambda n, c: c.update(source=["open('/home/ann/x.png')"]), "a path"),
    (lambda n, c: c.update(source=["open('C:\\\\Users\\\\ann')"]), "a path"),
    (lambda n, c: n["metadata"].update(widgets={"x": {}}), "widget metadata"),
    (lambda n, c: c.update(source=["#" * 2_100_000]), "larger than 2 MB"),
])  # fmt: skip
def test_the_check_refuses(change, said):
    assert any(said in problem for problem in spoil(change))


def with_solutions(path):
    """Return the lesson with each exercise replaced by the folded solution below it, and how many there are.

    The largest size is a fifth of the lesson's: how long things take is no matter here, and nbval runs it as it is.
    """
    notebook = nbformat.read(path, as_version=4)
    solved = 0
    for i, cell in enumerate(notebook.cells):
        if "exercise" in cell.metadata.get("tags", []):
            solution = next(filter(None, (SOLUTION.search(later.source) for later in notebook.cells[i:])))
            cell.source = solution[1]
            solved += 1
        if cell.cell_type == "code":
            cell.source = cell.source.replace("100_000", "20_000")
    return notebook, solved


@pytest.mark.parametrize("path", [p for p in LESSONS if p.name[:2] not in ("00", "04")], ids=lambda path: path.name)
def test_exercises_fail_before_and_pass_after_they_are_solved(path, tmp_path):
    unsolved = nbformat.read(path, as_version=4)
    assert 3 <= sum("Not solved yet" in str(cell.get("outputs")) for cell in unsolved.cells) <= 6
    notebook, exercises = with_solutions(path)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    said = [str(cell.get("outputs")) for cell in notebook.cells]
    assert sum("✓ Correct" in text for text in said) == exercises
    assert not any("Not solved yet" in text or "Not yet:" in text for text in said)
