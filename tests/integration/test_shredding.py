"""`nsk shred` and `nsk rotate data-key`, against a running server and in the directory of one that has stopped."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auth.nkey import KeyKind, KeyPair
from broker.config.load import load
from broker.config.options import JetStreamOptions
from tests.support.serving import serving
from tests.support.shop import Shop, open_shop
from tests.support.streams import ask, made, said
from tools.nsk.__main__ import main

SECRET = b"nobody else may read this"


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shop:
    found = open_shop(tmp_path, capsys, monkeypatch)
    for name in ("A", "B"):
        if name == "B":
            found.now("add", "account", "B")
            found.now("add", "user", "-a", "B", "other")
        found.now("edit", "account", name, "--js-disk-storage", "1G", "--js-streams", "5", "--js-consumer", "5")
    return found


def nsk(shop: Shop, *words: str, code: int = 0) -> Any:
    """The result of a command that asks nobody."""
    shop.capture.readouterr()
    ended = main(["-H", str(shop.home), *words, "--json"])
    out, err = shop.capture.readouterr()
    assert ended == code, out + err
    return json.loads(out)["result"]


async def test_what_an_operator_shreds_is_gone(shop: Shop, tmp_path: Path) -> None:
    streams = JetStreamOptions(store_dir=str(tmp_path / "data"), key="k", key_dir=str(tmp_path / "keys"))
    async with serving(replace(shop.options(), jetstream=streams)) as server:
        shop.url = server.url
        clients = [await shop.client("asks"), await shop.client("other", "B")]
        for client in clients:
            await made(client, "S", subjects=["s"])
            await said(client, "s", SECRET)
        changed = await shop.ask("rotate", "data-key", "A")
        assert changed["key"] != changed["before"]
        assert (await said(clients[0], "s", SECRET))["seq"] == 2
        receipt = tmp_path / "a.receipt"
        await shop.ask("shred", "A", code=1)
        found = await shop.ask("shred", "A", "--yes", "--output", str(receipt), "--server", server.identity.server_name)
        assert (await ask(clients[1], "STREAM.INFO.S"))["state"]["messages"] == 1
        assert (await ask(clients[0], "STREAM.INFO.S"))["error"]["err_code"] == 10059
        public = shop.store.account("A").subject
        assert found["account"] == public
        prove = ("audit", "receipt", str(receipt), "--key")
        proved = await asyncio.to_thread(nsk, shop, *prove, server.identity.server_id)
        assert (proved["valid"], proved["account"], proved["key_given"]) == (True, public, True)
        assert changed["key"] in proved["keys"]
        assert {file["name"] for file in proved["files"]} >= {"data.mdb"}
        other = KeyPair.generate(KeyKind.SERVER).public
        assert not (await asyncio.to_thread(nsk, shop, *prove, other, code=1))["valid"]
        for client in clients:
            await client.close()


async def test_servers_that_have_accounts_in_the_configuration(shop: Shop, tmp_path: Path) -> None:
    config = tmp_path / "server.conf"
    config.write_text(f"""
    jetstream {{ store_dir: "{tmp_path}/data", key: k }}
    accounts {{
      SHOP {{ users: [{{user: a, password: p}}], jetstream: {{}} }}
      SYS {{ users: [{{user: s, password: p}}] }}
    }}
    system_account: SYS
    audit {{ dir: "{tmp_path}/ledger", key: "{tmp_path}/server.nk" }}
    """)
    async with serving(replace(load(str(config)).options, host="127.0.0.1", port=-1)) as server:
        shop.url = server.url.replace("nats://", "nats://s:p@")
        assert (await shop.ask("rotate", "data-key", "SHOP"))["account"] == "SHOP"
        shop.url = server.url.replace("nats://", "nats://a:p@")
        await shop.ask("rotate", "data-key", "SHOP", code=1)
        # Nobody works in the directory of a server that runs.
        shop.capture.readouterr()
        words = ["shred", "SHOP", "--yes", "--store-dir", f"{tmp_path}/data", "--seed", f"{tmp_path}/server.nk"]
        assert await asyncio.to_thread(main, ["-H", str(shop.home), *words]) == 1
        assert "a server keeps its streams in" in shop.capture.readouterr().err
    keys = tmp_path / "data" / "keys" / "SHOP.key"
    assert keys.exists()
    offline = ("shred", "SHOP", "--yes", "--store-dir", str(tmp_path / "data"))
    await asyncio.to_thread(nsk, shop, *offline, code=1)
    found = await asyncio.to_thread(nsk, shop, *offline, "--seed", str(tmp_path / "server.nk"))
    assert not keys.exists()
    assert not (tmp_path / "data" / "jetstream" / "SHOP").exists()
    receipt = found["kept"]
    assert await asyncio.to_thread(Path(receipt).exists)
    key = KeyPair.from_seed((tmp_path / "server.nk").read_text().strip()).public
    assert (await asyncio.to_thread(nsk, shop, "audit", "receipt", receipt, "--key", key))["account"] == "SHOP"
    await asyncio.to_thread(nsk, shop, *offline, "--seed", str(tmp_path / "server.nk"), code=1)
