"""``ocsp``, ``ocsp_cache``, and ``ocsp_peer`` of a ``tls`` block: whether certificates are revoked."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from broker.config.tree import Entry, Table
from broker.config.values import Keys, Problems, boolean, fail, keys, name, positioned_strings, read_block, seconds_of
from broker.config.values import string as text_of
from tls.revocation.settings import CacheKind, CacheSettings, PeerSettings, StapleMode, StapleSettings

LEAST_INTERVAL: Final = 1.0
"""Seconds between two savings of the cache."""

_MODES: Final = {mode.value: mode for mode in StapleMode}
_KINDS: Final = {kind.value: kind for kind in CacheKind}
_TIME: Final = "seconds, or a duration"


def ocsp(entry: Entry, problems: Problems) -> StapleSettings:
    """The block, or a boolean in its place. Its keys are matched in their exact case."""
    content = entry.value.content
    if isinstance(content, bool):
        return StapleSettings(mode=StapleMode.AUTO if content else StapleMode.NEVER)
    if not isinstance(content, Table):
        raise fail(entry, f"error parsing ocsp config: unsupported type, {entry.value.kind}; use true, false or a map")
    unknown = 'error parsing ocsp config: unsupported field "{}"'
    return StapleSettings(**read_block(content, OCSP, problems, unknown, exact=True))


def ocsp_cache(entry: Entry, problems: Problems) -> CacheSettings:
    """The block, or a boolean in its place."""
    content = entry.value.content
    if isinstance(content, bool):
        return CacheSettings(kind=CacheKind.LOCAL if content else CacheKind.NONE)
    if not isinstance(content, Table):
        what = "error parsing OCSP peer cache config: unsupported type"
        raise fail(entry, f"{what}, {entry.value.kind}; use true, false or a map")
    unknown = 'error parsing OCSP peer cache config, unknown field ["{}"]'
    return CacheSettings(**read_block(content, OCSP_CACHE, problems, unknown))


def ocsp_peer(entry: Entry, problems: Problems) -> PeerSettings:
    """The block, or a boolean in its place."""
    content = entry.value.content
    if isinstance(content, bool):
        return PeerSettings(verify=content)
    if not isinstance(content, Table):
        what = "error parsing ocsp peer config: unsupported type"
        raise fail(entry, f"{what}, {entry.value.kind}; use true, false or a map")
    fields = read_block(content, OCSP_PEER, problems, 'error parsing tls peer config, unknown field ["{}"]')
    # No time at all would leave no question a chance; nats-server takes it for the default as well.
    fields["timeout"] = fields.get("timeout") or PeerSettings().timeout
    return PeerSettings(**fields)


def _mode(entry: Entry, problems: Problems) -> StapleMode:
    text = text_of(entry, problems)
    mode = _MODES.get(text.lower())
    if mode is None:
        raise fail(entry, f'error parsing ocsp config: unsupported ocsp mode "{text}"; use always, must, never or auto')
    return mode


def _kind(entry: Entry, problems: Problems) -> CacheKind:
    text = text_of(entry, problems)
    kind = _KINDS.get(text.lower())
    if kind is None:
        raise fail(entry, f"error parsing OCSP peer cache config, unknown type [{text}]; use none or local")
    return kind


def _urls(entry: Entry, _: Problems) -> tuple[str, ...]:
    urls = tuple(text for text, _ in positioned_strings(entry))
    for url in urls:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise fail(entry, f'error parsing ocsp config: "{url}" is no URL of HTTP; write http://host:port/path')
    return urls


def _seconds(entry: Entry, _: Problems) -> float:
    content = entry.value.content
    what = "error parsing tls peer config, conversion error"
    if isinstance(content, str):
        try:
            value = seconds_of(content)
        except ValueError as error:
            raise fail(entry, f"{what}: {error}") from None
    elif isinstance(content, bool) or not isinstance(content, int | float):
        raise fail(entry, f"{what}: unexpected type, {entry.value.kind}; write seconds, or a duration in quotes")
    else:
        value = float(content)
    if value < 0:
        raise fail(entry, f"{what}: {entry.key} must not be negative")
    return value


def _save_interval(entry: Entry, problems: Problems) -> float:
    value = _seconds(entry, problems)
    if value < LEAST_INTERVAL:
        problems.warn(entry, "the interval is raised to 1s")
    return max(value, LEAST_INTERVAL)


OCSP: Final[Keys] = {
    **keys(
        "mode",
        field="mode",
        read=_mode,
        kind="`always`, `must`, `never` or `auto`",
        doc="For which certificates: `auto` and `must` for those that are must-staple, `always` for all. With `always` "
        "and `must` the server does not run with a revoked one.",
    ),
    **keys(
        "url", "urls", field="urls", read=_urls, kind="URL, or list of them",
        doc="Responders to ask in place of those that the certificates name.",
    ),
}

OCSP_CACHE: Final[Keys] = {
    **keys(
        "type", field="kind", read=_kind, kind="`none` or `local`",
        doc="Whether answers are kept, in memory and in a file.",
    ),
    **keys("local_store", field="directory", read=name, kind="path", doc="Directory of the file."),
    **keys(
        "preserve_revoked",
        field="preserve_revoked",
        read=boolean,
        doc="Keep what says that a certificate is revoked, though it is out of date.",
    ),
    **keys(
        "save_interval", field="save_interval", read=_save_interval, kind=_TIME,
        doc="Time between two savings; at least 1 s.",
    ),
}

OCSP_PEER: Final[Keys] = {
    **keys("verify", field="verify", read=boolean, doc="Whether to ask."),
    **keys("ca_timeout", field="timeout", read=_seconds, kind=_TIME, doc="How long one responder may take."),
    **keys(
        "allowed_clockskew", field="clock_skew", read=_seconds, kind=_TIME, doc="By how much clocks may differ."
    ),
    **keys("warn_only", field="warn_only", read=boolean, doc="Refuse nobody, only warn in the log."),
    **keys(
        "unknown_is_good",
        field="unknown_is_good",
        read=boolean,
        doc="Accept certificates that the responder does not know.",
    ),
    **keys(
        "allow_when_ca_unreachable",
        field="allow_when_unreachable",
        read=boolean,
        doc="Accept certificates about which nobody answers, unless they were revoked when last asked about.",
    ),
    **keys(
        "cache_ttl_when_next_update_unset",
        field="default_validity",
        read=_seconds,
        kind=_TIME,
        doc="How long an answer holds that does not say when there will be a newer one.",
    ),
}
