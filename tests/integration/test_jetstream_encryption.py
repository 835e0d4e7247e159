"""Each account's data is sealed by a key of its own, and every key above and below can change while the server runs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from auth.settings import SettingsError
from broker import Options, Server
from broker.audit.entry import LineError
from broker.audit.verify import entries
from broker.config.errors import ConfigError
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.jetstream.store.shredding import check_receipt
from broker.reload.plan import ReloadError
from tests.support.serving import serving, until
from tests.support.streams import ask, ask_again, connected, made, said

SECRET = b"nobody else may read this"
KMS = """
import json, os, sys
asked = json.load(sys.stdin)
if os.path.exists(sys.argv[1]):
    sys.exit("the KMS is sealed")
# Whoever holds the key: what is wrapped is told to nobody, and this one only turns it round.
if asked["do"] == "wrap":
    print(json.dumps({"wrapped": asked["key"][::-1]}))
else:
    print(json.dumps({"key": asked["wrapped"][::-1]}))
"""


def options(text: str) -> Options:
    return read_options(parse_bytes(f'listen: "127.0.0.1:-1"\n{text}'.encode(), "t.conf", {})).options


def raw(directory: Path) -> bytes:
    """All that stands in the files of a directory, some of which may go meanwhile."""
    found = []
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                found.append((Path(folder) / name).read_bytes())
    return b"".join(found)


def key_in(directory: Path, key: str, mode: int = 0o600) -> Path:
    path = directory / f"{key or 'empty'}.secret"
    path.write_text(key + "\n")
    path.chmod(mode)
    return path


async def filled(server: Server) -> None:
    async with connected(server) as client:
        await made(client, "PRIVATE", subjects=["private.>"])
        await said(client, "private.subject", SECRET)


async def held(server: Server, name: str = "PRIVATE") -> int:
    async with connected(server) as client:
        found: dict[str, Any] = await ask(client, f"STREAM.INFO.{name}")
        return int(found["state"]["messages"])


async def test_the_key_of_the_server_changes_by_a_reload(tmp_path: Path) -> None:
    old, new = key_in(tmp_path, "old"), key_in(tmp_path, "new")
    text = f"jetstream {{{{ store_dir: {tmp_path}/data, key_dir: {tmp_path}/keys, key_file: {{}} }}}}"
    async with serving(options(text.format(old))) as server:
        await filled(server)
        before = await asyncio.to_thread(raw, tmp_path / "keys")
        await server.reload(options(text.format(new)))
        assert await asyncio.to_thread(raw, tmp_path / "keys") != before
        assert await held(server) == 1
    assert SECRET not in await asyncio.to_thread(raw, tmp_path / "data")
    assert b"PRIVATE" not in await asyncio.to_thread(raw, tmp_path / "data")
    with pytest.raises(SettingsError, match="sealed with another key; give that one as 'prev_key'"):
        await Server(options(text.format(old))).start()
    async with serving(options(text.format(new))) as server:
        assert await held(server) == 1
        with pytest.raises(ReloadError, match="does not switch the encryption of streams on or off"):
            await server.reload(options(f"jetstream {{ store_dir: {tmp_path}/data, key_dir: {tmp_path}/keys }}"))
    with pytest.raises(SettingsError, match="is encrypted; give its 'key', 'key_file' or 'key_command'"):
        await Server(options(f"jetstream {{ store_dir: {tmp_path}/data, key_dir: {tmp_path}/keys }}")).start()


async def test_a_key_that_was_in_a_file(tmp_path: Path) -> None:
    old = key_in(tmp_path, "old")
    async with serving(options(f"jetstream {{ store_dir: {tmp_path}/data, key_file: {old} }}")) as server:
        await filled(server)
    later = f"jetstream {{ store_dir: {tmp_path}/data, key: new, prev_key_file: {old} }}"
    async with serving(options(later)) as server:
        assert await held(server) == 1
    async with serving(options(f"jetstream {{ store_dir: {tmp_path}/data, key: new }}")) as server:
        assert await held(server) == 1


async def test_a_command_that_has_the_key(tmp_path: Path) -> None:
    script, sealed = tmp_path / "kms.py", tmp_path / "kms-is-sealed"
    script.write_text(KMS)
    command = f'key_command: ["{sys.executable}", "-S", "{script}", "{sealed}"], key_timeout: "20s"'
    text = f"""
    jetstream {{{{ store_dir: {tmp_path}/data, {{}} }}}}
    accounts {{{{ A {{{{ users: [{{{{user: a, password: p}}}}], jetstream: {{}} }}}} }}}}
    no_auth_user: a"""
    async with serving(options(text.format('key: "before"', "enabled"))) as server:
        await filled(server)
        await server.reload(options(text.format(command, "disabled")))
        # Accounts that come to have streams later are asked for beside everything else.
        await server.reload(options(text.format(command, "enabled")))
        async with connected(server) as client:
            assert (await ask_again(client, "STREAM.INFO.PRIVATE"))["state"]["messages"] == 1
    async with serving(options(text.format(command, "enabled"))) as server:
        assert await held(server) == 1
    sealed.touch()
    refused = r"key_command .* refused to unwrap the key of account A: the KMS is sealed"
    with pytest.raises(SettingsError, match=refused):
        await Server(options(text.format(command, "enabled"))).start()
    with pytest.raises(SettingsError, match=r"did not answer within 0\.001s; raise key_timeout"):
        await Server(options(text.format(command.replace("20s", "1ms"), "enabled"))).start()


async def test_what_was_in_the_clear_is_encrypted_while_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.jetstream.store.tidying.INTERVAL", 0.05)
    async with serving(options(f"jetstream {{ store_dir: {tmp_path} }}")) as server:
        await filled(server)
    directory = tmp_path / "jetstream"
    assert SECRET in await asyncio.to_thread(raw, directory)
    async with serving(options(f"jetstream {{ store_dir: {tmp_path}, key: k }}")) as server:
        assert await held(server) == 1
        async with connected(server) as client:
            await said(client, "private.subject", SECRET)
        await until(lambda: SECRET not in raw(directory) and b"PRIVATE" not in raw(directory))
        assert await held(server) == 2
    async with serving(options(f"jetstream {{ store_dir: {tmp_path}, key: k }}")) as server:
        assert await held(server) == 2
    assert SECRET not in await asyncio.to_thread(raw, directory)


@pytest.mark.parametrize(
    ("said_there", "problem"),
    [
        ("key: a, key_file: {open}", '"key" and "key_file" both say where the key is'),
        ("key_file: {open}", "may be read or changed by others"),
        ("key_file: {empty}", "holds no key: write 32 random bytes in base64"),
        ("prev_key_file: {missing}", "cannot read prev_key_file .*: No such file"),
        ("key_command: ''", '"key_command" names no program'),
        ("key_command: x, key_timeout: '0s'", '"key_timeout" must be more than 0'),
    ],
)
def test_keys_that_cannot_be(tmp_path: Path, said_there: str, problem: str) -> None:
    places = {"open": key_in(tmp_path, "open", 0o644), "empty": key_in(tmp_path, ""), "missing": tmp_path / "x"}
    with pytest.raises(ConfigError, match=problem):
        options(f"jetstream {{ {said_there.format_map(places)} }}")
    assert os.stat(places["open"]).st_mode & 0o044


async def test_space_is_given_back_while_serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("environment", "tidying"):
        monkeypatch.setattr(f"broker.jetstream.store.{name}.COMPACT_FROM", 1 << 20)
    monkeypatch.setattr("broker.jetstream.store.environment.JOURNAL_BYTES", 1 << 20)
    monkeypatch.setattr("broker.jetstream.store.tidying.INTERVAL", 0.05)
    data = tmp_path / "jetstream" / "%24G" / "data.mdb"
    encrypted = options(f"jetstream {{ store_dir: {tmp_path}, key: k }}")
    async with serving(encrypted) as server, connected(server) as client:
        await made(client, "BIG", subjects=["big"])
        await made(client, "SMALL", subjects=["small"])
        for _ in range(10):
            await asyncio.gather(*(said(client, "big", os.urandom(50_000)) for _ in range(10)))
        before = data.stat().st_size
        assert before > 3 << 20
        await ask(client, "STREAM.PURGE.BIG", {"keep": 3})
        sent = 0
        async with asyncio.timeout(20):
            while data.stat().st_size > before // 3:
                sent += 1
                assert (await said(client, "small", b"%d" % sent))["seq"] == sent
        assert sent
        await said(client, "small", b"afterwards")
    async with serving(options(f"jetstream {{ store_dir: {tmp_path}, key: k }}")) as server:
        assert (await held(server, "BIG"), await held(server, "SMALL")) == (3, sent + 1)


TENANTS = """
jetstream {{ store_dir: {0}/data, key: k, key_dir: {0}/keys }}
accounts {{
  A {{ users: [{{user: a, password: p}}], jetstream: {{}} }}
  B {{ users: [{{user: b, password: p}}], jetstream: {{}} }}
  SYS {{ users: [{{user: s, password: p}}], exports: [{{service: "$SYS.REQ.SERVER.*.SHRED"}}] }}
  C {{
    users: [{{user: c, password: p}}]
    imports: [{{service: {{account: SYS, subject: "$SYS.REQ.SERVER.*.SHRED"}}, to: "please.*"}}]
  }}
}}
system_account: SYS
audit {{ dir: {0}/ledger, key: {0}/server.nk, seal_interval: "10ms" }}
"""


async def asked(client: Client, server: Server, what: str, account: str) -> Any:
    """What the system account answers about an account's key."""
    subject = f"$SYS.REQ.SERVER.{server.identity.server_id}.{what}"
    return json.loads((await client.request(subject, json.dumps({"account": account}).encode(), timeout=20)).data)


@asynccontextmanager
async def tenants(tmp_path: Path) -> AsyncIterator[tuple[Server, Client, Client, Client]]:
    """A server with two tenants, each of which has something to hide, and clients of both and of the system account."""
    async with serving(options(TENANTS.format(tmp_path))) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(server, user=one, password="p")) for one in "abs"]
        for client in clients[:2]:
            await made(client, "PRIVATE", subjects=["private.>"])
            consumer = {"stream_name": "PRIVATE", "config": {"durable_name": "worker", "ack_policy": "explicit"}}
            await ask(client, "CONSUMER.CREATE.PRIVATE.worker", consumer)
            await said(client, "private.subject", SECRET)
        yield server, clients[0], clients[1], clients[2]


async def messages(client: Client) -> int:
    return int((await ask(client, "STREAM.INFO.PRIVATE"))["state"]["messages"])


async def test_the_data_key_of_an_account_changes_while_it_serves(tmp_path: Path) -> None:
    async with tenants(tmp_path) as (server, a, _, system):
        first = (await asked(system, server, "ROTATE", "A"))["data"]
        assert first["key"] != first["before"]
        again = await asked(system, server, "ROTATE", "A")
        assert "still being sealed anew" in again["error"]["description"] or again["data"]["before"] == first["key"]
        for number in range(50):
            assert (await said(a, "private.subject", SECRET))["seq"] == number + 2
        await until(lambda: any(one["event"] == "data_key_destroyed" for one in entries(tmp_path / "ledger")))
        assert await messages(a) == 51
        told = [one for one in entries(tmp_path / "ledger") if one["event"].startswith("data_key")]
        assert (told[0]["event"], told[0]["target"], told[0]["user"]) == ("data_key_rotated", "A", "user:s")
        assert told[0]["before"] in told[1]["removed"]
        for account in ("", "C", "nobody"):
            assert "error" in await asked(system, server, "ROTATE", account)
    async with serving(options(TENANTS.format(tmp_path))) as server, connected(server, user="a", password="p") as a:
        assert await messages(a) == 51
        assert server._jetstream is not None
        assert len(server._jetstream.keys.codecs["A"].keys) == 1


async def test_a_shredded_account_cannot_be_read_from_anywhere(tmp_path: Path) -> None:
    async with tenants(tmp_path) as (server, a, b, system):
        directory = tmp_path / "data" / "jetstream"
        async with connected(server, user="c", password="p") as stranger:
            answer = await stranger.request(f"please.{server.identity.server_id}", b'{"account":"A"}', timeout=20)
            assert json.loads(answer.data)["error"]["code"] == 403
        before = await asyncio.to_thread(raw, directory / "A")
        assert before
        # Nobody reads it without the key; with it, a copy can be read.
        assert SECRET not in before
        backup = tmp_path / "backup"
        await asyncio.to_thread(shutil.copytree, tmp_path / "data", backup)
        key_file = (tmp_path / "keys" / "A.key").read_bytes()
        receipt = (await asked(system, server, "SHRED", "A"))["data"]["receipt"].encode()
        assert not (tmp_path / "keys" / "A.key").exists()
        assert not (directory / "A").exists()
        assert (await ask(a, "STREAM.INFO.PRIVATE"))["error"]["err_code"] == 10059
        told = check_receipt(receipt, server.identity.server_id)
        assert (told["account"], told["by"], told["copies_destroyed"]) == ("A", "SYS/user:s", False)
        assert {file["name"] for file in told["files"]} >= {"data.mdb", "sealed"}
        assert told["key_files"] == {"A.key": hashlib.sha256(key_file).hexdigest()}
        with pytest.raises(LineError):
            check_receipt(receipt.replace(b'"A"', b'"B"'))
        # Other tenants go on.
        assert (await said(b, "private.subject", SECRET))["seq"] == 2
        assert await messages(b) == 2
        # The account begins anew, under another key.
        await made(a, "PRIVATE", subjects=["private.>"])
        assert (await said(a, "private.subject", b"afterwards"))["seq"] == 1
        assert (tmp_path / "keys" / "A.key").read_bytes() != key_file
        await until(lambda: any(one["event"] == "shredded" for one in entries(tmp_path / "ledger")))
        for account in ("C", "nobody"):
            assert "has nothing on disk here" in (await asked(system, server, "SHRED", account))["error"]["description"]
    # A backup of the data, with the key of the server in hand and even the present key file of the account.
    text = TENANTS.replace("{0}/data", "{0}/backup")
    with pytest.raises(SettingsError, match="does not fit its data key"):
        await Server(options(text.format(tmp_path))).start()
    (tmp_path / "keys" / "A.key").unlink()
    with pytest.raises(SettingsError, match=r"its key file .* is gone"):
        await Server(options(text.format(tmp_path))).start()
    # That the key file was what mattered: whoever kept a copy of it as well reads the backup.
    (tmp_path / "keys" / "A.key").write_bytes(key_file)
    async with serving(options(text.format(tmp_path))) as server, connected(server, user="a", password="p") as a:
        assert await messages(a) == 1


async def test_what_a_crash_leaves_of_shredding_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tenants(tmp_path) as (server, _, _, system):
        with monkeypatch.context() as patch:
            patch.setattr("broker.jetstream.store.shredding.shutil.rmtree", lambda *_, **__: None)
            answer = await asked(system, server, "SHRED", "A")
            assert "whose key is destroyed" in answer["error"]["description"]
    assert (tmp_path / "keys" / "A.shredding").exists()
    async with serving(options(TENANTS.format(tmp_path))) as server, connected(server, user="b", password="p") as b:
        assert await messages(b) == 1
        (receipt,) = (tmp_path / "data" / "receipts").iterdir()
        assert check_receipt(await asyncio.to_thread(receipt.read_bytes), server.identity.server_id)["account"] == "A"
    assert not (tmp_path / "keys" / "A.shredding").exists()


async def test_two_servers_do_not_keep_streams_in_one_place(tmp_path: Path) -> None:
    async with serving(options(f"jetstream {{ store_dir: {tmp_path} }}")):
        with pytest.raises(SettingsError, match=r"a server keeps its streams in .*: stop it, or use another store_dir"):
            await Server(options(f"jetstream {{ store_dir: {tmp_path} }}")).start()
