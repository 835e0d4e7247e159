"""``tool consumer add|info|ls|next|pause|resume|rm``."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from nats.aio.msg import Msg

from tools.nsk.commands.stream_config import CONFIG, CONSUMER, Setting, configuration, flags_of, given, moment
from tools.nsk.commands.tool_shared import YES, agreed, show_message, tool_command, with_streams
from tools.nsk.errors import NskError
from tools.nsk.flags import COUNT, Flag, Flags, boolean, text
from tools.nsk.output import Channel
from tools.nsk.render import Table, printable
from tools.nsk.session import Session
from tools.nsk.streams.api import Document, JetStream, check_name
from tools.nsk.streams.reading import delivered
from tools.nsk.streams.results import (
    ConsumerList,
    ConsumerResult,
    Paused,
    Removed,
    StoredMessage,
    TakenMessages,
    consumer_result,
)
from tools.nsk.values import format_duration, shown_moment

_START: Final = (
    Setting(Flag("start-sequence", "", "begin with this sequence of the stream", kind=COUNT), "opt_start_seq"),
    Setting(
        text("start-time", "", "begin at this time (RFC 3339, or a distance such as -2d)"),
        "opt_start_time",
        lambda flags, name: moment(flags.text(name)),
    ),
)
_ANSWERS: Final = {"ack": b"+ACK", "nak": b"-NAK", "term": b"+TERM"}
_NOTHING_LEFT: Final = frozenset({"404", "408"})
_STATUS: Final = "Status"


def _names(flags: Flags) -> tuple[str, str]:
    return check_name(flags.arguments[0], "stream"), check_name(flags.arguments[1], "consumer")


def _add(session: Session, flags: Flags) -> ConsumerResult:
    stream, name = _names(flags)
    config: Document = {"ack_policy": "explicit", **configuration(session, flags), **given(flags, (*CONSUMER, *_START))}
    if "opt_start_seq" in config:
        config.setdefault("deliver_policy", "by_start_sequence")
    elif "opt_start_time" in config:
        config.setdefault("deliver_policy", "by_start_time")
    filters = config.pop("filter_subjects", [])
    config |= {"filter_subject": filters[0]} if len(filters) == 1 else {"filter_subjects": filters} if filters else {}
    config |= {"name": name} if config.get("inactive_threshold") else {"name": name, "durable_name": name}

    async def work(streams: JetStream) -> Document:
        asked = {"stream_name": stream, "config": config, "action": "create"}
        return await streams.ask(f"CONSUMER.CREATE.{stream}.{name}", asked)

    info = with_streams(session, flags, "consumer", work)
    session.output.message(f"added consumer {name} of stream {stream}")
    return _told(session, info)


def _info(session: Session, flags: Flags) -> ConsumerResult:
    stream, name = _names(flags)

    async def work(streams: JetStream) -> Document:
        return await streams.ask(f"CONSUMER.INFO.{stream}.{name}")

    return _told(session, with_streams(session, flags, "consumer", work))


def _told(session: Session, info: Document) -> ConsumerResult:
    result, config = consumer_result(info), info["config"]
    table = Table(f"Consumer {result.name} of stream {result.stream}")
    if config.get("description"):
        table.row("Description", printable(config["description"]))
    table.rows("Takes", map(printable, config.get("filter_subjects") or [config.get("filter_subject") or ">"]))
    table.row("Begins with", config.get("deliver_policy", "all"))
    target = config.get("deliver_subject")
    table.row("Gives", f"pushed to {printable(target)}" if target else "fetched")
    wait = f", again after {format_duration(config['ack_wait'])}" if config.get("ack_wait") else ""
    table.row("Acknowledgement", f"{config['ack_policy']}{wait}")
    table.row("Created", shown_moment(result.created))
    table.rule()
    table.row("Still to come", str(result.pending))
    most = config.get("max_ack_pending", -1)
    table.row("Not acknowledged", f"{result.ack_pending} of {most}" if most > 0 else str(result.ack_pending))
    table.row("Delivered again", str(result.redelivered))
    table.row("Delivered up to", str(result.delivered))
    table.row("Acknowledged up to", str(result.ack_floor))
    table.row("Requests waiting", str(result.waiting))
    table.row("Paused", f"until {shown_moment(config['pause_until'])}" if result.paused else "no")
    session.output.write(table.render())
    return result


def _list(session: Session, flags: Flags) -> ConsumerList:
    stream = check_name(flags.arguments[0], "stream")

    async def work(streams: JetStream) -> list[Document]:
        return await streams.pages(f"CONSUMER.LIST.{stream}", "consumers")

    found = sorted(map(consumer_result, with_streams(session, flags, "consumer", work)), key=lambda one: one.name)
    if not found:
        session.output.message(f"stream {stream} has no consumers")
    else:
        table = Table(f"Consumers of stream {stream}", ("Name", "Gives", "To come", "Not acknowledged", "Again"))
        for one in found:
            gives = "pushed" if one.config.get("deliver_subject") else "fetched"
            gives = "paused" if one.paused else gives
            table.row(one.name, gives, str(one.pending), str(one.ack_pending), str(one.redelivered))
        session.output.write(table.render(), Channel.LISTING)
    return ConsumerList(stream, found)


def _next(session: Session, flags: Flags) -> TakenMessages:
    stream, name = _names(flags)
    count = flags.number("count")
    if count < 1:
        raise NskError("--count must be at least 1")
    others = (("nak", "nak"), ("term", "term"), ("no-ack", "nothing"))
    wanted = [answer for flag, answer in others if flags.boolean(flag)]
    if len(wanted) > 1:
        raise NskError("specify only one of --nak, --term and --no-ack")
    answer = wanted[0] if wanted else "ack"

    async def work(streams: JetStream) -> list[StoredMessage]:
        return await _taken(session, streams, f"CONSUMER.MSG.NEXT.{stream}.{name}", count, _ANSWERS.get(answer))

    found = with_streams(session, flags, "consumer", work)
    if len(found) < count:
        session.output.message(f"consumer {name} has no more messages" if found else f"consumer {name} has no messages")
    return TakenMessages(found, answer)


async def _taken(
    session: Session, streams: JetStream, subject: str, count: int, answer: bytes | None
) -> list[StoredMessage]:
    """Messages as a consumer hands them out, each printed, and answered when it was: what was not seen comes again."""
    client, queue, found = streams.link.client, asyncio.Queue[Msg](), list[StoredMessage]()
    inbox = client.new_inbox()
    subscription = await streams.link.done(client.subscribe(inbox, cb=queue.put), inbox)
    try:
        seconds = streams.timeout
        asked = {"batch": count, "expires": round(seconds * 1e9)}
        await client.publish(f"$JS.API.{subject}", json.dumps(asked).encode(), reply=inbox)
        while len(found) < count:
            try:
                message = await streams.link.done(asyncio.wait_for(queue.get(), seconds + 1), subject)
            except TimeoutError:
                break
            headers = message.headers or {}
            if _STATUS in headers and not message.data and not message.reply.startswith("$JS.ACK."):
                _check_status(headers)
                if headers[_STATUS] in _NOTHING_LEFT:
                    break
                continue
            found.append(show_message(session, delivered(message)[0]))
            if answer is not None and message.reply:
                # Answered by the server when it is kept, so that an acknowledgement that was told of cannot get lost.
                await streams.request(message.reply, answer)
    finally:
        await subscription.unsubscribe()
    return found


def _check_status(headers: dict[str, str]) -> None:
    """Raise NskError for an answer that is a refusal."""
    status, words = headers[_STATUS], headers.get("Description", "")
    if status == "503":
        raise NskError(
            "nobody hands out messages there: no such stream or consumer, or no JetStream",
            remedy="nsk tool consumer ls <stream> shows what there is",
        )
    if status not in {*_NOTHING_LEFT, "100"}:
        raise NskError(
            f"the server refused: {words or status}", remedy="nsk tool consumer info shows what the consumer allows"
        )


def _pause(session: Session, flags: Flags) -> Paused:
    return _set_pause(session, flags, {"pause_until": moment(flags.arguments[2])})


def _resume(session: Session, flags: Flags) -> Paused:
    return _set_pause(session, flags, None)


def _set_pause(session: Session, flags: Flags, document: Document | None) -> Paused:
    stream, name = _names(flags)

    async def work(streams: JetStream) -> Document:
        return await streams.ask(f"CONSUMER.PAUSE.{stream}.{name}", document)

    answer = with_streams(session, flags, "consumer", work)
    paused = bool(answer.get("paused"))
    until = answer.get("pause_until") if paused else None
    session.output.message(f"consumer {name} is paused until {until}" if paused else f"consumer {name} delivers")
    return Paused(stream, name, paused, until)


def _remove(session: Session, flags: Flags) -> Removed:
    stream, name = _names(flags)
    if not agreed(session, flags, f"Remove consumer {name} of stream {stream}, and forget where it stands?"):
        return Removed(name, False)

    async def work(streams: JetStream) -> None:
        await streams.ask(f"CONSUMER.DELETE.{stream}.{name}")

    with_streams(session, flags, "consumer", work)
    session.output.message(f"removed consumer {name} of stream {stream}")
    return Removed(name, True)


ADD = tool_command(
    "add", "Add a consumer to a stream", _add, (*flags_of(CONSUMER), *flags_of(_START), CONFIG), (2, 2),
    result=ConsumerResult, usage="<stream> <consumer>",
    examples="nsk tool consumer add ORDERS billing --filter orders.new --ack-wait 1m",
)
INFO = tool_command(
    "info", "Show a consumer, and where it stands", _info, (), (2, 2), result=ConsumerResult,
    usage="<stream> <consumer>", examples="nsk tool consumer info ORDERS billing",
)
LIST = tool_command(
    "ls", "List the consumers of a stream", _list, (), (1, 1), result=ConsumerList, usage="<stream>",
    examples="nsk tool consumer ls ORDERS",
)
NEXT = tool_command(
    "next", "Take messages from a consumer", _next,
    (
        Flag("count", "n", "how many to take", kind=COUNT, default=1),
        boolean("nak", "", "send them back, to come again"),
        boolean("term", "", "send them back, never to come again"),
        boolean("no-ack", "", "answer nothing: they come again after a while"),
    ),
    (2, 2), result=TakenMessages, usage="<stream> <consumer>",
    examples="nsk tool consumer next ORDERS billing --count 10",
)
PAUSE = tool_command(
    "pause", "Let a consumer deliver nothing until a time", _pause, (), (3, 3), result=Paused,
    usage="<stream> <consumer> <until>",
    examples="nsk tool consumer pause ORDERS billing 2h\nnsk tool consumer pause ORDERS billing 2027-01-31T10:00:00Z",
)
RESUME = tool_command(
    "resume", "Let a paused consumer deliver again", _resume, (), (2, 2), result=Paused, usage="<stream> <consumer>",
    examples="nsk tool consumer resume ORDERS billing",
)
REMOVE = tool_command(
    "rm", "Remove a consumer", _remove, (YES,), (2, 2), result=Removed, usage="<stream> <consumer>",
    examples="nsk tool consumer rm ORDERS billing",
)  # fmt: skip
