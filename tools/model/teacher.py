"""The teacher of the text tower: sentence embeddings, and where they belong in the image space."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from model.words import WIDEST, Words
from safetensors.torch import load_file
from tokenizers import Tokenizer


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale every row to length one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)


class Teacher:
    """All-MiniLM-L6-v2 in plain torch: mean over the tokens' states, scaled to length one.

    Parameters
    ----------
    folder
        Holds ``model.safetensors`` and ``tokenizer.json``.
    cache
        A ``.npz`` file that keeps the embeddings between runs.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
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
        if cache.is_file():
            kept = np.load(cache)
            self._known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts into (N, 384) unit rows, each different text once."""
        new = sorted({text for text in texts if text not in self._known})
        if new:
            began = time.perf_counter()
            self._known.update(zip(new, self._encode(new), strict=True))
            print(f"teacher: {len(new):,} texts in {time.perf_counter() - began:.0f} s", flush=True)
            if len(new) > 1000:
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
    """Where texts belong in the image space.

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


def align(words: Words, teacher: Teacher, prototypes: np.ndarray) -> Alignment:
    """Map the teacher's sentence embeddings onto the prototypes of ImageNet's classes.

    Parameters
    ----------
    words
        Names, definitions and hierarchy.
    teacher
        Embeds sentences.
    prototypes
        (1000, 256) unit rows.
    """
    classes = {synset: i for i, synset in enumerate(words.classes)}
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

    total: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(prototypes.shape[1]))
    for row, synset in enumerate(words.concepts):
        for name in words.names[synset]:
            senses = words.senses.get(name.lower(), [])
            rank = senses.index(synset) if synset in senses else 2
            seen = 4.0 if synset in classes else 2.0 if synset in coarse else 1.0
            total[name] += by_concept[row] * seen * 0.5**rank
    return Alignment(by_concept, {name: unit(row) for name, row in total.items()}, says)
