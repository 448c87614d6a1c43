"""What several lessons share: changes to a picture, pages, words for a class, chance, made-up vectors, a stopwatch.

Each is here once. The lesson that needs it first says what it does.
"""

import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from helpers.images import DATA, PictureSource, must_exist, open_small

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "unchanged": lambda p: p,
    "shifted by a tenth": lambda p: p.rotate(0, translate=(p.width // 10, p.height // 10), fillcolor="white"),
    "mirrored": ImageOps.mirror,
    "cropped by a tenth": lambda p: ImageOps.crop(p, (p.width // 10, p.height // 10)),
    "half as bright": lambda p: ImageEnhance.Brightness(p).enhance(0.5),
    "only 16 pixels wide": lambda p: p.resize((16, 16)),
}
"""The changes of the invariance lab: the name of each, and a function that takes an RGB picture and returns another."""


def one_design() -> list[str]:
    """Return the classes whose pictures are all made to one design, as data/one_design.txt lists them."""
    return must_exist(DATA / "one_design.txt").read_text(encoding="utf-8").split()


def spoken(label: str) -> str:
    """Return a class as one says it: ``"an elephant"`` for ``"elephant_or_rhino"``, ``"a picture"`` for none."""
    label = label or "picture"
    return ("an " if label[0].lower() in "aeiou" else "a ") + label.split("_or_")[0].replace("_", " ")


def random_ranking(queries: int, gallery: int, seed: int = 0) -> np.ndarray:
    """Shuffle a gallery anew for every query: what the other rankings are measured against.

    Parameters
    ----------
    queries, gallery : int
        How many there are, M and N.
    seed : int
        The same seed gives the same ranking.

    Returns
    -------
    ndarray of int64, shape (M, N)
        In each row, all rows of the gallery.
    """
    return np.random.default_rng(seed).permuted(np.tile(np.arange(gallery), (queries, 1)), axis=1)


def page_of(pictures: Sequence[PictureSource], places: int = 3, width: int = 120) -> Image.Image:
    """Paste pictures onto a white square page, in a row that begins at the left.

    Parameters
    ----------
    pictures : sequence of paths
        Up to `places` pictures; the places that are left stay white.
    places : int
        How many pictures the page is wide.
    width : int
        Pixels of a place.

    Returns
    -------
    PIL.Image.Image
        RGB, ``places * width`` pixels wide and high.
    """
    page = Image.new("RGB", (places * width, places * width), "white")
    for place, path in enumerate(pictures):
        picture = open_small(path, width)
        page.paste(picture, (place * width, (page.height - picture.height) // 2))
    return page


def written(word: str, side: int = 224) -> Image.Image:
    """Write a word in black, in the middle of a white square page of `side` pixels."""
    page = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(page).text((side / 2, side / 2), word, "black", ImageFont.load_default(side // 6), anchor="mm")
    return page


def grown(vectors: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Make a larger gallery up, to measure a search with: the vectors, and jittered copies of them.

    A copy is its vector moved by a random step about as long as the vector, and scaled back to length 1. The copies are
    no pictures and say nothing about relevance.

    Parameters
    ----------
    vectors : array of float, shape (N, dim)
        Rows of length 1.
    n : int
        How many to return. The first N are `vectors` themselves; of fewer, only the first n.
    seed : int
        The same seed gives the same steps.

    Returns
    -------
    ndarray of float32, shape (n, dim)
        Rows of length 1.
    """
    rows = vectors[np.arange(n) % len(vectors)]
    step = np.random.default_rng(seed).normal(size=rows.shape) / np.sqrt(rows.shape[1])
    step[: len(vectors)] = 0
    rows = rows + step
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def milliseconds(function: Callable[..., Any], *arguments: Any, tries: int = 5) -> float:
    """Return how long one call of ``function(*arguments)`` takes: the shortest of several tries.

    The shortest, because whatever else the computer does can only make a call longer.

    Parameters
    ----------
    function : callable
    *arguments
        What it is called with.
    tries : int
        How many, at least 1.

    Returns
    -------
    float
        Milliseconds.
    """
    seconds = []
    for _ in range(tries):
        start = time.perf_counter()
        function(*arguments)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds)


def check(name: str, **given: Any) -> bool:
    """Print whether the reader's function `name` is right, or what seems to be wrong with it.

    Parameters
    ----------
    name : str
        The function that the exercise asks for. It is looked up where `check` is called, and need not be there.
    **given
        What the check takes from the lesson: `encoder` for class_vector, `client` for nearest_of_other_classes.

    Returns
    -------
    bool
        Whether the exercise is solved.

    Raises
    ------
    ValueError
        No exercise has this name.
    """
    from helpers.exercises import answers, judge  # not before a reader asks

    exercise = answers.find(name, **given)
    return judge.agrees(name, inspect.currentframe().f_back.f_globals, **exercise._asdict())
