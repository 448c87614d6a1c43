"""Bring a well-known data set into the course's layout, DIR/train/<class>/… and DIR/test/<class>/… .

    python tools/fetch.py imagenette --to DIR

torchvision downloads, checks the checksum and shows the progress; this program only puts the files in place.
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from torchvision import datasets

Picture = tuple[str, str, Path | Image.Image]
"""The split (train or test), the class, and the picture: a file to copy, or the image itself."""


def _imagenette(cache: Path) -> Iterator[Picture]:
    for split, theirs in (("train", "train"), ("test", "val")):
        data = datasets.Imagenette(cache, split=theirs, size="160px", download=split == "train")
        for path, index in data._samples:
            yield split, data.classes[index][0], Path(path)


def _oxford_pets(cache: Path) -> Iterator[Picture]:
    for split, theirs in (("train", "trainval"), ("test", "test")):
        data = datasets.OxfordIIITPet(cache, split=theirs, download=split == "train")
        for path, index in zip(data._images, data._labels, strict=True):
            yield split, data.classes[index], Path(path)


def _caltech101(cache: Path) -> Iterator[Picture]:
    data = datasets.Caltech101(cache, download=True)
    for name in data.categories:  # there is no official split: every sixth picture of a class is a query
        for i, path in enumerate(sorted(Path(data.root, "101_ObjectCategories", name).glob("*.jpg"))):
            yield "test" if i % 6 == 1 else "train", name, path


def _fashion_mnist(cache: Path) -> Iterator[Picture]:
    for split in ("train", "test"):
        data = datasets.FashionMNIST(cache, train=split == "train", download=True)
        for pixels, index in zip(data.data.numpy(), data.targets.tolist(), strict=True):
            yield split, data.classes[index], Image.fromarray(pixels)


DATASETS = {
    "imagenette": _imagenette,  # 10 classes of ImageNet, 13,394 photographs, 94 MB
    "oxford-pets": _oxford_pets,  # 37 breeds of cats and dogs, 7,349 photographs, 800 MB
    "caltech101": _caltech101,  # 101 classes of objects, 9,144 pictures, 130 MB; needs `pip install gdown`
    "fashion-mnist": _fashion_mnist,  # 10 kinds of clothes, 70,000 grey pictures of 28 × 28, 30 MB
}


def fetch(name: str, folder: str | Path) -> None:
    """Download the data set `name` and lay it out below `folder`.

    Parameters
    ----------
    name : str
        One of `DATASETS`.
    folder : str or Path
        Made if it is not there. The archive is kept in ``folder/.download``, so that a second try is quick.

    Raises
    ------
    ValueError
        `name` is unknown, or `folder` already holds a data set.
    ConnectionError
        The download failed, broke off or did not match its checksum. ``train`` and ``test`` appear only when
        they are complete.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}: choose one of {', '.join(sorted(DATASETS))}")
    folder = Path(folder).resolve()
    if (folder / "train").exists() or (folder / "test").exists():
        raise ValueError(f"{folder} already holds train/ or test/: remove them or choose another folder")
    cache, partial = folder / ".download", folder / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    try:
        count = 0
        for split, label, picture in DATASETS[name](cache):
            target = partial / split / label.replace("/", "-")
            target.mkdir(parents=True, exist_ok=True)
            if isinstance(picture, Image.Image):
                picture.save(target / f"{count:05d}.png")
            else:
                shutil.copyfile(picture, target / picture.name)
            count += 1
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        for unpacked in (p for p in cache.iterdir() if p.is_dir()):
            shutil.rmtree(unpacked, ignore_errors=True)  # it may be half unpacked; whole archives stay
        if isinstance(error, OSError | RuntimeError):
            raise ConnectionError(
                f"{name} could not be fetched ({error}): check the connection and run the same command again"
            ) from error
        raise
    for split in ("train", "test"):
        (partial / split).rename(folder / split)
    partial.rmdir()
    print(f"{count} pictures in {folder}: set BRING_YOUR_OWN to this folder in notebook 00")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what goes wrong is said in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(DATASETS), help="the data set (it is downloaded: this needs internet)")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to make")
    options = parser.parse_args(arguments)
    try:
        fetch(options.name, options.to)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
