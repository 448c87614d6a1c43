import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from helpers import clip

# what the Makefile sets, for whoever calls pytest alone: the numbers are those of the bundled pictures and model
os.environ.update(COURSE_PICTURES="bundled", CLIP_MODEL="bundled", TQDM_DISABLE="1")

SITE_PYTHON = (
    Path(__file__).resolve().parent.parent
    / os.environ.get("SITE", ".venv-site")
    / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
)
"""The Python of the environment that builds the website and the slides: `make test` makes it."""

LONGEST = (
    "03_chromadb", "04_index_you_can_trust", "test_teach", "test_browser", "test_sandbox", "test_own_pictures",
    "test_serving", "test_store", "test_site",
)  # fmt: skip
"""The files that take longest: they are begun first, so that the last one keeps nobody waiting at the end."""

TINY = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}


def pytest_collection_modifyitems(items):
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def write_tiny_model(folder, seed=0, **model_cfg):
    """Write a random model of 6 MB in open_clip's folder format."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**TINY, "model_cfg": {**TINY["model_cfg"], **model_cfg}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    model = open_clip.CLIP(**config["model_cfg"])
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _memory_of_its_own(tmp_path_factory):
    """Keep what tests encode apart from what the reader's lessons have encoded."""
    clip.CACHE = tmp_path_factory.mktemp("memory")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def pictures(tmp_path):
    """Six different pictures in two classes, three formats, several sizes."""
    folder = tmp_path / "pictures"
    for i, name in enumerate(("a/0.jpg", "a/1.png", "a/2.webp", "b/3.jpg", "b/4.png", "b/5.jpg")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (50 + 20 * i, 60), (40 * i, 200 - 30 * i, 90))
        ImageDraw.Draw(picture).ellipse((5, 5, 20 + 5 * i, 40), fill=(250 - 40 * i, 30 * i, 10))
        picture.save(folder / name)
    return folder


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start_server(path, port):
    program = Path(sys.executable).parent / "chroma"
    command = [program, "run", "--path", path, "--port", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(1200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    return running
