"""Published advisories about streams: none of what they describe does anything here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from accounts.limits import JetStreamLimits
from broker import Options, Server
from broker.config.options import AccountOptions, JetStreamOptions, UserOptions
from tests.support.streams import ask, connected, made, said

STREAMS = JetStreamLimits()


def two_tenants(directory: Path) -> Options:
    """Two accounts with streams; their users are called as they are."""
    return Options(
        host="127.0.0.1",
        port=-1,
        jetstream=JetStreamOptions(store_dir=str(directory)),
        accounts=tuple(
            AccountOptions(name=name, users=(UserOptions(user=name, password="p"),), jetstream=STREAMS)
            for name in ("A", "B")
        ),
    )


async def unanswered(client: Client, request: str, body: bytes = b"") -> bool:
    """Whether nobody fulfils a request."""
    try:
        answer = await client.request(f"$JS.API.{request}", body, timeout=0.2)
    except (NoRespondersError, NatsTimeoutError):
        return True
    return b'"error"' in answer.data


async def test_cve_2025_30215_administration_is_not_open_to_every_account(tmp_path: Path) -> None:
    """Any account could purge, move and delete the streams of others, by requests meant for the system account."""
    async with (
        Server(two_tenants(tmp_path)) as server,
        connected(server, user="B", password="p") as owner,
        connected(server, user="A", password="p") as other,
    ):
        await made(owner, "S", subjects=["s"])
        await said(owner, "s", b"x")
        for request in (
            "ACCOUNT.PURGE.B",
            "ACCOUNT.STREAM.MOVE.B.S",
            "ACCOUNT.STREAM.CANCEL_MOVE.B.S",
            "SERVER.REMOVE",
            "META.LEADER.STEPDOWN",
            "STREAM.PURGE.S",
            "STREAM.DELETE.S",
            "STREAM.INFO.S",
        ):
            assert await unanswered(other, request), request
        assert (await ask(owner, "STREAM.INFO.S"))["state"]["messages"] == 1


@pytest.mark.parametrize("replicas", [-1, 0, 2, 6, 1 << 40, -(1 << 62)])
async def test_cve_2022_42708_replicas_that_make_no_sense_end_nothing(tmp_path: Path, replicas: int) -> None:
    """A number of replicas that makes no sense ended the server."""
    async with Server(two_tenants(tmp_path)) as server, connected(server, user="A", password="p") as client:
        answer = await ask(client, "STREAM.CREATE.S", {"name": "S", "num_replicas": replicas})
        assert ("error" in answer) == (replicas != 0)
        assert "error" not in await ask(client, "INFO")


@pytest.mark.parametrize("name", ["../../x", "..", "a/b", "a\\b", "/etc/x"])
async def test_cve_2022_26652_no_name_leads_out_of_the_store(tmp_path: Path, name: str) -> None:
    """Restoring a stream wrote files wherever the archive said; here nobody names a file, and names have no paths."""
    async with Server(two_tenants(tmp_path / "store")) as server, connected(server, user="A", password="p") as client:
        token = name.replace(".", "_")
        assert "error" in await ask(client, f"STREAM.CREATE.{token}", {"name": name})
        await made(client, "S")
        body = {"stream_name": "S", "config": {"durable_name": name, "name": name}}
        assert "error" in await ask(client, f"CONSUMER.CREATE.S.{token}", body)
    assert os.listdir(tmp_path) == ["store"]


async def test_cve_2026_33222_a_stream_is_not_restored_over_another(tmp_path: Path) -> None:
    """Who might restore one stream could restore over any other, whose name the request's body gave."""
    async with Server(two_tenants(tmp_path)) as server, connected(server, user="A", password="p") as client:
        await made(client, "S", subjects=["s"])
        await said(client, "s", b"x")
        body = b'{"config":{"name":"S","subjects":["s"]},"state":{"messages":0,"bytes":0,"first_seq":0,"last_seq":0}}'
        assert await unanswered(client, "STREAM.RESTORE.OTHER", body)
        assert await unanswered(client, "STREAM.RESTORE.S", body)
        assert (await ask(client, "STREAM.INFO.S"))["state"]["messages"] == 1
