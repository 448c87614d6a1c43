"""Drawings with words: find them in the packages, clean their words, and open their pictures once."""

import gzip
import hashlib
import html
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import resvg_py
from build_data import LONGEST_SIDE, PACKAGES, without_margins
from model.words import Words
from PIL import Image

from helpers.images import open_rgb

SIDE = 256
ALIKE = 0.9  # correlation of two small grey pictures above which they count as the same drawing
EMOJI = ("twemoji", "noto", "fluent-emoji", "fluent-emoji-flat", "openmoji")
# Folders of openclipart with hundreds of pictures of one design, and how many of each are taken
AT_MOST = {
    "shapes/": 40,
    "special/": 20,
    "computer/icons/": 80,
    "computer/buttons/": 10,
    "buttons/": 10,
    "recreation/games/cards/": 40,
    "signs_and_symbols/flags/": 60,
    "signs_and_symbols/map_symbols/": 20,
    "signs_and_symbols/led/": 4,
    "people/stickmen/": 20,
    "geography/": 40,
    "logos/": 20,
}
_NOTHING = (
    "hash unsorted icon icons clipart clip art image images picture drawing vector svg png theme action actions "
    "application applications mimetype mimetypes filesystem collection part special misc other new remix cartoon "
    "public domain the a an of and in on with by for from at to black white color colour colored small big large "
    "outline symbol symbols sign signs example examples stock generic emblem aiga etiquette linux menu"
)
SAYS_NOTHING = frozenset(_NOTHING.split())
NO_EMOJI = re.compile(
    r"(light|medium|dark)(-skin-tone)?$|-skin-tone|-(light|medium|dark)\b|^(wo)?m[ae]n-|^(family|couple|kiss|flag|keycap|"
    r"squared|japanese-.*-button|circled|input|regional|person-)|-button|oclock|-thirty|-(circle|square)$|^\w$|^(aries|taurus|"
    r"gemini|cancer|leo|virgo|libra|scorpio|sagittarius|capricorn|aquarius|pisces|ophiuchus)$"
)


@dataclass(frozen=True)
class Pair:
    """A picture and its words.

    Attributes
    ----------
    source, path
        The package, and the picture's path (or an emoji's name) in it.
    name
        What the picture shows, in a few words.
    words
        Keywords and folders, the most particular first.
    """

    source: str
    path: str
    name: str
    words: tuple[str, ...]


def texts_of(pair: Pair, words: Words) -> tuple[list[str], np.ndarray]:
    """Give the texts that may stand beside a picture, each once, and how often each is drawn (sums to 1)."""
    texts = [pair.name, *([f"{pair.name}, {', '.join(pair.words[:3])}"] if pair.words else []), *pair.words[:5]]
    texts = list(dict.fromkeys([*texts, *words.coarser(pair.name)]))
    weights = np.ones(len(texts))
    weights[0] = 3
    return texts, weights / weights.sum()


def lot(text: str) -> str:
    """Return a fixed number for a text that nobody chose."""
    return hashlib.sha256(text.encode()).hexdigest()


def clean(text: str, nouns: dict, names: Iterable[str] = ()) -> str:
    """Reduce a title or keyword to its English words, in lower case; an empty text if no noun is left.

    Parameters
    ----------
    text
        As people wrote it.
    nouns
        WordNet's nouns.
    names
        Words to be dropped: those of the author's name.
    """
    text = re.sub(r"\S+@\S+|https?:\S+|HASH\(.*?\)|\d+", " ", html.unescape(text))
    found = [w for w in re.findall(r"[a-z]+(?:'s)?", re.sub("[_-]", " ", text.lower())) if w not in names]
    found = [w for w in found if len(w) > 2 or w in ("a", "of", "in", "on")]
    nameable = [w in nouns or w.removesuffix("s") in nouns or w.removesuffix("es") in nouns for w in found]
    if not found or len(found) > 8 or sum(nameable) < 0.5 * len(found):
        return ""
    found = found[1:] if found[0] in ("a", "the") else found
    return " ".join(found) if any(w not in SAYS_NOTHING for w in found) else ""


def bare_stem(path: str, author: str = "") -> str:
    """Return the words of a file's name without numbers and without the author's name, which may be cut short."""
    slug = re.sub(r"\W+", "_", author.lower()).strip("_")
    parts = [p for p in re.split(r"[_\s]+", Path(path).stem.lower()) if not re.fullmatch(r"\d+\w?", p)]
    for i in range(1, len(parts)):
        if len(rest := "_".join(parts[i:])) > 2 and slug.startswith(rest):
            parts = parts[:i]
            break
    return re.sub(r"\d+\w?$", "", " ".join(parts)).strip(" -")


def series(source: str, path: str) -> str:
    """Return what series-mates have in common: the folder, and the first word of the file's name."""
    folder, _, file = path.rpartition("/")
    first = re.search(r"[a-z]+", file.lower())
    return f"{source}/{folder}/{first.group() if first else file}"


def openclipart(packages: Path, words: Words) -> Iterator[Pair]:
    """List Open Clip Art's drawings: titles and keywords from the SVG's metadata, pixels from the PNG."""
    root = packages / "openclipart-png" / PACKAGES["openclipart-png"].root
    svg = packages / "openclipart-svg/usr/share/openclipart/svg"
    taken = defaultdict(int)
    for png in sorted(root.rglob("*.png"), key=lambda path: lot(path.name)):
        path = png.relative_to(root).as_posix()
        capped = next((folder for folder in AT_MOST if path.startswith(folder)), "")
        if "-theme/" in path or (capped and taken[capped] >= AT_MOST[capped]):
            continue
        text = ""
        for source in (svg / path).with_suffix(".svg"), (svg / path).with_suffix(".svgz"):
            if source.is_file():
                raw = source.read_bytes()
                text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8", "replace")
        text = re.search(r"<metadata.*?</metadata>", text, re.DOTALL)
        text = text.group() if text else ""
        title = re.search(r"<dc:title>(.*?)</dc:title>", text, re.DOTALL)
        author = re.search(r"<dc:creator>.*?<dc:title>(.*?)</dc:title>", text, re.DOTALL)
        author = html.unescape(author.group(1).strip()) if author else ""
        subject = re.search(r"<dc:subject>.*?</dc:subject>", text, re.DOTALL)
        keywords = re.findall(r"<rdf:li[^>]*>(.*?)</rdf:li>", subject.group(), re.DOTALL) if subject else []
        stem = bare_stem(path, author)
        of_author = set(re.findall(r"[a-z]+", author.lower()))
        name = clean(title.group(1), words.senses, of_author) if title else ""
        name = name or clean(stem, words.senses, of_author)
        folders = [part.rstrip("s") for part in reversed(path.split("/")[:-1])]
        rest = [clean(each, words.senses, of_author) for each in [stem, *keywords, *folders]]
        rest = tuple(dict.fromkeys(each for each in rest if each and each != name))
        if name or rest:
            taken[capped] += 1
            yield Pair("openclipart-png", path, name or rest[0], rest)


def stamps(packages: Path, words: Words) -> Iterator[Pair]:
    """List Tux Paint's stamps, with the English line of their description."""
    root = packages / "tuxpaint-stamps-default" / PACKAGES["tuxpaint-stamps-default"].root
    for picture in sorted([*root.rglob("*.png"), *root.rglob("*.svg")]):
        path = picture.relative_to(root).as_posix()
        described = picture.with_suffix(".txt")
        line = described.read_text(encoding="utf-8", errors="replace").splitlines()[:1] if described.is_file() else []
        stem = bare_stem(path)
        name = clean(" ".join(line), words.senses) or clean(stem, words.senses)
        rest = [clean(each.rstrip("s"), words.senses) for each in [stem, *reversed(path.split("/")[:-1])]]
        if name and not re.search("symbols/(alphabets|math|shapes)", path):
            yield Pair("tuxpaint-stamps-default", path, name, tuple(w for w in rest if w and w != name))


def gcompris(packages: Path, words: Words) -> Iterator[Pair]:
    """List GCompris' pictures that are named after what they show."""
    root = packages / "gcompris-qt-data" / PACKAGES["gcompris-qt-data"].root
    for picture in sorted([*root.rglob("*.webp"), *root.rglob("*.png")]):
        path = picture.relative_to(root).as_posix()
        stem = bare_stem(path)
        name = clean(stem, words.senses)
        folder = clean(picture.parent.name.rstrip("s"), words.senses)
        if name and not re.search("background|paintings|alphabets|numbers", path):
            yield Pair("gcompris-qt-data", path, name, (folder,) if folder else ())


def emoji(packages: Path, source: str) -> Iterator[Pair]:
    """List an emoji set's drawings, without variants of skin, signs of the zodiac, clock faces, letters and flags."""
    about = packages / source / "package"
    groups = json.loads((about / "metadata.json").read_text()).get("categories", {})
    other = {name for group, names in groups.items() if re.match("Flags|Extras", group) for name in names}
    for name in sorted(json.loads((about / "icons.json").read_text())["icons"]):
        if not NO_EMOJI.search(name) and name not in other:
            said = name.replace("-", " ")
            short = said.removesuffix(" face").removesuffix(" symbol")
            yield Pair(source, name, said, (short,) if short != said else ())


def find_pairs(packages: Path, words: Words) -> list[Pair]:
    """List all pairs; of pictures with the same file name in several folders of a package, the first by lot."""
    found = [*openclipart(packages, words), *stamps(packages, words), *gcompris(packages, words)]
    found += [pair for source in EMOJI for pair in emoji(packages, source)]
    seen = set()
    return [p for p in found if not ((key := (p.source, p.path.rsplit("/", 1)[-1], p.name)) in seen or seen.add(key))]


def _open(packages: Path, source: str, path: str, svg: str | None) -> tuple[np.ndarray, tuple[int, int]]:
    """Open one picture without its empty margins, at most SIDE pixels a side; (0, 0) if it cannot be opened."""
    canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
    try:
        file = packages / source / PACKAGES[source].root / path if source in PACKAGES else Path(path)
        if svg or file.suffix == ".svg":
            how = {"svg_string": svg} if svg else {"svg_path": str(file)}
            drawn = resvg_py.svg_to_bytes(**how, width=LONGEST_SIDE, background="#ffffff")
            picture = open_rgb(Image.open(BytesIO(drawn)))
        else:
            picture = open_rgb(file)
        picture = without_margins(picture)
        for side in (LONGEST_SIDE, SIDE):  # first to the size of the course's own pictures
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    except Exception as error:  # a damaged picture is left out, whatever the reader makes of it
        print(f"left out: {source}/{path}: {error}", flush=True)
        return canvas, (0, 0)
    canvas[: picture.height, : picture.width] = np.asarray(picture)
    return canvas, (picture.height, picture.width)


def open_pictures(packages: Path, pictures: list[tuple[str, str]], to: Path) -> tuple[np.ndarray, np.ndarray]:
    """Open every (source, path) into ``to``: (N, SIDE, SIDE, 3) uint8 on disk, and (N, 2) heights and widths."""
    icons = {}
    for source in EMOJI:
        read = json.loads((packages / source / "package/icons.json").read_text())
        for name, icon in read["icons"].items():
            box = icon.get("width", read.get("width", 16)), icon.get("height", read.get("height", 16))
            icons[source, name] = (
                '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="0 0 {box[0]} {box[1]}">{icon["body"]}</svg>'
            )
    pixels = np.lib.format.open_memmap(to, "w+", np.uint8, (len(pictures), SIDE, SIDE, 3))
    sizes = np.zeros((len(pictures), 2), int)
    sources, paths = zip(*pictures, strict=True)
    with ProcessPoolExecutor(2) as pool:
        svg = [icons.get(each) for each in pictures]
        opened = pool.map(_open, [packages] * len(pictures), sources, paths, svg, chunksize=32)
        for row, (canvas, size) in enumerate(opened):
            pixels[row], sizes[row] = canvas, size
    pixels.flush()
    return pixels, sizes


def fingerprints(pixels: np.ndarray, sizes: np.ndarray, side: int = 24) -> np.ndarray:
    """Reduce pictures to (N, 2, side²) grey rows of mean 0 and length 1, as they are and mirrored."""
    rows = np.zeros((len(pixels), 2, side, side), np.float32)
    for row, (height, width) in enumerate(sizes):
        if height:
            grey = Image.fromarray(pixels[row, :height, :width]).convert("L")
            small = np.asarray(grey.resize((side, side), Image.Resampling.BOX), np.float32)
            rows[row] = small, small[:, ::-1]
    rows = rows.reshape(len(rows), 2, -1)
    rows -= rows.mean(-1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6)


def not_ours(
    pairs: Sequence[Pair], marks: np.ndarray, selection: Sequence[tuple[str, str]], selected: np.ndarray
) -> np.ndarray:
    """Find the pairs that have nothing to do with the course's pictures.

    Parameters
    ----------
    pairs, marks
        N pairs and their `fingerprints`.
    selection, selected
        (package, path) of the course's pictures and the reserve, and their fingerprints.

    Returns
    -------
    ndarray of bool, shape (N,)
        False for a picture of the course, for one that looks almost like it (mirrored or recoloured too), and for
        one of the same series.
    """
    chosen, mates = set(selection), {series(*each) for each in selection}
    by_name = np.array([(p.source, p.path) in chosen or series(p.source, p.path) in mates for p in pairs])
    ours = selected[:, 0].T
    alike = np.maximum(np.abs(marks[:, 0] @ ours).max(1), np.abs(marks[:, 1] @ ours).max(1))
    return ~by_name & (alike < ALIKE)
