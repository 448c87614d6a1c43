"""Draw numbers with Matplotlib: each function takes arrays and words, and returns a figure for `show`."""

import io
import textwrap
import unicodedata
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import FuncFormatter, NullLocator

GREY, BROWN = "#777777", "#b85a0d"

FAMILIES = {
    "random": (GREY, "x"),
    "pixels": (BROWN, "s"),
    "CLIP": ("#3f6fd8", "o"),
    "Chroma": ("#86299c", "D"),
}
OTHERS = ("#1f6f3f", "^")
"""Colour and marker of a method, by the first word of its name; and of all others."""

Described = tuple[Figure, str]
"""A figure, and what it shows in words."""

SEEN, WAY, GOAL, LINK = "#5790fc", "#222222", "#f89c20", "#cccccc"


def saved(fig: Figure, photographs: bool) -> tuple[str, bytes]:
    """Close a figure and return it as a file: the kind, JPEG for photographs and else PNG, and the content."""
    buffer = io.BytesIO()
    if photographs:
        fig.savefig(buffer, format="jpeg", facecolor="white", pil_kwargs={"quality": 85, "optimize": True})
    else:
        png = {"pil_kwargs": {"optimize": True}, "metadata": {"Software": None}}
        fig.savefig(buffer, format="png", facecolor="white", **png)
    plt.close(fig)
    return "jpeg" if photographs else "png", buffer.getvalue()


def words(label: str) -> str:
    """Write a class name as words, in lines short enough to stand above a picture."""
    wide = any(unicodedata.east_asian_width(sign) in "WF" for sign in label)
    return textwrap.fill(label.replace("_", " "), 8 if wide else 16, max_lines=3, placeholder=" …")


def mount(axes: plt.Axes, picture: np.ndarray, title: str, colour: str, frame: bool) -> None:
    """Draw a picture in the middle of a white square, with a title above and a coloured frame around it."""
    height, width = picture.shape[:2]
    side = max(height, width)
    axes.imshow(picture, interpolation="nearest" if max(height, width) < 100 else None)
    left, top = (width - side) / 2 - 0.5, (height - side) / 2 - 0.5  # the middle of the first pixel is at 0
    axes.set(xlim=(left, left + side), ylim=(top + side, top))
    edge = {"fill": False, "edgecolor": "#cccccc", "linewidth": 0.8, "clip_on": False}  # else white pages have none
    axes.add_patch(plt.Rectangle((-0.5, -0.5), width, height, **edge))
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, color=colour, fontsize=9)
    for spine in axes.spines.values():
        spine.set(visible=frame, color=colour, linewidth=2.5)


def grid(
    pictures: Sequence[np.ndarray], titles: Sequence[str] | None, columns: int, size: float, heading: str
) -> Figure:
    """Draw pictures in rows, the titles of a row at one height."""
    rows = -(-len(pictures) // columns)
    if titles:  # long ones, such as the names of files, go on in the next line
        lines = [
            [part for line in title.split("\n") for part in textwrap.wrap(line, int(12 * size))] for title in titles
        ]
        titles = ["\n".join(some if len(some) <= 4 else [*some[:3], "…"]) for some in lines]
    height = size + (0.25 * max(t.count("\n") + 1 for t in titles) if titles else 0.1)
    figsize = (columns * size, rows * height + (0.3 if heading else 0))
    fig, axes = plt.subplots(rows, columns, figsize=figsize, squeeze=False)
    fig.suptitle(heading, fontsize=11)
    for ax in axes.flat:
        ax.axis("off")
    for i, (ax, picture) in enumerate(zip(axes.flat, pictures, strict=False)):
        mount(ax, picture, titles[i] if titles else "", "black", frame=False)
    return fig


def results(rows: Sequence[tuple[str, Sequence[tuple]]], once: bool) -> Figure:
    """Draw rows of pictures, the first of each a query; for each the name, and the arguments of `mount`.

    `once`: the query is the same in each row. It is drawn once, and the names stand beside their results.
    """
    m, k = len(rows), len(rows[0][1]) - 1
    titles = [title for _, cells in rows for _, title, *_ in cells]
    height = 1.75 + 0.15 * max(title.count("\n") + 1 for title in titles)
    fig = plt.figure(figsize=(1.5 * (k + 1) + once, height * m))
    space = fig.add_gridspec(m, k + 1 + once, width_ratios=[1.5, *[1] * once, *[1.5] * k])
    for row, (name, (query, *found)) in enumerate(rows):
        if once:
            beside = fig.add_subplot(space[row, 1])
            beside.axis("off")
            beside.text(1, 0.5, textwrap.fill(name, 12), ha="right", va="center")
        if row == 0 or not once:
            picture, title, *how = query
            above = "\n".join(filter(None, ("query" if once else name, title)))
            mount(fig.add_subplot(space[:, 0] if once else space[row, 0]), picture, above, *how)
        for rank, cell in enumerate(found, start=1):
            mount(fig.add_subplot(space[row, rank + once]), *cell)
    return fig


def scoreboard(board: pd.DataFrame, measures: Sequence[str]) -> Described:
    """Draw one panel per measure: dots with their intervals, the values written at the right."""
    fig, axes = plt.subplots(1, len(measures), figsize=(9.6, 0.9 + 0.27 * len(board)), sharey=True, squeeze=False)
    for ax, measure in zip(axes[0], measures, strict=True):
        end = max(0.2, np.ceil(5 * board[f"{measure} high"].max() - 1e-6) / 5)
        for y, name in enumerate(board.index):
            colour, marker = FAMILIES.get(name.split()[0] if name.split() else "", OTHERS)
            value, low, high = (board.loc[name, f"{measure}{which}"] for which in ("", " low", " high"))
            ax.plot([low, high], [y, y], color=colour, linewidth=1.8, alpha=0.65)
            ax.plot(value, y, marker=marker, color=colour, markersize=5.5)
            ax.text(1.02, y, f"{value:.2f}", transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=colour)
        ax.set(
            title=measure, xlim=(0, end), xticks=(0, end / 2, end), yticks=range(len(board)), yticklabels=board.index
        )
        ax.grid(axis="x", alpha=0.3)
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
    axes[0, 0].set_ylim(len(board) - 0.5, -0.5)
    told = [
        f"{name}: " + ", ".join(f"{m} {row[m]:.2f} [{row[f'{m} low']:.2f}, {row[f'{m} high']:.2f}]" for m in measures)
        for name, row in board.iterrows()
    ]
    return fig, "Dots with 95 % intervals. " + "; ".join(told) + "."


def gains(rows: Mapping[str, tuple[float, float, float, int, int, float]], measure: str) -> Described:
    """Draw each mean gain with its interval beside a line at 0; wins and losses stand at the right."""
    fig, ax = plt.subplots(figsize=(8, 0.9 + 0.42 * len(rows)))
    ax.axvline(0, color=WAY, linewidth=1)
    for y, (mean, low, high, wins, losses, _) in enumerate(rows.values()):
        colour, filled = (SEEN, "full") if low > 0 or high < 0 else (GREY, "none")  # is 0 outside the interval?
        ax.plot([low, high], [y, y], color=colour, linewidth=2)
        ax.plot(mean, y, marker="o", color=colour, fillstyle=filled)
        told = f"better for {wins}, worse for {losses}"
        ax.text(1.02, y, told, transform=ax.get_yaxis_transform(), va="center", fontsize=9)
    ax.set_yticks(range(len(rows)), [name.replace(" over ", "\nover ") for name in rows])
    ax.set(xlabel=f"mean gain in {measure} per query, 95 % interval")
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.margins(x=0.12)
    ax.grid(axis="x", alpha=0.3)
    return fig, f"Gains in {measure}. " + "; ".join(f"{name}: {gain}" for name, gain in rows.items())


def dots(values: pd.Series, label: str, marked: Container[str], marked_as: str, ends: int) -> Described:
    """Draw one dot per name, the largest value at the top; of many names only those at both ends."""
    values = values.round(6).sort_values(ascending=False, kind="stable")
    few = values if len(values) <= 2 * ends else pd.concat([values[:ends], values[-ends:]])
    cut = len(few) < len(values)
    names = [textwrap.shorten(str(name).replace("_", " "), 40, placeholder=" …") for name in few.index]
    places, squares = np.arange(len(few)), np.array([name in marked for name in few.index])
    places[ends:] += cut  # an empty row, with an ellipsis
    fig, ax = plt.subplots(figsize=(6.5, 0.8 + 0.21 * (places.max() + 1)))
    for rows, marker, colour, what in ((~squares, "o", SEEN, "the others"), (squares, "s", BROWN, marked_as)):
        ax.hlines(places[rows], min(0, few.min()), few[rows], color=colour, alpha=0.35)
        ax.plot(few[rows], places[rows], marker, color=colour, label=what, linestyle="none")
    ax.set_yticks([*places, ends] if cut else places, [*names, "…"] if cut else names, fontsize=9)
    ax.set(xlabel=label, ylim=(places.max() + 0.6, -0.6))
    ax.margins(x=0.04)
    ax.grid(axis="x", alpha=0.3)
    if squares.any():
        ax.legend(loc="lower right", fontsize=9)
    told = [f"{name} {value:.4g}" for name, value in zip(names, few, strict=True)]
    if cut:
        told.insert(ends, f"{len(values) - len(few)} more")
    return fig, f"Dots, {label}: {', '.join(told)}"


def table(frame: pd.DataFrame, pictures: Sequence[np.ndarray], best: str, form: str) -> Described:
    """Draw the numbers of a table in coloured cells; a picture above each column, a frame around the best cells."""
    values = frame.to_numpy(dtype=float).round(6)
    framed = (
        values == values.max(axis={"rows": 1, "columns": 0}[best], keepdims=True) if best else np.zeros_like(values)
    )
    rows, columns = values.shape
    names = [textwrap.fill(str(name), 14) for name in frame.columns]
    lines = max(name.count("\n") + 1 for name in names)
    above = (1.0 if len(pictures) else 0.0) + 0.2 * lines
    longest = max(len(str(name)) for name in frame.index)
    fig, ax = plt.subplots(figsize=(0.075 * longest + 1.05 * columns + 0.3, 0.42 * rows + above + 0.2))
    image = ax.imshow(values, cmap="cividis", aspect="auto")
    low, high = image.get_clim()
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > (low + high) / 2 else "white"
        ax.text(column, row, format(value, form), ha="center", va="center", color=colour)
        if framed[row, column]:
            ax.add_patch(
                plt.Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, edgecolor=GOAL, linewidth=3)
            )
    ax.xaxis.tick_top()
    ax.set_xticks(range(columns), names, fontsize=9)
    ax.set_yticks(range(rows), [str(name) for name in frame.index])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    for column, picture in enumerate(pictures):
        thumbnail = OffsetImage(picture, zoom=80 / max(picture.shape[:2]))
        place = {"xybox": (0, 10 + 13 * lines), "boxcoords": "offset points", "box_alignment": (0.5, 0)}
        ax.add_artist(AnnotationBbox(thumbnail, (column, -0.5), frameon=False, annotation_clip=False, **place))
    told = [
        f"{name}: " + ", ".join(f"{column} {value:{form}}" for column, value in zip(frame.columns, row, strict=True))
        for name, row in zip(frame.index, values, strict=True)
    ]
    return fig, "; ".join(told)


def channels(patch: np.ndarray) -> Described:
    """Draw an RGB patch, and beside it each of its three layers with the numbers written in."""
    fig, axes = plt.subplots(1, 4, figsize=(10.4, 2.9))
    axes[0].imshow(patch)
    axes[0].set_title("the picture")
    told = []
    for layer, (ax, name) in enumerate(zip(axes[1:], ("red", "green", "blue"), strict=True)):
        amounts = patch[:, :, layer]
        ax.imshow(amounts, cmap=LinearSegmentedColormap.from_list(name, ("black", name)), vmin=0, vmax=255)
        ax.set_title(name)
        for (row, column), amount in np.ndenumerate(amounts):
            ax.text(column, row, amount, ha="center", va="center", fontsize=7, color="white")
        told.append(f"{name} {amounts.min()} to {amounts.max()}")
    for ax in axes:
        ax.axis("off")
    height, width = patch.shape[:2]
    return fig, f"{width} × {height} pixels enlarged, and their layers with the amounts written in: {', '.join(told)}"


def lines(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    labels: Mapping[str, Sequence[str]],
    xlabel: str,
    ylabel: str,
    log: str,
) -> Figure:
    """Draw curves with a marker at each point, and words beside the points of some."""
    fig, ax = plt.subplots(figsize=(7, 4))
    for (name, (xs, ys)), marker in zip(curves.items(), "osD^vPX*" * len(curves), strict=False):
        (line,) = ax.plot(xs, ys, marker=marker, label=name)
        for x, y, word in zip(xs, ys, labels.get(name, ()), strict=False):
            place = {"textcoords": "offset points", "xytext": (5, -12), "fontsize": 8, "color": line.get_color()}
            ax.annotate(word, (x, y), **place)
    if "x" in log:
        ax.set_xscale("log")
        ticks = np.unique([float(x) for xs, _ in curves.values() for x in xs])
        apart = np.diff(np.log(ticks), prepend=-np.inf) > 0.07 * np.log(ticks[-1] / ticks[0])  # else they would overlap
        ax.set_xticks(ticks[apart])
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}" if x < 1e15 else f"{x:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
    if "y" in log:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.margins(x=0.08, y=0.1)
    ax.grid(alpha=0.3)
    if len(curves) > 1:
        ax.legend(fontsize=9)
    return fig


def scatter(points: np.ndarray, thumbnail: Callable[[int], np.ndarray], regions: Mapping[str, np.ndarray]) -> Figure:
    """Draw thumbnails where they do not cover each other much, and names in the middle of the rows that are theirs."""
    fig, ax = plt.subplots(figsize=(10, 8))
    span = np.maximum(np.ptp(points, axis=0), 1e-9)
    places = (points - points.min(axis=0)) / span * [920, 720] + [40, 40]  # in pixels
    drawn: list[np.ndarray] = []
    for row in np.random.default_rng(0).permutation(len(places)):  # no class before the others
        if all(np.abs(places[row] - other).max() > 44 for other in drawn):
            drawn.append(places[row])
            ax.add_artist(AnnotationBbox(OffsetImage(thumbnail(row), zoom=0.72), tuple(places[row]), frameon=False))
    for name, rows in regions.items():
        if rows.any():
            box = {"boxstyle": "round", "facecolor": "white", "edgecolor": WAY, "alpha": 0.9}
            ax.text(*np.median(places[rows], axis=0), name, ha="center", va="center", fontsize=13, bbox=box, zorder=9)
    ax.set(xlim=(0, 1000), ylim=(0, 800))
    ax.axis("off")
    return fig


def walk(
    points: np.ndarray,
    target: np.ndarray,
    links: Sequence[Iterable[int]],
    looked_at: Iterable[int],
    path: Sequence[int],
    title: str,
) -> Figure:
    """Draw a search among points of one plane."""
    fig, ax = plt.subplots(figsize=(5, 5.4))
    _plane(ax, points, target, links, looked_at, path)
    ax.set_title(title, fontsize=11)
    _finish(fig, ax)
    ax.set_aspect("equal")
    return fig


def layers(
    points: np.ndarray,
    target: np.ndarray,
    upper: Mapping[int, Iterable[int]],
    links: Sequence[Iterable[int]],
    looked_at: tuple[Iterable[int], Iterable[int]],
    paths: tuple[Sequence[int], Sequence[int]],
    title: str,
) -> Figure:
    """Draw a search through two planes, one above the other: `upper` has few points, each with its links."""
    fig, ax = plt.subplots(figsize=(7, 6.4))

    def seen_from_the_side(where: np.ndarray, height: float) -> np.ndarray:
        x, y = np.moveaxis(np.asarray(where), -1, 0)
        return np.stack([x + 0.45 * y, 0.55 * y + height], axis=-1)

    low, high = points.min(axis=0) - 0.04, points.max(axis=0) + 0.04
    corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    above, below = seen_from_the_side(points, 0.8), seen_from_the_side(points, 0)
    star_above, star_below = seen_from_the_side(target, 0.8), seen_from_the_side(target, 0)
    few = sorted(upper)
    for height, name in ((0.8, f"upper layer: {len(few)} points"), (0, f"lowest layer: all {len(points)} points")):
        plane = seen_from_the_side(corners, height)
        ax.add_patch(plt.Polygon(plane, facecolor="#f6f6f6", edgecolor="#999999", zorder=0))
        ax.text(*(plane[3] + [0, 0.015]), name, fontsize=9)
    _plane(ax, below, star_below, links, looked_at[1], paths[1])
    upper_links = [upper.get(row, ()) for row in range(len(points))]
    _plane(ax, above, star_above, upper_links, looked_at[0], paths[0], only=few)
    if paths[0] and paths[1]:
        ax.plot(*np.stack([above[paths[0][-1]], below[paths[1][0]]]).T, "--", color=WAY, linewidth=1.6, zorder=6)
    ax.set_title(title, fontsize=11)
    _finish(fig, ax)
    return fig


def _plane(
    ax: plt.Axes,
    points: np.ndarray,
    target: np.ndarray,
    links: Sequence[Iterable[int]],
    looked_at: Iterable[int],
    path: Sequence[int],
    only: Sequence[int] | None = None,
) -> None:
    for here, others in enumerate(links):
        for there in others:
            ax.plot(*points[[here, there]].T, color=LINK, linewidth=0.6, zorder=1)
    ax.scatter(*(points if only is None else points[only]).T, s=12, color="#888888", zorder=2)
    ax.scatter(*points[list(looked_at)].T, s=40, color=SEEN, zorder=3)
    if len(path) > 1:
        ax.plot(*points[list(path)].T, color=WAY, linewidth=2.5, zorder=5)
        ax.scatter(*points[path[0]], s=90, marker="s", color=WAY, zorder=5)
    if len(path):
        ax.scatter(*points[path[-1]], s=260, facecolor="none", edgecolor=WAY, linewidth=2, zorder=6)
    ax.scatter(*target, marker="*", s=150, color=GOAL, edgecolor="black", linewidth=0.8, zorder=7)


def _finish(fig: Figure, ax: plt.Axes) -> None:
    """Take the axes away, and put the legend below: the same words in the same places in each drawing."""
    nothing = {"linestyle": "none", "color": WAY}
    signs = [
        Line2D([], [], marker="*", markersize=12, markerfacecolor=GOAL, markeredgecolor="black", **nothing),
        Line2D([], [], marker="o", **{**nothing, "color": SEEN}),
        Line2D([], [], marker="s", markersize=9, **nothing),
        Line2D([], [], marker="o", markersize=14, fillstyle="none", **nothing),
        Line2D([], [], color=WAY, linewidth=2.5),
        Line2D([], [], color=LINK, linewidth=1),
    ]
    words = ("the query", "compared with the query", "start", "end", "the path", "links")
    fig.legend(signs, words, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
