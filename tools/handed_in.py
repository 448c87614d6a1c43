"""Find what was handed in, whose it is, and which assignment.

What was handed in is read here and nowhere else, before anybody's code runs: ordinary files only, with bounds, and
never through a link. A link may lead to the solution, or to any file of the teacher's.
"""

import hashlib
import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import merge
import nbformat

NOTEBOOKS, OTHERS = 50, 20
"""Files of one student that are read: notebooks, and, where there is none, others."""
FILES, DEEPEST = 5_000, 20
"""What is looked at of one student's folder."""
EXCHANGE = ("timestamp.txt", "submission_secret.txt")
"""What nbgrader's exchange lays beside a notebook: without both, `nbgrader release_feedback` stops."""
JOINERS = "\u200c\u200d"
"""What joins the parts of a letter in Hindi or Persian, and of an emoji; they show nothing."""
LONGEST_NAME = 200
"""Bytes of an id: a file's name has at most 255, with what is added to it."""
HIDDEN = {".ipynb_checkpoints", "__MACOSX"}
"""Folders that programs add."""
ENDS = re.compile(
    r"(\.(ipynb|json|txt|py|md|html?|pdf|docx?|odt|rtf|pages|png|jpe?g|gif|heic|csv|xlsx|ods|pptx|zip|7z|rar|tar|gz))+$",
    re.IGNORECASE,
)
"""What is not of the student's name in a file's name; in `ann.` and `J.Smith`, all is."""
LITTLE = 10_000
"""Bytes of what nbgrader's exchange lays beside a notebook."""
NUMBER = re.compile(r"%u([0-9A-F]{2,6})-|%([0-9A-F]{2,6})")
"""A character in an id: its number; with an end, where what follows could be taken for more of it."""
UNUSED = ("Cn", "Co", "Cs")
"""Kinds of numbers in Unicode that are no character."""
UNSEEN = re.compile("[.\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\ufe00-\ufe0f]")
"""Points, and letters and marks that show nothing; there are more, which Unicode calls spaces or formats."""


@dataclass
class Submission:
    """One file that was handed in, what is known of it, and what came of it."""

    student: str
    file: Path
    refused: str = ""
    """Why the file is not even opened."""
    assignment: str = ""
    notebook: nbformat.NotebookNode | None = None
    recognised: bool = False
    changed: int = 0
    """When the file was changed, in nanoseconds."""
    remarks: list[str] = field(default_factory=list)
    beside: dict[str, bytes] = field(default_factory=dict)
    """What nbgrader's exchange laid beside the file."""


def collect(folder: Path, assignments: Collection[str]) -> list[Submission]:
    """Find what was handed in: a folder a student, as nbgrader and most platforms give it, or a file a student.

    Raises
    ------
    ValueError
        There is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: SUBMITTED names the one that holds what students handed in")
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "__MACOSX")):
            continue
        status = entry.lstat()
        if stat.S_ISDIR(status.st_mode):
            found += of_one_folder(student_id(os.fsencode(entry.name)), entry, assignments)
        else:
            found.append(Submission(student_id(os.fsencode(ENDS.sub("", entry.name))), entry, why_refused(status)))
    if not found:
        raise ValueError(f"{folder} is empty: expected a folder a student, or a notebook a student")
    return found


def why_refused(status: os.stat_result) -> str:
    """Say why a file is not read, or nothing if it is an ordinary one or a folder."""
    if stat.S_ISLNK(status.st_mode):
        return "it is a link, and links are not read: hand in the file itself"
    if stat.S_ISDIR(status.st_mode):
        return ""
    if not stat.S_ISREG(status.st_mode):
        return "it is no ordinary file, and is not read: hand in a notebook"
    if status.st_nlink > 1:
        return "it is a hard link, another name of a file elsewhere, and is not read: hand in a copy"
    return ""


def of_one_folder(student: str, place: Path, assignments: Collection[str]) -> list[Submission]:
    """Find what is in a student's folder: the notebooks, what is refused, and what is there in place of one."""
    there = walk(place)
    notebooks = [path for path in there.files if path.suffix.lower() == ".ipynb"]
    others = [p for p in there.files if p.suffix.lower() != ".ipynb" and p.name not in EXCHANGE] + there.empty
    named: dict[str, Path] = {}
    for path in others:
        named.setdefault(named_in(path.relative_to(place.parent), assignments), path)
    named.pop("", None)
    picked = [*dict.fromkeys([*named.values(), *([] if notebooks else others)])]
    if not (notebooks or picked or there.refused):
        picked = [place]
    for kind, most, several in (
        ("notebooks", NOTEBOOKS, notebooks),
        ("other files", OTHERS, picked),
        ("links and the like", OTHERS, there.refused),
    ):
        if len(several) > most:
            there.said.append(f"of {len(several)} {kind} in its folder, only {most} were looked at")
    found = [Submission(student, path) for path in notebooks[:NOTEBOOKS] + picked[:OTHERS]]
    found += [Submission(student, path, why) for path, why in there.refused[:OTHERS]]
    for submission in found:
        submission.remarks += there.said
    return found


@dataclass
class Walk:
    """What is in a folder, the least deep first."""

    files: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    """Folders with nothing in them."""
    refused: list[tuple[Path, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def walk(place: Path) -> Walk:
    """List a folder and all below it, as far as the bounds allow; no link is followed."""
    there, seen, folders = Walk(), 0, [place]
    for folder in folders:  # it grows
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            there.refused.append((folder, f"it cannot be listed: {error.strerror}"))
            continue
        entries = [entry for entry in entries if entry.name not in HIDDEN and not entry.name.startswith("._")]
        if all(entry.name.startswith(".") for entry in entries):
            there.empty.append(folder)
        for entry in entries:
            seen += 1
            status = entry.lstat()
            why = why_refused(status)
            if seen > FILES or len(entry.relative_to(place).parts) > DEEPEST:
                said = f"it has more than {FILES:,} files, or folders more than {DEEPEST} deep: not all were looked at"
                there.said = [said]
                if seen > FILES:
                    return there
            elif why:
                there.refused.append((entry, why))
            elif stat.S_ISDIR(status.st_mode):
                folders.append(entry)
            elif not entry.name.startswith(".") or entry.suffix.lower() == ".ipynb":
                there.files.append(entry)
    return there


def named_in(file: Path, assignments: Collection[str]) -> str:
    """Return the assignment that a file's name, or else the name of a folder it is in, has in it; nothing if two do."""
    words = {simple(name): name for name in assignments}
    for part in reversed(file.parts):
        # 11_pixels is no 1_pixels
        found = [
            word
            for word in words
            if re.search(
                rf"(?<!{'[0-9]' if word[0].isdecimal() else '[a-z]'}){re.escape(word)}(?![a-z0-9])", simple(part)
            )
        ]
        longest = max(found, key=len, default="")
        if found:
            return words[longest] if all(word in longest for word in found) else ""
    return ""


def simple(name: str) -> str:
    """Return a name in small letters, with _ for all that is neither letter nor digit."""
    return re.sub(r"[\W_]+", "_", name.casefold())


def read_file(folder: Path, file: Path, most: int) -> bytes:
    """Read an ordinary file below a folder; no link on the way is followed, though it was put there a moment ago.

    Raises
    ------
    ValueError
        It is a link or no ordinary file, or larger than `most` bytes.
    OSError
        It cannot be opened.
    """
    *above, name = file.relative_to(folder).parts
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in above:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = inner
        if why := why_refused(os.stat(name, dir_fd=place, follow_symlinks=False)):
            raise ValueError(why)
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
    finally:
        os.close(place)
    with os.fdopen(opened, "rb") as content:
        status = os.fstat(opened)
        if why := why_refused(status):
            raise ValueError(why)
        if status.st_size > most:
            raise ValueError(f"it is larger than {most / 1e6:g} MB. {merge.CLEAR}")
        return content.read(most)


def read(submission: Submission, folder: Path, templates: Mapping[str, merge.Template]) -> None:
    """Read a submission and find out which assignment it is; what cannot be read is said in its remarks.

    Parameters
    ----------
    submission : Submission
        One of those that `collect` found.
    folder : Path
        Where it was found.
    templates : mapping
        The assignments by name.
    """
    content, shares = b"", {}
    relative = submission.file.relative_to(folder)
    try:
        if submission.refused:
            raise ValueError(submission.refused)
        submission.changed = submission.file.lstat().st_mtime_ns
        if submission.file.is_dir():
            raise ValueError("the folder holds no file")
        content = read_file(folder, submission.file, merge.LARGEST)
        notebook = merge.parse(content)
        shares = {name: template.recognised(notebook) for name, template in templates.items()}
        submission.notebook = notebook
        submission.beside = read_beside(submission.file, folder)
    except Exception as error:  # what a file may hold knows no end, and stops nobody else's marks
        said = error.strerror if isinstance(error, OSError) else error
        submission.remarks.append(f"{printable(relative)}: {said}")
    if submission.notebook is not None:
        best = max(shares, key=shares.__getitem__)
        if shares[best]:
            submission.assignment, submission.recognised = best, True
            return
        submission.remarks.append(f"{printable(relative)}: none of its cells is from an assignment")
    shares = {name: sum(f'"{cell}"'.encode() in content for cell in t.released) for name, t in templates.items()}
    best = max(shares, key=shares.__getitem__)
    named = best if shares[best] else named_in(relative, templates)
    submission.assignment = named or (next(iter(templates)) if len(templates) == 1 else "")


def read_beside(file: Path, folder: Path) -> dict[str, bytes]:
    """Read what nbgrader's exchange laid beside a file, if all of it is there and can be read."""
    try:
        return {name: read_file(folder, file.with_name(name), LITTLE) for name in EXCHANGE}
    except (ValueError, OSError):
        return {}


def latest(submissions: list[Submission], folder: Path) -> list[Submission]:
    """Keep, of several files of one student for one assignment, the one that was changed last, and name all of them.

    A notebook that has cells of the assignment comes before one that has none, and this before what is no notebook.
    What was refused is said with the one that is kept.
    """
    of_one: dict[tuple[str, str], list[Submission]] = defaultdict(list)
    for submission in submissions:
        of_one[submission.student, submission.assignment].append(submission)
    known = {student for student, assignment in of_one if assignment}
    kept, refused = [], defaultdict(list)
    for (student, assignment), several in sorted(of_one.items()):
        best = max(several, key=lambda s: (s.recognised, s.notebook is not None, not s.refused, s.changed))
        if not assignment and student in known and best.notebook is None:  # it is said with what was handed in
            for submission in several:
                refused[student] += submission.remarks if submission.refused else []
            continue
        kept.append(best)
        best.remarks = [*dict.fromkeys([*best.remarks, *(r for s in several if s.refused for r in s.remarks)])]
        # a figure beside the notebook is no second submission
        rivals = [s for s in several if not s.refused and (best.notebook is None or s.file.suffix.lower() == ".ipynb")]
        if len(rivals) > 1:
            names = ", ".join(printable(s.file.relative_to(folder)) for s in rivals)
            taken = printable(best.file.relative_to(folder))
            best.remarks.append(f"handed in more than once, as {names}: {taken} was taken")
    for submission in kept:
        submission.remarks += [remark for remark in refused[submission.student] if remark not in submission.remarks]
    return kept


def ask_who(submissions: list[Submission]) -> None:
    """Add a remark to those whose names differ in little that is seen: who they are is asked."""
    alike: dict[str, set[str]] = defaultdict(set)
    for submission in submissions:
        alike[bare(submission.student)].add(submission.student)
    for submission in submissions:
        others = sorted(map(display_name, alike[bare(submission.student)] - {submission.student}))
        if others:
            submission.remarks.append(f"another name is nearly the same: {', '.join(others)}. Is it one student?")


def bare(student: str) -> str:
    """Return the name of an id without what is easily mistaken or not seen: capitals, spaces, points, width."""
    text = unicodedata.normalize("NFKC", decoded(student)).casefold()
    return UNSEEN.sub("", "".join(c for c in text if unicodedata.category(c)[0] not in "ZC"))


def student_id(name: bytes) -> str:
    """Make an id that every system can write of a file's name, whatever its bytes are; another name, another id.

    Letters, marks, digits and pictures of every script stay as they are, in their composed form (NFC). Anything else
    becomes % and its number, a space or point at either end too.
    """
    text = unicodedata.normalize("NFC", name.decode("utf-8", errors="backslashreplace"))
    written = encoded(text, "%{:02X}")
    if b"\\x" in name:  # it is no byte that was replaced above
        text = unicodedata.normalize("NFC", name.decode("utf-8", errors="surrogateescape"))
        written = encoded(text, "%u{:02X}-")
    # "00 would be written as \N{FOR ALL} is, whose number is 2200; and an accent would change the number before it
    elif decoded(written) != text or not unicodedata.is_normalized("NFC", written):
        written = encoded(text, "%u{:02X}-")
    if len(written.encode()) > LONGEST_NAME:
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
        written = written.encode()[: LONGEST_NAME - 13].decode(errors="ignore") + "~" + digest
    return written or "nameless"


def display_name(student: str) -> str:
    """Return the name of an id as people write it: O'Brien, not O%27Brien.

    What is not seen, a space at the end or a change of the direction of writing, stays %20 and %202E. So it has no
    control characters, and other ids have other names. It may have any sign in it, < and & too.
    """

    def shown(found: re.Match) -> str:
        one, rest = character(found)
        after = rest + student[found.end() :]
        own = unicodedata.category(one)[0] in "PS" and not (one == "\\" and found[1])
        return one + rest if own and not (one == "%" and re.match("[0-9A-F]{2}|u", after)) else found[0]

    return NUMBER.sub(shown, student)


def is_kept(character: str) -> bool:
    """Tell whether a character stands in an id as it is."""
    kind = unicodedata.category(character)
    return character in "_-@ ." + JOINERS or kind[0] in "LMN" or (character > "\x7f" and kind in ("So", "Sk"))


def encoded(text: str, form: str) -> str:
    """Return a text with the number of each character that is not kept, in this form."""
    written = "".join(c if is_kept(c) else form.format(ord(c)) for c in text)
    return re.sub(r"^[ .]+|[ .]+$", lambda ends: "".join(form.format(ord(c)) for c in ends[0]), written)


def decoded(student: str) -> str:
    """Return the text that an id was made of."""
    return NUMBER.sub(lambda found: "".join(character(found)), student)


def character(found: re.Match) -> tuple[str, str]:
    """Return the character of a number in an id, and what of the digits is not of the number."""
    digits = found[1] or found[2]
    if found[1]:
        return chr(min(int(digits, 16), 0x10FFFF)), ""
    for end in range(len(digits), 2, -1):
        code = int(digits[:end], 16)
        possible = digits[0] != "0" and 0xFF < code < 0x110000 and unicodedata.category(chr(code)) not in UNUSED
        if possible and not is_kept(chr(code)):
            return chr(code), digits[end:]
    return chr(int(digits[:2], 16)), digits[2:]


def printable(file: Path) -> str:
    """Return a file's name as it can be printed, whatever its bytes are; José in two forms is printed in two ways."""
    text = os.fsencode(file).decode("utf-8", errors="backslashreplace")
    return text if unicodedata.is_normalized("NFC", text) else text.encode("ascii", "backslashreplace").decode()
