"""/accountz tells what crosses the wall of an account, and what a validation finds in its JWT."""

from __future__ import annotations

import json
from typing import Any

import pytest

from auth import jwt
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import OperatorOptions, Options, ResolverOptions
from broker.monitor.query import QueryError
from broker.monitor.tenants import accountz
from broker.monitor.watched import Watched
from broker.monitor.wording import indented
from tests.unit.auth.realm import OPERATOR, Realm
from tests.unit.monitor.scene import STARTED, watched

ACCOUNTS = """
accounts {
  ACME {
    users: [ {user: ann, password: x}, {user: slow, password: x} ]
    exports: [
      {stream: "prices.>", accounts: [GLOBEX]}
      {service: "orders.*", response: chunked, threshold: "5s", account_token_position: 2}
      {service: "quotes", latency: {sampling: 25, subject: measured}}
      {service: "asked", latency: {sampling: headers, subject: measured}}
    ]
    mappings {
      old: new
      "a.*": [ {destination: "b.$1", weight: 40%}, {destination: "c.$1", weight: 30%, cluster: east} ]
    }
  }
  GLOBEX {
    users: [ {user: gil, password: x} ]
    imports: [
      {stream: {account: ACME, subject: "prices.eu.>"}, prefix: acme}
      {service: {account: ACME, subject: "orders.GLOBEX"}, to: order, share: true}
    ]
  }
}
"""


def options() -> Options:
    return read_options(parse_bytes(ACCOUNTS.encode(), "t.conf", {})).options


def detail(scene: Watched, account: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(indented(accountz(scene, account)))["account_detail"]
    return found


def test_what_crosses_the_wall_of_an_account() -> None:
    with watched(options()) as scene:
        acme = detail(scene, "ACME")
        assert acme["exports"] == [
            {
                "subject": "orders.*", "type": "service", "response_type": "Chunked",
            },
            {
                "subject": "quotes", "type": "service", "response_type": "Singleton",
                "service_latency": {"sampling": 25, "results": "measured"},
            },
            {
                "subject": "asked", "type": "service", "response_type": "Singleton",
                "service_latency": {"sampling": "headers", "results": "measured"},
            },
            {"subject": "prices.>", "type": "stream", "approved_accounts": ["GLOBEX"]},
        ]
        assert acme["mappings"] == {
            "a.*": [{"subject": "b.$1", "weight": 40}, {"subject": "c.$1", "weight": 30, "cluster": "east"}],
            "old": [{"subject": "new", "weight": 100}],
        }
        assert "imports" not in acme
        globex = detail(scene, "GLOBEX")
        assert globex["imports"] == [
            {
                "subject": "prices.eu.>", "account": "ACME", "local_subject": "acme.prices.eu.>", "type": "stream",
                "invalid": False, "share": False, "tracking": False,
            },
            {
                "subject": "orders.GLOBEX", "account": "ACME", "to": "order", "local_subject": "order",
                "type": "service", "invalid": False, "share": True, "tracking": False,
            },
        ]
        assert "exports" not in globex
        assert "mappings" not in globex


@pytest.mark.parametrize("name", ["$G", "$SYS"])
def test_accounts_that_nobody_declared(name: str) -> None:
    with watched(options()) as scene:
        found = detail(scene, name)
    assert found.get("is_system", False) == (name == "$SYS")
    assert (found["account_name"], found["name_tag"], found["complete"]) == (name, name, True)
    assert found["update_time"] == "2023-11-14T22:13:20Z"
    assert STARTED == 1_700_000_000


def test_unknown_accounts() -> None:
    with watched(options()) as scene, pytest.raises(QueryError, match="Account zz does not exist"):
        detail(scene, "zz")


def test_findings_about_a_token() -> None:
    realm = Realm()
    realm.account.expires_at = 1
    realm.account.nats.revocations["*"] = 1_700_000_000
    with watched(
        Options(
            operators=(OperatorOptions(jwt.encode(realm.operator, OPERATOR)),),
            resolver=ResolverOptions(),
            resolver_preload=realm.preload(),
        )
    ) as scene:
        found = detail(scene, realm.account.subject)
    assert found["validation_result_jwt"] == [
        {"description": "claim is expired", "blocking": False, "time_check": True}
    ]
    assert found["expired"] is True
    assert found["revoked_user"] == {"*": "2023-11-14T22:13:20Z"}
    assert found["decoded_jwt"]["nats"]["revocations"] == {"*": 1_700_000_000}
    assert found["jwt"] == realm.preload()[realm.account.subject]
