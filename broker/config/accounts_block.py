"""The block ``accounts``: who belongs to each account, its ceilings, and what it exchanges with the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from accounts.limits import AccountLimits
from accounts.permissions import quoted
from accounts.subject import is_literal
from auth.nkey import KeyKind, is_public_key
from broker.config.errors import ConfigError
from broker.config.exchange import Offer, check_exchange, exports, imports, mappings
from broker.config.options import AccountOptions
from broker.config.schema import refuse_absent
from broker.config.tree import Entry, Table
from broker.config.users import DEFAULT_PERMISSIONS, users
from broker.config.values import (
    Key,
    Keys,
    Problems,
    fail,
    integer,
    positioned_strings,
    read_block,
    string,
    table,
    without_seed,
)


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
    if len(problems.errors) == before:
        problems.errors += check_exchange(offers)
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
    fields: dict[str, Any] = read_block(table(entry), _ACCOUNT, problems)
    fields.pop("", None)
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
    block = table(entry, "account limits in a map")
    return AccountLimits(**read_block(block, _LIMITS, problems, 'Unknown field "{}" parsing account limits'))


def _message_trace(entry: Entry, problems: Problems) -> None:
    """Where copies of traced messages go, and what share of them."""
    content = entry.value.content
    if not isinstance(content, str | Table):
        what = f'Expected account message trace "{entry.key}" to be a string or a map/struct'
        raise fail(entry, f"{what}, got {entry.value.kind}")
    destination: object = content
    sampling: object = None
    if isinstance(content, Table):
        before = len(problems.errors)
        unknown = f'Unknown field "{{}}" parsing account message trace map/struct "{entry.key}"'
        fields = read_block(content, _TRACE, problems, unknown)
        if len(problems.errors) > before:
            return
        destination, sampling = fields.get("destination"), fields.get("sampling")
    if destination is None:
        if sampling is not None:
            problems.warn(entry, "Trace destination sampling ignored since no destination was set")
        return
    if not isinstance(destination, str) or not is_literal(destination):
        raise fail(entry, f"Trace destination {quoted(str(destination))} is not valid")
    refuse_absent(entry, "message tracing")


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


def _absent(part: str) -> Callable[[Entry, Problems], None]:
    return lambda entry, _: refuse_absent(entry, part)


_LIMITS: Final[Keys] = {
    **dict.fromkeys(("max_connections", "max_conn"), Key("connections", integer)),
    **dict.fromkeys(("max_subscriptions", "max_subs"), Key("subscriptions", integer)),
    **dict.fromkeys(("max_payload", "max_pay"), Key("payload", integer)),
    **dict.fromkeys(("max_leafnodes", "max_leafs"), Key("leafnodes", integer)),
}
_TRACE: Final[Keys] = {
    "dest": Key("destination", _trace_destination),
    "sampling": Key("sampling", _trace_sampling),
}
_ACCOUNT: Final[Keys] = {
    "nkey": Key("nkey", _account_nkey),
    "users": Key("users", users),
    "default_permissions": DEFAULT_PERMISSIONS,
    "limits": Key("limits", _limits),
    "jetstream": Key("", _absent("JetStream")),
    "imports": Key("imports", imports),
    "exports": Key("exports", exports),
    **dict.fromkeys(("mappings", "maps"), Key("mappings", mappings)),
    **dict.fromkeys(("msg_trace", "trace_dest"), Key("", _message_trace)),
}
