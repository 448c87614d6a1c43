"""What was learned, and what remembered: train again without any picture whose texts name one of half the classes."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from model.image_tower import folded, normalised, view
from model.teacher import unit

from helpers import evaluate, images, metrics

if TYPE_CHECKING:
    from build_clip import Trainer

KINDS = {
    "airplane": "plane helicopter aircraft jet",
    "bear": "panda teddy",
    "butterfly": "moth",
    "cat": "kitten lion tiger leopard jaguar cheetah",
    "coin": "penny cent money",
    "dog": "puppy poodle wolf fox",
    "fish": "shark blowfish goldfish",
    "flower": "rose tulip sunflower daisy hibiscus lily blossom bouquet lotus hyacinth daffodil",
    "hammer": "mallet",
    "insect_or_spider": "arthropod bug bee wasp fly ant beetle ladybug mosquito cricket cockroach dragonfly scorpion",
    "musical_instrument": "guitar violin trumpet drum piano keyboard saxophone harp flute banjo accordion maraca",
    "planet": "saturn jupiter mars earth moon sun venus",
    "pliers_or_wrench": "plier tweezer spanner nutcracker",
    "rabbit_or_rodent": "bunny hare mouse rat hamster squirrel chipmunk beaver",
    "road_vehicle": "vehicle car automobile taxi bus truck lorry van ambulance tractor",
    "tower": "lighthouse skyscraper",
    "vegetable": "carrot potato tomato onion garlic pepper corn cucumber eggplant broccoli pumpkin mushroom lettuce",
    "whale_or_seal": "dolphin orca walrus",
}  # what the classes that are left out are called besides


def words_of(label: str) -> list[str]:
    """List the words of a class: "cat", or "pliers" and "wrench", or "instrument" of "musical instrument"."""
    return [part.rsplit("_", 1)[-1] for part in label.split("_or_")] + KINDS.get(label, "").split()


@torch.inference_mode()
def features(network: torch.nn.Module, gallery: images.Gallery) -> np.ndarray:
    """Run a network over the pictures of a gallery: (N, 1280) float32."""
    rows = []
    for path in gallery.paths:
        x = normalised(np.stack([view(np.asarray(images.open_rgb(path)))]))
        rows.append(network(x.contiguous(memory_format=torch.channels_last)).numpy()[0])
    return np.stack(rows)


def leave_out(trainer: "Trainer", pictures: np.ndarray, data: Path) -> None:
    """Print the figures of half the classes: as the trainer is, trained without their words, and untrained.

    Parameters
    ----------
    trainer
        As it is after the training on all pictures; changed.
    pictures
        The pictures that it has learned from.
    data
        The course's pictures; every other class of theirs, in the order of the alphabet, is left out.
    """
    train, test = images.load_gallery(data / "train"), images.load_gallery(data / "test")
    labels = train.classes[::2]
    tells = re.compile(rf"\b({'|'.join(word for label in labels for word in words_of(label))})(e?s)?\b")
    names = np.array([bool(tells.search(text)) for text in trainer.texts.texts])
    kept = np.array([i for i in pictures if not names[trainer.texts.of_picture[i]].any()])
    print(f"left out: {len(labels)} classes, {len(pictures) - len(kept):,} pictures: {', '.join(labels)}")
    network, asked = folded(trainer.network), np.isin(test.labels, labels)
    seen, wanted = features(network, train), features(network, test)[asked]

    def tell(title: str) -> None:
        gallery, queries = (unit(rows @ trainer.head.T).astype(np.float32) for rows in (seen, wanted))
        named = trainer.says([label.replace("_", " ") for label in labels]).astype(np.float32)
        cells = []
        for vectors, theirs in ((queries, test.labels[asked]), (named, np.array(labels))):
            order, _ = metrics.rank(vectors, gallery, metric="cosine", k=5)
            at_5 = evaluate.precision_at_k(train.labels[order], theirs, 5)
            cells.append("{:.3f} [{:.3f}, {:.3f}]".format(at_5.mean(), *evaluate.interval(at_5)))
        print(f"{title}: {asked.sum()} queries: image → image P@5 {cells[0]}, text → image P@5 {cells[1]}", flush=True)

    tell("seen")
    trainer.train_head(kept)
    tell("never seen")
    trainer.untrained()
    tell("before any training")
