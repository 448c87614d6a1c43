"""What all visitors of the explorer share, made once: the pictures, the model, and the embeddings.

Run as a program, it encodes what is not encoded yet, on all cores. Imported, it keeps the rest for the kernels that are
forked from the process that imported it; they find the embeddings in the encoder's memory.
"""

import contextlib
import functools
import gc
import sys

import ipykernel.kernelapp  # noqa: F401 (with the helpers, most of what a kernel takes seconds to import)

from helpers import clip, evaluate, explorer, images, show, store  # noqa: F401


def prepare() -> None:
    """Load and encode once; whoever asks the helpers for the same afterwards gets what is there.

    Raises
    ------
    FileNotFoundError, ValueError
        As `images.load_pictures`, or `encode_images`.
    """
    images.load_pictures = functools.cache(images.load_pictures)
    clip.load = functools.cache(clip.load)
    for gallery in images.load_pictures():
        clip.load().encode_images(gallery)


if __name__ == "__main__":
    try:
        prepare()
    except (OSError, ValueError) as error:
        sys.exit(f"{error}.")
else:
    with contextlib.redirect_stdout(None):  # the program has said it
        prepare()
    gc.freeze()  # the garbage collector of a fork would write to all of it, and so copy it
