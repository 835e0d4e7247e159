"""One request to JetStream on its way to an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from broker.jetstream.codec import JsonError, decode
from broker.jetstream.errors import ApiError
from broker.session.client_info import asking

if TYPE_CHECKING:
    from broker.control.internal import Received
    from broker.jetstream.access import Access
    from broker.jetstream.account import AccountJetStream
    from broker.jetstream.stream import Stream
    from broker.session.client_info import ClientInfo

StructT = TypeVar("StructT", bound=msgspec.Struct)

_SPACE: Final = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked: ``names`` are the tokens of the subject behind what names the request."""

    account: AccountJetStream
    names: tuple[str, ...]
    received: Received
    access: Access
    """What it may reach."""
    _bodies: dict[type[msgspec.Struct], msgspec.Struct] = field(default_factory=dict)
    """What was decoded already: what is judged is what is done."""

    @property
    def payload(self) -> bytes:
        """What the request says."""
        return self.received.payload

    def body(self, kind: type[StructT]) -> StructT:
        """The JSON of the request, the same object each time. Raises JetStreamError."""
        found = self._bodies.get(kind)
        if isinstance(found, kind):
            return found
        try:
            made = decode(self.payload, kind, strict=self.account.settings.options.strict)
        except JsonError as error:
            raise ApiError.INVALID_JSON.error(err=error) from None
        self._bodies[kind] = made
        return made

    def options(self, kind: type[StructT]) -> StructT:
        """The JSON of a request that may have any other payload instead, which then means nothing.

        Raises JetStreamError.
        """
        return self.body(kind) if self.payload.lstrip(_SPACE)[:1] in (b"{", b"[") else kind()

    @property
    def asker(self) -> ClientInfo | None:
        """Who asks, as advisories tell it; None where it is the broker itself."""
        session = self.received.session
        if session is None:
            return None
        client = asking(session, self.account.settings.server, share=True)
        client.jwt = ""
        return client

    def stream(self) -> Stream:
        """The stream that the subject names first. Raises JetStreamError."""
        return self.account.stream(self.names[0])
