"""Measure how the notebooks read: cells, lines, words, and the minutes that a reader needs. Prints a table.

    python tools/measures.py notebooks/*.ipynb

Words are those of the text, without blocks of code, formulas, links' addresses and HTML. Minutes: 200 words or 10 lines
of code per minute, 6 for each exercise. The hidden cell for Google Colab, tagged `colab`, is left out. Below the table
stands what is out of bounds; tests/test_measures.py holds the lessons to it.
"""

import re
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
from address import TAG as COLAB

WORDS_PER_MINUTE, LINES_PER_MINUTE, MINUTES_PER_EXERCISE = 200, 10, 6
NO_PROSE = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$\n]+\$|<[^>]*>|\]\([^)]*\)", re.DOTALL)
"""What is in a markdown cell and is no text."""


class Measures(NamedTuple):
    """What is counted in one notebook; `led` is the share of code cells that stand right under prose."""

    code_cells: int
    median: float
    longest: int
    over_ten: int
    widest: int
    code_lines: int
    words: int
    words_per_line: float
    led: float
    exercises: int
    minutes: int


def measure(path: Path) -> Measures:
    """Count the notebook at `path`. Blank lines do not count as lines; a cell without code does not count at all."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.source.strip()]
    cells = [cell for cell in cells if COLAB not in cell.metadata.get("tags", [])]
    code = [[line for line in cell.source.splitlines() if line.strip()] for cell in cells if cell.cell_type == "code"]
    lengths = [len(lines) for lines in code] or [0]
    prose = [NO_PROSE.sub(" ", cell.source) for cell in cells if cell.cell_type == "markdown"]
    words = sum(len(re.findall(r"\w[\w'’.-]*", text)) for text in prose)
    led = [
        before is not None and before.cell_type == "markdown"
        for before, cell in zip([None, *cells], cells, strict=False)
        if cell.cell_type == "code"
    ]
    exercises = sum("exercise" in cell.metadata.get("tags", []) for cell in cells)
    lines = sum(lengths)
    minutes = words / WORDS_PER_MINUTE + lines / LINES_PER_MINUTE + exercises * MINUTES_PER_EXERCISE
    return Measures(
        code_cells=len(code),
        median=statistics.median(lengths),
        longest=max(lengths),
        over_ten=sum(length > 10 for length in lengths),
        widest=max((len(line) for lines_ in code for line in lines_), default=0),
        code_lines=lines,
        words=words,
        words_per_line=words / max(1, lines),
        led=sum(led) / max(1, len(led)),
        exercises=exercises,
        minutes=5 * round(minutes / 5),
    )


def misses(m: Measures, *, cells_at_least: int = 0) -> list[str]:
    """Say which measures of a lesson are out of bounds; nothing if none is."""
    bounds = {
        f"{m.code_cells} code cells, at most 40": m.code_cells <= 40,
        f"{m.code_cells} code cells, at least {cells_at_least}": m.code_cells >= cells_at_least,
        f"a median of {m.median:g} lines per code cell, at most 4": m.median <= 4,
        f"{m.over_ten} of {m.code_cells} code cells over 10 lines, at most 5 %": m.over_ten <= 0.05 * m.code_cells,
        f"a line of {m.widest} characters, at most 88": m.widest <= 88,
        f"{m.words_per_line:.1f} words per line of code, at least 12": m.words_per_line >= 12,
        f"{m.led:.0%} of the code cells right under text, at least 95 %": m.led >= 0.95,
    }
    return [said for said, held in bounds.items() if not held]


def lesson_misses(path: Path) -> list[str]:
    """As `misses`, for the lesson at `path`: those that teach, 1 to 4, have at least 20 code cells."""
    return misses(measure(path), cells_at_least=20 if path.name[:2] in ("01", "02", "03", "04") else 0)


def table(paths: list[Path]) -> str:
    """Write the measures of several notebooks, one line each."""
    rows = ["notebook              cells  median  longest  >10  widest  lines  words  w/line   led  exercises  minutes"]
    for path in paths:
        m = measure(path)
        rows.append(
            f"{path.stem:24}{m.code_cells:3}{m.median:8.1f}{m.longest:9}{m.over_ten:5}{m.widest:8}{m.code_lines:7}"
            f"{m.words:7}{m.words_per_line:8.1f}{m.led:6.0%}{m.exercises:11}{m.minutes:9}"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    notebooks = [Path(name) for name in sys.argv[1:]]
    print(table(notebooks))
    for notebook in notebooks:
        for miss in lesson_misses(notebook):
            print(f"{notebook.stem}: {miss}")
