"""Write pictures and search results as HTML that can be read without colour, without a mouse and without Python."""

import base64
import html
import io
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from PIL import Image

from helpers.images import Match, open_rgb, spelled

SIDE = 160
"""Longest side of a thumbnail, in pixels."""

COLUMNS = 5
"""Results in a row."""

NOT_MARKED = "The class of the query is not known, so nothing is marked right or wrong"

STYLE = f"<style>{Path(__file__).with_name('style.css').read_text(encoding='utf-8')}</style>"


@lru_cache(maxsize=2048)
def _stored(path: Path, side: int) -> str:
    return _encoded(open_rgb(path), side)


def _encoded(picture: Image.Image, side: int) -> str:
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, format="jpeg", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def thumbnail(picture: Path | Image.Image, side: int = SIDE) -> str:
    """Return a picture as the address of a small JPEG; those of files are remembered.

    Parameters
    ----------
    picture : Path, or PIL image
    side : int
        Longest side in pixels; a smaller picture stays as it is.

    Returns
    -------
    str
        ``data:image/jpeg;base64,…``

    Raises
    ------
    FileNotFoundError, ValueError
        As `images.open_rgb`.
    """
    return _encoded(open_rgb(picture), side) if isinstance(picture, Image.Image) else _stored(picture, side)


def _escape(said: str) -> str:
    """Write text as HTML; what is no Unicode, as in the names of some files, would break the page."""
    return html.escape(said.encode("utf-8", "backslashreplace").decode())


def words(label: str) -> str:
    """Write the name of a class as words."""
    return label.replace("_", " ")


def name(label: str, path: Path) -> str:
    """Name a picture: its class and file, or the file alone."""
    return f"{words(label)}, {spelled(path.name)}" if label else spelled(path.name)


def image(picture: Path | Image.Image, alt: str) -> str:
    """Return an ``<img>`` with its description; only the description, where the picture cannot be opened any more."""
    try:
        return f'<img alt="{_escape(alt)}" src="{thumbnail(picture)}">'
    except (OSError, ValueError):
        return f"<em>{_escape(alt)}: this picture cannot be opened any more</em>"


def query(picture: Path | Image.Image | None, said: str) -> str:
    """Write what is searched with: the picture, if it is one, and a sentence."""
    shown = image(picture, said) if picture is not None else ""
    return f'<div class="qx-query">{shown}<div>{_escape(said)}</div></div>'


def table(caption: Sequence[str], matches: Sequence[Match], label: str, shared: Collection[str]) -> str:
    """Write the results of one search as a table of pictures.

    Parameters
    ----------
    caption : sequence of str
        Lines to stand above.
    matches : sequence of Match
        The nearest first.
    label : str
        The class of the query: results are marked right or wrong. ``""`` if it is not known: nothing is marked.
    shared : collection of str
        Ids of the matches that the search beside this one found, too.

    Returns
    -------
    str
        One ``<table>``.
    """
    cells = [_cell(rank, match, label, match.id in shared) for rank, match in enumerate(matches, start=1)]
    cells += ['<td class="qx-empty"></td>'] * (-len(cells) % COLUMNS)
    rows = "".join(f"<tr>{''.join(cells[i : i + COLUMNS])}</tr>" for i in range(0, len(cells), COLUMNS))
    first, *rest = map(_escape, caption)
    title = "<br>".join([f"<b>{first}</b>", *rest])
    above = f'<caption class="qx-caption" style="text-align: left">{title}</caption>'
    return f'<table class="qx-results">{above}{rows}</table>'


def _cell(rank: int, match: Match, label: str, shared: bool) -> str:
    kind, mark = ("qx-right", " ✓ right") if match.label == label else ("qx-wrong", " ✗ wrong")
    kind, mark = (kind, mark) if label else ("qx-unknown", "")
    lines = [f"<b>{rank}.</b>{mark}", _escape(words(match.label) or spelled(match.path.name)), f"{match.score:.4g}"]
    both = '<div class="qx-both">= in both</div>' if shared else ""
    shown = image(match.path, f"Result {rank}: {name(match.label, match.path)}")
    below = "".join(f"<div>{line}</div>" for line in lines) + both
    return f'<td class="{kind}" style="text-align: center">{shown}{below}</td>'


def told(matches: Sequence[Match], label: str) -> str:
    """Name the results, for those who do not see them."""
    marks = [f" ({'right' if match.label == label else 'wrong'})" if label else "" for match in matches]
    names = [match.label or spelled(match.path.name) for match in matches]
    return ", ".join(name + mark for name, mark in zip(names, marks, strict=True))


def status(said: str, *, alert: bool = False) -> str:
    """Write a line that a screen reader reads out by itself: at once, if it is an alert."""
    sign = "⚠ " if alert else ""
    return f'<p class="qx-say" role="{"alert" if alert else "status"}">{sign}{_escape(said)}</p>'


def line(said: str, kind: str) -> str:
    """Write a line: a ``"note"``, or the title of a ``"part"`` of the explorer."""
    return f'<p class="qx-{kind}">{_escape(said)}</p>'


def buttons(scope: str, pictures: Sequence[Path]) -> str:
    """Return the style that puts a picture on each of the buttons ``.{scope} .qx-pick-{number}``."""
    rules = []
    for number, path in enumerate(pictures):
        with suppress(OSError, ValueError):  # a button without a picture keeps its words
            rules.append(f'.{scope} .qx-pick-{number} {{ background-image: url("{thumbnail(path, 96)}"); }}')
    return f"<style>{' '.join(rules)}</style>"


def page(parts: Sequence[str]) -> str:
    """Put parts together as a piece of HTML that stands alone, for pages in which no Python runs."""
    return f'<div class="query-explorer mathjax_ignore">{STYLE}{"".join(parts)}</div>'
