"""Fuzz target: JWTs.

Invariants: any text is claims or JwtError, and nothing else; no edit of a signed token is accepted, except in the
header of a version 1 token, which its signature does not cover; and a payload that its issuer did sign, but that is
no well-formed claim, is refused in the same way.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth import envelope, jwt
from auth.claims import Claims
from auth.jwt import JwtError
from tests.fuzz.inputs import budget, mutated, noise_or
from tests.fuzz.material import material

DICTIONARY = [b".", b"=", b"-", b"_", b"+", b"/", b"\n", b" ", b"eyJ", b"\xc3\xa9", b"\x00"]
TOKENS = [token.encode() for token in material().tokens]
SIGNERS = [material().operator, material().operator, material().account]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def decoded(token: str) -> Claims | None:
    try:
        return jwt.decode(token)
    except JwtError:
        return None


@budget
@given(noise_or(mutated(TOKENS, DICTIONARY)))
def test_no_edit_of_a_signed_token_is_accepted(data: bytes) -> None:
    token = data.decode("utf-8", "surrogateescape")
    if decoded(token) is None:
        return
    version_1 = material().version_1_token
    assert token in material().tokens or token.partition(".")[2] == version_1.partition(".")[2]


@budget
@given(noise_or(mutated(TOKENS, DICTIONARY)))
def test_reading_without_verifying_fails_in_the_same_way(data: bytes) -> None:
    token = data.decode("utf-8", "surrogateescape")
    try:
        jwt.decode_unverified(token)
    except JwtError:
        assert decoded(token) is None


@budget
@given(st.integers(0, 2), st.data())
def test_signed_nonsense_is_refused_or_stays_what_it_says(index: int, data: st.DataObject) -> None:
    token = material().tokens[index]
    payload = envelope.open_verified(token)
    place = data.draw(st.sampled_from([payload, payload["nats"]]))
    name = data.draw(st.sampled_from(sorted(place)) | st.text(max_size=8))
    place[name] = data.draw(VALUES)
    signer = SIGNERS[index]
    claims = decoded(envelope.seal(json.dumps(payload).encode("utf-8"), signer))
    if claims is not None:
        assert claims.issuer == signer.public
        assert all(str(issue) for issue in claims.validate())


@pytest.mark.parametrize("token", material().tokens)
def test_the_seeds_are_valid(token: str) -> None:
    assert decoded(token) is not None
