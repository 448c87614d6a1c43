"""Read a folder as people and systems leave it: its pictures, its parts (train, test), its classes, its odd names.

Nothing here opens a picture, beyond the first bytes of files whose names say nothing.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from helpers.backroom.kinds import READABLE, may_be_picture

Skipped = list[tuple[Path, str]]
"""Files that should be pictures and are left out, each with the reason."""

SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(("val", "valid", "validation"), "val")
"""The parts of a data set, by the names of their folders in lower case."""

_LEFT_BY_SYSTEMS = {
    "$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "lost+found", "lost.dir",
    "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "__pycache__",
}  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- names


def spelled(name: str) -> str:
    r"""Write a file's name as text to print, store and compare: in NFC, and bytes that are no UTF-8 as ``\xe9``."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def id_of(path: Path, root: Path) -> str:
    """Return the path of a picture below `root`, spelled alike on every system."""
    return "/".join(spelled(part) for part in path.relative_to(root).parts)


def find(folder: Path, parts: Sequence[str]) -> Path | None:
    """Return the file in `folder` with the id ``"/".join(parts)``, however the disk stores its name, or None."""
    if not parts:
        return folder
    try:
        inside = sorted(path for path in folder.iterdir() if spelled(path.name) == parts[0])
    except OSError:
        return None
    return next(filter(None, (find(path, parts[1:]) for path in inside)), None)


def in_order(root: Path, files: list[Path]) -> tuple[list[Path], Skipped]:
    """Sort files by their ids; of two with one id, skip the one that is stored in another way than it is spelled."""
    ids = {path: id_of(path, root) for path in files}
    files = sorted(files, key=lambda path: (ids[path].split("/"), path.relative_to(root).as_posix() != ids[path]))
    twins = {path for before, path in pairwise(files) if ids[before] == ids[path]}
    reason = "has the name of another picture here, stored in another way: rename it"
    return [path for path in files if path not in twins], [(path, reason) for path in twins]


# ------------------------------------------------------------------------------------------------------------ folders


def whole(folder: str | Path) -> Path:
    """Return the whole path of a folder of pictures; raise, in words, where there is none."""

    def real(name: str) -> Path:
        return Path(os.path.realpath(os.path.expanduser(name)))  # noqa: PTH111 (Path's own raises for ~nobody)

    root, bare = real(str(folder)), str(folder).strip(" \t\r\n\"'")
    if not bare or not os.path.exists(root):  # noqa: PTH110 (Path's own raises for a name that is too long)
        if bare and bare != str(folder) and real(bare).is_dir():
            raise FileNotFoundError(f"there is no folder {str(folder)!r}: leave out the quotes or spaces around {bare}")
        raise FileNotFoundError(
            f"there is no folder {folder} (looked from {Path.cwd()}): "
            "give the path of a folder of pictures, with one subfolder a class if they have classes"
        )
    if not root.is_dir():
        raise ValueError(f"{root} is a file: give the path of the folder that holds the pictures")
    if spelled(str(root)) != unicodedata.normalize("NFC", str(root)):
        raise ValueError(f"the path {spelled(str(root))} is not written in UTF-8: rename the folder")
    return root


def walk(root: Path) -> tuple[list[Path], Skipped]:
    """List the files below `root` that should be pictures, and what could not even be listed.

    Links are followed last: what they lead to is found by its own name, and once, in whatever order a disk lists it.
    """
    found: list[Path] = []
    skipped: Skipped = []
    links: list[Path] = []
    homes: dict[Path, Path] = {}  # where the folders and pictures really are

    def cannot_list(error: OSError) -> None:
        skipped.append((Path(error.filename), "is a folder that may not be read: the permission is missing"))

    def look(start: Path) -> None:
        for name, subfolders, files in os.walk(start, onerror=cannot_list):
            folder, real = Path(name), Path(os.path.realpath(name))
            if real in homes:
                skipped.append((folder, f"is here already, as {id_of(homes[real], root)}"))
                subfolders.clear()
                continue
            homes[real] = folder
            inside = [folder / name for name in subfolders if not _is_hidden(name)]
            named = [path for path in inside if path.suffix.lower() in READABLE]
            linked = {path for path in inside if Path(os.path.realpath(path)) != real / path.name}
            subfolders[:] = [path.name for path in inside if path not in named and path not in linked]
            pictures = [folder / name for name in files if not _is_hidden(name)]
            pictures = [path for path in pictures if may_be_picture(path)]
            linked |= {path for path in pictures if os.path.islink(path)}  # noqa: PTH114 (Path's own may raise)
            named += [path for path in pictures if path not in linked]
            links.extend(linked)
            found.extend(named)
            homes.update((real / path.name, path) for path in named)

    look(root)
    while links:
        now = sorted(links, key=lambda link: id_of(link, root).split("/"))
        links.clear()
        for link in now:
            real = Path(os.path.realpath(link))
            if real in homes:
                there = id_of(homes[real], root) or "this folder"
                skipped.append((link, f"is a link to {there}, which is here already"))
            elif root.is_relative_to(real):
                skipped.append((link, "is a link to a folder around this one"))
            elif os.path.isdir(link):  # noqa: PTH112 (Path's own may raise)
                look(link)
            else:
                found.append(link)
                homes[real] = link
    return found, skipped


def _is_hidden(name: str) -> bool:
    """Tell files and folders that systems keep for themselves."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


# -------------------------------------------------------------------------------------------------- parts and classes


def parts(root: Path, files: list[Path]) -> dict[str, Path]:
    """Return the parts of a data set (train, test, val) in `root`, or in the folder that it is only wrapped around.

    They are parts only beside each other: ``train`` alone may be a class.
    """
    folder, inside = root, [path.relative_to(root).parts for path in files]
    while not (splits := _splits(folder)):
        names = {parts[0] for parts in inside if len(parts) > 1}
        if len(names) != 1:
            break
        folder, inside = folder / names.pop(), [parts[1:] for parts in inside if len(parts) > 1]
    return splits


def _splits(folder: Path) -> dict[str, Path]:
    inside = sorted((path for path in folder.iterdir() if path.name.lower() in SPLITS), reverse=True)
    there = {SPLITS[path.name.lower()]: path for path in inside if path.is_dir()}
    return there if "train" in there and len(there) > 1 else {}


def halves(root: Path, files: list[Path], skipped: Skipped) -> list[tuple[Path, list[Path], Skipped]]:
    """Return folder, files and skipped files of the gallery, then of the queries; nothing where there are no parts.

    A printed line says which files lie in neither.
    """
    there = parts(root, files) if files else {}
    if not there:
        return []
    gallery, queries = there["train"], there.get("test") or there["val"]
    unused = [path for path in files if not path.is_relative_to(gallery) and not path.is_relative_to(queries)]
    if unused:
        together = Counter(path.parent for path in unused)
        told = sorted({id_of(path if together[path.parent] == 1 else path.parent, root) or "." for path in unused})
        print(
            f"{len(unused)} pictures are not in {gallery.name} or {queries.name}, and not used: "
            f"{', '.join(told[:10])}{', …' if len(told) > 10 else ''}"
        )
    return [
        (half, [path for path in files if path.is_relative_to(half)], [s for s in skipped if s[0].is_relative_to(half)])
        for half in (gallery, queries)
    ]


def classes(ids: list[str]) -> list[str | None]:
    """Return the class of each picture: ``""`` for all where there are none, None for a stray one beside the classes.

    The classes are the first folders that are more than one; those around them are only wrapped around.
    """
    everything = inside = [key.split("/") for key in ids]
    depth = 0
    while True:
        names = {parts[0] for parts in inside if len(parts) > 1}
        deeper = [parts[1:] for parts in inside if len(parts) > 1]
        if len(names) != 1 or max(map(len, deeper)) == 1:
            break
        depth, inside = depth + 1, deeper
    stray = len(ids) - len(deeper)
    if stray and (len(names) < 2 or stray > len(deeper) / len(names)):
        if names:
            print(f"{stray} of {len(ids)} pictures lie in no folder of a class, so these pictures have no classes")
        return [""] * len(ids)
    labels = [parts[depth] if len(parts) > depth + 1 else None for parts in everything]
    if len(names) == 1:
        print(f"All pictures are of one class ({names.pop()}): any answer is right, so scores of 1.0 mean nothing")
    return labels


def classes_of_halves(gallery: list[str], queries: list[str]) -> tuple[list[str | None], list[str | None]]:
    """Return the `classes` of the pictures in each half, by their ids below it."""
    if all(any("/" in key for key in half) for half in (gallery, queries)):
        together = classes(gallery + queries)
        labels = together[: len(gallery)], together[len(gallery) :]
        if not set(labels[0]).isdisjoint(labels[1]):
            return labels
    return classes(gallery), classes(queries)  # what is wrapped around the classes of one half only


def held_out(labels: list[str]) -> list[bool]:
    """Tell which pictures become queries: the second of each class, the eighth, …, so that a class of one keeps it."""
    seen: Counter[str] = Counter()
    held = []
    for label in labels:
        seen[label] += 1
        held.append(seen[label] % 6 == 2)
    return held


def tell_of_single_ones(labels: Iterable[str | None]) -> None:
    """Print which classes have one picture only, if any have."""
    alone = sorted(label for label, count in Counter(labels).items() if count == 1 and label)
    if alone:
        print(f"Classes with one picture, for which there is nothing else to find: {', '.join(alone)}")
