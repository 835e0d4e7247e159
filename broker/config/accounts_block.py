"""The block ``accounts``: who belongs to each account, its ceilings, and what it exchanges with the others."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from accounts.account import TraceDestination
from accounts.limits import AccountLimits
from accounts.permissions import quoted
from accounts.subject import is_literal
from auth.nkey import KeyKind, is_public_key
from broker.config.errors import ConfigError
from broker.config.options import AccountOptions
from broker.config.tree import Entry, Table
from broker.config.users import DEFAULT_PERMISSIONS, users
from broker.config.values import (
    NOWHERE,
    Keys,
    Problems,
    boolean,
    fail,
    integer,
    keys,
    late,
    positioned_strings,
    rate,
    read_block,
    string,
    table,
    without_seed,
)

if TYPE_CHECKING:
    from broker.config.exchange import PlacedExport, PlacedImport


class Offer(NamedTuple):
    """What one account exports and imports, each with its place."""

    name: str
    exports: tuple[PlacedExport, ...]
    imports: tuple[PlacedImport, ...]


def accounts(entry: Entry, problems: Problems) -> tuple[AccountOptions, ...]:
    """Reads the ``accounts`` block, a map or a list of names."""
    content = entry.value.content
    if isinstance(content, list):
        return _listed_accounts(entry, problems)
    before = len(problems.errors)
    found, offers = [], []
    for item in table(entry, "a map of accounts, or a list of their names"):
        with problems.collected():
            if item.key == "$G":
                raise fail(item, '"$G" is a Reserved Account')
            if isinstance(item.value.content, Table):
                account, offer = _account(item, problems)
                found.append(account)
                offers.append(offer)
            elif not item.used:
                raise fail(item, "Expected map entries for accounts")
    # What is wrong with one account already would show up here a second time.
    if len(problems.errors) == before and any(offer.exports or offer.imports for offer in offers):
        problems.errors += import_module("broker.config.exchange").check_exchange(offers)
    return tuple(found)


def _listed_accounts(entry: Entry, problems: Problems) -> tuple[AccountOptions, ...]:
    found: dict[str, AccountOptions] = {}
    for text, position in positioned_strings(entry):
        with problems.collected():
            if text == "$G":
                raise ConfigError.at(position, '"$G" is a Reserved Account')
            if text in found:
                raise ConfigError.at(position, f"Duplicate Account Entry: {text}")
            found[text] = AccountOptions(name=text, origin=position.origin)
    return tuple(found.values())


def _account(entry: Entry, problems: Problems) -> tuple[AccountOptions, Offer]:
    fields: dict[str, Any] = read_block(table(entry), ACCOUNT, problems)
    fields.pop(NOWHERE, None)
    offer = Offer(entry.key, fields.pop("exports", ()), fields.pop("imports", ()))
    fields["exports"] = tuple(placed.item for placed in offer.exports)
    fields["imports"] = tuple(placed.item for placed in offer.imports)
    return AccountOptions(name=entry.key, origin=entry.position.origin, **fields), offer


def _account_nkey(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems)
    if not is_public_key(text, KeyKind.ACCOUNT):
        raise fail(entry, f'Not a valid public nkey for an account: "{without_seed(text)}"')
    return text


def _limits(entry: Entry, problems: Problems) -> AccountLimits:
    found = table(entry, "account limits in a map")
    return AccountLimits(**read_block(found, LIMITS, problems, 'Unknown field "{}" parsing account limits'))


def _message_trace(entry: Entry, problems: Problems) -> TraceDestination | None:
    """Where traces go that a ``traceparent`` asks for, and of what share of messages."""
    content = entry.value.content
    if not isinstance(content, str | Table):
        what = f'Expected account message trace "{entry.key}" to be a string or a map/struct'
        raise fail(entry, f"{what}, got {entry.value.kind}")
    destination: object = content
    sampling: int | None = None
    if isinstance(content, Table):
        before = len(problems.errors)
        unknown = f'Unknown field "{{}}" parsing account message trace map/struct "{entry.key}"'
        fields = read_block(content, TRACE, problems, unknown)
        if len(problems.errors) > before:
            return None
        destination, sampling = fields.get("destination"), fields.get("sampling")
    if destination is None:
        if sampling is not None:
            problems.warn(entry, "Trace destination sampling ignored since no destination was set")
        return None
    if not isinstance(destination, str) or not is_literal(destination):
        raise fail(entry, f"Trace destination {quoted(str(destination))} is not valid")
    return TraceDestination(destination, 100 if sampling is None else sampling)


def _trace_destination(entry: Entry, problems: Problems) -> str:
    if not isinstance(entry.value.content, str):
        raise fail(entry, f'Field "{entry.key}" should be a string, got {entry.value.kind}; put it in quotes')
    return entry.value.content


def _trace_sampling(entry: Entry, problems: Problems) -> int:
    content = entry.value.content
    if isinstance(content, str):
        digits = content.removesuffix("%")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
            raise fail(entry, f"Invalid trace destination sampling value {quoted(content)}")
        share = int(digits)
    elif isinstance(content, int) and not isinstance(content, bool):
        share = content
    else:
        what = f'Trace destination sampling field "{entry.key}" should be an integer or a percentage'
        raise fail(entry, f"{what}, got {entry.value.kind}")
    if not 1 <= share <= 100:
        raise fail(entry, f"Trace destination sampling value {share} is invalid, needs to be [1..100]")
    return share


LIMITS: Final[Keys] = {
    **keys("max_connections", "max_conn", field="connections", read=integer, default="-1", doc="Clients at one time."),
    **keys(
        "max_subscriptions",
        "max_subs",
        field="subscriptions",
        read=integer,
        default="-1",
        doc="Subscriptions of one connection.",
    ),
    **keys(
        "max_payload", "max_pay", field="payload", read=integer, kind="bytes", default="-1", doc="Largest message."
    ),
    **keys(
        "max_leafnodes",
        "max_leafs",
        field="leafnodes",
        read=integer,
        default="-1",
        doc="Leafnodes at one time. Without effect in this version, which has none.",
    ),
    **keys(
        "message_rate",
        field="message_rate",
        read=rate,
        default="-1",
        doc="Messages that all its users publish in a second; -1 is unlimited. Who sends more is slowed.",
    ),
    **keys(
        "byte_rate",
        field="byte_rate",
        read=rate,
        kind="bytes",
        default="-1",
        doc="Bytes of headers and payloads that they publish in a second; -1 is unlimited. Who sends more is slowed.",
    ),
}
"""Ceilings of an account: -1 is unlimited, 0 is none."""

TRACE: Final[Keys] = {
    **keys("dest", field="destination", read=_trace_destination, kind="subject", doc="Where traces go."),
    **keys(
        "sampling",
        field="sampling",
        read=_trace_sampling,
        kind="1 to 100, or percentage",
        default="100",
        doc="The share of these messages that is traced.",
    ),
}
ACCOUNT: Final[Keys] = {
    **keys(
        "nkey",
        field="nkey",
        read=_account_nkey,
        kind="public nkey, `A…`",
        doc="The account's key. Without effect, as in nats-server.",
    ),
    **keys("users", field="users", read=users, kind="list of maps", doc="Users of the account."),
    "default_permissions": DEFAULT_PERMISSIONS,
    **keys("limits", field="limits", read=_limits, kind="map", default="none", doc="Ceilings of the account."),
    **keys(
        "exports",
        field="exports",
        read=late("exchange", "exports"),
        kind="list of maps",
        doc="What other accounts may take.",
    ),
    **keys(
        "imports",
        field="imports",
        read=late("exchange", "imports"),
        kind="list of maps",
        doc="What it takes from others.",
    ),
    **keys(
        "mappings",
        "maps",
        field="mappings",
        read=late("exchange", "mappings"),
        kind="map",
        doc="Rewrites what its users publish to.",
    ),
    **keys(
        "sender_identity",
        field="sender_identity",
        read=boolean,
        default="`false`",
        doc="Lets messages from and to its users tell who sent them, in the header `Natskeep-Sender`.",
    ),
    **keys(
        "jetstream",
        field="jetstream",
        read=late("account_jetstream_block", "jetstream"),
        kind="boolean, `enabled`, `disabled` or map",
        doc="Whether it has streams that keep messages, where the server has any, and what they may take.",
    ),
    **keys(
        "msg_trace",
        "trace_dest",
        field="trace",
        read=_message_trace,
        kind="subject or map",
        doc="Where traces go of messages that carry a sampled `traceparent`.",
    ),
}
