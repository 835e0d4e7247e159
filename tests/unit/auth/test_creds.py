"""Credentials files: written exactly as the NATS tools write them, read as tolerantly as their readers."""

from __future__ import annotations

import pytest

from auth import jwt
from auth.claims import AccountClaims, UserClaims
from auth.creds import (
    CredsError,
    decorate_jwt,
    decorate_seed,
    format_creds,
    parse_creds,
    parse_decorated_jwt,
    parse_decorated_seed,
)
from tests.unit.auth.realm import ACCOUNT, NOW, OPERATOR, OTHER_USER, USER

TOKEN = jwt.encode(UserClaims.new(USER.public), ACCOUNT, issued_at=NOW)
FILE = f"""\
-----BEGIN NATS USER JWT-----
{TOKEN}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.

-----BEGIN USER NKEY SEED-----
{USER.seed}
------END USER NKEY SEED------

*************************************************************
"""


def test_the_file() -> None:
    assert format_creds(TOKEN, USER.seed) == FILE
    assert parse_creds(FILE) == (TOKEN, USER.seed)


@pytest.mark.parametrize(
    "text",
    [
        FILE.replace("\n", "\r\n"),
        FILE.rstrip("\n*"),
        "# mine\n" + FILE,
        FILE.replace("BEGIN NATS USER JWT", "B").replace("------END", "---END"),
        FILE.replace("------END", "-----END").replace("JWT------", "JWT-----"),
    ],
)
def test_other_spellings_of_the_file(text: str) -> None:
    assert parse_creds(text) == (TOKEN, USER.seed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TOKEN,
        f"{TOKEN}\n{USER.seed}\n",
        FILE.replace(TOKEN, TOKEN[:64] + "\n" + TOKEN[64:]),
        FILE.replace(USER.seed, USER.seed[:-1]),
        FILE.replace(USER.seed, ACCOUNT.seed),
        FILE.replace(TOKEN, "not-a-token"),
        FILE[FILE.index("****") :],
    ],
)
def test_files_that_are_no_credentials(text: str) -> None:
    with pytest.raises(CredsError) as caught:
        parse_creds(text)
    assert USER.seed not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_what_does_not_belong_together() -> None:
    account = jwt.encode(AccountClaims.new(ACCOUNT.public), OPERATOR, issued_at=NOW)
    for token, seed, text in (
        (account, USER.seed, '"account" cannot be serialized as a user config'),
        (TOKEN, ACCOUNT.seed, "nkey seed is not an user seed"),
        (TOKEN, "SUnothing", "nkey seed is not an user seed"),
        (TOKEN, OTHER_USER.seed, "nkey seed does not match the jwt subject"),
    ):
        with pytest.raises(CredsError, match=f"^{text}$"):
            format_creds(token, seed)


def test_armour_alone() -> None:
    account = jwt.encode(AccountClaims.new(ACCOUNT.public), OPERATOR, issued_at=NOW)
    armoured = decorate_jwt(account)
    assert armoured == f"-----BEGIN NATS ACCOUNT JWT-----\n{account}\n------END NATS ACCOUNT JWT------\n\n"
    assert parse_decorated_jwt(armoured) == account
    assert parse_decorated_jwt(f" {account}\n") == account
    assert parse_decorated_seed(decorate_seed(ACCOUNT.seed)) == ACCOUNT.seed
    assert parse_decorated_seed(f"x\n  {OPERATOR.seed}\n") == OPERATOR.seed


@pytest.mark.parametrize(
    ("seed", "text"), [("S", "seed is too short"), ("SX", "seed is not an operator, account or user seed")]
)
def test_seeds_without_armour(seed: str, text: str) -> None:
    with pytest.raises(CredsError, match=f"^{text}$"):
        decorate_seed(seed)
