"""The tar inside the frames: what stands before each file of an archive, and how the files are read as bytes come."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Final

from broker.jetstream.snapshot.problems import ArchiveError, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

_UNIT: Final = tarfile.BLOCKSIZE
END: Final = bytes(2 * _UNIT)
"""What stands behind the last file."""
_MODE: Final = 0o600
_OWNER: Final = "nats"
_LARGEST_RECORDS: Final = 1 << 16
"""Bytes of what stands before a file whose name or size is told apart (POSIX.1-2001, pax)."""

File = tuple[str, bytes]


def written(name: str, content: bytes, seconds: int) -> bytes:
    """A file as it stands in an archive. ``seconds`` is when it was made, in seconds since 1970."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = _MODE
    info.mtime = seconds
    info.uname = info.gname = _OWNER
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % _UNIT)


def files(blocks: Iterator[bytes | Step], check: Callable[[str, int], None]) -> Generator[File | Step, None, None]:
    """The files of an archive. ``check`` sees name and size before content is waited for, and raises what it will.

    Raises ArchiveError, also where the archive ends before it says so.
    """
    waiting = bytearray()
    told: dict[str, str] = {}
    wanted: tuple[str, int] | None = None
    for block in blocks:
        if isinstance(block, Step):
            yield block
            continue
        waiting += block
        while True:
            if wanted is None:
                if len(waiting) < _UNIT:
                    break
                head = bytes(waiting[:_UNIT])
                del waiting[:_UNIT]
                if not any(head):
                    return
                kind, name, size = _head(head)
                if kind == tarfile.XHDTYPE:
                    if size > _LARGEST_RECORDS:
                        raise ArchiveError("a header of the archive is larger than any may be")
                    name = ""
                else:
                    name, size = told.get("path", name), _size(told.get("size", str(size)))
                    told = {}
                    check(name, size)
                wanted = (name, size)
            name, size = wanted
            padded = size + -size % _UNIT
            if len(waiting) < padded:
                break
            content = bytes(waiting[:size])
            del waiting[:padded]
            wanted = None
            if name:
                yield name, content
            else:
                told = _records(content)
        yield Step.PAUSE
    raise ArchiveError("the archive is cut off")


def _head(head: bytes) -> tuple[bytes, str, int]:
    """The kind of a file, its name and its size. Raises ArchiveError."""
    try:
        info = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        raise ArchiveError("archive/tar: invalid tar header") from None
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.XHDTYPE) or info.size < 0 or not info.name:
        raise ArchiveError("the archive holds something other than files")
    return info.type, info.name, info.size


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ArchiveError("archive/tar: invalid tar header")
    return int(text)


def _records(content: bytes) -> dict[str, str]:
    """What is told apart of a file: lines of a length, a name and a value. Raises ArchiveError."""
    found = {}
    while content:
        digits, _, _ = content.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        line = content[len(digits) + 1 : length]
        if not line.endswith(b"\n") or b"=" not in line:
            raise ArchiveError("archive/tar: invalid tar header")
        name, _, value = line[:-1].partition(b"=")
        found[name.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        content = content[length:]
    return found
