"""Where the course's own files lie, in a clone of it and elsewhere, and where it writes."""

import os
from pathlib import Path

_CLONE = Path(__file__).resolve().parents[2]
_AT_HOME = Path(os.path.expanduser("~/.cache/image-retrieval"))  # noqa: PTH111 (Path's own raises without a home)


def data_folder() -> Path:
    """Return the folder of the course's pictures and model: ``COURSE_DATA``, else `data` in the clone.

    It need not exist: `must_exist` says so, when something in it is asked for.
    """
    named = os.environ.get("COURSE_DATA")
    return Path(os.path.abspath(os.path.expanduser(named))) if named else _CLONE / "data"  # noqa: PTH100, PTH111


def must_exist(path: Path) -> Path:
    """Return a path in the course's data folder, if something is there.

    Raises
    ------
    FileNotFoundError
        Nothing is. The message names the folder and says what to do.
    """
    if path.exists():
        return path
    folder = f"{path.parent}, to which COURSE_DATA is set" if os.environ.get("COURSE_DATA") else path.parent
    raise FileNotFoundError(
        f"there is no {path.name} in {folder}: set COURSE_DATA to the data folder of a clone of the course and start "
        "Python again, or load pictures of your own with images.load_gallery and a model by its name with clip.load"
    )


def choice_file() -> Path:
    """Return the file that remembers a reader's choice of pictures: in the clone's data, or at home without a clone."""
    return (_CLONE / "data" if _is_clone(_CLONE) else _AT_HOME) / "own_pictures.txt"


def memory_folder(file: str, clone: Path = _CLONE) -> Path:
    """Return the folder for the `file` of remembered vectors: in the clone, or at home where it cannot be written."""
    own = clone / ".cache"
    nearest = next(path for path in (own / file, own, clone) if path.exists())
    return own if _is_clone(clone) and os.access(nearest, os.W_OK) else _AT_HOME


def _is_clone(folder: Path) -> bool:
    return (folder / "data" / "SOURCES.csv").is_file()
