"""Where account JWTs come from: the ``resolver`` key in all its forms, and TLS towards an account server."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from auth.claims import OperatorClaims
from auth.envelope import JwtError
from auth.resolver.directory import check_directory
from broker.config.options import DEFAULT_CACHE_LIMIT, OperatorOptions, ResolverKind, ResolverOptions
from broker.config.tls_block import tls_fields
from broker.config.tree import Entry, Table
from broker.config.values import (
    NOWHERE,
    Key,
    Keys,
    Problems,
    boolean,
    fail,
    integer,
    keys,
    read_block,
    seconds_of,
    string,
)
from tls.context import client_context
from tls.policy import TLSSettings, TLSSettingsError

_URL: Final = re.compile(r'URL\(\s*"?([^\s"]*)"?\s*\)', re.IGNORECASE)

_UNKNOWN: Final = (
    'error parsing account resolver, should be MEM or  URL("url") or a map containing dir and type state=[FULL|CACHE])'
)


def resolver(entry: Entry, problems: Problems) -> ResolverOptions:
    """The account resolver: a word, a URL, or a map. The keys of the map are matched in lower case."""
    content, origin = entry.value.content, entry.position.origin
    if isinstance(content, Table):
        return _directory(entry, content, problems)
    if not isinstance(content, str):
        raise fail(entry, f"error parsing operator resolver, wrong type, {entry.value.kind}")
    word = content.strip()
    if word.upper() in {"MEM", "MEMORY"}:
        return ResolverOptions(ResolverKind.MEMORY, origin)
    found = _URL.fullmatch(word)
    if found is None:
        raise fail(entry, _UNKNOWN)
    if not is_account_server(found[1]):
        raise fail(entry, "error parsing account resolver url; write http://host/path or https://host/path")
    return ResolverOptions(ResolverKind.URL, origin, url=found[1])


def is_account_server(url: str) -> bool:
    """Whether it can be the URL of an account server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def default_resolver(operators: tuple[OperatorOptions, ...]) -> ResolverOptions | None:
    """The account server that the only operator names in its JWT, which serves where no resolver is configured."""
    if len(operators) != 1:
        return None
    try:
        claims = OperatorClaims.from_token(operators[0].token)
    except JwtError:
        return None
    url = claims.nats.account_server_url
    if not is_account_server(url):
        return None
    # The tools that push to an account server put this behind its URL.
    return ResolverOptions(ResolverKind.URL, operators[0].origin, url=f"{url.rstrip('/')}/accounts")


def _directory(entry: Entry, block: Table, problems: Problems) -> ResolverOptions:
    known = {**{item.key: Key("", _anything) for item in block}, **KEYS}
    before = len(problems.errors)
    fields: dict[str, Any] = read_block(block, known, problems, exact=True)
    fields.pop(NOWHERE, None)
    fields.pop("", None)
    if len(problems.errors) > before:
        return ResolverOptions()
    word = fields.pop("type", "").upper()
    if word in {"MEM", "MEMORY"}:
        return ResolverOptions(ResolverKind.MEMORY, entry.position.origin)
    if word not in {"FULL", "CACHE"}:
        raise fail(entry, _UNKNOWN)
    if not fields.get("directory"):
        raise fail(entry, "dir has no value and needs to point to a directory")
    refusal = check_directory(fields["directory"])
    if refusal:
        raise fail(entry, refusal)
    kind = ResolverKind(word.lower())
    _check_kind(entry, kind, fields)
    if fields.get("timeout", 1.0) <= 0:
        raise fail(entry, "timeout of the resolver is too small; write it like \"2s\"")
    if fields.get("interval", 1.0) <= 0:
        del fields["interval"]
    for field in ("limit", "ttl"):
        if fields.get(field, 0) < 0:
            raise fail(entry, f"{field} of the resolver can not be negative")
    if kind is ResolverKind.CACHE and not fields.get("limit"):
        fields["limit"] = DEFAULT_CACHE_LIMIT
    return ResolverOptions(kind, entry.position.origin, **fields)


def _check_kind(entry: Entry, kind: ResolverKind, fields: dict[str, Any]) -> None:
    if kind is ResolverKind.FULL:
        if fields.get("ttl"):
            raise fail(entry, "FULL does not accept ttl")
        if fields.get("hard_delete") and not fields.get("allow_delete"):
            raise fail(entry, "hard_delete has no effect without delete")
        return
    for field, word in (("allow_delete", "allow_delete"), ("hard_delete", "hard_delete"), ("interval", "sync")):
        if fields.get(field):
            raise fail(entry, f"CACHE does not accept {word}")


def _anything(entry: Entry, problems: Problems) -> None:
    """Unknown keys are ignored here."""


def _seconds(entry: Entry, problems: Problems) -> float:
    text = string(entry, problems)
    try:
        return seconds_of(text)
    except ValueError as error:
        raise fail(entry, str(error)) from None


_TEXT: Final = "duration in quotes"
KEYS: Final[Keys] = {
    **keys("type", field="type", read=string, kind="`full`, `cache` or `memory`",
           doc="Which JWTs are kept: all that are pushed, or those in use, which are looked up in the system account."),
    **keys("dir", field="directory", read=string, kind="path",
           doc="Directory of the JWTs, made where there is none. Required."),
    **keys("allow_delete", field="allow_delete", read=boolean, default="`false`",
           doc="`full`: an operator may have JWTs deleted. Their files are renamed to `.jwt.deleted`."),
    **keys("hard_delete", field="hard_delete", read=boolean, default="`false`",
           doc="`full`: nothing is left of a deleted JWT."),
    **keys("limit", field="limit", read=integer, default="`full`: none, `cache`: 1000",
           doc="JWTs that are kept. A full resolver takes no more, a cache drops what was not asked for the longest."),
    **keys("ttl", field="ttl", read=_seconds, kind=_TEXT, default="-",
           doc="`cache`: how long a JWT is kept that nobody asks for; without it, until it expires."),
    **keys("interval", field="interval", read=_seconds, kind=_TEXT, default="1 min",
           doc="`full`: how often others in the system account are asked for JWTs that are newer."),
    **keys("timeout", field="timeout", read=_seconds, kind=_TEXT, default="1.9 s", doc="How long one look-up takes."),
}


def resolver_tls(entry: Entry, problems: Problems) -> TLSSettings:
    """TLS towards an account server. Raises ConfigError where its certificates cannot be used."""
    before = len(problems.errors)
    fields = tls_fields(entry, problems)
    peers = fields.get("ocsp_peer")
    if fields.get("crl_files") or (peers is not None and peers.verify):
        raise fail(entry, "crl_files and ocsp_peer not supported in this context; they are about clients")
    settings = TLSSettings(**{name: fields[name] for name in fields if name in TLSSettings.__dataclass_fields__})
    if len(problems.errors) == before:
        try:
            client_context(settings)
        except TLSSettingsError as error:
            raise fail(entry, str(error)) from None
    return settings
