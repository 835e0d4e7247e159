"""Each vector that is refused is refused for its own reason, which the log tells and the client never hears."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from auth.authenticate import Authenticator
from auth.challenge import new_nonce
from auth.errors import AuthError, AuthFailure
from auth.evidence import Evidence
from broker.config.load import load
from broker.settings import auth_settings
from tests.support.differences import DIFFERENCES
from tests.vectors.signing import NEEDED_CHARACTERS, forge, sign_nonce
from tests.vectors.vector import Vector, load_all

VECTORS = {vector.name: vector for vector in load_all(Path(__file__).parent / "cases")}
FAILURES: dict[str, str] = {
    name: code
    for code, names in yaml.safe_load(Path(__file__).with_name("failures.yaml").read_text()).items()
    for name in names
}
CODES = {failure.code: failure for failure in AuthFailure}


@pytest.fixture(scope="module")
def authenticator(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Authenticator]:
    """The verifier of a configuration; many vectors share one."""
    file = tmp_path_factory.mktemp("failures") / "server.conf"

    @functools.cache
    def of(config: str) -> Authenticator:
        file.write_text(config.replace("@PORT@", "4222").replace("@HTTP@", "8222"))
        return Authenticator(auth_settings(load(str(file)).options))

    return of


def evidence(vector: Vector) -> Evidence:
    """What the vector's client shows, for a nonce of its own."""
    seed, way = vector.connect.get("seed"), vector.connect.get("sig", "url")
    extra = vector.connect.get("extra") or {}
    jwt = forge(dict(vector.dynamic)) if vector.dynamic else vector.connect.get("jwt")
    nonce, signature = new_nonce(), None
    if seed and way != "none":
        needed = set(NEEDED_CHARACTERS.get(way, ""))
        signature = sign_nonce(seed, way, nonce, new_nonce())
        while needed and not needed & set(signature):
            nonce = new_nonce()
            signature = sign_nonce(seed, way, nonce, new_nonce())
    return Evidence(
        nonce=nonce,
        unverified_jwt=extra.get("jwt", jwt),
        unverified_signature=signature,
        unverified_token=extra.get("auth_token"),
        remote_ip="127.0.0.1",
    )


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_failure(name: str, authenticator: Callable[[str], Authenticator]) -> None:
    vector = VECTORS[name]
    shown = evidence(vector)
    with pytest.raises(AuthError) as refused:
        authenticator(vector.config).authenticate(shown, time.time())
    assert refused.value.failure is CODES[FAILURES[name]]
    for secret in (shown.unverified_jwt, shown.unverified_signature, shown.unverified_token):
        assert not secret or secret not in refused.value.log_text


def test_every_refused_vector_has_its_reason() -> None:
    outcomes = {
        name: DIFFERENCES.expectation(name, vector.expect)["outcome"]
        for name, vector in VECTORS.items()
        if vector.creds is None
    }
    refused = {name for name, outcome in outcomes.items() if outcome == "refused"}
    # A number as JWT is no CONNECT at all; an expiry before 1970 is refused with the text of an expiry.
    assert refused - {"connect-jwt-number"} == set(FAILURES) - {"env-exp-negative"}
