"""Credentials files and decorated tokens: the armoured text in which NATS tools keep JWTs and seeds (NATS ADR-14)."""

from __future__ import annotations

import re
from typing import Final

from auth import jwt
from auth.claims import Claims, UserClaims
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair, NKeyError, decode_seed

_BLOCK: Final = re.compile(r"\s*(?:-{3,}.*-{3,}\r?\n)(?P<content>[\w\-.=]+)(?:\r?\n-{3,}.*-{3,}(?:\r?\n|\Z))", re.ASCII)
_TOKEN: Final = re.compile(r"[\w\-]+\.[\w\-]+\.[\w\-]+", re.ASCII)
_SEED_TITLES: Final = {KeyKind.OPERATOR: "OPERATOR", KeyKind.ACCOUNT: "ACCOUNT", KeyKind.USER: "USER"}
_WARNING: Final = """\
************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.
"""
_END_OF_FILE: Final = "*" * 61


class CredsError(ValueError):
    """A credentials file or seed that cannot be used; the text never holds the seed or the token."""


def decorate_jwt(token: str) -> str:
    """A token in armour, titled by its type. Raises JwtError."""
    return _decorated(token, jwt.decode_unverified(token))


def _decorated(token: str, claims: Claims) -> str:
    title = (claims.type_name or str(getattr(claims, "kind", "")) or "generic").upper()
    return f"-----BEGIN NATS {title} JWT-----\n{token}\n------END NATS {title} JWT------\n\n"


def decorate_seed(seed: str) -> str:
    """A seed in armour, with the warning that goes before it. Raises CredsError."""
    if len(seed) < 2:
        raise CredsError("seed is too short")
    try:
        kind, _ = decode_seed(seed.strip())
    except NKeyError:
        kind = None
    title = _SEED_TITLES.get(kind) if kind is not None else None
    if title is None:
        raise CredsError("seed is not an operator, account or user seed")
    return (
        f"{_WARNING}\n-----BEGIN {title} NKEY SEED-----\n{seed.strip()}\n------END {title} NKEY SEED------\n\n"
        f"{_END_OF_FILE}\n"
    )


def format_creds(token: str, seed: str) -> str:
    """The credentials file of a user. Raises CredsError or JwtError when token and seed are not of one user."""
    claims = jwt.decode_unverified(token)
    if not isinstance(claims, UserClaims):
        raise CredsError(f"{quote(claims.type_name)} cannot be serialized as a user config")
    try:
        keypair = KeyPair.from_seed(seed)
    except NKeyError:
        raise CredsError("nkey seed is not an user seed") from None
    if keypair.kind is not KeyKind.USER:
        raise CredsError("nkey seed is not an user seed")
    if keypair.public != claims.subject:
        raise CredsError("nkey seed does not match the jwt subject")
    return _decorated(token, claims) + decorate_seed(seed)


def parse_decorated_jwt(text: str) -> str:
    """The token of an armoured text, or the whole text (without surrounding blanks) when it has no armour."""
    found = _BLOCK.search(text)
    return found["content"] if found else text.strip()


def parse_decorated_seed(text: str) -> str:
    """The seed of an armoured text: the second block, or the first line that starts like a seed.

    Raises CredsError.
    """
    blocks = [found["content"] for found in _BLOCK.finditer(text)]
    if len(blocks) > 1:
        seed = blocks[1]
    else:
        lines = (line.strip() for line in text.splitlines())
        seed = next((line for line in lines if line.startswith(("SO", "SA", "SU"))), "")
        if not seed:
            raise CredsError("nkeys: no nkey seed found")
    try:
        decode_seed(seed)
    except NKeyError:
        raise CredsError("nkeys: doesn't contain a seed nkey") from None
    return seed


def parse_creds(text: str) -> tuple[str, str]:
    """The user token and the seed of a credentials file. Raises CredsError."""
    token = parse_decorated_jwt(text)
    seed = parse_decorated_seed(text)
    if decode_seed(seed)[0] is not KeyKind.USER:
        raise CredsError("nkeys: doesn't contain an user seed nkey")
    # Without armour the whole text stands for the token, and it must not carry the seed to a server.
    if not _TOKEN.fullmatch(token):
        raise CredsError("no user JWT found")
    return token, seed
