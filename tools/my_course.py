"""Make working copies of the lessons in my_course/, without outputs: once, and never over a file that is there.

    python tools/my_course.py            # a copy of every lesson that my_course/ does not hold yet
    python tools/my_course.py --fresh    # a whole new set beside the old one: 00_start_here_2.ipynb and so on

Stored outputs would answer the questions that a lesson asks before a cell is run. The executed lessons stay in
notebooks/, for readers on the web. Links among lessons stay within a set, and all others lead where they led.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from address import TAG as COLAB

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r'(\]\(|\bhref=")(?:\./)?((?:assignments/)?\w+\.ipynb)\b')


def name_in_set(lesson: str, number: int) -> str:
    """Return the file name of a lesson in the set with this number: the first set has the names of the lessons."""
    return lesson if number == 1 else f"{lesson.removesuffix('.ipynb')}_{number}.ipynb"


def without_outputs(text: str, number: int, lessons: Collection[str]) -> str:
    """Return the notebook whose JSON is `text` without outputs and counts, its links as the set `number` needs them.

    The cell for Google Colab is left out: the copies are on the reader's own computer.

    Parameters
    ----------
    text : str
    number : int
        Of the set, from 1.
    lessons : collection of str
        The file names of the lessons in the set, as they are in notebooks/.

    Raises
    ------
    ValueError
        The text is no notebook.
    """

    def led(link: re.Match) -> str:
        before, name = link.groups()
        return before + (name_in_set(name, number) if name in lessons else f"../notebooks/{name}")

    notebook = json.loads(text)
    try:
        notebook["cells"] = [cell for cell in notebook["cells"] if COLAB not in cell["metadata"].get("tags", [])]
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell.update(outputs=[], execution_count=None)
            elif cell["cell_type"] == "markdown":
                cell["source"] = _LINK.sub(led, "".join(cell["source"])).splitlines(keepends=True)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def put(text: str, target: Path) -> bool:
    """Write a file that is whole or is not there. Return False, and leave it, where something has its name."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        if os.path.lexists(target):
            return False
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    return True


def next_number(lessons: Iterable[str], folder: Path) -> int:
    """Return the number of a set that has nothing in `folder` yet, past all that have."""
    there = {path.name.casefold() for path in folder.iterdir()} if folder.is_dir() else set()
    numbers = [0]
    for lesson in (name.casefold() for name in lessons):
        numbers += [1] * (lesson in there)
        numbered = re.compile(rf"{re.escape(lesson.removesuffix('.ipynb'))}_([0-9]{{1,9}})\.ipynb")
        numbers += [int(match[1]) for match in map(numbered.fullmatch, there) if match]
    return max(numbers) + 1


def make(source: Path, folder: Path, *, fresh: bool = False) -> tuple[list[str], list[str]]:
    """Copy the lessons of `source` into `folder`, those that are not there yet; with `fresh`, all of them once more.

    Returns
    -------
    made : list of str
        The file names of the copies that were made.
    problems : list of str
        A sentence on each lesson that could not be copied.
    """
    texts, problems = {}, []
    for path in sorted(source.glob("[0-9]*.ipynb")):
        try:
            texts[path.name] = path.read_text(encoding="utf-8")
            without_outputs(texts[path.name], 1, ()).encode()
        except (OSError, ValueError) as error:
            texts.pop(path.name, None)
            problems.append(f"{path.name} cannot be read as a notebook, so there is no new copy of it ({error}).")
    if not texts and not problems:
        problems.append(f"There are no lessons in {source}.")
    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = next_number(texts, folder) if fresh else 1
        for lesson, text in texts.items():
            name = name_in_set(lesson, number)
            if not os.path.lexists(folder / name) and put(without_outputs(text, number, texts), folder / name):
                made.append(name)
    except OSError as error:
        problems.append(f"Copies cannot be written to {folder} ({error}).")
    return made, problems


def main() -> int:
    """Make the copies and say which; return 1 if a lesson could not be copied."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="make a whole new set beside the old one")
    parser.add_argument("--to", type=Path, default=ROOT / "my_course", help="the folder of the copies: my_course/")
    options = parser.parse_args()
    made, problems = make(ROOT / "notebooks", options.to, fresh=options.fresh)
    if made:
        kept = "Copies that were there before are as they were." if options.fresh else "They are never overwritten."
        print(f"New in {options.to.name}/, without outputs: {', '.join(made)}. {kept}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return min(len(problems), 1)


if __name__ == "__main__":
    sys.exit(main())
