"""The API of JetStream over the connection of ``nsk tool``: requests, pages, messages by their place, publishing.

Documents go and come as the server has them, so that nothing of a configuration is lost that this release does not know
by name. The subjects and the answers are those of ADR-1 and ADR-31 of NATS.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg

from tools.nsk.errors import NskError
from tools.nsk.tool import Link, Target, linked

Document = dict[str, Any]

NO_MESSAGE: Final = 10037
NO_STREAM: Final = 10059
WRONG_SEQUENCE: Final = frozenset({10071, 10164})

_API: Final = "$JS.API"
_NO_CONSUMER: Final = 10014
_NOT_FOUND: Final = "404"
_REMEDIES: Final[Mapping[int, str]] = {
    10039: "give the account JetStream: nsk edit account --js-enable 0, or jetstream in the server's accounts block",
    10076: "let the server keep messages: jetstream { store_dir: … } in its configuration",
    NO_STREAM: "nsk tool stream ls shows what there is",
    _NO_CONSUMER: "nsk tool consumer ls <stream> shows what there is",
    NO_MESSAGE: "nsk tool stream view <stream> shows what is there",
    10057: "nsk tool stream view <stream> shows what is there",
    10058: "nsk tool stream edit changes it, or choose another name",
    10148: "nsk tool consumer rm <stream> <consumer> first, or choose another name",
    10065: "nsk tool stream ls shows who has these subjects; choose others",
    10071: "somebody else was faster: look again, and say which revision you mean",
    10164: "somebody else was faster: look again, and say which revision you mean",
    10074: "a single server keeps one replica: leave --replicas out",
    10047: "nsk edit account --js-disk-storage or --js-mem-storage gives the account more",
    10002: "nsk edit account --js-disk-storage or --js-mem-storage gives the account more",
    10027: "nsk edit account --js-streams lets it have more",
    10026: "nsk edit account --js-consumer lets it have more",
    10113: "say how much it may hold: --max-bytes 1G",
    10077: "make room, or raise the limits: nsk tool stream purge, nsk tool stream edit",
    10166: "allow it: nsk tool stream edit --allow-msg-ttl, or nsk tool kv add --marker-ttl",
    19001: "the user may not do that: nsk explain tells why, and which change would allow it",
    10130: "remove the stream first, which is what is to be restored: nsk tool stream rm",
}
_LOOK: Final = "nsk tool stream ls shows their subjects"
_ELSE: Final = "the command's --help shows what it takes; the words are the server's"


def check_name(name: str, what: str) -> str:
    """The name of a stream or a consumer. Raises NskError for one that there cannot be."""
    if not name or any(character in name for character in " .*>/\\\t\r\n") or not name.isprintable():
        raise NskError(f"`{name}` cannot be the name of a {what}", remedy="use letters, digits, - and _")
    return name


class ApiError(NskError):
    """A refusal of the server, with its number."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        self.number = int(error.get("err_code", 0))
        words = str(error.get("description") or "the server refused without a word")
        shown = f"{words} ({self.number})" if self.number else words
        super().__init__(shown, remedy=_REMEDIES.get(self.number, _ELSE))


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of a stream. ``time`` is as the server writes it, in RFC 3339."""

    subject: str
    sequence: int
    time: str
    headers: Mapping[str, str]
    payload: bytes


class JetStream:
    """The streams of the account that the connection belongs to."""

    def __init__(self, link: Link, timeout: float) -> None:
        """``timeout`` in seconds is for each answer."""
        self.link = link
        self.timeout = timeout

    async def ask(self, subject: str, document: Document | None = None, *, seconds: float = 0.0) -> Document:
        """The answer to a request, whose name stands behind ``$JS.API``. Raises ApiError, or NskError without one."""
        payload = b"" if document is None else json.dumps(document).encode()
        return await self.tell(f"{_API}.{subject}", payload, seconds=seconds)

    async def tell(self, subject: str, payload: bytes = b"", *, seconds: float = 0.0) -> Document:
        """The answer to a message, as one of the API. Raises ApiError, or NskError without one."""
        answer = await self.request(subject, payload, seconds=seconds)
        if answer is None:
            raise NskError(
                "no JetStream answers there",
                remedy="let the server keep messages (jetstream { store_dir: … }) and the account use that "
                "(nsk edit account --js-enable 0)",
            )
        return _checked(answer)

    async def pages(self, subject: str, member: str, document: Document | None = None) -> list[Any]:
        """The whole list that a request answers in pages."""
        found: list[Any] = []
        while True:
            answer = await self.ask(subject, {**(document or {}), "offset": len(found)})
            page = answer.get(member) or []
            found += page
            if not page or len(found) >= answer.get("total", 0):
                return found

    async def request(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None, *, seconds: float = 0.0
    ) -> Msg | None:
        """The answer to a message; None where nobody listens. Raises NskError."""
        seconds = seconds or self.timeout
        try:
            return await self.link.done(self._answered(subject, payload, headers, seconds), subject)
        except nats.errors.TimeoutError:
            raise NskError(
                f"no answer to {subject} within {seconds:g} s",
                remedy="wait longer with --timeout, or look whether the user may read its inbox: nsk explain",
            ) from None

    async def _answered(
        self, subject: str, payload: bytes, headers: dict[str, str] | None, seconds: float
    ) -> Msg | None:
        try:
            return await self.link.client.request(subject, payload, timeout=seconds, headers=headers)
        except nats.errors.NoRespondersError:
            return None

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> int:
        """Publish to a stream, which keeps it; the sequence that it has there. Raises NskError."""
        answer = await self.request(subject, payload, headers)
        if answer is None:
            raise NskError(f"no stream keeps what is published to {subject}", remedy=_LOOK)
        return int(_checked(answer)["seq"])

    async def info(self, stream: str) -> Document:
        """What the server says of a stream. Raises ApiError."""
        return await self.ask(f"STREAM.INFO.{stream}")

    async def message(
        self, stream: str, *, sequence: int = 0, last_of: str = "", next_of: str = "", direct: bool = False
    ) -> Stored | None:
        """One message: of a sequence, the last of a subject, or the first from the sequence on whose subject fits.

        None when there is none. ``direct`` asks as clients do of streams that allow it, which is all that some
        users may. Raises NskError.
        """
        wanted = {"seq": sequence, "last_by_subj": last_of, "next_by_subj": next_of}
        document = {name: value for name, value in wanted.items() if value}
        if direct:
            return await self._direct(stream, document)
        try:
            answer = await self.ask(f"STREAM.MSG.GET.{stream}", document)
        except ApiError as error:
            if error.number == NO_MESSAGE:
                return None
            raise
        found = answer["message"]
        return Stored(
            found["subject"],
            found["seq"],
            found["time"],
            _headers(base64.b64decode(found.get("hdrs", ""))),
            base64.b64decode(found.get("data", "")),
        )

    async def _direct(self, stream: str, document: Document) -> Stored | None:
        if list(document) == ["last_by_subj"]:
            subject, payload = f"DIRECT.GET.{stream}.{document['last_by_subj']}", b""
        else:
            subject, payload = f"DIRECT.GET.{stream}", json.dumps(document).encode()
        answer = await self.request(f"{_API}.{subject}", payload)
        if answer is None:
            raise NskError(f"nobody answers for stream {stream}", remedy="nsk tool stream ls shows what there is")
        headers = dict(answer.headers or {})
        status = headers.get("Status")
        if status == _NOT_FOUND:
            return None
        if status:
            raise NskError(
                f"the server refused: {status} {headers.get('Description', '')}".rstrip(),
                remedy="the words are the server's; nsk tool stream info shows what the stream allows",
            )
        own = {name: headers.pop(f"Nats-{name}", "") for name in ("Stream", "Subject", "Sequence", "Time-Stamp")}
        return Stored(own["Subject"], int(own["Sequence"]), own["Time-Stamp"], headers, answer.data)


@asynccontextmanager
async def sending(streams: JetStream, most: int) -> AsyncIterator[Callable[[str, bytes], Awaitable[None]]]:
    """A way to publish many messages in their order, of which at most ``most`` are not acknowledged yet.

    At the end of the block all of them are, by an answer that is empty or tells where a message is kept. Raises
    NskError for the first that nobody took.
    """
    link, acks = streams.link, asyncio.Queue[Msg]()
    inbox = link.client.new_inbox()
    subscription = await link.done(link.client.subscribe(inbox, cb=acks.put), inbox)
    under_way, last = 0, ""

    async def taken(subject: str) -> None:
        try:
            answer = await link.done(asyncio.wait_for(acks.get(), streams.timeout), subject)
        except TimeoutError:
            raise NskError(
                f"no answer to {subject} within {streams.timeout:g} s", remedy="wait longer with --timeout"
            ) from None
        if "Status" in (answer.headers or {}):
            raise NskError(f"no stream keeps what is published to {subject}", remedy=_LOOK)
        if answer.data:
            _checked(answer)

    async def send(subject: str, payload: bytes) -> None:
        nonlocal under_way, last
        if under_way == most:
            await taken(subject)
            under_way -= 1
        try:
            await link.client.publish(subject, payload, reply=inbox)
        except nats.errors.Error as error:
            raise NskError(str(error), remedy="nsk describe account and nsk describe user show the limits") from None
        under_way, last = under_way + 1, subject

    try:
        yield send
        for _ in range(under_way):
            await taken(last)
    finally:
        await subscription.unsubscribe()


def _checked(answer: Msg) -> Document:
    try:
        document: Document = json.loads(answer.data)
    except ValueError:
        raise NskError(
            f"what answers to {answer.subject} is no JetStream", remedy="look who else replies to these subjects"
        ) from None
    if error := document.get("error"):
        raise ApiError(error)
    return document


def _headers(block: bytes) -> dict[str, str]:
    """The headers of a stored block, which begins with a line of its own."""
    lines = block.decode("utf-8", "backslashreplace").split("\r\n")[1:]
    return {name: value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}


@asynccontextmanager
async def opened(target: Target) -> AsyncIterator[JetStream]:
    """JetStream as the user of a target has it, with a connection that is closed at the end. Raises NskError."""
    async with linked(target) as link:
        yield JetStream(link, target.timeout)
