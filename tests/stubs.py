"""The exercises of the lessons: a cell tagged `exercise` holds a stub and, below it, the line that checks it."""

import re
from typing import NamedTuple

SOLUTION = re.compile(r"<details><summary>Solution</summary>\s*```python\n(.*?)```", re.DOTALL)
CHECK = re.compile(r"^solved = lab\.check\(", re.MULTILINE)


class Exercise(NamedTuple):
    """The name of the function that is asked for, the stub, and the check."""

    name: str
    stub: str
    check: str


def exercises(cells):
    """Return the cells with exercises."""
    return [cell for cell in cells if "exercise" in cell.metadata.get("tags", [])]


def read(cell):
    """Return the exercise of a cell."""
    at = CHECK.search(cell.source).start()
    return Exercise(re.match(r"def (\w+)", cell.source)[1], cell.source[:at].rstrip(), cell.source[at:].rstrip())


def solve(cells):
    """Put into each exercise the folded solution that follows it, and leave its check; return how many there are."""
    found = exercises(cells)
    for cell in found:
        after = cells[cells.index(cell) + 1 :]
        (solution, *_) = filter(None, (SOLUTION.search(later.source) for later in after))
        cell.source = f"{solution[1]}\n\n{read(cell).check}"
    return len(found)
