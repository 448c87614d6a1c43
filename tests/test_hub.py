"""Loading from a model hub: a small one on loopback that is present, absent, slow, cut off or wrong."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import write_tiny_model

CHILD = """
import sys, time, urllib.request
from pathlib import Path
from helpers import clip

clip.AUTO, clip.BUNDLED = "hf-hub:course/tiny", Path(sys.argv[1])
for step in sys.argv[2:]:
    mode, name = step.split(" ", 1)
    urllib.request.urlopen(sys.stdin.readline().strip() + "/mode/" + mode) if mode != "gone" else None
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
        if len(parts) == 5 and parts[2] == "resolve":
            file = self.server.folder / parts[4]
            if "/".join(parts[:2]) == "course/tiny" and file.is_file() and self.server.mode != "absent":
                return file
        return None

    def answer(self, with_body):
        if self.path.startswith("/mode/"):
            self.server.mode = self.path.removeprefix("/mode/")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.asked.append((self.server.mode, self.path))
        if self.server.mode == "slow":
            time.sleep(120)
        file = self.address()
        if file is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = file.read_bytes()
        large = file.suffix == ".safetensors"
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
        if with_body and large and self.server.mode == "cut":
            self.wfile.write(data[start : start + (len(data) - start) // 2])
            self.wfile.flush()
            self.connection.close()
        elif with_body:
            self.wfile.write(data[start:])

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    return write_tiny_model(root / "remote", seed=1), write_tiny_model(root / "bundled", seed=2, embed_dim=8)


@pytest.fixture
def hub(models, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    server.folder, server.mode, server.asked = models[0], "present", []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    server.cache = tmp_path / "cache"
    yield server
    server.shutdown()
    server.server_close()


def load(hub, models, *steps, url=None):
    """Carry out steps such as ``"cut auto"`` (a mode of the hub, what to load) one after the other in a new process.

    Returns what each step printed, and the seconds it took.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "CLIP_"))}
    environment |= {"HF_ENDPOINT": url or hub.url, "HF_HOME": str(hub.cache), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, models[1], *steps],
        input=f"{hub.url}\n" * len(steps), env=environment, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("STEP ")
    assert len(said) == len(steps) + 1 and "Traceback" not in done.stdout
    seconds = [float(part.split("\n")[0]) for part in said[1:]]
    return [said[0], *(part.split("\n", 1)[1] for part in said[1:-1])], seconds


def cached_weights(hub):
    return [p for p in hub.cache.rglob("*.safetensors") if p.exists()]


def test_present_then_from_the_cache_without_asking(hub, models):
    said, _ = load(hub, models, "present auto", "cached auto")
    assert "LOADED hf-hub:course/tiny 16" in said[0] and "Model: hf-hub:course/tiny (fetched from the hub)" in said[0]
    assert "LOADED hf-hub:course/tiny 16" in said[1] and "in the cache" in said[1]
    assert {mode for mode, _ in hub.asked} == {"present"}
    said, _ = load(hub, models, "gone auto", url="http://127.0.0.1:9")
    assert "LOADED hf-hub:course/tiny 16" in said[0], "also with the hub gone"


def test_absent_and_unknown(hub, models):
    said, _ = load(hub, models, "absent auto", "absent hf-hub:course/tiny", "present ViT-B-32/laion2b_s34b_b79k")
    assert "LOADED bundled 8" in said[0] and said[0].startswith("Model: bundled (the hub does not answer")
    assert "RAISED ConnectionError course/tiny holds none of open_clip_config.json" in said[1]
    assert "RAISED ConnectionError laion/CLIP-ViT-B-32-laion2B-s34B-b79K holds none of" in said[2]
    tag = "/laion/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/main/open_clip_model.safetensors"
    assert any(tag in path for _, path in hub.asked), "a tag is fetched from its repository"


@pytest.mark.parametrize("mode", ["slow", "gone"])
def test_a_hub_that_does_not_answer_is_not_waited_for(hub, models, mode):
    said, seconds = load(hub, models, f"{mode} auto", url="http://127.0.0.1:9" if mode == "gone" else None)
    assert "LOADED bundled 8" in said[0]
    assert seconds[0] < 60


@pytest.mark.parametrize("mode, reason", [("cut", "could not be fetched whole"), ("wrong", "checksum is wrong")])
def test_a_download_that_fails_ends_in_the_bundled_model_and_a_clean_cache(hub, models, mode, reason):
    said, _ = load(hub, models, f"{mode} auto", f"{mode} hf-hub:course/tiny")
    assert "LOADED bundled 8" in said[0] and reason in said[0]
    assert "RAISED ConnectionError course/tiny" in said[1] and reason in said[1]
    assert cached_weights(hub) == []
    said, _ = load(hub, models, "present auto")
    assert "LOADED hf-hub:course/tiny 16" in said[0], "a later try works"
