"""The pages about parts that are not there are those of a single server of the reference."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest

from broker.monitor.endpoints import JSON, TEXT, Answer, answer
from tests.unit.monitor.scene import watched

NO_JETSTREAM = {
    "memory": 0, "storage": 0, "reserved_memory": 0, "reserved_storage": 0, "accounts": 0, "ha_assets": 0,
    "api": {"level": 0, "total": 0, "errors": 0}, "disabled": True, "config": {"max_memory": 0, "max_storage": 0},
    "streams": 0, "consumers": 0, "messages": 0, "bytes": 0, "total": 0,
}
PAGES: dict[str, dict[str, Any]] = {
    "/routez": {"num_routes": 0, "routes": []},
    "/gatewayz": {"outbound_gateways": {}, "inbound_gateways": {}},
    "/leafz": {"leafnodes": 0, "leafs": []},
    "/jsz": NO_JETSTREAM,
}


def ask(path: str, **parameters: str) -> Answer:
    with watched() as scene:
        return answer(scene, "GET", path, parameters)


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_there(path: str) -> None:
    found = ask(path)
    assert (found.status, found.content_type) == (HTTPStatus.OK, JSON)
    page = json.loads(found.body)
    assert {name: value for name, value in page.items() if name not in {"server_id", "server_name", "now"}} == (
        PAGES[path]
    )
    assert page["server_id"].startswith("N")
    assert page["now"].endswith("Z")
    assert ("server_name" in page) == (path == "/routez")


def test_order_of_fields() -> None:
    assert list(json.loads(ask("/jsz").body)) == [
        "memory", "storage", "reserved_memory", "reserved_storage", "accounts", "ha_assets", "api", "server_id", "now",
        "disabled", "config", "streams", "consumers", "messages", "bytes", "total",
    ]


def test_no_raft_groups_are_not_found() -> None:
    assert ask("/raftz", acc="A") == Answer(HTTPStatus.NOT_FOUND, TEXT, b"No Raft nodes registered")


def test_no_queues() -> None:
    assert ask("/ipqueuesz", all="1").body == b"{}"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/routez", "subs"),
        ("/gatewayz", "subs"),
        ("/gatewayz", "accs"),
        ("/leafz", "subs"),
        ("/ipqueuesz", "all"),
        *(("/jsz", name) for name in (
            "accounts", "streams", "consumers", "direct-consumers", "config", "leader-only", "stream-leader-only",
            "raft",
        )),
    ],
)
def test_switches_are_read(path: str, name: str) -> None:
    found = ask(path, **{name: "x"})
    assert (found.status, found.content_type) == (HTTPStatus.BAD_REQUEST, TEXT)
    assert found.body.decode() == (
        f"Error decoding boolean for '{name}': strconv.ParseBool: parsing \"x\": invalid syntax"
    )
    assert ask(path, **{name: "false" if name == "leader-only" else "true"}).status is HTTPStatus.OK


def test_a_server_without_streams_leads_none() -> None:
    found = ask("/jsz", **{"leader-only": "true"})
    assert (found.status, found.body) == (HTTPStatus.BAD_REQUEST, b"filtered response: not leader")


@pytest.mark.parametrize("name", ["offset", "limit"])
def test_numbers_are_read(name: str) -> None:
    assert ask("/jsz", **{name: "x"}).body.startswith(f"Error decoding int for '{name}'".encode())


@pytest.mark.parametrize("path", ["/routez", "/gatewayz"])
def test_subscriptions_in_detail_are_understood(path: str) -> None:
    assert ask(path, subs="detail").status is HTTPStatus.OK
