"""Fuzz target: the CONNECT object.

Invariant: any bytes give ConnectOptions with fields of the declared types, or ConnectError, and nothing else; reading
the same bytes again on top of the result changes nothing; neither error nor options show what was offered as proof.
"""

from __future__ import annotations

import dataclasses
import typing

from hypothesis import given
from hypothesis import strategies as st

from broker.wire.connect import ConnectError, ConnectOptions, parse_connect
from tests.fuzz.inputs import budget, mutated, noise_or

SECRET = "s3cr3t-that-nobody-may-see"
SEEDS = [
    b'{"verbose":false,"pedantic":false,"echo":false,"tls_required":true,"protocol":1,"headers":true,"no_responders":true}',
    b'{"name":"n","lang":"python","version":"1.2","user":"u","pass":"p","auth_token":"t","account":"a","new_account":true}',
    b'{"jwt":"eyJ.eyJ.sig","nkey":"UA","sig":"AAAA","proxy_sig":"BBBB"}',
    b"{}",
    b'{"VERBOSE":null,"unknown":{"deep":[1,2.5,{"x":"\\u00e9\\ud83d\\ude00"}]}}',
    b'{"verbose":"no"}',
]
DICTIONARY = [
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b":",
    b"null",
    b"true",
    b"1e999",
    b"-0",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b'""',
]
TYPES = typing.get_type_hints(ConnectOptions)


@budget
@given(noise_or(mutated(SEEDS, DICTIONARY)))
def test_any_bytes_are_options_or_an_error(argument: bytes) -> None:
    try:
        options = parse_connect(argument, ConnectOptions())
    except ConnectError:
        return
    for field in dataclasses.fields(options):
        assert type(getattr(options, field.name)) is TYPES[field.name]
    assert parse_connect(argument, options) == options


@budget
@given(
    st.sampled_from(["jwt", "sig", "pass", "auth_token", "proxy_sig"]),
    mutated([b'{"verbose":false}', b'{"name":"n","protocol":1}', b'{"protocol":true}'], DICTIONARY),
)
def test_proof_is_never_shown(name: str, rest: bytes) -> None:
    argument = b'{"%s":"%s",%s' % (name.encode(), SECRET.encode(), rest.removeprefix(b"{"))
    try:
        shown = repr(parse_connect(argument, ConnectOptions()))
    except ConnectError as error:
        shown = f"{error}{error!r}"
    assert SECRET not in shown
