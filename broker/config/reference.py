"""Writes docs/configuration.md from the schema: ``python -m broker.config.reference > docs/configuration.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from importlib import import_module
from typing import Final

from broker.config import (
    access_block,
    account_jetstream_block,
    accounts_block,
    admission_block,
    audit_block,
    callout_block,
    exchange,
    jetstream_block,
    load,
    ocsp_block,
    proxy_block,
    resolver_block,
    schema,
    tls_block,
    unix_block,
    users,
    websocket_block,
)
from broker.config.absent import ABSENT_KEYS
from broker.config.options import (
    AdmissionOptions,
    AuditOptions,
    AuthorizationOptions,
    JetStreamOptions,
    Options,
    ProxyOptions,
    ResolverOptions,
    TLSOptions,
    UnixOptions,
    WebSocketOptions,
)
from broker.config.reloading import RULES, Takes
from broker.config.validate import duration_words
from broker.config.values import (
    Key,
    Keys,
    Reader,
    boolean,
    count,
    duration,
    duration_text,
    integer,
    name,
    one_or_more,
    port,
    rate,
    string,
    string_map,
    strings,
)
from tls.revocation.settings import CacheSettings, PeerSettings, StapleSettings


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the document."""

    title: str
    keys: Keys
    intro: str = ""
    options: object = None
    """What has the fields that the keys set, for their defaults."""
    prefix: str = ""
    """Where that stands in the options, with a dot at the end."""
    reload: str | None = None
    """What a reload does with all of them; None where each key has a rule of its own."""


_KINDS: Final[Mapping[Reader, str]] = {
    boolean: "boolean",
    string: "string",
    name: "string",
    rate: "number",
    integer: "number",
    count: "number",
    port: "port",
    duration: "duration",
    duration_text: "duration in quotes",
    one_or_more: "string or list",
    strings: "list of strings",
    string_map: "map of strings",
}
"""The words for readers that say all about a kind."""

_TAKES: Final = {
    Takes.ALL: "yes",
    Takes.NEW: "new connections",
    Takes.SERVER: "yes",
    Takes.RESTART: "no",
}
_YES: Final = "yes"
_NEW: Final = _TAKES[Takes.NEW]
_NO: Final = "-"

_INTRODUCTION: Final = """# Configuration

Every key that a configuration file may hold. This document is made from the schema that reads the file
(`broker/config`); do not edit it: `python -m broker.config.reference > docs/configuration.md`.

The language is that of nats-server: `key: value`, `key = value` or `key value`; maps in braces, lists in brackets,
both over several lines; comments behind `#` or `//`; `$NAME` for a key defined above or a variable of the environment;
`include "file"`, relative to the file it stands in. Case does not matter in keys, except where it is said.

| Kind | Values |
|---|---|
| boolean | `true` `false` `yes` `no` `on` `off`, without quotes |
| number, bytes | An integer; `k m g t p` after it are powers of 1000, `kb mb …` (and `ki`, `kib`) powers of 1024 |
| duration | `"250ms"`, `"2m"`, `"1h30m"`; units `ns us ms s m h`. A plain integer is seconds, with a warning |
| string | Plain or in quotes. What looks like a number, `2m` for instance, is one unless it is in quotes |

**Reload** says whether a new value in the file reaches a running server (HUP, or `--signal reload`): `yes` for all that
is connected, `new connections` for what connects from then on, `no` where the whole reload is refused until a restart.

A key that is not listed is an error. An account name, a user name and a subject stay as they are written.
"""

_ABSENT: Final = """
## Parts that are not in this version

Their keys are checked like all others, and then the start is refused with the name of the part, so that no file seems
to work while half of it is ignored. What asks for nothing is accepted: `ocsp: false`, `cluster {}`, an `mqtt` block
without a port.
"""

_PARTS: Final = (
    ("cluster", "`cluster`", "KEYS"),
    ("common", "`authorization` of `cluster` and `gateway`", "AUTHORIZATION"),
    ("common", "`compression`", "COMPRESSION"),
    ("gateway", "`gateway`", "KEYS"),
    ("gateway", "`gateways`", "REMOTE"),
    ("leafnodes", "`leafnodes`", "KEYS"),
    ("leafnodes", "`authorization` of `leafnodes`", "AUTHORIZATION"),
    ("leafnodes", "`users` of `leafnodes`", "USER"),
    ("leafnodes", "`remotes`", "REMOTE"),
    ("leafnodes", "`jetstream_cluster_migrate`", "MIGRATE"),
    ("leafnodes", "`proxy`", "PROXY"),
    ("mqtt", "`mqtt`", "KEYS"),
    ("proxies", "`proxies`", "KEYS"),
    ("proxies", "`trusted`", "TRUSTED"),
)
"""Blocks of absent parts: the module of :mod:`broker.config.parts`, the title, and the table of keys in it."""


def sections() -> tuple[Section, ...]:
    """The tables about what this version has."""
    return (
        Section("Clients", schema.CLIENT_KEYS, options=Options()),
        Section("Logging", schema.LOGGING_KEYS, options=Options()),
        Section("Monitoring", schema.MONITOR_KEYS, options=Options()),
        Section("Blocks of the top level", load.BLOCK_KEYS),
        Section("Operator mode", load.OPERATOR_KEYS),
        Section(
            "`resolver` as a map (its keys in lower case; unknown ones do not matter)",
            resolver_block.KEYS,
            options=ResolverOptions(),
            prefix="resolver.",
        ),
        Section(
            "Without effect",
            schema.IGNORED_KEYS,
            "Checked, but they tune what this version does not have.",
            reload=_NO,
        ),
        Section("`tls`", tls_block.TLS, options=TLSOptions(), prefix="tls."),
        Section("`ocsp_peer`", ocsp_block.OCSP_PEER, options=PeerSettings(), reload=_NEW),
        Section(
            "`ocsp` (the case of its keys matters)",
            ocsp_block.OCSP,
            "`true` is `auto`, `false` is `never`. What it does is told in [tls.md](tls.md).",
            options=StapleSettings(),
            reload=_YES,
        ),
        Section(
            "`ocsp_cache`",
            ocsp_block.OCSP_CACHE,
            "`true` is `local`, `false` is `none`.",
            options=CacheSettings(),
            reload=_YES,
        ),
        Section("`monitor_access`", access_block.KEYS, reload=_YES),
        Section(
            "`websocket`",
            websocket_block.KEYS,
            "What it does is told in [websocket.md](websocket.md).",
            options=WebSocketOptions(),
            prefix="websocket.",
        ),
        Section(
            "`unix`",
            unix_block.KEYS,
            "What it does is told in [unix-sockets.md](unix-sockets.md). natskeep only.",
            options=UnixOptions(),
            prefix="unix.",
        ),
        Section("`authorization` of `websocket` and `mqtt`", websocket_block.AUTHORIZATION, reload=_NO),
        Section(
            "`admission`",
            admission_block.KEYS,
            "What it does is told in [tls.md](tls.md#floods). natskeep only.",
            options=AdmissionOptions(),
            reload=_TAKES[Takes.NEW],
        ),
        Section(
            "`proxy_protocol` as a map",
            proxy_block.KEYS,
            "What it does is told in [tls.md](tls.md#proxies). natskeep only.",
            options=ProxyOptions(),
            reload=_TAKES[Takes.NEW],
        ),
        Section("`audit`", audit_block.KEYS, options=AuditOptions(), reload=_NO),
        Section("`jetstream`", jetstream_block.KEYS, options=JetStreamOptions(), prefix="jetstream."),
        Section("`limits` of `jetstream`", jetstream_block.LIMITS, "0 is unlimited.", reload=_NO),
        Section("`batch`", jetstream_block.BATCH, "Without effect.", reload=_NO),
        Section("`tpm`", jetstream_block.TPM, "Sealed streams are not available in this version.", reload=_NO),
        Section(
            "`jetstream` of an account",
            account_jetstream_block.KEYS,
            "Whether its streams may grow without end, or what they may take.",
            reload=_YES,
        ),
        Section("`authorization`", users.AUTHORIZATION, options=AuthorizationOptions(), prefix="authorization."),
        Section(
            "`auth_callout`",
            callout_block.KEYS,
            "A service decides about clients that are no users of the file; see [auth-callout](auth-callout.md).",
            reload=_YES,
        ),
        Section("`users`", users.USER, reload=_YES),
        Section("`permissions`, `default_permissions`", users.PERMISSIONS, reload=_YES),
        Section("`allow_responses`", users.RESPONSES, reload=_YES),
        Section(
            "An account", accounts_block.ACCOUNT, "What the braces behind its name hold.", reload=_YES
        ),
        Section("`limits` of an account", accounts_block.LIMITS, "-1 is unlimited, 0 is none.", reload=_YES),
        Section("`exports`", exchange.EXPORT, reload=_YES),
        Section("`latency` (the case of its keys matters)", exchange.LATENCY, reload=_YES),
        Section("`imports`", exchange.IMPORT, reload=_YES),
        Section("`stream` and `service` of an import", exchange.SOURCE, reload=_YES),
        Section(
            "`mappings`",
            exchange.DESTINATION,
            "A map from a subject to where its messages go instead: a subject, one of these maps, or a list of them. "
            "Of several that match, the one with the most specific source decides.",
            reload=_YES,
        ),
        Section(
            "`msg_trace`",
            accounts_block.TRACE,
            "A message that names a destination itself, in `Nats-Trace-Dest`, needs none of this.",
            reload=_YES,
        ),
    )


def absent_sections() -> tuple[Section, ...]:
    """The tables about the parts that this version does not have."""
    found = [Section("At the top level", ABSENT_KEYS, reload=_NO)]
    for module, title, table in _PARTS:
        keys: Keys = getattr(import_module(f"broker.config.parts.{module}"), table)
        found.append(Section(title, keys, reload=_NO))
    return tuple(found)


def document() -> str:
    """The text of docs/configuration.md."""
    lines = [_INTRODUCTION.rstrip()]
    for section in sections():
        lines += ["", f"## {section.title}", "", *_table(section)]
    lines += ["", _ABSENT.strip()]
    for section in absent_sections():
        lines += ["", f"### {section.title}", "", *_table(section)]
    return "\n".join(lines) + "\n"


def _table(section: Section) -> Iterable[str]:
    if section.intro:
        yield from (section.intro, "")
    with_reload = section.reload != _NO
    yield "| Key | Kind | Default | Reload | Meaning |" if with_reload else "| Key | Kind | Default | Meaning |"
    yield "|---|---|---|---|---|" if with_reload else "|---|---|---|---|"
    for names, key in grouped(section.keys):
        cells = [" ".join(f"`{text}`" for text in names), kind(key), default(section, key)]
        if with_reload:
            cells.append(reload(section, key))
        cells.append(key.doc)
        yield f"| {' | '.join(cells)} |"


def grouped(keys: Keys) -> list[tuple[list[str], Key]]:
    """Each key once, with all its names."""
    found: list[tuple[list[str], Key]] = []
    for text, key in keys.items():
        if found and found[-1][1] is key:
            found[-1][0].append(text)
        else:
            found.append(([text], key))
    return found


def kind(key: Key) -> str:
    """The kind of a key's value. Raises KeyError where neither the key nor its reader says."""
    return key.kind or _KINDS[key.read]


def default(section: Section, key: Key) -> str:
    """What holds without the key."""
    if key.default or section.options is None:
        return key.default or _NO
    return shown(_value(section.options, key.field))


def _value(options: object, path: str) -> object:
    for part in path.split("."):
        if not is_dataclass(options) or part not in {field.name for field in fields(options)}:
            return None
        options = getattr(options, part)
    return options


def shown(value: object) -> str:
    """A default as the document writes it; a dash where there is none to speak of."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return duration_words(value).removesuffix("0s").removesuffix("0m") if value >= 60 else duration_words(value)
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, int):
        return "unlimited" if value < 0 else str(value)
    if isinstance(value, str):
        return f"`{value}`" if value else _NO
    return _NO


def reload(section: Section, key: Key) -> str:
    """What a reload does with a key."""
    if section.reload is not None:
        return section.reload
    if not key.field:
        return _NO
    path = section.prefix + key.field
    path = _PATHS.get(path, path)
    found = [rule.takes for rule in RULES if rule.path == path or rule.path.startswith(f"{path}.")]
    if not found and section.prefix == "tls.":
        found = [rule.takes for rule in RULES if rule.path == "tls"]
    if not found:
        raise LookupError(f"no rule says what a reload does with {path}")
    words = {_TAKES[takes] for takes in found}
    return words.pop() if len(words) == 1 else "see there"


_PATHS: Final = {
    "listen": "port",
    "store_dir": "jetstream.store_dir",
    "jetstream.enabled": "jetstream",
    "monitor.http": "monitor.port",
    "monitor.https": "monitor.https_port",
    "resolver.type": "resolver.kind",
    "authorization.users": "authorization.password_users",
    "authorization.timeout": "authorization_timeout",
    "websocket.listen": "websocket.port",
    "websocket.authorization": "websocket.user",
}
"""Where the rule of a key stands that is not named like its field."""


if __name__ == "__main__":
    sys.stdout.write(document())
