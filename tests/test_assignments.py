"""The graded assignments: their solutions pass, their tests say what is wrong, and a release gives nothing away."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

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


def stub(source):
    """Return a task as students get it."""
    return re.sub(
        r"### BEGIN SOLUTION.*### END SOLUTION", "raise NotImplementedError('not solved')", source, flags=re.S
    )


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    command = [str(TEACH), str(ROOT / "tools" / "teach.py"), "--to", str(folder), "release"]
    subprocess.run(command, check=True, capture_output=True)
    return {path.stem: path for path in (folder / "release").glob("*/*.ipynb")}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """For each assignment, the names that its given cells define."""
    made = {}

    def prepare(path):
        if path not in made:
            names = {}
            for cell in by_id(path).values():
                meta = cell.metadata.nbgrader
                if cell.cell_type == "code" and not (meta.grade or meta.solution) and "show.results" not in cell.source:
                    exec(cell.source, names)
            made[path] = names
        return dict(made[path])

    return prepare


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


MISTAKES = [
    # assignment, task, what a student wrote, what the visible test says
    ("1_pixels", "l1", "def l1_matrix(q, g): np.abs(q[:, None] - g)", "your function returns nothing"),
    (
        "1_pixels",
        "l1",
        "def l1_matrix(q, g): return np.abs(g - q[0]).sum(axis=1)",
        r"shape \(2, 3\), and yours is \(3,\)",
    ),
    ("1_pixels", "l1", "def l1_matrix(q, g): return np.sqrt(((q[:, None] - g) ** 2).sum(2))", "this is L2"),
    ("1_pixels", "l1", "def l1_matrix(q, g): return ((q[:, None] - g) ** 2).sum(2)", "the squared L2 distance"),
    ("1_pixels", "l1", "def l1_matrix(q, g): return np.abs(q[:, None] - g).mean(2)", "mean of the differences"),
    ("1_pixels", "l1", "def l1_matrix(q, g): return (q[:, None] - g).sum(2)", "a distance is never negative"),
    ("1_pixels", "ap", "def my_average_precision(r, q): return (r == q).mean()", "precision of the whole list"),
    (
        "1_pixels",
        "ap",
        "def my_average_precision(r, q): return (np.cumsum(r == q) / np.arange(1, len(r) + 1) * (r == q)).mean()",
        "divide by the length of the list",
    ),
    (
        "1_pixels",
        "bug",
        "def counterexample(): return np.array(['a', 'b'])",
        "return two things",
    ),
    ("1_pixels", "bug", "def counterexample(): return ['b'] * 99 + ['a'], 'a'", "should be fooled into saying 1.0"),
    ("1_pixels", "own", "def own_p1(d, l): return (l[d.argmin(1)] == l).mean()", "every picture found itself"),
    (
        "1_pixels",
        "own",
        "def own_p1(d, l):\n    np.fill_diagonal(d, np.inf)\n    return (l[d.argmin(1)] == l).mean()",
        "changed the table that it was given",
    ),
    ("1_pixels", "light", "def lightproof_l1(q, g): return np.abs(q[:, None] - g).sum(2)", "take the mean off"),
    (
        "1_pixels",
        "light",
        "def lightproof_l1(q, g):\n"
        "    return np.abs((q - q.mean(1)[:, None])[:, None] - (g - g.mean(1)[:, None])).sum(2)",
        "divide by the spread",
    ),
    (
        "2_clip",
        "words",
        "def search_words(s, k): return np.argsort(G @ encoder.encode_texts([s])[0])[:k]",
        "sort the other way",
    ),
    ("2_clip", "words", "def search_words(s, k): return (G @ encoder.encode_texts([s])[0])[:k]", "not cosines"),
    (
        "2_clip",
        "confused",
        "def confusions(v, l, n, names):\n"
        "    return [(t, names[i], 1) for t, i in zip(l, (v @ n.T).argmax(1)) if t != names[i]]",
        "is one entry with the count 2",
    ),
    (
        "2_clip",
        "confused",
        "def confusions(v, l, n, names): return [(t, names[i], 1) for t, i in zip(l, (v @ n.T).argmax(1))]",
        "right answers are no confusions",
    ),
    ("2_clip", "threshold", "def choose_threshold(c, r): return c.min()", "some other threshold gives more"),
    (
        "2_clip",
        "refine",
        "def refine(q, good, bad): return q + good.mean(0) - bad.mean(0) / 2",
        "the length should be 1",
    ),
    (
        "2_clip",
        "refine",
        "def refine(q, good, bad):\n    v = q + good.mean(0) - bad.mean(0)\n    return v / np.linalg.norm(v)",
        "the bad ones should count half",
    ),
    ("2_clip", "mrr", "def scoreboard_with_mrr(r, g, q): return evaluate.scoreboard(r, g, q)", "has no column MRR"),
    (
        "3_chromadb",
        "build",
        "def build(name, ids, vectors, labels, batch=100):\n"
        "    c = client.get_or_create_collection(name + 'x')\n"
        "    c.upsert(ids=list(ids), embeddings=vectors)\n    return c",
        "the label is not there",
    ),
    (
        "3_chromadb",
        "among",
        "def nearest_among(c, v, wanted, k):\n"
        "    found = c.query(query_embeddings=[v], n_results=k)\n"
        "    return list(zip(found['ids'][0], found['distances'][0]))",
        "asked for cat or fish, and found",
    ),
    (
        "3_chromadb",
        "sync",
        "def sync(c, ids, vectors):\n    c.upsert(ids=ids, embeddings=vectors)\n    return len(ids), 0",
        "'a' is no longer wanted",
    ),
    (
        "3_chromadb",
        "recall",
        "def recall(c, q, truth, k):\n"
        "    found = c.query(query_embeddings=q, n_results=k)['ids']\n"
        "    return np.mean(np.array(found) == truth[:, :k])",
        "the order within the first k does not count",
    ),
    ("3_chromadb", "choose", "def choose_ef(c, w): return int(c.loc[c.recall.idxmax(), 'ef'])", "good enough is good"),
    (
        "3_chromadb",
        "choose",
        "def choose_ef(c, w): return int(c.loc[c.ms.idxmin(), 'ef'])",
        "does not reach the recall",
    ),
]


@pytest.mark.parametrize("assignment, task, wrong, said", MISTAKES)
def test_a_visible_test_names_the_mistake(assignment, task, wrong, said, prepared):
    path = ROOT / "notebooks" / "assignments" / f"{assignment}.ipynb"
    names, cells = prepared(path), by_id(path)
    exec(wrong, names)
    with pytest.raises(AssertionError, match=said):
        exec(cells[f"{task}_check"].source, names)


NOT_ENOUGH = [
    # passes what students see, and not what grades: assignment, task, code, what the feedback says
    (
        "1_pixels",
        "l1",
        "def l1_matrix(q, g): return np.abs(q[:, None].astype('f4') - g).sum(2)",
        "MB of working memory",
    ),
    ("1_pixels", "l1", "def l1_matrix(q, g): return np.stack([np.abs(g - r).sum(1) for r in q])", "wrap around"),
    (
        "1_pixels",
        "bug",
        "def counterexample(): return ['a'] + ['b'] * 99, 'a'",
        "true average precision of your ranking is 1.00",
    ),
    (
        "1_pixels",
        "own",
        "def own_p1(d, l): return (l[np.where(d == 0, np.inf, d).argmin(1)] == l).mean()",
        "an exact copy is another picture",
    ),
    (
        "1_pixels",
        "light",
        "def lightproof_l1(q, g):\n"
        "    q, g = ((r - r.mean(1)[:, None]) / r.std(1)[:, None] for r in (q, g))\n"
        "    return np.stack([np.abs(g - r).sum(1) for r in q])",
        "one flat colour",
    ),
    (
        "3_chromadb",
        "choose",
        "def choose_ef(c, w): return int(c[c.recall >= w].ef.min())",
        "smallest ef is not always the fastest",
    ),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("assignment, task, code, said", NOT_ENOUGH)
def test_a_hidden_test_finds_what_the_visible_one_lets_pass(assignment, task, code, said, prepared):
    path = ROOT / "notebooks" / "assignments" / f"{assignment}.ipynb"
    names, cells = prepared(path), by_id(path)
    exec(code, names)
    exec(cells[f"{task}_check"].source, names)
    with pytest.raises(AssertionError, match=said):
        exec(cells[f"{task}_grade"].source, names)
