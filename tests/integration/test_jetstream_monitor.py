"""What monitoring and the system account show of streams, in the names and the order of nats-server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from broker import Options, Server
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.jetstream.store.environment import Environment
from broker.jetstream.store.tables import StoreError
from tests.integration.test_monitor import Reply
from tests.integration.test_monitor import ask as look
from tests.support.streams import SECONDS, ask, connected, made, said

OPERATOR, TENANT = "the-token-of-the-operator", "the-token-of-a-tenant"

TEXT = """
listen: "127.0.0.1:-1", server_name: one, http: "127.0.0.1:-1"
jetstream { store_dir: "DIRECTORY", domain: hub, max_mem: 1MB, max_file: 10MB, limits { max_ack_pending: 10 } }
accounts {
  A { jetstream: { max_mem: 1000, max_file: 50000 }, users: [{user: a, password: p}] }
  B { jetstream: enabled, users: [{user: b, password: p}] }
  C { users: [{user: c, password: p}] }
  $SYS { users: [{user: s, password: p}] }
}
"""
LIMITED = f'monitor_access {{ token: "{OPERATOR}", accounts {{ A: "{TENANT}" }} }}'


def options(directory: Path, more: str = "") -> Options:
    text = TEXT.replace("DIRECTORY", str(directory)) + more
    return read_options(parse_bytes(text.encode(), "t.conf", {})).options


@asynccontextmanager
async def shop(directory: Path, more: str = "") -> AsyncIterator[tuple[Server, Client]]:
    """A server with a stream of three messages in A, that has a consumer, and one in B."""
    async with (
        Server(options(directory, more)) as server,
        connected(server, user="a", password="p") as client,
        connected(server, user="b", password="p") as other,
    ):
        await made(client, "S", subjects=["s"], max_bytes=4000, allow_direct=True)
        for _ in range(3):
            await said(client, "s", b"12345")
        durable = {"stream_name": "S", "config": {"durable_name": "D", "ack_policy": "explicit"}}
        assert (await ask(client, "CONSUMER.CREATE.S.D", durable))["name"] == "D"
        assert "error" in await ask(client, "STREAM.INFO.T")
        await made(other, "M", subjects=["m"], storage="memory")
        yield server, client


async def shown(server: Server, path: str) -> Any:
    reply = await look(server, path)
    assert reply.status == 200, reply.body
    return reply.json


async def test_jsz(tmp_path: Path) -> None:
    async with shop(tmp_path) as (server, _):
        page = await shown(server, "/jsz")
        assert " ".join(page) == (
            "memory storage reserved_memory reserved_storage accounts ha_assets api server_id "
            "now config limits streams consumers messages bytes total"
        )
        assert " ".join(page["config"]) == (
            "max_memory max_storage store_dir sync_interval sync_always domain compress_ok strict"
        )
        assert (page["config"]["max_memory"], page["config"]["domain"]) == (1 << 20, "hub")
        assert page["limits"] == {"max_ack_pending": 10}
        assert (page["streams"], page["consumers"], page["messages"], page["total"]) == (2, 1, 3, 2)
        assert page["storage"] == page["bytes"]
        assert page["reserved_storage"] == 4000
        assert (page["api"]["total"], page["api"]["errors"]) == (4, 1)
        raft = await shown(server, "/jsz?raft=1")
        assert (raft["streams_leader"], raft["consumers_leader"]) == (2, 1)


async def test_jsz_shows_as_much_as_is_asked_for(tmp_path: Path) -> None:
    async with shop(tmp_path) as (server, client):

        async def details(query: str) -> list[Any]:
            found: list[Any] = (await shown(server, f"/jsz?{query}")).get("account_details", [])
            return found

        both = await details("accounts=1")
        assert [one["id"] for one in both] == ["A", "B"]
        assert " ".join(both[0]) == (
            "name id memory storage reserved_memory reserved_storage accounts ha_assets api"
        )
        assert (both[0]["reserved_memory"], both[0]["reserved_storage"]) == (1000, 50000)
        assert [one["id"] for one in await details("accounts=1&offset=1")] == ["B"]
        assert [one["id"] for one in await details("accounts=1&limit=1")] == ["A"]
        assert await details("accounts=1&offset=7") == []
        assert await details("acc=C") == []

        (stream,) = (await details("acc=A&streams=1"))[0]["stream_detail"]
        assert list(stream) == ["name", "created", "cluster", "state"]
        assert (stream["cluster"], stream["state"]["messages"]) == ({"leader": "one"}, 3)
        (stream,) = (await details("acc=A&consumers=1"))[0]["stream_detail"]
        (consumer,) = stream["consumer_detail"]
        assert (consumer["name"], consumer["num_pending"]) == ("D", 3)
        assert "config" not in consumer
        (stream,) = (await details("acc=A&consumers=1&config=1"))[0]["stream_detail"]
        assert stream["config"]["max_bytes"] == 4000
        # What an answer of the API adds, the server that gave it and its level, is not shown.
        info = await ask(client, "STREAM.INFO.S")
        assert stream["config"] == info["config"] | {"metadata": {"_nats.req.level": "0"}}
        assert stream["consumer_detail"][0]["config"]["ack_policy"] == "explicit"
        assert (await look(server, "/jsz?limit=x")).status == 400


async def test_metrics(tmp_path: Path) -> None:
    async with shop(tmp_path, LIMITED) as (server, client):
        (pulled,) = [await ask(client, "CONSUMER.CREATE.S", {"stream_name": "S", "config": {"ack_policy": "none"}})]
        assert "error" not in pulled

        async def samples(query: str = "", token: str = OPERATOR) -> dict[str, float]:
            reply = await look(server, f"/metrics{query}", token=token)
            assert reply.status == 200
            rows = [row.rsplit(" ", 1) for row in reply.body.decode().splitlines() if row[0] != "#"]
            begin = "natskeep_jetstream_"
            return {name.removeprefix(begin): float(value) for name, value in rows if name.startswith(begin)}

        found = await samples()
        stream, consumer = '{account="A",stream="S"}', '{account="A",stream="S",consumer="D"}'
        assert found["accounts"] == 2
        assert found["writable"] == 1
        assert found["storage_bytes"] == found['account_storage_bytes{account="A"}'] == found[f"stream_bytes{stream}"]
        assert found['account_storage_bytes_limit{account="A"}'] == 50000
        assert found['account_storage_reserved_bytes{account="A"}'] == found[f"stream_bytes_limit{stream}"] == 4000
        assert 'account_storage_bytes_limit{account="B"}' not in found
        assert f"stream_messages_limit{stream}" not in found
        assert (found['account_streams{account="A"}'], found['account_consumers{account="A"}']) == (1, 2)
        assert found['account_api_requests_total{account="A"}'] == 4
        assert found['account_api_errors_total{account="A"}'] == 1
        assert found[f"stream_messages{stream}"] == found[f"stream_last_seq{stream}"] == 3
        assert (found[f"stream_first_seq{stream}"], found[f"stream_subject_count{stream}"]) == (1, 1)
        assert (found[f"consumer_num_pending{consumer}"], found[f"consumer_num_ack_pending{consumer}"]) == (3, 0)
        # Consumers whose names their clients made up are shown to who asks for all.
        assert [name for name in found if "num_waiting" in name] == [f"consumer_num_waiting{consumer}"]
        every = await samples("?jetstream=all")
        assert f'consumer_num_pending{{account="A",stream="S",consumer="{pulled["name"]}"}}' in every
        streams, accounts = await samples("?jetstream=streams"), await samples("?jetstream=accounts")
        assert every.keys() > found.keys() > streams.keys() > accounts.keys()
        assert not [name for name in streams if name.startswith("consumer_")]
        assert not [name for name in accounts if name.startswith("stream_")]
        assert not [name for name in await samples("?jetstream=none") if "account=" in name]
        assert (await look(server, "/metrics?jetstream=some", token=OPERATOR)).status == 400
        # A tenant sees its own, and nothing of the server.
        own = await samples("?jetstream=all", TENANT)
        assert own == {name: value for name, value in every.items() if 'account="A"' in name}


async def test_metrics_of_very_many_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.monitor.jetstream_metrics.MOST_STREAMS", 1)
    monkeypatch.setattr("broker.monitor.jetstream_metrics.MOST_CONSUMERS", 1)
    async with shop(tmp_path) as (server, client):
        await made(client, "T", subjects=["t"], max_bytes=4000)
        for stream, name in (("T", "E"), ("T", "F")):
            config = {"durable_name": name, "ack_policy": "explicit"}
            assert "error" not in await ask(
                client, f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config}
            )
        text = (await look(server, "/metrics")).body.decode()
        assert 'natskeep_jetstream_stream_messages{account="A",stream="S"} 3' in text
        assert 'stream="T"' not in text
        assert 'natskeep_jetstream_left_out{account="A",kind="stream"} 1' in text
        assert 'natskeep_jetstream_left_out{account="A",kind="consumer"} 2' in text
        assert 'left_out{account="B"' not in text


async def test_other_pages_know_of_streams(tmp_path: Path) -> None:
    async with shop(tmp_path) as (server, _):
        varz = await shown(server, "/varz")
        assert list(varz["jetstream"]) == ["config", "stats", "limits"]
        assert varz["jetstream"]["config"]["store_dir"].startswith(str(tmp_path))
        assert varz["jetstream"]["stats"]["accounts"] == 2
        enabled = {name: await shown(server, f"/accountz?acc={name}") for name in "ABC"}
        assert {name: one["account_detail"]["jetstream_enabled"] for name, one in enabled.items()} == {
            "A": True,
            "B": True,
            "C": False,
        }


async def test_the_system_account_asks_the_same(tmp_path: Path) -> None:
    async with shop(tmp_path) as (server, _), connected(server, user="s", password="p") as system:

        async def served(who: Client, subject: str, body: object = None) -> Any:
            answer = await who.request(
                f"$SYS.REQ.{subject}", b"" if body is None else json.dumps(body).encode(), timeout=SECONDS
            )
            return json.loads(answer.data)

        answer = await served(system, "SERVER.PING.JSZ", {"accounts": True, "streams": True})
        sender = answer["server"]
        assert (sender["jetstream"], sender["flags"], sender["domain"]) == (True, 1, "hub")
        assert [one["id"] for one in answer["data"]["account_details"]] == ["A", "B"]
        assert answer["data"]["account_details"][0]["stream_detail"][0]["name"] == "S"
        answer = await served(system, "SERVER.PING.JSZ", {"domain": "hub"})
        assert "account_details" not in answer["data"]
        answer = await served(system, "ACCOUNT.A.JSZ", {"streams": True, "consumer": True})
        assert answer["data"]["stream_detail"][0]["consumer_detail"][0]["name"] == "D"
        assert (await served(system, "ACCOUNT.C.JSZ"))["error"]["description"] == 'account "C" not jetstream enabled'
        answer = await served(system, f"SERVER.{server.identity.server_id}.STATSZ")
        statistics = answer["statsz"]["jetstream"]
        assert "store_dir" not in statistics["config"]
        assert statistics["stats"]["accounts"] == 2
        # The system account has no streams.
        answer = json.loads((await system.request("$JS.API.INFO", b"", timeout=SECONDS)).data)
        assert answer["error"]["err_code"] == 10039


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("account=A&stream=S&consumer=D", 200, None),
        ("account=B&stream=M", 200, None),
        ("account=C", 404, 'JetStream account "C" not found'),
        ("account=A&stream=T", 404, 'JetStream stream "T" not found on account "A"'),
        (
            "account=A&stream=S&consumer=E",
            404,
            'JetStream consumer "E" not found for stream "S" on account "A"',
        ),
        ("account=A&stream=T&js-server-only=1", 200, None),
        ("stream=S", 400, '"account" must not be empty when checking stream health'),
    ],
)
async def test_health_of_what_is_named(tmp_path: Path, query: str, status: int, error: str | None) -> None:
    async with shop(tmp_path) as (server, _):
        reply = await look(server, f"/healthz?{query}")
        assert (reply.status, reply.json.get("error")) == (status, error)
        detailed = (await look(server, f"/healthz?details=1&{query}")).json
        assert [one["error"] for one in detailed.get("errors", [])] == ([] if error is None else [error])


async def test_a_server_that_cannot_write_is_not_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreError("cannot write: No space left on device", full=True)

    async with shop(tmp_path) as (server, client):
        with monkeypatch.context() as patch:
            patch.setattr(Environment, "write", full)
            assert "error" in await said(client, "s")
            reply = await look(server, "/healthz")
            assert (reply.status, reply.json["status"]) == (503, "unavailable")
            assert (await look(server, "/healthz?js-enabled-only=1")).status == 200
        assert "error" not in await said(client, "s")
        assert (await look(server, "/healthz")).status == 200


async def test_states_of_streams_are_for_those_who_may_see_them(tmp_path: Path) -> None:
    async with shop(tmp_path, LIMITED) as (server, _):

        async def status(path: str, token: str) -> int:
            found: Reply = await look(server, path, token=token)
            return found.status

        assert [await status("/jsz", token) for token in ("", TENANT, OPERATOR)] == [401, 403, 200]
        own = "/healthz?account=A&stream=S"
        assert [await status(own, token) for token in ("", TENANT, OPERATOR)] == [403, 200, 200]
        other = "/healthz?account=B&stream=M"
        assert [await status(other, token) for token in ("", TENANT, OPERATOR)] == [403, 403, 200]
        assert await status("/healthz", "") == 200
