"""What a file says about streams has its effect, for the server and for each account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from auth.settings import SettingsError
from broker import Options, Server
from broker.config.language import parse_bytes
from broker.config.load import read_options
from tests.support.serving import serving
from tests.support.streams import ask, ask_again, connected, made, said

LISTEN = 'listen: "127.0.0.1:-1"\n'


def options(text: str) -> Options:
    return read_options(parse_bytes((LISTEN + text).encode(), "t.conf", {})).options


async def refusal(client: Client, request: str, body: object) -> int:
    """The number of the error that a request is refused with."""
    answer = await ask(client, request, body)
    return int(answer["error"]["err_code"])


async def refused_stream(client: Client, **config: Any) -> int:
    return await refusal(client, "STREAM.CREATE.X", {"name": "X", **config})


async def refused_consumer(client: Client, **config: Any) -> int:
    body = {"stream_name": "S", "config": {"name": "C", "ack_policy": "explicit", **config}}
    return await refusal(client, "CONSUMER.CREATE.S.C", body)


@pytest.mark.parametrize(
    "text",
    [
        "jetstream {{ store_dir: {0}, enabled: true }}",
        "store_dir: {0}\njetstream: enabled",
        "jetstream {{ store: {0} }}",
    ],
)
async def test_where_streams_are_kept(text: str, tmp_path: Path) -> None:
    async with serving(options(text.format(tmp_path))) as server, connected(server) as client:
        assert server.service.control.server_info.jetstream
        await made(client, "S")
    assert (tmp_path / "jetstream" / "%24G" / "data.mdb").exists()


async def test_streams_are_encrypted(tmp_path: Path) -> None:
    keyed = f'jetstream {{ store_dir: {tmp_path}, key: "old" }}'
    async with serving(options(keyed)) as server, connected(server) as client:
        await made(client, "S", subjects=["s"])
        await said(client, "s", b"nobody else may read this")
    renewed = f'jetstream {{ store_dir: {tmp_path}, key: "new", prev_key: "old", cipher: "AES" }}'
    async with serving(options(renewed)) as server, connected(server) as client:
        await said(client, "s", b"nor this")
        assert (await ask(client, "STREAM.INFO.S"))["state"]["messages"] == 2
    stored = b"".join(path.read_bytes() for path in (tmp_path / "jetstream").rglob("*") if path.is_file())
    assert b"may read" not in stored
    assert b"nor this" not in stored
    with pytest.raises(SettingsError, match="sealed with another key; give that one as 'prev_key'"):
        await Server(options(keyed)).start()


async def test_without_streams_nobody_answers(tmp_path: Path) -> None:
    async with (
        serving(options(f"jetstream {{ enabled: false, store_dir: {tmp_path} }}")) as server,
        connected(server) as client,
    ):
        assert not server.service.control.server_info.jetstream
        with pytest.raises(Exception, match="no responders"):
            await ask(client, "INFO")


async def test_ceilings_of_the_server(tmp_path: Path) -> None:
    text = f"""
    jetstream {{
      store_dir: {tmp_path}, domain: hub, strict: false, max_memory_store: "1K", max_file_store: "1M"
      limits {{ max_ack_pending: 7, max_request_batch: 3, duplicate_window: "1m" }}
    }}"""
    async with serving(options(text)) as server, connected(server) as client:
        assert await refused_stream(client, storage="memory", max_bytes=1025) == 10028
        assert await refused_stream(client, max_bytes=(1 << 20) + 1) == 10047
        assert await refused_stream(client, duplicate_window=61_000_000_000) == 10052
        # What strictness would refuse.
        stream = await made(client, "S", unknown_field=1)
        assert stream["config"]["duplicate_window"] == 60_000_000_000
        assert await refused_consumer(client, max_ack_pending=8) == 10121
        assert await refused_consumer(client, max_batch=4) == 10125
        info = await ask(client, "STREAM.INFO.S")
        assert info["domain"] == "hub"
        # Requests may name the domain, in each of its parts.
        direct = await client.request("$JS.hub.API.STREAM.INFO.S", b"")
        assert b'"domain":"hub"' in direct.data
        assert server.service.control.server_info.domain == "hub"
        assert await said(client, "S", b"x") == {"stream": "S", "domain": "hub", "seq": 1}


async def test_ceilings_of_an_account(tmp_path: Path) -> None:
    text = f"""
    jetstream {{ store_dir: {tmp_path} }}
    accounts {{
      A {{
        users: [{{user: a, password: p}}]
        jetstream {{
          max_memory: 1000, max_store: 2000, max_streams: 2, max_consumers: 1, max_ack_pending: 5
          max_bytes_required: true, mem_max_stream_bytes: 600, disk_max_stream_bytes: 1500
        }}
      }}
      B {{ users: [{{user: b, password: p}}] }}
    }}"""
    async with serving(options(text)) as server:
        async with connected(server, user="a", password="p") as client:
            assert await refused_stream(client) == 10113
            assert await refused_stream(client, storage="memory", max_bytes=601) == 10122
            assert await refused_stream(client, max_bytes=1501) == 10122
            assert await refused_stream(client, max_bytes=1500, max_consumers=2) == 10026
            await made(client, "S", subjects=["s"], max_bytes=1200)
            # The account has 2000 for files, and promised 1200 of them.
            assert await refused_stream(client, max_bytes=1000) == 10047
            await made(client, "M", subjects=["m"], storage="memory", max_bytes=600)
            assert await refused_stream(client, storage="memory", max_bytes=401) == 10027
            assert await refused_consumer(client, max_ack_pending=6) == 10121
            assert "error" not in await ask(
                client, "CONSUMER.CREATE.S.C", {"stream_name": "S", "config": {"name": "C", "durable_name": "C"}}
            )
            body = {"stream_name": "S", "config": {"name": "D"}}
            assert await refusal(client, "CONSUMER.CREATE.S.D", body) == 10026
            info = await ask(client, "INFO")
            assert info["limits"] == {
                "max_memory": 1000, "max_storage": 2000, "max_streams": 2, "max_consumers": 1, "max_ack_pending": 5,
                "memory_max_stream_bytes": 600, "storage_max_stream_bytes": 1500, "max_bytes_required": True,
            }  # fmt: skip
            assert (info["reserved_memory"], info["reserved_storage"], info["streams"]) == (600, 1200, 2)
        async with connected(server, user="b", password="p") as client:
            # Who has no streams hears so, and reaches nobody else's.
            for request in ("INFO", "STREAM.NAMES", "STREAM.INFO.S"):
                assert await refusal(client, request, b"") == 10039


async def test_an_account_is_not_promised_what_the_server_does_not_have(tmp_path: Path) -> None:
    text = f"""
    jetstream {{ store_dir: {tmp_path}, max_file: "1M" }}
    accounts {{ A {{ jetstream {{ disk: 700000 }} }}, B {{ jetstream {{ disk: 700000 }} }} }}"""
    with pytest.raises(SettingsError, match="JetStream of account B: insufficient storage resources available"):
        await Server(options(text)).start()


async def test_a_reload_changes_what_accounts_may_keep(tmp_path: Path) -> None:
    text = f"""
    jetstream {{{{ store_dir: {tmp_path}, max_file: {{server}} }}}}
    accounts {{{{ A {{{{ users: [{{{{user: a, password: p}}}}], jetstream: {{account}} }}}} }}}}"""

    def changed(server: str, account: str) -> Options:
        return options(text.format(server=server, account=account))

    async with (
        serving(changed("'1M'", "{ max_streams: 1 }")) as server,
        connected(server, user="a", password="p") as client,
    ):
        await made(client, "S", subjects=["s"])
        await said(client, "s", b"x")
        assert await refused_stream(client, subjects=["x"]) == 10027
        await server.reload(changed("'2M'", "{ max_streams: 2 }"))
        await made(client, "X", subjects=["x"], max_bytes=(1 << 20) + 1)
        await server.reload(changed("'2M'", "disabled"))
        assert await refusal(client, "INFO", b"") == 10039
        await server.reload(changed("'2M'", "enabled"))
        assert (await ask_again(client, "STREAM.INFO.S"))["state"]["messages"] == 1
        await server.reload(options("accounts { A { users: [{user: a, password: p}] } }"))
        with pytest.raises(Exception, match="no responders"):
            await ask(client, "INFO")
        await server.reload(changed("'2M'", "enabled"))
        assert (await ask_again(client, "STREAM.NAMES"))["streams"] == ["S", "X"]
        with pytest.raises(Exception, match="not supported for decreasing jetstream max memory and store"):
            await server.reload(changed("'1M'", "enabled"))
