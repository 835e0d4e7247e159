"""The ledger of a running server: who did what to whom, and what becomes of the server when it cannot be written."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auth.nkey import KeyKind, KeyPair
from broker.app import Server
from broker.audit import recorder as recorders
from broker.audit.ledger import LedgerError
from broker.audit.verify import entries, verify_ledger
from broker.config.load import load
from broker.config.options import AccountOptions, AuditOptions, Options, UserOptions
from tests.support.realm import Realm
from tests.support.servers import NATSKEEP, START_SECONDS, STOP_SECONDS, ServerProcess
from tests.support.serving import Client, serving, until
from tools.nsk.__main__ import main

LOUD = UserOptions(user="web", password="p")


def audited(directory: Path, **more: Any) -> AuditOptions:
    return AuditOptions(directory=str(directory), seal_interval=0.01, **more)


def told(directory: Path, *events: str) -> list[dict[str, Any]]:
    return [entry for entry in entries(directory) if not events or entry["event"] in events]


async def test_who_did_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configuration = tmp_path / "server.conf"
    ledger = tmp_path / "ledger"
    text = """
    audit { dir: "LEDGER", seal_interval: "10ms" }
    accounts {
      SHOP { users: [{user: web, password: p, permissions: {publish: {allow: ["orders.>"]}}}], exports: [] }
      SYS { users: [{user: admin, password: p}] }
    }
    system_account: SYS
    """.replace("LEDGER", str(ledger))
    configuration.write_text(text)
    async with serving(load(str(configuration)).options) as server:
        assert server.identity.server_id.startswith("N")
        client = await Client.connect(server, user="web", **{"pass": "p"}, name="front <b>")
        await client.send(b"PUB other 0\r\n\r\n")
        await client.ping()
        wrong = await Client.open(server)
        await wrong.send(b'CONNECT {"user":"web","pass":"guess"}\r\nPING\r\n')
        await wrong.rest()
        admin = await Client.connect(server, user="admin", **{"pass": "p"}, headers=True)
        cid = next(iter(server.service.connections))
        await admin.send(
            b"SUB in 1\r\nPUB $SYS.REQ.SERVER.%b.KICK in %d\r\n%b\r\n"
            % (server.identity.server_id.encode(), len(b'{"cid":%d}' % cid), b'{"cid":%d}' % cid)
        )
        await client.rest()
        configuration.write_text(text.replace("exports: []", "exports: [{stream: 'news.>'}]"))
        changed = load(str(configuration)).options
        await server.reload(replace(changed, host="127.0.0.1", port=-1))
        public = server.identity.server_id
    found = told(ledger)
    assert "guess" not in json.dumps(found)
    names = [str(entry["event"]) for entry in found if entry["event"] not in ("sealed", "opened")]
    assert names == [
        *("started", "authenticated", "denied", "denied", "authenticated"),
        *("kicked", "reloaded", "account_changed", "stopped"),
    ]
    by_name = {entry["event"]: entry for entry in found}
    first = next(entry for entry in found if entry["event"] == "denied")
    assert (first["account"], first["user"], first["target"]) == ("SHOP", "user:web", "other")
    assert first["action"] == "publish"
    assert first["address"].startswith("127.0.0.1:")
    assert first["program"] == "front <b>"
    assert len(first["denial"]) == 8
    assert by_name["denied"]["claimed"] == "web"
    assert by_name["kicked"]["user"] == "user:admin"
    assert by_name["kicked"]["target"] == "SHOP/user:web"
    assert by_name["account_changed"]["changes"] == ["export of stream news.> added"]
    assert by_name["account_changed"]["target"] == "SHOP"
    verdict = verify_ledger(ledger, public)
    assert verdict.intact, verdict.problem
    assert verdict.unsealed == 0
    capsys.readouterr()
    assert main(["audit", "verify", str(ledger), "--key", public]) == 0
    assert capsys.readouterr().out.startswith("intact: lines 1 to ")
    assert main(["audit", "query", str(ledger), "--event", "denied", "--user", "web", "--json"]) == 0
    assert [one["denial"] for one in json.loads(capsys.readouterr().out)["result"]["entries"]] == [first["denial"]]
    assert main(["audit", "tail", str(ledger), "-n", "1"]) == 0
    assert " stopped" in capsys.readouterr().out
    assert main(["audit", "query", str(ledger), "--since", "1h"]) == 0
    assert capsys.readouterr().out == ""
    path = next(ledger.glob("audit-*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"target":"other"', b'"target":"otter"'))
    assert main(["audit", "verify", str(ledger), "--key", public]) == 1
    assert "does not follow" in capsys.readouterr().out


async def test_pushed_claims_and_revocations(tmp_path: Path) -> None:
    realm = Realm()
    options = replace(realm.options(), audit=audited(tmp_path))
    async with serving(options) as server:
        realm.account.revoke(realm.user.subject)
        server.update_account(realm.account_token())
    changed = told(tmp_path, "account_changed", "revoked")
    assert [entry["event"] for entry in changed] == ["account_changed", "revoked"]
    assert changed[0]["target"] == realm.account.subject
    assert changed[1]["target"] == f"{realm.account.subject}/{realm.user.subject}"
    assert any("revoked for tokens issued up to" in text for text in changed[0]["changes"])


async def test_a_full_disk_is_told_and_the_server_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await _fill_up(tmp_path, monkeypatch, refuses=False)


async def test_a_full_disk_closes_the_door_where_that_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fill_up(tmp_path, monkeypatch, refuses=True)


async def _fill_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, refuses: bool) -> None:
    admins = (UserOptions(user="admin", password="p"),)
    accounts = (AccountOptions(name="SHOP", users=(LOUD,)), AccountOptions(name="SYS", users=admins))
    options = Options(accounts=accounts, system_account="SYS", audit=audited(tmp_path, refuse_unrecorded=refuses))
    monkeypatch.setattr(recorders, "RETRY_SECONDS", 0.01)
    real, full = os.write, []

    def write(descriptor: int, data: Any) -> int:
        if full and len(data) > 20 and bytes(data[:6]) == b'{"seq"':
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    async with serving(options) as server:
        admin = await Client.connect(server, user="admin", **{"pass": "p"})
        await admin.send(b"SUB $SYS.SERVER.*.AUDIT 1\r\n")
        await admin.ping()
        recorder = server._recorder
        assert recorder is not None
        # What came before the disk was full is written and sealed.
        await until(lambda: not recorder._waiting and not recorder._ledger.unsealed)
        full.append(True)
        admitted = await Client.connect(server, user="web", **{"pass": "p"})
        assert b'"written":false' in await admin.frame()
        assert "No space left" in await _health(server)
        if refuses:
            turned_away = await Client.open(server)
            await turned_away.send(b'CONNECT {"user":"web","pass":"p"}\r\nPING\r\n')
            assert b"Authorization Violation" in await turned_away.rest()
        else:
            await Client.connect(server, user="web", **{"pass": "p"})
        await admitted.ping()
        full.clear()
        assert b'"written":true' in await admin.frame()
        assert await _health(server) == ""
        await Client.connect(server, user="web", **{"pass": "p"})
        public = server.identity.server_id
    verdict = verify_ledger(tmp_path, public)
    assert verdict.intact, verdict.problem
    assert len(told(tmp_path, "authenticated")) == 3 if refuses else 4


async def _health(server: Server) -> str:
    system = server._system
    assert system is not None
    return system._watched.audit_problem()


async def test_a_ledger_that_cannot_be_opened_is_no_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = Server(Options(host="127.0.0.1", port=-1, audit=audited(tmp_path / "file")))
    with pytest.raises(LedgerError, match="cannot be opened"):
        await server.start()
    key = tmp_path / "user.nk"
    key.write_text(KeyPair.generate(KeyKind.USER).seed)
    server = Server(Options(host="127.0.0.1", port=-1, audit=audited(tmp_path / "l", key=str(key))))
    with pytest.raises(LedgerError, match="another kind of key"):
        await server.start()


async def test_one_ledger_has_one_server(tmp_path: Path) -> None:
    options = Options(host="127.0.0.1", port=-1, audit=audited(tmp_path))
    async with serving(options) as server:
        with pytest.raises(LedgerError, match="another server writes"):
            await Server(options).start()
        # A reload opens nothing anew.
        await server.reload(replace(options, max_payload=4096))
        await Client.connect(server)
    async with Server(options):
        pass
    assert verify_ledger(tmp_path).intact


def test_a_killed_server_leaves_no_lock(tmp_path: Path) -> None:
    config, ledger = tmp_path / "server.conf", tmp_path / "ledger"
    config.write_text(f'listen: "127.0.0.1:-1"\naudit {{ dir: "{ledger}" }}\n')
    words = ["-c", str(config)]
    with ServerProcess(NATSKEEP, words, tmp_path, preforked=True) as first:
        assert first.wait_until_ready()
        with ServerProcess(NATSKEEP, words, tmp_path, preforked=True) as second:
            assert second.wait_until_exit(START_SECONDS) == 1
            assert f"another server writes the audit ledger in {ledger}" in second.output
        first.send_signal(signal.SIGKILL)
        first.wait_until_exit(STOP_SECONDS)
    with ServerProcess(NATSKEEP, words, tmp_path, preforked=True) as third:
        assert third.wait_until_ready()
        third.send_signal(signal.SIGTERM)
        assert third.wait_until_exit(STOP_SECONDS) == 0
    assert told(ledger, "stopped")
    assert verify_ledger(ledger).intact


async def test_more_than_can_wait_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorders, "WAITING", 5)
    options = Options(audit=audited(tmp_path))
    async with serving(options) as server:
        recorder = server._recorder
        assert recorder is not None
        with recorder._wake:
            # The thread cannot run meanwhile.
            for _ in range(20):
                recorder.record("denied", {"action": "test"})
        await until(lambda: not recorder._waiting)
        await asyncio.to_thread(lambda: None)
    lost = told(tmp_path, "lost")
    assert sum(entry["count"] for entry in lost) + len(told(tmp_path, "denied")) == 20
    assert lost


async def test_keys_and_files_of_the_ledger(tmp_path: Path) -> None:
    configuration = tmp_path / "server.conf"
    keys = [tmp_path / "one.nk", tmp_path / "two.nk"]
    place = f'dir: "{tmp_path / "ledger"}", key: "{keys[0]}"'
    block = f'audit {{ {place}, max_file: 64KB, keep: 2, seal_interval: "10ms" }}'
    configuration.write_text(block)
    for _ in range(3):
        async with serving(load(str(configuration)).options) as server:
            recorder, public = server._recorder, server.identity.server_id
            assert recorder is not None
            for number in range(4):
                recorder.record("denied", {"action": "test", "target": str(number) + "x" * 20_000})
    assert KeyPair.from_seed(keys[0].read_text()).public == public
    assert 1 <= len(list((tmp_path / "ledger").glob("audit-*.jsonl"))) <= 2
    configuration.write_text(block.replace(f'key: "{keys[0]}"', f'key: "{keys[1]}", previous_key: "{keys[0]}"'))
    async with serving(load(str(configuration)).options) as server:
        assert server.identity.server_id != public
    verdict = verify_ledger(tmp_path / "ledger", public)
    assert verdict.intact, verdict.problem
    assert len(verdict.keys) == 2
