"""List submissions whose answers are nearly the same, for the teacher to read; it accuses nobody.

Compared is the code of all answers of a notebook, without comments and white space, and the text of the answers in
words, by the normalised edit similarity of the library rapidfuzz (indel distance).
"""

import io
import itertools
import tokenize
from pathlib import Path

import merge
import nbformat
import sheets
from clean import written
from handed_in import display_name
from points import cells_of
from rapidfuzz import fuzz

CODE, WORDS = 95, 80
SHORTEST, MOST = 200, 50_000
"""Characters that are compared; what is longer takes very long."""
SKIP = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def bare(code: str) -> str:
    """Return code without comments, white space and layout; as it is, where it cannot be read."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (tokenize.TokenError, SyntaxError):
        return " ".join(code.split())
    return " ".join(token.string for token in tokens if token.type not in SKIP)


def pairs(texts: dict[str, str], least: float) -> dict[tuple[str, str], float]:
    """Return the pairs whose texts are at least `least` per cent alike; texts of a few words say nothing."""
    long_enough = {name: text[:MOST] for name, text in sorted(texts.items()) if len(text) >= SHORTEST}
    alike = {}
    for (one, a), (two, b) in itertools.combinations(long_enough.items(), 2):
        percent = fuzz.ratio(a, b, score_cutoff=least)
        if percent >= least:
            alike[one, two] = round(percent, 1)
    return alike


def write(folder: Path, assignment: str, template: merge.Template) -> Path | None:
    """Write ``grades/<assignment>_similar.csv``, the nearest pairs first, and return it; None if there are none."""
    code, words = {}, {}
    for path in folder.glob(f"autograded/*/{assignment}/{assignment}.ipynb"):
        if path.parent.is_symlink() or path.parent.parent.is_symlink() or path.is_symlink():
            continue
        changed = template.answers(nbformat.NotebookNode(cells=cells_of(path)))
        cells = [cell for found in changed.values() for cell in found]
        student = path.parent.parent.name
        code[student] = "\n".join(bare(cell.source) for cell in cells if cell.cell_type == "code")
        words[student] = " ".join(" ".join(written(c).split()) for c in cells if c.cell_type != "code")
    by_code, by_words = pairs(code, CODE), pairs(words, WORDS)
    target = folder / "grades" / f"{assignment}_similar.csv"
    target.unlink(missing_ok=True)
    found = sorted(by_code.keys() | by_words.keys(), key=lambda p: (-max(by_code.get(p, 0), by_words.get(p, 0)), p))
    if not found:
        return None
    heads = ("one", "the other", "code alike, %", "words alike, %")
    rows = [(*map(display_name, pair), by_code.get(pair, ""), by_words.get(pair, "")) for pair in found]
    sheets.write(target, [dict(zip(heads, row, strict=True)) for row in rows])
    return target
