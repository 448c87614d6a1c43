"""The exercises of the lessons: for each its right answer, the inputs that are tried, and the usual mistakes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from helpers import evaluate, images, metrics


class Exercise(NamedTuple):
    """What `judge.agrees` needs to know."""

    reference: Callable[..., Any]
    inputs: list[tuple]
    mistakes: dict[str, Callable[..., Any]]
    without_loop: bool = False


_EXERCISES: dict[str, Callable[..., Exercise]] = {}


def find(name: str, **given: Any) -> Exercise:
    """Return the exercise that asks for the function `name`; `given` is what it takes from the lesson."""
    if name not in _EXERCISES:
        raise ValueError(f"no exercise is called {name!r}. There are: {', '.join(_EXERCISES)}.")
    return _EXERCISES[name](**given)


def _exercise(entry: Callable[..., Exercise]) -> Callable[..., Exercise]:
    _EXERCISES[entry.__name__.removeprefix("_")] = entry
    return entry


def _l2(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return metrics.l2(query[None], rows)[0]


def _cosine(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return metrics.cosine(query[None], rows)[0]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


# Lesson 1


@_exercise
def _my_l2() -> Exercise:
    made_up = np.random.default_rng(0)
    return Exercise(
        _l2,
        [(made_up.normal(size=d), made_up.normal(size=(n, d))) for n, d in ((4, 6), (80, 3), (2, 90))],
        {
            "your distances are squared: take the root.": lambda q, rows: _l2(q, rows) ** 2,
            "this is L1: square the differences before adding them up.": lambda q, rows: metrics.l1(q[None], rows)[0],
            "square each difference before adding up, not the sum.": lambda q, rows: abs(rows.sum(axis=1) - q.sum()),
            "this takes the mean of the squares: add them up.": lambda q, rows: _l2(q, rows) / len(q) ** 0.5,
            "this adds up over the pictures: use axis=1.": lambda q, rows: _l2(0 * rows[:, 0], (rows - q).T),
            "this is one number for all pictures: add up each row by itself.": lambda q, rows: np.linalg.norm(rows - q),
        },
        without_loop=True,
    )


@_exercise
def _my_precision() -> Exercise:
    def share(ranked: np.ndarray, label: str, k: int) -> float:
        return evaluate.precision_at_k(ranked[None], [label], k)[0]

    ranked = np.array(["mill", "bird", "windmill"])[[0, 1, 0, 1, 1, 0, 0, 1, 2, 1, 0, 0, 2, 0, 0]]
    return Exercise(
        share,
        [
            (ranked, "mill", 6),
            (ranked, "bird", 4),
            (ranked[::-1], "mill", 3),
            (ranked, "fish", 3),
            (ranked, "bird", 12),
        ],
        {
            "this counts the right ones: divide by k.": lambda r, label, k: share(r, label, k) * k,
            "this looks at the whole ranking: take the first k only.": lambda r, label, k: (r == label).sum() / k,
            "this is the share of the whole ranking: take the first k only.": lambda r, label, k: (r == label).mean(),
            "this looks at one label too many.": lambda r, label, k: share(r, label, k + 1) * (k + 1) / k,
            "this looks at one label too few.": lambda r, label, k: share(r, label, k - 1) * (k - 1) / k,
            "this always takes ten: k says how many.": lambda r, label, k: share(r, label, 10),
            "this asks whether there is any: count how many.": lambda r, label, k: float(share(r, label, k) > 0),
            "you divide by the relevant ones: divide by k.": lambda r, label, k: (
                share(r, label, k) * k / max(1, (r == label).sum())
            ),
        },
    )


@_exercise
def _my_average_precision() -> Exercise:
    def ap(relevant: np.ndarray) -> float:
        return evaluate.average_precision(relevant[None], [True])[0]

    def so_far(relevant: np.ndarray) -> np.ndarray:
        return np.array([relevant[:k].mean() for k in range(1, len(relevant) + 1)])

    return Exercise(
        ap,
        [(np.array(list(word)) == "x",) for word in ("x-x---x--x-", "--x-", "-xx---x--", "-x-x--x-----x--x")],
        {
            "this is the mean over all ranks: only those of relevant pictures count.": lambda r: so_far(r).mean(),
            "you divide by the length of the ranking, not by the relevant pictures.": lambda r: ap(r) * r.mean(),
            "this adds up without dividing by the number of relevant pictures.": lambda r: ap(r) * r.sum(),
            "your ranks begin at 0: the first is 1.": lambda r: (so_far(r)[r] * (1 + 1 / np.flatnonzero(r))).mean(),
            "this is the share of relevant pictures: where they stand counts, too.": lambda r: r.mean(),
            "this is the precision at the last relevant picture only.": lambda r: so_far(r)[np.flatnonzero(r)[-1]],
            "this looks at the first relevant picture only.": lambda r: 1 / (r.argmax() + 1),
            "this looks at the first ten ranks only: take the whole ranking.": lambda r: ap(r[:10]),
        },
    )


@_exercise
def _map_at() -> Exercise:
    def l1_map(size: int, queries: Any, gallery: Any, metric: str = "l1", k: int | None = None) -> float:
        order, _ = metrics.rank(images.pixel_matrix(queries, size), images.pixel_matrix(gallery, size), metric, k)
        return evaluate.average_precision(gallery.labels[order], queries.labels).mean()

    few = images.load_gallery(images.must_exist(images.DATA / "test"))  # each query finds itself, and others
    one_each = few.take([few.first(label) for label in few.classes])  # so exchanged, queries and gallery give a number
    return Exercise(
        l1_map,
        [(4, one_each, few), (10, few.take(range(40, 120, 5)), few.take(range(40, 120)))],
        {
            "this is the value for 64 × 64: hand `size` on to pixel_matrix.": lambda size, q, g: l1_map(64, q, g),
            "this ranks by L2, which `rank` does unless told otherwise.": lambda size, q, g: l1_map(size, q, g, "l2"),
            "AP needs the whole ranking: k=None.": lambda size, q, g: l1_map(size, q, g, k=5),
            "queries and gallery have changed places.": lambda size, q, g: l1_map(size, g, q),
            "AP compares classes, and a ranking holds rows: take gallery.labels of them.": lambda size, q, g: np.nan,
        },
    )


@_exercise
def _colour_histogram() -> Exercise:
    def shares(row: np.ndarray) -> np.ndarray:
        boxes = (row.reshape(-1, 3) * 4).astype(int).clip(0, 3) @ [16, 4, 1]
        return np.bincount(boxes, minlength=64) / len(boxes)

    rows = [np.random.default_rng(pixels).random(3 * pixels) for pixels in (5, 64, 300)]
    return Exercise(
        shares,
        [(row,) for row in (*rows, np.array([0.0, 0, 0, 1, 1, 1, 0, 0, 1]))],
        {
            "these are counts: divide by the number of pixels.": lambda row: shares(row) * len(row) / 3,
            "you divide by the number of values: a pixel has three.": lambda row: shares(row) / 3,
            "you divide by 64 × 64: a picture may be of another size.": lambda row: shares(row) * len(row) / 3 / 64**2,
            "blue stands before red: red is the first colour of a pixel.": lambda row: shares(row[::-1]),
            "the 64 boxes stand in a row, not in a cube: reshape.": lambda row: shares(row).reshape(4, 4, 4),
        },
    )


# Lesson 2


@_exercise
def _fast_cosine() -> Exercise:
    normal = np.random.default_rng(0).normal
    return Exercise(
        _cosine,
        [(_unit(normal(size=d)), _unit(normal(size=(n, d)))) for n, d in ((4, 6), (80, 3), (2, 90))],
        {
            "this is 1 minus the cosine, a distance.": lambda query, rows: 1 - _cosine(query, rows),
            "this is the squared L2 distance: see the formula above.": lambda query, rows: 2 - 2 * _cosine(query, rows),
            "this is the L2 distance: see the formula above.": _l2,
            "the sign is turned: near must be large.": lambda query, rows: -_cosine(query, rows),
            "these are products, not yet added up along each row.": lambda query, rows: rows * query,
        },
        without_loop=True,
    )


@_exercise
def _class_vector(encoder: Any) -> Exercise:
    def mean(name: str, templates: list[str]) -> np.ndarray:
        return encoder.encode_texts([template.replace("{}", name) for template in templates]).mean(axis=0)

    templates = ["a photo of a {}", "a drawing of a {}", "a {} on a white page", "a close-up of a {}"]
    return Exercise(
        lambda n, t: _unit(mean(n, t)),
        [("car", templates), ("windmill", templates[:2]), ("playing card", templates[1:])],
        {
            "the mean of unit vectors is shorter than 1: divide by its length.": mean,
            "this is the sum: take the mean and scale it to length 1.": lambda n, t: mean(n, t) * len(t),
            "the name is missing: put it in the place of {}.": lambda n, t: _unit(mean("{}", t)),
            "this uses one template only: take the mean over all.": lambda n, t: mean(n, t[:1]),
            "this uses the name alone: put it into the templates.": lambda n, t: mean(n, ["{}"]),
            "this is one vector for each template: take their mean.": lambda n, t: np.stack([mean(n, [s]) for s in t]),
        },
    )


@_exercise
def _nearest_name() -> Exercise:
    def nearest(pictures: np.ndarray, names: np.ndarray) -> np.ndarray:
        return metrics.rank(pictures, names, metric="cosine", k=1)[0][:, 0]

    normal = np.random.default_rng(0).normal
    made_up = [(_unit(normal(size=(m, d))), _unit(normal(size=(n, d)))) for m, n, d in ((5, 3, 4), (2, 9, 6))]
    return Exercise(
        nearest,
        [*made_up, (np.eye(3), np.eye(3)[[2, 0, 1, 0, 2]])],
        {
            "this is the farthest name: for a similarity, large is near.": lambda p, n: nearest(-p, n),
            "this is the nearest picture of each name: turn it around.": lambda p, n: nearest(n, p),
            "this is one row for all: each picture has a nearest name.": lambda p, n: metrics.cosine(p, n).argmax(),
            "this is the answer for the first picture only.": lambda p, n: nearest(p, n)[0],
            "of equal names take the first.": lambda p, n: len(n) - 1 - nearest(p, n[::-1]),
            "your rows begin at 1: Python counts from 0.": lambda p, n: nearest(p, n) + 1,
            "these are the cosines: return the rows where they are largest.": lambda p, n: metrics.cosine(p, n).max(1),
        },
    )


@_exercise
def _count_matched() -> Exercise:
    def ahead(one: np.ndarray, own: np.ndarray, other: np.ndarray) -> np.ndarray:
        return (one * own).sum(axis=1) - (one * other).sum(axis=1)

    def matched(a: np.ndarray, b: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        return ahead(a, s, t) + ahead(b, t, s) > 0

    normal = np.random.default_rng(0).normal
    return Exercise(
        lambda *rows: float(matched(*rows).sum()),
        [tuple(_unit(normal(size=(m, d))) for _ in range(4)) for m, d in ((29, 4), (40, 7))],
        {
            "this is the share: count them.": lambda *rows: matched(*rows).mean(),
            "these are those that are matched wrongly.": lambda *rows: (~matched(*rows)).sum(),
            "this looks at the first picture of each pair only: add what the second says.": lambda a, b, s, t: (
                ahead(a, s, t) > 0
            ).sum(),
            "this looks at the second picture of each pair only: add what the first says.": lambda a, b, s, t: (
                ahead(b, t, s) > 0
            ).sum(),
            "this asks that both pictures prefer their own sentence: only the sum counts.": lambda a, b, s, t: (
                (ahead(a, s, t) > 0) & (ahead(b, t, s) > 0)
            ).sum(),
            "these are the answers for each pair: count those that are right.": lambda *rows: 1.0 * matched(*rows),
            "this compares every pair with every other: multiply row by row.": lambda a, b, s, t: (
                (a - b) @ (s - t).T > 0
            ).sum(),
            "this counts numbers, not pairs: add up each row first.": lambda a, b, s, t: ((a - b) * (s - t) > 0).sum(),
        },
    )


# Lesson 3


@_exercise
def _next_point() -> Exercise:
    def nearest(here: int, links: list[list[int]], distance: np.ndarray) -> int:
        return min(links[here], key=lambda point: distance[point])

    def step(here: int, links: list[list[int]], distance: np.ndarray) -> int:
        return min([here, *links[here]], key=lambda point: distance[point])

    links = [[4, 1, 6], [2, 0, 6], [6, 1, 3], [6, 2, 5], [0, 5, 6], [3, 2, 4], [3, 4, 2]]
    distance = np.array([0.9, 0.6, 0.4, 0.5, 0.8, 0.1, 0.7])  # the walk from 0 ends at 2, and 5 is nearer
    return Exercise(
        step,
        [(here, links, distance) for here in (0, 1, 2, 6)] + [(2, links[::-1], distance[::-1])],
        {
            "where no neighbour is nearer than `here`, return `here`.": nearest,
            "this is the neighbour farthest from the query.": lambda h, links, d: max(links[h], key=lambda p: d[p]),
            "this is the neighbour farthest from the query, or `here`.": lambda h, links, d: max(
                [h, *links[h]], key=lambda p: d[p]
            ),
            "this is the first neighbour that is nearer: take the nearest of all.": lambda h, links, d: next(
                (p for p in links[h] if d[p] < d[h]), h
            ),
            "this is the first of the links: compare the distances.": lambda h, links, d: links[h][0],
            "this may be any point: only those in links[here] can be reached.": lambda h, links, d: d.argmin(),
            "this is a place in the list links[here]: return the point that stands there.": lambda h, links, d: int(
                np.argmin(d[links[h]])
            ),
            "this is a distance: return the point.": lambda h, links, d: d[step(h, links, d)],
            "this always stays at `here`.": lambda h, links, d: h,
        },
    )


@_exercise
def _nearest_of_other_classes(client: Any) -> Exercise:
    kinds = np.array(["mill", "castle", "fish", "mill"] * 6)
    dots = np.random.default_rng(0).normal(size=(len(kinds), 5)).astype(np.float32)
    settings = {"hnsw": {"space": "cosine"}}
    tiny = client.get_or_create_collection("tiny", configuration=settings, embedding_function=None)
    tiny.upsert([str(row) for row in range(len(kinds))], dots, [{"label": str(kind)} for kind in kinds])

    def nearest(query: np.ndarray, kept: np.ndarray) -> np.ndarray:
        order = metrics.rank(query[None], dots, metric="cosine", k=None)[0][0]
        return order[kept[order]]

    return Exercise(
        lambda _, q, c, k: nearest(q, kinds != c)[:k],
        [(tiny, dots[0], "mill", 5), (tiny, dots[1] + dots[3], "castle", 12), (tiny, -dots[2], "fish", 3)],
        {
            "these may be of any class: add where={…}.": lambda _, q, c, k: nearest(q, kinds != "")[:k],
            "these are of the class itself: $ne means not equal.": lambda _, q, c, k: nearest(q, kinds == c)[:k],
            "fewer than k are left: let Chroma filter, with where={…}.": lambda _, q, c, k: (
                [row for row in nearest(q, kinds != "")[:k] if kinds[row] != c]
            ),
            "the filter let nothing through: is the field's name right?": lambda _, q, c, k: [],
            "Chroma returns ten unless told otherwise: n_results=k.": lambda _, q, c, k: nearest(q, kinds != c)[:10],
            "Chroma answers with a list for each query: take the first.": lambda _, q, c, k: [
                nearest(q, kinds != c)[:k]
            ],
            "the farthest stands first.": lambda _, q, c, k: nearest(q, kinds != c)[:k][::-1],
        },
    )


@_exercise
def _to_cosine() -> Exercise:
    def cosine(d: np.ndarray, space: str) -> np.ndarray:
        return 1 - d / 2 if space == "l2" else 1 - d

    return Exercise(
        cosine,
        [(np.array([0, 0.4, 1.25]), "cosine"), (np.array([0.2, 2, 3.4, 1.4]), "l2"), (np.array([0.8, 2]), "ip")],
        {
            "these are still distances: the cosine of two equal vectors is 1.": lambda d, space: d,
            "for l2 the distance is 2 − 2·cos, not 1 − cos: solve that for cos.": lambda d, space: 1 - d,
            "Chroma's l2 is squared already: do not square it again.": lambda d, s: cosine(d**2 if s == "l2" else d, s),
            "this is right for l2; in the other two spaces the distance is 1 − cos.": lambda d, space: 1 - d / 2,
            "the sign is turned.": lambda d, space: -cosine(d, space),
        },
    )


# Lesson 4


@_exercise
def _lost_rows() -> Exercise:
    def lost(rows: np.ndarray, found: list[list[str]]) -> np.ndarray:
        return np.array([row for row, near in zip(rows, found, strict=True) if str(row) not in near])

    five = np.array([3, 8, 5, 12, 7]), [list("381"), list("539"), list("952"), list("127"), ["12", "0", "4"]]
    three = np.array([40, 41, 2]), [["14", "2", "40"], ["4", "1", "411"], ["7", "5", "3"]]
    return Exercise(
        lost,
        [five, three, (np.array([6, 9]), [["6"], ["8"]])],
        {
            "these are the rows that are found: return the others.": lambda r, f: r[~np.isin(r, lost(r, f))],
            "these are all rows: is a number compared with text? str(row) makes a text of it.": lambda r, f: r,
            "a row may stand anywhere among its results, not only first.": lambda r, f: lost(r, [[n[0]] for n in f]),
            "look only at each row's own results, not at those of the others.": lambda r, f: lost(
                r, [[key for near in f for key in near]] * len(r)
            ),
            "these are places in `rows`: return what stands there.": lambda r, f: np.flatnonzero(
                np.isin(r, lost(r, f))
            ),
            "this is how many: return the rows themselves.": lambda r, f: len(lost(r, f)),
            "this is the share: return the rows themselves.": lambda r, f: len(lost(r, f)) / len(r),
        },
    )


@_exercise
def _my_recall() -> Exercise:
    def recall(found: np.ndarray, true: np.ndarray) -> np.ndarray:
        return evaluate.recall_at_k(found, true, true.shape[1])

    two = np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), np.array([[2, 1, 5, 0], [5, 6, 7, 8]])
    three = np.array([[9, 8], [1, 2], [5, 6]]), np.array([[8, 9], [3, 4], [6, 1]])
    return Exercise(
        recall,
        [two, three],
        {
            "this compares place by place: an id counts wherever it stands in the row.": lambda f, t: (f == t).mean(1),
            "these are counts: divide by how many true neighbours there are.": lambda f, t: recall(f, t) * t.shape[1],
            "take the rows one by one: what one query found, another did not.": lambda f, t: np.isin(t, f).mean(1),
            "this divides by all ids in either row; recall divides by the true ones.": lambda f, t: (
                1 / (2 / recall(f, t) - 1)
            ),
            "this is the mean over the queries: return one number for each.": lambda f, t: recall(f, t).mean(),
            "this is the share that was missed.": lambda f, t: 1 - recall(f, t),
            "this divides by four: the rows may be of another length.": lambda f, t: recall(f, t) * t.shape[1] / 4,
        },
    )


@_exercise
def _gigabytes() -> Exercise:
    def memory(n: int, dim: float, m: float) -> float:
        return n * (4 * dim + 2 * m * 4) / 1e9

    return Exercise(
        memory,
        [(1_000_000, 512, 32), (1000, 256, 8), (30, 2, 5)],
        {
            "almost: this is in GiB, 2³⁰ bytes; we count in 10⁹.": lambda n, dim, m: memory(n, dim, m) * 1e9 / 2**30,
            "a link takes four bytes, too.": lambda n, dim, m: memory(n, dim, m / 4),
            "the links are missing: 2 · max_neighbors of them, four bytes each.": lambda n, dim, m: memory(n, dim, 0),
            "the lowest layer has twice max_neighbors links.": lambda n, dim, m: memory(n, dim, m / 2),
            "a number takes four bytes, too.": lambda n, dim, m: memory(n, dim / 4, m),
            "these are bytes: divide by 10⁹.": lambda n, dim, m: memory(n, dim, m) * 1e9,
            "these are MB: divide by 10⁹.": lambda n, dim, m: memory(n, dim, m) * 1e3,
            "eight bytes a number are too many: the vectors are float32.": lambda n, dim, m: memory(n, 2 * dim, m),
            "this is for one vector: multiply by n.": lambda n, dim, m: memory(1, dim, m),
        },
    )
