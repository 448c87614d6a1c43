"""The address of the repository is set once, in pyproject.toml, and what is written from it is what is committed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import address  # noqa: E402

HERE = "https://github.com/some-owner/a.course"
BEFORE, AFTER = "<!-- badges, written by make address -->\n", "<!-- end of badges -->\n"


@pytest.fixture
def course(tmp_path):
    """A copy of all that names the repository, with a citation, where none is set yet."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__", "model"))
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns("assignments", ".*"))
    shutil.copy(ROOT / "README.md", tmp_path)
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\ntitle: A course\n", encoding="utf-8")
    tell(tmp_path, "")
    call(tmp_path)
    return tmp_path


def tell(course, repository):
    """Set the address in pyproject.toml as an author would; "" for none."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    text = re.sub(r"\[project\.urls\]\n(?:\w.*\n)*\n*", "", text)
    urls = f'[project.urls]\nRepository = "{repository}"\n\n' if repository else ""
    changed = text.replace("[tool.", f"{urls}[tool.", 1)
    (course / "pyproject.toml").write_text(changed, encoding="utf-8")


def call(course):
    done = subprocess.run([sys.executable, course / "tools" / "address.py"], capture_output=True, encoding="utf-8")
    return done.returncode, done.stdout, done.stderr


def contents(course):
    files = [*course.glob("notebooks/*.ipynb"), course / "README.md", course / "CITATION.cff"]
    return {path.name: path.read_bytes() for path in files}


def test_what_is_committed_is_what_would_be_written():
    for path, text in address.written().items():
        assert path.read_bytes().decode() == text, f"{path.name}: call make address"


def test_an_address_that_is_set_and_taken_back_leaves_no_trace(course):
    before = contents(course)
    tell(course, HERE)
    code, said, wrong = call(course)
    assert (code, wrong) == (0, "") and "README.md" in said and "00_start_here.ipynb" in said
    after = contents(course)
    assert all(HERE.encode() in text for text in after.values()) and before.keys() == after.keys()
    assert call(course) == (0, f"Every file has {HERE} already.\n", "") and contents(course) == after
    tell(course, "")
    assert call(course)[0] == 0 and contents(course) == before


def test_another_address_takes_the_place_of_the_first(course):
    for repository in (HERE, "https://github.com/x/y"):
        tell(course, repository)
        call(course)
    assert not any(HERE.encode() in text for text in contents(course).values())
    assert (course / "CITATION.cff").read_text().count("repository-code") == 1
    readme = (course / "README.md").read_text(encoding="utf-8")
    badges = re.search(f"{BEFORE}(.*){AFTER}", readme, re.DOTALL)[1]
    assert len(re.findall(r"^\[!\[[^]]+\]\(https://[^)\s]+\)\]\(https://[^)\s]+\)$", badges, re.MULTILINE)) == 2
    assert badges.startswith("[Read the course on the web](https://x.github.io/y/)\n")
    assert "/github/x/y/blob/main/notebooks/00_start_here.ipynb" in badges


def test_lessons_with_an_address_are_still_clean(course):
    tell(course, f"https://github.com/{'o' * 39}/{'n' * 40}")
    call(course)
    shutil.copytree(ROOT / "helpers", course / "helpers")  # by which ruff tells imports of our own
    for check in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, course / "notebooks"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("wrong", [
    "http://github.com/owner/name", "github.com/owner/name", "https://github.com/owner", "https://github.com/owner/name/",
    "https://github.com/owner/name.git", "https://gitlab.com/owner/name", "https://github.com/owner/name/tree/main",
    "https://github.com/an owner/name", "https://github.com/owner/n#", "git@github.com:owner/name",
])  # fmt: skip
def test_a_wrong_address_is_refused_in_words_and_nothing_is_written(wrong, course):
    before = contents(course)
    tell(course, wrong)
    with pytest.raises(ValueError, match=r"form https://github\.com/owner/name"):
        address.repository(course)
    code, said, complaint = call(course)
    assert (code, said) == (1, "") and complaint.startswith(f"pyproject.toml gives {wrong!r}")
    assert contents(course) == before


def test_a_file_without_a_place_for_the_address_is_named(course):
    (course / "README.md").write_text("# A course\n", encoding="utf-8")
    code, _, complaint = call(course)
    assert code == 1 and complaint.startswith("README.md has no place") and BEFORE + AFTER in complaint
    lesson = course / "notebooks" / "00_start_here.ipynb"
    notebook = json.loads(lesson.read_text(encoding="utf-8"))
    del notebook["cells"][1]
    lesson.write_text(json.dumps(notebook), encoding="utf-8")
    assert call(course)[2].startswith("00_start_here.ipynb has 0 cells tagged colab")


def test_a_citation_without_a_last_newline_keeps_its_last_line(course):
    citation = course / "CITATION.cff"
    citation.write_bytes(citation.read_bytes().rstrip(b"\n"))
    last = citation.read_text(encoding="utf-8").splitlines()[-1]
    tell(course, HERE)
    call(course)
    assert citation.read_text(encoding="utf-8").splitlines()[-2:] == [last, f'repository-code: "{HERE}"']
