"""Write pictures and search results as HTML that can be read without colour, without a mouse and without Python."""

import base64
import html
import io
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image

from helpers.images import open_rgb, spelled, to_rgb
from helpers.store import Match

SIDE = 160
"""Longest side of a thumbnail, in pixels."""

COLUMNS = 5
"""Results in a row."""

# JupyterLab's and Voilà's theme gives the --jp- colours, light or dark; the second value is for pages without a theme
STYLE = """<style>
.query-explorer { color: var(--jp-ui-font-color1, inherit); }
.query-explorer .qx-caption { text-align: left; padding: 0 0 4px; line-height: 1.4; color: inherit; caption-side: top; }
.query-explorer table.qx-results { table-layout: fixed; width: 100%; max-width: 860px; border-collapse: separate;
  border-spacing: 4px; margin: 0; color: inherit; font-size: var(--jp-ui-font-size1, 13px); }
.query-explorer table.qx-results tr, .query-explorer table.qx-results tr:hover { background: transparent; }
.query-explorer table.qx-results td { width: 20%; max-width: 180px; vertical-align: top; text-align: center;
  padding: 4px; line-height: 1.35; border: 2px solid var(--jp-border-color1, #bdbdbd); border-radius: 4px;
  overflow-wrap: anywhere; white-space: normal; background: var(--jp-layout-color1, transparent); color: inherit; }
.query-explorer table.qx-results td.qx-empty { border-color: transparent; background: transparent; }
.query-explorer table.qx-results td.qx-right { border: 3px solid var(--jp-success-color1, #1f6f3f); }
.query-explorer table.qx-results td.qx-wrong { border: 3px dashed var(--jp-error-color1, #a8322d); }
.query-explorer table.qx-results img { max-width: 100%; height: 96px; object-fit: contain; display: block;
  margin: 0 auto 2px; background: white; }
.query-explorer .qx-both { font-weight: bold; }
.query-explorer .qx-query { display: flex; gap: 10px; align-items: center; line-height: 1.4; margin: 0; }
.query-explorer .qx-query img { max-height: 72px; max-width: 120px; background: white; }
.query-explorer .qx-say { line-height: 1.4; padding: 2px 8px; white-space: normal; margin: 0;
  border-left: 4px solid var(--jp-brand-color1, #1976d2); }
.query-explorer .qx-say[role=alert] { border-left: 8px double var(--jp-error-color1, #a8322d); font-weight: bold; }
.query-explorer .qx-note { line-height: 1.4; white-space: normal; margin: 0; }
.query-explorer .qx-part { font-weight: bold; font-size: 1.1em; line-height: 1.4; margin: 0; }
.query-explorer .jupyter-button:focus-visible, .query-explorer input:focus-visible,
.query-explorer select:focus-visible { outline: 3px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; }
.query-explorer .qx-row { align-items: center; gap: 4px 14px; overflow: visible; }
.query-explorer .qx-row > * { max-width: 100%; }
.query-explorer .qx-columns { gap: 12px 24px; overflow: visible; align-items: flex-start; }
.query-explorer .qx-column { flex: 1 1 400px; min-width: 0; max-width: 860px; overflow: visible; }
.query-explorer .qx-more { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 4px; padding: 0 4px;
  overflow: visible; max-width: 860px; }
.query-explorer .qx-more .jupyter-button { width: auto; margin: 0; padding: 0 2px; }
.query-explorer .qx-strip { gap: 6px; overflow: visible; }
.query-explorer .qx-pick { width: 96px; height: 96px; padding: 72px 2px 2px; line-height: 1.3; margin: 0;
  font-size: 12px; background-repeat: no-repeat; background-position: center 4px; background-size: 88px 66px; }
.query-explorer .qx-chosen { box-shadow: inset 0 0 0 3px var(--jp-brand-color1, #1976d2); font-weight: bold; }
</style>"""


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
    return _encoded(to_rgb(picture), side) if isinstance(picture, Image.Image) else _stored(picture, side)


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
    right = match.label == label
    kind, mark = ("qx-right", " ✓ right") if right else ("qx-wrong", " ✗ wrong")
    kind, mark = (kind, mark) if label else ("qx-unknown", "")
    lines = [f"<b>{rank}.</b>{mark}", _escape(words(match.label) or spelled(match.path.name)), f"{match.score:.4g}"]
    both = '<div class="qx-both">= in both</div>' if shared else ""
    shown = image(match.path, f"Result {rank}: {name(match.label, match.path)}")
    below = "".join(f"<div>{line}</div>" for line in lines) + both
    return f'<td class="{kind}" style="text-align: center">{shown}{below}</td>'


def status(said: str, *, alert: bool = False) -> str:
    """Write a line that a screen reader reads out by itself: at once, if it is an alert."""
    sign = "⚠ " if alert else ""
    return f'<p class="qx-say" role="{"alert" if alert else "status"}">{sign}{_escape(said)}</p>'


def note(said: str) -> str:
    """Write a line of explanation."""
    return f'<p class="qx-note">{_escape(said)}</p>'


def part(title: str) -> str:
    """Write the title of a part of the explorer."""
    return f'<p class="qx-part">{_escape(title)}</p>'


def buttons(scope: str, pictures: Sequence[Path]) -> str:
    """Return the style that puts a picture on each of the buttons ``.{scope} .qx-pick-{number}``."""
    rules = []
    for number, path in enumerate(pictures):
        try:
            rules.append(f'.{scope} .qx-pick-{number} {{ background-image: url("{thumbnail(path, 96)}"); }}')
        except (OSError, ValueError):
            continue  # the button keeps its words
    return f"<style>{' '.join(rules)}</style>"


def page(parts: Sequence[str]) -> str:
    """Put parts together as a piece of HTML that stands alone, for pages in which no Python runs."""
    return f'<div class="query-explorer mathjax_ignore">{STYLE}{"".join(parts)}</div>'
