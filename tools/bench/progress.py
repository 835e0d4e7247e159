"""What publishers and subscribers share across their two processes: counters in memory, and a pipe each way to wake."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence


class Progress:
    """Received and expected bytes of each subscriber. The pipes carry no data: a byte in one only wakes its reader."""

    def __init__(self, subscribers: int) -> None:
        self._memory = mmap.mmap(-1, 8 * (2 * subscribers + 1))
        cells = memoryview(self._memory).cast("Q")
        self.received = cells[:subscribers]
        self.expected = cells[subscribers : 2 * subscribers]
        self._finished = cells[2 * subscribers :]
        self.publisher_wakes, self._wake_publisher = os.pipe()
        self.subscriber_wakes, self._wake_subscriber = os.pipe()
        self._pipes = (self.publisher_wakes, self._wake_publisher, self.subscriber_wakes, self._wake_subscriber)
        for descriptor in self._pipes:
            os.set_blocking(descriptor, False)

    def finish(self, expected: Sequence[int]) -> None:
        """Tell the subscribers, once all is sent, how many bytes each of them gets in all."""
        for number, size in enumerate(expected):
            self.expected[number] = size
        self._finished[0] = 1
        _wake(self._wake_subscriber)

    @property
    def finished(self) -> bool:
        """Whether `expected` is final."""
        return self._finished[0] == 1

    @property
    def complete(self) -> bool:
        """Whether every subscriber has everything."""
        return self.finished and all(r >= e for r, e in zip(self.received, self.expected, strict=True))

    @property
    def missing(self) -> int:
        """The bytes that are still to come, over all subscribers; only useful once `finished`."""
        return sum(max(0, e - r) for r, e in zip(self.received, self.expected, strict=True))

    def wake_publisher(self) -> None:
        """Let a publisher that waits for its window look again."""
        _wake(self._wake_publisher)

    def close(self) -> None:
        """Close the pipes of this process."""
        for descriptor in self._pipes:
            os.close(descriptor)


def drain(descriptor: int) -> None:
    """Empty a pipe that does not block."""
    try:
        os.read(descriptor, 65536)
    except BlockingIOError:
        return


def _wake(descriptor: int) -> None:
    try:
        os.write(descriptor, b"x")
    except BlockingIOError:
        return  # A full pipe wakes its reader as well.
