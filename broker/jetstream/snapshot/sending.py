"""Sends a stream to a client as it is at one moment, while it goes on (`$JS.API.STREAM.SNAPSHOT`).

The archive is made bit by bit, as much in a turn as one chunk takes, and no more of it is on the way than the client's
window holds: each chunk is answered on its reply subject when the client has it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from broker.core.log import RecordError
from broker.jetstream.codec import now, shown_time
from broker.jetstream.codec.times import NANOSECONDS
from broker.jetstream.snapshot import files, tar
from broker.jetstream.snapshot.frames import SNAPPY_BLOCK, Writer
from broker.jetstream.snapshot.records import ERASED, Record, block_hash, packed
from broker.jetstream.store.tables import StoreError
from broker.wire.ids import new_id

if TYPE_CHECKING:
    from broker.control.clock import Timer
    from broker.control.internal import Received
    from broker.core.log import Entry
    from broker.jetstream.stream import Stream
    from broker.session.client_info import ClientInfo

LOGGER: Final = logging.getLogger("natskeep.jetstream")

CHUNK: Final = (1024, 128 << 10, 1 << 20)
"""Bytes of a chunk: the least, where nothing is said, and the most."""
WINDOW: Final = (1024, 8 << 20, 32 << 20)
"""Bytes that are on the way at most, likewise."""

INTEREST_SECONDS: Final = 2.0
"""How long a client may take to listen."""
ANSWER_SECONDS: Final = 5.0
"""How long it may take to answer for a chunk, when the window is full."""
_LOOK_SECONDS: Final = 0.5
"""How often to look whether it still listens."""
_PIECES: Final = 4
"""Pieces of the archive that are made in one turn at most."""
_BLOCK: Final = 2 << 20
"""Bytes of messages from which on a block of the archive takes no more."""
_WIDEST_GAP: Final = 4096
"""Sequences without messages that a block may have in a row: nats-server counts them one by one."""


def within(wanted: int, bounds: tuple[int, int, int]) -> int:
    """A size as a client asks for it, kept within bounds; 0 asks for none."""
    least, usual, most = bounds
    return min(max(wanted or usual, least), most)


class Snapshot:
    """One stream on its way to a client. Made, it has the picture; `begin` sends it."""

    def __init__(
        self,
        stream: Stream,
        subject: str,
        client: ClientInfo | None,
        *,
        chunk: int = 0,
        window: int = 0,
        consumers: bool = True,
    ) -> None:
        self.stream = stream
        self.state = stream.state()
        """What the stream held at that moment."""
        self.is_closed = False
        self._account = stream.account
        self._internal = stream.account.internal
        self._subject = subject
        self._client = client
        self._chunk = within(chunk, CHUNK)
        self._most = max(within(window, WINDOW) // self._chunk, 1)
        self._free = self._most
        self._started = now()
        self._picture = stream.log.picture()
        self._writer = Writer()
        self._ready = bytearray()
        self._waiting = bytearray()
        """What is not packed yet."""
        self._block = bytearray()
        """The block of messages that is being made."""
        self._block_number = 1
        self._hashing = block_hash(stream.name, 1)
        self._before = 0
        """The sequence of the last message in it."""
        self._last_time = stream.log.last_time
        self._add_documents(consumers=consumers)
        self._is_taken = False
        """Whether all of the picture is in the archive."""
        self._index = 1
        self._ack = f"$JS.SNAPSHOT.ACK.{stream.name}.{new_id()}"
        self._answers = self._internal.subscribe(f"{self._ack}.>", self._answered)
        self._last = self._account.clock.monotonic()
        """When it came on last, in monotonic seconds."""
        self._heard = False
        self._timer: Timer | None = None
        stream.snapshots.add(self)

    def _add_documents(self, *, consumers: bool) -> None:
        """Begins the archive with all but messages."""
        kept = files.of_stream(self.stream)
        for _, consumer in sorted(self.stream.consumers.items()):
            if consumers and not consumer.config.direct:
                kept |= files.with_consumer(consumer, self._picture.last)
        for name, content in kept.items():
            self._add(name, content)

    def _add(self, name: str, content: bytes) -> None:
        self._waiting += tar.written(name, content, self._started // NANOSECONDS)

    def begin(self) -> None:
        """Sends what the client takes; to be called when it has been told that it comes."""
        if self.is_closed:
            return
        self._account.advisories.tell(
            f"STREAM.SNAPSHOT_CREATE.{self.stream.name}",
            "snapshot_create",
            {"stream": self.stream.name, "state": self.state, "client": self._client},
        )
        LOGGER.info("Starting snapshot for stream '%s > %s'", self._account.name, self.stream.name)
        self._last = self._account.clock.monotonic()
        self._go_on()

    # In turns

    def wake(self) -> None:
        """Somebody listens to something new, maybe to this."""
        if self._timer is not None:
            self._timer.cancel()
        self._go_on()

    def _later(self, seconds: float) -> None:
        self._timer = self._account.clock.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        if self.is_closed:
            return
        if not self._is_heard():
            return
        try:
            self._turn()
        except (StoreError, RecordError, ValueError) as error:
            self._end(f"500 {error}", str(error))

    def _is_heard(self) -> bool:
        """Whether the client listens; else waits for it, or gives up.

        Clients listen to all their inboxes before they ask, and maybe to the one for chunks when they were answered.
        """
        left = self._last + INTEREST_SECONDS - self._account.clock.monotonic()
        if not self._heard and left > 0 and not self._internal.has_literal_interest(self._subject):
            self._account.wait_for_listeners(self)
            self._later(left)
            return False
        if not self._internal.has_interest(self._subject):
            self._end("408 No Interest", "no interest")
            return False
        if not self._heard:
            self._heard = True
            self._last = self._account.clock.monotonic()
        return True

    def _turn(self) -> None:
        for _ in range(_PIECES):
            while len(self._ready) >= self._chunk:
                if not self._free:
                    self._wait()
                    return
                self._send(bytes(self._ready[: self._chunk]))
                del self._ready[: self._chunk]
            if self._is_taken:
                self._end("204" if self._index > 1 else "")
                return
            self._make()
        self._later(0.0)

    def _wait(self) -> None:
        """The window is full: waits for an answer, for as long as the client listens."""
        left = self._last + ANSWER_SECONDS - self._account.clock.monotonic()
        if left <= 0:
            self._end("408 No Flow Response", "no flow response")
        else:
            self._later(min(left, _LOOK_SECONDS))

    def _make(self) -> None:
        """Packs another piece of the archive."""
        if len(self._waiting) < SNAPPY_BLOCK:
            entries = self._picture.take(SNAPPY_BLOCK)
            for entry in entries:
                self._put(entry)
            if not entries:
                self._end_archive()
                self._is_taken = True
        while self._waiting and (self._is_taken or len(self._waiting) >= SNAPPY_BLOCK):
            self._ready += self._writer.packed(bytes(self._waiting[:SNAPPY_BLOCK]))
            del self._waiting[:SNAPPY_BLOCK]
            if not self._is_taken:
                break

    def _put(self, entry: Entry) -> None:
        """Puts a message into the block."""
        sequence = entry.sequence
        if len(self._block) >= _BLOCK or (self._block and sequence - self._before > _WIDEST_GAP):
            self._end_block()
        record = Record(sequence, 0, entry.time, entry.subject, entry.header or b"", entry.payload)
        self._block += packed(record, self._hashing)
        self._before = sequence

    def _end_block(self) -> None:
        self._add(files.block_name(self._block_number), bytes(self._block))
        self._block.clear()
        self._block_number += 1
        self._hashing = block_hash(self.stream.name, self._block_number)

    def _end_archive(self) -> None:
        """Puts the last block, and one that uses up the sequences behind the last message."""
        if self._block:
            self._end_block()
        last = self._picture.last
        if last > self._before:
            self._block += packed(Record(last, ERASED, self._last_time, b"", b"", b""), self._hashing)
            self._end_block()
        self._waiting += tar.END

    def _send(self, chunk: bytes) -> None:
        self._internal.publish(self._subject, chunk, reply=f"{self._ack}.{len(chunk)}.{self._index}")
        self._index += 1
        self._free -= 1
        self._last = self._account.clock.monotonic()

    def _answered(self, _: Received) -> None:
        """The client has a chunk."""
        if self._free < self._most:
            self._free += 1
        if self._free == 1 and self._timer is not None and self._heard:
            self._timer.cancel()
            self._later(0.0)

    # The end

    def abort(self, problem: str) -> None:
        """Ends it because of what happened to the stream, and tells the client."""
        if not self.is_closed:
            self._end(f"500 {problem}", problem)

    def _end(self, status: str, problem: str = "") -> None:
        """Sends what is left and that nothing more comes, with a status where there is one."""
        if not problem and self._ready:
            self._internal.publish(self._subject, bytes(self._ready))
        header = f"NATS/1.0 {' '.join(status.split())}\r\n\r\n".encode() if status else None
        self._internal.publish(self._subject, b"", header=header)
        self._close()
        stream, name = self.stream, self.stream.name
        ended = now()
        facts: dict[str, object] = {"stream": name, "start": shown_time(self._started), "end": shown_time(ended)}
        facts["client"] = self._client
        if problem:
            facts["error"] = problem
        self._account.advisories.tell(f"STREAM.SNAPSHOT_COMPLETE.{name}", "snapshot_complete", facts)
        if problem:
            LOGGER.warning("Snapshot for stream '%s > %s' failed: %s", self._account.name, name, problem)
        else:
            LOGGER.info("Completed snapshot for stream '%s > %s'", self._account.name, name)
        if not stream.is_closed:
            stream.changed()

    def _close(self) -> None:
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._picture.close()
        self._internal.unsubscribe(self._answers)
        self.stream.snapshots.discard(self)
