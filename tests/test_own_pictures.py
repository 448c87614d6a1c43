"""Every lesson runs on a reader's own pictures: in class folders, or in one flat folder."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers import images

LESSONS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Nine pictures a class in three classes that are none of the course's, and the same without folders."""
    root = tmp_path_factory.mktemp("own")
    for ours, theirs in (("cat", "Kätzchen"), ("coin", "old money"), ("car", "car park")):
        for path in sorted((images.DATA / "train" / ours).iterdir())[:9]:
            for target in (root / "classes" / theirs, root / "flat"):
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    (root / "classes" / "old money" / "broken.jpg").write_bytes(b"not a picture")
    return root


@pytest.mark.parametrize("form", ["classes", "flat"])
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_lesson_runs_on_own_pictures(path, form, folders, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_PICTURES", str(folders / form))
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": tmp_path}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    outputs = str([cell.get("outputs") for cell in notebook.cells])
    said = [str(out) for cell in notebook.cells for out in cell.get("outputs", [])]
    assert [text for text in said if "Warning" in text or "stderr" in text] == []
    if form == "flat" and path.name[:2] != "00":
        assert "nothing can be scored" in outputs
