"""Measure models on the course's pictures, beside raw pixels and chance.

python tools/model/measure.py data [--also FOLDER_OF_AN_OLDER_MODEL] [--model data/clip]
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers import clip, evaluate, images, metrics


def text_of(label: str) -> str:
    """Put a class's name into the prompt that the lessons use."""
    return f"a photo of a {label.replace('_', ' ')}"


def line(name: str, ranked: np.ndarray, labels: np.ndarray, groups: dict[str, np.ndarray]) -> str:
    """Write one method's row: P@1, P@5 with its interval and mAP over all, and P@5 of each group of queries."""
    at_1, at_5 = (evaluate.precision_at_k(ranked, labels, k) for k in (1, 5))
    low, high = evaluate.interval(at_5)
    cells = [name, f"{at_1.mean():.3f}", f"{at_5.mean():.3f} [{low:.3f}, {high:.3f}]"]
    cells.append(f"{evaluate.average_precision(ranked, labels).mean():.3f}")
    parts = [at_5[rows] for rows in groups.values()]
    cells += [f"{part.mean():.3f} (±{np.diff(evaluate.interval(part))[0] / 2:.2f})" for part in parts]
    return f"| {' | '.join(cells)} |"


def table(data: Path, queries_in: str, models: Sequence[tuple[str, str]]) -> None:
    """Print one table: each method's answers to the pictures, then each model's answers to the classes' names.

    Parameters
    ----------
    data
        Holds ``train``, the folder of queries, ``SOURCES.csv`` and perhaps ``one_design.txt``.
    queries_in
        The folder of the queries below ``data``: ``test``, or a reserve.
    models
        Titles, and names as `clip.load` takes them.
    """
    gallery, queries = images.load_gallery(data / "train"), images.load_gallery(data / queries_in)
    with (data / "SOURCES.csv").open(encoding="utf-8", newline="") as file:
        kinds = {row["file"]: row["kind"] for row in csv.DictReader(file)}
    kind = np.array([kinds[f"{queries_in}/{each}"] for each in queries.ids])
    groups = {"photographs": kind == "photo", "drawings": kind == "drawing"}
    if (data / "one_design.txt").is_file():
        design = np.isin(queries.labels, (data / "one_design.txt").read_text(encoding="utf-8").split())
        groups |= {"one design": design, "all others": ~design}
    print(f"{len(gallery)} pictures, {len(queries)} queries")
    print(f"| image → image | P@1 | P@5 | mAP | {' | '.join(f'{g} ({r.sum()})' for g, r in groups.items())} |")
    print("|---" * (4 + len(groups)) + "|")

    rng = np.random.default_rng(0)
    by_chance = np.stack([rng.permutation(gallery.labels) for _ in range(len(queries))])
    print(line("random", by_chance, queries.labels, groups))
    vectors = [("pixels", images.pixel_matrix(queries), images.pixel_matrix(gallery))]
    encoders = [(title, clip.load(name)) for title, name in models]
    vectors += [(title, e.encode_images(queries), e.encode_images(gallery)) for title, e in encoders]
    for title, ours, theirs in vectors:
        for metric in metrics.METRICS:
            order, _ = metrics.rank(ours, theirs, metric=metric, k=len(gallery))
            print(line(f"{title}, {metric}", gallery.labels[order], queries.labels, groups))

    names = np.unique(gallery.labels)
    print("\n| text → image | P@1 | P@5 | mAP |\n|---|---|---|---|")
    for (title, encoder), (_, _, theirs) in zip(encoders, vectors[1:], strict=True):
        texts = encoder.encode_texts([text_of(name) for name in names])
        order, _ = metrics.rank(texts, theirs, metric="cosine", k=len(gallery))
        print(line(title, gallery.labels[order], names, {}))


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="holds train, test and SOURCES.csv")
    parser.add_argument("--queries", default="test", help="the folder of the queries in it")
    parser.add_argument("--model", type=Path, default=Path("data/clip"))
    parser.add_argument("--also", type=Path, help="the folder of an older model")
    options = parser.parse_args()
    models = [("this model", f"local-dir:{options.model}")]
    if options.also:
        models.insert(0, ("older model", f"local-dir:{options.also}"))
    table(options.data, options.queries, models)


if __name__ == "__main__":
    main()
