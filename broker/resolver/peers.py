"""JWTs of accounts from other servers in the system account: all that keep accounts are asked, the first one counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from auth.envelope import MAXIMUM_TOKEN_BYTES
from broker.resolver.fetcher import FetchError
from broker.system.subjects import claims_lookup, inbox

if TYPE_CHECKING:
    from broker.control.internal import Internal, Received


class PeerSource:
    """Whoever answers look-ups in the system account. An empty answer means that it does not have the account."""

    def __init__(self, internal: Internal, server: str, flush: Callable[[], None]) -> None:
        self._internal = internal
        self._server = server
        self._flush = flush
        self._numbers = count(1)

    async def fetch(self, name: str) -> str:
        """The first JWT that is answered. Raises FetchError where nobody can answer, or all say that they have none."""
        subject = claims_lookup(name)
        asked = self._internal.listeners(subject)
        if not asked:
            raise FetchError("account jwt not found, and nobody else in the system account keeps any")
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        empty = 0

        def take(received: Received) -> None:
            nonlocal empty
            if found.done():
                return
            if received.payload:
                if len(received.payload) > MAXIMUM_TOKEN_BYTES:
                    found.set_exception(FetchError("what was answered is too large"))
                else:
                    # What is not ASCII is no token, which the verifier finds out.
                    found.set_result(received.payload.decode("ascii", "replace"))
                return
            empty += 1
            if empty >= asked:
                found.set_exception(FetchError("account jwt not found"))

        reply = inbox(self._server, f"lookup.{next(self._numbers)}")
        listening = self._internal.subscribe(reply, take)
        try:
            self._internal.publish(subject, b"", reply=reply)
            self._flush()
            return await found
        finally:
            self._internal.unsubscribe(listening)

    async def close(self) -> None:
        """There is nothing to let go of."""
