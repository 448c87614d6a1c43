"""What the lessons import, and a kernel: `forked.py` imports this once, in the process that kernels are forked from."""

import chromadb
import ipykernel.kernelapp
import matplotlib.pyplot
import open_clip
import pandas
import torch

from helpers import clip, evaluate, images, metrics, show, store

__all__ = [
    "chromadb", "clip", "evaluate", "images", "ipykernel", "matplotlib", "metrics", "open_clip", "pandas", "show",
    "store", "torch",
]  # fmt: skip
