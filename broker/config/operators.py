"""Operator mode: the operators trusted, and the account JWTs that the file holds."""

from __future__ import annotations

from typing import Final

from auth.claims import OperatorClaims
from auth.creds import parse_decorated_jwt
from auth.envelope import JwtError
from auth.nkey import KeyKind, is_public_key
from auth.preload import VerifiedPreload
from broker.config.errors import ConfigError, Position, Problem
from broker.config.options import OperatorOptions
from broker.config.tree import Entry, Table
from broker.config.values import Problems, fail, positioned_strings, without_seed

_INLINE: Final = "eyJ"
"""How every JWT begins; anything else is the path of a file that holds one."""


def operators(entry: Entry, problems: Problems) -> tuple[OperatorOptions, ...]:
    """Operator JWTs, each written out or as the path of its file."""
    found = []
    for text, position in positioned_strings(entry):
        with problems.collected():
            found.append(_operator(text, position))
    return tuple(found)


def _operator(text: str, position: Position) -> OperatorOptions:
    token, origin = text, position.origin
    if not text.startswith(_INLINE):
        token, origin = _read_token(text, position), text
    try:
        OperatorClaims.from_token(token)
    except JwtError as error:
        raise ConfigError.at(position, f"error parsing operator JWT: {error}") from None
    return OperatorOptions(token, origin)


def _read_token(path: str, position: Position) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return parse_decorated_jwt(file.read())
    except UnicodeDecodeError:
        raise ConfigError.at(position, f"error parsing operator JWT: {path} is not a text file") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror or "input/output error") if isinstance(error, OSError) else "invalid path"
        raise ConfigError.at(
            position, f"error parsing operator JWT: open {without_seed(path)}: {reason[:1].lower()}{reason[1:]}"
        ) from None


def trusted_keys(entry: Entry, problems: Problems) -> tuple[str, ...]:
    """Public keys of operators."""
    found = []
    for text, position in positioned_strings(entry):
        if is_public_key(text, KeyKind.OPERATOR):
            found.append(text)
        else:
            message = f'trust key "{without_seed(text)}" required to be a valid public operator nkey'
            problems.errors.append(Problem(message, position))
    return tuple(found)


def pinned_accounts(entry: Entry, problems: Problems) -> frozenset[str]:
    """Public keys of accounts."""
    for text, position in positioned_strings(entry):
        if not is_public_key(text, KeyKind.ACCOUNT):
            message = f'pinned account key "{without_seed(text)}" is not a valid public account nkey'
            problems.errors.append(Problem(message, position))
    return frozenset(text for text, _ in positioned_strings(entry))


def resolver_preload(entry: Entry, problems: Problems) -> VerifiedPreload:
    """Account JWTs by the public keys of the accounts."""
    if not isinstance(entry.value.content, Table):
        raise fail(entry, "preload should be a map of account_public_key:account_jwt")
    found = VerifiedPreload()
    for item in entry.value.content:
        with problems.collected():
            token = item.value.content
            if not isinstance(token, str):
                raise fail(item, "preload map value should be a string JWT")
            try:
                found.add(item.key, token)
            except JwtError as error:
                raise fail(item, f"invalid account JWT: {error}") from None
    return found
