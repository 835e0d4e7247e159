"""A full resolver at work: what is pushed, asked and deleted, by whom, and what that does to whoever is connected."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auth import jwt
from auth.claims import Export, Import
from auth.nkey import KeyKind, KeyPair
from broker.audit.verify import entries
from broker.config.options import AuditOptions, ResolverKind
from broker.reload.plan import ReloadError
from broker.system import claims
from tests.support.estate import DELETE, LIST, PACK, UPDATE, Estate, ask, lookup, pack, push, request
from tests.support.loops import in_every_loop
from tests.support.serving import Client, serving, session_of, until

EXPIRED = b"-ERR 'Account Authentication Expired'\r\n"
REVOKED = b"-ERR 'User Authentication Revoked'\r\n"
VIOLATION = b"-ERR 'Authorization Violation'"


def stored(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@in_every_loop
async def test_pushed_kept_and_asked_for(tmp_path: Path) -> None:
    estate = Estate()
    system, name = estate.system.account_key.public, estate.name
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        assert await request(admin, lookup(name)) == b""
        token = estate.realm.account_token()
        assert await push(admin, token) == {"account": name, "code": 200, "message": "jwt updated"}
        assert (tmp_path / f"{name}.jwt").read_text() == token
        assert await request(admin, lookup(name)) == token.encode()
        assert (await ask(admin, LIST))["data"] == sorted([name, system])
        found = dict(one.split(b"|") for one in await pack(admin))
        assert found == {
            one.account_key.public.encode(): one.account_token().encode() for one in (estate.realm, estate.system)
        }
        assert (await estate.realm.connect(server)).cid
    # Whoever starts on the same directory has the same accounts.
    async with serving(estate.options(ResolverKind.FULL, tmp_path)) as server:
        assert (await estate.realm.connect(server)).cid


async def test_who_has_the_same_gets_the_empty_message_alone(tmp_path: Path) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        await push(admin, estate.realm.account_token())
        supply = server._supply
        assert supply is not None
        assert supply.keeper is not None
        digest = supply.keeper.resolver.index.digest
        assert await pack(admin, digest) == []
        assert len(await pack(admin, bytes(32))) == 2


@in_every_loop
async def test_a_push_is_in_force_for_those_who_are_connected(tmp_path: Path) -> None:
    estate = Estate()
    realm = estate.realm
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        await push(admin, realm.account_token())
        client = await realm.connect(server)
        realm.account.name = "RENAMED"
        await push(admin, realm.account_token())
        principal = session_of(server, client).principal
        assert principal is not None
        assert principal.account.display_name == "RENAMED"
        realm.account.nats.revocations[realm.user_key.public] = int(time.time())
        assert (await push(admin, realm.account_token()))["message"] == "jwt updated"
        assert await client.rest() == REVOKED
        assert VIOLATION in await (await realm.attempt(server)).rest()


async def test_the_forms_for_one_account(tmp_path: Path) -> None:
    estate = Estate()
    token, name = estate.realm.account_token(), estate.name
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        for subject in (f"$SYS.REQ.ACCOUNT.{name}.CLAIMS.UPDATE", f"$SYS.ACCOUNT.{name}.CLAIMS.UPDATE"):
            assert (await ask(admin, subject, token))["data"]["message"] == "jwt updated"
        other = estate.other.account_key.public
        answer = await ask(admin, f"$SYS.REQ.ACCOUNT.{other}.CLAIMS.UPDATE", token)
        assert answer["error"] == {
            "account": other,
            "code": 500,
            "description": "jwt update resulted in error - subject does not match jwt content",
        }


def foreign(estate: Estate) -> str:
    realm = replace(estate.realm, operator_key=KeyPair.generate(KeyKind.OPERATOR))
    return realm.account_token()


def with_issues(estate: Estate) -> str:
    estate.realm.account.nats.exports = [Export(subject="a..b", type="stream")]
    return estate.realm.account_token()


def expired(estate: Estate) -> str:
    estate.realm.account.expires_at = int(time.time()) - 10
    return estate.realm.account_token()


def self_signed(estate: Estate) -> str:
    return jwt.encode(estate.realm.account, estate.realm.account_key)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda estate: "", "jwt update resulted in error - expected 3 chunks"),
        (lambda estate: "x.y.z", "jwt update resulted in error - token is not a well-formed JWT"),
        (lambda estate: estate.realm.account_token()[:-4] + "AAAA", "jwt update resulted in error - "),
        (lambda estate: estate.realm.token(), "jwt update resulted in error - not account claim"),
        (foreign, "jwt update resulted in error - Account JWT not signed by trusted operator"),
        (self_signed, "jwt update resulted in error - Account JWT not signed by trusted operator"),
        (expired, "jwt update resulted in error - Account JWT has expired"),
        (with_issues, 'jwt validation failed - validation errors: [subject "a..b"'),
    ],
)
async def test_what_is_refused_changes_nothing(tmp_path: Path, make: Any, why: str) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        before = estate.realm.account_token()
        await push(admin, before)
        client = await estate.realm.connect(server)
        answer = await push(admin, make(estate))
        assert answer.startswith(why)
        assert (tmp_path / f"{estate.name}.jwt").read_text() == before
        assert await client.ping() == []


async def test_a_strict_operator_signs_with_its_signing_keys(tmp_path: Path) -> None:
    estate = Estate()
    signing = KeyPair.generate(KeyKind.OPERATOR)
    estate.realm.operator.nats.strict_signing_key_usage = True
    estate.realm.operator.nats.signing_keys = [signing.public]
    options = estate.full(tmp_path)
    system_signing = KeyPair.generate(KeyKind.ACCOUNT)
    estate.system.account.nats.signing_keys = [system_signing.public]
    preload = {estate.system.account_key.public: jwt.encode(estate.system.account, signing)}
    estate.system.user.nats.issuer_account = estate.system.account_key.public
    estate.system.account_key = system_signing
    async with serving(replace(options, resolver_preload=preload)) as server:
        admin = await estate.administrator(server)
        answer = await push(admin, estate.realm.account_token())
        assert answer == "jwt update resulted in error - operator requires issuer to be a signing key"
        assert (await push(admin, jwt.encode(estate.realm.account, signing)))["code"] == 200


@in_every_loop
async def test_the_answer_tells_which_imports_are_in_force(tmp_path: Path) -> None:
    estate = Estate()
    realm, other = estate.realm, estate.other
    exporter = other.account_key.public
    realm.account.nats.imports = [
        Import(name="in", subject="news.>", account=exporter, type="stream"),
        Import(name="out", subject="secret.>", account=exporter, type="stream"),
    ]
    other.account.nats.exports = [Export(name="news", subject="news.>", type="stream")]
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        first = (await push(admin, realm.account_token()))["imports"]
        assert {one["state"] for one in first} == {"not in force"}
        await push(admin, other.account_token())
        second = (await push(admin, realm.account_token()))["imports"]
        assert second == [
            {"account": exporter, "subject": "news.>", "state": "in force"},
            {
                "account": exporter,
                "subject": "secret.>",
                "state": "not in force",
                "reason": "OTHER exports no stream that contains secret.>",
            },
        ]


@in_every_loop
async def test_an_exporter_that_is_pushed_later_is_heard(tmp_path: Path) -> None:
    estate = Estate()
    realm, other = estate.realm, estate.other
    realm.account.nats.imports = [Import(subject="news", account=other.account_key.public, type="stream")]
    other.account.nats.exports = [Export(subject="news", type="stream")]
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        await push(admin, realm.account_token())
        reader = await realm.connect(server)
        await reader.send(b"SUB news 1\r\n")
        assert await reader.ping() == []
        await push(admin, other.account_token())
        writer = await other.connect(server)
        await writer.send(b"PUB news 2\r\nhi\r\n")
        assert await reader.frame() == b"MSG news 1 2\r\nhi"


# Deletion


@pytest.mark.parametrize("hard", [False, True])
@in_every_loop
async def test_a_deleted_account_is_gone_with_all_who_were_in_it(tmp_path: Path, hard: bool) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path, allow_delete=True, hard_delete=hard)) as server:
        admin = await estate.administrator(server)
        await push(admin, estate.realm.account_token())
        client = await estate.realm.connect(server)
        answer = await ask(admin, DELETE, estate.deletion(estate.name, estate.other.account_key.public))
        assert answer["data"] == {"code": 200, "message": "deleted 2 accounts"}
        assert await client.rest() == EXPIRED
        assert stored(tmp_path) == sorted(
            [f"{estate.system.account_key.public}.jwt", *([] if hard else [f"{estate.name}.jwt.deleted"])]
        )
        assert VIOLATION in await (await estate.realm.attempt(server)).rest()
        assert estate.name not in server.service.control.tenants
        await push(admin, estate.realm.account_token())
        assert (await estate.realm.connect(server)).cid


STRANGER = KeyPair.generate(KeyKind.OPERATOR)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda estate: estate.deletion(estate.name, key=STRANGER), "not trusted"),
        (lambda estate: estate.deletion(estate.name, subject=STRANGER.public), "not self signed"),
        (lambda estate: estate.deletion(estate.name, "x"), "malformed request"),
        (lambda estate: estate.deletion(estate.name, nats={}), "malformed request"),
        (lambda estate: estate.deletion(estate.name, expires_at=1000), "claim is expired"),
        (lambda estate: estate.deletion(estate.system.account_key.public), "not allowed to delete system account"),
        (lambda estate: "x", "expected 3 chunks"),
    ],
)
async def test_who_may_not_delete_deletes_nothing(tmp_path: Path, make: Any, why: str) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path, allow_delete=True)) as server:
        admin = await estate.administrator(server)
        await push(admin, estate.realm.account_token())
        error = (await ask(admin, DELETE, make(estate)))["error"]
        assert error["code"] == 500
        assert error["description"].startswith("delete accounts request by ")
        assert error["description"].endswith(f" failed - {why}")
        assert f"{estate.name}.jwt" in stored(tmp_path)


async def test_nobody_deletes_where_that_is_not_allowed(tmp_path: Path) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        error = (await ask(admin, DELETE, estate.deletion(estate.name)))["error"]
        assert error["description"].endswith("failed - delete must be enabled in server config")


async def test_a_limit(tmp_path: Path) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path, limit=2)) as server:
        admin = await estate.administrator(server)
        assert (await push(admin, estate.realm.account_token()))["code"] == 200
        assert await push(admin, estate.other.account_token()) == "jwt update resulted in error - jwt store is full"
        assert (await push(admin, estate.realm.account_token()))["code"] == 200


# Beginning


async def test_a_server_that_knows_no_account_lets_its_system_account_in(tmp_path: Path) -> None:
    estate = Estate()
    async with serving(estate.options(ResolverKind.FULL, tmp_path)) as server:
        admin = await estate.administrator(server)
        assert (await push(admin, estate.system.account_token()))["code"] == 200
        assert (await push(admin, estate.realm.account_token()))["code"] == 200
        assert await admin.ping() == []
        assert (await estate.realm.connect(server)).cid


async def test_what_is_preloaded_replaces_nothing_that_is_newer(tmp_path: Path) -> None:
    estate = Estate()
    system = estate.system
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        system.account.name, system.issued_at = "NEWER", system.issued_at + 50
        await push(admin, system.account_token())
    newer = system.account_token()
    system.account.name, system.issued_at = "OLDER", system.issued_at - 20
    async with serving(estate.full(tmp_path)):
        assert (tmp_path / f"{system.account_key.public}.jwt").read_text() == newer
    system.account.name, system.issued_at = "NEWEST", system.issued_at + 40
    async with serving(estate.full(tmp_path)):
        assert (tmp_path / f"{system.account_key.public}.jwt").read_text() == system.account_token()


# Another server in the system account, played by a client


async def test_a_missing_account_is_looked_up_in_the_system_account(tmp_path: Path) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path)) as server:
        peer = await estate.administrator(server)
        await peer.send(f"SUB {lookup('*')} 1\r\n".encode())
        assert await peer.ping() == []
        first, second = await estate.realm.attempt(server), await estate.realm.attempt(server)
        question = (await peer.frame()).split()
        assert question[1] == lookup(estate.name).encode()
        token = estate.realm.account_token().encode()
        await peer.send(b"PUB %b %d\r\n%b\r\n" % (question[3], len(token), token))
        assert [await first.frame(), await second.frame()] == [b"PONG", b"PONG"]
        # One question was enough for both.
        assert await peer.ping() == []
        assert (tmp_path / f"{estate.name}.jwt").read_bytes() == token


@pytest.mark.parametrize("answer", [b"", b"nonsense"])
async def test_a_missing_account_that_nobody_has_is_refused(tmp_path: Path, answer: bytes) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path)) as server:
        peer = await estate.administrator(server)
        await peer.send(f"SUB {lookup('*')} 1\r\n".encode())
        assert await peer.ping() == []
        client = await estate.realm.attempt(server)
        question = (await peer.frame()).split()
        await peer.send(b"PUB %b %d\r\n%b\r\n" % (question[3], len(answer), answer))
        assert VIOLATION in await client.rest()


async def test_a_look_up_takes_no_longer_than_it_may(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path, timeout=0.1)) as server:
        peer = await estate.administrator(server)
        await peer.send(f"SUB {lookup('*')} 1\r\n".encode())
        assert await peer.ping() == []
        assert VIOLATION in await (await estate.realm.attempt(server)).rest()
    assert f"Account fetch failed: {estate.name}: fetching jwt timed out" in caplog.text


async def test_a_missing_account_is_refused_at_once_where_nobody_can_be_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path, timeout=3600.0)) as server:
        assert VIOLATION in await (await estate.realm.attempt(server)).rest()
    why = "account jwt not found, and nobody else in the system account keeps any"
    assert f"Account fetch failed: {estate.name}: {why}" in caplog.text


async def test_newer_jwts_of_others_are_taken(tmp_path: Path) -> None:
    estate = Estate()
    realm = estate.realm
    async with serving(estate.full(tmp_path, interval=0.05)) as server:
        peer = await estate.administrator(server)
        await push(peer, realm.account_token())
        client = await realm.connect(server)
        realm.account.name, realm.issued_at = "OLDER", realm.issued_at - 10
        older = f"{estate.name}|{realm.account_token()}".encode()
        realm.account.name, realm.issued_at = "NEWER", realm.issued_at + 20
        newer = f"{estate.name}|{realm.account_token()}".encode()
        await peer.send(f"SUB {PACK} 1\r\n".encode())
        question = (await peer.frame()).partition(b"\r\n")
        assert len(question[2]) == 32
        reply = question[0].split()[3]
        for body in (older, b"nonsense", foreign(estate).encode(), newer, b""):
            await peer.send(b"PUB %b %d\r\n%b\r\n" % (reply, len(body), body))
        await peer.send(b"UNSUB 1\r\n")

        def label() -> str:
            principal = session_of(server, client).principal
            return "" if principal is None else principal.account.display_name

        await until(lambda: label() == "NEWER")
        assert (tmp_path / f"{estate.name}.jwt").read_text() == realm.account_token()


async def test_an_older_jwt_of_another_server_replaces_none_in_force_whose_file_is_gone(tmp_path: Path) -> None:
    estate = Estate()
    realm, other = estate.realm, estate.other
    async with serving(estate.full(tmp_path, interval=0.05)) as server:
        peer = await estate.administrator(server)
        realm.account.name, realm.issued_at = "OLDER", realm.issued_at - 10
        older = f"{estate.name}|{realm.account_token()}".encode()
        realm.account.name, realm.issued_at = "IN_FORCE", realm.issued_at + 10
        await push(peer, realm.account_token())
        client = await realm.connect(server)
        path = tmp_path / f"{estate.name}.jwt"
        path.unlink()
        assert await request(peer, lookup(estate.name)) == b""
        await peer.send(f"SUB {PACK} 1\r\n".encode())
        reply = (await peer.frame()).partition(b"\r\n")[0].split()[3]
        unknown = f"{other.account_key.public}|{other.account_token()}".encode()
        for body in (older, unknown, b""):
            await peer.send(b"PUB %b %d\r\n%b\r\n" % (reply, len(body), body))
        await peer.send(b"UNSUB 1\r\n")
        await until((tmp_path / f"{other.account_key.public}.jwt").exists)
        principal = session_of(server, client).principal
        assert principal is not None
        assert principal.account.display_name == "IN_FORCE"
        assert not path.exists()


# Reload


async def reload(server: Any, **changes: Any) -> None:
    await server.reload(replace(server.options, **changes))


@in_every_loop
async def test_a_reload_sees_what_somebody_else_changed_in_the_directory(tmp_path: Path) -> None:
    estate = Estate()
    realm, other = estate.realm, estate.other
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        for one in (realm, other):
            await push(admin, one.account_token())
        renamed, removed = await realm.connect(server), await other.connect(server)
        realm.account.name = "RENAMED"
        (tmp_path / f"{estate.name}.jwt").write_text(realm.account_token())
        (tmp_path / f"{other.account_key.public}.jwt").unlink()
        await reload(server)
        principal = session_of(server, renamed).principal
        assert principal is not None
        assert principal.account.display_name == "RENAMED"
        assert await renamed.ping() == []
        assert await removed.rest() == VIOLATION + b"\r\n"
        assert await admin.ping() == []


@in_every_loop
async def test_what_was_pushed_outlives_a_reload(tmp_path: Path) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        await push(admin, estate.realm.account_token())
        client = await estate.realm.connect(server)
        await reload(server, max_payload=2048)
        assert await client.ping() == []
        assert (await ask(admin, LIST))["data"] == sorted([estate.name, estate.system.account_key.public])


async def test_what_a_reload_changes_of_a_resolver(tmp_path: Path) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        resolver = server.options.resolver
        assert resolver is not None
        await reload(server, resolver=replace(resolver, allow_delete=True, limit=1))
        assert (await ask(admin, DELETE, estate.deletion(estate.name)))["data"]["message"] == "deleted 1 accounts"
        assert await push(admin, estate.realm.account_token()) == "jwt update resulted in error - jwt store is full"
        for change in (replace(resolver, directory=str(tmp_path / "x")), replace(resolver, kind=ResolverKind.CACHE)):
            with pytest.raises(ReloadError, match="config reload not supported for AccountResolver"):
                await reload(server, resolver=change)


async def test_the_ledger_tells_who_pushed_and_deleted_what(tmp_path: Path) -> None:
    estate = Estate()
    realm = estate.realm
    audit = AuditOptions(directory=str(tmp_path / "ledger"), seal_interval=0.01)
    options = replace(estate.full(tmp_path / "jwt", allow_delete=True), audit=audit)
    async with serving(options) as server:
        admin = await estate.administrator(server)
        await push(admin, realm.account_token())
        realm.account.nats.revocations[realm.user_key.public] = int(time.time())
        await push(admin, realm.account_token())
        await ask(admin, DELETE, estate.deletion(estate.name))
        (tmp_path / "jwt" / f"{estate.name}.jwt.deleted").rename(tmp_path / "jwt" / f"{estate.name}.jwt")
        await push(admin, estate.other.account_token())
        await (await estate.other.connect(server)).ping()
        (tmp_path / "jwt" / f"{estate.other.account_key.public}.jwt").unlink()
        await reload(server)
    events = ("account_changed", "revoked")
    found = [one for one in entries(tmp_path / "ledger") if one["event"] in events]
    system, other = estate.system.account_key.public, estate.other.account_key.public
    told = [(one["event"], one["target"].split("/")[0], one["cause"], one.get("account")) for one in found]
    assert told == [
        ("account_changed", system, "resolver", None),
        ("account_changed", estate.name, "claims", system),
        ("account_changed", estate.name, "claims", system),
        ("revoked", estate.name, "claims", system),
        ("account_changed", estate.name, "deleted", system),
        ("account_changed", other, "claims", system),
        ("account_changed", other, "reload", None),
    ]
    assert [one["changes"] for one in found if one["cause"] == "deleted"] == [["account removed"]]


async def test_what_waits_for_the_disk_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        token = estate.realm.account_token().encode()
        monkeypatch.setattr(claims, "MOST_BYTES", len(token) + 10)
        await admin.send(b"SUB answer 1\r\n" + b"PUB %b answer %d\r\n%b\r\n" % (UPDATE.encode(), len(token), token) * 2)
        refused, done = [(await admin.frame()).partition(b"\r\n")[2] for _ in range(2)]
        assert b"too many requests wait already" in refused
        assert b"jwt updated" in done
        assert await push(admin, token.decode()) == {"account": estate.name, "code": 200, "message": "jwt updated"}


@in_every_loop
async def test_only_the_system_account_is_answered(tmp_path: Path) -> None:
    estate = Estate()
    async with serving(estate.full(tmp_path, allow_delete=True)) as server:
        admin = await estate.administrator(server)
        await push(admin, estate.realm.account_token())
        client: Client = await estate.realm.connect(server, headers=True, no_responders=True)
        for subject in (UPDATE, DELETE, LIST, PACK, lookup(estate.name)):
            await client.send(f"SUB r 1\r\nPUB {subject} r 0\r\n\r\nUNSUB 1\r\n".encode())
            assert b"NATS/1.0 503" in await client.frame()
