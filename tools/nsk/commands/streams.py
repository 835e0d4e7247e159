"""``tool stream add|edit|info|ls|view|get|purge|rm``."""

from __future__ import annotations

from tools.nsk.commands.stream_config import CONFIG, STREAM, configuration, flags_of, given
from tools.nsk.commands.tool_shared import YES, agreed, show_message, tool_command, with_streams
from tools.nsk.errors import NskError
from tools.nsk.flags import COUNT, Flag, Flags, boolean, text
from tools.nsk.output import Channel
from tools.nsk.render import Table, printable
from tools.nsk.session import Session
from tools.nsk.streams.api import Document, JetStream, Stored, check_name
from tools.nsk.streams.results import (
    Purged,
    Removed,
    StoredMessage,
    StoredMessages,
    StreamList,
    StreamResult,
    stream_result,
)
from tools.nsk.subjects import refuse_unless_subject
from tools.nsk.values import format_duration, format_size, shown_moment

UNLIMITED = "unlimited"
_SUBJECT = text("subject", "", "only messages of these subjects; wildcards are fine")


def _add(session: Session, flags: Flags) -> StreamResult:
    name = check_name(flags.arguments[0], "stream")
    config = {**configuration(session, flags), **given(flags, STREAM), "name": name}

    async def work(streams: JetStream) -> Document:
        return await streams.ask(f"STREAM.CREATE.{name}", config)

    info = with_streams(session, flags, "stream", work)
    session.output.message(f"added stream {name}")
    return told(session, info)


def _edit(session: Session, flags: Flags) -> StreamResult:
    name = check_name(flags.arguments[0], "stream")
    changes = {**configuration(session, flags), **given(flags, STREAM)}
    if not changes:
        raise NskError("please specify some options", show_usage=True)

    async def work(streams: JetStream) -> Document:
        present = (await streams.info(name))["config"]
        return await streams.ask(f"STREAM.UPDATE.{name}", {**present, **changes, "name": name})

    info = with_streams(session, flags, "stream", work)
    session.output.message(f"changed {', '.join(sorted(changes.keys() - {'name'}))} of stream {name}")
    return told(session, info)


def _info(session: Session, flags: Flags) -> StreamResult:
    name = check_name(flags.arguments[0], "stream")

    async def work(streams: JetStream) -> Document:
        if not flags.boolean("subjects"):
            return await streams.info(name)
        counts: dict[str, int] = {}
        while True:
            asked = {"subjects_filter": flags.text("subject") or ">", "offset": len(counts)}
            info = await streams.ask(f"STREAM.INFO.{name}", asked)
            page = info["state"].get("subjects") or {}
            counts.update(page)
            if not page or len(counts) >= info.get("total", 0):
                info["state"]["subjects"] = counts
                return info

    return told(session, with_streams(session, flags, "stream", work))


def told(session: Session, info: Document) -> StreamResult:
    """Show a stream; the result for it."""
    result, config, state = stream_result(info), info["config"], info["state"]
    table = Table(f"Stream {result.name}")
    if config.get("description"):
        table.row("Description", printable(config["description"]))
    for label, names in (
        ("Subjects", config.get("subjects") or []),
        ("Mirror of", [config["mirror"]["name"]] if config.get("mirror") else []),
        ("Sources", [source["name"] for source in config.get("sources") or []]),
    ):
        table.rows(label, map(printable, names))
    table.row("Storage", config["storage"])
    table.row("Retention", config["retention"])
    table.row("When full", f"{config['discard']} messages give way")
    table.row("Created", shown_moment(result.created))
    table.rule()
    limit, held = config.get("max_msgs", -1), result.messages
    table.row("Messages", f"{held} of {limit}" if limit > 0 else str(held))
    limit, size = config.get("max_bytes", -1), format_size(result.bytes)
    table.row("Size", f"{size} of {format_size(limit)}" if limit > 0 else size)
    age = config.get("max_age", 0)
    table.row("Oldest allowed", format_duration(age) if age > 0 else UNLIMITED)
    table.row("First", f"{state['first_seq']} ({shown_moment(state['first_ts'])})" if held else "none")
    table.row("Last", f"{state['last_seq']} ({shown_moment(state['last_ts'])})" if state["last_seq"] else "none")
    table.row("Subjects used", str(result.subjects))
    table.row("Consumers", str(result.consumers))
    table.rows("Notes", (f"{printable(key)}={printable(value)}" for key, value in _notes(config)))
    session.output.write(table.render())
    if result.by_subject:
        listed = Table(headers=("Subject", "Messages"))
        for subject, count in sorted(result.by_subject.items()):
            listed.row(printable(subject), str(count))
        session.output.write(listed.render())
    return result


def _notes(config: Document) -> list[tuple[str, str]]:
    """The metadata, without what the server notes of itself."""
    return [(key, value) for key, value in (config.get("metadata") or {}).items() if not key.startswith("_nats.")]


def _list(session: Session, flags: Flags) -> StreamList:
    async def work(streams: JetStream) -> list[Document]:
        subject = flags.text("subject")
        return await streams.pages("STREAM.LIST", "streams", {"subject": subject} if subject else None)

    found = sorted(map(stream_result, with_streams(session, flags, "stream", work)), key=lambda one: one.name)
    if not found:
        session.output.message("there are no streams")
    else:
        table = Table("Streams", ("Name", "Messages", "Size", "Consumers", "Subjects"))
        for one in found:
            subjects = ", ".join(map(printable, one.config.get("subjects") or []))
            table.row(one.name, str(one.messages), format_size(one.bytes), str(one.consumers), subjects)
        session.output.write(table.render(), Channel.LISTING)
    return StreamList(found)


def _view(session: Session, flags: Flags) -> StoredMessages:
    name, count = check_name(flags.arguments[0], "stream"), flags.number("count")
    if count < 1:
        raise NskError("--count must be at least 1")

    async def work(streams: JetStream) -> list[StoredMessage]:
        found: list[StoredMessage] = []
        first = flags.number("from")
        if first < 0:
            state = (await streams.info(name))["state"]
            first = max(state["last_seq"] + 1 + first, 1)
        sequence, subject = max(first, 1), flags.text("subject") or ">"
        while len(found) < count:
            message = await streams.message(name, sequence=sequence, next_of=subject)
            if message is None:
                break
            sequence = message.sequence + 1
            found.append(show_message(session, message))
        return found

    found = with_streams(session, flags, "stream", work)
    if not found:
        session.output.message(f"there are no such messages in {name}")
    return StoredMessages(found)


def _get(session: Session, flags: Flags) -> StoredMessage:
    name, last = check_name(flags.arguments[0], "stream"), flags.text("last")
    if (len(flags.arguments) > 1) is bool(last):
        raise NskError("specify one of a sequence and --last SUBJECT")
    sequence = 0
    if not last:
        try:
            sequence = int(flags.arguments[1])
        except ValueError:
            raise NskError(
                f"a sequence is a number, not {flags.arguments[1]}",
                remedy=f"nsk tool stream view {name} shows the sequences",
            ) from None
    else:
        refuse_unless_subject(last)

    async def work(streams: JetStream) -> Stored:
        message = await streams.message(name, sequence=sequence, last_of=last)
        if message is None:
            which = f"message {sequence}" if sequence else f"message on {last}"
            raise NskError(f"stream {name} has no {which}", remedy=f"nsk tool stream view {name} shows what is there")
        return message

    message = with_streams(session, flags, "stream", work)
    return show_message(session, message)


def _purge(session: Session, flags: Flags) -> Purged:
    name = check_name(flags.arguments[0], "stream")
    options: Document = {}
    if flags.given("subject"):
        options["filter"] = flags.text("subject")
    if flags.given("keep", "before"):
        if flags.given("keep") and flags.given("before"):
            raise NskError("specify only one of --keep and --before")
        options |= {"keep": flags.number("keep")} if flags.given("keep") else {"seq": flags.number("before")}
    what = "all its messages" if not options else "the messages that these flags name"
    if not agreed(session, flags, f"Remove {what} from stream {name}?"):
        return Purged(name, 0)

    async def work(streams: JetStream) -> int:
        answer = await streams.ask(f"STREAM.PURGE.{name}", options or None)
        return int(answer["purged"])

    purged = with_streams(session, flags, "stream", work)
    session.output.message(f"removed {counted(purged)} from stream {name}")
    return Purged(name, purged)


def counted(messages: int) -> str:
    """So many messages, in words."""
    return f"{messages} message{'' if messages == 1 else 's'}"


def _remove(session: Session, flags: Flags) -> Removed:
    name = check_name(flags.arguments[0], "stream")

    async def look(streams: JetStream) -> int:
        return int((await streams.info(name))["state"]["messages"])

    if not flags.boolean("yes"):
        held = with_streams(session, flags, "stream", look)
        if not agreed(session, flags, f"Remove stream {name} with {counted(held)} and its consumers?"):
            return Removed(name, False)

    async def work(streams: JetStream) -> None:
        await streams.ask(f"STREAM.DELETE.{name}")

    with_streams(session, flags, "stream", work)
    session.output.message(f"removed stream {name}")
    return Removed(name, True)


ADD = tool_command(
    "add", "Add a stream", _add, (*flags_of(STREAM), CONFIG), (1, 1), result=StreamResult, usage="<stream>",
    examples="nsk tool stream add ORDERS --subjects 'orders.>' --max-age 720h",
)
EDIT = tool_command(
    "edit", "Change a stream", _edit, (*flags_of(STREAM), CONFIG), (1, 1), result=StreamResult, usage="<stream>",
    examples="nsk tool stream edit ORDERS --max-bytes 10G",
)
INFO = tool_command(
    "info", "Show a stream, and what it holds", _info,
    (boolean("subjects", "", "show how many messages each subject has"), _SUBJECT),
    (1, 1), result=StreamResult, usage="<stream>", examples="nsk tool stream info ORDERS --subjects",
)
LIST = tool_command(
    "ls", "List the streams of the account", _list, (_SUBJECT,), (0, 0), result=StreamList,
    examples="nsk tool stream ls --subject 'orders.>'",
)
VIEW = tool_command(
    "view", "Show messages of a stream", _view,
    (
        Flag("from", "", "the sequence to begin with; below 0: so many from the end", kind=COUNT, default=1),
        Flag("count", "n", "how many to show", kind=COUNT, default=10),
        _SUBJECT,
    ),
    (1, 1), result=StoredMessages, usage="<stream>", examples="nsk tool stream view ORDERS --from -5",
)
GET = tool_command(
    "get", "Show one message of a stream", _get, (text("last", "", "the last message of this subject"),),
    (1, 2), result=StoredMessage, usage="<stream> [<sequence>]",
    examples="nsk tool stream get ORDERS 42\nnsk tool stream get ORDERS --last orders.new",
)
PURGE = tool_command(
    "purge", "Remove messages from a stream", _purge,
    (
        _SUBJECT,
        Flag("keep", "", "keep so many of the last", kind=COUNT),
        Flag("before", "", "only those before this sequence", kind=COUNT),
        YES,
    ),
    (1, 1), result=Purged, usage="<stream>", examples="nsk tool stream purge ORDERS --subject orders.test --yes",
)
REMOVE = tool_command(
    "rm", "Remove a stream with its messages and consumers", _remove, (YES,), (1, 1), result=Removed,
    usage="<stream>", examples="nsk tool stream rm ORDERS",
)  # fmt: skip
