"""Direct gets: messages of a stream that are asked for by sequence, subject or time, and sent as they are (ADR-31).

A request is answered by messages, not by JSON: what was stored, with lines behind its own headers that say
where it was.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from broker.control.internal import Internal
from broker.control.tenant import wire
from broker.core.log import Filter
from broker.core.lookup import Lookup
from broker.jetstream.access import Access, DeniedError
from broker.jetstream.api.bodies import MessageGetRequest
from broker.jetstream.codec import JsonError, shown_time, unmarshal
from broker.jetstream.publish.headers import asks_too_much, with_lines
from broker.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.control.internal import Received
    from broker.core.exchange import Crossing
    from broker.core.log import Entry
    from broker.core.plan import Client, Subscription
    from broker.jetstream.stream import Stream

PREFIX: Final = "$JS.API.DIRECT.GET"
GROUP: Final = "_sys_"
"""Queue group in which all who could answer would do so."""

MOST_SUBJECTS: Final = 1024
"""Subjects whose last messages one request may ask for."""

MOST_BYTES: Final = 64 << 20
"""Bytes of messages after which an answer ends where the request names no other number."""

EVERYTHING: Final = Filter()


class _RefusedError(Exception):
    """The text is the whole status of the answer."""


class DirectGet:
    """Answers direct gets of one stream while that allows it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        account = stream.account
        beginning = f"{PREFIX}.{stream.name}"
        self._lookup = Lookup(account.hub, stream.log, wire(f"{beginning}."), stream.name.encode())
        self._internal = Internal(account.tenant, account.hub, client=self._lookup)
        # Most requests are answered by the core, and those that are not are handed out by it.
        self._lookup.owner = self
        self._subscriptions: list[Subscription] = []

    def adopt(self, *, allowed: bool) -> None:
        """Begins or ends to answer, as the stream's configuration says now."""
        if allowed and not self._subscriptions:
            subject = f"{PREFIX}.{self._stream.name}"
            self._subscriptions = [
                self._internal.subscribe(subject, self._asked, GROUP),
                self._internal.subscribe(f"{subject}.>", self._asked_for_subject, GROUP),
            ]
        elif not allowed:
            self.close()

    def close(self) -> None:
        """Answers nothing more."""
        for subscription in self._subscriptions:
            self._internal.unsubscribe(subscription)
        self._subscriptions = []

    # What the core calls

    def clears(self, sender: Client) -> bool:
        """Whether a sender may have any message of the stream: nothing restricts who asks."""
        session = sender.owner
        return isinstance(session, Session) and session.principal is not None and session.principal.policy.is_open

    def received(
        self, subscription: Subscription, sender: Client, message: tuple[bytes, bytes | None, bytes | None, bytes]
    ) -> None:
        """See `broker.control.internal.Internal.received`."""
        self._internal.received(subscription, sender, message)

    def request_info(self, gate: Crossing, first: Crossing | None, last: Crossing | None) -> bytes:
        """See `broker.control.internal.Internal.request_info`."""
        return self._internal.request_info(gate, first, last)

    # Requests

    def _asked(self, received: Received) -> None:
        self._take(received, self._answer)

    def _asked_for_subject(self, received: Received) -> None:
        self._take(received, self._answer_for_subject)

    def _take(self, received: Received, answer: Callable[[Received, Access], None]) -> None:
        account = self._stream.account
        access = Access.of(received, account)
        if received.reply and access.may_answer(received.reply):
            account.store.when_quiet(partial(answer, received, access))

    def _answer(self, received: Received, access: Access) -> None:
        try:
            if asks_too_much(received.header):
                raise _RefusedError("412 Required Api Level")
            request = _parsed(received.payload) if received.payload else MessageGetRequest()
            _check(request)
            self._check_patterns(request, access)
            if request.multi_last:
                self._send_last_ones(request, received.reply)
            else:
                self._send(request, received.reply, access)
        except DeniedError as denied:
            self._status(received.reply, f"403 {denied}")
        except _RefusedError as refusal:
            self._status(received.reply, str(refusal))

    def _check_patterns(self, request: MessageGetRequest, access: Access) -> None:
        """Checks that all may be read that is asked for. Raises DeniedError."""
        named = [one for one in (request.last_by_subj, request.next_by_subj, *request.multi_last) if one]
        # A single message whose subject is not named is looked at when it is found.
        if named or request.batch > 0:
            access.read(self._stream, named)

    def _answer_for_subject(self, received: Received, access: Access) -> None:
        try:
            if asks_too_much(received.header):
                raise _RefusedError("412 Required Api Level")
            request = _parsed(received.payload) if received.payload else MessageGetRequest()
            if request != MessageGetRequest(no_hdr=request.no_hdr):
                raise _RefusedError("408 Bad Request")
            request.last_by_subj = received.subject.split(".", 5)[5]
            self._check_patterns(request, access)
            self._send(request, received.reply, access)
        except DeniedError as denied:
            self._status(received.reply, f"403 {denied}")
        except _RefusedError as refusal:
            self._status(received.reply, str(refusal))

    # Answers

    def _status(self, reply: str, status: str, lines: str = "") -> None:
        self._internal.publish(reply, b"", header=f"NATS/1.0 {status}\r\n{lines}\r\n".encode())

    def _send(self, request: MessageGetRequest, reply: str, access: Access) -> None:
        log = self._stream.log
        is_batch = request.batch > 0
        start = log.at_time(request.start_time) if request.start_time is not None else request.seq
        wanted = Filter([wire(request.next_by_subj)]) if request.next_by_subj else EVERYTHING
        pending = log.remaining(wanted, start) if is_batch else 0
        most, sent, before = request.max_bytes or MOST_BYTES, 0, 0
        for number in range(max(request.batch, 1)):
            entry = self._found(request, wanted, start, is_first=number == 0 and not is_batch)
            if entry is None:
                if number:
                    break
                raise _RefusedError("404 Message Not Found")
            access.read_one(self._stream, entry)
            start = entry.sequence + 1
            pending = max(pending - 1, 0)
            self._tell(reply, entry, (pending, before) if is_batch else None, bare=request.no_hdr)
            before = entry.sequence
            sent += _size(entry)
            if sent >= most:
                break
        if is_batch:
            self._status(reply, "204 EOB", f"Nats-Num-Pending: {pending}\r\nNats-Last-Sequence: {before}\r\n")

    def _found(self, request: MessageGetRequest, wanted: Filter, start: int, *, is_first: bool) -> Entry | None:
        log = self._stream.log
        if request.last_by_subj:
            return self._stream.last_entry(request.last_by_subj)
        if is_first and not request.next_by_subj:
            return log.get(start)
        sequence = log.next(wanted, start)
        return log.get(sequence) if sequence else None

    def _send_last_ones(self, request: MessageGetRequest, reply: str) -> None:
        log = self._stream.log
        highest = request.up_to_seq
        if request.up_to_time is not None:
            highest = log.at_time(request.up_to_time)
            if highest <= log.first:
                raise _RefusedError("404 No Results")
            highest -= 1
        highest = highest or log.last
        sequences = self._last_ones(request.multi_last, request.seq, highest)
        if len(sequences) > MOST_SUBJECTS:
            raise _RefusedError("413 Too Many Results")
        if not sequences:
            raise _RefusedError("404 No Results")
        pending, before, sent, count = len(sequences), 0, 0, 0
        for sequence in sequences:
            entry = log.get(sequence)
            if entry is None:
                continue
            pending -= 1
            self._tell(reply, entry, (pending, before), bare=False)
            before = sequence
            sent += _size(entry)
            count += 1
            if sent >= (request.max_bytes or MOST_BYTES) or 0 < request.batch <= count:
                break
        lines = f"Nats-Num-Pending: {pending}\r\nNats-Last-Sequence: {before}\r\nNats-UpTo-Sequence: {highest}\r\n"
        self._status(reply, "204 EOB", lines)

    def _last_ones(self, patterns: list[str], lowest: int, highest: int) -> list[int]:
        """The last message up to a sequence of each subject that matches."""
        log = self._stream.log
        made = []
        for subject, _, first, last in log.seen(Filter([wire(pattern) for pattern in patterns])):
            if first > highest:
                continue
            sequence = last if last <= highest else log.previous(Filter([subject]), highest)
            if sequence >= lowest and sequence:
                made.append(sequence)
        return sorted(made)

    def _tell(self, reply: str, entry: Entry, batch: tuple[int, int] | None, *, bare: bool) -> None:
        """Sends one message; of a batch with how many are still to come and which one came before."""
        header = None
        if not bare:
            lines = [
                (b"Nats-Stream", self._stream.name.encode()),
                (b"Nats-Subject", entry.subject),
                (b"Nats-Sequence", b"%d" % entry.sequence),
                (b"Nats-Time-Stamp", shown_time(entry.time).encode()),
            ]
            if batch is not None:
                lines += [(b"Nats-Num-Pending", b"%d" % batch[0]), (b"Nats-Last-Sequence", b"%d" % batch[1])]
            header = with_lines(entry.header, lines)
        self._internal.publish(reply, entry.payload, header=header)


def _parsed(payload: bytes) -> MessageGetRequest:
    try:
        return unmarshal(payload, MessageGetRequest)
    except JsonError:
        raise _RefusedError("408 Malformed Request") from None


def _check(request: MessageGetRequest) -> None:
    """Checks that a request asks for something, and not for two things at once."""
    by_time = request.start_time is not None
    if not (request.seq or request.last_by_subj or request.next_by_subj or request.multi_last or by_time):
        raise _RefusedError("408 Empty Request")
    if (
        (request.seq and (request.last_by_subj or by_time))
        or (request.last_by_subj and (by_time or request.next_by_subj or request.batch > 0 or request.multi_last))
        or (request.next_by_subj and request.multi_last)
        or (request.up_to_seq and request.up_to_time is not None)
    ):
        raise _RefusedError("408 Bad Request")


def _size(entry: Entry) -> int:
    return len(entry.subject) + len(entry.header or b"") + len(entry.payload)
