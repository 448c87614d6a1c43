"""The exercises of the lessons: wrong answers get no ✓ and a sentence that helps, and other right ways get their ✓."""

import re
import textwrap
from fractions import Fraction
from pathlib import Path

import chromadb
import nbformat
import numpy as np
import pandas as pd
import pytest
import stubs
import torch
from chromadb.api.shared_system_client import SharedSystemClient
from nbclient import NotebookClient

from helpers import evaluate, images, lab, metrics
from helpers.exercises import judge

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


class Letters:
    """Encode each text as a unit vector of its own, always the same."""

    def encode_texts(self, texts):
        vectors = np.stack([np.random.default_rng(list(text.encode())).normal(size=48) for text in texts])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def find_exercises():
    """Return the exercises of all lessons by the name of the function that each asks for."""
    lessons = [nbformat.read(path, as_version=4).cells for path in LESSONS]
    found = [stubs.read(cell) for cells in lessons for cell in stubs.exercises(cells)]
    return {exercise.name: exercise for exercise in found}


EXERCISES = find_exercises()


@pytest.fixture(scope="module")
def given():
    """What the cells above an exercise define, in whichever lesson it stands: small, and without the model."""
    SharedSystemClient.clear_system_cache()  # a process has one Chroma in memory, with one set of settings
    gallery, queries = images.load_pictures()
    prompts = ["a windmill", "a car", "a fish"]
    yield {
        **{"chromadb": chromadb, "evaluate": evaluate, "images": images, "lab": lab, "metrics": metrics, "np": np},
        **{"gallery": gallery, "queries": queries, "client": chromadb.EphemeralClient()},
        **{"G": images.pixel_matrix(gallery, 4), "Q": images.pixel_matrix(queries, 4)},
        **{"encoder": Letters(), "prompts": prompts, "N": Letters().encode_texts(prompts)},
    }
    SharedSystemClient.clear_system_cache()


@pytest.fixture
def attempt(given, capsys):
    """Return a function that puts a body into the stub of an exercise and returns what the check says."""

    def run(name, body):
        exercise, names = EXERCISES[name], dict(given)
        exec(exercise.stub.split("\n")[0] + "\n" + textwrap.indent(body, "    "), names)
        capsys.readouterr()
        exec(exercise.check, names)
        said = capsys.readouterr().out
        assert names["solved"] == any(line.startswith("✓") for line in said.splitlines())
        return said

    return run


STUB = 'def half(x):\n    """Return half of `x`."""\n    return ...'
SOLVED = STUB.replace("...", "x / 2")
ONE_CHECK = 'solved = lab.check("half")'


def made_up(*sources):
    cells = [nbformat.v4.new_markdown_cell("### Exercise"), *map(nbformat.v4.new_code_cell, sources)]
    cells[1].metadata.tags = ["exercise"]
    folded = f"<details><summary>Solution</summary>\n\n```python\n{SOLVED}\n```\n\n</details>"
    return [*cells, nbformat.v4.new_markdown_cell(folded), nbformat.v4.new_code_cell("half(3)")]


def test_an_exercise_is_a_stub_and_its_check_in_one_cell():
    cells = made_up(f"{STUB}\n\n\n{ONE_CHECK}")
    (cell,) = stubs.exercises(cells)
    assert stubs.read(cell) == ("half", STUB, ONE_CHECK)
    assert stubs.solve(cells) == 1
    assert cell.source == f"{SOLVED}\n\n\n{ONE_CHECK}"


WRONG = {  # for each exercise, what is returned, and what the check says to it
    "my_l2": [
        ("return ((gallery_rows - query) ** 2).sum(axis=1)", "squared: take the root"),
        ("return np.abs(gallery_rows - query).sum(axis=1)", "this is L1"),
        ("return metrics.l1(query[None], gallery_rows)[0]", "this is L1"),
        ("return np.abs((gallery_rows - query).sum(axis=1))", "square each difference"),
        ("return np.sqrt(((gallery_rows - query) ** 2).mean(axis=1))", "the mean of the squares"),
        ("return np.sqrt(((gallery_rows - query) ** 2).sum(axis=0))", "use axis=1"),
        ("return np.sqrt(((gallery_rows - query) ** 2).sum())", "one number for all"),
        ("return -np.linalg.norm(gallery_rows - query, axis=1)", "and is -"),
        (
            "return np.linalg.norm(gallery_rows - query, axis=1)[1:]",
            r"should be of shape \(4,\), and is of shape \(3,\)",
        ),
        ("return np.linalg.norm(G - query, axis=1)", "stopped with ValueError"),
        ("return np.linalg.norm(G[:, : len(query)] - query, axis=1)", "uses G from outside"),
        ("return gallery.labels[[0, 1, 2, 3]]", "should be numbers, and is text"),
        ("return np.argsort(np.linalg.norm(gallery_rows - query, axis=1))", "and is"),
        ("return [np.linalg.norm(row - query) for row in gallery_rows]", "there is a loop"),
        ("return np.array(list(map(np.linalg.norm, gallery_rows - query)))", "there is a loop"),
        ("return np.apply_along_axis(np.linalg.norm, 1, gallery_rows - query)", "there is a loop"),
        (
            "return np.vectorize(lambda i: np.linalg.norm(gallery_rows[i] - query))(np.arange(len(gallery_rows)))",
            "there is a loop",
        ),
        (
            "found, i, rows = [], 0, np.asarray(gallery_rows)\nwhile i < len(rows):\n"
            "    d = rows[i] - query\n    found.append((d @ d) ** 0.5)\n    i += 1\nreturn found",
            "there is a loop",
        ),
        ("gallery_rows -= query\nreturn np.sqrt((gallery_rows**2).sum(axis=1))", "changes what it is given"),
        ("return np.sqrt(((gallery_rows - quer) ** 2).sum(axis=1))", "NameError: name 'quer' is not defined"),
        ("np.sqrt(((gallery_rows - query) ** 2).sum(axis=1))", "Is a return missing"),
    ],
    "my_precision": [
        ("return np.mean(ranked_labels[: min(k, 6)] == query_label)", "should be"),
        ("return (ranked_labels[: k + 1] == query_label).sum() / k", "one label too many"),
        ("return (ranked_labels[: k - 1] == query_label).sum() / k", "one label too few"),
        ("return (ranked_labels[:10] == query_label).sum() / 10", "always takes ten"),
        ("return (ranked_labels[:10] == query_label).sum() / k", "and is"),
        ("return (ranked_labels[:k] == query_label).sum() / 10", "and is"),
        ("return (ranked_labels[: k + 1] == query_label).mean()", "and is"),
        ("return sum(query_label in label for label in ranked_labels[:k]) / k", "and is"),
        ("return 0.6", "the same for all inputs"),
        ("return '0.6'", "should be numbers, and is text"),
        ("return str((ranked_labels[:k] == query_label).mean())", "should be numbers, and is text"),
        ("return (ranked_labels[:k] == query_label).sum()", "divide by k"),
        ("return (ranked_labels == query_label).sum() / k", "take the first k only"),
        ("return (ranked_labels == query_label).mean()", "take the first k only"),
        (
            "return (ranked_labels[:k] == query_label).sum() / (ranked_labels == query_label).sum().clip(1)",
            "divide by k",
        ),
        ("return (ranked_labels[:k] == query_label).any()", "True and False"),
        ("return float((ranked_labels[:k] == query_label).any())", "whether there is any"),
        ("return (ranked_labels[:k] == query_label) / k", "one number"),
        ("return (ranked_labels[-k:] == query_label).mean()", "and is"),
        ("return (ranked_labels[:k] != query_label).mean()", "and is"),
        ("ranked_labels.sort()\nreturn (ranked_labels[:k] == query_label).mean()", "changes what it is given"),
        ("return sum(label == query_label for label in ranked_labels[:k]) // k", "and is 0"),
        ("return np.nan", "and is nan"),
    ],
    "my_average_precision": [
        (
            "r = relevant[:10]\nreturn (np.cumsum(r) / np.arange(1, len(r) + 1))[r].mean()",
            "first ten ranks only",
        ),
        ("return (np.cumsum(relevant) / np.arange(1, len(relevant) + 1)).mean()", "the mean over all ranks"),
        (
            "return (np.cumsum(relevant) / np.arange(1, len(relevant) + 1))[relevant].sum() / len(relevant)",
            "length of the",
        ),
        ("return (np.cumsum(relevant) / np.arange(1, len(relevant) + 1))[relevant].sum()", "without dividing"),
        ("return (np.cumsum(relevant) / np.arange(len(relevant)))[relevant].mean()", "ranks begin at 0"),
        ("return (np.cumsum(relevant) / np.arange(1, 11))[relevant].sum() / relevant.sum()", "stopped with ValueError"),
        ("return relevant.mean()", "share of relevant"),
        ("return relevant.sum() / (np.flatnonzero(relevant)[-1] + 1)", "at the last relevant"),
        ("return 1 / (np.argmax(relevant) + 1)", "first relevant picture only"),
        ("return (np.cumsum(relevant) / np.arange(1, len(relevant) + 1))[relevant]", "should be one number"),
        ("return 0.6238095238095238", "and is|the same"),
        ("r = relevant[:5]\nreturn (np.cumsum(r) / np.arange(1, len(r) + 1))[r].sum() / relevant.sum()", "and is"),
        ("relevant[::-1].sort()\nreturn relevant.mean()", "changes what it is given"),
        ("return (np.cumsum(relevant) / np.arange(1, len(relevant) + 1))[relevant].mean() + 1j", "complex"),
    ],
    "map_at": [
        (
            "order, _ = metrics.rank(images.pixel_matrix(queries), images.pixel_matrix(gallery), 'l1', k=None)\n"
            "return evaluate.average_precision(gallery.labels[order], queries.labels).mean()",
            "the value for 64 × 64",
        ),
        (
            "order, _ = metrics.rank(images.pixel_matrix(queries, size), images.pixel_matrix(gallery, size), k=None)\n"
            "return evaluate.average_precision(gallery.labels[order], queries.labels).mean()",
            "this ranks by L2",
        ),
        (
            "order, _ = metrics.rank(images.pixel_matrix(queries, size), images.pixel_matrix(gallery, size), 'l1')\n"
            "return evaluate.average_precision(gallery.labels[order], queries.labels).mean()",
            "AP needs the whole ranking",
        ),
        (
            "G, Q = images.pixel_matrix(gallery, size), images.pixel_matrix(queries, size)\n"
            "order, _ = metrics.rank(G, Q, 'l1', None)\n"
            "return evaluate.average_precision(queries.labels[order], gallery.labels).mean()",
            "have changed places",
        ),
        (
            "G, Q = images.pixel_matrix(gallery, size), images.pixel_matrix(queries, size)\n"
            "order, _ = metrics.rank(Q, G, 'l1', None)\n"
            "return evaluate.average_precision(gallery.labels[order], queries.labels)",
            "should be one number",
        ),
        (
            "G, Q = images.pixel_matrix(gallery, size), images.pixel_matrix(queries, size)\n"
            "order, _ = metrics.rank(Q, G, 'l1', None)\n"
            "return evaluate.precision_at_k(gallery.labels[order], queries.labels, 5).mean()",
            "and is",
        ),
        ("return 0.3", "the same for all inputs"),
        (
            "order, _ = metrics.rank(Q, G, 'l1', k=None)\n"
            "return evaluate.average_precision(gallery.labels[order], queries.labels).mean()",
            "stopped with|uses G and Q from outside",
        ),
        (
            "order = np.argsort(-metrics.l1(*(images.pixel_matrix(p, size) for p in (queries, gallery))), axis=1)\n"
            "return evaluate.average_precision(gallery.labels[order], queries.labels).mean()",
            "and is",
        ),
        (
            "order, _ = metrics.rank(\n"
            "    images.pixel_matrix(queries, size), images.pixel_matrix(gallery, size), 'l1', k=None\n)\n"
            "return evaluate.average_precision(order, queries.labels).mean()",
            "a ranking holds rows: take gallery.labels",
        ),
    ],
    "colour_histogram": [
        ("return np.histogramdd(row.reshape(-1, 3), 4, [(0, 1)] * 3)[0].ravel()", "these are counts"),
        ("return np.histogramdd(row.reshape(-1, 3), 4, [(0, 1)] * 3)[0].ravel() / len(row)", "a pixel has three"),
        ("return np.histogramdd(row.reshape(-1, 3), 4, [(0, 1)] * 3)[0].ravel() / 4096", "another size"),
        ("return np.histogramdd(row.reshape(-1, 3), 4, [(0, 1)] * 3)[0] / (len(row) / 3)", "not in a cube"),
        (
            "return np.histogramdd(row.reshape(-1, 3)[:, ::-1], 4, [(0, 1)] * 3)[0].ravel() / (len(row) / 3)",
            "blue stands",
        ),
        ("return np.histogramdd(row.reshape(-1, 3), 4)[0].ravel() / (len(row) / 3)", "and is"),
        ("return np.histogramdd(row.reshape(3, -1).T, 4, [(0, 1)] * 3)[0].ravel() / (len(row) / 3)", "and is"),
        ("return np.histogram(row, 64, (0, 1))[0] / len(row)", "and is"),
        ("return np.histogramdd(row.reshape(-1, 3), 4, [(0, 1)] * 3)", "should be numbers|makes no array"),
        ("return np.bincount((row.reshape(-1, 3) * 4).astype(int) @ [16, 4, 1]) / (len(row) / 3)", r"of shape \(64,\)"),
        ("return np.full(64, 1 / 64)", "the same for all inputs|and is 0.015"),
        (
            "row *= 4\nreturn np.histogramdd(row.reshape(-1, 3), 4, [(0, 4)] * 3)[0].ravel() / (len(row) / 3)",
            "changes what",
        ),
    ],
    "fast_cosine": [
        ("return 1 - gallery_rows @ query", "a distance"),
        ("return ((gallery_rows - query) ** 2).sum(axis=1)", "squared L2"),
        ("return np.linalg.norm(gallery_rows - query, axis=1)", "the L2 distance"),
        ("return -gallery_rows @ query", "the sign is turned"),
        ("return gallery_rows * query", "not yet added up"),
        ("return (gallery_rows * query).mean(axis=1)", "and is"),
        ("return (gallery_rows * query).sum()", "one number"),
        ("return (gallery_rows * query).sum(axis=0)", "of shape"),
        ("return G @ Q[0]", "uses G and Q from outside"),
        ("return G @ query", "stopped with ValueError"),
        ("return [row @ query for row in gallery_rows]", "there is a loop"),
        ("return np.fromiter((row @ query for row in gallery_rows), float)", "there is a loop"),
        ("return np.array(list(map(query.dot, gallery_rows)))", "there is a loop"),
        ("return sum(gallery_rows[:, i] * query[i] for i in range(len(query)))", "there is a loop"),
        ("return sum(map(np.multiply, gallery_rows.T, query))", "there is a loop"),
        ("return np.fromiter(map(np.sum, gallery_rows * query), float)", "there is a loop"),
        ("return np.argsort(-gallery_rows @ query)", "and is"),
        ("return (gallery_rows @ query).astype('f2')", "and is"),
        ("return np.ma.masked_less(gallery_rows @ query, 0)", "partly masked"),
        ("query *= 2\nreturn gallery_rows @ query / 2", "changes what it is given"),
    ],
    "nearest_name": [
        ("return (picture_vectors @ name_vectors.T).argmin(axis=1)", "the farthest name"),
        ("return (picture_vectors @ name_vectors.T).argmax(axis=0)", "nearest picture of each name"),
        ("return (picture_vectors @ name_vectors.T).argmax()", "one row for all"),
        ("return (picture_vectors @ name_vectors.T)[0].argmax()", "first picture only"),
        (
            "return (picture_vectors @ name_vectors.T).argsort(axis=1, kind='stable')[:, -1]",
            "of equal names take the first",
        ),
        ("return (picture_vectors @ name_vectors.T).argmax(axis=1) + 1", "rows begin at 1"),
        ("return (picture_vectors @ name_vectors.T).max(axis=1)", "these are the cosines"),
        ("return (picture_vectors @ name_vectors.T).argsort(axis=1)[:, -2]", "and is"),
        ("return (picture_vectors @ name_vectors.T).argmax(axis=1).astype(float)", "whole numbers, and is float64"),
        ("return (picture_vectors @ name_vectors.T).argmax(axis=1).astype(str)", "rows.*and is text"),
        ("return np.array(prompts * 3)[(picture_vectors @ name_vectors.T).argmax(axis=1)]", "rows.*and is text"),
        ("return (Q @ N.T).argmax(axis=1)", "of shape|and is"),
        ("return (picture_vectors @ N.T).argmax(axis=1)", "stopped with ValueError.*uses N from outside"),
        ("return np.zeros(len(picture_vectors), int)", "and is 0"),
        (
            "return (picture_vectors @ name_vectors.T).argmax(axis=1)[:, None]",
            r"of shape \(5,\), and is of shape \(5, 1\)",
        ),
    ],
    "class_vector": [
        ("return encoder.encode_texts([t.format(name) for t in templates]).mean(axis=0)", "divide by its length"),
        ("return encoder.encode_texts([t.format(name) for t in templates]).sum(axis=0)", "this is the sum"),
        (
            "mean = encoder.encode_texts(templates).mean(axis=0)\nreturn mean / np.linalg.norm(mean)",
            "the name is missing",
        ),
        ("return encoder.encode_texts([templates[0].format(name)])[0]", "one template only"),
        ("return encoder.encode_texts([name])[0]", "the name alone"),
        ("return encoder.encode_texts([t.format(name) for t in templates])", "one vector for each template"),
        (
            "mean = encoder.encode_texts([t.format('car') for t in templates]).mean(axis=0)\n"
            "return mean / np.linalg.norm(mean)",
            "'windmill'.* and is",
        ),
        (
            "mean = encoder.encode_texts([t.format(name) for t in templates]).mean(axis=0)\nreturn mean / mean.sum()",
            "and is",
        ),
        (
            "mean = encoder.encode_texts([t.format(name) for t in templates]).mean(axis=1)\n"
            "return mean / np.linalg.norm(mean)",
            "of shape",
        ),
        (
            "templates.append(templates.pop(0))\n"
            "mean = encoder.encode_texts([t.format(name) for t in templates]).mean(axis=0)\n"
            "return mean / np.linalg.norm(mean)",
            "changes what it is given",
        ),
        ("return encoder.encode_texts([' '.join(templates).format(name)])[0]", "stopped with IndexError|and is"),
    ],
    "count_matched": [
        ("return (((a - b) * (s - t)).sum(axis=1) > 0).mean()", "this is the share"),
        ("return (((a - b) * (s - t)).sum(axis=1) < 0).sum()", "matched wrongly"),
        ("return (((a - b) * (t - s)).sum(axis=1) > 0).sum()", "matched wrongly"),
        ("return ((a * s).sum(axis=1) > (a * t).sum(axis=1)).sum()", "first picture of each pair only"),
        ("return ((b * t).sum(axis=1) > (b * s).sum(axis=1)).sum()", "second picture of each pair only"),
        ("return ((a * (s - t)).sum(axis=1) > 0).sum()", "first picture of each pair only"),
        (
            "mine = (a * s).sum(axis=1) > (a * t).sum(axis=1)\n"
            "return (mine & ((b * t).sum(axis=1) > (b * s).sum(axis=1))).sum()",
            "only the sum counts",
        ),
        ("return 1.0 * (((a - b) * (s - t)).sum(axis=1) > 0)", "for each pair: count"),
        ("return ((a - b) * (s - t)).sum(axis=1) > 0", "should be.*and is True and False"),
        ("return ((a - b) @ (s - t).T > 0).sum()", "row by row"),
        ("return ((a - b) * (s - t) > 0).sum()", "add up each row first"),
        ("return ((a * s + b * t).sum(axis=1) > 0).sum()", "and is"),
        ("return len(a)", "and is 29"),
    ],
    "next_point": [
        ("return min(links[here], key=lambda point: distance[point])", "return `here`"),
        ("near = links[here]\nreturn near[distance[near].argmin()]", "return `here`"),
        ("return max(links[here], key=lambda point: distance[point])", "farthest from the query"),
        ("return max([*links[here], here], key=lambda point: distance[point])", "farthest from the query, or"),
        (
            "for point in links[here]:\n    if distance[point] < distance[here]:\n        return point\nreturn here",
            "first neighbour that is nearer",
        ),
        ("return links[here][0]", "first of the links"),
        ("return int(np.argmin(distance))", "only those in links"),
        ("return np.argmin(distance[links[here]])", "a place in the list"),
        ("return min(distance[links[here]].min(), distance[here])", "a distance"),
        ("return here", "always stays"),
        ("return links[here]", "of shape"),
        ("return min(links[here], key=distance)", "stopped with TypeError"),
        (
            "if distance[links[here]].min() < distance[here]:\n    return distance[links[here]].argmin()",
            "return missing",
        ),
        ("return float(min([here, *links[here]], key=lambda point: distance[point]))", "whole numbers"),
    ],
    "nearest_of_other_classes": [
        ("return [int(i) for i in collection.query(query_embeddings=[query], n_results=k)['ids'][0]]", "of any class"),
        (
            "found = collection.query(query_embeddings=[query], n_results=k, where={'label': label})\n"
            "return [int(i) for i in found['ids'][0]]",
            "of the class itself",
        ),
        (
            "found = collection.query(query_embeddings=[query], n_results=k, where={'class': label})\n"
            "return [int(i) for i in found['ids'][0]]",
            "the filter let nothing through",
        ),
        ("return []", "the filter let nothing through"),
        (
            "found = collection.query(query_embeddings=[query], n_results=k, include=['metadatas'])\n"
            "pairs = zip(found['ids'][0], found['metadatas'][0])\n"
            "return [int(i) for i, data in pairs if data['label'] != label]",
            "fewer than k are left",
        ),
        (
            "found = collection.query(query_embeddings=[query], where={'label': {'$ne': label}})\n"
            "return [int(i) for i in found['ids'][0]]",
            "n_results=k",
        ),
        (
            "found = collection.query(query_embeddings=[query], n_results=k, where={'label': {'$ne': label}})\n"
            "return found['ids'][0]",
            "rows, which are whole numbers, and is text",
        ),
        (
            "found = collection.query(query_embeddings=[query], n_results=k, where={'label': {'$ne': label}})\n"
            "return np.array(found['ids']).astype(int)",
            "a list for each query",
        ),
        (
            "found = collection.query(query_embeddings=[query], n_results=k, where={'label': {'$ne': label}})\n"
            "return [int(i) for i in found['ids'][0]][::-1]",
            "the farthest stands first",
        ),
        (
            "found = collection.query(query_embeddings=[query], n_results=k, where={'label': {'$ne': label}})\n"
            "return found['distances'][0]",
            "rows, which are whole numbers, and is float64",
        ),
        (
            "found = collection.query(query_embeddings=[query], n_results=5, where={'label': {'$ne': label}})\n"
            "return [int(i) for i in found['ids'][0]]",
            "of shape",
        ),
        (
            "found = collection.query(query_embeddings=[query], n_results=k, where={'label': {'$ne': 'mill'}})\n"
            "return [int(i) for i in found['ids'][0]]",
            "and is",
        ),
        (
            "return collection.query(query_embeddings=[query], n_results=k, where={'label': {'ne': label}})",
            "stopped with",
        ),
    ],
    "to_cosine": [
        ("return distances", "still distances"),
        ("return 1 - distances", "for l2"),
        ("return 1 - distances**2 / 2 if space == 'l2' else 1 - distances", "squared already"),
        ("return 1 - distances / 2", "right for l2"),
        ("return distances - 1 if space != 'l2' else distances / 2 - 1", "the sign is turned"),
        ("return 2 - distances if space == 'l2' else 1 - distances", "and is"),
        ("return 1 - distances / 2 if space == 'L2' else 1 - distances", "for l2"),
        ("return np.array([1, 0.6, -0.25])", "'l2'.*of shape"),
        (
            "return 1 - distances / 2 if space == 'l2' else distances if space == 'ip' else 1 - distances",
            "'ip'.*and is",
        ),
        ("distances /= 2 if space == 'l2' else 1\nreturn 1 - distances", "changes what it is given"),
        ("return 0.6", "of shape"),
        ("if space == 'cosine':\n    return 1 - distances", "Is a return missing"),
    ],
    "lost_rows": [
        ("return [row for row, near in zip(rows, found) if str(row) in near]", "the others"),
        ("return [row for row, near in zip(rows, found) if row not in near]", "text"),
        ("return [row for row, near in zip(rows, found) if str(row) != near[0]]", "not only first"),
        ("return [row for row in rows if str(row) not in np.concatenate(found)]", "own results"),
        ("return [i for i, row in enumerate(rows) if str(row) not in found[i]]", "places"),
        ("return sum(str(row) not in near for row, near in zip(rows, found))", "how many"),
        ("return np.mean([str(row) not in near for row, near in zip(rows, found)])", "the share"),
        ("return [str(row) for row, near in zip(rows, found) if str(row) not in near]", "is text"),
        ("return [str(row) not in near for row, near in zip(rows, found)]", "True and False"),
        ("return [row for row, near in zip(rows, found) if str(row) not in ' '.join(near)]", "and is"),
        ("return found[~np.isin(rows, found)]", "stopped with"),
        ("found.sort()\nreturn [row for row, near in zip(rows, found) if str(row) not in near]", "changes what it is"),
    ],
    "my_recall": [
        ("return (found == truth).mean(axis=1)", "place by place"),
        ("return [len(set(f) & set(t)) for f, t in zip(found, truth)]", "these are counts"),
        ("return np.isin(truth, found).mean(axis=1)", "take the rows one by one"),
        ("return [len(set(f) & set(t)) / len(set(f) | set(t)) for f, t in zip(found, truth)]", "all ids in either row"),
        ("return np.mean([np.isin(t, f).mean() for f, t in zip(found, truth)])", "one number for each"),
        ("return [1 - np.isin(t, f).mean() for f, t in zip(found, truth)]", "was missed"),
        ("return [np.isin(t, f).sum() / 4 for f, t in zip(found, truth)]", "divides by four"),
        ("return np.array([0.5, 1])", "of shape"),
        ("return [np.isin(t, f) for f, t in zip(found, truth)]", "True and False"),
        ("return [np.isin(t, f).mean() for f, t in zip(found.T, truth.T)]", "of shape"),
        ("return [f[0] in t for f, t in zip(found, truth)]", "True and False"),
        ("return [float(np.isin(t, f).any()) for f, t in zip(found, truth)]", "and is 1"),
        ("return (f'{np.isin(t, f).mean()}' for f, t in zip(found, truth))", "and is generator"),
        ("found.sort()\ntruth.sort()\nreturn (found == truth).mean(axis=1)", "changes what it is given"),
    ],
    "gigabytes": [
        ("return n * (4 * dim + 8 * max_neighbors) / 2**30", "this is in GiB"),
        ("return n * (4 * dim + 2 * max_neighbors) / 1e9", "a link takes four bytes"),
        ("return n * 4 * dim / 1e9", "the links are missing"),
        ("return n * (4 * dim + 4 * max_neighbors) / 1e9", "twice max_neighbors"),
        ("return n * (dim + 8 * max_neighbors) / 1e9", "a number takes four bytes"),
        ("return n * (4 * dim + 8 * max_neighbors)", "these are bytes"),
        ("return n * (4 * dim + 8 * max_neighbors) / 1e6", "these are MB"),
        ("return n * (8 * dim + 8 * max_neighbors) / 1e9", "eight bytes"),
        ("return (4 * dim + 8 * max_neighbors) / 1e9", "for one vector"),
        ("return 2.304", "the same for all inputs"),
        ("return 1_000_000 * (4 * dim + 8 * max_neighbors) / 1e9", "1000.*and is"),
        ("return n * (4 * 512 + 8 * max_neighbors) / 1e9", "and is"),
        ("return n * (4 * dim + 8 * 32) / 1e9", "and is"),
        ("return n * (4 * dim + 8 * max_neighbors) // 10**9", "and is 2"),
        ("return f'{n * (4 * dim + 8 * max_neighbors) / 1e9} GB'", "text"),
    ],
}

RIGHT = {  # other ways than that of the solution
    "my_l2": [
        "return np.linalg.norm(gallery_rows - query, axis=1)",
        "return metrics.l2(query[None], gallery_rows)[0]",
        "from sklearn.metrics import euclidean_distances\nreturn euclidean_distances([query], gallery_rows)[0]",
        "return np.hypot.reduce(gallery_rows - query, axis=1)",
        "import pandas as pd\nreturn (pd.DataFrame(gallery_rows) - query).pow(2).sum(axis=1).pow(0.5)",
        "return np.sqrt(np.diag((gallery_rows - query) @ (gallery_rows - query).T))",
        "return list(np.sqrt(np.sum((gallery_rows - query) ** 2, -1)))",
        "d = gallery_rows - query\nreturn np.sqrt(np.einsum('ij,ij->i', d, d))",
        "return np.sqrt((gallery_rows**2).sum(1) + query @ query - 2 * gallery_rows @ query)",
        "import torch\nreturn torch.cdist(torch.tensor(query)[None], torch.tensor(gallery_rows))[0]",
        "from scipy.spatial.distance import cdist\nreturn cdist([query], gallery_rows)[0].astype('f4').tolist()",
    ],
    "my_precision": [
        "return (ranked_labels[:k] == query_label).mean()",
        "return sum(1 for label in ranked_labels[:k] if label == query_label) / k",
        "return evaluate.precision_at_k([ranked_labels], [query_label], k)[0]",
        "from fractions import Fraction\nreturn Fraction(ranked_labels[:k].tolist().count(query_label), k)",
    ],
    "my_average_precision": [
        "return np.mean([relevant[: i + 1].mean() for i in np.flatnonzero(relevant)])",
        "ranks = np.flatnonzero(relevant) + 1\nreturn (np.arange(1, len(ranks) + 1) / ranks).mean()",
        "hits, total = 0, 0\nfor rank, hit in enumerate(relevant, 1):\n    if hit:\n        hits += 1\n"
        "        total += hits / rank\nreturn total / hits",
    ],
    "map_at": [
        "rows = [images.pixel_matrix(part.paths, size=size).astype(float) for part in (queries, gallery)]\n"
        "order = np.argsort([np.abs(rows[1] - q).sum(1) for q in rows[0]], axis=1, kind='stable')\n"
        "return np.mean(evaluate.average_precision(gallery.labels[order], queries.labels))",
        "order = metrics.rank(*[images.pixel_matrix(p, size) for p in (queries, gallery)], 'l1', len(gallery))[0]\n"
        "return evaluate.scoreboard({'l1': order}, gallery.labels, queries.labels)['mAP']['l1']",
    ],
    "colour_histogram": [
        "boxes = np.minimum(row.reshape(-1, 3) * 4, 3).astype(int)\ncounts = np.zeros((4, 4, 4))\n"
        "np.add.at(counts, tuple(boxes.T), 1)\nreturn counts.ravel() / len(boxes)",
        "from collections import Counter\n"
        "boxes = [tuple(min(int(4 * v), 3) for v in row[i : i + 3]) for i in range(0, len(row), 3)]\n"
        "counts, four = Counter(boxes), range(4)\n"
        "return [counts[r, g, b] / len(boxes) for r in four for g in four for b in four]",
    ],
    "fast_cosine": [
        "return np.einsum('d,nd->n', query, gallery_rows)",
        "return (gallery_rows * query).sum(axis=1)",
        "return query @ gallery_rows.T",
        "return metrics.cosine(query[None], gallery_rows)[0]",
        "return np.dot(gallery_rows, query).tolist()",
        "return list(query @ gallery_rows.T)",
        "from sklearn.metrics.pairwise import cosine_similarity\nreturn cosine_similarity([query], gallery_rows)[0]",
    ],
    "nearest_name": [
        "return metrics.rank(picture_vectors, name_vectors, 'cosine', 1)[0][:, 0]",
        "return metrics.l2(picture_vectors, name_vectors).argmin(axis=1)",
        "return [int(np.argmax(name_vectors @ picture)) for picture in picture_vectors]",
        "return (-picture_vectors @ name_vectors.T).argsort(axis=1, kind='stable')[:, 0]",
    ],
    "class_vector": [
        "vectors = [encoder.encode_texts([t.replace('{}', name)])[0] for t in templates]\n"
        "return np.sum(vectors, axis=0) / np.linalg.norm(np.sum(vectors, axis=0))",
        "mean = np.mean(encoder.encode_texts([t.format(name) for t in templates]).astype('f8'), axis=0)\n"
        "return (mean / np.sqrt(mean @ mean)).tolist()",
    ],
    "count_matched": [
        "return np.sum(np.sum(a * s + b * t, axis=1) > np.sum(a * t + b * s, axis=1))",
        "return int(np.count_nonzero(np.einsum('md,md->m', a - b, s - t) > 0))",
        "return sum((p - q) @ (u - v) > 0 for p, q, u, v in zip(a, b, s, t))",
    ],
    "next_point": [
        "best = min(links[here], key=lambda point: distance[point])\n"
        "return best if distance[best] < distance[here] else here",
        "near = np.array([here, *links[here]])\nreturn near[distance[near].argmin()]",
        "best = here\nfor point in links[here]:\n    if distance[point] < distance[best]:\n        best = point\n"
        "return best",
        "return sorted([here] + links[here], key=distance.__getitem__)[0]",
    ],
    "nearest_of_other_classes": [
        "found = collection.query(query_embeddings=query, n_results=k, where={'label': {'$nin': [label]}})\n"
        "return np.array(found['ids'][0], dtype=int)",
        "found = collection.query(query_embeddings=[query], n_results=collection.count(), include=['metadatas'])\n"
        "pairs = zip(found['ids'][0], found['metadatas'][0])\n"
        "return [int(i) for i, data in pairs if data['label'] != label][:k]",
    ],
    "to_cosine": [
        "return {'cosine': 1 - distances, 'l2': (2 - distances) / 2, 'ip': 1 - distances}[space]",
        "if space == 'l2':\n    distances = distances / 2\nreturn [1 - d for d in distances]",
    ],
    "lost_rows": [
        "return [row for row, near in zip(rows, found) if str(row) not in near]",
        "return rows[[str(row) not in near for row, near in zip(rows, found)]]",
        "found = np.array(found).astype(int)\nreturn rows[(found != rows[:, None]).all(axis=1)]",
    ],
    "my_recall": [
        "return evaluate.recall_at_k(found, truth, truth.shape[1])",
        "return [len(set(f) & set(t)) / len(t) for f, t in zip(found.tolist(), truth.tolist())]",
        "return (truth[:, :, None] == found[:, None]).any(axis=2).mean(axis=1)",
    ],
    "gigabytes": [
        "return (n * 4 * dim + n * 8 * max_neighbors) / 10**9",
        "vectors, links = 4 * n * dim, 2 * max_neighbors * 4 * n\nreturn np.float32(vectors + links) * 1e-9",
    ],
}


def test_every_exercise_has_its_planted_answers():
    assert set(WRONG) == set(RIGHT) == set(EXERCISES)
    assert all(len(wrong) >= 6 for wrong in WRONG.values()) and all(len(right) >= 2 for right in RIGHT.values())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name, body, said", [(name, *case) for name, cases in WRONG.items() for case in cases])
def test_a_wrong_answer_is_told_what_is_wrong(name, body, said, attempt):
    text = attempt(name, body)
    assert re.match("Not (yet: |solved yet: .* return )", text) and re.search(said, text) and text.count("\n") == 1


@pytest.mark.parametrize("name, body", [(name, body) for name, bodies in RIGHT.items() for body in bodies])
def test_another_right_way_gets_its_tick(name, body, attempt):
    assert attempt(name, body).splitlines()[-1].startswith("✓ Correct")


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_not_begun_is_not_solved(name, given, capsys):
    names = dict(given)
    exec(f"{EXERCISES[name].stub}\n\n\n{EXERCISES[name].check}", names)
    assert capsys.readouterr().out.startswith("Not solved yet: replace the …") and names["solved"] is False


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", EXERCISES)
def test_every_hint_answers_its_mistake(name, given, monkeypatch, capsys):
    """Hand in each mistake of a check as if a reader had made it."""
    seen, agrees = {}, judge.agrees
    monkeypatch.setattr(judge, "agrees", lambda name, names, **entry: seen.update(entry))
    exec(EXERCISES[name].check, dict(given))
    for advice, mistake in seen["mistakes"].items():
        assert not agrees(name, {name: mistake}, **seen)
        assert capsys.readouterr().out == f"Not yet: {advice}\n"
    assert agrees(name, {name: seen["reference"]}, **{**seen, "without_loop": False})


@pytest.mark.parametrize("name", EXERCISES)
def test_a_lesson_shows_no_answer_in_its_check(name):
    assert re.fullmatch(rf'solved = lab\.check\("{name}"(, (\w+)=\2)?\)', EXERCISES[name].check)


def test_a_name_that_no_exercise_has_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=rf"'my_l3'.*{', '.join(EXERCISES)}"):
        lab.check("my_l3")


@pytest.mark.parametrize("printing, shown", [
    ("print('near', end=' ')", "near"), ("print(gallery_rows)", "[["), ("print(f'near {gallery_rows}')", "near"),
])  # fmt: skip
def test_what_a_function_prints_is_shown_once_and_the_check_has_the_last_line(printing, shown, attempt):
    *printed, last = attempt("my_l2", f"{printing}\nreturn np.linalg.norm(gallery_rows - query, axis=1)").splitlines()
    assert "\n".join(printed).count(shown) == 3 and last.startswith("✓ Correct")


class Refuses:
    """An object that answers nothing."""

    def refuse(self, *_):
        raise RuntimeError("no")

    __array__ = __repr__ = __str__ = __eq__ = __len__ = __iter__ = __float__ = __bool__ = __getattr__ = refuse
    __class__ = property(refuse)
    __hash__ = None


def a_list_in_itself():
    made = [3.0]
    made.append(made)
    return made


EXPECTED = np.array([3.0, 4.0])
NO_NUMBERS = [
    None, "3", b"3", ["3", "4"], np.array(["mill", "bird"]), [True, False], np.array([True, True]), {3: 4}, {3, 4},
    (v for v in (3, 4)), object(), int, len, [[3], [4, 5]], [3, [4]], a_list_in_itself(), Refuses(), [Refuses()] * 2,
    [3, Refuses()], EXPECTED + 0j, [3 + 0j, 4], EXPECTED.astype("M8[s]"), EXPECTED.astype("m8[s]"),
    np.array([(3.0, 4)], dtype="f8,f8"), np.ma.masked, np.ma.array(EXPECTED, mask=[0, 1]), [3.0, np.ma.masked],
    [np.ma.array(3.0, mask=True), 4.0], pd.NA, pd.Series([3, pd.NA]), pd.Series(["3", "4"], dtype="category"),
    pd.Timestamp(0), torch.tensor(EXPECTED, requires_grad=True), torch.tensor(EXPECTED).to_sparse(), [3, None],
    [..., 4], range(10**11), range(10**30), [10**400, 4], ["\ud800", "x"], memoryview(b"34"), NotImplemented,
]  # fmt: skip
OTHER_NUMBERS = [
    np.nan, [np.nan, np.nan], [3, np.nan], [np.inf, np.inf], [3, -np.inf], [np.inf, 4], 3, [3], [], [[3, 4]], [3, 4, 5],
    np.empty((0, 2)), np.array(3.0), [[], []], [3.001, 4], [4, 3], [-3, -4], np.float16([3.01, 4]),
    pd.DataFrame([3, 4]), np.broadcast_to(3.0, (10**6, 10**6)), np.uint8([3, 5]), [10**300, 4], np.longdouble([3, 4.1]),
]  # fmt: skip
SAME_NUMBERS = [
    [3, 4], (3.0, 4.0), range(3, 5), EXPECTED, EXPECTED.astype("f4"), EXPECTED.astype("u1"), np.longdouble([3, 4]),
    torch.tensor([3, 4]), torch.tensor([3.0, 4.0]), pd.Series([3.0, 4.0]), pd.Series([3, 4], dtype="Int64"),
    [Fraction(3), 4], np.array([3, 4], dtype=object), np.ma.array(EXPECTED), [np.float32(3), torch.tensor(4.0)],
]  # fmt: skip


def judged(yours, reference, inputs, mistakes=()):
    return judge.agrees("yours", {"yours": yours}, reference, inputs, dict(mistakes))


def returned(answer, expected=EXPECTED):
    """Return what the check says of a function that returns `answer`, and whether it is right."""
    return judged(lambda: answer, lambda: expected, [()], {"twice.": lambda: expected * 2})


@pytest.mark.parametrize("row", range(len(NO_NUMBERS)))  # pytest would look into the values themselves
def test_what_is_no_number_is_said_and_never_right(row, capsys):
    assert not returned(NO_NUMBERS[row])
    assert re.fullmatch(r"Not (solved )?yet: .*(and is (?!array).*|missing\?)\n", capsys.readouterr().out)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("answer", OTHER_NUMBERS, ids=lambda answer: str(answer)[:20])
def test_other_numbers_are_said_and_never_right(answer, capsys):
    assert not returned(answer)
    assert re.fullmatch("Not yet: yours.* should be .*, and is .*\n", capsys.readouterr().out)


@pytest.mark.parametrize("answer", SAME_NUMBERS, ids=lambda answer: type(answer).__name__)
def test_the_same_numbers_are_right_in_any_form(answer):
    assert returned(answer)


@pytest.mark.parametrize("answer, expected, right", [
    ([np.nan, 1], [np.nan, 1], True), ([1, np.nan], [np.nan, 1], False), ([0, 1], [np.nan, 1], False),
    ([np.inf, 1], [np.inf, 1], True), ([np.inf, 5], [np.inf, 1], False), ([-np.inf, 1], [np.inf, 1], False),
    (1e-7, 2e-7, False), (0, 0.0, True), ([1e-9, 1], [0.0, 1], True), ([], [], True), (2.0, 2, False), (2, 2, True),
])  # fmt: skip
def test_not_a_number_infinity_small_and_whole_numbers(answer, expected, right):
    assert returned(answer, np.asarray(expected)) == right


def test_a_known_mistake_is_named_before_its_form(capsys):
    check_it = returned(EXPECTED * 2)
    assert not check_it and capsys.readouterr().out == "Not yet: twice.\n"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("a\nb"), KeyError("\ud800"), SystemExit(3), Refuses, RecursionError]
)
def test_what_is_raised_is_said(error, capsys):
    def yours(v):
        raise error

    assert not judged(yours, abs, [(1,)])
    assert re.fullmatch(r"Not yet: yours\(1\) stopped with \w+.*\n", capsys.readouterr().out)


def test_stopping_the_kernel_stops_the_check():
    def yours():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judged(yours, lambda: 1, [()])


def test_what_is_handed_in_stays_as_it_is(capsys):
    array, words = np.array([2.0, 1.0]), ["b", "a"]

    def yours(array, words):
        array.sort()
        words.sort()
        return array

    assert not judged(yours, lambda array, words: np.sort(array), [(array, words)])
    assert "changes what it is given" in capsys.readouterr().out
    assert array.tolist() == [2, 1] and words == ["b", "a"]


@pytest.mark.parametrize("change, kept", [
    ("sum(links[0])", True), ("links[0].append(1)", False), ("links.pop()", False), ("links[0].sort()", False),
    ("links[0][0] == 2", True),
])  # fmt: skip
def test_lists_of_different_lengths_can_be_handed_in_and_stay_as_they_are(change, kept, capsys):
    links = [[2, 1], [0], []]
    assert judged(lambda links: (eval(change), 3)[1], lambda links: 3, [(links,)]) == kept
    assert ("changes what it is given" in capsys.readouterr().out) != kept
    assert links == [[2, 1], [0], []]


def test_what_is_no_function_is_said(capsys):
    assert not judged(3, abs, [(1,)]) and not judge.agrees("nobodys", {}, abs, [(1,)], {})
    assert "there is no function yours." in (out := capsys.readouterr().out) and "there is no function nobodys." in out


def test_a_cell_says_what_happened_in_it(tmp_path):
    """A stub and its check are one cell, so that code that is no Python runs neither."""
    steps = [
        ("def mine(x)\n    return abs(x)", "SyntaxError"),
        ("def mine(x):\n    return ...", "replace the … with your own code, and run the cell again"),
        (
            "def mine(x):\n    return y",
            r"mine\(1\) stopped with NameError: name 'y' is not defined \(in the line: return y",
        ),
        ("def mine(x):\n    return abs(x)", "✓ Correct"),
        ("def mine(x):\n  y = 1\n    return y", "IndentationError"),
        (
            "def mein(x):\n    return abs(x)\ndel mine",
            "there is no function mine. Does the cell define one of this name",
        ),
    ]
    checked = "\n\n\nright = judge.agrees('mine', globals(), abs, [(1,), (-2,)], {})"
    cells = [nbformat.v4.new_code_cell(step + checked) for step, _ in steps]
    cells.insert(0, nbformat.v4.new_code_cell("from helpers.exercises import judge"))
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=1200, allow_errors=True, resources={"metadata": {"path": tmp_path}}).execute()
    for (_, said), cell in zip(steps, notebook.cells[1:], strict=True):
        (output,) = cell.outputs
        assert re.search(said, output.get("text") or output.ename), output
