"""The words that fields choose from; the first of each is the default (ADR-8, ADR-15, ADR-37, ADR-42)."""

from __future__ import annotations

from typing import Self

from broker.jetstream.codec import TextWord, Word


class Retention(Word):
    """When a message may go."""

    LIMITS = "limits"
    INTEREST = "interest"
    """Once every consumer that wants it has acknowledged it."""
    WORK_QUEUE = "workqueue"
    """Once one consumer has."""


class Discard(Word):
    """What gives way in a full stream."""

    OLD = "old"
    NEW = "new"

    @classmethod
    def read(cls, text: str | None, raw: str) -> Self:
        return super().read(None if text is None else text.lower(), raw)


class Storage(Word):
    """Where messages are kept."""

    FILE = "file"
    MEMORY = "memory"


class Compression(TextWord):
    """How messages are kept on disk."""

    NONE = "none"
    S2 = "s2"

    @classmethod
    def refusal(cls, raw: str) -> str:
        return "unknown compression algorithm"


class PersistMode(Word):
    """Whether a message is acknowledged before it is on disk."""

    DEFAULT = "default"
    ASYNC = "async"

    @classmethod
    def read(cls, text: str | None, raw: str) -> Self:
        return super().read("default" if text == "" else text, raw)


class DeliverPolicy(Word):
    """Where a consumer begins."""

    ALL = "all"
    LAST = "last"
    NEW = "new"
    BY_START_SEQUENCE = "by_start_sequence"
    BY_START_TIME = "by_start_time"
    LAST_PER_SUBJECT = "last_per_subject"

    @classmethod
    def read(cls, text: str | None, raw: str) -> Self:
        return super().read("all" if text == "undefined" else text, raw)


class AckPolicy(Word):
    """What a consumer expects to hear about messages."""

    NONE = "none"
    ALL = "all"
    EXPLICIT = "explicit"
    FLOW_CONTROL = "flow_control"


class ReplayPolicy(Word):
    """How fast old messages are delivered."""

    INSTANT = "instant"
    ORIGINAL = "original"


class PriorityPolicy(Word):
    """Which of the clients that pull gets a message."""

    NONE = "none"
    OVERFLOW = "overflow"
    PINNED_CLIENT = "pinned_client"
    PRIORITIZED = "prioritized"

    @classmethod
    def refusal(cls, raw: str) -> str:
        return f"unknown priority policy: {raw}"


class Action(Word):
    """What a request to create a consumer is meant for."""

    CREATE_OR_UPDATE = ""
    CREATE = "create"
    UPDATE = "update"

    @classmethod
    def read(cls, text: str | None, raw: str) -> Self:
        return super().read("?" if text is None else text, raw)

    @classmethod
    def refusal(cls, raw: str) -> str:
        return f"unknown consumer action: {raw}"
