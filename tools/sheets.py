"""Write the sheets of a class for spreadsheet programs, and read back what these make of them.

Excel saves in the coding and with the separator of its computer, and changes what looks like a number, a date or a
truth value: 00123 becomes 123, 1E5 becomes 1,00E+05, 3-4 becomes 03. Apr. What can be undone in one way only is undone
and said. All else is left out and named, with its line. A line is counted as a spreadsheet program counts its rows.
"""

import csv
import io
import itertools
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Context, Decimal
from pathlib import Path

LARGEST, LINES = 50_000_000, 100_000
MOST = 500
"""Rows that can be wrong in a sheet of the class; in one that has more, all is."""
LONGEST = 32_000
"""Characters of a cell; Excel breaks one with more than 32,767 into several rows."""
SAVE = "In Excel, choose Save As and the type CSV UTF-8 (comma delimited)."
NEEDED = ("student", "task", "points")
PAGES = (
    "cp1252 mac_roman cp1250 cp1251 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp874 cp932 gbk cp949 big5 cp850 cp437"
)
"""The codings of "CSV" in Excel on Windows, on a Mac and for MS-DOS; the likelier ones first."""
WORD = re.compile(rb"[\x40-\x7f]*[\x80-\xff][\x40-\xff]*")
NOT_WINDOWS = re.compile("[a-z][ŠŒŽŸ]|[A-Z][ŠŒŽŸ][a-z]|[ƒ†‡ˆ‰‹][a-z]")
"""What letters of a Mac look like when they are read as those of Windows: é as Ž, ä as Š, à as ˆ."""
MONTHS = (
    "jan ene gen",
    "feb fév fev",
    "mar mär mrz mrt maa",
    "apr avr abr",
    "may mai mag mei maj",
    "jun juin giu",
    "jul juil lug",
    "aug aoû aou ago",
    "sep set",
    "oct okt ott out",
    "nov",
    "dec dez déc dic",
)
TRUTH = {"true": True, "wahr": True, "vrai": True, "verdadero": True, "vero": True, "waar": True, "verdadeiro": True}
TRUTH |= {"false": False, "falsch": False, "faux": False, "falso": False, "onwaar": False}
IGNORED = "'\\s\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
SIGNS = "=+\\-@|\u207a-\u207c\u208a-\u208c\u2212\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20\uff5c"
FORMULA = re.compile(f"[{IGNORED}]*[{SIGNS}]|'*[\t\r\n]")
"""What a spreadsheet program may take for a formula or for the start of another cell, with what it skips before."""

csv.field_size_limit(LARGEST)
Key = tuple[str, str]
Row = dict[str, str]


@dataclass
class Sheet:
    """What a sheet of answers holds.

    Attributes
    ----------
    rows : dict
        The rows by student and task, each a dict by the name of the column in small letters.
    lines : dict
        Where they stand, in words.
    wrong, said : list of str
        Rows that were left out, and why; what was undone or guessed.
    """

    rows: dict[Key, Row] = field(default_factory=dict)
    lines: dict[Key, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def as_text(value: str) -> str:
    """Keep a spreadsheet program from taking a text for a formula, and from stumbling over it."""
    value = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", " ", value)
    if len(value) > LONGEST:
        value = value[:LONGEST] + " … (the rest is left out here)"
    return "'" + value if FORMULA.match(value) else value


def write(path: Path, rows: list[dict]) -> None:
    """Write rows with the keys of the first as the header, as spreadsheet programs read it."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, rows[0].keys())
    writer.writeheader()
    writer.writerows({k: as_text(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows)
    replace(path, file.getvalue().encode("utf-8-sig"))


def replace(path: Path, content: bytes) -> None:
    """Write a file anew: a link in its place is replaced, and not followed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with part.open("xb") as file:
        file.write(content)
    part.replace(path)


def decode(content: bytes, known: str) -> tuple[str, str]:
    """Return the text of a sheet, and what there is to say of its coding.

    A coding that is neither UTF-8 nor UTF-16 is told by the words of `known`, which the sheet should hold.

    Raises
    ------
    ValueError
        The coding cannot be told, or it is no text.
    """
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise ValueError(f"it is a workbook (.xlsx, .ods or .xls) and no CSV, whatever its name is. {SAVE}")
    coding, said = json.detect_encoding(content), ""
    try:
        text = content.decode(coding)
    except UnicodeDecodeError:
        if coding != "utf-8":
            raise ValueError(f"it is damaged: it begins as {coding}, and goes on otherwise. {SAVE}") from None
        words = set(WORD.findall(content))
        new = {page: words - set(WORD.findall(known.encode(page, "replace"))) for page in PAGES.split()}
        page = min(new, key=lambda page: len(new[page]))
        text = content.decode(page, "replace")
        if new[page] == words and ("\ufffd" in text or NOT_WINDOWS.search(text)):
            raise ValueError(f"Excel saved it in a coding that cannot be told for sure. {SAVE}") from None
        if new[page]:
            word = min(new[page]).decode(page, "replace")
            said = f"Excel did not save it as UTF-8. It was read as {page}: is {word!r} right? If not: {SAVE}"
    if "\0" in text:
        raise ValueError(f"it is damaged: there are NUL characters in it. {SAVE}")
    try:  # UTF-8 that was opened as Windows text, and saved as UTF-8
        return text.lstrip("\ufeff").encode("cp1252").decode("utf-8-sig"), said
    except UnicodeError:
        return text, said


def table(text: str) -> Iterator[tuple[int, Row, int]]:
    """Yield the rows of a sheet: line, the cells by column, and how many cells are too many (or missing, below 0).

    Raises
    ------
    ValueError
        A column is missing or there twice, or a quotation mark is left open.
    """
    marked = re.match(r'\ufeff?"?sep=(.)"?[;,\t]*(?:\r\n|\r|\n)', text, re.IGNORECASE)
    first: list[str] = []
    for separator in marked[1] if marked else ";,\t|":
        body = io.StringIO(text[marked.end() :] if marked else text, newline="")
        names: list[str] = []
        line = 1
        try:
            for line, cells in enumerate(csv.reader(body, delimiter=separator, strict=True), 2 if marked else 1):
                filled = [i for i, cell in enumerate(cells, start=1) if cell.strip()]
                first = first or [cells[i - 1] for i in filled]
                if names and filled:
                    too_many = max(filled[-1], min(len(cells), len(names))) - len(names)
                    yield line, dict.fromkeys(names, "") | dict(zip(names, cells, strict=False)), too_many
                elif filled:
                    heads = [cell.strip("\ufeff\xa0 \t\r\n'\"").casefold() for cell in cells[: filled[-1]]]
                    if len({*NEEDED} & {*heads}) >= 2:
                        names = heads
                        for name in NEEDED:
                            if names.count(name) != 1:
                                raise ValueError(f"line {line}: the column {name!r} is missing or there twice. {SAVE}")
        except csv.Error as error:
            if names:
                raise ValueError(f"line {line + 1}: a quotation mark is not where it should be ({error}).") from None
        if names:
            return
    if len(first) == 1 and "student" in first[0].casefold():
        raise ValueError(
            "Excel has put all into one column. Open the sheet in Excel by Data, From Text/CSV, with the comma."
        )
    raise ValueError(
        f"no line has the columns {', '.join(map(repr, NEEDED))}. It begins with {', '.join(first)[:80]!r}. {SAVE}"
    )


def dated(text: str) -> tuple[int, ...]:
    """Return the numbers of what Excel takes for a date or shows as one, in their order; nothing for another text."""
    one, gap = r"(\d{1,4}|[^\W\d_]{3,9})", r"(?:[ .,/-]+|(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d))"
    found = re.fullmatch(rf"{one}{gap}{one}(?:{gap}(\d{{1,4}}))?\.?", text.strip())
    numbers = []
    for token in found.groups() if found else ():
        if token and token.isdecimal():
            numbers.append(int(token) % 100 if len(token) > 2 else int(token))
        elif token:
            numbers += [
                n for n, names in enumerate(MONTHS, 1) if token.casefold().startswith(tuple(names.split()))
            ] or [0]
    return tuple(numbers) if len(numbers) > 1 and 0 not in numbers else ()


def looks(text: str, shown: bool = False) -> set[tuple]:
    """Return what a text looks like in Excel; with `shown`, what a text that Excel shows may come from.

    Excel can have made the one of the other where these have something in common.
    """
    found: set[tuple] = set()
    if text.casefold() in TRUTH:
        found.add(("truth", TRUTH[text.casefold()]))
    if numeral := re.fullmatch(r"[+-]?(\d{1,60}(?:[.,]\d{0,60})?)(e[+-]?\d{1,3})?", text, re.IGNORECASE):
        value = Decimal(text.replace(",", "."))
        found.add(("number", float(value)))
        if shown and numeral[2]:
            found.add(("rounded", float(value)))
        elif not shown:
            found |= {("rounded", float(f"{value:.{digits}E}")) for digits in range(6)}
            found.add(("number", float(value.normalize(Context(prec=15, rounding=ROUND_DOWN)))))  # as Excel keeps it
    if (numbers := dated(text)) and not (shown and re.fullmatch(r"\d+\D+\d+", text)):
        found.add(("date", *sorted(numbers)))
        if shown and len(numbers) == 3:  # Excel adds the year
            found |= {("date", *sorted(numbers[:2])), ("date", *sorted(numbers[1:]))}
    return found


def lost(text: str) -> str:
    """Return a pattern of what a text may have been before Excel wrote ? or ?? for each letter its coding lacks."""
    parts = re.split(r"(\?+)", text)
    return "".join(
        f"[^\\x00-\\x3e\\x40-\\x7f]{{{(len(part) + 1) // 2},{len(part)}}}" if part[:1] == "?" else re.escape(part)
        for part in parts
    )


def clean(name: str) -> str:
    """Return a name without what a spreadsheet, or who types into it, puts around it."""
    return unicodedata.normalize("NFC", name.strip().removeprefix("'").strip())


def number(text: str) -> float | None:
    """Return a number with a point or a comma in it; None for no text, and -1 for what is no number."""
    text = clean(text)
    if not text:
        return None
    return float(text.replace(",", ".")) if re.fullmatch(r"[0-9]{1,9}([.,][0-9]{0,20})?", text) else -1


def unchanged(text: str, before: str) -> bool:
    """Tell whether a text is the one before, or what Excel made of it by itself."""
    if text.splitlines() == before.splitlines() or ("?" in text and re.fullmatch(lost(text), before)):
        return True
    if number(before) not in (None, -1) and number(text) not in (None, -1):
        return number(text) == number(before)
    if text.casefold() in TRUTH:
        return looks(text) == looks(before)
    return bool(re.search(r"[^\W\d_]", text)) and dated(text) == dated(before) != ()


class Names:
    """The names that can stand in a column, to find the one that Excel or a hand has changed.

    Parameters
    ----------
    names : iterable of str
        All of them.
    there : set of str
        What stands in the column.
    """

    def __init__(self, names: Iterable[str], there: set[str]) -> None:
        self.names, self.there = set(names), there
        self._by_look: dict[tuple, set[str]] = defaultdict(set)
        for name in self.names:
            for look in looks(name) | {("letters", clean(name).casefold())}:
                self._by_look[look].add(name)

    def find(self, text: str) -> list[str]:
        """Return all names that a text can stand for; a name itself may be what Excel made of one not in the sheet."""
        alike = {name for look in looks(text, shown=True) for name in self._by_look.get(look, ())}
        if text in self.names:
            return [text, *sorted(alike - self.there - {text})]
        alike |= self._by_look.get(("letters", text.casefold()), set())
        if "?" in text:
            alike |= {name for name in self.names if re.fullmatch(lost(text), name)}
        return sorted(alike)


def read(path: Path, known: Mapping[Key, Row] | None = None, also: Mapping[str, str] | None = None) -> Sheet:
    """Read a sheet of answers, as any spreadsheet program saves it.

    Parameters
    ----------
    path : Path
        The sheet.
    known : mapping, optional
        The rows that can be in it, as they were written, by student and task. Without it, names are taken as they are.
    also : mapping, optional
        How else a student may be called, and the name that is meant.

    Raises
    ------
    ValueError
        Nothing of it can be read; the message says why.
    """
    if path.is_symlink():
        raise ValueError(f"{path} is a link, and is not read. Put the sheet itself there.")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST / 1e6:.0f} MB: that is no sheet of answers.")
    try:
        content = path.read_bytes()
        if not content.strip():
            raise ValueError(f"it is empty. {SAVE}")
        words = " ".join(text for key, row in (known or {}).items() for text in (*key, *row.values()))
        text, said = decode(content, words)
        lines = list(itertools.islice(table(text), LINES + 1))
        if len(lines) > LINES:
            raise ValueError(f"it has more than {LINES:,} lines: that is no sheet of answers.")
    except ValueError as error:
        raise ValueError(f"{path} cannot be read, and no mark was changed: {error}") from None
    sheet = Sheet(said=[said] if said else [])
    names = {
        column: Names({key[i] for key in known or ()}, {clean(row[column]) for _, row, _ in lines})
        for i, column in enumerate(NEEDED[:2])
    }
    also = also or {}
    for line, row, too_many in lines:
        if not any(row.get(column, "").strip() for column in (*NEEDED, "comment")):
            continue
        row |= {column: text[1:] for column, text in row.items() if text[:1] == "'" and FORMULA.match(text)}
        place, wrong = f"line {line}", []
        for column, all_names in names.items():
            text = unicodedata.normalize("NFC", row[column].strip())
            text = text if text in all_names.names else clean(text)  # 't Hooft begins with what Excel adds to others
            text = row[column] = also.get(text, text)
            found = all_names.find(text) if known is not None else [text] if text else []
            if len(found) == 1:
                row[column] = found[0]
                if text != found[0]:
                    sheet.said.append(
                        f"{place}, column {column}: {text!r} was taken for {found[0]!r}, as Excel changes some names"
                    )
            elif found:
                could = " or ".join(map(repr, found[:5]))
                wrong.append(f"column {column}: {text!r} may be what Excel made of {could}. Write which it is")
            else:
                wrong.append(f"column {column}: there is no {text!r}. If Excel changed it, write it as it was")
        key = row["student"], row["task"]
        place += f" ({key[0]}, {key[1]})"
        if not wrong and known is not None and key not in known:
            wrong.append("this student has not handed in this task")
        answered = known is not None and known.get(key, {}).get("answer")
        if too_many > 0 or (too_many < 0 and answered and row.get("answer") == ""):
            wrong.append("the number of cells is not that of the columns. Is a comma outside quotation marks?")
        if not wrong and key in sheet.lines:
            other = sheet.rows.get(key)
            if other is None or any(other.get(c) != row.get(c) for c in ("points", "comment")):
                sheet.rows.pop(key, None)
                wrong.append(f"it is there already in {sheet.lines[key]}, with other points or another comment")
        elif not wrong:
            sheet.rows[key], sheet.lines[key] = row, place
        nothing_lost = not (row["points"] + row.get("comment", "")).strip()
        (sheet.said if nothing_lost else sheet.wrong).extend(f"{place}, {reason}" for reason in wrong)
        if len(sheet.wrong) > MOST:
            raise ValueError(
                f"{path}: is it the sheet of this class? No mark was changed:\n" + "\n".join(sheet.wrong[:9])
            )
    return sheet
