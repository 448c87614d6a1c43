"""The graded assignments: their solutions pass, their tests say what is wrong, and a release gives nothing away."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from chromadb.api.shared_system_client import SharedSystemClient

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "notebooks" / "assignments").glob("*.ipynb"))
GRADED = [path for path in SOURCES if path.name[0] in "123"]
TEACH = ROOT / ".venv-teach" / "bin" / "python"
needs_nbgrader = pytest.mark.skipif(
    sys.platform == "win32" or not TEACH.exists(), reason="needs .venv-teach, which make test installs (not on Windows)"
)


def by_id(path):
    """Return the cells of a notebook that have a name in nbgrader, in order."""
    cells = nbformat.read(path, as_version=4).cells
    return {c.metadata.nbgrader.grade_id: c for c in cells if "nbgrader" in c.metadata}


def parts(cell, which):
    """Return the text between the marks of a solution or of hidden tests."""
    return "\n".join(re.findall(rf"### BEGIN {which}\n(.*?)\s*### END {which}", cell.source, re.DOTALL))


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    command = [str(TEACH), str(ROOT / "tools" / "teach.py"), "--to", str(folder), "release"]
    subprocess.run(command, check=True, capture_output=True)
    return {path.stem: path for path in (folder / "release").glob("*/*.ipynb")}


@pytest.fixture(scope="module")
def prepared():
    """For each assignment, the names that its given cells define."""
    made = {}

    def prepare(path):
        if path not in made:
            names = {}
            for cell in by_id(path).values():
                meta = cell.metadata.nbgrader
                shows = meta.grade_id.endswith("_look") or "show.results" in cell.source
                if cell.cell_type == "code" and not (meta.grade or meta.solution or shows):
                    exec(cell.source, names)
            made[path] = names
        return dict(made[path])

    SharedSystemClient.clear_system_cache()  # a process has one Chroma in memory, with one set of settings
    yield prepare
    SharedSystemClient.clear_system_cache()


@pytest.fixture
def attempt(prepared):
    """Run a student's code for one task; return a function that runs the task's visible test or its hidden one."""

    def run(assignment, task, code):
        path = ROOT / "notebooks" / "assignments" / f"{assignment}.ipynb"
        names, cells = prepared(path), by_id(path)
        for old in names["client"].list_collections() if task == "build" else ():
            if old.name == "pictures" or old.name.startswith("hidden-build"):
                names["client"].delete_collection(old.name)  # all clients in memory of a process share what they hold
        if task == "light":  # it may go on from the first task
            exec(cells["l1"].source, names)
        exec(code, names)
        return lambda test: exec(cells[f"{task}_{test}"].source, names)

    return run


@pytest.mark.parametrize("path", GRADED, ids=lambda path: path.stem)
def test_an_assignment_has_its_parts(path):
    cells = by_id(path)
    meta = [cell.metadata.nbgrader for cell in cells.values()]
    assert sum(m.get("points", 0) for m in meta) == 20
    tasks = [m for m in meta if m.solution]
    assert 5 <= len(tasks) <= 8
    assert all(m.schema_version == 3 for m in meta)
    by_hand = [cell for cell in cells.values() if cell.metadata.nbgrader.solution and cell.metadata.nbgrader.grade]
    assert by_hand and all("**Rubric**" in parts(cell, "SOLUTION") for cell in by_hand)
    for name, cell in cells.items():
        if name.endswith("_grade"):
            assert "### BEGIN HIDDEN TESTS" in cell.source
        if name.endswith("_check"):
            assert "HIDDEN" not in cell.source and "✓" in cell.source


@pytest.mark.parametrize("path", GRADED, ids=lambda path: path.stem)
def test_the_solutions_pass_all_tests(path, prepared):
    names = prepared(path)
    for cell in by_id(path).values():
        meta = cell.metadata.nbgrader
        if cell.cell_type == "code" and (meta.solution or meta.grade):
            exec(cell.source, names)


@needs_nbgrader
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_release_gives_nothing_away(path, released):
    text = released[path.stem].read_text(encoding="utf-8")
    assert "SOLUTION" not in text and "HIDDEN" not in text and "Rubric" not in text
    for name, cell in by_id(path).items():
        secret = parts(cell, "SOLUTION") + "\n" + parts(cell, "HIDDEN TESTS")
        for line in map(str.strip, secret.split("\n")):
            if len(line) > 20:
                assert line not in "\n".join(c.source for c in by_id(released[path.stem]).values()), name
    assert all(not cell.get("outputs") for cell in nbformat.read(released[path.stem], as_version=4).cells)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_solution_is_kept_twice(path):
    lessons = [nbformat.read(lesson, as_version=4) for lesson in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    solutions = [c.source for lesson in lessons for c in lesson.cells if "<summary>Solution</summary>" in c.source]
    text = "\n".join(solutions)
    assert len(solutions) > 10
    for name, cell in by_id(path).items():
        for line in map(str.strip, parts(cell, "SOLUTION").split("\n")):
            assert len(line) < 25 or line not in text, f"{name}: an exercise of a lesson has this line too: {line}"


@needs_nbgrader
@pytest.mark.parametrize("path", GRADED, ids=lambda path: path.stem)
def test_every_visible_test_fails_on_the_stub_and_says_so(path, released, prepared):
    names, checked = prepared(path), 0
    for name, cell in by_id(released[path.stem]).items():
        if cell.cell_type == "code" and cell.metadata.nbgrader.solution:
            exec(cell.source, names)
        elif name.endswith("_check"):
            with pytest.raises(NotImplementedError, match=r"not solved yet: put your own code in place of this line"):
                exec(cell.source, names)
            checked += 1
    assert checked >= 5


LOOP = "np.stack([np.abs(g - r).sum(1) for r in q])"
AP = "    r = ranked == asked[:, None]\n    p = np.cumsum(r, 1) / np.arange(1, r.shape[1] + 1)\n    return "
STANDARD = "    q, g = ((r - r.mean(1)[:, None]) / r.std(1)[:, None] for r in (q, g))\n"
GIVEN = "    given = [names[i] for i in (v @ n.T).argmax(1)]\n"
PAIRS = "    pairs = [(t, g) for t, g in zip(l, given) if t != g]\n"
UNIT = "\n    return v / np.linalg.norm(v)"
QUERY = "    f = c.query(query_embeddings=[v], n_results=k, where={'label': {'$in': wanted}})\n"
HITS = "    f = c.query(query_embeddings=q, n_results=k)['ids']\n    return "
RANKED = "    C = metrics.cosine(encode(paths), G)\n"

MISTAKES = [
    # assignment, task, what a student wrote, what the visible test says
    ("1_pixels", "l1", "def l1_matrix(q, g): np.abs(q[:, None] - g)", "your function returns nothing"),
    ("1_pixels", "l1", "def l1_matrix(q, g): return np.abs(g - q[0]).sum(1)", r"\(2, 3\), and yours is \(3,\)"),
    ("1_pixels", "l1", "def l1_matrix(q, g): return np.sqrt(((q[:, None] - g) ** 2).sum(2))", "this is L2"),
    ("1_pixels", "l1", "def l1_matrix(q, g): return ((q[:, None] - g) ** 2).sum(2)", "the squared L2 distance"),
    ("1_pixels", "l1", "def l1_matrix(q, g): return np.abs(q[:, None] - g).mean(2)", "mean of the differences"),
    ("1_pixels", "l1", "def l1_matrix(q, g): return (q[:, None] - g).sum(2)", "a distance is never negative"),
    ("1_pixels", "l1", "def l1_matrix(q, g): return np.abs((q[:, None] - g).sum(2))", "of each difference first"),
    ("1_pixels", "l1", "def l1_matrix(q, g): return np.abs(q[:, None] - g).max(2)", "by hand"),
    ("1_pixels", "ap", "def average_precisions(ranked, asked): return 0.5", r"shape \(2,\), and yours is \(\)"),
    ("1_pixels", "ap", "def average_precisions(ranked, asked):\n" + AP + "(p * r).sum(1)", "an AP above 1"),
    ("1_pixels", "ap", "def average_precisions(ranked, asked):\n" + AP + "p.mean(1)", "the mean over all ranks"),
    ("1_pixels", "ap", "def average_precisions(ranked, asked):\n" + AP + "(p * r).mean(1)", "not by the length"),
    ("1_pixels", "ap", "def average_precisions(ranked, asked):\n" + AP + "p[:, -1]", "precision at the last hit"),
    (
        "1_pixels",
        "ap",
        "def average_precisions(ranked, asked):\n" + AP + "1 / (r.argmax(1) + 1)",
        "1 / the rank of the first hit",
    ),
    ("1_pixels", "bug", "def counterexample(): return np.array(['a', 'b']), 'a'", "100 labels, and yours has 2"),
    ("1_pixels", "bug", "def counterexample(): return 1, [1] * 100", "the ranked labels come first"),
    ("1_pixels", "bug", "def counterexample(): return ['b'] * 99 + ['a'], 'a'", "make it say 1.0"),
    ("1_pixels", "own", "def own_p1(d, l): return (l[d.argmin(1)] == l).mean()", "every picture found itself"),
    (
        "1_pixels",
        "own",
        "def own_p1(d, l):\n    np.fill_diagonal(d, np.inf)\n    return (l[d.argmin(1)] == l).mean()",
        "changed the table given to you",
    ),
    ("1_pixels", "own", "def own_p1(d, l): return (l[d.argmax(1)] == l).mean()", "takes the farthest"),
    (
        "1_pixels",
        "own",
        "def own_p1(d, l): return (l[(d + np.eye(6) * 9999).argmin(1)] == l).sum() / 5",
        "divide by the number of all pictures",
    ),
    (
        "1_pixels",
        "own",
        "def own_p1(d, l): return (l[d[~np.eye(6, dtype=bool)].reshape(6, 5).argmin(1)] == l).mean()",
        "or the neighbour of another",
    ),
    ("1_pixels", "light", "def lightproof_l1(q, g): return " + LOOP, "its own mean"),
    (
        "1_pixels",
        "light",
        "def lightproof_l1(q, g):\n    q, g = (q - q.mean()) / q.std(), (g - g.mean()) / g.std()\n    return " + LOOP,
        "its own mean",
    ),
    (
        "1_pixels",
        "light",
        "def lightproof_l1(q, g):\n    q, g = (r - r.mean(1)[:, None] for r in (q, g))\n    return " + LOOP,
        "divide each row by its std",
    ),
    (
        "1_pixels",
        "light",
        "def lightproof_l1(q, g):\n    q -= q.mean(1)[:, None]\n    g -= g.mean(1)[:, None]\n    return " + LOOP,
        "you changed the arrays",
    ),
    (
        "1_pixels",
        "light",
        "def lightproof_l1(q, g):\n" + STANDARD + "    return 1 - q @ g.T / q.shape[1]",
        "L1 is not 2.00",
    ),
    ("1_pixels", "light", "def lightproof_l1(q, g): return np.full((3, 4), np.nan)", "your distances hold nan"),
    ("1_pixels", "light", "def lightproof_l1(q, g): return np.ones((3, 4))", "all your distances are the same"),
    (
        "2_clip",
        "words",
        "def search_words(s, k): return np.argsort(G @ encoder.encode_texts([s])[0])[:k]",
        "large is near",
    ),
    ("2_clip", "words", "def search_words(s, k): return (G @ encoder.encode_texts([s])[0])[:k]", "not cosines"),
    (
        "2_clip",
        "words",
        "def search_words(s, k): return np.argsort(G @ encoder.encode_texts([s])[0])[-k:]",
        "the nearest comes first",
    ),
    (
        "2_clip",
        "words",
        "def search_words(s, k): return np.argsort(-(G @ encoder.encode_texts(['a castle'])[0]))[:k]",
        "is the sentence used",
    ),
    (
        "2_clip",
        "confused",
        "def confusions(v, l, n, names):\n" + GIVEN + "    return [(t, g, 1) for t, g in zip(l, given) if t != g]",
        "is one entry with count 2",
    ),
    (
        "2_clip",
        "confused",
        "def confusions(v, l, n, names):\n" + GIVEN + "    return [(t, g, 1) for t, g in zip(l, given)]",
        "right answers are no confusions",
    ),
    (
        "2_clip",
        "confused",
        "def confusions(v, l, n, names):\n"
        + GIVEN
        + "    pairs = [(g, t) for t, g in zip(l, given) if t != g]\n"
        + "    return [(*p, pairs.count(p)) for p in set(pairs)]",
        "the true class comes first",
    ),
    (
        "2_clip",
        "confused",
        "def confusions(v, l, n, names):\n"
        + GIVEN
        + PAIRS
        + "    return sorted(((*p, pairs.count(p)) for p in set(pairs)), key=lambda e: e[2])",
        "the most frequent comes first",
    ),
    (
        "2_clip",
        "confused",
        "def confusions(v, l, n, names):\n"
        + GIVEN
        + PAIRS
        + "    return sorted(((*p, pairs.count(p)) for p in set(pairs)), key=lambda e: (e[2], e[0]), reverse=True)",
        "by the alphabet of the true class",
    ),
    ("2_clip", "threshold", "def choose_threshold(c, r): return c.min()", "some other threshold gives more"),
    ("2_clip", "threshold", "def choose_threshold(c, r): return 4", "refuses all queries"),
    (
        "2_clip",
        "threshold",
        "def choose_threshold(c, r):\n    return max(np.linspace(0, 1, 101), key=lambda t: ((c >= t) == r).sum())",
        "look closer",
    ),
    ("2_clip", "refine", "def refine(q, good, bad): return q + good.mean(0) - bad.mean(0) / 2", "should be 1"),
    (
        "2_clip",
        "refine",
        "def refine(q, good, bad):\n    v = q + good.mean(0) - bad.mean(0)" + UNIT,
        "the bad ones should count half",
    ),
    (
        "2_clip",
        "refine",
        "def refine(q, good, bad):\n    v = q + good.mean(0) + bad.mean(0) / 2" + UNIT,
        "subtract the bad",
    ),
    (
        "2_clip",
        "refine",
        "def refine(q, good, bad):\n    v = good.mean(0) - bad.mean(0) / 2" + UNIT,
        "the old query is missing",
    ),
    (
        "2_clip",
        "refine",
        "def refine(q, good, bad):\n    v = q + good.sum(0) - bad.mean(0) / 2" + UNIT,
        "add up the good ones",
    ),
    (
        "2_clip",
        "refine",
        "def refine(q, good, bad):\n    v = q + good.mean(0) - bad.mean(0) / 2" + UNIT,
        "leave out a mean of nothing",
    ),
    ("2_clip", "mrr", "def scoreboard_with_mrr(r, g, q): return evaluate.scoreboard(r, g, q)", "has no column MRR"),
    (
        "2_clip",
        "mrr",
        "def scoreboard_with_mrr(r, g, q): return evaluate.scoreboard(r, g, q).assign(MRR=np.nan)",
        "nan or infinite",
    ),
    (
        "2_clip",
        "mrr",
        "def scoreboard_with_mrr(r, g, q): return evaluate.scoreboard(r, g, q).assign(MRR=7 / 3)",
        "rank",
    ),
    (
        "2_clip",
        "mrr",
        "def scoreboard_with_mrr(r, g, q): return evaluate.scoreboard(r, g, q).assign(MRR=1.75 / 3)",
        "the second method has the ranks 2, 6 and 1",
    ),
    (
        "3_chromadb",
        "build",
        "def build(name, ids, vectors, labels, batch=100):\n"
        "    c = client.get_or_create_collection(name)\n"
        "    c.upsert(ids=list(ids), embeddings=vectors)\n    return c",
        "the label is not there",
    ),
    (
        "3_chromadb",
        "build",
        "def build(name, ids, vectors, labels, batch=100):\n"
        "    c = client.get_or_create_collection(name)\n"
        "    c.upsert(ids=list(ids), embeddings=vectors, metadatas=[{'label': str(l)} for l in labels])\n    return c",
        "compares by l2",
    ),
    (
        "3_chromadb",
        "build",
        "def build(name, ids, vectors, labels, batch=100):\n"
        "    c = client.get_or_create_collection(name)\n"
        "    for i in range(0, len(ids) - batch + 1, batch):\n"
        "        c.upsert(ids=ids[i : i + batch], embeddings=vectors[i : i + batch])\n    return c",
        "the collection holds 200",
    ),
    (
        "3_chromadb",
        "among",
        "def nearest_among(c, v, wanted, k):\n"
        "    f = c.query(query_embeddings=[v], n_results=k)\n"
        "    return list(zip(f['ids'][0], f['distances'][0]))",
        "asked for cat or fish, and found",
    ),
    (
        "3_chromadb",
        "among",
        "def nearest_among(c, v, wanted, k):\n" + QUERY + "    return list(zip(f['ids'][0], f['distances'][0]))",
        "still Chroma's distance",
    ),
    (
        "3_chromadb",
        "among",
        "def nearest_among(c, v, wanted, k):\n"
        + QUERY
        + "    return [(i, 1 - d / 2) for i, d in zip(f['ids'][0], f['distances'][0])]",
        "are not the cosines",
    ),
    (
        "3_chromadb",
        "sync",
        "def sync(c, ids, vectors):\n    c.upsert(ids=ids, embeddings=vectors)\n    return len(ids), 0",
        "'a' is no longer wanted",
    ),
    (
        "3_chromadb",
        "sync",
        "def sync(c, ids, vectors):\n"
        "    c.delete(ids=c.get()['ids'])\n    c.add(ids=ids, embeddings=vectors)\n    return 5, 1",
        "'b' was there already",
    ),
    (
        "3_chromadb",
        "sync",
        "def sync(c, ids, vectors):\n"
        "    c.delete(ids=['a'])\n    c.add(ids=ids[2:], embeddings=vectors[:5])\n    return 5, 1",
        "has the vector of another",
    ),
    (
        "3_chromadb",
        "sync",
        "def sync(c, ids, vectors):\n"
        "    c.delete(ids=['a'])\n    c.add(ids=ids[2:], embeddings=vectors[2:])\n    return 1, 5",
        "five are added and one is deleted",
    ),
    (
        "3_chromadb",
        "recall",
        "def recall(c, q, truth, k):\n" + HITS + "np.mean(np.array(f) == truth[:, :k])",
        "the order within the first k does not count",
    ),
    (
        "3_chromadb",
        "recall",
        "def recall(c, q, truth, k):\n" + HITS + "np.mean([np.isin(t, x).mean() for x, t in zip(f, truth)])",
        "only the first k of each row",
    ),
    (
        "3_chromadb",
        "recall",
        "def recall(c, q, truth, k):\n" + HITS + "np.mean([np.isin(x, t).mean() for x, t in zip(f, truth)])",
        "your recall is still 1",
    ),
    (
        "3_chromadb",
        "recall",
        "def recall(c, q, truth, k):\n" + HITS + "np.isin(truth[:, :k], f).mean() ** 2",
        "are in the half, and your recall is",
    ),
    ("3_chromadb", "choose", "def choose_ef(c, w): return int(c.loc[c.recall.idxmax(), 'ef'])", "good enough is good"),
    ("3_chromadb", "choose", "def choose_ef(c, w): return int(c.loc[c.ms.idxmin(), 'ef'])", "does not reach"),
    ("3_chromadb", "choose", "def choose_ef(c, w): return int(c[c.recall >= w].ef.min())", "the smallest ef"),
    ("3_chromadb", "choose", "def choose_ef(c, w): return c[c.recall >= w].ef", "a number: not a row"),
    (
        "4_project",
        "system",
        "def search(paths, gallery, G): return metrics.rank(encode(paths), G, k=None)",
        "one array",
    ),
    ("4_project", "system", "def search(paths, gallery, G): return metrics.cosine(encode(paths), G)", "not scores"),
    ("4_project", "system", "def search(paths, gallery, G): return metrics.rank(encode(paths), G)[0]", "k=None"),
    (
        "4_project",
        "system",
        "def search(paths, gallery, G):\n" + RANKED + "    return (-C + 9 * np.random.random(C.shape)).argsort(1)",
        "fix the seed",
    ),
    (
        "4_project",
        "system",
        "def search(paths, gallery, G):\n" + RANKED + "    return (C.mean(0) - C).argsort(1)",
        "alone, a query finds something else",
    ),
    (
        "4_project",
        "system",
        "def search(paths, gallery, G):\n"
        + RANKED
        + "    told = np.array([[p.parent.name == l for l in gallery.labels]"
        " for p in paths])\n    return np.argsort(-C - told, 1)",
        "under other names",
    ),
    (
        "4_project",
        "system",
        "def search(paths, g, H): return np.argsort(-metrics.cosine(encode(paths), G), 1)",
        "use the gallery and G that you get",
    ),
    ("4_project", "system", "def search(paths, g, H): return np.argsort(encode(paths) @ H.T, 1)", "is the best first"),
    ("4_project", "gain", "def gain(a, b): return (a - b).mean(), -0.1, 0.2", "subtract the first from the second"),
    ("4_project", "gain", "def gain(a, b): return np.median(b - a), -0.1, 0.2", "this is the median"),
    (
        "4_project",
        "gain",
        "def gain(a, b):\n    (l, h), (m, i) = map(evaluate.interval, (a, b))\n    return (b - a).mean(), m - h, i - l",
        "take evaluate.interval of the four differences",
    ),
]


@pytest.mark.parametrize("assignment, task, wrong, said", MISTAKES)
def test_a_visible_test_names_the_mistake(assignment, task, wrong, said, attempt):
    test = attempt(assignment, task, wrong)
    with pytest.raises(AssertionError, match=said):
        test("check")


NOT_ENOUGH = [
    # passes what students see, and not what grades: assignment, task, code, what the feedback says
    (
        "1_pixels",
        "l1",
        "def l1_matrix(q, g): return np.abs(q[:, None].astype('f4') - g).sum(2)",
        "MB of working memory",
    ),
    ("1_pixels", "l1", "def l1_matrix(q, g): return " + LOOP, "wrap around"),
    (
        "1_pixels",
        "ap",
        "def average_precisions(ranked, asked):\n" + AP + "(p * r).sum(1) / np.maximum(r.sum(1), 1)",
        "AP is nan",
    ),
    ("1_pixels", "bug", "def counterexample(): return ['a'] + ['b'] * 99, 'a'", "of your ranking is 1.00"),
    (
        "1_pixels",
        "own",
        "def own_p1(d, l): return (l[np.where(d == 0, np.inf, d).argmin(1)] == l).mean()",
        "an exact copy is another picture",
    ),
    ("1_pixels", "light", "def lightproof_l1(q, g):\n" + STANDARD + "    return " + LOOP, "single grey gives nan"),
    (
        "2_clip",
        "threshold",
        "def choose_threshold(c, r): return max(c, key=lambda t: ((c >= t) == r).sum())",
        "best never to answer",
    ),
    (
        "2_clip",
        "confused",
        "def confusions(v, l, n, names):\n"
        + GIVEN
        + PAIRS
        + "    unique = sorted(set(pairs), key=lambda p: (p[0], -ord(p[1][0])))\n"
        + "    return sorted(((*p, pairs.count(p)) for p in unique), key=lambda e: -e[2])",
        "by the given class",
    ),
    (
        "2_clip",
        "refine",
        "def refine(q, good, bad):\n"
        "    if not (len(good) and len(bad)):\n        return q\n"
        "    v = q + good.mean(0) - bad.mean(0) / 2" + UNIT,
        "with bad ones only",
    ),
    (
        "2_clip",
        "mrr",
        "def scoreboard_with_mrr(r, g, q):\n    board = evaluate.scoreboard(r, g, q)\n"
        "    board['MRR'] = [(1 / ((g[x] == q[:, None]).argmax(1) + 1)).mean() for x in r.values()]\n    return board",
        "counts as 0",
    ),
    (
        "3_chromadb",
        "build",
        "def build(name, ids, vectors, labels, batch=100):\n"
        "    c = client.get_or_create_collection(name, configuration={'hnsw': {'space': 'cosine'}})\n"
        "    for i in range(0, len(ids), batch):\n"
        "        given = [{'label': str(l)} for l in labels[i : i + batch]]\n"
        "        c.upsert(ids=ids[i : i + batch], embeddings=vectors[i : i + batch], metadatas=given)\n    return c",
        "built again with 9 vectors, the collection holds 53",
    ),
    (
        "3_chromadb",
        "recall",
        "def recall(c, q, truth, k):\n    f = c.query(query_embeddings=q)['ids']\n"
        "    return np.mean([np.isin(t[:10], x).mean() for x, t in zip(f, truth)])",
        "at k = 1 your recall is not right",
    ),
    (
        "3_chromadb",
        "choose",
        "def choose_ef(c, w):\n    e = c[c.recall > w]\n    return int(e.loc[e.ms.idxmin(), 'ef'])",
        "a recall that is just reached is enough",
    ),
    ("4_project", "system", "search = plain", "not 0.02 above plain CLIP"),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("assignment, task, code, said", NOT_ENOUGH)
def test_a_hidden_test_finds_what_the_visible_one_lets_pass(assignment, task, code, said, attempt):
    test = attempt(assignment, task, code)
    test("check")
    with pytest.raises(AssertionError, match=said):
        test("grade")


ALSO_RIGHT = [
    # other ways than the solution's, which all tests must let pass: assignment, task, code
    (
        "1_pixels",
        "l1",
        "def l1_matrix(q, g): return np.stack([np.abs(q.astype('f8') - row.astype('f8')).sum(1) for row in g], axis=1)",
    ),
    (
        "1_pixels",
        "ap",
        "def average_precisions(ranked, asked):\n"
        "    values = []\n"
        "    for row, label in zip(ranked, asked):\n"
        "        ranks = [i + 1 for i, name in enumerate(row) if name == label]\n"
        "        hits = [(i + 1) / rank for i, rank in enumerate(ranks)]\n"
        "        values.append(sum(hits) / len(hits) if hits else float('nan'))\n"
        "    return np.array(values)",
    ),
    ("1_pixels", "bug", "def counterexample(): return np.array([1] + [0] * 92 + [1] * 7), 1"),
    (
        "1_pixels",
        "own",
        "def own_p1(distances, labels):\n"
        "    right = 0\n"
        "    for i in range(len(labels)):\n"
        "        order = [j for j in np.argsort(distances[i], kind='stable') if j != i]\n"
        "        right += labels[order[0]] == labels[i]\n"
        "    return right / len(labels)",
    ),
    (
        "1_pixels",
        "light",
        "def lightproof_l1(q, g):\n"
        "    def plain(rows):\n"
        "        rows = rows.astype(float)\n"
        "        for row in rows:\n"
        "            row -= row.mean()\n"
        "            row /= row.std() if row.std() > 1e-6 else 1\n"
        "        return np.where(np.abs(rows) < 1e-9, 0, rows)\n"
        "    return l1_matrix(plain(q.copy()), plain(g.copy()))",
    ),
    (
        "2_clip",
        "words",
        "def search_words(sentence, k): return metrics.rank(encoder.encode_texts([sentence]), G, 'cosine', k)[0][0]",
    ),
    (
        "2_clip",
        "confused",
        "def confusions(v, l, n, names):\n"
        "    from collections import Counter\n"
        "    given = [names[i] for i in metrics.rank(v, n, 'cosine', 1)[0][:, 0]]\n"
        "    counts = Counter((t, g) for t, g in zip(l, given) if t != g)\n"
        "    return sorted([(t, g, n) for (t, g), n in counts.items()], key=lambda e: (-e[2], e[0], e[1]))",
    ),
    (
        "2_clip",
        "threshold",
        "def choose_threshold(c, r):\n"
        "    s = np.sort(c)\n"
        "    tried = [s[0] - 1, *((s[1:] + s[:-1]) / 2), s[-1] + 1]\n"
        "    return max(tried, key=lambda t: np.mean((c >= t) == r))",
    ),
    (
        "2_clip",
        "refine",
        "def refine(q, good, bad):\n"
        "    new = q + (sum(good) / len(good) if len(good) else 0) - (sum(bad) / len(bad) / 2 if len(bad) else 0)\n"
        "    return new / np.sqrt((new * new).sum())",
    ),
    (
        "2_clip",
        "mrr",
        "def scoreboard_with_mrr(r, g, q):\n"
        "    column = []\n"
        "    for ranking in r.values():\n"
        "        hits = [[i for i, row in enumerate(rows, 1) if g[row] == label] for rows, label in zip(ranking, q)]\n"
        "        column.append(np.mean([1 / ranks[0] if ranks else 0 for ranks in hits]))\n"
        "    return evaluate.scoreboard(r, g, q).assign(MRR=column)",
    ),
    (
        "3_chromadb",
        "build",
        "def build(name, ids, vectors, labels, batch=100):\n"
        "    c = client.get_or_create_collection(name, configuration={'hnsw': {'space': 'cosine'}})\n"
        "    if c.count():\n"
        "        c.delete(ids=c.get(include=[])['ids'])\n"
        "    for i in range(0, len(ids), batch):\n"
        "        given = [{'label': str(l)} for l in labels[i : i + batch]]\n"
        "        c.upsert(ids=ids[i : i + batch], embeddings=vectors[i : i + batch], metadatas=given)\n"
        "    return c",
    ),
    (
        "3_chromadb",
        "among",
        "def nearest_among(c, v, wanted, k):\n"
        "    e = c.get(where={'label': {'$in': wanted}}, include=['embeddings'])\n"
        "    cosines = np.array(e['embeddings']) @ v\n"
        "    return [(e['ids'][i], float(cosines[i])) for i in np.argsort(-cosines)[:k]]",
    ),
    (
        "3_chromadb",
        "sync",
        "def sync(c, ids, vectors):\n"
        "    before, wanted = c.get()['ids'], list(ids)\n"
        "    deleted = 0\n"
        "    for name in before:\n"
        "        if name not in wanted:\n"
        "            c.delete(ids=[name])\n"
        "            deleted += 1\n"
        "    added = 0\n"
        "    for name, vector in zip(wanted, vectors):\n"
        "        if name not in before:\n"
        "            c.add(ids=[name], embeddings=[vector])\n"
        "            added += 1\n"
        "    return [added, deleted]",
    ),
    (
        "3_chromadb",
        "recall",
        "def recall(c, q, truth, k):\n"
        "    f = c.query(query_embeddings=q, n_results=k)['ids']\n"
        "    return np.mean([np.isin(t[:k], x) for x, t in zip(f, truth)])",
    ),
    (
        "3_chromadb",
        "choose",
        "def choose_ef(c, w):\n"
        "    rows = [r for r in zip(c['ef'], c['recall'], c['ms']) if r[1] >= w]\n"
        "    if not rows:\n"
        "        raise ValueError('at most ' + str(max(c['recall'])))\n"
        "    return min(rows, key=lambda r: r[2])[0]",
    ),
    (
        "4_project",
        "system",
        "def search(paths, gallery, G):\n"
        "    C = metrics.cosine(encode(paths), G)\n"
        "    votes = np.zeros(C.shape)\n"
        "    for name in gallery.classes:\n"
        "        same = gallery.labels == name\n"
        "        votes[:, same] = np.sort(C[:, same], axis=1)[:, -3:].mean(1, keepdims=True)\n"
        "    return np.argsort(-(C + 0.5 * votes), axis=1)",
    ),
    ("4_project", "gain", "def gain(a, b): return [np.mean(b - a), *evaluate.interval(b - a)]"),
]


@pytest.mark.parametrize("assignment, task, code", ALSO_RIGHT)
def test_another_right_way_passes_all_tests(assignment, task, code, attempt):
    test = attempt(assignment, task, code)
    test("check")
    test("grade")


def test_the_project_warns_of_what_was_learned_outside(attempt, capsys):
    outside = (
        "middles = {name: G[gallery.labels == name].mean(axis=0) for name in gallery.classes}\n"
        "def search(paths, gallery, G):\n"
        "    M = np.stack([middles[label] for label in gallery.labels])\n"
        "    return np.argsort(-metrics.cosine(encode(paths), M), axis=1, kind='stable')"
    )
    attempt("4_project", "system", outside)("check")
    assert "was something learned outside" in capsys.readouterr().out
    attempt("4_project", "system", by_id(SOURCES[-1])["system"].source)("check")
    assert "outside" not in capsys.readouterr().out
