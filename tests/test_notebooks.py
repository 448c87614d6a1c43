"""What a notebook of the course must be like, besides giving the same numbers again (nbval sees to those)."""

import ast
import copy
import itertools
import json
import re
import textwrap
from pathlib import Path

import nbformat
import pytest
import stubs

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


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


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_exercises_are_not_solved_yet(path):
    cells = nbformat.read(path, as_version=4).cells
    exercises = len(stubs.exercises(cells))
    assert 3 <= exercises <= 6 or (exercises == 0 and path.stem in ("00_start_here", LESSONS[-1].stem))
    assert sum("Not solved yet" in str(cell.get("outputs")) for cell in cells) == exercises


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("data/**/*.md"), *LESSONS])


def text_of(path):
    """Return the text of a page or of a notebook, without code, in which brackets are no links."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join(c.source for c in nbformat.reads(text, 4).cells if c.cell_type == "markdown")
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(path):
    """List what a link into a page may name: GitHub writes headings in small letters, JupyterLab as they are."""
    headings = [re.sub(r"[`*]", "", line) for line in re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE)]
    in_jupyter = [heading.strip().replace(" ", "-") for heading in headings]
    return in_jupyter if path.suffix == ".ipynb" else [re.sub(r"[^\w-]", "", name.lower()) for name in in_jupyter]


def broken(page):
    """List the links of a page, to files of the course, that lead nowhere."""
    found = []
    for link in re.findall(r"\]\(([^()\s]+)\)", text_of(page)):
        name, _, anchor = link.partition("#")
        target = page if not name else page.parent / name
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "words.md").write_text("# Words\n\n## average precision\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "# Two words\n[a](words.md) [b](words.md#average-precision) [c](#two-words) [d](https://e.org/f#g)\n"
        "`[h](i.md)` [j](k.md) ![l](m.png) [n](words.md#recall) [o](#three-words)\n",
        encoding="utf-8",
    )
    assert broken(page) == ["k.md", "m.png", "words.md#recall", "#three-words"]


def test_the_glossary_reads_the_same_everywhere():
    terms = re.findall(r"^## (.+)$", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert terms == sorted(set(terms))
    assert all(re.fullmatch(r"[a-z]+([ -][a-z]+)*", term) for term in terms)  # one anchor on GitHub and in JupyterLab


FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


class Bare(ast.NodeTransformer):
    """Strike out docstrings, and give the variables numbers, in the order in which they come."""

    def __init__(self, node):
        inside = list(ast.walk(node))
        own = [n.arg for n in inside if isinstance(n, ast.arg)]
        own += [n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        self.numbers = {name: f"_{i}" for i, name in enumerate(dict.fromkeys(own))}
        self.numbers[getattr(node, "name", "")] = "_itself"

    def visit_Name(self, node):
        return ast.Name(self.numbers.get(node.id, node.id), node.ctx)

    def visit_arg(self, node):
        return ast.arg(self.numbers[node.arg])

    def visit_FunctionDef(self, node):
        node.name = self.numbers.get(node.name, node.name)
        node.body = (node.body[1:] if ast.get_docstring(node) else node.body) or [ast.Pass()]
        return self.generic_visit(node)

    visit_ClassDef = visit_AsyncFunctionDef = visit_FunctionDef


def definitions(source):
    """List the name and the bare text of each function, class, and dictionary that holds lambdas.

    What stands inside another function or class has no name for others, and a stub has no text.
    """
    found = []

    def look(node, has_name):
        defined = isinstance(node, FUNCTIONS | ast.ClassDef)
        values = node.value.values if isinstance(getattr(node, "value", None), ast.Dict) else []
        if defined or any(isinstance(value, ast.Lambda) for value in values):
            thing = copy.deepcopy(node if defined else node.value)
            text = ast.unparse(ast.fix_missing_locations(Bare(thing).visit(thing)))
            is_stub = re.fullmatch(r".*:\n *(return \.\.\.|\.\.\.|pass)", text)
            targets = [node] if defined else getattr(node, "targets", None) or [getattr(node, "target", node)]
            name = getattr(targets[0], "name", getattr(targets[0], "id", ""))
            found.append((name if has_name else "", "" if is_stub else text))
        for child in ast.iter_child_nodes(node):
            look(child, has_name and not defined)

    look(ast.parse(source), True)
    return found


def defined_twice(lessons, helpers):
    """List what two lessons define, or a lesson and a helper: under one name, or with one text under two."""
    known = {place: definitions(source) for place, source in {**lessons, **helpers}.items()}
    return [
        f"{name or 'a part'} of {lesson} is {other or 'a part'} of {place} too"
        for lesson, place in itertools.combinations(known, 2)
        if lesson in lessons
        for (name, text), (other, its_text) in itertools.product(known[lesson], known[place])
        if (name and name == other) or (text and text == its_text)
    ]


def test_what_lessons_share_is_defined_once():
    lessons = {path.name: nbformat.read(path, as_version=4).cells for path in LESSONS}
    sources = {name: "\n".join(c.source for c in cells if c.cell_type == "code") for name, cells in lessons.items()}
    rooms = sorted((ROOT / "helpers").rglob("*.py"))
    assert len(rooms) > 7
    assert defined_twice(sources, {str(room): room.read_text(encoding="utf-8") for room in rooms}) == []


HALF = "def half(x):\n    y = x / 2\n    return y\n"
IN_A_CLASS = "class Pair:\n" + textwrap.indent(HALF, "    ")


@pytest.mark.parametrize("one, other, found", [
    (HALF, "def half(x):\n    return 0.5 * x", "half of 1 is half of 2"),
    (HALF, "class half:\n    pass", "half of 1 is half of 2"),
    (HALF, HALF.replace("half", "middle").replace("y", "z").replace("x", "of"), "half of 1 is middle of 2"),
    (HALF, HALF.replace("(x):", "s(x):\n    '''Return a half.'''"), "half of 1 is halfs of 2"),
    (HALF, IN_A_CLASS, "half of 1 is a part of 2"),
    ("if True:\n" + textwrap.indent(HALF, "    "), "def half():\n    return 3", "half of 1 is half of 2"),
    ("ways = {'a': lambda p: p}", "ways: dict = {'b': lambda q: -q}", "ways of 1 is ways of 2"),
    ("ways = {'a': lambda p: p}", "others = {'a': lambda q: q}", "ways of 1 is others of 2"),
    (HALF, "def third(x):\n    y = x / 3\n    return y", None),
    (HALF, "class Half:\n    def half(self):\n        return 0.5", None),
    (HALF, "half = 0.5", None),
    ("ways = {'a': 1}", "ways = {'a': 2}", None),
    ("def a(x, y):\n    '''Return.'''\n    return ...", "def b(x, y):\n    return ...", None),
])  # fmt: skip
def test_a_second_definition_is_found(one, other, found):
    expected = [f"{found} too"] if found else []
    assert defined_twice({"1": one, "2": other}, {}) == defined_twice({"1": one}, {"2": other}) == expected
    assert defined_twice({}, {"1": one, "2": other}) == []
