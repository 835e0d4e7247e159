"""Exports, imports and mappings of a configuration file. What is refused stands in tests/vectors/config."""

from __future__ import annotations

import pytest

from accounts.account import TraceDestination
from accounts.exports import SAMPLE_BY_HEADERS, ResponseType, ServiceExport, ServiceLatency, StreamExport
from accounts.imports import ServiceImport, StreamImport
from accounts.mapping import SubjectMapping, WeightedDestination
from auth.settings import AuthSettings
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import AccountOptions, Options
from broker.settings import auth_settings


def read(text: str) -> Options:
    loaded = read_options(parse_bytes(text.encode(), "t.conf", {}))
    assert loaded.warnings == ()
    return loaded.options


def account(text: str, name: str = "A") -> AccountOptions:
    (found,) = (entry for entry in read(text).accounts if entry.name == name)
    return found


def test_exports() -> None:
    found = account(
        """
        accounts {
          A { exports: [
            { stream: "s.>" }
            { stream: "t.*", accounts: [B], account_token_position: 2 }
            { service: q }
            { service: r, response: STREAM, threshold: "1.5s", allow_trace: yes, accounts: [] }
            { service: l, response_type: single, latency: m }
            { service: n, latency: { subject: m, sampling: "10%" } }
            { service: o, latency: { subject: m, sampling: Headers } }
            { service: p, response: chunk, response_time: "1s" }
          ] }
          B {}
        }"""
    ).exports
    assert found == (
        StreamExport(subject="s.>", origin="t.conf:4"),
        StreamExport(subject="t.*", accounts=frozenset({"B"}), account_token_position=2, origin="t.conf:5"),
        ServiceExport(subject="q", origin="t.conf:6"),
        ServiceExport(
            subject="r",
            response_type=ResponseType.STREAM,
            response_threshold=1.5,
            allow_trace=True,
            origin="t.conf:7",
        ),
        ServiceExport(subject="l", latency=ServiceLatency("m"), origin="t.conf:8"),
        ServiceExport(subject="n", latency=ServiceLatency("m", 10), origin="t.conf:9"),
        ServiceExport(subject="o", latency=ServiceLatency("m", SAMPLE_BY_HEADERS), origin="t.conf:10"),
        ServiceExport(subject="p", response_type=ResponseType.CHUNKED, response_threshold=1.0, origin="t.conf:11"),
    )


def test_imports() -> None:
    found = account(
        """
        accounts {
          E { exports: [ {stream: "s.>"}, {service: "q.>"}, {service: "w.*.*"} ] }
          A { imports: [
            { stream: {account: E, subject: s.a} }
            { stream: {account: E, subject: "s.b.*"}, prefix: P.Q, allow_trace: true }
            { stream: {account: E, subject: "s.c.>"}, to: "x.>" }
            { service: {account: E, subject: q.a}, share: true }
            { service: {account: E, subject: "w.*.*"}, to: "x.$2.$1" }
          ] }
        }"""
    ).imports
    assert found == (
        StreamImport(account="E", subject="s.a", origin="t.conf:5"),
        StreamImport(account="E", subject="s.b.*", to="P.Q.s.b.*", allow_trace=True, origin="t.conf:6"),
        StreamImport(account="E", subject="s.c.>", to="x.>", origin="t.conf:7"),
        ServiceImport(account="E", subject="q.a", share=True, origin="t.conf:8"),
        ServiceImport(account="E", subject="w.*.*", to="x.$2.$1", origin="t.conf:9"),
    )


def test_mappings_keep_their_order() -> None:
    text = """
        mappings {
          "z.*": "y.$1"
          "a": { dest: b, weight: 50% }
          "c": [ {destination: d, weight: 60}, {dest: e, weight: "60", cluster: X} ]
          "n": []
        }"""
    expected = (
        SubjectMapping("z.*", (WeightedDestination("y.$1"),), "t.conf:3"),
        SubjectMapping("a", (WeightedDestination("b", 50),), "t.conf:4"),
        SubjectMapping("c", (WeightedDestination("d", 60), WeightedDestination("e", 60, "X")), "t.conf:5"),
        SubjectMapping("n", (), "t.conf:6"),
    )
    assert read(text).mappings == expected
    of_account = account(f"accounts {{ A {{ {text} }} }}").mappings
    assert [mapping.source for mapping in of_account] == ["z.*", "a", "c", "n"]


def test_an_empty_list_asks_for_nothing() -> None:
    found = account("accounts { A { exports: [], imports: [], maps {} } }")
    assert (found.exports, found.imports, found.mappings) == ((), (), ())


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        ("msg_trace: {dest: x}", TraceDestination("x")),
        ("trace_dest: x.y", TraceDestination("x.y", 100)),
        ("msg_trace: {dest: x, sampling: 5}", TraceDestination("x", 5)),
        ('msg_trace: {dest: x, sampling: "7%"}', TraceDestination("x", 7)),
        ("msg_trace: {}", None),
    ],
)
def test_traces_need_a_destination(text: str, trace: TraceDestination | None) -> None:
    assert account(f"accounts {{ A {{ {text} }} }}").trace == trace
    assert settings(f"accounts {{ A {{ {text} }} }}").accounts["A"].trace == trace


def settings(text: str) -> AuthSettings:
    return auth_settings(read(text))


def test_the_accounts_of_the_verifier_carry_them() -> None:
    found = settings(
        """accounts {
          E { exports: [ {stream: s} ], mappings { a: b } }
          I { imports: [ {stream: {account: E, subject: s}} ] }
        }
        mappings { c: d }"""
    ).accounts
    assert [export.subject for export in found["E"].exports] == ["s"]
    assert [mapping.source for mapping in found["E"].mappings] == ["a"]
    assert [item.account for item in found["I"].imports] == ["E"]
    assert [mapping.source for mapping in found["$G"].mappings] == ["c"]
