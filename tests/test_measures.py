"""The lessons read as they should, by numbers: short cells, narrow lines, text around code, minutes that were counted.

`pytest -s tests/test_measures.py` shows the table, as `python tools/measures.py notebooks/*.ipynb` does.
"""

import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import measures  # noqa: E402

LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIRST, *LATER = [path.name for path in LESSONS]


@pytest.fixture(scope="module", autouse=True)
def _table():
    print("\n" + measures.table(LESSONS))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_a_lesson_keeps_its_measures(path):
    assert measures.lesson_misses(path) == []


def said_minutes(text):
    """Return the minutes that the rows of a table give to the lessons they link to."""
    rows = re.findall(r"^\|.*\]\((?:notebooks/)?(\w+\.ipynb)\).*?\b(\d+)\s+min", text, re.MULTILINE)
    return {lesson: int(minutes) for lesson, minutes in rows}


def prose(path):
    return "\n\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")


COUNTED = {path.name: measures.measure(path).minutes for path in LESSONS}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_a_lesson_opens_with_the_minutes_that_were_counted(path):
    head = nbformat.read(path, as_version=4).cells[0].source
    assert re.findall(r"\*\*About (\d+) minutes\.\*\*", head) == [str(COUNTED[path.name])]


def test_the_tables_of_lessons_give_the_minutes_that_were_counted():
    assert said_minutes((ROOT / "README.md").read_text(encoding="utf-8")) == COUNTED
    assert COUNTED.items() >= said_minutes(prose(LESSONS[0])).items()
    assert said_minutes(prose(LESSONS[0])).keys() >= set(LATER)


def test_minutes_are_found_in_the_rows_of_a_table():
    rows = ("| [0 A](notebooks/00_a.ipynb) | x | 10 min |", "| [1](01_b.ipynb) | 45 minutes |", "[2](02_c.ipynb) 7 min")
    assert said_minutes("\n".join(rows)) == {"00_a.ipynb": 10, "01_b.ipynb": 45}
    assert said_minutes("| [1 A](01_a.ipynb) | x |") == {}


TICS = {  # what a native editor would not leave: few words, so that none is struck out that is right
    r"(?:[mµ]?s|(?:milli)?seconds?|minutes?|[kMG]B|bytes) an? (?:query|picture|vector|search|class|row)": "per query",
    r"(?:one|two|eight|\d+) (?:numbers?|rows?|vectors?|bytes?|bits?) an? (?:query|picture|number|pixel)": "per picture",
    r"nobody|somebody|whoever": "name who it is",
    r"anew": "again",
    r"takes? a decision": "decide",
    r"to and fro": "back and forth",
}


def tics(text):
    """List the tics of a text, each with the words before it."""
    bare = re.sub(r"`[^`\n]*`", " ", measures.NO_PROSE.sub(" ", text))
    return [
        f"{found[0]!r}: {better}"
        for tic, better in TICS.items()
        for found in re.finditer(rf"(?:\S+ ){{0,3}}\b(?:{tic})\b", bare, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_a_lesson_has_none_of_the_known_tics(path):
    assert tics(prose(path)) == []


@pytest.mark.parametrize("text, count", [
    ("It takes 1.2 ms a query.", 1), ("some 3 seconds a picture", 1), ("one row a picture", 1), ("2 bytes a number", 1),
    ("Whoever reads this, and nobody else", 2), ("1.2 ms per query; a query takes long", 0),
    ("In a row a picture's colours change", 0), ("`nobody` and $x$ <b title='nobody'>", 0), ("anew", 1), ("renewed", 0),
    ("```python\nnobody = 3\n```", 0), ("These vectors: a query stands first", 0),
])  # fmt: skip
def test_tics_are_found_and_nothing_else(text, count):
    assert len(tics(text)) == count


# The tool itself, on notebooks counted by hand


def markdown(source):
    return nbformat.v4.new_markdown_cell(source)


def code(source, *tags):
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)} if tags else {})


def counted(folder, *cells):
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), folder / "made_up.ipynb")
    return measures.measure(folder / "made_up.ipynb")


@pytest.mark.parametrize("source, words", [
    ("Four words stand here.", 4),
    ("# 1 · Title\n\nIt's a well-known thing, 3.5 times.", 8),
    ("Formulas $a + b$ and $$c = d\n+ e$$ do not count", 5),
    ("a [link's text](https://example.org/some/words) counts", 4),
    ("<details><summary>Solution</summary>\n\n```python\nreturn 3\n```\n\nAfter it.\n\n</details>", 3),
    ("`inline` code is read", 4),
    ("", 0),
])  # fmt: skip
def test_words_are_those_of_the_text(source, words, tmp_path):
    assert counted(tmp_path, markdown(source)).words == words


def test_lines_and_cells_are_counted(tmp_path):
    m = counted(
        tmp_path,
        markdown("one two three four five six"),
        code("a = 1\n\n\nb = 2\n   "),  # 2 lines, led
        code("c = 3"),  # 1 line, not led
        markdown("seven"),
        code("\n".join(f"x{i} = {i}" for i in range(11))),  # 11 lines, led
        markdown(""),  # nothing: it leads to nothing, and hides nothing
        code("  \n"),
        markdown("eight"),
        code("y = '" + "z" * 85 + "'\nw = 1\nv = 2", "exercise"),  # 3 lines, led; 5 + 85 + 1 characters
    )
    assert m._replace(minutes=0) == measures.Measures(
        code_cells=4, median=2.5, longest=11, over_ten=1, widest=91, code_lines=17, words=8, words_per_line=8 / 17,
        led=0.75, exercises=1, minutes=0,
    )  # fmt: skip


@pytest.mark.parametrize("words, lines, exercises, minutes", [
    (2000, 100, 0, 20),  # 10 + 10
    (2000, 100, 3, 40),  # 10 + 10 + 18 = 38
    (400, 0, 0, 0), (600, 0, 0, 5),  # 2 and 3, to the nearest five
])  # fmt: skip
def test_minutes_follow_from_words_lines_and_exercises(words, lines, exercises, minutes, tmp_path):
    stubs = [code("", "exercise") for _ in range(exercises)]
    stubs = [cell | {"source": "..."} for cell in stubs]
    made = code("\n".join(["x = 1"] * (lines - exercises)))
    assert counted(tmp_path, markdown("word " * words), made, *map(nbformat.from_dict, stubs)).minutes == minutes


def test_the_cell_for_colab_counts_for_nothing(tmp_path):
    cells = [markdown("a title"), code("x = 1", "colab"), code("y = 2\nz = 3")]
    assert counted(tmp_path, *cells) == counted(tmp_path, cells[0], cells[2])


def test_a_notebook_without_code_can_be_measured(tmp_path):
    m = counted(tmp_path, markdown("only text"))
    assert (m.code_cells, m.median, m.longest, m.widest, m.words_per_line) == (0, 0, 0, 0, 2)


GOOD = measures.Measures(
    code_cells=40, median=4.0, longest=12, over_ten=2, widest=88, code_lines=150, words=1800, words_per_line=12.0,
    led=0.95, exercises=4, minutes=50,
)  # fmt: skip


@pytest.mark.parametrize("change, said", [
    ({"code_cells": 41}, "41 code cells, at most 40"),
    ({"code_cells": 19, "over_ten": 0}, "19 code cells, at least 20"),
    ({"median": 4.5}, "a median of 4.5 lines"), ({"over_ten": 3}, "3 of 40 code cells over 10 lines"),
    ({"widest": 89}, "a line of 89 characters"), ({"words_per_line": 11.9}, "11.9 words per line"),
    ({"led": 0.94}, "94% of the code cells right under text"),
])  # fmt: skip
def test_what_is_out_of_bounds_is_said(change, said):
    assert measures.misses(GOOD, cells_at_least=20) == []
    (miss,) = measures.misses(GOOD._replace(**change), cells_at_least=20)
    assert miss.startswith(said)


def test_only_the_lessons_that_teach_need_many_cells(tmp_path):
    for name in ("00_start.ipynb", "03_index.ipynb", "05_explorer.ipynb"):
        nbformat.write(nbformat.v4.new_notebook(cells=[markdown("word " * 12), code("x = 1")]), tmp_path / name)
    few = {path.name[:2]: measures.lesson_misses(path) for path in tmp_path.iterdir()}
    assert few == {"00": [], "03": ["1 code cells, at least 20"], "05": []}
