"""``tool kv add|info|ls|get|put|create|update|del|purge|history|watch|rm``."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import Any, Final

from tools.nsk.commands.stream_config import (
    COMPRESSION,
    DESCRIPTION,
    MAX_BYTES,
    METADATA,
    REPLICAS,
    STORAGE,
    flags_of,
    given,
)
from tools.nsk.commands.tool_shared import YES, agreed, run_until_interrupted, target_of, tool_command, with_streams
from tools.nsk.errors import NskError
from tools.nsk.flags import COUNT, DURATION, NUMBER, UNSIGNED, Flag, Flags, boolean, text
from tools.nsk.output import Channel
from tools.nsk.render import Table, payload_text, printable
from tools.nsk.session import Session
from tools.nsk.streams.api import Document, JetStream, opened
from tools.nsk.streams.keyvalue import PREFIX, PUT, Bucket, Entry, bucket_config, check_bucket
from tools.nsk.streams.results import (
    BucketResult,
    Entries,
    EntryResult,
    KeysOrBuckets,
    Removed,
    Written,
    bucket_result,
    entry_result,
)
from tools.nsk.values import format_duration, format_size, shown_moment

_CONFIG: Final = (DESCRIPTION, STORAGE, MAX_BYTES, REPLICAS, COMPRESSION, METADATA)
_REVISION: Final = Flag("revision", "", "only if this is the key's last revision", kind=UNSIGNED)
_TTL: Final = Flag("ttl", "", "after how long it goes by itself (#s, #m, #h)", kind=DURATION)
_FILE: Final = text("file", "f", "take the value from a file, or from stdin for -")


def _add(session: Session, flags: Flags) -> BucketResult:
    name = flags.arguments[0]
    config = bucket_config(
        name,
        history=flags.number("history"),
        ttl=flags.number("ttl"),
        marker_ttl=flags.number("marker-ttl"),
        mirror=flags.text("mirror"),
    )
    config |= given(flags, _CONFIG)
    if flags.given("max-value-size"):
        config["max_msg_size"] = flags.number("max-value-size")

    async def work(streams: JetStream) -> Document:
        return await streams.ask(f"STREAM.CREATE.{PREFIX}{name}", config)

    info = with_streams(session, flags, "kv", work)
    session.output.message(f"added bucket {name}")
    return _told(session, info)


def _info(session: Session, flags: Flags) -> BucketResult:
    async def work(streams: JetStream) -> Document:
        return (await Bucket.open(streams, flags.arguments[0])).info

    return _told(session, with_streams(session, flags, "kv", work))


def _told(session: Session, info: Document) -> BucketResult:
    result, config = bucket_result(info), info["config"]
    table = Table(f"Bucket {result.bucket}")
    if config.get("description"):
        table.row("Description", printable(config["description"]))
    if config.get("mirror"):
        table.row("Mirror of", printable(config["mirror"]["name"].removeprefix(PREFIX)))
    table.row("Storage", config["storage"])
    table.row("History", f"{config['max_msgs_per_subject']} values of each key")
    table.row("Values live", format_duration(config["max_age"]) if config.get("max_age") else "for good")
    table.row("Created", shown_moment(info["created"]))
    table.rule()
    table.row("Keys", str(info["state"].get("num_subjects", 0)))
    table.row("Values", str(result.values))
    limit, size = config.get("max_bytes", -1), format_size(result.bytes)
    table.row("Size", f"{size} of {format_size(limit)}" if limit > 0 else size)
    session.output.write(table.render())
    return result


def _list(session: Session, flags: Flags) -> KeysOrBuckets:
    if not flags.arguments:
        return _list_buckets(session, flags)
    name = flags.arguments[0]

    async def work(streams: JetStream) -> list[str]:
        bucket = await Bucket.open(streams, name)
        pattern = flags.arguments[1] if len(flags.arguments) > 1 else ">"
        return sorted([entry.key async for entry in bucket.entries(pattern, keys=True) if entry.operation == PUT])

    keys = with_streams(session, flags, "kv", work)
    for key in keys:
        session.output.line(printable(key), Channel.LISTING)
    if not keys:
        session.output.message(f"bucket {name} {'has no such keys' if flags.arguments[1:] else 'is empty'}")
    return KeysOrBuckets(name, keys, [])


def _list_buckets(session: Session, flags: Flags) -> KeysOrBuckets:
    async def work(streams: JetStream) -> list[Document]:
        listed = await streams.pages("STREAM.LIST", "streams")
        return [info for info in listed if info["config"]["name"].startswith(PREFIX)]

    found = sorted(map(bucket_result, with_streams(session, flags, "kv", work)), key=lambda one: one.bucket)
    if not found:
        session.output.message("there are no buckets")
    else:
        table = Table("Buckets", ("Name", "Values", "Size", "History", "Description"))
        for one in found:
            history = str(one.config["max_msgs_per_subject"])
            words = printable(one.config.get("description") or "")
            table.row(one.bucket, str(one.values), format_size(one.bytes), history, words)
        session.output.write(table.render(), Channel.LISTING)
    return KeysOrBuckets(None, [], found)


def _get(session: Session, flags: Flags) -> EntryResult:
    bucket_name, key = flags.arguments

    async def work(streams: JetStream) -> Entry:
        return await (await Bucket.open(streams, bucket_name)).get(key, flags.number("revision"))

    entry = with_streams(session, flags, "kv", work)
    if flags.boolean("raw"):
        if not session.output.structured:
            sys.stdout.buffer.write(entry.value)
            sys.stdout.buffer.flush()
    else:
        session.output.message(f"{bucket_name} > {key}, revision {entry.revision} of {entry.time}:")
        session.output.line(payload_text(entry.value))
    return entry_result(entry)


def _value(session: Session, flags: Flags) -> bytes:
    """The value of the command line, or of a file."""
    named = flags.text("file")
    if (len(flags.arguments) > 2) is bool(named):
        raise NskError("specify one of a value and --file FILE")
    if not named:
        return flags.arguments[2].encode()
    if named == "-":
        return sys.stdin.buffer.read()
    try:
        return session.environment.absolute(named).read_bytes()
    except OSError as error:
        raise NskError(f"`{named}` cannot be read: {error.strerror}") from None


def _put(session: Session, flags: Flags) -> Written:
    value = _value(session, flags)
    return _written(session, flags, lambda bucket, key: bucket.put(key, value))


def _create(session: Session, flags: Flags) -> Written:
    value, ttl = _value(session, flags), _seconds(flags)
    return _written(session, flags, lambda bucket, key: bucket.create(key, value, ttl))


def _update(session: Session, flags: Flags) -> Written:
    value = _value(session, flags)
    if not flags.given("revision"):
        raise NskError(
            "--revision tells which value is to be replaced",
            remedy=f"nsk tool kv get {flags.arguments[0]} {flags.arguments[1]} shows the revision of the present one",
        )
    return _written(session, flags, lambda bucket, key: bucket.update(key, value, flags.number("revision")))


def _delete(session: Session, flags: Flags) -> Written:
    return _written(session, flags, lambda bucket, key: bucket.delete(key, flags.number("revision")), "deleted")


def _purge(session: Session, flags: Flags) -> Written:
    bucket_name, key = flags.arguments
    ttl = _seconds(flags)
    if not agreed(session, flags, f"Remove key {key} of bucket {bucket_name} with all its history?"):
        return Written(check_bucket(bucket_name), key, 0)
    return _written(session, flags, lambda bucket, key: bucket.purge(key, flags.number("revision"), ttl), "purged")


def _seconds(flags: Flags) -> int:
    nanoseconds = flags.number("ttl")
    if nanoseconds % 10**9 or nanoseconds < 0:
        raise NskError("--ttl must be at least 1s, in whole seconds")
    return nanoseconds // 10**9


def _written(session: Session, flags: Flags, write: Any, deed: str = "") -> Written:
    bucket_name, key = flags.arguments[:2]

    async def work(streams: JetStream) -> int:
        return int(await write(await Bucket.open(streams, bucket_name), key))

    revision = with_streams(session, flags, "kv", work)
    session.output.message(f"{bucket_name} > {key} is {deed or f'at revision {revision}'}")
    return Written(bucket_name, key, revision)


def _history(session: Session, flags: Flags) -> Entries:
    bucket_name, key = flags.arguments

    async def work(streams: JetStream) -> list[Entry]:
        bucket = await Bucket.open(streams, bucket_name)
        return [entry async for entry in bucket.entries(key, history=True)]

    found = with_streams(session, flags, "kv", work)
    if not found:
        raise NskError(
            f"bucket {bucket_name} never had a key {key}, or has forgotten it",
            remedy=f"nsk tool kv ls {bucket_name} shows its keys",
        )
    for entry in found:
        _show(session, entry)
    return Entries(bucket_name, list(map(entry_result, found)))


def _show(session: Session, entry: Entry) -> None:
    value = f": {payload_text(entry.value)}" if entry.operation == PUT else ""
    line = f"[{entry.revision}] {entry.time} {entry.operation} {printable(entry.key)}{value}"
    session.output.line(line, Channel.LISTING)


def _watch(session: Session, flags: Flags) -> Entries:
    bucket_name = flags.arguments[0]
    pattern = flags.arguments[1] if len(flags.arguments) > 1 else ">"
    most, found = flags.number("max-updates"), list[EntryResult]()
    target = target_of(session, flags, "kv")

    async def work() -> None:
        if most == 0:
            return
        seen = 0
        async with opened(target) as streams:
            bucket = await Bucket.open(streams, bucket_name)
            entries = bucket.entries(
                pattern, history=flags.boolean("history"), follow=True, updates=flags.boolean("updates-only")
            )
            # Closed before the connection is.
            async with aclosing(entries):
                async for entry in entries:
                    _show(session, entry)
                    if session.output.structured:
                        found.append(entry_result(entry))
                    seen += 1
                    if seen == most:
                        return

    run_until_interrupted(work())
    return Entries(bucket_name, found)


def _remove(session: Session, flags: Flags) -> Removed:
    name = check_bucket(flags.arguments[0])
    if not agreed(session, flags, f"Remove bucket {name} with all that it holds?"):
        return Removed(name, False)

    async def work(streams: JetStream) -> None:
        await Bucket.open(streams, name)
        await streams.ask(f"STREAM.DELETE.{PREFIX}{name}")

    with_streams(session, flags, "kv", work)
    session.output.message(f"removed bucket {name}")
    return Removed(name, True)


ADD = tool_command(
    "add", "Add a bucket of values", _add,
    (
        Flag("history", "", "how many values of each key to keep, up to 64", kind=COUNT, default=1),
        Flag("ttl", "", "after how long values go by themselves (#s, #m, #h)", kind=DURATION),
        Flag("marker-ttl", "", "how long to tell watchers of values that went by themselves; lets keys have a ttl "
             "of their own (#s, #m, #h)", kind=DURATION),
        Flag("max-value-size", "", "bytes that a value may have", kind=NUMBER),
        text("mirror", "", "the bucket that it is a copy of"),
        *flags_of(_CONFIG),
    ),
    (1, 1), result=BucketResult, usage="<bucket>", examples="nsk tool kv add prices --history 5",
)
INFO = tool_command(
    "info", "Show a bucket", _info, (), (1, 1), result=BucketResult, usage="<bucket>",
    examples="nsk tool kv info prices",
)
LIST = tool_command(
    "ls", "List the buckets of the account, or the keys of one", _list, (), (0, 2), result=KeysOrBuckets,
    usage="[<bucket> [<pattern>]]", examples="nsk tool kv ls\nnsk tool kv ls prices\nnsk tool kv ls prices 'tea.>'",
)
GET = tool_command(
    "get", "Show the value of a key", _get,
    (
        Flag("revision", "", "the value that it had at this revision", kind=UNSIGNED),
        boolean("raw", "", "print the value as it is, and nothing else"),
    ),
    (2, 2), result=EntryResult, usage="<bucket> <key>", examples="nsk tool kv get prices tea.green",
)
PUT_VALUE = tool_command(
    "put", "Give a key a value", _put, (_FILE,), (2, 3), result=Written, usage="<bucket> <key> [<value>]",
    examples="nsk tool kv put prices tea.green 4.20\nnsk tool kv put prices list --file list.csv",
)
CREATE = tool_command(
    "create", "Give a key a value if it has none", _create, (_FILE, _TTL), (2, 3), result=Written,
    usage="<bucket> <key> [<value>]", examples="nsk tool kv create locks till-3 mine --ttl 30s",
)
UPDATE = tool_command(
    "update", "Give a key a value if nobody else has since", _update, (_FILE, _REVISION), (2, 3), result=Written,
    usage="<bucket> <key> [<value>]", examples="nsk tool kv update prices tea.green 4.50 --revision 1",
)
DELETE = tool_command(
    "del", "Delete a key; its history stays", _delete, (_REVISION,), (2, 2), result=Written, usage="<bucket> <key>",
    examples="nsk tool kv del prices tea.green",
)
PURGE = tool_command(
    "purge", "Delete a key with its history", _purge, (_REVISION, _TTL, YES), (2, 2), result=Written,
    usage="<bucket> <key>", examples="nsk tool kv purge prices tea.green --yes",
)
HISTORY = tool_command(
    "history", "Show what a key had", _history, (), (2, 2), result=Entries, usage="<bucket> <key>",
    examples="nsk tool kv history prices tea.green",
)
WATCH = tool_command(
    "watch", "Show what keys have, and what comes", _watch,
    (
        boolean("history", "", "begin with all that the keys had"),
        boolean("updates-only", "", "begin with what comes"),
        Flag("max-updates", "", "end after so many", kind=COUNT, default=-1),
    ),
    (1, 2), result=Entries, usage="<bucket> [<pattern>]", examples="nsk tool kv watch prices 'tea.>'",
)
REMOVE = tool_command(
    "rm", "Remove a bucket", _remove, (YES,), (1, 1), result=Removed, usage="<bucket>",
    examples="nsk tool kv rm prices",
)  # fmt: skip
