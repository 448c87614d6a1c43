"""Rebuild data/train, data/test, data/licences and data/SOURCES.csv from three Debian packages, byte for byte.

    python tools/build_data.py [--debs DIR] [--to data] [--reserve build/reserve]

tools/selection.csv names the pictures and their classes: every one of them was looked at. Some of them are a reserve,
for a second set of queries: ``SOURCES.csv`` lists it, and only ``--reserve`` writes it. The packages are fetched with
``apt-get download`` (on Debian 12) unless DIR holds them already, and their checksums are compared. Needs ``dpkg-deb``.
The bytes depend on the versions of Pillow in constraints.txt.
"""

import argparse
import csv
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from helpers.images import open_rgb

sys.path.insert(0, str(Path(__file__).parent))
from rcc import read_rcc

HERE = Path(__file__).resolve().parent
LONGEST_SIDE = 320
ON_BLACK = {"planet"}  # cut out of photographs of space
SMALLEST_GALLERY = 12  # pictures of a class
RESERVE = 3  # at most, of a class


@dataclass(frozen=True)
class Package:
    """A Debian package, the folder of its pictures, and the licence of what is in it unless a file says more."""

    name: str
    version: str
    sha256: str
    root: str
    licence: str
    author: str


PACKAGES = {
    package.name: package
    for package in (
        Package(
            "gcompris-qt-data",
            "3.1-2",
            "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
            "usr/share/gcompris-qt/rcc",
            "GPL-3.0-or-later",
            "GCompris developers",
        ),
        Package(
            "tuxpaint-stamps-default",
            "2022.06.04-1",
            "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
            "usr/share/tuxpaint/stamps",
            "GPL-2.0-only",
            "contributors to Tux Paint Stamps",
        ),
        Package(
            "openclipart-png",
            "1:0.18+dfsg-19",
            "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
            "usr/share/openclipart/png",
            "CC-PDDC",
            "not stated (openclipart.org)",
        ),
    )
}
# Art4Apps' drawings carry no README inside the container; Debian's copyright file of the package states this.
WORDS_SAMPLE = {"author": "Art4Apps project, www.art4apps.org", "licence": "CC-BY-SA-3.0", "url": ""}


@dataclass(frozen=True)
class Chosen:
    """One line of selection.csv: a picture in a package, the class it was given, and its series if it has one."""

    label: str
    kind: str
    package: str
    path: str
    series: str

    @property
    def draw(self) -> str:
        """A fixed number that nobody chose, to decide which pictures of a class become queries."""
        return hashlib.sha256(f"{self.package}/{self.path}".encode()).hexdigest()


def read_selection() -> list[Chosen]:
    """List the pictures of the course and its reserve."""
    with (HERE / "selection.csv").open(encoding="utf-8", newline="") as lines:
        return [Chosen(*row) for row in list(csv.reader(lines))[1:]]


def unpack(debs: Path, to: Path) -> None:
    """Fetch the packages where `debs` lacks them, check them, and unpack each into a folder below `to`."""
    for package in PACKAGES.values():
        pattern = f"{package.name}_*.deb"
        if not list(debs.glob(pattern)):
            subprocess.run(["apt-get", "download", f"{package.name}={package.version}"], cwd=debs, check=True)
        (deb,) = debs.glob(pattern)
        if hashlib.sha256(deb.read_bytes()).hexdigest() != package.sha256:
            raise ValueError(f"{deb} is not version {package.version} of {package.name}")
        subprocess.run(["dpkg-deb", "-x", deb, to / package.name], check=True)
    root = to / "gcompris-qt-data" / PACKAGES["gcompris-qt-data"].root
    for container in sorted(root.glob("*.rcc")):
        for path, content in read_rcc(container):
            if path.endswith((".webp", ".png", "README")):
                target = root / container.stem / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)


def split(pictures: list[Chosen]) -> dict[str, list[Chosen]]:
    """Draw the queries and the reserve of a class by lot, photographs and drawings in the proportion of the class.

    A series is never divided between gallery and queries: whoever is drawn takes the whole of it along, and what is
    more than wanted goes to the reserve.
    """
    spare = len(pictures) - SMALLEST_GALLERY
    queries = 4 if spare >= 8 else 3 if spare >= 3 else 2
    photos = sum(p.kind == "photo" for p in pictures)
    of_photos = min(queries, max(round(queries * photos / len(pictures)), photos >= 3))
    wanted = {"test": queries, "reserve": min(RESERVE, spare - queries)}
    series: dict[str, list[Chosen]] = defaultdict(list)
    for picture in sorted(pictures, key=lambda p: p.draw):
        series[picture.series or picture.path].append(picture)
    parts: dict[str, list[Chosen]] = {"test": [], "reserve": []}
    for part in ("test", "reserve"):
        share = of_photos if part == "test" else round(wanted[part] * photos / len(pictures))
        for kind, number in (("photo", share), ("drawing", wanted[part] - share)):
            for name in [name for name, members in series.items() if members[0].kind == kind]:
                missing = number - sum(p.kind == kind for p in parts[part])
                if missing <= 0 or sum(map(len, parts.values())) + len(series[name]) > spare:
                    continue
                members = series.pop(name)
                parts[part] += members[:missing]
                parts["reserve"] += members[missing:]
    drawn = parts["test"] + parts["reserve"]
    return {"train": [p for p in pictures if p not in drawn]} | parts


def on_white_page(picture: Image.Image) -> bool:
    """Say whether at least half of the outermost pixels are white, as around a drawing or a cut-out."""
    grey = picture.convert("L").point(lambda value: 255 * (value >= 247))
    edges = [(0, 0, grey.width, 1), (0, grey.height - 1, *grey.size)]
    edges += [(0, 0, 1, grey.height), (grey.width - 1, 0, *grey.size)]
    white = sum(sum(grey.crop(edge).histogram()[128:]) for edge in edges)
    return white >= grey.width + grey.height


def without_margins(picture: Image.Image) -> Image.Image:
    """Cut off what is empty and nearly white around a picture, but for a narrow rim."""
    ink = picture.convert("L").point(lambda grey: 255 * (grey < 247)).getbbox()
    if not ink:
        return picture
    margin = round(0.03 * max(picture.size))
    left, top = max(0, ink[0] - margin), max(0, ink[1] - margin)
    return picture.crop((left, top, min(picture.width, ink[2] + margin), min(picture.height, ink[3] + margin)))


def convert(source: Path, label: str) -> Image.Image:
    """Return the picture upright in RGB, no side longer than LONGEST_SIDE; what stands on white, on a square page."""
    if label in ON_BLACK:
        with Image.open(source) as opened:
            cut_out = opened.convert("RGBA")
        cut_out = cut_out.crop(cut_out.getchannel("A").point(lambda alpha: 255 * (alpha > 8)).getbbox())
        picture = Image.new("RGB", (round(cut_out.width * 1.1), round(cut_out.height * 1.1)))
        picture.paste(cut_out, ((picture.width - cut_out.width) // 2, (picture.height - cut_out.height) // 2), cut_out)
    else:
        picture = without_margins(open_rgb(source))
        if on_white_page(picture):
            picture = ImageOps.pad(picture, (max(picture.size),) * 2, color="white")
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return picture


def save(picture: Image.Image, target: Path) -> Path:
    """Write `picture` as PNG where that is the smaller file (flat drawings), as JPEG elsewhere."""
    png, jpeg = target.with_suffix(".png"), target.with_suffix(".jpg")
    picture.save(jpeg, quality=88, optimize=True)
    picture.save(png, optimize=True)
    small, large = sorted((png, jpeg), key=lambda path: path.stat().st_size)
    large.unlink()
    return small


def gcompris_credits(root: Path) -> dict[str, dict[str, str]]:
    """Read the README files in the containers: author, licence and address of every file that they list."""
    credits: dict[str, dict[str, str]] = {}
    for readme in sorted(root.rglob("README")):
        entry: dict[str, list[str]] = defaultdict(list)
        for line in [*readme.read_text(encoding="utf-8").splitlines(), ""]:
            key, separator, value = line.partition(":")
            if separator and key in ("Copyright", "License", "Source", "Comment", "Comments", "Files"):
                field = key
                entry[field].append(value.strip())
            elif re.fullmatch(r"[\w./*-]+\.\w+", line.strip()):  # some entries lack the heading "Files:"
                entry["Files"].append(line.strip())
            elif line.strip():
                entry[field].append(line.strip())
            else:
                addresses = re.findall(r"https?://\S+", " ".join(entry["Source"] + entry["Comment"]))
                licence = " ".join(entry["License"]).strip()
                for name in entry["Files"]:
                    credits[f"{readme.parent.relative_to(root).as_posix()}/{name}"] = {
                        "author": re.sub(r"\bCopyright ", "", "; ".join(filter(None, entry["Copyright"]))),
                        "licence": {"Public Domain": "public domain", "Public domain": "public domain"}.get(
                            licence, licence.replace(" ", "-")
                        ),
                        "url": addresses[0].rstrip(",") if addresses else "",
                    }
                entry = defaultdict(list)
    return credits


def credit(chosen: Chosen, source: Path, credits: dict[str, dict[str, str]]) -> dict[str, str]:
    """Find title, author, licence and address of a picture."""
    package = PACKAGES[chosen.package]
    found = {"title": source.stem, "author": package.author, "licence": package.licence, "url": ""}
    if chosen.package == "gcompris-qt-data":
        found |= WORDS_SAMPLE if "/words_sample/" in chosen.path else credits.get(chosen.path, {})
    elif chosen.package == "tuxpaint-stamps-default":
        text = source.with_suffix(".txt")
        if text.exists():
            found["title"] = text.read_text(encoding="utf-8").splitlines()[0].strip()
    else:
        with Image.open(source) as opened:
            opened.load()
            info = {key: str(value).strip() for key, value in opened.info.items()}
        found["title"] = info.get("Title") or found["title"]
        found["author"] = info.get("Author") or found["author"]
    return {key: " ".join(value.split()) for key, value in found.items()}


def build(debs: Path, to: Path, reserve: Path | None) -> None:
    """Write ``to/train``, ``to/test``, ``to/SOURCES.csv`` and `reserve`; what was there before is replaced."""
    classes: dict[str, list[Chosen]] = defaultdict(list)
    for chosen in read_selection():
        classes[chosen.label].append(chosen)
    for folder in (to / "train", to / "test", *([reserve] if reserve else [])):
        shutil.rmtree(folder, ignore_errors=True)
    (to / "licences").mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = Path(scratch)
        unpack(debs, unpacked)
        for name in PACKAGES:
            shutil.copyfile(unpacked / name / "usr/share/doc" / name / "copyright", to / "licences" / f"{name}.txt")
        credits = gcompris_credits(unpacked / "gcompris-qt-data" / PACKAGES["gcompris-qt-data"].root)
        for label, pictures in sorted(classes.items()):
            for part, members in split(pictures).items():
                home = (reserve or unpacked / part) if part == "reserve" else to / part
                folder = home / label
                folder.mkdir(parents=True)
                for chosen in members:
                    source = unpacked / chosen.package / PACKAGES[chosen.package].root / chosen.path
                    number = pictures.index(chosen) + 1
                    target = save(convert(source, label), folder / f"{label}_{number:02d}")
                    rows.append(
                        {
                            "file": f"{part}/{label}/{target.name}",
                            "class": label,
                            "split": part,
                            "kind": chosen.kind,
                            "package": chosen.package,
                            "version": PACKAGES[chosen.package].version,
                            "path": chosen.path,
                            **credit(chosen, source, credits),
                            "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
                        }
                    )
    with (to / "SOURCES.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["file"]))
    of = Counter((row["split"], row["kind"]) for row in rows)
    print(f"{len(classes)} classes below {to}:", ", ".join(f"{n} {kind}s in {part}" for (part, kind), n in of.items()))


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--debs", type=Path, default=HERE.parent / "build" / "debs", help="the Debian packages")
    parser.add_argument("--to", type=Path, default=HERE.parent / "data")
    parser.add_argument("--reserve", type=Path, help="a folder for the pictures in reserve")
    options = parser.parse_args()
    options.debs.mkdir(parents=True, exist_ok=True)
    build(options.debs, options.to, options.reserve)


if __name__ == "__main__":
    main()
