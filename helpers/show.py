"""Draw pictures, results and scores, always with a description in words beside the image.

Figures are put into the notebook as ``<img alt=…>``: JupyterLab keeps no other alternative text. The description is the
plain-text form of the same output, for readers and programs that show no HTML. Right and wrong are told by a sign and a
word as well as by colour.
"""

import html
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from helpers.backroom import charts
from helpers.backroom.fonts import make_drawable
from helpers.evaluate import Gain
from helpers.images import Gallery, PictureSource, open_rgb, open_small, spelled

plt.style.use("petroff10")  # colours that readers with any colour vision can tell apart
plt.rcParams.update({"figure.dpi": 100, "font.size": 10, "axes.titlesize": 10, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "figure.constrained_layout.use": True})
pd.set_option("display.html.use_mathjax", False)  # else pages draw names with two $ as formulas

RIGHT, WRONG, QUERY = "#1f6f3f", "#a8322d", "#333333"

Picture = PictureSource | Image.Image | np.ndarray
Values = Mapping[str, float] | pd.Series


def figure(fig: Figure, alt: str, photographs: bool = False) -> None:
    """Put a Matplotlib figure into the notebook, with `alt` as its description, and close it.

    All text is drawn as it stands: names of files and classes may hold ``$``, so there are no formulas. Signs that no
    font on this computer has are drawn as ``?``, and a printed line names them.

    Figures that hold pictures (drawn by ``imshow``, or said to by `photographs`) become JPEG, all others PNG; both at
    screen size.
    """
    make_drawable(fig)
    photographs |= any(image.get_array().ndim == 3 for axes in fig.axes for image in axes.images)
    kind, picture = charts.saved(fig, photographs)
    data = b64encode(picture).decode("ascii")
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


def grid(
    pictures: Sequence[Picture],
    titles: Sequence[str] | None = None,
    *,
    alt: str,
    columns: int = 6,
    size: float = 1.5,
    heading: str = "",
) -> None:
    """Draw pictures in rows.

    Parameters
    ----------
    pictures : sequence of paths, PIL images, or arrays of shape (H, W, 3)
        Arrays hold uint8, or floats in [0, 1].
    titles : sequence of str, optional
        One above each picture, all of a row at one height.
    alt : str
        What the figure shows, in words.
    columns : int
        Pictures in a row.
    size : float
        Side of a picture in inches (100 pixels per inch).
    heading : str
        A line above all pictures.
    """
    figure(charts.grid([_array(picture) for picture in pictures], titles, columns, size, heading), alt)


def results(
    queries: Sequence[Picture],
    query_labels: Sequence[str],
    gallery: Gallery,
    indices: np.ndarray,
    scores: np.ndarray | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Draw each query and, beside it, the pictures that a search found for it.

    One query that several methods have answered is drawn once.

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
    if indices.size == 0:
        print("There is no such query." if len(indices) == 0 else "There is no such picture.")
        return
    once = len(query_labels) > 1 and names is not None and all(query is queries[0] for query in queries)
    asked = [_array(queries[0])] * len(query_labels) if once else [_array(query) for query in queries]
    cells, told = [], []
    for row, label in enumerate(query_labels):
        name = names[row] if names else "query"
        shown, found = [(asked[row], charts.words(label), QUERY, True)], []
        for rank, i in enumerate(indices[row], start=1):
            theirs = str(gallery.labels[i])
            judged, right = bool(label and theirs), theirs == label
            score = f"   {scores[row][rank - 1]:.4g}" if scores is not None else ""
            mark = ("  ✓ right" if right else "  ✗ wrong") if judged else ""
            title = "\n".join(filter(None, (f"{rank}.{mark}{score}", charts.words(theirs))))
            shown.append((_array(gallery.paths[i]), title, (RIGHT if right else WRONG) if judged else QUERY, judged))
            found.append(f"{theirs} ({'right' if right else 'wrong'})" if judged else spelled(gallery.paths[i].name))
        cells.append((name, shown))
        told.append(f"{name} {label}".strip() + f": found {', '.join(found)}")
    figure(charts.results(cells, once), ". ".join(told) + ".")


def scoreboard(board: pd.DataFrame, measures: Sequence[str] = ("P@1", "P@5", "hit@5", "mAP")) -> None:
    """Show an ``evaluate.scoreboard``: for each measure a panel of dots with their 95 % intervals, and the values.

    The colour and the marker of a row are those of the first word of its name: random, pixels, CLIP, Chroma. Where
    times were taken, a printed line says how long a query takes. A board without rows (pictures without classes) shows
    nothing.
    """
    if board.empty:
        return
    figure(*charts.scoreboard(board, measures))
    if board["ms"].notna().any():
        print("per query:", ", ".join(f"{name} {ms:.2f} ms" for name, ms in board["ms"].dropna().items()))


def gains(gains: Mapping[str, Gain], measure: str = "AP") -> None:
    """Draw paired gains: each mean with its 95 % interval, beside a line at 0.

    Nothing is drawn where there is nothing to compare (pictures without classes).

    Parameters
    ----------
    gains : mapping of str to evaluate.Gain
        What is compared, ``"pixels l1 over pixels l2"`` for instance, and the gain.
    measure : str
        What was measured for each query.
    """
    if kept := {name: gain for name, gain in gains.items() if not np.isnan(gain.mean)}:
        figure(*charts.gains(kept, measure))


def dots(values: Values, *, label: str, marked: Iterable[str] = (), marked_as: str = "", ends: int = 10) -> None:
    """Draw one dot per name, the largest value at the top; of many names only those at both ends.

    Nothing is drawn where there are no values, or where all are NaN.

    Parameters
    ----------
    values : mapping or Series of str to float
        NaN is left out.
    label : str
        What the values are; it stands below the axis.
    marked : iterable of str
        Names whose dot is a square of another colour.
    marked_as : str
        What these have in common, for the legend.
    ends : int
        How many names to draw at each end.
    """
    if len(series := pd.Series(values, dtype=float).dropna()):
        figure(*charts.dots(series, label, set(marked), marked_as, ends))


def table(
    frame: pd.DataFrame,
    *,
    alt: str,
    pictures: Sequence[Picture] = (),
    best: str = "",
    percent: bool = False,
) -> None:
    """Draw a table as coloured cells, with the numbers written in.

    Parameters
    ----------
    frame : DataFrame of float, shape (rows, columns)
    alt : str
        What the table holds, in words; its numbers are added.
    pictures : sequence of pictures, optional
        One above each column.
    best : {"", "rows", "columns"}
        Draw a frame around the largest value of each row, or of each column.
    percent : bool
        Write 0.25 as 25%.
    """
    fig, told = charts.table(frame, [_array(picture) for picture in pictures], best, ".0%" if percent else "z.2f")
    figure(fig, f"{alt}. {told}", photographs=len(pictures) > 0)


def channels(patch: np.ndarray) -> None:
    """Draw a few pixels of a picture, and beside them their red, green and blue with the numbers written in.

    Parameters
    ----------
    patch : array of uint8, shape (H, W, 3)
        About 12 × 12 pixels.
    """
    figure(*charts.channels(patch))


def lines(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    alt: str,
    log: str = "",
    labels: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Draw curves with a marker at each measured point.

    Parameters
    ----------
    curves : mapping of str to (xs, ys)
        Two sequences of float of one length for each name.
    xlabel, ylabel : str
    alt : str
        What the curves show, in words.
    log : {"", "x", "y", "xy"}
        The axes on which each step is a factor.
    labels : mapping of str to sequence of str, optional
        For some of the curves, a word to stand beside each point.
    """
    figure(charts.lines(curves, labels or {}, xlabel, ylabel, log), alt)


def scatter(
    points: np.ndarray, gallery: Gallery, *, alt: str, regions: Mapping[str, Iterable[str]] | None = None
) -> None:
    """Draw a map: the thumbnails of a gallery at given points of the plane.

    A picture that would cover one already drawn is left out.

    Parameters
    ----------
    points : array of float, shape (N, 2)
    gallery : Gallery
        N pictures.
    alt : str
        What the map shows, in words.
    regions : mapping of str to iterable of str, optional
        Names to write on the map, and for each the classes in the middle of which it belongs.
    """
    inside = {name: np.isin(gallery.labels, list(classes)) for name, classes in (regions or {}).items()}
    figure(charts.scatter(points, lambda row: np.asarray(open_small(gallery.paths[row], 64)), inside), alt, True)


def walk(
    points: np.ndarray,
    target: np.ndarray,
    *,
    alt: str,
    links: Sequence[Iterable[int]] = (),
    looked_at: Iterable[int] = (),
    path: Sequence[int] = (),
    title: str = "",
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
    looked_at : iterable of int, optional
        The points that were compared with the query; large dots.
    path : sequence of int, optional
        The points that the search went through, joined by a thick line, from a square to a ring.
    title : str
        A line above the drawing.
    """
    figure(charts.walk(points, target, links, looked_at, path, title), alt)


def layers(
    points: np.ndarray,
    target: np.ndarray,
    *,
    alt: str,
    upper: Mapping[int, Iterable[int]],
    links: Sequence[Iterable[int]],
    upper_looked_at: Iterable[int] = (),
    looked_at: Iterable[int] = (),
    upper_path: Sequence[int] = (),
    path: Sequence[int] = (),
    title: str = "",
) -> None:
    """Draw a search through two layers, one above the other.

    `points`, `target`, `alt`, `links`, `looked_at`, `path` and `title` are those of `walk`, for the lowest layer.

    Parameters
    ----------
    upper : mapping of int to iterable of int
        The points of the upper layer, and those that each is linked to.
    upper_looked_at, upper_path
        As `looked_at` and `path`, in the upper layer. A dashed line leads from its end to where `path` begins.
    """
    seen, paths = (upper_looked_at, looked_at), (upper_path, path)
    figure(charts.layers(points, target, upper, links, seen, paths, title), alt)
