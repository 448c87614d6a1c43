"""Read a Qt resource file (.rcc), the container in which GCompris keeps its pictures.

The layout is that of Qt's own compiler, ``rcc``: a header, a tree of nodes, the names, the data, all big-endian.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_COMPRESSED_ZLIB, _DIRECTORY, _COMPRESSED_ZSTD = 1, 2, 4


def read_rcc(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give the path inside the container and the content of every file in it."""
    raw = path.read_bytes()
    magic, version, tree, data, names = struct.unpack_from(">4s4I", raw)
    if magic != b"qres":
        raise ValueError(f"{path} is no Qt resource file")
    node_size = 22 if version >= 2 else 14

    def name_at(offset: int) -> str:
        length, _hash = struct.unpack_from(">HI", raw, names + offset)
        start = names + offset + 6
        return raw[start : start + 2 * length].decode("utf-16-be")

    def content_at(offset: int, flags: int) -> bytes:
        (size,) = struct.unpack_from(">I", raw, data + offset)
        content = raw[data + offset + 4 : data + offset + 4 + size]
        if flags & _COMPRESSED_ZSTD:
            raise ValueError(f"{path} uses zstd, which this reader does not know")
        return zlib.decompress(content[4:]) if flags & _COMPRESSED_ZLIB else content

    def walk(node: int, folder: str) -> Iterator[tuple[str, bytes]]:
        name_offset, flags, first, second = struct.unpack_from(">IHII", raw, tree + node * node_size)
        if flags & _DIRECTORY:
            inside = f"{folder}{name_at(name_offset)}/" if node else ""
            for child in range(second, second + first):
                yield from walk(child, inside)
        else:  # first holds territory and language, second the offset of the data
            yield folder + name_at(name_offset), content_at(second, flags)

    yield from walk(0, "")
