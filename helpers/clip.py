"""One encoder over open_clip: pictures and sentences in, unit vectors out, whichever model is behind it.

The model that comes with the course is the default; any other is named by the reader. What lies in a file is encoded
once by each model, and remembered.
"""

import hashlib
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext, suppress
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from helpers.backroom.place import memory_folder, must_exist
from helpers.backroom.weights import fetch
from helpers.images import DATA, QUIET, Gallery, PictureSource, UnreadableImageError, facts, open_rgb, spelled

with tqdm(desc="Loading PyTorch (10 s or more the first time)", bar_format="{desc}", leave=False, disable=QUIET):
    import open_clip
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2

    from helpers.backroom.speed import folded_norms, on_all_cores

BUNDLED = DATA / "clip"
"""The course's own small model, in open_clip's folder format."""

Picture = PictureSource | Image.Image
_Answers = dict[object, np.ndarray | Exception]
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin")


def load(name: str | None = None, device: str | None = None) -> "Encoder":
    """Load a model.

    Parameters
    ----------
    name : str, optional
        - ``"bundled"``: the small model that comes with the course. It is the default, unless ``CLIP_MODEL`` in the
          environment names another;
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
    FileNotFoundError
        The bundled model is not in the course's data folder.
    ConnectionError
        The weights are not on this computer, and could not be fetched whole.
    """
    name = name or os.environ.get("CLIP_MODEL") or "bundled"
    address, options = name, {}
    if name == "bundled":
        address = f"local-dir:{must_exist(BUNDLED)}"
    elif name.startswith("hf-hub:"):
        repository = name.removeprefix("hf-hub:").strip("/")
        address = f"local-dir:{fetch(repository, ('open_clip_config.json',)).parent}"
        fetch(repository, _WEIGHTS)
    elif not name.startswith("local-dir:"):
        names = ["/".join(published) for published in open_clip.list_pretrained()]
        if name not in names:
            near = ", ".join(get_close_matches(name, names, n=8, cutoff=0.4)) or "ViT-B-32/laion2b_s34b_b79k"
            there = "bundled, local-dir:…, hf-hub:… and the names in open_clip.list_pretrained()"
            raise ValueError(f"unknown model {name!r}: there are {there}, for instance {near}")
        address, tag = name.split("/")
        about = open_clip.get_pretrained_cfg(address, tag)
        weights = str(fetch("/".join(about["hf_hub"].split("/")[:2]), _WEIGHTS))
        activation = about.get("quick_gelu", False)
        options = {"pretrained": weights, "force_quick_gelu": activation, "force_preprocess_cfg": about}
    try:  # open_clip reads safetensors, and of a pickled file nothing but numbers
        model = open_clip.create_model(address, require_pretrained=True, **options)
        tokenizer = open_clip.get_tokenizer(address)
    except Exception as error:  # whatever a damaged file makes safetensors, torch or json raise
        raise ValueError(f"the model {name} cannot be loaded: {shorten(str(error), 300)}") from error
    fastest = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return Encoder(name, model, tokenizer, torch.device(device or fastest))


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
    """

    def __init__(self, name: str, model: torch.nn.Module, tokenizer: open_clip.SimpleTokenizer, device: torch.device):
        self.name = name
        self.device = device
        self._preprocess_cfg = open_clip.get_model_preprocess_cfg(model)
        self._preprocess = image_transform_v2(PreprocessCfg(**self._preprocess_cfg), is_train=False)
        self._tokenizer = tokenizer
        self.fingerprint = _fingerprint(model, self._preprocess_cfg, tokenizer)
        is_convolutional = any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
        self._batch_size = 32 if device.type != "cpu" else 4 if is_convolutional else 16  # measured to be fastest
        self._model = folded_norms(model.eval()).to(device, memory_format=torch.channels_last)
        # graphics cards take one batch after the other; a processor calculates as many as it has cores
        self._turn = nullcontext() if device.type == "cpu" else threading.Lock()
        self.dim = self.encode_texts(["a"]).shape[1]

    def __repr__(self) -> str:
        return f"{self.name}: {self.dim} dimensions, on {self.device.type}"

    def encode_images(self, pictures: Gallery | Iterable[Picture], batch_size: int | None = None) -> np.ndarray:
        """Encode pictures, or remember their vectors: what lies in a file is encoded once by the same model.

        Vectors are kept by the content of the file, in the folder `CACHE`, while this goes on: a run that is stopped
        loses no more than its last pictures. Where they cannot be kept, a printed line says so. PIL pictures and
        binary files are encoded each time. Memory holds as many batches as there are cores, and the result.

        Parameters
        ----------
        pictures : Gallery, or iterable of paths, binary files or PIL images
            N pictures.
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
            There is nothing to encode, or some pictures cannot be opened: all others have been encoded and remembered
            then, and the message says how many these are, and of up to five, which and why.
        TypeError
            `pictures` is a single picture instead of a list of them.
        """
        if isinstance(pictures, str | Path | Image.Image) or hasattr(pictures, "read"):
            raise TypeError(f"expected a list of pictures: write [{pictures!r}]")
        sources = pictures.paths if isinstance(pictures, Gallery) else list(pictures)
        if not sources:
            raise ValueError("there are no pictures to encode: the list is empty")
        with ThreadPoolExecutor() as pool:
            keys = list(pool.map(_key, sources))
        recalled = remembered(self.fingerprint, [key for key in keys if isinstance(key, str)])
        answers: _Answers = {key: vector for key, vector in recalled.items() if len(vector) == self.dim}
        answers |= {key: key for key in keys if isinstance(key, Exception)}
        new = [item for item in dict(zip(keys, sources, strict=True)).items() if item[0] not in answers]
        answers |= self._encode(new, batch_size or self._batch_size)
        reasons = [str(answers[key]) for key in keys if isinstance(answers[key], Exception)]
        if reasons:
            told = f"{len(reasons)} of {len(keys)} pictures cannot be opened: " if len(keys) > 1 else ""
            raise UnreadableImageError(told + "; ".join(reasons[:5]) + ("; …" if len(reasons) > 5 else ""))
        return np.stack([answers[key] for key in keys])

    def _encode(self, new: Sequence[tuple[object, Picture]], batch_size: int) -> _Answers:
        """Return the vector of each picture, or why it has none, by its content; remember those of files meanwhile."""
        batches = [new[start : start + batch_size] for start in range(0, len(new), batch_size)]
        encoded = on_all_cores(self._encode_batch, batches, self.device)
        answers, unkept, works = {}, {}, True
        with tqdm(total=len(new), desc="Encoding", unit=" pictures", delay=1, leave=False, disable=QUIET) as progress:
            try:
                for batch in encoded:
                    answers |= batch
                    unkept |= {key: batch[key] for key in batch if isinstance(key, str)}
                    if works and len(unkept) >= 32:
                        works, unkept = _remember(self.fingerprint, unkept), {}
                    progress.update(len(batch))
            finally:  # also of a run that is stopped
                encoded.close()
                if works and unkept:
                    _remember(self.fingerprint, unkept)
        return answers

    def _encode_batch(self, batch: Sequence[tuple[object, Picture]]) -> _Answers:
        pixels, answers = {}, {}
        for key, source in batch:
            try:
                opened = self._pixels(source)
                if _key(source) != key:
                    raise UnreadableImageError(f"{spelled(str(source))} was changed while it was read")
                pixels[key] = opened
            except (ValueError, OSError) as error:
                answers[key] = error
        if pixels:
            with self._turn, torch.inference_mode():
                stacked = torch.stack(list(pixels.values())).to(self.device, memory_format=torch.channels_last)
                answers |= zip(pixels, _unit(self._model.encode_image(stacked)), strict=True)
        return answers

    def _pixels(self, source: Picture) -> torch.Tensor:
        picture = open_rgb(source)
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
            too_long = f"{cut} of {len(texts)} texts are longer than this model reads"
            print(f"{too_long} ({longest} word pieces): the end is cut")
        with torch.inference_mode():
            parts = [_unit(self._model.encode_text(part.to(self.device))) for part in tokens.split(batch_size)]
        return np.concatenate(parts)


def _key(source: Picture) -> str | int | Exception:
    """Return the hash of a picture's file, or the error that opening it raises; for any other picture, its identity."""
    if not isinstance(source, str | Path):
        return id(source)
    try:
        return facts(Path(source)).hash
    except (ValueError, OSError) as error:
        return error


def _unit(features: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()


def _fingerprint(model: torch.nn.Module, preprocess: dict, tokenizer: object) -> str:
    digest = hashlib.sha256()
    digest.update(re.sub(r" at 0x\w+", "", str(model)).encode())
    digest.update(repr(sorted(preprocess.items())).encode())
    digest.update(f"{type(tokenizer).__name__} {getattr(tokenizer, 'context_length', None)}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


# ----------------------------------------------------------------------------------------------------------- the memory


_FILE = "embeddings.sqlite3"


CACHE = memory_folder(_FILE)
"""The folder in which vectors are remembered."""


def remembered(fingerprint: str, hashes: Iterable[str]) -> dict[str, np.ndarray]:
    """Return what is remembered of some pictures: the vectors that one model has made of them.

    Parameters
    ----------
    fingerprint : str
        The model's.
    hashes : iterable of str
        The pictures', as `images.facts` tells them.

    Returns
    -------
    dict of str to ndarray of float32, shape (dim,)
        By hash, rows of length 1. Nothing of a picture that the model has not seen, or where nothing can be read.
    """
    found = {}
    with suppress(sqlite3.Error, OSError, ValueError, TypeError), _database() as database:
        for picture in hashes:
            of_one = "SELECT vector FROM vectors WHERE model = ? AND picture = ?"
            for (stored,) in database.execute(of_one, (fingerprint, picture)):
                found[picture] = np.frombuffer(stored, "<f4")
    return {picture: vector for picture, vector in found.items() if _is_unit(vector)}


def _remember(fingerprint: str, answers: _Answers) -> bool:
    """Keep vectors by hash, and return whether that was possible; where it was not, a printed line says why."""
    vectors = {picture: vector for picture, vector in answers.items() if _is_unit(vector)}
    rows = [(fingerprint, picture, vector.astype("<f4").tobytes()) for picture, vector in vectors.items()]
    try:
        with _database() as database:
            database.executemany("REPLACE INTO vectors VALUES (?, ?, ?)", rows)
    except (sqlite3.Error, OSError) as error:
        print(f"the embeddings were computed and cannot be kept for the next time: {error}")
        return False
    return True


@contextmanager
def _database() -> Iterator[sqlite3.Connection]:
    """Open the file of vectors; one that is found to be damaged is put aside, so that the next use makes a new one."""
    CACHE.mkdir(parents=True, exist_ok=True)
    file = CACHE / _FILE
    try:
        with closing(sqlite3.connect(file, timeout=5)) as database, database:
            columns = "model TEXT, picture TEXT, vector BLOB, PRIMARY KEY (model, picture)"
            database.execute(f"CREATE TABLE IF NOT EXISTS vectors ({columns})")
            yield database
    except sqlite3.DatabaseError as error:
        if type(error) is sqlite3.DatabaseError:  # damaged; locked, full or read-only would be one of its subclasses
            aside = file.replace(file.with_suffix(".damaged"))
            print(f"the file of remembered embeddings is damaged ({error}): put aside as {aside}, and made anew")
        raise


def _is_unit(vector: np.ndarray | Exception) -> bool:
    return isinstance(vector, np.ndarray) and bool(abs(vector @ vector - 1) < 1e-3)  # not of NaN
