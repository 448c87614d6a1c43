"""Installed without its clone, the course finds its data where it is told, and writes nothing beside its code."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers import images
from helpers.backroom import place

ROOT = Path(__file__).resolve().parent.parent


def below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What `pip install` would put into site-packages, and nothing else of the clone."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    shutil.copytree(ROOT / "helpers", clone / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*wheel, "--wheel-dir", clone / "wheel", clone], check=True, timeout=300)
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(next((clone / "wheel").glob("*.whl"))) as archive:
        archive.extractall(site)
    shutil.rmtree(clone)
    return site


@pytest.fixture
def run(installed, tmp_path):
    """Run Python in an empty folder, with what is installed and a home of its own; return the JSON it prints last."""
    home, empty = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    empty.mkdir()

    def run(code, **settings):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COURSE_")}
        environment |= {"HOME": str(home), "USERPROFILE": str(home), "PYTHONPATH": str(installed)}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1"} | settings
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=empty, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert not below(empty)
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_all_of_the_helpers_are_installed(installed):
    assert below(installed / "helpers") == below(ROOT / "helpers")


SEARCH = """
import json, helpers
from helpers import clip, explorer, images, lab, metrics, store
gallery, queries = images.load_pictures()
some = gallery.take(range(0, len(gallery), 60))
index = store.open_index(None, encoder=clip.load())
index.sync(some)
found = index.query(some.paths[3], k=1)[0].id
print(json.dumps([helpers.__file__, str(gallery.root), len(lab.one_design()), found, some.ids[3]]))
"""


def test_a_search_with_the_data_of_a_clone(installed, run, tmp_path):
    before, data = below(installed), below(images.DATA)
    code, root, designs, first, sought = run(SEARCH, COURSE_DATA=str(images.DATA))
    assert Path(code).is_relative_to(installed)
    assert Path(root) == images.DATA / "train"
    assert designs > 0
    assert first == sought
    assert (below(installed), below(images.DATA)) == (before, data)
    assert (tmp_path / "home" / ".cache" / "image-retrieval" / "embeddings.sqlite3").is_file()


FAILURES = """
import json
from helpers import clip, images, lab
def told(function):
    try:
        function()
    except FileNotFoundError as error:
        return str(error)
said = [told(images.load_pictures), told(clip.load), told(lab.one_design)]
print(json.dumps([*said, told(lambda: lab.check("map_at"))]))
"""


@pytest.mark.parametrize("named", [None, "~/course"])
def test_what_is_missing_is_said_with_what_to_do(installed, run, tmp_path, named):
    said = run(FAILURES, **({"COURSE_DATA": named} if named else {}))
    folder = tmp_path / "home" / "course" if named else installed / "data"
    set_to = ", to which COURSE_DATA is set" if named else ""
    assert len(said) == 4
    for sentence, part in zip(said, ("train", "clip", "one_design.txt", "test"), strict=True):
        assert sentence.startswith(f"there is no {part} in {folder}{set_to}: set COURSE_DATA to the data folder of a ")
        assert "images.load_gallery" in sentence and "clip.load" in sentence


CHOSEN = "import json\nfrom helpers import images\nprint(json.dumps(str(images.load_pictures()[0].root)))"


def test_own_pictures_need_no_data_and_are_remembered_at_home(installed, run, pictures):
    before = below(installed)
    assert Path(run(f"from helpers import images; images.use_pictures({str(pictures)!r})\n{CHOSEN}")) == pictures
    assert Path(run(CHOSEN)) == pictures
    assert below(installed) == before


def test_a_wrong_setting_is_not_replaced_by_the_data_of_the_clone(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COURSE_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CHOSEN], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode != 0
    assert f"there is no train in {tmp_path}, to which COURSE_DATA is set" in done.stderr


def test_embeddings_are_remembered_in_a_clone_that_can_be_written(tmp_path, monkeypatch):
    at_home = place.memory_folder("vectors", tmp_path)
    assert at_home.is_relative_to(Path.home())  # no clone
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "SOURCES.csv").touch()
    assert place.memory_folder("vectors", tmp_path) == tmp_path / ".cache"
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert place.memory_folder("vectors", tmp_path) == at_home


def test_the_choice_of_pictures_is_kept_in_the_clone_whatever_data_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert place.choice_file() == ROOT / "data" / "own_pictures.txt"
