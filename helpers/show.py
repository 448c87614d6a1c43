"""Draw pictures, results and scores, always with a description in words beside the image.

Figures are put into the notebook as ``<img alt=…>``: JupyterLab keeps no other alternative text. The description is the
plain-text form of the same output, for readers and programs that show no HTML. Right and wrong are told by a sign and a
word as well as by colour.
"""

import html
import io
import textwrap
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from helpers.backroom.fonts import make_drawable
from helpers.images import Gallery, PictureSource, open_rgb, open_small, spelled

plt.style.use("petroff10")  # colours that readers with any colour vision can tell apart
plt.rcParams.update({"figure.dpi": 100, "font.size": 10, "axes.titlesize": 10, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "figure.constrained_layout.use": True})
pd.set_option("display.html.use_mathjax", False)  # else pages draw names with two $ as formulas

RIGHT, WRONG, QUERY = "#1f6f3f", "#a8322d", "#333333"

Picture = PictureSource | Image.Image | np.ndarray


def figure(fig: Figure, alt: str, photographs: bool = False) -> None:
    """Put a Matplotlib figure into the notebook, with `alt` as its description, and close it.

    All text is drawn as it stands: names of files and classes may hold ``$``, so there are no formulas. Signs that no
    font on this computer has are drawn as ``?``, and a printed line names them.

    Figures that hold pictures (drawn by ``imshow``, or said to by `photographs`) become JPEG, all others PNG; both at
    screen size.
    """
    make_drawable(fig)
    photographs |= any(image.get_array().ndim == 3 for axes in fig.axes for image in axes.images)
    buffer = io.BytesIO()
    if photographs:
        fig.savefig(buffer, format="jpeg", facecolor="white", pil_kwargs={"quality": 85, "optimize": True})
    else:
        png = {"pil_kwargs": {"optimize": True}, "metadata": {"Software": None}}
        fig.savefig(buffer, format="png", facecolor="white", **png)
    plt.close(fig)
    kind = "jpeg" if photographs else "png"
    data = b64encode(buffer.getvalue()).decode("ascii")
    alt = alt.encode("utf-8", "backslashreplace").decode()
    tag = f'<img alt="{html.escape(alt)}" src="data:image/{kind};base64,{data}" style="max-width: 100%">'
    display({"text/html": tag, "text/plain": f"Figure: {alt}"}, raw=True)


def _array(picture: Picture) -> np.ndarray:
    """Return the picture as Matplotlib wants it; matrices of numbers stay as they are."""
    if isinstance(picture, np.ndarray):
        return picture
    picture = open_rgb(picture)
    picture.thumbnail((256, 256))
    return np.asarray(picture)


def _mount(axes: plt.Axes, picture: Picture, title: str, colour: str, frame: bool = True) -> None:
    """Draw a picture in the middle of a white square, with a title above and a coloured frame around it."""
    shown = _array(picture)
    height, width = shown.shape[:2]
    side = max(height, width)
    axes.imshow(shown)
    axes.set(xlim=((width - side) / 2, (width + side) / 2), ylim=((height + side) / 2, (height - side) / 2))
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, color=colour, fontsize=9)
    for spine in axes.spines.values():
        spine.set(visible=frame, color=colour, linewidth=2.5)


def _words(label: str) -> str:
    """Write a class name as words, in lines short enough to stand above a picture."""
    wide = any(unicodedata.east_asian_width(sign) in "WF" for sign in label)
    return textwrap.fill(label.replace("_", " "), 8 if wide else 16, max_lines=3, placeholder=" …")


def grid(
    pictures: Sequence[Picture],
    titles: Sequence[str] | None = None,
    *,
    alt: str,
    columns: int = 6,
    size: float = 1.5,
) -> None:
    """Draw pictures in rows.

    Parameters
    ----------
    pictures : sequence of paths, PIL images, or arrays of shape (H, W, 3)
        Arrays hold uint8, or floats in [0, 1].
    titles : sequence of str, optional
        One above each picture.
    alt : str
        What the figure shows, in words.
    columns : int
        Pictures in a row.
    size : float
        Side of a picture in inches (100 pixels an inch).
    """
    rows = -(-len(pictures) // columns)
    if titles:  # long ones, such as the names of files, go on in the next line
        lines = [
            [part for line in title.split("\n") for part in textwrap.wrap(line, int(12 * size))] for title in titles
        ]
        titles = ["\n".join(some if len(some) <= 4 else [*some[:3], "…"]) for some in lines]
    height = size + (0.25 * max(t.count("\n") + 1 for t in titles) if titles else 0.1)
    fig, axes = plt.subplots(rows, columns, figsize=(columns * size, rows * height), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for i, (ax, picture) in enumerate(zip(axes.flat, pictures, strict=False)):
        ax.imshow(_array(picture), interpolation="nearest" if isinstance(picture, np.ndarray) else None)
        if titles:
            ax.set_title(titles[i])
    figure(fig, alt)


def results(
    queries: Sequence[Picture],
    query_labels: Sequence[str],
    gallery: Gallery,
    indices: np.ndarray,
    scores: np.ndarray | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Draw each query and, beside it, the pictures that a search found for it.

    Parameters
    ----------
    queries : sequence of M pictures
    query_labels : sequence of M str
        ``""`` where there is no class. Only a picture with a class, found for a query with one, is right or wrong.
    gallery : Gallery
        Where the results come from.
    indices : array of int, shape (M, k)
        Rows of the gallery, nearest first.
    scores : array of float, shape (M, k), optional
        Distance or similarity, written under the class.
    names : sequence of M str, optional
        What to call each row (a method, say); "query" otherwise.
    """
    indices = np.atleast_2d(indices)
    m, k = indices.shape
    if indices.size == 0:
        print("There is no such query." if m == 0 else "There is no such picture.")
        return
    shown = [_words(label) for label in (*query_labels, *gallery.labels[indices].flat)]
    height = 1.9 + 0.15 * max(words.count("\n") + 1 for words in shown)
    fig, axes = plt.subplots(m, k + 1, figsize=(1.5 * (k + 1), height * m), squeeze=False)
    told = []
    for row, label in enumerate(query_labels):
        name = names[row] if names else "query"
        _mount(axes[row, 0], queries[row], "\n".join(filter(None, (name, _words(label)))), QUERY)
        found = []
        for rank, (ax, i) in enumerate(zip(axes[row, 1:], indices[row], strict=True), start=1):
            theirs = str(gallery.labels[i])
            judged, right = bool(label and theirs), theirs == label
            score = f"   {scores[row][rank - 1]:.4g}" if scores is not None else ""
            mark = ("  ✓ right" if right else "  ✗ wrong") if judged else ""
            _mount(
                ax,
                gallery.paths[i],
                "\n".join(filter(None, (f"{rank}.{mark}{score}", _words(theirs)))),
                (RIGHT if right else WRONG) if judged else QUERY,
                frame=judged,
            )
            found.append(f"{theirs} ({'right' if right else 'wrong'})" if judged else spelled(gallery.paths[i].name))
        told.append(f"{name} {label}".strip() + f": found {', '.join(found)}")
    figure(fig, ". ".join(told) + ".")


def scoreboard(board: pd.DataFrame, measures: Sequence[str] = ("P@1", "P@5", "hit@5", "mAP")) -> None:
    """Show an ``evaluate.scoreboard``: a table, and under it the same as dots with their 95 % intervals.

    A board without rows (pictures without classes) shows nothing.
    """
    if board.empty:
        return
    display(_table(board, measures))
    fig, axes = plt.subplots(1, len(measures), figsize=(9, 0.8 + 0.28 * len(board)), sharey=True)
    y = np.arange(len(board))
    for ax, measure in zip(axes, measures, strict=True):
        value = board[measure].to_numpy()
        spread = [value - board[f"{measure} low"], board[f"{measure} high"] - value]
        ax.errorbar(value, y, xerr=spread, fmt="o", markersize=5, capsize=3)
        ax.set(title=measure, xlim=(0, 1), xticks=(0, 0.5, 1), yticks=y, yticklabels=board.index)
        ax.grid(axis="x", alpha=0.3)
    axes[0].set_ylim(len(board) - 0.5, -0.5)
    lines = [f"{name}: " + ", ".join(f"{m} {board.loc[name, m]:.2f}" for m in measures) for name in board.index]
    figure(fig, "Dots with 95 % intervals. " + "; ".join(lines) + ".")


def _table(board: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Write the board in words: value and interval of each measure, and the time of a query."""
    table = pd.DataFrame(index=board.index)
    for measure in measures:
        triples = zip(board[measure], board[f"{measure} low"], board[f"{measure} high"], strict=True)
        table[measure] = [f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, low, high in triples]
    if board["ms"].notna().any():
        table["time a query"] = ["–" if np.isnan(ms) else f"{ms:.2f} ms" for ms in board["ms"]]
    return table


def scatter(points: np.ndarray, gallery: Gallery, *, alt: str, every: int = 1) -> None:
    """Draw a map: the thumbnails of a gallery at given points of the plane.

    Parameters
    ----------
    points : array of float, shape (N, 2)
    gallery : Gallery
        N pictures.
    alt : str
        What the map shows, in words.
    every : int
        Draw every n-th picture only, so that they do not cover each other.
    """
    fig, ax = plt.subplots(figsize=(9, 7))
    for (x, y), path in zip(points[::every], gallery.paths[::every], strict=True):
        thumbnail = np.asarray(open_small(path, 34))
        ax.add_artist(AnnotationBbox(OffsetImage(thumbnail), (x, y), frameon=False))
    margin = 0.06 * np.ptp(points, axis=0)
    (left, bottom), (right, top) = points.min(axis=0) - margin, points.max(axis=0) + margin
    ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    figure(fig, alt, photographs=True)


def walk(
    points: np.ndarray,
    target: np.ndarray,
    *,
    alt: str,
    links: Sequence[Sequence[int]] = (),
    layer: Iterable[int] = (),
    looked_at: Iterable[int] = (),
    path: Sequence[int] = (),
) -> None:
    """Draw a search among points of the plane: where it went, and what it had to look at.

    Parameters
    ----------
    points : array of float, shape (N, 2)
        The stored vectors, small grey dots.
    target : array of float, shape (2,)
        The query, a star.
    alt : str
        What the drawing shows, in words.
    links : sequence of N sequences of int, optional
        For each point those that it is linked to; thin lines.
    layer : iterable of int, optional
        The points of an upper layer; hollow squares.
    looked_at : iterable of int, optional
        The points that were compared with the query; large dots.
    path : sequence of int, optional
        The points that the search went through, joined by a thick line, from a filled square to a ring.
    """
    seen, way, goal = "#5790fc", "#222222", "#f89c20"
    fig, ax = plt.subplots(figsize=(4.6, 5))
    for here, others in enumerate(links):
        for there in others:
            ax.plot(*points[[here, there]].T, color="#cccccc", linewidth=0.6, zorder=1)
    ax.scatter(*points.T, s=12, color="#888888", zorder=2)
    ax.scatter(*points[list(looked_at)].T, s=40, color=seen, zorder=3, label="compared with the query")
    if len(above := list(layer)):
        ax.scatter(*points[above].T, s=70, marker="s", facecolor="none", edgecolor=way, zorder=4, label="upper layer")
    if len(path) > 1:
        ax.plot(*points[list(path)].T, color=way, linewidth=2.5, zorder=5, label="the path")
        ax.scatter(*points[path[0]], s=90, marker="s", color=way, zorder=5, label="start")
    if len(path):
        ax.scatter(*points[path[-1]], s=260, facecolor="none", edgecolor=way, linewidth=2, zorder=6, label="found")
    ax.scatter(*target, marker="*", s=130, color=goal, edgecolor="black", linewidth=0.8, zorder=7, label="the query")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.01), ncols=2, frameon=False, fontsize=9)
    ax.set(xticks=[], yticks=[], aspect="equal")
    for spine in ax.spines.values():
        spine.set_visible(False)
    figure(fig, alt)
