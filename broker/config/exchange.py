"""What crosses the wall of an account: the blocks ``exports``, ``imports`` and ``mappings``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from accounts.account import Account
from accounts.exchange import import_problems
from accounts.exports import (
    SAMPLE_BY_HEADERS,
    Export,
    ResponseType,
    ServiceExport,
    ServiceLatency,
    StreamExport,
)
from accounts.imports import Import, ServiceImport, StreamImport, prefixed
from accounts.mapping import SubjectMapping, WeightedDestination
from accounts.permissions import quoted
from accounts.subject import is_literal, is_valid
from accounts.transform import InvalidTransformError
from broker.config.accounts_block import Offer
from broker.config.errors import ConfigError, Position, Problem
from broker.config.tree import Entry, Table, Value
from broker.config.values import (
    Keys,
    Problems,
    boolean,
    fail,
    integer,
    keys,
    read_block,
    seconds_of,
    string,
    strings,
    table,
)

_PERCENT: Final = re.compile(r"([0-9]{1,9})%?", re.ASCII)
_RESPONSE_TYPES: Final = {
    **dict.fromkeys(("single", "singleton"), ResponseType.SINGLETON),
    "stream": ResponseType.STREAM,
    **dict.fromkeys(("chunk", "chunked"), ResponseType.CHUNKED),
}


class PlacedExport(NamedTuple):
    """An export and where it stands."""

    item: Export
    position: Position


class PlacedImport(NamedTuple):
    """An import and where it stands."""

    item: Import
    position: Position


def check_exchange(offers: Iterable[Offer]) -> list[Problem]:
    """What is wrong between the exports and imports of all accounts."""
    offers = list(offers)
    names = {offer.name for offer in offers}
    problems = []
    for offer in offers:
        for export in offer.exports:
            kind = "service" if isinstance(export.item, ServiceExport) else "stream"
            problems += [
                Problem(f"{quoted(name)} account not defined for {kind} export", export.position)
                for name in sorted((export.item.accounts or frozenset()) - names)
            ]
    accounts = [
        Account(offer.name, exports=tuple(e.item for e in offer.exports), imports=tuple(i.item for i in offer.imports))
        for offer in offers
    ]
    found = list(import_problems(accounts))
    if found:
        places = {id(placed.item): placed.position for offer in offers for placed in offer.imports}
        problems += [Problem(problem.text, places[id(problem.found)]) for problem in found]
    return problems


# Exports.


def exports(entry: Entry, problems: Problems) -> tuple[PlacedExport, ...]:
    """What an account offers."""
    found = []
    for block, position in _maps(entry, "Exports", "Export"):
        with problems.collected():
            found.append(_export(block, position, problems))
    return tuple(found)


def _export(block: Table, position: Position, problems: Problems) -> PlacedExport:
    fields, kind, place = _directed(block, EXPORT, position, problems)
    for name in ("latency", "response type", "response threshold", "allow_trace"):
        if kind is not ServiceExport and name in fields:
            directive = name.partition(" ")[0]
            raise ConfigError.at(fields[name][1], f"Detected {directive} directive on non-service")
    latency: ServiceLatency | None = fields.pop("latency", (None,))[0]
    response = fields.pop("response type", (ResponseType.SINGLETON,))[0]
    subject = fields["subject"]
    if latency is not None and not is_literal(latency.subject):
        where = f"for {quoted(subject)} on subject {quoted(latency.subject)}"
        raise ConfigError.at(place, f"Error adding service latency sampling {where}: invalid publish subject")
    if latency is not None and response is not ResponseType.SINGLETON:
        where = f"for {quoted(subject)} on subject {quoted(latency.subject)}"
        raise ConfigError.at(place, f"Error adding service latency sampling {where}: bad service response type")
    common: dict[str, Any] = {
        "subject": subject,
        "accounts": fields.get("accounts"),
        "account_token_position": fields.get("account_token_position", 0),
        "origin": place.origin,
    }
    if kind is ServiceExport:
        if "response threshold" in fields:
            common["response_threshold"] = fields["response threshold"][0]
        if "allow_trace" in fields:
            common["allow_trace"] = fields["allow_trace"][0]
        common |= {"response_type": response, "latency": latency}
    try:
        return PlacedExport(kind(**common), place)
    except ValueError as error:
        word = "service" if kind is ServiceExport else "stream"
        raise ConfigError.at(place, f"Error adding {word} export {quoted(subject)}: {error}") from None


def _latency(entry: Entry, problems: Problems) -> tuple[ServiceLatency, Position]:
    content = entry.value.content
    if isinstance(content, str):
        return ServiceLatency(content), entry.position
    if not isinstance(content, Table):
        raise fail(entry, f"Expected latency entry to be a map/struct or string, got {entry.value.kind}")
    before = len(problems.errors)
    fields = read_block(content, LATENCY, problems, exact=True)
    if len(problems.errors) > before:
        # Said already; nothing can be made of the rest.
        raise ConfigError
    if "subject" not in fields:
        raise fail(entry, "Latency subject required, but missing")
    return ServiceLatency(**fields), entry.position


def _sampling(entry: Entry, problems: Problems) -> int:
    content = entry.value.content
    if isinstance(content, str):
        if content.lower() == "headers":
            return SAMPLE_BY_HEADERS
        percent = _PERCENT.fullmatch(content)
        if percent is None:
            raise fail(entry, f"Failed to parse latency sample: {quoted(content)} is neither a percentage nor headers")
        share = int(percent[1])
    elif isinstance(content, int) and not isinstance(content, bool):
        share = content
    else:
        raise fail(entry, f"Expected latency sample to be a string or map/struct, got {entry.value.kind}")
    if not 1 <= share <= 100:
        raise fail(entry, "bad sampling percentage, should be 1-100")
    return share


def _response_type(entry: Entry, problems: Problems) -> tuple[ResponseType, Position]:
    content = entry.value.content
    if not isinstance(content, str):
        raise fail(entry, f"Expected response type to be string, got {entry.value.kind}")
    found = _RESPONSE_TYPES.get(content.lower())
    if found is None:
        raise fail(entry, f"Unknown response type: {quoted(content)}; use single, stream or chunked")
    return found, entry.position


def _response_threshold(entry: Entry, problems: Problems) -> tuple[float, Position]:
    content = entry.value.content
    what = "Expected response threshold to be a parseable time duration"
    if not isinstance(content, str):
        raise fail(entry, f'{what}, got {entry.value.kind}; write it like "2s"')
    try:
        seconds = seconds_of(content)
    except ValueError:
        raise fail(entry, f'{what}, got {quoted(content)}; write it like "2s"') from None
    if seconds <= 0:
        raise fail(entry, f"response threshold must be more than 0 seconds, not {content}")
    return seconds, entry.position


def _traced(entry: Entry, problems: Problems) -> tuple[bool, Position]:
    return boolean(entry, problems), entry.position


def _names(entry: Entry, problems: Problems) -> frozenset[str] | None:
    """The accounts of a private export; an empty list limits nothing."""
    return frozenset(strings(entry, problems)) or None


def _token_position(entry: Entry, problems: Problems) -> int:
    return integer(entry, problems)


# Imports.


def imports(entry: Entry, problems: Problems) -> tuple[PlacedImport, ...]:
    """What an account takes."""
    found: list[PlacedImport] = []
    services: _Services = {}
    for block, position in _maps(entry, "Imports", "Import"):
        placed = _repeated(block, position, services)
        if placed is None:
            with problems.collected():
                before = len(problems.errors), len(problems.warnings)
                placed = _import(block, position, problems, services)
                if (len(problems.errors), len(problems.warnings)) == before:
                    _remember(block, position, placed)
        if placed is not None:
            found.append(placed)
            if isinstance(placed.item, ServiceImport):
                services[placed.item.account, placed.item.local_subject] = placed.item
    return tuple(found)


_Services: TypeAlias = dict[tuple[str, str], ServiceImport]
"""The service imports of one account by their exporter and their subject here, of which no two may be equal."""


class _Mould(NamedTuple):
    """An import, and where the place that it is known by lies in the map that says it."""

    item: Import
    lines: int
    """Lines below the beginning of the map."""
    column: int
    """The column, counted from the beginning of the map where both stand in one line."""


def _remember(block: Table, position: Position, placed: PlacedImport) -> None:
    """Keeps an import without any problem for maps that are written like its own."""
    if block.likeness is not None:
        lines, column = placed.position.line - position.line, placed.position.column
        block.likeness.meaning = _Mould(placed.item, lines, column if lines else column - position.column)


def _repeated(block: Table, position: Position, services: _Services) -> PlacedImport | None:
    """The import of a map that is written like an earlier one; None where the map itself has to be read."""
    mould = None if block.likeness is None else block.likeness.meaning
    if not isinstance(mould, _Mould):
        return None
    item, lines, column = mould
    if isinstance(item, ServiceImport) and (item.account, item.local_subject) in services:
        return None
    file, line, start = position
    line += lines
    # Much of what a large configuration says passes here, and this is the quickest way to make the two.
    place = tuple.__new__(Position, (file, line, column if lines else start + column))
    return tuple.__new__(PlacedImport, (item.declared_at(f"{file}:{line}"), place))


def _import(block: Table, position: Position, problems: Problems, services: _Services) -> PlacedImport:
    fields, kind, place = _directed(block, IMPORT, position, problems)
    account, subject = fields["subject"]
    to, prefix = fields.get("to", ""), fields.get("prefix", "")
    values: dict[str, Any] = {"account": account, "subject": subject, "origin": place.origin}
    if kind is StreamImport:
        if to and prefix:
            raise ConfigError.at(place, "Stream import can not have a 'prefix' and a 'to' property")
        if "share" in fields:
            raise ConfigError.at(place, "Detected share directive on a non-service")
        values["allow_trace"] = fields.get("allow_trace", (False,))[0]
    else:
        if "allow_trace" in fields:
            raise ConfigError.at(fields["allow_trace"][1], "Detected allow_trace directive on a non-stream")
        if prefix:
            raise ConfigError.at(place, "Detected prefix directive on a non-stream; use to")
        values["share"] = fields.get("share", False)
    try:
        found: Import = kind(**values, to=to or prefixed(prefix, subject))
    except ValueError as error:
        word = "service" if kind is ServiceImport else "stream"
        raise ConfigError.at(place, f"Error adding {word} import {quoted(subject)}: {error}") from None
    other = services.get((account, found.local_subject)) if kind is ServiceImport else None
    if other is not None:
        raise ConfigError.at(
            place,
            f"Duplicate service import subject {quoted(to or subject)}, previously used in import for account "
            f"{quoted(account)}, subject {quoted(other.subject)}",
        )
    return PlacedImport(found, place)


def _source(entry: Entry, problems: Problems) -> tuple[tuple[str, str], Position]:
    """The account and the subject of an import."""
    content = entry.value.content
    if not isinstance(content, Table):
        raise fail(entry, f"{entry.key.capitalize()} entry should be an account map, got {entry.value.kind}")
    before = len(problems.errors)
    fields = read_block(content, SOURCE, problems)
    if not (fields.get("account") and fields.get("subject")) and len(problems.errors) == before:
        raise fail(entry, "Expect an account name and a subject")
    return (fields.get("account", ""), fields.get("subject", "")), entry.position


# Both.


def _maps(entry: Entry, plural: str, singular: str) -> Iterable[tuple[Table, Position]]:
    content = entry.value.content
    if not isinstance(content, list):
        raise fail(entry, f"{plural} should be an array, got {entry.value.kind}; put it in brackets")
    for element in content:
        if not isinstance(element.content, Table):
            raise ConfigError.at(
                element.position, f"{singular} Items should be a map with type entry, got {element.kind}"
            )
        yield element.content, element.position


def _directed(
    block: Table, keys: Keys, position: Position, problems: Problems
) -> tuple[dict[str, Any], Any, Position]:
    """The fields of an export or import, its class, and where the key stands that says which of the two it is."""
    seen = ""
    for item in block:
        word = item.key.lower()
        if word in {"stream", "service"}:
            if seen:
                shown = f" {quoted(item.value.content)}" if isinstance(item.value.content, str) else ""
                raise fail(item, f"Detected {word}{shown} but already saw a {seen}")
            seen = word
    duplicates: set[str] = set()
    for item in block if keys is EXPORT else ():
        key = keys.get(item.key.lower())
        if key is not None and key.field.startswith("response ") and key.field in duplicates:
            threshold = key.field == "response threshold"
            raise fail(
                item, "Duplicate response threshold detected" if threshold else "Duplicate response type definition"
            )
        duplicates.add(key.field if key is not None else "")
    before = len(problems.errors)
    fields = read_block(block, keys, problems)
    if len(problems.errors) > before:
        # Said already; nothing can be made of the rest.
        raise ConfigError
    if not seen:
        first = next((item.position for item in block), position)
        raise ConfigError.at(first, "needs a stream or a service; add one of the two")
    if "stream" in fields or "service" in fields:
        value, place = fields.pop(seen)
        fields["subject"] = value
        return fields, _KINDS[keys is IMPORT, seen], place
    raise ConfigError


def _stated(entry: Entry, problems: Problems) -> tuple[str, Position]:
    if not isinstance(entry.value.content, str):
        raise fail(entry, f"Expected {entry.key.lower()} name to be string, got {entry.value.kind}; put it in quotes")
    return entry.value.content, entry.position


# Mappings.


def mappings(entry: Entry, problems: Problems) -> tuple[SubjectMapping, ...]:
    """How subjects are rewritten, in the order of the file."""
    found = []
    for item in table(entry, "a map from subjects to their destinations"):
        with problems.collected():
            found.append(_mapping(item, problems))
    return tuple(found)


def _mapping(item: Entry, problems: Problems) -> SubjectMapping:
    content, source = item.value.content, item.key
    if not is_valid(source):
        raise fail(item, f"Subject {quoted(source)} is not a valid subject")
    where = quoted(source)
    if isinstance(content, str):
        where += f" to {quoted(content)}"
        destinations = [WeightedDestination(content)]
    elif isinstance(content, Table):
        destinations = [_destination(content, item.position, problems)]
    elif isinstance(content, list):
        destinations = [_listed_destination(element, problems) for element in content]
    else:
        raise fail(item, "Expected an entry for the mapping destination")
    try:
        return SubjectMapping(source, tuple(destinations), item.position.origin)
    except InvalidTransformError as error:
        raise fail(item, f"Error adding mapping for {where} : {error}") from None


def _listed_destination(element: Value, problems: Problems) -> WeightedDestination:
    if not isinstance(element.content, Table):
        raise ConfigError.at(element.position, "Expected an entry for the mapping destination")
    position = next((entry.position for entry in element.content), element.position)
    return _destination(element.content, position, problems)


def _destination(block: Table, position: Position, problems: Problems) -> WeightedDestination:
    before = len(problems.errors)
    fields = read_block(block, DESTINATION, problems, 'Unknown field "{}" for mapping destination')
    if len(problems.errors) > before:
        raise ConfigError
    if "weight" not in fields:
        raise ConfigError.at(position, f"Missing weight for mapping destination {quoted(fields.get('subject', ''))}")
    if not fields.get("subject"):
        raise ConfigError.at(position, "Missing destination for the mapping; add dest")
    return WeightedDestination(**fields)


def _weight(entry: Entry, problems: Problems) -> int:
    content = entry.value.content
    if isinstance(content, str):
        percent = _PERCENT.fullmatch(content)
        if percent is None:
            raise fail(entry, f"Invalid weight {quoted(content.removesuffix('%'))} for mapping destination")
        weight = int(percent[1])
    elif isinstance(content, int) and not isinstance(content, bool):
        weight = content
    else:
        raise fail(entry, f"Unknown entry type for weight: {entry.value.kind}; write a number from 0 to 100")
    if not 0 <= weight <= 100:
        raise fail(entry, f"Invalid weight {weight} for mapping destination")
    return weight


_KINDS: Final[Mapping[tuple[bool, str], Any]] = {
    (False, "stream"): StreamExport,
    (False, "service"): ServiceExport,
    (True, "stream"): StreamImport,
    (True, "service"): ServiceImport,
}
LATENCY: Final[Keys] = {
    **keys("subject", field="subject", read=string, kind="subject", doc="Where the measurements go. Required."),
    **keys(
        "sampling",
        field="sampling",
        read=_sampling,
        kind="1 to 100, percentage or `headers`",
        default="100",
        doc="The share of requests that is measured, or those whose tracing headers ask for it.",
    ),
}
EXPORT: Final[Keys] = {
    **keys("stream", field="stream", read=_stated, kind="subject", doc="Messages that others may subscribe to."),
    **keys("service", field="service", read=_stated, kind="subject", doc="Requests that others may send."),
    **keys("accounts", field="accounts", read=_names, kind="list of names", default="all", doc="Who may import it."),
    **keys(
        "account_token_position",
        field="account_token_position",
        read=_token_position,
        kind="number from 1",
        default="none",
        doc="The token of the subject, a `*`, that must be the importer's own name.",
    ),
    **keys(
        "response",
        "response_type",
        field="response type",
        read=_response_type,
        kind="`single`, `stream` or `chunked`",
        default="`single`",
        doc="Service: how it answers.",
    ),
    **keys(
        "threshold",
        "response_threshold",
        "response_max_time",
        "response_time",
        field="response threshold",
        read=_response_threshold,
        kind="duration in quotes",
        default="2 min",
        doc="Service: how long it has to answer.",
    ),
    **keys(
        "latency",
        field="latency",
        read=_latency,
        kind="subject or map",
        default="none",
        doc="Service: where its latency is published.",
    ),
    **keys("allow_trace", field="allow_trace", read=_traced, kind="boolean", doc="Service: message traces go on."),
}
SOURCE: Final[Keys] = {
    **keys("account", field="account", read=string, doc="The exporting account."),
    **keys("subject", field="subject", read=string, doc="The subject there, or a part of it."),
}
IMPORT: Final[Keys] = {
    **keys("stream", field="stream", read=_source, kind="map", doc="What to subscribe to: `account` and `subject`."),
    **keys("service", field="service", read=_source, kind="map", doc="What to request from: `account` and `subject`."),
    **keys("to", field="to", read=string, kind="subject", default="the same", doc="The subject in this account."),
    **keys("prefix", field="prefix", read=string, kind="subject", doc="Stream: stands before the subject."),
    **keys("share", field="share", read=boolean, doc="Service: tell who asks."),
    **keys("allow_trace", field="allow_trace", read=_traced, kind="boolean", doc="Stream: message traces go on."),
}
DESTINATION: Final[Keys] = {
    **keys("dest", "destination", field="subject", read=string, kind="subject", doc="Where messages go instead."),
    **keys("weight", field="weight", read=_weight, kind="0 to 100, or percentage", doc="Their share. Required."),
    **keys("cluster", field="cluster", read=string, default="all others", doc="The cluster in which it counts."),
}
