"""Fetching a known data set: the real download code, from a small server on loopback."""

import hashlib
import io
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets import Imagenette

from helpers import images

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import fetch as program

FILES = {
    "train/n01440764/0.jpeg": "red", "train/n01440764/1.jpeg": "blue", "train/n03888257/2.jpeg": "green",
    "val/n01440764/3.jpeg": "white", "val/n03888257/4.jpeg": "black",
}  # fmt: skip


def archive():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, colour in FILES.items():
            picture = io.BytesIO()
            Image.new("RGB", (20, 20), colour).save(picture, "JPEG")
            entry = tarfile.TarInfo(f"imagenette2-160/{name}")
            entry.size = len(picture.getvalue())
            tar.addfile(entry, io.BytesIO(picture.getvalue()))
    return packed.getvalue()


@pytest.fixture
def server(monkeypatch):
    data = archive()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.server.mode == "absent":
                self.send_error(404)
                return
            body = data if self.server.mode != "wrong" else data[:-8] + bytes(8)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if self.server.mode == "cut" else body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.mode = "present"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/imagenette2-160.tgz"
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(Imagenette._ARCHIVES, "160px", (address, md5))
    yield server
    server.shutdown()
    server.server_close()


def fetch(folder):
    program.main(["imagenette", "--to", str(folder)])


def test_a_data_set_arrives_in_the_layout_of_the_course(server, tmp_path, capsys):
    fetch(tmp_path / "new")
    assert "5 pictures in" in capsys.readouterr().out
    train, test = (images.load_gallery(tmp_path / "new" / split) for split in ("train", "test"))
    assert train.labels.tolist() == ["parachute", "tench", "tench"] and test.labels.tolist() == ["parachute", "tench"]
    assert not train.skipped and not test.skipped


@pytest.mark.parametrize("mode", ["absent", "cut", "wrong"])
def test_a_download_that_fails_says_so_and_a_second_try_works(server, tmp_path, capsys, mode):
    server.mode = mode
    with pytest.raises(SystemExit) as stopped:
        fetch(tmp_path)
    assert stopped.value.code == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("imagenette could not be fetched") and said.endswith("run the same command again")
    assert not (tmp_path / "train").exists() and not (tmp_path / "test").exists()
    server.mode = "present"
    fetch(tmp_path)
    assert len(images.load_gallery(tmp_path / "train")) == 3


def test_a_folder_that_is_in_use_is_left_alone(server, tmp_path, capsys):
    (tmp_path / "train").mkdir()
    with pytest.raises(SystemExit):
        fetch(tmp_path)
    assert "already holds train/ or test/" in capsys.readouterr().err
