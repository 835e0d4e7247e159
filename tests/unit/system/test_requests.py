"""Requests to the system account: how their JSON is read, and which server they mean."""

from __future__ import annotations

from typing import Any

import pytest

from broker.config.options import Options
from broker.monitor.connections import Listed
from broker.monitor.query import QueryError
from broker.system.requests import (
    AccountzRequest,
    ConnzRequest,
    Filters,
    HealthzRequest,
    RequestError,
    StatzRequest,
    SubszRequest,
    read,
)
from tests.unit.monitor.scene import watched


@pytest.mark.parametrize("payload", [b"", b"{}", b"null", b'{"limit":null}', b'{"unknown":[1]}'])
def test_what_is_not_said_has_its_default(payload: bytes) -> None:
    assert read(ConnzRequest, payload) == ConnzRequest()


def test_names_match_in_any_case() -> None:
    assert read(AccountzRequest, b'{"Account":"A","SERVER_NAME":"S"}') == AccountzRequest(account="A", server_name="S")


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"{", "unexpected end of JSON input"),
        (b" ", "unexpected end of JSON input"),
        (b'{"a":', "unexpected end of JSON input"),
        (b"garbage", "invalid character 'g' looking for beginning of value"),
        (b'{"a":x}', "invalid character 'x' looking for beginning of value"),
        (b"'", "invalid character '\\'' looking for beginning of value"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b'{"a":"\xff"}', "invalid UTF-8 in string"),
        (b'{"a":' + b"[" * 100_000, "exceeded max depth"),
        (b'{"limit":"a"}', "Expected `int`, got `str` - at `$.limit`"),
        (b'{"auth":1}', "Expected `bool`, got `int` - at `$.auth`"),
        (b"[]", "Expected `object | null`, got `array`"),
    ],
)
def test_what_cannot_be_read_is_told(payload: bytes, text: str) -> None:
    with pytest.raises(RequestError) as error:
        read(ConnzRequest, payload)
    assert str(error.value) == text


def test_listings() -> None:
    request = read(
        ConnzRequest,
        b'{"sort":"subs","auth":true,"subscriptions":true,"subscriptions_detail":true,"offset":1,"limit":2,"cid":3,'
        b'"mqtt_client":"m","state":2,"user":"u","acc":"A","filter_subject":"s"}',
    )
    options = request.options()
    assert (options.sort, options.auth, options.subscriptions, options.subscriptions_detail) == (
        "subs", True, True, True,
    )
    assert (options.offset, options.limit, options.cid, options.mqtt_client) == (1, 2, 3, "m")
    assert (options.listed, options.user, options.account, options.filter_subject) == (Listed.ALL, "u", "A", "s")
    assert request.options("B").account == "B", "an account in the subject is not overridden"


@pytest.mark.parametrize(("state", "listed"), list(enumerate([Listed.OPEN, Listed.CLOSED, Listed.ALL])))
def test_states_are_numbers(state: int, listed: Listed) -> None:
    assert ConnzRequest(state=state).options().listed is listed


@pytest.mark.parametrize("state", [-1, 3])
def test_a_state_that_there_is_not(state: int) -> None:
    with pytest.raises(QueryError, match=f"Error decoding state for {state}"):
        ConnzRequest(state=state).options()


def test_subscriptions_of_one_account_are_always_listed() -> None:
    assert not SubszRequest(account="A").options().subscriptions
    options = SubszRequest(account="A", offset=1, limit=2, test="t").options("B")
    assert (options.subscriptions, options.account, options.offset, options.limit, options.test) == (
        True, "B", 1, 2, "t",
    )


def test_health() -> None:
    options = read(HealthzRequest, b'{"account":"A","stream":"S","consumer":"C","details":true}').options()
    assert (options.account, options.stream, options.consumer, options.details) == ("A", "S", "C", True)


def test_statistics() -> None:
    assert read(StatzRequest, b'{"accounts":["A"],"include_unused":true}') == StatzRequest(
        accounts=["A"], include_unused=True
    )


@pytest.mark.parametrize(
    ("filters", "is_meant"),
    [
        ({}, True),
        ({"server_name": "S"}, True),
        ({"server_name": "S", "exact_match": True}, False),
        ({"server_name": "S1", "exact_match": True}, True),
        ({"host": "127"}, True),
        ({"host": "127", "exact_match": True}, False),
        ({"cluster": "c"}, False),
        ({"domain": "d"}, False),
        ({"tags": ["A:b"]}, True),
        ({"tags": ["a:b", "c"]}, True),
        ({"tags": ["a:b", "d"]}, False),
    ],
)
def test_which_server_is_meant(filters: dict[str, Any], is_meant: bool) -> None:
    with watched(Options(host="127.0.0.1", server_tags=("a:B", "c"))) as scene:
        assert Filters(**filters).mean(scene) == is_meant
