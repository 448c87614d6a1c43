"""What all visitors of the explorer share, made once: the pictures, the model, and the embeddings.

Run as a program, it encodes what is not encoded yet, on all cores. Imported, it reads what that left, and keeps it for
the kernels that are forked from the process that imported it.
"""

import contextlib
import functools
import gc
import sys
from pathlib import Path

import ipykernel.kernelapp  # noqa: F401 (with the helpers, most of what a kernel takes seconds to import)
import numpy as np

from helpers import clip, embeddings, evaluate, explore, images, show, store  # noqa: F401
from helpers.clip import Encoder
from helpers.images import Gallery


def prepare() -> None:
    """Load and encode once; whoever asks the helpers for the same afterwards gets what is there.

    Raises
    ------
    FileNotFoundError, ValueError
        As `images.load_pictures`.
    """
    images.load_pictures = functools.cache(images.load_pictures)
    clip.load = functools.cache(clip.load)
    _remember(clip.load("auto"), images.load_pictures())


def _remember(encoder: Encoder, galleries: tuple[Gallery, Gallery]) -> None:
    """Let the encoder answer from memory where it is asked for pictures of the collection."""
    encode = encoder.encode_images
    known: dict[Path, np.ndarray] = {}
    for gallery in galleries:
        known |= zip(gallery.paths, embeddings.load_or_encode(encoder, gallery), strict=True)

    def encode_images(pictures: clip.Pictures, batch_size: int | None = None) -> np.ndarray:
        sources = pictures.paths if isinstance(pictures, Gallery) else list(pictures)
        if not sources or not all(isinstance(source, Path) and source in known for source in sources):
            return encode(sources, batch_size)
        encoder.skipped = []
        return np.stack([known[source] for source in sources])

    encoder.encode_images = encode_images


if __name__ == "__main__":
    try:
        prepare()
    except (OSError, ValueError) as error:
        sys.exit(f"{error}.")
else:
    with contextlib.redirect_stdout(None):  # the program has said it
        prepare()
    gc.freeze()  # the garbage collector of a fork would write to all of it, and so copy it
