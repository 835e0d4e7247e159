"""The one place that decides whether a request may reach what its payload names, for the client that it comes from.

`accounts.reach` has the rules. Here they meet streams: each check raises, with a denial on the trail that names the
rule. What the broker sends at a client's bidding is no request: nobody asks by way of a reply or deliver subject for
what they may not ask for themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from accounts import reach
from accounts.permissions import quoted
from accounts.policy import Action
from accounts.subject import REST
from broker.jetstream.errors import ApiError, JetStreamError
from broker.jetstream.holdings import holdings, made_of, patterns_of
from broker.session.session import shown
from broker.wire.errors import publish_violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from accounts.policy import PolicyTable
    from accounts.reach import Refusal
    from broker.control.internal import Received
    from broker.core.log import Entry
    from broker.jetstream.account import AccountJetStream
    from broker.jetstream.config.consumer import ConsumerConfig
    from broker.jetstream.config.stream import StreamConfig, StreamSource
    from broker.jetstream.stream import Stream
    from broker.session.session import Session

_WHAT: Final = {Action.SUBSCRIBE: "Subscription", Action.PUBLISH: "Publish"}
"""The words of the trail."""
_SAID: Final = {Action.SUBSCRIBE: "Subscription to", Action.PUBLISH: "Publish to"}
"""The words for the client."""


class DeniedError(JetStreamError):
    """A request for what the client's permissions deny."""


class Access:
    """What one request may reach. Checks raise DeniedError; where the broker asks for itself there is none."""

    def __init__(
        self, account: AccountJetStream, session: Session | None, subject: str, *, is_own: bool = False
    ) -> None:
        """``account`` has the streams, and the request came to it on the subject."""
        self._account = account
        self._session = session
        self._subject = subject
        principal = None if session is None else session.principal
        self._table: PolicyTable | None = None if principal is None else principal.policy
        self._is_known = is_own or principal is not None
        self._is_at_home = principal is not None and principal.account.name == account.name
        """Whether the subjects in allows are those of the account whose streams these are."""
        self._apis: Sequence[str] = () if principal is None else reach.apis(principal.account, account.name)
        """What the client's requests to these streams begin with."""

    @classmethod
    def of(cls, received: Received, account: AccountJetStream) -> Access:
        """That of a request as it was received."""
        return cls(account, received.session, received.subject, is_own=received.is_own)

    # Who asks, and where the answer goes

    def _judging(self) -> PolicyTable | None:
        """The rules to hold the request to; None where the broker asks for itself."""
        self.check_asker()
        return self._table

    def check_asker(self) -> None:
        """Checks that it is a client that asks, or the broker for itself."""
        if not self._is_known:
            raise DeniedError(ApiError.PERMISSIONS_VIOLATION, "permissions violation: no client has asked for this")

    def may_answer(self, reply: str) -> bool:
        """Whether messages may be sent to a reply subject. Where not the client hears of it, but not there."""
        refusal = None if self._table is None or not reply else reach.answering(self._table, reply)
        if refusal is None:
            return True
        self._record(refusal)
        if self._session is not None:
            self._session.refuse(publish_violation(reply))
        return False

    # Reading

    def consume(self, stream: Stream, config: ConsumerConfig, name: str) -> None:
        """Checks that a consumer of a stream may be as it is wanted."""
        table = self._judging()
        if table is None:
            return
        self._check(reach.reading(table, holdings(stream), config.filters, config.deliver_group or None))
        for api in self._apis:
            self._check(reach.filtering(table, stream.name, config.filters, name, api=api))
        if config.deliver_subject:
            self.deliver(config.deliver_subject, config.deliver_group or None)

    def pull(self, stream: Stream, config: ConsumerConfig, name: str) -> None:
        """Checks that messages of a consumer may be asked for."""
        table = self._judging()
        if table is None:
            return
        if table.subscribe_deny:
            self._check(reach.reading(table, holdings(stream), config.filters))
        for api in self._apis:
            self._check(reach.filtering(table, stream.name, config.filters, name, exists=True, api=api))

    @property
    def is_restricted(self) -> bool:
        """Whether there is anything that who asks may not reach."""
        return self._table is not None and not self._table.is_open

    def pull_one(self, stream: Stream, entry: Entry, name: str) -> None:
        """Checks that a message may be had once more which a consumer has given before."""
        table = self._judging()
        if table is not None:
            subject = shown(entry.subject)
            self._check(reach.reading_one(table, subject))
            for api in self._apis:
                self._check(reach.filtering(table, stream.name, (subject,), name, exists=True, api=api))

    def read(self, stream: Stream, patterns: Sequence[str]) -> None:
        """Checks that messages of some subjects of a stream may be read, of all where none are named."""
        table = self._judging()
        if table is None:
            return
        if table.subscribe_deny:
            self._check(reach.reading(table, holdings(stream), patterns))
        for api in self._apis:
            self._check(reach.fetching(table, stream.name, patterns, api=api))

    def read_one(self, stream: Stream, entry: Entry) -> None:
        """Checks that a message may be read."""
        table = self._judging()
        if table is not None:
            subject = shown(entry.subject)
            self._check(reach.reading_one(table, subject))
            for api in self._apis:
                self._check(reach.fetching(table, stream.name, (subject,), api=api))

    def archive(self, stream: Stream, subject: str) -> None:
        """Checks that all of a stream may be read, and delivered to a subject."""
        table = self._judging()
        if table is not None:
            self._check(reach.reading(table, holdings(stream), ()))
            self.deliver(subject)

    # Letting go

    def remove(self, stream: Stream, pattern: str = "") -> None:
        """Checks that the messages of some subjects may be let go, all where the pattern is empty."""
        table = self._judging()
        if table is not None:
            self._check(reach.removing(table, holdings(stream), pattern))

    def replace(self, stream: Stream, subject: str) -> None:
        """Checks that a message may be stored on another subject than it is published on, or take its messages away."""
        table = self._judging()
        if table is not None:
            self._publish(table, subject)

    def remove_one(self, entry: Entry) -> None:
        """Checks that a message may be let go."""
        table = self._judging()
        if table is not None:
            self._check(reach.answering(table, shown(entry.subject)))

    def store_one(self, subject: str) -> None:
        """Checks that a message of an archive may be stored under its subject."""
        table = self._judging()
        if table is not None:
            self._check(reach.answering(table, subject))

    def read_later(self, subject: str) -> None:
        """Checks that what a schedule of an archive will read then may be read."""
        table = self._judging()
        if table is not None:
            self._check(reach.reading_one(table, subject))

    # What streams take, and where it goes

    def configure(self, config: StreamConfig) -> None:
        """Checks that a stream may take, keep and say what its configuration says."""
        table = self._judging()
        if table is None:
            return
        for subject in config.subjects:
            self._check(reach.hearing(table, subject))
        change = config.subject_transform
        if change is not None and change.dest:
            self._check(reach.storing(table, made_of(change.src, change.dest)))
        if config.republish is not None:
            self._publish(table, made_of(config.republish.src, config.republish.dest))
        for origin in config.sources if config.mirror is None else [config.mirror]:
            self._follow(table, origin)

    def _follow(self, table: PolicyTable, origin: StreamSource) -> None:
        external, patterns = origin.external, patterns_of(origin)
        there = self._account.streams.get(origin.name) if external is None else None
        # What another account has, or a stream that does not exist yet, may be anything.
        held = reach.Holdings(origin.name) if there is None else holdings(there)
        self._check(reach.reading(table, held, patterns))
        api = external.api if external is not None and external.api else reach.API
        if self._is_at_home:
            self._check(reach.consuming(table, api, origin.name, patterns))
        elif external is not None:
            self._check(reach.storing(table, f"{api}.CONSUMER.CREATE.{origin.name}"))
        if external is not None and external.deliver:
            self._check(reach.hearing(table, f"{external.deliver}.{REST}"))
        if origin.consumer is not None and origin.consumer.deliver_subject:
            self._check(reach.hearing(table, origin.consumer.deliver_subject))
        for one in origin.subject_transforms:
            if one.dest:
                self._check(reach.storing(table, made_of(one.src, one.dest)))

    def deliver(self, subject: str, queue: str | None = None) -> None:
        """Checks that messages may be delivered to a subject."""
        table = self._judging()
        if table is not None:
            judge = reach.delivering if self._is_at_home else lambda table, subject, _: reach.storing(table, subject)
            self._check(judge(table, subject, queue))

    def _publish(self, table: PolicyTable, pattern: str) -> None:
        """Checks that the server may publish for the client; allows speak of the subjects of the client's account."""
        self._check((reach.publishing if self._is_at_home else reach.storing)(table, pattern))

    # Refusals

    def _check(self, refusal: Refusal | None) -> None:
        if refusal is None:
            return
        denial = self._record(refusal)
        remedy = "leave it out of what is asked for" if refusal.action is Action.SUBSCRIBE else "name another subject"
        text = f"permissions violation for {_SAID[refusal.action]} {quoted(refusal.target)}: {remedy}"
        raise DeniedError(ApiError.PERMISSIONS_VIOLATION, f"{text} (denial {denial})" if denial else text)

    def _record(self, refusal: Refusal) -> str:
        if self._session is None:
            return ""
        where = f", as asked on {quoted(self._subject)}"
        return self._account.settings.trail.refused(
            self._session, _WHAT[refusal.action], refusal.target, lambda: refusal.decision, where=where
        )
