"""A leaked credentials file on a running broker: what is told of it, and that its holder is out at once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from auth import jwt
from auth.claims import UserClaims
from auth.creds import format_creds, parse_creds
from auth.nkey import KeyKind, KeyPair
from broker.log.formats import JsonFormatter, LineFormatter
from tests.support.serving import PATIENCE, until
from tests.support.shop import Shop, is_refused, open_shop, running


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A user ``thief`` who may publish some subjects, of an account from which another one imports."""
    found = open_shop(tmp_path, capsys, monkeypatch)
    found.now("add", "user", "-a", "A", "thief", "--allow-pub", "news.>", "--deny-pub", "news.secret")
    found.now("edit", "user", "-a", "A", "thief", "--allow-sub", "own.>,_INBOX.>", "--subs", "7")
    return found


def leaked(shop: Shop, creds: str) -> str:
    """The path of a file with the credentials, outside of the store."""
    path = shop.home.parent / "found.creds"
    path.write_text(creds)
    return str(path)


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
async def test_the_holder_is_out(shop: Shop, caplog: pytest.LogCaptureFixture, formatter: logging.Formatter) -> None:
    creds = shop.store.creds("A", "thief")
    path, report = leaked(shop, creds), shop.home.parent / "report.txt"
    log = shop.home.parent / "natskeep.log"
    async with running(shop):
        thief = await shop.client("thief", name="stolen", allow_reconnect=False)
        other = await shop.client("answers", allow_reconnect=False)
        await thief.subscribe("own.x")
        await thief.publish("forbidden", b"")
        await thief.flush()
        log.write_text("".join(f"{formatter.format(record)}\n" for record in caplog.records))
        seen = await shop.ask("leaked", path, "--log", str(log), code=1)
        assert seen["done"] is None
        assert thief.is_connected
        done = await shop.ask("leaked", path, "--yes", "-D", "-C", "--report", str(report), "--log", str(log))
        await until(lambda: thief.is_closed)
        assert await is_refused(shop, creds)
        await other.flush(timeout=round(PATIENCE))
        again = await shop.ask("leaked", path, "--yes")
        await other.close()
    assert seen["standing"] == "stored"
    power = seen["power"]
    assert power["publish"] == ["news.>"]
    assert power["publish_except"] == ["news.secret"]
    assert power["subscribe"] == ["_INBOX.>", "own.>"]
    assert "7 subscriptions of a connection" in power["limits"]
    [client] = seen["connected"]
    assert (client["name"], client["subscriptions"], client["sent"]) == ("stolen", ["own.x"], 1)
    refusals = [line for line in seen["log"] if line["is_refusal"]]
    assert [line["address"] for line in refusals] == [client["address"]]
    assert "forbidden" in refusals[0]["text"]
    assert done["done"]["revoked_until"] == done["issued_at"]
    assert done["done"]["pushed"]
    assert "stolen" in done["done"]["disconnected"][0]
    assert done["done"]["problems"] == []
    assert len(done["done"]["removed"]) == 2
    assert done["next"] == ["nsk rotate user --account A --name thief"]
    assert not shop.store.keystore.has_key(done["user_key"])
    assert again["done"]["was_revoked"]
    assert "revoked" in again["power"]["refusal"]
    assert [one["reason"] for one in again["ended"]] == ["Credentials Revoked"]
    text = report.read_text()
    assert "disconnected stolen" in text
    for told in (text, str(seen), str(done)):
        assert parse_creds(creds)[1] not in told


async def test_a_user_that_the_store_does_not_have(shop: Shop) -> None:
    store, pair = shop.store, KeyPair.generate(KeyKind.USER)
    owner = store.account("A")
    claims = UserClaims.new(pair.public)
    claims.name, claims.nats.issuer_account = "elsewhere", owner.subject
    token = jwt.encode(claims, store.identity_signer(str(owner.nats.signing_keys[0])))
    creds = format_creds(token, pair.seed)
    async with running(shop):
        path = leaked(shop, creds)
        assert not await is_refused(shop, creds)
        found = await shop.ask("leaked", path, "--yes")
        assert await is_refused(shop, creds)
    assert (found["standing"], found["user"], found["next"]) == ("issued", "elsewhere", [])
    assert pair.public in shop.store.account("A").nats.revocations


async def test_a_newer_jwt_of_the_same_user_lives_on(shop: Shop) -> None:
    store = shop.store
    claims = store.user("A", "thief")
    pair = store.identity_signer(claims.subject)
    claims.nats.issuer_account = store.account("A").subject
    signer = store.identity_signer(str(store.account("A").nats.signing_keys[0]))
    old = jwt.encode(claims, signer, issued_at=claims.issued_at - 100)
    async with running(shop):
        client = await shop.client("thief", allow_reconnect=False)
        found = await shop.ask("leaked", leaked(shop, format_creds(old, pair.seed)), "--yes")
        await client.flush(timeout=round(PATIENCE))
        assert found["done"]["problems"] == []
        whole = await shop.ask("leaked", leaked(shop, format_creds(old, pair.seed)), "--yes", "--whole-key")
        await until(lambda: client.is_closed)
    assert len(whole["done"]["disconnected"]) == 1
