"""How fast are pictures encoded? Ratios of our encoder to three other ways, measured in turn in one run.

    make bench

(a) chromadb's OpenCLIPEmbeddingFunction, which encodes one picture at a time;
(b) a plain PyTorch DataLoader with open_clip's own preprocessing, in batches (no workers: forked after threads have
    started, they can hang);
(c) the forward pass alone, on a batch that is already in memory, with the model and the layout that we use: what is
    left when nothing has to be opened (cores that share a batch; ours work on a batch each).

Ours starts with an empty memory in each round, so it encodes every picture and writes what it will remember.

Models: the bundled one, and ViT-B-32 with random weights (as slow as with trained ones). The rounds alternate between
the ways, so that a machine that slows down slows all of them; a ratio is the median over the rounds.
"""

import argparse
import logging
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
from chromadb.utils.data_loaders import ImageLoader
from chromadb.utils.embedding_functions import OpenCLIPEmbeddingFunction
from machine import machine
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from helpers import clip, images

BATCH = 32


class Files(Dataset):
    """Pictures from files, preprocessed one by one: what a tutorial would write."""

    def __init__(self, paths: list[Path], preprocess: Callable):
        self.paths, self.preprocess = paths, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.preprocess(Image.open(self.paths[i]).convert("RGB"))


def ways(address: str, checkpoint: str | None, encoder: clip.Encoder, paths: list[Path]) -> dict[str, Callable]:
    """Return the ways to encode `paths`, each as a function without arguments."""
    function = OpenCLIPEmbeddingFunction(model_name=address, checkpoint=checkpoint)
    loader = ImageLoader(max_workers=torch.get_num_threads())
    model, _, preprocess = open_clip.create_model_and_transforms(address, checkpoint)
    model.eval()
    batch = torch.randn(BATCH, 3, 224, 224).to(memory_format=torch.channels_last)

    def ours() -> np.ndarray:
        with tempfile.TemporaryDirectory() as empty:
            clip.CACHE = Path(empty)  # nothing is remembered yet: each picture is encoded, and its vector written
            return encoder.encode_images(paths)

    def one_at_a_time() -> np.ndarray:
        return np.array(function(loader([str(path) for path in paths])))

    @torch.inference_mode()
    def data_loader() -> np.ndarray:
        batches = DataLoader(Files(paths, preprocess), batch_size=BATCH, num_workers=0)
        return torch.cat([model.encode_image(pixels, normalize=True) for pixels in batches]).numpy()

    @torch.inference_mode()
    def forward_alone() -> None:
        for start in range(0, len(paths), BATCH):
            encoder._model.encode_image(batch[: min(BATCH, len(paths) - start)])

    return {
        "ours": ours,
        "(a) one at a time": one_at_a_time,
        "(b) DataLoader": data_loader,
        "(c) forward alone": forward_alone,
    }


def measure(functions: dict[str, Callable], rounds: int) -> dict[str, list[float]]:
    """Run the functions in turn, `rounds` times after a warm-up, and return the seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Measure both models and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=128, help="how many of the bundled pictures")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(machine())
    logging.getLogger().setLevel(logging.ERROR)  # random weights are what we want here
    paths = images.load_gallery(images.DATA / "train").paths
    paths = paths[:: max(1, len(paths) // options.pictures)][: options.pictures]
    print(f"{len(paths)} pictures, batches of {BATCH}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as scratch:
        bundled = shutil.copytree(clip.BUNDLED, Path(scratch) / "bundled")
        random = open_clip.create_model("ViT-B-32")
        for name, address in (("bundled", f"local-dir:{bundled}"), ("ViT-B-32", "ViT-B-32")):
            encoder = (
                clip.load(address)
                if address.startswith("local-dir:")
                else clip.Encoder(name, random, open_clip.get_tokenizer(address), torch.device("cpu"))
            )
            seconds = measure(ways(address, None, encoder, paths), options.rounds)
            for other, times in seconds.items():
                ratio = statistics.median(t / ours for t, ours in zip(times, seconds["ours"], strict=True))
                speed = len(paths) / statistics.median(times)
                print(f"{name:10} {other:20} {speed:7.1f} pictures/s   ours: {ratio:5.2f} ×")


if __name__ == "__main__":
    main()
