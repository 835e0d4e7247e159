"""The verdict on a server's health."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from broker.monitor.health import NOT_READY, HealthOptions, healthz
from broker.monitor.query import Query, QueryError
from broker.monitor.wording import compact
from broker.net.certificates import Finding, Outcome


def verdict(parameters: dict[str, str], *, is_serving: bool = True) -> tuple[HTTPStatus, str]:
    status, health = healthz(HealthOptions.read(Query(parameters)), is_serving=is_serving)
    return status, compact(health).decode()


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"js-enabled": "1"},
        {"js-enabled-only": "true"},
        {"js-server-only": "t"},
        {"js-meta-only": "1"},
        {"account": "A"},
        {"account": "A", "stream": "S"},
        {"account": "A", "stream": "S", "consumer": "C"},
        {"details": "1"},
    ],
)
def test_healthy(parameters: dict[str, str]) -> None:
    assert verdict(parameters) == (HTTPStatus.OK, '{"status":"ok"}')


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"stream": "S"}, '\\"account\\" must not be empty when checking stream health'),
        ({"account": "A", "consumer": "C"}, '\\"stream\\" must not be empty when checking consumer health'),
    ],
)
def test_questions_that_make_no_sense(parameters: dict[str, str], text: str) -> None:
    assert verdict(parameters) == (HTTPStatus.BAD_REQUEST, f'{{"status":"error","error":"{text}"}}')
    assert verdict({**parameters, "details": "1"}, is_serving=False) == (
        HTTPStatus.BAD_REQUEST,
        f'{{"status":"error","errors":[{{"type":"BAD_REQUEST","error":"{text}"}}]}}',
    )


def test_not_serving() -> None:
    assert verdict({}, is_serving=False) == (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f'{{"status":"error","error":"{NOT_READY}"}}',
    )
    assert verdict({"details": "1"}, is_serving=False) == (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f'{{"status":"error","errors":[{{"type":"CONNECTION","error":"{NOT_READY}"}}]}}',
    )


@pytest.mark.parametrize("name", ["js-enabled", "js-enabled-only", "js-server-only", "js-meta-only", "details", "tls"])
def test_switches_are_booleans(name: str) -> None:
    with pytest.raises(QueryError, match=f"^Error decoding boolean for '{name}'"):
        HealthOptions.read(Query({name: "x"}))


@pytest.mark.parametrize("parameters", [{}, {"details": "1"}, {"account": "A"}])
def test_certificates_are_warnings_unless_they_are_asked_about(parameters: dict[str, str]) -> None:
    found = [
        Finding("client", Outcome.EXPIRING, "one ends", "more"),
        Finding("websocket", Outcome.REFUSED, "another", ""),
    ]
    warnings = (
        '"warnings":[{"type":"CERTIFICATE","listener":"client","warning":"one ends"},'
        '{"type":"CERTIFICATE","listener":"websocket","warning":"another"}]'
    )
    options = HealthOptions.read(Query(parameters))
    status, health = healthz(options, is_serving=True, certificates=found)
    assert (status, compact(health).decode()) == (HTTPStatus.OK, f'{{"status":"ok",{warnings}}}')
    asked = HealthOptions.read(Query({**parameters, "tls": "1"}))
    status, health = healthz(asked, is_serving=True, certificates=found)
    assert (status, health.error or health.errors[0].error) == (HTTPStatus.SERVICE_UNAVAILABLE, "one ends; another")
    # What is worse goes first.
    assert healthz(asked, is_serving=False, certificates=found)[0] is HTTPStatus.INTERNAL_SERVER_ERROR
    assert healthz(asked, is_serving=True)[0] is HTTPStatus.OK
