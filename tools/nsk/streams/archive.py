"""Backups of streams: directories with ``backup.json`` and ``stream.tar.s2``, as the ``nats`` command has them.

An archive is a tar file in the framing of S2, as the server makes it, and is neither unpacked nor packed here. A backup
appears under its name when all of it is on the disk. Before one is restored it is held to the digest that was noted
with it, or else its frames are counted; afterwards the stream is held to the state that it had.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from nats.aio.msg import Msg

from tools.nsk.errors import NskError
from tools.nsk.files import DIRECTORY_MODE, FILE_MODE, sync_directory
from tools.nsk.streams.api import Document, JetStream, check_name, sending

NOTE: Final = "backup.json"
ARCHIVE: Final = "stream.tar.s2"
CHUNK: Final = 128 * 1024

_WAITING: Final = 64
"""Chunks that are told to have arrived before they are written."""
_UNDER_WAY: Final = 8
_SILENCE: Final = 30.0
_LONG: Final = 3600.0
"""Seconds that a server may take to put a stream together."""
_END: Final = "204"
_IDENTIFIER: Final = 0xFF
_IDENTIFIERS: Final = (b"S2sTwO", b"sNaPpY")
_HELD: Final = ("messages", "first_seq", "last_seq", "num_deleted")

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive of a stream. ``state`` is that of the stream, in the names of the API."""

    stream: str
    bytes: int
    sha256: str
    config: Document
    state: Document


@contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """A directory to fill, which gets its name when the block ends well, and else is gone. Raises NskError."""
    if directory.exists():
        raise NskError(f"`{directory}` already exists", remedy="name a directory that is not there yet")
    temporary = directory.with_name(f".{directory.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.mkdir(mode=DIRECTORY_MODE)
        yield temporary
        sync_directory(temporary)
        temporary.rename(directory)
        sync_directory(directory.parent)
    except OSError as error:
        raise NskError(
            f"`{directory}` cannot be written: {error.strerror}", remedy="make room there, or name another place"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to fill, whose content is on the disk when the block ends. Raises OSError."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as sink:
        yield sink
        sink.flush()
        os.fsync(sink.fileno())


def write_note(archive: Archive, directory: Path) -> None:
    """Note what an archive is of, and its digest. Raises OSError."""
    noted = {"bytes": archive.bytes, "sha256": archive.sha256}
    note = {"config": archive.config, "state": archive.state, "archive": noted}
    with new_file(directory / NOTE) as sink:
        sink.write(json.dumps(note, indent=2).encode())


async def snapshot(
    streams: JetStream,
    stream: str,
    sink: BinaryIO,
    *,
    consumers: bool = True,
    check: bool = False,
    started: Callable[[int], Progress | None] = lambda _: None,
) -> Archive:
    """Write the archive of a stream into a file. ``check`` lets the server look at every message first.

    ``started`` is told how many bytes the stream has, and gives what is to be told how many have come. Raises NskError.
    """
    client, queue = streams.link.client, asyncio.Queue[Msg](_WAITING)
    inbox = client.new_inbox()

    async def arrived(message: Msg) -> None:
        # Told here, since a server gives up on who is silent for two seconds, as a slow disk may be.
        await queue.put(message)
        if message.reply:
            await client.publish(message.reply)

    subscription = await streams.link.done(client.subscribe(inbox, cb=arrived), inbox)
    try:
        asked = {"deliver_subject": inbox, "no_consumers": not consumers, "jsck": check, "chunk_size": CHUNK}
        answer = await streams.ask(f"STREAM.SNAPSHOT.{stream}", asked, seconds=_LONG if check else 0.0)
        progress = started(int(answer["state"]["bytes"]))
        size, digest = 0, hashlib.sha256()
        while True:
            try:
                message = await streams.link.done(asyncio.wait_for(queue.get(), _SILENCE))
            except TimeoutError:
                raise NskError(
                    f"the server has sent nothing for {_SILENCE:g} s; no backup was made", remedy="do it again"
                ) from None
            if not message.data:
                break
            digest.update(message.data)
            await asyncio.to_thread(sink.write, message.data)
            size += len(message.data)
            if progress:
                progress(size)
    finally:
        await subscription.unsubscribe()
    headers = message.headers or {}
    status = headers.get("Status", _END)
    if status != _END or not size:
        words = f"{status} {headers.get('Description', '')}".strip()
        raise NskError(
            f"the server ended the backup before it was whole: {words}",
            remedy="do it again; the server's log says more",
        )
    return Archive(stream, size, digest.hexdigest(), answer["config"], answer["state"])


def read_archive(directory: Path) -> Archive:
    """A backup as it lies there, which is whole. Raises NskError."""
    note = _note(directory / NOTE)
    config, state = note.get("config"), note.get("state")
    if not isinstance(config, dict) or not isinstance(state, dict) or not isinstance(config.get("name"), str):
        raise NskError(f"`{directory / NOTE}` tells of no stream", remedy="name the directory of a backup")
    noted = note.get("archive") or {}
    path = directory / ARCHIVE
    try:
        with path.open("rb") as source:
            if not noted:
                _count_frames(source, path)
                source.seek(0)
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            size = source.tell()
    except OSError as error:
        raise NskError(f"`{path}` cannot be read: {error.strerror}") from None
    if noted and (noted.get("sha256") != digest or noted.get("bytes") != size):
        raise NskError(
            f"`{path}` is not what was written there: {size} of {noted.get('bytes')} bytes, and another digest",
            remedy="take another copy of the backup; nothing was restored",
        )
    return Archive(check_name(config["name"], "stream"), size, digest, config, state)


def _note(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise NskError(f"`{path}` cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise NskError(f"`{path}` is not a JSON object: {error}", remedy="take another copy of the backup") from None
    return found if isinstance(found, dict) else {}


def _count_frames(source: BinaryIO, path: Path) -> None:
    """Walk over the frames of S2, each of which tells its length: what was cut off ends inside one. Raises NskError."""
    end, place = path.stat().st_size, 0
    while place < end:
        source.seek(place)
        head = source.read(4)
        length = int.from_bytes(head[1:4], "little")
        is_first = place == 0
        if len(head) < 4 or (is_first and (head[0] != _IDENTIFIER or source.read(length) not in _IDENTIFIERS)):
            break
        place += 4 + length
    if place != end or not end:
        raise NskError(
            f"`{path}` is no whole archive of a stream", remedy="take another copy of the backup; nothing was restored"
        )


async def restore(
    streams: JetStream, archive: Archive, source: BinaryIO, progress: Progress | None = None
) -> Document:
    """Make the stream of an archive, which must not be there; what the server says of it. Raises NskError."""
    asked = {"config": archive.config, "state": archive.state}
    answer = await streams.ask(f"STREAM.RESTORE.{archive.stream}", asked)
    where, size = str(answer["deliver_subject"]), 0
    async with sending(streams, _UNDER_WAY) as send:
        while data := await asyncio.to_thread(source.read, CHUNK):
            await send(where, data)
            size += len(data)
            if progress:
                progress(size)
    info = await streams.tell(where, seconds=_LONG)
    differs = [
        f"{name} {info['state'].get(name, 0)}, not {archive.state.get(name, 0)}"
        for name in _HELD
        if info["state"].get(name, 0) != archive.state.get(name, 0)
    ]
    if differs:
        raise NskError(
            f"stream {archive.stream} was restored, and is not what it was: {'; '.join(differs)}",
            remedy=f"look at it: nsk tool stream info {archive.stream}; limits of age remove what got too old",
        )
    return info
