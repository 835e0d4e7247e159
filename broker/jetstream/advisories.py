"""What happens to streams and consumers, told in their account to whoever listens (`$JS.EVENT.ADVISORY.>`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.jetstream.codec import Plain, dumps, now, shown_time
from broker.wire.ids import new_id

if TYPE_CHECKING:
    from broker.control.internal import Internal

PREFIX: Final = "$JS.EVENT.ADVISORY"
TYPES: Final = "io.nats.jetstream.advisory.v1"


class Advisories:
    """Tells what happens in one account. Nothing is built that nobody listens to."""

    def __init__(self, internal: Internal, domain: str = "") -> None:
        self._internal = internal
        self._domain = domain

    def tell(self, suffix: str, kind: str, facts: Plain, *, names_domain: bool = True) -> None:
        """Publishes ``facts`` behind what all advisories begin with."""
        self.publish(f"{PREFIX}.{suffix}", f"{TYPES}.{kind}", facts, names_domain=names_domain)

    def publish(self, subject: str, kind: str, facts: Plain, *, names_domain: bool = True) -> None:
        """Publishes an event of any kind, such as a metric."""
        if not self._internal.has_interest(subject):
            return
        event: Plain = {"type": kind, "id": new_id(), "timestamp": shown_time(now()), **facts}
        if self._domain and names_domain:
            event["domain"] = self._domain
        self._internal.publish(subject, dumps(event))

    def stream(self, what: str, action: str, stream: str) -> None:
        """A stream was created, changed or deleted."""
        self.tell(f"STREAM.{what}.{stream}", "stream_action", {"stream": stream, "action": action})

    def consumer(self, what: str, action: str, stream: str, consumer: str) -> None:
        """A consumer was created or deleted."""
        facts = {"stream": stream, "consumer": consumer, "action": action}
        self.tell(f"CONSUMER.{what}.{stream}.{consumer}", "consumer_action", facts)
