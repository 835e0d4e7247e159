"""``-t`` tells which differences from nats-server a configuration meets, in the words of the documentation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from auth.envelope import seal
from auth.nkey import KeyKind, KeyPair
from broker.__main__ import main
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import MonitorOptions, OperatorOptions, Options, TLSOptions
from broker.migration import DIFFERENCES, Difference, report, touched
from tests.source.sources import ROOT

ALLOWED = "authorization {{ users: [{{user: a, password: b, permissions: {{{permissions}}}}}] }}"


def options_of(text: str) -> Options:
    return read_options(parse_bytes(text.encode())).options


def token(kind: str, **claims: object) -> str:
    """A JWT of which only the claims matter."""
    payload = {"iss": "O", "sub": "O", "nats": {"type": kind, "version": 2, **claims}, **claims}
    return seal(json.dumps(payload).encode(), KeyPair.generate(KeyKind.OPERATOR))


OPERATORS = Options(operators=(OperatorOptions(token("operator")),))
WATCHED = MonitorOptions(port=-1)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.reference[:40])
def test_the_documentation_says_the_same(difference: Difference) -> None:
    rows = (ROOT / "docs" / "differences.md").read_text().splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("|")]
    words = [difference.reference, difference.natskeep, difference.why]
    assert [*filter(None, words)] in [row[: len([*filter(None, words)])] for row in cells]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (options_of(ALLOWED.format(permissions='subscribe: "foo.*"')), "A subscription must be contained"),
        (options_of(ALLOWED.format(permissions='allow_responses: true, publish: {deny: "x"}')), "Deny wins"),
        (Options(operators=(OperatorOptions(token("operator", exp=1)),)), "No login under an operator"),
        (Options(monitor=WATCHED), "`GET` and `HEAD`"),
        (replace(OPERATORS, monitor=WATCHED), "never a bearer token"),
        (Options(tls=TLSOptions(verify=True), monitor=WATCHED), "first of the chain"),
        (Options(pid_file="/run/pid"), "Removed, unless another process"),
    ],
)
def test_what_a_configuration_meets_is_told(options: Options, expected: str) -> None:
    assert [difference for difference in touched(options) if expected in difference.natskeep]


@pytest.mark.parametrize(
    "options",
    [
        options_of("port: 4222"),
        options_of(ALLOWED.format(permissions='subscribe: ["foo.bar", "foo.>"]')),
        options_of(ALLOWED.format(permissions="allow_responses: true")),
        options_of("http: 0"),
        OPERATORS,
        Options(operators=(OperatorOptions("no token"),), tls=TLSOptions(verify=True)),
    ],
)
def test_what_a_configuration_does_not_meet_is_not_told(options: Options) -> None:
    assert report("natskeep", options) == ""


def test_the_check_of_a_file_tells_on_stdout_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.conf").write_text('pid_file: "pid"\nhttp: "127.0.0.1:8222"\n')
    assert main(["-t", "-c", "server.conf"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("natskeep does 2 of the things that this file asks for differently:\n")
    assert "nats-server: The pid file stays when the server ends\n   natskeep: Removed" in output.out
    assert len(output.err.splitlines()) == 1
    monkeypatch.setattr("sys.argv", ["nats-server"])
    assert main(["-t", "-c", "server.conf"]) == 0
    assert capsys.readouterr().out == ""
