"""Reads a configuration file into :class:`~broker.config.options.Options`."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from broker.config.absent import ABSENT_KEYS
from broker.config.accounts_block import accounts
from broker.config.errors import ConfigError, Problem
from broker.config.language import parse_file
from broker.config.operators import operators, pinned_accounts, resolver_preload, trusted_keys
from broker.config.options import (
    ANY_ADDRESS,
    DEFAULT_PORT,
    AuthorizationOptions,
    LoggingOptions,
    MonitorOptions,
    Options,
)
from broker.config.resolver_block import default_resolver, resolver, resolver_tls
from broker.config.schema import CLIENT_KEYS, IGNORED_KEYS, LOGGING_KEYS, MONITOR_KEYS
from broker.config.tls_block import tls
from broker.config.tree import Table, digest, discard
from broker.config.users import authorization, check_users
from broker.config.values import NOWHERE, Keys, Problems, keys, late, read_block, string


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration that can be used."""

    options: Options
    warnings: tuple[Problem, ...] = ()
    """What an operator should hear of, though the server can start."""


def load(path: str, environment: Mapping[str, str] | None = None) -> LoadedConfig:
    """Reads a configuration file.

    What single keys say is checked here, and that certificates and JWTs can be used; how the options fit together is
    the matter of :func:`broker.config.validate.validate`, because the command line may still change them.

    Args:
        path: the file; problems name it as it is given here.
        environment: variables that ``$NAME`` may refer to; those of the process when absent.

    Raises:
        ConfigError: with every problem of the file, in the order of the text; of syntax errors only the first.
    """
    table = parse_file(path, environment)
    loaded = read_options(table)
    options = replace(loaded.options, config_file=path, config_digest=digest(table))
    empty = () if len(table) else (Problem(f"{path}: config has no values or is empty"),)
    discard(table)
    return LoadedConfig(options, (*empty, *loaded.warnings))


def read_options(table: Table) -> LoadedConfig:
    """The options that a parsed configuration asks for.

    Raises:
        ConfigError: with every problem.
    """
    problems = Problems()
    fields = read_block(table, KEYS, problems)
    fields.pop(NOWHERE, None)
    values = _addresses({field: value for field, value in fields.items() if "." not in field})
    values["logging"] = _logging(_section(fields, "logging."))
    values["monitor"] = _monitor(_section(fields, "monitor."))
    if "resolver" not in values and "operators" in values:
        values["resolver"] = default_resolver(values["operators"])
    positions = {entry.key.lower(): entry.position for entry in table}
    problems.errors.extend(
        check_users(values.get("authorization", AuthorizationOptions()), values.get("accounts", ()), positions)
    )
    problems.errors.extend(_stores(table))
    store_dir = values.get("store_dir", "")
    if store_dir and values.get("jetstream") is not None:
        values["jetstream"] = replace(values["jetstream"], store_dir=store_dir)
    if problems.errors:
        # A warning may be the reason of an error, and the file has to be opened anyway.
        raise ConfigError(*sorted((*problems.errors, *problems.warnings), key=_place))
    return LoadedConfig(Options(**values), tuple(sorted(problems.warnings, key=_place)))


def _stores(table: Table) -> list[Problem]:
    """Two keys that name the directory of JetStream, which is one too many even where they agree."""
    entries = {entry.key.lower(): entry for entry in table}
    outer = entries.get("store_dir", entries.get("storedir"))
    block = entries["jetstream"].value.content if "jetstream" in entries else None
    inner = {entry.key.lower() for entry in block} if isinstance(block, Table) else set()
    if outer is None or inner.isdisjoint({"store_dir", "storedir", "store"}):
        return []
    return [Problem("Duplicate 'store_dir' configuration", outer.position)]


def _place(problem: Problem) -> tuple[str, int, int]:
    position = problem.position
    return (position.file, position.line, position.column) if position else ("", 0, 0)


def _section(fields: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {field.removeprefix(prefix): value for field, value in fields.items() if field.startswith(prefix)}


def _addresses(fields: dict[str, Any]) -> dict[str, Any]:
    """Takes ``listen`` apart, in the order of the file, so that a later ``host`` or ``port`` wins."""
    values: dict[str, Any] = {}
    for field, value in fields.items():
        if field == "listen":
            host, port = value
            values["host"], values["port"] = host or ANY_ADDRESS, port or DEFAULT_PORT
        elif field == "host":
            values["host"] = value or ANY_ADDRESS
        else:
            values[field] = value
    return values


def _logging(fields: dict[str, Any]) -> LoggingOptions:
    """Asking for traced headers, or for the system account in the trace, asks for a trace."""
    if "trace" not in fields and (fields.get("trace_verbose") or fields.get("trace_headers")):
        fields["trace"] = True
    return LoggingOptions(**fields)


def _monitor(fields: dict[str, Any]) -> MonitorOptions:
    values: dict[str, Any] = {}
    for field, value in fields.items():
        if field == "http":
            values["host"], values["port"] = value
        elif field == "https":
            values["host"], values["https_port"] = value
        elif field == "base_path":
            values[field] = posixpath.normpath("/" + value.lstrip("/"))
        else:
            values[field] = value
    return MonitorOptions(**values)


BLOCK_KEYS: Final = {
    **keys("tls", field="tls", read=tls, kind="map", doc="TLS of the clients' port."),
    **keys("authorization", field="authorization", read=authorization, kind="map", doc="Who may connect."),
    **keys(
        "websocket",
        "ws",
        field="websocket",
        read=late("websocket_block", "websocket"),
        kind="map",
        doc="Serves clients over WebSocket.",
    ),
    **keys(
        "unix",
        field="unix",
        read=late("unix_block", "unix"),
        kind="map",
        doc="Serves clients of this machine over a Unix socket. natskeep only.",
    ),
    **keys(
        "admission",
        field="admission",
        read=late("admission_block", "admission"),
        kind="map",
        doc="What clients may take before they have logged in. natskeep only.",
    ),
    **keys(
        "jetstream",
        field="jetstream",
        read=late("jetstream_block", "jetstream"),
        kind="boolean, `enabled`, `disabled` or map",
        default="`disabled`",
        doc="Streams that keep messages.",
    ),
    **keys(
        *("store_dir", "storedir"),
        field="store_dir",
        read=string,
        kind="path",
        doc="Directory of what the server keeps: OCSP answers about its certificates, and streams, as `store_dir` in "
        "`jetstream`.",
    ),
    **keys(
        "ocsp",
        field="ocsp",
        read=late("ocsp_block", "ocsp"),
        kind="boolean or map",
        default="`true`",
        doc="Staples OCSP answers about the server's own certificates to handshakes.",
    ),
    **keys(
        "ocsp_cache",
        field="ocsp_cache",
        read=late("ocsp_block", "ocsp_cache"),
        kind="boolean or map",
        default="`true`",
        doc="Keeps OCSP answers about client certificates, where `ocsp_peer` asks for any.",
    ),
    **keys("audit", field="audit", read=late("audit_block", "audit"), kind="map", doc="A ledger of security events."),
    **keys(
        "accounts",
        field="accounts",
        read=accounts,
        kind="map, or list of names",
        doc="Accounts by name, each a subject space of its own.",
    ),
    **keys(
        "mappings",
        "maps",
        field="mappings",
        read=late("exchange", "mappings"),
        kind="map",
        doc="Rewrites what is published in the account `$G`.",
    ),
}
"""Blocks, and lists of them."""

OPERATOR_KEYS: Final = {
    **keys(
        *("operator", "operators", "root", "roots", "root_operator", "root_operators"),
        field="operators",
        read=operators,
        kind="JWT or path, or list of them",
        doc="Operators that are trusted. Another system account needs a restart.",
    ),
    **keys(
        "trusted",
        "trusted_keys",
        field="trusted_keys",
        read=trusted_keys,
        kind="public nkey `O…`, or list",
        doc="Operators that are trusted by key alone.",
    ),
    **keys(
        "resolver",
        "account_resolver",
        "accounts_resolver",
        field="resolver",
        read=resolver,
        kind="`MEMORY`, `URL(…)` or map",
        doc="Where account JWTs come from: `resolver_preload` alone, an account server (`URL(https://host/path)`), or "
        "a directory. Without it, the account server that the only operator names.",
    ),
    **keys(
        "resolver_tls",
        field="resolver_tls",
        read=resolver_tls,
        kind="map",
        doc="TLS towards an account server; keys as in `tls`.",
    ),
    **keys(
        "resolver_preload",
        field="resolver_preload",
        read=resolver_preload,
        kind="map from key to JWT",
        doc="Account JWTs by the public keys of the accounts.",
    ),
    **keys(
        "resolver_pinned_accounts",
        field="resolver_pinned_accounts",
        read=pinned_accounts,
        kind="public nkey `A…`, or list",
        default="all",
        doc="The only accounts that are served.",
    ),
}
"""Keys of operator mode."""

KEYS: Final[Keys] = {
    **CLIENT_KEYS,
    **LOGGING_KEYS,
    **MONITOR_KEYS,
    **BLOCK_KEYS,
    **OPERATOR_KEYS,
    **IGNORED_KEYS,
    **ABSENT_KEYS,
}
"""Every key of the top level."""
