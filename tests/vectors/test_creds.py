"""Credentials files: which can be read, and what becomes of who shows what stands in them.

The outcomes were recorded with a leafnode as the one who logs in. A client does the same with the same files, except
that it is a client: two files are for one type of connection only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from auth.creds import CredsError, parse_creds
from tests.support.servers import Target, targets
from tests.vectors.group import observe_group
from tests.vectors.vector import Vector, load_all

CREDS = [vector for vector in load_all(Path(__file__).parent / "cases") if vector.creds is not None]
UNREADABLE = {
    "creds-bare",
    "creds-blank-lines",
    "creds-indented",
    "creds-no-jwt",
    "creds-seed-bad-crc",
    "creds-wrapped-jwt",
}
OUTCOME_AS_CLIENT = {"creds-leafnode-only-type": "refused", "creds-standard-only-type": "accepted"}
_LEAFNODES = re.compile(r"^leafnodes .*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Login:
    """What came of a login: the outcome and, when accepted, the account."""

    outcome: str
    account: str | None


def as_client(vector: Vector) -> Vector:
    """The login of a client with what stands in the file."""
    token, seed = parse_creds(vector.creds or "")
    return replace(vector, config=_LEAFNODES.sub("", vector.config), connect={"jwt": token, "seed": seed, "sig": "url"})


@pytest.fixture(scope="module", params=targets(), ids=lambda target: target.name)
def logins(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Login]:
    target: Target = request.param
    readable = [as_client(vector) for vector in CREDS if vector.name not in UNREADABLE]
    found = observe_group(readable, target, tmp_path_factory.mktemp("creds"))
    return {name: Login(result["outcome"], result.get("account")) for name, result in found.items()}


@pytest.mark.parametrize("vector", [vector for vector in CREDS if vector.name in UNREADABLE], ids=lambda v: v.name)
def test_unreadable_file(vector: Vector) -> None:
    assert vector.expect["outcome"] == "refused"
    with pytest.raises(CredsError):
        parse_creds(vector.creds or "")


@pytest.mark.parametrize("vector", [vector for vector in CREDS if vector.name not in UNREADABLE], ids=lambda v: v.name)
def test_login_with_file(vector: Vector, logins: Mapping[str, Login]) -> None:
    login = logins[vector.name]
    assert login.outcome == OUTCOME_AS_CLIENT.get(vector.name, vector.expect["outcome"])
    if vector.expect["outcome"] == login.outcome:
        assert login.account == vector.expect.get("account")


def test_the_configurations_are_alike() -> None:
    """One server serves all files."""
    assert len({_LEAFNODES.sub("", vector.config) for vector in CREDS}) == 1
