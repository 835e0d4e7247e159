"""JetStream in one account: its streams, and what they may take together."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from accounts.limits import EVERY_TIER, UNLIMITED, JetStreamLimits
from accounts.subject import overlaps
from auth.gojson import quote
from broker.control.internal import Internal
from broker.core.log import Usage
from broker.jetstream import consumers
from broker.jetstream.advisories import Advisories
from broker.jetstream.codec import Int64, Plain, decode, now
from broker.jetstream.config import metadata
from broker.jetstream.config.sources_check import check_filters
from broker.jetstream.config.stream import StreamConfig
from broker.jetstream.config.stream_check import check_stream
from broker.jetstream.config.words import Compression, Storage
from broker.jetstream.consumer.consumer import Consumer
from broker.jetstream.errors import ApiError, JetStreamError
from broker.jetstream.publish.ingest import allowance_of
from broker.jetstream.stream import DOCUMENT, Stream, limit
from broker.wire.info import API_LEVEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broker.config.options import JetStreamCeilings
    from broker.control.clock import Clock
    from broker.control.tenant import Tenant
    from broker.core.log import Log
    from broker.core.outbox import Hub
    from broker.jetstream.following.local import LocalFollower
    from broker.jetstream.following.remote import RemoteFollower
    from broker.jetstream.settings import Settings
    from broker.jetstream.snapshot.restoring import Restore
    from broker.jetstream.store.account import AccountStore

_SMALL: Final = 1
"""Bytes that a stream needs at least, where it does not say how many."""


class Speaker(Protocol):
    """Who has something to say to somebody who does not listen yet."""

    is_closed: bool

    def wake(self) -> None:
        """Somebody listens to something new."""


class AccountJetStream:
    """The streams of one account. Make it, then `load` what the store has."""

    def __init__(
        self,
        settings: Settings,
        store: AccountStore,
        internal: Internal,
        hub: Hub,
        clock: Clock,
    ) -> None:
        self.name = internal.tenant.account.name
        self.limits: Mapping[str, JetStreamLimits] = internal.tenant.account.jetstream
        """By tier; the empty one holds for all."""
        self.settings = settings
        self.store = store
        self.hub = hub
        self.internal = internal
        """The broker as a client of the account, which hears what it says itself."""
        self.asking = Internal(internal.tenant, hub, is_own=True)
        """The same, for what it asks other streams for itself."""
        self.clock = clock
        self.advisories = Advisories(internal, settings.domain)
        self.usages = {storage: Usage(above) for storage, above in settings.usages.items()}
        """Bytes that its streams hold."""
        self.streams: dict[str, Stream] = {}
        self.followers: dict[str, list[LocalFollower | RemoteFollower]] = {}
        """Who takes messages from a stream, by its name."""
        self.restores: set[Restore] = set()
        """Archives that are being taken."""
        self.requests = 0
        """Requests that were answered, those refused included."""
        self.refused = 0
        self.under_way = 0
        """Requests that wait for the disk."""
        settings.accounts[self.name] = self
        store.reloaded = self._restore
        self._unheard: set[Speaker] = set()

    # What streams ask

    @property
    def tenant(self) -> Tenant:
        """The live account."""
        return self.internal.tenant

    @property
    def domain(self) -> str:
        """The server's JetStream domain; empty for none."""
        return self.settings.domain

    @property
    def server_limits(self) -> JetStreamCeilings:
        """See `broker.jetstream.config.surroundings.Surroundings`."""
        return self.settings.ceilings

    def choose(self, count: int) -> int:
        """A number below ``count``, for transforms that leave something to chance."""
        return secrets.randbelow(count)

    def ack_begin(self, stream: str) -> str:
        """What an acknowledgement begins with, up to the sequence."""
        domain = f'"domain":{quote(self.domain)},' if self.domain else ""
        return f'{{"stream":{quote(stream)},{domain}"seq":'

    def stream_config(self, name: str) -> StreamConfig | None:
        """See `broker.jetstream.config.surroundings.Surroundings`."""
        found = self.streams.get(name)
        return None if found is None else found.config

    def limits_for(self, replicas: int) -> tuple[str, JetStreamLimits] | None:
        """See `broker.jetstream.config.surroundings.Surroundings`."""
        for tier in (EVERY_TIER, f"R{max(replicas, 1)}"):
            if tier in self.limits:
                return tier, self.limits[tier]
        return None

    def wait_for_listeners(self, speaker: Speaker) -> None:
        """Wakes a consumer when anybody begins to listen to anything: nobody does to what it delivers."""
        self._unheard.add(speaker)
        self.tenant.namespace.interested = self._heard

    def _heard(self) -> None:
        self.tenant.namespace.interested = None
        waiting, self._unheard = self._unheard, set()
        for speaker in waiting:
            if not speaker.is_closed:
                speaker.wake()

    def tell_followers(self, stream: Stream) -> None:
        """Lets the mirrors of a stream, and those that have it as a source, know that it has something."""
        for follower in list(self.followers.get(stream.name, ())):
            follower.wake()

    # Streams come and go

    def load(self) -> None:
        """Opens the streams that the store has, with their consumers."""
        self.store.drop_others({key.removeprefix(DOCUMENT) for key in self.store.documents(DOCUMENT)})
        for key, document in sorted(self.store.documents(DOCUMENT).items()):
            stream_id = key.removeprefix(DOCUMENT)
            kept = decode(document, _Kept, strict=False)
            log = self.store.load(stream_id)
            self.streams[kept.config.name] = Stream(self, kept.config, stream_id, kept.created, log)
        loaded = [stream for stream in self.streams.values() if not stream.is_memory]
        for stream in loaded:
            for consumer in Consumer.load(stream):
                stream.consumers[consumer.name] = consumer
        for stream in loaded:
            stream.open()

    def _restore(self, _: Exception) -> None:
        """Nothing could be written: goes on with what is on disk, as if what was changed since had never been."""
        for stream in [stream for stream in self.streams.values() if not stream.is_memory]:
            del self.streams[stream.name]
            stream.close(deleted=False)
        # Where its consumers stood is no more true than the rest of what could not be written.
        self.store.forget()
        self.load()

    def end_requests(self) -> None:
        """Tells clients that wait for messages that none will come: the server ends."""
        for stream in self.streams.values():
            for consumer in stream.consumers.values():
                consumer.delivery.end_requests("409 Server Shutdown")

    def close(self) -> None:
        """Ends all streams, and keeps what they hold; the store is closed by whoever opened it."""
        for restore in list(self.restores):
            restore.abort()
        for stream in self.streams.values():
            stream.close(deleted=False)
        self.streams.clear()
        self.asking.close()
        self.settings.accounts.pop(self.name, None)

    def create(self, wanted: StreamConfig, *, pedantic: bool = False) -> Stream:
        """Makes a stream, or finds the one that is just so already. Raises JetStreamError."""
        self._check_count(wanted)
        self.check_room(wanted)
        config = self._checked(wanted, pedantic=pedantic)
        existing = self.streams.get(config.name)
        if existing is not None:
            if _same(config, existing.config):
                return existing
            raise ApiError.STREAM_NAME_EXIST.error()
        self.check_room(config)
        check_filters(config)
        self.check_overlap(config)
        stream_id, log = self.create_log(config, max(config.first_seq, 1))
        stream = self.streams[config.name] = Stream(self, config, stream_id, now(), log)
        stream.save()
        stream.open()
        self.tell_followers(stream)
        self.advisories.stream("CREATED", "create", config.name)
        return stream

    def _checked(self, wanted: StreamConfig, *, pedantic: bool = False) -> StreamConfig:
        config = check_stream(wanted, self, pedantic=pedantic)
        if config.num_replicas > 1:
            raise ApiError.STREAM_REPLICAS_NOT_SUPPORTED.error()
        return config

    def create_log(self, config: StreamConfig, first: int) -> tuple[str, Log]:
        """The log of a new stream, and the name under which it is kept. Raises StoreError."""
        stream_id, log = self.store.create(memory=config.storage is Storage.MEMORY, first=first)
        log.usage = self.usages[config.storage]
        limit(log, config)
        self.store.pack(stream_id, wanted=config.compression is Compression.S2)
        return stream_id, log

    # Archives

    def check_new(self, wanted: StreamConfig) -> StreamConfig:
        """The configuration, with all defaults, of a stream that an archive is to become. Raises JetStreamError."""
        config = self._checked(wanted)
        self._check_count(config)
        self.check_room(config)
        if config.name in self.streams:
            raise ApiError.STREAM_NAME_EXIST_RESTORE_FAILED.error()
        check_filters(config)
        self.check_overlap(config)
        return config

    def adopt(self, restore: Restore) -> Stream:
        """Makes the stream of an archive that came as a whole. Raises JetStreamError, and leaves nothing of it then."""
        assert restore.log is not None
        self.restores.discard(restore)
        try:
            config = self.check_new(restore.config)
        except JetStreamError:
            restore.drop()
            raise
        stream = Stream(self, config, restore.identifier, restore.created, restore.log)
        for kept in restore.consumers:
            try:
                restore.access.consume(stream, kept[1], kept[0])
                consumers.restore(stream, *kept)
            except JetStreamError as error:
                stream.close(deleted=True)
                raise ApiError.STREAM_RESTORE.error(err=f'error restoring consumer ["{kept[0]}"]: {error}') from None
        self.streams[config.name] = stream
        stream.save()
        stream.changed()
        stream.open(restore.lifetimes)
        self.tell_followers(stream)
        self.advisories.stream("CREATED", "create", config.name)
        return stream

    def delete(self, stream: Stream) -> None:
        """Lets a stream go, with its consumers and all that it holds."""
        del self.streams[stream.name]
        stream.close(deleted=True)
        self.advisories.stream("DELETED", "delete", stream.name)

    def stream(self, name: str) -> Stream:
        """The stream of that name. Raises JetStreamError."""
        found = self.streams.get(name)
        if found is None:
            raise ApiError.STREAM_NOT_FOUND.error()
        return found

    def listed(self, subject: str = "") -> list[Stream]:
        """The streams by name; those that keep something of ``subject`` where one is given."""
        return [
            stream
            for _, stream in sorted(self.streams.items())
            if not subject or any(overlaps(subject, own) for own in stream.config.subjects)
        ]

    # Limits

    def check_overlap(self, config: StreamConfig, own: Stream | None = None) -> None:
        """Checks that no other stream takes any of the subjects. Raises JetStreamError."""
        for stream in self.streams.values():
            if stream is not own and any(
                overlaps(one, other) for one in config.subjects for other in stream.config.subjects
            ):
                raise ApiError.STREAM_SUBJECT_OVERLAP.error()

    def _check_count(self, config: StreamConfig) -> None:
        tier, limits = self._limits_of(config)
        others = [stream for stream in self._of_tier(tier) if stream.name != config.name]
        if 0 < limits.streams <= len(others):
            raise ApiError.MAXIMUM_STREAMS_LIMIT.error()

    def _limits_of(self, config: StreamConfig) -> tuple[str, JetStreamLimits]:
        found = self.limits_for(config.num_replicas)
        if found is None:
            raise ApiError.NO_LIMITS.error()
        return found

    def _of_tier(self, tier: str) -> Iterable[Stream]:
        return (
            stream
            for stream in self.streams.values()
            if tier in (EVERY_TIER, f"R{stream.config.num_replicas}")
        )

    def check_room(self, config: StreamConfig, old: StreamConfig | None = None) -> None:
        """Checks that account and server have room for what a stream may take. Raises JetStreamError."""
        tier, limits = self._limits_of(config)
        if 0 < limits.consumers < config.max_consumers:
            raise ApiError.MAXIMUM_CONSUMERS_LIMIT.error()
        is_memory = config.storage is Storage.MEMORY
        others = (stream.config for stream in self._of_tier(tier) if stream.name != config.name)
        reserved = _reserved(others, config.storage)
        wanted = _SMALL if config.max_bytes < 0 else config.max_bytes
        if old is not None:
            # What it has been given already is not asked for again.
            kept = min(max(old.max_bytes, 0), max(config.max_bytes, 0))
            reserved += kept
            wanted = max(config.max_bytes, 0) - kept
        ceiling = limits.memory if is_memory else limits.disk
        most = self.settings.max_memory if is_memory else self.settings.max_store
        of_account = ceiling >= 0 and reserved + wanted > ceiling
        if of_account or self.settings.reserved(config.storage) + wanted > most:
            raise self.exceeded(config)

    def exceeded(self, config: StreamConfig) -> JetStreamError:
        """That there is no room for what a stream is to hold."""
        is_memory = config.storage is Storage.MEMORY
        return (ApiError.MEMORY_RESOURCES_EXCEEDED if is_memory else ApiError.STORAGE_RESOURCES_EXCEEDED).error()

    def check_server_room(self, stream: Stream) -> None:
        """Checks that the server takes any more messages. Raises JetStreamError."""
        most = self.settings.max_memory if stream.is_memory else self.settings.max_store
        if self.settings.used(stream.config.storage) > most:
            raise ApiError.INSUFFICIENT_RESOURCES.error()

    def check_usage(self, stream: Stream, size: int) -> None:
        """Checks that the account may keep so many bytes more. Raises JetStreamError."""
        tier, limits = self._limits_of(stream.config)
        ceiling = limits.memory if stream.is_memory else limits.disk
        if ceiling != UNLIMITED and self._used(tier, stream.config.storage) + size > ceiling:
            raise ApiError.ACCOUNT_RESOURCES_EXCEEDED.error()

    def allowance_of(self, config: StreamConfig) -> int:
        """Bytes that a stream of such a configuration may store without a further question."""
        found = self.limits_for(config.num_replicas)
        if found is None:
            return 0
        tier, limits = found
        storage = config.storage
        is_memory = storage is Storage.MEMORY
        of_account = limits.memory if is_memory else limits.disk
        of_server = self.settings.max_memory if is_memory else self.settings.max_store
        used = 0 if of_account == UNLIMITED else self._used(tier, storage)
        return allowance_of(((of_account, used), (of_server, self.settings.used(storage))))

    def _used(self, tier: str, storage: Storage) -> int:
        # Every stream has one replica.
        return self.usages[storage].bytes if tier in (EVERY_TIER, "R1") else 0

    def used(self, storage: Storage) -> int:
        """Bytes that its streams hold."""
        return self._used(EVERY_TIER, storage)

    def reserved(self, storage: Storage) -> int:
        """Bytes that its streams may hold, as far as they say."""
        return _reserved((stream.config for stream in self.streams.values()), storage)

    # Answers

    def info(self) -> Plain:
        """What the account has and may have, as answers tell it."""
        info: Plain = {**self._use(EVERY_TIER), "limits": _shown(self.limits.get(EVERY_TIER, _NO_LIMITS))}
        if self.domain:
            info["domain"] = self.domain
        info["api"] = {"level": API_LEVEL, "total": self.requests, "errors": self.refused}
        if EVERY_TIER not in self.limits:
            info["tiers"] = {
                tier: {**self._use(tier), "limits": _shown(limits)} for tier, limits in sorted(self.limits.items())
            }
        return info

    def _use(self, tier: str) -> Plain:
        streams = list(self._of_tier(tier))
        configs = [stream.config for stream in streams]
        return {
            "memory": self._used(tier, Storage.MEMORY),
            "storage": self._used(tier, Storage.FILE),
            "reserved_memory": _reserved(configs, Storage.MEMORY),
            "reserved_storage": _reserved(configs, Storage.FILE),
            "streams": len(streams),
            "consumers": sum(stream.visible_consumers for stream in streams),
        }


_NO_LIMITS: Final = JetStreamLimits(0, 0, 0, 0, 0, 0, 0)
"""What is shown in place of limits for all tiers where each has its own."""


class _Kept(msgspec.Struct, kw_only=True):
    """The document of a stream."""

    created: Int64 = 0
    config: StreamConfig = msgspec.field(default_factory=StreamConfig)


def _reserved(configs: Iterable[StreamConfig], storage: Storage) -> int:
    return sum(config.max_bytes for config in configs if config.storage is storage and config.max_bytes > 0)


def _same(one: StreamConfig, other: StreamConfig) -> bool:
    """Whether two configurations say the same, apart from what the server writes."""
    return metadata.alike(one.metadata, other.metadata) and one == msgspec.structs.replace(
        other, metadata=one.metadata
    )


def _shown(limits: JetStreamLimits) -> Plain:
    return {
        "max_memory": limits.memory,
        "max_storage": limits.disk,
        "max_streams": limits.streams,
        "max_consumers": limits.consumers,
        "max_ack_pending": limits.max_ack_pending,
        "memory_max_stream_bytes": limits.memory_max_stream_bytes,
        "storage_max_stream_bytes": limits.disk_max_stream_bytes,
        "max_bytes_required": limits.max_bytes_required,
    }
