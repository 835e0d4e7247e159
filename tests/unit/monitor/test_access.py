"""Who sees which page of monitoring: nobody without a token, a tenant what is its own, the operator everything."""

from __future__ import annotations

import asyncio
import base64
import json
from http import HTTPStatus

import bcrypt
import pytest

from broker.config.errors import ConfigError
from broker.config.load import load
from broker.config.options import AccountOptions, MonitorAccess, Options, UserOptions
from broker.monitor.access import OPERATOR, OWN_PAGES, PROBE, REMEMBERED, Access, Viewer, token_of
from broker.monitor.endpoints import _ENDPOINTS, FORBIDDEN, answer
from tests.unit.monitor.scene import gone, watched

SECRET, TENANT = "operators-secret-token", "a-tenants-secret-token"
HASHED = bcrypt.hashpw(TENANT.encode(), bcrypt.gensalt(4)).decode()
OPTIONS = Options(
    host="127.0.0.1",
    accounts=tuple(AccountOptions(name=name, users=(UserOptions(user=name, password="p"),)) for name in ("SHOP", "B")),
)


def bearer(token: str) -> str:
    return f"Bearer {token}"


def basic(token: str) -> str:
    return f"Basic {base64.b64encode(f'anybody:{token}'.encode()).decode()}"


@pytest.mark.parametrize("form", [bearer, basic, lambda token: f"bearer   {token} "])
def test_tokens_in_either_form(form: object) -> None:
    assert callable(form)
    assert token_of(form("s3:cret")) == "s3:cret"


@pytest.mark.parametrize("header", ["", "Bearer", "Basic !!!", "Basic /w==", "Digest x", "Basic bm9jb2xvbg=="])
def test_what_is_no_token(header: str) -> None:
    assert token_of(header) == ""


@pytest.mark.parametrize("stored", [TENANT, HASHED])
def test_who_looks(stored: str) -> None:
    rules = MonitorAccess(token=SECRET, accounts={"SHOP": stored})

    async def look() -> list[Viewer | None]:
        access = Access()
        asked = [("", "/varz"), (bearer("wrong"), "/varz"), (bearer(SECRET), "/varz"), (basic(TENANT), "/connz")]
        asked += [("", "/healthz"), (bearer(TENANT), "/varz"), (bearer("wrong"), "/healthz")]
        return [await access.viewer(rules, header, path) for header, path in asked]

    tenant = Viewer("SHOP")
    assert asyncio.run(look()) == [None, None, OPERATOR, tenant, PROBE, tenant, None]
    assert SECRET not in repr(rules)
    assert stored not in repr(rules)


def test_another_configuration_forgets_what_was_found() -> None:
    async def look() -> list[Viewer | None]:
        access = Access()
        old, new = MonitorAccess(token=SECRET), MonitorAccess(accounts={"SHOP": SECRET})
        return [await access.viewer(one, bearer(SECRET), "/varz") for one in (old, new, None)]

    assert asyncio.run(look()) == [OPERATOR, Viewer("SHOP"), OPERATOR]


def test_what_is_found_by_old_rules_is_nothing_by_new_ones() -> None:
    async def look() -> list[Viewer | None]:
        access = Access()
        old, new = MonitorAccess(token=HASHED), MonitorAccess(token=SECRET)
        # The first comparison takes its time in a thread, and the rules are replaced meanwhile.
        slow = asyncio.create_task(access.viewer(old, bearer(TENANT), "/varz"))
        await asyncio.sleep(0)
        await access.viewer(new, bearer(SECRET), "/varz")
        await slow
        return [await access.viewer(new, bearer(TENANT), "/varz"), await access.viewer(old, bearer(TENANT), "/varz")]

    assert asyncio.run(look()) == [None, OPERATOR]


def test_a_flood_of_wrong_tokens_does_not_make_a_good_one_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> None:
        access, rules = Access(), MonitorAccess(accounts={"SHOP": TENANT})
        assert await access.viewer(rules, bearer(TENANT), "/connz") == Viewer("SHOP")
        for number in range(REMEMBERED + 1):
            assert await access.viewer(rules, bearer(f"wrong{number}"), "/connz") is None
        compared: list[str] = []
        monkeypatch.setattr("broker.monitor.access.matches", lambda _, token: compared.append(token))
        assert await access.viewer(rules, bearer(TENANT), "/connz") == Viewer("SHOP")
        assert not compared

    asyncio.run(look())


@pytest.mark.parametrize("path", sorted(_ENDPOINTS))
def test_a_tenant_sees_its_own_pages_alone(path: str) -> None:
    with watched(OPTIONS) as scene:
        found = answer(scene, "GET", path, {}, Viewer("SHOP"))
    assert (found == FORBIDDEN) == (path not in OWN_PAGES)


@pytest.mark.parametrize("path", sorted(_ENDPOINTS))
def test_a_probe_sees_the_state_alone(path: str) -> None:
    with watched(OPTIONS) as scene:
        assert (answer(scene, "GET", path, {}, PROBE) == FORBIDDEN) == (path != "/healthz")
        assert answer(scene, "GET", path, {"account": "SHOP"}, PROBE) == FORBIDDEN


def test_states_of_accounts_are_for_those_who_may_see_them() -> None:
    with watched(OPTIONS) as scene:
        tenant = Viewer("SHOP")
        assert answer(scene, "GET", "/healthz", {"account": "SHOP", "stream": "S"}, tenant).status == HTTPStatus.OK
        assert answer(scene, "GET", "/healthz", {"account": "B", "stream": "S"}, tenant) == FORBIDDEN
        assert answer(scene, "GET", "/healthz", {"account": "B"}).status == HTTPStatus.OK


@pytest.mark.parametrize("path", ["/connz", "/subsz", "/accountz", "/accstatz", "/metrics"])
def test_a_tenant_cannot_ask_for_another(path: str) -> None:
    with watched(OPTIONS) as scene:
        assert answer(scene, "GET", path, {"acc": "B"}, Viewer("SHOP")).status == HTTPStatus.FORBIDDEN
        own = answer(scene, "GET", path, {"acc": "SHOP"}, Viewer("SHOP"))
    assert own.status == HTTPStatus.OK


def test_what_a_tenant_sees_names_nobody_else() -> None:
    with watched(OPTIONS) as scene:
        scene.service.closed.append(gone(1, account="B", user="secret-user"))
        scene.service.closed.append(gone(2, account="SHOP", user="web"))
        scene.service.control.trail.counts = {("B", "publish"): 3, ("SHOP", "publish"): 4}
        for path in sorted(OWN_PAGES & _ENDPOINTS.keys()):
            parameters = {"state": "all", "auth": "1", "subs": "detail"} if path == "/connz" else {}
            body = answer(scene, "GET", path, parameters, Viewer("SHOP")).whole().decode()
            assert "secret-user" not in body
            assert '"B"' not in body, path
        connections = json.loads(
            answer(scene, "GET", "/connz", {"state": "all", "auth": "1"}, Viewer("SHOP")).whole()
        )["connections"]
    assert [one["cid"] for one in connections] == [2]


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("token: short", "at least 16 characters"),
        (f"token: {SECRET}, accounts: {{A: {SECRET}}}", "the same token as an account"),
        (f"accounts: {{A: {SECRET}, B: {SECRET}}}", "have the same token"),
        ("tokens: x", "unknown field"),
    ],
)
def test_rules_that_make_no_sense(tmp_path_factory: pytest.TempPathFactory, block: str, problem: str) -> None:
    path = tmp_path_factory.mktemp("c") / "server.conf"
    path.write_text(f"monitor_access {{ {block} }}")
    with pytest.raises(ConfigError, match=problem) as caught:
        load(str(path))
    assert SECRET not in str(caught.value)
