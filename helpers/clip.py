"""One encoder over open_clip: pictures and sentences in, unit vectors out, whichever model is behind it.

``load("auto")`` takes the real ViT-B-32 where its weights are at hand or can be fetched, and the small model that comes
with the course everywhere else. Everything goes through open_clip, so both are used by the same code.
"""

import copy
import hashlib
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tqdm.auto import tqdm

from helpers import hub
from helpers.images import DATA, QUIET, Gallery, PictureSource, open_rgb, to_rgb

BUNDLED = DATA / "clip"
"""The course's own small model, in open_clip's folder format."""

AUTO = "ViT-B-32/laion2b_s34b_b79k"
"""What ``load("auto")`` takes when it can be had: the ViT-B/32 that LAION trained on two billion pictures."""

_CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

_Result = TypeVar("_Result")
Pictures = Gallery | Iterable[PictureSource | Image.Image]


class Encoder:
    """A CLIP model, ready to encode. Made by `load`.

    Attributes
    ----------
    name : str
        The name under which it was loaded.
    dim : int
        Length of the vectors.
    fingerprint : str
        Changes when the architecture, the weights or the preprocessing do; the same on every machine.
    device : torch.device
        Where it runs.
    skipped : list of (str, str)
        The pictures that the last call of `encode_images` could not open, each with the reason.
    """

    def __init__(self, name: str, model: torch.nn.Module, tokenizer: open_clip.SimpleTokenizer, device: torch.device):
        self.name = name
        self.device = device
        self.skipped: list[tuple[str, str]] = []
        self._preprocess_cfg = open_clip.get_model_preprocess_cfg(model)
        self._is_convolutional = any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
        self._preprocess = image_transform_v2(PreprocessCfg(**self._preprocess_cfg), is_train=False)
        self._tokenizer = tokenizer
        self.fingerprint = _fingerprint(model, self._preprocess_cfg, tokenizer)
        self._model = _folded(model.eval()).to(device, memory_format=torch.channels_last)
        # graphics cards take one batch after the other; a processor calculates as many as it has cores
        self._turn = nullcontext() if device.type == "cpu" else threading.Lock()
        # the course's own model is calculated in full precision, so that the lessons' numbers are alike everywhere
        self._precision = "highest" if name == "bundled" else "medium"
        self.dim = self.encode_texts(["a"]).shape[1]

    def __repr__(self) -> str:
        return f"{self.name}: {self.dim} dimensions, on {self.device.type}"

    def encode_images(self, pictures: Pictures, batch_size: int | None = None) -> np.ndarray:
        """Encode pictures, several batches at the same time: each core opens a batch and calculates it.

        Memory holds as many batches as there are cores, and the result, however many pictures there are.

        Parameters
        ----------
        pictures : Gallery, or iterable of paths or PIL images
            N pictures. One that cannot be opened does not stop the rest: its row is NaN (no metric ever ranks it
            before a picture), `skipped` names it, and a printed line says how many there are.
        batch_size : int, optional
            Pictures calculated at once; if not given, what was measured to be fastest: on a processor 4 for a
            convolutional network and 16 for a transformer, on a graphics card 32.

        Returns
        -------
        ndarray of float32, shape (N, dim)
            Rows of length 1.

        Raises
        ------
        ValueError
            There is nothing to encode, or none of the pictures can be opened.
        """
        sources = pictures.paths if isinstance(pictures, Gallery) else list(pictures)
        if not sources:
            raise ValueError("there are no pictures to encode: the list is empty")
        if batch_size is None:
            batch_size = 32 if self.device.type != "cpu" else 4 if self._is_convolutional else 16
        self.skipped = []
        vectors = np.full((len(sources), self.dim), np.nan, dtype=np.float32)

        def encode(start: int) -> list[tuple[str, str]]:
            pixels, rows, skipped = [], [], []
            for row in range(start, min(start + batch_size, len(sources))):
                try:
                    pixels.append(self._pixels(sources[row]))
                    rows.append(row)
                except (ValueError, OSError) as error:
                    skipped.append((str(sources[row]), str(error)))
            if rows:
                with self._turn, torch.inference_mode():
                    batch = torch.stack(pixels).to(self.device, memory_format=torch.channels_last)
                    vectors[rows] = _unit(self._model.encode_image(batch))
            return skipped

        with (
            _matmul_precision(self._precision),
            tqdm(
                total=len(sources), desc="Encoding", unit=" pictures", delay=1, leave=False, disable=QUIET
            ) as progress,
        ):
            for skipped in self._side_by_side(encode, range(0, len(sources), batch_size)):
                self.skipped += skipped
                progress.update(min(batch_size, len(sources) - progress.n))
        if len(self.skipped) == len(sources):
            raise ValueError(f"none of the {len(sources)} pictures could be opened: {self.skipped[0][1]}")
        if self.skipped:
            print(f"{len(self.skipped)} pictures skipped: encoder.skipped names each, with the reason")
        return vectors

    def _side_by_side(self, function: Callable[[int], _Result], starts: Sequence[int]) -> Iterator[_Result]:
        """Map a function over the starts of batches, in order, on as many threads as PyTorch would use.

        On a processor each calculates with one core: cores that work on a batch each wait for nothing, while cores
        that share a batch wait for each other after every layer, and for the pictures to be opened.
        """
        if len(starts) == 1:
            yield function(starts[0])
            return
        threads = torch.get_num_threads()
        alone = (lambda: torch.set_num_threads(1)) if self.device.type == "cpu" else None
        waiting: deque = deque()
        with ThreadPoolExecutor(threads, initializer=alone) as pool:
            try:
                for start in starts:
                    waiting.append(pool.submit(function, start))
                    if len(waiting) > 2 * threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)
                torch.set_num_threads(threads)

    def _pixels(self, source: PictureSource | Image.Image) -> torch.Tensor:
        picture = to_rgb(source) if isinstance(source, Image.Image) else open_rgb(source)
        if self._preprocess_cfg.get("resize_mode") == "shortest":
            # only the middle square will be used: cut a very long picture before it is enlarged, not after
            short = min(picture.size)
            left, top = (max(0, side // 2 - 2 * short) for side in picture.size)
            picture = picture.crop((left, top, picture.width - left, picture.height - top))
        return self._preprocess(picture)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Encode sentences into the space of the pictures.

        A text that is longer than the model can read is cut; one printed line says so.

        Parameters
        ----------
        texts : sequence of M str

        Returns
        -------
        ndarray of float32, shape (M, dim)
            Rows of length 1.

        Raises
        ------
        ValueError
            There are no texts, or one of them is empty.
        TypeError
            `texts` is a single string instead of a list of them.
        """
        if isinstance(texts, str):
            raise TypeError(f"expected a list of texts: write [{texts!r}]")
        texts = list(texts)
        if not texts:
            raise ValueError("there are no texts to encode: the list is empty")
        for number, text in enumerate(texts):
            if not text.strip():
                raise ValueError(f"text number {number} is empty: write what the picture should show")
        tokens = self._tokenizer(texts)
        longest = tokens.shape[1] - 2  # beside the marks of beginning and end
        count = getattr(self._tokenizer, "encode", lambda text: [])
        cut = sum(len(count(text)) > longest for text in texts if len(text) > longest)
        if cut:
            print(
                f"{cut} of {len(texts)} texts are longer than this model reads ({longest} word pieces): the end is cut"
            )
        with torch.inference_mode():
            parts = [_unit(self._model.encode_text(part.to(self.device))) for part in tokens.split(batch_size)]
        return np.concatenate(parts)


def _unit(features: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()


@contextmanager
def _matmul_precision(precision: str) -> Iterator[None]:
    """Let matrix products be calculated in bfloat16 ("medium") where the hardware does that faster, or not."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _folded(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model with every batch norm made part of the convolution before it: same vectors, half the time.

    A network that does not follow this pattern is returned as it is.
    """
    if not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()):
        return model
    folded = copy.deepcopy(model)
    for parent in list(folded.modules()):
        children = list(parent.named_children())
        for (name, convolution), (norm_name, norm) in pairwise(children):
            if isinstance(convolution, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(convolution, norm))
                setattr(
                    parent, norm_name, getattr(norm, "act", torch.nn.Identity())
                )  # timm's norms hold the activation
    size = model.visual.image_size
    picture = torch.rand(1, 3, *(size if isinstance(size, tuple) else (size, size)))
    with torch.inference_mode():
        before, after = model.encode_image(picture, normalize=True), folded.encode_image(picture, normalize=True)
    return folded if torch.allclose(before, after, atol=1e-4) else model


def _fingerprint(model: torch.nn.Module, preprocess: dict, tokenizer: object) -> str:
    digest = hashlib.sha256()
    digest.update(re.sub(r" at 0x\w+", "", str(model)).encode())
    digest.update(repr(sorted(preprocess.items())).encode())
    digest.update(f"{type(tokenizer).__name__} {getattr(tokenizer, 'context_length', None)}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def load(name: str = "auto", device: str | None = None) -> Encoder:
    """Load a model and say, for ``auto``, which it is and why.

    Parameters
    ----------
    name : str
        - ``"bundled"``: the small model that comes with the course;
        - ``"auto"``: ViT-B-32 if its weights are in the local cache or the model hub answers within two seconds,
          else the bundled model. ``CLIP_MODEL`` in the environment goes before;
        - ``"ViT-B-32/laion2b_s34b_b79k"``: any model and tag of ``open_clip.list_pretrained()``;
        - ``"hf-hub:org/repository"``: a model on the hub in open_clip's format;
        - ``"local-dir:folder"``: such a folder on this computer.
    device : str, optional
        ``"cuda"``, ``"mps"`` or ``"cpu"``; the first of them that this computer has, if not given.

    Returns
    -------
    Encoder

    Raises
    ------
    ValueError
        The name or tag is unknown (near matches are listed), the folder is none of open_clip's, or its weights do
        not fit its configuration.
    ConnectionError
        The weights are not in the cache and could not be fetched whole. Not with ``auto``: it prints why and takes
        the bundled model.
    """
    where = torch.device(device or _best_device())
    if name == "auto":
        name = os.environ.get("CLIP_MODEL") or "auto"
    if name != "auto":
        return _load(name, where)
    if hub.in_cache(_repository(AUTO), _WEIGHTS):
        reason = "its weights are in the cache"
    elif not hub.answers(_repository(AUTO), _WEIGHTS):
        print(
            f"Model: bundled (the hub does not answer within {hub.PROBE_SECONDS:.0f} s). With internet, "
            f'clip.load("{AUTO}") fetches a larger one.'
        )
        return _load("bundled", where)
    else:
        print(f'Fetching {AUTO} from the hub (605 MB, once). To do without it, stop this and use clip.load("bundled").')
        reason = "fetched from the hub"
    try:
        encoder = _load(AUTO, where)
    except (ConnectionError, ValueError) as error:
        print(f"Model: bundled ({error}).")
        return _load("bundled", where)
    print(f'Model: {AUTO} ({reason}). clip.load("bundled") takes the small one that comes with the course.')
    return encoder


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _load(name: str, device: torch.device) -> Encoder:
    if name == "bundled":
        return _from_folder(name, BUNDLED, device)
    if name.startswith("local-dir:"):
        return _from_folder(name, Path(name.removeprefix("local-dir:")), device)
    if name.startswith("hf-hub:"):
        config, _ = (hub.fetch(name.removeprefix("hf-hub:").strip("/"), files) for files in ((_CONFIG,), _WEIGHTS))
        return _from_folder(name, config.parent, device)
    model_name, _, tag = name.partition("/")
    _check_known(model_name, tag)
    published = open_clip.get_pretrained_cfg(model_name, tag)
    weights = str(hub.fetch(_repository(name), _WEIGHTS)) if published.get("hf_hub") else tag
    model = open_clip.create_model(
        model_name,
        weights,
        force_quick_gelu=bool(published.get("quick_gelu")),
        force_preprocess_cfg={key: published[key] for key in ("mean", "std", "interpolation") if key in published},
        require_pretrained=True,
    )
    return Encoder(name, model, open_clip.get_tokenizer(model_name), device)


def _from_folder(name: str, folder: Path, device: torch.device) -> Encoder:
    if not (folder / _CONFIG).is_file():
        raise ValueError(f"{folder} is no folder of open_clip's: {_CONFIG} is missing")
    address = f"local-dir:{folder}"
    try:
        model = open_clip.create_model(address, require_pretrained=True)
    except Exception as error:  # whatever a damaged file makes safetensors, torch or json raise
        raise ValueError(f"the model in {folder} cannot be loaded: {str(error).splitlines()[0]}") from error
    return Encoder(name, model, open_clip.get_tokenizer(address), device)


def _check_known(model_name: str, tag: str) -> None:
    """Raise, naming near matches, unless open_clip knows published weights of this name."""
    models = sorted({model for model, _ in open_clip.list_pretrained()})
    if model_name not in models:
        near = get_close_matches(model_name, models, n=5, cutoff=0.4)
        raise ValueError(
            f"unknown model {model_name!r}: " + (f"did you mean {', '.join(near)}? " if near else "")
            + "Or use bundled, auto, hf-hub:… or local-dir:…"
        )  # fmt: skip
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    if tag not in tags:
        raise ValueError(
            f"{model_name} has no weights called {tag!r}: choose {model_name}/ and one of {', '.join(tags)}"
        )


def _repository(name: str) -> str:
    """Return the hub's repository behind ``model/tag`` or ``hf-hub:…``."""
    if name.startswith("hf-hub:"):
        return name.removeprefix("hf-hub:").strip("/")
    return open_clip.get_pretrained_cfg(*name.split("/"))["hf_hub"].strip("/")
