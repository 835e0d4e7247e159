"""Which connections are listed, in which order, and what is shown of each."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from accounts.account import Account
from broker.config.options import AccountOptions, Options
from broker.monitor.connections import SLICE, Connz, ConnzOptions, Listed, connz, connz_in_parts
from broker.monitor.query import QueryError
from broker.monitor.sorting import ORDERS
from broker.monitor.wording import indented
from broker.session.record import ConnectionRecord, SubscriptionRecord
from tests.unit.monitor.scene import gone, watched

CLOSED = ConnzOptions(listed=Listed.CLOSED)
RECORDS = (
    gone(1, in_messages=5, in_bytes=50, out_messages=1, out_bytes=900, reason="Stale Connection", pending=3),
    gone(2, in_messages=5, in_bytes=70, out_messages=9, out_bytes=100, round_trip=0.2, subscription_count=4),
    gone(3, in_messages=1, in_bytes=10, out_messages=4, out_bytes=400, ended=1_700_000_500.0, user="bob"),
)

SORTED: dict[str, list[int]] = {
    "": [1, 2, 3],
    "cid": [1, 2, 3],
    "start": [1, 2, 3],
    "subs": [2, 1, 3],
    "pending": [1, 2, 3],
    "msgs_to": [2, 3, 1],
    "msgs_from": [1, 2, 3],
    "bytes_to": [1, 3, 2],
    "bytes_from": [2, 1, 3],
    "last": [3, 2, 1],
    "idle": [3, 1, 2],
    "uptime": [1, 2, 3],
    "rtt": [2, 1, 3],
    "stop": [3, 2, 1],
    "reason": [2, 3, 1],
}
"""Orders, and what they make of the records."""


def listing(*records: ConnectionRecord, options: ConnzOptions = CLOSED) -> Connz:
    with watched(Options(accounts=(AccountOptions(name="ACME"),))) as scene:
        scene.service.closed.extend(records)
        return connz(scene, options)


def shown(record: ConnectionRecord, **changes: Any) -> dict[str, Any]:
    page = listing(record, options=replace(CLOSED, **changes))
    assert page.connections is not None
    entry: dict[str, Any] = msgspec.to_builtins(page.connections[0])
    return entry


@pytest.mark.parametrize(("sort", "cids"), SORTED.items())
def test_order(sort: str, cids: list[int]) -> None:
    page = listing(*reversed(RECORDS), options=replace(CLOSED, sort=sort))
    assert page.connections is not None
    assert [one.cid for one in page.connections] == cids


def test_every_order_is_tried() -> None:
    assert set(SORTED) == {"", *ORDERS}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (replace(CLOSED, sort="zz"), "invalid sorting option: zz"),
        (replace(CLOSED, sort="CID"), "invalid sorting option: CID"),
        (ConnzOptions(sort="stop"), "sort by stop only valid on closed connections"),
        (ConnzOptions(sort="reason", listed=Listed.ALL), "sort by reason only valid on closed connections"),
    ],
)
def test_orders_that_do_not_exist(options: ConnzOptions, text: str) -> None:
    with pytest.raises(QueryError) as refused:
        listing(options=options)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("changes", "cids", "offset", "limit"),
    [
        ({}, [1, 2, 3], 0, 1024),
        ({"limit": 2}, [1, 2], 0, 2),
        ({"limit": 2, "offset": 1}, [2, 3], 1, 2),
        ({"offset": 1000}, [], 1000, 1024),
        ({"offset": -5, "limit": -7}, [1, 2, 3], 0, 1024),
        ({"cid": 2}, [2], 0, 1),
        ({"cid": 9}, [], 0, 1),
        ({"cid": 2, "offset": 3}, [], 3, 1),
        ({"user": "bob"}, [3], 0, 1024),
        ({"user": "nobody"}, [], 0, 1024),
        ({"mqtt_client": "x"}, [], 0, 1024),
    ],
)
def test_pages(changes: dict[str, Any], cids: list[int], offset: int, limit: int) -> None:
    page = listing(*RECORDS, options=replace(CLOSED, **changes))
    assert page.connections is not None
    assert [one.cid for one in page.connections] == cids
    assert (page.num_connections, page.total, page.offset, page.limit) == (len(cids), 3, offset, limit)


def test_an_account_narrows_the_total() -> None:
    records = (gone(1), gone(2, account="ACME", account_label="ACME"))
    page = listing(*records, options=replace(CLOSED, account="ACME"))
    assert page.connections is not None
    assert [one.cid for one in page.connections] == [2]
    assert page.total == 1
    assert listing(*records, options=replace(CLOSED, account="$G")).total == 1
    assert listing(*records, options=replace(CLOSED, account="$SYS")).total == 0


def test_an_unknown_account_has_no_server() -> None:
    page = listing(*RECORDS, options=replace(CLOSED, account="ZZ"))
    assert page.connections is None
    assert (page.server_id, page.num_connections, page.total) == ("", 0, 0)


def test_open_connections_only_by_default() -> None:
    assert listing(*RECORDS, options=ConnzOptions()).total == 0
    assert listing(*RECORDS, options=ConnzOptions(listed=Listed.ALL)).total == 3


def test_least_that_is_shown() -> None:
    assert shown(gone(7, round_trip=0.0)) == {
        "cid": 7,
        "kind": "Client",
        "type": "nats",
        "ip": "127.0.0.1",
        "port": 40007,
        "start": "2023-11-14T22:13:27Z",
        "last_activity": "2023-11-14T22:13:31Z",
        "stop": "2023-11-14T22:13:37Z",
        "reason": "Client Closed",
        "uptime": "10s",
        "idle": "6s",
        "pending_bytes": 0,
        "in_msgs": 0,
        "out_msgs": 0,
        "in_bytes": 0,
        "out_bytes": 0,
        "subscriptions": 0,
    }


RICH = gone(
    8,
    name="n",
    language="go",
    version="1",
    stalls=2,
    tls=("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256"),
    tls_first=True,
    user="UBOB",
    account="AACME",
    account_label="ACME",
    issuer_key="AKEY",
    tags=("red",),
    token="ey.x.y",
    proxy_key="NPROXY",
    subscription_count=3,
    subscriptions=(SubscriptionRecord(b"foo.*", b"q", b"1", 2, 5), SubscriptionRecord(b"b\xff", None, b"2", 0, 0)),
)


def test_what_a_client_says_of_itself_is_shown_to_everybody() -> None:
    entry = shown(RICH)
    assert {name: entry[name] for name in ("name", "lang", "version", "stalls", "subscriptions", "proxy")} == {
        "name": "n",
        "lang": "go",
        "version": "1",
        "stalls": 2,
        "subscriptions": 3,
        "proxy": {"key": "NPROXY"},
    }
    assert entry["tls_version"] == "1.2"
    assert entry["tls_cipher_suite"] == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    assert entry["tls_first"]


IDENTITY = ("authorized_user", "account", "jwt", "issuer_key", "name_tag", "tags")


def test_who_it_is_only_when_asked() -> None:
    assert not set(IDENTITY) & set(shown(RICH))
    entry = shown(RICH, auth=True)
    assert [entry[name] for name in IDENTITY] == ["UBOB", "AACME", "ey.x.y", "AKEY", "ACME", ["red"]]


def test_the_default_account_is_left_unnamed() -> None:
    assert not {"account", "name_tag"} & set(shown(gone(1, user="bob"), auth=True))


def test_subscriptions() -> None:
    assert not {"subscriptions_list", "subscriptions_list_detail"} & set(shown(RICH))
    assert shown(RICH, subscriptions=True)["subscriptions_list"] == ["foo.*", "b\ufffd"]
    detailed = shown(RICH, subscriptions=True, subscriptions_detail=True)
    assert "subscriptions_list" not in detailed
    assert detailed["subscriptions_list_detail"] == [
        {"account": "AACME", "account_tag": "ACME", "subject": "foo.*", "qgroup": "q", "sid": "1", "msgs": 2,
         "max": 5, "cid": 8},
        {"account": "AACME", "account_tag": "ACME", "subject": "b\ufffd", "sid": "2", "msgs": 0, "cid": 8},
    ]


def test_names_from_the_wire_cannot_break_the_answer() -> None:
    assert shown(gone(1, name="\ud800<", user="\udcff"), auth=True)["name"] == "\ufffd\ufffd\ufffd<"


def test_account_is_known_by_its_configuration() -> None:
    with watched(Options(accounts=(AccountOptions(name="ACME"),), system_account="ACME")) as scene:
        assert scene.account_names == ["$G", "ACME"]
        assert scene.account("ACME") == Account("ACME", display_name="ACME", is_system=True)
        assert scene.account("ZZ") is None


@pytest.mark.parametrize("count", [0, 1, SLICE, SLICE + 1, 3 * SLICE])
def test_a_page_in_pieces_is_the_page(count: int) -> None:
    options = ConnzOptions(listed=Listed.ALL, limit=1000, subscriptions=True, auth=True)
    with watched() as scene:
        scene.service.closed.extend(gone(number, name='"connections": []') for number in range(1, count + 1))
        pieces = list(connz_in_parts(scene, options))
        page = connz(scene, options)
    now = json.loads(b"".join(pieces))["now"]
    page.now = now
    assert b"".join(pieces) == indented(page)
    filled = [piece for piece in pieces if piece]
    assert len(filled) == 1 if not count else len(filled) == 2 + (count + SLICE - 1) // SLICE
