"""Key-value buckets in the form of ADR-8: a stream ``KV_<bucket>``, a subject ``$KV.<bucket>.<key>`` for each key."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from tools.nsk.errors import NskError
from tools.nsk.streams.api import NO_STREAM, WRONG_SEQUENCE, ApiError, Document, JetStream, Stored
from tools.nsk.streams.reading import reading

PREFIX: Final = "KV_"
MOST_HISTORY: Final = 64
PUT: Final = "PUT"
DELETE: Final = "DEL"
PURGE: Final = "PURGE"

_BUCKET: Final = re.compile(r"[A-Za-z0-9_-]+")
_KEY: Final = re.compile(r"[-/_=.a-zA-Z0-9]+")
_PATTERN: Final = re.compile(r"[-/_=.a-zA-Z0-9*>]+")
_OPERATION: Final = "KV-Operation"
_REASON: Final = "Nats-Marker-Reason"
_ROLLUP: Final = {"Nats-Rollup": "sub"}
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_TTL: Final = "Nats-TTL"
_WINDOW: Final = 120 * 10**9
_MARKERS: Final = {"MaxAge": PURGE, "Purge": PURGE, "Remove": DELETE}
"""What a marker stands for that the server has put in place of a value."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a key had at one revision. ``operation`` is ``PUT``, ``DEL`` or ``PURGE``; the time is in RFC 3339."""

    key: str
    revision: int
    operation: str
    time: str
    value: bytes


def check_bucket(name: str) -> str:
    """The name of a bucket. Raises NskError for one that there cannot be."""
    if not _BUCKET.fullmatch(name):
        raise NskError(f"`{name}` cannot be a bucket", remedy="use letters, digits, - and _")
    return name


def check_key(key: str, *, pattern: bool = False) -> str:
    """A key, or a pattern of keys with wildcards. Raises NskError for one that there cannot be."""
    if not (_PATTERN if pattern else _KEY).fullmatch(key) or key.startswith(".") or key.endswith("."):
        raise NskError(f"`{key}` cannot be a key", remedy="use letters, digits, -/_=. and no dot at either end")
    return key


def bucket_config(name: str, *, history: int = 1, ttl: int = 0, marker_ttl: int = 0, mirror: str = "") -> Document:
    """The configuration of the stream of a bucket. Durations are in nanoseconds. Raises NskError."""
    check_bucket(name)
    if not 1 <= history <= MOST_HISTORY:
        raise NskError(f"--history is 1 to {MOST_HISTORY}: {history}", remedy="keep the older values elsewhere")
    config: Document = {
        "name": f"{PREFIX}{name}",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_msgs_per_subject": history,
        "max_age": ttl,
        "duplicate_window": min(ttl, _WINDOW) if ttl else _WINDOW,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": True,
    }
    if marker_ttl:
        config |= {"allow_msg_ttl": True, "subject_delete_marker_ttl": marker_ttl}
    if mirror:
        config |= {"mirror": {"name": f"{PREFIX}{check_bucket(mirror)}"}, "mirror_direct": True}
    else:
        config["subjects"] = [f"$KV.{name}.>"]
    return config


class Bucket:
    """One bucket."""

    def __init__(self, streams: JetStream, name: str, info: Document) -> None:
        self.name = name
        self.info = info
        self._streams = streams
        config = info["config"]
        self._stream: str = config["name"]
        self._direct = bool(config.get("allow_direct"))
        origin: dict[str, Any] = config.get("mirror") or {}
        # A mirror has the subjects of its origin, and what is written goes there.
        self._subjects = f"$KV.{origin.get('name', '').removeprefix(PREFIX) or name}."
        api = (origin.get("external") or {}).get("api", "")
        self._written = f"{api}.{self._subjects}" if api else self._subjects

    @classmethod
    async def open(cls, streams: JetStream, name: str) -> Bucket:
        """A bucket that is there. Raises NskError."""
        check_bucket(name)
        try:
            return cls(streams, name, await streams.info(f"{PREFIX}{name}"))
        except ApiError as error:
            if error.number == NO_STREAM:
                raise NskError(f"there is no bucket {name}", remedy="nsk tool kv ls shows what there is") from None
            raise

    async def entry(self, key: str, revision: int = 0) -> Entry | None:
        """What a key had at a revision, or has now, which may be that it was deleted."""
        subject = f"{self._subjects}{check_key(key)}"
        which: dict[str, Any] = {"sequence": revision} if revision else {"last_of": subject}
        found = await self._streams.message(self._stream, direct=self._direct, **which)
        return self._entry(found) if found is not None and found.subject == subject else None

    async def get(self, key: str, revision: int = 0) -> Entry:
        """The value of a key. Raises NskError where it has none."""
        found = await self.entry(key, revision)
        if found is None or found.operation != PUT:
            when = f" at revision {revision}" if revision else ""
            gone = ": it was deleted" if found is not None else ""
            raise NskError(
                f"bucket {self.name} has no key {key}{when}{gone}",
                remedy=f"nsk tool kv ls {self.name} shows its keys, nsk tool kv history what they had",
            )
        return found

    async def put(self, key: str, value: bytes) -> int:
        """Give a key a value; its revision."""
        return await self._publish(key, value)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Give a key a value if its last revision is this one. Raises NskError."""
        return await self._publish(key, value, {_EXPECTED: str(revision)})

    async def create(self, key: str, value: bytes, ttl: int = 0) -> int:
        """Give a key a value if it has none. ``ttl`` in seconds. Raises NskError."""
        more = {_TTL: f"{ttl}s"} if ttl else {}
        try:
            return await self._publish(key, value, {_EXPECTED: "0", **more})
        except ApiError as error:
            if error.number not in WRONG_SEQUENCE:
                raise
        last = await self.entry(key)
        if last is not None and last.operation == PUT:
            raise NskError(
                f"bucket {self.name} has a key {key} already",
                remedy=f"nsk tool kv update {self.name} {key} <value> --revision {last.revision}, or kv put",
            )
        return await self._publish(key, value, {_EXPECTED: str(last.revision if last else 0), **more})

    async def delete(self, key: str, revision: int = 0) -> int:
        """Mark a key as deleted; its history stays. Raises NskError."""
        more = {_EXPECTED: str(revision)} if revision else {}
        return await self._publish(key, b"", {_OPERATION: DELETE, **more})

    async def purge(self, key: str, revision: int = 0, ttl: int = 0) -> int:
        """Drop a key with its history, but for a mark that stays for ``ttl`` seconds, or for good. Raises NskError."""
        more = {_EXPECTED: str(revision)} if revision else {}
        more |= {_TTL: f"{ttl}s"} if ttl else {}
        return await self._publish(key, b"", {_OPERATION: PURGE, **_ROLLUP, **more})

    async def entries(
        self,
        pattern: str = ">",
        *,
        history: bool = False,
        follow: bool = False,
        updates: bool = False,
        keys: bool = False,
    ) -> AsyncGenerator[Entry, None]:
        """What keys have now, or had too; with ``follow`` also what comes, with ``updates`` only that.

        With ``keys`` the values stay where they are. Raises NskError.
        """
        deliver = "new" if updates else "all" if history else "last_per_subject"
        subject = f"{self._subjects}{check_key(pattern, pattern=True)}"
        found = reading(
            self._streams, self._stream, [subject], deliver=deliver, headers_only=keys, follow=follow or updates
        )
        async with aclosing(found):
            async for message in found:
                yield self._entry(message)

    async def _publish(self, key: str, value: bytes, headers: dict[str, str] | None = None) -> int:
        return await self._streams.publish(f"{self._written}{check_key(key)}", value, headers)

    def _entry(self, message: Stored) -> Entry:
        headers = message.headers
        operation = headers.get(_OPERATION) or _MARKERS.get(headers.get(_REASON, ""), PUT)
        key = message.subject.removeprefix(self._subjects)
        return Entry(key, message.sequence, operation, message.time, message.payload)
