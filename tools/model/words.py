"""ImageNet's names and definitions from timm, and WordNet's hierarchy of nouns around them."""

import csv
import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import timm

WIDEST = 200  # a coarse word that covers more ImageNet classes than this says little about how a thing looks


@dataclass(eq=False)
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

    def coarser(self, phrase: str) -> list[str]:
        """List coarse words for what a phrase names ("rodent" for "grey squirrel"), the nearest first, four at most."""
        below = self.covered
        person = self.senses["person"][0]
        last = phrase.rsplit(" ", 1)[-1]
        for name in (phrase, last, last.removesuffix("s")):
            for sense in self.senses.get(name, [])[:3]:
                levels = self.ancestors(sense)
                if not any(person in level for level in levels):
                    above = [s for level in levels[:7] for s in level if s in self.names and 2 <= below[s] <= WIDEST]
                    return [self.names[s][0].lower() for s in above[:4]]
        return []

    @cached_property
    def covered(self) -> Counter[str]:
        """Count how many of the 1,000 classes each synset above them covers."""
        return Counter(above for synset in self.classes for level in self.ancestors(synset) for above in level)

    def likeness(self) -> np.ndarray:
        """Compare the 1,000 classes by the narrowest synset that covers both.

        Returns
        -------
        ndarray, shape (1000, 1000)
            1 for a class and itself; 0 for two that have only the root in common.
        """
        below = self.covered
        above = [{s for level in self.ancestors(c) for s in level} for c in self.classes]
        column = {synset: i for i, synset in enumerate(below)}
        tells = np.zeros((len(above), len(column)))
        for row, synsets in enumerate(above):
            for synset in synsets:
                tells[row, column[synset]] = 1 - math.log(below[synset]) / math.log(len(above))
        alike = np.stack([(tells * (row > 0)).max(1) for row in tells])
        np.fill_diagonal(alike, 1)
        return alike


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
