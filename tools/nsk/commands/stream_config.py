"""The flags of ``tool stream add|edit`` and ``tool consumer add``, and what each writes into a configuration.

What they do not know of is given as the API has it, in a file of JSON (``--config``); flags go on top of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tools.nsk.errors import NskError
from tools.nsk.flags import BOOLEAN, COUNT, DURATION, NUMBER, STRINGS, Flag, Flags, boolean, strings, text
from tools.nsk.session import Session
from tools.nsk.streams.api import Document
from tools.nsk.values import format_rfc3339, parse_duration, parse_when

CONFIG: Final = text("config", "", "file with a configuration in JSON, as the API has it; flags go on top of it")


@dataclass(frozen=True, slots=True)
class Setting:
    """A flag, the member of the configuration that it sets, and how it is read where its kind does not tell."""

    flag: Flag
    member: str
    read: Callable[[Flags, str], object] | None = None

    def value(self, flags: Flags) -> object:
        """What was given, as the API has it. Raises NskError."""
        name = self.flag.long.removeprefix("--")
        if self.read is not None:
            return self.read(flags, name)
        if self.flag.type is BOOLEAN:
            return flags.boolean(name)
        if self.flag.type is STRINGS:
            return flags.strings(name)
        return flags.number(name) if self.flag.type in (COUNT, NUMBER, DURATION) else flags.text(name)


def _one_of(*words: str) -> Callable[[Flags, str], object]:
    def read(flags: Flags, name: str) -> object:
        given = flags.text(name)
        if given not in words:
            raise NskError(f"--{name} is none of {', '.join(words)}: {given}")
        return given

    return read


def _named(flags: Flags, name: str) -> object:
    return {"name": flags.text(name)}


def _each_named(flags: Flags, name: str) -> object:
    return [{"name": entry} for entry in flags.strings(name)]


def _durations(flags: Flags, name: str) -> object:
    try:
        return [parse_duration(entry) for entry in flags.strings(name)]
    except ValueError as error:
        raise NskError(f"--{name}: {error}", remedy=f"write --{name} 1s,10s,1m") from None


def pairs(flags: Flags, name: str) -> dict[str, str]:
    """Entries that are written as ``key=value``. Raises NskError."""
    found = {}
    for entry in flags.strings(name):
        key, equals, value = entry.partition("=")
        if not equals or not key:
            raise NskError(f"--{name} takes key=value: {entry}", remedy=f"write --{name} team=billing")
        found[key] = value
    return found


def moment(given: str) -> str:
    """A time as the API has it, from one in RFC 3339, a date, or a distance from now. Raises NskError."""
    try:
        if "T" in given:
            datetime.fromisoformat(given)
            return given
        return format_rfc3339(parse_when(given, datetime.now(UTC)))
    except ValueError as error:
        raise NskError(
            str(error), remedy="write 2027-01-31T10:00:00Z, 2027-01-31, or a distance such as 90m, 3h, -2d"
        ) from None


def _count(name: str, description: str) -> Flag:
    return Flag(name, "", description, kind=COUNT)


def _size(name: str, description: str) -> Flag:
    return Flag(name, "", description, kind=NUMBER)


def _duration(name: str, description: str) -> Flag:
    return Flag(name, "", description, kind=DURATION)


DESCRIPTION: Final = Setting(text("description", "", "what it is for"), "description")
STORAGE: Final = Setting(
    text("storage", "", "file, which survives the server, or memory"), "storage", _one_of("file", "memory")
)
MAX_BYTES: Final = Setting(_size("max-bytes", "bytes that it may hold (units: k/m/g/t kib/mib/gib/tib)"), "max_bytes")
REPLICAS: Final = Setting(_count("replicas", "servers that keep it"), "num_replicas")
METADATA: Final = Setting(strings("metadata", "", "notes such as team=billing"), "metadata", pairs)
COMPRESSION: Final = Setting(
    text("compression", "", "s2, or none"), "compression", _one_of("none", "s2")
)

STREAM: Final = (
    Setting(strings("subjects", "", "subjects whose messages it keeps"), "subjects"),
    DESCRIPTION,
    STORAGE,
    Setting(
        text("retention", "", "how long it keeps them: limits, interest (until all consumers had them), workqueue "
             "(until one had them)"),
        "retention",
        _one_of("limits", "interest", "workqueue"),
    ),
    Setting(
        text("discard", "", "what gives way when it is full: old messages, or new ones"),
        "discard",
        _one_of("old", "new"),
    ),
    Setting(_count("max-msgs", "messages that it may hold"), "max_msgs"),
    Setting(_count("max-msgs-per-subject", "messages that it may hold of each subject"), "max_msgs_per_subject"),
    MAX_BYTES,
    Setting(_duration("max-age", "how old messages may get (#ms, #s, #m, #h)"), "max_age"),
    Setting(_size("max-msg-size", "bytes that a message may have"), "max_msg_size"),
    Setting(_count("max-consumers", "consumers that it may have"), "max_consumers"),
    Setting(
        _duration("duplicate-window", "for how long an id of a message is remembered (#ms, #s, #m, #h)"),
        "duplicate_window",
    ),
    REPLICAS,
    COMPRESSION,
    Setting(boolean("no-ack", "", "acknowledge nothing that is published"), "no_ack"),
    Setting(boolean("allow-direct", "", "let clients read single messages directly"), "allow_direct"),
    Setting(boolean("allow-rollup", "", "let messages take the place of all before them"), "allow_rollup_hdrs"),
    Setting(boolean("allow-msg-ttl", "", "let messages say how long they live"), "allow_msg_ttl"),
    Setting(boolean("deny-delete", "", "let nobody remove single messages; for good"), "deny_delete"),
    Setting(boolean("deny-purge", "", "let nobody purge it; for good"), "deny_purge"),
    Setting(text("mirror", "", "the stream that it is a copy of"), "mirror", _named),
    Setting(strings("source", "", "streams whose messages it takes over"), "sources", _each_named),
    METADATA,
)  # fmt: skip

CONSUMER: Final = (
    Setting(strings("filter", "", "subjects of the stream that it takes"), "filter_subjects"),
    DESCRIPTION,
    Setting(
        text("deliver", "", "where it begins: all, new, last, last_per_subject (default all)"),
        "deliver_policy",
        _one_of("all", "new", "last", "last_per_subject"),
    ),
    Setting(
        text("ack", "", "what is to be acknowledged: each message (explicit), all up to one (all), or none "
             "(default explicit)"),
        "ack_policy",
        _one_of("explicit", "all", "none"),
    ),
    Setting(_duration("ack-wait", "after how long a message comes again (#ms, #s, #m, #h)"), "ack_wait"),
    Setting(_count("max-deliver", "how often a message comes at most"), "max_deliver"),
    Setting(_count("max-ack-pending", "messages that may wait for their acknowledgements"), "max_ack_pending"),
    Setting(
        strings("backoff", "", "after how long a message comes again, each time (1s,10s,1m)"), "backoff", _durations
    ),
    Setting(text("replay", "", "instant, or original: at the pace of then"), "replay_policy",
            _one_of("instant", "original")),
    Setting(text("target", "", "subject that messages are pushed to; without it they are fetched"), "deliver_subject"),
    Setting(text("target-group", "", "queue group that shares what is pushed"), "deliver_group"),
    Setting(_duration("heartbeat", "how often to say that nothing comes, when pushing (#s)"), "idle_heartbeat"),
    Setting(boolean("flow-control", "", "push no faster than is taken"), "flow_control"),
    Setting(_count("max-waiting", "requests for messages that may wait"), "max_waiting"),
    Setting(_count("max-batch", "messages that one request may fetch"), "max_batch"),
    Setting(_duration("max-expires", "how long a request may wait (#s)"), "max_expires"),
    Setting(boolean("headers-only", "", "leave payloads out"), "headers_only"),
    Setting(boolean("memory", "", "keep where it stands in memory only"), "mem_storage"),
    Setting(_duration("inactive-threshold", "after how long without use it goes (#s, #m, #h)"), "inactive_threshold"),
    METADATA,
)  # fmt: skip


def flags_of(settings: Sequence[Setting]) -> tuple[Flag, ...]:
    """The flags of settings."""
    return tuple(setting.flag for setting in settings)


def given(flags: Flags, settings: Sequence[Setting]) -> Document:
    """The members of a configuration that flags set. Raises NskError."""
    return {
        setting.member: setting.value(flags)
        for setting in settings
        if flags.given(setting.flag.long.removeprefix("--"))
    }


def configuration(session: Session, flags: Flags) -> Document:
    """What the file holds that ``--config`` names, which may be what ``info --json`` printed; nothing without one."""
    named = flags.text("config")
    if not named:
        return {}
    try:
        found = json.loads(session.environment.absolute(named).read_text("utf-8"))
    except OSError as error:
        raise NskError(f"`{named}` cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise NskError(f"`{named}` is not a JSON object: {error}", remedy="mend the file") from None
    for wrapped in ("result", "config"):
        inner = found.get(wrapped) if isinstance(found, Mapping) else None
        found = inner if isinstance(inner, Mapping) else found
    if not isinstance(found, Mapping):
        raise NskError(f"`{named}` is not a JSON object", remedy="give it the members of a configuration of the API")
    # What the server notes of itself is not for it to be told.
    metadata = {key: value for key, value in (found.get("metadata") or {}).items() if not key.startswith("_nats.")}
    return {**found, "metadata": metadata} if metadata else {key: found[key] for key in found if key != "metadata"}
