"""The streams of a server as monitoring shows them; the names and their order are those of nats-server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from accounts.limits import EVERY_TIER
from broker.jetstream.codec import Plain, plain, shown_time
from broker.jetstream.config.words import Storage
from broker.jetstream.settings import directory_of
from broker.jetstream.use import AccountUse, ConsumerUse, StreamUse
from broker.wire.info import API_LEVEL

if TYPE_CHECKING:
    from broker.jetstream.account import AccountJetStream
    from broker.jetstream.settings import Settings
    from broker.jetstream.stream import Stream
    from broker.monitor.jetstream import Shown

_SYNC_INTERVAL: Final = 120_000_000_000
_LARGEST: Final = (1 << 64) - 1


class View:
    """See `broker.monitor.jetstream.Streams`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def _accounts(self) -> list[AccountJetStream]:
        return [account for _, account in sorted(self._settings.accounts.items())]

    def stats(self) -> Plain:
        """What all of them take, and how many requests came."""
        settings, accounts = self._settings, self._accounts
        under_way = sum(account.under_way for account in accounts)
        return {
            "memory": settings.used(Storage.MEMORY),
            "storage": settings.used(Storage.FILE),
            "reserved_memory": settings.reserved(Storage.MEMORY),
            "reserved_storage": settings.reserved(Storage.FILE),
            "accounts": len(accounts),
            "ha_assets": 0,
            "api": {
                "level": API_LEVEL,
                "total": sum(account.requests for account in accounts),
                "errors": sum(account.refused for account in accounts),
                **({"inflight": under_way} if under_way else {}),
            },
        }

    def config(self) -> Plain:
        """What they keep to."""
        settings = self._settings
        config: Plain = {
            "max_memory": settings.max_memory,
            "max_storage": settings.max_store,
            "store_dir": str(directory_of(settings.options)),
            "sync_interval": _SYNC_INTERVAL,
            "sync_always": True,
        }
        if settings.domain:
            config["domain"] = settings.domain
        config["compress_ok"] = True
        if settings.options.strict:
            config["strict"] = True
        return config

    def limits(self) -> Plain:
        """The ceilings of each stream and consumer; those that are none are left out."""
        ceilings = self._settings.ceilings
        found = {
            "max_request_batch": ceilings.max_request_batch,
            "max_ack_pending": ceilings.max_ack_pending,
            "duplicate_window": ceilings.duplicate_window,
        }
        return {name: value for name, value in found.items() if value > 0}

    def totals(self) -> Plain:
        """How many streams, consumers, messages and bytes there are."""
        streams = [stream for account in self._accounts for stream in account.streams.values()]
        return {
            "streams": len(streams),
            "consumers": sum(stream.visible_consumers for stream in streams),
            "messages": sum(stream.log.messages for stream in streams),
            "bytes": sum(stream.log.bytes for stream in streams),
        }

    def names(self) -> list[str]:
        """The accounts that have streams, or may have some."""
        return sorted(self._settings.accounts)

    def account(self, name: str, shown: Shown) -> Plain | None:
        """One account; None where it has no JetStream."""
        account = self._settings.accounts.get(name)
        if account is None:
            return None
        # Promises of single tiers are not shown here.
        limits = [account.limits[EVERY_TIER]] if EVERY_TIER in account.limits else []
        detail: Plain = {
            "name": account.tenant.account.label,
            "id": name,
            "memory": account.used(Storage.MEMORY),
            "storage": account.used(Storage.FILE),
            "reserved_memory": _promised([tier.memory for tier in limits]),
            "reserved_storage": _promised([tier.disk for tier in limits]),
            "accounts": 0,
            "ha_assets": 0,
            "api": {"level": 0, "total": account.requests, "errors": account.refused},
        }
        if shown.streams:
            streams = [self._stream(stream, shown) for stream in account.listed()]
            if streams:
                detail["stream_detail"] = streams
        return detail

    def _stream(self, stream: Stream, shown: Shown) -> Plain:
        detail: Plain = {
            "name": stream.name,
            "created": shown_time(stream.created),
            "cluster": {"leader": self._settings.server},
        }
        if shown.config:
            detail["config"] = plain(stream.config)
        detail["state"] = stream.state()
        for name, wanted, is_direct in (
            ("consumer_detail", shown.consumers, False),
            ("direct_consumer_detail", shown.consumers and shown.direct_consumers, True),
        ):
            consumers = [one for _, one in sorted(stream.consumers.items()) if one.config.direct is is_direct]
            if wanted and consumers:
                detail[name] = [one.info(as_stored=True) for one in consumers]
                if not shown.config:
                    for info in detail[name]:
                        del info["config"]
        return {**detail, **stream.following()}

    def has(self, account: str, stream: str = "", consumer: str = "") -> bool:
        """Whether there is such an account, such a stream in it, such a consumer of that."""
        found = self._settings.accounts.get(account)
        if found is None or not stream:
            return found is not None
        kept = found.streams.get(stream)
        return kept is not None and (not consumer or consumer in kept.consumers)

    def use(self, name: str) -> AccountUse | None:
        """What an account takes; None where it has no JetStream."""
        account = self._settings.accounts.get(name)
        return None if account is None else AccountUse.of(account)

    def stream_names(self, account: str) -> list[str]:
        """The streams of an account, by name."""
        found = self._settings.accounts.get(account)
        return [] if found is None else sorted(found.streams)

    def stream(self, account: str, name: str) -> StreamUse | None:
        """What a stream takes; None where there is none."""
        found = self._kept(account, name)
        return None if found is None else StreamUse.of(found)

    def consumer_names(self, account: str, stream: str, *, durable_only: bool = False) -> list[str]:
        """The consumers of a stream that somebody made, by name; ``durable_only`` those that were given one to stay."""
        found = self._kept(account, stream)
        return [] if found is None else sorted(
            name
            for name, one in found.consumers.items()
            if not one.config.direct and (one.config.durable_name or not durable_only)
        )

    def consumer(self, account: str, stream: str, name: str) -> ConsumerUse | None:
        """Where a consumer stands; None where there is none."""
        found = self._kept(account, stream)
        consumer = None if found is None else found.consumers.get(name)
        return None if consumer is None else ConsumerUse.of(consumer)

    def _kept(self, account: str, stream: str) -> Stream | None:
        found = self._settings.accounts.get(account)
        return None if found is None else found.streams.get(stream)

    def is_writable(self) -> bool:
        """Whether the changes of all accounts can be written."""
        return all(account.store.failure is None for account in self._accounts)


def _promised(limits: list[int]) -> int:
    """What an account may keep; without a limit, the largest number that there is, as nats-server shows it."""
    return _LARGEST if any(limit < 0 for limit in limits) else sum(limits)
