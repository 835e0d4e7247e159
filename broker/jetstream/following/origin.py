"""Where a mirror or a source takes messages from, and what becomes of each on the way."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from broker.control.tenant import wire
from broker.core.log import Filter
from broker.jetstream.codec import Plain, now, plain
from broker.jetstream.config.names import transform
from broker.jetstream.publish.headers import STREAM_SOURCE, with_lines, without, without_prefix
from broker.session.session import shown

if TYPE_CHECKING:
    from accounts.transform import SubjectTransform
    from broker.jetstream.config.stream import StreamSource

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HASH_LENGTH: Final = 8
_EVERYTHING: Final = ">"


def short_hash(text: str) -> str:
    """Eight characters that stand for a name (ADR-15)."""
    return "".join(_DIGITS[byte % len(_DIGITS)] for byte in sha256(text.encode()).digest()[:_HASH_LENGTH])


class Origin:
    """One mirror or source, as the configuration says."""

    def __init__(self, config: StreamSource) -> None:
        self.config = config
        self.patterns = [one.src or _EVERYTHING for one in config.subject_transforms]
        if not self.patterns and config.filter_subject:
            self.patterns = [config.filter_subject]
        self._transforms: list[SubjectTransform | None] = [
            transform(one.src or _EVERYTHING, one.dest) if one.dest else None for one in config.subject_transforms
        ]
        self.heard: int | None = None
        """When it was heard of last, in nanoseconds since 1970."""
        self.error: Plain | None = None
        """Why nothing comes."""

    @property
    def name(self) -> str:
        """The name of the other stream."""
        return self.config.name

    @property
    def key(self) -> str:
        """What tells it from the other sources of a stream: names, filters and destinations."""
        name = self.name
        if self.config.external is not None:
            name += ":" + short_hash(self.config.external.api)
        filters = ",".join(self.patterns) or _EVERYTHING
        targets = ",".join(one.dest or _EVERYTHING for one in self.config.subject_transforms) or _EVERYTHING
        return f"{name} {filters} {targets}"

    def filter(self) -> Filter:
        """What it takes of the other stream."""
        return Filter([wire(pattern) for pattern in self.patterns] if self.patterns else None)

    def target(self, subject: bytes) -> bytes:
        """The subject under which a message is stored here."""
        for one in self._transforms:
            if one is not None:
                changed = one.apply(shown(subject), _first)
                if changed is not None:
                    return wire(changed)
        return subject

    def marked(self, header: bytes | None, subject: bytes, sequence: int) -> bytes:
        """The header of a message that comes from here: it says where it was; expectations are gone."""
        if header is not None:
            header = without(header, STREAM_SOURCE)
        for prefix in (b"Nats-Expected-", b"Nats-Batch-"):
            if header is not None:
                header = without_prefix(header, prefix)
        name, filters, targets = wire(self.key).split(b" ")
        place = b"%b %d %b %b %b" % (name, sequence, filters, targets, subject)
        return with_lines(header, [(STREAM_SOURCE, place)])

    def info(self, lag: int) -> Plain:
        """What answers tell of it."""
        config = self.config
        info: Plain = {"name": self.name}
        if config.external is not None:
            info["external"] = plain(config.external)
        info["lag"] = lag
        info["active"] = -1 if self.heard is None else now() - self.heard
        if self.error is not None:
            info["error"] = self.error
        if config.filter_subject:
            info["filter_subject"] = config.filter_subject
        if config.subject_transforms:
            info["subject_transforms"] = [plain(one) for one in config.subject_transforms]
        return info


def _first(_: int) -> int:
    return 0
