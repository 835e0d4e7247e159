"""The verdict on a server's health."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from broker.monitor.health import NOT_READY, HealthOptions, healthz
from broker.monitor.query import Query, QueryError
from broker.monitor.wording import compact


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


@pytest.mark.parametrize("name", ["js-enabled", "js-enabled-only", "js-server-only", "js-meta-only", "details"])
def test_switches_are_booleans(name: str) -> None:
    with pytest.raises(QueryError, match=f"^Error decoding boolean for '{name}'"):
        HealthOptions.read(Query({name: "x"}))
