"""Write the address of the course's repository wherever it is needed: `make address`.

It is set in one place, pyproject.toml, and nowhere else by hand:

    [project.urls]
    Repository = "https://github.com/owner/name"

From there it goes into the cell for Google Colab of every lesson, the badges of README.md and, where there is one,
CITATION.cff. Without an address there are no badges, and the cell says what to do.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TAG = "colab"
"""On the cell for Google Colab: readers' copies and the counts of tools/measures.py leave it out."""

CELL = """\
# @title On Google Colab, run this first: it gets the course and what Colab lacks
import os
from pathlib import Path

if "COLAB_RELEASE_TAG" in os.environ and not Path("../tools/colab.py").exists():
    import runpy
    import subprocess

    address = "{address}"
    if not address:
        raise ValueError("Set address, in this cell, to https://github.com/owner/name")
    if not Path("course/tools/colab.py").exists():
        clone = ["git", "clone", "--quiet", "--depth=1", address, "course"]
        if subprocess.run(clone).returncode:
            again = "Delete the folder course, if it is there, and run this cell again."
            raise ConnectionError(f"{{address}} could not be fetched whole. {{again}}")
    runpy.run_path("course/tools/colab.py", run_name="__main__")"""

BADGES = """\
[Read the course on the web](https://{owner}.github.io/{course}/)
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]\
(https://colab.research.google.com/github/{name}/blob/main/notebooks/00_start_here.ipynb)
[![CI]({address}/actions/workflows/ci.yml/badge.svg)]({address}/actions/workflows/ci.yml)
"""

_PLACE = re.compile(r"(?<=<!-- badges, written by make address -->\n).*?(?=<!-- end of badges -->\n)", re.DOTALL)
_CITED = re.compile(r"^repository-code:.*\n", re.MULTILINE)


def repository(root: Path = ROOT) -> str:
    """Return the address of the course's repository on GitHub, "" where none is set.

    Raises
    ------
    ValueError
        What is set is not of the form https://github.com/owner/name.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = {name.lower(): url for name, url in project.get("urls", {}).items()}.get("repository", "")
    if address and (not re.fullmatch(r"https://github\.com/[\w-]+/[\w.-]+", address) or address.endswith(".git")):
        raise ValueError(
            f"pyproject.toml gives {address!r} as the repository of the course. Colab and the badges need an "
            "address of the form https://github.com/owner/name, with no / or .git at its end."
        )
    return address


def written(root: Path = ROOT) -> dict[Path, str]:
    """Return what each file that names the repository should hold.

    Raises
    ------
    ValueError
        The address is wrong (see `repository`), or a file has no place for it: the sentence names the file.
    """
    address = repository(root)
    files = {}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for cell in notebook["cells"] if TAG in cell["metadata"].get("tags", [])]
        if len(cells) != 1:
            raise ValueError(f"{path.name} has {len(cells)} cells tagged {TAG}. It needs one, right after its title.")
        cells[0]["source"] = CELL.format(address=address).splitlines(keepends=True)
        files[path] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    readme, citation = root / "README.md", root / "CITATION.cff"
    name = address.removeprefix("https://github.com/")
    owner, _, course = name.partition("/")
    badges = BADGES.format(address=address, name=name, owner=owner, course=course) if address else ""
    files[readme], places = _PLACE.subn(lambda _: badges, readme.read_text(encoding="utf-8"))
    if places != 1:
        raise ValueError(
            "README.md has no place for the badges. It needs these two lines, right under its title:\n"
            "<!-- badges, written by make address -->\n<!-- end of badges -->"
        )
    if citation.exists():
        line = f'repository-code: "{address}"\n' if address else ""
        files[citation] = _CITED.sub("", citation.read_text(encoding="utf-8")).rstrip("\n") + "\n" + line
    return files


def main() -> int:
    """Write the files that differ, and say which; return 1 if the address or a file is not as it should be."""
    try:
        files = {path: text for path, text in written().items() if path.read_text(encoding="utf-8") != text}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for path, text in files.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    address = repository() or "no address (none is set in pyproject.toml)"
    print(f"Written: {', '.join(path.name for path in files)}." if files else f"Every file has {address} already.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
