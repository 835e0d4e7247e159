"""Parameters are read as strictly as the reference reads them, and refused in its words."""

from __future__ import annotations

import pytest

from broker.monitor.connections import ConnzOptions, Listed
from broker.monitor.query import Query, QueryError


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true(text: str) -> None:
    assert Query({"auth": text}).boolean("auth")


@pytest.mark.parametrize("text", ["", "0", "f", "F", "FALSE", "false", "False"])
def test_false(text: str) -> None:
    assert not Query({"auth": text}).boolean("auth")


@pytest.mark.parametrize(("text", "value"), [("", 0), ("7", 7), ("+3", 3), ("-5", -5), ("007", 7)])
def test_integers(text: str, value: int) -> None:
    assert Query({"limit": text}).integer("limit") == value


@pytest.mark.parametrize("text", ["x", "1_0", "0x10", " 1", "1.5", "--1", "٣"])
def test_what_is_no_integer(text: str) -> None:
    with pytest.raises(QueryError) as refused:
        Query({"limit": text}).integer("limit")
    assert str(refused.value) == f"Error decoding int for 'limit': strconv.Atoi: parsing \"{text}\": invalid syntax"


@pytest.mark.parametrize("text", ["9223372036854775808", "-9223372036854775809", "9" * 5000])
def test_integers_out_of_range(text: str) -> None:
    with pytest.raises(QueryError, match=r"strconv\.Atoi: parsing \"-?\d+\": value out of range$"):
        Query({"limit": text}).integer("limit")


@pytest.mark.parametrize(("text", "why"), [("-1", "invalid syntax"), ("+3", "invalid syntax"), ("9" * 20, "value out")])
def test_what_is_no_unsigned_integer(text: str, why: str) -> None:
    with pytest.raises(QueryError, match=f"^Error decoding uint64 for 'cid': strconv.ParseUint: parsing .*: {why}"):
        Query({"cid": text}).unsigned("cid")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"auth": "x", "subs": "y", "offset": "z"},
            "Error decoding boolean for 'auth': strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            {"subs": "y", "offset": "z"},
            "Error decoding boolean for 'subs': strconv.ParseBool: parsing \"y\": invalid syntax",
        ),
        (
            {"offset": "q", "limit": "z"},
            "Error decoding int for 'offset': strconv.Atoi: parsing \"q\": invalid syntax",
        ),
        (
            {"cid": "p", "state": "zz"},
            "Error decoding uint64 for 'cid': strconv.ParseUint: parsing \"p\": invalid syntax",
        ),
        ({"state": "zz", "sort": "zz"}, "Error decoding state for zz"),
    ],
)
def test_the_first_bad_parameter_of_a_listing_is_named(parameters: dict[str, str], text: str) -> None:
    with pytest.raises(QueryError) as refused:
        ConnzOptions.read(Query(parameters))
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("text", "listed"),
    [("", Listed.OPEN), ("open", Listed.OPEN), ("CLOSED", Listed.CLOSED), ("any", Listed.ALL), ("All", Listed.ALL)],
)
def test_states(text: str, listed: Listed) -> None:
    assert ConnzOptions.read(Query({"state": text})).listed is listed


def test_subscriptions_in_detail() -> None:
    options = ConnzOptions.read(Query({"subs": "Detail"}))
    assert options.subscriptions_detail
    assert not ConnzOptions.read(Query({"subs": "1"})).subscriptions_detail
