"""Build the slide decks of the lessons: docs/slides/*.md become build/slides/, which opens from its folder.

    .venv-site/bin/python tools/slides.py     # what `make slides` calls

A deck is written in MyST Markdown. It shows the figures of the lesson of the same name, as they are stored in
notebooks/: `![](figure:the-scoreboard)` is the first one under the heading *The scoreboard*, with its description,
and `![](figure:the-scoreboard/2)` the second.
"""

import base64
import html
import re
import shutil
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt
from mdit_py_plugins.anchors.index import slugify

ROOT = Path(__file__).resolve().parent.parent
DECKS = ROOT / "docs" / "slides"
_IMAGE = re.compile(r'<img alt="([^"]*)" src="data:image/(\w+);base64,([^"]*)"')
_LINK = re.compile(r"^!\[\]\(figure:(.*)\)$")


def figures(lesson: Path) -> dict[str, tuple[str, str, bytes]]:
    """Return the figures that a notebook has stored, in order: {name: (description, file type, content)}.

    A name is the slug of the heading above the figure. From the heading's second figure on, `/2` and so on follow.
    """
    found: dict[str, tuple[str, str, bytes]] = {}
    under, slug = Counter(), ""
    for cell in nbformat.read(lesson, as_version=4).cells:
        if cell.cell_type == "markdown":
            tokens = MarkdownIt().parse(cell.source)
            titles = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
            slug = slugify(titles[-1]) if titles else slug
        for output in cell.get("outputs", ()):
            for alt, kind, content in _IMAGE.findall(output.get("data", {}).get("text/html", "")):
                under[slug] += 1
                name = slug if under[slug] == 1 else f"{slug}/{under[slug]}"
                found[name] = html.unescape(alt), kind, base64.b64decode(content)
    return found


def stage(deck: Path, lesson: Path, to: Path) -> None:
    """Write a deck into the folder `to`, each link to a figure replaced by the figure, which goes into `to`/figures.

    Raises
    ------
    ValueError
        The lesson has no figure of that name. The message has the deck, the line, and what there is.
    """
    there = figures(lesson) if lesson.exists() else {}
    lines = deck.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if not (link := _LINK.match(line.strip())):
            if "](figure:" in line:
                raise ValueError(f"{deck}, line {number + 1}: a figure stands alone on its line, as ![](figure:name).")
            continue
        name = link[1]
        if name not in there:
            has = ", ".join(there) or "none"
            raise ValueError(f"{deck}, line {number + 1}: {lesson.name} has no figure “{name}”. It has: {has}.")
        alt, kind, content = there[name]
        file = Path("figures") / f"{deck.stem}-{name.replace('/', '-')}.{kind}"
        (to / file).parent.mkdir(exist_ok=True)
        (to / file).write_bytes(content)
        quoted = alt.replace("\\", "\\\\").replace('"', '\\"')
        lines[number] = f'```{{image}} {file.as_posix()}\n:alt: "{quoted}"\n```'
    (to / deck.name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def build(to: Path, work: Path, decks: Path = DECKS) -> None:
    """Build all decks into the folder `to`, with `work` for what is needed on the way; both are emptied first.

    Raises
    ------
    SystemExit
        A figure is missing, or Sphinx found something wrong. What and where has been said.
    """
    for folder in (work, to):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        for deck in sorted(decks.glob("*.md")):
            stage(deck, ROOT / "notebooks" / f"{deck.stem}.ipynb", work)
    except ValueError as error:
        sys.exit(str(error))
    from sphinx.cmd.build import main as sphinx  # here, since the two functions above do without it

    settings = ["-c", str(DECKS), "-d", str(work / ".doctrees")]
    if failed := sphinx(["-b", "revealjs", "-W", "-q", *settings, str(work), str(to)]):
        sys.exit(failed)


def main() -> None:
    """Build all decks, and say where they are."""
    target = ROOT / "build" / "slides"
    build(target, ROOT / "build" / "slides-work")
    print(f"The slides are in {target / 'index.html'}: open it in a browser.")


if __name__ == "__main__":
    main()
