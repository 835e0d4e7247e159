"""``tool object add|info|ls|put|get|del|rm``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import BinaryIO, Final

from tools.nsk.commands.stream_config import (
    COMPRESSION,
    DESCRIPTION,
    MAX_BYTES,
    METADATA,
    REPLICAS,
    STORAGE,
    flags_of,
    given,
    pairs,
)
from tools.nsk.commands.tool_shared import PROGRESS_BYTES, YES, agreed, tool_command, with_streams
from tools.nsk.errors import NskError
from tools.nsk.files import PUBLIC_MODE, written_file
from tools.nsk.flags import DURATION, NUMBER, Flag, Flags, boolean, text
from tools.nsk.output import Channel
from tools.nsk.progress import progress
from tools.nsk.render import Table, printable
from tools.nsk.session import Session
from tools.nsk.streams.api import Document, JetStream
from tools.nsk.streams.keyvalue import check_bucket
from tools.nsk.streams.objects import CHUNK, PREFIX, ObjectBucket, bucket_config
from tools.nsk.streams.results import (
    ObjectBucketResult,
    ObjectInfo,
    ObjectResult,
    ObjectsOrBuckets,
    Removed,
    object_bucket_result,
    object_result,
)
from tools.nsk.values import format_duration, format_size, shown_moment

_CONFIG: Final = (DESCRIPTION, STORAGE, MAX_BYTES, REPLICAS, COMPRESSION, METADATA)
_STREAM: Final = "-"
"""What stands for stdin or stdout in place of a file."""


def _add(session: Session, flags: Flags) -> ObjectBucketResult:
    name = flags.arguments[0]
    config = bucket_config(name, ttl=flags.number("ttl")) | given(flags, _CONFIG)

    async def work(streams: JetStream) -> Document:
        return await streams.ask(f"STREAM.CREATE.{PREFIX}{name}", config)

    info = with_streams(session, flags, "object", work)
    session.output.message(f"added object store {name}")
    return _told_store(session, info)


def _told_store(session: Session, info: Document) -> ObjectBucketResult:
    result, config = object_bucket_result(info), info["config"]
    table = Table(f"Object store {result.bucket}")
    if config.get("description"):
        table.row("Description", printable(config["description"]))
    table.row("Storage", config["storage"])
    table.row("Objects live", format_duration(config["max_age"]) if config.get("max_age") else "for good")
    table.row("Sealed", "yes" if result.sealed else "no")
    table.row("Created", shown_moment(info["created"]))
    table.rule()
    limit, size = config.get("max_bytes", -1), format_size(result.bytes)
    table.row("Size", f"{size} of {format_size(limit)}" if limit > 0 else size)
    session.output.write(table.render())
    return result


def _info(session: Session, flags: Flags) -> ObjectInfo:
    name = flags.arguments[0]

    async def store(streams: JetStream) -> Document:
        return (await ObjectBucket.open(streams, name)).info

    async def one(streams: JetStream) -> Document:
        return await (await ObjectBucket.open(streams, name)).present(flags.arguments[1])

    if len(flags.arguments) == 1:
        return ObjectInfo(_told_store(session, with_streams(session, flags, "object", store)), None)
    return ObjectInfo(None, _told(session, name, with_streams(session, flags, "object", one)))


def _told(session: Session, bucket: str, note: Document) -> ObjectResult:
    result = object_result(bucket, note)
    table = Table(f"Object {printable(result.name)} of store {bucket}")
    if result.description:
        table.row("Description", printable(result.description))
    link = (note.get("options") or {}).get("link")
    if link:
        table.row("Stands for", printable(f"{link.get('bucket')} > {link.get('name') or 'all objects'}"))
    table.row("Size", format_size(result.bytes))
    table.row("Chunks", str(result.chunks))
    table.row("Digest", result.digest)
    table.row("Put", shown_moment(result.modified))
    table.rows("Notes", (printable(f"{key}={value}") for key, value in result.metadata.items()))
    session.output.write(table.render())
    return result


def _list(session: Session, flags: Flags) -> ObjectsOrBuckets:
    if not flags.arguments:
        return _list_stores(session, flags)
    name = flags.arguments[0]

    async def work(streams: JetStream) -> list[Document]:
        return await (await ObjectBucket.open(streams, name)).notes()

    found = [object_result(name, note) for note in with_streams(session, flags, "object", work)]
    if not found:
        session.output.message(f"object store {name} is empty")
    else:
        table = Table(f"Objects of store {name}", ("Name", "Size", "Put", "Description"))
        for one in found:
            words = printable(one.description)
            table.row(printable(one.name), format_size(one.bytes), shown_moment(one.modified), words)
        session.output.write(table.render(), Channel.LISTING)
    return ObjectsOrBuckets(name, found, [])


def _list_stores(session: Session, flags: Flags) -> ObjectsOrBuckets:
    async def work(streams: JetStream) -> list[Document]:
        listed = await streams.pages("STREAM.LIST", "streams")
        return [info for info in listed if info["config"]["name"].startswith(PREFIX)]

    found = sorted(map(object_bucket_result, with_streams(session, flags, "object", work)), key=lambda one: one.bucket)
    if not found:
        session.output.message("there are no object stores")
    else:
        table = Table("Object stores", ("Name", "Size", "Sealed", "Description"))
        for one in found:
            words = printable(one.config.get("description") or "")
            table.row(one.bucket, format_size(one.bytes), "yes" if one.sealed else "no", words)
        session.output.write(table.render(), Channel.LISTING)
    return ObjectsOrBuckets(None, [], found)


@contextmanager
def _source(session: Session, named: str) -> Iterator[tuple[BinaryIO, int]]:
    """What is to be put, and its size where that is known, else 0."""
    if named == _STREAM:
        yield sys.stdin.buffer, 0
        return
    path = session.environment.absolute(named)
    try:
        stream = path.open("rb")
    except OSError as error:
        raise NskError(f"`{named}` cannot be read: {error.strerror}") from None
    with stream:
        yield stream, path.stat().st_size


def _put(session: Session, flags: Flags) -> ObjectResult:
    bucket_name, named = flags.arguments
    name = flags.text("name") or ("" if named == _STREAM else PurePath(named).name)
    if not name:
        raise NskError("an object from stdin has no name", remedy="name it: --name NAME")
    chunk = flags.number("chunk-size")
    if chunk < 1:
        raise NskError("--chunk-size must be at least 1")
    metadata = pairs(flags, "metadata") if flags.given("metadata") else None
    with _source(session, named) as (source, size), progress(size, f"putting {name}", least=PROGRESS_BYTES) as advance:

        async def work(streams: JetStream) -> Document:
            bucket = await ObjectBucket.open(streams, bucket_name)
            description = flags.text("description")
            return await bucket.put(
                name, source, description=description, metadata=metadata, chunk=chunk, progress=advance
            )

        note = with_streams(session, flags, "object", work)
    session.output.message(f"put {printable(name)} into object store {bucket_name}")
    return _told(session, bucket_name, note)


def _get(session: Session, flags: Flags) -> ObjectResult:
    bucket_name, name = flags.arguments
    named = flags.text("output-file") or PurePath(name).name
    if named == _STREAM:
        if session.output.structured:
            raise NskError("stdout is for the document of --json", remedy="name a file with --output-file")
        note = _fetched(session, flags, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        session.check_output(named)
        path = session.environment.absolute(named)
        if path.exists() and not flags.boolean("force"):
            raise NskError(f"`{named}` already exists")
        with written_file(path, mode=PUBLIC_MODE) as sink:
            note = _fetched(session, flags, sink)
        session.output.message(f"wrote {printable(name)} of object store {bucket_name} to {named}")
    return object_result(bucket_name, note)


def _fetched(session: Session, flags: Flags, sink: BinaryIO) -> Document:
    bucket_name, name = flags.arguments

    async def work(streams: JetStream) -> Document:
        bucket = await ObjectBucket.open(streams, bucket_name)
        size = int((await bucket.present(name)).get("size") or 0)
        with progress(size, f"getting {printable(name)}", least=PROGRESS_BYTES) as advance:
            return await bucket.get(name, sink, advance)

    return with_streams(session, flags, "object", work)


def _delete(session: Session, flags: Flags) -> Removed:
    bucket_name, name = flags.arguments
    if not agreed(session, flags, f"Delete object {printable(name)} of store {bucket_name}?"):
        return Removed(name, False)

    async def work(streams: JetStream) -> None:
        await (await ObjectBucket.open(streams, bucket_name)).delete(name)

    with_streams(session, flags, "object", work)
    session.output.message(f"deleted {printable(name)} from object store {bucket_name}")
    return Removed(name, True)


def _remove(session: Session, flags: Flags) -> Removed:
    name = check_bucket(flags.arguments[0])
    if not agreed(session, flags, f"Remove object store {name} with all its objects?"):
        return Removed(name, False)

    async def work(streams: JetStream) -> None:
        await ObjectBucket.open(streams, name)
        await streams.ask(f"STREAM.DELETE.{PREFIX}{name}")

    with_streams(session, flags, "object", work)
    session.output.message(f"removed object store {name}")
    return Removed(name, True)


ADD = tool_command(
    "add", "Add an object store", _add,
    (Flag("ttl", "", "after how long objects go by themselves (#s, #m, #h)", kind=DURATION), *flags_of(_CONFIG)),
    (1, 1), result=ObjectBucketResult, usage="<store>", examples="nsk tool object add manuals --max-bytes 10G",
)
INFO = tool_command(
    "info", "Show an object store, or one object", _info, (), (1, 2), result=ObjectInfo, usage="<store> [<object>]",
    examples="nsk tool object info manuals\nnsk tool object info manuals pump.pdf",
)
LIST = tool_command(
    "ls", "List the object stores of the account, or the objects of one", _list, (), (0, 1), result=ObjectsOrBuckets,
    usage="[<store>]", examples="nsk tool object ls\nnsk tool object ls manuals",
)
PUT = tool_command(
    "put", "Put a file into an object store", _put,
    (
        text("name", "", "the object's name, that of the file unless given"),
        text("description", "", "what it is"),
        METADATA.flag,
        Flag("chunk-size", "", "bytes of each message that it is kept in", kind=NUMBER, default=CHUNK),
    ),
    (2, 2), result=ObjectResult, usage="<store> <file>",
    examples="nsk tool object put manuals pump.pdf\ntar c . | nsk tool object put backups - --name today.tar",
)
GET = tool_command(
    "get", "Get an object", _get,
    (
        text("output-file", "o", "where to write it, - for stdout; a file of its name unless given"),
        boolean("force", "F", "overwrite the file"),
    ),
    (2, 2), result=ObjectResult, usage="<store> <object>",
    examples="nsk tool object get manuals pump.pdf -o /tmp/pump.pdf",
)
DELETE = tool_command(
    "del", "Delete an object", _delete, (YES,), (2, 2), result=Removed, usage="<store> <object>",
    examples="nsk tool object del manuals pump.pdf",
)
REMOVE = tool_command(
    "rm", "Remove an object store", _remove, (YES,), (1, 1), result=Removed, usage="<store>",
    examples="nsk tool object rm manuals",
)  # fmt: skip
