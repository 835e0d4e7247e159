"""Fuzz target: configuration files.

Invariants: any bytes give a table or ConfigError, and nothing else; a table has a digest; what is written down from
values reads back as those values; and any table gives Options or ConfigError, never anything else.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from broker.config.errors import ConfigError, Problem
from broker.config.language import parse_bytes
from broker.config.load import KEYS, read_options
from broker.config.tree import Table, Value, digest
from tests.fuzz.inputs import budget, mutated, noise_or

CASES = Path(__file__).parent.parent / "unit" / "config" / "language.yaml"
SEEDS = [case["text"].encode() for case in yaml.safe_load(CASES.read_text(encoding="utf-8"))]
DICTIONARY = [
    *(bytes([character]) for character in b"{}[]():=,;#'\"\\\r\0\v"),
    *(b"//", b"\\x4", b"$", b"$A", b"$2a$", b"include ", b"include\t", b"\n)", "\ufeff".encode(), "\u00a0".encode()),
    *(b"-1", b"1k", b"1.5", b"1.2.3", b"2006-", b"yes", b" ", b"\n"),
]
ENVIRONMENT = {"A": "[1, {b: $B}]", "B": "$C", "C": "$B", "NATSKEEP_NUMBER": "1"}

FRAGMENTS = [
    b"authorization { users: [ {user: a, pass: b, permissions { pub: x, sub { allow: ['a b'], deny: c } } } ] }",
    b"authorization { token: t, timeout: 1, default_permissions { allow_responses { max: 1, expires: 1s } } }",
    b"accounts { A { users: [ {nkey: U} ], limits { max_conn: 1 }, exports: [] }, B: $A }",
    b"tls { cert_file: a, key_file: b, verify: true, cipher_suites: [x], timeout: 2, handshake_first: auto }",
    b"operator: [eyJ.x.y, a.jwt]\nresolver: {type: MEM}\nresolver_preload { A: eyJ.x.y }\ntrusted: O",
    b"listen: '0.0.0.0:-1', http: 8222, lame_duck_duration: 30s, max_payload: 1MB, server_tags: [a, b]",
]
NAMES = sorted(set(KEYS) - {"pid_file"})


def plain(value: Value | Table) -> object:
    content = value if isinstance(value, Table) else value.content
    if isinstance(content, Table):
        return {entry.key: plain(entry.value) for entry in content}
    return [plain(element) for element in content] if isinstance(content, list) else content


def problems(data: bytes) -> tuple[Problem, ...]:
    """What is said about a configuration; nothing when it can be used."""
    try:
        return read_options(parse_bytes(data, "t.conf", ENVIRONMENT, directory="/nowhere")).warnings
    except ConfigError as error:
        return error.problems


def parsed(data: bytes) -> Table | ConfigError:
    try:
        return parse_bytes(data, "t.conf", ENVIRONMENT, directory="/nowhere")
    except ConfigError as error:
        return error


@budget
@given(noise_or(mutated(SEEDS, DICTIONARY)))
def test_any_bytes_are_a_table_or_an_error(data: bytes) -> None:
    outcome = parsed(data)
    if isinstance(outcome, ConfigError):
        assert outcome.problems
        assert "\0" not in str(outcome)
    else:
        assert digest(outcome).startswith("sha256:")


@budget
@given(mutated(FRAGMENTS, DICTIONARY))
def test_any_table_gives_options_or_an_error(data: bytes) -> None:
    assert all(problem.message for problem in problems(data))


_scalars = st.one_of(
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: "e" not in repr(number)),
    # JSON can write characters that this language has no escapes for.
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12),
)
_keys = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters='"\\'), max_size=12)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_keys, inner, max_size=4)),
    max_leaves=8,
)
_documents = st.dictionaries(_keys, _values, max_size=4)


@budget
@given(_documents, st.sampled_from([None, 1]))
def test_json_is_read_as_json(document: dict[str, object], indent: int | None) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    assert plain(parse_bytes(text.encode(), "t.conf", {})) == document


@budget
@given(st.dictionaries(st.sampled_from(NAMES), _values, max_size=5))
def test_any_value_of_any_key_gives_options_or_an_error(document: dict[str, object]) -> None:
    text = json.dumps(document, ensure_ascii=False)
    assert all(problem.position is not None for problem in problems(text.encode()))
