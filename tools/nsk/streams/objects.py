"""Object stores in the form of ADR-20: a stream ``OBJ_<bucket>`` with the chunks of each object and a note about it.

Objects go and come chunk by chunk, and are never held as a whole. What is read is held to the digest of what was put.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, Final

from nats.nuid import NUID

from tools.nsk.errors import NskError
from tools.nsk.streams.api import NO_STREAM, ApiError, Document, JetStream, sending
from tools.nsk.streams.keyvalue import check_bucket
from tools.nsk.streams.reading import document_of, reading

PREFIX: Final = "OBJ_"
CHUNK: Final = 128 * 1024

_ROLLUP: Final = {"Nats-Rollup": "sub"}
_DIGEST: Final = "SHA-256="
_UNDER_WAY: Final = 8
"""Chunks that are sent before the first of them is acknowledged."""
_NO_TIME: Final = "0001-01-01T00:00:00Z"
"""The time of a note is that of its message; clients write none into it."""

Progress = Callable[[int], None]


def bucket_config(name: str, *, ttl: int = 0) -> Document:
    """The configuration of the stream of an object store. ``ttl`` in nanoseconds. Raises NskError."""
    check_bucket(name)
    return {
        "name": f"{PREFIX}{name}",
        "subjects": [f"$O.{name}.C.>", f"$O.{name}.M.>"],
        "max_age": ttl,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }


class ObjectBucket:
    """One object store. A note is a document of ADR-20: ``name``, ``size``, ``chunks``, ``digest`` and so on."""

    def __init__(self, streams: JetStream, name: str, info: Document) -> None:
        self.name = name
        self.info = info
        self._streams = streams
        self._stream: str = info["config"]["name"]
        self._direct = bool(info["config"].get("allow_direct"))

    @classmethod
    async def open(cls, streams: JetStream, name: str) -> ObjectBucket:
        """A store that is there. Raises NskError."""
        check_bucket(name)
        try:
            return cls(streams, name, await streams.info(f"{PREFIX}{name}"))
        except ApiError as error:
            if error.number == NO_STREAM:
                raise NskError(
                    f"there is no object store {name}", remedy="nsk tool object ls shows what there is"
                ) from None
            raise

    async def note(self, name: str) -> Document | None:
        """What is known of an object, also of one that was deleted; None where there never was one."""
        found = await self._streams.message(self._stream, last_of=self._note_subject(name), direct=self._direct)
        return None if found is None else self._read(found.payload, found.time)

    async def present(self, name: str) -> Document:
        """What is known of an object that is there. Raises NskError."""
        note = await self.note(name)
        if note is None or note.get("deleted"):
            raise NskError(
                f"object store {self.name} has no object {name}", remedy=f"nsk tool object ls {self.name} shows them"
            )
        return note

    async def notes(self) -> list[Document]:
        """What is known of all objects that are there, by their names."""
        found = [
            self._read(message.payload, message.time)
            async for message in reading(
                self._streams, self._stream, [f"$O.{self.name}.M.>"], deliver="last_per_subject"
            )
        ]
        return sorted((note for note in found if not note.get("deleted")), key=lambda note: str(note["name"]))

    async def get(self, name: str, sink: BinaryIO, progress: Progress | None = None) -> Document:
        """Write an object into a file; its note. Raises NskError where it is not there or not what was put."""
        note = await self.present(name)
        link = (note.get("options") or {}).get("link")
        if link:
            if not link.get("name"):
                raise NskError(
                    f"{name} stands for the object store {link.get('bucket')}, not for an object",
                    remedy=f"nsk tool object ls {link.get('bucket')} shows its objects",
                )
            other = await ObjectBucket.open(self._streams, link["bucket"])
            target = await other.present(link["name"])
            if (target.get("options") or {}).get("link"):
                raise NskError(
                    f"{name} stands for {link['name']}, which stands for another", remedy="name the object itself"
                )
            return await other.get(link["name"], sink, progress)
        size, digest = 0, hashlib.sha256()
        if note.get("size"):
            async for message in reading(self._streams, self._stream, [self._chunk_subject(note["nuid"])]):
                digest.update(message.payload)
                await asyncio.to_thread(sink.write, message.payload)
                size += len(message.payload)
                if progress:
                    progress(size)
        stored = str(note.get("digest") or "")
        if size != note.get("size", 0) or (stored and not _same(stored, digest.digest())):
            raise NskError(
                f"{name} is not what was put there: {size} of {note.get('size', 0)} bytes, and another digest",
                remedy="put it again; somebody may have put another just now, or chunks are gone",
            )
        return note

    async def put(
        self,
        name: str,
        source: BinaryIO,
        *,
        description: str = "",
        headers: dict[str, list[str]] | None = None,
        metadata: dict[str, str] | None = None,
        chunk: int = CHUNK,
        progress: Progress | None = None,
    ) -> Document:
        """Keep what a file has under a name, in place of what was there; its note. Raises NskError."""
        before = await self.note(name)
        if before and (before.get("options") or {}).get("link"):
            raise NskError(f"{name} stands for another object", remedy="delete it first: nsk tool object del")
        own = NUID().next().decode()
        # What a failure leaves behind goes again, so that nothing takes room that no note tells of.
        try:
            size, chunks, digest = await self._send(source, self._chunk_subject(own), chunk, progress)
            note: Document = {"name": name}
            more = {"description": description, "headers": headers, "metadata": metadata}
            note |= {key: value for key, value in more.items() if value}
            note |= {
                "options": {"max_chunk_size": chunk},
                "bucket": self.name,
                "nuid": own,
                "size": size,
                "mtime": _NO_TIME,
                "chunks": chunks,
                "digest": f"{_DIGEST}{base64.urlsafe_b64encode(digest).decode()}",
            }
            await self._publish_note(note)
        except BaseException:
            # What went wrong is told, not that the server is not there to have the chunks dropped.
            with suppress(NskError):
                await asyncio.shield(self._drop_chunks(own))
            raise
        if before and before.get("nuid") and not before.get("deleted"):
            await self._drop_chunks(before["nuid"])
        return await self.present(name)

    async def _send(
        self, source: BinaryIO, subject: str, chunk: int, progress: Progress | None
    ) -> tuple[int, int, bytes]:
        size, chunks, digest = 0, 0, hashlib.sha256()
        async with sending(self._streams, _UNDER_WAY) as send:
            while data := await asyncio.to_thread(source.read, chunk):
                digest.update(data)
                await send(subject, data)
                size, chunks = size + len(data), chunks + 1
                if progress:
                    progress(size)
        return size, chunks, digest.digest()

    async def delete(self, name: str) -> Document:
        """Drop an object; a note stays that it is gone. Raises NskError."""
        note = await self.present(name)
        gone = {**note, "deleted": True, "size": 0, "chunks": 0, "digest": "", "mtime": _NO_TIME}
        await self._publish_note(gone)
        await self._drop_chunks(note["nuid"])
        return gone

    async def _publish_note(self, note: Document) -> None:
        await self._streams.publish(self._note_subject(note["name"]), json.dumps(note).encode(), _ROLLUP)

    async def _drop_chunks(self, nuid: str) -> None:
        await self._streams.ask(f"STREAM.PURGE.{self._stream}", {"filter": self._chunk_subject(nuid)})

    def _note_subject(self, name: str) -> str:
        if not name:
            raise NskError("an object has a name", remedy="name it: --name NAME")
        return f"$O.{self.name}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"

    def _chunk_subject(self, nuid: str) -> str:
        return f"$O.{self.name}.C.{nuid}"

    def _read(self, payload: bytes, time: str) -> Document:
        note = document_of(payload)
        if note is None or not isinstance(note.get("name"), str):
            raise NskError(
                f"object store {self.name} holds a note that is none", remedy="look at it: nsk tool stream view"
            )
        return {**note, "mtime": time}


def _same(written: str, digest: bytes) -> bool:
    """Whether a digest as notes have it is this one; clients differ in the case of its name and in padding."""
    name, _, value = written.partition("=")
    if name.upper() != _DIGEST.rstrip("="):
        return False
    return value.rstrip("=") == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def size_of(note: dict[str, Any]) -> int:
    """The bytes of an object."""
    return int(note.get("size") or 0)
