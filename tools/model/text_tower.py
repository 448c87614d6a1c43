"""The text tower: open_clip's own small transformer learns to say where the image tower puts what a text names."""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from model.image_tower import DIM, INPUT
from model.teacher import Alignment, Teacher, unit
from model.words import Words
from open_clip.tokenizer import SimpleTokenizer

CONTEXT = 32
CONFIG = {
    "model_cfg": {
        "embed_dim": DIM,
        "vision_cfg": {
            "timm_model_name": "tf_efficientnet_lite0",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": INPUT,
        },
        "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 256, "heads": 4, "layers": 2},
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "squash",
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


def new_model(network: torch.nn.Module, head: np.ndarray, teacher: Teacher) -> torch.nn.Module:
    """Build the dual encoder: the image tower finished and locked, the text tower with the teacher's word pieces."""
    config = CONFIG["model_cfg"]
    model = open_clip.CLIP(
        config["embed_dim"],
        open_clip.CLIPVisionCfg(**config["vision_cfg"]),
        open_clip.CLIPTextCfg(**config["text_cfg"]),
    )
    model.visual.trunk.load_state_dict(network.state_dict())
    model.visual.head.proj.weight.data = torch.tensor(head, dtype=torch.float32)
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
        Names, the sentence encoder, and the targets that the classifier's rows and the hierarchy give.
    says
        Where the image tower's own text side puts texts: names to (N, 256) unit rows.
    pictured : dict of str to ndarray
        Of the words of the drawings: where they belong, (256,) unit rows.
    """

    def __init__(
        self,
        words: Words,
        teacher: Teacher,
        alignment: Alignment,
        says: Callable[[Sequence[str]], np.ndarray],
        pictured: dict[str, np.ndarray],
    ) -> None:
        self.words = words
        self.names = sorted(alignment.by_name)
        row = {name: i for i, name in enumerate(self.names)}
        lower = {name.lower(): name for name in self.names}
        others, plurals = everyday_words(words)
        self.plurals = [(plural, row[lower[single]]) for plural, single in plurals.items()]
        self.others = others
        named = unit(np.stack([alignment.by_name[name] for name in self.names]) + says(self.names))
        for name, target in pictured.items():
            if name in lower:
                named[row[lower[name]]] = unit(named[row[lower[name]]] + target)
        first = [words.names[synset][0] for synset in words.concepts]
        concepts = unit(alignment.by_concept + says(first))
        self.drawn = sorted(pictured)
        drawn = np.stack([pictured[name] for name in self.drawn])
        self.targets = np.concatenate([named, says(others), concepts, drawn])
        self.first_other = len(self.names)
        self.first_concept = len(self.names) + len(others)
        self.first_drawn = self.first_concept + len(concepts)
        known = {s for c in words.classes for s in [c, *(a for level in words.ancestors(c)[:4] for a in level)]}
        self.often = sorted({row[n] for s in words.concepts if s in known for n in words.names[s]})
        self.often += [row[lower[name]] for name in self.drawn if name in lower]

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
        for row, name in enumerate(self.drawn, self.first_drawn):
            pairs += [(name, row), (f"a photo of a {name}", row), (some(name), row)]
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
