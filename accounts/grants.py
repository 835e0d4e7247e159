"""Grants that people can read, and the permissions that each stands for: ``stream:read ORDERS`` and its kin.

A grant is words apart by blanks: what is granted, on what, and with which subjects. It expands into plain allows, which
whoever reads the permissions sees, and which any server understands; nothing is denied by it. Several grants add up.
What clients need besides is part of it: an inbox for answers, acknowledgements, the control of flow. Sources: ADR-2,
ADR-8, ADR-15, ADR-20, ADR-31 for the subjects; what official clients ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from accounts.permissions import Grant, Permissions, SubjectRules, quoted
from accounts.subject import REST, SINGLE, contains, is_literal, is_valid, matches

SHARED_INBOX: Final = "_INBOX.>"
"""Where answers come to whose inbox is not private."""

API: Final = "$JS.API"
_FORBIDDEN: Final = frozenset(".>\\/")
_ONE_CONSUMER: Final = ("CONSUMER.INFO", "CONSUMER.MSG.NEXT")


class InvalidGrantError(ValueError):
    """A text that is no grant. It says what is wrong, and what to write."""


@dataclass(frozen=True, slots=True)
class NamedGrant:
    """A grant with what it expands to: ``text`` is written as it is understood, one blank between words."""

    text: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...] = ()
    is_narrow: bool = False
    """Whether it names filters which only a server that judges payloads holds all requests to."""
    is_inbox: bool = False
    """Whether it gives an inbox of its own in place of the shared one."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class _Words:
    """What stands behind the name of a grant, and where the API is that it is about."""

    name: str
    on: str
    more: tuple[str, ...]
    domain: str
    prefix: str

    @property
    def api(self) -> str:
        """What requests begin with."""
        return f"$JS.{self.domain}.API" if self.domain else self.prefix or API

    @property
    def is_usual(self) -> bool:
        """Whether requests begin as they do without domain and prefix."""
        return not (self.domain or self.prefix)

    def below(self, *requests: str) -> tuple[str, ...]:
        """The subjects of requests."""
        return tuple(f"{self.api}.{request}" for request in requests)

    def published(self, subjects: Iterable[str]) -> tuple[str, ...]:
        """Subjects to store something on, which clients of a domain put behind its prefix."""
        found = tuple(subjects)
        return (*found, *(f"{self.api}.{subject}" for subject in found)) if self.domain else found


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of grant: how it is written, what it is for, and what it expands to."""

    usage: str
    purpose: str
    expand: Callable[[_Words], NamedGrant]
    least: int = 0
    """How many words it needs behind the first one that it is about."""
    most: int | None = 0
    """How many it takes, None for any number."""
    is_about: bool = True
    """Whether it is about something that has to be named."""
    needs: str = ""
    """What to write where words are missing."""


def _made(words: _Words, publish: Iterable[str], subscribe: Iterable[str] = (), *, narrow: bool = False) -> NamedGrant:
    options = [f"domain={words.domain}"] if words.domain else [f"prefix={words.prefix}"] if words.prefix else []
    text = " ".join([words.name, *([words.on] if words.on else []), *words.more, *options])
    return NamedGrant(text, tuple(dict.fromkeys(publish)), tuple(dict.fromkeys(subscribe)), narrow)


# Streams and consumers


def _read(words: _Words, stream: str, filters: Sequence[str]) -> NamedGrant:
    looks = words.below(f"STREAM.INFO.{stream}", "STREAM.NAMES")
    consumers = words.below(*(f"CONSUMER.{verb}.{stream}.*" for verb in ("INFO", "DELETE", "MSG.NEXT")))
    # Older requests name the filter, or the subject, in the payload alone.
    older = words.below(
        f"CONSUMER.CREATE.{stream}", f"CONSUMER.DURABLE.CREATE.{stream}.*",
        f"DIRECT.GET.{stream}", f"STREAM.MSG.GET.{stream}",
    )  # fmt: skip
    answers = (f"$JS.ACK.{stream}.>", f"$JS.FC.{stream}.>")
    if not filters:
        wide = words.below(f"CONSUMER.CREATE.{stream}.>", f"DIRECT.GET.{stream}.>")
        return _made(words, (*looks, *older, *wide, *consumers, *answers))
    narrow = [f"CONSUMER.CREATE.{stream}.*.{one}" for one in filters]
    narrow += [f"DIRECT.GET.{stream}.{one}" for one in filters]
    if not words.is_usual:
        # Another server, or another account, may not judge what payloads say.
        own = words.below(*(f"CONSUMER.{verb}.{stream}.*" for verb in ("INFO", "DELETE")))
        return _made(words, (*looks, *words.below(*narrow), *own, *answers))
    return _made(words, (*looks, *older, *words.below(*narrow), *consumers, *answers), narrow=True)


def _stream_read(words: _Words) -> NamedGrant:
    return _read(words, words.on, words.more)


def _stream_write(words: _Words) -> NamedGrant:
    return _made(words, words.published(words.more))


def _manage(words: _Words, stream: str) -> NamedGrant:
    verbs = ("CREATE", "UPDATE", "INFO", "DELETE", "PURGE", "SNAPSHOT", "RESTORE", "MSG.GET", "MSG.DELETE")
    streams = [f"STREAM.{verb}.{stream}" for verb in (*verbs, "LEADER.STEPDOWN", "PEER.REMOVE")]
    consumers = [f"CONSUMER.{verb}.{stream}" for verb in ("CREATE", "NAMES", "LIST")]
    named = ("INFO", "DELETE", "PAUSE", "UNPIN", "RESET", "LEADER.STEPDOWN", "DURABLE.CREATE")
    consumers += [f"CONSUMER.{verb}.{stream}.*" for verb in named]
    consumers += [f"CONSUMER.CREATE.{stream}.>", f"DIRECT.GET.{stream}", f"DIRECT.GET.{stream}.>"]
    moved = (f"$JS.SNAPSHOT.ACK.{stream}.>", f"$JS.SNAPSHOT.RESTORE.{stream}.>")
    return _made(words, (*words.below(*streams, *consumers), *moved))


def _stream_manage(words: _Words) -> NamedGrant:
    return _manage(words, words.on)


def _consumer_use(words: _Words) -> NamedGrant:
    consumer, *deliver = words.more
    own = f"{words.on}.{consumer}"
    asked = words.below(*(f"{verb}.{own}" for verb in _ONE_CONSUMER))
    queued = " ".join(deliver)
    return _made(words, (*asked, f"$JS.ACK.{own}.>", f"$JS.FC.{own}.>"), [queued] if queued else [])


# Buckets of the key-value and the object store


def _keys(words: _Words) -> list[str]:
    return [f"$KV.{words.on}.{key}" for key in words.more]


def _kv_read(words: _Words) -> NamedGrant:
    return _read(words, f"KV_{words.on}", _keys(words))


def _kv_write(words: _Words) -> NamedGrant:
    keys = words.published(_keys(words) or [f"$KV.{words.on}.>"])
    return _made(words, (*words.below(f"STREAM.INFO.KV_{words.on}"), *keys))


def _kv_manage(words: _Words) -> NamedGrant:
    return _manage(words, f"KV_{words.on}")


def _object_read(words: _Words) -> NamedGrant:
    return _read(words, f"OBJ_{words.on}", ())


def _object_write(words: _Words) -> NamedGrant:
    stream, about = f"OBJ_{words.on}", f"$O.{words.on}.M.>"
    asked = words.below(f"STREAM.INFO.{stream}", f"STREAM.PURGE.{stream}", f"DIRECT.GET.{stream}.{about}")
    asked += words.below(f"STREAM.MSG.GET.{stream}") if words.is_usual else ()
    return _made(words, (*asked, *words.published([f"$O.{words.on}.>"])), narrow=words.is_usual)


def _object_manage(words: _Words) -> NamedGrant:
    return _manage(words, f"OBJ_{words.on}")


# The rest


def _list(words: _Words) -> NamedGrant:
    return _made(words, words.below("INFO", "STREAM.NAMES", "STREAM.LIST"))


def _admin(words: _Words) -> NamedGrant:
    own = ("$JS.ACK.>", "$JS.FC.>", "$JS.SNAPSHOT.>")
    return _made(words, (*words.below(REST), *own), ("$JS.EVENT.>",))


def _inbox(words: _Words) -> NamedGrant:
    made = _made(words, (), (f"{words.on}.>",))
    return NamedGrant(made.text, (), made.subscribe, is_inbox=True)


_SUBJECTS: Final = "name the subjects that may be published to"
KINDS: Final = {
    "stream:read": Kind(
        "stream:read STREAM [FILTER…]", "reads a stream, by consumers of its own and by direct gets", _stream_read,
        most=None,
    ),
    "stream:write": Kind(
        "stream:write STREAM SUBJECT…", "publishes to the subjects, and is told what became of it", _stream_write,
        least=1, most=None, needs=_SUBJECTS,
    ),
    "stream:manage": Kind(
        "stream:manage STREAM", "makes, changes, purges and deletes the stream and its consumers", _stream_manage
    ),
    "consumer:use": Kind(
        "consumer:use STREAM CONSUMER [DELIVER-SUBJECT [QUEUE]]", "takes and acknowledges what a consumer has",
        _consumer_use, least=1, most=3, needs="name the consumer",
    ),
    "kv:read": Kind("kv:read BUCKET [KEY…]", "gets, watches and lists keys, and their history", _kv_read, most=None),
    "kv:write": Kind("kv:write BUCKET [KEY…]", "puts, deletes and purges keys", _kv_write, most=None),
    "kv:manage": Kind("kv:manage BUCKET", "makes, changes and deletes the bucket", _kv_manage),
    "object:read": Kind("object:read BUCKET", "gets, watches and lists objects", _object_read),
    "object:write": Kind("object:write BUCKET", "puts and deletes objects, and sees what they are", _object_write),
    "object:manage": Kind("object:manage BUCKET", "makes, changes and deletes the bucket", _object_manage),
    "jetstream:list": Kind(
        "jetstream:list", "sees what streams there are, and what the account may take", _list, is_about=False
    ),
    "jetstream:admin": Kind("jetstream:admin", "the whole API, and its events", _admin, is_about=False),
    "inbox:private": Kind("inbox:private PREFIX", "has answers come below PREFIX. instead of _INBOX.", _inbox),
}  # fmt: skip
"""By the first word."""

_WILD: Final = frozenset({"stream:read", "stream:manage", "consumer:use"})
"""Where ``*`` stands for every stream."""


def parse_named_grant(text: str) -> NamedGrant:
    """Reads a grant. Raises InvalidGrantError."""
    name, *rest = text.split() or [""]
    kind = KINDS.get(name)
    if kind is None:
        raise InvalidGrantError(f"there is no grant {quoted(name)}; the grants are: {', '.join(KINDS)}")
    options = {"domain": "", "prefix": ""}
    words: list[str] = []
    for word in rest:
        option, is_option, value = word.partition("=")
        if not (is_option and option in options):
            words.append(word)
        elif options[option]:
            raise _wrong(text, f"names {option} twice")
        else:
            options[option] = value
            if not is_valid(value) or SINGLE in value.split(".") or (option == "domain" and "." in value):
                raise _wrong(text, f"has a {option} that is none: {quoted(value)}")
    if options["domain"] and options["prefix"]:
        raise _wrong(text, "names both a domain and a prefix; write one of them")
    on = ""
    if kind.is_about:
        if not words:
            raise _wrong(text, f"is about nothing; write it as: {kind.usage}")
        on, *words = words
        _check_name(text, name, on)
    if len(words) < kind.least:
        raise _wrong(text, f"is not complete: {kind.needs}, as in {kind.usage}")
    if kind.most is not None and len(words) > kind.most:
        raise _wrong(text, f"has more words than it takes; write it as: {kind.usage}")
    _check_words(text, name, words)
    return kind.expand(_Words(name, on, tuple(words), options["domain"], options["prefix"]))


def _wrong(text: str, what: str) -> InvalidGrantError:
    return InvalidGrantError(f"the grant {quoted(text)} {what}")


def _check_name(text: str, kind: str, on: str) -> None:
    if kind == "inbox:private":
        if not is_literal(on):
            raise _wrong(text, f"has a prefix that is none: {quoted(on)}")
    elif not is_valid(on) or not _FORBIDDEN.isdisjoint(on) or (SINGLE in on and not (on == SINGLE and kind in _WILD)):
        raise _wrong(text, f"is about {quoted(on)}, which nothing can be called")


def _check_words(text: str, kind: str, words: Sequence[str]) -> None:
    for position, word in enumerate(words):
        if not is_valid(word):
            raise _wrong(text, f"has a subject that is none: {quoted(word)}")
        if kind == "consumer:use" and position == 0 and word != SINGLE:
            _check_name(text, kind, word)
        if kind == "stream:write" and (contains(word, f"{API}.{REST}") or word.startswith("$JS.")):
            raise _wrong(text, f"would let requests be published by {quoted(word)}; name the subjects of the stream")


def permissions_of(grants: Sequence[NamedGrant], origins: Sequence[str] = ()) -> Permissions:
    """The permissions that grants add up to; of each entry its origin names the grant, behind its own place if any.

    Answers come to the shared inbox unless a grant gives another one.
    """
    publish: dict[str, Grant] = {}
    subscribe: dict[str, Grant] = {}
    for number, grant in enumerate(grants):
        place = f"{origins[number]}, " if origins else ""
        origin = f"{place}grant {quoted(grant.text)}"
        for subject in grant.publish:
            publish.setdefault(subject, Grant(subject, None, origin))
        for entry in grant.subscribe:
            subject, _, queue = entry.partition(" ")
            subscribe.setdefault(entry, Grant(subject, queue or None, origin))
        if not any(one.is_inbox for one in grants):
            subscribe.setdefault(SHARED_INBOX, Grant(SHARED_INBOX, None, origin))
    return Permissions(SubjectRules(tuple(publish.values())), SubjectRules(tuple(subscribe.values())))


def granting(subject: str) -> str:
    """The least grant that lets a subject of JetStream be published to; empty where none does."""
    parts = subject.split(".")
    for text in _candidates(parts):
        try:
            grant = parse_named_grant(text)
        except InvalidGrantError:
            continue
        if any(matches(pattern, subject) for pattern in grant.publish):
            return text
    return ""


def _candidates(parts: Sequence[str]) -> Iterable[str]:
    """What may be the grant, the least first."""
    if parts[0] in ("$KV", "$O") and len(parts) > _BUCKET:
        store, key = ("kv", " " + ".".join(parts[2:])) if parts[0] == "$KV" else ("object", "")
        yield f"{store}:write {parts[1]}{key}"
    if parts[0] != "$JS":
        return
    yield "jetstream:list"
    named = parts[2:] if parts[1] in ("ACK", "FC") else []
    for verb in _VERBS:
        words = verb.split(".")
        if parts[1] == "API" and parts[2 : 2 + len(words)] == words:
            named = parts[2 + len(words) :]
    if named:
        stream, *more = named
        if more and (parts[1] != "API" or any(verb.split(".") == parts[2:-2] for verb in _ONE_CONSUMER)):
            yield f"consumer:use {stream} {more[0]}"
        for store, prefix, about in (("kv", "KV_", "$KV."), ("object", "OBJ_", "$O.")):
            if stream.startswith(prefix):
                bucket = stream.removeprefix(prefix)
                key = ".".join(more).partition(f"{about}{bucket}.")[2]
                yield f"{store}:read {bucket} {key}".rstrip()
                yield f"{store}:write {bucket}"
                yield f"{store}:manage {bucket}"
        yield f"stream:read {stream}"
        yield f"stream:manage {stream}"
    yield "jetstream:admin"


_BUCKET: Final = 2
_VERBS: Final = (
    *("STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.DELETE", "STREAM.PURGE", "STREAM.SNAPSHOT"),
    *("STREAM.RESTORE", "STREAM.MSG.GET", "STREAM.MSG.DELETE", "DIRECT.GET", "CONSUMER.CREATE"),
    *("CONSUMER.DURABLE.CREATE", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.MSG.NEXT", "CONSUMER.NAMES"),
    *("CONSUMER.LIST", "CONSUMER.PAUSE", "CONSUMER.UNPIN", "CONSUMER.RESET"),
)
"""What stands before the name of a stream."""
