"""Loading from a model hub: a small one on loopback that is there, absent, silent, cut off, wrong or hostile."""

import hashlib
import os
import pickle
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from conftest import write_tiny_model

TINY = "hf-hub:course/tiny"
TAG, REPOSITORY = "ViT-B-32/laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
CHILD = """
import socket, sys, time, urllib.request
import huggingface_hub.constants
from helpers import clip

huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1 << 20  # the tiny model is one chunk of the usual size
hub, *steps = sys.argv[1:]
for step in steps:
    mode, name = step.split(" ", 1)
    if mode == "unresolved":  # as with a name server that does not answer
        socket.getaddrinfo = lambda *arguments, **options: time.sleep(600)
    else:
        urllib.request.urlopen(hub + "/mode/" + mode)
    start = time.perf_counter()
    try:
        encoder = clip.load(name)
        print("LOADED", encoder.name, encoder.encode_texts(["a"]).shape[1])
    except Exception as error:
        print("RAISED", type(error).__name__, error)
    print("STEP", time.perf_counter() - start)
"""


class Hub(BaseHTTPRequestHandler):
    """The few addresses of a model hub that a download uses."""

    def address(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        if len(parts) == 5 and parts[2] == "resolve" and self.server.mode != "absent":
            folder = self.server.folder.parent / "evil" if self.server.mode == "evil" else self.server.folder
            if (folder / parts[4]).is_file() and (self.server.mode == "evil" or parts[:2] == ["course", "tiny"]):
                return folder / parts[4]
        return None

    def answer(self, with_body):
        if self.path.startswith("/mode/"):
            self.server.mode = self.path.removeprefix("/mode/")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.asked.append((self.server.mode, self.command, self.path, self.headers.get("Range")))
        if self.server.mode == "silent":
            time.sleep(120)
        file = self.address()
        if file is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = file.read_bytes()
        large = file.suffix in (".safetensors", ".bin")
        checksum = hashlib.sha256(data).hexdigest() if large else hashlib.sha1(data).hexdigest()
        if large and self.server.mode == "wrong":
            data = data[:-100] + bytes(100)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{checksum}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if not with_body:
            return
        if large and (self.server.mode == "cut" or (self.server.mode == "interrupted" and not start)):
            self.wfile.write(data[start : len(data) // 2])
            self.wfile.flush()
            self.connection.close()
        else:
            self.wfile.write(data[start:])

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def log_message(self, *arguments):
        pass


class Evil:
    """What runs a program when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    evil = write_tiny_model(root / "evil")
    (evil / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": Evil(root / "ran")}, evil / "open_clip_pytorch_model.bin", pickle_module=pickle)
    return write_tiny_model(root / "remote", seed=1)


@pytest.fixture
def hub(model, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    server.folder, server.mode, server.asked = model, "there", []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    server.cache = tmp_path / "cache"
    yield server
    server.shutdown()
    server.server_close()


def load(hub, *steps, url=None):
    """Carry out steps such as ``"cut hf-hub:…"`` (a mode of the hub, what to load) in one new process.

    Returns what each step printed, and the seconds it took.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "CLIP_"))}
    environment |= {"HF_ENDPOINT": url or hub.url, "HF_HOME": str(hub.cache), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, hub.url, *steps], env=environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("STEP ")
    assert len(said) == len(steps) + 1 and "Traceback" not in done.stdout
    seconds = [float(part.split("\n")[0]) for part in said[1:]]
    return [said[0], *(part.split("\n", 1)[1] for part in said[1:-1])], seconds


def cached_weights(hub):
    return [path for path in hub.cache.rglob("*") if path.stat().st_size > 1e6 and not path.is_symlink()]


def assert_says_what_to_do(line):
    assert line.startswith(f"RAISED ConnectionError {REPOSITORY} is not on this computer and could not be fetched: ")
    assert line.endswith('with internet, or take the model that comes with the course, clip.load("bundled")\n')


def test_there_then_from_the_cache_without_asking(hub):
    said, _ = load(hub, f"there {TINY}", f"cached {TINY}")
    assert said == [f"LOADED {TINY} 16\n"] * 2
    assert {mode for mode, *_ in hub.asked} == {"there"}
    said, seconds = load(hub, f"gone {TINY}", f"gone {TAG}", url="http://127.0.0.1:9")
    assert said[0] == f"LOADED {TINY} 16\n", "also with the hub gone"
    assert_says_what_to_do(said[1])
    assert seconds[1] < 15
    (weights,) = cached_weights(hub)
    weights.write_bytes(weights.read_bytes()[:-100] + bytes(100))
    said, _ = load(hub, f"there {TINY}", f"there {TINY}")
    assert "RAISED ConnectionError open_clip_model.safetensors arrived damaged" in said[0], "spoilt in the cache"
    assert said[1] == f"LOADED {TINY} 16\n"


def test_absent_and_evil(hub, model):
    said, _ = load(hub, f"absent {TINY}", f"there {TAG}", "evil hf-hub:course/evil", "evil RN50/cc12m")
    assert said[0].startswith("RAISED ConnectionError course/tiny holds none of open_clip_config.json")
    assert said[1].startswith(f"RAISED ConnectionError {REPOSITORY} holds none of")
    address = f"/{REPOSITORY}/resolve/main/open_clip_model.safetensors"
    assert any(path == address for _, _, path, _ in hub.asked), "a tag is fetched from its repository"
    for line, name in zip(said[2:], ["hf-hub:course/evil", "RN50/cc12m"], strict=True):
        assert line.startswith(f"RAISED ValueError the model {name} cannot be loaded: Weights only load failed")
    assert not (model.parent / "ran").exists()


@pytest.mark.parametrize("mode, url", [
    ("silent", None), ("there", "http://nowhere.invalid"), ("unresolved", "http://huggingface.example"),
])  # fmt: skip
def test_without_internet_it_says_soon_what_to_do(hub, mode, url):
    (said,), (seconds,) = load(hub, f"{mode} {TAG}", url=url)
    assert_says_what_to_do(said)
    assert seconds < 15


@pytest.mark.parametrize("mode, reason", [("cut", "could not be fetched: "), ("wrong", "checksum is wrong")])
def test_a_download_that_fails_is_never_loaded_and_a_later_one_is(hub, mode, reason):
    said, _ = load(hub, f"{mode} {TINY}", f"{mode} {TINY}", f"interrupted {TINY}")
    for line in said[:2]:
        assert line.startswith("RAISED ConnectionError ") and reason in line
    assert said[2] == f"LOADED {TINY} 16\n"
    assert len(cached_weights(hub)) == 1
    parts = [part for mode, method, _, part in hub.asked if (mode, method) == ("interrupted", "GET")]
    assert parts[0] is None and int(parts[1].strip("bytes=-")) > 1e6 and len(parts) == 2, "it goes on where it stopped"
