"""Streams of accounts stay apart, keep to what their claims give, and survive a disk that cannot be written."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from auth.claims import JetStreamLimits
from broker import Options, Server
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import JetStreamOptions
from broker.jetstream.store.environment import Environment
from broker.jetstream.store.tables import Change, Row, StoreError
from tests.support.realm import Realm
from tests.support.streams import SECONDS, ask, ask_again, connected, keeping, made, said


def options(text: str) -> Options:
    return read_options(parse_bytes(f'listen: "127.0.0.1:-1"\n{text}'.encode(), "t.conf", {})).options


async def test_streams_of_accounts_stay_apart(tmp_path: Path) -> None:
    text = f"""
    jetstream {{ store_dir: {tmp_path} }}
    accounts {{
      A {{ jetstream: enabled, users: [{{user: a, password: p}}] }}
      B {{ jetstream: enabled, users: [{{user: b, password: p}}] }}
    }}"""
    async with (
        Server(options(text)) as server,
        connected(server, user="a", password="p") as one,
        connected(server, user="b", password="p") as other,
    ):
        await made(one, "S", subjects=["s"])
        assert (await ask(other, "STREAM.INFO.S"))["error"]["err_code"] == 10059
        await made(other, "S", subjects=["s", "t"])
        assert await said(one, "s", b"of one") == {"stream": "S", "seq": 1}
        assert (await ask(other, "STREAM.INFO.S"))["state"]["messages"] == 0
        assert (await ask(other, "STREAM.NAMES"))["total"] == 1


async def test_tenants_whose_disk_hangs_hold_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits of eight accounts do not end, and tables of others hang too, while a ninth is acknowledged as ever."""
    slow, let_go, hanging = 8, threading.Event(), threading.Semaphore(0)
    write, pass_on = Environment.write, Environment.pass_on

    def held(environment: Environment, changes: Sequence[Change]) -> None:
        if any(isinstance(one, Row) and b"held" in (one.value or b"") for one in changes):
            hanging.release()
            let_go.wait()
        write(environment, changes)

    def tables_held(environment: Environment) -> None:
        hanging.release()
        let_go.wait()
        pass_on(environment)

    names = [f"SLOW{number}" for number in range(slow)] + ["BULK1", "BULK2", "QUICK"]
    accounts = "".join(f"{name} {{ jetstream: enabled, users: [{{user: {name}, password: p}}] }}\n" for name in names)
    async with (
        Server(options(f"jetstream {{ store_dir: {tmp_path} }}\naccounts {{ {accounts} }}")) as server,
        AsyncExitStack() as stack,
    ):
        clients = [
            await stack.enter_async_context(connected(server, user=name, password="p")) for name in names
        ]
        for client in clients:
            await made(client, "S", subjects=["s"])
        monkeypatch.setattr(Environment, "write", held)
        monkeypatch.setattr(Environment, "pass_on", tables_held)
        try:
            waiting = [asyncio.ensure_future(said(client, "s", b"held")) for client in clients[:slow]]
            for client in clients[slow:-1]:
                for _ in range(20):
                    await said(client, "s", b"x" * (1 << 20))
            for _ in range(slow + 2):
                await asyncio.to_thread(hanging.acquire)
            for number in range(1, 51):
                assert await said(clients[-1], "s", b"quick") == {"stream": "S", "seq": number}
            assert not any(one.done() for one in waiting)
        finally:
            let_go.set()
        assert [await one for one in waiting] == [{"stream": "S", "seq": 1}] * slow


async def test_another_account_may_be_given_the_requests(tmp_path: Path) -> None:
    text = f"""
    jetstream {{ store_dir: {tmp_path} }}
    accounts {{
      A {{ jetstream: enabled, users: [{{user: a, password: p}}], exports: [{{service: "$JS.API.>"}}] }}
      B {{ users: [{{user: b, password: p}}], imports: [{{service: {{account: A, subject: "$JS.API.>"}}}}] }}
    }}"""
    async with (
        Server(options(text)) as server,
        connected(server, user="a", password="p") as owner,
        connected(server, user="b", password="p") as guest,
    ):
        events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def hear(message: Msg) -> None:
            events.put_nowait(json.loads(message.data))

        await owner.subscribe("$JS.EVENT.ADVISORY.API", cb=hear)
        await owner.flush()
        await made(guest, "S", subjects=["s"])
        assert (await ask(owner, "STREAM.NAMES"))["streams"] == ["S"]
        event = await asyncio.wait_for(events.get(), SECONDS)
        assert event["client"]["acc"] == "B"


async def bearer(server: Server, realm: Realm) -> Client:
    """A client of the realm's user."""
    realm.user.nats.bearer_token = True
    token = realm.token()
    return await nats.connect(
        server.url, user_jwt_cb=token.encode, signature_cb=lambda nonce: b"", allow_reconnect=False
    )


async def test_claims_give_tiers_and_take_them(tmp_path: Path) -> None:
    realm = Realm()
    realm.account.nats.limits.tiered_limits = {
        "R1": JetStreamLimits(memory_storage=1000, disk_storage=5000, streams=1, consumers=-1)
    }
    store = JetStreamOptions(store_dir=str(tmp_path))
    async with Server(realm.options(host="127.0.0.1", port=-1, jetstream=store)) as server:
        client = await bearer(server, realm)
        info = await ask(client, "INFO")
        assert info["limits"]["max_storage"] == 0
        assert info["tiers"]["R1"]["limits"]["max_storage"] == 5000
        await made(client, "S", subjects=["s"], max_bytes=4000)
        answer = await ask(client, "STREAM.CREATE.T", {"name": "T"})
        assert answer["error"]["err_code"] == 10027
        info = await ask(client, "INFO")
        assert info["tiers"]["R1"]["reserved_storage"] == 4000
        assert (info["streams"], info["tiers"]["R1"]["streams"]) == (1, 1)
        assert await said(client, "s", b"x") == {"stream": "S", "seq": 1}
        # Other claims hold at once: a tier that is gone, and then no streams at all.
        realm.account.nats.limits.tiered_limits = {"R3": JetStreamLimits(disk_storage=5000)}
        server.update_account(realm.account_token())
        assert (await ask(client, "STREAM.CREATE.T", {"name": "T"}))["error"]["err_code"] == 10120
        realm.account.nats.limits.tiered_limits = {}
        server.update_account(realm.account_token())
        assert (await ask(client, "INFO"))["error"]["err_code"] == 10039
        realm.account.nats.limits.disk_storage = -1
        server.update_account(realm.account_token())
        assert (await ask_again(client, "STREAM.INFO.S"))["state"]["messages"] == 1
        await client.close()


async def test_what_cannot_be_written_is_not_said_to_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s"])
        await made(client, "M", subjects=["m"], storage="memory")
        assert await said(client, "s", b"kept", {"Nats-Msg-Id": "1"}) == {"stream": "S", "seq": 1}

        def full(*_: object) -> None:
            raise StoreError("cannot write: No space left on device", full=True)

        with monkeypatch.context() as patch:
            patch.setattr(Environment, "write", full)
            answer = await said(client, "s", b"lost", {"Nats-Msg-Id": "2"})
            assert answer["error"]["err_code"] == 10077
            assert "No space left" in answer["error"]["description"]
            assert "error" in await ask(client, "STREAM.CREATE.T", {"name": "T", "subjects": ["t"]})
            assert "error" in await ask(client, "STREAM.DELETE.S")
            assert "error" in await ask(client, "STREAM.PURGE.S")
            # What is kept in memory needs no disk.
            assert await said(client, "m", b"x") == {"stream": "M", "seq": 1}
        assert (await ask(client, "STREAM.NAMES"))["streams"] == ["M", "S"]
        assert (await ask(client, "STREAM.INFO.S"))["state"]["messages"] == 1
        assert await said(client, "s", b"again", {"Nats-Msg-Id": "2"}) == {"stream": "S", "seq": 2}
        assert (await said(client, "s", b"kept", {"Nats-Msg-Id": "1"}))["duplicate"] is True
        assert "error" not in await ask(client, "STREAM.CREATE.T", {"name": "T", "subjects": ["t"]})
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        assert (await ask(client, "STREAM.NAMES"))["streams"] == ["S", "T"]
        assert (await ask(client, "STREAM.INFO.S"))["state"]["messages"] == 2
