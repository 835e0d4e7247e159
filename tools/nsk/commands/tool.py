"""``tool pub|sub|req|reply|rtt``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from auth.claims.base import subject_issues
from tools.nsk import tool
from tools.nsk.cli import Command
from tools.nsk.commands import TOOL_FLAGS
from tools.nsk.commands.tool_shared import WHO, run, run_until_interrupted, target_of
from tools.nsk.errors import NskError
from tools.nsk.flags import COUNT, Flag, Flags, boolean, text
from tools.nsk.output import Channel
from tools.nsk.progress import progress
from tools.nsk.render import payload_text
from tools.nsk.results import Published, Received, ReceivedMessage, RoundTrip
from tools.nsk.session import Session
from tools.nsk.subjects import shell_hint
from tools.nsk.values import format_duration

if TYPE_CHECKING:
    from nats.aio.msg import Msg

_PROGRESS_FROM = 10_000
_COUNT = Flag("count", "", "how often to send", kind=COUNT, default=1, beyond=True)
_QUEUE = text("queue", "q", "subscription queue name")
_REPLY_QUEUE = text("queue", "q", "reply queue name")
_ENCRYPT = boolean("encrypt", "E", "", hidden=True)
_MAXIMUM = Flag("max-messages", "", "max messages", kind=COUNT, default=-1)
_MOST_HEARD = Flag("max-messages", "", "max messages", kind=COUNT, default=-1, beyond=True)


def _payload(flags: Flags, index: int = 1) -> bytes:
    return flags.arguments[index].encode() if len(flags.arguments) > index else b""


def _pub(session: Session, flags: Flags) -> Published:
    subject, payload, count = flags.arguments[0], _payload(flags), _positive(flags, "count")
    target = target_of(session, flags, "pub")
    with progress(count, f"publishing to {subject}", least=_PROGRESS_FROM) as advance:
        seconds = run(tool.publish(target, subject, payload, count=count, progress=advance))
    if count == 1:
        session.output.message(f'Published [{subject}] : "{payload_text(payload)}"')
    else:
        rate = count / seconds if seconds else 0
        session.output.message(f"Published {count} messages to [{subject}] in {seconds:.2f} s ({rate:,.0f}/s)")
    return Published(subject, count, seconds)


def _positive(flags: Flags, name: str) -> int:
    if flags.number(name) < 1:
        raise NskError(f"--{name} must be at least 1")
    return flags.number(name)


class _Counter:
    """Prints messages as they come, numbered from 1."""

    def __init__(self, session: Session, answer: bytes | None = None) -> None:
        self._output = session.output
        self._answer = answer
        self.seen = 0
        self.messages: list[ReceivedMessage] = []

    async def receive(self, message: Msg) -> None:
        """Print a message, and answer it where an answer is expected."""
        self.seen += 1
        line = f"[#{self.seen}] received on [{message.subject}]: '{payload_text(message.data)}'"
        self._output.line(line, Channel.LISTING)
        if self._output.structured:
            self.messages.append(_received(message))
        if self._answer is not None and message.reply:
            await message.respond(self._answer)


def _received(message: Msg) -> ReceivedMessage:
    return ReceivedMessage(message.subject, message.reply, payload_text(message.data))


def _listen(session: Session, flags: Flags, name: str, greeting: str, answer: bytes | None) -> Received:
    subject = flags.arguments[0]
    counter = _Counter(session, answer)
    work = tool.subscribe(
        target_of(session, flags, name),
        subject,
        counter.receive,
        queue=flags.text("queue"),
        maximum=flags.number("max-messages"),
        ready=lambda: session.output.message(f"{greeting} [{subject}]"),
    )
    run_until_interrupted(work)
    return Received(counter.messages)


def _sub(session: Session, flags: Flags) -> Received:
    return _listen(session, flags, "sub", "Listening on", None)


def _reply(session: Session, flags: Flags) -> Received:
    return _listen(session, flags, "reply", "listening on", _payload(flags))


def _req(session: Session, flags: Flags) -> Received:
    replies = run(_ask(session, flags, target_of(session, flags, "req"), _positive(flags, "count")))
    return Received(replies)


async def _ask(session: Session, flags: Flags, target: tool.Target, count: int) -> list[ReceivedMessage]:
    replies: list[ReceivedMessage] = []
    subject, payload = flags.arguments[0], _payload(flags)
    session.output.message(f"published request: [{subject}] : '{payload_text(payload)}'")
    async for message in tool.request(target, subject, payload, count=count):
        session.output.line(f"received reply: [{message.subject}] : '{payload_text(message.data)}'")
        replies.append(_received(message))
    return replies


def _rtt(session: Session, flags: Flags) -> RoundTrip:
    target = target_of(session, flags, "rtt")
    url, seconds = run(tool.round_trip(target))
    session.output.line(f"round trip time to [{url}] = {format_duration(round(seconds * 1e6) * 1000)}")
    return RoundTrip(url, round(seconds * 1e6))


def _command(
    name: str,
    description: str,
    run: Callable[[Session, Flags], object],
    own: tuple[Flag, ...],
    examples: str,
    *,
    result: type[Any],
    least: int = 1,
) -> Command:
    def explained(session: Session, flags: Flags) -> object:
        try:
            if _ENCRYPT in own and flags.boolean("encrypt"):
                raise NskError("the experimental --encrypt option is no longer supported", remedy="leave it out")
            for subject in flags.arguments[:1]:
                if any(subject_issues(subject)):
                    raise NskError(f"nats: invalid subject{shell_hint(subject)}")
            return run(session, flags)
        except NskError as error:
            # nsc shows the usage whatever went wrong.
            error.show_usage = session.output.compatible
            raise

    return Command(
        name,
        description,
        explained,
        (*WHO, *own),
        arguments=(least, 2),
        group_flags=TOOL_FLAGS,
        usage_on_error=True,
        result=result,
        examples=examples,
        own_examples=f"nsk tool {name}{' <subject>' if least else ''} --creds user.creds --nats tls://host:4222",
    )


PUB = _command(
    "pub",
    "Publish to a subject from a NATS account",
    _pub,
    (_COUNT,),
    "nsk tool pub <subject> <opt_payload>",
    result=Published,
)
SUB = _command(
    "sub",
    "Subscribe to a subject on a NATS account",
    _sub,
    (_QUEUE, _MOST_HEARD, _ENCRYPT),
    "nsk tool sub <subject>\nnsk tool --queue <name> subject",
    result=Received,
)
REQ = _command(
    "req",
    "Send a request to a subject on a NATS account",
    _req,
    (_COUNT, _ENCRYPT),
    "ngs tool req <subject> <opt_payload>",
    result=Received,
)
REPLY = _command(
    "reply",
    "Reply to requests on a subject on a NATS account",
    _reply,
    (_REPLY_QUEUE, _MAXIMUM),
    "nsk tool reply <subject> <opt_reply>\nnsk tool reply --queue <name> subject <opt_reply>",
    result=Received,
)
RTT = _command(
    "rtt", "Calculate the round trip time to the server", _rtt, (), "nsk tool rtt", result=RoundTrip, least=0
)
