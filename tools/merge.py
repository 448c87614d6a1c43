"""Put a student's answers into the assignment's own notebook, so that nothing else that was changed matters.

Tests, settings and texts come from the source, hidden tests included, in the order of the source. From the submission
come the answers and the cells that the student added. So a test that was deleted, edited or renamed is there again.
"""

import codecs
import json
import re
from collections import Counter, defaultdict

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

LARGEST = 64_000_000
"""Bytes of a notebook; twenty large figures are some 20 MB."""
VALUES, DEEPEST = 500_000, 600
"""Values in its JSON, and how deep they are nested: a small file of many empty lists takes much memory."""
CELLS, LONGEST, CHARACTERS = 2_000, 200_000, 5_000_000
"""Cells, characters of one cell and of all; an assignment has some 50 cells, and 30,000 characters."""
CLEAR = "In Jupyter, choose Edit, Clear Outputs of All Cells, save it, and hand it in again"
TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{\]},]', re.DOTALL)
"""What tells how many values a text in JSON has, and how deep they are; a string is one."""
BAD_BYTES = 100_000
DECODER = json.JSONDecoder(parse_int=lambda digits: int(digits[:9]), strict=False)
"""Python refuses numbers of thousands of digits; no number matters here. Tabs and the like may stand in texts."""


def _text(content: bytes) -> str:
    """Decode a file: single bytes that are no UTF-8 are taken for those of Windows."""
    encoding = json.detect_encoding(content)
    if encoding.startswith("utf-8"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            bad = content.decode(encoding, "replace").count("\ufffd")
            # one by one they take long, and a text with so many is no UTF-8 at all
            return content.decode(encoding, "windows") if bad <= BAD_BYTES else content.decode("cp1252", "replace")
    return content.decode(encoding, "replace")


def _windows(error: UnicodeError) -> tuple[str, int]:
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error("windows", _windows)


def check_bounds(text: str) -> None:
    """See to it that a text in JSON can be read in little time and memory; it is not read for that.

    Raises
    ------
    ValueError
        It holds too many values, or they are nested too deeply; the message says so in words.
    """
    values = depth = 0
    for token in TOKEN.finditer(text):
        sign = token[0] if token.end() - token.start() == 1 else '"'
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        values += sign in "[{,"
        if depth > DEEPEST:
            raise ValueError("it is no notebook that can be read: its JSON is nested too deeply")
        if values > VALUES:
            raise ValueError(f"it is no notebook that can be read: its JSON has more than {VALUES:,} values. {CLEAR}")


def parse(content: bytes) -> NotebookNode:
    """Read of a notebook of any format version what grading needs: the code, the texts and the names of its cells.

    Returns
    -------
    NotebookNode
        Of version 4. ``metadata.unread`` says in words what of it could not be read.

    Raises
    ------
    ValueError
        It is no notebook, a damaged one, or one beyond the bounds above; the message says so in words.
    """
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST / 1e6:.0f} MB. {CLEAR}")
    text = _text(content).strip("\ufeff\0 \t\r\n")
    if not text.strip("\ufffd"):
        raise ValueError("the file is empty")
    check_bounds(text)
    try:
        loaded, end = DECODER.raw_decode(text)
    except ValueError as error:
        raise ValueError(f"it is no notebook: its content is not JSON ({error})") from None
    except RecursionError:
        raise ValueError("it is no notebook that can be read: its JSON is nested too deeply") from None
    if not isinstance(loaded, dict) or not {"nbformat", "cells", "worksheets"} & loaded.keys():
        raise ValueError("it is no notebook: it has JSON in it, and no cells")
    found = loaded.get("cells")
    if not isinstance(found, list):  # up to version 3, cells were in worksheets
        pages = loaded["worksheets"] if isinstance(loaded.get("worksheets"), list) else []
        lists = [page["cells"] for page in pages if isinstance(page, dict) and isinstance(page.get("cells"), list)]
        found = [cell for page in lists for cell in page]
        if not lists:
            raise ValueError("it is a damaged notebook: it has no list of cells")
    if len(found) > CELLS:
        raise ValueError(
            f"it has {len(found):,} cells, and no more than {CELLS:,} are read. Delete what is not needed, save it, "
            "and hand it in again"
        )
    unread = ["what comes after the notebook in its file"] if text[end:].strip("\0 \t\r\n") else []
    cells, characters = [], 0
    for number, cell in enumerate(found, start=1):
        if not isinstance(cell, dict):
            unread.append(f"cell {number}")
            continue
        source = cell.get("source", cell.get("input", ""))
        parts = source if isinstance(source, list) else [source]
        if any(part is not None and not isinstance(part, str) for part in parts):
            unread.append(f"cell {number} in part")
        parts = [part for part in parts if isinstance(part, str)]
        if sum(map(len, parts)) > LONGEST:
            unread.append(f"cell {number}, which has more than {LONGEST:,} characters")
            parts = []
        source = "".join(parts).replace("\r\n", "\n").replace("\r", "\n")
        source = source.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of a character
        characters += len(source)
        if characters > CHARACTERS:
            raise ValueError(
                f"its cells have more than {CHARACTERS:,} characters. Delete what is not needed, save it, and "
                "hand it in again"
            )
        kind = cell.get("cell_type")
        kind = kind.strip().casefold() if isinstance(kind, str) else ""
        if kind == "heading":
            source = f"{'#' * (cell['level'] if cell.get('level') in (1, 2, 3, 4, 5, 6) else 1)} {source}"
        # of an unknown type it may well be code, and text run as code harms nobody
        make = new_markdown_cell if kind in ("markdown", "raw", "heading", "html") else new_code_cell
        name = _name_in(cell.get("metadata"))
        cells.append(make(source, metadata={"nbgrader": {"grade_id": name}} if name else {}))
    return nbformat.v4.new_notebook(cells=cells, metadata={"unread": unread} if unread else {})


def _name_in(metadata: object) -> str:
    """Return the name that nbgrader gave to a cell with this metadata, or nothing."""
    meta = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = meta.get("grade_id") if isinstance(meta, dict) else None
    return name if isinstance(name, str) else ""


def grade_id(cell: NotebookNode) -> str:
    """Return the cell's name in nbgrader, or nothing."""
    return _name_in(cell.metadata)


UNTOUCHED = "handed in untouched: nothing was written into it"
"""The remark on a notebook that holds only what was given out."""


class Template:
    """An assignment, as its source and as it was released.

    Parameters
    ----------
    source, release : NotebookNode
        With the same cells in the same order.

    Attributes
    ----------
    texts : set of str
        The assignment's own cells of text.
    """

    def __init__(self, source: NotebookNode, release: NotebookNode) -> None:
        self.source, self.release = source, release
        self.released = {grade_id(cell): cell for cell in release.cells if grade_id(cell)}
        texts = Counter(cell.source.strip() for cell in self.released.values())
        self._by_text = {c.source.strip(): name for name, c in self.released.items() if texts[c.source.strip()] == 1}
        self.texts = {c.source for n in (source, release) for c in n.cells if c.cell_type == "markdown"}
        self._prose = {cell.source.strip() for cell in release.cells if not grade_id(cell)}

    def _name(self, cell: NotebookNode) -> str:
        """Return which cell of the assignment this is; one that lost its name is known by its text."""
        name = grade_id(cell)
        return name if name in self.released else self._by_text.get(cell.source.strip(), "")

    def recognised(self, notebook: NotebookNode) -> int:
        """Count the cells that are of this assignment."""
        texts = sum(cell.source.strip() in self._prose for cell in notebook.cells)
        return texts + sum(bool(self._name(cell)) for cell in notebook.cells)

    def is_answer(self, name: str) -> bool:
        """Tell whether the student is to write into this cell."""
        return bool(self.released[name].metadata.nbgrader.get("solution"))

    def answers(self, notebook: NotebookNode) -> dict[str, list[NotebookNode]]:
        """Return, for each answer, the cells with its name that were changed."""
        found: dict[str, list[NotebookNode]] = {name: [] for name in self.released if self.is_answer(name)}
        for cell in notebook.cells:
            name = self._name(cell)
            if name in found and cell.source.strip() != self.released[name].source.strip():
                found[name].append(cell)
        return found

    def untouched(self, notebook: NotebookNode) -> bool:
        """Tell whether a notebook holds nothing but what was released, whole or in part."""
        released = {cell.source.strip() for cell in self.release.cells}
        return all(cell.source.strip() in released or not cell.source.strip() for cell in notebook.cells)

    def solved(self) -> NotebookNode:
        """Return the source, ready to be run."""
        return self._notebook([NotebookNode(cell) for cell in self.source.cells])

    def merge(self, notebook: NotebookNode) -> tuple[NotebookNode, list[str]]:
        """Return the notebook to be run for a submission, and remarks on what was put right."""
        answers, extra, slot, seen = self.answers(notebook), defaultdict(list), "", []
        changed = []
        for cell in notebook.cells:
            name = self._name(cell)
            if name:
                slot = name
                seen.append(name)
                if not self.is_answer(name) and cell.source.strip() != self.released[name].source.strip():
                    changed.append(name)
            elif cell.source.strip() and cell.source.strip() not in self._prose:
                extra[slot].append(self._plain(cell))
        cells, before = extra[""], ""
        for source in self.source.cells:
            name = grade_id(source)
            if not name:
                cells.append(source)
                continue
            if not self.is_answer(name):
                cells.append(source)
            else:
                *earlier, last = answers[name] or [self.released[name]]
                words = [cell.source for cell in extra[before] if cell.cell_type != "code"]
                if name not in seen and source.cell_type != "code" and words:  # it lost its name, and kept its place
                    last = new_markdown_cell("\n\n".join(words))
                cells += [self._plain(cell) for cell in earlier]
                if name in seen or source.cell_type != "code":  # a renamed answer is among the cells that were added
                    make = new_code_cell if source.cell_type == "code" else new_markdown_cell
                    cells.append(make(last.source, metadata=self.released[name].metadata))
            cells += extra[name]
            before = name
        unread = notebook.metadata.get("unread")
        remarks = [UNTOUCHED] if self.untouched(notebook) else []
        remarks += [f"could not be read: {', '.join(unread)}"] if unread else []
        missing = [name for name in self.released if name not in seen]
        double = sorted({name for name in seen if seen.count(name) > 1})
        for said, names in (("missing", missing), ("changed", changed), ("there more than once", double)):
            if names:
                remarks.append(f"cells {said}, and put right: {', '.join(names)}")
        return self._notebook(cells), remarks

    def written(self, notebook: NotebookNode) -> list[str]:
        """Return the sources of the code cells, of a merged notebook, that are the student's."""
        given = {cell.source.strip() for cell in [*self.source.cells, *self.release.cells]}
        return [c.source for c in notebook.cells if c.cell_type == "code" and c.source.strip() not in given]

    @staticmethod
    def _plain(cell: NotebookNode) -> NotebookNode:
        make = new_code_cell if cell.cell_type == "code" else new_markdown_cell
        return make(cell.source)

    @staticmethod
    def _notebook(cells: list[NotebookNode]) -> NotebookNode:
        metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        copies = nbformat.from_dict([dict(cell) for cell in cells])
        for number, cell in enumerate(copies):
            cell.id = f"cell-{number:03d}"
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        return nbformat.v4.new_notebook(cells=copies, metadata=metadata)
