"""Latencies are matched with the right requests, and quantiles count every request."""

from __future__ import annotations

from collections import deque

import pytest

from tools.bench.errors import BenchError
from tools.bench.exchange import new_inbox, prepare_exchange, settle_batches, weighted_quantiles


def test_answers_settle_the_oldest_batches_first() -> None:
    waiting = deque([[1.0, 3.0], [2.0, 2.0]])
    assert settle_batches(waiting, 1, 4.0) == [(3.0, 1)]
    assert settle_batches(waiting, 3, 5.0) == [(4.0, 2), (3.0, 1)]
    assert list(waiting) == [[2.0, 1.0]]
    assert settle_batches(waiting, 1, 6.0) == [(4.0, 1)]
    assert not waiting


def test_quantiles_weigh_samples_by_their_count() -> None:
    samples = [(3.0, 1), (1.0, 98), (2.0, 1)]
    assert weighted_quantiles(samples, (0.5, 0.98, 0.99, 1.0)) == [1.0, 1.0, 2.0, 3.0]


def test_quantiles_of_nothing_are_refused() -> None:
    with pytest.raises(BenchError, match="no request"):
        weighted_quantiles([], (0.5,))


def test_the_four_rings_of_an_exchange_belong_together() -> None:
    exchange = prepare_exchange("_INBOX.A", payload_size=2, count=10)
    inbox = bytes(exchange.reply.data).split(b" ")[1]
    assert inbox == b"_INBOX.A.0000"
    assert exchange.request.data.startswith(b"PUB bench.service " + inbox + b" 2\r\nxx\r\n")
    assert exchange.request_received.data.startswith(b"MSG bench.service 1 " + inbox + b" 2\r\nxx\r\n")
    assert exchange.reply_received.data.startswith(b"MSG " + inbox + b" 1 2\r\nxx\r\n")


def test_inboxes_differ_but_are_equally_long() -> None:
    first, second = new_inbox(), new_inbox()
    assert first != second
    assert len(first) == len(second) == len("_INBOX.") + 22
