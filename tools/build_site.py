"""Build the course as a website: the executed lessons, the pages around them and the slides, without a network.

    python tools/build_site.py             # into build/site
    python tools/build_site.py --links     # builds nothing: asks every server that a page links to

Only what PAGES names is on the site. The assignments are not: their sources hold the solutions and the hidden tests.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import my_course
from address import repository

ROOT = Path(__file__).resolve().parent.parent
FRAME = ROOT / "docs" / "site"
PAGES = ("notebooks/*.ipynb", "docs/*.md", "data/README.md", "data/clip/README.md", "CHANGELOG.md")
BESIDE = ("docs/*.svg", "docs/*.png", "docs/*.jpg", "data/SOURCES.csv", "data/licences/*.txt", "data/clip/LICENSE")
BESIDE += ("LICENSE",)
"""Pictures on the pages, and files that they offer."""
STANDS_FOR = {"README.md": "docs/install.md"}
"""What another page says on the site: who links to the README speaks of the installation."""
_CODE_OR_LINK = re.compile(r'```.*?```|`[^`\n]+`|(?P<before>\]\(|\bhref=")(?P<to>[^\s)"]+)', re.DOTALL)
_NOWHERE = "nowhere:"


def relinked(text: str, page: Path, on_site: Callable[[str], bool], repository: str) -> str:
    """Return the Markdown `text` of `page` with its links as the site needs them.

    A link to a page keeps its path, and its anchor is spelled as Sphinx spells headings. A link to a file of the
    course that is not on the site leads to the repository. Where its address is not known, only the words stay.

    Parameters
    ----------
    text : str
    page : Path
        Where the text comes from, below the course's folder.
    on_site : callable
        Whether the file with this path, below the course's folder, is on the site.
    repository : str
        The repository's address, or ``""``.
    """

    def led(link: re.Match) -> str:
        if not link["to"] or re.match(r"[a-z+]+:|//", link["to"], re.IGNORECASE):
            return link[0]
        to, hash_sign, anchor = link["to"].partition("#")
        heading = hash_sign + anchor.lower()
        if not to:
            return link["before"] + heading
        path = Path(os.path.normpath(page.parent / to)).as_posix()
        there = STANDS_FOR.get(path, path)
        if on_site(there):
            return link["before"] + Path(os.path.relpath(there, page.parent)).as_posix() + heading
        elsewhere = f"{repository}/blob/main/{path}{hash_sign}{anchor}" if repository else _NOWHERE
        return link["before"] + elsewhere

    return re.sub(rf"\[([^\]]*)\]\({_NOWHERE}[^)]*\)", r"\1", _CODE_OR_LINK.sub(led, text))


def stage(folder: Path, repository: str) -> None:
    """Write what Sphinx builds from into `folder`. The table of lessons on the first page is the README's."""
    pages = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    beside = [path for pattern in BESIDE for path in sorted(ROOT.glob(pattern))]
    there = {path.relative_to(ROOT).as_posix() for path in pages + beside} | {"index.md"}
    for path in pages:
        page = path.relative_to(ROOT)
        target = folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            notebook = json.loads(text)
            for cell in notebook["cells"]:
                if cell["cell_type"] == "markdown":
                    source = relinked("".join(cell["source"]), page, there.__contains__, repository)
                    cell["source"] = source.splitlines(keepends=True)
            text = json.dumps(notebook, indent=1, ensure_ascii=False)
        else:
            text = relinked(text, page, there.__contains__, repository)
        target.write_text(text, encoding="utf-8", newline="\n")
    for path in beside:
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    lessons = re.findall(r"^\|.*\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    lessons = [line.replace(" min |", "\u00a0min |") for line in lessons]  # on one line
    for path in FRAME.glob("*.md"):
        text = path.read_text(encoding="utf-8").replace("{{ lessons }}\n", "".join(lessons))
        (folder / path.name).write_text(text, encoding="utf-8", newline="\n")


def sphinx(builder: str, target: Path, work: Path, repository: str) -> int:
    """Have one of Sphinx's builders read the staged course and write `target`; return its exit status."""
    for folder in (target, work):
        shutil.rmtree(folder, ignore_errors=True)
    stage(work / "source", repository)
    command = [sys.executable, "-m", "sphinx", "-b", builder, "-W", "--keep-going", "-q", "-j", "2"]
    command += ["-c", str(FRAME), "-d", str(work / "doctrees"), str(work / "source"), str(target)]
    return subprocess.run(command, env=os.environ | {"COURSE_REPOSITORY": repository}).returncode


def build(target: Path, work: Path, repository: str) -> None:
    """Build the site into `target`; both folders are emptied first.

    Parameters
    ----------
    target : Path
    work : Path
        For what is needed on the way.
    repository : str
        The repository's address, to which pages link; ``""`` if there is none.

    Raises
    ------
    SystemExit
        Sphinx found something wrong. It has said what.
    """
    if sphinx("html", target, work, repository):
        sys.exit("The site was not built: Sphinx says why above.")
    for template in (target / "_static").glob("*.html"):  # the theme's own, which no page needs
        template.unlink()
    import slides  # here, since the links above are looked at in an environment without Sphinx

    slides.build(target / "slides", work / "slides")
    lessons = {path.name: path for path in (target / "_sources" / "notebooks").glob("*.ipynb")}
    for path in lessons.values():  # for working through: stored outputs would give predictions away
        path.write_text(my_course.without_outputs(path.read_text(encoding="utf-8"), 1, lessons), encoding="utf-8")


def main() -> None:
    """Build the site and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", action="store_true", help="ask every server that a page links to")
    options = parser.parse_args()
    target, work = ROOT / "build" / "site", ROOT / "build" / "site-work"
    if options.links:
        sys.exit(sphinx("linkcheck", ROOT / "build" / "links", work, repository()))
    build(target, work, repository())
    files = [path for path in target.rglob("*") if path.is_file()]
    pages = sum(path.suffix == ".html" for path in files)
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    print(f"{target / 'index.html'}: {pages} pages, {megabytes:.1f} MB")


if __name__ == "__main__":
    main()
