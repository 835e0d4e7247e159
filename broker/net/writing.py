"""The way out of a connection: from its outbox to the socket, and what happens when the client takes nothing."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Final

from broker.config.options import WriteTimeout
from broker.net.guarded import Guarded
from broker.session import journal
from broker.session.states import State
from broker.wire.errors import CloseReason

if TYPE_CHECKING:
    import socket
    from asyncio import TimerHandle

    from broker.net.channel import Channel
    from broker.net.framing import FrameChannel
    from broker.net.service import Service

LOGGER: Final = logging.getLogger("natskeep.net")

LINGER: Final = 1.0
"""Seconds that a closing connection may take to write out its last bytes."""

STALL_TURN: Final = 0.01
"""Seconds after which it is looked whether the receiver that a publisher waits for takes anything."""

STALL_PROGRESS: Final = 64 * 1024
"""Bytes that such a receiver must have taken in one stall turn to be waited for longer."""


class Writing(Guarded):
    """What of a connection writes, and what waits for its writes: deadlines, and publishers."""

    __slots__ = (
        "_behind_since",
        "_deadline_timer",
        "_given_up_at",
        "_messages_out",
        "_moved_before",
        "_sent_by_deadline",
        "_stall_timer",
        "_waiting",
        "_writing",
        "_written",
        "_written_by_deadline",
        "active",
        "channel",
        "stalls",
    )

    def __init__(self, service: Service, sock: socket.socket) -> None:
        super().__init__(service, sock)
        self.channel: Channel | FrameChannel | None = None
        """What bytes pass between session and socket; None where they pass as they are."""
        self.active = time.monotonic()
        """Monotonic time of the last message, subscription or CONNECT; signs of life do not count."""
        self.stalls = 0
        """How often it had to wait as a publisher for its receivers."""
        self._messages_out = 0
        self._writing = False
        self._written = 0
        self._written_by_deadline = 0
        self._sent_by_deadline = 0
        self._moved_before = 0
        """Bytes that the socket had taken when the deadline began."""
        self._behind_since: float | None = None
        """Monotonic time at which the first deadline was missed by what still waits."""
        self._given_up_at = -STALL_PROGRESS
        """What had been written when a publisher last waited in vain."""
        self._waiting: list[Writing] | None = None
        self._deadline_timer: TimerHandle | None = None
        self._stall_timer: TimerHandle | None = None

    def flush(self) -> None:
        """Writes what waits, as far as the socket takes it."""
        with self:
            self._flush()

    def _flush(self) -> None:
        client = self.client
        if client.overflowed and self.session.state is not State.CLOSED:
            self.service.slow_consumer(self.session, f"MaxPending of {client.ceiling} Exceeded")
            self.session.close(CloseReason.SLOW_CONSUMER_PENDING)
            return
        if self.ended is not None or self._writing or not client.pending:
            client.settle()
            return
        sent = client.out_messages
        if sent != self._messages_out:
            self._messages_out = sent
            self.active = self.service.hub.now
        self._write()
        self.session.check_data()

    def _room_to_write(self) -> None:
        with self:
            self._write()

    def _write(self) -> None:
        client = self.client
        channel = self.channel
        try:
            if channel is None:
                count = self.sock.send(client.view())
                rest = client.consume(count)
            else:
                count = channel.write(client.view())
                rest = client.consume(count) + channel.waiting
        except (BlockingIOError, InterruptedError):
            count = 0
            rest = client.pending
        except OSError:
            client.discard()
            if self.session.state is State.CLOSED:
                self._destroy()
            else:
                self.session.close(CloseReason.WRITE_ERROR)
            return
        self._written += count
        if rest:
            self._write_on()
        else:
            self._written_out()
        if self._waiting and not self._congested():
            self._release_waiting()

    def _write_on(self) -> None:
        if self._writing:
            return
        self._writing = True
        self.service.loop.add_writer(self.descriptor, self._room_to_write)
        self._expect_progress()

    def _written_out(self) -> None:
        if self._writing:
            self._writing = False
            self.service.loop.remove_writer(self.descriptor)
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
            self._deadline_timer = None
        if self._behind_since is not None:
            seconds = time.monotonic() - self._behind_since
            self._behind_since = None
            journal.write(LOGGER, logging.INFO, self.session, "Slow Consumer Recovered: Flush took %.3fs", seconds)
        if self.session.state is State.CLOSED and self.ended is None:
            self._destroy()

    @property
    def _moved(self) -> int:
        """Bytes that the socket has taken, those of TLS included."""
        return self._written if self.channel is None else self.channel.sent

    def _expect_progress(self) -> None:
        """Whatever waits now must be written before the deadline; a receiver that trickles does not count as alive."""
        self._written_by_deadline = self._written + self.client.pending
        if self.channel is not None:
            self._sent_by_deadline = self.channel.sent + self.channel.waiting
        self._moved_before = self._moved
        seconds = LINGER if self.session.state is State.CLOSED else self.service.options.write_deadline
        self._deadline_timer = self._later(seconds, self._deadline)

    def _deadline(self) -> None:
        self._deadline_timer = None
        if self.session.state is State.CLOSED:
            self._destroy()
        elif self._written < self._written_by_deadline or (
            self.channel is not None and self.channel.sent < self._sent_by_deadline
        ):
            self._miss_deadline()
        else:
            self._expect_progress()

    def _miss_deadline(self) -> None:
        """Ends a client that lags, unless writes are to be retried and it took something at least."""
        seconds = self.service.options.write_deadline
        self.service.slow_consumer(
            self.session,
            f"WriteDeadline of {seconds:g}s exceeded with {self.client.pending} bytes",
            again=self._behind_since is not None,
        )
        retry = self.service.options.write_timeout is WriteTimeout.RETRY and self.session.state is State.ACTIVE
        if retry and self._moved > self._moved_before:
            if self._behind_since is None:
                self._behind_since = time.monotonic() - seconds
            self._expect_progress()
        else:
            self.client.discard()
            self.session.close(CloseReason.SLOW_CONSUMER_DEADLINE)

    # Waiting for receivers that lag

    def _stall(self, receiver: Writing) -> None:
        """Reads nothing more for a while: until the receiver has room again, or takes nothing.

        A receiver that was waited for in vain is not waited for again before it takes something.
        """
        if self.service.options.no_fast_producer_stall or self.ended is not None or self._stall_timer is not None:
            return
        if receiver._written - receiver._given_up_at < STALL_PROGRESS:
            return
        self._unwatch()
        self.service.stalls += 1
        self.stalls += 1
        if receiver._waiting is None:
            receiver._waiting = []
        receiver._waiting.append(self)
        self._stall_timer = self._later(STALL_TURN, self._stall_over, receiver, receiver._written)

    def _stall_over(self, receiver: Writing, written: int) -> None:
        self._stall_timer = None
        if receiver.ended is None and receiver._congested():
            if receiver._written - written >= STALL_PROGRESS:
                self._stall_timer = self._later(STALL_TURN, self._stall_over, receiver, receiver._written)
                return
            receiver._given_up_at = receiver._written
        if receiver._waiting is not None and self in receiver._waiting:
            receiver._waiting.remove(self)
        self._read_on()

    def _congested(self) -> bool:
        return self.client.pending > self.client.soft_ceiling // 2

    def _release_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        for publisher in waiting or ():
            if publisher._stall_timer is not None:
                publisher._stall_timer.cancel()
                publisher._stall_timer = None
            publisher._read_on()

    @abstractmethod
    def _read_on(self) -> None:
        """Reads again, unless something else forbids it."""
